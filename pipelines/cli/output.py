"""The output of commands when they end: JSON, or the summary of a run with the next step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from tranship.connectors import mirrored
from tranship.pipelines.cli import terminal
from tranship.schemas.schema_version import SCHEMA_VERSION
from tranship.schemas.visible import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from tranship.pipelines.report import Report


def print_json(values: Mapping[str, Any]) -> None:
    """Print an object as JSON on standard output, with its version."""
    print_json_text(json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=1))


def print_json_text(text: str) -> None:
    """Print JSON on standard output."""
    # Bytes of file names that are not valid UTF-8 are written as \udcXX, which JSON allows.
    click.echo(visible_json(mirrored.outward(text)).encode())


def summary(report: Report, out: TextIO | None, *, everything: bool = False) -> str:
    """Return the summary of a run and the next step; `everything` includes all reasons, notes and the error."""
    from tranship.pipelines.cli import render
    from tranship.pipelines.cli.layout import wrapped_text

    # During a run, notes are shown when they arise and the error at the end.
    options: dict[str, Any] = {} if everything else {"reasons": 8, "notes": False}
    look = terminal.look(out)
    lines = [render.of_report(report, look=look, **options), *_explanation(report, look.width)]
    lines += _next_steps(report, look.width)
    if everything and report.error:
        lines.append(wrapped_text(visible_lines(report.error), look.width))
    return "\n".join(lines)


def _explanation(report: Report, width: int | None) -> list[str]:
    """Return how to look up the code of most rejects or, without any, of most refusals or warnings."""
    from tranship.pipelines import explain
    from tranship.pipelines.cli import render

    for counts in (report.rejects_by_code, report.refused_by_reason, report.warnings_by_code):
        by_frequency = sorted((code for code, count in counts.items() if count), key=lambda code: (-counts[code], code))
        if code := explain.first_with_text(by_frequency):
            return render.explanation_of(code, width)
    return []


def line_about_failure(report: Report) -> str:
    """Return how a run ended that needs attention, in one line, for those who asked for no summary."""
    from tranship.pipelines.report import status_text

    counts = report.counts
    what = [("rejected", counts.rejected), ("refused", counts.refused), ("stale", counts.stale), ("left", counts.left)]
    what += [("unknown", counts.unknown), ("withheld", counts.withheld), ("warnings", counts.warnings)]
    shown = ", ".join(f"{name} {count:,}" for name, count in what if count)
    page = report.files.get("page")
    return visible(
        f"{status_text(report)}, exit code {report.exit_code}: {report.source} → {report.destination}"
        f"{f', {shown}' if shown else ''}{f', report: {page}' if page else ''}"
    )


def _next_steps(report: Report, width: int | None) -> list[str]:
    from tranship.pipelines import next_steps
    from tranship.pipelines.cli.layout import labelled, wrapped

    lines: list[str] = []
    for step in next_steps.of(report):
        purpose = visible(step.purpose)
        lines += labelled(purpose, visible(step.command), width) if step.command else wrapped(purpose, width, "  ", "")
    return lines
