"""Providers whose answers are not what HTTP and JSON allow, byte by byte: every request is carried out, and its answer is
changed on its way. Each customer is written once, nobody else's is changed, and what is called done is done.

TRANSHIP_MISBEHAVIOUR=1 tries every change with every provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from support import writing
from support.accounts import PROVIDERS, USUAL
from support.mutation import look, misbehaved, read, refill, write
from support.provider_writing import Writer
from support.sandboxes import Sandbox, Start
from support.served import listening
from tranship.connectors.api.spec import service

LONG = bool(os.environ.get("TRANSHIP_MISBEHAVIOUR"))


@dataclass(frozen=True)
class Answer:
    """An answer of the provider: its first line, its headers, its body, and the key that was sent with the request."""

    first: bytes
    headers: tuple[bytes, ...]
    body: bytes
    key: bytes

    def raw(self, body: bytes | None = None, *more: bytes, first: bytes = b"", typed: bool = True) -> bytes:
        """The answer with another body, and headers in addition."""
        body = self.body if body is None else body
        kept = [line for line in self.headers if typed or not line.lower().startswith(b"content-type")]
        length = b"Content-Length: %d" % len(body)
        return b"\r\n".join([first or self.first, *kept, *more, length, b"", body])

    def without_length(self, *lines: bytes, tail: bytes, first: bytes = b"") -> bytes:
        """The answer with a body that is delimited in another way."""
        return b"\r\n".join([first or self.first, *self.headers, *lines, b"", tail])


Change = Callable[[Answer], bytes]


def _layers(body: bytes, count: int) -> bytes:
    for _ in range(count):
        body = gzip.compress(body)
    return body


def _chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + end


def _twice(answer: Answer) -> bytes:
    """Each object has each of its keys twice, the first time with nonsense."""
    pairs: Any = lambda found: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in found) + "}"  # noqa: E731

    def text(value: Any) -> str:
        if isinstance(value, dict):
            doubled = [(key, '"nobody"') for key in value] + [(key, text(inner)) for key, inner in value.items()]
            return str(pairs(doubled))
        return "[" + ",".join(map(text, value)) + "]" if isinstance(value, list) else json.dumps(value)

    return answer.raw(text(json.loads(answer.body)).encode() if answer.body else b"")


def _typed_ids(kind: Callable[[str], Any]) -> Change:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: kind(inner) if key in ("id", "customer_id") and isinstance(inner, str) else changed(inner)
                for key, inner in value.items()
            }
        return [changed(inner) for inner in value] if isinstance(value, list) else value

    return lambda answer: answer.raw(json.dumps(changed(json.loads(answer.body))).encode() if answer.body else b"")


CHANGES: dict[str, Change] = {
    "a byte order mark": lambda a: a.raw(b"\xef\xbb\xbf" + a.body),
    "UTF-16": lambda a: a.raw(a.body.decode().encode("utf-16")),
    "UTF-16, declared": lambda a: a.raw(
        a.body.decode().encode("utf-16"), b"Content-Type: application/json; charset=utf-16", typed=False
    ),
    "Latin-1": lambda a: a.raw(a.body.decode().encode("latin-1", "replace") + b" \xe9"),
    "two documents": lambda a: a.raw(a.body + a.body),
    "a document and garbage": lambda a: a.raw(a.body + b"\n<!-- cache miss -->"),
    "no document": lambda a: a.raw(b""),
    "NUL around": lambda a: a.raw(b"\0" + a.body + b"\0"),
    "a string with the document": lambda a: a.raw(json.dumps(a.body.decode()).encode()),
    "a list with the document": lambda a: a.raw(b"[" + a.body + b"]" if a.body else b""),
    "keys that are there twice": _twice,
    "ids that are numbers": _typed_ids(lambda id: 7),
    "ids that are true": _typed_ids(lambda id: True),
    "ids that are long": _typed_ids(lambda id: id * 20_000),
    "ids with NUL": _typed_ids(lambda id: id + "\0"),
    "ids with blanks": _typed_ids(lambda id: f" {id} "),
    "ids in another case": _typed_ids(str.swapcase),
    "ids that climb": _typed_ids(lambda id: f"../{id}"),
    "an error with 200": lambda a: a.raw(b'{"error":{"message":"Internal"},"message":"Internal"}'),
    "no success with 200": lambda a: a.raw(b'{"success":false,"errors":["Internal"],"data":null}'),
    "a page of HTML": lambda a: a.raw(b"<html>Please log in</html>", b"Content-Type: text/html", typed=False),
    "204 with a body": lambda a: a.raw(first=b"HTTP/1.1 204 No Content"),
    "205": lambda a: a.raw(first=b"HTTP/1.1 205 Reset Content"),
    "206": lambda a: a.raw(a.body[: len(a.body) // 2], b"Content-Range: bytes 0-9/99", first=b"HTTP/1.1 206 Partial"),
    "304": lambda a: a.raw(b"", first=b"HTTP/1.1 304 Not Modified"),
    "207": lambda a: a.raw(first=b"HTTP/1.1 207 Multi-Status"),
    "HTTP/1.0": lambda a: a.raw(first=a.first.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "HTTP/1.0 until the end": lambda a: a.without_length(
        b"Connection: close", tail=a.body, first=a.first.replace(b"HTTP/1.1", b"HTTP/1.0")
    ),
    "continue before it": lambda a: b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + a.raw(),
    "early hints before it": lambda a: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + a.raw(),
    "another answer after it": lambda a: a.raw() + a.raw(b'{"id":"cus_foreign"}'),
    "garbage after it": lambda a: a.raw() + b"\0garbage\r\n\r\n",
    "a length that is too short": lambda a: a.without_length(b"Content-Length: %d" % (len(a.body) // 2), tail=a.body),
    "a length that is too long": lambda a: a.without_length(b"Content-Length: %d" % (len(a.body) + 9), tail=a.body),
    "chunks": lambda a: a.without_length(b"Transfer-Encoding: chunked", tail=_chunked(a.body)),
    "chunks without an end": lambda a: a.without_length(b"Transfer-Encoding: chunked", tail=_chunked(a.body, b"")),
    "chunks with a wrong size": lambda a: a.without_length(
        b"Transfer-Encoding: chunked", tail=b"fff\r\n" + a.body + b"\r\n0\r\n\r\n"
    ),
    "chunks with trailers": lambda a: a.without_length(
        b"Transfer-Encoding: chunked", tail=_chunked(a.body, b"0\r\nX-Api-Key: %b\r\n\r\n" % a.key)
    ),
    "gzip": lambda a: a.raw(gzip.compress(a.body), b"Content-Encoding: gzip"),
    "gzip, not declared": lambda a: a.raw(gzip.compress(a.body)),
    "gzip that is declared and is not there": lambda a: a.raw(a.body, b"Content-Encoding: gzip"),
    "gzip in four layers": lambda a: a.raw(_layers(a.body, 4), b"Content-Encoding: gzip, gzip, gzip, gzip"),
    "gzip that is cut off": lambda a: a.raw(gzip.compress(a.body)[:-9], b"Content-Encoding: gzip"),
    "gzip with a wrong sum": lambda a: a.raw(gzip.compress(a.body)[:-8] + b"\0" * 8, b"Content-Encoding: gzip"),
    "two members of gzip": lambda a: a.raw(gzip.compress(a.body) * 2, b"Content-Encoding: gzip"),
    "raw deflate": lambda a: a.raw(zlib.compress(a.body)[2:-4], b"Content-Encoding: deflate"),
    "the key in headers": lambda a: a.raw(None, b"X-Api-Key: " + a.key, b"Authorization: Bearer " + a.key),
    "the key in an error": lambda a: a.raw(
        b'{"message":"bad key %b"}' % a.key, first=b"HTTP/1.1 400 Bad Request for " + a.key
    ),
    "cookies": lambda a: a.raw(None, b"Set-Cookie: session=%b; Path=/" % a.key),
    "a redirect to another host": lambda a: a.raw(
        b"", b"Location: http://127.0.0.2:9/" + a.key, first=b"HTTP/1.1 307 Temporary Redirect"
    ),
    "a redirect to itself": lambda a: a.raw(b"", b"Location: /", first=b"HTTP/1.1 308 Permanent Redirect"),
    "401": lambda a: a.raw(b'{"message":"no"}', first=b"HTTP/1.1 401 Unauthorized"),
    "410": lambda a: a.raw(b'{"message":"gone"}', first=b"HTTP/1.1 410 Gone"),
    "409": lambda a: a.raw(b'{"message":"exists"}', first=b"HTTP/1.1 409 Conflict"),
    "404": lambda a: a.raw(b'{"message":"none"}', first=b"HTTP/1.1 404 Not Found"),
    "500": lambda a: a.raw(b'{"message":"no"}', first=b"HTTP/1.1 500 Oops"),
    "a first line of another protocol": lambda _: b"SSH-2.0-OpenSSH_9.6\r\n",
    "a first line with a long reason": lambda a: a.raw(first=a.first + b"x" * 4000),
}
"""Named changes of an answer; the request itself has been carried out."""


@dataclass
class Wire:
    """Between client and provider. `change` is applied to answers to requests that `concerns` accepts."""

    url: str = ""
    change: Change | None = None
    concerns: Callable[[bytes], bool] = lambda _: True
    stays: bool = False
    """The connection is used again after an answer that was changed."""
    instead: bytes = b""
    """The answer to these requests, which are not passed on."""


@contextlib.contextmanager
def wire(port: int) -> Iterator[Wire]:
    """Forward all bytes to this port of this machine, and change answers."""
    seen = Wire()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _message(reader):
                if seen.instead and seen.concerns(request[0]):
                    writer.write(seen.instead)
                    await writer.drain()
                    continue
                there.write(b"".join(request))
                head, body = await _message(there_reader)
                if seen.change is None or not seen.concerns(request[0]):
                    writer.write(head + body)
                    await writer.drain()
                    continue
                first, *lines = head[:-4].split(b"\r\n")
                kept = [line for line in lines if not line.lower().startswith((b"content-length", b"transfer-enc"))]
                changed = seen.change(Answer(first, tuple(kept), body, _key(request[0])))
                writer.write(changed)
                await writer.drain()
                if not seen.stays:
                    break
        there.transport.abort()
        with contextlib.suppress(ConnectionError):
            writer.close()

    with listening(connected) as seen.url:
        yield seen


def _key(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith((b"authorization:", b"x-api-key:"))]
    return lines[0].split()[-1] if lines else b"none"


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | tuple[()]:
    """Read a request or an answer with a Content-Length; nothing at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return ()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


