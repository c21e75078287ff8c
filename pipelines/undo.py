"""Take back what a run did: an ordinary plan from what the run has kept, which is gated, written and reported like any
other, and can itself be taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors import key_shapes, mirrored
from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints
from tranship.pipelines import resume as resuming
from tranship.pipelines.encryption import session
from tranship.pipelines.endpoints import open_destination
from tranship.pipelines.flow import Flow, Input
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.observer import Observer, Quiet
from tranship.pipelines.ownership import owned
from tranship.pipelines.report import Report
from tranship.pipelines.retention import needed, removed
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP, RunDirectory, all_runs, start_after
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.undo_steps import ACTION_OF, KEYS, UndoSteps

_KEPT: Final = (
    *("destination", "columns", "options", "changes", "undo", "history", "memory", "overlap", "lock_timeout", "locks"),
    *("statement_timeout", "pace", "report_samples", "mask", "encrypt_to"),
)
"""Settings of the run that its undo has as well: those of the destination, and whether pages show values."""


def undo(
    state_dir: Path,
    run_id: str,
    observer: Observer | None = None,
    *,
    only: Sequence[str] = (),
    keys: Path | None = None,
    out: Path | None = None,
    identity: Path | None = None,
    **options: Any,
) -> Report:
    """Take back what a run did, or only what it has created, updated or deleted (`only`), or only the customers in the
    file `keys`, one on each line. With `out`, the plan is saved in that folder for `run.apply`. If the files of the run
    are encrypted, `identity` has the key. `options` are settings: dry_run, max_deletes, max_changes, remove_for_good,
    and those of `run.apply`.

    Raises ConfigError if the run cannot be taken back, Damaged if what it has kept is missing or was changed, and what
    `run.run` raises.
    """
    run_id = str(_last_written(state_dir).path) if run_id == "last" else run_id

    def work() -> Report:
        return _undo(state_dir, run_id, observer or Quiet(), only, keys, out, options)

    return session.with_records(work, state_dir, [run_id], identity, [out] if out else [])


def _undo(
    state_dir: Path,
    run_id: str,
    observer: Observer,
    only: Sequence[str],
    keys: Path | None,
    out: Path | None,
    options: dict[str, Any],
) -> Report:
    run = resuming.find_run(state_dir, run_id)
    if out is not None:
        key_shapes.refuse(str(out), "folder")
        options["dry_run"] = True
    settings = _settings(run, state_dir, options)
    _check_can_be_undone(run, settings)
    actions = [ACTION_OF[word] for word in only] or list(ACTION_OF.values())
    chosen = None if keys is None else _read_keys(keys)
    # A column that the run was told to use may be gone; the plan lists what it cannot restore.
    as_it_is = settings.model_copy(update={"columns": {}})
    with owned(settings, observer), closing(open_destination(as_it_is, observer)) as destination:
        undoes: dict[str, Any] = {"run_id": run.run_id, "folder": str(run.path), "actions": actions}
        if keys is not None:
            undoes["keys"] = str(keys)
        facts = {"settings": resuming.public_settings(settings), "work": "", "undoes": undoes}
        directory = RunDirectory.new(state_dir, facts, start_after(state_dir, datetime.now(UTC)), out)
        with directory.interruptible():
            directory.create()
            if out is not None:
                needed.note_plan(state_dir, directory)
            if chosen is not None:
                pl.DataFrame({"key": chosen}).write_parquet(directory.path / KEYS)
            context = RunContext(settings, directory, observer)
            return Flow(context, Input(ColumnMap({}, (), {}), []), UndoSteps(context, destination)).execute()


def _last_written(state_dir: Path) -> RunDirectory:
    """Return the last run that has written, even if nothing had changed: dry runs, such as that of an undo, are left
    out.
    """
    run = RunDirectory.open(state_dir, "last")
    found = next((run for run in all_runs(state_dir) if run.has_begun_to_write), run)
    mirrored.bring(found.path)
    return found


def _settings(run: RunDirectory, state_dir: Path, options: dict[str, Any]) -> Settings:
    given = resuming.settings_of(run).model_dump(include=set(_KEPT))
    changed = {"source": f"undo of {run.run_id}", "state_dir": state_dir, "allow_empty": True, "nulls": "overwrite"}
    return load(given | changed | options, {})


def _check_can_be_undone(run: RunDirectory, settings: Settings) -> None:
    """Raise ConfigError for a run that has done nothing, is not finished, or has kept nothing."""
    given = run.manifest["settings"]
    if given.get("engine"):
        raise ConfigError(f"{run.run_id}: ran on the engine {given['engine']}, whose runs cannot be undone.")
    if not endpoints.undoes(settings):
        raise ConfigError(
            f"{run.run_id}: has written the file {redacted(settings.destination)} as a whole, which cannot be undone. "
            "To get the earlier contents, run the earlier input into it again, with tranship run."
        )
    if not run.has_begun_to_write:
        raise ConfigError(f"{run.run_id}: has written nothing. There is nothing to undo.")
    removed.must_be_complete(run, "be undone")
    run.must_be_free()
    if run.manifest["status"] in ("running", "interrupted") or run.done(PLAN_STEP) is None:
        raise ConfigError(f"{run.run_id}: is not finished. Continue it, then undo it: {run.go_on}")
    if endpoints.records_changes(settings):
        _check_table(run, given)
    elif run.manifest.get("results") is None:
        raise ConfigError(f"{run.run_id}: stopped before its results were written. Continue it: {run.go_on}")


def _check_table(run: RunDirectory, given: dict[str, Any]) -> None:
    if run.done(APPLY_STEP) is None:
        raise ConfigError(f"{run.run_id}: has failed, and nothing of it was written. There is nothing to undo.")
    if "undo" not in given:
        raise ConfigError(f"{run.run_id}: ran with an earlier version, which kept nothing to undo a run by.")
    if not given["undo"]:
        raise ConfigError(f"{run.run_id}: ran with --no-undo, and kept nothing to undo it by.")


def _read_keys(file: Path) -> list[str]:
    """Return the customers named in a file, one on each line. Raises ConfigError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"--keys {file}: cannot be read ({reason}). Name a text file with a key on each line."
        ) from error
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise ConfigError(f"--keys {file}: is empty. Write the external id or e-mail of a customer on each line.")
    return keys
