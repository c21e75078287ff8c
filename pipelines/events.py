"""The progress of a run, reported to a function of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tranship.connectors.errors import ConfigError


@dataclass(frozen=True)
class Progress:
    """The progress of a run: its step (`read`, `identify`, `plan`, `write` …), the position in it, and the number of
    records, of which `errors` were rejected or failed.

    `position` counts up to `total`, which is null where it is not known, in the unit of the step: bytes, records or
    batches. A `note` is a message for people, such as why the run waits.
    """

    step: str
    position: int = 0
    total: int | None = None
    records: int = 0
    note: str | None = None
    errors: int = 0

    @property
    def share(self) -> float | None:
        """The share of the step that is done, from 0 to 1; null if unknown."""
        return min(self.position / self.total, 1.0) if self.total else None


Observer: TypeAlias = Callable[[Progress], object]
"""A function of one argument. Its result is ignored; an exception stops the run, which can be continued. It may
be called from another thread."""


class Events:
    """Calls a function for every event of a run."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._last = Progress("start")

    def step(self, name: str, total: int | None) -> None:
        """A step begins."""
        self._last = Progress(name, total=total)
        self._observer(self._last)

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Report that the step has advanced."""
        self._last = Progress(self._last.step, position, self._last.total, records, errors=errors)
        self._observer(self._last)

    def note(self, text: str) -> None:
        """Report a note for people."""
        last = self._last
        self._observer(Progress(last.step, last.position, last.total, last.records, text, last.errors))

    warn = note


def events(observer: Observer | None) -> Events | None:
    """Return the observer that calls this function. Raises ConfigError if it is not a function."""
    if observer is None:
        return None
    if not callable(observer):
        raise ConfigError(
            f"observer: {type(observer).__name__} is not accepted. Give a function that takes a tranship.Progress."
        )
    return Events(observer)
