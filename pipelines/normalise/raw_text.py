"""Convert raw columns of any type to the text that fields are read from."""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.pipelines.normalise import listed
from tranship.pipelines.normalise.metadata import encode_pairs
from tranship.pipelines.normalise.series import VALUE, evaluate, replace_where
from tranship.schemas.constant import constant
from tranship.schemas.customer import INSTANTS


def as_text(values: pl.Series) -> pl.Series:
    """Return a column of any type as text: whole floats without `.0`, NaN as null, infinite floats as `Infinity` and
    `-Infinity`, instants and durations as ISO 8601, nested values as JSON.
    """
    dtype = values.dtype
    if dtype == pl.String:
        return values
    if dtype.is_float():
        whole = VALUE.cast(pl.Int64, strict=False)
        infinite = pl.when(VALUE > 0).then(pl.lit("Infinity")).otherwise(pl.lit("-Infinity"))
        return evaluate(
            values,
            pl.when(VALUE.is_infinite())
            .then(infinite)
            .when(whole.cast(dtype) == VALUE)
            .then(whole.cast(pl.String))
            .when(VALUE.is_not_nan())
            .then(VALUE.cast(pl.String)),
        )
    if dtype.is_nested():
        return encode_pairs(values, "v").str.strip_prefix('"v":')
    if isinstance(dtype, pl.Datetime):
        aware = values.dt.convert_time_zone("UTC") if dtype.time_zone else values
        return aware.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("Z" if dtype.time_zone else ""))
    if isinstance(dtype, pl.Duration):
        return values.dt.to_string("iso")
    return values.cast(pl.String, strict=False)


def text_of_field(values: pl.Series, field: str) -> pl.Series:
    """Return the text from which a field is parsed. NaN and infinite floats become the place-holder `NaN` in an id and
    null in other text fields; in a number or an instant, infinite floats are unreadable.
    """
    if not values.dtype.is_float() or field in INSTANTS or field == "net_terms":
        text = as_text(values)
        if field == "language":  # `["en", "de"]`, the preferred one first
            return text.str.replace(r'^\["([^"\\]+)".*\]$', "${1}")
        if field not in _LISTED:
            return text
        is_list = text.str.contains(r"^\s*(?:\[|\{\s*\")").fill_null(value=False)
        return replace_where(text, is_list, _LISTED[field])
    text = as_text(evaluate(values, pl.when(VALUE.is_finite()).then(VALUE)))
    return (
        replace_where(text, ~values.is_finite(), lambda part: constant("NaN", len(part)))
        if field == "external_id"
        else text
    )


def _emails_of(lists: pl.Series) -> pl.Series:
    """Return the addresses in JSON lists of texts or objects, separated by `;`, the primary one first. A list without
    any is unchanged, unless it is empty.
    """
    return pl.Series([";".join(listed.emails(text)) or _unless_empty(text) for text in lists], dtype=pl.String)


def _phones_of(lists: pl.Series) -> pl.Series:
    """Return the primary number in JSON lists of texts or objects, or else the first one, and one that is left out, if
    there are several. A list without any is unchanged, unless it is empty.
    """
    return pl.Series(["; ".join(listed.phones(text)[:2]) or _unless_empty(text) for text in lists], dtype=pl.String)


def _tax_numbers_of(lists: pl.Series) -> pl.Series:
    """Return the only number in JSON lists of tax numbers. A list with several is unchanged, unless it is empty."""
    return pl.Series([listed.tax_number(text) or _unless_empty(text) for text in lists], dtype=pl.String)


_LISTED: Final = {
    "email": _emails_of,
    "billing_contact_email": _emails_of,
    "phone": _phones_of,
    "tax_id": _tax_numbers_of,
}


def _unless_empty(text: str) -> str | None:
    return None if listed.is_empty(text) else text


def beyond_precision(values: pl.Series) -> pl.Series:
    """Return a mask of the floats too large to represent every whole number, so that an id has lost digits."""
    if not values.dtype.is_float():
        return constant(False, len(values))
    exact = 2**24 if values.dtype == pl.Float32 else 2**53
    return (values.is_finite() & (values.abs() >= exact)).fill_null(value=False)


def with_default(values: pl.Series, default: str | None) -> pl.Series:
    """Replace null and blank values by the default, if there is one."""
    if default is None:
        return values
    blank = values.is_null() | (values.str.strip_chars() == "").fill_null(value=True)
    return pl.select(pl.when(blank).then(pl.lit(default)).otherwise(values)).to_series()
