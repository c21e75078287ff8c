"""The steps of a run on one machine: the stage is files of its directory."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping

from msgspec.structs import replace

from tranship.connectors.contract import Destination, KeepsHistory, Outcomes, Plan, Source, WriteRequest
from tranship.pipelines import reading, verify, write_step
from tranship.pipelines.identity_step import identify_customers
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.plan_step import make_plan
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.step_result import StepResult
from tranship.pipelines.verify import Verification


class OneMachine:
    """`flow.Steps` on this machine. `source` and `rules` are null for a run whose stage is complete."""

    def __init__(
        self,
        run: RunContext,
        destination: Destination,
        columns: ColumnMap,
        raw_columns: list[str],
        source: Source | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._run, self._destination = run, destination
        self._columns, self._raw_columns = columns, raw_columns
        self._source, self._rules = source, rules
        self._request: WriteRequest | None = None

    def read(self) -> Generator[StepResult, None, None]:
        """Read the source into the stage."""
        assert self._source is not None and self._rules is not None  # noqa: S101, PT018  (there is a stage to be read)
        return reading.stage_source(self._run, self._source, self._rules, self._raw_columns)

    def read_already(self) -> StepResult:
        """Return the result of a stage that is complete."""
        return reading.read_already(self._run)

    def identify(self, total: StepResult) -> StepResult:
        """Decide identity on the keys, and make the request to the destination."""
        identified = identify_customers(self._run)
        self._request, result = write_step.write_request(self._run, total + identified, self._columns)
        return replace(identified, notes=(*identified.notes, *result.notes))

    def plan(self) -> tuple[Plan, StepResult]:
        """Let the destination compare the survivors with what it has."""
        plan, result = make_plan(self._run, self._made_request, self._destination)
        return plan, result + write_step.late_records(self._run, plan)

    def apply(self, plan: Plan) -> Outcomes | None:
        """Write to the destination."""
        return self._destination.apply(self._made_request, plan)

    def remember(self, counts: Mapping[str, int]) -> StepResult:
        """Keep how far the source was read, unless the destination has done so."""
        return write_step.keep_watermark(self._run, self._made_request, self._destination, counts)

    def compare_again(self) -> Verification:
        """Compare the records of the run, whose stage is complete, with the destination."""
        run = self._run
        self.identify(self.read_already())
        workspace = run.directory.path / "verify"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(mode=0o700)
        # This plan is separate from the run and from what was written for it.
        request = self._made_request
        options = replace(request.provider, write_began=False)
        request = replace(request, workspace=workspace, compare=True, provider=options)
        with run.timed("compare", None):
            plan = self._destination.plan(request)
            there = self._destination
            history = there.state_of_history() if request.keep_history and isinstance(there, KeepsHistory) else {}
        run.directory.secure()
        return verify.verification(run.directory, workspace, plan, request.survivors, history)

    @property
    def _made_request(self) -> WriteRequest:
        assert self._request is not None  # noqa: S101  (identity is decided first)
        return self._request
