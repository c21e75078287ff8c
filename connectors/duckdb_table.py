"""A DuckDB table as source and destination: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an absolute
path. As a source `?query=SELECT …` reads what a query gives.

A table made here has `customer_key`, the columns of `schemas.customer.COLUMNS`, `_run_id` (the run that last wrote the
row) and `_deleted_at` (when mirror found that the source no longer has the customer). It has no primary key: on a big
table DuckDB's index doubles the time of a load and its memory; that keys are unique is seen to here.

A table of the user's own is matched by its external id, its `customer_key`, or, if it has neither, its e-mail; columns
are recognised by name as those of files are, and what it has no column for is not stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa

from connectors.contract import Batch, Layout, Load, Plan
from connectors.errors import ConfigError, ConnectorError, Refused, Unreachable
from schemas import columns as names
from schemas.customer import COLUMNS, INSTANT, KEY
from schemas.faults import BROKEN

BATCH_ROWS: Final = 61_440
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
_LEDGER_COUNTS: Final = ("read", "rejected", "merged", "created", "updated", "unchanged", "refused", "deleted")


@dataclass(frozen=True)
class Address:
    """Where a table is."""

    path: Path
    schema: str
    table: str
    query: str | None

    @property
    def name(self) -> str:
        """The table, quoted and with its schema."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def ledger(self) -> str:
        """The ledger beside the table."""
        return f"{quoted(self.schema)}.{quoted(LEDGER)}"


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
    place, _, options = spec[scheme.end() :].partition("?") if scheme else ("", "", "")
    path = _decoded(spec, place.removeprefix("/"))
    if not place.startswith("/") or not path.strip("/") or path == ":memory:":
        raise ConfigError(f"{spec}: a DuckDB address has three slashes and a path: duckdb:///warehouse.duckdb")
    given: dict[str, str] = {}
    for option in filter(None, options.split("&")):
        key, _, value = option.partition("=")
        if key not in ("table", "query"):
            raise ConfigError(f"{spec}: does not know {key!r}; there are table and query. Write & and % as %26 and %25.")
        if key in given or not value:
            raise ConfigError(f"{spec}: {key} is given {'twice' if value else 'no value'}.")
        given[key] = _decoded(spec, value)
    if len(given) == 2:
        raise ConfigError(f"{spec}: either a table or a query is read, not both.")
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{spec}: nobody knows the home directory of {path.split('/')[0]}.") from error
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
            f"{spec}: {name!r} is no table name. Write table or schema.table, and a name with dots in double quotes."
        )
    schema, table = (
        part[1:-1].replace('""', '"') if part and part.startswith('"') else part for part in match.groups()
    )
    return schema or "main", table or ""


