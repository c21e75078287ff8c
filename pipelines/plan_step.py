"""The plan of a run: made by the destination, checked against a saved plan, kept for a later process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import GONE, LEFT_ALONE, REVIEW, Destination, Effort, Plan, WriteRequest
from tranship.connectors.errors import GateClosed
from tranship.pipelines.identity_step import AMBIGUOUS
from tranship.pipelines.plan_digest import AGREED, AGREED_DELETES
from tranship.pipelines.planned_changes import write_changes
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP
from tranship.pipelines.step_result import StepResult
from tranship.schemas import cells
from tranship.schemas.counted import counted

ROWS = "plan.parquet"
FILES = (
    *(ROWS, AGREED, AGREED_DELETES, "plan.json", "restored.parquet", LEFT_ALONE, REVIEW),
    *("identity/retracted-destination.parquet", "rejected/identity-destination.parquet"),
)
"""The files that this step writes."""


def make_plan(run: RunContext, request: WriteRequest, destination: Destination) -> tuple[Plan, StepResult]:
    """Let the destination compare, and return its plan.

    A saved plan is compared with the new one: raises GateClosed if the destination has changed since it was made.
    """
    directory = run.directory
    files: dict[str, Path] = {}
    with run.timed("plan", None):
        done = directory.done(PLAN_STEP)
        if done is not None and destination.applied(request.run_id):
            # The process died between the commit and the report: the plan of that process was applied.
            directory.check_plan()
            directory.finish(APPLY_STEP, {})
        else:
            saved = done if directory.stands_alone else None
            plan = destination.plan(request)
            if saved is not None:
                _check_agreement(run, request, plan, saved["counts"].get("delete"))
            done = kept(run, plan)
            if directory.stands_alone and saved is None:
                files["changes"] = directory.path / "changes.csv"
                if request.undo:
                    cells.as_csv(pl.scan_parquet(request.workspace / REVIEW, glob=False)).sink_csv(files["changes"])
                else:
                    write_changes(request.workspace, plan, request.survivors, files["changes"])
                _keep_agreed(request.workspace, plan)
            directory.finish(PLAN_STEP, done, FILES)
    plan, result = planned(directory.path, done)
    return plan, replace(result, files={**files, **result.files})


def _keep_agreed(workspace: Path, plan: Plan) -> None:
    """Keep what is reviewed: what is applied later is compared with it."""
    shutil.copyfile(plan.rows, workspace / AGREED)
    if (workspace / GONE).exists():
        shutil.copyfile(workspace / GONE, workspace / AGREED_DELETES)


def planned(path: Path, done: Mapping[str, Any]) -> tuple[Plan, StepResult]:
    """Return the plan that the manifest keeps, and its result; its files are in `path`."""
    plan = _plan_of(path, done)
    ambiguous = plan.counts["ambiguous"]
    return plan, StepResult(
        by_code={AMBIGUOUS: ambiguous} if ambiguous else {},
        first={AMBIGUOUS: tuple(done["first_ambiguous"])} if ambiguous else {},
        retracted=done["retracted"],
        notes=plan.notes,
        files=_listed(path, "stale.parquet", "stale") | _listed(path, LEFT_ALONE, "left"),
    )


def _check_agreement(run: RunContext, request: WriteRequest, plan: Plan, agreed_deletes: int | None) -> None:
    destination = redacted(run.settings.destination)
    agreed, current = (_decisions(rows) for rows in (request.workspace / AGREED, plan.rows))
    changed = differing_records(agreed, current)
    if changed:
        raise GateClosed(
            f"{destination}: has changed since the plan was made: {counted(changed, 'record')} would be treated "
            "differently now. Nothing was written. Make a new plan."
        )
    if plan.counts["delete"] != agreed_deletes:
        raise GateClosed(
            f"{destination}: has changed since the plan was made: {counted(plan.counts['delete'], 'customer')} "
            f"would be deleted, not {agreed_deletes:,}. Nothing was written. Make a new plan."
        )
    agreed_keys, keys = request.workspace / AGREED_DELETES, request.workspace / GONE
    if agreed_keys.exists() and keys.exists():
        others = differing_customers(pl.read_parquet(agreed_keys, glob=False), pl.read_parquet(keys, glob=False))
        if others:
            raise GateClosed(
                f"{destination}: has changed since the plan was made: {counted(others, 'other customer')} would be "
                "deleted. Nothing was written. Make a new plan."
            )


def differing_records(agreed: pl.DataFrame, current: pl.DataFrame) -> int:
    """Return the number of records on which two plans differ, also where only one of them has the record.

    Both have `row` (u64, one line per record) and the decision on it, in the same columns.
    """
    one_sided = (
        here.join(there, on=agreed.columns, how="anti", nulls_equal=True).select("row")
        for here, there in ((agreed, current), (current, agreed))
    )
    return pl.concat(one_sided).n_unique()


def differing_customers(agreed: pl.DataFrame, current: pl.DataFrame) -> int:
    """Return the number of customers (external_id, email) that are in `current` and not in `agreed`."""
    return current.join(agreed, on=["external_id", "email"], how="anti", nulls_equal=True).height


def _decisions(rows: Path) -> pl.DataFrame:
    return pl.read_parquet(rows, glob=False).select(
        "row", "action", "reason", changed=pl.col("changed").list.sort().list.join(",")
    )


def kept(run: RunContext, plan: Plan) -> dict[str, Any]:
    """Return the plan in the form kept in the manifest. Records whose identity failed at the destination go to the
    rejects."""
    ambiguous = (
        pl.scan_parquet(plan.rows, glob=False).filter(pl.col("action") == "ambiguous").select("row").collect()["row"]
    )
    first = run.findings.reject_identity("destination", ambiguous, AMBIGUOUS)
    return {
        **{"counts": dict(plan.counts), "changed_fields": dict(plan.changed_fields)},
        **{"existing": plan.existing, "notes": list(plan.notes)},
        **{"withheld": plan.withheld, "unidentified": list(plan.unidentified), "partly": plan.partly},
        **{"losses": dict(plan.losses), "effort": msgspec.to_builtins(plan.effort)},
        "retracted": run.findings.retract_warnings("destination", ambiguous),
        "first_ambiguous": first,
    }


def _plan_of(path: Path, done: Mapping[str, Any]) -> Plan:
    return Plan(
        *(path / ROWS, done["counts"], done["changed_fields"], done["existing"]),
        *(tuple(done["notes"]), done.get("withheld", 0), tuple(done.get("unidentified", ())), done.get("partly", 0)),
        losses=done.get("losses", {}),
        effort=msgspec.convert(done.get("effort"), Effort | None),
    )


def _listed(path: Path, file: str, name: str) -> dict[str, Path]:
    """Write a Parquet file of the comparison, if there is one, beside it as CSV for people."""
    found, listed = path / file, path / f"{name}.csv"
    listed.unlink(missing_ok=True)
    if not found.exists():
        return {}
    cells.as_csv(pl.scan_parquet(found, glob=False)).sink_csv(listed)
    return {name: listed}
