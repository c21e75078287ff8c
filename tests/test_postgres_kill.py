"""Runs into Postgres that lose their client or their server, at any moment: the table and its history are as before or
as after, the same command finishes the job, and nothing remains of the killed process.

`TRANSHIP_KILLS` is the number of moments at which the client is killed, `TRANSHIP_SERVER_KILLS` the number for the
server.
"""

from __future__ import annotations

import os
import random
import runpy
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from support.postgres_runs import ROOT, Process, left_behind
from support.postgres_runs import contents as contents_of
from support.postgres_runs import load as load_into
from support.postgres_server import Database, Server
from support.warehouse import fates
from tranship.pipelines.report import Report

pytestmark = pytest.mark.kill

KILLS = int(os.environ.get("TRANSHIP_KILLS", "3"))
SERVER_KILLS = int(os.environ.get("TRANSHIP_SERVER_KILLS", "2"))
ROWS, SEED, CHANGED = 4_000, 5, 0.3


UNRECORDED = """
    SELECT l.run_id FROM _tranship_ledger l LEFT JOIN _tranship_changes c USING (run_id)
    GROUP BY l.run_id HAVING count(c.run_id) <> l.created + l.updated + l.deleted
"""
"""Runs whose changes are not exactly those that the ledger counts."""


def load(database: Database, source: Path, folder: Path) -> Report:
    return load_into(database, source, folder, history=True)


def contents(database: Database) -> str:
    """Return a digest of the customers, and of their versions without the times of runs; `nothing` without a table."""
    found = contents_of(database)
    if found == "nothing":
        return found
    names = ", ".join(
        row["column_name"]
        for row in database.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'customers_history' "
            "AND column_name NOT IN ('_run_id', 'valid_from', 'valid_to', 'recorded_at') ORDER BY 1"
        )
    )
    [row] = database.rows(
        'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) AS found '
        f"FROM (SELECT {names}, valid_to IS NULL AS open FROM customers_history) t"
    )
    return f"{found} {row['found']}"


@dataclass(frozen=True)
class Quiet:
    """An undisturbed run: input, contents before and after, fates, duration in total and of the steps."""

    server: Server
    source: Path
    before: str
    after: str
    fates: Mapping[str, int]
    seconds: float
    steps: Mapping[str, float]

    @contextmanager
    def copy(self) -> Iterator[Database]:
        """Return a copy of a database in its earlier state."""
        name = f"copy_{secrets.token_hex(8)}"
        maintenance = Database(self.server.url())
        maintenance.do(f"CREATE DATABASE {name} TEMPLATE quiet_before")
        yield Database(self.server.url(name))
        maintenance.do(f"DROP DATABASE {name}")  # no client is connected any more

    def moments(self, number: int) -> list[tuple[float, str | None]]:
        """Return seconds, and the step from which they are counted: one moment in each time slice, up to shortly after
        the end, of the whole run, of plan and write, and of the write alone; in random order.
        """
        dice = random.Random()
        plan, write = self.steps["plan"], self.steps["write"]
        spans = ((None, self.seconds), ("identify", plan + write), ("plan", write), (None, self.seconds))
        shares = [(place + dice.random()) / number * 1.2 for place in range(number)]
        found = [(share * seconds, step) for share, (step, seconds) in zip(shares, cycle(spans), strict=False)]
        dice.shuffle(found)
        return found

    def state(self, database: Database) -> str:
        return {self.before: "before", self.after: "after", "nothing": "nothing"}.get(contents(database), "between")


