"""Records that are given in Python, written to a file: the file is read like any other, and can be read again.

Frames become Parquet with the columns of `connectors/files/arrow_columns.py`, batch by batch; iterables of dicts become
JSON Lines (`connectors/files/dicts.py`). Records that can be read only once are read here, once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.addresses import SpooledRecords
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import dicts
from tranship.connectors.files.arrow_columns import unfolded, unfolded_names
from tranship.connectors.local_failures import unwritable

_ROWS: Final = 61_440
_WIDE: Final = (pl.Int128, pl.UInt128)
"""Types of polars that Arrow does not have."""


def is_records(value: object) -> bool:
    """Return whether this is a frame, an Arrow stream or an iterable that may contain dicts, rather than an address or
    a list of sources. An empty list contains no records.
    """
    if isinstance(value, str | bytes | bytearray | os.PathLike | Mapping):
        return False
    if isinstance(value, list | tuple):
        return not value or isinstance(value[0], Mapping)
    return _is_frame(value) or isinstance(value, Iterable)


def _is_frame(value: object) -> bool:
    arrow = any(hasattr(value, name) for name in ("__arrow_c_stream__", "__arrow_c_array__"))
    return isinstance(value, pl.LazyFrame) or arrow or _is_pandas(value) or _is_data_set(value)


def _is_pandas(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_data_set(value: object) -> bool:
    data_set = sys.modules.get("pyarrow.dataset")
    return data_set is not None and isinstance(value, data_set.Dataset)


def spool(value: Any, name: str, folder: Path, most: int | None = None) -> SpooledRecords:
    """Write the records to a new file in `folder`, and return where they are. With `most`, further records need not be
    written.

    Raises ConfigError if these are not records. Exceptions of an iterable are passed on.
    """
    is_frame = _is_frame(value)
    path = folder.absolute() / f"{secrets.token_hex(8)}.{'parquet' if is_frame else 'jsonl'}"
    try:
        with _written_to(folder):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        notes = _write_frame(value, name, path, most) if is_frame else _write_dicts(value, name, path, most)
        with _written_to(folder), path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return SpooledRecords(path, name, digest, notes)


@contextmanager
def _written_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(error, folder) from error


def _write_dicts(records: Iterable[Any], name: str, path: Path, most: int | None) -> tuple[str, ...]:
    with path.open("w", encoding="ascii") as out:
        for lines in dicts.lines(records if most is None else islice(records, most), name):
            # An error of the iterable itself is not one of the disk.
            with _written_to(path.parent):
                out.write(lines)
        with _written_to(path.parent):
            out.flush()
    return ()


def _write_frame(frame: Any, name: str, path: Path, most: int | None) -> tuple[str, ...]:
    try:
        batches, notes = _batches(frame, most)
        _write(batches, path)
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"<{name}>: cannot be read as a table ({reason}). Give a DataFrame.") from error
    except OSError as error:
        raise ConfigError(f"<{name}>: cannot be read, or kept in {path.parent} ({error}).") from error
    return notes


def _batches(value: Any, most: int | None) -> tuple[pa.RecordBatchReader, tuple[str, ...]]:
    """Return the rows of a frame as Arrow, with notes for people."""
    if _is_pandas(value):
        from tranship.connectors.files.pandas_frames import table_of

        table, notes = table_of(value)
        return table.to_reader(_ROWS), notes
    if isinstance(value, pl.DataFrame):
        value = value.lazy()
    if isinstance(value, pl.LazyFrame):
        return _of_polars(value if most is None else value.head(most)), ()
    if _is_data_set(value):
        return value.scanner(batch_size=_ROWS).to_reader(), ()
    if hasattr(value, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(value), ()
    batch = pa.record_batch(value)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch]), ()


def _of_polars(frame: pl.LazyFrame) -> pa.RecordBatchReader:
    schema = frame.collect_schema()
    for column, dtype in schema.items():
        if dtype == pl.Object:
            raise ConfigError(f"column {column!r} contains Python objects. Convert it to text: .cast(pl.String)")
    wide = [name for name, dtype in schema.items() if dtype in _WIDE]
    frame = frame.with_columns(pl.col(name).cast(pl.String) for name in wide)
    empty = pl.DataFrame(schema=frame.collect_schema()).to_arrow()

    def batches() -> Iterator[pa.RecordBatch]:
        for part in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
            yield from part.to_arrow().cast(empty.schema).to_batches()

    return pa.RecordBatchReader.from_batches(empty.schema, batches())


def _write(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write the columns of all batches, those of structs unfolded, in plain types."""
    names = unfolded_names(reader.schema)
    first = _plain(reader.schema.empty_table().combine_chunks().to_batches(), reader.schema, names)
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=1) as writer:
        for batch in reader:
            if batch.num_rows:
                writer.write_batch(_plain([batch], reader.schema, names).cast(first.schema), _ROWS)


def _plain(batches: list[pa.RecordBatch], schema: pa.Schema, names: list[str]) -> pa.RecordBatch:
    columns = batches[0].columns if batches else [pa.array([], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(unfolded(schema, columns), names)
