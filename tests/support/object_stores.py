"""Small servers that speak what Google Cloud Storage and Azure Blob Storage do with objects: the XML API of the first,
the REST API of the second, as far as reading, listing, removing, writing, conditional writing and writing in parts go.
Objects stay in memory.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from support.served import served

_PAGE = 3
"""Entries of a page of a list: few, so that lists have several."""
_FIRST = datetime(2026, 11, 29, 20, tzinfo=UTC)


@dataclass
class Store:
    """The objects of a server, by bucket and key, with their metadata; `parts` are those of unfinished uploads."""

    url: str = ""
    objects: dict[tuple[str, str], tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    parts: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, dict[str, str]] = field(default_factory=dict)
    buckets: frozenset[str] = frozenset({"exports"})
    whole_puts: int = 0
    """Objects that were written in one request."""
    generations: dict[tuple[str, str], int] = field(default_factory=dict)
    """How often an object was written."""
    times: dict[tuple[str, str], datetime] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    """How far the clock of the storage is ahead."""
    is_conditional: bool = True
    """Whether conditions of a write are respected."""
    denies: Callable[[str, str], bool] = lambda method, key: False
    """Whether access is denied, by method and key."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and key of all requests."""

    def put(self, place: tuple[str, str], content: bytes, metadata: dict[str, str]) -> None:
        """Write an object."""
        self.objects[place] = (content, metadata)
        self.generations[place] = self.generations.get(place, 0) + 1
        self.times[place] = datetime.now(UTC) + self.ahead

    def changed(self, place: tuple[str, str]) -> datetime:
        """Return when an object was written."""
        return self.times.get(place, _FIRST)

    def names(self, bucket: str = "exports") -> list[str]:
        """Return the keys of a bucket."""
        return sorted(key for of, key in self.objects if of == bucket)

    def page(self, bucket: str, prefix: str, marker: str) -> tuple[list[str], str]:
        """Return the keys of a page behind the marker, and the next marker; empty on the last page."""
        keys = sorted(key for of, key in self.objects if of == bucket and key.startswith(prefix) and key > marker)
        return keys[:_PAGE], keys[_PAGE - 1] if len(keys) > _PAGE else ""


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _content(request: web.Request, store: Store, place: tuple[str, str], more: dict[str, str]) -> web.Response:
    """Answer with an object, or with the part of it that a range names."""
    content, metadata = store.objects[place]
    headers = {**metadata, **more, "x-goog-generation": str(store.generations.get(place, 0))}
    headers = {
        "Last-Modified": format_datetime(store.changed(place), usegmt=True),
        "ETag": _tag(content),
        "Content-Type": "application/octet-stream",
        **headers,
    }
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", request.headers.get("x-ms-range", "")))
    if asked is None:
        return web.Response(body=content, headers=headers)
    end = min(int(asked[2] or len(content)) + 1, len(content))
    headers["Content-Range"] = f"bytes {asked[1]}-{end - 1}/{len(content)}"
    return web.Response(status=206, body=content[int(asked[1]) : end], headers=headers)


def _metadata(request: web.Request, prefix: str) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items() if name.lower().startswith(prefix)}


@contextlib.contextmanager
def google_storage() -> Iterator[Store]:
    """Google Cloud Storage, by its XML API."""
    store = Store()

    async def answer(request: web.Request) -> web.StreamResponse:
        bucket, _, key = unquote(request.path.lstrip("/")).partition("/")
        query, body = request.query, await request.read()
        store.requests.append((request.method, key))
        if store.denies(request.method, key):
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if bucket not in store.buckets:
            return web.Response(status=404, text="<Error><Code>NoSuchBucket</Code></Error>")
        if not key:
            return _google_list(store, bucket, query.get("prefix", ""), query.get("continuation-token", ""))
        place = (bucket, key)
        if request.method == "POST" and "uploads" in query:
            store.uploads["1"] = _metadata(request, "x-goog-meta-")
            store.parts[place] = {}
            return web.Response(
                text="<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "POST":
            parts = store.parts.pop(place)
            whole = b"".join(parts[number] for number in sorted(parts, key=int))
            store.put(place, whole, store.uploads.pop(query["uploadId"]))
            return web.Response(
                text=f"<CompleteMultipartUploadResult><ETag>{_tag(whole)}</ETag></CompleteMultipartUploadResult>",
                headers={"ETag": _tag(whole)},
            )
        if request.method == "PUT":
            if "partNumber" in query:
                store.parts[place][query["partNumber"]] = body
            else:
                asked = request.headers.get("x-goog-if-generation-match")
                there = store.generations.get(place, 0) if place in store.objects else 0
                if asked is not None and store.is_conditional and int(asked) != there:
                    return web.Response(status=412, text="<Error><Code>PreconditionFailed</Code></Error>")
                store.whole_puts += 1
                store.put(place, body, _metadata(request, "x-goog-meta-"))
            generation = str(store.generations.get(place, 0))
            return web.Response(headers={"ETag": _tag(body), "x-goog-generation": generation})
        if place not in store.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        if request.method == "DELETE":
            del store.objects[place]
            return web.Response(status=204)
        return _content(request, store, place, {})

    with served(answer) as server:
        store.url = server.url
        yield store


def _google_list(store: Store, bucket: str, prefix: str, marker: str) -> web.Response:
    keys, following = store.page(bucket, prefix, marker)
    listed = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{store.changed((bucket, key)):%Y-%m-%dT%H:%M:%SZ}</LastModified>"
        f"<ETag>{_tag(store.objects[bucket, key][0])}</ETag><Size>{len(store.objects[bucket, key][0])}</Size></Contents>"
        for key in keys
    )
    token = f"<NextContinuationToken>{escape(following)}</NextContinuationToken>" if following else ""
    return web.Response(text=f"<ListBucketResult>{listed}{token}</ListBucketResult>", content_type="application/xml")


