"""Progress of a run: a live line on a terminal, plain lines elsewhere, JSON lines in a log."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from tranship.connectors import key_shapes, mirrored
from tranship.connectors.errors import ConfigError
from tranship.pipelines.observer import Quiet
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

_SHOWN_AFTER_SECONDS = 1.0
_LINE_EVERY_SECONDS = 10.0
_LONG_STEP_SECONDS = 5.0


class Display(Protocol):
    """An observer of a run (`pipelines.observer.Observer`) that draws on the terminal while it is open."""

    def step(self, name: str, total: int | None) -> None:
        """Start a step; the previous one has ended."""
        ...

    def advanced(self, position: int, records: int) -> None:
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

    def step(self, name: str, total: int | None) -> None:
        """End the previous step and start this one."""
        self._end()
        self._name, self._total, self._records = name, total, 0
        self._started = self._last_line = self._clock()

    def advanced(self, position: int, records: int) -> None:
        """Write a line if the last one is ten seconds old."""
        self._records = records
        seconds = self._clock()
        if seconds - self._last_line < _LINE_EVERY_SECONDS:
            return
        self._last_line = seconds
        rate = records / (seconds - self._started)
        text = f"{self._name}: {counted(records, 'record')}, {rate:,.0f}/s"
        if self._total and position:
            left = (self._total - position) * (seconds - self._started) / position
            text += f", {position / self._total:.0%}, {_duration(left)} left"
        self._write(text)

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
        self._state: tuple[int, int] = (0, 0)

    def step(self, name: str, total: int | None) -> None:
        """Remove the live line; show it again if this step takes long."""
        self._end()
        self._state = (0, 0)
        self._timer = threading.Timer(_SHOWN_AFTER_SECONDS, self._show, (name, total, time.monotonic()))
        self._timer.daemon = True
        self._timer.start()

    def advanced(self, position: int, records: int) -> None:
        """Update the line."""
        with self._lock:
            self._state = (position, records)
            if self._progress is not None and self._task is not None:
                self._progress.update(self._task, completed=position, records=records)

    def note(self, text: str) -> None:
        """Write the note above the line."""
        with self._lock:
            if self._progress is not None:
                self._progress.console.print(f"note: {visible(text)}", markup=False, highlight=False, soft_wrap=True)
            else:
                print(f"note: {visible(text)}", file=self._out, flush=True)

    warn = note

    def _show(self, name: str, total: int | None, started: float) -> None:
        # Imported late: most steps end before anything is shown.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Records(ProgressColumn):
            def render(self, task: Task) -> Text:
                records = task.fields["records"]
                rate = records / max(time.monotonic() - started, 0.001)
                return Text(f"{counted(records, 'record')}, {rate:,.0f}/s" if records else "")

        left = TimeRemainingColumn(compact=True) if total else TimeElapsedColumn()
        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), Records(), left,
            console=Console(file=self._out), transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        with self._lock:
            if self._timer is None or self._timer is not threading.current_thread():
                return  # the step has ended in the meantime
            position, records = self._state
            self._task = progress.add_task(name, total=total, completed=position, records=records)
            self._progress = progress
            progress.start()

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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


# JSON lines ------------------------------------------------------------------------------------------------------


@contextmanager
def logged(file: str | None) -> Iterator[None]:
    """Write the messages of the `tranship` logger to a file as JSON lines while this is open; `-` is standard error.

    An existing log is continued. Raises ConfigError if the file cannot be opened or is not a log.
    """
    if file is None:
        yield
        return
    key_shapes.refuse(file, "--log")
    try:
        handler = _LogHandler(sys.stderr if file == "-" else _private(file), file)
    except OSError as error:
        raise ConfigError(f"--log {file}: cannot be written ({error.strerror}).") from error
    handler.setFormatter(JsonLine())
    logger = logging.getLogger("tranship")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        if file != "-":
            with suppress(OSError):  # reported when it was written
                handler.stream.close()


class _LogHandler(logging.StreamHandler[TextIO]):
    """A handler that reports once if the log cannot be written; the run continues without it."""

    def __init__(self, stream: TextIO, file: str) -> None:
        super().__init__(stream)
        self._file: str | None = file

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (the name is that of logging)
        """Report the first error."""
        error = sys.exception()
        if self._file is not None and isinstance(error, OSError):
            print(f"note: --log {self._file}: cannot be written ({error.strerror}); it is incomplete", file=sys.stderr)
        self._file = None


def _private(file: str) -> TextIO:
    path = Path(file)
    # Opening a pipe without a reader would wait.
    if path.exists() and not (path.is_file() or path.is_char_device()):
        raise ConfigError(f"--log {file}: is not a regular file. Name a file, or - for standard error.")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as log:
            if log.read(len(_LINE_START)) != _LINE_START:
                raise ConfigError(
                    f"--log {file}: exists, is not a Tranship log, and was not changed. Choose another file."
                )
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")


_LINE_START = b'{"time": "'


class JsonLine(logging.Formatter):
    """A log record as one JSON object: time (UTC), level, message, and the values passed as `extra`."""

    _PLAIN = frozenset(vars(logging.makeLogRecord({})))

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        extra: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in self._PLAIN}
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage(), **extra}
        return visible_json(mirrored.outward(json.dumps(line, default=str)))
