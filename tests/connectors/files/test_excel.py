"""Excel workbooks: cells as users see them, where the table is, and what cannot be read."""

from __future__ import annotations

import os
import random
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.fuzzing import seeds
from support.workbooks import Formula, Rows, add_rows, edited, workbook, zipped
from tranship.connectors import opening
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import excel_cells
from tranship.connectors.files.excel_archive import Archive

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "60"))

STYLES = "xl/styles.xml"
SHEET = "xl/worksheets/sheet1.xml"
HEADER = ["Customer ID", "Name", "Email"]
ANN = ["1", "Ann", "ann@acme.com"]


def read(path: Path | str, **options: Any) -> tuple[Layout, pl.DataFrame, list[int]]:
    """Return layout, records and rows of one workbook."""
    [layout], batches = read_all(path, **options)
    records = pl.concat([batch.records for batch in batches])
    return layout, records, [line for batch in batches for line in batch.lines]


def read_all(path: Path | str, **options: Any) -> tuple[list[Layout], list[Batch]]:
    source = opening.open_source(str(path), options)
    try:
        return source.layouts(), [part.read() for part in source.parts(Path("pages"))]
    finally:
        source.close()


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        read_all(path, **options)
    return str(raised.value)


# Cells -----------------------------------------------------------------------------------------------------------

