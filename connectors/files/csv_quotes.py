"""Find how far the quotes of CSV records alternate: one opens a value, the next one closes it."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from tranship.connectors.files.csv_grammar import Grammar

BLANK = 0x20
MOST_BLANKS = 64
"""With more blanks beside a quote, the slower regular expression decides."""

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Alternation:
    """The quotes that cannot open (or close) a value although they would have to."""

    def __init__(self, buffer: bytes, quotes: Positions, newlines: Positions, grammar: Grammar) -> None:
        self._buffer, self._raw = buffer, np.frombuffer(buffer, np.uint8)
        self._quotes, self._newlines, self._grammar = quotes, newlines, grammar
        self._first, self._at = 0, _view(quotes)
        self._faults: dict[int, memoryview[int]] = {}
        self._ends: dict[int, memoryview[int]] = {}
        self.padded = False
        """Whether there are blanks beside a quote that are not part of the value."""

    def plain(self, start: int, *, final: bool) -> tuple[int, bool]:
        """Return the end of the records from `start` that can be read with alternating quotes, `start` if there are
        none, and whether only the start of a line follows them. No call may start before an earlier one.
        """
        self._first = bisect_left(self._at, start, self._first)
        parity = self._first % 2
        faults = self._faulty(parity)
        fault = bisect_left(faults, self._first)
        sound = fault == len(faults)
        is_rest = sound and (len(self._at) - self._first) % 2 == 0
        if is_rest and final:
            return len(self._buffer), True
        limit = len(self._buffer) if sound else self._at[faults[fault]]
        newline = self._buffer.rfind(b"\n", start, limit)
        if newline < 0:
            return start, is_rest
        if bisect_left(self._at, newline, self._first) % 2 == parity:
            return newline + 1, is_rest
        # The last line end is inside a value: look up the last one that is not.
        ends = self._line_ends(parity)
        last = bisect_left(ends, limit) - 1
        return (ends[last] + 1 if last >= 0 and ends[last] >= start else start), is_rest

    def _faulty(self, parity: int) -> memoryview[int]:
        """Return the faulty quotes, assuming that those of this parity open a value."""
        if parity not in self._faults:
            self._faults[parity] = _view(self._found(parity) if len(self._quotes) else self._quotes)
        return self._faults[parity]

    def _line_ends(self, parity: int) -> memoryview[int]:
        """Return the line feeds that are outside values, assuming the same."""
        if parity not in self._ends:
            outside = np.searchsorted(self._quotes, self._newlines) % 2 == parity
            self._ends[parity] = _view(self._newlines[outside])
        return self._ends[parity]

    def _found(self, parity: int) -> Positions:
        delimiter, quote = self._grammar.delimiter[0], self._grammar.quote[0]
        opening, closing = self._quotes[parity::2], self._quotes[1 - parity :: 2]
        before, after = self._raw[opening - 1], self._raw[np.minimum(closing + 1, len(self._raw) - 1)]
        # The ends of a file are ends of lines.
        before[:1][opening[:1] == 0] = 0x0A
        after[-1:][closing[-1:] == len(self._raw) - 1] = 0x0A
        fits = np.empty(len(self._quotes), bool)
        fits[parity::2] = (before == delimiter) | (before == 0x0A) | (before == quote)
        fits[1 - parity :: 2] = (after == delimiter) | (after == 0x0A) | (after == 0x0D) | (after == quote)
        faults = np.flatnonzero(~fits)
        if not len(faults) or not self._grammar.pads:
            return faults
        excused = np.zeros(len(faults), bool)
        for of_these, step in ((faults % 2 == parity, -1), (faults % 2 != parity, 1)):
            at = self._quotes[faults[of_these]] + step
            blank = (at >= 0) & (at < len(self._raw)) & (self._raw[np.clip(at, 0, len(self._raw) - 1)] == BLANK)
            if blank.any():
                beyond = _beyond_blanks(self._raw, at[blank], step)
                ends = (beyond == self._grammar.delimiter[0]) | (beyond == 0x0A) | ((beyond == 0x0D) & (step > 0))
                excused[np.flatnonzero(of_these)[blank]] = ends
        self.padded = self.padded or bool(excused.any())
        return faults[~excused]


def _view(positions: Positions) -> memoryview[int]:
    """Return positions for bisection: a few numbers are read faster from a view than from an array."""
    return memoryview(positions)  # type: ignore[arg-type]  # (an array is a buffer)


def _beyond_blanks(raw: Bytes, at: Positions, step: int) -> Bytes:
    """Return the bytes next to the blanks at these positions, in one direction; a file ends with a line end."""
    for _ in range(MOST_BLANKS):
        inside = (at >= 0) & (at < len(raw))
        blank = inside & (raw[np.clip(at, 0, len(raw) - 1)] == BLANK)
        if not blank.any():
            return np.where(inside, raw[np.clip(at, 0, len(raw) - 1)], np.uint8(0x0A))
        at = at + step * blank
    return np.full(len(at), BLANK, np.uint8)
