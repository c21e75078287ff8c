"""The page about commands, their options and examples."""

from __future__ import annotations

import click

from builder.markdown import anchor, prose, table
from tranship.pipelines import option_names
from tranship.pipelines.cli.command_help import JOBS, Command, every_command, row
from tranship.pipelines.cli.main import cli
from tranship.pipelines.cli.options import GROUPS, SettingsCommand
from tranship.pipelines.settings_model import Settings

_INTRODUCTION = """\
# Commands and options

<!-- Written by docs/reference/build.py. -->

`tranship --help` lists the commands, `tranship help run` shows the options that people use most, and `tranship help
run all` all of them. [The command line](command-line.md) describes how commands are used; [Exit codes](exit-codes.md)
are those of all commands. The shell [completes](../how-to/completion.md) commands, options and values.
"""

_OF_SETTINGS = """\
Each is a [setting](settings.md), too: in a settings file, as an environment variable, and in Python. `run`, `plan`,
`verify` and `backfill` have those that mean something to them; `inspect` has those about reading a source."""


def page() -> str:
    """Return the page."""
    known = every_command(cli)
    parts = [_INTRODUCTION]
    for job in JOBS:
        parts.append(f"## {job}")
        for words, command in known.items():
            if getattr(cli.commands[words[0]], "job", None) == job:
                parts.append(_section(words, command))
    parts.append(_options_of_settings())
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def command_anchor(words: tuple[str, ...]) -> str:
    """Return the anchor of a command: `tranship-state-list`."""
    return "-".join(("tranship", *words))


def _context(words: tuple[str, ...]) -> click.Context:
    context = click.Context(cli, info_name="tranship", **cli.context_settings)
    for word in words:
        assert isinstance(context.command, click.Group)
        context = click.Context(context.command.commands[word], parent=context, info_name=word)
    return context


def _section(words: tuple[str, ...], command: click.Command) -> str:
    context = _context(words)
    name = " ".join(("tranship", *words))
    parts = [anchor(command_anchor(words)), f"### `{name}`"]
    parts += [_as_prose(text) for text in (command.help or "").split("\n\n")]
    if not isinstance(command, click.Group):
        parts.append(f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```")
        parts += _parameters(command, context)
    examples = getattr(command, "examples", ())
    if examples:
        parts.append("\n".join(["```text", *examples, "```"]))
    return "\n\n".join(parts)


def _as_prose(text: str) -> str:
    return prose(" ".join(text.split()))


def _parameters(command: click.Command, context: click.Context) -> list[str]:
    params = command.get_params(context)
    arguments = [
        (f"`{param.make_metavar(context)}`", _as_prose(param.help or ""))
        for param in params
        if isinstance(param, click.Argument)
    ]
    parts = [table(("argument", "meaning"), arguments)] if arguments else []
    options = command.visible_options(context) if isinstance(command, Command) else []
    of_settings = command if isinstance(command, SettingsCommand) else None
    own = [option for option in options if not (of_settings and _is_setting(option))]
    if own:
        parts.append(table(("option", "meaning"), [_row(option, context) for option in own]))
    if of_settings:
        given = {param.name for param in params}
        model = Settings.model_fields if "destination" in given else ()
        absent = [f"`--{_flag(name)}`" for name in model if name not in given]
        common = ", ".join(
            f"[`--{_flag(name)}`](#option-{_flag(name)})" for name in of_settings.common if _is_settings_name(name, own)
        )
        parts.append(f"Most used of the [options of settings](#options-of-settings): {common}.")
        if absent:
            parts.append(f"Without effect here, and therefore no options: {', '.join(absent)}.")
    return parts


def _is_settings_name(name: str, own: list[click.Option]) -> bool:
    return name in Settings.model_fields and name not in {option.name for option in own}


def _flag(name: str) -> str:
    return option_names.option(name)


def _is_setting(option: click.Option) -> bool:
    return option.name in Settings.model_fields and option.opts[0] == f"--{_flag(option.name)}"


def _row(option: click.Option, context: click.Context) -> tuple[str, str]:
    names, text = row(option, context)
    return f"`{names}`", _as_prose(text)


def _options_of_settings() -> str:
    context = _context(("run",))
    command = cli.commands["run"]
    assert isinstance(command, SettingsCommand)
    options = {option.name: option for option in command.visible_options(context)}
    parts = [anchor("options-of-settings"), "## Options of settings", _OF_SETTINGS]
    for title, names in GROUPS.items():
        rows = []
        for name in names:
            shown, text = _row(options[name], context)
            rows.append((f"{anchor(f'option-{_flag(name)}')}{shown}", text))
        parts += [f"### {title}", table(("option", "meaning"), rows)]
    return "\n\n".join(parts)
