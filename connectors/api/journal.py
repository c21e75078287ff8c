"""The write-ahead journal of a plan: an intent for each row before its request, and its outcome afterwards.

SQLite with a write-ahead log, written by one thread: all waiting entries are written in one transaction, with one
fsync. An intent is on disk (`synchronous=FULL`) before its request is sent, so that it survives a killed process and a
power cut. Outcomes are written with the next intents, at the latest after 0.2 seconds, and are not waited for: an
intent without an outcome is looked up at the provider. A kill therefore costs one look-up for each row of the last
moment.

A journal can be lost: removed, emptied, damaged, replaced by an earlier copy or by that of another run. Each entry
therefore has a digest, and a second file (`connectors/api/journal_reach.py`) has the number of rows that may have been
begun. A row within that number without an entry may have been sent, and is looked up as well.
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
from itertools import chain, groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors import durable, mirrored
from tranship.connectors.api.journal_reach import JournalReach
from tranship.connectors.errors import ConfigError, LocalFailure, TranshipError

Outcome = Literal["done", "refused", "stale", "unknown", "left"]
"""done · refused (by the provider, with its reason) · stale (changed since the plan was made, not written) · unknown
(possibly sent, and cannot be looked up) · left (not sent)."""

_FLUSH_SECONDS: Final = 0.2
"""Time after which outcomes are written without waiting for further intents."""
_PLACE_ROWS: Final = 1024
"""Rows whose entries have the same `place`, by which they are found."""
_ALL_ROWS: Final = 1 << 62
"""The number of rows that may have been begun, where it is unknown."""
_DAMAGE: Final = frozenset(
    (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY)
)
"""SQLite errors that mean that the file is not a database, or not a journal; other errors may be temporary."""

# Entries of one place that are written together are one JSON list: a line for each would be much slower.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, place INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, list TEXT NOT NULL,
    digest BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS places ON entries (place);
"""


class Intent(msgspec.Struct, frozen=True, array_like=True):
    """The request of a row may be sent from now on. `attempt` counts from 1 over all runs, `digest` is that of its
    content.
    """

    row: int
    attempt: int
    action: str
    digest: str


