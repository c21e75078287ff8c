"""Taking back a run into a table of DuckDB or Postgres: the table is as it was before, except for what others have
changed since, which is left alone and listed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.databases.table_mapping import CHANGES, WRITTEN
from tranship.connectors.errors import ConfigError, Damaged, GateClosed
from tranship.pipelines import run as flow
from tranship.pipelines.report import Report
from tranship.pipelines.undo import undo

Table = Warehouse | PostgresWarehouse
Record = dict[str, Any]


def customer(number: int, **values: Any) -> Record:
    """Return a customer with this id."""
    known = {"external_id": str(number), "email": f"c{number}@acme.com", "name": f"Customer {number}", "city": "Rome"}
    return {**known, "metadata": '{"b": 1, "a": [2]}', **values}


NAMELESS = customer(9, external_id=None)
MIRROR = {"mode": "mirror", "max_deletes": "100%"}


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    return PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))


def take_back(table: Table, run: Report, **options: Any) -> Report:
    return undo(table.folder / "state", run.run_id, **options)


def left(report: Report) -> dict[str, str]:
    """Return customer → why it is not taken back, or not completely."""
    if "left" not in report.files:
        return {}
    with Path(report.files["left"]).open(newline="", encoding="utf-8") as file:
        return {row["customer"]: row["reason"] for row in csv.DictReader(file)}


# What is taken back ----------------------------------------------------------------------------------------------

BEFORE = [*map(customer, range(1, 5)), NAMELESS]
RUNS: Mapping[str, tuple[list[Record], Record, dict[str, int]]] = {
    "all at once": (
        [
            customer(1, name="New name", city=None),
            customer(2, metadata='{"x": 1}'),
            {**NAMELESS, "external_id": "99"},
            customer(7),
            customer(8, external_id=None),
        ],
        {**MIRROR, "deletes": "remove", "nulls": "overwrite"},
        {"created": 2, "updated": 3, "deleted": 2},
    ),
    "marked as deleted, without a record of changes": (
        [customer(1)],
        {**MIRROR, "changes": "off"},
        {"unchanged": 1, "deleted": 4},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_the_table_is_as_before_and_after_an_undo_of_the_undo_as_after_the_run(table: Table, case: str) -> None:
    first = table.load(BEFORE)
    before = table.rows()
    records, options, counts = RUNS[case]
    run = table.load(records, **options)
    assert fates(run) == counts
    after = table.rows()

    back = take_back(table, run)
    assert (back.exit_code, left(back)) == (0, {})
    assert table.rows() == before
    again = take_back(table, run)
    assert not {"created", "updated", "deleted", "refused"} & fates(again).keys()
    assert again.notes == ("nothing to do: everything is as it was before the run",)
    assert table.rows() == before

    assert take_back(table, back).exit_code == 0
    assert sorted(table.rows(), key=str) == sorted(after, key=str)
    if case == "all at once":
        assert fates(take_back(table, first)) == {"refused": 3, "unchanged": 2}


# Times that the table sets itself --------------------------------------------------------------------------------

TIMES = f"SELECT customer, updated_at::VARCHAR AS time FROM {WRITTEN} ORDER BY customer"
OWN_TIMES = "CREATE TABLE customers (external_id {0}, email {0}, name {0}, updated_at timestamptz DEFAULT now())"
TOUCHED = (
    "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$",
    "CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touched()",
)


def of_day(number: int, day: int) -> Record:
    return customer(number, name=f"{number} of day {day}", updated_at=f"2025-03-{day:02}T00:00:00Z")


@pytest.mark.slow
@pytest.mark.parametrize("kept_by", ["default", "trigger"])
def test_what_was_last_written_is_as_before(table: Table, kept_by: str) -> None:
    """Otherwise the records of the earlier state would be older than what the table no longer has."""
    if kept_by == "trigger" and isinstance(table, Warehouse):
        pytest.skip("DuckDB has no triggers")
    table.do(OWN_TIMES.format("VARCHAR"), *(TOUCHED if kept_by == "trigger" else ()))
    names = "SELECT external_id, name FROM customers ORDER BY external_id"
    earlier, later = [of_day(1, 1), of_day(2, 1)], [of_day(1, 5), of_day(2, 1), of_day(3, 5)]
    table.load(earlier)
    before = (table.rows(names), table.rows(TIMES))
    run = table.load(later)
    after = (table.rows(names), table.rows(TIMES))
    assert (len(before[1]), len(after[1])) == (2, 3)

    back = take_back(table, run)
    assert left(back) == {}
    assert (table.rows(names), table.rows(TIMES)) == before
    assert fates(table.load(earlier, dry_run=True)) == {"unchanged": 2}
    assert fates(table.load([of_day(1, 3), of_day(3, 3)], dry_run=True)) == {"created": 1, "updated": 1}
    again = take_back(table, back)
    assert (left(again), table.rows(names), table.rows(TIMES)) == ({}, *after)
    assert left(take_back(table, again)) == {}
    assert (table.rows(names), table.rows(TIMES)) == before
    assert fates(table.load(later)) == {"created": 1, "updated": 1, "unchanged": 1}
    assert (table.rows(names), table.rows(TIMES)) == after


@pytest.mark.slow
def test_a_time_that_a_later_run_has_written_stays(table: Table) -> None:
    table.do(OWN_TIMES.format("VARCHAR"))
    table.load([of_day(1, 1), of_day(2, 1)])
    run = table.load([of_day(1, 3), of_day(2, 3)])
    table.load([of_day(1, 5)])
    assert left(take_back(table, run)) == {"1": "changed_since: name, updated_at"}
    assert [row["time"][:10] for row in table.rows(TIMES)] == ["2025-03-05", "2025-03-01"]


# What others have changed since ----------------------------------------------------------------------------------

SINCE: Mapping[str, tuple[str, str | None]] = {
    "1": ("UPDATE customers SET city = 'Third' WHERE external_id = '1'", "changed_since: city"),
    "2": ("UPDATE customers SET phone = '+1' WHERE external_id = '2'", None),
    "3": ("UPDATE customers SET city = 'Rome', name = 'Customer 3' WHERE external_id = '3'", None),
    "4": ("UPDATE customers SET city = 'Third', name = 'Third' WHERE external_id = '4'", "changed_since: name, city"),
    "5": ("DELETE FROM customers WHERE external_id = '5'", "gone"),
    "11": ("UPDATE customers SET phone = '+1' WHERE external_id = '11'", "changed_since: phone"),
    "12": ("DELETE FROM customers WHERE external_id = '12'", None),
    "21": (
        "INSERT INTO customers (customer_key, external_id, name) VALUES ('21', '21', 'Other')",
        "taken: customer_key",
    ),
    "22": (
        (
            "INSERT INTO customers (customer_key, external_id, email, name, city, metadata) "
            "VALUES ('22', '22', 'c22@acme.com', 'Customer 22', 'Rome', '{\"b\": 1, \"a\": [2]}')"
        ),
        None,
    ),
}
"""Customer → what others do to it after the run, and why it is left alone: 1 to 5 were updated by the run, 11 and 12
created, and 21 and 22 removed."""


@pytest.mark.slow
def test_what_others_have_changed_is_left_alone_and_listed(table: Table) -> None:
    kept = list(range(1, 6))
    table.load([customer(number) for number in (*kept, 21, 22, 23)])
    changed = [customer(number, name="New name", city="Nice") for number in kept]
    run = table.load([*changed, customer(11), customer(12), customer(13)], **MIRROR, deletes="remove")
    table.do(*(statement for statement, _ in SINCE.values()))

    back = take_back(table, run)
    assert left(back) == {key: reason for key, (_, reason) in SINCE.items() if reason}
    assert fates(back) == {"created": 1, "updated": 2, "unchanged": 3, "refused": 4, "deleted": 1}
    assert back.exit_code == 4
    rows = table.rows("SELECT external_id, name, city, phone FROM customers ORDER BY length(external_id), external_id")
    assert [tuple(row.values()) for row in rows] == [
        ("1", "Customer 1", "Third", None),
        ("2", "Customer 2", "Rome", "+1"),
        ("3", "Customer 3", "Rome", None),
        ("4", "Third", "Third", None),
        ("11", "Customer 11", "Rome", "+1"),
        ("21", "Other", None, None),
        ("22", "Customer 22", "Rome", None),
        ("23", "Customer 23", "Rome", None),
    ]


@pytest.mark.slow
def test_a_later_run_wins_and_a_row_of_others_belongs_to_nobody_again(table: Table) -> None:
    table.load([customer(1)])
    table.do("INSERT INTO customers (customer_key, external_id, name) VALUES ('2', '2', 'Other')")
    run = table.load([customer(1, name="New name", city="Nice"), customer(2)])
    later = table.load([customer(1, name="Newest name", city="Nice")])

    assert left(take_back(table, run)) == {"1": "changed_since: name"}
    found = table.rows("SELECT name, city, _run_id FROM customers ORDER BY external_id")
    assert found == [
        {"name": "Newest name", "city": "Rome", "_run_id": later.run_id},
        {"name": "Other", "city": None, "_run_id": None},
    ]


# Rows that others refer to ---------------------------------------------------------------------------------------


def test_a_created_customer_that_others_refer_to_stays(tmp_path: Path, postgres_database: Database) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    run = table.load([customer(1), customer(2), customer(3)])
    table.do(
        "CREATE TABLE orders (customer text REFERENCES customers (customer_key))",
        "CREATE TABLE notes (customer text REFERENCES customers (customer_key) ON DELETE CASCADE)",
        "INSERT INTO orders VALUES ('1')",
        "INSERT INTO notes VALUES ('2')",
    )
    back = take_back(table, run)
    assert left(back) == {"1": "has_dependents", "2": "has_dependents"}
    assert fates(back) == {"refused": 2, "deleted": 1}
    assert table.column("customer", table="notes") == ["2"]


@pytest.mark.slow
def test_a_created_customer_that_others_refer_to_stays_in_duckdb(tmp_path: Path) -> None:
    table = Warehouse(tmp_path)
    table.do(
        "CREATE TABLE customers (external_id varchar PRIMARY KEY, name varchar)",
        "CREATE TABLE orders (customer varchar REFERENCES customers (external_id))",
    )
    run = table.load([{"external_id": "1", "name": "Ann"}, {"external_id": "2", "name": "Bob"}])
    table.do("INSERT INTO orders VALUES ('1')")
    back = take_back(table, run)
    assert (left(back), fates(back)) == ({"1": "has_dependents"}, {"refused": 1, "deleted": 1})
    assert table.column("external_id") == ["1"]


# Tables of the user's own ----------------------------------------------------------------------------------------


def test_values_of_any_type_return_exactly(tmp_path: Path, postgres_database: Database) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    long = "n" * 63
    table.do(
        f"""CREATE TABLE customers (nr numeric(10,2) PRIMARY KEY, "Mail" varchar(60), {long} text NOT NULL DEFAULT 'x',
        terms interval, tags text[] DEFAULT '{{"x,y",NULL}}', metadata jsonb, updated_at text, price double precision
        DEFAULT 'NaN', raw bytea, seen timestamptz DEFAULT now(), twice numeric GENERATED ALWAYS AS (nr * 2) STORED)""",
        """INSERT INTO customers VALUES (1, 'ANN@acme.com', 'Ann', '1 mon 2 days', '{"a,b",NULL}',
        '{"z": 1.50, "a": "\\u00e9"}', 'yesterday', 0.1, '\\x00ff', 'infinity')""",
    )
    everything = "SELECT *, seen::text AS s, terms::text AS i FROM (SELECT * FROM customers WHERE nr < 3) t ORDER BY 1"
    exact = everything.replace("*, ", f'nr, "Mail", {long}, tags, metadata::text, updated_at, price, raw, ', 1)
    before = table.rows(exact)
    changes = {"email": "ann2@acme.com", "name": "Anna", "updated_at": "2026-01-02", "metadata": '{"q": 2}'}
    records = [{"external_id": "1", **changes}, {**changes, "external_id": "3", "email": "new@acme.com"}]
    run = table.load(records, columns={"external_id": "nr", "email": "Mail", "name": long}, older="write")
    assert fates(run) == {"created": 1, "updated": 1}
    after = table.rows(exact)
    assert after != before
    [created] = table.rows("SELECT jsonb_strip_nulls(to_jsonb(t)) AS row FROM customers t WHERE nr = 3")

    back = take_back(table, run)
    assert (left(back), fates(back)) == ({}, {"updated": 1, "deleted": 1})
    recorded = table.rows(f"SELECT action, before, reason FROM {CHANGES} WHERE run_id = '{back.run_id}' ORDER BY 1")
    assert [(row["action"], row["reason"]) for row in recorded] == [("delete", "undo"), ("update", "undo")]
    assert recorded[0]["before"] == created["row"]
    assert table.rows(exact) == before
    assert left(take_back(table, back)) == {}
    assert table.rows(exact) == after


@pytest.mark.parametrize("others", [0, 9])
def test_a_partitioned_table_most_of_which_is_taken_back_or_little(
    tmp_path: Path, postgres_database: Database, others: int
) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    table.do(
        "CREATE TABLE customers (external_id text, email text, name text, note text) PARTITION BY HASH (external_id)",
        *(f"CREATE TABLE p{n} PARTITION OF customers FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in (0, 1)),
        f"INSERT INTO customers SELECT 'o' || n, 'o' || n || '@acme.com', 'O' FROM generate_series(1, {others}) n",
        "INSERT INTO customers VALUES ('1', 'ann@acme.com', 'Ann'), ('2', 'bob@acme.com', 'Bob')",
    )
    before = table.rows("SELECT * FROM customers ORDER BY 1")
    emails = {"1": "ann@acme.com", "2": "bob@acme.com", "3": "new@acme.com"}
    run = table.load([{"external_id": key, "email": email, "name": "X"} for key, email in emails.items()])
    back = take_back(table, run)
    assert (left(back), fates(back)) == ({}, {"updated": 2, "deleted": 1})
    assert table.rows("SELECT * FROM customers ORDER BY 1") == before


@pytest.mark.slow
def test_a_duckdb_table_of_ones_own(tmp_path: Path) -> None:
    table = Warehouse(tmp_path)
    table.do(
        "CREATE TYPE mood AS ENUM ('trial', 'active')",
        "CREATE TABLE customers (nr integer, mail varchar, status mood, net_terms hugeint, tags varchar[], note varchar)",
        "INSERT INTO customers VALUES (1, 'ann@acme.com', 'trial', 170141183460469231731687303715884105727, "
        "['a', NULL], 'n'), (2, 'bob@acme.com', NULL, 5, NULL, NULL)",
    )
    before = table.rows("SELECT * REPLACE (net_terms::VARCHAR AS net_terms) FROM customers ORDER BY ALL")
    record = {"external_id": "1", "email": "ann@acme.com", "status": "active", "net_terms": "30", "name": "Ann"}
    records = [record, {**record, "external_id": "2", "email": "b@acme.com"}]
    run = table.load(records, columns={"external_id": "nr", "email": "mail"})
    assert fates(run) == {"updated": 2}
    assert left(take_back(table, run)) == {}
    assert table.rows("SELECT * REPLACE (net_terms::VARCHAR AS net_terms) FROM customers ORDER BY ALL") == before


# The history -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_undo_appends_to_the_history(table: Table) -> None:
    """It rewrites nothing: what the run made of the customers stays, until the time of the undo."""
    table.load([customer(1), customer(2)], history=True)
    run = table.load([customer(1, name="New name"), customer(3)], **MIRROR, deletes="remove", history=True)
    versions = "SELECT customer_key, name, deleted FROM customers_history ORDER BY customer_key, valid_from"
    known = [tuple(row.values()) for row in table.rows(versions)]

    assert fates(take_back(table, run)) == {"created": 1, "updated": 1, "deleted": 1}
    found = [tuple(row.values()) for row in table.rows(versions)]
    added = [("1", "Customer 1", False), ("2", "Customer 2", False), ("3", "Customer 3", True)]
    assert sorted(found) == sorted([*known, *added])


# A part of a run -------------------------------------------------------------------------------------------------

PARTS: Mapping[str, tuple[Record, dict[str, int]]] = {
    "created": ({"only": ["created"]}, {"deleted": 1}),
    "updated": ({"only": ["updated"]}, {"updated": 1}),
    "deleted": ({"only": ["deleted"]}, {"created": 1}),
    "two of them": ({"only": ["created", "deleted"]}, {"created": 1, "deleted": 1}),
    "some customers": ({"keys": "2\n\n  no@acme.com\n1\nnobody\n"}, {"created": 1, "updated": 1}),
}


def one_of_each(table: Table) -> Report:
    """Return a run that has updated 1, removed 2 and created 4."""
    table.load([customer(1), customer(2)])
    return table.load([customer(1, name="New name"), customer(4)], **MIRROR, deletes="remove")


@pytest.mark.slow
def test_a_part_of_a_run_a_dry_run_and_limits(table: Table) -> None:
    run = one_of_each(table)
    before = table.rows()
    for options, expected in PARTS.values():
        given = dict(options)
        if "keys" in options:
            given["keys"] = table.folder / "keys.txt"
            given["keys"].write_text(options["keys"])
        planned = take_back(table, run, dry_run=True, **given)
        assert (planned.dry_run, fates(planned)) == (True, expected)
    assert "2 keys of no customer that the run has changed" in planned.notes
    for limit in ("max_deletes", "max_changes"):
        with pytest.raises(GateClosed, match=f"more than --{limit.replace('_', '-')} 0"):
            take_back(table, run, **{limit: 0})
    assert table.rows() == before

    back = take_back(table, run, only=["updated"])
    assert fates(back) == {"updated": 1}
    assert sorted(table.column("name")) == ["Customer 1", "Customer 4"]
    assert take_back(table, run, only=["updated"]).notes == ("nothing to do",)  # other customers are not as before
    with pytest.raises(ConfigError, match=f"takes back a run. .* undo {run.run_id}"):
        flow.verify_run(table.folder / "state", back.run_id)


@pytest.mark.slow
def test_a_plan_is_reviewed_and_applied_unless_the_table_has_changed(table: Table) -> None:
    run = one_of_each(table)
    report = take_back(table, run, out=table.folder / "plan")
    with Path(report.files["changes"]).open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {"what": "remove", "customer": "4", "field": "", "now": "", "back": ""},
            {"what": "restore", "customer": "1", "field": "name", "now": "New name", "back": "Customer 1"},
            {"what": "return", "customer": "2", "field": "", "now": "", "back": ""},
        ]
    table.do("UPDATE customers SET name = 'Third' WHERE external_id = '1'")
    with pytest.raises(GateClosed, match="has changed since the plan was made"):
        flow.apply(table.folder / "plan")
    table.do("UPDATE customers SET name = 'New name' WHERE external_id = '1'")
    applied = flow.apply(table.folder / "plan")
    assert fates(applied) == {"created": 1, "updated": 1, "deleted": 1}
    assert table.column("name") == ["Customer 1", "Customer 2"]
    found = table.rows(
        f"SELECT customer_key, action, changed_fields, before, after FROM {CHANGES} "
        f"WHERE run_id = '{applied.run_id}' ORDER BY customer_key"
    )
    assert [(row["customer_key"], row["action"], row["changed_fields"]) for row in found] == [
        ("1", "update", ["name"]),
        ("2", "create", None),
        ("4", "delete", None),
    ]
    images = [json.loads(text) if isinstance(text, str) else text for text in (found[0]["before"], found[0]["after"])]
    assert images == [{"name": "New name"}, {"name": "Customer 1"}]
    returned = json.loads(found[1]["after"]) if isinstance(found[1]["after"], str) else found[1]["after"]
    assert (returned["external_id"], returned["name"]) == ("2", "Customer 2")


# What cannot be taken back ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    table = Warehouse(tmp_path)
    run = one_of_each(table)
    before = table.rows()
    for name in ("before.parquet", "undo.json", "plan.parquet", "stage/000000.parquet"):
        file = Path(run.run_dir) / name
        content = file.read_bytes()
        middle = len(content) // 2
        for harmed in (None, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]):
            if harmed is None:
                file.unlink()
            else:
                file.write_bytes(harmed)
            with pytest.raises(Damaged, match=name) as failed:
                take_back(table, run)
            assert failed.value.exit_code == 2
        file.write_bytes(content)
    assert table.rows() == before
    assert take_back(table, run).exit_code == 0


@pytest.mark.slow
def test_runs_that_cannot_be_taken_back_say_why(tmp_path: Path) -> None:
    table = Warehouse(tmp_path)
    dry = table.load([customer(1)], dry_run=True)
    bare = table.load([customer(1)], undo=False)
    assert not {"before.parquet", "undo.json"} & {file.name for file in Path(bare.run_dir).iterdir()}
    file = table.load([customer(1)], destination=str(tmp_path / "out.csv"))
    for run, reason in ((dry, "has written nothing"), (bare, "--no-undo"), (file, "as a whole")):
        with pytest.raises(ConfigError, match=reason):
            take_back(table, run)
    with pytest.raises(ConfigError, match=r"keys\.txt: cannot be read"):
        take_back(table, table.load([customer(2)]), keys=tmp_path / "keys.txt")


@pytest.mark.slow
def test_a_table_that_is_gone_or_has_changed_its_types_is_named(table: Table) -> None:
    table.load([customer(1, net_terms="30")])
    run = table.load([customer(1, net_terms="60")])
    table.do("ALTER TABLE customers ALTER COLUMN net_terms TYPE bigint")
    with pytest.raises(ConfigError, match="column net_terms was of type"):
        take_back(table, run)
    table.do("DROP TABLE customers")
    with pytest.raises(ConfigError, match="does not exist any more"):
        take_back(table, run)


def test_customers_are_chosen_by_any_e_mail_that_they_had_or_have(table: Table) -> None:
    table.load([customer(1, email="old@acme.com"), customer(2), customer(3), customer(5)])
    run = table.load([customer(1, name="One"), customer(2, name="Two"), customer(4)], **MIRROR, deletes="remove")
    keys = table.folder / "keys.txt"
    keys.write_text("old@acme.com\nC3@acme.com\nc4@acme.com\nc9@acme.com\n")
    back = take_back(table, run, keys=keys)
    assert fates(back) == {"created": 1, "updated": 1, "deleted": 1}
    assert back.notes == ("1 key of no customer that the run has changed",)
    assert table.column("name") == ["Customer 1", "Customer 3", "Two"]


def test_values_of_a_column_that_is_gone_are_listed_as_left_alone(table: Table) -> None:
    table.load([customer(1), customer(2), customer(3), customer(5, city=None), customer(6)])
    news = [customer(1, city="Nice"), customer(2, city="Nice", name="Two"), customer(4), customer(6, name="Six")]
    run = table.load(news, **MIRROR, deletes="remove", columns={"city": "city"})
    table.do("ALTER TABLE customers DROP COLUMN city")
    back = take_back(table, run)
    assert (back.exit_code, fates(back)) == (4, {"created": 2, "updated": 2, "deleted": 1, "refused": 1})
    assert left(back) == dict.fromkeys("123", "changed_since: city")
    assert table.column("name") == [f"Customer {number}" for number in (1, 2, 3, 5, 6)]
    assert "the table has no column city any more: values in it are not restored" in back.notes


def test_customers_that_cannot_be_marked_any_more_are_listed(table: Table) -> None:
    table.load([customer(1), customer(2)])
    run = table.load([customer(1)], **MIRROR)
    table.do("ALTER TABLE customers DROP COLUMN _deleted_at")
    back = take_back(table, run)
    assert (back.exit_code, left(back)) == (4, {"2": "changed_since: _deleted_at"})
