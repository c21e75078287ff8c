"""Every file of sample_data/ gives the result in its README, which was worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tranship.pipelines.cli import main as cli

FOLDER = Path(__file__).resolve().parent.parent / "sample_data"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")
BY_CODE = ("rejects_by_code", "warnings_by_code", "merges_by_rule")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Load one file with the command, into the same table each time; return the report."""
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> dict[str, Any]:
        given = [str(FOLDER / name), "duckdb:///w.duckdb", *EXPECTED[name]["options"], "--json"]
        code = cli.main(["run", *given])
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert report["exit_code"] == code
        return report

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_counts_are_as_expected(name: str, run: Any) -> None:
    expected = EXPECTED[name]
    report = run(name)
    assert {count: report["counts"][count] for count in expected["counts"]} == expected["counts"]
    assert {which: report[which] for which in BY_CODE} == {which: expected[which] for which in BY_CODE}
    assert report["exit_code"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_second_run_writes_nothing(name: str, run: Any, tmp_path: Path) -> None:
    def stored() -> pl.DataFrame:
        with duckdb.connect(tmp_path / "w.duckdb", read_only=True) as warehouse:
            return warehouse.sql("SELECT * FROM customers ORDER BY customer_key").pl()

    first = run(name)
    before = stored()
    assert before.height == first["counts"]["created"]
    again = run(name)
    assert stored().equals(before)
    assert again["counts"] == first["counts"] | {"created": 0, "unchanged": first["counts"]["created"]}


def test_every_file_is_expected() -> None:
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    described = {name for name in EXPECTED if (FOLDER / name).is_file()}
    assert files - described == {"README.md", "expected.json", ".gitattributes"}


# The README's two tables say the same ---------------------------------------------------------------------------


def rows(head: str) -> list[list[str]]:
    table = re.search(rf"^\| {re.escape(head)}.*\n\|[-:|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert table, f"sample_data/README.md: no table {head!r}"
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table[1].splitlines()]


def counted(cell: str) -> dict[str, int]:
    return {code: int(count) for code, count in (pair.rsplit(" ", 1) for pair in cell.split(", ") if pair)}


def test_the_readme_has_the_expected_counts_and_codes() -> None:
    names = ("read", "rejected", "merged", "created", "warnings")
    said = {
        row[0]: (dict(zip(names, map(int, row[1:6]), strict=True)), counted(row[6])) for row in rows("file | read |")
    }
    assert said == {name: (values["counts"], values["rejects_by_code"]) for name, values in EXPECTED.items()}


def test_the_readme_has_the_expected_merges_and_warnings() -> None:
    said = {
        row[0]: ({"external_id": int(row[1]), "email": int(row[2])}, counted(row[3] if len(row) > 3 else ""))
        for row in rows("file | merged by external_id |")
    }
    assert said == {name: (values["merges_by_rule"], values["warnings_by_code"]) for name, values in EXPECTED.items()}


def test_the_readme_shows_the_options() -> None:
    for name, values in EXPECTED.items():
        if values["options"]:
            command = re.search(rf"^tranship run sample_data/{re.escape(name)} (.*?)\n```", README, re.DOTALL | re.M)
            assert command, f"sample_data/README.md: no command for {name}"
            words = command[1].replace("\\\n", " ").replace('"', "").split()
            assert words[1:] == values["options"]
