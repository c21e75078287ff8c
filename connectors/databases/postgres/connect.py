"""Connecting to Postgres by ADBC or, if its driver is not installed, by
`connectors/databases/postgres/psycopg_copy.py`; and the settings of a session.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from msgspec.structs import replace

from tranship.connectors.databases.postgres.adbc import AdbcConnection
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.server_errors import MissingDatabase
from tranship.connectors.errors import ConfigError, ConnectorError, MissingDriver, TranshipError
from tranship.connectors.existing import hint, similar

_SESSION: Final = (
    # Both drivers read and send UTF-8, whatever the environment, the address or the user's defaults set.
    "SET client_encoding = 'UTF8'",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
    "SET IntervalStyle = 'iso_8601'",
    "SET standard_conforming_strings = on",
    # The client library prints warnings of the server to stderr; anything that matters is an error.
    "SET client_min_messages = error",
    # The timeout is for forgotten transactions; this one is idle between plan and write.
    "SET idle_in_transaction_session_timeout = 0",
)


def connect(address: PostgresAddress) -> Connection:
    """Connect by ADBC, which is faster, or else by COPY. Raises MissingDriver, ConfigError, Unreachable or Refused."""
    try:
        return _connected(address)
    except MissingDatabase as error:
        meant = hint("database", similar(error.name, _databases(address)))
        raise ConfigError(f"{error} {meant[:1].upper()}{meant[1:]}{'.' * bool(meant)}".rstrip()) from None


def _databases(address: PostgresAddress) -> list[str]:
    """Return the databases of the server, if this user may list them."""
    server = f"{address.server}{'&' if '?' in address.server else '?'}dbname=postgres"
    try:
        connection = _connected(replace(address, server=server))
    except TranshipError:
        return []
    try:
        return [
            name
            for (name,) in connection.query(
                "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate"
            )
        ]
    finally:
        connection.close()


def _connected(address: PostgresAddress) -> Connection:
    connection: Connection
    if find_spec("adbc_driver_postgresql"):
        connection = AdbcConnection(address)
    elif find_spec("psycopg"):
        from tranship.connectors.databases.postgres.psycopg_copy import CopyConnection

        connection = CopyConnection(address)
    else:
        raise MissingDriver(
            "postgresql: needs a driver that is not installed. Install it with: pip install 'tranship[postgres]'"
        )
    try:
        for setting in _SESSION:
            connection.execute(setting)
        if connection.query_value("SELECT current_setting('client_encoding')") != "UTF8":
            raise ConnectorError(
                f"{address.shown}: does not allow a UTF-8 session. Connect to the server without the pooler."
            )
    except BaseException:
        connection.close()
        raise
    return connection
