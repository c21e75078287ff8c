"""Runs into Postgres at the same time: they take turns, so that the table is as after consecutive runs.

`TRANSHIP_AT_ONCE` is the number of runs; eight and more are most useful with as many cores.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.postgres_runs import Process, contents, left_behind, load
from support.postgres_server import Database, GivenServer, Server
from support.warehouse import write_csv
from tranship.connectors.errors import Busy

pytestmark = pytest.mark.slow

CUSTOMERS = 3_000
MANY = int(os.environ.get("TRANSHIP_AT_ONCE", "3"))


def inputs(folder: Path, number: int) -> list[Path]:
    """Files that share most of their customers, with different values."""
    dice = random.Random(number)
    files = []
    for place in range(number):
        chosen = dice.sample(range(CUSTOMERS), CUSTOMERS * 3 // 4)
        records = [
            {
                "external_id": f"C-{customer}" if customer % 5 else None,
                "email": f"c{customer}@example.com",
                "name": f"Customer {customer} of {place}",
                "city": f"City {place}" if customer % 3 else None,
                "metadata": f'{{"file": {place}}}',
            }
            for customer in chosen
        ]
        files.append(write_csv(folder / f"{place}.csv", records))
    return files


def at_once(database: Database, sources: Sequence[Path], folder: Path, tables: Sequence[str]) -> list[tuple[int, str]]:
    """Run all at the same time; return how each ended."""
    runs = [
        Process.waiting(database, source, folder / f"run-{place}", table)
        for place, (source, table) in enumerate(zip(sources, tables, strict=True))
    ]
    for run in runs:
        run.start()
    return [run.ended() for run in runs]


def in_order(database: Database) -> list[str]:
    """Return the runs in the ledger, in the order of their commits."""
    return [row["run_id"] for row in database.rows("SELECT run_id FROM _tranship_ledger ORDER BY finished_at")]


def run_ids(folder: Path, number: int) -> list[str]:
    return [next((folder / f"run-{place}" / "state" / "runs").iterdir()).name for place in range(number)]


@pytest.mark.parametrize(("number", "there"), [(MANY, False), (MANY, True)], ids=["no table yet", "a table is there"])
def test_runs_at_once_end_as_runs_one_after_the_other(
    postgres_servers: Callable[..., Server | GivenServer],
    postgres_database: Database,
    tmp_path: Path,
    number: int,
    there: bool,
) -> None:
    files = inputs(tmp_path, number)
    (tmp_path / "first").mkdir()
    first = inputs(tmp_path / "first", 1)[0]
    if there:
        load(postgres_database, first, tmp_path / "before")

    ends = at_once(postgres_database, files, tmp_path, ["customers"] * number)

    assert [code for code, _ in ends] == [0] * number, ends
    assert left_behind(postgres_database) == []
    ids = run_ids(tmp_path, number)
    order = [ids.index(run) for run in in_order(postgres_database) if run in ids]
    assert sorted(order) == list(range(number))
    with postgres_servers().database() as other:
        for place in ([None] if there else []) + order:
            load(other, first if place is None else files[place], tmp_path / f"serial-{place}")
        assert contents(postgres_database) == contents(other)


def test_runs_into_different_tables_at_once_share_a_schema_and_a_ledger(
    postgres_database: Database, tmp_path: Path
) -> None:
    files = inputs(tmp_path, 3)
    tables = [f"customers_{place}" for place in range(3)]

    ends = at_once(postgres_database, files, tmp_path, tables)

    assert [code for code, _ in ends] == [0] * 3, ends
    assert len(in_order(postgres_database)) == 3
    for table, file in zip(tables, files, strict=True):
        with file.open(newline="", encoding="utf-8") as lines:
            wanted = len(list(csv.DictReader(lines)))
        assert postgres_database.rows(f"SELECT count(*) AS n FROM {table}") == [{"n": wanted}]


def test_readers_see_the_old_table_until_the_commit(postgres_database: Database, tmp_path: Path) -> None:
    old, new = inputs(tmp_path, 2)
    load(postgres_database, old, tmp_path / "old")
    before = contents(postgres_database)

    run = Process.waiting(postgres_database, new, tmp_path / "new")
    run.start()
    seen = [before]
    while run.process.poll() is None:
        seen.append(contents(postgres_database))
    code, said = run.ended()

    assert code == 0, said
    after = contents(postgres_database)
    assert after != before
    assert set(seen) <= {before, after}


def test_a_run_that_waits_too_long_for_another_says_so(postgres_database: Database, tmp_path: Path) -> None:
    import psycopg

    old, new = inputs(tmp_path, 2)
    load(postgres_database, old, tmp_path / "old")
    before = contents(postgres_database)
    with psycopg.connect(postgres_database.url) as holder:
        holder.execute("UPDATE customers SET city = 'held'")
        with pytest.raises(Busy, match=r"table customers.*--lock-timeout"):
            load(postgres_database, new, tmp_path / "new", lock_timeout="500ms")
        holder.rollback()

    assert contents(postgres_database) == before
    assert load(postgres_database, new, tmp_path / "new").counts.updated
