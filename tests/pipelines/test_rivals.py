"""Columns whose names match one field: none is dropped silently, and their values are compared."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from support.warehouse import PostgresWarehouse, Warehouse, write_csv
from tranship.connectors.contract import Layout
from tranship.connectors.errors import Undecided
from tranship.pipelines import run, settings
from tranship.pipelines.mapping import propose
from tranship.pipelines.run_directory import RunDirectory


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


READING = settings.Reading.model_validate({"source": "in.csv", "defaults": {"name": "Acme"}})


def text(folder: Path, content: str, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_text(content)
    return path


# Namesakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["email,email", "Email,E-mail Address", "E-mail,email", "E-Mail-Address,mail"])
def test_namesakes_that_differ_stop_the_run_with_the_options(warehouse: Warehouse, header: str) -> None:
    source = text(warehouse.folder, f"external_id,name,{header}\n1,A,a@b.co,a@b.co\n2,B,b@b.co,c@b.co\n")

    with pytest.raises(Undecided, match=r"in\.csv, line 3: .* both mean email and have different values") as error:
        warehouse.load(source)
    assert str(error.value).count("--map") == 2
    assert not warehouse.file.exists() or warehouse.rows("FROM duckdb_tables()") == []


@pytest.mark.parametrize(
    "field", ["phone,Phone Number", "zip,Postal Code", "language,lang", "name,name", "street,street"]
)
def test_the_kind_is_stopped_in_other_fields(warehouse: Warehouse, field: str) -> None:
    with pytest.raises(Undecided, match="have different values"):
        warehouse.load(
            text(warehouse.folder, f"external_id,full name,{field}\n1,A,x,y\n".replace("full name,name", "x,name"))
        )


@pytest.mark.parametrize("second", ["1", ""])
def test_two_ids_with_one_value_are_one_id(warehouse: Warehouse, second: str) -> None:
    report = warehouse.load(text(warehouse.folder, f"User ID,Member ID,name\n1,{second},A\n2,2,B\n"))

    assert warehouse.column("external_id") == ["1", "2"]
    assert any('external_id is "User ID"; "Member ID" would also match' in note for note in report.notes)


@pytest.mark.parametrize("row", ["2,3", ",3"])
def test_two_ids_that_differ_stop_the_run_with_the_options(warehouse: Warehouse, row: str) -> None:
    source = text(warehouse.folder, f"User ID,Member ID,name\n1,1,A\n{row},B\n")

    with pytest.raises(Undecided, match='line 3: "User ID" and "Member ID" both mean external_id') as error:
        warehouse.load(source)
    assert '--map external_id="Member ID"' in str(error.value)


def test_a_namesake_that_holds_nothing_else_loses_nothing(warehouse: Warehouse) -> None:
    report = warehouse.load(text(warehouse.folder, "id,name,email,email\n1,A,a@b.co,a@b.co\n2,B,b@b.co,\n"))

    assert warehouse.column("email") == ["a@b.co", "b@b.co"]
    assert any('"email_2" would also match, and stays in metadata' in note for note in report.notes)


def test_a_namesake_that_alone_has_a_value_differs(warehouse: Warehouse) -> None:
    with pytest.raises(Undecided, match="line 2"):
        warehouse.load(text(warehouse.folder, "id,name,email,email\n1,A,,a@b.co\n"))


def test_a_second_address_line_is_no_repeated_header(warehouse: Warehouse) -> None:
    warehouse.load(text(warehouse.folder, "id,name,address,address_2\n1,A,Elm St 1,Floor 2\n"))
    assert warehouse.column("address_line2") == ["Floor 2"]


def test_a_choice_is_taken(warehouse: Warehouse) -> None:
    source = text(warehouse.folder, "id,name,email,email\n1,A,a@b.co,c@b.co\n")
    report = warehouse.load(source, fields={"email": "email_2"})

    assert warehouse.column("email") == ["c@b.co"]
    assert '--map sets email to "email_2" instead of "email", which now stays in metadata' in report.notes


def test_parquet_and_tables_are_looked_at_too(warehouse: Warehouse) -> None:
    frame = pl.DataFrame({"external_id": [1], "name": ["A"], "Email": ["a@b.co"], "E-mail Address": ["c@b.co"]})
    frame.write_parquet(warehouse.folder / "in.parquet")
    with duckdb.connect(warehouse.folder / "source.duckdb") as source:
        source.execute(f"CREATE TABLE people AS FROM '{warehouse.folder}/in.parquet'").fetchall()

    for address in (warehouse.folder / "in.parquet", f"duckdb:///{warehouse.folder}/source.duckdb?table=people"):
        with pytest.raises(Undecided, match="both mean email"):
            warehouse.load(address)


def test_postgres_is_looked_at_too(postgres: PostgresWarehouse) -> None:
    postgres.do(
        'CREATE TABLE people (external_id text, name text, "Email" text, email_address text, id text)',
        "INSERT INTO people VALUES ('1', 'A', 'a@b.co', 'c@b.co', null)",
    )
    with pytest.raises(Undecided, match="both mean email"):
        postgres.load(f"{postgres.database.url}?table=people", table="customers")
    postgres.do("UPDATE people SET external_id = '', email_address = null, id = '7'")
    with pytest.raises(Undecided, match="would also match external_id"):
        postgres.load(f"{postgres.database.url}?table=people", table="customers")


@pytest.fixture
def postgres(tmp_path: Path, postgres_database) -> PostgresWarehouse:  # type: ignore[no-untyped-def]
    return PostgresWarehouse(tmp_path, postgres_database)


# Synonyms of another meaning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "other"),
    [
        *(("external_id", "id"), ("name", "Company"), ("country", "Country Code")),
        *(("created_at", "Created"), ("status", "Subscription Status")),
    ],
)
def test_the_own_name_wins_and_a_note_names_the_other(own: str, other: str) -> None:
    found = propose([Layout("in.csv", ("email", own, other))], READING)

    assert own in found.fields.values()
    assert found.extra == (other,)
    assert [note for note in found.notes if f'"{other}" would also match, and stays in metadata' in note]


@pytest.mark.parametrize(
    ("rows", "field", "column", "other"),
    [
        (["external_id,id,email,name", ",7,a@b.co,A", ",8,b@b.co,B"], "external_id", "external_id", "id"),
        (["external_id,id,email,name", "N/A,7,a@b.co,A", "-,8,b@b.co,B"], "external_id", "external_id", "id"),
        (["id,name,company", "1,,Acme"], "name", "name", "company"),
        (["id,name,updated_at,last_modified", "1,A,,2024-01-01"], "updated_at", "updated_at", "last_modified"),
        (["id,name,country,billing_country", "1,A, ,DE"], "country", "country", "billing_country"),
        (
            ["Code,Identifiant,Nom", *(f"C{n},FR0731824561{n},A" for n in range(4)), "C4,,B"],
            *("external_id", "Identifiant", "Code"),
        ),
        (["Code,Identifiant,Nom", "C1,14.572.318/0001-60,A"], "external_id", "Identifiant", "Code"),
    ],
)
def test_an_empty_column_hides_no_filled_one(
    warehouse: Warehouse, rows: list[str], field: str, column: str, other: str
) -> None:
    source = text(warehouse.folder, "\n".join(rows) + "\n")

    with pytest.raises(
        Undecided, match=f'"{column}" has no value in any record.*, but "{other}" would also match {field}'
    ):
        warehouse.load(source)
    warehouse.load(source, fields={field: other})
    assert None not in warehouse.column(field)


@pytest.mark.parametrize(
    ("columns", "field", "rule"),
    [
        ("id,name,Phone,Mobile,Fax", "phone", "Phone | Mobile"),
        ("id,name,Home Phone,Mobile,Work Phone,Phone 2", "phone", "Mobile | Work Phone | Home Phone | Phone 2"),
        ("id,name,Secondary Email,Email", "email", "Email | Secondary Email"),
        ("id,name,E-mail 2,E-mail 1", "email", "E-mail 1 | E-mail 2"),
    ],
)
def test_a_further_phone_or_email_serves_where_the_first_is_blank(columns: str, field: str, rule: str) -> None:
    found = propose([Layout("in.csv", tuple(columns.split(",")))], READING)
    assert str(found.built[field]) == rule
    assert not found.notes


def test_an_unused_further_phone_stays_in_metadata(warehouse: Warehouse) -> None:
    source = text(warehouse.folder, "id,name,Phone,Mobile\n1,A,+14155550101,+14155550102\n2,B,,+14155550103\n")
    warehouse.load(source)
    assert warehouse.rows("SELECT phone, metadata FROM customers ORDER BY external_id") == [
        {"phone": "+14155550101", "metadata": '{"Mobile":"+14155550102"}'},
        {"phone": "+14155550103", "metadata": None},
    ]


def test_an_empty_column_that_was_chosen_is_no_question(warehouse: Warehouse) -> None:
    source = text(warehouse.folder, "external_id,id,email,name\n,7,a@b.co,A\n")
    assert warehouse.load(source, fields={"external_id": "external_id"}).counts.created == 1


def test_one_file_of_several_is_named(warehouse: Warehouse) -> None:
    text(warehouse.folder, "external_id,id,email,name\n1,,a@b.co,A\n", "a.csv")
    text(warehouse.folder, "external_id,id,email,name\n,7,b@b.co,B\n", "b.csv")

    with pytest.raises(Undecided, match=r"b\.csv: "):
        warehouse.load(str(warehouse.folder / "?.csv"))


def test_what_an_earlier_run_has_read_is_asked_again(warehouse: Warehouse) -> None:
    text(warehouse.folder, "external_id,id,email,name\n1,,a@b.co,A\n", "a.csv")
    text(warehouse.folder, "external_id,id,email,name\n2,7,b@b.co,B\n", "b.csv")
    warehouse.load(str(warehouse.folder / "?.csv"))
    text(warehouse.folder, "external_id,id,email,name\n,7,c@b.co,C\n", "c.csv")

    with pytest.raises(Undecided, match=r"c\.csv: "):
        warehouse.load(str(warehouse.folder / "?.csv"))


def test_inspect_shows_what_would_stop_a_run(tmp_path: Path) -> None:
    path = text(tmp_path, "external_id,id,Email,E-mail Address,name\n,7,a@b.co,c@b.co,A\n")
    found = run.inspect(settings.reading_from_command(str(path), {}, {}), 10)

    assert found.conflicts == {"email": ("Email", "E-mail Address")}
    assert found.problem is not None
    assert "both mean email" in found.problem


# One column, several fields ----------------------------------------------------------------------------------------


def test_one_column_feeds_several_fields(warehouse: Warehouse) -> None:
    source = write_csv(warehouse.folder / "in.csv", [{"id": "1", "name": "A", "Email": "A@b.co"}])
    report = warehouse.load(source, fields={"billing_contact_email": "Email"})

    assert warehouse.rows("SELECT email, billing_contact_email, metadata FROM customers") == [
        {"email": "a@b.co", "billing_contact_email": "a@b.co", "metadata": None}
    ]
    assert report.columns["Email"] == ["email", "billing_contact_email"]


def test_a_run_of_an_earlier_version_is_still_understood(warehouse: Warehouse) -> None:
    report = warehouse.load([{"id": "1", "name": "A"}], dry_run=True)
    directory = RunDirectory.open(warehouse.folder / "state", report.run_id)
    facts = directory.manifest["steps"]["stage"]
    facts["fields"] = {column: field for field, column in facts.pop("mapped").items()}
    del facts["skipped"]
    directory.manifest["settings"]["dry_run"] = False
    directory.manifest["status"] = "interrupted"
    directory.save()

    assert run.resume(warehouse.folder / "state", report.run_id).counts.created == 1
