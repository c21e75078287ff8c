"""Normalise codes: a known spelling becomes its code, an unknown one is kept for validation to report."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import polars as pl

from tranship.pipelines.normalise.series import VALUE, ByDistinctValue, blank_to_null, evaluate, replace_where
from tranship.pipelines.normalise.text import WHITE_SPACE, text, trimmed, upper
from tranship.schemas import codes

_LONGEST: Final = 200
"""The most characters of a name: patterns would search a longer text in quadratic time."""


def _look_up(folded: pl.Expr, table: pl.DataFrame) -> pl.Expr:
    spelling, code = table.columns
    return folded.replace_strict(table[spelling], table[code], default=None, return_dtype=pl.String)


def _known_or_given(values: pl.Series, code_of: Callable[[str], str | None]) -> pl.Series:
    """Return the code of each value, and the trimmed value where it has none."""
    found = pl.Series([code_of(value) if len(value) <= _LONGEST else None for value in values], dtype=pl.String)
    return pl.select(pl.coalesce(found, trimmed(values))).to_series()


@ByDistinctValue
def country(values: pl.Series) -> pl.Series:
    """Return ISO 3166-1 alpha-2 codes; a code or a name in any case is recognised, or a name with its code: `United
    States (US)`, `US - United States`.
    """
    plain = VALUE.str.normalize("NFC").str.replace_all(WHITE_SPACE, " ").str.strip_chars()
    code = _look_up(plain.str.to_uppercase(), codes.countries())
    read = evaluate(values, pl.coalesce(code, blank_to_null(plain)))
    unknown = ~read.is_in(list(codes.country_codes())).fill_null(value=True)
    return replace_where(read, unknown, lambda part: _known_or_given(part, _named_country))


_NAME_AND_CODE: Final = re.compile(r"(.+?)\s*[(\[](.+?)[)\]]|(.+?)\s+[-–|:]\s+(.+)|([A-Z]{2,3})\s*[-:|]\s*(.+)")
_REFERENCE: Final = re.compile(r"(?:CODE|ISO|KOD|COUNTRY|CURRENCY)\s*:\s*(\w.*)")
"""The code in a reference to another record, as ABRA Flexi writes it: `code:CZ`."""


def _named_country(value: str) -> str | None:
    spellings = _table(codes.countries)
    # `San José, Costa Rica` is not a country; a part is one only if the other part means the same.
    if reference := _REFERENCE.fullmatch(value.upper()):
        return spellings.get(reference[1].strip())
    match = _NAME_AND_CODE.fullmatch(value.upper())
    found = {spellings.get(part.strip()) for part in match.groups() if part} if match else set()
    return found.pop() if len(found) == 1 else None


@cache
def _table(read: Callable[[], pl.DataFrame]) -> dict[str, str]:
    """Return spelling → code of a table."""
    return dict(read().iter_rows())


@ByDistinctValue
def currency(values: pl.Series) -> pl.Series:
    """Return ISO 4217 codes in upper case; a name or a sign is recognised where it can mean one currency only, or
    beside its code: `EUR - Euro`, `US Dollar (USD)`.
    """
    plain = upper(values)
    unknown = ~plain.is_in(list(codes.currencies())).fill_null(value=True)
    return replace_where(plain, unknown, lambda part: _known_or_given(part, _named_currency))


def _named_currency(value: str) -> str | None:
    plain = unicodedata.normalize("NFC", " ".join(value.split())).lower()
    names = _table(codes.currency_names)
    if reference := _REFERENCE.fullmatch(plain.upper()):
        return reference[1] if reference[1] in codes.currencies() else names.get(reference[1].lower())
    if known := names.get(plain):
        return known
    parts = re.fullmatch(r"([a-z]{3})[\s:|–-]+(.+)|(.+?)[\s|–-]*[(\[\s]([a-z]{3})[)\]]?", plain)
    if parts is None:
        return None
    code, name = (parts[1], parts[2]) if parts[1] else (parts[4], parts[3])
    name = name.strip(" ()[]-")
    shared = name in ("$", "£", "¥", "kr", "kr.", "dollar", "pound", "peso", "krone", "krona")
    return code.upper() if code.upper() in codes.currencies() and (shared or names.get(name) == code.upper()) else None


@ByDistinctValue
def timezone(values: pl.Series) -> pl.Series:
    """Return names of IANA time zones in their official spelling; names of Windows and Rails are recognised, with or
    without their offset: `(GMT-06:00) Central Time (US & Canada)`.
    """
    plain = VALUE.str.strip_chars()
    folded = plain.str.to_lowercase()
    bare = folded.str.replace(r"^\((?:gmt|utc)(?: ?[+-]?[0-9:]+)?\)\s*", "").str.replace_all(WHITE_SPACE, " ")
    name = pl.coalesce(
        _look_up(folded, codes.timezones()),
        _look_up(bare, codes.timezones()),
        _look_up(bare, codes.timezone_aliases()),
    )
    return evaluate(values, pl.coalesce(name, blank_to_null(plain)))


@ByDistinctValue
def language(values: pl.Series) -> pl.Series:
    """Return BCP 47 tags: shortest code of the language in lower case, Script, REGION. English names are recognised."""
    return pl.Series([_language(value) for value in values], dtype=pl.String)


def _language(value: str) -> str | None:
    if len(value) > _LONGEST:
        return value
    words = _table(codes.languages)
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


def folded(value: str) -> str:
    """Return the form in which words are compared, see `schemas.codes.STATUS_WORDS`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", value.casefold()) if not unicodedata.combining(c))
    return re.sub(r"[\s_'’-]+", "_", plain.strip().replace("ø", "o").replace("æ", "ae"))


