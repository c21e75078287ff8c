"""The steps of a run on an engine: the tables between them are in a folder that all of its machines reach."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl
from pyspark.sql import functions as fn

from tranship.connectors.contract import Outcomes, Plan
from tranship.connectors.errors import TranshipError
from tranship.pipelines import identity_step, parts, plan_step, reading, write_step
from tranship.pipelines.distributed import cleaned, engine, fetching, identity, stage_facts, stage_rows
from tranship.pipelines.distributed.destinations.contract import Destination, Planned, Request
from tranship.pipelines.distributed.identity import AMBIGUOUS
from tranship.pipelines.distributed.sources import EngineSource
from tranship.pipelines.distributed.stage_facts import StageFacts
from tranship.pipelines.distributed.stage_rows import GOOD, PRESENT, RECORD
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, IDENTIFY_STEP, PLAN_STEP
from tranship.pipelines.step_result import StepResult
from tranship.schemas.counted import counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SMALL: Final = 20_000_000
"""One machine is quicker with fewer records."""


class EngineSteps:
    """`pipelines.flow.Steps` on an engine. `source` and `rules` are null for a run whose stage is complete."""

    def __init__(
        self,
        run: RunContext,
        tables: WorkTables,
        destination: Destination,
        columns: ColumnMap,
        raw_columns: Sequence[str],
        source: EngineSource | None,
        rules: Rules | None,
    ) -> None:
        self._run, self._tables, self._destination = run, tables, destination
        self._columns, self._raw_columns = columns, tuple(raw_columns)
        self._source, self._rules = source, rules
        self._request: Request | None = None
        self._planned: Planned | None = None

    def read(self) -> Generator[StepResult, None, None]:
        """Let the tasks read the source into the stage."""
        assert self._source is not None and self._rules is not None  # noqa: S101, PT018  (there is a stage to be read)
        run = self._run
        with run.timed("read", self._source.size), engine.failures():
            mirrors = run.settings.mode == "mirror"
            staged = self._source.staged(self._tables.session, self._raw_columns, self._rules, with_present=mirrors)
            self._tables.keep("stage", staged)
            found = self._facts(self._source.files)
        total = StepResult()
        for counts in found.parts:
            result = reading.result_of(counts)
            total += result
            yield result
        notes = (*found.notes, *reading.notes_on(found.parts, self._columns))
        yield StepResult(notes=(*notes, *self._source.notes, *_hint(total.read)))
        reading.must_be_decided(found.parts, self._columns)
        parts.write(run.directory.path, run.directory.run_id, found.parts, {})
        reading.finish(run, total, self._columns, list(self._raw_columns))

    def read_already(self) -> StepResult:
        """Return the result of a stage that is complete."""
        return reading.read_already(self._run)

    def identify(self, total: StepResult) -> StepResult:
        """Decide identity on the keys, and make the request to the destination."""
        run, tables = self._run, self._tables
        settings, directory = run.settings, run.directory
        with run.timed("identify", None), engine.failures():
            stage = self._stage
            found = self._facts()
            decisions = identity.decide(stage, settings.survivor, tables, found.order)
            filled = None
            if settings.fill:
                filled = tables.keep("filled", cleaned.filled(stage, decisions, settings.survivor, found.order))
            customers = tables.keep("customers", cleaned.survivors(stage, decisions, filled))
            done = directory.done(IDENTIFY_STEP)
            if done is None:
                fetching.write_stage_findings(run, stage, self._raw_columns, found.columns_of_rejects)
                originals = fetching.own_columns(self._raw_columns, found.columns_of_alone)
                done = fetching.write_identity(run, stage, decisions, originals)
                directory.finish(IDENTIFY_STEP, done, (*identity_step.FILES, *fetching.FILES))
        result = identity_step.result_of(done)
        total += result
        self._request = self._request_of(customers, total, self._present(decisions))
        if not directory.done(PLAN_STEP):
            with engine.failures():
                _must_balance(customers.count(), self._request)
        return result

    def plan(self) -> tuple[Plan, StepResult]:
        """Let the destination compare the customers with what it has."""
        run, request = self._run, self._made_request
        directory = run.directory
        with run.timed("plan", None), engine.failures():
            done = directory.done(PLAN_STEP)
            if done is not None and self._destination.applied(request.run_id):
                # The process died between the commit and the report: the plan of that process was applied.
                directory.check_plan()
                directory.finish(APPLY_STEP, {})
            else:
                for name in [name for name in self._tables.complete if name.startswith("destination_")]:
                    self._tables.drop(name)
                self._planned = self._destination.plan(request)
                done = plan_step.kept(run, self._plan_of(self._planned))
                directory.finish(PLAN_STEP, done, plan_step.FILES)
        return plan_step.planned(directory.path, done)

    def apply(self, plan: Plan) -> Outcomes | None:  # noqa: ARG002  (the destination keeps its own)
        """Write to the destination."""
        assert self._planned is not None  # noqa: S101  (it was planned by this process)
        with engine.failures():
            return self._destination.apply(self._made_request, self._planned)

    def remember(self, counts: Mapping[str, int]) -> StepResult:  # noqa: ARG002  (there is no watermark)
        """Do nothing: a run on an engine reads everything."""
        return StepResult()

    @property
    def _made_request(self) -> Request:
        assert self._request is not None  # noqa: S101  (identity is decided first)
        return self._request

    @cached_property
    def _stage(self) -> DataFrame:
        return self._tables.kept("stage", stage_rows.spark_schema(stage_rows.columns(len(self._raw_columns))))

    def _facts(self, files: int | None = None) -> StageFacts:
        try:
            return stage_facts.of_stage(self._stage, self._raw_columns, self._run.settings.source_name, files)
        except TranshipError:
            # It is computed again by a run that continues.
            self._tables.drop("stage")
            raise

    def _present(self, decisions: identity.Decisions) -> DataFrame:
        """Return the keys of records that are not among the customers."""
        flags = ("id_unusable", "email_unusable")
        places = (fn.col("_source").alias("source"), fn.col("_line").alias("line"))
        ambiguous = decisions.verdicts.where(fn.col("fate") == AMBIGUOUS).select(fn.col("row").alias("_row"))
        alone = self._stage.where(fn.col("_kind") == GOOD).join(ambiguous, "_row", "left_semi")
        usable = (fn.lit(False).alias(name) for name in flags)
        return (
            self._stage.where(fn.col("_kind") == PRESENT)
            .select(*places, "external_id", "email", *flags)
            .unionByName(alone.select(*places, "external_id", "email", *usable))
        )

    def _request_of(self, customers: DataFrame, total: StepResult, present: DataFrame) -> Request:
        settings, directory = self._run.settings, self._run.directory
        merged = sum(total.merges.values())
        columns, sparse = write_step.fields_of(total, self._columns)
        return Request(
            run_id=directory.run_id,
            started=datetime.fromisoformat(directory.manifest["started_at"]),
            source=settings.source_name,
            session=self._tables.session,
            customers=customers.select(*RECORD),
            count=total.staged - merged - total.by_code.get(identity_step.AMBIGUOUS, 0),
            columns=columns,
            mode=settings.mode,
            tables=self._tables,
            ledger={"read": total.read, "rejected": total.rejected, "merged": merged, "skipped": total.skipped},
            workspace=directory.path,
            sparse=sparse,
            older=settings.older or "skip",
            overwrite_nulls=settings.nulls == "overwrite",
            evolve=settings.evolve,
            hard_delete=settings.deletes == "remove",
            present=present if settings.mode == "mirror" else None,
            record_changes=settings.changes == "on",
            chosen=settings.columns,
        )

    def _plan_of(self, planned: Planned) -> Plan:
        """Write the files of a plan, of the records that are not written only, and return it."""
        path = self._run.directory.path
        left_out = pl.DataFrame(planned.left_out.toArrow()).sort("_row")
        rows = path / plan_step.ROWS
        left_out.select(
            pl.col("_row").cast(pl.UInt64).alias("row"),
            pl.col("action", "reason").cast(pl.String),
            pl.lit(None, pl.List(pl.String)).alias("changed"),
        ).write_parquet(rows)
        ambiguous = planned.left_out.where(fn.col("action") == "ambiguous").select("_row")
        if planned.counts["ambiguous"]:
            originals = fetching.own_columns(self._raw_columns, self._facts().columns_of_alone)
            fetching.write_originals(path, "000001", self._stage, ambiguous, originals)
        stale = path / "stale.parquet"
        stale.unlink(missing_ok=True)
        if planned.counts.get("stale"):
            pl.DataFrame(planned.stale.toArrow()).sort("source", "line").write_parquet(stale)
        return Plan(
            rows,
            dict(planned.counts),
            dict(planned.changed_fields),
            planned.existing,
            planned.notes,
            planned.withheld,
            planned.unidentified,
        )


def _hint(records: int) -> tuple[str, ...]:
    if records >= _SMALL:
        return ()
    return (f"One machine is quicker with less than {_SMALL // 1_000_000} million records: leave --engine out.",)


def _must_balance(customers: int, request: Request) -> None:
    if customers != request.count:
        raise RuntimeError(f"the ledger does not balance: {counted(customers, 'customer')}, not {request.count:,}")
