"""The report of a run whose destination fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.warehouse import Warehouse
from tranship.connectors.databases.duckdb.table import DuckDbTable
from tranship.connectors.errors import ConnectorError, Interfered
from tranship.pipelines import flow
from tranship.pipelines.report import Counts, Report

RECORDS = [
    {"external_id": "1", "name": "Acme"},
    {"external_id": "2", "name": "Birch"},
    {"external_id": "2", "name": "Birch"},
    {"external_id": "3", "name": ""},
    {"external_id": "4", "name": "Cedar"},
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    warehouse.load(RECORDS[:1])
    return warehouse


def failed(warehouse: Warehouse) -> Report:
    with pytest.raises(ConnectorError) as error:
        warehouse.load(RECORDS)
    assert isinstance(error.value.report, Report)
    return error.value.report


def breaking_off(error: Exception) -> Callable[..., Any]:
    def apply(*_: Any) -> None:
        raise error

    return apply


def test_what_was_rolled_back_is_not_reported_as_created(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DuckDbTable, "apply", breaking_off(ConnectorError("the disk is gone.")))
    report = failed(warehouse)
    assert report.counts == Counts(read=5, rejected=1, merged=1, unchanged=1, left=2, warnings=report.counts.warnings)
    assert [row["external_id"] for row in warehouse.rows()] == ["1"]


def test_a_run_that_fails_before_it_has_planned_again_does_not_report_its_first_plan(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = DuckDbTable.plan
    answers = iter([plan, breaking_off(ConnectorError("the table is gone."))])
    monkeypatch.setattr(flow, "_PAUSES", (0,))
    monkeypatch.setattr(DuckDbTable, "apply", breaking_off(Interfered("interrupted.")))
    monkeypatch.setattr(DuckDbTable, "plan", lambda *given: next(answers)(*given))
    report = failed(warehouse)
    assert report.counts == Counts(read=5, rejected=1, merged=1, left=3, warnings=report.counts.warnings)
