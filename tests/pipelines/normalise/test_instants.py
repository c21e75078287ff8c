"""Dates, date-times and epoch numbers; tests/support/cases/ has the tables of each field."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.pipelines.normalise.instants import instant, is_form
from tranship.pipelines.normalise.spelling import Spelling
from tranship.schemas import codes

# Unicode's White_Space; Python's strip() also removes the separators U+001C to U+001F.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def instants(values, **spelling):
    return instant(pl.Series(values, dtype=pl.String), "created_at", Spelling(**spelling))


@pytest.mark.slow
@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1)),
    st.sampled_from(["T", " "]),
    st.sampled_from(["", "Z", "+02:00", "-0530", " +00", " UTC"]),
)
@settings(max_examples=100)
def test_iso_is_read_to_the_microsecond(moment, separator, zone):
    text = f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S.%f}{zone}"
    read, faults = instants([text])
    offset = {"": "+0000", "Z": "+0000", "+02:00": "+0200", "-0530": "-0530", " +00": "+0000", " UTC": "+0000"}[zone]
    expected = datetime.strptime(f"{moment:%Y-%m-%dT%H:%M:%S.%f}{offset}", "%Y-%m-%dT%H:%M:%S.%f%z")
    assert faults.is_empty()
    assert read[0] == expected


def test_milliseconds_of_dot_net_are_in_utc_whatever_the_offset_is():
    read, faults = instants(["/Date(1242265466747+1200)/", "/Date(-1000)/", "/Date(x)/"])
    early = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert read.to_list() == [datetime(2009, 5, 14, 1, 44, 26, 747000, tzinfo=UTC), early, None]
    assert faults["code"].to_list() == ["created_at.unreadable"]


def test_numbers_before_dots_are_day_first_whatever_else_is_in_the_column():
    assert instants(["03.11.2023", "3.4.2024 10:15"])[0].to_list() == [
        datetime(2023, 11, 3, tzinfo=UTC),
        datetime(2024, 4, 3, 10, 15, tzinfo=UTC),
    ]
    read, faults = instants(["03.11.2023", "11.25.2023"])
    assert read.to_list() == [datetime(2023, 11, 3, tzinfo=UTC), None]
    assert faults["code"].to_list() == ["created_at.unreadable"]


@pytest.mark.slow
@given(st.text(max_size=30))
@settings(max_examples=100)
def test_any_text_is_an_instant_or_a_fault(value):
    read, faults = instants([value])
    is_given = value.strip(WHITE) and value.strip(WHITE).lower() not in codes.NO_CODE_WORDS
    assert (read[0] is not None) + faults.height == (1 if is_given else 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2023-02-29", None),
        ("2024-02-30T10:00:00Z", None),
        ("2024-06-31T10:00:00+02:00", None),
        ("2024-12-31T23:59:59-23:59", datetime(2025, 1, 1, 23, 58, 59, tzinfo=UTC)),
        ("0999-12-31T10:00:00Z", datetime(999, 12, 31, 10, tzinfo=UTC)),
        ("9999-12-31T23:59:59-01", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-01-31T10:00:00.1234567Z", datetime(2024, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2024-01-31T10:00:00,5+0130", datetime(2024, 1, 31, 8, 30, 0, 500000, tzinfo=UTC)),
        (" 2024-01-31t10:00:00.5+01 ", datetime(2024, 1, 31, 9, 0, 0, 500000, tzinfo=UTC)),
        ("2024-01-31 10:00 UTC", datetime(2024, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_an_instant_reads_the_same_alone_and_among_usual_ones(value, expected):
    usual = ["2024-05-06T07:08:09Z", "2024-05-06 07:08:09", "2024-05-06", None]
    for values, at in (([value], 0), ([*usual, value, *usual], len(usual))):
        read, faults = instants(values)
        assert read[at] == expected
        assert read.null_count() == values.count(None) + (expected is None)
        assert faults["at"].to_list() == ([at] if expected is None else [])
        assert faults["value"].to_list() == ([value] if expected is None else [])


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        ("2024-01-15", "Europe/Berlin", datetime(2024, 1, 14, 23, tzinfo=UTC)),
        ("2024-07-15 10:00:00", "Europe/Berlin", datetime(2024, 7, 15, 8, tzinfo=UTC)),
        ("2024-07-15T10:00:00Z", "Europe/Berlin", datetime(2024, 7, 15, 10, tzinfo=UTC)),
        ("2024-07-15T10:00:00.5", "Europe/Berlin", datetime(2024, 7, 15, 8, 0, 0, 500000, tzinfo=UTC)),
        ("2024-03-31 02:30:00", "Europe/Berlin", None),  # the local time does not exist
        ("2024-10-27 02:30:00", "Europe/Berlin", None),  # the local time occurs twice
        ("1721034000", "Europe/Berlin", datetime(2024, 7, 15, 9, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_of_the_runs_zone(value, zone, expected):
    read, faults = instants([value], timezone=zone)
    assert read[0] == expected
    assert faults.height == (expected is None)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("03/04/2024", "%d/%m/%Y", datetime(2024, 4, 3, tzinfo=UTC)),
        ("03/04/2024", "%m/%d/%Y", datetime(2024, 3, 4, tzinfo=UTC)),
        ("31.12.2023", "%d.%m.%Y", datetime(2023, 12, 31, tzinfo=UTC)),
        ("20240131", "%Y%m%d", datetime(2024, 1, 31, tzinfo=UTC)),
        ("3 Apr 2024 17:05", "%d %b %Y %H:%M", datetime(2024, 4, 3, 17, 5, tzinfo=UTC)),
        ("2024-04-03", "%d/%m/%Y", datetime(2024, 4, 3, tzinfo=UTC)),
    ],
)
def test_forms_that_the_run_names_are_read(value, form, expected):
    read, faults = instants([value], date_formats=(form,))
    assert faults.is_empty()
    assert read[0] == expected


@pytest.mark.parametrize(
    ("value", "form", "hour"),
    [
        ("2024/01/02 03:04 PST", "%Y/%m/%d %H:%M %Z", 11),
        ("2024/01/02 03:04 pdt", "%Y/%m/%d %H:%M %Z", 10),
        ("2024/01/02 03:04 CET", "%Y/%m/%d %H:%M %Z", 2),
        ("2024/01/02 03:04 UTC", "%Y/%m/%d %H:%M %Z", 3),
        ("2024/01/02 03:04 -0800", "%Y/%m/%d %H:%M %Z", 11),
        ("2024/01/02 03:04 -0800", "%Y/%m/%d %H:%M %z", 11),
        ("2024/01/02 03:04 -08:00", "%Y/%m/%d %H:%M %z", 11),
        ("2024/01/02 03:04 -08", "%Y/%m/%d %H:%M %z", 11),
        ("2024/01/02 03:04 Z", "%Y/%m/%d %H:%M %z", 3),
        ("20240102T0304Z", "%Y%m%dT%H%MZ", 3),
        ("Jan 2, 2024 3:04 AM EST", "%b %d, %Y %I:%M %p %Z", 8),
        ("Tue Jan 02 2024 03:04:00 GMT-0800", "%a %b %d %Y %H:%M:%S GMT%z", 11),
        ("2024/01/02 03:04 IST", "%Y/%m/%d %H:%M %Z", None),
        ("2024/01/02 03:04 CST", "%Y/%m/%d %H:%M %Z", None),
        ("2024/01/02 03:04 XYZ", "%Y/%m/%d %H:%M %Z", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_zone_in_the_text_counts(value, form, hour, zone):
    read, faults = instants([value], timezone=zone, date_formats=(form,))
    assert read[0] == (None if hour is None else datetime(2024, 1, 2, hour, 4, tzinfo=UTC))
    assert faults["code"].to_list() == (["created_at.unreadable"] if hour is None else [])


def test_what_two_named_forms_read_differently_is_ambiguous():
    values = ["03/04/2024", "04/04/2024", "25/04/2024", "04/25/2024", "2024-04-03", "99/99/2024", None]
    forms = ("%d/%m/%Y", "%m/%d/%Y")
    days = [None, *(datetime(2024, 4, day, tzinfo=UTC) for day in (4, 25, 25, 3)), None, None]
    for order in (forms, forms[::-1]):
        read, faults = instants(values, date_formats=order)
        assert read.to_list() == days
        assert faults.select("at", "code").rows() == [(0, "created_at.ambiguous"), (5, "created_at.unreadable")]


def test_a_named_form_says_what_digits_are():
    for value in ("199912312359", "2024013112"):
        assert instants([value])[1]["code"].to_list() == ["created_at.ambiguous"]
    assert instants(["199912312359"], date_formats=("%Y%m%d%H%M",))[0][0] == datetime(1999, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "good"),
    [
        *(
            (form, True)
            for form in ("%d/%m/%Y", "%Y%m%d", "%d de %B de %Y", "%s", "%Y-%j", "%c", "%+", "%Y-%m-%dT%H:%M%#z")
        ),
        *(
            (form, False)
            for form in ("", "DD/MM/YYYY", "%", "%Q", "%d/%m", "%H:%M", "%d/%m/%Y at %H", "%m/%d/%Y %I:%M")
        ),
    ],
)
def test_a_form_must_read_dates(form, good):
    assert is_form(form) == good


def test_a_form_in_small_letters_reads_them():
    read, _ = instants(["3 de march de 2024"], date_formats=("%d de %B de %Y",))
    assert read[0] == datetime(2024, 3, 3, tzinfo=UTC)


def test_each_row_of_a_mixed_column_keeps_its_place():
    values = [
        "2024-01-01",
        None,
        "nonsense",
        "1704067200",
        "2024-01-01T00:00:00.25+01:00",
        " ",
        "2024-01-01 00:00",
        "2024-02-30",
    ]
    read, faults = instants(values)
    day = datetime(2024, 1, 1, tzinfo=UTC)
    assert read.to_list() == [
        day,
        None,
        None,
        day,
        datetime(2023, 12, 31, 23, 0, 0, 250000, tzinfo=UTC),
        None,
        day,
        None,
    ]
    assert faults.select("at", "code").rows() == [(2, "created_at.unreadable"), (7, "created_at.unreadable")]
