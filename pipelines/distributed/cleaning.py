"""Clean the records of a DataFrame of Spark, within the session of the user."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import functions as fn

from tranship.connectors import suggestions
from tranship.connectors.errors import ConfigError, GateClosed, Undecided
from tranship.pipelines import profiles, reading, rivals, selection, settings
from tranship.pipelines.arguments import CleanOptions
from tranship.pipelines.distributed import cleaned, identity, stage_rows
from tranship.pipelines.distributed.cleaned import Cleaned, Facts
from tranship.pipelines.distributed.frame_source import FrameSource
from tranship.pipelines.distributed.identity import Decisions
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.pipelines.identity_step import CONFLICT
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.setting_values import limit
from tranship.pipelines.settings_model import Settings
from tranship.schemas.counted import counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_WRITING: Final = "not a directory|denied|forbidden|mkdirs failed|no such|read-only|unable to create"
"""What engines say of a folder that they cannot write."""


def clean(
    df: DataFrame,
    work: object,
    place: tuple[str, str] | None,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Cleaned:
    """Do what `tranship.spark.clean` says, with the settings of the environment beneath the options."""
    _must_be_options(options)
    given = settings.of_frame("DataFrame", options, environment)
    reading.check_values(given)
    source = FrameSource(df, place)
    folder = f"{_address(work).rstrip('/')}/tranship-{uuid.uuid4().hex}"
    layout = source.layout()
    applied = profiles.apply([layout], given)
    columns = applied.columns([layout])
    where = selection.condition(applied.reading.where, [layout]) if applied.reading.where else None
    tables = WorkTables(df.sparkSession, folder)
    staged = source.staged(reading.rules_of(applied.reading, columns, where))
    try:
        stage = tables.keep("stage", staged)
    except Exception as error:
        if "No module named 'tranship'" in str(error):
            raise ConfigError(
                "Tranship is not installed on the machines of the cluster. Install it there in this version."
            ) from error
        if (why := _unwritable(str(error), _address(work))) is not None:
            raise ConfigError(
                f"work: the engine cannot write there ({why}). Name a folder that all machines can write."
            ) from error
        raise
    facts = cleaned.facts_of(stage)
    _must_be_decided(facts, columns)
    decisions = identity.decide(stage, given.survivor, tables, identity.BY_PLACE, source.must_be_places)
    counts = Facts(*(sum(total for *_, total in facts.get(code, ())) for code in (stage_rows.READ, stage_rows.SKIPPED)))
    _check_conflicts(decisions, given.max_conflicts, counts.read)
    filled = None
    if given.fill:
        filled = tables.keep("filled", cleaned.filled(stage, decisions, given.survivor, identity.BY_PLACE))
    matched = {tuple(json.loads(value)) for _, value, _ in facts.get(stage_rows.MATCHED, ()) if value}
    corrected = {rule: count for _, rule, count in facts.get(stage_rows.CORRECTED, ()) if rule}
    notes = (
        *(*layout.notes, *columns.notes, *reading.unmatched(columns, matched)),
        *(f"corrections, {rule}: {counted(count, 'value')}" for rule, count in sorted(corrected.items())),
        *columns.corrections.unmatched(corrected),
    )
    return Cleaned(stage, decisions, filled, source.columns, counts, folder, notes)


def _address(work: object) -> str:
    """Return the folder as the engine is to understand it: a URL of any kind, or a path."""
    text = os.fspath(work) if isinstance(work, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        given = repr(work) if isinstance(work, str) else type(work).__name__
        raise ConfigError(f"work: {given} is not accepted. Give a folder that all machines can write.")
    return text


def _unwritable(text: str, folder: str) -> str | None:
    """Return the line of an error that says why a folder cannot be written; null if the error is another. Engines name
    the folder whenever a task fails, so the words decide.
    """
    lines = [line.strip() for line in text.splitlines() if folder.rstrip("/") in line]
    return next((line[:300] for line in lines if re.search(_WRITING, line, re.IGNORECASE)), None)


def _must_be_options(options: Mapping[str, Any]) -> None:
    """Raises ConfigError for a setting that makes no sense for a DataFrame, or is none."""
    known = list(CleanOptions.__annotations__)
    for name in options:
        if name in known:
            continue
        if name in Settings.model_fields:
            raise ConfigError(
                f"{name}: is about files, destinations or runs, and a DataFrame has none of these. Leave it out."
            )
        raise ConfigError(f"{name}: unknown setting. {suggestions.advice(name, known, 'The settings are')}")


def _must_be_decided(facts: Mapping[str, list[tuple[str | None, str | None, int]]], columns: ColumnMap) -> None:
    """Raises Undecided where the values leave open what is meant."""
    messages = sorted(value for _, value, _ in facts.get(stage_rows.UNDECIDED, ()) if value)
    if messages:
        raise Undecided.combined(messages[:1])
    filled = sorted((source or "", value or "") for source, value, _ in facts.get(stage_rows.FILLED, ()))
    rivals.must_not_hide([(source, [column]) for source, column in filled], columns)


def _check_conflicts(decisions: Decisions, allowed: str, read: int) -> None:
    """Raises GateClosed if more records than allowed share an id with another customer."""
    conflicts = decisions.findings.where(fn.col("code") == CONFLICT)
    number = conflicts.count()
    if number > limit(allowed, read):
        [(source, line)] = conflicts.orderBy("source", "line").select("source", "line").limit(1).collect()
        where = f"{source}, line {line}" if line is not None else f"digest {source}"
        share = "shares its" if number == 1 else "share their"
        raise GateClosed(
            f"{number:,} of {counted(read, 'record')} {share} external_id with a record of another e-mail and "
            f"another name, more than max_conflicts {allowed}; the first: {where}. They would be merged. If another "
            'column is the customer\'s id: fields={"external_id": "COLUMN"}; if they are the same customers: '
            f"max_conflicts={number}"
        )
