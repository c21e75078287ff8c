"""Corrections of single records as rules for all runs: `corrections.toml` (`pipelines/corrections.py`)."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from msgspec import Struct

from tranship.connectors import durable, suggestions
from tranship.connectors.errors import ConfigError
from tranship.pipelines import corrections, toml_file
from tranship.pipelines.fixing.columns import NUMBER


class Rules(Struct, frozen=True):
    """How many rules were added to a file, and sentences on changes that are no rule."""

    added: int = 0
    notes: tuple[str, ...] = ()


def must_be_columns(names: Sequence[str], own: Sequence[str]) -> None:
    """Raises ConfigError for a column that the rejects do not have."""
    for name in names:
        if name not in own:
            advice = suggestions.advice(name, own, "The columns are", repr)
            raise ConfigError(f"--always {name}: the rejects have no such column. {advice}")


def add(file: Path, names: Sequence[str], changed: pl.DataFrame, originals: pl.DataFrame, why: str) -> Rules:
    """Add a rule for each value that was changed in these columns. `changed` (NUMBER and columns) are the records that
    were loaded, `originals` the rejects as the source gave them: a line that was broken has no values. Raises
    ConfigError.
    """
    then = changed.select(NUMBER, *names).unpivot(names, index=NUMBER, variable_name="column", value_name="then")
    before = (
        originals.filter(pl.col("_text").is_null())
        .select(NUMBER, *names)
        .unpivot(names, index=NUMBER, variable_name="column", value_name="when")
    )
    pairs = then.join(before, on=[NUMBER, "column"], how="inner")
    pairs = pairs.filter(~pl.col("then").eq_missing(pl.col("when")))
    blank = pairs.filter(pl.col("when").fill_null("").str.strip_chars() == "").height
    pairs = pairs.filter(pl.col("when").fill_null("").str.strip_chars() != "").with_columns(
        pl.col("then").fill_null("")
    )
    rules = pairs.group_by("column", "when", maintain_order=True).agg(pl.col("then").unique())
    several = rules.filter(pl.col("then").list.len() > 1).height
    known = {(rule.field, rule.when): rule.then for rule in corrections.read(file)} if file.exists() else {}
    new: list[Mapping[str, str]] = []
    contradicting = 0
    for column, when, [then] in rules.filter(pl.col("then").list.len() == 1).iter_rows():
        if known.get((column, when), then) != then:
            contradicting += 1
        elif (column, when) not in known:
            new.append({"field": column, "when": when, "then": then, "by": getpass.getuser(), "why": why})
    if new:
        earlier = file.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if known else ""
        durable.write(file, earlier + "\n".join(map(_toml, new)))
    said = {
        "of a blank value: use --default, or correct the records one by one": blank,
        "in which one value became several: correct these records one by one": several,
        f"that an earlier rule of {file.name} contradicts: change the rule by hand": contradicting,
    }
    return Rules(
        len(new), tuple(f"--always: {count:,} without a rule, {what}" for what, count in said.items() if count)
    )


def _toml(rule: Mapping[str, str]) -> str:
    lines = [f"{key} = {toml_file.value(value)}" for key, value in rule.items()]
    return "\n".join([f"[[{corrections.TABLE}]]", *lines, ""])
