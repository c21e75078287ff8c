"""The values of `updated_at` that were last written into a table that sets this column itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.catalog import Relation, find_relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.transfer import copy_to_server, stream_into
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import WRITTEN, TableMapping
from tranship.connectors.databases.written_times import compute_written_times
from tranship.connectors.errors import Refused


class LastWritten:
    """The table `_tranship_written` beside a table that may set `updated_at` itself."""

    def __init__(self, connection: Connection, relation: Relation) -> None:
        self._connection, self._relation = connection, relation
        self._there = find_relation(connection, PostgresAddress("", relation.schema, WRITTEN, None, ""), WRITTEN)

    @property
    def is_there(self) -> bool:
        """Whether the table exists in this schema."""
        return self._there is not None

    def is_needed(self, mapping: TableMapping) -> bool:
        """Return whether the table may set `updated_at` itself, or did so when it was last written."""
        mapped = mapping.mapped("updated_at")
        return mapped is not None and bool(
            self._sets_the_time(mapped.column_name) or (self._there and self._rows(" LIMIT 1"))
        )

    def _sets_the_time(self, column: str) -> bool:
        relation = self._relation
        parts = f"ARRAY[{', '.join(map(str, relation.partitions or (relation.oid,)))}]::oid[]"
        return bool(
            self._connection.query_value(
                "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger "
                f"WHERE tgrelid = ANY({parts}) AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & 20 <> 0) "
                "OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite "
                f"WHERE ev_class = {relation.oid} AND ev_type IN ('2', '3') AND ev_enabled IN ('O', 'A')) "
                f"OR EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = ANY({parts}) AND relkind = 'f') "
                "OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
                f"WHERE a.attrelid = {relation.oid} AND a.attname = {literal(column)} "
                "AND (a.atthasdef OR t.typdefault IS NOT NULL))"
            )
        )

    def _rows(self, limit: str) -> list[tuple[Any, ...]]:
        return self._connection.query(f"SELECT 1 FROM {self._name} WHERE table_name = {self._table}{limit}")

    @property
    def _name(self) -> str:
        return f"{quoted(self._relation.schema)}.{quoted(WRITTEN)}"

    @property
    def _table(self) -> str:
        return literal(self._relation.table)

    def load_into(self, duck: duckdb.DuckDBPyConnection) -> None:
        """Create `_written` for the comparison."""
        duck.execute("CREATE OR REPLACE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)").fetchall()
        if self._there:
            stream = self._connection.stream(
                f"SELECT customer, updated_at FROM {self._name} WHERE table_name = {self._table}"
            )
            stream_into(duck, "INSERT INTO _written SELECT customer, updated_at FROM _stream", stream)

    def notes(self) -> Iterator[str]:
        """Yield a note if values cannot be kept."""
        if not self._can_be_kept():
            yield (
                f"the table may set updated_at itself, and this user may not create or write {self._name}: records "
                "cannot be compared with the last written values, so older ones are written, too"
            )

    def _can_be_kept(self) -> bool:
        if self._there:
            return all(
                self._connection.query_value(f"SELECT has_table_privilege({self._there.oid}::oid, {literal(right)})")
                for right in ("INSERT", "UPDATE")
            )
        return bool(
            self._connection.query_value(f"SELECT has_schema_privilege({literal(self._relation.schema)}, 'CREATE')")
        )

    def write(self, duck: duckdb.DuckDBPyConnection, mapping: TableMapping, request: WriteRequest) -> None:
        """Record the values that the plan writes."""
        if not self._can_be_kept():
            return
        compute_written_times(duck, mapping, request)
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._name} (table_name text NOT NULL, customer text NOT NULL, "
            "updated_at timestamptz, PRIMARY KEY (table_name, customer))"
        )
        copy_to_server(self._connection, "_tranship_wrote", duck.sql("SELECT customer, kept, updated_at FROM _wrote"))
        self._remove()
        self._connection.execute(
            f"INSERT INTO {self._name} (table_name, customer, updated_at) "
            f"SELECT {self._table}, customer, updated_at FROM pg_temp._tranship_wrote WHERE kept "
            "ON CONFLICT (table_name, customer) DO UPDATE SET updated_at = excluded.updated_at"
        )
        self._connection.execute("DROP TABLE pg_temp._tranship_wrote")

    def _remove(self) -> None:
        """Remove the customers that an undo makes unknown again."""
        gone = "SELECT customer FROM pg_temp._tranship_wrote WHERE NOT kept"
        if not self._connection.query(f"{gone} LIMIT 1"):
            return
        if not self._connection.query_value(f"SELECT has_table_privilege({literal(self._name)}, 'DELETE')"):
            user = self._connection.query_value("SELECT current_user::text")
            raise Refused(
                f"{self._name}: user {user} lacks DELETE, which an undo needs. Nothing was written. Ask its owner to "
                f"run: GRANT DELETE ON {self._name} TO {quoted(user)}."
            )
        self._connection.execute(
            f"DELETE FROM {self._name} w USING ({gone}) g WHERE w.table_name = {self._table} "
            "AND w.customer = g.customer"
        )
