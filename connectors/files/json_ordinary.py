"""Blocks of ordinary JSON Lines, which one regular expression recognises, and polars' own reader reads.

Most files have the same keys in the same order on each line, and no value but text, numbers, true, false and null. A
line that matches the shape of such a file is proven to be valid JSON without a repeated or unknown key, and can be read
in a third of the time that it takes to take any JSON apart. Keys may be missing, except the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from tranship.connectors.files.csv_frames import is_utf8

_MOST_KEYS: Final = 64
"""With more keys, the expression would be larger than polars allows."""
_MOST_MISSES: Final = 8
"""The first few blocks are under way before a shape is known."""
_PLAIN_KEY: Final = re.compile(r'[^"\\\x00-\x1f\ufeff]+')
# Half a surrogate pair would be an error, and a whole one is rare.
_TEXT: Final = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))*"'
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_PLAIN: Final = rf"{_NUMBER}|true|false"


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
        first, *others = (
            rf'"{_literal(key)}": ?(?:{_TEXT}|null{f"|{_PLAIN}" if plain else ""})' for key, plain in self.keys.items()
        )
        return rf"^\{{ ?{first}{''.join(f'(?:, ?{other})?' for other in others)} ?\}}\r?\n?$"

    def fits(self, data: bytes) -> bool:
        """Return whether each line of a block has this shape; false for a blank line."""
        return is_utf8(data) and bool(_lines(data).str.contains(self._line).all())

    def read(self, data: bytes) -> pl.DataFrame:
        """Return the records of a block that fits: a column of text for each key. Empty text is null, and numbers keep
        their digits.
        """
        records = pl.read_ndjson(data, schema=dict.fromkeys(self.keys, pl.String))
        changed = [pl.when(pl.col(pl.String) != "").then(pl.col(pl.String))] if b'""' in data else []
        records = records.with_columns(changed)
        plain = [key for key, may_be_plain in self.keys.items() if may_be_plain]
        if not plain:
            return records
        lines = _lines(data)
        # Only between a value and a key does an unescaped quote follow a comma or a brace.
        given = {key: lines.str.extract(rf'[{{,] ?"{_literal(key)}": ?({_PLAIN})[ ,}}]') for key in plain}
        return records.with_columns(pl.coalesce(signed(text), key).alias(key) for key, text in given.items())


def signed(plain: pl.Series) -> pl.Series:
    """Return numbers with a sign in their exponent: `1e+22` shows that it is a number, `1e22` may be an id."""
    return plain.str.replace(r"^(-?[0-9.]+)[eE]([0-9]+)$", "${1}e+${2}")


@dataclass
class Ordinary:
    """The blocks of a file that were found to have its shape, by their digests."""

    given_up: bool = False
    """No further block is compared with a shape."""
    _shape: Shape | None = None
    _digests: set[bytes] = field(default_factory=set)
    _misses: int = 0

    @property
    def used(self) -> bool:
        """Whether a block was recognised."""
        return bool(self._digests)

    def recognise(self, data: bytes) -> bytes | None:
        """Return the digest of a block that has the shape known so far. Callable from any thread."""
        shape = self._shape
        return _digest(data) if shape and not self.given_up and shape.fits(data) else None

    def add(self, digest: bytes) -> None:
        """Remember a block that was recognised."""
        self._digests.add(digest)

    def expect(self, keys: Mapping[str, bool] | None) -> None:
        """Take the keys of a file into account, null if they are not flat, after a block that was not recognised. Files
        of which most blocks have no common shape are no longer compared with one.
        """
        self._misses += 1
        self.given_up |= keys is None or self._misses > _MOST_MISSES + len(self._digests)
        if keys is not None and (self._shape is None or dict(keys) != self._shape.keys):
            # The lines of blocks that were recognised have this shape, too: it has more keys at its end.
            self._shape = Shape.of(keys)

    def shape_of(self, data: bytes) -> Shape | None:
        """Return the shape of a block that was recognised, null for any other."""
        return self._shape if self._digests and _digest(data) in self._digests else None


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _literal(key: str) -> str:
    return "".join(
        character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}" for character in key
    )


def _lines(data: bytes) -> pl.Series:
    """Return the lines of a block, each with its line end; they share its bytes."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0x0A) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    bounds = np.concatenate([[0], ends]).astype(np.int32)
    return pl.Series(pa.StringArray.from_buffers(len(ends), pa.py_buffer(bounds), pa.py_buffer(data)))
