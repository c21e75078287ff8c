"""Fields that are built from columns, by expressions and by the user's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Warehouse, fates, rejects
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError, Undecided
from tranship.pipelines import build, run
from tranship.pipelines.cli import main as cli
from tranship.pipelines.cli import render
from tranship.pipelines.mapping import propose
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Reading
from tranship.schemas.faults import BROKEN


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def prepared(columns: dict[str, list[Any]], **options: Any) -> build.Prepared:
    records = pl.DataFrame(columns)
    records = records.with_columns(pl.lit("x").alias("email"), pl.lit("x").alias("name"))
    reading = Reading.model_validate({"source": "in.csv", **options})
    lines = pl.int_range(2, records.height + 2, dtype=pl.UInt64, eager=True)
    batch = Batch("in.csv", records, lines, pl.DataFrame(schema=BROKEN))
    return build.prepare(batch, propose([Layout("in.csv", tuple(records.columns))], reading))


def values(columns: dict[str, list[Any]], field: str, **options: Any) -> list[Any]:
    found = prepared(columns, **options)
    return found.records[found.columns.fields[field]].to_list()


@pytest.mark.parametrize(
    ("rule", "cities"),
    [
        ("A | B", ["a", "b2", "b3", None]),
        ("A + B", ["a b", "b2", "b3", None]),
        ("B + A | C", ["b a", "b2", "b3", "c"]),
        ("C | A + B", ["a b", "b2", "b3", "c"]),
        ("A + A", ["a a", None, None, None]),
    ],
)
def test_the_first_that_is_filled_and_no_stray_blanks(rule: str, cities: list[str | None]) -> None:
    columns = {"A": [" a ", "", None, " "], "B": ["b", "b2", " b3", None], "C": [None, None, "", "c"]}
    assert values(columns, "city", fields={"city": rule}) == cities


ADDRESSES = {
    "id": ["1", "2", "3", "4", "5"],
    "name": ["a", "b", "c", "d", "e"],
    "Billing Street": ["B 1", " ", "-", None, None],
    "Billing City": [None, None, "Bonn", "", None],
    "Billing State": [None, "NRW", None, None, None],
    "Shipping Street": ["S 1", "S 2", "S 3", "S 4", None],
    "Shipping City": ["Paris", "Paris", "Paris", "Paris", None],
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"city": "Billing City | Shipping City", "address_line1": "Billing Street | Shipping Street"},
        {"city": "Billing City | Shipping City", "state": "Billing State"},
    ],
)
def test_an_address_is_the_first_that_has_a_value_and_never_mixed(fields: dict[str, str]) -> None:
    """The rules that inspection writes into a settings file mean the same as without them."""
    found = {name: values(ADDRESSES, name, fields=fields) for name in ("address_line1", "city", "state")}

    assert found["address_line1"] == ["B 1", None, "-", "S 4", None]
    assert found["city"] == [None, None, "Bonn", "Paris", None]
    assert found["state"] == [None, "NRW", None, None, None]


def test_columns_that_are_no_addresses_of_their_own_are_used_one_by_one() -> None:
    columns = {
        "id": ["1", "2"],
        "name": ["a", "b"],
        "Street": ["X", None],
        "PO Box": ["7", "8"],
        "City": ["Bonn", "Ulm"],
    }
    assert values(columns, "address_line1", fields={"address_line1": "Street | PO Box"}) == ["X", "8"]


def test_the_house_number_of_a_further_address_is_added() -> None:
    columns = {
        "id": ["1", "2"],
        "name": ["a", "b"],
        **{"Billing Street": ["Ring", None], "Billing House Number": ["1", None], "Billing City": ["Bonn", None]},
        **{"Shipping Street": ["Weg", "Weg"], "Shipping House Number": ["2", "2"], "Shipping City": ["Ulm", "Ulm"]},
    }
    assert values(columns, "address_line1") == ["Ring 1", "Weg 2"]


def test_a_country_of_no_address_is_the_customers() -> None:
    columns = {
        "id": ["1", "2", "3"],
        "name": ["a", "b", "c"],
        "Country": ["DE", "FR", "IT"],
        **{"Billing Street": ["Ring", None, None], "Billing Country": ["AT", None, None]},
        **{"Visiting Street": [None, "Rue", None], "Shipping Street": [None, None, "Via"]},
    }
    assert values(columns, "address_line1") == ["Ring", "Rue", "Via"]
    assert values(columns, "country") == ["AT", "FR", "IT"]


def test_the_further_address_stays_in_metadata_where_it_is_not_used() -> None:
    found = prepared(ADDRESSES)
    assert found.columns.extra == ("Shipping Street", "Shipping City")
    assert found.records["Shipping City"].to_list() == ["Paris", "Paris", "Paris", None, None]


def test_a_whole_name_that_is_only_the_persons_gives_way_to_a_company() -> None:
    columns = {
        "Display Name": ["Abel Byrne", "Byrne, Abel", "Zephyr", "Abel Byrne", "Abel Byrne"],
        "Company": ["Zephyr Ltd", "Zephyr Ltd", "Zephyr Ltd", "", "Byrne Abel"],
        "First Name": ["Abel"] * 5,
        "Last Name": ["Byrne"] * 5,
    }
    records = pl.DataFrame({"email": ["x"] * 5, **columns})
    batch = Batch("in.csv", records, pl.int_range(2, 7, dtype=pl.UInt64, eager=True), pl.DataFrame(schema=BROKEN))
    by_name = propose([Layout("in.csv", tuple(records.columns))], Reading(source="in.csv"))
    built = build.prepare(batch, by_name)

    expected = ["Zephyr Ltd", "Zephyr Ltd", "Zephyr", "Abel Byrne", "Byrne Abel"]
    assert built.records[built.columns.fields["name"]].to_list() == expected
    # A rule of the user's is followed to the letter.
    rule = "Display Name | Company | First Name + Last Name"
    assert values(columns, "name", fields={"name": rule}) == columns["Display Name"]


@pytest.mark.parametrize(
    ("field", "rule", "expected"),
    [
        ("name", "A | B + C", ["Jane Null", "Max", "Acme", "Na", "-", "Eva"]),
        ("city", "A | B + C", ["Jane Null", "Max", "Acme", "Na", "-", "NA"]),
        ("email", "A | B", ["Jane", "Max", "Acme", "x", "-", "Eva"]),
        ("external_id", "A | B", ["Jane", "Max", "Acme", "x", "-", "Eva"]),
    ],
)
def test_a_word_for_no_value_does_not_count_as_filled(field: str, rule: str, expected: list[str]) -> None:
    columns = {
        "A": ["-", " N/A ", "Acme", "Na", "-", "NA"],
        "B": ["Jane", "Max", "x", "x", None, "Eva"],
        "C": ["Null", "-", "y", "y", "n/a", None],
    }
    assert values(columns, field, fields={field: rule}) == expected


def test_a_company_called_n_a_does_not_hide_the_person(warehouse: Warehouse) -> None:
    rows = [{"id": "1", "company": "N/A", "first": "Jane", "last": "Doe"}, {"id": "2", "company": "-", "first": None}]
    pl.DataFrame(rows).write_csv(warehouse.folder / "in.csv")
    report = warehouse.load(warehouse.folder / "in.csv", fields={"name": "company | first + last"})
    assert report.rejects_by_code == {"name.missing": 1}
    assert warehouse.column("name") == ["Jane Doe"]


def test_a_built_date_is_read_as_any_other() -> None:
    found = prepared({"A": ["2024-01-05 10:00:00", None], "B": [None, "2024-01-06"]}, fields={"created_at": "A | B"})
    read = normalise.customers(found.records, found.columns, Spelling())
    assert [value.isoformat() for value in read.records["created_at"]] == [
        "2024-01-05T10:00:00+00:00",
        "2024-01-06T00:00:00+00:00",
    ]


def test_typed_columns_are_joined_as_text() -> None:
    columns = {"n": [1, None], "f": [2.0, 2.5], "d": [pl.Series([1]).cast(pl.Date)[0], None]}
    assert values(columns, "city", fields={"city": "n + f + d"}) == ["1 2 1970-01-02", "2.5"]


def test_parts_of_a_list_are_its_items() -> None:
    columns = {"A": ["1", None], "B": ["2;3", "4"]}
    assert values(columns, "aliases", fields={"aliases": "A + B"}) == ["1;2;3", "4"]


def test_a_plain_column_keeps_its_type() -> None:
    found = prepared({"n": [[1]], "t": [1.5]}, fields={"aliases": "n", "net_terms": "t"})
    assert (found.columns.fields["aliases"], found.columns.fields["net_terms"]) == ("n", "t")
    assert found.records.columns == ["n", "t", "email", "name"]


@pytest.mark.slow
def test_an_id_that_has_lost_digits_is_rejected_also_if_it_is_built(warehouse: Warehouse) -> None:
    frame = pl.DataFrame({"a": [2.0**60, None, 12.0], "b": ["x", "y", "z"], "name": ["A", "B", "C"]})
    frame.write_parquet(warehouse.folder / "in.parquet")
    for number, rule in enumerate(("a | b", "a + b")):
        report = warehouse.load(warehouse.folder / "in.parquet", fields={"external_id": rule}, table=f"t{number}")
        assert report.rejects_by_code == {"external_id.spreadsheet": 1}
    assert warehouse.column("external_id", table="t0") == ["12", "y"]
    assert warehouse.column("external_id", table="t1") == ["12 z", "y"]
    report = warehouse.load(
        warehouse.folder / "in.parquet", fields={"external_id": "a"}, values={"external_id": {"12": "Z"}}, table="t2"
    )
    assert report.rejects_by_code == {"external_id.spreadsheet": 1, "identity.missing": 1}


@pytest.mark.parametrize(
    ("expression", "cities"),
    [
        ("coalesce(a, b || ' ' || c)", ["x", "y z", None]),
        ("upper(trim(b))", [None, "Y", None]),
        ("case when flag then 'yes' else 'no' end", ["yes", "no", "no"]),
        ("try_cast(n as int) + 1", [2, None, 8]),
        ("n", ["1", "z", "7"]),
    ],
)
def test_an_expression_is_computed_for_each_record(expression: str, cities: list[Any]) -> None:
    columns = {
        "a": ["x", None, None],
        "b": [None, " y".strip(), None],
        "c": [None, "z", "q"],
        "flag": ["TRUE", "0", None],
        "n": ["1", "z", "7"],
    }
    assert values(columns, "city", set={"city": expression}) == cities


def test_a_flag_does_not_hide_the_name() -> None:
    columns = {"A": ["1", "0", "TRUE", "1", "11"], "B": ["Acme", "Jane", "Birch", None, "x"]}
    assert values(columns, "name", fields={"name": "A | B"}) == ["Acme", "Jane", "Birch", None, "11"]


def test_truth_values_are_recognised_in_other_languages() -> None:
    columns = {"gelöscht": ["ja", "Nein", "OUI", "não", "wahr", ""]}
    expression = "case when \"gelöscht\" then 'gone' else 'here' end"
    assert values(columns, "city", set={"city": expression}) == ["gone", "here", "gone", "here", "gone", "here"]


def test_an_expression_that_cannot_be_applied_is_explained() -> None:
    with pytest.raises(Undecided, match=r"--set city 'cast\(n as int\)': cannot be applied to in\.csv") as error:
        values({"n": ["secret"]}, "city", set={"city": "cast(n as int)"})
    assert "secret" not in str(error.value)
    with pytest.raises(Undecided, match=r"column 'n' is neither true nor false in in\.csv, line 3"):
        values({"n": ["yes", "maybe"]}, "city", set={"city": "case when n then 'a' end"})


def test_words_win_over_the_code_tables(warehouse: Warehouse) -> None:
    rows = [
        {"id": "1", "name": "A", "status": " On  hold", "country": "GB"},
        {"id": "2", "name": "B", "status": "ON HOLD ", "country": "uk"},
        {"id": "3", "name": "C", "status": "trial", "country": "Absurdistan"},
    ]
    words = {"status": {"on hold": "suspended", "Trial": "cancelled", "gone": ""}, "country": {"Absurdistan": ""}}
    report = warehouse.load([rows[1], rows[2]], values=words, defaults={"country": "DE"})

    assert fates(report) == {"created": 2}
    assert warehouse.column("status") == ["cancelled", "suspended"]
    assert warehouse.column("country") == ["DE", "GB"]
    assert [note for note in report.notes if "matched no value" in note] == [
        '--value status:"gone" matched no value. Check its spelling in the source.'
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("status", "suspnded", """--value status:"x"=suspnded: 'suspnded' is not valid. Did you mean 'suspended'?"""),
        ("country", "Absurdistan", "is not valid; unknown country: use an ISO 3166-1 code"),
        ("created_at", "soon", "is not valid; created_at is not a recognised date"),
    ],
)
def test_a_value_that_its_field_cannot_have_is_refused_before_reading(
    warehouse: Warehouse, field: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        warehouse.load(warehouse.folder / "not there.csv", values={field: {"x": value}})
    assert message in str(error.value)


def test_a_word_of_a_typed_column_and_of_a_built_field(warehouse: Warehouse) -> None:
    frame = pl.DataFrame({"id": [1, 2], "name": ["A", "B"], "active": [True, False], "s": [None, "x"]})
    frame.write_parquet(warehouse.folder / "in.parquet")
    words = {"status": {"true": "active", "false": "inactive", "x": "cancelled"}}
    warehouse.load(warehouse.folder / "in.parquet", fields={"status": "s | active"}, values=words)
    assert warehouse.column("status") == ["active", "cancelled"]
    warehouse.load(warehouse.folder / "in.parquet", fields={"status": "active"}, values=words)
    assert warehouse.column("status") == ["active", "inactive"]


ROWS = [
    {"id": "1", "First": "Ann", "Last": "Lee", "Firm": "", "mail": "ann@x.example", "on": "25.12.2023"},
    {"id": "2", "First": "", "Last": "", "Firm": "", "mail": "bad", "on": ""},
    {"id": "3", "First": "Cy", "Last": "", "Firm": "Acme", "mail": "", "on": ""},
]
RULES = {"name": "Firm | First + Last", "billing_contact_name": "First + Last"}


def test_rejects_name_the_line_and_show_the_original_columns(warehouse: Warehouse) -> None:
    report = warehouse.load(ROWS, fields=RULES, set={"city": 'upper("on")'})

    assert fates(report) == {"created": 2, "rejected": 1}
    (reject,) = rejects(report)
    assert list(reject) == [*ROWS[0], "_source", "_line", "_codes", "_reasons", "_text"]
    assert (reject["_line"], reject["_codes"]) == ("3", "email.syntax name.missing")
    assert warehouse.rows("SELECT name, billing_contact_name, city, metadata FROM customers ORDER BY name") == [
        {"name": "Acme", "billing_contact_name": "Cy", "city": None, "metadata": None},
        {"name": "Ann Lee", "billing_contact_name": "Ann Lee", "city": "25.12.2023", "metadata": None},
    ]


@pytest.mark.slow
def test_a_changed_rule_reads_anew(warehouse: Warehouse) -> None:
    def reused(**options: Any) -> bool:
        report = warehouse.load(ROWS, **options)
        return any("Input unchanged since run" in note for note in report.notes)

    assert not reused(fields=RULES)
    assert reused(fields=RULES)
    assert not reused(fields=RULES | {"billing_contact_name": "Last + First"})
    assert not reused(fields=RULES, values={"name": {"Acme": "Acme Ltd"}})
    assert warehouse.column("name") == ["Acme Ltd", "Ann Lee"]
    assert not reused(fields=RULES, set={"city": "upper(First)"})
    assert not reused(fields=RULES, set={"city": "lower(First)"})
    assert not reused(fields=RULES, ignore="on", set={"city": "lower(First)"})


def test_words_that_an_earlier_run_matched_are_not_said_to_match_nothing(warehouse: Warehouse) -> None:
    for _ in range(2):
        report = warehouse.load(ROWS, fields=RULES, values={"name": {"Acme": "Acme Ltd"}})
        assert not any("matched no value" in note for note in report.notes)


def test_skipped_records_are_known_by_built_keys(warehouse: Warehouse) -> None:
    report = warehouse.load(
        ROWS,
        fields=RULES | {"external_id": "First + id"},
        values={"external_id": {"cy 3": "C-3"}},
        where="First = 'Ann'",
    )
    keys = pl.read_parquet(Path(report.run_dir) / "present" / "*.parquet")
    assert keys["external_id"].to_list() == ["2", "C-3"]


def test_it_is_accepted_in_every_place(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(warehouse.folder)
    (warehouse.folder / "in.csv").write_text("id,First,Last,Stand,x\n1,Ann,Lee,halt,q\n")
    (warehouse.folder / "p.toml").write_text(
        'source = "in.csv"\ndestination = "a.csv"\nignore = ["x"]\n[fields]\nname = "First + Last"\nstatus = "Stand"\n'
        '[values.status]\n"halt" = "suspended"\n[set]\ncity = "upper(Last)"\n'
    )
    options = ["--map", "name=First + Last", "--map", "status=Stand", "--value", "status:halt=suspended"]
    options += ["--set", "city=upper(Last)", "--ignore", "x"]
    variables = {
        "TRANSHIP_FIELDS": "name=First + Last\nstatus=Stand",
        "TRANSHIP_VALUES": "status:halt=suspended",
        "TRANSHIP_SET": "city=upper(Last)",
        "TRANSHIP_IGNORE": "x",
    }
    assert cli.main(["run", "p.toml"]) == 0
    assert cli.main(["run", "in.csv", "b.csv", *options]) == 0
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["run", "in.csv", "c.csv"]) == 0
    capsys.readouterr()

    written = [(warehouse.folder / f"{name}.csv").read_text() for name in "abc"]
    assert written[0] == written[1] == written[2]
    assert ",Ann Lee," in written[0]
    assert ",LEE," in written[0]
    assert ",suspended," in written[0]


def test_a_run_is_resumed_with_its_rules(warehouse: Warehouse) -> None:
    report = warehouse.load(ROWS, fields=RULES, set={"city": "upper(First)"}, dry_run=True)
    directory = RunDirectory.open(warehouse.folder / "state", report.run_id)
    directory.manifest["settings"]["dry_run"] = False
    directory.manifest["status"] = "interrupted"
    directory.save()

    resumed = run.resume(warehouse.folder / "state", report.run_id)
    assert resumed.columns == report.columns
    assert warehouse.column("city") == ["ANN", "CY"]


@pytest.mark.parametrize("staged", [True, False])
def test_a_run_of_an_earlier_version_is_resumed(warehouse: Warehouse, *, staged: bool) -> None:
    rows = [{"Nr": "1", "Title": "Acme", "Notes": "x", "Mail": "a@x.example"}]
    fields = {"external_id": "Nr", "name": "Title", "email": "Mail", "billing_contact_email": "Mail"}
    report = warehouse.load(rows, fields=fields, ignore="Notes", dry_run=True)
    directory = RunDirectory.open(warehouse.folder / "state", report.run_id)
    settings = directory.manifest["settings"]
    for name in ("fields", "ignore", "values", "set", "allow_missing"):
        del settings[name]
    settings["columns"] = {
        "Nr": "external_id",
        "Title": "name",
        "Notes": "",
        "Mail": ["email", "billing_contact_email"],
    }
    settings["dry_run"] = False
    del directory.manifest["steps"]["stage"]["built"]
    if not staged:
        directory.manifest["steps"] = {}
    directory.manifest["status"] = "interrupted"
    directory.save()

    assert fates(run.resume(warehouse.folder / "state", report.run_id)) == {"created": 1}
    assert warehouse.rows("SELECT external_id, name, email, billing_contact_email, metadata FROM customers") == [
        {
            **{"external_id": "1", "name": "Acme", "email": "a@x.example"},
            **{"billing_contact_email": "a@x.example", "metadata": None},
        }
    ]


def test_a_plan_of_an_earlier_version_is_applied(warehouse: Warehouse) -> None:
    from tranship.pipelines.settings import load

    source = warehouse.folder / "in.csv"
    source.write_text("Nr,Title\n1,Acme\n")
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    folder = warehouse.folder / "plan"
    run.plan(load({**given, "fields": {"external_id": "Nr", "name": "Title"}}, {}), folder)
    directory = RunDirectory.at(folder)
    for name in ("fields", "ignore", "values", "set", "allow_missing"):
        del directory.manifest["settings"][name]
    directory.manifest["settings"]["columns"] = {"Nr": "external_id", "Title": "name"}
    del directory.manifest["steps"]["stage"]["built"]
    directory.save()

    assert fates(run.apply(folder)) == {"created": 1}
    assert json.loads((folder / "report.json").read_text())["columns"] == {"Nr": "external_id", "Title": "name"}


def test_files_without_a_column_are_read_with_allow_missing(warehouse: Warehouse) -> None:
    (warehouse.folder / "a.csv").write_text("id,First,Last,town\n1,Ann,Lee,Ulm\n")
    (warehouse.folder / "b.csv").write_text("id,Last\n2,Bo\n3,Cy\n")
    rules = {"fields": {"name": "First + Last"}, "set": {"city": "upper(town)"}, "where": "town is null or id = '1'"}
    with pytest.raises(ConfigError, match=r"b\.csv"):
        warehouse.load(str(warehouse.folder / "?.csv"), **rules)
    report = warehouse.load(str(warehouse.folder / "?.csv"), allow_missing=True, **rules)

    assert warehouse.rows("SELECT name, city FROM customers ORDER BY external_id") == [
        {"name": "Ann Lee", "city": "ULM"},
        {"name": "Bo", "city": None},
        {"name": "Cy", "city": None},
    ]
    assert any("b.csv: has no column 'First' (name)" in note for note in report.notes)
    assert any("b.csv: has no column 'town' (city)" in note for note in report.notes)


@pytest.mark.slow
def test_what_a_rule_leaves_unused_in_a_record_stays_in_metadata(warehouse: Warehouse) -> None:
    rows = [
        {"id": "1", "Display Name": "Bowman", "Company Name": "Bowman & Co", "First Name": "Pat", "Last Name": "Boyle"},
        {"id": "2", "Display Name": "", "Company Name": "Tarn", "First Name": "Tom", "Last Name": ""},
        {"id": "3", "Display Name": "", "Company Name": "", "First Name": "Una", "Last Name": "Ude"},
    ]
    warehouse.load(rows)
    assert warehouse.rows("SELECT name, billing_contact_name, metadata FROM customers ORDER BY external_id") == [
        {"name": "Bowman", "billing_contact_name": "Pat Boyle", "metadata": '{"Company Name":"Bowman & Co"}'},
        {"name": "Tarn", "billing_contact_name": "Tom", "metadata": None},
        {"name": "Una Ude", "billing_contact_name": "Una Ude", "metadata": None},
    ]
    rules = {"name": "Company Name | First Name", "billing_contact_name": "Display Name"}
    warehouse.load(rows, fields=rules, table="other")
    assert [row["metadata"] for row in warehouse.rows("SELECT metadata FROM other ORDER BY external_id")] == [
        '{"Last Name":"Boyle","First Name":"Pat"}',
        '{"First Name":"Tom"}',
        '{"Last Name":"Ude"}',
    ]
    warehouse.load(rows, fields=rules, extra="drop", table="third")
    assert warehouse.column("name || coalesce(metadata::text, '')", table="third") == ["Bowman & Co", "Tarn", "Una"]


@pytest.mark.slow
def test_a_report_says_what_became_of_the_columns(warehouse: Warehouse) -> None:
    report = warehouse.load(ROWS, fields=RULES, ignore="on")

    assert dict(report.built) == RULES | {"name": "Firm | First + Last"}
    assert (report.kept, report.left_out) == ((), ("on",))
    line = (
        "mapped 5 of 6 columns; built: name from Firm | First + Last, billing_contact_name from First + Last; "
        'left out: "on"'
    )
    assert f"  {line}" in render.of_report(report).splitlines()
    assert "5 of 6 columns mapped to fields" in Path(report.files["page"]).read_text()
    assert Report.from_json(report.to_json()) == report

    wide = [{"id": "1", "name": "A", **{f"x{n}": "v" for n in range(5)}}]
    report = warehouse.load(wide, table="wide")
    assert report.kept == ("x0", "x1", "x2", "x3", "x4")
    assert 'mapped 2 of 7 columns; kept in metadata: "x0", "x1" and 3 more' in render.of_report(report, reasons=2)
    assert warehouse.load(wide, table="wide", extra="drop").left_out == report.kept
