"""The staging table: parts that are copied by other processes, what dead runs leave, what other machines are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest

from support.postgres_runs import address
from support.postgres_server import Database
from tranship.connectors.databases.postgres import staging as staging_module
from tranship.connectors.databases.postgres.address import PostgresAddress, parse_address
from tranship.connectors.databases.postgres.psycopg_copy import CopyConnection
from tranship.connectors.databases.postgres.staging import Staging, StagingPlace, complete, copy_part
from tranship.connectors.errors import Busy

STAGES = "SELECT relname::text FROM pg_class WHERE starts_with(relname, '_tranship_stage')"
PIECE = pa.table({"name": ["A\x00", None]}).to_batches()[0]


def staging(database: Database, run_id: str = "20260101T000000-abcdef") -> Staging:
    return Staging(parse_address(address(database)), run_id, {})


@pytest.mark.postgres
def test_a_part_that_is_copied_again_is_there_once(postgres_database: Database) -> None:
    with closing(staging(postgres_database)) as stage:
        for part in (0, 1, 1, 0):
            assert copy_part(stage.place, part, [PIECE, PIECE]) == 4
        assert stage.rows() == 8
        assert pa.Table.from_batches(stage.batches()).equals(pa.Table.from_batches([PIECE] * 4))
    assert not postgres_database.rows(STAGES)


@pytest.mark.postgres
def test_a_part_that_fails_leaves_nothing(postgres_database: Database) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield PIECE
        raise ValueError

    with closing(staging(postgres_database)) as stage:
        with pytest.raises(Exception):  # noqa: B017, PT011  (that of the driver)
            copy_part(stage.place, 0, failing())
        assert stage.rows() == 0


@pytest.mark.postgres
def test_what_dead_runs_have_left_is_removed(postgres_database: Database) -> None:
    postgres_database.do("CREATE UNLOGGED TABLE _tranship_stage_dead (a int)")
    with closing(staging(postgres_database, "alive")):
        with closing(staging(postgres_database, "other")):
            found = {row["relname"] for row in postgres_database.rows(STAGES)}
            assert found == {"_tranship_stage_alive", "_tranship_stage_other"}
        with pytest.raises(Busy, match="another process is writing run alive"):
            staging(postgres_database, "alive")


@pytest.mark.postgres
def test_pieces_are_the_same_by_the_other_driver(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(address: PostgresAddress) -> CopyConnection:
        return CopyConnection(address)

    monkeypatch.setattr(staging_module, "connect", connected)
    with closing(staging(postgres_database)) as stage:
        copy_part(stage.place, 0, [PIECE])
        assert [*stage.batches()] == [PIECE]


@pytest.mark.parametrize(
    ("given", "environment", "completed"),
    [
        ("postgresql://u:p@db/x", {"PGPASSWORD": "no", "PGHOST": "no"}, "postgresql://u:p@db/x"),
        ("postgresql://u@db/x", {"PGPASSWORD": "a&b"}, "postgresql://u@db/x?password=a%26b"),
        ("postgresql://db/x?user=v", {"PGPORT": "1"}, "postgresql://db/x?user=v&port=1"),
        ("postgresql://db:2/x?user=v", {"PGPORT": "1"}, "postgresql://db:2/x?user=v"),
        ("postgresql://?service=s", {"PGHOST": "h"}, "postgresql://?service=s&user=me"),
        ("postgresql://", {"PGHOST": "h", "PGDATABASE": "d"}, "postgresql://?user=me&host=h&dbname=d"),
    ],
)
def test_other_machines_are_told_what_this_environment_says(
    given: str, environment: dict[str, str], completed: str
) -> None:
    assert complete(given, environment, "me") == completed
    assert "password" not in repr(StagingPlace("postgresql://u:password@h/d", "h/d", "public", "t"))
