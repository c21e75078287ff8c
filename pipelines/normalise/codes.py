"""Normalise codes: a known spelling becomes its code, an unknown one is kept for validation to report."""

from __future__ import annotations

from functools import cache

import polars as pl

from tranship.pipelines.normalise.series import VALUE, ByDistinctValue, blank_to_null, evaluate
from tranship.pipelines.normalise.text import WHITE_SPACE, upper
from tranship.schemas import codes


def _look_up(folded: pl.Expr, table: pl.DataFrame) -> pl.Expr:
    spelling, code = table.columns
    return folded.replace_strict(table[spelling], table[code], default=None, return_dtype=pl.String)


@ByDistinctValue
def country(values: pl.Series) -> pl.Series:
    """Return ISO 3166-1 alpha-2 codes; a code or an English name in any case is recognised."""
    plain = VALUE.str.normalize("NFC").str.replace_all(WHITE_SPACE, " ").str.strip_chars()
    code = _look_up(plain.str.to_uppercase(), codes.countries())
    return evaluate(values, pl.coalesce(code, blank_to_null(plain)))


@ByDistinctValue
def currency(values: pl.Series) -> pl.Series:
    """Return codes in upper case."""
    return upper(values)


@ByDistinctValue
def timezone(values: pl.Series) -> pl.Series:
    """Return names of IANA time zones in their official spelling."""
    plain = VALUE.str.strip_chars()
    name = _look_up(plain.str.to_lowercase(), codes.timezones())
    return evaluate(values, pl.coalesce(name, blank_to_null(plain)))


@ByDistinctValue
def language(values: pl.Series) -> pl.Series:
    """Return BCP 47 tags: shortest code of the language in lower case, Script, REGION. English names are recognised."""
    return pl.Series([_language(value) for value in values], dtype=pl.String)


@cache
def _language_synonyms() -> dict[str, str]:
    return dict(codes.languages().iter_rows())


def _language(value: str) -> str | None:
    words = _language_synonyms()
    plain = " ".join(value.split())
    if known := words.get(plain.lower()):
        return known
    parts = plain.replace("_", "-").split("-")
    parts[0] = words.get(parts[0].lower(), parts[0].lower())
    private = False
    for index, part in enumerate(parts[1:], 1):
        in_extension = private or any(len(before) == 1 for before in parts[:index])
        if not in_extension and len(part) == 2 and part.isalpha():
            parts[index] = part.upper()
        elif not in_extension and len(part) == 4 and part.isalpha():
            parts[index] = part.title()
        else:
            parts[index] = part.lower()
    return "-".join(parts) or None


@ByDistinctValue
def status(values: pl.Series) -> pl.Series:
    """Return one of the five statuses, using the synonyms in `schemas.codes.STATUS_WORDS`."""
    plain = VALUE.str.strip_chars()
    folded = plain.str.to_lowercase().str.replace_all(r"[ _-]+", "_")
    word = folded.replace_strict(codes.STATUS_WORDS, default=None, return_dtype=pl.String)
    return evaluate(values, pl.coalesce(word, blank_to_null(plain)))


@ByDistinctValue
def customer_type(values: pl.Series) -> pl.Series:
    """Return codes in upper case."""
    return upper(values)


def net_terms(values: pl.Series) -> pl.Series:
    """Return days as i32; `30`, `30.0` and `30,00` are recognised."""
    return _day_count(values).cast(pl.Int32)


@ByDistinctValue
def _day_count(values: pl.Series) -> pl.Series:
    plain = VALUE.str.strip_chars()
    return evaluate(values, plain.str.extract(r"^([+-]?[0-9]{1,9})(?:[.,]0{1,2})?$").str.strip_prefix("+"))
