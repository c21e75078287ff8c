"""Information in the XML of a sheet that the library does not return.

`measure` finds how far the cells reach, before the library reserves memory for all cells up to the last one. `scan`
does that, too, and finds the cells that Excel shows differently from the library's values: errors, numbers with a
format of their own, formulas without a stored result; and hidden rows and columns, and merged cells. Cells that are
written as usual are found by `excel_bytes.py`; regular expressions, which are much slower, search only pieces with
other cells, or in which some bytes of a match occur. Searches that the library's values make unnecessary are left out
(`find_large`, `has_long_decimals`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import unescape
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from msgspec import Struct, field

from tranship.connectors.errors import ConfigError
from tranship.connectors.files.excel_archive import Archive, Sheet
from tranship.connectors.files.excel_bytes import Cells, Contents, Numbers, Piece
from tranship.connectors.files.excel_formats import Formats, Shown
from tranship.schemas.counted import counted

MOST_CELLS: Final = 100_000_000
"""Rows times columns, up to the last cell of a sheet: each takes up to 32 bytes of memory, filled or not."""
MOST_COLUMNS: Final = 16_384
MOST_ROWS: Final = 1_048_576
_LETTERS: Final = 26
_SURE_DIGITS: Final = 15
_EXAMPLES: Final = 5


class Extent(NamedTuple):
    """How far the cells of a sheet reach, at most; and whether the place of some is implied."""

    rows: int
    columns: int
    implied: bool


class Scan(Struct):
    """The result of `scan`. Rows and columns are counted from 0."""

    texts: list[pl.DataFrame] = field(default_factory=list)
    """The texts that users see, of some cells: `row`, `column`, `text`."""
    errors: int = 0
    first_errors: list[str] = field(default_factory=list)
    """`#REF! in C5`"""
    unstored: int = 0
    """Formulas without a result."""
    first_unstored: list[str] = field(default_factory=list)
    unformatted: int = 0
    """Numbers with a number format that the workbook does not define."""
    first_unformatted: list[str] = field(default_factory=list)
    hidden_rows: array[int] = field(default_factory=lambda: array("L"))
    hidden_columns: set[int] = field(default_factory=set)
    merged: list[tuple[int, int]] = field(default_factory=list)
    """First and last row of each range of merged cells."""
    begins_in_first_column: bool = False
    """Whether a cell in the first column is known to have a value."""
    implied: bool = False
    """Whether the XML leaves out the place of some cells."""
    has_midnights: bool = False
    """Whether some text looks like a date with the time 00:00:00, as the library writes it."""
    of_text: set[int] | None = None
    """Columns of which no cell has anything but text; null if that is not known."""


def column_name(number: int) -> str:
    """Return the letters of a column, counted from 0."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, _LETTERS)
        name = chr(65 + rest) + name
    return name


def column_number(name: str) -> int:
    """Return the number of a column, from 0, by its letters."""
    number = 0
    for letter in name.upper():
        number = number * _LETTERS + ord(letter) - 64
    return number - 1


class _Patterns(Struct, frozen=True):
    """Regular expressions for the XML of a sheet whose names have this prefix."""

    prefix: bytes
    row_end: bytes
    table_end: bytes
    row: re.Pattern[bytes]
    row_or_cell: re.Pattern[bytes]
    error: re.Pattern[bytes]
    unstored: re.Pattern[bytes]
    large: re.Pattern[bytes]
    number: re.Pattern[bytes]
    hidden_row: re.Pattern[bytes]
    column: re.Pattern[bytes]
    merged: re.Pattern[bytes]


