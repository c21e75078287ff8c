"""The fast searches find the same as regular expressions."""

from __future__ import annotations

import random
import re

import pytest

from tranship.connectors.files import excel_bytes

ROW = re.compile(rb"<row\s(?:[^<>]{0,400}?\s)?r=[\"'](\d{1,9})[\"']")


@pytest.mark.parametrize("needle", [b"<f", b'="e"', b"</long>"])
def test_a_needle_is_found_at_any_place(needle: bytes) -> None:
    for before in range(9):
        for behind in range(9):
            assert excel_bytes.holds(b"x" * before + needle + b"x" * behind, b"none", needle)
            assert not excel_bytes.holds(b"x" * before + needle[:-1] + b"x" * behind, b"none", needle)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<row",
        b'<row r="7">',
        b'<row r="7"></row>',
        b'<row r="7"/><row r="12"/>' + b" " * 20,
        b'<row r="1048576" spans="1:5"><c/></row><row r="3"></row></sheetData>',
        b'<row spans="1:5" r="2"><c/></row><row r="3"></row></sheetData>',
        b"<row r='2'><c/></row><row r='3'></row></sheetData>",
        b'<row r=""></row><row r="5"></row><row r="1x"></row></sheetData>',
        b'<row r="1234567890"></row><row r="123456789"></row></sheetData>',
        b'<row r="2"></row></sheetData><rowBreaks count="1"/></worksheet>',
        b'<row></row><row r="5"></row></sheetData></worksheet>',
    ],
)
def test_row_numbers_are_those_in_the_xml(text: bytes) -> None:
    for before in range(5):
        moved = b" " * before + text
        assert excel_bytes.row_numbers(moved, ROW).tolist() == [*map(int, ROW.findall(moved))]


def test_row_numbers_of_damaged_xml_are_found() -> None:
    chance = random.Random(1)
    for _ in range(300):
        text = bytearray(b"".join(b'<row r="%d"><c r="A1"/></row>' % chance.randrange(10**7) for _ in range(5)))
        for _ in range(chance.choice((0, 1, 2))):
            text[chance.randrange(len(text))] = chance.choice(b"<r \"'0x")
        assert excel_bytes.row_numbers(bytes(text), ROW).tolist() == [*map(int, ROW.findall(bytes(text)))]
