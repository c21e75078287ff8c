"""What has become of each reject of a run, in the runs that loaded their corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from tranship.connectors import durable
from tranship.connectors.contract import ACTIONS
from tranship.connectors.errors import ConfigError
from tranship.pipelines.findings import Findings
from tranship.pipelines.fixing import rejects
from tranship.pipelines.fixing.columns import ACTION, DROP, FATE, NUMBER
from tranship.pipelines.report import Fixes
from tranship.pipelines.run_directory import APPLY_STEP, RunDirectory, all_runs
from tranship.pipelines.stage_files import PATCHED
from tranship.pipelines.undo_steps import KEYS

RECORDS: Final = "fixed.parquet"
"""In the directory of a run that loads corrected rejects: the columns of the source with the values that were given,
NUMBER, ACTION, and `_line`, the row of the file.
"""
LOADED, DROPPED, LEFT_OUT, FAILED, OPEN = "loaded", "dropped", "left_out", "failed", "open"
_OF_PLAN: Final = {"refused": OPEN, "ambiguous": OPEN, "stale": LEFT_OUT}
_OF_OUTCOME: Final = {"refused": FAILED, "unknown": FAILED, "left": FAILED, "older": LEFT_OUT, "stale": FAILED}


def is_fix(run: RunDirectory) -> bool:
    """Return whether a run loads corrected rejects of another one."""
    return "fixes" in run.manifest


def fixed_by(run: RunDirectory) -> RunDirectory:
    """Return the run whose rejects a run has loaded: beside it, wherever both are now, or the folder of a plan.

    Raises ConfigError if it was removed.
    """
    fixed = str(run.manifest["fixes"]["run_id"])
    beside = run.path.parent / fixed
    folder = beside if beside.is_dir() else Path(run.manifest["fixes"]["folder"])
    if not folder.is_dir():
        raise ConfigError(
            f"{run.run_id}: run {fixed}, whose rejects it has loaded, was removed, so they cannot be corrected. "
            "Correct them at the source, and run it again."
        )
    return RunDirectory.at(folder)


def rounds(run: RunDirectory, state_dir: Path) -> list[RunDirectory]:
    """Return the runs that loaded, or began to load, corrected rejects of a run, the earliest first."""
    found = [other for other in all_runs(state_dir) if is_fix(other)]
    return [other for other in reversed(found) if other.manifest["fixes"]["run_id"] == run.run_id]


def standing(run: RunDirectory, state_dir: Path) -> pl.DataFrame:
    """Return the rejects of a run in their present state: the columns of `rejects.of_run`, with the values and reasons
    of the last attempt, and FATE. Raises Damaged.
    """
    found = rejects.of_run(run).with_columns(pl.lit(OPEN).alias(FATE))
    undone = _undone(state_dir)
    for done in rounds(run, state_dir):
        if done.done(APPLY_STEP) is not None:
            after = _after(done, found)
            if done.run_id in undone:
                after = after.filter(pl.col(FATE) == DROPPED)
            found = found.update(after, on=NUMBER, how="left", include_nulls=True)
    return found


def _undone(state_dir: Path) -> set[str]:
    """Return the runs that were taken back as a whole, and not redone by taking back the undo."""
    undone: set[str] = set()
    for other in all_runs(state_dir):  # the newest first
        taken = other.manifest.get("undoes")
        is_whole = taken and len(taken["actions"]) == len(ACTIONS) and not (other.path / KEYS).exists()
        if taken and is_whole and other.done(APPLY_STEP) is not None and other.run_id not in undone:
            undone.add(taken["run_id"])
    return undone


def _after(done: RunDirectory, before: pl.DataFrame) -> pl.DataFrame:
    """Return the rejects that a run has dealt with, in their state since then."""
    try:
        records = pl.read_parquet(done.path / RECORDS, glob=False)
        found = records.join(_attempts(done), on="_line", how="left")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise durable.damaged(done.path) from error
    fate = pl.when(pl.col(ACTION) == DROP).then(pl.lit(DROPPED)).otherwise(pl.col(FATE).fill_null(LEFT_OUT))
    found = found.with_columns(fate.alias(FATE))
    known = before.select(NUMBER, "_codes", "_reasons")
    found = found.join(known, on=NUMBER, how="left", suffix="_before")
    reasons = (pl.coalesce(name, f"{name}_before").alias(name) for name in ("_codes", "_reasons"))
    own = [name for name in before.columns if name in records.columns and name not in (NUMBER, "_line")]
    # A line that is broken has only its text, until it is read.
    return found.with_columns(reasons).select(NUMBER, *own, "_codes", "_reasons", FATE)


def _attempts(done: RunDirectory) -> pl.DataFrame:
    """Return the fate of each record that a run has read, by its line: `_line`, FATE, and reasons if it failed again.
    Those that its filter left out are not among them.
    """
    schema = {"_line": pl.UInt64, FATE: pl.String, "_codes": pl.String, "_reasons": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    if (file := done.path / "rejects.parquet").exists():
        again = pl.read_parquet(file, glob=False, columns=["_line", "_codes", "_reasons"])
        parts.append(again.with_columns(pl.lit(OPEN).alias(FATE)))
    staged = Findings(done.path).places()
    plan = pl.read_parquet(done.path / "plan.parquet", glob=False, columns=["row", "action", "reason"])
    fate = pl.col("action").replace_strict(_OF_PLAN, default=LOADED, return_dtype=pl.String)
    if (file := done.path / "outcomes.parquet").exists():
        outcomes = pl.read_parquet(file, glob=False, columns=["row", "outcome", "reason"])
        plan = plan.drop("reason").join(outcomes, on="row", how="left")
        # What a provider did not take is sent again by retry.
        sent = pl.col("outcome").replace_strict(_OF_OUTCOME, default=LOADED, return_dtype=pl.String)
        fate = pl.when(pl.col("outcome").is_null()).then(fate).otherwise(sent)
    plan = plan.select(_row=pl.col("row") & (PATCHED - 1), fate=fate, reason="reason")
    merged = staged.join(plan, on="_row", how="left").with_columns(pl.col("fate").fill_null(LOADED))
    refused = merged.filter(~pl.col("_line").is_in(parts[-1]["_line"].implode())).select(
        "_line",
        pl.col("fate").alias(FATE),
        _codes=pl.when(fate=OPEN).then(pl.col("reason").str.extract(r"^(\w+)")),
        _reasons=pl.when(fate=OPEN).then("reason"),
    )
    return pl.concat([*parts, refused], how="diagonal_relaxed")


def summary(run: RunDirectory, state_dir: Path) -> Fixes | None:
    """Return what has become of the rejects of a run; null if nothing was done about them. Raises Damaged."""
    done = completed(run, state_dir)
    return of(standing(run, state_dir), done) if done else None


def completed(run: RunDirectory, state_dir: Path) -> tuple[str, ...]:
    """Return the ids of the runs that have loaded corrected rejects of a run."""
    return tuple(other.run_id for other in rounds(run, state_dir) if other.done(APPLY_STEP) is not None)


def of(found: pl.DataFrame, runs: tuple[str, ...]) -> Fixes:
    """Return the counts of rejects in their present state, and the runs that have loaded corrections."""
    counts = dict(found[FATE].value_counts().iter_rows())
    codes = found.filter(pl.col(FATE) == OPEN)["_codes"].drop_nulls().str.split(" ").explode().drop_nulls()
    by_code = dict(codes.value_counts().sort("count", "_codes", descending=[True, False]).iter_rows())
    return Fixes(
        records=found.height,
        **{name: counts.get(name, 0) for name in (LOADED, DROPPED, LEFT_OUT, FAILED, OPEN)},
        open_by_code=by_code,
        runs=runs,
    )
