"""Sort the records of a batch: those that are staged, those that are rejected, and the reasons and warnings of each.

One machine and many do this with the same function; they differ in where the results are kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import polars as pl

from tranship.connectors.contract import Batch
from tranship.pipelines.corrections import as_given
from tranship.pipelines.matching import OURS
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas.constant import constant
from tranship.schemas.faults import sentence
from tranship.schemas.secret_columns import secrets

PLACE_BITS: Final = 24
PART_BITS: Final = 18
WARNINGS: Final = {"source": pl.String, "line": pl.UInt64, "code": pl.String, "value": pl.String}
_NO_WARNINGS: Final = pl.DataFrame(schema=WARNINGS)
SET_ASIDE: Final = {"_row": "\0_row"}
"""Columns of a source that would be taken for ours beside its originals → their names there."""
_VALUE_SHOWN: Final = 80
_SAMPLED: Final = 500
_ADDED: Final = {
    **{"_codes": pl.String, "_reasons": pl.String, "_source": pl.String, "_line": pl.UInt64, "_text": pl.String},
}
"""The columns of rejects behind those of the source."""


class Sorted(NamedTuple):
    """The records of a batch by their fate.

    `good` has `_row`, `_source`, `_line`, `_email_blocked` and the columns of `schemas.customer.COLUMNS`; `raw` has the
    originals, as text, of those whose e-mail may turn out to be that of several customers: `_row`, `_source`, `_line`
    and the columns of the source (SET_ASIDE). `rejects` are as in the rejects file; `warnings` (`WARNINGS`) are those
    of good records.
    """

    good: pl.DataFrame
    raw: pl.DataFrame
    rejects: pl.DataFrame
    warnings: pl.DataFrame


def row_numbers(count: int, part: int, file: int = 0) -> pl.Series:
    """Return the numbers of the rows of a part. Numbers of one run differ, and those of later rows are larger: they
    follow from the place alone, so that machines need not agree on them.

    Parts that are numbered over all files of a run need no number of their file.
    """
    first = (file << PART_BITS | part) << PLACE_BITS
    return pl.int_range(first, first + count, dtype=pl.UInt64, eager=True)


def sort_out(batch: Batch, normalised: Normalised | None, reasons: pl.DataFrame, rows: pl.Series) -> Sorted:
    """Sort the records of a batch by the reasons to reject them (`schemas.faults.REASONS`).

    `normalised` is the whole batch, null if it has no records; `rows` are the numbers of its rows.
    """
    found = rejects(batch, reasons)
    if normalised is None:
        nothing = pl.DataFrame()
        return Sorted(nothing, nothing, found, _NO_WARNINGS)
    raw = batch.records
    bad = reasons["at"].unique()
    good_rows = constant(True, raw.height)
    if not bad.is_empty():
        good_rows = good_rows.scatter(bad, False)
    places = pl.DataFrame(
        {
            "_row": rows,
            "_source": constant(batch.source, raw.height, pl.String),
            "_line": batch.lines,
            "_email_blocked": normalised.email_blocked,
        }
    )
    records = pl.concat([places, normalised.records], how="horizontal")
    records = records if bad.is_empty() else records.filter(good_rows)
    originals = pl.DataFrame()
    alone = good_rows & normalised.records["external_id"].is_null()
    if alone.any():
        alone_places = places.select("_row", "_source", "_line").filter(alone)
        texts = as_texts(raw.filter(alone)).rename(SET_ASIDE, strict=False)
        originals = pl.concat([alone_places, texts], how="horizontal")
    if normalised.warnings.is_empty():
        return Sorted(records, originals, found, _NO_WARNINGS)
    warned = normalised.warnings.filter(~pl.col("at").is_in(bad.implode()))
    warnings = warned.select(
        source=pl.lit(batch.source), line=batch.lines.gather(warned["at"]), code="code", value="value"
    )
    return Sorted(records, originals, found, warnings)


def as_texts(raw: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of the source as text, without those that a rejects file adds."""
    given = as_given(raw).drop(OURS, strict=False)
    return pl.DataFrame([as_text(column).alias(column.name) for column in given])


def sample_of(batch: Batch) -> pl.DataFrame:
    """Return the first records of a batch in the source's spelling, for people, without columns of secrets."""
    first = batch.records.head(_SAMPLED)
    secret = secrets([name for name in first.columns if name not in OURS])
    return as_texts(first.select(name for name in first.columns if name not in secret))


@lru_cache(maxsize=64)
def _no_rejects(columns: tuple[str, ...]) -> pl.DataFrame:
    """Return `rejects` of a batch with these columns and none to reject. For a file of a few records, the expressions
    would take longer than reading it.
    """
    return pl.DataFrame(schema={**dict.fromkeys((name for name in columns if name not in OURS), pl.String), **_ADDED})


def rejects(batch: Batch, reasons: pl.DataFrame) -> pl.DataFrame:
    """Return rejected records and broken lines in the source's columns and spelling, with place and reasons."""
    if reasons.is_empty() and batch.broken.is_empty():
        return _no_rejects(tuple(as_given(batch.records).columns))
    kinds = pl.concat([reasons["code"], batch.broken["code"]]).unique()
    sentences = pl.Series([sentence(code) for code in kinds], dtype=pl.String)
    shown = pl.col("value").str.head(_VALUE_SHOWN)
    each = reasons.with_columns(
        reason=pl.concat_str(
            pl.col("code").replace_strict(kinds, sentences, return_dtype=pl.String),
            pl.when(shown.is_not_null()).then(pl.format(' (found "{}")', shown)).otherwise(pl.lit("")),
        )
    )
    by_record = each.group_by("at", maintain_order=True).agg(
        _codes=pl.col("code").str.join(" "), _reasons=pl.col("reason").str.join("; ")
    )
    at = by_record["at"]
    records = pl.concat(
        [as_texts(batch.records[at]), by_record.select("_codes", "_reasons")], how="horizontal"
    ).with_columns(_source=pl.lit(batch.source), _line=batch.lines.gather(at), _text=pl.lit(None, pl.String))
    broken = batch.broken.select(
        _source=pl.lit(batch.source),
        _line="line",
        _codes="code",
        _reasons=pl.concat_str(
            pl.col("code").replace_strict(kinds, sentences, return_dtype=pl.String),
            pl.when(pl.col("detail") != "").then(pl.format(" ({})", "detail")).otherwise(pl.lit("")),
        ),
        _text="text",
    )
    return pl.concat([records, broken], how="diagonal").sort("_line")