@contextlib.contextmanager
def azure_storage() -> Iterator[Store]:
    """Azure Blob Storage, by its REST API."""
    store = Store()

    async def answer(request: web.Request) -> web.StreamResponse:
        _, bucket, *names = unquote(request.path.lstrip("/")).split("/")
        key, query, body = "/".join(names), request.query, await request.read()
        store.requests.append((request.method, key))
        if store.denies(request.method, key):
            return web.Response(status=403, headers={"x-ms-error-code": "AuthorizationFailure"})
        if query.get("comp") == "batch":
            return await _azure_batch(store, bucket, request, body)
        if bucket not in store.buckets:
            return web.Response(status=404, headers={"x-ms-error-code": "ContainerNotFound"})
        if query.get("comp") == "list":
            return _azure_list(store, bucket, query.get("prefix", ""), query.get("marker", ""))
        place = (bucket, key)
        if request.method == "PUT" and query.get("comp") == "block":
            store.parts.setdefault(place, {})[query["blockid"]] = body
            return web.Response(status=201)
        if request.method == "PUT":
            if query.get("comp") == "blocklist":
                parts = store.parts.pop(place)
                names = re.findall(r"<(?:Uncommitted|Latest)>([^<]*)</", body.decode())
                body = b"".join(parts[name] for name in names)
            else:
                there = _tag(store.objects[place][0]) if place in store.objects else None
                wanted = request.headers.get("If-Match")
                if store.is_conditional and request.headers.get("If-None-Match") == "*" and there:
                    return web.Response(status=409, headers={"x-ms-error-code": "BlobAlreadyExists"})
                if store.is_conditional and wanted is not None and wanted != there:
                    return web.Response(status=412, headers={"x-ms-error-code": "ConditionNotMet"})
                store.whole_puts += 1
            store.put(place, body, _metadata(request, "x-ms-meta-"))
            changed = format_datetime(store.changed(place), usegmt=True)
            return web.Response(status=201, headers={"ETag": _tag(body), "Last-Modified": changed})
        if place not in store.objects:
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        if request.method == "DELETE":
            del store.objects[place]
            return web.Response(status=202)
        return _content(request, store, place, {"x-ms-blob-type": "BlockBlob"})

    with served(answer) as server:
        store.url = server.url
        yield store


async def _azure_batch(store: Store, bucket: str, request: web.Request, body: bytes) -> web.Response:
    """Remove several objects: one answer for each request in the batch."""
    paths = re.findall(r"DELETE (\S+) HTTP", body.decode())
    answers = []
    for number, path in enumerate(paths):
        key = unquote(path).split(f"/{bucket}/", 1)[1]
        store.requests.append(("DELETE", key))
        code = "202 Accepted" if store.objects.pop((bucket, key), None) else "404 Not Found"
        answers.append(
            "--batch\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: {number}\r\n\r\nHTTP/1.1 {code}\r\n"
            + ("x-ms-error-code: BlobNotFound\r\n" if code.startswith("404") else "")
            + "Content-Length: 0\r\n\r\n"
        )
    text = "".join(answers) + "--batch--\r\n"
    return web.Response(status=202, body=text.encode(), headers={"Content-Type": "multipart/mixed; boundary=batch"})


def _azure_list(store: Store, bucket: str, prefix: str, marker: str) -> web.Response:
    keys, following = store.page(bucket, prefix, marker)
    listed = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties>"
        f"<Last-Modified>{format_datetime(store.changed((bucket, key)), usegmt=True)}</Last-Modified>"
        f"<Etag>{_tag(store.objects[bucket, key][0]).strip(chr(34))}</Etag><Content-Type>text/csv</Content-Type>"
        f"<Content-Length>{len(store.objects[bucket, key][0])}</Content-Length><ResourceType>file</ResourceType>"
        f"</Properties></Blob>"
        for key in keys
    )
    return web.Response(
        text=(
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="x">'
            f"<Blobs>{listed}</Blobs><NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
        ),
        content_type="application/xml",
    )


AZURE_KEY = base64.b64encode(b"key").decode()
