"""The whole flow of a run: read → map → normalise → validate → stage → identify → plan → gate → apply → report."""

from __future__ import annotations

import dataclasses
import shutil
import time
from contextlib import closing

from tranship.connectors.contract import Destination, Outcomes, Plan, Source, WriteRequest, outcomes_so_far
from tranship.connectors.errors import GateClosed, Interfered, TranshipError
from tranship.connectors.local_failures import local_failures
from tranship.pipelines import reading, verify, write_step
from tranship.pipelines.cursor import Cut
from tranship.pipelines.expressions import Expression
from tranship.pipelines.gates import check_gates
from tranship.pipelines.identity_step import identify_customers
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.plan_step import make_plan
from tranship.pipelines.report import Report, Status
from tranship.pipelines.report_step import Ending, write_report
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, STAGE_STEP
from tranship.pipelines.step_result import StepResult
from tranship.pipelines.verify import Verification
from tranship.schemas.counted import counted

_PAUSES = (0.2, 1, 3, 8)
"""Seconds before the destination is tried again."""


@dataclasses.dataclass(frozen=True)
class Input:
    """The input of a run. `source` is null for a run whose stage is complete; `raw_columns` are the columns of the
    source in its own order, `notes` those on its columns. `cut` is the part of it that is read, null for all of it.
    """

    source: Source | None
    columns: ColumnMap
    raw_columns: list[str]
    where: Expression | None = None
    notes: tuple[str, ...] = ()
    cut: Cut | None = None


class Flow:
    """One run, from its directory to its report.

    `_total` is the sum of the steps so far. If the next step fails, the report has this sum.
    """

    def __init__(self, run: RunContext, given: Input) -> None:
        self._run = run
        self._given = given
        self._total = StepResult(merges={"external_id": 0, "email": 0})
        self._plan: Plan | None = None
        self._outcomes: Outcomes | None = None

    def execute(self, destination: Destination) -> Report:
        """Do all steps. Raises the errors of `connectors.errors`, with the report."""
        started = time.perf_counter()
        try:
            with local_failures(self._run.directory.path):
                return self._execute(destination, started)
        except (KeyboardInterrupt, RuntimeError) as error:
            # DuckDB answers a signal with this RuntimeError.
            if not isinstance(error, KeyboardInterrupt) and str(error) != "Query interrupted":
                raise
            raise self._run.directory.interrupted(has_journal=self._outcomes is not None) from None
        except TranshipError as error:
            if error.report is not None:
                raise
            if self._run.directory.done(STAGE_STEP) is None and self._run.directory.keeps_pages():
                error.args = (f"{error} Downloaded pages are kept.",)
            elif self._outcomes is not None:
                error.args = (f"{error} Completed writes are in the journal.",)
            error.report = self._end(started, "failed", error)
            raise

    def _execute(self, destination: Destination, started: float) -> Report:
        try:
            self._steps(destination)
            return self._end(started, None, None)
        except GateClosed as error:
            error.report = self._end(started, "stopped", error)
            raise

    def compare_again(self, destination: Destination) -> Verification:
        """Compare the records of the run with the destination."""
        run = self._run
        self._add(reading.read_already(run))
        workspace = run.directory.path / "verify"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(mode=0o700)
        # This plan is separate from the run and from what was written for it.
        request = self._identify()
        options = dataclasses.replace(request.provider, write_began=False)
        request = dataclasses.replace(request, workspace=workspace, compare=True, provider=options)
        with run.timed("compare", None):
            plan = destination.plan(request)
        run.directory.secure()
        return verify.verification(run.directory, workspace, plan, request.survivors)

    def _steps(self, destination: Destination) -> None:
        self._add(StepResult(notes=self._given.notes))
        self._read()
        request = self._identify()
        before = self._total
        for pause in (*_PAUSES, None):
            try:
                self._plan, result = make_plan(self._run, request, destination)
                self._add(result)
                self._add(write_step.late_records(self._run, self._plan))
                check_gates(self._run, self._total, self._plan)
                if not self._run.settings.dry_run:
                    self._write(request, self._plan, destination)
                return
            except Interfered as error:
                # The destination has rolled back everything; another attempt may succeed.
                if pause is None:
                    raise Interfered(
                        f"{error} Tried {len(_PAUSES) + 1} times. If it was interrupted while committing, find out: "
                        f"{self._run.directory.go_on}"
                    ) from error
                self._run.observer.note(f"{error} Trying again in {pause:g} s.")
                time.sleep(pause)
                self._total, self._plan, self._outcomes = before, None, None

    def _add(self, result: StepResult) -> None:
        for note in result.notes:
            if note not in self._total.notes:
                self._run.observer.note(note)
        self._total += result

    def _read(self) -> None:
        run, given = self._run, self._given
        if run.directory.done(STAGE_STEP) is not None:
            self._add(reading.read_already(run))
            records = counted(self._total.read, "record")
            run.observer.note(f"continuing run {run.directory.run_id}: {records} already read")
            return
        assert given.source is not None  # noqa: S101  (only a finished stage is continued without one)
        with closing(
            reading.stage_source(run, given.source, given.columns, given.where, given.raw_columns, given.cut)
        ) as results:
            for result in results:
                self._add(result)

    def _identify(self) -> WriteRequest:
        self._add(identify_customers(self._run))
        request, result = write_step.write_request(self._run, self._total, self._given.columns)
        self._add(result)
        return request

    def _write(self, request: WriteRequest, plan: Plan, destination: Destination) -> None:
        directory = self._run.directory
        with self._run.timed("write", None):
            if (done := directory.done(APPLY_STEP)) is not None:
                self._outcomes = write_step.outcomes_of(done)
                self._keep_watermark(request, plan, destination)
                return
            directory.begin_to_write()
            try:
                outcomes = destination.apply(request, plan)
            except BaseException as error:
                self._keep(outcomes_so_far(error))
                raise
            self._keep(outcomes)
            write_step.finish(self._run, self._outcomes)
            self._keep_watermark(request, plan, destination)

    def _keep_watermark(self, request: WriteRequest, plan: Plan, destination: Destination) -> None:
        counts = self._outcomes.counts if self._outcomes else plan.counts
        self._add(write_step.keep_watermark(self._run, request, destination, counts))

    def _keep(self, outcomes: Outcomes | None) -> None:
        if outcomes is not None:
            self._outcomes = write_step.keep_outcomes(self._run, outcomes)
            self._add(StepResult(notes=outcomes.notes))

    def _end(self, started: float, status: Status | None, error: TranshipError | None) -> Report:
        given = self._given
        ending = Ending(
            started=started,
            total=self._total,
            plan=self._plan,
            outcomes=self._outcomes,
            columns=given.columns,
            raw_columns=given.raw_columns,
            written=self._run.directory.done(APPLY_STEP) is not None,
            status=status,
            error=error,
        )
        return write_report(self._run, ending)
