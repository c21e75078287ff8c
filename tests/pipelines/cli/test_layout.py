"""Text in a number of columns: nothing is cut, and what is to be copied stays whole."""

from __future__ import annotations

import pytest

from tranship.pipelines.cli.layout import table, text_width, wrapped

ROWS = [
    ("email.syntax", "2", "export.csv, line 13", "email is malformed: use an address such as jane@acme.com"),
    ("name.missing", "10", "export.csv, line 11", "name is missing: every customer needs a name"),
]


@pytest.mark.parametrize("width", [200, 80, 60, 40, 28])
def test_no_word_is_lost_and_no_line_too_wide(width: int) -> None:
    lines = table(ROWS, (1,), width)

    assert max(map(text_width, lines)) <= width
    words = [word for row in ROWS for cell in row for word in cell.split()]
    assert sorted(" ".join(lines).split()) == sorted(words)


def test_the_last_column_is_wrapped_below_itself_where_there_is_room() -> None:
    assert table(ROWS, (1,), 72) == [
        "  email.syntax   2  export.csv, line 13  email is malformed: use an",
        "                                         address such as jane@acme.com",
        "  name.missing  10  export.csv, line 11  name is missing: every customer",
        "                                         needs a name",
    ]


def test_rows_become_blocks_on_a_narrow_terminal() -> None:
    assert table(ROWS[:1], (1,), 40) == [
        "  email.syntax  2  export.csv, line 13",
        "    email is malformed: use an address",
        "    such as jane@acme.com",
    ]


def test_values_of_a_block_have_the_names_of_their_columns() -> None:
    rows = [("0017", "active", "a long value before"), ("0018", "", "another one")]

    assert table(rows, (), 30, ("customer", "status", "before the run")) == [
        "  0017",
        "    status: active",
        "    before the run: a long",
        "      value before",
        "  0018",
        "    before the run: another",
        "      one",
    ]


def test_a_table_that_fits_has_its_header() -> None:
    assert table([("1", "x")], (), 80, ("id", "name")) == ["  id  name", "  1   x"]
    assert table([("1", "x")], (), 80, ("id", "name"), shows_header=False) == ["  1  x"]
    assert table([], (), 80, ("id", "name")) == ["  id  name"]


def test_paths_and_commands_stay_whole() -> None:
    path = ".tranship/runs/20261129T131949-057fe9/report.html"
    assert wrapped(f"see {path} for more", 60) == [f"see {path} for", "more"]
    assert wrapped(f"look here: {path} for more", 52) == ["look here:", path, "for more"]
    assert wrapped(f"see {path} for more", 20) == [f"see {path}", "for more"]


def test_wide_characters_count_twice() -> None:
    assert wrapped("名前 名前 名前", 10) == ["名前 名前", "名前"]


def test_without_a_width_nothing_is_wrapped() -> None:
    assert wrapped("word " * 100, None) == ["word " * 100]
