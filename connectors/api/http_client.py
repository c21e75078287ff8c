"""The HTTP client of all providers: connection reuse, time-outs, retries, rate limits, readable errors.

A request that is safe to repeat (a read, or a write where the caller allows it) is retried after a lost connection, a
time-out, 408, 425, 429, 5xx, and a body that is truncated or not JSON. The pause has a random length (full jitter) and
its maximum doubles with each try. `Retry-After` is honoured as seconds, as a date, and in milliseconds
(`retry-after-ms`). After a 429 all requests of a client wait: the limit belongs to the key, not to the request.

The key is sent in a header and nowhere else. Redirects are not followed, so it never reaches another host, and it is
removed from messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity
from multidict import CIMultiDictProxy
from yarl import URL

from tranship.connectors.api.rate_limit import RateLimiter
from tranship.connectors.api.retry import RetryPolicy, retry_after
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused, Unreachable
from tranship.schemas.counted import counted

T = TypeVar("T")


IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The header by which a provider recognises a request that it has already processed."""


ANY: Final = "*"
"""The key of a limit on all methods together."""


_PASSING: Final = (408, 425, 429)
"""Statuses below 500 that are temporary."""


_IDLE_SECONDS: Final = 4.0
"""How long an idle connection is kept. Node servers close theirs after 5 s; a request must not run into that."""


_FIRST_TRIES: Final = 3
"""Tries to reach a host that has never answered: its name is more likely wrong than the host briefly down."""


