"""Spreading the calls of a client evenly under a rate limit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_USED_SHARE: Final = 0.98
"""The share of a limit that is used: providers count calls as they arrive, some late and close together."""


_CATCH_UP_SECONDS: Final = 0.1
"""How far a late start is caught up. A loop that wakes late would otherwise stay below its rate."""


class RateLimiter:
    """At most so many calls per second, evenly spread. For one event loop.

    A leaky bucket (aiolimiter's) does not fit: a full bucket is sent on top of the rate, which providers refuse with
    429, and a small one stays 5 % below the rate on a busy machine.
    """

    def __init__(self, rate: float) -> None:
        turns = max(1, int(rate))
        self._gap = 1 / (rate * _USED_SHARE)
        self._window = turns * self._gap
        self._granted: deque[float] = deque(maxlen=turns)
        """Times of the latest calls, as many as one window may hold."""
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def acquire(self) -> None:
        """Return when this caller may go, in the order of the requests."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            at = max(self._next, loop.time() - _CATCH_UP_SECONDS) if self._granted else loop.time()
            if len(self._granted) == self._granted.maxlen:
                at = max(at, self._granted[0] + self._window)
            while (left := at - loop.time()) > 0:
                await asyncio.sleep(left)
            self._next = at + self._gap
            self._granted.append(loop.time())
