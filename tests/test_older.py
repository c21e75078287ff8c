"""Older data never wins: a record that is older than the row it would change is not written, but counted and listed;
and customers that Tranship wrote do not count as newer if the destination sets `updated_at` itself.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from support import moving
from support.accounts import PROVIDERS, Open
from support.long_tests import some
from support.moving import customer, given, held, moved, planned, written
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors import durable
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER
from tranship.connectors.databases.table_mapping import WRITTEN
from tranship.connectors.errors import GateClosed
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import render
from tranship.pipelines.report import Report

pytestmark = pytest.mark.slow

Table = Warehouse | PostgresWarehouse
SET = (
    "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$"
)
TRIGGER = "CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touched()"


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    return PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))


@pytest.fixture
def postgres(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    moving.hurry(monkeypatch.setattr)


def record(number: int, day: int | None, **fields: str) -> dict[str, Any]:
    """Return a customer as of a day of March."""
    time = f"2025-03-{day:02}T00:00:00Z" if day else ""
    return {
        "external_id": str(number),
        "email": f"c{number}@x.example",
        "name": f"{number}/{day}",
        "updated_at": time,
        **fields,
    }


def listed(report: Report) -> list[dict[str, str]]:
    with Path(report.files["stale"]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names(table: Table) -> list[str]:
    return [row["name"] for row in table.rows("SELECT name FROM customers ORDER BY external_id")]


NEW = [record(1, 2), record(2, 2), record(3, 2), record(4, 2)]
MIXED = [record(1, 1), record(2, 3), record(3, 4), record(5, 1)]
"""One older than NEW, two newer, one that does not exist yet."""


# A table's own times -----------------------------------------------------------------------------------------------


def test_an_older_record_is_left_alone_counted_and_listed(table: Table) -> None:
    table.load(NEW)
    report = table.load(MIXED)
    assert fates(report) == {"created": 1, "updated": 2, "stale": 1}
    assert (report.exit_code, report.status, report.stale_by_reason) == (0, "done", {"older": 1})
    assert names(table) == ["1/2", "2/3", "3/4", "4/2", "5/1"]
    assert listed(report) == [
        {
            **{"source": str(table.folder / "in.csv"), "line": "2", "external_id": "1", "email": "c1@x.example"},
            **{"updated_at": "2025-03-01T00:00:00Z", "destination_updated_at": "2025-03-02T00:00:00Z"},
        }
    ]
    assert table.rows(f"SELECT read, stale, skipped, updated, created FROM {LEDGER} ORDER BY finished_at DESC")[0] == {
        **{"read": 4, "stale": 1, "skipped": 0, "updated": 2, "created": 1}
    }
    assert "1 older" in render.of_report(report)
    # A record that is not written today is not written tomorrow, either.
    assert fates(table.load(MIXED, older="skip")) == {"unchanged": 3, "stale": 1}


def test_older_records_can_be_refused(table: Table) -> None:
    table.load(NEW)
    report = table.load(MIXED, older="refuse")
    assert fates(report) == {"created": 1, "updated": 2, "refused": 1}
    assert (report.exit_code, report.refused_by_reason, len(listed(report))) == (4, {"older": 1}, 1)
    assert names(table)[0] == "1/2"


def test_older_records_can_be_written(table: Table) -> None:
    table.load(NEW)
    report = table.load([record(number, 1) for number in (1, 2, 3, 4)], older="write")
    assert (fates(report), "stale" in report.files) == ({"updated": 4}, False)
    assert names(table) == ["1/1", "2/1", "3/1", "4/1"]


def test_a_run_of_mostly_older_records_is_stopped_unless_it_was_meant(table: Table) -> None:
    table.load(NEW)
    old = [record(1, 1), record(2, 1), record(3, 3), record(9, 1)]
    with pytest.raises(
        GateClosed, match=r"2 of 3 changed records are older .*in.csv, line 2.*--older skip.*--older write"
    ) as stopped:
        table.load(old)
    assert stopped.value.report.exit_code == 5
    assert len(listed(stopped.value.report)) == 2
    assert names(table) == ["1/2", "2/2", "3/2", "4/2"]
    assert fates(table.load(old, older="skip")) == {"created": 1, "updated": 1, "stale": 2}


def test_half_of_them_is_not_most(table: Table) -> None:
    table.load(NEW)
    assert fates(table.load([record(1, 1), record(2, 3)])) == {"updated": 1, "stale": 1}


def test_equal_and_missing_times_are_compared_as_ever(table: Table) -> None:
    table.load([record(1, 2), record(2, None), record(3, 2)])
    report = table.load([record(1, 2, name="equal"), record(2, 1, name="dated"), record(3, None, name="undated")])
    assert fates(report) == {"updated": 3}
    assert names(table) == ["equal", "dated", "undated"]
    # A null did not erase the time.
    assert fates(table.load([record(3, 1, name="older")], older="skip")) == {"stale": 1}


def test_a_source_without_times_writes(table: Table) -> None:
    table.load(NEW)
    undated = [{"external_id": "1", "email": "c1@x.example", "name": "undated"}]
    assert fates(table.load(undated)) == {"updated": 1}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("insert", {"refused": 3, "created": 1}),
        ("update", {"refused": 1, "updated": 2, "stale": 1}),
        ("mirror", {"created": 1, "updated": 2, "stale": 1, "deleted": 1}),
    ],
)
def test_in_every_mode(mode: str, expected: dict[str, int], table: Table) -> None:
    table.load(NEW)
    assert fates(table.load(MIXED, mode=mode, max_deletes="100%")) == expected
    assert names(table)[0] == "1/2"


def test_verify_says_that_they_differ(table: Table) -> None:
    table.load(NEW)
    report = table.load(MIXED)
    found = flow.verify_run(table.folder / "state", report.run_id)
    assert found.counts == {"equal": 3, "different": 1, "only_in_source": 0, "only_at_destination": 1, "refused": 0}
    assert found.different_fields == {"name": 1, "updated_at": 1}
    given = {
        "source": str(table.folder / "in.csv"),
        "destination": table.address(),
        "state_dir": table.folder / "state",
    }
    assert flow.verify(settings.load(given, {})).counts == found.counts


def test_a_plan_says_it_and_apply_keeps_to_it(table: Table) -> None:
    table.load(NEW)
    source = written(table.folder / "mixed.csv", MIXED)
    given = {"source": str(source), "destination": table.address(), "state_dir": table.folder / "state"}
    flow.plan(settings.load(given, {}), table.folder / "plan")
    assert fates(flow.apply(table.folder / "plan")) == {"created": 1, "updated": 2, "stale": 1}


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "VARCHAR"])
def test_times_are_compared_in_the_type_of_the_column(kind: str, table: Table) -> None:
    table.do(f"CREATE TABLE customers (external_id VARCHAR, name VARCHAR, updated_at {kind})")
    noon = record(1, 2) | {"updated_at": "2025-03-02T12:00:00.7Z"}
    table.load([noon])
    # Equal bytes are equal customers, whatever precision the column keeps.
    assert fates(table.load([noon])) == {"unchanged": 1}
    assert fates(table.load([noon | {"name": "equal"}])) == {"updated": 1}
    assert fates(table.load([record(1, 1)], older="skip")) == {"stale": 1}


def test_seconds_that_the_server_rounds_up_are_not_older(postgres: PostgresWarehouse) -> None:
    postgres.do("CREATE TABLE customers (external_id text, name text, updated_at timestamptz(0))")
    noon = record(1, 2) | {"updated_at": "2025-03-02T12:00:00.7Z"}
    postgres.load([noon])
    assert fates(postgres.load([noon | {"name": "equal"}])) == {"updated": 1}
    assert fates(postgres.load([record(1, 1)], older="skip")) == {"stale": 1}


def test_a_time_without_end_proves_nothing(table: Table) -> None:
    table.load(NEW)
    table.do("UPDATE customers SET updated_at = 'infinity' WHERE external_id = '1'")
    assert fates(table.load([record(1, 1)])) == {"updated": 1}


# A table that sets the time by itself --------------------------------------------------------------------------------


def night(place: Any, records: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, int]:
    return fates(place.load(records, **options))


def nights(table: Table, *, first: dict[str, int]) -> None:
    """Run on three nights with changes in between, none of which is stale; then with a stale file."""
    changed = [record(1, 3), *NEW[1:]]
    assert night(table, NEW) == first
    assert night(table, NEW) == {"unchanged": 4}
    assert night(table, changed) == {"unchanged": 3, "updated": 1}
    assert night(table, changed) == {"unchanged": 4}
    assert night(table, [record(1, 4), record(2, 3), record(3, 2), record(4, 2)]) == {"unchanged": 2, "updated": 2}
    report = table.load([record(1, 1), record(2, 4), record(3, 2), record(4, 2)])
    assert fates(report) == {"unchanged": 2, "updated": 1, "stale": 1}
    assert [row["destination_updated_at"] for row in listed(report)] == ["2025-03-04T00:00:00Z"]
    assert night(table, [record(1, 1), record(2, 1)], older="write") == {"updated": 2}
    assert night(table, [record(1, 1), record(2, 1)]) == {"unchanged": 2}
    assert names(table) == ["1/1", "2/1", "3/2", "4/2"]


def test_a_trigger_that_touches_the_time(tmp_path: Path, every_postgres_database: Database) -> None:
    table = PostgresWarehouse(tmp_path, every_postgres_database)
    table.do("CREATE TABLE customers (external_id text, email text, name text, updated_at timestamptz)", SET, TRIGGER)
    nights(table, first={"created": 4})
    assert table.rows("SELECT max(updated_at) > '2025-12-31' AS touched FROM customers") == [{"touched": True}]


def test_a_trigger_on_a_table_that_was_filled_before(postgres: PostgresWarehouse) -> None:
    postgres.load(NEW)
    postgres.do(SET, TRIGGER)
    nights(postgres, first={"unchanged": 4})


def test_a_trigger_of_a_part(postgres: PostgresWarehouse) -> None:
    postgres.do(
        "CREATE TABLE customers (external_id text, email text, name text, updated_at timestamptz) PARTITION BY HASH (external_id)",
        "CREATE TABLE part_0 PARTITION OF customers FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE part_1 PARTITION OF customers FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        SET,
        TRIGGER.replace("ON customers", "ON part_0"),
        TRIGGER.replace("ON customers", "ON part_1"),
    )
    nights(postgres, first={"created": 4})


def test_a_default_of_the_column(table: Table) -> None:
    table.do(
        "CREATE TABLE customers (external_id VARCHAR, email VARCHAR, name VARCHAR, updated_at TIMESTAMPTZ DEFAULT now())"
    )
    table.do("INSERT INTO customers (external_id, email, name) VALUES ('1', 'c1@x.example', 'by hand')")
    # The time of a row that Tranship has not written is the server's.
    nights(table, first={"created": 3, "updated": 1})


def test_a_trigger_that_is_gone_leaves_its_times(postgres: PostgresWarehouse) -> None:
    postgres.do(
        "CREATE TABLE customers (external_id text, email text, name text, updated_at timestamptz)", SET, TRIGGER
    )
    postgres.load(NEW)
    postgres.do("DROP TRIGGER touched ON customers")
    assert night(postgres, [record(1, 3), *NEW[1:]]) == {"unchanged": 3, "updated": 1}


def test_customers_known_by_email_alone_are_known_again(postgres: PostgresWarehouse) -> None:
    postgres.do("CREATE TABLE customers (email text, name text, updated_at timestamptz)", SET, TRIGGER)
    given = {"external_id": ""}
    assert night(postgres, [record(1, 2) | given, record(2, 2) | given]) == {"created": 2}
    assert night(postgres, [record(1, 1) | given, record(2, 3) | given]) == {"stale": 1, "updated": 1}


def test_plain_tables_keep_nothing_beside(table: Table) -> None:
    table.load(NEW)
    table.load(MIXED)
    found = table.rows(f"SELECT count(*) AS n FROM information_schema.tables WHERE table_name = '{WRITTEN}'")
    assert found == [{"n": 0}]


# The ledger ----------------------------------------------------------------------------------------------------------


def test_a_ledger_of_an_earlier_version_gets_its_counts(table: Table) -> None:
    table.load(NEW)
    table.do(*(f"ALTER TABLE {LEDGER} DROP COLUMN {name}" for name in LATER_COUNTS))
    assert fates(table.load(MIXED)) == {"created": 1, "updated": 2, "stale": 1}
    rows = table.rows(f"SELECT stale, skipped FROM {LEDGER} ORDER BY finished_at")
    assert rows == [{"stale": 0, "skipped": 0}, {"stale": 1, "skipped": 0}]


# Providers -----------------------------------------------------------------------------------------------------------


def dated(number: int, day: int, **fields: Any) -> dict[str, Any]:
    return customer(number, updated_at=f"2025-03-{day:02}T00:00:00Z", **fields)


@pytest.mark.parametrize("provider", some(PROVIDERS, 2))
def test_a_nightly_run_never_calls_its_own_customers_stale(provider: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)

    def load(*records: dict[str, Any], **options: Any) -> dict[str, int]:
        return fates(moved(tmp_path, written(tmp_path / "in.csv", records), there, **options))

    first = [dated(0, 1), dated(1, 1), dated(2, 1)]
    assert load(*first) == {"created": 3}
    assert load(*first) == {"unchanged": 3}
    second = [dated(0, 2, name="Second"), *first[1:]]
    assert load(*second) == {"updated": 1, "unchanged": 2}
    assert load(*second) == {"unchanged": 3}
    third = [dated(0, 3, name="Third"), dated(1, 2, name="Third"), first[2]]
    assert load(*third) == {"updated": 2, "unchanged": 1}
    # Yesterday's file arrives late, with changes to one customer.
    report = moved(
        tmp_path, written(tmp_path / "in.csv", [second[0], first[1], dated(2, 4, name="News")]), there, older="skip"
    )
    assert (fates(report), report.exit_code) == ({"updated": 1, "stale": 2}, 0)
    assert [(row["action"], row["reason"]) for row in planned(report)] == [("stale", "older")] * 2 + [("update", None)]
    assert [row["destination_updated_at"] for row in listed(report)] == ["2025-03-03T00:00:00Z", "2025-03-02T00:00:00Z"]
    assert sorted(row["name"] for row in held(there).values()) == ["News", "Third", "Third"]
    assert "failed" not in report.files
    # Customers that were not written are still known, and known to be newer.
    assert load(second[0], first[1], first[2], older="skip") == {"stale": 3}
    with pytest.raises(GateClosed, match="2 of 2 changed records"):
        load(second[0], first[1])


def test_a_run_that_found_a_customer_unchanged_has_seen_it_as_of_then(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    for day in (1, 5):
        moved(tmp_path, written(tmp_path / "in.csv", [dated(0, day), dated(1, day)]), there)
    # Found unchanged in a file of the fifth, so a file of the third is older.
    report = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 3, name="Late"), dated(1, 6, name="New")]), there)
    assert fates(report) == {"stale": 1, "updated": 1}


def test_what_a_plan_from_a_folder_has_written_is_known_too(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    flow.plan(given(tmp_path, written(tmp_path / "in.csv", [dated(0, 5), dated(1, 5)]), there), tmp_path / "plan")
    flow.apply(tmp_path / "plan")
    report = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 3, name="Late"), dated(1, 6, name="New")]), there)
    assert fates(report) == {"stale": 1, "updated": 1}
    # And mirror knows the customers that Tranship wrote there.
    source = written(tmp_path / "in.csv", [dated(0, 7)])
    assert fates(moved(tmp_path, source, there, mode="mirror", max_deletes="1")) == {"unchanged": 1, "deleted": 1}


def test_a_damaged_crosswalk_of_a_plan_is_reported(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    flow.plan(given(tmp_path, written(tmp_path / "in.csv", [dated(0, 5)]), there), tmp_path / "plan")
    flow.apply(tmp_path / "plan")
    next((tmp_path / "state" / "applied").glob("*/crosswalk.parquet")).write_bytes(b"")
    report = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 6)]), there)
    assert any("crosswalk.parquet" in note for note in report.notes)


def test_what_was_written_though_older_is_what_counts_from_then_on(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 5)]), there)
    old = written(tmp_path / "in.csv", [dated(0, 1, name="Old")])
    assert fates(moved(tmp_path, old, there, older="write")) == {"updated": 1}
    newer = written(tmp_path / "in.csv", [dated(0, 2, name="Newer")])
    assert fates(moved(tmp_path, newer, there)) == {"updated": 1}


def test_without_a_crosswalk_there_is_no_comparison(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path / "others", written(tmp_path / "in.csv", [dated(0, 5)]), there)
    report = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 1, name="Old")]), there)
    assert fates(report) == {"updated": 1}


def test_a_crosswalk_of_an_earlier_version_is_read(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    before = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 5), dated(1, 5)]), there)
    file = Path(before.run_dir) / "crosswalk.parquet"
    pl.read_parquet(file).drop("updated_at").write_parquet(file)
    manifest = durable.read_json(file.with_name("manifest.json"))
    durable.write_json(file.with_name("manifest.json"), manifest | {"write_began": False, "results": None})
    report = moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 1, name="Old")]), there)
    assert fates(report) == {"updated": 1}
    later = [dated(0, 2, name="Newer")]
    report = moved(tmp_path, written(tmp_path / "in.csv", later), there, mode="mirror", max_deletes="1")
    assert fates(report) == {"updated": 1, "deleted": 1}


def test_older_records_can_be_refused_at_a_provider(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, written(tmp_path / "in.csv", [dated(0, 5), dated(1, 5)]), there)
    old = written(tmp_path / "in.csv", [dated(0, 1, name="Old"), dated(1, 5)])
    report = moved(tmp_path, old, there, older="refuse", mode="mirror", max_deletes="0")
    assert (fates(report), report.refused_by_reason, report.exit_code) == (
        {"refused": 1, "unchanged": 1},
        {"older": 1},
        4,
    )


def test_duckdb_can_sort_the_list(tmp_path: Path) -> None:
    """The list is also Parquet, with times as timestamps."""
    warehouse = Warehouse(tmp_path)
    warehouse.load(NEW)
    report = warehouse.load(MIXED)
    file = Path(report.run_dir) / "stale.parquet"
    assert duckdb.sql(f"SELECT count(*) FROM '{file}' WHERE updated_at < destination_updated_at").fetchall() == [(1,)]
