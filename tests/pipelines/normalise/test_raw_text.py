"""Typed columns as text."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from tranship.pipelines.normalise.raw_text import as_text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pl.Series([123]), "123"),
        (pl.Series([123.0]), "123"),
        (pl.Series([1.5]), "1.5"),
        (pl.Series([True]), "true"),
        (pl.Series([["a", "b"]]), '["a","b"]'),
        (pl.Series([{"a": 1, "b": None}]), '{"a":1,"b":null}'),
        (pl.Series(["x"], dtype=pl.Categorical), "x"),
        (pl.Series([b"abc"]), "abc"),
        (pl.Series([datetime(2024, 1, 1)]), "2024-01-01T00:00:00"),
    ],
)
def test_typed_values_as_text(values, text):
    assert as_text(values).to_list()[0].startswith(text)
