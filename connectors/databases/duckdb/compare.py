"""A DuckDB table, compared in place, as `connectors/databases/diff.py` compares it with the survivors."""

from __future__ import annotations

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.deletes import still_referenced
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import column_collations, references_to
from tranship.connectors.databases.duckdb.constraints import DuckDbConstraints
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import TableMapping


class DuckDbComparedTable:
    """The table, compared in place; texts are compared byte by byte, whatever their collation."""

    row_id = "t.rowid"

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        address: DuckDbAddress,
        request: WriteRequest,
        mapping: TableMapping,
    ) -> None:
        self._connection, self._address, self._request, self._mapping = connection, address, request, mapping
        self._collations = column_collations(connection, address)
        exact = ", ".join(f"{quoted(name)} COLLATE c AS {quoted(name)}" for name in self._collations)
        self._exact = f"(SELECT * REPLACE ({exact}), rowid FROM {address.name})" if exact else address.name
        self._constraints_to_check: DuckDbConstraints | None = None

    def load_survivors(self) -> None:
        """Create `_survivors`."""
        create_survivors_view(self._connection, self._request)

    def load_table(self, select: str, joined: str) -> None:
        """Create `_table`."""
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM {self._exact} t {joined}"
        ).fetchall()

    def undecided_rows(self) -> str:
        """Return the relation with the rows that `_plan` has not decided on."""
        return self._exact

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` the records that would violate a constraint."""
        if self._constraints_to_check is None:
            self._constraints_to_check = DuckDbConstraints(
                self._connection, self._address, self._request, self._mapping, self._collations
            )
        return self._constraints_to_check.refuse_violations(alone=alone)

    def keep_undeletable_rows(self) -> list[tuple[int, str]]:
        """Remove from `_gone` the rows that other rows reference."""
        if not self._request.hard_delete:
            return []
        kept = []
        for table, their, own in references_to(self._connection, self._address):
            pairs = zip(own, their, strict=True)
            there = " AND ".join(f"t.{quoted(mine)} = r.{quoted(theirs)}" for mine, theirs in pairs)
            done = self._connection.execute(
                f"DELETE FROM _gone WHERE target IN (SELECT t.rowid FROM {self._address.name} t WHERE EXISTS "
                f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there}))"
            ).fetchall()
            count = int(done[0][0])
            kept += [(count, still_referenced(table, count))] if count else []
        return kept
