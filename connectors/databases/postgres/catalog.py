"""Tables, views and columns of a server: the queries on Postgres' own catalog."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.databases.own_tables import OWN_TABLES
from tranship.connectors.databases.postgres.address import PostgresAddress, parse_address
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import Column
from tranship.connectors.errors import (
    ConnectorError,
    Interfered,
)
from tranship.connectors.existing import hint, similar, similar_tables

EARLIEST, LATEST = "0001-01-01", "9999-12-31"

_TYPES: Final = {
    **{"text": "VARCHAR", "varchar": "VARCHAR", "bool": "BOOLEAN", "uuid": "UUID", "json": "JSON"},
    **{"int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "float4": "FLOAT", "float8": "DOUBLE"},
    **{"timestamptz": "TIMESTAMP WITH TIME ZONE", "timestamp": "TIMESTAMP", "date": "DATE"},
    **{"_text": "VARCHAR[]", "_varchar": "VARCHAR[]"},
}
"""Postgres type → the same type in DuckDB; for any other type, the server converts values."""


def qualified_name(address: PostgresAddress) -> str:
    """Return the table as the address names it."""
    return f"{address.schema}.{address.table}" if address.schema else address.table


class Relation(Struct, frozen=True):
    """A table or view of the server."""

    oid: int
    schema: str
    table: str
    kind: str
    needs_insert: bool
    """Rows must be written by INSERT, which reports how many passed policies, rules and triggers."""
    partitions: tuple[int, ...]
    """The tables that hold its rows, if there are several."""

    @property
    def name(self) -> str:
        """The table, quoted, in its schema."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def row_id(self) -> str:
        """The physical position of a row `t`, as a bigint: partition (16 bits), page (32), item (16)."""
        place = "(t.ctid::text::point)[0]::bigint * 65536 + (t.ctid::text::point)[1]::bigint"
        return f"{self._part('t.tableoid')} * 281474976710656 + {place}" if self.partitions else place

    @property
    def row_id_sent(self) -> str:
        """The same for the full read of the table: six bytes, produced in a third of the time."""
        return self.row_id if self.partitions else "tidsend(t.ctid)"

    def is_at(self, place: str) -> str:
        """Return a condition for the row `t` at this position."""
        tid = f"format('(%s,%s)', ({place} & 281474976710655) >> 16, {place} & 65535)::tid"
        here = f" AND {self._part('t.tableoid')} = {place} >> 48" if self.partitions else ""
        return f"t.ctid = {tid}{here}"

    def _part(self, oid: str) -> str:
        return f"array_position(ARRAY[{', '.join(map(str, self.partitions))}]::oid[], {oid})::bigint"


def find_relation(connection: Connection, address: PostgresAddress, table: str) -> Relation | None:
    """Return a table or view by name; null if there is none."""
    name = quoted(table) if address.schema is None else f"{quoted(address.schema)}.{quoted(table)}"
    found = connection.query(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, "
        "row_security_active(c.oid) OR c.relhasrules OR c.relhastriggers, "
        "ARRAY(WITH RECURSIVE below AS (SELECT c.oid AS part UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i "
        "JOIN below b ON i.inhparent = b.part) SELECT part::bigint FROM below) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = to_regclass({literal(name)})"
    )
    for oid, schema, relation, kind, watched, parts in found:
        return Relation(oid, schema, relation, kind, watched, tuple(parts) if len(parts) > 1 else ())
    return None


