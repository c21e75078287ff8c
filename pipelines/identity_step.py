"""The identity of the staged records: merges, survivors, and the records whose e-mail fits several customers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from tranship.pipelines import identify
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import IDENTIFY_STEP
from tranship.pipelines.step_result import StepResult

AMBIGUOUS = "identity.ambiguous_email"
CONFLICT = "external_id.conflict"
_NO_MERGES = {"external_id": 0, "email": 0}
_FILES = (
    *("identity/dropped.parquet", "identity/patched.parquet", "identity/retracted-run.parquet", "merges.parquet"),
    *("rejected/identity-run.parquet", "present/identity-run.parquet"),
    *("warned/shared.parquet", "warned/alike.parquet", "warned/conflicts.parquet"),
)
"""The files that this step leaves."""


def identify_customers(run: RunContext, staged: int) -> StepResult:
    """Decide which of the staged records are one customer, or return the decisions of an earlier process."""
    with run.timed("identify", None):
        done = run.directory.done(IDENTIFY_STEP)
        if done is None:
            done = _decided(run) if staged else None
            done = done or _nothing_shared(run)
            run.directory.finish(IDENTIFY_STEP, done, _FILES)
        return _result(done)


def _result(done: dict[str, Any]) -> StepResult:
    ambiguous = done["ambiguous"]
    first = {AMBIGUOUS: tuple(done["first_ambiguous"])} if ambiguous else {}
    warnings: Counter[str] = Counter()
    for code, count, place in (
        ("email.shared", "shared", "first_shared"),
        ("external_id.lookalike", "alike", "first_alike"),
        (CONFLICT, "conflicts", "first_conflict"),
    ):
        # The manifest of an earlier version has only the first of them.
        if done.get(count):
            warnings[code] = done[count]
            first[code] = tuple(done[place])
    return StepResult(
        rejected=ambiguous,
        by_code={AMBIGUOUS: ambiguous} if ambiguous else {},
        warnings=warnings,
        retracted=done["retracted"],
        first=first,
        merges=done["merges"],
    )


def _nothing_shared(run: RunContext) -> dict[str, Any]:
    run.stage.keep_identity(pl.Series([], dtype=pl.UInt64), pl.DataFrame(), pl.DataFrame(schema=identify.MERGES))
    return {
        "merges": _NO_MERGES,
        **{"ambiguous": 0, "shared": 0, "conflicts": 0},
        "retracted": {},
        "first_ambiguous": None,
    }


def _decided(run: RunContext) -> dict[str, Any] | None:
    """Write the decisions to files, and return them as the manifest keeps them; null if no record shares a key."""
    stage, findings, settings = run.stage, run.findings, run.settings
    candidates = stage.candidates(identify.rows_to_look_at(stage.keys()))
    if candidates.is_empty():
        return None
    decided = identify.decide(candidates, settings.survivor)
    rows = identify.rows_to_patch(decided, candidates, fill=settings.fill)
    patched = (
        identify.patched(stage.records(rows), decided.members, fill=settings.fill) if len(rows) else pl.DataFrame()
    )
    stage.keep_identity(pl.concat([decided.losers, decided.ambiguous]), patched, decided.merges)
    first = findings.reject_identity("run", decided.ambiguous, AMBIGUOUS)
    ambiguous = candidates.filter(pl.col("row").is_in(decided.ambiguous.implode()))
    stage.keep_present("identity-run.parquet", ambiguous.with_columns(id_unusable=False, email_unusable=False))
    retracted = findings.retract_warnings("run", decided.ambiguous)
    findings.warn("shared", decided.shared)
    findings.warn("alike", decided.alike)
    findings.warn("conflicts", decided.conflicts)
    return {
        "merges": _NO_MERGES | dict(decided.merges["rule"].value_counts().iter_rows()),
        "ambiguous": len(decided.ambiguous),
        "shared": decided.shared.height,
        "first_shared": _first_place(decided.shared),
        "alike": decided.alike.height,
        "first_alike": _first_place(decided.alike),
        "conflicts": decided.conflicts.height,
        "first_conflict": _first_place(decided.conflicts),
        "retracted": retracted,
        "first_ambiguous": first,
    }


def _first_place(found: pl.DataFrame) -> tuple[str, int] | None:
    return next(found.select("source", "line").iter_rows(), None)
