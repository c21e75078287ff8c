"""The command about watermarks: state list, state set, state clear."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import Decorated, json_option, state_dir_option
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import say, width
from tranship.schemas.counted import counted


def _source_option(command: Decorated) -> Decorated:
    text = "Only the watermark of this source, as `state list` shows it."
    return click.option("--source", metavar="SOURCE", help=text)(command)


@click.group("state", short_help="List, set or clear how far sources were read.")
def state_command() -> None:
    """List, set or clear the watermarks of DESTINATION: how far --since last has read each source.

    \b
      tranship state list "duckdb:///warehouse.duckdb?table=customers"
    """


@state_command.command("list")
@click.argument("destination")
@state_dir_option
@json_option
@click.pass_obj
def list_command(context: CrashContext, /, destination: str, state_dir: Path, as_json: bool) -> None:
    """List the watermarks of DESTINATION."""
    from tranship.pipelines import states

    context.state_dir = state_dir
    _show(states.entries(states.watermarks(destination, state_dir)), as_json, "No source has a watermark here.")


@state_command.command("set")
@click.argument("destination")
@click.argument("value")
@_source_option
@state_dir_option
@json_option
@click.pass_obj
def set_command(
    context: CrashContext, /, destination: str, value: str, source: str | None, state_dir: Path, as_json: bool
) -> None:
    """Set a watermark of DESTINATION to VALUE: a time, or the whole number of a cursor. The next run with --since last
    begins there.
    """
    from tranship.pipelines import states

    context.state_dir = state_dir
    new = states.set_watermark(destination, state_dir, value, source)
    _show(states.entries([new]), as_json, "")


@state_command.command("clear")
@click.argument("destination")
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
    say(f"Removed {counted(len(removed), 'watermark')}; forgot {counted(files, 'file')}.", err=True)
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
        say(nothing, err=True)


COMMANDS: Final[tuple[click.Command, ...]] = (state_command,)
