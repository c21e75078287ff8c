"""The values of `updated_at` that were last written into a table that sets this column by itself."""

from __future__ import annotations

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import (
    look_up,
    table_exists,
)
from tranship.connectors.databases.quoting import literal
from tranship.connectors.databases.table_mapping import WRITTEN, TableMapping
from tranship.connectors.databases.written_times import compute_written_times


class LastWritten:
    """The table `_tranship_written` beside a table whose `updated_at` has a default."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> None:
        self._connection, self._address = connection, address

    def is_needed(self, mapping: TableMapping) -> bool:
        """Return whether the table may set `updated_at` by itself, now or when it was last written."""
        mapped = mapping.mapped("updated_at")
        if mapped is None:
            return False
        rows = look_up(
            self._connection,
            self._address,
            "column_name, column_default IS NOT NULL",
            "duckdb_columns()",
            self._address.table,
        )
        # Also if values were kept while there was a default: the table still has the times of that default.
        return dict(rows)[mapped.column_name] or self.load() > 0

    def load(self) -> int:
        """Create `_written` with the values last written to the table; return the number of customers."""
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)"
        ).fetchall()
        if not table_exists(self._connection, self._address, WRITTEN):
            return 0
        found = self._connection.execute(
            f"INSERT INTO _written SELECT customer, updated_at FROM {self._address.written_table} WHERE table_name = ?",
            [self._address.table.lower()],
        ).fetchall()
        return int(found[0][0])

    def write(self, request: WriteRequest, mapping: TableMapping) -> None:
        """Record the values that the plan writes."""
        compute_written_times(self._connection, mapping, request)
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.written_table} (table_name VARCHAR NOT NULL, "
            "customer VARCHAR NOT NULL, updated_at TIMESTAMP WITH TIME ZONE)"
        ).fetchall()
        table = literal(self._address.table.lower())
        self._connection.execute(
            f"DELETE FROM {self._address.written_table} WHERE table_name = {table} "
            "AND customer IN (SELECT customer FROM _wrote)"
        ).fetchall()
        self._connection.execute(
            f"INSERT INTO {self._address.written_table} SELECT {table}, customer, updated_at FROM _wrote WHERE kept"
        ).fetchall()
