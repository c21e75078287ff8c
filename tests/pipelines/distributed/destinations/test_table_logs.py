"""Apache Spark, without the package of Delta Lake, beside a Delta table that Sail has written: its log, the statement
that changes it, and the sentence for those who lack the package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from support import engines
from tranship.connectors.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not engines.IS_SPARK or bool(engines.DELTA), reason="with Delta Lake, tables are written: test_lake_table.py"
    ),
]
KILLABLE = Path(engines.__file__).with_name("killable_engine_run.py")
SAIL = engines.ROOT / "build" / "sail"


@pytest.fixture
def runs(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs into the Delta table `lake` of the current folder, the second of which changes a row."""
    if not SAIL.is_dir():
        pytest.skip("make test installs Sail")
    monkeypatch.chdir(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYSPARK_PYTHON")}
    given = {"source": "in.csv", "destination": "delta://lake", "engine": "sail"}
    for name in ("Ann", "Anna"):
        Path("in.csv").write_text(f"id,email,name\n1,a@x.co,{name}\n2,b@x.co,Bob\n", encoding="utf-8")
        command = [sys.executable, str(KILLABLE), str(SAIL), "0", json.dumps(given)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    return sorted(folder.name for folder in Path(".tranship", "runs").iterdir())


def test_the_log_of_a_table(spark: SparkSession, runs: list[str]) -> None:
    from tranship.pipelines.distributed.destinations.table_logs import DeltaLog

    log = DeltaLog(spark, str(Path("lake").absolute()))
    assert log.version() == 1
    assert [log.has_run(run) for run in (*runs, "another")] == [True, True, False]
    assert [log.counts(1, run) is not None for run in runs] == [False, True]
    assert DeltaLog(spark, str(Path("none").absolute())).version() is None


def test_a_table_is_not_read_or_written_without_the_package(spark: SparkSession, runs: list[str]) -> None:
    from tranship.pipelines.distributed.destinations.lake_table import LakeTable
    from tranship.pipelines.distributed.sources import TableSource

    opened: Any
    for opened in (LakeTable, TableSource):
        given = ("delta://lake", spark) if opened is LakeTable else (spark, "delta://lake")
        with pytest.raises(
            ConfigError, match=r"^delta://lake: this Spark lacks Delta Lake\. Start it with the package"
        ):
            opened(*given)
        given = ("iceberg://lake", spark) if opened is LakeTable else (spark, "iceberg://lake")
        with pytest.raises(ConfigError, match=r"^iceberg://lake: Apache Spark names Iceberg tables by catalogs"):
            opened(*given)


@pytest.mark.parametrize("hard_delete", [False, True])
def test_the_statement_that_changes_a_table_is_one_of_apache_spark(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, hard_delete: bool
) -> None:
    from tranship.pipelines.distributed.destinations import lake_table

    monkeypatch.setattr(lake_table, "must_be_known", lambda *_: None)
    table = lake_table.LakeTable("delta:///lake/it's", spark)
    table._fields = ("external_id", "name", "city")
    request: Any = SimpleNamespace(run_id="r-1", hard_delete=hard_delete, is_erasable=lambda name: name == "city")
    counts = {"create": 1, "update": 1, "delete": 1}
    planned: Any = SimpleNamespace(counts=counts, changed_fields={"name": 1, "city": 1})
    session: Any = spark
    plan = session._jsparkSession.sessionState().sqlParser().parsePlan(table._statement(request, planned)).toString()
    assert "MergeIntoTable" in plan
    # The log of Delta Lake keeps the predicates of a statement, which name the run.
    assert plan.count("r-1") == 3
