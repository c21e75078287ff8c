"""Writes the pages of a run. A bug in a page does not make a run fail whose records are written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from tranship.connectors import durable
from tranship.pipelines.observer import Observer
from tranship.pipelines.pages import frame, outcome
from tranship.pipelines.pages.markup import tag
from tranship.pipelines.pages.run_report import run_report
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

log = logging.getLogger("tranship")

Page: TypeAlias = Callable[[Report, RunDirectory], str]


def write_pages(report: Report, directory: RunDirectory, observer: Observer) -> None:
    """Write report.html. Raises OSError."""
    _write("report.html", run_report, report, directory, observer)


def _write(name: str, page: Page, report: Report, directory: RunDirectory, observer: Observer) -> None:
    try:
        made = page(report, directory)
    except Exception as error:
        log.exception("page", extra={"run_id": report.run_id, "page": name})
        observer.note(
            f"{name} is incomplete because of a bug in Tranship ({type(error).__name__}); the run is not affected, and "
            "report.json has its counts. Please report it, with the output of --log FILE."
        )
        made = _incomplete(report, directory)
    durable.write(directory.path / name, made)


def _incomplete(report: Report, directory: RunDirectory) -> str:
    title = f"Run {report.run_id}"
    return frame.page(
        title,
        outcome.heading(title, report),
        outcome.conclusion(report, str(directory.manifest["started_at"])),
        tag(
            "p",
            "This page is incomplete because of a bug in Tranship. The run is not affected: see report.json.",
        ),
        contents={},
    )
