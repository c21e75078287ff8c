"""Metrics, as the parser of Prometheus reads them."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tranship.connectors.errors import GateClosed
from tranship.pipelines import run
from tranship.pipelines.operation import metrics
from tranship.pipelines.operation.delivery import UndeliveredError
from tranship.pipelines.operation.run_end import RunEnd
from tranship.pipelines.settings import load

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
CUSTOMERS = "external_id,email,name\n1,a@acme.example,Ann\n2,b@acme.example,Bob\n3,nobody,Cid\n"


def read(file: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """Metric → values of its labels → value, as Prometheus reads them."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = tuple(sample.labels.values())
            assert labels not in found.setdefault(sample.name, {}), "a series occurs twice"
            found[sample.name][labels] = sample.value
    return found


def go(folder: Path, now: datetime = NOW, **options: Any) -> None:
    settings = {
        **{"source": str(folder / "crm.csv"), "destination": str(folder / "out.jsonl"), "pipeline": "crm"},
        **{"state_dir": str(folder / "state"), "metrics": str(folder / "t.prom"), **options},
    }
    run.run(load(settings, {}), now=now)


def ended(pipeline: str, code: int = 0) -> RunEnd:
    return RunEnd(pipeline, "a.csv", "b.csv", NOW, NOW + timedelta(seconds=2), code, None, None)


def test_metrics_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text(CUSTOMERS)
    go(tmp_path)

    found = read(tmp_path / "t.prom")
    records = found["tranship_last_run_records"]
    assert found["tranship_last_run_exit_code"] == {("crm",): 4}
    assert found["tranship_last_run_read_records"] == {("crm",): 3}
    assert (records[("crm", "created")], records[("crm", "rejected")], records[("crm", "unchanged")]) == (2, 1, 0)
    assert sum(records.values()) - records[("crm", "deleted")] == 3
    assert found["tranship_last_run_rejected_records"] == {("crm", "email.syntax"): 1}
    assert found["tranship_last_run_state"][("crm", "degraded")] == 1
    assert sum(found["tranship_last_run_state"].values()) == 1
    assert found["tranship_last_run_source_bytes"] == {("crm",): len(CUSTOMERS)}
    assert set(found["tranship_last_run_step_duration_seconds"]) >= {("crm", "read"), ("crm", "write")}
    assert 0 < found["tranship_last_run_duration_seconds"][("crm",)] < 60
    success = found["tranship_last_success_timestamp_seconds"][("crm",)]
    assert success == found["tranship_last_run_timestamp_seconds"][("crm",)] == pytest.approx(NOW.timestamp(), abs=60)
    assert set(found) == set(metrics._HELP)
    assert stat.S_IMODE((tmp_path / "t.prom").stat().st_mode) & stat.S_IROTH, "the exporter is another user"
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["t.prom"]


def test_the_last_success_stays_when_a_run_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text(CUSTOMERS)
    go(tmp_path)
    success = read(tmp_path / "t.prom")["tranship_last_success_timestamp_seconds"]
    (tmp_path / "crm.csv").write_text("external_id,email,name\n")
    with pytest.raises(GateClosed):
        go(tmp_path, NOW + timedelta(days=1))

    found = read(tmp_path / "t.prom")
    assert found["tranship_last_run_exit_code"] == {("crm",): 5}
    assert found["tranship_last_success_timestamp_seconds"] == success
    assert "tranship_last_run_rejected_records" not in found


def test_each_pipeline_has_its_own_series(tmp_path: Path) -> None:
    file = tmp_path / "t.prom"
    names = ["crm", 'duckdb:///w"x\\y.duckdb', "line\nbreak"]
    for code in (3, 0):
        for name in names:
            metrics.write(file, ended(name, code), None)

    assert read(file)["tranship_last_run_exit_code"] == {(name,): 0 for name in names}


def test_runs_that_end_at_the_same_time_lose_no_series(tmp_path: Path) -> None:
    file = tmp_path / "t.prom"
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: metrics.write(file, ended(f"p{number}"), NOW), range(20)))

    assert len(read(file)["tranship_last_run_exit_code"]) == 20


def test_a_success_that_is_unknown_stays_as_it_was(tmp_path: Path) -> None:
    metrics.write(tmp_path / "t.prom", ended("crm"), NOW)
    metrics.write(tmp_path / "t.prom", ended("crm", 3), None)

    assert read(tmp_path / "t.prom")["tranship_last_success_timestamp_seconds"] == {("crm",): NOW.timestamp()}


@pytest.mark.parametrize("text", ["node_load1 0.5\n", "tranship_x 1\n", 'up{pipeline="crm"} 1\n', "\udcff\n"])
def test_a_file_of_another_program_is_not_replaced(text: str, tmp_path: Path) -> None:
    file = tmp_path / "t.prom"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(UndeliveredError, match="has metrics of another program"):
        metrics.write(file, ended("crm"), None)

    assert file.read_text(errors="surrogateescape") == text


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UndeliveredError, match=r"t.prom: cannot be written \(no such file or directory\)"):
        metrics.write(tmp_path / "none" / "t.prom", ended("crm"), None)
    (tmp_path / "t.prom").mkdir()
    with pytest.raises(UndeliveredError, match="is a directory"):
        metrics.write(tmp_path / "t.prom", ended("crm"), None)


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
def test_a_name_may_have_any_separator_of_lines(separator: str, tmp_path: Path) -> None:
    """Without a name of its own, a pipeline is named for its destination."""
    file = tmp_path / "t.prom"
    for pipeline, code in ((f"a{separator}b", 0), ("other", 3), (f"a{separator}b", 4)):
        metrics.write(file, ended(pipeline, code), NOW)

    lines = [line for line in file.read_bytes().decode().split("\n") if "exit_code{" in line]
    assert [float(line.rpartition(" ")[2]) for line in lines] == [4, 3]
