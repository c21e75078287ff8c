"""The rejects of a workbook come back as a workbook, which is corrected and read again."""

from __future__ import annotations

import re
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Warehouse, fates
from support.workbooks import workbook
from tranship.connectors import opening
from tranship.pipelines import reject_workbook, settings
from tranship.pipelines import run as flow
from tranship.pipelines.cli import output
from tranship.pipelines.report import Report

ROWS = [
    ["Customer ID", "Name", "Email", "Country", "Currency", "Status", "Zip", "Note"],
    ["1", "Ann", "ann@acme.com", "DE", "EUR", "active", "01067", None],
    ["2", None, "bob@acme.com", "DE", "EUR", "active", "01067", "=1+1"],
    ["3", '=HYPERLINK("http://evil.example")', "c@acme", "Narnia", "EUR", "active", "01067", None],
    [None, "Nobody", None, "DE", "EUR", "active", "01067", None],
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def report(warehouse: Warehouse) -> Report:
    return warehouse.load(workbook(warehouse.folder / "in.xlsx", {"A": [["Customers"], [], *ROWS]}), strict=True)


def sheet(file: str | Path, number: int = 1) -> str:
    with zipfile.ZipFile(file) as archive:
        return archive.read(f"xl/worksheets/sheet{number}.xml").decode()


def part(file: str | Path, name: str) -> str:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name).decode()


def read(file: str | Path) -> pl.DataFrame:
    with closing(opening.open_source(str(file))) as source:
        return pl.concat([batch.read().records for batch in source.parts(Path("pages"))])


def test_the_workbook_has_the_contents_of_the_other_rejects_files(report: Report) -> None:
    found = read(report.files["rejects_workbook"])
    same = pl.read_parquet(report.files["rejects_parquet"]).with_columns(pl.col("_line").cast(pl.String))

    columns = [name for name in same.columns if name in found.columns]
    assert found["_line"].to_list() == ["5", "6", "7"]
    assert found.rows() == same.select(columns).rows()
    assert all(same[name].null_count() == same.height for name in same.columns if name not in columns)


def test_the_workbook_has_no_formulas_or_links(report: Report) -> None:
    xml = sheet(report.files["rejects_workbook"])

    assert "<f>" not in xml
    assert "hyperlink" not in xml


def test_invalid_cells_are_coloured_and_say_why(report: Report) -> None:
    file = report.files["rejects_workbook"]
    coloured = re.findall(r'<c r="([A-Z]+\d+)" s="(\d+)"', sheet(file))
    plain = dict(coloured)["A2"]
    header = dict(coloured)["A1"]

    # A missing name; an invalid e-mail and country; neither id nor e-mail.
    assert [place for place, style in coloured if style not in (plain, header)] == ["B2", "C3", "D3", "A4", "C4"]
    comments = part(file, "xl/comments1.xml")
    assert re.findall(r'<comment ref="(\w+)"', comments) == ["B2", "C3", "D3", "A4", "C4"]
    assert "name is missing: every customer needs a name" in comments
    assert "unknown country" in comments


def test_columns_of_codes_have_a_list(report: Report) -> None:
    lists = re.findall(
        r'sqref="([A-Z]\d:[A-Z]\d)".*?<formula1>(.*?)</formula1>', sheet(report.files["rejects_workbook"])
    )

    assert [place for place, _ in lists] == ["D2:D4", "E2:E4", "F2:F4"]
    for _, source in lists:
        assert re.fullmatch(r"Codes!\$[A-E]\$1:\$[A-E]\$\d+", source)
    assert 'name="Codes" sheetId="2" state="hidden"' in part(report.files["rejects_workbook"], "xl/workbook.xml")


def test_a_corrected_workbook_loads_with_the_command_of_the_summary(
    warehouse: Warehouse, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(report.files["rejects_workbook"])
    step = output._next_steps(report, None)[0]
    assert f"tranship run {file} " in step

    found = read(file).rows()
    names = read(file).columns
    right: dict[str, dict[str, Any]] = {
        "5": {"Name": "Bob"},
        "6": {"Email": "c@acme.com", "Country": "FR"},
        "7": {"Email": "nobody@acme.com"},
    }
    rows = [dict(zip(names, row, strict=True)) for row in found]
    rows = [row | right[row["_line"]] for row in rows]
    workbook(file, {"Rejects": [names, *([row[name] for name in names] for row in rows)]})
    again = warehouse.load(file, strict=True)

    assert fates(again) == {"created": 3}
    assert warehouse.column("zip_code") == ["01067"] * 4
    assert warehouse.column("json_extract_string(metadata, 'Note')") == ["=1+1", None, None, None]


def test_other_sources_have_no_workbook(warehouse: Warehouse) -> None:
    report = warehouse.load([{"external_id": "1", "name": None}])

    assert "rejects" in report.files
    assert not [name for name in report.files if name.startswith("rejects_workbook")]


def test_the_workbook_has_the_first_of_very_many_rejects(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reject_workbook, "MOST_ROWS", 2)
    monkeypatch.setattr(reject_workbook, "MOST_COMMENTS", 1)
    report = warehouse.load(workbook(warehouse.folder / "in.xlsx", {"A": ROWS}), strict=True)

    assert read(report.files["rejects_workbook_part"]).height == 2
    assert part(report.files["rejects_workbook_part"], "xl/comments1.xml").count("<comment ") == 1
    step = output._next_steps(report, None)[0]
    assert f"tranship run {report.files['rejects']} " in step


def test_a_value_that_no_cell_can_hold_is_only_in_the_other_files(warehouse: Warehouse) -> None:
    file = workbook(warehouse.folder / "in.xlsx", {"A": ROWS})
    other = warehouse.folder / "in.csv"
    other.write_text(f"Customer ID,Name,Email,Country,Currency,Status,Zip,Note\n9,,,,,,,{'x' * 40_000}\n")
    given = {"source": [str(file), str(other)], "destination": warehouse.address(), "strict": True}
    report = flow.run(settings.load({**given, "state_dir": warehouse.folder / "state"}, {}))

    assert "rejects_workbook" not in report.files
    assert read(report.files["rejects_workbook_part"])["Note"].str.len_chars().max() == 32_767
