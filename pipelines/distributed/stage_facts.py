"""What the tasks of a stage have found, beside its records: counts, notes, and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl
from msgspec import Struct
from pyspark.sql import functions as fn

from tranship.connectors import errors
from tranship.connectors.errors import ConfigError, Malformed, Undecided
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.file_task import first_row
from tranship.pipelines.distributed.identity import BY_PLACE, BY_ROW
from tranship.pipelines.distributed.stage_rows import FACT, GOOD, REJECT, WARNING
from tranship.pipelines.parts import BatchCounts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PLACE: Final = ("_source", "_line")


class StageFacts(Struct, frozen=True):
    """The counts of each part, the columns of the files that have rejects, and of those that have records without an
    id, the notes on all files, and what decides between records of the same time (`identity.BY_ROW`).
    """

    parts: list[BatchCounts]
    columns_of_rejects: frozenset[str]
    columns_of_alone: frozenset[str]
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = BY_ROW


def of_stage(stage: DataFrame, columns: Sequence[str], source: str, files: int | None) -> StageFacts:
    """Return the facts of a stage with these columns of the source. `files` is the number of files, 0 for a table, null
    if it is not to be checked.

    Raises the first error of a task, and Malformed if a part of a file is lost or doubled.
    """
    facts = stage.where(fn.col("_kind") == FACT).select("_row", "code", "value", "count")
    rows = pl.DataFrame(facts.toArrow()).sort("_row")
    by_code = {str(code): frame for (code,), frame in rows.partition_by("code", as_dict=True).items()}
    of_code = {code: by_code.get(code, rows.clear()) for code in stage_rows.FACTS}
    for text in of_code[stage_rows.FAILED]["value"]:
        name, message = json.loads(text)
        raise getattr(errors, name, ConfigError).combined([message])
    for message in of_code[stage_rows.UNDECIDED]["value"]:
        raise Undecided.combined([message])
    if files or of_code[stage_rows.FILE].height:
        return _of_files(of_code, files)
    every = frozenset(columns)
    return StageFacts([_of_table(stage, of_code, source)], every, every, order=BY_PLACE)


def _of_files(of_code: Mapping[str, pl.DataFrame], files: int | None) -> StageFacts:
    of_files = [json.loads(text) for text in of_code[stage_rows.FILE]["value"]]
    counted = of_code[stage_rows.PART]
    expected = [first_row(at, part) for at, (count, *_) in enumerate(of_files) for part in range(count)]
    if counted["_row"].to_list() != expected or (files is not None and len(of_files) != files):
        raise Malformed("The engine has lost or repeated a part of the source. Run the same command again.")
    columns = {name: own for _, _, name, own in of_files}
    of_parts: list[tuple[BatchCounts, bool]] = [
        (msgspec.convert(counts, BatchCounts), has_alone) for counts, has_alone in map(json.loads, counted["value"])
    ]
    return StageFacts(
        [part for part, _ in of_parts],
        frozenset(column for part, _ in of_parts if part.rejected for column in columns[part.source]),
        frozenset(column for part, has_alone in of_parts if has_alone for column in columns[part.source]),
        tuple(note for _, notes, *_ in of_files for note in notes),
    )


def _of_table(stage: DataFrame, of_code: Mapping[str, pl.DataFrame], source: str) -> BatchCounts:
    """Return the counts of a table as those of one part."""
    by_kind: dict[str, int] = dict(stage.groupBy("_kind").count().collect())
    codes = fn.explode(fn.split("_codes", " ")).alias("code")
    rejected = _by_code(stage.where(fn.col("_kind") == REJECT).select(codes, *_PLACE))
    warned = _by_code(stage.where(fn.col("_kind") == WARNING).select("code", *_PLACE))
    words: set[tuple[str, str]] = {tuple(json.loads(text)) for text in of_code[stage_rows.MATCHED]["value"]}
    corrected = of_code[stage_rows.CORRECTED].group_by("value").agg(pl.col("count").sum())
    return BatchCounts(
        digest="",
        source=source,
        filled=of_code[stage_rows.FILLED]["value"].unique().sort().to_list(),
        files={},
        read=int(of_code[stage_rows.READ]["count"].sum()),
        skipped=int(of_code[stage_rows.SKIPPED]["count"].sum()),
        staged=by_kind.get(GOOD, 0),
        rejected=by_kind.get(REJECT, 0),
        by_code={code: count for code, count, _, _ in rejected},
        first={code: (place, line) for code, _, place, line in (*rejected, *warned)},
        warnings={code: count for code, count, _, _ in warned},
        matched=sorted(words),
        corrected={rule: int(count) for rule, count in corrected.iter_rows()},
    )


def _by_code(rows: DataFrame) -> list[Any]:
    """Return each code with its count and the place of its first record."""
    found = rows.groupBy("code").agg(fn.count("*").alias("count"), *(fn.min(name).alias(name) for name in _PLACE))
    return sorted(tuple(row) for row in found.collect())
