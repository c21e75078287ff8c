"""Spreading the calls of a client evenly under a rate limit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_OF_LIMIT: Final = 0.98
"""What is used of a limit: the other side counts calls as they arrive, some of them late and close together."""


_MADE_UP: Final = 0.1
"""Seconds of lateness for which a pace makes up. A loop that wakes late would stay behind its rate otherwise."""


class RateLimiter:
    """So many turns a second and no more, evenly spread. On one event loop.

    A bucket that leaks (aiolimiter's) does not do: a full one goes out on top of the rate, which the other side
    answers 429, and a small one stays 5 % behind the rate on a machine that has other work.
    """

    def __init__(self, rate: float) -> None:
        turns = max(1, int(rate))
        self._gap = 1 / (rate * _OF_LIMIT)
        self._window = turns * self._gap
        self._given: deque[float] = deque(maxlen=turns)
        """When the last turns were given, as many as there may be in a window."""
        self._next = 0.0
        self._one_by_one = asyncio.Lock()

    async def turn(self) -> None:
        """Returns when it is this caller's turn, in the order in which they asked."""
        loop = asyncio.get_running_loop()
        async with self._one_by_one:
            at = max(self._next, loop.time() - _MADE_UP) if self._given else loop.time()
            if len(self._given) == self._given.maxlen:
                at = max(at, self._given[0] + self._window)
            while (left := at - loop.time()) > 0:
                await asyncio.sleep(left)
            self._next = at + self._gap
            self._given.append(loop.time())
