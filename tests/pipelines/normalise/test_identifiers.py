"""Ids: cleaning them, and those that identify nobody."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle
from tranship.pipelines.normalise.identifiers import blocked_emails, external_id

ODD = st.one_of(
    st.text(alphabet="'=\"-+@0aE.,\u200b\ufeff \u00a0#N/", max_size=8),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6),
)


@pytest.mark.slow
@given(st.lists(ODD, min_size=1, max_size=5))
@settings(max_examples=100)
def test_ids_are_as_the_oracle_has_them_and_stay_so(values):
    ids, blocked, rounded, _ = external_id(pl.Series(values, dtype=pl.String), frozenset())
    bare = [oracle.bare_id(value) or None for value in values]
    assert ids.to_list() == [None if value and oracle.is_blocked_id(value) else value for value in bare]
    assert blocked.to_list() == [bool(value and oracle.is_blocked_id(value)) for value in bare]
    assert rounded.to_list() == [bool(value and oracle.is_rounded(value)) for value in bare]
    assert external_id(ids, frozenset())[0].to_list() == ids.to_list()


@pytest.mark.slow
def test_what_is_invisible_is_what_unicode_says():
    unseen = {chr(code) for first, last in oracle.UNSEEN for code in range(first, last + 1)}
    every = pl.Series([chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    left = pl.select(pl.concat_str(pl.lit("a"), every, pl.lit("b"))).to_series()
    ids, *_ = external_id(left, frozenset())
    assert set(every.filter(ids == "ab")) == unseen
    # All formatting marks except a few visible ones, such as a sign over a number or letters of old scripts.
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
    ids, blocked, *_ = external_id(
        pl.Series(["Walk-In", "\u00dcNBEKANNT", "7"]), frozenset({"walk-in", "\u00fcnbekannt"})
    )
    assert ids.to_list() == [None, None, "7"]
    assert blocked.to_list() == [True, True, False]


def test_any_number_of_words_may_be_blocked() -> None:
    many = frozenset(f"Blocked{number}@x.co " for number in range(50_000))
    ids, blocked, *_ = external_id(pl.Series(["BLOCKED7@x.co", " blocked8@x.co", "Ünique", "1", None]), many)
    assert ids.to_list() == [None, None, "Ünique", "1", None]
    assert blocked.to_list() == [True, True, False, False, False]
    addresses = pl.Series(["blocked7@x.co", "noreply@x.co", "a@x.co", "none", None])
    assert [mask.to_list() for mask in blocked_emails(addresses, many)[1:]] == [
        [False, False, False, True, False],
        [True, True, False, False, False],
    ]
