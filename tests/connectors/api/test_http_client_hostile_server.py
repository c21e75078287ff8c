"""The HTTP client against servers that send endlessly: bytes, drips, headers, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from support.served import as_json, endless, listening, raw, served
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.http_errors import Unanswered
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.errors import ConnectorError, Malformed, Refused, Unreachable

POLICY = RetryPolicy(
    tries=2, first_pause=0.001, longest_pause=0.002, total=5, silence=60, answer_bytes=1 << 20, list_bytes=1 << 20
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def run(url: str, work: Callable[[HttpClient], Any], policy: RetryPolicy = POLICY) -> Any:
    async def all_of_it() -> Any:
        service = Service("Acme", url, "ACME_KEY", "secret", {"x-api-key": "secret"})
        async with HttpClient(service, policy) as client:
            return await work(client)

    return asyncio.run(all_of_it())


def get(client: HttpClient) -> Any:
    return client.request("GET", "/things")


def post(client: HttpClient) -> Any:
    return client.attempt("POST", "/things", body=b"{}")


def bomb(encoding: str) -> bytes:
    """16 MB of blanks in a few KB."""
    body = b"[" + b" " * (16 << 20) + b"]"
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    length = b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding.encode(), len(packed))
    return HEAD + length + packed


# Bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", [get, post])
def test_an_answer_without_end_is_not_read_on(work: Any) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with endless(CHUNKED, chunk) as server, pytest.raises(Malformed, match="larger than 1 MB, the limit"):
        run(server.url, work)
    assert server.sent < 64 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_answer_that_is_large_once_decompressed_is_not_read_on(encoding: str) -> None:
    with raw(bomb(encoding)) as server, pytest.raises(Malformed, match="larger than 1 MB, the limit"):
        run(server.url, get)


def test_a_list_in_one_answer_has_a_limit_as_well(tmp_path: Path) -> None:
    file = tmp_path / "body"
    with raw(bomb("gzip")) as server, pytest.raises(Malformed, match="larger than 1 MB, the limit"):
        run(server.url, lambda client: client.download("/all", file, lambda _: None))
    assert file.stat().st_size <= 1 << 20


def test_of_an_error_without_end_only_the_beginning_is_read() -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with endless(head, chunk) as server, pytest.raises(Refused, match="returned 400 Bad Request"):
        run(server.url, get)


# Time ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (CHUNKED, b"1\r\n \r\n"),
        (HEAD, b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["body", "headers", "continue", "error"],
)
@pytest.mark.parametrize("work", [get, post])
def test_an_answer_that_drips_ends(head: bytes, drop: bytes, work: Any) -> None:
    policy = replace(POLICY, answer=0.2)
    with endless(head, drop, pause=0.005) as server, pytest.raises((ConnectorError, Unanswered)) as ended:
        run(server.url, work, policy)
    error = ended.value.error if isinstance(ended.value, Unanswered) else ended.value
    assert "not complete within 0.2 s" in str(error) or "not valid HTTP" in str(error)
    assert not isinstance(ended.value, Unanswered) or not ended.value.nothing_done


@pytest.mark.slow
def test_a_list_in_one_answer_that_drips_ends(tmp_path: Path) -> None:
    policy = replace(POLICY, list=0.2)
    with endless(CHUNKED, b"1\r\n \r\n", pause=0.005) as server, pytest.raises(Unreachable, match=r"within 0\.2 s"):
        run(server.url, lambda client: client.download("/all", tmp_path / "body", lambda _: None), policy)


# Headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 " + b"x" * (1 << 16) + b"\r\n\r\n",
        HEAD + b"X-Long: " + b"x" * (1 << 16) + b"\r\n\r\n",
        HEAD + b"X-A: b\r\n" * 10_000 + b"\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Encoding: \xff\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\x00\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: //\xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"a" * 5000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED + b"ffffffffffffffffffff\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1;" + b"x" * (1 << 17) + b"\r\n \r\n0\r\n\r\n",
        CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
    ],
)
@pytest.mark.parametrize("work", [get, post])
def test_odd_heads_are_explained(head: bytes, work: Any) -> None:
    with raw(head) as server, contextlib.suppress(ConnectorError, Unanswered):
        run(server.url, work, replace(POLICY, silence=1))


# Refusals --------------------------------------------------------------------------------------------------------


def refusing(**headers: str) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return as_json({"message": "later"}, 429, **headers)

    return answer


def test_retry_after_zero_is_obeyed_at_once() -> None:
    """The pauses of this client are so long that the test would not end."""
    answers = iter([*repeat(429, 3), 200])

    async def answer(_: web.Request) -> web.Response:
        return as_json({}, next(answers), Retry_After="0")

    with served(answer) as server:
        assert run(server.url, get, RetryPolicy(first_pause=3600, longest_pause=3600, total=3600)).status == 200


@pytest.mark.parametrize("value", ["-5", "nan", "-inf", "soon", "", "Mon, 99 Foo 2020 00:00:00 GMT", "0x10", "1e-400"])
def test_a_retry_after_that_cannot_be_is_like_none(value: str) -> None:
    answers = iter([429, 200])

    async def answer(_: web.Request) -> web.Response:
        return as_json({}, next(answers), Retry_After=value)

    with served(answer) as server:
        assert run(server.url, get).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Sun, 06 Nov 1994 08:49:37 -9999",
    ],
)
def test_a_retry_after_in_the_past_asks_for_no_pause(value: str) -> None:
    answers = iter([503, 200])

    async def answer(_: web.Request) -> web.Response:
        return as_json({}, next(answers), Retry_After=value)

    with served(answer) as server:
        assert run(server.url, get).status == 200


@pytest.mark.parametrize("value", ["1e300", "inf", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_without_end_is_not_waited_for(value: str) -> None:
    with served(refusing(Retry_After=value)) as server, pytest.raises(Unreachable):
        run(server.url, get, replace(POLICY, total=0.2))


@pytest.mark.slow
def test_429_for_ever_with_retry_after_zero_is_no_storm() -> None:
    policy = replace(POLICY, first_pause=0.02, longest_pause=0.1, total=0.5)
    with served(refusing(Retry_After="0")) as server, pytest.raises(Unreachable, match="429"):
        run(server.url, get, policy)
    assert len(server.calls) < 200


# Answers that nobody has asked for -------------------------------------------------------------------------------


@contextlib.contextmanager
def talkative(unasked: bytes) -> Iterator[str]:
    """A server that, after each answer, sends something more."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = b'{"for":"%b"}' % head.split(b" ")[1]
                writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                await asyncio.sleep(0.01)
                writer.write(unasked)
        writer.close()

    with listening(connected) as url:
        yield url


@pytest.mark.parametrize(
    "unasked",
    [
        HEAD + b'Content-Length: 16\r\n\r\n{"for":"nobody"}',
        HEAD + b"Content-Length: 99\r\n\r\n{",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"garbage\r\n\r\n",
    ],
)
def test_what_a_server_sends_without_being_asked_is_no_answer(unasked: bytes) -> None:
    async def work(client: HttpClient) -> list[Any]:
        found = []
        for number in range(3):
            found.append((await client.request("GET", f"/{number}")).body)
            await asyncio.sleep(0.03)
        return [*found, client.traffic.repeated]

    with talkative(unasked) as url:
        assert run(url, work) == [b'{"for":"/0"}', b'{"for":"/1"}', b'{"for":"/2"}', 0]
