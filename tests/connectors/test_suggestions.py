"""Suggestions for unknown names."""

from __future__ import annotations

import pytest

from tranship.connectors import suggestions


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("nmae", ("email", "name"), ["name"]),
        ("NAME", ("email", "name"), ["name"]),
        ("e-mail", ("name", "E_Mail"), ["E_Mail"]),
        ("zzz", ("email", "name"), []),
        ("--", ("email", "-"), ["-"]),
        ("", ("email", ""), [""]),
    ],
)
def test_the_closest_name_is_found_whatever_its_case_and_punctuation(
    name: str, known: tuple[str, ...], expected: list[str]
) -> None:
    assert suggestions.similar(name, known) == expected


def test_at_most_so_many_names_are_suggested() -> None:
    assert suggestions.similar("rows", ("Rows", "rows_", "row"), at_most=2) == ["Rows", "rows_"]


def test_without_a_close_name_all_are_listed() -> None:
    assert suggestions.advice("nmae", ("email", "name"), "The fields are") == "Did you mean name?"
    assert suggestions.advice("Nmae", ("email", "Name"), "Its columns are", repr) == "Did you mean 'Name'?"
    assert suggestions.advice("zzz", ("email", "name"), "The fields are") == "The fields are: email, name."
    assert suggestions.did_you_mean(["a", "b"]) == "Did you mean a or b?"
