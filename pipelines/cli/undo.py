"""The command undo: take back what an earlier run did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from tranship.pipelines.cli.command_help import MOVE, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.execution import execute
from tranship.pipelines.cli.options import (
    OwnPath,
    given,
    identity_option,
    lock_options,
    output_options,
    run_argument,
    state_dir_option,
)
from tranship.pipelines.option_texts import MAX_CHANGES, MAX_DELETES, OUT, REMOVE_FOR_GOOD


@click.command(
    "undo",
    cls=Command,
    job=MOVE,
    common=("dry_run", "only", "keys", "out", "max_deletes"),
    examples=("tranship undo last --dry-run", "tranship undo last"),
    short_help="Take back what a run did",
)
@run_argument
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["created", "updated", "deleted"]),
    help="Take back only the customers that the run has created, updated or deleted. Repeatable.",
)
@click.option(
    "--keys",
    metavar="FILE",
    type=OwnPath(),
    help="Take back only these customers: a text file with an external id, or an e-mail, on each line.",
)
@click.option("--dry-run", is_flag=True, default=None, help="Show what would be done; write nothing.")
@click.option("--out", metavar="FOLDER", type=OwnPath(), help=OUT)
@click.option("--max-deletes", metavar="N|N%", help=MAX_DELETES)
@click.option("--max-changes", metavar="N|N%", help=MAX_CHANGES)
@click.option(
    "--remove-for-good",
    is_flag=True,
    default=None,
    help=REMOVE_FOR_GOOD,
)
@identity_option
@state_dir_option
@lock_options
@output_options
@click.pass_obj
def undo_command(
    context: CrashContext,
    /,
    run_id: str,
    only: tuple[str, ...],
    keys: Path | None,
    out: Path | None,
    state_dir: Path,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Take back what a run did to its destination. With `last`, that is the last run that has written something.

    What has changed since the run is left alone and listed, field by field: the exit code is 4 then. An undo is a run
    itself, and can be taken back like any other.
    """
    from tranship.pipelines import undo

    context.state_dir = state_dir
    return execute(
        lambda display: undo.undo(state_dir, run_id, display, only=only, keys=keys, out=out, **given(options)),
        as_json,
        log,
        quiet,
    )


COMMANDS: Final[tuple[click.Command, ...]] = (undo_command,)
