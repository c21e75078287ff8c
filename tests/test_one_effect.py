"""Each customer is written once, whatever happens: lost responses, 5xx after the work was done, cut connections, 429s,
and a process that is killed at any moment and continued.

`TRANSHIP_CHAOS` is the number of kills for each provider, then with 1,000 customers; usually a few.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import moving
from support.accounts import PROVIDERS, Account, opened
from support.long_tests import some
from support.moving import customer, given, moved, settable, writes, written
from support.sandboxes import Start

pytestmark = pytest.mark.kill

ROOT = Path(__file__).resolve().parent.parent
CHAOS = int(os.environ.get("TRANSHIP_CHAOS", "0"))
KILLS = CHAOS or 2
CUSTOMERS = 1000 if CHAOS else 120
WEATHER = {
    "statuses": {"500": 0.03, "503": 0.02, "429": 0.03},
    "late": 0.5,
    "cut_after": 0.05,
    "cut_before": 0.02,
    "retry_after": "milliseconds",
    "retry_seconds": 0.02,
}
MIRROR: dict[str, Any] = {"mode": "mirror", "max_deletes": "100%", "remove_for_good": True}


def before(folder: Path) -> Path:
    """Return the customers that exist at the beginning."""
    return written(folder / "before.csv", map(customer, range(CUSTOMERS // 2)))


def after(folder: Path) -> Path:
    """Return the expected customers of the account: half of the existing ones changed, a quarter removed, and many new
    ones."""
    size = CUSTOMERS // 2
    changed = [customer(at, name=f"New {at}", metadata=json.dumps({"n": at, "new": [1]})) for at in range(size // 2)]
    same = [customer(at) for at in range(size // 2, size * 3 // 4)]
    return written(folder / "after.csv", [*changed, *same, *map(customer, range(size, CUSTOMERS))])


@dataclass
class Swept:
    """An account after a run, with the problems found."""

    complaints: list[str]
    deaths: int


@pytest.fixture
def chaos(sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Swept]:
    """`chaos(provider, *options)`: the sweep."""
    moving.hurry(monkeypatch.setattr)

    def sweep(provider: str, *options: str) -> Swept:
        calm, there = (opened(sandbox, provider) for _ in range(2))
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)
        for account, folder in ((calm, tmp_path / "calm"), (there, tmp_path)):
            folder.mkdir(exist_ok=True)
            moved(folder, before(folder), account)
        calm.sandbox.record()
        quiet = moved(tmp_path / "calm", after(tmp_path / "calm"), calm, **MIRROR)
        rows = quiet.counts.created + quiet.counts.updated + quiet.counts.deleted
        assert rows == CUSTOMERS - CUSTOMERS // 8, quiet
        moments = 2 * len(calm.sandbox.calls()) + 2 * rows

        there.sandbox.record()
        there.sandbox.weather(**WEATHER)
        wanted = given(tmp_path, after(tmp_path), there, **MIRROR).model_dump(mode="json", exclude_unset=True)
        said = {"settings": wanted, "moments": max(6, 2 * moments // KILLS)}
        (tmp_path / "said.json").write_text(json.dumps(said))
        command = [str(tmp_path / "said.json"), str(KILLS), provider, str(tmp_path / "sent"), *options]
        life = subprocess.run(
            [sys.executable, "-m", "support.killed_runs", *command],
            env={**os.environ, **there.environment, "PYTHONPATH": str(ROOT / "tests")},
            capture_output=True,
            text=True,
            timeout=1800 if CHAOS else 600,
            check=False,
        )
        complaints = [life.stderr] if life.returncode else []
        if settable(there) != settable(calm):
            complaints.append("the account is not what a quiet run makes of it")
        complaints += [f"sent twice: {one}" for one in sent_twice(there, tmp_path / "sent")]
        complaints += [f"came to {one}" for one in came_to(tmp_path)]
        return Swept(complaints, int(life.stdout or 0))

    return sweep


def sent_twice(there: Account, log: Path) -> list[tuple[str, str, str]]:
    """Return writes of a customer that were repeated with the same content although the first one had been carried
    out."""
    rows_of = dict(json.loads(line) for line in log.read_text().splitlines() if line.endswith("]"))
    stored, twice = set(), []
    for call in writes(there):
        what = [(call["method"], call["path"], row) for row in rows_of.get(call["content"], [call["content"]])]
        twice += [one for one in what if one in stored]
        if call["worked"] and call["worked"] < 300:
            stored.update(what)
    return twice


def came_to(folder: Path) -> set[tuple[str, str, str | None]]:
    """Return outcomes that an undisturbed run does not have."""
    newest = max((folder / "state" / "runs").glob("*/sent.parquet"), key=lambda file: file.stat().st_mtime_ns)
    found = pl.read_parquet(newest).filter(pl.col("outcome") != "done")
    return set(found.select("action", "outcome", "reason").iter_rows())


@pytest.mark.parametrize("provider", PROVIDERS if CHAOS else some(PROVIDERS, 3))
def test_killed_again_and_again_with_simulated_failures_the_effect_is_that_of_an_undisturbed_run(
    provider: str, chaos: Callable[..., Swept]
) -> None:
    swept = chaos(provider)
    assert swept.complaints == []
    assert swept.deaths >= KILLS // 2


@pytest.mark.parametrize("provider", PROVIDERS if CHAOS else ["growpanel"])
def test_without_a_journal_the_same_sweep_fails(provider: str, chaos: Callable[..., Swept]) -> None:
    assert chaos(provider, "no-journal").complaints != []