@cache
def _patterns(p: bytes) -> _Patterns:
    def compiled(pattern: bytes) -> re.Pattern[bytes]:
        return re.compile(pattern.replace(b"~", p), re.DOTALL)

    # Attributes are short; without a limit, the time for a damaged file would grow with the square of its size.
    inside = rb"[^<>]{0,400}"
    opened = rb"<~c(\s%b)(?<!/)>\s*" % inside
    of_formula = rb"<~f(?:\s%b)?(?:/>|>[^<]*</~f>)" % inside
    value = rb"(?:%b)?\s*<~v(?:\s%b)?>\s*(%%b)</~v>" % (of_formula, inside)

    def having(attribute: bytes) -> bytes:
        return opened.replace(inside, rb"%b\b%b%b" % (inside, attribute, inside))

    return _Patterns(
        prefix=p,
        row_end=b"</%brow>" % p,
        table_end=b"</%bsheetData>" % p,
        row=compiled(rb"<~row\s(?:%b?\s)?r=[\"'](\d{1,9})[\"']" % inside),
        row_or_cell=compiled(rb"<~(row|c)(\s[^<>]*?)?(/?)>"),
        error=compiled(having(rb"t=[\"']e[\"']") + value % rb"[^<]*"),
        unstored=compiled(
            rb"<~c(\s%b)?(?<!/)>\s*%b\s*(<~v(?:\s%b)?/>|<~v(?:\s%b)?>\s*</~v>)?\s*</~c>"
            % (inside, of_formula, inside, inside)
        ),
        large=compiled(opened + value % rb"-?\d{16,}[^<]*|-?\d[^<]*[eE][^<]*"),
        number=compiled(having(rb"s=[\"']\d+[\"']") + value % rb"[^<]*"),
        hidden_row=compiled(rb"<~row(\s%b\bhidden=[\"'](?:1|true)[\"']%b)>" % (inside, inside)),
        column=compiled(rb"<~col(\s%b\bhidden=[\"'](?:1|true)[\"']%b)>" % (inside, inside)),
        merged=compiled(rb"<~mergeCell\s%b\bref=[\"']([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})[\"']" % inside),
    )


