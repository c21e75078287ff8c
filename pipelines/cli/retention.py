"""The commands prune and erase: what is kept of earlier runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
import msgspec

from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import json_option, state_dir_option
from tranship.pipelines.cli.output import print_json
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible


@click.command("prune", short_help="Remove old runs, or only their records.")
@click.option("--keep", metavar="AGE", help="Keep runs younger than this: 30d, 12h or 8w.")
@click.option("--keep-last", metavar="N", help="Keep the last N runs of each pipeline.")
@click.option("--keep-failed", is_flag=True, help="Keep runs that did not end well.")
@click.option("--values", metavar="AGE", help="Remove the files with records of all runs older than this.")
@click.option("--pipeline", "pipelines", metavar="NAME", multiple=True, help="Only this pipeline. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@state_dir_option
@json_option
@click.pass_obj
def prune_command(
    context: CrashContext,
    /,
    keep: str | None,
    keep_last: str | None,
    keep_failed: bool,
    values: str | None,
    pipelines: tuple[str, ...],
    dry_run: bool,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Remove the runs that none of the options keeps. A run that is running, that can be continued, or that an open
    plan needs always stays.

    \b
      tranship prune --keep 30d --keep-last 10 --keep-failed --dry-run
      tranship prune --keep 90d --values 7d

    With --values, reports and counts stay, and the files with records go.
    """
    from tranship.pipelines.retention import prune
    from tranship.pipelines.retention.rules import rules_of

    context.state_dir = state_dir
    given = {"keep": keep, "keep_last": keep_last, "values": values, "keep_failed": "true" if keep_failed else ""}
    rules = rules_of({name: text or "" for name, text in given.items()}, "tranship prune")
    pruned = prune.prune(state_dir, rules, pipelines=pipelines, dry_run=dry_run)
    if as_json:
        print_json(json.dumps({"dry_run": dry_run, **msgspec.to_builtins(pruned), "bytes_freed": pruned.bytes_freed}))
        return
    if pruned.completed:
        click.echo(f"completed the interrupted removal of {counted(pruned.completed, 'run')}")
    for removal in pruned.removals:
        click.echo(visible(prune.described(removal, dry_run=dry_run)))
    for run_id, reason in pruned.kept.items():
        click.echo(visible(f"kept {run_id}: {reason}"))
    for name, problem in pruned.damaged.items():
        click.echo(visible(f"damaged, not removed: {name}: {problem}"), err=True)
    if not pruned.removals:
        click.echo("Nothing to remove.", err=True)


COMMANDS: Final[tuple[click.Command, ...]] = (prune_command,)
