"""The watermarks of sources: `_tranship_state`, a table in the same schema as the tables that the runs write.

It has one row for each table and way in which a source is read into it, written in the transaction of the run: after a
crash, data and watermark are both there or both missing. Its SQL runs in DuckDB and in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tranship.connectors.contract import Watermark
from tranship.connectors.databases.quoting import literal, quoted

STATE: Final = "_tranship_state"
_COLUMNS: Final = ("source", "reading", "cursor", "value", "run_id")
_NAMES: Final = ", ".join(map(quoted, _COLUMNS))


def create(name: str) -> str:
    """Return the statement that creates the table of this quoted name, if it does not exist."""
    columns = ", ".join(f"{quoted(column)} text NOT NULL" for column in ("table_name", *_COLUMNS))
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}, written_at timestamptz NOT NULL)"


def select(name: str, table: str) -> str:
    """Return the query for the watermarks of a table."""
    return f"SELECT {_NAMES} FROM {name} WHERE table_name = {literal(table)} ORDER BY {_NAMES}"


def of_rows(rows: Sequence[tuple[Any, ...]]) -> list[Watermark]:
    """Return the rows of `select` as watermarks."""
    return [Watermark(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def replace(name: str, table: str, old: Watermark | None, new: Watermark | None) -> Iterator[str]:
    """Yield the statements that replace a watermark of a table."""
    for reading in {mark.reading: None for mark in (old, new) if mark}:
        yield f"DELETE FROM {name} WHERE table_name = {literal(table)} AND reading = {literal(reading)}"
    if new:
        values = ", ".join(literal(getattr(new, column)) for column in _COLUMNS)
        yield f"INSERT INTO {name} (table_name, {_NAMES}, written_at) VALUES ({literal(table)}, {values}, now())"
