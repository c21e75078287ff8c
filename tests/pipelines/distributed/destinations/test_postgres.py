"""A Postgres table that an engine writes is, row by row, the DuckDB table that ordinary runs write of the same customers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from msgspec.structs import replace

from support.engine_tables import Both, records
from support.postgres_runs import address
from support.postgres_server import Database
from support.served import nobody
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.errors import Unreachable
from tranship.pipelines.observer import Quiet, WriteProgress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tranship.pipelines.distributed.destinations.contract import Destination

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

SEEDS = 20 if "TRANSHIP_LONG_TESTS" in os.environ else 1
OPTIONS: dict[str, Any] = {
    "create": True,
    "memory": "512MB",
    "lock_timeout": 10,
    "statement_timeout": 0,
    "written": Path(),
}
STAGES = "SELECT relname::text FROM pg_class WHERE starts_with(relname, '_tranship_stage')"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def both(spark: SparkSession, postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    def open_table() -> Destination:
        from tranship.pipelines.distributed.destinations.opening import open_table

        return open_table(address(postgres_database), spark, OPTIONS | {"observer": WriteProgress(Quiet())})

    made = Both(open_table, lambda: rows(postgres_database), spark, monkeypatch)
    yield made
    made.table.close()


def rows(database: Database) -> pl.DataFrame:
    connection = connect(parse_address(database.url))
    try:
        read = connection.stream("SELECT * FROM (SELECT c.*, metadata::text AS json FROM customers c) c").read_all()
    finally:
        connection.close()
    columns = read.column_names[:-1]
    named = read.drop_columns("metadata").rename_columns({"json": "metadata"})
    return pl.DataFrame(named).select(columns)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_sequences_of_runs(both: Both, postgres_database: Database, seed: int) -> None:
    both.write_sequence(seed, 3)
    assert not postgres_database.rows(STAGES)


def test_changes_are_recorded_unless_they_are_off(both: Both, postgres_database: Database) -> None:
    for record, name in ((False, "Ann"), (True, "Anna")):
        request = both.request(records({"external_id": "1", "email": "a@x.co", "name": name}))
        request = replace(request, record_changes=record)
        both.table.apply(request, both.table.plan(request))
        both.table.close()
        recorded = postgres_database.rows("SELECT relname::text FROM pg_class WHERE relname = '_tranship_changes'")
        assert bool(recorded) == record


def test_what_the_server_cannot_store_is_refused(both: Both) -> None:
    first = {"external_id": "1", "email": "a@x.co", "name": "Ann", "phone": "call\x00me"}
    request = both.request(records(first, columns=("external_id", "email", "name", "phone")))
    planned = both.table.plan(request)
    assert (planned.counts["refused"], planned.reasons) == (1, {"does_not_fit: phone VARCHAR": 1})
    assert [*map(tuple, planned.left_out.collect())] == [(0, "refused", "does_not_fit: phone VARCHAR")]


def test_a_failure_of_a_task_is_a_sentence_without_the_password(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    from tranship.connectors.databases.postgres.staging import Staging

    request = both.request(records({"external_id": "1", "email": "a@x.co", "name": "Ann"}))
    created = Staging._created

    with nobody() as url:
        server = f"postgresql://u:s3cret@{urlsplit(url).netloc}/db"
        # A class that the tasks call must stay the one of its module, or it is sent by value.
        monkeypatch.setattr(Staging, "_created", lambda *given: dataclasses.replace(created(*given), server=server))
        with pytest.raises(Unreachable, match="A machine of the cluster could not copy its customers") as failed:
            both.table.plan(request)
    assert "s3cret" not in f"{failed.value} {failed.value.__cause__}"
