"""Cells, rows and numbers that are found in the XML are those that regular expressions find."""

from __future__ import annotations

import random
import re

import pytest

from tranship.connectors.files.excel_bytes import Piece

ROW = re.compile(rb"<row\s(?:[^<>]{0,400}?\s)?r=[\"'](\d{1,9})[\"']")
END = b"</row></sheetData></worksheet>"


def numbers_of(text: bytes, *styles: int) -> list[tuple[int, int, int, float]] | None:
    piece = Piece(text + END)
    cells, contents = piece.cells, piece.contents
    if cells is None or contents is None:
        return None
    forms = [form for form in contents.forms if form.has_number and form.style in styles]
    found = piece.numbers(cells, contents, forms)
    return found and list(
        zip(found.rows.tolist(), found.columns.tolist(), found.styles.tolist(), found.values.to_list(), strict=True)
    )


def test_an_element_is_found_by_its_whole_name() -> None:
    assert Piece(b"<fx/><f/>").has_element(b"f")
    assert Piece(b"<y:f>", b"y:").has_element(b"f")
    assert not Piece(b"<fx/><f2>f</of><", b"").has_element(b"f")
    assert not Piece(b"", b"").has_element(b"f")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"", []),
        (b"<row", []),
        (b'<row r="7">', [7]),
        (b'<row r="7"/><row r="12"/>', [7, 12]),
        (b'<row r="1048576" spans="1:5"><c/></row><row r="3"></row></sheetData>', [1048576, 3]),
        (b'<row spans="1:5" r="2"><c/></row><row r="3"></row></sheetData>', None),
        (b"<row r='2'><c/></row><row r='3'></row></sheetData>", None),
        (b'<row r=""></row><row r="5"></row><row r="1x"></row></sheetData>', None),
        (b'<row r="12345678"></row></sheetData>', None),
        (b'<row r="1:"></row><row r="-1"></row>', None),
        (b'<row r="2"></row></sheetData><rowBreaks count="1"/></worksheet>', [2]),
        (b'<row></row><row r="5"></row></sheetData></worksheet>', None),
        (b'<row r="2', None),
    ],
)
def test_row_numbers_are_read_where_all_are_written_as_usual(text: bytes, numbers: list[int] | None) -> None:
    for before in range(5):
        found = Piece(b" " * before + text).rows
        assert (None if found is None else found.numbers.tolist()) == numbers


def test_numbers_of_any_length_are_read() -> None:
    for digits in range(1, 8):
        for number in (10 ** (digits - 1), 10**digits - 1, int("1234567"[:digits]), int("9080706"[:digits])):
            found = Piece(b'<row r="%d"><c r="A%d"/>' % (number, number))
            assert found.rows is not None
            assert found.rows.numbers == [number]
            assert found.cells is not None
            assert found.cells.rows == [number - 1]


def test_row_numbers_of_damaged_xml_are_those_in_it() -> None:
    chance = random.Random(1)
    right = 0
    for _ in range(300):
        text = bytearray(b"".join(b'<row r="%d"><c r="A1"/></row>' % chance.randrange(10**7) for _ in range(5)))
        for _ in range(chance.choice((0, 1, 2))):
            text[chance.randrange(len(text))] = chance.choice(b"<r \"'0x")
        found = Piece(bytes(text)).rows
        assert found is None or found.numbers.tolist() == [*map(int, ROW.findall(bytes(text)))]
        right += found is not None
    assert 100 < right < 300


@pytest.mark.parametrize("prefix", [b"", b"x:"])
def test_cells_are_read_where_all_are_written_as_usual(prefix: bytes) -> None:
    xml = b'<cols><col/></cols><row r="1"><c r="A1"/><c r="Z1048576" s="1"><v>1</v></c><c r="XFD2" t="s"/></row>'
    cells = Piece(re.sub(rb"<(/?)", rb"<\1%b" % prefix, xml), prefix).cells

    assert cells is not None
    assert cells.rows.tolist() == [0, 1_048_575, 1]
    assert cells.columns.tolist() == [0, 25, 16_383]


@pytest.mark.parametrize(
    "cell",
    [
        *(b"<c/>", b"<c>", b'<c s="1" r="A1"/>', b"<c r='A1'/>", b'<c\nr="A1"/>', b'<c  r="A1"/>', b'<c r="1"/>'),
        *(b'<c r="AAAA1"/>', b'<c r="A"/>', b'<c r="A1', b'<c r="a1"/>', b'<c r="A12345678"/>', b'<c r = "A1"/>'),
    ],
)
def test_one_unusual_cell_is_noticed(cell: bytes) -> None:
    assert Piece(b'<row r="1"><c r="A1"/>' + cell).cells is None


@pytest.mark.parametrize(
    ("cell", "suspicious"),
    [
        (b'<c r="A1" s="1"/>', False),
        (b'<c r="A1"\n s="1"/>', False),
        (b'<c r="A1" t="inlineStr"><is><t>O\'Brien\nr and red r &quot;sons</t></is></c>', False),
        (b'<c r="A1" r="B1"/>', True),
        (b'<c r="A1" s="1"  r="B1"/>', True),
        (b'<c r="A1"\nr="B1"/>', True),
        (b'<c r="A1"\tr="B1"/>', True),
        (b'<c r="A1" r ="B1"/>', True),
        (b"<c r=\"A1\" r='B1'/>", True),
    ],
)
def test_a_second_place_is_suspected(cell: bytes, suspicious: bool) -> None:
    assert Piece(b'<row r="1"><c r="A1"/>%b</row>' % cell).may_give_places_twice() is suspicious


