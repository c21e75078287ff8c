"""The changes of runs, `_tranship_changes`, in DuckDB and Postgres: complete, exact, and in the transaction of the run.

`TRANSHIP_EXAMPLES` is the number of random sequences of runs.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.table_mapping import CHANGES
from tranship.connectors.errors import ConnectorError
from tranship.pipelines.report import Report

Table = Warehouse | PostgresWarehouse

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}
CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}

SEQUENCES = int(os.environ.get("TRANSHIP_EXAMPLES", "1"))
MIRROR = {"mode": "mirror", "max_deletes": "100%"}


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    return PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))


@pytest.fixture
def postgres(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


def changes(table: Table, report: Report) -> dict[str, dict[str, Any]]:
    """Return key → the change that a run has recorded for this customer, with its images as objects."""
    found = table.rows(f"SELECT * FROM {CHANGES} WHERE run_id = '{report.run_id}' ORDER BY customer_key")
    made = {row["customer_key"]: row for row in found}
    assert len(made) == len(found), "a customer is recorded twice"
    for row in found:
        for side in ("before", "after"):
            row[side] = json.loads(row[side]) if isinstance(row[side], str) else row[side]
    return made


def set_time_zone(postgres: PostgresWarehouse, zone: str) -> None:
    """Set the time zone of sessions that begin later."""
    name = postgres.database.url.rpartition("/")[2]
    postgres.do(f"ALTER DATABASE {name} SET TimeZone = '{zone}'")


def has_changes(table: Table) -> bool:
    return bool(table.rows(f"SELECT 1 FROM information_schema.tables WHERE table_name = '{CHANGES}'"))


# What is recorded ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_creates_updates_and_deletes_are_recorded_with_the_values_that_they_replace(table: Table) -> None:
    first = table.load([ANN, BOB, CY])
    second = table.load([{**ANN, "name": 'A "nn"\\', "city": "Rome"}, {**CY, "external_id": "3"}], **MIRROR)

    assert {key: row["action"] for key, row in changes(table, first).items()} == dict.fromkeys(
        ("1", "2", "email:cy@acme.com"), "create"
    )
    assert all(row["before"] is row["after"] is row["changed_fields"] is None for row in changes(table, first).values())
    assert {row["reason"] for row in changes(table, first).values()} == {"first_load"}
    found = changes(table, second)
    assert {key: (row["action"], row["changed_fields"], row["reason"]) for key, row in found.items()} == {
        "1": ("update", ["name", "city"], None),
        "2": ("delete", ["_deleted_at"], "not_in_source"),
        "email:cy@acme.com": ("update", ["external_id"], None),
    }
    assert (found["1"]["before"], found["1"]["after"]) == (
        {"name": "Ann", "city": None},
        {"name": 'A "nn"\\', "city": "Rome"},
    )
    assert found["2"]["before"] == {"_deleted_at": None}
    assert found["2"]["after"]["_deleted_at"].startswith("20")
    assert {row["table_name"] for row in found.values()} == {"customers"}


@pytest.mark.slow
def test_only_a_run_that_finds_no_customers_is_a_first_load(table: Table) -> None:
    table.load([ANN])
    later = table.load([ANN, BOB])
    assert {key: (row["reason"], row["before"], row["after"]) for key, row in changes(table, later).items()} == {
        "2": (None, None, BOB)
    }
    table.do("DELETE FROM customers")
    emptied = table.load([ANN, CY])
    assert {key: (row["action"], row["reason"]) for key, row in changes(table, emptied).items()} == dict.fromkeys(
        ("1", "email:cy@acme.com"), ("create", "first_load")
    )


@pytest.mark.slow
def test_a_customer_that_returns_and_one_that_is_removed(table: Table) -> None:
    table.load([ANN, BOB])
    table.load([ANN], **MIRROR)
    third = table.load([BOB], **MIRROR, deletes="remove")

    found = changes(table, third)
    assert (found["2"]["action"], found["2"]["reason"]) == ("update", "in_source_again")
    assert found["2"]["after"] == {"_deleted_at": None}
    gone = found["1"]
    assert (gone["action"], gone["reason"], gone["after"]) == ("delete", "not_in_source", None)
    assert gone["before"].items() >= {"customer_key": "1", **ANN}.items()
    assert None not in gone["before"].values()


@pytest.mark.slow
def test_an_unchanged_run_records_nothing(table: Table) -> None:
    table.load([ANN], changes="off")
    table.load([ANN])
    assert not has_changes(table)

    table.load([{**ANN, "name": "Anna"}])
    before = table.rows(f"SELECT count(*) AS n FROM {CHANGES}")
    assert fates(table.load([{**ANN, "name": "Anna"}])) == {"unchanged": 1}
    assert table.rows(f"SELECT count(*) AS n FROM {CHANGES}") == before == [{"n": 1}]


def test_with_changes_off_none_are_recorded(table: Table) -> None:
    table.load([ANN, BOB], changes="off")
    report = table.load([{**ANN, "name": "Anna"}], **MIRROR, changes="off")
    assert fates(report) == {"updated": 1, "deleted": 1}
    assert not has_changes(table)


@pytest.mark.slow
@pytest.mark.parametrize(("version", "compression"), [("v1.0.0", set()), ("latest", {"ZSTD"})])
def test_a_file_of_an_earlier_duckdb_is_written_as_well(tmp_path: Path, version: str, compression: set[str]) -> None:
    warehouse = Warehouse(tmp_path)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{warehouse.file}' (STORAGE_VERSION '{version}')").fetchall()
    for name in ("A", "B"):
        report = warehouse.load([{"external_id": "1", "email": "a@acme.com", "name": name}])
    assert changes(warehouse, report)["1"]["after"] == {"name": "B"}
    with duckdb.connect(str(warehouse.file)) as connection:
        connection.execute("CHECKPOINT").fetchall()
        found = connection.execute(
            f"SELECT DISTINCT compression FROM pragma_storage_info('{CHANGES}') "
            "WHERE column_name = 'after' AND segment_type <> 'VALIDITY'"
        ).fetchall()
    assert {name for (name,) in found} & {"ZSTD"} == compression


def test_tables_of_one_schema_share_the_table(table: Table) -> None:
    first = table.load([ANN])
    second = table.load([BOB, ANN], table="others")
    assert [row["table_name"] for row in changes(table, first).values()] == ["customers"]
    assert [row["table_name"] for row in changes(table, second).values()] == ["others", "others"]


def test_a_table_of_ones_own_is_recorded_by_its_own_columns(table: Table) -> None:
    table.do(
        'CREATE TABLE customers (nr integer, mail text, "Firma ""x""" varchar(20), note text DEFAULT \'n\')',
        "INSERT INTO customers VALUES (1, 'ann@acme.com', 'Ann', NULL)",
    )
    chosen = {"external_id": "nr", "email": "mail", "name": 'Firma "x"'}
    report = table.load([{**ANN, "name": "Anna"}, BOB], columns=chosen)

    found = changes(table, report)
    assert {key: row["action"] for key, row in found.items()} == {"1": "update", "2": "create"}
    assert found["1"]["changed_fields"] == ['Firma "x"']
    assert (found["1"]["before"], found["1"]["after"]) == ({'Firma "x"': "Ann"}, {'Firma "x"': "Anna"})
    assert found["2"]["after"] == {"nr": 2, "mail": "bob@acme.com", 'Firma "x"': "Bob"}


