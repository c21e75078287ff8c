"""The short form of the tests, for every day, and the long one, with `TRANSHIP_LONG_TESTS`, for `make chaos`.

Where every case runs through the same code, the short form has some of the cases: always the same ones, spread over all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar

T = TypeVar("T")

LONG = "TRANSHIP_LONG_TESTS" in os.environ


def some(cases: Sequence[T], number: int) -> list[T]:
    """Return all cases in the long form; in the short one this many, from the first to the last at equal distances."""
    if LONG or number >= len(cases):
        return list(cases)
    last = len(cases) - 1
    return [cases[round(at * last / max(1, number - 1))] for at in range(number)]


def combined(*choices: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return all combinations in the long form; in the short one each choice at least once, in changing company."""
    if LONG:
        return list(product(*choices))
    longest = max(map(len, choices))
    return [tuple(some_of[(at + at // len(some_of)) % len(some_of)] for some_of in choices) for at in range(longest)]
