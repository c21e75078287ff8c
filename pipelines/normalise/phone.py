"""Normalise phone numbers to E.164."""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from tranship.pipelines.normalise.series import VALUE, evaluate, fill_where, null_text, replace_where
from tranship.pipelines.normalise.text import trimmed
from tranship.schemas import codes
from tranship.schemas.constant import constant


def phone(values: pl.Series, countries: pl.Series | None) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Return E.164 where the number can be parsed, else the trimmed text; a mask of those that could not be parsed; and
    a mask of those from which an extension or a further number was left out.

    An international number (`+` or `00`) needs a known calling code and a possible length after it; a national one
    needs the record's country (alpha-2) and a possible length there, without its trunk prefix. A label (`tel:`,
    `Mobile:`) is not part of a number.
    """
    number, shortened = values, constant(False, len(values))
    grouped = values.str.contains(r"[^+0-9]").arg_true()
    if not grouped.is_empty():
        bare, cut_short = _bare_numbers(values.gather(grouped))
        number, shortened = number.clone().scatter(grouped, bare), shortened.scatter(grouped, cut_short)
    digits = number.str.contains(r"^\+?[0-9]+$").fill_null(value=False)
    abroad = digits & evaluate(number, VALUE.str.starts_with("+") | VALUE.str.starts_with("00"))
    read = fill_where(null_text(len(number)), number, abroad, _international)
    if countries is not None:
        rows = (digits & ~abroad & countries.is_not_null()).arg_true()
        if not rows.is_empty():
            read = read.scatter(rows, _national(number.gather(rows), countries.gather(rows)))
    rows = read.is_null().arg_true()
    kept = trimmed(values.gather(rows))
    shortened &= read.is_not_null()
    unread = constant(False, len(read)).scatter(rows, kept.is_not_null())
    return read.scatter(rows, kept), unread, shortened


# Facebook and QuickBooks write labels, most systems extensions, Google several numbers in one cell.
_WORDED: Final = r"[A-Za-z:;,#|]"

_LABEL: Final = r"(?:p|tel|telephone|phone|mobile|mob|cell|work|home|office|main|fon|telefon|mobil|handy)"

_EXTENSION: Final = (
    r"(?:ext(?:ension|n)?|x|durchwahl|dw|nst|app|poste|interno?|tst|toestel|ankn(?:ytning)?|lokal|wewn?|linka|kl(?:apka)?|"
    r"mell(?:ék)?|#)"
)

_PARTS: Final = (
    rf"(?i)^\s*(?:{_LABEL}\s*[.:]+\s*)?([+0-9().\-/\s]*[0-9][0-9().\-/\s]*?)\s*"
    rf"((?:[,;]?\s*{_EXTENSION}\s*[.:=]?\s*[0-9]{{1,6}}|(?:[,;|]|:::|{_LABEL}\s*[.:]+)\s*[+0-9(].*)?)\s*$"
)


# What is before the sign has more digits than an area code: `030 / 1234567` is one number.
_TWO_NUMBERS: Final = (
    r"(?i)^(\s*(?:[(]?(?:\+|00)(?:[^0-9]*[0-9]){9,}|(?:[^0-9+]*[1-9]|[^0-9+]*0[^0-9]*[1-9])(?:[^0-9]*[0-9]){6,})[)]?)"
    r"(?:\s*/\s*|\s+[-–]\s+|\s+(?:o|e|y|u|ou|et|or|and|oder|und)\s+)[+(]*(?:[0-9][^0-9A-Za-z/]*){7,}$"
)

# White space, and the signs that group digits.
_GROUPING: Final = [
    *" \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f",
    *"\u205f\u3000().-/",
]


def _bare_numbers(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the numbers without labels and grouping, null where the words are unknown; and a mask of those from which
    an extension or a further number was left out.
    """
    several = values.str.contains(_TWO_NUMBERS).fill_null(value=False)
    numbers = replace_where(values, several, lambda part: part.str.replace(_TWO_NUMBERS, "${1}"))
    shortened = several.clone()
    worded = numbers.str.contains(_WORDED).arg_true()
    if not worded.is_empty():
        first, rest = numbers.gather(worded).str.extract_groups(_PARTS).struct.unnest().get_columns()
        numbers = numbers.clone().scatter(worded, first)
        shortened = shortened.scatter(worded, (rest != "").fill_null(value=False) | several.gather(worded))
    # The zero in +49 (0)30 is not dialled; elsewhere a bracketed zero is an ordinary digit.
    undialled = numbers.str.contains("(0)", literal=True)
    dialled = replace_where(numbers, undialled, lambda part: part.str.replace(r"^(\s*(?:\+|00).*?)\(0\)", "${1}"))
    return dialled.str.replace_many(_GROUPING, [""]), shortened


