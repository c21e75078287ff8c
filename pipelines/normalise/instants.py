"""Parse dates, date-times and epoch numbers as UTC instants."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Final

import polars as pl
import pyarrow as pa
from msgspec import Struct
from pyarrow._compute import CastOptions, call_function

from tranship.pipelines.normalise import written_dates
from tranship.pipelines.normalise.series import VALUE, evaluate, fill_where, null_text, replace_where
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.normalise.text import trimmed
from tranship.schemas import codes
from tranship.schemas.constant import constant
from tranship.schemas.customer import INSTANT
from tranship.schemas.faults import no_reasons, reasons

# The ISO 8601 dates and date-times that Arrow parses with a quarter of the work of other parsers: years 1000 to 2999,
# days that exist, seconds in date-times, and no fraction without a zone. The 29th of February is left to the other
# parsers.
_USUAL: Final = (
    r"^[12][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:(?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?)?$"
)

_WITHOUT_ZONE_BYTES: Final = 19
"""The number of bytes of a usual date-time without a zone; one with a zone has more."""

# Year, month, day, hour and optional minute without separators: 10 or 12 digits that could also be an epoch number.
_COMPACT: Final = (
    r"^(?:19|20|21)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])(?:[0-5][0-9])?$"
)

_EPOCH: Final = r"^-?[1-9](?:[0-9]{8,9}|[0-9]{11,12})$"
"""Epoch seconds, or milliseconds. Without date formats of the run, nothing else can be meant unless it is compact."""

_DAY_OR_MONTH_FIRST: Final = r"^([0-9]{1,2})[/.\-]([0-9]{1,2})[/.\-](?:[0-9]{4}|[0-9]{2})(?:[T ,].*)?$"

_SHORT: Final = rf"^[0-9]{{1,2}}[ ./-](?:{'|'.join(codes.MONTH_WORDS).upper()})\.?[ ./-]'?[3-6][0-9](?:[T ,].*)?$"
"""A year of two digits that some programs read as 19…, some as 20…."""


def instant(values: pl.Series, field: str, spelling: Spelling) -> tuple[pl.Series, pl.DataFrame]:
    """Return UTC instants in µs, and the reasons for values that could not be parsed (`unreadable`, `ambiguous`).

    Parsed in this order: ISO 8601 dates and date-times; the run's date formats; written forms that can be read in one
    way only (`22-Apr-2024 10:15`, `15-JAN-24`, `25.12.2023`); epoch seconds (9–10 digits) and milliseconds (12–13
    digits) that cannot be a date without separators. A value that two date formats parse as different instants is
    ambiguous. A date of zeros and a word for no value (`NULL`) are null.
    """
    read = constant(None, len(values), INSTANT)
    read = fill_where(read, values, values.str.contains(_USUAL), lambda texts: _parse_usual(texts, spelling))
    rows = (read.is_null() & values.is_not_null()).arg_true()
    if not spelling.date_formats and not rows.is_empty():
        others = values.gather(rows)
        epochs = rows.filter(others.str.contains(_EPOCH) & ~others.str.contains(_COMPACT))
        if not epochs.is_empty():
            read = read.scatter(epochs, _parse_epoch(values.gather(epochs)))
            rows = (read.is_null() & values.is_not_null()).arg_true()
    if rows.is_empty():
        return read, no_reasons()
    others, faults = _unusual_instants(values.gather(rows), field, spelling)
    return read.scatter(rows, others), faults.with_columns(at=rows.gather(faults["at"]))


def _parse_usual(texts: pl.Series, spelling: Spelling) -> pl.Series:
    zoned = texts.str.len_bytes() > _WITHOUT_ZONE_BYTES
    read = constant(None, len(texts), INSTANT)
    read = fill_where(read, texts, zoned, lambda part: _parse_with_arrow(part, "UTC"))
    return fill_where(read, texts, ~zoned, lambda part: _local_to_utc(_parse_with_arrow(part, None), spelling))


def _parse_with_arrow(texts: pl.Series, zone: str | None) -> pl.Series:
    # Arrow refuses the null character in the name of a field that was built (`pipelines/build.py`).
    array = texts.rename("").to_arrow(compat_level=pl.CompatLevel.oldest())
    # `array.cast`, and polars for a single array, import `pyarrow.compute`, which writes the documentation of all its
    # functions: 45 ms in every run.
    parsed = call_function("cast", [array], CastOptions.safe(pa.timestamp("us", zone)))
    return pl.DataFrame(pa.table([parsed], ["v"])).to_series()


def _unusual_instants(values: pl.Series, field: str, spelling: Spelling) -> tuple[pl.Series, pl.DataFrame]:
    plain = trimmed(values).str.to_uppercase()
    read = constant(None, len(plain), INSTANT)
    usual = plain.str.contains(_USUAL)
    read = fill_where(read, plain, usual, lambda texts: _parse_usual(texts, spelling))
    iso = ~usual & plain.str.contains(written_dates.ISO)
    read = fill_where(read, plain, iso, lambda texts: _parse_iso(texts, spelling))
    ambiguous = constant(False, len(plain))
    rest = (~usual & ~iso).arg_true()
    if not rest.is_empty():
        named, disputed = _parse_forms(plain.gather(rest), spelling)
        read, ambiguous = read.scatter(rest, named), ambiguous.scatter(rest, disputed)
        written = (
            read.is_null()
            & ~ambiguous
            & ~iso
            & plain.str.contains(rf"[0-9].*[^0-9]|^{written_dates.PACKED}$").fill_null(value=False)
        )
        read = fill_where(read, plain, written, lambda texts: _parse_iso(written_dates.to_iso(texts), spelling))
        left = read.is_null() & ~ambiguous & ~plain.str.contains(_COMPACT)
        read = fill_where(read, plain, left & plain.str.contains(r"^-?[1-9][0-9]{8,12}$"), _parse_epoch)
        read = fill_where(read, plain, left & plain.str.contains(_OF_DOT_NET), _parse_of_dot_net)
    early = (read.is_null() | (read < datetime(2, 1, 1, tzinfo=UTC))) & plain.is_not_null()
    if early.any():
        absent = early & plain.str.contains(_absent()).fill_null(value=False)
        read = replace_where(read, absent, lambda part: constant(None, len(part), INSTANT))
        plain = replace_where(plain, absent, lambda part: null_text(len(part)))
    read = _clip_to_calendar(read)
    lost = (read.is_null() & plain.is_not_null()).arg_true()
    if lost.is_empty():
        return read, no_reasons()
    return read, _unreadable_instants(plain.gather(lost), values.gather(lost), lost, field, ambiguous.gather(lost))


@cache
def _absent() -> str:
    """Return a pattern for dates of zeros, as databases and programs write them, and for words for no value."""
    words = "|".join(re.escape(word.upper()) for word in sorted(codes.NO_CODE_WORDS))
    midnight = r"(?:[T ]0?0:00(?::00(?:[.,]0+)?)?(?: ?AM)?(?:Z| ?UTC|[+-]00:?00)?)?"
    zeros = r"0{1,4}[-/.]0{1,2}[-/.]0{1,4}|0001-01-01|1/0/1900|01/00/1900"
    return rf"^(?:{words}|(?:{zeros}){midnight})$"


def _parse_iso(plain: pl.Series, spelling: Spelling) -> pl.Series:
    """Parse ISO values in upper case; days that do not exist become null."""
    seconds, timed = VALUE.str.slice(16, 1) == ":", VALUE.str.len_bytes() > len("2024-01-31")
    minutes, midnight = pl.concat_str(VALUE.str.slice(0, 16), pl.lit(":00")), pl.concat_str(VALUE, pl.lit("T00:00:00"))
    parts = (
        plain.alias("v")
        .to_frame()
        .select(
            head=pl.when(~timed).then(midnight).when(seconds).then(VALUE.str.slice(0, 19)).otherwise(minutes),
            tail=pl.when(seconds).then(VALUE.str.slice(19)).otherwise(VALUE.str.slice(16)),
        )
        .select(
            "tail",
            wall=pl.col("head")
            .str.replace(" ", "T", literal=True)
            .str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us", cache=False),
            micros=pl.col("tail").str.extract(r"^[.,]([0-9]{1,6})").str.pad_end(6, "0").cast(pl.Int64).fill_null(0),
        )
        .select("tail", wall=(pl.col("wall").cast(pl.Int64) + pl.col("micros")).cast(pl.Datetime("us")))
    )
    exact, tail = parts["wall"], parts["tail"]
    exact = fill_where(exact, parts.to_struct(), tail.str.contains("[+-]"), _subtract_offset)
    if spelling.timezone == "UTC":
        return exact.dt.replace_time_zone("UTC")
    zoned = tail.str.contains(r"(?:Z|UTC|[+-][0-9:]+)$")
    return exact.dt.replace_time_zone("UTC").zip_with(zoned, _local_to_utc(exact, spelling))


def _subtract_offset(parts: pl.Series) -> pl.Series:
    """Convert local times (`wall`) to UTC by the offset at the end of `tail`."""
    offset = parts.struct.field("tail").str.extract_groups(r"([+-])([0-9]{2}):?([0-9]{2})?$").struct.unnest()
    sign, hours, minutes = offset.get_columns()
    shift = (hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64).fill_null(0)) * (1 - 2 * (sign == "-").cast(pl.Int64))
    return (parts.struct.field("wall").cast(pl.Int64) - shift * 60_000_000).cast(pl.Datetime("us"))


def _local_to_utc(wall: pl.Series, spelling: Spelling) -> pl.Series:
    """Convert local times of the run's zone to UTC; a local time that occurs twice or never becomes null."""
    if spelling.timezone == "UTC":
        return wall.dt.replace_time_zone("UTC")
    aware = wall.dt.replace_time_zone(spelling.timezone, ambiguous="null", non_existent="null")
    return aware.dt.convert_time_zone("UTC")


