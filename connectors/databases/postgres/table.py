"""A Postgres table as source and destination: `postgresql://user@host:5432/db?table=billing.customers`.

As a source also a view, or what `?query=SELECT …` gives. Needs SELECT for the one; for the other SELECT, INSERT and
UPDATE on the table (DELETE for `--deletes remove`), TEMPORARY on the database, and CREATE on the schema where table or
ledger do not exist yet.

One transaction on one connection: take the turn, read what is there, compare (in `connectors/databases/diff.py`),
write what differs, write the ledger, commit. Other writers of the table wait meanwhile, readers see the old table until
the commit. A table made here (`connectors/databases/table_mapping.py` says what is in it) has its key as primary key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateSchema, CreateTable, SetColumnComment, SetTableComment

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import ArrowPart, Layout, Plan, WriteRequest
from tranship.connectors.databases.diff import Classifier, Packed, plan_fresh, see_survivors, see_wrote
from tranship.connectors.databases.postgres.adbc import connect
from tranship.connectors.databases.postgres.connection import Address, Wire, arrow, parse
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
    as_stored,
    holds_one_of,
    kept_for_ourselves,
    lacking,
    ledger_row,
    literal,
    mirror_needs_bookkeeping,
    new_key,
    on_deleted,
    quoted,
    understood,
    unfit,
)
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    ConnectorError,
    Interfered,
    Refused,
    TranshipError,
    Unreachable,
)
from tranship.connectors.existing import hint, not_created, similar, similar_tables, will_be_created
from tranship.schemas.customer import COLUMNS, KEY

BATCH_ROWS: Final = 65_536
_SENT_ROWS: Final = 8_192
"""About what the socket takes at once: client and server then work side by side."""
_LISTED: Final = 20
_FIRST, _LAST = "0001-01-01", "9999-12-31"

_OURS: Final[dict[str, sa.types.TypeEngine[Any]]] = {
    "VARCHAR": postgresql.TEXT(),
    "INTEGER": postgresql.INTEGER(),
    "TIMESTAMP WITH TIME ZONE": postgresql.TIMESTAMP(timezone=True),
    "VARCHAR[]": postgresql.ARRAY(postgresql.TEXT()),
    "JSON": postgresql.JSONB(),
}
"""DuckDB's type of a field → the type of its column in a table made here."""

