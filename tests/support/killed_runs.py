"""Carry out a run into a provider's account in a process that is killed and restarted at random moments.

`killed_runs.py SAID KILLS SEED LOG [no-journal]`: SAID is a JSON file with the settings of the run and the maximum number of
moments before a process is killed. Libraries that take long to import are imported once, and each process is a fork. A
fork does not copy the threads of polars, which start on its first use, so each process imports the project itself.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import aiohttp  # noqa: F401
import duckdb  # noqa: F401
import pandera.polars  # noqa: F401
import polars as pl  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401


def main(file: str, kills: str, seed: str, log: str, *off: str) -> int:
    """Start processes until one is not killed; print the number of those killed on standard output."""
    plan = json.loads(Path(file).read_text())
    given, moments = plan["settings"], plan["moments"]
    chance = random.Random(seed)
    for life in range(int(kills) + 1):
        last = chance.randint(1, moments) if life < int(kills) else 0
        child = os.fork()
        if child == 0:
            from support import killable_run

            killable_run.live(given, last, Path(log), no_journal=bool(off))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(life)
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
