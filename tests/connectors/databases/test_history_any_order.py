"""Whatever happens between runs, and in whatever order files arrive, a history is right.

The model is the plainest one: what was true of a customer at each time, kept as a list of all that was said.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.histories import MIRROR, REMOVE, Table, record, run, versions
from support.postgres_server import Database, GivenServer, Server
from support.warehouse import PostgresWarehouse, Warehouse
from tranship.connectors.databases.history_table import HISTORIES, history_of
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.table_mapping import CHANGES

LONG = "TRANSHIP_LONG_TESTS" in os.environ
CUSTOMERS = ("1", "11", "email:1", "id:1")

Records = list[dict[str, str | None]]


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    return PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))


@pytest.fixture(scope="module")
def database(postgres_servers: Callable[..., Server | GivenServer]) -> Iterator[Database]:
    server = postgres_servers()
    with server.lent() if isinstance(server, Server) else server.database() as lent:
        yield lent


def emptied(table: Table) -> None:
    """Remove what earlier examples have left."""
    if isinstance(table, Warehouse):
        table.file.unlink(missing_ok=True)
    else:
        names = ("customers", history_of("customers"), LEDGER, CHANGES, HISTORIES)
        table.do(*(f"DROP TABLE IF EXISTS {name}" for name in names))
    shutil.rmtree(table.folder / "state", ignore_errors=True)


def check(table: Table) -> None:
    """Check that the versions of each customer follow each other, and that the open ones are the table."""
    rows = table.rows("SELECT * FROM customers_history ORDER BY customer_key, valid_from")
    assert rows
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        assert row["valid_to"] is None or row["valid_from"] < row["valid_to"]
        following = after["valid_from"] if after and after["customer_key"] == row["customer_key"] else None
        assert row["valid_to"] == following
    ours = ("valid_from", "valid_to", "deleted", "recorded_at", "_run_id", "_deleted_at")
    held = [
        {name: value for name, value in row.items() if name not in ours}
        for row in table.rows("SELECT * FROM customers ORDER BY customer_key")
        if row["_deleted_at"] is None
    ]
    open_ones = [
        {name: value for name, value in row.items() if name not in ours}
        for row in rows
        if row["valid_to"] is None and not row["deleted"]
    ]
    assert sorted(held, key=str) == sorted(open_ones, key=str)


# Files in any order ----------------------------------------------------------------------------------------------


def files(dice: Random, days: int) -> list[Records]:
    """Return a file for each day: some of the customers, each with the values of that day."""
    return [
        [record(key, dice.choice("ABC"), day) for key in dice.sample(CUSTOMERS, dice.randint(1, len(CUSTOMERS)))]
        for day in range(1, days + 1)
    ]


def expected(days: list[Records]) -> list[str]:
    """Return the versions that these files make, in the order of their days."""
    told: dict[str, list[tuple[int, str]]] = {}
    for day, records in enumerate(days, 1):
        for each in records:
            key = str(each["external_id"])
            told.setdefault(f"id:{key}" if ":" in key else key, []).append((day, str(each["name"])))
    found = []
    for key, versions_of_one in told.items():
        ends = [f"{day:02}" for day, _ in versions_of_one[1:]] + [""]
        found += [f"{key} {name} {day:02}..{end}" for (day, name), end in zip(versions_of_one, ends, strict=True)]
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20 if LONG else 1))
def test_a_week_of_files_in_all_orders_with_repeats_is_one_history(table: Table, seed: int) -> None:
    dice = Random(seed)
    week = files(dice, 5)
    orders = list(permutations(range(5)))
    for order in orders if LONG else dice.sample(orders, 3):
        emptied(table)
        repeated = [*order, *dice.sample(order, 2)]
        for number, day in enumerate(repeated):
            run(table, 10 + number, week[day])
        assert sorted(versions(table)) == expected(week), order
    check(table)


# Random sequences ------------------------------------------------------------------------------------------------

keys = st.sampled_from(CUSTOMERS)
names = st.sampled_from("ABC")
days = st.one_of(st.none(), st.integers(1, 25))
loaded = st.tuples(
    st.just("load"),
    st.dictionaries(keys, st.tuples(names, days), min_size=1),
    st.sampled_from([{}, {}, {}, MIRROR, REMOVE, {"older": "write"}, {"history": False}, {"nulls": "overwrite"}]),
)
others = st.one_of(
    st.tuples(st.just("UPDATE customers SET name = '{1}' WHERE external_id = '{0}'"), keys, names),
    st.tuples(st.just("DELETE FROM customers WHERE external_id = '{0}'"), keys, names),
    st.tuples(st.just("UPDATE customers SET updated_at = '2026-01-{2:02}T06:00:00Z', name = '{1}'"), keys, names),
    st.tuples(st.just("UPDATE customers SET _deleted_at = now() WHERE external_id = '{0}'"), keys, names),
)


def _play(table: Table, steps: list[Any]) -> None:
    emptied(table)
    for number, step in enumerate(steps, 1):
        if step[0] == "load":
            records = [record(key, name, day) for key, (name, day) in step[1].items()]
            run(table, number, records, **step[2])
        elif number > 1:
            table.do(step[0].format(step[1], step[2], number))
    run(table, len(steps) + 1, [record("1", "Z", 27)])
    check(table)


_SEQUENCES = st.lists(st.one_of(loaded, loaded, others), min_size=3, max_size=9).map(
    lambda steps: [("load", {"1": ("A", 1)}, {}), *steps]
)


@pytest.mark.slow
@settings(max_examples=150 if LONG else 6)
@given(steps=_SEQUENCES)
def test_a_history_in_duckdb_is_right_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    _play(Warehouse(folder), steps)
    shutil.rmtree(folder)


@settings(max_examples=150 if LONG else 4)
@given(steps=_SEQUENCES)
def test_a_history_in_postgres_is_right_whatever_happens(
    database: Database, tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    _play(PostgresWarehouse(folder, database), steps)
    shutil.rmtree(folder)
