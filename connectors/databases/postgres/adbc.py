"""The connection to Postgres: by ADBC, rows as Arrow straight from and to the server's binary COPY; where its driver is
not installed, by `connectors/databases/postgres/psycopg_copy.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final

import pyarrow as pa

from tranship.connectors.databases.postgres.connection import (
    Address,
    MissingDatabase,
    Wire,
    connection_string,
    lost,
    not_connected,
    translated,
    why_broken,
)
from tranship.connectors.errors import ConfigError, ConnectorError, MissingDriver, TranshipError
from tranship.connectors.existing import hint, similar

_SESSION: Final = (
    # Both drivers take text as UTF-8 and send it so, whatever the environment, the address or the user's defaults say.
    "SET client_encoding = 'UTF8'",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
    "SET IntervalStyle = 'iso_8601'",
    "SET standard_conforming_strings = on",
    # Warnings of the server go to stderr by themselves; what matters comes as an error.
    "SET client_min_messages = error",
    # A time-out for idle transactions is about forgotten ones; between plan and write this one waits for us.
    "SET idle_in_transaction_session_timeout = 0",
)


def connect(address: Address) -> Wire:
    """By ADBC, the fastest way, or without it by COPY. Raises MissingDriver, ConfigError, Unreachable or Refused."""
    try:
        return _connected(address)
    except MissingDatabase as error:
        meant = hint("database", similar(error.name, _databases(address)))
        raise ConfigError(f"{error} {meant[:1].upper()}{meant[1:]}{'.' * bool(meant)}".rstrip()) from None


def _databases(address: Address) -> list[str]:
    """Those of the server, as far as this user may ask for them."""
    server = f"{address.server}{'&' if '?' in address.server else '?'}dbname=postgres"
    try:
        wire = _connected(replace(address, server=server))
    except TranshipError:
        return []
    try:
        return [
            name
            for (name,) in wire.rows(
                "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate"
            )
        ]
    finally:
        wire.close()


def _connected(address: Address) -> Wire:
    wire: Wire
    if find_spec("adbc_driver_postgresql"):
        wire = AdbcWire(address)
    elif find_spec("psycopg"):
        from tranship.connectors.databases.postgres.psycopg_copy import CopyWire

        wire = CopyWire(address)
    else:
        raise MissingDriver(
            "postgresql: needs a driver that is not installed. Install it with: pip install 'tranship[postgres]'"
        )
    for setting in _SESSION:
        wire.run(setting)
    if wire.value("SELECT current_setting('client_encoding')") != "UTF8":
        raise ConnectorError(f"{address.shown}: refuses a session in UTF-8. Connect to the server without the pooler.")
    return wire


class AdbcWire:
    """`connectors.databases.postgres.connection.Wire` by ADBC."""

    def __init__(self, address: Address) -> None:
        """Connect. Raises ConfigError, Unreachable or Refused."""
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        self._address = address
        try:
            self._connection = dbapi.connect(connection_string(address), autocommit=True)
        except Error as error:
            raise not_connected(address, str(error)) from None
        self._cursor = self._connection.cursor()

    def run(self, sql: str) -> int:
        """Run a statement."""
        with self._answered():
            self._cursor.execute(sql)
            return int(self._cursor.rowcount)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._answered():
            self._cursor.execute(sql)
            return list(self._cursor.fetchall())

    def value(self, sql: str) -> Any:
        """The one value that a query gives."""
        return self.rows(sql)[0][0]

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """What a query gives, batch by batch."""
        with self._answered():
            self._cursor.execute(sql)
            return self._cursor.fetch_record_batch()

    def load(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a table."""
        where: dict[str, Any] = {"db_schema_name": schema} if schema else {"temporary": True}
        with self._answered():
            return int(self._cursor.adbc_ingest(table, rows, mode="append" if schema else "create", **where))

    def broken(self, doing: str, error: Exception) -> TranshipError:
        """What a broken stream means."""
        return why_broken(self, self._address, doing, error)

    def close(self) -> None:
        """Hang up."""
        self._cursor.close()
        self._connection.close()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        from adbc_driver_manager import AdbcStatusCode, Error

        try:
            yield
        except Error as error:
            if error.sqlstate is None and error.status_code in (AdbcStatusCode.IO, AdbcStatusCode.UNKNOWN):
                raise lost(self._address) from None
            said = {_text(key): _text(value) for key, value in error.details}
            primary = said.get("PG_DIAG_MESSAGE_PRIMARY") or str(error)
            name = said.get("PG_DIAG_CONSTRAINT_NAME") or said.get("PG_DIAG_COLUMN_NAME")
            raise translated(self._address, error.sqlstate or "", primary, name) from None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
