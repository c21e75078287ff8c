"""A DuckDB table as a source: real files, real runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from support.artefacts import texts
from support.warehouse import Warehouse, fates
from tranship.connectors.databases.table_mapping import RUN
from tranship.connectors.errors import ConfigError, ConnectorError

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


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
    given = {"fields": {"external_id": "col0", "name": "col1"}} if query.startswith("VALUES") else {}
    warehouse.load(f"duckdb:///{warehouse.file}?query={query}", **given)

    assert warehouse.column("external_id || name") == ["2Bob"]


@pytest.mark.parametrize(
    "query", ["SELEC 1", "SELECT * FROM nowhere", "DROP TABLE people", "SELECT 1) --", "SELECT 1; SELECT 2"]
)
def test_a_query_that_cannot_be_read_is_explained(warehouse: Warehouse, query: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")

    with pytest.raises(ConfigError):
        warehouse.load(f"duckdb:///{warehouse.file}?query={query}")
    assert warehouse.column("name", table="people") == ["Ann"]


def test_a_missing_database_or_table_is_explained(warehouse: Warehouse) -> None:
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

    assert report.warnings_by_code == {"cancel_date.unreadable": 1}


def test_an_instant_without_end_in_a_list_is_text(warehouse: Warehouse) -> None:
    lists = "[TIMESTAMP 'infinity', TIMESTAMP '2024-01-01'] AS seen, [TIMESTAMPTZ '-infinity'] AS left_at"
    warehouse.do(f"CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, {lists}")
    warehouse.load(warehouse.address("people"))

    [row] = warehouse.rows("SELECT metadata->>'seen' AS seen, metadata->>'left_at' AS left_at FROM customers")
    assert row == {"seen": '["infinity","2024-01-01 00:00:00"]', "left_at": '["-infinity"]'}


@pytest.mark.parametrize("value", ["DATE '0044-03-15 (BC)'", "TIMESTAMP '200000-01-01'"])
def test_an_instant_no_customer_has_is_out_of_range(warehouse: Warehouse, value: str) -> None:
    warehouse.do(f"CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, {value} AS cancel_date")
    report = warehouse.load(warehouse.address("people"))

    assert report.warnings_by_code == {"cancel_date.range": 1}


def test_a_list_of_dates_is_read(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, [DATE '2024-01-02'] AS visits")
    warehouse.load(warehouse.address("people"))

    assert "2024-01-02" in warehouse.rows("SELECT metadata FROM customers")[0]["metadata"]


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
    said = "skipped 1 row marked as deleted; leave _deleted_at out of the query to read all rows"
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


READING = {
    "cast": "('Jane Roe ' || i)::INTEGER::VARCHAR",
    "range": "('99999912345' || i)::BIGINT::INTEGER::VARCHAR",
    "json": "('Jane Roe ' || i)::JSON::VARCHAR",
    "list": "('Jane Roe ' || i)::INTEGER[]::VARCHAR",
    "time": "strptime('Jane Roe ' || i, '%Y')::VARCHAR",
    "pattern": "regexp_extract('x', 'Jane (' || i)",
    "own words": "error('Jane Roe ' || i)::VARCHAR",
}


@pytest.mark.parametrize("value", READING.values(), ids=READING)
def test_an_error_in_a_view_is_reported_without_the_value(value: str, warehouse: Warehouse) -> None:
    warehouse.do(f"CREATE VIEW broken AS SELECT 'e' || i AS external_id, {value} AS name FROM range(2) AS t(i)")
    with pytest.raises(ConnectorError, match=r"reading failed near row 1 \(\w+ (Input )?Error: ") as failed:
        warehouse.load(warehouse.address("broken"))
    said = [("error", str(failed.value)), *texts(warehouse.folder / "state")]
    assert not [where for where, text in said if "Jane" in text or "9912345" in text]
