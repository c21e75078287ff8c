"""The files of a stage: their folders, and how they are written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

PART_FOLDERS = ("stage", "raw", "rejected", "warned", "present")
PATCHED = 1 << 62
"""Set in the row number of a survivor that took over values; the original row is dropped."""
_CODED = ["_source", "customer_type", "country", "currency", "timezone", "language", "status", "state"]


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write what is read once or never: quickly, without statistics."""
    frame.write_parquet(path, compression="lz4", statistics=False)


def write_stage(records: pl.DataFrame, path: Path) -> None:
    """Write with Arrow, with dictionaries for columns of few values: a fifth less work, here and for readers, than
    trying dictionaries on every column.
    """
    table = records.to_arrow(compat_level=pl.CompatLevel.newest())
    pq.write_table(table, path, compression="lz4", use_dictionary=_CODED, write_statistics=False)
