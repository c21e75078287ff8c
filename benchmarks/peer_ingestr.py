"""The peer ingestr: its own command line, CSV to DuckDB, merged by primary key. Becomes that process.

    python benchmarks/peer_ingestr.py --key customers.csv keyed.csv
    python benchmarks/peer_ingestr.py INGESTR keyed.csv warehouse.duckdb

ingestr takes columns for a key, not expressions, and refuses a null in one: the first command puts a column
`customer_key` into a copy, and is not timed.
"""

import os
import sys


def add_key(source: str, target: str) -> None:
    import duckdb

    key = """coalesce("Customer ID", lower("E-mail"))"""
    file = f"read_csv('{source}', all_varchar = true)"
    rows = f"select {key} as customer_key, * from {file} where customer_key is not null"
    with duckdb.connect() as con:
        con.execute(f"copy ({rows}) to '{target}' (header, delimiter ',')").fetchall()


def main(program: str, csv: str, database: str) -> None:
    arguments = {
        "--source-uri": f"csv://{csv}",
        "--source-table": "customers",
        "--dest-uri": f"duckdb:///{database}",
        "--dest-table": "main.customers",
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
        main(*sys.argv[1:4])
