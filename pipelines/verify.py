"""Whether a destination holds what the source says: the plan of a second look, put into words.

What would be created is missing there, what would be updated differs, what would stay as it is is equal. A file cannot
be compared where it lies: its records are normalised as those of a source are, and compared as a table.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tranship.connectors.contract import Batch, Layout, Part
from tranship.connectors.errors import ConfigError
from tranship.pipelines import mapping, notebook
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.spelling import Spelling
from tranship.schemas.customer import COLUMNS

DIFFERENCES = {
    "what": pl.String,
    "external_id": pl.String,
    "email": pl.String,
    "field": pl.String,
    "expected": pl.String,
    "found": pl.String,
}
"""A row for each difference: `only_in_source`, `only_at_destination` (of a line that cannot be read: which as `found`),
`different` (with the field, what the source says and what is there) or `refused` (with the reason as `expected`)."""


@dataclass(frozen=True)
class Verification:
    """What a second look has found. `counts` are customers: equal, different, only_in_source, only_at_destination,
    refused (the destination cannot take them).
    """

    run_id: str
    source: str
    destination: str
    counts: Mapping[str, int]
    different_fields: Mapping[str, int] = field(default_factory=dict)
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether source and destination hold the same customers, field by field."""
        return not any(count for name, count in self.counts.items() if name != "equal")

    def __repr__(self) -> str:
        found = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count or name == "equal")
        return f"<Verification {self.run_id}: {found}; {self.source} → {self.destination}>"

    def _repr_html_(self) -> str:
        fields = [f"{name} differs in {count:,}" for name, count in self.different_fields.items()]
        title = f"{self.source} → {self.destination}: {'equal' if self.equal else 'not equal'}"
        rows = [(name.replace("_", " "), count) for name, count in self.counts.items()]
        return notebook.table(title, (), rows, [*fields, *self.notes])

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps({**dataclasses.asdict(self), "all_equal": self.equal}, indent=1, ensure_ascii=False)


def differences(
    plan: pl.LazyFrame, survivors: pl.LazyFrame, found: pl.LazyFrame | None, extra: pl.LazyFrame | None
) -> pl.LazyFrame:
    """The differences (`DIFFERENCES`), from a plan (row, action, reason, changed), the survivors (`_row` and canonical
    columns), what was found of those that differ (row, fields as text) and who is there beside them (external_id,
    email); the last two are null where there was no table.
    """
    who = survivors.select("_row", "external_id", "email")
    nothing = pl.lit(None, pl.String)
    unlike = plan.filter(pl.col("action").is_in(["create", "refused", "ambiguous"])).drop("changed")
    missing = unlike.join(who, left_on="row", right_on="_row").select(
        what=pl.when(action="create").then(pl.lit("only_in_source")).otherwise(pl.lit("refused")),
        external_id="external_id",
        email="email",
        field=nothing,
        expected="reason",
        found=nothing,
    )
    parts = [missing]
    if found is not None:
        names = [name for name in found.collect_schema().names() if name != "row"]
        rows = plan.filter(action="update").select("row", "changed")
        changed = rows.join(who, left_on="row", right_on="_row")
        texts = survivors.select(pl.col("_row").alias("row"), *(_text(survivors, name) for name in names))
        expected = texts.join(rows, on="row", how="semi")
        each = changed.explode("changed").rename({"changed": "field"})
        for value, frame in (("expected", expected), ("found", found)):
            long = frame.unpivot(on=names, index="row", variable_name="field", value_name=value)
            each = each.join(long, on=["row", "field"], how="left")
        parts.append(each.select(what=pl.lit("different"), **{name: name for name in DIFFERENCES if name != "what"}))
    if extra is not None:
        parts.append(
            extra.select(
                what=pl.lit("only_at_destination"), external_id="external_id", email="email",
                field=nothing, expected=nothing, found="found" if "found" in extra.collect_schema() else nothing,
            )
        )  # fmt: skip
    return pl.concat([part.cast(DIFFERENCES) for part in parts])  # type: ignore[arg-type]


def _text(survivors: pl.LazyFrame, name: str) -> pl.Expr:
    dtype = survivors.collect_schema()[name]
    if isinstance(dtype, pl.List):
        return pl.col(name).list.join("; ")
    if isinstance(dtype, pl.Datetime):
        return pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    return pl.col(name).cast(pl.String)


# A file as a table -------------------------------------------------------------------------------------------------


def columns_of(name: str, layouts: Sequence[Layout]) -> ColumnMap:
    """What the columns of a written file are, by their names; what no field fits, or several columns fit, is no part of
    it. Raises ConfigError where customers cannot be recognised.
    """
    fields = mapping.match(layouts, {}, {}).fields
    columns = mapping.columns_of(layouts)
    if columns and not {"external_id", "email"} & set(fields):
        raise ConfigError(
            f"{name}: has no column for the external id or the e-mail ({', '.join(map(repr, columns[:12]))}); without "
            "one there is nothing to compare by."
        )
    return ColumnMap(fields, (), {})


def staged(
    parts: Iterable[Part], columns: ColumnMap, spelling: Spelling, folder: Path
) -> tuple[list[Path], pl.DataFrame]:
    """Write the records of a file to `folder`, normalised, in the fields that it has; and the lines that are no records
    (`found`). Nothing is rejected: a value that could not be read stays as it is, and differs.
    """
    files, broken = [], [pl.DataFrame(schema={"found": pl.String})]
    for number, part in enumerate(parts):
        batch = part.read()
        lines = batch.broken.select(found=pl.format("{}, line {}: {}", pl.lit(batch.source), "line", "code"))
        broken.append(lines)
        if batch.records.height:
            files.append(folder / f"{number:06}.parquet")
            _normalised(batch, columns, spelling).write_parquet(files[-1])
    return files, pl.concat(broken)


def _normalised(batch: Batch, columns: ColumnMap, spelling: Spelling) -> pl.DataFrame:
    records = normalise.customers(batch.records, columns, spelling).records
    kept = []
    for at, column in columns.fields.items():
        if COLUMNS[at] == pl.String and at not in ("external_id", "email", "metadata"):
            text = as_text(batch.records[column])
            unread = records[at].is_null() & (text.str.strip_chars() != "")
            kept.append(records[at].zip_with(~unread.fill_null(value=False), text).alias(at))
    return records.with_columns(kept).select(columns.targets)
