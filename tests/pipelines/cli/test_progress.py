"""Progress reports during a run."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import threading
import time
from collections.abc import Iterator

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli import progress
from tranship.pipelines.cli.progress import Lines, Terminal, display


class Clock:
    """A clock that advances on request."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_with_rate_and_time_left() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock) as lines:
        lines.step("read", 1000)
        for second in range(1, 26):
            clock.now = second
            lines.advanced(second * 10, second * 4000)

    assert out.getvalue().splitlines() == [
        "read: 40,000 records, 4,000/s, 10%, 1 min 30 s left",
        "read: 80,000 records, 4,000/s, 20%, 1 min 20 s left",
        "read: done, 100,000 records in 25 s",
    ]


def test_lines_count_errors() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock) as lines:
        lines.step("write", 100)
        clock.now = 10
        lines.advanced(50, 50, 3)
    assert out.getvalue().splitlines() == [
        "write: 50 records, 5/s, 3 errors, 50%, 10 s left",
        "write: done, 50 records in 10 s",
    ]


def test_lines_do_without_a_size() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock) as lines:
        lines.step("read", None)
        clock.now = 10
        lines.advanced(1, 500)

    assert out.getvalue().splitlines()[0] == "read: 500 records, 50/s"


def test_short_steps_are_not_worth_a_line() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock) as lines:
        for name in ("read", "identify", "plan"):
            lines.step(name, None)
            clock.now += 4
        lines.step("write", None)
        clock.now += 3700
        lines.note("the table is new")

    assert out.getvalue().splitlines() == ["note: the table is new", "write: done, 1 h 01 min"]


def test_a_step_that_failed_is_not_called_done() -> None:
    out, clock = io.StringIO(), Clock()
    lines = Lines(out, clock)

    def fail() -> None:
        with lines:
            lines.step("write", None)
            clock.now = 60
            raise ConfigError("no")

    with pytest.raises(ConfigError):
        fail()
    assert out.getvalue() == ""


def test_the_display_fits_where_it_is_read() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        assert isinstance(display(terminal), Terminal)
    os.close(ours)
    assert isinstance(display(io.StringIO()), Lines)


def on_a_terminal(shown_after: float, until: str, monkeypatch: pytest.MonkeyPatch, columns: int = 100) -> str:
    """Return the terminal output of a step that lasts until this text is seen; steps are shown after this number of
    seconds."""
    monkeypatch.setattr(progress, "_SHOWN_AFTER_SECONDS", shown_after)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []
    reader = threading.Thread(target=lambda: pieces.extend(until_closed(ours)), daemon=True)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, Terminal(terminal) as shown:
        shown.note("at first")
        shown.step("read", 1000)
        deadline = time.monotonic() + 60
        while not re.search(until, seen_of(pieces)) and time.monotonic() < deadline:
            shown.advanced(500, 12345, 7)
            time.sleep(0.02)
        shown.note("at last")
    reader.join()
    os.close(ours)
    assert re.search(until, seen_of(pieces))
    return seen_of(pieces)


def seen_of(pieces: list[bytes]) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(pieces).decode(errors="replace"))


def until_closed(terminal: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # Linux says EIO when the other end is closed
        while piece := os.read(terminal, 1 << 16):
            yield piece


def test_a_long_step_is_shown_with_records_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_a_terminal(0.2, r"read .*12,345 records, [\d,]+/s, 7 errors, 50%, \d+ s left", monkeypatch)

    assert "note: at first" in text
    assert "note: at last" in text


def test_a_narrow_terminal_shows_them_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_a_terminal(0.2, r"read 7 errors, 50%, \d+ s left", monkeypatch, columns=40)
    assert "━" not in text


@pytest.mark.parametrize("columns", [60, 40, 30, 24])
def test_the_line_fits_and_keeps_the_time_left(columns: int) -> None:
    shown = Terminal(io.StringIO())
    shown.step("write", 2_000_000)
    shown.advanced(1_000_000, 1_000_000, 1_234)
    line = shown._line(300.0, columns)
    assert len(line) <= columns
    assert line.endswith(" s left")
    shown.__exit__()


def test_a_short_step_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_terminal(3600, "", monkeypatch).split() == ["note:", "at", "first", "note:", "at", "last"]
