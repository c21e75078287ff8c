"""A DuckDB table as source and destination: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an
absolute path. As a source `?query=SELECT …` reads what a query gives.

A table made here (`connectors/customer_table.py` says what is in it) has no primary key: on a big table DuckDB's index
doubles the time of a load and its memory; that keys are unique is seen to here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from connectors.classify import Classifier, plan_fresh, see_survivors
from connectors.contract import ArrowPart, Layout, Load, Plan
from connectors.customer_table import (
    COMMENTS,
    DELETED,
    LEDGER,
    LEDGER_COUNTS,
    RUN,
    TYPE_OF,
    Column,
    Target,
    decoded,
    first_line,
    lacking,
    ledger_row,
    literal,
    mirror_needs_bookkeeping,
    new_key,
    quoted,
    schema_and_table,
    understood,
)
from connectors.errors import ConfigError, ConnectorError, Refused, Unreachable, shown
from schemas.customer import COLUMNS, KEY

BATCH_ROWS: Final = 61_440


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
    def place(self) -> str:
        """Database and schema, quoted."""
        return f"{quoted(self.database)}.{quoted(self.schema)}"


def parse(spec: str) -> Address:
    """`duckdb:///path?table=schema.table` or `?query=…`, percent-encoded where need be (`%20`, `%26`, `%3F`).

    A name that itself holds a dot stands in double quotes. Raises ConfigError.
    """
    scheme = re.match("duckdb://", spec, re.IGNORECASE)
    place, mark, options = spec[scheme.end() :].partition("?") if scheme else ("", "", "")
    path = decoded(spec, place.removeprefix("/"))
    if not place.startswith("/") or not path.strip("/") or path == ":memory:":
        raise ConfigError(f"{shown(spec)}: a DuckDB address has three slashes and a path: duckdb:///warehouse.duckdb")
    given: dict[str, str] = {}
    for option in options.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in ("table", "query"):
            raise ConfigError(
                f"{shown(spec)}: does not know {key!r}; there are table and query. Inside these write %26 for &."
            )
        if key in given or not value:
            raise ConfigError(f"{shown(spec)}: {key} is given {'twice' if value else 'no value'}.")
        given[key] = decoded(spec, value)
    if len(given) == 2:
        raise ConfigError(f"{shown(spec)}: either a table or a query is read, not both.")
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{shown(spec)}: nobody knows the home directory of {path.split('/')[0]}.") from error
    schema, table = schema_and_table(spec, given.get("table", "customers"))
    return Address(file, schema or "main", table, given.get("query"))


def _connect(address: Address, *, read_only: bool) -> tuple[duckdb.DuckDBPyConnection, Address]:
    """An open database, and the address with its name. Raises ConfigError, or Unreachable if it is held."""
    # A whole path: names such as `md:x` would open something else.
    file = address.path.resolve()
    try:
        try:
            connection = duckdb.connect(file, read_only=read_only)
        except duckdb.ConnectionException:
            # The same file is the run's other end: one process has one instance of it.
            connection = duckdb.connect(file)
    except duckdb.Error as error:
        holder = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
        if holder:
            raise Unreachable(
                f"{address.path}: is held by process {holder[2]} ({Path(holder[1]).name}). DuckDB lets one "
                "process in at a time: wait for it or end it, then run the same command."
            ) from error
        raise ConfigError(f"{address.path}: cannot be opened as a DuckDB database ({first_line(error)}).") from error
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    return connection, replace(address, database=database)


# Source -----------------------------------------------------------------------------------------------------


class DuckDbSource:
    """A table, a view or a query. Of a table made here, the customers that are not marked as deleted."""

    def __init__(self, spec: str) -> None:
        self._address = parse(spec)
        address = self._address
        if not address.path.exists():
            raise ConfigError(f"{address.path}: there is no such database.")
        self._connection, address = _connect(address, read_only=True)
        relation = f"({address.query.rstrip().rstrip(';')}\n)" if address.query else address.name
        try:
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            if address.query:
                self._must_name_once(address, relation)
            types = {row[0]: row[1] for row in described}
            ours = {KEY, RUN, DELETED} <= set(types) and not address.query
            for hidden in (KEY, RUN, DELETED) if ours else ():
                del types[hidden]
            kept = f" WHERE {quoted(DELETED)} IS NULL" if ours else ""
            endless = [name for name, dtype in types.items() if dtype.startswith(("DATE", "TIMESTAMP"))]
            counted = self._connection.execute(
                f"SELECT count(*) {''.join(f', bool_or(isinf({quoted(name)}))' for name in endless)} "
                f"FROM {relation}{kept}"
            ).fetchall()[0]
        except duckdb.Error as error:
            self._connection.close()
            raise ConfigError(f"{address.path}: {first_line(error)}") from error
        # An instant without end has no place in a frame; as text it is found unreadable.
        types |= {name: "INFINITE" for name, found in zip(endless, counted[1:], strict=True) if found}
        self._columns = tuple(types)
        shown = ", ".join(_readable(name, dtype) for name, dtype in types.items())
        self._select = f"SELECT {shown} FROM {relation}{kept}"
        self.size: int | None = counted[0]
        self._name = f"{address.path}:{'query' if address.query else address.table}"

    def _must_name_once(self, address: Address, relation: str) -> None:
        """Raises ConfigError where a query gives two columns one name, which a query around it changes in silence."""
        given = [row[0].lower() for row in self._connection.execute(f"DESCRIBE {relation}").fetchall()]
        if twice := [name for name in given if given.count(name) > 1]:
            self._connection.close()
            raise ConfigError(f"{address.path}:query: gives column {twice[0]} twice; name each once, with AS.")

    def layouts(self) -> list[Layout]:
        """The table's columns, without the ones this tool keeps for itself."""
        return [Layout(self._name, self._columns)]

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

    def __init__(self, spec: str, *, memory: str) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{shown(spec)}: a query can be read, not written; name a table.")
        if not self._address.path.parent.is_dir():
            raise ConfigError(f"{shown(spec)}: the folder {self._address.path.parent} does not exist.")
        self._memory = memory
        self._open: duckdb.DuckDBPyConnection | None = None
        self._target: Target | None = None
        if self._address.path.exists():
            self._connection()

    def plan(self, load: Load) -> Plan:
        """Compare the survivors with the table; its transaction stays open for `apply`."""
        rows = load.workspace / "plan.parquet"
        self._target = None
        if self._open is None:
            # Nothing is there, and nothing is made before it is written.
            with duckdb.connect() as nowhere:
                see_survivors(nowhere, load)
                return plan_fresh(nowhere, load, rows)
        run = self._connection()
        try:
            self._configure(run, load)
            run.execute("BEGIN").fetchall()
            if not self._exists(run, self._address.table):
                see_survivors(run, load)
                return plan_fresh(run, load, rows)
            notes: list[str] = []
            columns = self._columns(run)
            if load.evolve:
                notes += self._evolve(run, load, columns)
                columns = self._columns(run)
            self._target = target = self._recognise(run, columns)
            mirror_needs_bookkeeping(self._where, target, load)
            return Classifier(run, _Held(run, self._address, load), target, load).plan(
                rows, (*notes, *target.not_stored(load))
            )
        except duckdb.Error as error:
            raise ConnectorError(f"{self._where}: comparing with it failed ({first_line(error)}).") from error

    def apply(self, load: Load, plan: Plan) -> None:
        """Insert, update, delete and write the ledger row; commit. Whatever fails, the table is as before."""
        if self._open is None:
            run = self._connection()
            self._configure(run, load)
            run.execute("BEGIN").fetchall()
        run = self._connection()
        try:
            if self._target is None:
                self._create(run)
                self._insert(run, load, plan, self._recognise(run, self._columns(run)), everything=True)
            else:
                see_survivors(run, load)
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
            self._open, self._address = _connect(self._address, read_only=False)
            # Not as a setting of `connect`: the same file as a source would then be another configuration.
            self._open.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        return self._open

    def _configure(self, run: duckdb.DuckDBPyConnection, load: Load) -> None:
        run.execute("SET preserve_insertion_order = false").fetchall()
        run.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()

    def _look_up(self, run: duckdb.DuckDBPyConnection, what: str, of: str, table: str) -> list[tuple[Any, ...]]:
        """Rows of DuckDB's own tables about one table. Case is ignored, as DuckDB does in names."""
        named = "view_name" if of == "duckdb_views()" else "table_name"
        return run.execute(
            f"SELECT {what} FROM {of} WHERE database_name = ? AND lower(schema_name) = lower(?) "
            f"AND lower({named}) = lower(?)",
            [self._address.database, self._address.schema, table],
        ).fetchall()

    def _exists(self, run: duckdb.DuckDBPyConnection, table: str) -> bool:
        if self._look_up(run, "1", "duckdb_views()", table):
            raise ConfigError(f"{self._where}: is a view; it can be read, not written. Name the table behind it.")
        return bool(self._look_up(run, "1", "duckdb_tables()", table))

    def _columns(self, run: duckdb.DuckDBPyConnection) -> dict[str, Column]:
        """The table's columns, without those that it computes."""
        rows = self._look_up(
            run,
            "column_name, data_type, NOT is_nullable AND column_default IS NULL, is_generated",
            "duckdb_columns()",
            self._address.table,
        )
        hiding = next((row[0] for row in rows if row[0].lower() == "rowid"), None)
        if hiding:
            raise ConfigError(f"{self._where}: column {hiding} hides what DuckDB tells rows apart by. Rename it.")
        return {row[0]: Column(row[0], row[1], row[2]) for row in rows if not row[3]}

    def _evolve(self, run: duckdb.DuckDBPyConnection, load: Load, columns: Mapping[str, Column]) -> list[str]:
        """Add the columns that the table lacks; what was added, for people."""
        missing = lacking(list(columns), load)
        for name in missing:
            run.execute(f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(name)} {_type_of(name)}").fetchall()
        return [f"column {name} is added" for name in missing]

    def _recognise(self, run: duckdb.DuckDBPyConnection, columns: Mapping[str, Column]) -> Target:
        return understood(self._where, columns, self._unique(run))

    def _unique(self, run: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
        rows = self._look_up(
            run, "constraint_type, constraint_column_names", "duckdb_constraints()", self._address.table
        )
        single = (names for kind, names in rows if kind in ("UNIQUE", "PRIMARY KEY") and len(names) == 1)
        return tuple(dict.fromkeys(name for (name,) in single))

    # Writing ------------------------------------------------------------------------------------------------

    def _create(self, run: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"{quoted(name)} {_type_of(name)}" for name in (*COLUMNS, RUN, DELETED))
        run.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.place}").fetchall()
        run.execute(f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns})").fetchall()
        for name, text in COMMENTS.items():
            on = f"{self._address.name}.{quoted(name)}"
            run.execute(f"COMMENT ON COLUMN {on} IS {literal(text)}").fetchall()

    def _insert(
        self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan, target: Target, *, everything: bool
    ) -> None:
        if not plan.counts["create"]:
            return
        given = {at.column: at.value for at in target.stored if at.field in load.survivors.columns}
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

    def _update(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan, target: Target) -> None:
        if not plan.counts["update"]:
            return
        changed = [stored for stored in target.stored if stored.field in plan.changed_fields]
        sets = {
            stored.column: stored.value
            if stored.erasable(load)
            else f"coalesce({stored.value}, t.{quoted(stored.column)})"
            for stored in changed
        }
        if target.bookkeeping:
            sets |= {RUN: literal(load.run_id), DELETED: "NULL"}
        done = run.execute(
            f"UPDATE {self._address.name} t SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action = 'update' AND t.rowid = p.target"
        ).fetchall()
        _as_planned("update", done[0][0], plan)

    def _delete(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan) -> None:
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

    def _write_ledger(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan) -> None:
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in LEDGER_COUNTS)
        run.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, "
            "table_name VARCHAR NOT NULL, source VARCHAR NOT NULL, mode VARCHAR NOT NULL, "
            "started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"{counts})"
        ).fetchall()
        row = ledger_row(load, plan, self._address.table)
        run.execute(
            f"INSERT INTO {self._address.ledger} ({', '.join(row)}, finished_at) "
            f"VALUES ({', '.join('?' for _ in row)}, now())",
            list(row.values()),
        ).fetchall()


class _Held:
    """The table where it lies."""

    place = "t.rowid"

    def __init__(self, run: duckdb.DuckDBPyConnection, address: Address, load: Load) -> None:
        self._run, self._name, self._load = run, address.name, load

    def see_survivors(self) -> None:
        see_survivors(self._run, self._load)

    def see_table(self, select: str) -> None:
        self._run.execute(f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM {self._name} t").fetchall()

    def undecided(self) -> str:
        return self._name

    def object(self) -> int:
        return 0


def _type_of(column: str) -> str:
    """The type of a column in a table made here."""
    return {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(column) or TYPE_OF[column]


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", first_line(error))
