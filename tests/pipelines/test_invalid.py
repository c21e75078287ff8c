"""The cost of an invalid value: the record, or only the value, which stays in the metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import tranship
from support.accounts import Open
from support.long_tests import combined, some
from support.warehouse import Warehouse, fates, rejects, write_csv
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.connectors.registry import CONNECTORS
from tranship.pipelines import run, settings
from tranship.pipelines.cli import main as cli
from tranship.schemas.customer import COLUMNS

pytestmark = pytest.mark.slow

GOOD = {"external_id": "1", "email": "ann@b.co", "name": "Ann"}

# Field, invalid value, code.
OPTIONAL = [
    ("customer_type", "Retail", "customer_type.unknown"),
    ("country", "Narnia", "country.unknown"),
    ("currency", "Gold", "currency.unknown"),
    ("timezone", "Mars/Base", "timezone.unknown"),
    ("language", "!!", "language.syntax"),
    ("status", "Draft", "status.unknown"),
    ("net_terms", "later", "net_terms.unreadable"),
    ("net_terms", "9999", "net_terms.range"),
    ("created_at", "12/13/14", "created_at.unreadable"),
    ("updated_at", "03/04/2024", "updated_at.ambiguous"),
    ("cancel_date", "1066-10-14", "cancel_date.range"),
    ("city", "x" * 256, "city.too_long"),
    ("billing_contact_email", "nobody", "billing_contact_email.syntax"),
    ("invoice_cc_emails", "a@b.co;nobody", "invoice_cc_emails.syntax"),
    ("aliases", "[1, {}]", "aliases.unreadable"),
    ("metadata", "no object", "metadata.syntax"),
]
# Field, invalid value, code: of the fields that identify a customer, and its name.
MANDATORY = [
    ("external_id", "1.23457E+12", "external_id.spreadsheet"),
    ("email", "nobody", "email.syntax"),
    ("name", "", "name.missing"),
    ("name", "x" * 256, "name.too_long"),
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.mark.parametrize(("field", "value", "code"), OPTIONAL)
def test_an_optional_value_is_left_out_and_kept_in_metadata(
    warehouse: Warehouse, field: str, value: str, code: str
) -> None:
    report = warehouse.load([GOOD | {field: value}])

    assert (report.status, report.exit_code, fates(report)) == ("done", 0, {"created": 1})
    assert (report.warnings_by_code, report.counts.warnings) == ({code: 1}, 1)
    assert report.examples[code].endswith("in.csv, line 2")
    [row] = warehouse.rows()
    assert json.loads(row["metadata"]) == {field: value}
    if field != "metadata":
        assert row[field] is None
    warned = pl.read_parquet(report.files["warnings"])
    assert warned.select("line", "code").rows() == [(2, code)]
    assert fates(warehouse.load([GOOD | {field: value}])) == {"unchanged": 1}


@pytest.mark.parametrize(("field", "value", "code"), MANDATORY)
def test_an_id_an_e_mail_or_a_name_costs_the_record(warehouse: Warehouse, field: str, value: str, code: str) -> None:
    report = warehouse.load([GOOD | {field: value}])

    assert (report.exit_code, fates(report), report.rejects_by_code) == (4, {"rejected": 1}, {code: 1})
    assert not report.warnings_by_code


@pytest.mark.parametrize(
    ("field", "value", "code", "by_field"), [(*case, by_field) for case, by_field in combined(OPTIONAL, [False, True])]
)
def test_the_settings_reject_such_records(
    warehouse: Warehouse, field: str, value: str, code: str, by_field: bool
) -> None:
    options: dict[str, Any] = {"on_invalid": {field: "reject"}} if by_field else {"strict": True}
    report = warehouse.load([GOOD | {field: value}], **options)

    assert (report.exit_code, fates(report), report.rejects_by_code) == (4, {"rejected": 1}, {code: 1})


def test_a_field_may_be_an_exception_to_strict(warehouse: Warehouse) -> None:
    records = [GOOD | {"status": "Draft"}, GOOD | {"external_id": "2", "email": "b@b.co", "country": "Narnia"}]
    report = warehouse.load(records, strict=True, on_invalid={"status": "warn"})

    assert (report.warnings_by_code, report.rejects_by_code) == ({"status.unknown": 1}, {"country.unknown": 1})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        # Invalid field → the identity of the customer, or the reasons to reject the record.
        (GOOD | {"email": "nobody"}, {"external_id": "1", "email": None, "metadata": '{"email":"nobody"}'}),
        (GOOD | {"external_id": "1.2E+12"}, {"external_id": None, "email": "ann@b.co"}),
        (GOOD | {"external_id": "", "email": "nobody"}, "identity.missing"),
        (GOOD | {"external_id": "1.2E+12", "email": "nobody"}, "identity.missing"),
        (GOOD | {"external_id": "1.2E+12", "email": ""}, "identity.missing"),
    ],
)
def test_an_id_or_an_e_mail_may_be_left_out_as_long_as_the_other_is_there(
    warehouse: Warehouse, record: dict[str, str], expected: dict[str, Any] | str
) -> None:
    report = warehouse.load([record], on_invalid={"external_id": "warn", "email": "warn"})

    if isinstance(expected, str):
        assert rejects(report)[0]["_codes"] == expected
        assert not report.warnings_by_code
    else:
        [row] = warehouse.rows()
        assert {name: row[name] for name in expected} == expected


def test_the_original_is_kept_under_the_name_of_its_column(warehouse: Warehouse) -> None:
    columns = ["ID", "E-Mail", "Company", "Land", "Status", "Metadata"]
    file = write_csv(
        warehouse.folder / "in.csv",
        [dict(zip(columns, ["1", "a@b.co", "Acme", " Narnia ", "Draft", '{"Status":"vip","a":1}'], strict=True))],
        columns,
    )
    warehouse.load(file, fields={"country": "Land"})

    [row] = warehouse.rows()
    assert json.loads(row["metadata"]) == {"Status": "vip", "a": 1, "column.Status": "Draft", "Land": " Narnia "}


def test_metadata_that_is_no_object_costs_no_other_column(warehouse: Warehouse) -> None:
    report = warehouse.load([GOOD | {"custom_fields": '[{"id": 1}]', "Plan": "Gold", "status": "Draft"}])

    assert report.warnings_by_code == {"metadata.syntax": 1, "status.unknown": 1}
    [row] = warehouse.rows()
    assert json.loads(row["metadata"]) == {"Plan": "Gold", "custom_fields": '[{"id": 1}]', "status": "Draft"}


def test_the_originals_of_a_record_do_not_depend_on_other_records(warehouse: Warehouse) -> None:
    columns = ["ID", "Company", "country", "status"]
    both, other = ("1", "Acme", "Narnia", "Draft"), ("2", "Bolt", "", "Draft")
    for name, rows in (("alone.csv", [both]), ("after.csv", [other, both])):
        file = write_csv(warehouse.folder / name, [dict(zip(columns, row, strict=True)) for row in rows], columns)
        written = warehouse.folder / f"{name}.parquet"
        tranship.run(file, written)
        [metadata] = pl.read_parquet(written).filter(pl.col("external_id") == "1")["metadata"]
        assert metadata == '{"country":"Narnia","status":"Draft"}', name


def test_a_value_that_is_left_out_erases_nothing(warehouse: Warehouse) -> None:
    known = GOOD | {"status": "active", "metadata": '{"tier": 1}'}
    warehouse.load([known, known | {"external_id": "2", "email": "bob@b.co"}])
    # Only the first of the two has metadata, which contains its invalid value.
    both = [GOOD | {"status": "Draft"}, GOOD | {"external_id": "2", "email": "bob@b.co", "status": "trial"}]
    warehouse.load(both, nulls="overwrite")

    assert [json.loads(row["metadata"]) for row in warehouse.rows("FROM customers ORDER BY external_id")] == [
        {"status": "Draft"},
        {"tier": 1},
    ]


@pytest.mark.parametrize(("limit", "stops"), [("0", True), ("1", True), ("2", False), ("49%", True), ("100%", False)])
def test_more_warnings_than_allowed_stop_the_run(warehouse: Warehouse, limit: str, stops: bool) -> None:
    records = [GOOD | {"external_id": str(n), "email": f"{n}@b.co", "status": "Draft"} for n in (1, 2)]
    if not stops:
        assert fates(warehouse.load(records, max_warnings=limit)) == {"created": 2}
        return
    with pytest.raises(GateClosed, match=f"2 warnings for 2 records, more than --max-warnings {limit}"):
        warehouse.load(records, max_warnings=limit)
    assert not warehouse.file.exists() or not warehouse.rows("FROM duckdb_tables()")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_invalid": {"contry": "warn"}}, "unknown field 'contry'. Did you mean country?"),
        ({"on_invalid": {"name": "warn"}}, "every customer needs a name"),
        ({"defaults": {"status": "Draft"}}, "--default status=Draft: unknown status"),
        ({"defaults": {"created_at": "03/04/2024"}}, "--default created_at=03/04/2024"),
    ],
)
def test_settings_that_cannot_be_right_stop_before_reading(
    warehouse: Warehouse, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        warehouse.load([GOOD], **options)
    assert message in str(error.value)


def test_the_command_says_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(Path("in.csv"), [GOOD | {"status": "Draft"}])

    assert cli.main(["run", "in.csv", "out.csv"]) == 0
    summary = capsys.readouterr().err
    assert "\ndone, with 1 warning in " in summary
    assert "invalid values, left empty and kept in metadata\n  status.unknown  1  in.csv, line 2" in summary
    assert "warnings, record by record: .tranship/runs/" in summary
    assert cli.main(["run", "in.csv", "out2.csv", "--on-invalid", "status=reject"]) == 4
    assert cli.main(["run", "in.csv", "out3.csv", "--strict"]) == 4
    capsys.readouterr()
    assert cli.main(["inspect", "in.csv"]) == 0
    assert "0 of 1 record would be rejected" in capsys.readouterr().out
    assert cli.main(["inspect", "in.csv", "--strict"]) == 0
    assert "1 of 1 record would be rejected" in capsys.readouterr().out


# At a provider ---------------------------------------------------------------------------------------------------

PROVIDERS = sorted(name for name, connector in CONNECTORS.items() if connector.key_variable)
NEEDED = {
    "customer_type": "BUSINESS",
    "country": "US",
    "currency": "USD",
    "status": "active",
    "created_at": "2024-01-01",
}


@pytest.mark.parametrize("provider", some(PROVIDERS, 2))
def test_a_provider_is_never_sent_a_record_without_the_value_that_could_not_be_read(
    provider: str, account: Open, tmp_path: Path
) -> None:
    there = account(provider)
    wrong = [
        GOOD | NEEDED | {"external_id": field, "email": f"{field}@b.co", field: value}
        for field, value in (("status", "Draft"), ("country", "Narnia"), ("currency", "GOLD"))
    ]
    good = GOOD | NEEDED | {"timezone": "Mars/Base"}
    source = write_csv(tmp_path / "in.csv", [*wrong, good], list(good))
    given = settings.Settings(source=str(source), destination=there.address, state_dir=tmp_path / "state")

    report = run.run(given)

    assert (report.exit_code, report.counts.created, report.counts.refused) == (4, 1, 3), report.refused_by_reason
    assert {
        f'unreadable: {field} "{value}"': 1 for field, value in (("status", "Draft"), ("country", "Narnia"))
    }.items() <= (dict(report.refused_by_reason).items())
    assert report.refused_by_reason['unreadable: currency "GOLD"'] == 1
    assert len(there.records()) == 1
    # Neither the same run again nor a retry sends them.
    assert run.run(given).counts.refused == 3
    assert run.retry(tmp_path / "state", report.run_id).counts.refused == 3
    assert len(there.records()) == 1


def test_a_customer_that_is_there_is_left_as_it_is(account: Open, tmp_path: Path) -> None:
    there = account("metrifox")
    source = tmp_path / "in.csv"
    given = settings.Settings(source=str(source), destination=there.address, state_dir=tmp_path / "state")
    write_csv(source, [GOOD | NEEDED])
    run.run(given)
    before = there.records()
    write_csv(source, [GOOD | NEEDED | {"status": "Draft", "name": "Ann Other"}])

    report = run.run(given)

    assert (report.counts.updated, report.counts.refused) == (0, 1)
    assert there.records() == before


def test_a_value_taken_over_from_a_merged_record_is_sent(account: Open, tmp_path: Path) -> None:
    there = account("metrifox")
    newer, older = {"updated_at": "2024-02-01"}, {"updated_at": "2024-01-01"}
    source = write_csv(tmp_path / "in.csv", [GOOD | NEEDED | {"country": "Narnia"} | newer, GOOD | NEEDED | older])
    given = settings.Settings(source=str(source), destination=there.address, state_dir=tmp_path / "state", fill=True)

    assert (run.run(given).counts.created, len(there.records())) == (1, 1)


# Always ----------------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.sampled_from(["", "active", "US", "30", "2024-01-01", "nobody", "a@b.co", "{}", "[]"]), st.text())


# A run takes much longer than a record: few runs, with many records each.
@hypothesis_settings(max_examples=int(os.environ.get("TRANSHIP_EXAMPLES", "12")))
@given(st.lists(st.dictionaries(st.sampled_from(list(COLUMNS)), VALUES, max_size=6), min_size=1, max_size=40))
def test_no_value_disappears(tmp_path_factory: pytest.TempPathFactory, given_records: list[dict[str, str]]) -> None:
    warehouse = Warehouse(tmp_path_factory.mktemp("w"))
    records = [{"external_id": f"id-{n}", "name": "Ann"} | record for n, record in enumerate(given_records)]
    report = warehouse.load(records, max_conflicts="100%")

    assert report.counts.balance() == 0
    warned = pl.read_parquet(report.files["warnings"])
    lines = {
        row["_line"]: row
        for row in pl.scan_parquet(sorted(Path(report.run_dir).glob("stage/*.parquet"))).collect().iter_rows(named=True)
    }
    for line, code in (
        warned.filter(pl.col("code").str.contains(r"\.(?:unknown|syntax|unreadable|range|too_long)$"))
        .select("line", "code")
        .iter_rows()
    ):
        field = code.partition(".")[0]
        if code == "phone.unreadable":
            continue
        assert lines[line][field] is None or field == "metadata"
        assert field in json.loads(lines[line]["metadata"])


# Columns with ambiguous names -----------------------------------------------------------------------


def written(warehouse: Warehouse, text: str) -> Path:
    path = warehouse.folder / "in.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("column", "flags"),
    combined(
        ["Client", "Kunde", "Customer", "properties.customer"], ["1,0", "yes,no", "true,FALSE", "Ja,Nein", "oui,non"]
    ),
)
def test_a_flag_in_a_lone_column_of_customers_is_no_name(warehouse: Warehouse, column: str, flags: str) -> None:
    first, second = flags.split(",")
    source = written(warehouse, f"id,{column}\n1,{first}\n2,{second}\n3,Acme\n")

    report = warehouse.load(source)

    assert report.exit_code == 4
    assert warehouse.column("name") == ["Acme"]
    assert set(report.rejects_by_code) <= {"name.flag", "name.not_text"}


def test_a_column_of_customers_mapped_on_purpose_is_taken_as_it_is(warehouse: Warehouse) -> None:
    warehouse.load(written(warehouse, "id,Client\n1,7\n2,Ja\n"), fields={"name": "Client"})

    assert warehouse.column("name") == ["7", "Ja"]


@pytest.mark.parametrize("column", ["Zahlungsbedingung", "Payment Terms Key", "payment_terms", "Conditions paiement"])
def test_a_key_of_payment_terms_is_not_read_as_days(warehouse: Warehouse, column: str) -> None:
    source = written(warehouse, f"id,name,{column}\n1,A,3\n2,B,0014\n3,C,ZB14\n4,D,30\n5,E,Net 5\n")

    report = warehouse.load(source)

    terms = warehouse.rows("SELECT net_terms FROM customers ORDER BY external_id")
    assert [row["net_terms"] for row in terms] == [None, None, None, 30, 5]
    assert report.warnings_by_code == {"net_terms.key": 2, "net_terms.unreadable": 1}
    assert [json.loads(row["metadata"])[column] for row in warehouse.rows(METADATA)] == ["3", "0014", "ZB14"]
    mapped = warehouse.load(source, fields={"net_terms": column})
    assert (mapped.counts.updated, mapped.warnings_by_code) == (2, {"net_terms.unreadable": 1})


METADATA = "SELECT metadata FROM customers WHERE metadata IS NOT NULL ORDER BY external_id"


@pytest.mark.parametrize("column", ["net_terms", "Zahlungsziel", "Payment terms (days)", "net_days"])
def test_days_by_name_are_days(warehouse: Warehouse, column: str) -> None:
    warehouse.load(written(warehouse, f"id,name,{column}\n1,A,3\n"))

    assert warehouse.column("net_terms") == [3]
