"""Cells of a CSV file: guarded against spreadsheets when written, and read back unchanged."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from support import oracle
from tranship.schemas import cells

VALUES = st.lists(
    st.text(st.sampled_from("'=+-@\t\r\n＝＋－＠﹣−\ufeff\u200b\u202e\u061c\u3164\x00a1\" .東"), max_size=7),
    min_size=1,
    max_size=60,
)


@given(VALUES)
def test_a_guarded_cell_is_read_as_what_was_written(values: list[str]) -> None:
    written = pl.DataFrame({"v": values}).select(cells.guarded(pl.col("v")))["v"]
    assert cells.unguarded(written).to_list() == values


@given(VALUES)
def test_guards_are_removed_as_the_oracle_says(values: list[str]) -> None:
    assert cells.unguarded(pl.Series(values)).to_list() == [oracle.unguarded(value) for value in values]


@given(VALUES)
def test_what_is_not_misread_comes_back_as_it_is(values: list[str]) -> None:
    frame = pl.DataFrame({"v": values})
    misread = frame.select(cells.misread(frame.schema)).item()
    changed = sum(was != now for was, now in zip(values, cells.unguarded(frame["v"]), strict=True))
    assert changed <= misread


@given(VALUES)
def test_a_written_cell_does_not_begin_as_a_formula_does(values: list[str]) -> None:
    for cell in pl.DataFrame({"v": values}).select(cells.guarded(pl.col("v")))["v"]:
        begins = cell.lstrip("\ufeff\u200b\u202e\u061c\u3164\x00\t\r\n")[:1]
        number = cell[:1] in "+-" and cell[1:2].isdigit() and not cell[1:].strip("1 .")
        assert number or not begins or begins not in oracle.SIGNS


def test_a_column_whose_name_looks_like_a_pattern_is_guarded_as_well() -> None:
    frame = pl.DataFrame({"^a.*$": ["=1"], "*": ["=2"], "a": ["=3"]})
    assert frame.with_columns(cells.written(frame.schema)).row(0) == ("'=1", "'=2", "'=3")


def test_names_of_columns_are_guarded() -> None:
    frame = pl.LazyFrame({"=1+1": ["a"], "'name": ["b"], "\ufeff＠x": ["c"], "e-mail": ["=1"]})
    assert cells.as_csv(frame).collect_schema().names() == ["'=1+1", "''name", "'\ufeff＠x", "e-mail"]
    assert cells.as_csv(frame, raw=True).collect().equals(frame.collect())
