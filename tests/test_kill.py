"""A run that is killed, at any moment: the table and its history are as before or as after, and the same command
finishes the job.

`TRANSHIP_KILLS` is the number of moments, spread over the whole length of a run.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import duckdb
import pytest

from support.warehouse import Warehouse, fates

pytestmark = pytest.mark.kill

ROOT = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("TRANSHIP_KILLS", "3"))
ROWS, SEED, CHANGED = 6_000, 5, 0.3

RUN = """
import sys
import tranship.connectors.databases.duckdb.table
from tranship.pipelines import run, settings
given = settings.load(dict(zip(("source", "destination", "state_dir"), sys.argv[1:])) | {"history": True}, {})
print("ready", flush=True)
sys.stdin.readline()
run.run(given)
"""


@dataclass(frozen=True)
class Quiet:
    """An undisturbed run: input, table before, contents before and after, fates, duration in total and of the steps."""

    source: Path
    database: Path
    before: str
    after: str
    fates: dict[str, int]
    seconds: float
    steps: Mapping[str, float]


@dataclass
class Victim:
    """A run in its own process and folder; after all imports, it waits until it is started."""

    warehouse: Warehouse
    process: subprocess.Popen[str]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def start(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill_after(self, seconds: float, *, step: str | None = None) -> None:
        """Kill it this long after its start, or after this step is done."""
        self.start()
        if step:
            manifests = self.warehouse.folder / "state" / "runs"
            while self.process.poll() is None and not any(
                f'"{step}": {{' in file.read_text() for file in manifests.glob("*/manifest.json")
            ):
                time.sleep(0.002)
        time.sleep(seconds)
        self.kill()

    def finish(self) -> float:
        """Let it run to its end; return its duration."""
        self.start()
        started = time.perf_counter()
        assert self.process.wait() == 0
        self.process.communicate()
        return time.perf_counter() - started


def victim(folder: Path, source: Path) -> Victim:
    warehouse = Warehouse(folder)
    arguments = [str(source), warehouse.address(), str(folder / "state")]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return Victim(warehouse, process)


def contents(warehouse: Warehouse) -> str:
    """Return the number of customers and a digest of all rows and versions, except for the run that wrote them."""
    with duckdb.connect(warehouse.file) as connection:
        [(found,)] = connection.execute(
            "SELECT (SELECT count(*) FROM customers) || ' ' || md5(string_agg(t::VARCHAR, chr(10) ORDER BY t::VARCHAR)) "
            "FROM (SELECT * EXCLUDE (_run_id) FROM customers UNION ALL BY NAME SELECT * EXCLUDE (_run_id, valid_from, "
            "valid_to, recorded_at), valid_to IS NULL AS open FROM customers_history) t"
        ).fetchall()
    return str(found)


def copied(quiet: Quiet, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(quiet.database, folder / "w.duckdb")
    return folder


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    folder = tmp_path_factory.mktemp("quiet")
    write = runpy.run_path(str(ROOT / "benchmarks" / "generate.py"))["write"]
    write(folder / "old", ROWS, SEED)
    write(folder / "new", ROWS, SEED, change=CHANGED)
    source = folder / "new" / "customers.csv"

    warehouse = Warehouse(folder)
    warehouse.load(folder / "old" / "customers.csv", history=True)
    before = contents(warehouse)
    shutil.copy(warehouse.file, folder / "before.duckdb")
    report = warehouse.load(source, history=True)
    assert fates(report)["updated"] > ROWS * CHANGED / 2

    shutil.copy(folder / "before.duckdb", warehouse.file)
    seconds = victim(folder, source).finish()
    outcome = (before, contents(warehouse), fates(report), seconds, report.seconds)
    quiet = Quiet(source, folder / "before.duckdb", *outcome)
    assert quiet.after != quiet.before
    return quiet


def last_run(warehouse: Warehouse) -> str:
    """Return the progress of the newest run, for people."""
    manifests = sorted((warehouse.folder / "state").glob("runs/*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        return "no run yet"
    manifest = json.loads(manifests[-1].read_text())
    return f"{manifest['status']}, done: {', '.join(manifest['steps']) or 'nothing'}"


def check_finished(quiet: Quiet, warehouse: Warehouse, where: str) -> None:
    """Check that the same command completes the table, and that report and ledger state the result once."""
    report = warehouse.load(quiet.source, history=True)
    assert contents(warehouse) == quiet.after, where
    wrote = bool(warehouse.rows(f"SELECT 1 FROM customers WHERE _run_id = '{report.run_id}' LIMIT 1"))
    if wrote:
        assert fates(report) == quiet.fates, where
    else:
        assert not {"created", "updated"} & set(fates(report)), where
    [ledger] = warehouse.rows("SELECT sum(updated)::INT AS updated, max(read) AS read FROM _tranship_ledger")
    assert ledger == {"updated": quiet.fates["updated"], "read": ROWS}, where
    changed = "sum(created + updated + deleted)"
    counted = f"(SELECT {changed} FROM _tranship_ledger) = (SELECT count(*) FROM _tranship_changes)"
    assert warehouse.rows(f"SELECT {counted} AS equal") == [{"equal": True}], where


def test_a_killed_run_leaves_the_table_as_before_or_as_after_and_is_finished_by_the_same_command(
    quiet: Quiet, tmp_path: Path
) -> None:
    dice = random.Random()
    # One moment in each time slice, up to shortly after the end: of the whole run, of plan and write, and of the write
    # alone. Every fourth run is killed again while it continues.
    plan, write = quiet.steps["plan"], quiet.steps["write"]
    spans = ((None, quiet.seconds), ("identify", plan + write), ("plan", write), (None, quiet.seconds))
    shares = [(number + dice.random()) / KILLS * 1.05 for number in range(KILLS)]
    moments = [(share * seconds, step) for share, (step, seconds) in zip(shares, cycle(spans), strict=False)]
    dice.shuffle(moments)
    seen: Counter[str] = Counter()
    waiting = victim(copied(quiet, tmp_path / "0"), quiet.source)
    try:
        for number, (moment, step) in enumerate(moments):
            current = waiting
            current.kill_after(moment, step=step)
            warehouse = current.warehouse
            if number % 4 == min(3, KILLS - 1):
                victim(warehouse.folder, quiet.source).kill_after(dice.random() * quiet.seconds)
            if number + 1 < KILLS:
                waiting = victim(copied(quiet, tmp_path / str(number + 1)), quiet.source)

            state = {quiet.before: "before", quiet.after: "after"}.get(contents(warehouse), "between")
            where = f"killed {moment:.3f} s after {step or 'its start'}: table as {state}, {last_run(warehouse)}"
            assert state != "between", where
            seen[where.split(": ", 1)[1]] += 1
            check_finished(quiet, warehouse, where)
            if number % 4 == 0:
                assert not {"created", "updated"} & set(fates(warehouse.load(quiet.source, history=True))), where
            shutil.rmtree(warehouse.folder)
    finally:
        waiting.kill()
    print(*sorted(seen.items()), sep="\n")
    assert seen.total() == KILLS


def test_a_run_into_nothing_that_is_killed_leaves_nothing_or_all(quiet: Quiet, tmp_path: Path) -> None:
    dice = random.Random()
    for number in range(max(1, KILLS // 6)):
        (tmp_path / str(number)).mkdir()
        current = victim(tmp_path / str(number), quiet.source)
        current.kill_after(dice.random() * quiet.seconds)
        warehouse = current.warehouse

        if warehouse.file.exists():
            assert len(warehouse.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'customers'")) <= 1
        warehouse.load(quiet.source, history=True)
        held = contents(warehouse)
        assert held.split()[0] == str(quiet.fates["updated"] + quiet.fates["unchanged"])
        assert not {"created", "updated"} & set(fates(warehouse.load(quiet.source, history=True)))