_MOST_DIGITS: Final = 31
"""Longer numbers are looked up as if they had this number of digits, which is never possible."""


@cache
def _possible_numbers() -> pl.Series:
    """Return whether a number is possible: at 32 times its first three digits, plus the number of its digits."""
    table = (
        pl.DataFrame({"prefix": range(1000)})
        .join(
            codes.phone_prefixes().select(
                pl.col("prefix").cast(pl.Int64), pl.col("calling_code").str.len_bytes().cast(pl.Int64), "lengths"
            ),
            on="prefix",
            how="left",
            maintain_order="left",
        )
        .join(pl.DataFrame({"digits": range(_MOST_DIGITS + 1)}), how="cross", maintain_order="left_right")
    )
    length = pl.col("digits").cast(pl.Int64)
    possible = _has_length(pl.col("lengths"), length - pl.col("calling_code")) & length.is_between(4, 15)
    return table.select(possible.fill_null(value=False)).to_series()


def _international(numbers: pl.Series) -> pl.Series:
    """Parse numbers that begin with `+` or `00`."""
    numbers = replace_where(numbers, numbers.str.starts_with("00"), lambda part: "+" + part.str.slice(2))
    prefix = VALUE.str.slice(1, 3).cast(pl.Int64, strict=False).fill_null(0)
    digits = (VALUE.str.len_bytes() - 1).clip(upper_bound=_MOST_DIGITS)
    possible = _possible_numbers().gather(evaluate(numbers, prefix * (_MOST_DIGITS + 1) + digits))
    return replace_where(numbers, ~possible, lambda part: null_text(len(part)))


def _national(numbers: pl.Series, countries: pl.Series) -> pl.Series:
    """Parse national numbers. The trunk prefix is removed if a possible length remains; otherwise it is a digit. A
    number that is too long for a national one and begins with its country's calling code is assumed to include it.
    """
    # Lazily, so that polars evaluates the common parts of the branches once.
    frame = pl.LazyFrame({"digits": numbers, "country": countries}).join(
        codes.phone_regions().lazy(), on="country", how="left", maintain_order="left"
    )
    has_trunk = (pl.col("trunk") != "") & pl.col("digits").str.starts_with(pl.col("trunk"))
    bare = pl.col("digits").str.slice(pl.col("trunk").str.len_bytes())
    length, code = pl.col("digits").str.len_bytes(), pl.col("calling_code")
    has_code = (
        pl.col("digits").str.starts_with(code)
        & _has_length(pl.col("lengths"), length.cast(pl.Int64) - code.str.len_bytes())
        & (~_has_length(pl.col("lengths"), length) | (length > pl.col("longest")))
        & (length <= 15)
    )

    def e164(digits: pl.Expr) -> pl.Expr:
        return pl.concat_str(pl.lit("+"), "calling_code", digits)

    read = (
        pl.when(has_trunk & _has_length(pl.col("lengths"), bare.str.len_bytes()))
        .then(e164(bare))
        .when(has_code)
        .then(pl.concat_str(pl.lit("+"), "digits"))
        .when(_has_length(pl.col("lengths"), pl.col("digits").str.len_bytes()))
        .then(e164(pl.col("digits")))
    )
    return frame.select(read).collect().to_series()


def _has_length(lengths: pl.Expr, digits: pl.Expr) -> pl.Expr:
    """Return whether bit `digits` of the mask `lengths` is set."""
    length = digits.cast(pl.Int64).clip(0, 31)
    return (lengths.cast(pl.Int64) // pl.lit(2, pl.Int64).pow(length)) % 2 == 1
