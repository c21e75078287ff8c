"""The examples for clusters, run with local folders on the engine of these tests."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from support.engines import IS_SPARK, ROOT, collected

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
PLACE = '"_metadata.file_path", "_metadata.row_index"'
"""The place of a row of a Parquet file, which Apache Spark knows and Sail does not."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of records; on Sail, with the columns that Apache Spark gives."""
    folder = tmp_path / "in"
    folder.mkdir()
    records = pl.DataFrame({"id": ["1", "1", None], "email": ["a@x.co", "a@x.co", "bad"], "name": ["A", "B", "C"]})
    if not IS_SPARK:
        records = records.with_columns(file_path=pl.lit("file.parquet"), row_index=pl.int_range(3))
    records.write_parquet(folder / "file.parquet")
    return folder


def text_of(example: str) -> str:
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    assert text.count(PLACE) == 1
    return text if IS_SPARK else text.replace(f", {PLACE}", "")


class Ended(Exception):
    """The notebook has ended with these words."""


class Widgets:
    def __init__(self, **values: str) -> None:
        self.values = values
        self.shown: list[str] = []

    def text(self, name: str, default: str, label: str) -> None:
        assert default
        assert label
        self.shown.append(name)

    def get(self, name: str) -> str:
        assert name in self.shown
        return self.values[name]


class Notebook:
    """What Databricks gives to a notebook beside `spark`: `dbutils`, as far as the example uses it."""

    def __init__(self, **values: str) -> None:
        self.widgets, self.fs, self.notebook = Widgets(**values), self, self

    def rm(self, folder: str, *, recurse: bool) -> None:
        assert recurse
        shutil.rmtree(folder)

    def exit(self, words: str) -> None:
        raise Ended(words)


def cells(text: str) -> list[str]:
    head, *rest = re.split(
        r"^# COMMAND ----------$", text.removeprefix("# Databricks notebook source\n"), flags=re.MULTILINE
    )
    return [head, *rest]


def test_the_notebook_is_in_the_format_of_databricks() -> None:
    text = (EXAMPLES / "databricks_notebook.py").read_text(encoding="utf-8")
    assert text.startswith("# Databricks notebook source\n")
    kinds = [set(re.findall(r"^# MAGIC (%\w+)", cell, re.MULTILINE)) for cell in cells(text)]
    assert kinds[0] == {"%md"}
    assert {"%pip"} in kinds
    for cell, kind in zip(cells(text), kinds, strict=True):
        lines = [line for line in cell.splitlines() if line.strip()]
        assert all(line.startswith("# MAGIC") == bool(kind) for line in lines), "a cell is of one language"


def test_the_cells_of_the_notebook_run(
    spark: SparkSession, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown: list[pl.DataFrame] = []
    dbutils = Notebook(source=str(source), work=str(tmp_path / "work"), table="customers")
    names: dict[str, Any] = {
        **{"spark": spark, "dbutils": dbutils, "display": lambda df: shown.append(collected(df))},
    }
    *first, last = cells(text_of("databricks_notebook.py"))
    for cell in first:
        exec(cell, names)
    with pytest.raises(Ended, match=r"^customers: 1, rejected: 1$"):
        exec(last, names)
    try:
        customers = collected(spark.table("customers"))
        assert customers.select("customer_key", "name", "_line").rows() == [("1", "B", 1)]
        assert collected(spark.table("customers_rejects"))["id"].to_list() == [None]
        assert [frame["count"].to_list() for frame in shown] == [[1]]
        assert not [*(tmp_path / "work").iterdir()]
    finally:
        spark.sql("DROP TABLE IF EXISTS customers")
        spark.sql("DROP TABLE IF EXISTS customers_rejects")


def test_the_job_runs(
    spark: SparkSession,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tranship.pipelines.distributed.cleaned import Ledger

    job = tmp_path / "clean_customers.py"
    job.write_text(text_of(job.name), encoding="utf-8")
    folders = {name: tmp_path / name for name in ("results", "work")}
    options = ["--source", source, *(word for name, folder in folders.items() for word in (f"--{name}", folder))]
    monkeypatch.setattr(sys, "argv", [job.name, *map(str, options)])
    runpy.run_path(str(job), run_name="__main__")
    said = capsys.readouterr().out
    assert str(Ledger(3, 0, 1, 1, 1, {"email.syntax": 1}, {}, {"external_id": 1, "email": 0})) in said
    customers = collected(spark.read.parquet(str(folders["results"] / "customers")))
    assert customers.select("customer_key", "name", "_line").rows() == [("1", "B", 1)]
    [folder] = folders["work"].iterdir()
    assert f"to be removed: {folder}" in said
