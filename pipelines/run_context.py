"""A run and its surroundings, as every step needs them: settings, directory, observer, clock."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from tranship.pipelines.findings import Findings
from tranship.pipelines.observer import Observer
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.stage import Stage

log = logging.getLogger("tranship")


@dataclass(frozen=True)
class RunContext:
    """One run. For the report, `seconds` is step → its duration, `memory` is step → the most bytes of memory that the
    process had used by its end.
    """

    settings: Settings
    directory: RunDirectory
    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    @cached_property
    def stage(self) -> Stage:
        """The staged records of this run."""
        return Stage(self.directory.path, keeps_sample=self.settings.report_samples == "on")

    @cached_property
    def findings(self) -> Findings:
        """The rejects, warnings and results of this run."""
        return Findings(self.directory.path)

    @contextmanager
    def timed(self, name: str, total: int | None) -> Iterator[None]:
        """Announce a step to the observer and the log, and measure it."""
        self.observer.step(name, total)
        started = time.perf_counter()
        log.info("step begins", extra={"run_id": self.directory.run_id, "step": name})
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.memory[name] = peak_memory()
        log.info("step ends", extra={"run_id": self.directory.run_id, "step": name, "seconds": self.seconds[name]})


def peak_memory() -> int:
    """Return the most bytes of memory that this process has used."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
