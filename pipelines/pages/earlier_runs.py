"""The runs before this one that did the same work, from their reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.errors import Damaged

RUNS: Final = 20
_LOOKED_AT: Final = 200
"""Run directories that are looked at, newest first."""
_SECOND: Final = 15
"""Characters of a run's id up to the second in which it began."""
_DIGITS: Final = re.compile(r"\d+")


class _Counts(Struct, frozen=True):
    read: int = 0
    rejected: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0


class _Report(Struct, frozen=True):
    """The part of report.json that is compared."""

    run_id: str
    status: str
    exit_code: int
    dry_run: bool
    source: str
    destination: str
    counts: _Counts = _Counts()
    seconds: dict[str, float] = {}


class EarlierRun(Struct, frozen=True):
    """One run: `started` is the time in its id, `YYYY-MM-DD HH:MM` (UTC)."""

    run_id: str
    started: str
    status: str
    exit_code: int
    read: int
    rejected: int
    created: int
    changed: int
    seconds: float


def earlier_runs(state_dir: Path, report: Any) -> list[EarlierRun]:
    """Return the last runs like this one, oldest first and this one last: of the same source into the same destination.
    Numbers in the source's name, such as dates, may differ. Dry runs do not count.

    `report` is that of this run (`pipelines.report.Report`).
    """
    found = [_earlier(msgspec.convert(report, _Report, from_attributes=True))]
    like = _work(found[0][1])
    for other in _reports(state_dir / "runs", report.run_id):
        if not other.dry_run and _work(other) == like:
            found.append(_earlier(other))
            if len(found) > RUNS:
                break
    return [run for run, _ in reversed(found)]


def _reports(runs: Path, before: str) -> Iterator[_Report]:
    names = sorted((path.name for path in runs.iterdir()), reverse=True) if runs.is_dir() else []
    # Of the runs that began in the same second, the order is unknown.
    earlier = [name for name in names if name != before and name[:_SECOND] <= before[:_SECOND]]
    for name in earlier[:_LOOKED_AT]:
        try:
            yield msgspec.convert(durable.read_json(runs / name / "report.json"), _Report)
        except (OSError, Damaged, msgspec.ValidationError):
            # It broke off, or was changed: `tranship runs` says so.
            continue


def _earlier(report: _Report) -> tuple[EarlierRun, _Report]:
    counts, run_id = report.counts, report.run_id
    started = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]} {run_id[9:11]}:{run_id[11:13]}"
    run = EarlierRun(
        *(run_id, started, report.status, report.exit_code, counts.read, counts.rejected, counts.created),
        *(counts.updated + counts.deleted, report.seconds.get("total", 0)),
    )
    return run, report


def _work(report: _Report) -> tuple[str, str]:
    return _DIGITS.sub("0", report.source), report.destination
