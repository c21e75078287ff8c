"""Standard output as a destination: the records and nothing else, all of them or a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.warehouse import write_csv
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import main as cli

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "=Ann"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "in.csv", [ANN])
    return tmp_path


@pytest.mark.parametrize(
    ("words", "line"), [([], "1,ann@acme.com,'=Ann,"), (["--format", "tsv"], "1\tann@acme.com\t'=Ann\t")]
)
def test_records_are_printed_as_csv(words: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "in.csv", "-", *words]) == 0
    out, err = capfd.readouterr()
    header, record = out.splitlines()
    assert header[:20] == f"external_id{line[1]}email{line[1]}na"
    assert record.startswith(line)
    assert "created 1" in err


def test_records_are_printed_as_json_lines(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "in.csv", "-", "--format", "jsonl", "--quiet"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert {name: value for name, value in record.items() if value is not None} == ANN


def test_nothing_is_printed_of_a_plan_or_a_run_that_stops(capfd: pytest.CaptureFixture[str]) -> None:
    write_csv(Path("in.csv"), [ANN, {**ANN, "external_id": "2", "name": None}])
    assert cli.main(["run", "in.csv", "-", "--max-rejects", "0"]) == 5
    assert cli.main(["run", "in.csv", "-", "--dry-run", "--quiet"]) == 4
    assert cli.main(["plan", "in.csv", "-", "--out", "plan", "--quiet"]) == 4
    assert capfd.readouterr().out == ""
    assert cli.main(["apply", "plan", "--quiet"]) == 4
    assert capfd.readouterr().out.splitlines()[1].startswith("1,ann@acme.com,")
    assert not list(Path().rglob("*.partial"))


@pytest.mark.parametrize("command", ["run", "apply", "resume"])
def test_the_report_is_not_mixed_with_the_records(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["plan", "in.csv", "-", "--out", "plan", "--quiet"])
    cli.main(["run", "in.csv", "-", "--dry-run", "--quiet"])
    words = {"run": ["run", "in.csv", "-"], "apply": ["apply", "plan"], "resume": ["resume", "last"]}[command]
    assert cli.main([*words, "--json"]) == 2
    assert "--json: standard output is the destination of the records" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "mirror", "max_deletes": "1"}, "a file is written whole; --mode mirror needs a table"),
        ({"destination": "out.csv", "format": "jsonl"}, "format applies only to standard output"),
        ({"columns": {"name": "firma"}}, "is not a table"),
    ],
)
def test_unsupported_uses_of_standard_output_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        flow.run(settings.load({"source": "in.csv", "destination": "-", **options}, {}))


def test_standard_output_cannot_be_compared_with() -> None:
    with pytest.raises(ConfigError, match="standard output cannot be read"):
        flow.verify(settings.load({"source": "in.csv", "destination": "-"}, {}))


@pytest.mark.slow
def test_a_closed_pipe_is_an_error_without_traceback() -> None:
    write_csv(Path("in.csv"), [{**ANN, "external_id": f"c{n}", "city": "x" * 200} for n in range(8_000)])
    words = [sys.executable, "-m", "tranship", "run", "in.csv", "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 3
    assert "Error: standard output: the reader closed it before all records were written." in err
    assert "continue with: tranship resume" in err
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.slow
def test_a_source_is_not_printed_to_its_own_end() -> None:
    before = Path("in.csv").read_text()
    with Path("in.csv").open("a") as out:
        words = [sys.executable, "-m", "tranship", "run", "in.csv", "-"]
        ran = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 2
    assert "cannot be the destination, because it is read by this run" in ran.stderr
    assert Path("in.csv").read_text() == before
