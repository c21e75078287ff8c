"""How far sources were read: `_tranship_state` and `_tranship_files`, in the same schema as the tables that runs write.

The first has a watermark for each table and way in which a source is read into it, the second the files that were read.
Both are written in the transaction of the run: after a crash, they and the data are there or missing together. The SQL
of this module runs in DuckDB and in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tranship.connectors.contract import FileMark, FilesRead, Watermark
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.errors import ConnectorError

STATE: Final = "_tranship_state"
_COLUMNS: Final = ("source", "reading", "cursor", "value", "run_id")
FILES: Final = "_tranship_files"
_OF_FILES: Final = ("path", "size", "tag", "sha256", "lines")
_NUMBERS: Final = ("size", "lines")
_AT_ONCE: Final = 500
_NAMES: Final = ", ".join(map(quoted, _COLUMNS))


def create(name: str) -> str:
    """Return the statement that creates the table of this quoted name, if it does not exist."""
    columns = ", ".join(f"{quoted(column)} text NOT NULL" for column in ("table_name", *_COLUMNS))
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}, written_at timestamptz NOT NULL)"


def select(name: str, table: str) -> str:
    """Return the query for the watermarks of a table."""
    return f"SELECT {_NAMES} FROM {name} WHERE table_name = {literal(table)} ORDER BY {_NAMES}"


def of_rows(rows: Sequence[tuple[Any, ...]]) -> list[Watermark]:
    """Return the rows of `select` as watermarks. Raises ConnectorError if another program wrote one."""
    if any(not isinstance(value, str) for row in rows for value in row):
        raise _foreign(STATE)
    try:
        return [Watermark(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
    except ValueError as error:
        raise _foreign(STATE) from error


def _foreign(table: str) -> ConnectorError:
    return ConnectorError(
        f"{table}: has a row that Tranship did not write. Remove that row, or the table: then everything is read again."
    )


def replace(name: str, table: str, old: Watermark | None, new: Watermark | None) -> Iterator[str]:
    """Yield the statements that replace a watermark of a table."""
    for reading in {mark.reading: None for mark in (old, new) if mark}:
        yield f"DELETE FROM {name} WHERE table_name = {literal(table)} AND reading = {literal(reading)}"
    if new:
        values = ", ".join(literal(getattr(new, column)) for column in _COLUMNS)
        yield f"INSERT INTO {name} (table_name, {_NAMES}, written_at) VALUES ({literal(table)}, {values}, now())"


def create_files(name: str) -> str:
    """Return the statement that creates the table of files of this quoted name, if it does not exist."""
    columns = ", ".join(
        f"{quoted(column)} {'bigint' if column in _NUMBERS else 'text NOT NULL'}"
        for column in ("table_name", "source", "reading", *_OF_FILES, "run_id")
    )
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}, read_at timestamptz NOT NULL)"


def select_files(name: str, table: str, reading: str) -> str:
    """Return the query for the files of a source that were read into a table."""
    columns = ", ".join(map(quoted, _OF_FILES))
    return f"SELECT {columns} FROM {name} WHERE table_name = {literal(table)} AND reading = {literal(reading)}"


def files_of_rows(rows: Sequence[tuple[Any, ...]]) -> list[FileMark]:
    """Return the rows of `select_files`. Raises ConnectorError if another program wrote one."""
    kinds = (str, int, str, str, int | None)
    if not all(isinstance(value, kind) for row in rows for value, kind in zip(row, kinds, strict=True)):
        raise _foreign(FILES)
    return [FileMark(*row) for row in rows]


def replace_files(name: str, table: str, files: FilesRead, run_id: str) -> Iterator[str]:
    """Yield the statements that keep files as they were read."""
    first = ", ".join(map(literal, (table, files.source, files.reading)))
    columns = ", ".join(map(quoted, ("table_name", "source", "reading", *_OF_FILES, "run_id", "read_at")))
    for start in range(0, len(files.marks), _AT_ONCE):
        some = files.marks[start : start + _AT_ONCE]
        paths = ", ".join(literal(mark.path) for mark in some)
        yield (
            f"DELETE FROM {name} WHERE table_name = {literal(table)} AND reading = {literal(files.reading)} "
            f"AND path IN ({paths})"
        )
        rows = ", ".join(
            f"({first}, {literal(mark.path)}, {mark.size}, {literal(mark.tag)}, {literal(mark.sha256)}, "
            f"{'NULL' if mark.lines is None else mark.lines}, {literal(run_id)}, now())"
            for mark in some
        )
        yield f"INSERT INTO {name} ({columns}) VALUES {rows}"


def forget_files(name: str, table: str, source: str | None) -> tuple[str, str]:
    """Return the statements that count and remove the files of a source, or of all."""
    where = f"WHERE table_name = {literal(table)}" + (f" AND source = {literal(source)}" if source is not None else "")
    return f"SELECT count(*) FROM {name} {where}", f"DELETE FROM {name} {where}"
