"""A DuckDB table as source and destination: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an
absolute path. As a source `?query=SELECT …` reads what a query gives.

A table made here (`connectors/databases/table_mapping.py` says what is in it) has no primary key: on a big table
DuckDB's index doubles the time of a load and its memory; that keys are unique is seen to here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import duckdb

from tranship.connectors.addresses import percent_decoded, redacted, resolved_path, schema_and_table
from tranship.connectors.contract import ArrowPart, Layout, Plan, Waiting, WriteRequest
from tranship.connectors.databases.diff import Classifier, plan_fresh, see_survivors, see_wrote
from tranship.connectors.databases.table_mapping import (
    COMMENTS,
    DELETED,
    LATER_COUNTS,
    LEDGER,
    LEDGER_COUNTS,
    RUN,
    TYPE_OF,
    WRITTEN,
    Column,
    Stored,
    Target,
    first_line,
    kept_for_ourselves,
    lacking,
    ledger_row,
    literal,
    mirror_needs_bookkeeping,
    new_key,
    on_deleted,
    quoted,
    understood,
)
from tranship.connectors.durable import replacing_nothing
from tranship.connectors.errors import Busy, ConfigError, ConnectorError, Interfered, Refused
from tranship.connectors.existing import hint, not_created, similar, similar_files, similar_tables, will_be_created
from tranship.schemas.customer import COLUMNS, KEY

BATCH_ROWS: Final = 61_440
_PAUSE: Final = 0.1
"""Seconds until a database that another process holds is tried again."""


@dataclass(frozen=True)
class Address:
    """Where a table is."""

    path: Path
    schema: str
    table: str
    query: str | None
    database: str = ""
    """DuckDB's name for the file, known once it is open: schema `billing` in `billing.duckdb` needs it."""

    @property
    def name(self) -> str:
        """The table, quoted, in its database and schema."""
        return f"{self.place}.{quoted(self.table)}"

    @property
    def ledger(self) -> str:
        """The ledger beside the table."""
        return f"{self.place}.{quoted(LEDGER)}"

    @property
    def written(self) -> str:
        """The table beside it with what was last written."""
        return f"{self.place}.{quoted(WRITTEN)}"

    @property
    def place(self) -> str:
        """Database and schema, quoted."""
        return f"{quoted(self.database)}.{quoted(self.schema)}"


def parse(spec: str) -> Address:
    """`duckdb:///path?table=schema.table` or `?query=…`, percent-encoded where need be (`%20`, `%26`, `%3F`).

    A name that itself holds a dot stands in double quotes. Raises ConfigError.
    """
    scheme = re.match("duckdb://", spec, re.IGNORECASE)
    place, mark, options = spec[scheme.end() :].partition("?") if scheme else ("", "", "")
    path = percent_decoded(spec, place.removeprefix("/"))
    if not place.startswith("/") or not path.strip("/") or path == ":memory:":
        raise ConfigError(
            f"{redacted(spec)}: a DuckDB address has three slashes and a path: duckdb:///warehouse.duckdb"
        )
    given: dict[str, str] = {}
    for option in options.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in ("table", "query"):
            raise ConfigError(
                f"{redacted(spec)}: does not know {key!r}; there are table and query. Inside these write %26 for &."
            )
        if key in given or not value:
            raise ConfigError(f"{redacted(spec)}: {key} is given {'twice' if value else 'no value'}.")
        given[key] = percent_decoded(spec, value)
    if len(given) == 2:
        raise ConfigError(f"{redacted(spec)}: either a table or a query is read, not both.")
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{redacted(spec)}: nobody knows the home directory of {path.split('/')[0]}.") from error
    schema, table = schema_and_table(spec, given.get("table", "customers"))
    return Address(file, schema or "main", table, given.get("query"))


def identity(spec: str) -> str:
    """One text for all spellings of a table's address. Raises ConfigError."""
    address = parse(spec)
    return f"duckdb {resolved_path(address.path)} {address.schema.lower()}.{address.table.lower()}"