CELLS: list[tuple[str, Any, str | None, str | None]] = [
    # what it is, value, number format, text
    ("text", "Ann", None, "Ann"),
    ("text with zeros in front", "01067", None, "01067"),
    ("text that looks like a formula", "=1+1", None, "=1+1"),
    ("text that looks like a number", "1.50", None, "1.50"),
    ("text of many digits", "12345678901234567890", None, "12345678901234567890"),
    ("text with blanks and line ends", " a\nb ", None, " a\nb "),
    ("text with a control character and an escape", "a\x07_x0041_", None, "a\x07_x0041_"),
    ("text beyond the first plane", "東京 🦀 e\u0301", None, "東京 🦀 e\u0301"),
    ("text with XML in it", '<v>&amp;"</v>', None, '<v>&amp;"</v>'),
    ("empty text", "", None, None),
    ("whole number", 1001, None, "1001"),
    ("whole number of 13 digits", 7210448301122, None, "7210448301122"),
    ("whole number of 15 digits", 123456789012345, None, "123456789012345"),
    ("number whose last digits are lost", 1234567890123456, None, "1.23456789012346E+15"),
    ("number that is much too large", 1e20, None, "1.00000000000000E+20"),
    ("negative number", -5, None, "-5"),
    ("decimals", 1234.5, None, "1234.5"),
    ("decimals that a computer cannot write", 0.1 + 0.2, None, "0.3"),
    ("small number", 1e-7, None, "0.0000001"),
    ("percentage", 0.25, "0.00%", "0.25"),
    ("currency", 1234.5, '#,##0.00 "€"', "1234.5"),
    ("thousands", 1234567, "#,##0", "1234567"),
    ("postal code by its format", 1067, "00000", "01067"),
    ("number of a social security card", 12345678, "000-00-0000", "012-34-5678"),
    ("postal code in the colours of its format", 1067, "[Red]00000;[Blue]-00000", "01067"),
    ("a format of zeros does not cut", 123456, "00000", "123456"),
    ("a format of zeros rounds nothing", 1067.5, "00000", "1067.5"),
    ("one zero adds nothing", 7, "0", "7"),
    ("true", True, None, "true"),
    ("false", False, None, "false"),
    ("date", date(2024, 3, 5), None, "2024-03-05"),
    ("date and time", datetime(2024, 3, 5, 14, 30), None, "2024-03-05 14:30:00"),
    ("date of a leap year", date(2024, 2, 29), "d-mmm-yy", "2024-02-29"),
    ("time of day", 0.604166666666667, "hh:mm", "14:30:00"),
    ("duration of more than a day", 1.75, "[h]:mm", "42:00:00"),
    ("formula of a number", Formula("1+1|2"), None, "2"),
    ("formula of a text", Formula('"a"&"b"|ab'), None, "ab"),
    ("formula of a date", Formula("TODAY()|45000"), "yyyy-mm-dd", "2023-03-15"),
    ("formula without a stored result", Formula("1+1"), None, None),
    ("error that is not there", Formula("NA()|#N/A"), None, "#N/A"),
    ("error of a reference", Formula("A1|#REF!"), None, "#REF!"),
    ("error of a division", Formula("1/0|#DIV/0!"), None, "#DIV/0!"),
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Return the text read for each of CELLS: a column has one value, so that no other value affects its type."""
    folder = tmp_path_factory.mktemp("cells")
    file = folder / "cells.xlsx"
    formats = {column: code for column, (_, _, code, _) in enumerate(CELLS) if code}

    def change(book: Any, sheet: Any) -> None:
        add_rows(book, sheet, [[None] * len(CELLS), [value for _, value, _, _ in CELLS]], formats)
        for column in range(len(CELLS)):
            sheet.write_string(0, column, f"n{column}")

    workbook(file, {"A": []}, change=change)
    _, records, _ = read(file, header=True)
    [row] = records.rows(named=True)
    return {what: row[f"n{column}"] for column, (what, *_) in enumerate(CELLS)}


@pytest.mark.slow
@pytest.mark.parametrize(("what", "text"), [(what, text) for what, _, _, text in CELLS])
def test_a_cell_is_read_as_users_see_it(cells: dict[str, str | None], what: str, text: str | None) -> None:
    assert cells[what] == text


def test_types_may_differ_within_a_column(tmp_path: Path) -> None:
    values = [7, "07", 7.5, True, date(2024, 3, 5), None, Formula("NA()|#N/A")]
    file = workbook(tmp_path / "x.xlsx", {"A": [["Customer ID", "v"], *([str(n), v] for n, v in enumerate(values))]})

    _, records, _ = read(file)
    assert records["v"].to_list() == ["7", "07", "7.5", "true", "2024-03-05", None, "#N/A"]


def test_dates_count_from_1904_where_the_workbook_says_so(tmp_path: Path) -> None:
    rows = [["Name", "Created"], ["Ann", date(2024, 3, 5)]]
    file = workbook(tmp_path / "x.xlsx", {"A": rows}, date_1904=True)

    assert read(file)[1]["Created"].to_list() == ["2024-03-05"]


def test_text_that_looks_like_a_date_at_midnight_is_left_as_it_is(tmp_path: Path) -> None:
    rows = [["Name", "a", "b"], ["Ann", "2024-03-05 00:00:00", date(2024, 3, 5)]]
    file = workbook(tmp_path / "x.xlsx", {"A": rows})

    assert read(file)[1].row(0) == ("Ann", "2024-03-05 00:00:00", "2024-03-05 00:00:00")


@pytest.mark.parametrize("text", ["0.12345678901234567", Formula('"0."&A1|0.12345678901234567 ')])
def test_text_with_many_decimals_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = workbook(tmp_path / "x.xlsx", {"A": [["Name", "a"], ["Ann", text]]})
    edited(file, lambda parts: parts.update({SHEET: parts[SHEET].replace(b"67 </v>", b"67</v>")}))

    assert read(file)[1]["a"].to_list() == ["0.12345678901234567"]


def test_errors_and_formulas_without_a_result_are_noted(tmp_path: Path) -> None:
    rows = [HEADER, ["1", Formula("A9|#REF!"), "a@x.co"], ["2", Formula("A1"), "b@x.co"]]
    file = workbook(tmp_path / "x.xlsx", {"A": rows})

    layout, records, _ = read(file)
    assert records["Name"].to_list() == ["#REF!", None]
    errors, unstored = layout.notes
    assert "1 cell with an error" in errors
    assert "#REF! in B2" in errors
    assert "1 formula without a stored result" in unstored
    assert "B3" in unstored


def test_a_formula_of_empty_text_has_a_result(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"A": [HEADER, ["1", Formula("A1"), "a@x.co"]]})
    edited(file, lambda parts: parts.update({SHEET: parts[SHEET].replace(b'<c r="B2">', b'<c r="B2" t="str">')}))

    assert read(file)[0].notes == ()


@pytest.mark.slow
def test_numbers_are_shown_where_the_place_of_cells_is_implied(tmp_path: Path) -> None:
    rows = [["Name", "a", "b"], ["Ann", 1234567890123456, 0.1 + 0.2], ["Bo", "1234567890123456", 1e300]]
    file = workbook(tmp_path / "x.xlsx", {"A": rows})
    edited(file, lambda parts: parts.update({SHEET: re.sub(rb' r="[A-Z]+\d+"', b"", parts[SHEET])}))

    large = "1.23456789012346E+15"
    assert read(file)[1].rows() == [("Ann", large, "0.3"), ("Bo", "1234567890123456", "1.00000000000000E+300")]


@pytest.mark.parametrize("in_memory", [True, False])
def test_lookalikes_are_found_in_shared_and_inline_text(tmp_path: Path, in_memory: bool) -> None:
    rows = [
        ["Name", "a", "b"],
        ["Ann", "2024-03-05 00:00:00", date(2024, 3, 5)],
        ["0.12345678901234567", "x", 1234567.123456789],
    ]
    options = {"in_memory": True} if in_memory else {"in_memory": False, "constant_memory": True}
    file = workbook(tmp_path / "x.xlsx", {"A": rows}, **options)

    assert read(file)[1].rows() == [
        ("Ann", "2024-03-05 00:00:00", "2024-03-05 00:00:00"),
        ("0.12345678901234567", "x", "1234567.123456789"),
    ]


# Where the table is ----------------------------------------------------------------------------------------------

TABLES: list[tuple[str, Rows, list[str], list[int], list[tuple[str | None, ...]]]] = [
    ("header in the first row", [HEADER, ANN], HEADER, [2], [tuple(ANN)]),
    ("titles above the header", [["Customers"], ["As of 2024"], [], HEADER, ANN], HEADER, [5], [tuple(ANN)]),
    ("blank rows between and below", [HEADER, ANN, [], [" "], ANN, [""], []], HEADER, [2, 5], [tuple(ANN)] * 2),
    ("blank column in front", [[None, *HEADER], [None, *ANN]], HEADER, [2], [tuple(ANN)]),
    ("column without header", [[*HEADER, None], [*ANN, "x"]], [*HEADER, "column_4"], [2], [(*ANN, "x")]),
    ("column of nothing", [[*HEADER, None, "Note"], [*ANN, None, "x"]], [*HEADER, "Note"], [2], [(*ANN, "x")]),
    ("the same header twice", [[*HEADER, "Email"], [*ANN, "x"]], [*HEADER, "Email_2"], [2], [(*ANN, "x")]),
    ("header of several lines", [["Customer\nID", " Name ", "Email"], ANN], HEADER, [2], [tuple(ANN)]),
    ("header alone", [HEADER], HEADER, [], []),
    ("nothing at all", [], [], [], []),
]


@pytest.mark.parametrize(
    ("rows", "columns", "lines", "records"), [case[1:] for case in TABLES], ids=[c[0] for c in TABLES]
)
def test_the_table_is_found(
    tmp_path: Path, rows: Rows, columns: list[str], lines: list[int], records: list[tuple[str | None, ...]]
) -> None:
    layout, found, numbers = read(workbook(tmp_path / "x.xlsx", {"A": rows}))

    assert list(layout.columns) == columns == found.columns
    assert (numbers, found.rows()) == (lines, records)


def test_a_merged_title_is_a_title(tmp_path: Path) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.merge_range("A1:C1", "Customer list")

    layout, records, lines = read(workbook(tmp_path / "x.xlsx", {"A": [[], [], HEADER, ANN]}, change=change))
    assert (records.rows(), lines) == ([tuple(ANN)], [4])
    assert layout.notes == ("header in row 3; skipped 2 rows above it",)


def test_cells_merged_over_several_records_are_noted(tmp_path: Path) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.merge_range("B2:B3", "Ann")

    layout, _, _ = read(workbook(tmp_path / "x.xlsx", {"A": [HEADER, ANN, ["2", None, "b@x.co"]]}, change=change))
    assert layout.notes == ("1 range of merged cells over several rows: only the first row of each has the value",)


def test_rows_to_skip_and_the_row_of_the_header_can_be_given(tmp_path: Path) -> None:
    file = workbook(
        tmp_path / "x.xlsx", {"A": [["Name", "Email"], ["Old", "o@x.co"], ["Name", "Email"], ["Ann", "a@x.co"]]}
    )

    assert read(file, skip_lines=2)[2] == [4]
    assert read(file, header_line=3)[2] == [4]
    assert read(file, header=False)[2] == [1, 2, 3, 4]
    assert read(file, header=False)[0].columns == ("column_1", "column_2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skip_lines": 9}, "--skip-lines 9: sheet 'A' has only 3 rows"),
        ({"header_line": 9}, "--header-line 9: sheet 'A' has only 3 rows"),
        ({"header_line": 2}, "--header-line 2: this row is blank"),
        ({"header_line": 1, "header": False}, "--header-line 1: contradicts --no-header"),
    ],
)
def test_missing_rows_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refused(workbook(tmp_path / "x.xlsx", {"A": [HEADER, [], ANN]}), **options)


def test_a_repeated_header_is_set_aside(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"A": [HEADER, ANN, [name.upper() for name in HEADER], ANN]})

    _, [batch] = read_all(file)
    assert batch.lines.to_list() == [2, 4]
    assert batch.broken.select("line", "code").rows() == [(3, "line.header")]


def test_hidden_rows_and_columns_are_read_and_noted(tmp_path: Path) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.set_row(2, None, None, {"hidden": True})
        sheet.set_row(9, None, None, {"hidden": True})
        sheet.set_column("B:B", None, None, {"hidden": True})

    layout, records, _ = read(workbook(tmp_path / "x.xlsx", {"A": [HEADER, ANN, ANN]}, change=change))
    assert records.height == 2
    assert layout.notes == (
        "1 hidden row read as well: 3. Delete the rows that are not to be loaded",
        "1 hidden column read as well: 'Name'",
    )


def test_parts_are_cut_without_losing_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tranship.connectors.files.excel.PART_ROWS", 3)
    rows = [
        HEADER,
        *([str(n), "x", f"{n}@x.co"] for n in range(5)),
        HEADER,
        *([str(n), "x", ""] for n in range(5, 9)),
        HEADER,
    ]
    file = workbook(tmp_path / "x.xlsx", {"A": rows})

    _, batches = read_all(file)
    assert [id_ for batch in batches for id_ in batch.records["Customer ID"]] == [str(n) for n in range(9)]
    assert [line for batch in batches for line in batch.broken["line"]] == [7, 12]
    with closing(opening.open_source(str(file))) as source:
        parts = list(source.parts(Path("pages")))
        assert parts[-1].position == source.size
    assert len({part.digest() for part in parts}) == len(batches)


def test_several_workbooks_are_read_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (0, 1 << 20):
        monkeypatch.setattr("tranship.connectors.files.excel._KEPT_BYTES", kept)
        for name in ("a", "b"):
            workbook(tmp_path / f"{name}.xlsx", {"A": [HEADER, [name, "x", "x@x.co"]]})
        layouts, batches = read_all(tmp_path)
        assert len(layouts) == 2
        assert [batch.records["Customer ID"].to_list() for batch in batches] == [["a"], ["b"]]


# Sheets ----------------------------------------------------------------------------------------------------------

NOTES = [["Made for the yearly review"], ["Do not edit"]]


def test_the_only_sheet_with_a_table_is_read_and_noted(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Read me": NOTES, "Export": [HEADER, ANN], "Empty": []})

    layout, records, _ = read(file)
    assert records.rows() == [tuple(ANN)]
    assert layout.notes == ("read sheet 'Export'; no customers in the sheets 'Read me', 'Empty'",)


def test_a_sheet_of_pairs_does_not_compete_with_one_of_customers(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Info": [["Made by", "Max"], ["On", "Monday"]], "Export": [HEADER, ANN]})

    assert "read sheet 'Export'" in read(file)[0].notes[0]


def test_several_tables_stop_with_the_options_to_type(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Old": [HEADER, ANN], "New customers": [HEADER, ANN]})

    said = refused(file)
    assert "2 sheets have a table" in said
    assert "--sheet Old or --sheet 1; --sheet 'New customers' or --sheet 2" in said


@pytest.mark.parametrize("given", ["New customers", "new CUSTOMERS", "2"])
def test_a_sheet_is_named_or_numbered(tmp_path: Path, given: str) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Old": [HEADER, ANN], "New customers": [HEADER, ["2", "Bob", "b@x.co"]]})

    assert read(file, sheet=given)[1]["Name"].to_list() == ["Bob"]


def test_the_name_of_a_sheet_takes_precedence_over_its_number(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"2": [HEADER, ANN], "1": [HEADER, ["2", "Bob", "b@x.co"]]})

    assert read(file, sheet="2")[1]["Name"].to_list() == ["Ann"]


@pytest.mark.parametrize("given", ["Gone", "0", "3", "", "9" * 5000])
def test_a_missing_sheet_is_answered_with_the_existing_ones(tmp_path: Path, given: str) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Old": [HEADER, ANN], "New": [HEADER, ANN]})

    said = refused(file, sheet=given)
    assert f"has no sheet {given!r}" in said
    assert "--sheet Old" in said
    assert "--sheet New" in said


def test_a_hidden_sheet_is_read_only_if_it_is_named(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"Export": [HEADER, ANN], "Old": [HEADER, ANN, ANN]}, hidden=["Old"])

    layout, records, _ = read(file)
    assert (records.height, layout.notes) == (1, ("not read: the hidden sheet 'Old'",))
    assert read(file, sheet="Old")[1].height == 2


# The XML as other programs write it ------------------------------------------------------------------------------


def plain(tmp_path: Path) -> Path:
    rows = [["Customer ID", "Zip", "v"], [1, 1067, Formula("NA()|#N/A")], [2, 2, 1234567890123456], [None, 3, "z"]]
    return workbook(tmp_path / "x.xlsx", {"A": rows}, formats={1: "00000"})


EXPECTED = [("1", "01067", "#N/A"), ("2", "00002", "1.23456789012346E+15"), (None, "00003", "z")]


def without_places(xml: bytes) -> bytes:
    """Return cells and rows without their places; cells left out in a row must then be present."""
    xml = xml.replace(b'<c r="B4"', b'<c r="A4"/><c r="B4"')
    return re.sub(rb'(<c|<row) r="[A-Z]*\d+"', rb"\1", xml)


def with_prefix(xml: bytes) -> bytes:
    xml = re.sub(rb"<(/?)(\w+)(?=[ />])", rb"<\1x:\2", xml)
    return xml.replace(b"xmlns=", b"xmlns:x=")


@pytest.mark.parametrize(
    "edit",
    [
        lambda xml: xml,
        lambda xml: re.sub(rb'<c r="(\w+)"((?: \w+="\w+")*)', rb'<c\2 r="\1"', xml),
        lambda xml: re.sub(rb'(?<=[ ])(r|s|t)="(\w*)"', rb"\1='\2'", xml),
        lambda xml: xml.replace(b"><", b">\n  <"),
        lambda xml: xml.replace(b"<dimension", b'<dimension ref="A1"/><ignored').replace(
            b"/><sheetViews", b"/><sheetViews"
        ),
        without_places,
        with_prefix,
    ],
    ids=["as it is", "place behind", "single quotes", "indented", "wrong dimension", "no places", "prefix"],
)
def test_xml_may_be_written_in_other_ways(tmp_path: Path, edit: Callable[[bytes], bytes]) -> None:
    file = edited(plain(tmp_path), lambda parts: parts.update({SHEET: edit(parts[SHEET])}))

    layout, records, lines = read(file)
    assert records.rows() == EXPECTED
    assert lines == [2, 3, 4]
    assert layout.notes == ("1 cell with an error, read as its text: #N/A in C2",)


def test_wide_sheets_are_read(tmp_path: Path) -> None:
    header = ["Customer ID", "Name", *(f"c{n}" for n in range(700))]
    file = workbook(tmp_path / "x.xlsx", {"A": [header, ["1", "Ann", *map(str, range(700))]]}, formats={701: "00000"})

    _, records, _ = read(file)
    assert records.width == 702
    assert records.row(0)[-1] == "699"


@pytest.mark.slow
def test_the_reach_of_a_full_sheet_is_measured(tmp_path: Path) -> None:
    file = plain(tmp_path)
    edited(file, lambda parts: parts.update({SHEET: re.sub(rb'r="([A-E]?)4"', rb'r="\g<1>1048576"', parts[SHEET])}))

    archive = Archive(file.name, file.read_bytes())
    assert excel_cells.measure(file.name, archive, archive.sheets[0]) == (1_048_576, 3, False)
    assert read(file)[2] == [2, 3, 1_048_576]


# What cannot be read ---------------------------------------------------------------------------------------------

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
OTHERS = {
    "an old workbook": (OLE + "Workbook".encode("utf-16-le"), "is an old Office document"),
    "with a password": (
        OLE + "EncryptedPackage".encode("utf-16-le"),
        "is an old Office document (.xls, .doc or .msg), or",
    ),
    "a page": (b"<html><body><table><tr><td>Name</td></tr></table>", "is a web page (HTML)"),
    "a page with a mark": (b"\xef\xbb\xbf \n<table border=1>", "is a web page (HTML)"),
    "an XML spreadsheet": (
        b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">',
        "is an XML spreadsheet of Excel",
    ),
    "CSV": (b"Name,Email\nAnn,a@x.co\n", "is text with the name of a workbook"),
    "tabs in UTF-16": ("Name\tEmail\n".encode("utf-16"), "is text with the name of a workbook"),
    "nothing": (b"", "is empty"),
    "OpenDocument": (
        zipped({"mimetype": b"x", "content.xml": b"<x/>"}),
        "2 members in this zip archive, none of a known",
    ),
    "a binary workbook": (zipped({"xl/workbook.bin": b"x"}), "is a binary Excel workbook (.xlsb)"),
    "half a workbook": (zipped({"xl/workbook.xml": b"<workbook/>"})[:-30], "is a damaged or incomplete workbook"),
    "a workbook of nothing": (zipped({"xl/workbook.xml": b"<workbook/>"}), "is a damaged or incomplete workbook"),
    "noise": (bytes(range(256)), "is not an Excel workbook"),
}


@pytest.mark.parametrize(("data", "said"), OTHERS.values(), ids=OTHERS)
def test_another_file_is_named_for_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "x.xlsx"
    file.write_bytes(data)

    message = refused(file)
    assert message.startswith(f"{file}: {said}")
    assert "\n" not in message


def test_a_workbook_is_read_whatever_its_suffix_and_compression(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xls", {"A": [HEADER, ANN]})

    assert read(file)[1].height == 1


def test_a_workbook_cannot_be_written() -> None:
    with pytest.raises(ConfigError, match="Excel can only be read"):
        opening.open_destination("out.xlsx", {"create": True, "written": Path("written")})


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = plain(tmp_path)
    edited(file, lambda parts: parts.update({SHEET: parts[SHEET] + b" " * (80 << 20)}))

    assert "would unpack to 0.1 GB" in refused(file)


def test_a_part_that_is_longer_than_it_says_is_damaged(tmp_path: Path) -> None:
    file = plain(tmp_path)
    data = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        name_at = 30 if signature == b"PK\x03\x04" else 46
        at = 0
        while (at := data.find(signature, at)) >= 0:
            if data[at + name_at :].startswith(SHEET.encode()):
                data[at + offset : at + offset + 4] = struct.pack("<I", 300)
            at += 4
    file.write_bytes(data)

    assert "is a damaged or incomplete workbook" in refused(file)


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="XFD1048576"><v>1</v></c>',
        '<c r="ZZ999999"><v>1</v></c>',
        '<c r="A99999999"><v>1</v></c>',
        '<c r="A1048577"><v>1</v></c>',
        "<c r='XFD1048576'><v>1</v></c>",
        '<c r="C2" r="XFD1048576"><v>1</v></c>',
        '<c r="C2"\nr="XFD1048576"><v>1</v></c>',
        "<c r=\"C2\" s='1' r = 'XFD1048576'><v>1</v></c>",
    ],
)
def test_a_distant_stray_cell_is_reported(tmp_path: Path, cell: str) -> None:
    file = plain(tmp_path)
    edited(file, lambda parts: parts.update({SHEET: parts[SHEET].replace(b"</row>", f"{cell}</row>".encode(), 1)}))

    said = refused(file)
    assert "the last cell of sheet 'A' is in row" in said or "a cell outside" in said


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda xml: xml[: len(xml) // 2], "is a damaged or incomplete workbook"),
        (lambda xml: xml.replace(b'<row r="3"', b'<row r="2"'), "the rows of sheet 'A' are not in order"),
        (
            lambda xml: xml.replace(b'<row r="3"', b'</sheetData><sheetData><row r="3"'),
            "sheet 'A' has more than one table of cells",
        ),
    ],
    ids=["half of it", "one row twice", "two tables"],
)
def test_no_row_is_lost_in_a_damaged_sheet(tmp_path: Path, edit: Callable[[bytes], bytes], said: str) -> None:
    assert said in refused(edited(plain(tmp_path), lambda parts: parts.update({SHEET: edit(parts[SHEET])})))


# Damaged at random -----------------------------------------------------------------------------------------------

FRAGMENTS = (
    *(b"<", b">", b'"', b"/", b"<c ", b"</c>", b"<v>", b"</v>", b"<row>", b"</row>", b"\0", b"\xff", b"&x;", b"<!--"),
    *(b' r="B2"', b' r="ZZZ9999999"', b' r=""', b' s="99999"', b' t="s"', b' t="e"', b' t="d"', b' t="inlineStr"'),
    *(b"<v>-1</v>", b"<v>99999999</v>", b"<v>1e999</v>", b"<v>nan</v>", b"<f/>", b'<f t="shared" si="0"/>'),
    *(b"<is><t>x</t></is>", b'hidden="1"', b'<mergeCell ref="A1:B9"/>', b"5e-324", b"1" * 30, b"<![CDATA["),
)
NUMBERS = (b"0", b"-1", b"1048577", b"16385", b"4294967296", b"99999999999999999999", b"1e5", b"")


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            changed[at : at + 1] = chance.randbytes(1)
        elif kind == 1:
            del changed[at : at + chance.choice((1, 2, 10, 300))]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.choice((1, 4, 50)))
        elif chance.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def damaged_part(part: bytes, chance: random.Random) -> bytes:
    at, kind = chance.randrange(len(part) + 1), chance.randrange(5)
    if kind == 0:
        return part[:at] + chance.choice(FRAGMENTS) + part[at:]
    if kind == 1:
        return part[:at] + part[at + chance.choice((1, 3, 20, 500)) :]
    if kind == 2:
        start = chance.randrange(len(part) + 1)
        return part[:at] + part[start : start + chance.choice((10, 100, 1000))] + part[at:]
    numbers = list(re.finditer(rb"\d+", part))
    if kind == 3 and numbers:
        found = chance.choice(numbers)
        return part[: found.start()] + chance.choice(NUMBERS) + part[found.end() :]
    return part[:at] + chance.choice(FRAGMENTS) + part[at + 1 :]


def fate(file: Path, data: bytes) -> list[Any] | None:
    """Return the rows of a damaged workbook, null if it is refused with a one-sentence message. Anything else fails the
    test."""
    file.write_bytes(data)
    try:
        _, batches = read_all(file)
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    if said:
        # Without its list of parts, a workbook is any other archive, and the message names a member of it.
        assert re.match(rf"{re.escape(str(file))}(/[^:]*)?: ", said)
        assert "\n" not in said
        return None
    for batch in batches:
        assert batch.records.height == len(batch.lines)
        assert batch.lines.is_sorted()
        assert batch.lines.is_unique().all()
    return [(line, *row) for batch in batches for line, row in zip(batch.lines, batch.records.rows(), strict=True)]


def test_a_number_of_a_style_that_the_workbook_lacks_is_refused(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"A": [["Id", "Name"], [1067, "Ann"]]}, formats={0: "00000"})
    text, number = rb'<c r="B2" s="9" t="s">', rb'<c r="A2" s="9">'
    edited(file, lambda parts: parts.update({SHEET: re.sub(rb'<c r="B2"[^>]*>', text, parts[SHEET])}))
    assert read(file)[1].rows() == [("01067", "Ann")]

    edited(file, lambda parts: parts.update({SHEET: re.sub(rb'<c r="A2"[^>]*>', number, parts[SHEET])}))
    assert "the number in A2 has a style that the workbook does not define" in refused(file)

    edited(file, lambda parts: parts.update({SHEET: parts[SHEET].replace(rb's="9"', b"s='9'")}))
    assert "the number in A2 has a style that the workbook does not define" in refused(file)


def test_a_number_of_a_format_that_the_workbook_lacks_is_noted(tmp_path: Path) -> None:
    file = workbook(tmp_path / "x.xlsx", {"A": [["Id", "Name"], [1067, "Ann"]]}, formats={0: "00000"})
    edited(file, lambda parts: parts.update({STYLES: parts[STYLES].replace(b'numFmtId="164"', b'numFmtId="170"', 1)}))

    layout, records, _ = read(file)

    assert records.rows() == [("1067", "Ann")]
    assert layout.notes == ("1 number with a format that the workbook does not define, read as plain numbers: A2",)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        [*HEADER, "Zip"],
        *([n, f"N {n}", f"{n}@x.co", n] for n in range(1, 30)),
        [Formula("NA()|#N/A"), "x", Formula("A1")],
    ]
    return workbook(tmp_path_factory.mktemp("whole") / "x.xlsx", {"A": rows, "B": NOTES}, formats={3: "00000"})


@pytest.mark.slow
@pytest.mark.fuzz("Excel")
def test_damaged_bytes_are_refused_or_change_nothing(tmp_path: Path, whole: Path, tried: Counter[str]) -> None:
    data = whole.read_bytes()
    right = fate(tmp_path / "x.xlsx", data)
    for number in seeds(EXAMPLES):
        rows = fate(tmp_path / "x.xlsx", damaged_bytes(data, random.Random(number)))
        assert rows in (None, right), number
        tried["refused" if rows is None else "read"] += 1


@pytest.mark.slow
@pytest.mark.fuzz("Excel")
def test_damaged_parts_are_read_or_refused(tmp_path: Path, whole: Path, tried: Counter[str]) -> None:
    with zipfile.ZipFile(whole) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name in parts if name.startswith("xl/") and "theme" not in name]
    for number in seeds(EXAMPLES):
        chance = random.Random(number)
        changed = dict(parts)
        for _ in range(chance.choice((1, 1, 2, 4))):
            name = chance.choice([*names, *[SHEET] * len(names)])
            changed[name] = damaged_part(changed[name], chance)
        if chance.random() < 0.02:
            del changed[chance.choice(names)]
        rows = fate(tmp_path / "x.xlsx", zipped(changed))
        tried["refused" if rows is None else "read"] += 1
    # Both happen: the damage is neither always fatal nor never.
    assert 0 < tried["refused"] < EXAMPLES
