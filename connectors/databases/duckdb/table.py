"""A DuckDB table as source and destination: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an
absolute path. As a source `?query=SELECT …` reads what a query gives.

A table made here (`connectors/databases/table_mapping.py` says what is in it) has no primary key: on a big table
DuckDB's index doubles the time of a load and its memory; that keys are unique is seen to here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb

from tranship.connectors.contract import Plan, Waiting, WriteRequest
from tranship.connectors.databases.diff import Classifier, compute_written_times, create_survivors_view, plan_new_table
from tranship.connectors.databases.duckdb.address import parse_address
from tranship.connectors.databases.duckdb.catalog import (
    column_defaults,
    describe_missing,
    look_up,
    references_to,
    replaced_with,
)
from tranship.connectors.databases.duckdb.compare import DuckDbComparedTable
from tranship.connectors.databases.duckdb.connection import connect
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER, LEDGER_COUNTS, ledger_row
from tranship.connectors.databases.table_mapping import (
    COMMENTS,
    DELETED,
    RUN,
    TYPE_OF,
    WRITTEN,
    Column,
    MappedField,
    TableMapping,
    check_mirror_bookkeeping,
    first_line,
    literal,
    map_table,
    missing_columns,
    new_key,
    quoted,
)
from tranship.connectors.errors import ConfigError, ConnectorError, Interfered, Refused, shown
from tranship.connectors.existing import hint, not_created, similar_files, will_be_created
from tranship.schemas.customer import COLUMNS, KEY


class DuckDbTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str, create: bool = True, waiting: Waiting | None = None) -> None:
        self._address = parse_address(spec)
        if self._address.query:
            raise ConfigError(f"{shown(spec)}: a query can be read, not written; name a table.")
        if not self._address.path.parent.is_dir():
            raise ConfigError(f"{shown(spec)}: the folder {self._address.path.parent} does not exist.")
        self._memory, self._waiting = memory, waiting
        self._open: duckdb.DuckDBPyConnection | None = None
        self._mapping: TableMapping | None = None
        if not self._address.path.exists():
            if not create:
                raise not_created(*self._missing_file())
        elif not self._exists(self._connection(), self._address.table) and not create:
            raise not_created(*self._missing(self._connection()))

    def plan(self, request: WriteRequest) -> Plan:
        """Compare the survivors with the table; its transaction stays open for `apply`."""
        rows = request.workspace / "plan.parquet"
        self._mapping = None
        if self._open is None and not self._address.path.exists():
            # Nothing is there, and nothing is made before it is written.
            with duckdb.connect() as nowhere:
                create_survivors_view(nowhere, request)
                return plan_new_table(nowhere, request, rows, notes=(will_be_created(*self._missing_file()),))
        connection = self._connection()
        try:
            self._configure(connection, request)
            connection.execute("BEGIN").fetchall()
            if not self._exists(connection, self._address.table):
                create_survivors_view(connection, request)
                return plan_new_table(connection, request, rows, notes=(will_be_created(*self._missing(connection)),))
            notes: list[str] = []
            columns = self._columns(connection)
            if request.evolve:
                notes += self._evolve(connection, request, columns)
                columns = self._columns(connection)
            self._mapping = mapping = self._map_table(connection, columns)
            check_mirror_bookkeeping(self._where, mapping, request)
            if self._sets_the_time_itself(connection, mapping):
                self._mapping = mapping = replace(mapping, written_key=mapping.row_key)
                self._see_written(connection)
            return Classifier(
                connection, DuckDbComparedTable(connection, self._address, request, mapping), mapping, request
            ).plan(rows, (*notes, *mapping.unstored_notes(request)))
        except duckdb.Error as error:
            raise ConnectorError(f"{self._where}: comparing with it failed ({first_line(error)}).") from error

    def apply(self, request: WriteRequest, plan: Plan) -> None:
        """Insert, update, delete and write the ledger row; commit. Whatever fails, the table is as before."""
        if self._open is None:
            connection = self._connection()
            self._configure(connection, request)
            connection.execute("BEGIN").fetchall()
            if self._exists(connection, self._address.table):
                connection.execute("ROLLBACK").fetchall()
                raise Interfered(f"{self._where}: another process has made it since the comparison.")
        connection = self._connection()
        try:
            if self._mapping is None:
                self._create(connection)
                self._insert(
                    connection, request, plan, self._map_table(connection, self._columns(connection)), everything=True
                )
            else:
                create_survivors_view(connection, request)
                if self._mapping.written_key and "updated_at" in request.survivors.columns:
                    self._write_written(connection, request, self._mapping)
                self._update(connection, request, plan, self._mapping)
                self._delete(connection, request, plan)
                everything = plan.counts["create"] == request.survivors.count
                self._insert(connection, request, plan, self._mapping, everything=everything)
            self._write_ledger(connection, request, plan)
            connection.execute("COMMIT").fetchall()
        except duckdb.ConstraintException as error:
            raise Refused(
                f"{self._where}: refused the load; nothing was written ({_without_values(error)}). "
                "Change the constraint or correct the records."
            ) from None
        except duckdb.Error as error:
            raise ConnectorError(
                f"{self._where}: writing failed and was undone; it is as before ({first_line(error)})."
            ) from error

    def applied(self, run_id: str) -> bool:
        """Whether the ledger has this run."""
        if self._open is None:
            return False
        connection = self._connection()
        if not self._exists(connection, LEDGER):
            return False
        found = connection.execute(f"SELECT 1 FROM {self._address.ledger} WHERE run_id = ?", [run_id])
        return bool(found.fetchall())

    def close(self) -> None:
        """Undo what was not committed and let the file go."""
        if self._open is not None:
            self._open.close()
            self._open = None

    # What is there ------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"{self._address.path}: table {self._address.table}"

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._open is None:
            self._open, self._address = connect(self._address, read_only=False, waiting=self._waiting)
            # Not as a setting of `connect`: the same file as a source would then be another configuration.
            self._open.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        return self._open

    def _configure(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest) -> None:
        connection.execute("SET preserve_insertion_order = false").fetchall()
        connection.execute(f"SET temp_directory = {literal(request.workspace / 'spill')}").fetchall()

    def _look_up(self, connection: duckdb.DuckDBPyConnection, what: str, of: str, table: str) -> list[tuple[Any, ...]]:
        return look_up(connection, self._address, what, of, table)

    def _exists(self, connection: duckdb.DuckDBPyConnection, table: str) -> bool:
        if self._look_up(connection, "1", "duckdb_views()", table):
            raise ConfigError(f"{self._where}: is a view; it can be read, not written. Name the table behind it.")
        return bool(self._look_up(connection, "1", "duckdb_tables()", table))

    def _missing_file(self) -> tuple[str, str]:
        """What would be created, and a hint at what may have been meant."""
        path = self._address.path
        return f"database file {path}", hint("file", similar_files(path))

    def _missing(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
        """The same of a table or schema in a file that is there."""
        return describe_missing(connection, self._address)

    def _columns(self, connection: duckdb.DuckDBPyConnection) -> dict[str, Column]:
        """The table's columns, without those that it computes."""
        rows = self._look_up(
            connection,
            "column_name, data_type, NOT is_nullable, column_default IS NOT NULL, is_generated",
            "duckdb_columns()",
            self._address.table,
        )
        hiding = next((row[0] for row in rows if row[0].lower() == "rowid"), None)
        if hiding:
            raise ConfigError(f"{self._where}: column {hiding} hides what DuckDB tells rows apart by. Rename it.")
        return {
            name: Column(name, dtype, required=must and not given, null_becomes_default=must and given)
            for name, dtype, must, given, computed in rows
            if not computed
        }

    def _evolve(
        self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, columns: Mapping[str, Column]
    ) -> list[str]:
        """Add the columns that the table lacks; what was added, for people."""
        describe_missing = missing_columns(list(columns), self._computed(connection), request)
        for name in describe_missing:
            connection.execute(
                f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(name)} {_type_of(name)}"
            ).fetchall()
        return [f"column {name} is added" for name in describe_missing]

    def _map_table(self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column]) -> TableMapping:
        return map_table(self._where, columns, self._unique(connection), self._computed(connection))

    def _computed(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        rows = self._look_up(connection, "column_name, is_generated", "duckdb_columns()", self._address.table)
        return [name for name, computed in rows if computed]

    def _unique(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
        rows = self._look_up(
            connection, "constraint_type, constraint_column_names", "duckdb_constraints()", self._address.table
        )
        single = (names for kind, names in rows if kind in ("UNIQUE", "PRIMARY KEY") and len(names) == 1)
        return tuple(dict.fromkeys(name for (name,) in single))

    # Where the table sets `updated_at` by itself --------------------------------------------------------------

    def _sets_the_time_itself(self, connection: duckdb.DuckDBPyConnection, mapping: TableMapping) -> bool:
        mapped = mapping.mapped("updated_at")
        if mapped is None:
            return False
        rows = self._look_up(
            connection, "column_name, column_default IS NOT NULL", "duckdb_columns()", self._address.table
        )
        # Also where something is kept from when there was a default: the times in the table are still those.
        return dict(rows)[mapped.column_name] or self._see_written(connection) > 0

    def _see_written(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Make `_written`, what was last written into the table; how many customers that are."""
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)"
        ).fetchall()
        if not self._exists(connection, WRITTEN):
            return 0
        found = connection.execute(
            f"INSERT INTO _written SELECT customer, updated_at FROM {self._address.written_table} WHERE table_name = ?",
            [self._address.table.lower()],
        ).fetchall()
        return int(found[0][0])

    def _write_written(
        self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, mapping: TableMapping
    ) -> None:
        compute_written_times(connection, mapping, request)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.written_table} (table_name VARCHAR NOT NULL, "
            "customer VARCHAR NOT NULL, updated_at TIMESTAMP WITH TIME ZONE)"
        ).fetchall()
        table = literal(self._address.table.lower())
        connection.execute(
            f"DELETE FROM {self._address.written_table} WHERE table_name = {table} "
            "AND customer IN (SELECT customer FROM _wrote)"
        ).fetchall()
        connection.execute(
            f"INSERT INTO {self._address.written_table} SELECT {table}, customer, updated_at FROM _wrote"
        ).fetchall()

    # Writing ------------------------------------------------------------------------------------------------

    def _create(self, connection: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"{quoted(name)} {_type_of(name)}" for name in (*COLUMNS, RUN, DELETED))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.place}").fetchall()
        connection.execute(f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns})").fetchall()
        for name, text in COMMENTS.items():
            on = f"{self._address.name}.{quoted(name)}"
            connection.execute(f"COMMENT ON COLUMN {on} IS {literal(text)}").fetchall()

    def _insert(
        self,
        connection: duckdb.DuckDBPyConnection,
        request: WriteRequest,
        plan: Plan,
        mapping: TableMapping,
        *,
        everything: bool,
    ) -> None:
        if not plan.counts["create"]:
            return
        brought = [mapped for mapped in mapping.fields if mapped.field in request.survivors.columns]
        defaults = (
            column_defaults(connection, self._address)
            if any(mapped.column.null_becomes_default for mapped in brought)
            else {}
        )
        given = {
            mapped.column_name: f"coalesce({mapped.value}, {defaults[mapped.column_name]})"
            if mapped.column.null_becomes_default
            else mapped.value
            for mapped in brought
        }
        if mapping.key:
            given[mapping.key] = new_key("s")
        if mapping.bookkeeping:
            given[RUN] = literal(request.run_id)
        create_survivors_view(connection, request)
        chosen = "" if everything else " JOIN _plan p ON p.row = s._row AND p.action = 'create'"
        done = connection.execute(
            f"INSERT INTO {self._address.name} ({', '.join(map(quoted, given))}) "
            f"SELECT {', '.join(given.values())} FROM _survivors s{chosen}"
        ).fetchall()
        _as_planned("create", done[0][0], plan)

    def _update(
        self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, plan: Plan, mapping: TableMapping
    ) -> None:
        if not plan.counts["update"]:
            return
        changed = [mapped for mapped in mapping.fields if mapped.field in plan.changed_fields]
        # A referenced row cannot be replaced: what replaces it is set only where it changes.
        heavy = replaced_with(connection, self._address) if references_to(connection, self._address) else set()
        apart = [mapped for mapped in changed if mapped.column_name in heavy]
        sets = {mapped.column_name: _updated_value(mapped, request) for mapped in changed if mapped not in apart}
        if mapping.bookkeeping:
            sets |= {RUN: literal(request.run_id), DELETED: "NULL"}
        elif not sets:
            # Nothing else changes: the rows are counted all the same.
            still = next(mapped.column_name for mapped in mapping.fields if mapped.column_name not in heavy)
            sets = {still: f"t.{quoted(still)}"}
        done = self._set(connection, sets, "true")
        _as_planned("update", done, plan)
        for mapped in apart:
            self._set(
                connection,
                {mapped.column_name: _updated_value(mapped, request)},
                f"list_contains(p.changed, {literal(mapped.field)})",
            )

    def _set(self, connection: duckdb.DuckDBPyConnection, sets: Mapping[str, str], where: str) -> int:
        done = connection.execute(
            f"UPDATE {self._address.name} t SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"WHERE p.action = 'update' AND t.rowid = p.target AND {where}"
        ).fetchall()
        return int(done[0][0])

    def _delete(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, plan: Plan) -> None:
        if not plan.counts["delete"]:
            return
        gone = "WHERE t.rowid IN (SELECT target FROM _gone)"
        if request.hard_delete:
            done = connection.execute(f"DELETE FROM {self._address.name} t {gone}").fetchall()
        else:
            done = connection.execute(
                f"UPDATE {self._address.name} t SET {quoted(DELETED)} = now(), "
                f"{quoted(RUN)} = {literal(request.run_id)} {gone}"
            ).fetchall()
        _as_planned("delete", done[0][0], plan)

    def _write_ledger(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, plan: Plan) -> None:
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in (*LEDGER_COUNTS, *LATER_COUNTS))
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, "
            "table_name VARCHAR NOT NULL, source VARCHAR NOT NULL, mode VARCHAR NOT NULL, "
            "started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"{counts})"
        ).fetchall()
        known = {name for (name,) in self._look_up(connection, "column_name", "duckdb_columns()", LEDGER)}
        for name in LATER_COUNTS:
            if name not in known:
                connection.execute(f"ALTER TABLE {self._address.ledger} ADD COLUMN {name} BIGINT DEFAULT 0").fetchall()
        row = ledger_row(request, plan, self._address.table)
        connection.execute(
            f"INSERT INTO {self._address.ledger} ({', '.join(row)}, finished_at) "
            f"VALUES ({', '.join('?' for _ in row)}, now())",
            list(row.values()),
        ).fetchall()


def table_of_records(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> DuckDbTable:
    """A table of canonical records (Parquet files with these fields) in a new database."""
    columns = ", ".join(f"{quoted(name)} {TYPE_OF[name]}" for name in fields)
    with duckdb.connect(database) as connection:
        connection.execute(f"SET memory_limit = {literal(memory)}").fetchall()
        connection.execute(f"SET temp_directory = {literal(database.parent / 'spill')}").fetchall()
        connection.execute(f"CREATE TABLE held ({columns})").fetchall()
        if files:
            given = ", ".join(map(quoted, fields))
            among = ", ".join(map(literal, files))
            connection.execute(f"INSERT INTO held SELECT {given} FROM read_parquet([{among}])").fetchall()
    return DuckDbTable(f"duckdb:///{quote(str(database.resolve()))}?table=held", memory=memory)


def _updated_value(mapped: MappedField, request: WriteRequest) -> str:
    """What a column becomes, as SQL."""
    return mapped.value if mapped.erasable(request) else f"coalesce({mapped.value}, t.{quoted(mapped.column_name)})"


def _type_of(column: str) -> str:
    """The type of a column in a table made here."""
    return {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(column) or TYPE_OF[column]


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", first_line(error))