@pytest.mark.slow
def test_a_value_of_a_new_row_is_spelled_as_that_of_an_update(table: Table) -> None:
    table.load([ANN, {"external_id": "0", "name": "Zoe"}])
    full = {
        **{"name": 'B "ö"\\', "net_terms": "30", "updated_at": "2026-01-02T03:04:05.6+02:00"},
        **{"metadata": '{"b": 1.50, "a": ["x"]}', "invoice_cc_emails": "a@x.example,b@x.example"},
    }
    found = changes(table, table.load([{**ANN, **full}, {**BOB, **full}]))
    assert found["2"]["after"] == {"external_id": "2", "email": "bob@acme.com", **found["1"]["after"]}
    assert found["1"]["changed_fields"] == [*found["1"]["after"]]
    assert {"name", "net_terms", "updated_at", "metadata", "invoice_cc_emails"} == found["1"]["after"].keys()


def test_what_a_default_fills_in_is_not_recorded(table: Table) -> None:
    table.do(
        "CREATE SEQUENCE numbers",
        "CREATE TABLE customers (external_id text, name text, city text NOT NULL DEFAULT nextval('numbers'))",
        "INSERT INTO customers (external_id) VALUES ('0')",
    )
    records = [{"external_id": "1", "name": "Ann", "city": ""}, {"external_id": "2", "name": "Bob", "city": "Rome"}]
    found = changes(table, table.load(records))
    assert [row["after"] for row in found.values()] == [{"external_id": "1", "name": "Ann"}, records[1]]
    assert table.column("city") == ["1", "2", "Rome"]


