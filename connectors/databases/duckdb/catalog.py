"""The definition of a table in DuckDB: its columns, defaults, collations, constraints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import duckdb

from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.own_tables import OWN_TABLES
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, TYPE_OF, Column, TableMapping, map_table
from tranship.connectors.errors import ConfigError
from tranship.connectors.existing import hint, similar, similar_tables


def describe_missing(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> tuple[str, str]:
    """Return the table or schema that a file lacks, and a hint at similar names."""
    schema, table = address.schema, address.table
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? "
        f"AND table_name NOT IN ({OWN_TABLES}) "
        "UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal",
        [address.database, address.database],
    ).fetchall()
    schemas = [
        name
        for (name,) in connection.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? AND NOT internal OR schema_name = 'main'",
            [address.database],
        ).fetchall()
    ]
    if schema.lower() not in map(str.lower, schemas):
        alike = hint("schema", similar(schema, schemas)) or hint("table", similar_tables(schema, table, tables))
        return f"schema {schema}", alike
    return f"table {table}", hint("table", similar_tables(schema, table, tables))


def look_up(
    connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, what: str, of: str, table: str
) -> list[tuple[Any, ...]]:
    """Query DuckDB's catalog functions about one table. Like DuckDB, ignore the case of names."""
    named = "view_name" if of == "duckdb_views()" else "table_name"
    return connection.execute(
        f"SELECT {what} FROM {of} WHERE database_name = ? AND lower(schema_name) = lower(?) "
        f"AND lower({named}) = lower(?)",
        [address.database, address.schema, table],
    ).fetchall()


def column_defaults(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> dict[str, str]:
    """Return column → the expression of its default."""
    what = "column_name, column_default"
    found = look_up(connection, address, f"{what}, is_generated", "duckdb_columns()", address.table)
    return {name: default for name, default, computed in found if default is not None and not computed}


def column_collations(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> dict[str, str]:
    """Return column → its collation, which only the CREATE statement of a table shows."""
    [(statement,)] = look_up(connection, address, "sql", "duckdb_tables()", address.table)
    if " COLLATE " not in statement.upper():
        return {}
    found = {}
    for name, dtype in look_up(connection, address, "column_name, data_type", "duckdb_columns()", address.table):
        if dtype == "VARCHAR":
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE _collated AS SELECT {quoted(name)} FROM {address.name} LIMIT 0"
            ).fetchall()
            [(made,)] = connection.execute("SELECT sql FROM duckdb_tables() WHERE table_name = '_collated'").fetchall()
            if collated := re.search(r" COLLATE ([\w.]+)\);$", made, re.IGNORECASE):
                found[name] = collated[1]
    return found


def references_to(
    connection: duckdb.DuckDBPyConnection, address: DuckDbAddress
) -> list[tuple[str, list[str], list[str]]]:
    """Return the tables that reference this one: their name, their columns and the referenced columns."""
    return connection.execute(
        "SELECT table_name, constraint_column_names, referenced_column_names FROM duckdb_constraints() "
        "WHERE constraint_type = 'FOREIGN KEY' AND database_name = ? AND lower(schema_name) = lower(?) "
        "AND lower(referenced_table) = lower(?)",
        [address.database, address.schema, address.table],
    ).fetchall()


def replaced_with(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> set[str]:
    """Return the columns that DuckDB updates by deleting and inserting the row: indexed and nested ones."""
    columns = look_up(connection, address, "column_name, data_type", "duckdb_columns()", address.table)
    constraints = look_up(
        connection, address, "constraint_type, constraint_column_names", "duckdb_constraints()", address.table
    )
    indexed = {
        name for kind, names in constraints if kind in ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY") for name in names
    }
    indexes = " ".join(sql for (sql,) in look_up(connection, address, "sql", "duckdb_indexes()", address.table))
    named = {name for name, _ in columns if name.lower() in indexes.lower()}
    nested = {name for name, dtype in columns if dtype.endswith("]") or dtype.startswith(("STRUCT(", "MAP("))}
    return indexed | named | nested


def type_of(column: str) -> str:
    """Return the type of a column in a created table."""
    return {RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(column) or TYPE_OF[column]


def table_exists(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, table: str) -> bool:
    """Return whether a table exists in the address's schema. Raises ConfigError if it is a view."""
    if look_up(connection, address, "1", "duckdb_views()", table):
        raise ConfigError(f"{address.title}: is a view; it can be read, not written. Name the underlying table.")
    return bool(look_up(connection, address, "1", "duckdb_tables()", table))


def existing_columns(
    connection: duckdb.DuckDBPyConnection, address: DuckDbAddress
) -> tuple[dict[str, Column], list[str]]:
    """Return the table's columns, and the names of those that it computes itself, which are not among them."""
    rows = look_up(
        connection,
        address,
        "column_name, data_type, NOT is_nullable, column_default IS NOT NULL, is_generated",
        "duckdb_columns()",
        address.table,
    )
    hiding = next((row[0] for row in rows if row[0].lower() == "rowid"), None)
    if hiding:
        raise ConfigError(f"{address.title}: column {hiding} hides DuckDB's own rowid. Rename it.")
    columns = {
        name: Column(name, dtype, required=must and not given, null_becomes_default=must and given)
        for name, dtype, must, given, computed in rows
        if not computed
    }
    return columns, [row[0] for row in rows if row[-1]]


def map_existing_table(
    connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, chosen: Mapping[str, str]
) -> TableMapping:
    """Return how an existing table is mapped, given field → column for those that the user has chosen. Raises
    ConfigError as `map_table` does.
    """
    columns, computed = existing_columns(connection, address)
    return map_table(address.title, columns, unique_columns(connection, address), computed, chosen)


def unique_columns(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> tuple[str, ...]:
    """Return the columns in which no value may be repeated."""
    rows = look_up(
        connection, address, "constraint_type, constraint_column_names", "duckdb_constraints()", address.table
    )
    single = (names for kind, names in rows if kind in ("UNIQUE", "PRIMARY KEY") and len(names) == 1)
    return tuple(dict.fromkeys(name for (name,) in single))