def _words(values: pl.Series, words: Mapping[str, str]) -> pl.Series:
    return _known_or_given(values, lambda value: words.get(folded(value)))


@ByDistinctValue
def status(values: pl.Series) -> pl.Series:
    """Return one of the five statuses, using the synonyms in `schemas.codes.STATUS_WORDS`."""
    return _words(values, codes.STATUS_WORDS)


@ByDistinctValue
def customer_type(values: pl.Series) -> pl.Series:
    """Return one of the two types, using the synonyms in `schemas.codes.CUSTOMER_TYPE_WORDS`; another word in upper
    case.
    """
    return _words(values, codes.CUSTOMER_TYPE_WORDS).str.to_uppercase()


@ByDistinctValue
def state(values: pl.Series) -> pl.Series:
    """Return names of places as text; the state of an account or subscription (`active`, `bounced`) is null."""
    words = codes.STATUS_WORDS.keys() | codes.OPEN_STATUS_WORDS
    places = text(values)
    return pl.Series([None if place is None or folded(place) in words else place for place in places], dtype=pl.String)


def net_terms(values: pl.Series) -> pl.Series:
    """Return days as i32: from `30`, `30.0`, `Net 30`, `30 days`, `2% 10 net 30`, `Due on receipt`."""
    return _day_count(values).cast(pl.Int32)


def may_be_key(values: pl.Series, *, zero: bool) -> pl.Series:
    """Return a mask of the numbers that are more likely the key of a payment term than days: `3`, `0014`, and `0` if
    the column is one of conditions.
    """
    pattern = rf"^\s*(?:[{'0' if zero else '1'}-6](?:[.,]0{{1,2}})?|0[0-9]+)\s*$"
    return evaluate(values, VALUE.str.contains(pattern).fill_null(value=False))


_DAYS: Final = (
    r"(?:d|days?|tage?n?|jours?|dias?|giorn[oi]|gg|dag(?:en|ar|e|er)?|dni|dny|dnu|nap|calendar_days|paivaa|pv|"
    r"天|日|일|днеи|дня)"
)
_NET: Final = (
    r"(?:net|netto|n|netto_innerhalb_von|innerhalb_von|within|due_in|payment_(?:with)?in|zahlbar_innerhalb_von)"
)
_BEFORE_DAYS: Final = r"(?:(?:a|en|em|in|innerhalb|innert|binnen|entro|sous|inom|innen|within)_)?"
# `30 giorni d.f.`: from the date of the invoice. From the end of the month is another number of days.
_AFTER_DAYS: Final = (
    r"(?:_(?:nets?|netto|netti|neto|netos|date_(?:de_)?facture|data_fattura|d\.?f\.?|fecha_(?:de_)?factura|"
    r"na_factuurdatum|nach_rechnungsdatum|(?:from|after)_invoice(?:_date)?))?"
)
_TERMS: Final = re.compile(
    rf"(?:[0-9.]+%?[_/]+[0-9]+(?:_{_DAYS})?[,_]+)?{_NET}[_:/]*([0-9]{{1,4}})(?:_*{_DAYS})?"
    rf"|{_BEFORE_DAYS}([0-9]{{1,4}})_*{_DAYS}\.?{_AFTER_DAYS}"
)


@ByDistinctValue
def _day_count(values: pl.Series) -> pl.Series:
    plain = VALUE.str.strip_chars()
    days = evaluate(values, plain.str.extract(r"^([+-]?[0-9]{1,9})(?:[.,]0{1,2})?$").str.strip_prefix("+"))
    return replace_where(days, days.is_null(), lambda _: _worded_days(values.filter(days.is_null())))


def _worded_days(values: pl.Series) -> pl.Series:
    return pl.Series([_days_of(folded(value)) for value in values], dtype=pl.String)


def _days_of(terms: str) -> str | None:
    if terms in codes.NET_TERMS_WORDS:
        return str(codes.NET_TERMS_WORDS[terms])
    match = _TERMS.fullmatch(terms)
    return (match[1] or match[2]) if match else None
