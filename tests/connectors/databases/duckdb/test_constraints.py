"""Records that a DuckDB table would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.warehouse import Warehouse, fates
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.errors import Refused

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


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
    # Dan is not in the run and keeps his e-mail; so Bob keeps his, and Ann hers.
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
    # The numbers of a sequence are assigned when the rows are written.
    warehouse.do(
        "CREATE SEQUENCE numbers",
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR, place INT DEFAULT nextval('numbers') CHECK (place < 2))",
    )

    with pytest.raises(Refused, match="nothing was written") as raised:
        warehouse.load([ANN, BOB])
    assert raised.value.exit_code == 3
    assert warehouse.rows() == []
    assert not warehouse.rows(f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{LEDGER}'")
