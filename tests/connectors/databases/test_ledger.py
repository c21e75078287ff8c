"""The ledger beside a table, in DuckDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.warehouse import Warehouse
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.errors import ConnectorError

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.mark.slow
def test_the_ledger_has_a_row_for_each_run_that_balances(warehouse: Warehouse) -> None:
    bad = {**BOB, "name": ""}
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


@pytest.mark.slow
def test_the_ledger_counts_what_the_destination_found_ambiguous(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load([{**ANN, "external_id": None}, CY])

    [row] = warehouse.rows(f"SELECT read, rejected, created FROM {LEDGER} WHERE run_id = '{report.run_id}'")
    assert row == {"read": 2, "rejected": 1, "created": 1}


@pytest.mark.slow
def test_rows_and_ledger_stand_or_fall_together(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    before = warehouse.rows()
    warehouse.do(f"ALTER TABLE {LEDGER} DROP COLUMN merged")

    with pytest.raises(ConnectorError, match="rolled back"):
        warehouse.load([{**ANN, "name": "Anna"}, BOB])
    assert warehouse.rows() == before
