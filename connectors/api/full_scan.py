"""A whole list at a provider, every record once, whatever happens to the list, the network or this process.

A list whose records move while it is read shows it: a record comes twice, the total changes, or it does not fit what
came. Then it is read again until all that was there when the read began has come, or until nothing more of that comes.
The first reading of a record counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tranship.connectors import durable
from tranship.connectors.api.background_loop import BackgroundLoop
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.json_scanner import names
from tranship.connectors.api.page_store import Page, PageStore
from tranship.connectors.api.pagination import ListDownload, Listing, SinglePage, broken
from tranship.connectors.errors import ConfigError, Damaged, Malformed

GROUP_RECORDS: Final = 16_384
"""Records that are handed on together, at least: each group costs some 50 ms by itself, whatever its size."""
MOST_PASSES: Final = 8
"""Times a list that moves is read as a whole."""
_STALE_PAGES: Final = 50
"""Pages in a row that hold nothing new, before a list without a total is said not to end."""

Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


class _IdSet:
    """The ids that have come, as 128-bit hashes: sorted runs of doubling size, so that memory is 16 bytes an id."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Hashes]] = []
        self.count = 0

    def add(self, ids: pl.Series) -> Flags:
        """Which of the ids come for the first time, here and among these."""
        one, two = self._hashes(ids)
        order = np.lexsort((two, one))
        one, two = one[order], two[order]
        fresh = ~self._held(one, two)
        fresh[1:] &= (one[1:] != one[:-1]) | (two[1:] != two[:-1])
        self._keep(one[fresh], two[fresh])
        found = np.empty(len(fresh), np.bool_)
        # lexsort is stable: of equal ids the first one is the fresh one.
        found[order] = fresh
        return found

    def holds(self, ids: pl.Series) -> Flags:
        """Which of the ids have come."""
        return self._held(*self._hashes(ids))

    @staticmethod
    def _hashes(ids: pl.Series) -> tuple[Hashes, Hashes]:
        return ids.hash(1).to_numpy(), ids.hash(2).to_numpy()

    def _held(self, one: Hashes, two: Hashes) -> Flags:
        held = np.zeros(len(one), np.bool_)
        for known_one, known_two in self._runs:
            at = np.minimum(np.searchsorted(known_one, one), len(known_one) - 1)
            held |= (known_one[at] == one) & (known_two[at] == two)
        return held

    def _keep(self, one: Hashes, two: Hashes) -> None:
        if not len(one):
            return
        self.count += len(one)
        self._runs.append((one, two))
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            last = self._runs.pop()
            before = self._runs.pop()
            one, two = np.concatenate((before[0], last[0])), np.concatenate((before[1], last[1]))
            order = np.argsort(one, kind="stable")
            self._runs.append((one[order], two[order]))


@dataclass(frozen=True)
class Group:
    """Some pages of a list, side by side: what one part of a source is made from."""

    shelf: PageStore
    pages: tuple[Page, ...]
    first: int
    """Where the first record stands in the read, from 1."""
    dropped: tuple[int, ...]
    """Places in the group, from 0, of records that have come before."""
    position: int
    """Records that have come so far, this group's among them."""

    def lists(self) -> list[bytes]:
        """Each page as a JSON list of records."""
        return [b"[%b]" % self.shelf.read(page) for page in self.pages]

    def digest(self) -> str:
        """Of all that a group is, as SHA-256."""
        found = hashlib.sha256(repr((self.first, self.dropped)).encode())
        for page in self.pages:
            found.update(b"%d," % page.count)
            found.update(self.shelf.read(page))
        return found.hexdigest()


