"""Verify that a destination has the customers of the source, using the plan of a second comparison.

Records the plan would create are missing there, those it would update differ, and unchanged ones are equal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from tranship.connectors import durable
from tranship.connectors.contract import EXTRA, FOUND, Plan, Survivors
from tranship.pipelines import notebook
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import named
from tranship.schemas import cells
from tranship.schemas.schema_version import SCHEMA_VERSION

VERIFICATION: Final = "verification.json"
"""In the directory of a run: its last verification, with `verified_at` (ISO 8601)."""
DIFFERENCES = {
    "what": pl.String,
    "external_id": pl.String,
    "email": pl.String,
    "field": pl.String,
    "expected": pl.String,
    "found": pl.String,
}
"""A row for each difference: `only_in_source`, `only_at_destination` (for an unreadable line: its place as `found`),
`different` (with the field and both values) or `refused` (with the reason as `expected`)."""


@dataclass(frozen=True)
class Verification:
    """The result of a verification. `counts` are customers: equal, different, only_in_source, only_at_destination,
    refused (the destination cannot store them).
    """

    run_id: str
    source: str
    destination: str
    counts: Mapping[str, int]
    different_fields: Mapping[str, int] = field(default_factory=dict)
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    history: Mapping[str, int] = field(default_factory=dict)
    """With `--history`: the number of versions, of customers whose versions have a gap or overlap (broken), and of
    those that differ from the table (different)."""

    @property
    def equal(self) -> bool:
        """Whether source and destination have the same customers, field by field, and the history is right."""
        return not self.differs and not self.counts.get("refused")

    @property
    def differs(self) -> bool:
        """Whether there are differences, apart from customers that the destination refuses."""
        faults = [self.history.get(fault, 0) for fault in ("broken", "different")]
        return any([*faults, *(count for name, count in self.counts.items() if name not in ("equal", "refused"))])

    def __repr__(self) -> str:
        found = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count or name == "equal")
        return f"<Verification {self.run_id}: {found}; {self.source} → {self.destination}>"

    def _repr_html_(self) -> str:
        fields = [f"{name} differs in {count:,}" for name, count in self.different_fields.items()]
        title = f"{self.source} → {self.destination}: {'equal' if self.equal else 'not equal'}"
        rows = [(name.replace("_", " "), count) for name, count in self.counts.items()]
        return notebook.table(title, (), rows, [*fields, *self.notes])

    def to_json(self) -> str:
        """Return one JSON object."""
        values = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self), "all_equal": self.equal}
        return json.dumps(values, indent=1, ensure_ascii=False)


def differences(
    plan: pl.LazyFrame, survivors: pl.LazyFrame, found: pl.LazyFrame | None, extra: pl.LazyFrame | None
) -> pl.LazyFrame:
    """Return the differences (`DIFFERENCES`), from a plan (row, action, reason, changed), the survivors (`_row` and
    canonical columns), the destination's values of those that differ (row, fields as text) and its other customers
    (external_id, email); the last two are null where there was no table.
    """
    keys = survivors.select("_row", "external_id", "email")
    nothing = pl.lit(None, pl.String)
    unlike = plan.filter(pl.col("action").is_in(["create", "refused", "ambiguous"])).drop("changed")
    missing = unlike.join(keys, left_on="row", right_on="_row").select(
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
        changed = rows.join(keys, left_on="row", right_on="_row")
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


def write_differences(workspace: Path, plan: Plan, survivors: Survivors, file: Path) -> None:
    """Write the differences between source and destination as CSV, from the files of a plan in its workspace."""
    found, extra = (
        pl.scan_parquet(file, glob=False) if file.exists() else None
        for file in (workspace / name for name in (FOUND, EXTRA))
    )
    differing = differences(pl.scan_parquet(plan.rows, glob=False), survivors.scan(), found, extra)
    cells.as_csv(differing).sink_csv(file)
    file.chmod(0o600)


def verification(
    directory: RunDirectory, workspace: Path, plan: Plan, survivors: Survivors, history: Mapping[str, int]
) -> Verification:
    """Write the differences that this plan shows, and return their counts, with those of the history. They are kept as
    `VERIFICATION`.
    """
    file = directory.path / "differences.csv"
    write_differences(workspace, plan, survivors, file)
    counted = pl.scan_csv(file, infer_schema=False, glob=False).group_by("what").len().collect()
    differing = dict(counted.iter_rows())
    if not differing:
        file.unlink()
    found = Verification(
        run_id=directory.run_id,
        source=named(directory.manifest["settings"]["source"]),
        destination=directory.manifest["settings"]["destination"],
        counts={
            "equal": plan.counts["unchanged"],
            "different": plan.counts["update"],
            "only_in_source": plan.counts["create"],
            "only_at_destination": differing.get("only_at_destination", 0),
            "refused": plan.counts["refused"] + plan.counts["ambiguous"],
        },
        different_fields=dict(plan.changed_fields),
        refused_by_reason=refused_by_reason(plan),
        files={"differences": str(file)} if differing else {},
        notes=plan.notes,
        history=history,
    )
    kept = {**json.loads(found.to_json()), "verified_at": datetime.now(UTC).isoformat()}
    durable.write_json(directory.path / VERIFICATION, kept)
    return found


def refused_by_reason(plan: Plan | None) -> dict[str, int]:
    """Return the reasons why records were refused, with counts, most frequent first."""
    if plan is None or not plan.counts["refused"]:
        return {}
    refused = pl.scan_parquet(plan.rows, glob=False).filter(pl.col("action") == "refused")
    return dict(refused.group_by("reason").len().sort("len", descending=True).collect().iter_rows())
