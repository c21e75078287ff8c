"""How long a step still takes, judged by its pace so far.

The pace is the time for a share of the work. It is steady apart from noise and bursts, or changes evenly (an index that
grows), or changed at once (another file, a provider that throttles). Each of these is fitted, the simplest one that
explains the pace is used, and recent pace counts more.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_PIECES: Final = 100
"""Pieces of the work, the pace of each of which is kept."""
_MEMORY: Final = 0.3
"""The share of the work after which the weight of a pace has fallen to a third."""
_CLEAR: Final = 2.0
"""Standard errors by which a trend must differ from none."""
_FEWEST: Final = 4
"""Pieces after which a pace that changed at once is believed."""


class _Piece(NamedTuple):
    place: float
    """Its middle, as a share of the work."""
    share: float
    pace: float


class _Line(NamedTuple):
    """The line through the paces of pieces with weights."""

    middle: float
    """The weighted mean of their places, at which the line has the height `mean`."""
    mean: float
    slope: float
    spread: float
    """The weighted squares of the distances of the places from the middle."""
    scatter: float
    """The weighted squares of the distances of the paces from the line."""


class TimeLeft:
    """Measures a step that began at this time, in seconds."""

    def __init__(self, began: float) -> None:
        self._pieces: list[_Piece] = []
        self._time = self._began = began
        self._share = 0.0

    def advanced(self, time: float, share: float) -> None:
        """Report which share of the work is done."""
        done = share - self._share
        if done < 1 / _PIECES:
            return
        self._pieces.append(_Piece(self._share + done / 2, done, max(time - self._time, 0.0) / done))
        self._time, self._share = time, share

    def seconds(self, time: float) -> float | None:
        """Return the seconds left at this time, null if too little is known."""
        if not self._pieces:
            return None
        waited, next_share = time - self._time, min(self._pieces[-1].share, 1 - self._share)
        expected = self._pace(self._pieces, (1 + self._share) / 2)
        if waited <= expected * next_share or next_share <= 0:
            return max(expected * (1 - self._share) - waited, 0.0)
        # The next report is late: the time left would shrink to nothing while nothing happens. So the next piece is
        # taken to end now.
        late = _Piece(self._share + next_share / 2, next_share, waited / next_share)
        share = self._share + next_share
        return self._pace([*self._pieces, late], (1 + share) / 2) * (1 - share)

    def _pace(self, measured: list[_Piece], place: float) -> float:
        """Return the pace that is expected around a place that lies ahead."""
        pieces = _since_change(measured)
        weights = [piece.share * math.exp((piece.place - self._share) / _MEMORY) for piece in pieces]
        line = _fitted(pieces, weights)
        expected = line.mean + _certain_slope(line, weights) * (place - line.middle)
        return min(max(expected, line.mean / 2), line.mean * 2)


def _since_change(pieces: list[_Piece]) -> list[_Piece]:
    """Return the pieces after the pace changed at once; all, if it did not, or changes evenly."""
    if len(pieces) < 2 * _FEWEST:
        return pieces
    sums = [(0.0, 0.0, 0.0)]
    for piece in pieces:
        weight, first, second = sums[-1]
        product = piece.share * piece.pace
        sums.append((weight + piece.share, first + product, second + product * piece.pace))

    def scatter(begin: int, end: int) -> float:
        weight, first, second = (b - a for a, b in zip(sums[begin], sums[end], strict=True))
        return max(second - first * first / weight, 0.0)

    last = len(pieces)
    at, least = min(
        ((at, scatter(0, at) + scatter(at, last)) for at in range(_FEWEST, last - _FEWEST + 1)),
        key=lambda split: split[1],
    )
    weights = [piece.share for piece in pieces]
    evenly = min(scatter(0, last) / 4, _fitted(pieces, weights).scatter)
    return pieces[at:] if least < evenly * 0.9 else pieces


def _fitted(pieces: list[_Piece], weights: list[float]) -> _Line:
    total = sum(weights)
    middle = sum(weight * piece.place for weight, piece in zip(weights, pieces, strict=True)) / total
    mean = sum(weight * piece.pace for weight, piece in zip(weights, pieces, strict=True)) / total
    spread = sum(weight * (piece.place - middle) ** 2 for weight, piece in zip(weights, pieces, strict=True))
    both = ((piece.place - middle) * (piece.pace - mean) for piece in pieces)
    slope = sum(weight * product for weight, product in zip(weights, both, strict=True)) / spread if spread else 0.0
    rests = (piece.pace - mean - slope * (piece.place - middle) for piece in pieces)
    scatter = sum(weight * rest * rest for weight, rest in zip(weights, rests, strict=True))
    return _Line(middle, mean, slope, spread, scatter)


def _certain_slope(line: _Line, weights: list[float]) -> float:
    """Return how fast the pace changes, drawn towards 0 the less that is certain."""
    count = sum(weights) ** 2 / sum(weight * weight for weight in weights)
    if count < 2 * _FEWEST or not line.slope:
        return 0.0
    error = line.scatter / count / line.spread
    return line.slope * max(0.0, 1 - _CLEAR**2 * error / line.slope**2)
