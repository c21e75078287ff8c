"""Searches of the XML of a sheet with numpy, many times as fast as with Python's regular expressions.

They find cells and rows that are written as usual. If others occur they return null, and the caller searches the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

_Ints = np.ndarray[Any, np.dtype[np.int64]]
_Bools = np.ndarray[Any, np.dtype[np.bool_]]
_Words = np.ndarray[Any, np.dtype[np.uint64]]
_Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_OPEN, _SLASH, _QUOTE = b'</"'
_ENDS_NAME: Final = np.isin(np.arange(256), list(b" >/\t\r\n"))
_WORD: Final = 8
_EACH_BYTE: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = _EACH_BYTE * np.uint64(0x80)
_MOST_LETTERS: Final = 3
_LONGEST_NUMBER: Final = 32
_MAY_BE_PLACE: Final = re.compile(rb"\sr\s*=")


@dataclass(frozen=True)
class Cells:
    """All cells of a piece, in their order: row and column from 0, and where the tag continues behind the place."""

    tags: _Ints
    rows: _Ints
    columns: _Ints
    behind: _Ints


@dataclass(frozen=True)
class Numbers:
    """Cells with a number: row and column from 0, the style, and the digits."""

    rows: _Ints
    columns: _Ints
    styles: _Ints
    texts: pl.Series


class Piece:
    """Some XML of a sheet. Its names have the prefix; a tag is meant by its number among all tags."""

    def __init__(self, text: bytes, prefix: bytes = b"") -> None:
        self.text = text
        self._prefix = prefix
        self._tags: dict[bytes, _Ints] = {}
        # What begins in the text can be read behind its end.
        padded = text + bytes(2 * _LONGEST_NUMBER)
        self._content: _Bytes = np.frombuffer(padded, np.uint8)
        self._words: _Words = np.ndarray(len(padded) - _WORD + 1, "<u8", padded, strides=(1,))
        """The eight bytes from each position on."""

    def has_element(self, name: bytes) -> bool:
        """Return whether there is an element of this name."""
        return len(self._named(name)) > 0

    def row_numbers(self) -> _Ints | None:
        """Return the numbers of the rows, in their order, from 1; null if one is not written as `<row r="1"`."""
        found = self._numbers(self._behind(self._named(b"row"), b"row"), b' r="')
        return None if found is None else found[0]

    @cached_property
    def cells(self) -> Cells | None:
        """The cells; null if one is not written as `<c r="A1"`."""
        tags = self._named(b"c")
        at = self._behind(tags, b"c")
        if not self._has(at, b' r="').all():
            return None
        at = at + len(b' r="')
        columns = np.zeros(len(at), np.int64)
        for _ in range(_MOST_LETTERS):
            byte = self._bytes(at)
            is_letter = (byte >= ord("A")) & (byte <= ord("Z"))
            if not is_letter.any():
                break
            columns = np.where(is_letter, columns * 26 + (byte - (ord("A") - 1)), columns)
            at = at + is_letter
        found = self._numbers(at, b"")
        if found is None or not columns.all():
            return None
        return Cells(tags, found[0] - 1, columns - 1, found[1])

    def reach(self, cells: Cells, *, only_filled: bool) -> tuple[int, int]:
        """Return the last row and column of these cells, from 1; without cells 0."""
        rows, columns = cells.rows, cells.columns
        if only_filled:
            # The tag behind a blank cell is that of the next cell, or the end of the row.
            behind = self._opens.take(cells.tags + 1, mode="clip")
            is_end = self._has(behind, b"</%brow" % self._prefix)
            is_filled = ~(is_end | np.isin(cells.tags + 1, cells.tags))
            rows, columns = rows[is_filled], columns[is_filled]
        return int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1

    def may_give_places_twice(self) -> bool:
        """Return whether a cell or row may have a second attribute for its place."""
        expected = len(self._named(b"c")) + len(self._named(b"row"))
        if self.text.count(b" r=") != expected or any(mark in self.text for mark in (b"\t", b"\n", b"\r", b" r ")):
            # Of these, text in the cells may have some.
            return len(_MAY_BE_PLACE.findall(self.text)) != expected
        return False

    def numbers(self, styles: Collection[int]) -> Numbers | None:
        """Return the numbers in cells of these styles; null if one of these cells is not written as usual."""
        cells = self.cells
        if cells is None or b"='" in self.text:
            return None
        count = sum(self.text.count(b' s="%d"' % style) for style in styles)
        styled = np.flatnonzero(self._has(cells.behind, b' s="'))
        found = self._numbers(cells.behind[styled], b' s="')
        if found is None:
            return None
        is_wanted = np.isin(found[0], [*styles])
        which, given, at = styled[is_wanted], found[0][is_wanted], found[1][is_wanted]
        if len(which) != count:
            return None
        is_typed = self._has(at, b' t="')
        is_number = self._has(at, b' t="n"')
        at = np.where(is_number, at + len(b' t="n"'), at)
        is_filled = (is_number | ~is_typed) & (self._bytes(at) != _SLASH)
        which, given, at = which[is_filled], given[is_filled], at[is_filled]
        texts = self._values(cells.tags[which], at)
        return None if texts is None else Numbers(cells.rows[which], cells.columns[which], given, texts)

    def _values(self, tags: _Ints, ends: _Ints) -> pl.Series | None:
        """Return the values of cells whose tags end there; null if one is not written as `<c …><v>…</v>`."""
        value = b"><%bv>" % self._prefix
        starts, stops = ends + len(value), self._opens.take(tags + 2, mode="clip")
        lengths = stops - starts
        is_usual = self._has(ends, value) & self._has(stops, b"</") & (lengths > 0) & (lengths <= _LONGEST_NUMBER)
        if not is_usual.all():
            return None
        places = np.arange(int(lengths.max(initial=0)))
        data = self._bytes((starts[:, np.newaxis] + places)[places < lengths[:, np.newaxis]])
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        texts = pl.Series(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), buffers))
        try:
            return texts.cast(pl.String)
        except pl.exceptions.ComputeError:
            return None

    @cached_property
    def _opens(self) -> _Ints:
        """Where the tags are."""
        return np.flatnonzero(self._content == _OPEN)

    @cached_property
    def _initials(self) -> _Bytes:
        return self._bytes(self._opens + 1)

    def _named(self, name: bytes) -> _Ints:
        """The tags that open an element of this name."""
        if name in self._tags:
            return self._tags[name]
        full = self._prefix + name
        tags = np.flatnonzero(self._initials == full[0])
        if len(full) > 1:
            tags = tags[self._has(self._opens[tags] + 1, full)]
        tags = self._tags[name] = tags[_ENDS_NAME[self._bytes(self._behind(tags, name))]]
        return tags

    def _behind(self, tags: _Ints, name: bytes) -> _Ints:
        """Where the tags continue behind this name."""
        return self._opens[tags] + len(b"<" + self._prefix + name)

    def _bytes(self, at: _Ints) -> _Bytes:
        return self._content.take(at, mode="clip")

    def _has(self, at: _Ints, wanted: bytes) -> _Bools:
        """Whether these bytes are at each of the positions."""
        found = np.ones(len(at), np.bool_)
        for start in range(0, len(wanted), _WORD):
            part = wanted[start : start + _WORD]
            mask = np.uint64((1 << 8 * len(part)) - 1)
            found &= self._words[at + start] & mask == np.uint64(int.from_bytes(part, "little"))
        return found

    def _numbers(self, at: _Ints, mark: bytes) -> tuple[_Ints, _Ints] | None:
        """Return the number behind each mark, and the position behind the quote that ends it; null if not all have
        such a number, of one to seven digits.
        """
        if not self._has(at, mark).all():
            return None
        at = at + len(mark)
        # A word has all digits and the quote; the arithmetic is done for all eight bytes at once.
        words = self._words[at]
        other = words ^ _EACH_BYTE * np.uint64(_QUOTE)
        quotes = (other - _EACH_BYTE) & ~other & _HIGH_BITS
        first = quotes & (~quotes + np.uint64(1))
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
