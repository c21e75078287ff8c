"""Options of commands: the settings of a run, and options that several commands share.

Every field of `pipelines.settings_model` is an option of the same name with - for _; `fields` is `--map`, `values` is
`--value`, `defaults` is `--default`, `columns` is `--column` and `options` is `--option`, one pair at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import click

from tranship.connectors import addresses
from tranship.connectors.addresses import redacted
from tranship.pipelines import option_names

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


GROUPS: Final = {
    "Columns and values": (
        *("profile", "fields", "ignore", "values", "defaults", "set", "where", "extra", "allow_missing"),
        *("timezone", "date_format", "blocked", "on_invalid", "strict"),
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
    "Running unattended": (*("pipeline", "alert", "expect", "on_failure", "ping", "metrics", "traces", "lineage"),),
    "This run": (
        "dry_run",
        "report_samples",
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

_METAVARS = {
    "profile": "NAME|FILE",
    "fields": "FIELD=RULE",
    "columns": "FIELD=COLUMN",
    "ignore": "COLUMN",
    "values": "FIELD:WORD=VALUE",
    "defaults": "FIELD=VALUE",
    "options": "NAME=VALUE",
    "set": "FIELD=EXPRESSION",
    "date_format": "FORMAT",
    "where": "CONDITION",
    "on_invalid": "FIELD=reject|warn",
    "max_rejects": "N|N%",
    "max_warnings": "N|N%",
    "max_conflicts": "N|N%",
    "max_deletes": "N|N%",
    "max_changes": "N|N%",
    "state_dir": "FOLDER",
    "remote": "ADDRESS",
    "work": "FOLDER|URL",
    "crosswalk": "FILE",
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
    "on_failure": "COMMAND",
    "ping": "env:NAME",
    "metrics": "FILE.prom",
    "lineage": "FILE|URL",
}
_HELP = {
    "source": "Source that replaces the one in the settings file. Repeatable.",
    "destination": "Destination that replaces the one in the settings file.",
}


class SettingsCommand(click.Command):
    """A command with the fields of a settings model as options, listed under the titles of GROUPS.

    The model is imported when the command or its help is used. An argument of the command replaces the field of the
    same name.
    """

    def __init__(self, *arguments: Any, model: Literal["Settings", "Reading"], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._model = model
        self._own = list(self.params)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters of the command, followed by the settings."""
        if len(self.params) == len(self._own):
            from tranship.pipelines import settings

            fields = getattr(settings, self._model).model_fields
            own_names = {param.name for param in self._own}
            self.params = [
                *self._own,
                *(_option(name, field) for name, field in fields.items() if name not in own_names),
            ]
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        shown = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in shown}
        sections = {title: [records.pop(name, None) for name in names] for title, names in GROUPS.items()}
        for title, rows in {**sections, "Output": list(records.values())}.items():
            if any(rows):
                with formatter.section(title):
                    formatter.write_dl([row for row in rows if row])


Decorated = Callable[..., Any]


def json_option(command: Decorated) -> Decorated:
    """Add --json."""
    text = "Print exactly one JSON object on standard output."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


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


class StatePath(OwnPath):
    """The path of a state directory, or its address in a bucket, which is replaced by its working copy."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path; end the command for another URL."""
        from tranship.pipelines.setting_values import state_path

        try:
            return click.Path.convert(self, state_path(os.fspath(value)), param, ctx)
        except ValueError as error:
            self.fail(f"{redacted(str(value))} {error}.", param, ctx)


def state_dir_option(command: Decorated) -> Decorated:
    """Add --state-dir."""
    return click.option(
        "--state-dir",
        type=StatePath(),
        default=Path(".tranship"),
        envvar="TRANSHIP_STATE_DIR",
        show_default=True,
        metavar="FOLDER",
        help="Folder for the files of runs, also in a bucket: s3://BUCKET/FOLDER.",
    )(command)


def lock_options(command: Decorated) -> Decorated:
    """Add the options about locks and memory, which may differ each time a run is continued."""
    options = [
        click.option(
            "--overlap",
            type=click.Choice(["wait", "skip", "fail"]),
            envvar="TRANSHIP_OVERLAP",
            help="If another run is writing to the destination: wait for it, skip this run, or fail.",
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
            help="Lock the destination against other processes; use no-locks, at your own risk, on file systems "
            "without locks.",
        ),
        click.option(
            "--memory",
            envvar="TRANSHIP_MEMORY",
            metavar="SIZE",
            help="Memory that DuckDB may use before it spills to disk, e.g. 600MB or 2GB.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_options(command: Decorated) -> Decorated:
    """Add --json, --log and --quiet."""
    log = click.option("--log", metavar="FILE", help="Write a log in JSON lines; - is standard error.")
    quiet = click.option("--quiet", is_flag=True, help="Print errors only.")
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
        help=help_text + (f"  [default: {field.default}]" if isinstance(field.default, str | Path) else ""),
    )


def _pairs(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parse pairs such as `currency=EUR`."""
    from tranship.pipelines.settings import table

    return table(str(param.name), values, param.opts[0])
