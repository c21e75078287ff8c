"""The endpoints under `/_sandbox`, which show and change the state of a sandbox, without weather or keys.

Each call needs the header `X-Tranship-Sandbox`, with any value: forms and links in a browser cannot send it.

- `GET`, `PUT weather`: see `connectors/sandbox/weather.py`; a PUT resets everything that it does not set
- `GET`, `PUT keys`: `{"valid": [..] or null, "stops_after": {key: calls}}`; null means any well-formed key
- `GET state[?collection=]`: the records as the provider would list them, NDJSON; `POST` adds such records unchecked,
  even invalid ones; `DELETE` removes everything
- `GET counts`: records per collection, and calls per status
- `GET`, `DELETE calls`, `PUT calls {"record": true}`: each call, NDJSON; `worked` is the status of the work done, even
  if the response was lost (null: nothing was done), and `content` is a checksum of the body
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from tranship.connectors.sandbox.contract import SandboxApi
from tranship.connectors.sandbox.store import Collection, Store, decode, encode
from tranship.connectors.sandbox.weather import Sky, Weather

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ControlRoute = tuple[str, str, Handler]

HEADER: Final = "X-Tranship-Sandbox"


class Keys(msgspec.Struct, forbid_unknown_fields=True):
    """The keys that are accepted."""

    valid: list[str] | None = None
    stops_after: dict[str, int] = {}

    def good(self, key: str) -> bool:
        """Count a call with this key; return whether the key is accepted."""
        if key in self.stops_after:
            self.stops_after[key] -= 1
            if self.stops_after[key] < 0:
                return False
        return self.valid is None or key in self.valid


class ControlledServer(Protocol):
    """The part of a server that the endpoints show and change."""

    api: SandboxApi
    store: Store
    sky: Sky
    keys: Keys
    statuses: Counter[str]
    calls: deque[bytes]
    recording: bool


class Control:
    """The control endpoints of one server."""

    def __init__(self, server: ControlledServer) -> None:
        self._server = server

    def routes(self) -> list[ControlRoute]:
        """Return method, path under `/_sandbox` and handler of each endpoint."""

        async def show_weather(_: web.Request) -> web.StreamResponse:
            return _json(self._server.sky.weather)

        async def set_weather(request: web.Request) -> web.StreamResponse:
            self._server.sky.weather = await _read(request, Weather)
            return _json(self._server.sky.weather)

        async def show_keys(_: web.Request) -> web.StreamResponse:
            return _json(self._server.keys)

        async def set_keys(request: web.Request) -> web.StreamResponse:
            self._server.keys = await _read(request, Keys)
            return _json(self._server.keys)

        async def show_state(request: web.Request) -> web.StreamResponse:
            collection = self._collection(request)
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            bodies = collection.bodies(collection.view())
            for start in range(0, len(bodies), 1000):
                await response.write(b"".join(body + b"\n" for body in bodies[start : start + 1000]))
            await response.write_eof()
            return response

        async def add_state(request: web.Request) -> web.StreamResponse:
            collection = self._collection(request)
            try:
                for line in (await request.read()).splitlines():
                    collection.put(decode(line))
            except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
                raise web.HTTPBadRequest(text=f"not a record: {error}") from None
            return _json({collection.name: len(collection)})

        async def clear(_: web.Request) -> web.StreamResponse:
            with self._server.store.bulk():
                self._server.store.clear()
                self._server.api.initialise()
            return web.Response(status=204)

        async def counts(_: web.Request) -> web.StreamResponse:
            records = {name: len(collection) for name, collection in self._server.store.collections.items()}
            return _json({**records, "calls": dict(self._server.statuses)})

        async def show_calls(_: web.Request) -> web.StreamResponse:
            return web.Response(
                body=b"".join(call + b"\n" for call in self._server.calls), content_type="application/x-ndjson"
            )

        async def set_calls(request: web.Request) -> web.StreamResponse:
            self._server.recording = (await _read(request, _Recording)).record
            return _json({"record": self._server.recording})

        async def clear_calls(_: web.Request) -> web.StreamResponse:
            self._server.calls.clear()
            self._server.statuses.clear()
            return web.Response(status=204)

        endpoints: list[ControlRoute] = [
            ("GET", "weather", show_weather),
            ("PUT", "weather", set_weather),
            ("GET", "keys", show_keys),
            ("PUT", "keys", set_keys),
            ("GET", "state", show_state),
            ("POST", "state", add_state),
            ("DELETE", "state", clear),
            ("GET", "counts", counts),
            ("GET", "calls", show_calls),
            ("PUT", "calls", set_calls),
            ("DELETE", "calls", clear_calls),
        ]
        return [(method, path, _with_header(handler)) for method, path, handler in endpoints]

    def _collection(self, request: web.Request) -> Collection:
        name = request.query.get("collection", self._server.api.customers.name)
        if name not in self._server.store.collections:
            raise web.HTTPNotFound(text=f"known collections: {', '.join(self._server.store.collections)}")
        return self._server.store.collections[name]


def _with_header(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if HEADER not in request.headers:
            raise web.HTTPForbidden(text=f"Send the header {HEADER}: 1\n")
        return await handler(request)

    return guarded


class _Recording(msgspec.Struct, forbid_unknown_fields=True):
    record: bool


_Kind = TypeVar("_Kind")
JSON_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8"}


def _json(value: Any) -> web.Response:
    return web.Response(headers=JSON_HEADERS, body=encode(value))


async def _read(request: web.Request, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text=str(error)) from None
