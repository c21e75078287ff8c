"""Each kind of weather is seen by a client, and repeats with the same seed."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest

from support.sandboxes import Reply, Sandbox, Start
from tranship.connectors.sandbox.weather import Sky, Weather


@pytest.fixture
def front(sandbox: Start) -> Sandbox:
    return sandbox("marginfront", seed=50)


def call(
    sandbox: Sandbox, method: str = "GET", path: str = "/v1/customers", body: Any = None, wait: float = 60
) -> Reply:
    return sandbox.call(method, path, body, {"x-api-key": "mf_sk_test_1"}, wait)


@contextmanager
def plain(sandbox: Sandbox, method: str, body: Any = None) -> Iterator[socket.socket]:
    """Open a connection and send a request on it."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /v1/customers HTTP/1.1\r\nHost: localhost\r\nx-api-key: mf_sk_1\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def statuses(sandbox: Sandbox, number: int) -> list[int]:
    return [call(sandbox, path=f"/v1/customers?page={page}&limit=1")[0] for page in range(1, number + 1)]


def test_calm_weather_strikes_nothing(front: Sandbox) -> None:
    assert set(statuses(front, 40)) == {200}


@pytest.mark.parametrize("status", ["429", "500", "502", "503", "504"])
def test_every_call_is_answered_with_the_status_in_the_providers_own_shape(front: Sandbox, status: str) -> None:
    front.weather(statuses={status: 1})
    seen, _, body = call(front)
    assert seen == int(status)
    assert json.loads(body)["statusCode"] == int(status)


def test_a_share_is_a_share(front: Sandbox) -> None:
    front.weather(statuses={"500": 0.3, "429": 0.2})
    seen = Counter(statuses(front, 300))
    assert set(seen) == {200, 429, 500}
    assert 60 <= seen[500] <= 120
    assert 35 <= seen[429] <= 85


def test_the_same_seed_gives_the_same_weather_in_whatever_order_calls_arrive(front: Sandbox) -> None:
    def struck() -> list[int]:
        front.weather(statuses={"500": 0.5}, seed=7)
        with ThreadPoolExecutor(8) as pool:
            pages = range(1, 60)
            return list(pool.map(lambda page: call(front, path=f"/v1/customers?page={page}")[0], pages))

    first = struck()
    assert struck() == first
    front.weather(statuses={"500": 0.5}, seed=8)
    assert [call(front, path=f"/v1/customers?page={page}")[0] for page in range(1, 60)] != first


def test_a_call_that_was_struck_may_pass_when_it_is_repeated(front: Sandbox) -> None:
    front.weather(statuses={"500": 0.5})
    assert {call(front)[0] for _ in range(20)} == {200, 500}


def test_only_the_methods_named_are_struck(front: Sandbox) -> None:
    front.weather(statuses={"500": 1}, methods=["POST"])
    assert call(front)[0] == 200
    assert call(front, "POST", body={"name": "a"})[0] == 500


def test_latency_and_jitter(front: Sandbox) -> None:
    front.weather(latency=0.1, jitter=0.05)
    for page in range(1, 4):
        began = time.perf_counter()
        call(front, path=f"/v1/customers?page={page}")
        assert time.perf_counter() - began >= 0.05
    sky = Sky(Weather(latency=0.1, jitter=0.05), {})
    delays = [sky.spell("GET", f"/{page}", b"").delay for page in range(200)]
    assert 0.05 <= min(delays) < 0.06
    assert 0.14 < max(delays) <= 0.15


def test_while_a_call_waits_others_are_answered(front: Sandbox) -> None:
    front.weather(latency=600, methods=["POST"])
    with plain(front, "POST", {"name": "waits"}) as waiting:
        assert call(front)[0] == 200
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("page", "Retry-After"),
        ("seconds", "Retry-After"),
        ("date", "Retry-After"),
        ("milliseconds", "retry-after-ms"),
        ("none", None),
    ],
)
def test_a_429_says_when_to_come_back(front: Sandbox, kind: str, header: str | None) -> None:
    front.weather(statuses={"429": 1}, retry_after=kind, retry_seconds=3)
    began = datetime.now(UTC)
    _, headers, _ = call(front)
    told = {name: headers[name] for name in ("Retry-After", "retry-after-ms") if name in headers}
    assert list(told) == ([header] if header else [])
    if kind in ("page", "seconds"):
        assert told["Retry-After"] == "3"
    if kind == "milliseconds":
        assert told["retry-after-ms"] == "3000"
    if kind == "date":
        when = parsedate_to_datetime(told["Retry-After"])
        assert began + timedelta(seconds=2) < when <= datetime.now(UTC) + timedelta(seconds=4)


