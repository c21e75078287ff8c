"""A Delta table is, row by row, the DuckDB table that ordinary runs write of the same customers."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from support import engines
from support.engine_tables import assert_same_plan, assert_same_rows, ordinary_run, request_of
from support.engines import collected
from tranship.connectors.errors import ConfigError, Interfered, Refused
from tranship.pipelines.distributed.destinations.contract import Planned, Request
from tranship.pipelines.distributed.destinations.table_columns import TABLE
from tranship.pipelines.distributed.stage_rows import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tranship.pipelines.distributed.destinations.delta import DeltaTable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(engines.IS_SPARK, reason="needs the jar of Delta")]

COLUMNS = ("external_id", "email", "name", "city", "invoice_cc_emails", "net_terms", "updated_at", "metadata")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def delta_table(address: str, spark: SparkSession, *, create: bool = True) -> DeltaTable:
    from tranship.pipelines.distributed.destinations.delta import DeltaTable

    return DeltaTable(address, spark, create=create)


class Both:
    """The two tables, written by the same runs."""

    def __init__(self, spark: SparkSession, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spark, self.folder, self.monkeypatch = spark, folder, monkeypatch
        self.table = delta_table(f"delta://{folder}/lake", spark)
        self.runs = 0

    def request(self, records: pl.DataFrame, **options: Any) -> Request:
        """Return the request of a run that the ordinary table has already carried out."""
        self.runs += 1
        self.step = ordinary_run(records, self.monkeypatch, **options)
        return request_of(self.step, self.spark, self.folder / f"run{self.runs}")

    def write(self, records: pl.DataFrame, **options: Any) -> Planned:
        """Write records to both tables, which must agree."""
        request = self.request(records, **options)
        planned = self.table.plan(request)
        assert_same_plan(self.step, planned)
        self.table.apply(request, planned)
        assert_same_rows(self.rows)
        return planned

    @property
    def rows(self) -> pl.DataFrame:
        return collected(self.spark.read.format("delta").load(str(self.folder / "lake")))

    @property
    def versions(self) -> int:
        return len([*(self.folder / "lake" / "_delta_log").glob("*.json")])


@pytest.fixture
def both(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(spark, tmp_path, monkeypatch)


def records(*rows: dict[str, Any], columns: tuple[str, ...] = COLUMNS) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String), orient="row")


def dirt(dice: random.Random, number: int) -> pl.DataFrame:
    """Records of few ids and e-mails, so that customers meet, part and exchange their e-mails between runs."""
    choices: dict[str, list[str | None]] = {
        "external_id": [None, None, *(f"c{at}" for at in range(6)), "C1", "email:x@a.co", "id:1"],
        "email": [None, *(f"{letter}@a.co" for letter in "stuvwxyz"), "no address", "blocked@a.co"],
        "name": ["Ann", "Bob", "Cy", "Di", None],
        "city": [None, "Rome", "Oslo"],
        "invoice_cc_emails": [None, "q@a.co", "q@a.co;r@a.co"],
        "net_terms": [None, "30", "14"],
        "updated_at": [None, "2024-01-01", "2024-01-02T03:04:05.123456Z", "2024-03-01", "9999-12-31"],
        "metadata": [None, '{"a": 1}', "odd"],
    }
    rows = [{name: dice.choice(values) for name, values in choices.items()} for _ in range(number)]
    return records(*rows)


@pytest.mark.parametrize("seed", range(4))
def test_sequences_of_runs(both: Both, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(4):
        columns = ["external_id", "email", "name", *dice.sample(COLUMNS[3:], 3 if number else 5)]
        both.write(
            dirt(dice, dice.choice([4, 12, 25])).select(columns),
            mode=dice.choice(["upsert", "upsert", "insert", "update", "mirror", "mirror"]) if number else "upsert",
            older=dice.choice(["skip", "write", "refuse"]),
            nulls=dice.choice(["keep", "overwrite"]),
            deletes=dice.choice(["mark", "mark", "remove"]),
            fill=dice.choice([True, False]),
            blocked=["blocked@a.co"],
        )


A = {"external_id": "1", "email": "a@x.co", "name": "Ann", "updated_at": "2024-01-01"}
B = {"external_id": "2", "email": "b@x.co", "name": "Bob", "updated_at": "2024-01-01"}


def test_a_run_without_changes_writes_no_version(both: Both) -> None:
    both.write(records(A, B))
    assert both.write(records(A, B)).counts["unchanged"] == 2
    assert both.versions == 1
    both.write(records(A, B | {"name": "Bo"}))
    assert both.versions == 2


def test_a_killed_run_knows_whether_it_has_written(both: Both, spark: SparkSession) -> None:
    for changed in (B, B | {"name": "Bo"}):
        request = both.request(records(A, changed))
        assert not both.table.applied(request.run_id)
        both.table.apply(request, both.table.plan(request))
        assert delta_table(f"delta://{both.folder}/lake", spark).applied(request.run_id)
        assert both.table.plan(request).counts["unchanged"] == 2


def test_what_another_program_has_written_since_is_compared_again(both: Both) -> None:
    both.write(records(A, B))
    request = both.request(records(A | {"name": "An"}, B | {"name": "Bo"}))
    planned = both.table.plan(request)
    other = both.spark.sql(f"UPDATE delta.`{both.folder}/lake` SET name = 'Bo' WHERE customer_key = '2'")
    other.collect()
    with pytest.raises(Interfered, match=r"table delta://.*lake: another program has written it since the comparison"):
        both.table.apply(request, planned)
    assert both.rows.sort("customer_key")["name"].to_list() == ["Ann", "Bo"]
    both.table.apply(request, both.table.plan(request))
    assert both.rows.sort("customer_key")["name"].to_list() == ["An", "Bo"]


def test_a_table_that_appears_meanwhile_is_not_replaced(both: Both) -> None:
    request = both.request(records(A, B))
    planned = both.table.plan(request)
    both.spark.createDataFrame([("x",)], "customer_key string").write.format("delta").save(f"{both.folder}/lake")
    with pytest.raises(Interfered):
        both.table.apply(request, planned)
    assert both.rows.columns == ["customer_key"]


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
def test_a_table_of_another_shape_is_refused(both: Both, columns: str, message: str) -> None:
    both.spark.createDataFrame([], columns).write.format("delta").save(f"{both.folder}/lake")
    request = both.request(records(A))
    with pytest.raises(ConfigError, match=re.escape(message)):
        both.table.plan(request)


def test_rows_that_cannot_be_told_apart_are_refused(both: Both) -> None:
    both.write(records(A, B))
    table = both.spark.read.format("delta").load(f"{both.folder}/lake")
    table.where("customer_key = '1'").write.format("delta").mode("append").save(f"{both.folder}/lake")
    with pytest.raises(Refused, match="1 value of customer_key occurs in several rows or is missing"):
        both.table.plan(both.request(records(A, B)))


def test_columns_that_the_table_lacks(both: Both) -> None:
    from pyspark.sql.types import StructType

    first = ("external_id", "email", "name", "updated_at")
    both.write(records(A, columns=first))
    lake = str(both.folder / "lake")
    narrow = both.spark.read.format("delta").load(lake).drop("city").collect()
    shutil.rmtree(lake)
    columns = [field for field in spark_schema(TABLE).fields if field.name != "city"]
    both.spark.createDataFrame(narrow, StructType(columns)).write.format("delta").save(lake)
    request = both.request(records(A | {"city": "Rome"}))
    planned = both.table.plan(request)
    assert planned.notes == ("not stored, no matching column: city (--evolve adds columns)",)
    assert planned.counts["unchanged"] == 1
    evolving = dataclasses.replace(request, evolve=True)
    planned = both.table.plan(evolving)
    assert planned.notes == ("column city is added",)
    both.table.apply(evolving, planned)
    assert both.rows["city"].to_list() == ["Rome"]


def test_a_missing_table_may_be_forbidden(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lake does not exist"):
        delta_table(f"delta://{tmp_path}/lake", spark, create=False)


@pytest.mark.parametrize("address", ["delta://", "delta:///", "delta://lake?table=x"])
def test_an_address_is_a_folder(spark: SparkSession, address: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a Delta table"):
        delta_table(address, spark)
