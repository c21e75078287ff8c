"""What was about to be sent to a provider and what came of it, row by row, on disk before and after.

SQLite with a write-ahead log, written by one thread: whoever waits meanwhile is written in one transaction, with one
fsync for all. An intent is on disk (`synchronous=FULL`) before its request goes out, so that neither a killed process
nor a power cut forgets that something may have been sent. Outcomes are written with the next intents, at the latest
after 0.2 seconds, and nobody waits for them: one that is lost is looked up at the provider, as every intent without an
outcome is. So much a kill or a power cut costs: a look for each row of the last moment.

A journal can be lost: removed, emptied, damaged, replaced by an earlier copy or by that of another run. So a second
file, `journal.reached`, has how many rows of the plan may have been begun, and each entry its digest. A row within that
reach of which the journal has nothing may have been sent, and is looked up as one of unknown outcome is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TypeVar

import msgspec

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError

Outcome = Literal["done", "refused", "stale", "unknown", "left"]
"""done · refused (by the provider, with its reason) · stale (changed since the plan was made; not written) · unknown
(may have been sent, and cannot be looked up) · left (not sent).
"""

_SOON: Final = 0.2
"""Seconds after which outcomes are written though no intent is."""
_PLACE: Final = 1024
"""Rows whose entries are found together."""
_ALL: Final = 1 << 62
"""The reach where it is not known."""
_DAMAGE: Final = frozenset(
    (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY)
)
"""What SQLite answers where a file is none of its own, or not one of ours; anything else may pass."""

# What is written at once of the rows of one place is one JSON list: a line for each of them would cost far more.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, place INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, list TEXT NOT NULL,
    digest BLOB NOT NULL
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
    that is known. No attempt is known of a row whose entries may be lost.
    """

    attempts: int
    digest: str | None
    result: Result | None


def digest(action: str, content: str | None) -> str:
    """Of what a request is to bring about."""
    return hashlib.blake2b(f"{action}\n{content or ''}".encode(), digest_size=16).hexdigest()


_UNKNOWN_PAST: Final = Past(0, None, None)


class _Damaged(Exception):
    """The journal is not what this run wrote."""


class _Reach:
    """How many rows of the plan may have been begun: a line each time that it grows, with a check sum that no other
    run's line has. A last line `closed` says how many entries the journal had when all was well.
    """

    def __init__(self, file: Path, run_id: str) -> None:
        self._run_id = run_id
        self.rows: int | None = 0
        """None if that is not known."""
        self.closed: int | None = None
        """Entries of the journal, if it was closed and not opened since."""
        self.is_new = not file.exists()
        if file.is_dir():
            durable.put_aside(file)
        lines = [] if self.is_new or not file.exists() else file.read_bytes().splitlines(keepends=True)
        if not lines and not self.is_new:
            self.rows = None
        for line in lines:
            kind, count = self._read(line)
            if self.rows is None or count is None:
                self.rows, self.closed = None, None
            elif kind == b"rows":
                self.rows, self.closed = max(self.rows, count), None
            else:
                self.closed = count
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, rows: int) -> None:
        """The journal is open, and so many rows may have been begun. On disk when this returns. Raises OSError."""
        self.rows = max(rows, self.rows or 0)
        self._append(b"rows", self.rows)

    def extend(self, rows: int) -> None:
        """Raises OSError."""
        if self.rows is None or rows > self.rows:
            self.begin(rows)

    def close(self, entries: int | None) -> None:
        """Say that the journal is complete, with so many entries, if it is."""
        if entries is not None:
            self._append(b"closed", entries)
        os.close(self._file)

    def _append(self, kind: bytes, count: int) -> None:
        os.write(self._file, b"%b %d %08x\n" % (kind, count, self._check(kind, count)))
        os.fsync(self._file)

    def _read(self, line: bytes) -> tuple[bytes, int | None]:
        kind, _, rest = line.partition(b" ")
        count, _, check = rest.partition(b" ")
        if not count.isdigit() or kind not in (b"rows", b"closed"):
            return kind, None
        return kind, int(count) if check == b"%08x\n" % self._check(kind, int(count)) else None

    def _check(self, kind: bytes, count: int) -> int:
        return zlib.crc32(b"%b %b %d" % (self._run_id.encode(), kind, count))


