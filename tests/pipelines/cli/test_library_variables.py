"""Environment variables with which a library cannot work: named in one sentence, with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli.library_variables import likely_cause


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value"), [("POLARS_MAX_THREADS", "0"), ("PANDERA_VALIDATION_DEPTH", "everything")]
)
def test_a_variable_that_ends_a_library_is_named(variable: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,name\n1,Ann\n")
    said = subprocess.run(
        [sys.executable, "-m", "tranship", "run", "in.csv", "out.csv"],
        env={**os.environ, variable: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert variable in said.stderr
    assert "Unset" in said.stderr
    assert not (tmp_path / "out.csv").exists()


def failure() -> BaseException:
    try:
        pl.DataFrame({"a": ["jane@example.com"]}).select("b")
    except pl.exceptions.PolarsError as error:
        return error
    raise AssertionError


def test_only_variables_of_the_library_that_failed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDERA_VALIDATION_ENABLED", "1")
    assert likely_cause(failure()) is None
    monkeypatch.setenv("POLARS_VERBOSE", "1")
    cause = likely_cause(failure())
    assert "POLARS_VERBOSE" in str(cause)
    assert "PANDERA" not in str(cause)
    assert "jane" not in str(cause)
    assert likely_cause(RuntimeError("ours")) is None
    assert likely_cause(ConfigError("a sentence already")) is None