def _connect(
    address: Address, *, read_only: bool, waiting: Waiting | None = None
) -> tuple[duckdb.DuckDBPyConnection, Address]:
    """An open database, and the address with its name; another process that has it open is waited for.

    Raises ConfigError, or Busy if it is held for longer than that.
    """
    # A whole path: names such as `md:x` would open something else.
    file = address.path.resolve()
    started, told = time.monotonic(), False
    while True:
        try:
            connection = _opened(file, read_only=read_only)
            break
        except duckdb.Error as error:
            holder = _holder(error)
            if holder is None:
                raise ConfigError(
                    f"{address.path}: cannot be opened as a DuckDB database ({first_line(error)})."
                ) from error
            waited = time.monotonic() - started
            if waiting is None or (waiting.seconds and waited >= waiting.seconds):
                for_so_long = f" and has not ended within {waiting.seconds:g} s" if waiting else ""
                raise Busy(
                    f"{address.path}: is held by {holder}{for_so_long}. DuckDB lets one process in at a time: wait for "
                    "it or end it, then run the same command, or allow more with --lock-timeout."
                ) from error
            if not told:
                waiting.say(f"{address.path}: is held by {holder}; waiting for it to end")
                told = True
        time.sleep(_PAUSE)
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    return connection, replace(address, database=database)


def _opened(file: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    if not read_only and not file.exists():
        _make(file)
    try:
        return duckdb.connect(file, read_only=read_only)
    except duckdb.ConnectionException:
        # The same file is the run's other end: one process has one instance of it.
        return duckdb.connect(file)


def _make(file: Path) -> None:
    """An empty database, there at once as a whole: DuckDB looks whether there is a file, and then makes one, so that
    of two processes the second could begin it anew. Where files cannot be linked, DuckDB makes it after all; also
    beside the log of a database that is gone, which DuckDB then removes.
    """
    if file.with_name(f"{file.name}.wal").exists():
        return
    with replacing_nothing(file) as temporary:
        duckdb.connect(temporary).close()


def _holder(error: duckdb.Error) -> str | None:
    """The process that holds a database, for people; null if the error is another one."""
    if "Could not set lock on file" not in str(error):
        return None
    named = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
    return f"process {named[2]} ({Path(named[1]).name})" if named else "another process"


# Source -----------------------------------------------------------------------------------------------------


class DuckDbSource:
    """A table, a view or a query. Of a table made here, and a query over one, the customers that are not marked as
    deleted.
    """

    def __init__(self, spec: str, waiting: Waiting | None = None) -> None:
        self._address = parse(spec)
        address = self._address
        if not address.path.exists():
            raise ConfigError(f"{address.path}: there is no such database.")
        self._connection, address = _connect(address, read_only=True, waiting=waiting)
        relation = f"({address.query.rstrip().rstrip(';')}\n)" if address.query else address.name
        try:
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            if address.query:
                self._must_name_once(address, relation)
            types = {row[0]: row[1] for row in described}
            ours = kept_for_ourselves(types, of_query=bool(address.query))
            for hidden in ours:
                del types[hidden]
            kept = f" WHERE {quoted(DELETED)} IS NULL" if DELETED in ours else ""
            endless = [name for name, dtype in types.items() if dtype.startswith(("DATE", "TIMESTAMP"))]
            counted = self._connection.execute(
                f"SELECT count(*) {''.join(f', bool_or(isinf({quoted(name)}))' for name in endless)} "
                f"FROM {relation}{kept}"
            ).fetchall()[0]
            deleted = f"SELECT count(*) FROM {relation} WHERE {quoted(DELETED)} IS NOT NULL"
            left = self._connection.execute(deleted).fetchall()[0][0] if address.query and kept else 0
        except duckdb.Error as error:
            said = first_line(error)
            if isinstance(error, duckdb.CatalogException) and not address.query:
                what, meant = _not_there(self._connection, address)
                said = f"there is no {what}{f'; {meant}' if meant else ''}. Name one with ?table=schema.table."
            self._connection.close()
            raise ConfigError(f"{address.path}: {said}") from error
        # An instant without end has no place in a frame; as text it is found unreadable.
        types |= {name: "INFINITE" for name, found in zip(endless, counted[1:], strict=True) if found}
        self._columns = tuple(types)
        shown = ", ".join(_readable(name, dtype) for name, dtype in types.items())
        self._select = f"SELECT {shown} FROM {relation}{kept}"
        self.size: int | None = counted[0]
        self._name = f"{address.path}:{'query' if address.query else address.table}"
        self._notes = on_deleted(left)

    def _must_name_once(self, address: Address, relation: str) -> None:
        """Raises ConfigError where a query gives two columns one name, which a query around it changes in silence."""
        given = [row[0].lower() for row in self._connection.execute(f"DESCRIBE {relation}").fetchall()]
        if twice := [name for name in given if given.count(name) > 1]:
            self._connection.close()
            raise ConfigError(f"{address.path}:query: gives column {twice[0]} twice; name each once, with AS.")

    def layouts(self) -> list[Layout]:
        """The table's columns, without the ones this tool keeps for itself."""
        return [Layout(self._name, self._columns, self._notes)]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Name and number of rows. A table may change without either: no read is taken for a later one."""
        return [{"name": self._name, "size": None, "rows": self.size}]

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Rows in the table's order, in one snapshot."""
        row = 1
        try:
            for table in self._connection.cursor().sql(self._select).to_arrow_reader(BATCH_ROWS):
                yield ArrowPart(self._name, table, row, row - 1 + table.num_rows)
                row += table.num_rows
        except duckdb.Error as error:
            raise ConnectorError(f"{self._name}: reading broke near row {row} ({first_line(error)}).") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _not_there(run: duckdb.DuckDBPyConnection, address: Address) -> tuple[str, str]:
    """A table or schema that a file lacks, and a hint at what may have been meant."""
    schema, table = address.schema, address.table
    tables = run.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND table_name <> ? "
        "UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal",
        [address.database, LEDGER, address.database],
    ).fetchall()
    schemas = [
        name
        for (name,) in run.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? AND NOT internal OR schema_name = 'main'",
            [address.database],
        ).fetchall()
    ]
    if schema.lower() not in map(str.lower, schemas):
        alike = hint("schema", similar(schema, schemas)) or hint("table", similar_tables(schema, table, tables))
        return f"schema {schema}", alike
    return f"table {table}", hint("table", similar_tables(schema, table, tables))


