"""The peer: a script that a capable engineer would write to copy a paginated list of customers into DuckDB. No
checks.

    python benchmarks/api_script.py http://127.0.0.1:8000/v1/customers warehouse.duckdb folder

Eight requests are in flight; each page becomes a Parquet file in the folder, and SQL loads all of them into the table.
Any failure ends the script; a metadata key that is not listed here is lost.
"""

import asyncio
import sys
from pathlib import Path

import aiohttp
import duckdb
import polars as pl

IN_FLIGHT = 8
PAGE = 1000
TEXT = (
    "id", "externalId", "name", "email", "phone", "addressLine1", "addressLine2", "city", "state", "zipCode", "country",
    "timezone", "status", "billingContactName", "billingContactEmail", "createdAt", "updatedAt",
)  # fmt: skip
METADATA = {"plan": pl.String, "seats": pl.Int64, "crm_ref": pl.String, "campaign": pl.String}
CUSTOMER = {
    **dict.fromkeys(TEXT, pl.String),
    "netTerms": pl.Int32,
    "invoiceEmailRecipients": pl.List(pl.String),
    "metadata": pl.Struct(METADATA),
}
ENVELOPE = {"data": pl.List(pl.Struct(CUSTOMER)), "totalResults": pl.Int64}


def write(page: bytes, target: Path) -> int:
    """Write a page to the folder; return the number of all customers."""
    envelope = pl.read_json(page, schema=ENVELOPE)
    customers = envelope.select(pl.col("data").explode()).unnest("data")
    customers.with_columns(
        pl.col("createdAt", "updatedAt").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us", time_zone="UTC"),
        pl.col("metadata").struct.json_encode(),
    ).write_parquet(target, compression="snappy")
    return envelope["totalResults"].item()


async def download(url: str, folder: Path) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def page(number: int) -> asyncio.Task[int]:
            """Request a page; return the task that writes it."""
            async with session.get(url, params={"page": number, "limit": PAGE}) as answer:
                body = await answer.read()
            return asyncio.create_task(asyncio.to_thread(write, body, folder / f"{number:06}.parquet"))

        async def some() -> list[asyncio.Task[int]]:
            return [await page(number) for number in numbers]

        total = await (await page(1))
        numbers = iter(range(2, -(-total // PAGE) + 1))
        for writing in await asyncio.gather(*(some() for _ in range(IN_FLIGHT))):
            await asyncio.gather(*writing)


def upsert(folder: Path, database: str) -> None:
    """Delete and insert: half the time of MERGE, and far less than ON CONFLICT on a full table."""
    pages = f"read_parquet('{folder}/*.parquet')"
    with duckdb.connect(database) as con:
        con.execute("set enable_progress_bar = false")
        con.execute(f"create table if not exists customers as from {pages} limit 0")
        con.execute("begin")
        con.execute(f"delete from customers where id in (select id from {pages})")
        con.execute(f"insert into customers from {pages}")
        con.execute("commit")


def main(url: str, database: str, folder: Path) -> None:
    folder.mkdir()
    asyncio.run(download(url, folder))
    upsert(folder, database)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
