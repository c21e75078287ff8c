"""Inspection of a source before a run: its columns, their mapping, and the rejects to expect.

It applies the same mapping, normalising and rules as a run, and writes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace

from tranship.connectors.contract import Batch, Layout, Part
from tranship.connectors.errors import ConfigError
from tranship.pipelines import build, notebook, profiles, rivals, selection, validate
from tranship.pipelines.invalid import InvalidValues
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.masks import Masks
from tranship.pipelines.matching import Match, columns_of, fields_by_column, match
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.reading import spelling_of
from tranship.pipelines.settings_model import Reading, Settings
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import no_reasons, sentence
from tranship.schemas.schema_version import SCHEMA_VERSION

_SAMPLES = 3
_VALUE_SHOWN = 80
_CELLS_AT_A_TIME = 1 << 18


@dataclass(frozen=True)
class Column:
    """One column of the source, judged by its first records.

    `filled` is the share (0 to 1) of records that have a value, `distinct` the number of different values. `field` is
    the canonical field it is mapped to, or a list of them: empty if the settings leave it out, null if it is
    not mapped.
    """

    name: str
    type: str
    filled: float
    distinct: int
    samples: tuple[str, ...] = dataclasses.field(repr=False)
    field: str | list[str] | None
    becomes: Literal["field", "metadata", "nothing", "undecided"]


@dataclass(frozen=True)
class Finding:
    """One code of rejects or warnings: number of records, explanation, and the first place and value."""

    code: str
    count: int
    says: str
    example: str
    value: str | None = dataclasses.field(repr=False)


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting the first records of a source.

    `records` were inspected, broken lines included, of which `--where` leaves out `skipped`; `whole` is whether these
    are all. `problem` is the reason why a run with these settings would stop; then rejects are unknown and `rejected`
    is null.
    """

    source: str
    files: tuple[str, ...]
    records: int
    whole: bool
    columns: tuple[Column, ...]
    rules: Mapping[str, str] = field(default_factory=dict)
    """Field → what it is built from, in the form of `--map` or `--set`."""
    conflicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field → the columns that match it; `--map` chooses one."""
    problem: str | None = None
    skipped: int = 0
    rejected: int | None = None
    rejects: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    recognised: str | None = None
    """The name of the export profile that is used, null if there is none."""
    expressions: Mapping[str, str] = field(default_factory=dict)
    """Field → its SQL expression, of those in `rules` that are one."""

    def __repr__(self) -> str:
        mapped = sum(column.becomes == "field" for column in self.columns)
        some = "" if self.whole else "first "
        rejected = f", {self.rejected:,} would be rejected" if self.rejected is not None else ""
        problem = ", a run would stop: see .problem" if self.problem else ""
        return (
            f"<Inspection of {self.source}: {some}{counted(self.records, 'record')}, "
            f"{counted(len(self.columns), 'column')}, {mapped} of them mapped{rejected}{problem}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (
                *(column.name, column.type, f"{column.filled:.0%}", column.distinct),
                column.becomes if column.becomes != "field" else _names(column.field),
            )
            for column in self.columns
        ]
        expected = [
            f"{finding.count:,} × {finding.code}: {finding.says}" for finding in (*self.rejects, *self.warnings)
        ]
        problem = [self.problem] if self.problem else []
        recognised = [f"recognised: {self.recognised}"] if self.recognised else []
        title = f"{self.source}: {counted(self.records, 'record')}"
        return notebook.table(
            title,
            ("column", "type", "filled", "distinct", "becomes"),
            rows,
            [*recognised, *problem, *expected, *self.notes],
        )

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)


def inspect(layouts: Sequence[Layout], parts: Iterator[Part], reading: Reading, rows: int = 10_000) -> Inspection:
    """Inspect the first `rows` records and broken lines of a source with these layouts and parts.

    Raises ConfigError if the source cannot be used or a name in the settings does not exist. An ambiguous or missing
    mapping is part of the result.
    """
    applied = profiles.apply(layouts, reading)
    reading = applied.reading
    matched = match(layouts, reading, applied.pins)
    columns, problem, where = None, None, None
    try:
        columns = applied.columns(layouts)
        missing = reading.allow_missing
        where = selection.condition(reading.where, layouts, allow_missing=missing) if reading.where else None
    except ConfigError as error:
        problem = str(error)
    batches, whole = _first(parts, rows)
    records = sum(batch.records.height + batch.broken.height for batch in batches)
    # The values of columns may contradict the choice made by their names.
    expected: tuple[int | None, tuple[Finding, ...], tuple[Finding, ...]] = (None, (), ())
    if columns and not problem:
        try:
            batches = [selection.split(batch, where)[0] for batch in batches] if where else batches
            matched = _questioned(matched, columns, batches)
            expected = _expected(batches, columns, reading)
        except ConfigError as error:
            problem = str(error)
    found = Inspection(
        source=reading.source_name,
        files=tuple(layout.name for layout in layouts),
        records=records,
        skipped=records - sum(batch.records.height + batch.broken.height for batch in batches),
        whole=whole,
        columns=tuple(_columns(layouts, batches, matched, reading.extra)),
        rules=matched.rules,
        conflicts={name: tuple(fitting) for name, fitting in matched.conflicts.items()},
        problem=problem,
        rejected=expected[0],
        rejects=expected[1],
        warnings=expected[2],
        notes=(
            *(f"{layout.name}: {note}" for layout in layouts for note in layout.notes),
            *(columns.notes if columns else applied.notes),
            *_destination_columns(reading),
        ),
        recognised=applied.title,
        expressions=dict(reading.set),
    )
    return _masked(found, Masks.of(reading.mask)) if isinstance(reading, Settings) and reading.mask else found


def _masked(found: Inspection, masks: Masks) -> Inspection:
    """Return the inspection with samples and first values as they may be shown."""

    def shown(finding: Finding) -> Finding:
        field = finding.code.partition(".")[0]
        value = masks.field(field, finding.value) if field in COLUMNS else masks.line(finding.value)
        return dataclasses.replace(finding, value=value)

    columns = (
        dataclasses.replace(
            column,
            samples=tuple(
                dict.fromkeys(masks.column(column.field or "metadata", one) or one for one in column.samples)
            ),
        )
        for column in found.columns
    )
    return dataclasses.replace(
        found,
        columns=tuple(columns),
        rejects=tuple(map(shown, found.rejects)),
        warnings=tuple(map(shown, found.warnings)),
    )


def _destination_columns(reading: Reading) -> Iterator[str]:
    """Yield a note on each field for which a settings file names the column of the destination."""
    if isinstance(reading, Settings):
        for name, column in reading.columns.items():
            yield f"{name} is stored in the column {column} of the destination"


def _names(field: str | list[str] | None) -> str:
    return field if isinstance(field, str) else ", ".join(field or ())


def _first(parts: Iterator[Part], rows: int) -> tuple[list[Batch], bool]:
    """Return the batches of the first records and broken lines, and whether these are all."""
    batches: list[Batch] = []
    left = rows
    for part in parts:
        batch = part.read()
        lines = pl.concat([batch.lines, batch.broken["line"]]).sort()
        if len(lines) > left:
            return [*batches, _before(batch, lines[left])], False
        left -= len(lines)
        batches.append(batch)
    return batches, True


def _before(batch: Batch, line: int) -> Batch:
    kept = batch.lines < line
    return replace(
        batch,
        records=batch.records.filter(kept),
        lines=batch.lines.filter(kept),
        broken=batch.broken.filter(pl.col("line") < line),
    )


def _columns(layouts: Sequence[Layout], batches: Sequence[Batch], matched: Match, extra: str) -> Iterator[Column]:
    records = sum(batch.records.height for batch in batches)
    undecided = {column for fitting in matched.conflicts.values() for column in fitting}
    fields: dict[str, str | list[str]] = {
        **dict.fromkeys(matched.dropped, ""),
        **fields_by_column(matched.fields, matched.built),
    }
    series: dict[str, list[pl.Series]] = {name: [] for name in columns_of(layouts)}
    for batch in batches:
        for values in batch.records.iter_columns():
            if values.name in series:
                series[values.name].append(values)
    for name, found in _values_of(series, records).items():
        field = fields.get(name)
        yield Column(
            name=name,
            type=_type_of(series[name]),
            filled=round(found.filled / records, 4) if records else 0.0,
            distinct=found.distinct,
            samples=found.samples,
            field=field,
            becomes=_fate(field, name in undecided, extra),
        )


class _Values(NamedTuple):
    """The values of a column: how many are not blank, how many differ, and the first different ones."""

    filled: int = 0
    distinct: int = 0
    samples: tuple[str, ...] = ()


def _values_of(series: Mapping[str, Sequence[pl.Series]], records: int) -> dict[str, _Values]:
    """Return the values of each column. Columns of few rows are processed many at a time: a wide table has thousands of
    them.
    """
    names = list(series)
    found = dict.fromkeys(names, _Values())
    at_a_time = max(1, _CELLS_AT_A_TIME // max(1, records))
    for start in range(0, len(names), at_a_time):
        given = [
            (at, values) for at, name in enumerate(names[start : start + at_a_time], start) for values in series[name]
        ]
        if not given:
            continue
        texts = pl.concat([as_text(values).alias("text") for _, values in given])
        places = np.repeat([at for at, _ in given], [len(values) for _, values in given])
        by_column = (
            pl.DataFrame({"text": texts, "at": places})
            .filter(pl.col("text").str.strip_chars() != "")
            .group_by("at")
            .agg(
                pl.len(),
                pl.col("text").n_unique().alias("distinct"),
                pl.col("text").unique(maintain_order=True).head(_SAMPLES).str.head(_VALUE_SHOWN).alias("samples"),
            )
        )
        for at, filled, distinct, samples in by_column.iter_rows():
            found[names[at]] = _Values(filled, distinct, tuple(samples))
    return found


def _questioned(matched: Match, columns: ColumnMap, batches: Sequence[Batch]) -> Match:
    """Return the match without the fields whose columns have different values, so that a person must choose."""
    disputed = {name for batch in batches for name in rivals.disagreements(batch, columns)}
    return replace(
        matched,
        fields={name: column for name, column in matched.fields.items() if name not in disputed},
        built={name: rule for name, rule in matched.built.items() if name not in disputed},
        conflicts={
            **matched.conflicts,
            **{name: (*columns.columns_of(name)[:1], *columns.rivals.get(name, ())) for name in disputed},
        },
    )


def _fate(
    field: str | list[str] | None, undecided: bool, extra: str
) -> Literal["field", "metadata", "nothing", "undecided"]:
    if field is None:
        return "undecided" if undecided else "metadata" if extra == "keep" else "nothing"
    return "field" if field else "nothing"


def _type_of(given: Sequence[pl.Series]) -> str:
    dtype = given[0].dtype if given else pl.String()
    for kind, matches in (
        ("text", dtype == pl.String),
        ("integer", dtype.is_integer()),
        ("number", dtype.is_numeric()),
        ("boolean", dtype == pl.Boolean),
        ("date", dtype == pl.Date),
        ("instant", isinstance(dtype, pl.Datetime)),
        ("list", isinstance(dtype, pl.List)),
        ("object", isinstance(dtype, pl.Struct)),
    ):
        if matches:
            return kind
    return str(dtype).lower()


def _expected(
    batches: Sequence[Batch], columns: ColumnMap, reading: Reading
) -> tuple[int, tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the number of rejects to expect, their reasons, and the warnings; identity is known only after a whole
    run. Raises ConfigError if the values would stop a run.
    """
    spelling = spelling_of(reading)
    rejected = 0
    filled: list[tuple[str, list[str]]] = []
    reasons, warnings = [_placed(no_reasons())], [_placed(no_reasons())]
    for batch in batches:
        rejected += batch.broken.height
        broken = batch.broken.select("line", "code", value="text", source=pl.lit(batch.source))
        reasons.append(broken.select(reasons[0].columns))
        if batch.records.is_empty():
            continue
        batch, _ = columns.corrections.apply(batch)
        rivals.must_agree(batch, columns)
        prepared = build.prepare(batch, columns)
        normalised = normalise.customers(prepared.records, prepared.columns, spelling)
        filled.append((batch.source, rivals.filled(batch, columns, normalised.records)))
        invalid = InvalidValues.of(reading.on_invalid, strict=reading.strict)
        normalised, found = invalid.settle(normalised, validate.faults(normalised), batch.records, columns)
        bad = found["at"].unique()
        rejected += len(bad)
        reasons.append(_placed(found, batch))
        warnings.append(_placed(normalised.warnings.filter(~pl.col("at").is_in(bad.implode())), batch))
    rivals.must_not_hide(filled, columns)
    return rejected, _findings(pl.concat(reasons)), _findings(pl.concat(warnings))


def _placed(found: pl.DataFrame, batch: Batch | None = None) -> pl.DataFrame:
    lines = batch.lines if batch else pl.Series(dtype=pl.UInt64)
    return found.select(
        "code", "value", line=lines.gather(found["at"]), source=pl.lit(batch.source if batch else "", pl.String)
    )


def _findings(found: pl.DataFrame) -> tuple[Finding, ...]:
    """Return findings, most frequent first; the example is the first in order of reading."""
    by_code = found.group_by("code", maintain_order=True).agg(pl.len().alias("count"), pl.all().first())
    return tuple(
        Finding(code, count, sentence(code), f"{source}, line {line}", value[:_VALUE_SHOWN] if value else None)
        for code, count, source, line, value in by_code.sort("count", descending=True, maintain_order=True)
        .select("code", "count", "source", "line", "value")
        .iter_rows()
    )
