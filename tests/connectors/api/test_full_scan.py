"""Whole lists, in pages and in one response, from servers whose lists are stable, change, are wrong or end in the
middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.served import Served, as_json, served
from tranship.connectors.api import full_scan, pagination
from tranship.connectors.api.full_scan import FullScan
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.pagination import Cursor, Envelope, Listing, Numbered, SinglePage
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.errors import ConfigError, Malformed, Refused, Unreachable

QUICK = RetryPolicy(tries=6, first_pause=0.002, longest_pause=0.02, silence=2, pages=1_000)
SIZE = 3
KEY = "sk_very-secret"

BY_TOTAL = Listing(
    "things", "/total", Numbered("page", "size", SIZE), Envelope(("data",), total=("meta", "total")), created="at"
)
BY_MORE = Listing(
    "things",
    "/more",
    Numbered("page", "size", SIZE),
    Envelope(("data",), total=("total",), more=("more",)),
    created="at",
)
BY_NEXT = Listing(
    "things",
    "/next",
    Numbered("page", "size", SIZE),
    Envelope(("data",), ("meta", "total"), next=("meta", "next")),
    created="at",
)
BARE = Listing("things", "/bare", Numbered("page", "size", SIZE), Envelope(("data",)))
BY_CURSOR = Listing("things", "/cursor", Cursor("next", "size", SIZE), Envelope(("data",), next=("next",)))
AT_ONCE = Listing("things", "/whole", SinglePage(), Envelope(("result", "list"), total=("result", "count")))
LISTINGS = {"total": BY_TOTAL, "more": BY_MORE, "next": BY_NEXT, "bare": BARE, "cursor": BY_CURSOR, "whole": AT_ONCE}


def thing(n: int, at: str = "2020-01-01T00:00:00Z") -> dict[str, Any]:
    return {"id": f"t{n}", "at": at, "note": ["[", "]", ",", '"', "\\"][n % 5]}


@dataclass
class Account:
    """The records of a provider, and the changes before each call."""

    things: list[dict[str, Any]]
    before: Callable[[Account, web.Request], Any] = lambda account, request: None
    made: int = 1_000_000

    def add(self, at: int) -> None:
        self.made += 1
        now = datetime.now(UTC) + timedelta(seconds=1)
        self.things.insert(at, thing(self.made, now.isoformat()))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        given = self.before(self, request)
        if given is not None:
            return given
        name = request.path.strip("/")
        size = int(request.query.get("size", SIZE))
        if name == "whole":
            return as_json({"result": {"count": len(self.things), "list": self.things}})
        if name == "cursor":
            after = int(request.query.get("next", "0"))
            there = self.things[after : after + size]
            following = str(after + size) if after + size < len(self.things) else None
            return as_json({"data": there, "next": following})
        page = int(request.query["page"])
        there = self.things[(page - 1) * size : page * size]
        total, more = len(self.things), page * size < len(self.things)
        return as_json(
            {
                "total": {"data": there, "meta": {"total": total}},
                "more": {"data": there, "total": total, "more": more},
                "next": {"data": there, "meta": {"total": total, "next": page + 1 if more else None}},
                "bare": there,
            }[name]
        )


@dataclass
class ParsedPage:
    ids: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int | None = None


@contextmanager
def reading(
    url: str, listings: list[Listing], keep: Path, identity: str = "me", policy: RetryPolicy = QUICK
) -> Iterator[tuple[FullScan, HttpClient]]:
    service = Service("Acme", url, "ACME_KEY", KEY, {"x-api-key": KEY})
    background = BackgroundLoop()
    client = HttpClient(service, policy)
    background.submit(client.__aenter__()).result()
    read = FullScan(background, client, listings, keep, {"identity": identity})
    try:
        yield read, client
    finally:
        read.close()
        background.submit(client.__aexit__()).result()
        background.close()


def read(url: str, listings: Listing | list[Listing], keep: Path, stop: int | None = None, **given: Any) -> ParsedPage:
    """Return all groups, or the first few."""
    found = ParsedPage()
    with reading(url, listings if isinstance(listings, list) else [listings], keep, **given) as (going, _):
        for number, group in enumerate(going.groups(), 1):
            records = [record for page in group.lists() for record in json.loads(page)]
            kept = [record["id"] for at, record in enumerate(records) if at not in group.dropped]
            found.ids += kept
            assert group.position == len(found.ids)
            found.digests.append(group.digest())
            if number == stop:
                return found
        found.notes, found.total = going.notes, going.total
    return found


@contextmanager
def account(things: int | list[dict[str, Any]], before: Any = None) -> Iterator[tuple[Account, Served]]:
    held = Account([thing(n) for n in range(things)] if isinstance(things, int) else things)
    if before:
        held.before = before
    with served(held.answer) as server:
        yield held, server


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_scan, "GROUP_RECORDS", 10)
    monkeypatch.setattr(pagination, "PAGE_RECORDS", 3)


# Stable lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LISTINGS)
def test_every_record_once_and_in_order(kind: str, tmp_path: Path) -> None:
    with account(0) as (held, server):
        for size in (0, 1, 3, 4, 6, 60, 61):
            held.things = [thing(n) for n in range(size)]
            server.calls.clear()
            found = read(server.url, LISTINGS[kind], tmp_path / str(size))
            assert found.ids == [f"t{n}" for n in range(size)]
            assert found.notes == []
            needed = max(1, -(-size // SIZE))
            # If the end is not stated, one further page shows it.
            assert len(server.calls) in (
                (1,) if kind == "whole" else (needed, needed + 1) if kind == "bare" else (needed,)
            )
            assert found.total == (None if kind in ("bare", "cursor") else size)


@pytest.mark.parametrize("kind", LISTINGS)
def test_read_again_it_is_the_same(kind: str, tmp_path: Path) -> None:
    with account(50) as (_, server):
        assert read(server.url, LISTINGS[kind], tmp_path / "a") == read(server.url, LISTINGS[kind], tmp_path / "b")


def test_pages_are_asked_for_side_by_side(tmp_path: Path) -> None:
    going = most = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await asyncio.sleep(0.02)
        going -= 1
        return await held.answer(request)

    held = Account([thing(n) for n in range(100)])
    with served(slow) as server:
        assert len(read(server.url, BY_TOTAL, tmp_path).ids) == 100
    assert most == 8


def test_a_page_size_that_is_cut_by_the_provider(tmp_path: Path) -> None:
    asked = Listing("things", "/total", Numbered("page", "size", 100), BY_TOTAL.envelope)
    held = Account([thing(n) for n in range(20)])

    async def at_most_seven(request: web.Request) -> web.StreamResponse:
        return await held.answer(request.clone(rel_url=request.rel_url.update_query(size="7")))

    for kind in ("total", "more", "next", "bare"):
        with served(at_most_seven) as server:
            listing = Listing("things", f"/{kind}", asked.paging, LISTINGS[kind].envelope)
            assert read(server.url, listing, tmp_path / kind).ids == [f"t{n}" for n in range(20)]


def test_where_what_speaks_of_pages_is_empty_a_full_page_is_not_the_last(tmp_path: Path) -> None:
    held = Account([thing(n) for n in range(20)])

    async def bare_meta(request: web.Request) -> web.StreamResponse:
        page = int(request.query["page"])
        return as_json({"data": held.things[(page - 1) * SIZE : page * SIZE], "meta": {}})

    with served(bare_meta) as server:
        assert read(server.url, BY_NEXT, tmp_path).ids == [f"t{n}" for n in range(20)]


def test_a_page_size_that_is_not_heeded_at_all(tmp_path: Path) -> None:
    held = Account([thing(n) for n in range(20)])

    async def everything(_: web.Request) -> web.StreamResponse:
        return as_json(held.things)

    with served(everything) as server:
        assert read(server.url, BARE, tmp_path).ids == [f"t{n}" for n in range(20)]
        assert len(server.calls) == 1


def test_several_lists_go_side_by_side_and_hold_each_record_once(tmp_path: Path) -> None:
    archived = Listing("archived things", "/cursor", BY_CURSOR.paging, BY_CURSOR.envelope, {"archived": "true"})
    held = {"true": Account([thing(n) for n in range(25, 60)]), None: Account([thing(n) for n in range(30)])}

    begun = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("archived"):
            begun.set()
        elif request.query.get("next"):
            # The next page of one list comes once the other one is asked for, or after so long that it never is.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(begun.wait(), 10)
        return await held[request.query.get("archived")].answer(request)

    with served(answer) as server:
        assert read(server.url, [BY_CURSOR, archived], tmp_path).ids == [f"t{n}" for n in range(60)]
        of_archived = ["archived=true" in call for call in server.calls]
    last_of_the_others = len(of_archived) - 1 - of_archived[::-1].index(False)
    assert True in of_archived[:last_of_the_others], "one list is read while the other one is"


def test_records_without_an_id_are_all_given(tmp_path: Path) -> None:
    things = [thing(1), {"x": 1}, {"x": 1}, {"id": 7}, {"id": None}, thing(2), thing(3)]
    with account(things) as (_, server), reading(server.url, [BY_TOTAL], tmp_path) as (going, _):
        groups = list(going.groups())
        assert sum(len(json.loads(page)) for group in groups for page in group.lists()) == 7
        assert [group.dropped for group in groups] == [()]


# Lists that change -------------------------------------------------------------------------------------------------


def jump(seed: int, share: float) -> Callable[[Account, web.Request], None]:
    """Move a record to another position before a share of the calls."""
    chance = random.Random(seed)

    def before(held: Account, _: web.Request) -> None:
        if chance.random() < share:
            held.things.insert(chance.randrange(len(held.things)), held.things.pop(chance.randrange(len(held.things))))

    return before


@pytest.mark.parametrize("kind", ["total", "more", "next"])
@pytest.mark.parametrize("seed", range(4))
def test_records_that_jump_come_once_each(kind: str, seed: int, tmp_path: Path) -> None:
    with account(120, jump(seed, 0.3)) as (_, server):
        found = read(server.url, LISTINGS[kind], tmp_path)
        assert sorted(found.ids) == sorted(f"t{n}" for n in range(120))
        assert "changed while it was read" in found.notes[0]


@pytest.mark.parametrize("kind", ["cursor", "bare"])
@pytest.mark.parametrize("seed", range(3))
def test_records_that_jump_where_no_total_is_stated(kind: str, seed: int, tmp_path: Path) -> None:
    listing = LISTINGS[kind]
    twice = Listing("things", listing.path, listing.paging, listing.envelope, twice=True)
    with account(120, jump(seed, 0.1)) as (_, server):
        assert sorted(read(server.url, twice, tmp_path).ids) == sorted(f"t{n}" for n in range(120))


@pytest.mark.parametrize("kind", ["total", "more", "next"])
@pytest.mark.parametrize("place", ["front", "end", "anywhere"])
def test_customers_made_meanwhile_lose_none_that_was_there(kind: str, place: str, tmp_path: Path) -> None:
    chance = random.Random(1)

    def before(held: Account, _: web.Request) -> None:
        if chance.random() < 0.3:
            held.add({"front": 0, "end": len(held.things), "anywhere": chance.randrange(len(held.things))}[place])

    with account(100, before) as (_, server):
        found = read(server.url, LISTINGS[kind], tmp_path)
    assert {f"t{n}" for n in range(100)} <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)


@pytest.mark.parametrize("seed", range(4))
def test_customers_deleted_meanwhile_lose_none_that_stays(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    def before(held: Account, _: web.Request) -> None:
        if chance.random() < 0.2 and len(held.things) > 80:
            held.things.pop(chance.randrange(len(held.things)))

    with account(120, before) as (held, server):
        found = read(server.url, BY_MORE, tmp_path)
        assert {one["id"] for one in held.things} <= set(found.ids)
        assert len(set(found.ids)) == len(found.ids)


@pytest.mark.parametrize("made", [1, 7])
def test_a_list_that_only_grows_is_read_once(made: int, tmp_path: Path) -> None:
    def before(held: Account, request: web.Request) -> None:
        if request.query["page"] == "50" and len(held.things) == 300:
            for _ in range(made):
                held.add(0)

    with account(300, before) as (held, server):
        found = read(server.url, BY_TOTAL, tmp_path)
        # Records created after the read began need not be included.
        assert sorted(found.ids) == sorted(f"t{n}" for n in range(300))
        assert len(held.things) == 300 + made
        assert len(server.calls) <= 103
        assert found.notes == []


@pytest.mark.parametrize("made", [SIZE, 2 * SIZE, 8 * SIZE])
def test_whole_pages_that_are_put_in_front_are_no_list_without_end(made: int, tmp_path: Path) -> None:
    def before(held: Account, request: web.Request) -> None:
        if request.query["page"] == "20" and len(held.things) == 120:
            for _ in range(made):
                held.add(0)

    with account(120, before) as (held, server):
        assert {f"t{n}" for n in range(120)} <= set(read(server.url, BY_MORE, tmp_path).ids)
        assert len(held.things) == 120 + made


def test_a_record_that_jumped_once_behind_the_reader(tmp_path: Path) -> None:
    def before(held: Account, request: web.Request) -> None:
        if request.query["page"] == "50" and held.things[0]["id"] == "t0":
            held.things.insert(250, held.things.pop(0))

    with account(300, before) as (_, server):
        assert sorted(read(server.url, BY_TOTAL, tmp_path).ids) == sorted(f"t{n}" for n in range(300))
        assert len(server.calls) < 220


@pytest.mark.parametrize("kind", ["total", "more"])
def test_a_total_that_fits_never(kind: str, tmp_path: Path) -> None:
    async def one_too_many(request: web.Request) -> web.StreamResponse:
        answer = await held.answer(request)
        assert isinstance(answer, web.Response)
        assert answer.text
        return as_json(json.loads(answer.text.replace('"total": 50', '"total": 51')))

    held = Account([thing(n) for n in range(50)])
    with served(one_too_many) as server, pytest.raises(Malformed) as stopped:
        read(server.url, LISTINGS[kind], tmp_path)
    assert "the list was read 3 times and keeps changing: it returned 50 different records and states 51" in str(
        stopped.value
    )


def test_what_does_not_fit_is_not_continued(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return as_json(
            {"data": [thing(1)], "meta": {"total": 1}} if good else {"data": [thing(0)], "meta": {"total": 9}}
        )

    good: list[bool] = []
    with served(answer) as server:
        with pytest.raises(Malformed):
            read(server.url, BY_TOTAL, tmp_path)
        good.append(True)
        assert read(server.url, BY_TOTAL, tmp_path).ids == ["t1"]


def test_one_answer_that_holds_a_record_twice_gives_it_twice(tmp_path: Path) -> None:
    with account([thing(1), thing(2), thing(1)]) as (_, server):
        assert read(server.url, AT_ONCE, tmp_path).ids == ["t1", "t2", "t1"]


def test_one_answer_whose_count_does_not_fit(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return as_json({"result": {"list": [thing(1)], "count": 2}})

    with served(answer) as server, pytest.raises(Malformed, match="has 1 record but states 2"):
        read(server.url, AT_ONCE, tmp_path)


# Lists without an end --------------------------------------------------------------------------------------------


def endless(kind: str) -> Callable[[web.Request], dict[str, Any]]:
    count = iter(range(10_000))
    chance = random.Random(2)

    def shuffled() -> list[dict[str, Any]]:
        return chance.sample([thing(n) for n in range(7)], 7)

    return {
        "cursor once more": lambda request: {"data": [thing(next(count))], "next": "abc"},
        "cursors in a ring": lambda request: {"data": [thing(next(count))], "next": str((next(count) // 2 + 1) % 3)},
        "the same page": lambda request: {"data": [thing(1)], "next": str(next(count))},
        "empty pages": lambda request: {"data": [], "next": str(next(count))},
        "nothing new": lambda request: {"data": shuffled(), "next": str(next(count))},
        "page ignored": lambda request: {"data": [thing(1)], "total": 100, "more": True},
        "always more": lambda request: {"data": [thing(next(count))], "total": 9, "more": True},
        "always new": lambda request: {"data": [thing(next(count))], "next": str(next(count))},
        "new and more": lambda request: {"data": [thing(next(count))], "more": True},
        "a trillion": lambda request: {"data": [thing(next(count))], "total": 10**12, "more": True},
        "few of many": lambda request: {"data": [thing(n) for n in range(3)] if next(count) == 0 else [], "total": 900},
        "empty and more": lambda request: {"data": [thing(1)] if next(count) == 0 else [], "more": True},
    }[kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "listing", "words"),
    [
        ("cursor once more", BY_CURSOR, "repeats an earlier cursor"),
        ("cursors in a ring", BY_CURSOR, "repeats an earlier cursor"),
        ("the same page", BY_CURSOR, "page 2 repeats page 1"),
        ("empty pages", BY_CURSOR, "third consecutive empty page"),
        ("nothing new", BY_CURSOR, "consecutive pages? without new records"),
        ("page ignored", BY_MORE, "repeats page 1"),
        ("always more", BY_MORE, "still announces another: the list does not end"),
        ("empty and more", BY_MORE, "third consecutive empty page"),
        ("always new", BY_CURSOR, "more pages than the limit of 1,000"),
        ("new and more", BY_MORE, "more pages than the limit of 1,000"),
        ("a trillion", BY_MORE, "states 1,000,000,000,000 records, which exceeds the limit of 1,000 pages"),
        ("few of many", BY_MORE, "states 900 records, but 21 of its pages have none"),
    ],
)
def test_a_list_without_end_is_noticed(
    kind: str, listing: Listing, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "_NO_RECORDS", 20)
    given = endless(kind)

    async def answer(request: web.Request) -> web.StreamResponse:
        return as_json(given(request))

    with served(answer) as server, pytest.raises(Malformed, match=words) as stopped:
        read(server.url, listing, tmp_path)
    assert str(stopped.value).startswith(f"Acme ({server.host}): GET {listing.path}: ")
    assert len(server.calls) < 1500


@pytest.mark.parametrize(
    "answer", [{"data": None}, {}, {"data": [], "meta": {"total": "many"}}, "text", {"data": {"1": {}}}], ids=str
)
def test_an_answer_of_another_shape(answer: Any, tmp_path: Path) -> None:
    async def give(_: web.Request) -> web.StreamResponse:
        return as_json(answer)

    with served(give) as server, pytest.raises(Malformed) as stopped:
        read(server.url, BY_TOTAL, tmp_path)
    assert f"Acme ({server.host}): GET /total: the response" in str(stopped.value)


@pytest.mark.parametrize(
    "total", ["-1", "true", "1.5", "1e400", "9" * 5000, '"9"', '"\u0663"', f'"{"9" * 5000}"', "[]", "{}", '""', "1e3"]
)
@pytest.mark.parametrize("listing", [BY_TOTAL, BY_MORE, AT_ONCE], ids=lambda listing: listing.path)
def test_a_total_that_cannot_be_is_explained(total: str, listing: Listing, tmp_path: Path) -> None:
    body = '{"data": [], "total": 0, "meta": {"total": 0}, "result": {"list": [], "count": 0}}'.replace("0", total)
    body = body.replace('"9"', "0")

    async def give(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    with served(give) as server, contextlib.suppress(Malformed):
        assert read(server.url, listing, tmp_path).ids == []


@pytest.mark.parametrize(
    "cursor", [[], {}, ["a"], {"a": 1}, 1.5, True, "x" * 5000, 10**30, "a&b=c#d", "\ud800"], ids=repr
)
def test_a_cursor_that_cannot_be_is_explained(cursor: Any, tmp_path: Path) -> None:
    async def give(request: web.Request) -> web.StreamResponse:
        is_first = "next" not in request.query
        return as_json({"data": [thing(1 if is_first else 2)], "next": cursor if is_first else None})

    with served(give) as server, contextlib.suppress(Malformed):
        assert read(server.url, BY_CURSOR, tmp_path).ids in (["t1"], ["t1", "t2"])


def test_a_list_whose_pages_come_too_slowly_ends(tmp_path: Path) -> None:
    policy = replace(QUICK, list=0.3)

    async def give(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        number = int(request.query.get("next", 0))
        return as_json({"data": [thing(number)], "next": str(number + 1)})

    with served(give) as server, pytest.raises(Unreachable, match=r"the list was not complete within 0\.3 s"):
        read(server.url, BY_CURSOR, tmp_path, policy=policy)


# Interrupted reads --------------------------------------------------------------------------------------------------


def refuse_after(calls: int) -> Callable[[Account, web.Request], Any]:
    left = iter(range(calls))
    return lambda held, request: None if next(left, None) is not None else as_json({}, 401)


@pytest.mark.parametrize("kind", ["total", "more", "bare", "cursor"])
@pytest.mark.parametrize("calls", [0, 1, 2, 9, 19])
def test_a_read_that_was_refused_in_the_middle_goes_on_from_there(kind: str, calls: int, tmp_path: Path) -> None:
    with account(60, refuse_after(calls)) as (held, server):
        quiet = Account(held.things)
        with pytest.raises(Refused, match=r"401 Unauthorized\. The key in ACME_KEY is not accepted") as refused:
            read(server.url, LISTINGS[kind], tmp_path / "a")
        assert KEY not in str(refused.value)
        held.before = quiet.before
        server.calls.clear()
        found = read(server.url, LISTINGS[kind], tmp_path / "a")
        left = (21 if kind == "bare" else 20) - calls
        # A page that was sent while another was refused may still have been in flight.
        side_by_side = kind in ("total", "more")
        under_way = Numbered("page", "size", SIZE).in_flight - 1 if side_by_side else 0
        # Requests of the first read may reach the server only now; this read requests the same pages.
        assert left <= len(set(server.calls)) <= left + min(under_way, calls)
        server.calls.clear()
        assert read(server.url, LISTINGS[kind], tmp_path / "a") == found
        assert server.calls == []
        assert read(server.url, LISTINGS[kind], tmp_path / "b") == found


@pytest.mark.parametrize("kind", LISTINGS)
def test_a_read_that_was_left_goes_on_from_there(kind: str, tmp_path: Path) -> None:
    with account(60) as (_, server):
        quiet = read(server.url, LISTINGS[kind], tmp_path / "quiet")
        server.calls.clear()
        for stop in (1, 2, 3):
            assert read(server.url, LISTINGS[kind], tmp_path / "a", stop).ids == quiet.ids[: 12 * stop or None][:60]
        assert read(server.url, LISTINGS[kind], tmp_path / "a") == quiet
        # No page is requested twice, except those in flight when the read was left.
        assert len(set(server.calls)) >= len(server.calls) - 3 * 8


@pytest.mark.slow
def test_a_list_that_moved_is_gone_on_with_in_any_pass(tmp_path: Path) -> None:
    for calls in range(41, 78, 9):
        refuse = refuse_after(calls)
        move = jump(3, 0.3)
        with account(120, lambda held, request: refuse(held, request) or move(held, request)) as (held, server):  # noqa: B023
            keep = tmp_path / str(calls)
            with pytest.raises(Refused):
                read(server.url, BY_MORE, keep)
            held.before = jump(4, 0.1)
            assert sorted(read(server.url, BY_MORE, keep).ids) == sorted(f"t{n}" for n in range(120))


def test_a_cursor_that_is_no_longer_known_begins_anew(tmp_path: Path) -> None:
    with account(60, refuse_after(7)) as (held, server):
        with pytest.raises(Refused):
            read(server.url, BY_CURSOR, tmp_path)
        old = {str(n) for n in range(22)}
        held.things.insert(0, thing(99))
        held.before = lambda _, request: (
            as_json({"message": "unknown cursor"}, 400)
            if request.query.get("next") in old and len(server.calls) == 1
            else None
        )
        server.calls.clear()
        assert read(server.url, BY_CURSOR, tmp_path).ids == ["t99", *(f"t{n}" for n in range(60))]
        assert len(server.calls) == 22


@pytest.mark.parametrize("kind", ["total", "cursor", "whole"])
@pytest.mark.parametrize("seed", range(6))
def test_pages_that_were_spoilt_on_disk_are_asked_for_again(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with account(60) as (_, server):
        quiet = read(server.url, LISTINGS[kind], tmp_path / "quiet")
        read(server.url, LISTINGS[kind], tmp_path / "a")
        for name in chance.choice([("data",), ("index",), ("data", "index")]):
            file = tmp_path / "a" / "things" / "1" / name
            held = bytearray(file.read_bytes())
            at = chance.randrange(len(held))
            if chance.random() < 0.5:
                del held[at:]
            else:
                held[at] ^= 1 + chance.randrange(255)
            file.write_bytes(held)
        assert read(server.url, LISTINGS[kind], tmp_path / "a") == quiet


def test_pages_of_another_identity_are_thrown_away(tmp_path: Path) -> None:
    with account(10) as (held, server):
        assert len(read(server.url, BY_TOTAL, tmp_path, identity="one").ids) == 10
        held.things.append(thing(10))
        assert len(read(server.url, BY_TOTAL, tmp_path, identity="one").ids) == 10
        assert len(read(server.url, BY_TOTAL, tmp_path, identity="two").ids) == 11
        (tmp_path / "read.json").write_text("half")
        assert len(read(server.url, BY_TOTAL, tmp_path, identity="two").ids) == 11


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with account(10) as (_, server), reading(server.url, [BY_TOTAL], tmp_path) as (going, _):
        (tmp_path / "things" / "1").mkdir(parents=True)
        (tmp_path / "things" / "1" / "data").symlink_to("/dev/full")
        with pytest.raises(ConfigError, match="cannot be written"):
            list(going.groups())


READER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_full_scan import LISTINGS, full_scan, reading
full_scan.GROUP_RECORDS = 10
with reading({url!r}, [LISTINGS[{kind!r}]], Path({keep!r})) as (going, _):
    for group in going.groups():
        print(group.position, flush=True)
"""


