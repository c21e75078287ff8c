"""The help on narrow terminals: nothing is wider than the terminal, except commands to copy."""

from __future__ import annotations

import pytest

from tranship.pipelines import help_topics
from tranship.pipelines.cli.command_help import EVERYTHING, every_command
from tranship.pipelines.cli.help_layout import HelpLayout
from tranship.pipelines.cli.main import cli

COMMANDS = [" ".join(words) for words in every_command(cli)]


@pytest.fixture(params=[32, 40, 59])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def shown(*words: str) -> str:
    return cli.help_on(cli.context_class(cli, info_name="tranship"), words)


def too_long(text: str, columns: int) -> list[str]:
    """Return the lines that are too long, except where a word is, and the commands of examples."""
    lines = [line for line in text.splitlines() if len(line) > columns >= 4 + max(map(len, line.split()))]
    examples = text.partition("\nExample")[2]
    return [line for line in lines if line not in examples]


@pytest.mark.parametrize("words", [(), *((*name.split(), EVERYTHING) for name in COMMANDS)])
def test_no_line_is_wider_than_the_terminal(words: tuple[str, ...], columns: int) -> None:
    assert too_long(shown(*words), columns) == []


@pytest.mark.parametrize("topic", help_topics.TOPICS)
def test_the_text_of_a_topic_is_wrapped(topic: str, columns: int) -> None:
    text, commands, page = shown(topic).split("\n\n")
    assert max(map(len, text.splitlines())) <= columns
    assert commands == "\n".join(f"  {line}" for line in help_topics.TOPICS[topic].commands)
    assert page.split() == ["Documentation:", help_topics.TOPICS[topic].page]


def test_texts_stand_below_their_names_where_two_columns_do_not_fit() -> None:
    narrow, wide = HelpLayout(width=30), HelpLayout(width=60)
    for layout in (narrow, wide):
        layout.write_dl([("--mode", "Which customers may be created.  [default: upsert]")])
    assert narrow.getvalue() == "--mode\n  Which customers may be\n  created.  [default: upsert]\n"
    assert wide.getvalue() == "--mode  Which customers may be created.  [default: upsert]\n"
