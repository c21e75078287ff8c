"""A look at a source before anything is run: its columns, what they would become, and what would be rejected.

It sees the source through the same mapping, normalising and rules as a run does, and writes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.contract import Batch, Layout, Source
from connectors.errors import ConfigError
from pipelines import mapping, normalise, validate
from pipelines.mapping import ColumnMap, Match
from pipelines.settings import Reading
from schemas.faults import no_reasons, sentence

_SAMPLES = 3
_VALUE_SHOWN = 80


@dataclass(frozen=True)
class Column:
    """One column of the source, as its first records show it.

    `filled` is the share (0 to 1) of records that have a value; `distinct` counts different values. `field` is the
    canonical field it becomes, `metadata` if it is kept there, null if it is left out or still to be decided.
    """

    name: str
    type: str
    filled: float
    distinct: int
    samples: tuple[str, ...]
    field: str | None


@dataclass(frozen=True)
class Finding:
    """One code of rejects or warnings: how many records, what it says, and the first place and value."""

    code: str
    count: int
    says: str
    example: str
    value: str | None


@dataclass(frozen=True)
class Inspection:
    """What the first records of a source show.

    `records` were looked at, broken lines among them; `whole` says whether that is all there is. `problem` is why a
    run with these settings would stop before it reads; then nothing is known of rejects and `rejected` is null.
    """

    source: str
    files: tuple[str, ...]
    records: int
    whole: bool
    columns: tuple[Column, ...]
    conflicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field → the columns that would all fit it; `--map` says which it is."""
    problem: str | None = None
    rejected: int | None = None
    rejects: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)


def inspect(source: Source, reading: Reading, rows: int = 10_000) -> Inspection:
    """Look at the first `rows` records and broken lines.

    Raises ConfigError where the source cannot be used or a told name does not exist; where a column's meaning is
    open or nothing fits, that is part of the answer.
    """
    layouts = source.layouts()
    matched = mapping.match(layouts, reading.columns, reading.defaults)
    columns, problem = None, None
    try:
        columns = mapping.propose(layouts, reading.columns, reading.defaults, reading.extra)
    except ConfigError as error:
        problem = str(error)
    batches, whole = _first(source, rows)
    rejected, rejects, warnings = _expected(batches, columns, reading) if columns else (None, (), ())
    return Inspection(
        source=reading.source,
        files=tuple(layout.name for layout in layouts),
        records=sum(batch.records.height + batch.broken.height for batch in batches),
        whole=whole,
        columns=tuple(_columns(layouts, batches, matched, reading.extra)),
        conflicts={name: tuple(fitting) for name, fitting in matched.conflicts.items()},
        problem=problem,
        rejected=rejected,
        rejects=rejects,
        warnings=warnings,
        notes=tuple(f"{layout.name}: {', '.join(layout.notes)}" for layout in layouts if layout.notes),
    )


def pipeline_toml(inspection: Inspection, reading: Reading) -> str:
    """A settings file to start from: runs as it is, and names every column."""
    said = reading.model_dump(mode="json", include=set(Reading.model_fields), exclude={"source", "columns", "defaults"})
    options = {
        name: value for name, value in said.items() if value != Reading.model_fields[name].get_default() and value != []
    }
    lines = [
        "# A tranship pipeline. Try it: tranship run THIS_FILE --dry-run",
        "# Every option of `tranship run --help` can stand here, with _ for -; `tranship schema` is for editors.",
        "",
        f"source = {_toml(reading.source)}",
        'destination = "duckdb:///customers.duckdb?table=customers"',
        *(f"{name} = {_toml(value)}" for name, value in options.items()),
        "",
        "# Values where the source has none: field = value.",
        "[defaults]",
        *(f"{name} = {_toml(value)}" for name, value in reading.defaults.items()),
        "",
        "# Column = field (`tranship fields` lists them). An empty field leaves the column out.",
        "[columns]",
        *(_toml_line(column, inspection.conflicts, reading) for column in inspection.columns),
    ]
    return "\n".join(lines) + "\n"


def _toml_line(column: Column, conflicts: Mapping[str, tuple[str, ...]], reading: Reading) -> str:
    for name, fitting in conflicts.items():
        if column.name in fitting:
            others = " or ".join(_toml(other) for other in fitting if other != column.name)
            return f"# {_toml(column.name)} = {_toml(name)}  # this, or {others}? Keep one line."
    unmapped = column.field is None or (column.field == "metadata" and _said_of(column.name, reading) is None)
    if unmapped and _said_of(column.name, reading) is None:
        fate = "kept in metadata" if column.field else "dropped"
        return f'# {_toml(column.name)} = ""  # {fate} as long as this line is a comment'
    return f"{_toml(column.name)} = {_toml(column.field or '')}"
