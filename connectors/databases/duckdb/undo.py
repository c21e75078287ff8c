"""A DuckDB table of which a run is taken back, as `connectors/databases/undo_plan.py` compares it."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
from msgspec.structs import replace

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.before_images import image
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.before_images import kept_value
from tranship.connectors.databases.duckdb.compare import DuckDbComparedTable
from tranship.connectors.databases.duckdb.last_written import LastWritten
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import Column, MappedField, TableMapping


class DuckDbUndoneTable(DuckDbComparedTable):
    """The table, compared in place. `columns` are those that can be written."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        address: DuckDbAddress,
        request: WriteRequest,
        mapping: TableMapping,
        columns: Mapping[str, Column],
    ) -> None:
        super().__init__(connection, address, request, mapping)
        self._fillable = columns

    def image_type(self, column: str) -> str:
        """Return the column's own type."""
        return self._fillable[column].dtype

    def kept_value(self, column: str, value: str) -> str:
        """Return a value of a column in the form in which Parquet keeps it."""
        return kept_value(self._fillable[column].dtype, value)

    def restored_column(self, column: str) -> Column:
        """Return the column without its demands."""
        return replace(self._fillable[column], required=False, null_becomes_default=False)

    def load_written(self, values: Mapping[str, MappedField | str]) -> None:
        """Create `_written_values`, a view: `_survivors` has the run's records while it is used."""
        typed = {
            name: f"CAST({value if isinstance(value, str) else value.value} AS {self.image_type(name)})"
            for name, value in values.items()
        }
        written = "".join(f", {value} AS {image(name)}" for name, value in typed.items())
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW _written_values AS SELECT u.row{written} FROM _undone u "
            "JOIN _survivors s ON s._row = u.row"
        ).fetchall()

    def load_current(self) -> None:
        """Create `_now`, a view: only the columns that are compared are read."""
        values = "".join(f", t.{quoted(name)} AS {image(name)}" for name in self._fillable)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW _now AS SELECT f.n, f.target{values} FROM _found f "
            f"JOIN {self._exact} t ON t.rowid = f.target"
        ).fetchall()

    def load_last_written(self) -> None:
        """Create `_written`."""
        LastWritten(self._connection, self._address).load()

    def write_by(self, mapping: TableMapping, request: WriteRequest) -> None:
        """Check constraints for these records."""
        self._mapping, self._request = mapping, request

    def keep_referenced_rows(self) -> None:
        """Remove from `_gone` the rows that other rows reference."""
        self.keep_undeletable_rows()