def describe_missing(connection: Connection, address: PostgresAddress) -> tuple[str, str]:
    """Return what would be created, table or schema, and a hint at similar names."""
    tables = connection.query(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname !~ '^pg_' "
        f"AND n.nspname <> 'information_schema' AND c.relname NOT IN ({OWN_TABLES})"
    )
    schemas = [
        name
        for (name,) in connection.query(
            "SELECT nspname::text FROM pg_catalog.pg_namespace "
            "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
    ]
    schema = address.schema or connection.query_value("SELECT current_schema()::text") or ""
    if address.schema and schema not in schemas:
        alike = hint("schema", similar(schema, schemas))
        return f"schema {schema}", alike or hint("table", similar_tables(schema, address.table, tables))
    return f"table {qualified_name(address)}", hint("table", similar_tables(schema, address.table, tables))


class ColumnType(Struct, frozen=True):
    """A column of a relation on the server."""

    name: str
    base: str
    """Name of the type, empty for a user-defined one."""
    shown: str
    modifier: int
    text: bool
    required: bool
    computed: bool
    """The server computes it."""
    nullable: bool = True
    default: str | None = None
    """The expression of its default, or of its computed value."""
    collation: str | None = None
    """Null if it is that of the database."""
    nondeterministic: bool = False
    """Texts of different bytes may compare as equal."""
    is_domain: bool = False

    @property
    def duckdb_type(self) -> str | None:
        """The same type in DuckDB, null if there is none."""
        exact = self.base == "varchar" or self.modifier < 0
        return _TYPES.get(self.base) if exact else None

    @property
    def default_is_repeatable(self) -> bool:
        """Whether it has a default that may be evaluated twice."""
        return bool(self.default) and not self.computed and "nextval(" not in str(self.default)

    def cast(self, value: str) -> str:
        """Return a value cast to the column's type. A domain may forbid nulls, so nulls are not cast to one."""
        return (
            f"CASE WHEN {value} IS NOT NULL THEN {value}::{self.shown} END"
            if self.is_domain
            else f"{value}::{self.shown}"
        )

    def compared_column(self) -> Column:
        """Return the column as the comparison uses it."""
        dtype = self.duckdb_type
        return Column(
            name=self.name,
            dtype=dtype or "VARCHAR",
            required=self.required,
            shown=self.shown,
            max_length=self.modifier - 4 if self.base == "varchar" and self.modifier > 0 else None,
            cast_by_server=dtype is None,
            number=self.base == "numeric",
            null_becomes_default=not self.nullable and self.default is not None and not self.computed,
        )


def column_types(connection: Connection, relation: Relation) -> dict[str, ColumnType]:
    """Return column → its type on the server, in the order of the table."""
    serial = f"pg_get_serial_sequence({literal(relation.name)}, a.attname)"
    rows = connection.query(
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
    return {kind.name: _with_nullability(connection, kind) for kind in (ColumnType(*row) for row in rows)}


def _with_nullability(connection: Connection, kind: ColumnType) -> ColumnType:
    """Return the type with nulls allowed or not, which, for a domain, only the server can decide."""
    nullable = kind.nullable and (not kind.is_domain or _can_compute(connection, f"SELECT NULL::{kind.shown} IS NULL"))
    required = not nullable and kind.default is None and not kind.computed
    return replace(kind, nullable=nullable, required=required)


def _can_compute(connection: Connection, sql: str) -> bool:
    """Return whether the server can evaluate a query."""
    connection.execute("SAVEPOINT answer")
    try:
        connection.query(sql)
    except Interfered:
        raise
    except (ConnectorError, OSError):
        connection.execute("ROLLBACK TO SAVEPOINT answer")
        return False
    connection.execute("RELEASE SAVEPOINT answer")
    return True


def unique_columns(connection: Connection, relation: Relation) -> tuple[str, ...]:
    """Return the columns with a unique index of their own."""
    rows = connection.query(
        "SELECT DISTINCT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        f"WHERE i.indrelid = {relation.oid} AND i.indisunique AND i.indnkeyatts = 1 "
        "AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY 1"
    )
    return tuple(name for (name,) in rows)


def same_table(first: str, second: str) -> bool:
    """Return whether two addresses, however spelled, mean the same table or query, by asking the server.

    Raises ConfigError or ConnectorError.
    """
    a, b = parse_address(first), parse_address(second)
    if a.query or b.query:
        return a == b
    found = [_table_identity(address) for address in (a, b)]
    return found[0] is not None and found[0] == found[1]


def _table_identity(address: PostgresAddress) -> tuple[Any, ...] | None:
    """Return what identifies a table among all servers, null if it does not exist."""
    connection = connect(address)
    try:
        relation = find_relation(connection, address, address.table)
        server = "SELECT pg_postmaster_start_time()::text, oid::bigint FROM pg_catalog.pg_database"
        return (
            (*connection.query(f"{server} WHERE datname = current_database()")[0], relation.oid) if relation else None
        )
    finally:
        connection.close()


class Reference(Struct, frozen=True):
    """A foreign key that references the table."""

    table: str
    columns: tuple[str, ...]
    """The referenced columns."""
    exists: str
    """Whether a row references the row `t`, as SQL."""
    holds_changes: bool
    holds_deletes: bool


COLUMNS_OF: Final = (
    "(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest({}) WITH ORDINALITY k(num, n) "
    "JOIN pg_catalog.pg_attribute a ON a.attnum = k.num AND a.attrelid = {})"
)


def references_to(connection: Connection, relation: Relation) -> list[Reference]:
    """Return the foreign keys that reference a table and do not follow its changes (CASCADE, SET NULL, SET DEFAULT)."""
    found = []
    for schema, table, theirs, own, update, delete in connection.query(
        f"SELECT n.nspname::text, r.relname::text, {COLUMNS_OF.format('c.conkey', 'c.conrelid')}, "
        f"{COLUMNS_OF.format('c.confkey', 'c.confrelid')}, c.confupdtype IN ('a', 'r'), c.confdeltype IN ('a', 'r') "
        "FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace "
        f"WHERE c.confrelid = {relation.oid} AND c.contype = 'f' AND r.relkind IN ('r', 'p') AND NOT EXISTS "
        "(SELECT 1 FROM pg_catalog.pg_constraint p WHERE p.oid = c.conparentid AND p.confrelid = c.confrelid) "
        "ORDER BY 1, 2, c.conname"
    ):
        there = " AND ".join(f"r.{quoted(a)} = t.{quoted(b)}" for a, b in zip(theirs, own, strict=True))
        itself = "(r.tableoid, r.ctid) = (t.tableoid, t.ctid)"
        exists = f"EXISTS (SELECT 1 FROM {quoted(schema)}.{quoted(table)} r WHERE {there} AND NOT {itself})"
        found.append(Reference(table, tuple(own), exists, update, delete))
    return found
