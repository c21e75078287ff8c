"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from tranship.pipelines.cli import terminal
from tranship.pipelines.cli.layout import text_width, wrapped
from tranship.pipelines.cli.time_left import TimeLeft
from tranship.pipelines.observer import Quiet
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

_SHOWN_AFTER_SECONDS = 1.0
_LINE_EVERY_SECONDS = 10.0
_LONG_STEP_SECONDS = 5.0
_BAR_FROM = 100
"""Columns of a terminal that has room for a bar."""
_WITHOUT_BAR = 75
"""Columns for everything else."""


class Display(Protocol):
    """An observer of a run (`pipelines.observer.Observer`) that draws on the terminal while it is open."""

    def step(self, name: str, total: int | None) -> None:
        """Start a step; the previous one has ended."""
        ...

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Report the position within the step."""
        ...

    def note(self, text: str) -> None:
        """Report something for the user."""
        ...

    def warn(self, text: str) -> None:
        """Report something that is shown even if only errors are."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def display(out: TextIO | None = None) -> Display:
    """Return the display for standard error: live on a terminal, plain lines elsewhere."""
    out = out or sys.stderr
    return Terminal(out) if out.isatty() else Lines(out)


class Warnings(Quiet):
    """The display where only errors are shown: it writes warnings, if they are `shown`."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def warn(self, text: str) -> None:
        """Write the warning."""
        if self._shown:
            print(f"note: {visible(text)}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Lines:
    """Plain lines: every ten seconds within a step, and at the end of each step that took more than five."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._name: str | None = None
        self._total: int | None = None
        self._records = 0
        self._started = self._last_line = clock()
        self._left = TimeLeft(self._started)

    def step(self, name: str, total: int | None) -> None:
        """End the previous step and start this one."""
        self._end()
        self._name, self._total, self._records = name, total, 0
        self._started = self._last_line = self._clock()
        self._left = TimeLeft(self._started)

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Write a line if the last one is ten seconds old."""
        self._records = records
        seconds = self._clock()
        if self._total:
            self._left.advanced(seconds, position / self._total)
        if seconds - self._last_line < _LINE_EVERY_SECONDS:
            return
        self._last_line = seconds
        pace, count, failed = _pace(records, errors, seconds - self._started)
        parts = [f"{self._name}: {count}", pace, *([failed] if failed else [])]
        if self._total and position:
            parts.append(f"{min(position / self._total, 1):.0%}")
            left = self._left.seconds(seconds)
            parts += [f"{_duration(left)} left"] if left is not None else []
        self._write(", ".join(parts))

    def note(self, text: str) -> None:
        """Write the note."""
        self._write(f"note: {text}")

    warn = note

    def _end(self) -> None:
        took = self._clock() - self._started
        if self._name and took >= _LONG_STEP_SECONDS:
            records = f"{counted(self._records, 'record')} in " if self._records else ""
            self._write(f"{self._name}: done, {records}{_duration(took)}")
        self._name = None

    def _write(self, text: str) -> None:
        print(visible(text), file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._end()


class Terminal:
    """A live line with records, rate and remaining time, shown once a step has taken a second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._state: tuple[int, int, int] = (0, 0, 0)
        self._total: int | None = None
        self._left = TimeLeft(time.monotonic())
        self._look = terminal.look(out)

    def step(self, name: str, total: int | None) -> None:
        """Remove the live line; show it again if this step takes long."""
        self._end()
        self._state, self._total = (0, 0, 0), total
        self._left = TimeLeft(time.monotonic())
        self._timer = threading.Timer(_SHOWN_AFTER_SECONDS, self._show, (name, total, time.monotonic()))
        self._timer.daemon = True
        self._timer.start()

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Update the line."""
        with self._lock:
            self._state = (position, records, errors)
            if self._total:
                self._left.advanced(time.monotonic(), position / self._total)
            if self._progress is not None and self._task is not None:
                self._progress.update(self._task, completed=position)

    def note(self, text: str) -> None:
        """Write the note above the line."""
        lines = "\n".join(wrapped(f"note: {visible(text)}", self._look.width, "  ", ""))
        with self._lock:
            if self._progress is not None:
                self._progress.console.print(lines, markup=False, highlight=False, soft_wrap=True)
            else:
                print(lines, file=self._out, flush=True)

    warn = note

    def _show(self, name: str, total: int | None, started: float) -> None:
        # Imported late: most steps end before anything is shown.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            TextColumn,
        )
        from rich.text import Text

        class State(ProgressColumn):
            def render(self, task: Task) -> Text:  # noqa: ARG002
                return Text(line(time.monotonic() - started, room), no_wrap=True, overflow="crop")

        width = self._look.width or 80
        bar = [BarColumn(min(40, width - _WITHOUT_BAR))] if width >= _BAR_FROM and total else []
        room, line = width - text_width(name) - 2, self._line
        progress = Progress(
            TextColumn("{task.description}"), *bar, State(),
            console=Console(file=self._out, no_color=not self._look.colours, width=self._look.width),
            transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        with self._lock:
            if self._timer is None or self._timer is not threading.current_thread():
                return  # the step has ended in the meantime
            self._task = progress.add_task(name, total=total, completed=self._state[0])
            self._progress = progress
            progress.start()

    def _line(self, seconds: float, room: int) -> str:
        """Return the state of the step after this many seconds, in one line of at most `room` columns."""
        position, records, errors = self._state
        left = self._left.seconds(time.monotonic()) if self._total else None
        end = [f"{_duration(left)} left"] if left is not None else [_duration(seconds)]
        share = [f"{min(position / self._total, 1):.0%}"] if self._total and position else []
        pace, count, failed = _pace(records, errors, seconds)
        # The most important part, the time left, is kept on the narrowest terminal.
        for parts in ([count, pace, failed, *share, *end], [count, failed, *share, *end], [failed, *share, *end], end):
            line = ", ".join(filter(None, parts if records else [*share, *end]))
            if text_width(line) <= room:
                break
        return line

    def _end(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._progress is not None:
                self._progress.stop()
                self._progress = self._task = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()


def _pace(records: int, errors: int, seconds: float) -> tuple[str, str, str]:
    """Return `4,000/s`, `40,000 records` and `3 errors`, the last one empty if there are none."""
    rate = f"{records / max(seconds, 0.001):,.0f}/s"
    return rate, counted(records, "record"), counted(errors, "error") if errors else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
