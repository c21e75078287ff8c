"""What the first records say of columns whose names leave their meaning open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines import profiles
from tranship.pipelines.endpoints import open_source
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.settings_model import Reading


def mapped(file: Path, **options: Any) -> ColumnMap:
    reading = Reading.model_validate({"source": str(file), **options})
    source = open_source(reading)
    try:
        layouts = source.layouts()
        return profiles.apply(layouts, reading).columns(layouts)
    finally:
        source.close()


def text(folder: Path, content: str) -> Path:
    file = folder / "in.csv"
    file.write_text(content)
    return file


GAPS = "\n".join(f"{number},{'A-7' if number == 31 else ''},c{number}@x.co,N{number}" for number in range(31, 40))


@pytest.mark.parametrize("names", ["id,accountNumber", "uuid,Customer Number", "Record ID,Kundennummer"])
def test_an_id_that_all_records_have_is_preferred_to_one_with_gaps(tmp_path: Path, names: str) -> None:
    columns = mapped(text(tmp_path, f"{names},email,name\n{GAPS}\n"))

    full, with_gaps = names.split(",")
    assert columns.fields["external_id"] == full
    assert with_gaps in columns.extra
    assert any(f'external_id is "{full}": it is filled in each of the first 9' in note for note in columns.notes)


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "xlsx"])
def test_the_kind_of_file_makes_no_difference(tmp_path: Path, ending: str) -> None:
    rows = [{"id": f"R{n}", "accountNumber": "A" if n == 31 else None, "name": f"N{n}"} for n in range(31, 40)]
    frame = pl.DataFrame(rows)
    file = tmp_path / f"in.{ending}"
    {"jsonl": frame.write_ndjson, "parquet": frame.write_parquet}.get(ending, frame.write_excel)(file)

    assert mapped(file).fields["external_id"] == "id"


def test_the_fields_own_name_is_kept_in_spite_of_gaps(tmp_path: Path) -> None:
    assert mapped(text(tmp_path, f"id,external_id,email,name\n{GAPS}\n")).fields["external_id"] == "external_id"


def test_a_choice_is_taken(tmp_path: Path) -> None:
    columns = mapped(text(tmp_path, f"id,accountNumber,email,name\n{GAPS}\n"), fields={"external_id": "accountNumber"})
    assert columns.fields["external_id"] == "accountNumber"


@pytest.mark.parametrize("name", ["Number", "Ref", "Key", "Code", "No."])
def test_a_bare_word_is_the_id_if_all_records_have_one(tmp_path: Path, name: str) -> None:
    rows = "\n".join(f"N{number},c{number}@x.co,Net 30,{number},None" for number in (1004, 1007, 1011))
    columns = mapped(text(tmp_path, f"Name,Email,Terms,{name},Group\n{rows}\n"))

    assert columns.fields["external_id"] == name
    assert any("which differs in each of the first 3 records" in note for note in columns.notes)


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2", "3"],  # the lines are counted
        ["1004", "1004", "1007"],
        ["1004", "", "1007"],
        ["9.95", "12.50", "3.10"],
    ],
)
def test_other_values_are_none(tmp_path: Path, values: list[str]) -> None:
    rows = "\n".join(f"N{at},c{at}@x.co,Net 30,{value},None" for at, value in enumerate(values))
    assert "external_id" not in mapped(text(tmp_path, f"Name,Email,Terms,Number,Group\n{rows}\n")).fields


def test_a_number_beside_a_street_is_none(tmp_path: Path) -> None:
    rows = "\n".join(f"N{number},c{number}@x.co,Elm St,{number},Ely" for number in (14, 7, 101))
    assert "external_id" not in mapped(text(tmp_path, f"Name,Email,Street,Number,City\n{rows}\n")).fields


@pytest.mark.parametrize(
    ("links", "is_id"),
    [
        (["https://api.x.co/v2/contacts/17", "https://api.x.co/v2/contacts/18"], True),
        (["https://x.example", "https://y.example"], False),
        (["https://api.x.co/v2/contacts/17", ""], False),
        (["https://a.co/1", "https://b.co/2"], False),
    ],
)
def test_links_are_ids_if_all_records_have_one_of_one_form(tmp_path: Path, links: list[str], *, is_id: bool) -> None:
    rows = "\n".join(f"N{at},c{at}@x.co,{link}" for at, link in enumerate(links))
    assert ("external_id" in mapped(text(tmp_path, f"Name,Email,URL\n{rows}\n")).fields) == is_id


def test_a_column_of_ids_is_asked_about_before_most_records_are_rejected(tmp_path: Path) -> None:
    rows = "\n".join(f"{number},N{number},{'a@x.co' if number == 31 else ''}" for number in range(31, 40))
    file = text(tmp_path, f"Debitor-Key,Name,Email\n{rows}\n")

    with pytest.raises(ConfigError, match="8 of the first 9 records have neither an id nor an e-mail") as error:
        mapped(file)
    assert '--map external_id="Debitor-Key"' in str(error.value)
    assert mapped(file, fields={"external_id": "Debitor-Key"}).fields["external_id"] == "Debitor-Key"
    assert "external_id" not in mapped(file, ignore=("Debitor-Key",)).fields


def test_numbers_are_no_names_and_no_places(tmp_path: Path) -> None:
    rows = [
        {"id": f"R{n}", "name": f"N{n}", "primary_contact": n, "city": n, "state": 4, "country": 9} for n in (17, 18)
    ]
    file = tmp_path / "in.json"
    file.write_text(json.dumps(rows))

    columns = mapped(file)
    assert {"city", "state", "country", "billing_contact_name"}.isdisjoint({*columns.fields, *columns.built})
    assert {"primary_contact", "city", "state", "country"} <= {*columns.extra}
    assert any('"city" has only numbers' in note for note in columns.notes)


def test_a_list_of_contacts_of_which_nothing_is_used_is_named(tmp_path: Path) -> None:
    of_customer = {"email": "a@b.example", "phone": "+13125550111", "billing_contact": "Ed"}
    file = tmp_path / "in.json"
    for record, is_named in (({"id": "R1", "name": "A", **of_customer}, True), ({"id": "R1", "name": "A"}, False)):
        file.write_text(json.dumps([{**record, "contacts": [{"name": "Jo"}, {"name": "Al"}], "tags": []}]))
        assert any('"contacts" is a list, of which nothing' in note for note in mapped(file).notes) == is_named


def test_a_company_may_be_called_by_a_number(tmp_path: Path) -> None:
    assert mapped(text(tmp_path, "id,company\nR1,1984\nR2,Acme\n")).fields["name"] == "company"


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (["Jonas,Keller,Keller AG", "Mia,Roth,"], "company | firstname + name"),
        (["Jonas,Jonas Keller,Keller AG", "Mia,Mia Roth,"], "company | name | firstname"),
        (["Jonas,Keller Maschinen AG,Keller Gruppe", "Mia,Roth & Co.,"], "company | name | firstname"),
    ],
)
def test_a_name_that_never_contains_the_first_name_is_the_last_name(tmp_path: Path, rows: list[str], rule: str) -> None:
    lines = "\n".join(f"K-{at},{row}" for at, row in enumerate(rows))
    assert str(mapped(text(tmp_path, f"id,firstname,name,company\n{lines}\n")).built["name"]) == rule


@pytest.mark.parametrize("count", [20_000])
def test_a_long_file_is_judged_by_its_beginning(tmp_path: Path, count: int) -> None:
    rows = "\n".join(f"{n},{'' if n < 5_000 else f'A{n}'},c{n}@x.co,N{n}" for n in range(count))
    assert mapped(text(tmp_path, f"id,accountNumber,email,name\n{rows}\n")).fields["external_id"] == "id"
