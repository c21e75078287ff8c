"""Records that a Postgres table with constraints, triggers, computed columns or partitions accepts or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, fates
from tranship.connectors.errors import (
    ConnectorError,
    Refused,
)

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


CITEXT = "CREATE EXTENSION citext"


def need(warehouse: PostgresWarehouse, statement: str) -> None:
    """Skip if the server lacks an extension that the statement creates."""
    name = statement.removeprefix("CREATE EXTENSION ")
    if name != statement and not warehouse.rows(f"SELECT 1 FROM pg_available_extensions WHERE name = '{name}'"):
        pytest.skip(f"this server has no {name}")


RULES = (
    # before, the table's columns, records, what is refused, with which reason
    ("", "name text CHECK (name <> 'Bob')", [ANN, BOB], "violates: customers_name_check"),
    (
        "",
        "name text, city text, CONSTRAINT both_cities CHECK (city <> name)",
        [{**ANN, "city": "A"}, {**BOB, "city": "Bob"}],
        "violates: both_cities",
    ),
    (
        "CREATE TABLE known (name text PRIMARY KEY); INSERT INTO known VALUES ('Ann')",
        "name text REFERENCES known",
        [ANN, BOB],
        "refers_to_nothing: name",
    ),
    ("", "email text UNIQUE, name text", [ANN, {**BOB, "email": ANN["email"]}], "taken: email"),
    (CITEXT, "name citext UNIQUE", [ANN, {**BOB, "name": "ANN"}], "taken: name"),
    (
        "",
        "name text, city text, UNIQUE (name, city)",
        [{**ANN, "city": "A"}, {**BOB, "name": "Ann", "city": "A"}],
        "taken: name, city",
    ),
    (
        "CREATE EXTENSION btree_gist",
        "name text, EXCLUDE USING gist (name WITH =)",
        [ANN, {**BOB, "name": "Ann"}],
        "taken: name",
    ),
    (
        "",
        "name text, country text NOT NULL",
        [{**ANN, "country": "DE"}, {**BOB, "country": None}],
        "must_have_a_value: country",
    ),
)


@pytest.mark.parametrize(("before", "columns", "records", "reason"), RULES, ids=[case[1] for case in RULES])
def test_what_the_table_forbids_refuses_its_record_alone(
    each: PostgresWarehouse, before: str, columns: str, records: list[dict[str, str | None]], reason: str
) -> None:
    need(each, before)
    each.do(*filter(None, before.split("; ")), f"CREATE TABLE customers (external_id text PRIMARY KEY, {columns})")

    for fate in ("created", "unchanged"):
        report = each.load(records)
        assert (fates(report), report.refused_by_reason) == ({fate: 1, "refused": 1}, {reason: 1})
    assert each.column("external_id") == ["1"]
    # An existing row forbids it too, even if the record is alone in a run.
    if not reason.startswith("must"):
        assert fates(each.load(records[1:])) == {"refused": 1}


def test_a_unique_index_over_an_expression_or_a_part_refuses_its_record(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text, city text)",
        "CREATE UNIQUE INDEX one_name ON customers (lower(name)) WHERE city IS NULL",
    )
    report = warehouse.load([ANN, {**BOB, "name": "ANN"}, {**CY, "external_id": "3", "name": "ann", "city": "Rome"}])

    assert fates(report) == {"created": 2, "refused": 1}
    assert report.refused_by_reason == {"taken: one_name": 1}


def test_unique_values_may_be_swapped_and_passed_on(each: PostgresWarehouse) -> None:
    each.do("CREATE TABLE customers (external_id text PRIMARY KEY, email text UNIQUE, name text)")
    each.load([ANN, BOB])
    swapped = [{**ANN, "email": BOB["email"]}, {**BOB, "email": ANN["email"]}]

    assert fates(each.load(swapped)) == {"updated": 2}
    assert fates(each.load(swapped)) == {"unchanged": 2}
    moved = [{**ANN, "email": "new@acme.com"}, {"external_id": "3", "email": BOB["email"], "name": "Dan"}]
    assert fates(each.load(moved)) == {"created": 1, "updated": 1}


def test_what_the_table_computes_is_left_to_it(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY, place serial, external_id text, name text, "
        "legal_name text GENERATED ALWAYS AS (upper(name)) STORED, added timestamptz NOT NULL DEFAULT now(), "
        "status text NOT NULL DEFAULT 'active')"
    )
    records = [{**ANN, "legal_name": "Ann Ltd"}, BOB]

    assert fates(each.load(records)) == {"created": 2}
    assert fates(each.load(records)) == {"unchanged": 2}
    assert fates(each.load([{**ANN, "name": "Anna"}])) == {"updated": 1}
    assert [(row["legal_name"], row["status"]) for row in each.rows("SELECT * FROM customers ORDER BY place")] == [
        ("ANNA", "active"),
        ("BOB", "active"),
    ]


def test_triggers_do_their_work_and_may_refuse(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text, name text, city text)",
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.name = 'Bob' THEN RAISE 'no Bob, says bob@acme.com'; END IF; NEW.city := 'Rome'; RETURN NEW; END $$",
        "CREATE TRIGGER fill BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION fill()",
    )
    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert warehouse.column("city") == ["Rome"]

    with pytest.raises(ConnectorError, match=r"raised an error \(function fill\(\)") as raised:
        warehouse.load([BOB])
    assert "acme" not in str(raised.value)
    assert warehouse.column("name") == ["Ann"]


def test_rows_that_a_trigger_swallows_stop_the_run(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text, name text)",
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER swallow BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION swallow()",
    )

    with pytest.raises(Refused, match="a trigger, rule or policy"):
        warehouse.load([ANN])


def test_partitions_are_filled_and_found_again(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE customers (external_id text, country text, name text) PARTITION BY LIST (country)",
        "CREATE TABLE c_de PARTITION OF customers FOR VALUES IN ('DE')",
        "CREATE TABLE c_other PARTITION OF customers DEFAULT",
    )
    records = [{**ANN, "country": "DE"}, {**BOB, "country": "FR"}, {**CY, "external_id": "3", "country": "DE"}]

    assert fates(each.load(records)) == {"created": 3}
    assert fates(each.load(records)) == {"unchanged": 3}
    moved = [{**ANN, "country": "IT"}, {**BOB, "country": "FR", "name": "Rob"}, records[2]]
    assert fates(each.load(moved)) == {"updated": 2, "unchanged": 1}
    assert each.column("external_id", table="c_other") == ["1", "2"]
