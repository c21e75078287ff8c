"""Batches of raw records: typed columns, floats, unmapped columns."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch
from tranship.pipelines.normalise.spelling import Spelling
from tranship.schemas.customer import COLUMNS

# Unicode's White_Space; Python's strip() also removes the separators U+001C to U+001F.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def test_columns_that_have_their_type_are_taken_as_they_are():
    raw = pl.DataFrame(
        {
            "id": ["1", "2", "3"],
            # On that night the local time 02:30 does not exist.
            "since": [datetime(2024, 3, 31, 2, 30), datetime(2024, 1, 1), None],
            "at": [None, time(1), None],
            "names": [["a ", "a"], [], None],
        }
    )
    fields = {"external_id": "id", "created_at": "since", "updated_at": "at", "aliases": "names"}

    done = batch.customers(raw, ColumnMap(fields, (), {}), Spelling("Europe/Berlin"))
    filled = batch.customers(raw, ColumnMap(fields, (), {"created_at": "2020-01-01"}), Spelling())

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
    raw = pl.DataFrame({"id": FLOATS, "email": [None, *["a@b.co"] * 7], "name": ["x"] * 8})
    done = batch.customers(raw, ColumnMap({"external_id": "id", "email": "email", "name": "name"}, (), {}), Spelling())

    assert done.records["external_id"].to_list()[:4] == ["42", None, None, None]
    assert done.records["external_id"].to_list()[6:] == ["0.5", None]
    assert done.warnings.select("at", "code").rows() == [(at, "external_id.blocked") for at in (1, 2, 3)]
    assert done.unreadable.select("at", "code").rows() == [(at, "external_id.spreadsheet") for at in (4, 5)]


def test_a_float_of_half_the_size_is_exact_up_to_16_million():
    raw = pl.DataFrame({"id": pl.Series([16777215.0, 16777216.0], dtype=pl.Float32)})
    done = batch.customers(raw, ColumnMap({"external_id": "id"}, (), {}), Spelling())
    assert done.unreadable.select("at", "code", "value").rows() == [(1, "external_id.spreadsheet", "16777216")]


@pytest.mark.parametrize("field", ["email", "name", "city", "zip_code", "phone", "country", "tax_id", "provider_id"])
def test_no_text_is_made_of_what_is_no_number(field):
    raw = pl.DataFrame({"id": ["1"] * 3, "x": [math.nan, math.inf, -math.inf]})
    done = batch.customers(raw, ColumnMap({"external_id": "id", field: "x"}, (), {}), Spelling())
    assert done.records[field].to_list() == [None] * 3


def test_infinity_is_no_number_of_days_and_no_instant():
    raw = pl.DataFrame({"id": ["1", "2"], "days": [math.nan, math.inf], "at": [math.nan, -math.inf]})
    fields = {"external_id": "id", "net_terms": "days", "created_at": "at"}
    done = batch.customers(raw, ColumnMap(fields, (), {}), Spelling())
    assert done.unreadable.select("at", "code").rows() == [(1, "created_at.unreadable"), (1, "net_terms.unreadable")]


def test_infinity_is_kept_in_metadata_as_text():
    raw = pl.DataFrame(
        {
            "id": ["1", "2", "3", "4"],
            "x": [1.5, math.inf, -math.inf, math.nan],
            "y": [[1.0, math.inf], None, [math.nan], []],
            "z": [{"a": {"b": -math.inf}}, {"a": {"b": 1.0}}, None, None],
        }
    )
    done = batch.customers(raw, ColumnMap({"external_id": "id"}, ("x", "y", "z"), {}), Spelling())

    def strict(word):
        raise ValueError(word)

    assert [json.loads(value, parse_constant=strict) for value in done.records["metadata"]] == [
        {"x": 1.5, "y": [1.0, "Infinity"], "z": {"a": {"b": "-Infinity"}}},
        {"x": "Infinity", "z": {"a": {"b": 1.0}}},
        {"x": "-Infinity", "y": [None]},
        {"y": []},
    ]


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
@settings(max_examples=60)
def test_columns_nobody_mapped_are_kept_as_they_are(columns):
    raw = pl.DataFrame({"id": ["1"], **{f"x{name}": [value] for name, value in columns}})
    done = batch.customers(raw, ColumnMap({"external_id": "id"}, tuple(raw.columns[1:]), {}), Spelling())
    kept = done.records["metadata"][0]
    expected = {f"x{name}": value for name, value in columns if value is not None and value.strip(WHITE)}
    assert (json.loads(kept) if kept else {}) == expected


def test_metadata_and_columns_join_without_either_being_lost():
    raw = pl.DataFrame({"id": ["1", "2"], "metadata": ['{"plan": "pro", "n": 1}', None], "plan": ["team", "team"]})
    done = batch.customers(raw, ColumnMap({"external_id": "id", "metadata": "metadata"}, ("plan",), {}), Spelling())
    assert [json.loads(value) for value in done.records["metadata"]] == [
        {"plan": "pro", "n": 1, "column.plan": "team"},
        {"plan": "team"},
    ]


LONG = {
    shape: (shape * 40_000)[:40_000]
    for shape in (" ", "-", "(", "[", "a@", "a.", "1", ";", " a", '"', "<a@", ".", "\\")
}


@pytest.mark.parametrize("field", COLUMNS)
def test_a_value_is_read_in_linear_time(field: str) -> None:
    """In quadratic time, some of these would take minutes."""
    raw = pl.DataFrame({"given": [f"x{long}x" for long in LONG.values()] + [*LONG.values()]})
    normalised = batch.customers(raw, ColumnMap({field: "given"}, (), {}), Spelling("UTC", (), frozenset()))
    assert normalised.records.height == raw.height
