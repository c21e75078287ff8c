"""Several pipelines in one settings file, and variables in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.commands import told
from tranship.connectors.errors import ConfigError
from tranship.pipelines.pipelines_file import chosen, filled
from tranship.pipelines.settings import from_command, pipelines_in

FILE = """
state_dir = "state"
max_rejects = "2%"
[defaults]
currency = "EUR"
country = "DE"
[[alert]]
to = "env:SLACK_URL"
[pipelines.crm]
source = "crm.csv"
destination = "postgresql://${DB_HOST}/sales?table=${DB_TABLE}"
[pipelines.shop]
source = ["shop.csv", "old-$${x}.csv"]
destination = "shop.jsonl"
max_rejects = 0
alert = "env:PAGER_URL"
[pipelines.shop.defaults]
currency = "USD"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "pipelines.toml").write_text(FILE)
    return str(tmp_path / "pipelines.toml")


def load(file: str, only: str | None, variables: dict[str, str] | None = None, **options: Any) -> Any:
    return from_command(file, None, options, variables or {}, only=only)


def test_a_pipeline_has_the_shared_settings_and_its_own(file: str) -> None:
    crm = load(file, "crm", {"DB_HOST": "db.example", "DB_TABLE": "crm"})
    shop = load(file, "shop")

    assert (crm.pipeline, shop.pipeline) == ("crm", "shop")
    assert crm.destination == "postgresql://db.example/sales?table=crm"
    assert (crm.max_rejects, shop.max_rejects) == ("2%", "0")
    assert crm.defaults == {"currency": "EUR", "country": "DE"}
    assert shop.defaults == {"currency": "USD", "country": "DE"}
    assert (crm.alert, shop.alert) == (("env:SLACK_URL",), ("env:PAGER_URL",))
    assert shop.source == ("shop.csv", "old-${x}.csv")
    assert str(crm.state_dir) == "state"


def test_the_command_and_the_environment_override_both(file: str) -> None:
    made = load(file, "shop", {"TRANSHIP_MAX_REJECTS": "5", "TRANSHIP_PIPELINE": "other"}, destination="x.csv")

    assert (made.max_rejects, made.destination, made.pipeline) == ("5", "x.csv", "shop")


def test_the_names_are_in_the_order_of_the_file(file: str) -> None:
    assert pipelines_in([file]) == ("crm", "shop")
    assert pipelines_in(["crm.csv"]) == ()
    assert chosen(["shop", "crm"], ("crm", "shop"), file) == ("crm", "shop")


@pytest.mark.parametrize(
    ("only", "variables", "said"),
    [
        (None, {}, r"has 2 pipelines \(crm, shop\). Choose one: --only crm"),
        ("shp", {}, "Did you mean shop?"),
        ("crm", {}, r"destination \(.*pipelines.toml, pipelines.crm\): the environment variable DB_HOST is not set"),
    ],
)
def test_what_cannot_be_used_is_said(only: str | None, variables: dict[str, str], said: str, file: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(file, only, variables)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pipelines = 5", "is not a table of pipelines"),
        ("[pipelines]", "is not a table of pipelines"),
        ("[pipelines]\ncrm = 5", r"pipelines.crm \(.*\): is not a table"),
        ('[pipelines."a,b"]', "is not a name of a pipeline"),
        ('[pipelines.crm]\npipeline = "x"', "has its name already"),
        (
            "[pipelines.crm]\nmax_reject = 5",
            r"max_reject \(.*, pipelines.crm\): unknown setting. Did you mean max_rejects",
        ),
        ("[pipelines.sk_live_abcdefgh12345678]", "seems to be a key"),
        ('source = "a.csv"\n', "has the settings of one run"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(str(file), "crm")


def test_a_name_is_not_given_twice(file: str) -> None:
    with pytest.raises(ConfigError, match=r"--pipeline: the pipelines of .* have names"):
        load(file, "shop", pipeline="x")
    with pytest.raises(ConfigError, match="--only crm: selects a pipeline of a settings file"):
        from_command("crm.csv", "x.jsonl", {}, {}, only="crm")


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("${A}/${B}", "1/2"),
        ("$A ${A}${A}", "$A 11"),
        ("$${A} $$ {A}", "${A} $$ {A}"),
        (["${A}", 5, {"${A}": "${B}"}], ["1", 5, {"${A}": "2"}]),
        (True, True),
    ],
)
def test_variables_are_filled_in(value: object, made: object) -> None:
    assert filled(value, "x", {"A": "1", "B": "2"}) == made


@pytest.mark.parametrize("value", ["${}", "${A-B}", "${ A}", "${a.b}"])
def test_a_variable_has_a_name(value: str) -> None:
    with pytest.raises(ConfigError, match="is not a name of a variable"):
        filled(value, "x", {})


def test_variables_in_a_command_are_left_to_the_shell(tmp_path: Path) -> None:
    """Its text is in the list of processes."""
    file = tmp_path / "crm.toml"
    lines = 'source = "crm.csv"\ndestination = "x.jsonl"\non_failure = "curl ${HOOK} $${TRANSHIP_STATE}"\n'
    file.write_text(lines)

    assert load(str(file), None, {"HOOK": "https://hush"}).on_failure == "curl ${HOOK} ${TRANSHIP_STATE}"
    with pytest.raises(ConfigError, match="HOOK is not set"):
        load(str(file), None)


def test_a_settings_file_that_is_written_for_a_user_keeps_names_with_dollars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("crm ${x}.csv").write_text("id,email,name,${plan}\n1,a@acme.example,Ann,Gold\n")
    words = ("--map", 'city="${plan}"', "--value", "status:${a}=active")
    assert told("inspect", "crm ${x}.csv", *words, "--write", "p.toml")[0] == 0

    code, _, err = told("run", "p.toml", "--destination", "out.jsonl")
    assert code == 0, err
    assert "Gold" in Path("out.jsonl").read_text()
    code, _, err = told("run", "crm ${x}.csv", "second.jsonl", "--profile", "p.toml")
    assert code == 0, err
    assert Path("second.jsonl").read_text() == Path("out.jsonl").read_text()
