"""What earlier runs have changed: which runs can be asked, the checks, and the forms of the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Warehouse, write_csv
from tranship.connectors.contract import CHANGES
from tranship.connectors.databases.table_mapping import CHANGES as TABLE
from tranship.connectors.errors import ConfigError
from tranship.pipelines import changes, settings
from tranship.pipelines import run as flow
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def of_runs(warehouse: Warehouse, *reports: Report, key: str | None = None) -> list[dict[str, Any]]:
    frames = changes.changes(warehouse.folder / "state", [report.run_id for report in reports], key)
    return [row for frame in frames for row in frame.to_dicts()]


@pytest.mark.slow
def test_changes_of_several_runs_are_read_one_after_the_other(warehouse: Warehouse) -> None:
    first = warehouse.load([ANN, BOB])
    second = warehouse.load([{**ANN, "name": "Anna"}], table="others")
    third = warehouse.load([{**ANN, "name": "Anna"}, BOB])

    found = of_runs(warehouse, third, first, second)
    assert [(row["run_id"], row["customer_key"], row["action"]) for row in found] == [
        (third.run_id, "1", "update"),
        (first.run_id, "1", "create"),
        (first.run_id, "2", "create"),
        (second.run_id, "1", "create"),
    ]
    assert (found[0]["changed_fields"], found[0]["before"], found[0]["after"]) == (
        ["name"],
        '{"name": "Ann"}',
        '{"name": "Anna"}',
    )
    assert [row["customer_key"] for row in of_runs(warehouse, first, key="2")] == ["2"]
    assert changes.frame_of(warehouse.folder / "state", "last", None).schema == CHANGES


@pytest.mark.parametrize("key", ["cy@acme.com", "Cy@Acme.com", "email:cy@acme.com"])
def test_a_customer_without_id_is_found_by_its_e_mail(warehouse: Warehouse, key: str) -> None:
    report = warehouse.load([ANN, {"external_id": None, "email": "cy@acme.com", "name": "Cy"}])
    assert [row["customer_key"] for row in of_runs(warehouse, report, key=key)] == ["email:cy@acme.com"]


def test_a_run_without_changes_has_none(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    assert of_runs(warehouse, warehouse.load([ANN])) == []


@pytest.mark.slow
def test_a_run_whose_changes_were_not_recorded_says_why(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN], changes="off")
    with pytest.raises(ConfigError, match="--changes off"):
        of_runs(warehouse, report)
    report = warehouse.load([BOB], dry_run=True)
    with pytest.raises(ConfigError, match="has written nothing"):
        of_runs(warehouse, report)
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    given = {"source": str(source), "destination": str(warehouse.folder / "out.csv")}
    report = flow.run(settings.load({**given, "state_dir": warehouse.folder / "state"}, {}))
    with pytest.raises(ConfigError, match=f"written as a whole.*tranship verify {report.run_id}"):
        of_runs(warehouse, report)


def test_changes_that_are_gone_are_missed(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BOB])
    warehouse.do(f"DELETE FROM {TABLE} WHERE customer_key = '1'")
    with pytest.raises(ConfigError, match=r"changed 2 customers, but .* has a record of 1"):
        of_runs(warehouse, report)
    warehouse.do(f"DROP TABLE {TABLE}")
    with pytest.raises(ConfigError, match="has a record of 0"):
        of_runs(warehouse, report)
    warehouse.file.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        of_runs(warehouse, report)
    assert not warehouse.file.exists()


def test_a_run_that_was_killed_while_writing_is_continued_first(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN])
    run = RunDirectory.at(Path(report.run_dir))
    run.manifest |= {"status": "running"}
    run.save()
    with pytest.raises(ConfigError, match=f"tranship resume {report.run_id}"):
        of_runs(warehouse, report)


# Forms -----------------------------------------------------------------------------------------------------------


def frame(**values: Any) -> pl.DataFrame:
    return pl.DataFrame([{"run_id": "r", "customer_key": "1", "action": "update", **values}], schema=CHANGES)


def test_a_change_has_a_line_for_each_field() -> None:
    changed = frame(
        before='{"name": "A \\"x\\"", "tags": ["a"], "n": 1.50}', after='{"name": null, "tags": {}, "n": "1"}'
    )
    lines = changes.by_field(changed).select("field", "before", "after").rows()
    assert lines == [("name", 'A "x"', None), ("tags", '["a"]', "{}"), ("n", "1.50", "1")]
    assert changes.by_field(frame(action="create")).select("field", "before").rows() == [(None, None)]


def test_a_line_of_json_has_the_values_as_they_are() -> None:
    [line] = changes.json_lines(frame(before='{"n": 1.50, "o": {"a": null}}', changed_fields=["n", "o"]))
    assert '"before":{"n": 1.50, "o": {"a": null}}' in line
    assert json.loads(line)["after"] is None
