"""A connection to Postgres: the interface of a driver, and the code that both drivers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import pyarrow as pa

from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.server_errors import NO_UTF8, NOT_UTF8, not_utf8_error, stream_message
from tranship.connectors.errors import (
    ConnectorError,
    Interfered,
    TranshipError,
)

_NAME: Final = "tranship"


class Connection(Protocol):
    """One connection. Statements begin and end transactions; an open transaction is rolled back on close."""

    def execute(self, sql: str) -> int:
        """Run a statement; return the number of rows written. Raises ConnectorError."""
        ...

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query as Python values. Raises ConnectorError."""
        ...

    def query_value(self, sql: str) -> Any:
        """Return the only value of a query."""
        ...

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Return the rows of a query in batches. Errors while reading are OSError, ArrowException, or what the reader
        makes of them; pass them to `stream_error`.
        """
        ...

    def copy_rows(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a new temporary table, or a table of a schema; return their number. Raises ConnectorError."""
        ...

    def stream_error(self, doing: str, error: Exception) -> TranshipError:
        """Return the error to raise when a stream broke."""
        ...

    def close(self) -> None:
        """Roll back uncommitted changes and close the connection."""
        ...


def stream_error(connection: Connection, address: PostgresAddress, doing: str, error: Exception) -> TranshipError:
    """Return the error behind a broken stream: test whether the connection is still open."""
    try:
        connection.query("SELECT 1")
    except Interfered as gone:
        return gone
    except ConnectorError:
        pass  # the transaction is undone, which is what the first error did
    if re.search(f"{NOT_UTF8}|{NO_UTF8}", str(error)):
        return not_utf8_error(address)
    return ConnectorError(f"{address.shown}: {doing} ({stream_message(str(error))}).")


def connection_string(address: PostgresAddress) -> str:
    """Return the connection string: the address, a name for pg_stat_activity, and UTF-8 last, since that counts."""
    server = address.server
    name = "" if "application_name" in server else f"fallback_application_name={_NAME}&"
    return f"{server}{'&' if '?' in server else '?'}{name}client_encoding=UTF8"


def arrow_reader(schema: pa.Schema, batches: Iterable[pa.RecordBatch], json: Iterable[str]) -> pa.RecordBatchReader:
    """Return batches in which JSON text has Arrow's JSON type, so that it is copied into jsonb without a cast."""
    marked = set(json)
    fields = [field.with_type(pa.json_()) if field.name in marked else field for field in schema]
    wanted = pa.schema(fields)

    def each() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = [
                pa.ExtensionArray.from_storage(pa.json_(), column) if field.name in marked else column
                for field, column in zip(schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=wanted)

    return pa.RecordBatchReader.from_batches(wanted, each())
