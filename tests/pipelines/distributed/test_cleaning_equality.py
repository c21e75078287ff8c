"""Customers, rejects, merges and warnings of an engine are those of one machine, row by row."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import generate
from support.engines import IS_SPARK, PLACE, ROOT, assert_equal, in_order, on_engine, on_one_machine
from support.spark_cluster import cluster
from tranship.pipelines.identify import SurvivorRule

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

LONG = "TRANSHIP_LONG_TESTS" in os.environ
FILES = 8 if LONG else 3
BLOCKED = 400
"""E-mails that identify nobody, so that groups may share them."""
COLUMNS = (
    *("file", "line", "Customer ID", "email", "Name", "Contact Name", "phone", "street", "city", "country"),
    *("status", "updated_at", "note"),
)
TIMES = (
    "2024-01-01",
    "2024-01-02T10:00:00+02:00",
    "2024-01-02T08:00:00Z",
    "1999-12-31",
    None,
    None,
    "soon",
    "03/02/2024",
)
CHOICES: dict[str, Sequence[str | None]] = {
    "Name": ("Ann", "ANN ", "Bob", "Acme", "Acme", None),
    "Contact Name": (None, None, "Cy", "Di Do", "di  do"),
    "phone": (None, "+49 30 123456", "call me"),
    "street": (None, None, "Main St. 1", "x" * 256),
    "city": (None, "Rome", "Oslo"),
    "country": (None, "Germany", "IT", "Atlantis"),
    "status": (None, "active", "on hold", "trial"),
    "updated_at": TIMES,
    "note": (None, "a", "b\x1fc", "quo\"te, 'and' ☃"),
}


def worlds(number: int, seed: int) -> pl.DataFrame:
    """Records in groups that share no key with each other: ties, nulls, ids that look alike, e-mails that are blocked or
    shared, repeats in another case, values that are refused. The records of a group are far apart.
    """
    dice = random.Random(seed)
    rows = []
    for world in range(number):
        ids = [None, None, f"{world}A", f"{world}a", f"{world}B", f" {world}A\u200b", "n/a"]
        emails = [None, f"x@w{world}.co", f"X@W{world}.co ", f"y@w{world}.co", "no address"]
        emails += [f"blocked@w{world % BLOCKED}.co", f"x@w{world}.co; z@w{world}.co"]
        for _ in range(dice.randint(1, 7)):
            row = {"Customer ID": dice.choice(ids), "email": dice.choice(emails)}
            rows.append(row | {name: dice.choice(values) for name, values in CHOICES.items()})
    dice.shuffle(rows)
    return placed(rows)


def placed(rows: list[dict[str, Any]], files: int = 3) -> pl.DataFrame:
    """Rows with the columns of a place, in some files."""
    each = -(-len(rows) // files) if rows else 1
    made = [{"file": f"{at // each}.parquet", "line": at % each + 1} | row for at, row in enumerate(rows)]
    return pl.DataFrame(made, schema=dict.fromkeys(COLUMNS, pl.String) | {"line": pl.Int64})


OPTIONS: dict[str, Any] = {
    "max_conflicts": "100%",
    "values": {"status": {"on hold": "suspended"}},
    "fields": {"name": "Name"},
    "blocked": [f"blocked@w{world}.co" for world in range(BLOCKED)],
}


def shuffled(records: pl.DataFrame) -> str:
    """Write records in another order, as several files; return their folder."""
    folder = Path("shuffled").resolve()
    folder.mkdir(exist_ok=True)
    elsewhere = records.sample(fraction=1, shuffle=True, seed=5)
    for number in range(FILES):
        elsewhere.gather_every(FILES, number).write_parquet(folder / f"{number}.parquet")
    return str(folder)


def both(spark: SparkSession, records: pl.DataFrame, work: Path, **options: Any) -> None:
    """Assert that engine and machine agree about records; the engine has them in another order."""
    df = spark.read.parquet(shuffled(records)).repartition(FILES)
    machine = on_one_machine(records, **OPTIONS | options)
    assert_equal(on_engine(df, work, **OPTIONS | options), machine)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


RULES: list[tuple[SurvivorRule, bool]] = [("newest", False), ("newest", True), ("first", True), ("last", False)]
if LONG:
    RULES += [("first", False), ("last", True)]


@pytest.mark.parametrize(("survivor", "fill"), RULES)
def test_adversarial_records(spark: SparkSession, tmp_path: Path, survivor: SurvivorRule, fill: bool) -> None:
    both(spark, worlds(50_000 if LONG else 400, 1), tmp_path / "work", survivor=survivor, fill=fill)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="none"),
        pytest.param([{"Customer ID": "1", "email": "no address", "Name": "A"}, {"Name": "B"}], id="all rejected"),
        pytest.param([{"email": f"{n % 3}@x.co", "Name": "A", "updated_at": TIMES[n]} for n in range(6)], id="no ids"),
        pytest.param(
            [{"Customer ID": str(n), "Name": "A", "email": f"{n}@x.co"} for n in range(5)], id="no duplicates"
        ),
    ],
)
def test_records_of_one_kind(spark: SparkSession, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    both(spark, placed(rows, files=1), tmp_path / "work", fill=True)


KEYS = st.lists(
    st.fixed_dictionaries(
        {
            "Customer ID": st.sampled_from([None, "1", "2", "a", "A"]),
            "email": st.sampled_from([None, "x@x.co", "X@X.co", "y@x.co", "blocked@w1.co"]),
            "Name": st.sampled_from(["A", "B", "a"]),
            "updated_at": st.sampled_from(TIMES[:5]),
        }
    ),
    max_size=12,
)


@settings(
    max_examples=30 if LONG else 2, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(worlds_of=st.lists(KEYS, min_size=8, max_size=8), survivor=st.sampled_from(["newest", "first", "last"]))
def test_any_keys(
    spark: SparkSession, tmp_path: Path, worlds_of: list[list[dict[str, str | None]]], survivor: str
) -> None:
    rows: list[dict[str, Any]] = []
    for number, world in enumerate(worlds_of):
        for row in world:
            keys = {"Customer ID": row["Customer ID"] and f"{number}{row['Customer ID']}"}
            keys |= {"email": row["email"] and row["email"].replace("@", f"@{number}.")}
            rows.append(row | keys)
    nobody = [f"blocked@{number}.w1.co" for number in range(8)]
    both(spark, placed(rows), tmp_path / f"work{len(list(tmp_path.iterdir()))}", survivor=survivor, blocked=nobody)


def test_typed_columns(spark: SparkSession, tmp_path: Path) -> None:
    moments = pl.Series(["2024-05-01 10:00", None, "2024-05-02 10:00", "2024-05-03 10:00"]).str.to_datetime()
    records = pl.DataFrame(
        {
            "file": ["a.parquet", "a.parquet", "b.parquet", "b.parquet"],
            "line": [1, 2, 1, 2],
            "id": [7, 8, 2**60, None],
            "email": ["a@x.co", None, "c@x.co", "d@x.co"],
            "name": ["A", "B", "C", "D"],
            "net_terms": [30.0, 15.5, None, 0.0],
            "created_at": moments,
            "updated_at": moments.dt.replace_time_zone("America/New_York").cast(pl.Datetime("us", "UTC")),
            "address": [
                {"city": "Rome", "line1": "x"},
                None,
                {"city": None, "line1": "y"},
                {"city": "Oslo", "line1": None},
            ],
            "aliases": [["7", "8"], None, [], ["x"]],
            "balance": pl.Series(["1.50", "2.00", None, "3.25"]).cast(pl.Decimal(9, 2)),
            "paying": [True, False, None, True],
            "since": pl.Series(["2024-01-01", None, None, None]).str.to_date(),
            "tag": [b"caf\xc3\xa9", b"\xff", None, b""],
        }
    )
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        both(spark, records, tmp_path / "work", fields={}, values={}, timezone="Europe/Berlin")
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


@pytest.mark.parametrize(
    "options",
    [
        {
            **{"where": "note is distinct from 'a'", "defaults": {"currency": "EUR"}, "date_format": ["%d/%m/%Y"]},
            **{"set": {"legal_name": "upper(Name)"}, "fields": {"name": "Name | Contact Name", "zip_code": "city"}},
            **{"on_invalid": {"country": "reject", "email": "warn"}, "ignore": ["phone"], "timezone": "Asia/Tokyo"},
        },
        {"strict": True, "extra": "drop", "where": "status = 'active' or status is null"},
    ],
)
def test_settings_of_columns_and_values(spark: SparkSession, tmp_path: Path, options: dict[str, Any]) -> None:
    both(spark, worlds(100, 2), tmp_path / "work", **options)


def test_columns_that_are_named_like_ours(spark: SparkSession, tmp_path: Path) -> None:
    rows = [(id_, mail, str(at)) for at, (id_, mail) in enumerate([("1", "a@x.co"), ("2", "a@x.co"), (None, "a@x.co")])]
    rows += [(None, "b@x.co", "3"), (None, "b@x.co", "4"), ("3", "none", "5")]
    records = pl.DataFrame(rows, schema=["id", "email", "name"], orient="row")
    ours = ("_row", "_source", "_line", "_kind", "_codes", "_text", "_gone", "code", "raw_0", "look", "row", "rank")
    columns = [pl.format("{} {}", pl.lit(name), "name").alias(name) for name in ours]
    place = {"file": pl.lit("a.parquet"), "line": pl.int_range(pl.len()) + 1}
    both(spark, records.with_columns(*columns, **place), tmp_path / "work", fields={}, values={}, fill=True)


def generated(rows: int) -> pl.DataFrame:
    """Records of the benchmarks, in eight files."""
    whole = pl.concat(generate.chunks(rows, 7, shuffle=True))
    each = -(-rows // 8)
    at = pl.int_range(rows)
    placed = whole.with_columns(file=pl.format("{}.parquet", at // each), line=at % each + 1)
    return placed.select(*PLACE, *whole.columns)


def test_generated_records(spark: SparkSession, tmp_path: Path) -> None:
    both(spark, generated(1_000_000 if LONG else 4_000), tmp_path / "work", fields={}, values={})


def test_many_records_of_one_key(spark: SparkSession, tmp_path: Path) -> None:
    rows = 2_000_000 if LONG else 3_000
    at = pl.int_range(rows)
    records = pl.select(
        **{"file": pl.lit("0.parquet"), "line": at + 1},
        **{"Customer ID": pl.when(at % 5 == 0).then(pl.lit("1")).when(at % 5 < 3).then(pl.format("{}", at))},
        email=pl.when(at % 2 == 0).then(pl.lit("x@x.co")).otherwise(pl.format("{}@y.co", at % 997)),
        **{"Name": pl.format("N{}", at % 7), "updated_at": pl.format("202{}-01-01", at % 4)},
    )
    absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in records.columns]
    both(spark, records.with_columns(absent).select(COLUMNS), tmp_path / "work", fill=True)


@pytest.mark.skipif(not (LONG and IS_SPARK), reason="make equality starts a cluster")
def test_two_workers_in_processes_of_their_own(tmp_path: Path) -> None:
    client = ROOT / "build" / "sail"
    if not client.is_dir():
        pytest.skip("make test installs a client of Spark Connect")
    records = generated(200_000)
    out = tmp_path / "out"
    out.mkdir()
    with cluster(tmp_path) as running:
        program = str(ROOT / "benchmarks" / "spark_clean.py")
        command = [sys.executable, program, running.address, shuffled(records), str(out)]
        environment = os.environ | {"PYTHONPATH": str(client)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    logs = [[*folder.rglob("stderr")] for folder in running.workers]
    assert all(any("Finished task" in log.read_text() for log in of_worker) for of_worker in logs), "both have worked"
    counts = {"skipped": 0} | json.loads(ran.stdout.splitlines()[-1])
    counts["customers"] = counts.pop("created")
    names = ("customers", "rejects", "merges", "warnings")
    engine = in_order(*(pl.read_parquet(out / name) for name in names), counts)
    assert_equal(engine, on_one_machine(records, strict=True))
