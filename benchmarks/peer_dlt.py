"""The peer dlt: Arrow batches through its Parquet loader, merged by key into DuckDB or (by ADBC) Postgres.

    python benchmarks/peer_dlt.py customers.csv warehouse.duckdb folder-for-its-state
    python benchmarks/peer_dlt.py customers.parquet postgresql://user@host/db folder-for-its-state

Runs in a separate environment that contains dlt.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet


def batches(path: str) -> Iterator[pa.Table]:
    """Yield all columns, those of a CSV as text, and the key; records without a key are left out."""
    with Path(path).open("rb") as file:
        reader = parquet.ParquetFile(file).iter_batches(16_384) if path.endswith(".parquet") else csv_batches(path)
        for batch in reader:
            table = pa.Table.from_batches([batch])
            key = pc.coalesce(table["Customer ID"], pc.utf8_lower(table["E-mail"]))
            yield table.append_column("customer_key", key).filter(pc.is_valid(key))


def csv_batches(path: str) -> Iterator[pa.RecordBatch]:
    with Path(path).open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split(",")
    return csv.open_csv(
        path,
        read_options=csv.ReadOptions(block_size=16 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in names}, strings_can_be_null=True, null_values=[""]
        ),
    )


def main(path: str, database: str, state: str) -> None:
    kind = dlt.destinations.postgres if "://" in database else dlt.destinations.duckdb
    pipeline = dlt.pipeline("customers", pipelines_dir=state, destination=kind(database), dataset_name="crm")
    resource = dlt.resource(
        batches(path),
        name="customers",
        primary_key="customer_key",
        write_disposition="merge",
        columns={"Updated At": {"dedup_sort": "desc"}},
    )
    pipeline.run(resource, loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:4])
