"""The commands that read a source: run, plan, apply, verify, retry, inspect, resume."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from tranship.connectors.addresses import STANDARD_OUTPUT, redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli import completion
from tranship.pipelines.cli.command_help import LOOK_FIRST, MOVE, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.execution import execute
from tranship.pipelines.cli.options import (
    ALERTS,
    NOT_COMPARED,
    Decorated,
    OwnPath,
    SettingsCommand,
    WholeNumber,
    given,
    identity_option,
    json_option,
    lock_options,
    output_options,
    run_argument,
    state_dir_option,
)
from tranship.pipelines.cli.output import print_json_text
from tranship.pipelines.cli.terminal import look, say, tell
from tranship.pipelines.command_lines import shell
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.option_texts import LIMIT, OUT
from tranship.schemas.visible import visible

_SOURCE = "Path, glob, folder, - for standard input, or URL to read from"


def _source_and_destination(metavar: str, source: str, destination: str) -> Callable[[Decorated], Decorated]:
    """Add the argument for sources and destination; the destination is the last one."""
    text = f"{source}. The last argument is the {destination}."
    return click.argument(
        "ends", metavar=metavar, nargs=-1, required=False, shell_complete=completion.destinations, help=text
    )


def _only_option(command: Decorated) -> Decorated:
    """Add --only for commands that take one pipeline of a file with several."""
    return click.option("--only", metavar="NAME", help="Pipeline of a settings file with several.")(command)


def _split_ends(ends: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Return sources and destination; a single argument is a source, and the destination is set elsewhere."""
    return (ends[:-1], ends[-1]) if len(ends) > 1 else (ends, None)


_RUN_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
_RUN_EPILOG += "\n\nMore about one: tranship explain 4"


