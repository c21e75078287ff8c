"""The mark that shows that a table is as the last run that kept its history left it, without comparing its rows.

Each row names the transaction that wrote it (`xmin`). When a run ends, nobody else is writing to the table, since the
run has locked it. So a row has been written later if its transaction was not finished then and is none of those whose
rows the table had. Rows that were deleted are missing in the count, and other changes of the table (a new column, an
exchanged partition) in its description. Numbers of transactions mean nothing in another cluster, nor after two billion
further ones: then, as in any doubt, the rows are compared.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tranship.connectors.databases.history_table import HISTORIES
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.catalog import Relation, find_relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.quoting import literal, quoted

_MOST: Final = 1_000
"""Numbers of transactions that are kept; a table with more recent ones is compared."""
_OLDEST: Final = 2**31 - 10_000_000


class _Mark(msgspec.Struct, frozen=True):
    """What is kept of a table, as JSON."""

    table: list[Any]
    """Its description."""
    rows: int
    finished: int
    """The number before which all transactions were finished."""
    known: list[int]
    """The later transactions whose rows it had."""


def _read(mark: object) -> _Mark | None:
    """Return a mark, null for anything that no run has left."""
    try:
        return msgspec.json.decode(str(mark), type=_Mark)
    except (msgspec.MsgspecError, RecursionError):
        return None


class HistoryMark:
    """The mark of one table, in `_tranship_histories`. A user who may not write there has none."""

    def __init__(self, connection: Connection, relation: Relation) -> None:
        self._connection, self._relation = connection, relation

    def is_as_left(self) -> bool:
        """Return whether certainly no row has changed since `leave`."""
        connection, there = self._connection, self._there
        if there is None or not self._may(there, "SELECT") or not self._knows_cluster():
            return False
        found = connection.query(f"SELECT mark FROM {there.name} WHERE table_name = {literal(self._relation.table)}")
        mark = _read(found[0][0]) if found else None
        if mark is None or mark.table != self._description():
            return False
        now = int(connection.query_value("SELECT pg_current_xact_id()::text::bigint"))
        if not 0 <= now - mark.finished < _OLDEST:
            return False
        known = ", ".join(literal(str(number)) for number in mark.known)
        rows, later = connection.query(
            f"SELECT count(*), count(*) FILTER (WHERE {self._since(mark.finished)} "
            f"AND NOT t.xmin = ANY (ARRAY[{known}]::xid[])) FROM {self._relation.name} t"
        )[0]
        return bool(rows == mark.rows and later == 0)

    def leave(self) -> None:
        """Keep what the table is like now, at the end of a run that has locked it."""
        connection, there = self._connection, self._there
        name = f"{quoted(self._relation.schema)}.{quoted(HISTORIES)}"
        may_create = f"SELECT has_schema_privilege({literal(self._relation.schema)}, 'CREATE')"
        may = self._may(there, "SELECT", "INSERT", "UPDATE") if there else connection.query_value(may_create)
        if not may or not self._knows_cluster():
            return
        if there is None:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (table_name text PRIMARY KEY, mark text NOT NULL)")
        finished = int(connection.query_value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
        found = connection.query(
            f"SELECT CASE WHEN {self._since(finished)} THEN t.xmin::text END, count(*) FROM {self._relation.name} t "
            f"GROUP BY 1 LIMIT {_MOST}"
        )
        mark = "{}"
        if len(found) < _MOST:
            numbers = [int(number) for number, _ in found if number is not None]
            rows = sum(count for _, count in found)
            mark = msgspec.json.encode(_Mark(self._description(), rows, finished, numbers)).decode()
        connection.execute(
            f"INSERT INTO {name} VALUES ({literal(self._relation.table)}, {literal(mark)}) "
            "ON CONFLICT (table_name) DO UPDATE SET mark = excluded.mark"
        )

    @property
    def _there(self) -> Relation | None:
        return find_relation(
            self._connection, PostgresAddress("", self._relation.schema, HISTORIES, None, ""), HISTORIES
        )

    def _may(self, table: Relation, *rights: str) -> bool:
        return all(
            self._connection.query_value(f"SELECT has_table_privilege({table.oid}::oid, {literal(right)})")
            for right in rights
        )

    def _knows_cluster(self) -> bool:
        return bool(self._connection.query_value("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"))

    def _description(self) -> list[Any]:
        """Return the cluster, the database, the table, its partitions and its columns."""
        relation = self._relation
        cluster, database, columns = self._connection.query(
            "SELECT system_identifier::text, (SELECT oid::bigint FROM pg_catalog.pg_database "
            "WHERE datname = current_database()), (SELECT string_agg(attnum || ' ' || atttypid || ' ' || attname, ', ' "
            f"ORDER BY attnum) FROM pg_catalog.pg_attribute WHERE attrelid = {relation.oid} AND attnum > 0 "
            "AND NOT attisdropped) FROM pg_control_system()"
        )[0]
        return [cluster, database, relation.oid, sorted(relation.partitions), columns]

    @staticmethod
    def _since(finished: int) -> str:
        """Return whether the transaction of a row is not older than one, as SQL."""
        return f"age(t.xmin) BETWEEN 0 AND age({literal(str(finished % 2**32))}::xid)"
