"""Counts of things in messages."""

from __future__ import annotations

import pytest

from tranship.schemas.counted import counted


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1000, "1,000 records")]
)
def test_a_count_is_singular_or_plural(count: int, text: str) -> None:
    assert counted(count, "record") == text


def test_a_plural_can_be_given() -> None:
    assert (counted(1, "batch", "batches"), counted(2, "batch", "batches")) == ("1 batch", "2 batches")