_PLAIN: Final = re.compile(r"VARCHAR(\[\])?|BOOLEAN|U?(TINY|SMALL|BIG)?INT(EGER)?|UUID|FLOAT|DOUBLE|DATE|TIMESTAMP.*")


def _readable(name: str, dtype: str) -> str:
    """A column as polars can take it: types it knows as they are, nested ones as JSON, the rest as text."""
    column = quoted(name)
    if _PLAIN.fullmatch(dtype):
        return column
    nested = dtype.endswith("]") or dtype.startswith(("STRUCT(", "MAP("))
    return f"{f'to_json({column})' if nested else column}::VARCHAR AS {column}"


# Destination ------------------------------------------------------------------------------------------------


class DuckDbTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str, create: bool = True, waiting: Waiting | None = None) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{redacted(spec)}: a query can be read, not written; name a table.")
        if not self._address.path.parent.is_dir():
            raise ConfigError(f"{redacted(spec)}: the folder {self._address.path.parent} does not exist.")
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
            return Classifier(run, _Held(run, self._address, load, target), target, load).plan(
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
            self._open, self._address = _connect(self._address, read_only=False, waiting=self._waiting)
            # Not as a setting of `connect`: the same file as a source would then be another configuration.
            self._open.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        return self._open

    def _configure(self, run: duckdb.DuckDBPyConnection, load: WriteRequest) -> None:
        run.execute("SET preserve_insertion_order = false").fetchall()
        run.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()

    def _look_up(self, run: duckdb.DuckDBPyConnection, what: str, of: str, table: str) -> list[tuple[Any, ...]]:
        return _look_up(run, self._address, what, of, table)

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
        return _not_there(run, self._address)

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
        defaults = _defaults(run, self._address) if any(at.at.filled for at in brought) else {}
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
        heavy = _replaced_with(run, self._address) if _referring(run, self._address) else set()
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


class _Held:
    """The table where it lies, its texts compared byte by byte whatever collation they have."""

    place = "t.rowid"

    def __init__(self, run: duckdb.DuckDBPyConnection, address: Address, load: WriteRequest, target: Target) -> None:
        self._run, self._address, self._load, self._target = run, address, load, target
        self._collations = _collations(run, address)
        exact = ", ".join(f"{quoted(name)} COLLATE c AS {quoted(name)}" for name in self._collations)
        self._exact = f"(SELECT * REPLACE ({exact}), rowid FROM {address.name})" if exact else address.name
        self._objections: _Objections | None = None

    def see_survivors(self) -> None:
        see_survivors(self._run, self._load)

    def see_table(self, select: str, joined: str) -> None:
        self._run.execute(
            f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM {self._exact} t {joined}"
        ).fetchall()

    def undecided(self) -> str:
        return self._exact

    def object(self, *, alone: bool) -> int:
        if self._objections is None:
            self._objections = _Objections(self._run, self._address, self._load, self._target, self._collations)
        return self._objections.refuse(alone=alone)

    def keep(self) -> list[tuple[str, int]]:
        kept = []
        for table, their, own in _referring(self._run, self._address):
            pairs = zip(own, their, strict=True)
            there = " AND ".join(f"t.{quoted(mine)} = r.{quoted(theirs)}" for mine, theirs in pairs)
            done = self._run.execute(
                f"DELETE FROM _gone WHERE target IN (SELECT t.rowid FROM {self._address.name} t WHERE EXISTS "
                f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there}))"
            ).fetchall()
            kept += [(table, int(done[0][0]))] if done[0][0] else []
        return kept


