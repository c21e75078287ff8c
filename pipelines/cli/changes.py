"""The command changes: what earlier runs have changed, as a table for people, as CSV, or as JSON lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.pipelines.cli.command_help import LOOK_BACK, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import identity_option, json_option, run_arguments, state_dir_option
from tranship.pipelines.cli.output import print_json_text
from tranship.pipelines.cli.terminal import say, tell, width
from tranship.schemas.counted import counted
from tranship.schemas.schema_version import SCHEMA_VERSION
from tranship.schemas.visible import visible_json, visible_lines

if TYPE_CHECKING:
    import polars as pl

_VERBS: Final = {"create": "created", "update": "updated", "delete": "deleted"}


@click.command(
    "changes",
    cls=Command,
    job=LOOK_BACK,
    common=("key", "form", "state_dir", "as_json"),
    examples=("tranship changes last", "tranship changes last --format csv"),
    short_help="List what a run changed",
)
@run_arguments
@click.option("--key", metavar="KEY", help="Show only this customer: its external id or, if it has none, its e-mail.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "jsonl"]),
    default="table",
    show_default=True,
    help="table shortens long values; csv has a line for each changed field, jsonl one for each customer.",
)
@identity_option
@state_dir_option
@json_option
@click.pass_obj
def changes_command(
    context: CrashContext,
    /,
    run_ids: tuple[str, ...],
    key: str | None,
    form: str,
    identity: Path | None,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Show which customers a run has created, updated or deleted, with the values before and after.

    The changes of a run into a table are read from that table's database, those of a run to a provider from the run's
    own files.
    """
    from tranship.pipelines import changes

    context.state_dir = state_dir
    counts: Counter[str] = Counter()
    first = 0

    def counted_frames() -> Iterator[pl.DataFrame]:
        nonlocal first
        for frame in changes.changes_with_key(state_dir, run_ids, key, identity):
            first += changes.of_first_load(frame)
            counts.update(frame["action"].to_list())
            yield frame

    if as_json:
        lines = [line for frame in counted_frames() for line in changes.json_lines(frame)]
        print_json_text(f'{{"schema_version": {SCHEMA_VERSION}, "changes": [{", ".join(lines)}]}}')
        return
    if form == "csv":
        say(",".join(changes.BY_FIELD))
    for frame in counted_frames():
        _print(frame, form, is_first=counts.total() == frame.height)
    done = ", ".join(f"{counts[action]:,} {verb}" for action, verb in _VERBS.items() if counts[action])
    tell(f"{counted(counts.total(), 'change')}: {done}" if done else "No changes.")
    if first:
        say(
            f"{counted(first, 'customer')} of a first load: only {'its key is' if first == 1 else 'keys are'} "
            "recorded, because the table has the values.",
            err=True,
        )


def _print(frame: pl.DataFrame, form: str, *, is_first: bool) -> None:
    from tranship.pipelines import changes
    from tranship.pipelines.cli import render
    from tranship.schemas import cells

    if form == "jsonl":
        for line in changes.json_lines(frame):
            click.echo(visible_json(line).encode())
    elif form == "csv":
        listed = cells.as_csv(changes.by_field(frame).lazy()).collect()
        text = listed.write_csv(include_header=False)
        click.echo((visible_lines(text) if sys.stdout.isatty() else text).encode(), nl=False)
    else:
        shown: list[dict[str, Any]] = changes.by_field(frame).to_dicts()
        say(render.of_changes(shown, width=width(sys.stdout), is_first=is_first))


COMMANDS: Final[tuple[click.Command, ...]] = (changes_command,)
