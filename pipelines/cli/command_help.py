"""The help of commands: on one screen what people use most, and everything with `--help all`.

Each command says beside its name, in its decorator, to which of JOBS it belongs, its commonest options and examples:

    @click.command("apply", cls=Command, job=MOVE, common=("limit", "expect"), examples=("tranship apply plan",))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

import click

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli import completion
from tranship.pipelines.cli.help_layout import HelpContext, HelpLayout

if TYPE_CHECKING:
    from tranship.pipelines.help_topics import Topic

MOVE: Final = "Move customers"
LOOK_FIRST: Final = "Look first"
LOOK_BACK: Final = "Look back"
FIND_OUT: Final = "Find out"
JOBS: Final = (MOVE, LOOK_FIRST, LOOK_BACK, FIND_OUT)
"""What commands are for, in the order of the help."""

EVERYTHING: Final = "all"
_SHARED: Final = {"This run": ("dry_run", "state_dir", "overlap", "lock_timeout", "locks", "memory")}
_OUTPUT: Final = ("as_json", "log", "quiet")
_SCREEN: Final = 80
_LABEL: Final = len("Commands: ")
_NAME: Final = 11
_COLUMN: Final = 39
LONGEST_SHORT_HELP: Final = _COLUMN - _NAME - 1
"""Two commands share a line of 80 columns."""
_SHOWN_EXAMPLES: Final = 2


class Command(click.Command):
    """A command whose help has a short and a full form."""

    context_class = HelpContext

    def __init__(
        self,
        *arguments: Any,
        job: str | None = None,
        common: Sequence[str] = (),
        examples: Sequence[str] = (),
        sections: Mapping[str, Sequence[str]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.job = job
        self.common = tuple(common)
        self.examples = tuple(examples)
        self.own_sections = sections or {}
        """Title → options, for the full form."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return --help, which may be followed by `all`."""
        if self._help_option is None:
            self._help_option = click.Option(
                self.get_help_option_names(ctx),
                is_flag=False,
                flag_value="",
                is_eager=True,
                expose_value=False,
                callback=self._answer,
                shell_complete=completion.forms_of_help,
            )
        return self._help_option

    def _answer(self, ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is None or ctx.resilient_parsing:
            return
        click.echo(self.answer(ctx, value), color=ctx.color)
        ctx.exit()

    def answer(self, ctx: click.Context, form: str) -> str:
        """Return the help, in its short form or, with `all`, in its full form; raises ConfigError for another word."""
        if form not in ("", EVERYTHING):
            # The word may be an address with a password, which is not repeated.
            raise ConfigError(
                f"--help: only {EVERYTHING} may follow it. Type {ctx.command_path} --help or, for all options, "
                f"{ctx.command_path} --help {EVERYTHING}."
            )
        ctx.meta[__name__] = form
        return ctx.get_help()

    def common_options(self, ctx: click.Context) -> list[click.Option]:
        """Return the options of the short form, in the order in which the command names them; without a list, all."""
        shown = {option.name: option for option in self.visible_options(ctx)}
        return [shown[name] for name in self.common] if self.common else list(shown.values())

    def visible_options(self, ctx: click.Context) -> list[click.Option]:
        """Return the options that the full form lists, except --help."""
        given = self.get_params(ctx)
        return [
            option
            for option in given
            if isinstance(option, click.Option) and not option.hidden and option is not self._help_option
        ]

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return title → names of options that several commands share, in the order of the help."""
        return _SHARED

    def sections(self, ctx: click.Context) -> dict[str, list[click.Option]]:
        """Return title → options of the full form."""
        options = {option.name or "": option for option in self.visible_options(ctx)}
        titles = {**self.own_sections, **self.groups(), "Output": _OUTPUT}
        grouped = {title: [options.pop(name) for name in names if name in options] for title, names in titles.items()}
        found = {title: members for title, members in {"Options": [*options.values()], **grouped}.items() if members}
        return found or {"Options": []}

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage, what the command does, options and examples."""
        in_full = ctx.meta.get(__name__) == EVERYTHING
        self.format_usage(ctx, formatter)
        self._write_text(formatter, in_full)
        self._write_arguments(ctx, formatter)
        count = len(self.visible_options(ctx))
        has_more = count > len(self.common_options(ctx))
        sections = self.sections(ctx) if in_full else {"Options": self.common_options(ctx)}
        shown = row if in_full else _short_row
        rows = {title: [shown(option, ctx) for option in options] for title, options in sections.items()}
        names = ", ".join(sorted(self.get_help_option_names(ctx), key=len))
        rows[next(reversed(rows))].append(
            (f"{names} [{EVERYTHING}]", "Show this help, or all options.") if has_more else (names, "Show this help.")
        )
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)
        self._write_examples(formatter, in_full)
        if in_full:
            self.format_epilog(ctx, formatter)
        elif has_more:
            formatter.write_paragraph()
            formatter.write_text(f"All {count} options: {ctx.command_path} --help {EVERYTHING}")

    def _write_text(self, formatter: click.HelpFormatter, in_full: bool) -> None:
        paragraphs = (self.help or "").split("\n\n")
        for text in paragraphs if in_full else paragraphs[:1]:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(" ".join(text.split()))

    def _write_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        arguments = [param for param in self.get_params(ctx) if isinstance(param, click.Argument)]
        rows = [record for argument in arguments if (record := argument.get_help_record(ctx))]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)

    def _write_examples(self, formatter: click.HelpFormatter, in_full: bool) -> None:
        shown = self.examples if in_full else self.examples[:_SHOWN_EXAMPLES]
        if shown:
            with formatter.section("Example" if len(shown) == 1 else "Examples"):
                for line in shown:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def row(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """Return the option and its text, without the range of a number: the message about a number beyond it says that."""
    names, text = option.get_help_record(ctx) or ("", "")
    return names, re.sub(r"; [\d<=>x]+(?=\]$)|  \[[\d<=>x]+\]$", "", text)


def _short_row(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """Return the option, the first sentence of its text, and the default."""
    names, text = row(option, ctx)
    sentence, *_ = re.split(r"(?<=\.) (?=[A-Z])", text)
    default = re.search(r"  \[.+\]$", text)
    return names, sentence if default is None or sentence.endswith("]") else sentence + default[0]


class Group(Command, click.Group):
    """A group of commands: its help lists them."""

    def _write_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)


class Commands(Group):
    """All commands: on one screen, by job."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def answer(self, ctx: click.Context, form: str) -> str:
        """Return the help of a command or topic, or the overview."""
        return self.help_on(ctx, form.split())

    def help_on(self, ctx: click.Context, words: Sequence[str]) -> str:
        """Return the help for these words: a command, in full with `all`, a topic, or nothing for the overview. Raises
        ConfigError.
        """
        from tranship.pipelines import help_topics

        if not words:
            return ctx.get_help()
        form = EVERYTHING if words[-1] == EVERYTHING else ""
        path = tuple(words[:-1] if form else words)
        known = every_command(self)
        if not path:
            return "\n\n\n".join(self._help_of_command(ctx, words, form) for words in known)
        if path in known:
            return self._help_of_command(ctx, path, form)
        if topic := help_topics.topic_of(" ".join(path)):
            return _topic(topic)
        raise help_topics.unknown(" ".join(path), [" ".join(names) for names in known])

    def _help_of_command(self, ctx: click.Context, words: Sequence[str], form: str) -> str:
        command: click.Command = self
        for word in words:
            assert isinstance(command, click.Group)  # noqa: S101
            command = command.commands[word]
            ctx = command.context_class(command, parent=ctx, info_name=word)
        assert isinstance(command, Command)  # noqa: S101
        return command.answer(ctx, form)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return what follows the name."""
        return ["[--version]", "COMMAND ..."]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each job, two on a line where the terminal is wide enough, and how to go on."""
        self.format_usage(ctx, formatter)
        assert isinstance(formatter, HelpLayout)  # noqa: S101
        with formatter.indentation():
            formatter.write_lines(str(self.help), 0)
        formatter.write_paragraph()
        for job in JOBS:
            cells = [
                f"{name:<{_NAME}}{command.get_short_help_str()}"
                for name, command in self.commands.items()
                if getattr(command, "job", None) == job and not command.hidden
            ]
            formatter.write(f"{job}:\n")
            with formatter.indentation():
                for line in _in_columns(cells) if formatter.width >= _SCREEN - 2 else cells:
                    formatter.write_lines(line, _NAME)
        formatter.write_paragraph()
        formatter.write_lines(str(self.epilog), _LABEL)


def _topic(topic: Topic) -> str:
    layout = HelpLayout()
    layout.write_lines(topic.text, 0)
    layout.write_paragraph()
    layout.write("".join(f"  {line}\n" for line in topic.commands))
    layout.write_paragraph()
    layout.write_lines(f"Documentation: {topic.page}", 0)
    return layout.getvalue().rstrip("\n")


def _in_columns(cells: Sequence[str]) -> list[str]:
    half = (len(cells) + 1) // 2
    pairs = zip_longest(cells[:half], cells[half:], fillvalue="")
    return [f"{left:<{_COLUMN}}{right}".rstrip() for left, right in pairs]


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Return the words of each command, also within groups, and the command."""
    listed = {(*path, name): command for name, command in group.commands.items()}
    below = (every_command(command, words) for words, command in listed.items() if isinstance(command, click.Group))
    return {**listed, **dict(chain.from_iterable(found.items() for found in below))}