def _parse_forms(plain: pl.Series, spelling: Spelling) -> tuple[pl.Series, pl.Series]:
    """Parse values by the date formats of the run (strftime); the mask is true where two of them disagree."""
    read = constant(None, len(plain), INSTANT)
    disputed = constant(False, len(plain))
    for form in spelling.date_formats:
        other = _parse_form(plain, _compile_form(form), spelling)
        disputed |= (read != other).fill_null(value=False)
        read = pl.select(pl.coalesce(read, other)).to_series()
    return replace_where(read, disputed, lambda part: constant(None, len(part), INSTANT)), disputed


class _DateForm(Struct, frozen=True):
    """A date format (strftime) for text in upper case, and what it contains."""

    text: str
    timed: bool
    zoned: bool
    names_zone: bool
    """It may contain a zone as a word."""


_DIRECTIVE: Final = re.compile(r"(%[-_0^#:.]*[0-9]*[A-Za-z+%]?)")

_ZONE_WORD: Final = re.compile(r"(?<![A-Z])(?:UTC|GMT|Z)(?![A-Z])")


@cache
def _compile_form(form: str) -> _DateForm:
    parts = _DIRECTIVE.split(form)
    parts[::2] = [literal.upper() for literal in parts[::2]]
    marks = {part[-1] for part in parts[1::2]}
    if not marks & set("zZ+s"):
        # A zone written out in the format counts as one in the text.
        parts[::2] = [_ZONE_WORD.sub("%Z", literal) for literal in parts[::2]]
    text = "".join(parts)
    names_zone = bool(re.search("%Z", text))
    # %Z accepts any word and ignores it, so the word is replaced by an offset.
    text = re.sub("%:*z|%Z", "%#z", text)
    return _DateForm(text, bool(marks & set("HIklTRXrcMSfp+s")), "%#z" in text or bool(marks & set("+s")), names_zone)


