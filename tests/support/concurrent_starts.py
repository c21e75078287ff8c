"""Start commands at about the same time, each in a separate process.

`concurrent_starts.py` reads one JSON object a line: `{"folder", "starts": [{"words", "delay", "die"}]}`. All processes import
their modules, then all are released, and each waits for its `delay` in seconds and runs its command. The answer is one
line: for each the exit code (null if it was killed) and its output. `die` kills it: a number is the moment of a run
into a provider (see `killable_run.Clock`), a name is the step after which it dies.

Libraries that take long to import are imported once, and each process is a fork; see `killed_runs.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401
import duckdb  # noqa: F401
import pandera.polars  # noqa: F401
import polars as pl  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401
import sqlalchemy  # noqa: F401


def _child(start: dict[str, Any], file: Path, ready: int, go: int) -> int:
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from support import killable_run, moving
    from tranship.pipelines import run, run_directory  # noqa: F401  (what commands import when they run)
    from tranship.pipelines.cli import main as cli

    moving.hurry()
    if isinstance(start.get("die"), int):
        killable_run._mortal(killable_run.Clock(start["die"]), Path(os.devnull), killable_run.Journal)
    elif start.get("die"):
        finish = run_directory.RunDirectory.finish

        def last(self: run_directory.RunDirectory, step: str, facts: Any, *files: Any) -> None:
            finish(self, step, facts, *files)
            if step == start["die"]:
                os.kill(os.getpid(), signal.SIGKILL)

        run_directory.RunDirectory.finish = last  # type: ignore[method-assign]
    os.write(ready, b".")
    os.read(go, 1)
    time.sleep(start["delay"])
    return cli.main(start["words"])


def _started(start: dict[str, Any], file: Path, ready: int, go: int) -> int:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _child(start, file, ready, go)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return child


def _round(folder: Path, starts: list[dict[str, Any]]) -> list[tuple[int | None, str]]:
    ready, go = os.pipe(), os.pipe()
    files = [folder / f"said-{number}.txt" for number in range(len(starts))]
    children = [_started(start, file, ready[1], go[0]) for start, file in zip(starts, files, strict=True)]
    os.close(ready[1])
    for _ in children:
        os.read(ready[0], 1)
    os.write(go[1], b"." * len(children))
    ended: list[tuple[int | None, str]] = []
    for child, file in zip(children, files, strict=True):
        _, status = os.waitpid(child, 0)
        code = None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        ended.append((code, file.read_text()))
    for end in (ready[0], *go):
        os.close(end)
    return ended


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_round(Path(asked["folder"]), asked["starts"])), flush=True)
