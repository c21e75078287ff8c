"""Lists of addresses: the customer's own one, and the handling of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipelines.test_profiles import customers
from tranship.pipelines import address_lists

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
        ('["1 Main St"]', (None, None)),
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
