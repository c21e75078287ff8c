"""The peer: SQL that a good engineer would write to keep a table of customers up to date. No checks.

    python benchmarks/duckdb_script.py customers.csv warehouse.duckdb

The newest record of each key wins; `Updated At` is compared as text, as in the file.
"""

import sys

import duckdb

KEY = """coalesce("Customer ID", lower("E-mail"))"""


def main(csv: str, database: str) -> None:
    with duckdb.connect(database) as con:
        con.execute("set enable_progress_bar = false")
        columns = [row[0] for row in con.execute("describe from read_csv(?, all_varchar = true)", [csv]).fetchall()]
        declared = ", ".join(f'"{column}" varchar' for column in columns)
        con.execute(f"create table if not exists customers (customer_key varchar primary key, {declared})")
        updates = ", ".join(f'"{column}" = excluded."{column}"' for column in columns)
        con.execute(
            f"""
            insert into customers by name
            select {KEY} as customer_key, *
            from read_csv(?, all_varchar = true)
            where customer_key is not null
            qualify row_number() over (partition by customer_key order by "Updated At" desc nulls last) = 1
            on conflict (customer_key) do update set {updates}
            """,
            [csv],
        ).fetchall()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
