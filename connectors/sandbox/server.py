"""The server of all sandboxes: a provider's API on a local port, simulated failures ("weather"), control endpoints.

The module of each provider defines its `SandboxApi`; this module is shared by all five. The endpoints under `/_sandbox`
show and change the state, and are not subject to weather or keys:

- `GET`, `PUT weather`: see `connectors/sandbox/weather.py`; a PUT resets everything that it does not set
- `GET`, `PUT keys`: `{"valid": [..] or null, "stops_after": {key: calls}}`; null means any well-formed key
- `GET state[?collection=]`: the records as the provider would list them, NDJSON; `POST` adds such records unchecked,
  even invalid ones; `DELETE` removes everything
- `GET counts`: records per collection, and calls per status
- `GET`, `DELETE calls`, `PUT calls {"record": true}`: each call, NDJSON; `worked` is the status of the work done, also
  if the response was lost (null: nothing was done), and `content` is a checksum of the body
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from zlib import crc32

import msgspec
from aiohttp import web

from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox import seed
from tranship.connectors.sandbox.store import Collection, Record, Store, decode, encode
from tranship.connectors.sandbox.weather import Sky, Spell, Weather
from tranship.schemas import providers as provider_schemas
from tranship.schemas.counted import counted

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_MOST_BYTES: Final = 256 << 20
_WORDS: Final = {
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    429: "Too many requests",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}
_PAGE_OF_HTML: Final = b"<!doctype html>\n<title>Maintenance</title>\n<h1>We will be back soon</h1>\n"


# The parts of a provider's module -----------------------------------------------------------------------------


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
        except (msgspec.DecodeError, UnicodeDecodeError):
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


@dataclass(frozen=True)
class Route:
    """An endpoint. Handlers run one after the other, so they need no locks."""

    method: str
    path: str
    handler: Handler
    lists: bool = False
    """Whether it lists customers: the weather may move records during the list."""
    open: bool = False
    """Whether it needs no key."""


async def straight(_: Call, go: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run the call without a wrapper."""
    return await go()


@dataclass(frozen=True)
class SandboxApi:
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
    found: Callable[[], None] = lambda: None
    """Creates the initial state (e.g. a first data source), also after everything was removed."""
    around: Callable[[Call, Callable[[], Awaitable[Answer]]], Awaitable[Answer]] = straight
    """Wraps each call, including latency and simulated 5xx: the place for idempotency keys."""
    from_address: Mapping[str, str] = field(default_factory=dict)
    """Fields that the address of a sandbox sets, for the seed."""
    rate: Mapping[str, int] = field(default_factory=dict)
    """Documented calls per minute by method; applied if the switch `limits` is `on`, unless the weather sets a rate."""
    retry_after: bool = True
    """Whether a 429 has a Retry-After header."""
    words: Mapping[int, str] = field(default_factory=dict)
    """Messages of the server's own errors, if they differ from the usual ones."""


class _Module(Protocol):
    """The module of a provider in this package."""

    PORT: int
    """The port if none is named."""
    SWITCHES: Mapping[str, tuple[str, ...]]
    """Name → choices, the default first."""

    def api(self, store: Store, switches: Mapping[str, str]) -> SandboxApi: ...


# The server ------------------------------------------------------------------------------------------------------


class _Cut(Exception):
    """The connection is cut."""


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    """Which keys are accepted."""

    valid: list[str] | None = None
    stops_after: dict[str, int] = {}

    def good(self, key: str) -> bool:
        """Count a call with this key; return whether the key is accepted."""
        if key in self.stops_after:
            self.stops_after[key] -= 1
            if self.stops_after[key] < 0:
                return False
        return self.valid is None or key in self.valid


