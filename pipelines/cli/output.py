"""The output of commands when they end: JSON, or the summary of a run with the next step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from tranship.pipelines.cli.options import format_run_command, shell
from tranship.schemas.visible import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from tranship.pipelines.report import Report
    from tranship.pipelines.run_directory import RunDirectory


def print_json(text: str) -> None:
    """Print JSON on standard output."""
    # Bytes of file names that are not valid UTF-8 are written as \udcXX, which JSON allows.
    click.echo(visible_json(text).encode())


def summary(report: Report, out: TextIO | None, *, everything: bool = False) -> str:
    """Return the summary of a run and the next step; `everything` includes all reasons, notes and the error."""
    from tranship.pipelines.cli import render

    # During a run, notes are shown when they arise and the error at the end.
    options: dict[str, Any] = {} if everything else {"reasons": 8, "notes": False}
    lines = [render.of_report(report, width=terminal_width(out), **options), *map(visible, _next_step(report))]
    if everything and report.error:
        lines.append(visible_lines(report.error))
    return "\n".join(lines)


def terminal_width(out: TextIO | None) -> int | None:
    """Return the number of columns of a terminal, null for anything else, including a closed stream."""
    return shutil.get_terminal_size().columns if out is not None and out.isatty() else None


def _next_step(report: Report) -> list[str]:
    """Return the command to use next."""
    from tranship.connectors import lookup, opening
    from tranship.connectors.addresses import is_in_python
    from tranship.pipelines import settings
    from tranship.pipelines.report import MOVED
    from tranship.pipelines.run_directory import RunDirectory
    from tranship.pipelines.undo_steps import is_undo

    run = RunDirectory.at(Path(report.run_dir))
    loaded = settings.load(run.manifest["settings"], {})
    if report.status == "partly_done":
        return [f"continue with: {run.go_on}"]
    if report.status not in ("done", "done_with_rejects"):
        return []
    if report.dry_run and run.stands_alone:
        return [f"to apply this, run: {run.go_on}"]
    if is_undo(run):
        undone = run.manifest["undoes"]["run_id"]
        return [f"to apply this, run: {shell('tranship', 'undo', undone)}"] if report.dry_run else []
    if report.stale_by_reason.get(MOVED) or report.counts.unknown or "failed" in report.files:
        return [f"retry failed records with: {run.command('retry')}"]
    in_python = any(map(is_in_python, loaded.sources))
    if report.dry_run and in_python:
        return ["to apply this, make the same call in Python without dry_run"]
    if report.dry_run:
        names = [name for name in type(loaded).model_fields if name not in ("source", "destination", "dry_run")]
        return [f"to apply this, run: {format_run_command(loaded, loaded.sources, names)}"]
    back = _way_back(run, report) if loaded.undo else []
    if not report.counts.rejected:
        return back
    can_add = not loaded.engine and loaded.mode != "mirror"
    can_add = can_add and lookup.connector_of(loaded.destination).abilities.keeps_state
    if not can_add:  # the records of the rejects file would replace all others, or are read by one machine
        again = "make the same call in Python" if in_python else "run the same command"
        return [f"correct the rejected records at the source, then {again} again", *back]
    # Tranship writes the rejects file: options of the source do not apply to it.
    own = opening.option_names(loaded.destination)
    loaded = loaded.model_copy(
        update={"options": {name: loaded.options[name] for name in own if name in loaded.options}}
    )
    file = report.files.get("rejects_workbook") or report.files["rejects"]
    command = format_run_command(loaded, [file], _SETTINGS_FOR_REJECTS)
    return [f"correct the rejected records there, then run: {command}", *back]


def _way_back(run: RunDirectory, report: Report) -> list[str]:
    """Return the command that takes a run back, if it has changed something and can be undone."""
    from tranship.connectors import lookup

    given, counts = run.manifest["settings"], report.counts
    undoes = not given.get("engine") and lookup.connector_of(given["destination"]).abilities.undoes
    changed = counts.created + counts.updated + counts.deleted
    return [f"to take it back, run: {run.command('undo')}"] if undoes and changed else []


_SETTINGS_FOR_REJECTS: Final = (
    *(
        "profile",
        "fields",
        "ignore",
        "values",
        "defaults",
        "options",
        "set",
        "extra",
        "timezone",
        "date_format",
        "blocked",
        "on_invalid",
        "strict",
        "survivor",
        "fill",
    ),
    *("mode", "columns", "nulls", "evolve", "changes", "history", "undo", "state_dir"),
)
"""Settings kept for a run over a rejects file, which has the columns of its source in Tranship's own format."""
