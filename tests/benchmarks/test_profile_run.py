"""`make profile`: every step of a run is in its table, and the steps sum up to the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROFILE = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "profile_run.py"


@pytest.mark.parametrize("options", [("--dirt", "high"), ("--source", "parquet", "--again")], ids=["dirty", "again"])
def test_the_steps_of_a_run(options: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, str(PROFILE), "--rows", "3000", "--out", str(tmp_path), *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
    title, heading, *lines = answer.stdout.splitlines()
    assert "3,000 records" in title
    assert heading.split() == ["step", "processor", "s", "share", "faults", "switches", "read", "MB", "written"]
    rows = {
        line[:34].strip(): [float(cell.strip("%").replace(",", "")) for cell in line[34:].split()] for line in lines
    }
    *steps, whole = rows.values()
    assert [*rows][-2:] == ["the rest", "all"]
    for column in (0, 2):
        assert sum(row[column] for row in steps) == pytest.approx(whole[column], abs=0.005 * len(rows) + 1)
    assert {"parse a part", "validate", "write the stage", "identity", "write", "report"} <= rows.keys()
    assert all(row[0] > 0 for name, row in rows.items() if name in ("write", "identity", "report"))
