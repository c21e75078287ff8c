"""The recipes for Airflow, Dagster, Prefect and dbt: read here, and run where `make recipes` has installed the tool."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import shutil
import subprocess
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import tranship
from support.recipes import EXAMPLES, PIPELINE, ROOT, clean_environment, night, required
from tranship.pipelines.arguments import RunOptions

TOOLS = ("airflow", "dagster", "prefect", "dbt")
PYTHON = sorted(path for name in TOOLS for path in (EXAMPLES / name).rglob("*.py"))
LEDGER = {"read": 46, "rejected": 10, "merged": 8, "created": 28}
"""The counts of a load of the sample data."""


# Read ------------------------------------------------------------------------------------------------------------


def attributes(tree: ast.AST, name: str) -> Iterator[str]:
    """Yield the attributes of a variable that are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recipe_uses_what_the_api_has(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = {
        "tranship": set(tranship.__all__),
        "report": {field.name for field in dataclasses.fields(tranship.Report)},
        "counts": {*vars(tranship.Counts), *(field.name for field in dataclasses.fields(tranship.Counts))},
    }
    for name, having in known.items():
        assert set(attributes(tree, name)) <= having, name
    options = {*typing.get_type_hints(RunOptions), *inspect.signature(tranship.run).parameters}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "tranship.run":
            assert {keyword.arg for keyword in call.keywords if keyword.arg} <= options


def test_every_recipe_that_runs_in_python_is_read() -> None:
    called = {path.parent.name for path in PYTHON if "tranship.run(" in path.read_text(encoding="utf-8")}
    assert called == {"airflow", "dagster", "prefect"}


def dbt_files() -> list[Path]:
    return sorted(path for path in (EXAMPLES / "dbt").rglob("*") if path.is_file())


def test_the_sources_of_dbt_are_tables_that_a_run_writes(tmp_path: Path) -> None:
    import duckdb

    variables = night(tmp_path)
    report = tranship.run(
        variables["CRM_SOURCE"], variables["CRM_DESTINATION"], state_dir=tmp_path / "state", max_rejects="30%"
    )
    sources = yaml.safe_load((EXAMPLES / "dbt" / "models" / "sources.yml").read_text(encoding="utf-8"))["sources"]
    [loaded] = [source for source in sources if source["name"] == "tranship"]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        for table in loaded["tables"]:
            named = f"{loaded['schema']}.{table['name']}"
            columns = connection.sql(f"FROM {named}").columns
            used = [column["name"] for column in table["columns"]]
            assert {*used, table.get("config", {}).get("loaded_at_field", used[0])} <= set(columns)
        # The query of the macro, and the separator in the model.
        rejects = connection.sql(
            "SELECT split_part(filename, '/', -2) AS run_id, unnest(string_split(_codes, ' ')) AS code, _source, _line "
            f"FROM read_parquet('{tmp_path}/state/runs/*/rejects.parquet', union_by_name = true, filename = true)"
        )
        counted = dict(rejects.aggregate("code, count(*)").fetchall())
    assert counted == dict(report.rejects_by_code)
    assert {path.suffix for path in dbt_files()} == {".sql", ".yml"}


# Run -------------------------------------------------------------------------------------------------------------

LOCKED = """
import fcntl, pathlib
held = [open(path, "a") for path in pathlib.Path(os.environ["TRANSHIP_STATE_DIR"], "locks").rglob("*") if path.is_file()]
for file in held: fcntl.flock(file, fcntl.LOCK_EX)
"""
"""Holds the locks of the destination, as a run in another process does."""

AIRFLOW = f"""
import json, os, crm
class Instance:
    def xcom_push(self, key, value): print(json.dumps({{"pushed": value}}))
def execute(**options):
    operator = crm.TranshipOperator(task_id="x", settings="crm.toml", options=options)
    try: return operator.execute({{"ti": Instance()}})
    except Exception as error: return type(error).__name__
assert crm.dag.get_task("load_customers").settings == os.path.abspath("crm.toml")
print(json.dumps(execute()))
print(json.dumps(execute(max_rejects=1)))
{LOCKED}
print(json.dumps(execute()))
"""

DAGSTER = """
import json, sys, importlib, dagster
module = importlib.import_module(sys.argv[1])
pipes = {"pipes": dagster.PipesSubprocessClient()} if sys.argv[1] == "pipes" else {}
result = dagster.materialize([module.customers], resources=pipes, raise_on_error=False)
found = [event.materialization.metadata for event in result.get_asset_materialization_events()]
checks = {check.check_name: [check.passed, check.severity.value] for check in result.get_asset_check_evaluations()}
print(json.dumps([result.success, {key: entry.value for one in found for key, entry in one.items()}, checks]))
assert module.definitions
"""

PREFECT = f"""
import json, os, crm
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
with prefect_test_harness(server_startup_timeout=180):
    def state():
        ended = crm.crm(return_state=True)
        print(json.dumps([ended.type.value, ended.name]))
    state()
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts()
    print(json.dumps(json.loads(artifact.data)))
    os.environ["TRANSHIP_MAX_REJECTS"] = "1"
    state()
{LOCKED.replace(chr(10), chr(10) + "    ")}
    state()
"""


def run(environment: str, folder: Path, script: str, *arguments: str, **more: str) -> list[Any]:
    """Run a script beside a recipe in its environment; return the JSON that it printed."""
    python = required(environment, "python")
    shutil.copytree(EXAMPLES / environment, folder, dirs_exist_ok=True)
    shutil.copy(PIPELINE, folder)
    (folder / "try_it.py").write_text(script)
    homes = {"AIRFLOW_HOME": str(folder / "airflow"), "PREFECT_HOME": str(folder / "prefect")}
    variables = clean_environment() | night(folder) | homes | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0"} | more
    command = [python, "try_it.py", *arguments]
    ran = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith(("{", "[", '"'))]


