"""Processes of a cluster, and the program that uses it, are killed while a run goes on. The result is the same, and
readers see nothing of what died.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support import engines
from support.engine_runs import OPTIONS, assert_same, assert_same_customers, messy, moved
from support.spark_cluster import PATIENCE, Cluster, cluster
from tranship.pipelines.report import Report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.kill,
    pytest.mark.skipif(
        not ("TRANSHIP_LONG_TESTS" in os.environ and engines.IS_SPARK), reason="make equality starts a cluster"
    ),
]

CLIENT = engines.ROOT / "build" / "sail"
FILES: Final = ("b.csv", "a.csv", "c.csv", "d.csv")
STEPS: Final = ("stage", "ranked", "emails", "alone", "verdicts", "findings", "filled", "customers", "run=")
"""The folders that appear during a run, in their order."""
VICTIMS: Final = {"executor": "CoarseGrainedExecutorBackend", "python": "pyspark.daemon", "program": "tranship"}
"""What is killed → a word of its command: a worker's process of Java, one of its processes of Python, or the command."""
MOMENTS: Final = 21


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not CLIENT.is_dir():
        pytest.skip("make test installs a client of Spark Connect")
    with pytest.MonkeyPatch.context() as patched:
        # Otherwise an application ends with the tenth executor that dies.
        patched.setenv("SPARK_MASTER_OPTS", "-Dspark.deploy.maxExecutorRetries=-1")
        with cluster(tmp_path_factory.mktemp("cluster")) as started:
            yield started


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_run_survives(running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(FILES):
        Path(name).write_text(messy(seed, 60), encoding="utf-8")
    victim = [*VICTIMS][moment % len(VICTIMS)]
    step = STEPS[moment * len(STEPS) // MOMENTS]
    with started(running) as program:
        until = time.monotonic() + PATIENCE
        while program.poll() is None and not appeared(step):
            assert time.monotonic() < until, f"{step} does not appear"
            time.sleep(0.01)
        time.sleep(random.Random(moment).random() * 0.3)
        killed = program.poll() is None and killed_one(victim, program.pid, running)
        _, words = program.communicate(timeout=PATIENCE)
    assert killed, f"there was no {victim} to kill"
    if victim == "program":
        assert program.returncode == -signal.SIGKILL
        with started(running) as program:
            _, words = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0, words
    [folder] = Path(".tranship", "runs").iterdir()
    one = moved([*FILES], "one.parquet", **OPTIONS, fill=True, max_rejects="100%", state_dir="one")
    assert_same(Report.from_json((folder / "report.json").read_text()), one)
    assert_same_customers(Path("many"), Path("one.parquet"))
    [dataset] = Path("many").glob("[!._]*")
    assert {file.suffix for file in dataset.glob("[!._]*")} == {".parquet"}
    assert not (folder / "work").exists()


def started(running: Cluster) -> subprocess.Popen[str]:
    """Start the command, with a client of the cluster."""
    words = [*FILES, "many", "--engine", "spark", "--remote", running.address, "--fill"]
    words += ["--map", "name=Name", "--max-conflicts", "100%", "--max-rejects", "100%"]
    environment = os.environ | {"PYTHONPATH": str(CLIENT)}
    command = [sys.executable, "-m", "tranship", "run", *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def appeared(step: str) -> bool:
    return any(True for folder in (".tranship/runs", "many") for _ in Path(folder).rglob(f"{step}*"))


def killed_one(victim: str, program: int, running: Cluster) -> bool:
    """Kill one process of a kind, if there is one."""
    if victim == "program":
        os.kill(program, signal.SIGKILL)
        return True
    found = [*processes(VICTIMS[victim], running)]
    if found:
        # The newest process of Python is one that works.
        os.kill(max(found), signal.SIGKILL)
    return bool(found)


def processes(word: str, running: Cluster) -> Iterator[int]:
    """Yield the processes of the workers whose command has a word."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place, command = (process / "cwd").readlink(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in command and any(place.is_relative_to(worker) for worker in running.workers):
            yield int(process.name)
