"""What a spreadsheet makes of a value by itself, and what is a correction."""

from __future__ import annotations

import polars as pl
import pytest

from tranship.pipelines.fixing.spreadsheet import is_remade, is_same

REMADE = [
    ("01067", "1067"),
    ("+4930901820", "4930901820"),
    ("1.50", "1.5"),
    ("12345678901234567", "1.23457E+16"),
    ("12345678901234567", "1,23457E+16"),
    ("12345678901234567", "12345678901234500"),
    ("2024-03-01", "01.03.2024"),
    ("2024-03-01", "3/1/2024"),
    ("2024-03-01", "1/3/24"),
    ("2024-03-01", "45352"),
    ("2024-03-01T10:00:00Z", "01.03.2024 10:00"),
    ("true", "TRUE"),
    ("Łukasz", "?ukasz"),
]
CORRECTIONS = [
    ("1067", "01067"),
    ("5", "5.0"),
    ("123456", "1.23457E+5"),
    ("12345678901234567", "12345678901234000"),
    ("01/02/2024", "2024-02-01"),
    ("2024-03-01", "2024-03-02"),
    ("2024-03-01", "45353"),
    ("abc", "?bc"),
    ("a", "b"),
    ("x", None),
    (None, "x"),
]
SAME = [(None, None), ("a", "a"), ("=1", "'=1"), ("a\r\nb", "a\nb"), ("x" * 40_000, "x" * 32_767)]


@pytest.mark.parametrize(
    ("pairs", "remade", "same"), [(REMADE, True, False), (CORRECTIONS, False, False), (SAME, False, True)]
)
def test_values(pairs: list[tuple[str | None, str | None]], remade: bool, same: bool) -> None:
    frame = pl.DataFrame(pairs, schema={"original": pl.String, "given": pl.String}, orient="row")
    found = frame.with_columns(
        remade=is_remade(pl.col("original"), pl.col("given")), same=is_same(pl.col("original"), pl.col("given"))
    )
    wrong = (pl.col("remade") != remade) & ~pl.col("same") if same else (pl.col("remade") != remade)
    assert found.filter(wrong | (pl.col("same") != same)).rows() == []
