"""The command line: parse, call one function of `pipelines`, print, choose the exit code.

What a command does is imported when it runs, so that help comes at once. The options of `run` and `inspect` are the
fields of `pipelines.settings`.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from tranship.connectors.errors import (
    ConfigError,
    ConnectorError,
    GateClosed,
    Interrupted,
    Skipped,
    TranshipError,
    Undecided,
    shown,
)
from tranship.pipelines.cli.options import SettingsCommand, given, run_command, shell

if TYPE_CHECKING:
    from tranship.pipelines.cli.progress import Display
    from tranship.pipelines.report import Report
    from tranship.pipelines.run_directory import RunDirectory

EXIT_CODES: Final = {
    0: "done; every record loaded, merged, unchanged or older than what is there, or rejects within --max-rejects",
    1: "a bug of tranship; a file to send with your report is named",
    2: "the command, the settings or a file cannot be used as given",
    3: "the other side: unreachable, held by somebody else, refused, broken answer",
    4: "done, but some records were rejected or refused, and no --max-rejects covers them",
    5: "stopped by a limit before the first write; nothing was written",
    6: "skipped: another run holds the destination (--overlap skip)",
    130: "interrupted; state is saved, the command that continues is printed",
}


@dataclass
class _Place:
    """Where to leave a note about a crash; a command that is told another place says so."""

    state_dir: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    place = _Place(Path(os.environ.get("TRANSHIP_STATE_DIR") or ".tranship"))
    with _termination_interrupts():
        try:
            code = cli.main(words, prog_name="tranship", standalone_mode=False, obj=place)
            return code if isinstance(code, int) else 0
        except click.ClickException as error:
            error.show()
            return _failed(error.format_message(), 2, as_json)
        except TranshipError as error:
            return _told(error, as_json)
        except click.Abort as error:
            if not isinstance(error.__cause__, EOFError):
                return _told(Interrupted("Stopped. If a run had begun, `tranship runs` lists it."), as_json)
            return _crashed(error, place.state_dir, as_json)
        except Exception as error:
            return _crashed(error, place.state_dir, as_json)


# Endings ---------------------------------------------------------------------------------------------------------


def _told(error: TranshipError, as_json: bool) -> int:
    if isinstance(error, Skipped):
        click.echo(f"Skipped: {error}", err=True)
        return _failed(str(error), error.exit_code, as_json, "skipped")
    click.echo(f"Error: {error}", err=True)
    report: Report | None = error.report
    if report is None:
        return _failed(str(error), error.exit_code, as_json)
    if not isinstance(error, GateClosed | Undecided):
        from tranship.pipelines.run_directory import RunDirectory

        click.echo(f"When that is solved: {RunDirectory.at(Path(report.run_dir)).go_on}", err=True)
    if as_json:
        _print_json(report.to_json())
    return error.exit_code


def _failed(message: str, code: int, as_json: bool, status: str = "failed") -> int:
    if as_json:
        _print_json(json.dumps({"status": status, "exit_code": code, "error": message}, indent=1))
    return code


def _crashed(error: BaseException, state_dir: Path, as_json: bool) -> int:
    """Our bug. Neither terminal nor file gets the exception's message: it may quote somebody's data."""
    text = "\n".join(_crash_lines(error))
    name = f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    file = None
    for folder in (state_dir, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / name
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
            break
        except OSError:
            continue
    message = (
        f"This is a bug of tranship ({type(error).__name__}). Please report it, with the file {file}: it says where it "
        "happened and holds none of your data."
    )
    click.echo(f"Error: {message}", err=True)
    return _failed(message, 1, as_json)


def _crash_lines(error: BaseException) -> Iterator[str]:
    packages = ("tranship", "polars", "duckdb", "pyarrow", "pandera", "pydantic", "click")
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield ", ".join(f"{name} {_version(name)}" for name in packages)
    seen: BaseException | None = error
    while seen is not None:
        kind = type(seen)
        yield f"\n{kind.__module__}.{kind.__qualname__}, at (innermost last):"
        yield "".join(traceback.format_tb(seen.__traceback__))
        seen = seen.__cause__ or seen.__context__


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: state is saved, the command that continues is said."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_json(text: str) -> None:
    # What UTF-8 cannot say (bytes of odd file names) becomes \udcXX, which JSON reads.
    click.echo(text.encode("utf-8", "backslashreplace"))


# Commands --------------------------------------------------------------------------------------------------------


class _InOrder(click.Group):
    """Lists its commands in the order they are written in."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """As they were added."""
        return list(self.commands)


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"tranship {_version('tranship')}")
        ctx.exit()


_Decorated = Callable[..., Any]


def _json_option(command: _Decorated) -> _Decorated:
    text = "Print one JSON object on standard output and nothing else there."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def _state_dir_option(command: _Decorated) -> _Decorated:
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        default=Path(".tranship"),
        envvar="TRANSHIP_STATE_DIR",
        show_default=True,
        metavar="FOLDER",
        help="Where runs keep their files.",
    )(command)


def _turn_options(command: _Decorated) -> _Decorated:
    """Settings of the run that is continued, which may be others this time."""
    made = [
        click.option(
            "--overlap",
            type=click.Choice(["wait", "skip", "fail"]),
            envvar="TRANSHIP_OVERLAP",
            help="If another run is writing to the destination: wait for it, skip this, or fail.",
        ),
        click.option(
            "--lock-timeout",
            envvar="TRANSHIP_LOCK_TIMEOUT",
            metavar="TIME",
            help="How long to wait for another process, e.g. 30s or 10min; 0: no limit.",
        ),
        click.option(
            "--locks/--no-locks",
            default=None,
            envvar="TRANSHIP_LOCKS",
            help="Lock out a second process, or, where files cannot be locked, do without.",
        ),
    ]
    for option in reversed(made):
        command = option(command)
    return command


def _watching_options(command: _Decorated) -> _Decorated:
    log = click.option("--log", metavar="FILE", help="Write a log as JSON lines; - is standard error.")
    quiet = click.option("--quiet", is_flag=True, help="Say nothing but errors.")
    return _json_option(log(quiet(command)))


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Try it: tranship inspect customers.csv. Each command explains itself with --help.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Say the version."
)
def cli() -> None:
    """Move customer records between files, tables and billing providers without losing or doubling one."""


_SOURCE = "Path, glob, folder, - for standard input, or URL to read from"


def _ends_arguments(metavar: str, source: str, destination: str) -> Callable[[_Decorated], _Decorated]:
    """The arguments of a command that goes from somewhere to somewhere: the last one is the destination."""
    help_ = f"{source}. {destination} comes last."
    return click.argument("ends", metavar=metavar, nargs=-1, required=False, help=help_)


def _told_apart(ends: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Sources and destination; a single argument is a source, and the destination is told elsewhere."""
    return (ends[:-1], ends[-1]) if len(ends) > 1 else (ends, None)


