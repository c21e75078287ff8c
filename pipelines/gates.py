"""Gates: limits that stop a run before its first write."""

from __future__ import annotations

import polars as pl

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Plan
from tranship.connectors.errors import GateClosed
from tranship.pipelines.identity_step import CONFLICT
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.setting_values import limit
from tranship.pipelines.step_result import StepResult
from tranship.schemas.counted import counted


def check_gates(run: RunContext, total: StepResult, plan: Plan) -> None:
    """Raise GateClosed if the run exceeds a limit. `total` is the result of all steps so far. Shares are those of the
    records that no filter left out: a delta is judged by its own records.
    """
    _check_input(run, total)
    _check_age(run, total, plan)
    _check_limits(run, total, plan)


def _check_input(run: RunContext, total: StepResult) -> None:
    settings = run.settings
    nothing_new = (run.directory.manifest.get("files") or {}).get("nothing", False)
    if not total.read and not settings.allow_empty and not nothing_new:
        raise GateClosed(
            f"{settings.source_name}: contains no record. Nothing was written. If that is right: --allow-empty"
        )
    conflicts = total.warnings.get(CONFLICT, 0)
    considered = total.read - total.skipped
    if conflicts > limit(settings.max_conflicts, considered):
        source, line = total.first[CONFLICT]
        allowed = settings.max_conflicts
        share = "shares its" if conflicts == 1 else "share their"
        raise GateClosed(
            f"{conflicts:,} of {counted(considered, 'record')} {share} external_id with a record that has another "
            f"e-mail and another name, more than --max-conflicts {allowed}; the first: {source}, line {line}. They "
            "would be merged. Nothing was written. If another column is the customer's id: "
            f'--map external_id="COLUMN"; if they are the same customers: --max-conflicts {conflicts}'
        )


def _check_age(run: RunContext, total: StepResult, plan: Plan) -> None:
    settings = run.settings
    updates, stale = plan.counts["update"], plan.counts.get("stale", 0)
    if settings.older is None and stale > updates:
        first = (
            pl.scan_parquet(run.directory.path / "stale.parquet", glob=False).select("source", "line").head(1).collect()
        )
        source, line = first.row(0)
        raise GateClosed(
            f"{stale:,} of {counted(stale + updates, 'changed record')} {'is' if stale == 1 else 'are'} older "
            f"(updated_at) than the customer in {redacted(settings.destination)}; the first: {source}, line {line}. "
            "Nothing was written. If this is the right input, leave these customers as they are with --older skip, or "
            f"let the older records win with --older write. They are listed in {total.files['stale']}"
        )


def _check_limits(run: RunContext, total: StepResult, plan: Plan) -> None:
    settings = run.settings
    warnings, considered = sum(total.warnings.values()), total.read - total.skipped
    if settings.max_warnings is not None and warnings > limit(settings.max_warnings, considered):
        raise GateClosed(
            f"{counted(warnings, 'warning')} for {counted(considered, 'record')}, more than --max-warnings "
            f"{settings.max_warnings}. Nothing was written. Look at {run.directory.command('report')}, then "
            "correct the source or raise the limit."
        )
    rejected = total.rejected + plan.counts["ambiguous"]
    changes, deletes = plan.counts["update"], plan.counts["delete"]
    for name, value, count, of, noun, fate in (
        ("max-rejects", settings.max_rejects, rejected, considered, "record", "rejected"),
        ("max-deletes", settings.max_deletes, deletes, plan.existing, "customer", "would be deleted"),
        ("max-changes", settings.max_changes, changes, plan.existing, "customer", "would change"),
    ):
        if value is not None and count > limit(value, of):
            raise GateClosed(
                f"{count:,} of {counted(of, noun)} {fate}, more than --{name} {value}. Nothing was written. Look at "
                f"{run.directory.command('report')}, then correct the source or raise the limit."
            )
