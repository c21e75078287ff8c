"""Normalise phone numbers to E.164."""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from tranship.pipelines.normalise.series import VALUE, constant, evaluate, fill_where, null_text, replace_where
from tranship.pipelines.normalise.text import trimmed
from tranship.schemas import codes


def phone(values: pl.Series, countries: pl.Series | None) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Return E.164 where the number can be parsed, else the trimmed text; a mask of those that could not; and a mask of
    those from which an extension or a further number was left out.

    An international number (`+` or `00`) needs a known calling code and a possible length after it; a national one
    needs the record's country (alpha-2) and a possible length there, without its trunk prefix. A label (`tel:`,
    `Mobile:`) is not part of a number.
    """
    number, shortened = values, constant(False, len(values))
    worded = values.str.contains(_WORDED).arg_true()
    if not worded.is_empty():
        parts = values.gather(worded).str.extract_groups(_PARTS).struct.unnest()
        first, rest = parts.get_columns()
        number = number.clone().scatter(worded, first)
        shortened = shortened.scatter(worded, (rest != "").fill_null(value=False))
    number = replace_where(number, number.str.contains(r"[^+0-9]"), _strip_grouping)
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
    unread = pl.zeros(len(read), dtype=pl.Boolean, eager=True).scatter(rows, kept.is_not_null())
    return read.scatter(rows, kept), unread, shortened


# Facebook and QuickBooks write labels, most systems extensions, Google several numbers in one cell.
_WORDED: Final = r"[A-Za-z:;,#|]"

_LABEL: Final = r"(?:p|tel|telephone|phone|mobile|mob|cell|work|home|office|main|fon|telefon|mobil|handy)"

_EXTENSION: Final = r"(?:ext(?:ension|n)?|x|durchwahl|dw|app|poste|#)"

_PARTS: Final = (
    rf"(?i)^\s*(?:{_LABEL}\s*[.:]+\s*)?([+0-9().\-/\s]*[0-9][0-9().\-/\s]*?)\s*"
    rf"((?:[,;]?\s*{_EXTENSION}\s*[.:=]?\s*[0-9]{{1,6}}|(?:[,;|]|:::|{_LABEL}\s*[.:]+)\s*[+0-9(].*)?)\s*$"
)


def _strip_grouping(numbers: pl.Series) -> pl.Series:
    """Remove white space and the signs that group digits. The zero in +49 (0)30 is not dialled; elsewhere a bracketed
    zero is an ordinary digit.
    """
    undialled = numbers.str.contains("(0)", literal=True)
    plain = replace_where(numbers, undialled, lambda part: part.str.replace(r"^(\s*(?:\+|00).*?)\(0\)", "${1}"))
    return plain.str.replace_all(r"[\s().\-/]+", "")


@cache
def _calling_codes() -> tuple[pl.Series, pl.Series]:
    """Return, for the first three digits of an international number (0 to 999), the number of digits of its calling
    code and the mask of possible lengths after it; 0 where there is none.
    """
    table = pl.DataFrame({"prefix": range(1000)}).join(
        codes.phone_prefixes().select(
            pl.col("prefix").cast(pl.Int64), pl.col("calling_code").str.len_bytes(), "lengths"
        ),
        on="prefix",
        how="left",
        maintain_order="left",
    )
    return table["calling_code"].fill_null(0).cast(pl.Int64), table["lengths"].fill_null(0)


def _international(numbers: pl.Series) -> pl.Series:
    digits = evaluate(
        numbers, pl.when(VALUE.str.starts_with("+")).then(VALUE.str.slice(1)).otherwise(VALUE.str.slice(2))
    )
    prefix = digits.str.slice(0, 3).cast(pl.Int64, strict=False).fill_null(0)
    code_digits, lengths = _calling_codes()
    frame = pl.DataFrame(
        {"digits": digits, "lengths": lengths.gather(prefix), "code_digits": code_digits.gather(prefix)}
    )
    length = pl.col("digits").str.len_bytes().cast(pl.Int64)
    possible = _has_length(pl.col("lengths"), length - pl.col("code_digits")) & length.is_between(4, 15)
    return frame.select(pl.when(possible).then(pl.concat_str(pl.lit("+"), "digits"))).to_series()


def _national(numbers: pl.Series, countries: pl.Series) -> pl.Series:
    """Parse national numbers. The trunk prefix is removed if a possible length remains; otherwise it is a digit. A
    number too long for a national one that begins with its country's calling code is taken to include it.
    """
    frame = pl.DataFrame({"digits": numbers, "country": countries}).join(
        codes.phone_regions(), on="country", how="left", maintain_order="left"
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

    return frame.select(
        pl.when(has_trunk & _has_length(pl.col("lengths"), bare.str.len_bytes()))
        .then(e164(bare))
        .when(has_code)
        .then(pl.concat_str(pl.lit("+"), "digits"))
        .when(_has_length(pl.col("lengths"), pl.col("digits").str.len_bytes()))
        .then(e164(pl.col("digits")))
    ).to_series()


def _has_length(lengths: pl.Expr, digits: pl.Expr) -> pl.Expr:
    """Return whether bit `digits` of the mask `lengths` is set."""
    length = digits.cast(pl.Int64).clip(0, 31)
    return (lengths.cast(pl.Int64) // pl.lit(2, pl.Int64).pow(length)) % 2 == 1
