"""Writes the pages of a run. A bug in a page does not make a run fail whose records are written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TypeAlias

from tranship.connectors import durable
from tranship.pipelines.encryption.marks import encrypted_later
from tranship.pipelines.observer import Observer
from tranship.pipelines.pages import frame, outcome
from tranship.pipelines.pages.markup import tag
from tranship.pipelines.pages.run_report import run_report
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import PLAN_STEP, RunDirectory

log = logging.getLogger("tranship")

Page: TypeAlias = Callable[[Report, RunDirectory], str]


def write_pages(report: Report, directory: RunDirectory, observer: Observer) -> None:
    """Write report.html; in the folder of a plan also plan.html, once there is a plan. Raises OSError."""
    _write("report.html", run_report, report, directory, observer)
    if directory.stands_alone and directory.done(PLAN_STEP) is not None:
        # Few runs have such a page.
        from tranship.pipelines.pages.plan_page import plan_page

        _write("plan.html", plan_page, report, directory, observer)
    write_migration_page(report, directory, observer)


def write_migration_page(report: Report, directory: RunDirectory, observer: Observer) -> None:
    """Write migration.html, if the run has begun to write to a provider. Raises OSError."""
    planned = directory.done(PLAN_STEP) or {}
    if directory.has_begun_to_write and planned.get("effort"):
        from tranship.pipelines.pages.migration_page import migration_page

        _write("migration.html", migration_page, report, directory, observer)


def _write(name: str, page: Page, report: Report, directory: RunDirectory, observer: Observer) -> None:
    try:
        made = page(_as_encrypted(report, directory), directory)
    except Exception as error:
        log.exception("page", extra={"run_id": report.run_id, "page": name})
        observer.note(
            f"{name} is incomplete because of a bug in Tranship ({type(error).__name__}); the run is not affected, and "
            "report.json has its counts. Please report it, with the output of --log FILE."
        )
        made = _incomplete(report, directory)
    durable.write(directory.path / name, made)


def _as_encrypted(report: Report, directory: RunDirectory) -> Report:
    """Return a report with the names that its files have once they are encrypted, which follows if the run asks for it:
    a page is read after that.
    """
    files = {name: encrypted_later(directory, file) for name, file in report.files.items()}
    return dataclasses.replace(report, files=files)


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
