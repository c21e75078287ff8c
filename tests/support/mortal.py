"""Carries out a run into a provider's account in a process that is killed and begun again, at moments left to chance.

`mortal.py SAID KILLS SEED LOG [no-journal]`: SAID is a JSON file of the run's settings and of the most moments that a
life has. What takes long to import is imported once, and each life is a fork; a fork cannot take along the threads of
polars, which start as soon as anything of it is used, so that the project itself is imported by each life.
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
    """Lives until one is not killed; the number of deaths is told on standard output."""
    plan = json.loads(Path(file).read_text())
    given, moments = plan["settings"], plan["moments"]
    chance = random.Random(seed)
    for life in range(int(kills) + 1):
        last = chance.randint(1, moments) if life < int(kills) else 0
        child = os.fork()
        if child == 0:
            from support import living

            living.live(given, last, Path(log), forgetful=bool(off))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(life)
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
