"""What was about to be sent to a provider and what came of it, row by row, on disk before and after.

SQLite with a write-ahead log, written by one thread: whoever waits meanwhile is written in one transaction, with one
fsync for all. An intent is on disk (`synchronous=FULL`) before its request goes out, so that neither a killed process
nor a power cut forgets that something may have been sent. Outcomes are written with the next intents, at the latest
after 0.2 seconds, and nobody waits for them: one that is lost is looked up at the provider, as every intent without an
outcome is. So much a kill or a power cut costs: a look for each row of the last moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TypeVar

import msgspec

from connectors.errors import ConfigError

Outcome = Literal["done", "refused", "stale", "unknown", "left"]
"""done · refused (by the provider, with its reason) · stale (moved since the plan; not touched) · unknown (may have
been sent, and cannot be looked up) · left (not sent)."""

_SOON: Final = 0.2
"""Seconds after which outcomes are written though no intent is."""
_PLACE: Final = 1024
"""Rows whose entries are found together."""

# What is written at once of the rows of one place is one JSON list: a line for each of them would cost far more.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, place INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, list TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS places ON entries (place);
"""


class Intent(msgspec.Struct, frozen=True, array_like=True):
    """This row's request may go out from now on. `attempt` counts from 1 over all runs, `digest` is of its content."""

    row: int
    attempt: int
    action: str
    digest: str


class Result(msgspec.Struct, frozen=True, array_like=True):
    """What came of a row."""

    row: int
    outcome: Outcome
    reason: str | None = None
    provider_id: str | None = None


Entry = TypeVar("Entry", Intent, Result)
_KIND: Final[Mapping[type[Any], str]] = {Intent: "intents", Result: "outcomes"}
_LEFT: Final[tuple[Outcome, None, None]] = ("left", None, None)
_UNANSWERED: Final[tuple[Outcome, str, None]] = ("unknown", "sent, and not answered", None)


@dataclass(frozen=True)
class Past:
    """What is known of a row from before: how often it may have been sent, and of what content; what came of it, if
    that is known.
    """

    attempts: int
    digest: str
    result: Result | None


def digest(action: str, content: str | None) -> str:
    """Of what a request is to bring about."""
    return hashlib.blake2b(f"{action}\n{content or ''}".encode(), digest_size=16).hexdigest()


