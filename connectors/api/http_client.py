"""The HTTP client of all providers: connection reuse, time-outs, retries, rate limits, readable errors.

A request that is safe to repeat (a read, or a write where the caller allows it) is retried after a lost connection, a
time-out, 408, 425, 429, 5xx, and a body that is truncated or not JSON. The pause has a random length (full jitter) and
its maximum doubles with each try. `Retry-After` is honoured as seconds, as a date, and in milliseconds
(`retry-after-ms`). After a 429 all requests of a client wait: the limit belongs to the key, not to the request.

A response is limited in bytes, once decompressed, and in time, however slowly it arrives.

The key is sent in a header and nowhere else. Redirects are not followed, so it never reaches another host. A response
that repeats it is read without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import tenacity
from msgspec import Struct
from msgspec.structs import replace
from multidict import CIMultiDictProxy
from yarl import URL

from tranship.connectors.api.connections import Connections
from tranship.connectors.api.http_errors import (
    Retryable,
    Unanswered,
    connection_error,
    not_json,
    redirect_refusal,
    refusal,
    status_name,
    too_large,
    too_slow,
    with_tries,
)
from tranship.connectors.api.rate_limit import RequestPacer
from tranship.connectors.api.retry import RetryPolicy, random_pause, retry_after
from tranship.connectors.api.service import Service
from tranship.connectors.errors import Malformed, Refused, Unreachable
from tranship.connectors.hosts import proxy_for
from tranship.connectors.known_secrets import KeyFilter
from tranship.connectors.local_failures import unwritable
from tranship.schemas.counted import counted

T = TypeVar("T")


IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The header by which a provider recognises a request that it has already processed."""


_PASSING: Final = (408, 425, 429)
"""Statuses below 500 that are temporary."""


_ERROR_BYTES: Final = 1 << 20
"""The largest body of an error that is read."""


_FIRST_TRIES: Final = 3
"""Tries to reach a host that has never answered: its name is more likely wrong than the host briefly down."""


