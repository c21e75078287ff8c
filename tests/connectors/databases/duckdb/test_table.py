"""A DuckDB table as a destination: real files, real runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from support.warehouse import Warehouse, fates
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import ConfigError
from tranship.schemas.customer import COLUMNS, KEY

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}

ODD_NAMES = ('we"ird', "select", "two words", "Zürich 東京", "semi;colon", "o'clock", "a.b")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_a_query_is_no_destination(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match="can be read, not written"):
        warehouse.load([ANN], destination=f"duckdb:///{warehouse.file}?query=FROM customers")


def test_the_folder_must_exist(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        warehouse.load([ANN], destination=f"duckdb:///{warehouse.folder}/nowhere/w.duckdb")


def test_a_fresh_table_has_the_canonical_columns_in_their_types(warehouse: Warehouse) -> None:
    warehouse.load([ANN])

    texts = {name: "VARCHAR" for name, dtype in COLUMNS.items() if dtype == pl.String}
    instants = {name: "TIMESTAMP WITH TIME ZONE" for name, dtype in COLUMNS.items() if dtype.is_temporal()}
    lists = dict.fromkeys(("invoice_cc_emails", "aliases"), "VARCHAR[]")
    expected = {**texts, **instants, **lists, "net_terms": "INTEGER", "metadata": "JSON"}
    found = {row["column_name"]: row["column_type"] for row in warehouse.rows("DESCRIBE customers")}
    assert found == {KEY: "VARCHAR", **expected, RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}
    assert list(found) == [KEY, *COLUMNS, RUN, DELETED]


def test_the_columns_of_a_fresh_table_are_explained(warehouse: Warehouse) -> None:
    warehouse.load([ANN])

    found = warehouse.rows("SELECT column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL")
    comments = {row["column_name"]: row["comment"] for row in found}
    assert {KEY, RUN, DELETED, "phone", "country"} <= set(comments)
    assert comments["country"] == "ISO 3166-1 alpha-2."


def test_values_arrive_typed(warehouse: Warehouse) -> None:
    warehouse.load(
        [
            {
                **ANN,
                "net_terms": "30",
                "created_at": "2024-01-02T03:04:05.678901+02:00",
                "invoice_cc_emails": "a@b.co;c@b.co",
                "aliases": '["x;y"]',
                "zip_code": "00120",
                "Seats": "7",
            }
        ]
    )

    row = warehouse.rows()[0]
    assert row["net_terms"] == 30
    assert row["created_at"] == datetime(2024, 1, 2, 1, 4, 5, 678901, UTC)
    assert row["invoice_cc_emails"] == ["a@b.co", "c@b.co"]
    assert row["aliases"] == ["x;y"]
    assert row["zip_code"] == "00120"
    assert row["metadata"] == '{"Seats":"7"}'


def test_the_key_is_the_external_id_or_the_e_mail(warehouse: Warehouse) -> None:
    warehouse.load([ANN, CY])

    assert warehouse.column(KEY) == ["1", "email:cy@acme.com"]


@pytest.mark.parametrize("prefix", ["email:", "id:"])
def test_an_id_that_looks_like_a_key_does_not_take_one(warehouse: Warehouse, prefix: str) -> None:
    records = [CY, {"external_id": f"{prefix}cy@acme.com", "email": None, "name": "Other"}]

    assert fates(warehouse.load(records)) == {"created": 2}
    assert warehouse.column(KEY) == sorted(["email:cy@acme.com", f"id:{prefix}cy@acme.com"])
    assert fates(warehouse.load(records)) == {"unchanged": 2}


def test_every_row_names_the_run_that_wrote_it(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BOB])

    assert warehouse.column(RUN) == [report.run_id, report.run_id]


def test_the_second_run_writes_no_row(warehouse: Warehouse) -> None:
    first = warehouse.load([ANN, BOB, CY])
    second = warehouse.load([ANN, BOB, CY])

    assert fates(second) == {"unchanged": 3}
    assert set(warehouse.column(RUN)) == {first.run_id}


def test_a_view_is_no_destination(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE people (external_id VARCHAR, name VARCHAR)", "CREATE VIEW customers AS FROM people")

    with pytest.raises(ConfigError, match="is a view; it can be read, not written"):
        warehouse.load([ANN])


def test_a_column_called_rowid_is_reported(warehouse: Warehouse) -> None:
    warehouse.do('CREATE TABLE customers (external_id VARCHAR, name VARCHAR, "RowId" INTEGER)')

    with pytest.raises(ConfigError, match="column RowId hides"):
        warehouse.load([ANN])


def test_case_does_not_matter_in_a_table_s_name(warehouse: Warehouse) -> None:
    warehouse.do('CREATE SCHEMA "Billing"', 'CREATE TABLE "Billing"."Customers" (external_id VARCHAR, name VARCHAR)')

    assert fates(warehouse.load([ANN], table="BILLING.customers")) == {"created": 1}
    assert warehouse.column("name", table="billing.customers") == ["Ann"]


def test_a_schema_is_made_where_it_is_missing(warehouse: Warehouse) -> None:
    warehouse.load([ANN], table="billing.customers")

    assert fates(warehouse.load([ANN], table="billing.customers")) == {"unchanged": 1}
    assert warehouse.column("count(*)", table=f"billing.{LEDGER}") == [2]


def test_a_schema_may_be_called_like_the_file(warehouse: Warehouse) -> None:
    for fate in ("created", "unchanged"):
        assert fates(warehouse.load([ANN], table="w.customers")) == {fate: 1}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_table_name_will_do(warehouse: Warehouse, name: str) -> None:
    table = '"' + name.replace('"', '""') + '"'
    for fate in ("created", "unchanged"):
        report = warehouse.load([ANN], table=f"{table}.{table}".replace(";", "%3B"))
        assert fates(report) == {fate: 1}
    assert warehouse.column("name", table=f"{table}.{table}") == ["Ann"]


@pytest.mark.parametrize("name", [*ODD_NAMES, "row", "target", "s", "t", "_row", "external", "Name\nof"])
def test_any_column_name_will_do(warehouse: Warehouse, name: str) -> None:
    column = '"' + name.replace('"', '""') + '"'
    warehouse.do(
        f"CREATE TABLE customers ({column} VARCHAR DEFAULT 'x', external_id VARCHAR, name VARCHAR, "
        f"computed VARCHAR GENERATED ALWAYS AS ({column} || '!'))"
    )

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert fates(warehouse.load([{**ANN, "name": "Anna"}])) == {"updated": 1}
    assert warehouse.column("computed") == ["x!"]


def test_a_dry_run_leaves_no_database(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN], dry_run=True)

    assert fates(report) == {"created": 1}
    assert not warehouse.file.exists()


def test_a_dry_run_leaves_the_table_alone(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    before = warehouse.rows()
    report = warehouse.load([{**ANN, "name": "Anna"}, BOB], dry_run=True)

    assert fates(report) == {"created": 1, "updated": 1}
    assert warehouse.rows() == before
    assert warehouse.column("count(*)", table=LEDGER) == [1]
