"""Lists of runs by pipeline."""

from __future__ import annotations

from typing import Any

from tranship.pipelines.cli.run_lists import of_runs
from tranship.pipelines.cli.terminal import Look


def entry(pipeline: str, day: int, read: int | None, rejected: int = 0, status: str = "done") -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "run_id": f"202611{day:02}T030000-abcdef",
        "started_at": f"2026-11-{day:02}T03:00:00+00:00",
        "status": status,
        "source": f"exports/{pipeline}.csv",
        "destination": "postgresql://db/warehouse",
        "counts": None if read is None else {"read": read, "rejected": rejected},
    }


RUNS = [
    entry("crm", 4, None, status="died"),
    entry("shop", 3, 1200),
    entry("crm", 3, 46, 15, "done_with_rejects"),
    entry("crm", 2, 50, 50, "stopped"),
    entry("crm", 1, 45, 2, "done_with_rejects"),
]


def test_runs_are_listed_by_pipeline_with_a_trend_of_complete_runs() -> None:
    lines = of_runs(RUNS).splitlines()

    assert lines[0] == "crm: 46 read (before: 45), 15 rejected (before: 2)"
    assert [line.split()[0] for line in lines[1:6]] == [
        "run",
        *(f"202611{day:02}T030000-abcdef" for day in (4, 3, 2, 1)),
    ]
    assert lines[6:8] == ["", "shop: 1,200 read, 0 rejected"]


def test_where_a_table_is_too_wide_each_run_has_a_block() -> None:
    lines = of_runs(RUNS, Look(60)).splitlines()

    assert lines[5:9] == [
        "  20261103T030000-abcdef  done_with_rejects",
        lines[6],
        "    exports/crm.csv",
        "    → postgresql://db/warehouse",
    ]
    assert lines[6].endswith(", 46 read, 15 rejected")
    assert max(map(len, lines)) <= 60


def test_a_pipeline_without_a_complete_run_has_no_trend() -> None:
    assert of_runs(RUNS[:1]).splitlines()[0] == "crm"
