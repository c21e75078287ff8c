"""Consistent read of a list that changes: every record once, whatever happens to list, network or process.

A change during the read shows as a repeated record, a changed total, or a total that does not match the records read.
The list is then read again until every record that existed at the start has been read, or no more of them appear. The
first version read of a record counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct, field

from tranship.connectors import durable
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.http_dates import http_date
from tranship.connectors.api.page_store import Page, PageStore
from tranship.connectors.api.pagination import ListDownload, Listing, SinglePage, malformed_list
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.errors import Damaged, Malformed
from tranship.connectors.json_text.scanner import record_ids
from tranship.connectors.local_failures import unwritable
from tranship.schemas.counted import counted

GROUP_RECORDS: Final = 16_384
"""Minimum records per group: each group costs about 50 ms, whatever its size."""
MOST_PASSES: Final = 8
"""Maximum complete reads of a list that changes."""
_STALE_PAGES: Final = 50
"""Consecutive pages without new records before a list without a total counts as endless."""

Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


class _IdSet:
    """A set of ids as 128-bit hashes: sorted runs of doubling size, so that memory is 16 bytes per id."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Hashes]] = []
        self.count = 0

    def add(self, ids: pl.Series) -> Flags:
        """Add ids; return which of them are new, also among these."""
        high, low = self._hashes(ids)
        order = np.lexsort((low, high))
        high, low = high[order], low[order]
        fresh = ~self._contains(high, low)
        fresh[1:] &= (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        self._keep(high[fresh], low[fresh])
        found = np.empty(len(fresh), np.bool_)
        # lexsort is stable: of equal ids the first one is the fresh one.
        found[order] = fresh
        return found

    def contains(self, ids: pl.Series) -> Flags:
        """Return which of the ids are in the set."""
        return self._contains(*self._hashes(ids))

    @staticmethod
    def _hashes(ids: pl.Series) -> tuple[Hashes, Hashes]:
        return ids.hash(1).to_numpy(), ids.hash(2).to_numpy()

    def _contains(self, high: Hashes, low: Hashes) -> Flags:
        found = np.zeros(len(high), np.bool_)
        for known_high, known_low in self._runs:
            places = np.minimum(np.searchsorted(known_high, high), len(known_high) - 1)
            found |= (known_high[places] == high) & (known_low[places] == low)
        return found

    def _keep(self, high: Hashes, low: Hashes) -> None:
        if not len(high):
            return
        self.count += len(high)
        self._runs.append((high, low))
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            last = self._runs.pop()
            before = self._runs.pop()
            high, low = np.concatenate((before[0], last[0])), np.concatenate((before[1], last[1]))
            order = np.argsort(high, kind="stable")
            self._runs.append((high[order], low[order]))


class PageGroup(Struct, frozen=True):
    """Consecutive pages of a list, decoded together as one part of the source."""

    store: PageStore
    pages: tuple[Page, ...]
    first: int
    """Number of the first record within the read, from 1."""
    dropped: tuple[int, ...]
    """Places in the group, from 0, of records that were read before."""
    position: int
    """Records read so far, including this group."""

    def lists(self) -> list[bytes]:
        """Each page as a JSON list of records."""
        return [b"[%b]" % self.store.read(page) for page in self.pages]

    def digest(self) -> str:
        """Return the SHA-256 of the group."""
        found = hashlib.sha256(repr((self.first, self.dropped)).encode())
        for page in self.pages:
            found.update(b"%d," % page.count)
            found.update(self.store.read(page))
        return found.hexdigest()


class _ListProgress(Struct):
    """State of one list over all passes, and of the current pass."""

    seen: _IdSet = field(default_factory=_IdSet)
    totals: list[int] = field(default_factory=list)
    """In order of arrival."""
    passes: int = 0
    inside: _IdSet = field(default_factory=_IdSet)
    doubled: int = 0
    """Records repeated within the pass."""
    late: int = 0
    """New records of the pass that were created before the read began."""
    young: int = 0
    """Records created after the read began."""
    began: datetime | None = None
    """Time of the first page by the provider's clock."""
    without_id: Counter[bytes] = field(default_factory=Counter)

    def begin_pass(self) -> None:
        """Reset what belongs to one pass."""
        self.passes += 1
        self.inside = self.seen if self.passes == 1 else _IdSet()
        self.doubled, self.late, self.without_id = 0, 0, Counter()

    def enter(self, ids: pl.Series) -> Flags:
        """Add the ids of a group; return which are new."""
        fresh = self.seen.add(ids)
        first = fresh if self.inside is self.seen else self.inside.add(ids)
        self.doubled += int((~first).sum())
        return fresh.copy()

    def fits(self, listing: Listing) -> bool:
        """Return whether every record that existed at the start has been read, judged by the first total."""
        is_stated = bool(self.totals) and (listing.created is not None or not self.moves())
        return is_stated and self.seen.count - self.young == self.totals[0]

    def moves(self) -> bool:
        """Return whether customers were created or deleted, so that the total and the records are from different
        moments."""
        return self.young > 0 or min(self.totals) != max(self.totals)


_Arrivals = SimpleQueue[Page | Future[int]]


class FullScan:
    """Reads all records of some lists, each once. Pages are stored in `keep`, a folder for this read alone.

    `identity` identifies the lists: pages of another identity are discarded.
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
        self._began = self._begin([identity, [listing.identity for listing in listings]])
        self._stores: list[PageStore] = []
        self._going: list[Future[int]] = []
        self._progress = [_ListProgress() for _ in listings]
        self._next_place = 1
        self._position = 0
        self.total: int | None = None
        """Records of all lists, if the provider states it."""
        self.notes: list[str] = []

    def groups(self) -> Iterator[PageGroup]:
        """All pages, in the order of the lists. Raises the ConnectorErrors of `http_client.py`, and Malformed for a
        list that does not end or does not fit.
        """
        try:
            # The lists of a provider are read concurrently and handed on one after the other.
            first = [self._start(listing, 1) for listing in self._listings]
            for listing, progress, (store, arrivals) in zip(self._listings, self._progress, first, strict=True):
                yield from self._collect_pass(listing, progress, store, arrivals)
                yield from self._read_until_settled(listing, progress, store)
        except Malformed:
            # The response is not a list: do not continue from these pages.
            self._mark.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Stop downloading and close the pages, which stay on disk."""
        for future in self._going:
            future.cancel()
        self._background.submit(asyncio.sleep(0)).result()
        for store in self._stores:
            store.close()

    def _begin(self, identity: Any) -> datetime:
        """Return when the read in this folder began; pages of another read are deleted, and this one begins now."""
        printed = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        try:
            saved = durable.read_json(self._mark)
            if saved["identity"] == printed:
                return datetime.fromisoformat(saved["began"])
        except (Damaged, OSError, ValueError, KeyError, TypeError):
            pass  # none, or damaged
        began = datetime.now(UTC)
        try:
            for path in (*self._folders, self._mark):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self._mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            durable.write_json(self._mark, {"identity": printed, "began": began.isoformat()})
        except OSError as error:
            raise unwritable(error, self._mark) from error
        return began

    def _start(self, listing: Listing, nth: int) -> tuple[PageStore, _Arrivals]:
        store = PageStore(self._folders[self._listings.index(listing)] / str(nth))
        self._stores.append(store)
        arrivals: _Arrivals = SimpleQueue()
        future = self._background.submit(ListDownload(self._client, listing, store, arrivals.put).run())
        self._going.append(future)
        future.add_done_callback(arrivals.put)
        return store, arrivals

    def _collect_pass(
        self, listing: Listing, progress: _ListProgress, store: PageStore, arrivals: _Arrivals
    ) -> Iterator[PageGroup]:
        """Yield the pages of one pass in their order, in groups."""
        waiting: dict[int, Page] = {}
        ready: list[Page] = []
        held = stale = 0
        number, end = 1, None
        progress.begin_pass()
        while end is None or number <= end:
            arrived = arrivals.get()
            if isinstance(arrived, Future):
                end = arrived.result()
                continue
            waiting[arrived.number] = arrived
            if arrived.date and progress.began is None:
                progress.began = http_date(arrived.date)
            if arrived.total is not None:
                progress.totals.append(arrived.total)
                self._sum_totals()
            while number in waiting:
                page = waiting.pop(number)
                number += 1
                ready.append(page)
                held += page.count
                if held >= GROUP_RECORDS:
                    group = self._group(listing, progress, store, ready)
                    yield from group
                    stale = 0 if group else stale + len(ready)
                    ready, held = [], 0
                    if progress.passes == 1 and not progress.totals and stale > _STALE_PAGES:
                        raise malformed_list(
                            self._client,
                            listing,
                            f"{counted(stale, 'consecutive page')} without new records: the list does not end",
                        )
        yield from self._group(listing, progress, store, ready)

    def _group(
        self, listing: Listing, progress: _ListProgress, store: PageStore, pages: Sequence[Page]
    ) -> list[PageGroup]:
        """Return these pages as a group; none if they have no new records."""
        pages = [page for page in pages if page.count]
        if not pages:
            return []
        read = [
            store.take_ids(page)
            or record_ids(store.read(page), page.count, listing.id, listing.created, progress.without_id)
            for page in pages
        ]
        ids = pl.concat([found.ids for found in read])
        if isinstance(listing.paging, SinglePage):
            # Nothing moves within one response: a repeated record is handed on twice, and resolved by identity.
            fresh = np.ones(len(ids), np.bool_)
            progress.seen.add(ids)
        else:
            fresh = progress.enter(ids)
            # Without times, no record counts as newer.
            times = [found.created for found in read if found.created is not None]
            young = _count_younger(pl.concat(times).filter(fresh), progress.began or self._began) if times else 0
            progress.young += young
            progress.late += int(fresh.sum()) - young
        for other in self._progress:
            if other is not progress:
                fresh &= ~other.seen.contains(ids)
        first, self._next_place = self._next_place, self._next_place + len(ids)
        if not fresh.any():
            return []
        self._position += int(fresh.sum())
        return [PageGroup(store, tuple(pages), first, tuple(np.flatnonzero(~fresh).tolist()), self._position)]

    def _sum_totals(self) -> None:
        if all(progress.totals for progress in self._progress):
            self.total = sum(progress.totals[-1] for progress in self._progress)

    # A list that changes ---------------------------------------------------------------------------------------

    def _read_until_settled(self, listing: Listing, progress: _ListProgress, store: PageStore) -> Iterator[PageGroup]:
        """Read a changing list again until it is complete; yield new records as further groups."""
        if isinstance(listing.paging, SinglePage) or progress.fits(listing):
            return
        if not progress.totals and not progress.doubled and not listing.twice:
            return
        before, pages = progress.seen.count, len(store.pages)
        quiet = 0
        while not progress.fits(listing):
            if progress.passes == MOST_PASSES:
                raise self._unsettled(listing, progress)
            again, arrivals = self._start(listing, progress.passes + 1)
            yield from self._collect_pass(listing, progress, again, arrivals)
            pages += len(again.pages)
            quiet = 0 if progress.late else quiet + 1
            if quiet == 1 and not progress.totals and not progress.doubled:
                break
            if quiet == 2:
                if progress.totals and not progress.moves() and progress.seen.count < progress.totals[-1]:
                    raise self._unsettled(listing, progress)
                break
        if progress.seen.count > before or not listing.twice:
            self.notes.append(
                f"the list of {listing.name} changed while it was read: read {counted(pages, 'page')} instead of "
                f"{len(store.pages):,} and found {counted(progress.seen.count - before, 'more record')}"
            )

    def _unsettled(self, listing: Listing, progress: _ListProgress) -> Malformed:
        stated = f"states {progress.totals[-1]:,}" if progress.totals else "states no total"
        return malformed_list(
            self._client,
            listing,
            f"the list was read {progress.passes} times and keeps changing: it returned {progress.seen.count:,} "
            f"different records and {stated}",
        )


def _count_younger(times: pl.Series, than: datetime) -> int:
    """Count the times (ISO 8601, as text) that are not before that moment; anything else counts as before."""
    # Most are decided by the date alone: no time zone differs by a whole day.
    day = (than - timedelta(days=1)).date().isoformat()
    return sum(_is_after(time, than) for time in times.filter(times >= day))


def _is_after(time: str, moment: datetime) -> bool:
    try:
        created = datetime.fromisoformat(time)
    except ValueError:
        return False
    return (created if created.tzinfo else created.replace(tzinfo=UTC)) >= moment
