"""A server in front of a provider's sandbox that repeats everything it receives, in every kind of answer."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from html import escape
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from support.served import Served, as_json, served

Answer = Callable[[str, dict[str, Any]], web.Response]


def echo_of(request: web.Request, body: bytes) -> str:
    """Return headers and body of a request, and its headers in other spellings, whole and in parts."""
    headers = dict(request.headers)
    secret = next((headers[name] for name in ("Authorization", "x-api-key") if name in headers), "")
    key = secret.removeprefix("Bearer ")
    spelled = [quote(key, safe=""), quote(quote(key, safe="")), escape(key), key.encode().hex()]
    spelled += [base64.b64encode(text.encode()).decode() for text in (key, secret, f"x:{key}", f"xy:{key}")]
    parts = [key[:12], key[5:17], key[-10:]]
    return f"no: {headers} {body.decode()} spelled {' | '.join(spelled)} in parts {' | '.join(parts)}"


def error_body(provider: str, text: str) -> Any:
    """Return an error in the provider's own format."""
    return {
        "blackwalnut": {"error": {"code": text, "message": text, "details": {text: [text]}}},
        "growpanel": {"error": text},
        "marginfront": {"message": [text]},
        "metrifox": {"message": text, "errors": {text: [text]}},
        "metronome": {"message": text},
    }[provider]


def row_errors(provider: str, body: Any, text: str) -> Any:
    """Return a 200 in which each row has failed if the provider has bulk calls, else an error in a 200."""
    if provider == "growpanel":
        rows = body if isinstance(body, list) else body.get("data", [body])
        return {"result": [{"id": row.get("id"), "export_status": "error", "export_error": text} for row in rows]}
    if provider == "metrifox" and "customers" in body:
        failed = [{"customer_key": row["customer_key"], "error": text} for row in body["customers"]]
        return {"data": {"customers_created": [], "customers_failed": failed}}
    return error_body(provider, text)


KINDS = ("400", "401", "403", "404", "409", "422", "500", "html", "html 500", "rows", "redirect", "type")


def answer_of(kind: str, provider: str, request: web.Request, sent: bytes) -> web.Response:
    text = echo_of(request, sent)
    try:
        body = json.loads(sent)
    except ValueError:
        body = {}
    match kind:
        case "html" | "html 500":
            page = f"<html><body><h1>{text}</h1></body></html>"
            return web.Response(text=page, content_type="text/html", status=500 if kind == "html 500" else 200)
        case "rows":
            return as_json(row_errors(provider, body, text))
        case "redirect":
            return web.Response(status=302, headers={"Location": f"https://{quote(text)}/"})
        case "type":
            headers = {"Content-Type": f"text/{text.splitlines()[0][:200]}".encode("ascii", "replace").decode()}
            return web.Response(body=text.encode(), headers=headers)
    return as_json(error_body(provider, text), int(kind))


@contextlib.contextmanager
def echoing(provider: str, sandbox: str, kind: str, is_echoed: Callable[[web.Request], bool]) -> Iterator[Served]:
    """Run a server that answers calls that `is_echoed` accepts with an echo, and forwards all others to the sandbox."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if is_echoed(request):
            return answer_of(kind, provider, request, body)
        async with (
            aiohttp.ClientSession(auto_decompress=True) as session,
            session.request(
                request.method, sandbox + request.path_qs, data=body or None, headers=dict(request.headers)
            ) as answer,
        ):
            content = await answer.read()
            return web.Response(body=content, status=answer.status, content_type=answer.content_type)

    with served(handler) as server:
        yield server
