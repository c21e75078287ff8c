"""Full disks, used-up quotas, I/O errors, read-only disks and lost permissions, at every write of a command.

In each case the command ends with exit code 2, a one-sentence message with the path, and the command that continues;
the destination is as before or as after; that command then succeeds, and the result is that of an undisturbed run.
`TRANSHIP_FAULTS` is the number of writes at which each command fails, usually a few.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import moving
from support.accounts import PROVIDERS, Open
from support.failing_disk import FailingDisk, failing_disk
from support.postgres_server import Database
from support.scenes import (
    DONE,
    DUCKDB,
    SCENES,
    Scene,
    complaints,
    emptied,
    in_duckdb,
    inputs,
    into,
    into_postgres,
    loading,
)

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(
        not shutil.which("gcc") or os.name != "posix", reason="needs gcc and a C library to stand before"
    ),
]

CASES = int(os.environ.get("TRANSHIP_FAULTS", "0"))
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
EVERY_DAY = ("a new database", "the application of a plan", "a workbook of rejects")


def _moments(calls: list[str], scene: Scene, cases: int, chance: random.Random) -> list[int]:
    """Return some of the calls, counted from 1; of many consecutive ones on one file, the first and the last."""
    every = [at for at, call in enumerate(calls) if scene.only in call]
    ends = [at + 1 for at in every if at in (0, len(calls) - 1) or len({*calls[at - 1 : at + 2]}) > 1]
    return sorted(chance.sample(ends, min(cases, len(ends))))


def _swept(disk: FailingDisk, scene: Scene, template: Path, cases: int) -> list[str]:
    chance = random.Random(str(scene.words[:2]) + str(CASES))
    inputs(disk.folder)
    for words in scene.before:
        assert disk.run(*words, environment=scene.environment).code in DONE
    scene.prepare(disk.folder)
    if scene.begun:
        _break_off(disk, scene, template)
    shutil.copytree(disk.folder, template)
    restore = scene.keep()
    before = scene.look(disk.folder)
    disk.heal()
    said = disk.run(*scene.words, environment=scene.environment)
    assert said.code in DONE, said.err
    after, calls = scene.look(disk.folder), disk.calls()
    found = []
    for number, moment in enumerate(_moments(calls, scene, cases, chance)):
        emptied(disk.folder)
        shutil.copytree(template, disk.folder, dirs_exist_ok=True)
        restore()
        error = ERRORS[number % len(ERRORS)]
        disk.fail(moment, error, once=error == errno.EIO)
        where = f"{errno.errorcode[error]} at call {moment}, {calls[moment - 1]}"
        found += [f"{where}: {complaint}" for complaint in complaints(disk, scene, before, after)]
    return found


def _break_off(disk: FailingDisk, scene: Scene, scratch: Path) -> None:
    """Run the command that is to be broken off, after a complete run to count its writes."""
    shutil.copytree(disk.folder, scratch)
    restore = scene.keep()
    disk.heal()
    assert disk.run(*scene.begun, environment=scene.environment).code in DONE
    moment = len(disk.calls()) * 2 // 3
    emptied(disk.folder)
    shutil.copytree(scratch, disk.folder, dirs_exist_ok=True)
    shutil.rmtree(scratch)
    restore()
    disk.fail(moment, errno.ENOSPC)
    assert disk.run(*scene.begun, environment=scene.environment).code == 2
    disk.heal()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    with failing_disk(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", SCENES if CASES else EVERY_DAY)
def test_a_failing_disk_is_named_and_the_command_continues(name: str, disk: FailingDisk, tmp_path: Path) -> None:
    assert _swept(disk, SCENES[name], tmp_path / "template", CASES or 2) == []


@pytest.mark.parametrize(("option", "name"), [("--metrics", "m.prom"), ("--lineage", "events.jsonl")][: CASES or 1])
def test_a_disk_that_fails_those_who_watch_a_run_is_named_and_does_not_fail_the_run(
    option: str, name: str, disk: FailingDisk, tmp_path: Path
) -> None:
    inputs(disk.folder)
    words = (*loading(DUCKDB), option, name, "--pipeline", "crm")
    shutil.copytree(disk.folder, tmp_path / "template")
    assert disk.run(*words).code in DONE
    after, calls = in_duckdb(disk.folder), disk.calls()
    moments = [at for at, call in enumerate(calls, 1) if name in call and not call.startswith(("chmod", "unlink"))]
    # The start of a run is told while the run goes on.
    for at in moments[-2:] if option == "--lineage" or not CASES else moments:
        emptied(disk.folder)
        shutil.copytree(tmp_path / "template", disk.folder, dirs_exist_ok=True)
        error = ERRORS[at % len(ERRORS)]
        disk.fail(at, error, once=True)
        said = disk.run(*words)
        disk.heal()
        assert (said.code in DONE, in_duckdb(disk.folder)) == (True, after), said.err
        reason = f"{name}: cannot be written ({os.strerror(error).lower()})"
        assert f"{option} failed: {reason}" in said.err, f"call {at}, {calls[at - 1]}: {said.err}"
        assert disk.run(*words).code in DONE
        assert (disk.folder / name).exists()
        assert [path.name for path in disk.folder.glob(".*.partial")] == []


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("verb", ["run", "apply", "resume", "retry"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failing_disk_while_an_account_is_written(
    provider: str, verb: str, account: Open, disk: FailingDisk, tmp_path: Path
) -> None:
    assert _swept(disk, into(account(provider), verb), tmp_path / "template", CASES) == []


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failing_disk_while_an_account_is_read(
    provider: str, account: Open, disk: FailingDisk, tmp_path: Path
) -> None:
    there = account(provider, seed=300)
    scene = Scene(("run", there.address, DUCKDB), in_duckdb, environment=there.environment)
    assert _swept(disk, scene, tmp_path / "template", CASES) == []


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
def test_a_failing_disk_while_postgres_is_written(
    postgres_database: Database, disk: FailingDisk, tmp_path: Path
) -> None:
    scene = into_postgres(postgres_database)
    assert _swept(disk, scene, tmp_path / "template", CASES) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("destination", [DUCKDB, "out.csv"] if CASES else [DUCKDB])
def test_a_full_file_system_is_named_and_the_run_continues(destination: str, small: Path) -> None:
    def give(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tranship", *words]
        return subprocess.run(command, cwd=small, capture_output=True, text=True, check=False)

    moving.written(small / "in.csv", [moving.customer(number) for number in range(1_000)])
    said = give("run", "in.csv", destination)
    assert (said.returncode, "No space left on device" in said.stderr) == (2, True), said.stderr
    assert not (small / "w.duckdb").exists()
    assert not (small / "out.csv").exists()
    continued = re.search(r"continue with: tranship (.+)", said.stderr)
    subprocess.run(["mount", "-o", "remount,size=30m", str(small)], check=True)
    again = give(*(shlex.split(continued[1]) if continued else ("run", "in.csv", destination)))
    assert again.returncode == 0, again.stderr


def test_a_limit_on_the_size_of_files_is_named_and_the_run_continues(disk: FailingDisk) -> None:
    inputs(disk.folder)
    said = disk.run(*loading(DUCKDB), file_bytes=4_000)
    assert said.code == 2
    assert "File too large" in said.err
    assert not (disk.folder / "w.duckdb").exists()
    continued = re.search(r"continue with: tranship (.+)", said.err)
    assert continued
    assert disk.run(*shlex.split(continued[1])).code in DONE
    assert in_duckdb(disk.folder)