@dataclass
class _ListProgress:
    """What is known of one list, over all passes, and of the pass that goes on."""

    seen: _IdSet = field(default_factory=_IdSet)
    totals: list[int] = field(default_factory=list)
    """As they came."""
    passes: int = 0
    inside: _IdSet = field(default_factory=_IdSet)
    doubled: int = 0
    """Records of the pass that had come in the same pass."""
    late: int = 0
    """New records of the pass that are older than the read."""
    young: int = 0
    """Records that were made after the read began."""
    began: datetime | None = None
    """When the first page was given, by the provider's clock."""
    nameless: Counter[bytes] = field(default_factory=Counter)

    def begin_pass(self) -> None:
        """Forget what was of the last pass."""
        self.passes += 1
        self.inside = self.seen if self.passes == 1 else _IdSet()
        self.doubled, self.late, self.nameless = 0, 0, Counter()

    def enter(self, ids: pl.Series) -> Flags:
        """Which ids are new."""
        fresh = self.seen.add(ids)
        first = fresh if self.inside is self.seen else self.inside.add(ids)
        self.doubled += int((~first).sum())
        return fresh.copy()

    def fits(self, listing: Listing) -> bool:
        """All that was there when the read began has come: as many records as the first total said are that old."""
        told = bool(self.totals) and (listing.created is not None or not self.moves())
        return told and self.seen.count - self.young == self.totals[0]

    def moves(self) -> bool:
        """Customers come and go: the total stands for another moment than what was seen."""
        return self.young > 0 or min(self.totals) != max(self.totals)


_Arrivals = SimpleQueue[Page | Future[int]]


