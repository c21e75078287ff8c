"""A DuckDB table as source and destination: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an
absolute path. As a source `?query=SELECT …` reads what a query gives.

A table made here has `customer_key`, the columns of `schemas.customer.COLUMNS`, `_run_id` (the run that last
wrote the row) and `_deleted_at` (when mirror found that the source no longer has the customer). It has no
primary key: on a big table DuckDB's index doubles the time of a load and its memory; that keys are unique is
seen to here.

A table of the user's own is matched by its external id, its `customer_key`, or, if it has neither, its
e-mail. Columns are recognised by name as those of files are; what it has no column for is not stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import duckdb
import polars as pl

from connectors.contract import ArrowPart, Layout, Load, Plan
from connectors.errors import ConfigError, ConnectorError, Refused, Unreachable, shown
from schemas import columns as names
from schemas.customer import COLUMNS, INSTANT, KEY, Customer

BATCH_ROWS: Final = 61_440
_LONGEST_TYPE: Final = 40
LEDGER: Final = "_tranship_ledger"
RUN, DELETED = "_run_id", "_deleted_at"

_TYPES: Final = {
    pl.String(): "VARCHAR",
    pl.Int32(): "INTEGER",
    INSTANT: "TIMESTAMP WITH TIME ZONE",
    pl.List(pl.String): "VARCHAR[]",
}
_TYPE_OF: Final[dict[str, str]] = {
    name: "JSON" if name == "metadata" else _TYPES[dtype] for name, dtype in COLUMNS.items()
}
_LEDGER_COUNTS: Final = (
    *("read", "rejected", "merged", "created"),
    *("updated", "unchanged", "refused", "deleted"),
)
_COMMENTS: Final = {
    KEY: "Given at first insert, never changed: the external id, or email: and the e-mail.",
    RUN: "The run that last wrote the row.",
    DELETED: "When mirror found that the source no longer has the customer.",
}


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


def quoted(identifier: str) -> str:
    """An SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str | Path) -> str:
    """An SQL text."""
    return "'" + str(value).replace("'", "''") + "'"


def parse(spec: str) -> Address:
    """`duckdb:///path?table=schema.table` or `?query=…`, percent-encoded where need be (`%20`, `%26`, `%3F`).

    A name that itself holds a dot stands in double quotes. Raises ConfigError.
    """
    scheme = re.match("duckdb://", spec, re.IGNORECASE)
    place, mark, options = spec[scheme.end() :].partition("?") if scheme else ("", "", "")
    path = _decoded(spec, place.removeprefix("/"))
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
        given[key] = _decoded(spec, value)
    if len(given) == 2:
        raise ConfigError(f"{shown(spec)}: either a table or a query is read, not both.")
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{shown(spec)}: nobody knows the home directory of {path.split('/')[0]}.") from error
    return Address(file, *_table(spec, given.get("table", "customers")), given.get("query"))


def _decoded(spec: str, text: str) -> str:
    """Without percent-encoding; a `+` is a plus sign and a lone `%` stays."""
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError as error:
        raise ConfigError(f"{spec!a}: is not UTF-8.") from error
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", decoded):
        raise ConfigError(f"{spec!a}: holds a control character.")
    return decoded


