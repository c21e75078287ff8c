"""The watermarks of sources that are read into a DuckDB table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from tranship.connectors.contract import FileMark, FilesRead, Watermark, further
from tranship.connectors.databases import watermarks
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import table_exists
from tranship.connectors.databases.duckdb.error_messages import message_of
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.watermarks import FILES, STATE
from tranship.connectors.errors import ConnectorError
from tranship.connectors.local_failures import local_failure


class Watermarks:
    """The rows of `_tranship_state` about one table, over an open connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> None:
        self._connection, self._address = connection, address
        self._name, self._table = f"{address.place}.{quoted(STATE)}", address.table.lower()
        self._files = f"{address.place}.{quoted(FILES)}"

    def read(self) -> list[Watermark]:
        """Return all."""
        if not table_exists(self._connection, self._address, STATE):
            return []
        with self._in_words(STATE):
            rows = self._connection.execute(watermarks.select(self._name, self._table)).fetchall()
        return watermarks.of_rows(rows)

    def advance(self, new: Watermark) -> None:
        """Keep a watermark, unless there is one that is further."""
        known = next((mark for mark in self.read() if mark.reading == new.reading), None)
        self.replace(known, further(known, new))

    def replace(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one; null for `old` adds, null for `new` removes."""
        with self._in_words(STATE):
            self._connection.execute(watermarks.create(self._name)).fetchall()
            for statement in watermarks.replace(self._name, self._table, old, new):
                self._connection.execute(statement).fetchall()

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read."""
        if not table_exists(self._connection, self._address, FILES):
            return []
        with self._in_words(FILES):
            query = watermarks.select_files(self._files, self._table, reading)
            rows = self._connection.execute(query).fetchall()
        return watermarks.files_of_rows(rows)

    def keep_files(self, files: FilesRead, run_id: str) -> None:
        """Keep the files that a run has read."""
        with self._in_words(FILES):
            self._connection.execute(watermarks.create_files(self._files)).fetchall()
            for statement in watermarks.replace_files(self._files, self._table, files, run_id):
                self._connection.execute(statement).fetchall()

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all; return how many there were."""
        if not table_exists(self._connection, self._address, FILES):
            return 0
        count, remove = watermarks.forget_files(self._files, self._table, source)
        with self._in_words(FILES):
            found = self._connection.execute(count).fetchall()[0][0]
            self._connection.execute(remove).fetchall()
        return int(found)

    @contextmanager
    def _in_words(self, table: str) -> Iterator[None]:
        """Raise ConnectorError if the table has other columns than ours."""
        try:
            yield
        except duckdb.Error as error:
            raise local_failure(error, self._address.path) or ConnectorError(
                f"{self._address.path}: {table} cannot be read or written ({message_of(error)})."
            ) from None
