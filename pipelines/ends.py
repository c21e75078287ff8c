"""The two ends of a run, opened together: on one machine or on an engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tranship.connectors.contract import Destination, Layout, Source
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints
from tranship.pipelines.endpoints import open_destination, open_source, waiting_of
from tranship.pipelines.flow import Steps
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.observer import Observer
from tranship.pipelines.one_machine import OneMachine
from tranship.pipelines.partial_read import ReadBefore, read_before
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.undo_steps import UndoSteps, is_undo

OpenDestination = Callable[[Settings, Observer], Destination]


class Described(Protocol):
    """A source, as far as it is known before anything is read (`connectors.contract.Source`)."""

    def layouts(self) -> list[Layout]:
        """Return the columns of each file."""
        ...

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return what identifies the input."""
        ...


class Ends(Protocol):
    """The ends of a run until they are closed. Only the destination is opened for a run whose stage is complete."""

    @property
    def source(self) -> Described:
        """What is read, by the steps."""
        ...

    @property
    def before(self) -> ReadBefore | None:
        """What was read before; null where everything is read."""
        ...

    def steps(self, run: RunContext, columns: ColumnMap, raw_columns: list[str], rules: Rules | None = None) -> Steps:
        """Return the steps between the ends. `rules` are those by which the source is read."""
        ...

    def close(self) -> None:
        """Close both."""
        ...


class MachineEnds:
    """The ends of a run on this machine."""

    def __init__(
        self, settings: Settings, observer: Observer, open_destination: OpenDestination, now: datetime, *, reads: bool
    ) -> None:
        self._source: Source | None = None
        self.before: ReadBefore | None = None
        with ExitStack() as stack:
            self.destination = open_destination(settings, observer)
            stack.callback(self.destination.close)
            if reads:
                self.before = read_before(settings, self.destination, now)
                self._source = open_source(settings, waiting_of(settings, observer), self.before.files)
                stack.callback(self._source.close)
            self.close = stack.pop_all().close

    @property
    def source(self) -> Source:
        """What is read."""
        assert self._source is not None  # noqa: S101  (it was opened to be read)
        return self._source

    def steps(self, run: RunContext, columns: ColumnMap, raw_columns: list[str], rules: Rules | None = None) -> Steps:
        """Return the steps of one machine, or those of an undo."""
        if is_undo(run.directory):
            return UndoSteps(run, self.destination)
        return OneMachine(run, self.destination, columns, raw_columns, self._source, rules)


def open_ends(
    settings: Settings,
    observer: Observer,
    open_destination: OpenDestination = open_destination,
    *,
    now: datetime | None = None,
    reads: bool = True,
) -> Ends:
    """Open both ends, or with `reads` false the destination only; `now` is the start of the run. Raises ConfigError or
    ConnectorError.
    """
    if settings.engine is None:
        return MachineEnds(settings, observer, open_destination, now or datetime.now(UTC), reads=reads)
    ends: Ends = _of_engine(settings).open_ends(settings, observer, reads=reads)
    return ends


def check_ends(settings: Settings, out: Path | None) -> None:
    """Raises ConfigError for ends that cannot be read or written as the settings say, or are the same."""
    endpoints.check_history(settings)
    endpoints.check_own_folders(settings, out)
    if settings.engine is None:
        endpoints.check_ends(settings, out)
        return
    if out is not None:
        raise ConfigError(f"--engine {settings.engine}: makes no plan to apply later. Use tranship run with --dry-run.")
    from tranship.pipelines.distributed import engine_checks

    engine_checks.check(settings)


def _of_engine(settings: Settings) -> Any:
    from tranship.pipelines.distributed import engine

    try:
        from tranship.pipelines.distributed import engine_ends
    except ImportError as error:
        raise engine.needs_extra(settings) from error
    return engine_ends
