"""Runs whose records were removed, by prune or by an erasure: what they can no longer do, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tranship.connectors.errors import ConfigError
from tranship.pipelines.encryption import marks
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory
from tranship.schemas.counted import counted

VALUES: Final = "values_removed"
"""Key of a manifest: when the files with records were removed."""
ERASED: Final = "erased"
"""Key of a manifest: the erasures, each with its time and the number of records."""

_COMPLETE: Final = "the rest of its records would be handled as if they were all"


def has_lost_values(run: RunDirectory) -> bool:
    """Return whether the files with records were removed."""
    return VALUES in run.manifest


def is_complete(run: RunDirectory) -> bool:
    """Return whether a run still has all of its records, so that it can be corrected and taken back."""
    return not has_lost_values(run) and not run.manifest.get(ERASED)


def report_without(values: dict[str, Any], run: RunDirectory) -> Report:
    """Return the report of a run, without files that were removed. Raises ValueError if it is none."""
    report = Report.of(values)
    if not has_lost_values(run):
        return report
    places = {name: Path(file) for name, file in report.files.items()}
    left = {
        name: str(place)
        for name, place in places.items()
        if not place.is_relative_to(report.run_dir) or (run.path / place.relative_to(report.run_dir)).exists()
    }
    return replace(report, files=left)


def must_have_records(run: RunDirectory, what: str) -> None:
    """Raise ConfigError if a run no longer has its records, or they are encrypted; `what` is what cannot be done: "be
    undone".
    """
    if has_lost_values(run):
        raise ConfigError(
            f"{run.run_id}: its records were removed on {str(run.manifest[VALUES])[:10]}, as its retention says, so it "
            f"cannot {what}. Its report is kept: {run.command('report')}"
        )
    if marks.is_encrypted(run):
        raise ConfigError(
            f"{run.run_id}: its records are encrypted, so it cannot {what} without the key. Give the file with the "
            "secret key: --identity FILE"
        )


def must_be_complete(run: RunDirectory, what: str, advice: str = "") -> None:
    """Raise ConfigError if a run no longer has all of its records; `advice` is what to do instead, if anything."""
    must_have_records(run, what)
    erasures: list[dict[str, Any]] = run.manifest.get(ERASED, [])
    if erasures:
        records = counted(sum(int(erasure["records"]) for erasure in erasures), "entry", "entries")
        raise ConfigError(
            f"{run.run_id}: {records} of a customer were erased from its files on {erasures[-1]['at'][:10]}, so it "
            f"cannot {what}: {_COMPLETE}.{advice}"
        )


def mark_values_removed(run: RunDirectory, now: datetime) -> None:
    """Record, synced, that the files with records are about to be removed."""
    run.manifest[VALUES] = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    run.save()
