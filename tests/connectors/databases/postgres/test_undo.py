"""Deletes of an undo in Postgres: of all rows at once if all are to go, and only of those that may."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, fates
from tranship.connectors.databases.undo_plan import HAS_DEPENDENTS
from tranship.pipelines.report import Report
from tranship.pipelines.undo import undo

ANN, BOB, CID = ({"external_id": key, "name": name} for key, name in (("1", "Ann"), ("2", "Bob"), ("3", "Cid")))


@pytest.fixture
def table(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    made = PostgresWarehouse(tmp_path, postgres_database)
    made.do("CREATE TABLE customers (external_id text PRIMARY KEY, name text)")
    return made


def take_back(table: PostgresWarehouse, run: Report) -> Report:
    return undo(table.folder / "state", run.run_id)


def left(report: Report) -> dict[str, str]:
    """Return customer → why it stays."""
    with Path(report.files["left"]).open(newline="", encoding="utf-8") as file:
        return {row["customer"]: row["reason"] for row in csv.DictReader(file)}


def test_all_rows_go_together(table: PostgresWarehouse) -> None:
    run = table.load([ANN, BOB])
    assert fates(take_back(table, run)) == {"deleted": 2}
    assert table.rows("SELECT * FROM customers") == []


def test_only_columns_that_change_are_written(table: PostgresWarehouse) -> None:
    table.load([ANN, BOB], table="made")
    table.do(
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this column'; END $$",
        "CREATE TRIGGER forbid BEFORE UPDATE OF customer_key, email, _deleted_at ON made EXECUTE FUNCTION forbid()",
    )
    table.do("ALTER TABLE made DISABLE TRIGGER forbid")  # an ordinary update clears the mark of a deleted customer
    run = table.load([{**ANN, "name": "Bea"}, BOB], table="made")
    table.do("ALTER TABLE made ENABLE TRIGGER forbid")
    assert fates(take_back(table, run)) == {"updated": 1}
    assert table.column("name", table="made") == ["Ann", "Bob"]


JSON_AS_WRITTEN = [
    '{"b": 1, "a": "x\\": y"}',
    '{"a": 1.10}',
    '{"a": {"c": [1, null]}, "bb": "é"}',
    '{"n": 12345678901234567890}',
    None,
]
JSON_CHANGED = [
    ('{"a": 1.1}', '{"a": 1.10}'),
    ('{"a": "x\\": y"}', '{"a": "x\\":y"}'),
    ('{"a": 1}', '{"a": "1"}'),
    ('{"a": 1}', None),
    (None, "{}"),
]


@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_json_is_compared_by_its_values(table: PostgresWarehouse, kind: str) -> None:
    """What the run wrote is recognised, in whatever form the server keeps it, and so is every change of it."""
    table.do(f"CREATE TABLE made (external_id text PRIMARY KEY, metadata {kind})")
    written = [*JSON_AS_WRITTEN, *(before for before, _ in JSON_CHANGED)]
    records = [{"external_id": str(number), "name": "N", "metadata": text} for number, text in enumerate(written)]
    run = table.load(records, table="made")
    for number, (_, after) in enumerate(JSON_CHANGED, len(JSON_AS_WRITTEN)):
        value = "NULL" if after is None else f"'{after}'"
        table.do(f"UPDATE made SET metadata = {value} WHERE external_id = '{number}'")
    back = take_back(table, run)
    changed = range(len(JSON_AS_WRITTEN), len(written))
    assert left(back) == {str(number): "changed_since: metadata" for number in changed}
    assert table.column("external_id", table="made") == sorted(map(str, changed))


def test_rows_that_others_have_added_changed_or_replaced_stay(table: PostgresWarehouse) -> None:
    """With the row of others, the table has as many rows as the run has created."""
    run = table.load([ANN, BOB, CID])
    table.do(
        "INSERT INTO customers VALUES ('9', 'Other')",
        "UPDATE customers SET name = 'Bea' WHERE external_id = '2'",
        "DELETE FROM customers WHERE external_id = '3'",
    )
    back = take_back(table, run)
    assert left(back) == {"2": "changed_since: name"}
    assert fates(back) == {"deleted": 1, "refused": 1, "unchanged": 1}
    assert table.column("name") == ["Bea", "Other"]


FORBIDDEN = {
    "foreign key": (
        "CREATE TABLE orders (customer text REFERENCES customers)",
        "INSERT INTO orders VALUES ('2')",
    ),
    "foreign key that follows": (
        "CREATE TABLE orders (customer text NOT NULL REFERENCES customers ON DELETE SET NULL)",
        "INSERT INTO orders VALUES ('2')",
    ),
    "trigger that raises an error": (
        (
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF OLD.external_id = '2' THEN RAISE 'kept'; END IF; RETURN OLD; END $$"
        ),
        "CREATE TRIGGER keep BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION keep()",
    ),
    "trigger that skips the row": (
        (
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF OLD.external_id = '2' THEN RETURN NULL; END IF; RETURN OLD; END $$"
        ),
        "CREATE TRIGGER keep BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION keep()",
    ),
    "rule": ("CREATE RULE keep AS ON DELETE TO customers WHERE OLD.external_id = '2' DO INSTEAD NOTHING",),
}


@pytest.mark.parametrize("by", FORBIDDEN)
def test_a_row_whose_delete_is_forbidden_stays(table: PostgresWarehouse, by: str) -> None:
    run = table.load([ANN, BOB, CID])
    table.do(*FORBIDDEN[by])
    back = take_back(table, run)
    assert left(back) == {"2": HAS_DEPENDENTS}
    assert fates(back) == {"deleted": 2, "refused": 1}
    assert table.column("name") == ["Bob"]


def test_a_row_of_a_partition_to_which_others_refer_stays(tmp_path: Path, postgres_database: Database) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    table.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text) PARTITION BY HASH (external_id)",
        "CREATE TABLE part PARTITION OF customers FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    run = table.load([ANN, BOB])
    table.do("CREATE TABLE orders (customer text REFERENCES part)", "INSERT INTO orders VALUES ('2')")
    back = take_back(table, run)
    assert left(back) == {"2": HAS_DEPENDENTS}
    assert table.column("name") == ["Bob"]


@pytest.fixture
def clerk(table: PostgresWarehouse) -> Iterator[PostgresWarehouse]:
    """The database, of which a role without privileges uses the table by policies."""
    name, password = f"clerk_{secrets.token_hex(4)}", secrets.token_urlsafe(9)
    there = table.database.url.partition("@")[2]
    table.do(
        f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",
        f"GRANT ALL ON customers TO {name}",
        f"GRANT CREATE ON SCHEMA public TO {name}",
    )
    yield PostgresWarehouse(table.folder, replace(table.database, url=f"postgresql://{name}:{password}@{there}"))
    table.do(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_rows_that_a_policy_hides_stay(table: PostgresWarehouse, clerk: Any) -> None:
    """Without a condition a DELETE reads nothing, and would remove what the role may not see."""
    table.do(
        "INSERT INTO customers VALUES ('9', 'Hidden')",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY seen ON customers FOR SELECT USING (name <> 'Hidden')",
        *(
            f"CREATE POLICY p{n} ON customers FOR {verb}"
            for n, verb in enumerate(("INSERT WITH CHECK (true)", "UPDATE USING (true)", "DELETE USING (true)"))
        ),
    )
    run = clerk.load([ANN, BOB])
    assert fates(take_back(clerk, run)) == {"deleted": 2}
    assert table.column("name") == ["Hidden"]
