"""A DuckDB table as source and destination: real files, real runs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Warehouse, fates, plan, rejects
from tranship.connectors.databases.duckdb.address import parse
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import ConfigError, ConnectorError, GateClosed, Refused, Unreachable
from tranship.schemas.customer import COLUMNS, KEY

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}
CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}
ODD_NAMES = ('we"ird', "select", "two words", "Zürich 東京", "semi;colon", "o'clock", "a.b")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


# Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path", "schema", "table", "query"),
    [
        ("duckdb:///w.duckdb", "w.duckdb", "main", "customers", None),
        ("DuckDB:///w.duckdb", "w.duckdb", "main", "customers", None),
        ("duckdb:////srv/w.duckdb?table=people", "/srv/w.duckdb", "main", "people", None),
        ("duckdb:///my%20dir/x.duckdb?table=a%20b", "my dir/x.duckdb", "main", "a b", None),
        ("duckdb:///my dir/x.duckdb?table=a b", "my dir/x.duckdb", "main", "a b", None),
        ("duckdb:///100%.duckdb?table=50%", "100%.duckdb", "main", "50%", None),
        ("duckdb:///a%3Fb%25.duckdb?table=a%26b", "a?b%.duckdb", "main", "a&b", None),
        ("duckdb:///a#b.duckdb?table=a#b", "a#b.duckdb", "main", "a#b", None),
        ("duckdb:///z%C3%BCrich.duckdb?table=東京", "zürich.duckdb", "main", "東京", None),
        ("duckdb:///w.duckdb?table=billing.customers", "w.duckdb", "billing", "customers", None),
        ('duckdb:///w.duckdb?table="a.b"', "w.duckdb", "main", "a.b", None),
        ('duckdb:///w.duckdb?table="a.b"."c""d"', "w.duckdb", "a.b", 'c"d', None),
        ('duckdb:///w.duckdb?table=billing."c.d"', "w.duckdb", "billing", "c.d", None),
        ('duckdb:///w.duckdb?table=we"ird', "w.duckdb", "main", 'we"ird', None),
        ("duckdb:///w.duckdb?query=SELECT 1+1 AS id", "w.duckdb", "main", "customers", "SELECT 1+1 AS id"),
        (
            "duckdb:///w.duckdb?query=FROM t WHERE a='b%26c' AND d LIKE 'e%'",
            *("w.duckdb", "main", "customers", "FROM t WHERE a='b&c' AND d LIKE 'e%'"),
        ),
    ],
)
def test_an_address_names_file_and_table(spec: str, path: str, schema: str, table: str, query: str | None) -> None:
    address = parse(spec)

    assert (str(address.path), address.schema, address.table, address.query) == (path, schema, table, query)


@pytest.mark.parametrize(
    "spec",
    [
        "duckdb:",
        "duckdb://",
        "duckdb:///",
        "duckdb:////",
        "duckdb://warehouse.duckdb",
        "duckdb://host/warehouse.duckdb",
        "duckdb:///:memory:",
        "duckdb:///w.duckdb?",
        "duckdb:///w.duckdb?customers",
        "duckdb:///w.duckdb?table",
        "duckdb:///w.duckdb?table=",
        "duckdb:///w.duckdb?Table=x",
        "duckdb:///w.duckdb?tables=x",
        "duckdb:///w.duckdb?table=x&",
        "duckdb:///w.duckdb?table=x&table=y",
        "duckdb:///w.duckdb?table=x&query=y",
        "duckdb:///w.duckdb?table=.x",
        "duckdb:///w.duckdb?table=x.",
        "duckdb:///w.duckdb?table=a.b.c",
        'duckdb:///w.duckdb?table="a',
        'duckdb:///w.duckdb?table=""',
        "duckdb:///~nobody-of-that-name/w.duckdb",
        "duckdb:///%00.duckdb",
        "duckdb:///w.duckdb?table=a%00b",
        "duckdb:///%ff.duckdb",
        "duckdb:///\udcff.duckdb",
    ],
)
def test_an_address_that_cannot_be_meant_is_answered_in_words(spec: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(spec)

    str(raised.value).encode()


def test_a_query_is_no_destination(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match="can be read, not written"):
        warehouse.load([ANN], destination=f"duckdb:///{warehouse.file}?query=FROM customers")


def test_the_folder_must_exist(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        warehouse.load([ANN], destination=f"duckdb:///{warehouse.folder}/nowhere/w.duckdb")


def test_a_file_that_is_no_database_is_answered_in_words(warehouse: Warehouse) -> None:
    warehouse.file.write_bytes(b"id,name\n" * 1000)

    with pytest.raises(ConfigError, match="cannot be opened as a DuckDB database"):
        warehouse.load([ANN])


def test_percent_encoded_addresses_reach_the_file(tmp_path: Path) -> None:
    (tmp_path / "my dir").mkdir()
    warehouse = Warehouse(tmp_path / "my dir")

    warehouse.load([ANN], destination=f"duckdb:///{tmp_path}/my%20dir/w.duckdb?table=a%20b")

    assert warehouse.column("name", table='"a b"') == ["Ann"]


# A table of our own ----------------------------------------------------------------------------------------------


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


# Modes -----------------------------------------------------------------------------------------------------------


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

    with pytest.raises(ConfigError, match="would have to guess"):
        warehouse.load([ANN], mode="mirror", max_deletes="1")


# Identity at the destination -------------------------------------------------------------------------------------


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

    # The key email:ann@acme.com is free, and nobody has that address any more: a new customer.
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


# Tables of the user's own ----------------------------------------------------------------------------------------


def test_a_table_with_fewer_columns_takes_what_it_has_columns_for(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")
    report = warehouse.load([{**ANN, "city": "Rome"}])

    assert warehouse.rows() == [{"external_id": "1", "name": "Ann"}]
    assert any("email, city" in note and "not stored" in note for note in report.notes)
    assert fates(warehouse.load([{**ANN, "city": "Rome"}])) == {"unchanged": 1}


def test_evolve_adds_the_columns_that_the_source_has(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR)", "INSERT INTO customers VALUES ('1', 'Ann')"
    )
    report = warehouse.load([{**ANN, "city": "Rome", "Seats": "3"}], evolve=True)

    assert fates(report) == {"updated": 1}
    assert report.changed_fields == {"city": 1, "email": 1, "metadata": 1}
    assert [row["column_name"] for row in warehouse.rows("DESCRIBE customers")] == [
        *("external_id", "name", "email", "city", "metadata")
    ]


def test_evolve_writes_no_column_in_a_dry_run(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")
    warehouse.load([ANN], evolve=True, dry_run=True)

    assert [row["column_name"] for row in warehouse.rows("DESCRIBE customers")] == ["external_id", "name"]


def test_columns_are_recognised_by_name(warehouse: Warehouse) -> None:
    warehouse.do(
        'CREATE TABLE customers ("CustomerId" VARCHAR, "EMail" VARCHAR, "Company Name" VARCHAR, extra INTEGER)'
    )
    warehouse.load([ANN])

    assert warehouse.rows() == [{"CustomerId": "1", "EMail": "ann@acme.com", "Company Name": "Ann", "extra": None}]
    assert fates(warehouse.load([{**ANN, "name": "Anna"}])) == {"updated": 1}


def test_an_e_mail_in_capitals_is_the_same_customer(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (email VARCHAR, name VARCHAR)", "INSERT INTO customers VALUES ('ANN@Acme.com', 'A')"
    )

    assert fates(warehouse.load([{**ANN, "name": None, "legal_name": "x"} | {"name": "A"}])) == {"updated": 1}
    assert warehouse.rows() == [{"email": "ann@acme.com", "name": "A"}]


def test_other_types_are_filled_as_they_can_be(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TYPE state_of AS ENUM ('active', 'it''s')",
        "CREATE TABLE customers (id BIGINT, name VARCHAR, created_at DATE, updated_at VARCHAR, metadata VARCHAR, "
        "status state_of, net_terms VARCHAR, cc_emails JSON, aliases VARCHAR, paid_started TIMESTAMP, zip INTEGER)",
    )
    record = {
        **{"id": "42", "name": "Ann", "created_at": "2024-02-03T10:00Z", "updated_at": "2024-02-03T10:00Z"},
        **{"metadata": '{"a": 1}', "status": "active", "net_terms": "30", "cc_emails": "a@b.co;c@b.co"},
        **{"aliases": "x;y", "paid_started": "2024-02-03T10:00+01:00", "zip": "12345"},
    }

    assert fates(warehouse.load([record])) == {"created": 1}
    assert warehouse.rows() == [
        {
            **{"id": 42, "name": "Ann", "created_at": datetime(2024, 2, 3, tzinfo=UTC).date()},
            **{"updated_at": "2024-02-03 10:00:00+00", "metadata": '{"a": 1}', "status": "active"},
            **{"net_terms": "30", "cc_emails": '["a@b.co","c@b.co"]', "aliases": '["x","y"]'},
            **{"paid_started": datetime(2024, 2, 3, 9), "zip": 12345},
        }
    ]
    assert fates(warehouse.load([record])) == {"unchanged": 1}


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("BIGINT", "42", "abc"),
        ("BIGINT", "42", "007"),
        ("BIGINT", "42", "4.2"),
        ("BIGINT", "42", "99999999999999999999"),
        ("UUID", "550e8400-e29b-41d4-a716-446655440000", "550e8400"),
        ("DOUBLE", "42", "x42"),
        ("ENUM ('a', 'it''s')", "it's", "b"),
    ],
)
def test_an_id_that_would_not_stay_what_it_is_is_refused(warehouse: Warehouse, dtype: str, good: str, bad: str) -> None:
    warehouse.do(f"CREATE TABLE customers (customer_id {dtype}, name VARCHAR)")
    records = [{**ANN, "external_id": good}, {**BOB, "external_id": bad}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert [reason.split(" ")[0] for reason in report.refused_by_reason] == ["does_not_fit:"]
    assert warehouse.column("name") == ["Ann"]


def test_ids_that_one_column_holds_as_the_same_value_are_not_doubled(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (customer_id UUID, name VARCHAR)")
    low = "550e8400-e29b-41d4-a716-446655440000"
    records = [{**ANN, "external_id": low}, {**BOB, "external_id": low.upper()}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert report.refused_by_reason == {"taken: customer_id": 1}


@pytest.mark.parametrize(
    ("dtype", "field", "value"),
    [
        ("DATE", "name", "Bob"),
        ("INTEGER", "zip_code", "AB 12"),
        ("INTEGER", "zip_code", "01067"),
        ("BIGINT", "tax_id", "007"),
        ("BIGINT", "zip_code", "10.67"),
        ("DOUBLE", "zip_code", "01067"),
        ("DECIMAL(9,2)", "zip_code", "00120"),
        ("ENUM ('active')", "status", "trial"),
        ("JSON", "name", "Bob"),
        ("TINYINT", "net_terms", "300"),
    ],
)
def test_a_value_that_does_not_fit_the_column_refuses_its_record_alone(
    warehouse: Warehouse, dtype: str, field: str, value: str
) -> None:
    warehouse.do(f"CREATE TABLE customers (external_id VARCHAR, email VARCHAR, {field} {dtype})")
    good = {"external_id": "1", "email": "ann@acme.com", "name": "2024-01-01" if dtype == "DATE" else "1"}
    report = warehouse.load([good, {**BOB, field: value}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert list(report.refused_by_reason) == [f"does_not_fit: {field} {dtype.replace('ENUM (', 'ENUM(')}"]
    assert warehouse.column("external_id") == ["1"]


def test_a_column_that_must_have_a_value_and_gets_none_stops_the_run(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, region_code INTEGER NOT NULL)")

    with pytest.raises(ConfigError, match="column region_code must have a value"):
        warehouse.load([ANN])
    assert warehouse.rows() == []


def test_a_column_with_a_default_is_filled_by_it(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE SEQUENCE numbers",
        "CREATE TABLE customers (place BIGINT NOT NULL DEFAULT nextval('numbers'), id VARCHAR, name VARCHAR)",
    )
    warehouse.load([ANN, BOB])

    assert warehouse.column("place") == [1, 2]


def test_a_column_that_the_source_lacks_gets_its_default(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (id VARCHAR, name VARCHAR, status VARCHAR NOT NULL DEFAULT 'active')")

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert warehouse.column("status") == ["active"]


def test_a_record_without_a_value_that_the_table_wants_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, country VARCHAR NOT NULL)")
    report = warehouse.load([{**ANN, "country": "DE"}, {**BOB, "country": None}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"must_have_a_value: country": 1}


def test_a_null_does_not_erase_a_value_that_the_table_wants(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, country VARCHAR NOT NULL)")
    warehouse.load([{**ANN, "country": "DE"}])

    assert fates(warehouse.load([{**ANN, "country": None}])) == {"unchanged": 1}
    report = warehouse.load([{**ANN, "country": None}, {**BOB, "country": "FR"}], nulls="overwrite")
    assert fates(report) == {"created": 1, "refused": 1}
    assert warehouse.column("country") == ["DE", "FR"]


def test_unique_e_mails_refuse_the_second_customer_in_the_plan(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, email VARCHAR UNIQUE, name VARCHAR)")
    records = [ANN, {**BOB, "email": "ann@acme.com"}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert report.refused_by_reason == {"taken: email": 1}
    assert warehouse.column("external_id") == ["1"]


def test_a_unique_e_mail_that_is_given_up_can_be_taken(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR PRIMARY KEY, email VARCHAR UNIQUE, name VARCHAR)")
    warehouse.load([ANN, BOB])
    swapped = [{**ANN, "email": BOB["email"]}, {**BOB, "email": ANN["email"]}]

    assert fates(warehouse.load(swapped)) == {"updated": 2}
    assert fates(warehouse.load(swapped)) == {"unchanged": 2}
    moved = [{**ANN, "email": "new@acme.com"}, {"external_id": "3", "email": BOB["email"], "name": "Dan"}]
    assert fates(warehouse.load(moved)) == {"created": 1, "updated": 1}


def test_a_unique_e_mail_is_not_given_up_by_a_record_that_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, email VARCHAR UNIQUE, name VARCHAR)")
    dan = {"external_id": "3", "email": "dan@acme.com", "name": "Dan"}
    warehouse.load([ANN, BOB, dan])
    # Dan is not in the run and keeps his; so Bob keeps his, and Ann hers.
    report = warehouse.load([{**ANN, "email": BOB["email"]}, {**BOB, "email": dan["email"]}])

    assert fates(report) == {"refused": 2}
    assert warehouse.column("email") == ["ann@acme.com", "bob@acme.com", "dan@acme.com"]


def test_a_primary_key_holds_over_updates(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (id BIGINT PRIMARY KEY, email VARCHAR, name VARCHAR, aliases VARCHAR[])")
    records = [{**ANN, "aliases": "x"}, BOB]
    warehouse.load(records)
    report = warehouse.load([{**ANN, "aliases": "x;y"}, {**BOB, "name": "Rob"}])

    assert fates(report) == {"updated": 2}
    assert warehouse.column("id") == [1, 2]


def test_a_constraint_nobody_planned_for_undoes_everything(warehouse: Warehouse) -> None:
    # The numbers of a sequence are given as the rows are written.
    warehouse.do(
        "CREATE SEQUENCE numbers",
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR, place INT DEFAULT nextval('numbers') CHECK (place < 2))",
    )

    with pytest.raises(Refused, match="nothing was written") as raised:
        warehouse.load([ANN, BOB])
    assert raised.value.exit_code == 3
    assert warehouse.rows() == []
    assert not warehouse.rows(f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{LEDGER}'")


def test_computed_columns_are_left_to_the_table(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR, net_terms DECIMAL(9,2), "
        "legal_name VARCHAR GENERATED ALWAYS AS (upper(name)))"
    )
    record = {**ANN, "legal_name": "Ann Ltd", "net_terms": "30"}

    assert fates(warehouse.load([record])) == {"created": 1}
    assert fates(warehouse.load([record])) == {"unchanged": 1}
    assert warehouse.column("legal_name") == ["ANN"]


def test_a_view_is_no_destination(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE people (external_id VARCHAR, name VARCHAR)", "CREATE VIEW customers AS FROM people")

    with pytest.raises(ConfigError, match="is a view; it can be read, not written"):
        warehouse.load([ANN])


def test_a_table_that_cannot_tell_customers_apart_is_no_destination(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (name VARCHAR, city VARCHAR)")

    with pytest.raises(ConfigError, match="no column for the external id or the e-mail"):
        warehouse.load([ANN])


def test_two_columns_that_could_hold_the_id_are_not_chosen_between(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (id BIGINT, customer_id VARCHAR, email VARCHAR)")

    with pytest.raises(ConfigError, match="columns id and customer_id both could hold external_id"):
        warehouse.load([ANN])


def test_a_column_called_rowid_is_told_of(warehouse: Warehouse) -> None:
    warehouse.do('CREATE TABLE customers (external_id VARCHAR, name VARCHAR, "RowId" INTEGER)')

    with pytest.raises(ConfigError, match="column RowId hides"):
        warehouse.load([ANN])


def test_a_table_with_only_e_mails_tells_customers_apart_by_them(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    records = [ANN, CY, {**BOB, "email": "ann@acme.com"}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 2, "refused": 1}
        assert report.refused_by_reason == {"taken: email": 1}
    assert warehouse.column("name") == ["Ann", "Cy"]


def test_a_table_with_only_e_mails_refuses_who_has_none(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    report = warehouse.load([{**ANN, "email": None}, {**BOB, "email": "noreply@acme.com"}, CY])

    assert fates(report) == {"created": 1, "refused": 2}
    assert report.refused_by_reason == {"identifies_nobody: email": 2}


def test_a_table_with_only_ids_refuses_who_has_none(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (customer_id VARCHAR, name VARCHAR)")
    report = warehouse.load([ANN, CY])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"identifies_nobody: customer_id": 1}


def test_an_e_mail_that_stands_twice_in_a_table_of_e_mails_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    warehouse.do("INSERT INTO customers VALUES ('ann@acme.com', 'A'), ('Ann@acme.com', 'B')")
    report = warehouse.load([ANN])

    assert report.refused_by_reason == {"matches_several": 1}


def test_a_table_of_keys_finds_customers_by_them(warehouse: Warehouse) -> None:
    warehouse.do(f"CREATE TABLE customers ({KEY} VARCHAR, name VARCHAR)")
    records = [ANN, CY, {**BOB, "external_id": "email:2"}]

    assert fates(warehouse.load(records)) == {"created": 3}
    assert warehouse.column(KEY) == ["1", "email:cy@acme.com", "id:email:2"]
    assert fates(warehouse.load(records)) == {"unchanged": 3}


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


@pytest.mark.parametrize("file", ["main", "temp", "system", 'we"ird', "a b"])
def test_any_file_name_will_do(tmp_path: Path, file: str) -> None:
    warehouse = Warehouse(tmp_path)
    for fate in ("created", "unchanged"):
        report = warehouse.load([ANN], destination=f"duckdb:///{tmp_path}/{file}.duckdb")
        assert fates(report) == {fate: 1}


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


@pytest.mark.parametrize("name", ['e"mail', "E-Mail", "e mail", "é-mail", "E_MAIL (work)"])
def test_odd_names_of_known_columns_are_quoted(warehouse: Warehouse, name: str) -> None:
    column = '"' + name.replace('"', '""') + '"'
    warehouse.do(f"CREATE TABLE customers ({column} VARCHAR UNIQUE, name VARCHAR NOT NULL)")

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert fates(warehouse.load([{**ANN, "name": "Anna"}])) == {"updated": 1}
    assert warehouse.column(column) == ["ann@acme.com"]


# As a source -----------------------------------------------------------------------------------------------------


def test_a_table_is_read(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, 'Bob'")
    report = warehouse.load(warehouse.address("people"))

    assert fates(report) == {"created": 2}
    assert warehouse.column("external_id || name") == ["1Ann", "2Bob"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM people WHERE id > 1",
        "SELECT * FROM people WHERE id > 1;",
        "SELECT * FROM people WHERE id > 1 -- all but one",
        "FROM people WHERE id > 1",
        "WITH p AS (FROM people) SELECT * FROM p WHERE id > 1",
        "VALUES (2, 'Bob')",
    ],
)
def test_a_query_is_read(warehouse: Warehouse, query: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, 'Bob'")
    given = {"columns": {"col0": "external_id", "col1": "name"}} if query.startswith("VALUES") else {}
    warehouse.load(f"duckdb:///{warehouse.file}?query={query}", **given)

    assert warehouse.column("external_id || name") == ["2Bob"]


@pytest.mark.parametrize(
    "query", ["SELEC 1", "SELECT * FROM nowhere", "DROP TABLE people", "SELECT 1) --", "SELECT 1; SELECT 2"]
)
def test_a_query_that_cannot_be_read_is_answered_in_words(warehouse: Warehouse, query: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")

    with pytest.raises(ConfigError):
        warehouse.load(f"duckdb:///{warehouse.file}?query={query}")
    assert warehouse.column("name", table="people") == ["Ann"]


def test_a_missing_database_or_table_is_answered_in_words(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match="there is no such database"):
        warehouse.load(f"duckdb:///{warehouse.folder}/other.duckdb")
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
    with pytest.raises(ConfigError, match="there is no table persons"):
        warehouse.load(warehouse.address("persons"))


def test_a_view_is_read(warehouse: Warehouse) -> None:
    warehouse.do("CREATE VIEW people AS SELECT 1 AS id, 'Ann' AS name")

    assert fates(warehouse.load(warehouse.address("people"))) == {"created": 1}


def test_columns_of_all_types_are_read(warehouse: Warehouse) -> None:
    values = {
        **{"id": "uuid()", "name": "'Ann'", "status": "'active'::ENUM ('active', 'trial')", "zip": "12345"},
        **{"created_at": "TIMESTAMPTZ '2024-01-02 03:04:05+02'", "updated_at": "DATE '2024-01-02'"},
        **{
            "trial_started": "TIMESTAMP '2024-01-02 03:04:05.678901'",
            "paid_started": "TIMESTAMP_S '2024-01-02 03:04:05'",
        },
        **{"cancel_date": "TIMESTAMP_NS '2024-01-02 03:04:05.123456789'", "net_terms": "30::DECIMAL(9,2)"},
        **{"aliases": "['x', 'y;z']", "metadata": "{'plan': 'pro', 'deep': {'n': 1}}"},
        **{"_map": "MAP {'a': 1}", "_span": "INTERVAL 1 DAY", "_time": "TIME '12:00'", "_bits": "'101'::BIT"},
        **{"_huge": "170141183460469231731687303715884105727::HUGEINT", "_blob": "'ab'::BLOB", "_yes": "true"},
        **{"_numbers": "[1, 2]", "_union": "union_value(a := 1)", "_float": "1.5::FLOAT", "_null": "NULL"},
    }
    warehouse.do("CREATE TABLE people AS SELECT " + ", ".join(f"{value} AS {name}" for name, value in values.items()))
    report = warehouse.load(warehouse.address("people"))

    assert fates(report) == {"created": 1}
    row = warehouse.rows()[0]
    assert row["created_at"] == datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert row["updated_at"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert row["trial_started"] == datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)
    assert row["paid_started"] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row["cancel_date"] == datetime(2024, 1, 2, 3, 4, 5, 123456, UTC)
    assert (row["net_terms"], row["zip_code"], row["status"], row["aliases"]) == (30, "12345", "active", ["x", "y;z"])
    metadata = pl.Series([row["metadata"]]).str.json_decode(infer_schema_length=1).to_list()[0]
    assert metadata["plan"] == "pro"
    assert metadata["_huge"] == "170141183460469231731687303715884105727"
    assert "_null" not in metadata


@pytest.mark.parametrize("value", ["TIMESTAMPTZ 'infinity'", "DATE '-infinity'", "TIMESTAMP 'infinity'"])
def test_an_instant_without_end_is_unreadable(warehouse: Warehouse, value: str) -> None:
    warehouse.do(f"CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, {value} AS cancel_date")
    report = warehouse.load(warehouse.address("people"))

    assert report.rejects_by_code == {"cancel_date.unreadable": 1}


@pytest.mark.parametrize("value", ["DATE '0044-03-15 (BC)'", "TIMESTAMP '200000-01-01'"])
def test_an_instant_no_customer_has_is_out_of_range(warehouse: Warehouse, value: str) -> None:
    warehouse.do(f"CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, {value} AS cancel_date")
    report = warehouse.load(warehouse.address("people"))

    assert report.rejects_by_code == {"cancel_date.range": 1}


def test_deleted_customers_of_our_table_are_not_read(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")

    assert fates(warehouse.load(warehouse.address(), table="copy")) == {"created": 1}


def test_both_ends_may_lie_in_one_file(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB, CY])

    assert fates(warehouse.load(warehouse.address(), table="copy")) == {"created": 3}
    assert fates(warehouse.load(warehouse.address(), table="copy")) == {"unchanged": 3}
    ours = f"SELECT * EXCLUDE ({RUN}) FROM "
    assert warehouse.rows(f"{ours} customers ORDER BY ALL") == warehouse.rows(f"{ours} copy ORDER BY ALL")


def test_a_table_may_be_read_into_itself_by_a_query(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB, CY])

    columns = "* EXCLUDE (customer_key, _run_id, _deleted_at)"
    query = warehouse.address().replace("table=customers", f"query=SELECT {columns} FROM customers")
    assert fates(warehouse.load(query)) == {"unchanged": 3}


def test_a_query_over_our_table_is_read_as_the_table_is(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")

    query = warehouse.address().replace("table=customers", "query=SELECT * FROM customers")
    report = warehouse.load(query)
    assert fates(report) == {"unchanged": 1}
    assert warehouse.column("metadata") == [None, None]
    said = "1 row is marked as deleted and is not read; a query without _deleted_at gives all rows"
    assert f"{warehouse.file}:query: {said}" in report.notes


def test_one_file_under_two_names_is_one_file(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    (warehouse.folder / "link.duckdb").symlink_to(warehouse.file)

    assert fates(warehouse.load(f"duckdb:///{warehouse.folder}/link.duckdb", table="copy")) == {"created": 1}


@pytest.mark.parametrize("file", ["copy.parquet", "copy.csv"])
def test_an_export_and_back_is_the_same_customers(warehouse: Warehouse, file: str) -> None:
    rich = {
        **ANN,
        **{"created_at": "2024-01-02T03:04:05.000006Z", "net_terms": "30", "aliases": '["x;y", "z"]'},
        **{"invoice_cc_emails": "a@b.co;c@b.co", "Seats": '7 "x"', "city": "Zürich\n東京", "zip_code": "00120"},
        **{"phone": "+49 30 901820", "legal_name": 'Ann "The" Co, Ltd; x'},
    }
    warehouse.load([rich, BOB, CY])
    warehouse.load(warehouse.address(), destination=str(warehouse.folder / file))

    assert fates(warehouse.load(warehouse.folder / file)) == {"unchanged": 3}
    assert fates(warehouse.load(warehouse.folder / file, table="copy")) == {"created": 3}
    ours = f"SELECT * EXCLUDE ({RUN}) FROM "
    assert warehouse.rows(f"{ours} customers ORDER BY ALL") == warehouse.rows(f"{ours} copy ORDER BY ALL")


# Who holds the file, and what is left behind ---------------------------------------------------------------------


@pytest.mark.parametrize("role", ["source", "destination"])
def test_a_locked_database_names_who_holds_it(warehouse: Warehouse, role: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
    holding = f"import duckdb; c = duckdb.connect({str(warehouse.file)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        ends: dict[str, Any] = {"source": [ANN], "destination": str(warehouse.folder / "out.csv")}
        ends[role] = warehouse.address("people")
        with pytest.raises(Unreachable, match=rf"held by process {holder.pid} ") as raised:
            warehouse.load(**ends, lock_timeout="100ms")
        holder.communicate("")
    assert raised.value.exit_code == 3
    assert len(str(raised.value).splitlines()) == 1
    assert fates(warehouse.load([ANN])) == {"created": 1}


def test_a_database_that_may_not_be_written_is_answered_in_words(warehouse: Warehouse) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everything")
    warehouse.load([ANN])
    warehouse.file.chmod(0o400)

    with pytest.raises(ConfigError, match="cannot be opened"):
        warehouse.load([BOB])


def test_the_ledger_has_a_row_for_each_run_that_balances(warehouse: Warehouse) -> None:
    bad = {**BOB, "status": "vip"}
    first = warehouse.load([ANN, {**ANN, "name": "Anna"}, bad])
    second = warehouse.load([ANN, BOB], mode="insert")

    rows = warehouse.rows(f"SELECT * EXCLUDE (started_at, finished_at) FROM {LEDGER} ORDER BY run_id, created")
    where = {"table_name": "customers", "source": str(warehouse.folder / "in.csv")}
    none = dict.fromkeys(("rejected", "merged", "updated", "unchanged", "refused", "deleted", "stale", "skipped"), 0)
    expected = [
        {
            "run_id": first.run_id,
            **where,
            "mode": "upsert",
            **none,
            "read": 3,
            "created": 1,
            "merged": 1,
            "rejected": 1,
        },
        {"run_id": second.run_id, **where, "mode": "insert", **none, "read": 2, "created": 1, "refused": 1},
    ]
    assert sorted(rows, key=lambda row: row["read"]) == sorted(expected, key=lambda row: row["read"])


def test_the_ledger_counts_what_the_destination_found_ambiguous(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load([{**ANN, "external_id": None}, CY])

    [row] = warehouse.rows(f"SELECT read, rejected, created FROM {LEDGER} WHERE run_id = '{report.run_id}'")
    assert row == {"read": 2, "rejected": 1, "created": 1}


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


def test_rows_and_ledger_stand_or_fall_together(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    before = warehouse.rows()
    warehouse.do(f"ALTER TABLE {LEDGER} DROP COLUMN merged")

    with pytest.raises(ConnectorError, match="as before"):
        warehouse.load([{**ANN, "name": "Anna"}, BOB])
    assert warehouse.rows() == before


def test_big_tables_are_compared_in_little_memory(warehouse: Warehouse) -> None:
    people = pl.DataFrame({"external_id": range(200_000)}).with_columns(
        name=pl.format("Customer {}", "external_id"), email=pl.format("c{}@acme.com", "external_id")
    )
    people.write_parquet(warehouse.folder / "big.parquet")
    warehouse.load(warehouse.folder / "big.parquet", memory="64MB")

    report = warehouse.load(warehouse.folder / "big.parquet", memory="64MB")
    assert fates(report) == {"unchanged": 200_000}


@pytest.mark.parametrize("field", ["zip_code", "phone"])
def test_what_a_column_of_numbers_keeps_is_written(warehouse: Warehouse, field: str) -> None:
    warehouse.do(f"CREATE TABLE customers (external_id VARCHAR, {field} BIGINT)")

    for fate in ("created", "unchanged"):
        assert fates(warehouse.load([{**ANN, field: "+4930901820" if field == "phone" else "10670"}])) == {fate: 1}


NO_NUMBERS = (
    "SELECT * FROM (VALUES (1, 'nan'::FLOAT8), (2, 'infinity'::FLOAT8), (3, '-infinity'::FLOAT8), (4, 42.0)) v(n, x)"
)


def test_no_text_is_made_of_nan_and_infinity(warehouse: Warehouse) -> None:
    warehouse.do(
        f"CREATE TABLE people AS SELECT x AS id, 'a' || n || '@b.co' AS email, 'Ann' AS name, x AS city, x FROM ({NO_NUMBERS})"
    )
    report = warehouse.load(warehouse.address("people"))

    assert fates(report) == {"created": 4}
    assert report.warnings_by_code == {"external_id.blocked": 3}
    found = warehouse.rows("SELECT external_id, city, metadata->>'x' AS x FROM customers ORDER BY email")
    assert [tuple(row.values()) for row in found] == [
        (None, None, None),
        (None, None, "Infinity"),
        (None, None, "-Infinity"),
        ("42", "42", "42.0"),
    ]


def test_a_float_that_may_be_several_ids_is_rejected(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 9007199254740993::FLOAT8 AS id, 'a@b.co' AS email, 'Ann' AS name")
    report = warehouse.load(warehouse.address("people"), allow_empty=True)

    assert report.rejects_by_code == {"external_id.spreadsheet": 1}
