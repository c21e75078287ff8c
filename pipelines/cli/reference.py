"""The commands that explain: codes and errors, the fields of a customer, the format of settings files."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Final

import click
import msgspec

from tranship.pipelines.cli import completion
from tranship.pipelines.cli.command_help import FIND_OUT, LOOK_FIRST, Command, Commands
from tranship.pipelines.cli.options import json_option
from tranship.pipelines.cli.output import print_json, print_json_text
from tranship.pipelines.cli.terminal import say, width
from tranship.schemas.visible import visible_lines

if TYPE_CHECKING:
    from tranship.pipelines.explain import Page

_WIDEST: Final = 100


@click.command(
    "explain",
    cls=Command,
    job=FIND_OUT,
    common=("as_json",),
    examples=("tranship explain identity.ambiguous_email", 'tranship explain 4 "taken: email"'),
    short_help="Explain a code or an error",
)
@click.argument(
    "codes",
    metavar="[CODE]...",
    nargs=-1,
    shell_complete=completion.codes,
    help="Code or reason of a report, exit code, or error of the Python API.",
)
@json_option
def explain_command(codes: tuple[str, ...], as_json: bool) -> None:
    """Explain codes and errors, or list all of them. Nothing is read from the internet."""
    from tranship.pipelines import explain

    if not codes:
        if as_json:
            print_json({"codes": explain.by_kind()})
            return
        for kind, known in explain.by_kind().items():
            say(f"{kind}\n{_wrapped(', '.join(known), '  ')}\n")
        return
    pages = [explain.page(code) for code in codes]
    if as_json:
        listed = [{**page._asdict(), "explanation": page.explanation._asdict()} for page in pages]
        print_json({"explanations": listed})
        return
    say(visible_lines("\n\n\n".join(map(_shown, pages))))


def _shown(page: Page) -> str:
    found = page.explanation
    parts = [_wrapped(f"{page.code}: {page.kind}"), _wrapped(found.sentence), _wrapped(found.meaning)]
    parts.append(_wrapped(f"What to do: {found.advice}"))
    if found.example:
        parts.append("\n".join(["Example:", *(f"  {line}" for line in found.example.splitlines())]))
    return "\n\n".join([*parts, _wrapped(f"Documentation: {page.link}")])


def _wrapped(text: str, indent: str = "") -> str:
    """Return text in lines that fit the terminal; a line break in it is kept."""
    most = min(width(sys.stdout) or _WIDEST, _WIDEST) - len(indent)
    lines = [textwrap.wrap(line, most, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()]
    return "\n".join(f"{indent}{line}" for wrapped in lines for line in wrapped)


@click.command(
    "fields",
    cls=Command,
    job=LOOK_FIRST,
    common=("as_json",),
    examples=("tranship fields",),
    short_help="List fields and their rules",
)
@json_option
def fields_command(as_json: bool) -> None:
    """List the fields of a customer and their rules."""
    from tranship.pipelines.cli import render

    fields = render.fields()
    if as_json:
        print_json({"fields": msgspec.to_builtins(fields)})
        return
    say(render.of_fields(fields, width(sys.stdout)))


@click.command(
    "schema",
    cls=Command,
    job=FIND_OUT,
    examples=("tranship schema > pipeline.schema.json",),
    short_help="Schema of settings files",
)
def schema_command() -> None:
    """Print the JSON Schema of a settings file, for editors."""
    from tranship.pipelines.settings_schema import settings_schema

    print_json_text(json.dumps(settings_schema(), indent=1))


@click.command(
    "help",
    cls=Command,
    job=FIND_OUT,
    examples=("tranship help run", "tranship help run all"),
    short_help="Show help for a command",
)
@click.argument(
    "words",
    metavar="[TOPIC]...",
    nargs=-1,
    shell_complete=completion.topics,
    help="Command, or a word such as exports, schedule, migrate or python; with all, every option of the command.",
)
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help for a command or a topic."""
    root = ctx.find_root()
    assert isinstance(root.command, Commands)  # noqa: S101
    say(root.command.help_on(root, words))


COMMANDS: Final[tuple[click.Command, ...]] = (explain_command, help_command, fields_command, schema_command)
