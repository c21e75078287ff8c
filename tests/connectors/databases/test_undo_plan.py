"""Taking back a run into a table of DuckDB or Postgres: the table is as it was before, except for what others have
changed since, which is left alone and listed.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.databases.table_mapping import CHANGES
from tranship.connectors.errors import ConfigError, Damaged, GateClosed
from tranship.pipelines import run as flow
from tranship.pipelines.report import Report
from tranship.pipelines.undo import undo

Table = Warehouse | PostgresWarehouse

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann", "city": "Rome", "metadata": '{"b": 1, "a": [2]}'}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob", "city": "Oslo", "metadata": None}
CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy", "city": "Bonn", "metadata": None}
DAN = {"external_id": "4", "email": "dan@acme.com", "name": "Dan", "city": "Kiel", "metadata": None}
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

RUNS: Mapping[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "creates": ([DAN, CY], {}),
    "updates": ([{**ANN, "name": "Anna", "city": "Nice"}, {**BOB, "metadata": '{"x": 1}'}], {}),
    "erased values": ([{**ANN, "city": None}], {"nulls": "overwrite"}),
    "a customer who gets an id": ([{**CY, "external_id": "3"}], {}),
    "marked as deleted": ([ANN], MIRROR),
    "removed": ([ANN], {**MIRROR, "deletes": "remove"}),
    "all at once": ([{**ANN, "name": "Anna"}, DAN], {**MIRROR, "deletes": "remove"}),
    "all at once, without a record of changes": ([{**BOB, "name": "Bo"}, DAN], {**MIRROR, "changes": "off"}),
}


@pytest.mark.parametrize("case", RUNS)
def test_the_table_is_as_before_and_after_an_undo_of_the_undo_as_after_the_run(table: Table, case: str) -> None:
    table.load([ANN, BOB, CY])
    before = table.rows()
    records, options = RUNS[case]
    run = table.load(records, **options)
    after = table.rows()
    assert after != before

    back = take_back(table, run)
    assert table.rows() == before
    assert (back.exit_code, left(back)) == (0, {})
    again = take_back(table, run)
    assert not {"created", "updated", "deleted", "refused"} & fates(again).keys()
    assert table.rows() == before

    assert take_back(table, back).exit_code == 0
    assert _without_times(table.rows()) == _without_times(after)


def _without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["customer_key"]))


def test_the_first_load_is_taken_back_from_a_new_table(table: Table) -> None:
    run = table.load([ANN, BOB, CY])
    assert fates(take_back(table, run)) == {"deleted": 3}
    assert table.rows() == []


# What others have changed since ----------------------------------------------------------------------------------

SINCE: Mapping[str, tuple[list[str], dict[str, str], dict[str, int]]] = {
    "a field that the run changed": (
        ["UPDATE customers SET city = 'Third' WHERE external_id = '1'"],
        {"1": "changed_since: city"},
        {"updated": 1, "deleted": 1, "created": 1},
    ),
    "another field": (
        ["UPDATE customers SET phone = '+1' WHERE external_id = '1'"],
        {},
        {"updated": 1, "deleted": 1, "created": 1},
    ),
    "back to the value before": (
        ["UPDATE customers SET city = 'Rome', name = 'Ann' WHERE external_id = '1'"],
        {},
        {"unchanged": 1, "deleted": 1, "created": 1},
    ),
    "a created customer": (
        ["UPDATE customers SET phone = '+1' WHERE external_id = '4'"],
        {"4": "changed_since: phone"},
        {"updated": 1, "refused": 1, "created": 1},
    ),
    "a created customer was removed": (
        ["DELETE FROM customers WHERE external_id = '4'"],
        {},
        {"updated": 1, "unchanged": 1, "created": 1},
    ),
    "an updated customer was removed": (
        ["DELETE FROM customers WHERE external_id = '1'"],
        {"1": "gone"},
        {"refused": 1, "deleted": 1, "created": 1},
    ),
    "the key of a removed customer is taken": (
        ["INSERT INTO customers (customer_key, external_id, name) VALUES ('2', '2', 'Other')"],
        {"2": "taken: customer_key"},
        {"updated": 1, "refused": 1, "deleted": 1},
    ),
    "a removed customer is back": (
        ["INSERT INTO customers (customer_key, external_id, email, name, city) "
         "VALUES ('2', '2', 'bob@acme.com', 'Bob', 'Oslo')"],
        {},
        {"updated": 1, "unchanged": 1, "deleted": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SINCE)
def test_what_others_have_changed_is_left_alone_and_listed(table: Table, case: str) -> None:
    statements, expected, counts = SINCE[case]
    table.load([ANN, BOB])
    run = table.load([{**ANN, "name": "Anna", "city": "Nice"}, DAN], **MIRROR, deletes="remove")
    table.do(*statements)
    changed = {row["customer_key"]: row for row in table.rows()}

    back = take_back(table, run)
    assert (left(back), fates(back)) == (expected, counts)
    assert back.exit_code == (4 if expected else 0)
    now = {row["customer_key"]: row for row in table.rows()}
    for customer, reason in expected.items():
        for field in reason.partition(": ")[2].split(", ") if reason.startswith("changed_since") else ():
            assert now[customer][field] == changed[customer][field]


def test_a_later_run_wins_where_it_has_changed_the_same_field(table: Table) -> None:
    table.load([ANN, BOB])
    run = table.load([{**ANN, "name": "Anna", "city": "Nice"}])
    later = table.load([{**ANN, "name": "Anne", "city": "Nice"}])

    back = take_back(table, run)
    assert left(back) == {"1": "changed_since: name"}
    found = table.rows("SELECT name, city, _run_id FROM customers WHERE external_id = '1'")
    assert found == [{"name": "Anne", "city": "Rome", "_run_id": later.run_id}]


def test_a_row_of_others_belongs_to_nobody_again(table: Table) -> None:
    table.load([BOB])
    table.do("INSERT INTO customers (customer_key, external_id, name) VALUES ('1', '1', 'Ann')")
    before = table.rows()
    take_back(table, table.load([{**ANN, "name": "Anna"}]))
    assert table.rows() == before


# Rows that others refer to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["", " ON DELETE CASCADE"])
def test_a_created_customer_that_others_refer_to_stays(
    then: str, tmp_path: Path, postgres_database: Database
) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    run = table.load([ANN, BOB])
    table.do(
        f"CREATE TABLE orders (customer text REFERENCES customers (customer_key){then})",
        "INSERT INTO orders VALUES ('1')",
    )
    back = take_back(table, run)
    assert (left(back), fates(back)) == ({"1": "has_dependents"}, {"refused": 1, "deleted": 1})
    assert table.column("customer", table="orders") == ["1"]


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
        f'CREATE TABLE customers (nr numeric(10,2) PRIMARY KEY, "Mail" varchar(60), {long} text NOT NULL DEFAULT \'x\', '
        "terms interval, tags text[], metadata jsonb, updated_at text, price double precision, raw bytea, "
        "seen timestamptz DEFAULT now())",
        "INSERT INTO customers VALUES (1, 'ANN@acme.com', 'Ann', '1 mon 2 days', '{\"a,b\",NULL}', "
        "'{\"z\": 1.50, \"a\": \"\\\\u00e9\"}', 'yesterday', 0.1, '\\x00ff', 'infinity'), "
        "(2, 'bob@acme.com', 'Bob', NULL, '{}', NULL, NULL, 'NaN', NULL, '2020-01-01')",
    )
    before = table.rows("SELECT *, seen::text AS s, terms::text AS i FROM customers ORDER BY 1")
    chosen = {"external_id": "nr", "email": "Mail", "name": long}
    records = [
        {"external_id": "1", "email": "ann2@acme.com", "name": "Anna", "updated_at": "2026-01-02", "metadata": '{"q": 2}'},
        {"external_id": "3", "email": "new@acme.com", "name": "New", "updated_at": "2026-01-02", "metadata": '{"q": 2}'},
    ]
    run = table.load(records, columns=chosen, older="write")
    assert fates(run) == {"created": 1, "updated": 1}
    after = table.rows("SELECT *, 1 AS one FROM customers WHERE nr <> 3 ORDER BY 1")

    back = take_back(table, run)
    assert left(back) == {}
    assert table.rows("SELECT *, seen::text AS s, terms::text AS i FROM customers ORDER BY 1") == before
    assert left(take_back(table, back)) == {}
    assert table.rows("SELECT *, 1 AS one FROM customers WHERE nr <> 3 ORDER BY 1") == after


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
    run = table.load([record, {**record, "external_id": "2", "email": "b@acme.com"}],
                     columns={"external_id": "nr", "email": "mail"})  # fmt: skip
    assert fates(run) == {"updated": 2}
    assert left(take_back(table, run)) == {}
    assert table.rows("SELECT * REPLACE (net_terms::VARCHAR AS net_terms) FROM customers ORDER BY ALL") == before


# A part of a run -------------------------------------------------------------------------------------------------


def _one_of_each(table: Table) -> Report:
    table.load([ANN, BOB])
    return table.load([{**ANN, "name": "Anna"}, DAN], **MIRROR, deletes="remove")


PARTS: Mapping[str, tuple[dict[str, Any], dict[str, int]]] = {
    "created": ({"only": ["created"]}, {"deleted": 1}),
    "updated": ({"only": ["updated"]}, {"updated": 1}),
    "deleted": ({"only": ["deleted"]}, {"created": 1}),
    "two of them": ({"only": ["created", "deleted"]}, {"created": 1, "deleted": 1}),
    "some customers": ({"keys": "2\n\n  DAN@acme.com\n1\nnobody\n"}, {"created": 1, "updated": 1}),
}


@pytest.mark.parametrize("case", PARTS)
def test_only_a_part_of_a_run_is_taken_back(table: Table, case: str) -> None:
    options, expected = PARTS[case]
    run = _one_of_each(table)
    if "keys" in options:
        file = table.folder / "keys.txt"
        file.write_text(options["keys"])
        options = {"keys": file}
    back = take_back(table, run, **options)
    assert fates(back) == expected
    if "keys" in options:
        assert "2 keys of no customer that the run has changed" in back.notes


def test_a_dry_run_writes_nothing(table: Table) -> None:
    run = _one_of_each(table)
    before = table.rows()
    report = take_back(table, run, dry_run=True)
    assert (report.dry_run, fates(report)) == (True, {"created": 1, "updated": 1, "deleted": 1})
    assert table.rows() == before


def test_a_plan_is_reviewed_and_applied(table: Table) -> None:
    run = _one_of_each(table)
    report = take_back(table, run, out=table.folder / "plan")
    with Path(report.files["changes"]).open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {"what": "remove", "customer": "4", "field": "", "now": "", "back": ""},
            {"what": "restore", "customer": "1", "field": "name", "now": "Anna", "back": "Ann"},
            {"what": "return", "customer": "2", "field": "", "now": "", "back": ""},
        ]
    applied = flow.apply(table.folder / "plan")
    assert fates(applied) == {"created": 1, "updated": 1, "deleted": 1}
    assert table.column("name") == ["Ann", "Bob"]


def test_a_plan_is_not_applied_to_a_table_that_has_changed(table: Table) -> None:
    run = _one_of_each(table)
    take_back(table, run, out=table.folder / "plan")
    table.do("UPDATE customers SET name = 'Third' WHERE external_id = '1'")
    with pytest.raises(GateClosed, match="has changed since the plan was made"):
        flow.apply(table.folder / "plan")
    assert table.column("name") == ["Dan", "Third"]


def test_the_limits_on_deletes_and_changes_apply(table: Table) -> None:
    run = _one_of_each(table)
    for limit in ("max_deletes", "max_changes"):
        with pytest.raises(GateClosed, match=f"more than --{limit.replace('_', '-')} 0"):
            take_back(table, run, **{limit: 0})
    assert table.column("name") == ["Anna", "Dan"]


def test_what_an_undo_changes_is_recorded(table: Table) -> None:
    run = _one_of_each(table)
    back = take_back(table, run)
    found = table.rows(f"SELECT customer_key, action, changed_fields, before, after FROM {CHANGES} "
                       f"WHERE run_id = '{back.run_id}' ORDER BY customer_key")  # fmt: skip
    assert [(row["customer_key"], row["action"], row["changed_fields"]) for row in found] == [
        ("1", "update", ["name"]),
        ("2", "create", None),
        ("4", "delete", None),
    ]
    images = [row if isinstance(row, dict) else json.loads(row) for row in (found[0]["before"], found[0]["after"])]
    assert images == [{"name": "Anna"}, {"name": "Ann"}]


# What cannot be taken back ---------------------------------------------------------------------------------------


def _removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _changed(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


FILES = ("before.parquet", "undo.json", "plan.parquet", "stage/000000.parquet")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [_removed, _changed])
def test_images_that_are_missing_or_damaged_are_named(
    name: str, harm: Callable[[str], Callable[[Path], None]], tmp_path: Path
) -> None:
    table = Warehouse(tmp_path)
    run = _one_of_each(table)
    harm(name)(Path(run.run_dir))
    before = table.rows()
    with pytest.raises(Damaged, match=name) as failed:
        take_back(table, run)
    assert failed.value.exit_code == 2
    assert table.rows() == before


def test_a_run_without_images_says_so(table: Table) -> None:
    run = table.load([ANN], undo=False)
    assert not {"before.parquet", "undo.json"} & {file.name for file in Path(run.run_dir).iterdir()}
    with pytest.raises(ConfigError, match="--no-undo"):
        take_back(table, run)


def test_runs_that_did_nothing_or_wrote_a_file_are_refused(tmp_path: Path) -> None:
    table = Warehouse(tmp_path)
    dry = table.load([ANN], dry_run=True)
    with pytest.raises(ConfigError, match="has written nothing"):
        take_back(table, dry)
    file = table.load([ANN], destination=str(tmp_path / "out.csv"))
    with pytest.raises(ConfigError, match="as a whole"):
        take_back(table, file)


def test_a_table_that_is_gone_or_has_changed_its_types_is_named(table: Table) -> None:
    table.load([{**ANN, "net_terms": "30"}])
    run = table.load([{**ANN, "net_terms": "60"}])
    table.do("ALTER TABLE customers ALTER COLUMN net_terms TYPE bigint")
    with pytest.raises(ConfigError, match="column net_terms was of type"):
        take_back(table, run)
    table.do("DROP TABLE customers")
    with pytest.raises(ConfigError, match="does not exist any more"):
        take_back(table, run)


def test_an_unfinished_undo_is_continued(table: Table) -> None:
    run = _one_of_each(table)
    back = take_back(table, run, dry_run=True)
    folder = Path(back.run_dir)
    (folder / "report.json").unlink()
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    values.pop("digest")
    values["status"], values["settings"]["dry_run"] = "running", False
    del values["steps"]["plan"]
    manifest.write_text(json.dumps(values))
    shutil.rmtree(folder / "spill", ignore_errors=True)
    assert fates(flow.resume(table.folder / "state", back.run_id)) == {"created": 1, "updated": 1, "deleted": 1}
    assert table.column("name") == ["Ann", "Bob"]
