"""The plan of an engine is that of the ordinary run; what is written by it is tested with each table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import engines
from support.engine_tables import assert_same_plan, frame, ordinary_rows, ordinary_run, request_of, sequence
from tranship.pipelines.distributed.destinations.table_columns import TABLE, stored

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not engines.IS_SPARK, reason="on Sail, whole tables are compared: test_lake_table.py"),
]


@pytest.mark.parametrize("seed", [20, 21])
def test_sequences_of_runs(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    from tranship.pipelines.distributed.destinations.comparison import all_created, compare

    monkeypatch.chdir(tmp_path)
    for number, (records, options) in enumerate(sequence(seed, 4, ["mark", "remove"])):
        before = frame(spark, ordinary_rows(), TABLE, tmp_path / f"table{number}") if number else None
        step = ordinary_run(records, monkeypatch, **options)
        request = request_of(step, spark, tmp_path / f"run{number}")
        if before is None:
            assert_same_plan(step, all_created(request, ()))
        else:
            assert_same_plan(step, compare(request, before, stored(request, before), ()).planned)
