"""Runs and plans of earlier versions, kept in `tests/kept/`: they are listed, shown and carried out, or refused with a
message.

`before_packages` is of a version whose code was not yet imported as `tranship.…`, `before_fields` of one in which the
manifest has `fields`; in `before_profiles` it has `mapped` and `built`, but no `profile`. Each has a finished run and a plan of two new customers, one merged and one rejected record.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

import tranship

KEPT = Path(__file__).with_name("kept")
EVERY = sorted(folder.name for folder in KEPT.iterdir())


@pytest.fixture
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a kept folder to the working directory, with its runs in the state directory."""
    shutil.copytree(KEPT / request.param, tmp_path, dirs_exist_ok=True)
    (tmp_path / ".tranship").mkdir()
    (tmp_path / "runs").rename(tmp_path / ".tranship" / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kept", EVERY, indirect=True)
def test_a_run_of_an_earlier_version_is_listed_with_its_counts(kept: Path) -> None:
    [run] = tranship.runs()

    assert (run.status, run.source) == ("done_with_rejects", "in.csv")
    assert run.counts is not None
    assert (run.counts.read, run.counts.rejected) == (4, 1)


@pytest.mark.parametrize("kept", EVERY, indirect=True)
def test_the_report_of_an_earlier_version_is_read(kept: Path) -> None:
    [report] = (kept / ".tranship" / "runs").glob("*/report.json")
    counts = tranship.Report.from_json(report.read_text(encoding="utf-8")).counts

    assert (counts.read, counts.rejected, counts.merged, counts.created) == (4, 1, 1, 2)


@pytest.mark.parametrize("kept", ["before_packages", "before_profiles"], indirect=True)
def test_a_plan_of_an_earlier_version_is_applied(kept: Path) -> None:
    report = tranship.apply("plan")

    assert (report.counts.created, report.counts.rejected) == (2, 1)
    with duckdb.connect("out.duckdb", read_only=True) as database:
        assert database.sql("SELECT external_id FROM customers ORDER BY 1").fetchall() == [("1",), ("2",)]


@pytest.mark.parametrize("kept", ["before_fields"], indirect=True)
def test_a_plan_that_is_too_old_is_refused_and_nothing_is_written(kept: Path) -> None:
    with pytest.raises(tranship.ConfigError, match="was created by an earlier version of Tranship"):
        tranship.apply("plan")
    assert not (kept / "out.duckdb").exists()
