"""Differences between a saved plan and a new one."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tranship.pipelines import plan_step

CREATE = {"row": 1, "action": "create", "reason": None, "changed": None}
UPDATE = {"row": 2, "action": "update", "reason": None, "changed": "email,name"}
REFUSED = {"row": 2, "action": "refused", "reason": "older", "changed": None}


@pytest.mark.parametrize(
    ("agreed", "current", "expected"),
    [
        ([CREATE, UPDATE], [UPDATE, CREATE], 0),
        ([CREATE, UPDATE], [CREATE, REFUSED], 1),
        ([CREATE, UPDATE], [CREATE], 1),
        ([CREATE], [CREATE, UPDATE], 1),
        ([], [CREATE, UPDATE], 2),
        ([CREATE], [UPDATE], 2),
    ],
)
def test_records_that_are_only_in_one_of_the_plans_differ(
    agreed: list[dict[str, Any]], current: list[dict[str, Any]], expected: int
) -> None:
    schema = {"row": pl.UInt64, "action": pl.String, "reason": pl.String, "changed": pl.String}
    frames = (pl.DataFrame(rows, schema) for rows in (agreed, current))
    assert plan_step.differing_records(*frames) == expected
