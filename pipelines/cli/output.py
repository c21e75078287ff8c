"""The output of commands when they end: JSON, or the summary of a run with the next step."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, TextIO

import click

from tranship.connectors import mirrored
from tranship.schemas.visible import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from tranship.pipelines.report import Report


def print_json(text: str) -> None:
    """Print JSON on standard output."""
    # Bytes of file names that are not valid UTF-8 are written as \udcXX, which JSON allows.
    click.echo(visible_json(mirrored.outward(text)).encode())


def summary(report: Report, out: TextIO | None, *, everything: bool = False) -> str:
    """Return the summary of a run and the next step; `everything` includes all reasons, notes and the error."""
    from tranship.pipelines.cli import render

    # During a run, notes are shown when they arise and the error at the end.
    options: dict[str, Any] = {} if everything else {"reasons": 8, "notes": False}
    lines = [render.of_report(report, width=terminal_width(out), **options), *map(visible, _next_steps(report))]
    if everything and report.error:
        lines.append(visible_lines(report.error))
    return "\n".join(lines)


def terminal_width(out: TextIO | None) -> int | None:
    """Return the number of columns of a terminal, null for anything else, including a closed stream."""
    return shutil.get_terminal_size().columns if out is not None and out.isatty() else None


def _next_steps(report: Report) -> list[str]:
    from tranship.pipelines import next_steps

    return [f"{step.purpose}: {step.command}" if step.command else step.purpose for step in next_steps.of(report)]