def is_form(form: str) -> bool:
    """Return whether a date format (strftime) is valid and contains day, month and year."""
    moment = datetime(2024, 11, 22, 13, 44, 55, tzinfo=UTC)
    try:
        text = pl.Series([moment]).dt.strftime(form.replace("%#z", "%z")).str.to_uppercase()
        read = _parse_form(text, _compile_form(form), Spelling())[0]
    except pl.exceptions.PolarsError:
        return False
    return read is not None and read.date() == moment.date()


def _parse_form(plain: pl.Series, form: _DateForm, spelling: Spelling) -> pl.Series:
    """Parse values in upper case by one date format."""
    if form.names_zone:
        plain = _zone_words_to_offsets(plain)
    if form.zoned:
        return plain.str.to_datetime(form.text, strict=False, time_unit="us", time_zone="UTC")
    if form.timed:
        return _local_to_utc(plain.str.to_datetime(form.text, strict=False, time_unit="us"), spelling)
    return _local_to_utc(plain.str.to_date(form.text, strict=False).cast(pl.Datetime("us")), spelling)


def _zone_words_to_offsets(plain: pl.Series) -> pl.Series:
    """Replace the last word that names a zone by its offset; an unknown or ambiguous word is kept."""
    words = "|".join(codes.ZONE_OFFSETS)
    parts = plain.str.extract_groups(rf"(?s)^(.*[^A-Z]|)({words})([^A-Z].*|)$").struct.unnest()
    before, word, behind = parts.get_columns()
    offset = word.replace_strict(codes.ZONE_OFFSETS, default=None, return_dtype=pl.String)
    return pl.select(pl.coalesce(before + offset + behind, plain)).to_series()


