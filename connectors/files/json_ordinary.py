"""Blocks of ordinary JSON Lines, which one regular expression recognises, and polars' own reader reads.

Most files have the same keys in the same order on each line, and no value but text, numbers, true, false and null. A
line that matches the shape of such a file is proven to be valid JSON without a repeated or unknown key, and can be read
in a third of the time that parsing any JSON takes. Keys may be missing, except the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Struct, field

from tranship.connectors.files.csv_frames import is_utf8
from tranship.connectors.files.json_tokens import PADDING, Bytes, Positions, text_column, text_views

_MOST_KEYS: Final = 64
"""With more keys, the expression would be larger than polars allows."""
_FEW_LONG: Final = 0.5
"""Above this share of lines with long numbers, all lines of a block are treated as such."""
_MOST_MISSES: Final = 8
"""The first few blocks are read before a shape is known."""
# A key that is only a colon would look like the beginning of a text.
_PLAIN_KEY: Final = re.compile(r'(?!: ?\Z)[^"\\\x00-\x1f\ufeff]+')
# Half a surrogate pair would be an error, and a whole one is rare.
_TEXT: Final = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))*"'
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SHORT_NUMBER: Final = r"0|-?[1-9][0-9]{0,17}|-?(?:0|[1-9][0-9]{0,7})\.[0-9]{0,5}[1-9]"
"""Numbers that polars writes as they are in the file; others may lose a final zero, an exponent or digits."""
_QUOTE, _COLON, _BACKSLASH, _BLANK, _LINE_END = b'":\\ \n'
_NO_PLAIN_VALUE: Final = np.isin(np.arange(256), list(b'"n'))
"""First bytes of texts and null."""
_BEHIND_PLAIN_VALUE: Final = np.isin(np.arange(256), list(b",} "))


@dataclass(frozen=True)
class Shape:
    """The keys of the lines, in order, each with whether it may have a number, true or false."""

    keys: Mapping[str, bool]

    @classmethod
    def of(cls, keys: Mapping[str, bool]) -> Shape | None:
        """Return the shape of lines with these keys, null if they cannot be recognised by it."""
        if not 0 < len(keys) <= _MOST_KEYS or not all(map(_PLAIN_KEY.fullmatch, keys)):
            return None
        return cls(dict(keys))

    @cached_property
    def _line(self) -> str:
        return self._expression(_NUMBER)

    @cached_property
    def _short_line(self) -> str:
        return self._expression(_SHORT_NUMBER)

    def _expression(self, number: str) -> str:
        first, *others = (
            rf'"{_literal(key)}": ?(?:{_TEXT}|null{f"|{number}|true|false" if plain else ""})'
            for key, plain in self.keys.items()
        )
        return rf"^\{{ ?{first}{''.join(f'(?:, ?{other})?' for other in others)} ?\}}\r?\n?$"

    @property
    def has_numbers(self) -> bool:
        """Whether a key may have a number, true or false."""
        return any(self.keys.values())

    def fits(self, lines: pl.Series, *, short: bool = False) -> pl.Series:
        """Return whether each of the lines has this shape, and, if asked, no number but short ones; false for a blank
        line.
        """
        return lines.str.contains(self._short_line if short else self._line)

    def read(self, data: bytes, long: pl.Series | None) -> pl.DataFrame:
        """Return the records of a block that fits: a column of text for each key. Empty text is null, and numbers keep
        their digits. `long` are the lines with other numbers than short ones, null for any.
        """
        records = pl.read_ndjson(data, schema=dict.fromkeys(self.keys, pl.String))
        if b'""' in data:
            blank = records.select((pl.all() == "").any()).row(0)
            names = [name for name, has_blank in zip(records.columns, blank, strict=True) if has_blank]
            records = records.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in names)
        if not self.has_numbers:
            return records
        if long is None:
            return records.with_columns(self._with_digits(data, records))
        if long.is_empty():
            return records
        some = _arrow_lines(data).take(pa.array(long.to_numpy()))
        digits = self._with_digits(some.buffers()[2].to_pybytes(), records[long])
        return records.with_columns(records[column.name].scatter(long, column) for column in digits)

    def _with_digits(self, data: bytes, records: pl.DataFrame) -> Iterator[pl.Series]:
        """Yield the columns that may have numbers, true and false, with these as they are in the file."""
        raw = np.frombuffer(data + PADDING, np.uint8)
        ends = np.flatnonzero(raw == _LINE_END)
        # In a text, a quote in front of a colon is escaped, or the first character, which no key can precede.
        behind_keys = raw[2:] == _COLON
        behind_keys &= raw[1:-1] == _QUOTE
        behind_keys &= raw[:-2] != _BACKSLASH
        colons = np.flatnonzero(behind_keys) + 2
        for place, (key, may_be_plain) in enumerate(self.keys.items()):
            if not may_be_plain:
                continue
            # Where each line has all keys, each of them is at the same places of all.
            at = _behind(raw, colons[place :: len(self.keys)], key)
            if len(at) != records.height:
                at = _behind(raw, colons, key)
            starts = at + 1 + (raw[at + 1] == _BLANK)
            starts = starts[~_NO_PLAIN_VALUE[raw[starts]]]
            stops = _ends_of_plain(raw, starts)
            texts = signed(pl.Series(key, text_column(raw, text_views(raw, starts, stops))))
            rows = np.searchsorted(ends, starts)
            yield texts if len(rows) == records.height else records[key].scatter(rows, texts)


def _behind(raw: Bytes, places: Positions, key: str) -> Positions:
    """Return those of the places that are behind this key, in quotes."""
    for offset, byte in enumerate(reversed(b'"%b"' % key.encode()), 1):
        places = places[raw[places - offset] == byte]
    return places


def _ends_of_plain(raw: Bytes, starts: Positions) -> Positions:
    """Return where the numbers, true and false end that begin at these places."""
    ends = starts + 1
    going_on = np.arange(len(starts))
    while len(going_on := going_on[~_BEHIND_PLAIN_VALUE[raw[ends[going_on]]]]):
        ends[going_on] += 1
    return ends


def signed(plain: pl.Series) -> pl.Series:
    """Return numbers with a sign in their exponent: `1e+22` shows that it is a number, `1e22` may be an id."""
    return plain.str.replace(r"^(-?[0-9.]+)[eE]([0-9]+)$", "${1}e+${2}")


class Recognised(Struct, frozen=True):
    """A block that has the shape of its file, by its first line and its size in bytes."""

    line: int
    size: int
    long: pl.Series | None
    """The lines with other numbers than short ones; null if that may be any."""


class Ordinary(Struct):
    """The blocks of a file that were found to have its shape, by their first lines."""

    given_up: bool = False
    """No further block is compared with a shape."""
    _shape: Shape | None = None
    _found: dict[int, Recognised] = field(default_factory=dict)
    _misses: int = 0
    _is_mostly_long: bool = False

    @property
    def used(self) -> bool:
        """Whether a block was recognised."""
        return bool(self._found)

    def recognise(self, data: bytes, line: int) -> Recognised | None:
        """Return a block that has the shape known so far, null for any other. Callable from any thread."""
        shape = self._shape
        if shape is None or self.given_up or not is_utf8(data):
            return None
        lines = lines_of(data)
        if not self._is_mostly_long:
            long = (~shape.fits(lines, short=True)).arg_true()
            if long.is_empty():
                return Recognised(line, len(data), long)
            if not shape.has_numbers:
                return None
            if len(long) <= _FEW_LONG * len(lines):
                return Recognised(line, len(data), long) if shape.fits(lines.gather(long)).all() else None
        if not shape.has_numbers or not shape.fits(lines).all():
            return None
        # The next blocks are not searched twice.
        self._is_mostly_long = True
        return Recognised(line, len(data), None)

    def add(self, found: Recognised) -> None:
        """Remember a block that was recognised."""
        self._found[found.line] = found

    def expect(self, keys: Mapping[str, bool] | None) -> None:
        """Take the keys of a file into account, null if they are not flat, after a block that was not recognised. Files
        of which most blocks have no common shape are no longer compared with one.
        """
        self._misses += 1
        self.given_up |= keys is None or self._misses > _MOST_MISSES + len(self._found)
        if keys is not None and (self._shape is None or dict(keys) != self._shape.keys):
            # The lines of blocks that were recognised have this shape, too: it has more keys at its end.
            self._shape = Shape.of(keys)

    def read(self, blocks: Sequence[tuple[int, bytes]]) -> pl.DataFrame | None:
        """Return the records of consecutive blocks, each with its first line, if all were recognised; null for any
        other, and where polars does not read what is valid JSON, such as a number beyond all bounds.
        """
        found = [self._found.get(line) for line, _ in blocks]
        if self._shape is None or not all(
            known and known.size == len(data) for known, (_, data) in zip(found, blocks, strict=True)
        ):
            return None
        long = [known.long + (known.line - blocks[0][0]) for known in found if known and known.long is not None]
        data = blocks[0][1] if len(blocks) == 1 else b"".join(data for _, data in blocks)
        try:
            records = self._shape.read(data, pl.concat(long) if len(long) == len(blocks) else None)
        except pl.exceptions.PolarsError:
            return None
        return records if records.height == line_ends(data) + (not data.endswith(b"\n")) else None


def line_ends(data: bytes) -> int:
    """Return the number of line ends, faster than `bytes` counts them."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == _LINE_END))


def _literal(key: str) -> str:
    return "".join(
        character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}" for character in key
    )


def lines_of(data: bytes) -> pl.Series:
    """Return the lines of a block, each with its line end; they share its bytes."""
    return pl.Series(_arrow_lines(data))


def _arrow_lines(data: bytes) -> pa.StringArray:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0x0A) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    bounds = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(bounds), pa.py_buffer(data))
