"""Documents whose commands are run as a reader types them, and compared with the output that they show."""

from __future__ import annotations

import gc
import importlib
import io
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psycopg

from tranship.pipelines.cli.main import main
from tranship.pipelines.option_names import ENVIRONMENT_PREFIX

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Block:
    """A fenced block: its language, the line it begins on, its text."""

    language: str
    line: int
    text: str


@dataclass
class Command:
    line: int
    text: str
    output: list[str] = field(default_factory=list)


def blocks(text: str, language: str) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(m[1], text[: m.start()].count("\n") + 1, m[2]) for m in found if m[1] == language]


def commands(text: str) -> Iterator[Command]:
    """Return every `$ command` of every console block; a backslash at the end of a line continues it."""
    for block in blocks(text, "console"):
        command: Command | None = None
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if line.startswith("$ "):
                if command:
                    yield command
                command = Command(number, line.removeprefix("$ "))
            elif command and command.text.endswith("\\") and not command.output:
                command.text = command.text.removesuffix("\\") + line.strip()
            elif command:
                command.output.append(line)
        if command:
            yield command


VARYING = (
    (r"\b\d{8}T\d{6}-[0-9a-f]{6}\b", "RUN"),
    (r"\b\d+(\.\d+)? ?(s|ms)\b", "TIME"),
    (r"\b\d[\d,.]* ?[KMG]i?B\b", "SIZE"),
    (r"\b[\d,]+ ?(rows|records)?/s\b", "RATE"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?", "WHEN"),
    (r" +$", ""),
)
PROGRESS = re.compile(r"[a-z ]+: (done, |[\d,]+ records, )")
"""The report about a step that takes ten seconds, as may happen on a busy machine."""


def comparable(lines: list[str]) -> list[str]:
    """Return the output without parts that differ from run to run, and without blank lines at the end."""
    kept = "\n".join(line for line in lines if not PROGRESS.match(line)).strip("\n").splitlines()
    for pattern, word in VARYING:
        kept = [re.sub(pattern, word, line) for line in kept]
    return kept


def matches(shown: list[str], given: list[str]) -> bool:
    """Return whether the output is as shown; a line `…` matches any number of lines."""
    pattern = "\n".join(".*" if line == "…" else re.escape(line) for line in shown)
    return re.fullmatch(pattern, "\n".join(given), re.DOTALL) is not None


NOT_RUN = ("git ", "pip ", "make ", "python3 -m venv ", ". .venv/")
"""Installation and the make targets, which test_wheel.py and .ci/run cover."""


def readers_folder(place: Path) -> Path:
    """Return the folder of a reader: with sample_data/, `tranship` on the path, nothing else."""
    shutil.copytree(ROOT / "sample_data", place / "sample_data")
    tools = place / ".bin"
    tools.mkdir()
    # A link to Python would not find the packages beside it.
    for name, what in (("tranship", "-m tranship "), ("python", "")):
        door = tools / name
        door.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {what}"$@"\n')
        door.chmod(0o755)
    return place


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    path = f"{folder / '.bin'}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "COLUMNS": "120", "LC_ALL": "C.UTF-8"}


def given_to_tranship(command: str, variables: dict[str, str]) -> list[str] | None:
    """Return the words of a plain `tranship` command; null if it needs a shell: for a pipe, a redirection or a
    pattern."""
    if not command.startswith("tranship ") or re.search(r"[|<>&;*?$]", re.sub(r'"[^"]*"', "", command)):
        return None
    return [string.Template(word).substitute(variables) for word in shlex.split(command)[1:]]


FILTERED = re.compile(r"(?P<command>tranship .+?) 2>(?P<errors>&1|/dev/null) \| (?P<filter>(?:cut|grep|head) .+)")
"""A command whose output a person filters."""


def run_here(words: list[str], folder: Path, variables: dict[str, str], *, errors: bool = True) -> tuple[int, str]:
    """Run a command in this process; return exit code and output, with that of `errors`."""
    with (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8") as out,
        chdir(folder),
        mock.patch.dict(os.environ, variables, clear=True),
        mock.patch.object(gc, "freeze"),  # it would keep data of earlier tests
        redirect_stdout(out),
        redirect_stderr(out if errors else io.StringIO()),
    ):
        code = main(words)
        out.seek(0)
        return code, out.read()


def run_as_typed(command: str, folder: Path, variables: dict[str, str]) -> tuple[int, list[str]]:
    """Run a command as a person types it; what needs no shell runs in this process."""
    if words := given_to_tranship(command, variables):
        code, text = run_here(words, folder, variables)
        return code, text.splitlines()
    filtered = FILTERED.fullmatch(command)
    if filtered and (words := given_to_tranship(filtered["command"], variables)):
        _, text = run_here(words, folder, variables, errors=filtered["errors"] == "&1")
        return run_in_shell(filtered["filter"], folder, variables, text)
    return run_in_shell(command, folder, variables)


def run_in_shell(command: str, folder: Path, variables: dict[str, str], given: str = "") -> tuple[int, list[str]]:
    """Run a command in a shell, with this input."""
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=variables,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout.splitlines()


PORT = re.compile(r"127\.0\.0\.1:(\d+)")


def on_actual_ports(command: str, ports: dict[str, str]) -> str:
    """Return the command with each sandbox's usual port replaced by its actual one; a sandbox itself chooses a free
    port."""
    if command.startswith("tranship sandbox "):
        command += " --port 0"
    return PORT.sub(lambda match: f"127.0.0.1:{ports.get(match[1], match[1])}", command)


def on_usual_ports(lines: list[str], ports: dict[str, str]) -> list[str]:
    """Return output in the form that pages show."""
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


class Reader:
    """A reader who types the commands of some pages, in order, into one folder, after the SQL of a page. A command that
    a later page repeats is not run again: the page must show what it gave."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = environment(folder) | variables
        self._given: dict[str, list[str]] = {}
        self._ports: dict[str, str] = {}  # the usual port of each sandbox → its actual one
        self._last = 0

    def follow(self, pages: Sequence[Path]) -> None:
        """Run the commands of these pages; raise AssertionError if one fails or gives something else than shown."""
        with ExitStack() as sandboxes:
            for page in pages:
                self._follow(page, sandboxes)

    def _follow(self, page: Path, sandboxes: ExitStack) -> None:
        text = page.read_text(encoding="utf-8")
        earlier = dict(self._given)
        for block in blocks(text, "toml"):
            name = re.match(r"# (\S+\.toml)$", block.text.splitlines()[0])
            if name:
                (self.folder / name[1]).write_text(block.text)
        for block in blocks(text, "sql"):
            with psycopg.connect(self.variables["DATABASE_URL"], autocommit=True) as connection:
                connection.execute(block.text.encode())
        for command in commands(text):
            where = f"{page.relative_to(ROOT)}:{command.line}"
            if command.text.startswith(NOT_RUN):
                continue
            if command.text.startswith("export "):
                self.variables |= dict(pair.split("=", 1) for pair in shlex.split(command.text)[1:])
                continue
            given = earlier[command.text] if command.text in earlier else self._run(command.text, where, sandboxes)
            self._given[command.text] = given
            shown = comparable(command.output)
            assert not shown or matches(shown, comparable(given)), f"{where}: $ {command.text}\ngives\n" + "\n".join(
                given
            )

    def _run(self, command: str, where: str, sandboxes: ExitStack) -> list[str]:
        if command == "echo $?":
            return [str(self._last)]
        typed = on_actual_ports(command, self._ports)
        if command.startswith("tranship sandbox "):
            given = sandboxes.enter_context(left_running(typed, self.folder, self.variables))
            actual = PORT.search(given[0])
            assert actual, f"{where}: the sandbox did not start: {given}"
            module = importlib.import_module(f"tranship.connectors.sandbox.{command.split()[2]}")
            self._ports[str(module.PORT)] = actual[1]
        else:
            self._last, given = run_as_typed(typed, self.folder, self.variables)
            assert self._last in (0, 4, 5), f"{where}: exit {self._last}\n" + "\n".join(given)
        return on_usual_ports(given, self._ports)
