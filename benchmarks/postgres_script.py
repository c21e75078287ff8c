"""The peer: a psycopg script that a good engineer would write to keep a table of customers up to date. No checks.

    python benchmarks/postgres_script.py customers.parquet postgresql://user@host/db

Batches of the file are copied as CSV into a temporary table, which is not logged; the newest record of each key then
replaces the one in the table.
"""

import sys

import polars as pl
import psycopg
import pyarrow.parquet as pq

BATCH_ROWS = 16_384
KEY = """coalesce("Customer ID", lower("E-mail"))"""
TYPES = {pl.String: "text", pl.Int32: "integer", pl.Datetime: "timestamptz"}


def main(parquet: str, url: str) -> None:
    with pq.ParquetFile(parquet) as file, psycopg.connect(url) as connection, connection.cursor() as cursor:
        schema = pl.scan_parquet(parquet).collect_schema()
        declared = ", ".join(f'"{name}" {TYPES[type(dtype)]}' for name, dtype in schema.items())
        columns = ", ".join(f'"{name}"' for name in schema)
        updates = ", ".join(f'"{name}" = excluded."{name}"' for name in schema)
        cursor.execute(f"CREATE TABLE IF NOT EXISTS customers (customer_key text PRIMARY KEY, {declared})")
        cursor.execute(f"CREATE TEMPORARY TABLE staging ({declared}) ON COMMIT DROP")
        with cursor.copy(f"COPY staging ({columns}) FROM STDIN (FORMAT csv)") as copy:
            for batch in file.iter_batches(BATCH_ROWS):
                copy.write(pl.DataFrame(batch).write_csv(include_header=False))
        cursor.execute("ANALYZE staging")
        cursor.execute(
            f"""
            INSERT INTO customers (customer_key, {columns})
            SELECT DISTINCT ON ({KEY}) {KEY}, {columns}
            FROM staging
            WHERE {KEY} IS NOT NULL
            ORDER BY {KEY}, "Updated At" DESC NULLS LAST
            ON CONFLICT (customer_key) DO UPDATE SET {updates}
            """
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
