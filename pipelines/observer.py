"""The interface through which a run reports its progress."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """The receiver of a run's progress: a terminal, a log, or nothing."""

    def step(self, name: str, total: int | None) -> None:
        """Begin a step. `total` is what `advanced` counts up to, null if unknown."""
        ...

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Report the position within the step, the number of records up to there, and how many of them were rejected
        or failed.
        """
        ...

    def note(self, text: str) -> None:
        """Report a note for people."""
        ...

    def warn(self, text: str) -> None:
        """Report a note that is shown even if only errors are."""
        ...


class WriteProgress:
    """A `connectors.contract.WriteObserver` that reports a write to the observer of its run, as a step."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def note(self, text: str) -> None:
        """Report the text unchanged."""
        self._observer.note(text)

    def written(self, records: int, total: int, errors: int = 0) -> None:
        """Report the records done; begin the step while there are none."""
        if records == 0:
            self._observer.step("write", total)
        self._observer.advanced(records, records, errors)


class Quiet:
    """An observer that ignores everything."""

    def step(self, name: str, total: int | None) -> None:
        """Ignore it."""

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Ignore it."""
