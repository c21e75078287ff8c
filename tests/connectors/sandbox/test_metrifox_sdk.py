"""The vendor's own Python client against the sandbox: every customer call it has, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from metrifox_sdk import (
    APIError,
    ConfigurationError,
    CustomerCreateRequest,
    CustomerListRequest,
    CustomerUpdateRequest,
    MetrifoxClient,
    init,
)

from support.sandboxes import Sandbox, Start
from tranship.connectors.sandbox.metrifox import LARGEST_CSV

pytestmark = pytest.mark.slow

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

ACME = {
    "customer_key": "acme",
    "customer_type": "BUSINESS",
    "primary_email": "contact@acmecorp.com",
    "legal_name": "ACME Corporation LLC",
    "display_name": "ACME Corp",
}
JOHN = {
    "customer_key": "user_12345",
    "customer_type": "INDIVIDUAL",
    "primary_email": "john.doe@example.com",
    "first_name": "John",
    "last_name": "Doe",
}
NULLS = (
    *("primary_phone", "legal_name", "display_name", "legal_number", "tax_identification_number", "tax_status"),
    *("logo_url", "website_url", "account_manager", "first_name", "middle_name", "last_name", "date_of_birth"),
    *("billing_email", "timezone", "language", "currency", "address_line1", "address_line2", "city", "state"),
    *("country", "zip_code", "shipping_address_line1", "shipping_address_line2", "shipping_city", "shipping_state"),
    *("shipping_country", "shipping_zip_code", "archived_at", "mid_cycle_invoice_consolidation"),
)
"""The fields that are null in a customer if they are not set."""

# The vendor's Ruby client carries this customer as its example (spec/customers_spec.rb); it uses every kind of field.
EVERYTHING: dict[str, Any] = {
    "customer_type": "BUSINESS",
    "customer_key": "okoro_manufacturing_2024_006",
    "primary_email": "support@okoromanufacturing2.com.ng",
    "primary_phone": "+2348012345678",
    "legal_name": "Okoro Manufacturing Limited",
    "display_name": "Okoro Manufacturing",
    "legal_number": "RC1234567890",
    "tax_identification_number": "TIN567890123",
    "logo_url": "https://okoromanufacturing.com/logo.png",
    "website_url": "https://okoromanufacturing.com",
    "account_manager": "Emmanuel Okoro",
    "first_name": "Ada",
    "middle_name": "Ngozi",
    "last_name": "Okoro",
    "date_of_birth": "1985-03-15",
    "billing_email": "billing@okoromanufacturing.com",
    "timezone": "Africa/Lagos",
    "language": "en",
    "currency": "NGN",
    "tax_status": "TAXABLE",
    "address_line1": "Plot 15, Industrial Layout",
    "address_line2": "Garki District",
    "city": "Abuja",
    "state": "FCT",
    "country": "Nigeria",
    "zip_code": "900001",
    "shipping_address_line1": "Warehouse 3B, Ikeja Industrial Estate",
    "shipping_address_line2": "Ogba Road",
    "shipping_city": "Lagos",
    "shipping_state": "Lagos",
    "shipping_country": "Nigeria",
    "shipping_zip_code": "100218",
    "billing_configuration": {
        "preferred_payment_gateway": "stripe",
        "preferred_payment_method": "card",
        "billing_email": "billing@okoromanufacturing.com",
        "billing_address": "Plot 15, Industrial Layout, Garki District, Abuja, FCT, Nigeria, 900001",
        "payment_reminder_days": None,
    },
    "tax_identifications": [{"type": "VAT", "number": "VAT123456789", "country": "Nigeria"}],
    "contact_people": [
        {
            "first_name": "Chika",
            "last_name": "Okoro",
            "email_address": "chika@okoromanufacturing.com",
            "designation": "Finance Manager",
            "department": "Finance",
            "is_primary": True,
            "phone_number": "+2348087654321",
        }
    ],
    "payment_terms": [{"type": "Custom", "value": "7"}],
    "metadata": {"source": "website_registration", "seats": 12, "flags": {"vip": True, "note": None}},
    "phone_numbers": [{"phone_number": "8012345678", "country_code": "+234", "is_primary": True}],
    "documents": {"contract": "https://okoromanufacturing.com/contract.pdf"},
}


@pytest.fixture
def metrifox(sandbox: Start) -> Sandbox:
    return sandbox("metrifox")


@pytest.fixture
def client(metrifox: Sandbox) -> Iterator[MetrifoxClient]:
    """The vendor's client, configured for the sandbox as documented."""
    made = MetrifoxClient(api_key="sk_test_1", base_url=metrifox.url + "/api/v1/")
    yield made
    _close(made)


