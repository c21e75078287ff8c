"""The outcome of each record when survivors are compared with a table, in DuckDB."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from support.warehouse import Warehouse, fates, plan, rejects
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.schemas.customer import KEY

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_only_changed_rows_are_written_and_their_fields_counted(warehouse: Warehouse) -> None:
    first = warehouse.load([ANN, BOB, CY])
    second = warehouse.load([{**ANN, "name": "Anna"}, {**BOB, "name": "Rob", "city": "Rome"}, CY])

    assert fates(second) == {"updated": 2, "unchanged": 1}
    assert second.changed_fields == {"city": 1, "name": 2}
    assert warehouse.column(f"name || ' ' || ({RUN} = '{second.run_id}')") == ["Anna true", "Cy false", "Rob true"]
    assert first.changed_fields == {}


def test_the_plan_lists_the_changed_fields_of_each_update(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    report = warehouse.load([{**ANN, "city": "Rome", "name": "Anna"}, BOB])

    assert [(row["action"], row["changed"]) for row in plan(report)] == [
        ("update", ["name", "city"]),
        ("unchanged", None),
    ]


def test_a_column_that_the_source_lacks_is_left_alone(warehouse: Warehouse) -> None:
    warehouse.load([{**ANN, "city": "Rome"}])

    assert fates(warehouse.load([ANN], nulls="overwrite")) == {"unchanged": 1}
    assert warehouse.column("city") == ["Rome"]


def test_a_null_keeps_what_is_there(warehouse: Warehouse) -> None:
    warehouse.load([{**ANN, "city": "Rome"}])

    assert fates(warehouse.load([{**ANN, "city": None}])) == {"unchanged": 1}
    assert fates(warehouse.load([{**ANN, "city": None, "name": "Anna"}])) == {"updated": 1}
    assert warehouse.column("city") == ["Rome"]


def test_a_null_erases_with_nulls_overwrite(warehouse: Warehouse) -> None:
    warehouse.load([{**ANN, "city": "Rome"}])
    report = warehouse.load([{**ANN, "city": None}], nulls="overwrite")

    assert fates(report) == {"updated": 1}
    assert report.changed_fields == {"city": 1}
    assert warehouse.column("city") == [None]
    assert fates(warehouse.load([{**ANN, "city": None}], nulls="overwrite")) == {"unchanged": 1}


def test_no_null_erases_an_external_id(warehouse: Warehouse) -> None:
    warehouse.load([ANN])

    assert fates(warehouse.load([{**ANN, "external_id": None}], nulls="overwrite")) == {"unchanged": 1}
    assert warehouse.column("external_id") == ["1"]


def test_metadata_is_compared_as_a_whole(warehouse: Warehouse) -> None:
    warehouse.load([{**ANN, "Seats": "1", "Plan": "pro"}])
    report = warehouse.load([{**ANN, "Seats": "2", "Plan": "pro"}])

    assert report.changed_fields == {"metadata": 1}
    assert warehouse.column("metadata") == ['{"Seats":"2","Plan":"pro"}']


def test_insert_refuses_who_is_there(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    report = warehouse.load([{**ANN, "name": "Anna"}, BOB], mode="insert")

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"already_there": 1}
    assert report.exit_code == 4
    assert warehouse.column("name") == ["Ann", "Bob"]


def test_update_refuses_who_is_missing(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    report = warehouse.load([{**ANN, "name": "Anna"}, BOB], mode="update")

    assert fates(report) == {"updated": 1, "refused": 1}
    assert report.refused_by_reason == {"not_there": 1}
    assert warehouse.column("name") == ["Anna"]


def test_update_into_nothing_makes_no_customer(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BOB], mode="update")

    assert fates(report) == {"refused": 2}
    assert warehouse.column("name") == []


def test_mirror_marks_what_the_source_no_longer_has(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    report = warehouse.load([ANN], mode="mirror", max_deletes="1")

    assert fates(report) == {"unchanged": 1, "deleted": 1}
    assert warehouse.column(f"name || ' ' || ({DELETED} IS NULL)") == ["Ann true", "Bob false"]
    assert warehouse.rows(f"SELECT {RUN} AS run FROM customers WHERE name = 'Bob'") == [{"run": report.run_id}]


def test_mirror_marks_once(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")

    assert fates(warehouse.load([ANN], mode="mirror", max_deletes="0")) == {"unchanged": 1}


def test_a_customer_who_comes_back_is_no_longer_deleted(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")
    report = warehouse.load([ANN, BOB], mode="mirror", max_deletes="0")

    assert fates(report) == {"unchanged": 1, "updated": 1}
    assert report.changed_fields == {DELETED: 1}
    assert warehouse.column(DELETED) == [None, None]


def test_an_upsert_brings_a_deleted_customer_back_too(warehouse: Warehouse) -> None:
    warehouse.load([ANN, CY])
    warehouse.load([ANN], mode="mirror", max_deletes="1")

    assert fates(warehouse.load([CY])) == {"updated": 1}
    assert warehouse.column(DELETED) == [None, None]


def test_mirror_removes_when_told(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    report = warehouse.load([ANN], mode="mirror", deletes="remove", max_deletes="50%")

    assert fates(report) == {"unchanged": 1, "deleted": 1}
    assert warehouse.column("name") == ["Ann"]


def test_mirror_leaves_rows_that_somebody_else_wrote(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    warehouse.do(f"INSERT INTO customers ({KEY}, external_id, name) VALUES ('9', '9', 'By hand')")

    assert fates(warehouse.load([ANN], mode="mirror", max_deletes="0")) == {"unchanged": 1}


def test_mirror_does_not_delete_whom_an_ambiguous_record_may_mean(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load([{**ANN, "external_id": None}], mode="mirror", max_deletes="100%")

    assert fates(report) == {"rejected": 1}
    assert warehouse.column(DELETED) == [None, None]


def test_mirror_does_not_delete_rows_that_share_the_id_of_a_record(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.do("INSERT INTO customers FROM customers WHERE external_id = '1'")
    report = warehouse.load([ANN, BOB], mode="mirror", max_deletes="100%")

    assert fates(report) == {"unchanged": 1, "refused": 1}
    assert report.refused_by_reason == {"matches_several": 1}
    assert warehouse.column(DELETED) == [None, None, None]


def test_mirror_of_an_empty_source_deletes_everybody(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    report = warehouse.load([], mode="mirror", max_deletes="100%", allow_empty=True)

    assert fates(report) == {"deleted": 2}


def test_more_deletes_than_allowed_stop_the_run(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])

    with pytest.raises(GateClosed, match="2 of 2 customers would be deleted, more than --max-deletes 50%"):
        warehouse.load([CY], mode="mirror", max_deletes="50%")
    assert warehouse.column(DELETED) == [None, None]


def test_mirror_needs_a_table_that_knows_what_this_tool_wrote(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")

    with pytest.raises(ConfigError, match="which --mode mirror needs"):
        warehouse.load([ANN], mode="mirror", max_deletes="1")


def test_a_customer_known_by_e_mail_keeps_its_key_when_an_id_arrives(warehouse: Warehouse) -> None:
    warehouse.load([CY])
    report = warehouse.load([{**CY, "external_id": "3"}])

    assert fates(report) == {"updated": 1}
    assert report.changed_fields == {"external_id": 1}
    assert warehouse.rows(f"SELECT {KEY}, external_id FROM customers") == [
        {KEY: "email:cy@acme.com", "external_id": "3"}
    ]
    assert fates(warehouse.load([{**CY, "external_id": "3"}])) == {"unchanged": 1}


def test_a_record_without_id_finds_the_one_customer_with_its_e_mail(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    report = warehouse.load([{"external_id": None, "email": "Ann@ACME.com", "name": "Anna"}])

    assert fates(report) == {"updated": 1}
    assert warehouse.column("external_id || name") == ["1Anna", "2Bob"]


def test_an_e_mail_of_two_customers_is_ambiguous(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load(
        [{"E-Mail": " Ann@ACME.com", "Kunde Name": "?", "name": "Anna  "}, {"name": "Dan", "E-Mail": "dan@acme.com"}]
    )

    assert fates(report) == {"created": 1, "rejected": 1}
    assert report.rejects_by_code == {"identity.ambiguous_email": 1}
    assert report.exit_code == 4


def test_an_ambiguous_record_is_rejected_in_its_own_spelling(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    records = [{"name": "Dan", "E-Mail": "dan@acme.com"}, {"E-Mail": " Ann@ACME.com", "name": "Anna  ", "Plan": "x;y"}]
    report = warehouse.load(records)

    [row] = rejects(report)
    assert {name: row[name] for name in ("E-Mail", "name", "Plan")} == records[1]
    assert (row["_line"], row["_codes"]) == ("3", "identity.ambiguous_email")


def test_a_customer_of_the_run_is_not_found_by_the_e_mail_it_had(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    report = warehouse.load([{**ANN, "email": "new@acme.com"}, {**ANN, "external_id": None, "name": "Other Ann"}])

    # The key email:ann@acme.com is free, and no customer has that address any more: a new customer.
    assert fates(report) == {"updated": 1, "created": 1}
    assert warehouse.column("external_id || email") == ["1new@acme.com", None]


def test_the_id_of_a_customer_is_not_given_where_two_claim_the_e_mail(warehouse: Warehouse) -> None:
    warehouse.load([CY])
    report = warehouse.load([{**ANN, "email": "cy@acme.com"}, {**BOB, "email": "cy@acme.com"}])

    assert fates(report) == {"created": 2}
    assert warehouse.column("external_id") == ["1", "2", None]


def test_the_id_of_a_customer_is_not_given_where_another_row_has_the_e_mail(warehouse: Warehouse) -> None:
    warehouse.load([ANN, CY])
    warehouse.load([{**ANN, "email": "cy@acme.com"}])
    report = warehouse.load([{**BOB, "email": "cy@acme.com"}])

    assert fates(report) == {"created": 1}
    assert warehouse.column("external_id") == ["1", "2", None]


def test_a_row_whose_e_mail_moves_on_in_this_run_is_no_claim(warehouse: Warehouse) -> None:
    warehouse.load([ANN, CY])
    warehouse.load([{**ANN, "email": "cy@acme.com"}])
    report = warehouse.load([ANN, {**BOB, "email": "cy@acme.com"}])

    assert fates(report) == {"updated": 2}
    assert warehouse.column("external_id") == ["1", "2"]


def test_a_blocked_e_mail_finds_nobody(warehouse: Warehouse) -> None:
    warehouse.load([{**ANN, "email": "noreply@acme.com"}])
    report = warehouse.load([{**BOB, "email": "noreply@acme.com"}])

    assert fates(report) == {"created": 1}


def test_an_id_in_several_rows_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")
    warehouse.do("INSERT INTO customers VALUES ('1', 'Old'), ('1', 'Older')")
    report = warehouse.load([ANN, BOB])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"matches_several": 1}
    assert warehouse.column("name") == ["Bob", "Old", "Older"]


def test_big_tables_are_compared_in_little_memory(warehouse: Warehouse) -> None:
    people = pl.DataFrame({"external_id": range(200_000)}).with_columns(
        name=pl.format("Customer {}", "external_id"), email=pl.format("c{}@acme.com", "external_id")
    )
    people.write_parquet(warehouse.folder / "big.parquet")
    warehouse.load(warehouse.folder / "big.parquet", memory="64MB")

    report = warehouse.load(warehouse.folder / "big.parquet", memory="64MB")
    assert fates(report) == {"unchanged": 200_000}
