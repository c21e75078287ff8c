"""The page about running every night: its commands are run, and its examples compared with the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from aiohttp import web

from support.served import as_json, served
from support.shown_commands import (
    Command,
    blocks,
    commands,
    comparable,
    environment,
    matches,
    readers_folder,
    run_as_typed,
)
from tranship.pipelines.operation import metrics
from tranship.pipelines.settings_model import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_commands_do_what_the_page_shows(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    folder = readers_folder(tmp_path)
    for block in blocks(PAGE, "toml"):
        (folder / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)
    with served(answer) as hook:
        variables = environment(folder) | {"SLACK_URL": hook.url, "PAGER_URL": hook.url}
        code = 0
        for command in commands(PAGE):
            if command.text.startswith("export "):
                name, _, value = command.text.removeprefix("export ").partition("=")
                variables[name] = value
                continue
            code = _run(command, folder, variables, code)
    assert hook.calls == ["POST /"] * 2  # one of the pipelines is stopped by a limit, and recovers


def _run(command: Command, folder: Path, variables: dict[str, str], last: int) -> int:
    code, given = (0, [str(last)]) if command.text == "echo $?" else run_as_typed(command.text, folder, variables)
    shown, given = comparable(command.output), comparable(given)
    assert not shown or matches(shown, given), f"line {command.line}: $ {command.text}\ngives\n" + "\n".join(given)
    return code


def test_every_metric_is_listed() -> None:
    listed = re.findall(r"^\| `(tranship_\w+)` \|", PAGE, re.MULTILINE)
    assert listed == list(metrics._HELP)


def test_settings_and_the_alert_are_of_their_forms() -> None:
    for block in blocks(PAGE, "toml"):
        given = tomllib.loads(block.text)
        pipelines = given.pop("pipelines", {"": {}})
        for own in pipelines.values():
            Settings(**{**given, **own})
    (alert,) = [json.loads(block.text) for block in blocks(PAGE, "json")]
    assert {"text", "kind", "pipeline", "state", "before"} <= alert.keys()
