"""Export profiles: each recognises its sample and reads it as expected, and none overrides the user's settings."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import build, matching, profiles, run, settings_file, validate
from tranship.pipelines.endpoints import open_source
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.reading import check_values, spelling_of
from tranship.pipelines.settings import fragment, load
from tranship.pipelines.settings_model import Reading
from tranship.schemas import export_profiles
from tranship.schemas.customer import COLUMNS

SAMPLES = Path(__file__).parent.parent / "exports"
NAMES = sorted(export_profiles.index())
OTHERS = sorted(Path(__file__).parent.parent.joinpath("other_exports").glob("*.expected.json"))
"""Exports of systems without a profile."""


def sample(name: str) -> Path:
    (found,) = (file for file in SAMPLES.glob(f"{name}.*") if not file.name.endswith(".expected.json"))
    return found


def customers(file: Path, folder: Path, **options: Any) -> dict[str, Any]:
    """Return the customers of a file without nulls, the codes of faults and warnings, and the columns kept."""
    reading = Reading.model_validate({"source": str(file), **options})
    source = open_source(reading)
    applied = profiles.apply(source.layouts(), reading)
    columns = applied.columns(source.layouts())
    records, codes = [], set()
    for part in source.parts(folder):
        batch = part.read()
        codes.update(batch.broken["code"])
        prepared = build.prepare(batch, columns)
        read = normalise.customers(prepared.records, prepared.columns, spelling_of(applied.reading))
        codes.update(validate.faults(read)["code"], read.warnings["code"])
        for row in read.records.select(pl.exclude("metadata")).iter_rows(named=True):
            records.append({field: _plain(value) for field, value in row.items() if value is not None and value != []})
    source.close()
    return {"recognised": applied.title, "records": records, "codes": sorted(codes), "kept": sorted(columns.extra)}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


# Each profile ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_recognised_and_read_as_expected(name: str, tmp_path: Path) -> None:
    expected = json.loads((SAMPLES / f"{name}.expected.json").read_text(encoding="utf-8"))

    assert customers(sample(name), tmp_path) == expected
    assert expected["recognised"] == export_profiles.index()[name].title


@pytest.mark.parametrize("expected", OTHERS, ids=lambda path: path.name.split(".")[0])
def test_an_export_without_a_profile_is_read_as_expected(expected: Path, tmp_path: Path) -> None:
    (file,) = (path for path in expected.parent.glob(f"{expected.name.split('.')[0]}.*") if path != expected)

    read = customers(file, tmp_path)

    assert read == json.loads(expected.read_text(encoding="utf-8"))
    assert read["recognised"] is None


@pytest.mark.parametrize("name", NAMES)
def test_each_set_of_headers_is_recognised_and_leaves_no_choice(name: str) -> None:
    for headers in export_profiles.index()[name].headers:
        layouts = [Layout("in.csv", tuple(sorted(headers)))]
        applied = profiles.apply(layouts, Reading.model_validate({"source": "in.csv"}))
        matched = matching.match(layouts, applied.reading, applied.pins)

        assert applied.title == export_profiles.index()[name].title
        assert matched.conflicts == {}
        assert {"name", "email", "external_id"} & {*matched.fields, *matched.built}
        for rule in matched.built.values():
            assert len(set(rule.alternatives)) == len(rule.alternatives)


def test_there_are_samples_of_profiles_only() -> None:
    assert {file.name.split(".")[0] for file in SAMPLES.iterdir()} == set(NAMES)
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_valid_settings_with_a_source(name: str) -> None:
    content = export_profiles.load(name)
    about = content.pop("recognise")

    assert about.keys() == {"name", "source", "headers"}
    assert about["source"]
    assert set(content) <= set(profiles.SETTINGS)
    assert {field for table in ("fields", "set", "values") for field in content.get(table, {})} <= set(COLUMNS)
    check_values(fragment({**content, "source": name}, name))


def test_no_profile_is_recognised_by_fewer_than_three_headers() -> None:
    short = [name for name in NAMES for headers in export_profiles.index()[name].headers if len(headers) < 3]
    assert short == []


def test_titles_are_distinguished() -> None:
    titles = [known.title.casefold() for known in export_profiles.index().values()]
    assert len(set(titles)) == len(titles)


# Recognition -----------------------------------------------------------------------------------------------------


HUBSPOT = "Record ID,First Name,Last Name,Contact owner,Email,Lead Status\n7,Ann,Ash,Sal,ann@ash.example,open deal\n"


def written(folder: Path, text: str, name: str = "in.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "header",
    [
        "id,name,email,status,created_at",
        "ID,First Name,Last Name,Email,Company,City,State,Country,Phone",
        "Customer ID,First Name,Last Name,Email",
        "Record ID,First Name,Last Name,Email",
        "record id,first name,last name,contact owner",
    ],
)
def test_a_header_without_the_words_of_a_system_is_not_recognised(header: str) -> None:
    assert export_profiles.recognise(header.split(",")) == ()


def test_our_own_samples_are_not_recognised(sample_data: Path) -> None:
    for file in sample_data.glob("*.csv"):
        with closing(open_source(Reading.model_validate({"source": str(file)}))) as source:
            assert export_profiles.recognise(source.layouts()[0].columns) == ()


def test_a_profile_that_needs_more_headers_precedes_one_that_needs_some_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {
        "some": export_profiles.Known("Some", (frozenset("ab"),)),
        "more": export_profiles.Known("More", (frozenset("abc"), frozenset("xy"))),
        "other": export_profiles.Known("Other", (frozenset("ad"),)),
    }
    monkeypatch.setattr(export_profiles, "index", lambda: known)
    assert export_profiles.recognise("abc") == ("more",)
    assert export_profiles.recognise(["a", " b "]) == ("some",)
    assert export_profiles.recognise("abcd") == ("more", "other")


def test_headers_of_two_systems_select_no_profile_with_a_note(tmp_path: Path) -> None:
    both = [*HUBSPOT.split("\n")[0].split(","), "account_code", "account_state", "account_email"]
    file = written(tmp_path, ",".join(both) + "\n" + ",".join("x" for _ in both) + "\n")
    reading = Reading.model_validate({"source": str(file)})
    applied = profiles.apply(open_source(reading).layouts(), reading)

    assert (applied.title, applied.reading) == (None, reading)
    assert applied.notes == (
        (
            "the headers match several export profiles: HubSpot contacts and Recurly accounts. None is used. To choose "
            "one: --profile hubspot-contacts"
        ),
    )


def test_files_of_different_systems_select_no_profile(tmp_path: Path) -> None:
    written(tmp_path, HUBSPOT, "a.csv")
    written(tmp_path, "First Name,Last Name,Email\nBob,Ash,bob@ash.example\n", "b.csv")
    reading = Reading.model_validate({"source": str(tmp_path)})

    assert profiles.apply(open_source(reading).layouts(), reading).notes == (
        "only some of the files are recognised: HubSpot contacts. None is used. To choose one: --profile hubspot-contacts",
    )


def test_an_id_that_the_profile_does_not_name_is_not_used(tmp_path: Path) -> None:
    lines = sample("salesforce-contacts").read_text(encoding="utf-8").splitlines(keepends=True)
    file = written(tmp_path, "".join(line.partition(",")[2] for line in lines))
    found = customers(file, tmp_path)

    assert found["recognised"] == "Salesforce contacts"
    assert "Account ID" in found["kept"]
    assert [record.get("external_id") for record in found["records"]] == [None, None]


def test_two_columns_of_the_name_that_it_chooses_must_agree(tmp_path: Path) -> None:
    header, first, second = sample("salesforce-contacts").read_text(encoding="utf-8").splitlines()
    lines = (f"{header},E-mail", f"{first},elsa@ekdal.example", f"{second},FRANK")
    found = run.inspect(Reading.model_validate({"source": str(written(tmp_path, "\n".join(lines)))}), 10)

    assert found.recognised == "Salesforce contacts"
    assert 'line 3: "Email" and "E-mail" both mean email and have different values' in (found.problem or "")


# The user's settings take precedence ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"external_id": "7", "name": "Ann Ash", "email": "ann@ash.example"}),
        ({"fields": {"external_id": "Email"}}, {"external_id": "ann@ash.example"}),
        ({"set": {"external_id": "'hs-' || \"Record ID\""}}, {"external_id": "hs-7"}),
        ({"ignore": "Record ID"}, {"external_id": None}),
        ({"fields": {"status": "Lead Status"}, "values": {"status": {"Open deal": "trial"}}}, {"status": "trial"}),
        ({"profile": "none", "values": {"status": {"Open deal": "trial"}}}, {"status": None}),
    ],
)
def test_options_override_a_profile(options: Mapping[str, Any], expected: Mapping[str, Any], tmp_path: Path) -> None:
    (record,) = customers(written(tmp_path, HUBSPOT), tmp_path, **options)["records"]
    assert {field: record.get(field) for field in expected} == expected


def test_a_word_of_the_user_overrides_one_of_the_profile(tmp_path: Path) -> None:
    file = sample("stripe-customers")
    found = customers(file, tmp_path, values={"status": {"TRUE": "inactive"}})["records"]
    assert [record.get("status") for record in found] == ["trial", "inactive", None]


def test_words_of_a_profile_need_not_occur(tmp_path: Path) -> None:
    file = written(tmp_path, "".join(sample("stripe-customers").read_text().splitlines(keepends=True)[:2]))
    report = run.run(load({"source": str(file), "destination": str(tmp_path / "o.csv"), "state_dir": tmp_path}, {}))
    assert report.recognised == "Stripe customers"
    assert [note for note in report.notes if "matched no value" in note] == []


# By name, or as a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hubspot-contacts", "HubSpot contacts"])
def test_a_profile_chosen_by_name_needs_no_headers(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, "Record ID,First Name,Last Name\n7,Ann,Ash\n")
    assert customers(file, tmp_path)["recognised"] is None
    assert customers(file, tmp_path, profile=name)["recognised"] == "HubSpot contacts (--profile)"


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("hubspot-contact", "there is no such profile. Did you mean hubspot-contacts"),
        ("HubSpot", r"Did you mean hubspot-companies or hubspot-contacts\?"),
        ("xyz", "there is no such profile. The profiles are: "),
        ("zuora-accounts", "in.csv has none of the columns of this profile"),
        ("missing.toml", r"missing.toml: cannot be read \(No such file or directory\)"),
    ],
)
def test_an_unusable_profile_is_explained(profile: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, HUBSPOT)
    with pytest.raises(ConfigError, match=message):
        customers(file, tmp_path, profile=profile)


OWN = """
ignore = ["Lead Status"]
date_format = ["%d/%m/%Y"]
timezone = "Europe/Berlin"
[recognise]
name = "My CRM"
headers = ["No", "Firm"]
[fields]
external_id = "No"
name = "Firm"
created_at = "Since"
phone = "Line"
[values.status]
hot = "active"
[set]
city = "upper(Town)"
"""
OWN_FILE = "No,Firm,Since,status,Town\n1,Acme,03/04/2024,hot,Ulm\n"


def test_a_file_is_a_profile(tmp_path: Path) -> None:
    own = written(tmp_path, OWN, "own.toml")
    found = customers(written(tmp_path, OWN_FILE), tmp_path, profile=own)

    assert found["recognised"] == "My CRM (--profile)"
    assert found["records"] == [
        {
            **{"external_id": "1", "name": "Acme", "city": "ULM", "status": "active"},
            "created_at": "2024-04-02T22:00:00+00:00",
        }
    ]


def test_a_custom_profile_may_be_based_on_another(tmp_path: Path) -> None:
    written(tmp_path, 'profile = "hubspot-contacts"\n[values.status]\n"open deal" = "trial"\n', "a.toml")
    own = written(tmp_path, f'profile = "{tmp_path}/a.toml"\n[fields]\nstatus = "Lead Status"\n', "b.toml")
    (record,) = customers(written(tmp_path, HUBSPOT), tmp_path, profile=str(own))["records"]
    assert (record["external_id"], record["status"]) == ("7", "trial")


def test_missing_columns_of_a_custom_profile_are_named(tmp_path: Path) -> None:
    own = written(tmp_path, OWN, "own.toml")
    reading = Reading.model_validate({"source": str(written(tmp_path, OWN_FILE)), "profile": str(own)})
    notes = profiles.apply(open_source(reading).layouts(), reading).notes
    assert notes == (f'--profile {own}: "Line" is not a column of this source; rules are applied without',)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OWN.replace('"Firm"]', '"Firm", "Region"]'), 'lacks "Region", which .recognise. names'),
        (OWN.replace("ignore =", "ignores ="), "unknown setting ignores. Did you mean ignore?"),
        (OWN.replace('"active"', '"activ"'), "'activ' is not valid. Did you mean 'active'"),
        (OWN.replace('"Europe/Berlin"', '"Berlin"'), "'Berlin' is not an IANA time zone"),
        (OWN.replace('headers = ["No", "Firm"]', 'headers = "No"'), "has a name and headers"),
        (OWN.replace('name = "Firm"', 'nam = "Firm"'), "unknown field 'nam'. Did you mean name"),
        ("fields = [", "is not valid TOML"),
        ('profile = "OWN"', "names itself as the profile below it"),
        ('profile = "hubspot"', "there is no such profile. Did you mean hubspot-co"),
        ("[fields]\nname = 7", "fields.*not text"),
    ],
)
def test_mistakes_in_a_custom_profile_are_named(content: str, message: str, tmp_path: Path) -> None:
    own = written(tmp_path, content.replace("OWN", f"{tmp_path}/own.toml"), "own.toml")
    with pytest.raises(ConfigError, match=message):
        customers(written(tmp_path, OWN_FILE), tmp_path, profile=str(own))


def test_what_inspect_writes_is_a_profile_and_a_settings_file(tmp_path: Path) -> None:
    shutil.copy(sample("stripe-customers"), tmp_path / "jan.csv")
    shutil.copy(sample("stripe-customers"), tmp_path / "feb.csv")
    reading = Reading.model_validate({"source": str(tmp_path / "jan.csv")})
    found = run.inspect(reading, 100)
    own = written(tmp_path, settings_file.pipeline_toml(found, reading), "own.toml")

    assert found.recognised == "Stripe customers"
    assert load({}, {}, own).profile == "stripe-customers"
    by_headers, by_file = (customers(tmp_path / "feb.csv", tmp_path, profile=given) for given in (None, str(own)))
    assert by_file["recognised"] == "jan (--profile)"
    assert by_file["records"] == by_headers["records"]


# In a run --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_names_its_profile_and_keeps_it_when_resumed(tmp_path: Path) -> None:
    file = sample("recurly-accounts")
    given = {"source": str(file), "destination": f"duckdb:///{tmp_path}/x.duckdb", "state_dir": tmp_path / "state"}
    planned = run.plan(load(given, {}), tmp_path / "plan")
    applied = run.apply(tmp_path / "plan")

    assert (planned.recognised, applied.recognised) == ("Recurly accounts", "Recurly accounts")
    assert json.loads(applied.to_json())["recognised"] == "Recurly accounts"
    assert "recognised as Recurly accounts" in (Path(applied.run_dir) / "report.html").read_text(encoding="utf-8")


# Files derived from the profiles ----------------------------------------------------------------------------------


def test_index_and_page_are_up_to_date() -> None:
    made = runpy.run_path(str(SAMPLES.parent.parent / "schemas" / "exports" / "build.py"))
    for text, file in ((made["index"](), made["HERE"] / "index.json"), (made["page"](), made["PAGE"])):
        assert file.read_text(encoding="utf-8") == text, "run: python schemas/exports/build.py"
