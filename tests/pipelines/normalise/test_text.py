"""Free text and e-mail addresses; tests/support/cases/ has the tables of each field."""

from __future__ import annotations

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.pipelines.normalise.text import QUIET, text


def quiet_characters() -> list[str]:
    pattern = re.compile("[" + re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", QUIET) + "]")
    return [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and pattern.match(chr(code))]


@pytest.mark.slow
def test_characters_left_alone_need_nothing_done():
    for character in quiet_characters():
        assert unicodedata.normalize("NFC", character) == character
        assert unicodedata.combining(character) == 0
        assert unicodedata.category(character) not in ("Cc", "Cs")
        assert character == " " or not character.isspace()


@pytest.mark.slow
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


@pytest.mark.slow
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
@settings(max_examples=100)
def test_text_is_nfc_trimmed_and_single_spaced(values):
    for value in text(pl.Series(values, dtype=pl.String)).drop_nulls():
        assert value == unicodedata.normalize("NFC", value)
        assert value == value.strip(" ")
        assert value
        assert "  " not in value
        assert not any(unicodedata.category(c) == "Cc" for c in value)


@pytest.mark.slow
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
@settings(max_examples=100)
def test_text_twice_is_text_once(values):
    once = text(pl.Series(values, dtype=pl.String))
    assert text(once).to_list() == once.to_list()
