"""A haystack finds the same as a plain search, whatever changed in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tranship.connectors.sandbox.search import Haystack

TEXT = st.text("abü\n\0ÿ🚢", max_size=6)
KEY = st.integers(0, 15).map(str)


@given(
    st.dictionaries(KEY, TEXT),
    st.lists(st.tuples(KEY, st.none() | TEXT), max_size=40),
    st.text("abü\n\0ÿ🚢", min_size=1, max_size=3),
    st.booleans(),
)
def test_what_contains_the_needle_is_found(
    texts: dict[str, str], changes: list[tuple[str, str | None]], needle: str, settle: bool
) -> None:
    haystack = Haystack(texts.items())
    for key, text in changes:
        if text is None:
            haystack.drop(key)
            texts.pop(key, None)
        else:
            haystack.put(key, text)
            texts[key] = text
    if settle:
        for number in range(1100):
            haystack.drop(f"none-{number}")
    assert sorted(haystack.find(needle)) == sorted(key for key, text in texts.items() if needle in text)


def test_thousands_of_changes_are_settled() -> None:
    haystack = Haystack((str(number), f"text {number}") for number in range(3000))
    for number in range(1500, 6000):
        haystack.put(str(number), f"new {number}")
    for number in range(0, 3000, 2):
        haystack.drop(str(number))
    assert haystack.find("text 1001") == ["1001"]
    assert haystack.find("new 2001") == ["2001"]
    assert haystack.find("text 2001") == []
    assert haystack.find("1000") == []
    assert len(haystack.find("e")) == 750 + 750 + 3000
