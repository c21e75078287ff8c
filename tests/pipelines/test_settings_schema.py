"""The schema of settings files accepts what a run accepts, and marks what it refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.commands import told
from tranship.connectors.errors import ConfigError
from tranship.pipelines.settings import from_command
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.settings_schema import settings_schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = settings_schema()
VALID = jsonschema.Draft202012Validator(SCHEMA)
ENDS = 'source = "a.csv"\ndestination = "b.csv"\n'
SEVERAL = 'max_rejects = "2%"\n[pipelines.crm]\nsource = "a.csv"\ndestination = "b.csv"\n'


def test_it_is_a_schema_of_all_settings() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == {*Settings.model_fields, "pipelines", "recognise"}
    assert set(SCHEMA["$defs"]["pipeline"]["properties"]) == set(Settings.model_fields) - {"pipeline"}
    assert json.loads(told("schema")[1]) == SCHEMA


def _blocks() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            found.append((page.name, tomllib.loads(block)))
    return found


def test_settings_files_of_the_documentation_are_valid() -> None:
    known = _blocks()
    for name, content in known:
        assert not [error.message for error in VALID.iter_errors(content)], name
    assert any("pipelines" in content for _, content in known)


@pytest.mark.parametrize(
    "line",
    [
        "max_rejects = 0",
        "max_rejects = 0.02",
        'max_rejects = "2%"',
        'max_rejects = "${MOST}"',
        'ignore = "Notes"',
        'ignore = ["Notes"]',
        'alert = "env:SLACK_URL"',
        '[[alert]]\nto = "env:SLACK_URL"\nwhen = ["failed"]',
        "lock_timeout = 0",
        "header = false",
        'workers = "${MOST}"',
        "[defaults]\nnet_terms = 30",
        '[values.status]\n"1" = "active"',
        "[options]\nanswer_mb = 512",
        "[expect]\nduration = '30min'",
    ],
)
def test_what_a_run_accepts_is_valid(line: str, tmp_path: Path) -> None:
    of_a_pipeline = re.sub(r"^(\[+)", r"\1pipelines.crm.", line, flags=re.MULTILINE)
    for text in (f"{ENDS}{line}", f"{SEVERAL}{of_a_pipeline}"):
        file = tmp_path / "p.toml"
        file.write_text(text, encoding="utf-8")
        from_command((str(file),), None, {}, {"MOST": "5"})
        assert not [error.message for error in VALID.iter_errors(tomllib.loads(text))], text


@pytest.mark.parametrize(
    "line",
    [
        "max_reject = 0",
        'mode = "upsrt"',
        'workers = "many"',
        "header = 3",
        "[defaults]\nname = ['a']",
        'pace = "quick"',
    ],
)
def test_what_a_run_refuses_is_marked(line: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"{ENDS}{line}", encoding="utf-8")
    with pytest.raises(ConfigError):
        from_command((str(file),), None, {}, {})
    assert not VALID.is_valid(tomllib.loads(f"{ENDS}{line}"))


@pytest.mark.parametrize(
    "text",
    ["", 'source = "a.csv"', "[pipelines]", "[pipelines.crm]\nnonsense = 1", '[pipelines."a b"]\nmode = "upsert"'],
)
def test_a_file_without_its_ends_or_with_a_wrong_pipeline_is_marked(text: str) -> None:
    assert not VALID.is_valid(tomllib.loads(text))
