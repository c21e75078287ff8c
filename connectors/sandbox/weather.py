"""What goes wrong on the way to a provider and back, on demand and repeatable.

Whether a call is struck depends on the seed, on the call itself and on how often the same call came before: the order
in which the calls of several workers arrive makes no difference.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Literal
from zlib import crc32

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Weather(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The weather over a sandbox. Shares are of all calls, from 0 to 1; the usual weather is none."""

    seed: int = 0
    methods: tuple[str, ...] = ()
    """The HTTP methods that are struck; none named: all."""
    latency: Seconds = 0
    jitter: Seconds = 0
    """Latency is `latency` ± `jitter`, evenly spread, and never below nothing."""
    statuses: dict[Literal["429", "500", "502", "503", "504"], Share] = {}
    """Share of calls answered with each of these."""
    timeout: Share = 0
    """Never answered: the connection stays open until the client leaves."""
    late: Share = 0
    """Share of the time-outs and 5xx that come after the call has done its work."""
    cut_before: Share = 0
    """Connection cut before the call does its work."""
    cut_after: Share = 0
    """Connection cut after the call has done its work: the lost answer."""
    slow: Share = 0
    slow_seconds: Seconds = 1
    """A slow answer comes in ten pieces over this time."""
    half: Share = 0
    """Share of responses cut off in the middle of the body."""
    html: Share = 0
    """An HTML page with status 200 in place of the answer of a call that has done its work."""
    shift: Share = 0
    """Share of list calls before which a record jumps to another place; which records there are stays the same."""
    churn: Share = 0
    """Share of list calls before which a record is created and another one deleted."""
    rate: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}
    """Calls allowed per window and HTTP method; `*` is for the methods not named, together."""
    window: Annotated[float, msgspec.Meta(gt=0)] = 60
    """Length of a window of `rate`, in seconds."""
    retry_after: Literal["page", "none", "seconds", "date", "milliseconds"] = "page"
    """How a 429 says when to come back: as the provider's page says, not at all, `Retry-After` as a number or as a
    date, or `retry-after-ms`. A 503 says it, too, where this is not left to the page."""
    retry_seconds: Seconds = 1
    """What a 429 or 503 out of `statuses` says; one of `rate` says the truth."""


@dataclass(frozen=True)
class Spell:
    """What befalls one call."""

    delay: float = 0
    status: int = 0
    timeout: bool = False
    late: bool = False
    cut_before: bool = False
    cut_after: bool = False
    hard: bool = False
    """A cut is a reset, not a close."""
    slow: bool = False
    half: bool = False
    html: bool = False
    shift: bool = False
    churn: bool = False
    chance: random.Random | None = None
    """For what the spell still has to choose."""


CALM = Spell()


class Sky:
    """The weather in force; `weather` may be set at any time, and begins anew then.

    `usual_rate` is a rate per minute for the time when the weather has none.
    """

    def __init__(self, weather: Weather, usual_rate: Mapping[str, int]) -> None:
        self._usual_rate = usual_rate
        self.weather = weather

    @property
    def weather(self) -> Weather:
        """What was set."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._still = weather == Weather(rate=weather.rate, window=weather.window, retry_after=weather.retry_after)
        self._before: Counter[int] = Counter()
        self._began = -math.inf
        self._calls: Counter[str] = Counter()

    def spell(self, method: str, target: str, body: bytes) -> Spell:
        """What befalls this call."""
        now = self._weather
        if self._still or (now.methods and method not in now.methods):
            return CALM
        same = crc32(body, crc32(f"{method} {target}".encode()))
        self._before[same] += 1
        chance = random.Random(f"{now.seed} {same} {self._before[same]}")  # noqa: S311  weather, no secret
        draw = chance.random
        delay = max(0.0, now.latency + now.jitter * (2 * draw() - 1))
        struck, status = draw(), 0
        for code, share in now.statuses.items():
            if struck < share:
                status = int(code)
                break
            struck -= share
        return Spell(
            delay=delay,
            status=status,
            timeout=draw() < now.timeout,
            late=draw() < now.late,
            cut_before=draw() < now.cut_before,
            cut_after=draw() < now.cut_after,
            hard=draw() < 0.5,
            slow=draw() < now.slow,
            half=draw() < now.half,
            html=draw() < now.html,
            shift=draw() < now.shift,
            churn=draw() < now.churn,
            chance=chance,
        )

    def over_rate(self, method: str) -> float | None:
        """Count a call; seconds to wait if it is one too many, else null."""
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
        """The headers of an error that may be repeated, after so many seconds; `usual`: a 429 of this provider says it.

        Null are the seconds that the weather says.
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
            # A date has whole seconds: rounded up, or the client would come too early.
            when = datetime.now(UTC) + timedelta(seconds=seconds + 1)
            return {"Retry-After": format_datetime(when.replace(microsecond=0), usegmt=True)}
        if kind == "milliseconds":
            return {"retry-after-ms": str(max(1, round(seconds * 1000)))}
        return {}
