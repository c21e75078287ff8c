"""The command line: parse, call one function of `pipelines`, print, choose the exit code.

The modules a command needs are imported when it runs, so that help appears at once. The options of `run` and `inspect`
are the fields of `pipelines.settings_model`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tranship.connectors import key_shapes, mirrored
from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.errors import (
    ConfigError,
    GateClosed,
    Interrupted,
    LocalFailure,
    Skipped,
    TranshipError,
    Undecided,
)
from tranship.connectors.local_failures import local_failure
from tranship.pipelines import help_topics
from tranship.pipelines.cli import (
    backfill,
    changes,
    fix,
    library_variables,
    native_code,
    process,
    provider,
    reference,
    retention,
    run,
    runs,
    state,
    terminal,
    undo,
)
from tranship.pipelines.cli.command_help import Commands
from tranship.pipelines.cli.crash import CrashContext, package_version, save_crash_report
from tranship.pipelines.cli.layout import labelled, wrapped_text
from tranship.pipelines.cli.output import print_json, print_json_text
from tranship.schemas.visible import shown, visible, visible_lines

if TYPE_CHECKING:
    from tranship.pipelines.report import Report

_COMPLETION: Final = "_TRANSHIP_COMPLETE"
"""The variable in which a shell asks click for completions."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    context = CrashContext(Path(os.environ.get("TRANSHIP_STATE_DIR") or ".tranship"), as_json)
    terminal.choose_colour("auto")
    with process.interrupts(), mirrored.closed_at_end():
        try:
            _refuse_keys(given)
            code = cli.main(given, prog_name="tranship", standalone_mode=False, obj=context)
            return code if isinstance(code, int) else 0
        except SystemExit as ended:
            if _COMPLETION in os.environ:  # the completion of a shell was answered
                return ended.code if isinstance(ended.code, int) else 0
            return _report_failure(ended, context, as_json)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return _print_failure("no command was given", 2, as_json)
        except click.ClickException as error:
            message = shown(_without_passwords(error.format_message(), given))
            _show_usage_error(error, message)
            return _print_failure(message, 2, as_json)
        except TranshipError as error:
            return _report_error(error, as_json)
        except click.Abort as error:
            if not isinstance(error.__cause__, EOFError):
                return _report_error(_stopped(), as_json)
            return _report_bug(error, context.state_dir, as_json)
        except BaseException as error:
            # Panics of polars are not subclasses of Exception.
            return _report_failure(error, context, as_json)


def report_crash() -> int:
    """Report that the process that did the work crashed under a limit on memory; return the exit code."""
    crash = LocalFailure(
        "The command crashed, as libraries do when they get no memory: it may use "
        f"{(process.address_space() or 0) >> 20:,} MB of address space (ulimit -v). Allow it: ulimit -v unlimited. If "
        "that does not help, please report this as a bug in Tranship."
    )
    return _report_error(crash, "--json" in sys.argv)


def _refuse_keys(arguments: Sequence[str]) -> None:
    """Raise ConfigError if an argument is a key, before any message can repeat it."""
    for number, argument in enumerate(arguments, 1):
        place = f"argument {number} of the command"
        # Which command takes an address in this place is known later.
        key_shapes.refuse(argument, place, is_address=bool(scheme_of(argument)))
        key_shapes.refuse_known(argument, os.environ, place)


def _report_failure(error: BaseException, context: CrashContext, as_json: bool) -> int:
    if process.was_interrupted():
        return _report_error(_stopped(), as_json)
    if (failure := local_failure(error, context.state_dir)) is not None:
        return _report_error(failure, as_json)
    if (cause := library_variables.likely_cause(error)) is not None:
        return _report_error(cause, as_json)
    return _report_bug(error, context.state_dir, as_json)


def _without_passwords(message: str, arguments: Sequence[str]) -> str:
    """Return a message of click with addresses among the arguments without their secrets, in full and as a repr."""
    for argument in arguments:
        if (hidden := redacted(argument)) != argument:
            message = message.replace(repr(argument)[1:-1], hidden).replace(argument, hidden)
    return message


def _show_usage_error(error: click.ClickException, message: str) -> None:
    usage = io.StringIO()
    error.show(usage)
    text = usage.getvalue().replace(error.format_message(), message).rstrip("\n")
    _say_wrapped(visible_lines(text))


def _stopped() -> Interrupted:
    return Interrupted("Stopped. If a run had started, `tranship runs` lists it.")


def _report_error(error: TranshipError, as_json: bool) -> int:
    if isinstance(error, Skipped):
        _say_wrapped(f"Skipped: {error}")
        return _print_failure(str(error), error.exit_code, as_json, "skipped")
    _show_error(str(error))
    report: Report | None = error.report
    if report is None:
        if isinstance(error, LocalFailure):
            _say_wrapped("Once this is solved, run the same command again.")
        return _print_failure(str(error), error.exit_code, as_json)
    if not isinstance(error, GateClosed | Undecided):
        from tranship.pipelines.run_directory import RunDirectory

        run = RunDirectory.at(Path(report.run_dir))
        width = terminal.width(sys.stderr)
        terminal.say("\n".join(labelled("Once this is solved, continue with", visible(run.go_on), width)), err=True)
        if isinstance(error, ConfigError) and not isinstance(error, LocalFailure) and not run.stands_alone:
            again = "A run that is continued keeps its options. If one of them is at fault, run the command again with"
            _say_wrapped(f"{again} another: unchanged input is not read again.")
    if as_json:
        print_json_text(report.to_json())
    return error.exit_code


def _say_wrapped(text: str) -> None:
    terminal.say(wrapped_text(text, terminal.width(sys.stderr)), err=True)


def _show_error(message: str) -> None:
    look = terminal.look(sys.stderr)
    text = wrapped_text(f"Error: {message}", look.width)
    terminal.say(look.bad("Error:") + text.removeprefix("Error:"), err=True)


def _report_bug(error: BaseException, state_dir: Path, as_json: bool) -> int:
    message = shown(save_crash_report(error, state_dir))
    _show_error(message)
    return _print_failure(message, 1, as_json)


def _print_failure(message: str, code: int, as_json: bool, status: str = "failed") -> int:
    if as_json:
        print_json({"status": status, "exit_code": code, "error": message})
    return code


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        terminal.say(f"tranship {package_version('tranship')}")
        ctx.exit()


_EPILOG = (
    "Start:    tranship inspect customers.csv; tranship run customers.csv out.jsonl\n"
    "Commands: tranship help run; with all options: tranship help run all\n"
    f"Topics:   tranship help {', '.join(help_topics.TOPICS)}"
)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_obj
def cli(context: CrashContext) -> None:
    """Move customer records between files, tables and billing providers."""
    native_code.report_aborts(lambda error: process.end(_report_failure(error, context, context.as_json)))
    process.check_memory()


for command in (
    *run.COMMANDS,
    *fix.COMMANDS,
    *runs.COMMANDS,
    *changes.COMMANDS,
    *undo.COMMANDS,
    *retention.COMMANDS,
    *backfill.COMMANDS,
    *state.COMMANDS,
    *provider.COMMANDS,
    *reference.COMMANDS,
):
    cli.add_command(command)
