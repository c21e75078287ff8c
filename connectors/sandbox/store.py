"""The state of a sandbox: collections of JSON records in memory and, optionally, in a file.

Records are stored as the bytes that the provider sends, so that a page of a list is a join. Each has a *rank*: records
are listed in rising rank, a new record gets the highest one, and a record is moved by changing its rank. The file is a
log with one line per change, passed to the operating system before the call is answered, so that it survives the end of
the process.
"""

from __future__ import annotations

import fcntl
import os
import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox.search import Haystack

Record = dict[str, Any]
Ranks = Sequence[int]

_GAP: Final = 24
"""Number of bits between the ranks of two neighbours, so that records can be moved between them."""

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class Taken(Exception):
    """A unique value belongs to another record. `index` names the index, `owner` is the key of that record."""

    def __init__(self, index: str, value: str, owner: str) -> None:
        super().__init__(index)
        self.index, self.value, self.owner = index, value, owner


class Store:
    """The collections of one sandbox, its clock and its ids; `path` is the state file, null for memory only.

    The ids are the same on each run; after loading a state file, new ids differ. `close` closes the file.
    """

    def __init__(self, provider: str, path: Path | None = None) -> None:
        self.collections: dict[str, Collection] = {}
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.version = 0
        self._last = datetime.min.replace(tzinfo=UTC)
        self._provider = provider
        self._path = path
        self._log: IO[bytes] | None = None
        self._bulk = False
        self._serial = 0
        self.chance = random.Random(0)  # noqa: S311  ids of a sandbox

    def collection(
        self,
        name: str,
        *,
        key: Callable[[Record], str] = lambda record: str(record["id"]),
        unique: Mapping[str, Callable[[Record], Iterable[str]]] | None = None,
        lists: Callable[[Record], Iterable[str]] = lambda _: (),
        text: Callable[[Record], str] = lambda _: "",
    ) -> Collection:
        """Create a collection.

        `key`: record → its key. `unique`: name of an index → the values of a record that no other record may have
        (with their case folded if the provider ignores it). `lists`: the names of the lists that contain a record,
        beside the list of all records, `""`. `text`: the text that `search` searches, in lower case.
        """
        collection = Collection(self, name, key, dict(unique or {}), lists, text)
        self.collections[name] = collection
        return collection

    def moment(self) -> datetime:
        """Return the time in UTC and whole milliseconds, never earlier than before. Equal timestamps are allowed: a
        clock that advances with each record would run ahead.
        """
        time = self.clock()
        self._last = max(self._last, time.replace(microsecond=time.microsecond // 1000 * 1000))
        return self._last

    def uuid(self) -> str:
        """Return a new UUID, version 4."""
        h = f"{self.chance.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"

    def token(self, length: int) -> str:
        """Return random lower-case letters and digits."""
        return "".join(self.chance.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=length))

    @property
    def serial(self) -> int:
        """Return a number that grows with each new record: if it and the length of a list are unchanged, so are its
        records.
        """
        return self._serial

    def next_rank(self) -> int:
        """Return a rank higher than all others."""
        self._serial += 1
        return self._serial << _GAP

    def write(self, line: bytes) -> None:
        """Append a change to the state file, if there is one."""
        self.version += 1
        if self._log:
            self._log.write(line)
            if not self._bulk:
                self._log.flush()

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Write many records at once; the file may lag behind meanwhile."""
        self._bulk = True
        try:
            yield
        finally:
            self._bulk = False
            if self._log:
                self._log.flush()

    def open(self) -> bool:
        """Load the state file after all collections were added, and keep it up to date. Return whether it had a state.

        An incomplete last line is dropped. Raises ConfigError if the file cannot be used.
        """
        if not self._path:
            return False
        try:
            lock = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # The lock is on the file to be replaced; the new one is locked before it is renamed.
                _lock(lock, self._path)
                held, generation = self._load(self._path)
                self._compact(self._path, generation + 1)
            finally:
                os.close(lock)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be used for the sandbox's state: {error.strerror}") from None
        self.chance.seed(generation + 1)
        return held

    def clear(self) -> None:
        """Remove every record."""
        for collection in self.collections.values():
            collection.clear()

    def close(self) -> None:
        """Close the state file."""
        if self._log:
            self._log.close()
            self._log = None

    def _load(self, path: Path) -> tuple[bool, int]:
        with path.open("rb") as file:
            first = file.readline()
            if not first:
                return False, -1
            try:
                head = decode(first)
                provider, generation, self._serial = head["sandbox"], head["generation"], head["serial"]
            except (msgspec.DecodeError, KeyError, TypeError):
                raise ConfigError(f"{path}: is not the state of a sandbox. Choose another file.") from None
            if provider != self._provider:
                raise ConfigError(f"{path}: contains the state of {provider}, not of {self._provider}.")
            for line in file:
                if not line.endswith(b"\n"):
                    break
                what, name, rank, rest = line.rstrip(b"\n").split(b"\t", 3)
                collection = self.collections[name.decode()]
                self._serial = max(self._serial, int(rank) >> _GAP)
                if what == b"P":
                    collection.restore(int(rank), rest)
                elif what == b"D":
                    collection.delete(decode(rest))
                else:
                    collection.clear()
        return True, generation

    def _compact(self, path: Path, generation: int) -> None:
        fresh = path.with_name(path.name + ".new")
        log = fresh.open("wb", buffering=1 << 20)
        fresh.chmod(0o600)
        _lock(log.fileno(), path)
        log.write(encode({"sandbox": self._provider, "generation": generation, "serial": self._serial}) + b"\n")
        for collection in self.collections.values():
            for line in collection.lines():
                log.write(line)
        log.flush()
        os.fsync(log.fileno())
        fresh.replace(path)
        self._log = log


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{path}: another sandbox is using this state. Stop it, or name another file.") from None


class Collection:
    """Records of one kind, created by `Store.collection`, which describes the arguments."""

    def __init__(
        self,
        store: Store,
        name: str,
        key: Callable[[Record], str],
        unique: dict[str, Callable[[Record], Iterable[str]]],
        lists: Callable[[Record], Iterable[str]],
        text: Callable[[Record], str],
    ) -> None:
        self.name = name
        self._store, self._key, self._unique, self._lists, self._text = store, key, unique, lists, text
        self._empty()

    def _empty(self) -> None:
        self._body: dict[str, bytes] = {}
        self._rank: dict[str, int] = {}
        self._key_at: dict[int, str] = {}
        self._owner: dict[str, dict[str, str]] = {index: {} for index in self._unique}
        self._order: dict[str, array[int]] = {"": array("q")}
        self._texts: Haystack | None = None
        self._found: tuple[int, str, Ranks, Ranks] | None = None

    def __len__(self) -> int:
        return len(self._body)

    def __contains__(self, key: str) -> bool:
        return key in self._body

    def raw(self, key: str) -> bytes | None:
        """Return the record as JSON, or null."""
        return self._body.get(key)

    def get(self, key: str) -> Record | None:
        """Return the record under this key, or null. It may be changed and passed to `put`."""
        body = self._body.get(key)
        return None if body is None else decode(body)

    def owner(self, index: str, value: str) -> str | None:
        """Return the key of the record that has this value in this unique index, or null."""
        return self._owner[index].get(value)

    def put(self, record: Record) -> bytes:
        """Insert a record, or replace the one with its key, which keeps its position. Return its JSON.

        Raises Taken, without a change, if another record has one of its unique values.
        """
        key = self._key(record)
        values = {index: list(of(record)) for index, of in self._unique.items()}
        for index, indexed in values.items():
            owners = self._owner[index]
            for value in indexed:
                owner = owners.get(value, key)
                if owner != key:
                    raise Taken(index, value, owner)
        body = encode(record)
        old = self._body.get(key)
        rank = self._store.next_rank() if old is None else self._rank[key]
        if old is None:
            self._link(key, rank, record, body, values)
        else:
            self._relink(key, rank, decode(old), record, body, values)
        self._store.write(self._line(rank, body))
        return body

    def delete(self, key: str) -> bool:
        """Delete a record; return whether it existed."""
        body = self._body.pop(key, None)
        if body is None:
            return False
        rank = self._rank.pop(key)
        del self._key_at[rank]
        self._unlink(key, rank, decode(body))
        self._store.write(b"D\t%b\t%d\t%b\n" % (self.name.encode(), rank, encode(key)))
        return True

    def clear(self) -> None:
        """Remove all records."""
        self._empty()
        self._store.write(b"C\t%b\t0\t\n" % self.name.encode())

    # Lists: a view is a sequence of ranks, to be sliced and handed to `bodies`.

    def view(self, within: str = "") -> Ranks:
        """Return the ranks of a list, rising. This is the list itself: slice it, but do not change or keep it."""
        return self._order.get(within, array("q"))

    def search(self, needle: str, view: Ranks) -> Ranks:
        """Return the ranks of the view whose `text` contains `needle` in any case; all, if it is empty."""
        needle = needle.lower()
        if not needle:
            return view
        if self._found and self._found[:2] == (self._store.version, needle) and self._found[2] is view:
            return self._found[3]
        if self._texts is None:
            self._texts = Haystack((key, self._text(decode(body))) for key, body in self._body.items())
        ranks = sorted(self._rank[key] for key in self._texts.find(needle))
        if view is not self._order[""]:
            ranks = [rank for rank in ranks if bisect_left(view, rank) < bisect_right(view, rank)]
        self._found = (self._store.version, needle, view, ranks)
        return ranks

    def bodies(self, ranks: Iterable[int]) -> list[bytes]:
        """Return the records with these ranks, as JSON."""
        return [self._body[self._key_at[rank]] for rank in ranks]

    def rank(self, key: str) -> int:
        """Return the rank of an existing record."""
        return self._rank[key]

    def keys(self, ranks: Iterable[int] | None = None) -> list[str]:
        """Return the keys of these ranks; by default of all records, in order."""
        return [self._key_at[rank] for rank in (self._order[""] if ranks is None else ranks)]

    def ranks(self, keys: Iterable[str]) -> list[int]:
        """Return the ranks of the existing ones of these keys, rising, without repeats."""
        return sorted({self._rank[key] for key in keys if key in self._rank})

    def move(self, chance: random.Random) -> None:
        """Move a random record to another position; the set of records does not change."""
        order = self._order[""]
        if len(order) < 3:
            return
        key = self._key_at[chance.choice(order)]
        place = chance.randrange(len(order) - 1)
        middle = (order[place] + order[place + 1]) // 2
        if middle in self._key_at:
            return  # no rank is left between these two: another call will choose another position
        body, rank = self._body[key], self._rank[key]
        record = decode(body)
        self._unlink(key, rank, record)
        del self._key_at[rank]
        self._link(key, middle, record, body, {index: list(of(record)) for index, of in self._unique.items()})
        self._store.write(self._line(middle, body))

    # The state file

    def lines(self) -> Iterator[bytes]:
        """Yield every record as a line of the state file."""
        for rank in self._order[""]:
            yield self._line(rank, self._body[self._key_at[rank]])

    def restore(self, rank: int, body: bytes) -> None:
        """Restore a record from a line of the state file."""
        record = decode(body)
        key = self._key(record)
        if key in self._body:
            was = self._rank[key]
            self._unlink(key, was, decode(self._body[key]))
            del self._key_at[was]
        self._link(key, rank, record, body, {index: list(of(record)) for index, of in self._unique.items()})

    def _line(self, rank: int, body: bytes) -> bytes:
        return b"P\t%b\t%d\t%b\n" % (self.name.encode(), rank, body)

    def _link(self, key: str, rank: int, record: Record, body: bytes, values: Mapping[str, list[str]]) -> None:
        self._body[key] = body
        self._rank[key] = rank
        self._key_at[rank] = key
        for index, indexed in values.items():
            for value in indexed:
                self._owner[index][value] = key
        for name in ("", *self._lists(record)):
            order = self._order.get(name)
            if order is None:
                order = self._order[name] = array("q")
            if not order or order[-1] < rank:
                order.append(rank)
            else:
                order.insert(bisect_left(order, rank), rank)
        if self._texts is not None:
            self._texts.put(key, self._text(record))

    def _relink(
        self, key: str, rank: int, old: Record, record: Record, body: bytes, values: Mapping[str, list[str]]
    ) -> None:
        if set(self._lists(old)) != set(self._lists(record)):
            self._unlink(key, rank, old)
            self._link(key, rank, record, body, values)
            return
        # Most changes do not affect the lists of a record, and lists are long.
        self._body[key] = body
        for index, of in self._unique.items():
            owners = self._owner[index]
            for value in of(old):
                if owners.get(value) == key:
                    del owners[value]
            for value in values[index]:
                owners[value] = key
        if self._texts is not None:
            self._texts.put(key, self._text(record))

    def _unlink(self, key: str, rank: int, record: Record) -> None:
        for index, of in self._unique.items():
            owners = self._owner[index]
            for value in of(record):
                if owners.get(value) == key:
                    del owners[value]
        for name in ("", *self._lists(record)):
            order = self._order[name]
            del order[bisect_left(order, rank)]
            if name and not order:
                del self._order[name]
        if self._texts is not None:
            self._texts.drop(key)


def numbered(view: Ranks, page: int, size: int, *, newest_first: bool = False) -> Ranks:
    """Return the ranks of one page, counted from 1; empty after the end."""
    start = (page - 1) * size
    if not newest_first:
        return view[start : start + size]
    end = len(view) - start
    return view[max(end - size, 0) : end][::-1] if end > 0 else view[:0]


def following(view: Ranks, rank: int | None, size: int) -> tuple[Ranks, bool]:
    """Return the page after a cursor (null: the first) and whether more follow. The last rank of a page is its cursor.

    A cursor is a position, not a record, so moved or deleted records do not affect it.
    """
    start = 0 if rank is None else bisect_right(view, rank)
    return view[start : start + size], start + size < len(view)
