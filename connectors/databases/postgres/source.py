"""A Postgres table, view or query as a source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from tranship.connectors.contract import ArrowPart, Layout
from tranship.connectors.databases import as_of
from tranship.connectors.databases.history_table import VALID_FROM, history_of, is_history
from tranship.connectors.databases.narrowing import condition
from tranship.connectors.databases.own_tables import OWN_TABLES
from tranship.connectors.databases.postgres.address import PostgresAddress, parse_address
from tranship.connectors.databases.postgres.catalog import EARLIEST, LATEST, Relation, find_relation, qualified_name
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.history import history_columns
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import DELETED, bookkeeping_columns, deleted_rows_note
from tranship.connectors.errors import (
    ConfigError,
    ConnectorError,
    TranshipError,
)

BATCH_ROWS: Final = 65_536

_LISTED: Final = 20


class PostgresSource:
    """A table, a view or a query, in one snapshot. Customers marked as deleted in a created table are skipped."""

    def __init__(self, spec: str) -> None:
        self._address = address = parse_address(spec)
        self._name = f"{address.shown}:{'query' if address.query else qualified_name(address)}"
        if address.as_of:
            self._name += as_of.shown(address.as_of)
        self._connection = connect(address)
        try:
            self._begin_snapshot(address)
        except TranshipError:
            self._connection.close()
            raise

    def _begin_snapshot(self, address: PostgresAddress) -> None:
        connection = self._connection
        # Otherwise a second read of a big table could start elsewhere and number its rows differently.
        connection.execute("SET synchronize_seqscans = off")
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = None
        if address.query:
            relation = f"({address.query.rstrip().rstrip(';')}\n) q"
        else:
            found = find_relation(connection, address, address.table)
            if found is None:
                raise ConfigError(
                    f"{self._name}: there is no such table. Name one with ?table=schema.table. {self._there_are()}"
                )
            relation = f"{found.name} q"
        past: tuple[str, ...] = ()
        if address.as_of and found:
            relation, past = self._as_of(found, address.as_of)
        types = self._typed(relation)
        ours = bookkeeping_columns(types, of_query=bool(address.query))
        for hidden in ours:
            del types[hidden]
        kept = f" WHERE {quoted(DELETED)} IS NULL" if DELETED in ours else ""
        doubts = {name: doubt for name, base in types.items() if (doubt := _unreadable_when(f"q.{quoted(name)}", base))}
        asked = "".join(f", coalesce(bool_or({doubt}), false)" for doubt in doubts.values())
        size, *odd = self._fields_cast_by_server(f"SELECT count(*){asked} FROM {relation}{kept}")[0]
        as_text = {name for name, found in zip(doubts, odd, strict=True) if found}
        self._types = {name: "" if name in as_text else base for name, base in types.items()}
        self._columns = tuple(types)
        self._chosen = ", ".join(_readable(name, base) for name, base in self._types.items())
        self._rows = f"(SELECT * FROM {relation}{kept}) q"
        self._select = f"SELECT {self._chosen} FROM {relation}{kept}"
        deleted = f"SELECT count(*) FROM {relation} WHERE {quoted(DELETED)} IS NOT NULL"
        left = self._fields_cast_by_server(deleted)[0][0] if address.query and kept else 0
        self._notes = (*past, *deleted_rows_note(left))
        self.size: int | None = size
        self._count = size
        self.left_out = 0

    def _as_of(self, found: Relation, moment: datetime) -> tuple[str, tuple[str, ...]]:
        """Return the relation with the customers as of a time, and notes. Raises ConfigError if there is no history."""
        columns, name = history_columns(self._connection, found.schema, found.table), history_of(found.table)
        if not is_history(columns):
            raise as_of.no_history(self._name, name)
        history = f"{quoted(found.schema)}.{quoted(name)}"
        begins = self._connection.query_value(f"SELECT min({VALID_FROM}) FROM {history}")
        return f"{as_of.relation(history, list(columns), moment)} q", (as_of.note(moment, begins),)

    def _there_are(self) -> str:
        """Return the tables and views that this user may read, for a message."""
        found = self._connection.query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition "
            "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
            f"AND c.relname NOT IN ({OWN_TABLES}) AND has_table_privilege(c.oid, 'SELECT') "
            f"ORDER BY 1, 2 LIMIT {_LISTED + 1}"
        )
        names = [f"{schema}.{table}" for schema, table in found[:_LISTED]]
        more = ", …" if len(found) > _LISTED else ""
        return f"Readable tables: {', '.join(names)}{more}" if names else "This user may read no table."

    def _typed(self, relation: str) -> dict[str, str]:
        """Return column → name of its type. No row is queried."""
        schema = self._stream(f"SELECT * FROM {relation} LIMIT 0").schema
        repeated = {name for name in schema.names if schema.names.count(name) > 1}
        if repeated:
            raise ConfigError(f"{self._name}: returns column {min(repeated)} twice; give each its own name with AS.")
        if not schema.names:
            raise ConfigError(f"{self._name}: has no columns.")
        kinds = ", ".join(f"pg_typeof(q.{quoted(name)})::text" for name in schema.names)
        found = self._connection.query(f"SELECT {kinds} FROM (SELECT 1) one LEFT JOIN {relation} ON false")[0]
        return dict(zip(schema.names, found, strict=True))

    def _stream(self, sql: str) -> Any:
        try:
            return self._connection.stream(sql)
        except ConnectorError as error:
            if type(error) is ConnectorError and self._address.query:
                reason = str(error).removeprefix(f"{self._address.shown}: ")
                raise ConfigError(f"{self._name}: cannot be read: {reason}") from error
            raise

    def _fields_cast_by_server(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.query(sql)
        except (OSError, pa.ArrowException) as error:
            raise self._connection.stream_error(f"{self._name}: reading failed", error) from None

    def layouts(self) -> list[Layout]:
        """Return the columns, without those that Tranship keeps for itself."""
        return [Layout(self._name, self._columns, self._notes)]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name and number of rows. A table may change without either, so an earlier read is never reused."""
        return [{"name": self._name, "size": None, "rows": self._count}]

    def narrow(self, column: str, since: datetime | int) -> None:
        """Leave out old records in the query, and count them."""
        wanted = condition(column, self._types.get(column, ""), since)
        if wanted is None:
            return
        asked = f"SELECT count(*) FILTER (WHERE {wanted}) FROM {self._rows}"
        self.size = self._fields_cast_by_server(asked)[0][0]
        self.left_out = self._count - self.size
        self._select = f"SELECT {self._chosen} FROM {self._rows} WHERE {wanted}"

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Yield rows in the server's order."""
        row = 1
        try:
            for batch in self._connection.stream(self._select):
                for piece in (batch.slice(start, BATCH_ROWS) for start in range(0, batch.num_rows, BATCH_ROWS)):
                    yield ArrowPart(self._name, piece, row, row - 1 + piece.num_rows)
                    row += piece.num_rows
        except (OSError, pa.ArrowException) as error:
            raise self._connection.stream_error(f"reading failed near row {row}", error) from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


_DATED: Final = ("date", "timestamp without time zone", "timestamp with time zone")

_PLAIN: Final = (
    *("text", "character varying", "boolean", "smallint", "integer", "bigint", "real", "double precision"),
    *("text[]", "character varying[]", *_DATED),
)


def _unreadable_when(column: str, kind: str) -> str | None:
    """Return a condition for values that a frame cannot hold, as SQL: infinite or distant instants, nested arrays."""
    if kind in _DATED:
        return f"{column} NOT BETWEEN '{EARLIEST}' AND '{LATEST}'"
    return f"array_ndims({column}) > 1" if kind in _PLAIN and kind.endswith("[]") else None


def _readable(name: str, kind: str) -> str:
    """Return a column in a type that polars reads: nested types as JSON, unknown ones as text."""
    column = f"q.{quoted(name)}"
    if kind in _PLAIN:
        return column
    nested = kind.endswith("[]")
    return f"{f'to_json({column})' if nested else column}::text AS {quoted(name)}"