def ledger(counts: dict[str, Any]) -> dict[str, int]:
    return {name: counts[name] for name in LEDGER}


@pytest.mark.slow
def test_airflow_gets_the_counts_and_skips_a_run_that_another_makes_unnecessary(tmp_path: Path) -> None:
    loaded, stopped, skipped = run("airflow", tmp_path, AIRFLOW)
    assert ledger(loaded) == LEDGER
    assert loaded["run_id"]
    assert (stopped, skipped) == ("AirflowFailException", "AirflowSkipException")


@pytest.mark.slow
def test_airflow_fails_for_rejects_that_nothing_allows_and_keeps_the_counts(tmp_path: Path) -> None:
    script = AIRFLOW.split("print(json.dumps(execute()))")[0] + "print(json.dumps(execute()))"
    text = (EXAMPLES / "crm.toml").read_text(encoding="utf-8").replace('max_rejects = "5%"\n', "")
    script = f"open('crm.toml', 'w').write({text!r})\nimport os\ndel os.environ['TRANSHIP_MAX_REJECTS']\n{script}"
    pushed, failed = run("airflow", tmp_path, script)
    assert ledger(pushed["pushed"]) == LEDGER
    assert failed == "AirflowFailException"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["crm", "pipes"])
def test_dagster_shows_counts_and_checks(module: str, tmp_path: Path) -> None:
    [[succeeded, metadata, checks]] = run("dagster", tmp_path, DAGSTER, module)
    assert succeeded
    assert ledger(metadata) == LEDGER
    assert checks["no_rejects"] == [False, "WARN"]
    assert checks.get("no_record_lost", [True, "ERROR"]) == [True, "ERROR"]
    [[succeeded, metadata, checks]] = run("dagster", tmp_path, DAGSTER, module, TRANSHIP_MAX_REJECTS="1")
    assert not succeeded


@pytest.mark.slow
def test_prefect_shows_the_counts_and_how_a_night_ended(tmp_path: Path) -> None:
    loaded, artifact, stopped, skipped = run("prefect", tmp_path, PREFECT)
    assert loaded == ["COMPLETED", "Completed"]
    assert {row["records"]: row["count"] for row in artifact}.items() >= LEDGER.items()
    assert stopped == ["FAILED", "Failed"]
    assert skipped == ["COMPLETED", "Skipped"]


@pytest.mark.slow
@pytest.mark.parametrize("rejects", [True, False])
def test_dbt_tests_what_was_loaded_and_rejected(rejects: bool, tmp_path: Path) -> None:
    dbt = required("dbt", "dbt")
    source = "crm_export.csv" if rejects else "customers.jsonl"
    if not rejects:
        (tmp_path / source).write_text('{"id": 1, "email": "ann@acme.com", "name": "Ann"}\n')
    script = "import sys, tranship; tranship.run(sys.argv[1], sys.argv[2])"
    place = tmp_path / source if not rejects else ROOT / "sample_data" / source
    run("dbt", tmp_path, script, str(place), night(tmp_path)["CRM_DESTINATION"])
    variables = clean_environment() | night(tmp_path) | {"WAREHOUSE": str(tmp_path / "warehouse.duckdb")}
    command = [dbt, "build", "--profiles-dir", "."]
    more = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0"}
    ran = subprocess.run(command, cwd=tmp_path, env=variables | more, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
    status = {result["unique_id"].split(".")[2]: result["status"] for result in results}
    assert len(status) > 12
    assert status.pop("few_rejects") == ("warn" if rejects else "pass")
    assert set(status.values()) == {"pass", "success"}
