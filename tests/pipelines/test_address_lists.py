"""Lists of addresses: the customer's own one, and the handling of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipelines.test_profiles import customers
from tranship.pipelines import address_lists
from tranship.schemas.customer import ADDRESS

FIELDS = ("address_line1", "city", "state")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('[{"line1": "A", "city": "B"}, {"line1": "C", "city": "D"}]', ("A", "B")),
        ('[{"city": "B"}, {"city": "D", "isDefault": true}]', (None, "D")),
        ('[{"type": "shipping", "city": "B", "primary": true}, {"type": "billing", "city": "D"}]', (None, "D")),
        ('[{"AddressType": "STREET"}, {"AddressType": "POBOX", "City": "D"}]', (None, "D")),
        ('[{"line1": "A"}, {"line1": "C", "city": ""}]', ("A", None)),
        ('[{"line1": "A", "city": null}, {"line1": "C", "city": "D"}]', ("C", "D")),
        ("1 Main St, Bonn", ("1 Main St, Bonn", None)),
        ('["1 Main St", "Unit 2"]', ("1 Main St, Unit 2", None)),
        ('[{"use": "home", "line": ["A", "Unit 2"], "city": "B"}]', ("A, Unit 2", "B")),
        ('[{"city": "B"}, {"city": "D", "primary": "true"}]', (None, "D")),
        ("[]", (None, None)),
        ("[{", (None, None)),
        (" ", (None, None)),
        (None, (None, None)),
    ],
)
def test_the_address_of_invoices_or_the_primary_or_the_first_is_used(
    value: str | None, expected: tuple[str | None, str | None]
) -> None:
    made = address_lists.parts(pl.Series("addresses", [value], pl.String), FIELDS)
    assert tuple(made[field].to_list() for field in FIELDS) == ([expected[0]], [expected[1]], [None])


def found(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    file = folder / "in.json"
    file.write_text(json.dumps([{"id": 1, "name": "Acme", "email": "a@acme.example", **record}]), encoding="utf-8")
    return customers(file, folder)


def test_a_list_of_addresses_stays_in_metadata(tmp_path: Path) -> None:
    read = found({"addresses": [{"city": "Bonn"}, {"city": "Kiel"}]}, tmp_path)
    assert (read["records"][0]["city"], read["kept"]) == ("Bonn", ["addresses"])


def test_a_list_of_addresses_is_not_mixed_with_another_address(tmp_path: Path) -> None:
    read = found({"addresses": [{"city": "Bonn", "zip": "53111"}], "default_address": {"city": "Kiel"}}, tmp_path)
    assert (read["records"][0]["city"], read["records"][0].get("zip_code")) == ("Kiel", None)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ([{"use": "home", "line": ["1 Main St"], "city": "Bonn"}], {"address_line1": "1 Main St", "city": "Bonn"}),
        (["1 Main St", "Bonn"], {"address_line1": "1 Main St, Bonn"}),
        ("1 Main St, Bonn", {"address_line1": "1 Main St, Bonn"}),
        ([], {}),
    ],
)
def test_a_list_under_the_name_of_an_address_is_read_as_a_list(
    address: Any, expected: dict[str, str], tmp_path: Path
) -> None:
    read = found({"address": address}, tmp_path)
    record = {field: value for field, value in read["records"][0].items() if field in ADDRESS}
    assert record == expected
    assert read["kept"] == (["address"] if isinstance(address, list) else [])


def test_a_list_under_the_name_of_an_address_is_no_first_line_beside_a_city(tmp_path: Path) -> None:
    read = found({"address": [{"city": "Kiel", "line1": "A"}], "city": "Bonn"}, tmp_path)
    assert (read["records"][0]["city"], read["records"][0].get("address_line1")) == ("Bonn", None)
    assert read["kept"] == ["address"]


def test_an_address_that_is_a_list_in_some_records_only_is_read_in_all(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    lines = [
        {"id": 1, "name": "Acme", "address": "1 Main St"},
        {"id": 2, "name": "Bolt", "address": [{"line1": "2 High St", "city": "Bonn"}]},
    ]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    first, second = customers(file, tmp_path)["records"]
    assert (first["address_line1"], second["address_line1"], second["city"]) == ("1 Main St", "2 High St", "Bonn")


def test_a_nested_column_of_a_parquet_file_is_a_list_of_addresses(tmp_path: Path) -> None:
    file = tmp_path / "in.parquet"
    frame = pl.DataFrame({"id": ["1"], "name": ["Acme"], "address": [[{"line1": "A", "city": "Bonn"}]]})
    frame.write_parquet(file)
    [record] = customers(file, tmp_path)["records"]
    assert (record["address_line1"], record["city"]) == ("A", "Bonn")