_ATTRIBUTE: Final = re.compile(rb"([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ATTRIBUTES: Final = re.compile(rb"(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*")
_PLACE: Final = re.compile(rb"([A-Za-z]{1,6})(\d{1,10})")
_ROOT: Final = re.compile(rb"<(?:([\w.-]+):)?worksheet\b")
_ANY_PREFIX: Final = re.compile(rb":(?:c|row)[\s/>]")
_PREFIXED: Final = re.compile(rb"<((?:[\w.-]+:)?)(?:c|row)[\s/>]")
_Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
_NONE: Final = np.empty(0, np.int64)
_NO_NUMBERS: Final = Numbers(_NONE, _NONE, _NONE, pl.Series(dtype=pl.Float64))
_SHARED: Final = "xl/sharedStrings.xml"
_MIDNIGHT: Final = b" 00:00:00<"
_LONG_DECIMALS: Final = re.compile(
    rb"\.\d{12,}</(?:[\w.-]{1,99}:)?t>"
    rb"|\st=[\"']str[\"'][^>]{0,400}>(?:<[^>]{0,400}>[^<]*){0,2}<[^>]{0,400}>[^<]*\.\d{12,}</"
)
"""At the end of a text, or of the result of a formula."""


def measure(name: str, archive: Archive, sheet: Sheet) -> Extent:
    """Return how far the cells of a sheet reach. Raises ConfigError if that is more than can be read."""
    p = _patterns(_prefix(archive, sheet))
    reach = _Reach(archive, sheet, p)
    for piece in _pieces(archive, sheet, p):
        reach.add(piece)
    return _extent(name, archive, sheet, p, reach)


def _pieces(archive: Archive, sheet: Sheet, p: _Patterns) -> Iterator[Piece]:
    return (Piece(text, p.prefix) for text in archive.rows(sheet.part, p.row_end))


class _Reach:
    """How far cells that are written as usual reach."""

    def __init__(self, archive: Archive, sheet: Sheet, p: _Patterns, *, only_filled: bool = False) -> None:
        self.rows = self.columns = 0
        self.is_usual = True
        """Whether all are."""
        self._archive, self._sheet, self._p, self._only_filled = archive, sheet, p, only_filled

    def add(self, piece: Piece) -> None:
        """Add the cells of a piece."""
        p = self._p
        if piece.has_other_tags and _ANY_PREFIX.search(piece.text) and {*_PREFIXED.findall(piece.text)} != {p.prefix}:
            raise self._archive.damaged(f"{self._sheet.part} has names with different prefixes")
        cells = piece.cells
        is_plain = piece.contents is not None and piece.hidden_rows is not None
        if cells is None or (not is_plain and piece.may_give_places_twice()):
            self.is_usual = False
        else:
            rows, columns = piece.reach(cells, only_filled=self._only_filled)
            self.rows, self.columns = max(self.rows, rows), max(self.columns, columns)


def _extent(name: str, archive: Archive, sheet: Sheet, p: _Patterns, reach: _Reach) -> Extent:
    extent = Extent(reach.rows, reach.columns, implied=False)
    if not reach.is_usual:
        extent = _exactly(archive, sheet, p)
    elif extent.rows > MOST_ROWS or extent.columns > MOST_COLUMNS or extent.rows * extent.columns > MOST_CELLS:
        reach = _Reach(archive, sheet, p, only_filled=True)
        for piece in _pieces(archive, sheet, p):
            reach.add(piece)
        extent = Extent(reach.rows, reach.columns, implied=False)
    if extent.rows > MOST_ROWS or extent.columns > MOST_COLUMNS:
        raise archive.damaged(
            f"a cell outside the {counted(MOST_ROWS, 'row')} and {counted(MOST_COLUMNS, 'column')} of a sheet"
        )
    if extent.rows * extent.columns > MOST_CELLS:
        raise ConfigError(
            f"{name}: the last cell of sheet {sheet.name!r} is in row {extent.rows:,} and column "
            f"{column_name(extent.columns - 1)}, more than can be read at once. If that cell is there by mistake, "
            "delete its row or column, and save the workbook; otherwise save the sheet as CSV."
        )
    return extent


def _exactly(archive: Archive, sheet: Sheet, p: _Patterns) -> Extent:
    """How far the cells reach, from the place of each; that of a cell without one is implied."""
    rows = columns = 0
    implied = False
    counter = _Places()
    for piece in archive.rows(sheet.part, p.row_end):
        for kind, attributes, closed in p.row_or_cell.findall(piece):
            row, column, given = counter.of(kind, attributes)
            implied |= not given
            if kind == b"c" and not closed:
                rows, columns = max(rows, row + 1), max(columns, column + 1)
    return Extent(rows, columns, implied)


class _Places:
    """The place of each row and cell, in their order in the XML."""

    def __init__(self) -> None:
        self._row, self._column = -1, -1

    def of(self, kind: bytes, attributes: bytes) -> tuple[int, int, bool]:
        """Return row and column, from 0, and whether the XML gives them."""
        pairs = _ATTRIBUTE.findall(attributes)
        given = b"".join(double or single for name, double, single in pairs if name == b"r")
        if not _ATTRIBUTES.fullmatch(attributes) or sum(name == b"r" for name, _, _ in pairs) > 1:
            given = b"?"
        if kind == b"row":
            is_given = given.isdigit() and len(given) < 9
            self._row = int(given) - 1 if is_given else self._row + 1
            self._column = -1
            return self._row, 0, is_given
        found = _PLACE.fullmatch(given)
        if found:
            self._column = column_number(found[1].decode())
            return int(found[2]) - 1, self._column, True
        if given:
            return MOST_ROWS, MOST_COLUMNS, True  # no place at all: beyond what can be read
        self._column += 1
        return max(self._row, 0), self._column, False


def scan(name: str, archive: Archive, sheet: Sheet, formats: Formats) -> Scan:
    """Measure a sheet, and return the facts about its cells that the library does not report. Raises ConfigError."""
    p = _patterns(_prefix(archive, sheet))
    reach = _Reach(archive, sheet, p)
    search = _Search(archive, sheet, p, formats)
    for piece in _pieces(archive, sheet, p):
        reach.add(piece)
        if not reach.is_usual:
            break
        search.add(piece)
    extent = _extent(name, archive, sheet, p, reach)
    if not reach.is_usual:
        search = _Search(archive, sheet, p, formats)
        for piece in _placed(archive, sheet, p, implied=extent.implied):
            search.add(piece)
    search.found.implied = extent.implied
    return search.end()


class _Search:
    """The search of a sheet, piece by piece in order."""

    def __init__(self, archive: Archive, sheet: Sheet, p: _Patterns, formats: Formats) -> None:
        self.found = Scan()
        self._archive, self._sheet, self._p, self._formats = archive, sheet, p, formats
        self._numbers: list[Numbers] = []
        self._last_row, self._is_begun, self._is_over = 0, False, False
        self._not_of_text: _Mask | None = np.zeros(MOST_COLUMNS, np.bool_)
        """Whether each column has a cell with anything but text; null if that is not known."""

    def add(self, piece: Piece) -> None:
        """Search a piece. Raises ConfigError if rows would be lost."""
        p, found, text = self._p, self.found, piece.text
        self._must_be_in_order(piece)
        cells, contents, hidden = piece.cells, piece.contents, piece.hidden_rows
        if (
            (b'="e"' in text or b"='e'" in text)
            if contents is None
            else any(form.kind == b"e" for form in contents.forms)
        ):
            _find_errors(found, p.error.finditer(text))
        if piece.has_element(b"f") if cells is None or contents is None else piece.has_unstored(cells, contents):
            _find_unstored(found, p.unstored.finditer(text))
        if hidden is not None:
            found.hidden_rows.extend((hidden - 1).tolist())
        elif b"hidden" in text:
            places = (_attributes(match[1]).get(b"r", b"") for match in p.hidden_row.finditer(text))
            found.hidden_rows.extend(int(number) - 1 for number in places if number.isdigit() and len(number) < 9)
        if not self._is_begun:
            for match in p.column.finditer(text):
                found.hidden_columns |= _columns_of(_attributes(match[1]))
            self._is_begun = piece.has_element(b"row")
        if self._is_over and piece.has_element(b"mergeCell"):
            found.merged += [(int(top) - 1, int(bottom) - 1) for _, top, _, bottom in p.merged.findall(text)]
        if contents is None or any(form.has_own_text for form in contents.forms):
            found.has_midnights = found.has_midnights or _has_midnight(text)
        if cells is None or contents is None:
            self._not_of_text = None
        elif self._not_of_text is not None:
            others = [form for form in contents.forms if not form.is_text]
            self._not_of_text[cells.columns[contents.those(others)] if others else _NONE] = True
        if cells is not None and contents is not None and not found.begins_in_first_column:
            found.begins_in_first_column = piece.has_value_in_first_column(cells, contents)
        numbers = None if cells is None or contents is None else self._plain_numbers(piece, cells, contents)
        self._add_numbers(_numbers_in(p.number.finditer(text)) if numbers is None else numbers)

    def _plain_numbers(self, piece: Piece, cells: Cells, contents: Contents) -> Numbers | None:
        """Return the numbers whose styles matter; null if one is not written as usual."""
        forms = [form for form in contents.forms if form.has_number and self._formats.matters(form.style)]
        return piece.numbers(cells, contents, forms) if forms else _NO_NUMBERS

    def _add_numbers(self, numbers: Numbers) -> None:
        """Keep the numbers with a format of their own. Raises ConfigError for a style that the workbook lacks: whether
        the number is a date, or has zeros in front, cannot be known.
        """
        formats, found = self._formats, self.found
        is_unknown = numbers.styles >= formats.count
        if is_unknown.any():
            at = int(np.flatnonzero(is_unknown)[0])
            place = f"{column_name(int(numbers.columns[at]))}{int(numbers.rows[at]) + 1}"
            raise self._archive.damaged(f"the number in {place} has a style that the workbook does not define")
        if formats.undefined:
            at_undefined = np.flatnonzero(np.isin(numbers.styles, [*formats.undefined]))
            found.unformatted += len(at_undefined)
            for at in at_undefined[: _EXAMPLES - len(found.first_unformatted)].tolist():
                found.first_unformatted.append(f"{column_name(int(numbers.columns[at]))}{int(numbers.rows[at]) + 1}")
        if formats.shown:
            self._numbers.append(numbers)

    def end(self) -> Scan:
        """Return what was found, with the texts of all numbers that have a format."""
        if self._numbers:
            rows, columns, styles = (
                np.concatenate([getattr(numbers, name) for numbers in self._numbers])
                for name in ("rows", "columns", "styles")
            )
            values = pl.concat([numbers.values for numbers in self._numbers])
            _show(self.found, Numbers(rows, columns, styles, values), self._formats.shown)
        if self._not_of_text is not None:
            self.found.of_text = {*np.flatnonzero(~self._not_of_text).tolist()}
        return self.found

    def _must_be_in_order(self, piece: Piece) -> None:
        # Of two rows with one number, the library would keep the cells of the later one.
        if piece.rows is None:
            numbers = np.array([*map(int, self._p.row.findall(piece.text))], np.int64)
        else:
            numbers = piece.rows.numbers
        if len(numbers) and (numbers[0] <= self._last_row or (np.diff(numbers) <= 0).any()):
            raise self._archive.damaged(f"the rows of sheet {self._sheet.name!r} are not in order")
        self._last_row = int(numbers[-1]) if len(numbers) else self._last_row
        # The library would not read what follows the end.
        may_end = not self._is_over and piece.has_other_tags
        end = 0 if self._is_over else piece.text.find(self._p.table_end) if may_end else -1
        if end >= 0 and self._p.row.search(piece.text, end):
            raise self._archive.damaged(f"sheet {self._sheet.name!r} has more than one table of cells")
        self._is_over = end >= 0


def find_large(found: Scan, archive: Archive, sheet: Sheet) -> None:
    """Add the numbers that have lost digits, of a sheet that was scanned. Raises ConfigError."""
    p = _patterns(_prefix(archive, sheet))
    for piece in _placed(archive, sheet, p, implied=found.implied):
        numbers = _numbers_in(p.large.finditer(piece.text))
        _add(found, numbers.rows, numbers.columns, [_inexact(value) for value in numbers.values])


def has_shared_midnights(archive: Archive) -> bool:
    """Return whether some text that cells share looks like a date with the time 00:00:00. Raises ConfigError. The text
    is read to its end, which confirms its size.
    """
    found = False
    if archive.has(_SHARED):
        for text in archive.rows(_SHARED, b">"):
            found = found or _has_midnight(text)
    return found


def _has_midnight(text: bytes) -> bool:
    # One byte is found in a fraction of the time.
    return b":" in text and _MIDNIGHT in text


def has_long_decimals(archive: Archive, sheet: Sheet) -> bool:
    """Return whether some text looks like a number with more decimals than Excel keeps. Raises ConfigError."""
    ends = {sheet.part: _patterns(_prefix(archive, sheet)).row_end, _SHARED: b">"}
    return any(
        _LONG_DECIMALS.search(text)
        for part, end in ends.items()
        if archive.has(part)
        for text in archive.rows(part, end)
    )


def _placed(archive: Archive, sheet: Sheet, p: _Patterns, *, implied: bool) -> Iterator[Piece]:
    counter = _Places()
    for piece in _pieces(archive, sheet, p):
        yield Piece(_with_places(piece.text, p, counter), p.prefix) if implied else piece


def _prefix(archive: Archive, sheet: Sheet) -> bytes:
    """The prefix of the names in the XML, with its colon; usually empty."""
    root = _ROOT.search(next(archive.pieces(sheet.part), b""))
    if root is None:
        raise archive.damaged(f"{sheet.part} is not a worksheet")
    return root[1] + b":" if root[1] else b""


def _attributes(text: bytes) -> dict[bytes, bytes]:
    return {name: double or single for name, double, single in _ATTRIBUTE.findall(text)}


def _place_of(attributes: Mapping[bytes, bytes]) -> tuple[int, int] | None:
    found = _PLACE.fullmatch(attributes.get(b"r", b""))
    return (int(found[2]) - 1, column_number(found[1].decode())) if found else None


def _with_places(piece: bytes, p: _Patterns, counter: _Places) -> bytes:
    """The XML with the place of each cell and row written out."""

    def placed(match: re.Match[bytes]) -> bytes:
        row, column, given = counter.of(match[1], match[2] or b"")
        if given:
            return match[0]
        place = f"{row + 1}" if match[1] == b"row" else f"{column_name(column)}{row + 1}"
        start = match[0].partition(match[1])[0] + match[1]
        return b'%b r="%b"%b' % (start, place.encode(), match[0][len(start) :])

    return p.row_or_cell.sub(placed, piece)


def _find_errors(found: Scan, matches: Iterator[re.Match[bytes]]) -> None:
    rows, columns, texts = [], [], []
    for match in matches:
        place = _place_of(_attributes(match[1]))
        if place:
            text = unescape(match[2].decode(errors="replace")).strip()
            rows.append(place[0])
            columns.append(place[1])
            texts.append(text)
            found.errors += 1
            if len(found.first_errors) < _EXAMPLES:
                found.first_errors.append(f"{text} in {column_name(place[1])}{place[0] + 1}")
    _add(found, rows, columns, texts)


def _find_unstored(found: Scan, matches: Iterator[re.Match[bytes]]) -> None:
    for match in matches:
        attributes = _attributes(match[1] or b"")
        if match[2] and attributes.get(b"t") == b"str":
            continue  # the result is the empty text
        found.unstored += 1
        place = _place_of(attributes)
        if place and len(found.first_unstored) < _EXAMPLES:
            found.first_unstored.append(f"{column_name(place[1])}{place[0] + 1}")


def _numbers_in(matches: Iterator[re.Match[bytes]]) -> Numbers:
    """Return the cells of these that have a number."""
    rows, columns, styles, texts = [], [], [], []
    for match in matches:
        attributes = _attributes(match[1])
        place = _place_of(attributes)
        if place is None or attributes.get(b"t", b"n") != b"n":
            continue
        rows.append(place[0])
        columns.append(place[1])
        style = attributes.get(b"s", b"")
        styles.append(int(style) if style.isdigit() and len(style) < 9 else -1)
        texts.append(match[2].decode(errors="replace").strip())
    places = np.array([rows, columns, styles], np.int64)
    return Numbers(places[0], places[1], places[2], pl.Series(texts, dtype=pl.String).cast(pl.Float64, strict=False))


def _show(found: Scan, numbers: Numbers, shown: Mapping[int, Shown]) -> None:
    """Add the texts of numbers with these formats."""
    for style in {*np.unique(numbers.styles).tolist()} & shown.keys():
        at = np.flatnonzero(numbers.styles == style)
        texts = shown[style](numbers.values.gather(at))
        _add(found, numbers.rows[at], numbers.columns[at], texts)


def _inexact(value: float | None) -> str | None:
    """A number of more digits than Excel keeps, as Excel shows it: its last digits are lost, and it must not look like
    an id. Null for others.
    """
    return f"{value:.14E}" if value is not None and abs(value) >= 10**_SURE_DIGITS else None


def _add(found: Scan, rows: Iterable[int], columns: Iterable[int], texts: Iterable[str | None]) -> None:
    places = {"row": pl.Series(rows, dtype=pl.Int64), "column": pl.Series(columns, dtype=pl.Int64)}
    found.texts.append(pl.DataFrame({**places, "text": pl.Series(texts, dtype=pl.String)}).drop_nulls("text"))


def _columns_of(attributes: Mapping[bytes, bytes]) -> set[int]:
    first, last = attributes.get(b"min", b""), attributes.get(b"max", b"")
    if not (first.isdigit() and last.isdigit() and len(first) < 6 and len(last) < 6):
        return set()
    return set(range(int(first) - 1, min(int(last), MOST_COLUMNS)))
