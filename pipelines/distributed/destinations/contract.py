"""The types that the flow on an engine and its destinations share: as `connectors/contract.py`, with frames instead of
files.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl
from msgspec import Struct, field

from tranship.connectors.contract import Mode, Older, Outcomes
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.schemas.customer import INSTANT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Request(Struct, frozen=True):
    """The customers of a run, and how they are written to a destination.

    `customers` has `_row` (unique), `_source`, `_line`, `_email_blocked` and the columns of `schemas.customer.COLUMNS`.
    It is read more than once: it is a table that is kept. The destination keeps tables of its own in the folder of
    `tables`.
    """

    run_id: str
    started: datetime
    source: str
    """The source, for the ledger of a table."""
    session: SparkSession
    customers: DataFrame
    count: int
    """The number of customers."""
    columns: tuple[str, ...]
    """The fields that the source has; other fields are left as they are in the destination."""
    mode: Mode
    tables: WorkTables
    ledger: Mapping[str, int]
    """The counts that are known before the plan: read, skipped, rejected, merged."""
    workspace: Path
    """A private folder of this machine for intermediate files."""
    sparse: tuple[str, ...] = ()
    """Those of `columns` in which a null has no meaning, because only some records have them."""
    older: Older = "skip"
    """What is done with a record whose `updated_at` is earlier than that of the row it would change."""
    overwrite_nulls: bool = False
    """Whether a null in a column of the source erases the destination's value."""
    evolve: bool = False
    """Whether columns that an existing table lacks are added."""
    hard_delete: bool = False
    """Whether mirror deletes what the source no longer has, instead of marking it."""
    present: DataFrame | None = None
    """The keys (`pipelines.present.PRESENT`) of records that were read and are not among the customers. Mirror needs
    them: it deletes none of these customers, and none at all if one of the records cannot be identified."""
    record_changes: bool = True
    """Whether the changes of a table of a database are recorded beside it, in the transaction of the write."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Field → the column of a table in which it is stored, as the user named them."""

    def fresh_tables(self) -> WorkTables:
        """Return tables for one comparison, apart from those of an earlier attempt."""
        return WorkTables(self.session, f"{self.tables.folder}/destination-{uuid.uuid4().hex[:8]}")

    def is_erasable(self, name: str) -> bool:
        """Return whether a null erases a field. It never erases an id, which identifies the customer."""
        return self.overwrite_nulls and name not in ("external_id", *self.sparse)


LEFT_OUT: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "_row": pl.Int64,
    "action": pl.String,
    "reason": pl.String,
}
STALE: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **{"source": pl.String, "line": pl.Int64, "external_id": pl.String, "email": pl.String},
    **{"updated_at": INSTANT, "destination_updated_at": INSTANT},
}
"""The columns of `Planned.left_out` and `Planned.stale`."""


class Planned(Struct, frozen=True):
    """What a write would do; counts and notes are those of `connectors.contract.Plan`.

    `left_out` has the customers that cannot be written: their action (refused, ambiguous) and reason (null if
    ambiguous). `stale` lists the records that are older than the rows they would change.
    """

    counts: Mapping[str, int]
    """create, update, unchanged, stale, refused, ambiguous, delete."""
    left_out: DataFrame
    stale: DataFrame
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The reasons why customers are refused."""
    changed_fields: Mapping[str, int] = field(default_factory=dict)
    existing: int = 0
    notes: tuple[str, ...] = ()
    withheld: int = 0
    unidentified: tuple[str, ...] = ()


class Destination(Protocol):
    """A table, which is written as a whole or not at all."""

    def plan(self, request: Request) -> Planned:
        """Compare the customers with the table. Nothing is written to it.

        It may be called again after `errors.Interfered`.
        """
        ...

    def apply(self, request: Request, planned: Planned, /) -> Outcomes | None:
        """Carry out the plan that the same object made; return the outcomes if they can differ from it. Raises
        Interfered if the table has changed since the plan was made.
        """
        ...

    def applied(self, run_id: str) -> bool:
        """Return whether this run's write is already committed (its process died between the commit and the report)."""
        ...

    def close(self) -> None:
        """Close connections; what is not committed is undone."""
        ...
