"""Settings as options of a command, and settings as the command that says them.

Every field of `pipelines.settings` is an option of its name with - for _; `columns` is `--map` and `defaults` is
`--default`, a pair at a time.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from tranship.pipelines.settings import Settings

GROUPS: Final = {
    "Columns and values": ("columns", "defaults", "extra", "where", "timezone", "date_format", "blocked"),
    "CSV files": ("encoding", "delimiter", "quote", "header", "raw"),
    "Providers": ("include_archived",),
    "Customers that occur more than once": ("survivor", "fill"),
    "Writing": (
        *("mode", "nulls", "older", "deletes", "evolve", "create", "overwrite", "crosswalk", "remove_for_good"),
    ),
    "Limits, checked before the first write": (
        "max_rejects",
        "max_conflicts",
        "max_deletes",
        "max_changes",
        "allow_empty",
        "limit",
    ),
    "This run": (
        "dry_run",
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
"""Title → settings, as the help lists them."""

_FLAGS = {"columns": "map", "defaults": "default"}
_METAVARS = {
    "columns": "COLUMN=FIELD",
    "defaults": "FIELD=VALUE",
    "date_format": "FORMAT",
    "where": "CONDITION",
    "max_rejects": "N|N%",
    "max_conflicts": "N|N%",
    "max_deletes": "N|N%",
    "max_changes": "N|N%",
    "state_dir": "FOLDER",
    "crosswalk": "FILE",
    "limit": "N",
    "pace": "RATE",
    "workers": "N",
    "memory": "SIZE",
    "lock_timeout": "TIME",
    "statement_timeout": "TIME",
}
_HELP = {
    "source": "Read from here instead of what pipeline.toml says. Repeatable.",
    "destination": "Write there instead of what pipeline.toml says.",
}


class SettingsCommand(click.Command):
    """A command that takes the fields of a settings model as options, listed under the titles of GROUPS.

    The model is imported when the command is used or asked for help. An argument of the command has precedence over
    a field of its name.
    """

    def __init__(self, *arguments: Any, model: Literal["Settings", "Reading"], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._model = model
        self._own = list(self.params)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, then the settings."""
        if len(self.params) == len(self._own):
            from tranship.pipelines import settings

            fields = getattr(settings, self._model).model_fields
            taken = {param.name for param in self._own}
            self.params = [*self._own, *(_option(name, field) for name, field in fields.items() if name not in taken)]
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each group."""
        shown = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in shown}
        sections = {title: [records.pop(name, None) for name in names] for title, names in GROUPS.items()}
        for title, rows in {**sections, "Output": list(records.values())}.items():
            if any(rows):
                with formatter.section(title):
                    formatter.write_dl([row for row in rows if row])


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Only the settings that stand on the command line."""
    return {name: value for name, value in options.items() if value not in (None, (), {})}


def run_command(settings: Settings, sources: Iterable[str], names: Iterable[str]) -> str:
    """The `run` command over `sources` that says the named settings, as far as they are not the default."""
    words = ["run", *sources, settings.destination]
    for name in names:
        value = getattr(settings, name)
        if value != type(settings).model_fields[name].get_default(call_default_factory=True):
            words += _words(name, value)
    return shell("tranship", *words)


def shell(*words: str) -> str:
    """A command as one types it."""
    return shlex.join(words)


def _words(name: str, value: Any) -> Sequence[str]:
    flag = _flag(name)
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, dict):
        pairs = ((key, one) for key, given in value.items() for one in ([given] if isinstance(given, str) else given))
        return [word for pair in pairs for word in (f"--{flag}", "=".join(pair))]
    if isinstance(value, tuple):
        return [word for one in value for word in (f"--{flag}", one)]
    return [f"--{flag}", str(value)]


def _flag(name: str) -> str:
    return _FLAGS.get(name, name.replace("_", "-"))


def _option(name: str, field: FieldInfo) -> click.Option:
    choices = get_args(field.annotation)
    annotation = next((choice for choice in choices if get_origin(choice) is Literal), field.annotation)
    kind = get_origin(annotation) or annotation
    choices = get_args(annotation)
    help_ = _HELP.get(name, field.description or "")
    if kind is bool or bool in choices:
        return click.Option([f"--{_flag(name)}/--no-{_flag(name)}", name], default=None, help=help_)
    return click.Option(
        [f"--{_flag(name)}", name],
        type=click.Choice(choices) if kind is Literal else int if kind is int else str,
        multiple=kind in (dict, tuple) or tuple in [get_origin(choice) for choice in choices],
        callback=_pairs if kind is dict else None,
        metavar=_METAVARS.get(name),
        help=help_ + (f"  [default: {field.default}]" if isinstance(field.default, str | Path) else ""),
    )


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """`Account No=external_id`; a column may have = in its name, a field has none."""
    from tranship.pipelines.settings import table

    pairs = []
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not of the form {param.metavar}.", ctx, param)
        left, _, right = value.rpartition("=") if param.name == "columns" else value.partition("=")
        pairs.append((left, right))
    return table(str(param.name), pairs, param.opts[0])
