"""A plain paginated server for the benchmark: the list of customers of MarginFront, generated before the first
request.

    python benchmarks/api_server.py --rows 200000 --seed 7 --page 1000 --latency 0.02

It prints its port when all pages are generated, then answers `GET /v1/customers?page=&limit=`, each request after the
latency in seconds. It needs no key, and ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import uuid
from collections.abc import Iterator
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import polars as pl
from generate import chunks

STATUSES = {
    "inactive": "inactive",
    "cancelled": "inactive",
    "canceled": "inactive",
    "suspended": "suspended",
    "paused": "suspended",
}
HOST = "127.0.0.1"


def records(rows: int, seed: int) -> Iterator[str]:
    """Yield customers as JSON: the valid records of the generator, each once."""
    made = 0
    for chunk in chunks(rows + rows // 5 + 20, seed):
        good = chunk.filter((pl.col("kind") == "customer") & ~pl.col("_mail_blocked")).head(rows - made)
        yield from _json(good)
        made += good.height
    if made < rows:
        raise AssertionError(f"the generator gave {made:,} valid customers, not {rows:,}")


def _json(good: pl.DataFrame) -> pl.Series:
    """Return the customer as JSON, with the three statuses of MarginFront, and its default time zone and terms."""
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, number)) for number in good["Customer ID"].str.strip_chars()]
    email = pl.col("E-mail").str.strip_chars().str.to_lowercase()
    recipients = pl.when(pl.col("Legal Name").is_not_null() & email.is_not_null()).then(pl.concat_list(email))
    stamp = pl.col("_updated_instant").fill_null(pl.datetime(2025, 1, 1, time_zone="UTC"))
    fields = {
        "id": pl.Series(ids, dtype=pl.String),
        "externalId": pl.col("Customer ID").str.strip_chars(),
        "name": pl.col("Name"),
        "email": email,
        "phone": pl.col("Phone"),
        "addressLine1": pl.col("Address Line 1"),
        "addressLine2": pl.col("Address Line 2"),
        "city": pl.col("City"),
        "state": pl.col("State"),
        "zipCode": pl.col("Zip/Postal Code"),
        "country": pl.col("Country"),
        "timezone": pl.col("Timezone").fill_null("UTC"),
        "status": pl.col("Status").str.strip_chars().str.to_lowercase().replace_strict(STATUSES, default="active"),
        "billingContactName": pl.col("Legal Name"),
        "billingContactEmail": pl.when(pl.col("Legal Name").is_not_null()).then(email),
        "netTerms": pl.col("Net Terms").fill_null(30),
        "invoiceEmailRecipients": recipients.fill_null([]),
        "createdAt": (stamp - pl.duration(days=400)).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
        "updatedAt": stamp.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
    }
    record = pl.struct(value.alias(name) for name, value in fields.items()).struct.json_encode()
    # The metadata is JSON already: it replaces the last brace.
    metadata = pl.col("Metadata").fill_null("{}")
    made = pl.concat_str(record.str.head(-1), pl.lit(',"metadata":'), metadata, pl.lit("}"))
    return good.select(made.alias("record"))["record"]


def pages(rows: int, seed: int, size: int) -> list[bytes]:
    """Return all responses, head and body, in order; the last may be short, and without customers there is one."""
    source = iter(records(rows, seed))
    count = max(1, -(-rows // size))
    made = []
    for number in range(1, count + 1):
        rest = json.dumps({"totalResults": rows, "hasMore": number < count, "page": number, "limit": size})
        made.append(_answer("200 OK", f'{{"data":[{",".join(islice(source, size))}],{rest[1:]}'))
    return made


def _answer(status: str, body: str) -> bytes:
    raw = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


NOT_FOUND = _answer("404 Not Found", '{"statusCode":404,"message":"There is no such page.","error":"Not Found"}')


class Connection(asyncio.Protocol):
    """Reads only the first line of a request; no request has a body."""

    def __init__(self, answers: list[bytes], size: int, latency: float) -> None:
        self.answers, self.size, self.latency = answers, size, latency
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            request, _, self.received = self.received.partition(b"\r\n\r\n")
            answer = self.answer(request.split(b" ", 2)[1].decode())
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)

    def answer(self, target: str) -> bytes:
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        number = int(query.get("page", "1"))
        if url.path != "/v1/customers" or query.get("limit") != str(self.size) or not 1 <= number <= len(self.answers):
            return NOT_FOUND
        return self.answers[number - 1]


async def serve(answers: list[bytes], size: int, latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers, size, latency), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--page", type=int, default=1000, help="records per page, the only `limit` that is accepted")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds")
    args = parser.parse_args()
    asyncio.run(serve(pages(args.rows, args.seed, args.page), args.page, args.latency))


if __name__ == "__main__":
    main()
