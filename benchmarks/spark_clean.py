"""Clean the Parquet files of a folder on an engine, and write the four results as Parquet: one run of `bench_spark.py`.

    PYTHONPATH=build/sail python benchmarks/spark_clean.py sail|sc://HOST:PORT IN OUT
    PYTHONPATH=build/spark python benchmarks/spark_clean.py spark IN OUT

Prints the counts as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tranship.spark import clean

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def sail(_out: Path) -> Iterator[SparkSession]:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer()
    server.start(background=True)
    host, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    yield session
    session.stop()
    server.stop()


@contextmanager
def spark(out: Path) -> Iterator[SparkSession]:
    """The events of Apache Spark, which have the bytes that its tasks exchanged, are written to `events`."""
    from pyspark.sql import SparkSession

    events = out / "events"
    events.mkdir()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{os.cpu_count()}]")
        .config("spark.ui.enabled", value=False)
        # Both, or results of more than 1 MB are fetched from an address at which nothing listens.
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.shuffle.partitions", 16)
        .config("spark.executorEnv.POLARS_MAX_THREADS", "1")
        .config("spark.eventLog.enabled", value=True)
        .config("spark.eventLog.compress", value=False)
        .config("spark.eventLog.rolling.enabled", value=False)
        .config("spark.eventLog.dir", events.as_uri())
        .getOrCreate()
    )
    yield session
    session.stop()


@contextmanager
def remote(address: str) -> Iterator[SparkSession]:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(address).create()
    yield session
    session.stop()


def main() -> None:
    engine, given, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    known = {"sail": sail, "spark": spark}
    with known[engine](out) if engine in known else remote(engine) as session:
        df = session.read.parquet(str(given))
        cleaned = clean(df, work=out / "work", place=("file", "line"), strict=True)
        for name in ("customers", "rejects", "merges", "warnings"):
            getattr(cleaned, name).write.parquet(str(out / name))
        counts = cleaned.counts
    print(
        json.dumps(
            {name: getattr(counts, name) for name in ("read", "rejected", "merged")} | {"created": counts.customers}
        )
    )


if __name__ == "__main__":
    main()
