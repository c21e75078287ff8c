"""The SQL that deletes a customer from a table in DuckDB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from contextlib import closing

from tranship.connectors.addresses import redacted
from tranship.connectors.databases import erasure
from tranship.connectors.databases.duckdb.address import parse_address
from tranship.connectors.databases.duckdb.connection import connect
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.errors import ConfigError


def script(spec: str, emails: Collection[str], ids: Collection[str]) -> str:
    """Return the statements. Raises ConfigError, and Busy if another process has the file open."""
    address = parse_address(spec)
    if not address.path.exists():
        raise ConfigError(f"{redacted(spec)}: the database file {address.path} does not exist.")
    connection, address = connect(address, read_only=True)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    with closing(connection):
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            f"WHERE database_name = {literal(address.database)} AND schema_name = {literal(address.schema)}"
        ).fetchall()
    for table, column, kind in rows:
        found[table][column] = kind
    # A table is found in any case, and is named as it is.
    table = next((name for name in found if name.lower() == address.table.lower()), address.table)
    if table not in found:
        raise ConfigError(f"{redacted(spec)}: there is no table {address.table} in {address.path}.")
    return erasure.script(quoted(address.schema), table, found, emails, ids)
