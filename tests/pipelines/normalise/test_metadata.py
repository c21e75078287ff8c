"""Metadata as a JSON object."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tranship.pipelines.normalise.metadata import json_object, merge_unmapped


@pytest.mark.parametrize(
    ("value", "good"),
    [('{"a": 1}', True), ('{"a": {"b": [1, "x"]}}', True), ('{"a": "\\u00e9"}', True), ('{"a": "x\\"y"}', True), ("[1]", False), ('{"a": 1', False), ('{"a": 1,}', False), ("{'a': 1}", False), ('{"a": NaN}', False), ('{"a": 01}', False), ('{"a" 1}', False), ('{"a": 1}}', False), ("null", False)],
)  # fmt: skip
def test_metadata_is_a_json_object(value, good):
    kept, bad = json_object(pl.Series([value]))
    assert bad.to_list() == [not good]
    assert kept.to_list() == [value if good else None]


WIDE = {
    **{f"text {number}": ["a", None, " ", '"q"\n'] for number in range(50)},
    **{f"number {number}": [1.5, None, float("nan"), float("inf")] for number in range(50)},
    **{f"list {number}": [[1], None, [], [2, 3]] for number in range(50)},
    **{f'"\\\n{number}': ["x", "", "y", '"v":'] for number in range(50)},
    "v": [True, False, None, True],
}


@pytest.mark.slow
@pytest.mark.parametrize("own", [None, pl.Series([None, '{"text 7":"own","v":1}', '{"a":2}', None])])
def test_many_columns_become_the_same_as_one_by_one(own: pl.Series | None) -> None:
    wide = pl.DataFrame(WIDE)
    merged = merge_unmapped(own, wide)
    for row in range(wide.height):
        expected = json.loads(own[row] or "{}") if own is not None else {}
        for column in wide.iter_columns():
            alone = merge_unmapped(own, column.to_frame())[row]
            expected |= json.loads(alone) if alone else {}
        assert json.loads(merged[row]) == expected
        assert list(json.loads(merged[row])) == sorted(expected, key=list(expected).index)


def test_a_column_of_a_name_that_the_metadata_has_is_distinguished() -> None:
    merged = merge_unmapped(pl.Series(['{"a":1}', None]), pl.DataFrame({"a": ["x", "y"], "b": ["z", ""]}))
    assert merged.to_list() == ['{"a":1,"column.a":"x","b":"z"}', '{"a":"y"}']


@pytest.mark.parametrize("value", ["{}", "{ }", "[]", "[ ]"])
def test_metadata_without_pairs_is_null(value):
    kept, bad = json_object(pl.Series([value, '{"a":1}']))
    assert kept.to_list() == [None, '{"a":1}']
    assert not bad.any()