@pytest.mark.kill
@pytest.mark.parametrize(("kind", "kills"), [("total", (3, 17)), ("cursor", (9,))])
def test_a_read_that_was_killed_goes_on_from_there(kind: str, kills: tuple[int, ...], tmp_path: Path) -> None:
    held = Account([thing(n) for n in range(90)])
    came = allowed = 0

    async def so_many(request: web.Request) -> web.StreamResponse:
        nonlocal came
        came += 1
        place = came
        while place > allowed:  # until it is killed
            await asyncio.sleep(0.01)
        return await held.answer(request)

    with served(so_many) as server:
        here = Path(__file__).parent
        given = {"tests": str(here), "url": server.url, "kind": kind, "keep": str(tmp_path / "a")}
        for calls in kills:
            allowed = calls
            with subprocess.Popen(
                [sys.executable, "-c", READER.format(**given)],
                env={"PYTHONPATH": str(here.parent.parent), "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=subprocess.PIPE,
            ) as process:
                while len(server.calls) < calls + 1:
                    time.sleep(0.005)
                process.send_signal(signal.SIGKILL)
        assert b'"end"' not in (tmp_path / "a" / "things" / "1" / "index").read_bytes()
        allowed = sys.maxsize
        found = read(server.url, LISTINGS[kind], tmp_path / "a")
        assert found.ids == [f"t{n}" for n in range(90)]
        # Pages in flight when it was killed were not on disk yet.
        assert 30 <= len(server.calls) <= 30 + 2 * 9
        assert b'"end"' in (tmp_path / "a" / "things" / "1" / "index").read_bytes()
        assert found.digests == read(server.url, LISTINGS[kind], tmp_path / "b").digests


# Ids -------------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=12))
def test_what_has_been_seen(batches: list[list[int]]) -> None:
    seen = full_scan._IdSet()
    known: set[str] = set()
    for batch in batches:
        ids = [str(n) for n in batch]
        expected = []
        for one in ids:
            expected.append(one not in known)
            known.add(one)
        assert seen.add(pl.Series(ids, dtype=pl.String)).tolist() == expected
        assert seen.count == len(known)
    everything = pl.Series([str(n) for n in range(70)])
    assert seen.contains(everything).tolist() == [one in known for one in everything]


@pytest.mark.slow
def test_a_million_ids_take_little_room() -> None:
    seen = full_scan._IdSet()
    for start in range(0, 1_000_000, 16_384):
        ids = pl.int_range(start, min(start + 16_384, 1_000_000), eager=True).cast(pl.String)
        assert seen.add(ids).all()
    assert seen.count == 1_000_000
    assert sum(one.nbytes + two.nbytes for one, two in seen._runs) == 16_000_000
    assert not seen.add(pl.Series(["0", "999999"])).any()
    assert np.array_equal(seen.contains(pl.Series(["5", "-1"])), [True, False])
