"""Simulated failures between client and provider, on demand and reproducible.

Whether a call fails depends on the seed, the call itself and the number of identical calls before it, but not on the
order in which the calls of several workers arrive.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Literal
from zlib import crc32

import msgspec
from msgspec import Struct

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Weather(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The simulated failures of a sandbox. Shares are fractions of all calls, from 0 to 1; by default nothing fails."""

    seed: int = 0
    methods: tuple[str, ...] = ()
    """The HTTP methods affected; all if none are given."""
    latency: Seconds = 0
    jitter: Seconds = 0
    """Latency is `latency` ± `jitter`, uniformly distributed, and never negative."""
    statuses: dict[Literal["429", "500", "502", "503", "504"], Share] = {}
    """Share of calls answered with each of these."""
    timeout: Share = 0
    """Share of calls that are never answered: the connection stays open until the client closes it."""
    late: Share = 0
    """Share of the time-outs and 5xx that occur after the call was processed."""
    cut_before: Share = 0
    """Share of connections cut before the call is processed."""
    cut_after: Share = 0
    """Share of connections cut after the call was processed: the response is lost."""
    slow: Share = 0
    slow_seconds: Seconds = 1
    """A slow response is sent in ten pieces over this time."""
    half: Share = 0
    """Share of responses cut off in the middle of the body."""
    html: Share = 0
    """Share of processed calls answered with an HTML page and status 200 instead of the response."""
    shift: Share = 0
    """Share of list calls before which a record moves to another position; the set of records does not change."""
    churn: Share = 0
    """Share of list calls before which a record is created and another one deleted."""
    rate: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}
    """Calls allowed per window and HTTP method; `*` covers all other methods together."""
    window: Annotated[float, msgspec.Meta(gt=0)] = 60
    """Length of a window of `rate`, in seconds."""
    retry_after: Literal["page", "none", "seconds", "date", "milliseconds"] = "page"
    """How a 429 announces when to retry: as documented by the provider, not at all, by `Retry-After` as a number or a
    date, or by `retry-after-ms`. Except for `page`, this also applies to a 503.
    """
    retry_seconds: Seconds = 1
    """The time announced by a 429 or 503 from `statuses`; one from `rate` announces the actual time."""


class Spell(Struct, frozen=True):
    """The simulated failures of one call."""

    delay: float = 0
    status: int = 0
    timeout: bool = False
    late: bool = False
    cut_before: bool = False
    cut_after: bool = False
    hard: bool = False
    """Whether a cut is a reset instead of a close."""
    slow: bool = False
    half: bool = False
    html: bool = False
    shift: bool = False
    churn: bool = False
    chance: random.Random | None = None
    """Random source for further choices."""


CALM = Spell()


class Sky:
    """The current weather; `weather` may be set at any time, which restarts it.

    `usual_rate` is a rate per minute that applies while the weather has none.
    """

    def __init__(self, weather: Weather, usual_rate: Mapping[str, int]) -> None:
        self._usual_rate = usual_rate
        self.weather = weather

    @property
    def weather(self) -> Weather:
        """The weather that was set."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._still = weather == Weather(rate=weather.rate, window=weather.window, retry_after=weather.retry_after)
        self._before: Counter[int] = Counter()
        self._began = -math.inf
        self._calls: Counter[str] = Counter()

    def spell(self, method: str, target: str, body: bytes) -> Spell:
        """Return the simulated failures of this call."""
        weather = self._weather
        if self._still or (weather.methods and method not in weather.methods):
            return CALM
        same = crc32(body, crc32(f"{method} {target}".encode()))
        self._before[same] += 1
        chance = random.Random(f"{weather.seed} {same} {self._before[same]}")  # noqa: S311  weather, no secret
        draw = chance.random
        delay = max(0.0, weather.latency + weather.jitter * (2 * draw() - 1))
        struck, status = draw(), 0
        for code, share in weather.statuses.items():
            if struck < share:
                status = int(code)
                break
            struck -= share
        return Spell(
            delay=delay,
            status=status,
            timeout=draw() < weather.timeout,
            late=draw() < weather.late,
            cut_before=draw() < weather.cut_before,
            cut_after=draw() < weather.cut_after,
            hard=draw() < 0.5,
            slow=draw() < weather.slow,
            half=draw() < weather.half,
            html=draw() < weather.html,
            shift=draw() < weather.shift,
            churn=draw() < weather.churn,
            chance=chance,
        )

    def over_rate(self, method: str) -> float | None:
        """Count a call; return the seconds to wait if the rate is exceeded, else null."""
        rate, window = (self._weather.rate, self._weather.window) if self._weather.rate else (self._usual_rate, 60.0)
        name = method if method in rate else "*"
        if name not in rate:
            return None
        clock = time.monotonic()
        if clock - self._began >= window:
            self._began = clock
            self._calls.clear()
        self._calls[name] += 1
        return self._began + window - clock if self._calls[name] > rate[name] else None

    def retry_headers(self, status: int, usual: bool, seconds: float | None = None) -> dict[str, str]:
        """Return the headers of an error that may be retried after some seconds (null: the weather's). `usual`: a 429
        of this provider has the header.
        """
        kind = self._weather.retry_after
        usual = usual and status == 429
        if status not in (429, 503):
            return {}
        if seconds is None:
            seconds = self._weather.retry_seconds
        if kind == "seconds" or (kind == "page" and usual):
            return {"Retry-After": str(max(1, -int(-seconds // 1)))}
        if kind == "date":
            # A date has whole seconds: round up, or the client would retry too early.
            when = datetime.now(UTC) + timedelta(seconds=seconds + 1)
            return {"Retry-After": format_datetime(when.replace(microsecond=0), usegmt=True)}
        if kind == "milliseconds":
            return {"retry-after-ms": str(max(1, round(seconds * 1000)))}
        return {}
