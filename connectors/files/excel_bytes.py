"""Searches of the XML of a sheet with numpy, many times as fast as with Python's regular expressions.

They find cells and rows that are written as usual. If others occur they return null, and the caller searches the text.
Work on each cell is cheaper than work on each byte: what can be read behind the place of a cell is not searched for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Struct

from tranship.connectors.files.json_tokens import text_views

_Ints = np.ndarray[Any, np.dtype[np.int64]]
_Bools = np.ndarray[Any, np.dtype[np.bool_]]
_Words = np.ndarray[Any, np.dtype[np.uint64]]
_Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_OPEN, _SLASH, _QUOTE, _END = b'</">'
_ENDS_NAME: Final = np.isin(np.arange(256), list(b" >/\t\r\n"))
_WORD: Final = 8
_EACH_BYTE: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = _EACH_BYTE * np.uint64(0x80)
_MOST_COLUMNS: Final = 26 + 26**2 + 26**3
_LETTERS: Final = 26
_LONGEST_NUMBER: Final = 32
_LONGEST_TAG: Final = 256
_MOST_FORMS: Final = 64
_MAY_BE_PLACE: Final = re.compile(rb"\sr\s*=")
_ROW_ATTRIBUTES: Final = re.compile(rb"(?: (?!r=)[\w:.-]+=\"[^\"<>&]*\")* ?/?")
_HIDDEN: Final = re.compile(rb' hidden="(?:1|true)"')
_PLACE: Final = np.uint64(int.from_bytes(b' r="', "little"))
_FIRST: Final = np.array([(1 << 8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
"""Masks of the first bytes of a word, by their number."""


@cache
def _form_of(prefix: bytes) -> re.Pattern[bytes]:
    content = (
        rb"/>|></~c>|><~(?P<value>v)>|><~(?P<text>i)s><~t(?: xml:space=\"preserve\")?>|><~(?P<formula>f)[ />]"
    ).replace(b"~", re.escape(prefix))
    style = rb' s="(?P<%b>\d{1,7})"'
    kind = rb' t="(?P<kind>s|n|inlineStr|str|b|e|d)"'
    return re.compile(rb"(?:%b)?(?:%b)?(?:%b)?(?:%b)" % (style % b"style", kind, style % b"late", content))


class Rows(Struct, frozen=True):
    """All rows of a piece, in their order: the number of each, from 1, and where the tag continues behind it."""

    starts: _Ints
    numbers: _Ints
    behind: _Ints


class Cells(Struct, frozen=True):
    """All cells of a piece, in their order: row and column from 0, and where the tag continues behind the place."""

    starts: _Ints
    rows: _Ints
    columns: _Ints
    behind: _Ints


class Form(Struct, frozen=True):
    """What follows the place of a cell, up to its content: ` s="1" t="s"><v>`. `style` is -1 where none is given."""

    text: bytes
    style: int
    kind: bytes
    content: bytes
    """The first letter of the element within the cell; blank if there is none."""

    @property
    def has_number(self) -> bool:
        """Whether the cell contains a number, with or without a formula."""
        return self.kind in (b"", b"n") and self.content != b""

    @property
    def is_text(self) -> bool:
        """Whether the cell contains text, not as the result of a formula, or nothing."""
        return self.kind in (b"s", b"inlineStr") or self.content == b""

    @property
    def has_own_text(self) -> bool:
        """Whether the cell contains its own text."""
        return self.kind in (b"inlineStr", b"str")

    @property
    def tags(self) -> int:
        """The number of tags of the cell, as far as its form shows."""
        return {b"": 2 - self.text.endswith(b"/>"), b"i": 6, b"v": 4}.get(self.content, 0)


class Contents(Struct, frozen=True):
    """The forms of the cells of a piece; `numbers` is that of each cell, in their order."""

    forms: tuple[Form, ...]
    numbers: _Bytes

    def those(self, forms: Iterable[Form]) -> _Ints:
        """Return which cells have one of these forms."""
        wanted = np.isin(np.arange(_MOST_FORMS), [self.forms.index(form) for form in forms])
        return np.flatnonzero(wanted[self.numbers])


class Numbers(Struct, frozen=True):
    """Cells with a number: row and column from 0, the style, and the value, null if it is not a number."""

    rows: _Ints
    columns: _Ints
    styles: _Ints
    values: pl.Series


class Piece:
    """Some XML of a sheet. Its names have the prefix."""

    def __init__(self, text: bytes, prefix: bytes = b"") -> None:
        self.text = text
        self._prefix = prefix
        # What begins in the text can be read behind its end.
        padded = text + bytes(2 * _LONGEST_TAG)
        self._content: _Bytes = np.frombuffer(padded, np.uint8)
        self._words: _Words = np.ndarray(len(padded) - _WORD + 1, "<u8", padded, strides=(1,))
        """The eight bytes from each position on."""

    def has_element(self, name: bytes) -> bool:
        """Return whether there is an element of this name."""
        starts = np.flatnonzero(self._is_open[:-1] & self._is_before((self._prefix + name)[0]))
        return bool(self._are_named(name, starts, self._words[starts + 1]).any())

    @cached_property
    def rows(self) -> Rows | None:
        """The rows; null if one is not written as `<row r="1"`."""
        starts = self._tags[1]
        found = self._numbers(self._behind(starts, b"row"), b' r="')
        return None if found is None else Rows(starts, *found)

    @cached_property
    def hidden_rows(self) -> _Ints | None:
        """The numbers of the hidden rows, from 1; null if the attributes of some row are not written as usual, or may
        give its place a second time.
        """
        rows = self.rows
        lengths = None if rows is None else self._until(rows.behind, _END, _LONGEST_TAG)
        if rows is None or lengths is None:
            return None
        is_hidden = np.zeros(len(lengths), np.bool_)
        left = np.flatnonzero(lengths)
        forms: dict[bytes, bool] = {}
        while len(left):
            at, size = int(rows.behind[left[0]]), int(lengths[left[0]])
            form = self.text[at : at + size]
            if len(forms) == _MOST_FORMS or not _ROW_ATTRIBUTES.fullmatch(form):
                return None
            forms[form] = bool(_HIDDEN.search(form))
            is_same = (lengths[left] == size) & self._has(rows.behind[left], form)
            is_hidden[left[is_same]] = forms[form]
            left = left[~is_same]
        return rows.numbers[is_hidden]

    @cached_property
    def cells(self) -> Cells | None:
        """The cells; null if one is not written as `<c r="A1"`."""
        starts, _, words = self._tags
        at = self._behind(starts, b"c")
        if ((words ^ _PLACE) & _FIRST[len(b' r="')]).any():
            return None
        at = at + len(b' r="A')
        letters = (words >> np.uint64(32)).astype(np.uint8) - np.uint8(ord("A"))
        if (letters >= _LETTERS).any():
            return None
        columns = letters.astype(np.int64) + 1
        letters = (words >> np.uint64(40)).astype(np.uint8) - np.uint8(ord("A"))
        while (is_letter := letters < _LETTERS).any():
            columns = np.where(is_letter, columns * _LETTERS + letters + 1, columns)
            at = at + is_letter
            letters = np.where(is_letter, self._bytes(at) - np.uint8(ord("A")), _LETTERS)
            if (columns > _MOST_COLUMNS).any():
                return None
        found = self._as_their_rows(starts, at) or self._numbers(at, b"")
        return None if found is None else Cells(starts, found[0] - 1, columns - 1, found[1])

    def _as_their_rows(self, starts: _Ints, at: _Ints) -> tuple[_Ints, _Ints] | None:
        """Return the number of the row at each place of a cell, and the position behind the quote that ends it; null if
        not all are those of the rows that contain the cells. Digits are compared faster than they are read.
        """
        rows = self.rows
        if rows is None or not len(rows.starts) or not len(starts) or starts[0] < rows.starts[0]:
            return None
        counts = np.diff(np.searchsorted(starts, rows.starts), append=len(starts))
        lengths = rows.behind - self._behind(rows.starts, b"row") - len(b' r="')
        digits, masks = self._words[rows.behind - lengths], _FIRST[lengths]
        if ((self._words[at] ^ np.repeat(digits, counts)) & np.repeat(masks, counts)).any():
            return None
        return np.repeat(rows.numbers, counts), at + np.repeat(lengths, counts)

    @cached_property
    def contents(self) -> Contents | None:
        """What the cells contain; null if the tag of one is not written as `<c r="A1" s="1" t="s">`, or something else
        than a value, a text or a formula follows it.
        """
        cells = self.cells
        if cells is None:
            return None
        form_of = _form_of(self._prefix)
        numbers, left = np.zeros(len(cells.behind), np.uint8), np.arange(len(cells.behind))
        forms: list[Form] = []
        while len(left):
            found = form_of.match(self.text, int(cells.behind[left[0]]))
            if found is None or (found["style"] and found["late"]) or len(forms) == _MOST_FORMS:
                return None
            style = found["style"] or found["late"] or b"-1"
            content = found["value"] or found["text"] or found["formula"] or b""
            form = Form(found[0], int(style), found["kind"] or b"", content)
            is_same = self._has(cells.behind[left], form.text)
            numbers[left[is_same]] = len(forms)
            left = left[~is_same]
            forms.append(form)
        return Contents(tuple(forms), numbers)

    @cached_property
    def has_other_tags(self) -> bool:
        """Whether there may be tags that are not those of usual rows and cells."""
        if self.rows is None or self.contents is None:
            return True
        counts = np.bincount(self.contents.numbers, minlength=len(self.contents.forms)).tolist()
        expected = sum(form.tags * count for form, count in zip(self.contents.forms, counts, strict=True))
        return bool(np.count_nonzero(self._is_open) != expected + 2 * len(self.rows.starts))

    def reach(self, cells: Cells, *, only_filled: bool) -> tuple[int, int]:
        """Return the last row and column of these cells, from 1; without cells 0."""
        rows, columns = cells.rows, cells.columns
        if only_filled:
            # The tag behind a blank cell is that of the next cell, or the end of the row.
            opens = np.flatnonzero(self._is_open)
            behind = opens.take(np.searchsorted(opens, cells.starts) + 1, mode="clip")
            is_end = self._has(behind, b"</%brow" % self._prefix)
            is_filled = ~(is_end | np.isin(behind, cells.starts))
            rows, columns = rows[is_filled], columns[is_filled]
        return int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1

    def may_give_places_twice(self) -> bool:
        """Return whether a cell or row may have a second attribute for its place."""
        expected = len(self._tags[0]) + len(self._tags[1])
        if self.text.count(b" r=") != expected or any(mark in self.text for mark in (b"\t", b"\n", b"\r", b" r ")):
            # Of these, text in the cells may have some.
            return len(_MAY_BE_PLACE.findall(self.text)) != expected
        return False

    def has_value_in_first_column(self, cells: Cells, contents: Contents) -> bool:
        """Return whether a cell of the first column has a number or text."""
        which = np.flatnonzero(cells.columns == 0)[:_MOST_FORMS].tolist()
        forms = [(at, contents.forms[contents.numbers[at]]) for at in which]
        ends = [int(cells.behind[at]) + len(form.text) for at, form in forms if form.content in (b"v", b"i")]
        return any(self._content[end] != _OPEN for end in ends)

    def has_unstored(self, cells: Cells, contents: Contents) -> bool:
        """Return whether a formula may have no stored result."""
        which = contents.those(form for form in contents.forms if form.content == b"f")
        return len(which) > 0 and self._results(cells.behind[which]) is None

    def numbers(self, cells: Cells, contents: Contents, forms: Collection[Form]) -> Numbers | None:
        """Return the numbers in cells of these forms; null if one of these cells is not written as usual."""
        which = contents.those(forms)
        sizes, styles = (np.zeros(_MOST_FORMS, np.int64) for _ in range(2))
        for form in forms:
            at = contents.forms.index(form)
            sizes[at], styles[at] = len(form.text), form.style
        numbers = contents.numbers[which]
        starts = cells.behind[which] + sizes[numbers]
        is_formula = np.isin(numbers, [contents.forms.index(form) for form in forms if form.content == b"f"])
        if is_formula.any():
            results = self._results(cells.behind[which[is_formula]])
            if results is None:
                return None
            starts[is_formula] = results
        values = self._values(starts)
        return None if values is None else Numbers(cells.rows[which], cells.columns[which], styles[numbers], values)

    def _results(self, behind: _Ints) -> _Ints | None:
        """Return where the results of formulas begin, in cells whose places end there; null if one is blank, or not
        written as `<c …><f>…</f><v>…` or `<c …><f/><v>…`.
        """
        end, value = b"</%bf>" % self._prefix, b"<%bv>" % self._prefix
        opens = np.flatnonzero(self._is_open)
        tags = np.searchsorted(opens, behind)
        at = opens.take(tags + 1, mode="clip")
        is_end = self._has(at, end)
        at = np.where(is_end, at + len(end), at)
        starts = at + len(value)
        is_usual = self._has(at, value) & (self._bytes(starts) != _OPEN)
        return starts if is_usual.all() else None

    def _values(self, starts: _Ints) -> pl.Series | None:
        """Return the values that begin there; null if one has no end, markup or more bytes than a number."""
        end = b"</%bv>" % self._prefix
        if (short := self._numbers(starts, b"", _OPEN)) and self._has(short[1] - 1, end).all():
            return pl.Series(short[0]).cast(pl.Float64)
        lengths = self._until(starts, _OPEN, _LONGEST_NUMBER)
        if lengths is None or not lengths.all() or not self._has(starts + lengths, end).all():
            return None
        views = text_views(self._content, starts, starts + lengths)
        buffers = [None, pa.py_buffer(views), pa.py_buffer(self._content)]
        texts = pl.Series(pa.Array.from_buffers(pa.binary_view(), len(views), buffers)).cast(pl.String, strict=False)
        return texts.cast(pl.Float64, strict=False)

    @cached_property
    def _is_open(self) -> _Bools:
        """Whether a tag begins at each position."""
        is_open: _Bools = self._content == _OPEN
        return is_open

    @cached_property
    def _tags(self) -> tuple[_Ints, _Ints, _Words]:
        """Where the tags are that open cells, and those that open rows; and the first bytes behind the name of each
        cell, at least six.
        """
        begins = self._is_before((self._prefix + b"c")[0])
        if not self._prefix:
            begins |= self._is_before(b"row"[0])
        begins &= self._is_open[:-1]
        starts = np.flatnonzero(begins)
        words = self._words[starts + 1]
        is_cell, is_row = (self._are_named(name, starts, words) for name in (b"c", b"row"))
        # A word behind `<` has the letters of a column, too, unless a prefix precedes them.
        behind = self._words[self._behind(starts[is_cell], b"c")] if self._prefix else words[is_cell] >> np.uint64(8)
        return starts[is_cell], starts[is_row], behind

    def _is_before(self, byte: int) -> _Bools:
        """Whether each position but the last is before such a byte."""
        is_before: _Bools = self._content[1:] == byte
        return is_before

    def _are_named(self, name: bytes, starts: _Ints, words: _Words) -> _Bools:
        """Return which of the tags open an element of this name; `words` begin behind their `<`."""
        full = self._prefix + name
        if len(full) < _WORD:
            is_named = (words ^ np.uint64(int.from_bytes(full, "little"))) & _FIRST[len(full)] == 0
            ends = (words >> np.uint64(8 * len(full))).astype(np.uint8)
        else:
            is_named, ends = self._has(starts + 1, full), self._bytes(self._behind(starts, name))
        found: _Bools = is_named & _ENDS_NAME[ends]
        return found

    def _behind(self, starts: _Ints, name: bytes) -> _Ints:
        """Where the tags of this name continue behind it."""
        return starts + len(b"<" + self._prefix + name)

    def _until(self, at: _Ints, byte: int, most: int) -> _Ints | None:
        """Return the number of bytes from each position to the next such byte; null if one has more than `most`."""
        lengths, left = np.zeros(len(at), np.int64), np.arange(len(at))
        for done in range(0, most, _WORD):
            if not len(left):
                return lengths
            other = self._words[at[left] + done] ^ _EACH_BYTE * np.uint64(byte)
            marks = (other - _EACH_BYTE) & ~other & _HIGH_BITS
            first = marks & (~marks + np.uint64(1))
            is_found = first != 0
            before = np.bitwise_count((first >> np.uint64(7)) - np.uint64(1)) // 8
            lengths[left] = done + np.where(is_found, before, _WORD)
            left = left[~is_found]
        return None if len(left) else lengths

    def _bytes(self, at: _Ints) -> _Bytes:
        return self._content.take(at, mode="clip")

    def _has(self, at: _Ints, wanted: bytes) -> _Bools:
        """Whether these bytes are at each of the positions."""
        found = np.ones(len(at), np.bool_)
        starts = range(0, len(wanted), _WORD)
        if not starts:
            return found
        # To fetch several words of a place takes as much time as to fetch one.
        size = _WORD * len(starts)
        blocks = np.ndarray(len(self._content) - size + 1, f"V{size}", self._content.data, strides=(1,))
        words = blocks[at].view("<u8").reshape(len(at), len(starts))
        for number, start in enumerate(starts):
            part = wanted[start : start + _WORD]
            found &= words[:, number] & _FIRST[len(part)] == np.uint64(int.from_bytes(part, "little"))
        return found

    def _numbers(self, at: _Ints, mark: bytes, end: int = _QUOTE) -> tuple[_Ints, _Ints] | None:
        """Return the number behind each mark, and the position behind the quote, or other byte, that ends it; null if
        not all have such a number, of one to seven digits.
        """
        if not self._has(at, mark).all():
            return None
        at = at + len(mark)
        # A word has all digits and the quote; the arithmetic is done for all eight bytes at once.
        words = self._words[at]
        other = words ^ _EACH_BYTE * np.uint64(end)
        ends = (other - _EACH_BYTE) & ~other & _HIGH_BITS
        first = ends & (~ends + np.uint64(1))
        before = (first >> np.uint64(7)) - np.uint64(1)
        digits = (words ^ _EACH_BYTE * np.uint64(ord("0"))) & before
        too_large = (digits | (digits + _EACH_BYTE * np.uint64(0x7F - 9))) & _HIGH_BITS & before
        bits = np.bitwise_count(before)
        if ((first == 0) | (too_large != 0) | (bits == 0)).any():
            return None
        # The last digit becomes the last byte. Then neighbours are joined: digits, pairs, fours.
        digits <<= np.uint64(8 * _WORD) - bits
        digits = digits * np.uint64(10) + (digits >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
        digits = digits * np.uint64(100) + (digits >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
        digits = digits * np.uint64(10_000) + (digits >> np.uint64(32)) & np.uint64(0xFFFFFFFF)
        return digits.astype(np.int64), at + (bits // 8).astype(np.int64) + 1
