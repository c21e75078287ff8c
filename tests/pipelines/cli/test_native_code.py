"""Processes of their own, which a native library aborts, blocks or floods with text."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tranship.pipelines.cli import native_code

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shows what Linux and its C library do")

BEGINNING = """
import ctypes, mmap, os, re, resource, sys, threading
from pathlib import Path
from tranship.pipelines.cli import native_code
from tranship.pipelines.cli.crash import save_crash_report
from tranship.connectors.local_failures import local_failure

def report(error):
    known = local_failure(error, "here")
    print(known or save_crash_report(error, Path("state")), file=sys.stderr, flush=True)
    os._exit(2 if known else 1)

sys.stderr = os.fdopen(native_code.hide_output(), "w")
native_code.report_aborts(report, 0.2)
"""
FULL = r"""
occupied = mmap.mmap(-1, 1 << 38, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0)
used = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20),) * 2)
"""


def ended(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGINNING + code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_library_that_gets_no_memory_is_a_sentence(tmp_path: Path) -> None:
    # As polars does, but surely without the interpreter: a process that aborts with it is reported by its supervisor.
    said = ended(f"{FULL}ctypes.CDLL(None).abort()", tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("Memory ran out. Allow this process more")
    assert said.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_library_that_waits_for_a_thread_that_cannot_start_is_a_sentence(tmp_path: Path) -> None:
    said = ended(f"{FULL}threading.Event().wait()", tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("No more threads can be started. ")


def test_a_program_that_calls_no_command_is_left_alone() -> None:
    native_code.report_aborts(lambda error: pytest.fail(str(error)))
    assert "watch" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.slow
def test_a_process_that_waits_for_others_is_left_alone(tmp_path: Path) -> None:
    assert ended("threading.Event().wait(1)", tmp_path).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("crash", ["ctypes.CDLL(None).abort()", "ctypes.CDLL(None).strlen(ctypes.c_void_p(1))"])
def test_other_aborts_and_crashes_are_bugs_with_a_report_that_quotes_nothing(crash: str, tmp_path: Path) -> None:
    said = ended(f"os.write(2, b'panicked at jane@example.com')\n{crash}", tmp_path)
    assert said.returncode == 1
    assert said.stderr.startswith("This is a bug in Tranship (NativeAbortError). Please report it with the file state/")
    (report,) = (tmp_path / "state").iterdir()
    assert 'File "<string>", line ' in report.read_text()
    assert "jane" not in report.read_text() + said.stderr
