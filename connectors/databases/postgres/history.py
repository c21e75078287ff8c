"""The history of a table in Postgres: the tables and types that `connectors/databases/history.py` works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from tranship.connectors.databases.history_sql import Tracked
from tranship.connectors.databases.history_table import (
    COMMENT,
    COMMENTS,
    GONE,
    RECORDED_AT,
    VALID_FROM,
    VALID_TO,
    check_is_history,
    check_types,
    customer_columns,
    history_of,
    no_table,
)
from tranship.connectors.databases.postgres.address import LONGEST_NAME, PostgresAddress
from tranship.connectors.databases.postgres.catalog import ColumnType, Relation, column_types, find_relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.history_mark import HistoryMark
from tranship.connectors.databases.postgres.sql import created_type, type_sql
from tranship.connectors.databases.postgres.transfer import copy_to_server
from tranship.connectors.databases.postgres.values import value_sent
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, MappedField
from tranship.connectors.errors import ConfigError, Refused
from tranship.schemas.customer import KEY

_INSTANTS: Final = {
    "timestamptz": "{}",
    "timestamp": "({} AT TIME ZONE 'UTC')",
    "date": "({}::timestamp AT TIME ZONE 'UTC')",
}
"""Type of `updated_at` → its instant, as SQL."""


class PostgresHistory:
    """The history of one table, as a `Store`."""

    def __init__(self, context: WriteContext, relation: Relation, title: str) -> None:
        self._context, self._connection, self._title = context, context.connection, title
        self._relation = relation
        self._history = find_history(context.connection, relation.schema, relation.table)
        self._types = column_types(context.connection, relation)
        self._mark = HistoryMark(context.connection, relation)

    @property
    def exists(self) -> bool:
        """Whether there is a history."""
        return self._history is not None

    def execute(self, sql: str) -> int:
        """Run a statement."""
        return self._connection.execute(sql)

    def value(self, sql: str) -> int:
        """Return a number."""
        return int(self._connection.query_value(sql))

    def temporary(self, name: str) -> str:
        """Return the name of a temporary table."""
        return f"pg_temp._tranship_history_{name}"

    def load(self, name: str, rows: str) -> int:
        """Copy the rows of a query of the comparison to the server."""
        self.execute(f"DROP TABLE IF EXISTS {self.temporary(name)}")
        count = copy_to_server(self._connection, f"_tranship_history_{name}", self._context.duck.sql(rows))
        self.execute(f"ANALYZE {self.temporary(name)}")
        return count

    def values(self) -> dict[str, str]:
        """Return the values of the records, as they are sent."""
        return {mapped.column_name: value_sent(mapped) for mapped in self._context.written_fields}

    def is_as_left(self) -> bool:
        """Return whether nobody has written to the table."""
        return self._mark.is_as_left()

    def leave(self) -> None:
        """Keep who has written to the table until now."""
        self._mark.leave()

    def extend(self) -> None:
        """Create the history, or add the columns that the table has in addition."""
        self._types = column_types(self._connection, self._relation)
        if self.exists:
            self._add_columns()
        else:
            self._create()

    def _create(self) -> None:
        """Create the history, with a primary key of customer and beginning."""
        instant = "timestamptz"
        own = {VALID_FROM: f"{instant} NOT NULL", VALID_TO: instant, GONE: "boolean NOT NULL"}
        own |= {RECORDED_AT: f"{instant} NOT NULL", RUN: "text NOT NULL"}
        columns = {KEY: 'text COLLATE "C" NOT NULL', **self._shown_types(), **own}
        name = self._name
        self.execute(
            f"CREATE TABLE {name} ({', '.join(f'{quoted(key)} {kind}' for key, kind in columns.items())}, "
            f"PRIMARY KEY ({KEY}, {VALID_FROM}))"
        )
        self.execute(f"COMMENT ON TABLE {name} IS {literal(COMMENT.format(self._relation.table))}")
        for column, text in COMMENTS.items():
            self.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(text)}")
        self._history = find_history(self._connection, self._relation.schema, self._relation.table)

    def _add_columns(self) -> None:
        known = self._known_types()
        for name, kind in self._shown_types().items():
            if name not in known:
                self.execute(f"ALTER TABLE {self._name} ADD COLUMN {quoted(name)} {kind}")

    @property
    def _name(self) -> str:
        return replace(self._relation, table=history_of(self._relation.table)).name

    def _shown_types(self) -> dict[str, str]:
        """Return the columns of customers in the table, with their types. The server computes the others."""
        stored = {name: kind for name, kind in self._types.items() if not kind.computed}
        return {name: stored[name].shown for name in customer_columns(self._title, stored)}

    def _known_types(self) -> dict[str, str]:
        return (
            {name: kind.shown for name, kind in column_types(self._connection, self._history).items()}
            if self._history
            else {}
        )

    def tracked(self) -> Tracked:
        """Return the table and its history."""
        mapping, shown = self._context.mapping, history_of(self._relation.table)
        types, known = self._shown_types(), self._known_types()
        check_types(shown, types, known)
        key = f"t.{quoted(mapping.key)}::text" if mapping.key else f"({mapping.row_key})"
        stored = mapping.mapped("updated_at")
        time = _instant(self._types.get(stored.column_name) if stored else None)
        marked = mapping.bookkeeping and DELETED in self._types
        deleted = f"t.{quoted(DELETED)}"
        return Tracked(
            title=self._title,
            history=self._name,
            shown=shown,
            rows=self._relation.name,
            key=f'{key} COLLATE "C"',
            deleted=f"({deleted} IS NOT NULL)" if marked else "false",
            time=f"CASE WHEN {deleted} IS NULL THEN {time} ELSE greatest({time}, {deleted}) END" if marked else time,
            columns=tuple(name for name in types if name in known or not known),
            unseen=tuple(name for name in types if known and name not in known),
            given={mapped.column_name: self._loaded(mapped) for mapped in self._context.written_fields},
            erased={
                mapped.column_name for mapped in self._context.written_fields if mapped.erasable(self._context.request)
            },
            differ=_differ,
        )

    def _loaded(self, mapped: MappedField) -> str:
        """Return the value of a late record, in the type of its column."""
        kind, loaded = self._types.get(mapped.column_name), f"l.{quoted(mapped.column_name)}"
        return kind.cast(loaded) if kind else f"{loaded}::{type_sql(created_type(mapped.column_name))}"

    def check_rights(self) -> None:
        """Raise Refused if this user sees only a part of the table, or may not write its history."""
        connection, relation = self._connection, self._relation
        if connection.query_value(f"SELECT row_security_active({relation.oid}::oid)"):
            raise Refused(
                f"{self._title}: policies hide rows from this user, whose versions would end. Use a user who sees all "
                "rows, or leave --history out."
            )
        if self._history:
            lacking = [
                right
                for right in ("SELECT", "INSERT", "UPDATE")
                if not connection.query_value(f"SELECT has_table_privilege({self._history.oid}::oid, {literal(right)})")
            ]
            on = self._history.name
        else:
            may = connection.query_value(f"SELECT has_schema_privilege({literal(relation.schema)}, 'CREATE')")
            lacking, on = [] if may else ["CREATE"], f"SCHEMA {quoted(relation.schema)}"
        if lacking:
            user = connection.query_value("SELECT current_user::text")
            raise Refused(
                f"{self._title}: user {user} may not {'write' if self._history else 'create'} its history. Ask the "
                f"owner to run: GRANT {', '.join(lacking)} ON {on} TO {quoted(user)}. Or leave --history out."
            )


def _differ(left: Sequence[str], right: Sequence[str]) -> str:
    """Compare byte by byte: types such as json cannot be compared otherwise."""
    return f"record_image_ne(ROW({', '.join(left)}), ROW({', '.join(right)}))" if left else "false"


def _instant(kind: ColumnType | None) -> str:
    """Return the instant in a column of a row, as SQL; null if it has none."""
    if kind is None or kind.base not in _INSTANTS:
        return "NULL::timestamptz"
    found = _INSTANTS[kind.base].format(f"t.{quoted(kind.name)}")
    return f"CASE WHEN isfinite({found}) THEN {found} END"


def find_history(connection: Connection, schema: str, table: str) -> Relation | None:
    """Return the history of a table; null if there is none. Raises ConfigError if it cannot have one."""
    name = history_of(table)
    if len(name.encode()) > LONGEST_NAME:
        raise ConfigError(
            f"table {schema}.{table}: the name of its history, {name}, is longer than {LONGEST_NAME} bytes, after "
            "which Postgres truncates names. Rename the table, or leave --history out."
        )
    found = find_relation(connection, PostgresAddress("", schema, name, None, ""), name)
    if found:
        columns = column_types(connection, found)
        check_is_history(f"table {schema}.{table}", name, columns if found.kind in ("r", "p") else ())
    return found


def history_columns(connection: Connection, schema: str, table: str) -> dict[str, ColumnType]:
    """Return the columns of a table with the name of the history; none without one."""
    name = history_of(table)
    found = find_relation(connection, PostgresAddress("", schema, name, None, ""), name)
    return column_types(connection, found) if found else {}


def check_history(connection: Connection, address: PostgresAddress, title: str) -> bool:
    """Return whether the table of an address has a history. Raises ConfigError if it cannot have one."""
    schema = address.schema or str(connection.query_value("SELECT current_schema()::text"))
    relation = find_relation(connection, address, address.table)
    found = find_history(connection, relation.schema if relation else schema, address.table)
    if relation:
        customer_columns(title, column_types(connection, relation))
    elif found:
        raise no_table(title, history_of(address.table))
    return found is not None
