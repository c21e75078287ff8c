"""The findings of a run on an engine, for people: fetched in the order of reading, piece by piece, into the files that
a run on one machine has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from pyspark.sql import functions as fn

from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.identity import AMBIGUOUS, MERGED, Decisions
from tranship.pipelines.distributed.stage_rows import GOOD, REJECT, WARNING
from tranship.pipelines.identify import CONFLICT, MERGES
from tranship.pipelines.identity_step import AMBIGUOUS as AMBIGUOUS_EMAIL
from tranship.pipelines.identity_step import NO_MERGES
from tranship.pipelines.matching import OURS
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.sort_out import PLACE_BITS, SET_ASIDE, WARNINGS
from tranship.pipelines.stage_files import Pieces

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

AT_ONCE: Final = 200_000
"""About as many rows are fetched at once."""
FILES: Final = tuple(f"{folder}/000000.parquet" for folder in ("rejected", "warned", "raw"))
"""The files that are written, beside those of identity on one machine."""
_UNSIGNED: Final = pl.col("^(_|.*_|)line$").cast(pl.UInt64)
_FOUND: Final = {
    "email.shared": ("shared", "first_shared"),
    "external_id.lookalike": ("alike", "first_alike"),
    CONFLICT: ("conflicts", "first_conflict"),
}
"""Code of a warning → its names in the manifest."""


def in_order(table: DataFrame, by: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table by their number, in frames of limited size."""
    head = pl.DataFrame(table.limit(AT_ONCE + 1).toArrow())
    if head.height <= AT_ONCE:
        yield head.sort(by)
        return
    counts = pl.DataFrame(table.groupBy(fn.shiftright(by, PLACE_BITS).alias("part")).count().toArrow()).sort("part")
    starts = counts.with_columns(piece=pl.col("count").cum_sum() // AT_ONCE)
    pieces = starts.group_by("piece").agg(first=pl.col("part").min(), last=pl.col("part").max()).sort("piece")
    for first, last in pieces.select("first", "last").iter_rows():
        piece = table.where(fn.col(by).between(first << PLACE_BITS, ((last + 1) << PLACE_BITS) - 1))
        yield pl.DataFrame(piece.toArrow()).sort(by)


def write_stage_findings(
    run: RunContext, stage: DataFrame, columns: Sequence[str], columns_of_rejects: Collection[str]
) -> None:
    """Write the rejects and warnings of the stage. `columns` are those of the source; of these, the files with rejects
    have `columns_of_rejects`.
    """
    path = run.directory.path
    own = own_columns(columns, columns_of_rejects)
    rejects = stage.where(fn.col("_kind") == REJECT).select(*own, "_row", *OURS)
    with Pieces(path / "rejected" / "000000.parquet") as pieces:
        for frame in in_order(rejects, "_row"):
            pieces.add(frame.drop("_row").rename(own).with_columns(_UNSIGNED))
    warned = stage.where(fn.col("_kind") == WARNING).select("_row", "_source", "_line", "code", "value")
    with Pieces(path / "warned" / "000000.parquet") as pieces:
        for frame in in_order(warned, "_row"):
            named = frame.rename({"_source": "source", "_line": "line"})
            pieces.add(named.select(pl.col(name).cast(kind) for name, kind in WARNINGS.items()))


def write_identity(
    run: RunContext, stage: DataFrame, decisions: Decisions, originals: Mapping[str, str]
) -> dict[str, Any]:
    """Write merges, rejects and warnings of identity, and return the result of the step as the manifest keeps it.
    `originals` are the columns of records without an id (`own_columns`).
    """
    path = run.directory.path
    verdicts = decisions.verdicts
    merges = Counter(NO_MERGES)
    of_merges = verdicts.where(fn.col("fate") == MERGED).withColumnsRenamed(
        {"source": "loser_source", "line": "loser_line"}
    )
    with Pieces(path / "merges.parquet", MERGES) as pieces:
        for frame in in_order(of_merges.select("row", *MERGES), "row"):
            pieces.add(frame.select(pl.col(name).cast(kind) for name, kind in MERGES.items()))
            merges.update(dict(frame["rule"].value_counts().iter_rows()))
    found = _write_warnings(run, decisions)
    ambiguous = verdicts.where(fn.col("fate") == AMBIGUOUS).select(fn.col("row").alias("_row"))
    rows = write_originals(path, "000000", stage, ambiguous, originals)
    return {
        **{"merges": dict(merges), **found, "ambiguous": len(rows)},
        "first_ambiguous": run.findings.reject_identity("run", rows, AMBIGUOUS_EMAIL),
        "retracted": run.findings.retract_warnings("run", rows),
    }


def _write_warnings(run: RunContext, decisions: Decisions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code, (name, first) in _FOUND.items():
        with run.findings.warnings(name) as pieces:
            for frame in in_order(decisions.findings.where(fn.col("code") == code), "row"):
                warned = frame.select(pl.col(column).cast(kind) for column, kind in WARNINGS.items())
                found[first] = found.get(first) or next(warned.select("source", "line").iter_rows(), None)
                pieces.add(warned)
            found[name] = pieces.count
    return found


def write_originals(
    path: Path, name: str, stage: DataFrame, rows: DataFrame, originals: Mapping[str, str]
) -> pl.Series:
    """Write the originals of staged records, which are rejected after all, and return their numbers."""
    table = stage.where(fn.col("_kind") == GOOD).join(rows, "_row", "left_semi")
    numbers = [pl.Series([], dtype=pl.UInt64)]
    with Pieces(path / "raw" / f"{name}.parquet") as pieces:
        for frame in in_order(table.select("_row", "_source", "_line", *originals), "_row"):
            aside = {name: SET_ASIDE.get(column, column) for name, column in originals.items()}
            piece = frame.with_columns(pl.col("_row", "_line").cast(pl.UInt64)).rename(aside)
            numbers.append(piece["_row"])
            pieces.add(piece)
    return pl.concat(numbers)


def own_columns(columns: Sequence[str], among: Collection[str]) -> dict[str, str]:
    """Return name in the stage → column of the source."""
    names = zip(stage_rows.raw_names(len(columns)), columns, strict=True)
    return {name: column for name, column in names if column in among and column not in OURS}