class Journal:
    """One file of a run. Any thread may use it."""

    def __init__(self, file: Path) -> None:
        """Open or begin it. Raises ConfigError where it cannot be used."""
        self.file = file
        self.seconds = 0.0
        """Spent in the writer's thread, waiting for the disk included."""
        self.groups = 0
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_TABLES)
            (self._last,) = self._connection.execute("SELECT coalesce(max(place), -1) FROM entries").fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._queue: SimpleQueue[tuple[Sequence[Intent], Future[None]] | None] = SimpleQueue()
        self._settled: deque[Result] = deque()
        self._broken: ConfigError | None = None
        self._thread = threading.Thread(target=self._write, name="tranship-journal", daemon=True)
        self._thread.start()

    # Before and after a request

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Returns when they are on disk. Raises ConfigError if they cannot be."""
        written: Future[None] = Future()
        self._queue.put((intents, written))
        await asyncio.wrap_future(written)

    def settle(self, results: Sequence[Result]) -> None:
        """Written with the next intents, or soon. Raises ConfigError if an earlier one could not be."""
        if self._broken:
            raise self._broken
        self._settled.extend(results)

    # What is known

    def past(self, rows: Sequence[int]) -> Mapping[int, Past]:
        """What was known of those rows when the journal was opened, of which something was."""
        if not rows or min(rows) // _PLACE > self._last:
            return {}
        known: dict[int, Past] = {}
        for one in self._entries(Intent, rows):
            if one.row not in known or known[one.row].attempts < one.attempt:
                known[one.row] = Past(one.attempt, one.digest, None)
        for came in self._entries(Result, rows):
            if came.row in known:
                known[came.row] = replace(known[came.row], result=came)
        return known

    def results(self, rows: Sequence[int]) -> list[tuple[Outcome, str | None, str | None]]:
        """What came of each of those rows as far as it is known: outcome, reason, the provider's id."""
        known: dict[int, tuple[Outcome, str | None, str | None]] = {
            one.row: _UNANSWERED for one in self._entries(Intent, rows)
        }
        known |= {one.row: (one.outcome, one.reason, one.provider_id) for one in self._entries(Result, rows)}
        return [known.get(row, _LEFT) for row in rows]

    def _entries(self, kind: type[Entry], rows: Sequence[int]) -> Iterator[Entry]:
        """Those of the rows, in the order in which they were written."""
        wanted = set(rows)
        with self._using() as connection:
            lists = connection.execute(
                "SELECT list FROM entries WHERE kind = ? AND place BETWEEN ? AND ? ORDER BY number",
                (_KIND[kind], min(rows, default=0) // _PLACE, max(rows, default=0) // _PLACE),
            ).fetchall()
        for (written,) in lists:
            yield from (one for one in _read(written, kind) if one.row in wanted)

    def withdraw(self, intents: Sequence[Intent]) -> None:
        """Forget those of which it is known that nothing was sent. Raises ConfigError."""
        self.flush()
        gone = {(one.row, one.attempt) for one in intents}
        with self._changing() as connection:
            for place in {one.row // _PLACE for one in intents}:
                lists = connection.execute(
                    "SELECT number, list FROM entries WHERE kind = 'intents' AND place = ?", (place,)
                ).fetchall()
                for number, written in lists:
                    left = [one for one in _read(written, Intent) if (one.row, one.attempt) not in gone]
                    connection.execute("UPDATE entries SET list = ? WHERE number = ?", (_written(left), number))

    def flush(self) -> None:
        """Returns when all that was given is on disk. Raises ConfigError if it cannot be."""
        written: Future[None] = Future()
        self._queue.put(((), written))
        written.result()

    def close(self) -> None:
        """Write what is waiting and let go of the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._connection.close()

    # The writer

    def _write(self) -> None:
        ended = False
        while not ended:
            intents: list[Intent] = []
            told: list[Future[None]] = []
            for one in self._taken():
                if one is None:
                    ended = True
                else:
                    intents.extend(one[0])
                    told.append(one[1])
            began = time.perf_counter()
            results = [self._settled.popleft() for _ in range(len(self._settled))]
            try:
                if (intents or results) and not self._broken:
                    self._commit(intents, results)
            except ConfigError as error:
                self._broken = error
            for future in told:
                if not future.set_running_or_notify_cancel():
                    continue  # who waited for it has gone
                if self._broken:
                    future.set_exception(self._broken)
                else:
                    future.set_result(None)
            self.seconds += time.perf_counter() - began

    def _taken(self) -> Iterator[tuple[Sequence[Intent], Future[None]] | None]:
        """All who wait; nobody after a while."""
        with contextlib.suppress(Empty):
            yield self._queue.get(timeout=_SOON)
            while True:
                yield self._queue.get_nowait()

    def _commit(self, intents: Sequence[Intent], results: Sequence[Result]) -> None:
        self.groups += 1
        now = time.time()
        lines = [
            *((place, "intents", now, _written([*some])) for place, some in groupby(intents, _place)),
            *((place, "outcomes", now, _written([*some])) for place, some in groupby(results, _place)),
        ]
        # One statement for all: after each one this thread waits for Python's lock, which the event loop wants, too.
        values = ", ".join(["(?, ?, ?, ?)"] * len(lines))
        with self._using() as connection:
            connection.execute(
                f"INSERT INTO entries (place, kind, at, list) VALUES {values}", [*chain.from_iterable(lines)]
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def _unusable(self, error: Any) -> ConfigError:
        return ConfigError(
            f"{self.file}: the journal of this run cannot be written ({error}). Nothing more is sent without it. Make "
            "room there, or end what else uses the file, and run the same command again."
        )


def _place(entry: Intent | Result) -> int:
    return entry.row // _PLACE


def _written(entries: Sequence[Intent] | Sequence[Result]) -> str:
    return msgspec.json.encode(entries).decode()


def _read(written: str, kind: type[Entry]) -> list[Entry]:
    found: list[Entry] = msgspec.json.decode(written, type=list[kind])  # type: ignore[valid-type]
    return found
