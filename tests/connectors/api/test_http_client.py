"""The HTTP client against real servers, correct and faulty."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from msgspec.structs import replace

from support.served import Served, as_json, complete, nobody, raw, served
from tranship.connectors.api.http_client import HttpClient, HttpResponse
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused, Unreachable

T = TypeVar("T")

KEY = "sk_very-secret"
QUICK = RetryPolicy(tries=4, first_pause=0.005, longest_pause=0.02, longest_wait=2, total=120, connect=60, silence=60)
GOOD = {"good": True}


def service(url: str, **changes: Any) -> Service:
    given: dict[str, Any] = {
        **{"title": "Acme", "base_url": url, "key_variable": "ACME_KEY", "key": KEY},
        **{"headers": {"Authorization": f"Bearer {KEY}"}, "error_message": lambda body: json.loads(body)["message"]},
    }
    return Service(**{**given, **changes})


def run(url: str, work: Callable[[HttpClient], Awaitable[T]], retry_policy: RetryPolicy = QUICK, **changes: Any) -> T:
    async def all_of_it() -> T:
        async with HttpClient(service(url, **changes), retry_policy) as client:
            return await work(client)

    return asyncio.run(all_of_it())


def parsed(answer: HttpResponse) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        raise Malformed("no JSON") from None


def fetch(url: str, retry_policy: RetryPolicy = QUICK, **changes: Any) -> Any:
    return run(url, lambda client: client.fetch("/things", parsed), retry_policy, **changes)


@contextmanager
def scripted(*answers: Any) -> Iterator[Served]:
    """Run a server with these answers, one after the other, the last one repeatedly: a status, a response, or a
    function that makes one. None cuts the connection.
    """
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        given = left.pop(0) if len(left) > 1 else left[0]
        if given is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if isinstance(given, int):
            return as_json({"message": f"it is {given}"}, given)
        return await given(request)

    with served(answer) as server:
        yield server


async def good(_: web.Request) -> web.Response:
    return as_json(GOOD)


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(600)
    return as_json(GOOD)


def patience_for(fault: Any) -> RetryPolicy:
    """Return a policy with a short time-out. On a busy machine, a valid answer may also be too late, and is requested
    again."""
    return replace(QUICK, silence=0.3) if fault is silent else QUICK


async def page(_: web.Request) -> web.Response:
    return web.Response(text="<html>Sign in</html>", content_type="text/html")


def told(status: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return as_json({"message": "later"}, status, **headers)

    return answer


# Temporary failures
# -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [408, 425, 429, 500, 502, 503, 504, None, silent, page],
    ids=lambda fault: getattr(fault, "__name__", str(fault)),
)
def test_what_may_pass_is_asked_again(fault: Any) -> None:
    with scripted(fault, fault, good) as server:
        assert fetch(server.url, patience_for(fault)) == GOOD
    calls = len(server.calls)
    assert calls == 3 or (fault is silent and calls > 3)


@pytest.mark.parametrize(
    "broken",
    [
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"good"',
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"good"\r\n',
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"good"',
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        complete(b""),
        complete(b"<html></html>", "text/html"),
        complete(b"\xff\xfe"),
        None,
    ],
    ids=["length", "chunked", "until close", "header", "nothing", "ssh", "empty", "html", "binary", "reset"],
)
def test_an_answer_that_breaks_off_or_is_none_is_asked_for_again(broken: bytes | None) -> None:
    with raw(broken, complete(b'{"good": true}')) as server:
        assert fetch(server.url) == GOOD
        assert server.connections == 2
    with raw(broken) as server, pytest.raises((Unreachable, Malformed)) as stopped:
        fetch(server.url)
    # aiohttp itself repeats a request if a connection ended without an answer.
    assert QUICK.tries <= server.connections <= 2 * QUICK.tries
    assert "Tried 4 times" in str(stopped.value) or "no JSON" in str(stopped.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422])
def test_what_is_refused_is_not_asked_again(status: int) -> None:
    with scripted(status) as server:
        with pytest.raises(Refused) as refused:
            fetch(server.url)
        assert len(server.calls) == 1
    assert f"Acme ({server.host}): GET /things returned {status}" in str(refused.value)


def test_the_words_of_a_refusal() -> None:
    def words(status: int, **changes: Any) -> str:
        with scripted(status) as server, pytest.raises(Refused) as refused:
            fetch(server.url, **changes)
        return str(refused.value).replace(server.host, "api.acme.com")

    assert words(401) == (
        "Acme (api.acme.com): GET /things returned 401 Unauthorized. The key in ACME_KEY is not accepted: set one "
        "that is valid for this host."
    )
    assert words(403) == (
        "Acme (api.acme.com): GET /things returned 403 Forbidden (it is 403). The key in ACME_KEY lacks the "
        "permission for this: use one that has it."
    )
    assert words(403, advice={403: "Ask Bea."}).endswith("403 Forbidden (it is 403). Ask Bea.")
    assert words(418).endswith("418 I'm a Teapot (it is 418). Check the address and its options.")


def test_a_key_that_the_other_side_says_again_is_hidden() -> None:
    async def echo(_: web.Request) -> web.Response:
        return as_json({"message": f"the key {KEY}\nis wrong " + "x" * 500}, 403)

    with scripted(echo) as server, pytest.raises(Refused) as refused:
        fetch(server.url)
    assert KEY not in str(refused.value)
    assert "(the key *** is wrong xxx" in str(refused.value)
    assert len(str(refused.value)) < 450
    assert KEY not in repr(service(server.url))


def test_a_fault_that_stays_is_reported_with_the_tries() -> None:
    with scripted(503) as server, pytest.raises(Unreachable) as stopped:
        fetch(server.url)
    assert len(server.calls) == QUICK.tries
    said, seconds, end = re.split(r"(\d+)(?= seconds)", str(stopped.value))
    assert said == (
        f"Acme ({server.host}): GET /things returned 503 Service Unavailable. Try again later. (Tried 4 times in "
    )
    assert int(seconds) >= 0
    assert end == " seconds.)"


def test_a_web_page_in_place_of_an_answer_is_reported() -> None:
    with scripted(page) as server, pytest.raises(Malformed, match="returned text/html instead of JSON"):
        fetch(server.url)


@pytest.mark.slow
def test_silence_ends() -> None:
    with scripted(silent) as server, pytest.raises(Unreachable, match=r"got no answer within 0\.3 s"):
        fetch(server.url, patience_for(silent))


# Pauses ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "headers", "least"),
    [(429, {"Retry-After": "1"}, 1), (503, {"retry-after-ms": "300"}, 0.3), (429, {"retry-after-ms": "300"}, 0.3)],
)
def test_retry_after_is_obeyed(status: int, headers: dict[str, str], least: float) -> None:
    with scripted(told(status, **headers), good) as server:
        assert fetch(server.url) == GOOD
    assert server.times[1] - server.times[0] >= least


@pytest.mark.slow
def test_retry_after_as_a_date_is_obeyed() -> None:
    async def date(_: web.Request) -> web.Response:
        return as_json({}, 429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True))

    with scripted(date, good) as server:
        assert fetch(server.url) == GOOD
    assert server.times[1] - server.times[0] >= 0.9


def test_a_wait_that_is_too_long_is_reported_and_not_waited() -> None:
    with scripted(told(429, Retry_After="3600")) as server, pytest.raises(Unreachable) as stopped:
        fetch(server.url)
    assert len(server.calls) == 1
    assert "asks to wait 3,600 s; the limit is 2 s" in str(stopped.value)


@pytest.mark.slow
def test_after_a_429_all_wait_together() -> None:
    refused: list[float] = []
    clients: list[HttpClient] = []

    async def answer(request: web.Request) -> web.Response:
        if request.query["n"] == "0" and not refused:
            refused.append(asyncio.get_running_loop().time())
            return as_json({}, 429, retry_after_ms="400")
        while not clients[0].traffic.throttled:  # the others are answered after the refusal has arrived
            await asyncio.sleep(0.005)
        return as_json(GOOD)

    async def work(client: HttpClient) -> list[Any]:
        clients.append(client)
        left = iter(range(24))

        async def worker() -> list[Any]:
            return [await client.fetch("/", parsed, params=[("n", str(n))]) for n in left]

        found = await asyncio.gather(*(worker() for _ in range(8)))
        return [one for several in found for one in several]

    with served(answer) as server:
        assert run(server.url, work) == [GOOD] * 24
    assert len(server.times) == 25
    assert [time for time in sorted(server.times)[8:] if time < refused[0] + 0.4] == []


def test_429_is_the_weather_and_no_try() -> None:
    with scripted(*[429] * 20, good) as server:
        assert fetch(server.url) == GOOD
    assert len(server.calls) == 21


@pytest.mark.slow
def test_429_without_end_ends_with_patience() -> None:
    retry_policy = RetryPolicy(tries=4, first_pause=0.01, longest_pause=0.05, total=0.5)
    with scripted(429) as server, pytest.raises(Unreachable, match="429 Too Many Requests"):
        fetch(server.url, retry_policy)
    # The pauses grow: no storm of requests.
    assert len(server.calls) < 80


def test_the_pauses_between_tries_are_kept() -> None:
    retry_policy = RetryPolicy(tries=7, first_pause=0.02, longest_pause=0.3)
    with scripted(500) as server, pytest.raises(Unreachable):
        fetch(server.url, retry_policy)
    assert server.times[-1] - server.times[0] > 0.02


@pytest.mark.slow
def test_the_pace_is_kept() -> None:
    async def work(client: HttpClient) -> None:
        await asyncio.gather(*(client.fetch("/", parsed) for _ in range(30)))

    with scripted(good) as server:
        run(server.url, work, per_second={"GET": 50})
    # A delay of a tenth of a second is caught up, and calls in flight may be late.
    for at in server.times:
        assert sum(at <= other < at + 0.2 for other in server.times) <= (0.2 + 0.1) * 50 + 8


# Writing ---------------------------------------------------------------------------------------------------------


def post(client: HttpClient, **given: Any) -> Awaitable[HttpResponse]:
    return client.request("POST", "/things", body=b'{"a":1}', **given)


@pytest.mark.parametrize("fault", [500, None, silent], ids=lambda fault: getattr(fault, "__name__", str(fault)))
def test_a_post_is_not_repeated_by_itself(fault: Any) -> None:
    with scripted(fault, good) as server:
        with pytest.raises(Unreachable) as stopped:
            run(server.url, post, patience_for(fault))
        assert len(server.calls) == 1
        assert "Tried" not in str(stopped.value)


@pytest.mark.parametrize("fault", [500, None, silent], ids=lambda fault: getattr(fault, "__name__", str(fault)))
def test_a_post_that_is_repeatable_is_repeated(fault: Any) -> None:
    with scripted(fault, good) as server:
        work = partial(post, repeatable=True, idempotency_key="run-1")
        assert run(server.url, work, patience_for(fault)).status == 200
    calls = len(server.calls)
    assert calls == 2 or (fault is silent and calls > 2)
    assert [headers["Idempotency-Key"] for headers in server.headers] == ["run-1"] * calls
    assert [headers["Content-Type"] for headers in server.headers] == ["application/json"] * calls
    assert server.bodies == [b'{"a":1}'] * calls


def test_a_post_that_was_turned_away_is_repeated() -> None:
    with scripted(429, 429, good) as server:
        assert run(server.url, post).status == 200
        assert len(server.calls) == 3


@pytest.mark.parametrize(("status", "body"), [(404, b""), (409, b"{}"), (204, b"")])
def test_statuses_that_are_expected_are_answers(status: int, body: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body or None, content_type="application/json")

    async def work(client: HttpClient) -> HttpResponse:
        return await client.request("DELETE", "/things/a%2Fb", expected=(404, 409))

    with served(answer) as server:
        found = run(server.url, work)
        assert (found.status, found.body) == (status, body)
        assert server.calls == ["DELETE /things/a%2Fb"]


# The other end -------------------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed_and_the_key_stays_here() -> None:
    with scripted(good) as elsewhere:

        async def away(_: web.Request) -> web.Response:
            raise web.HTTPFound(f"{elsewhere.url}/things?token={KEY}")

        with scripted(away) as server, pytest.raises(Refused) as refused:
            fetch(server.url)
        assert not elsewhere.calls
    assert f"redirects to {elsewhere.url}. Redirects are not followed" in str(refused.value)
    assert KEY not in str(refused.value)


def test_nobody_there() -> None:
    with nobody() as url, pytest.raises(Unreachable) as stopped:
        fetch(url, RetryPolicy(tries=8, first_pause=0.01))
    said = str(stopped.value)
    assert f"Acme ({url.removeprefix('http://')}): cannot be reached (connect" in said
    # A host that never answered is more likely misspelled than down: no long wait.
    assert "Tried 3 times" in said


def test_no_such_host() -> None:
    with pytest.raises(Unreachable, match="unknown host"):
        fetch("https://api.acme.invalid")


def test_a_server_without_a_trusted_certificate_gets_nothing() -> None:
    with raw(complete(b"{}")) as server, pytest.raises(ConnectorError) as stopped:
        fetch(server.url.replace("http:", "https:"))
    assert KEY not in "".join(server.calls)
    assert "certificate" in str(stopped.value)


def test_a_proxy_is_used_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy, scripted(good) as server:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(ConnectorError):
            fetch("https://api.acme.invalid")
        assert proxy.calls[0].startswith("CONNECT api.acme.invalid:443 ")
        assert KEY not in "".join(proxy.calls)
        seen = proxy.connections
        assert fetch(server.url) == GOOD
        assert proxy.connections == seen


def test_connections_are_used_again() -> None:
    async def work(client: HttpClient) -> None:
        for _ in range(3):
            await asyncio.gather(*(client.fetch("/", parsed) for _ in range(20)))

    with scripted(good) as server:
        run(server.url, work)
    assert len(server.calls) == 60
    assert len(server.peers) <= 8


def test_a_connection_that_the_server_closed_meanwhile_is_no_fault() -> None:
    async def work(client: HttpClient) -> int:
        await client.fetch("/", parsed)
        while not first[0].is_closing():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await client.fetch("/", parsed)
        return client.traffic.repeated

    first: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        first.append(request.transport)
        return as_json(GOOD)

    with served(answer, keepalive_timeout=0.05) as server:
        assert run(server.url, work) == 0
        assert len(server.peers) == 2


# Bodies of any size ----------------------------------------------------------------------------------------------


def test_a_large_body_goes_to_disk_and_begins_anew_when_it_breaks_off(tmp_path: Path) -> None:
    file = tmp_path / "body"
    body = json.dumps(["x" * 1000] * 3000).encode()
    half = complete(body)[: len(body) // 2]

    def check(found: Path) -> int:
        if found.read_bytes() != body:
            raise Malformed("not the body")
        return 7

    async def work(client: HttpClient) -> tuple[int, int]:
        return await client.download("/all", file, check), client.traffic.repeated

    with raw(half, None, complete(b"<html>", "text/html"), complete(b"[]"), complete(body)) as server:
        found, repeated = run(server.url, work, RetryPolicy(tries=8, first_pause=0.01))
        assert found == 7
        assert repeated in (3, 4)  # aiohttp itself repeats a request if a connection ended without an answer
        assert server.connections == 5


def test_a_disk_that_cannot_be_written_is_no_lost_connection(tmp_path: Path) -> None:
    with raw(complete(b"{}")) as server:
        with pytest.raises(ConfigError, match="cannot be written"):
            run(server.url, lambda client: client.download("/all", tmp_path / "no" / "body", lambda _: None))
        assert server.connections == 1
        with pytest.raises(ConfigError, match="No space left on device"):
            run(server.url, lambda client: client.download("/all", Path("/dev/full"), lambda _: None))


# A loop beside the caller's --------------------------------------------------------------------------------------


def test_the_loop_in_the_background_ends_what_is_going_on() -> None:
    background = BackgroundLoop()
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    going = background.submit(work())
    assert background.submit(asyncio.sleep(0, 5)).result() == 5
    background.close()
    background.close()
    assert ended == [True]
    assert going.cancelled()