def _close(client: MetrifoxClient) -> None:
    # The client has no way to close its sessions.
    client._main_client.session.close()
    client._meter_client.session.close()


def _many(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"customer_key": f"k{n:03}", "customer_type": "BUSINESS", "primary_email": f"c{n:03}@example.com", **more}
        for n in range(count)
    ]


# Create --------------------------------------------------------------------------------------------------------


def test_create_answers_with_the_whole_customer(client: MetrifoxClient) -> None:
    answer = client.customers.create(ACME)
    made = answer.pop("data")
    assert answer == {"statusCode": 201, "status": "created", "message": "Customer Created", "meta": {}, "errors": {}}
    assert UUID.fullmatch(made.pop("id"))
    assert INSTANT.fullmatch(made["created_at"])
    assert made.pop("created_at") == made.pop("updated_at")
    assert made == {
        **dict.fromkeys(NULLS),
        **ACME,
        "full_name": "ACME Corporation LLC",
        "email_addresses": [{"email": "contact@acmecorp.com", "is_primary": True}],
        "phone_numbers": [],
        "billing_configuration": {},
        "tax_identifications": [],
        "contact_people": [],
        "payment_terms": [],
        "metadata": {},
        "documents": {},
    }


def test_create_keeps_every_field_there_is(client: MetrifoxClient) -> None:
    made = client.customers.create(EVERYTHING)["data"]
    assert {name: made[name] for name in EVERYTHING} == EVERYTHING
    assert made["email_addresses"] == [{"email": "support@okoromanufacturing2.com.ng", "is_primary": True}]
    assert client.customers.get(EVERYTHING["customer_key"])["data"] == made


def test_create_with_the_typed_request(client: MetrifoxClient) -> None:
    request = CustomerCreateRequest(
        customer_key="user_12345",
        customer_type="INDIVIDUAL",
        primary_email="john.doe@example.com",
        first_name="John",
        last_name="Doe",
        currency="USD",
    )
    made = client.customers.create(request)["data"]
    assert (made["full_name"], made["currency"], made["display_name"]) == ("John Doe", "USD", None)


def test_create_ignores_what_is_not_ours_to_set(client: MetrifoxClient) -> None:
    told = {"id": "mine", "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z"}
    told |= {"archived_at": "2001-01-01T00:00:00Z", "full_name": "Nobody", "mid_cycle_invoice_consolidation": True}
    made = client.customers.create({**ACME, **told, "no_such_field": 1})["data"]
    assert UUID.fullmatch(made["id"])
    assert made["created_at"] > "2026"
    assert made["updated_at"] > "2026"
    assert made["archived_at"] is None
    assert made["full_name"] == "ACME Corporation LLC"
    assert made["mid_cycle_invoice_consolidation"] is None
    assert "no_such_field" not in made


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"customer_key": None}, '"customer_key":["is required"]'),
        ({"customer_type": None}, '"customer_type":["is required"]'),
        ({"primary_email": None}, '"primary_email":["is required"]'),
        ({"customer_key": "  "}, '"customer_key":["is required"]'),
        ({"primary_email": "nobody"}, '"primary_email":["is not a valid email format"]'),
        ({"billing_email": "a@b@c"}, '"billing_email":["is not a valid email format"]'),
        ({"customer_type": "COMPANY"}, '"customer_type":["is not included in the list"]'),
        ({"tax_status": "FREE"}, '"tax_status":["is not included in the list"]'),
        ({"customer_key": "k" * 256}, '"customer_key":["is too long (maximum is 255 characters)"]'),
        ({"customer_key": 7}, '"customer_key":["must be a string"]'),
        ({"city": ["Oslo"]}, '"city":["must be a string"]'),
        ({"metadata": "tier=pro"}, '"metadata":["must be an object"]'),
        ({"payment_terms": {"type": "Custom"}}, '"payment_terms":["must be an array of objects"]'),
        ({"contact_people": ["Jane"]}, '"contact_people":["must be an array of objects"]'),
        ({"date_of_birth": "15.03.1985"}, '"date_of_birth":["is not a valid date"]'),
    ],
)
def test_create_refuses(client: MetrifoxClient, changes: dict[str, Any], errors: str) -> None:
    with pytest.raises(APIError) as refusal:
        client.customers.create({**ACME, **changes})
    assert str(refusal.value) == "API request failed: Bad Request - Invalid customer data (Status: 400)"
    assert refusal.value.status_code == 400
    assert refusal.value.response_body == (
        '{"statusCode":400,"message":"Bad Request - Invalid customer data","meta":{},"data":null,"errors":{'
        + errors
        + "}}"
    )
    assert client.customers.list()["data"] == []


