"""Limits of an ordinary run, given or learned from earlier runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tranship.pipelines.operation_settings import LEARNED
from tranship.pipelines.report import Report
from tranship.pipelines.setting_values import limit, seconds
from tranship.schemas.counted import counted

LEARNS_FROM: Final = 20
"""The number of runs from which a band is learned."""
_LEAST: Final = 5
"""With fewer runs, nothing is learned."""
_LASTING: Final = 10
"""As many unexpected runs in a row are the new normal, and are learned from."""


class Measured(Struct, frozen=True):
    """The measurements of a complete run. `considered` are the records that no filter left out. `idle_days` are the
    days since a run of this pipeline changed a customer. `unexpected` is whether a limit was broken.
    """

    rows: int
    considered: int
    rejects: int
    seconds: float
    idle_days: float
    unexpected: bool = False


class _Band(Struct, frozen=True):
    """A range of values; null is no limit."""

    low: float | None
    high: float | None
    learned_from: int = 0
    """The number of runs, 0 if it was given."""

    def has(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def measured(report: Report, seconds: float, idle_days: float) -> Measured:
    """Return the measurements of a complete run."""
    counts = report.counts
    return Measured(counts.read, counts.read - counts.skipped, counts.rejected, seconds, idle_days)


def unexpected(expect: Mapping[str, str], run: Measured, before: Sequence[Measured]) -> tuple[str, ...]:
    """Return a phrase for each limit that a run breaks. `before` are the complete runs before it, oldest first."""
    known = _learned_from(before)
    found = []
    for name, text in expect.items():
        value = _value(name, run)
        band = _learned(name, known) if text == LEARNED else _given(name, text, run)
        if band is not None and not band.has(value):
            by_runs = f", learned from {counted(band.learned_from, 'run')}" if band.learned_from else ""
            found.append(f"{_shown(name, value)}; expected {_shown_band(name, band, text)}{by_runs}")
    return tuple(found)


def _learned_from(before: Sequence[Measured]) -> Sequence[Measured]:
    """Return the runs to learn from. Unexpected runs in a row count as one; those at the end are left out, until they
    are the new normal.
    """
    lasting = 0
    while lasting < len(before) and before[-1 - lasting].unexpected:
        lasting += 1
    over, now = before[: len(before) - lasting], before[len(before) - lasting :]
    usual = [run for at, run in enumerate(over) if not (run.unexpected and at and over[at - 1].unexpected)]
    return [*usual, *(now if lasting >= _LASTING else [])][-LEARNS_FROM:]


def _learned(name: str, runs: Sequence[Measured]) -> _Band | None:
    """Return the band from the second-lowest to the second-highest value, with a margin, so that a single outlier is
    not learned. Null if there are too few runs.
    """
    if len(runs) < _LEAST:
        return None
    values = sorted(_value(name, run) for run in runs)
    low, high = values[1], values[-2]
    above = high + _margin(name, high)
    if name != "rows":
        return _Band(None, above, len(runs))
    return _Band(max(0, math.ceil(low - _margin(name, low))), math.floor(above), len(runs))


def _margin(name: str, value: float) -> float:
    """Return how far a value may lie outside of those seen: a quarter, and more where numbers are so small that they
    vary by chance. Durations may double, since other work on the machine delays a run.
    """
    if name == "duration":
        return max(value, 60)
    if name == "days_without_change":
        return max(value / 4, 1)
    return max(value / 4, 3 * math.sqrt(value), 3)


def _given(name: str, text: str, run: Measured) -> _Band:
    if name == "rows":
        low, _, high = text.partition("..")
        return _Band(float(low) if low else None, float(high) if high else None)
    if name == "duration":
        return _Band(None, seconds(text))
    return _Band(None, limit(text, run.considered) if name == "rejects" else float(text))


def _value(name: str, run: Measured) -> float:
    if name == "days_without_change":
        return round(run.idle_days)  # a nightly run does not end at the same second
    return {"rows": run.rows, "rejects": run.rejects, "duration": run.seconds}[name]


def _shown(name: str, value: float) -> str:
    if name == "duration":
        return f"{value:,.0f} s"
    count = round(value)
    nouns = {"rows": ("record read", "records read"), "rejects": ("rejected record", "rejected records")}
    return counted(count, *nouns.get(name, ("day without a change", "days without a change")))


def _shown_band(name: str, band: _Band, text: str) -> str:
    if name == "rows" and band.low is not None and band.high is not None:
        return f"{band.low:,.0f} to {band.high:,.0f}"
    if band.high is None:
        return f"at least {band.low:,.0f}"
    unit = " s" if name == "duration" else ""
    return f"at most {text if text.endswith('%') else f'{math.floor(band.high):,}{unit}'}"
