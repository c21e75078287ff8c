"""The state that comparison and write of one table share."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
from msgspec import Struct

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.postgres.catalog import ColumnType, Relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.values import value_sent
from tranship.connectors.databases.quoting import literal
from tranship.connectors.databases.table_mapping import RUN, MappedField, TableMapping, new_key


class WriteContext(Struct, frozen=True):
    """The state that plan and write share."""

    connection: Connection
    duck: duckdb.DuckDBPyConnection
    request: WriteRequest
    relation: Relation | None
    """Null if this run creates the table."""
    mapping: TableMapping
    added: tuple[str, ...]
    """Columns that are added to the table."""
    types: Mapping[str, ColumnType]
    """All columns of an existing table."""

    @property
    def written_fields(self) -> tuple[MappedField, ...]:
        """The fields that the source has and the table stores."""
        return tuple(mapped for mapped in self.mapping.fields if mapped.field in self.request.survivors.columns)


def new_row_values(context: WriteContext) -> dict[str, str]:
    """Return column → its value in a new row, as SQL of the comparison."""
    values = {context.mapping.key: new_key("s")} if context.mapping.key else {}
    values |= {mapped.column_name: value_sent(mapped) for mapped in context.written_fields}
    return values | ({RUN: literal(context.request.run_id)} if context.mapping.bookkeeping else {})
