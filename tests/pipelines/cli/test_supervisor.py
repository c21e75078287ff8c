"""Commands whose address space is limited: they work in a child, and their caller must not notice."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tranship.pipelines.cli import process

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(sys.platform != "linux", reason="limits on address space are those of Linux"),
]
COMMAND = (sys.executable, "-m", "tranship")
ENOUGH = process._ADDRESS_SPACE + (os.cpu_count() or 1) * process._ADDRESS_SPACE_PER_CORE + (1 << 30)
CRASH = """
import ctypes, sys
class Crashing:
    def find_spec(self, name, path=None, target=None):
        if name == "polars":
            {crash}
sys.meta_path.insert(0, Crashing())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("external_id,name\n1,Ann\n")
    return tmp_path


def limited(limit: int) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, which may have started the tests, ignores it
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def ended(folder: Path, *words: str, limit: int = ENOUGH, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env={**os.environ, **environment},
        preexec_fn=lambda: limited(limit),
        capture_output=True,
        text=True,
        check=False,
    )


def crashing(folder: Path, crash: str) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(CRASH.format(crash=crash))
    return {"PYTHONPATH": str(folder)}


def working_child(command: subprocess.Popen[str]) -> int:
    """Return the process that works once it handles signals."""
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    while command.poll() is None:
        for child in map(int, children.read_text().split()):
            caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{child}/status").read_text())
            if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
                return child
        threading.Event().wait(0.01)
    raise AssertionError(command.communicate()[1])


@contextmanager
def reading(folder: Path, *, own_group: bool = False) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A limited command that waits for its standard input, and the process that works."""
    with subprocess.Popen(
        [*COMMAND, "run", "-", "out.csv"],
        cwd=folder,
        preexec_fn=lambda: limited(ENOUGH),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    ) as command:
        child = working_child(command)
        try:
            yield command, child
        finally:
            command.kill()


def test_a_library_that_aborts_while_it_holds_the_interpreter_is_a_sentence(folder: Path) -> None:
    said = ended(folder, "run", "in.csv", "out.csv", "--json", **crashing(folder, "ctypes.PyDLL(None).abort()"))
    assert said.returncode == 2
    assert said.stderr.startswith("Error: The command crashed, as libraries do when they get no memory")
    assert "run the same command again" in said.stderr
    assert json.loads(said.stdout)["exit_code"] == 2
    assert ended(folder, "run", "in.csv", "out.csv").returncode == 0


def test_a_crash_that_no_handler_sees_is_a_sentence(folder: Path) -> None:
    said = ended(
        folder, "run", "in.csv", "out.csv", **crashing(folder, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    )
    assert said.returncode == 2
    assert said.stderr.startswith("Error: The command crashed")


@pytest.mark.parametrize("megabytes", [20, 24, 30, 60, 70, 100, 400])
@pytest.mark.parametrize("words", [("run", "in.csv", "out.csv"), ("runs",)])
def test_with_whatever_little_address_space_there_is_a_sentence(
    words: tuple[str, ...], megabytes: int, folder: Path
) -> None:
    said = ended(folder, *words, limit=megabytes << 20)
    assert said.returncode == 2
    assert said.stderr.startswith(f"Error: This process may use {megabytes} MB of address space (ulimit -v)")


def test_input_output_and_exit_code_are_those_of_the_child(folder: Path) -> None:
    with reading(folder) as (command, _):
        out, err = command.communicate("external_id,name\n1,Ann\n,\n")
    assert (command.returncode, out) == (4, "")
    assert "rejected 1" in err
    assert "Ann" in (folder / "out.csv").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_forwarded(number: signal.Signals, folder: Path) -> None:
    with reading(folder) as (command, _):
        command.send_signal(number)
        command.wait(timeout=30)  # its standard input stays open: at its end, the run would have no records
        _, err = command.communicate()
    assert command.returncode == 130
    assert "Stopped." in err


def test_a_signal_to_the_whole_group_interrupts_once(folder: Path) -> None:
    with reading(folder, own_group=True) as (command, _):
        os.killpg(command.pid, signal.SIGINT)
        command.wait(timeout=30)  # its standard input stays open: at its end, the run would have no records
        _, err = command.communicate()
    assert command.returncode == 130
    assert "Stopped." in err


def test_a_kill_ends_both_and_the_destination_is_free(folder: Path) -> None:
    with reading(folder) as (command, child):
        command.kill()
        command.wait()
        while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
            threading.Event().wait(0.01)
    assert ended(folder, "run", "in.csv", "out.csv").returncode == 0


def test_a_kill_of_the_child_is_one_of_the_command(folder: Path) -> None:
    with reading(folder) as (command, child):
        os.kill(child, signal.SIGKILL)
        command.wait(timeout=30)
    assert command.returncode == -signal.SIGKILL


def test_without_a_limit_there_is_one_process(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import os\nos.fork = None\n")
    assert (
        ended(folder, "run", "in.csv", "out.csv", limit=resource.RLIM_INFINITY, PYTHONPATH=str(folder)).returncode == 0
    )