@dataclass(frozen=True)
class Service:
    """A provider's API and the key to it."""

    title: str
    """The provider's name in messages."""
    base_url: str
    """The prefix of every path, without a trailing slash."""
    key_variable: str
    """The environment variable that the key was read from."""
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Sent with every request; contains the key."""
    advice: Mapping[int, str] = field(default_factory=dict)
    """Status → advice specific to this provider."""
    error_message: Callable[[bytes], str | None] = lambda _: None
    """Body of an error → the provider's own message."""
    per_second: Mapping[str, float] = field(default_factory=dict)
    """Method (or `ANY`) → calls per second, where the provider declares a limit or the user sets one."""

    @property
    def place(self) -> str:
        """Name and host, the beginning of each message: `MarginFront (api.marginfront.com)`."""
        return f"{self.title} ({urlsplit(self.base_url).netloc})"

    @property
    def is_local(self) -> bool:
        """Whether the API runs on this machine."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    def clean(self, text: str) -> str:
        """Make a text of the provider fit to quote: without the key, on one line, at most 200 characters."""
        line = " ".join(text.replace(self.key, "***").split())
        return line if len(line) <= 200 else f"{line[:199]}…"


@dataclass(frozen=True)
class HttpResponse:
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


@dataclass
class Traffic:
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


class _Retryable(Exception):
    """A request failed, perhaps temporarily; `error` is raised when the retries are used up."""

    def __init__(
        self, error: ConnectorError, *, after: float | None = None, throttled: bool = False, unseen: bool = False
    ) -> None:
        super().__init__()
        self.error = error
        self.after = after
        self.throttled = throttled
        self.unseen = unseen
        """No server was reached."""


class Unanswered(Exception):
    """A request got no usable answer; another try may succeed."""

    def __init__(self, error: ConnectorError, *, nothing_done: bool, throttled: bool, timed_out: bool) -> None:
        super().__init__()
        self.error = error
        """Raised if the caller gives up."""
        self.nothing_done = nothing_done
        """It was turned away (429) or reached no server. Otherwise it may have taken effect."""
        self.throttled = throttled
        self.timed_out = timed_out


@dataclass(frozen=True)
class _Call:
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
        self._session: aiohttp.ClientSession
        self._proxy = _proxy_for(service)
        self._paces: dict[str, RateLimiter] = {}
        self._open_at = 0.0
        self._paused_at = 0.0
        self._streak = 0

    async def __aenter__(self) -> HttpClient:
        self._paces = {name: RateLimiter(rate) for name, rate in self.service.per_second.items()}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.in_flight, keepalive_timeout=_IDLE_SECONDS, ttl_dns_cache=300, use_dns_cache=True
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.retry_policy.connect, sock_read=self.retry_policy.silence
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        # aiohttp resends a PUT or DELETE by itself if a kept connection is cut, and has no option against it. Whether
        # a request may be resent is decided here, or by the caller after looking up its effect.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

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
        except _Retryable as retryable:
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
                raise _Retryable(error) from error

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
            async with self._open_response(call) as response:
                with _open_for_writing(file) as write:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        self.traffic.received += len(chunk)
                        write(chunk)
                if not _may_be_json(response.headers, file):
                    raise _Retryable(self._not_json(call, response.headers))
            try:
                return await asyncio.to_thread(check, file)
            except Malformed as error:
                raise _Retryable(error) from error

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
        async with self._open_response(call) as response:
            body = await response.read()
            self.traffic.received += len(body)
            answer = HttpResponse(response.status, response.headers, body)
            if body and not answer.is_json:
                raise _Retryable(self._not_json(call, response.headers))
            return answer

    @contextlib.asynccontextmanager
    async def _open_response(self, call: _Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield a response with an accepted status, its body unread. Raises `_Retryable` or a ConnectorError."""
        if not call.has_turn:
            await self.wait_turn(call.method)
        sent_at = asyncio.get_running_loop().time()
        self.traffic.requests += 1
        url = URL(self.service.base_url + call.path, encoded=True).extend_query(call.params)
        try:
            async with self._session.request(
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
            ) as response:
                self.traffic.answered = True
                if not (200 <= response.status < 300 or response.status in call.expected):
                    raise await self._error_for(call, response, sent_at)
                self._streak = 0
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._connection_error(call, error) from error

    async def wait_turn(self, method: str) -> None:
        """Wait until a request may be sent: first for the common pause, then for the rate limit."""
        loop = asyncio.get_running_loop()
        while True:
            while (left := self._open_at - loop.time()) > 0:
                await asyncio.sleep(left)
            for name in (method, ANY):
                if pace := self._paces.get(name):
                    await pace.acquire()
            if self._open_at <= loop.time():
                return

    def _pause_all(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._paused_at = now
        self.traffic.waited += max(0.0, now + seconds - max(self._open_at, now))
        self._open_at = max(self._open_at, now + seconds)

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
            return self._jitter(tries - 1)

        retrying = tenacity.AsyncRetrying(
            # After a 429, or if no host was reached, nothing was done: any request is safe to repeat.
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, _Retryable) and (call.repeatable or error.throttled or error.unseen)
            ),
            stop=enough,
            wait=pause,
            reraise=True,
        )
        try:
            return await retrying(once)
        except _Retryable as retryable:
            if tries > 1:
                raise _with_tries(retryable.error, tries, loop.time() - began) from retryable.__cause__
            raise retryable.error from retryable.__cause__

    def _never_answered(self, retryable: _Retryable) -> bool:
        return retryable.unseen and not self.traffic.answered

    def _jitter(self, nth: int) -> float:
        longest = min(self.retry_policy.longest_pause, self.retry_policy.first_pause * 2 ** min(nth, 30))
        return random.uniform(0, longest)  # noqa: S311  (not for cryptography)

    # What went wrong -------------------------------------------------------------------------------------------

    async def _error_for(self, call: _Call, response: aiohttp.ClientResponse, sent_at: float) -> Exception:
        status = response.status
        if 300 <= status < 400:
            return Refused(self._redirected(call, response))
        body = await response.read()
        if status in _PASSING or status >= 500:
            return self._retry_later(call, response, sent_at)
        return Refused(self.refusal(status, body, call.method, call.label))

    def refusal(self, status: int, body: bytes, method: str, label: str) -> str:
        """Return the message for a 4xx."""
        service = self.service
        what = f"{service.place}: {method} {label} returned {_status_name(status)}"
        if status == 401:
            default = f"The key in {service.key_variable} is not accepted: set one that is valid for this host."
            return f"{what}. {service.advice.get(status, default)}"
        quoted = service.error_message(body)
        what += f" ({service.clean(quoted)})" if quoted else ""
        defaults = {
            403: f"The key in {service.key_variable} lacks the permission for this: use one that has it.",
            404: "Check the host and the address: nothing was found there.",
        }
        return f"{what}. {service.advice.get(status, defaults.get(status, 'Check the address and its options.'))}"

    def _redirected(self, call: _Call, response: aiohttp.ClientResponse) -> str:
        target = urlsplit(response.headers.get("Location", ""))
        to = f"{target.scheme}://{target.netloc}" if target.netloc else "another path"
        return (
            f"{self.service.place}: {call.method} {call.label} redirects to {self.service.clean(to)}. Redirects "
            "are not followed, as the key would be sent there. Give the final host."
        )

    def _retry_later(self, call: _Call, response: aiohttp.ClientResponse, sent_at: float) -> Exception:
        status = response.status
        throttled = status == 429
        after = retry_after(response.headers)
        said = f"{self.service.place}: {call.method} {call.label} returned {_status_name(status)}"
        if after is not None and after > self.retry_policy.longest_wait:
            return Unreachable(
                f"{said} and asks to wait {after:,.0f} s; the limit is {self.retry_policy.longest_wait:,.0f} s. Run "
                "the same command again after that time."
            )
        if throttled:
            self.traffic.throttled += 1
            # Of several requests refused at the same time only the first makes the next pause longer.
            if sent_at >= self._paused_at:
                self._streak += 1
                self._pause_all(self._jitter(self._streak - 1))
        if after is not None:
            self._pause_all(after)
        return _Retryable(Unreachable(f"{said}. Try again later."), after=after, throttled=throttled)

    def _connection_error(self, call: _Call, error: Exception) -> Exception:
        service, host = self.service, urlsplit(self.service.base_url).netloc
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
            return Unreachable(
                f"{service.place}: the certificate of {host} is not trusted, so nothing was sent. Check the host; "
                "behind a company proxy, set SSL_CERT_FILE to the proxy's certificate."
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return _Retryable(
                Unreachable(f"{service.place}: unknown host. Check its name and the network."),
                unseen=True,
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            why = error.os_error.strerror or "no answer"
            return _Retryable(
                Unreachable(f"{service.place}: cannot be reached ({why.lower()}). Check host, port and network."),
                unseen=True,
            )
        what = f"{service.place}: {call.method} {call.label}"
        if isinstance(error, TimeoutError):
            unseen = isinstance(error, aiohttp.ConnectionTimeoutError)
            limit = self.retry_policy.connect if unseen else self.retry_policy.silence
            return _Retryable(Unreachable(f"{what} got no answer within {limit:g} s. Try again later."), unseen=unseen)
        if isinstance(error, aiohttp.ClientPayloadError):
            return _Retryable(Unreachable(f"{what}: the response was cut off. Try again later."))
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return Refused(f"{service.place}: not a valid web address. Check the host.")
        if isinstance(error, aiohttp.ClientResponseError | aiohttp.http_exceptions.HttpProcessingError):
            return _Retryable(
                Malformed(
                    f"{what}: the response is not valid HTTP. Check host and port, and whether the server uses https."
                )
            )
        return _Retryable(Unreachable(f"{what}: the connection was lost. Try again later."))

    def _not_json(self, call: _Call, headers: Mapping[str, str]) -> Malformed:
        kind = headers.get("Content-Type", "").partition(";")[0].strip() or "an untyped body"
        return Malformed(
            f"{self.service.place}: {call.method} {call.label} returned {self.service.clean(kind)} instead of JSON. "
            "Check that the host is the provider's API, not a web page or a login page in front of it."
        )


def _retryable_of(state: tenacity.RetryCallState) -> _Retryable:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, _Retryable):
        raise TypeError("only retryable errors are retried")
    return error


def _with_tries(error: ConnectorError, tries: int, seconds: float) -> ConnectorError:
    return type(error)(f"{error} (Tried {tries} times in {seconds:,.0f} seconds.)")


def _status_name(status: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


@contextlib.contextmanager
def _open_for_writing(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Open a file for writing. Raises ConfigError, so that a full disk is not taken for a lost connection."""

    def unwritable(error: OSError) -> ConfigError:
        return ConfigError(f"{file}: cannot be written ({error.strerror}). Free some space.")

    def write(chunk: bytes) -> None:
        left = memoryview(chunk)
        try:
            while left:
                left = left[sink.write(left) :]
        except OSError as error:
            raise unwritable(error) from error

    try:
        # Unbuffered: an error shows when writing, not when closing.
        sink = file.open("wb", buffering=0)
    except OSError as error:
        raise unwritable(error) from error
    with sink:
        yield write


def _may_be_json(headers: CIMultiDictProxy[str], file: Path) -> bool:
    with file.open("rb") as opened:
        return HttpResponse(200, headers, opened.read(64)).is_json


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine: `localhost`, 127.0.0.0/8, ::1."""
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def _proxy_for(service: Service) -> str | None:
    """Return the proxy that the environment sets for this host; null for this machine."""
    parts = urlsplit(service.base_url)
    if service.is_local or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)
