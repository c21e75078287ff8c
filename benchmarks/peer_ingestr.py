"""The peer ingestr: its own command line, CSV or Parquet to a database, merged by primary key. Replaces this
process.

    python benchmarks/peer_ingestr.py --key customers.csv keyed.csv
    python benchmarks/peer_ingestr.py INGESTR keyed.csv duckdb:///warehouse.duckdb main.customers

ingestr accepts columns as a key, not expressions, and refuses nulls in it: the first command adds a column
`customer_key` to a copy, and is not timed.
"""

import os
import sys
from pathlib import Path


def add_key(source: str, target: str) -> None:
    import duckdb

    key = """coalesce("Customer ID", lower("E-mail"))"""
    csv = source.endswith(".csv")
    file, form = (f"read_csv('{source}', all_varchar = true)", "header, delimiter ','") if csv else (
        f"'{source}'", "format parquet, compression zstd"
    )  # fmt: skip
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'").fetchall()
        rows = f"select {key} as customer_key, * from {file} where customer_key is not null"
        con.execute(f"copy ({rows}) to '{target}' ({form})").fetchall()


def main(program: str, file: str, database: str, table: str) -> None:
    arguments = {
        "--source-uri": f"{Path(file).suffix[1:]}://{file}",
        "--source-table": "customers",
        "--dest-uri": database,
        "--dest-table": table,
        "--incremental-strategy": "merge",
        "--primary-key": "customer_key",
        "--incremental-key": "Updated At",
        "--progress": "log",
    }
    os.execv(program, [program, "ingest", "--yes", *(word for pair in arguments.items() for word in pair)])


if __name__ == "__main__":
    if sys.argv[1] == "--key":
        add_key(*sys.argv[2:4])
    else:
        main(*sys.argv[1:5])
