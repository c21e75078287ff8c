"""Metronome's customers converted to canonical ones and back, as documented."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tranship.connectors.api.json_codec import Decoded, decode, encode
from tranship.schemas.compatibility import losses, passage
from tranship.schemas.customer import COLUMNS
from tranship.schemas.providers.metronome import ALIAS_LENGTH, ALIASES, KEY_LENGTH, NAME_LENGTH, SCHEMA, VALUE_LENGTH

ID = "5b1f6a0e-70c8-4a0f-9f0e-6d2c7f6f3a11"
ANSWER: dict[str, Any] = {
    "id": ID,
    "external_id": ID,
    "ingest_aliases": [],
    "name": "Nordlys AB",
    "custom_fields": {},
    "customer_config": {"salesforce_account_id": None},
    "created_at": "2026-11-21T09:00:00.000Z",
    "updated_at": "2026-11-21T09:30:00.000Z",
    "archived_at": None,
}
READ: dict[str, Any] = {
    "name": "Nordlys AB",
    "status": "active",
    "created_at": "2026-11-21T09:00:00.000Z",
    "updated_at": "2026-11-21T09:30:00.000Z",
    "provider": "metronome",
    "provider_id": ID,
}


def _decoded(*answers: Any) -> Decoded:
    return decode(SCHEMA, [json.dumps(answers)])


def _read(**fields: Any) -> dict[str, Any]:
    """Return the columns read from a customer with these fields that are not null, metadata parsed."""
    decoded = _decoded({**ANSWER, **fields})
    assert decoded.broken.is_empty()
    (record,) = decoded.records.to_dicts()
    assert list(record) == list(COLUMNS)
    found = {name: value for name, value in record.items() if value is not None}
    return {**found, **({"metadata": json.loads(found["metadata"])} if "metadata" in found else {})}


def _customers(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(COLUMNS), **row} for row in rows], schema=COLUMNS)


def _written(**fields: Any) -> dict[str, Any]:
    """Return the body that creates a customer with these fields."""
    if isinstance(fields.get("metadata"), dict):
        fields["metadata"] = json.dumps(fields["metadata"])
    encoded = encode(SCHEMA, _customers({"name": "A", "status": "active", "created_at": _then(), **fields}))
    assert encoded.refused.is_empty()
    body = json.loads(encoded.bodies[0])
    # The time of creation has its own test.
    assert body["custom_fields"].pop("canon_created_at") == "2020-01-01T00:00:00Z"
    return {name: value for name, value in body.items() if value != {}}


def _then() -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC)


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "read"),
    [
        ({}, {}),
        ({"ingest_aliases": ["x"], "external_id": "x"}, {"external_id": "x"}),
        ({"ingest_aliases": ["x", "y", "z"]}, {"external_id": "x", "aliases": '["y","z"]'}),
        # The deprecated field, in an answer without the new one.
        ({"external_id": "x"}, {"external_id": "x"}),
        ({"external_id": None}, {}),
        (
            {"archived_at": "2026-11-22T00:00:00Z"},
            {"status": "cancelled", "metadata": {"metronome.archived_at": "2026-11-22T00:00:00Z"}},
        ),
        (
            {"archived_at": "2026-11-22T00:00:00Z", "custom_fields": {"canon_status": "trial"}},
            {"status": "cancelled", "metadata": {"metronome.archived_at": "2026-11-22T00:00:00Z"}},
        ),
        ({"custom_fields": {"canon_status": "suspended"}}, {"status": "suspended"}),
        (
            {"customer_config": {"salesforce_account_id": "sf-1"}},
            {"metadata": {"metronome.customer_config": {"salesforce_account_id": "sf-1"}}},
        ),
        (
            {"customer_config": {"salesforce_account_id": None, "new": 1}},
            {"metadata": {"metronome.customer_config": {"salesforce_account_id": None, "new": 1}}},
        ),
        ({"customer_config": {}}, {}),
        ({"customer_config": None}, {}),
        (
            {"current_billable_status": {"value": "billable", "effective_at": None}},
            {"metadata": {"metronome.current_billable_status": {"value": "billable", "effective_at": None}}},
        ),
        ({"custom_fields": {"tier": "pro", "empty": ""}}, {"metadata": {"tier": "pro", "empty": ""}}),
        ({"custom_fields": None}, {}),
        (
            {"custom_fields": {"canon_email": "ap@nordlys.example", "canon_country": "SE"}},
            {"email": "ap@nordlys.example", "country": "SE"},
        ),
        (
            {"custom_fields": {"canon_net_terms": "45", "canon_created_at": "2020-01-01T00:00:00Z"}},
            {"net_terms": "45", "created_at": "2020-01-01T00:00:00Z"},
        ),
        ({"name": "n" * 160, "custom_fields": {"canon_name": "n" * 170}}, {"name": "n" * 170}),
        (
            {"name": "n" * 160, "custom_fields": {"canon_name_2": "m", "canon_name_1": "n" * 200}},
            {"name": "n" * 200 + "m"},
        ),
        (
            {"custom_fields": {"canon_metadata_1": '{"seats":', "canon_metadata_2": "12}", "tier": "pro"}},
            {"metadata": {"seats": 12, "tier": "pro"}},
        ),
        ({"custom_fields": {"canon_nulls": "status,created_at"}}, {"status": None, "created_at": None}),
        (
            {"custom_fields": {"metrifox.id": "7"}},
            {"metadata": {"metrifox.id": "7"}},
        ),
        # An unknown field is kept.
        ({"tags": ["a"]}, {"metadata": {"metronome.tags": ["a"]}}),
    ],
    ids=lambda case: str(case)[:60],
)
def test_a_customer_is_read(answered: dict[str, Any], read: dict[str, Any]) -> None:
    assert _read(**answered) == {name: value for name, value in {**READ, **read}.items() if value is not None}


def test_an_unknown_field_is_reported() -> None:
    decoded = _decoded(ANSWER, {**ANSWER, "tags": []}, {**ANSWER, "tags": ["a"], "tier": 1})
    assert decoded.surprises == {"tags": 2, "tier": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": None}, "name is missing"),
        ({"name": 7}, "name is .*, text is expected"),
        ({"id": None}, "id is missing"),
        ({"ingest_aliases": None}, "ingest_aliases is missing"),
        ({"ingest_aliases": "x"}, "ingest_aliases is text, an array of text is expected"),
        ({"ingest_aliases": ["x", 7]}, "ingest_aliases (is|holds) .*"),
        ({"external_id": 7}, "external_id is .*, text is expected"),
        ({"custom_fields": ["x"]}, "custom_fields is an array, an object is expected"),
        ({"customer_config": "x"}, "customer_config is text, an object is expected"),
        ({"created_at": 1700000000}, "created_at is .*, text is expected"),
        ({"archived_at": True}, "archived_at is .*, text is expected"),
        ({"current_billable_status": "billable"}, "current_billable_status is text, an object is expected"),
    ],
    ids=str,
)
def test_an_answer_that_breaks_the_schema(wrong: dict[str, Any], said: str) -> None:
    decoded = _decoded(ANSWER, {**ANSWER, **wrong})
    assert decoded.records.height == 1
    (broken,) = decoded.broken.to_dicts()
    assert (broken["position"], broken["code"]) == (1, "record.shape")
    assert re.fullmatch(said, broken["detail"])
    assert broken["id"] == (None if "id" in wrong else ID)


def test_what_an_older_answer_may_lack() -> None:
    decoded = _decoded({"id": ID, "ingest_aliases": [], "name": "Nordlys AB"})
    assert decoded.broken.is_empty()


# Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customer", "sent"),
    [
        ({}, {}),
        ({"external_id": "x"}, {"ingest_aliases": ["x"]}),
        ({"external_id": "x", "aliases": ["y", "z"]}, {"ingest_aliases": ["x", "y", "z"]}),
        # The first alias would be read as the external id.
        ({"aliases": ["y", "z"]}, {"custom_fields": {"canon_aliases": '["y","z"]'}}),
        # Each alias is kept once, and the original list beside them.
        (
            {"external_id": "x", "aliases": ["y", "x", "y"]},
            {"ingest_aliases": ["x", "y"], "custom_fields": {"canon_aliases": '["y","x","y"]'}},
        ),
        ({"external_id": "x" * ALIAS_LENGTH}, {"ingest_aliases": ["x" * 128]}),
        ({"external_id": "x" * (ALIAS_LENGTH + 1)}, {"custom_fields": {"canon_external_id": "x" * 129}}),
        (
            {"external_id": "x", "aliases": ["y" * (ALIAS_LENGTH + 1), "z"]},
            {
                "ingest_aliases": ["x", "z"],
                "custom_fields": {"canon_aliases": json.dumps(["y" * 129, "z"], separators=(",", ":"))},
            },
        ),
        ({"name": "é" * NAME_LENGTH}, {"name": "é" * 160}),
        ({"name": "é" * (NAME_LENGTH + 1)}, {"name": "é" * 160, "custom_fields": {"canon_name": "é" * 161}}),
        (
            {"name": "é" * 255},
            {"name": "é" * 160, "custom_fields": {"canon_name_1": "é" * 200, "canon_name_2": "é" * 55}},
        ),
        (
            {"email": "ap@nordlys.example", "country": "SE"},
            {"custom_fields": {"canon_email": "ap@nordlys.example", "canon_country": "SE"}},
        ),
        ({"status": "cancelled"}, {"custom_fields": {"canon_status": "cancelled"}}),
        ({"status": None}, {"custom_fields": {"canon_nulls": "status"}}),
        (
            {"net_terms": 0, "trial_started": datetime(2020, 1, 2, tzinfo=UTC)},
            {"custom_fields": {"canon_net_terms": "0", "canon_trial_started": "2020-01-02T00:00:00Z"}},
        ),
        (
            {"invoice_cc_emails": ["a@b.example", "c@d.example"]},
            {"custom_fields": {"canon_invoice_cc_emails": '["a@b.example","c@d.example"]'}},
        ),
        (
            {"provider": "metrifox", "provider_id": "7"},
            {"custom_fields": {"metrifox.id": "7"}},
        ),
        ({"provider": "metronome", "provider_id": ID, "updated_at": _then()}, {}),
        ({"metadata": {"tier": "pro"}}, {"custom_fields": {"tier": "pro"}}),
        (
            {"metadata": {"tier": "x" * VALUE_LENGTH, "k" * KEY_LENGTH: "v"}},
            {"custom_fields": {"tier": "x" * 200, "k" * 100: "v"}},
        ),
        (
            {"metadata": {"seats": 12, "k" * (KEY_LENGTH + 1): "v", "canon_x": "y", "empty": ""}},
            {
                "custom_fields": {
                    "canon_metadata": json.dumps(
                        {"seats": 12, "k" * 101: "v", "canon_x": "y", "empty": ""}, separators=(",", ":")
                    )
                }
            },
        ),
        (
            {"metadata": {"metronome.customer_config": {"salesforce_account_id": "sf-1"}}},
            {"customer_config": {"salesforce_account_id": "sf-1"}},
        ),
        # Values that the API would refuse are kept elsewhere.
        (
            {"metadata": {"metronome.customer_config": {"salesforce_account_id": 7}}},
            {"custom_fields": {"canon_metadata": '{"metronome.customer_config":{"salesforce_account_id":7}}'}},
        ),
        (
            {"metadata": {"metronome.customer_config": {"salesforce_account_id": ""}}},
            {"custom_fields": {"canon_metadata": '{"metronome.customer_config":{"salesforce_account_id":""}}'}},
        ),
        ({"metadata": {"metronome.archived_at": "2026-11-22T00:00:00Z"}}, {}),
    ],
    ids=lambda case: str(case)[:60],
)
def test_a_customer_is_written(customer: dict[str, Any], sent: dict[str, Any]) -> None:
    assert _written(**customer) == {"name": "A", **sent}


def test_more_aliases_than_there_may_be() -> None:
    others = [f"alias {n}" for n in range(ALIASES)]
    body = _written(external_id="x", aliases=others)
    assert body["ingest_aliases"] == ["x", *others[:-1]]
    whole = "".join(body["custom_fields"][f"canon_aliases_{n}"] for n in range(1, len(body["custom_fields"]) + 1))
    assert json.loads(whole) == others
    assert max(map(len, body["custom_fields"].values())) == VALUE_LENGTH


def test_the_time_of_creation_is_the_providers_and_ours_is_beside_it() -> None:
    encoded = encode(SCHEMA, _customers({"name": "A", "status": "active"}))
    # It was absent, and would exist afterwards, so its absence is recorded.
    assert json.loads(encoded.bodies[0]) == {"name": "A", "custom_fields": {"canon_nulls": "created_at"}}


def test_a_customer_without_a_name_is_refused() -> None:
    encoded = encode(SCHEMA, _customers({"external_id": "x"}, {"name": "B"}))
    assert encoded.bodies.is_null().to_list() == [True, False]
    (refused,) = encoded.refused.to_dicts()
    assert (refused["position"], refused["field"], refused["code"]) == (0, "name", "name.missing")


# Losses ----------------------------------------------------------------------------------------------------------


def test_what_does_not_come_back_is_declared() -> None:
    assert {loss.field for loss in losses(SCHEMA)} == {
        *("updated_at", "provider", "provider_id"),
        *("metadata.metronome.archived_at", "metadata.metronome.current_billable_status"),
    }


def test_what_is_kept_beside_its_native_place() -> None:
    kept = {loss.field: loss.why for loss in passage(SCHEMA, SCHEMA).kept}
    assert kept["name"] == "custom_fields.canon_name; natively only the first 160 characters"
    assert kept["status"] == "custom_fields.canon_status"