@pytest.fixture(scope="module")
def quiet(mortal_postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    folder = tmp_path_factory.mktemp("quiet")
    write = runpy.run_path(str(ROOT / "benchmarks" / "generate.py"))["write"]
    write(folder / "old", ROWS, SEED)
    write(folder / "new", ROWS, SEED, change=CHANGED)
    server = mortal_postgres_server
    source = folder / "new" / "customers.parquet"

    Database(server.url()).do("CREATE DATABASE quiet_before")
    base = Database(server.url("quiet_before"))
    load(base, folder / "old" / "customers.parquet", folder / "1")
    before = contents(base)
    Database(server.url()).do("CREATE DATABASE quiet_after TEMPLATE quiet_before")
    changed = Database(server.url("quiet_after"))
    report = load(changed, source, folder / "2")
    assert report.counts.updated > ROWS * CHANGED / 2
    seconds = report.seconds["total"]
    quiet = Quiet(server, source, before, contents(changed), fates(report), seconds, report.seconds)
    assert quiet.after != quiet.before
    return quiet


def check_finished(quiet: Quiet, database: Database, folder: Path, where: str) -> None:
    """Check that the same command completes the table, and that report and ledger state the result once."""
    report = load(database, quiet.source, folder)
    assert contents(database) == quiet.after, where
    if database.rows("SELECT 1 FROM customers WHERE _run_id = %s LIMIT 1", [report.run_id]):
        assert fates(report) == quiet.fates, where
    else:
        assert not {"created", "updated"} & set(fates(report)), where
    [ledger] = database.rows("SELECT sum(updated)::int AS updated, max(read)::int AS read FROM _tranship_ledger")
    assert ledger == {"updated": quiet.fates["updated"], "read": ROWS}, where
    assert not database.rows(UNRECORDED), where


def test_a_killed_client_leaves_the_table_as_before_or_as_after_and_the_same_command_finishes(
    quiet: Quiet, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for number, (moment, step) in enumerate(quiet.moments(KILLS)):
        folder = tmp_path / str(number)
        with quiet.copy() as database:
            victim = Process.waiting(database, quiet.source, folder, history=True)
            victim.start()
            victim.wait_until(moment, step=step)
            victim.kill()
            if number % 4 == min(3, KILLS - 1):  # and once more while it continues
                again = Process.waiting(database, quiet.source, folder, history=True)
                again.start()
                again.wait_until(random.random() * quiet.seconds)
                again.kill()

            where = f"killed {moment:.3f} s after {step or 'its start'}"
            assert left_behind(database) == [], where
            state = quiet.state(database)
            assert state in ("before", "after"), where
            seen[f"{state}, after {step or 'start'}"] += 1
            check_finished(quiet, database, folder, where)
            assert left_behind(database) == [], where
        shutil.rmtree(folder)
    print(*sorted(seen.items()), sep="\n")
    assert seen.total() == KILLS


def test_a_client_killed_over_an_empty_database_leaves_nothing_or_all(quiet: Quiet, tmp_path: Path) -> None:
    for number in range(max(1, KILLS // 8)):
        folder = tmp_path / str(number)
        with quiet.server.database() as database:
            victim = Process.waiting(database, quiet.source, folder, history=True)
            victim.start()
            victim.wait_until(random.random() * quiet.seconds)
            victim.kill()

            assert left_behind(database) == []
            assert database.rows(
                "SELECT 1 FROM pg_tables WHERE tablename IN ('customers', '_tranship_ledger', '_tranship_changes', "
                "'customers_history', '_tranship_histories')"
            ) in (
                [],
                [{"?column?": 1}] * 5,
            )
            load(database, quiet.source, folder)
            assert quiet.after.startswith(contents_of(database))
            assert not {"created", "updated"} & set(fates(load(database, quiet.source, folder)))


def test_a_killed_server_leaves_the_table_as_before_or_as_after_and_the_same_command_finishes(
    quiet: Quiet, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for number, (moment, step) in enumerate(quiet.moments(SERVER_KILLS)):
        folder = tmp_path / str(number)
        with quiet.copy() as database:
            victim = Process.waiting(database, quiet.source, folder, history=True)
            victim.start()
            victim.wait_until(moment, step=step)
            quiet.server.stop(immediate=True)
            quiet.server.start()
            code, said = victim.ended()

            where = f"server killed {moment:.3f} s after {step or 'the start'}: exit {code}, {said}"
            # Done before, repeated with the restarted server, or reported.
            assert code == 0 or (code == 3 and said.startswith(("Unreachable ", "Interfered "))), where
            assert left_behind(database) == [], where
            state = quiet.state(database)
            assert state == "after" if code == 0 else state in ("before", "after"), where
            seen[f"exit {code}, {state}, after {step or 'start'}"] += 1
            check_finished(quiet, database, folder, where)
            assert left_behind(database) == [], where
        shutil.rmtree(folder)
    print(*sorted(seen.items()), sep="\n")
    assert seen.total() == SERVER_KILLS


def test_a_server_that_is_gone_is_reported_and_the_same_command_finishes_later(quiet: Quiet, tmp_path: Path) -> None:
    import psycopg

    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with quiet.copy() as database:
        victim = Process.waiting(database, quiet.source, tmp_path, history=True)
        other = psycopg.connect(database.url)
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('tranship:public.customers', 0))")
        victim.start()
        while not database.rows(waiting):
            assert victim.process.poll() is None
            time.sleep(0.01)
        quiet.server.stop(immediate=True)
        other.close()
        code, said = victim.ended()
        quiet.server.start()

        assert code == 3, said
        assert "127.0.0.1" in said
        check_finished(quiet, database, tmp_path, said)
