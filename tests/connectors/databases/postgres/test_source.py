"""A Postgres table, view or query as a source: real servers, real runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates, plan
from tranship.connectors import opening
from tranship.connectors.errors import (
    ConfigError,
    ConnectorError,
)
from tranship.connectors.files.csv import CsvOptions

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture
def each(tmp_path: Path, every_postgres_database: Database) -> PostgresWarehouse:
    """A database on each installed version of the server."""
    return PostgresWarehouse(tmp_path, every_postgres_database)


ENUM = "CREATE TYPE state AS ENUM ('active', 'trial')"


def test_columns_of_all_types_are_read(each: PostgresWarehouse) -> None:
    each.do(
        ENUM,
        "CREATE TABLE people AS SELECT 1::bigint AS id, 'Ann'::varchar(9) AS name, 1.50::numeric AS dec, true AS yes, "
        "'a@b.co'::name AS email, 2.5::float4 AS f, '2024-01-02'::date AS created_at, interval '1 day' AS span, "
        "'active'::state AS status, '{\"b\":1}'::jsonb AS metadata, ARRAY['x','y'] AS aliases, ARRAY[1,2] AS numbers, "
        "'10.0.0.1'::inet AS ip, int4range(1,5) AS r, '\\xff'::bytea AS raw, "
        "'2024-01-02 03:04:05.678901+02'::timestamptz AS updated_at, NULL::text AS nothing",
    )
    target = Warehouse(each.folder)
    target.load(each.address("people"))

    [row] = target.rows()
    assert row["external_id"] == "1"
    assert row["status"] == "active"
    assert row["aliases"] == ["x", "y"]
    assert row["created_at"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert row["updated_at"] == datetime(2024, 1, 2, 1, 4, 5, 678901, UTC)
    for piece in ('"b": 1', '"dec":"1.50"', '"span":"P1D"', '"ip":"10.0.0.1/32"', '"r":"[1,5)"', '"numbers":"[1,2]"'):
        assert piece.replace(" ", "") in row["metadata"].replace(" ", "")


def test_no_text_is_made_of_nan_and_infinity(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE people AS SELECT x AS id, 'a' || n || '@b.co' AS email, 'Ann'::text AS name, x AS city, x, "
        "ARRAY[x] AS xs FROM (VALUES (1, 'nan'::float8), (2, 'infinity'), (3, '-infinity'), (4, 42.0)) v(n, x)"
    )
    target = Warehouse(each.folder)
    report = target.load(each.address("people"))

    assert fates(report) == {"created": 4}
    assert report.warnings_by_code == {"external_id.blocked": 3}
    found = target.rows("SELECT external_id, city, metadata->>'x' AS x FROM customers ORDER BY email")
    assert [tuple(row.values()) for row in found] == [
        (None, None, None),
        (None, None, "Infinity"),
        (None, None, "-Infinity"),
        ("42", "42", "42.0"),
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("'infinity'::timestamptz", "unreadable"),
        ("'-infinity'::date", "unreadable"),
        ("'0044-03-15 BC'::date", "unreadable"),
        ("'0044-03-15'::timestamp", "range"),
        ("'200000-01-01'::timestamptz", "unreadable"),
    ],
)
def test_an_instant_no_customer_has_is_left_out(warehouse: PostgresWarehouse, value: str, code: str) -> None:
    query = f"SELECT '1' AS id, 'Ann' AS name, {value} AS created_at UNION ALL SELECT '2', 'Bob', '2024-01-01'"
    report = Warehouse(warehouse.folder).load(f"{warehouse.database.url}?query={query}")

    assert report.warnings_by_code == {f"created_at.{code}": 1}
    assert report.counts.created == 2


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, name FROM people WHERE id > 1",
        "SELECT id, name FROM people WHERE id > 1;",
        "SELECT id, name FROM people WHERE id > 1 -- not all",
        "WITH p AS (SELECT * FROM people) SELECT * FROM p WHERE name LIKE 'B%25'",
        "TABLE few",
    ],
)
def test_a_query_or_view_is_read(warehouse: PostgresWarehouse, query: str) -> None:
    warehouse.do(
        "CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, 'Bob'",
        "CREATE VIEW few AS SELECT * FROM people WHERE id = 2",
    )
    target = Warehouse(warehouse.folder)

    target.load(f"{warehouse.database.url}?query={query}")
    assert target.column("name") == ["Bob"]


def test_a_query_over_our_table_is_read_as_the_table_is(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB, CY])
    warehouse.load([ANN], mode="mirror", max_deletes="2")

    report = warehouse.load(f"{warehouse.database.url}?query=SELECT * FROM customers")
    assert fates(report) == {"unchanged": 1}
    assert warehouse.column("metadata") == [None, None, None]
    assert any("skipped 2 rows marked as deleted" in note for note in report.notes)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "syntax"),
        ("SELECT 1 AS a, 2 AS a", "column a twice"),
        ("DELETE FROM people RETURNING id", ""),
        ("SELECT 1/0 AS id", "zero"),
        ("SELECT 1 AS id; DROP TABLE people", ""),
    ],
)
def test_a_query_that_cannot_be_read_is_explained(warehouse: PostgresWarehouse, query: str, words: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")

    with pytest.raises((ConfigError, ConnectorError)) as raised:
        Warehouse(warehouse.folder).load(f"{warehouse.database.url}?query={query}")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert warehouse.column("name", table="people") == ["Ann"]


@pytest.mark.parametrize("name", ["peple", "billing.peple", "nowhere.people"])
def test_who_misspells_a_table_is_told_those_there_are(warehouse: PostgresWarehouse, name: str) -> None:
    warehouse.do(
        "CREATE TABLE people (id int)",
        "CREATE SCHEMA billing",
        "CREATE VIEW billing.few AS SELECT 1 AS id, 'A' AS name",
    )

    with pytest.raises(
        ConfigError, match=f":{name}: there is no such table.* Readable tables: billing.few, public.people$"
    ):
        Warehouse(warehouse.folder).load(warehouse.address(name))


def test_a_source_is_one_snapshot(warehouse: PostgresWarehouse) -> None:
    from tranship.connectors.databases.postgres.source import PostgresSource

    warehouse.load([ANN, BOB])
    source = PostgresSource(warehouse.address())
    warehouse.do("DELETE FROM customers")
    try:
        assert sum(part.read().records.height for part in source.parts(Path("pages"))) == source.size == 2
    finally:
        source.close()


def test_deleted_customers_of_our_table_are_not_read(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")
    target = Warehouse(warehouse.folder)

    target.load(warehouse.address())
    assert target.column("name") == ["Ann"]


def test_a_table_may_be_read_into_itself_by_a_query_and_into_another(warehouse: PostgresWarehouse) -> None:
    warehouse.load([{**ANN, "metadata": '{"b":1}', "aliases": "x;y"}, BOB, CY])

    fields = "external_id, email, name, country, aliases, metadata"
    query = warehouse.address().replace("table=customers", f"query=SELECT {fields} FROM customers")
    assert fates(warehouse.load(query)) == {"unchanged": 3}
    assert fates(warehouse.load(warehouse.address(), table="other")) == {"created": 3}
    assert plan(warehouse.load(warehouse.address("other")))[0]["action"] == "unchanged"


def test_a_table_is_not_written_to_itself_however_it_is_spelled(tmp_path: Path, postgres_database: Database) -> None:
    warehouse = PostgresWarehouse(tmp_path, postgres_database)
    warehouse.load([{"external_id": "1", "email": "ann@acme.com", "name": "Ann"}])
    spelled = warehouse.address().replace("postgresql://", "postgres://").replace("=customers", "=public.customers")
    with pytest.raises(ConfigError, match="cannot be the destination"):
        warehouse.load(spelled)
    with pytest.raises(ConfigError, match="is given twice"):
        opening.open_sources([spelled, warehouse.address()], CsvOptions())
    assert fates(warehouse.load(spelled, table="copy")) == {"created": 1}
