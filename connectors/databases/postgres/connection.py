"""One connection to Postgres: what a driver must offer, statements, bulk rows in and out as Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import pyarrow as pa

from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.server_errors import NO_UTF8, NOT_UTF8, not_utf8_error, primary_message
from tranship.connectors.errors import (
    ConnectorError,
    Interfered,
    TranshipError,
)

_NAME: Final = "tranship"


class Connection(Protocol):
    """One connection. Transactions are begun and ended by statements; what is open when it closes is undone."""

    def execute(self, sql: str) -> int:
        """Run a statement; the number of rows it wrote. Raises ConnectorError."""
        ...

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives, as Python values. Raises ConnectorError."""
        ...

    def query_value(self, sql: str) -> Any:
        """The one value that a query gives."""
        ...

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """What a query gives, batch by batch. Errors on the way are OSError, or whatever the reader makes of that;
        `broken` says what they mean.
        """
        ...

    def copy_rows(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a new temporary table, or into the table of a schema; how many. Raises ConnectorError."""
        ...

    def stream_error(self, doing: str, error: Exception) -> TranshipError:
        """What to raise when a stream broke."""
        ...

    def close(self) -> None:
        """Undo what was not committed and hang up."""
        ...


def stream_error(connection: Connection, address: PostgresAddress, doing: str, error: Exception) -> TranshipError:
    """What a broken stream means: ask the connection whether it is still there."""
    try:
        connection.query("SELECT 1")
    except Interfered as gone:
        return gone
    except ConnectorError:
        pass  # the transaction is undone, which is what the first error did
    if re.search(f"{NOT_UTF8}|{NO_UTF8}", str(error)):
        return not_utf8_error(address)
    return ConnectorError(f"{address.shown}: {doing} ({primary_message(str(error))}).")


def connection_string(address: PostgresAddress) -> str:
    """What libpq is given: the address, a name for pg_stat_activity, and UTF-8, since the last of two values counts."""
    server = address.server
    name = "" if "application_name" in server else f"fallback_application_name={_NAME}&"
    return f"{server}{'&' if '?' in server else '?'}{name}client_encoding=UTF8"


def arrow_reader(schema: pa.Schema, batches: Iterable[pa.RecordBatch], json: Iterable[str]) -> pa.RecordBatchReader:
    """Batches as the wire wants them: text that is JSON says so, and lands in jsonb without a cast."""
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
