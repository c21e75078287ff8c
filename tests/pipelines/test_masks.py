"""Masked fields: what rejects, warnings and pages show of a run's customers, and which files keep their values."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import polars as pl
import pytest

from support.accounts import Open
from support.artefacts import texts
from support.warehouse import Warehouse
from tranship.connectors.errors import ConfigError
from tranship.pipelines import masks
from tranship.pipelines.masks import HIDDEN, KEY, Masks
from tranship.pipelines.retention import artefacts
from tranship.schemas.customer import COLUMNS

SECRET = "a key of more than sixteen characters"
HMAC = re.compile(r"hmac:[0-9a-f]{16}")
EVERY = dict.fromkeys(COLUMNS, "hide")
SHOWN = ("rejects.csv", "warnings.parquet", "report.json", "report.html", "plan.html", "migration.html")
"""Files for people: with every field masked, they tell nothing about a customer."""

HEADER = "Kundennr;Firma;E-Mail;Telefon;Ort;Status;Notiz\n"
PEOPLE = {
    "a rejected record": "K-71001;Quartzhaus GmbH;quartz(at)haus.example;+49 30 901820;Quedlinburg;active;ruft an\n",
    "its address in another column": "K-71002;;x@y.example;;Bremen;active;besser an sina.quast@haus.example\n",
    "a broken line": "K-71003;Querfeld AG;info@querfeld.example\n",
    "a warning": "K-71004;Quendel KG;ein@quendel.example, zwei@quendel.example;nonsens 4711x;Ulm;active;\n",
    "a version": "K-71004;Quendel & Co KG;ein@quendel.example;;Ulm;active;\n",
    "an invalid value": "K-71005;Quitte OHG;quitte@haus.example;;Ulm;qwertzstatus;\n",
    "a customer": "K-71006;Quelle eG;quelle@haus.example;;Köln;active;\n",
}
VALUES = (
    *("K-7100", "Quartz", "quartz", "901820", "Quedlinburg", "sina.quast", "x@y", "Querfeld", "querfeld"),
    *("Quendel", "quendel", "4711x", "Quitte", "quitte", "qwertzstatus", "Quelle", "quelle@"),
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)


def told(folder: Path) -> list[str]:
    return [
        f"{name}: {value}"
        for name, text in texts(folder)
        if Path(name.partition(" ")[0]).name in SHOWN
        for value in VALUES
        if value in text
    ]


def test_the_files_for_people_are_all_that_need_no_values() -> None:
    for name in SHOWN:
        found = artefacts.of_run(name)
        assert found, name
        assert found.keeps != "records" or name in ("rejects.csv", "warnings.parquet"), name


def test_nothing_is_told_about_a_customer_in_a_file_for_people(tmp_path: Path) -> None:
    source = tmp_path / "kunden.csv"
    source.write_text(HEADER + "".join(PEOPLE.values()), encoding="utf-8")
    warehouse = Warehouse(tmp_path)
    first = warehouse.load(source)
    assert told(Path(first.run_dir)), "without masks, there are values"

    changed = source.read_text(encoding="utf-8").replace("Quelle eG", "Quelle & Söhne eG")
    source.write_text(changed, encoding="utf-8")
    report = warehouse.load(source, mask=EVERY)
    counts = report.counts
    assert (counts.rejected, counts.merged, counts.updated) == (3, 1, 1)
    assert counts.warnings >= 3
    assert told(Path(report.run_dir)) == []
    page = (Path(report.run_dir) / "report.html").read_text(encoding="utf-8")
    assert page.count(HIDDEN) > 20


def test_a_plan_and_a_migration_tell_nothing_about_a_customer(tmp_path: Path, account: Open) -> None:
    import tranship

    source = tmp_path / "kunden.csv"
    source.write_text(HEADER + "".join(PEOPLE.values()), encoding="utf-8")
    destination = account("growpanel")
    folder = tmp_path / "plan"
    options = {"state_dir": tmp_path / "state", "mask": EVERY, "max_rejects": "100%"}
    tranship.plan(str(source), destination.address, out=folder, **options)
    assert told(folder) == []
    tranship.apply(folder)
    assert told(folder) == []


def test_equal_values_have_equal_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(tmp_path)
    records = [
        {"external_id": "1", "name": None, "email": "Ann@X.example "},
        {"external_id": "2", "name": None, "email": "ann@x.example"},
        {"external_id": "3", "name": None, "email": "bob@x.example"},
    ]

    def digests() -> list[str]:
        report = warehouse.load(records, mask={"email": "hmac"}, max_rejects="100%")
        with Path(report.files["rejects"]).open(encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file)]
        assert [row["external_id"] for row in rows] == ["1", "2", "3"]
        return [row["email (masked)"] for row in rows]

    found = digests()
    assert all(map(HMAC.fullmatch, found))
    assert found[0] == found[1] != found[2]
    monkeypatch.setenv(KEY, SECRET[::-1])
    assert not {*found} & {*digests()}, "another key"


def test_corrected_rejects_are_loaded_from_what_is_not_masked(tmp_path: Path) -> None:
    import tranship

    warehouse = Warehouse(tmp_path)
    report = warehouse.load(
        [{"external_id": "1", "name": "Ann", "email": "ann at x.example"}], mask=EVERY, max_rejects="100%"
    )
    given = tmp_path / "rejects.csv"
    tranship.fix(report.run_id, state_dir=tmp_path / "state", out=given)
    assert "ann at x.example" in given.read_text(encoding="utf-8")
    given.write_text(given.read_text(encoding="utf-8").replace("ann at", "ann@").replace("@ x", "@x"), encoding="utf-8")
    done = tranship.fix(report.run_id, state_dir=tmp_path / "state", file=given)
    assert done.report is not None
    assert done.report.counts.created == 1
    assert [row["email"] for row in warehouse.rows()] == ["ann@x.example"]


def test_masked_rejects_are_not_loaded_as_customers(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    report = warehouse.load(
        [{"external_id": "1", "name": "Ann", "email": "ann at x.example"}], mask={"name": "hide"}, max_rejects="100%"
    )
    with pytest.raises(ConfigError, match=r"its column 'name \(masked\)' shows no values.*tranship fix"):
        warehouse.load(Path(report.files["rejects"]))


def test_a_value_that_contains_a_masked_one_is_hidden(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        "id,name,email,note,city\n1, Quartz GmbH ,q at x,paid by QUARTZ GmbH,Qu\n2,Al,b at x,Al paid,Ulm\n"
    )
    report = Warehouse(tmp_path).load(source, mask={"name": "hide"}, max_rejects="100%")

    with Path(report.files["rejects"]).open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["name (masked)"], row["note"], row["city"]) for row in rows] == [
        (HIDDEN, HIDDEN, "Qu"),
        (HIDDEN, "Al paid", "Ulm"),  # too short to tell something
    ]
    page = (Path(report.run_dir) / "report.html").read_text(encoding="utf-8")
    assert "quartz" not in page.casefold()
    assert "Al paid" in page


def test_a_frequent_value_that_contains_a_masked_one_is_hidden(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    rows = "".join(f"{at},Quartz GmbH,to QUARTZ GmbH,Quartz GmbH Holding,Ulmstadt\n" for at in range(2))
    source.write_text(f"id,name,note,legal name,city\n{rows}")
    report = Warehouse(tmp_path).load(source, mask={"name": "hide"})
    page = (Path(report.run_dir) / "report.html").read_text(encoding="utf-8")
    assert "quartz" not in page.casefold()
    assert "Ulmstadt" in page


def test_a_value_of_a_warning_that_contains_a_masked_one_is_hidden(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        "id,name,email,country,status\n1,Quartz GmbH,q@x.example,Land of QUARTZ  gmbh,quelle\n2,Bo,b@x.example,Boland,qx\n"
    )
    report = Warehouse(tmp_path).load(source, mask={"name": "hide"})
    warned = pl.read_parquet(report.files["warnings"]).sort("line", "code")
    assert warned["value"].to_list() == [HIDDEN, "quelle", "Boland", "qx"]


@pytest.mark.parametrize(
    ("given", "variable", "said"),
    [
        ({"emial": "hide"}, SECRET, "--mask emial=hide: unknown field 'emial'. Did you mean email?"),
        ({"email": "hmac"}, None, f"hmac needs a key in {KEY}, which is not set"),
        ({"email": "hmac"}, "short", "which has fewer than 16 characters"),
        ({"email": "sha256"}, SECRET, "mask"),
    ],
)
def test_wrong_masks_are_refused_before_anything_is_read(
    given: dict[str, str], variable: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY) if variable is None else monkeypatch.setenv(KEY, variable)
    with pytest.raises(ConfigError, match=re.escape(said)):
        Warehouse(tmp_path).load("missing.csv", mask=given)


def test_without_the_key_a_page_that_is_written_again_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    assert Masks.of({"email": "hmac"}).field("email", "ann@x.example") == HIDDEN


def test_no_mask_changes_nothing() -> None:
    rows = pl.LazyFrame({"email": ["a@b.example"], "_text": [None]})
    assert Masks().rejects(rows, {"email": "email"}) is rows
    assert Masks().record({"email": "a@b.example", "metadata": "{}"}) == {"email": "a@b.example", "metadata": "{}"}


def test_the_digests_of_a_column_are_those_of_its_values() -> None:
    made = Masks.of({"email": "hmac"})
    values = ["a@b.example", "A@B.example", "c", "", None]
    rows = pl.LazyFrame({"email": values, "_codes": ["email.syntax"] * 5, "_reasons": ["x"] * 5, "_text": [None] * 5})
    rows = rows.with_columns(pl.col("_text").cast(pl.String))
    found = made.rejects(rows, {"email": "email"}).collect()["email (masked)"].to_list()
    assert found == [made.field("email", value) for value in values]
    masks.check_key({"email": "hmac"})
