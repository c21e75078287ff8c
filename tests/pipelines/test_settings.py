"""Settings from file, environment and command: their precedence, and messages about mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.setting_values import limit
from tranship.pipelines.settings import from_command, load, reading_from_command, table
from tranship.pipelines.settings_model import Reading, Settings

ENDS = {"source": "in.csv", "destination": "out.csv"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.toml"
    path.write_text(
        'source = "file.csv"\ndestination = "out.csv"\nmode = "insert"\nworkers = 2\n'
        '[fields]\nname = "A"\nemail = "B"\n[defaults]\ncurrency = "EUR"\n'
    )
    return path


def test_what_nobody_says_is_the_default() -> None:
    settings = load(ENDS, {})

    assert (settings.mode, settings.nulls, settings.timezone, settings.header) == ("upsert", "keep", "UTC", None)


def test_the_command_wins_over_the_environment_and_that_over_the_file(file: Path) -> None:
    environment = {"TRANSHIP_MODE": "update", "TRANSHIP_WORKERS": "3"}

    assert (load({}, {}, file).mode, load({}, {}, file).workers) == ("insert", 2)
    assert (load({}, environment, file).mode, load({}, environment, file).workers) == ("update", 3)
    assert load({"mode": "upsert"}, environment, file).mode == "upsert"


def test_tables_add_up(file: Path) -> None:
    environment = {
        "TRANSHIP_FIELDS": "email=E-mail\ncity=C, D | E",
        "TRANSHIP_DEFAULTS": "country=DE",
        "TRANSHIP_VALUES": 'status:on hold=suspended\nstatus:"a=b"=active',
        "TRANSHIP_SET": "state=coalesce(a, b)",
    }
    given = {"fields": {"name": "Z"}, "values": {"status": {"on hold": "inactive"}, "country": {"Holland": "NL"}}}
    settings = load(given, environment, file)

    assert settings.fields == {"name": "Z", "email": "E-mail", "city": "C, D | E"}
    assert settings.values == {"status": {"on hold": "inactive", "a=b": "active"}, "country": {"Holland": "NL"}}
    assert settings.set == {"state": "coalesce(a, b)"}
    assert settings.defaults == {"currency": "EUR", "country": "DE"}


def test_a_rule_replaces_one_of_the_other_kind_that_was_given_farther_away(file: Path) -> None:
    settings = load({"fields": {"city": "Z"}}, {"TRANSHIP_SET": "name=upper(A)\ncity=B"}, file)

    assert (settings.fields, settings.set) == ({"email": "B", "city": "Z"}, {"name": "upper(A)"})


def test_the_environment_says_lists_and_truths() -> None:
    environment = {"TRANSHIP_BLOCKED": "n/a,none", "TRANSHIP_HEADER": "false", "TRANSHIP_FILL": "true"}
    settings = load(ENDS, environment)

    assert (settings.blocked, settings.header, settings.fill) == (("n/a", "none"), False, True)


def test_an_empty_variable_is_not_given() -> None:
    assert load(ENDS, {"TRANSHIP_MAX_REJECTS": "", "TRANSHIP_HEADER": ""}).max_rejects is None


def test_variables_of_others_are_left_alone() -> None:
    assert load(ENDS, {"TRANSHIP_SERVICE_HOST": "10.0.0.1", "PATH": "/bin"}) == load(ENDS, {})


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"xyz": 1}, {}, "--xyz: unknown setting. The settings are: source, profile, fields"),
        ({"max_reject": "1"}, {}, "--max-reject: unknown setting. Did you mean max_rejects?"),
        ({}, {"TRANSHIP_MAX_REJECT": "1"}, "TRANSHIP_MAX_REJECT: unknown setting. Did you mean"),
        ({}, {"TRANSHIP_WORKERS": "many"}, "TRANSHIP_WORKERS=many: is not a whole number."),
        ({"workers": 0}, {}, "--workers 0: must be at least 1."),
        ({"mode": "replace"}, {}, "--mode replace: is not valid; use upsert, insert, update or mirror."),
        ({"max_rejects": "2 percent"}, {}, "--max-rejects '2 percent': is not valid. Stop before the first write"),
        ({"memory": "lots"}, {}, "--memory lots: is not valid. Memory that"),
        ({"timezone": "Europe/Atlantis"}, {}, "--timezone: 'Europe/Atlantis' is not an IANA time zone"),
        ({"timezone": "../../etc/passwd"}, {}, "--timezone: '../../etc/passwd' is not an IANA time zone"),
        ({"mode": "mirror"}, {}, "mirror needs max_deletes"),
        ({"on_invalid": {"phone": "drop"}}, {}, "--on-invalid phone=drop: is not valid; use reject or warn."),
        (
            {},
            {"TRANSHIP_ON_INVALID": "phone=drop"},
            "TRANSHIP_ON_INVALID, phone=drop: is not valid; use reject or warn.",
        ),
        ({"skip_lines": -1}, {}, "--skip-lines -1: must be at least 0."),
        ({"header_line": "0"}, {}, "--header-line 0: must be at least 1."),
        ({}, {"TRANSHIP_HEADER_LINE": "top"}, "TRANSHIP_HEADER_LINE=top: is not a whole number."),
        ({"header_line": 2, "header": False}, {}, "header_line gives the line of a header, but header is false"),
        ({"header_line": 3, "skip_lines": 3}, {}, "header_line 3 is one of the lines that skip_lines 3 skips"),
    ],
)
def test_a_slip_is_reported_with_its_place(flags: dict[str, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**ENDS, **flags}, environment)

    assert message in str(caught.value)


def test_several_slips_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"workers": 0}, {})

    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "source",
        "destination",
        "--workers 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('mode = "insert', "is not valid TOML"),
        ("mode = 1", "mode = 1 (FILE): is not valid; use"),
        ('[source]\npath = "x"', "source (FILE): dict is not a source. Give a path"),
        ("colour = 1", "colour (FILE): unknown setting"),
        ("[fields]\nname = 1", "fields.name = 1 (FILE): is not text."),
    ],
)
def test_a_file_that_cannot_be_used_is_reported(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(ENDS, {}, file) if "source" not in text else load({"destination": "out.csv"}, {}, file)

    assert message.replace("FILE", str(file)) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_reported(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.toml"):
        load({}, {}, file)


def test_a_settings_file_may_stand_for_the_source(file: Path) -> None:
    assert from_command(str(file), None, {}, {}).source == "file.csv"
    assert from_command(str(file), "other.csv", {"source": "mine.csv"}, {}) == load(
        {"source": "mine.csv", "destination": "other.csv"}, {}, file
    )
    assert reading_from_command(str(file), {"fields": {"email": "C"}}, {}).fields == {"name": "A", "email": "C"}


def test_an_end_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="destination: is given twice"):
        from_command("in.csv", "out.csv", {"destination": "there.csv"}, {})


def test_reading_needs_no_destination() -> None:
    reading = reading_from_command("in.csv", {}, {"TRANSHIP_TIMEZONE": "Europe/Berlin", "TRANSHIP_MODE": "insert"})

    assert type(reading) is Reading
    assert reading.timezone == "Europe/Berlin"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(ENDS, {}).mode = "insert"  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(("text", "of", "number"), [("20", 1000, 20), ("2%", 1000, 20), ("0.5%", 1000, 5), ("0", 9, 0)])
def test_a_limit_is_a_count_or_a_share(text: str, of: int, number: float) -> None:
    assert limit(text, of) == pytest.approx(number)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["status:on hold=suspended"], {"status": {"on hold": "suspended"}}),
        (['status:"on hold"=suspended'], {"status": {"on hold": "suspended"}}),
        (['status:"a=""b"""=active', "status:x="], {"status": {'a="b"': "active", "x": ""}}),
        (["country:a:b=DE", "status:y=trial"], {"country": {"a:b": "DE"}, "status": {"y": "trial"}}),
    ],
)
def test_words_are_given_one_pair_at_a_time(pairs: list[str], words: dict[str, dict[str, str]]) -> None:
    assert table("values", pairs, "--value") == words


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("values", ["status=suspended"], "--x: 'status=suspended' is not of the form FIELD:WORD=VALUE"),
        ("values", ["status:on hold"], "is not of the form FIELD:WORD=VALUE"),
        ("values", ["status:a=active", "status:a=trial"], "--x: status:a has two values, 'active' and 'trial'"),
        ("fields", ["name"], "--x: 'name' is not of the form FIELD=RULE"),
        ("fields", ["name=A", "name=B"], "--x: name has two values, 'A' and 'B'. Give one."),
    ],
)
def test_a_pair_that_cannot_be_used_is_reported(name: str, pairs: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(name, pairs, "--x")
    assert message in str(caught.value)


def test_a_blank_is_no_word() -> None:
    with pytest.raises(ConfigError, match=r"--value: status has a value for an empty word. Use defaults"):
        load({**ENDS, "values": {"status": {" ": "active"}}}, {})


def test_missing_columns_cannot_erase() -> None:
    with pytest.raises(ConfigError, match="allow_missing cannot be combined with nulls overwrite"):
        load({**ENDS, "allow_missing": True, "nulls": "overwrite"}, {})


def test_columns_of_earlier_versions_are_answered_with_fields(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[columns]\n"Account No" = "external_id"\nNotes = ""\n"A|B" = ["city", "state"]\n')
    with pytest.raises(ConfigError) as caught:
        load(ENDS, {}, file)
    assert str(caught.value) == (
        f"columns ({file}): was replaced by fields, with the field first. Write:\n"
        'ignore = ["Notes"]\n[fields]\nexternal_id = "Account No"\ncity = "\\"A|B\\""\nstate = "\\"A|B\\""'
    )
    with pytest.raises(ConfigError, match=r'TRANSHIP_COLUMNS: was replaced by fields[^"]*\nname = "A"'):
        load(ENDS, {"TRANSHIP_COLUMNS": "A=name"})
    with pytest.raises(ConfigError, match="--column: was replaced by fields"):
        load({**ENDS, "columns": ["A"]}, {})
    with pytest.raises(ConfigError, match="--column: was replaced by fields"):
        load({**ENDS, "columns": {"A": 1}}, {})


def test_a_field_has_one_default() -> None:
    with pytest.raises(ConfigError, match=r"TRANSHIP_DEFAULTS: currency has two values, 'EUR' and 'USD'"):
        reading_from_command("a.csv", {}, {"TRANSHIP_DEFAULTS": "currency=EUR,currency=USD"})


@pytest.mark.parametrize("more", ["/;token=hush", "/;x-api-key=hush", "/;session_id=hush", "/hush", "?hush", "#hush"])
def test_an_address_of_an_engine_has_no_secret(more: str) -> None:
    with pytest.raises(ConfigError, match="in the environment variable SPARK_REMOTE") as refused:
        load({**ENDS, "engine": "sail", "remote": f"sc://spark:15002{more}"}, {})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("remote", ["sc://spark:15002", "sc://spark", "sc://[::1]/;use_ssl=true;user_id=etl"])
def test_an_address_of_an_engine_has_a_host_and_how_to_connect(remote: str) -> None:
    assert load({**ENDS, "engine": "sail", "remote": remote}, {}).remote == remote
