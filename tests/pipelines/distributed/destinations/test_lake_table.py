"""A table of Delta or Iceberg is, row by row, the DuckDB table that ordinary runs write of the same customers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from msgspec.structs import replace

from support import engines
from support.engine_tables import Both, records
from support.engines import collected
from tranship.connectors.errors import ConfigError, Interfered, Refused
from tranship.pipelines.distributed.destinations.table_columns import TABLE
from tranship.pipelines.distributed.stage_rows import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tranship.pipelines.distributed.destinations.lake_table import LakeTable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(engines.IS_SPARK and not engines.DELTA, reason="needs Delta Lake: TRANSHIP_DELTA"),
]

KILLABLE = Path(engines.__file__).with_name("killable_engine_run.py")
SEEDS = 40 if "TRANSHIP_LONG_TESTS" in os.environ else 2


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lake_table(address: str, spark: SparkSession, *, create: bool = True) -> LakeTable:
    from tranship.pipelines.distributed.destinations.lake_table import LakeTable

    return LakeTable(address, spark, create=create)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


@pytest.fixture
def both(spark: SparkSession, lake: str, monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(lambda: lake_table(f"delta://{lake}", spark), lambda: rows(spark, lake), spark, monkeypatch)


def rows(spark: SparkSession, lake: str) -> pl.DataFrame:
    return collected(spark.read.format("delta").load(lake))


def versions(lake: str) -> int:
    return len([*Path(lake, "_delta_log").glob("*.json")])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_sequences_of_runs(both: Both, seed: int) -> None:
    both.write_sequence(seed, 4)


A = {"external_id": "1", "email": "a@x.co", "name": "Ann", "updated_at": "2024-01-01"}
B = {"external_id": "2", "email": "b@x.co", "name": "Bob", "updated_at": "2024-01-01"}


def test_a_run_without_changes_writes_no_version(both: Both, lake: str) -> None:
    both.write(records(A, B))
    assert both.write(records(A, B)).counts["unchanged"] == 2
    assert versions(lake) == 1
    both.write(records(A, B | {"name": "Bo"}))
    assert versions(lake) == 2


def test_a_killed_run_knows_whether_it_has_written(both: Both, lake: str, spark: SparkSession) -> None:
    for changed in (B, B | {"name": "Bo"}):
        request = both.request(records(A, changed))
        assert not both.table.applied(request.run_id)
        both.table.apply(request, both.table.plan(request))
        assert lake_table(f"delta://{lake}", spark).applied(request.run_id)
        assert both.table.plan(request).counts["unchanged"] == 2


def test_what_another_program_has_written_since_is_compared_again(both: Both, lake: str, spark: SparkSession) -> None:
    both.write(records(A, B))
    request = both.request(records(A | {"name": "An"}, B | {"name": "Bo"}))
    planned = both.table.plan(request)
    other = spark.sql(f"UPDATE delta.`{lake}` SET name = 'Bo' WHERE customer_key = '2'")
    other.collect()
    with pytest.raises(Interfered, match=r"table delta://.*lake: another program has written it since the comparison"):
        both.table.apply(request, planned)
    assert both.rows().sort("customer_key")["name"].to_list() == ["Ann", "Bo"]
    both.table.apply(request, both.table.plan(request))
    assert both.rows().sort("customer_key")["name"].to_list() == ["An", "Bo"]


def test_a_write_that_another_program_overtakes_is_compared_again(
    both: Both, spark: SparkSession, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.write(records(A, B))
    request = both.request(records(A | {"name": "An"}, B))
    planned = both.table.plan(request)
    spark.sql(f"UPDATE delta.`{lake}` SET name = 'Bo' WHERE customer_key = '2'").collect()
    with monkeypatch.context() as before:
        before.setattr("tranship.pipelines.distributed.destinations.table_logs.DeltaLog.version", lambda _: 0)
        with pytest.raises(Interfered, match=r"What this run has written is there; the table is compared again"):
            both.table.apply(request, planned)
    assert both.table.plan(request).changed_fields == {"name": 1}
    assert both.rows().sort("customer_key")["name"].to_list() == ["An", "Bo"]


def test_a_table_that_appears_meanwhile_is_not_replaced(both: Both, lake: str, spark: SparkSession) -> None:
    request = both.request(records(A, B))
    planned = both.table.plan(request)
    spark.createDataFrame([("x",)], "customer_key string").write.format("delta").save(lake)
    with pytest.raises(Interfered):
        both.table.apply(request, planned)
    assert both.rows().columns == ["customer_key"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("id string, email string", "has no column customer_key and external_id and _run_id and _deleted_at. On an"),
        (
            "customer_key string, external_id bigint, email string, _run_id string, _deleted_at timestamp",
            "column external_id is bigint, not string. On an engine, only tables that Tranship has created are written.",
        ),
    ],
)
def test_a_table_of_another_shape_is_refused(
    both: Both, lake: str, spark: SparkSession, columns: str, message: str
) -> None:
    spark.createDataFrame([], columns).write.format("delta").save(lake)
    request = both.request(records(A))
    with pytest.raises(ConfigError, match=re.escape(message)):
        both.table.plan(request)


def test_rows_that_cannot_be_told_apart_are_refused(both: Both, lake: str, spark: SparkSession) -> None:
    both.write(records(A, B))
    table = spark.read.format("delta").load(lake)
    table.where("customer_key = '1'").write.format("delta").mode("append").save(lake)
    with pytest.raises(Refused, match="1 value of customer_key occurs in several rows or is missing"):
        both.table.plan(both.request(records(A, B)))


def test_an_id_that_several_rows_have(both: Both, spark: SparkSession, lake: str) -> None:
    both.write(records(A, B))
    with duckdb.connect("one.duckdb") as ordinary:
        twice = "SELECT * REPLACE ('other' AS customer_key) FROM customers WHERE customer_key = '1'"
        ordinary.execute(f"INSERT INTO customers {twice}")
    spark.sql(f"SELECT * FROM delta.`{lake}` WHERE customer_key = '1'").replace(
        "1", "other", "customer_key"
    ).write.format("delta").mode("append").save(lake)
    planned = both.write(records(A | {"name": "An"}, B), mode="mirror")
    assert (planned.reasons, planned.counts["delete"]) == ({"matches_several": 1}, 0)


def test_a_key_that_another_customer_was_given(both: Both) -> None:
    alone = {"email": "a@x.co", "name": "Ann"}
    both.write(records(alone))
    both.write(records(A, {"external_id": "9", "email": "z@x.co", "name": "Zoe"}))
    both.write(records(A | {"email": "b@x.co"}))
    assert both.write(records(alone)).reasons == {"taken: customer_key": 1}
    assert both.write(records({"email": "z@x.co", "name": "Zo"}, A | {"email": "z@x.co"})).counts["update"] >= 1
    assert both.write(records({"email": "z@x.co", "name": "Z"})).counts["ambiguous"] == 1


def test_columns_that_the_table_lacks(both: Both, lake: str, spark: SparkSession) -> None:
    from pyspark.sql.types import StructType

    first = ("external_id", "email", "name", "updated_at")
    both.write(records(A, columns=first))
    narrow = spark.read.format("delta").load(lake).drop("city").collect()
    shutil.rmtree(lake)
    columns = [field for field in spark_schema(TABLE).fields if field.name != "city"]
    spark.createDataFrame(narrow, StructType(columns)).write.format("delta").save(lake)
    request = both.request(records(A | {"city": "Rome"}))
    planned = both.table.plan(request)
    assert planned.notes == ("not stored, no matching column: city (--evolve adds columns)",)
    assert planned.counts["unchanged"] == 1
    evolving = replace(request, evolve=True)
    planned = both.table.plan(evolving)
    assert planned.notes == ("column city is added",)
    both.table.apply(evolving, planned)
    assert both.rows()["city"].to_list() == ["Rome"]


def test_a_table_is_not_created_among_other_files(both: Both, lake: str, spark: SparkSession) -> None:
    Path(lake).mkdir()
    for left_by_a_killed_run in ("part-0.parquet", "_delta_log"):
        Path(lake, left_by_a_killed_run).touch()
    request = both.request(records(A))
    assert both.table.plan(request).counts["create"] == 1
    if not engines.IS_SPARK:
        with pytest.raises(ConfigError, match="its folder has other files, such as _delta_log, and no table"):
            lake_table(f"iceberg://{lake}", spark).plan(request)
    Path(lake, "orders.parquet").touch()
    with pytest.raises(ConfigError, match=r"lake: its folder has other files, such as orders\.parquet, and no table\."):
        both.table.plan(request)


def test_a_missing_table_may_be_forbidden(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lake does not exist"):
        lake_table(f"delta://{tmp_path}/lake", spark, create=False)


@pytest.mark.parametrize("address", ["delta://", "delta:///", "delta://lake?table=x"])
def test_an_address_is_a_folder(spark: SparkSession, address: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a table"):
        lake_table(address, spark)


@pytest.mark.kill
@pytest.mark.skipif(engines.IS_SPARK, reason="the embedded server dies with the process")
@pytest.mark.usefixtures("spark")
def test_a_run_that_is_killed_after_the_write_reports_it(lake: str) -> None:
    def started(moment: str) -> subprocess.CompletedProcess[str]:
        given = {"source": "in.csv", "destination": f"delta://{lake}", "engine": "sail"}
        code = [sys.executable, str(KILLABLE), str(engines.PACKAGES), moment, json.dumps(given)]
        return subprocess.run(code, capture_output=True, text=True)

    Path("in.csv").write_text("id,email,name\n1,a@x.co,Ann\n2,b@x.co,Bob\n", encoding="utf-8")
    ran = started("written")
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    ran = started("0")
    assert ran.returncode == 0, ran.stderr
    [report] = Path(".tranship", "runs").glob("*/report.json")
    counts = json.loads(report.read_text(encoding="utf-8"))["counts"]
    assert (counts["created"], counts["unchanged"], versions(lake)) == (2, 0, 1)


@pytest.fixture
def iceberg(spark: SparkSession, lake: str, monkeypatch: pytest.MonkeyPatch) -> Both:
    if engines.IS_SPARK:
        pytest.skip("Apache Spark names Iceberg tables by catalogs")

    def read() -> pl.DataFrame:
        return collected(spark.read.format("iceberg").load(lake))

    return Both(lambda: lake_table(f"iceberg://{lake}", spark), read, spark, monkeypatch)


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS // 2))
def test_sequences_of_runs_in_iceberg(iceberg: Both, seed: int) -> None:
    iceberg.write_sequence(seed, 4, deletes=["mark"])


def test_a_killed_run_knows_whether_it_has_written_to_iceberg(iceberg: Both, lake: str) -> None:
    for changed in (B, B | {"name": "Bo"}):
        request = iceberg.request(records(A, changed))
        assert not iceberg.table.applied(request.run_id)
        iceberg.table.apply(request, iceberg.table.plan(request))
        assert iceberg.table.applied(request.run_id)
        assert iceberg.table.plan(request).counts["unchanged"] == 2
    assert len([*Path(lake, "metadata").glob("*.metadata.json")]) == 2


def test_what_another_program_has_written_to_iceberg_since_is_compared_again(
    iceberg: Both, spark: SparkSession, lake: str
) -> None:
    iceberg.write(records(A, B))
    request = iceberg.request(records(A | {"name": "An"}, B | {"name": "Bo"}))
    planned = iceberg.table.plan(request)
    spark.sql(f"DELETE FROM iceberg.`{lake}` WHERE customer_key = '2'").collect()
    with pytest.raises(Interfered):
        iceberg.table.apply(request, planned)
    again = iceberg.table.plan(request)
    assert (again.counts["create"], again.counts["update"]) == (1, 1)
    iceberg.table.apply(request, again)
    assert iceberg.rows().sort("customer_key")["name"].to_list() == ["An", "Bo"]
