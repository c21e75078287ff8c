"""The columns that make up the line of an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.warehouse import Warehouse
from tranship.schemas import streets


@pytest.mark.parametrize(
    ("columns", "street", "expected"),
    [
        (["Straat", "Nummer", "Postcode"], "Straat", ("Straat", "Nummer")),
        (["House Number", "Street", "City"], "Street", ("House Number", "Street")),
        (
            ["Billing Street", "Billing House Number", "Shipping Street", "Shipping House Number"],
            "Billing Street",
            ("Billing Street", "Billing House Number"),
        ),
        (["Billing Street", "House Number"], "Billing Street", ("Billing Street",)),
        (["Straße", "PLZ", "Hausnr."], "Straße", ("Straße", "Hausnr.")),
        (["Calle", "Número", "Piso"], "Calle", ("Calle", "Número")),
        (["address.street", "address.house_number"], "address.street", ("address.street", "address.house_number")),
        (["Adresse", "Hausnummer"], "Adresse", ("Adresse", "Hausnummer")),
        (["Endereço", "Número", "Bairro"], "Endereço", ("Endereço", "Número")),
        (["Calle", "Exterior", "Interior"], "Calle", ("Calle", "Exterior")),
        (
            ["House number of Address", "Street/road name of Address"],
            "Street/road name of Address",
            ("House number of Address", "Street/road name of Address"),
        ),
        # A number that need not be a house number.
        (["No", "Street", "City"], "Street", ("Street",)),
        (["Straat", "Postcode", "Nummer"], "Straat", ("Straat",)),
        (["Address", "No"], "Address", ("Address",)),
        (["address_line1", "house_number"], "address_line1", ("address_line1",)),
        (["Street", "House Number", "Street Number"], "Street", ("Street",)),
    ],
)
def test_the_house_number_of_the_same_address(columns: list[str], street: str, expected: tuple[str, ...]) -> None:
    assert streets.line(columns, street, ()) == expected


def test_a_column_that_is_used_elsewhere_is_not_a_house_number() -> None:
    assert streets.line(["Straat", "Nummer"], "Straat", {"Nummer"}) == ("Straat",)


def test_a_number_that_the_street_has_already_is_not_added_again(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    streets_and_numbers = [("Hauptstr. 12", "12"), ("Hauptstr. 2", "12"), ("Hauptstr. 112", "12"), ("Hof", "")]
    warehouse.load(
        [{"id": str(n), "name": "A", "Straße": s, "Nr": h} for n, (s, h) in enumerate(streets_and_numbers, 1)]
    )
    assert warehouse.column("address_line1") == ["Hauptstr. 112 12", "Hauptstr. 12", "Hauptstr. 2 12", "Hof"]
    warehouse.load([{"id": "1", "name": "A", "House Number": "12", "Street": "12 High St"}], table="t")
    assert warehouse.column("address_line1", table="t") == ["12 High St"]


def test_the_house_number_is_part_of_the_line_unless_the_rule_is_given(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows = [
        {"ID": "1", "Naam": "Acme", "Straat": "Kerkstraat", "Nummer": "12", "Gemeente": "Gent"},
        {"ID": "2", "Naam": "Birch", "Straat": "Dorp", "Nummer": "-", "Gemeente": "Gent"},
    ]
    report = warehouse.load(rows)
    assert warehouse.column("address_line1") == ["Dorp", "Kerkstraat 12"]
    assert report.built["address_line1"] == "Straat + Nummer"
    warehouse.load(rows, fields={"address_line1": "Straat"}, table="t")
    assert warehouse.column("address_line1", table="t") == ["Dorp", "Kerkstraat"]
