"""The same work started several times at once: the result is that of one undisturbed run, whichever process is
first.

Runs, plans, continued runs and retries are started two to eight times within a second, as an overlapping cron job, a
person and an orchestrator do. `TRANSHIP_DOUBLE_STARTS` is the number of rounds for each way and destination;
`TRANSHIP_SEED` repeats the rounds of an earlier test run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from support.accounts import PROVIDERS, USUAL, Account, opened
from support.moving import customer, hurry, moved, settable, written
from support.postgres_server import Database
from support.sandboxes import Start
from tranship.connectors.registry import CONNECTORS

pytestmark = pytest.mark.kill

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("TRANSHIP_DOUBLE_STARTS", "0"))
SEED = os.environ.get("TRANSHIP_SEED") or str(random.SystemRandom().randrange(10**6))
CUSTOMERS = 120 if ROUNDS else 40
MOST, SPREAD = (8, 1.0) if ROUNDS else (3, 0.3)
LATENCY = 0.1 if ROUNDS else 0.05
"""Seconds per response: a run into a provider lasts longer than the time between the starts."""

WAYS = ("run", "apply", "resume", "retry")
TABLES = ("duckdb", "postgresql", "csv", "parquet")
EVERYDAY = {
    *(("metronome", "run"), ("marginfront", "apply"), ("metrifox", "resume"), ("growpanel", "retry")),
    *(("duckdb", "resume"), ("postgresql", "elsewhere"), ("csv", "apply")),
}
ALL = [
    *((name, way) for name in PROVIDERS for way in WAYS),
    *((name, way) for name in TABLES for way in ("run", "apply", "resume", "elsewhere")),
]


KEYS = {str(CONNECTORS[name].key_variable): USUAL[name].key for name in PROVIDERS}


class Starters:
    """The process that starts the others."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, folder: Path, *starts: dict[str, Any]) -> list[tuple[int | None, str]]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"folder": str(folder), "starts": starts}) + "\n")
        self._process.stdin.flush()
        return [(code, said) for code, said in json.loads(self._process.stdout.readline())]


