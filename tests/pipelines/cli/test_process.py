from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tranship.pipelines.cli import process

COMMAND = f"{sys.executable} -m tranship"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which $T is the command."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "T": COMMAND, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("external_id,name\n1,Ann\n,\n")
    return tmp_path


# Streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_closed_and_full_streams_change_neither_the_work_nor_the_exit_code(redirection: str, folder: Path) -> None:
    assert shell(f"$T run in.csv out.csv --json {redirection}", folder).returncode == 4
    assert (folder / "out.csv").read_text().count("Ann") == 1


@pytest.mark.slow
def test_a_report_that_cannot_be_printed_is_mentioned(folder: Path) -> None:
    said = shell("$T inspect in.csv >/dev/full", folder)
    assert (said.returncode, said.stderr) == (
        0,
        "standard output: could not be written (No space left on device).\n",
    )


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(folder: Path) -> None:
    said = shell("$T inspect in.csv | true; exit ${PIPESTATUS[0]}", folder)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.slow
def test_a_working_directory_that_was_removed_is_no_error(folder: Path) -> None:
    said = shell("mkdir gone && cd gone && rmdir ../gone && $T --version", folder)
    assert (said.returncode, said.stderr) == (0, ""), said.stderr


@pytest.mark.slow
def test_records_that_cannot_be_printed_are_an_error(folder: Path) -> None:
    said = shell("$T run in.csv - >/dev/full", folder)
    assert said.returncode == 2
    assert "standard output: cannot be read or written (No space left on device)" in said.stderr
    assert "continue with: tranship resume" in said.stderr


@pytest.mark.slow
def test_a_log_that_cannot_be_written_is_reported_once_and_stops_nothing(folder: Path) -> None:
    said = shell("$T run in.csv out.csv --log /dev/full", folder)
    assert said.returncode == 4
    assert said.stderr.count("note: --log /dev/full: cannot be written (No space left on device)") == 1
    assert "Traceback" not in said.stderr


@pytest.mark.slow
def test_what_native_libraries_print_is_hidden(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("""
import os, sys
class Printing:
    def find_spec(self, name, path=None, target=None):
        if name == "polars":
            os.write(2, b"thread panicked at 'jane@example.com'")
sys.meta_path.insert(0, Printing())
""")
    said = shell("$T run in.csv out.csv", folder, PYTHONPATH=str(folder))
    assert said.returncode == 4
    assert "panicked" not in said.stdout + said.stderr


# Memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="no such limit")
@pytest.mark.parametrize("kilobytes", [300_000, 1_600_000])
def test_too_little_address_space_is_a_sentence(kilobytes: int, folder: Path) -> None:
    said = shell(f"ulimit -v {kilobytes}; $T run in.csv out.csv", folder)
    assert said.returncode == 2
    assert said.stderr.startswith(f"Error: This process may use {kilobytes // 1024:,} MB of address space (ulimit -v)")
    assert "Traceback" not in said.stderr


# Signals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hears_all() -> Iterator[None]:
    """Restore the default handling of signals: nohup, which may have started the tests, ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_all")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_interrupts_once_and_others_after_it_do_not(number: signal.Signals) -> None:
    with process.interrupts():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        for other in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} - {number}:
            os.kill(os.getpid(), other)
        assert process.was_interrupted()


def test_the_same_signal_within_a_moment_is_one_request() -> None:
    with process.interrupts():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert process.was_interrupted()


def test_a_signal_that_the_caller_ignores_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.interrupts():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not process.was_interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_arrives_in_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    class Fragile:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def destroy_and_wait() -> None:
        Fragile()
        threading.Event().wait(30)

    with process.interrupts(), pytest.raises(KeyboardInterrupt):
        destroy_and_wait()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("module", ["tranship.pipelines.cli.main", "polars"])
def test_a_signal_during_an_import_is_no_traceback(module: str, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(f"""
import os, signal, sys
class Signalling:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Signalling())
""")
    said = shell("$T run in.csv out.csv", folder, PYTHONPATH=str(folder))
    assert said.returncode == 130
    assert "Stopped." in said.stderr
    assert "Traceback" not in said.stderr
    assert not (folder / "out.csv").exists()