class Result(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a row. `provider_id` is null where it is unknown."""

    row: int
    outcome: Outcome
    reason: str | None = None
    provider_id: str | None = None


Entry = TypeVar("Entry", Intent, Result)
_KIND: Final[Mapping[type[Any], str]] = {Intent: "intents", Result: "outcomes"}
_LEFT: Final[tuple[Outcome, None, None]] = ("left", None, None)
_UNANSWERED: Final[tuple[Outcome, str, None]] = ("unknown", "sent, and not answered", None)


class Past(Struct, frozen=True):
    """The history of a row in earlier processes: how often it may have been sent, the digest of its content, and its
    outcome; null if unknown. A row whose entries may be lost has no attempts.
    """

    attempts: int
    digest: str | None
    result: Result | None


def digest(action: str, content: str | None) -> str:
    """Return the digest of a request's effect: its action and the wanted record (JSON, null for a delete)."""
    return hashlib.blake2b(f"{action}\n{content or ''}".encode(), digest_size=16).hexdigest()


def entry_digest(run_id: str, number: int, place: int, kind: str, text: str) -> bytes:
    """Return the digest of an entry of a run's journal."""
    return hashlib.blake2b(f"{run_id} {number} {place} {kind} {text}".encode(), digest_size=16).digest()


_UNKNOWN_PAST: Final = Past(0, None, None)


class _Damaged(Exception):
    """The journal is not what this run wrote."""


class Journal:
    """The journal of one run. Callable from any thread."""

    def __init__(self, file: Path, run_id: str, *, begun: bool = False) -> None:
        """Open or create it; `begun` if an earlier process may have sent something. A damaged file is renamed.

        Raises ConfigError if it cannot be written.
        """
        self.file = file
        self.notes: list[str] = []
        """Notes on the journal that was found, for people."""
        self._run_id = run_id
        self._place = 0
        """Rows of the plan read so far."""
        self._begun = 0
        """Rows of the plan begun so far: each of them has an entry."""
        self.groups = 0
        """Transactions so far."""
        self._lock = threading.Lock()
        existed = file.exists()
        try:
            self._reach = JournalReach(file.with_suffix(".reached"), run_id)
            try:
                self._open()
            except _Damaged:
                self._set_aside()
                self._open()
            self._find_lost(begun or existed)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        self._queue: SimpleQueue[tuple[Sequence[Intent], int, Future[None]] | None] = SimpleQueue()
        self._settled: deque[Result] = deque()
        self._broken: TranshipError | None = None
        self._thread = threading.Thread(target=self._write, name="tranship-journal", daemon=True)
        self._thread.start()

    # Opening

    def _open(self) -> None:
        """Open the file and check all entries. Raises sqlite3.Error, and _Damaged if this run did not write it."""
        if self.file.is_dir():
            raise _Damaged
        self._connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_TABLES)
            self._connection.execute("PRAGMA user_version = 1")  # fails if the file cannot be written
            self._last, self._number = -1, 0
            for number, place, kind, text, found in self._connection.execute(
                "SELECT number, place, kind, list, digest FROM entries ORDER BY number"
            ):
                self._number += 1
                if number != self._number or found != self._digest(number, place, kind, text):
                    raise _Damaged
                self._last = max(self._last, place)
            if self._number and self._connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise _Damaged
        except sqlite3.Error as error:
            self._connection.close()
            # An error about invalid UTF-8 has no code.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGE:
                raise _Damaged from error
            raise
        except BaseException:
            self._connection.close()
            raise

    def _set_aside(self) -> None:
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        aside = durable.move_aside(self.file)
        self.notes.append(f"the journal of this run was damaged; it was renamed to {aside.name}")

    def _find_lost(self, begun: bool) -> None:
        """Determine how many rows may have been sent without an entry in the journal."""
        reach = self._reach
        if reach.rows is None or (reach.is_new and begun):
            self._lost = _ALL_ROWS
        elif reach.closed == self._number:
            self._lost = 0
        else:
            self._lost = reach.rows
        if self.notes or self._lost == _ALL_ROWS:
            self.notes.append("what may have been sent before is looked up first")
        # On disk before the first request.
        reach.begin(self._lost)
        durable.sync_folder(self.file.parent)

    def _digest(self, number: int, place: int, kind: str, text: str) -> bytes:
        """Return the digest of an entry of this run."""
        return entry_digest(self._run_id, number, place, kind, text)

    # Before and after a request

    async def intend(self, intents: Sequence[Intent], reach: int = 0) -> None:
        """Write intents, and that the first `reach` rows of the plan are begun; return when both are on disk.

        Raises ConfigError if they cannot be written, and ConnectorError if another machine must know and cannot.
        """
        on_disk: Future[None] = Future()
        self._queue.put((intents, reach, on_disk))
        await asyncio.wrap_future(on_disk)

    def settle(self, results: Sequence[Result]) -> None:
        """Write outcomes with the next intents, or soon. Raises ConfigError if writing has failed before."""
        if self._broken:
            raise self._broken
        self._settled.extend(results)

    # Reading

    def past(self, rows: Sequence[int]) -> Mapping[int, Past]:
        """Return the history of the next rows of the plan, as it was when the journal was opened.

        Rows that were never begun are missing. A row that may have been begun, but has no entry, has no attempts.
        """
        known: dict[int, Past] = dict.fromkeys(rows[: max(0, self._lost - self._place)], _UNKNOWN_PAST)
        self._place += len(rows)
        if not rows or min(rows) // _PLACE_ROWS > self._last:
            return known
        for intent in self._entries(Intent, rows):
            if intent.row not in known or known[intent.row].attempts < intent.attempt:
                known[intent.row] = Past(intent.attempt, intent.digest, None)
        for result in self._entries(Result, rows):
            if result.row in known:
                known[result.row] = replace(known[result.row], result=result)
        return known

    def results(self, rows: Sequence[int]) -> list[tuple[Outcome, str | None, str | None]]:
        """Return the outcome of each of these rows, with its reason and the provider's id (null if unknown)."""
        known: dict[int, tuple[Outcome, str | None, str | None]] = {
            intent.row: _UNANSWERED for intent in self._entries(Intent, rows)
        }
        known |= {
            result.row: (result.outcome, result.reason, result.provider_id) for result in self._entries(Result, rows)
        }
        return [known.get(row, _LEFT) for row in rows]

    def _entries(self, kind: type[Entry], rows: Sequence[int]) -> Iterator[Entry]:
        """Yield the entries of these rows, in the order in which they were written."""
        wanted = set(rows)
        with self._connected() as connection:
            lists = connection.execute(
                "SELECT list FROM entries WHERE kind = ? AND place BETWEEN ? AND ? ORDER BY number",
                (_KIND[kind], min(rows, default=0) // _PLACE_ROWS, max(rows, default=0) // _PLACE_ROWS),
            ).fetchall()
        for (text,) in lists:
            yield from (entry for entry in _decoded(text, kind) if entry.row in wanted)

    def withdraw(self, intents: Sequence[Intent]) -> None:
        """Remove intents whose requests were not sent. Raises ConfigError."""
        self.flush()
        gone = {(intent.row, intent.attempt) for intent in intents}
        with self._transaction() as connection:
            for place in {_place(intent) for intent in intents}:
                lists = connection.execute(
                    "SELECT number, list FROM entries WHERE kind = 'intents' AND place = ?", (place,)
                ).fetchall()
                for number, text in lists:
                    left = [entry for entry in _decoded(text, Intent) if (entry.row, entry.attempt) not in gone]
                    text_left = _encoded(left)
                    digest_left = self._digest(number, place, "intents", text_left)
                    connection.execute(
                        "UPDATE entries SET list = ?, digest = ? WHERE number = ?", (text_left, digest_left, number)
                    )

    def flush(self) -> None:
        """Return when all entries are on disk. Raises ConfigError if they cannot be written."""
        on_disk: Future[None] = Future()
        self._queue.put(((), 0, on_disk))
        on_disk.result()

    def close(self) -> None:
        """Write the waiting entries and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._connection.close()
            # Rows that may have been sent before, and were not reached this time, must still be looked up.
            is_complete = self._broken is None and self._begun >= self._lost
            with contextlib.suppress(OSError):  # without this line more rows are looked up than necessary
                self._reach.close(self._number if is_complete else None)

    # The writer

    def _write(self) -> None:
        ended = False
        while not ended:
            intents: list[Intent] = []
            reach = 0
            waiters: list[Future[None]] = []
            for request in self._requested():
                if request is None:
                    ended = True
                else:
                    intents.extend(request[0])
                    reach = max(reach, request[1])
                    waiters.append(request[2])
            results = [self._settled.popleft() for _ in range(len(self._settled))]
            try:
                if not self._broken:
                    if intents:
                        mirrored.confirm(self.file)
                    if reach > self._begun:
                        self._extend(reach)
                    if intents or results:
                        self._commit(intents, results)
                    self._begun = max(self._begun, reach)
            except TranshipError as error:
                self._broken = error
            for future in waiters:
                if not future.set_running_or_notify_cancel():
                    continue  # the waiting task was cancelled
                if self._broken:
                    future.set_exception(self._broken)
                else:
                    future.set_result(None)

    def _extend(self, reach: int) -> None:
        try:
            self._reach.extend(reach)
        except OSError as error:
            raise self._unusable(error) from error

    def _requested(self) -> Iterator[tuple[Sequence[Intent], int, Future[None]] | None]:
        """Yield all waiting requests, or none after a while; None means the end."""
        with contextlib.suppress(Empty):
            yield self._queue.get(timeout=_FLUSH_SECONDS)
            while True:
                yield self._queue.get_nowait()

    def _commit(self, intents: Sequence[Intent], results: Sequence[Result]) -> None:
        self.groups += 1
        written_at = time.time()
        entries = [
            *((place, "intents", _encoded([*group])) for place, group in groupby(intents, _place)),
            *((place, "outcomes", _encoded([*group])) for place, group in groupby(results, _place)),
        ]
        lines = [
            (number, place, kind, written_at, text, self._digest(number, place, kind, text))
            for number, (place, kind, text) in enumerate(entries, self._number + 1)
        ]
        # One statement for all: after each, this thread waits for Python's lock, which the event loop needs as well.
        values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(lines))
        with self._connected() as connection:
            connection.execute(
                f"INSERT INTO entries (number, place, kind, at, list, digest) VALUES {values}",
                [*chain.from_iterable(lines)],
            )
        self._number += len(lines)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def _unusable(self, error: Any) -> ConfigError:
        return LocalFailure(
            f"{self.file}: the journal of this run cannot be written ({error}). Nothing more is sent without it. Free "
            "some space there, or end the other program that uses the file, and run the same command again."
        )


def _place(entry: Intent | Result) -> int:
    return entry.row // _PLACE_ROWS


def _encoded(entries: Sequence[Intent] | Sequence[Result]) -> str:
    return msgspec.json.encode(entries).decode()


def _decoded(text: str, kind: type[Entry]) -> list[Entry]:
    entries: list[Entry] = msgspec.json.decode(text, type=list[kind])  # type: ignore[valid-type]
    return entries
