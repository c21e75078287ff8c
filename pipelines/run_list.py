"""The runs of a state directory, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import overload

from tranship.connectors.errors import ConfigError
from tranship.pipelines import notebook
from tranship.pipelines.encryption import session
from tranship.pipelines.encryption.marks import encrypted_name
from tranship.pipelines.report import Counts, Fixes, Report
from tranship.pipelines.retention import prune
from tranship.pipelines.retention.needed import pipeline_of, started_at
from tranship.pipelines.retention.removed import report_without
from tranship.pipelines.retention.rules import Rules
from tranship.pipelines.run_directory import RunDirectory, all_runs, damaged_runs
from tranship.pipelines.settings_model import named


@dataclass(frozen=True)
class RunSummary:
    """One run. `status` is that of its report, `running`, or `died`; `counts` are null until it has a report.

    `pipeline` is the name it was given, or its destination. `problem` is the reason why the report of a run cannot be
    read, if any. `fixes` is what became of its rejects, null before `tranship fix`; `corrects` is the run whose rejects
    it has loaded, if any.
    """

    run_id: str
    started_at: datetime
    status: str
    source: str
    destination: str
    counts: Counts | None
    run_dir: Path
    problem: str | None = None
    pipeline: str = ""
    fixes: Fixes | None = None
    corrects: str | None = None


@dataclass(frozen=True, repr=False)
class RunList(Sequence[RunSummary]):
    """The runs of a state directory, newest first. `damaged` is name of a folder → what is wrong with it; `removed`
    are the ids of runs that were removed, `readable` of those that were stopped before their files were encrypted.
    """

    runs: tuple[RunSummary, ...]
    damaged: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> RunSummary: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RunSummary, ...]: ...
    def __getitem__(self, index: int | slice) -> RunSummary | tuple[RunSummary, ...]:
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(self.runs)

    def __repr__(self) -> str:
        newest = f", newest: {self.runs[0].run_id} ({self.runs[0].status})" if self.runs else ""
        damaged = f", {len(self.damaged)} damaged" if self.damaged else ""
        return f"<RunList: {len(self.runs)} {'run' if len(self.runs) == 1 else 'runs'}{newest}{damaged}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                *(run.run_id, f"{run.started_at:%Y-%m-%d %H:%M:%S}", run.status, run.source, run.destination),
                *((run.counts.read, run.counts.created, run.counts.updated) if run.counts else ("", "", "")),
            )
            for run in self.runs
        ]
        head = ("run", "started (UTC)", "status", "source", "destination", "read", "created", "updated")
        problems = [*self.damaged.values(), *(run.problem for run in self.runs if run.problem)]
        return notebook.table("Runs", head, rows, problems)


def list_runs(state_dir: Path, remove_older_than: timedelta | None = None, now: datetime | None = None) -> RunList:
    """Return the runs in this directory; those that began longer ago than given are removed, unless they must stay
    (`retention.prune`).
    """
    removed: tuple[str, ...] = ()
    if remove_older_than is not None:
        pruned = prune.prune(state_dir, Rules(keep=remove_older_than), now=now)
        removed = tuple(removal.run_id for removal in pruned.removals)
    found = all_runs(state_dir)
    readable = tuple(run.run_id for run in found if session.is_left_readable(run))
    return RunList(tuple(map(_summary, found)), damaged_runs(state_dir), removed, readable)


def _summary(run: RunDirectory) -> RunSummary:
    report, problem = None, None
    try:
        report = report_of(run)
    except ConfigError as error:
        problem = str(error)
    return RunSummary(
        run_id=run.run_id,
        started_at=started_at(run),
        status="died" if run.is_abandoned() else run.manifest["status"],
        source=named(run.manifest["settings"]["source"]),
        destination=run.manifest["settings"]["destination"],
        counts=report.counts if report else None,
        run_dir=run.path,
        problem=problem,
        pipeline=pipeline_of(run),
        fixes=report.fixes if report else None,
        corrects=run.manifest["fixes"]["run_id"] if "fixes" in run.manifest else None,
    )


def report_of(run: RunDirectory) -> Report | None:
    """Return the report of a run, null if it has none. Raises ConfigError if the report is damaged."""
    values = run.report()
    try:
        return _placed(report_without(values, run), run.path) if values is not None else None
    except ValueError as error:
        raise ConfigError(f"{run.path / 'report.json'}: was changed or damaged since Tranship wrote it.") from error


def _placed(report: Report, folder: Path) -> Report:
    """Return the report with the files where they are now: the state directory may have been moved since, and a
    relative path was relative to the working directory of the run.
    """
    files = {
        name: str(encrypted_name(folder / Path(file).relative_to(report.run_dir)))
        if Path(file).is_relative_to(report.run_dir)
        else file
        for name, file in report.files.items()
    }
    return replace(report, run_dir=str(folder), files=files)
