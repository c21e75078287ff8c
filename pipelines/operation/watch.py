"""One run, watched from its beginning to its end.

`watched` is the only entrance. Nothing here changes what a run does, its result or its exit code; each failed delivery
is one line. All of it happens after the locks of the run were released, and takes at most ten seconds.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConnectorError
from tranship.pipelines import report_step
from tranship.pipelines.observer import Observer
from tranship.pipelines.operation import alerts, dispatch, expectations, health_check
from tranship.pipelines.operation.delivery import Deliveries
from tranship.pipelines.operation.dispatch import Due
from tranship.pipelines.operation.pipeline_state import PipelineState, StateFile
from tranship.pipelines.operation.run_end import SKIPPED, RunEnd, exit_code_of, message_of
from tranship.pipelines.report import Report
from tranship.pipelines.settings_model import Settings

if TYPE_CHECKING:
    from tranship.pipelines.operation.lineage_events import LineageRun
    from tranship.pipelines.operation.traces import Stopwatch

log = logging.getLogger("tranship")


def watched(
    settings: Settings, observer: Observer, work: Callable[[Observer], Report], now: datetime | None = None
) -> Report:
    """Do the work of a run, and notify those whom the settings name. `now` is its start. Raises what `work` raises."""
    watch = _Watch(settings, observer, now or datetime.now(UTC))
    watch.begin()
    try:
        report = work(watch.observer)
    except BaseException as error:
        watch.end(getattr(error, "report", None), error)
        raise
    watch.end(report, None)
    return watch.report or report


class _Watch:
    def __init__(self, settings: Settings, observer: Observer, now: datetime) -> None:
        self._settings, self._observer = settings, observer
        self.observer = observer
        """The observer of the run."""
        self._stopwatch: Stopwatch | None = None
        if settings.traces:
            from tranship.pipelines.operation.traces import Stopwatch

            self._stopwatch = self.observer = Stopwatch(observer)
        self._started_at, self._clock = now, datetime.now(UTC)
        self._beginning = Deliveries()
        self.report: Report | None = None
        """The report with what was unexpected, if anything was."""
        self._last_success: datetime | None = None
        self._lineage: LineageRun | None = None
        self._file = StateFile(settings.state_dir, settings.pipeline_name, locks=settings.locks)

    def begin(self) -> None:
        """Report the start, in the background."""
        try:
            self._begin()
        except Exception as failure:  # the run must not depend on it
            self._warn(f"notifying of the start of this run failed: {message_of(failure)}")

    def _begin(self) -> None:
        if self._settings.ping:
            ping = self._settings.ping
            self._beginning.start(
                f"start to --ping {ping} was not delivered", lambda: health_check.ping(ping, health_check.START)
            )
        if self._settings.lineage:
            from tranship.pipelines.operation import lineage

            to, run = self._settings.lineage, lineage.begun(self._settings)
            self._lineage = run
            began = datetime.now(UTC)
            self._beginning.start("--lineage failed at the start", lambda: lineage.send_start(to, run, began))

    def end(self, report: Report | None, error: BaseException | None) -> None:
        """Notify of the end of the run."""
        try:
            self._end(report, error)
        except (Exception, KeyboardInterrupt) as failure:  # the result of the run must not depend on it
            self._warn(f"notifying of the end of this run failed: {message_of(failure)}")

    def _end(self, report: Report | None, error: BaseException | None) -> None:
        ended = time.time_ns()
        end = self._run_end(report, error)
        due: list[Due] = []
        if end.exit_code != SKIPPED:
            end, due = self._keep(end)
        deliveries = Deliveries()
        dispatch.start(due, deliveries)
        self._start_others(end, ended, deliveries)
        failures = self._beginning.wait() | deliveries.wait()
        self._warn_of(failures)
        for rule in map(alerts.rule_of, self._settings.alert):
            if not os.environ.get(rule.variable) and rule.text not in {one.rule.text for one in due}:
                self._warn(f"alerts to {rule.text} cannot be sent: the environment variable {rule.variable} is not set")
        dispatch.settle(self._file, due, failures, self._now())

    def _run_end(self, report: Report | None, error: BaseException | None) -> RunEnd:
        settings = self._settings
        return RunEnd(
            pipeline=settings.pipeline_name,
            source=settings.source_name,
            destination=redacted(settings.destination),
            started_at=self._started_at,
            ended_at=self._now(),
            exit_code=report.exit_code if report and error is None else exit_code_of(error) if error else 0,
            report=report,
            error=message_of(error) if error else None,
        )

    def _keep(self, end: RunEnd) -> tuple[RunEnd, list[Due]]:
        """Judge the run, add it to the state of its pipeline, and return it with the alerts that are due."""
        with self._file.changed() as (state, problems):
            end = self._judged(end, state)
            state.rules = self._settings.alert
            self._last_success = state.last_success
            due = dispatch.claim(state, end.ended_at, end)
        for problem in problems:
            self._warn(problem)
        return end, due

    def _judged(self, end: RunEnd, state: PipelineState) -> RunEnd:
        report, run = end.report, None
        changed = report is not None and bool(report.counts.created + report.counts.updated + report.counts.deleted)
        if report is not None and end.succeeded:
            run = expectations.measured(report, end.seconds, state.idle_days(end.ended_at, changed))
            end = replace(end, unexpected=expectations.unexpected(self._settings.expect, run, state.runs))
            run = replace(run, unexpected=bool(end.unexpected))
            end = self._reported(end, report)
        state.add(end, run, changed)
        return end

    def _reported(self, end: RunEnd, report: Report) -> RunEnd:
        """Add what is unexpected to the report."""
        if not end.unexpected:
            return end
        notes = [f"unexpected: {text}" for text in end.unexpected]
        for note in notes:
            self._warn(note)
        self.report = dataclasses.replace(report, notes=(*report.notes, *notes))
        # A full disk, a bucket out of reach: it is reported here, and in the alert.
        with suppress(OSError, ConnectorError):
            report_step.write_again(self.report, self._observer)
        return replace(end, report=self.report)

    def _start_others(self, end: RunEnd, ended: int, deliveries: Deliveries) -> None:
        settings = self._settings
        if settings.lineage and self._lineage is not None:
            to, run = settings.lineage, self._lineage
            deliveries.start("--lineage failed", lambda: self._send_lineage(to, run, end))
        if end.exit_code == SKIPPED:
            return
        if settings.ping:
            ping = settings.ping
            deliveries.start(f"exit code to --ping {ping} was not delivered", lambda: self._ping_end(ping, end))
        if settings.on_failure and end.exit_code:
            from tranship.pipelines.operation import failure_command

            command = settings.on_failure
            deliveries.start("--on-failure failed", lambda: failure_command.start(command, end))

        if settings.metrics:
            from tranship.pipelines.operation import metrics

            file = settings.metrics
            deliveries.start("--metrics failed", lambda: metrics.write(file, end, self._last_success))
        if self._stopwatch is not None:
            from tranship.pipelines.operation import traces

            stopwatch = self._stopwatch
            deliveries.start("--traces failed", lambda: traces.send(stopwatch, ended, end))

    def _send_lineage(self, to: str, run: LineageRun, end: RunEnd) -> None:
        from tranship.pipelines.operation import lineage

        self._beginning.wait()
        lineage.send_end(to, run, end)

    def _ping_end(self, ping: str, end: RunEnd) -> None:
        self._beginning.wait()  # the service must not get the end first
        health_check.ping(ping, str(end.exit_code))

    def _now(self) -> datetime:
        """Return the time by the clock that the run was given."""
        return self._started_at + (datetime.now(UTC) - self._clock)

    def _warn_of(self, failures: Mapping[str, str | None]) -> None:
        for name, reason in failures.items():
            if reason is not None:
                self._warn(f"{name}: {reason}")

    def _warn(self, text: str) -> None:
        log.info(text)
        with suppress(Exception):  # an observer of the user may raise, which would hide the result of the run
            self._observer.warn(text)
