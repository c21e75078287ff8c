"""The command fix: correct the rejects of a run in a file, and load them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli.command_help import MOVE, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.execution import is_for_machines, watched
from tranship.pipelines.cli.options import (
    OwnPath,
    given,
    identity_option,
    lock_options,
    output_options,
    run_argument,
    state_dir_option,
)
from tranship.pipelines.cli.output import print_json_text, summary
from tranship.pipelines.cli.terminal import say
from tranship.pipelines.command_lines import shell
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.cli.progress import Display
    from tranship.pipelines.fixing.result import Fix

_MOST_ROWS: Final = 20
"""Refused rows that are listed; --json has all."""


@click.command(
    "fix",
    cls=Command,
    job=MOVE,
    common=("out", "file", "dry_run", "always"),
    examples=("tranship fix last --out rejects.xlsx", "tranship fix last --from rejects.xlsx"),
    short_help="Correct rejects",
)
@run_argument
@click.option(
    "--out", metavar="FILE", type=OwnPath(), help="New file for the rejects, .xlsx or .csv. Default: rejects-RUN.xlsx."
)
@click.option("--from", "file", metavar="FILE", type=OwnPath(), help="Load the corrected rejects in this file.")
@click.option("--dry-run", is_flag=True, default=None, help="Show what would be done; write nothing.")
@click.option(
    "--always",
    metavar="COLUMN",
    multiple=True,
    help="Make a rule of each value changed in this column, so that later runs correct it by themselves. Repeatable.",
)
@click.option(
    "--corrections",
    metavar="RULES",
    type=OwnPath(),
    help="File for these rules. Default: that of the run, or corrections.toml.",
)
@click.option("--why", metavar="NOTE", help="Why these rules are right, as a note in the file.")
@identity_option
@state_dir_option
@lock_options
@output_options
@click.pass_obj
def fix_command(
    context: CrashContext,
    /,
    run_id: str,
    out: Path | None,
    file: Path | None,
    always: tuple[str, ...],
    corrections: Path | None,
    why: str | None,
    identity: Path | None,
    state_dir: Path,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Write the rejects of a run to a file, or load the corrected ones from it.

    Correct values in the rows; nothing else may change. Write `drop` in the column _action for a record that is not
    worth correcting. A row that is not changed stays open. The corrected ones are loaded as the run itself would have
    loaded them, and its report has what became of each.
    """
    from tranship.pipelines.fixing import fix

    context.state_dir = state_dir
    options = given(options)
    if file is None:
        of_loading = {"always": always, "why": why, "corrections": corrections, **options}
        if beside := [name for name in ("always", "why", "dry_run", "corrections") if of_loading.get(name)]:
            raise ConfigError(f"--{beside[0].replace('_', '-')}: has no effect without --from FILE.")
        done = fix.write(state_dir, run_id, out, identity)
    elif out is not None:
        raise ConfigError("--out: cannot be combined with --from. Write the rejects first, then load them.")
    else:

        def work(display: Display) -> Fix:
            return fix.load(
                *(state_dir, run_id, file, display),
                always=always,
                rules=corrections,
                why=why,
                identity=identity,
                **options,
            )

        done = watched(work, log, quiet)
        if done.report is not None and not quiet and not is_for_machines(log):
            say(summary(done.report, sys.stderr) + "\n", err=True)
    if not is_for_machines(log) and (not quiet or done.exit_code):
        lines = _loaded(done) if file is not None else _written(done, state_dir)
        say("\n".join(map(visible, lines)), err=True)
    if as_json:
        print_json_text(done.to_json())
    return done.exit_code


def _written(done: Fix, state_dir: Path) -> list[str]:
    from tranship.pipelines.run_directory import RunDirectory

    lines = [f"{counted(done.rows, 'reject')} written to {done.file}", *(f"note: {note}" for note in done.notes)]
    command = f"{RunDirectory.open(state_dir, done.run_id).command('fix')} {shell('--from', done.file)}"
    return [
        *lines,
        *([f"run {done.run_id}: {done.fixes}"] if done.fixes.runs else []),
        f"correct them there, then run: {command}",
    ]


def _loaded(done: Fix) -> list[str]:
    lines = []
    if done.report is None:
        lines.append(f"Nothing to load: no open row of {done.file} was changed.")
    if done.refused:
        lines.append(f"{counted(len(done.refused), 'row')} of {done.file} refused:")
        lines += [f"  row {found.row}: {found.reason}" for found in done.refused[:_MOST_ROWS]]
        more = len(done.refused) - _MOST_ROWS
        lines += [f"  and {more:,} more"] if more > 0 else []
    if done.settled:
        lines.append(f"{counted(done.settled, 'row')} loaded or dropped earlier, and left as they are")
    if done.remade:
        cells = ", ".join(f"{column} {count:,}" for column, count in done.remade.items())
        lines.append(f"restored, because a spreadsheet had changed them by itself: {cells}")
    if done.rules:
        lines.append(f"{counted(done.rules, 'rule')} added to the corrections. Use them: --corrections FILE")
    lines += [f"note: {note}" for note in done.notes]
    return [*lines, f"run {done.run_id}: {done.fixes}"]


COMMANDS: Final[tuple[click.Command, ...]] = (fix_command,)
