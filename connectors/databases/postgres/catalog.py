"""What the server knows of tables, views and their columns: the queries of Postgres' own catalog."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.postgres.address import Address, parse
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.connection import Wire
from tranship.connectors.databases.table_mapping import Column, literal, quoted
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
"""Postgres' types that DuckDB has too; what a value becomes in any other is asked of the server."""


def spelled(address: Address) -> str:
    """The table as the address names it."""
    return f"{address.schema}.{address.table}" if address.schema else address.table


@dataclass(frozen=True)
class Relation:
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
        """The table, quoted, in its schema."""
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


def find_relation(wire: Wire, address: Address, table: str) -> Relation | None:
    """A table or view by its name; null if there is none."""
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
        return Relation(oid, schema, relation, kind, watched, tuple(parts) if len(parts) > 1 else ())
    return None


def missing(wire: Wire, address: Address) -> tuple[str, str]:
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
    return f"table {spelled(address)}", hint("table", similar_tables(schema, address.table, tables))


@dataclass(frozen=True)
class ColumnType:
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


def column_types(wire: Wire, relation: Relation) -> dict[str, ColumnType]:
    """Column → what the server knows of it, in the order of the table."""
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
    return {kind.name: _judged(wire, kind) for kind in (ColumnType(*row) for row in rows)}


def _judged(wire: Wire, kind: ColumnType) -> ColumnType:
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


def unique_columns(wire: Wire, relation: Relation) -> tuple[str, ...]:
    """Columns in which no value may stand twice."""
    rows = wire.rows(
        "SELECT DISTINCT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        f"WHERE i.indrelid = {relation.oid} AND i.indisunique AND i.indnkeyatts = 1 "
        "AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY 1"
    )
    return tuple(name for (name,) in rows)


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
        relation = find_relation(wire, address, address.table)
        server = "SELECT pg_postmaster_start_time()::text, oid::bigint FROM pg_catalog.pg_database"
        return (*wire.rows(f"{server} WHERE datname = current_database()")[0], relation.oid) if relation else None
    finally:
        wire.close()


@dataclass(frozen=True)
class Reference:
    """A foreign key of another row that leads to rows of the table."""

    table: str
    columns: tuple[str, ...]
    """Those of ours that it refers to."""
    exists: str
    """Whether one refers to the row `t`."""
    holds_changes: bool
    holds_deletes: bool


COLUMNS_OF: Final = (
    "(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest({}) WITH ORDINALITY k(num, n) "
    "JOIN pg_catalog.pg_attribute a ON a.attnum = k.num AND a.attrelid = {})"
)


def references_to(wire: Wire, relation: Relation) -> list[Reference]:
    """The foreign keys that lead to a table and do not simply follow its rows (CASCADE, SET NULL, SET DEFAULT)."""
    found = []
    for schema, table, theirs, own, update, delete in wire.rows(
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
