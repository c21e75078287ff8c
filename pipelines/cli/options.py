"""Options of commands: the settings of a run, and options that several commands share.

Every field of `pipelines.settings_model` is an option of the same name with - for _; `fields` is `--map`, `values` is
`--value`, `defaults` is `--default`, `columns` is `--column` and `options` is `--option`, one pair at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import click

from tranship.connectors import addresses
from tranship.connectors.addresses import redacted
from tranship.pipelines import option_names
from tranship.pipelines.cli import completion, terminal
from tranship.pipelines.cli.command_help import Command
from tranship.pipelines.option_texts import IDENTITY, LOCK_TIMEOUT, LOCKS, MEMORY, OVERLAP, STATE_DIR

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


GROUPS: Final = {
    "Columns and values": (
        *("profile", "fields", "ignore", "values", "defaults", "set", "corrections", "where", "extra"),
        *("allow_missing", "timezone", "date_format", "blocked", "on_invalid", "strict"),
    ),
    "CSV files and Excel workbooks": (
        *("encoding", "delimiter", "quote", "header", "skip_lines", "header_line", "sheet", "raw"),
    ),
    "Providers": ("include_archived",),
    "Connectors of other packages": ("options",),
    "What is new": ("since", "until", "cursor", "lookback", "full", "new_files", "settle"),
    "Customers that occur more than once": ("survivor", "fill"),
    "Writing": (
        *("mode", "columns", "nulls", "older", "deletes", "evolve", "changes", "history", "undo", "create"),
        *("overwrite", "format", "crosswalk", "remove_for_good"),
    ),
    "Limits, checked before the first write": (
        "max_rejects",
        "max_warnings",
        "max_conflicts",
        "max_deletes",
        "max_changes",
        "allow_empty",
        "limit",
    ),
    "Beyond one machine": ("engine", "remote", "work"),
    "Running unattended": (
        *("pipeline", "alert", "expect", "on_failure", "ping", "metrics", "traces", "lineage", "retention"),
        "encrypt_to",
    ),
    "This run": (
        "dry_run",
        "report_samples",
        "mask",
        "source",
        "destination",
        "state_dir",
        "workers",
        "memory",
        "pace",
        "overlap",
        "lock_timeout",
        "locks",
        "statement_timeout",
    ),
}
"""Title → settings, in the order of the help."""

ALERTS: Final = ("alert", "expect", "on_failure", "ping", "metrics", "traces", "lineage")
"""Settings about what is sent at the end of a run."""
NOT_COMPARED: Final = (
    *("dry_run", "limit", "mode", "older", "deletes", "evolve", "changes", "history", "undo", "create", "overwrite"),
    *("format", "raw", "remove_for_good", "statement_timeout", "report_samples", "mask", "engine", "remote", "work"),
    *("max_rejects", "max_warnings", "max_conflicts", "max_deletes", "max_changes", "allow_empty"),
    *("since", "until", "cursor", "lookback", "full", "new_files", "settle", "pipeline"),
    *ALERTS,
)
"""Settings that mean nothing to a comparison, which reads everything and writes nothing."""

_METAVARS = {
    "profile": "NAME|FILE",
    "fields": "FIELD=RULE",
    "columns": "FIELD=COLUMN",
    "ignore": "COLUMN",
    "values": "FIELD:WORD=VALUE",
    "defaults": "FIELD=VALUE",
    "options": "NAME=VALUE",
    "set": "FIELD=EXPRESSION",
    "timezone": "ZONE",
    "encoding": "NAME",
    "delimiter": "CHARACTER",
    "quote": "CHARACTER",
    "blocked": "VALUE",
    "source": "SOURCE",
    "destination": "DESTINATION",
    "date_format": "FORMAT",
    "where": "CONDITION",
    "on_invalid": "FIELD=reject|warn",
    "mask": "FIELD=hmac|hide",
    "max_rejects": "N|N%",
    "max_warnings": "N|N%",
    "max_conflicts": "N|N%",
    "max_deletes": "N|N%",
    "max_changes": "N|N%",
    "state_dir": "FOLDER",
    "remote": "ADDRESS",
    "work": "FOLDER|URL",
    "crosswalk": "FILE",
    "corrections": "FILE",
    "limit": "N",
    "since": "last|TIME",
    "until": "TIME",
    "cursor": "COLUMN",
    "lookback": "TIME",
    "settle": "TIME",
    "skip_lines": "N",
    "header_line": "N",
    "sheet": "NAME|N",
    "pace": "RATE",
    "workers": "N",
    "memory": "SIZE",
    "lock_timeout": "TIME",
    "statement_timeout": "TIME",
    "pipeline": "NAME",
    "alert": "[STATES=]env:NAME",
    "expect": "WHAT=LIMIT",
    "retention": "RULE=VALUE",
    "encrypt_to": "RECIPIENT",
    "on_failure": "COMMAND",
    "ping": "env:NAME",
    "metrics": "FILE.prom",
    "lineage": "FILE|URL|env:NAME",
}
_HELP = {
    "source": "Source that replaces the one in the settings file. Repeatable.",
    "destination": "Destination that replaces the one in the settings file.",
}


class SettingsCommand(Command):
    """A command with the fields of a settings model as options, listed under the titles of GROUPS.

    The model is imported when the command or its help is used. An argument of the command replaces the field of the
    same name; `without` names fields that mean nothing to the command.
    """

    def __init__(
        self,
        *arguments: Any,
        model: Literal["Settings", "Reading"],
        without: Collection[str] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self._model = model
        self._without = frozenset(without)
        self._own = list(self.params)

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return the titles of GROUPS."""
        return GROUPS

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters of the command, followed by the settings."""
        if len(self.params) == len(self._own):
            from tranship.pipelines import settings

            fields = getattr(settings, self._model).model_fields
            own_names = self._without.union(param.name or "" for param in self._own)
            self.params = [
                *self._own,
                *(_option(name, field) for name, field in fields.items() if name not in own_names),
            ]
        return super().get_params(ctx)


Decorated = Callable[..., Any]


def json_option(command: Decorated) -> Decorated:
    """Add --json and --color, which every command has that prints a result."""
    text = "Print exactly one JSON object on standard output."
    return click.option("--json", "as_json", is_flag=True, help=text)(_color_option(command))


def _color_option(command: Decorated) -> Decorated:
    """Add --color, which takes effect when it is read."""

    def choose(_ctx: click.Context, _param: click.Parameter, when: terminal.When | None) -> None:
        if when is not None:
            terminal.choose_colour(when)

    return click.option(
        "--color",
        type=click.Choice(terminal.COLOUR_WHEN),
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Whether to use colours. auto: on a terminal, unless NO_COLOR is set.",
    )(command)


class OwnPath(click.Path):
    """The path of files of Tranship's own."""

    def __init__(self) -> None:
        """Accept paths that exist and others."""
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path; end the command for a URL."""
        try:
            return super().convert(addresses.own_path(os.fspath(value)), param, ctx)
        except ValueError as error:
            self.fail(f"{value} {error}.", param, ctx)


class WholeNumber(click.IntRange):
    """A whole number within limits."""

    name = "whole number"


class StatePath(OwnPath):
    """The path of a state directory, or its address in a bucket, which is replaced by its working copy."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path; end the command for another URL."""
        from tranship.pipelines.setting_values import state_path

        try:
            return click.Path.convert(self, state_path(os.fspath(value)), param, ctx)
        except ValueError as error:
            self.fail(f"{redacted(str(value))} {error}.", param, ctx)


