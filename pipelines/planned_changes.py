"""changes.csv of a plan: a row for each customer that would be created, changed, deleted or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from tranship.connectors.contract import FOUND, GONE, Plan, Survivors
from tranship.schemas import cells
from tranship.schemas.customer import COLUMNS, INSTANTS

_TYPES: Final = {"create": "create", "update": "update", "refused": "refuse"}
_FIRST: Final = ("type", "source", "line", "reason", "changed")
_INSTANT: Final = r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00$"
BEFORE: Final = "before_"
"""What a column of a former value begins with; the name of the field follows."""


def write_changes(workspace: Path, plan: Plan, survivors: Survivors, file: Path) -> None:
    """Write the changes of a plan, from the files in its workspace, in the order of the source; deletes at the end.

    The columns are `type` (create, update, delete, refuse), `source`, `line`, `reason` (of a refusal), `changed` (the
    fields of an update, separated by `;`), all fields with their new values, and `before_FIELD` for each field that an
    update changes. A field is empty if the record has no value for it; the destination's value is then kept, unless
    `--nulls overwrite` is set. Of a customer to delete, the external id and the e-mail are known.
    """
    before = [name for name in COLUMNS if name in plan.changed_fields]
    with file.open("wb") as out:
        for part in _parts(workspace, plan, survivors, before):
            part.write_csv(out, include_header=out.tell() == 0)
    file.chmod(0o600)


def _parts(workspace: Path, plan: Plan, survivors: Survivors, before: list[str]) -> Iterator[pl.DataFrame]:
    nothing = pl.lit(None, pl.String)
    columns = (*_FIRST, *COLUMNS, *(f"{BEFORE}{name}" for name in before))
    decided = pl.scan_parquet(plan.rows, glob=False).filter(pl.col("action").is_in([*_TYPES]))
    found = pl.scan_parquet(workspace / FOUND, glob=False) if (workspace / FOUND).exists() else None
    dropped = pl.scan_parquet(survivors.dropped, glob=False)
    yield _written(pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
    for staged in survivors.files:
        records = pl.scan_parquet(staged, glob=False)
        rows = records.select(pl.col("_row").min().alias("first"), pl.col("_row").max().alias("last")).collect()
        here = pl.col("row").is_between(*rows.row(0))
        part = (
            records.join(dropped, left_on="_row", right_on="row", how="anti", maintain_order="left")
            .join(decided.filter(here), left_on="_row", right_on="row", how="inner", maintain_order="left")
            .with_columns(
                type=pl.col("action").replace_strict(_TYPES, return_dtype=pl.String),
                source="_source",
                line="_line",
                changed=pl.col("changed").list.join("; "),
            )
        )
        if found is not None and before:
            former = found.filter(here).select("row", *(_former(name) for name in before))
            part = part.join(former, left_on="_row", right_on="row", how="left", maintain_order="left")
            # Values that stay are not shown twice.
            part = part.with_columns(
                pl.when(pl.col("changed").str.split("; ").list.contains(name))
                .then(f"{BEFORE}{name}")
                .alias(f"{BEFORE}{name}")
                for name in before
            )
        else:
            part = part.with_columns(nothing.alias(f"{BEFORE}{name}") for name in before)
        yield _written(part.select(columns).collect(engine="streaming"))
    if (workspace / GONE).exists():
        gone = pl.scan_parquet(workspace / GONE, glob=False).select(
            pl.lit("delete").alias("type"),
            *(pl.col(name) if name in ("external_id", "email") else nothing.alias(name) for name in columns[1:]),
        )
        yield _written(gone.collect())


def _former(name: str) -> pl.Expr:
    """Return the former value of a field, which is text; an instant in the form of the new values."""
    value = pl.col(name).str.replace(_INSTANT, "${1}T${2}Z") if name in INSTANTS else pl.col(name)
    return value.alias(f"{BEFORE}{name}")


def _written(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(cells.written(frame.schema))
