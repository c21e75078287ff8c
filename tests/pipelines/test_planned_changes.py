"""changes.csv of a plan."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from support.commands import told
from tranship.pipelines import planned_changes


def planned(folder: Path, text: str, *options: str) -> list[dict[str, str]]:
    """Load two customers, plan another file, and return the rows of its changes."""
    first, second = folder / "first.csv", folder / "second.csv"
    first.write_text(
        "id,email,name,status,phone,updated_at\n"
        "1,a@x.co,A,active,+4930123456,2024-01-01\n2,b@x.co,B,trial,,2024-01-01\n3,c@x.co,=C,active,,2024-01-01\n"
    )
    second.write_text(text)
    address, state = f"duckdb:///{folder}/w.duckdb?table=c", ("--state-dir", str(folder / "state"))
    assert told("run", str(first), address, *state)[0] == 0
    code, _, said = told("plan", str(second), address, "--out", str(folder / "plan"), *state, *options)
    assert code in (0, 4), said
    assert planned_changes.BEFORE == "before_"
    with (folder / "plan" / "changes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_has_a_type_and_all_new_values(tmp_path: Path) -> None:
    rows = planned(
        tmp_path,
        "id,email,name,status,phone,updated_at\n"
        "1,a@x.co,A,suspended,+4930123456,2024-02-01\n3,c@x.co,=C,active,,2024-01-01\n4,d@x.co,D,active,,2024-02-01\n",
        *("--mode", "mirror", "--max-deletes", "5"),
    )
    kinds = [(row["type"], row["external_id"], row["line"]) for row in rows]
    assert kinds == [("update", "1", "2"), ("create", "4", "4"), ("delete", "2", "")]
    update, create, delete = rows
    assert (update["changed"], update["status"], update["before_status"]) == (
        "status; updated_at",
        "suspended",
        "active",
    )
    assert (update["updated_at"], update["before_updated_at"]) == ("2024-02-01T00:00:00Z", "2024-01-01T00:00:00Z")
    assert (update["phone"], update["name"]) == ("+4930123456", "A")
    assert (create["name"], create["email"], create["before_status"]) == ("D", "d@x.co", "")
    assert (delete["email"], delete["name"]) == ("b@x.co", "")


def test_refusals_have_their_reason_and_values(tmp_path: Path) -> None:
    rows = planned(tmp_path, "id,email,name\n1,a@x.co,Other\n9,e@x.co,=1+1\n", "--mode", "insert")
    assert [(row["type"], row["reason"], row["name"]) for row in rows] == [
        ("refuse", "already_there", "Other"),
        ("create", "", "'=1+1"),
    ]


@pytest.mark.slow
def test_a_plan_that_changes_nothing_has_a_header_only(tmp_path: Path) -> None:
    assert planned(tmp_path, "id,email,name\n1,a@x.co,A\n") == []
    header = (tmp_path / "plan" / "changes.csv").read_text()
    assert header.startswith("type,source,line,reason,changed,external_id,email,name,")


@pytest.mark.slow
def test_merged_records_are_one_row(tmp_path: Path) -> None:
    rows = planned(
        tmp_path,
        "id,email,name,status,updated_at\n7,g@x.co,Old,trial,2024-01-01\n7,g@x.co,New,active,2024-02-01\n",
        "--fill",
    )
    assert [(row["type"], row["name"], row["status"]) for row in rows] == [("create", "New", "active")]
    plan = pl.read_parquet(tmp_path / "plan" / "plan.parquet")
    assert plan.filter(action="create").height == 1
