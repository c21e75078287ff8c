"""One id, several people: reported, listed, and more than a few stop the run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from support.warehouse import Warehouse, fates
from tranship.connectors.errors import GateClosed
from tranship.pipelines import run, settings
from tranship.pipelines.cli import main as cli

pytestmark = pytest.mark.slow

CONTACTS = [
    {"id": "ACC-1", "email": "ann@b.co", "name": "Ann"},
    {"id": "ACC-1", "email": "bob@b.co", "name": "Bob"},
    {"id": "ACC-1", "email": "cyd@b.co", "name": "Cyd"},
]
OTHERS = [{"id": f"{number}", "email": f"{number}@b.co", "name": "Dan"} for number in range(1, 298)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.mark.parametrize("survivor", ["newest", "first", "last"])
def test_contacts_with_the_id_of_their_account_stop_the_run(warehouse: Warehouse, survivor: str) -> None:
    with pytest.raises(GateClosed, match="3 of 3 records share their external_id") as error:
        warehouse.load(CONTACTS, max_conflicts="1%", survivor=survivor)

    said = str(error.value)
    for part in ("--max-conflicts 1%", "in.csv, line 2", '--map external_id="COLUMN"', "--max-conflicts 3"):
        assert part in said
    assert error.value.exit_code == 5
    assert not warehouse.file.exists() or not warehouse.rows("FROM duckdb_tables()")
    listed = pl.read_parquet(error.value.report.files["warnings"])
    assert listed.select("line", "code", "value").rows() == [
        (line, "external_id.conflict", "ACC-1") for line in (2, 3, 4)
    ]
    assert pl.read_parquet(error.value.report.files["merges"]).height == 2


def test_the_command_stops_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id,email,name\n1,a@b.co,Ann\n1,b@b.co,Bob\n")

    assert cli.main(["run", "in.csv", "out.csv"]) == 5
    assert not Path("out.csv").exists()
    assert cli.main(["run", "in.csv", "out.csv", "--max-conflicts", "2"]) == 0
    assert "external_id.conflict  2  in.csv, line 2" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "stops"), [("1%", False), ("3", False), ("2", True), ("0", True), ("0.9%", True)])
def test_as_many_as_the_limit_pass(warehouse: Warehouse, limit: str, stops: bool) -> None:
    if stops:
        with pytest.raises(GateClosed):
            warehouse.load([*CONTACTS, *OTHERS], max_conflicts=limit)
        return
    report = warehouse.load([*CONTACTS, *OTHERS], max_conflicts=limit)
    assert fates(report) == {"merged": 2, "created": 298}
    assert report.warnings_by_code == {"external_id.conflict": 3}
    assert report.examples["external_id.conflict"].endswith("in.csv, line 2")


def test_a_known_time_settles_it(warehouse: Warehouse) -> None:
    dated = [{**record, "updated_at": f"2024-01-0{day}"} for day, record in enumerate(CONTACTS, 1)]
    report = warehouse.load(dated, max_conflicts="0")
    assert (warehouse.column("name"), report.counts.warnings) == (["Cyd"], 0)


def test_skipped_and_rejected_records_are_in_no_conflict(warehouse: Warehouse) -> None:
    rows = [{**CONTACTS[0], "role": "main"}, {**CONTACTS[1], "role": "other"}, {**CONTACTS[2], "name": ""}]
    report = warehouse.load(rows, max_conflicts="0", where="role is distinct from 'other'")
    assert fates(report) == {"skipped": 1, "rejected": 1, "created": 1}


def test_verify_compares_whatever_the_conflicts(warehouse: Warehouse) -> None:
    warehouse.load(CONTACTS)
    given = {"source": str(warehouse.folder / "in.csv"), "destination": warehouse.address()}
    found = run.verify(settings.load({**given, "state_dir": warehouse.folder / "state"}, {}))
    assert found.counts["equal"] == 1


def test_a_resumed_run_knows_its_conflicts(warehouse: Warehouse) -> None:
    with pytest.raises(GateClosed) as error:
        warehouse.load(CONTACTS, max_conflicts="1%")
    with pytest.raises(GateClosed, match="3 of 3 records"):
        run.resume(warehouse.folder / "state", error.value.report.run_id)
