"""A connection that is reset at a given byte: a relay in front of a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.served import listening


@dataclass
class Relay:
    """The point at which the next connection that sends `POST` is reset: after this number of bytes of its request, or
    of its answer."""

    url: str = ""
    of_request: int | None = None
    of_answer: int | None = None
    sizes: list[int] = field(default_factory=list)
    """Bytes of the request and of the answer of the last `POST` that was not reset."""


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    """Forward all bytes to this port of this machine."""
    seen = Relay()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _message(reader):
                is_post = request.startswith(b"POST")
                if is_post and seen.of_request is not None:
                    there.write(request[: seen.of_request])
                    await there.drain()
                    seen.of_request = None
                    break
                there.write(request)
                answer = await _message(there_reader)
                if is_post and seen.of_answer is not None:
                    writer.write(answer[: seen.of_answer])
                    await writer.drain()
                    seen.of_answer = None
                    break
                if is_post:
                    seen.sizes[:] = len(request), len(answer)
                writer.write(answer)
                await writer.drain()
        there.transport.abort()
        writer.transport.abort()

    with listening(connected) as seen.url:
        yield seen


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a request or an answer with a Content-Length; empty at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)
