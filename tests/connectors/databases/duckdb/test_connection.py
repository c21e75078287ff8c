"""Opening DuckDB files: ordinary ones, locked ones, and files that are not databases."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.warehouse import Warehouse, fates
from tranship.connectors.errors import ConfigError, Unreachable

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_a_file_that_is_no_database_is_explained(warehouse: Warehouse) -> None:
    warehouse.file.write_bytes(b"id,name\n" * 1000)

    with pytest.raises(ConfigError, match="cannot be opened as a DuckDB database"):
        warehouse.load([ANN])


def test_a_file_of_another_database_makes_no_extension_be_downloaded(warehouse: Warehouse) -> None:
    with closing(sqlite3.connect(warehouse.file)) as other:
        other.execute("CREATE TABLE customers (external_id)")
    with pytest.raises(ConfigError, match=r"cannot be opened as a DuckDB database") as raised:
        warehouse.load([ANN])
    assert "extensions.duckdb.org" not in str(raised.value)
    assert b"SQLite format 3" in warehouse.file.read_bytes()


def test_percent_encoded_addresses_reach_the_file(tmp_path: Path) -> None:
    (tmp_path / "my dir").mkdir()
    warehouse = Warehouse(tmp_path / "my dir")

    warehouse.load([ANN], destination=f"duckdb:///{tmp_path}/my%20dir/w.duckdb?table=a%20b")

    assert warehouse.column("name", table='"a b"') == ["Ann"]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["main", "temp", "system", 'we"ird', "a b"])
def test_any_file_name_will_do(tmp_path: Path, file: str) -> None:
    warehouse = Warehouse(tmp_path)
    for fate in ("created", "unchanged"):
        report = warehouse.load([ANN], destination=f"duckdb:///{tmp_path}/{file}.duckdb")
        assert fates(report) == {fate: 1}


@pytest.mark.slow
@pytest.mark.parametrize("role", ["source", "destination"])
def test_a_locked_database_names_who_holds_it(warehouse: Warehouse, role: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
    holding = f"import duckdb; c = duckdb.connect({str(warehouse.file)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        ends: dict[str, Any] = {"source": [ANN], "destination": str(warehouse.folder / "out.csv")}
        ends[role] = warehouse.address("people")
        with pytest.raises(Unreachable, match=rf"locked by process {holder.pid} ") as raised:
            warehouse.load(**ends, lock_timeout="100ms")
        holder.communicate("")
    assert raised.value.exit_code == 3
    assert len(str(raised.value).splitlines()) == 1
    assert fates(warehouse.load([ANN])) == {"created": 1}


def test_a_database_that_may_not_be_written_is_explained(warehouse: Warehouse) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everything")
    warehouse.load([ANN])
    warehouse.file.chmod(0o400)

    with pytest.raises(ConfigError, match="cannot be opened"):
        warehouse.load([BOB])
