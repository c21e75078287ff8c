"""The contract between a sandbox's server and the module of a provider: calls, responses, endpoints, and the API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Struct, field

from tranship.connectors.sandbox.store import Collection, Record, decode, encode

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Problem(Exception):
    """An error response. `details` is passed to the provider's `SandboxApi.problem`."""

    def __init__(self, status: int, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details


class Answer(NamedTuple):
    """A response. `body` is JSON, or pieces of it that are streamed; empty for no body."""

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = {}


def answer(status: int, value: Any) -> Answer:
    """Return a response with one JSON value."""
    return Answer(status, encode(value))


class Call:
    """A request with its complete body. `params` are the decoded parts of the path in braces."""

    __slots__ = ("_request", "body", "method", "params", "route", "worked")

    def __init__(self, request: web.Request, route: Route, body: bytes) -> None:
        self._request, self.route, self.body = request, route, body
        self.method = request.method
        self.params: Mapping[str, str] = request.match_info
        self.worked: int | None = None
        """Status returned by the handler, even if the response was lost; null if the handler was not called."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, case-insensitive."""
        return self._request.headers

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return self._request.raw_path

    def query(self, name: str) -> str | None:
        """Return the first value of a query parameter, or null."""
        return self._request.query.get(name)

    def queries(self, name: str) -> list[str]:
        """Return all values of a query parameter."""
        return self._request.query.getall(name, [])

    def json(self) -> Any:
        """Return the body. Raises Problem 400 if it is not JSON."""
        try:
            return decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Problem(400, "The body is not valid JSON") from None

    def object(self) -> Record:
        """Return the body, a JSON object. Raises Problem 400 if it is not."""
        value = self.json()
        if not isinstance(value, dict):
            raise Problem(400, "The body must be a JSON object")
        return value

    def form(self) -> dict[str, bytes]:
        """Return the fields of a multipart form, empty for any other body."""
        head = f"Content-Type: {self.headers.get('Content-Type', '')}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        found = {}
        for part in message.iter_parts() if message.is_multipart() else ():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                found[name] = content
        return found


Handler = Callable[[Call], Answer]


class Route(Struct, frozen=True):
    """An endpoint. Handlers run one after the other, so they need no locks."""

    method: str
    path: str
    handler: Handler
    lists: bool = False
    """Whether it lists customers: the weather may move records during the list."""
    open: bool = False
    """Whether it needs no key."""


async def straight(_: Call, execute: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run the call without a wrapper."""
    return await execute()


class SandboxApi(Struct, frozen=True):
    """The API of one provider, returned by `api(store, switches)` of the module of its name."""

    customers: Collection
    routes: Sequence[Route]
    key: Callable[[Call], str | None]
    """Returns the well-formed key of the call, null if there is none (401)."""
    allow: Callable[[str, Call], None]
    """Raises Problem if this kind of key is not allowed to make the call."""
    problem: Callable[[Problem], Any]
    """Returns the JSON value of the provider's error response."""
    admit: Callable[[Record], object]
    """Creates a customer from the body of a POST, by the provider's rules; also used for the seed."""
    example: str
    """A command that reads from it; `{port}` is replaced."""
    remove: Callable[[str], object]
    """Deletes or archives the customer with this key, depending on the provider."""
    initialise: Callable[[], None] = lambda: None
    """Creates the initial state (e.g. a first data source), also after everything was removed."""
    around: Callable[[Call, Callable[[], Awaitable[Answer]]], Awaitable[Answer]] = straight
    """Wraps each call, including latency and simulated 5xx: the place for idempotency keys."""
    from_address: Mapping[str, str] = field(default_factory=dict)
    """Fields that the address of a sandbox sets, for the seed."""
    rate: Mapping[str, int] = field(default_factory=dict)
    """Documented calls per minute by method; applied if the switch `limits` is `on`, unless the weather sets a rate."""
    retry_after: bool = True
    """Whether a 429 has a Retry-After header."""
    messages: Mapping[int, str] = field(default_factory=dict)
    """Messages of the server's own errors, if they differ from the usual ones."""
