"""`tranship state`: watermarks are listed, set and removed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import tranship
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates, write_csv
from tranship.connectors.errors import ConfigError
from tranship.pipelines import states
from tranship.pipelines.cli import main as cli
from tranship.pipelines.increment_notes import BY_HAND

ROWS = [
    {"external_id": str(hour), "name": "A", "version": str(hour), "updated_at": f"2026-01-31T{hour:02}:00:00Z"}
    for hour in range(1, 5)
]


@pytest.fixture(params=["duckdb", "postgres", "file"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return str(tmp_path / "out.csv")
    if request.param == "duckdb":
        return Warehouse(tmp_path).address()
    database: Database = request.getfixturevalue("postgres_database")
    return PostgresWarehouse(tmp_path, database).address()


@pytest.mark.slow
def test_the_same_from_python(tmp_path: Path) -> None:
    state_dir, warehouse = tmp_path / "state", Warehouse(tmp_path)
    warehouse.load(ROWS, since="last")
    [mark] = tranship.watermarks(warehouse.address(), state_dir=state_dir)
    assert mark.position == datetime(2026, 1, 31, 4, tzinfo=UTC)

    changed = tranship.set_watermark(warehouse.address(), mark.position - timedelta(hours=1), state_dir=state_dir)
    assert (changed.source, changed.value) == (mark.source, "2026-01-31T03:00:00.000000Z")
    assert warehouse.load(ROWS, since="last").counts.skipped == 2

    cleared = tranship.clear_watermarks(warehouse.address(), source=mark.source, state_dir=state_dir)
    assert ([each.source for each in cleared.watermarks], cleared.files) == ([mark.source], 0)
    assert tranship.watermarks(warehouse.address(), state_dir=state_dir) == ()
    with pytest.raises(ConfigError, match="value: float is not accepted"):
        tranship.set_watermark(warehouse.address(), 1.5, state_dir=state_dir)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_watermark_is_set_and_removed(tmp_path: Path, destination: str) -> None:
    state_dir, warehouse = tmp_path / "state", Warehouse(tmp_path)
    assert states.watermarks(destination, state_dir) == []
    with pytest.raises(ConfigError, match="no source has a watermark here"):
        states.set_watermark(destination, state_dir, "2026-01-01", None)

    warehouse.load(ROWS, since="last", destination=destination)
    (mark,) = states.watermarks(destination, state_dir)
    assert (mark.cursor, mark.value) == ("updated_at", "2026-01-31T04:00:00.000000Z")

    states.set_watermark(destination, state_dir, "2026-01-31T03:00:00Z", mark.source)
    report = warehouse.load(ROWS, since="last", destination=destination)
    assert report.counts.skipped == 2
    assert any("(the watermark was set by hand to 2026-01-31T03:00:00Z)" in note for note in report.notes)
    states.set_watermark(destination, state_dir, "2027-01-31", mark.source)
    report = warehouse.load(ROWS, since="last", destination=destination, allow_empty=True)
    assert report.counts.skipped == 4
    assert not any("reads everything" in note for note in report.notes)

    assert states.clear(destination, state_dir, None)[1] == 0
    assert states.watermarks(destination, state_dir) == []
    assert warehouse.load(ROWS, since="last", destination=destination).counts.skipped == 0
    with pytest.raises(ConfigError, match="--source x: has no watermark"):
        states.clear(destination, state_dir, "x")


@pytest.mark.slow
def test_several_sources_are_told_apart(tmp_path: Path, destination: str) -> None:
    state_dir, warehouse = tmp_path / "state", Warehouse(tmp_path)
    paths = [write_csv(tmp_path / name, ROWS) for name in ("a.csv", "b.csv")]
    for path in paths:
        warehouse.load(path, since="last", destination=destination)
    with pytest.raises(ConfigError, match=r"name one of its sources with --source: .*a\.csv, .*b\.csv"):
        states.set_watermark(destination, state_dir, "2026-01-31", None)
    states.set_watermark(destination, state_dir, "2026-01-31", str(paths[0]))
    removed, _ = states.clear(destination, state_dir, str(paths[1]))
    assert [mark.source for mark in removed] == [str(paths[1])]
    assert [mark.run_id for mark in states.watermarks(destination, state_dir)] == [BY_HAND]


@pytest.mark.slow
def test_files_are_forgotten(tmp_path: Path, destination: str) -> None:
    warehouse = Warehouse(tmp_path)
    (tmp_path / "in").mkdir()
    write_csv(tmp_path / "in" / "a.csv", ROWS)
    warehouse.load(tmp_path / "in", new_files=True, destination=destination)
    assert fates(warehouse.load(tmp_path / "in", new_files=True, destination=destination)) == {}
    assert states.clear(destination, tmp_path / "state", None) == ((), 1)
    assert warehouse.load(tmp_path / "in", new_files=True, destination=destination).counts.read == 4


def test_a_whole_number_stays_one(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load(ROWS, since="last", cursor="version")
    with pytest.raises(ConfigError, match="is a whole number"):
        states.set_watermark(warehouse.address(), tmp_path / "state", "2026-01-31", None)
    assert states.set_watermark(warehouse.address(), tmp_path / "state", "2", None).value == "2"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "in.csv", ROWS)
    assert cli.main(["run", "in.csv", "out.csv", "--since", "last", "--quiet"]) == 0
    assert cli.main(["state", "list", "out.csv"]) == 0
    assert "in.csv  updated_at  2026-01-31T04:00:00Z  " in capsys.readouterr().out
    assert cli.main(["state", "set", "out.csv", "2026-01-31T02:00:00Z", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["watermarks"][0]["value"] == "2026-01-31T02:00:00.000000Z"
    assert cli.main(["state", "clear", "out.csv"]) == 0
    assert capsys.readouterr().err == "Removed 1 watermark; forgot 0 files.\n"
    assert cli.main(["state", "list", "out.csv"]) == 0
    assert capsys.readouterr().err == "No source has a watermark here.\n"
