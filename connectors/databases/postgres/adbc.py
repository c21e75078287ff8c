"""A connection to Postgres by ADBC: rows as Arrow straight from and to the server's binary COPY."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.connection import connection_string, stream_error
from tranship.connectors.databases.postgres.server_errors import connect_error, connection_lost, translate_error
from tranship.connectors.errors import TranshipError


class AdbcConnection:
    """A `connectors.databases.postgres.connection.Connection` by ADBC."""

    def __init__(self, address: PostgresAddress) -> None:
        """Connect. Raises ConfigError, Unreachable or Refused."""
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        self._address = address
        try:
            self._connection = dbapi.connect(connection_string(address), autocommit=True)
        except Error as error:
            raise connect_error(address, str(error)) from None
        self._cursor = self._connection.cursor()

    def execute(self, sql: str) -> int:
        """Run a statement."""
        with self._translating_errors():
            self._cursor.execute(sql)
            return int(self._cursor.rowcount)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._translating_errors():
            self._cursor.execute(sql)
            return list(self._cursor.fetchall())

    def query_value(self, sql: str) -> Any:
        """Return the only value of a query."""
        return self.query(sql)[0][0]

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Return the rows of a query in batches."""
        with self._translating_errors():
            self._cursor.execute(sql)
            return self._cursor.fetch_record_batch()

    def copy_rows(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a table."""
        where: dict[str, Any] = {"db_schema_name": schema} if schema else {"temporary": True}
        with self._translating_errors():
            return int(self._cursor.adbc_ingest(table, rows, mode="append" if schema else "create", **where))

    def stream_error(self, doing: str, error: Exception) -> TranshipError:
        """Return the error behind a broken stream."""
        return stream_error(self, self._address, doing, error)

    def close(self) -> None:
        """Close the connection."""
        self._cursor.close()
        self._connection.close()

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        from adbc_driver_manager import AdbcStatusCode, Error

        try:
            yield
        except Error as error:
            if error.sqlstate is None and error.status_code in (AdbcStatusCode.IO, AdbcStatusCode.UNKNOWN):
                raise connection_lost(self._address) from None
            diagnosis = {_text(key): _text(value) for key, value in error.details}
            primary = diagnosis.get("PG_DIAG_MESSAGE_PRIMARY") or str(error)
            name = diagnosis.get("PG_DIAG_CONSTRAINT_NAME") or diagnosis.get("PG_DIAG_COLUMN_NAME")
            context = diagnosis.get("PG_DIAG_CONTEXT")
            raise translate_error(self._address, error.sqlstate or "", primary, name, context) from None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
