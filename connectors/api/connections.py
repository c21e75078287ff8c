"""The connections of a client to its host."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp

from tranship.connectors.api.retry import RetryPolicy

_IDLE_SECONDS: Final = 4.0
"""Time for which an idle connection is kept. Node servers close theirs after 5 s, possibly during a request."""


class _Connector(aiohttp.TCPConnector):
    """Uses no idle connection on which bytes have arrived that nobody has asked for: they would be taken for the answer
    to the next request, and each answer for that to the one after it. Proxies send a 408 before they close one.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        for _ in range(self.limit):
            connection = await super().connect(req, traces, timeout)
            try:
                await asyncio.sleep(0)  # what has arrived is read
            except BaseException:  # the request was cancelled
                connection.close()
                raise
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return await super().connect(req, traces, timeout)


class Connections:
    """Keeps connections for further requests. After one was lost, each request gets a new one until those are closed
    that were idle at that moment: their server may have closed them, too, and whether a request that is sent on one of
    them was heard would not be known.
    """

    def __init__(self, in_flight: int, retry_policy: RetryPolicy) -> None:
        """Call it on the event loop."""
        self._retry_policy = retry_policy
        self._kept = self._opened(in_flight, keepalive_timeout=_IDLE_SECONDS)
        self._new = self._opened(in_flight, force_close=True)
        self._lost_at = float("-inf")

    def _opened(self, in_flight: int, **options: Any) -> aiohttp.ClientSession:
        policy = self._retry_policy
        session = aiohttp.ClientSession(
            connector=_Connector(limit=in_flight, ttl_dns_cache=300, use_dns_cache=True, **options),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.connect, sock_read=policy.silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        # aiohttp resends a PUT or DELETE by itself if a kept connection is cut, and has no option against it. Whether
        # a request may be resent is decided by the client, or by its caller after looking up its effect.
        session._retry_connection = False
        return session

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session for the next request."""
        is_past = asyncio.get_running_loop().time() - self._lost_at > _IDLE_SECONDS
        return self._kept if is_past else self._new

    def note(self, error: Exception) -> None:
        """Note that a request has failed: perhaps since its connection was lost."""
        lost = aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError | ConnectionError
        if isinstance(error, lost) and not isinstance(error, aiohttp.ClientConnectorError):
            self._lost_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Close all of them."""
        await self._kept.close()
        await self._new.close()
