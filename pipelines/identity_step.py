"""The identity of the staged records: merges, survivors, and the records whose e-mail fits several customers."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from tranship.pipelines import identify
from tranship.pipelines.identify import Identity
from tranship.pipelines.identity_partitions import AT_ONCE, Candidates, decisions
from tranship.pipelines.present import PRESENT
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import IDENTIFY_STEP
from tranship.pipelines.step_result import StepResult

AMBIGUOUS = "identity.ambiguous_email"
CONFLICT = "external_id.conflict"
NO_MERGES = {"external_id": 0, "email": 0}
FILES = (
    *("identity/dropped.parquet", "identity/patched.parquet", "identity/retracted-run.parquet", "merges.parquet"),
    *("rejected/identity-run.parquet", "present/identity-run.parquet"),
    *("warned/shared.parquet", "warned/alike.parquet", "warned/conflicts.parquet"),
)
"""The files that this step writes."""


def identify_customers(run: RunContext) -> StepResult:
    """Decide which of the staged records are one customer, or return the decisions of an earlier process."""
    with run.timed("identify", None):
        done = run.directory.done(IDENTIFY_STEP)
        if done is None:
            done = _decided(run)
            run.directory.finish(IDENTIFY_STEP, done, FILES)
        return result_of(done)


def result_of(done: Mapping[str, Any]) -> StepResult:
    """Return the result of the step as the manifest keeps it."""
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


def _decided(run: RunContext) -> dict[str, Any]:
    """Write the decisions to files, slice by slice, and return them as the manifest keeps them."""
    stage, findings = run.stage, run.findings
    merges: Counter[str] = Counter(NO_MERGES)
    first: dict[str, tuple[str, int] | None] = {}
    ambiguous = [pl.Series([], dtype=pl.UInt64)]
    with (
        stage.merging() as files,
        stage.present("identity-run.parquet") as present,
        findings.warnings("shared") as shared,
        findings.warnings("alike") as alike,
        findings.warnings("conflicts") as conflicts,
    ):
        for decided in _slices(run):
            dropped = pl.concat([decided.losers, decided.ambiguous["row"]])
            files.add(dropped, _patched(run, decided), decided.merges)
            present.add(_keys(decided.ambiguous))
            ambiguous.append(decided.ambiguous["row"])
            merges.update(dict(decided.merges["rule"].value_counts().iter_rows()))
            for file, found, place in (
                (shared, decided.shared, "first_shared"),
                (alike, decided.alike, "first_alike"),
                (conflicts, decided.conflicts, "first_conflict"),
            ):
                file.add(found)
                first[place] = first.get(place) or _first_place(found)
    rows = pl.concat(ambiguous)
    return {
        "merges": dict(merges),
        **first,
        **{"ambiguous": len(rows), "shared": shared.count, "alike": alike.count, "conflicts": conflicts.count},
        "first_ambiguous": findings.reject_identity("run", rows, AMBIGUOUS),
        "retracted": findings.retract_warnings("run", rows),
    }


def _slices(run: RunContext) -> Iterator[Identity]:
    """Yield the decisions about the staged records (`identity_partitions.decisions`)."""
    stage, settings = run.stage, run.settings
    workspace = run.directory.path / "spill" / "identity"
    shutil.rmtree(workspace, ignore_errors=True)
    candidates = Candidates(identify.rows_to_look_at(stage.keys()), stage.candidates)
    yield from decisions(candidates, settings.survivor, workspace, fill=settings.fill, at_once=AT_ONCE)
    shutil.rmtree(workspace, ignore_errors=True)


def _patched(run: RunContext, decided: Identity) -> pl.DataFrame:
    """Return the survivors that take over values. Of more records than fit in memory, those that are needed stay."""
    fill = run.settings.fill
    rows = identify.rows_to_patch(decided, fill=fill).sort()
    records = pl.DataFrame()
    for start in range(0, len(rows), AT_ONCE):
        piece = run.stage.records(rows[start : start + AT_ONCE])
        records = identify.givers(pl.concat([records, piece]), decided) if start else piece
    return identify.patched(records, decided.members, fill=fill) if records.height else records


def _keys(ambiguous: pl.DataFrame) -> pl.DataFrame:
    """Return the keys (`PRESENT`) of ambiguous records."""
    keys = ambiguous.with_columns(id_unusable=False, email_unusable=False)
    return keys.select(pl.col(name).cast(dtype) for name, dtype in PRESENT.items())


def _first_place(found: pl.DataFrame) -> tuple[str, int] | None:
    return next(found.select("source", "line").iter_rows(), None)
