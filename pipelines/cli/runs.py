"""The commands about earlier runs: runs, report."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.connectors.errors import (
    ConfigError,
)
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import (
    json_option,
    state_dir_option,
)
from tranship.pipelines.cli.output import print_json, summary
from tranship.schemas.counted import counted

if TYPE_CHECKING:
    from tranship.pipelines.report import Report
    from tranship.pipelines.stage import RunDirectory


@click.command("runs")
@click.option(
    "--remove-older-than",
    metavar="DAYS",
    type=click.IntRange(min=0),
    help="Remove runs started more than DAYS days ago.",
)
@state_dir_option
@json_option
@click.pass_obj
def runs_command(context: CrashContext, /, remove_older_than: int | None, state_dir: Path, as_json: bool) -> None:
    """List runs, newest first."""
    from tranship.pipelines import stage
    from tranship.pipelines.cli import render

    context.state_dir = state_dir
    found, damaged = stage.all_runs(state_dir), stage.damaged_runs(state_dir)
    removed = []
    if remove_older_than is not None:
        limit = datetime.now(UTC) - timedelta(days=remove_older_than)
        old = [run for run in found if _has_ended(run) and datetime.fromisoformat(run.manifest["started_at"]) < limit]
        removed = [run for run in old if run.remove()]
    kept = [_entry(run) for run in found if run not in removed]
    if as_json:
        listed = {"runs": kept, "removed": [run.run_id for run in removed], "damaged": damaged}
        print_json(json.dumps(listed, indent=1))
        return
    if removed:
        click.echo(f"Removed {counted(len(removed), 'run')}.", err=True)
    for text in damaged.values():
        click.echo(f"damaged: {text}", err=True)
    if not kept and not damaged:
        click.echo(f"No runs in {state_dir}.", err=True)
        return
    if kept:
        click.echo(render.of_runs(kept))


def _has_ended(run: RunDirectory) -> bool:
    return run.manifest["status"] != "running" or run.is_abandoned()


def _entry(run: RunDirectory) -> dict[str, Any]:
    from tranship.pipelines import settings

    try:
        report = _load_report(run)
    except ConfigError as error:
        report = None
        click.echo(f"damaged: {error}", err=True)
    return {
        "run_id": run.run_id,
        "started_at": run.manifest["started_at"],
        "status": "died" if run.is_abandoned() else run.manifest["status"],
        "source": settings.named(run.manifest["settings"]["source"]),
        "destination": run.manifest["settings"]["destination"],
        "counts": vars(report.counts) if report else None,
        "run_dir": str(run.path),
    }


def _load_report(run: RunDirectory) -> Report | None:
    """Return the report of a run, null if it has none. Raises ConfigError if the report is damaged."""
    from tranship.pipelines.report import Report

    values = run.report()
    try:
        return Report.of(values) if values is not None else None
    except ValueError as error:
        raise ConfigError(f"{run.path / 'report.json'}: is not as Tranship wrote it.") from error


@click.command("report", short_help="Print the report of an earlier run.")
@click.argument("run_id", metavar="RUN", default="last")
@state_dir_option
@json_option
@click.pass_obj
def report_command(context: CrashContext, /, run_id: str, state_dir: Path, as_json: bool) -> None:
    """Print the summary of an earlier run with all reasons. RUN is its id, or `last`."""
    from tranship.pipelines.stage import RunDirectory

    context.state_dir = state_dir
    run = RunDirectory.open(state_dir, run_id)
    report = _load_report(run)
    if report is None:
        advice = f"Continue it: {run.go_on}" if _has_ended(run) else "It is still running."
        raise ConfigError(f"{run.run_id}: has no report yet. {advice}")
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(summary(report, sys.stdout, everything=True))


COMMANDS: Final[tuple[click.Command, ...]] = (runs_command, report_command)
