"""A process that is killed and restarted: a body for `killed_runs.py`, which forks before this is imported."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from support.moving import hurry
from support.no_journal import NoJournal
from tranship.connectors.api import executor, source
from tranship.connectors.api.http_client import HttpClient, HttpResponse
from tranship.connectors.api.journal import Intent, Journal, Result
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.undo import undo


class Clock:
    """Counts the moments of one process: before and after each request and each entry of the journal."""

    def __init__(self, last: int) -> None:
        self.moments, self._last = 0, last

    def tick(self) -> None:
        self.moments += 1
        if self.moments == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def _mortal(clock: Clock, log: Path, journal: type[Journal]) -> None:
    """Prepare this process to be killed at a moment, and to record the rows that it sends."""
    sent = log.open("a", buffering=1)

    class Mortal(HttpClient):
        async def attempt(self, method: str, path: str, **named: Any) -> HttpResponse:
            body = named.get("body")
            if body is not None:
                rows = [f"{crc32(row):08x}" for row in _rows_of(body)]
                sent.write(json.dumps([f"{crc32(body):08x}", rows]) + "\n")
            clock.tick()
            answer = await super().attempt(method, path, **named)
            clock.tick()
            return answer

        async def fetch(self, *given: Any, **named: Any) -> Any:
            clock.tick()
            answer = await super().fetch(*given, **named)
            clock.tick()
            return answer

    class Noting(journal):  # type: ignore[misc, valid-type]
        async def intend(self, intents: Sequence[Intent], reach: int = 0) -> None:
            clock.tick()
            await super().intend(intents, reach)
            clock.tick()

        def settle(self, results: Sequence[Result]) -> None:
            clock.tick()
            super().settle(results)
            clock.tick()

    executor.HttpClient, executor.Journal, source.HttpClient = Mortal, Noting, Mortal  # type: ignore[misc]
    hurry()


def _rows_of(body: bytes) -> list[bytes]:
    """Return the customers of a body, if it contains several."""
    content = json.loads(body)
    if isinstance(content, dict) and isinstance(content.get("customers"), list):
        content = content["customers"]
    return [json.dumps(row, sort_keys=True).encode() for row in content] if isinstance(content, list) else [body]


def live(given: Mapping[str, Any], last: int, log: Path, *, no_journal: bool) -> None:
    """Carry out the run, or continue it, until the moment `last`; never returns. With `undoes` among the settings, the
    run is the undo of that one.
    """
    _mortal(Clock(last), log, NoJournal if no_journal else Journal)
    try:
        try:
            flow.resume(Path(given["state_dir"]), "last")
        except ConfigError as error:
            if not any(text in str(error) for text in ("finished", "no run", "has not begun")):
                raise
            if "undoes" in given:
                undo(Path(given["state_dir"]), given["undoes"], remove_for_good=True)
            else:
                flow.run(settings.load(dict(given), {}))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
