"""Limits of a request and its answer, retries, pauses, and the headers in which a provider asks to wait."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct
from multidict import CIMultiDict

from tranship.connectors.api.http_dates import http_date


class RetryPolicy(Struct, frozen=True):
    """Limits of the retries of a request, of the pauses between them, and of its answer. In seconds and bytes."""

    tries: int = 8
    """Tries of one request, not counting those answered with 429."""
    total: float = 600.0
    """Limit for one request with all its tries and pauses, however often it is turned away."""
    first_pause: float = 0.25
    longest_pause: float = 30.0
    longest_wait: float = 120.0
    """The longest `Retry-After` that is honoured; a longer one ends the run with a message."""
    connect: float = 15.0
    silence: float = 60.0
    """Time without receiving a byte."""
    answer: float = 300.0
    """Time from a request to the last byte of its answer, however slowly the bytes arrive."""
    answer_bytes: int = 256 << 20
    """Size of an answer, decompressed."""
    list: float = 24 * 3600.0
    """Time for a whole list, in one answer or in pages."""
    list_bytes: int = 64 << 30
    """Like `answer_bytes`, for a whole list in one answer."""
    pages: int = 1_000_000
    """Pages of one list."""
    settles: float = 2.0
    """Pause between a write whose answer was lost and the look-up of its effect: it may still be in progress."""


def retry_after(headers: Mapping[str, str], time: datetime | None = None) -> float | None:
    """Return the seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); null if unreadable.

    `time` is the current time, by default that of the server (`Date`) or, if it states none, of this machine.
    """
    given = CIMultiDict(headers)
    for name, unit in (("retry-after-ms", 1000), ("Retry-After", 1)):
        with contextlib.suppress(KeyError, ValueError):
            seconds = float(given[name]) / unit
            return seconds if 0 <= seconds < float("inf") else None
    until, now = http_date(given.get("Retry-After")), time or http_date(given.get("Date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else None


def longest_pause(retry_policy: RetryPolicy, tries: int) -> float:
    """Return the longest pause in seconds after this number of tries."""
    return min(retry_policy.longest_pause, retry_policy.first_pause * 2.0 ** min(tries, 30))


def random_pause(retry_policy: RetryPolicy, tries: int) -> float:
    """Return a pause in seconds after this number of tries, of random length: full jitter."""
    return random.uniform(0, longest_pause(retry_policy, tries))  # noqa: S311  no secret
