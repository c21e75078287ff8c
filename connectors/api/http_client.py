"""One HTTP client for every provider: connections reused, time-outs, retry, one pace for all workers, errors in words.

A request that is safe to repeat (reading; writing where the caller says so) is repeated after a lost connection, a
time-out, 408, 425, 429, 5xx and a body that is cut or no JSON, after a pause of random length (full jitter) that
doubles from try to try. `Retry-After` is obeyed in its forms: seconds, date, and milliseconds in
`retry-after-ms`. After a 429 all requests of a client wait together: the limit is the key's and not the request's.

A key stands in a header and nowhere else: redirects are not followed, so it never reaches another host, and what is
said in messages is searched for it.
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

T = TypeVar("T")


IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The header by which a provider knows a request it has already carried out."""


ANY: Final = "*"
"""Among the limits of methods: of all calls together."""


_PASSING: Final = (408, 425, 429)
"""Statuses below 500 that say: later."""


_IDLE_SECONDS: Final = 4.0
"""How long an idle connection is kept: Node's servers close theirs after 5 s, and a request must not meet that."""


_FIRST_TRIES: Final = 3
"""Tries to reach a host that has not answered once: it is rather named wrongly than down for a moment."""


@dataclass(frozen=True)
class Service:
    """Who is talked to, and in whose name."""

    title: str
    """The provider, for people."""
    base_url: str
    """What every path is put behind, without a slash at its end."""
    key_variable: str
    """The environment variable the key is from."""
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Sent with every request; the key stands here."""
    advice: Mapping[int, str] = field(default_factory=dict)
    """Status → what to try, where the provider has something of its own to say."""
    error_message: Callable[[bytes], str | None] = lambda _: None
    """The provider's own words in the body of an error."""
    per_second: Mapping[str, float] = field(default_factory=dict)
    """Method (or `ANY`) → calls a second, where the provider declares a limit or the user sets one."""

    @property
    def place(self) -> str:
        """Who and where, as messages begin: `MarginFront (api.marginfront.com)`."""
        return f"{self.title} ({urlsplit(self.base_url).netloc})"

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's loopback."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    def clean(self, text: str) -> str:
        """A text of theirs as a message may quote it: without the key, on one line, not long."""
        line = " ".join(text.replace(self.key, "***").split())
        return line if len(line) <= 200 else f"{line[:199]}…"


