"""The runs that must stay: those that are running, those that can be continued, and those that others depend on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP, STAGE_STEP, RunDirectory

REMOVED: Final = "removed"
"""The folder of the state directory with runs that are being deleted."""
_NOTED = "open_plans"
"""The folder of the state directory with the places of plans that depend on a run."""


def is_over(run: RunDirectory) -> bool:
    """Whether no process works on it."""
    return bool(run.manifest["status"] != "running" or run.is_abandoned())


def started_at(run: RunDirectory) -> datetime:
    """Return when it began."""
    return datetime.fromisoformat(run.manifest["started_at"])


def pipeline_of(run: RunDirectory) -> str:
    """Return the name of its pipeline, or its destination."""
    settings = run.manifest["settings"]
    return str(settings.get("pipeline") or settings["destination"])


def reasons(state_dir: Path, runs: Sequence[RunDirectory]) -> dict[Path, str]:
    """Return the folder of each run that must stay → the reason. `runs` are all runs of the state directory, newest
    first.
    """
    found: dict[Path, str] = {}
    open_work: list[tuple[RunDirectory, str]] = []
    succeeded: set[tuple[str, str]] = set()
    for run in runs:
        work = (pipeline_of(run), str(run.manifest["settings"]["source"]))
        if not is_over(run):
            found[run.path] = "is running"
            open_work.append((run, f"the run {run.run_id}"))
        elif _can_be_continued(run) and work not in succeeded:
            found[run.path] = f"can be continued: {run.go_on}"
            open_work.append((run, f"the unfinished run {run.run_id}"))
        if run.has_ended_well and not run.manifest["settings"].get("dry_run"):
            succeeded.add(work)
    open_work += [(plan, f"the plan in {plan.path}") for plan in plans(state_dir) if _is_open(plan)]
    by_path = {run.path.resolve(): run.path for run in runs}
    for work_run, name in open_work:
        for path in read_by(work_run):
            if (needed := by_path.get(path)) is not None:
                found.setdefault(needed, f"is needed by {name}")
    return found


def plans(state_dir: Path) -> list[RunDirectory]:
    """Return the intact plans in a state directory, and those elsewhere that depend on a run of it."""
    others = [path for path in state_dir.glob("*") if path.is_dir() and path.name not in ("runs", REMOVED)]
    inside = [file.parent for path in others for file in sorted(path.rglob("manifest.json"))]
    noted = []
    for note in sorted((state_dir / _NOTED).glob("*.json")):
        try:
            noted.append(Path(durable.read_json(note)["folder"]))
        except (ConfigError, OSError, KeyError):
            continue
    found = []
    for folder in dict.fromkeys(path.resolve() for path in (*inside, *noted)):
        try:
            plan = RunDirectory.at(folder)
        except ConfigError:
            continue
        if plan.stands_alone:
            found.append(plan)
    return found


def note_plan(state_dir: Path, plan: RunDirectory) -> None:
    """Write down where the plan of an undo is, so that the run that it takes back is not removed before it is applied.

    A plan whose folder is gone needs nothing: its note is ignored.
    """
    folder = state_dir / _NOTED
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.write_json(folder / f"{plan.run_id}.json", {"folder": str(plan.path.resolve())})


def _can_be_continued(run: RunDirectory) -> bool:
    """Return whether it broke off, or stopped at its limit, and `resume` would not begin again."""
    broke_off = run.manifest["status"] in ("running", "failed", "interrupted", "partly_done")
    return broke_off and (run.done(STAGE_STEP) is not None or run.keeps_pages())


def _is_open(plan: RunDirectory) -> bool:
    if plan.done(PLAN_STEP) is None:
        return False
    return plan.done(APPLY_STEP) is None or not plan.has_ended_well


def read_by(run: RunDirectory) -> list[Path]:
    """Return the folders of runs that it reads: the run that it takes back, or whose records or rejects it loads."""
    facts: dict[str, Any] = run.manifest
    source = facts["settings"]["source"]
    paths = [Path(text) for text in ([source] if isinstance(source, str) else source)]
    found = [parent for path in paths for parent in (path, *path.parents)]
    found += [Path(facts[key]["folder"]) for key in ("undoes", "fixes") if key in facts]
    return [path.resolve() for path in found]