def _table(spec: str, name: str) -> tuple[str, str]:
    """Schema and table of `table`, `schema.table`, `"odd.schema"."odd.table"`."""
    part = r'("(?:[^"]|"")+"|[^".][^.]*)'
    match = re.fullmatch(rf"(?:{part}\.)?{part}", name, re.DOTALL)
    if not match:
        raise ConfigError(
            f'{shown(spec)}: {name!r} is no table name. Write table or schema.table, and "a.b" for a name with dots.'
        )
    schema, table = (
        part[1:-1].replace('""', '"') if part and part.startswith('"') else part for part in match.groups()
    )
    return schema or "main", table or ""


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
        raise ConfigError(f"{address.path}: cannot be opened as a DuckDB database ({_first_line(error)}).") from error
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    return connection, replace(address, database=database)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


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
            raise ConfigError(f"{address.path}: {_first_line(error)}") from error
        # An instant without end has no place in a frame; as text it is found unreadable.
        types |= {name: "INFINITE" for name, found in zip(endless, counted[1:], strict=True) if found}
        self._columns = tuple(types)
        shown = ", ".join(_readable(name, dtype) for name, dtype in types.items())
        self._select = f"SELECT {shown} FROM {relation}{kept}"
        self.size: int | None = counted[0]
        self._name = f"{address.path}:{'query' if address.query else address.table}"

    def layouts(self) -> list[Layout]:
        """The table's columns, without the ones this tool keeps for itself."""
        return [Layout(self._name, self._columns)]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Name and number of rows. A table may change without either: no read is taken for a later one."""
        return [{"name": self._name, "size": None, "rows": self.size}]

    def parts(self) -> Iterator[ArrowPart]:
        """Rows in the table's order, in one snapshot."""
        row = 1
        try:
            for table in self._connection.cursor().sql(self._select).to_arrow_reader(BATCH_ROWS):
                yield ArrowPart(self._name, table, row, row - 1 + table.num_rows)
                row += table.num_rows
        except duckdb.Error as error:
            raise ConnectorError(f"{self._name}: reading broke near row {row} ({_first_line(error)}).") from error

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


@dataclass(frozen=True)
class _Stored:
    """A field, and the column it is stored in."""

    field: str
    column: str
    dtype: str

    @property
    def value(self) -> str:
        """The survivor's value in the column's type, null if it does not fit."""
        source = f"s.{quoted(self.field)}"
        if _TYPE_OF[self.field].endswith("[]") and not self.dtype.endswith("[]"):
            source = f"CASE WHEN {source} IS NOT NULL THEN to_json({source}) END"
        as_it_is = self.dtype == _TYPE_OF[self.field] != "JSON"
        return source if as_it_is else f"TRY_CAST({source} AS {self.dtype})"

    @property
    def fits_always(self) -> bool:
        """Whether every value fits by its type."""
        return self.dtype in (_TYPE_OF[self.field], "VARCHAR")

    @property
    def misfit(self) -> str:
        """Whether the survivor's value does not fit, as SQL. An id must stay what it is: 007 is not 7."""
        if self.field == "external_id":
            return f"{_as_id(self.value, self.dtype)} IS DISTINCT FROM {_as_id('s.external_id', self.dtype)}"
        return f"s.{quoted(self.field)} IS NOT NULL AND {self.value} IS NULL"

    def erasable(self, load: Load) -> bool:
        """Whether a null erases what the column holds. It never erases an id: who would it be then?"""
        return load.overwrite_nulls and self.field != "external_id"


def _as_id(value: str, dtype: str) -> str:
    """An id in a column of this type as text, the way that sources spell it."""
    if dtype == "UUID":
        return f"lower({value}::VARCHAR)"
    if dtype.startswith(("FLOAT", "DOUBLE", "DECIMAL")):
        return f"regexp_replace({value}::VARCHAR, '[.]0+$', '')"
    return f"{value}::VARCHAR"


