"""Cleaning on an engine beside a run on one machine: both results in one form, whole rows in one order."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

import tranship
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.stage import Stage
from tranship.schemas.customer import COLUMNS, KEY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from tranship.pipelines.distributed.cleaned import Cleaned

ROOT = Path(__file__).resolve().parents[2]
PLACE = ("file", "line")

ENGINE = os.environ.get("TRANSHIP_ENGINE")
"""The engine of the tests, `sail` or `spark`; one process cannot have both. Tests need a separate process for it, since
pandera and others behave differently beside pandas and pyspark.
"""
IS_SPARK = ENGINE == "spark"
PACKAGES = ROOT / "build" / str(ENGINE)
"""Where make puts the engine: beside the other packages, every process would import pandas."""
DELTA = os.environ.get("TRANSHIP_DELTA")
"""Delta Lake for Apache Spark: the path of its jar, or its name, which Spark fetches (`io.delta:delta-spark_…`)."""
BRIEF_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options for a Java whose work is short: it spends a third less processor time, since it does not optimise."""


@contextmanager
def session() -> Iterator[SparkSession]:
    """Yield a session on the engine of the tests. Skips the test if that is not installed."""
    if PACKAGES.is_dir() and str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
    with apache_spark() if IS_SPARK else sail() as made:
        yield made


@contextmanager
def sail() -> Iterator[SparkSession]:
    """Yield a session on a server of its own, in this process."""
    os.environ.setdefault("RUST_LOG", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pysail = pytest.importorskip("pysail.spark", reason="make test installs it")
        from pyspark.sql import SparkSession
    server = pysail.SparkConnectServer()
    server.start(background=True)
    host, port = server.listening_address
    # Programs that ask for the session of their cluster find this one.
    os.environ["SPARK_REMOTE"] = f"sc://{host}:{port}"
    session = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).create()
    # As in the session of a command. Its default is the zone of this machine, in which Sail writes no Iceberg table.
    session.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        yield session
    finally:
        session.stop()
        server.stop()


@contextmanager
def apache_spark() -> Iterator[SparkSession]:
    """Yield a session of Apache Spark on this machine."""
    if shutil.which("java") is None or find_spec("py4j") is None:
        pytest.skip("needs Java 17 and Apache Spark: make spark installs the latter")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Its processes that run Python need pandas, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(PACKAGES))))
    with TemporaryDirectory() as warehouse:
        builder = SparkSession.builder
        for name, value in delta_settings().items():
            builder = builder.config(name, value)
        session = (
            builder.master("local[2]")
            .config("spark.ui.enabled", value=False)
            .config("spark.sql.shuffle.partitions", 4)
            .config("spark.sql.warehouse.dir", Path(warehouse).as_uri())
            # Both, or results of more than 1 MB are fetched from an address at which nothing listens.
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.memory", "3g")
            .config("spark.driver.extraJavaOptions", "" if "TRANSHIP_LONG_TESTS" in os.environ else BRIEF_JAVA)
            .config("spark.executorEnv.POLARS_MAX_THREADS", "1")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()


def delta_settings() -> dict[str, str]:
    """Return the settings with which Apache Spark has Delta Lake; none if it is not there."""
    if DELTA is None:
        return {}
    return {
        "spark.jars" if Path(DELTA).is_file() else "spark.jars.packages": DELTA,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    }


@dataclass(frozen=True)
class Result:
    """What became of records; rows are sorted, and have the place of each record."""

    customers: pl.DataFrame
    rejects: pl.DataFrame
    merges: pl.DataFrame
    warnings: pl.DataFrame
    counts: Mapping[str, int]


def on_one_machine(records: pl.DataFrame, **options: Any) -> Result:
    """Return what a run makes of records with the columns of PLACE, written as one Parquet file for each of their
    files, in the current folder.
    """
    files = []
    for (name,), of_file in records.partition_by("file", as_dict=True, maintain_order=True).items():
        assert of_file["line"].to_list() == list(range(1, of_file.height + 1)), "lines of Parquet are counted from 1"
        of_file.drop(PLACE).write_parquet(str(name))
        files.append(str(name))
    if not files:
        records.drop(PLACE).write_parquet("nothing.parquet")
        files = ["nothing.parquet"]
    Path("one.duckdb").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = tranship.run(
            sorted(files), "duckdb:///one.duckdb?table=customers", allow_empty=True, state_dir="state", **options
        )
    directory = RunDirectory.open(Path("state"), report.run_id)
    survivors = Stage(directory.path).survivors(tuple(COLUMNS), 0).scan().collect()
    key = pl.coalesce("external_id", pl.concat_str(pl.lit("email:"), "email")).alias(KEY)
    customers = survivors.select(key, *COLUMNS, "_source", "_line")
    with duckdb.connect("one.duckdb", read_only=True) as table:
        written = table.sql("FROM customers").pl()
    assert sorted(written[KEY]) == sorted(customers[KEY])
    rejects = pl.read_parquet(report.files["rejects_parquet"]) if "rejects_parquet" in report.files else pl.DataFrame()
    merges, warned = (pl.read_parquet(file) for file in (directory.path / "merges.parquet", report.files["warnings"]))
    counts = report.counts
    return in_order(
        *(customers, rejects.drop("_text", strict=False), merges, warned),
        {
            **{"read": counts.read, "skipped": counts.skipped, "rejected": counts.rejected, "merged": counts.merged},
            "customers": survivors.height,
        },
    )


def on_engine(df: DataFrame, work: Path, **options: Any) -> Result:
    """Return what the engine makes of a DataFrame with the columns of PLACE."""
    from tranship.spark import clean

    return result_of(clean(df, work=work, place=PLACE, **options))


def result_of(cleaned: Cleaned) -> Result:
    """Return all results of cleaning, computed."""
    counts = cleaned.counts
    return in_order(
        *map(collected, (cleaned.customers, cleaned.rejects, cleaned.merges, cleaned.warnings)),
        {name: getattr(counts, name) for name in ("read", "skipped", "rejected", "merged", "customers")},
    )


def collected(df: DataFrame) -> pl.DataFrame:
    """Return the rows of a DataFrame."""
    return pl.DataFrame(df.toArrow())


def in_order(
    customers: pl.DataFrame,
    rejects: pl.DataFrame,
    merges: pl.DataFrame,
    warned: pl.DataFrame,
    counts: Mapping[str, int],
) -> Result:
    """Return results with their rows sorted."""
    return Result(
        customers.sort(KEY).with_columns(_UNSIGNED),
        rejects.sort("_source", "_line").with_columns(_UNSIGNED) if rejects.width else rejects,
        merges.sort("loser_source", "loser_line").with_columns(_UNSIGNED),
        warned.sort("source", "line", "code", "value").with_columns(_UNSIGNED),
        counts,
    )


_UNSIGNED = pl.col("^.*line$").cast(pl.UInt64)
"""Engines have no such numbers."""


def assert_equal(engine: Result, machine: Result) -> None:
    """Assert that both have the same rows, column by column."""
    assert engine.counts == machine.counts
    for name in ("customers", "rejects", "merges", "warnings"):
        ours, theirs = getattr(engine, name), getattr(machine, name)
        if not theirs.height and not ours.height:
            continue
        assert ours.columns == theirs.columns, name
        assert ours.height == theirs.height, name
        theirs = theirs.cast(dict(ours.schema))
        if not ours.equals(theirs):
            different = ((a, b) for a, b in zip(ours.iter_rows(), theirs.iter_rows(), strict=True) if a != b)
            pytest.fail(f"{name}: {list(islice(different, 2))}")
