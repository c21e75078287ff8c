"""The whole flow of a run: read → map → normalise → validate → stage → identify → plan → gate → apply → report."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Protocol

from msgspec import Struct

from tranship.connectors.contract import Outcomes, Plan, outcomes_so_far
from tranship.connectors.errors import GateClosed, Interfered, TranshipError
from tranship.connectors.local_failures import local_failures
from tranship.pipelines import write_step
from tranship.pipelines.gates import check_gates
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.report import Report, Status
from tranship.pipelines.report_step import Ending, write_report
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, STAGE_STEP
from tranship.pipelines.step_result import StepResult
from tranship.schemas.counted import counted

_PAUSES = (0.2, 1, 3, 8)
"""Seconds before the destination is tried again."""


class Input(Struct, frozen=True):
    """The columns of a run: their meaning, and `raw_columns`, those of the source in its own order. `notes` are about
    them.
    """

    columns: ColumnMap
    raw_columns: list[str]
    notes: tuple[str, ...] = ()


class Steps(Protocol):
    """The steps of a run, on one machine or on an engine. Each that is complete already returns its result."""

    def read(self) -> Generator[StepResult, None, None]:
        """Read the source into the stage, which is not complete; yield the results of its batches."""
        ...

    def read_already(self) -> StepResult:
        """Return the result of a stage that is complete."""
        ...

    def identify(self, total: StepResult) -> StepResult:
        """Decide which staged records are one customer; `total` is the result of reading."""
        ...

    def plan(self) -> tuple[Plan, StepResult]:
        """Let the destination compare the customers with its own. It may be called again."""
        ...

    def apply(self, plan: Plan) -> Outcomes | None:
        """Carry out the plan (`connectors.contract.Destination.apply`)."""
        ...

    def remember(self, counts: Mapping[str, int]) -> StepResult:
        """Keep how far the source was read, after a complete write with these counts. It may be called again."""
        ...


class Flow:
    """One run, from its directory to its report.

    `_total` is the sum of the steps so far. If the next step fails, the report has this sum.
    """

    def __init__(self, run: RunContext, given: Input, steps: Steps) -> None:
        self._run = run
        self._given = given
        self._do = steps
        self._total = StepResult(merges={"external_id": 0, "email": 0})
        self._plan: Plan | None = None
        self._outcomes: Outcomes | None = None

    def execute(self) -> Report:
        """Do all steps. Raises the errors of `connectors.errors`, with the report."""
        started = time.perf_counter()
        try:
            with local_failures(self._run.directory.path):
                return self._execute(started)
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

    def _execute(self, started: float) -> Report:
        try:
            self._steps()
            return self._end(started, None, None)
        except GateClosed as error:
            error.report = self._end(started, "stopped", error)
            raise

    def _steps(self) -> None:
        self._add(StepResult(notes=self._given.notes))
        self._read()
        self._add(self._do.identify(self._total))
        before = self._total
        for pause in (*_PAUSES, None):
            try:
                self._plan, result = self._do.plan()
                self._add(result)
                check_gates(self._run, self._total, self._plan)
                if not self._run.settings.dry_run:
                    self._write(self._plan)
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
        run = self._run
        if run.directory.done(STAGE_STEP) is not None:
            self._add(self._do.read_already())
            records = counted(self._total.read, "record")
            run.observer.note(f"continuing run {run.directory.run_id}: {records} already read")
            return
        with closing(self._do.read()) as results:
            for result in results:
                self._add(result)

    def _write(self, plan: Plan) -> None:
        directory = self._run.directory
        with self._run.timed("write", None):
            if (done := directory.done(APPLY_STEP)) is not None:
                self._outcomes = write_step.outcomes_of(done)
                self._remember(plan)
                return
            directory.begin_to_write()
            try:
                outcomes = self._do.apply(plan)
            except BaseException as error:
                self._keep(outcomes_so_far(error))
                raise
            self._keep(outcomes)
            write_step.finish(self._run, self._outcomes)
            if directory.done(APPLY_STEP) is not None:
                self._remember(plan)

    def _remember(self, plan: Plan) -> None:
        self._add(self._do.remember(self._outcomes.counts if self._outcomes else plan.counts))

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
