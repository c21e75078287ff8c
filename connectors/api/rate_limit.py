"""Pacing of a client's requests: evenly spread under a rate limit, and held back during common pauses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

from tranship.connectors.api.retry import RetryPolicy, random_pause
from tranship.connectors.api.service import ANY

_USED_SHARE: Final = 0.98
"""The share of a limit that is used: providers count calls as they arrive, some late and close together."""


_CATCH_UP_SECONDS: Final = 0.1
"""The delay up to which late calls are caught up. A loop that wakes late would otherwise stay below its rate."""


_BELIEVED: Final = 3
"""Consecutive 429s whose `Retry-After` is trusted: a provider that always answers 0 seconds would be asked without end.
"""


class RateLimiter:
    """At most this number of calls per second, evenly spread. For one event loop.

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
        """Return when this caller may proceed, in the order of the requests."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            start = max(self._next, loop.time() - _CATCH_UP_SECONDS) if self._granted else loop.time()
            if len(self._granted) == self._granted.maxlen:
                start = max(start, self._granted[0] + self._window)
            while (left := start - loop.time()) > 0:
                await asyncio.sleep(left)
            self._next = start + self._gap
            self._granted.append(loop.time())


class RequestPacer:
    """Holds back the requests of one client: during pauses that all of them wait for, and by its rate limits.

    `per_second`: method (or `ANY`) → calls per second. For one event loop.
    """

    def __init__(self, per_second: Mapping[str, float], retry_policy: RetryPolicy) -> None:
        self._limiters = {method: RateLimiter(rate) for method, rate in per_second.items()}
        self._retry_policy = retry_policy
        self._open_at = 0.0
        """The end of the common pause."""
        self._paused_at = 0.0
        """When the last common pause began."""
        self._streak = 0
        """Consecutive pauses after a 429."""

    async def wait_turn(self, method: str) -> None:
        """Wait until a request may be sent: first for the common pause, then for the rate limit."""
        loop = asyncio.get_running_loop()
        while True:
            while (left := self._open_at - loop.time()) > 0:
                await asyncio.sleep(left)
            for name in (method, ANY):
                if limiter := self._limiters.get(name):
                    await limiter.acquire()
            if self._open_at <= loop.time():
                return

    def pause_all(self, seconds: float) -> float:
        """Pause all requests from now on; return the seconds by which this delays them."""
        time = asyncio.get_running_loop().time()
        self._paused_at = time
        added = max(0.0, time + seconds - max(self._open_at, time))
        self._open_at = max(self._open_at, time + seconds)
        return added

    def throttled(self, sent_at: float, after: float | None) -> float:
        """Pause all requests after a 429 to a request sent at that time; return the seconds by which this delays them.

        The pause is as long as the provider asks for (`after`), until it has refused several consecutive requests that
        waited as long; otherwise, it has a random length. Of several requests refused at the same time only the first
        makes the next pause longer.
        """
        if sent_at < self._paused_at:
            return self.pause_all(after) if after else 0.0
        self._streak += 1
        if after is None:
            return self.pause_all(random_pause(self._retry_policy, self._streak - 1))
        if self._streak <= _BELIEVED:
            return self.pause_all(after)
        return self.pause_all(after + random_pause(self._retry_policy, self._streak - 1 - _BELIEVED))

    def accepted(self) -> None:
        """Note a response with an accepted status: the next pause is a short one again."""
        self._streak = 0
