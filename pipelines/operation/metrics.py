"""The metrics of a pipeline's last run, as a file for the textfile collector of Prometheus.

Several pipelines may share a file: a run replaces the series of its own pipeline, and keeps the others.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from tranship.connectors import durable
from tranship.pipelines.operation.delivery import UndeliveredError
from tranship.pipelines.operation.run_end import RunEnd, State

_HELP: Final = {
    "tranship_last_run_timestamp_seconds": "End of the last run.",
    "tranship_last_success_timestamp_seconds": "End of the last run with exit code 0 or 4.",
    "tranship_last_run_exit_code": "Exit code of the last run.",
    "tranship_last_run_state": "1 for the state in which the last run left the pipeline, 0 for the others.",
    "tranship_last_run_duration_seconds": "Duration of the last run.",
    "tranship_last_run_step_duration_seconds": "Duration of each step of the last run.",
    "tranship_last_run_read_records": "Records read by the last run.",
    "tranship_last_run_records": "Records of the last run, by what was done with them.",
    "tranship_last_run_rejected_records": "Rejected records of the last run, by the code of a reason.",
    "tranship_last_run_warnings": "Warnings of the last run.",
    "tranship_last_run_source_bytes": "Bytes of the files that the last run read.",
    "tranship_last_run_peak_memory_bytes": "Peak memory of the last run.",
}
"""Metric → its meaning. All are gauges."""
_NO_FATE: Final = ("read", "warnings", "withheld", "deleted")
"""Counts that are not part of the ledger of records, except for `deleted`, which has its own record."""
_LINE: Final = re.compile(r'(?P<metric>tranship_\w+)\{pipeline="(?P<pipeline>(?:[^"\\]|\\.)*)"[^\n]*')
_STATES: Final[tuple[State, ...]] = ("ok", "degraded", "stopped", "failed")
_LOCK_SECONDS: Final = 3.0

Sample = tuple[str, Mapping[str, str], float]
"""Metric, labels besides the pipeline, value."""


def write(file: Path, end: RunEnd, last_success: datetime | None) -> None:
    """Replace the series of this pipeline in the file, atomically; if the last success is unknown, the one in the file
    stays. Raises UndeliveredError.
    """
    kept = "" if last_success else "tranship_last_success_timestamp_seconds"
    try:
        with _locked(file.parent):
            lines = _lines_that_stay(file, end.pipeline, kept)
            for metric, labels, value in samples(end, last_success):
                named = {"pipeline": end.pipeline, **labels}
                text = ",".join(f'{name}="{_escaped(label)}"' for name, label in named.items())
                lines.setdefault(metric, []).append(f"{metric}{{{text}}} {value!r}")
            with durable.replacing(file) as temporary:
                temporary.write_text(_text(lines), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UndeliveredError(f"{file}: cannot be written ({(error.strerror or 'error').lower()})") from None


def samples(end: RunEnd, last_success: datetime | None) -> Iterator[Sample]:
    """Yield the metrics of a run."""
    yield "tranship_last_run_timestamp_seconds", {}, end.ended_at.timestamp()
    if last_success is not None:
        yield "tranship_last_success_timestamp_seconds", {}, last_success.timestamp()
    yield "tranship_last_run_exit_code", {}, end.exit_code
    for state in _STATES:
        yield "tranship_last_run_state", {"state": state}, int(state == end.state)
    yield "tranship_last_run_duration_seconds", {}, round(end.seconds, 3)
    report = end.report
    if report is None:
        return
    for step, seconds in report.seconds.items():
        if step != "total":
            yield "tranship_last_run_step_duration_seconds", {"step": step}, seconds
    counts = dataclasses.asdict(report.counts)
    yield "tranship_last_run_read_records", {}, counts["read"]
    for outcome, count in counts.items():
        if outcome not in _NO_FATE or outcome == "deleted":
            yield "tranship_last_run_records", {"outcome": outcome}, count
    for code, count in report.rejects_by_code.items():
        yield "tranship_last_run_rejected_records", {"code": code}, count
    yield "tranship_last_run_warnings", {}, counts["warnings"]
    if (size := end.source_bytes) is not None:
        yield "tranship_last_run_source_bytes", {}, size
    yield "tranship_last_run_peak_memory_bytes", {}, report.peak_memory_bytes


def _lines_that_stay(file: Path, pipeline: str, kept: str) -> dict[str, list[str]]:
    """Return metric → lines of the other pipelines, and of the metric `kept`. Raises UndeliveredError for a file of
    another program.
    """
    try:
        text = file.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):  # a name may have other characters that end lines
        if not line or line.startswith("# "):
            continue
        parsed = _LINE.fullmatch(line)
        if parsed is None:
            raise UndeliveredError(f"{file}: has metrics of another program, and was not changed. Name another file")
        stays = parsed["pipeline"] != _escaped(pipeline) or parsed["metric"] == kept
        if stays and parsed["metric"] in _HELP:
            found.setdefault(parsed["metric"], []).append(line)
    return found


def _text(lines: Mapping[str, Sequence[str]]) -> str:
    return "".join(
        f"# HELP {metric} {described}\n# TYPE {metric} gauge\n" + "".join(f"{line}\n" for line in sorted(lines[metric]))
        for metric, described in _HELP.items()
        if metric in lines
    )


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other runs that write to the same file; no file of a lock is left in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise UndeliveredError(f"{folder}: is locked by another process") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