_RUN: Final = "Id of the run, or last for the newest; where the run is in a folder, as a plan is, that folder."


def run_argument(command: Decorated) -> Decorated:
    """Add RUN."""
    return click.argument("run_id", metavar="RUN", shell_complete=completion.runs, help=_RUN)(command)


def optional_run_argument(command: Decorated) -> Decorated:
    """Add RUN, the newest by default."""
    return click.argument("run_id", metavar="[RUN]", default="last", shell_complete=completion.runs, help=_RUN)(command)


def run_arguments(command: Decorated) -> Decorated:
    """Add RUN, several times."""
    return click.argument(
        "run_ids", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs, help=_RUN
    )(command)


def state_dir_option(command: Decorated) -> Decorated:
    """Add --state-dir."""
    return click.option(
        "--state-dir",
        type=StatePath(),
        default=Path(".tranship"),
        envvar="TRANSHIP_STATE_DIR",
        show_default=True,
        metavar="FOLDER",
        help=STATE_DIR,
    )(command)


def identity_option(command: Decorated) -> Decorated:
    """Add --identity."""
    return click.option("--identity", type=OwnPath(), envvar="TRANSHIP_IDENTITY", metavar="FILE", help=IDENTITY)(
        command
    )


def lock_options(command: Decorated) -> Decorated:
    """Add the options about locks and memory, which may differ each time a run is continued."""
    options = [
        click.option(
            "--overlap",
            type=click.Choice(["wait", "skip", "fail"]),
            envvar="TRANSHIP_OVERLAP",
            help=OVERLAP,
        ),
        click.option(
            "--lock-timeout",
            envvar="TRANSHIP_LOCK_TIMEOUT",
            metavar="TIME",
            help=LOCK_TIMEOUT,
        ),
        click.option(
            "--locks/--no-locks",
            default=None,
            envvar="TRANSHIP_LOCKS",
            help=LOCKS,
        ),
        click.option(
            "--memory",
            envvar="TRANSHIP_MEMORY",
            metavar="SIZE",
            help=MEMORY,
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_options(command: Decorated) -> Decorated:
    """Add --json, --log and --quiet."""
    log = click.option(
        "--log", metavar="FILE", shell_complete=completion.files, help="Write a log in JSON lines; - is standard error."
    )
    quiet = click.option("--quiet", is_flag=True, help="Print errors only, and one line if the exit code is not 0.")
    return json_option(log(quiet(command)))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return only the options given on the command line."""
    return {name: value for name, value in options.items() if value not in (None, (), {})}


def _option(name: str, field: FieldInfo) -> click.Option:
    choices = get_args(field.annotation)
    is_table = get_origin(field.annotation) is dict
    literal = None if is_table else next((choice for choice in choices if get_origin(choice) is Literal), None)
    annotation = literal or field.annotation
    kind = get_origin(annotation) or annotation
    choices = get_args(annotation)
    help_text = _HELP.get(name, field.description or "")
    flag = option_names.option(name)
    if kind is bool or bool in choices:
        return click.Option([f"--{flag}/--no-{flag}", name], default=None, help=help_text)
    return click.Option(
        [f"--{flag}", name],
        type=click.Choice(choices) if kind is Literal else int if kind is int else str,
        multiple=kind in (dict, tuple) or tuple in [get_origin(choice) for choice in choices],
        callback=_pairs if kind is dict else None,
        metavar=_METAVARS.get(name),
        shell_complete=completion.OF_SETTINGS.get(name),
        help=help_text + (f"  [default: {field.default}]" if isinstance(field.default, str | Path) else ""),
    )


def _pairs(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parse pairs such as `currency=EUR`."""
    from tranship.pipelines.settings import table

    return table(str(param.name), values, param.opts[0])
