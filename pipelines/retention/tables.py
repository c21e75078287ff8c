"""Tables in the files of runs (Parquet, CSV, JSON Lines, DuckDB), read and written again without some of their rows."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import polars as pl

from tranship.connectors.errors import Damaged

Mask: TypeAlias = Callable[[pl.Schema], pl.Expr]
"""The rows of a table of this schema that go."""

AT_A_TIME = 50_000
"""Rows of a DuckDB table that are in memory."""


def is_table(file: Path) -> bool:
    """Return whether a file is one that this module reads."""
    return file.suffix in (".parquet", ".csv", ".jsonl", ".duckdb")


def frames(file: Path) -> Iterator[pl.LazyFrame]:
    """Yield the tables in a file. Raises Damaged."""
    try:
        if file.suffix == ".parquet":
            yield pl.scan_parquet(file, glob=False)
        elif file.suffix == ".csv":
            yield _csv(file.read_bytes()).lazy()
        elif file.suffix == ".jsonl":
            yield pl.DataFrame({"_text": file.read_text(encoding="utf-8").splitlines()}, {"_text": pl.String}).lazy()
        elif file.suffix == ".duckdb":
            with contextlib.closing(duckdb.connect(str(file), read_only=True)) as database:
                for name, _ in _tables_of(database):
                    for piece in _pieces(database, name):
                        yield piece.lazy()
    except (OSError, pl.exceptions.PolarsError, duckdb.Error, UnicodeDecodeError) as error:
        raise Damaged(f"{file}: cannot be read. It was changed or damaged since Tranship wrote it.") from error


def count(file: Path, mask: Mask) -> int:
    """Return how many rows of a file's tables go. Raises Damaged."""
    return sum(
        int(frame.filter(mask(frame.collect_schema())).select(pl.len()).collect().item()) for frame in frames(file)
    )


def write_without(file: Path, target: Path, mask: Mask) -> None:
    """Write a file again without the rows that go; the others keep their order, in CSV and JSON Lines their bytes."""
    if file.suffix == ".parquet":
        table = pl.scan_parquet(file, glob=False)
        gone = mask(table.collect_schema())
        table.filter(~gone).sink_parquet(target, compression="lz4", statistics=False)
    elif file.suffix == ".csv":
        data = file.read_bytes()
        rows = _csv(data)
        gone_rows = rows.select(mask(rows.schema).alias("gone"))["gone"].to_list()
        head, *records = _records(data)
        target.write_bytes(head + b"".join(each for each, gone in zip(records, gone_rows, strict=True) if not gone))
    elif file.suffix == ".jsonl":
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        texts = pl.DataFrame({"_text": lines}, {"_text": pl.String})
        gone_rows = texts.select(mask(texts.schema).alias("gone"))["gone"].to_list()
        target.write_text("".join(each for each, gone in zip(lines, gone_rows, strict=True) if not gone), "utf-8")
    else:
        _write_database(file, target, mask)


def _csv(data: bytes) -> pl.DataFrame:
    if not data.strip():
        return pl.DataFrame()
    return pl.read_csv(io.BytesIO(data), infer_schema=False)


def _records(data: bytes) -> list[bytes]:
    """Return the lines of a CSV file that Tranship wrote, each with its end; a quoted line break is part of a line."""
    found: list[bytes] = []
    pending = b""
    for line in re.findall(rb"[^\n]*\n|[^\n]+$", data):
        pending += line
        if pending.count(b'"') % 2 == 0:
            found.append(pending)
            pending = b""
    return [*found, pending] if pending else found


def _tables_of(database: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Return name and definition of each table."""
    return database.execute("SELECT table_name, sql FROM duckdb_tables() WHERE NOT internal ORDER BY 1").fetchall()


def _pieces(database: duckdb.DuckDBPyConnection, name: str) -> Iterator[pl.DataFrame]:
    for batch in database.sql(f'SELECT * FROM "{name}"').to_arrow_reader(AT_A_TIME):
        frame = pl.from_arrow(batch)
        if isinstance(frame, pl.DataFrame):
            yield frame


def _write_database(file: Path, target: Path, mask: Mask) -> None:
    """Write a new database: in the old one, deleted rows would be left in free blocks."""
    with (
        contextlib.closing(duckdb.connect(str(file), read_only=True)) as source,
        contextlib.closing(duckdb.connect(str(target))) as copy,
    ):
        for name, definition in _tables_of(source):
            copy.execute(definition)
            for piece in _pieces(source, name):
                kept = piece.filter(~mask(piece.schema))
                copy.register("kept", kept.to_arrow())
                copy.execute(f'INSERT INTO "{name}" BY POSITION SELECT * FROM kept')
                copy.unregister("kept")
        copy.execute("CHECKPOINT")


def values(frame: pl.LazyFrame, columns: Sequence[str], where: pl.Expr) -> list[tuple[Any, ...]]:
    """Return the different values of these columns in the rows that fit."""
    return frame.filter(where).select(columns).unique().collect().rows()