@click.command(
    "run",
    cls=SettingsCommand,
    model="Settings",
    job=MOVE,
    common=("dry_run", "max_rejects", "fields", "new_files", "mode"),
    examples=(
        'tranship run customers.csv "duckdb:///warehouse.duckdb?table=customers" --dry-run',
        'tranship run "exports/*.csv" customers.parquet --map external_id="Account No"',
        'tranship run january.csv february.csv "duckdb:///warehouse.duckdb?table=customers" --max-rejects 2%',
        "tranship run pipeline.toml --max-rejects 2%",
        "tranship run pipelines.toml --only crm,shop --jobs 2",
    ),
    epilog=_RUN_EPILOG,
    short_help="Check and load customers",
)
@_source_and_destination("SOURCE... DESTINATION", _SOURCE + ", or a settings file", "path or URL to write to")
@click.option("--only", metavar="NAME,...", help="Pipelines of a settings file with several; by default all.")
@click.option("--jobs", metavar="N", type=WholeNumber(min=1), help="Pipelines to run at the same time. Default: 1.")
@click.option("--no-summary", is_flag=True, hidden=True, help="For a pipeline of several, which have one summary.")
@output_options
@click.pass_obj
def run_command(
    context: CrashContext,
    /,
    ends: tuple[str, ...],
    only: str | None,
    jobs: int | None,
    no_summary: bool,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Read customers from SOURCE, check and deduplicate them, and write them to DESTINATION.

    Everything can be set in a settings file; `tranship inspect SOURCE --write pipeline.toml` creates one. Options
    override environment variables (TRANSHIP_MAX_REJECTS=2%), which override the file.
    """
    from tranship.pipelines import endpoints, run, settings

    sources, destination = _split_ends(ends)
    names = settings.pipelines_in(sources)
    if names:
        from tranship.pipelines.cli import several_pipelines

        chosen = several_pipelines.chosen(only, names, sources[0])
        if len(chosen) > 1:
            work = several_pipelines.Work(sources[0], chosen, jobs or 1, as_json=as_json, log=log, quiet=quiet)
            if destination is not None:
                options["destination"] = destination
            return several_pipelines.run(work, given(options))
        only = chosen[0]
    configured = settings.from_command(sources, destination, given(options), os.environ, only=only)
    context.state_dir = configured.state_dir
    endpoints.check_log(configured, log)
    if not configured.dry_run:
        _output_has_one_use(configured.destination, as_json)
    return execute(lambda display: run.run(configured, display), as_json, log, quiet, summarised=not no_summary)


@click.command(
    "plan",
    cls=SettingsCommand,
    model="Settings",
    without=("dry_run", "limit", *ALERTS),
    job=LOOK_FIRST,
    common=("out", "fields", "mode", "max_rejects", "crosswalk"),
    examples=("tranship plan customers.csv metronome:// --out move",),
    short_help="Save what a run would do",
)
@_source_and_destination("SOURCE... DESTINATION", _SOURCE + ", or a settings file", "path or URL to write to")
@click.option("--out", required=True, metavar="FOLDER", type=OwnPath(), help=OUT)
@_only_option
@output_options
@click.pass_obj
def plan_command(
    context: CrashContext,
    /,
    ends: tuple[str, ...],
    out: Path,
    only: str | None,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Read SOURCE and DESTINATION and save what would be done for each customer. DESTINATION is not changed.

    The folder contains plan.html to read and to sign, changes.csv with every change, plan.parquet with the planned
    action for each record, and the requests for a provider.
    """
    from tranship.pipelines import endpoints, run, settings

    configured = settings.from_command(*_split_ends(ends), given(options), os.environ, only=only)
    context.state_dir = configured.state_dir
    endpoints.check_log(configured, log)
    return execute(lambda display: run.plan(configured, out, display), as_json, log, quiet)


@click.command(
    "apply",
    cls=Command,
    job=MOVE,
    common=("limit", "expect", "quiet", "as_json"),
    examples=("tranship apply move --limit 10", "tranship apply move"),
    short_help="Apply or continue a plan",
)
@click.argument("folder", metavar="FOLDER", type=OwnPath(), help="Folder of the plan.")
@click.option("--limit", type=WholeNumber(min=1), metavar="N", help=LIMIT)
@click.option("--expect", metavar="DIGEST", help="Apply the plan only if it has this digest, as plan.html shows it.")
@identity_option
@lock_options
@output_options
def apply_command(
    folder: Path,
    limit: int | None,
    expect: str | None,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Apply the plan in FOLDER exactly, or continue where it stopped.

    A customer that has changed at a provider since the plan was made is not written, and is reported as stale. A
    table that has changed is not written to at all.
    """
    from tranship.pipelines import run
    from tranship.pipelines.run_directory import RunDirectory

    _output_has_one_use(RunDirectory.at(folder).manifest["settings"]["destination"], as_json)
    options = given(options)
    return execute(
        lambda display: run.apply(folder, display, limit=limit, expect=expect, **options), as_json, log, quiet
    )


def _must_be_run(address: str) -> None:
    """Raise ConfigError if the only argument of verify is a source, which needs another one to compare it with."""
    if scheme_of(address) or Path(address).is_file():
        raise ConfigError(
            f"{redacted(address)}: is not a run. Name both ends to compare them: tranship verify SOURCE DESTINATION"
        )


@click.command(
    "verify",
    cls=SettingsCommand,
    model="Settings",
    without=NOT_COMPARED,
    job=MOVE,
    common=("fields", "crosswalk", "nulls", "as_json"),
    examples=(
        'tranship verify customers.csv "duckdb:///warehouse.duckdb?table=customers"',
        "tranship verify last",
    ),
    short_help="Compare both ends",
)
@_source_and_destination(
    "SOURCE... DESTINATION|RUN", _SOURCE + ", or a run or a plan folder", "path or URL to compare with"
)
@_only_option
@identity_option
@json_option
@click.pass_obj
def verify_command(
    context: CrashContext,
    /,
    ends: tuple[str, ...],
    only: str | None,
    identity: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Compare SOURCE with DESTINATION, or the input of a run with its destination as it is now.

    The exit code is 0 only if all customers are equal. Neither side is changed.
    """
    from tranship.pipelines import arguments, run, settings
    from tranship.pipelines.cli import progress, render

    with progress.display() as display:
        if len(ends) == 1 and not ends[0].lower().endswith(".toml"):
            _must_be_run(ends[0])
            state_dir = arguments.state_dir(options.get("state_dir"), os.environ)
            found = run.verify_run(state_dir, ends[0], display, identity=identity)
        else:
            configured = settings.from_command(*_split_ends(ends), given(options), os.environ, only=only)
            context.state_dir = configured.state_dir
            found = run.verify(configured, display)
    if as_json:
        print_json_text(found.to_json())
    else:
        say(render.of_verification(found, look(sys.stdout)))
    return 0 if found.equal else 4


@click.command(
    "retry",
    cls=Command,
    job=MOVE,
    common=("state_dir", "quiet", "as_json"),
    examples=("tranship retry last",),
    short_help="Retry failed records",
)
@run_argument
@identity_option
@state_dir_option
@lock_options
@output_options
@click.pass_obj
def retry_command(
    context: CrashContext, /, run_id: str, state_dir: Path, as_json: bool, log: str | None, quiet: bool, **options: Any
) -> int:
    """Retry the records that failed or were not processed in a run to a provider. This is a new run."""
    from tranship.pipelines import run

    context.state_dir = state_dir
    return execute(lambda display: run.retry(state_dir, run_id, display, **given(options)), as_json, log, quiet)


@click.command(
    "inspect",
    cls=SettingsCommand,
    model="Reading",
    job=LOOK_FIRST,
    common=("fields", "profile", "write", "rows"),
    examples=("tranship inspect customers.csv", "tranship inspect customers.csv --write pipeline.toml"),
    short_help="Show columns and mapping",
)
@click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
    required=True,
    shell_complete=completion.addresses,
    help=_SOURCE + ", or a settings file.",
)
@click.option(
    "--rows",
    default=10_000,
    show_default=True,
    type=WholeNumber(min=1),
    metavar="N",
    help="Number of records to inspect.",
)
@click.option("--write", metavar="FILE", type=OwnPath(), help="Write a settings file for `tranship run`.")
@_only_option
@json_option
def inspect_command(
    sources: tuple[str, ...], rows: int, write: Path | None, only: str | None, as_json: bool, **options: Any
) -> int:
    """Show the columns of SOURCE, the fields they map to, and the records that would be rejected.

    The exit code is 2 if a run would stop.
    """
    from tranship.pipelines import run, settings, settings_file
    from tranship.pipelines.cli import render

    reading = settings.reading_from_command(sources, given(options), os.environ, only=only)
    found = run.inspect(reading, rows)
    if as_json:
        print_json_text(found.to_json())
    else:
        say(render.of_inspection(found, look(sys.stdout)))
    if write is not None:
        try:
            with write.open("x", encoding="utf-8") as out:
                out.write(settings_file.pipeline_toml(found, reading))
        except FileExistsError as error:
            raise ConfigError(f"{write}: already exists and was not changed. Choose another name.") from error
        except OSError as error:
            raise ConfigError(f"{write}: cannot be written ({error.strerror}).") from error
        tell(visible(f"Written: {write}. Try it: {shell('tranship', 'run', str(write), '--dry-run')}"))
    return 0 if found.problem is None else 2


@click.command(
    "resume",
    cls=Command,
    job=MOVE,
    common=("state_dir", "quiet", "as_json"),
    examples=("tranship resume last",),
    short_help="Continue a stopped run",
)
@run_argument
@identity_option
@state_dir_option
@lock_options
@output_options
@click.pass_obj
def resume_command(
    context: CrashContext, /, run_id: str, state_dir: Path, as_json: bool, log: str | None, quiet: bool, **options: Any
) -> int:
    """Continue a run that was interrupted or killed, from its last finished step."""
    from tranship.pipelines import run
    from tranship.pipelines.run_directory import RunDirectory

    context.state_dir = state_dir
    _output_has_one_use(RunDirectory.open(state_dir, run_id).manifest["settings"]["destination"], as_json)
    return execute(lambda display: run.resume(state_dir, run_id, display, **given(options)), as_json, log, quiet)


def _output_has_one_use(destination: str, as_json: bool) -> None:
    """Raise ConfigError if both the records and the report would be written to standard output."""
    if as_json and destination == STANDARD_OUTPUT:
        raise ConfigError(
            "--json: standard output is the destination of the records. Leave --json out, or name a file."
        )


COMMANDS: Final[tuple[click.Command, ...]] = (
    run_command,
    plan_command,
    apply_command,
    verify_command,
    retry_command,
    inspect_command,
    resume_command,
)
