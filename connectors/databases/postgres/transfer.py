"""Rows on their way between the comparison (DuckDB) and the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import duckdb

from tranship.connectors.databases.postgres.connection import Connection, arrow_reader

SENT_ROWS: Final = 8_192
"""About what the socket takes at once: client and server then work side by side."""


def copy_to_server(connection: Connection, table: str, rows: duckdb.DuckDBPyRelation) -> int:
    """Copy rows of the comparison into a new temporary table of the server; how many."""
    batches = rows.to_arrow_reader(SENT_ROWS)
    return connection.copy_rows(table, arrow_reader(batches.schema, batches, ()))


@contextmanager
def rows_by_place(connection: Connection) -> Iterator[None]:
    """Rows are fetched at their places, in order. Left to itself, the server would read and hash the whole table."""
    for join in ("hashjoin", "mergejoin"):
        connection.execute(f"SET LOCAL enable_{join} = off")
    yield
    for join in ("hashjoin", "mergejoin"):
        connection.execute(f"SET LOCAL enable_{join} TO DEFAULT")


def stream_into(duck: duckdb.DuckDBPyConnection, sql: str, stream: Any) -> None:
    """Let rows of the server stream through a statement of the comparison, as `_stream`."""
    duck.register("_stream", stream)
    try:
        duck.execute(sql).fetchall()
    finally:
        duck.unregister("_stream")
