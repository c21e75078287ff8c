"""Parquet files as source and destination. `connectors/files/arrow_columns.py` reads their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.contract import ArrowPart, Layout, notes_on, repeated, told_apart
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.connectors.files.arrow_columns import unfolded, unfolded_names
from tranship.connectors.files.local_file import Written
from tranship.connectors.files.whole_file import WholeFile
from tranship.schemas.counted import counted

BATCH_ROWS = 61_440


class ParquetSource:
    """One or several Parquet files."""

    def __init__(self, files: Sequence[storage.File]) -> None:
        self._files = files
        self._opened: list[tuple[str, pq.ParquetFile]] = []
        self._copies: list[storage.Copy] = []
        try:
            for file in self._files:
                self._opened.append((file.name, self._open(file)))
        except ConfigError:
            self.close()
            raise
        self.size: int | None = sum(parquet.metadata.num_rows for _, parquet in self._opened)

    def layouts(self) -> list[Layout]:
        """Return the column names of each file."""
        layouts = []
        for file, (name, parquet) in zip(self._files, self._opened, strict=True):
            columns = told_apart(unfolded_names(parquet.schema_arrow))
            twice = repeated(columns)
            fields = parquet.schema_arrow
            none = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in fields], schema=fields)
            types = pl.DataFrame(_plain(none, list(columns))).schema
            layouts.append(Layout(name, tuple(columns), (*notes_on(twice), *file.notes), twice, types))
        return layouts

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Yield batches in file order. Raises ConfigError for a damaged file."""
        done = 0
        for name, parquet in self._opened:
            row, columns = 1, list(told_apart(unfolded_names(parquet.schema_arrow)))
            try:
                for table in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                    # Arrow reads text as it is: bytes that are not UTF-8 would cause undefined behaviour later.
                    table.validate(full=True)
                    done += table.num_rows
                    yield ArrowPart(name, _plain(table, columns), row, done)
                    row += table.num_rows
                if row - 1 != parquet.metadata.num_rows:
                    raise ConfigError(
                        f"{name}: damaged Parquet: it should have {counted(parquet.metadata.num_rows, 'row')}, and has "
                        f"{row - 1:,}; nothing of it was loaded. Export or copy it again."
                    )
            except (pa.ArrowInvalid, OSError) as error:
                raise ConfigError(f"{name}: damaged Parquet near row {row}; nothing was loaded from it.") from error

    def close(self) -> None:
        """Close the files."""
        for _, parquet in self._opened:
            parquet.close(force=True)
        for copy in self._copies:
            copy.close()

    def _open(self, file: storage.File) -> pq.ParquetFile:
        if file.once or not file.seekable:
            # Parquet is read from its end.
            self._copies.append(storage.Copy(file))
            file = self._copies[-1].file
        opened = file.open()
        try:
            return pq.ParquetFile(opened, pre_buffer=False)
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            opened.close()
            raise ConfigError(
                f"{file.name}: is not a readable Parquet file; it may be incomplete. Export or copy it again."
            ) from error


def _plain(table: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    """Return the columns of the source, under these names."""
    return pa.RecordBatch.from_arrays(unfolded(table.schema, table.columns), columns)


def write(frame: pl.LazyFrame, path: Path) -> None:
    """Write zstd Parquet, typed."""
    frame.sink_parquet(path, compression="zstd")


def destination(spec: str, written: Written, *, overwrite: bool) -> WholeFile:
    """Return a Parquet file as destination."""
    return WholeFile(spec, write, written, overwrite=overwrite)
