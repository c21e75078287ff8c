"""Completion in a shell, by the protocol of click: the shell sets variables, and reads lines of a type and a value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tranship.connectors.registry import CONNECTORS
from tranship.pipelines.cli import completion
from tranship.pipelines.cli.main import cli
from tranship.schemas import export_profiles
from tranship.schemas.customer import COLUMNS

ROOT = Path(__file__).resolve().parents[3]
PROVIDERS = [name for name, connector in CONNECTORS.items() if connector.key_variable]


def completed(*words: str) -> list[tuple[str, str]]:
    """Return type and value of what is completed after these words; the last one is incomplete."""
    shell = ShellComplete(cli, {}, "tranship", "_TRANSHIP_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(list(words[:-1]), words[-1])]


def values(*words: str) -> list[str]:
    return [value for _, value in completed(*words)]


def test_commands_and_options() -> None:
    assert values("ba") == ["backfill"]
    assert values("state", "l") == ["list"]
    assert "--max-rejects" in values("run", "--max-")
    assert "--dry-run" not in values("plan", "--d")
    assert values("run", "--help", "a") == ["all"]


def test_choices_of_options() -> None:
    assert values("run", "a.csv", "b.csv", "--mode", "") == ["upsert", "insert", "update", "mirror"]
    assert values("undo", "last", "--only", "c") == ["created"]


def test_fields_and_what_follows_them() -> None:
    assert values("inspect", "a.csv", "--map", "external") == ["external_id="]
    assert values("run", "--value", "stat") == ["state:", "status:"]
    assert values("run", "--on-invalid", "phone=") == ["phone=reject", "phone=warn"]
    assert {value.rstrip("=") for value in values("run", "--default", "")} <= set(COLUMNS)
    assert len(values("run", "--default", "")) > 20


def test_profiles_zones_and_topics() -> None:
    assert values("run", "--profile", "shop") == ["shopify-customers"]
    assert completed("run", "--profile", "./mine") == [("file", "./mine")]
    assert set(values("run", "--profile", "")) == {"none", *export_profiles.index()}
    assert values("run", "--timezone", "Europe/Berl") == ["Europe/Berlin"]
    assert values("help", "sch") == ["schema", "schedule"]
    assert values("help", "run", "") == ["all"]
    assert values("explain", "identity") == []
    assert values("explain", "status") == ["status."]


def test_files_are_completed_by_the_shell() -> None:
    assert completed("run", "") == [("file", "")]
    assert completed("run", "crm_") == [("file", "crm_")]
    assert completed("apply", "pla") == [("file", "pla")]
    assert completed("run", "--log", "") == [("file", "")]
    assert completed("run", "--state-dir", "") == [("dir", "")]


def test_schemes_are_offered_with_the_files_that_begin_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("meters.csv").touch()
    Path("other.csv").touch()
    assert values("run", "me") == ["metrifox://", "metronome://", "meters.csv"]
    assert values("run", "a.csv", "duck") == ["duckdb:///"]
    assert values("run", "a.csv", "post") == ["postgresql://"]
    assert {"metronome://", "duckdb:///", "other.csv"} <= set(values("run", "a.csv", ""))
    assert values("doctor", "grow") == ["growpanel://"]


def test_every_provider_is_offered() -> None:
    assert values("sandbox", "") == sorted(PROVIDERS)
    assert values("doctor", "") == [f"{name}://" for name in sorted(PROVIDERS)]
    assert values("connectors", "--losses", "metr") == ["metrifox", "metronome"]


def test_runs_are_offered_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert values("report", "") == ["last"]
    for name in ("20260101T000000-aaaaaa", "20260102T000000-bbbbbb"):
        (tmp_path / ".tranship" / "runs" / name).mkdir(parents=True)
    assert values("report", "") == ["last", "20260102T000000-bbbbbb", "20260101T000000-aaaaaa"]
    assert values("undo", "20260101") == ["20260101T000000-aaaaaa"]


def test_every_completer_belongs_to_a_setting() -> None:
    from tranship.pipelines.settings_model import Settings

    assert set(completion.OF_SETTINGS) <= set(Settings.model_fields)


HEAVY = ("polars", "pandera", "pyarrow", "duckdb", "numpy", "rich", "asyncio", "tranship.connectors.registry")


def python(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRANSHIP_", "_TRANSHIP"))}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=clean | variables, capture_output=True, text=True, check=False
    )


def test_a_key_press_imports_nothing_heavy(tmp_path: Path) -> None:
    typed = [["ru"], ["run", "--ma"], ["run", "a.csv", "me"], ["run", "--map", "na"], ["report", ""], ["explain", "ta"]]
    script = (
        "import json, sys\n"
        "from click.shell_completion import ShellComplete\n"
        "from tranship.pipelines.cli.main import cli\n"
        "shell = ShellComplete(cli, {}, 'tranship', '_TRANSHIP_COMPLETE')\n"
        f"found = [bool(shell.get_completions(words[:-1], words[-1])) for words in {typed!r}]\n"
        f"print(json.dumps([found, sorted(set(sys.modules) & set({HEAVY!r}))]))"
    )
    assert json.loads(python(script, tmp_path).stdout) == [[True] * len(typed), []]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "variables", "answer"),
    [
        ("bash", {"COMP_WORDS": "tranship run a.csv b.csv --mode up", "COMP_CWORD": "5"}, "plain upsert plain update"),
        (
            "zsh",
            {"COMP_WORDS": "tranship run a.csv b.csv --mode up", "COMP_CWORD": "5"},
            "plain upsert _ plain update _",
        ),
        (
            "fish",
            {"COMP_WORDS": "tranship run a.csv b.csv --mode up", "COMP_CWORD": "up"},
            "plain upsert plain update",
        ),
    ],
)
def test_the_command_answers_each_shell(shell: str, variables: dict[str, str], answer: str, tmp_path: Path) -> None:
    script = "import sys; sys.argv = ['tranship']; from tranship import main; main()"
    said = python(script, tmp_path, _TRANSHIP_COMPLETE=f"{shell}_complete", **variables)
    assert said.stdout.replace(",", "\n").split() == answer.split()
    assert said.returncode == 0
    assert not list(tmp_path.iterdir())
    source = python(script, tmp_path, _TRANSHIP_COMPLETE=f"{shell}_source", **variables)
    assert f"_TRANSHIP_COMPLETE={shell}_complete" in source.stdout
    assert source.returncode == 0
    assert f"_TRANSHIP_COMPLETE={shell}_source tranship" in (ROOT / "docs" / "how-to" / "completion.md").read_text()
