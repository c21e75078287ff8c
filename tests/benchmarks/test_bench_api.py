"""The API benchmark runs from start to table; its server returns each customer once, after the latency."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.long_tests import LONG

ROOT = Path(__file__).resolve().parent.parent.parent
BENCHMARKS = ROOT / "benchmarks"
ROWS = 2500


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Host and port of the server, which ends when its input is closed."""
    command = [sys.executable, str(BENCHMARKS / "api_server.py"), "--rows", str(ROWS), "--latency", "0.05"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    assert process.returncode == 0


def asked(connection: HTTPConnection, target: str) -> tuple[int, Any]:
    connection.request("GET", target)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.slow
def test_the_server_gives_each_customer_once(server: str) -> None:
    connection = HTTPConnection(server)
    answers = [asked(connection, f"/v1/customers?page={page}&limit=1000") for page in (1, 2, 3)]
    connection.close()

    assert [status for status, _ in answers] == [200, 200, 200]
    bodies = [body for _, body in answers]
    assert [len(body["data"]) for body in bodies] == [1000, 1000, 500]
    assert [(body["totalResults"], body["hasMore"], body["page"], body["limit"]) for body in bodies] == [
        (ROWS, True, 1, 1000),
        (ROWS, True, 2, 1000),
        (ROWS, False, 3, 1000),
    ]
    customers = [customer for body in bodies for customer in body["data"]]
    assert len({customer["id"] for customer in customers}) == ROWS
    assert len({customer["externalId"] for customer in customers}) == ROWS
    assert {customer["status"] for customer in customers} == {"active", "inactive", "suspended"}
    assert any(customer["metadata"].get("campaign") for customer in customers)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/v1/customers?page=4&limit=1000", "/v1/customers?page=1&limit=100", "/v1/verify"])
def test_the_server_knows_no_other_page(server: str, target: str) -> None:
    connection = HTTPConnection(server)
    status, _ = asked(connection, target)
    connection.close()

    assert status == 404


def test_the_server_takes_its_time(server: str) -> None:
    connection = HTTPConnection(server)
    begin = time.perf_counter()
    asked(connection, "/v1/customers?page=1&limit=1000")
    seconds = time.perf_counter() - begin
    connection.close()

    assert seconds >= 0.05


@pytest.mark.slow
def test_the_script_loads_all_once(server: str, tmp_path: Path) -> None:
    database = tmp_path / "out.duckdb"
    for folder in ("first", "second"):
        command = [sys.executable, str(BENCHMARKS / "api_script.py"), f"http://{server}/v1/customers"]
        subprocess.run([*command, str(database), str(tmp_path / folder)], check=True)

    with duckdb.connect(str(database)) as con:
        found = con.execute("select count(*), count(distinct id), count(metadata) from customers").fetchone()
    assert found == (ROWS, ROWS, ROWS)


@pytest.mark.slow
def test_a_small_round_gives_all_cases(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_api.py"), "--json", "--rows", "1500", "--repeats", "1"]
    flat = ["--flat"] if LONG else []
    answer = subprocess.run([*command, *flat, "--out", str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)

    found = json.loads(answer.stdout)
    assert [(one["case"], one["contender"]) for one in found["series"]] == [
        ("fresh", "Tranship"),
        ("fresh", "aiohttp script"),
        ("again", "Tranship"),
        ("again", "aiohttp script"),
        *([("five times as many, fresh", "Tranship")] if LONG else []),
    ]
    assert all(run["seconds"] > 0 < run["resident"] for one in found["series"] for run in one["runs"])
    written = (tmp_path / "api.md").read_text(encoding="utf-8")
    assert "| fresh: time of aiohttp script | 1.20x |" in written
    assert ("| five times as many: memory of the small input | 1.10x |" in written) is LONG