@dataclass(frozen=True)
class _Target:
    """An existing table: what is stored where, how customers are found, what must not be null or repeat."""

    stored: tuple[_Stored, ...]
    key: str | None
    bookkeeping: bool
    """It has `_run_id` and `_deleted_at`."""
    required: tuple[str, ...]
    unique: tuple[str, ...]

    def column(self, field: str) -> _Stored | None:
        """Where a field is stored."""
        return next((stored for stored in self.stored if stored.field == field), None)

    @property
    def known_id(self) -> str:
        """The external id of a row, as SQL."""
        if stored := self.column("external_id"):
            return _as_id(f"t.{quoted(stored.column)}", stored.dtype)
        if self.key:
            key = f"t.{quoted(self.key)}::VARCHAR"
            return (
                f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) "
                f"WHEN NOT starts_with({key}, 'email:') THEN {key} END"
            )
        return "NULL::VARCHAR"

    @property
    def wanted_id(self) -> str:
        """The external id of a survivor, comparable with `known_id`."""
        stored = self.column("external_id")
        return _as_id("s.external_id", stored.dtype) if stored else "s.external_id"

    @property
    def known_email(self) -> str:
        """The e-mail of a row, as SQL."""
        if stored := self.column("email"):
            return f"lower(t.{quoted(stored.column)}::VARCHAR)"
        key = f"t.{quoted(self.key or '')}::VARCHAR"
        return f"CASE WHEN starts_with({key}, 'email:') THEN substr({key}, 7) END" if self.key else "NULL::VARCHAR"

    @property
    def by_id(self) -> bool:
        """Customers are told apart by their external id."""
        return bool(self.key or self.column("external_id"))

    @property
    def by_email(self) -> bool:
        """Customers can be found by their e-mail."""
        return bool(self.key or self.column("email"))


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
        self._target: _Target | None = None
        if self._address.path.exists():
            self._connection()

    def plan(self, load: Load) -> Plan:
        """Compare the survivors with the table; its transaction stays open for `apply`."""
        rows = load.workspace / "plan.parquet"
        self._target = None
        if self._open is None:
            # Nothing is there, and nothing is made before it is written.
            with duckdb.connect() as nowhere:
                return _plan_fresh(nowhere, load, rows)
        run = self._connection()
        try:
            self._configure(run, load)
            run.execute("BEGIN").fetchall()
            if not self._exists(run, self._address.table):
                return _plan_fresh(run, load, rows)
            notes: list[str] = []
            columns = self._columns(run)
            if load.evolve:
                notes += self._evolve(run, load, columns)
                columns = self._columns(run)
            self._target = target = self._recognise(run, columns)
            lost = [f for f in load.survivors.columns if not target.column(f)]
            if lost:
                notes.append(f"not stored, no column of the table fits: {', '.join(lost)} (--evolve adds them)")
            if load.mode == "mirror" and not target.bookkeeping:
                raise ConfigError(
                    f"{self._where}: has no {RUN} and {DELETED}, so nobody knows which rows this tool wrote; "
                    "--mode mirror would have to guess. Use upsert, or a table made by tranship."
                )
            return _Classifier(run, self._address, target, load).plan(rows, tuple(notes))
        except duckdb.Error as error:
            raise ConnectorError(f"{self._where}: comparing with it failed ({_first_line(error)}).") from error

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
                _see_survivors(run, load)
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
                f"{self._where}: writing failed and was undone; it is as before ({_first_line(error)})."
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

    def _columns(self, run: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, bool]]:
        """Column → type, and whether it must be given a value; without columns that the table computes."""
        rows = self._look_up(
            run,
            "column_name, data_type, NOT is_nullable AND column_default IS NULL, is_generated",
            "duckdb_columns()",
            self._address.table,
        )
        columns = {row[0]: (row[1], row[2]) for row in rows if not row[3]}
        hiding = next((row[0] for row in rows if row[0].lower() == "rowid"), None)
        if hiding:
            raise ConfigError(f"{self._where}: column {hiding} hides what DuckDB tells rows apart by. Rename it.")
        fitting = names.match([name for name in columns if name != KEY])
        unclear = [field for field in ("external_id", "email") if len(fitting.get(field, ())) > 1]
        if unclear and KEY not in columns:
            raise ConfigError(
                f"{self._where}: columns {' and '.join(fitting[unclear[0]])} both could hold {unclear[0]}, "
                f"which tells customers apart. Rename the right one to {unclear[0]}."
            )
        return columns

    def _evolve(self, run: duckdb.DuckDBPyConnection, load: Load, columns: Mapping[str, tuple[str, bool]]) -> list[str]:
        """Add the columns that the table lacks; what was added, for people."""
        known = _recognised(columns)
        missing = {field: _TYPE_OF[field] for field in load.survivors.columns if field not in known}
        if KEY in columns and RUN not in columns:
            missing |= {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}
        for field, dtype in missing.items():
            run.execute(f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(field)} {dtype}").fetchall()
        return [f"column {field} is added" for field in missing]

    def _recognise(self, run: duckdb.DuckDBPyConnection, columns: dict[str, tuple[str, bool]]) -> _Target:
        known = _recognised(columns)
        bookkeeping = RUN in columns and DELETED in columns
        target = _Target(
            stored=tuple(_Stored(field, at, columns[at][0]) for field, at in known.items() if field != KEY),
            key=known.get(KEY),
            bookkeeping=bookkeeping,
            required=tuple(name for name, (_, required) in columns.items() if required),
            unique=self._unique(run),
        )
        if not (target.by_id or target.by_email):
            raise ConfigError(
                f"{self._where}: has no column for the external id or the e-mail ({', '.join(columns)}); "
                "without one no customer is recognised again. Name another table with ?table=."
            )
        filled = {*known.values(), *((RUN, DELETED) if bookkeeping else ())}
        unfilled = [name for name in target.required if name not in filled]
        if unfilled:
            raise ConfigError(
                f"{self._where}: column {unfilled[0]} must have a value and nothing of a customer goes "
                "there. Give it a default, allow NULL, or rename it after the field it holds."
            )
        return target

    def _unique(self, run: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
        rows = self._look_up(
            run, "constraint_type, constraint_column_names", "duckdb_constraints()", self._address.table
        )
        single = (names for kind, names in rows if kind in ("UNIQUE", "PRIMARY KEY") and len(names) == 1)
        return tuple(dict.fromkeys(name for (name,) in single))

    # Writing ------------------------------------------------------------------------------------------------

    def _create(self, run: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"{quoted(name)} {dtype}" for name, dtype in _TYPE_OF.items())
        run.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.place}").fetchall()
        run.execute(
            f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns}, "
            f"{quoted(RUN)} VARCHAR, {quoted(DELETED)} TIMESTAMP WITH TIME ZONE)"
        ).fetchall()
        described = {name: column.description for name, column in Customer.to_schema().columns.items()}
        for name, text in (_COMMENTS | described).items():
            if text:
                on = f"{self._address.name}.{quoted(name)}"
                run.execute(f"COMMENT ON COLUMN {on} IS {literal(text)}").fetchall()

    def _insert(
        self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan, target: _Target, *, everything: bool
    ) -> None:
        if not plan.counts["create"]:
            return
        given = {stored.column: stored.value for stored in target.stored}
        if target.key:
            given[target.key] = _new_key("s")
        if target.bookkeeping:
            given[RUN] = literal(load.run_id)
        _see_survivors(run, load)
        chosen = "" if everything else " JOIN _plan p ON p.row = s._row AND p.action = 'create'"
        done = run.execute(
            f"INSERT INTO {self._address.name} ({', '.join(map(quoted, given))}) "
            f"SELECT {', '.join(given.values())} FROM _survivors s{chosen}"
        ).fetchall()
        _as_planned("create", done[0][0], plan)

    def _update(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan, target: _Target) -> None:
        if not plan.counts["update"]:
            return
        changed = [stored for stored in target.stored if stored.field in load.survivors.columns]
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
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in _LEDGER_COUNTS)
        run.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, "
            "table_name VARCHAR NOT NULL, source VARCHAR NOT NULL, mode VARCHAR NOT NULL, "
            "started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"{counts})"
        ).fetchall()
        ledger = ledger_counts(load, plan)
        run.execute(
            f"INSERT INTO {self._address.ledger} VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ, now(), "
            f"{', '.join('?' for _ in _LEDGER_COUNTS)})",
            [
                *(load.run_id, self._address.table, load.source, load.mode, load.started_at),
                *(ledger[name] for name in _LEDGER_COUNTS),
            ],
        ).fetchall()


