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
from tranship.connectors.databases.diff import Classifier, plan_fresh, see_survivors, see_wrote
from tranship.connectors.databases.duckdb.address import parse
from tranship.connectors.databases.duckdb.catalog import column_defaults, look_up, missing, references_to, replaced_with
from tranship.connectors.databases.duckdb.compare import Held
from tranship.connectors.databases.duckdb.connection import connect
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER, LEDGER_COUNTS, ledger_row
from tranship.connectors.databases.table_mapping import (
    COMMENTS,
    DELETED,
    RUN,
    TYPE_OF,
    WRITTEN,
    Column,
    Stored,
    Target,
    first_line,
    lacking,
    literal,
    mirror_needs_bookkeeping,
    new_key,
    quoted,
    understood,
)
from tranship.connectors.errors import ConfigError, ConnectorError, Interfered, Refused, shown
from tranship.connectors.existing import hint, not_created, similar_files, will_be_created
from tranship.schemas.customer import COLUMNS, KEY


class DuckDbTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str, create: bool = True, waiting: Waiting | None = None) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{shown(spec)}: a query can be read, not written; name a table.")
        if not self._address.path.parent.is_dir():
            raise ConfigError(f"{shown(spec)}: the folder {self._address.path.parent} does not exist.")
        self._memory, self._waiting = memory, waiting
        self._open: duckdb.DuckDBPyConnection | None = None
        self._target: Target | None = None
        if not self._address.path.exists():
            if not create:
                raise not_created(*self._missing_file())
        elif not self._exists(self._connection(), self._address.table) and not create:
            raise not_created(*self._missing(self._connection()))

    def plan(self, load: WriteRequest) -> Plan:
        """Compare the survivors with the table; its transaction stays open for `apply`."""
        rows = load.workspace / "plan.parquet"
        self._target = None
        if self._open is None and not self._address.path.exists():
            # Nothing is there, and nothing is made before it is written.
            with duckdb.connect() as nowhere:
                see_survivors(nowhere, load)
                return plan_fresh(nowhere, load, rows, notes=(will_be_created(*self._missing_file()),))
        run = self._connection()
        try:
            self._configure(run, load)
            run.execute("BEGIN").fetchall()
            if not self._exists(run, self._address.table):
                see_survivors(run, load)
                return plan_fresh(run, load, rows, notes=(will_be_created(*self._missing(run)),))
            notes: list[str] = []
            columns = self._columns(run)
            if load.evolve:
                notes += self._evolve(run, load, columns)
                columns = self._columns(run)
            self._target = target = self._recognise(run, columns)
            mirror_needs_bookkeeping(self._where, target, load)
            if self._sets_the_time_itself(run, target):
                self._target = target = replace(target, written=target.row_key)
                self._see_written(run)
            return Classifier(run, Held(run, self._address, load, target), target, load).plan(
                rows, (*notes, *target.not_stored(load))
            )
        except duckdb.Error as error:
            raise ConnectorError(f"{self._where}: comparing with it failed ({first_line(error)}).") from error

    def apply(self, load: WriteRequest, plan: Plan) -> None:
        """Insert, update, delete and write the ledger row; commit. Whatever fails, the table is as before."""
        if self._open is None:
            run = self._connection()
            self._configure(run, load)
            run.execute("BEGIN").fetchall()
            if self._exists(run, self._address.table):
                run.execute("ROLLBACK").fetchall()
                raise Interfered(f"{self._where}: another process has made it since the comparison.")
        run = self._connection()
        try:
            if self._target is None:
                self._create(run)
                self._insert(run, load, plan, self._recognise(run, self._columns(run)), everything=True)
            else:
                see_survivors(run, load)
                if self._target.written and "updated_at" in load.survivors.columns:
                    self._write_written(run, load, self._target)
                self._update(run, load, plan, self._target)
                self._delete(run, load, plan)
                everything = plan.counts["create"] == load.survivors.count
                self._insert(run, load, plan, self._target, everything=everything)
            self._write_ledger(run, load, plan)
            run.execute("COMMIT").fetchall()
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
        run = self._connection()
        if not self._exists(run, LEDGER):
            return False
        found = run.execute(f"SELECT 1 FROM {self._address.ledger} WHERE run_id = ?", [run_id])
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

    def _configure(self, run: duckdb.DuckDBPyConnection, load: WriteRequest) -> None:
        run.execute("SET preserve_insertion_order = false").fetchall()
        run.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()

    def _look_up(self, run: duckdb.DuckDBPyConnection, what: str, of: str, table: str) -> list[tuple[Any, ...]]:
        return look_up(run, self._address, what, of, table)

    def _exists(self, run: duckdb.DuckDBPyConnection, table: str) -> bool:
        if self._look_up(run, "1", "duckdb_views()", table):
            raise ConfigError(f"{self._where}: is a view; it can be read, not written. Name the table behind it.")
        return bool(self._look_up(run, "1", "duckdb_tables()", table))

    def _missing_file(self) -> tuple[str, str]:
        """What would be created, and a hint at what may have been meant."""
        path = self._address.path
        return f"database file {path}", hint("file", similar_files(path))

    def _missing(self, run: duckdb.DuckDBPyConnection) -> tuple[str, str]:
        """The same of a table or schema in a file that is there."""
        return missing(run, self._address)

    def _columns(self, run: duckdb.DuckDBPyConnection) -> dict[str, Column]:
        """The table's columns, without those that it computes."""
        rows = self._look_up(
            run,
            "column_name, data_type, NOT is_nullable, column_default IS NOT NULL, is_generated",
            "duckdb_columns()",
            self._address.table,
        )
        hiding = next((row[0] for row in rows if row[0].lower() == "rowid"), None)
        if hiding:
            raise ConfigError(f"{self._where}: column {hiding} hides what DuckDB tells rows apart by. Rename it.")
        return {
            name: Column(name, dtype, required=must and not given, filled=must and given)
            for name, dtype, must, given, computed in rows
            if not computed
        }

    def _evolve(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, columns: Mapping[str, Column]) -> list[str]:
        """Add the columns that the table lacks; what was added, for people."""
        missing = lacking(list(columns), self._computed(run), load)
        for name in missing:
            run.execute(f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(name)} {_type_of(name)}").fetchall()
        return [f"column {name} is added" for name in missing]

    def _recognise(self, run: duckdb.DuckDBPyConnection, columns: Mapping[str, Column]) -> Target:
        return understood(self._where, columns, self._unique(run), self._computed(run))

    def _computed(self, run: duckdb.DuckDBPyConnection) -> list[str]:
        rows = self._look_up(run, "column_name, is_generated", "duckdb_columns()", self._address.table)
        return [name for name, computed in rows if computed]

    def _unique(self, run: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
        rows = self._look_up(
            run, "constraint_type, constraint_column_names", "duckdb_constraints()", self._address.table
        )
        single = (names for kind, names in rows if kind in ("UNIQUE", "PRIMARY KEY") and len(names) == 1)
        return tuple(dict.fromkeys(name for (name,) in single))

    # Where the table sets `updated_at` by itself --------------------------------------------------------------

    def _sets_the_time_itself(self, run: duckdb.DuckDBPyConnection, target: Target) -> bool:
        at = target.column("updated_at")
        if at is None:
            return False
        rows = self._look_up(run, "column_name, column_default IS NOT NULL", "duckdb_columns()", self._address.table)
        # Also where something is kept from when there was a default: the times in the table are still those.
        return dict(rows)[at.column] or self._see_written(run) > 0

    def _see_written(self, run: duckdb.DuckDBPyConnection) -> int:
        """Make `_written`, what was last written into the table; how many customers that are."""
        run.execute("CREATE OR REPLACE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)").fetchall()
        if not self._exists(run, WRITTEN):
            return 0
        found = run.execute(
            f"INSERT INTO _written SELECT customer, updated_at FROM {self._address.written} WHERE table_name = ?",
            [self._address.table.lower()],
        ).fetchall()
        return int(found[0][0])

    def _write_written(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, target: Target) -> None:
        see_wrote(run, target, load)
        run.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.written} (table_name VARCHAR NOT NULL, "
            "customer VARCHAR NOT NULL, updated_at TIMESTAMP WITH TIME ZONE)"
        ).fetchall()
        table = literal(self._address.table.lower())
        run.execute(
            f"DELETE FROM {self._address.written} WHERE table_name = {table} "
            "AND customer IN (SELECT customer FROM _wrote)"
        ).fetchall()
        run.execute(f"INSERT INTO {self._address.written} SELECT {table}, customer, updated_at FROM _wrote").fetchall()

    # Writing ------------------------------------------------------------------------------------------------

    def _create(self, run: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"{quoted(name)} {_type_of(name)}" for name in (*COLUMNS, RUN, DELETED))
        run.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.place}").fetchall()
        run.execute(f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns})").fetchall()
        for name, text in COMMENTS.items():
            on = f"{self._address.name}.{quoted(name)}"
            run.execute(f"COMMENT ON COLUMN {on} IS {literal(text)}").fetchall()

    def _insert(
        self, run: duckdb.DuckDBPyConnection, load: WriteRequest, plan: Plan, target: Target, *, everything: bool
    ) -> None:
        if not plan.counts["create"]:
            return
        brought = [at for at in target.stored if at.field in load.survivors.columns]
        defaults = column_defaults(run, self._address) if any(at.at.filled for at in brought) else {}
        given = {
            at.column: f"coalesce({at.value}, {defaults[at.column]})" if at.at.filled else at.value for at in brought
        }
        if target.key:
            given[target.key] = new_key("s")
        if target.bookkeeping:
            given[RUN] = literal(load.run_id)
        see_survivors(run, load)
        chosen = "" if everything else " JOIN _plan p ON p.row = s._row AND p.action = 'create'"
        done = run.execute(
            f"INSERT INTO {self._address.name} ({', '.join(map(quoted, given))}) "
            f"SELECT {', '.join(given.values())} FROM _survivors s{chosen}"
        ).fetchall()
        _as_planned("create", done[0][0], plan)

    def _update(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, plan: Plan, target: Target) -> None:
        if not plan.counts["update"]:
            return
        changed = [stored for stored in target.stored if stored.field in plan.changed_fields]
        # A referenced row cannot be replaced: what replaces it is set only where it changes.
        heavy = replaced_with(run, self._address) if references_to(run, self._address) else set()
        apart = [stored for stored in changed if stored.column in heavy]
        sets = {stored.column: _updated(stored, load) for stored in changed if stored not in apart}
        if target.bookkeeping:
            sets |= {RUN: literal(load.run_id), DELETED: "NULL"}
        elif not sets:
            # Nothing else changes: the rows are counted all the same.
            still = next(stored.column for stored in target.stored if stored.column not in heavy)
            sets = {still: f"t.{quoted(still)}"}
        done = self._set(run, sets, "true")
        _as_planned("update", done, plan)
        for stored in apart:
            self._set(
                run, {stored.column: _updated(stored, load)}, f"list_contains(p.changed, {literal(stored.field)})"
            )

    def _set(self, run: duckdb.DuckDBPyConnection, sets: Mapping[str, str], where: str) -> int:
        done = run.execute(
            f"UPDATE {self._address.name} t SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"WHERE p.action = 'update' AND t.rowid = p.target AND {where}"
        ).fetchall()
        return int(done[0][0])

    def _delete(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, plan: Plan) -> None:
        if not plan.counts["delete"]:
            return
        gone = "WHERE t.rowid IN (SELECT target FROM _gone)"
        if load.hard_delete:
            done = run.execute(f"DELETE FROM {self._address.name} t {gone}").fetchall()
        else:
            done = run.execute(
                f"UPDATE {self._address.name} t SET {quoted(DELETED)} = now(), "
                f"{quoted(RUN)} = {literal(load.run_id)} {gone}"
            ).fetchall()
        _as_planned("delete", done[0][0], plan)

    def _write_ledger(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, plan: Plan) -> None:
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in (*LEDGER_COUNTS, *LATER_COUNTS))
        run.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, "
            "table_name VARCHAR NOT NULL, source VARCHAR NOT NULL, mode VARCHAR NOT NULL, "
            "started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"{counts})"
        ).fetchall()
        known = {name for (name,) in self._look_up(run, "column_name", "duckdb_columns()", LEDGER)}
        for name in LATER_COUNTS:
            if name not in known:
                run.execute(f"ALTER TABLE {self._address.ledger} ADD COLUMN {name} BIGINT DEFAULT 0").fetchall()
        row = ledger_row(load, plan, self._address.table)
        run.execute(
            f"INSERT INTO {self._address.ledger} ({', '.join(row)}, finished_at) "
            f"VALUES ({', '.join('?' for _ in row)}, now())",
            list(row.values()),
        ).fetchall()


def held(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> DuckDbTable:
    """A table of canonical records (Parquet files with these fields) in a new database."""
    columns = ", ".join(f"{quoted(name)} {TYPE_OF[name]}" for name in fields)
    with duckdb.connect(database) as run:
        run.execute(f"SET memory_limit = {literal(memory)}").fetchall()
        run.execute(f"SET temp_directory = {literal(database.parent / 'spill')}").fetchall()
        run.execute(f"CREATE TABLE held ({columns})").fetchall()
        if files:
            given = ", ".join(map(quoted, fields))
            among = ", ".join(map(literal, files))
            run.execute(f"INSERT INTO held SELECT {given} FROM read_parquet([{among}])").fetchall()
    return DuckDbTable(f"duckdb:///{quote(str(database.resolve()))}?table=held", memory=memory)


def _updated(stored: Stored, load: WriteRequest) -> str:
    """What a column becomes, as SQL."""
    return stored.value if stored.erasable(load) else f"coalesce({stored.value}, t.{quoted(stored.column)})"


def _type_of(column: str) -> str:
    """The type of a column in a table made here."""
    return {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(column) or TYPE_OF[column]


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", first_line(error))
