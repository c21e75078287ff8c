"""Remove runs, or only their records, as the rules of retention say. What must stay is kept, each with the reason.

A run is removed by renaming its folder, which is one step, and then deleting it: if that is interrupted, the next prune
completes it. Where only records are removed, the manifest says so first. Each run is removed under the lock of its
destination and its own, so several processes may prune at once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from tranship.connectors import durable, mirrored
from tranship.connectors.errors import ConfigError, LocalFailure, TranshipError
from tranship.pipelines import crosswalks, endpoints, frames, locks
from tranship.pipelines import resume as resuming
from tranship.pipelines.observer import Observer, Quiet
from tranship.pipelines.pages.written import write_pages
from tranship.pipelines.retention import artefacts, needed, removed
from tranship.pipelines.retention.rules import Rules, rules_of
from tranship.pipelines.run_directory import RunDirectory, all_runs, damaged_runs
from tranship.pipelines.settings_model import Settings

_IN_USE: Final = "is in use by another process"


class Removal(Struct, frozen=True):
    """What was removed of a run, or would be: `what` is "run", or "records" for the files with records. `bytes_freed`
    does not count files that another run has, too.
    """

    run_id: str
    what: str
    files: int
    bytes_freed: int
    crosswalk_kept: bool = False


class Pruned(Struct, frozen=True):
    """The result of prune. `kept` is run → why it stays although it is old enough to go; `damaged` is name of a folder
    → what is wrong with it: these are left to the user. `completed` is the number of removals of an earlier,
    interrupted prune.
    """

    removals: tuple[Removal, ...]
    kept: Mapping[str, str]
    damaged: Mapping[str, str]
    completed: int = 0

    @property
    def bytes_freed(self) -> int:
        """The sum over all runs."""
        return sum(removal.bytes_freed for removal in self.removals)


class _Job(NamedTuple):
    run: RunDirectory
    what: str


def prune(
    state_dir: Path,
    rules: Rules,
    *,
    pipelines: Sequence[str] = (),
    dry_run: bool = False,
    now: datetime | None = None,
    observer: Observer | None = None,
) -> Pruned:
    """Remove what the rules no longer keep, of all pipelines or of these; with `dry_run`, only say what that is."""
    now = now or datetime.now(UTC)
    runs, damaged = all_runs(state_dir), damaged_runs(state_dir)
    completed = 0 if dry_run else complete(state_dir)
    must_stay = needed.reasons(state_dir, runs)
    removals: list[Removal] = []
    kept: dict[str, str] = {}
    seen: Counter[tuple[int, int]] = Counter()
    for job in _jobs(runs, rules, pipelines, now):
        run = job.run
        reason = must_stay.get(run.path)
        if reason is None:
            with _owned(run, state_dir, dry_run=dry_run) as problem:
                reason = problem
                if problem is None:
                    removals.append(_removal(job, seen if dry_run else Counter()))
                    if not dry_run:
                        _act(job, state_dir, now, observer or Quiet())
        if reason is not None and run.path.exists():  # otherwise another process has removed it
            kept[run.run_id] = reason
    return Pruned(tuple(removals), kept, damaged, completed)


def after_run(settings: Settings, observer: Observer) -> None:
    """Remove what the retention of a pipeline no longer keeps of its runs. A failure is a warning."""
    try:
        pruned = prune(
            settings.state_dir, rules_of(settings.retention), pipelines=[settings.pipeline_name], observer=observer
        )
    except (TranshipError, OSError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        observer.warn(f"[retention] could not remove earlier runs: {reason}")
        return
    for removal in pruned.removals:
        observer.note(described(removal))


def described(removal: Removal, *, dry_run: bool = False) -> str:
    """Return a removal as a sentence."""
    what = removal.run_id if removal.what == "run" else f"the records of {removal.run_id}"
    kept = "; its crosswalk is kept, since later runs need it" if removal.crosswalk_kept else ""
    files = f"{removal.files:,} {'file' if removal.files == 1 else 'files'}"
    return f"{'would remove' if dry_run else 'removed'} {what}: {files}, {_size(removal.bytes_freed)} freed{kept}"


def _size(count: int) -> str:
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"


def _jobs(runs: Sequence[RunDirectory], rules: Rules, pipelines: Sequence[str], now: datetime) -> list[_Job]:
    """Return what the rules no longer keep, oldest first. Of runs that start at the same time, `runs` has an order."""
    place: Counter[str] = Counter()
    jobs = []
    for run in runs:
        pipeline = needed.pipeline_of(run)
        if pipelines and pipeline not in pipelines:
            continue
        place[pipeline] += 1
        age = now - needed.started_at(run)
        held = rules.keep is not None and age <= rules.keep
        held |= rules.keep_last is not None and place[pipeline] <= rules.keep_last
        held |= rules.keep_failed and not run.has_ended_well
        if rules.remove_runs and not held:
            jobs.append(_Job(run, "run"))
        elif ((rules.values is not None and age > rules.values) or removed.has_lost_values(run)) and _with_records(run):
            jobs.append(_Job(run, "records"))
    return jobs[::-1]


def _with_records(run: RunDirectory) -> list[Path]:
    """Return the files with records. Unknown files are among them."""
    mirrored.bring(run.path)
    kinds = ((file, artefacts.of_run(file.relative_to(run.path).as_posix())) for file in _files(run.path))
    return [file for file, kind in kinds if kind is None or kind.keeps == "records"]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def _removal(job: _Job, seen: Counter[tuple[int, int]]) -> Removal:
    """Return what is to be removed. `seen` are the names of each file that were counted before."""
    files = _files(job.run.path) if job.what == "run" else _with_records(job.run)
    freed = 0
    for file in files:
        with suppress(FileNotFoundError):
            facts = file.lstat()
            seen[facts.st_dev, facts.st_ino] += 1
            if seen[facts.st_dev, facts.st_ino] == facts.st_nlink:
                freed += facts.st_size
    return Removal(job.run.run_id, job.what, len(files), freed, _has_crosswalk(job.run))


def _has_crosswalk(run: RunDirectory) -> bool:
    """Return whether it has an intact crosswalk, by which later runs know the customers of the account."""
    file = run.path / "crosswalk.parquet"
    return file.exists() and durable.is_whole(file, (run.manifest.get("results") or {}).get(file.name))


def _act(job: _Job, state_dir: Path, now: datetime, observer: Observer) -> None:
    """Remove a run that this process owns, or its records."""
    run = job.run
    if _has_crosswalk(run):
        crosswalks.keep(run, state_dir)
    if job.what == "records":
        if not removed.has_lost_values(run):
            removed.mark_values_removed(run, now)
        for file in _with_records(run):
            file.unlink(missing_ok=True)
        _remove_empty_folders(run.path)
        _write_pages_again(run, observer)
        run.keep()
        return
    mirrored.remove(run.path)
    grave = state_dir / needed.REMOVED
    grave.mkdir(mode=0o700, exist_ok=True)
    run.path.rename(grave / run.run_id)
    _delete(grave / run.run_id)
    source = run.manifest["settings"]["source"]
    frames.discard(state_dir, [source] if isinstance(source, str) else source)


def _remove_empty_folders(folder: Path) -> None:
    for path in sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True):
        with suppress(OSError):  # it is not empty
            path.rmdir()


def _write_pages_again(run: RunDirectory, observer: Observer) -> None:
    """Write the pages without values: their samples are read from files that are gone."""
    values = run.report()
    if values is None:
        for page in ("report.html", "plan.html", "migration.html"):
            (run.path / page).unlink(missing_ok=True)
    else:
        write_pages(removed.report_without(values, run), run, observer)
        run.secure()


def complete(state_dir: Path) -> int:
    """Delete the runs whose removal was interrupted, and return their number."""
    left = [path for path in (state_dir / needed.REMOVED).glob("*") if path.is_dir()]
    for path in left:
        _delete(path)
    return len(left)


def _delete(folder: Path) -> None:
    """Delete the folder of a run. Raises LocalFailure if something of it is left: it may have records."""
    shutil.rmtree(folder, ignore_errors=True)  # another process may be deleting it, too
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LocalFailure(
            f"{folder}: cannot be deleted ({(error.strerror or str(error)).lower()}), and may still have records."
        ) from error


@contextmanager
def _owned(run: RunDirectory, state_dir: Path, *, dry_run: bool) -> Iterator[str | None]:
    """Hold the locks of a run's destination and of the run; yield the reason if that is impossible, null if not."""
    if dry_run:
        yield None
        return
    release: list[Callable[[], None]] = []
    try:
        yield _problem(run, state_dir, release)
    finally:
        for each in reversed(release):
            each()


def _problem(run: RunDirectory, state_dir: Path, release: list[Callable[[], None]]) -> str | None:
    try:
        lock = locks.of_destination(state_dir, endpoints.destination_identity(resuming.settings_of(run)))
        if run.has_lock:
            if not lock.take(locks.GLANCE):
                return f"{_IN_USE}, which writes to its destination"
            release.append(lock.release)
        run.own()
        release.append(run.let_go)
    except LocalFailure:  # a full disk, which is no reason to keep the run
        raise
    except ConfigError as error:
        return str(error)
    except TranshipError:
        return _IN_USE
    return None
