"""Dates and date-times as people and programs write them, as ISO 8601."""

from __future__ import annotations

from functools import partial
from typing import Final

import polars as pl
from msgspec import Struct

from tranship.pipelines.normalise.series import VALUE, evaluate, fill_where, null_text, replace_where
from tranship.schemas import codes

ISO: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?: ?(?:Z|UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?)?$"
)

# Year, month and day without separators, or to the second: 8 or 14 digits, which are not an epoch number. SAP, LDAP and
# older systems write them.
PACKED: Final = (
    r"(?P<year>(?:19|20|21)[0-9]{2})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:(?P<hour>[01][0-9]|2[0-3])(?P<minute>[0-5][0-9])(?P<second>[0-5][0-9])(?:[.,]0+)?Z?)?"
)

_TIME: Final = (
    r"(?:(?:,?\s+AT\s+|[T,\s]\s*|\s+-\s+)(?P<hour>[0-9]{1,2}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9])"
    r"(?P<fraction>[.,][0-9]{1,9})?)?(?:\s*(?P<half>[AP])\.?M\.?)?)?"
)
_ZONE: Final = (
    r"(?:\s*(?:GMT|UTC)?\s*(?P<offset>[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])(?:\s*\([^()]*\))?"
    rf"|\s*(?P<zone>{'|'.join(codes.ZONE_OFFSETS)}))?"
)
_WEEKDAY: Final = rf"(?i-u:(?:{'|'.join(f'{day[:3]}(?:{day[3:]})?' for day in codes.WEEKDAYS)})[.,]?\s+)?"
_WORD: Final = r"(?P<word>[A-Z]{3,10})"
_DAY: Final = r"(?P<day>[0-9]{1,2})"
_YEAR: Final = r"(?P<year>[0-9]{4})"
_SHORT_YEAR: Final = r"'?(?P<short_year>[0-2][0-9]|[7-9][0-9])"
"""The years that Excel, Oracle (RR) and POSIX all read as the same: 2000 to 2029 and 1970 to 1999."""

# Forms that have one reading: the year first; the month in words; a number above 12 that can be the day only; numbers
# separated by dots, which all languages with this form read day first (CLDR 47). No language writes a two-digit year
# before a month in words.
_WRITTEN: Final = (
    PACKED,
    rf"{_YEAR}[/.-](?P<month>[0-9]{{1,2}})[/.-]{_DAY}{_TIME}{_ZONE}",
    rf"{_DAY}(?:\.|ST|ND|RD|TH|ER|º)?[\s./-]*(?:(?:DE|OF)\s+)?{_WORD}[\s.,/-]*(?:(?:DE|DEL|OF)\s+)?{_YEAR}{_TIME}{_ZONE}",
    rf"{_DAY}[\s./-]{_WORD}\.?[\s./-]{_SHORT_YEAR}{_TIME}{_ZONE}",
    rf"{_WORD}[\s./-]*{_DAY}(?:ST|ND|RD|TH)?[\s,./-]+{_YEAR}{_TIME}{_ZONE}",
    rf"{_WORD}\s+{_DAY}{_TIME}{_ZONE}\s+{_YEAR}",
    rf"{_YEAR}[\s./-]+{_WORD}[\s./-]+{_DAY}{_TIME}{_ZONE}",
    rf"(?P<first>[0-9]{{1,2}})(?P<dot>\.)(?P<second_part>[0-9]{{1,2}})\.{_YEAR}{_TIME}{_ZONE}",
    rf"(?P<first>[0-9]{{1,2}})[/.-](?P<second_part>[0-9]{{1,2}})[/.-]{_YEAR}{_TIME}{_ZONE}",
)


class _FixedForm(Struct, frozen=True):
    """A written form whose parts always stand in the same places, so that they are cut out rather than searched for:
    a tenth of the work of a pattern with groups. A time of day may follow.
    """

    pattern: str
    day: int
    month: int
    year: int
    is_word: bool = False
    """The month is a word of three letters."""


_PAIR: Final = "[0-9]{2}"
_DAY_ONLY: Final = "(?:1[3-9]|2[0-9]|3[01])"
"""Two digits that cannot be a month."""
_SHORT_MONTHS: Final = {word.upper(): number for word, number in codes.MONTH_WORDS.items() if len(word.encode()) == 3}

# Forms of `_WRITTEN` as programs write them, with two digits.
_FIXED: Final = (
    _FixedForm(rf"[0-9]{{4}}[/.]{_PAIR}[/.]{_PAIR}", day=8, month=5, year=0),
    _FixedForm(rf"{_PAIR}\.{_PAIR}\.[0-9]{{4}}", day=0, month=3, year=6),
    _FixedForm(rf"{_PAIR}[ ./-](?:{'|'.join(_SHORT_MONTHS)})[ ./-][0-9]{{4}}", day=0, month=3, year=7, is_word=True),
    _FixedForm(rf"{_DAY_ONLY}[/-]{_PAIR}[/-][0-9]{{4}}", day=0, month=3, year=6),
    _FixedForm(rf"{_PAIR}[/-]{_DAY_ONLY}[/-][0-9]{{4}}", day=3, month=0, year=6),
)