class FullScan:
    """All records of some lists, each once. Pages lie in `keep`, a folder of this read alone.

    `identity` is what identifies the lists: pages of another identity are not gone on with.
    """

    def __init__(
        self,
        background: BackgroundLoop,
        client: HttpClient,
        listings: Sequence[Listing],
        keep: Path,
        identity: Mapping[str, Any],
    ) -> None:
        self._background = background
        self._client = client
        self._listings = listings
        self._folders = [keep / listing.name.replace(" ", "-") for listing in listings]
        self._mark = keep / "read.json"
        self._began = self._begin([identity, [repr(listing) for listing in listings]])
        self._shelves: list[PageStore] = []
        self._going: list[Future[int]] = []
        self._books = [_ListProgress() for _ in listings]
        self._place = 1
        self._position = 0
        self.total: int | None = None
        """Records of all lists, as far as the provider has said."""
        self.notes: list[str] = []

    def groups(self) -> Iterator[Group]:
        """All pages, in the order of the lists. Raises the ConnectorErrors of `http_client.py`, and Malformed for a
        list that does not end or does not fit.
        """
        try:
            # The lists of a provider are read side by side and handed on one after the other.
            first = [self._start(listing, 1) for listing in self._listings]
            for listing, book, (shelf, arrivals) in zip(self._listings, self._books, first, strict=True):
                yield from self._collect(listing, book, shelf, arrivals)
                yield from self._settle(listing, book, shelf)
        except Malformed:
            # What came is no list: nobody goes on from there.
            self._mark.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Stop asking, and close the pages; they stay on disk."""
        for future in self._going:
            future.cancel()
        self._background.submit(asyncio.sleep(0)).result()
        for shelf in self._shelves:
            shelf.close()

    def _begin(self, identity: Any) -> datetime:
        """When the read in this folder began; where it was another one, its pages go and it begins now."""
        printed = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        try:
            told = durable.read_json(self._mark)
            if told["identity"] == printed:
                return datetime.fromisoformat(told["began"])
        except (Damaged, OSError, ValueError, KeyError, TypeError):
            pass  # none, or damaged
        now = datetime.now(UTC)
        try:
            for path in (*self._folders, self._mark):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self._mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            durable.write_json(self._mark, {"identity": printed, "began": now.isoformat()})
        except OSError as error:
            raise ConfigError(f"{self._mark}: cannot be written ({error.strerror}). Make room there.") from error
        return now

    def _start(self, listing: Listing, nth: int) -> tuple[PageStore, _Arrivals]:
        shelf = PageStore(self._folders[self._listings.index(listing)] / str(nth))
        self._shelves.append(shelf)
        arrivals: _Arrivals = SimpleQueue()
        future = self._background.submit(ListDownload(self._client, listing, shelf, arrivals.put).whole())
        self._going.append(future)
        future.add_done_callback(arrivals.put)
        return shelf, arrivals

    def _collect(self, listing: Listing, book: _ListProgress, shelf: PageStore, arrivals: _Arrivals) -> Iterator[Group]:
        """The pages of one pass as they come, in their order, in groups."""
        waiting: dict[int, Page] = {}
        ready: list[Page] = []
        held = stale = 0
        number, end = 1, None
        book.begin_pass()
        while end is None or number <= end:
            arrived = arrivals.get()
            if isinstance(arrived, Future):
                end = arrived.result()
                continue
            waiting[arrived.number] = arrived
            if arrived.date and book.began is None:
                book.began = _moment(arrived.date)
            if arrived.total is not None:
                book.totals.append(arrived.total)
                self._add_up()
            while number in waiting:
                page = waiting.pop(number)
                number += 1
                ready.append(page)
                held += page.count
                if held >= GROUP_RECORDS:
                    group = self._group(listing, book, shelf, ready)
                    yield from group
                    stale = 0 if group else stale + len(ready)
                    ready, held = [], 0
                    if book.passes == 1 and not book.totals and stale > _STALE_PAGES:
                        raise broken(self._client, listing, f"{stale} pages in a row hold nothing new: it does not end")
        yield from self._group(listing, book, shelf, ready)

    def _group(self, listing: Listing, book: _ListProgress, shelf: PageStore, pages: Sequence[Page]) -> list[Group]:
        """These pages as a group, none if they hold nothing new."""
        pages = [page for page in pages if page.count]
        if not pages:
            return []
        read = [names(shelf.read(page), page.count, listing.id, listing.created, book.nameless) for page in pages]
        ids = pl.concat([found for found, _ in read])
        if isinstance(listing.turn, SinglePage):
            # Nothing moves within one answer: what stands there twice is given twice, and told apart by identity.
            fresh = np.ones(len(ids), np.bool_)
            book.seen.add(ids)
        else:
            fresh = book.enter(ids)
            # Without times: none is younger.
            times = [time for _, told in read for time in told]
            young = _younger([times[at] for at in np.flatnonzero(fresh)] if times else [], book.began or self._began)
            book.young += young
            book.late += int(fresh.sum()) - young
        for other in self._books:
            if other is not book:
                fresh &= ~other.seen.holds(ids)
        first, self._place = self._place, self._place + len(ids)
        if not fresh.any():
            return []
        self._position += int(fresh.sum())
        return [Group(shelf, tuple(pages), first, tuple(np.flatnonzero(~fresh).tolist()), self._position)]

    def _add_up(self) -> None:
        if all(book.totals for book in self._books):
            self.total = sum(book.totals[-1] for book in self._books)

    # A list that moves -----------------------------------------------------------------------------------------

    def _settle(self, listing: Listing, book: _ListProgress, shelf: PageStore) -> Iterator[Group]:
        """Read again what moved until it fits; what is new comes as further groups."""
        if isinstance(listing.turn, SinglePage) or book.fits(listing):
            return
        if not book.totals and not book.doubled and not listing.twice:
            return
        before, pages = book.seen.count, len(shelf.pages)
        quiet = 0
        while not book.fits(listing):
            if book.passes == MOST_PASSES:
                raise self._unsettled(listing, book)
            again, arrivals = self._start(listing, book.passes + 1)
            yield from self._collect(listing, book, again, arrivals)
            pages += len(again.pages)
            quiet = 0 if book.late else quiet + 1
            if quiet == 1 and not book.totals and not book.doubled:
                break
            if quiet == 2:
                if book.totals and not book.moves() and book.seen.count < book.totals[-1]:
                    raise self._unsettled(listing, book)
                break
        if book.seen.count > before or not listing.twice:
            self.notes.append(
                f"the list of {listing.name} moved while it was read: {pages:,} pages were read instead of "
                f"{len(shelf.pages):,}, which brought {book.seen.count - before:,} more records"
            )

    def _unsettled(self, listing: Listing, book: _ListProgress) -> Malformed:
        said = f"says that it holds {book.totals[-1]:,}" if book.totals else "says no total"
        return broken(
            self._client,
            listing,
            f"the list was read {book.passes} times and does not come to rest: {book.seen.count:,} different records "
            f"came, and it {said}",
        )


def _younger(times: Sequence[Any], than: datetime) -> int:
    """How many of these times (ISO 8601) are not before that moment; what is no time counts as before."""
    # Most are told by their first letters: a day is more than any time zone is off.
    day = (than - timedelta(days=1)).date().isoformat()
    return sum(isinstance(time, str) and time >= day and _is_after(time, than) for time in times)


def _is_after(time: str, moment: datetime) -> bool:
    try:
        made = datetime.fromisoformat(time)
    except ValueError:
        return False
    return (made if made.tzinfo else made.replace(tzinfo=UTC)) >= moment


def _moment(date: str) -> datetime | None:
    """What a `Date` header says."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except ValueError:
        return None
