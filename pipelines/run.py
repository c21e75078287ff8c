"""The functions that carry out a run, or a part of it; commands and the Python API call these.

Each checks the settings and takes the locks; `pipelines/job.py` opens the two ends, finds or creates the run directory,
and hands them to `pipelines/flow.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tranship.connectors import key_shapes
from tranship.connectors.errors import ConfigError, Damaged, Interrupted, TranshipError
from tranship.connectors.local_failures import local_failures
from tranship.pipelines import frames, increment, plan_digest, profiles, report_step
from tranship.pipelines import resume as resuming
from tranship.pipelines.command_lines import about_runs
from tranship.pipelines.encryption import session
from tranship.pipelines.endpoints import check_options, open_compared, open_source
from tranship.pipelines.ends import check_ends, open_ends
from tranship.pipelines.job import Job, carry_out, continue_run, continue_staged
from tranship.pipelines.observer import Observer, Quiet
from tranship.pipelines.one_machine import OneMachine
from tranship.pipelines.ownership import owned
from tranship.pipelines.reading import check_values
from tranship.pipelines.report import Report
from tranship.pipelines.retention import removed
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import IDENTIFY_STEP, RunDirectory
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Reading, Settings
from tranship.pipelines.undo_steps import is_undo
from tranship.pipelines.verify import Verification

if TYPE_CHECKING:
    from tranship.pipelines.inspection import Inspection

_COMPARISON = {"dry_run": True, "mode": "upsert", "older": "write", **increment.NONE}
"""Settings of a comparison: records older than those of the destination count as different, and all are read."""


def run(
    settings: Settings, observer: Observer | None = None, *, now: datetime | None = None, out: Path | None = None
) -> Report:
    """Move records according to the settings, continuing an earlier run of the same work that died. With `out` the run
    has that folder, and none is continued.

    Raises the errors of `connectors.errors`, with the report if the run directory exists.
    """

    def work(observer: Observer) -> Report:
        session.check(settings)
        check_values(settings)
        check_options(settings)
        check_ends(settings, out)
        increment.check(settings)
        with owned(settings, observer):
            return carry_out(Job(settings, observer, now, out))

    return session.encrypted_after(lambda: _watched(settings, observer or Quiet(), work, now), settings, out)


def _watched(
    settings: Settings, observer: Observer, work: Callable[[Observer], Report], now: datetime | None = None
) -> Report:
    """Do the work of a run, notify of its end as the settings say, and remove earlier runs: the only entrance to
    `pipelines.operation` and to the retention of a pipeline. Dry runs and plans do neither.
    """
    if settings.dry_run:
        return work(observer)
    try:
        report = _notified(settings, observer, work, now)
    except TranshipError as error:
        if settings.retention and not isinstance(error, Interrupted):
            _prune(settings, observer)
        raise
    if settings.retention:
        _prune(settings, observer)
    return report


def _notified(
    settings: Settings, observer: Observer, work: Callable[[Observer], Report], now: datetime | None
) -> Report:
    if not settings.is_watched:
        return work(observer)
    from tranship.pipelines.operation import watch

    return watch.watched(settings, observer, work, now)


def _prune(settings: Settings, observer: Observer) -> None:
    from tranship.pipelines.retention import prune

    prune.after_run(settings, observer)


def plan(settings: Settings, out: Path, observer: Observer | None = None) -> Report:
    """Do all steps up to the plan, in a folder for `apply`. Nothing is written to the destination.

    Raises what `run` raises, and ConfigError if the folder exists already.
    """
    key_shapes.refuse(str(out), "folder")
    return run(settings.model_copy(update={"dry_run": True}), observer, out=out)


def apply(
    folder: Path,
    observer: Observer | None = None,
    *,
    limit: int | None = None,
    expect: str | None = None,
    identity: Path | None = None,
    **options: Any,
) -> Report:
    """Apply the plan in this folder, or continue it; with `limit`, only that many records, if it is for a provider.
    With `expect`, only if that is its digest, or at least 16 characters of it. If its files are encrypted, `identity`
    has the key. `options` override the settings `overlap`, `lock_timeout`, `locks` and `memory` of the plan.

    Raises ConfigError if there is no plan or it has another digest, GateClosed if a table has changed since it was
    made, and what `run` raises.
    """
    RunDirectory.at(folder)

    def work() -> Report:
        return _apply(folder, observer or Quiet(), expect, {"dry_run": False, "limit": limit, **options})

    return session.with_records(work, _state_dir(folder), [str(folder)], identity)


def _state_dir(folder: Path) -> Path:
    return Path(RunDirectory.at(folder).manifest["settings"].get("state_dir", ".tranship"))


def _apply(folder: Path, observer: Observer, expect: str | None, options: Mapping[str, Any]) -> Report:
    directory = RunDirectory.at(folder)
    settings = resuming.settings_of(directory, **options)
    removed.must_be_complete(directory, "be applied", " Make a new plan: tranship plan")
    resuming.check_left_to_apply(directory)
    with owned(settings, observer, directory, resuming.check_left_to_apply), directory.interruptible():
        try:
            columns = resuming.columns_of(directory)
            assert columns is not None  # noqa: S101  (the plan is complete)
            if expect is not None:
                plan_digest.check_expected(directory, expect)
            directory.check()
            with closing(open_ends(settings, observer, reads=False)) as ends:
                directory.take_over()
                return continue_staged(settings, directory, observer, columns, ends)
        except Damaged as error:
            unusable = Damaged(
                f"{error} The plan in {folder} cannot be applied. Make a new one: tranship plan. It reads the "
                "destination again, including the records already written."
            )
            unusable.report = error.report
            raise unusable from error


def verify(settings: Settings, observer: Observer | None = None) -> Verification:
    """Read source and destination and compare them, customer by customer and field by field. Writes to neither.

    Raises what `run` raises.
    """
    _must_be_on_one_machine(settings)
    compared = settings.model_copy(update={**_COMPARISON, "allow_empty": True, "max_conflicts": "100%"})
    observer = observer or Quiet()
    session.check(settings)
    check_values(compared)
    check_options(compared)

    def work() -> Verification:
        with owned(compared, observer):
            report = carry_out(Job(compared, observer, open_destination=open_compared))
        return _verify_run(settings.state_dir, report.run_id, observer)

    return session.encrypted_after(work, settings)


def verify_run(
    state_dir: Path, run_id: str, observer: Observer | None = None, *, identity: Path | None = None
) -> Verification:
    """Compare what an earlier run has read with its destination, read again. `run_id` may be a plan's folder."""
    observer = observer or Quiet()
    return session.with_records(lambda: _verify_run(state_dir, run_id, observer), state_dir, [run_id], identity)