class HttpResponse(Struct, frozen=True):
    """A complete response."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON, or is missing or generic and the body looks like JSON."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("", "text/plain", "application/octet-stream", "binary/octet-stream"):
            return self.body.lstrip()[:1] in (b"{", b"[")
        return kind in ("application/json", "text/json") or kind.endswith("+json")


class Traffic(Struct):
    """Counters of a client."""

    requests: int = 0
    repeated: int = 0
    throttled: int = 0
    """Responses with status 429."""
    waited: float = 0.0
    """Seconds during which all requests were paused."""
    received: int = 0
    """Bytes of response bodies."""
    answered: bool = False

    def notes(self) -> list[str]:
        """Describe the traffic in the summary, if anything is unusual."""
        if not self.throttled:
            return []
        refused = counted(self.throttled, "request")
        return [f"{refused} refused with 429 (too many requests), which cost {self.waited:,.0f} s"]


class _Call(Struct, frozen=True):
    method: str
    path: str
    params: Sequence[tuple[str, str]]
    body: bytes | None
    headers: Mapping[str, str]
    label: str
    repeatable: bool
    expected: frozenset[int]
    has_turn: bool = False
    """The caller has already waited for its turn."""


class HttpClient:
    """A client of one service with one key, on one event loop: `async with HttpClient(...) as client`."""

    def __init__(self, service: Service, retry_policy: RetryPolicy | None = None, in_flight: int = 8) -> None:
        self.service = service
        self.retry_policy = retry_policy or RetryPolicy()
        self.in_flight = in_flight
        self.traffic = Traffic()
        self._connections: Connections
        self._proxy = proxy_for(service.base_url)
        self._key_filter = KeyFilter(service.key)
        self._pacer: RequestPacer

    async def __aenter__(self) -> HttpClient:
        self._pacer = RequestPacer(self.service.per_second, self.retry_policy)
        self._connections = Connections(self.in_flight, self.retry_policy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        idempotency_key: str | None = None,
        repeatable: bool | None = None,
        expected: Collection[int] = (),
        label: str | None = None,
    ) -> HttpResponse:
        """Send a request, with retries, and return a response whose status is 2xx or one of `expected`.

        `path` is appended to the base URL unchanged: encode its parts (`urllib.parse.quote`). `body` is JSON. A GET is
        retried where that may help, any other method only if `repeatable`. An idempotency key does not make a request
        repeatable: a provider that has stored a 500 for the key replays it every time. `label` replaces the path in
        messages where the path contains personal data.

        Raises Refused (3xx, 4xx), Unreachable (no answer, 429, 5xx) or Malformed (a truncated response).
        """
        headers = {IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else {}
        call = self._call(method, path, params, body, headers, label, repeatable, expected)

        async def once() -> HttpResponse:
            return await self._try_once(call)

        return await self._with_retries(call, once)

    async def attempt(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        idempotency_key: str | None = None,
        expected: Collection[int] = (),
        label: str | None = None,
    ) -> HttpResponse:
        """Send a request once, without waiting (see `wait_turn`). Otherwise like `request`.

        Raises Unanswered where another try may succeed, otherwise Refused or Unreachable (asked to wait too long).
        """
        headers = {IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else {}
        call = self._call(method, path, params, body, headers, label, False, expected)
        try:
            return await self._try_once(replace(call, has_turn=True))
        except Retryable as retryable:
            raise Unanswered(
                retryable.error,
                nothing_done=retryable.throttled or retryable.unseen,
                throttled=retryable.throttled,
                timed_out=isinstance(retryable.__cause__, TimeoutError),
            ) from retryable.__cause__

    async def fetch(
        self,
        path: str,
        read: Callable[[HttpResponse], T],
        *,
        params: Sequence[tuple[str, str]] = (),
        expected: Collection[int] = (),
        label: str | None = None,
    ) -> T:
        """GET and return the result of `read`. The request is repeated where `read` raises Malformed."""
        call = self._call("GET", path, params, None, {}, label, True, expected)

        async def once() -> T:
            answer = await self._try_once(call)
            try:
                return read(answer)
            except Malformed as error:
                raise Retryable(error) from error

        return await self._with_retries(call, once)

    async def download(
        self,
        path: str,
        file: Path,
        check: Callable[[Path], T],
        *,
        params: Sequence[tuple[str, str]] = (),
        label: str | None = None,
    ) -> T:
        """GET a body of any size into `file` and return the result of `check`, which runs in a thread.

        The file is overwritten. The download starts again if it is cut off or `check` raises Malformed.
        """
        call = self._call("GET", path, params, None, {}, label, True, ())

        async def once() -> T:
            policy = self.retry_policy
            async with self._open_response(call, policy.list) as response:
                chunks = self._key_filter.chunks()
                with _open_for_writing(file) as write:
                    async for chunk in self._chunks(call, response, policy.list_bytes, "list_mb"):
                        write(chunks.next(chunk))
                    write(chunks.rest())
                if not _may_be_json(response.headers, file):
                    raise Retryable(
                        not_json(self.service, response.headers.get("Content-Type", ""), call.method, call.label)
                    )
            try:
                return await asyncio.to_thread(check, file)
            except Malformed as error:
                raise Retryable(error) from error

        return await self._with_retries(call, once)

    # One try ---------------------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        body: bytes | None,
        headers: Mapping[str, str],
        label: str | None,
        repeatable: bool | None,
        expected: Collection[int],
    ) -> _Call:
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        again = method in ("GET", "HEAD") if repeatable is None else repeatable
        return _Call(method, path, params, body, headers, label or path, again, frozenset(expected))

    async def _try_once(self, call: _Call) -> HttpResponse:
        async with self._open_response(call, self.retry_policy.answer) as response:
            body = self._key_filter.clean(await self._read(call, response))
            answer = HttpResponse(response.status, response.headers, body)
            if body and not answer.is_json:
                raise Retryable(
                    not_json(self.service, response.headers.get("Content-Type", ""), call.method, call.label)
                )
            return answer

    async def _read(self, call: _Call, response: aiohttp.ClientResponse) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(call, response, self.retry_policy.answer_bytes)])

    async def _read_error(self, call: _Call, response: aiohttp.ClientResponse) -> bytes:
        """Read the body of an error, so that the connection can be used again; nothing of a large one."""
        with contextlib.suppress(Malformed):
            return b"".join([chunk async for chunk in self._chunks(call, response, _ERROR_BYTES)])
        return b""

    async def _chunks(
        self, call: _Call, response: aiohttp.ClientResponse, most: int, option: str = "answer_mb"
    ) -> AsyncIterator[bytes]:
        """Yield a body, decompressed piece by piece. Raises Malformed once it has more than `most` bytes."""
        received = 0
        async for chunk in response.content.iter_chunked(1 << 20):
            received += len(chunk)
            self.traffic.received += len(chunk)
            if received > most:
                raise too_large(self.service, most, option, call.method, call.label)
            yield chunk

    @contextlib.asynccontextmanager
    async def _open_response(self, call: _Call, seconds: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield a response with an accepted status, its body unread; `seconds` limit the whole response.

        Raises `Retryable` or a ConnectorError.
        """
        if not call.has_turn:
            await self.wait_turn(call.method)
        sent_at = asyncio.get_running_loop().time()
        self.traffic.requests += 1
        url = URL(self.service.base_url + call.path, encoded=True).extend_query(call.params)
        deadline = asyncio.timeout(seconds)
        try:
            async with (
                deadline,
                self._connections.session.request(
                    call.method,
                    url,
                    data=call.body,
                    # Not as headers of the session: aiohttp sends those to a proxy, too.
                    headers={
                        "Accept": "application/json",
                        "User-Agent": "tranship",
                        **self.service.headers,
                        **call.headers,
                    },
                    allow_redirects=False,
                    proxy=self._proxy,
                ) as response,
            ):
                self.traffic.answered = True
                if not (200 <= response.status < 300 or response.status in call.expected):
                    raise await self._error_for(call, response, sent_at)
                self._pacer.accepted()
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            if deadline.expired():
                raise Retryable(too_slow(self.service, seconds, call.method, call.label)) from error
            self._connections.note(error)
            raise connection_error(self.service, self.retry_policy, error, call.method, call.label) from error

    async def wait_turn(self, method: str) -> None:
        """Wait until a request may be sent: first for the common pause, then for the rate limit."""
        await self._pacer.wait_turn(method)

    # Several tries ---------------------------------------------------------------------------------------------

    async def _with_retries(self, call: _Call, once: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        tries = 0

        def enough(state: tenacity.RetryCallState) -> bool:
            nonlocal tries
            retryable = _retryable_of(state)
            tries += not retryable.throttled
            allowed = (
                min(self.retry_policy.tries, _FIRST_TRIES)
                if self._never_answered(retryable)
                else self.retry_policy.tries
            )
            return tries >= allowed or loop.time() - began + (retryable.after or 0) > self.retry_policy.total

        def pause(state: tenacity.RetryCallState) -> float:
            retryable = _retryable_of(state)
            self.traffic.repeated += 1
            # The common pause is waited for before the next request is sent.
            if retryable.throttled or retryable.after is not None:
                return 0.0
            return random_pause(self.retry_policy, tries - 1)

        retrying = tenacity.AsyncRetrying(
            # After a 429, or if no host was reached, nothing was done: any request is safe to repeat.
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, Retryable) and (call.repeatable or error.throttled or error.unseen)
            ),
            stop=enough,
            wait=pause,
            reraise=True,
        )
        try:
            return await retrying(once)
        except Retryable as retryable:
            if tries > 1:
                raise with_tries(retryable.error, tries, loop.time() - began) from retryable.__cause__
            raise retryable.error from retryable.__cause__

    def _never_answered(self, retryable: Retryable) -> bool:
        return retryable.unseen and not self.traffic.answered

    # Errors ---------------------------------------------------------------------------------------------------

    async def _error_for(self, call: _Call, response: aiohttp.ClientResponse, sent_at: float) -> Exception:
        status = response.status
        if 300 <= status < 400:
            return Refused(
                redirect_refusal(self.service, response.headers.get("Location", ""), call.method, call.label)
            )
        body = await self._read_error(call, response)
        if status in _PASSING or status >= 500:
            return self._retry_later(call, response, sent_at)
        return Refused(refusal(self.service, status, body, call.method, call.path, call.label))

    def _retry_later(self, call: _Call, response: aiohttp.ClientResponse, sent_at: float) -> Exception:
        status = response.status
        throttled = status == 429
        after = retry_after(response.headers)
        message = f"{self.service.place}: {call.method} {call.label} returned {status_name(status)}"
        if after is not None and after > self.retry_policy.longest_wait:
            return Unreachable(
                f"{message} and asks to wait {after:,.0f} s; the limit is {self.retry_policy.longest_wait:,.0f} s. Run "
                "the same command again after that time."
            )
        if throttled:
            self.traffic.throttled += 1
            self.traffic.waited += self._pacer.throttled(sent_at, after)
        elif after is not None:
            self.traffic.waited += self._pacer.pause_all(after)
        return Retryable(Unreachable(f"{message}. Try again later."), after=after, throttled=throttled)


def _retryable_of(state: tenacity.RetryCallState) -> Retryable:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, Retryable):
        raise TypeError("only retryable errors are retried")
    return error


@contextlib.contextmanager
def _open_for_writing(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Open a file for writing. Raises ConfigError, so that a full disk is not mistaken for a lost connection."""

    def write(chunk: bytes) -> None:
        left = memoryview(chunk)
        try:
            while left:
                left = left[sink.write(left) :]
        except OSError as error:
            raise unwritable(error, file) from error

    try:
        # Unbuffered: an error shows when writing, not when closing.
        sink = file.open("wb", buffering=0)
    except OSError as error:
        raise unwritable(error, file) from error
    with sink:
        yield write


def _may_be_json(headers: CIMultiDictProxy[str], file: Path) -> bool:
    with file.open("rb") as opened:
        return HttpResponse(200, headers, opened.read(64)).is_json
