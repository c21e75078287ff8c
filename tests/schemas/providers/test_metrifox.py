"""Metrifox's customers converted to canonical ones and back, as in its documentation and its clients."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import metrifox_sdk
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.connectors.api.json_codec import Decoded, decode, encode
from tranship.schemas.compatibility import losses, passage
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.providers.metrifox import SCHEMA

ID = "0d7b1f0a-6f0e-4f5c-8a55-2f6e0f7d9c01"
ANSWER: dict[str, Any] = {
    **dict.fromkeys(one.name for one in SCHEMA.fields),
    "id": ID,
    "customer_key": "cus_000000042",
    "customer_type": "BUSINESS",
    "primary_email": "ap@nordlys.example",
    "full_name": "Nordlys AB",
    "legal_name": "Nordlys AB",
    "display_name": "Nordlys",
    "email_addresses": [{"email": "ap@nordlys.example", "is_primary": True}],
    "phone_numbers": [],
    "billing_configuration": {},
    "tax_identifications": [],
    "contact_people": [],
    "payment_terms": [],
    "metadata": {},
    "documents": {},
    "created_at": "2026-11-21T09:00:00Z",
    "updated_at": "2026-11-21T09:30:00.123Z",
}
READ: dict[str, Any] = {
    "external_id": "cus_000000042",
    "email": "ap@nordlys.example",
    "name": "Nordlys",
    "legal_name": "Nordlys AB",
    "customer_type": "BUSINESS",
    "created_at": "2026-11-21T09:00:00Z",
    "updated_at": "2026-11-21T09:30:00.123Z",
    "provider": "metrifox",
    "provider_id": ID,
}
PERSON = {"customer_type": "INDIVIDUAL", "legal_name": None}
ANN: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee", "email_address": "ann@x.example", "is_primary": True}
INFO = [{"email": "ap@nordlys.example", "is_primary": True}, {"email": "info@x.example", "is_primary": False}]
CUSTOMER: dict[str, Any] = {
    "external_id": "k",
    "email": "k@x.example",
    "name": "Nordlys",
    "legal_name": "Nordlys AB",
    "customer_type": "BUSINESS",
    "created_at": datetime(2020, 1, 1, tzinfo=UTC),
}
WRITTEN: dict[str, Any] = {
    "customer_key": "k",
    "customer_type": "BUSINESS",
    "primary_email": "k@x.example",
    "display_name": "Nordlys",
    "legal_name": "Nordlys AB",
    "metadata": {"canon_created_at": "2020-01-01T00:00:00Z"},
}


def decoded(*answers: Any) -> Decoded:
    return decode(SCHEMA, [json.dumps(answers)])


def read(**fields: Any) -> dict[str, Any]:
    """Return the columns read from a customer with these fields that are not null, metadata parsed."""
    found = decoded({**ANSWER, **fields})
    assert found.broken.is_empty()
    (record,) = found.records.to_dicts()
    return {
        name: json.loads(value) if name == "metadata" else value for name, value in record.items() if value is not None
    }


def typed(records: pl.DataFrame) -> pl.DataFrame:
    """Return canonical text in the types of the stage."""
    return records.select(
        pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC")
        if name in INSTANTS
        else pl.col(name).str.json_decode(pl.List(pl.String))
        if name in LISTS
        else pl.col(name).cast(dtype)
        for name, dtype in COLUMNS.items()
    )


def customers(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(COLUMNS), **row} for row in rows], schema=COLUMNS)


def written(**fields: Any) -> dict[str, Any]:
    """Return the body that creates a customer with these fields."""
    if isinstance(fields.get("metadata"), dict):
        fields["metadata"] = json.dumps(fields["metadata"])
    encoded = encode(SCHEMA, customers({**CUSTOMER, **fields}))
    assert encoded.refused.is_empty(), encoded.refused
    return json.loads(encoded.bodies[0])


def settable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the settable fields of an answer, without those that Metrifox sets itself and its empty values."""
    fields = [one.name for one in SCHEMA.fields if one.settable]
    mirror = [{"email": answer["primary_email"], "is_primary": True}]
    said = {name: answer[name] for name in fields if answer.get(name) not in (None, "", [], {})}
    return {name: value for name, value in said.items() if name != "email_addresses" or value != mirror}