def test_a_table_without_ids_is_recorded_by_its_e_mails(table: Table) -> None:
    table.do("CREATE TABLE customers (email text, name text)", "INSERT INTO customers VALUES ('Ann@acme.com', 'Ann')")
    report = table.load([{**ANN, "name": "Anna"}, BOB])
    assert {key: row["action"] for key, row in changes(table, report).items()} == {
        "email:ann@acme.com": "update",
        "email:bob@acme.com": "create",
    }


@pytest.mark.slow
def test_a_wide_table_is_recorded_whole(table: Table) -> None:
    more = ", ".join(f"more_{number} double precision DEFAULT 'nan'" for number in range(150))
    table.do(f"CREATE TABLE customers (external_id text, name text, _run_id text, _deleted_at timestamptz, {more})")
    table.load([{"external_id": "1", "name": "Ann"}, {"external_id": "2", "name": "Bob"}])
    report = table.load([{"external_id": "1", "name": "Ann"}], **MIRROR, deletes="remove")

    [(key, row)] = changes(table, report).items()
    assert (key, row["before"]["name"], len(row["before"])) == ("2", "Bob", 153)
    assert str(row["before"]["more_149"]).lower() == "nan"


@pytest.mark.slow
def test_older_data_that_is_written_says_so(table: Table) -> None:
    table.load([{**ANN, "updated_at": "2025-03-02"}])
    report = table.load([{**ANN, "name": "Anna", "updated_at": "2025-03-01"}], older="write")
    assert changes(table, report)["1"]["reason"] == "older"


@pytest.mark.slow
def test_the_changes_of_a_failed_run_are_rolled_back(table: Table) -> None:
    table.load([ANN])
    table.do(f"ALTER TABLE {LEDGER} DROP COLUMN merged")
    before = table.rows(f"SELECT * FROM {CHANGES}")
    with pytest.raises(ConnectorError):
        table.load([{**ANN, "name": "Anna"}, BOB])
    assert table.rows(f"SELECT * FROM {CHANGES}") == before


# Random sequences of runs ----------------------------------------------------------------------------------------


def state(table: Table) -> dict[str, dict[str, Any]]:
    """Return key → row, with values as JSON."""
    as_json = "to_json(t)::VARCHAR" if isinstance(table, Warehouse) else "row_to_json(t)::text"
    rows = table.rows(f"SELECT customer_key AS key, {as_json} AS row FROM customers t")
    return {row["key"]: json.loads(row["row"]) for row in rows}


def given(dice: random.Random, number: int) -> list[dict[str, str | None]]:
    """Return records of some customers, with random values and gaps."""
    return [
        {
            "external_id": f"C-{customer}" if customer % 4 else None,
            "email": f"c{customer}@example.com",
            "name": dice.choice(["Ann", "Bob", 'O\'Neil "x"', "名前", "\\"]),
            "city": dice.choice([None, "Rome", "Bonn"]),
            "net_terms": dice.choice([None, "30", "0"]),
            "created_at": dice.choice([None, "2024-02-29T12:00:00.5Z", "1969-12-31T23:59:59+05:30"]),
            "aliases": dice.choice([None, '["a", "b"]', '["\\"q\\""]']),
            "metadata": dice.choice([None, '{"b": 1, "a": [1, {"c": null}]}', '{"a": "x"}', "{}"]),
            "updated_at": f"2025-01-{dice.randint(1, 28):02}" if dice.random() < 0.3 else None,
        }
        for customer in dice.sample(range(12), number)
    ]


OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"nulls": "overwrite"},
    {"mode": "insert"},
    {"mode": "update", "older": "write"},
    MIRROR,
    {**MIRROR, "deletes": "remove", "nulls": "overwrite"},
)


def check_changes(table: Table, report: Report, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Check that the changes of a run turn the table as it was into the table as it is."""
    found = changes(table, report)
    counts = report.counts
    actions = [row["action"] for row in found.values()]
    assert [actions.count(action) for action in ("create", "update", "delete")] == [
        counts.created,
        counts.updated,
        counts.deleted,
    ]
    expected = dict(before)
    for key, change in found.items():
        old, new = change["before"] or {}, change["after"] or {}
        if change["action"] == "create":
            assert key not in before
            expected[key] = after[key]
        elif change["action"] == "delete" and change["after"] is None:
            assert old == {name: value for name, value in expected.pop(key).items() if value is not None}
        else:
            assert set(change["changed_fields"]) == old.keys() == new.keys()
            assert old == {name: before[key][name] for name in old}
            assert all(old[name] != new[name] for name in old)
            expected[key] = {**before[key], **new, "_run_id": report.run_id}
    assert expected == after


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_changes_turn_each_state_of_the_table_into_the_next(table: Table, seed: int) -> None:
    dice = random.Random(seed)
    if isinstance(table, PostgresWarehouse):
        set_time_zone(table, "UTC")
    table.load(given(dice, 8))
    for options in dice.sample(OPTIONS, len(OPTIONS)):
        before = state(table)
        report = table.load(given(dice, dice.randint(3, 10)), **options)
        check_changes(table, report, before, state(table))


# Postgres --------------------------------------------------------------------------------------------------------


def test_instants_are_in_utc_whatever_the_time_zone_of_the_session(postgres: PostgresWarehouse) -> None:
    set_time_zone(postgres, "Asia/Tokyo")
    postgres.load([{**ANN, "created_at": "2024-01-01T00:00:00Z"}])
    report = postgres.load([{**ANN, "created_at": "2024-01-02T00:00:00Z"}])
    assert changes(postgres, report)["1"]["before"] == {"created_at": "2024-01-01T00:00:00+00:00"}


def test_values_that_move_between_unique_columns_are_recorded_as_they_were(postgres: PostgresWarehouse) -> None:
    postgres.do("CREATE TABLE customers (external_id text PRIMARY KEY, email text UNIQUE, name text)")
    postgres.load([ANN, BOB])
    report = postgres.load([{**ANN, "email": "bob@acme.com"}, {**BOB, "email": "ann@acme.com"}])
    assert {key: (row["before"], row["after"]) for key, row in changes(postgres, report).items()} == {
        "1": ({"email": "ann@acme.com"}, {"email": "bob@acme.com"}),
        "2": ({"email": "bob@acme.com"}, {"email": "ann@acme.com"}),
    }


def test_json_and_infinite_values_are_kept_exactly(postgres: PostgresWarehouse) -> None:
    postgres.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text, metadata json, created_at timestamptz)",
        """INSERT INTO customers VALUES ('1', 'Ann', '{"a": 1, "a": "\\u0000"}', 'infinity')""",
    )
    report = postgres.load([{**ANN, "name": "Ann", "metadata": '{"b": 2}', "created_at": "2024-01-01"}])
    row = postgres.rows(f"SELECT before::text FROM {CHANGES} WHERE run_id = '{report.run_id}'")[0]
    assert row["before"] == '{"created_at": "infinity", "metadata": {"a": 1, "a": "\\u0000"}}'
