"""What earlier runs have changed at their destinations, customer by customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from tranship.connectors import durable
from tranship.connectors.addresses import redacted
from tranship.connectors.contract import CHANGES, FIRST_LOAD
from tranship.connectors.errors import ConfigError, ConnectorError
from tranship.pipelines import endpoints
from tranship.pipelines import resume as resuming
from tranship.pipelines.encryption import session
from tranship.pipelines.encryption.marks import is_encrypted
from tranship.pipelines.retention import removed
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP, RunDirectory
from tranship.pipelines.settings_model import Settings
from tranship.schemas.counted import counted

_OUTCOMES: Final = "outcomes.parquet"


def changes_with_key(
    state_dir: Path, run_ids: Sequence[str], customer: str | None, identity: Path | None
) -> Iterator[pl.DataFrame]:
    """Yield what `changes` yields. If the files of a run are encrypted, `identity` has the key."""
    if identity is None or not any(is_encrypted(resuming.find_run(state_dir, run_id)) for run_id in run_ids):
        yield from changes(state_dir, run_ids, customer)
    else:  # at once, since the files are decrypted meanwhile
        yield from session.with_records(lambda: [*changes(state_dir, run_ids, customer)], state_dir, run_ids, identity)


def changes(state_dir: Path, run_ids: Sequence[str], customer: str | None = None) -> Iterator[pl.DataFrame]:
    """Yield what these runs have changed (`connectors.contract.CHANGES`), one run after the other; with `customer`,
    only the changes of one, given by key.

    A run is given by its id, `last`, or the folder of a plan. Raises ConfigError if there is no such run, or its
    changes are not recorded, and ConnectorError.
    """
    runs = [resuming.find_run(state_dir, run_id) for run_id in run_ids]
    for run in runs:
        yield from _changes_of(run, customer)


def frame_of(state_dir: Path, run_id: str, customer: str | None, identity: Path | None = None) -> pl.DataFrame:
    """Return the changes of one run as one frame. Raises what `changes` raises."""
    return pl.concat([pl.DataFrame(schema=CHANGES), *changes_with_key(state_dir, [run_id], customer, identity)])


def _changes_of(run: RunDirectory, customer: str | None) -> Iterator[pl.DataFrame]:
    settings = resuming.settings_of(run)
    _check_is_over(run)
    if endpoints.is_of_engine(settings.destination):
        raise ConfigError(
            f"{run.run_id}: the changes of {redacted(settings.destination)} are in the versions of that table, and are "
            "not recorded beside it."
        )
    frames = endpoints.changes_at(settings, run.run_id, run.path, customer)
    is_table = endpoints.records_changes(settings)
    if not is_table:
        removed.must_have_records(run, "list its changes")
        _check_outcomes(run)
    elif settings.changes == "off":
        raise ConfigError(f"{run.run_id}: its changes were not recorded, because it ran with --changes off.")
    found = 0
    for frame in frames:
        found += frame.height
        yield frame
    if is_table and customer is None:
        _check_count(run, settings, found)


def _check_is_over(run: RunDirectory) -> None:
    """Raise ConfigError for a run that has not ended, or that has written nothing."""
    if not run.has_begun_to_write:
        raise ConfigError(f"{run.run_id}: has written nothing, so it has changed nothing.")
    if run.manifest["status"] == "running":
        advice = f"was stopped. Continue it first: {run.go_on}" if run.is_abandoned() else "is still running."
        raise ConfigError(f"{run.run_id}: {advice}")


def _check_outcomes(run: RunDirectory) -> None:
    """Raise Damaged if the outcomes at a provider are gone or were changed, ConfigError if they are not complete."""
    run.check_results()
    sealed = run.manifest.get("results") or {}
    durable.check(run.path, {_OUTCOMES: sealed.get(_OUTCOMES)})


def _check_count(run: RunDirectory, settings: Settings, found: int) -> None:
    """Raise ConfigError if a table does not have all changes of the run."""
    planned = (run.done(PLAN_STEP) or {}).get("counts", {})
    changed = sum(planned.get(action, 0) for action in ("create", "update", "delete"))
    if run.done(APPLY_STEP) is not None and found != changed:
        raise ConfigError(
            f"{run.run_id}: changed {counted(changed, 'customer')}, but {redacted(settings.destination)} has a "
            f"record of {found:,}. The others were removed there, or an earlier version of Tranship wrote them."
        )


BY_FIELD: Final = pl.Schema(
    {
        "run_id": pl.String(),
        "customer_key": pl.String(),
        "action": pl.String(),
        "field": pl.String(),
        "before": pl.String(),
        "after": pl.String(),
        "reason": pl.String(),
        "changed_at": pl.Datetime("us", "UTC"),
    }
)
"""Changes with a line for each field. A created customer without values has one line, without a field."""


def of_first_load(changes: pl.DataFrame) -> int:
    """Return the number of customers that were created by the first load of a table, which have no values."""
    return int((changes["reason"] == FIRST_LOAD).sum())


def by_field(changes: pl.DataFrame) -> pl.DataFrame:
    """Return changes (`connectors.contract.CHANGES`) with a line for each field (`BY_FIELD`), in the same order. Texts
    are without quotes, other values JSON.
    """
    lines = [
        {**change, "field": field, "before": _plain(before.get(field or "")), "after": _plain(after.get(field or ""))}
        for change in changes.iter_rows(named=True)
        for before, after in [(_members(change["before"]), _members(change["after"]))]
        for field in ({**before, **after} or (None,))
    ]
    return pl.DataFrame(lines, schema=BY_FIELD)


def json_lines(changes: pl.DataFrame) -> Iterator[str]:
    """Yield each change as one line of JSON."""
    for change in changes.iter_rows(named=True):
        for side in ("before", "after"):
            _members(change[side])
        images = {side: change[side] and msgspec.Raw(change[side].encode()) for side in ("before", "after")}
        yield msgspec.json.encode({**change, **images}).decode()


def _members(image: str | None) -> dict[str, msgspec.Raw]:
    """Return the fields of one side of a change, each as JSON. Raises ConnectorError if it has another form."""
    try:
        return msgspec.json.decode(image, type=dict[str, msgspec.Raw]) if image else {}
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConnectorError(
            "The record of the changes contains a value that Tranship did not write, so it cannot be shown."
        ) from error


def _plain(value: msgspec.Raw | None) -> str | None:
    text = bytes(value).decode() if value else "null"
    return None if text == "null" else str(msgspec.json.decode(text)) if text.startswith('"') else text
