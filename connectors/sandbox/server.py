"""The server of all sandboxes: a provider's API on a local port, with simulated failures ("weather").

The module of each provider defines its `SandboxApi` (`connectors/sandbox/contract.py`); this module is shared by all
five. `connectors/sandbox/control.py` has the endpoints that show and change the state.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

from aiohttp import web

from tranship.connectors.errors import ConfigError
from tranship.connectors.hosts import is_loopback
from tranship.connectors.sandbox import seed
from tranship.connectors.sandbox.contract import Answer, Call, Problem, Route, answer
from tranship.connectors.sandbox.control import JSON_HEADERS, Control, Keys
from tranship.connectors.sandbox.modules import choose_switches, load_module
from tranship.connectors.sandbox.store import Record, Store, encode
from tranship.connectors.sandbox.weather import Sky, Spell, Weather
from tranship.schemas.counted import counted

_MOST_BYTES: Final = 64 << 20
"""Size of the body of a call."""
_MESSAGES: Final = {
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


# The server ------------------------------------------------------------------------------------------------------


class _Cut(Exception):
    """Raised when the connection is cut."""


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
        module = load_module(provider)
        self.provider = provider
        self.store = Store(provider, state)
        chosen = choose_switches(provider, module.SWITCHES, switches or {})
        self.api = module.api(self.store, chosen)
        self.sky = Sky(weather or Weather(), self.api.rate if chosen.get("limits") == "on" else {})
        self.keys = Keys()
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
        self.api.initialise()
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
        app = web.Application(middlewares=[_on_this_machine, self._with_provider_errors], client_max_size=_MOST_BYTES)
        for route in self.api.routes:
            app.router.add_route(route.method, route.path, self._endpoint(route))
        for method, path, handler in Control(self).routes():
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
                    reply = await self.api.around(call, lambda: self._execute(call, spell))
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

    async def _execute(self, call: Call, spell: Spell) -> Answer:
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
        message = self.api.messages.get(status) or _MESSAGES.get(status, "Error")
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
            body = [body[start : start + step] for start in range(0, len(body), step)]
        elif half:
            # Its length is unknown: the response is cut off within its second piece.
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
    async def _with_provider_errors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            reply: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            if request.path.startswith("/_sandbox/"):
                raise
            headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            wrong = self._refusal(error.status, headers)
            self._note(request, "(no such endpoint)", error.status, 0)
            body = wrong.body if isinstance(wrong.body, bytes) else b""
            return web.Response(status=wrong.status, headers={**JSON_HEADERS, **wrong.headers}, body=body)
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


@web.middleware
async def _on_this_machine(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer only to names of this machine: otherwise a web page could reach it under another host name."""
    with contextlib.suppress(ValueError):
        if is_loopback(urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""):
            reply: web.StreamResponse = await handler(request)
            return reply
    return web.Response(status=421, text="A sandbox is reached as 127.0.0.1 or localhost only.\n")


async def _cut(request: web.Request, spell: Spell) -> web.StreamResponse:
    """Close the connection without a response, or never respond; the returned response is not sent."""
    while spell.timeout and request.transport and not request.transport.is_closing():
        await asyncio.sleep(0.02)
    if request.transport:
        if spell.hard:
            # A linger time of zero makes the close a reset.
            connection: socket.socket = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.close()
    return web.Response()


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
        with _listening(load_module(provider).PORT if port is None else port) as listener:
            bound_port = listener.getsockname()[1]
            server = Server(
                provider, seeding=seeding, state=state, weather=weather, switches=switches, say=say if log else None
            )

            async def forever() -> None:
                await server.start(listener)
                for note in server.notes:
                    say(note)
                customers = counted(len(server.api.customers), "customer")
                say(f"{provider} sandbox on http://127.0.0.1:{bound_port}, {customers}. Stop it with Ctrl-C.")
                say(f"Try: {server.api.example.format(port=bound_port)}")
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
