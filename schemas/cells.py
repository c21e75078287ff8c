"""Conversion between values of a customer and cells of a CSV file.

A spreadsheet runs cells that begin with certain signs as formulas. Such cells are written with an apostrophe in front
(see OWASP, CSV Injection), and so are cells that begin with an apostrophe. Reading removes exactly one, so that every
value is read back unchanged. A spreadsheet's own guard for leading zeros, `="00123"`, is read as `00123`.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_SIGNS: Final = r"=+\-@＝＋－＠﹦﹢﹣﹫−"
_INVISIBLE: Final = (
    r"\p{Cf}\p{Cc}\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{3164}\x{fe00}-\x{fe0f}\x{ffa0}"
)
_RUNS: Final = rf"[{_INVISIBLE}]*[{_SIGNS}]|[\t\r\n]"
_NUMBER: Final = r"^[+-]?[0-9][0-9 .,]*$"
_TO_GUARD: Final = rf"^(?:{_RUNS}|')"
GUARD: Final = rf"^'({_RUNS}|')"
"""A guarded cell, in the syntax of RE2; the first group is what follows the guard."""
WRAPPED: Final = r'(?s)^="((?:[^"]|"")*)"$'
"""Text written as a formula, as spreadsheets export it; the first group is the text with doubled quotes."""


def guarded(column: pl.Expr) -> pl.Expr:
    """Return text as cells that no spreadsheet runs. Numbers and phone numbers need no guard."""
    guard = column.str.contains(_TO_GUARD) & ~column.str.contains(_NUMBER)
    return pl.when(guard).then(pl.lit("'") + column).otherwise(column).name.keep()


def unguarded(values: pl.Series) -> pl.Series:
    """Remove one guard from each guarded cell."""
    formula = values.str.starts_with('="').arg_true()
    # Of a guard before a formula, only the guard is removed.
    plain = values.str.replace(GUARD, "${1}") if values.str.starts_with("'").any() else values
    if formula.is_empty():
        return plain
    cells = values.gather(formula)
    inner = cells.str.extract(WRAPPED).str.replace_all('""', '"', literal=True)
    return plain.clone().scatter(formula, inner.zip_with(inner.is_not_null(), cells))


def misread(schema: pl.Schema) -> pl.Expr:
    """Return the number of records with text that would be read back differently if written without guards."""
    texts = [pl.col(name) for name, dtype in schema.items() if dtype == pl.String]
    return pl.any_horizontal(text.str.starts_with("'") | text.str.contains(WRAPPED) for text in texts).sum()


def written(schema: pl.Schema, *, raw: bool = False) -> list[pl.Expr]:
    """Return expressions for the columns that are converted before writing: text with guards (unless `raw`), instants
    as ISO 8601 with Z, lists as JSON.
    """
    # By type, since a wide table has thousands of texts, and a name such as `^a.*$` would be treated as a pattern.
    texts = pl.String in schema.dtypes() and not raw
    others = [expression for name, dtype in schema.items() for expression in _written(name, dtype)]
    return [*([guarded(pl.col(pl.String))] if texts else []), *others]


def as_csv(frame: pl.LazyFrame, *, raw: bool = False) -> pl.LazyFrame:
    """Return a frame in the form of CSV: values as `written` converts them, and names with guards (unless `raw`)."""
    schema = frame.collect_schema()
    names = pl.DataFrame({"name": schema.names()}, schema={"name": pl.String})
    shown = names["name"] if raw else names.select(guarded(pl.col("name"))).to_series()
    return frame.with_columns(written(schema, raw=raw)).rename(dict(zip(names["name"], shown, strict=True)))


def _written(name: str, dtype: pl.DataType) -> list[pl.Expr]:
    column = pl.col(name)
    if isinstance(dtype, pl.List):
        encoded = pl.struct(column).struct.json_encode().str.slice(len(name) + 4).str.head(-1)
        return [pl.when(column.is_not_null()).then(encoded).alias(name)]
    if isinstance(dtype, pl.Datetime):
        return [column.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")]
    return []