@dataclass(frozen=True)
class HttpResponse:
    """What came back, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON, or says nothing and looks like it."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("", "text/plain", "application/octet-stream", "binary/octet-stream"):
            return self.body.lstrip()[:1] in (b"{", b"[")
        return kind in ("application/json", "text/json") or kind.endswith("+json")


@dataclass
class Traffic:
    """What a client has seen so far."""

    requests: int = 0
    repeated: int = 0
    throttled: int = 0
    """Answers 429."""
    waited: float = 0.0
    """Seconds that all requests waited together."""
    received: int = 0
    """Bytes of bodies."""
    answered: bool = False

    def notes(self) -> list[str]:
        """What a person may want to know of it."""
        if not self.throttled:
            return []
        return [
            f"{self.throttled:,} requests were answered 429 (too many); {self.waited:,.0f} seconds were waited for that"
        ]


class _Retryable(Exception):
    """A request failed in a way that may pass; `error` is what is raised when it does not."""

    def __init__(
        self, error: ConnectorError, *, after: float | None = None, throttled: bool = False, unseen: bool = False
    ) -> None:
        super().__init__()
        self.error = error
        self.after = after
        self.throttled = throttled
        self.unseen = unseen
        """Nothing was reached that could answer."""


class Unanswered(Exception):
    """One try of a request came to nothing that says what became of it; it may go well another time."""

    def __init__(self, error: ConnectorError, *, nothing_done: bool, throttled: bool, timed_out: bool) -> None:
        super().__init__()
        self.error = error
        """What to tell people if it is given up."""
        self.nothing_done = nothing_done
        """It was turned away (429), or reached nobody. Otherwise it may have done its work."""
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
    """Its turn was waited for before."""


class HttpClient:
    """Talks to one service with one key. Lives on one event loop: `async with HttpClient(...) as client`."""

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
        # aiohttp sends a PUT or DELETE again by itself if a connection that was kept is cut; there is no option for it.
        # Whether something may be sent again is decided here, or by whoever looks first what came of it.
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
        """One request and its answer: any 2xx, or one of the statuses `expected`.

        `path` is put behind the service's base URL as it stands: encode what goes into it (`urllib.parse.quote`).
        `body` is JSON. A GET is repeated where that may help; anything else only if `repeatable`, which an
        idempotency key makes it in the eyes of the provider, not here: a stored 500 is played back for ever.
        `label` stands for the path in messages where the path holds a customer's data.

        Raises Refused (3xx, 4xx), Unreachable (no answer, 429, 5xx) or Malformed (an answer that breaks off).
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
        """One request, sent once and at once: see `turn`. Else as `request`.

        Raises Unanswered where another try may go well, otherwise Refused or Unreachable (asked to wait for too long).
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
        """GET, and what `read` makes of the answer. Where `read` raises Malformed the request is repeated."""
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
        """GET a body of any size into `file`, and what `check` makes of it, in a thread of its own.

        What was there is written over; after a cut, or where `check` raises Malformed, it begins anew.
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
        """A response with a status that is wanted, its body unread. Raises `_Again` or a ConnectorError."""
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
                # Not the session's: aiohttp sends those to a proxy, too.
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
        """Wait until a request may go out: the pause of all, then the pace."""
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
        counted = 0

        def enough(state: tenacity.RetryCallState) -> bool:
            nonlocal counted
            retryable = _retryable_of(state)
            counted += not retryable.throttled
            allowed = (
                min(self.retry_policy.tries, _FIRST_TRIES)
                if self._never_answered(retryable)
                else self.retry_policy.tries
            )
            return counted >= allowed or loop.time() - began + (retryable.after or 0) > self.retry_policy.total

        def pause(state: tenacity.RetryCallState) -> float:
            retryable = _retryable_of(state)
            self.traffic.repeated += 1
            # The pause of all requests is waited for before the next one goes out.
            if retryable.throttled or retryable.after is not None:
                return 0.0
            return self._jitter(counted - 1)

        retrying = tenacity.AsyncRetrying(
            # A 429, or a host that was not reached, has done nothing: that is safe to repeat whatever it was.
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
            if counted > 1:
                raise _with_tries(retryable.error, counted, loop.time() - began) from retryable.__cause__
            raise retryable.error from retryable.__cause__

    def _never_answered(self, retryable: _Retryable) -> bool:
        return retryable.unseen and not self.traffic.answered

    def _jitter(self, nth: int) -> float:
        longest = min(self.retry_policy.longest_pause, self.retry_policy.first_pause * 2 ** min(nth, 30))
        return random.uniform(0, longest)  # noqa: S311  (a pause is no secret)

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
        """What a 4xx means, in words."""
        service = self.service
        what = f"{service.place}: {method} {label} was answered {_status_name(status)}"
        if status == 401:
            default = f"The key in {service.key_variable} is not accepted: set one that is valid for this host."
            return f"{what}. {service.advice.get(status, default)}"
        told = service.error_message(body)
        what += f" ({service.clean(told)})" if told else ""
        defaults = {
            403: f"The key in {service.key_variable} has not the right for this: set one that has.",
            404: "Check host and address: what is asked for is not there.",
        }
        return f"{what}. {service.advice.get(status, defaults.get(status, 'Check the address and its options.'))}"

    def _redirected(self, call: _Call, response: aiohttp.ClientResponse) -> str:
        target = urlsplit(response.headers.get("Location", ""))
        to = f"{target.scheme}://{target.netloc}" if target.netloc else "another path"
        return (
            f"{self.service.place}: {call.method} {call.label} is redirected to {self.service.clean(to)}, and "
            "redirects are not followed: the key would go there. Name the host that answers itself."
        )

    def _retry_later(self, call: _Call, response: aiohttp.ClientResponse, sent_at: float) -> Exception:
        status = response.status
        throttled = status == 429
        after = retry_after(response.headers)
        said = f"{self.service.place}: {call.method} {call.label} was answered {_status_name(status)}"
        if after is not None and after > self.retry_policy.longest_wait:
            return Unreachable(
                f"{said}, and asks to wait {after:,.0f} seconds; at most {self.retry_policy.longest_wait:,.0f} are "
                "waited here. Run the same command after that time."
            )
        if throttled:
            self.traffic.throttled += 1
            # Of several requests that met the same closed gate only the first makes the next pause longer.
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
                f"{service.place}: {host} shows no certificate that is trusted here, so nothing was sent. Check the "
                "host; behind a company's proxy, set SSL_CERT_FILE to its certificate."
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return _Retryable(
                Unreachable(f"{service.place}: no such host is known here. Check its name and the network."),
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
            return _Retryable(
                Unreachable(f"{what} was not answered within {limit:g} seconds. Try again later."), unseen=unseen
            )
        if isinstance(error, aiohttp.ClientPayloadError):
            return _Retryable(Unreachable(f"{what}: the answer broke off in the middle. Try again later."))
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return Refused(f"{service.place}: this is no address of a web server. Check the host.")
        if isinstance(error, aiohttp.ClientResponseError | aiohttp.http_exceptions.HttpProcessingError):
            return _Retryable(
                Malformed(f"{what}: what came back is no HTTP. Check host and port, and whether it speaks https.")
            )
        return _Retryable(Unreachable(f"{what}: the connection was lost. Try again later."))

    def _not_json(self, call: _Call, headers: Mapping[str, str]) -> Malformed:
        kind = headers.get("Content-Type", "").partition(";")[0].strip() or "no type"
        return Malformed(
            f"{self.service.place}: {call.method} {call.label} was answered with {self.service.clean(kind)} where JSON "
            "was to come. Check that the host is the provider's API and not a web page or a login in front of it."
        )


def _retryable_of(state: tenacity.RetryCallState) -> _Retryable:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, _Retryable):
        raise TypeError("only a fault that may pass is tried again")
    return error


def _with_tries(error: ConnectorError, tries: int, seconds: float) -> ConnectorError:
    return type(error)(f"{error} (Tried {tries} times in {seconds:,.0f} seconds.)")


def _status_name(status: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


@contextlib.contextmanager
def _open_for_writing(file: Path) -> Iterator[Callable[[bytes], None]]:
    """A file to write to; a disk that is full is no lost connection. Raises ConfigError."""

    def unwritable(error: OSError) -> ConfigError:
        return ConfigError(f"{file}: cannot be written ({error.strerror}). Make room there.")

    def write(chunk: bytes) -> None:
        left = memoryview(chunk)
        try:
            while left:
                left = left[sink.write(left) :]
        except OSError as error:
            raise unwritable(error) from error

    try:
        # Unbuffered: what cannot be written shows where it is written, and not when the file is closed.
        sink = file.open("wb", buffering=0)
    except OSError as error:
        raise unwritable(error) from error
    with sink:
        yield write


def _may_be_json(headers: CIMultiDictProxy[str], file: Path) -> bool:
    with file.open("rb") as opened:
        return HttpResponse(200, headers, opened.read(64)).is_json


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as it is named: `localhost`, 127.0.0.0/8, ::1."""
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def _proxy_for(service: Service) -> str | None:
    """The proxy that the environment names for this host, as other programs find it. None for this machine."""
    parts = urlsplit(service.base_url)
    if service.is_local or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)
