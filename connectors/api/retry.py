"""How often and how long a request is repeated, and what a provider says about that in its headers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from multidict import CIMultiDict


@dataclass(frozen=True)
class RetryPolicy:
    """How long the other side is waited for. Times in seconds."""

    tries: int = 8
    """Of one request, the 429s not counted."""
    total: float = 600.0
    """For one request, with all its tries and pauses."""
    first_pause: float = 0.25
    longest_pause: float = 30.0
    longest_wait: float = 120.0
    """Of a `Retry-After` that is obeyed; a longer one ends the run in words."""
    connect: float = 15.0
    silence: float = 60.0
    """Without a byte of an answer."""
    settles: float = 2.0
    """After a write whose answer was lost, before it is looked what came of it: the other side may be at it still."""


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` as seconds or as a date; null if neither can be read."""
    given = CIMultiDict(headers)
    for name, unit in (("retry-after-ms", 1000), ("Retry-After", 1)):
        with contextlib.suppress(KeyError, ValueError):
            seconds = float(given[name]) / unit
            return seconds if 0 <= seconds < float("inf") else None
    with contextlib.suppress(KeyError, ValueError, TypeError):
        at = parsedate_to_datetime(given["Retry-After"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
    return None


def longest_pause(retry_policy: RetryPolicy, turn: int) -> float:
    """Seconds that a pause may have, after so many tries."""
    return min(retry_policy.longest_pause, retry_policy.first_pause * 2.0 ** min(turn, 30))
