"""GrowPanel's customer in both directions: each documented field, values in custom variables, and refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tranship.connectors.api.json_codec import Decoded, decode, encode
from tranship.schemas.compatibility import losses
from tranship.schemas.customer import COLUMNS
from tranship.schemas.providers.growpanel import SCHEMA

SPECIFIED = {
    *("id", "name", "email", "created_date", "trial_started", "country", "state", "custom_variables", "data_source"),
}
"""https://api.growpanel.io/openapi.json, the body of POST /data/customers."""
OLDER = {
    *("id", "name", "email", "created_date", "country", "trial_started", "paid_started", "cancel_date", "status"),
    *("currency", "trial_end_date", "overdue_date", "cancel_reason", "current_mrr"),
}
"""https://growpanel.io/docs/rest-api/reference/data/customers, in its two editions."""

CUSTOMER: dict[str, Any] = {
    "external_id": "cus_42",
    "email": "ap@nordlys.example",
    "name": "Nordlys AB",
    "country": "SE",
    "created_at": datetime(2021, 4, 2, 8, tzinfo=UTC),
}
BODY = {
    "id": "cus_42",
    "name": "Nordlys AB",
    "email": "ap@nordlys.example",
    "created_date": "2021-04-02T08:00:00Z",
    "country": "SE",
    "data_source": "ds_main",
}
ABSENT = "status,paid_started,cancel_date,currency"
"""Fields that are absent, and might be returned with a value otherwise."""


def read(*records: Any) -> Decoded:
    return decode(SCHEMA, [json.dumps(records)])


