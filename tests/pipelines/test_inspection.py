"""Inspection of a source: its columns, their mapping, and the expected rejects."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines import run
from tranship.pipelines.cli import render
from tranship.pipelines.inspection import Column, Inspection
from tranship.pipelines.settings import load, reading_from_command
from tranship.pipelines.settings_file import pipeline_toml
from tranship.pipelines.settings_model import Reading, Settings


def inspected(source: Path | str, rows: int = 10_000, **options: Any) -> Inspection:
    return run.inspect(reading_from_command(str(source), options, {}), rows)


def written(folder: Path, text: str, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_have_fill_distinct_values_and_samples(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,Plan\n1,Acme,a\n2, ,b\n3,Beta,a\n4,Acme,c\n5,,d\n")

    assert inspected(path).columns == (
        Column("id", "text", 1.0, 5, ("1", "2", "3"), "external_id", "field"),
        Column("name", "text", 0.6, 2, ("Acme", "Beta"), "name", "field"),
        Column("Plan", "text", 1.0, 4, ("a", "b", "c"), None, "metadata"),
    )


def test_each_of_many_columns_has_its_own_values(tmp_path: Path) -> None:
    header = ["id", "name", *(f"c{number}" for number in range(500))]
    rows = [[f"{row}", f"N {row}", *(f"{number % row}" if row else "" for number in range(500))] for row in range(5)]
    file = tmp_path / "in.csv"
    file.write_text("".join(",".join(line) + "\n" for line in (header, *rows)))
    columns = {column.name: column for column in inspected(file).columns}
    for number in range(500):
        values = [f"{number % row}" for row in range(1, 5)]
        found = columns[f"c{number}"]
        assert (found.filled, found.distinct) == (0.8, len(set(values)))
        assert found.samples == tuple(dict.fromkeys(values))[:3]


@pytest.mark.parametrize(("extra", "becomes"), [("keep", "metadata"), ("drop", "nothing")])
def test_what_nobody_mapped_becomes_what_extra_says(extra: str, becomes: str, tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,Plan\n1,Acme,a\n")

    assert inspected(path, extra=extra).columns[2].becomes == becomes


def test_what_was_told_is_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,Plan\n1,Acme,a\n")
    columns = inspected(path, fields={"legal_name": "plan"}, ignore="ID").columns

    assert [(column.field, column.becomes) for column in columns] == [
        ("", "nothing"),
        ("name", "field"),
        ("legal_name", "field"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["crm_export.csv", "shop_kunden.csv", "app_users_utf16.csv", "subscriptions.parquet", "nightly"]
)
def test_the_rejects_expected_are_those_of_a_run(name: str, sample_data: Path, tmp_path: Path) -> None:
    found = inspected(sample_data / name)
    ran = run.run(
        load({"source": str(sample_data / name), "destination": str(tmp_path / "o.csv"), "state_dir": tmp_path}, {})
    )

    only_the_whole_tells = ("identity.ambiguous_email", "email.shared")
    expected = {finding.code: finding.count for finding in found.rejects}
    assert expected == {code: n for code, n in ran.rejects_by_code.items() if code not in only_the_whole_tells}
    assert found.rejected == ran.counts.rejected - ran.rejects_by_code.get("identity.ambiguous_email", 0)
    assert {f.code: f.example for f in found.rejects} == {code: ran.examples[code] for code in expected}
    assert (found.records, found.whole, found.notes) == (ran.counts.read, True, ran.notes)


def test_types_of_parquet_columns_are_named(sample_data: Path) -> None:
    types = {column.name: column.type for column in inspected(sample_data / "subscriptions.parquet").columns}

    assert [types[name] for name in ("customer_id", "email", "updated_at", "cancel_date", "invoice_cc_emails")] == [
        "integer",
        "text",
        "instant",
        "date",
        "list",
    ]
    assert [types[name] for name in ("is_vip", "annual_value")] == ["boolean", "text"]


def test_only_the_first_records_are_looked_at(tmp_path: Path) -> None:
    lines = [f"{n},N{n}" if n % 2 else f"{n}" for n in range(1, 21)]
    path = written(tmp_path, "id,name\n" + "\n".join(lines) + "\n")
    found = inspected(path, rows=5)

    assert (found.records, found.whole, found.rejected) == (5, False, 2)
    assert found.columns[0].samples == ("1", "3", "5")
    assert (found.rejects[0].code, found.rejects[0].count) == ("line.too_few_columns", 2)
    assert inspected(path, rows=20).whole


def test_a_finding_has_its_first_place_and_value(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "id,name,email,country\n1,Acme,a@b.com,DE\n2,Beta,no address,DE\n3,Gamma,neither,DE\n4,Delta,d@b.com,Nowhere\n",
    )
    found = inspected(path)
    (first,), (second,) = found.rejects, found.warnings

    assert (first.code, first.count, first.example, first.value) == ("email.syntax", 2, f"{path}, line 3", "no address")
    assert (second.code, second.count, second.value) == ("country.unknown", 1, "Nowhere")


def test_masked_fields_have_no_samples(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,email,first,last,note,city\n1,quartz,Quartz,Q,to Quartz,Ulm\n2,q@quartz.example,Quartz\n")
    told = Settings(
        source=str(source),
        destination="out.csv",
        fields={"name": "first + last"},
        mask={"email": "hide", "name": "hide"},
    )
    found = run.inspect(told, 10)
    assert "quartz" not in found.to_json().casefold()
    samples = {column.name: column.samples for column in found.columns}
    assert (samples["first"], samples["note"], samples["city"]) == (("[hidden]",), ("[hidden]",), ("Ulm",))
    assert [(finding.code, finding.value) for finding in found.rejects] == [
        ("line.too_few_columns", "[hidden]"),
        ("email.syntax", "[hidden]"),
    ]


def test_warnings_of_rejected_records_are_not_expected(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,phone,country\n1,Acme,call me,DE\n2,,call me,DE\n")

    assert [(finding.code, finding.count) for finding in inspected(path).warnings] == [("phone.unreadable", 1)]


def test_a_conflict_is_part_of_the_answer(tmp_path: Path) -> None:
    found = inspected(written(tmp_path, "id,name,mail,E-mail address\n1,A,a@b.com,c@d.com\n"))

    assert found.conflicts == {"email": ("mail", "E-mail address")}
    assert [column.becomes for column in found.columns] == ["field", "field", "undecided", "undecided"]
    assert found.problem is not None
    assert '--map email="mail"' in found.problem
    assert (found.rejected, found.rejects) == (None, ())


def test_every_conflict_is_reported_together(tmp_path: Path) -> None:
    found = inspected(written(tmp_path, "id,name,mail,E-mail address,phone no,tel\n1,A,a@b.com,c@d.com,1,2\n"))

    assert found.problem is not None
    assert found.problem.count("Choose one") == 2


def test_columns_nobody_knows_are_part_of_the_answer(tmp_path: Path) -> None:
    found = inspected(written(tmp_path, "x1,x2\n1,2\n"))

    assert found.problem is not None
    assert "no known column name" in found.problem
    assert [column.becomes for column in found.columns] == ["metadata", "metadata"]


@pytest.mark.parametrize(
    ("fields", "message"), [({"name": "Nme"}, "no column 'Nme'"), ({"nme": "name"}, "unknown field 'nme'")]
)
def test_wrong_settings_are_an_error(fields: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        inspected(written(tmp_path, "id,name\n1,A\n"), fields=fields)


def test_a_file_without_records_is_looked_at(tmp_path: Path) -> None:
    found = inspected(written(tmp_path, "id,name\n"))

    assert (found.records, found.whole, found.rejected) == (0, True, 0)
    assert [column.filled for column in found.columns] == [0.0, 0.0]


def test_a_rejects_file_shows_the_columns_of_its_source_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,_source,_line,_codes,_reasons,_text\n1,,in.csv,2,name.missing,x,\n")

    assert [column.name for column in inspected(path).columns] == ["id", "name"]


def test_the_answer_is_one_json_object(sample_data: Path) -> None:
    found = inspected(sample_data / "crm_export.csv")
    said = json.loads(found.to_json())

    assert said["columns"][0]["name"] == "Customer ID"
    assert said["rejects"][0]["count"] == found.rejects[0].count


def test_the_settings_file_says_what_was_told_and_what_was_found(tmp_path: Path) -> None:
    path = written(tmp_path, 'x\ny\nid;"na""me";Plan;gone;back\\slash\x7f;Notes\n1;Acme;a;b;c;d\n')
    options: dict[str, Any] = {
        "fields": {"name": 'na"me', "city": "back\\slash\x7f", "state": 'na"me | Plan'},
        "ignore": ("gone",),
        "values": {"status": {"on hold": "suspended"}},
        "set": {"tax_id": "lower(Plan)"},
        "defaults": {"currency": "EUR"},
        "delimiter": ";",
        "date_format": ("%d/%m/%Y",),
        "header": True,
        "skip_lines": 1,
        "header_line": 3,
    }
    reading = reading_from_command(str(path), options, {})
    text = pipeline_toml(run.inspect(reading, 10), reading)
    (tmp_path / "p.toml").write_text(text)

    assert tomllib.loads(text)["fields"] == {"external_id": "id", **options["fields"]}
    assert '# not mapped, kept in metadata: ["Notes"]' in text
    settings = load({}, {}, tmp_path / "p.toml")
    assert Reading(**settings.model_dump(include=set(Reading.model_fields))) == reading.model_copy(
        update={"fields": {"external_id": "id", **options["fields"]}}
    )


def test_the_settings_file_leaves_a_conflict_to_its_reader(tmp_path: Path) -> None:
    path = written(tmp_path, "id,name,mail,E-mail address\n1,A,a@b.com,c@d.com\n")
    reading = reading_from_command(str(path), {}, {})
    text = pipeline_toml(run.inspect(reading, 10), reading)

    assert tomllib.loads(text)["fields"] == {"external_id": "id", "name": "name"}
    chosen = text.replace('# email = "mail"', 'email = "mail"')
    (tmp_path / "p.toml").write_text(chosen)
    assert run.inspect(reading_from_command(str(tmp_path / "p.toml"), {}, {}), 10).problem is None


def test_one_record_is_singular(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("id,name,email\n1,Ann,ann@a.example\n")
    text = render.of_inspection(inspected(file))

    assert text.startswith(f"{file}: 1 record\n")
    assert "0 of 1 record would be rejected" in text
