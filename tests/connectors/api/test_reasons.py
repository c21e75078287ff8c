from __future__ import annotations

import polars as pl
import pytest

from tranship.connectors import known_secrets
from tranship.connectors.api.operations import Failure
from tranship.connectors.api.reasons import code_of, coded
from tranship.schemas.providers import metrifox

SCHEMA = metrifox.SCHEMA
FIELDS = [field.name for field in SCHEMA.fields if field.settable]


def reason(text: str, status: int | None = None) -> str:
    return coded(Failure(kind="refused", reason=text), SCHEMA, status).reason


def test_a_refusal_begins_with_its_status_and_the_fields_that_the_words_name() -> None:
    first = FIELDS[0]
    assert reason(f"refused: {first} is wrong", 422) == f"refused (422, {first}): {first} is wrong"
    assert reason(f"refused: {first} is wrong") == f"refused ({first}): {first} is wrong"
    assert reason("refused: no", 400) == "refused (400): no"
    assert reason("refused: no") == "refused: no"
    assert reason("gone: it was removed", 404) == "gone (404): it was removed"


def test_a_part_of_a_word_names_no_field() -> None:
    assert reason(f"refused: my{FIELDS[0]}s", 400) == f"refused (400): my{FIELDS[0]}s"


def test_words_that_repeat_the_whole_record_name_no_fields() -> None:
    assert reason(f"refused: {' '.join(FIELDS)}", 400).startswith("refused (400): ")


@pytest.mark.parametrize("text", ["unreadable: status", "no answer", "refused", "", "unresolved: two: three"])
def test_other_reasons_remain_as_they_are(text: str) -> None:
    assert reason(text, 400) == text


def test_the_words_are_without_secrets_addresses_and_control_characters() -> None:
    known_secrets.learn("a-secret-of-this-test")
    said = reason("refused: a-secret-of-this-test of jane@acme.example\x1b[31m\nsecond line", 400)
    assert said == "refused (400): *** of *** [31m second line"


def test_long_words_are_cut() -> None:
    assert len(reason("refused: " + "x" * 100_000, 400)) < 300


def test_the_code_of_a_reason_has_no_words_of_the_provider() -> None:
    reasons = {
        "refused (422, email): jane@acme.example": "refused (422, email)",
        "refused (400): first: second\nthird": "refused (400)",
        "refused: words": "refused",
        "gone (404): Jane Roe": "gone (404)",
        "unresolved (2): Jane, Ann": "unresolved (2)",
        "unreadable: status": "unreadable: status",
        "refused": "refused",
    }
    frame = pl.DataFrame({"reason": [*reasons, None]})
    assert frame.select(code_of(pl.col("reason")))["reason"].to_list() == [*reasons.values(), None]


def test_a_code_that_was_made_is_found_again() -> None:
    for status in (None, 400, 422):
        for words in ("email is wrong", "x) y: z", f"{FIELDS[0]} and {FIELDS[1]}: no", "a (b): c"):
            whole = reason(f"refused: {words}", status)
            code = pl.DataFrame({"reason": [whole]}).select(code_of(pl.col("reason")))["reason"][0]
            assert whole == f"{code}: {words}"
