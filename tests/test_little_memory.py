"""Too little memory: one sentence, exit code 2, and the command that continues; the destination is as before or after.

Commands get so little address space that they fail here or there (`ulimit -v`), or are killed by the kernel in a control
group. TRANSHIP_FAULTS adds formats, destinations and amounts.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from support import moving
from support.accounts import Open
from support.failing_disk import FailingDisk, failing_disk
from support.memory_group import memory_group
from support.postgres_server import Database
from support.scenes import DONE, DUCKDB, SCENES, Scene, complaints, emptied, in_duckdb, into, into_postgres, loading

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not shutil.which("gcc") or sys.platform != "linux", reason="needs gcc and Linux"),
]
MB = 1 << 20
LONG = "TRANSHIP_FAULTS" in os.environ
AMOUNTS = (8, 20, 40, 70, 100, 130, 160, 200, 250, 300, 400, 600) if LONG else (20,)
"""MB of address space."""
FORMATS = ("parquet", "json", "jsonl", "xlsx")
WORDS = "Memory ran out|No more threads|more memory than it may use|when they get no memory"

_READS = ("a table", "a csv file", "a parquet file", "a plan", "the application of a plan", "a second comparison")
COMMANDS = {
    **{name: SCENES[name] for name in _READS},
    "an inspection": Scene(("inspect", "in.csv"), in_duckdb),
    **{f"a source in {kind}": Scene(loading(DUCKDB, f"in.{kind}"), in_duckdb) for kind in FORMATS},
    **{f"an inspection of {kind}": Scene(("inspect", f"in.{kind}"), in_duckdb) for kind in FORMATS},
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    with failing_disk(tmp_path) as made:
        yield made


def _inputs(folder: Path) -> None:
    customers = [moving.customer(number) for number in range(3_000)]
    moving.written(folder / "old.csv", customers[:20])
    frame = pl.read_csv(moving.written(folder / "in.csv", customers), infer_schema=False)
    frame.write_parquet(folder / "in.parquet")
    frame.write_ndjson(folder / "in.jsonl")
    (folder / "in.json").write_text(frame.write_json())
    frame.write_excel(folder / "in.xlsx")


def _swept(disk: FailingDisk, scene: Scene, template: Path) -> Iterator[str]:
    scene = replace(scene, named=WORDS)
    _inputs(disk.folder)
    for words in scene.before:
        assert disk.run(*words, environment=scene.environment).code in DONE
    shutil.copytree(disk.folder, template)
    restore = scene.keep()
    before = scene.look(disk.folder)
    said = disk.run(*scene.words, environment=scene.environment)
    assert said.code in DONE, said.err
    after = scene.look(disk.folder)
    for amount in AMOUNTS:
        emptied(disk.folder)
        shutil.copytree(template, disk.folder, dirs_exist_ok=True)
        restore()
        for complaint in complaints(disk, scene, before, after, spare_bytes=amount * MB):
            yield f"{amount} MB: {complaint}"


@pytest.mark.parametrize("name", COMMANDS if LONG else ("a table",))
def test_too_little_memory_is_a_sentence_and_the_command_continues(
    name: str, disk: FailingDisk, tmp_path: Path
) -> None:
    assert list(_swept(disk, COMMANDS[name], tmp_path / "template")) == []


@pytest.mark.skipif(not LONG, reason="long: TRANSHIP_FAULTS")
def test_too_little_memory_while_postgres_is_written(
    postgres_database: Database, disk: FailingDisk, tmp_path: Path
) -> None:
    assert list(_swept(disk, into_postgres(postgres_database), tmp_path / "template")) == []


@pytest.mark.skipif(not LONG, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("verb", ["run", "apply"])
def test_too_little_memory_while_an_account_is_written(
    verb: str, account: Open, disk: FailingDisk, tmp_path: Path
) -> None:
    assert list(_swept(disk, into(account("marginfront"), verb), tmp_path / "template")) == []


def _in_group(folder: Path, limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    with memory_group(limit) as within:
        command = [*within, sys.executable, "-m", "tranship", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not LONG, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("limit", [60, 90, 100, 110, 120, 130, 140, 160])
def test_a_run_that_the_kernel_killed_is_done_by_the_same_command(limit: int, tmp_path: Path) -> None:
    moving.written(tmp_path / "in.csv", map(moving.customer, range(40_000)))
    words = loading(DUCKDB)
    killed = _in_group(tmp_path, limit * MB, *words)
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    again = subprocess.run(
        [sys.executable, "-m", "tranship", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len(in_duckdb(tmp_path)) == 40_000
