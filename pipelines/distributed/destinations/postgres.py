"""A Postgres table as a destination of an engine: `postgresql://user@host:5432/db?table=billing.customers`.

The tasks copy the customers to the server side by side, into a staging table
(`connectors/databases/postgres/staging.py`). The driver takes them from there to a folder of its own, and everything
else is what one machine does: the same plan and the same write, in one transaction.

The address reaches the tasks within the function that they call, which engines neither show nor log. The password that
this process has from its environment is a part of it, since other machines have another environment.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace
from pyspark.errors import PySparkException
from pyspark.sql import functions as fn

from tranship.connectors import errors
from tranship.connectors.contract import Destination, Outcomes, Plan, Survivors, WriteRequest
from tranship.connectors.databases.diff import stale_file
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.postgres.staging import Staging, StagingPlace, copy_part
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.destinations.contract import LEFT_OUT, STALE, Planned, Request
from tranship.pipelines.present import PRESENT
from tranship.schemas.counted import counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FOLDER: Final = "taken"
"""The folder of this machine with what it has taken from the server."""
_GROUP_ROWS: Final = 120_000
_PART: Final = "_part"
_COPIED: Final = {"part": pl.Int32, "rows": pl.Int64}
_RECORD: Final = stage_rows.RECORD
_SURVIVOR: Final = _RECORD | {"_row": pl.UInt64, "_line": pl.UInt64}
"""A customer as one machine has it in its files."""


class PostgresOnEngine:
    """A table on a server, planned and written by one machine, with customers that many machines have copied there."""

    def __init__(self, address: str, table: Destination) -> None:
        """Take the address of the table, and the table as one machine writes it."""
        self._address, self._table = parse_address(address), table
        self._folder: Path | None = None
        self._taken: WriteRequest | None = None
        """The request to the table, with the customers on this machine."""
        self._plan: Plan | None = None

    def plan(self, request: Request) -> Planned:
        """Take the customers from the engine, unless an earlier plan did, and compare them with the table."""
        if self._taken is None:
            self._folder = folder = request.workspace / _FOLDER
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            self._taken = _request(request, self._staged(request, folder), _present(request, folder))
        self._plan = self._table.plan(self._taken)
        return _as_planned(request, self._taken, self._plan)

    def apply(self, request: Request, _planned: Planned, /) -> Outcomes | None:
        """Write the plan in the transaction in which it was made. Raises what the table raises."""
        assert self._taken is not None and self._plan is not None  # noqa: S101, PT018  (the plan is made)
        return self._table.apply(replace(self._taken, ledger=request.ledger), self._plan)

    def applied(self, run_id: str) -> bool:
        """Return whether the ledger has this run."""
        return self._table.applied(run_id)

    def close(self) -> None:
        """Roll back what is not committed, close the connection and remove the customers from this machine."""
        self._table.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _staged(self, request: Request, folder: Path) -> Path:
        """Copy the customers to the server and from there to a file of this machine; return the file."""
        file = folder / "customers.parquet"
        with closing(Staging(self._address, request.run_id, os.environ)) as staging:
            rows = request.customers.select(*_RECORD, fn.spark_partition_id().alias(_PART))
            with _telling_tasks():
                rows.mapInArrow(CopyTask(staging.place), stage_rows.spark_schema(_COPIED)).collect()
            if (copied := staging.rows()) != request.count:
                raise RuntimeError(f"{counted(copied, 'customer')} staged, not {request.count:,}")
            schema = pl.DataFrame(schema=_SURVIVOR).to_arrow().schema
            with pq.ParquetWriter(file, schema) as written:
                for batches in _grouped(staging.batches()):
                    written.write_table(pa.Table.from_batches(batches).cast(schema))
        return file


def _grouped(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield batches in groups of about as many rows as a group of rows in Parquet should have."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(held.num_rows for held in group) >= _GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def _present(request: Request, folder: Path) -> Path | None:
    """Keep the keys of records that are not written on this machine; return the file."""
    if request.present is None:
        return None
    file = folder / "present.parquet"
    pl.DataFrame(request.present.toArrow()).cast(pl.Schema(PRESENT)).write_parquet(file)
    return file


def _request(request: Request, customers: Path, present: Path | None) -> WriteRequest:
    folder = customers.parent
    dropped = folder / "dropped.parquet"
    pl.DataFrame(schema={"row": pl.UInt64}).write_parquet(dropped)
    return WriteRequest(
        keep_images=False,
        run_id=request.run_id,
        survivors=Survivors((customers,), dropped, request.columns, request.count, request.sparse),
        source=request.source,
        mode=request.mode,
        overwrite_nulls=request.overwrite_nulls,
        evolve=request.evolve,
        hard_delete=request.hard_delete,
        workspace=folder,
        started_at=request.started.isoformat(),
        ledger=request.ledger,
        columns=request.chosen,
        older=request.older,
        present=(present,) if present else (),
        record_changes=request.record_changes,
    )


def _as_planned(request: Request, write: WriteRequest, plan: Plan) -> Planned:
    """Return the plan of one machine with frames of the engine."""
    rows = pl.scan_parquet(plan.rows, glob=False).filter(pl.col("action").is_in(["refused", "ambiguous"]))
    left_out = rows.select(pl.col("row").alias("_row"), "action", "reason").collect()
    file = stale_file(write)
    stale = pl.read_parquet(file, glob=False) if file.exists() else pl.DataFrame(schema=STALE)
    reasons = left_out.filter(action="refused").group_by("reason").len()
    return Planned(
        plan.counts,
        _on_engine(request, left_out, LEFT_OUT),
        _on_engine(request, stale, STALE),
        dict(reasons.sort("reason").iter_rows()),
        plan.changed_fields,
        plan.existing,
        plan.notes,
        plan.withheld,
        plan.unidentified,
    )


def _on_engine(request: Request, rows: pl.DataFrame, columns: Mapping[str, Any]) -> DataFrame:
    table = pa.Table.from_batches(stage_rows.to_arrow(rows, columns), stage_rows.arrow_schema(columns))
    return request.session.createDataFrame(table, stage_rows.spark_schema(columns))


@contextmanager
def _telling_tasks() -> Iterator[None]:
    """Raise the error with which a task has failed."""
    try:
        yield
    except PySparkException as error:
        found = re.search(r"tranship\.connectors\.errors\.(\w+): ([^\n]+)", str(error))
        kind = getattr(errors, found[1], None) if found else None
        if not found or kind is None:
            raise
        raise kind(f"A machine of the cluster could not copy its customers. {found[2]}") from error


class CopyTask(Struct, frozen=True):
    """The function that the engine calls with the customers of a partition, and its number: it copies them, and yields
    the number of rows.
    """

    place: StagingPlace

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Copy the customers."""
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        if first is None:
            return
        part = first.column(_PART)[0].as_py()
        frames = map(stage_rows.to_frame, chain([first], filled))
        rows = copy_part(self.place, part, (piece for frame in frames for piece in stage_rows.to_arrow(frame, _RECORD)))
        yield from stage_rows.to_arrow(pl.DataFrame({"part": [part], "rows": [rows]}), _COPIED)
