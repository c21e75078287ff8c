"""Missing tables and files are created with a note that suggests similar names, or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates, write_csv
from tranship.connectors.errors import ConfigError
from tranship.connectors.existing import similar, similar_files, similar_tables
from tranship.pipelines import run as flow
from tranship.pipelines import settings

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=["duckdb", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse | PostgresWarehouse]:
    """A DuckDB file and a Postgres database with table customers and schema billing."""
    if request.param == "duckdb":
        made: Warehouse | PostgresWarehouse = Warehouse(tmp_path)
    else:
        made = PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))
    made.do("CREATE TABLE customers (external_id text, name text)", "CREATE SCHEMA billing")
    return made


@pytest.mark.parametrize(
    ("name", "others", "expected"),
    [
        ("custmers", ["customers", "orders"], ["customers"]),
        ("customer", ["customers", "custom"], ["customers", "custom"]),
        ("Customers", ["customers"], ["customers"]),
        ("CUSTOMER_LIST", ["customer-list", "list"], ["customer-list"]),
        ("customers", ["customers", "orders"], []),
        ("people", ["customers", "orders"], []),
        ("a", ["b", "A", ""], ["A"]),
        ("客户", ["客户们", "orders"], ["客户们"]),
        ("___", ["x"], []),
    ],
)
def test_similar_names(name: str, others: list[str], expected: list[str]) -> None:
    assert similar(name, others) == expected


def test_similar_tables_in_other_schemas_have_the_same_name() -> None:
    tables = [("main", "customers"), ("crm", "custmer"), ("crm", "customers"), ("main", "orders")]
    assert similar_tables("main", "custmers", tables) == ["customers", "crm.custmer"]


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ("custmers", "table custmers does not exist and will be created; a similar table exists: customers"),
        ("Customer", "table Customer does not exist and will be created; a similar table exists: customers"),
        ("people", "table people does not exist and will be created"),
        ("billing.customers", "customers does not exist and will be created; a similar table exists: {home}.customers"),
        ("blling.customers", "schema blling does not exist and will be created; a similar schema exists: billing"),
        ("x.customers", "schema x does not exist and will be created; a similar table exists: {home}.customers"),
    ],
)
def test_a_note_says_what_will_be_created(either: Warehouse | PostgresWarehouse, table: str, note: str) -> None:
    note = note.format(home="main" if isinstance(either, Warehouse) else "public")
    for options in ({"dry_run": True}, {}):
        report = either.load([ANN], table=table, **options)
        assert any(text.endswith(note) for text in report.notes), report.notes
    assert not any("does not exist" in text for text in either.load([ANN], table=table).notes)


@pytest.mark.parametrize("table", ["custmers", "blling.customers"])
def test_never_creates_nothing_and_reads_nothing(either: Warehouse | PostgresWarehouse, table: str) -> None:
    unread = write_csv(either.folder / "unread.csv", [{"nothing": "known"}])
    with pytest.raises(
        ConfigError, match=r"does not exist; a similar (table|schema) exists: (customers|billing)"
    ) as raised:
        either.load(unread, table=table, create="never")
    assert "--create auto" in str(raised.value)
    assert not any((either.folder / "state").glob("runs/*"))
    assert fates(either.load([ANN], create="never")) == {"created": 1}


def test_a_file_beside_a_similar_one(tmp_path: Path) -> None:
    right = Warehouse(tmp_path)
    right.load([ANN])
    wrong = f"duckdb:///{tmp_path}/W.duckdb?table=customers"
    source = str(tmp_path / "in.csv")
    given = {"source": source, "destination": wrong, "state_dir": tmp_path / "state"}
    with pytest.raises(ConfigError, match=r"W\.duckdb does not exist; a similar file exists: w\.duckdb"):
        flow.run(settings.load({**given, "create": "never"}, {}))
    assert not (tmp_path / "W.duckdb").exists()
    assert (
        flow.run(settings.load(given, {}))
        .notes[-1]
        .endswith("W.duckdb does not exist and will be created; a similar file exists: w.duckdb")
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_never_replaces_only_a_file_that_exists(tmp_path: Path, suffix: str) -> None:
    source = write_csv(tmp_path / "source.csv", [ANN])
    given = {"source": str(source), "destination": f"{tmp_path}/custmers.{suffix}", "state_dir": tmp_path / "state"}
    flow.run(settings.load({**given, "destination": f"{tmp_path}/customers.{suffix}"}, {}))
    with pytest.raises(ConfigError, match=f"does not exist; a similar file exists: customers.{suffix}"):
        flow.run(settings.load({**given, "create": "never"}, {}))
    assert not any("does not exist" in note for note in flow.run(settings.load(given, {})).notes)
    assert flow.run(settings.load({**given, "create": "never"}, {})).exit_code == 0


def test_a_missing_database_names_a_similar_one(tmp_path: Path, postgres_database: Database) -> None:
    base, _, name = postgres_database.url.partition("?")[0].rpartition("/")
    warehouse = PostgresWarehouse(tmp_path, Database(f"{base}/{name}x"))
    with pytest.raises(ConfigError, match=f"does not exist.*similar database.*{name}"):
        warehouse.load([ANN])


def test_the_command_says_it(tmp_path: Path) -> None:
    right = Warehouse(tmp_path)
    right.load([ANN])
    command = [sys.executable, "-m", "tranship", "run", "in.csv", "duckdb:///w.duckdb?table=custmers"]
    never = subprocess.run([*command, "--create", "never"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert never.returncode == 2
    assert "table custmers does not exist; a similar table exists: customers" in never.stderr + never.stdout
    once = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "table custmers does not exist and will be created; a similar table exists: customers" in once.stderr


def test_a_suffix_makes_no_file_similar(tmp_path: Path) -> None:
    for name in ("a.duckdb", "w2.duckdb", "billing_2023.duckdb"):
        (tmp_path / name).touch()
    assert similar_files(tmp_path / "w.duckdb") == []
    assert similar_files(tmp_path / "billing_2024.duckdb") == ["billing_2023.duckdb"]


def test_a_table_to_read_that_is_not_there_is_answered_with_a_similar_one(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load([ANN])
    with pytest.raises(ConfigError, match=r"no table custmers; a similar table exists: customers\. Name one with"):
        warehouse.load(warehouse.address("custmers"), table="copy")
    with pytest.raises(ConfigError, match=r"no schema mian; a similar table exists: main\.customers\."):
        warehouse.load(warehouse.address("mian.customers"), table="copy")