# What the database would refuse -----------------------------------------------------------------------------


def _look_up(run: duckdb.DuckDBPyConnection, address: Address, what: str, of: str, table: str) -> list[tuple[Any, ...]]:
    """Rows of DuckDB's own tables about one table. Case is ignored, as DuckDB does in names."""
    named = "view_name" if of == "duckdb_views()" else "table_name"
    return run.execute(
        f"SELECT {what} FROM {of} WHERE database_name = ? AND lower(schema_name) = lower(?) "
        f"AND lower({named}) = lower(?)",
        [address.database, address.schema, table],
    ).fetchall()


def _defaults(run: duckdb.DuckDBPyConnection, address: Address) -> dict[str, str]:
    """Column → the expression of its default."""
    what = "column_name, column_default"
    found = _look_up(run, address, f"{what}, is_generated", "duckdb_columns()", address.table)
    return {name: default for name, default, computed in found if default is not None and not computed}


def _collations(run: duckdb.DuckDBPyConnection, address: Address) -> dict[str, str]:
    """Column → its collation. Only the statement that makes a table says so."""
    [(statement,)] = _look_up(run, address, "sql", "duckdb_tables()", address.table)
    if " COLLATE " not in statement.upper():
        return {}
    found = {}
    for name, dtype in _look_up(run, address, "column_name, data_type", "duckdb_columns()", address.table):
        if dtype == "VARCHAR":
            run.execute(
                f"CREATE OR REPLACE TEMP TABLE _collated AS SELECT {quoted(name)} FROM {address.name} LIMIT 0"
            ).fetchall()
            [(made,)] = run.execute("SELECT sql FROM duckdb_tables() WHERE table_name = '_collated'").fetchall()
            if collated := re.search(r" COLLATE ([\w.]+)\);$", made, re.IGNORECASE):
                found[name] = collated[1]
    return found


def _referring(run: duckdb.DuckDBPyConnection, address: Address) -> list[tuple[str, list[str], list[str]]]:
    """Other tables that refer to this one: their name, their columns and ours."""
    return run.execute(
        "SELECT table_name, constraint_column_names, referenced_column_names FROM duckdb_constraints() "
        "WHERE constraint_type = 'FOREIGN KEY' AND database_name = ? AND lower(schema_name) = lower(?) "
        "AND lower(referenced_table) = lower(?)",
        [address.database, address.schema, address.table],
    ).fetchall()


def _replaced_with(run: duckdb.DuckDBPyConnection, address: Address) -> set[str]:
    """The columns that DuckDB changes by deleting the row and inserting it again: indexed and nested ones."""
    columns = _look_up(run, address, "column_name, data_type", "duckdb_columns()", address.table)
    constraints = _look_up(
        run, address, "constraint_type, constraint_column_names", "duckdb_constraints()", address.table
    )
    indexed = {
        name for kind, names in constraints if kind in ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY") for name in names
    }
    indexes = " ".join(sql for (sql,) in _look_up(run, address, "sql", "duckdb_indexes()", address.table))
    named = {name for name, _ in columns if name.lower() in indexes.lower()}
    nested = {name for name, dtype in columns if dtype.endswith("]") or dtype.startswith(("STRUCT(", "MAP("))}
    return indexed | named | nested


