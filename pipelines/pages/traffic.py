"""The requests to a provider over time: what they have cost, and how long the rest may take."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.contract import TRAFFIC, Effort
from tranship.connectors.errors import Damaged

_UNKNOWN: Final = 4
"""How much longer than by its limits alone a write may take, before anything was written: each call is repeated once,
and the provider answers at half of the pace that it permits."""
_COLUMNS: Final = 48
"""Columns of a picture over time."""
_LEAST: Final = 0.1
"""The least uncertainty of a pace that was measured: providers are not equally quick all day."""


class Process(Struct, frozen=True):
    """One process that has worked on a write. `points` are as `connectors.contract.TRAFFIC` describes them."""

    began: str
    points: list[tuple[float, int, int, int, int, float]]


class Traffic(Struct, frozen=True):
    """All processes that have worked on a write, in order."""

    processes: list[Process] = []

    @property
    def seconds(self) -> float:
        """The duration of the write."""
        return sum(process.points[-1][0] for process in self.processes if process.points)

    @property
    def rows(self) -> int:
        """The rows that have an outcome, including those of earlier processes."""
        return max((process.points[-1][1] for process in self.processes if process.points), default=0)

    @property
    def requests(self) -> int:
        """All requests."""
        return self._sum(2)

    @property
    def repeated(self) -> int:
        """Requests that were repeated."""
        return self._sum(3)

    @property
    def throttled(self) -> int:
        """Answers with 429."""
        return self._sum(4)

    @property
    def waited(self) -> float:
        """Seconds of waiting for these."""
        return sum(process.points[-1][5] for process in self.processes if process.points)

    def per_column(self, number: int, at: int) -> list[float]:
        """Return the increase of a counter of one process in each of equal parts of its time."""
        # Customers that earlier processes have written count as soon as a process reads them.
        earlier = max((one.points[-1][1] for one in self.processes[:number] if one.points), default=0) if at == 1 else 0
        points = [(0.0, 0.0)]
        points += [(point[0], max(0.0, float(point[at] - earlier))) for point in self.processes[number].points]
        count = max(1, min(_COLUMNS, len(points) - 1))
        ends = [_value_at(points, points[-1][0] * place / count) for place in range(count + 1)]
        return [after - before for before, after in pairwise(ends)]

    def _sum(self, at: int) -> int:
        return sum(int(process.points[-1][at]) for process in self.processes if process.points)


def read(folder: Path, run_id: str) -> Traffic:
    """Return the traffic of a run; that of one that has sent nothing, or whose file is damaged, has no processes."""
    try:
        found = durable.read_json(folder / TRAFFIC)
        return msgspec.convert(found, Traffic) if found.get("run_id") == run_id else Traffic()
    except (FileNotFoundError, Damaged, msgspec.ValidationError):
        return Traffic()


class Interval(Struct, frozen=True):
    """How long the rest of a write takes, in seconds, and why."""

    least: float
    most: float
    reason: str


def remaining(effort: Effort, rows: int, traffic: Traffic) -> Interval | None:
    """Return the time for the rest of a write of `rows` customers; null if nothing is left or it is unknown.

    Before anything was sent it follows from the limits of the provider; then from the pace that was measured, the more
    narrowly the more was sent.
    """
    left = rows - traffic.rows
    if left <= 0 or not rows:
        return None
    by_limit = effort.writes * left / rows / effort.per_second if effort.per_second else 0.0
    if not traffic.rows or not traffic.seconds:
        if not by_limit:
            return None
        return Interval(by_limit, by_limit * _UNKNOWN, "by the limits of the provider alone")
    measured = traffic.seconds / traffic.rows * left
    spread = 1 + max(_LEAST, 3 / math.sqrt(traffic.rows))
    least = max(by_limit, measured / spread)
    reason = f"from {traffic.rows:,} written in {duration(traffic.seconds)}"
    return Interval(least, max(measured * spread, least), reason)


def _value_at(points: list[tuple[float, float]], time: float) -> float:
    for (before, low), (after, high) in pairwise(points):
        if time <= after:
            return low + (high - low) * ((time - before) / (after - before) if after > before else 1)
    return points[-1][1]


def duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 10:
        return f"{seconds:,.1f} s"
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
