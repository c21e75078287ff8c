"""The benchmark of engines runs from start to table, and checks the counts of each run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.long_tests import LONG

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / "benchmarks" / "bench_spark.py"


@pytest.mark.skipif(not LONG, reason="long: TRANSHIP_LONG_TESTS")
def test_one_machine_and_the_engine_are_measured(tmp_path: Path) -> None:
    options = ["--rows", "1000", "--steps", "1", "--engines", "sail", "--out", str(tmp_path)]
    answer = subprocess.run([sys.executable, str(BENCH), *options], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
    runs = json.loads((tmp_path / "engines.json").read_text())["runs"]
    expected = ["Tranship"]
    if (ROOT / "build" / "sail" / "pyspark").is_dir():
        expected.append("Sail")
        assert "| Sail: processor seconds | 1.10x | 1.00x | yes |" in answer.stdout
    else:
        assert "Sail is not installed: make build/sail/stamp" in answer.stdout
    assert [(one["contender"], one["rows"]) for one in runs] == [(name, 1000) for name in expected]
    assert all(one["run"]["processor"] > 0 and one["run"]["anonymous"] > 0 and one["work"] > 0 for one in runs)


def test_an_unknown_engine_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--engines", "dask", "--out", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)

    assert answer.returncode == 2
    assert "unknown engine dask; known: sail, spark" in answer.stderr
