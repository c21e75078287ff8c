"""Parquet files as source and destination. Typed columns are taken as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from connectors import files
from connectors.contract import ArrowPart, Layout, notes_on, repeated, told_apart
from connectors.errors import ConfigError

SUFFIXES = (".parquet", ".pq")
BATCH_ROWS = 61_440


class ParquetSource:
    """One Parquet file, or several of one run."""

    def __init__(self, spec: str, seen: files.Seen | None = None) -> None:
        self._files = files.expand(spec, SUFFIXES, seen)
        self._opened: list[tuple[str, pq.ParquetFile]] = []
        try:
            for file in self._files:
                self._opened.append((file.name, self._open(file)))
        except ConfigError:
            self.close()
            raise
        self.size: int | None = sum(parquet.metadata.num_rows for _, parquet in self._opened)

    def layouts(self) -> list[Layout]:
        """Column names as the files have them."""
        layouts = []
        for file, (name, parquet) in zip(self._files, self._opened, strict=True):
            columns = told_apart(parquet.schema_arrow.names)
            twice = repeated(columns)
            layouts.append(Layout(name, tuple(columns), (*notes_on(twice), *file.notes), twice))
        return layouts

    def fingerprint(self) -> list[dict[str, Any]]:
        """Names, sizes and times of the files."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Batches in file order. Raises ConfigError if a file breaks in the middle."""
        done = 0
        for name, parquet in self._opened:
            row, columns = 1, list(told_apart(parquet.schema_arrow.names))
            try:
                for table in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                    done += table.num_rows
                    yield ArrowPart(name, table.rename_columns(columns), row, done)
                    row += table.num_rows
            except (pa.ArrowInvalid, OSError) as error:
                raise ConfigError(f"{name}: damaged Parquet near row {row}; nothing of it was loaded.") from error

    def close(self) -> None:
        """Close the files."""
        for _, parquet in self._opened:
            parquet.close(force=True)

    @staticmethod
    def _open(file: files.File) -> pq.ParquetFile:
        opened = _spooled(file) if file.once else file.open()
        try:
            return pq.ParquetFile(opened, pre_buffer=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            opened.close()
            raise ConfigError(f"{file.name}: is no readable Parquet file (half written?).") from error


def _spooled(file: files.File) -> BinaryIO:
    """A copy of what comes through a pipe, on disk as long as it is open: Parquet is read from its end."""
    try:
        with file.open() as pipe:
            copy = tempfile.TemporaryFile()  # noqa: SIM115  (Parquet's reader closes it)
            shutil.copyfileobj(pipe, copy, 1 << 20)
    except OSError as error:
        raise ConfigError(f"{file.name}: cannot be copied to {tempfile.gettempdir()} ({error.strerror}).") from error
    copy.seek(0)
    return copy


def write(frame: pl.LazyFrame, path: Path) -> None:
    """Write zstd Parquet, typed."""
    frame.sink_parquet(path, compression="zstd")


def destination(spec: str, written: files.Written, *, overwrite: bool) -> files.WholeFile:
    """A Parquet file to be written whole."""
    return files.WholeFile(spec, write, written, overwrite=overwrite)
