"""The watermarks of sources that are read into a Postgres table."""

from __future__ import annotations

import dataclasses

from tranship.connectors.contract import Watermark, further
from tranship.connectors.databases import watermarks
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.catalog import find_relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.watermarks import STATE
from tranship.connectors.errors import Refused


class Watermarks:
    """The rows of `_tranship_state` about one table, in the transaction of a connection."""

    def __init__(self, connection: Connection, schema: str, table: str) -> None:
        self._connection, self._schema, self._table = connection, schema, table
        self._name = f"{quoted(schema)}.{quoted(STATE)}"

    def _is_there(self) -> bool:
        address = PostgresAddress("", self._schema, STATE, None, "")
        return find_relation(self._connection, address, STATE) is not None

    def read(self) -> list[Watermark]:
        """Return all."""
        if not self._is_there():
            return []
        return watermarks.of_rows(self._connection.query(watermarks.select(self._name, self._table)))

    def advance(self, new: Watermark, unwritable: str = "") -> None:
        """Keep a watermark, unless there is one that is further. `unwritable` are characters that the server's encoding
        lacks.
        """
        known = next((mark for mark in self.read() if mark.reading == new.reading), None)
        lacked = dict.fromkeys(map(ord, unwritable), "?")
        new = dataclasses.replace(new, source=new.source.translate(lacked), cursor=new.cursor.translate(lacked))
        self.replace(known, further(known, new))

    def replace(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one; null for `old` adds, null for `new` removes."""
        if not self._is_there():
            self._create()
        for statement in watermarks.replace(self._name, self._table, old, new):
            self._connection.execute(statement)

    def _create(self) -> None:
        schema = literal(self._schema)
        if not self._connection.query_value(f"SELECT has_schema_privilege({schema}, 'CREATE')"):
            user = quoted(self._connection.query_value("SELECT current_user::text"))
            raise Refused(
                f"{self._name}: does not exist, and this user may not create it; it keeps how far a source was read. "
                f"Ask the owner to run: GRANT CREATE ON SCHEMA {quoted(self._schema)} TO {user}. Or leave out --since."
            )
        # Two runs that create it at once would fail.
        lock = f"hashtextextended({literal(f'tranship ledger:{self._schema}')}, 0)"
        self._connection.query(f"SELECT pg_advisory_xact_lock({lock}) IS NULL")
        self._connection.execute(watermarks.create(self._name))
