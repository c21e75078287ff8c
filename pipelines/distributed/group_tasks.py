"""What tasks do with records that the engine has brought together and sorted: the rows of one key follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl
import pyarrow as pa

from tranship.pipelines import identify
from tranship.pipelines.distributed import stage_rows

CUSTOMER: Final = "_customer"
OWNER: Final = "_owner"
"""The customer of a record, and the customer's external id, null if it has none (`Identity.members`)."""


def find_conflicts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the warnings (`stage_rows.FINDING`) about records that share an id with a different customer, of rows as
    `identify.conflicts` takes them, sorted by `external_id`.
    """
    for candidates in _whole_groups(batches, "external_id"):
        yield from stage_rows.to_arrow(identify.conflicts(candidates), stage_rows.FINDING)


def fill_survivors(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield survivors (`stage_rows.RECORD`) after taking over missing values, of the records of whole customers with
    their CUSTOMER and OWNER. They are sorted by customer, each customer's survivor last.
    """
    for merged in _whole_groups(batches, CUSTOMER):
        members = merged.select(row="_row", customer=CUSTOMER, owner=OWNER).with_row_index("rank")
        filled = identify.patched(merged.drop(CUSTOMER, OWNER), members, fill=True)
        yield from stage_rows.to_arrow(filled, stage_rows.RECORD)


def _whole_groups(batches: Iterator[pa.RecordBatch], key: str) -> Iterator[pl.DataFrame]:
    """Yield all rows of one or several keys at a time."""
    held: list[pl.DataFrame] = []
    for frame in map(stage_rows.to_frame, batches):
        if frame.is_empty():
            continue
        last = frame[key][-1]
        ended = frame.height - int((frame[key] == last).sum())
        if ended or (held and held[0][key][0] != last):
            yield pl.concat([*held, frame.head(ended)])
            held = []
        held.append(frame.tail(frame.height - ended))
    if held:
        yield pl.concat(held)
