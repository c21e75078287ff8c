"""The command about watermarks: state list, state set, state clear."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from tranship.pipelines.cli import completion
from tranship.pipelines.cli.command_help import LOOK_BACK, Command, Group
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import Decorated, json_option, state_dir_option
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import say, tell, width
from tranship.schemas.counted import counted


def _destination_argument(command: Decorated) -> Decorated:
    return click.argument(
        "destination", shell_complete=completion.addresses, help="Path or URL that the sources were written to."
    )(command)


def _source_option(command: Decorated) -> Decorated:
    text = "Only the watermark of this source, as `state list` shows it."
    return click.option("--source", metavar="NAME", help=text)(command)


_EXAMPLE: Final = '"duckdb:///warehouse.duckdb?table=customers"'


@click.group(
    "state",
    cls=Group,
    job=LOOK_BACK,
    examples=(f"tranship state list {_EXAMPLE}",),
    short_help="How far sources were read",
)
def state_command() -> None:
    """List, set or clear the watermarks of a destination: how far --since last has read each source."""


@state_command.command("list", cls=Command, short_help="List watermarks", examples=(f"tranship state list {_EXAMPLE}",))
@_destination_argument
@state_dir_option
@json_option
@click.pass_obj
def list_command(context: CrashContext, /, destination: str, state_dir: Path, as_json: bool) -> None:
    """List the watermarks of DESTINATION."""
    from tranship.pipelines import states

    context.state_dir = state_dir
    _show(states.entries(states.watermarks(destination, state_dir)), as_json, "No source has a watermark here.")


@state_command.command(
    "set",
    cls=Command,
    common=("source", "state_dir", "as_json"),
    short_help="Set a watermark",
    examples=(f"tranship state set {_EXAMPLE} 2026-01-31T00:00:00Z",),
)
@_destination_argument
@click.argument("value", help="A time, or the whole number of a cursor.")
@_source_option
@state_dir_option
@json_option
@click.pass_obj
def set_command(
    context: CrashContext, /, destination: str, value: str, source: str | None, state_dir: Path, as_json: bool
) -> None:
    """Set a watermark of DESTINATION: the next run with --since last begins there."""
    from tranship.pipelines import states

    context.state_dir = state_dir
    new = states.set_watermark(destination, state_dir, value, source)
    _show(states.entries([new]), as_json, "")


@state_command.command(
    "clear",
    cls=Command,
    common=("source", "state_dir", "as_json"),
    short_help="Remove watermarks and forget files",
    examples=(f"tranship state clear {_EXAMPLE}",),
)
@_destination_argument
@_source_option
@state_dir_option
@json_option
@click.pass_obj
def clear_command(
    context: CrashContext, /, destination: str, source: str | None, state_dir: Path, as_json: bool
) -> None:
    """Remove the watermarks of DESTINATION, and forget the files that were read. The next run with --since last or
    --new-files reads everything.
    """
    from tranship.pipelines import states

    context.state_dir = state_dir
    removed, files = states.clear(destination, state_dir, source)
    tell(f"Removed {counted(len(removed), 'watermark')}; forgot {counted(files, 'file')}.")
    if as_json:
        _show(states.entries(removed), as_json, "")


def _show(marks: list[dict[str, str]], as_json: bool, nothing: str) -> None:
    from tranship.pipelines.cli import layout

    if as_json:
        listed = [{name: value for name, value in mark.items() if name != "shown"} for mark in marks]
        print_json({"watermarks": listed})
    elif marks:
        rows = [(mark["source"], mark["cursor"], mark["shown"], mark["run_id"]) for mark in marks]
        header = ("source", "cursor", "read up to", "run")
        say("\n".join(layout.table(rows, (), width(sys.stdout), header)))
    else:
        tell(nothing)


COMMANDS: Final[tuple[click.Command, ...]] = (state_command,)
