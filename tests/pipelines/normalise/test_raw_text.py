"""Typed columns as text."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from tranship.pipelines.normalise.raw_text import as_text, text_of_field


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


@pytest.mark.parametrize(
    ("listed", "number"),
    [
        ('[{"PhoneNumber": "555010", "PhoneAreaCode": "21", "PhoneCountryCode": "64"}]', "+6421555010"),
        (
            """[{"PhoneNumber": "", "PhoneAreaCode": "", "PhoneCountryCode": ""},
            {"PhoneNumber": "5550", "PhoneAreaCode": "21", "PhoneCountryCode": ""}]""",
            "215550",
        ),
        ('[{"value": "", "primary": true}]', None),
        ('[{"value": "+1 312 555 0100"}]', "+1 312 555 0100"),
    ],
)
def test_the_number_in_a_list(listed: str, number: str | None) -> None:
    assert text_of_field(pl.Series([listed]), "phone").to_list() == [number]