@pytest.mark.parametrize(("kind", "told"), [("page", None), ("none", None), ("seconds", "3")])
def test_a_503_says_it_only_when_asked(front: Sandbox, kind: str, told: str | None) -> None:
    front.weather(statuses={"503": 1}, retry_after=kind, retry_seconds=3)
    assert call(front)[1]["Retry-After"] == told


def test_a_500_never_says_it(front: Sandbox) -> None:
    front.weather(statuses={"500": 1}, retry_after="seconds")
    assert call(front)[1]["Retry-After"] is None


@pytest.mark.slow
def test_calls_over_the_rate_are_refused_until_the_window_ends(front: Sandbox) -> None:
    front.weather(rate={"GET": 5}, window=3600, retry_after="milliseconds")
    seen = [call(front) for _ in range(8)]
    assert [answer[0] for answer in seen] == [200] * 5 + [429] * 3
    assert 0 < int(seen[-1][1]["retry-after-ms"]) <= 3_600_000
    assert call(front, "POST", body={"name": "a"})[0] == 201  # has no limit of its own
    front.weather(rate={"GET": 1}, window=0.5, retry_after="milliseconds")
    while (answer := call(front))[0] == 200:
        pass
    time.sleep((int(answer[1]["retry-after-ms"]) + 1) / 1000)
    assert call(front)[0] == 200


def test_methods_without_a_rate_of_their_own_share_one(front: Sandbox) -> None:
    front.weather(rate={"GET": 100, "*": 2})
    assert [call(front, "POST", body={"name": "a"})[0] for _ in range(3)] == [201, 201, 429]
    assert call(front)[0] == 200


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_cut_before_the_write_leaves_nothing(front: Sandbox, seed: int) -> None:
    front.weather(cut_before=1, seed=seed)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        call(front, "POST", body={"name": "cut"})
    assert front.counts()["customers"] == 50


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_cut_after_the_write_has_stored_it(front: Sandbox, seed: int) -> None:
    front.weather(cut_after=1, seed=seed)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        call(front, "POST", body={"name": "lost answer"})
    assert [one["name"] for one in front.state()[50:]] == ["lost answer"]


def test_cuts_are_closes_and_resets(front: Sandbox) -> None:
    front.weather(cut_before=1)
    kinds = set()
    for page in range(1, 21):
        with pytest.raises(ConnectionError) as error:
            call(front, path=f"/v1/customers?page={page}")
        kinds.add(type(error.value))
    assert kinds == {http.client.RemoteDisconnected, ConnectionResetError}


@pytest.mark.slow
@pytest.mark.parametrize(("late", "kept"), [(0, 50), (1, 51)])
def test_a_call_that_is_never_answered(front: Sandbox, late: int, kept: int) -> None:
    front.weather(timeout=1, late=late)
    with plain(front, "POST", {"name": "never"}) as waiting:
        while front.counts()["customers"] != kept:
            time.sleep(0.01)
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
    assert front.counts()["customers"] == kept


@pytest.mark.parametrize(("late", "kept"), [(0, 50), (1, 51)])
def test_a_500_before_and_after_the_write(front: Sandbox, late: int, kept: int) -> None:
    front.weather(statuses={"500": 1}, late=late)
    assert call(front, "POST", body={"name": "500"})[0] == 500
    assert front.counts()["customers"] == kept


def test_a_429_is_never_late(front: Sandbox) -> None:
    front.weather(statuses={"429": 1}, late=1)
    assert call(front, "POST", body={"name": "429"})[0] == 429
    assert front.counts()["customers"] == 50


