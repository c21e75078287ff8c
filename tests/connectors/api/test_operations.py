"""The equality of two records, and of two overflows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.connectors.api.reconcile import blank, exactly, same

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("one", "other", "alike", "to_the_letter"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, True),
        ({"a": None}, {}, True, False),
        ({"a": []}, {}, True, False),
        ({"a": {}}, {"a": None}, True, False),
        ({"a": {"b": None}}, {"a": {}}, True, False),
        ({}, None, True, True),
        ({"a": ""}, {}, False, False),
        ({"a": 0}, {}, False, False),
        ({"a": False}, {}, False, False),
        ({"a": True}, {"a": 1}, False, False),
        ({"a": "1"}, {"a": 1}, False, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False, False),
        ({"a": [1]}, {"a": [1, None]}, False, False),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, False, False),
    ],
)
def test_what_says_the_same(one: Any, other: Any, alike: bool, to_the_letter: bool) -> None:
    assert same(one, other) == same(other, one) == alike
    assert exactly(one, other) == exactly(other, one) == to_the_letter


@pytest.mark.slow
@given(OBJECTS, OBJECTS)
def test_what_is_exactly_the_same_says_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    again = json.loads(json.dumps(one))
    assert same(one, again)
    assert exactly(one, again)
    assert same(one, other) or not exactly(one, other)


@pytest.mark.parametrize("value", [None, [], {}])
def test_what_says_nothing(value: Any) -> None:
    assert blank(value)


@pytest.mark.parametrize("value", ["", 0, False, [None], {"a": None}])
def test_what_says_something(value: Any) -> None:
    assert not blank(value)
