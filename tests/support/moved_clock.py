"""A clock that is set forward and back while commands run: `moved_clock.c` between them and the operating system."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MovedClock:
    """The clock of processes with this environment."""

    file: Path
    environment: dict[str, str]

    def set(self, seconds: int) -> None:
        """Set it this far ahead of the machine's clock, also for running processes; if negative, behind it."""
        self.file.write_text(str(seconds))


def moved_clock(folder: Path) -> MovedClock:
    """Compile the library, and return a clock that is correct at first."""
    library, file = folder / "moved_clock.so", folder / "moved_clock"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    clock = MovedClock(file, {"LD_PRELOAD": str(library), "CLOCK_FILE": str(file)})
    clock.set(0)
    return clock
