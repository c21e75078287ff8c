"""The changes of runs in Postgres: written in the transaction of a run, and read for `tranship changes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from tranship.connectors.contract import CHANGES as FRAME
from tranship.connectors.contract import FIRST_LOAD
from tranship.connectors.databases.before_images import image
from tranship.connectors.databases.changes import (
    COMMENT,
    KEY_OF_DELETE,
    NOT_IN_SOURCE,
    READ_COLUMNS,
    REASON_OF_UPDATE,
    UNDO,
    Assignment,
    creates,
    first_creates,
    key_of_create,
    key_of_update,
    of_customer,
    removals,
    updates,
)
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.postgres.address import PostgresAddress, parse_address
from tranship.connectors.databases.postgres.catalog import Relation, find_relation
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.connection import Connection, arrow_reader
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.deletes import GONE
from tranship.connectors.databases.postgres.known_rows import REMOVED, KnownTexts
from tranship.connectors.databases.postgres.transfer import SENT_ROWS, rows_by_place
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import CHANGES, DELETED
from tranship.connectors.errors import Refused
from tranship.schemas.customer import KEY

_KEY: Final = "_tranship_key"
_REASON: Final = "_tranship_reason"
"""Columns of the temporary tables with the rows to change or delete, beside their position."""


def find_changes(connection: Connection, schema: str) -> Relation | None:
    """Return the table with the changes in a schema; null if there is none."""
    return find_relation(connection, PostgresAddress("", schema, CHANGES, None, ""), CHANGES)


def check_rights(connection: Connection, shown: str, schema: str) -> None:
    """Raise Refused if this user cannot record changes in a schema."""
    found = find_changes(connection, schema)
    if not found and find_relation(connection, PostgresAddress("", schema, LEDGER, None, ""), LEDGER) is None:
        return  # it is created with the ledger, which is not optional
    if found:
        lacking, on = "INSERT", found.name
        may = f"has_table_privilege({found.oid}::oid, 'INSERT')"
    else:
        lacking, on = "CREATE", f"SCHEMA {quoted(schema)}"
        may = f"has_schema_privilege({literal(schema)}, 'CREATE')"
    if connection.query_value(f"SELECT {may}"):
        return
    user = connection.query_value("SELECT current_user::text")
    raise Refused(
        f"{shown}: user {user} may not {'write into' if found else 'create'} {schema}.{CHANGES}, where the changes of "
        f"a run are recorded. Ask the owner to run: GRANT {lacking} ON {on} TO {quoted(user)}. To record no changes: "
        "--changes off"
    )


class ChangeLog:
    """The changes of one run, recorded before each statement of its write; those of a new table after it."""

    def __init__(self, context: WriteContext, schema: str, table: str) -> None:
        self._context, self._connection, self._request = context, context.connection, context.request
        self._schema, self._table = schema, table

    @property
    def is_there(self) -> bool:
        """Whether the table exists."""
        return find_changes(self._connection, self._schema) is not None

    def create(self) -> None:
        """Create the table if it does not exist. An index over ranges of rows finds those of a run, and costs next to
        nothing to write.
        """
        if self.is_there:
            return
        name = f"{quoted(self._schema)}.{quoted(CHANGES)}"
        self._connection.execute(
            f"CREATE TABLE {name} (run_id text NOT NULL, table_name text NOT NULL, customer_key text, "
            "action text NOT NULL, changed_fields text[], before json, after json, reason text, "
            "changed_at timestamptz NOT NULL DEFAULT now())"
        )
        self._connection.execute(f"CREATE INDEX ON {name} USING brin (run_id)")
        self._connection.execute(f"COMMENT ON TABLE {name} IS {literal(COMMENT)}")

    def record_new_table(self) -> None:
        """Record all rows of the table, which this run has created. The server reads their keys there, so that they
        are not sent twice.
        """
        table = f"{quoted(self._schema)}.{quoted(self._table)}"
        self._insert("create", first_creates(f"t.{quoted(KEY)}", f"{table} t"))

    def record_first_creates(self, chosen: str) -> None:
        """Record the survivors `s` that are inserted into an empty table, with the join that chooses them."""
        rows = self._context.duck.sql(
            f"SELECT {literal(self._request.run_id)} AS run_id, {literal(self._table)} AS table_name, "
            f"{key_of_create(self._context.mapping)} AS customer_key, 'create' AS action, "
            f"{literal(FIRST_LOAD)} AS reason FROM _survivors s {chosen}"
        )
        self._copy(rows)

    @property
    def columns_of_creates(self) -> str:
        """The columns that the temporary table of new rows needs, as SQL of the comparison."""
        return f", {key_of_create(self._context.mapping)} AS {_KEY}"

    def record_creates(self, new: str, written: Mapping[str, str]) -> None:
        """Record the rows `u` in a temporary table, which are inserted, given column → value."""
        types = self._context.types
        stored = {name: types[name].cast(f"({value})") if name in types else value for name, value in written.items()}
        self._insert("create", creates(_POSTGRES, stored, f"u.{_KEY}", self._reason("NULL"), f"{new} u"))

    @property
    def columns_of_updates(self) -> str:
        """The columns that the temporary table of updates needs, as SQL of the comparison."""
        key, reason = self._key(key_of_update(self._context.mapping)), self._reason(REASON_OF_UPDATE)
        return f", {key} AS {_KEY}, {reason} AS {_REASON}"

    @property
    def columns_of_deletes(self) -> str:
        """The columns that the temporary table of deletes needs, as SQL of the comparison."""
        return f", {self._key(KEY_OF_DELETE)} AS {_KEY}"

    def _reason(self, otherwise: str) -> str:
        return literal(UNDO) if self._request.undo else otherwise

    def _key(self, known: str) -> str:
        return "NULL::VARCHAR" if self._context.mapping.key else known

    def record_updates(self, relation: Relation, changed: str, assigned: Mapping[str, str]) -> None:
        """Record the updates of the rows in a temporary table, given column → the value that it gets."""
        assignments = [Assignment(column, value) for column, value in assigned.items()]
        rows = f"{changed} u JOIN {relation.name} t ON {relation.is_at('u._place')}"
        self._insert("update", updates(_POSTGRES, assignments, self._key_on_server, f"u.{_REASON}", rows))

    def record_deletes(self, relation: Relation) -> None:
        """Record the rows of GONE, which are removed or marked as deleted."""
        if self._request.undo:
            self._record_known_deletes()
            return
        rows = f"{GONE} u JOIN {relation.name} t ON {relation.is_at('u.target')}"
        if self._request.hard_delete:
            changes = removals(_POSTGRES, list(self._context.types), self._key_on_server, literal(NOT_IN_SOURCE), rows)
        else:
            mark = [Assignment(DELETED, "now()")]
            changes = updates(_POSTGRES, mark, self._key_on_server, literal(NOT_IN_SOURCE), rows)
        self._insert("delete", changes)

    def _record_known_deletes(self) -> None:
        """Record the rows that an undo removes, without reading them again."""
        key, types = self._context.mapping.key, self._context.types
        key = f"t.{image(key)}" if key else KEY_OF_DELETE
        changes = removals(KnownTexts(types), list(types), key, literal(UNDO), REMOVED)
        rows = self._context.duck.sql(
            f"SELECT {literal(self._request.run_id)} AS run_id, {literal(self._table)} AS table_name, customer_key, "
            f"'delete' AS action, before, reason FROM ({changes})"
        )
        self._copy(rows)

    def _copy(self, rows: duckdb.DuckDBPyRelation) -> None:
        batches = rows.to_arrow_reader(SENT_ROWS)
        self._connection.copy_rows(CHANGES, arrow_reader(batches.schema, batches, ()), schema=self._schema)

    @property
    def _key_on_server(self) -> str:
        key = self._context.mapping.key
        return f"t.{quoted(key)}::text" if key else f"u.{_KEY}"

    def _insert(self, action: str, changes: str) -> None:
        with rows_by_place(self._connection), _in_utc(self._connection):
            self._connection.execute(
                f"INSERT INTO {quoted(self._schema)}.{quoted(CHANGES)} (run_id, table_name, customer_key, action, "
                f"changed_fields, before, after, reason) SELECT {literal(self._request.run_id)}, "
                f"{literal(self._table)}, customer_key, {literal(action)}, changed_fields::text[], before::json, "
                f"after::json, reason FROM ({changes}) c"
            )


class _Postgres:
    """The dialect of the server."""

    barrier = " OFFSET 0"

    def json(self, _column: str, value: str) -> str:
        """Return a value as the text of JSON."""
        return f"to_json({value})::text"

    def present(self, texts: Sequence[str]) -> str:
        """Return an array without nulls."""
        return f"array_remove(ARRAY[{', '.join(texts)}]::text[], NULL)"

    def joined(self, texts: Sequence[str]) -> str:
        """Return one text. A function such as concat_ws accepts at most 100 of them."""
        return f"array_to_string(ARRAY[{', '.join(texts)}]::text[], ', ')"


_POSTGRES: Final = _Postgres()


@contextmanager
def _in_utc(connection: Connection) -> Iterator[None]:
    """Write instants in UTC, whatever the time zone of the session."""
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    yield
    connection.execute("SET LOCAL TimeZone TO DEFAULT")


def changes(spec: str, run_id: str, customer: str | None) -> Iterator[pl.DataFrame]:
    """Yield what a run has changed in this table. Raises ConfigError and ConnectorError."""
    address = parse_address(spec)
    with closing(connect(address)) as connection:
        schema = address.schema or connection.query_value("SELECT current_schema()::text")
        found = find_changes(connection, schema)
        if found is None:
            return
        where = f"run_id = {literal(run_id)} AND table_name = {literal(address.table)}"
        where += f" AND {of_customer(customer)}" if customer is not None else ""
        try:
            for batch in connection.stream(
                f'SELECT {READ_COLUMNS} FROM {found.name} WHERE {where} ORDER BY customer_key COLLATE "C", action'
            ):
                yield pl.DataFrame(batch).cast(FRAME)
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise connection.stream_error(f"{found.name} cannot be read", error) from None