def ledger_counts(load: Load, plan: Plan) -> dict[str, int]:
    """The ledger as it stands when the plan has been carried out."""
    counts = plan.counts
    return {
        "read": load.ledger["read"],
        "rejected": load.ledger["rejected"] + counts["ambiguous"],
        "merged": load.ledger["merged"],
        "created": counts["create"],
        "updated": counts["update"],
        "unchanged": counts["unchanged"],
        "refused": counts["refused"],
        "deleted": counts["delete"],
    }


def _recognised(columns: Mapping[str, Any]) -> dict[str, str]:
    """Field → column, by name; where two would fit, neither is taken. `customer_key` is the key."""
    fitting = names.match([column for column in columns if column != KEY])
    found = {field: among[0] for field, among in fitting.items() if len(among) == 1}
    return found | ({KEY: KEY} if KEY in columns else {})


def _new_key(alias: str) -> str:
    """The key of a new customer: the external id, or `email:` and the e-mail.

    An id that looks like such a key gets `id:` in front, so that no two customers ever share one.
    """
    own = f"{alias}.external_id"
    return (
        f"CASE WHEN starts_with({own}, 'email:') OR starts_with({own}, 'id:') THEN 'id:' || {own} "
        f"ELSE coalesce({own}, 'email:' || {alias}.email) END"
    )