WHICH: dict[str, Callable[[bytes], bool]] = {
    "writes": lambda head: not head.startswith((b"GET", b"POST /v1/customFields/")),
    "reads": lambda head: head.startswith(b"GET"),
}
LIES = ("ids in another case", "ids that climb")
"""Nobody could know that these ids are wrong."""


@contextlib.contextmanager
def reached(writer: Writer) -> Iterator[tuple[Writer, Wire]]:
    """The same provider, through a wire."""
    with wire(writer.sandbox.port) as between:
        there = Writer(writer.provider, Sandbox(between.url))
        there.sandbox.state = writer.sandbox.state  # type: ignore[method-assign]
        yield there, between


def _faults(writer: Writer, there: Writer, name: str, folder: Path) -> Iterator[str]:
    """Carry out a plan through the wire; yield what must not be."""
    *_, victim = writer.sandbox.state()[-1:]
    error = misbehaved(write, there, folder)
    if error is not None:
        yield f"{type(error).__name__}: {error}"
        return
    [key] = writer.key.values()
    yield from (
        f"{file} has the key" for file in folder.rglob("*") if file.is_file() and key.encode() in file.read_bytes()
    )
    field = USUAL[writer.provider].id
    after = {record[field]: record for record in writer.sandbox.state()}
    if after.get(victim[field]) != victim:
        yield "the customer of somebody else was changed"
    own = Counter(str(writer.external_id(record)) for record in after.values() if writer.external_id(record))
    yield from (f"{name} is there {count} times" for name, count in own.items() if count > 1)
    rows = {row["row"]: row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()}
    outcomes = pq.read_table(folder / "outcomes").to_pylist() if (folder / "outcomes").exists() else []
    for row in [row for row in outcomes if row["outcome"] == "done"]:
        meant, found = rows[row["row"]], after.get(row["provider_id"])
        if row["provider_id"] == victim[field]:
            yield "the customer of somebody else is in the crosswalk"
        elif meant["action"] == "create" and name not in LIES:
            if found is None:
                yield f"row {row['row']}: done, with the id {str(row['provider_id'])[:40]!r}, which nobody has"
            elif meant["external_id"] not in (None, writer.external_id(found)):
                yield f"row {row['row']}: done, with the id of another"


