"""JSON of a provider → canonical frames, and canonical frames → JSON, case by case."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from support.provider_schemas import PROVIDERS, STRINGS, typed
from tranship.connectors.api.json_codec import decode, encode
from tranship.connectors.api.json_records import BROKEN
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import Field, Overflow, ProviderSchema
from tranship.schemas.providers.blackwalnut import SCHEMA as BLACKWALNUT
from tranship.schemas.providers.marginfront import SCHEMA as MARGINFRONT

ACME = {"id": "c1", "name": "Acme"}


def read(*records: Any, schema: ProviderSchema = MARGINFRONT) -> list[dict[str, Any]]:
    """Return the customers read from records, without nulls."""
    decoded = decode(schema, [json.dumps(records)])
    assert decoded.broken.is_empty(), decoded.broken.to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in decoded.records.to_dicts()]


def customer(**fields: Any) -> pl.DataFrame:
    return pl.DataFrame([{name: {"name": "Acme", **fields}.get(name) for name in COLUMNS}], schema=COLUMNS)


def sent(schema: ProviderSchema = MARGINFRONT, **fields: Any) -> dict[str, Any]:
    encoded = encode(schema, customer(**fields), {"source": "s1"})
    assert encoded.refused.is_empty(), encoded.refused.to_dicts()
    return json.loads(encoded.bodies[0])


# Reading ------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation() -> None:
    record = {
        **{"id": "3f0c2f7e", "externalId": "cus_000000042", "name": "Nordlys AB", "email": "ap@nordlys.example"},
        **{"phone": None, "addressLine1": None, "city": None, "country": "SE", "timezone": "Europe/Stockholm"},
        **{"status": "active", "netTerms": 45, "invoiceEmailRecipients": ["cfo@nordlys.example"]},
        **{
            "metadata": {"tier": "pro"},
            "createdAt": "2026-11-21T09:00:00.000Z",
            "updatedAt": "2026-11-21T09:00:00.000Z",
        },
    }
    decoded = decode(MARGINFRONT, [json.dumps([record])])
    assert decoded.records.columns == list(COLUMNS)
    assert set(decoded.records.dtypes) == {pl.String}
    assert {name: value for name, value in typed(decoded.records).to_dicts()[0].items() if value is not None} == {
        **{"external_id": "cus_000000042", "email": "ap@nordlys.example", "name": "Nordlys AB", "country": "SE"},
        **{"timezone": "Europe/Stockholm", "status": "active", "net_terms": 45},
        "created_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "updated_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        **{"invoice_cc_emails": ["cfo@nordlys.example"], "metadata": '{"tier":"pro"}'},
        **{"provider": "marginfront", "provider_id": "3f0c2f7e"},
    }


@pytest.mark.parametrize("pages", [[], ["[]"], ["[]", b" [ ] "]])
def test_nothing(pages: list[str | bytes]) -> None:
    decoded = decode(MARGINFRONT, pages)
    assert decoded.records.schema == dict.fromkeys(COLUMNS, pl.String())
    assert decoded.broken.schema == BROKEN
    assert decoded.positions.dtype == pl.UInt64
    assert (decoded.records.height, decoded.broken.height, len(decoded.nameless), decoded.surprises) == (0, 0, 0, {})


def test_positions_count_over_pages_and_passed_over_records() -> None:
    pages = [json.dumps([{"id": f"{page}{at}", "name": "n"} for at in range(3)]) for page in "ab"]
    decoded = decode(MARGINFRONT, [pages[0], "[]", pages[1].encode()], skip=[0, 4])
    assert decoded.positions.to_list() == [1, 2, 3, 5]
    assert decoded.records["provider_id"].to_list() == ["a1", "a2", "b0", "b2"]


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a":null}',
        '{"big":123456789012345678901234567890,"neg":-9223372036854775809}',
        '{"float":1.0,"small":1e-7,"minus":-0.0,"huge":1e400}',
        '{"nested":{"a":[null,{"b":[]}],"":{}}}',
        '{"":1,"d.ot":2,"q\\"":3,"b\\\\":4,"/":5,"~0":6,"$":7,"*":8,"[0]":9}',
        '{"text":"\\u0000\\n\\"\\\\é🚀"}',
        '{"canon":1,"canon_":2,"canon_x":3,"canonical":4,"canon_updated_at":"2020","Canon_city":5}',
        '{"canon_city":5,"canon_net_terms":"45","canon_aliases":"a","canon_metadata":[1],"canon_status":{"a":1}}',
        '{"marginfront.foo":null,"metronome.bar":[1]}',
    ],
)
def test_metadata_stays_what_it_is(metadata: str) -> None:
    page = f'[{{"id":"c1","name":"Acme","metadata":{metadata}}}]'
    assert json.loads(decode(MARGINFRONT, [page]).records["metadata"][0]) == json.loads(metadata)


@pytest.mark.parametrize("empty", [None, {}])
def test_empty_metadata_is_none(empty: Any) -> None:
    assert "metadata" not in read({**ACME, "metadata": empty})[0]


def test_what_is_ours_in_the_overflow_is_put_back_first() -> None:
    overflow = {
        "canon_status": "trial",
        "canon_city": 'Umeå "x"\n',
        "canon_timezone": None,
        "canon_net_terms": 7,
        "tier": 1,
    }
    overflow |= {
        "canon_aliases": ["a", 'b"'],
        "canon_created_at": "2020-01-01T00:00:00Z",
        "canon_metadata": {"canon_city": "x"},
    }
    record = {**ACME, "status": "active", "timezone": "UTC", "netTerms": 30, "city": "Lund", "metadata": overflow}
    row = read({**record, "createdAt": "2026-01-01T00:00:00Z"})[0]
    assert row.pop("aliases") == '["a","b\\""]'
    assert json.loads(row.pop("metadata")) == {"tier": 1, "canon_city": "x"}
    assert row == {
        **{"name": "Acme", "status": "trial", "city": 'Umeå "x"\n', "net_terms": "7"},
        **{"created_at": "2020-01-01T00:00:00Z", "provider": "marginfront", "provider_id": "c1"},
    }


def test_updated_at_is_the_providers() -> None:
    record = {**ACME, "updatedAt": "2026-01-01T00:00:00Z", "metadata": {"canon_updated_at": "2020-01-01T00:00:00Z"}}
    assert read(record)[0]["updated_at"] == "2026-01-01T00:00:00Z"


def test_the_own_id_is_returned_whatever_is_in_the_overflow() -> None:
    overflow = {"metronome.id": "m1", "marginfront.id": "c0", "canon_provider": "metronome", "canon_provider_id": "m1"}
    [row] = read({**ACME, "metadata": overflow})
    assert (row["provider"], row["provider_id"]) == ("marginfront", "c1")
    assert json.loads(row["metadata"]) == overflow


def test_a_nested_overflow() -> None:
    canon = {"city": "Umeå", "net_terms": 4, "foo": 1, "country": 5, "metadata": {"canon": "x"}}
    row = read({"id": "b1", "email": "a@b.co", "metadata": {"t": None, "canon": canon}}, schema=BLACKWALNUT)[0]
    assert json.loads(row.pop("metadata")) == {"t": None, "canon": "x", "blackwalnut.canon": {"foo": 1, "country": 5}}
    assert (row["city"], row["net_terms"]) == ("Umeå", "4")


@pytest.mark.parametrize("canon", ["x", 1, None, [1]])
def test_something_else_in_the_place_of_ours_is_metadata(canon: Any) -> None:
    row = read({"id": "b1", "email": "a@b.co", "metadata": {"canon": canon}}, schema=BLACKWALNUT)[0]
    assert json.loads(row["metadata"]) == {"canon": canon}


TEXT_OVERFLOWS = [
    ({"a": "1"}, {}, {"a": "1"}),
    ({"canon_city": "Umeå"}, {"city": "Umeå"}, {}),
    ({"canon_city_2": "eå", "canon_city_1": "Um"}, {"city": "Umeå"}, {}),
    ({f"canon_city_{n}": chr(96 + n) for n in range(12, 0, -1)}, {"city": "abcdefghijkl"}, {}),
    # Written in one piece after it had been in two: the leftover parts are ignored.
    ({"canon_city_1": "Um", "canon_city_2": "eå", "canon_city": "Lund"}, {"city": "Lund"}, {}),
    (
        {"canon_address_line1": "Street", "canon_address_line2_1": "x"},
        {"address_line1": "Street", "address_line2": "x"},
        {},
    ),
    ({"canon_net_terms": "45", "canon_aliases": '["a"]'}, {"net_terms": "45", "aliases": '["a"]'}, {}),
    (
        {"canon_metadata": '{"a":[1,null],"canon_city":"x"}', "b": "2"},
        {},
        {"a": [1, None], "canon_city": "x", "b": "2"},
    ),
    ({"canon_metadata_1": '{"a":', "canon_metadata_2": "[1]}"}, {}, {"a": [1]}),
    # Truncated by another client: kept unchanged.
    ({"canon_metadata_1": '{"a":', "b": "2"}, {}, {"canon_metadata_1": '{"a":', "b": "2"}),
    ({"canon_metadata": "[1]"}, {}, {"canon_metadata": "[1]"}),
    ({"canon_metadata": '{"a":1}', "a": "2"}, {}, {"a": 1}),
    ({"canon_nulls": "name,nobody"}, {"name": None}, {}),
    ({"canon_x": "1", "canon_city_x": "2", "canon": "3"}, {}, {"canon_x": "1", "canon_city_x": "2", "canon": "3"}),
    ({"canon_city": None, "canon_state": 5}, {}, {"canon_city": None, "canon_state": 5}),
]


@pytest.mark.parametrize(("overflow", "fields", "metadata"), TEXT_OVERFLOWS)
def test_an_overflow_of_text(overflow: dict[str, Any], fields: dict[str, Any], metadata: dict[str, Any]) -> None:
    # Beside another customer with an equally difficult overflow: nothing is mixed up.
    other = {"id": "s2", "title": "Other", "source": "s1", "fields": {"canon_city_1": "X", "canon_metadata": '{"o":1}'}}
    rows = decode(
        STRINGS, [json.dumps([other, {"id": "s1", "title": "Acme", "fields": overflow}, other])]
    ).records.to_dicts()
    assert (rows[0]["city"], rows[0]["metadata"]) == (rows[2]["city"], rows[2]["metadata"]) == ("X", '{"o":1}')
    assert json.loads(rows[1].pop("metadata") or "{}") == metadata
    expected = {"name": "Acme", "provider": "strings", "provider_id": "s1", **fields}
    assert {name: value for name, value in rows[1].items() if value is not None or name in fields} == expected


def test_fields_without_a_home_are_metadata() -> None:
    record = {
        "id": "s1",
        "title": "A",
        "logo": 'l"',
        "score": 5,
        "ratio": 1.50,
        "vip": False,
        "links": [],
        "options": {},
    }
    record |= {"terms": [{"value": "x"}], "closed_at": "2020-01-01", "source": "s1", "ids": ["e1", "a1"]}
    row = read(record, schema=STRINGS)[0]
    assert json.loads(row.pop("metadata")) == {
        **{"strings.logo": 'l"', "strings.score": 5, "strings.ratio": 1.5, "strings.vip": False},
        **{"strings.terms": [{"value": "x"}], "strings.closed_at": "2020-01-01"},
    }
    assert (row["external_id"], row["aliases"], row["status"]) == ("e1", '["a1"]', "cancelled")


def test_what_the_overflow_has_for_a_field_takes_precedence() -> None:
    record = {
        "id": "s1",
        "title": "A",
        "logo": "native",
        "fields": {"strings.logo": "in the overflow", "strings.score": "5"},
    }
    metadata = decode(STRINGS, [json.dumps([{**record, "score": 7}])]).records["metadata"][0]
    assert metadata == '{"strings.logo":"in the overflow","strings.score":"5"}'


def test_a_field_nobody_documented_is_kept_and_counted() -> None:
    records = [
        {**ACME, "new": [1, None]},
        {**ACME, "new": None},
        {**ACME, 'n"e/w~': "x", "metadata": {"marginfront.new": 1, "a": 2}, "new": 3},
        {**ACME, "Name": "other"},
    ]
    decoded = decode(MARGINFRONT, [json.dumps(records)])
    assert [json.loads(text or "{}") for text in decoded.records["metadata"]] == [
        {"marginfront.new": [1, None]},
        {},
        {"marginfront.new": 1, "a": 2, 'marginfront.n"e/w~': "x"},
        {"marginfront.Name": "other"},
    ]
    assert decoded.surprises == {"Name": 1, 'n"e/w~': 1, "new": 2}
    assert decoded.records["name"].to_list() == ["Acme"] * 4


NAMELESS = {
    "blackwalnut": {"id": "b1", "email": "a@b.co"},
    "growpanel": {"id": "g1", "email": "a@b.co", "created_date": "2020-01-01T00:00:00Z", "country": "SE"},
    "metrifox": {"id": "m1", "customer_key": "k", "customer_type": "BUSINESS", "primary_email": "a@b.co"},
}


@pytest.mark.parametrize(
    "schema", [schema for schema in PROVIDERS if schema.provider in NAMELESS], ids=lambda schema: schema.provider
)
def test_the_email_stands_in_for_a_name_where_a_customer_may_have_none(schema: ProviderSchema) -> None:
    record = NAMELESS[schema.provider]
    decoded = decode(schema, [json.dumps([record])]).records
    assert decoded["name"].to_list() == ["a@b.co"]
    named = [{**record, "name": "Acme"}, record, {**record, "name": "a@b.co"}]
    if schema.provider == "metrifox":
        named = [{**record, "display_name": "Acme"}, record, {**record, "display_name": "a@b.co"}]
    assert decode(schema, [json.dumps(named)]).nameless.to_list() == [False, True, False]
    body = json.loads(encode(schema, typed(decoded), {"data_source": "ds_main"}).bodies[0])
    assert set(body) - {"data_source", schema.overflow.name, schema.id} == set(record) - {"id"}


@pytest.mark.parametrize("schema", [BLACKWALNUT, PROVIDERS[1]], ids=lambda schema: schema.provider)
def test_a_blank_name_is_none(schema: ProviderSchema) -> None:
    assert decode(schema, [json.dumps([{**NAMELESS[schema.provider], "name": " "}])]).records["name"].to_list() == [
        "a@b.co"
    ]


def test_only_who_has_no_name_is_nameless() -> None:
    records = [ACME, {**ACME, "name": "a@b.co", "email": "a@b.co"}]
    assert decode(MARGINFRONT, [json.dumps(records)]).nameless.to_list() == [False, False]
    moved = {**NAMELESS["blackwalnut"], "metadata": {"canon": {"name": "Acme"}}}
    assert decode(BLACKWALNUT, [json.dumps([moved])]).nameless.to_list() == [False]


def test_a_key_that_stands_in_metadata_twice_does_no_harm() -> None:
    page = '[{"id":"x","name":"n","metadata":{"a":1,"a":2,"canon_city":"A","canon_city":"B"}}]'
    assert decode(MARGINFRONT, [page]).records["city"].to_list() == ["B"]


def test_a_field_of_its_own_for_every_record() -> None:
    records = [{**ACME, f"new{at}": at} for at in range(5_000)]
    decoded = decode(MARGINFRONT, [json.dumps(records)])
    assert decoded.records["metadata"].to_list() == [f'{{"marginfront.new{at}":{at}}}' for at in range(5_000)]
    assert len(decoded.surprises) == 5_000


# Writing ---------------------------------------------------------------------------------------------------------


def test_each_value_in_its_native_place() -> None:
    body = sent(
        **{"external_id": "e1", "email": "a@b.co", "timezone": "UTC", "status": "active", "net_terms": 30},
        **{"invoice_cc_emails": ["x@y.co"], "created_at": None, "metadata": '{ "a" : 1.10 }'},
    )
    assert body == {
        **{
            "externalId": "e1",
            "name": "Acme",
            "email": "a@b.co",
            "timezone": "UTC",
            "status": "active",
            "netTerms": 30,
        },
        "invoiceEmailRecipients": ["x@y.co"],
        "metadata": {"a": 1.1, "canon_created_at": None},
    }


@pytest.mark.parametrize(
    ("status", "native", "spilled"),
    [
        *(("active", "active", ()), ("trial", "active", ("trial",)), ("inactive", "inactive", ())),
        *(("suspended", "suspended", ()), ("cancelled", "inactive", ("cancelled",)), (None, None, (None,))),
    ],
)
def test_status_at_marginfront(status: str | None, native: str | None, spilled: tuple[str | None, ...]) -> None:
    body = sent(status=status)
    assert body.get("status") == native
    assert [value for key, value in body["metadata"].items() if key == "canon_status"] == list(spilled)


def test_an_agent_code_is_never_sent() -> None:
    body = sent(metadata='{"marginfront.agentCode":"a1","marginfront.subscriptions":[1],"x":1}')
    assert "agentCode" not in body
    assert {key for key in body["metadata"] if "canon" not in key} == {"x"}


def test_only_what_blackwalnut_has_and_one_object_for_the_rest() -> None:
    fields = {"email": "ap@nordlys.example", "external_id": "cus_000000042", "country": "SE", "net_terms": 45}
    moment = datetime(2021, 4, 2, 8, tzinfo=UTC)
    assert sent(BLACKWALNUT, **fields, metadata='{"tier":"pro","canon":1}', created_at=moment, aliases=["a"]) == {
        **{"email": "ap@nordlys.example", "name": "Acme", "external_id": "cus_000000042"},
        "metadata": {
            "tier": "pro",
            "canon": {
                **{"country": "SE", "net_terms": 45, "created_at": "2021-04-02T08:00:00Z", "aliases": ["a"]},
                "metadata": {"canon": 1},
            },
        },
    }


def test_an_overflow_of_text_holds_text() -> None:
    metadata = {
        "short": "v",
        "long": "v" * 26,
        "k" * 31: "v",
        "number": 5,
        "null": None,
        "": "x",
        "empty": "",
        "canonical": "x",
    }
    metadata |= {
        "strings.score": 7,
        "strings.ratio": "no number",
        "strings.logo": "l",
        "strings.vip": None,
        "strings.foo": "f",
    }
    body = sent(STRINGS, metadata=json.dumps(metadata), city="c" * 60, net_terms=5, aliases=["a"])
    overflow = body.pop("fields")
    assert all(isinstance(value, str) and 0 < len(value) <= 25 for value in overflow.values())
    assert body == {"title": "Acme", "ids": ["a"], "terms": [{"value": 5}], "logo": "l", "score": 7, "source": "s1"}
    assert [overflow[f"canon_city_{n}"] for n in (1, 2, 3)] == ["c" * 25, "c" * 25, "c" * 10]
    parts = [
        overflow[f"canon_metadata_{n}"]
        for n in range(1, 1 + sum(key.startswith("canon_metadata_") for key in overflow))
    ]
    own = ("short", "strings.score", "strings.logo", "strings.foo")
    assert json.loads("".join(parts)) == {key: value for key, value in metadata.items() if key not in own}
    assert {key: value for key, value in overflow.items() if not key.startswith("canon_")} == {
        "short": "v",
        "strings.foo": "f",
    }


def test_text_just_short_enough_is_in_an_overflow_of_text() -> None:
    overflow = sent(STRINGS, metadata=json.dumps({"k" * 30: "v" * 25, 'é"' * 5: '🚀"\\' * 8}), city="c" * 25)["fields"]
    assert (overflow["k" * 30], overflow['é"' * 5], overflow["canon_city"]) == ("v" * 25, '🚀"\\' * 8, "c" * 25)


@pytest.mark.parametrize(
    ("provider", "its_id", "entry"),
    [
        *((None, None, {}), ("marginfront", "m1", {}), (None, "m1", {}), ("elsewhere", None, {})),
        *(("metronome", "m1", {"metronome.id": "m1"}), ('q"u\\', 'é"', {'q"u\\.id': 'é"'})),
    ],
)
def test_the_id_at_another_provider_is_an_entry_of_metadata(
    provider: str | None, its_id: str | None, entry: dict[str, str]
) -> None:
    for metadata in ({}, {"tier": 1}):
        given = json.dumps(metadata) if metadata else None
        overflow = sent(provider=provider, provider_id=its_id, metadata=given)["metadata"]
        assert {key: value for key, value in overflow.items() if not key.startswith("canon_")} == {**metadata, **entry}


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ('{"metronome.id":"m0"}', "m0"),
        ('{\n "metronome.id" : null, "a": 1}', None),
        ('{"metronome\\u002eid":"m0"}', "m0"),
        ('{"a":{"metronome.id":"m0"}}', "m1"),
        ('{"a":"metronome.id","b":"\\"metronome.id\\""}', "m1"),
        ('{"metronome.ids":"m0"}', "m1"),
    ],
)
def test_an_id_that_is_told_already_stays(metadata: str, kept: str | None) -> None:
    other = customer(provider="metrifox", provider_id="f1", metadata='{"metronome.id":"m9"}')
    one = customer(provider="metronome", provider_id="m1", metadata=metadata)
    for schema in (MARGINFRONT, BLACKWALNUT):
        customers = pl.concat([other, one, other]).with_columns(email=pl.lit("a@b.co"))
        overflows = [json.loads(body)["metadata"] for body in encode(schema, customers).bodies]
        assert overflows[1]["metronome.id"] == kept
        assert {key: value for key, value in json.loads(metadata).items() if overflows[1][key] != value} == {}
        assert [(overflow["metronome.id"], overflow["metrifox.id"]) for overflow in (overflows[0], overflows[2])] == [
            ("m9", "f1")
        ] * 2


def test_an_id_that_an_overflow_of_text_cannot_take_goes_with_the_rest() -> None:
    overflow = sent(STRINGS, provider="metronome", provider_id="m" * 25)["fields"]
    assert overflow["metronome.id"] == "m" * 25
    overflow = sent(STRINGS, provider="metronome", provider_id="m" * 26)["fields"]
    assert "metronome.id" not in overflow
    assert json.loads(overflow["canon_metadata_1"] + overflow["canon_metadata_2"]) == {"metronome.id": "m" * 26}
    overflow = sent(STRINGS, provider="canon", provider_id="c")["fields"]
    assert json.loads(overflow["canon_metadata"]) == {"canon.id": "c"}


def test_metadata_that_is_no_text_is_refused_wherever_the_customer_was() -> None:
    encoded = encode(MARGINFRONT, customer(provider="metronome", provider_id="m1", metadata='{"a":"\\ud800"}'))
    assert encoded.refused["code"].to_list() == ["metadata.syntax"]


@pytest.mark.parametrize("name", ["Acme", "[]", "{}", "null", '""'])
def test_what_a_native_place_says_too_much_is_taken_back(name: str) -> None:
    fields = (Field("id", canonical="provider_id", settable=False), Field("n", canonical="name"))
    legal = Field("legal", canonical="legal_name", write=pl.coalesce("legal_name", "name"))
    body = sent(ProviderSchema("w", "W", (*fields, legal), Overflow("extra")), name=name)
    assert body == {"n": name, "legal": name, "extra": {"canon_legal_name": None}}


def test_instants_keep_their_microseconds() -> None:
    moment = datetime(2021, 4, 2, 8, 0, 0, 120, tzinfo=UTC)
    assert sent(trial_started=moment)["metadata"]["canon_trial_started"] == "2021-04-02T08:00:00.000120Z"


@pytest.mark.parametrize("key", ["\\u0063anon_city", "canon_city"])
def test_an_escape_hides_no_key_of_ours(key: str) -> None:
    assert sent(metadata=f'{{"{key}":"x"}}', city=None)["metadata"]["canon_metadata"] == {"canon_city": "x"}


def test_nobody() -> None:
    encoded = encode(MARGINFRONT, customer().clear())
    assert (encoded.bodies.to_list(), encoded.refused.height, encoded.bodies.dtype) == ([], 0, pl.String)
    encoded = encode(STRINGS, customer().clear())
    assert encoded.bodies.to_list() == []


@pytest.mark.slow
def test_any_number_of_threads() -> None:
    def once(number: int) -> tuple[Any, ...]:
        schema = (MARGINFRONT, BLACKWALNUT, STRINGS)[number % 3]
        body = encode(schema, customer(email="a@b.co", city=f"c{number}", external_id="e"), {"source": "s"}).bodies[0]
        record = {"id": f"i{number}", **json.loads(body)}
        return (
            decode(schema, [json.dumps([record] * 50)])
            .records.select("city", "provider_id", "external_id")
            .unique()
            .row(0)
        )

    with ThreadPoolExecutor(8) as workers:
        found = list(workers.map(once, range(24)))
    assert found == [(f"c{number}", f"i{number}", "e") for number in range(24)]