_RUN_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


@cli.command(
    "run",
    cls=SettingsCommand,
    model="Settings",
    epilog=_RUN_EPILOG,
    short_help="Check, deduplicate and write customers.",
)
@_ends_arguments("SOURCE... DESTINATION", _SOURCE + ", or a settings file", "Path or URL to write to")
@_watching_options
@click.pass_obj
def _run(
    place: _Place,
    /,
    ends: tuple[str, ...],
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Read customers from SOURCE, check and deduplicate them, and write them to DESTINATION.

    \b
      tranship run customers.csv "duckdb:///warehouse.duckdb?table=customers" --dry-run
      tranship run customers.csv "postgresql://user@host/db?table=billing.customers"
      tranship run "exports/*.csv.gz" customers.parquet --map "Account No=external_id"
      tranship run january.csv february.csv "duckdb:///warehouse.duckdb?table=customers"
      tranship run pipeline.toml --max-rejects 2%

    A settings file (`tranship inspect SOURCE --write pipeline.toml` begins one) may say all of it. Options win over
    the environment (TRANSHIP_MAX_REJECTS=2%), and that over the file.
    """
    from tranship.pipelines import run, settings

    made = settings.from_command(*_told_apart(ends), given(options), os.environ)
    place.state_dir = made.state_dir
    return _carried_out(lambda display: run.run(made, display), as_json, log, quiet)


@cli.command(
    "plan",
    cls=SettingsCommand,
    model="Settings",
    short_help="Write down what a run would do, to look at and to carry out.",
)
@_ends_arguments("SOURCE... DESTINATION", _SOURCE + ", or a settings file", "Path or URL to write to")
@click.option(
    "--out", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="A new folder for the plan."
)
@_watching_options
@click.pass_obj
def _plan(
    place: _Place,
    /,
    ends: tuple[str, ...],
    out: Path,
    as_json: bool,
    log: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Read SOURCE and DESTINATION and write down what would be done, customer by customer. Nothing is written there.

    \b
      tranship plan customers.csv metronome:// --out plan
      tranship apply plan --limit 10
      tranship apply plan

    In the folder: report.html for people, plan.parquet with each record's fate, and what a provider would be sent.
    """
    from tranship.pipelines import run, settings

    made = settings.from_command(*_told_apart(ends), given(options), os.environ)
    place.state_dir = made.state_dir
    return _carried_out(lambda display: run.plan(made, out, display), as_json, log, quiet)


@cli.command("apply", short_help="Carry out a plan, or go on with it.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N records of the plan, and no more.")
@_turn_options
@_watching_options
def _apply(folder: Path, limit: int | None, as_json: bool, log: str | None, quiet: bool, **options: Any) -> int:
    """Carry out the plan in FOLDER exactly, or go on where it stopped.

    What has moved at a provider since the plan was made is left alone and reported as stale. A table that has moved is
    not written to at all.
    """
    from tranship.pipelines import run

    return _carried_out(lambda display: run.apply(folder, display, limit=limit, **given(options)), as_json, log, quiet)


@cli.command("verify", cls=SettingsCommand, model="Settings", short_help="Read back and compare, customer by customer.")
@_ends_arguments("SOURCE... DESTINATION|RUN", _SOURCE + "; or a run, or a plan's folder", "Path or URL to compare with")
@_json_option
@click.pass_obj
def _verify(
    place: _Place,
    /,
    ends: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Compare what SOURCE says with what DESTINATION holds, or what a run has read with what its destination holds now.

    \b
      tranship verify customers.csv metronome://
      tranship verify last

    Exit code 0 only if all is equal. Writes to neither side.
    """
    from tranship.pipelines import run, settings
    from tranship.pipelines.cli import progress, render

    with progress.display() as display:
        if len(ends) == 1 and not ends[0].lower().endswith(".toml"):
            state_dir = Path(options.get("state_dir") or ".tranship")
            found = run.verify_run(state_dir, ends[0], display)
        else:
            made = settings.from_command(*_told_apart(ends), given(options), os.environ)
            place.state_dir = made.state_dir
            found = run.verify(made, display)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(render.of_verification(found, _width(sys.stdout)))
    return 0 if found.equal else 4


@cli.command("retry", short_help="Do once more what failed at a provider.")
@click.argument("run_id", metavar="RUN")
@_state_dir_option
@_turn_options
@_watching_options
@click.pass_obj
def _retry(
    place: _Place, /, run_id: str, state_dir: Path, as_json: bool, log: str | None, quiet: bool, **options: Any
) -> int:
    """Do once more what failed or was left out in a run into a provider: its id, or `last`. It is a run of its own."""
    from tranship.pipelines import run

    place.state_dir = state_dir
    return _carried_out(lambda display: run.retry(state_dir, run_id, display, **given(options)), as_json, log, quiet)


@cli.command("inspect", cls=SettingsCommand, model="Reading", short_help="Show columns, mapping and rejects to expect.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, help=_SOURCE + ", or a settings file.")
@click.option(
    "--rows", default=10_000, show_default=True, type=click.IntRange(min=1), help="How many records to look at."
)
@click.option(
    "--write", metavar="FILE", type=click.Path(path_type=Path), help="Begin a settings file for `tranship run`."
)
@_json_option
def _inspect(sources: tuple[str, ...], rows: int, write: Path | None, as_json: bool, **options: Any) -> None:
    """Show the columns of SOURCE, what they would become, and what would be rejected.

    \b
      tranship inspect customers.csv --write pipeline.toml
    """
    from tranship.pipelines import inspection, run, settings
    from tranship.pipelines.cli import render

    reading = settings.reading_from_command(sources, given(options), os.environ)
    found = run.inspect(reading, rows)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(render.of_inspection(found, _width(sys.stdout)))
    if write is not None:
        try:
            with write.open("x", encoding="utf-8") as out:
                out.write(inspection.pipeline_toml(found, reading))
        except FileExistsError as error:
            raise ConfigError(f"{write}: exists already and is left as it is. Choose another name.") from error
        except OSError as error:
            raise ConfigError(f"{write}: cannot be written ({error.strerror}).") from error
        click.echo(f"Written: {write}. Try it: {shell('tranship', 'run', str(write), '--dry-run')}", err=True)


@cli.command("resume", short_help="Continue a run that died or was stopped.")
@click.argument("run_id", metavar="RUN")
@_state_dir_option
@_turn_options
@_watching_options
@click.pass_obj
def _resume(
    place: _Place, /, run_id: str, state_dir: Path, as_json: bool, log: str | None, quiet: bool, **options: Any
) -> int:
    """Continue a run that died or was interrupted: its id, or `last`."""
    from tranship.pipelines import run

    place.state_dir = state_dir
    return _carried_out(lambda display: run.resume(state_dir, run_id, display, **given(options)), as_json, log, quiet)


def _carried_out(work: Callable[[Display | None], Report], as_json: bool, log: str | None, quiet: bool) -> int:
    from tranship.pipelines.cli import progress

    gc.freeze()
    gc.enable()
    quiet = quiet or log == "-"  # a log on standard error is for machines
    with progress.logged(log):
        try:
            with nullcontext() if quiet else progress.display() as display:
                report = work(display)
        except GateClosed as error:
            if not quiet and error.report is not None:
                click.echo(_summary(error.report, sys.stderr), err=True)
            raise
    if not quiet:
        click.echo(_summary(report, sys.stderr), err=True)
    if as_json:
        _print_json(report.to_json())
    return report.exit_code


@cli.command("runs")
@click.option(
    "--remove-older-than", metavar="DAYS", type=click.IntRange(min=0), help="Remove runs that began longer ago."
)
@_state_dir_option
@_json_option
@click.pass_obj
def _runs(place: _Place, /, remove_older_than: int | None, state_dir: Path, as_json: bool) -> None:
    """List runs, newest first."""
    from tranship.pipelines import run_directory
    from tranship.pipelines.cli import render

    place.state_dir = state_dir
    found, damaged = run_directory.all_runs(state_dir), run_directory.damaged_runs(state_dir)
    removed = []
    if remove_older_than is not None:
        limit = datetime.now(UTC) - timedelta(days=remove_older_than)
        old = [run for run in found if _is_over(run) and datetime.fromisoformat(run.manifest["started_at"]) < limit]
        removed = [run for run in old if run.remove()]
    kept = [_facts(run) for run in found if run not in removed]
    if as_json:
        listed = {"runs": kept, "removed": [run.run_id for run in removed], "damaged": damaged}
        _print_json(json.dumps(listed, indent=1))
        return
    if removed:
        click.echo(f"Removed {len(removed)} runs.", err=True)
    for text in damaged.values():
        click.echo(f"damaged: {text}", err=True)
    if not kept and not damaged:
        click.echo(f"No runs in {state_dir}.", err=True)
        return
    if kept:
        click.echo(render.of_runs(kept))


def _is_over(run: RunDirectory) -> bool:
    return run.manifest["status"] != "running" or run.is_abandoned()


def _facts(run: RunDirectory) -> dict[str, Any]:
    from tranship.pipelines import settings

    try:
        report = _report_of(run)
    except ConfigError as error:
        report = None
        click.echo(f"damaged: {error}", err=True)
    return {
        "run_id": run.run_id,
        "started_at": run.manifest["started_at"],
        "status": "died" if run.is_abandoned() else run.manifest["status"],
        "source": settings.named(run.manifest["settings"]["source"]),
        "destination": run.manifest["settings"]["destination"],
        "counts": vars(report.counts) if report else None,
        "run_dir": str(run.path),
    }


def _report_of(run: RunDirectory) -> Report | None:
    """Null if it has none. Raises ConfigError if the report is damaged."""
    from tranship.pipelines.report import Report

    values = run.report()
    try:
        return Report.of(values) if values is not None else None
    except ValueError as error:
        raise ConfigError(f"{run.path / 'report.json'}: is not as Tranship wrote it.") from error


@cli.command("report", short_help="Print the report of an earlier run.")
@click.argument("run_id", metavar="RUN", default="last")
@_state_dir_option
@_json_option
@click.pass_obj
def _report(place: _Place, /, run_id: str, state_dir: Path, as_json: bool) -> None:
    """Print the summary of an earlier run again, with all its reasons: its id, or `last`."""
    from tranship.pipelines.run_directory import RunDirectory

    place.state_dir = state_dir
    run = RunDirectory.open(state_dir, run_id)
    report = _report_of(run)
    if report is None:
        what = f"It can be continued: {run.go_on}" if _is_over(run) else "It is still running."
        raise ConfigError(f"{run.run_id}: has no report yet. {what}")
    if as_json:
        _print_json(report.to_json())
    else:
        click.echo(_summary(report, sys.stdout, everything=True))


def _summary(report: Report, out: TextIO, *, everything: bool = False) -> str:
    from tranship.pipelines.cli import render

    # A run tells its notes when they come up and its error at the end.
    how: dict[str, Any] = {} if everything else {"reasons": 8, "notes": False}
    lines = [render.of_report(report, width=_width(out), **how), *_next(report)]
    if everything and report.error:
        lines.append(report.error)
    return "\n".join(lines)


def _width(out: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if out.isatty() else None


def _next(report: Report) -> list[str]:
    """The command that goes on from here."""
    from tranship.connectors import registry
    from tranship.pipelines import settings
    from tranship.pipelines.report import MOVED
    from tranship.pipelines.run_directory import RunDirectory

    run = RunDirectory.at(Path(report.run_dir))
    made = settings.load(run.manifest["settings"], {})
    if report.status == "partly_done":
        return [f"go on with: {run.go_on}"]
    if report.status not in ("done", "done_with_rejects"):
        return []
    if report.dry_run and run.stands_alone:
        return [f"to do it: {run.go_on}"]
    if report.stale_by_reason.get(MOVED) or report.counts.unknown or "failed" in report.files:
        return [f"to try the failed ones again: {run.command('retry')}"]
    if report.dry_run:
        names = [name for name in type(made).model_fields if name not in ("source", "destination", "dry_run")]
        return [f"to do it: {run_command(made, made.sources, names)}"]
    if not report.counts.rejected:
        return []
    adds = registry.CONNECTORS[registry.kind_of(made.destination)].abilities.keeps_state and made.mode != "mirror"
    if not adds:  # the few records of the rejects file would take the place of all others
        return ["correct them at the source, then give the same command again"]
    return [f"correct them there, then: {run_command(made, [report.files['rejects']], _SAID_OF_REJECTS)}"]


_SAID_OF_REJECTS: Final = (
    *("columns", "defaults", "extra", "timezone", "date_format", "blocked", "survivor", "fill"),
    *("mode", "nulls", "evolve", "state_dir"),
)
"""What a run of a rejects file takes over: it has the columns of its source, but is a CSV file of ours."""


@cli.command("connectors")
@click.option(
    "--losses",
    nargs=2,
    metavar="A B",
    help="What customers of provider A lose when they are written to B and come back.",
)
@_json_option
def _connectors(losses: tuple[str, str] | None, as_json: bool) -> None:
    """List what can be read and written, or what a way between two providers loses.

    \b
      tranship connectors --losses metronome marginfront
    """
    from tranship.connectors import registry
    from tranship.pipelines.cli import render

    if losses:
        passage = registry.passage(*losses)
        if as_json:
            _print_json(json.dumps(dataclasses.asdict(passage), indent=1))
        else:
            click.echo("\n".join(render.of_passage(*losses, passage)))
        return
    if as_json:
        listed = [dataclasses.asdict(connector) for connector in registry.CONNECTORS.values()]
        _print_json(json.dumps({"connectors": listed}, indent=1))
        return
    rows: list[tuple[str, ...]] = [("connector", "reads", "writes", "modes", "example", "key from", "")]
    for it in registry.CONNECTORS.values():
        can = ["yes" if ability else "no" for ability in (it.abilities.reads, it.abilities.writes)]
        rows.append((it.name, *can, " ".join(it.abilities.modes), it.example, it.key_variable or "", it.summary))
    click.echo("\n".join(render.table(rows)))


@cli.command("doctor", short_help="Look whether a provider can be read, changing nothing.")
@click.argument("address")
@_json_option
def _doctor(address: str, as_json: bool) -> int:
    """Look at the provider at ADDRESS: key, reachability, rights, clock, limits. Nothing is changed there.

    \b
      tranship doctor metronome://
    """
    from tranship.connectors import registry
    from tranship.pipelines.cli import render

    findings = registry.check(address)
    failed = any(finding.state == "fail" for finding in findings)
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in findings]
        _print_json(json.dumps({"address": shown(address), "ok": not failed, "findings": listed}, indent=1))
    else:
        click.echo("\n".join(render.table([(it.state, it.what, it.sentence) for it in findings])))
    return ConnectorError.exit_code if failed else 0


class _Share(click.ParamType[float]):
    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`5%` and `0.05` are the same."""
        try:
            share = float(value[:-1]) / 100 if str(value).endswith("%") else float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share such as 5%.", param, ctx)
        return share


class _Seconds(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`50ms` and `0.05` are the same."""
        from tranship.pipelines.settings import seconds

        try:
            found = seconds(str(value))
        except (KeyError, ValueError):
            found = -1.0
        if found < 0:
            self.fail(f"{value!r} is no time such as 50ms or 2s.", param, ctx)
        return found


def _named(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if not all(pairs.values()):
        raise click.BadParameter(f"give it as {param.metavar}.", ctx, param)
    return pairs


_SHARES: Final = {
    "timeout": "Calls that are never answered.",
    "cut_before": "Connections cut before the call does its work.",
    "cut_after": "Connections cut after it: the write is stored, the answer lost.",
    "half": "Answers broken off in the middle of their body.",
    "slow": "Answers that drip for a second.",
    "html": "HTML pages with status 200 in place of the answer.",
    "shift": "List calls before which a customer jumps to another place.",
    "churn": "List calls before which one customer is created and another deleted.",
}


def _weather_options(command: _Decorated) -> _Decorated:
    made = [
        click.option("--latency", type=_Seconds(), metavar="TIME", help="How long each answer takes, as 50ms."),
        click.option("--jitter", type=_Seconds(), metavar="TIME", help="So much more or less, at random."),
        click.option(
            "--error",
            "statuses",
            multiple=True,
            callback=_named,
            metavar="STATUS=SHARE",
            help="Share of calls answered with 429, 500, 502, 503 or 504, as 500=5%. Repeatable.",
        ),
        *(
            click.option(f"--{name.replace('_', '-')}", name, type=_Share(), metavar="SHARE", help=text)
            for name, text in _SHARES.items()
        ),
        click.option(
            "--rate",
            multiple=True,
            callback=_named,
            metavar="METHOD=N",
            help="Calls a minute of a method, as GET=300; * is for all others together. Repeatable.",
        ),
        click.option(
            "--retry-after",
            type=click.Choice(["page", "none", "seconds", "date", "milliseconds"]),
            help="How a 429 says when to come back; `page` is as the provider documents it.",
        ),
        click.option("--chance", "seed_of_chance", type=int, metavar="N", help="Another number is other weather."),
    ]
    for option in reversed(made):
        command = option(command)
    return command


@cli.command("sandbox", short_help="Run a provider's API on a local port, to rehearse with.")
@click.argument("provider")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="N", help="The port; 0 takes a free one.")
@click.option("--seed", metavar="N|FILE", help="Begin with N made-up customers, or with those of a CSV file.")
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="FILE", help="Keep the state here; it survives a restart."
)
@click.option(
    "--switch",
    "switches",
    multiple=True,
    callback=_named,
    metavar="NAME=CHOICE",
    help="A choice of this provider's sandbox, as dialect=docs. Repeatable.",
)
@click.option("--log", is_flag=True, help="Say each call.")
@_weather_options
def _sandbox(
    provider: str,
    port: int | None,
    seed: str | None,
    state: Path | None,
    switches: dict[str, str],
    log: bool,
    seed_of_chance: int | None,
    statuses: dict[str, str],
    rate: dict[str, str],
    **weather: Any,
) -> None:
    """Run the customer API of PROVIDER on a local port until it is interrupted.

    \b
      tranship sandbox growpanel --seed 5000
      tranship sandbox metronome --seed customers.csv --state metronome.sandbox
      tranship sandbox metrifox --latency 50ms --error 500=5% --error 429=5% --cut-after 2%

    Any key of the provider's form is accepted. The weather can be changed while it runs: PUT JSON to /_sandbox/weather.
    What it holds is at /_sandbox/state.
    """
    from tranship.connectors import registry

    struck = {status: _Share().convert(share, None, None) for status, share in statuses.items()}
    wanted = {**given(weather), **given({"seed": seed_of_chance, "statuses": struck})}
    if rate:
        wanted["rate"] = {method.upper(): _number(calls, "--rate") for method, calls in rate.items()}
    seeding = None if seed is None else int(seed) if seed.isdecimal() else Path(seed)
    registry.serve_sandbox(
        provider, port=port, seeding=seeding, state=state, weather=wanted, switches=switches, log=log
    )


def _number(text: str, option: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{option}: {text!r} is no number of calls.")
    return int(text)


@cli.command("fields")
@_json_option
def _fields(as_json: bool) -> None:
    """List the fields of a customer and their rules."""
    from tranship.pipelines.cli import render

    fields = render.fields()
    if as_json:
        _print_json(json.dumps({"fields": [dataclasses.asdict(field) for field in fields]}, indent=1))
        return
    click.echo(render.of_fields(fields))


@cli.command("schema")
def _schema() -> None:
    """Print the JSON Schema of a settings file, for editors."""
    from tranship.pipelines.settings import Settings

    _print_json(json.dumps(Settings.model_json_schema(), indent=1))
