"""What tasks do with records that the engine has brought together by a key: all records of a key are in one partition.

A partition is taken as a whole and put in order here, since not every engine keeps rows sorted on their way to a task.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
from msgspec import Struct

from tranship.pipelines import identify
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.identify import SurvivorRule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CUSTOMER: Final = "_customer"
OWNER: Final = "_owner"
"""The customer of a record, and the customer's external id, null if it has none (`Identity.members`)."""
_ROWS: Final = 200_000
"""About as many records are in a partition, unless one key has more."""


def together(records: DataFrame, key: str) -> DataFrame:
    """Return the records, all of a key in one partition, with as many in each as a task holds with ease."""
    return records.repartition(1 + records.count() // _ROWS, key)


def find_conflicts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the warnings (`stage_rows.FINDING`) about records that share an id with a different customer, of rows as
    `identify.conflicts` takes them.
    """
    candidates = _whole(batches)
    if candidates is not None:
        found = identify.conflicting(candidates)
        of_id = found.select("row", "source", "line", pl.lit(identify.CONFLICT).alias("code"), value="external_id")
        yield from stage_rows.to_arrow(of_id, stage_rows.FINDING)


class FillTask(Struct, frozen=True):
    """Yields survivors (`stage_rows.RECORD`) after they took over missing values, of all records of their customers
    with CUSTOMER and OWNER.
    """

    survivor: SurvivorRule
    order: tuple[str, ...]
    """The columns that decide between records of the same time (`identity.by_place`)."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return the survivors of the customers in this partition."""
        merged = _whole(batches)
        if merged is None:
            return
        by_time = ["updated_at"] if self.survivor == "newest" else []
        columns = [*by_time, *(f"_{name}" for name in self.order)]
        ranked = merged.sort(columns, descending=self.survivor == "first", nulls_last=False)
        newest = pl.col("_row").last().over(CUSTOMER)
        members = ranked.select(row="_row", survivor=newest, owner=OWNER).with_row_index("rank")
        filled = identify.patched(ranked.drop(CUSTOMER, OWNER), members, fill=True)
        yield from stage_rows.to_arrow(filled, stage_rows.RECORD)


def _whole(batches: Iterator[pa.RecordBatch]) -> pl.DataFrame | None:
    frames = [frame for frame in map(stage_rows.to_frame, batches) if not frame.is_empty()]
    return pl.concat(frames) if frames else None
