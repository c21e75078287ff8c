"""The commands about earlier runs: runs, report."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import json_option, state_dir_option
from tranship.pipelines.cli.output import print_json, summary
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.run_list import RunSummary


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
    from tranship.pipelines import run_list
    from tranship.pipelines.cli import render

    context.state_dir = state_dir
    days = None if remove_older_than is None else timedelta(days=remove_older_than)
    found = run_list.list_runs(state_dir, days)
    for run in found:
        if run.problem:
            click.echo(visible(f"damaged: {run.problem}"), err=True)
    kept = [_entry(run) for run in found]
    if as_json:
        listed = {"runs": kept, "removed": found.removed, "damaged": found.damaged}
        print_json(json.dumps(listed, indent=1))
        return
    if found.removed:
        click.echo(f"Removed {counted(len(found.removed), 'run')}.", err=True)
    for text in found.damaged.values():
        click.echo(visible(f"damaged: {text}"), err=True)
    if not kept and not found.damaged:
        click.echo(visible(f"No runs in {state_dir}."), err=True)
        return
    if kept:
        click.echo(render.of_runs(kept))


def _entry(run: RunSummary) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "started_at": run.started_at.isoformat(),
        "status": run.status,
        "source": run.source,
        "destination": run.destination,
        "counts": vars(run.counts) if run.counts else None,
        "run_dir": str(run.run_dir),
    }


@click.command("report", short_help="Print the report of an earlier run.")
@click.argument("run_id", metavar="RUN", default="last")
@state_dir_option
@json_option
@click.pass_obj
def report_command(context: CrashContext, /, run_id: str, state_dir: Path, as_json: bool) -> None:
    """Print the summary of an earlier run with all reasons. RUN is its id, or `last`."""
    from tranship.pipelines import run_list
    from tranship.pipelines.run_directory import RunDirectory

    context.state_dir = state_dir
    run = RunDirectory.open(state_dir, run_id)
    report = run_list.report_of(run)
    if report is None:
        advice = f"Continue it: {run.go_on}" if run_list.is_over(run) else "It is still running."
        raise ConfigError(f"{run.run_id}: has no report yet. {advice}")
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(summary(report, sys.stdout, everything=True))


COMMANDS: Final[tuple[click.Command, ...]] = (runs_command, report_command)
