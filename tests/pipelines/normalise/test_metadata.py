"""Metadata as a JSON object."""

from __future__ import annotations

import polars as pl
import pytest

from tranship.pipelines.normalise.metadata import json_object


@pytest.mark.parametrize(
    ("value", "good"),
    [('{"a": 1}', True), ('{"a": {"b": [1, "x"]}}', True), ('{"a": "\\u00e9"}', True), ('{"a": "x\\"y"}', True), ("[1]", False), ('{"a": 1', False), ('{"a": 1,}', False), ("{'a': 1}", False), ('{"a": NaN}', False), ('{"a": 01}', False), ('{"a" 1}', False), ('{"a": 1}}', False), ("null", False)],
)  # fmt: skip
def test_metadata_is_a_json_object(value, good):
    kept, bad = json_object(pl.Series([value]))
    assert bad.to_list() == [not good]
    assert kept.to_list() == [value if good else None]