# Declarations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["CustomerResponse", "CustomerCreateRequest", "CustomerUpdateRequest"])
def test_every_field_the_vendor_has_a_type_for_is_declared(kind: str) -> None:
    theirs = set(getattr(metrifox_sdk, kind).__annotations__)
    assert theirs - {one.name for one in SCHEMA.fields} == {SCHEMA.overflow.name} & theirs


def test_what_cannot_be_set() -> None:
    assert [one.name for one in SCHEMA.fields if not one.settable] == [
        *("id", "full_name", "mid_cycle_invoice_consolidation", "created_at", "updated_at", "archived_at")
    ]


def test_what_is_lost_on_the_way() -> None:
    assert sorted(loss.field for loss in losses(SCHEMA)) == [
        *("metadata.metrifox.archived_at", "metadata.metrifox.full_name"),
        *("metadata.metrifox.mid_cycle_invoice_consolidation", "provider", "provider_id", "updated_at"),
    ]
    demanded = {loss.field for loss in passage(SCHEMA, SCHEMA).demanded}
    assert {"external_id", "email", "customer_type"} <= demanded


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ({}, {}),
        ({"metadata": None, "contact_people": None, "payment_terms": None, "documents": None}, {}),
        # Names
        ({"display_name": None}, {"name": "Nordlys AB", "metadata": {"metrifox.display_name": ""}}),
        (
            {"display_name": "", "full_name": "N"},
            {"name": "N", "metadata": {"metrifox.display_name": "", "metrifox.full_name": "N"}},
        ),
        ({"full_name": None}, {}),
        ({"full_name": "Nordlys Group"}, {"metadata": {"metrifox.full_name": "Nordlys Group"}}),
        ({"legal_name": None, "full_name": "Nordlys"}, {"legal_name": None, "metadata": {"metrifox.legal_name": ""}}),
        (
            {"first_name": "Ann", "last_name": "Lee"},
            {"metadata": {"metrifox.first_name": "Ann", "metrifox.last_name": "Lee"}},
        ),
        (
            {**PERSON, "display_name": "Ann Lee", "first_name": "Ann", "last_name": "Lee", "full_name": "Ann Lee"},
            {**PERSON, "name": "Ann Lee"},
        ),
        (
            {
                **PERSON,
                "display_name": "Ann Li Lee",
                "first_name": "Ann Li",
                "last_name": "Lee",
                "full_name": "Ann Li Lee",
            },
            {**PERSON, "name": "Ann Li Lee"},
        ),
        ({**PERSON, "display_name": "Cher", "first_name": "Cher", "full_name": "Cher"}, {**PERSON, "name": "Cher"}),
        (
            {**PERSON, "display_name": "Cher", "full_name": "Cher"},
            {**PERSON, "name": "Cher", "metadata": {"metrifox.first_name": ""}},
        ),
        (
            {**PERSON, "display_name": "Annie", "first_name": "Ann", "last_name": "Lee", "full_name": "Ann Lee"},
            {**PERSON, "name": "Annie", "metadata": {"metrifox.first_name": "Ann", "metrifox.last_name": "Lee"}},
        ),
        (
            {
                **PERSON,
                "display_name": None,
                "first_name": "Ann",
                "middle_name": "Li",
                "last_name": "Lee",
                "full_name": "Ann Lee",
            },
            {**PERSON, "name": "Ann Lee", "metadata": {"metrifox.display_name": "", "metrifox.middle_name": "Li"}},
        ),
        (
            {**PERSON, "display_name": None, "last_name": "Lee", "full_name": None},
            {**PERSON, "name": "Lee", "metadata": {"metrifox.display_name": "", "metrifox.last_name": "Lee"}},
        ),
        # Billing contact
        ({"billing_email": "b@x.example"}, {"billing_contact_email": "b@x.example"}),
        (
            {"contact_people": [ANN], "billing_email": "ann@x.example"},
            {"billing_contact_name": "Ann Lee", "billing_contact_email": "ann@x.example"},
        ),
        (
            {"contact_people": [ANN]},
            {
                "billing_contact_name": "Ann Lee",
                "billing_contact_email": "ann@x.example",
                "metadata": {"metrifox.billing_email": ""},
            },
        ),
        (
            {"contact_people": [ANN], "billing_email": "b@x.example"},
            {
                "billing_contact_name": "Ann Lee",
                "billing_contact_email": "b@x.example",
                "metadata": {"metrifox.contact_people": [ANN]},
            },
        ),
        (
            {"contact_people": [{**ANN, "department": "Finance"}], "billing_email": "ann@x.example"},
            {
                "billing_contact_name": "Ann Lee",
                "billing_contact_email": "ann@x.example",
                "metadata": {"metrifox.contact_people": [{**ANN, "department": "Finance"}]},
            },
        ),
        (
            {"contact_people": [ANN, {"first_name": "Bo"}], "billing_email": "ann@x.example"},
            {
                "billing_contact_name": "Ann Lee",
                "billing_contact_email": "ann@x.example",
                "metadata": {"metrifox.contact_people": [ANN, {"first_name": "Bo"}]},
            },
        ),
        (
            {"contact_people": [{"email_address": "c@x.example"}]},
            {
                "billing_contact_email": "c@x.example",
                "metadata": {
                    "metrifox.billing_email": "",
                    "metrifox.contact_people": [{"email_address": "c@x.example"}],
                },
            },
        ),
        (
            {"contact_people": [{"first_name": 'A"\\ü', "last_name": None}]},
            {
                "billing_contact_name": 'A"\\ü',
                "metadata": {"metrifox.contact_people": [{"first_name": 'A"\\ü', "last_name": None}]},
            },
        ),
        # Terms of payment
        ({"payment_terms": [{"type": "Custom", "value": "45"}]}, {"net_terms": "45"}),
        (
            {"payment_terms": [{"type": "Custom", "value": 45}]},
            {"net_terms": "45", "metadata": {"metrifox.payment_terms": [{"type": "Custom", "value": 45}]}},
        ),
        (
            {"payment_terms": [{"type": "NET"}, {"value": "soon"}, {"value": "7"}, {"value": "9"}]},
            {
                "net_terms": "7",
                "metadata": {
                    "metrifox.payment_terms": [{"type": "NET"}, {"value": "soon"}, {"value": "7"}, {"value": "9"}]
                },
            },
        ),
        *(
            (
                {"payment_terms": [{"type": "Custom", "value": odd}]},
                {"metadata": {"metrifox.payment_terms": [{"type": "Custom", "value": odd}]}},
            )
            for odd in ("soon", "", None, "1.5", "-1", 7.5, -1, "3651", 10**12, [7])
        ),
        (
            {"payment_terms": [{"type": '"value":"9"', "value": "0"}]},
            {"net_terms": "0", "metadata": {"metrifox.payment_terms": [{"type": '"value":"9"', "value": "0"}]}},
        ),
        # Fields without a canonical field
        ({"email_addresses": []}, {}),
        ({"email_addresses": INFO}, {"metadata": {"metrifox.email_addresses": INFO}}),
        ({"documents": [{"url": "x"}]}, {"metadata": {"metrifox.documents": [{"url": "x"}]}}),
        ({"mid_cycle_invoice_consolidation": False}, {"metadata": {"metrifox.mid_cycle_invoice_consolidation": False}}),
        (
            {"tax_status": "REVERSE_CHARGE", "logo_url": "https://x.example/l.png"},
            {"metadata": {"metrifox.tax_status": "REVERSE_CHARGE", "metrifox.logo_url": "https://x.example/l.png"}},
        ),
        (
            {"shipping_zip_code": "01", "tomorrow": {"a": None}},
            {"metadata": {"metrifox.shipping_zip_code": "01", "metrifox.tomorrow": {"a": None}}},
        ),
        # Status
        (
            {"archived_at": "2026-11-22T00:00:00Z"},
            {"status": "inactive", "metadata": {"metrifox.archived_at": "2026-11-22T00:00:00Z"}},
        ),
        (
            {"archived_at": "2026-11-22T00:00:00Z", "metadata": {"canon_status": "cancelled"}},
            {"status": "cancelled", "metadata": {"metrifox.archived_at": "2026-11-22T00:00:00Z"}},
        ),
        # The overflow
        (
            {"metadata": {"tier": "pro", "n": None, "deep": {"a": [1, 2.5]}}},
            {"metadata": {"tier": "pro", "n": None, "deep": {"a": [1, 2.5]}}},
        ),
        (
            {
                "metadata": {
                    "canon_created_at": "2020-01-01T00:00:00Z",
                    "canon_legal_name": None,
                    "canon_invoice_cc_emails": ["a@x.example"],
                }
            },
            {"created_at": "2020-01-01T00:00:00Z", "legal_name": None, "invoice_cc_emails": '["a@x.example"]'},
        ),
        (
            {"metadata": {"marginfront.id": "7"}},
            {"metadata": {"marginfront.id": "7"}},
        ),
        (
            {
                name: name
                for name in (
                    "primary_phone",
                    "address_line1",
                    "address_line2",
                    "city",
                    "state",
                    "country",
                    "zip_code",
                    "timezone",
                    "language",
                    "currency",
                )
            },
            {
                "phone": "primary_phone",
                **{
                    name: name
                    for name in (
                        "address_line1",
                        "address_line2",
                        "city",
                        "state",
                        "country",
                        "zip_code",
                        "timezone",
                        "language",
                        "currency",
                    )
                },
            },
        ),
        (
            {"tax_identification_number": "SE1", "legal_number": "5566"},
            {"tax_id": "SE1", "metadata": {"metrifox.legal_number": "5566"}},
        ),
    ],
    ids=lambda case: str(case)[:60],
)
def test_a_customer_is_read(answered: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**answered) == {name: value for name, value in {**READ, **expected}.items() if value is not None}


