"""The values by which a column cannot be the field that its name means."""

from __future__ import annotations

import pytest

from tranship.schemas import headers, value_forms
from tranship.schemas.secret_columns import is_secret


@pytest.mark.parametrize(
    ("field", "values", "other"),
    [
        ("email", "S N S", True),
        ("email", "1 0 1", True),
        ("email", "ja nein ja", True),
        ("email", "2024-01-02 2024-02-03", True),
        ("email", "weekly weekly monthly weekly", True),
        ("email", "a@b.co S", False),
        ("email", "jane.b.co joe.b.co", False),  # damaged addresses are reported
        ("email", "S", False),  # one record decides nothing
        ("billing_contact_email", "Y N", True),
        ("phone", "S N", True),
        ("phone", "1 0 0", True),
        ("phone", "true false", True),
        ("phone", "2024-01-02 2024-02-03", True),
        ("phone", "0301234 S", False),
        ("created_at", "yes no", True),
        ("created_at", "1 0", True),
        ("created_at", "1717000000 1718000000", False),
        ("country", "1 223 4", True),
        ("country", "true false", True),
        ("country", "NO NO", False),
        ("country", "S N", False),  # Sweden and Norway
        ("country", "756 276", False),
        ("currency", "1 2 1", True),
        ("currency", "EUR CHF", False),
        ("zip_code", "Bern Basel", True),
        ("zip_code", "3011 4051", False),
        ("zip_code", "K1A0B6 AB", False),
        ("net_terms", "SEPA Virement", True),
        ("net_terms", "sofort sofort", False),
        ("net_terms", "30 10", False),
        ("tax_id", "S N", True),
        ("tax_id", "20 10", True),
        ("tax_id", "DE811569869 S", False),
        ("city", "12 44", True),
        ("city", "Bern Basel", False),
        ("name", "1 0 1", True),
        ("name", "Anna Otto", False),
        ("timezone", "yes no", True),
        ("language", "no no", False),
        ("language", "1 2", True),
    ],
)
def test_the_form_of_values_denies_a_field(field: str, values: str, *, other: bool) -> None:
    assert value_forms.is_other(field, values.split()) is other


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("City (address_city)", "city"),
        ("Zip Code (address_zip)", "zip_code"),
        ("State (address_state)", "state"),
        ("Email (emailAddress)", "email"),
        ("City [address_city]", "city"),
        ("City (custom_3)", "city"),
        ("City - custom", "city"),
        ("City: custom", "city"),
        ("Phone Number (phone_number)", "phone"),
        ("Customer ID (custom_3)", None),
        ("Customer (VIP)", None),
        ("customer_id (metadata)", None),
        ("MITGLNR", "external_id"),
        ("Nationskennzeichen", "country"),
        ("EMAILPRED", "email"),
    ],
)
def test_technical_names_behind_a_name(column: str, field: str | None) -> None:
    assert headers.field_of(column) == field


@pytest.mark.parametrize("column", ["Credit Card Number (custom_3)", "SSN [cf_2]", "IBAN - custom", "Custom: CVV"])
def test_a_secret_in_a_custom_field(column: str) -> None:
    assert is_secret(column)
