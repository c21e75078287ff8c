"""A clock that is set back or forward, and processes that are stopped and continued: nothing is doubled, and the order
of runs is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import moving
from support.accounts import PROVIDERS, Open
from support.long_tests import some
from support.moved_clock import MovedClock, moved_clock
from support.postgres_server import Database

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not shutil.which("gcc") or sys.platform != "linux", reason="needs gcc and LD_PRELOAD"),
]
HOUR = 3600


def _begun(folder: Path, environment: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tranship", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _given(folder: Path, environment: Mapping[str, str], *words: str) -> str:
    """Return the output of a command that succeeds."""
    process = _begun(folder, environment, *words)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.fixture
def clock(tmp_path: Path) -> MovedClock:
    return moved_clock(tmp_path)


def test_a_run_after_the_clock_was_set_back_is_the_last_one(clock: MovedClock, tmp_path: Path) -> None:
    moving.written(tmp_path / "in.csv", [moving.customer(1)])
    made = []
    for seconds in (0, -HOUR, 24 * HOUR):
        clock.set(seconds)
        made.append(json.loads(_given(tmp_path, clock.environment, "run", "in.csv", "out.csv", "--json")))
    listed = json.loads(_given(tmp_path, clock.environment, "runs", "--json"))["runs"]
    assert [run["run_id"] for run in reversed(listed)] == [run["run_id"] for run in made]
    assert "the clock is behind the last run" in str(made[1]["notes"])
    assert all(0 <= seconds < HOUR for run in made for seconds in run["seconds"].values())


def _wait(process: subprocess.Popen[str], until: Callable[[], object]) -> None:
    while process.poll() is None and not until():
        threading.Event().wait(0.01)
    assert process.poll() is None, process.communicate()[1]


@pytest.mark.parametrize("provider", some(PROVIDERS, 2))
def test_an_account_is_written_once_although_clock_and_process_stand_still_or_jump(
    provider: str, clock: MovedClock, account: Open, tmp_path: Path
) -> None:
    failures = {"late": 0.3, "cut_after": 0.05, "statuses": {"503": 0.05}}
    there = account(provider, weather={"latency": 0.2, **failures})
    moving.written(tmp_path / "in.csv", map(moving.customer, range(20)))
    words = ("run", "in.csv", there.address, "--option", "answer_seconds=1")
    process = _begun(tmp_path, {**clock.environment, **there.environment}, *words)
    _wait(process, there.sandbox.state)
    clock.set(HOUR)
    process.send_signal(signal.SIGSTOP)
    threading.Event().wait(1.5)  # longer than a response may take
    clock.set(-HOUR)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert len(there.sandbox.state()) == 20
    assert len({str(record) for record in moving.settable(there)}) == 20


def _rows(folder: Path, database: Database | None) -> list[Any]:
    query = "SELECT customer_key, name FROM customers ORDER BY customer_key"
    if database:
        return [tuple(row.values()) for row in database.rows(query)]
    with duckdb.connect(folder / "w.duckdb", read_only=True) as connection:
        return connection.sql(query).fetchall()


@pytest.mark.parametrize("scheme", ["duckdb", "postgresql"])
def test_a_table_is_written_once_although_clock_and_process_stand_still_or_jump(
    scheme: str, clock: MovedClock, postgres_database: Database, tmp_path: Path
) -> None:
    database = postgres_database if scheme == "postgresql" else None
    address = f"{database.url}?table=customers" if database else "duckdb:///w.duckdb?table=customers"
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    customers = [moving.customer(number) for number in range(3_000)]
    for seconds, name in ((HOUR, "First"), (-HOUR, "Second")):
        customers[7] = moving.customer(7, name=name)
        moving.written(tmp_path / "in.csv", customers)
        process = _begun(tmp_path, clock.environment, "run", "in.csv", address, "--json")
        _wait(process, lambda: database.rows(sessions) if database else (tmp_path / "w.duckdb").exists())
        process.send_signal(signal.SIGSTOP)
        clock.set(seconds)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate()
        assert process.returncode == 0, err
        rows = _rows(tmp_path, database)
        assert len(rows) == 3_000
        assert name in str(rows)
    assert json.loads(out)["counts"]["updated"] == 1


def test_a_process_that_is_stopped_while_postgres_is_written_goes_on_or_continues(
    postgres_database: Database, tmp_path: Path
) -> None:
    """The server ends the sessions of the stopped process, as it does after `idle_in_transaction_session_timeout`."""
    moving.written(tmp_path / "in.csv", map(moving.customer, range(3_000)))
    words = ("run", "in.csv", f"{postgres_database.url}?table=customers")
    process = _begun(tmp_path, {}, *words)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while process.poll() is None and not postgres_database.rows(f"SELECT pid {others}"):
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGSTOP)
    postgres_database.rows(f"SELECT pg_terminate_backend(pid) AS ended {others}")
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate()
    assert process.returncode in (0, 3), err
    assert "Traceback" not in err
    if process.returncode == 3:
        assert "continue with: tranship resume" in err or "Try again later" in err
        _given(tmp_path, {}, *words)
    assert postgres_database.rows("SELECT count(*) AS n FROM customers")[0]["n"] == 3_000