def test_an_unknown_field_is_reported() -> None:
    assert decoded(ANSWER, {**ANSWER, "a": 1}, {**ANSWER, "a": {}, "b": []}).surprises == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"customer_key": None}, "customer_key is missing"),
        ({"customer_key": 7}, "customer_key is a number, text is expected"),
        # Webhooks return the type in this form; the API returns a word.
        ({"customer_type": 1}, "customer_type is a number, text is expected"),
        (
            {"city": ["Oslo"], "metadata": "x"},
            "city is an array, text is expected; metadata is text, an object is expected",
        ),
        ({"contact_people": {}}, "contact_people is an object, an array is expected"),
        ({"documents": "x"}, "documents is text, an array or an object is expected"),
        (
            {"mid_cycle_invoice_consolidation": "no"},
            "mid_cycle_invoice_consolidation is text, true or false is expected",
        ),
    ],
)
def test_an_answer_that_breaks_the_schema_is_set_apart(wrong: dict[str, Any], said: str) -> None:
    found = decoded(ANSWER, {**ANSWER, "id": "other", **wrong}, {**ANSWER, "id": "third"})
    assert found.records["provider_id"].to_list() == [ID, "third"]
    assert found.positions.to_list() == [0, 2]
    (broken,) = found.broken.to_dicts()
    assert (broken["position"], broken["id"], broken["code"], broken["detail"]) == (1, "other", "record.shape", said)
    assert json.loads(broken["text"])["id"] == "other"


# Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "body", "metadata"),
    [
        ({}, {}, {}),
        # A business has a legal name; if it was missing, that is recorded.
        ({"legal_name": None}, {"legal_name": "Nordlys"}, {"canon_legal_name": None}),
        ({"legal_name": None, "metadata": {"metrifox.legal_name": ""}}, {"legal_name": None}, {}),
        ({"metadata": {"metrifox.legal_name": ""}}, {}, {"metrifox.legal_name": ""}),
        ({"customer_type": "INDIVIDUAL", "name": "Ann Li Lee", "legal_name": None}, {"customer_type": "INDIVIDUAL", "display_name": "Ann Li Lee", "first_name": "Ann Li", "last_name": "Lee", "legal_name": None}, {}),
        ({"customer_type": "INDIVIDUAL", "name": "Cher", "legal_name": None}, {"customer_type": "INDIVIDUAL", "display_name": "Cher", "first_name": "Cher", "legal_name": None}, {}),
        ({"customer_type": "INDIVIDUAL", "name": "Annie", "metadata": {"metrifox.first_name": "Ann", "metrifox.middle_name": "Li"}}, {"customer_type": "INDIVIDUAL", "display_name": "Annie", "first_name": "Ann", "middle_name": "Li"}, {}),
        ({"metadata": {"metrifox.display_name": ""}}, {}, {"metrifox.display_name": ""}),
        ({"name": "Nordlys AB", "metadata": {"metrifox.display_name": ""}}, {"display_name": None}, {}),
        # Status has no native field.
        *(({"status": status}, {}, {"canon_status": status}) for status in ("active", "cancelled")),
        ({"net_terms": 0}, {"payment_terms": [{"type": "Custom", "value": "0"}]}, {}),
        ({"net_terms": 30, "metadata": {"metrifox.payment_terms": [{"type": "NET_30", "value": 30}]}}, {"payment_terms": [{"type": "NET_30", "value": 30}]}, {}),
        ({"net_terms": 45, "metadata": {"metrifox.payment_terms": [{"type": "NET_30", "value": 30}]}}, {"payment_terms": [{"type": "Custom", "value": "45"}]}, {"metrifox.payment_terms": [{"type": "NET_30", "value": 30}]}),
        ({"billing_contact_name": "Ann Lee", "billing_contact_email": "ann@x.example"}, {"contact_people": [ANN], "billing_email": "ann@x.example"}, {}),
        ({"billing_contact_name": "Ann"}, {"contact_people": [{"first_name": "Ann", "is_primary": True}]}, {}),
        ({"billing_contact_email": "b@x.example"}, {"billing_email": "b@x.example"}, {}),
        ({"billing_contact_name": "Bo Ek", "metadata": {"metrifox.contact_people": [ANN]}}, {"contact_people": [{"first_name": "Bo", "last_name": "Ek", "is_primary": True}]}, {"metrifox.contact_people": [ANN]}),
        ({"invoice_cc_emails": ["cfo@x.example"]}, {}, {"canon_invoice_cc_emails": ["cfo@x.example"]}),
        ({"email": "ap@nordlys.example", "metadata": {"metrifox.email_addresses": INFO}}, {"primary_email": "ap@nordlys.example", "email_addresses": INFO}, {}),
        ({"metadata": {"metrifox.email_addresses": INFO}}, {}, {"metrifox.email_addresses": INFO}),
        ({"trial_started": datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "aliases": ["a"]}, {}, {"canon_trial_started": "2020-01-02T03:04:05.000006Z", "canon_aliases": ["a"]}),
        ({"metadata": {"tier": "pro", "metrifox.tax_status": "TAXABLE", "metrifox.documents": {"a": 1}, "metrifox.archived_at": "x"}}, {"tax_status": "TAXABLE", "documents": {"a": 1}}, {"tier": "pro"}),
        ({"metadata": {"metronome.customer_config": {"a": 1}, "metrifox.city": "?"}}, {}, {"metronome.customer_config": {"a": 1}, "metrifox.city": "?"}),
        # A value that is not one of Metrifox's words is kept in the overflow.
        ({"metadata": {"metrifox.tax_status": "FREE"}}, {}, {"metrifox.tax_status": "FREE"}),
        ({"provider": "marginfront", "provider_id": "7"}, {}, {"marginfront.id": "7"}),
        ({"provider": "metrifox", "provider_id": "7"}, {}, {}),
        ({"tax_id": "SE1", "phone": "+4690", "zip_code": "00501"}, {"tax_identification_number": "SE1", "primary_phone": "+4690", "zip_code": "00501"}, {}),
    ],
    ids=lambda case: str(case)[:60],
)  # fmt: skip
def test_a_customer_is_written(fields: dict[str, Any], body: dict[str, Any], metadata: dict[str, Any]) -> None:
    expected = {**WRITTEN, **body, "metadata": {**WRITTEN["metadata"], **metadata}}
    assert written(**fields) == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize(
    ("fields", "code", "demand"),
    [
        ({"external_id": None}, "external_id.missing", "Metrifox requires it"),
        ({"external_id": "k" * 256}, "external_id.too_long", "Metrifox accepts at most 255 characters"),
        ({"email": None}, "email.missing", "Metrifox requires it"),
        ({"customer_type": None}, "customer_type.missing", "Metrifox requires it"),
    ],
)  # fmt: skip
def test_what_metrifox_demands_is_never_filled_in(fields: dict[str, Any], code: str, demand: str) -> None:
    encoded = encode(SCHEMA, customers(CUSTOMER, {**CUSTOMER, **fields}))
    assert encoded.bodies.is_null().to_list() == [False, True]
    refused = encoded.refused.select("position", "code", "demand").rows()
    assert refused == [(1, code, demand)]


