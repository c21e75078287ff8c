"""Carry out, or continue, a run on an embedded engine in a process that is killed at a moment: before or after a table
is kept, the manifest is written or the pointer is set.

`killable_engine_run.py PACKAGES MOMENT SETTINGS`: PACKAGES is the folder of the engine, SETTINGS are JSON. With moment 0
the run ends; with moment `written` it is killed when a table of Delta or Iceberg is written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any


class Clock:
    """Counts the moments of this process."""

    def __init__(self, last: int) -> None:
        self._left = last

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a moment before and one after it."""

        def mortal(*given: Any, **named: Any) -> Any:
            self._tick()
            result = function(*given, **named)
            self._tick()
            return result

        return mortal

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(packages: str, moment: str, given: str) -> None:
    sys.path.append(packages)
    warnings.simplefilter("ignore")
    import tranship
    from tranship.connectors.files import data_folder
    from tranship.pipelines.distributed.destinations.lake_table import LakeTable
    from tranship.pipelines.distributed.work_tables import WorkTables
    from tranship.pipelines.run_directory import RunDirectory

    moments: list[tuple[Any, str]] = [(WorkTables, "keep"), (RunDirectory, "save"), (data_folder._Local, "write")]
    clock = Clock(2 if moment == "written" else int(moment))
    for owner, name in [(LakeTable, "apply")] if moment == "written" else moments:
        setattr(owner, name, clock.around(getattr(owner, name)))
    tranship.run(**json.loads(given))


if __name__ == "__main__":
    main(*sys.argv[1:])
