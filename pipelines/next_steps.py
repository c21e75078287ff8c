"""What to do after a run, with the commands to type."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from tranship.connectors.addresses import is_in_python
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints, settings
from tranship.pipelines.command_lines import format_run_command, option_words, shell
from tranship.pipelines.fixing.fates import fixed_by, is_fix
from tranship.pipelines.plan_digest import SHOWN
from tranship.pipelines.report import MOVED, Report
from tranship.pipelines.retention.removed import has_lost_values, is_complete
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.undo_steps import ACTION_OF, is_undo

_OF_UNDO: Final = ("max_changes", "max_deletes", "remove_for_good")
"""Settings that an undo takes from its own command."""


class NextStep(Struct, frozen=True):
    """What a command is for, and the command; null for what is done elsewhere. `file` is to be edited first."""

    purpose: str
    command: str | None = None
    file: str | None = None


def of(report: Report, run: RunDirectory | None = None) -> list[NextStep]:
    """Return what to do after this run, the most important first; `run` is its directory, if that is open already."""
    run = run or RunDirectory.at(Path(report.run_dir))
    if has_lost_values(run):
        return []
    loaded = settings.load(run.manifest["settings"], {})
    if report.status == "partly_done":
        return [NextStep("continue with", run.go_on)]
    if report.status not in ("done", "done_with_rejects"):
        return []
    if report.dry_run and run.stands_alone:
        digest = report.plan_digest
        return [NextStep("to apply this, run", f"{run.go_on} --expect {digest[:SHOWN]}" if digest else run.go_on)]
    if is_undo(run):
        would = report.counts.created + report.counts.updated + report.counts.deleted
        return _same_undo(run, loaded) if report.dry_run and would else []
    if report.stale_by_reason.get(MOVED) or report.counts.unknown or "failed" in report.files:
        return [NextStep("retry failed records with", run.command("retry"))]
    in_python = any(map(is_in_python, loaded.sources))
    if report.dry_run and in_python:
        return [NextStep("to apply this, make the same call in Python without dry_run")]
    if report.dry_run:
        names = [name for name in type(loaded).model_fields if name not in ("source", "destination", "dry_run")]
        return [NextStep("to apply this, run", format_run_command(loaded, loaded.sources, names))]
    return [*_corrections(report, run, loaded, in_python=in_python), *_way_back(run, report, loaded)]


def _same_undo(run: RunDirectory, loaded: Settings) -> list[NextStep]:
    """Return the command that takes back what this dry run has shown, and nothing else."""
    facts = run.manifest["undoes"]
    beside = run.path.parent / str(facts["run_id"])
    try:
        undone = RunDirectory.at(beside if beside.is_dir() else Path(facts["folder"]))
    except ConfigError:  # it was removed
        return []
    only = tuple(word for word, action in ACTION_OF.items() if action in facts["actions"])
    given = {"only": only if len(only) < len(ACTION_OF) else (), "keys": facts.get("keys")}
    given |= {name: getattr(loaded, name) for name in _OF_UNDO}
    words = option_words({name: value for name, value in given.items() if value})
    return [NextStep("to apply this, run", f"{undone.command('undo')} {shell(*words)}".rstrip())]


def _corrections(report: Report, run: RunDirectory, loaded: Settings, *, in_python: bool) -> list[NextStep]:
    """Return how to correct rejected records."""
    is_open = report.fixes.open if report.fixes else report.counts.rejected
    if not is_open:
        return []
    try:
        run = fixed_by(run) if is_fix(run) else run
        can_be_fixed = is_complete(run)
    except ConfigError:  # it was removed
        can_be_fixed = False
    if not can_be_fixed or loaded.engine or not endpoints.keeps_state(loaded):
        again = "make the same call in Python" if in_python else "run the same command"
        return [NextStep(f"correct the rejected records at the source, then {again} again")]
    fix = run.command("fix")
    return [
        NextStep("to correct the rejected records, run", f"{fix} --out rejects.xlsx"),
        NextStep("then, to load them, run", f"{fix} --from rejects.xlsx"),
    ]


def _way_back(run: RunDirectory, report: Report, loaded: Settings) -> list[NextStep]:
    """Return the command that takes a run back, if it has changed something and can be undone."""
    if not is_complete(run):
        return []
    undoes = loaded.undo and not loaded.engine and endpoints.undoes(loaded)
    changed = report.counts.created + report.counts.updated + report.counts.deleted
    return [NextStep("to take it back, run", run.command("undo"))] if undoes and changed else []
