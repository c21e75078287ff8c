"""Pictures of pages: what their labels say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.pipelines.pages import charts


@pytest.mark.parametrize(
    ("fates", "expected"),
    [
        ({"created": 59, "rejected": 1, "refused": 1}, ["97 %", "2 %", "1 %"]),
        ({"created": 1, "updated": 1, "unchanged": 1}, ["34 %", "33 %", "33 %"]),
        ({"created": 9_999, "rejected": 1}, ["100 %", "< 1 %"]),
        ({"created": 5}, ["100 %"]),
    ],
)
def test_the_shares_of_all_records_are_a_hundred_percent(fates: dict[str, int], expected: list[str]) -> None:
    labels = re.findall(r"\((?:&lt; )?(\d+ %)\)|\(&lt; (1 %)\)", charts.flow(sum(fates.values()), fates))
    assert [*charts._percents(fates, sum(fates.values())).values()] == expected
    assert len(labels) == len(fates)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=8))
def test_they_always_add_up(counts: list[int]) -> None:
    fates = {f"f{number}": count for number, count in enumerate(counts)}
    shown = charts._percents(fates, sum(counts))
    assert sum(int(share.split()[0]) for share in shown.values() if not share.startswith("<")) == 100
