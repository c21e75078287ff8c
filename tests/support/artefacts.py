"""Everything that a command has left in a folder, as text, including compressed data and columns."""

from __future__ import annotations

import gzip
import io
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl
import pyarrow as pa


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every file below a folder: its bytes, and its contents decoded."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            yield name, name
            yield from _decoded(name, path.read_bytes())


def _decoded(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    yield name, data.decode("utf-8", "replace")
    if data[:4] == b"PAR1":
        yield f"{name} (Parquet)", _cells(pl.read_parquet(io.BytesIO(data)))
    elif data[:2] == b"\x1f\x8b":
        yield from _decoded(f"{name} (gzip)", gzip.decompress(data))
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        yield from _decoded(f"{name} (zstd)", pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for inner in archive.namelist():
                yield from _decoded(f"{name}/{inner}", archive.read(inner))
    elif data[:15] == b"SQLite format 3" or data[8:12] == b"DUCK":
        with TemporaryDirectory() as folder:
            # A copy, since reading may change the file or wait for a lock.
            copy = Path(folder) / "copy.db"
            copy.write_bytes(data)
            yield f"{name} (tables)", _tables(copy)


def _tables(file: Path) -> str:
    if file.read_bytes()[:6] == b"SQLite":
        with closing(sqlite3.connect(file)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return "\n".join(str(row) for name in names for row in database.execute(f'SELECT * FROM "{name}"'))
    with closing(duckdb.connect(str(file), read_only=True)) as database:
        found = database.execute(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
        ).fetchall()
        return "\n".join(_rows(database, ".".join(f'"{part}"' for part in table)) for table in found)


def _rows(database: duckdb.DuckDBPyConnection, table: str) -> str:
    return "\n".join(row for (row,) in database.execute(f"SELECT t::VARCHAR FROM {table} AS t").fetchall())


def _cells(frame: pl.DataFrame) -> str:
    return "\n".join([*frame.columns, *(str(row) for row in frame.iter_rows())])
