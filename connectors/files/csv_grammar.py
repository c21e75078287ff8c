"""The end of each record of a CSV file, found by its delimiter and quote."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Final

MAX_RECORD_BYTES = 16 << 20
"""A quoted value longer than this counts as a missing closing quote."""

_LINE_FEED: Final = 0x0A


@dataclass(frozen=True)
class Grammar:
    """Delimiter and quote of a file (one byte each), and the patterns that result from them."""

    delimiter: bytes
    quote: bytes

    record: re.Pattern[bytes] = field(init=False, repr=False)
    reach: re.Pattern[bytes] = field(init=False, repr=False)
    """The readable start of a broken or incomplete record."""
    padding: re.Pattern[bytes] = field(init=False, repr=False)
    """Each quoted value of a record, with the blanks around it."""

    _value: re.Pattern[str] = field(init=False, repr=False)
    """A value in the text of a record: its first group is what is in quotes."""

    def __post_init__(self) -> None:
        d, q, blanks, mark = re.escape(self.delimiter), re.escape(self.quote), self._blanks, codecs.BOM_UTF8
        inner = rb"(?:[^%s]++|%s%s)*+" % (q, q, q)
        quoted = rb"%s%s%s%s%s" % (blanks, q, inner, q, blanks)
        value = rb"(?:%s|(?!%s%s)[^%s%s\n][^%s\n]*+|)" % (quoted, blanks, q, d, q, d)
        head = rb"%s(?:%s%s)*+" % (value, d, value)
        object.__setattr__(self, "record", re.compile(rb"(?:%s)*+(%s)\r?(?:\n|\Z)" % (mark, head)))
        reach = rb"(?:%s)*+(?:%s%s)*+(?:%s%s%s)?" % (mark, value, d, blanks, q, inner)
        object.__setattr__(self, "reach", re.compile(reach))
        padding = rb"(?:\A(?:%s)*+|(?<=%s))(%s)%s%s%s(%s)(?=[%s\r\n]|\Z)" % (mark, d, blanks, q, inner, q, blanks, d)
        object.__setattr__(self, "padding", re.compile(padding))
        quoted_text = rb"%s%s((?:[^%s]++|%s%s)*+)%s%s(?=%s|$)" % (blanks, q, q, q, q, q, blanks, d)
        object.__setattr__(self, "_value", re.compile((rb"%s|([^%s]*)" % (quoted_text, d)).decode()))

    @property
    def pads(self) -> bool:
        """Whether blanks around a quoted value are ignored."""
        return b" " not in (self.delimiter, self.quote)

    @property
    def _blanks(self) -> bytes:
        return rb" *+" if self.pads else b""

    def values(self, record: bytes) -> list[str]:
        """Return the values of one record, unquoted."""
        text = record.rstrip(b"\r\n").decode(errors="replace")
        q = self.quote.decode()
        found, position = [], 0
        while True:
            match = self._value.match(text, position)
            assert match  # noqa: S101  (the second branch takes anything)
            found.append(match[2] if match[1] is None else match[1].replace(q + q, q))
            position = match.end() + 1
            if position > len(text):
                return found


class Records:
    """The records of a buffer, read one after the other in a time that grows with its length only.

    If a record cannot be read, its first line is skipped, and the next line may begin a record that extends just as far
    before it fails. Where one record fails, so does every record that begins before that place and is open at the end
    of its first line: both are inside a quoted value at the end of every line up to there. No text is therefore read
    more than twice.
    """

    def __init__(self, data: bytes, grammar: Grammar) -> None:
        self._data, self._grammar = data, grammar
        self._fails_at = 0

    def next(self, start: int, *, whole: bool, end: int | None = None) -> tuple[int, re.Match[bytes] | None]:
        """Return the end of the record at `start` and its match, or the end of its first line and null if the rules of
        quotes are broken. Unless the data is `whole`, a record that may continue after it ends where it starts. `end`
        is the end of the data to be considered, by default all.
        """
        data = self._data
        size = len(data) if end is None else end
        line_end = data.find(b"\n", start, size) + 1 if start < self._fails_at else 0
        limit = line_end if 0 < line_end <= self._fails_at else size
        match = self._grammar.record.match(data, start, limit)
        if match and (whole or data[match.end() - 1] == _LINE_FEED):
            return match.end(), match
        reached = limit if match else self._grammar.reach.match(data, start, limit).end()  # type: ignore[union-attr]
        if limit == size:
            self._fails_at = reached
        line_end = line_end or data.find(b"\n", start, size) + 1
        if not whole and (not line_end or (reached == limit and self._fails_at == size)):
            return start, None
        return line_end or size, None