def _connect(address: Address, *, read_only: bool, config: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    try:
        try:
            connection = duckdb.connect(address.path, read_only=read_only, config=dict(config))
        except duckdb.ConnectionException:
            # The same file is the run's other end: one process has one instance of it.
            connection = duckdb.connect(address.path)
    except duckdb.IOException as error:
        holder = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
        if holder:
            raise Unreachable(
                f"{address.path}: is held by process {holder[2]} ({Path(holder[1]).name}). DuckDB lets one process in at a "
                "time: wait for it or end it, then run the same command."
            ) from error
        raise ConfigError(f"{address.path}: cannot be opened as a DuckDB database ({_first_line(error)}).") from error
    except duckdb.Error as error:
        raise ConfigError(f"{address.path}: cannot be opened as a DuckDB database ({_first_line(error)}).") from error
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    return connection


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# Source ----------------------------------------------------------------------------------------------------------


@dataclass
class RowsPart:
    """Some rows of a table."""

    source: str
    table: pa.RecordBatch
    first_row: int
    bytes_read: int

    def read(self) -> Batch:
        """Arrow → polars; rows are counted from 1."""
        records = pl.from_arrow(self.table)
        assert isinstance(records, pl.DataFrame)  # noqa: S101  (a record batch gives a frame)
        lines = pl.int_range(self.first_row, self.first_row + records.height, dtype=pl.UInt64, eager=True)
        return Batch(self.source, records, lines, pl.DataFrame(schema=BROKEN))


class DuckDbSource:
    """A table, a view or a query. Of a table made here, the customers that are not marked as deleted."""

    def __init__(self, spec: str) -> None:
        self._address = parse(spec)
        address = self._address
        if not address.path.exists():
            raise ConfigError(f"{address.path}: there is no such database.")
        self._connection = _connect(address, read_only=True, config={})
        relation = f"({address.query.rstrip().rstrip(';')})" if address.query else address.name
        try:
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            own = {row[0] for row in described}
            ours = {KEY, RUN, DELETED} <= own and not address.query
            hidden = {KEY, RUN, DELETED} if ours else set()
            shown = [
                f"{quoted(row[0])}::VARCHAR AS {quoted(row[0])}" if row[1] == "JSON" else quoted(row[0])
                for row in described
                if row[0] not in hidden
            ]
            self._columns = tuple(row[0] for row in described if row[0] not in hidden)
            kept = f" WHERE {quoted(DELETED)} IS NULL" if ours else ""
            self._select = f"SELECT {', '.join(shown)} FROM {relation}{kept}"
            counted = self._connection.execute(f"SELECT count(*) FROM {relation}{kept}").fetchall()
        except duckdb.Error as error:
            self._connection.close()
            raise ConfigError(f"{address.path}: {_first_line(error)}") from error
        self.size: int | None = counted[0][0]
        self._name = f"{address.path}:{address.query and 'query' or address.table}"

    def layouts(self) -> list[Layout]:
        """The table's columns, without the ones this tool keeps for itself."""
        return [Layout(self._name, self._columns)]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Name and number of rows; a table may change without either, so a read is never taken for a later one."""
        return [{"name": self._name, "size": None, "rows": self.size}]

    def parts(self) -> Iterator[RowsPart]:
        """Rows in the table's order, in one snapshot."""
        row = 1
        try:
            for table in self._connection.cursor().sql(self._select).to_arrow_reader(BATCH_ROWS):
                yield RowsPart(self._name, table, row, row - 1 + table.num_rows)
                row += table.num_rows
        except duckdb.Error as error:
            raise ConnectorError(f"{self._name}: reading broke near row {row} ({_first_line(error)}).") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


# Destination -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """A field and the column it is stored in; `ours` if the column has the type we would give it."""

    field: str
    column: str
    dtype: str

    @property
    def value(self) -> str:
        """The survivor's value in the column's type, null if it does not fit."""
        source = f"s.{quoted(self.field)}"
        if _TYPE_OF[self.field].endswith("[]") and not self.dtype.endswith("[]"):
            source = f"CASE WHEN {source} IS NOT NULL THEN to_json({source}) END"
        return f"{source}" if self.dtype == _TYPE_OF[self.field] != "JSON" else f"TRY_CAST({source} AS {self.dtype})"

    @property
    def fits_always(self) -> bool:
        """Whether every value fits by its type."""
        return self.dtype == _TYPE_OF[self.field] or self.dtype in ("VARCHAR", "JSON")


@dataclass(frozen=True)
class _Target:
    """An existing table: what is stored where, how customers are recognised, what must not be null or repeat."""

    stored: tuple[_Stored, ...]
    key: str | None
    external_id: str | None
    email: str | None
    bookkeeping: bool
    """It has `_run_id` and `_deleted_at`."""
    required: tuple[str, ...]
    unique: tuple[str, ...]

    @property
    def known_id(self) -> str:
        """The external id of a row, as SQL."""
        if self.external_id:
            return f"t.{quoted(self.external_id)}::VARCHAR"
        if self.key:
            key = f"t.{quoted(self.key)}::VARCHAR"
            return f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) WHEN NOT starts_with({key}, 'email:') THEN {key} END"
        return "NULL::VARCHAR"

    @property
    def known_email(self) -> str:
        """The e-mail of a row, as SQL."""
        return f"lower(t.{quoted(self.email)}::VARCHAR)" if self.email else "NULL::VARCHAR"

    @property
    def by_email_alone(self) -> bool:
        """Nothing but the e-mail tells its customers apart."""
        return not (self.key or self.external_id)


class DuckDbTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{spec}: a query can be read, not written; name a table.")
        if not self._address.path.parent.is_dir():
            raise ConfigError(f"{spec}: the folder {self._address.path.parent} does not exist.")
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
            return _plan_fresh(duckdb.connect(), load, rows)
        run = self._connection()
        self._configure(run, load)
        run.execute("BEGIN").fetchall()
        if not self._exists(run, self._address.table):
            return _plan_fresh(run, load, rows)
        columns = self._columns(run)
        notes: list[str] = []
        if load.evolve:
            known = _recognised(columns)
            missing = [field for field in load.survivors.columns if field not in known]
            if KEY in columns and RUN not in columns:
                missing += [RUN, DELETED]
            for field in missing:
                dtype = _TYPE_OF.get(field, "VARCHAR" if field == RUN else "TIMESTAMP WITH TIME ZONE")
                run.execute(f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(field)} {dtype}").fetchall()
            notes += [f"column {field} is added" for field in missing]
            columns = self._columns(run)
        self._target = target = self._recognise(run, columns)
        lost = [f for f in load.survivors.columns if f not in {stored.field for stored in target.stored}]
        if lost:
            notes.append(f"not stored, the table has no column for it: {', '.join(lost)} (--evolve adds them)")
        if load.mode == "mirror" and not target.bookkeeping:
            raise ConfigError(
                f"{self._address.path}: table {self._address.table} has no {RUN} and {DELETED}, so nobody knows which "
                "rows this tool wrote; --mode mirror would have to guess. Use upsert, or a table made by tranship."
            )
        try:
            return _Classifier(run, self._address, target, load).plan(rows, tuple(notes))
        except duckdb.Error as error:
            raise ConnectorError(f"{self._address.path}: comparing with the table failed ({_first_line(error)}).") from error

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
                self._delete(run, load, plan, self._target)
                self._insert(run, load, plan, self._target, everything=plan.counts["create"] == load.survivors.count)
            self._write_ledger(run, load, plan)
            run.execute("COMMIT").fetchall()
        except duckdb.ConstraintException as error:
            raise Refused(
                f"{self._address.path}: table {self._address.table} refused the load; nothing was written "
                f"({_without_values(error)}). Change the constraint or correct the records."
            ) from None
        except duckdb.Error as error:
            raise ConnectorError(
                f"{self._address.path}: writing failed and was undone; the table is as before ({_first_line(error)})."
            ) from error

    def applied(self, run_id: str) -> bool:
        """Whether the ledger has this run."""
        if self._open is None:
            return False
        run = self._connection()
        if not self._exists(run, LEDGER):
            return False
        return bool(run.execute(f"SELECT 1 FROM {self._address.ledger} WHERE run_id = ?", [run_id]).fetchall())

    def close(self) -> None:
        """Undo what was not committed and let the file go."""
        if self._open is not None:
            self._open.close()
            self._open = None

    # What is there -----------------------------------------------------------------------------------------------

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._open is None:
            self._open = _connect(self._address, read_only=False, config={"memory_limit": self._memory})
        return self._open

    def _configure(self, run: duckdb.DuckDBPyConnection, load: Load) -> None:
        run.execute("SET preserve_insertion_order = false").fetchall()
        run.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()

    def _exists(self, run: duckdb.DuckDBPyConnection, table: str) -> bool:
        return bool(
            run.execute(
                "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ? AND table_name = ?",
                [self._address.schema, table],
            ).fetchall()
        )

    def _columns(self, run: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, bool]]:
        """Column → type, and whether it must be given a value."""
        rows = run.execute(
            "SELECT column_name, data_type, NOT is_nullable AND column_default IS NULL FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [self._address.schema, self._address.table],
        ).fetchall()
        generated = self._generated(run)
        return {row[0]: (row[1], row[2]) for row in rows if row[0] not in generated}

    def _generated(self, run: duckdb.DuckDBPyConnection) -> set[str]:
        """Columns that the table computes; only its DDL tells."""
        ddl = run.execute(
            "SELECT sql FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ? AND table_name = ?",
            [self._address.schema, self._address.table],
        ).fetchall()[0][0]
        found = re.findall(r'(?:"((?:[^"]|"")+)"|(\w+))[^,"]*?\sGENERATED ALWAYS AS', ddl)
        return {(quoted_name or plain).replace('""', '"') for quoted_name, plain in found}

    def _recognise(self, run: duckdb.DuckDBPyConnection, columns: dict[str, tuple[str, bool]]) -> _Target:
        known = _recognised(columns)
        stored = tuple(_Stored(field, column, columns[column][0]) for field, column in known.items() if field != KEY)
        target = _Target(
            stored=stored,
            key=known.get(KEY),
            external_id=known.get("external_id"),
            email=known.get("email"),
            bookkeeping=RUN in columns and DELETED in columns,
            required=tuple(name for name, (_, required) in columns.items() if required),
            unique=self._unique(run),
        )
        where = f"{self._address.path}: table {self._address.table}"
        if target.by_email_alone and not target.email:
            raise ConfigError(
                f"{where} has no column for the external id or the e-mail ({', '.join(columns)}); without one no customer "
                "is recognised again. Name another table with ?table=."
            )
        unfilled = [name for name in target.required if name not in known.values() and name not in (RUN, DELETED)]
        if unfilled:
            raise ConfigError(
                f"{where}: column {unfilled[0]} must have a value and nothing of a customer goes there. Give it a default, "
                "allow NULL, or rename it after the field it holds."
            )
        return target

    def _unique(self, run: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
        rows = run.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
            "AND schema_name = ? AND table_name = ? AND constraint_type IN ('UNIQUE', 'PRIMARY KEY')",
            [self._address.schema, self._address.table],
        ).fetchall()
        return tuple(row[0][0] for row in rows if len(row[0]) == 1)

    # Writing -----------------------------------------------------------------------------------------------------

    def _create(self, run: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"{quoted(name)} {dtype}" for name, dtype in _TYPE_OF.items())
        run.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(self._address.schema)}").fetchall()
        run.execute(
            f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns}, "
            f"{quoted(RUN)} VARCHAR, {quoted(DELETED)} TIMESTAMP WITH TIME ZONE)"
        ).fetchall()

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
            if load.overwrite_nulls
            else f"coalesce({stored.value}, t.{quoted(stored.column)})"
            for stored in changed
        }
        if target.bookkeeping:
            sets |= {RUN: literal(load.run_id), DELETED: "NULL"}
        done = run.execute(
            f"UPDATE {self._address.name} t SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
            "FROM _plan p JOIN _survivors s ON s._row = p.row WHERE p.action = 'update' AND t.rowid = p.target"
        ).fetchall()
        _as_planned("update", done[0][0], plan)

    def _delete(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan, target: _Target) -> None:
        if not plan.counts["delete"]:
            return
        gone = f"WHERE t.rowid IN (SELECT target FROM _gone)"
        if load.hard_delete:
            done = run.execute(f"DELETE FROM {self._address.name} t {gone}").fetchall()
        else:
            done = run.execute(
                f"UPDATE {self._address.name} t SET {quoted(DELETED)} = now(), {quoted(RUN)} = {literal(load.run_id)} {gone}"
            ).fetchall()
        _as_planned("delete", done[0][0], plan)

    def _write_ledger(self, run: duckdb.DuckDBPyConnection, load: Load, plan: Plan) -> None:
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in _LEDGER_COUNTS)
        run.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, table_name VARCHAR NOT NULL, "
            f"source VARCHAR NOT NULL, mode VARCHAR NOT NULL, started_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"finished_at TIMESTAMP WITH TIME ZONE NOT NULL, {counts})"
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
    found = {field: fitting[0] for field, fitting in names.match([c for c in columns if c != KEY]).items() if len(fitting) == 1}
    return found | ({KEY: KEY} if KEY in columns else {})


