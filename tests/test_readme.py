"""The examples of the README are run, and its tables are compared with the code."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.postgres_server import Database
from support.shown_commands import (
    NOT_RUN,
    Block,
    blocks,
    commands,
    comparable,
    environment,
    matches,
    readers_folder,
    run_as_typed,
)
from tranship.connectors import errors
from tranship.pipelines.cli.main import cli
from tranship.pipelines.run import run
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Settings
from tranship.schemas import codes
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import RULES, WARNINGS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


# What is shown is run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return readers_folder(tmp_path_factory.mktemp("readme"))


PORT = re.compile(r"127\.0\.0\.1:(\d+)")


def on_actual_ports(command: str, ports: dict[str, str]) -> str:
    """Return the command with each sandbox's usual port replaced by its actual one; a sandbox itself chooses a free
    port."""
    if command.startswith("tranship sandbox "):
        command += " --port 0"
    return PORT.sub(lambda match: f"127.0.0.1:{ports.get(match[1], match[1])}", command)


def on_usual_ports(lines: list[str], ports: dict[str, str]) -> list[str]:
    """Return output in the form shown in the README."""
    usual = {actual: port for port, actual in ports.items()}
    return [PORT.sub(lambda match: f"127.0.0.1:{usual.get(match[1], match[1])}", line) for line in lines]


@contextmanager
def left_running(command: str, folder: Path, variables: dict[str, str]) -> Iterator[list[str]]:
    """Run a sandbox as a person does in another shell; yields the first two lines of its output, which show that it is
    ready."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder, env=variables, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr
        yield [process.stderr.readline().rstrip(), process.stderr.readline().rstrip()]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@pytest.fixture
def others() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
def test_commands_do_what_the_readme_shows(folder: Path, postgres_database: Database, others: ExitStack) -> None:
    ports: dict[str, str] = {}  # the usual port of each sandbox → its actual one
    for block in blocks(README, "toml"):
        name = re.match(r"# (\S+\.toml)$", block.text.splitlines()[0])
        if name:
            (folder / name[1]).write_text(block.text)
    last = 0
    variables = environment(folder) | {"DATABASE_URL": postgres_database.url}
    for command in commands(README):
        if command.text.startswith(NOT_RUN):
            continue
        if command.text.startswith("export "):
            variables |= dict(pair.split("=", 1) for pair in shlex.split(command.text)[1:])
            continue
        if command.text.startswith("tranship sandbox "):
            last, given = 0, others.enter_context(left_running(on_actual_ports(command.text, ports), folder, variables))
            actual = PORT.search(given[0])
            assert actual, f"README.md:{command.line}: the sandbox did not start: {given}"
            module = importlib.import_module(f"tranship.connectors.sandbox.{command.text.split()[2]}")
            ports[str(module.PORT)] = actual[1]
        elif command.text == "echo $?":
            given = [str(last)]
        else:
            last, given = run_as_typed(on_actual_ports(command.text, ports), folder, variables)
        assert last in (0, 4, 5) or command.text == "echo $?", f"README.md:{command.line}: exit {last}\n" + "\n".join(
            given
        )
        shown, given = comparable(command.output), comparable(on_usual_ports(given, ports))
        if shown:
            assert matches(shown, given), f"README.md:{command.line}: $ {command.text}\ngives\n" + "\n".join(given)


def test_what_is_not_run_only_installs() -> None:
    for block in blocks(README, "sh"):
        assert all(line.startswith(NOT_RUN) for line in block.text.splitlines()), f"README.md:{block.line}: use console"