def _updated(stored: Stored, load: WriteRequest) -> str:
    """What a column becomes, as SQL."""
    return stored.value if stored.erasable(load) else f"coalesce({stored.value}, t.{quoted(stored.column)})"


_ROW: Final = quoted("tranship row")
_PLACE: Final = quoted("tranship place")
_CHANGED: Final = quoted("tranship changed")


@dataclass(frozen=True)
class _Rule:
    """A constraint of the table. `reason` is what a record is refused with; `against` gives the rows that break it."""

    reason: str
    against: str


class _Objections:
    """Checks, references and uniqueness that is more than a plain column's, tried on the rows as they would become."""

    def __init__(
        self,
        run: duckdb.DuckDBPyConnection,
        address: Address,
        load: WriteRequest,
        target: Target,
        collations: Mapping[str, str],
    ) -> None:
        self._run, self._address, self._load, self._target = run, address, load, target
        self._collations, self._defaults = collations, _defaults(run, address)
        self._constraints = self._look_up(
            "constraint_type, expression, constraint_column_names, referenced_table, referenced_column_names",
            "duckdb_constraints()",
        )
        self._alone = [*self._bad_defaults(), *self._checks(), *self._references(), *self._held_fast()]
        self._together = list(self._unique())

    def refuse(self, *, alone: bool) -> int:
        """Refuse in `_plan` what breaks a rule, of those about a row alone or of the others; how many."""
        rules = self._alone if alone else self._together
        if not rules:
            return 0
        self._run.execute(f"CREATE OR REPLACE TEMP TABLE _result AS {self._results()}").fetchall()
        refused = 0
        for rule in rules:
            done = self._run.execute(
                f"UPDATE _plan SET action = 'refused', reason = {literal(rule.reason)}, changed = NULL "
                f"WHERE row IN ({rule.against})"
            ).fetchall()
            refused += done[0][0]
            # Who is refused takes nothing away from others.
            self._run.execute(
                f"DELETE FROM _result WHERE {_ROW} IN (SELECT row FROM _plan WHERE action = 'refused')"
            ).fetchall()
        return refused

    def _look_up(self, what: str, of: str) -> list[tuple[Any, ...]]:
        return _look_up(self._run, self._address, what, of, self._address.table)

    def _results(self) -> str:
        """The rows as they will be, in the table's own columns, with place in the run and in the table."""
        target, load = self._target, self._load
        brought = {at.column: at for at in target.stored if at.field in load.survivors.columns}
        become = {}
        for name, dtype, computed in self._look_up("column_name, data_type, is_generated", "duckdb_columns()"):
            old, default = f"t.{quoted(name)}", self._defaults.get(name)
            again = default is not None and "nextval(" not in default
            fresh = f"CASE WHEN p.target IS NULL THEN TRY_CAST(({default}) AS {dtype}) END" if again else "NULL"
            if name in brought:
                new = f"coalesce({brought[name].value}, {fresh})" if brought[name].at.filled else brought[name].value
                become[name] = new if brought[name].erasable(load) else f"coalesce({new}, {old})"
            elif name == target.key:
                become[name] = f"coalesce({old}, {new_key('s')})"
            elif not computed:
                become[name] = f"coalesce({old}, {fresh})"
        collated = {name: f" COLLATE {collation}" for name, collation in self._collations.items()}
        columns = ", ".join(f"({at}){collated.get(name, '')} AS {quoted(name)}" for name, at in become.items())
        return (
            f"SELECT p.row AS {_ROW}, p.target AS {_PLACE}, p.changed AS {_CHANGED}, {columns} FROM _plan p "
            f"JOIN _survivors s ON s._row = p.row LEFT JOIN {self._address.name} t ON t.rowid = p.target "
            "WHERE p.action IN ('create', 'update')"
        )

    def _bad_defaults(self) -> Iterator[_Rule]:
        """Defaults that the column's own type does not take: DuckDB has not looked at them until now."""
        types = dict(self._look_up("column_name, data_type", "duckdb_columns()"))
        for name, default in self._defaults.items():
            if "nextval(" in default or types[name] == "VARCHAR":
                continue
            fits = self._run.execute(
                f"SELECT TRY_CAST(({default}) AS {types[name]}) IS NOT NULL OR ({default}) IS NULL"
            ).fetchall()
            if not fits[0][0]:
                against = f"SELECT {_ROW} FROM _result WHERE {_PLACE} IS NULL AND {quoted(name)} IS NULL"
                yield _Rule(f"does_not_fit: {name} {types[name]}", against)

    def _checks(self) -> Iterator[_Rule]:
        for kind, expression, *_ in self._constraints:
            if kind == "CHECK":
                # Where it cannot be computed, DuckDB refuses the row, too.
                broken = f"TRY(coalesce({expression}, true)) IS NOT TRUE"
                yield _Rule(f"violates: {expression}", f"SELECT {_ROW} FROM _result WHERE {broken}")

    def _references(self) -> Iterator[_Rule]:
        for kind, _, own, table, their in self._constraints:
            if kind == "FOREIGN KEY" and table and table.lower() != self._address.table.lower():
                pairs = [(f"b.{quoted(mine)}", f"r.{quoted(theirs)}") for mine, theirs in zip(own, their, strict=True)]
                there = " AND ".join(f"{mine} = {theirs}" for mine, theirs in pairs)
                full = " AND ".join(f"{mine} IS NOT NULL" for mine, _ in pairs)
                yield _Rule(
                    f"refers_to_nothing: {', '.join(own)}",
                    f"SELECT b.{_ROW} FROM _result b WHERE {full} AND NOT EXISTS "
                    f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there})",
                )

    def _held_fast(self) -> Iterator[_Rule]:
        """Rows that others refer to: DuckDB replaces a row to change some columns, and does not let go of these."""
        referring = _referring(self._run, self._address)
        heavy = _replaced_with(self._run, self._address) if referring else set()
        fields = [literal(at.field) for at in self._target.stored if at.column in heavy]
        for table, their, own in referring if fields else ():
            pairs = zip(own, their, strict=True)
            there = " AND ".join(f"t.{quoted(mine)} = r.{quoted(theirs)}" for mine, theirs in pairs)
            yield _Rule(
                f"referred_to: {table}",
                f"SELECT b.{_ROW} FROM _result b JOIN {self._address.name} t ON t.rowid = b.{_PLACE} "
                f"WHERE list_has_any(b.{_CHANGED}, [{', '.join(fields)}]) AND EXISTS "
                f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there})",
            )

    def _unique(self) -> Iterator[_Rule]:
        filled = {at.column for at in self._target.stored if at.at.filled}
        for kind, _, columns, *_ in self._constraints:
            plain = len(columns) == 1 and columns[0] in self._target.unique
            if kind in ("UNIQUE", "PRIMARY KEY") and not (plain and not {*filled, *self._collations} & {*columns}):
                yield self._never_twice(", ".join(columns), ", ".join(map(quoted, columns)))
        name = r'(?:"(?:[^"]|"")*"|[^\s("])+'
        for told, statement in self._look_up("index_name, sql", "duckdb_indexes()"):
            found = re.match(rf"CREATE UNIQUE INDEX {name} ON {name}(?: USING \w+ )?\((.*)\);?$", statement, re.DOTALL)
            if found:
                yield self._never_twice(told, found[1])
        at = self._target.column("external_id" if self._target.by_id else "email")
        if at and at.column in self._collations and at.column not in self._target.unique:
            yield self._never_twice(at.column, quoted(at.column))

    def _never_twice(self, told: str, keys: str) -> _Rule:
        count = len(self._run.execute(f"DESCRIBE SELECT {keys} FROM {self._address.name}").fetchall())
        named = ", ".join(f"k{number}" for number in range(count))
        same = " AND ".join(f"a.k{number} = b.k{number}" for number in range(count))
        wanted = f"(SELECT {_ROW}, {keys} FROM _result)"
        there = f"(SELECT rowid, {keys} FROM {self._address.name})"
        moved = f"SELECT {_PLACE} FROM _result WHERE {_PLACE} IS NOT NULL"
        return _Rule(
            f"taken: {told}",
            f"SELECT b.row FROM {wanted} b(row, {named}) JOIN {wanted} a(row, {named}) ON {same} AND a.row < b.row "
            f"UNION SELECT b.row FROM {wanted} b(row, {named}) JOIN {there} a(place, {named}) ON {same} "
            f"AND a.place NOT IN ({moved})",
        )


def _type_of(column: str) -> str:
    """The type of a column in a table made here."""
    return {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(column) or TYPE_OF[column]


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", first_line(error))
