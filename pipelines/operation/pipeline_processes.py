"""Several pipelines of one settings file, each in its own process: a crash of one does not affect the others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final

from msgspec import Struct, field

_SEVERITY: Final = (0, 6, 4, 5, 2, 3, 1, 130)
"""Exit codes, the worst one last."""

Show = Callable[[str, str], None]
"""Called with the name of a pipeline and a line that it wrote to standard error."""


class PipelineEnd(Struct, frozen=True):
    """How a pipeline ended. `result` is what it printed with `--json`: a report, or status and error."""

    pipeline: str
    exit_code: int
    result: Mapping[str, Any]


def worst(codes: Sequence[int]) -> int:
    """Return the worst exit code."""
    return max(codes, key=_SEVERITY.index, default=0)


class Processes(Struct):
    """The processes of pipelines, at most `jobs` at a time, in the order of `names`. `words` are further options."""

    file: str
    names: Sequence[str]
    words: Sequence[str]
    jobs: int
    show: Show
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def run(self) -> list[PipelineEnd]:
        """Run them all. After an interrupt, those that run are interrupted and waited for, and no other is started."""
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="pipeline") as pool:
            ends = [pool.submit(self._run, name) for name in self.names]
            try:
                return [end.result() for end in ends]
            except KeyboardInterrupt:
                self._stop()
                return [end.result() for end in ends]

    def _run(self, name: str) -> PipelineEnd:
        with tempfile.TemporaryFile() as out:
            process = self._start(name, out)
            if process is None:
                return PipelineEnd(name, 130, {"status": "interrupted", "error": "it was not started"})
            assert process.stderr is not None  # noqa: S101  (it is a pipe)
            with process.stderr as lines:
                for line in lines:
                    self.show(name, line.decode("utf-8", "replace").rstrip("\r\n"))
            code = process.wait()
            with self._lock:
                del self._running[name]
            out.seek(0)
            return _end(name, code, out.read())

    def _start(self, name: str, out: IO[bytes]) -> subprocess.Popen[bytes] | None:
        # -P: the working directory is not on the import path.
        program = [sys.executable, "-P", "-m", "tranship"]
        command = [*program, "run", self.file, "--only", name, *self.words, "--json", "--no-summary"]
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(  # noqa: S603  (our own command)
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches this process only, which passes it on once
            )
            self._running[name] = process
            return process

    def _stop(self) -> None:
        """Interrupt the processes, by SIGTERM: SIGINT is ignored in the background of some shells. If a service manager
        has signalled all processes at once, they take both signals for one.
        """
        with self._lock:
            self._stopped = True
            for process in self._running.values():
                process.terminate()


def _end(name: str, code: int, printed: bytes) -> PipelineEnd:
    try:
        result = json.loads(printed)
    except ValueError:
        result = {}
    if code < 0:
        killed = signal.Signals(-code).name
        return PipelineEnd(name, 2, {"status": "died", "error": f"its process was killed ({killed})"})
    known = code if code in _SEVERITY else 1
    return PipelineEnd(name, known, result if isinstance(result, dict) else {})
