"""Parquet files as source and destination. Columns keep their types; UUIDs, JSON and bytes become text."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.contract import ArrowPart, Layout, notes_on, repeated, told_apart
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.connectors.files.whole_file import WholeFile, Written

_DASHED: Final = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
"""Start and length of each group of a UUID in its hexadecimal digits."""

BATCH_ROWS = 61_440


class ParquetSource:
    """One or several Parquet files."""

    def __init__(self, spec: str, suffixes: tuple[str, ...], seen: storage.Seen | None = None) -> None:
        self._files = storage.expand(spec, suffixes, seen)
        self._opened: list[tuple[str, pq.ParquetFile]] = []
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
            columns = told_apart(parquet.schema_arrow.names)
            twice = repeated(columns)
            layouts.append(Layout(name, tuple(columns), (*notes_on(twice), *file.notes), twice))
        return layouts

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Yield batches in file order. Raises ConfigError for a damaged file."""
        done = 0
        for name, parquet in self._opened:
            row, columns = 1, list(told_apart(parquet.schema_arrow.names))
            try:
                for table in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                    done += table.num_rows
                    plain = pa.RecordBatch.from_arrays([_plain(column) for column in table.columns], columns)
                    yield ArrowPart(name, plain, row, done)
                    row += table.num_rows
            except (pa.ArrowInvalid, OSError) as error:
                raise ConfigError(f"{name}: damaged Parquet near row {row}; nothing of it was loaded.") from error

    def close(self) -> None:
        """Close the files."""
        for _, parquet in self._opened:
            parquet.close(force=True)

    @staticmethod
    def _open(file: storage.File) -> pq.ParquetFile:
        opened = _spooled(file) if file.once else file.open()
        try:
            return pq.ParquetFile(opened, pre_buffer=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            opened.close()
            raise ConfigError(f"{file.name}: is no readable Parquet file (half written?).") from error


def _plain(values: pa.Array) -> pa.Array:
    """A column without types that have no text of their own: a UUID as it is usually written, JSON as text, bytes as
    the UTF-8 that they are, else (and if all have one length) in hexadecimal digits. Others as they are.
    """
    dtype = values.type
    plain = _plain_type(dtype)
    if plain == dtype:
        return values
    if isinstance(dtype, pa.UuidType):
        digits = pl.Series(values.storage.cast(pa.binary())).bin.encode("hex")
        return pl.select(pl.concat_str([digits.str.slice(*at) for at in _DASHED], separator="-")).to_series().to_arrow()
    if isinstance(dtype, pa.JsonType):
        return values.storage
    return pa.array([_plain_value(value, dtype) for value in values.to_pylist()], plain)


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    if isinstance(dtype, pa.UuidType | pa.JsonType) or _is_bytes(dtype):
        return pa.large_string()
    if pa.types.is_map(dtype):
        return pa.map_(_plain_type(dtype.key_type), _plain_type(dtype.item_type))
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in dtype])
    if (pa.types.is_list(dtype) or pa.types.is_large_list(dtype)) and _plain_type(dtype.value_type) != dtype.value_type:
        return pa.large_list(_plain_type(dtype.value_type))
    return dtype


def _is_bytes(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(is_kind(dtype) for is_kind in kinds)


def _plain_value(value: Any, dtype: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pa.UuidType | pa.JsonType):
        return str(value)
    if _is_bytes(dtype):
        if pa.types.is_fixed_size_binary(dtype):
            return value.hex()
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if pa.types.is_map(dtype):
        return [(_plain_value(key, dtype.key_type), _plain_value(item, dtype.item_type)) for key, item in value]
    if pa.types.is_struct(dtype):
        return {field.name: _plain_value(value[field.name], field.type) for field in dtype}
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return [_plain_value(item, dtype.value_type) for item in value]
    return value


def _spooled(file: storage.File) -> BinaryIO:
    """Return a temporary copy of a pipe on disk: Parquet is read from its end."""
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


def destination(spec: str, written: Written, *, overwrite: bool) -> WholeFile:
    """Return a Parquet file as destination."""
    return WholeFile(spec, write, written, overwrite=overwrite)
