"""The write of a run: the request to the destination, and the outcomes that it returns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Destination, Outcomes, Plan, ProviderOptions, WriteRequest
from tranship.pipelines import crosswalks, file_marks, increment, increment_notes
from tranship.pipelines.identity_step import AMBIGUOUS
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP
from tranship.pipelines.stage_files import PATCHED
from tranship.pipelines.step_result import StepResult
from tranship.pipelines.watermark_files import WatermarkFile, keeper_of
from tranship.schemas.counted import counted, it_or_them
from tranship.schemas.faults import RULES


def write_request(run: RunContext, total: StepResult, columns: ColumnMap) -> tuple[WriteRequest, StepResult]:
    """Return the request for these survivors. `total` is the result of reading and identity."""
    settings, directory = run.settings, run.directory
    merged = sum(total.merges.values())
    history, lost = crosswalks.found(settings.state_dir, redacted(settings.destination), directory.run_id)
    fields, sparse = fields_of(total, columns)
    request = WriteRequest(
        run_id=directory.run_id,
        survivors=run.stage.survivors(
            fields,
            total.staged - merged - total.by_code.get(AMBIGUOUS, 0),
            sparse,
        ),
        source=settings.source_name,
        mode=settings.mode,
        overwrite_nulls=settings.nulls == "overwrite",
        evolve=settings.evolve,
        hard_delete=settings.deletes == "remove",
        workspace=directory.path,
        started_at=directory.manifest["started_at"],
        ledger={"read": total.read, "rejected": total.rejected, "merged": merged, "skipped": total.skipped},
        columns=settings.columns,
        older=settings.older or "skip",
        present=run.stage.present_files(),
        left_out=run.findings.warned_files(),
        record_changes=settings.changes == "on",
        keep_images=settings.undo,
        keep_history=settings.history,
        compare=directory.stands_alone,
        provider=ProviderOptions(
            limit=settings.limit,
            crosswalk=settings.crosswalk,
            history=tuple(history),
            remove_for_good=settings.remove_for_good,
            write_began=directory.has_begun_to_write,
        ),
        watermark=increment.watermark(directory.manifest.get("increment"), total.extents, directory.run_id),
        files=file_marks.of_facts(directory.manifest.get("files")),
    )
    return request, StepResult(notes=crosswalks.notes_on(lost))


def fields_of(total: StepResult, columns: ColumnMap) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields that the records of a run have, and those of them that only some records have."""
    sparse = tuple(sorted({_field_of_rest(code) for code in total.warnings} - {"", *columns.targets}))
    return tuple(dict.fromkeys((*columns.targets, *sparse))), sparse


def _field_of_rest(code: str) -> str:
    """Return the field that received a value taken out of another field, by the code of the warning; empty for other
    warnings. Records may have such a field although the source has no column for it.
    """
    if code in RULES or code == "state.status":
        return "metadata"
    return "invoice_cc_emails" if code.endswith(".several") else ""


def keep_outcomes(run: RunContext, outcomes: Outcomes) -> Outcomes:
    """Write the outcomes of a write, complete or not, to the run directory; return them with their files."""
    directory = run.directory
    results = {}
    if "outcomes" in outcomes.files:
        results = run.findings.keep_results(outcomes.files["outcomes"], run.stage.batched())
    kept = replace(outcomes, files={**outcomes.files, **results})
    directory.keep_seals_of([*kept.files.values(), directory.path / "crosswalk.parquet"])
    crosswalks.share(directory, run.settings.state_dir)
    return kept


def finish(run: RunContext, outcomes: Outcomes | None) -> None:
    """End the step, unless records are left: those are in the journal, for the next process of this run."""
    if outcomes is None:
        run.directory.finish(APPLY_STEP, {})
    elif not outcomes.counts["left"] + outcomes.counts["deletes_left"]:
        run.directory.finish(APPLY_STEP, _facts(outcomes))


def keep_watermark(
    run: RunContext, request: WriteRequest, destination: Destination, counts: Mapping[str, int]
) -> StepResult:
    """Keep how far the source was read in the state directory after a complete write, unless the destination has it."""
    if not (request.watermark or request.files):
        return StepResult()
    keeper = keeper_of(run.settings, destination)
    if isinstance(keeper, WatermarkFile):
        if request.watermark:
            keeper.advance(request.watermark)
        if request.files:
            keeper.keep_files(request.files)
    failed = counts["refused"] + counts.get("unknown", 0)
    if not failed:
        return StepResult()
    again = (
        run.directory.command("retry")
        if "unknown" in counts
        else f"change {it_or_them(failed)} or the destination, then use --full"
    )
    note = f"{counted(failed, 'record')} refused or failed and will not be read again as new: {again}"
    return StepResult(notes=(note,))


def late_records(run: RunContext, plan: Plan) -> StepResult:
    """Return what a delta would have missed, for a full read of a source that has a watermark."""
    facts = run.directory.manifest.get("increment")
    if not run.settings.full or facts is None or facts["known"] is None:
        return StepResult()
    late = run.stage.late()
    if late is None:
        return StepResult(notes=(increment_notes.late_note(facts["known"], pl.Series([])),))
    rows = pl.scan_parquet(plan.rows, glob=False).filter(pl.col("action").is_in(["create", "update"]))
    original = (pl.col("row") & ~pl.lit(PATCHED, pl.UInt64)).alias("row")
    changed = late.join(rows.select(original), on="row", how="semi").select("value").collect()["value"]
    return StepResult(notes=(increment_notes.late_note(facts["known"], changed),))


def _facts(outcomes: Outcomes) -> dict[str, Any]:
    """Return the outcomes in the form kept in the manifest."""
    files = {name: str(path) for name, path in outcomes.files.items()}
    return {
        "counts": dict(outcomes.counts),
        "reasons": dict(outcomes.reasons),
        "files": files,
        "notes": list(outcomes.notes),
    }


def outcomes_of(facts: Mapping[str, Any]) -> Outcomes | None:
    """Return the outcomes of a finished write from the manifest; null for a destination that has none."""
    if "counts" not in facts:
        return None
    files = {name: Path(path) for name, path in facts["files"].items()}
    return Outcomes(facts["counts"], facts["reasons"], files, tuple(facts["notes"]))
