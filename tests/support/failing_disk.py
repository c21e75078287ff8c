"""A disk that fails at a chosen write: `failing_disk.c` between the command and the operating system.

As a program, this runs real commands: each line of standard input is a job, done in a fork in which the libraries are
already imported. Polars must not be used before the fork, since a fork does not copy threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve()
_HEAD = struct.Struct("4q")
_ENOUGH = 1 << 38


@dataclass(frozen=True)
class Said:
    """The output of a command."""

    code: int
    out: str
    err: str


class FailingDisk:
    """Runs commands in a folder, in which some writes fail."""

    def __init__(self, folder: Path, scratch: Path, server: subprocess.Popen[str]) -> None:
        self.folder, self._scratch, self._server = folder, scratch, server

    def heal(self) -> None:
        """Let every write succeed, and forget the calls so far."""
        self._log.unlink(missing_ok=True)
        self._set(0, 0, 0)

    def fail(self, first: int, error: int, *, once: bool = False) -> None:
        """Let the n-th call fail, and all after it unless only `once`."""
        self._set(first, first if once else 1 << 62, error)

    def calls(self) -> list[str]:
        """Return the calls since `heal`, with their paths below the folder, without parts that differ from run to
        run."""
        return [re.sub(r"[0-9a-f]{6,}|\d{6,}", "#", line) for line in self._log.read_text().splitlines()]

    def run(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        spare_bytes: int | None = None,
    ) -> Said:
        """Run a command; `file_bytes` is the maximum size of a file (`RLIMIT_FSIZE`), `spare_bytes` the address space
        that is left when the command starts (`RLIMIT_AS`).
        """
        out, err = self._scratch / "out", self._scratch / "err"
        job = {"cwd": str(self.folder), "words": words, "out": str(out), "err": str(err)}
        job |= {"environment": environment or {}, "file_bytes": file_bytes}
        job["spare_bytes"] = spare_bytes
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return Said(code, out.read_text(), err.read_text())

    @property
    def _log(self) -> Path:
        return self._scratch / "state.log"

    def _set(self, first: int, last: int, error: int) -> None:
        with (self._scratch / "state").open("r+b") as state:
            state.write(_HEAD.pack(0, first, last, error))


@contextlib.contextmanager
def failing_disk(tmp_path: Path) -> Iterator[FailingDisk]:
    """A disk that does not fail yet, with an empty folder."""
    folder, scratch, library = tmp_path / "work", tmp_path / "scratch", tmp_path / "failing_disk.so"
    for made in (folder, scratch):
        made.mkdir()
    compiler = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(_HERE.with_suffix(".c")), "-ldl"]
    subprocess.run(compiler, check=True)
    (scratch / "state").write_bytes(b"\0" * 512)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAULT_ROOT": str(folder),
        "FAULT_STATE": str(scratch / "state"),
        "PYTHONPATH": str(_HERE.parent.parent),
    }
    with subprocess.Popen(
        [sys.executable, str(_HERE)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        disk = FailingDisk(folder, scratch, server)
        disk.heal()
        yield disk
        assert server.stdin is not None
        server.stdin.close()


def _serve() -> None:
    import aiohttp  # noqa: F401
    import duckdb  # noqa: F401
    import pandera.polars  # noqa: F401
    import polars as pl  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydantic  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                _give(job)
            finally:
                os._exit(99)  # the command ends its process by itself
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _give(job: Mapping[str, object]) -> None:
    import resource

    for descriptor, name, flags in ((0, os.devnull, os.O_RDONLY), (1, job["out"], 0), (2, job["err"], 0)):
        opened = os.open(str(name), flags or os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
    os.chdir(str(job["cwd"]))
    environment, words, most, spare = (job[name] for name in ("environment", "words", "file_bytes", "spare_bytes"))
    assert isinstance(environment, Mapping)
    assert isinstance(words, Sequence)
    os.environ.update(environment)
    if isinstance(most, int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if isinstance(spare, int):
        _leave(spare)
    sys.argv = ["tranship", *words]
    import tranship

    tranship.main()


def _leave(spare: int) -> None:
    """Occupy all of a limit that is high enough for the command, except the spare bytes."""
    import mmap
    import resource

    used = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10  # type: ignore[index]
    globals()["_occupied"] = mmap.mmap(-1, _ENOUGH, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0)
    resource.setrlimit(resource.RLIMIT_AS, (used + _ENOUGH + spare,) * 2)


if __name__ == "__main__":
    _serve()