def _cases(provider: str) -> Iterator[tuple[str, str]]:
    """Which answers are changed, and how; in the short form, a part of the changes for each provider."""
    own = PROVIDERS.index(provider)
    for which in WHICH if LONG else ["writes"]:
        yield from ((which, name) for name in (CHANGES if LONG else [*CHANGES][own :: len(PROVIDERS)]))


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_that_is_changed_on_its_way_doubles_nothing_and_is_explained(
    provider: str, sandbox: Start, tmp_path: Path
) -> None:
    writer = Writer(provider, sandbox(provider))
    with reached(writer) as (there, between):
        for number, (which, name) in enumerate(_cases(provider)):
            for begun in ["", "-begun"] if LONG else [""]:
                between.change = None
                refill(writer)
                there.__dict__.pop("operations", None)
                between.change, between.concerns = CHANGES[name], WHICH[which]
                between.stays = "after it" in name
                assert list(_faults(writer, there, name, tmp_path / f"{number}{begun}")) == [], (which, name, begun)


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="long: TRANSHIP_MISBEHAVIOUR")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_list_that_is_changed_on_its_way_is_read_or_explained(provider: str, sandbox: Start, tmp_path: Path) -> None:
    writer = Writer(provider, sandbox(provider))
    refill(writer)
    with reached(writer) as (there, between):
        for work in (read, look):
            for number, name in enumerate(CHANGES):
                between.change, folder = CHANGES[name], tmp_path / f"{work.__name__}{number}"
                folder.mkdir()
                assert misbehaved(work, there, folder) is None, name


FAILURES = [b'{"error":{"message":"Internal"}}', b'{"success":false,"data":null}', b'{"errors":["Internal"]}']


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_with_the_status_of_success_is_none(provider: str, sandbox: Start, tmp_path: Path) -> None:
    """Gateways answer so: what was not carried out is not called done."""
    writer = Writer(provider, sandbox(provider))
    with reached(writer) as (there, between):
        for number, body in enumerate(FAILURES if LONG else FAILURES[:1]):
            between.instead = b""
            found = refill(writer)
            rows = [writer.update(0, found[0], writer.particulars.changes[0]), writer.delete(1, found[1])]
            writing.write(tmp_path / str(number), rows)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            between.instead, between.concerns = head + body, WHICH["writes"]
            before = writer.stored()
            known = replace(service(there.spec, there.address, there.key), per_second={})
            writing.send(between.url, tmp_path / str(number), operations=there.operations, service=known)
            fates = {row: outcome for row, (_, outcome, _) in writing.outcomes(tmp_path / str(number)).items()}
            assert fates == {0: "refused", 1: "refused"}, body
            assert writer.stored() == before
