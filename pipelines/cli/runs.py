"""The commands about earlier runs: runs, report."""

from __future__ import annotations

import dataclasses
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.connectors.errors import ConfigError, LocalFailure
from tranship.pipelines.cli.command_help import LOOK_BACK, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import WholeNumber, json_option, optional_run_argument, state_dir_option
from tranship.pipelines.cli.output import print_json, print_json_text, summary
from tranship.pipelines.cli.terminal import look, say, tell, width
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.run_list import RunSummary


@click.command(
    "runs",
    cls=Command,
    job=LOOK_BACK,
    common=("pipelines", "check", "state_dir", "as_json"),
    examples=("tranship runs", "tranship runs --check max_age=26h"),
    short_help="List runs, find late ones",
)
@click.option(
    "--remove-older-than",
    metavar="DAYS",
    type=WholeNumber(min=0),
    help="Remove runs started more than DAYS days ago.",
)
@click.option("--pipeline", "pipelines", metavar="PIPELINE", multiple=True, help="Only this pipeline. Repeatable.")
@click.option(
    "--check", metavar="max_age=TIME", help="Check that each pipeline has succeeded within this time: max_age=26h."
)
@click.option(
    "--alert", "alerts", metavar="[late=]env:NAME", multiple=True, help="With --check: also alert this address."
)
@click.option(
    "--forget", metavar="NAME", multiple=True, help="Remove the state of a pipeline that no longer runs. Repeatable."
)
@state_dir_option
@json_option
@click.pass_obj
def runs_command(
    context: CrashContext,
    /,
    remove_older_than: int | None,
    pipelines: tuple[str, ...],
    check: str | None,
    alerts: tuple[str, ...],
    forget: tuple[str, ...],
    state_dir: Path,
    as_json: bool,
) -> int:
    """List the runs of each pipeline, newest first, or check that none is late.

    With --check, the exit code is 4 if a pipeline is late. Alerts go to the addresses in the settings of its last run.
    """
    context.state_dir = state_dir
    if forget:
        from tranship.pipelines.operation import freshness

        freshness.forget(state_dir, forget)
        tell(visible(f"Removed: {', '.join(forget)}."))
        return 0
    if alerts and check is None:
        raise ConfigError("--alert: has no effect without --check. Runs have alerts of their own.")
    if check is not None:
        return _check(state_dir, check, pipelines, alerts, as_json)
    _list(state_dir, remove_older_than, pipelines, as_json)
    return 0


def _check(state_dir: Path, check: str, pipelines: tuple[str, ...], alerts: tuple[str, ...], as_json: bool) -> int:
    from tranship.pipelines.cli import run_lists
    from tranship.pipelines.operation import freshness

    checked = freshness.check(state_dir, freshness.max_age(check), pipelines, alerts)
    for problem in checked.problems:
        tell(visible(problem))
    late = any(one.late for one in checked.pipelines)
    if as_json:
        listed = [
            {
                "pipeline": one.pipeline,
                "late": one.late,
                "last_success": one.last_success.isoformat() if one.last_success else None,
            }
            for one in checked.pipelines
        ]
        print_json({"late": late, "pipelines": listed, "problems": checked.problems})
    else:
        say(run_lists.of_freshness(checked.pipelines, width(sys.stdout)))
    return 4 if late else 0


def _list(state_dir: Path, remove_older_than: int | None, pipelines: tuple[str, ...], as_json: bool) -> None:
    from tranship.pipelines import run_list
    from tranship.pipelines.cli import run_lists
    from tranship.pipelines.command_lines import about_runs

    days = None if remove_older_than is None else timedelta(days=remove_older_than)
    found = run_list.list_runs(state_dir, days)
    for run in found:
        if run.problem:
            tell(visible(f"damaged: {run.problem}"))
    for run_id in found.readable:
        tell(
            f"{run_id}: its files with records are readable, because it was stopped before they were encrypted. The "
            f"next successful run of its pipeline encrypts them, or: {about_runs(state_dir, 'report', run_id)}"
        )
    kept = [_entry(run) for run in found if not pipelines or run.pipeline in pipelines]
    if as_json:
        listed = {"runs": kept, "removed": found.removed, "damaged": found.damaged}
        print_json(listed)
        return
    if found.removed:
        tell(f"Removed {counted(len(found.removed), 'run')}.")
    for text in found.damaged.values():
        tell(visible(f"damaged: {text}"))
    if not kept and not found.damaged:
        of = f" of {', '.join(pipelines)}" if pipelines and found else ""
        tell(visible(f"No runs{of} in {state_dir}."))
        return
    if kept:
        say(run_lists.of_runs(kept, look(sys.stdout)))


def _entry(run: RunSummary) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "started_at": run.started_at.isoformat(),
        "status": run.status,
        "source": run.source,
        "destination": run.destination,
        "counts": vars(run.counts) if run.counts else None,
        "run_dir": str(run.run_dir),
        "fixes": dataclasses.asdict(run.fixes) if run.fixes else None,
        "corrects": run.corrects,
    }


@click.command(
    "report",
    cls=Command,
    job=LOOK_BACK,
    common=("state_dir", "as_json"),
    examples=("tranship report last",),
    short_help="Print the report of a run",
)
@optional_run_argument
@state_dir_option
@json_option
@click.pass_obj
def report_command(context: CrashContext, /, run_id: str, state_dir: Path, as_json: bool) -> None:
    """Print the summary of an earlier run, with all reasons."""
    from tranship.pipelines import run_list
    from tranship.pipelines.encryption import session
    from tranship.pipelines.retention import needed
    from tranship.pipelines.run_directory import RunDirectory

    context.state_dir = state_dir
    run = RunDirectory.open(state_dir, run_id)
    failure = session.complete(run, state_dir)
    report = run_list.report_of(run)
    if report is None:
        advice = f"Continue it: {run.go_on}" if needed.is_over(run) else "It is still running."
        raise ConfigError(f"{run.run_id}: has no report yet. {advice}")
    if as_json:
        print_json_text(report.to_json())
    else:
        say(summary(report, sys.stdout, everything=True))
    if failure:
        raise LocalFailure(failure)


COMMANDS: Final[tuple[click.Command, ...]] = (runs_command, report_command)
