"""Commands with encrypted runs: their files are decrypted for a command, and encrypted again at its end.

A process that has the files of a run decrypted holds a lock of its own in the folder of the run, since not every
command that reads the files owns the run.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from tranship.connectors.errors import Busy, ConfigError, LocalFailure, TranshipError
from tranship.pipelines import local_state
from tranship.pipelines.encryption import keys, run_files
from tranship.pipelines.encryption.marks import LOCK, State, encrypted_name, is_encrypted, recipients_of, state_of
from tranship.pipelines.locks import GLANCE, lock_at
from tranship.pipelines.report import Report
from tranship.pipelines.retention import needed, removed
from tranship.pipelines.run_directory import RunDirectory, all_runs
from tranship.pipelines.settings_model import Settings

log = logging.getLogger("tranship")

T = TypeVar("T")


def check(settings: Settings) -> None:
    """Raise ConfigError if the files of a run cannot be encrypted as its settings say."""
    if not settings.encrypt_to:
        return
    keys.recipients(settings.encrypt_to)
    local_state.must_be_here(settings.state_dir, "the encryption of runs")
    if settings.engine is not None:
        raise ConfigError(
            f"--encrypt-to: cannot be combined with --engine {settings.engine}, whose tables lie where other machines "
            "read them. Leave one of the two out."
        )


def encrypted_after(work: Callable[[], T], settings: Settings, folder: Path | None = None) -> T:
    """Do the work of a command that makes a run, in the folder or the state directory. Then encrypt its files with
    records, if the settings say so, and those of other runs that were left to be encrypted."""
    if not settings.encrypt_to:
        return work()
    return _then_closed(work, settings.state_dir, [folder] if folder else [])


def with_records(
    work: Callable[[], T],
    state_dir: Path,
    run_ids: Sequence[str] | None,
    identity: Path | None,
    folders: Sequence[Path] = (),
) -> T:
    """Do the work of a command that reads the files of these runs, of all with null. If they are encrypted, they are
    decrypted for it with the identity; without one, the command says what it cannot do.

    Raises ConfigError for an identity that cannot be used, Damaged, and Busy if another command has them decrypted.
    """
    if run_ids is None:
        runs = list(_all(state_dir, folders).values())
    else:
        runs = _related([_find(state_dir, run_id) for run_id in run_ids], state_dir)
    if not any(map(recipients_of, runs)):
        return work()
    for run in runs:
        if is_encrypted(run):
            local_state.must_be_here(state_dir, "the encryption of runs")
    with ExitStack() as stack:
        known = keys.identities(identity) if identity is not None and any(map(is_encrypted, runs)) else []

        def opened() -> T:
            if identity is not None:
                for run in filter(is_encrypted, runs):
                    _open(run, known, identity, stack)
            return work()

        places = [*folders, *(run.path for run in runs if run.stands_alone)]
        return _then_closed(opened, state_dir, places, stack.close)


def is_left_readable(run: RunDirectory) -> bool:
    """Whether files with records are to be encrypted and are not, although no process works with them."""
    if not recipients_of(run) or state_of(run) is State.CLOSED or removed.has_lost_values(run):
        return False
    try:
        run.must_be_free()
        return lock_at(run.path / LOCK).holder() is None
    except (Busy, ConfigError, OSError):
        return False


def complete(run: RunDirectory, state_dir: Path) -> str:
    """Encrypt the files of a run, and of those that belong to it, where that was stopped; return a sentence if it fails
    again.
    """
    return _close_those(filter(is_left_readable, _related([run], state_dir)))


def _open(run: RunDirectory, identities: Sequence[Any], identity: Path, stack: ExitStack) -> None:
    lock = lock_at(run.path / LOCK)
    if not lock.take(GLANCE):
        raise Busy(f"{run.run_id}: another command reads its encrypted files. Wait for it to end. Nothing was done.")
    stack.callback(lock.release)
    run.own()
    try:
        if is_encrypted(run) and not removed.has_lost_values(run):
            run_files.open_again(run, identities, identity)
    finally:
        run.let_go()


def _then_closed(
    work: Callable[[], T], state_dir: Path, folders: Sequence[Path], let_go: Callable[[], None] = lambda: None
) -> T:
    try:
        result = work()
    except BaseException as error:
        let_go()
        left = _close_all(state_dir, folders)
        if isinstance(error, TranshipError):
            if left:
                error.args = (f"{error} {left}",)
            error.report = error.report and _as_encrypted(error.report)
        elif left:
            log.warning(left)
        raise
    let_go()
    if left := _close_all(state_dir, folders):
        failure = LocalFailure(f"The command has done its work. {left}")
        failure.report = result if isinstance(result, Report) else None
        raise failure
    return _as_encrypted(result)


def _close_all(state_dir: Path, folders: Iterable[Path]) -> str:
    """Encrypt the files of all runs that have ended; return a sentence about those where that failed."""
    return _close_those(_all(state_dir, folders).values())


def _close_those(runs: Iterable[RunDirectory]) -> str:
    succeeded: set[str] = set()
    failed = []
    for run in runs:
        # One that was killed is continued by the same command, which has no identity, unless a later run has succeeded.
        is_left = run.manifest["status"] == "running" and needed.pipeline_of(run) not in succeeded
        if (
            recipients_of(run)
            and state_of(run) is not State.CLOSED
            and not removed.has_lost_values(run)
            and not is_left
        ):
            try:
                _close(run)
            except (TranshipError, OSError) as error:
                reason = error.strerror or str(error) if isinstance(error, OSError) else str(error).rstrip(".")
                failed.append(f"{run.path} ({reason})")
        if run.has_ended_well and not run.manifest["settings"].get("dry_run"):
            succeeded.add(needed.pipeline_of(run))
    if not failed:
        return ""
    return (
        f"Files with records could not be encrypted, and are readable: {', '.join(failed)}. The next run completes it, "
        "and so does tranship report with one of these."
    )


def _close(run: RunDirectory) -> None:
    """Encrypt the files of a run, unless another process works with them: it does so itself."""
    lock = lock_at(run.path / LOCK)
    if not lock.take(GLANCE):
        return
    try:
        try:
            run.own()
        except Busy:
            return
        try:
            # Without locks, it may be at work.
            if run.manifest["status"] != "running" or run.has_lock:
                run_files.close(run)
                run.secure()
        finally:
            run.let_go()
    finally:
        lock.release()


def _all(state_dir: Path, folders: Iterable[Path] = ()) -> dict[Path, RunDirectory]:
    """Return the intact runs and plans of a state directory, and those in these folders, by place, newest first."""
    found = {run.path.resolve(): run for run in (*all_runs(state_dir), *needed.plans(state_dir))}
    for folder in folders:
        with suppress(ConfigError):
            found.setdefault(folder.resolve(), RunDirectory.at(folder))
    return found


def _find(state_dir: Path, run_id: str) -> RunDirectory:
    folder = Path(run_id)
    return RunDirectory.at(folder) if (folder / "manifest.json").exists() else RunDirectory.open(state_dir, run_id)


def _related(runs: Sequence[RunDirectory], state_dir: Path) -> list[RunDirectory]:
    """Return the runs with all that read their files, or whose files they read: what loads their rejects, takes them
    back, or retries them.
    """
    found = {run.path.resolve(): run for run in runs}
    if not any(map(recipients_of, runs)):
        return list(runs)
    others = _all(state_dir)
    grown = True
    while grown:
        grown = False
        for path, run in others.items():
            reads = set(needed.read_by(run))
            if path not in found and (
                reads & found.keys() or any(path in needed.read_by(one) for one in found.values())
            ):
                found[path] = run
                grown = True
    return list(found.values())


def _as_encrypted(result: T) -> T:
    """Return a report with the names that its files have now; anything else as it is."""
    report: Any = result if isinstance(result, Report) else getattr(result, "report", None)
    if not isinstance(report, Report):
        return result
    files = {name: str(encrypted_name(Path(file))) for name, file in report.files.items()}
    changed: Any = dataclasses.replace(report, files=files)
    return changed if report is result else dataclasses.replace(result, report=changed)  # type: ignore[type-var]
