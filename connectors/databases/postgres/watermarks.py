"""The watermarks of sources that are read into a Postgres table."""

from __future__ import annotations

from msgspec.structs import replace

from tranship.connectors.contract import FileMark, FilesRead, Watermark, further
from tranship.connectors.databases import watermarks
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.catalog import find_relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.watermarks import FILES, STATE
from tranship.connectors.errors import Refused


class Watermarks:
    """The rows of `_tranship_state` about one table, in the transaction of a connection."""

    def __init__(self, connection: Connection, schema: str, table: str) -> None:
        self._connection, self._schema, self._table = connection, schema, table
        self._name, self._files = (f"{quoted(schema)}.{quoted(name)}" for name in (STATE, FILES))

    def _is_there(self, table: str) -> bool:
        address = PostgresAddress("", self._schema, table, None, "")
        return find_relation(self._connection, address, table) is not None

    def read(self) -> list[Watermark]:
        """Return all watermarks."""
        if not self._is_there(STATE):
            return []
        return watermarks.of_rows(self._connection.query(watermarks.select(self._name, self._table)))

    def advance(self, new: Watermark, unwritable: str = "") -> None:
        """Keep a watermark, unless there is one that is further. `unwritable` are characters that the server's encoding
        lacks.
        """
        known = next((mark for mark in self.read() if mark.reading == new.reading), None)
        lacked = dict.fromkeys(map(ord, unwritable), "?")
        new = replace(new, source=new.source.translate(lacked), cursor=new.cursor.translate(lacked))
        self.replace(known, further(known, new))

    def replace(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace a watermark; null for `old` adds, null for `new` removes."""
        self._create(STATE, watermarks.create(self._name))
        for statement in watermarks.replace(self._name, self._table, old, new):
            self._connection.execute(statement)

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read."""
        if not self._is_there(FILES):
            return []
        query = watermarks.select_files(self._files, self._table, reading)
        return watermarks.files_of_rows(self._connection.query(query))

    def keep_files(self, files: FilesRead, run_id: str) -> None:
        """Keep the files that a run has read."""
        self._create(FILES, watermarks.create_files(self._files))
        for statement in watermarks.replace_files(self._files, self._table, files, run_id):
            self._connection.execute(statement)

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all; return how many there were."""
        if not self._is_there(FILES):
            return 0
        count, remove = watermarks.forget_files(self._files, self._table, source)
        found = self._connection.query_value(count)
        self._connection.execute(remove)
        return int(found)

    def _create(self, table: str, statement: str) -> None:
        if self._is_there(table):
            return
        schema = literal(self._schema)
        if not self._connection.query_value(f"SELECT has_schema_privilege({schema}, 'CREATE')"):
            user = quoted(self._connection.query_value("SELECT current_user::text"))
            raise Refused(
                f"{quoted(self._schema)}.{table}: does not exist, and this user may not create it; it keeps how far a "
                f"source was read. Ask the owner to run: GRANT CREATE ON SCHEMA {quoted(self._schema)} TO {user}. Or "
                "leave out --since and --new-files."
            )
        # Two runs that create it at once would fail.
        lock = f"hashtextextended({literal(f'tranship ledger:{self._schema}')}, 0)"
        self._connection.query(f"SELECT pg_advisory_xact_lock({lock}) IS NULL")
        self._connection.execute(statement)