def test_blank_cells_may_be_left_out_of_the_reach() -> None:
    piece = Piece(b'<row r="2"><c r="A2"><v>1</v></c><c r="B2" s="1"/><c r="C2"/></row><row r="9"><c r="A9"/></row>')
    cells = piece.cells

    assert cells is not None
    assert piece.reach(cells, only_filled=False) == (9, 3)
    assert piece.reach(cells, only_filled=True) == (2, 1)


def test_nothing_reaches_nowhere() -> None:
    piece = Piece(b"")
    cells = piece.cells

    assert cells is not None
    assert piece.reach(cells, only_filled=True) == (0, 0)


def test_cells_that_name_another_row_are_read() -> None:
    cells = Piece(b'<row r="7"><c r="A7"/><c r="AB123"/></row><row r="8"><c r="ABC8"/></row>').cells

    assert cells is not None
    assert cells.rows.tolist() == [6, 122, 7]
    assert cells.columns.tolist() == [0, 27, 730]


def test_numbers_of_styles_are_read() -> None:
    xml = (
        b'<row r="1"><c r="A1" s="3"><v>1067</v></c><c r="B1" s="3" t="n"><v>-1.5E-3</v></c><c r="C1" s="33"><v>2</v>'
        b'</c><c r="D1" s="3"/><c r="E1" s="3" t="s"><v>5</v></c><c r="F1"><v>6</v></c><c r="AA7" s="4"><v>7</v></c>'
        b'<c r="AB7" t="n" s="3"><v>12345678901234567890</v></c>'
    )

    assert numbers_of(xml, 3, 4) == [
        (0, 0, 3, 1067),
        (0, 1, 3, -0.0015),
        (6, 26, 4, 7),
        (6, 27, 3, 12345678901234567890.0),
    ]
    assert numbers_of(xml, 5) == []


def test_numbers_that_are_results_of_formulas_are_read() -> None:
    xml = (
        b'<row r="1"><c r="A1" s="3"><f>B1+1</f><v>7</v></c><c r="B1" s="3"><v>6</v></c>'
        b'<c r="C1" s="3"><f t="shared" si="0"/><v>8</v></c><c r="D1" s="3" t="str"><f>B1</f><v>x</v></c></row>'
    )

    assert numbers_of(xml, 3) == [(0, 0, 3, 7), (0, 1, 3, 6), (0, 2, 3, 8)]


@pytest.mark.parametrize(
    ("formula", "unstored"),
    [
        (b"<f>1+1</f><v>2</v>", False),
        (b'<f t="shared" si="0"/><v>2</v>', False),
        (b"<f>1+1</f>", True),
        (b"<f>1+1</f><v></v>", True),
        (b"<f>1+1</f><v/>", True),
        (b"<f/>", True),
    ],
)
def test_a_formula_without_a_result_is_noticed(formula: bytes, unstored: bool) -> None:
    piece = Piece(b'<row r="1"><c r="A1"><f>2+2</f><v>4</v></c><c r="B1">%b</c></row>' % formula)
    assert piece.cells is not None
    assert piece.contents is not None
    assert piece.has_unstored(piece.cells, piece.contents) is unstored


@pytest.mark.parametrize(
    ("row", "hidden"),
    [
        (b'<row r="2">', []),
        (b'<row r="2" spans="1:5" hidden="1">', [2]),
        (b'<row r="2" hidden="true"/>', [2]),
        (b'<row r="2" hidden="0" x14ac:dyDescent="0.25">', []),
        (b'<row r="2" r="3">', None),
        (b"<row r=\"2\" hidden='1'>", None),
        (b'<row r="2"  hidden="1">', None),
        (b'<row r="2" hidden = "1">', None),
        (b'<row r="2" a="' + b"x" * 300 + b'">', None),
    ],
)
def test_hidden_rows_are_read_where_rows_are_written_as_usual(row: bytes, hidden: list[int] | None) -> None:
    found = Piece(b'<row r="1" spans="1:5"></row>' + row + b'</row><row r="4" spans="1:5"></row>').hidden_rows
    assert (None if found is None else found.tolist()) == hidden


@pytest.mark.parametrize(
    ("xml", "other"),
    [
        (b'<c r="A1"/><c r="B1"></c><c r="C1" t="s"><v>1</v></c>', False),
        (b'<c r="A1" t="inlineStr"><is><t xml:space="preserve"> x</t></is></c>', False),
        (b'<c r="A1" t="inlineStr"><is><t>x</t><r><t>y</t></r></is></c>', True),
        (b'<c r="A1"/><x:c r="B1"/>', True),
        (b'<c r="A1"/></row></sheetData><row>', True),
        (b"<c/>", True),
    ],
)
def test_other_tags_are_noticed(xml: bytes, other: bool) -> None:
    assert Piece(b'<row r="1">%b</row>' % xml).has_other_tags is other


@pytest.mark.parametrize(
    "cell",
    [
        b'<c r="A1" s="3" s="4"><v>1</v></c>',
        b'<c r="A1" s="3" cm="1"><v>1</v></c>',
        b"<c r=\"A1\" s='3'><v>1</v></c>",
        b'<c r="A1" s="3"> <v>1</v></c>',
        b'<c r="A1" s="3"><v xml:space="preserve">1</v></c>',
        b'<c r="A1" s="3"><v></v></c>',
        b'<c r="A1" s="3"><v><![CDATA[1]]></v></c>',
        b'<c r="A1" s="3"><v>%b</v></c>' % (b"1" * 40),
        b'<c r="A1" s="3"><f>1+1</f></c>',
        b'<c s="3"><v>1</v></c>',
    ],
)
def test_one_unusual_number_is_noticed(cell: bytes) -> None:
    assert numbers_of(b'<c r="A1" s="3"><v>1</v></c>' + cell, 3) is None