_TYPES: Final = {
    **{"text": "VARCHAR", "varchar": "VARCHAR", "bool": "BOOLEAN", "uuid": "UUID", "json": "JSON"},
    **{"int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "float4": "FLOAT", "float8": "DOUBLE"},
    **{"timestamptz": "TIMESTAMP WITH TIME ZONE", "timestamp": "TIMESTAMP", "date": "DATE"},
    **{"_text": "VARCHAR[]", "_varchar": "VARCHAR[]"},
}
"""Postgres' types that DuckDB has too; what a value becomes in any other is asked of the server."""


# Without a style of parameters that would double each percent sign.
_DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def _sql(element: sa.schema.ExecutableDDLElement) -> str:
    return str(element.compile(dialect=_DIALECT)).strip()


def _name(identifier: str) -> sa.sql.quoted_name:
    return sa.sql.quoted_name(identifier, quote=True)


# Relations ---------------------------------------------------------------------------------------------------


def _spelled(address: Address) -> str:
    """The table as the address names it."""
    return f"{address.schema}.{address.table}" if address.schema else address.table


@dataclass(frozen=True)
class _Relation:
    """What the server knows of a table or view."""

    oid: int
    schema: str
    table: str
    kind: str
    inserts_only: bool
    """Rows must come by INSERT, which says how many got past policies, rules and triggers."""
    parts: tuple[int, ...]
    """The tables that its rows lie in, if these are several."""

    @property
    def name(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def place(self) -> str:
        """Where a row `t` lies, as a bigint: part (16 bits), page (32), item (16)."""
        place = "(t.ctid::text::point)[0]::bigint * 65536 + (t.ctid::text::point)[1]::bigint"
        return f"{self._part('t.tableoid')} * 281474976710656 + {place}" if self.parts else place

    @property
    def place_sent(self) -> str:
        """The same as it is sent for every row of the table: six bytes are made in a third of the time."""
        return self.place if self.parts else "tidsend(t.ctid)"

    def at(self, place: str) -> str:
        """Whether a row `t` lies at such a place."""
        tid = f"format('(%s,%s)', ({place} & 281474976710655) >> 16, {place} & 65535)::tid"
        here = f" AND {self._part('t.tableoid')} = {place} >> 48" if self.parts else ""
        return f"t.ctid = {tid}{here}"

    def _part(self, oid: str) -> str:
        return f"array_position(ARRAY[{', '.join(map(str, self.parts))}]::oid[], {oid})::bigint"


def _find(wire: Wire, address: Address, table: str) -> _Relation | None:
    name = quoted(table) if address.schema is None else f"{quoted(address.schema)}.{quoted(table)}"
    found = wire.rows(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, "
        "row_security_active(c.oid) OR c.relhasrules OR c.relhastriggers, "
        "ARRAY(WITH RECURSIVE below AS (SELECT c.oid AS part UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i "
        "JOIN below b ON i.inhparent = b.part) SELECT part::bigint FROM below) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = to_regclass({literal(name)})"
    )
    for oid, schema, relation, kind, watched, parts in found:
        return _Relation(oid, schema, relation, kind, watched, tuple(parts) if len(parts) > 1 else ())
    return None


def _missing(wire: Wire, address: Address) -> tuple[str, str]:
    """What would be created, table or schema, and a hint at what may have been meant."""
    tables = wire.rows(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname !~ '^pg_' "
        f"AND n.nspname <> 'information_schema' AND c.relname <> {literal(LEDGER)}"
    )
    schemas = [
        name
        for (name,) in wire.rows(
            "SELECT nspname::text FROM pg_catalog.pg_namespace "
            "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
    ]
    schema = address.schema or wire.value("SELECT current_schema()::text") or ""
    if address.schema and schema not in schemas:
        alike = hint("schema", similar(schema, schemas))
        return f"schema {schema}", alike or hint("table", similar_tables(schema, address.table, tables))
    return f"table {_spelled(address)}", hint("table", similar_tables(schema, address.table, tables))


@dataclass(frozen=True)
class _Type:
    """A column of a relation as the server has it."""

    name: str
    base: str
    """Name of the type, empty for one that somebody made."""
    shown: str
    modified: int
    text: bool
    must: bool
    given: bool
    """The server computes it."""
    nullable: bool = True
    default: str | None = None
    """The expression of its default, or of what the server computes."""
    collation: str | None = None
    """Where it is not the database's."""
    loose: bool = False
    """Texts of different bytes may be equal in it."""
    domain: bool = False

    @property
    def readable(self) -> str | None:
        """DuckDB's type for it, null if only the server knows it."""
        exact = self.base == "varchar" or self.modified < 0
        return _TYPES.get(self.base) if exact else None

    @property
    def computable(self) -> bool:
        """Whether it has a default that may be computed twice."""
        return bool(self.default) and not self.given and "nextval(" not in str(self.default)

    def cast(self, value: str) -> str:
        """A value in the column's type. A domain may forbid nulls: there one stays without a type."""
        return (
            f"CASE WHEN {value} IS NOT NULL THEN {value}::{self.shown} END" if self.domain else f"{value}::{self.shown}"
        )

    def column(self) -> Column:
        """As the comparison sees it."""
        dtype = self.readable
        return Column(
            name=self.name,
            dtype=dtype or "VARCHAR",
            required=self.must,
            shown=self.shown,
            longest=self.modified - 4 if self.base == "varchar" and self.modified > 0 else None,
            by_server=dtype is None,
            number=self.base == "numeric",
            filled=not self.nullable and self.default is not None and not self.given,
        )


def _types(wire: Wire, relation: _Relation) -> dict[str, _Type]:
    serial = f"pg_get_serial_sequence({literal(relation.name)}, a.attname)"
    rows = wire.rows(
        "SELECT a.attname::text, CASE WHEN n.nspname = 'pg_catalog' THEN t.typname::text ELSE '' END, "
        "format_type(a.atttypid, a.atttypmod), a.atttypmod, t.typcategory = 'S', false, "
        "a.attgenerated <> '' OR a.attidentity = 'a', NOT (a.attnotnull OR t.typnotnull), "
        f"CASE WHEN a.attidentity = 'd' THEN format('nextval(%L)', {serial}) "
        "ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0)) END, "
        "CASE WHEN c.collname <> 'default' THEN c.collnamespace::regnamespace || '.' || quote_ident(c.collname) END, "
        "NOT coalesce(c.collisdeterministic, true), t.typtype = 'd' "
        "FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid "
        "AND d.adnum = a.attnum JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
        "LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation "
        f"WHERE a.attrelid = {relation.oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    return {kind.name: _judged(wire, kind) for kind in (_Type(*row) for row in rows)}


def _judged(wire: Wire, kind: _Type) -> _Type:
    """The same with what its domain says of nulls: only the server knows."""
    nullable = kind.nullable and (not kind.domain or _answers(wire, f"SELECT NULL::{kind.shown} IS NULL"))
    must = not nullable and kind.default is None and not kind.given
    return replace(kind, nullable=nullable, must=must)


def _answers(wire: Wire, sql: str) -> bool:
    """Whether a query can be computed."""
    wire.run("SAVEPOINT answer")
    try:
        wire.rows(sql)
    except Interfered:
        raise
    except (ConnectorError, OSError):
        wire.run("ROLLBACK TO SAVEPOINT answer")
        return False
    wire.run("RELEASE SAVEPOINT answer")
    return True


def _unique(wire: Wire, relation: _Relation) -> tuple[str, ...]:
    """Columns in which no value may stand twice."""
    rows = wire.rows(
        "SELECT DISTINCT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        f"WHERE i.indrelid = {relation.oid} AND i.indisunique AND i.indnkeyatts = 1 "
        "AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY 1"
    )
    return tuple(name for (name,) in rows)


# Source ------------------------------------------------------------------------------------------------------


class PostgresSource:
    """A table, a view or a query, in one snapshot. Of a table made here, the customers not marked as deleted."""

    def __init__(self, spec: str) -> None:
        self._address = address = parse(spec)
        self._name = f"{address.shown}:{'query' if address.query else _spelled(address)}"
        self._wire = connect(address)
        try:
            self._look(address)
        except TranshipError:
            self._wire.close()
            raise

    def _look(self, address: Address) -> None:
        wire = self._wire
        # Else a second read of a big table could begin elsewhere, and its lines be others.
        wire.run("SET synchronize_seqscans = off")
        wire.run("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if address.query:
            relation = f"({address.query.rstrip().rstrip(';')}\n) q"
        else:
            found = _find(wire, address, address.table)
            if found is None:
                raise ConfigError(
                    f"{self._name}: there is no such table. Name one with ?table=schema.table. {self._there_are()}"
                )
            relation = f"{found.name} q"
        types = self._typed(relation)
        ours = kept_for_ourselves(types, of_query=bool(address.query))
        for hidden in ours:
            del types[hidden]
        kept = f" WHERE {quoted(DELETED)} IS NULL" if DELETED in ours else ""
        doubts = {name: doubt for name, base in types.items() if (doubt := _doubt(f"q.{quoted(name)}", base))}
        asked = "".join(f", coalesce(bool_or({doubt}), false)" for doubt in doubts.values())
        size, *odd = self._asked(f"SELECT count(*){asked} FROM {relation}{kept}")[0]
        as_text = {name for name, found in zip(doubts, odd, strict=True) if found}
        self._columns = tuple(types)
        chosen = ", ".join(_readable(name, "" if name in as_text else base) for name, base in types.items())
        self._select = f"SELECT {chosen} FROM {relation}{kept}"
        deleted = f"SELECT count(*) FROM {relation} WHERE {quoted(DELETED)} IS NOT NULL"
        self._notes = on_deleted(self._asked(deleted)[0][0] if address.query and kept else 0)
        self.size: int | None = size

    def _there_are(self) -> str:
        """The tables and views that this user may read, for whoever has misspelled one."""
        found = self._wire.rows(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition "
            "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
            f"AND c.relname NOT IN ({literal(LEDGER)}, {literal(WRITTEN)}) AND has_table_privilege(c.oid, 'SELECT') "
            f"ORDER BY 1, 2 LIMIT {_LISTED + 1}"
        )
        names = [f"{schema}.{table}" for schema, table in found[:_LISTED]]
        more = ", …" if len(found) > _LISTED else ""
        return f"There are: {', '.join(names)}{more}" if names else "There is none that this user may read."

    def _typed(self, relation: str) -> dict[str, str]:
        """Column → name of its type. The query is asked for no row."""
        schema = self._stream(f"SELECT * FROM {relation} LIMIT 0").schema
        repeated = {name for name in schema.names if schema.names.count(name) > 1}
        if repeated:
            raise ConfigError(f"{self._name}: gives column {min(repeated)} twice; name each once, with AS.")
        if not schema.names:
            raise ConfigError(f"{self._name}: has no columns.")
        kinds = ", ".join(f"pg_typeof(q.{quoted(name)})::text" for name in schema.names)
        found = self._wire.rows(f"SELECT {kinds} FROM (SELECT 1) one LEFT JOIN {relation} ON false")[0]
        return dict(zip(schema.names, found, strict=True))

    def _stream(self, sql: str) -> Any:
        try:
            return self._wire.stream(sql)
        except ConnectorError as error:
            if type(error) is ConnectorError and self._address.query:
                said = str(error).removeprefix(f"{self._address.shown}: ")
                raise ConfigError(f"{self._name}: cannot be read: {said}") from error
            raise

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._wire.rows(sql)
        except OSError as error:
            raise self._wire.broken(f"{self._name}: reading failed", error) from None

    def layouts(self) -> list[Layout]:
        """The columns, without the ones this tool keeps for itself."""
        return [Layout(self._name, self._columns, self._notes)]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Name and number of rows. A table may change without either: no read is taken for a later one."""
        return [{"name": self._name, "size": None, "rows": self.size}]

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Rows as the server gives them."""
        row = 1
        try:
            for batch in self._wire.stream(self._select):
                for piece in (batch.slice(at, BATCH_ROWS) for at in range(0, batch.num_rows, BATCH_ROWS)):
                    yield ArrowPart(self._name, piece, row, row - 1 + piece.num_rows)
                    row += piece.num_rows
        except OSError as error:
            raise self._wire.broken(f"reading broke near row {row}", error) from None

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()


_DATED: Final = ("date", "timestamp without time zone", "timestamp with time zone")
_PLAIN: Final = (
    *("text", "character varying", "boolean", "smallint", "integer", "bigint", "real", "double precision"),
    *("text[]", "character varying[]", *_DATED),
)


def _doubt(column: str, kind: str) -> str | None:
    """When values of a type have no place in a frame, as SQL: instants without end or far away, arrays of arrays."""
    if kind in _DATED:
        return f"{column} NOT BETWEEN '{_FIRST}' AND '{_LAST}'"
    return f"array_ndims({column}) > 1" if kind in _PLAIN and kind.endswith("[]") else None


def _readable(name: str, kind: str) -> str:
    """A column as polars can take it: types it knows as they are, nested ones as JSON, the rest as text."""
    column = f"q.{quoted(name)}"
    if kind in _PLAIN:
        return column
    nested = kind.endswith("[]")
    return f"{f'to_json({column})' if nested else column}::text AS {quoted(name)}"


def one_table(one: str, other: str) -> bool:
    """Whether two addresses mean one table or query, however they are spelled: the server says it.

    Raises ConfigError or ConnectorError.
    """
    a, b = parse(one), parse(other)
    if a.query or b.query:
        return a == b
    found = [_known_as(address) for address in (a, b)]
    return found[0] is not None and found[0] == found[1]


def _known_as(address: Address) -> tuple[Any, ...] | None:
    """What tells a table from all others on all servers, null if it is not there."""
    wire = connect(address)
    try:
        relation = _find(wire, address, address.table)
        server = "SELECT pg_postmaster_start_time()::text, oid::bigint FROM pg_catalog.pg_database"
        return (*wire.rows(f"{server} WHERE datname = current_database()")[0], relation.oid) if relation else None
    finally:
        wire.close()


# Destination -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long is waited: for locks, and for a single statement; 0: no limit."""

    lock_seconds: float
    statement_seconds: float


class PostgresTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(
        self, spec: str, *, memory: str, lock_timeout: float, statement_timeout: float, create: bool = True
    ) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{redacted(spec)}: a query can be read, not written; name a table.")
        self._memory, self._patience = memory, Patience(lock_timeout, statement_timeout)
        self._open: Wire | None = connect(self._address)
        self._bench: duckdb.DuckDBPyConnection | None = None
        self._work: _Work | None = None
        self._begun = False
        if not create and not _find(self._open, self._address, self._address.table):
            error = not_created(*_missing(self._open, self._address))
            self.close()
            raise error

    def plan(self, load: WriteRequest) -> Plan:
        """Take the turn and compare the survivors with the table; the transaction stays open for `apply`."""
        self._start_anew()
        wire = self._begin(load.say)
        self._bench = bench = duckdb.connect(config={"memory_limit": self._memory})
        for setting in ("TimeZone = 'UTC'", "preserve_insertion_order = false"):
            bench.execute(f"SET {setting}").fetchall()
        bench.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()
        rows = load.workspace / "plan.parquet"
        try:
            relation = self._lock(wire, load)
            if relation is None:
                target, notes = _encoded(wire, bench, load, _own_target())
                self._work = _Work(wire, bench, load, None, target, (), {})
                held = _Held(self._work)
                held.see_survivors()
                notes = (will_be_created(*_missing(wire, self._address)), *notes)
                return plan_fresh(bench, load, rows, target, notes)
            types = _types(wire, relation)
            fillable = {name: kind for name, kind in types.items() if not kind.given}
            computed = [name for name, kind in types.items() if kind.given]
            added = tuple(lacking(list(fillable), computed, load)) if load.evolve else ()
            columns = {name: kind.column() for name, kind in fillable.items()} | {name: _own(name) for name in added}
            target = _without_nul(understood(self._where, columns, _unique(wire, relation), computed))
            mirror_needs_bookkeeping(self._where, target, load)
            target, notes = _encoded(wire, bench, load, target)
            notes = (*(f"column {name} is added" for name in added), *target.not_stored(load), *notes)
            written = _Written(wire, relation)
            if written.is_needed(target):
                target = replace(target, written=target.row_key)
                written.see(bench)
                notes = (*notes, *written.notes())
            self._work = _Work(wire, bench, load, relation, target, added, types)
            held = _Held(self._work)
            return Classifier(bench, held, target, load, held.packed).plan(rows, notes)
        except duckdb.Error as error:
            raise wire.broken(f"{self._where}: comparing with it failed", error) from error

    def apply(self, load: WriteRequest, plan: Plan) -> None:
        """Write what the plan says and the ledger row; commit. Whatever fails, the table is as before."""
        assert self._work is not None  # noqa: S101  (the plan is made)
        try:
            _Writer(replace(self._work, load=load), plan, self._address, self._where).write()
        except (duckdb.Error, OSError) as error:
            raise self._connected().broken(f"{self._where}: writing failed and was undone", error) from error

    def applied(self, run_id: str) -> bool:
        """Whether the ledger has this run. Waits for its transaction to end, should that still be going on."""
        self._start_anew()
        wire = self._begin(None)
        found = _find(wire, self._address, LEDGER)
        there = found and wire.rows(f"SELECT 1 FROM {found.name} WHERE run_id = {literal(run_id)}")
        wire.run("ROLLBACK")
        return bool(there)

    def close(self) -> None:
        """Undo what was not committed and hang up."""
        if self._bench is not None:
            self._bench.close()
            self._bench = None
        if self._open is not None:
            self._open.close()
            self._open = None

    # Taking the turn ----------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"table {_spelled(self._address)}"

    def _connected(self) -> Wire:
        if self._open is None:
            try:
                self._open = connect(self._address)
            except Unreachable as error:
                # It was there when the run began.
                raise Interfered(str(error)) from error
        return self._open

    def _start_anew(self) -> None:
        """Forget what an earlier plan left, and its connection, which may be broken."""
        if self._begun:
            self.close()
            self._work, self._begun = None, False

    def _begin(self, say: Callable[[str], None] | None) -> Wire:
        """Begin the transaction when no other run is at this table."""
        wire = self._connected()
        self._begun = True
        wire.run("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
        for name, value in self._settings(wire):
            wire.run(f"SET LOCAL {name} = {literal(value)}")
        name = f"{self._address.schema or wire.value('SELECT current_schema()::text')}.{self._address.table}"
        self._wait_for_turn(wire, name, say)
        return wire

    def _settings(self, wire: Wire) -> Iterator[tuple[str, str]]:
        yield "lock_timeout", f"{round(self._patience.lock_seconds * 1000)}ms"
        yield "statement_timeout", f"{round(self._patience.statement_seconds * 1000)}ms"
        # Sorting a million keys for an index and joining as many places; what is not needed is not taken.
        yield "maintenance_work_mem", "256MB"
        yield "work_mem", "64MB"
        yield "jit", "off"
        if wire.value("SELECT current_setting('server_version_num')::int") >= _TRANSACTION_TIMEOUT_SINCE:
            yield "transaction_timeout", "0"

    def _wait_for_turn(self, wire: Wire, name: str, say: Callable[[str], None] | None) -> None:
        lock = f"hashtextextended({literal(f'tranship:{name}')}, 0)"
        if wire.value(f"SELECT pg_try_advisory_xact_lock({lock})"):
            return
        if say:
            say(f"{self._where}: another run is writing; waiting for it to end")
        try:
            wire.rows(f"SELECT pg_advisory_xact_lock({lock}) IS NULL")
        except Busy as error:
            raise Busy(
                f"{self._address.shown}: {self._where}: another run is still writing after "
                f"{self._patience.lock_seconds:g} s. Wait for it or end it, or allow more with --lock-timeout."
            ) from error

    def _lock(self, wire: Wire, load: WriteRequest) -> _Relation | None:
        """The table, which nobody else writes from now on; null if there is none."""
        relation = _find(wire, self._address, self._address.table)
        if relation is None:
            return None
        if relation.kind not in ("r", "p"):
            kind = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}.get(relation.kind, "no table")
            raise ConfigError(f"{self._where}: is {kind}; it can be read, not written. Name the table behind it.")
        self._check_rights(wire, relation, load)
        deadline = time.monotonic() + (self._patience.lock_seconds or float("inf"))
        told = False
        while not self._locked(wire, relation, min(_SLICE_SECONDS, max(deadline - time.monotonic(), 0.01))):
            if time.monotonic() > deadline:
                raise Busy(
                    f"{self._address.shown}: {self._where}: another transaction has been writing to it for "
                    f"{self._patience.lock_seconds:g} s (pg_locks says which). Wait for it or end it, or "
                    "allow more with --lock-timeout."
                )
            if not told:
                load.say(f"{self._where}: another transaction is writing to it; waiting for it to end")
                told = True
            # Who waits for a lock makes all later writers wait: let them through from time to time.
            time.sleep(_PAUSE_SECONDS)
        return _find(wire, self._address, self._address.table)

    def _locked(self, wire: Wire, relation: _Relation, seconds: float) -> bool:
        wire.run("SAVEPOINT turn")
        wire.run(f"SET LOCAL lock_timeout = {literal(f'{round(seconds * 1000)}ms')}")
        try:
            wire.run(f"LOCK TABLE {relation.name} IN SHARE ROW EXCLUSIVE MODE")
        except Busy:
            wire.run("ROLLBACK TO SAVEPOINT turn")
            return False
        wire.run("RELEASE SAVEPOINT turn")
        wire.run(f"SET LOCAL lock_timeout = {literal(f'{round(self._patience.lock_seconds * 1000)}ms')}")
        return True

    def _check_rights(self, wire: Wire, relation: _Relation, load: WriteRequest) -> None:
        needed = ["SELECT"]
        needed += ["INSERT"] if load.mode != "update" else []
        # Without the right to update, Postgres lets nobody keep other writers out.
        needed += ["UPDATE"]
        lacking_rights = [
            right
            for right in needed
            if not wire.value(f"SELECT has_any_column_privilege({relation.oid}::oid, {literal(right)})")
        ]
        if load.mode == "mirror" and load.hard_delete:
            may = wire.value(f"SELECT has_table_privilege({relation.oid}::oid, 'DELETE')")
            lacking_rights += [] if may else ["DELETE"]
        if lacking_rights:
            user = wire.value("SELECT current_user::text")
            raise Refused(
                f"{self._address.shown}: {self._where}: user {user} lacks {' and '.join(lacking_rights)}. Let its "
                f"owner GRANT {', '.join(lacking_rights)} ON {relation.name} TO {quoted(user)}."
            )
        if not wire.value("SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
            raise Refused(
                f"{self._address.shown}: temporary tables are not allowed to this user. Let the owner of the database "
                "GRANT TEMPORARY on it."
            )


_TRANSACTION_TIMEOUT_SINCE: Final = 170_000
_SLICE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.5


def _own(name: str) -> Column:
    """A column as a table made here has it."""
    dtype = {KEY: "VARCHAR", RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(name) or TYPE_OF[name]
    return _Type(name, "jsonb", "jsonb", -1, False, False, False).column() if dtype == "JSON" else Column(name, dtype)


def _own_target() -> Target:
    return _without_nul(understood("", {name: _own(name) for name in (KEY, *COLUMNS, RUN, DELETED)}, ()))


_AS_GIVEN: Final = ("phone", "tax_id", "aliases", "provider", "provider_id")
"""Fields whose text may hold any character; Postgres stores none with the number 0."""


def _without_nul(target: Target) -> Target:
    def guarded(at: Stored) -> Stored:
        texts = at.field in _AS_GIVEN and at.at.dtype in ("VARCHAR", "VARCHAR[]") and not at.at.by_server
        return replace(at, at=replace(at.at, no_nul=True)) if texts else at

    return replace(target, stored=tuple(map(guarded, target.stored)))


def _encoded(
    wire: Wire, bench: duckdb.DuckDBPyConnection, load: WriteRequest, target: Target
) -> tuple[Target, tuple[str, ...]]:
    """The same with what the encoding of the database cannot hold, and what a person is told about that."""
    encoding = wire.value("SELECT current_setting('server_encoding')")
    if encoding == "SQL_ASCII":
        stored = (replace(at, at=replace(at.at, in_bytes=True)) for at in target.stored)
        note = "the database has the encoding SQL_ASCII, which is none: text is stored as UTF-8, lengths count bytes"
        return replace(target, stored=tuple(stored)), (note,)
    if encoding == "UTF8":
        return target, ()
    see_survivors(bench, load)
    values = [f"s.{quoted(field)}::VARCHAR" for field in load.survivors.columns]
    characters = (
        "SELECT DISTINCT unnest(regexp_extract_all(value, '[^\\x00-\\x7f]')) AS c FROM (SELECT "
        f"unnest([{', '.join(values)}]) AS value FROM _survivors s UNION ALL SELECT {literal(load.source)})"
    )
    # By their bytes: the characters themselves would not get there.
    _copied(wire, "_tranship_characters", bench.sql(f"SELECT hex(encode(c)) AS code FROM ({characters})"))
    wire.run(
        "CREATE OR REPLACE FUNCTION pg_temp.tranship_lacks(code text) RETURNS boolean LANGUAGE plpgsql AS "
        "$tranship$ BEGIN PERFORM convert_from(decode(code, 'hex'), 'UTF8'); RETURN false; "
        "EXCEPTION WHEN OTHERS THEN RETURN true; END $tranship$"
    )
    lacks = wire.rows("SELECT code FROM pg_temp._tranship_characters WHERE pg_temp.tranship_lacks(code)")
    wire.run("DROP TABLE pg_temp._tranship_characters")
    unwritable = "".join(bytes.fromhex(code).decode() for (code,) in lacks)
    return replace(target, encoding=encoding, unwritable=unwritable), ()


@dataclass(frozen=True)
class _Work:
    """What plan and write share."""

    wire: Wire
    bench: duckdb.DuckDBPyConnection
    load: WriteRequest
    relation: _Relation | None
    """Null where the table is made by this run."""
    target: Target
    added: tuple[str, ...]
    """Columns that the table lacks and gets."""
    types: Mapping[str, _Type]
    """All columns of a table that is there."""

    @property
    def brought(self) -> tuple[Stored, ...]:
        """What the source has and the table stores."""
        return tuple(at for at in self.target.stored if at.field in self.load.survivors.columns)


class _Held:
    """The table at the server: its rows are looked at as they stream past, and only what must be kept is kept."""

    place = "t.ctid"

    def __init__(self, work: _Work) -> None:
        self._work, self._types = work, work.types
        self._objections: _Objections | None = None
        self._told: set[int] = set()
        """Columns, by their number among those asked for, of which the server has said what values become."""
        seen = (*work.target.unique, *work.added)
        texts = tuple(at for at in work.brought if _is_tidy(at) and at.column not in seen)
        self.packed = Packed(texts, _PACK, _pack_wanted([at.value for at in texts])) if len(texts) > 1 else None

    def see_survivors(self) -> None:
        see_survivors(self._work.bench, self._work.load)
        for number, at in enumerate(self._asked()):
            self._work.bench.execute(
                f"CREATE OR REPLACE TEMP TABLE _cast_{number} (value VARCHAR, stored VARCHAR)"
            ).fetchall()
            odd = f" WHERE NOT coalesce({_plain(_as_text(at))}, true)" if _is_jsonb(at) else ""
            self._ask(number, at, f"_survivors s{odd}")
        self._see_what_is_stored()

    def _asked(self) -> list[Stored]:
        return [at for at in self._work.brought if at.at.by_server]

    def _see_what_is_stored(self) -> None:
        """Make `_survivors` again, with what the server has said until now."""
        also, joined = "", ""
        for number, at in enumerate(self._asked()):
            source = _as_text(at)
            plain = f"json({source})::VARCHAR"
            if _is_jsonb(at) and number not in self._told:
                stored, cannot = plain, "false"
            else:
                joined += f" LEFT JOIN _cast_{number} c{number} ON c{number}.value = {source}"
                known, stored = f"c{number}.value IS NOT NULL", f"c{number}.stored"
                cannot = f"{known} AND {stored} IS NULL"
                if _is_jsonb(at):
                    stored = f"CASE WHEN {known} THEN {stored} WHEN {_plain(source)} THEN {plain} END"
            also += f", {stored} AS {quoted(as_stored(at.field))}"
            also += f", coalesce({cannot} OR contains({source}, chr(0)), false) AS {quoted(unfit(at.field))}"
        if also:
            see_survivors(self._work.bench, self._work.load, also, joined)

    def _ask(self, number: int, at: Stored, where: str) -> None:
        """Have the server say what each value becomes in the column, null where it does not fit."""
        bench, wire, source = self._work.bench, self._work.wire, _as_text(at)
        asked = f"CREATE OR REPLACE TEMP TABLE _asked AS SELECT DISTINCT {source} AS value FROM {where}"
        if not bench.execute(asked).fetchall()[0][0]:
            return
        self._told.add(number)
        odd = holds_one_of("value", f"\0{self._work.target.unwritable}")
        if _copied(wire, "_tranship_values", bench.sql(f"SELECT value FROM _asked WHERE NOT {odd}")):
            kind = self._types.get(at.column)
            # A cast to varchar(3) cuts off what is too long; stored it would be refused.
            whole = " AND stored = value" if kind and kind.text else ""
            whole = " AND stored = value::text[]::text" if _is_array(at) else whole
            wire.run(
                "CREATE OR REPLACE FUNCTION pg_temp.tranship_stored(value text) RETURNS text LANGUAGE plpgsql AS "
                f"$tranship$ BEGIN RETURN value::{at.at.shown}::text; "
                "EXCEPTION WHEN OTHERS THEN RETURN NULL; END $tranship$"
            )
            told = wire.stream(
                f"SELECT value, CASE WHEN stored IS NOT NULL{whole} THEN stored END AS stored FROM "
                "(SELECT value, pg_temp.tranship_stored(value) AS stored FROM pg_temp._tranship_values OFFSET 0) v"
            )
            stored = _without_blanks("stored") if _is_jsonb(at) else "stored"
            _kept(bench, f"INSERT INTO _cast_{number} SELECT value, {stored} FROM _stream", told)
        wire.run("DROP TABLE pg_temp._tranship_values")

    def see_table(self, select: str, joined: str) -> None:
        relation = self._existing
        packed = [at.at for at in self.packed.stored] if self.packed else []
        alone = [column for column in self._needed() if column not in packed]
        pack = f", {_pack_held([f't.{quoted(at.name)}' for at in packed])} AS {quoted(_PACK)}" if packed else ""
        stream = self._work.wire.stream(
            f"SELECT {relation.place_sent} AS ctid{self._columns(alone)}{pack} FROM {relation.name} t"
        )
        rows = self._typed(alone, {} if relation.parts else {"ctid": "('0x' || hex(ctid))::BIGINT"})
        _kept(
            self._work.bench, f"CREATE OR REPLACE TEMP TABLE _table AS SELECT {select} FROM {rows} t {joined}", stream
        )

    def undecided(self) -> str:
        wire, relation = self._work.wire, self._existing
        _copied(
            wire, "_tranship_rows", self._work.bench.sql("SELECT target FROM _plan WHERE action IS NULL ORDER BY 1")
        )
        wire.run("ANALYZE pg_temp._tranship_rows")
        with _by_place(wire):
            stream = wire.stream(
                f"SELECT u.target AS ctid{self._columns(self._needed())} FROM pg_temp._tranship_rows u "
                f"JOIN {relation.name} t ON {relation.at('u.target')}"
            )
            rows = self._typed(self._needed(), {})
            _kept(self._work.bench, f"CREATE OR REPLACE TEMP TABLE _rows AS SELECT * FROM {rows}", stream)
        wire.run("DROP TABLE pg_temp._tranship_rows")
        for number, at in enumerate(self._asked()):
            if _is_jsonb(at):
                # Equal but for the order of names? The server knows.
                source = _as_text(at)
                differs = f"json({source})::VARCHAR IS DISTINCT FROM t.{quoted(at.column)}"
                self._ask(
                    number,
                    at,
                    f"_plan p JOIN _rows t ON t.ctid = p.target JOIN _survivors s ON s._row = p.row "
                    f"WHERE CASE WHEN {_plain(source)} THEN {differs} ELSE false END",
                )
        self._see_what_is_stored()
        return "_rows"

    def object(self, *, alone: bool) -> int:
        objections = self._objections = self._objections or _Objections(self._work, self._existing)
        return objections.refuse(alone=alone)

    def keep(self) -> list[tuple[str, int]]:
        wire, bench, relation = self._work.wire, self._work.bench, self._existing
        referring = [one for one in _referring(wire, relation) if one.holds_deletes]
        if not referring:
            return []
        _copied(wire, "_tranship_gone", bench.sql("SELECT target FROM _gone ORDER BY 1"))
        wire.run("ANALYZE pg_temp._tranship_gone")
        kept = []
        for one in referring:
            with _by_place(wire):
                rows = _tried(
                    wire,
                    f"SELECT u.target FROM pg_temp._tranship_gone u JOIN {relation.name} t "
                    f"ON {relation.at('u.target')} WHERE {one.exists}",
                )
            if rows:
                places = ", ".join(str(place) for (place,) in rows)
                [(count,)] = bench.execute(f"DELETE FROM _gone WHERE target IN ({places})").fetchall()
                kept += [(one.table, int(count))] if count else []
        wire.run("DROP TABLE pg_temp._tranship_gone")
        return kept

    @property
    def _existing(self) -> _Relation:
        assert self._work.relation is not None  # noqa: S101  (a table that does not exist is not compared with)
        return self._work.relation

    def _needed(self) -> list[Column]:
        """The columns that the comparison looks at, the table's own."""
        target = self._work.target
        fields = [at.at for at in target.stored if at in self._work.brought or at.field in ("external_id", "email")]
        unique = [at.at for at in target.stored if at.column in target.unique]
        own = [_own(name) for name in ([target.key] if target.key else []) + ([RUN, DELETED] * target.bookkeeping)]
        return list({column.name: column for column in (*own, *fields, *unique)}.values())

    def _columns(self, needed: list[Column]) -> str:
        work = self._work
        unsaid = work.added if work.load.mode == "mirror" else (*work.added, RUN)
        sent = {at.name: f"NULL::{_kind(at)}" if at.name in unsaid else _sent(at) for at in needed}
        return "".join(f", {value} AS {quoted(name)}" for name, value in sent.items())

    def _typed(self, needed: list[Column], typed: dict[str, str]) -> str:
        """What streams past, in the types of the comparison."""
        columns = {at.name: at for at in needed}
        typed = typed | {
            name: f"{quoted(name)}::{at.dtype}" for name, at in columns.items() if at.dtype in ("UUID", "JSON")
        }
        typed |= {name: _without_blanks(quoted(name)) for name, at in columns.items() if at.shown == "jsonb"}
        replaced = ", ".join(f"{value} AS {quoted(name)}" for name, value in typed.items())
        return f"(SELECT * {f'REPLACE ({replaced}) ' if replaced else ''}FROM _stream)"


def _kind(column: Column) -> str:
    """The type in which a column that does not exist yet is sent."""
    return "text" if column.by_server else _sql_type(_OURS[column.dtype])


def _sent(column: Column) -> str:
    """A column as it is sent to be compared; what has no place in a frame becomes something no customer has."""
    at = f"t.{quoted(column.name)}"
    if column.dtype.startswith("TIMESTAMP") or column.dtype == "DATE":
        return f"CASE WHEN {at} BETWEEN '{_FIRST}' AND '{_LAST}' THEN {at} WHEN {at} IS NOT NULL THEN '{_LAST}' END"
    if column.dtype == "VARCHAR[]":
        return f"CASE WHEN array_ndims({at}) > 1 THEN ARRAY['several dimensions'] ELSE {at} END"
    return f"{at}::text" if column.by_server or column.dtype in ("UUID", "JSON") else at


def _is_jsonb(at: Stored) -> bool:
    return at.at.by_server and at.at.shown == "jsonb"


_PACK: Final = "tranship texts"
"""Texts with a control character between them, and the number of nulls in front: the driver's time goes by fields, not
by bytes.

A survivor's text has no control characters, so that its pack has one for each gap; a row with the same pack has none
in its texts either. It is empty where the survivor's is null, and all its empty texts are null, or the numbers would
differ: a survivor's text is never empty.
"""


def _is_tidy(at: Stored) -> bool:
    """Whether it is a text without control characters; but for what customers are found by."""
    tidy = at.field not in (*_AS_GIVEN, "external_id", "email")
    return tidy and TYPE_OF[at.field] == at.at.dtype == "VARCHAR" and not at.at.by_server


def _pack_wanted(values: list[str]) -> str:
    """The pack of a survivor, as SQL of the comparison."""
    nulls = " + ".join(f"({value} IS NULL)::INTEGER" for value in values)
    return _pack(values, f"({nulls})::VARCHAR")


def _pack_held(columns: list[str]) -> str:
    """The pack of a row, as SQL of the server."""
    return _pack(columns, f"num_nulls({', '.join(columns)})")


def _pack(texts: list[str], nulls: str) -> str:
    given = ", ".join(f"coalesce({text}, '')" for text in texts)
    return f"concat_ws(chr(31), {nulls}, {given})"


def _is_array(at: Stored) -> bool:
    """A list, stored in an array of which only the server knows what it takes: `citext[]`, `varchar(20)[]`."""
    return at.at.by_server and at.at.shown.endswith("[]") and TYPE_OF[at.field].endswith("[]")


def _as_text(at: Stored) -> str:
    """A survivor's value as text for the server to read; lists as an array's text or as JSON."""
    value = f"s.{quoted(at.field)}"
    if _is_array(at):
        escaped = "replace(replace(x, '\\', '\\\\'), '\"', '\\\"')"
        return f"'{{' || array_to_string(list_transform({value}, lambda x: '\"' || {escaped} || '\"'), ',') || '}}'"
    if TYPE_OF[at.field].endswith("[]"):
        return f"CASE WHEN {value} IS NOT NULL THEN to_json({value})::VARCHAR END"
    return f"{value}::VARCHAR"


def _plain(json: str) -> str:
    """Whether DuckDB and jsonb write this JSON alike but for blanks and the order of names: no code points by number,
    no fractions, exponents or numbers of many digits (nor texts that look so).
    """
    return rf"json_valid({json}) AND NOT regexp_matches({json}, '\\u|[0-9][.eE]|[0-9]{{16}}')"


def _without_blanks(jsonb: str) -> str:
    """What jsonb shows, comparable with a survivor's JSON."""
    return f"CASE WHEN {_plain(jsonb)} THEN json({jsonb})::VARCHAR ELSE {jsonb} END"


def _copied(wire: Wire, table: str, rows: duckdb.DuckDBPyRelation) -> int:
    """Copy rows of the comparison into a new temporary table of the server; how many."""
    batches = rows.to_arrow_reader(_SENT_ROWS)
    return wire.load(table, arrow(batches.schema, batches, ()))


@contextmanager
def _by_place(wire: Wire) -> Iterator[None]:
    """Rows are fetched at their places, in order. Left to itself, the server would read and hash the whole table."""
    for join in ("hashjoin", "mergejoin"):
        wire.run(f"SET LOCAL enable_{join} = off")
    yield
    for join in ("hashjoin", "mergejoin"):
        wire.run(f"SET LOCAL enable_{join} TO DEFAULT")


def _kept(bench: duckdb.DuckDBPyConnection, sql: str, stream: Any) -> None:
    """Let rows of the server stream through a statement of the comparison, as `_stream`."""
    bench.register("_stream", stream)
    try:
        bench.execute(sql).fetchall()
    finally:
        bench.unregister("_stream")


# Where the table sets `updated_at` by itself ------------------------------------------------------------------


class _Written:
    """What this tool last wrote into a table whose `updated_at` a trigger, rule, default or foreign server may set."""

    def __init__(self, wire: Wire, relation: _Relation) -> None:
        self._wire, self._relation = wire, relation
        self._there = _find(wire, Address("", relation.schema, WRITTEN, None, ""), WRITTEN)

    @property
    def is_there(self) -> bool:
        """Whether anything was ever kept in this schema."""
        return self._there is not None

    def is_needed(self, target: Target) -> bool:
        """Also where something is kept from when there was a trigger: the times in the table are still those."""
        at = target.column("updated_at")
        return at is not None and bool(self._sets_the_time(at.column) or (self._there and self._rows(" LIMIT 1")))

    def _sets_the_time(self, column: str) -> bool:
        relation = self._relation
        parts = f"ARRAY[{', '.join(map(str, relation.parts or (relation.oid,)))}]::oid[]"
        return bool(
            self._wire.value(
                "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger "
                f"WHERE tgrelid = ANY({parts}) AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & 20 <> 0) "
                "OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite "
                f"WHERE ev_class = {relation.oid} AND ev_type IN ('2', '3') AND ev_enabled IN ('O', 'A')) "
                f"OR EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = ANY({parts}) AND relkind = 'f') "
                "OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
                f"WHERE a.attrelid = {relation.oid} AND a.attname = {literal(column)} "
                "AND (a.atthasdef OR t.typdefault IS NOT NULL))"
            )
        )

    def _rows(self, limit: str) -> list[tuple[Any, ...]]:
        return self._wire.rows(f"SELECT 1 FROM {self._name} WHERE table_name = {self._table}{limit}")

    @property
    def _name(self) -> str:
        return f"{quoted(self._relation.schema)}.{quoted(WRITTEN)}"

    @property
    def _table(self) -> str:
        return literal(self._relation.table)

    def see(self, bench: duckdb.DuckDBPyConnection) -> None:
        """Make `_written` for the comparison."""
        bench.execute("CREATE OR REPLACE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)").fetchall()
        if self._there:
            stream = self._wire.stream(
                f"SELECT customer, updated_at FROM {self._name} WHERE table_name = {self._table}"
            )
            _kept(bench, "INSERT INTO _written SELECT customer, updated_at FROM _stream", stream)

    def notes(self) -> Iterator[str]:
        """What a person is told if nothing can be kept."""
        if not self._can_be_kept():
            yield (
                f"the table may set updated_at by itself, and this user may not create or write {self._name}: records "
                "are not compared with what was last written, so older ones are written, too"
            )

    def _can_be_kept(self) -> bool:
        if self._there:
            return all(
                self._wire.value(f"SELECT has_table_privilege({self._there.oid}::oid, {literal(right)})")
                for right in ("INSERT", "UPDATE")
            )
        return bool(self._wire.value(f"SELECT has_schema_privilege({literal(self._relation.schema)}, 'CREATE')"))

    def write(self, bench: duckdb.DuckDBPyConnection, target: Target, load: WriteRequest) -> None:
        """Keep what is being written."""
        if not self._can_be_kept():
            return
        see_wrote(bench, target, load)
        self._wire.run(
            f"CREATE TABLE IF NOT EXISTS {self._name} (table_name text NOT NULL, customer text NOT NULL, "
            "updated_at timestamptz, PRIMARY KEY (table_name, customer))"
        )
        _copied(self._wire, "_tranship_wrote", bench.sql("SELECT customer, updated_at FROM _wrote"))
        self._wire.run(
            f"INSERT INTO {self._name} (table_name, customer, updated_at) "
            f"SELECT {self._table}, customer, updated_at FROM pg_temp._tranship_wrote "
            "ON CONFLICT (table_name, customer) DO UPDATE SET updated_at = excluded.updated_at"
        )
        self._wire.run("DROP TABLE pg_temp._tranship_wrote")


# What the database would refuse ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rule:
    """A constraint of the table. `reason` is what a record is refused with; `against` gives the rows that break it."""

    reason: str
    against: str
    check: str = ""
    """What must not be false of a row; where it cannot be computed the row breaks the rule, too."""
    changes: tuple[str, ...] = ()
    """It only matters if one of these fields changes."""


def _takes_default(wire: Wire, kind: _Type) -> bool:
    wire.run("SAVEPOINT fallback")
    try:
        wire.run(f"CREATE TEMPORARY TABLE _tranship_default (value {kind.shown} DEFAULT {kind.default})")
        wire.run("INSERT INTO pg_temp._tranship_default DEFAULT VALUES")
    except Interfered:
        raise
    except ConnectorError:
        return False
    finally:
        wire.run("ROLLBACK TO SAVEPOINT fallback")
    return True


def _tried(wire: Wire, sql: str) -> list[tuple[Any, ...]] | None:
    """What a query gives; None where the server cannot or may not answer it."""
    wire.run("SAVEPOINT rule")
    try:
        return wire.rows(sql)
    except Interfered:
        raise
    except (ConnectorError, OSError):
        wire.run("ROLLBACK TO SAVEPOINT rule")
    return None


@dataclass(frozen=True)
class _Reference:
    """A foreign key of another row that leads to rows of the table."""

    table: str
    columns: tuple[str, ...]
    """Those of ours that it refers to."""
    exists: str
    """Whether one refers to the row `t`."""
    holds_changes: bool
    holds_deletes: bool


_COLUMNS_OF: Final = (
    "(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest({}) WITH ORDINALITY k(num, n) "
    "JOIN pg_catalog.pg_attribute a ON a.attnum = k.num AND a.attrelid = {})"
)


def _referring(wire: Wire, relation: _Relation) -> list[_Reference]:
    """The foreign keys that lead to a table and do not simply follow its rows (CASCADE, SET NULL, SET DEFAULT)."""
    found = []
    for schema, table, theirs, own, update, delete in wire.rows(
        f"SELECT n.nspname::text, r.relname::text, {_COLUMNS_OF.format('c.conkey', 'c.conrelid')}, "
        f"{_COLUMNS_OF.format('c.confkey', 'c.confrelid')}, c.confupdtype IN ('a', 'r'), c.confdeltype IN ('a', 'r') "
        "FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace "
        f"WHERE c.confrelid = {relation.oid} AND c.contype = 'f' AND r.relkind IN ('r', 'p') AND NOT EXISTS "
        "(SELECT 1 FROM pg_catalog.pg_constraint p WHERE p.oid = c.conparentid AND p.confrelid = c.confrelid) "
        "ORDER BY 1, 2, c.conname"
    ):
        there = " AND ".join(f"r.{quoted(a)} = t.{quoted(b)}" for a, b in zip(theirs, own, strict=True))
        itself = "(r.tableoid, r.ctid) = (t.tableoid, t.ctid)"
        exists = f"EXISTS (SELECT 1 FROM {quoted(schema)}.{quoted(table)} r WHERE {there} AND NOT {itself})"
        found.append(_Reference(table, tuple(own), exists, update, delete))
    return found


class _Objections:
    """Checks, references, and uniqueness that is more than a column's, tried on the rows as they would become."""

    def __init__(self, work: _Work, relation: _Relation) -> None:
        self._work, self._relation = work, relation
        self._alone = [*self._defaults(), *self._partitions(), *self._checks(), *self._references(), *self._held_fast()]
        self._together = list(self._exclusions())

    def refuse(self, *, alone: bool) -> int:
        """Refuse in `_plan` what breaks a rule, of those about a row alone or of the others; how many."""
        rules = [rule for rule in (self._alone if alone else self._together) if self._matters(rule)]
        if not rules:
            return 0
        work = self._work
        wire, bench = work.wire, work.bench
        values = "".join(f", {value} AS {quoted(name)}" for name, value in _given(work).items())
        rows = bench.sql(
            f"SELECT p.row::BIGINT AS {_ROW}, p.target AS {_PLACE}{values} FROM _plan p "
            "JOIN _survivors s ON s._row = p.row WHERE p.action IN ('create', 'update') ORDER BY p.target"
        )
        if not _copied(wire, "_tranship_wanted", rows):
            wire.run("DROP TABLE pg_temp._tranship_wanted")
            return 0
        with _by_place(wire):
            wire.run(f"CREATE TEMPORARY TABLE _tranship_result AS {self._results()}")
        wire.run("ANALYZE pg_temp._tranship_result")
        refused = 0
        for rule in rules:
            broken = self._broken(rule)
            if broken:
                refused += len(broken)
                # Who is refused takes nothing away from others.
                gone = f"DELETE FROM pg_temp._tranship_result WHERE {_ROW} IN ({', '.join(map(str, broken))})"
                wire.run(gone)
                bench.execute(
                    f"UPDATE _plan SET action = 'refused', reason = {literal(rule.reason)}, changed = NULL "
                    f"WHERE row IN ({', '.join(map(str, broken))}) AND action <> 'refused'"
                ).fetchall()
        wire.run("DROP TABLE pg_temp._tranship_wanted, pg_temp._tranship_result")
        return refused

    def _broken(self, rule: _Rule) -> list[int]:
        """Rows that break a rule; none where it cannot be tried (then the database has the last word)."""
        wire = self._work.wire
        found = _tried(wire, rule.against)
        if found is not None:
            return [row for (row,) in found]
        if not rule.check:
            return []
        wire.run(
            "CREATE OR REPLACE FUNCTION pg_temp.tranship_breaks(pg_temp._tranship_result) RETURNS boolean "
            f"LANGUAGE plpgsql AS $tranship$ BEGIN RETURN (SELECT NOT ({rule.check}) FROM (SELECT $1.*) r); "
            "EXCEPTION WHEN OTHERS THEN RETURN true; END $tranship$"
        )
        rows = wire.rows(f"SELECT {_ROW} FROM pg_temp._tranship_result r WHERE pg_temp.tranship_breaks(r)")
        wire.run("DROP FUNCTION pg_temp.tranship_breaks(pg_temp._tranship_result)")
        return [row for (row,) in rows]

    def _results(self) -> str:
        """The rows as they will be, in the table's own columns, with place in the run and in the table."""
        work = self._work
        given = {at.column: at for at in work.brought}
        become, computed = {}, {}
        for name, kind in work.types.items():
            old, new = f"t.{quoted(name)}", f"u.{quoted(name)}"
            if name in given:
                new = kind.cast(new)
                if given[name].at.filled and kind.computable:
                    new = f"coalesce({new}, CASE WHEN u.{_PLACE} IS NULL THEN {kind.default} END)"
                become[name] = new if given[name].erasable(work.load) else f"coalesce({new}, {old})"
            elif name == work.target.key or (name == RUN and work.target.bookkeeping):
                become[name] = f"coalesce({old}, {new})" if name == work.target.key else new
            elif kind.given and kind.default:
                computed[name] = kind.default
            elif kind.computable:
                become[name] = f"CASE WHEN u.{_PLACE} IS NULL THEN {kind.default} ELSE {old} END"
            else:
                become[name] = old
        collated = {name: f" COLLATE {kind.collation}" for name, kind in work.types.items() if kind.collation}
        columns = ", ".join(f"({at}){collated.get(name, '')} AS {quoted(name)}" for name, at in become.items())
        rows = (
            f"SELECT u.{_ROW}, u.{_PLACE}, {columns} FROM pg_temp._tranship_wanted u "
            f"LEFT JOIN {self._relation.name} t ON {self._relation.at(f'u.{_PLACE}')}"
        )
        also = "".join(f", {value} AS {quoted(name)}" for name, value in computed.items())
        return f"SELECT r.*{also} FROM ({rows}) r"

    def _defaults(self) -> Iterator[_Rule]:
        """Defaults that the column's own type forbids: the server has not looked at them until now."""
        for name, kind in self._work.types.items():
            if kind.computable and (kind.domain or kind.modified >= 0) and not _takes_default(self._work.wire, kind):
                yield _Rule(
                    f"violates: {kind.shown}",
                    f"SELECT {_ROW} FROM pg_temp._tranship_result WHERE {_PLACE} IS NULL "
                    f"AND {quoted(name)}::text = ({kind.default})::text",
                )

    def _partitions(self) -> Iterator[_Rule]:
        """Values for which there is no partition, or not in the one that is the table."""
        parts = self._work.wire.rows(
            "WITH RECURSIVE parts AS (SELECT c.oid, c.relkind, c.relispartition FROM pg_catalog.pg_class c "
            f"WHERE c.oid = {self._relation.oid} UNION ALL SELECT c.oid, c.relkind, c.relispartition "
            "FROM parts p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid "
            "JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE p.relkind = 'p') "
            "SELECT relkind = 'p', relispartition, coalesce(pg_get_partition_constraintdef(oid), 'true'), "
            "coalesce(t.partdefid <> 0, false), pg_get_partkeydef(coalesce(t.partrelid, i.inhparent)) "
            "FROM parts p LEFT JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.oid "
            "LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = p.oid"
        )
        divided, bounded, _, _, key = parts[0]
        every = not bounded and all(default for split, _, _, default, _ in parts if split)
        if (divided or bounded) and not every:
            bounds = " OR ".join(f"({bound})" for split, _, bound, _, _ in parts if not split) or "false"
            yield _Rule(
                f"no_partition: {key.partition(' ')[2][1:-1]}",
                f"SELECT {_ROW} FROM pg_temp._tranship_result WHERE NOT coalesce({bounds}, false)",
            )

    def _checks(self) -> Iterator[_Rule]:
        for name, expression in self._work.wire.rows(
            "SELECT conname::text, pg_get_expr(conbin, conrelid) FROM pg_catalog.pg_constraint "
            f"WHERE conrelid = {self._relation.oid} AND contype = 'c' ORDER BY conname"
        ):
            against = f"SELECT {_ROW} FROM pg_temp._tranship_result WHERE NOT ({expression})"
            yield _Rule(f"violates: {name}", against, expression)

    def _references(self) -> Iterator[_Rule]:
        named = _COLUMNS_OF
        for schema, table, own, their in self._work.wire.rows(
            f"SELECT n.nspname::text, r.relname::text, {named.format('c.conkey', 'c.conrelid')}, "
            f"{named.format('c.confkey', 'c.confrelid')} FROM pg_catalog.pg_constraint c "
            "JOIN pg_catalog.pg_class r ON r.oid = c.confrelid "
            "JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace "
            f"WHERE c.conrelid = {self._relation.oid} AND c.contype = 'f' AND c.confrelid <> c.conrelid "
            "ORDER BY c.conname"
        ):
            pairs = [(f"b.{quoted(mine)}", f"r.{quoted(theirs)}") for mine, theirs in zip(own, their, strict=True)]
            there = " AND ".join(f"{mine} = {theirs}" for mine, theirs in pairs)
            full = " AND ".join(f"{mine} IS NOT NULL" for mine, _ in pairs)
            yield _Rule(
                f"refers_to_nothing: {', '.join(own)}",
                f"SELECT b.{_ROW} FROM pg_temp._tranship_result b WHERE {full} AND NOT EXISTS "
                f"(SELECT 1 FROM {quoted(schema)}.{quoted(table)} r WHERE {there})",
            )

    def _held_fast(self) -> Iterator[_Rule]:
        """Values that others refer to, and that would become others."""
        for one in _referring(self._work.wire, self._relation):
            fields = tuple(at.field for at in self._work.brought if at.column in one.columns)
            if one.holds_changes and fields:
                moved = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM b.{quoted(name)}" for name in one.columns)
                yield _Rule(
                    f"referred_to: {one.table}",
                    f"SELECT b.{_ROW} FROM pg_temp._tranship_result b JOIN {self._relation.name} t "
                    f"ON {self._relation.at(f'b.{_PLACE}')} WHERE ({moved}) AND {one.exists}",
                    changes=fields,
                )

    def _matters(self, rule: _Rule) -> bool:
        """Whether anybody would be changed in what the rule is about."""
        if not rule.changes:
            return True
        fields = ", ".join(map(literal, rule.changes))
        some = f"SELECT 1 FROM _plan WHERE action = 'update' AND list_has_any(changed, [{fields}]) LIMIT 1"
        return bool(self._work.bench.execute(some).fetchall())

    def _exclusions(self) -> Iterator[_Rule]:
        """Unique indexes and exclusions that the comparison does not see to: over several columns, expressions, parts
        of the table, nulls, defaults, or types and collations that only the server compares.
        """
        simple = {name for name in self._work.target.unique if not self._by_server(name)}
        for name, keys, operators, part, columns, plain, nulls in self._work.wire.rows(
            "SELECT x.relname::text, ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) || coalesce(("
            "SELECT ' COLLATE ' || c.collnamespace::regnamespace || '.' || quote_ident(c.collname) "
            "FROM pg_catalog.pg_collation c WHERE c.oid = i.indcollation[k - 1] AND c.collname <> 'default'), '') "
            "FROM generate_series(1, i.indnkeyatts) k ORDER BY k), "
            "ARRAY(SELECT o.oprname::text FROM unnest(c.conexclop) WITH ORDINALITY e(op, n) "
            "JOIN pg_catalog.pg_operator o ON o.oid = e.op ORDER BY e.n), pg_get_expr(i.indpred, i.indrelid), "
            "ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n) "
            "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num "
            "WHERE k.n <= i.indnkeyatts ORDER BY k.n), "
            "(SELECT coalesce(bool_and(c.collisdeterministic), true) FROM unnest(i.indcollation::oid[]) k(o) "
            "JOIN pg_catalog.pg_collation c ON c.oid = k.o), "
            # Servers before 15 have no such column.
            "coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false) "
            "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid "
            "LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'x' "
            f"WHERE i.indrelid = {self._relation.oid} AND (i.indisunique OR i.indisexclusion) ORDER BY 1"
        ):
            if len(keys) == 1 and part is None and columns[0] in simple and plain and not nulls:
                continue
            alike = "IS NOT DISTINCT FROM" if nulls else "="
            told = ", ".join(filter(None, columns)) or name
            yield self._never_twice(told, keys, operators or [alike] * len(keys), part or "true")
        yield from self._own_key()

    def _own_key(self) -> Iterator[_Rule]:
        """Ids or e-mails that the column holds to be the same, where no index says so either."""
        at = self._work.target.column("external_id" if self._work.target.by_id else "email")
        kind = self._work.types.get(at.column) if at else None
        unsaid = kind and kind.name not in self._work.target.unique
        if kind and unsaid and (kind.loose or (kind.text and not kind.readable)):
            yield self._never_twice(kind.name, [quoted(kind.name)], ["="], "true")

    def _never_twice(self, told: str, keys: list[str], operators: list[str], where: str) -> _Rule:
        named = ", ".join(f"({key}) AS k{number}" for number, key in enumerate(keys))
        same = " AND ".join(f"a.k{number} {operator} b.k{number}" for number, operator in enumerate(operators))
        wanted = f"(SELECT {_ROW}, {_PLACE}, {named} FROM pg_temp._tranship_result WHERE {where})"
        there = f"(SELECT {self._relation.place} AS place, {named} FROM {self._relation.name} t WHERE {where})"
        moved = f"SELECT {_PLACE} FROM pg_temp._tranship_result WHERE {_PLACE} IS NOT NULL"
        return _Rule(
            f"taken: {told}",
            f"SELECT b.{_ROW} FROM {wanted} b JOIN {wanted} a ON {same} AND a.{_ROW} < b.{_ROW} "
            f"UNION SELECT b.{_ROW} FROM {wanted} b JOIN {there} a ON {same} AND a.place NOT IN ({moved})",
        )

    def _by_server(self, column: str) -> bool:
        kind = self._work.types.get(column)
        stored = (at for at in self._work.target.stored if at.column == column)
        return bool(kind and kind.loose) or any(at.at.by_server or at.at.filled for at in stored)


_ROW: Final = quoted("tranship row")
_PLACE: Final = quoted("tranship place")


def _given(work: _Work) -> dict[str, str]:
    """What a new row is given, column by column, as SQL of the comparison."""
    values = {work.target.key: new_key("s")} if work.target.key else {}
    values |= {at.column: _written(at) for at in work.brought}
    return values | ({RUN: literal(work.load.run_id)} if work.target.bookkeeping else {})


# Writing -----------------------------------------------------------------------------------------------------


class _Writer:
    """The plan, carried out: one statement for each kind of change, the ledger row, the commit."""

    def __init__(self, work: _Work, plan: Plan, address: Address, where: str) -> None:
        self._work, self._plan, self._address, self._where = work, plan, address, where
        self._wire, self._bench, self._load = work.wire, work.bench, work.load

    def write(self) -> None:
        """Everything, and COMMIT."""
        wire = self._wire
        relation = self._work.relation
        schema = relation.schema if relation else self._schema()
        ledger = _find(wire, Address("", schema, LEDGER, None, ""), LEDGER)
        keeps = self._work.target.written and "updated_at" in self._load.survivors.columns
        written = _Written(wire, relation) if relation and keeps else None
        if relation is None or ledger is None or (written and not written.is_there):
            # Two runs that make the same schema or ledger at once would stumble over each other.
            wire.rows(
                f"SELECT pg_advisory_xact_lock(hashtextextended({literal(f'tranship ledger:{schema}')}, 0)) IS NULL"
            )
            ledger = _find(wire, Address("", schema, LEDGER, None, ""), LEDGER)
        if relation is None:
            self._create(schema)
        else:
            for name in self._work.added:
                kind = _sql_type(_kind_of(name))
                wire.run(f"ALTER TABLE {relation.name} ADD COLUMN {quoted(name)} {kind}")
            if written:
                written.write(self._bench, self._work.target, self._load)
            self._update(relation)
            self._delete(relation)
        self._insert(relation)
        if relation is None:
            wire.run(f"ALTER TABLE {quoted(schema)}.{quoted(self._address.table)} ADD PRIMARY KEY ({quoted(KEY)})")
        if ledger is None:
            wire.run(_sql(CreateTable(_ledger_table(schema))))
        row = ledger_row(self._load, self._plan, self._address.table)
        if ledger is not None:
            self._extend_ledger(ledger, row)
        lacked = dict.fromkeys(map(ord, self._work.target.unwritable), "?")
        values = ", ".join(literal(str(value).translate(lacked)) for value in row.values())
        wire.run(
            f"INSERT INTO {quoted(schema)}.{quoted(LEDGER)} ({', '.join(map(quoted, row))}, finished_at) "
            f"VALUES ({values}, clock_timestamp())"
        )
        wire.run("COMMIT")

    def _extend_ledger(self, ledger: _Relation, row: dict[str, Any]) -> None:
        """A ledger of an earlier version gets the counts that it lacks; only its owner can do that."""
        lacking_counts = [name for name in LATER_COUNTS if name not in _types(self._wire, ledger)]
        if not lacking_counts:
            return
        owner = f"(SELECT relowner FROM pg_catalog.pg_class WHERE oid = {ledger.oid})"
        if self._wire.value(f"SELECT pg_has_role({owner}, 'USAGE')"):
            added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
            self._wire.run(f"ALTER TABLE {ledger.name} {added}")
            return
        self._load.say(
            f"{ledger.name} is of an earlier version and lacks {' and '.join(lacking_counts)}, which are left out. "
            f"Let its owner ALTER TABLE {ledger.name} "
            + ", ".join(f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
        )
        for name in lacking_counts:
            del row[name]

    def _schema(self) -> str:
        """The schema of a new table, made if it is missing."""
        schema = self._address.schema or self._wire.value("SELECT current_schema()::text")
        if schema is None:
            raise ConfigError(f"{self._where}: no schema is on the search path; name one: ?table=schema.table")
        if not self._wire.rows(f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {literal(schema)}"):
            self._wire.run(_sql(CreateSchema(_name(schema), if_not_exists=True)))
        return str(schema)

    def _create(self, schema: str) -> None:
        columns = [
            sa.Column(_name(name), _kind_of(name), nullable=name != KEY, comment=COMMENTS.get(name)) for name in _ALL
        ]
        table = sa.Table(_name(self._address.table), sa.MetaData(), *columns, schema=_name(schema), comment=_COMMENT)
        self._wire.run(_sql(CreateTable(table)))
        self._wire.run(_sql(SetTableComment(table)))
        for column in columns:
            if column.comment:
                self._wire.run(_sql(SetColumnComment(column)))

    def _insert(self, relation: _Relation | None) -> None:
        work, plan = self._work, self._plan
        if not plan.counts["create"]:
            return
        values = _given(work)
        everything = plan.counts["create"] == self._load.survivors.count
        chosen = f"JOIN read_parquet({literal(plan.rows)}) p ON p.row = s._row AND p.action = 'create'"
        rows = self._bench.sql(
            f"SELECT {', '.join(f'{value} AS {quoted(name)}' for name, value in values.items())} "
            f"FROM _survivors s {'' if everything else chosen}"
        )
        casts = {at.column for at in work.brought if _needs_cast(at)}
        blank = self._blank(chosen if not everything else "")
        if relation is None or not (casts or blank or relation.inserts_only):
            batches = rows.to_arrow_reader(_SENT_ROWS)
            json = [at.column for at in work.brought if _is_jsonb(at)]
            schema = relation.schema if relation else self._schema()
            table = relation.table if relation else self._address.table
            done = self._wire.load(table, arrow(batches.schema, batches, json), schema=schema)
        else:
            casts |= {at.column for at in work.brought if _is_jsonb(at)}
            _copied(self._wire, "_tranship_new", rows)
            given = {name: f"u.{quoted(name)}" for name in values}
            kinds = {name: work.types.get(name) for name in casts}
            given |= {at: kind.cast(given[at]) if kind else f"{given[at]}::jsonb" for at, kind in kinds.items()}
            given |= {name: f"coalesce({given[name]}, {work.types[name].default})" for name in blank}
            sources = ", ".join(given.values())
            done = self._wire.run(
                f"INSERT INTO {relation.name} ({', '.join(map(quoted, values))}) "
                f"SELECT {sources} FROM pg_temp._tranship_new u"
            )
            self._wire.run("DROP TABLE pg_temp._tranship_new")
        self._as_planned("create", done)

    def _blank(self, chosen: str) -> list[str]:
        """The columns of which some new rows get the default, for want of a value."""
        filled = [at for at in self._work.brought if at.at.filled]
        if not filled:
            return []
        missing = ", ".join(f"count(*) - count({at.value})" for at in filled)
        counts = self._bench.execute(f"SELECT {missing} FROM _survivors s {chosen}").fetchall()[0]
        return [at.column for at, count in zip(filled, counts, strict=True) if count]

    def _update(self, relation: _Relation) -> None:
        work, plan = self._work, self._plan
        if not plan.counts["update"]:
            return
        changed = self._changed()
        values = "".join(f", {_written(at)} AS {quoted(at.column)}" for at in changed)
        rows = self._bench.sql(
            f"SELECT p.target AS _place{values} FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action = 'update' ORDER BY p.target"
        )
        _copied(self._wire, "_tranship_changed", rows)
        self._wire.run("ANALYZE pg_temp._tranship_changed (_place)")
        self._step_aside(relation)
        sets = {}
        for at in changed:
            value = f"u.{quoted(at.column)}"
            if _is_jsonb(at) or _needs_cast(at):
                value = work.types[at.column].cast(value) if at.column in work.types else f"{value}::{at.at.shown}"
            sets[at.column] = value if at.erasable(self._load) else f"coalesce({value}, t.{quoted(at.column)})"
        if work.target.bookkeeping:
            sets |= {RUN: literal(self._load.run_id), DELETED: "NULL"}
        assigned = ", ".join(f"{quoted(name)} = {value}" for name, value in sets.items())
        with _by_place(self._wire):
            done = self._wire.run(
                f"UPDATE {relation.name} t SET {assigned} "
                f"FROM pg_temp._tranship_changed u WHERE {relation.at('u._place')}"
            )
        self._wire.run("DROP TABLE pg_temp._tranship_changed")
        self._as_planned("update", done)

    def _changed(self) -> list[Stored]:
        """The columns in which any row changes; the others would be set to what they are."""
        return [at for at in self._work.brought if at.field in self._plan.changed_fields]

    def _step_aside(self, relation: _Relation) -> None:
        """Unique values that move from one row to another are given up first: Postgres looks at each row in turn."""
        work = self._work
        for at in self._changed():
            kind = work.types.get(at.column)
            if at.column not in work.target.unique or kind is None:
                continue
            is_text = kind.base in ("text", "varchar")
            nothing = (
                "NULL"
                if kind.nullable and not self._once_null(relation, at.column)
                else "'tranship:' || u._place"
                if is_text
                else ""
            )
            if not nothing:
                continue
            column = quoted(at.column)
            gives_up = f"t.{column} IS DISTINCT FROM u.{column}::{kind.shown}"
            if not at.erasable(self._load):
                gives_up += f" AND u.{column} IS NOT NULL"
            self._wire.run(
                f"WITH aside AS (UPDATE {relation.name} t SET {column} = {nothing} FROM pg_temp._tranship_changed u "
                f"WHERE {relation.at('u._place')} AND {gives_up} AND t.{column} IN "
                f"(SELECT o.{column}::{kind.shown} FROM pg_temp._tranship_changed o) "
                f"RETURNING u._place AS was, {relation.place} AS now) "
                "UPDATE pg_temp._tranship_changed u SET _place = aside.now FROM aside WHERE u._place = aside.was"
            )

    def _once_null(self, relation: _Relation, column: str) -> bool:
        """Whether no two nulls may stand in a column."""
        return bool(
            self._wire.rows(
                "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid "
                f"AND a.attnum = i.indkey[0] WHERE i.indrelid = {relation.oid} AND a.attname = {literal(column)} "
                "AND i.indnkeyatts = 1 AND (to_jsonb(i)->>'indnullsnotdistinct')::boolean"
            )
        )

    def _delete(self, relation: _Relation) -> None:
        if not self._plan.counts["delete"]:
            return
        _copied(self._wire, "_tranship_gone", self._bench.sql("SELECT target FROM _gone ORDER BY 1"))
        self._wire.run("ANALYZE pg_temp._tranship_gone")
        gone = f"pg_temp._tranship_gone u WHERE {relation.at('u.target')}"
        with _by_place(self._wire):
            if self._load.hard_delete:
                done = self._wire.run(f"DELETE FROM {relation.name} t USING {gone}")
            else:
                done = self._wire.run(
                    f"UPDATE {relation.name} t SET {quoted(DELETED)} = now(), "
                    f"{quoted(RUN)} = {literal(self._load.run_id)} FROM {gone}"
                )
        self._wire.run("DROP TABLE pg_temp._tranship_gone")
        self._as_planned("delete", done)

    def _as_planned(self, action: str, done: int) -> None:
        planned = self._plan.counts[action]
        if done != planned:
            raise Refused(
                f"{self._address.shown}: {self._where}: took {done:,} rows where {planned:,} were to be written "
                f"({action}); a trigger, rule or policy of the table keeps the others away. Nothing was written."
            )


_ALL: Final = (KEY, *COLUMNS, RUN, DELETED)
_COMMENT: Final = f"Customers, written by tranship; what each run did is in {LEDGER}."


def _kind_of(name: str) -> sa.types.TypeEngine[Any]:
    """The type of a column in a table made here."""
    return _OURS["JSON" if name == "metadata" else _own(name).dtype]


def _sql_type(kind: sa.types.TypeEngine[Any]) -> str:
    return str(kind.compile(dialect=_DIALECT))


def _ledger_table(schema: str) -> sa.Table:
    text, instant = postgresql.TEXT(), postgresql.TIMESTAMP(timezone=True)
    columns: list[sa.Column[Any]] = [
        sa.Column("run_id", text, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("table_name", "source", "mode")),
        *(sa.Column(name, instant, nullable=False) for name in ("started_at", "finished_at")),
        *(sa.Column(name, postgresql.BIGINT(), nullable=False) for name in (*LEDGER_COUNTS, *LATER_COUNTS)),
    ]
    return sa.Table(_name(LEDGER), sa.MetaData(), *columns, schema=_name(schema))


def _needs_cast(at: Stored) -> bool:
    """Whether a value must go through a cast of the server's, and cannot be copied straight into the column."""
    return at.at.dtype in ("UUID", "JSON") or (at.at.by_server and not _is_jsonb(at))


def _written(at: Stored) -> str:
    """The survivor's value as it is sent to be stored."""
    if _is_jsonb(at):
        return _as_text(at)
    return f"{at.value}::VARCHAR" if at.at.dtype in ("UUID", "JSON") else at.value
