"""Progress of a run, as it is reported to whoever wants to follow it."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """The receiver of a run's progress: a terminal, a log, or nothing."""

    def step(self, name: str, total: int | None) -> None:
        """Begin a step. `total` is what `advanced` counts up to, null if unknown."""
        ...

    def advanced(self, position: int, records: int) -> None:
        """Report the position within the step, and the number of records up to there."""
        ...

    def note(self, text: str) -> None:
        """Report something a person may need to know."""
        ...


class Quiet:
    """An observer that ignores everything."""

    def step(self, name: str, total: int | None) -> None:
        """Ignore it."""

    def advanced(self, position: int, records: int) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
