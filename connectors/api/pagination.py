"""Download a paginated list to disk.

Numbered pages are requested concurrently, pages with a cursor one after the other; a single response with all records
is split. Pages are stored as received, each with a line in an index, so that an interrupted download continues there.
`full_scan.py` makes sure that every record is read once, even if the list changes meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors.api.http_client import HttpClient, HttpResponse
from tranship.connectors.api.page_store import Page, PageStore
from tranship.connectors.errors import Malformed, Unreachable
from tranship.connectors.json_text.scanner import Keys, RecordIds, Slice, cut, split_list, values
from tranship.schemas.counted import counted

PAGE_RECORDS: Final = 8_192
"""Records per page where a single response is split."""


_EMPTY_PAGES: Final = 3
"""Consecutive empty pages that each announce another."""


_PAGES_BEYOND: Final = 50
"""Pages beyond the stated total, before a list counts as endless."""


_NO_RECORDS: Final = 1_000
"""Empty pages within the stated total, before the total counts as wrong: a list may shrink while it is read."""


_CURSOR_LENGTH: Final = 4_000


_STALE_CURSOR: Final = (400, 404, 410, 422)
"""Statuses of a response to an expired cursor."""


# Definition of a list-----------------------------------------------------------------------------------------------


class Envelope(Struct, frozen=True):
    """The paths of values in a response: keys from the outside in. A bare list is accepted as well."""

    records: Keys
    total: Keys = ()
    """The number of records in the whole list."""
    next: Keys = ()
    """The next cursor or page; null at the end."""
    more: Keys = ()
    """Whether there is another page."""


class Numbered(Struct, frozen=True):
    """Pages numbered from 1, requested concurrently."""

    page: str
    """Name of the parameter with the number of the page."""
    size: str
    """Name of the parameter with the page size."""
    per_page: int
    in_flight: int = 8


class Cursor(Struct, frozen=True):
    """Each page contains the cursor of the next."""

    cursor: str
    """Name of the parameter with the cursor."""
    size: str
    per_page: int


class SinglePage(Struct, frozen=True):
    """A single response contains all records."""


class Listing(Struct, frozen=True):
    """A list of a provider, and how it is paginated."""

    name: str
    """Name in messages and of the folder on disk: `customers`, `archived customers`."""
    path: str
    paging: Numbered | Cursor | SinglePage
    envelope: Envelope
    params: Mapping[str, str] = field(default_factory=dict)
    id: str = "id"
    """The field that identifies a record."""
    created: str | None = None
    """The field with the creation time (ISO 8601) set by the provider. With it, a list that only grows while it is read
    need not be read again."""
    twice: bool = False
    """Read again even without a sign of change: for lists that would show none."""

    @property
    def identity(self) -> str:
        """The identity of the list in `read.json`. It must not change, or downloaded pages would be discarded."""
        paging = "Whole()" if isinstance(self.paging, SinglePage) else repr(self.paging)
        return (
            f"Listing(name={self.name!r}, path={self.path!r}, turn={paging}, envelope={self.envelope!r}, "
            f"params={self.params!r}, id={self.id!r}, created={self.created!r}, twice={self.twice!r})"
        )


# Contents of an answer------------------------------------------------------------------------------------------


class ParsedPage(Struct, frozen=True):
    """A page: its records as bytes, and what it states about the list; null where it states nothing."""

    records: bytes
    count: int
    total: int | None
    next: str | None
    more: bool | None
    date: str | None = None
    ids: RecordIds | None = None
    """Null if any record has no text as its id."""


def parse_page(body: bytes, listing: Listing) -> ParsedPage:
    """Parse a page. Raises Malformed."""
    envelope = listing.envelope
    found = split_list(body, envelope.records, _keys_beside(envelope), listing.id, listing.created)
    return replace(_read_envelope(envelope, found.records, found.count, found.beside), ids=found.ids)


def _keys_beside(envelope: Envelope) -> tuple[Keys, ...]:
    return envelope.total, envelope.next, envelope.more, envelope.next[:-1]


def _read_envelope(envelope: Envelope, records: bytes, count: int, beside: tuple[Any, ...]) -> ParsedPage:
    total, following, more, around = beside
    following = cursor_of(following) or None
    named = isinstance(around, dict) and envelope.next[-1] in around
    if envelope.next and more is None and (named or following is not None):
        more = following is not None
    return ParsedPage(records, count, _total(total), following, None if more is None else bool(more))


def _total(stated: Any) -> int | None:
    """Return the total that a response states. Raises Malformed."""
    if stated is None:
        return None
    text = str(stated)
    if isinstance(stated, bool) or not re.fullmatch(r"[0-9]{1,15}", text):
        raise Malformed("the response has a total that is not a number of records")
    return int(text)


def cursor_of(stated: Any) -> str:
    """Return the cursor of the next page, as text; empty at the end of a list. Raises Malformed."""
    if stated in (None, "", False):
        return ""
    if isinstance(stated, bool) or not isinstance(stated, str | int) or len(str(stated)) > _CURSOR_LENGTH:
        raise Malformed("the response has a cursor that is neither text nor a number, or is too long")
    return str(stated)


# One pass through a list -------------------------------------------------------------------------------------------


class ListDownload:
    """One download of a list into a page store. Runs on the client's event loop."""

    def __init__(self, client: HttpClient, listing: Listing, store: PageStore, on_page: Callable[[Page], None]) -> None:
        self._client = client
        self._listing = listing
        self._store = store
        self._on_page = on_page
        self._known: dict[int, Page] = {}
        self._largest_total = 0
        """The largest total stated so far."""
        self._contents: dict[tuple[int, int], int] = {}
        self._repeated = 0
        """Pages with the content of an earlier one."""
        self._most_pages = client.retry_policy.pages

    async def run(self) -> int:
        """Download all pages; return their number. Stored pages are reported first and not requested.

        Raises ConnectorError.
        """
        seconds = self._client.retry_policy.list
        try:
            async with asyncio.timeout(seconds):
                return await self._run()
        except TimeoutError as error:
            raise Unreachable(
                f"{self._client.service.place}: GET {self._listing.path}: the list was not complete within "
                f"{seconds:,g} s. Run the same command again: it continues with the next page."
            ) from error

    async def _run(self) -> int:
        if self._store.ended is not None:
            self._recall()
            return self._store.ended
        match self._listing.paging:
            case Numbered() as paging:
                self._recall()
                pages = await self._download_numbered(paging)
            case Cursor():
                pages = await self._download_by_cursor()
            case SinglePage():
                pages = await self._download_at_once()
        self._store.end(pages)
        return pages

    def _recall(self) -> None:
        for page in self._store.pages:
            self._register(page)

    def _register(self, page: Page) -> Page:
        if page.number > self._most_pages:
            raise self._malformed(f"there are more pages than the limit of {self._most_pages:,}")
        self._known[page.number] = page
        self._largest_total = max(self._largest_total, page.total or 0)
        if page.count:
            same = self._contents.setdefault((page.check, page.size), page.number)
            self._repeated += same != page.number
            # Insertions at the front may shift a list by whole pages; then a page is repeated, but not only one.
            moved = isinstance(self._listing.paging, Numbered) and (len(self._contents) > 1 or self._repeated < 2)
            if same != page.number and not moved:
                raise self._malformed(f"page {page.number} repeats page {same}: the list does not advance")
        self._on_page(page)
        return page

    # By number -------------------------------------------------------------------------------------------------

    async def _download_numbered(self, paging: Numbered) -> int:
        first = self._known.get(1) or await self._request_page(1, "1")
        if first.total is None and first.count > paging.per_page:
            return 1  # the page size was ignored and no paging is stated: this is everything
        # A provider may return smaller pages than requested.
        goes_on = first.total > first.count if first.total is not None else first.more
        size = first.count if goes_on and first.count else paging.per_page

        def last() -> int:
            return max(1, -(-self._largest_total // size))

        requested, empty = 1, 0

        async def work() -> None:
            nonlocal requested, empty
            while requested < last():
                if last() > self._most_pages:
                    most = counted(self._most_pages, "page")
                    raise self._malformed(f"{self._stated()}, which exceeds the limit of {most}")
                requested += 1
                number = requested
                page = self._known.get(number) or await self._request_page(number, str(number))
                empty += not page.count
                if empty > _NO_RECORDS:
                    raise self._malformed(f"{self._stated()}, but {empty:,} of its pages have none")

        await _side_by_side(work, paging.in_flight)
        number, empty = last(), 0
        while self._has_next(self._known[number], size):
            number += 1
            if number > last() + _PAGES_BEYOND and first.total is not None:
                raise self._malformed(f"page {number - 1} of {last()} still announces another: the list does not end")
            page = self._known.get(number) or await self._request_page(number, str(number))
            empty = empty + 1 if not page.count else 0
            if empty == _EMPTY_PAGES:
                raise self._malformed(f"page {number} is the third consecutive empty page that announces another")
        return number

    def _stated(self) -> str:
        return f"the list states {counted(self._largest_total, 'record')}"

    def _has_next(self, page: Page, size: int) -> bool:
        if page.more is not None:
            return page.more
        if page.total is not None:
            return page.count > 0 and page.number * size < page.total
        # No paging is stated: a page as full as the first may be followed by another.
        return page.count > 0 and (page.number == 1 or page.count >= self._known[1].count)

    # By cursor -------------------------------------------------------------------------------------------------

    async def _download_by_cursor(self) -> int:
        page = await self._resumed()
        seen = {self._known[n].asked for n in self._known}
        empty = 0
        while page is None or page.next is not None:
            cursor = page.next if page and page.next else ""
            if page and cursor in seen:
                raise self._malformed(f"page {page.number} repeats an earlier cursor: the list does not end")
            seen.add(cursor)
            page = await self._request_page(page.number + 1 if page else 1, cursor)
            empty = empty + 1 if not page.count else 0
            if empty == _EMPTY_PAGES and page.next is not None:
                raise self._malformed(f"page {page.number} is the third consecutive empty page that announces another")
        return page.number

    async def _resumed(self) -> Page | None:
        """Return the page to continue from. If its cursor has expired, the download starts again."""
        pages = self._store.pages
        if not pages:
            return None
        following = pages[-1].next
        if following is None:
            self._recall()
            return pages[-1]
        found = await self._fetch(len(pages) + 1, following, _STALE_CURSOR)
        if found is None:
            self._store.clear()
            return None
        self._recall()
        return self._put_away(len(pages) + 1, following, found)

    # In one response-----------------------------------------------------------------------------------------------

    async def _download_at_once(self) -> int:
        listing = self._listing
        self._store.clear()

        return await self._client.download(
            listing.path, self._store.data, self._split_file, params=list(listing.params.items())
        )

    def _split_file(self, file: Path) -> int:
        """Split a body on disk into pages; return their number. Raises Malformed."""
        listing = self._listing
        try:
            pieces = cut(file, listing.envelope.records, PAGE_RECORDS)
            beside = values(pieces.rest, _keys_beside(listing.envelope))
            stated = _read_envelope(listing.envelope, b"", pieces.count, beside)
        except Malformed as error:
            raise self._malformed("the response is cut off, or is not the expected list") from error
        if stated.total is not None and stated.total != pieces.count:
            raise self._malformed(f"the response has {counted(pieces.count, 'record')} but states {stated.total:,}")
        for number, piece in enumerate(pieces.slices or [Slice(0, 0, 0)], 1):
            page = Page(number, "", piece.offset, piece.size, piece.count, 0, stated.total)
            self._register(self._store.adopt(page))
        return max(1, len(pieces.slices))

    # Asking ----------------------------------------------------------------------------------------------------

    async def _request_page(self, number: int, asked: str) -> Page:
        found = await self._fetch(number, asked)
        if found is None:
            raise TypeError("only an expected status has no page")
        return self._put_away(number, asked, found)

    async def _fetch(self, number: int, asked: str, expected: Collection[int] = ()) -> ParsedPage | None:
        """Request a page; null for one of the statuses `expected`."""
        return await self._client.fetch(
            self._listing.path,
            lambda answer: None if answer.status in expected else self._read(answer),
            params=self._params(asked),
            expected=expected,
            label=f"{self._listing.path} (page {number})",
        )

    def _put_away(self, number: int, asked: str, found: ParsedPage) -> Page:
        date = found.date if number == 1 else None
        page = Page(number, asked, 0, 0, found.count, 0, found.total, found.next, found.more, date)
        return self._register(self._store.add(page, found.records, found.ids))

    def _params(self, asked: str) -> list[tuple[str, str]]:
        params = list(self._listing.params.items())
        match self._listing.paging:
            case Numbered(page=name, size=size, per_page=per_page):
                params += [(name, asked), (size, str(per_page))]
            case Cursor(cursor=name, size=size, per_page=per_page):
                params += [(name, asked)] * bool(asked) + [(size, str(per_page))]
        return params

    def _read(self, answer: HttpResponse) -> ParsedPage:
        try:
            return replace(parse_page(answer.body, self._listing), date=answer.headers.get("Date"))
        except Malformed as error:
            raise self._malformed(str(error)) from error

    def _malformed(self, what: str) -> Malformed:
        return malformed_list(self._client, self._listing, what)


def malformed_list(client: HttpClient, listing: Listing, what: str) -> Malformed:
    """Return the error for a list that breaks its own format."""
    return Malformed(
        f"{client.service.place}: GET {listing.path}: {what}. Nothing was loaded. Try again; if the error "
        "persists, check that the address is the provider's API."
    )


async def _side_by_side(work: Callable[[], Any], workers: int) -> None:
    """Run several workers. The first error ends all of them."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
