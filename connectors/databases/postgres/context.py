"""What comparison and write of one table share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.postgres.catalog import ColumnType, Relation
from tranship.connectors.databases.postgres.connection import Wire
from tranship.connectors.databases.postgres.values import sent_value
from tranship.connectors.databases.table_mapping import (
    RUN,
    Stored,
    Target,
    literal,
    new_key,
)


@dataclass(frozen=True)
class Work:
    """What plan and write share."""

    wire: Wire
    bench: duckdb.DuckDBPyConnection
    load: WriteRequest
    relation: Relation | None
    """Null where the table is made by this run."""
    target: Target
    added: tuple[str, ...]
    """Columns that the table lacks and gets."""
    types: Mapping[str, ColumnType]
    """All columns of a table that is there."""

    @property
    def brought(self) -> tuple[Stored, ...]:
        """What the source has and the table stores."""
        return tuple(at for at in self.target.stored if at.field in self.load.survivors.columns)


def new_row(work: Work) -> dict[str, str]:
    """What a new row is given, column by column, as SQL of the comparison."""
    values = {work.target.key: new_key("s")} if work.target.key else {}
    values |= {at.column: sent_value(at) for at in work.brought}
    return values | ({RUN: literal(work.load.run_id)} if work.target.bookkeeping else {})
