"""Spreading the calls of a client evenly under a rate limit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_USED_SHARE: Final = 0.98
"""What is used of a limit: the other side counts calls as they arrive, some of them late and close together."""


_CATCH_UP_SECONDS: Final = 0.1
"""Seconds of lateness for which a pace makes up. A loop that wakes late would stay behind its rate otherwise."""


class RateLimiter:
    """So many turns a second and no more, evenly spread. On one event loop.

    A bucket that leaks (aiolimiter's) does not do: a full one goes out on top of the rate, which the other side
    answers 429, and a small one stays 5 % behind the rate on a machine that has other work.
    """

    def __init__(self, rate: float) -> None:
        turns = max(1, int(rate))
        self._gap = 1 / (rate * _USED_SHARE)
        self._window = turns * self._gap
        self._granted: deque[float] = deque(maxlen=turns)
        """When the last turns were given, as many as there may be in a window."""
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def acquire(self) -> None:
        """Returns when it is this caller's turn, in the order in which they asked."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            at = max(self._next, loop.time() - _CATCH_UP_SECONDS) if self._granted else loop.time()
            if len(self._granted) == self._granted.maxlen:
                at = max(at, self._granted[0] + self._window)
            while (left := at - loop.time()) > 0:
                await asyncio.sleep(left)
            self._next = at + self._gap
            self._granted.append(loop.time())
