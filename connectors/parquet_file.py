"""Parquet files as source and destination. Typed columns are taken as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from connectors import files
from connectors.contract import Batch, Layout
from connectors.errors import ConfigError
from schemas.faults import BROKEN

SUFFIXES = (".parquet", ".pq")
BATCH_ROWS = 65_536


@dataclass
class ParquetPart:
    """Some rows of one file."""

    source: str
    table: pa.RecordBatch
    first_row: int
    bytes_read: int

    def read(self) -> Batch:
        """Arrow → polars; rows are counted from 1."""
        records = pl.from_arrow(self.table)
        assert isinstance(records, pl.DataFrame)  # noqa: S101  (a record batch gives a frame)
        lines = pl.int_range(self.first_row, self.first_row + records.height, dtype=pl.UInt64, eager=True)
        return Batch(self.source, records, lines, pl.DataFrame(schema=BROKEN))


class ParquetSource:
    """One Parquet file, or several of one run."""

    def __init__(self, spec: str) -> None:
        self._files = files.expand(spec, SUFFIXES)
        self._opened = [(file.name, self._open(file)) for file in self._files]
        self.size: int | None = sum(parquet.metadata.num_rows for _, parquet in self._opened)

    def layouts(self) -> list[Layout]:
        """Column names as the files have them."""
        return [Layout(name, tuple(parquet.schema_arrow.names)) for name, parquet in self._opened]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Names, sizes and times of the files."""
        return [file.fingerprint() for file in self._files]

    def parts(self) -> Iterator[ParquetPart]:
        """Batches in file order. Raises ConfigError if a file breaks in the middle."""
        done = 0
        for name, parquet in self._opened:
            row = 1
            try:
                for table in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                    done += table.num_rows
                    yield ParquetPart(name, table, row, done)
                    row += table.num_rows
            except (pa.ArrowInvalid, OSError) as error:
                raise ConfigError(f"{name}: damaged Parquet near row {row}; nothing of it was loaded.") from error

    def close(self) -> None:
        """Close the files."""
        for _, parquet in self._opened:
            parquet.close()

    @staticmethod
    def _open(file: files.File) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(file.open(), pre_buffer=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise ConfigError(f"{file.name}: is no readable Parquet file (half written?).") from error


def write(frame: pl.LazyFrame, path: Path) -> None:
    """Write zstd Parquet, typed."""
    frame.sink_parquet(path, compression="zstd")


def destination(spec: str) -> files.WholeFile:
    """A Parquet file to be written whole."""
    return files.WholeFile(spec, write)
