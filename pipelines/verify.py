"""Whether a destination holds what the source says: the plan of a second look, put into words.

What would be created is missing there, what would be updated differs, what would stay as it is is equal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

DIFFERENCES = {
    "what": pl.String,
    "external_id": pl.String,
    "email": pl.String,
    "field": pl.String,
    "expected": pl.String,
    "found": pl.String,
}
"""A row for each difference: `only_in_source`, `only_at_destination`, `different` (with the field, what the source says
and what is there) or `refused` (with the reason as `expected`)."""


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
                field=nothing, expected=nothing, found=nothing,
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
