"""Lines that could not be cut into values, corrected by a person: each is read again as a record of its file, by the
connector of the file and in the dialect that was detected then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Reading
from tranship.schemas.faults import sentence

NO_TEXT: Final = "its line cannot be read again by itself. Fill in the columns instead"
SEVERAL: Final = "its _text is not exactly one record"
OPEN_QUOTE: Final = "in its _text, a quote is opened and not closed, or the other way round"


def parsed(run: RunDirectory, texts: pl.DataFrame, own: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records in these texts (`_line`, `_source`, `_text`): `_line` and the columns of the source; and those
    that still cannot be read: `_line`, `reason`.
    """
    formats: Mapping[str, Mapping[str, Any]] = run.manifest.get("texts", {})
    good = [pl.DataFrame(schema={"_line": pl.UInt64, **dict.fromkeys(own, pl.String)})]
    bad = [pl.DataFrame(schema={"_line": pl.UInt64, "reason": pl.String})]
    for (name,), of_file in texts.partition_by("_source", as_dict=True).items():
        known = formats.get(str(name))
        if known is None:
            bad.append(_reason(of_file, NO_TEXT))
            continue
        records, failed = _read(of_file, known)
        good.append(records.select(name for name in records.columns if name == "_line" or name in own))
        bad.append(failed)
    return pl.concat(good, how="diagonal_relaxed"), pl.concat(bad)


def _read(texts: pl.DataFrame, known: Mapping[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the texts of one file together, each from a line of its own."""
    is_csv = known["suffix"] == ".csv"
    quote, delimiter = known.get("quote", '"'), known.get("delimiter", ",")
    text = pl.col("_text").str.replace_all("\r\n?", "\n").str.strip_chars("\n")
    if not is_csv:
        text = text.str.replace_all("\n", " ", literal=True)
    # With an open quote, a text would continue in the next one.
    open_quote = (text.str.count_matches(quote, literal=True) % 2 == 1) & pl.lit(is_csv)
    texts = texts.with_columns(text.alias("_text"), open_quote.alias("open"))
    failed = _reason(texts.filter("open"), OPEN_QUOTE)
    texts = texts.filter(~pl.col("open"))
    if texts.is_empty():
        return pl.DataFrame(schema={"_line": pl.UInt64}), failed
    header = delimiter.join(quote + name.replace(quote, quote * 2) + quote for name in known["columns"])
    options = {"delimiter": delimiter, "quote": quote, "encoding": "utf-8", "header_line": 1} if is_csv else {}
    content = "\n".join([*([header] if is_csv else []), *texts["_text"], ""])
    heights = texts["_text"].str.count_matches("\n", literal=True) + 1
    first = 1 + is_csv * (1 + header.count("\n"))
    at = (heights.cum_sum() - heights + first).cast(pl.UInt64)
    with tempfile.TemporaryDirectory(prefix="tranship-") as folder:
        file = Path(folder) / f"lines{known['suffix']}"
        file.write_text(content, encoding="utf-8", newline="")
        try:
            records, broken = _records(file, options)
        except ConfigError:  # no line of them is a record
            return pl.DataFrame(schema={"_line": pl.UInt64}), pl.concat([failed, _reason(texts, SEVERAL)])
    placed = texts.select("_line", at=at)
    starts = pl.concat([records.select("at"), broken.select("at")]).sort("at")
    inside = starts.join_asof(placed.with_columns(start="at"), on="at", strategy="backward")
    single = inside.filter(pl.len().over("start") == 1).select("_line", "at")
    good = single.join(records, on="at", how="inner").drop("at")
    unread = single.join(broken, on="at", how="inner").select("_line", "reason")
    settled = pl.concat([good["_line"], unread["_line"]])
    rest = _reason(placed.filter(~pl.col("_line").is_in(settled.implode())), SEVERAL)
    return good, pl.concat([failed, unread, rest])


def _reason(texts: pl.DataFrame, reason: str) -> pl.DataFrame:
    return texts.select("_line", reason=pl.lit(reason))


def _records(file: Path, options: Mapping[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of a file as text, with their line `at`, and its broken lines: `at`, `reason`."""
    reading = Reading.model_validate({"source": str(file), **options})
    with closing(endpoints.open_source(reading)) as source:
        batches = [part.read() for part in source.parts(file.parent)]
    frames = [
        pl.DataFrame([batch.lines.cast(pl.UInt64).alias("at"), *(as_text(column) for column in batch.records)])
        for batch in batches
    ]
    records = pl.concat([pl.DataFrame(schema={"at": pl.UInt64}), *frames], how="diagonal_relaxed")
    lost = [batch.broken.select(at="line", code="code") for batch in batches]
    broken = pl.concat([pl.DataFrame(schema={"at": pl.UInt64, "code": pl.String}), *lost])
    sentences = {code: f"in its _text, {sentence(code)}" for code in broken["code"].unique()}
    reason = pl.col("code").replace_strict(sentences, return_dtype=pl.String) if sentences else pl.col("code")
    return records, broken.select("at", reason=reason)
