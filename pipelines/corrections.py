"""Corrections of values that are wrong at the source again and again: rules of a file, which act on values as they are
read, before anything else does.

    [[correction]]
    field = "country"          # a column of the source, or a field that is read from one
    when = "Germny"            # the whole value, exactly as in the source
    then = "Germany"
    by = "ann"
    why = "typing error in the CRM"
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors import key_shapes, suggestions
from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError
from tranship.pipelines import toml_file
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas.customer import COLUMNS

TABLE: Final = "correction"
KEYS: Final = ("field", "when", "then", "by", "why")
_NEEDED: Final = ("field", "when", "then")


class Correction(Struct, frozen=True):
    """One rule, with its number in the file, from 1."""

    number: int
    field: str
    when: str
    then: str
    by: str = ""
    why: str = ""

    @property
    def label(self) -> str:
        """The rule in reports, which have no values: those may be of a person."""
        return f"rule {self.number}: {self.field}"


class Corrections(Struct, frozen=True):
    """The rules of a file, by the column of the source on which they act."""

    file: str = ""
    by_column: Mapping[str, tuple[Correction, ...]] = field(default_factory=dict)

    @property
    def meaning(self) -> list[Any]:
        """What decides how values are read."""
        return [[name, [[rule.when, rule.then] for rule in rules]] for name, rules in sorted(self.by_column.items())]

    def apply(self, batch: Batch) -> tuple[Batch, dict[str, int]]:
        """Return a batch with corrected values, and the number of those, by rule. Each value is corrected once.

        Corrected columns are there as they were, too, for what people see of the source (`as_given`).
        """
        counts: dict[str, int] = {}
        changed: list[pl.Series] = []
        for name, rules in self.by_column.items():
            if name not in batch.records.columns:
                continue
            column, found = _corrected(batch.records[name], rules)
            if found:
                changed += [column, batch.records[name].alias(_GIVEN + name)]
                counts |= found
        return (replace(batch, records=batch.records.with_columns(changed)) if changed else batch), counts

    def unmatched(self, acted: Collection[str]) -> Iterator[str]:
        """Yield a note on each rule that corrected nothing; `acted` are the labels of those that did."""
        for rules in self.by_column.values():
            for rule in rules:
                if rule.label not in acted:
                    yield (
                        f"{self.file}, rule {rule.number} ({rule.field}): no value matched, so nothing was corrected. "
                        "If the source has been corrected, remove the rule."
                    )


NO_CORRECTIONS: Final = Corrections()
_GIVEN: Final = "\0given "
"""The beginning of the name of a column as it was before it was corrected. No source has such a name."""


def as_given(records: pl.DataFrame) -> pl.DataFrame:
    """Return records with the columns and values that the source has."""
    given = [name for name in records.columns if name.startswith(_GIVEN)]
    if not given:
        return records
    originals = [records[name].alias(name.removeprefix(_GIVEN)) for name in given]
    plain = records.drop(given)
    return plain.with_columns(column for column in originals if column.name in plain.columns)


def _corrected(column: pl.Series, rules: Sequence[Correction]) -> tuple[pl.Series, dict[str, int]]:
    """Return a column with corrected values, and the number of these by rule. A typed column stays typed if all
    corrections are values of its type.
    """
    texts = as_text(column)
    by_value = pl.DataFrame(
        {"when": [rule.when for rule in rules], "then": [rule.then for rule in rules], "rule": [*range(len(rules))]},
        schema={"when": pl.String, "then": pl.String, "rule": pl.UInt32},
    )
    joined = texts.alias("when").to_frame().join(by_value, on="when", how="left", maintain_order="left")
    acted = joined["rule"].drop_nulls()
    if acted.is_empty():
        return column, {}
    hits = joined["then"].is_not_null()
    given = joined["then"]
    if column.dtype != pl.String and not column.dtype.is_nested():
        typed = given.cast(column.dtype, strict=False)
        if typed.is_not_null().equals(hits):
            given, texts = typed, column
    values = given.zip_with(hits, texts).alias(column.name)
    return values, {rules[at].label: count for at, count in acted.value_counts(sort=True).iter_rows()}


def read(file: Path) -> tuple[Correction, ...]:
    """Return the rules of a file. Raises ConfigError for a file that cannot be read, or a rule that is not one."""
    name = f"--corrections {file}"
    content = toml_file.read(file, name)
    for key in content:
        key_shapes.refuse(key, name)
        if key != TABLE:
            raise ConfigError(f"{name}: {key} is not known there. Write each rule under [[{TABLE}]].")
    given = content.get(TABLE, [])
    if not isinstance(given, list):
        raise ConfigError(f"{name}: write each rule under [[{TABLE}]], with two brackets.")
    rules = tuple(_rule(number, entry, name) for number, entry in enumerate(given, 1))
    seen: dict[tuple[str, str], Correction] = {}
    for rule in rules:
        _must_not_conflict(rule, seen.setdefault((rule.field, rule.when), rule), name)
    return rules


def _rule(number: int, entry: object, name: str) -> Correction:
    """Return a rule of the file. Messages repeat no values: these may be of a person."""
    place = f"{name}, rule {number}"
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: is not a table. Write it under [[{TABLE}]].")
    for key, value in entry.items():
        if key not in KEYS:
            raise ConfigError(f"{place}: unknown key {key}. {suggestions.advice(key, KEYS, 'The keys are')}")
        if not isinstance(value, str):
            raise ConfigError(f"{place}: {key} is not a text. Write it between quotes.")
    for key in _NEEDED:
        if key not in entry:
            raise ConfigError(f'{place}: has no {key}. Add {key} = "…".')
    if not entry["field"].strip():
        raise ConfigError(f"{place}: field is empty. Name a column of the source.")
    if not entry["when"].strip():
        raise ConfigError(
            f"{place}: when is empty, so the rule would fill every blank {entry['field']}. Use --default for that."
        )
    if entry["when"] == entry["then"]:
        raise ConfigError(f"{place}: when and then are the same. Remove the rule.")
    return Correction(number, **entry)


def _must_not_conflict(rule: Correction, earlier: Correction, name: str) -> None:
    if rule is earlier:
        return
    what = "repeats" if rule.then == earlier.then else "contradicts"
    also = "" if rule.field == earlier.field else f" ({rule.field} and {earlier.field} are one column)"
    raise ConfigError(
        f"{name}, rule {rule.number}: {what} rule {earlier.number}: both correct the same value of {rule.field}{also}. "
        "Remove one of them."
    )


def by_column(file: Path, columns: Sequence[str], columns_of: Callable[[str], Sequence[str]]) -> Corrections:
    """Return the rules of a file for a source with these columns; `columns_of` returns the columns of a field.

    Raises ConfigError as `read` does, and for a rule that names neither a column nor a field that is one column.
    """
    name = f"--corrections {file}"
    found: dict[str, list[Correction]] = {}
    seen: dict[tuple[str, str], Correction] = {}
    for rule in read(file):
        column = rule.field if rule.field in columns else _column_of(rule, columns, columns_of(rule.field), name)
        _must_not_conflict(rule, seen.setdefault((column, rule.when), rule), name)
        found.setdefault(column, []).append(rule)
    return Corrections(file.name, {column: tuple(rules) for column, rules in found.items()})


def _column_of(rule: Correction, columns: Sequence[str], of_field: Sequence[str], name: str) -> str:
    place = f"{name}, rule {rule.number}"
    if len(of_field) == 1:
        return of_field[0]
    if of_field:
        listed = ", ".join(map(repr, of_field))
        raise ConfigError(f"{place}: {rule.field} is built from {listed}. Name the column that has the value.")
    if rule.field in COLUMNS:
        raise ConfigError(f"{place}: no column of the source is mapped to {rule.field}. Name the column.")
    advice = suggestions.advice(rule.field, columns, "The columns are", repr)
    raise ConfigError(f"{place}: the source has no column {rule.field!r}. {advice}")
