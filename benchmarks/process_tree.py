"""What a process and all that it starts take: an engine is a server and its workers, which the system reports apart."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import ROOT, NotMeasuredError, last_line

SAMPLE_SECONDS = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class TreeRun:
    """One command: seconds of wall and processor time, and the peak of the anonymous pages of all its processes at one
    moment, in bytes. Pages that a forked worker shares with its parent count twice.
    """

    seconds: float
    processor: float
    anonymous: int


def measured_tree(command: Sequence[str], variables: Mapping[str, str], output: Path) -> TreeRun:
    """Run a command to its end. Raises NotMeasuredError if it fails."""
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, **variables})
        sampler = _Sampler(child.pid)
        sampler.start()
        child.wait()
        seconds = time.perf_counter() - begin
        sampler.stopped.set()
        sampler.join()
    if child.returncode:
        raise NotMeasuredError(f"exit {child.returncode}: {last_line(output)}")
    return TreeRun(seconds, sum(sampler.processor.values()), sampler.peak)


class _Sampler(threading.Thread):
    """Samples the processes below a process, and itself (Linux). What they do after the last sample is not seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.processor: dict[tuple[int, int], float] = {}
        """Process (its id and start) → seconds."""
        self.peak = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(SAMPLE_SECONDS):
            found = list(_tree(self.pid))
            self.processor.update({(process.pid, process.started): process.processor for process in found})
            self.peak = max(self.peak, sum(map(_anonymous, found)))


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    started: int
    processor: float


def _tree(root: int) -> Iterator[_Process]:
    """Yield a process and those that it has started, directly or not."""
    processes = {process.pid: process for process in _processes()}
    below: dict[int, bool] = {root: True}

    def is_below(pid: int) -> bool:
        if pid not in below:
            below[pid] = pid in processes and is_below(processes[pid].parent)
        return below[pid]

    yield from (process for process in processes.values() if is_below(process.pid))


def _processes() -> Iterator[_Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name of a process is in brackets and may contain blanks.
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield _Process(int(folder.name), int(words[1]), int(words[19]), (int(words[11]) + int(words[12])) / TICKS)


def _anonymous(process: _Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) * 1024