def to_iso(plain: pl.Series) -> pl.Series:
    """Return written forms (upper case) as ISO 8601, null where there is no such form or it has several readings."""
    result = null_text(len(plain))
    for form in _FIXED:
        matching = plain.str.contains(rf"^{form.pattern}(?: (?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?)?$")
        result = fill_where(result, plain, matching & result.is_null(), partial(_fixed_to_iso, form=form))
    rows = (result.is_null() & plain.is_not_null()).arg_true()
    return result if rows.is_empty() else result.scatter(rows, _worded_to_iso(plain.gather(rows)))


def _fixed_to_iso(texts: pl.Series, form: _FixedForm) -> pl.Series:
    end = max(form.year + 4, form.day + 2)
    month = VALUE.str.slice(form.month, 3 if form.is_word else 2)
    if form.is_word:
        numbers = {word: f"{number:02}" for word, number in _SHORT_MONTHS.items()}
        month = month.replace_strict(numbers, return_dtype=pl.String)
    year, day = VALUE.str.slice(form.year, 4), VALUE.str.slice(form.day, 2)
    date = pl.concat_str(year, pl.lit("-"), month, pl.lit("-"), day, VALUE.str.slice(end))
    return evaluate(texts, date)


def _worded_to_iso(plain: pl.Series) -> pl.Series:
    """Do the same for forms whose parts have to be searched for."""
    ascii_text = replace_where(plain, plain.str.contains("[^ -~]"), _in_ascii)
    # Oracle's `15-JAN-24 09.30.12.000000 AM`
    dotted = r"^(\S+ [0-9]{1,2})\.([0-5][0-9])\.([0-5][0-9])"
    is_dotted = ascii_text.str.contains(dotted)
    ascii_text = replace_where(ascii_text, is_dotted, lambda part: part.str.replace(dotted, "${1}:${2}:${3}"))
    result = null_text(len(plain))
    rows = pl.int_range(len(plain), dtype=pl.UInt32, eager=True)
    has_word = ascii_text.str.contains("[A-Z]{3}").any()
    for form in _WRITTEN:
        if "<word>" in form and not has_word:
            continue
        whole = rf"^{_WEEKDAY}{form}$"
        left = ascii_text.gather(rows)
        matching = left.str.contains(whole)
        if matching.any():
            result = result.scatter(rows.filter(matching), _form_to_iso(left.filter(matching), whole))
            rows = rows.filter(result.gather(rows).is_null())
    return result


def _in_ascii(texts: pl.Series) -> pl.Series:
    return texts.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.replace_all(r"\s", " ")


def _form_to_iso(texts: pl.Series, form: str) -> pl.Series:
    parts = texts.str.extract_groups(form).struct.unnest()

    def part(name: str) -> pl.Expr:
        return pl.col(name) if name in parts.columns else pl.lit(None, pl.String)

    def number(name: str) -> pl.Expr:
        return part(name).cast(pl.Int32, strict=False)

    first, second = number("first"), number("second_part")
    # Other values of the column have no influence: a record is read the same way in every batch and order.
    is_day_first = (first > 12) | (first == second) | part("dot").is_not_null()
    named = part("word").str.to_lowercase().replace_strict(codes.MONTH_WORDS, default=None, return_dtype=pl.Int32)
    month = pl.coalesce(number("month"), named, pl.when(is_day_first).then(second).when(second > 12).then(first))
    day = pl.coalesce(number("day"), pl.when(is_day_first).then(first).when(second > 12).then(second))
    half, hour = part("half"), number("hour")
    hour = (
        pl.when(half.is_null())
        .then(hour)
        .when(hour.is_between(1, 12))
        .then(hour % 12 + 12 * (half == "P").cast(pl.Int32))
    )
    zone = part("zone").replace_strict(codes.ZONE_OFFSETS, default=None, return_dtype=pl.String)
    offset = pl.coalesce(part("offset"), zone, pl.lit(""))
    fraction = part("fraction").str.replace(",", ".", literal=True).fill_null("")
    time = pl.concat_str(
        pl.lit("T"),
        _two_digits(hour),
        pl.lit(":"),
        part("minute"),
        pl.lit(":"),
        part("second").fill_null("00"),
        fraction,
    )
    short = part("short_year")
    year = pl.coalesce(part("year"), pl.when(short < "30").then("20" + short).otherwise("19" + short))
    date = pl.concat_str(year, pl.lit("-"), _two_digits(month), pl.lit("-"), _two_digits(day))
    timed = part("hour").is_not_null()
    # A zone without a time of day is a detail of an unknown form.
    whole = pl.when(timed).then(pl.concat_str(date, time, offset)).when(offset == "").then(date)
    text = parts.select(whole.alias("v")).to_series()
    return replace_where(text, ~text.str.contains(ISO), lambda part: null_text(len(part)))


def _two_digits(value: pl.Expr) -> pl.Expr:
    return value.cast(pl.String).str.zfill(2)
