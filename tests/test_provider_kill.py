"""A read from a provider that is killed at any moment and continued: the result is that of an undisturbed run.

`TRANSHIP_KILLS` is the number of moments for each provider, spread over the whole length of a run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.accounts import PROVIDERS, USUAL, Account, opened
from support.long_tests import some
from support.sandboxes import Start
from support.warehouse import Warehouse
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings

pytestmark = pytest.mark.kill

ROOT = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("TRANSHIP_KILLS", "1"))
CUSTOMERS = 1200
PAGED = 2500
"""Customers on so many pages that those in flight, which are requested again, are few of them."""
WEATHER = {"latency": 0.02, "jitter": 0.02, "statuses": {"500": 0.03}}

RUN = """
import importlib, sys
from tranship.pipelines import run, settings
given = settings.load(dict(zip(("source", "destination", "state_dir"), sys.argv[1:])), {})
importlib.import_module("tranship.connectors.providers." + given.source.partition(":")[0])
print("ready", flush=True)
sys.stdin.readline()
run.run(given)
"""


def started(there: Account, warehouse: Warehouse) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, there.address, warehouse.address(), str(warehouse.folder / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **there.environment},
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def continued(there: Account, warehouse: Warehouse) -> None:
    """Do what a person would do after finding that the run has died."""
    state = warehouse.folder / "state"
    try:
        flow.resume(state, "last")
    except ConfigError as error:
        if "finished" not in str(error):  # killed before the run existed
            flow.run(
                settings.load({"source": there.address, "destination": warehouse.address(), "state_dir": state}, {})
            )


def contents(warehouse: Warehouse) -> list[dict[str, object]]:
    return warehouse.rows("SELECT * EXCLUDE (_run_id) FROM customers ORDER BY customer_key")


@pytest.mark.parametrize("provider", some(PROVIDERS, 3))
def test_a_killed_read_is_continued(
    provider: str, sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = opened(sandbox, provider, seed=CUSTOMERS, process=True, weather=WEATHER)
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "quiet").mkdir()
    quiet = Warehouse(tmp_path / "quiet")
    begin = time.perf_counter()
    process = started(there, quiet)
    process.communicate()
    assert process.returncode == 0
    length = time.perf_counter() - begin
    expected = contents(quiet)
    assert len(expected) == CUSTOMERS

    chance = random.Random(provider)
    for nth in range(KILLS):
        folder = tmp_path / str(nth)
        folder.mkdir()
        warehouse = Warehouse(folder)
        process = started(there, warehouse)
        time.sleep(length * (nth + chance.random()) / KILLS)
        process.kill()
        process.communicate()
        continued(there, warehouse)

        assert contents(warehouse) == expected, f"killed at moment {nth} of {KILLS}"


@pytest.mark.parametrize("provider", some([name for name in PROVIDERS if USUAL[name].page], 2))
def test_what_has_come_is_not_asked_for_again(
    provider: str, sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = opened(sandbox, provider, seed=PAGED, process=True)
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    warehouse = Warehouse(tmp_path)
    there.sandbox.record()
    warehouse.load(there.address)
    whole = len(there.sandbox.calls())

    (tmp_path / "second").mkdir()
    second = Warehouse(tmp_path / "second")
    there.sandbox.weather(latency=0.05)
    there.sandbox.record()
    process = started(there, second)
    while len(there.sandbox.calls()) < whole // 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    came = sum(1 for call in there.sandbox.calls() if call["status"] == 200)
    there.sandbox.weather()
    there.sandbox.record()
    continued(there, second)

    # Pages in flight when it died must be requested again.
    assert len(there.sandbox.calls()) <= whole - came + 9
    assert contents(second) == contents(warehouse)
