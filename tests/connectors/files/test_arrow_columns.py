"""Columns of Arrow as columns of a source: dates and times inside lists, whole and in slices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from tranship.connectors.files.arrow_columns import unfolded

_AT = datetime(2024, 1, 1)
_TIME = pa.timestamp("us")
_LISTS = [[_AT, None], None, [], [_AT, _AT, _AT]]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (_LISTS, pa.list_(_TIME)),
        (_LISTS, pa.large_list(_TIME)),
        (_LISTS, pa.list_view(_TIME)),
        ([[_AT, None], None, [_AT, _AT]], pa.list_(_TIME, 2)),
        ([[[_AT], None], None, [[], [_AT, None]]], pa.list_(pa.list_(_TIME))),
        ([[{"at": _AT}], None, [None, {"at": None}]], pa.list_(pa.struct([("at", _TIME)]))),
        ([[("a", _AT)], None, [], [("a", None), ("b", _AT)]], pa.map_(pa.string(), _TIME)),
    ],
    ids=str,
)
def test_times_inside_lists_are_unchanged(values: list[Any], dtype: pa.DataType) -> None:
    whole = pa.array(values * 2, dtype)
    for part in (whole, whole.slice(1), whole.slice(2, 3), whole.slice(0, 0)):
        (column,) = unfolded([pa.field("x", dtype)], [part])
        assert column.to_pylist() == part.to_pylist()
