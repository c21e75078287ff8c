"""Records that a provider would refuse, each with its reason, and without a request."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tranship.connectors.api.demands import REFUSED
from tranship.connectors.api.json_codec import encode
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import Field, Overflow, ProviderSchema, Rule

DEMANDING = ProviderSchema(
    provider="strict",
    title="Strict",
    fields=(
        Field("id", canonical="provider_id", settable=False, server_generated=True),
        Field("label", canonical="name", required=True, max_length=5),
        Field("mail", canonical="email", required=True),
        Field("state", canonical="status", choices=("active", "trial")),
        Field("tax", choices=("A", "B"), max_length=3),
        Field("phone", canonical="phone"),
    ),
    overflow=Overflow("extra"),
    rules=(
        Rule(
            "phone",
            "missing",
            "a phone number or a tax group",
            pl.col("phone").is_not_null() | pl.col("tax").is_not_null(),
        ),
    ),
)

REFUSALS = [
    ({"email": "a@b.co", "phone": "1"}, []),
    ({"phone": "1"}, [("email", "email.missing", "Strict requires it")]),
    (
        {"email": "a@b.co", "phone": "1", "name": "123456"},
        [("name", "name.too_long", "Strict accepts at most 5 characters")],
    ),
    (
        {"email": "a@b.co", "phone": "1", "status": "cancelled"},
        [("status", "status.unknown", "Strict accepts active, trial")],
    ),
    ({"email": "a@b.co"}, [("phone", "phone.missing", "a phone number or a tax group")]),
    ({"email": "a@b.co", "metadata": '{"strict.tax":"A"}'}, []),
    ({"email": "a@b.co", "phone": "1", "metadata": '{"strict.tax":"C"}'}, []),
    (
        {"email": "a@b.co", "phone": "1", "metadata": '{"a":"\\ud800"}'},
        [("metadata", "metadata.syntax", "metadata is a JSON object of valid text")],
    ),
    (
        {"name": "123456"},
        [
            ("email", "email.missing", "Strict requires it"),
            ("name", "name.too_long", "Strict accepts at most 5 characters"),
            ("phone", "phone.missing", "a phone number or a tax group"),
        ],
    ),
]


def customer(**fields: Any) -> pl.DataFrame:
    return pl.DataFrame([{name: {"name": "Acme", **fields}.get(name) for name in COLUMNS}], schema=COLUMNS)


@pytest.mark.parametrize(("fields", "expected"), REFUSALS)
def test_what_a_provider_demands(fields: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    good = customer(email="g@b.co", phone="2")
    encoded = encode(DEMANDING, pl.concat([good, customer(**fields), good]))
    assert encoded.refused.schema == REFUSED
    assert encoded.refused.rows() == [(1, *row) for row in expected]
    assert encoded.bodies.is_null().to_list() == [False, bool(expected), False]
