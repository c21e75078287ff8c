"""report.html: everything about one run on one page.

It is made from report.json, the manifest and the files of the run directory. A part whose files are missing, as in a
run on an engine, is left out; one whose files cannot be read is named at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl
import pyarrow as pa

from tranship.pipelines import next_steps
from tranship.pipelines.masks import Masks
from tranship.pipelines.pages import (
    columns,
    customers,
    earlier_runs,
    findings,
    frame,
    operation,
    outcome,
    profile,
    samples,
)
from tranship.pipelines.pages.markup import NOTHING, Html, section, tag
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

log = logging.getLogger("tranship")

Found = TypeVar("Found")

_CONTENTS: Final = {
    "next": "Next",
    "records": "Records",
    "rejected": "Rejected",
    "fixed": "Corrected since",
    "refused": "Refused",
    "warnings": "Warnings",
    "corrected": "Corrected",
    "merged": "Merged",
    "changed": "Changed",
    "columns": "Columns",
    "data": "Customers",
    "trend": "Trend",
    "cost": "Time",
    "settings": "Settings",
    "files": "Files",
}
_FILES: Final = {
    "rejects": "rejected lines, with reasons",
    "rejects_parquet": "the same as Parquet",
    "warnings": "warnings, record by record",
    "merges": "merges",
    "stale": "older than the destination",
    "left": "not taken back, with reasons",
    "plan": "planned action for each record",
    "changes": "what would change, record by record",
    "crosswalk": "map of ids",
    "report": "this report as JSON",
}


class Reader:
    """Reads the files of a run, and remembers what could not be read."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def read(self, what: str, nothing: Found, reader: Callable[..., Found], *given: Any) -> Found:
        """Return the result of the reader, or `nothing` if a file is missing or damaged."""
        try:
            return reader(*given)
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
            log.warning("page: cannot be read", extra={"part": what, "error": type(error).__name__})
            self.failed.append(what)
            return nothing

    def note(self) -> Html:
        """Return a sentence on what could not be read."""
        return (
            tag("p", f"Not shown, because its files cannot be read: {', '.join(self.failed)}.")
            if self.failed
            else NOTHING
        )


def run_report(report: Report, directory: RunDirectory) -> str:
    """Return the page of a run."""
    folder, manifest, reader = directory.path, directory.manifest, Reader()
    values = manifest["settings"].get("report_samples", "on") == "on"
    nothing: dict[str, Any] = {}
    masks = Masks.of(manifest["settings"].get("mask") or {})

    def sampled(what: str, read: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        return reader.read(what, nothing, read, folder, masks, *given) if values else nothing

    counts = report.counts
    codes = [code for code, _ in findings.by_frequency(report.rejects_by_code)[: findings.MOST_KINDS]]
    profiled = reader.read("the profile", None, profile.of_customers, folder, masks, _customers(report))
    state_dir = Path(str(manifest["settings"].get("state_dir", folder.parent.parent)))
    runs = folder.parent.parent if not directory.stands_alone else state_dir
    title = f"Run {report.run_id}"
    body = [
        outcome.heading(title, report),
        outcome.conclusion(report, started(manifest)),
        outcome.to_do(next_steps.of(report, directory), report),
        outcome.ways(report),
        outcome.notes(report),
        findings.rejected(report, sampled("rejects", samples.rejects, codes, report.columns) if codes else nothing),
        findings.fixed(report),
        findings.refused(
            report.refused_by_reason,
            sampled("refusals", customers.refused) if counts.refused else nothing,
            "Refused by the destination",
        ),
        findings.warned(report, sampled("warnings", samples.warnings) if counts.warnings else nothing),
        findings.corrected(report.corrected),
        findings.merged(
            report, sampled("merges", samples.merges) if counts.merged else nothing, manifest["settings"]["survivor"]
        ),
        findings.changed(report.changed_fields, sampled("changes", customers.changes) if counts.updated else nothing),
        columns.mapped(
            report,
            reader.read(
                "the sample of the source", None, profile.of_source, folder, masks, _parsed(report), report.columns
            ),
            values=values,
        ),
        columns.customers(profiled, values=values),
        operation.trend(reader.read("earlier runs", [], earlier_runs.earlier_runs, runs, report)),
        operation.cost(report),
        operation.settings(manifest),
        section("Files", findings.listed_files(report, _FILES), anchor="files"),
        _footer(reader, values=values),
    ]
    return frame.page(f"{title}: {report.source}", *body, contents=_CONTENTS)


def _customers(report: Report) -> int:
    counts = report.counts
    return counts.read - counts.skipped - counts.rejected - counts.merged


def _parsed(report: Report) -> int:
    """Return the number of records that could be read: broken lines are not records."""
    broken = sum(count for code, count in report.rejects_by_code.items() if code.startswith("line."))
    return report.counts.read - report.counts.skipped - broken


def started(manifest: Mapping[str, Any]) -> str:
    """Return when a run began (UTC)."""
    return f"{datetime.fromisoformat(manifest['started_at']).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _footer(reader: Reader, *, values: bool) -> Html:
    said = (
        "This page contains values of customers: keep it where their records may be kept. To leave the values out, use "
        "--report-samples off."
        if values
        else "This page contains no values of customers (--report-samples off)."
    )
    return tag("footer", reader.note(), tag("p", said))
