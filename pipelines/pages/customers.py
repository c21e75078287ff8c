"""Samples of a run's customers for its pages, read from its stage, its plan and the values that it replaced.

Records are looked for in the first files of the stage only. Files that are missing have no samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.contract import BEFORE_IMAGES, FOUND, GONE, IMAGE_FACTS
from tranship.connectors.errors import Damaged
from tranship.pipelines.masks import Masks
from tranship.pipelines.stage_files import PATCHED
from tranship.schemas.customer import COLUMNS, INSTANTS

OF_EACH: Final = 3
"""Samples of each kind."""
_FILES: Final = 100
_BYTES: Final = 24 << 20
"""Files of the stage, and their bytes, in which records are looked for."""
_CANDIDATES: Final = 10_000
_INSTANT: Final = "%Y-%m-%d %H:%M:%S"
_PLANNED: Final = {"update": 4, "create": 3, "refused": 2}
_DELETES: Final = 1
"""Customers of a plan that are shown, by action."""


class Change(Struct, frozen=True):
    """A changed field of one customer. Null is an empty value."""

    customer: str
    before: str | None
    after: str | None


class Planned(Struct, frozen=True):
    """A customer of a plan: the action (create, update, refused, delete), all its fields as they would be, those that
    the destination has, and the names of those that change.
    """

    action: str
    after: Mapping[str, str | None]
    before: Mapping[str, str | None]
    changed: tuple[str, ...]
    reason: str | None


def changes(folder: Path, masks: Masks) -> dict[str, list[Change]]:
    """Return samples of changed fields, before and after the run."""
    plan, files = folder / "plan.parquet", staged(folder)
    if not plan.exists() or not files:
        return {}
    rows = pl.scan_parquet(plan, glob=False).filter(pl.col("action") == "update", pl.col("row") < PATCHED)
    picked = (
        rows.select("row", "changed")
        .bottom_k(_CANDIDATES, by="row")
        .explode("changed")
        .group_by("changed", maintain_order=True)
        .agg(pl.col("row").sort().head(OF_EACH))
        .collect()
    )
    wanted = pl.Series(sorted({row for rows in picked["row"] for row in rows}), dtype=pl.UInt64)
    after = records(folder, wanted, masks)
    before = _before(folder, wanted, masks)
    chosen: dict[str, list[Change]] = {}
    for field, numbers in picked.iter_rows():
        for row in numbers:
            if row in after and field in before.get(row, {}):
                change = Change(name_of(after[row]), before[row][field], after[row].get(field))
                chosen.setdefault(field, []).append(change)
    return chosen


def records(folder: Path, rows: pl.Series, masks: Masks) -> dict[int, dict[str, str | None]]:
    """Return the customers with these row numbers, as far as they are in the first files of the stage."""
    files = staged(folder)
    if not files or rows.is_empty():
        return {}
    found = pl.scan_parquet(files, glob=False).filter(pl.col("_row").is_in(rows.implode())).collect()
    return {record["_row"]: masks.record(shown_fields(record)) for record in found.iter_rows(named=True)}


def refused(folder: Path, masks: Masks, *, by_plan: bool = False) -> dict[str, list[str]]:
    """Return the names of some of the records that were refused, by reason; with `by_plan`, of the plan alone."""
    outcomes, plan = folder / "outcomes.parquet", folder / "plan.parquet"
    if outcomes.exists() and not by_plan:
        rows = pl.scan_parquet(outcomes, glob=False).filter(pl.col("outcome") == "refused")
    elif plan.exists():
        rows = pl.scan_parquet(plan, glob=False).filter(pl.col("action") == "refused")
    else:
        return {}
    found = rows.head(_CANDIDATES).group_by("reason", maintain_order=True).agg(pl.col("row").head(OF_EACH)).collect()
    customers = records(folder, found["row"].explode().drop_nulls(), masks)
    return {
        masks.reason(reason): [name_of(customers[row]) for row in numbers if row in customers]
        for reason, numbers in found.iter_rows()
        if reason is not None
    }


def crosswalk(folder: Path, masks: Masks) -> list[tuple[str, ...]]:
    """Return the ids of some customers: at the source, external, and at the destination."""
    file = folder / "crosswalk.parquet"
    if not file.exists():
        return []
    ids = pl.scan_parquet(file, glob=False).select("source_id", "external_id", "destination_id").head(OF_EACH)
    return [tuple(masks.field("external_id", one) or "" for one in row) for row in ids.collect().iter_rows()]


def planned(folder: Path, masks: Masks) -> list[Planned]:
    """Return about ten customers of a plan, of all kinds of actions: those that change most fields, and the first."""
    plan, files = folder / "plan.parquet", staged(folder)
    if not plan.exists() or not files:
        return []
    rows = (
        pl.scan_parquet(plan, glob=False)
        .filter(pl.col("action").is_in([*_PLANNED]), pl.col("row") < PATCHED)
        .bottom_k(_CANDIDATES, by="row")
        .sort(pl.col("changed").list.len().fill_null(0), "row", descending=[True, False])
        .group_by("action", maintain_order=True)
        .head(max(_PLANNED.values()))
        .collect()
    )
    after = records(folder, rows["row"], masks)
    before = _before(folder, rows["row"], masks)
    chosen = []
    for action, most in _PLANNED.items():
        of_action = rows.filter(pl.col("action") == action).head(most)
        chosen += [
            Planned(action, after[row], before.get(row, {}), tuple(changed or ()), reason and masks.reason(reason))
            for row, reason, changed in of_action.select("row", "reason", "changed").iter_rows()
            if row in after
        ]
    gone = folder / GONE
    if gone.exists():
        found = pl.scan_parquet(gone, glob=False).head(_DELETES).collect()
        chosen += [Planned("delete", {}, masks.record(customer), (), None) for customer in found.iter_rows(named=True)]
    return chosen


def _before(folder: Path, rows: pl.Series, masks: Masks) -> dict[int, dict[str, str | None]]:
    """Return the values that customers had at the destination, by row and field."""
    if (found := folder / FOUND).exists():
        before = pl.scan_parquet(found, glob=False).filter(pl.col("row").is_in(rows.implode())).collect()
        return {record["row"]: masks.record(_text_fields(record)) for record in before.iter_rows(named=True)}
    images = folder / BEFORE_IMAGES
    if not images.exists():
        return {}
    try:
        stored = durable.read_json(folder / IMAGE_FACTS)["stored"]
    except (FileNotFoundError, Damaged, KeyError):
        return {}
    kept = pl.scan_parquet(images, glob=False).filter(pl.col("row").is_in(rows.implode()))
    names = set(kept.collect_schema().names())
    columns = {field: f"={column}" for field, column in stored.items() if f"={column}" in names}
    schema = kept.collect_schema()
    shown = {field: _without_infinity(pl.col(column), schema[column]) for field, column in columns.items()}
    found_rows = kept.select("row", **shown).collect()
    return {record["row"]: masks.record(_shown(record)) for record in found_rows.iter_rows(named=True)}


def _without_infinity(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return dates and times as text where Python cannot hold them all, such as `infinity` of a database."""
    if not isinstance(dtype, pl.Date | pl.Datetime):
        return value
    a_day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    last = min((date.max - date(1970, 1, 1)).days * a_day, (1 << 63) - 1)
    first = max((date.min - date(1970, 1, 1)).days * a_day, 1 - (1 << 63))
    number = value.to_physical().cast(pl.Int64)
    form = _INSTANT if isinstance(dtype, pl.Datetime) else "%Y-%m-%d"
    text = (
        number.clip(first, last)
        .cast(pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64)
        .cast(dtype)
        .dt.strftime(form)
    )
    return (
        pl.when(number > last).then(pl.lit("infinity")).when(number < first).then(pl.lit("-infinity")).otherwise(text)
    )


def _text_fields(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields of a record that are text already; instants in the form of the others."""
    fields = shown_fields(record)
    return {name: value and value.removesuffix("+00") if name in INSTANTS else value for name, value in fields.items()}


def shown_fields(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the canonical fields of a record as text."""
    return _shown({name: record[name] for name in COLUMNS if name in record})


def _shown(record: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> str | None:
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, bytes):  # JSON of DuckDB
        return value.decode(errors="backslashreplace")
    return value.strftime(_INSTANT) if hasattr(value, "strftime") else str(value)


def name_of(customer: Mapping[str, str | None]) -> str:
    """Return by what people know a customer: its name and id."""
    parts = [customer.get("name"), customer.get("external_id") or customer.get("email")]
    return ", ".join(part for part in parts if part) or "?"


def staged(folder: Path) -> list[Path]:
    """Return the first files of the stage: one, and as many as are small."""
    files = sorted((folder / "stage").glob("*.parquet"))[:_FILES]
    sizes = accumulate(file.stat().st_size for file in files)
    return [file for number, (file, size) in enumerate(zip(files, sizes, strict=True)) if not number or size < _BYTES]
