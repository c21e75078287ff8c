"""The files of a stage: their folders, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow.parquet as pq

PART_FOLDERS = ("stage", "raw", "rejected", "warned", "present", "late", "sample")
PATCHED = 1 << 62
"""Set in the row number of a survivor that took over values; the original row is dropped."""
_CODED = ["_source", "customer_type", "country", "currency", "timezone", "language", "status", "state"]


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a file that is read once or never: quickly, without statistics."""
    frame.write_parquet(path, compression="lz4", statistics=False)


def write_stage(records: pl.DataFrame, path: Path) -> None:
    """Write with Arrow, with dictionaries for columns of few values: a fifth less work, here and for readers, than
    trying dictionaries on every column.
    """
    table = records.to_arrow(compat_level=pl.CompatLevel.newest())
    pq.write_table(table, path, compression="lz4", use_dictionary=_CODED, write_statistics=False)


class Pieces(AbstractContextManager["Pieces"]):
    """A Parquet file that is written piece by piece, in place of an earlier one. Without rows there is no file, or one
    with `columns`.
    """

    def __init__(self, path: Path, columns: Mapping[str, pl.DataType | type[pl.DataType]] | None = None) -> None:
        self._path, self._columns = path, columns
        self._writer: pq.ParquetWriter | None = None
        self.count = 0
        path.unlink(missing_ok=True)

    def add(self, piece: pl.DataFrame) -> None:
        """Append rows; the columns of all pieces are the same."""
        if piece.is_empty():
            return
        table = piece.to_arrow()
        if self._writer is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="lz4", write_statistics=False)
        self._writer.write_table(table)
        self.count += piece.height

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        elif self._columns is not None:
            write(pl.DataFrame(schema=self._columns), self._path)
