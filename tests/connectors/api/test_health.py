"""`tranship doctor` against servers that misbehave: it ends soon, with one sentence, and repeats nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from support.accounts import PROVIDERS, USUAL
from support.served import Served, as_json, endless, raw, served
from tranship.connectors import lookup
from tranship.connectors.api import health
from tranship.connectors.api.health import check
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.registry import CONNECTORS

QUICK = RetryPolicy(
    tries=2, first_pause=0.001, longest_pause=0.002, total=0.3, silence=1, answer=0.3, answer_bytes=1 << 20
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED = gzip.compress(b"[" + b" " * (16 << 20) + b"]")


def answering(status: int, value: Any, **headers: str) -> AbstractContextManager[Served]:
    async def answer(_: web.Request) -> web.Response:
        return as_json(value, status, **headers)

    return served(answer)


def sized(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


ATTACKS: dict[str, Callable[[], AbstractContextManager[Served]]] = {
    "a body without end": lambda: endless(CHUNKED, b"10000\r\n" + b" " * 0x10000 + b"\r\n"),
    "a body that drips": lambda: endless(CHUNKED, b"1\r\n \r\n", pause=0.005),
    "a head that drips": lambda: endless(HEAD, b"X-A: b\r\n", pause=0.005),
    "compressed": lambda: raw(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED),
    "a redirect": lambda: answering(302, {}, Location="/again"),
    "nothing": lambda: raw(b""),
    "a reset": lambda: raw(None),
    "long header": lambda: raw(HEAD + b"X-Long: " + b"x" * (1 << 16) + b"\r\n\r\n"),
    "nested": lambda: raw(sized(b"[" * 100_000 + b"]" * 100_000)),
    "429 without end": lambda: answering(429, {}, **{"Retry-After": "0"}),
    "a long pause": lambda: answering(429, {}, **{"Retry-After": "1e300"}),
    "503 without end": lambda: answering(503, {}),
}


def findings(provider: str, server: Served, policy: RetryPolicy = QUICK) -> list[Any]:
    spec = lookup.provider_spec(CONNECTORS[provider])
    environment = {str(CONNECTORS[provider].key_variable): USUAL[provider].key}
    return check(
        spec, f"{provider}://{server.host}{USUAL[provider].address}", retry_policy=policy, environment=environment
    )


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_check_of_a_provider_that_misbehaves_ends_with_a_sentence(provider: str, attack: str) -> None:
    with ATTACKS[attack]() as server:
        last = findings(provider, server)[-1]
    assert last.state in ("fail", "warn") or attack == "nested"
    assert last.sentence
    assert len(last.sentence) < 600


def _values() -> Iterator[Any]:
    yield from (None, True, -1, 1e300, "", "x" * 1000, [], [1], [[]], {}, {"a": 1})
    yield from (
        {name: value} for name in ("data", "result", "customers", "total") for value in (None, -1, "x", [1], {})
    )


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_any_json_is_answered_in_words(provider: str) -> None:
    for value in _values():
        with raw(sized(json.dumps(value).encode())) as server:
            assert findings(provider, server), value


def test_the_limits_of_a_check_are_those_of_a_run_but_for_its_patience() -> None:
    usual = RetryPolicy()
    assert replace(health._PATIENCE, tries=usual.tries, total=usual.total, answer=usual.answer) == usual
    assert health._PATIENCE.total <= 60


def test_names_of_data_sources_are_cleaned_and_cut() -> None:
    key = USUAL["growpanel"].key
    sources = [{"id": f"{key[:12]}\x1b[31m {number}"} for number in range(2_000)]
    with answering(200, {"result": sources}) as server:
        sentence = next(found.sentence for found in findings("growpanel", server) if found.what == "data source")
    assert "does not exist; known data sources: ***" in sentence
    assert key[:12] not in sentence
    assert len(sentence) < 400
