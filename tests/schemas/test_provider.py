"""The declarations of providers, and the losses between two of them."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import get_args

import polars as pl
import pytest

from support.provider_schemas import PROVIDERS, SCHEMAS, STRINGS
from tranship.connectors import registry
from tranship.schemas.compatibility import losses, passage
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import OVERFLOW_FIELDS, Field, Kind, Overflow, ProviderSchema, quoted, texts
from tranship.schemas.providers.blackwalnut import SCHEMA as BLACKWALNUT
from tranship.schemas.providers.marginfront import SCHEMA as MARGINFRONT

TEXTS = ProviderSchema(
    provider="texts",
    title="Texts",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field("name", canonical="name", required=True, max_length=10),
    ),
    overflow=Overflow("custom", "texts"),
)

each_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.provider)


def test_every_provider_is_declared() -> None:
    assert [schema.provider for schema in PROVIDERS] == list(registry.PROVIDERS)


@each_schema
def test_a_declaration_makes_sense(schema: ProviderSchema) -> None:
    names = Counter(one.name for one in schema.fields)
    assert max(names.values()) == 1
    assert schema.overflow.name not in names
    assert schema.id in names
    assert schema.by_name[schema.id].always_present
    homes = Counter(one.canonical for one in schema.fields if one.canonical)
    assert set(homes) <= set(COLUMNS)
    assert max(homes.values()) == 1
    assert {*schema.reads, *schema.overrides, *schema.partial} <= set(COLUMNS)
    assert "provider_id" in schema.sources
    for one in schema.fields:
        assert not (one.required and not one.settable), one.name
        assert not (one.derived and one.canonical), one.name
        assert not (one.why and one.settable), one.name


@each_schema
def test_expressions_know_their_columns(schema: ProviderSchema) -> None:
    on_the_wire = {one.name for one in schema.fields}
    # An element of a list is a column without a name.
    canonical = {"", *COLUMNS, *(schema.key(one.name) for one in schema.kept if one.settable)}
    reading = [
        *schema.reads.values(),
        *schema.overrides.values(),
        *(one.read for one in schema.fields if one.read is not None),
    ]
    for expression in (*reading, *(demand.holds for demand in schema.rules)):
        assert set(expression.meta.root_names()) <= {"", *on_the_wire}, expression
    for one in schema.fields:
        if one.write is not None:
            assert set(one.write.meta.root_names()) <= canonical, one.name


@pytest.mark.parametrize(("here", "there"), list(product(SCHEMAS, SCHEMAS)), ids=lambda schema: schema.provider)
def test_a_passage_tells_each_thing_once(here: ProviderSchema, there: ProviderSchema) -> None:
    told = passage(here, there)
    for part in (told.lost, told.kept):
        assert max(Counter(one.field for one in part).values(), default=1) == 1
    assert all(one.why for one in (*told.lost, *told.kept, *told.demanded))
    unsure = {one.canonical for one in there.fields if one.server_generated and one.settable}
    native = there.native - set(there.partial) - unsure
    assert not {one.field for one in told.kept} & native
    # Every field without a native field is listed as kept or lost.
    told_of = {one.field for one in (*told.lost, *told.kept)}
    assert {name for name in here.sources if name in OVERFLOW_FIELDS and name not in native} <= told_of
    # An id set by the provider is lost only on the way to another account there.
    its_own = not here.by_name[here.id].settable
    assert ("provider_id" in {one.field for one in told.lost}) == (here is there and its_own)
    assert ("provider_id" in {one.field for one in told.kept}) == (here is not there)


def test_from_marginfront_to_blackwalnut() -> None:
    told = passage(MARGINFRONT, BLACKWALNUT)
    assert [(one.field, one.why) for one in told.lost] == [
        ("updated_at", "MarginFront sets its own"),
        ("metadata.marginfront.agentCode", "it would subscribe the customer to that agent; it is never sent"),
        ("metadata.marginfront.subscriptions", "MarginFront sets subscriptions itself"),
    ]
    kept = [(one.field, one.why) for one in told.kept]
    assert ("phone", "metadata.canon.phone") in kept
    assert ("provider_id", "metadata, as marginfront.id") in kept
    assert [(one.field, one.why) for one in told.demanded] == [("email", "required")]


def test_from_blackwalnut_to_marginfront() -> None:
    told = passage(BLACKWALNUT, MARGINFRONT)
    assert [(one.field, one.why) for one in told.kept] == [
        ("created_at", "metadata.canon_created_at"),
        ("provider_id", "metadata, as blackwalnut.id"),
    ]
    assert [one.field for one in told.demanded] == ["name"]


def test_from_marginfront_to_text() -> None:
    kept = {one.field: one.why for one in passage(MARGINFRONT, STRINGS).kept}
    assert kept["name"] == "fields.canon_name; natively only 20 characters"
    assert kept["status"] == "fields.canon_status; natively as Strings computes it"
    assert kept["metadata"] == "fields; all but short text as JSON in fields.canon_metadata"
    assert "net_terms" not in kept


def test_from_text_to_marginfront() -> None:
    told = passage(STRINGS, MARGINFRONT)
    kept = {one.field: one.why for one in told.kept}
    assert kept["metadata.strings.options"] == "metadata, under its own key"
    assert [one.field for one in told.lost if one.field.startswith("metadata.strings")] == [
        "metadata.strings.closed_at"
    ]
    assert {one.field: one.why for one in passage(STRINGS, TEXTS).kept}["metadata.strings.links"] == (
        "custom.canon_metadata, as JSON"
    )


def test_demands_are_told_once_for_a_field() -> None:
    assert [(one.field, one.why) for one in passage(MARGINFRONT, TEXTS).demanded] == [
        ("name", "required, at most 10 characters")
    ]


def test_losses_of_one_that_knows_no_change_and_makes_no_ids() -> None:
    assert [(loss.field, loss.why) for loss in losses(BLACKWALNUT)] == [
        ("updated_at", "BlackWalnut has no such field"),
        ("provider", "becomes blackwalnut"),
        ("provider_id", "BlackWalnut assigns its own; the id at another provider is kept as metadata <provider>.id"),
    ]


def test_text_and_lists_as_json() -> None:
    values = pl.DataFrame({"text": ['a"b\\\n}', "é", None], "list": [["a", 'b"'], [], None]})
    assert values.select(quoted(pl.col("text"))).to_series().to_list() == ['"a\\"b\\\\\\n}"', '"é"', None]
    listed = values.select(list=quoted(pl.col("list")))
    assert listed.to_series().to_list() == ['["a","b\\""]', "[]", None]
    assert listed.select(texts("list")).to_series().to_list() == [["a", 'b"'], [], None]


def test_the_declaration_for_tests_uses_every_means() -> None:
    assert {one.kind for one in STRINGS.fields} == set(get_args(Kind))
