"""The command that loads a span of time: backfill."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.pipelines.cli import completion
from tranship.pipelines.cli.command_help import MOVE
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import SettingsCommand, given, json_option
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import tell
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.backfill import Window


@click.command(
    "backfill",
    cls=SettingsCommand,
    model="Settings",
    without=("full", "lookback", "new_files", "settle", "deletes", "max_deletes", "remove_for_good"),
    job=MOVE,
    common=("since", "until", "window", "cursor", "max_rejects"),
    examples=(
        'tranship backfill customers.csv "duckdb:///past.duckdb?table=customers" --from 2026-01-01 --to 2026-01-03',
    ),
    short_help="Load a span of time",
)
@click.argument(
    "source", metavar="SOURCE", shell_complete=completion.addresses, help="Path, glob, folder or URL to read from."
)
@click.argument(
    "destination", metavar="DESTINATION", shell_complete=completion.addresses, help="Path or URL to write to."
)
@click.option("--from", "since", required=True, metavar="TIME", help="Load records from this time on.")
@click.option("--to", "until", required=True, metavar="TIME", help="Load records before this time.")
@click.option("--window", default="1d", show_default=True, metavar="TIME", help="Length of a window, e.g. 1d or 6h.")
@json_option
@click.pass_obj
def backfill_command(
    context: CrashContext,
    /,
    source: str,
    destination: str,
    window: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Load the records of SOURCE whose updated_at (or --cursor) is within a span of time into DESTINATION, one run for
    each window.

    The watermark of --since last stays where it is. After an interruption, the same command continues with
    the window that was not finished.
    """
    from tranship.pipelines import backfill, settings

    configured = settings.from_command((source,), destination, given(options), os.environ)
    context.state_dir = configured.state_dir
    done: list[Window] = []
    for found in backfill.backfill(configured, window):
        done.append(found)
        tell(visible(_line(found)))
    codes = [found.report.exit_code for found in done if found.report]
    tell(f"done: {counted(len(done), 'window')}")
    if as_json:
        print_json({"windows": [_entry(found) for found in done]})
    return max(codes, default=0)


def _line(window: Window) -> str:
    from tranship.pipelines.cursor import shown

    span = f"{shown(window.start)} to {shown(window.end)}"
    if window.report is None:
        return f"{span}: finished before"
    counts = dataclasses.asdict(window.report.counts)
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count or name == "read")
    return f"{span}: {told}; run {window.report.run_id}"


def _entry(window: Window) -> dict[str, Any]:
    from tranship.pipelines.cursor import text_of

    report = window.report
    return {
        "from": text_of(window.start),
        "to": text_of(window.end),
        "run_id": report.run_id if report else None,
        "exit_code": report.exit_code if report else None,
        "counts": dataclasses.asdict(report.counts) if report else None,
    }


COMMANDS: Final[tuple[click.Command, ...]] = (backfill_command,)