class Server:
    """A provider's API; `start` and `stop` must run in one event loop.

    `seeding`: number of generated customers, or a CSV file with canonical columns; an existing state file is not seeded
    again. `switches`: those of the provider. `say`, if given, is called with a line for each call. Raises ConfigError
    for invalid arguments.
    """

    def __init__(
        self,
        provider: str,
        *,
        seeding: int | Path | None = None,
        state: Path | None = None,
        weather: Weather | None = None,
        switches: Mapping[str, str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        module = _module(provider)
        self.provider = provider
        self.store = Store(provider, state)
        chosen = _chosen(provider, module.SWITCHES, switches or {})
        self.api = module.api(self.store, chosen)
        self.sky = Sky(weather or Weather(), self.api.rate if chosen.get("limits") == "on" else {})
        self.keys = _Keys()
        self.statuses: Counter[str] = Counter()
        self.calls: deque[bytes] = deque(maxlen=1_000_000)
        self.recording = False
        self._say = say
        self._spare: Iterator[Record] | None = None
        self._runner: web.AppRunner | None = None
        self.notes: list[str] = []
        """Notes about the seed."""
        if self.store.open():
            if seeding is not None:
                self.notes = [f"{state} already has a state: the seed was ignored"]
            return
        self.api.found()
        if seeding is not None:
            with self.store.bulk():
                self.notes = seed.plant(provider, seeding, self.store, self._admitted, self.api.from_address)

    def _admitted(self, body: Record) -> str | None:
        try:
            self.api.admit(body)
        except Problem as problem:
            return f"{self.provider} answers {problem.status} to it"
        return None

    async def start(self, listener: socket.socket) -> None:
        """Serve the calls on this socket."""
        app = web.Application(middlewares=[self._in_words], client_max_size=_MOST_BYTES)
        for route in self.api.routes:
            app.router.add_route(route.method, route.path, self._endpoint(route))
        for method, path, handler in self._controls():
            app.router.add_route(method, f"/_sandbox/{path}", handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Close all connections and the state file."""
        if self._runner:
            await self._runner.cleanup()
        self.store.close()

    # A call

    def _endpoint(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            call = Call(request, route, await request.read() if request.body_exists else b"")
            spell = self.sky.spell(call.method, call.target, call.body)
            status = 0
            try:
                try:
                    reply = await self.api.around(call, lambda: self._go(call, spell))
                except Problem as problem:
                    reply = answer(problem.status, self.api.problem(problem))
                if spell.timeout or spell.cut_after:
                    raise _Cut
                status = 200 if spell.html else reply.status
                return await self._send(request, reply, spell)
            except _Cut:
                return await _cut(request, spell)
            finally:
                self._note(request, route.path, status, time.perf_counter() - began, call)

        return endpoint

    async def _go(self, call: Call, spell: Spell) -> Answer:
        wait = self.sky.over_rate(call.method)
        if spell.delay:
            await asyncio.sleep(spell.delay)
        if spell.cut_before or (spell.timeout and not spell.late):
            raise _Cut
        if wait is not None:
            return self._refusal(429, self.sky.retry_headers(429, self.api.retry_after, wait))
        if not spell.status:
            return self._work(call, spell)
        if spell.late and spell.status != 429:
            self._work(call, spell)
        return self._refusal(spell.status, self.sky.retry_headers(spell.status, self.api.retry_after))

    def _work(self, call: Call, spell: Spell) -> Answer:
        try:
            if not call.route.open:
                key = self.api.key(call)
                if key is None or not self.keys.good(key):
                    return self._refusal(401)
                self.api.allow(key, call)
            if call.route.lists and spell.chance:
                if spell.shift:
                    self.api.customers.move(spell.chance)
                if spell.churn:
                    self._churn(spell.chance)
            reply = call.route.handler(call)
        except Problem as problem:
            reply = answer(problem.status, self.api.problem(problem))
        call.worked = reply.status
        return reply

    def _churn(self, chance: random.Random) -> None:
        view = self.api.customers.view()
        if view:
            self.api.remove(self.api.customers.keys([chance.choice(view)])[0])
        if self._spare is None:
            self._spare = seed.spare(self.provider, self.api.from_address)
        self.api.admit(next(self._spare))

    def _refusal(self, status: int, headers: Mapping[str, str] | None = None) -> Answer:
        message = self.api.words.get(status) or _WORDS.get(status, "Error")
        return Answer(status, encode(self.api.problem(Problem(status, message))), headers or {})

    async def _send(self, request: web.Request, reply: Answer, spell: Spell) -> web.StreamResponse:
        kind = "application/json; charset=utf-8"
        body = reply.body
        if spell.html:
            reply, kind, body = Answer(200), "text/html; charset=utf-8", _PAGE_OF_HTML
        headers = {"Content-Type": kind, **reply.headers} if body != b"" else reply.headers
        if isinstance(body, bytes) and not spell.slow and not spell.half:
            return web.Response(status=reply.status, headers=headers, body=body)
        response = web.StreamResponse(status=reply.status, headers=headers)
        half = spell.half and body != b""
        if isinstance(body, bytes):
            response.content_length = len(body)
            body = body[: len(body) // 2] if half else body
            step = max(1, -(-len(body) // 10))
            body = [body[at : at + step] for at in range(0, len(body), step)]
        elif half:
            # Its length is unknown: it is cut within its second piece.
            body = (piece[: len(piece) // (place + 1)] for place, piece in enumerate(islice(body, 2)))
        await response.prepare(request)
        for piece in body:
            await response.write(piece)
            if spell.slow:
                await asyncio.sleep(self.sky.weather.slow_seconds / 10)
        if half:
            raise _Cut
        await response.write_eof()
        return response

    @web.middleware
    async def _in_words(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            reply: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            if request.path.startswith("/_sandbox/"):
                raise
            headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            wrong = self._refusal(error.status, headers)
            self._note(request, "(no such endpoint)", error.status, 0)
            body = wrong.body if isinstance(wrong.body, bytes) else b""
            return web.Response(status=wrong.status, headers={**_JSON, **wrong.headers}, body=body)
        return reply

    def _note(self, request: web.Request, path: str, status: int, seconds: float, call: Call | None = None) -> None:
        self.statuses[str(status or "none")] += 1
        if self.recording:
            note = {
                "at": datetime.now(UTC).isoformat(timespec="microseconds"),
                "method": request.method,
                "path": request.raw_path,
                "status": status or None,
                "worked": call.worked if call else None,
                "content": f"{crc32(call.body):08x}" if call else None,
                "seconds": round(seconds, 6),
                "idempotency_key": request.headers.get("Idempotency-Key"),
            }
            self.calls.append(encode(note))
        if self._say:
            # Numbers in the query are for pagination; anything else may be personal data.
            query = request.raw_path.partition("?")[2]
            shown = "".join(re.sub(r"=(?!\d{1,6}$).*", "=…", f" {part}") for part in query.split("&") if part)
            self._say(f"{request.method} {path}{shown} {status or 'no answer'} {seconds:.3f} s")

    # The control endpoint

    def _controls(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
        async def see_weather(_: web.Request) -> web.StreamResponse:
            return _json(self.sky.weather)

        async def set_weather(request: web.Request) -> web.StreamResponse:
            self.sky.weather = await _read(request, Weather)
            return _json(self.sky.weather)

        async def see_keys(_: web.Request) -> web.StreamResponse:
            return _json(self.keys)

        async def set_keys(request: web.Request) -> web.StreamResponse:
            self.keys = await _read(request, _Keys)
            return _json(self.keys)

        async def see_state(request: web.Request) -> web.StreamResponse:
            collection = self._collection(request)
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            bodies = collection.bodies(collection.view())
            for at in range(0, len(bodies), 1000):
                await response.write(b"".join(body + b"\n" for body in bodies[at : at + 1000]))
            await response.write_eof()
            return response

        async def add_state(request: web.Request) -> web.StreamResponse:
            collection = self._collection(request)
            try:
                for line in (await request.read()).splitlines():
                    collection.put(decode(line))
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise web.HTTPBadRequest(text=f"not a record: {error}") from None
            return _json({collection.name: len(collection)})

        async def clear(_: web.Request) -> web.StreamResponse:
            with self.store.bulk():
                self.store.clear()
                self.api.found()
            return web.Response(status=204)

        async def counts(_: web.Request) -> web.StreamResponse:
            records = {name: len(collection) for name, collection in self.store.collections.items()}
            return _json({**records, "calls": dict(self.statuses)})

        async def see_calls(_: web.Request) -> web.StreamResponse:
            return web.Response(body=b"".join(call + b"\n" for call in self.calls), content_type="application/x-ndjson")

        async def set_calls(request: web.Request) -> web.StreamResponse:
            self.recording = (await _read(request, _Recording)).record
            return _json({"record": self.recording})

        async def clear_calls(_: web.Request) -> web.StreamResponse:
            self.calls.clear()
            self.statuses.clear()
            return web.Response(status=204)

        return [
            ("GET", "weather", see_weather),
            ("PUT", "weather", set_weather),
            ("GET", "keys", see_keys),
            ("PUT", "keys", set_keys),
            ("GET", "state", see_state),
            ("POST", "state", add_state),
            ("DELETE", "state", clear),
            ("GET", "counts", counts),
            ("GET", "calls", see_calls),
            ("PUT", "calls", set_calls),
            ("DELETE", "calls", clear_calls),
        ]

    def _collection(self, request: web.Request) -> Collection:
        name = request.query.get("collection", self.api.customers.name)
        if name not in self.store.collections:
            raise web.HTTPNotFound(text=f"there are: {', '.join(self.store.collections)}")
        return self.store.collections[name]


class _Recording(msgspec.Struct, forbid_unknown_fields=True):
    record: bool


_Kind = TypeVar("_Kind")
_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}


def _json(value: Any) -> web.Response:
    return web.Response(headers=_JSON, body=encode(value))


async def _read(request: web.Request, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


async def _cut(request: web.Request, spell: Spell) -> web.StreamResponse:
    """Close the connection without a response, or never respond; the returned response is not sent."""
    while spell.timeout and request.transport and not request.transport.is_closing():
        await asyncio.sleep(0.02)
    if request.transport:
        if spell.hard:
            # A linger time of zero makes the close a reset.
            there: socket.socket = request.transport.get_extra_info("socket")
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.close()
    return web.Response()


def _chosen(provider: str, switches: Mapping[str, tuple[str, ...]], wanted: Mapping[str, str]) -> dict[str, str]:
    for name, choice in wanted.items():
        if choice not in switches.get(name, ()):
            known = "; ".join(f"{switch}: {' or '.join(choices)}" for switch, choices in switches.items()) or "none"
            raise ConfigError(f"{name}={choice}: the sandbox of {provider} has no such switch. Use one of: {known}")
    return {name: wanted.get(name, choices[0]) for name, choices in switches.items()}


def sandboxes() -> list[str]:
    """Return the providers that have a sandbox: the modules here that share a name with a provider schema."""
    schemas = {module.name for module in pkgutil.iter_modules(provider_schemas.__path__)}
    return sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name in schemas
    )


def _module(provider: str) -> _Module:
    if provider not in sandboxes():
        raise ConfigError(f"{provider}: there is no such sandbox. Use one of: {', '.join(sandboxes())}")
    module: _Module = importlib.import_module(f"tranship.connectors.sandbox.{provider}")
    return module


# Starting it -----------------------------------------------------------------------------------------------------


def serve(
    provider: str,
    port: int | None = None,
    seeding: int | Path | None = None,
    state: Path | None = None,
    weather: Weather | None = None,
    switches: Mapping[str, str] | None = None,
    *,
    log: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> None:
    """Run a sandbox until interrupted. `say` is called with its address and a command to try, and with `log` for each
    call.

    Raises ConfigError if the port is taken, or state, seed or switches cannot be used.
    """
    try:
        with _listening(_module(provider).PORT if port is None else port) as listener:
            at = listener.getsockname()[1]
            server = Server(
                provider, seeding=seeding, state=state, weather=weather, switches=switches, say=say if log else None
            )

            async def forever() -> None:
                await server.start(listener)
                for note in server.notes:
                    say(note)
                held = len(server.api.customers)
                say(f"{provider} sandbox on http://127.0.0.1:{at}, {counted(held, 'customer')}. Stop it with Ctrl-C.")
                say(f"Try: {server.api.example.format(port=at)}")
                try:
                    await asyncio.Event().wait()
                finally:
                    await server.stop()

            asyncio.run(forever())
    except KeyboardInterrupt:
        say("stopped")


def _listening(port: int) -> socket.socket:
    """Bind the port before a long seed, so that a port in use is reported first; early calls wait."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError:
        raise ConfigError(f"port {port} is in use. Choose another one: --port N") from None


@contextmanager
def running(provider: str, port: int = 0, **options: Any) -> Iterator[tuple[str, Server]]:
    """Run a sandbox in a thread; yield its URL and its server. `options` are those of `Server`."""
    listener = _listening(port)
    try:
        server = Server(provider, **options)
    except BaseException:
        listener.close()
        raise
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"{provider} sandbox", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(listener), loop).result()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
