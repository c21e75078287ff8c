"""The rejects of a run as a workbook: what it contains, and what helps to correct it."""

from __future__ import annotations

import re
import zipfile
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import tranship
from support.warehouse import Warehouse
from support.workbooks import workbook
from tranship.connectors import opening
from tranship.pipelines.fixing import workbook as module
from tranship.pipelines.fixing.columns import ADDED
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
def file(warehouse: Warehouse) -> Path:
    report = warehouse.load(
        workbook(warehouse.folder / "in.xlsx", {"A": [["Customers"], [], *ROWS]}), strict=True, report_samples="off"
    )
    return given_out(warehouse, report)


def given_out(warehouse: Warehouse, report: Report) -> Path:
    file = warehouse.folder / "rejects.xlsx"
    return Path(tranship.fix(report.run_id, out=file, state_dir=warehouse.folder / "state").file)


def sheet(file: str | Path, number: int = 1) -> str:
    with zipfile.ZipFile(file) as archive:
        return archive.read(f"xl/worksheets/sheet{number}.xml").decode()


def part(file: str | Path, name: str) -> str:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name).decode()


def read(file: str | Path) -> pl.DataFrame:
    with closing(opening.open_source(str(file))) as source:
        return pl.concat([batch.read().records for batch in source.parts(Path("pages"))])


def test_the_workbook_has_the_rejects_as_they_were(file: Path) -> None:
    found = read(file)

    assert found.columns == [*ROWS[0], *ADDED]
    assert found["_line"].to_list() == ["5", "6", "7"]
    assert [row[:8] for row in found.rows()] == [tuple(row) for row in ROWS[2:]]
    assert found["_action"].null_count() == found["_text"].null_count() == 3
    assert found["_record"].str.extract(r"#(\d)$").to_list() == ["1", "2", "3"]


def test_the_workbook_has_no_formulas_or_links(file: Path) -> None:
    xml = sheet(file)

    assert "<f>" not in xml
    assert "hyperlink" not in xml


def test_invalid_cells_are_coloured_and_say_why(file: Path) -> None:
    coloured = re.findall(r'<c r="([A-Z]+\d+)" s="(\d+)"', sheet(file))
    plain = dict(coloured)["A2"]
    header = dict(coloured)["A1"]

    # A missing name; an invalid e-mail and country; neither id nor e-mail.
    assert [place for place, style in coloured if style not in (plain, header)] == ["B2", "C3", "D3", "A4", "C4"]
    comments = part(file, "xl/comments1.xml")
    assert re.findall(r'<comment ref="(\w+)"', comments) == ["B2", "C3", "D3", "A4", "C4"]
    assert "name is missing: every customer needs a name" in comments
    assert "unknown country" in comments


def test_columns_of_codes_have_a_list(file: Path) -> None:
    lists = re.findall(r'sqref="([A-Z]\d:[A-Z]\d)".*?<formula1>(.*?)</formula1>', sheet(file))

    assert [place for place, _ in lists] == ["D2:D4", "E2:E4", "F2:F4", "I2:I4"]
    assert lists.pop()[1] == '"load,drop,leave open"'
    for _, source in lists:
        assert re.fullmatch(r"Codes!\$[A-E]\$1:\$[A-E]\$\d+", source)
    assert 'name="Codes" sheetId="2" state="hidden"' in part(file, "xl/workbook.xml")


def test_the_workbook_has_the_first_of_very_many_rejects(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    monkeypatch.setattr(module, "MOST_COMMENTS", 1)
    report = warehouse.load(workbook(warehouse.folder / "in.xlsx", {"A": ROWS}), strict=True)
    done = tranship.fix(report.run_id, out=warehouse.folder / "r.xlsx", state_dir=warehouse.folder / "state")

    assert (done.rows, read(done.file).height) == (2, 2)
    assert done.notes == ("1 reject more than a workbook takes. A .csv file has all: --out r.csv",)
    assert part(done.file, "xl/comments1.xml").count("<comment ") == 1


@pytest.mark.slow
def test_a_value_that_no_cell_can_hold_is_loaded_whole(warehouse: Warehouse) -> None:
    file = warehouse.folder / "in.csv"
    file.write_text(f"Customer ID,Name,Email,Note\n9,,a@acme.com,{'x' * 40_000}\n")
    report = warehouse.load(file)
    rejects = given_out(warehouse, report)
    found = read(rejects)
    assert found["Note"].str.len_chars().max() == 32_767
    workbook(rejects, {"Rejects": [found.columns, ["9", "Ann", *found.row(0)[2:]]]})
    done = tranship.fix(report.run_id, rejects, state_dir=warehouse.folder / "state")

    assert done.fixes.loaded == 1
    assert warehouse.column("length(metadata->>'Note')") == [40_000]


def test_cells_that_a_table_does_not_accept_are_coloured(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR PRIMARY KEY, name VARCHAR, country VARCHAR NOT NULL)")
    records = [{"id": "1", "name": "Ann", "Land": None}]
    file = given_out(warehouse, warehouse.load(records, create="never"))

    assert re.findall(r'<comment ref="(\w+)"', part(file, "xl/comments1.xml")) == ["C2"]
    assert "must_have_a_value: country" in part(file, "xl/comments1.xml")
