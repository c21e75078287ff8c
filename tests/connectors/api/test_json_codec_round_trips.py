"""Customers after they were at one provider, and at two."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.provider_schemas import (
    HARD_KEYS,
    HARD_TEXTS,
    HARD_VALUES,
    PROVIDERS,
    SCHEMAS,
    STRINGS,
    always_lost,
    answered,
    carried,
    comparable,
    frame,
    plentiful,
    there_and_back,
    told,
    typed,
)
from tranship.connectors.api.json_codec import decode, encode
from tranship.connectors.api.json_records import read_quickly
from tranship.schemas.compatibility import losses, passage
from tranship.schemas.provider import ProviderSchema

LONG = "TRANSHIP_LONG_TESTS" in os.environ
pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.slow]

each_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.provider)


def differing(before: pl.DataFrame, after: pl.DataFrame, field: str) -> bool:
    """Return whether some row has another value in a field, or in a metadata entry `metadata.<key>`."""
    if not field.startswith("metadata."):
        return not before[field].equals(after[field], null_equal=True)
    key = field.removeprefix("metadata.")
    values = [[json.loads(text or "{}").get(key) for text in some["metadata"]] for some in (before, after)]
    return values[0] != values[1]


@each_schema
def test_a_customer_comes_back_but_for_declared_losses(schema: ProviderSchema) -> None:
    before, after = there_and_back(schema, plentiful(1, 400))
    assert before.height > 50
    lost = always_lost(schema)
    assert comparable(after, lost) == comparable(carried(before, schema), lost)


@each_schema
def test_an_id_at_another_provider_is_kept_and_the_own_one_is_reported(schema: ProviderSchema) -> None:
    before, after = there_and_back(schema, plentiful(2, 200))
    assert set(after["provider"]) == {schema.provider}
    assert not {str(one) for one in after["provider_id"]} & {f"old-{at}" for at in range(200)}
    entries = [json.loads(text or "{}") for text in after["metadata"]]
    origins = [
        (f"{row['provider']}.id", row["provider_id"], json.loads(row["metadata"] or "{}"))
        for row in before.select("provider", "provider_id", "metadata").to_dicts()
    ]
    for now, (key, its_id, earlier) in zip(entries, origins, strict=True):
        if key not in ("None.id", f"{schema.provider}.id"):
            assert now[key] == earlier.get(key, its_id)
    assert sum(key in earlier for key, _, earlier in origins)


@pytest.mark.parametrize("here", PROVIDERS, ids=lambda schema: schema.provider)
def test_ids_of_earlier_accounts_do_not_pile_up(here: ProviderSchema) -> None:
    """From one to another and back, repeatedly: one entry for each provider, of its first account."""
    now = there_and_back(here, plentiful(6, 60))[1].with_columns(metadata=pl.lit(None, pl.String))
    laps: list[dict[tuple[str, str], dict[str, str]]] = []
    for _ in range(2):
        for schema in (*(schema for schema in PROVIDERS if schema is not here), here):
            now = there_and_back(schema, now)[1]
        rows = now.select("external_id", "email", "metadata").rows()
        laps.append({(external_id, email): json.loads(text) for external_id, email, text in rows})
    assert laps[0]
    assert all({f"{schema.provider}.id" for schema in PROVIDERS} <= set(entries) for entries in laps[0].values())
    assert laps[1] == laps[0]


@each_schema
def test_every_declared_loss_really_occurs(schema: ProviderSchema) -> None:
    before, after = there_and_back(schema, plentiful(3, 600))
    for loss in losses(schema):
        assert differing(before, after, loss.field), loss


@cache
def customers_of(here: ProviderSchema) -> pl.DataFrame:
    """Return customers as a provider returns them, of all origins."""
    keys = [schema.key(one.name) for schema in SCHEMAS for one in schema.kept if not one.settable]
    return there_and_back(here, plentiful(4, 120, keys), read_only=True)[1]


PAIRS = [*product(PROVIDERS, PROVIDERS), (STRINGS, STRINGS), (STRINGS, PROVIDERS[0]), (PROVIDERS[0], STRINGS)]


@pytest.mark.parametrize(("here", "there"), PAIRS, ids=lambda schema: schema.provider)
def test_there_and_back_again_loses_what_the_declarations_say(here: ProviderSchema, there: ProviderSchema) -> None:
    declared = passage(here, there)
    given_here = customers_of(here)
    sent = encode(there, given_here, told(there))
    demanded = {demand.field for demand in declared.demanded}
    assert set(sent.refused["field"]) <= demanded
    bodies = [json.loads(body) for body in sent.bodies.drop_nulls()]
    assert bodies
    for kept in declared.kept:
        assert any(_stands_in(body, kept.why.split(",")[0].split(";")[0]) for body in bodies), kept
    before = given_here.filter(sent.bodies.is_not_null())
    there_now = decode(there, [json.dumps(answered(there, sent.bodies.drop_nulls()))])
    again = encode(here, typed(there_now.records), told(here))
    assert again.refused.is_empty()
    after = typed(decode(here, [json.dumps(answered(here, again.bodies))]).records)
    lost = {loss.field for loss in declared.lost}
    if here is not there:
        # It is kept in metadata; if it is the external id, it is also returned.
        assert "provider_id" in {kept.field for kept in declared.kept}
        lost |= set() if here.by_name[here.id].settable else {"provider_id"}
    gone = carried(before, there).with_columns(
        provider=pl.lit(there.provider), provider_id=there_now.records["provider_id"]
    )
    come_back = carried(gone, here).with_columns(provider=before["provider"], provider_id=before["provider_id"])
    assert comparable(after, lost) == comparable(come_back, lost)
    for loss in declared.lost:
        assert differing(before, after, loss.field), loss


def _stands_in(body: Mapping[str, Any], path: str) -> bool:
    """Return whether a body has a value at `overflow` or `overflow.key`, or at a numbered `overflow.key_1`."""
    found: Any = body
    for step in path.split("."):
        if not isinstance(found, dict):
            return False
        found = found.get(step, found.get(f"{step}_1"))
    return found is not None


@each_schema
def test_what_a_provider_gave_goes_back_as_it_was(schema: ProviderSchema) -> None:
    """Provider's JSON → canonical → provider's JSON: settable values are unchanged, in fields and overflow."""
    sent = encode(schema, plentiful(5, 250), told(schema))
    answers = answered(schema, sent.bodies.drop_nulls())
    for at, record in enumerate(answers):
        record[schema.overflow.name] = {
            **(record.get(schema.overflow.name) or {}),
            "since": "2020",
            "free text": f"{at}",
        }
    once = encode(schema, typed(decode(schema, [json.dumps(answers)]).records), told(schema))
    assert once.refused.is_empty()
    again = encode(schema, typed(decode(schema, [json.dumps(answered(schema, once.bodies))]).records), told(schema))
    sure = [one.name for one in schema.fields if one.settable and not one.server_generated and not one.from_address]
    differ = 0
    for record, body, last in zip(answers, map(json.loads, once.bodies), map(json.loads, again.bodies), strict=True):
        assert body[schema.overflow.name]["since"] == "2020"
        assert body[schema.overflow.name]["free text"] == record[schema.overflow.name]["free text"]
        assert {name: body.get(name) for name in sure} == {name: last.get(name) for name in sure}
        differ += any(body.get(one) not in (record.get(one), None) for one in sure)
    # A missing value is not created by reading: `legal_name` of a customer that only had a name.
    assert differ == 0


@each_schema
def test_ordinary_records_take_the_quick_way(schema: ProviderSchema) -> None:
    customers = plentiful(7, 60).with_columns(metadata=pl.lit('{"tier":"pro","seats":12}'))
    answers = answered(schema, encode(schema, customers, told(schema)).bodies.drop_nulls())
    assert answers
    assert read_quickly(schema, [json.dumps(answers, ensure_ascii=False).encode()], raw=False) is not None


# Any customers -----------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=220)
    | st.sampled_from(HARD_VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
hard_texts = st.sampled_from(HARD_TEXTS) | st.text(max_size=300)
customers = st.fixed_dictionaries(
    {"external_id": st.text(min_size=1, max_size=255).map("i".__add__), "email": st.just("a@b.co"), "name": hard_texts},
    optional={
        **dict.fromkeys(
            ("legal_name", "phone", "address_line1", "city", "state", "zip_code", "tax_id", "billing_contact_name"),
            hard_texts,
        ),
        "country": st.sampled_from(["SE", "US"]),
        "customer_type": st.sampled_from(["BUSINESS", "INDIVIDUAL"]),
        "provider": st.sampled_from([schema.provider for schema in SCHEMAS]) | hard_texts,
        "provider_id": hard_texts,
        "status": st.sampled_from(["active", "trial", "cancelled"]),
        "aliases": st.lists(st.text(min_size=1, max_size=150), min_size=1, max_size=4).map(json.dumps),
        "metadata": st.dictionaries(st.sampled_from(HARD_KEYS) | st.text(max_size=120), json_values, max_size=6).map(
            json.dumps
        ),
    },
)


@each_schema
@settings(max_examples=300 if LONG else 5, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(customers, min_size=4, max_size=20))
def test_whatever_there_may_be_in_a_customer_comes_back(
    schema: ProviderSchema, rows: list[dict[str, str | None]]
) -> None:
    before, after = there_and_back(schema, frame(rows))
    lost = always_lost(schema)
    assert comparable(after, lost) == comparable(carried(before, schema), lost)
