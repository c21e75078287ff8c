"""Many starts of one pipeline at the same time: the effect is that of one after the other, with one alert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from aiohttp import web

from support.long_tests import LONG
from support.served import as_json, served
from tranship.pipelines.operation.pipeline_state import StateFile

pytestmark = pytest.mark.kill

STARTS = 50 if LONG else 4


def test_starts_at_the_same_time_are_one_alert_and_one_effect(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    (tmp_path / "crm.csv").write_text(
        "external_id,email,name\n"
        + "".join(f"{n},a{n}@acme.example,Customer {n}\n" for n in range(1, 31))
        + "x,nobody,X\n"
    )
    words = ["run", "crm.csv", "duckdb:///w.duckdb", "--pipeline", "crm", "--alert", "env:HOOK", "--json"]
    words += ["--lock-timeout", "0", "--metrics", "t.prom", "--expect", "rows=1.."]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRANSHIP_")}
    with served(answer) as hook:
        started = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", "tranship", *words],
                cwd=tmp_path,
                env=clean | {"HOOK": hook.url},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(STARTS)
        ]
        ends = [process.communicate() for process in started]

    assert [process.returncode for process in started] == [4] * STARTS, "".join(err for _, err in ends)
    counts = [json.loads(out)["counts"] for out, _ in ends]
    assert sum(count["created"] for count in counts) == 30
    assert sum(count["unchanged"] for count in counts) == 30 * (STARTS - 1)
    with duckdb.connect(tmp_path / "w.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT count(*), count(DISTINCT external_id) FROM customers").fetchall() == [(30, 30)]
    assert [json.loads(body)["kind"] for body in hook.bodies] == ["change"]
    assert len(StateFile(tmp_path / ".tranship", "crm").read().runs) == min(STARTS, 40)
