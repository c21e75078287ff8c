"""The watermarks of sources that are read into a DuckDB table."""

from __future__ import annotations

import duckdb

from tranship.connectors.contract import Watermark, further
from tranship.connectors.databases import watermarks
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import table_exists
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.watermarks import STATE


class Watermarks:
    """The rows of `_tranship_state` about one table, over an open connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> None:
        self._connection, self._address = connection, address
        self._name, self._table = f"{address.place}.{quoted(STATE)}", address.table.lower()

    def read(self) -> list[Watermark]:
        """Return all."""
        if not table_exists(self._connection, self._address, STATE):
            return []
        return watermarks.of_rows(self._connection.execute(watermarks.select(self._name, self._table)).fetchall())

    def advance(self, new: Watermark) -> None:
        """Keep a watermark, unless there is one that is further."""
        known = next((mark for mark in self.read() if mark.reading == new.reading), None)
        self.replace(known, further(known, new))

    def replace(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one; null for `old` adds, null for `new` removes."""
        self._connection.execute(watermarks.create(self._name)).fetchall()
        for statement in watermarks.replace(self._name, self._table, old, new):
            self._connection.execute(statement).fetchall()