@pytest.fixture(scope="module")
def start() -> Iterator[Starters]:
    """`start(folder, …)` starts commands at once and returns their exit codes and outputs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.concurrent_starts"],
        env={**os.environ, **KEYS, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Starters(process)
    process.communicate()


@dataclass
class There:
    """A destination and its contents."""

    address: str
    contents: Callable[[], Any]


def test_what_is_started_several_times_has_the_effect_of_one_undisturbed_run(
    sandbox: Start,
    request: pytest.FixtureRequest,
    start: Starters,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind_and_way: tuple[str, str],
) -> None:
    kind, way = kind_and_way
    source = written(tmp_path / "in.csv", map(customer, range(CUSTOMERS)))
    chance = random.Random(f"{SEED} {kind} {way}")
    expected: Any = None
    for variable, key in KEYS.items():
        monkeypatch.setenv(variable, key)
    hurry(monkeypatch.setattr)
    for number in range(max(1, ROUNDS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        there = _destination(kind, folder, sandbox, request)
        if expected is None:
            (folder / "quiet").mkdir()
            quiet = _destination(kind, folder / "quiet", sandbox, request)
            moved(folder / "quiet", source, quiet.address)
            expected = quiet.contents()
            if kind == "postgresql":
                _emptied(request)
        before = _prepare(way, kind, start, folder, source, there, chance)
        if isinstance(there, _Slow):
            there.slow()
        starts = [
            {"words": _words(way, folder, source, there, before, nth), "delay": chance.random() * SPREAD}
            for nth in range(chance.randint(2, MOST))
        ]
        overlaps = ["wait", *(chance.choice(["wait", "wait", "skip", "fail"]) for _ in starts[1:])]
        for one, overlap in zip(starts, overlaps, strict=True):
            one["words"] += ["--overlap", overlap]
        ended = start(folder, *starts)
        where = f"TRANSHIP_SEED={SEED}, round {number}: " + "\n".join(
            f"{one['words'][0]} {overlap} after {one['delay']:.2f} s ends with {code}: {said}"
            for one, overlap, (code, said) in zip(starts, overlaps, ended, strict=True)
        )
        assert there.contents() == expected, where
        assert 0 in [code for code, _ in ended], where
        for overlap, (code, said) in zip(overlaps, ended, strict=True):
            assert _is_right(code, said, way, overlap), where
        if kind == "postgresql":
            _emptied(request)


def _is_right(code: int | None, said: str, way: str, overlap: str) -> bool:
    """Return whether a process may have ended in this way. A process that comes when the work is done reports that."""
    if code == 3:
        return "process " in said and (overlap == "fail" or way in ("apply", "resume", "retry"))
    if code == 6:
        return overlap == "skip" and "Skipped: " in said
    if code == 2:
        return way in ("apply", "resume") and "nothing is left to do" in said
    return code == 0


def _prepare(
    way: str, kind: str, start: Starters, folder: Path, source: Path, there: There, chance: random.Random
) -> str:
    """Prepare the state before all start: a plan, a run that died, or one with customers left; return its name."""
    run = ["run", str(source), there.address, "--state-dir", str(folder / "state")]
    if way == "apply":
        words = [
            "plan",
            str(source),
            there.address,
            "--state-dir",
            str(folder / "state"),
            "--out",
            str(folder / "plan"),
        ]
        [(code, said)] = start(folder, {"words": words, "delay": 0})
        assert code == 0, said
        return str(folder / "plan")
    if way == "resume":
        steps = ["stage", "identify"] if kind in ("csv", "parquet") else ["stage", "identify", "plan"]
        die = chance.choice(steps) if kind in TABLES else chance.randint(CUSTOMERS // 2, CUSTOMERS)
        [(code, said)] = start(folder, {"words": run, "delay": 0, "die": die})
        assert code is None, said
        return "last"
    if way == "retry":
        [(code, said)] = start(folder, {"words": [*run, "--limit", str(CUSTOMERS // 3)], "delay": 0})
        assert code == 0, said
        return next((folder / "state" / "runs").iterdir()).name
    return ""


def _words(way: str, folder: Path, source: Path, there: There, before: str, nth: int) -> list[str]:
    state = folder / (f"state-{nth}" if way == "elsewhere" else "state")
    if way in ("run", "elsewhere"):
        # A file that is recorded in another state directory belongs to someone else.
        elsewhere = ["--overwrite"] if way == "elsewhere" else []
        return ["run", str(source), there.address, "--state-dir", str(state), *elsewhere]
    return [way, before] if way == "apply" else [way, before, "--state-dir", str(state)]


# Destinations -----------------------------------------------------------------------------------------------------


@dataclass
class _Slow(There):
    account: Account

    def slow(self) -> None:
        self.account.sandbox.weather(latency=LATENCY)


def _destination(kind: str, folder: Path, sandbox: Start, request: pytest.FixtureRequest) -> There:
    if kind in PROVIDERS:
        account = opened(sandbox, kind)
        return _Slow(account.address, lambda: settable(account), account)
    if kind == "postgresql":
        database: Database = request.getfixturevalue("postgres_database")
        return There(f"{database.url}?table=customers", lambda: _rows_of(database.rows(_QUERY)))
    if kind == "duckdb":
        file = folder / "w.duckdb"
        return There(f"duckdb:///{file}?table=customers", lambda: _in_duckdb(file))
    file = folder / f"out.{kind}"
    return There(str(file), lambda: _in_file(folder, file))


_QUERY = "SELECT external_id, email, name, phone, city FROM customers"


def _rows_of(rows: Any) -> list[str]:
    return sorted(str(tuple(row.values()) if isinstance(row, dict) else tuple(row)) for row in rows)


def _in_duckdb(file: Path) -> list[str]:
    with duckdb.connect(file, read_only=True) as connection:
        [(created,)] = connection.execute("SELECT sum(created)::INT FROM _tranship_ledger").fetchall()
        return [str(created), *_rows_of(connection.execute(_QUERY).fetchall())]


def _in_file(folder: Path, file: Path) -> list[str]:
    """Return the file's rows, and other files left beside it."""
    left = [path.name for path in folder.glob(".*") if path.suffix == ".partial"]
    read = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    return [*left, *_rows_of(read.select("external_id", "email", "name", "phone", "city").rows())]


def _emptied(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("postgres_database").do("DROP TABLE customers, _tranship_ledger, _tranship_changes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [one for one in ALL if ROUNDS or one in EVERYDAY]
    metafunc.parametrize("kind_and_way", chosen, ids=[f"{kind}-{way}" for kind, way in chosen])
