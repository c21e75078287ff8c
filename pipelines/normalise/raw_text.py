"""Convert raw columns of any type to the text that fields are read from."""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.pipelines.normalise.metadata import encode_pairs
from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate, replace_where
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
        if field not in ("email", "billing_contact_email", "phone"):
            return text
        listed = text.str.starts_with("[").fill_null(value=False)
        return replace_where(text, listed, _emails_of if field != "phone" else _phones_of)
    text = as_text(evaluate(values, pl.when(VALUE.is_finite()).then(VALUE)))
    return (
        replace_where(text, ~values.is_finite(), lambda part: constant("NaN", len(part)))
        if field == "external_id"
        else text
    )


_LISTED_PHONE: Final = ("value", "number", "phone", "phone_number", "phoneNumber", "e164", "tel", "mobile")
"""Keys of the number in `[{"label": "work", "value": "+1 312 …"}]`, as APIs return the numbers of a person."""

_PART: Final = "$[?(@.PhoneNumber!='')].Phone{part}"
_COUNTRY_CODE, _AREA_CODE, _NUMBER = (
    pl.coalesce(blank_to_null(VALUE.str.json_path_match(_PART.format(part=part))), pl.lit(""))
    for part in ("CountryCode", "AreaCode", "Number")
)
_IN_PARTS: Final = pl.when((_NUMBER != "") & (_AREA_CODE != "")).then(
    pl.when(_COUNTRY_CODE != "").then(pl.lit("+")).otherwise(pl.lit("")) + _COUNTRY_CODE + _AREA_CODE + _NUMBER
)
"""A number in parts, as Xero gives it: `[{"PhoneCountryCode": "64", "PhoneAreaCode": "21", "PhoneNumber": …}]`."""

_PRIMARY: Final = "$[?(@.{flag})].{key}"
_FLAGS: Final = tuple(
    f"{flag}=={true}"
    for flag in ("primary", "default", "isPrimary", "is_primary", "is_default", "metadata.primary")
    for true in ("true", "'true'")
)
"""What marks the primary one of a list, in the order in which it is looked for; Google's is in `metadata`."""


def _emails_of(lists: pl.Series) -> pl.Series:
    """Return the addresses in JSON lists of texts or objects, separated by `;`, the primary one first. A list without
    any is unchanged, unless it is empty.
    """
    found = VALUE.str.extract_all(r'"[^"\\\s]+@[^"\\\s]+"').list.eval(pl.element().str.strip_chars('"'))
    primary = _first_of(_PRIMARY, ("email", "value", "address", "email_address", "emailAddress"))
    joined = pl.concat_list(primary, found).list.drop_nulls().list.unique(maintain_order=True).list.join(";")
    return evaluate(lists, pl.when(found.list.len() > 0).then(joined).otherwise(_unless_empty(VALUE)))


def _phones_of(lists: pl.Series) -> pl.Series:
    """Return the primary number in JSON lists of texts or objects, or else the first one, and one that is left out, if
    there are several. A list without any is unchanged, unless it is empty.
    """
    first = _first_of("$[0].{key}", _LISTED_PHONE, "$[0]")
    primary = pl.coalesce(_first_of(_PRIMARY, _LISTED_PHONE), first)
    second = _first_of("$[1].{key}", _LISTED_PHONE, "$[1]")
    primary = pl.coalesce(_IN_PARTS, primary)
    other = pl.when(second != primary).then(second).otherwise(pl.when(first != primary).then(first))
    return evaluate(lists, pl.coalesce(pl.concat_str(primary, pl.lit("; "), other), primary, _unless_empty(VALUE)))


def _first_of(path: str, keys: tuple[str, ...], plain: str | None = None) -> pl.Expr:
    """Return the value of the first of the keys at a JSON path, or the text at the plain path if it is not an
    object."""
    paths = [path.format(key=key, flag=flag) for key in keys for flag in _FLAGS]
    found = [blank_to_null(VALUE.str.json_path_match(path)) for path in dict.fromkeys(paths)]
    if plain:
        text = VALUE.str.json_path_match(plain)
        found.append(pl.when(~text.str.starts_with("{")).then(blank_to_null(text)))
    return pl.coalesce(found)


def _unless_empty(lists: pl.Expr) -> pl.Expr:
    is_blank = lists.str.contains(_BLANK_VALUE) & ~lists.str.contains(_FILLED_VALUE)
    return pl.when(~lists.str.contains(r"^\[\s*\]$") & ~is_blank).then(lists)


_BLANK_VALUE: Final = r'"(?:value|number|PhoneNumber)"\s*:\s*(?:""|null)'
_FILLED_VALUE: Final = r'"(?:value|number|PhoneNumber)"\s*:\s*(?:"[^"]|[0-9])'


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