def _id_or_email(external_id: str, email: str) -> str:
    """What a customer is looked up by, as SQL. No external id has the control character in front of the e-mail."""
    return f"coalesce({external_id}, chr(1) || {email})"


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", _first_line(error))


def _see_survivors(run: duckdb.DuckDBPyConnection, load: Load) -> None:
    files = ", ".join(map(literal, load.survivors.files))
    typed = {**_TYPE_OF, "metadata": "VARCHAR", "_row": "UBIGINT", "_email_blocked": "BOOLEAN"}
    nobody = ", ".join(f"NULL::{dtype} AS {quoted(name)}" for name, dtype in typed.items())
    run.execute(
        f"CREATE OR REPLACE TEMP VIEW _survivors AS SELECT * FROM read_parquet([{files}]) s "
        f"ANTI JOIN read_parquet({literal(load.survivors.dropped)}) d ON s._row = d.row"
        if load.survivors.files
        else f"CREATE OR REPLACE TEMP VIEW _survivors AS SELECT {nobody} WHERE false"
    ).fetchall()


def _plan_fresh(run: duckdb.DuckDBPyConnection, load: Load, rows: Path) -> Plan:
    """Nothing is there: every survivor is created, or refused if only updates are allowed."""
    _see_survivors(run, load)
    action, reason = ("refused", "'not_there'") if load.mode == "update" else ("create", "NULL::VARCHAR")
    run.execute(
        f"COPY (SELECT _row AS row, '{action}' AS action, {reason} AS reason, NULL::VARCHAR[] AS changed "
        f"FROM _survivors) TO {literal(rows)} (FORMAT parquet)"
    ).fetchall()
    counts = dict.fromkeys(("create", "update", "unchanged", "refused", "ambiguous", "delete"), 0)
    return Plan(rows, {**counts, action: load.survivors.count})


