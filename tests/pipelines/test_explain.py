"""Every code, reason, exit code and error has a text, and what the texts advise works."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import tranship
from tranship.connectors import errors
from tranship.pipelines import explain
from tranship.pipelines.cli.main import main
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.schemas.customer import COLUMNS
from tranship.schemas.explanations import refusals
from tranship.schemas.faults import RULES, WARNINGS

ROOT = Path(__file__).resolve().parents[2]
ALL = [code for codes in explain.by_kind().values() for code in codes]


@pytest.mark.parametrize("code", [*ALL, "email.missing", "taken: email"])
def test_every_code_has_a_text(code: str) -> None:
    page = explain.page(code)

    sentence, meaning, advice, example = page.explanation
    assert page.code == code.partition(":")[0]
    assert sentence
    assert re.search(r"\.(\nKnown words:|$)", meaning), "a meaning is whole sentences"
    assert re.match(r"[A-Z].*(\.|: --[\w =-]+)$", advice)
    assert "{field}" not in "".join(page.explanation)
    assert not example.endswith("\n")


def test_no_code_is_forgotten() -> None:
    assert {*RULES, *WARNINGS, *refusals.REFUSALS, *map(str, EXIT_CODES)} <= set(ALL)
    assert len(ALL) == len(set(ALL))


def test_the_reasons_are_those_of_the_code() -> None:
    files = [file for file in (ROOT / "connectors").rglob("*.py") if file.parent.name != "sandbox"]
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(files))
    spellings = (
        r"""["']([a-z_]+): \{""",
        r"""target IS (?:NOT )?NULL", "(\w+)"\)""",
        r"""THEN '(\w+)' END AS reason""",
        r"""reason = '(\w+): """,
        r"""^OLDER: Final = "(\w+)\"""",
        r"""Result\(row\.row, "(?:refused|stale)", "(\w+)""",
        r"""Failure\("refused", "(\w+)""",
    )
    known = {reason for spelling in spellings for reason in re.findall(spelling, source, re.MULTILINE)}
    not_reasons = {"page_size", "numbers"}  # an option; a note
    assert {*refusals.REFUSALS, *refusals.STALE} == known - not_reasons


def test_exit_codes_are_those_of_the_errors() -> None:
    def below(kind: type[errors.TranshipError]) -> Iterator[type[errors.TranshipError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from below(sub)

    assert set(EXIT_CODES) == {kind.exit_code for kind in below(errors.TranshipError)} | {0, 4}


def test_every_error_is_public() -> None:
    assert set(explain.error_names()) <= set(tranship.__all__)


def test_links_lead_to_an_anchor_of_the_page() -> None:
    for code in [*ALL, "email.missing"]:
        page, _, anchor = explain.page(code).link.partition("#")
        assert f'<a id="{anchor}"></a>' in (ROOT / page).read_text(encoding="utf-8"), code


@pytest.mark.parametrize("code", [code for code in RULES if "--value" in explain.page(code).explanation.example])
def test_the_example_of_a_word_works(code: str, tmp_path: Path) -> None:
    field = code.partition(".")[0]
    option = explain.page(code).explanation.example.partition("--value ")[2]
    (rule,) = shlex.split(option)
    word, _, meaning = rule.removeprefix(f"{field}:").rpartition("=")
    source = tmp_path / "a.csv"
    source.write_text(f"id,name,email,{field}\n1,Ann,ann@acme.example,{word}\n", encoding="utf-8")

    found = tranship.inspect(source)
    after = tranship.inspect(source, values={field: {word: meaning}})

    assert code in {warning.code for warning in found.warnings} or code == "net_terms.key"
    assert not after.warnings


@pytest.mark.parametrize(
    "code", [code for code in (*RULES, *WARNINGS) if "--map" in explain.page(code).explanation.example]
)
def test_the_example_of_a_column_is_a_rule(code: str) -> None:
    words = shlex.split(explain.page(code).explanation.example.partition("--map ")[2])
    field, _, rule = words[0].partition("=")
    assert field in COLUMNS
    assert rule


# The command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_text_with_its_place_in_the_documentation(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "identity.ambiguous_email", "taken: email"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("identity.ambiguous_email: a reason for a reject")
    assert "several customers have this e-mail" in out
    assert "--blocked office@acme.com\n\nDocumentation: docs/reference/codes.md#identity.ambiguous_email\n" in out
    assert "\ntaken: the destination has refused the record\n" in out


def test_the_command_lists_all_codes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    listed = capfd.readouterr().out
    assert all(re.search(rf"(^|[ ,]){re.escape(code)}(,|$)", listed, re.MULTILINE) for code in ALL)
    assert max(map(len, listed.splitlines())) <= 102


def test_json_has_one_text_for_each_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "5", "email.shared", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["explanations"]
    assert [text["code"] for text in found] == ["5", "email.shared"]
    assert found[0]["explanation"]["sentence"] == EXIT_CODES[5]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("status.unknwn", "Did you mean status.unknown?"),
        ("net_terms", "The codes of net_terms are net_terms.unreadable, net_terms.key, net_terms.range."),
        ("FIELD.too_long", "FIELD stands for a field: tranship explain external_id.too_long"),
        ("7", "List them all: tranship explain"),
    ],
)
def test_an_unknown_code_is_answered_with_those_that_exist(
    code: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", code]) == 2
    assert message in capfd.readouterr().err
