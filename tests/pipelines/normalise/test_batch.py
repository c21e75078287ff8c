"""Spellings → values. The fields' full tables are in cases.py and run against the whole product; here is what they leave."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import UTC, datetime, time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch
from tranship.pipelines.normalise.batch import Spelling

# Unicode's White_Space; Python's strip() takes the separators U+001C to U+001F for blanks too.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def instants(values, **spelling):
    return batch.instant(pl.Series(values, dtype=pl.String), "created_at", Spelling(**spelling))


# Text -----------------------------------------------------------------------------------------------------------------


def quiet_characters() -> list[str]:
    pattern = re.compile("[" + re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", batch.QUIET) + "]")
    return [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and pattern.match(chr(code))]


def test_characters_left_alone_need_nothing_done():
    for character in quiet_characters():
        assert unicodedata.normalize("NFC", character) == character
        assert unicodedata.combining(character) == 0
        assert unicodedata.category(character) not in ("Cc", "Cs")
        assert character == " " or not character.isspace()


def test_characters_left_alone_never_join_with_each_other():
    composed = {unicodedata.normalize("NFD", chr(code)) for code in range(0x110000) if not 0xD800 <= code < 0xE000}
    quiet = set(quiet_characters())
    second = {pair[1] for pair in composed if len(pair) == 2}
    joining = {
        (first, last)
        for last in second & quiet
        for first in quiet
        if len(unicodedata.normalize("NFC", first + last)) == 1
    }
    assert not joining


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_text_is_nfc_trimmed_and_single_spaced(values):
    for value in batch.text(pl.Series(values, dtype=pl.String)).drop_nulls():
        assert value == unicodedata.normalize("NFC", value)
        assert value == value.strip(" ")
        assert value
        assert "  " not in value
        assert not any(unicodedata.category(c) == "Cc" for c in value)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_text_twice_is_text_once(values):
    once = batch.text(pl.Series(values, dtype=pl.String))
    assert batch.text(once).to_list() == once.to_list()


# Instants -------------------------------------------------------------------------------------------------------------


@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1)),
    st.sampled_from(["T", " "]),
    st.sampled_from(["", "Z", "+02:00", "-0530", " +00", " UTC"]),
)
@settings(max_examples=300, deadline=None)
def test_iso_is_read_to_the_microsecond(moment, separator, zone):
    text = f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S.%f}{zone}"
    read, faults = instants([text])
    offset = {"": "+0000", "Z": "+0000", "+02:00": "+0200", "-0530": "-0530", " +00": "+0000", " UTC": "+0000"}[zone]
    expected = datetime.strptime(f"{moment:%Y-%m-%dT%H:%M:%S.%f}{offset}", "%Y-%m-%dT%H:%M:%S.%f%z")
    assert faults.is_empty()
    assert read[0] == expected


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_instant_or_a_fault(value):
    read, faults = instants([value])
    assert (read[0] is not None) + faults.height == (1 if value.strip(WHITE) else 0)


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        ("2024-01-15", "Europe/Berlin", datetime(2024, 1, 14, 23, tzinfo=UTC)),
        ("2024-07-15 10:00:00", "Europe/Berlin", datetime(2024, 7, 15, 8, tzinfo=UTC)),
        ("2024-07-15T10:00:00Z", "Europe/Berlin", datetime(2024, 7, 15, 10, tzinfo=UTC)),
        ("2024-07-15T10:00:00.5", "Europe/Berlin", datetime(2024, 7, 15, 8, 0, 0, 500000, tzinfo=UTC)),
        ("2024-03-31 02:30:00", "Europe/Berlin", None),  # the clock jumped over it
        ("2024-10-27 02:30:00", "Europe/Berlin", None),  # the clock showed it twice
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
        ("2024/01/02 03:04", "%Y/%m/%d %H:%M %Z", None),
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
    assert batch.is_form(form) == good


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


# Typed columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pl.Series([123]), "123"),
        (pl.Series([123.0]), "123"),
        (pl.Series([1.5]), "1.5"),
        (pl.Series([True]), "true"),
        (pl.Series([["a", "b"]]), '["a","b"]'),
        (pl.Series([{"a": 1, "b": None}]), '{"a":1,"b":null}'),
        (pl.Series(["x"], dtype=pl.Categorical), "x"),
        (pl.Series([b"abc"]), "abc"),
        (pl.Series([datetime(2024, 1, 1)]), "2024-01-01T00:00:00"),
    ],
)
def test_typed_values_as_text(values, text):
    assert batch.as_text(values).to_list()[0].startswith(text)


def test_columns_that_have_their_type_are_taken_as_they_are():
    wire = pl.DataFrame(
        {
            "id": ["1", "2", "3"],
            # On that night the clock has no half past two.
            "since": [datetime(2024, 3, 31, 2, 30), datetime(2024, 1, 1), None],
            "at": [None, time(1), None],
            "names": [["a ", "a"], [], None],
        }
    )
    fields = {"external_id": "id", "created_at": "since", "updated_at": "at", "aliases": "names"}

    done = batch.customers(wire, ColumnMap(fields, (), {}), Spelling("Europe/Berlin"))
    filled = batch.customers(wire, ColumnMap(fields, (), {"created_at": "2020-01-01"}), Spelling())

    assert done.records["created_at"].to_list() == [None, datetime(2023, 12, 31, 23, tzinfo=UTC), None]
    assert done.records["updated_at"].to_list() == [None, None, None]
    assert done.records["aliases"].to_list() == [["a"], None, None]
    assert done.unreadable.rows() == [
        (0, "created_at.unreadable", "2024-03-31 02:30:00.000000"),
        (1, "updated_at.unreadable", "01:00:00"),
    ]
    assert filled.records["created_at"].to_list()[2] == datetime(2020, 1, 1, tzinfo=UTC)


FLOATS = [42.0, math.nan, math.inf, -math.inf, 2.0**53, 1e300, 0.5, None]


def test_floats_are_ids_where_they_are_whole_and_exact():
    wire = pl.DataFrame({"id": FLOATS, "email": [None, *["a@b.co"] * 7], "name": ["x"] * 8})
    done = batch.customers(wire, ColumnMap({"external_id": "id", "email": "email", "name": "name"}, (), {}), Spelling())

    assert done.records["external_id"].to_list()[:4] == ["42", None, None, None]
    assert done.records["external_id"].to_list()[6:] == ["0.5", None]
    assert done.warnings.select("at", "code").rows() == [(at, "external_id.blocked") for at in (1, 2, 3)]
    assert done.unreadable.select("at", "code").rows() == [(at, "external_id.spreadsheet") for at in (4, 5)]


def test_a_float_of_half_the_size_is_exact_up_to_16_million():
    wire = pl.DataFrame({"id": pl.Series([16777215.0, 16777216.0], dtype=pl.Float32)})
    done = batch.customers(wire, ColumnMap({"external_id": "id"}, (), {}), Spelling())
    assert done.unreadable.select("at", "code", "value").rows() == [(1, "external_id.spreadsheet", "16777216")]


@pytest.mark.parametrize("field", ["email", "name", "city", "zip_code", "phone", "country", "tax_id", "provider_id"])
def test_no_text_is_made_of_what_is_no_number(field):
    wire = pl.DataFrame({"id": ["1"] * 3, "x": [math.nan, math.inf, -math.inf]})
    done = batch.customers(wire, ColumnMap({"external_id": "id", field: "x"}, (), {}), Spelling())
    assert done.records[field].to_list() == [None] * 3


def test_infinity_is_no_number_of_days_and_no_instant():
    wire = pl.DataFrame({"id": ["1", "2"], "days": [math.nan, math.inf], "at": [math.nan, -math.inf]})
    fields = {"external_id": "id", "net_terms": "days", "created_at": "at"}
    done = batch.customers(wire, ColumnMap(fields, (), {}), Spelling())
    assert done.unreadable.select("at", "code").rows() == [(1, "created_at.unreadable"), (1, "net_terms.unreadable")]


def test_infinity_is_kept_in_metadata_as_text():
    wire = pl.DataFrame(
        {
            "id": ["1", "2", "3", "4"],
            "x": [1.5, math.inf, -math.inf, math.nan],
            "y": [[1.0, math.inf], None, [math.nan], []],
            "z": [{"a": {"b": -math.inf}}, {"a": {"b": 1.0}}, None, None],
        }
    )
    done = batch.customers(wire, ColumnMap({"external_id": "id"}, ("x", "y", "z"), {}), Spelling())

    def strict(word):
        raise ValueError(word)

    assert [json.loads(value, parse_constant=strict) for value in done.records["metadata"]] == [
        {"x": 1.5, "y": [1.0, "Infinity"], "z": {"a": {"b": "-Infinity"}}},
        {"x": "Infinity", "z": {"a": {"b": 1.0}}},
        {"x": "-Infinity", "y": [None]},
        {"y": []},
    ]


# Ids ------------------------------------------------------------------------------------------------------------------


ODD = st.one_of(
    st.text(alphabet="'=\"-+@0aE.,\u200b\ufeff \u00a0#N/", max_size=8),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6),
)


@given(st.lists(ODD, min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
def test_ids_are_as_the_oracle_has_them_and_stay_so(values):
    ids, blocked, rounded = batch.external_id(pl.Series(values, dtype=pl.String), frozenset())
    bare = [oracle.bare_id(value) or None for value in values]
    assert ids.to_list() == [None if value and oracle.is_blocked_id(value) else value for value in bare]
    assert blocked.to_list() == [bool(value and oracle.is_blocked_id(value)) for value in bare]
    assert rounded.to_list() == [bool(value and oracle.is_rounded(value)) for value in bare]
    assert batch.external_id(ids, frozenset())[0].to_list() == ids.to_list()


def test_what_is_invisible_is_what_unicode_says():
    unseen = {chr(code) for first, last in oracle.UNSEEN for code in range(first, last + 1)}
    every = pl.Series([chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    left = pl.select(pl.concat_str(pl.lit("a"), every, pl.lit("b"))).to_series()
    ids, _, _ = batch.external_id(left, frozenset())
    assert set(every.filter(ids == "ab")) == unseen
    # All formatting marks but a few that are seen, as a sign over a number or a letter of old scripts.
    formatting = {c for c in every if unicodedata.category(c) == "Cf"}
    assert {f"{ord(c):X}"[:-1] for c in formatting - unseen} <= {
        "60",
        "6D",
        "70",
        "89",
        "8E",
        "110B",
        "110C",
        "1343",
        "1344",
    }


def test_words_of_the_user_s_own_are_no_ids_either():
    ids, blocked, _ = batch.external_id(
        pl.Series(["Walk-In", "\u00dcNBEKANNT", "7"]), frozenset({"walk-in", "\u00fcnbekannt"})
    )
    assert ids.to_list() == [None, None, "7"]
    assert blocked.to_list() == [True, True, False]


# Phones against the reference -----------------------------------------------------------------------------------------


def test_phones_agree_with_libphonenumber_on_its_own_examples():
    phonenumbers = pytest.importorskip("phonenumbers")
    rows = []
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number(region)
        for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            rows.append((region, phonenumbers.format_number(number, form), e164))
    frame = pl.DataFrame(rows, ["country", "given", "e164"], orient="row")
    read, _ = batch.phone(frame["given"], frame["country"])
    wrong = frame.with_columns(read=read).filter(pl.col("read") != pl.col("e164"))
    # Kept as given (with a warning) is no harm; another number would be.
    harmful = wrong.filter(pl.col("read") != pl.col("given"))
    assert harmful.height <= 2, harmful.rows()
    assert wrong.height <= 0.03 * frame.height


def test_a_number_with_its_calling_code_is_not_given_it_twice():
    phonenumbers = pytest.importorskip("phonenumbers")
    rows = []
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            if number := phonenumbers.example_number_for_type(region, kind):
                e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                national = phonenumbers.national_significant_number(number)
                rows += [(region, e164.removeprefix("+"), e164), (region, national, e164)]
    frame = pl.DataFrame(rows, ["country", "given", "e164"], orient="row")
    read, _ = batch.phone(frame["given"], frame["country"])
    wrong = frame.with_columns(read=read).filter(pl.col("read") != pl.col("e164"))
    # A short number with the code is as long as a mobile number without it: 49 30 123456 and 0493 0123456.
    assert wrong.height <= 5, wrong.rows()
    # What begins like the calling code by chance is a national number.
    assert wrong.filter(pl.col("e164").str.len_bytes() > pl.col("given").str.len_bytes() + 1).is_empty(), wrong.rows()


# Metadata -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10),
            st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10)),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda pair: pair[0],
    )
)
@settings(max_examples=200, deadline=None)
def test_columns_nobody_mapped_are_kept_as_they_are(columns):
    wire = pl.DataFrame({"id": ["1"], **{f"x{name}": [value] for name, value in columns}})
    done = batch.customers(wire, ColumnMap({"external_id": "id"}, tuple(wire.columns[1:]), {}), Spelling())
    kept = done.records["metadata"][0]
    expected = {f"x{name}": value for name, value in columns if value is not None and value.strip(WHITE)}
    assert (json.loads(kept) if kept else {}) == expected


def test_metadata_and_columns_join_without_either_being_lost():
    wire = pl.DataFrame({"id": ["1", "2"], "metadata": ['{"plan": "pro", "n": 1}', None], "plan": ["team", "team"]})
    done = batch.customers(wire, ColumnMap({"external_id": "id", "metadata": "metadata"}, ("plan",), {}), Spelling())
    assert [json.loads(value) for value in done.records["metadata"]] == [
        {"plan": "pro", "n": 1, "column.plan": "team"},
        {"plan": "team"},
    ]


@pytest.mark.parametrize(
    ("value", "good"),
    [('{"a": 1}', True), ('{"a": {"b": [1, "x"]}}', True), ('{"a": "\\u00e9"}', True), ('{"a": "x\\"y"}', True), ("[1]", False), ('{"a": 1', False), ('{"a": 1,}', False), ("{'a': 1}", False), ('{"a": NaN}', False), ('{"a": 01}', False), ('{"a" 1}', False), ('{"a": 1}}', False), ("null", False)],
)  # fmt: skip
def test_metadata_is_a_json_object(value, good):
    kept, bad = batch.json_object(pl.Series([value]))
    assert bad.to_list() == [not good]
    assert kept.to_list() == [value if good else None]