def _new_key(alias: str) -> str:
    """The key of a new customer: the external id, or `email:` and the e-mail. An id that looks like such a key itself
    gets `id:` in front, so that no two customers ever share one."""
    own = f"{alias}.external_id"
    return (
        f"CASE WHEN starts_with({own}, 'email:') OR starts_with({own}, 'id:') THEN 'id:' || {own} "
        f"ELSE coalesce({own}, 'email:' || {alias}.email) END"
    )


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{done} rows were written where the plan had {plan.counts[action]} to {action}")


def _without_values(error: Exception) -> str:
    """A constraint's message without the customer's data in it."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", _first_line(error))


def _see_survivors(run: duckdb.DuckDBPyConnection, load: Load) -> None:
    files = ", ".join(map(literal, load.survivors.files))
    run.execute(
        f"CREATE OR REPLACE TEMP VIEW _survivors AS SELECT * FROM read_parquet([{files}]) s "
        f"ANTI JOIN read_parquet({literal(load.survivors.dropped)}) d ON s._row = d.row"
        if load.survivors.files
        else "CREATE OR REPLACE TEMP VIEW _survivors AS SELECT 0::UBIGINT AS _row WHERE false"
    ).fetchall()


def _plan_fresh(run: duckdb.DuckDBPyConnection, load: Load, rows: Path) -> Plan:
    """Nothing is there: every survivor is created, or refused if only updates are allowed."""
    _see_survivors(run, load)
    action, reason = ("refused", "'not_there'") if load.mode == "update" else ("create", "NULL::VARCHAR")
    run.execute(
        f"COPY (SELECT _row AS row, '{action}' AS action, {reason} AS reason, NULL::VARCHAR[] AS changed FROM _survivors) "
        f"TO {literal(rows)} (FORMAT parquet)"
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
        if existing and self._target.email:
            self._match_emails()
        self._refuse_by_mode()
        self._refuse_what_does_not_fit()
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

    def _do(self, sql: str) -> None:
        self._run.execute(sql).fetchall()

    def _see_table(self) -> None:
        target = self._target
        deleted = f"t.{quoted(DELETED)} IS NOT NULL" if target.bookkeeping else "false"
        ours = f"t.{quoted(RUN)} IS NOT NULL" if target.bookkeeping else "false"
        hashed = ", ".join(f"t.{quoted(stored.column)}" for stored in self._compared) or "0"
        self._do(
            f"CREATE OR REPLACE TEMP VIEW _table AS SELECT t.rowid AS target, {target.known_id} AS id, "
            f"{target.known_email} AS mail, {deleted} AS deleted, {ours} AS ours, hash({hashed}) AS seen "
            f"FROM {self._address.name} t"
        )

    def _match_ids(self) -> None:
        """Every survivor with the row of its external id. A hash of all compared columns finds what is equal without
        carrying the columns through the join; what differs is looked at column by column."""
        wanted = ", ".join(stored.value for stored in self._compared) or "0"
        self._do(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT s.row, t.target, NULL::VARCHAR AS action, "
            "NULL::VARCHAR AS reason, NULL::VARCHAR[] AS changed, s.wanted = t.seen AND NOT t.deleted AS same "
            f"FROM (SELECT s._row AS row, s.external_id AS id, hash({wanted}) AS wanted FROM _survivors s) s "
            "LEFT JOIN _table t ON t.id = s.id"
        )
        if self._value("SELECT count(*) FROM _plan") > self._load.survivors.count:
            # One external id, several rows: whichever were written, the other would stay wrong.
            self._do(
                "CREATE OR REPLACE TEMP TABLE _plan AS SELECT row, CASE WHEN count(*) = 1 THEN any_value(target) END AS target, "
                "CASE WHEN count(*) > 1 THEN 'refused' END AS action, CASE WHEN count(*) > 1 THEN 'matches_several' END AS reason, "
                "NULL::VARCHAR[] AS changed, bool_and(same) AS same FROM _plan GROUP BY row"
            )

    def _match_emails(self) -> None:
        """Rule 2 at the destination, both ways round.

        A survivor without an id belongs to the one row with its e-mail; rows of customers that are in the run by their
        id do not count, their e-mail is what the run says. A survivor with an id takes over the one row that has its
        e-mail and no id, if no other customer of the run has that e-mail.
        """
        target = self._target
        if target.by_email_alone:
            open_, usable = "true", "true"
            owner = "true"
        else:
            open_ = "s.external_id IS NULL"
            usable = "(t.id IS NULL OR t.id NOT IN (SELECT external_id FROM _survivors WHERE external_id IS NOT NULL))"
            owner = "t.id IS NULL"
        self._do(
            "CREATE OR REPLACE TEMP TABLE _mail AS "
            "SELECT s._row AS row, t.target, s.external_id IS NULL AS alone FROM _survivors s JOIN _table t ON t.mail = s.email "
            f"WHERE {open_} AND NOT s._email_blocked AND {usable} "
            + (
                ""
                if target.by_email_alone
                else "UNION ALL SELECT s._row, t.target, false FROM _survivors s "
                "JOIN _plan p ON p.row = s._row AND p.target IS NULL AND p.action IS NULL "
                f"JOIN _table t ON t.mail = s.email WHERE s.external_id IS NOT NULL AND NOT s._email_blocked AND {owner} "
                "AND s.email NOT IN (SELECT email FROM _survivors WHERE external_id IS NOT NULL AND email IS NOT NULL "
                "AND NOT _email_blocked GROUP BY email HAVING count(*) > 1)"
            )
        )
        # same = false: these few are compared column by column.
        self._do(
            "UPDATE _plan SET target = m.target, same = false FROM "
            "(SELECT row, min(target) AS target FROM _mail GROUP BY row HAVING count(*) = 1) m WHERE _plan.row = m.row"
        )
        self._do(
            "UPDATE _plan SET action = 'ambiguous' FROM "
            "(SELECT row FROM _mail WHERE alone GROUP BY row HAVING count(*) > 1) m WHERE _plan.row = m.row"
        )

    def _refuse_by_mode(self) -> None:
        if self._load.mode == "insert":
            self._refuse("target IS NOT NULL", "already_there")
        elif self._load.mode == "update":
            self._refuse("target IS NULL", "not_there")

    def _refuse(self, where: str, reason: str) -> None:
        self._do(f"UPDATE _plan SET action = 'refused', reason = {literal(reason)} WHERE action IS NULL AND {where}")

    def _refuse_what_does_not_fit(self) -> None:
        """Values that the column's type cannot hold, and nulls where the table wants a value."""
        target = self._target
        for stored in target.stored:
            if not stored.fits_always and stored.field in self._load.survivors.columns:
                self._refuse(
                    f"row IN (SELECT s._row FROM _survivors s WHERE s.{quoted(stored.field)} IS NOT NULL AND {stored.value} IS NULL)",
                    f"does_not_fit: {stored.column} {stored.dtype}",
                )
        needed = [stored for stored in target.stored if stored.column in target.required]
        for stored in needed:
            self._refuse(
                f"target IS NULL AND row IN (SELECT s._row FROM _survivors s WHERE {stored.value} IS NULL)",
                f"must_have_a_value: {stored.column}",
            )

    def _compare(self) -> None:
        self._do("UPDATE _plan SET action = 'create' WHERE action IS NULL AND target IS NULL")
        self._do("UPDATE _plan SET action = 'unchanged' WHERE action IS NULL AND same")
        if not self._value("SELECT count(*) FROM _plan WHERE action IS NULL"):
            return
        differs = [
            f"CASE WHEN {'' if self._load.overwrite_nulls else f'{stored.value} IS NOT NULL AND '}"
            f"{stored.value} IS DISTINCT FROM t.{quoted(stored.column)} THEN {literal(stored.field)} END"
            for stored in self._compared
        ]
        if self._target.bookkeeping:
            differs.append(f"CASE WHEN t.{quoted(DELETED)} IS NOT NULL THEN {literal(DELETED)} END")
        self._do(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT p.row, "
            f"list_filter([{', '.join(differs) or 'NULL::VARCHAR'}], lambda field: field IS NOT NULL) AS changed "
            f"FROM _plan p JOIN _survivors s ON s._row = p.row JOIN {self._address.name} t ON t.rowid = p.target "
            "WHERE p.action IS NULL"
        )
        self._do(
            "UPDATE _plan SET action = CASE WHEN len(d.changed) = 0 THEN 'unchanged' ELSE 'update' END, "
            "changed = CASE WHEN len(d.changed) > 0 THEN d.changed END FROM _differs d WHERE _plan.row = d.row"
        )

    def _refuse_repeated(self) -> None:
        """Values that a unique column (or the key) has already, or that two survivors would bring: the first record of
        the run stays, the others are refused."""
        target = self._target
        checks = [(stored.column, stored.value) for stored in target.stored if stored.column in target.unique]
        if target.by_email_alone and target.email and target.email not in target.unique:
            checks += [(stored.column, stored.value) for stored in target.stored if stored.field == "email"]
        if target.key:
            checks.append((target.key, f"CASE WHEN p.target IS NULL THEN {_new_key('s')} END"))
        for column, value in checks:
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
                "WHERE b.target IS DISTINCT FROM t.rowid"
            )
            self._do(
                f"UPDATE _plan SET action = 'refused', reason = {literal(f'taken: {column}')}, changed = NULL "
                f"WHERE row IN ({repeated} UNION ALL {taken})"
            )

    def _find_gone(self) -> None:
        """What this tool wrote and the source no longer has."""
        gone = "ours AND NOT deleted AND target NOT IN (SELECT target FROM _plan WHERE target IS NOT NULL)"
        condition = gone if self._load.mode == "mirror" else "false"
        self._do(f"CREATE OR REPLACE TEMP TABLE _gone AS SELECT target FROM _table WHERE {condition}")
