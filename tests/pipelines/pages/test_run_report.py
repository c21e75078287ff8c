"""report.html: what it says of a run, and that it says the same as report.json."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from support.commands import told
from support.dom import Element, parsed
from support.terminals import EVIL, assert_plain
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.pages import outcome, run_report, written
from tranship.pipelines.pages.markup import tag
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.run_list import report_of

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "sample_data" / "crm_export.csv"
Fact = Callable[["Ran"], None]


@dataclass(frozen=True)
class Ran:
    """The directory of a run, its report.json, and its page."""

    folder: Path
    report: dict[str, object]
    page: str
    root: Element

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.report["counts"])  # type: ignore[call-overload]


def ran(folder: Path) -> Ran:
    """Return the run with this directory."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    return Ran(folder, json.loads((folder / "report.json").read_text()), page, parsed(page))


def run(folder: Path, source: Path, *options: str) -> Ran:
    """Run a source into the table of a folder."""
    state = folder / ".tranship"
    before = {*state.glob("runs/*")}
    code, _, said = told(
        "run", str(source), f"duckdb:///{folder}/w.duckdb?table=c", "--state-dir", str(state), *options
    )
    assert code in (0, 4, 5), said
    [new] = {*state.glob("runs/*")} - before
    return ran(new)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Ran]:
    """Two runs: an export, and the same export a day later."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = folder / "crm_1.csv", folder / "crm_2.csv"
    shutil.copy(SAMPLE, first)
    changed = SAMPLE.read_bytes().replace(b"Seattle", b"Tacoma").replace(b",active,", b",suspended,")
    second.write_bytes(changed.replace(b"2024-0", b"2025-0"))
    return run(folder, first), run(folder, second, "--blocked", "nobody@private.example")


@pytest.fixture(scope="module")
def first(both: tuple[Ran, Ran]) -> Ran:
    return both[0]


@pytest.fixture(scope="module")
def second(both: tuple[Ran, Ran]) -> Ran:
    return both[1]


# The page as a file ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_is_one_file_that_loads_and_runs_nothing(second: Ran) -> None:
    assert not re.search(r"https?:|url\(|@import|<script|\son[a-z]+=|style=", second.page)
    policy = second.root.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    digest = base64.b64encode(hashlib.sha256("".join(second.root.one("style").contents).encode()).digest())  # type: ignore[arg-type]
    assert policy.startswith("default-src 'none'")
    assert f"'sha256-{digest.decode()}'" in policy
    linked = {link.attributes["href"] for link in second.root.all("a")}
    anchors = {element.attributes["id"] for element in second.root.all("section")}
    assert {f"#{anchor}" for anchor in anchors} >= {href for href in linked if href.startswith("#")}
    assert all((second.folder / href).exists() for href in linked if not href.startswith("#"))
    assert len(anchors) == len(second.root.all("section"))
    assert len(second.page) < 300_000


@pytest.mark.slow
def test_nothing_has_a_width_in_pixels(second: Ran) -> None:
    """Pictures take the width of the page, and long words break."""
    assert all("width" not in picture.attributes for picture in second.root.all("svg"))
    assert all(picture.attributes.get("viewbox") for picture in second.root.all("svg"))
    style = second.root.one("style").text
    assert "overflow-wrap:anywhere" in style.split("h1{")[0]
    widths = [int(found) for found in re.findall(r"[{;]width:(\d+)px", style)]
    assert max(widths, default=0) <= 1


def test_dark_phone_and_paper_have_their_styles(second: Ran) -> None:
    style = second.root.one("style").text
    assert all(word in style for word in ("prefers-color-scheme:dark", "max-width:42rem", "@media print"))
    assert second.root.one("meta", **{"name_": "viewport"}).attributes["content"].startswith("width=device-width")


# Numbers -----------------------------------------------------------------------------------------------------------


def test_the_fates_add_up(second: Ran) -> None:
    records = second.root.one("section", id="records")
    read, total = records.one("p", class_="balance").text.split(" = ")
    fates = {name: int(count.replace(",", "")) for count, name in (part.split() for part in total.split(" + "))}
    assert int(read.removesuffix(" read")) == sum(fates.values()) == second.counts["read"]
    assert fates == {name: second.counts[name] for name in fates}
    assert {name for name in outcome.FATES if second.counts[name]} == set(fates)
    for picture in records.all("svg"):
        said = dict(re.findall(r"([a-z]+) (\d+)", picture.attributes["aria-label"]))
        assert {name: int(count) for name, count in said.items()} == {"read": second.counts["read"], **fates}
        assert len(picture.all("rect", class_="fate")) == len(fates)


def test_bands_of_the_picture_are_in_proportion(second: Ran) -> None:
    wide = second.root.one("section", id="records").one("svg", class_="wide")
    heights = [float(part.attributes["height"]) for part in wide.all("rect", class_="fate")]
    counts = [count for name in outcome.FATES if (count := second.counts[name])]
    assert [height / sum(heights) for height in heights] == pytest.approx(
        [count / sum(counts) for count in counts], abs=0.01
    )


def test_reasons_have_their_counts_and_sentences(first: Ran) -> None:
    for section, name in (("rejected", "rejects_by_code"), ("warnings", "warnings_by_code")):
        titles = [title.text for title in first.root.one("section", id=section).all("h3")]
        shown = {code: int(count) for count, code in (title.split(" × ") for title in titles)}
        assert shown == first.report[name]
    assert "email is malformed: use an address such as jane@example.com" in first.root.text


def test_the_verdict_has_the_meaning_of_the_exit_code(first: Ran) -> None:
    said = first.root.one("div", class_="verdict").text
    assert said.startswith("Done, with rejects and 10 warnings: 28 created, 0 updated, 0 unchanged; 10 rejected of 46")
    assert f"Exit code 4: {EXIT_CODES[4]}." in said
    assert "warn" in first.root.one("div", class_="verdict").attributes["class"]


# Records -----------------------------------------------------------------------------------------------------------


def test_a_reject_is_shown_with_the_value_at_fault_marked(first: Ran) -> None:
    section = first.root.one("section", id="rejected")
    reasons = {reason.one("code").text: reason for reason in section.all("div", class_="reason")}
    syntax = reasons["email.syntax"]
    assert [mark.text for mark in syntax.all("mark")] == ["jo.finch(at)kestrelbikes.example", "jamie@maplemain"]
    assert f"{SAMPLE.name.replace('export', '1')}, line 13" in syntax.text
    assert "Kestrel Bikes Ltd" in syntax.text
    assert [mark.text for mark in reasons["name.missing"].all("mark")] == ["(empty)", "(blank)"]
    assert reasons["line.quote"].one("mark").text.startswith("C-1015")


def test_a_merge_says_why_the_survivor_won(first: Ran) -> None:
    said = first.root.one("section", id="merged")
    assert "5 by external_id" in said.text
    assert "updated_at 2024-03-02 16:45:10 is later than 2024-01-15 10:00:00" in said.text
    assert ["status", "suspended", "active"] in said.rows()


def test_changed_fields_are_shown_before_and_after(second: Ran) -> None:
    changed = second.root.one("section", id="changed")
    rows = {name: (int(count), such) for name, count, such in changed.rows()}
    assert {name: count for name, (count, _) in rows.items()} == second.report["changed_fields"]
    assert "Harborview Coffee Roasters LLC, C-1001: Seattle → Tacoma" in rows["city"][1]
    assert '{"Plan":"Starter"} →' in rows["metadata"][1]


def test_the_changes_are_those_that_the_command_prints(second: Ran) -> None:
    changed = second.root.one("section", id="changed")
    state = str(second.folder.parent.parent)
    shown = json.loads(told("changes", "last", "--key", "C-1001", "--json", "--state-dir", state)[1])["changes"][0]
    assert (shown["before"]["city"], shown["after"]["city"]) == ("Seattle", "Tacoma")
    assert [part.text for part in changed.all("del")].count("Seattle") == 1


def test_columns_and_fields_have_profiles(first: Ran) -> None:
    columns = {row[0]: row[1:] for row in first.root.one("section", id="columns").rows()}
    assert columns["E-mail"][0] == "email"
    assert columns["Plan"][:3] == ["metadata", "93 %", "3"]
    assert "14 of 16 columns mapped" in first.root.text
    fields = {row[0]: row[1:] for row in first.root.one("section", id="data").rows()}
    customers = pl.read_parquet(first.folder / "stage" / "*.parquet").join(
        pl.read_parquet(first.folder / "identity" / "dropped.parquet"), left_on="_row", right_on="row", how="anti"
    )
    for patched in first.folder.glob("identity/patched.parquet"):
        customers = pl.concat([customers, pl.read_parquet(patched)], how="diagonal_relaxed")
    assert customers.height == 28
    assert fields["status"][1] == str(customers["status"].drop_nulls().n_unique())
    assert fields["country"][0] == f"{customers['country'].is_not_null().mean():.0%}".replace("%", " %")
    assert fields["external_id"][3] == "all different"
    assert "All 28 customers." in first.root.text


# Earlier runs, settings ----------------------------------------------------------------------------------------------


def test_a_run_is_compared_with_the_one_before(first: Ran, second: Ran) -> None:
    assert not first.root.all("section", id="trend")
    rows = second.root.one("section", id="trend").rows()
    assert [row[-1] for row in rows] == [second.folder.name, first.folder.name]
    names = ("read", "rejected", "created")
    assert [row[2:5] for row in rows] == [[str(one.counts[name]) for name in names] for one in (second, first)]


def test_settings_that_differ_from_their_defaults_and_versions(second: Ran) -> None:
    said = second.root.one("section", id="settings").text
    assert "blocked nobody@private.example" in said
    assert "state-dir" not in said
    assert str(pl.__version__) in said


def test_steps_have_time_and_memory(second: Ran) -> None:
    rows = second.root.one("section", id="cost").rows()
    assert [row[0] for row in rows] == ["read", "identify", "plan", "write", "other", "total"]
    seconds = [float(row[1].removesuffix(" s")) for row in rows]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.05)
    assert all(int(row[3].removesuffix(" MB").replace(",", "")) > 20 for row in rows if row[0] != "other")


# What may not be shown ---------------------------------------------------------------------------------------------


def test_without_samples_no_value_is_shown(tmp_path: Path) -> None:
    found = run(tmp_path, SAMPLE, "--report-samples", "off")
    assert not list((found.folder / "sample").iterdir())
    for column in ("E-mail", "Company", "Phone", "City"):
        values = pl.read_csv(SAMPLE, encoding="utf8-lossy", truncate_ragged_lines=True, quote_char=None)[column]
        assert not [value for value in values.drop_nulls() if len(value) > 3 and value in found.page]
    assert found.root.one("section", id="records")
    assert "contains no values of customers" in found.page
    assert dict(found.report["rejects_by_code"])["email.syntax"] == 2  # type: ignore[call-overload]


def test_columns_of_secrets_are_never_shown(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,email,name,password\n1,a@x.co,A,geheim-1\n2,not an address,B,geheim-2\n3,b@x.co,,geheim-3\n")
    found = run(tmp_path, source)
    assert "not an address" in found.page
    assert "geheim" not in found.page
    assert "password" in found.root.one("section", id="columns").text


def test_values_of_strangers_are_text(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    evil = f'<script>alert(1)</script>"onload="x{EVIL}'
    cell = f'"{evil.replace(chr(34), chr(34) * 2)}"'
    source.write_text(
        f"id,email,name,status,{cell}\n1,{cell},{cell},{cell},{cell}\n2,a@x.co,{cell},{cell},\n3,b@x.co,B,{cell},{cell}\n",
        encoding="utf-8",
    )
    found = run(tmp_path, source)
    assert "<script" not in found.page
    assert not [element for element in found.root.all() if any(name.startswith("on") for name in element.attributes)]
    assert "&lt;script&gt;alert(1)" in found.page
    assert_plain(found.page)


# What may be missing -----------------------------------------------------------------------------------------------


def made_again(found: Ran) -> Element:
    directory = RunDirectory.at(found.folder)
    report = report_of(directory)
    assert report is not None
    return parsed(run_report.run_report(report, directory))


@pytest.mark.slow
def test_what_is_missing_or_damaged_is_left_out(second: Ran, tmp_path: Path) -> None:
    """Each of its files in turn."""
    state = shutil.copytree(second.folder.parent.parent, tmp_path / ".tranship")
    found = ran(state / "runs" / second.folder.name)
    whole = {section.attributes["id"] for section in made_again(found).all("section")}
    unread = ("raw", "present", "rejected", "warned")
    files = [path for path in found.folder.rglob("*.parquet") if path.parent.name not in unread]
    for number, file in enumerate(files):
        kept = file.read_bytes()
        if number % 2:
            file.unlink()
        else:
            file.write_bytes(kept[:50])
        page = made_again(found)
        assert {section.attributes["id"] for section in page.all("section")} >= whole - {"data"}
        assert page.one("p", class_="balance").text == found.root.one("p", class_="balance").text
        file.write_bytes(kept)
    (found.folder / "rejects.parquet").write_bytes(b"PAR1")
    said = made_again(found)
    assert "Not shown, because its files cannot be read: rejects." in said.text
    assert "email.syntax" in said.text


def test_a_bug_in_a_page_does_not_make_the_run_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise TypeError("private@example.com")

    monkeypatch.setattr(written, "run_report", broken)
    source = tmp_path / "in.csv"
    source.write_text("id,email,name\n1,a@x.co,A\n")
    code, _, said = told("run", str(source), str(tmp_path / "out.csv"), "--state-dir", str(tmp_path / ".tranship"))
    [folder] = tmp_path.glob(".tranship/runs/*")
    found = ran(folder)
    assert code == 0
    assert "report.html is incomplete because of a bug in Tranship (TypeError)" in said
    assert "This page is incomplete" in found.page
    assert "private@example.com" not in said + found.page


# Its size ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_thousand_rejects_are_less_than_a_megabyte(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    long = "x" * 100
    rows = (f"{number},{long}{number},,{long},,12/13/14" for number in range(100_000))
    source.write_text("id,email,name,status,country,created_at\n" + "\n".join(rows) + "\n")
    found = run(tmp_path, source)
    assert found.counts["rejected"] == 100_000
    assert 10_000 < len(found.page) < 300_000


def test_names_of_fates_have_meanings() -> None:
    assert set(outcome.FATES) < set(outcome.MEANINGS)
    assert tag("p", "a < b", title='"') == '<p title="&quot;">a &lt; b</p>'
