"""The SQL that deletes a customer from a table in Postgres."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from contextlib import closing

from tranship.connectors.databases import erasure
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.errors import ConfigError


def script(spec: str, emails: Collection[str], ids: Collection[str]) -> str:
    """Return the statements. Raises ConfigError and ConnectorError."""
    address = parse_address(spec)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    with closing(connect(address)) as connection:
        schema = address.schema or connection.query_value("SELECT current_schema()::text")
        names = ", ".join(map(literal, erasure.tables_of(address.table)))
        for table, column, kind in connection.query(
            "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns "
            f"WHERE table_schema = {literal(schema)} AND table_name IN ({names})"
        ):
            found[table][column] = kind
    if address.table not in found:
        raise ConfigError(f"{address.shown}: there is no table {schema}.{address.table}, or this user may not see it.")
    return erasure.script(quoted(schema), address.table, found, emails, ids)