def test_every_make_target_shown_exists() -> None:
    targets = set(re.findall(r"`make ([a-z-]+)", README))
    assert targets, "the README shows no make target"
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda block: f"line {block.line}")
def test_python_runs(block: Block, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    ran = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("block", blocks(README, "toml"), ids=lambda block: f"line {block.line}")
def test_settings_files_are_valid(block: Block) -> None:
    Settings(**tomllib.loads(block.text))


# Tables --------------------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", prose, re.DOTALL | re.MULTILINE)
    assert section, f"README.md has no section {heading!r}"
    lines = [line for line in section[1].splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"README.md: no table under {heading!r}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def named(cell: str) -> list[str]:
    """Return the texts in back quotes."""
    return re.findall(r"`([^`]+)`", cell)


def default_of(name: str) -> str:
    model_field = Settings.model_fields[name]
    if name == "workers":
        return "cores, at most 8"
    default: Any = model_field.get_default(call_default_factory=True, validated_data={})
    if model_field.is_required():
        return "required"
    if default is None or default == () or default == {}:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_settings_table() -> None:
    expected = [
        f"| `{name}` | {default_of(name)} | {model_field.description} |"
        for name, model_field in Settings.model_fields.items()
    ]
    given = [f"| {' | '.join(row)} |" for row in table("Settings")]
    assert [line.replace("|  |", "| |") for line in given] == [line.replace("|  |", "| |") for line in expected], (
        "README.md, Settings: should be\n" + "\n".join(expected)
    )


def test_exit_codes() -> None:
    def below(kind: type[errors.TranshipError]) -> Iterator[type[errors.TranshipError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from below(sub)

    codes_of_errors = {kind.exit_code for kind in below(errors.TranshipError)}
    assert {int(row[0]) for row in table("Exit codes")} == codes_of_errors | {0, 4}


@pytest.mark.parametrize(("heading", "known"), [("Why a record is rejected", RULES), ("Warnings", WARNINGS)])
def test_codes(heading: str, known: dict[str, str]) -> None:
    said = {code: row[1] for row in table(heading) for code in named(row[0])}
    assert said == known


def test_reasons_of_destinations() -> None:
    said = {name.partition(":")[0] for row in table("Why the destination refuses a record") for name in named(row[0])}
    files = [file for file in (ROOT / "connectors").rglob("*.py") if file.parent.name != "sandbox"]
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(files))
    spellings = (
        r"""["']([a-z_]+): \{""",
        r"""target IS (?:NOT )?NULL", "(\w+)"\)""",
        r"""THEN '(\w+)' END AS reason""",
        r"""reason = '(\w+): """,
        r"""^OLDER: Final = "(\w+)\"""",
    )
    known = {reason for spelling in spellings for reason in re.findall(spelling, source, re.MULTILINE)}
    assert said == known - {"page_size", "changed", "gone", "numbers"}  # an option; what makes a record stale; a note


def test_status_words() -> None:
    said = {word: row[0].strip("`") for row in table("Status words") for word in named(row[1])}
    assert said == codes.STATUS_WORDS


def test_customer_types() -> None:
    said = {word: row[0].strip("`") for row in table("Customer types") for word in named(row[1])}
    assert said == codes.CUSTOMER_TYPE_WORDS


def test_blocked_values() -> None:
    said = {row[0]: {word.lower() for word in named(row[1])} for row in table("Values that identify nobody")}
    assert said == {
        "external ids and aliases": codes.BLOCKED_IDS - codes.NO_VALUE_WORDS,
        "e-mails": codes.BLOCKED_EMAILS,
        "the part before the `@`": codes.BLOCKED_EMAIL_LOCALS,
        "words for no id or e-mail": codes.NO_VALUE_WORDS,
    }


def test_fields() -> None:
    assert [name for row in table("What a customer is") for name in named(row[0])] == list(COLUMNS)


def test_every_command_is_listed() -> None:
    listed = {words[1] for row in table("Commands") for words in [named(row[0])[0].split()]}
    assert listed == set(cli.commands)


def test_files_of_a_run(tmp_path: Path) -> None:
    ends = {"source": str(ROOT / "sample_data" / "nightly"), "destination": f"duckdb:///{tmp_path}/w.duckdb"}
    report = run(load({**ends, "state_dir": tmp_path}, {}))
    said = {name for row in table("Files of a run") for cell in row for name in named(cell) if name != "*"}
    assert said == {path.name for path in Path(report.run_dir).iterdir()}
