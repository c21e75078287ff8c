"""Load a span of time window by window: each window is a run, and the watermark stays where it is.

Finished windows are in `<state dir>/backfills/`, so that the same command continues after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from tranship.connectors import durable, mirrored
from tranship.connectors.contract import position_of
from tranship.connectors.errors import ConfigError
from tranship.pipelines import increment, run
from tranship.pipelines.cursor import Position, text_of
from tranship.pipelines.observer import Observer
from tranship.pipelines.operation_settings import OPERATION
from tranship.pipelines.report import Report
from tranship.pipelines.settings_model import Settings

_UNITS: Final = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_MOST_WINDOWS: Final = 10_000


@dataclass(frozen=True)
class Window:
    """One window of a backfill: records with a cursor from `start` on and before `end`."""

    start: Position
    end: Position
    report: Report | None
    """Null: it was finished before."""


def backfill(settings: Settings, window: str, observer: Observer | None = None) -> Iterator[Window]:
    """Load each window from `since` to `until`, times or whole numbers, in order; yield it when it is finished.

    Raises ConfigError if there is no such window, and what `run.run` raises: the windows before are finished then.
    """
    increment.must_be_on_one_machine(settings, "backfill")
    windows = _windows(settings, window)
    progress = _Progress(settings, window)
    finished = progress.read()
    for first, last in windows:
        if finished is not None and type(finished) is type(last) and last <= finished:  # type: ignore[operator]
            yield Window(first, last, None)
            continue
        # That a backfill is older than the destination is no sign of a wrong input.
        older = settings.older or "skip"
        part = settings.model_copy(update={"since": text_of(first), "until": text_of(last), "older": older})
        yield Window(first, last, run.run(part, observer))
        progress.write(last)
    progress.remove()


def _windows(settings: Settings, window: str) -> list[tuple[Position, Position]]:
    start, end, numbers = str(settings.since), str(settings.until), settings.cursor is not None
    first, last = (
        increment.parse(text, option, settings.timezone, settings.date_format, numbers=numbers)
        for option, text in (("--from", start), ("--to", end))
    )
    found = re.fullmatch(r"([1-9]\d{0,17})|([1-9]\d{0,8})(d|h|min|s)", window)
    if found is None:
        raise ConfigError(
            f"--window {window}: is not a length. Write it as 1d, 6h, 30min, or as 1000 with a numeric --cursor."
        )
    is_number = isinstance(first, int)
    if (found[1] is not None) != is_number or isinstance(last, int) != is_number:
        example = "--from 1 --to 5000 --window 1000" if is_number else "--from 2026-01-01 --to 2026-02-01 --window 1d"
        raise ConfigError(f"--from {start} --to {end} --window {window}: do not fit together. Example: {example}")
    step = int(found[1]) if is_number else timedelta(seconds=int(found[2]) * _UNITS[found[3]])
    if not first < last:  # type: ignore[operator]
        raise ConfigError(f"--from {start} --to {end}: the end is not after the beginning.")
    windows: list[tuple[Position, Position]] = []
    while first < last:  # type: ignore[operator]
        try:
            following: Position = min(first + step, last)  # type: ignore[operator,assignment]
        except OverflowError:  # after the year 9999
            following = last
        windows.append((first, following))
        first = following
        if len(windows) > _MOST_WINDOWS:
            raise ConfigError(f"--window {window}: makes more than {_MOST_WINDOWS:,} windows. Make them longer.")
    return windows


class _Progress:
    """The progress of the backfill of these settings."""

    def __init__(self, settings: Settings, window: str) -> None:
        given = settings.model_dump(
            mode="json",
            exclude={
                *("state_dir", "workers", "memory", "lock_timeout", "statement_timeout", "overlap", *OPERATION),
            },
        )
        digest = hashlib.sha256(json.dumps([given, window], sort_keys=True).encode()).hexdigest()[:32]
        self._folder: Path = settings.state_dir / "backfills"
        self._file = self._folder / f"{digest}.json"
        self._state_dir = settings.state_dir

    def read(self) -> Position | None:
        try:
            return position_of(str(durable.read_json(self._file)["finished"]))
        except FileNotFoundError:
            return None
        except (KeyError, ValueError) as error:
            raise durable.damaged(self._file) from error

    def write(self, finished: Position) -> None:
        for folder in (self._state_dir, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write_json(self._file, {"finished": text_of(finished)})

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)
        mirrored.remove(self._file)