def test_create_lists_every_fault(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    with pytest.raises(APIError) as refusal:
        client.customers.create({"customer_key": "acme", "customer_type": "BUSINESS"})
    assert refusal.value.response_body.endswith(
        '"errors":{"customer_key":["must be unique"],"primary_email":["is required"]}}'
    )


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_of_any_length_up_to_255(client: MetrifoxClient, length: int) -> None:
    made = client.customers.create({**ACME, "customer_key": "ø" * length})["data"]
    assert client.customers.get("ø" * length)["data"] == made


def test_keys_are_unique_and_case_counts(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    client.customers.create({**JOHN, "customer_key": "ACME"})
    with pytest.raises(APIError) as refusal:
        client.customers.create({**ACME, "primary_email": "other@acmecorp.com"})
    assert refusal.value.status_code == 400
    assert refusal.value.response_body.endswith('"errors":{"customer_key":["must be unique"]}}')


def test_emails_are_unique_and_case_does_not_count(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    with pytest.raises(APIError) as refusal:
        client.customers.create({**ACME, "customer_key": "acme2", "primary_email": "Contact@AcmeCorp.COM"})
    assert refusal.value.response_body.endswith('"errors":{"primary_email":["must be unique"]}}')
    client.customers.create({**ACME, "customer_key": "acme2", "primary_email": "Other@AcmeCorp.COM"})
    assert client.customers.get("acme2")["data"]["primary_email"] == "Other@AcmeCorp.COM"


def test_the_primary_email_is_mirrored_among_the_addresses(client: MetrifoxClient) -> None:
    more = [{"email": "info@acmecorp.com", "is_primary": True}]
    made = client.customers.create({**ACME, "email_addresses": more})["data"]
    assert made["email_addresses"] == [
        {"email": "contact@acmecorp.com", "is_primary": True},
        {"email": "info@acmecorp.com", "is_primary": False},
    ]
    changed = client.customers.update("acme", {"primary_email": "new@acmecorp.com"})["data"]
    assert changed["email_addresses"] == [
        {"email": "new@acmecorp.com", "is_primary": True},
        {"email": "info@acmecorp.com", "is_primary": False},
    ]


@pytest.mark.parametrize(
    ("fields", "full_name"),
    [
        ({"customer_type": "BUSINESS", "legal_name": "Acme Corporation", "display_name": "Acme"}, "Acme Corporation"),
        ({"customer_type": "BUSINESS", "display_name": "Acme"}, "Acme"),
        ({"customer_type": "BUSINESS"}, None),
        ({"customer_type": "INDIVIDUAL", "first_name": "Jane", "middle_name": "X", "last_name": "Doe"}, "Jane Doe"),
        ({"customer_type": "INDIVIDUAL", "last_name": "Doe", "legal_name": "Doe Ltd"}, "Doe"),
        ({"customer_type": "INDIVIDUAL", "display_name": "JD"}, "JD"),
    ],
)
def test_full_name(client: MetrifoxClient, fields: dict[str, Any], full_name: str | None) -> None:
    client.customers.create({"customer_key": "k", "primary_email": "k@example.com", **fields})
    assert client.customers.get("k")["data"]["full_name"] == full_name


# Get and details ------------------------------------------------------------------------------------------------


def test_get(client: MetrifoxClient) -> None:
    made = client.customers.create(ACME)["data"]
    assert client.customers.get("acme") == {
        "statusCode": 200,
        "message": "Customer Retrieved Successfully",
        "meta": {},
        "errors": {},
        "data": made,
    }


def test_a_path_may_hold_the_key_or_the_id(client: MetrifoxClient) -> None:
    made = client.customers.create(ACME)["data"]
    assert client.customers.get(made["id"])["data"] == made
    decoy = client.customers.create({**JOHN, "customer_key": made["id"]})["data"]
    assert client.customers.get(made["id"])["data"] == decoy


@pytest.mark.parametrize("call", ["get", "get_details", "delete", "archive", "unarchive", "has_active_subscription"])
def test_an_unknown_key(client: MetrifoxClient, call: str) -> None:
    with pytest.raises(APIError) as refusal:
        getattr(client.customers, call)("nobody")
    assert str(refusal.value) == "API request failed: Customer not found (Status: 404)"
    assert (
        refusal.value.response_body
        == '{"statusCode":404,"message":"Customer not found","meta":{},"data":null,"errors":{}}'
    )


def test_details(client: MetrifoxClient) -> None:
    made = client.customers.create(EVERYTHING)["data"]
    answer = client.customers.get_details("okoro_manufacturing_2024_006")
    assert answer == {
        "statusCode": 200,
        "message": "Customer Details Fetched Successfully",
        "meta": {},
        "errors": {},
        "data": {
            "metrifox_id": made["id"],
            "customer_key": "okoro_manufacturing_2024_006",
            "customer_type": "BUSINESS",
            "primary_email": "support@okoromanufacturing2.com.ng",
            "display_name": "Okoro Manufacturing",
            "full_name": "Okoro Manufacturing Limited",
            "billing_email": "billing@okoromanufacturing.com",
            "billing_address": {
                "line1": "Plot 15, Industrial Layout",
                "line2": "Garki District",
                "city": "Abuja",
                "state": "FCT",
                "postal_code": "900001",
                "country": "Nigeria",
            },
            "currency": "NGN",
            "timezone": "Africa/Lagos",
            "language": "en",
            "tenant_checkout_username": "sandbox",
            "subscriptions": [],
            "wallets": [],
            "archived_at": None,
        },
    }
    assert client.customers.get_details(made["id"]) == answer


def test_details_of_a_customer_without_address(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    assert client.customers.get_details("acme")["data"]["billing_address"] is None


def test_nobody_has_a_subscription_here(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    assert client.customers.has_active_subscription("acme") is False


# Update ---------------------------------------------------------------------------------------------------------


def test_update_changes_what_is_sent_and_no_more(client: MetrifoxClient) -> None:
    made = client.customers.create(EVERYTHING)["data"]
    answer = client.customers.update(made["customer_key"], {"city": "Lagos", "customer_type": "INDIVIDUAL"})
    changed = answer.pop("data")
    assert answer == {"statusCode": 200, "message": "Customer updated", "meta": {}, "errors": {}}
    assert changed.pop("updated_at") > made.pop("updated_at")
    assert changed == {**made, "city": "Lagos", "customer_type": "INDIVIDUAL", "full_name": "Ada Okoro"}
    assert client.customers.get(made["customer_key"])["data"]["city"] == "Lagos"


def test_update_with_the_typed_request(client: MetrifoxClient) -> None:
    client.customers.create(JOHN)
    request = CustomerUpdateRequest(primary_email="newemail@example.com", first_name="Jane", currency="EUR")
    changed = client.customers.update("user_12345", request)["data"]
    assert (changed["primary_email"], changed["full_name"], changed["currency"]) == (
        "newemail@example.com",
        "Jane Doe",
        "EUR",
    )


def test_update_with_null_clears(client: MetrifoxClient) -> None:
    client.customers.create(EVERYTHING)
    changed = client.customers.update(EVERYTHING["customer_key"], {"city": None, "metadata": None})["data"]
    assert (changed["city"], changed["metadata"]) == (None, {})


def test_update_replaces_arrays_and_metadata_whole(client: MetrifoxClient) -> None:
    client.customers.create(EVERYTHING)
    people = [{"first_name": "Obi", "last_name": "Eze", "is_primary": False}]
    told = {"metadata": {"tier": "pro"}, "contact_people": people, "payment_terms": []}
    changed = client.customers.update(EVERYTHING["customer_key"], told)["data"]
    assert {name: changed[name] for name in told} == told


def test_the_key_cannot_be_changed(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    changed = client.customers.update("acme", {"customer_key": "other", "id": "other", "city": "Oslo"})["data"]
    assert (changed["customer_key"], changed["city"]) == ("acme", "Oslo")
    with pytest.raises(APIError, match="Customer not found"):
        client.customers.get("other")


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"primary_email": "nobody"}, '"primary_email":["is not a valid email format"]'),
        ({"primary_email": None}, '"primary_email":["is required"]'),
        ({"primary_email": "JOHN.DOE@example.com"}, '"primary_email":["must be unique"]'),
        ({"customer_type": "COMPANY"}, '"customer_type":["is not included in the list"]'),
    ],
)
def test_update_refuses(client: MetrifoxClient, changes: dict[str, Any], errors: str) -> None:
    made = client.customers.create(ACME)["data"]
    client.customers.create(JOHN)
    with pytest.raises(APIError) as refusal:
        client.customers.update("acme", {**changes, "city": "Oslo"})
    assert str(refusal.value) == "API request failed: Validation Error (Status: 422)"
    assert refusal.value.response_body == (
        '{"statusCode":422,"message":"Validation Error","meta":{},"data":null,"errors":{' + errors + "}}"
    )
    assert client.customers.get("acme")["data"] == made


def test_update_may_repeat_or_recase_its_own_email(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    changed = client.customers.update("acme", {"primary_email": "CONTACT@acmecorp.com"})["data"]
    assert changed["primary_email"] == "CONTACT@acmecorp.com"


def test_an_email_that_was_given_up_is_free(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    client.customers.update("acme", {"primary_email": "new@acmecorp.com"})
    client.customers.create({**JOHN, "primary_email": "contact@acmecorp.com"})
    with pytest.raises(APIError, match="400"):
        client.customers.create({**JOHN, "customer_key": "x", "primary_email": "NEW@acmecorp.com"})


def test_update_of_an_unknown_key(client: MetrifoxClient) -> None:
    with pytest.raises(APIError, match=r"Customer not found \(Status: 404\)"):
        client.customers.update("nobody", {"city": "Oslo"})


# Delete and archive ---------------------------------------------------------------------------------------------


def test_delete_frees_key_and_email(client: MetrifoxClient) -> None:
    made = client.customers.create(ACME)["data"]
    assert client.customers.delete("acme") == {
        "statusCode": 200,
        "message": "Customer Deleted Successfully",
        "meta": {},
        "errors": {},
        "data": {"deleted": True, "customer_key": "acme"},
    }
    for key in ("acme", made["id"]):
        with pytest.raises(APIError, match="Customer not found"):
            client.customers.get(key)
    assert client.customers.list()["data"] == []
    assert client.customers.create(ACME)["data"]["id"] != made["id"]


def test_archive_and_unarchive(client: MetrifoxClient) -> None:
    made = client.customers.create(ACME)["data"]
    archived = client.customers.archive("acme")
    assert archived["message"] == "Customer archived successfully"
    when = archived["data"]["archived_at"]
    assert INSTANT.fullmatch(when)
    assert archived["data"] == {**made, "archived_at": when, "updated_at": when}
    assert client.customers.archive("acme")["data"]["archived_at"] == when
    assert client.customers.get("acme")["data"] == client.customers.list()["data"][0] == archived["data"]
    assert client.customers.get_details("acme")["data"]["archived_at"] == when
    with pytest.raises(APIError, match="400"):
        client.customers.create(ACME)

    back = client.customers.unarchive("acme")
    assert back["message"] == "Customer unarchived successfully"
    assert back["data"] == {**made, "updated_at": back["data"]["updated_at"]}
    assert client.customers.get("acme")["data"]["archived_at"] is None


# List -----------------------------------------------------------------------------------------------------------


def test_an_empty_list(client: MetrifoxClient) -> None:
    assert client.customers.list() == {
        "statusCode": 200,
        "message": "Customers Fetched",
        "errors": {},
        "data": [],
        "meta": {
            "current_page": 1,
            "total_pages": 0,
            "total_count": 0,
            "limit_value": 25,
            "per_page": 25,
            "next_page": None,
            "prev_page": None,
            "first_page?": True,
            "last_page?": False,
            "out_of_range?": True,
        },
    }


def test_the_newest_come_first_25_a_page(client: MetrifoxClient) -> None:
    client.customers.bulk_create(_many(60))
    pages = [client.customers.list({"page": number}) for number in (1, 2, 3, 4)]
    keys = [customer["customer_key"] for page in pages for customer in page["data"]]
    assert keys == [f"k{n:03}" for n in reversed(range(60))]
    common = {"total_pages": 3, "total_count": 60, "limit_value": 25, "per_page": 25}
    assert [page["meta"] for page in pages] == [
        common | _place(1, None, 2, first=True),
        common | _place(2, 1, 3),
        common | _place(3, 2, None, last=True),
        common | _place(4, None, None, outside=True),
    ]
    assert pages[0]["data"][0] == client.customers.get("k059")["data"]


def _place(
    page: int, before: int | None, after: int | None, first: bool = False, last: bool = False, outside: bool = False
) -> dict[str, Any]:
    place = {"current_page": page, "prev_page": before, "next_page": after}
    return {**place, "first_page?": first, "last_page?": last, "out_of_range?": outside}


def test_a_new_customer_shifts_every_page(client: MetrifoxClient) -> None:
    client.customers.bulk_create(_many(4))
    first = [customer["customer_key"] for customer in client.customers.list({"per_page": 2})["data"]]
    client.customers.create(ACME)
    second = [customer["customer_key"] for customer in client.customers.list({"per_page": 2, "page": 2})["data"]]
    assert (first, second) == (["k003", "k002"], ["k002", "k001"])


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (50, 50), (100, 100), (101, 100), (5000, 100)])
def test_at_most_100_a_page(client: MetrifoxClient, asked: int, given: int) -> None:
    client.customers.bulk_create(_many(100))
    client.customers.create(ACME)
    answer = client.customers.list(CustomerListRequest(page=1, per_page=asked))
    assert len(answer["data"]) == answer["meta"]["per_page"] == answer["meta"]["limit_value"] == given


def test_search_by_name_or_email(client: MetrifoxClient) -> None:
    client.customers.bulk_create([ACME, JOHN])

    def found(term: str) -> list[str]:
        return [customer["customer_key"] for customer in client.customers.list({"search_term": term})["data"]]

    assert found("john.doe@example.com") == found("JOHN.DOE@") == ["user_12345"]
    assert found("acme corp") == found("Corporation") == ["acme"]
    assert found("John Doe") == ["user_12345"]
    assert found("co") == ["user_12345", "acme"]
    assert found("user_12345") == found("nobody") == []


def test_filters_go_together(client: MetrifoxClient) -> None:
    client.customers.bulk_create([ACME, JOHN, {**JOHN, "customer_key": "jane", "primary_email": "jane@example.com"}])
    today = client.customers.get("acme")["data"]["created_at"][:10]

    def found(**filters: Any) -> list[str]:
        answer = client.customers.list(CustomerListRequest(**filters))
        assert answer["meta"]["total_count"] == len(answer["data"])
        return [customer["customer_key"] for customer in answer["data"]]

    assert found(customer_type="INDIVIDUAL") == ["jane", "user_12345"]
    assert found(customer_type="BUSINESS") == ["acme"]
    assert found(date_created=today) == ["jane", "user_12345", "acme"]
    assert found(date_created="2025-09-01") == []
    assert found(date_created=today, customer_type="INDIVIDUAL", search_term="john.") == ["user_12345"]
    page = client.customers.list({"customer_type": "INDIVIDUAL", "per_page": 1, "page": 2})
    assert [customer["customer_key"] for customer in page["data"]] == ["user_12345"]
    assert (page["meta"]["total_count"], page["meta"]["total_pages"]) == (2, 2)


# Bulk -----------------------------------------------------------------------------------------------------------


def test_bulk_create_takes_each_row_separately(client: MetrifoxClient) -> None:
    client.customers.create(ACME)
    rows = [
        {"customer_key": "a", "customer_type": "BUSINESS", "primary_email": "a@x.example", "display_name": "A"},
        {**ACME, "primary_email": "b@x.example"},
        {"customer_key": "c", "customer_type": "BUSINESS", "primary_email": "A@X.example"},
        JOHN,
        {"customer_type": "PERSON"},
    ]
    answer = client.customers.bulk_create(rows)
    ids = {key: client.customers.get(key)["data"]["id"] for key in ("a", "user_12345")}
    assert answer == {
        "statusCode": 200,
        "message": "Bulk Customer Creation Completed",
        "meta": {},
        "errors": {},
        "data": {
            "total": 5,
            "successful_count": 2,
            "failed_count": 3,
            "customers_created": [
                {
                    "index": 0,
                    "customer_key": "a",
                    "data": {
                        "id": ids["a"],
                        "customer_type": "BUSINESS",
                        "primary_email": "a@x.example",
                        "display_name": "A",
                    },
                },
                {
                    "index": 3,
                    "customer_key": "user_12345",
                    "data": {
                        "id": ids["user_12345"],
                        "customer_type": "INDIVIDUAL",
                        "primary_email": "john.doe@example.com",
                        "display_name": "John Doe",
                    },
                },
            ],
            "customers_failed": [
                {"index": 1, "customer_key": "acme", "error": "Customer key has already been taken"},
                {"index": 2, "customer_key": "c", "error": "Primary email has already been taken"},
                {
                    "index": 4,
                    "customer_key": None,
                    "error": "Customer key is required, Customer type is not included in the list, "
                    "Primary email is required",
                },
            ],
        },
    }


def test_bulk_create_never_updates_and_a_repeat_fails_row_by_row(client: MetrifoxClient) -> None:
    first = client.customers.bulk_create({"customers": _many(3, city="Oslo")})
    again = client.customers.bulk_create({"customers": _many(3, city="Bergen")})
    assert (first["data"]["successful_count"], again["data"]["successful_count"]) == (3, 0)
    assert again["statusCode"] == 200
    assert {row["error"] for row in again["data"]["customers_failed"]} == {
        "Customer key has already been taken, Primary email has already been taken"
    }
    assert client.customers.get("k000")["data"]["city"] == "Oslo"


def test_bulk_create_keeps_every_field_there_is(client: MetrifoxClient) -> None:
    client.customers.bulk_create([EVERYTHING])
    made = client.customers.get(EVERYTHING["customer_key"])["data"]
    assert {name: made[name] for name in EVERYTHING} == EVERYTHING


# CSV ------------------------------------------------------------------------------------------------------------

# The first and the seventh customer of the file that the vendor's Ruby client ships as its example (customers.csv).
CSV = (
    "customer_type,primary_email,primary_phone,legal_name,display_name,legal_number,tax_identification_number,logo_url,"
    "website_url,account_manager,first_name,middle_name,last_name,date_of_birth,customer_key,billing_email,timezone,"
    "language,currency,tax_status,address_line1,address_line2,city,state,country,zip_code,shipping_address_line1,"
    "shipping_address_line2,shipping_city,shipping_state,shipping_country,shipping_zip_code\n"
    "BUSINESS,contact@acmecorp.com,+1-555-0101,Acme Corporation,Acme Corp,ABC123456789,12-3456789,,"
    "https://acmecorp.com,Sarah Johnson,,,,,ACME_CORP_001,billing@acmecorp.com,America/New_York,en,USD,1,"
    "123 Business Ave,Suite 100,New York,NY,US,10001,123 Business Ave,Suite 100,New York,NY,US,10001\n"
    "INDIVIDUAL,maria.garcia@gmail.com,+1-555-5678,,,,,,,,Maria,Elena,Garcia,1990-07-22,MARIA_GARCIA_007,,"
    "America/Chicago,es,USD,,456 Oak Avenue,Apt 2B,Chicago,IL,US,60614,456 Oak Avenue,Apt 2B,Chicago,IL,US,60614\n"
)


def test_upload_csv(client: MetrifoxClient, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(CSV + "BUSINESS,CONTACT@acmecorp.com,,,,,,,,,,,,,OTHER,,,,,,,,,,,,,,,,,\n", encoding="utf-8")
    answer = client.customers.upload_csv(str(file))
    assert answer["statusCode"] == 200
    assert answer["message"] == "Customers Upload Completed"
    made = [client.customers.get(key)["data"] for key in ("ACME_CORP_001", "MARIA_GARCIA_007")]
    assert answer["data"] == {
        "total_customers": 3,
        "successful_upload_count": 2,
        "failed_upload_count": 1,
        "customers_added": [
            {
                "row": row,
                "id": customer["id"],
                "customer_key": customer["customer_key"],
                "customer_type": customer["customer_type"],
                "primary_email": customer["primary_email"],
                "data": {
                    "id": customer["id"],
                    "customer_type": customer["customer_type"],
                    "email": customer["primary_email"],
                    "primary_email": customer["primary_email"],
                    "display_name": customer["display_name"] or customer["full_name"],
                },
            }
            for row, customer in enumerate(made, 1)
        ],
        "customers_failed": [{"row": 3, "customer_key": "OTHER", "error": "Primary email has already been taken"}],
    }
    acme, maria = made
    assert (acme["full_name"], acme["tax_status"], acme["zip_code"]) == ("Acme Corporation", "TAXABLE", "10001")
    assert (acme["first_name"], acme["date_of_birth"]) == (None, None)
    assert (maria["full_name"], maria["middle_name"], maria["tax_status"]) == ("Maria Garcia", "Elena", None)
    assert (maria["billing_email"], maria["date_of_birth"]) == (None, "1990-07-22")


def test_upload_csv_with_few_columns_quotes_and_a_byte_order_mark(client: MetrifoxClient, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(
        "\ufeffcustomer_key,customer_type,primary_email,display_name,shoe_size\r\n"
        'A1,BUSINESS,a@x.example,"Ärger, ""Söhne""\nGmbH",43\r\n'.encode()
    )
    assert client.customers.upload_csv(str(file))["data"]["successful_upload_count"] == 1
    assert client.customers.get("A1")["data"]["display_name"] == 'Ärger, "Söhne"\nGmbH'


def test_upload_csv_of_more_than_10_mb(client: MetrifoxClient, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(b"customer_key,customer_type,primary_email\n" + b" " * LARGEST_CSV)
    with pytest.raises(APIError) as refusal:
        client.customers.upload_csv(str(file))
    assert str(refusal.value) == "API request failed: File too large (Status: 413)"
    assert (
        refusal.value.response_body == '{"statusCode":413,"message":"File too large","meta":{},"data":null,"errors":{}}'
    )


# Keys -----------------------------------------------------------------------------------------------------------


def test_the_base_url_with_and_without_its_last_slash(metrifox: Sandbox) -> None:
    for base in ("/api/v1/", "/api/v1"):
        client = init({"api_key": "sk_test_1", "base_url": metrifox.url + base})
        assert client.customers.list()["statusCode"] == 200
        _close(client)


def test_the_key_from_the_environment(metrifox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METRIFOX_API_KEY", raising=False)
    with pytest.raises(ConfigurationError):
        MetrifoxClient(base_url=metrifox.url + "/api/v1/")
    monkeypatch.setenv("METRIFOX_API_KEY", "sk_test_1")
    client = MetrifoxClient(base_url=metrifox.url + "/api/v1/")
    assert client.customers.list()["statusCode"] == 200
    _close(client)


def test_a_slash_in_a_key_is_not_encoded_by_this_client(client: MetrifoxClient) -> None:
    """The client does not encode such keys; a caller that encodes them gets the customer."""
    for key in ("a/b", "a?b", "a#b", "a b", "a%2Fb", "ø+ü"):
        client.customers.create({**ACME, "customer_key": key, "primary_email": f"{abs(hash(key))}@example.com"})
    for plain in ("a/b", "a?b", "a#b"):
        with pytest.raises(APIError) as refusal:
            client.customers.get(plain)
        assert refusal.value.status_code == 404
    for encoded, key in (("a%2Fb", "a/b"), ("a%3Fb", "a?b"), ("a%23b", "a#b"), ("a%20b", "a b"), ("a%252Fb", "a%2Fb")):
        assert client.customers.get(encoded)["data"]["customer_key"] == key
        assert client.customers.get_details(encoded)["data"]["customer_key"] == key
        assert client.customers.update(encoded, {"city": key})["data"]["city"] == key
        assert client.customers.archive(encoded)["data"]["customer_key"] == key
        assert client.customers.delete(encoded)["data"] == {"deleted": True, "customer_key": key}
    assert client.customers.get("ø+ü")["data"]["customer_key"] == "ø+ü"
