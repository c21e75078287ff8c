"""Rows that many processes copy to the server at once, for the one that plans and writes them.

They are kept in an unlogged table beside the destination, as compressed pieces of Arrow: whatever the rows contain, the
server does not look at it, so characters that it cannot store do not matter until they are compared. The name of the
table is that of the run. A part that is copied again, since its process was lost, replaces what was copied before.

A process locks the table of its run while it lives. Tables that nobody has locked are what dead runs have left, and are
removed by the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import pyarrow as pa

from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.errors import Busy, ConfigError

_PREFIX: Final = "_tranship_stage_"
_PIECES: Final = pa.schema([("part", pa.int32()), ("rows", pa.int64()), ("piece", pa.binary())])
_OF_ENVIRONMENT: Final = {
    **{"PGHOST": "host", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "user", "PGPASSWORD": "password"},
    "PGSSLMODE": "sslmode",
}
"""Environment variable of libpq → the option of an address that means the same."""


@dataclass(frozen=True)
class StagingPlace:
    """What another machine needs to know to copy rows. The server may contain a password, and is not shown."""

    server: str = field(repr=False)
    shown: str
    schema: str
    table: str

    @property
    def name(self) -> str:
        """The quoted name of the table."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"


class Staging:
    """The table of one run, from its creation to its removal."""

    def __init__(self, address: PostgresAddress, run_id: str, environment: Mapping[str, str]) -> None:
        """Create the table, empty. What `environment` says about the server is part of the place, for other machines.
        Raises ConnectorError.
        """
        self._connection = connect(address)
        try:
            self.place = self._created(address, run_id, environment)
        except BaseException:
            self._connection.close()
            raise

    def _created(self, address: PostgresAddress, run_id: str, environment: Mapping[str, str]) -> StagingPlace:
        connection = self._connection
        known = f"(SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = {literal(address.schema or '')})"
        schema, user = connection.query(f"SELECT coalesce({known}, current_schema())::text, session_user::text")[0]
        if schema is None:
            raise ConfigError(f"{address.shown}: the search path has no schema. Name one with ?table=schema.table")
        place = StagingPlace(complete(address.server, environment, user), address.shown, schema, f"{_PREFIX}{run_id}")
        if not connection.query_value(f"SELECT pg_try_advisory_lock({_lock(schema, place.table)})"):
            raise Busy(f"{address.shown}: another process is writing run {run_id}. Wait for it or stop it.")
        self._remove_leftovers(schema)
        connection.execute(f"DROP TABLE IF EXISTS {place.name}")
        connection.execute(
            f"CREATE UNLOGGED TABLE {place.name} (part integer NOT NULL, rows bigint NOT NULL, piece bytea NOT NULL)"
        )
        return place

    def _remove_leftovers(self, schema: str) -> None:
        """Remove the tables of runs that are dead; those of another user stay."""
        tables = self._connection.query(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
            f"ON n.oid = c.relnamespace WHERE n.nspname = {literal(schema)} AND c.relkind = 'r' "
            f"AND starts_with(c.relname::text, {literal(_PREFIX)}) AND pg_has_role(c.relowner, 'USAGE')"
        )
        for (table,) in tables:
            # The run that made it holds the lock while it lives.
            if self._connection.query_value(f"SELECT pg_try_advisory_lock({_lock(schema, table)})"):
                self._connection.execute(f"DROP TABLE IF EXISTS {quoted(schema)}.{quoted(table)}")
                self._connection.query(f"SELECT pg_advisory_unlock({_lock(schema, table)})")

    def rows(self) -> int:
        """Return the number of rows that have been copied."""
        return int(self._connection.query_value(f"SELECT coalesce(sum(rows), 0)::bigint FROM {self.place.name}"))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, in any order."""
        for batch in self._connection.stream(f"SELECT piece FROM {self.place.name}"):
            for piece in batch.column(0):
                yield from pa.ipc.open_stream(piece.as_buffer())

    def close(self) -> None:
        """Remove the table and close the connection."""
        try:
            self._connection.execute(f"DROP TABLE IF EXISTS {self.place.name}")
        finally:
            self._connection.close()


def copy_part(place: StagingPlace, part: int, batches: Iterable[pa.RecordBatch]) -> int:
    """Copy the rows of a part in one transaction, in place of those that were copied before; return their number.
    Each batch is one piece. Raises ConnectorError.
    """
    connection = connect(PostgresAddress(place.server, place.schema, place.table, None, place.shown))
    counts: list[int] = []

    def pieces() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            counts.append(batch.num_rows)
            yield pa.RecordBatch.from_arrays(
                [pa.array([part], pa.int32()), pa.array([batch.num_rows]), pa.array([_piece(batch)], pa.binary())],
                schema=_PIECES,
            )

    try:
        connection.execute("BEGIN")
        # Another attempt at the same part may be under way.
        connection.query(f"SELECT pg_advisory_xact_lock({_lock(place.schema, f'{place.table} {part}')}) IS NULL")
        connection.execute(f"DELETE FROM {place.name} WHERE part = {part}")
        reader = pa.RecordBatchReader.from_batches(_PIECES, pieces())
        connection.copy_rows(place.table, reader, schema=place.schema)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return sum(counts)


def _piece(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _lock(schema: str, name: str) -> str:
    return f"hashtextextended({literal(f'tranship stage:{schema}.{name}')}, 0)"


def complete(server: str, environment: Mapping[str, str], user: str) -> str:
    """Return the address of a server with what the environment of this process says about it: other machines have
    another one.
    """
    place, _, options = server.removeprefix("postgresql://").partition("?")
    authority, _, database = place.partition("/")
    login, at, host = authority.rpartition("@")
    given = {option.partition("=")[0] for option in options.split("&") if option}
    given |= {"dbname"} if database else set()
    given |= {"host"} if host else set()
    given |= {"port"} if re.search(r":\d+$", host) else set()
    given |= {"user"} if at and login else set()
    given |= {"password"} if ":" in login else set()
    added = {"user": user}
    if "service" not in given and not environment.get("PGSERVICE"):  # what a service says counts more
        added |= {
            name: environment[variable] for variable, name in _OF_ENVIRONMENT.items() if environment.get(variable)
        }
    more = [f"{name}={quote(value, safe='')}" for name, value in added.items() if name not in given]
    return f"{server}{'&' if '?' in server else '?'}{'&'.join(more)}" if more else server
