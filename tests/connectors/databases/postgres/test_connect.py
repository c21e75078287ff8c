"""Connecting to Postgres, with each driver and with none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.postgres_server import Database
from support.served import nobody
from support.warehouse import PostgresWarehouse, fates
from tranship.connectors.databases.postgres import connect
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.table_mapping import RUN
from tranship.connectors.errors import (
    ConfigError,
    Refused,
    TranshipError,
    Unreachable,
)
from tranship.schemas.customer import KEY

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}

SECRET = "s3cr3t-w0rd"

CLOSED = "<closed>"
"""A placeholder for a closed port."""


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture
def each(tmp_path: Path, every_postgres_database: Database) -> PostgresWarehouse:
    """A database on each installed version of the server."""
    return PostgresWarehouse(tmp_path, every_postgres_database)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port on which no server listens."""
    with nobody() as url:
        yield url.rpartition(":")[2]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"port": CLOSED}, Unreachable, "Check host and port"),
        ({"host": "nowhere.invalid"}, Unreachable, "Check host and port"),
        ({"database": "nowhere"}, ConfigError, "does not exist"),
        ({"user": "nobody_here"}, Refused, "nobody_here"),
        ({"option": "sslmode=nonsense"}, ConfigError, "sslmode"),
        ({"option": "nonsense=1"}, ConfigError, "nonsense"),
        ({"option": "service=nowhere"}, ConfigError, "nowhere"),
        ({"option": "sslmode=require"}, Refused, "SSL"),
        ({"option": "sslrootcert=/nowhere&sslmode=verify-full"}, Refused, "SSL"),
    ],
)
def test_a_failed_connection_is_explained(
    warehouse: PostgresWarehouse,
    closed_port: str,
    change: dict[str, str],
    kind: type[TranshipError],
    words: str,
) -> None:
    change = {name: value.replace(CLOSED, closed_port) for name, value in change.items()}
    info = psycopg.conninfo.conninfo_to_dict(warehouse.database.url)
    at = {"user": info["user"], "host": info["host"], "port": info["port"], "database": info["dbname"], **change}
    address = (
        f"postgresql://{at['user']}:{SECRET}@{at['host']}:{at['port']}/{at['database']}?{at.get('option', 'table=t')}"
    )
    for source, destination in ((address, str(warehouse.folder / "out.csv")), ([ANN], address)):
        with pytest.raises(kind, match=words) as raised:
            warehouse.load(source, destination=destination)
        assert SECRET not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_without_the_fast_driver_copy_moves_the_same(each: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = {
        **{**ANN, "net_terms": "30", "created_at": "2024-01-02T03:04:05.678901+02:00", "updated_at": "1900-01-01"},
        **{"invoice_cc_emails": "a@b.co;c@b.co", "aliases": '["x;y", "q\\"{}\\\\", "NULL"]', "city": "\\N"},
        **{"metadata": '{"a": "\\\\. \\n,\\""}', "legal_name": "\\."},
    }
    records = [rich, BOB, CY]
    each.load(records, table="fast")
    monkeypatch.setattr(
        "tranship.connectors.databases.postgres.connect.find_spec", lambda name: name == "psycopg" or None
    )

    assert fates(each.load(records)) == {"created": 3}
    without_run = f"SELECT to_jsonb(t) - '{RUN}' AS row FROM {{}} t ORDER BY {KEY}"
    assert each.rows(without_run.format("customers")) == each.rows(without_run.format("fast"))
    assert fates(each.load(records)) == {"unchanged": 3}
    assert fates(each.load(records, table="fast")) == {"unchanged": 3}
    assert fates(each.load([{**rich, "aliases": "z"}, BOB, CY])) == {"updated": 1, "unchanged": 2}
    assert fates(each.load(each.address("fast"))) == {"updated": 1, "unchanged": 2}
    with pytest.raises(TranshipError, match="division by zero"):
        each.load(f"{each.database.url}?query=SELECT 1/0 AS id, 'A' AS name")
    each.do("CREATE TABLE lists (external_id text, name text CHECK (name <> 'Bob'), status text UNIQUE)")
    assert fates(each.load([ANN, BOB], table="lists")) == {"created": 1, "refused": 1}


def test_without_any_driver_one_is_asked_for(warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tranship.connectors.databases.postgres.connect.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="pip install"):
        warehouse.load([ANN])


@pytest.mark.parametrize("adbc", [True, False])
def test_a_session_that_cannot_be_set_up_is_closed(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, adbc: bool
) -> None:
    if not adbc:
        monkeypatch.setattr(connect, "find_spec", lambda name: name == "psycopg" or None)
    monkeypatch.setattr(connect, "_SESSION", ("SET no_such_setting = 1",))
    with pytest.raises(TranshipError, match="no_such_setting"):
        connect.connect(parse_address(postgres_database.url))
    gc.collect()  # a connection that is still open warns here, and warnings are errors
