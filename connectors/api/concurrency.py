"""Adaptive limit on concurrent requests, with a circuit breaker."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from typing import Final

from tranship.connectors.api.http_errors import Unanswered
from tranship.connectors.api.retry import RetryPolicy, longest_pause
from tranship.connectors.errors import ConnectorError, Unreachable

TRIES: Final = 8
"""Tries of one request that fails while others succeed."""


class Stopped(Exception):
    """Sending was stopped."""


class ConcurrencyLimit:
    """Admits as many concurrent requests as the provider sustains: none while it is down, none after `stop`.

    The level rises by one after as many successes as its value, and is halved by a 429 or a time-out. After several
    consecutive failures only one request at a time is admitted, after a growing pause, until one succeeds; after
    `RetryPolicy.total` seconds without success Unreachable is raised.
    """

    def __init__(self, in_flight: int, retry_policy: RetryPolicy) -> None:
        self.stopped: asyncio.Event
        self.level = float(min(2, in_flight))
        self._in_flight, self._retry_policy = in_flight, retry_policy
        self._busy = 0
        self._cut_at = 0.0
        self.failures = 0
        """Consecutive failures."""
        self._down_since = 0.0
        self._probe_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last: ConnectorError | None = None
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop

    def begin(self) -> None:
        """Bind to the running event loop. Call before the first request."""
        self._loop = asyncio.get_running_loop()
        self.stopped = asyncio.Event()
        if self._stopping.is_set():
            self.stopped.set()

    def stop(self) -> None:
        """Admit no more requests. Callable from any thread, at any time."""
        self._stopping.set()
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self.stopped.set()
        self._wake(len(self._waiting))

    async def enter(self) -> None:
        """Return when a request may be sent; call `leave` after it. Raises Stopped, Unreachable."""
        while not self._stopping.is_set():
            wait = self._wait()
            if wait == 0:
                self._busy += 1
                return
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            timer = self._loop.call_later(wait, _release, waiter) if wait is not None else None
            try:
                await waiter
            finally:
                if timer:
                    timer.cancel()
        raise Stopped

    def _wait(self) -> float | None:
        """Return the seconds to wait; null: until another request ends."""
        if not self.is_down:
            return 0 if self._busy < int(self.level) else None
        moment = time.monotonic()
        if self._busy:
            return None
        if moment - self._down_since > self._retry_policy.total and self._last:
            raise Unreachable(
                f"{self._last} There was no answer for {moment - self._down_since:,.0f} s. Completed writes are in the "
                "journal; run the same command later to continue."
            )
        return max(0.0, self._probe_at - moment)

    @property
    def is_down(self) -> bool:
        """Whether the provider seems to be down."""
        return self.failures >= TRIES

    def leave(self, began: float, fault: Unanswered | None) -> None:
        """Record the end of a request that began at that time (`time.monotonic`)."""
        self._busy -= 1
        moment, was_down = time.monotonic(), self.is_down
        if fault is None:
            self.failures = 0
            self.level = min(self._in_flight, self.level + 1 / self.level)
        else:
            if (fault.throttled or fault.timed_out) and began >= self._cut_at:
                self._cut_at, self.level = moment, max(1.0, self.level / 2)
            if fault.throttled:
                self.failures = 0
            else:
                self._failed(moment, fault.error)
        if self.is_down != was_down:
            self._wake(len(self._waiting))
        else:
            self._wake(1 if self.is_down else max(1, int(self.level) - self._busy))

    def _failed(self, moment: float, error: ConnectorError) -> None:
        self._last = error
        self._down_since = self._down_since if self.failures else moment
        self.failures += 1
        if self.is_down:
            tries = self.failures - TRIES
            self._probe_at = moment + random.uniform(0.5, 1) * longest_pause(self._retry_policy, tries)  # noqa: S311  no secret

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():  # otherwise it was released before
                waiter.set_result(None)
                count -= 1


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
