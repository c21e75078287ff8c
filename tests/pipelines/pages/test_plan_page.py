"""plan.html: what is reviewed is what would be done."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from support.commands import told
from support.dom import Element, parsed
from support.example_pages import plan
from tranship.pipelines.pages.plan_page import plan_page
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.run_list import report_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plan(tmp_path_factory.mktemp("plan") / "made").parent


@pytest.fixture(scope="module")
def page(folder: Path) -> Element:
    return parsed((folder / "plan.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "report.json").read_text()))


@pytest.mark.slow
def test_its_counts_are_those_of_the_changes(folder: Path, page: Element) -> None:
    with (folder / "changes.csv").open(encoding="utf-8", newline="") as file:
        counts = Counter(row["type"] for row in csv.DictReader(file))
    assert counts == {"create": 5, "update": 25, "delete": 3, "refuse": 1}
    said = page.one("div", class_="verdict").text
    assert said.startswith("5 to create, 25 to update, 3 to delete; 2 stay as they are; 1 rejected, 1 refused.")
    assert "Nothing has been written yet." in said
    balance = page.one("section", id="records").one("p", class_="balance").text
    assert balance == "34 read = 5 created + 25 updated + 2 unchanged + 1 rejected + 1 refused"


@pytest.mark.slow
def test_refusals_have_reasons_and_names(page: Element) -> None:
    assert page.one("section", id="refused").rows() == [
        ['violates: (length("name") < 30)', "1", "A very long company name with Firm 33, C-33"]
    ]


def test_what_the_table_does_not_store_is_said(page: Element) -> None:
    [[field, fate]] = page.one("section", id="losses").rows()
    assert (field, fate) == ("metadata", "not stored: the table has no such column (--evolve adds one)")


def test_ten_customers_are_shown_field_by_field(page: Element) -> None:
    shown = {one.one("h3").text: one for one in page.one("section", id="samples").all("div", class_="reason")}
    kinds = Counter(title.split(":")[0] for title in shown)
    assert kinds == {"Update": 4, "Create": 3, "Refuse": 1, "Delete": 1}
    assert ["city", "Leeds → Porto"] in shown["Update: Firm 4, C-4"].rows()
    assert ["name", "Firm 31"] in shown["Create: Firm 31, C-31"].rows()
    assert 'Reason: violates: (length("name") < 30)' in next(
        one.text for title, one in shown.items() if title.startswith("Refuse")
    )
    assert "external_id C-1, email desk1@example.com" in shown["Delete: C-1"].text


def test_limits_are_shown_with_what_they_are_compared_with(page: Element) -> None:
    rows = {name: rest for name, *rest in page.one("section", id="limits").rows()}
    assert rows["--max-deletes"] == ["5", "3", "30 customers there"]
    assert rows["--max-rejects"] == ["10%", "1", "34 records"]
    assert rows["--max-changes"] == ["no limit", "25", "30 customers there"]


def test_the_digest_is_shown_and_there_is_room_for_a_signature(page: Element, report: dict[str, object]) -> None:
    digest = str(report["plan_digest"])
    assert len(digest) == 64
    assert page.one("section", id="next").one("code", class_="digest").text == digest
    assert page.one("section", id="next").one("code", class_="command").text.endswith(f"--expect {digest[:16]}")
    assert digest in page.one("section", id="signature").text
    assert [line.text for line in page.all("p", class_="rule")] == ["Name", "Date", "Signature"]


def test_without_samples_no_customer_is_shown(folder: Path) -> None:
    directory = RunDirectory.at(folder)
    directory.manifest["settings"]["report_samples"] = "off"
    found = report_of(directory)
    assert found is not None
    page = plan_page(found, directory)
    assert "Firm" not in page
    assert "desk" not in page
    assert "5 to create" in page


@pytest.mark.slow
def test_an_applied_plan_says_so(tmp_path: Path) -> None:
    place = plan(tmp_path / "made").parent
    digest = json.loads((place / "report.json").read_text())["plan_digest"]
    refused = told("apply", str(place), "--expect", "0" * 16)
    assert refused[0] == 2
    assert f"the digest of this plan is {digest[:16]}…" in refused[2]
    assert "Nothing was written." in refused[2]
    assert told("apply", str(place), "--expect", digest[:16])[0] == 4
    page = parsed((place / "plan.html").read_text(encoding="utf-8"))
    assert page.one("div", class_="verdict").text.startswith("This plan has been applied. It was: 5 to create")
    assert not page.all("section", id="next")
    # It is the same plan.
    assert json.loads((place / "report.json").read_text())["plan_digest"] == digest
