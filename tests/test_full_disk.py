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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import moving
from support.accounts import PROVIDERS, Account, Open
from support.failing_disk import FailingDisk, failing_disk
from support.postgres_server import Database

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(
        not shutil.which("gcc") or os.name != "posix", reason="needs gcc and a C library to stand before"
    ),
]

CASES = int(os.environ.get("TRANSHIP_FAULTS", "0"))
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
DONE = (0, 4)
DUCKDB = "duckdb:///w.duckdb?table=customers"
OPTIONS = ("--fill", "--max-warnings", "100%")

Words = tuple[str, ...]


@dataclass
class Scene:
    """A command, its preparation, and the contents of its destination."""

    words: Words
    look: Callable[[Path], Any]
    before: tuple[Words, ...] = ()
    keep: Callable[[], Callable[[], None]] = lambda: lambda: None
    """Copy a destination outside of the folder; return a function that restores it."""
    begun: Words = ()
    """An earlier command that fails when two thirds of its writes are done."""
    only: str = ""
    """Only writes to files of this name fail."""
    piecemeal: bool = False
    """The destination is written customer by customer."""
    environment: Mapping[str, str] = field(default_factory=dict)


def _in_duckdb(folder: Path) -> Any:
    """Return its customers; null if there is no file."""
    if not (folder / "w.duckdb").exists():
        return None
    with duckdb.connect(folder / "w.duckdb", read_only=True) as connection:
        if not connection.sql("FROM duckdb_tables() WHERE table_name = 'customers'").fetchall():
            return []
        return connection.sql("SELECT customer_key, email, name, city FROM customers ORDER BY ALL").fetchall()


def _in_file(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).read_bytes() if (folder / name).exists() else None


def _loading(destination: str, source: str = "in.csv") -> Words:
    return ("run", source, destination, *OPTIONS)


def _writing(name: str) -> Scene:
    return Scene(_loading(name), _in_file(name), (_loading(name, "old.csv"),))


_PLAN: Words = ("plan", "in.csv", DUCKDB, *OPTIONS, "--out", "plan")
_OLD = _loading(DUCKDB, "old.csv")
SCENES = {
    "a new database": Scene(_loading(DUCKDB), _in_duckdb),
    "a table": Scene(_loading(DUCKDB), _in_duckdb, (_OLD,)),
    **{f"a {kind} file": _writing(f"out.{kind}") for kind in ("csv", "parquet", "jsonl", "csv.gz", "jsonl.zst")},
    "a plan": Scene(_PLAN, _in_duckdb),
    "the application of a plan": Scene(("apply", "plan"), _in_duckdb, (_OLD, _PLAN)),
    "a comparison": Scene(("verify", "in.csv", DUCKDB), _in_duckdb, (_loading(DUCKDB),)),
    "a second comparison": Scene(("verify", "last"), _in_duckdb, (_loading(DUCKDB),)),
    "a run that is continued": Scene(("resume", "last"), _in_duckdb, (_OLD,), begun=_loading(DUCKDB)),
    "a workbook of rejects": Scene(_loading(DUCKDB), _in_duckdb, only="rejects.xlsx"),
}
EVERY_DAY = ("a new database", "the application of a plan", "a workbook of rejects")


def _inputs(folder: Path) -> None:
    """`in.csv`, with something for each file of a run directory, and an older state of it."""
    rows = [moving.customer(number) for number in range(40)]
    rows += [
        moving.customer(3, city=None, phone="12", updated_at="2024-03-01T00:00:00Z"),
        moving.customer(50, country="Narnia"),
        moving.customer(51, external_id=None),
        moving.customer(52, email="c5@x.example"),
        moving.customer(53, email="none"),
    ]
    moving.written(folder / "in.csv", rows)
    moving.written(folder / "old.csv", [moving.customer(number, name=f"Old {number}") for number in range(20)])


def _moments(calls: list[str], scene: Scene, cases: int, chance: random.Random) -> list[int]:
    """Return some of the calls, counted from 1; of many consecutive ones on one file, the first and the last."""
    every = [at for at, call in enumerate(calls) if scene.only in call]
    ends = [at + 1 for at in every if at in (0, len(calls) - 1) or len({*calls[at - 1 : at + 2]}) > 1]
    return sorted(chance.sample(ends, min(cases, len(ends))))


def _complaints(disk: FailingDisk, scene: Scene, before: Any, after: Any) -> Iterator[str]:
    """Run the command on the failing disk, heal the disk, and continue as the message says."""
    said = disk.run(*scene.words, environment=scene.environment)
    disk.heal()
    now = scene.look(disk.folder)
    if said.code not in (2, *DONE) or "Traceback" in said.err:
        yield f"exit {said.code}: {said.err}"
    if scene.piecemeal and any(customer not in after for customer in now):
        yield f"the account holds what an undisturbed run does not write: {said.err}"
    if not scene.piecemeal and now not in ((after,) if said.code in DONE else (before, after)):
        yield f"exit {said.code}, and the destination is neither as before nor as after: {said.err}"
    if said.code in DONE:
        return
    message = re.search(r"^Error: .+", said.err, re.MULTILINE)
    continued = re.search(r"^Once this is solved, (?:continue with: (tranship .+)|.*the same command)", said.err, re.M)
    if not message or not continued or not re.search(r"\.tranship|\bw\.duckdb|\bout\.|\bplan\b", message[0]):
        yield f"no path, or no command to continue with: {said.err}"
        return
    words = shlex.split(continued[1])[1:] if continued[1] else scene.words
    again = disk.run(*words, environment=scene.environment)
    if words[0] != "report" and again.code not in DONE:
        yield f"{words[0]} does not continue: {again.err}"
    elif scene.look(disk.folder) != after:
        yield f"{words[0]} comes to another result"
    if left := [path.name for path in disk.folder.rglob("*.partial")]:
        yield f"left behind: {left}"


