"""Verification of a table: exactly the differences are found, with the expected and the actual values."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Record, Warehouse
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import render
from tranship.pipelines.observer import Quiet
from tranship.pipelines.verify import DIFFERENCES, Verification, differences
from tranship.schemas.customer import COLUMNS

pytestmark = pytest.mark.slow

RECORDS: list[Record] = [
    {"external_id": "1", "email": "ann@acme.com", "name": "Ann", "country": "SE", "net_terms": "30"},
    {"external_id": "2", "email": "bea@acme.com", "name": "Bea", "country": "DE", "net_terms": None},
    {"external_id": None, "email": "cy@acme.com", "name": "Cy", "country": "US", "net_terms": "7"},
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path)
    made.load(RECORDS)
    return made


def looked_at(warehouse: Warehouse, **options: Any) -> Verification:
    given = {"source": str(warehouse.folder / "in.csv"), "destination": warehouse.address()}
    return flow.verify(settings.load({**given, "state_dir": warehouse.folder / "state", **options}, {}))


def told(found: Verification) -> list[tuple[str, ...]]:
    with Path(found.files["differences"]).open(encoding="utf-8", newline="") as file:
        return sorted(tuple(row.values()) for row in csv.DictReader(file))


def test_what_was_just_loaded_is_equal(warehouse: Warehouse) -> None:
    found = looked_at(warehouse)

    assert found.equal
    assert found.counts == {
        "equal": 3, "different": 0, "only_in_source": 0, "only_at_destination": 0, "refused": 0,
    }  # fmt: skip
    assert not found.files


def test_each_difference_is_found_once(warehouse: Warehouse) -> None:
    warehouse.do(
        "UPDATE customers SET name = 'Anna', net_terms = 60 WHERE external_id = '1'",
        "DELETE FROM customers WHERE email = 'cy@acme.com'",
        "INSERT INTO customers (customer_key, external_id, name) VALUES ('9', '9', 'Nine')",
    )
    found = looked_at(warehouse)

    assert not found.equal
    assert found.counts == {
        "equal": 1, "different": 1, "only_in_source": 1, "only_at_destination": 1, "refused": 0,
    }  # fmt: skip
    assert dict(found.different_fields) == {"name": 1, "net_terms": 1}
    assert told(found) == [
        ("different", "1", "ann@acme.com", "name", "Ann", "Anna"),
        ("different", "1", "ann@acme.com", "net_terms", "30", "60"),
        ("only_at_destination", "9", "", "", "", ""),
        ("only_in_source", "", "cy@acme.com", "", "", ""),
    ]


def test_a_look_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.do("UPDATE customers SET name = 'Anna' WHERE external_id = '1'")
    before = warehouse.rows()
    looked_at(warehouse)

    assert warehouse.rows() == before


def test_a_null_of_the_source_says_nothing(warehouse: Warehouse) -> None:
    warehouse.do("UPDATE customers SET net_terms = 14 WHERE external_id = '2'")

    assert looked_at(warehouse).equal


def test_an_earlier_run_is_compared_without_its_source(warehouse: Warehouse) -> None:
    (warehouse.folder / "in.csv").unlink()
    assert flow.verify_run(warehouse.folder / "state", "last").equal
    warehouse.do("UPDATE customers SET country = 'NO' WHERE external_id = '1'")

    found = flow.verify_run(warehouse.folder / "state", "last")
    assert told(found) == [("different", "1", "ann@acme.com", "country", "SE", "NO")]


def test_a_table_that_is_not_there_lacks_everybody(warehouse: Warehouse) -> None:
    found = looked_at(warehouse, destination=warehouse.address("nobody"))

    assert found.counts["only_in_source"] == 3


def test_lists_and_instants_are_told_as_people_write_them() -> None:
    survivors = pl.DataFrame(
        {"_row": [0], "external_id": ["1"], "aliases": [["a", "b"]], "created_at": ["2024-01-02T03:04:05Z"]}
    ).with_columns(pl.col("created_at").str.to_datetime(time_unit="us", time_zone="UTC"))
    survivors = survivors.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in COLUMNS.items() if name not in survivors.columns
    ).cast({"_row": pl.UInt64})
    plan = pl.DataFrame(
        {"row": [0], "action": ["update"], "reason": [None], "changed": [["aliases", "created_at"]]},
        schema={"row": pl.UInt64, "action": pl.String, "reason": pl.String, "changed": pl.List(pl.String)},
    )
    there = pl.DataFrame(
        {"row": [0], "aliases": [None], "created_at": ["2024-01-01 00:00:00+00"]},
        schema={"row": pl.UInt64, "aliases": pl.String, "created_at": pl.String},
    )
    found = differences(plan.lazy(), survivors.lazy(), there.lazy(), None).collect()

    assert found.schema == DIFFERENCES
    assert sorted(found.select("field", "expected", "found").rows()) == [
        ("aliases", "a; b", None),
        ("created_at", "2024-01-02 03:04:05", "2024-01-01 00:00:00+00"),
    ]


def test_a_file_that_was_compressed_after_it_was_written_is_compared(warehouse: Warehouse) -> None:
    plain = warehouse.folder / "out.csv"
    warehouse.load(warehouse.folder / "in.csv", destination=str(plain))
    packed = plain.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(b"Bea", b"Bee")))

    found = looked_at(warehouse, destination=str(packed))
    assert (found.counts["equal"], found.different_fields) == (2, {"name": 1})


def test_a_comparison_is_no_run_that_goes_on(warehouse: Warehouse) -> None:
    heard: list[str] = []

    class Ears(Quiet):
        def note(self, text: str) -> None:
            heard.append(text)

    given = {"source": str(warehouse.folder / "in.csv"), "destination": warehouse.address()}
    flow.verify(settings.load({**given, "state_dir": warehouse.folder / "other"}, {}), Ears())
    assert heard == []


@pytest.mark.parametrize(
    ("counts", "history", "said"),
    [
        ({"equal": 3}, {}, "no differences"),
        ({"equal": 3, "refused": 2}, {}, "no differences, but the destination refuses 2 customers"),
        ({"equal": 3, "refused": 2, "different": 1}, {}, "differences found"),
        ({"equal": 3, "refused": 2}, {"versions": 5, "broken": 1}, "differences found"),
    ],
)
def test_refused_customers_alone_are_no_differences(counts: dict[str, int], history: dict[str, int], said: str) -> None:
    found = Verification(run_id="x", source="a.csv", destination="b.csv", counts=counts, history=history)
    assert render.of_verification(found).splitlines()[1] == said
    assert found.equal is (said == "no differences")
