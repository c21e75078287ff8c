"""Every JSON object for machines has `schema_version`: what `--json` prints, and the files that a run leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import told
from tranship.connectors import durable
from tranship.connectors.errors import Damaged
from tranship.pipelines.cli.main import cli
from tranship.schemas.schema_version import SCHEMA_VERSION

TABLE = "duckdb:///w.duckdb?table=customers"
PIPELINES = """
[pipelines.a]
source = "in.csv"
destination = "a.csv"
overwrite = true
[pipelines.b]
source = "in.csv"
destination = "b.csv"
overwrite = true
"""
WITH_JSON: dict[str, list[str]] = {
    "run": ["run", "in.csv", TABLE],
    "run of several": ["run", "pipelines.toml"],
    "run that fails": ["run", "absent.csv", TABLE],
    "run that stops": ["run", "in.csv", TABLE, "--max-rejects", "0"],
    "plan": ["plan", "in.csv", TABLE, "--out", "plan"],
    "apply": ["apply", "plan"],
    "verify": ["verify", "in.csv", TABLE],
    "inspect": ["inspect", "in.csv"],
    "runs": ["runs"],
    "runs --check": ["runs", "--check", "max_age=26h"],
    "report": ["report"],
    "changes": ["changes", "first"],
    "undo": ["undo", "first", "--dry-run"],
    "state list": ["state", "list", TABLE],
    "state set": ["state", "set", TABLE, "2026-01-31T02:00:00Z"],
    "state clear": ["state", "clear", TABLE],
    "connectors": ["connectors"],
    "connectors --losses": ["connectors", "--losses", "metronome", "marginfront"],
    "doctor": ["doctor", "metronome://"],
    "explain": ["explain"],
    "explain CODE": ["explain", "4"],
    "fields": ["fields"],
    "backfill": ["backfill", "in.csv", "c.csv", "--from", "2026-01-01", "--to", "2026-01-02"],
    "fix": ["fix", "first", "--out", "rejects.csv"],
    "fix --from": ["fix", "first", "--from", "rejects.csv"],
    "prune": ["prune", "--keep", "1d", "--dry-run"],
    "erase": ["erase", "--email", "nobody@acme.example", "--dry-run"],
    "retry": ["retry", "last"],
    "resume": ["resume", "last"],
}
"""`first` is the run that has written the table."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, after a run with --since last."""
    place = tmp_path_factory.mktemp("versions")
    (place / "in.csv").write_text(
        "id,name,email,updated_at\n1,Ann,ann@acme.example,2026-01-01\n2,Bob,bob@@x,2026-01-01\n"
    )
    (place / "pipelines.toml").write_text(PIPELINES)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.delenv("METRONOME_BEARER_TOKEN", raising=False)
        assert told("run", "in.csv", TABLE, "--since", "last")[0] == 4
    return place


@pytest.fixture
def first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    return min(run.name for run in folder.glob(".tranship/runs/*"))


@pytest.mark.slow
def test_what_is_printed_has_it(first: str) -> None:
    for case, words in WITH_JSON.items():
        _, out, err = told(*(first if word == "first" else word for word in words), "--json")
        assert json.loads(out)["schema_version"] == SCHEMA_VERSION, (case, err)


def test_no_command_is_forgotten() -> None:
    """Those without --json are `schema`, which prints a JSON Schema, `sandbox`, which prints a log, and `help`."""
    tried = {words[0] for words in WITH_JSON.values()}
    assert set(cli.commands) - tried == {"help", "schema", "sandbox"}


@pytest.mark.slow
def test_what_is_written_has_it(first: str, folder: Path) -> None:
    told("verify", first)
    files = {file.relative_to(folder): json.loads(file.read_text()) for file in folder.rglob("*.json")}
    names = {file.name for file in files if first in file.parts}
    assert {"report.json", "manifest.json", "parts.json", "undo.json", "verification.json"} <= names
    assert {str(file) for file, values in files.items() if values.get("schema_version") != SCHEMA_VERSION} == set()


@pytest.mark.parametrize("change", [lambda values: values.pop("schema_version"), lambda _: None])
def test_a_file_without_a_version_or_of_this_one_is_read(
    change: Callable[[dict[str, object]], object], tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    durable.write_json(file, {"a": 1})
    values = json.loads(file.read_text())
    change(values)
    values.pop("sha256", None)
    file.write_text(json.dumps({name: value for name, value in values.items() if name in ("a", "schema_version")}))
    assert durable.read_json(file) == {"a": 1}


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "a": 1}))
    with pytest.raises(Damaged, match="newer version of Tranship"):
        durable.read_json(file)
