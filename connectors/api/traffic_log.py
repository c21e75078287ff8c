"""The requests of a run over time, for its pages: traffic.json in the workspace of its write.

Each process that works on a write adds one entry. Its series has a point at most every second, and becomes coarser as
the process takes longer, so that the file stays small.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tranship.connectors import durable
from tranship.connectors.api.http_client import Traffic
from tranship.connectors.errors import Damaged

_POINTS: Final = 240
_SECONDS: Final = 1.0


class TrafficLog:
    """The series of this process. For one thread."""

    def __init__(self, file: Path, run_id: str, traffic: Traffic) -> None:
        self._file, self._run_id, self._traffic = file, run_id, traffic
        self._began, self._start = datetime.now(UTC), time.monotonic()
        self._points: list[list[float]] = []
        self._interval, self._next = _SECONDS, 0.0

    def sample(self, done: int) -> None:
        """Add a point, unless the last one is recent. `done` is the number of rows with an outcome."""
        passed = time.monotonic() - self._start
        if passed < self._next:
            return
        self._add(passed, done)
        if len(self._points) > _POINTS:
            del self._points[1::2]
            self._interval *= 2
        self._next = passed + self._interval

    def _add(self, passed: float, done: int) -> None:
        traffic = self._traffic
        counts = (traffic.requests, traffic.repeated, traffic.throttled, round(traffic.waited, 3))
        self._points.append([round(passed, 3), done, *counts])

    def close(self, done: int) -> None:
        """Add the last point and write the file, together with the entries of earlier processes."""
        self._add(time.monotonic() - self._start, done)
        entry = {"began": self._began.isoformat(), "points": self._points}
        # Nothing depends on it but a picture.
        with contextlib.suppress(OSError):
            durable.write_json(self._file, {"run_id": self._run_id, "processes": [*self._earlier(), entry]})

    def _earlier(self) -> list[Any]:
        try:
            found = durable.read_json(self._file)
        except (FileNotFoundError, Damaged):
            return []
        return list(found.get("processes", [])) if found.get("run_id") == self._run_id else []