# There and back --------------------------------------------------------------------------------------------------

some = st.sampled_from
names = some(["Ann Lee", "Ann", "Lee", "Ann Li Lee", 'A "B" Ö', None])
emails = some(["a@x.example", "b@x.example", None])
answers = st.fixed_dictionaries(
    {
        "customer_type": some(["BUSINESS", "INDIVIDUAL"]),
        **dict.fromkeys(("legal_name", "display_name", "first_name", "middle_name", "last_name"), names),
        "primary_email": some(["a@x.example", "b@x.example"]),
        "billing_email": emails,
        "contact_people": st.lists(
            st.fixed_dictionaries(
                {}, optional={"first_name": names, "last_name": names, "email_address": emails, "is_primary": some([True, False])}
            ),
            max_size=2,
        ),
        "payment_terms": st.lists(
            st.fixed_dictionaries({"type": some(["Custom", "NET"])}, optional={"value": some(["7", 7, "x", None, "9999"])}),
            max_size=2,
        ),
        "email_addresses": st.lists(
            st.fixed_dictionaries({"email": some(["a@x.example", "b@x.example"]), "is_primary": some([True, False])}), max_size=2
        ),
        "archived_at": some(["2026-11-22T00:00:00Z", None]),
    }
)  # fmt: skip


# Each example is twenty customers.
@pytest.mark.slow
@settings(max_examples=int(os.environ.get("TRANSHIP_EXAMPLES", "10")))
@given(st.lists(answers, min_size=1, max_size=20))
def test_a_customer_comes_back_to_metrifox_as_it_was(changes: list[dict[str, Any]]) -> None:
    there = [{**ANSWER, "customer_key": str(number), **one} for number, one in enumerate(changes)]
    for one in there:
        # Values that Metrifox sets itself.
        parts = [one["legal_name"]] if one["customer_type"] == "BUSINESS" else [one["first_name"], one["last_name"]]
        one["full_name"] = " ".join(filter(None, parts)) or one["display_name"]
        if one["primary_email"] not in [address["email"] for address in one["email_addresses"]]:
            one["email_addresses"].insert(0, {"email": one["primary_email"], "is_primary": True})
    canonical = typed(decoded(*there).records)
    encoded = encode(SCHEMA, canonical)
    assert encoded.refused.is_empty()
    bodies = [json.loads(body) for body in encoded.bodies]
    assert [settable(body | {"metadata": None}) for body in bodies] == [settable(one) for one in there]
    again = typed(decoded(*({**one, **body} for one, body in zip(there, bodies, strict=True))).records)
    assert again.drop("metadata").equals(canonical.drop("metadata"))
    assert list(map(parsed, again["metadata"])) == list(map(parsed, canonical["metadata"]))


def parsed(text: str | None) -> Any:
    return json.loads(text or "{}")
