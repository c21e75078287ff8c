"""migration.html: what a migration has done, what is left, and its proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.dom import Element, parsed
from support.example_pages import migration
from tranship.pipelines.pages.migration_page import migration_page
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.run_list import report_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return migration(tmp_path_factory.mktemp("migration") / "made")


@pytest.fixture(scope="module")
def page(pages: dict[str, Path]) -> Element:
    return parsed(pages["migration"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(pages: dict[str, Path]) -> Path:
    return pages["migration"].parent


def test_the_verdict_is_proven_by_the_verification(page: Element, folder: Path) -> None:
    said = page.one("div", class_="verdict").text
    assert said.startswith("59 created, 0 updated, 0 were there already; 1 refused, 1 rejected.")
    assert "Verified by reading everything back: 59 customers equal, 0 different or missing." in said
    rows = dict(page.one("section", id="proof").all("table")[0].rows())
    kept = json.loads((folder / "verification.json").read_text())
    assert {name.replace(" ", "_"): int(count) for name, count in rows.items()} == kept["counts"]


def test_every_record_and_what_is_left(page: Element) -> None:
    balance = page.one("section", id="records").one("p", class_="balance").text
    assert balance == "61 read = 59 created + 1 rejected + 1 refused"
    left = {name: count for name, count, _ in page.one("section", id="left").rows()}
    assert left == {"refused": "1", "rejected": "1"}
    assert page.one("section", id="refused").rows() == [["country.missing: GrowPanel requires it", "1", "Firm 7, C-7"]]


def test_requests_are_those_of_all_processes(page: Element, folder: Path) -> None:
    section = page.one("section", id="traffic")
    processes = json.loads((folder / "traffic.json").read_text())["processes"]
    assert len(processes) == 2
    requests = sum(process["points"][-1][2] for process in processes)
    throttled = sum(process["points"][-1][4] for process in processes)
    assert f"requests {requests}, for 59 customers" in section.text
    assert f"answers with 429 {throttled}, which cost" in section.text
    assert throttled > 0
    cards = [(card.one("small").text, card.one("strong").text) for card in section.all("div", class_="card")]
    # Ten customers were written by the first process, the others by the second.
    assert [count for name, count in cards if name == "customers"] == ["10", "49"]
    assert sum(int(count) for name, count in cards if name == "answers with 429") == throttled


def test_the_map_of_ids_is_linked(page: Element) -> None:
    section = page.one("section", id="ids")
    assert section.one("a").attributes["href"] == "crosswalk.csv"
    assert ["", "C-0", "C-0"] in section.rows()


def test_the_first_ten_narrow_the_time(pages: dict[str, Path]) -> None:
    begun = parsed(pages["plan-begun"].read_text(encoding="utf-8"))
    assert begun.one("div", class_="verdict").text.startswith("This plan has been applied in part: 49 records left.")
    effort = begun.one("section", id="effort").text
    assert "so far 10 of 59 customers" in effort
    assert "(from 10 written in" in effort


def test_a_proof_from_before_the_last_write_is_said_to_be(folder: Path) -> None:
    file = folder / "verification.json"
    kept = file.read_text()
    try:
        values = json.loads(kept)
        del values["digest"]
        file.write_text(json.dumps(values | {"verified_at": "2020-01-01T00:00:00+00:00"}))
        directory = RunDirectory.at(folder)
        report = report_of(directory)
        assert report is not None
        page = parsed(migration_page(report, directory))
    finally:
        file.write_text(kept)
    assert "Verified before the last customers were written: verify again." in page.one("div", class_="verdict").text
    assert "tranship verify" in page.one("section", id="proof").text