class Journal:
    """One file of a run. Any thread may use it."""

    def __init__(self, file: Path, run_id: str, *, begun: bool = False) -> None:
        """Open or begin it; `begun` if an earlier process may have sent something. Raises ConfigError where it cannot
        be used.
        """
        self.file = file
        self.notes: list[str] = []
        """What a person should know of the journal that was found."""
        self._run_id = run_id
        self._place = 0
        """Rows of the plan that were asked for until now."""
        self._begun = 0
        """Rows of the plan that were begun until now: of each of them there is an entry."""
        self.groups = 0
        self._lock = threading.Lock()
        there = file.exists()
        try:
            self._reach = _Reach(file.with_suffix(".reached"), run_id)
            try:
                self._open()
            except _Damaged:
                self._set_aside()
                self._open()
            self._find_lost(begun or there)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        self._queue: SimpleQueue[tuple[Sequence[Intent], int, Future[None]] | None] = SimpleQueue()
        self._settled: deque[Result] = deque()
        self._broken: ConfigError | None = None
        self._thread = threading.Thread(target=self._write, name="tranship-journal", daemon=True)
        self._thread.start()

    # Opening

    def _open(self) -> None:
        """Raises sqlite3.Error, and _Damaged if what is there is not what this run wrote."""
        if self.file.is_dir():
            raise _Damaged
        self._connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_TABLES)
            self._connection.execute("PRAGMA user_version = 1")  # whether it can be written
            self._last, self._number = -1, 0
            for number, place, kind, written, found in self._connection.execute(
                "SELECT number, place, kind, list, digest FROM entries ORDER BY number"
            ):
                self._number += 1
                if number != self._number or found != self._digest(number, place, kind, written):
                    raise _Damaged
                self._last = max(self._last, place)
            if self._number and self._connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise _Damaged
        except sqlite3.Error as error:
            self._connection.close()
            # A text that is no UTF-8 has no code.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGE:
                raise _Damaged from error
            raise
        except BaseException:
            self._connection.close()
            raise

    def _set_aside(self) -> None:
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        aside = durable.put_aside(self.file)
        # Also where nothing is known of what was begun: somebody wrote something here.
        self.notes.append(f"the journal of this run was damaged and is put aside as {aside.name}")

    def _find_lost(self, begun: bool) -> None:
        """Find out which rows may have been sent though the journal has nothing of them."""
        reach = self._reach
        if reach.rows is None or (reach.is_new and begun):
            self._lost = _ALL
        elif reach.closed == self._number:
            self._lost = 0
        else:
            self._lost = reach.rows
        if self.notes or self._lost == _ALL:
            self.notes.append("what may have been sent before is looked up first")
        # On disk before the first request.
        reach.begin(self._lost)
        durable.sync_folder(self.file.parent)

    def _digest(self, number: int, place: int, kind: str, written: str) -> bytes:
        """Of an entry of this run."""
        content = f"{self._run_id} {number} {place} {kind} {written}"
        return hashlib.blake2b(content.encode(), digest_size=16).digest()

    # Before and after a request

    async def intend(self, intents: Sequence[Intent], reach: int = 0) -> None:
        """Returns when they are on disk, and that so many rows of the plan are begun. Raises ConfigError if they cannot
        be.
        """
        written: Future[None] = Future()
        self._queue.put((intents, reach, written))
        await asyncio.wrap_future(written)

    def settle(self, results: Sequence[Result]) -> None:
        """Written with the next intents, or soon. Raises ConfigError if an earlier one could not be."""
        if self._broken:
            raise self._broken
        self._settled.extend(results)

    # What is known

    def past(self, rows: Sequence[int]) -> Mapping[int, Past]:
        """What was known of those rows, the next ones of the plan, when the journal was opened, of which something was.
        A row that may have been begun, and of which there is no entry, has no attempts.
        """
        known: dict[int, Past] = dict.fromkeys(rows[: max(0, self._lost - self._place)], _UNKNOWN_PAST)
        self._place += len(rows)
        if not rows or min(rows) // _PLACE > self._last:
            return known
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
        with self._connected() as connection:
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
        with self._transaction() as connection:
            for place in {one.row // _PLACE for one in intents}:
                lists = connection.execute(
                    "SELECT number, list FROM entries WHERE kind = 'intents' AND place = ?", (place,)
                ).fetchall()
                for number, written in lists:
                    left = [one for one in _read(written, Intent) if (one.row, one.attempt) not in gone]
                    text = _written(left)
                    found = self._digest(number, place, "intents", text)
                    connection.execute(
                        "UPDATE entries SET list = ?, digest = ? WHERE number = ?", (text, found, number)
                    )

    def flush(self) -> None:
        """Returns when all that was given is on disk. Raises ConfigError if it cannot be."""
        written: Future[None] = Future()
        self._queue.put(((), 0, written))
        written.result()

    def close(self) -> None:
        """Write what is waiting and let go of the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._connection.close()
            # Rows that may have been sent before, and were not reached this time, are still to be looked up.
            whole = self._broken is None and self._begun >= self._lost
            with contextlib.suppress(OSError):  # without that line more is looked up than need be
                self._reach.close(self._number if whole else None)

    # The writer

    def _write(self) -> None:
        ended = False
        while not ended:
            intents: list[Intent] = []
            reach = 0
            waiters: list[Future[None]] = []
            for one in self._requested():
                if one is None:
                    ended = True
                else:
                    intents.extend(one[0])
                    reach = max(reach, one[1])
                    waiters.append(one[2])
            results = [self._settled.popleft() for _ in range(len(self._settled))]
            try:
                if not self._broken:
                    if reach > self._begun:
                        self._extend(reach)
                    if intents or results:
                        self._commit(intents, results)
                    self._begun = max(self._begun, reach)
            except ConfigError as error:
                self._broken = error
            for future in waiters:
                if not future.set_running_or_notify_cancel():
                    continue  # who waited for it has gone
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
        """All who wait; nobody after a while."""
        with contextlib.suppress(Empty):
            yield self._queue.get(timeout=_SOON)
            while True:
                yield self._queue.get_nowait()

    def _commit(self, intents: Sequence[Intent], results: Sequence[Result]) -> None:
        self.groups += 1
        now = time.time()
        entries = [
            *((place, "intents", _written([*some])) for place, some in groupby(intents, _place)),
            *((place, "outcomes", _written([*some])) for place, some in groupby(results, _place)),
        ]
        lines = [
            (number, place, kind, now, text, self._digest(number, place, kind, text))
            for number, (place, kind, text) in enumerate(entries, self._number + 1)
        ]
        # One statement for all: after each one this thread waits for Python's lock, which the event loop wants, too.
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
