"""A table of which a run is taken back: what `undo_plan.py` asks of it, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.comparison import ComparedTable
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import Column, MappedField, TableMapping, stored_as_column


class UndoneTable(ComparedTable, Protocol):
    """The table of which a run is taken back."""

    def image_type(self, column: str) -> str:
        """Return the type of a column in `_old`, `_new` and `_now`."""
        ...

    def kept_value(self, column: str, value: str) -> str:
        """Return a value of a column in the form in which Parquet keeps it, as SQL."""
        ...

    def restored_column(self, column: str) -> Column:
        """Return a column as an undo writes it: without demands that a value which it had before may not meet."""
        ...

    def load_current(self) -> None:
        """Create `_now`: n, target and the columns of the rows in `_found` (n, target)."""
        ...

    def load_written(self, values: Mapping[str, MappedField | str]) -> None:
        """Create `_written_values` from the run's records `s` in `_survivors`: row, and each column as `=<name>`, given
        by its field or as SQL, as the table stores it. `_now` is there.
        """
        ...

    def load_last_written(self) -> None:
        """Create `_written`: the times in `_tranship_written`."""
        ...

    def write_by(self, mapping: TableMapping, request: WriteRequest) -> None:
        """Check constraints for a write of these records by this mapping from now on."""
        ...

    def keep_referenced_rows(self) -> None:
        """Remove from `_gone` the rows that other rows reference, or that cannot be deleted."""
        ...


class RestoredField(MappedField, frozen=True):
    """A column that an undo writes; `field` is its name. The records have its value as the table stores it."""

    @property
    def value(self) -> str:
        """The value of a record, as SQL."""
        return f"CAST(s.{quoted(stored_as_column(self.field))} AS {self.column.dtype})"

    @property
    def fits_always(self) -> bool:
        """It was in the column before."""
        return True

    def erasable(self, request: WriteRequest) -> bool:  # noqa: ARG002
        """A null is restored like any value."""
        return True


class RestoredTable(TableMapping, frozen=True):
    """The mapping of an undo: its fields are the columns of the table, bookkeeping included."""

    @property
    def survivor_external_id(self) -> str:
        """The external id of a record."""
        return "s.external_id"

    @property
    def has_id(self) -> bool:
        """Records have the external id, whatever its column."""
        return True
