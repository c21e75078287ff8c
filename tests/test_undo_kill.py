"""An undo that is killed at any moment and continued: the destination is as it was before the undone run.

`TRANSHIP_KILLS` is the number of moments for each destination; by default a few, and only at some destinations.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.accounts import PROVIDERS, USUAL, opened
from support.sandboxes import Start
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines.undo import undo

pytestmark = pytest.mark.kill

ROOT = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("TRANSHIP_KILLS", "0"))
CUSTOMERS = 40

UNDO = """
import sys
from pathlib import Path
import tranship.connectors.databases.duckdb.table, tranship.connectors.databases.postgres.table
from tranship.pipelines.undo import undo
print("ready", flush=True)
sys.stdin.readline()
undo(Path(sys.argv[1]), sys.argv[2])
"""


def customers(changed: bool) -> list[dict[str, Any]]:
    """Return customers; of the `changed` ones half have another name, and half are new."""
    known = {"country": "IT", "customer_type": "BUSINESS", "created_at": "2024-01-02T03:04:05Z"}
    return [
        {**known, "external_id": f"k-{n}", "email": f"k{n}@acme.com", "name": f"{'New' if changed else 'Old'} {n}"}
        for n in range(0, CUSTOMERS, 2 if not changed else 1)
    ]


@pytest.mark.parametrize("provider", PROVIDERS if KILLS else ["metronome"])
def test_an_undo_at_a_provider_is_continued(
    provider: str, sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = opened(sandbox, provider, process=True)
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    house = Warehouse(tmp_path)
    house.load(customers(changed=False), destination=there.address)
    name, field = USUAL[provider].name, "archived_at"
    before = sorted(record[name] for record in there.records() if not record.get(field))
    run = house.load(customers(changed=True), destination=there.address)
    assert fates(run) == {"created": CUSTOMERS // 2, "updated": CUSTOMERS // 2}

    given = {"state_dir": str(tmp_path / "state"), "undoes": run.run_id}
    plan = tmp_path / "killed.json"
    # A process that lives for few moments leaves many to the next ones.
    plan.write_text(json.dumps({"settings": given, "moments": max(6, 300 // KILLS) if KILLS else 150}))
    command = [str(plan), str(KILLS or 3), f"{provider} undo", str(tmp_path / "sent.log")]
    done = subprocess.run(
        [sys.executable, "-m", "support.killed_runs", *command],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **there.environment, "PYTHONPATH": str(ROOT / "tests")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= min(KILLS, 10) or not KILLS
    assert sorted(record[name] for record in there.records() if not record.get(field)) == before
    assert fates(undo(tmp_path / "state", run.run_id, remove_for_good=True)) == {"unchanged": CUSTOMERS}


@pytest.mark.parametrize("database", ["duckdb", "postgresql"] if KILLS else ["duckdb"])
def test_an_undo_in_a_table_is_continued(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if database == "duckdb":
        table: Warehouse | PostgresWarehouse = Warehouse(tmp_path)
    else:
        table = PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))
    state, chance = tmp_path / "state", random.Random(database)
    table.load(customers(changed=False))
    before = table.rows()
    for nth in range(KILLS or 1):
        run = table.load(customers(changed=True))
        process = subprocess.Popen(
            [sys.executable, "-c", UNDO, str(state), run.run_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(chance.random() * 1.5)
        process.kill()
        process.communicate()
        try:
            flow.resume(state, "last")
        except ConfigError as error:
            if not any(text in str(error) for text in ("finished", "has not begun")):
                raise
            undo(state, run.run_id)
        assert table.rows() == before, f"killed at moment {nth} of {KILLS}"
