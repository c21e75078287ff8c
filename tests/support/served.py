"""Small web servers for tests of HTTP clients: scripted answers, and faults that no web framework would produce."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Served:
    """A running server: its address, and the calls that it received."""

    url: str = ""
    calls: list[str] = field(default_factory=list)
    """Method and target of each call, as received."""
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    """For a raw server."""
    peers: set[Any] = field(default_factory=set)
    """Other ends of the connections."""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")


@contextlib.contextmanager
def served(handler: Handler, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[Served]:
    """Run a server on loopback that answers every call with the result of `handler`; `options` are those of
    AppRunner."""
    seen = Served()

    async def noted(request: web.Request) -> web.StreamResponse:
        seen.calls.append(f"{request.method} {request.path_qs}")
        seen.times.append(asyncio.get_running_loop().time())
        seen.headers.append(dict(request.headers))
        seen.bodies.append(await request.read())
        seen.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        return await handler(request)

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", noted)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True, **options)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        seen.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    with _loop() as loop:
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield seen
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()


@contextlib.contextmanager
def raw(*answers: bytes | None) -> Iterator[Served]:
    """Run a server that writes these bytes, one answer per connection, and closes it; None resets it. The last one is
    repeated."""
    seen = Served()
    left = list(answers)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        answer = left.pop(0) if len(left) > 1 else left[0]
        head = await reader.read(1)
        # The first byte of a TLS handshake: such a client is answered at once, in plain text.
        while head[:1] not in (b"", b"\x16") and not head.endswith(b"\r\n\r\n") and (line := await reader.readline()):
            head += line
        seen.calls.append(head.decode("latin-1"))
        if answer is None:
            writer.transport.abort()
            return
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()

    with listening(connected) as seen.url:
        yield seen


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """Yield an address at which no server listens, or can listen meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def listening(connected: Connected, pause: float = 0) -> Iterator[str]:
    """Yield the address of a server on loopback that passes each connection to `connected`, with this time-out."""
    with _loop() as loop:
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", 0), loop).result()
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(server.close)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02 + pause), loop).result()


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def as_json(value: Any, status: int = 200, **headers: str) -> web.Response:
    """Return a JSON answer; `_` in a header's name means `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return web.Response(body=json.dumps(value), status=status, content_type="application/json", headers=named)


def complete(body: bytes, kind: str = "application/json") -> bytes:
    """Return an HTTP answer as bytes, the last one of its connection."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (kind.encode(), len(body)) + body


@dataclass
class Endless(Served):
    """A server whose answer never ends; `sent` is the number of bytes sent."""

    sent: int = 0
    stopped: bool = False


@contextlib.contextmanager
def endless(head: bytes, piece: bytes, pause: float = 0) -> Iterator[Endless]:
    """Run a server that answers each connection with `head`, and then with the same piece until it is closed."""
    seen = Endless()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(head)
            while not writer.is_closing() and not seen.stopped:
                writer.write(piece)
                await writer.drain()
                seen.sent += len(piece)
                await asyncio.sleep(pause)
        writer.transport.abort()

    with listening(connected, pause) as seen.url:
        try:
            yield seen
        finally:
            seen.stopped = True
