"""The oracle returns the results worked out by hand."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.cases.case import FieldCase
from support.cases.fields import FIELD_CASES
from support.cases.identity import IDENTITY_CASES, IdentityCase
from support.oracle import FIELDS, Result, read_csv, run

MAPPING = {name: name for name in FIELDS}


def field_id(case: FieldCase) -> str:
    text = ascii(case.wire)
    return f"{case.field}={text if len(text) <= 40 else text[:37] + '...'}"


def balances(result: Result) -> bool:
    counts = result.counts
    return counts["read"] == counts["rejected"] + counts["merged"] + counts["created"]


@pytest.mark.parametrize("case", FIELD_CASES, ids=field_id)
def test_field(case: FieldCase) -> None:
    result = run([case.row()], MAPPING, [2])

    assert result.rejects == ([(2, list(case.rejects))] if case.rejects else [])
    assert result.warnings == [(2, code) for code in case.warnings]
    assert [customer[case.field] for customer in result.customers.values()] == ([] if case.rejects else [case.value])
    assert balances(result)


@pytest.mark.parametrize("case", IDENTITY_CASES, ids=lambda case: case.name)
def test_identity(case: IdentityCase) -> None:
    result = run(case.wire_rows(), MAPPING, case.lines())

    assert set(result.customers) == set(case.customers)
    for key, expected in case.customers.items():
        assert {name: result.customers[key][name] for name in expected} == expected
    assert tuple(result.merges) == case.merges
    assert tuple(result.rejects) == case.rejects
    assert tuple(result.warnings) == case.warnings
    assert result.counts == {
        "read": len(case.rows),
        "rejected": len(case.rejects),
        "merged": len(case.merges),
        "created": len(case.customers),
        "warnings": len(case.warnings),
    }
    assert result.rejects_by_code == Counter(code for _, codes in case.rejects for code in codes)
    assert result.merges_by_rule == {
        rule: sum(merge[2] == rule for merge in case.merges) for rule in ("external_id", "email")
    }


def test_the_cases_are_sorted_and_named_once() -> None:
    for case in FIELD_CASES:
        assert list(case.rejects) == sorted(set(case.rejects)), case
        assert case.value is None or not case.rejects, case
    for identity in IDENTITY_CASES:
        for found in (identity.merges, identity.rejects, identity.warnings):
            assert list(found) == sorted(found), identity.name
    assert len({identity.name for identity in IDENTITY_CASES}) == len(IDENTITY_CASES)


def test_every_field_has_a_case() -> None:
    assert {case.field for case in FIELD_CASES} == set(FIELDS)


def test_the_order_of_the_input_does_not_matter_where_updated_at_differs() -> None:
    dice = random.Random(7)
    rows: list[dict[str, str | None]] = [
        {
            "external_id": dice.choice(["1", "2", "3", "4", None]),
            "email": dice.choice(["a@b.co", "c@b.co", "d@b.co", "noreply@b.co", None]),
            "name": f"Row {number}",
            "updated_at": f"2024-01-01T{number // 60:02}:{number % 60:02}",
        }
        for number in range(200)
    ]
    lines = list(range(2, 202))

    def outcome(order: list[int]) -> tuple[dict[str, dict[str, Any]], Any, Any, Any]:
        result = run([rows[i] for i in order], MAPPING, [lines[i] for i in order])
        assert balances(result)
        return result.customers, result.rejects, result.merges, result.warnings

    straight = outcome(list(range(200)))
    for _ in range(5):
        assert outcome(dice.sample(range(200), 200)) == straight


def test_columns_are_mapped_and_the_rest_goes_to_metadata() -> None:
    rows: list[dict[str, str | None]] = [{"Kunden-Nr": "7", "Firma": "Acme", "Region": " Süd ", "Tag": None}]

    result = run(rows, {"Kunden-Nr": "external_id", "Firma": "name"}, [2])

    assert result.customers["7"] == {
        **dict.fromkeys(FIELDS),
        "external_id": "7",
        "name": "Acme",
        "metadata": {"Region": " Süd "},
    }


def test_csv_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,"full\nname"\r\n'  # lines 1 and 2
        b'1,"a\nb\n\nc"\r\n'  # 3 to 6
        b"\r\n"  # 7
        b'2,"say ""hi"", x"\n'  # 8
        b'3,"p\r\nq"\n'  # 9 and 10
        b"4,"  # 11
    )

    header, rows, lines = read_csv(path)

    assert header == ["id", "full\nname"]
    assert [tuple(row.values()) for row in rows] == [
        ("1", "a\nb\n\nc"),
        ("2", 'say "hi", x'),
        ("3", "p\r\nq"),
        ("4", None),
    ]
    assert lines == [3, 8, 9, 11]


def test_csv_takes_another_delimiter_and_encoding(tmp_path: Path) -> None:
    path = tmp_path / "kunden.csv"
    path.write_bytes("id;name\n1;Müller, Söhne\n".encode("cp1252"))

    assert read_csv(path, delimiter=";", encoding="cp1252") == (
        ["id", "name"],
        [{"id": "1", "name": "Müller, Söhne"}],
        [2],
    )


def test_csv_refuses_a_row_of_another_width(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text("id,name\n1\n", encoding="utf-8")

    with pytest.raises(ValueError, match="line 2: 1 cells, the header has 2"):
        read_csv(path)


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("", encoding="utf-8")

    assert read_csv(path) == ([], [], [])
