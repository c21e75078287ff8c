"""Crosswalks of earlier runs and plans, which later runs into the same destination read."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from tranship.connectors import durable
from tranship.connectors.errors import Damaged
from tranship.pipelines.run_directory import RunDirectory, all_runs

APPLIED = "applied"
"""The folder of a state directory with the crosswalks of plans that were carried out."""


class _AppliedPlan(msgspec.Struct, frozen=True):
    """What the state directory keeps of a plan that was carried out from a folder elsewhere."""

    run_id: str
    started_at: str
    destination: str
    crosswalk: str
    """The seal of its copy of the crosswalk."""


def share(directory: RunDirectory, state_dir: Path) -> None:
    """Copy the crosswalk of a plan that stands alone to the state directory, where later runs look for it."""
    file = directory.path / "crosswalk.parquet"
    if not directory.stands_alone or not file.exists():
        return
    folder = state_dir / APPLIED / directory.run_id
    for at in (state_dir, folder.parent, folder):
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = folder / file.name
    temporary = copy.with_suffix(".partial")
    shutil.copyfile(file, temporary)
    temporary.chmod(0o600)
    temporary.replace(copy)
    destination = str(directory.manifest["settings"]["destination"])
    kept = _AppliedPlan(directory.run_id, str(directory.manifest["started_at"]), destination, durable.seal(copy))
    durable.write_json(folder / "plan.json", msgspec.structs.asdict(kept))


def found(state_dir: Path, destination: str, but: str) -> tuple[list[Path], list[Path]]:
    """The crosswalks of earlier runs and plans into a destination, newest first, without that of the run `but`; beside
    them those that are damaged.
    """
    found = []
    for run in all_runs(state_dir):
        file = run.path / "crosswalk.parquet"
        sealed = (run.manifest.get("results") or {}).get(file.name)
        if run.manifest["settings"].get("destination") == destination and (file.exists() or sealed):
            # Versions of Tranship that sealed nothing have left crosswalks, too.
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
    found = sorted((one for one in found if one[1] != but), key=lambda one: one[:2], reverse=True)
    return [file for *_, file, whole in found if whole], [file for *_, file, whole in found if not whole]