def test_a_body_cut_in_half(front: Sandbox) -> None:
    whole = call(front)[2]
    front.weather(half=1)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as error:
        call(front)
    if isinstance(error.value, http.client.IncompleteRead):
        assert error.value.partial == whole[: len(whole) // 2]


def test_a_body_without_anything_is_not_cut(front: Sandbox) -> None:
    front.weather(half=1)
    assert front.counts()["customers"] == 50  # the control endpoint is never affected by weather


@pytest.mark.slow
def test_a_slow_body_comes_in_pieces(front: Sandbox) -> None:
    whole = call(front)[2]
    front.weather(slow=1, slow_seconds=0.5)
    began = time.perf_counter()
    assert call(front)[2] == whole
    assert time.perf_counter() - began >= 0.4
    front.weather(slow=1, slow_seconds=6000)
    with plain(front, "GET") as reading:
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:
            received += reading.recv(1 << 20)
    assert whole.startswith(received.partition(b"\r\n\r\n")[2])
    assert len(received) < len(whole) / 2


def test_an_html_page_in_place_of_json(front: Sandbox) -> None:
    front.weather(html=1)
    status, headers, body = call(front)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")


def _read(front: Sandbox) -> list[str]:
    pages = [json.loads(call(front, path=f"/v1/customers?limit=5&page={page}")[2])["data"] for page in range(1, 11)]
    return [one["id"] for page in pages for one in page]


def test_a_list_that_shifts_keeps_its_customers_and_is_read_wrongly(front: Sandbox) -> None:
    before = {one["id"]: one for one in front.state()}
    front.weather(shift=1)
    reads = [_read(front) for _ in range(5)]
    assert {one["id"]: one for one in front.state()} == before
    assert any(len(set(read)) < 50 for read in reads)  # some are returned twice, others not at all
    assert all(len(read) == 50 for read in reads)
    front.weather()
    assert _read(front) == [one["id"] for one in front.state()]


def test_churn_creates_and_deletes(front: Sandbox) -> None:
    before = {one["id"] for one in front.state()}
    front.weather(churn=1)
    _read(front)
    after = {one["id"] for one in front.state()}
    assert len(after) == 50
    assert len(after - before) >= 8
    assert len(before - after) >= 8


def test_a_get_of_one_customer_shifts_nothing(front: Sandbox) -> None:
    front.weather(shift=1)
    before = [one["id"] for one in front.state()]
    call(front, path=f"/v1/customers/{before[0]}")
    assert [one["id"] for one in front.state()] == before


def test_the_weather_is_seen_and_set_whole(front: Sandbox) -> None:
    front.weather(latency=0.01, statuses={"500": 0.5})
    front.weather(shift=0.25, seed=4)
    seen = msgspec.json.decode(front.ask("GET", "/_sandbox/weather"), type=Weather)
    assert seen == Weather(shift=0.25, seed=4)


@pytest.mark.parametrize("wrong", [{"shift": 2}, {"latency": -1}, {"rain": 1}, {"statuses": {"418": 1}}, [], "x"])
def test_weather_that_does_not_exist_is_refused_with_a_message(front: Sandbox, wrong: Any) -> None:
    front.weather(seed=3)
    with pytest.raises(HTTPError) as error:
        front.ask("PUT", "/_sandbox/weather", wrong)
    assert error.value.code == 400
    assert b"Traceback" not in error.value.read()
    error.value.close()
    assert json.loads(front.ask("GET", "/_sandbox/weather"))["seed"] == 3


def test_a_part_of_a_second_is_rounded_up_or_the_client_comes_too_early() -> None:
    sky = Sky(Weather(), {})
    assert sky.retry_headers(429, True, 1.2) == {"Retry-After": "2"}
    assert sky.retry_headers(429, True, 0.01) == {"Retry-After": "1"}


def test_shares_of_statuses_add_up() -> None:
    sky = Sky(Weather(statuses={"500": 0.5, "502": 0.5}), {})
    seen = Counter(sky.spell("GET", f"/{page}", b"").status for page in range(1000))
    assert set(seen) == {500, 502}
    assert 430 < seen[500] < 570