def customer(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical customer of a valid record: its fields that have a value, metadata parsed."""
    [found] = read(record).records.to_dicts()
    if found["metadata"]:
        found["metadata"] = json.loads(found["metadata"])
    return {name: value for name, value in found.items() if value is not None}


def frame(*customers: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: one.get(name) for name in COLUMNS} for one in customers], schema=COLUMNS)


def body(**changes: Any) -> dict[str, Any]:
    """Return the body sent for a customer, without the custom variables that only mark absent fields."""
    [sent] = encode(SCHEMA, frame({**CUSTOMER, **changes}), {"data_source": "ds_main"}).bodies
    return dict(json.loads(sent))


def refusals(**changes: Any) -> list[tuple[str, str]]:
    encoded = encode(SCHEMA, frame({**CUSTOMER, **changes}), {"data_source": "ds_main"})
    assert (encoded.bodies[0] is None) == (encoded.refused.height > 0)
    return list(encoded.refused.select("field", "code").iter_rows())


def back(**changes: Any) -> dict[str, Any]:
    """Return a customer that was sent, stored and read."""
    [found] = decode(SCHEMA, [json.dumps([body(**changes)])]).records.to_dicts()
    return dict(found)


def test_every_documented_field_is_declared() -> None:
    assert {*SCHEMA.by_name, SCHEMA.overflow.name} == SPECIFIED | OLDER


def test_a_customer_as_grow_panel_gives_it() -> None:
    record = {
        **BODY,
        "country": "us",
        "state": "ca",
        "trial_started": "2021-04-02",
        "paid_started": "2021-05-01T00:00:00.000Z",
        "cancel_date": None,
        "status": "trialing",
        "currency": "usd",
        "custom_variables": {"plan": "gold", "canon_city": "San José"},
        "trial_end_date": "2021-05-01",
        "overdue_date": None,
        "cancel_reason": "unused",
        "current_mrr": {"usd": 1000},
    }
    assert customer(record) == {
        "external_id": "cus_42",
        "email": "ap@nordlys.example",
        "name": "Nordlys AB",
        "city": "San José",
        "state": "CA",
        "country": "US",
        "currency": "USD",
        "status": "trial",
        "created_at": "2021-04-02T08:00:00Z",
        "trial_started": "2021-04-02",
        "paid_started": "2021-05-01T00:00:00.000Z",
        "metadata": {
            "plan": "gold",
            "growpanel.trial_end_date": "2021-05-01",
            "growpanel.cancel_reason": "unused",
            "growpanel.current_mrr": {"usd": 1000},
        },
        "provider": "growpanel",
        "provider_id": "cus_42",
    }


def test_the_least_that_can_come() -> None:
    assert customer({"id": "a"}) == {"external_id": "a", "provider": "growpanel", "provider_id": "a"}


def test_an_unknown_field_is_kept_and_reported() -> None:
    found = read({**BODY, "vat": {"id": "SE1"}}, BODY)
    assert found.surprises == {"vat": 1}
    assert json.loads(found.records["metadata"][0]) == {"growpanel.vat": {"id": "SE1"}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": None}, "id is missing"),
        ({"id": 7}, "text is expected"),
        ({"name": ["x"]}, "text is expected"),
        ({"created_date": 1617350400}, "text is expected"),
        ({"custom_variables": []}, "an object is expected"),
        ({"current_mrr": 12.5}, "an object is expected"),
        ({"country": True, "email": {}}, "text is expected"),
    ],
)
def test_a_record_of_the_wrong_shape_is_distinguished(change: dict[str, Any], expected: str) -> None:
    found = read(BODY, {**BODY, "id": "bad", **change}, {**BODY, "id": "cus_43"})
    assert found.records["external_id"].to_list() == ["cus_42", "cus_43"]
    [broken] = found.broken.to_dicts()
    assert (broken["position"], broken["code"]) == (1, "record.shape")
    assert broken["detail"].count(expected) == len(change)
    assert all(f"{field} is" in broken["detail"] for field in change)
    assert json.loads(broken["text"]) == {**BODY, "id": "bad", **change}


def test_a_record_without_an_id_is_distinguished() -> None:
    [broken] = read({"name": "Nobody"}).broken.to_dicts()
    assert (broken["id"], broken["detail"]) == (None, "id is missing")


@pytest.mark.parametrize("record", ["text", 7, None, ["a"]])
def test_what_is_no_object_is_distinguished(record: Any) -> None:
    found = read(record, BODY)
    assert (found.broken.height, found.records.height) == (1, 1)


@pytest.mark.parametrize(
    ("schema", "canonical"),
    [
        ("lead", "inactive"),
        ("trialing", "trial"),
        ("trial", "trial"),
        ("active", "active"),
        ("past_due", "suspended"),
        ("paused", "suspended"),
        ("canceled", "cancelled"),
        ("trial_ended", "inactive"),
        ("frozen", "frozen"),
        (None, None),
    ],
)
def test_a_status_is_read(schema: str | None, canonical: str | None) -> None:
    assert customer({**BODY, "status": schema}).get("status") == canonical


@pytest.mark.parametrize(
    ("canonical", "cancelled", "schema"),
    [
        ("active", None, "active"),
        ("trial", None, "trialing"),
        ("inactive", None, "lead"),
        ("inactive", datetime(2022, 1, 1, tzinfo=UTC), "canceled"),
        ("suspended", None, "past_due"),
        ("cancelled", None, "canceled"),
    ],
)
def test_a_status_is_written_and_mirrored(canonical: str, cancelled: datetime | None, schema: str) -> None:
    sent = body(status=canonical, cancel_date=cancelled)
    assert (sent["status"], sent["custom_variables"]["canon_status"]) == (schema, canonical)


def test_what_invoices_decide_is_sent_and_mirrored() -> None:
    moment = datetime(2021, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    sent = body(currency="SEK", paid_started=moment, cancel_date=datetime(2022, 1, 1, tzinfo=UTC), status="active")
    assert (sent["currency"], sent["paid_started"]) == ("sek", "2021-05-01T12:30:00.250000Z")
    assert sent["custom_variables"] == {
        "canon_currency": "SEK",
        "canon_paid_started": "2021-05-01T12:30:00.250000Z",
        "canon_cancel_date": "2022-01-01T00:00:00Z",
        "canon_status": "active",
    }


def test_what_the_invoices_made_of_it_does_not_come_back() -> None:
    sent = body(status="active", currency="SEK")
    [found] = read({**sent, "status": "canceled", "currency": "usd", "cancel_date": "2026-01-01"}).records.to_dicts()
    assert (found["status"], found["currency"], found["cancel_date"]) == ("active", "SEK", None)


def test_the_least_that_is_sent() -> None:
    sent = body()
    variables = sent.pop("custom_variables")
    assert sent == BODY
    assert sorted(variables.pop("canon_nulls").split(",")) == sorted(ABSENT.split(","))
    assert variables == {}


def test_what_has_no_place_goes_to_custom_variables() -> None:
    sent = body(
        legal_name="Nordlys Aktiebolag",
        city="Umeå",
        zip_code="00501",
        net_terms=30,
        invoice_cc_emails=["a@b.example", "c@d.example"],
        provider="metronome",
        provider_id="4db51251-61de-4bfe-b9ce-495e244f3491",
        metadata='{"tier":"2","seats":12,"flags":{"a":[1,null]}}',
    )
    variables = sent["custom_variables"]
    assert json.loads(variables.pop("canon_metadata")) == {"seats": 12, "flags": {"a": [1, None]}}
    assert json.loads(variables.pop("canon_invoice_cc_emails")) == ["a@b.example", "c@d.example"]
    del variables["canon_nulls"]
    assert variables == {
        "canon_legal_name": "Nordlys Aktiebolag",
        "canon_city": "Umeå",
        "canon_zip_code": "00501",
        "canon_net_terms": "30",
        "metronome.id": "4db51251-61de-4bfe-b9ce-495e244f3491",
        "tier": "2",
    }


def test_custom_variables_keep_to_their_limits() -> None:
    metadata = {"k" * 300: "long key", "long": "ö" * 2500, "canon": "a word of ours", "plain": "v" * 1000}
    sent = body(metadata=json.dumps(metadata), legal_name="n" * 255)
    for name, value in sent["custom_variables"].items():
        assert isinstance(value, str)
        assert len(name) <= 255
        assert len(value) <= 1000
    assert json.loads(back(metadata=json.dumps(metadata))["metadata"]) == metadata


@pytest.mark.parametrize(
    ("country", "canonical", "schema"),
    [
        ("US", "CA", "ca"),
        ("US", "ca", "ca"),
        ("CA", "QC", "qc"),
        ("US", "California", None),
        ("US", "QC", None),
        ("DE", "BY", None),
        ("DE", "CA", None),
        ("CA", "CA", None),
    ],
)
def test_states_of_two_countries_have_a_place(country: str, canonical: str, schema: str | None) -> None:
    assert body(country=country, state=canonical).get("state") == schema
    assert back(country=country, state=canonical)["state"] == canonical


@pytest.mark.parametrize(
    ("country", "schema", "canonical"), [("us", "ny", "NY"), ("US", "NY", "NY"), ("DE", "by", "by")]
)
def test_a_state_is_read(country: str, schema: str, canonical: str) -> None:
    assert customer({**BODY, "country": country, "state": schema})["state"] == canonical


def test_what_grow_panel_demands() -> None:
    assert refusals() == []
    assert refusals(email=None) == []
    assert refusals(external_id=None) == [("external_id", "external_id.missing")]
    assert refusals(country=None, created_at=None) == [
        ("country", "country.missing"),
        ("created_at", "created_at.missing"),
    ]
    assert refusals(name=None, email=None) == [("name", "name.missing")]


def test_one_refusal_spares_the_rest() -> None:
    three = frame(CUSTOMER, {**CUSTOMER, "country": None}, {**CUSTOMER, "external_id": "cus_43"})
    encoded = encode(SCHEMA, three, {"data_source": "ds_main"})
    assert [sent is not None for sent in encoded.bodies] == [True, False, True]
    assert encoded.refused["position"].to_list() == [1]


def test_what_only_the_provider_sets_is_a_declared_loss() -> None:
    lost = {loss.field for loss in losses(SCHEMA)}
    for field in ("trial_end_date", "overdue_date", "cancel_reason", "current_mrr"):
        assert f"metadata.growpanel.{field}" in lost
        assert field not in body(metadata=json.dumps({f"growpanel.{field}": "x"}))
    assert {"created_at", "external_id", "status", "currency", "paid_started", "cancel_date"}.isdisjoint(lost)
