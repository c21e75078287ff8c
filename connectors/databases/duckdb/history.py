"""The history of a table in DuckDB: the tables and types that `connectors/databases/history.py` works on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import (
    column_collations,
    existing_columns,
    look_up,
    table_exists,
)
from tranship.connectors.databases.history_sql import Tracked
from tranship.connectors.databases.history_table import (
    COMMENT,
    COMMENTS,
    GONE,
    HISTORIES,
    RECORDED_AT,
    VALID_FROM,
    VALID_TO,
    check_is_history,
    check_types,
    customer_columns,
    history_of,
    no_table,
)
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, MappedField, TableMapping
from tranship.schemas.customer import KEY


class DuckDbHistory:
    """The history of one table, as a `Store`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        address: DuckDbAddress,
        request: WriteRequest,
        mapping: TableMapping,
    ) -> None:
        self._connection, self._address = connection, address
        self._request, self._mapping = request, mapping
        self.exists = history_exists(connection, address)

    def execute(self, sql: str) -> int:
        """Run a statement."""
        found = self._connection.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def value(self, sql: str) -> int:
        """Return a number."""
        return int(self._connection.execute(sql).fetchall()[0][0])

    def temporary(self, name: str) -> str:
        """Return the name of a temporary table."""
        return f"temp._history_{name}"

    def load(self, name: str, rows: str) -> int:
        """Keep the rows of a query: the comparison has the same connection."""
        return self.execute(f"CREATE OR REPLACE TEMP TABLE {self.temporary(name)} AS {rows}")

    def values(self) -> dict[str, str]:
        """Return the values of the records."""
        return {mapped.column_name: mapped.value for mapped in self._given}

    @property
    def _given(self) -> list[MappedField]:
        return [mapped for mapped in self._mapping.fields if mapped.field in self._request.survivors.columns]

    def is_as_left(self) -> bool:
        """Return whether the rows have the same digest."""
        if not table_exists(self._connection, self._address, HISTORIES):
            return False
        found = self._connection.execute(
            f"SELECT mark FROM {self._address.histories} WHERE table_name = ?", [self._address.table.lower()]
        ).fetchall()
        return found == [(self._mark(),)]

    def leave(self) -> None:
        """Keep the digest of the rows."""
        self.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.histories} (table_name VARCHAR NOT NULL, mark VARCHAR NOT NULL)"
        )
        table = literal(self._address.table.lower())
        self.execute(f"DELETE FROM {self._address.histories} WHERE table_name = {table}")
        self.execute(f"INSERT INTO {self._address.histories} VALUES ({table}, {literal(self._mark())})")

    def _mark(self) -> str:
        """Return the number of rows and the sum of their hashes, which another version of DuckDB may compute in another
        way.
        """
        tracked = self.tracked()
        hashed = ", ".join(map(quoted, (KEY, *tracked.columns, *tracked.unseen, GONE)))
        rows, total = self._connection.execute(
            f"SELECT count(*), sum(hash({hashed})::HUGEINT)::VARCHAR FROM ({tracked.current}) c"
        ).fetchall()[0]
        return json.dumps([duckdb.__version__, list(self._types().items()), rows, total])

    def extend(self) -> None:
        """Create the history, or add the columns that the table has in addition."""
        if self.exists:
            self._add_columns()
        else:
            self._create()
            self.exists = True

    def _create(self) -> None:
        """Create the history. Like the table, it has no index."""
        own = {VALID_FROM: "TIMESTAMP WITH TIME ZONE NOT NULL", VALID_TO: "TIMESTAMP WITH TIME ZONE"}
        own |= {GONE: "BOOLEAN NOT NULL", RECORDED_AT: "TIMESTAMP WITH TIME ZONE NOT NULL", RUN: "VARCHAR NOT NULL"}
        columns = {KEY: "VARCHAR NOT NULL", **self._types(), **own}
        name = self._address.history
        self.execute(f"CREATE TABLE {name} ({', '.join(f'{quoted(key)} {kind}' for key, kind in columns.items())})")
        self.execute(f"COMMENT ON TABLE {name} IS {literal(COMMENT.format(self._address.table))}")
        for column, text in COMMENTS.items():
            self.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(text)}")

    def _add_columns(self) -> None:
        known = history_columns(self._connection, self._address)
        for name, dtype in self._types().items():
            if name.casefold() not in known:
                self.execute(f"ALTER TABLE {self._address.history} ADD COLUMN {quoted(name)} {dtype}")

    def _types(self) -> dict[str, str]:
        """Return the columns of customers in the table, with their types."""
        columns, _ = existing_columns(self._connection, self._address)
        return {name: columns[name].dtype for name in customer_columns(self._address.title, columns)}

    @property
    def _history(self) -> str:
        return history_of(self._address.table)

    def tracked(self) -> Tracked:
        """Return the table and its history."""
        connection, address, mapping = self._connection, self._address, self._mapping
        types, known = self._types(), history_columns(self._connection, self._address)
        check_types(self._history, types, {name: known[name.casefold()] for name in types if name.casefold() in known})
        exact = ", ".join(
            f"{quoted(name)} COLLATE c AS {quoted(name)}" for name in column_collations(connection, address)
        )
        marked = mapping.bookkeeping
        stored = mapping.mapped("updated_at")
        updated = f"TRY_CAST(t.{quoted(stored.column_name)} AS TIMESTAMP WITH TIME ZONE)" if stored else "NULL"
        time = f"CASE WHEN isfinite({updated}) THEN {updated} END" if stored else "NULL::TIMESTAMP WITH TIME ZONE"
        return Tracked(
            title=address.title,
            history=address.history,
            shown=self._history,
            rows=f"(SELECT * REPLACE ({exact}) FROM {address.name})" if exact else address.name,
            key=f"t.{quoted(mapping.key)}::VARCHAR" if mapping.key else mapping.row_key,
            deleted=f"(t.{quoted(DELETED)} IS NOT NULL)" if marked else "false",
            time=f"CASE WHEN t.{quoted(DELETED)} IS NULL THEN {time} ELSE greatest({time}, t.{quoted(DELETED)}) END"
            if marked
            else time,
            columns=tuple(name for name in types if name.casefold() in known or not known),
            unseen=tuple(name for name in types if known and name.casefold() not in known),
            given={mapped.column_name: f"l.{quoted(mapped.column_name)}" for mapped in self._given},
            erased={mapped.column_name for mapped in self._given if mapped.erasable(self._request)},
            differ=_differ,
        )


def _differ(left: Sequence[str], right: Sequence[str]) -> str:
    pairs = zip(left, right, strict=True)
    return " OR ".join(f"{one} IS DISTINCT FROM {other}" for one, other in pairs) or "false"


def history_columns(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> dict[str, str]:
    """Return the columns of a table with the name of the history, folded, with their types; none without one."""
    what = "lower(column_name), data_type"
    return dict(look_up(connection, address, what, "duckdb_columns()", history_of(address.table)))


def history_exists(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> bool:
    """Return whether the table has a history. Raises ConfigError if it cannot have one."""
    name = history_of(address.table)
    there = table_exists(connection, address, name)
    if there:
        check_is_history(address.title, name, history_columns(connection, address))
    if table_exists(connection, address, address.table):
        customer_columns(address.title, existing_columns(connection, address)[0])
    elif there:
        raise no_table(address.title, name)
    return there
