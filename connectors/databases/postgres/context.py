"""What comparison and write of one table share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.postgres.catalog import ColumnType, Relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.values import value_sent
from tranship.connectors.databases.table_mapping import (
    RUN,
    MappedField,
    TableMapping,
    literal,
    new_key,
)


@dataclass(frozen=True)
class WriteContext:
    """What plan and write share."""

    connection: Connection
    duck: duckdb.DuckDBPyConnection
    request: WriteRequest
    relation: Relation | None
    """Null where the table is made by this run."""
    mapping: TableMapping
    added: tuple[str, ...]
    """Columns that the table lacks and gets."""
    types: Mapping[str, ColumnType]
    """All columns of a table that is there."""

    @property
    def written_fields(self) -> tuple[MappedField, ...]:
        """What the source has and the table stores."""
        return tuple(mapped for mapped in self.mapping.fields if mapped.field in self.request.survivors.columns)


def new_row_values(context: WriteContext) -> dict[str, str]:
    """What a new row is given, column by column, as SQL of the comparison."""
    values = {context.mapping.key: new_key("s")} if context.mapping.key else {}
    values |= {mapped.column_name: value_sent(mapped) for mapped in context.written_fields}
    return values | ({RUN: literal(context.request.run_id)} if context.mapping.bookkeeping else {})