def _verify_run(state_dir: Path, run_id: str, observer: Observer) -> Verification:
    directory = resuming.find_run(state_dir, run_id)
    if is_undo(directory):
        raise ConfigError(
            f"{directory.run_id}: takes back a run. To see what is left of that: "
            + about_runs(state_dir, "undo", directory.manifest["undoes"]["run_id"], "--dry-run")
        )
    columns = resuming.columns_of(directory)
    if columns is None or directory.done(IDENTIFY_STEP) is None:
        raise ConfigError(f"{directory.run_id}: its source was not read to the end. There is nothing to compare with.")
    removed.must_be_complete(directory, "be compared with its destination", " Give the source and the destination.")
    settings = resuming.settings_of(directory).model_copy(update=_COMPARISON)
    _must_be_on_one_machine(settings)
    with owned(settings, observer, directory):
        directory.check()
        with closing(open_compared(settings, observer)) as destination:
            run = RunContext(settings, directory, observer)
            found = OneMachine(run, destination, columns, resuming.raw_columns_of(directory)).compare_again()
        report_step.write_verified(directory, observer)
        return found


def _must_be_on_one_machine(settings: Settings) -> None:
    if settings.engine is not None:
        raise ConfigError(
            f"--engine {settings.engine}: verify compares on one machine. Leave --engine out, or compare with "
            "tranship run and --dry-run."
        )


def retry(
    state_dir: Path, run_id: str, observer: Observer | None = None, *, identity: Path | None = None, **options: Any
) -> Report:
    """Retry the records that failed at a provider or were not begun, as a new run. Raises ConfigError if there are
    none, and what `run` raises. `run_id` may be a plan's folder; `identity` and `options` are as for `apply`.
    """
    observer = observer or Quiet()
    return session.with_records(lambda: _retry(state_dir, run_id, observer, options), state_dir, [run_id], identity)


def _retry(state_dir: Path, run_id: str, observer: Observer, options: Mapping[str, Any]) -> Report:
    directory = resuming.find_run(state_dir, run_id)
    removed.must_have_records(directory, "be retried")
    directory.check_results()
    again = directory.path / "again"
    given = (
        directory.manifest["settings"] | {"source": str(again), "state_dir": state_dir, "limit": None} | dict(options)
    )
    if given["mode"] == "mirror":
        # Customers that are not among the records that failed are not gone.
        given["mode"] = "upsert"
    for name in (
        *("columns", "fields", "values", "defaults", "set", "where", "corrections", "allow_missing"),
        *("encoding", "delimiter", "quote", "header", "skip_lines", "header_line", "sheet", "include_archived"),
    ):
        given.pop(name, None)
    given |= increment.NONE
    # These columns of the results are for people and no data of the customer.
    given["ignore"] = ("_outcome", "_reason")
    given["profile"] = profiles.NONE
    settings = load(given, {})
    resuming.check_left_to_retry(directory)
    with owned(settings, observer, directory, resuming.check_left_to_retry):
        return carry_out(Job(settings, observer))


def resume(
    state_dir: Path, run_id: str, observer: Observer | None = None, *, identity: Path | None = None, **options: Any
) -> Report:
    """Continue a run that died or was interrupted, from its last finished step. Raises ConfigError if there is none.
    `identity` and `options` are as for `apply`.
    """
    observer = observer or Quiet()
    return session.with_records(lambda: _resume(state_dir, run_id, observer, options), state_dir, [run_id], identity)


def _resume(state_dir: Path, run_id: str, observer: Observer, options: Mapping[str, Any]) -> Report:
    directory = RunDirectory.open(state_dir, run_id)
    # A command from the files of a run is not executed.
    changes = {"state_dir": state_dir, "limit": None, "on_failure": None, **options}
    settings = resuming.settings_of(directory, **changes)
    resuming.check_left_to_resume(directory)
    removed.must_be_complete(directory, "be continued", " Run its command again.")
    if settings.lineage != directory.manifest["settings"].get("lineage"):
        observer.note(
            "--lineage: no events are sent. The path of its URL may be a token and is not kept with a run; for that, "
            "put the URL in an environment variable and give the name of that: --lineage env:NAME"
        )
    try:
        return _watched(settings, observer, lambda observer: continue_run(Job(settings, observer), directory))
    finally:
        frames.discard(state_dir, settings.sources)


def inspect(reading: Reading, rows: int) -> Inspection:
    """Inspect the first rows of a source without running anything. Raises ConfigError or ConnectorError."""
    from tranship.pipelines import inspection

    check_values(reading)
    check_options(reading)
    with (
        local_failures(tempfile.gettempdir()),
        closing(open_source(reading)) as source,
        tempfile.TemporaryDirectory(prefix="tranship-") as keep,
    ):
        return inspection.inspect(source.layouts(), source.parts(Path(keep)), reading, rows)
