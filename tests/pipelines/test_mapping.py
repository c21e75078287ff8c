"""Columns → fields: found by name, told, never guessed."""

from __future__ import annotations

import pytest

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines.mapping import propose
from tranship.schemas.customer import COLUMNS
from tranship.schemas.headers import match


def mapped(*columns: str, told=None, defaults=None, extra="keep"):
    return propose([Layout("in.csv", columns)], told or {}, defaults or {}, extra)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        *((name, name) for name in COLUMNS),
        ("Customer ID", "external_id"),
        ("externalId", "external_id"),
        ("customer_key", "external_id"),
        ("CUSTOMER-ID", "external_id"),
        ("E-mail", "email"),
        ("Email Address", "email"),
        ("Zip/Postal Code", "zip_code"),
        ("Created (UTC)", "created_at"),
        ("Last Modified", "updated_at"),
        ("Address 1", "address_line1"),
        ("VAT Number", "tax_id"),
        ("Payment terms (days)", "net_terms"),
        ("Billing Address City", "city"),
        ("POAddressLine1", "address_line1"),
        ("Addr 1 - City", "city"),
        ("address.city", "city"),
        ("customer[id]", "external_id"),
        ("customer[mobile]", "phone"),
        ("City (Billing)", "city"),
        ("Default Address Province Code", "state"),
        ("E-mail 1 - Value", "email"),
        ("account_state", "status"),
        ("Net Term Days", "net_terms"),
        ("Kundennummer", "external_id"),
        ("Code postal", "zip_code"),
        ("Företag", "name"),
        ("customer_id (metadata)", None),
        ("Customer (VIP)", None),
        ("company_id", None),
        ("Lead Status", None),
        ("Lifecycle Stage", None),
        ("Card Status", None),
        ("Code", None),
        ("Via", None),
        ("password_hash", None),
        ("Umsatz", None),
        ("Plan", None),
        ("", None),
        ("(UTC)", None),
    ],
)
def test_names_are_known(column, field):
    assert list(match([column], {})) == ([field] if field else [])


def test_an_address_is_taken_from_one_role():
    found = mapped("id", "name", "Shipping Street", "Shipping City", "Billing Street", "Billing City", "Country")
    assert found.fields["address_line1"] == "Billing Street"
    assert found.fields["city"] == "Billing City"
    assert found.fields["country"] == "Country"


def test_the_id_of_a_payment_card_identifies_nobody():
    assert mapped("Card ID", "Name").fields["external_id"] == "Card ID"
    assert "external_id" not in mapped("Card ID", "Name", "Card Last4").fields


def test_secrets_are_left_out_and_named_unless_mapped():
    found = mapped("id", "name", "user_pass", "IBAN", "Password Changed At")
    assert found.extra == ("Password Changed At",)
    assert '"user_pass", "IBAN" hold secrets and are left out' in "".join(found.notes)
    assert mapped("id", "name", "IBAN", told={"IBAN": "tax_id"}).fields["tax_id"] == "IBAN"


@pytest.mark.parametrize("column", ["IsDeleted", "Active", "Disabled", "archived_at", "Deleted"])
def test_flags_of_deleted_records_are_known(column):
    assert [flag.column for flag in mapped("id", "name", column).flags] == [column]


def test_columns_nobody_maps_are_extra():
    found = mapped("Customer ID", "Name", "Plan")
    assert found.fields == {"external_id": "Customer ID", "name": "Name"}
    assert found.extra == ("Plan",)
    assert "metadata" in found.targets


def test_two_that_fit_stop_the_run_with_the_lines_to_write():
    with pytest.raises(ConfigError) as error:
        mapped("Customer ID", "Account No", "Name")
    assert '--map "Customer ID=external_id"' in str(error.value)
    assert '--map "Account No=external_id"' in str(error.value)


def test_a_told_column_settles_it_and_the_other_is_kept():
    found = mapped("Customer ID", "Account No", "Name", told={"Account No": "external_id"})
    assert found.fields["external_id"] == "Account No"
    assert found.extra == ("Customer ID",)


def test_the_fields_own_name_wins_over_synonyms():
    assert mapped("external_id", "id", "name").fields == {"external_id": "external_id", "name": "name"}


def test_told_columns_are_found_over_case_and_blanks():
    assert mapped("Account No", "Name", told={"account_no": "tax_id"}).fields["tax_id"] == "Account No"


def test_an_empty_field_leaves_a_column_out():
    found = mapped("Customer ID", "Secret", told={"Secret": ""})
    assert "Secret" not in found.fields.values()
    assert found.extra == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"told": {"Nmae": "name"}}, "no column 'Nmae'; did you mean 'Name'"),
        ({"told": {"Name": "nmae"}}, "unknown field 'nmae'; did you mean 'name'"),
        ({"told": {"Name": "email", "Plan": "email"}}, "has two columns"),
        ({"defaults": {"curency": "EUR"}}, "did you mean 'currency'"),
        ({"extra": "error"}, "unmapped columns: 'Plan'"),
    ],
)
def test_what_was_told_wrongly_is_said(options, message):
    with pytest.raises(ConfigError, match=message):
        mapped("Customer ID", "Name", "Plan", **options)


def test_nothing_known_stops_with_an_example():
    with pytest.raises(ConfigError, match=r'--map "Foo=external_id"'):
        mapped("Foo", "Bar")


def test_a_file_that_lacks_a_mapped_column_is_named():
    layouts = [Layout("a.csv", ("id", "name", "country")), Layout("b.csv", ("name", "id"))]
    with pytest.raises(ConfigError, match=r"b\.csv: has no column 'country'"):
        propose(layouts, {}, {})


def test_files_may_order_their_columns_as_they_like():
    layouts = [Layout("a.csv", ("id", "name")), Layout("b.csv", ("name", "id", "Plan"))]
    assert propose(layouts, {}, {}).fields == {"external_id": "id", "name": "name"}


def test_columns_of_a_rejects_file_say_nothing():
    assert mapped("id", "name", "_source", "_line", "_codes", "_reasons", "_text").extra == ()


def test_defaults_are_targets():
    assert "currency" in mapped("id", "name", defaults={"currency": "EUR"}).targets
