"""Damaged files of run directories: either the result is right or a one-sentence message explains why not, and no other
run is stopped.

Every file of a run directory or a plan's folder is cut, emptied, flipped in one bit, removed, replaced by that of
another run, or by a folder; then each command is run, and a new run begun. `TRANSHIP_DAMAGE` is the number of cases,
usually a few; of so many, a quarter begins a new run, which takes longer than all the rest.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support import moving
from support.accounts import PROVIDERS, Account, Open
from support.commands import told
from support.fuzzing import FIRST_SEED
from support.postgres_server import Database

pytestmark = [pytest.mark.kill, pytest.mark.fuzz("run directory")]

ROOT = Path(__file__).resolve().parent.parent
CASES = int(os.environ.get("TRANSHIP_DAMAGE", "0"))
HARMS = ("cut", "emptied", "flipped", "removed", "of another run", "a folder")
WRITING = ("resume", "apply", "retry", "run")
DONE = (0, 4)

Words = tuple[str, ...]


@dataclass
class Scene:
    """Run directories in a folder where commands are run, and the right results there."""

    name: str
    folder: Path
    run: Words
    """The command of these run directories, which begins a new run."""
    commands: tuple[Words, ...]
    look: Callable[[Path], list[Any]]
    """Return the contents of the destination."""
    restore: Callable[[], None] = lambda: None
    """Restore a destination outside of the folder."""
    piecemeal: bool = False
    """The destination is written customer by customer."""
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)
    report: str = ""

    def files(self) -> list[Path]:
        """Return the files below the folder that may be damaged."""
        places = [self.folder / ".tranship" / "runs", self.folder / "plan"]
        found = [
            path
            for place in places
            for path in place.rglob("*")
            if path.is_file() and ".tranship/.git" not in str(path)
        ]
        return sorted(path.relative_to(self.folder) for path in found)


def killed(folder: Path, hook: str, count: int, *words: str) -> None:
    """Run a command in a process that kills itself when it calls a function for the n-th time."""
    program = f"""
