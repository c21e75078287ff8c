"""The files of identity are the same whether all candidates are decided on at once or in partitions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Warehouse, write_csv
from tranship.pipelines import identity_step
from tranship.pipelines.report import Report

pytestmark = pytest.mark.slow

COLUMNS = ("external_id", "email", "name", "phone", "city", "zip_code", "tax_id", "updated_at", "country")


def rows(dice: random.Random, count: int) -> list[dict[str, str | None]]:
    """Records that share ids and e-mails, some of them with a time, some with a value that is left empty."""
    return [
        {
            "external_id": dice.choice(["1", "2", "3", "a", "A", *[None] * 4]),
            "email": dice.choice(["a@b.co", "c@b.co", "d@b.co", "e@b.co", f"{number}@b.co"]),
            "name": dice.choice(["Ann", "Bob", "Cyd"]),
            "phone": dice.choice([None, None, f"+49301234{number:04}", "unknown"]),
            "city": dice.choice([None, "Rome", "Bonn"]),
            "zip_code": dice.choice([None, f"{number:05}"]),
            "tax_id": dice.choice([None, None, None, f"T{number}"]),
            "updated_at": dice.choice([None, f"2024-01-0{dice.randint(1, 9)}"]),
            "country": dice.choice(["DE", "Narnia"]),
        }
        for number in range(count)
    ]


def left_by(report: Report, warehouse: Warehouse) -> dict[str, Any]:
    """What a run has left: the table without the run's id, and its lists."""
    listed = {
        name: pl.read_parquet(report.files[name]).drop("_run_id", strict=False).to_dicts()
        for name in ("merges", "rejects_parquet", "warnings")
    }
    customers = warehouse.rows("SELECT * EXCLUDE (_run_id) FROM customers ORDER BY ALL")
    return {
        **{"customers": customers, "counts": report.counts, "warnings by code": report.warnings_by_code},
        **{"examples": report.examples, **listed},
    }


@pytest.mark.parametrize(("survivor", "fill"), [("newest", True), ("newest", False), ("first", True)])
def test_partitions_leave_what_is_left_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivor: str, fill: bool
) -> None:
    dice = random.Random(f"{survivor} {fill}")
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        write_csv(source / f"{number}.csv", rows(dice, 40), COLUMNS)

    left = []
    for at_once in (identity_step.AT_ONCE, 25):
        monkeypatch.setattr(identity_step, "AT_ONCE", at_once)
        (tmp_path / str(at_once)).mkdir()
        warehouse = Warehouse(tmp_path / str(at_once))
        report = warehouse.load(source, survivor=survivor, fill=fill)
        left.append(left_by(report, warehouse))
        assert not [*warehouse.folder.glob("state/runs/*/spill/*")]

    assert left[1] == left[0]
    assert min(left[0]["counts"].merged, left[0]["counts"].rejected, left[0]["counts"].created) > 5
    assert {"email.shared", "external_id.lookalike", "external_id.conflict"} <= {*left[0]["warnings by code"]}
