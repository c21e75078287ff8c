"""Options of connectors of other packages: those that the connectors of a run declare, and unknown ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import tranship
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run, settings, settings_file
from tranship.pipelines.report import Report

TABLE = "toydb:///a.toydb?table=t"

pytestmark = pytest.mark.usefixtures("toy_database")


def load(options: dict[str, Any], source: str = TABLE) -> Report:
    return tranship.run(source, "duckdb:///to.duckdb?table=t", options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 2}, r"option row: is not an option of toydb or DuckDB. Did you mean rows\?"),
        ({"zzz": 2}, r"option zzz: is not an option of toydb or DuckDB. The options are: loud, rows."),
        (
            {"encoding": "utf-8"},
            r"option encoding: is a setting, not an option of a connector\. Set encoding instead\.",
        ),
        ({"rows": "many"}, "toydb: option rows: is not a whole number"),
        ({"rows": None}, "options"),
        (["rows"], "options"),
    ],
)
def test_an_option_that_cannot_be_used_is_explained(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(options)
    assert not list(Path().glob(".tranship/runs/*"))


def test_an_option_for_connectors_without_options_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"option rows: is not an option of Parquet or DuckDB\. Remove it\."):
        load({"rows": 2}, "a.parquet")


@pytest.mark.slow
def test_an_option_decides_what_is_read() -> None:
    assert load({"rows": 2}).counts.created == 2
    report = load({"rows": 3, "loud": True})
    assert (report.counts.created, report.counts.updated) == (1, 2)


def test_an_option_is_text_however_it_is_given() -> None:
    one, other = (
        settings.load({"source": TABLE, "destination": "duckdb:///to.duckdb", "options": {"rows": rows}}, {})
        for rows in (2, "2")
    )
    assert one == other


def test_inspect_takes_options_and_writes_them_down() -> None:
    reading = settings.reading_from_command(TABLE, {"options": {"rows": 2, "loud": False}}, {})
    found = run.inspect(reading, 10)
    assert found.records == 2
    Path("pipeline.toml").write_text(settings_file.pipeline_toml(found, reading), encoding="utf-8")
    again = settings.load({}, {}, Path("pipeline.toml"))
    assert again.options == {"rows": "2", "loud": "false"}


def test_options_of_file_environment_and_command_are_merged() -> None:
    Path("p.toml").write_text(f'source = "{TABLE}"\ndestination = "x.csv"\n[options]\nrows = 1\nloud = true\n')
    merged = settings.load({"options": {"rows": "3"}}, {"TRANSHIP_OPTIONS": "rows=2"}, Path("p.toml"))
    assert merged.options == {"rows": "3", "loud": "true"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("in.csv", {"sheet": "Customers"}, "--sheet: applies only to Excel, but this run reads CSV. Leave it out."),
        ("in.jsonl", {"encoding": "cp1252"}, "--encoding: applies only to CSV, but this run reads JSON. Leave it out."),
        ("in.jsonl", {"header_line": 2}, "--header-line: applies only to CSV and Excel, but this run reads JSON."),
        ("in.parquet", {"header": False}, "--no-header: applies only to CSV and Excel, but this run reads Parquet."),
        ("in.parquet", {"delimiter": ";"}, "--delimiter: applies only to CSV, but this run reads Parquet."),
        ("duckdb:///in.duckdb?table=t", {"skip_lines": 1}, "--skip-lines: .* this run reads DuckDB. Leave it out."),
        ("in.csv", {"raw": True}, "--raw: applies only to CSV files, and duckdb:///to.duckdb.* is not one."),
    ],
)
def test_an_option_of_a_format_that_is_not_read_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    frame = pl.DataFrame({"id": ["1"], "name": ["Ann"]})
    frame.write_csv("in.csv")
    frame.write_ndjson("in.jsonl")
    frame.write_parquet("in.parquet")
    with duckdb.connect("in.duckdb") as database:
        database.execute("CREATE TABLE t AS FROM 'in.parquet'").fetchall()
    with pytest.raises(ConfigError, match=message):
        tranship.run(name, "duckdb:///to.duckdb?table=t", **options)


def test_an_option_is_used_for_those_of_several_sources_that_have_it() -> None:
    Path("in.csv").write_text("id;name\n1;Ann\n")
    pl.DataFrame({"id": ["2"], "name": ["Bob"]}).write_parquet("in.parquet")
    report = tranship.run(["in.parquet", "in.csv"], "duckdb:///to.duckdb?table=t", delimiter=";")
    assert report.counts.created == 2
