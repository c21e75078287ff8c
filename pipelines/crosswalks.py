"""Crosswalks of earlier runs and plans, which later runs into the same destination read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from tranship.connectors import durable
from tranship.connectors.errors import Damaged
from tranship.pipelines.run_directory import RunDirectory, all_runs
from tranship.schemas.counted import counted

APPLIED = "applied"
"""The folder of the state directory with the crosswalks of applied plans, and of runs that were removed."""


_OF_CUSTOMERS: Final = ("source_provider", "source_id", "external_id", "email")


class _AppliedPlan(msgspec.Struct, frozen=True):
    """The record of an applied plan whose folder lies outside the state directory, or of a run that was removed."""

    run_id: str
    started_at: str
    destination: str
    crosswalk: str
    """The seal of its copy of the crosswalk."""


def share(directory: RunDirectory, state_dir: Path) -> None:
    """Copy the crosswalk of a plan that lies outside it to the state directory, where later runs find it."""
    if directory.stands_alone:
        keep(directory, state_dir)


def keep(directory: RunDirectory, state_dir: Path) -> bool:
    """Copy the crosswalk of a run or plan to where later runs find it without its folder; return whether it has one."""
    file = directory.path / "crosswalk.parquet"
    if not file.exists():
        return False
    folder = state_dir / APPLIED / directory.run_id
    for parent in (state_dir, folder.parent, folder):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = folder / file.name
    temporary = copy.with_suffix(".partial")
    if directory.manifest["settings"].get("encrypt_to"):
        # Later runs need no identity, and only these ids of the destination.
        rows = pl.read_parquet(file, glob=False)
        rows.with_columns(pl.lit(None, pl.String).alias(name) for name in _OF_CUSTOMERS).write_parquet(temporary)
    else:
        shutil.copyfile(file, temporary)
    temporary.chmod(0o600)
    temporary.replace(copy)
    destination = str(directory.manifest["settings"]["destination"])
    kept = _AppliedPlan(directory.run_id, str(directory.manifest["started_at"]), destination, durable.seal(copy))
    durable.write_json(folder / "plan.json", msgspec.structs.asdict(kept))
    return True


def forget(directory: RunDirectory, state_dir: Path) -> None:
    """Remove the copy of the crosswalk of a run, which has it."""
    shutil.rmtree(state_dir / APPLIED / directory.run_id, ignore_errors=True)


def found(state_dir: Path, destination: str, except_run: str) -> tuple[list[Path], list[Path]]:
    """Return the crosswalks of earlier runs and plans into a destination, without that of `except_run`: the intact
    ones, newest first, and the damaged ones.
    """
    found = []
    for run in all_runs(state_dir):
        file = run.path / "crosswalk.parquet"
        if (state_dir / APPLIED / run.run_id / "plan.json").exists():
            continue  # its records were removed, or are about to be
        sealed = (run.manifest.get("results") or {}).get(file.name)
        if run.manifest["settings"].get("destination") == destination and (file.exists() or sealed):
            # Earlier versions of Tranship left crosswalks without seals.
            whole = durable.is_whole(file, sealed) if sealed else not run.has_begun_to_write
            found.append((run.manifest["started_at"], run.run_id, file, whole))
    for folder in sorted((state_dir / APPLIED).glob("*")):
        file = folder / "crosswalk.parquet"
        try:
            kept = msgspec.convert(durable.read_json(folder / "plan.json"), _AppliedPlan)
        except (OSError, Damaged, msgspec.ValidationError):
            found.append(("", folder.name, file, False))
            continue
        if kept.destination == destination:
            found.append((kept.started_at, kept.run_id, file, durable.is_whole(file, kept.crosswalk)))
    found = sorted((entry for entry in found if entry[1] != except_run), key=lambda entry: entry[:2], reverse=True)
    return [file for *_, file, whole in found if whole], [file for *_, file, whole in found if not whole]


def notes_on(damaged: list[Path]) -> tuple[str, ...]:
    """Return a note if there are damaged crosswalks."""
    if not damaged:
        return ()
    what = f"{counted(len(damaged), 'crosswalk')} of earlier runs, damaged or incomplete, ignored: customers that"
    return (f"{what} those runs wrote count as written by others. The first is {damaged[0]}",)
