"""The benchmark of extreme loads runs from start to table, and checks the counts of each run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.long_tests import some

pytestmark = pytest.mark.slow

BENCH = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "bench_load.py"


def test_cases_are_measured_with_half_and_all_of_their_records(tmp_path: Path) -> None:
    cases = some(("report", "files"), 1)
    command = [sys.executable, str(BENCH), "--share", "0.0004", "--only", ",".join(cases), "--out", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
    assert "report.html" in answer.stdout
    assert all(f"| {case} | 40 |" in answer.stdout for case in cases)
    series = json.loads((tmp_path / "load.json").read_text())["series"]
    assert [(one["case"], len(one["runs"])) for one in series] == [(case, 2) for case in cases]


def test_an_unknown_case_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--only", "wides", "--out", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)

    assert answer.returncode == 2
    assert "unknown case wides; known: small memory, rejects" in answer.stderr