class _Classifier:
    """The comparison of survivors and table, in temporary tables of one connection."""

    def __init__(self, run: duckdb.DuckDBPyConnection, address: Address, target: _Target, load: Load) -> None:
        self._run, self._address, self._target, self._load = run, address, target, load
        self._compared = [stored for stored in target.stored if stored.field in load.survivors.columns]

    def plan(self, rows: Path, notes: tuple[str, ...]) -> Plan:
        run = self._run
        _see_survivors(run, self._load)
        self._see_table()
        existing = self._value("SELECT count(*) FROM _table")
        self._match_ids()
        self._match_emails()
        self._refuse_by_mode()
        self._refuse_who_cannot_be_found_again()
        self._refuse_what_does_not_fit()
        self._refuse_second_matches()
        self._compare()
        self._refuse_repeated()
        self._find_gone()
        run.execute(
            f"COPY (SELECT row, action, reason, changed FROM _plan) TO {literal(rows)} (FORMAT parquet)"
        ).fetchall()
        counts = dict.fromkeys(("create", "update", "unchanged", "refused", "ambiguous"), 0)
        counts |= dict(run.execute("SELECT action, count(*) FROM _plan GROUP BY action").fetchall())
        counts["delete"] = self._value("SELECT count(*) FROM _gone")
        changed = run.execute("SELECT f, count(*) FROM (SELECT unnest(changed) AS f FROM _plan) GROUP BY f").fetchall()
        return Plan(rows, counts, dict(sorted(changed)), existing, notes)

    def _value(self, sql: str) -> int:
        return int(self._run.execute(sql).fetchall()[0][0])

    def _do(self, sql: str) -> int:
        """Run a statement; for INSERT, UPDATE and DELETE the number of rows."""
        found = self._run.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def _see_table(self) -> None:
        target = self._target
        deleted = f"t.{quoted(DELETED)} IS NOT NULL" if target.bookkeeping else "false"
        ours = f"t.{quoted(RUN)} IS NOT NULL" if target.bookkeeping else "false"
        hashed = ", ".join(f"t.{quoted(stored.column)}" for stored in self._compared) or "0"
        self._do(
            f"CREATE OR REPLACE TEMP VIEW _table AS SELECT t.rowid AS target, {target.known_id} AS id, "
            f"{target.known_email} AS mail, {_id_or_email(target.known_id, target.known_email)} AS known, "
            f"{deleted} AS deleted, {ours} AS ours, hash({hashed}) AS seen FROM {self._address.name} t"
        )

    def _match_ids(self) -> None:
        """Every survivor with the row of its external id or, where neither has one, of its e-mail. A hash of all
        compared columns finds what is equal without carrying the columns through the join; what differs is looked
        at column by column."""
        wanted = ", ".join(stored.value for stored in self._compared) or "0"
        self._do(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT s.row, t.target, NULL::VARCHAR AS action, "
            "NULL::VARCHAR AS reason, NULL::VARCHAR[] AS changed, "
            "s.wanted = t.seen AND NOT t.deleted AS same "
            f"FROM (SELECT s._row AS row, {_id_or_email(self._target.wanted_id, 's.email')} AS known, "
            f"hash({wanted}) AS wanted FROM _survivors s) s LEFT JOIN _table t ON t.known = s.known"
        )
        self._do("CREATE OR REPLACE TEMP TABLE _unsure (target BIGINT)")
        if self._value("SELECT count(*) FROM _plan") > self._load.survivors.count:
            # One external id, several rows: whichever were written, the other would stay wrong.
            several = "(SELECT row FROM _plan GROUP BY row HAVING count(*) > 1)"
            self._do(f"INSERT INTO _unsure SELECT target FROM _plan WHERE row IN {several}")
            self._do(
                "CREATE OR REPLACE TEMP TABLE _plan AS SELECT row, "
                "CASE WHEN count(*) = 1 THEN any_value(target) END AS target, "
                "CASE WHEN count(*) > 1 THEN 'refused' END AS action, "
                "CASE WHEN count(*) > 1 THEN 'matches_several' END AS reason, "
                "NULL::VARCHAR[] AS changed, bool_and(same) AS same FROM _plan GROUP BY row"
            )

    def _match_emails(self) -> None:
        """Rule 2 at the destination, both ways round.

        A survivor without an id belongs to the one row with its e-mail; rows of customers that are in the run
        by their id do not count, their e-mail is what the run says. A survivor with an id takes over the one
        row that has its e-mail and no id, if no other customer, here or in the run, has that e-mail.
        """
        target = self._target
        self._do("CREATE OR REPLACE TEMP TABLE _mail (row UBIGINT, target BIGINT, alone BOOLEAN)")
        if not target.by_email:
            return
        ids = f"(SELECT {target.wanted_id} FROM _survivors s WHERE s.external_id IS NOT NULL)"
        wanted = "true" if not target.by_id else "s.external_id IS NULL"
        usable = "true" if not target.by_id else f"(t.id IS NULL OR t.id NOT IN {ids})"
        self._do(
            "INSERT INTO _mail SELECT s._row, t.target, s.external_id IS NULL "
            "FROM _survivors s JOIN _table t ON t.mail = s.email "
            f"WHERE {wanted} AND NOT s._email_blocked AND {usable}"
        )
        if target.by_id:
            self._match_nameless_rows(ids)
        # same = false: these few are compared column by column.
        self._do(
            "UPDATE _plan SET target = m.target, same = false FROM "
            "(SELECT row, min(target) AS target FROM _mail GROUP BY row HAVING count(*) = 1) m "
            "WHERE _plan.row = m.row AND _plan.target IS DISTINCT FROM m.target"
        )
        self._do(
            "UPDATE _plan SET action = CASE WHEN m.alone THEN 'ambiguous' ELSE 'refused' END, "
            "reason = CASE WHEN NOT m.alone THEN 'matches_several' END "
            "FROM (SELECT row, alone FROM _mail GROUP BY ALL HAVING count(*) > 1) m WHERE _plan.row = m.row"
        )
        self._do(
            "INSERT INTO _unsure SELECT target FROM _mail WHERE row IN (SELECT row FROM _plan WHERE action IS NOT NULL)"
        )

    def _match_nameless_rows(self, ids: str) -> None:
        """Survivors with an id that is not there yet, and rows of their e-mail that have no id."""
        found = self._do(
            "CREATE OR REPLACE TEMP TABLE _nameless AS SELECT s._row AS row, t.target, s.email AS mail "
            "FROM _survivors s JOIN _plan p ON p.row = s._row AND p.target IS NULL AND p.action IS NULL "
            "JOIN _table t ON t.mail = s.email "
            "WHERE s.external_id IS NOT NULL AND NOT s._email_blocked AND t.id IS NULL"
        )
        if not found:
            return
        in_run = (
            "SELECT s.email FROM _survivors s WHERE s.external_id IS NOT NULL AND NOT s._email_blocked "
            "AND s.email IN (SELECT mail FROM _nameless) GROUP BY s.email HAVING count(*) > 1"
        )
        in_table = f"SELECT t.mail FROM _table t WHERE t.mail IN (SELECT mail FROM _nameless) AND t.id NOT IN {ids}"
        self._do(
            "INSERT INTO _mail SELECT row, target, false FROM _nameless "
            f"WHERE mail NOT IN ({in_run}) AND mail NOT IN ({in_table}) "
            "AND row IN (SELECT row FROM _nameless GROUP BY row HAVING count(*) = 1)"
        )

    def _refuse_by_mode(self) -> None:
        if self._load.mode == "insert":
            self._refuse("target IS NOT NULL", "already_there")
        elif self._load.mode == "update":
            self._refuse("target IS NULL", "not_there")

    def _refuse(self, where: str, reason: str) -> None:
        self._do(f"UPDATE _plan SET action = 'refused', reason = {literal(reason)} WHERE action IS NULL AND {where}")

    def _refuse_who_cannot_be_found_again(self) -> None:
        """The table has no place for what identifies them: every run would create them anew."""
        target = self._target
        if not target.by_email:
            nobody, at = "s.external_id IS NULL", target.column("external_id")
        elif not target.by_id:
            nobody, at = "s.email IS NULL OR s._email_blocked", target.column("email")
        else:
            return
        column = at.column if at else KEY
        self._refuse(
            f"target IS NULL AND row IN (SELECT s._row FROM _survivors s WHERE {nobody})",
            f"identifies_nobody: {column}",
        )

    def _refuse_what_does_not_fit(self) -> None:
        """Values that the column's type cannot hold, and nulls where the table wants a value."""
        target, load = self._target, self._load
        for stored in self._compared:
            if not stored.fits_always:
                dtype = stored.dtype if len(stored.dtype) < _LONGEST_TYPE else stored.dtype.partition("(")[0]
                self._refuse(
                    f"row IN (SELECT s._row FROM _survivors s WHERE {stored.misfit})",
                    f"does_not_fit: {stored.column} {dtype}",
                )
        for stored in target.stored:
            if stored.column in target.required:
                erased = stored in self._compared and stored.erasable(load)
                self._refuse(
                    f"{'true' if erased else 'target IS NULL'} "
                    f"AND row IN (SELECT s._row FROM _survivors s WHERE {stored.value} IS NULL)",
                    f"must_have_a_value: {stored.column}",
                )

    def _refuse_second_matches(self) -> None:
        """Two survivors that the table cannot tell apart: the first record of the run stays."""
        at = self._target.column("external_id" if self._target.by_id else "email")
        text = at is None or at.dtype == "VARCHAR"
        self._refuse(
            "row IN (SELECT row FROM _plan WHERE target IS NOT NULL AND action IS NULL "
            f"{'AND target IN (SELECT target FROM _mail) ' if text else ''}"
            "QUALIFY row_number() OVER (PARTITION BY target ORDER BY row) > 1)",
            f"taken: {at.column if at else KEY}",
        )

    def _compare(self) -> None:
        self._do("UPDATE _plan SET action = 'create' WHERE action IS NULL AND target IS NULL")
        self._do("UPDATE _plan SET action = 'unchanged' WHERE action IS NULL AND same")
        if not self._value("SELECT count(*) FROM _plan WHERE action IS NULL"):
            return
        differs = [
            f"CASE WHEN {'' if stored.erasable(self._load) else f'{stored.value} IS NOT NULL AND '}"
            f"{stored.value} IS DISTINCT FROM t.{quoted(stored.column)} THEN {literal(stored.field)} END"
            for stored in self._compared
        ]
        if self._target.bookkeeping:
            differs.append(f"CASE WHEN t.{quoted(DELETED)} IS NOT NULL THEN {literal(DELETED)} END")
        self._do(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT p.row, "
            f"list_filter([{', '.join(differs) or 'NULL::VARCHAR'}], lambda f: f IS NOT NULL) AS changed "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"JOIN {self._address.name} t ON t.rowid = p.target WHERE p.action IS NULL"
        )
        self._do(
            "UPDATE _plan SET action = CASE WHEN len(d.changed) = 0 THEN 'unchanged' ELSE 'update' END, "
            "changed = CASE WHEN len(d.changed) > 0 THEN d.changed END "
            "FROM _differs d WHERE _plan.row = d.row"
        )

    def _refuse_repeated(self) -> None:
        """Values that a unique column (or the key) has already, or that two survivors would bring: the first
        record of the run stays, the others are refused. What one customer gives up now, another may have."""
        target = self._target
        own = [] if target.by_id else ["email"]
        checks = [
            (stored.column, stored.value)
            for stored in target.stored
            if stored.column in target.unique
            or stored.field in own
            or (stored.field == "external_id" and stored.dtype != "VARCHAR")
        ]
        if target.key:
            checks.append((target.key, f"CASE WHEN p.target IS NULL THEN {_new_key('s')} END"))
        # A refusal takes back what the record would have given up: look again until nothing is refused.
        while sum(self._refuse_taken(column, value) for column, value in checks):
            pass

    def _refuse_taken(self, column: str, value: str) -> int:
        self._do(
            "CREATE OR REPLACE TEMP TABLE _brought AS "
            f"SELECT p.row, p.target, {value} AS value FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action IN ('create', 'update')"
        )
        repeated = (
            "SELECT row FROM _brought WHERE value IS NOT NULL "
            "QUALIFY row_number() OVER (PARTITION BY value ORDER BY row) > 1"
        )
        taken = (
            f"SELECT b.row FROM _brought b JOIN {self._address.name} t ON t.{quoted(column)} = b.value "
            "LEFT JOIN _brought o ON o.target = t.rowid "
            f"WHERE b.target IS DISTINCT FROM t.rowid AND coalesce(o.value = t.{quoted(column)}, true)"
        )
        return self._do(
            f"UPDATE _plan SET action = 'refused', reason = {literal(f'taken: {column}')}, changed = NULL "
            f"WHERE row IN ({repeated} UNION ALL {taken})"
        )

    def _find_gone(self) -> None:
        """What this tool wrote and the source no longer has. Rows that a record might have meant stay."""
        gone = (
            "ours AND NOT deleted AND target NOT IN (SELECT target FROM _plan WHERE target IS NOT NULL "
            "UNION ALL SELECT target FROM _unsure)"
        )
        condition = gone if self._load.mode == "mirror" else "false"
        self._do(f"CREATE OR REPLACE TEMP TABLE _gone AS SELECT target FROM _table WHERE {condition}")
