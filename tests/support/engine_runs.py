"""Runs on an engine beside the same runs on one machine: their sources, reports, files for people and datasets."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import polars as pl

import tranship
from tranship.pipelines.report import Report

SAME = ("counts", "status", "rejects_by_code", "warnings_by_code", "merges_by_rule", "examples", "columns", "kept")
ALL: dict[str, Any] = {"max_conflicts": "100%"}
OPTIONS: dict[str, Any] = {**ALL, "fields": {"name": "Name"}}


def moved(*given: Any, **options: Any) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tranship.run(*given, **options)


def messy(seed: int, rows: int = 300) -> str:
    """Records with ties, shared and ambiguous keys, broken and quoted lines, values that are refused or left out."""
    dice = random.Random(seed)
    lines = ["Customer ID,email,Name,phone,updated_at,note"]
    for at in range(rows):
        key = dice.choice(["", f"{at // 6}", f"{at // 6}", f"{at // 6}b", "n/a"])
        email = dice.choice(["", f"x@w{at // 9}.co", f"X@W{at // 9}.co", f"y@w{at // 9}.co", "no address"])
        name = dice.choice(["Ann", "ANN", "Bob", '"Bo\nBo"', '"A ""B"""', ""])
        time = dice.choice(["2024-01-01", "2024-01-02T10:00:00+02:00", "", "soon"])
        note = dice.choice(["", "a", "x" * 300])
        lines.append(f"{key},{email},{name},{dice.choice(['', 'call me'])},{time},{note}")
        if dice.random() < 0.03:
            lines.append(dice.choice(["too,few", "1,2,3,4,5,6,7,8", lines[0], 'a,"b"c,d"']))
    return "\n".join(lines) + "\n"


def assert_same(many: Report, one: Report) -> None:
    """Assert that both runs have read the same into the same: whole files, and the report."""
    ours, theirs = (json.loads(report.to_json()) for report in (many, one))
    for name in SAME:
        assert ours[name] == theirs[name], name
    folders = [Path(report.run_dir) for report in (many, one)]
    assert sorted(ours["files"]) == sorted(theirs["files"])
    rejects = [(folder / "rejects.csv").read_bytes() if "rejects" in one.files else b"" for folder in folders]
    assert rejects[0] == rejects[1]
    for name in ("merges", "warnings"):
        found, expected = (pl.read_parquet(folder / f"{name}.parquet") for folder in folders)
        assert found.schema == expected.schema
        if name == "merges":
            assert found.rows() == expected.rows()
        assert found.sort(pl.all()).rows() == expected.sort(pl.all()).rows()


def current(folder: Path) -> pl.DataFrame:
    """Return the customers of a dataset, as readers find them."""
    pointer = json.loads((folder / "_current.json").read_text())
    return pl.read_parquet(folder / pointer["folder"] / "*.parquet")


def assert_same_customers(folder: Path, file: Path) -> None:
    found, expected = current(folder), pl.read_parquet(file)
    assert found.schema == expected.schema
    assert found.sort(pl.all()).rows() == expected.sort(pl.all()).rows()
