"""The steps of an undo: it reads no source, and its plan is made from what the undone run has kept."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from tranship.connectors import durable, mirrored
from tranship.connectors.addresses import redacted
from tranship.connectors.contract import (
    ACTIONS,
    Action,
    Destination,
    Outcomes,
    Plan,
    ProviderOptions,
    Survivors,
    Undone,
    WriteRequest,
)
from tranship.pipelines import crosswalks
from tranship.pipelines.identity_step import NO_MERGES
from tranship.pipelines.plan_step import make_plan
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import STAGE_STEP, RunDirectory
from tranship.pipelines.stage import Stage
from tranship.pipelines.step_result import StepResult

KEYS: Final = "keys.parquet"
"""The customers that are taken back, where these were chosen: `key`."""
ACTION_OF: Final[dict[str, Action]] = {"created": "create", "updated": "update", "deleted": "delete"}
"""Word of a user → action of the run."""
_DROPPED: Final = "identity/dropped.parquet"
_NOTHING: Final = "nothing to do"
_AS_BEFORE: Final = f"{_NOTHING}: everything is as it was before the run"
_COUNTS_AS_READ: Final = "later runs with {0} leave out what {1} has read; to load it again, add --full"
_OUTCOMES: Final = "outcomes.parquet"
_RESTORED: Final = "restored.parquet"


def is_undo(directory: RunDirectory) -> bool:
    """Return whether a run takes back another one."""
    return "undoes" in directory.manifest


def begin(directory: RunDirectory) -> None:
    """Complete the stage of an undo, which has no records."""
    pl.DataFrame(schema={"row": pl.UInt64}).write_parquet(directory.path / _DROPPED)
    Stage(directory.path).complete(directory.run_id, [])
    facts: dict[str, Any] = dict.fromkeys(("read", "skipped", "staged", "rejected"), 0)
    facts |= {name: {} for name in ("by_code", "warnings", "first", "mapped", "built", "defaults")}
    directory.finish(STAGE_STEP, {**facts, "extra": [], "profile": None}, [KEYS, _DROPPED])


class UndoSteps:
    """`flow.Steps` of an undo."""

    def __init__(self, run: RunContext, destination: Destination) -> None:
        self._run, self._destination = run, destination
        self._request: WriteRequest | None = None

    def read(self) -> Generator[StepResult, None, None]:
        """Read nothing."""
        begin(self._run.directory)
        yield StepResult()

    def read_already(self) -> StepResult:
        """Return the result of the same."""
        return StepResult()

    def identify(self, total: StepResult) -> StepResult:  # noqa: ARG002
        """Check what the undone run has kept, and make the request to the destination. Raises Damaged."""
        settings, directory = self._run.settings, self._run.directory
        undone = self._undone()
        history, lost = crosswalks.found(settings.state_dir, redacted(settings.destination), directory.run_id)
        self._request = WriteRequest(
            run_id=directory.run_id,
            survivors=Survivors((), directory.path / _DROPPED, (), 0),
            source=settings.source_name,
            mode="upsert",
            overwrite_nulls=True,
            evolve=False,
            hard_delete=True,
            workspace=directory.path,
            started_at=directory.manifest["started_at"],
            ledger={"read": 0, "rejected": 0, "merged": 0, "skipped": 0},
            columns=settings.columns,
            older="write",
            record_changes=settings.changes == "on",
            keep_images=settings.undo,
            keep_history=settings.history,
            compare=directory.stands_alone,
            provider=ProviderOptions(
                limit=settings.limit,
                history=tuple(history),
                remove_for_good=settings.remove_for_good,
                write_began=directory.has_begun_to_write,
            ),
            undo=undone,
        )
        return StepResult(merges=NO_MERGES, notes=crosswalks.notes_on(lost))

    def _undone(self) -> Undone:
        own, facts = self._run.directory, self._run.directory.manifest["undoes"]
        mirrored.bring(Path(facts["folder"]))
        run = RunDirectory.at(Path(facts["folder"]))
        run.check()
        run.check_plan()
        durable.check(
            run.path, {name: seal for name, seal in (run.manifest.get("results") or {}).items() if name == _OUTCOMES}
        )
        if is_undo(run):
            survivors = Survivors((run.path / _RESTORED,), run.path / _DROPPED, (), 0)
        else:
            survivors = Stage(run.path).survivors((), 0)
        keys = own.path / KEYS
        return Undone(
            facts["run_id"],
            run.path,
            survivors,
            is_undo(run),
            tuple(action for action in ACTIONS if action in facts["actions"]),
            tuple(pl.read_parquet(keys)["key"]) if keys.exists() else None,
        )

    def plan(self) -> tuple[Plan, StepResult]:
        """Let the destination compare what the run did with what is there now."""
        plan, result = make_plan(self._run, self._made_request, self._destination)
        anything = any(plan.counts[action] for action in (*ACTIONS, "refused"))
        if anything:
            notes = tuple(self._left_out_later())
        else:
            notes = (_AS_BEFORE if self._takes_back_all() and not result.notes else _NOTHING,)
        return plan, StepResult(read=_considered(plan), notes=notes) + result

    def _takes_back_all(self) -> bool:
        undone = self._made_request.undo
        return undone is not None and undone.keys is None and len(undone.actions) == len(ACTIONS)

    def _left_out_later(self) -> Iterator[str]:
        """Yield notes on what the undone run has kept about its source, which an undo leaves as it is."""
        undone = self._made_request.undo
        assert undone  # noqa: S101  (this is an undo)
        given = RunDirectory.at(undone.folder).manifest["settings"]
        if given.get("new_files"):
            yield _COUNTS_AS_READ.format("--new-files", undone.run_id)
        elif given.get("since") and not given.get("until"):
            yield _COUNTS_AS_READ.format("--since last", undone.run_id)

    def apply(self, plan: Plan) -> Outcomes | None:
        """Write to the destination."""
        request = self._made_request
        ledger = {**request.ledger, "read": _considered(plan)}
        return self._destination.apply(replace(request, ledger=ledger), plan)

    def remember(self, counts: Mapping[str, int]) -> StepResult:  # noqa: ARG002
        """Keep nothing: no source was read."""
        return StepResult()

    @property
    def _made_request(self) -> WriteRequest:
        assert self._request is not None  # noqa: S101  (identity is decided first)
        return self._request


def _considered(plan: Plan) -> int:
    """Return the number of customers that an undo reports on, without those that it removes."""
    return sum(count for action, count in plan.counts.items() if action != "delete")