import os, sys
from support import moving
from tranship.connectors.api import journal
from tranship.pipelines import run_directory, stage
from tranship.pipelines.cli import main as cli
moving.hurry()
left = {count}
real = {hook}
def dying(*given, **named):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
    return real(*given, **named)
{hook} = dying
cli.main(sys.argv[1:])
"""
    life = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert life.returncode == -signal.SIGKILL, life.stderr


def written(folder: Path) -> None:
    """Write `in.csv`, with something for each file of a run directory, and `other.csv` for another run."""
    folder.mkdir()
    rows = [moving.customer(number) for number in range(40)]
    rows += [
        moving.customer(3, city=None, phone="12", updated_at="2024-03-01T00:00:00Z"),
        moving.customer(50, country="Narnia"),
    ]
    rows += [moving.customer(51, external_id=None), moving.customer(52, email="c5@x.example")]
    moving.written(folder / "in.csv", rows)
    moving.written(folder / "other.csv", map(moving.customer, range(5)))


# Scenes --------------------------------------------------------------------------------------------------------------

_DUCKDB = "duckdb:///w.duckdb?table=customers"
_COLUMNS = "customer_key, email, name, phone, city, metadata"


def _in_duckdb(folder: Path) -> list[Any]:
    if not (folder / "w.duckdb").exists():
        return []
    with duckdb.connect(folder / "w.duckdb", read_only=True) as connection:
        if not connection.sql("FROM duckdb_tables() WHERE table_name = 'customers'").fetchall():
            return []
        return connection.sql(f"SELECT {_COLUMNS} FROM customers ORDER BY ALL").fetchall()


def _in_file(folder: Path) -> list[Any]:
    file = folder / "out.csv"
    return sorted(file.read_text().splitlines()) if file.exists() else []


def _in_account(account: Account) -> Callable[[Path], list[Any]]:
    return lambda _: moving.settable(account)


def _scene(folder: Path, name: str, destination: str, look: Callable[[Path], list[Any]], **options: Any) -> Scene:
    """Make the run directories of two finished runs; the remains of a third one depend on the name."""
    written(folder)
    piecemeal = options.get("piecemeal", False)
    os.chdir(folder)
    other = ("run", "other.csv", "duckdb:///other.duckdb?table=customers", "--quiet")
    # Each case is a copy, whose files were not written by Tranship in their current place.
    run = ("run", "in.csv", destination, "--fill", "--overwrite", "--quiet")
    plan = ("plan", "in.csv", destination, "--fill", "--overwrite", "--out", "plan", "--quiet")
    assert told(*other)[0] in DONE
    reading = (("report", "last"), ("runs",), ("changes", "last"))
    watching = (*reading, ("verify", "last"), ("retry", "last"), ("resume", "last"))
    scene = Scene(name, folder, run, watching, look, **options)
    match name.split()[-1]:
        case "finished":
            scene.after = scene.before = _quiet(run, scene)
            scene.report = told("report", "last")[1]
        case "killed":
            where = ("journal.Journal.settle", 25) if piecemeal else ("run_directory.RunDirectory.begin_to_write", 1)
            killed(folder, *where, *run)
        case "reading":
            killed(folder, "stage.Stage.complete", 1, *run)
        case "planned":
            assert told(*plan)[0] in DONE
            scene.commands = (("apply", "plan"), ("verify", "plan"), ("retry", "plan"), ("runs",))
        case "begun":
            assert told(*plan)[0] in DONE
            killed(folder, "journal.Journal.settle", 25, "apply", "plan", "--quiet")
            scene.commands = (("apply", "plan"), ("verify", "plan"), ("retry", "plan"))
    if name.split()[-1] != "finished":
        scene.before = look(folder)
    return scene


def _quiet(words: Words, scene: Scene) -> list[Any]:
    assert told(*words)[0] in DONE
    return scene.look(Path.cwd())


# Damage --------------------------------------------------------------------------------------------------------------


def _harm(file: Path, harm: str, chance: random.Random) -> bool:
    """Damage a file in this way; return whether that was possible."""
    content = file.read_bytes()
    match harm:
        case "cut" if content:
            file.write_bytes(content[: chance.randrange(len(content))])
        case "emptied" if content:
            file.write_bytes(b"")
        case "flipped" if content:
            changed = bytearray(content)
            changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            file.unlink()  # not in place: another run may have the same file
            file.write_bytes(changed)
        case "removed":
            file.unlink()
        case "a folder":
            file.unlink()
            file.mkdir()
        case "of another run":
            root = next((place for place in file.parents if place.name in ("runs", "plan")), None)
            if root is None:
                return False
            inside = file.relative_to(root).parts[1 if root.name == "runs" else 0 :]
            runs = (root if root.name == "runs" else root.parent / ".tranship" / "runs").iterdir()
            others = [one.joinpath(*inside) for one in runs if one.joinpath(*inside).is_file()]
            others = [one for one in others if one.read_bytes() != content]
            if not others:
                return False
            file.unlink()
            shutil.copyfile(others[0], file)
        case _:
            return False
    return True


def _complaints(scene: Scene, folder: Path, words: Words, tried: Counter[str]) -> Iterator[str]:
    """Run a command in a folder with damage."""
    code, out, err = told(*words)
    tried["refused" if code == 2 else "as without damage"] += 1
    now = scene.look(folder)
    said = err.strip().splitlines()[-1:]
    if code not in (*DONE, 2):
        yield f"exit {code}: {err}"
    if code in DONE and words[0] in WRITING and now != scene.after:
        yield f"exit {code} with another result: {said}"
    if code == 2 and "Error: " not in err:
        yield f"exit 2 without a sentence: {err}"
    if code == 2 and not scene.piecemeal and now not in (scene.before, scene.after):
        yield f"exit 2, and the table is neither as before nor as after: {said}"
    if scene.piecemeal and any(one not in scene.after for one in now):
        yield "the account holds what no quiet run makes of it"
    if words[0] == "verify" and code == 0 and now != scene.after:
        yield "verify says that what differs is equal"
    if words == ("report", "last") and code == 0 and scene.report and out != scene.report:
        yield f"another report: {out}"


def _complaints_of_a_new_run(scene: Scene, folder: Path) -> Iterator[str]:
    code, _, err = told(*scene.run)
    if code not in DONE or scene.look(folder) != scene.after:
        yield f"a new run is stopped, or comes to another result: exit {code} {err}"


def _swept(scene: Scene, tmp_path: Path, cases: int, seed: str, tried: Counter[str]) -> list[str]:
    chance = random.Random(f"{seed}{FIRST_SEED or ''}")
    every = [(file, harm, words) for file in scene.files() for harm in HARMS for words in scene.commands]
    complaints = []
    # A random selection, but with each damage and each command.
    for at, (file, harm, words) in enumerate(chance.sample(every, min(cases, len(every)))):
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scene.folder, folder)
        if not _harm(folder / file, harm, chance):
            continue
        scene.restore()
        os.chdir(folder)
        where = f"{scene.name}, case {at}: {file} {harm}, {' '.join(words)}"
        found = list(_complaints(scene, folder, words, tried))
        if found or not CASES or at % 4 == 0:
            found += _complaints_of_a_new_run(scene, folder)
        complaints += [f"{where}: {one}" for one in found]
        crashes = [crash.read_text()[-1500:] for crash in (folder / ".tranship").glob("crash-*")]
        complaints += [f"{where}: {crash}" for crash in crashes]
    return complaints


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # with many commands in one process, this would keep everything
    moving.hurry(monkeypatch.setattr)
    return tmp_path


def _expected(scene: Scene, folder: Path) -> None:
    """Return the result of an undisturbed run."""
    if not scene.after:
        shutil.copytree(scene.folder, folder)
        os.chdir(folder)
        shutil.rmtree(folder / ".tranship")
        scene.after = _quiet(scene.run, scene)


@pytest.mark.parametrize("name", ["finished", "killed", "reading", "planned"] if CASES else ["finished", "killed"])
def test_a_damaged_run_into_a_table(name: str, place: Path, tried: Counter[str]) -> None:
    scene = _scene(place / "scene", f"duckdb {name}", _DUCKDB, _in_duckdb)
    _expected(scene, place / "quiet")
    assert _swept(scene, place, CASES // 6 or 4, name, tried) == []


@pytest.mark.parametrize("name", ["finished", "killed"] if CASES else ["killed"])
def test_a_damaged_run_into_a_file(name: str, place: Path, tried: Counter[str]) -> None:
    scene = _scene(place / "scene", f"file {name}", "out.csv", _in_file)
    _expected(scene, place / "quiet")
    assert _swept(scene, place, CASES // 12 or 3, name, tried) == []


def test_a_damaged_plan_for_postgres(postgres_database: Database, place: Path, tried: Counter[str]) -> None:
    address = f"{postgres_database.url}?table=customers"

    def look(_: Path) -> list[Any]:
        there = postgres_database.rows("SELECT to_regclass('customers') IS NOT NULL AS it")[0]["it"]
        return postgres_database.rows(f"SELECT {_COLUMNS} FROM customers ORDER BY customer_key") if there else []

    def restore() -> None:
        postgres_database.do("DROP TABLE IF EXISTS customers, _tranship_ledger, _tranship_changes")

    scene = _scene(place / "scene", "postgres planned", address, look, restore=restore)
    _expected(scene, place / "quiet")
    assert _swept(scene, place, CASES // 12 or 3, "planned", tried) == []


@pytest.mark.parametrize("name", ["begun", "killed"] if CASES else ["begun"])
def test_a_damaged_run_into_an_account(name: str, place: Path, account: Open, tried: Counter[str]) -> None:
    there, calm = account("marginfront"), account("marginfront")
    scene = _scene(place / "scene", f"account {name}", there.address, _in_account(there), piecemeal=True)
    left = there.sandbox.state()

    def restore() -> None:
        there.sandbox.clear()
        there.sandbox.add(*left)

    scene.restore = restore
    (place / "quiet").mkdir()
    shutil.copy(place / "scene" / "in.csv", place / "quiet")
    os.chdir(place / "quiet")
    assert told("run", "in.csv", calm.address, "--fill", "--quiet")[0] in DONE
    scene.after = moving.settable(calm)
    assert 0 < len(left) < len(scene.after)
    assert _swept(scene, place, CASES // 4 or 4, name, tried) == []


# A lost journal ------------------------------------------------------------------------------------------------------


def _lose(folder: Path, how: str) -> None:
    """Damage the journal of a plan that is half carried out."""
    file = folder / "journal.sqlite"
    match how:
        case "removed":
            file.unlink()
        case "emptied":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "all of it":
            for one in folder.glob("journal*"):
                one.unlink()
        case "an earlier copy":
            shutil.copy(folder.parent / "earlier" / file.name, file)


LOST = ("removed", "emptied", "cut", "all of it", "an earlier copy")


@pytest.mark.parametrize(
    ("provider", "how"),
    [(provider, how) for at, provider in enumerate(PROVIDERS) for how in (LOST if CASES else LOST[at : at + 1])],
)
def test_a_lost_journal_doubles_nothing(
    provider: str, how: str, place: Path, account: Open, tried: Counter[str]
) -> None:
    """New customers, changed ones and removed ones."""
    there, calm = account(provider), account(provider)
    before = moving.written(place / "before.csv", map(moving.customer, range(20)))
    changed = [moving.customer(number, name=f"New {number}") for number in range(10)]
    after = moving.written(place / "after.csv", [*changed, *map(moving.customer, range(20, 50))])
    mirror = ("--mode", "mirror", "--max-deletes", "100%", "--remove-for-good")
    for one in (there, calm):
        assert told("run", str(before), one.address, "--quiet", "--state-dir", one.sandbox.url[-5:])[0] == 0
    state = ("--state-dir", calm.sandbox.url[-5:])
    assert told("run", str(after), calm.address, *mirror, *state, "--quiet")[0] == 0

    there.sandbox.record()
    state = ("--state-dir", there.sandbox.url[-5:])
    assert told("plan", str(after), there.address, *mirror, *state, "--out", "plan", "--quiet")[0] == 0
    assert told("apply", "plan", "--limit", "10", "--quiet")[0] == 0
    shutil.copytree(place / "plan", place / "earlier")
    assert told("apply", "plan", "--limit", "35", "--quiet")[0] == 0
    _lose(place / "plan", how)
    assert told("apply", "plan", "--quiet")[0] == 0
    assert moving.settable(there) == moving.settable(calm)
    sent = [call for call in moving.writes(there) if call["worked"] and call["worked"] < 300]
    done = [(call["method"], call["path"], call["content"]) for call in sent]
    assert len(done) == len(set(done)), "nothing is sent twice"
    tried["as without damage"] += 1
