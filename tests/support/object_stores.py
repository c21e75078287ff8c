"""Small servers that speak what Google Cloud Storage and Azure Blob Storage do with objects: the XML API of the first,
the REST API of the second, as far as reading, listing, writing and writing in parts go. Objects stay in memory.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from support.served import served

_CHANGED = "Sun, 29 Nov 2026 20:00:00 GMT"
_PAGE = 3
"""Entries of a page of a list: few, so that lists have several."""


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

    def page(self, bucket: str, prefix: str, marker: str) -> tuple[list[str], str]:
        """Return the keys of a page behind the marker, and the next marker; empty on the last page."""
        keys = sorted(key for of, key in self.objects if of == bucket and key.startswith(prefix) and key > marker)
        return keys[:_PAGE], keys[_PAGE - 1] if len(keys) > _PAGE else ""


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _content(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    """Answer with an object, or with the part of it that a range names."""
    headers = {"Last-Modified": _CHANGED, "ETag": _tag(content), "Content-Type": "application/octet-stream", **headers}
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
            store.objects[place] = (whole, store.uploads.pop(query["uploadId"]))
            return web.Response(
                text=f"<CompleteMultipartUploadResult><ETag>{_tag(whole)}</ETag></CompleteMultipartUploadResult>",
                headers={"ETag": _tag(whole)},
            )
        if request.method == "PUT":
            if "partNumber" in query:
                store.parts[place][query["partNumber"]] = body
            else:
                store.whole_puts += 1
                store.objects[place] = (body, _metadata(request, "x-goog-meta-"))
            return web.Response(headers={"ETag": _tag(body)})
        if place not in store.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return _content(request, *store.objects[place])

    with served(answer) as server:
        store.url = server.url
        yield store


def _google_list(store: Store, bucket: str, prefix: str, marker: str) -> web.Response:
    keys, following = store.page(bucket, prefix, marker)
    listed = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-29T20:00:00Z</LastModified>"
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
                store.whole_puts += 1
            store.objects[place] = (body, _metadata(request, "x-ms-meta-"))
            return web.Response(status=201, headers={"ETag": _tag(body), "Last-Modified": _CHANGED})
        if place not in store.objects:
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        content, metadata = store.objects[place]
        return _content(request, content, {**metadata, "x-ms-blob-type": "BlockBlob"})

    with served(answer) as server:
        store.url = server.url
        yield store


def _azure_list(store: Store, bucket: str, prefix: str, marker: str) -> web.Response:
    keys, following = store.page(bucket, prefix, marker)
    listed = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{_CHANGED}</Last-Modified>"
        f"<Etag>{_tag(store.objects[bucket, key][0])}</Etag><Content-Type>text/csv</Content-Type>"
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
