"""The recipes in examples/, and the environments in which `make recipes` has installed their tools."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from tranship.pipelines.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
PIPELINE = EXAMPLES / "crm.toml"
NEEDED = set(re.findall(r"\$\{(\w+)\}", PIPELINE.read_text(encoding="utf-8")))
"""The variables without which the pipeline cannot start."""
VARIABLES = NEEDED | {tomllib.loads(PIPELINE.read_text(encoding="utf-8"))["alert"][0]["to"].removeprefix("env:")}


INSTALLED = Path(os.environ.get("TRANSHIP_RECIPES", ROOT / "build" / "recipes")).absolute()
"""The folder of environments, one for each tool. It is read here, because tests run without variables of Tranship."""


def required(environment: str, program: str) -> Path:
    """Return a program of an environment; skip the test if it is not installed."""
    path = INSTALLED / environment / "bin" / program
    if not path.exists():
        pytest.skip(f"make recipes installs {environment}")
    return path


def assert_valid(command: str) -> None:
    """Fail unless these are the words of a command of Tranship, with options that it has."""
    words = shlex.split(command)
    assert words[0] in cli.commands, command
    cli.commands[words[0]].make_context(words[0], words[1:])


def night(folder: Path, alert: str = "http://localhost/") -> dict[str, str]:
    """Return the variables of the pipeline for a load of the sample data into a table in `folder`. After a good night,
    no alert is due."""
    return {
        "CRM_SOURCE": str(ROOT / "sample_data" / "crm_export.csv"),
        "CRM_DESTINATION": f"duckdb:///{folder}/warehouse.duckdb?table=customers",
        "CRM_ALERT": alert,
        "TRANSHIP_STATE_DIR": str(folder / "state"),
        "TRANSHIP_MAX_REJECTS": "30%",
    }


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings of the tests' own Python and of Tranship."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSHIP", "CRM_"))}


def door(folder: Path) -> Path:
    """Write the command `tranship` into a folder of programs, as an installation has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tranship"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tranship "$@"\n')
    path.chmod(0o755)
    return path
