"""Operations that process only the rows, or the distinct values, of a column that need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from tranship.schemas.constant import constant

VALUE: Final = pl.col("v")


def replace_where(values: pl.Series, where: pl.Series, repair: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Return the column with `repair` applied to the rows where the mask is true."""
    rows = where.arg_true()
    return values if rows.is_empty() else values.clone().scatter(rows, repair(values.gather(rows)))


def fill_where(
    result: pl.Series, texts: pl.Series, where: pl.Series, convert: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    """Return `result` with the converted texts in the rows where the mask is true."""
    rows = where.arg_true()
    return result if rows.is_empty() else result.clone().scatter(rows, convert(texts.gather(rows)))


def with_rows(values: pl.Series, rows: pl.Series, replaced: pl.Series) -> pl.Series:
    """Return the column with other values in these rows; for lists, which polars cannot scatter."""
    positions = pl.int_range(len(values), dtype=pl.UInt32, eager=True)
    others = pl.int_range(len(values), len(values) + len(rows), dtype=pl.UInt32, eager=True)
    return pl.concat([values, replaced]).gather(positions.scatter(rows, others))


class ByDistinctValue:
    """A normaliser that is applied once to each distinct value, also across batches."""

    _MAX_VALUES: Final = 10_000
    """Number of distinct values remembered; a column with more is not a column of codes."""

    def __init__(self, normaliser: Callable[[pl.Series], pl.Series]) -> None:
        self._normaliser = normaliser
        self._known = (null_text(0), null_text(0))

    def __call__(self, values: pl.Series) -> pl.Series:
        """Normalise a column; null stays null."""
        # Shared by threads: `_known` is read once and replaced as a whole.
        raw, clean = self._known
        positions = _positions(values, raw)
        if positions.null_count() > values.null_count():
            new = values.filter(positions.is_null()).drop_nulls().unique()
            raw, clean = pl.concat([raw, new]), pl.concat([clean, self._normaliser(new)])
            if len(raw) <= self._MAX_VALUES:
                self._known = (raw, clean)
            positions = _positions(values, raw)
        return clean.gather(positions)


def _positions(values: pl.Series, among: pl.Series) -> pl.Series:
    """Return the position of each value in `among`, null if it does not occur."""
    # A cast to an enum is a look-up in a hash table, half the work of `replace_strict`, which joins.
    return values.cast(pl.Enum(among), strict=False).to_physical()


def null_text(count: int) -> pl.Series:
    """Return a text column of nulls."""
    return constant(None, count, pl.String)


def blank_to_null(values: pl.Expr) -> pl.Expr:
    """Replace empty text by null."""
    return pl.when(values != "").then(values)


def evaluate(values: pl.Series, expression: pl.Expr) -> pl.Series:
    """Evaluate an expression over VALUE for a column."""
    return values.alias("v").to_frame().select(expression).to_series()
