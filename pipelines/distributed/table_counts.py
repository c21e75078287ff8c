"""The counts of a stage whose records come from a table of the engine: as those of the one part that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from pyspark.sql import functions as fn

from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.stage_rows import GOOD, REJECT, WARNING
from tranship.pipelines.parts import BatchCounts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def counts_of(stage: DataFrame, facts: Mapping[str, pl.DataFrame], source: str) -> BatchCounts:
    """Return the counts of a stage, given its facts by code."""
    nothing = pl.DataFrame(schema={"value": pl.String, "count": pl.Int64})
    by_kind = dict(stage.groupBy("_kind").count().collect())
    rejects = stage.where(fn.col("_kind") == REJECT).select(fn.explode(fn.split("_codes", " ")).alias("code"), *_PLACE)
    rejected = _by_code(rejects)
    warned = _by_code(stage.where(fn.col("_kind") == WARNING).select("code", *_PLACE))
    words = {tuple(json.loads(text)) for text in facts.get(stage_rows.MATCHED, nothing)["value"]}
    return BatchCounts(
        digest="",
        source=source,
        filled=facts.get(stage_rows.FILLED, nothing)["value"].unique().sort().to_list(),
        files={},
        read=facts.get(stage_rows.READ, nothing)["count"].sum(),
        skipped=facts.get(stage_rows.SKIPPED, nothing)["count"].sum(),
        staged=by_kind.get(GOOD, 0),
        rejected=by_kind.get(REJECT, 0),
        by_code={code: count for code, count, _, _ in rejected},
        first={code: (place, line) for code, _, place, line in (*rejected, *warned)},
        warnings={code: count for code, count, _, _ in warned},
        matched=sorted(words),
    )


_PLACE = ("_source", "_line")


def _by_code(rows: DataFrame) -> list[tuple[str, int, str, int]]:
    """Return each code with its count and the place of its first record."""
    found = rows.groupBy("code").agg(fn.count("*").alias("count"), fn.min("_source"), fn.min("_line"))
    return sorted(tuple(row) for row in found.collect())
