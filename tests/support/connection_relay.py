"""A connection that is reset at a given byte, or closed without notice: a relay in front of a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.served import listening


@dataclass
class Relay:
    """Where a connection is reset: at the request of this number, counted from 0, after this number of bytes of it or of
    its answer; null never."""

    url: str = ""
    at: int = 0
    of_request: int | None = None
    of_answer: int | None = None
    closes: bool = False
    """Close each connection after an answer, without saying so in it, and not before the next request may be sent."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Bytes of each request that was not reset, and of its answer."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def reset(self, at: int, *, of_request: int | None = None, of_answer: int | None = None) -> None:
        """Reset the connection of this request, counted from now on."""
        self.sizes.clear()
        self.at, self.of_request, self.of_answer = at, of_request, of_answer

    @property
    def is_done(self) -> bool:
        return self.of_request is self.of_answer is None


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    """Forward all bytes to this port of this machine."""
    seen = Relay()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _message(reader):
                is_due = len(seen.sizes) == seen.at
                if is_due and seen.of_request is not None:
                    there.write(request[: seen.of_request])
                    await there.drain()
                    seen.of_request = None
                    break
                there.write(request)
                answer = await _message(there_reader)
                if is_due and seen.of_answer is not None:
                    writer.write(answer[: seen.of_answer])
                    await writer.drain()
                    seen.of_answer = None
                    break
                seen.sizes.append((len(request), len(answer)))
                writer.write(answer)
                await writer.drain()
                if seen.closes:
                    await asyncio.sleep(0)
                    writer.close()
                    break
        there.transport.abort()
        if not seen.closes:
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
