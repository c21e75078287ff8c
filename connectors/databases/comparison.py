"""Objects that the steps of a comparison share: the connection, the table, and the statements on `_plan`.

The steps work on temporary tables of one DuckDB connection. `_survivors` has the survivors, `_table` keys and hashes of
the rows, and `_plan` one line per survivor: row (UBIGINT), target (BIGINT, the id of the matching row, null for a new
customer), action (null while undecided), reason (why refused, else null), changed (list of the fields that differ) and
same (whether the hashes of all compared columns are equal). `_unsure` lists rows that a survivor may match, and `_mail`
pairs of survivor and row with the same e-mail.
"""

from __future__ import annotations

from typing import Protocol

import duckdb
from msgspec import Struct

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.quoting import literal
from tranship.connectors.databases.table_mapping import MappedField, TableMapping, new_key


class ComparedTable(Protocol):
    """The table with which survivors are compared, as relations of the connection that compares."""

    row_id: str
    """The id of a row `t`: a BIGINT, as SQL."""

    def load_survivors(self) -> None:
        """Create `_survivors`: the survivors, with values that only the server can convert in `_as_<field>`."""
        ...

    def load_table(self, select: str, joined: str) -> None:
        """Create `_table`, a view or table of `SELECT {select} FROM <the table> t {joined}`; packed columns are one
        column.
        """
        ...

    def undecided_rows(self) -> str:
        """Return a relation with the rows that `_plan` has not decided on, in the table's own columns, with `row_id`.

        After this call, `_as_<field>` is exact for these rows.
        """
        ...

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` the creates and updates that would violate a constraint; return their number.

        `alone` selects the constraints that concern one row, otherwise those between rows.
        """
        ...

    def keep_undeletable_rows(self) -> list[tuple[int, str]]:
        """Remove from `_gone` the rows that cannot be deleted, such as rows that other rows reference.

        Return the number of rows removed for each reason, with a note for people.
        """
        ...


class Comparison(Struct, frozen=True):
    """One comparison of survivors with a table."""

    connection: duckdb.DuckDBPyConnection
    table: ComparedTable
    mapping: TableMapping
    request: WriteRequest

    @property
    def compared(self) -> list[MappedField]:
        """The fields that the source has and the table stores."""
        return [mapped for mapped in self.mapping.fields if mapped.field in self.request.survivors.columns]

    def value(self, sql: str) -> int:
        """Return the one number that a query selects."""
        return int(self.connection.execute(sql).fetchall()[0][0])

    def execute(self, sql: str) -> int:
        """Run a statement; return the number of rows of an INSERT, UPDATE or DELETE."""
        found = self.connection.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def refuse(self, where: str, reason: str) -> None:
        """Refuse the undecided survivors to which a condition on `_plan` applies."""
        self.execute(
            f"UPDATE _plan SET action = 'refused', reason = {literal(reason)} WHERE action IS NULL AND {where}"
        )

    def unique_values(self) -> dict[str, str]:
        """Return unique column → the survivor's value for it."""
        mapping = self.mapping
        own = [] if mapping.has_id else ["email"]
        found = {
            mapped.column_name: mapped.value
            for mapped in mapping.fields
            if mapped.column_name in mapping.unique
            or mapped.field in own
            or (mapped.field == "external_id" and mapped.column.dtype != "VARCHAR")
        }
        return found | ({mapping.key: f"CASE WHEN p.target IS NULL THEN {new_key('s')} END"} if mapping.key else {})


def unique_column(column: str) -> str:
    """Return the column of `_table` with the values of a unique column."""
    return f"_at_{column}"
