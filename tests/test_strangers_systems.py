"""Columns and keys of billing, CRM, shop, support, membership and field service systems: what each record becomes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_profiles import customers

BASE = {"id": "1", "name": "Acme Ltd"}
CITY = {"city": "Austin"}
NONE: dict[str, Any] = {"email": None, "phone": None, "city": None}

# What is given beside an id and a name → the fields expected. Several of a kind are of different records in the systems
# after which they are made up.
OBJECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # Lists, in envelopes or not.
    "elements": ({"emailAddresses": {"elements": [{"emailAddress": "a@b.example"}]}}, {"email": "a@b.example"}),
    "elements with a mark": (
        {
            "emailAddresses": {
                "elements": [{"emailAddress": "x@b.example"}, {"emailAddress": "a@b.example", "primaryEmail": True}]
            }
        },
        {"email": "a@b.example", "invoice_cc_emails": ["x@b.example"]},
    ),
    "data": ({"phones": {"data": [{"phone_number": "+1 312 555 0111"}]}}, {"phone": "+13125550111"}),
    "edges": (
        {"addresses": {"edges": [{"node": {"address1": "2 B", "city": "Austin", "zip": "78704"}}]}},
        {**CITY, "zip_code": "78704"},
    ),
    "nodes": (
        {"addressesV2": {"nodes": [{"address1": "2 B", "city": "Austin", "countryCodeV2": "US"}]}},
        {**CITY, "address_line1": "2 B"},
    ),
    "embedded": ({"_embedded": {"phones": [{"type": "work", "value": "+13125550111"}]}}, {"phone": "+13125550111"}),
    "results": ({"addresses": {"results": [{"street": "2 B", "city": "Austin"}]}}, {**CITY, "address_line1": "2 B"}),
    "an envelope that repeats the name": (
        {"emails": {"email": [{"address": "a@b.example"}]}},
        {"email": "a@b.example"},
    ),
    "an empty envelope": ({"emailAddresses": {"elements": []}, "phoneNumbers": {"elements": []}}, NONE),
    "null": (
        {"emails": None, "phones": None, "addresses": None, "email": "a@b.example"},
        {"email": "a@b.example", "city": None},
    ),
    "texts": (
        {"emails": ["a@b.example"], "phones": ["+13125550111"]},
        {"email": "a@b.example", "phone": "+13125550111"},
    ),
    # Addresses with a word for what they are for.
    "field": (
        {"addresses": [{"field": "SHIPPING", "locality": "Kyle"}, {"field": "BILLING", "locality": "Austin"}]},
        CITY,
    ),
    "type": ({"addresses": [{"type": "ship_to", "city": "Kyle"}, {"type": "bill_to", "city": "Austin"}]}, CITY),
    "label": ({"addresses": [{"label": "Warehouse", "city": "Kyle"}, {"label": "Office", "city": "Austin"}]}, CITY),
    "kind": ({"addresses": [{"kind": "delivery", "town": "Kyle"}, {"kind": "invoice", "town": "Austin"}]}, CITY),
    "a type that is an object": (
        {
            "addresses": [
                {"type": {"id": 2, "name": "Delivery"}, "city": "Kyle"},
                {"type": {"id": 1, "name": "Billing"}, "city": "Austin"},
            ]
        },
        CITY,
    ),
    "flags of a shop": (
        {"addresses": [{"city": "Kyle", "default_shipping": True}, {"city": "Austin", "default_billing": True}]},
        CITY,
    ),
    "a flag for invoices": ({"addresses": [{"city": "Kyle"}, {"city": "Austin", "isBilling": True}]}, CITY),
    "only one for deliveries": ({"addresses": [{"type": "Delivery", "city": "Austin"}]}, CITY),
    "one for invoices without a place": (
        {"addresses": [{"type": "billing", "city": "", "line1": None}, {"type": "shipping", "city": "Austin"}]},
        CITY,
    ),
    "an address of earlier times": (
        {"address": [{"use": "old", "city": "Kyle"}, {"use": "home", "city": "Austin"}]},
        CITY,
    ),
    "one that is no longer active": (
        {"addresses": [{"city": "Kyle", "active": False}, {"city": "Austin", "active": True}]},
        CITY,
    ),
    "several uses": (
        {"addresses": [{"types": ["shipping"], "city": "Kyle"}, {"types": ["billing", "shipping"], "city": "Austin"}]},
        CITY,
    ),
    "an address inside": (
        {
            "addresses": [
                {"type": "shipping", "address": {"city": "Kyle"}},
                {"type": "billing", "address": {"city": "Austin", "line_1": "2 B"}},
            ]
        },
        {**CITY, "address_line1": "2 B"},
    ),
    "a country that is an object": (
        {"addresses": [{"city": "Austin", "country": {"code": "US", "name": "United States"}}]},
        {**CITY, "country": "US"},
    ),
    "by role": (
        {"addresses": {"shipping": {"city": "Kyle", "street": "1 A"}, "billing": {"city": "Austin", "street": "2 B"}}},
        {**CITY, "address_line1": "2 B"},
    ),
    "a list beside the country": ({"country": "US", "addresses": [{"city": "Austin"}]}, {**CITY, "country": "US"}),
    "a list for invoices beside another": (
        {"addresses": [{"city": "Kyle"}], "billingAddresses": [{"city": "Austin"}]},
        CITY,
    ),
    "a unit": (
        {"address": {"street": "2 B", "unit": "Suite 5", "city": "Austin"}},
        {**CITY, "address_line2": "Suite 5"},
    ),
    # E-mails and numbers.
    "a number in parts": (
        {
            "phones": [
                {"type": "fax", "number": "5550199"},
                {"country_code": "1", "area_code": "312", "number": "5550111"},
            ]
        },
        {"phone": "+13125550111"},
    ),
    "a number with the code of its country": (
        {"phoneNumbers": [{"countryCode": "+44", "number": "2079460812"}]},
        {"phone": "+442079460812"},
    ),
    "a default among kinds": (
        {
            "Phones": [
                {"PhoneType": "DDI", "PhoneNumber": ""},
                {"PhoneType": "MOBILE", "PhoneNumber": "+13125550199"},
                {"PhoneType": "DEFAULT", "PhoneNumber": "+13125550111"},
            ]
        },
        {"phone": "+13125550111"},
    ),
    "no fax": ({"phone_numbers": [{"label": "Fax", "number": "+13125550199"}]}, {"phone": None}),
    "one of several e-mails": ({"emails": {"work": "a@b.example", "home": ""}}, {"email": "a@b.example"}),
    "one of several numbers": ({"phones": {"home": "", "mobile": "+13125550111"}}, {"phone": "+13125550111"}),
    "details of a contact": (
        {"contactDetails": {"emailAddress": "a@b.example", "phoneNumber": "+13125550111"}},
        {"email": "a@b.example", "phone": "+13125550111"},
    ),
    "a list of contacts": (
        {
            "contacts": [
                {"first_name": "Ann", "last_name": "Bell", "email": "x@b.example"},
                {
                    "first_name": "Bo",
                    "last_name": "Cay",
                    "email": "a@b.example",
                    "is_primary": True,
                    "phone": "+13125550111",
                },
            ]
        },
        {"email": "a@b.example", "phone": "+13125550111", "billing_contact_name": "Bo Cay"},
    ),
    "a list of contacts that have lists": (
        {
            "contacts": [
                {
                    "name": "Bo Cay",
                    "emails": [{"type": "office", "email": "a@b.example"}],
                    "phones": [{"phone": "+13125550111"}],
                }
            ]
        },
        {"email": "a@b.example", "phone": "+13125550111", "billing_contact_name": "Bo Cay"},
    ),
    "contacts that are only ids": ({"contacts": [7, 8], "city": "Austin"}, {"email": None, **CITY}),
    "contacts beside an e-mail": (
        {"email": "a@b.example", "contacts": [{"email": "x@b.example", "name": "Ann Bell"}]},
        {"email": "a@b.example", "billing_contact_name": "Ann Bell"},
    ),
    # Objects of codes and texts.
    "a code that repeats the name": ({"Currency": {"CurrencyCode": "NZD", "Guid": "x"}}, {"currency": "NZD"}),
    "a code beside a name": ({"currency": {"id": 3, "code": "NZD", "name": "New Zealand Dollar"}}, {"currency": "NZD"}),
    "a country that repeats the name": (
        {"city": "Austin", "country": {"countryName": "United States"}},
        {"country": "US"},
    ),
    "a status with a name": ({"status": {"id": 1, "name": "Active"}}, {"status": "active"}),
    "a type with a name": ({"type": {"id": 1, "name": "Company"}}, {"customer_type": "BUSINESS"}),
    "terms with a name": ({"paymentTerm": {"id": 1, "name": "Net 30"}}, {"net_terms": 30}),
    "terms that repeat the name": ({"PaymentTerm": {"PaymentTermName": "Net 30"}}, {"net_terms": 30}),
    "preferences": (
        {"preferences": {"currency": "NZD", "language": "en", "email": True}},
        {"currency": "NZD", "language": "en", "email": None},
    ),
    "settings": (
        {"settings": {"locale": "en-US", "timezone": "Europe/Berlin"}},
        {"language": "en-US", "timezone": "Europe/Berlin"},
    ),
    "a time in seconds": (
        {"createdAt": {"_seconds": 1704209445, "_nanoseconds": 0}},
        {"created_at": "2024-01-02T15:30:45+00:00"},
    ),
    "a list with one tax number": (
        {"tax_ids": {"data": [{"type": "eu_vat", "value": "DE123456789"}]}},
        {"tax_id": "DE123456789"},
    ),
    "an owner's e-mail": ({"owner": {"id": 9, "email": "x@ours.example"}, "city": "Austin"}, {"email": None, **CITY}),
}

TABLES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    # The word for what an address is for is in a column of its own.
    "a type of each address": (
        {
            "Main Address Type": "Delivery",
            "Main Address Town": "Kyle",
            "Address 2 Type": "Accounts",
            "Address 2 Town": "Austin",
        },
        CITY,
    ),
    "the main address first": (
        {
            "Main Address Type": "Accounts",
            "Main Address Town": "Austin",
            "Address 2 Type": "Delivery",
            "Address 2 Town": "Kyle",
        },
        CITY,
    ),
    "a type only of the first": (
        {
            "Address 1 - Type": "Shipping",
            "Address 1 - City": "Kyle",
            "Address 2 - Type": "",
            "Address 2 - City": "Austin",
        },
        CITY,
    ),
    "labels": (
        {
            "Address 1 - Label": "Home",
            "Address 1 - City": "Kyle",
            "Address 2 - Label": "Billing",
            "Address 2 - City": "Austin",
        },
        CITY,
    ),
    "a type of the only address": ({"Address Type": "Delivery", "Address City": "Austin"}, CITY),
    "a type that is said twice": (
        {
            "Main Address - Address Type": "Delivery",
            "Main Address - City": "Kyle",
            "Postal Address - Address Type": "Billing",
            "Postal Address - City": "Austin",
        },
        CITY,
    ),
    "a billing address that is blank": (
        {"Address 1 Type": "Billing", "Address 1 City": "", "Address 2 Type": "Delivery", "Address 2 City": "Austin"},
        CITY,
    ),
    "codes of a CRM": (
        {
            "address1_addresstypecode": "Ship To",
            "address1_city": "Kyle",
            "address2_addresstypecode": "Bill To",
            "address2_city": "Austin",
        },
        CITY,
    ),
    "the service beside the billing address": (
        {"Service Street 1": "1 A", "Service City": "Kyle", "Billing Street 1": "2 B", "Billing City": "Austin"},
        {**CITY, "address_line1": "2 B"},
    ),
    "the service address alone": (
        {"Service Street 1": "2 B", "Service City": "Austin"},
        {**CITY, "address_line1": "2 B"},
    ),
    "which address is preferred": (
        {
            "Home Address": "1 A",
            "Home City": "Kyle",
            "Work Address": "2 B",
            "Work City": "Austin",
            "Preferred Address": "Work",
        },
        {**CITY, "address_line1": "2 B"},
    ),
    "the preferred address": (
        {"Preferred Address Lines": "2 B", "Preferred City": "Austin"},
        {**CITY, "address_line1": "2 B"},
    ),
    # Parts of an address.
    "apartment or suite": ({"Street": "2 B", "Apt/Suite": "Suite 5", "City": "Austin"}, {"address_line2": "Suite 5"}),
    "suite or unit": ({"Address": "2 B", "Suite / Unit": "5", "City": "Austin"}, {"address_line2": "5"}),
    "unit": ({"Street Address": "2 B", "Unit": "5", "City": "Austin"}, {"address_line2": "5"}),
    "a unit of a business": (
        {"Street Address": "2 B", "Business Unit": "EMEA", "City": "Austin"},
        {"address_line2": None},
    ),
    "a unit without an address": ({"Unit": "kg"}, {"address_line2": None}),
    # Numbers.
    "a direct number": ({"Work Direct Phone": "", "Corporate Phone": "+13125550111"}, {"phone": "+13125550111"}),
    "the switchboard behind a direct line": (
        {"Direct Line": "+13125550111", "Switchboard": "+13125550100"},
        {"phone": "+13125550111"},
    ),
    "number signs in plural": ({"Main Phone #s": "", "Mobile Phone #s": "+13125550111"}, {"phone": "+13125550111"}),
    "a plural in brackets": (
        {"Phone(s)": "+13125550111", "Email(s)": "a@b.example"},
        {"phone": "+13125550111", "email": "a@b.example"},
    ),
    "numbers by day and night": ({"Daytime Phone": "", "Evening Phone": "+13125550111"}, {"phone": "+13125550111"}),
    "which number is preferred": ({"Mobile": "+13125550111", "Preferred Phone": "Mobile"}, {"phone": "+13125550111"}),
    # Tax numbers.
    "two taxes": ({"GSTVATNumber": "123-456-789"}, {"tax_id": "123-456-789"}),
    "two taxes with a slash": ({"GST / HST Number": "123456789RT0001"}, {"tax_id": "123456789RT0001"}),
    "one or the other": ({"VAT or Tax ID": "GB123456789"}, {"tax_id": "GB123456789"}),
    "a rate": ({"Sales Tax Code": "GST10", "Tax Rate": "10"}, {"tax_id": None}),
    "a provincial tax": ({"GST Number": "123456789", "PST Number": "PST-1"}, {"tax_id": "123456789", "zip_code": None}),
    # Countries.
    "a long name": ({"City": "Hobart", "Country": "Commonwealth of Australia"}, {"country": "AU"}),
    "a long name that is turned": ({"City": "Bonn", "Country": "Germany, Federal Republic of"}, {"country": "DE"}),
    "a long name in brackets": (
        {"City": "Leeds", "Country": "The United Kingdom of Great Britain and Northern Ireland"},
        {"country": "GB"},
    ),
}

IDS: dict[str, tuple[dict[str, str], str | None]] = {
    "a letter": ({"J-ID": "55_60", "Name": "A", "Email": "a@b.example"}, "55_60"),
    "of a program": (
        {"Name": "A", "Email": "a@b.example", "Apollo Contact Id": "65a1", "Apollo Account Id": "77"},
        "65a1",
    ),
    "of a customer in a program": ({"Name": "A", "Email": "a@b.example", "Stripe Customer ID": "cus_1"}, "cus_1"),
    "of two programs": ({"Name": "A", "Email": "a@b.example", "Xero Contact ID": "1", "Zoho Contact ID": "2"}, None),
    "of another customer": ({"Name": "A", "Email": "a@b.example", "Parent Customer ID": "9"}, None),
    "of a salesperson": ({"Name": "A", "Email": "a@b.example", "Owner User ID": "9"}, None),
    "a reference": ({"Ref.": "R1", "Company": "A", "Email": "a@b.example"}, "R1"),
    "a number sign": ({"ID#": "7", "Name": "A", "Email": "a@b.example"}, "7"),
    "a number far from an address": (
        {
            "Street": "2 B",
            "City": "Austin",
            "Industry": "x",
            "Name": "A",
            "Number": "0001",
            "Paid": "1",
            "Notes": "x",
            "Email": "a@b.example",
            "VAT Number": "GB123456789",
        },
        "0001",
    ),
    "a number of a house": (
        {"Name": "A", "Email": "a@b.example", "Street": "B", "Number": "2", "City": "Austin"},
        None,
    ),
    "a link": (
        {"url": "https://api.example.com/v2/contacts/2101", "name": "A", "email": "a@b.example"},
        "https://api.example.com/v2/contacts/2101",
    ),
    "a link to itself": (
        {"name": "A", "email": "a@b.example", "_links.self.href": "/rest/customers/17"},
        "/rest/customers/17",
    ),
    "a website": ({"url": "https://www.acme.example/about", "name": "A", "email": "a@b.example"}, None),
    "a website elsewhere": ({"name": "A", "email": "a@b.example", "url": "https://acme.example/clients"}, None),
    "a link beside an id": (
        {"href": "https://api.example.com/customers/5", "id": "5", "name": "A", "email": "a@b.example"},
        "5",
    ),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_an_object_becomes_a_customer(what: str, tmp_path: Path) -> None:
    given, expected = OBJECTS[what]
    file = tmp_path / "in.json"
    file.write_text(json.dumps([{**BASE, **given}]), encoding="utf-8")
    assert as_expected(file, tmp_path, expected) == expected


@pytest.mark.parametrize("what", TABLES)
def test_a_row_becomes_a_customer(what: str, tmp_path: Path) -> None:
    given, expected = TABLES[what]
    assert as_expected(table({**BASE, **given}, tmp_path), tmp_path, expected) == expected


@pytest.mark.parametrize("what", IDS)
def test_the_id_of_a_customer(what: str, tmp_path: Path) -> None:
    given, expected = IDS[what]
    assert as_expected(table(given, tmp_path), tmp_path, ["external_id"]) == {"external_id": expected}


def test_a_website_that_is_no_id_stays_in_metadata(tmp_path: Path) -> None:
    file = table(IDS["a website"][0], tmp_path)
    assert "url" in customers(file, tmp_path)["kept"] or "external_id" not in customers(file, tmp_path)["records"][0]


def table(row: dict[str, str], folder: Path) -> Path:
    file = folder / "in.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([row.keys(), row.values()])
    return file


def as_expected(file: Path, folder: Path, fields: Any) -> dict[str, Any]:
    (record,) = customers(file, folder)["records"]
    return {field: record.get(field) for field in fields}