_OF_DOT_NET: Final = r"^/DATE\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/$"
"""`/Date(1242265466747+0000)/`, as .NET writes milliseconds since 1970 in JSON: in UTC, whatever its offset is."""


def _parse_of_dot_net(plain: pl.Series) -> pl.Series:
    return evaluate(plain, (VALUE.str.extract(_OF_DOT_NET).cast(pl.Int64) * 1000).cast(INSTANT))


def _parse_epoch(plain: pl.Series) -> pl.Series:
    """Parse 9–10 digits as seconds and 12–13 as milliseconds; 11 could be either and become null."""
    digits = plain.str.strip_prefix("-").str.len_bytes()
    number = plain.cast(pl.Int64)
    micros = pl.select(
        pl.when(digits <= 10).then(number * 1_000_000).when(digits >= 12).then(number * 1_000)
    ).to_series()
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def typed_instants(given: pl.Series, field: str, spelling: Spelling) -> tuple[pl.Series, pl.DataFrame]:
    """Convert a column that already has a temporal type."""
    if given.dtype == pl.Date:
        read = _local_to_utc(given.cast(pl.Datetime("us")), spelling)
    elif isinstance(given.dtype, pl.Datetime):
        micros = given.dt.cast_time_unit("us")
        read = micros.dt.convert_time_zone("UTC") if given.dtype.time_zone else _local_to_utc(micros, spelling)
    else:
        read = constant(None, len(given), INSTANT)
    lost = (read.is_null() & given.is_not_null()).arg_true()
    faults = reasons(lost, f"{field}.unreadable", given.gather(lost).cast(pl.String, strict=False))
    return _clip_to_calendar(read), faults


def _clip_to_calendar(read: pl.Series) -> pl.Series:
    """Clip years to 1–9999, which can be printed; validation rejects both ends as out of range."""
    return read.clip(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


def _unreadable_instants(
    plain: pl.Series, given: pl.Series, rows: pl.Series, field: str, disputed: pl.Series
) -> pl.DataFrame:
    day_month = plain.str.extract_groups(_DAY_OR_MONTH_FIRST).struct.unnest().cast(pl.Int32)
    first, second = day_month.get_columns()
    day_or_month_first = (first.is_between(1, 12) & second.is_between(1, 12) & (first != second)).fill_null(value=False)
    ambiguous = (
        disputed
        | day_or_month_first
        | plain.str.contains(_SHORT)
        | plain.str.contains(r"^[0-9]{8}$")
        | plain.str.contains(_COMPACT)
    )
    return pl.concat(
        [
            reasons(rows.filter(ambiguous), f"{field}.ambiguous", given.filter(ambiguous)),
            reasons(rows.filter(~ambiguous), f"{field}.unreadable", given.filter(~ambiguous)),
        ]
    )