def _swept(disk: FailingDisk, scene: Scene, template: Path, cases: int) -> list[str]:
    chance = random.Random(str(scene.words[:2]) + str(CASES))
    _inputs(disk.folder)
    for words in scene.before:
        assert disk.run(*words, environment=scene.environment).code in DONE
    if scene.begun:
        _break_off(disk, scene, template)
    shutil.copytree(disk.folder, template)
    restore = scene.keep()
    before = scene.look(disk.folder)
    disk.heal()
    said = disk.run(*scene.words, environment=scene.environment)
    assert said.code in DONE, said.err
    after, calls = scene.look(disk.folder), disk.calls()
    complaints = []
    for number, moment in enumerate(_moments(calls, scene, cases, chance)):
        _emptied(disk.folder)
        shutil.copytree(template, disk.folder, dirs_exist_ok=True)
        restore()
        error = ERRORS[number % len(ERRORS)]
        disk.fail(moment, error, once=error == errno.EIO)
        where = f"{errno.errorcode[error]} at call {moment}, {calls[moment - 1]}"
        complaints += [f"{where}: {complaint}" for complaint in _complaints(disk, scene, before, after)]
    return complaints


def _break_off(disk: FailingDisk, scene: Scene, scratch: Path) -> None:
    """Run the command that is to be broken off, after a complete run to count its writes."""
    shutil.copytree(disk.folder, scratch)
    restore = scene.keep()
    disk.heal()
    assert disk.run(*scene.begun, environment=scene.environment).code in DONE
    moment = len(disk.calls()) * 2 // 3
    _emptied(disk.folder)
    shutil.copytree(scratch, disk.folder, dirs_exist_ok=True)
    shutil.rmtree(scratch)
    restore()
    disk.fail(moment, errno.ENOSPC)
    assert disk.run(*scene.begun, environment=scene.environment).code == 2
    disk.heal()


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    with failing_disk(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", SCENES if CASES else EVERY_DAY)
def test_a_failing_disk_is_named_and_the_command_continues(name: str, disk: FailingDisk, tmp_path: Path) -> None:
    assert _swept(disk, SCENES[name], tmp_path / "template", CASES or 2) == []


def _into(there: Account, verb: str) -> Scene:
    """Return a command that writes to an account."""
    run: Words = ("run", "in.csv", there.address, "--fill")
    plan: Words = ("plan", *run[1:], "--out", "plan")

    def keep() -> Callable[[], None]:
        left = there.sandbox.state()

        def restore() -> None:
            there.sandbox.clear()
            there.sandbox.add(*left)

        return restore

    words, before, begun = {
        "run": (run, (), ()),
        "apply": (("apply", "plan"), (plan,), ()),
        "resume": (("resume", "last"), (), run),
        "retry": (("retry", "plan"), (plan, ("apply", "plan", "--limit", "10")), ()),
    }[verb]
    look = {"look": lambda _: moving.settable(there), "environment": there.environment, "piecemeal": True}
    return Scene(words, before=before, begun=begun, keep=keep, **look)


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("verb", ["run", "apply", "resume", "retry"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failing_disk_while_an_account_is_written(
    provider: str, verb: str, account: Open, disk: FailingDisk, tmp_path: Path
) -> None:
    assert _swept(disk, _into(account(provider), verb), tmp_path / "template", CASES) == []


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_failing_disk_while_an_account_is_read(
    provider: str, account: Open, disk: FailingDisk, tmp_path: Path
) -> None:
    there = account(provider, seed=300)
    scene = Scene(("run", there.address, DUCKDB), _in_duckdb, environment=there.environment)
    assert _swept(disk, scene, tmp_path / "template", CASES) == []


@pytest.mark.skipif(not CASES, reason="long: TRANSHIP_FAULTS")
def test_a_failing_disk_while_postgres_is_written(
    postgres_database: Database, disk: FailingDisk, tmp_path: Path
) -> None:
    def look(_: Path) -> Any:
        if not postgres_database.rows("SELECT to_regclass('customers') IS NOT NULL AS it")[0]["it"]:
            return None
        return postgres_database.rows("SELECT customer_key, email, name, city FROM customers ORDER BY customer_key")

    def restore() -> None:
        postgres_database.do("DROP TABLE IF EXISTS customers, _tranship_ledger")

    scene = Scene(_loading(f"{postgres_database.url}?table=customers"), look, keep=lambda: restore)
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
    _inputs(disk.folder)
    said = disk.run(*_loading(DUCKDB), file_bytes=4_000)
    assert said.code == 2
    assert "File too large" in said.err
    assert not (disk.folder / "w.duckdb").exists()
    continued = re.search(r"continue with: tranship (.+)", said.err)
    assert continued
    assert disk.run(*shlex.split(continued[1])).code in DONE
    assert _in_duckdb(disk.folder)
