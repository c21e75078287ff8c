"""Whatever happens between deltas, the destination ends as after one full run."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.warehouse import Warehouse, write_csv
from tranship.connectors.databases.duckdb.watermarks import Watermarks
from tranship.pipelines import write_step

_START = datetime(2026, 1, 31, tzinfo=UTC)
_LOOKBACK = 30
"""Minutes."""

written = st.tuples(st.just("write"), st.integers(0, 5), st.integers(0, _LOOKBACK))
"""A customer that is created or changed, and how many minutes later than its time it is seen."""
loaded = st.tuples(st.just("load"), st.sampled_from(["whole", "dies before the commit", "dies after it", "dry"]))


@pytest.mark.slow
@settings(max_examples=60 if "TRANSHIP_LONG_TESTS" in os.environ else 5)
@given(steps=st.lists(st.one_of(written, written, loaded), min_size=4, max_size=14))
def test_deltas_end_as_one_full_run(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("deltas")
    warehouse = Warehouse(folder)
    customers: dict[int, tuple[datetime, int]] = {}
    now = _START

    def load(**options: Any) -> None:
        records = [
            {"external_id": str(key), "name": f"name {version}", "updated_at": at.isoformat()}
            for key, (at, version) in customers.items()
        ]
        if records:
            warehouse.load(write_csv(folder / "in.csv", records), **options)

    def delta(**options: Any) -> None:
        load(since="last", lookback=f"{_LOOKBACK}min", **options)

    for number, step in enumerate(steps):
        now += timedelta(minutes=17)
        if step[0] == "write":
            at = now - timedelta(minutes=step[2])
            known = customers.get(step[1])
            customers[step[1]] = (max(at, known[0] + timedelta(minutes=1)) if known else at, number)
        elif step[1] in ("whole", "dry"):
            delta(dry_run=step[1] == "dry")
        else:
            before = step[1] == "dies before the commit"
            place: tuple[Any, str] = (Watermarks, "advance") if before else (write_step, "finish")
            with pytest.MonkeyPatch.context() as dying:
                dying.setattr(*place, _die)
                with contextlib.suppress(SystemExit):
                    delta()
    delta()
    ours = warehouse.rows(_ROWS) if customers else []
    load(table="whole")
    assert ours == (warehouse.rows(_ROWS.replace("customers", "whole")) if customers else [])
    shutil.rmtree(folder)


_ROWS = "SELECT external_id, name, updated_at FROM customers ORDER BY ALL"


def _die(*_: object) -> None:
    raise SystemExit
