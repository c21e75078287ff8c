"""Errors of the server and of libpq as errors of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.errors import (
    Refused,
)

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


def test_a_wrong_password_is_told_and_not_shown(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    """The tests' server trusts everybody, so what it would say stands here as libpq says it."""
    from tranship.connectors.databases.postgres.server_errors import connect_error

    said = (
        'IO: [libpq] Failed to connect: connection to server at "127.0.0.1", port 5432 failed: '
        'FATAL:  password authentication failed for user "u"\n'
    )
    none = 'connection to server at "127.0.0.1", port 5432 failed: fe_sendauth: no password supplied\n'
    for words in (said, f"IO: [libpq] Failed to connect: {none}", f"connection failed: {none}"):
        error = connect_error(parse_address(f"postgresql://u:{SECRET}@h/db"), words)
        assert isinstance(error, Refused)
        assert "PGPASSWORD" in str(error)
        assert SECRET not in str(error)
