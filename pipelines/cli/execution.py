"""The work of a command that takes a while: its log, its progress, and its summary."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tranship.connectors.errors import GateClosed
from tranship.pipelines.cli.output import line_about_failure, print_json_text, summary
from tranship.pipelines.cli.terminal import say, tell

if TYPE_CHECKING:
    from tranship.pipelines.cli.progress import Display
    from tranship.pipelines.report import Report

T = TypeVar("T")


def is_for_machines(log: str | None) -> bool:
    """Return whether the log is on standard error, and has the warnings: nothing else is printed there."""
    return log == "-"


def watched(work: Callable[[Display], T], log: str | None, quiet: bool, *, summarised: bool = True) -> T:
    """Do the work, show its progress, and the summary of a run that a limit has stopped; return the result."""
    from tranship.pipelines.cli import log_file, progress

    gc.freeze()
    gc.enable()
    quiet = quiet or is_for_machines(log)
    with log_file.logged(log):
        try:
            with progress.Warnings(not is_for_machines(log)) if quiet else progress.display() as display:
                return work(display)
        except GateClosed as error:
            if summarised and not quiet and error.report is not None:
                say(summary(error.report, sys.stderr), err=True)
            raise


def execute(
    work: Callable[[Display], Report], as_json: bool, log: str | None, quiet: bool, *, summarised: bool = True
) -> int:
    """Do the work of a command, show its progress and its summary, and return the exit code."""
    report = watched(work, log, quiet, summarised=summarised)
    if not is_for_machines(log):
        if summarised and not quiet:
            say(summary(report, sys.stderr), err=True)
        if quiet and report.exit_code:
            tell(line_about_failure(report))
    if as_json:
        print_json_text(report.to_json())
    return report.exit_code
