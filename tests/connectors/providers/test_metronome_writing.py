"""Metronome as a destination, against its sandbox: each operation, and plans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from support.sandboxes import Sandbox, Start
from support.writing import outcomes, send, write
from tranship.connectors.api.executor import ExecutionResult
from tranship.connectors.api.journal import Intent, Journal, digest
from tranship.connectors.api.operations import (
    AmbiguousMatch,
    KeyUnavailable,
    LookupKey,
    NotSearchable,
    Operations,
    Record,
    Reply,
    Request,
)
from tranship.connectors.api.spec import parse_address, service
from tranship.connectors.errors import Malformed, Refused
from tranship.connectors.providers.metronome import SPEC, build_operations
from tranship.schemas.providers.metronome import SCHEMA

pytestmark = pytest.mark.slow

KEY = {"METRONOME_BEARER_TOKEN": "token-0123456789"}
HEADERS = {"Authorization": "Bearer token-0123456789", "Content-Type": "application/json"}
SETTABLE = [*(one.name for one in SCHEMA.fields if one.settable), "custom_fields"]
NOBODY = "00000000-0000-4000-8000-000000000000"

FULL: Record = {
    "name": "Nordlys AB",
    "ingest_aliases": ["cus_1", "old-1", "ap@nordlys.example"],
    "customer_config": {"salesforce_account_id": "001A"},
    "custom_fields": {"canon_email": "ap@nordlys.example", "canon_country": "SE", "tier": "pro"},
}
OTHER: Record = {
    "name": "Südwind",
    "ingest_aliases": ["cus_2"],
    "customer_config": {"salesforce_account_id": "001B"},
    "custom_fields": {"canon_country": "DE", "canon_city": "Köln"},
}
BARE: Record = {"name": "Nordlys AB", "custom_fields": {"canon_email": "ap@nordlys.example"}}


@pytest.fixture
def there(sandbox: Start) -> Sandbox:
    """An account in which the custom fields of these tests are registered."""
    account = sandbox("metronome")
    for key in ("canon_email", "canon_country", "canon_city", "canon_external_id_1", "canon_external_id_2", "tier"):
        register(account, key)
    return account


@pytest.fixture
def operations() -> Operations:
    return build_operations(parse_address(SPEC, "metronome://", KEY))


def asked(sandbox: Sandbox, one: Request) -> Reply:
    path = one.path + (f"?{urlencode(one.params)}" if one.params else "")
    reply = sandbox.call(one.method, path, one.body, HEADERS)
    return Reply(reply.status, reply.json if reply.body else None)


async def answered(sandbox: Sandbox, one: Request) -> Reply:
    return await asyncio.to_thread(asked, sandbox, one)


def look(sandbox: Sandbox, operations: Operations, **lookup_key: Any) -> Record | None:
    return asyncio.run(operations.look_up(lambda one: answered(sandbox, one), LookupKey(**lookup_key)))


def register(sandbox: Sandbox, key: str, unique: bool = False) -> None:
    body = {"entity": "customer", "key": key, "enforce_uniqueness": unique}
    assert asked(sandbox, Request("POST", "/v1/customFields/addKey", "", body)).ok


def made(sandbox: Sandbox, operations: Operations, wanted: Record) -> str:
    """Create a customer; return its id."""
    reply = asked(sandbox, operations.create(wanted))
    assert reply.ok, reply.body
    return operations.created_id(reply.body, wanted)


def archived(sandbox: Sandbox, operations: Operations, wanted: Record) -> str:
    one = made(sandbox, operations, wanted)
    assert asked(sandbox, Request("POST", "/v1/customers/archive", "", {"id": one})).ok
    return one


def changed(sandbox: Sandbox, operations: Operations, now: Record, wanted: Record) -> list[str]:
    """Change a customer; return the last parts of the paths that were called."""
    steps = operations.change(now, wanted)
    for step in steps:
        assert asked(sandbox, step) == Reply(200, None) or step.path.endswith("setName")
    return [step.path.rpartition("/")[2] for step in steps]


def lists(sandbox: Sandbox) -> int:
    return sum(call["path"].startswith("/v1/customers?") for call in sandbox.calls())


# Looking up ---------------------------------------------------------------------------------------------------------


def test_found_by_its_own_id(there: Sandbox, operations: Operations) -> None:
    one = made(there, operations, FULL)
    assert look(there, operations, id=one) == there.state()[0]
    assert look(there, operations, id=NOBODY) is None
    with pytest.raises(NotSearchable):
        look(there, operations, id="no uuid/../x")


def test_an_archived_one_is_gone(there: Sandbox, operations: Operations) -> None:
    assert look(there, operations, id=archived(there, operations, FULL)) is None


def test_many_are_found_by_their_own_ids_in_one_call(there: Sandbox, operations: Operations) -> None:
    ids = [made(there, operations, {"name": str(number)}) for number in range(98)]
    asked_for = [ids[5], NOBODY, *ids[:5], archived(there, operations, FULL), *ids[6:]]
    there.record()
    assert operations.bulk_lookup
    found = asyncio.run(
        operations.bulk_lookup.look_up(lambda one: answered(there, one), [LookupKey(id=one) for one in asked_for])
    )
    state = {record["id"]: record for record in there.state() if record["archived_at"] is None}
    assert found == [state.get(one) for one in asked_for]
    assert len(there.calls()) == 1


@pytest.mark.parametrize(
    "answer", [Reply(400, {"message": "customer_ids?"}), Reply(200, {"data": [], "next_page": "the same"})]
)
def test_many_that_cannot_be_looked_at_end_the_run_with_a_message(operations: Operations, answer: Reply) -> None:
    async def ask(_: Request) -> Reply:
        return answer

    assert operations.bulk_lookup
    with pytest.raises(Malformed, match="Metronome: GET /v1/customers"):
        asyncio.run(operations.bulk_lookup.look_up(ask, [LookupKey(id=NOBODY)]))


@pytest.mark.parametrize("external_id", ["cus_1", "a+b&c=d/é ü?#%25", "100%", ' "quoted" ', "名前", "a,b", "x" * 128])
def test_found_by_its_external_id(there: Sandbox, operations: Operations, external_id: str) -> None:
    made(there, operations, {"name": "another case", "ingest_aliases": [f"{external_id.swapcase()}!"[-128:]]})
    assert look(there, operations, external_id=external_id) is None
    made(there, operations, {"name": "x", "ingest_aliases": [external_id, "second"]})
    assert look(there, operations, external_id=external_id) == there.state()[1]


def test_an_external_id_that_another_one_has_among_its_aliases_is_taken(there: Sandbox, operations: Operations) -> None:
    made(there, operations, FULL)
    with pytest.raises(KeyUnavailable, match=r"^taken: external_id$"):
        look(there, operations, external_id="old-1")


def test_an_external_id_of_an_archived_one_is_locked(there: Sandbox, operations: Operations) -> None:
    archived(there, operations, FULL)
    for alias in FULL["ingest_aliases"]:
        with pytest.raises(KeyUnavailable, match=r"^locked: external_id$"):
            look(there, operations, external_id=alias)


@pytest.mark.parametrize("make", [made, archived])
def test_a_further_alias_that_another_one_has_is_taken(there: Sandbox, operations: Operations, make: Any) -> None:
    make(there, operations, FULL)
    wanted = {**OTHER, "ingest_aliases": ["cus_2", "free", "old-1"]}
    with pytest.raises(KeyUnavailable, match=r"^taken: aliases$"):
        look(there, operations, external_id="cus_2", record=wanted)
    there.record()
    assert look(there, operations, external_id="cus_2", record=OTHER) is None
    assert lists(there) == 2


def test_of_a_list_that_is_not_sifted_only_what_has_the_alias_counts(there: Sandbox, operations: Operations) -> None:
    one = made(there, operations, FULL)
    made(there, operations, OTHER)

    async def ask(one: Request) -> Reply:
        params = [("only_archived", value) for name, value in one.params if name == "only_archived"]
        return await answered(there, replace(one, params=params))

    found = asyncio.run(operations.look_up(ask, LookupKey(external_id="cus_1")))
    assert found is not None
    assert found["id"] == one
    assert asyncio.run(operations.look_up(ask, LookupKey(external_id="cus"))) is None


def test_an_alias_of_two_is_nobodys(operations: Operations) -> None:
    async def ask(_: Request) -> Reply:
        return Reply(200, {"data": [{**FULL, "id": "1"}, {**FULL, "id": "2"}], "next_page": None})

    with pytest.raises(AmbiguousMatch):
        asyncio.run(operations.look_up(ask, LookupKey(external_id="cus_1")))


def test_without_an_external_id_it_is_found_by_its_e_mail_in_the_whole_list(
    there: Sandbox, operations: Operations
) -> None:
    for number in range(130):
        made(there, operations, {"name": "x", "custom_fields": {"canon_email": f"{number}@x.example"}})
    made(there, operations, {**BARE, "ingest_aliases": ["of somebody else"]})
    lookup_key = {"email": "ap@nordlys.example", "record": BARE}
    assert look(there, operations, **lookup_key) is None
    one = made(there, operations, BARE)
    found = look(there, operations, **lookup_key)
    assert found is not None
    assert found["id"] == one
    made(there, operations, BARE)
    with pytest.raises(AmbiguousMatch):
        look(there, operations, **lookup_key)


def test_an_e_mail_says_nothing_of_one_that_has_an_external_id(there: Sandbox, operations: Operations) -> None:
    made(there, operations, BARE)
    there.record()
    assert look(there, operations, email="ap@nordlys.example", record=FULL) is None
    assert not there.calls()


def test_an_external_id_too_long_for_an_alias_is_found_in_the_whole_list(
    there: Sandbox, operations: Operations
) -> None:
    long = "x" * 250
    wanted = {"name": "x", "custom_fields": {"canon_external_id_1": long[:200], "canon_external_id_2": long[200:]}}
    assert look(there, operations, external_id=long, record=wanted) is None
    made(there, operations, {"name": "y", "custom_fields": {"canon_external_id_1": long[:200]}})
    one = made(there, operations, wanted)
    found = look(there, operations, external_id=long, record=wanted)
    assert found is not None
    assert found["id"] == one


def test_what_nothing_marks_cannot_be_looked_for(there: Sandbox, operations: Operations) -> None:
    with pytest.raises(NotSearchable):
        look(there, operations, email="ap@nordlys.example", record={"name": "x"})


def test_one_reading_of_the_list_serves_all_that_wait_for_it(there: Sandbox, operations: Operations) -> None:
    wanted = [{"name": "x", "custom_fields": {"canon_email": f"{number}@x.example"}} for number in range(40)]
    ids = [made(there, operations, one) for one in wanted]
    there.record()

    async def bulk_lookup() -> Sequence[Record | None]:
        return await asyncio.gather(
            *(operations.look_up(lambda one: answered(there, one), LookupKey(email="…", record=one)) for one in wanted)
        )

    assert [one and one["id"] for one in asyncio.run(bulk_lookup())] == ids
    # One read for the first look-up, and one for all others.
    assert lists(there) == 2


def test_who_comes_while_the_list_is_read_waits_for_the_next_reading(there: Sandbox, operations: Operations) -> None:
    late = {"name": "late", "custom_fields": {"canon_email": "late@x.example"}}
    for number in range(150):
        made(there, operations, {"name": str(number)})
    looked_up: list[asyncio.Task[Record | None]] = []

    async def ask(one: Request) -> Reply:
        reply = await answered(there, one)
        if not looked_up:
            # The first page has been read: a customer created now may be on a page that was read before.
            await asyncio.to_thread(made, there, operations, late)
            looked_up.append(
                asyncio.create_task(operations.look_up(ask, LookupKey(email="late@x.example", record=late)))
            )
        return reply

    async def first() -> Record | None:
        assert await operations.look_up(ask, LookupKey(email="ap@nordlys.example", record=BARE)) is None
        return await looked_up[0]

    found = asyncio.run(first())
    assert found is not None
    assert found["name"] == "late"


def test_found_though_it_moved_to_a_page_that_was_read_before(there: Sandbox, operations: Operations) -> None:
    for number in range(150):
        made(there, operations, {"name": f"Nordlys {number}"})
    one = made(there, operations, BARE)
    pages = 0

    async def ask(send: Request) -> Reply:
        nonlocal pages
        reply = await answered(there, send)
        pages += 1
        return Reply(200, {**reply.body, "data": [] if pages == 2 else reply.body["data"]})

    found = asyncio.run(operations.look_up(ask, LookupKey(email="ap@nordlys.example", record=BARE)))
    assert found is not None
    assert found["id"] == one
    assert pages == 4


# Creating and changing -------------------------------------------------------------------------------------------


def test_an_id_outside_the_envelope_is_an_error(operations: Operations) -> None:
    with pytest.raises((KeyError, TypeError)):
        operations.created_id({"id": "1"}, FULL)


@pytest.mark.parametrize(
    ("name", "value", "calls"),
    [
        ("name", "Südwind", ["setName"]),
        ("ingest_aliases", ["cus_1", "old-1", "ap@nordlys.example", "new"], ["setIngestAliases"]),
        ("ingest_aliases", ["cus_1", "ap@nordlys.example", "old-1"], ["setIngestAliases"]),
        ("customer_config", {"salesforce_account_id": "001B"}, ["updateConfig"]),
        ("custom_fields", {**FULL["custom_fields"], "canon_country": "DE"}, ["setValues"]),
        ("custom_fields", {"canon_country": "SE", "tier": "pro"}, ["deleteValues"]),
        ("custom_fields", OTHER["custom_fields"], ["setValues", "deleteValues"]),
        ("custom_fields", {}, ["deleteValues"]),
    ],
)
def test_a_change_sends_what_differs_and_nothing_else(
    there: Sandbox, operations: Operations, name: str, value: Any, calls: list[str]
) -> None:
    made(there, operations, FULL)
    wanted = {**FULL, name: value}
    assert changed(there, operations, there.state()[0], wanted) == calls
    [stands] = there.state()
    assert {field: stands[field] for field in SETTABLE} == wanted
    assert not operations.change(stands, wanted)


def test_all_of_it_is_sent_in_order_and_only_the_keys_that_differ(there: Sandbox, operations: Operations) -> None:
    made(there, operations, FULL)
    [now] = there.state()
    steps = operations.change(now, {**OTHER, "ingest_aliases": ["cus_1", "new"]})
    assert [(step.path.rpartition("/")[2], step.body, step.keyed) for step in steps] == [
        ("setIngestAliases", {"ingest_aliases": ["cus_1", "new", "old-1", "ap@nordlys.example"]}, True),
        ("setName", {"name": "Südwind"}, True),
        (
            "setValues",
            {"entity": "customer", "entity_id": now["id"], "custom_fields": OTHER["custom_fields"]},
            True,
        ),
        ("deleteValues", {"entity": "customer", "entity_id": now["id"], "keys": ["canon_email", "tier"]}, True),
        ("updateConfig", {"salesforce_account_id": "001B"}, True),
    ]
    assert all(now["id"] not in step.label for step in steps)


@pytest.mark.parametrize(
    ("wanted", "stands"),
    [
        (["cus_1", "new"], ["cus_1", "new", "old-1", "ap@nordlys.example"]),
        (["cus_9"], ["cus_9", "cus_1", "old-1", "ap@nordlys.example"]),
        (["old-1"], ["old-1", "cus_1", "ap@nordlys.example"]),
        (["cus_1"], FULL["ingest_aliases"]),
        (None, FULL["ingest_aliases"]),
    ],
)
def test_no_alias_is_dropped_and_the_external_id_is_the_first(
    there: Sandbox, operations: Operations, wanted: list[str] | None, stands: list[str]
) -> None:
    made(there, operations, FULL)
    changed(there, operations, there.state()[0], {**FULL, "ingest_aliases": wanted})
    assert there.state()[0]["ingest_aliases"] == stands


def test_an_account_id_that_the_plan_does_not_name_stays(there: Sandbox, operations: Operations) -> None:
    made(there, operations, FULL)
    wanted = {name: value for name, value in FULL.items() if name != "customer_config"}
    assert not operations.change(there.state()[0], wanted)


def test_fields_of_others_that_could_be_taken_for_ours_stay(there: Sandbox, operations: Operations) -> None:
    for key in ("canonical_url", "canon_metadata", "canon_metadata_1", "canon_metadata_2", "empty"):
        register(there, key)
    made(there, operations, {"name": "x", "custom_fields": {"canonical_url": "u", "empty": "", "tier": "pro"}})
    ours = json.dumps({"canonical_url": "u", "empty": "", "tier": {"of": "another kind"}})
    parts = {"canon_metadata_1": ours[:20], "canon_metadata_2": ours[20:]}
    for fields in ({"canon_metadata": ours}, parts):
        steps = operations.change(there.state()[0], {"name": "x", "custom_fields": fields})
        assert [step.body.get("keys") for step in steps] == [None, ["tier"]]
    [_, gone] = operations.change(there.state()[0], {"name": "x", "custom_fields": {"canon_metadata": "no JSON"}})
    assert gone.body["keys"] == ["canonical_url", "empty", "tier"]


def test_the_name_of_a_field_may_have_any_number_of_digits(there: Sandbox, operations: Operations) -> None:
    made(there, operations, {"name": "x"})
    current = there.state()[0] | {"custom_fields": {f"canon_metadata_{'9' * 5000}": "{}"}}
    wanted = {"name": "x", "custom_fields": {"canon_metadata": '{"tier": "pro"}'}}
    assert operations.change(current, wanted)


def test_archiving_is_the_only_way_to_remove(there: Sandbox, operations: Operations) -> None:
    made(there, operations, FULL)
    assert operations.remove
    [step] = operations.remove(there.state()[0])
    assert step.keyed
    assert asked(there, step).ok
    [stands] = there.state()
    assert stands["archived_at"] is not None
    # A customer known by these aliases remains visible, and no other is mistaken for it.
    assert stands["ingest_aliases"] == FULL["ingest_aliases"]


# Keys of custom fields -------------------------------------------------------------------------------------------


def prepared(sandbox: Sandbox, operations: Operations, *keys: str) -> list[str]:
    """Return the calls that prepare customers with these fields."""
    sandbox.record()
    wanted = [{"name": "x", "custom_fields": {key: "x"}} for key in keys]
    asyncio.run(operations.prepare(lambda one: answered(sandbox, one), wanted))
    return [call["path"].rpartition("/")[2].partition("?")[0] for call in sandbox.calls()]


def test_keys_are_registered_once(sandbox: Start, operations: Operations) -> None:
    there = sandbox("metronome")
    for number in range(230):
        register(there, f"key {number}")
    assert prepared(there, operations, "key 0", "a", "key 229", "a") == ["listKeys"] * 3 + ["addKey"]
    assert prepared(there, operations, "a", "b") == ["addKey"]
    assert prepared(there, operations, "a", "b", "key 99") == []
    keys = there.state("custom_field_keys")
    assert [(one["key"], one["enforce_uniqueness"]) for one in keys[230:]] == [("a", False), ("b", False)]


def test_a_key_that_somebody_has_registered_meanwhile_will_do(sandbox: Start, operations: Operations) -> None:
    there = sandbox("metronome")
    prepared(there, operations, "a")
    register(there, "b")
    assert prepared(there, operations, "b") == ["addKey"]
    made(there, operations, {"name": "x", "custom_fields": {"b": "1"}})


@pytest.mark.parametrize("answer", [Reply(404, None), Reply(200, {"data": [], "next_page": "the same"})])
def test_without_a_list_of_keys_all_are_registered(sandbox: Start, operations: Operations, answer: Reply) -> None:
    there = sandbox("metronome")
    register(there, "a")

    async def ask(one: Request) -> Reply:
        return answer if one.path.endswith("listKeys") else await answered(there, one)

    asyncio.run(operations.prepare(ask, [{"custom_fields": {"a": "1", "b": "2"}}]))
    assert [one["key"] for one in there.state("custom_field_keys")] == ["a", "b"]


# What errors mean ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (409, {"message": "Ingest alias already in use: cus_000000042"}, "taken", "taken: aliases"),
        (409, None, "taken", "taken: aliases"),
        (409, {"message": "Custom field value already in use: tier"}, "refused", "taken: custom_fields"),
        (400, {"message": "Invalid custom field keys: tier"}, "refused", "refused: Invalid custom field keys: tier"),
        (400, {"message": "Customer is archived"}, "gone", "gone: Customer is archived"),
        (404, {"message": "Customer not found"}, "gone", "gone: Customer not found"),
        (404, None, "gone", "gone: answered 404"),
        (422, ["no message"], "refused", "refused: answered 422"),
        (413, None, "refused", "refused: answered 413"),
    ],
)
def test_what_an_error_means(operations: Operations, status: int, body: Any, kind: str, reason: str) -> None:
    fault = operations.failure(Reply(status, body))
    assert (fault.kind, fault.reason) == (kind, reason)


# Plans -----------------------------------------------------------------------------------------------------------


def customer(number: int, **fields: Any) -> dict[str, Any]:
    values = {"canon_email": f"c{number}@x.example", "canon_country": "SE", "n": str(number)}
    return {"name": f"Customer {number}", "ingest_aliases": [f"cus_{number:05}"], "custom_fields": values, **fields}


def create(row: int, wanted: Record) -> dict[str, Any]:
    known = {"external_id": (wanted.get("ingest_aliases") or [None])[0], "email": f"{row}@x.example"}
    return {"row": row, "action": "create", "target": None, **known, "wanted": json.dumps(wanted), "found": None}


def update(row: int, found: Record, **changes: Any) -> dict[str, Any]:
    wanted = {name: found[name] for name in SETTABLE} | changes
    return delete(row, found) | {"action": "update", "wanted": json.dumps(wanted)}


def delete(row: int, found: Record) -> dict[str, Any]:
    known = {"target": found["id"], "external_id": found["external_id"], "email": None}
    return {"row": row, "action": "delete", **known, "wanted": None, "found": json.dumps(found)}


def sent(
    sandbox: Sandbox, folder: Path, *rows: dict[str, Any], key: dict[str, str] = KEY, **options: Any
) -> ExecutionResult:
    address = parse_address(SPEC, f"metronome://127.0.0.1:{sandbox.port}", key)
    write(folder, rows)
    return send(
        sandbox.url, folder, operations=build_operations(address), service=service(SPEC, address, key), **options
    )


def carry(sandbox: Sandbox, folder: Path, *rows: dict[str, Any], **options: Any) -> dict[int, tuple[str, str | None]]:
    """Carry out a plan; return row → outcome and reason."""
    sent(sandbox, folder, *rows, **options)
    return {row: (outcome, reason) for row, (_, outcome, reason) in outcomes(folder).items()}


def test_what_the_provider_will_not_have_spares_the_rest(
    there: Sandbox, operations: Operations, tmp_path: Path
) -> None:
    register(there, "n")
    register(there, "tax", unique=True)
    made(there, operations, customer(1, custom_fields={"tax": "SE1"}))
    made(there, operations, customer(2))
    archived(there, operations, customer(3))
    one, two, _ = there.state()
    made(there, operations, customer(4, ingest_aliases=["cus_00004", "shared"]))
    rows = [
        create(0, customer(10)),
        create(1, customer(11, ingest_aliases=["x" * 129])),
        create(2, customer(12, custom_fields={"n": "x" * 201})),
        create(3, customer(3)),
        create(4, customer(13, ingest_aliases=["cus_00013", "shared"])),
        create(5, customer(14, ingest_aliases=["shared"])),
        create(6, customer(15, custom_fields={"tax": "SE1"})),
        create(7, customer(16, custom_fields={"k" * 101: "x"})),
        update(8, one, ingest_aliases=["cus_00001", "shared"]),
        update(9, two, name="Two", custom_fields={"tax": "SE1"}),
        create(10, customer(17)),
    ]
    assert carry(there, tmp_path, *rows) == {
        0: ("done", None),
        1: ("refused", "refused (400): Each ingest alias must be a string of 1 to 128 characters"),
        2: ("refused", "refused (400): Custom field n must be a string of at most 200 characters"),
        3: ("refused", "locked: external_id"),
        4: ("refused", "taken: aliases"),
        5: ("refused", "taken: external_id"),
        6: ("refused", "taken: custom_fields"),
        7: ("refused", f"refused (400): Invalid custom field keys: {'k' * 101}"),
        8: ("refused", "taken: aliases"),
        9: ("refused", "taken: custom_fields"),
        10: ("done", None),
    }
    assert sorted(record["external_id"] for record in there.state()) == [
        *("cus_00001", "cus_00002", "cus_00003", "cus_00004", "cus_00010", "cus_00017")
    ]


def test_customers_changed_since_the_plan_are_not_written(
    there: Sandbox, operations: Operations, tmp_path: Path
) -> None:
    register(there, "n")
    for number in range(6):
        made(there, operations, customer(number))
    made(there, operations, customer(6, ingest_aliases=["cus_00006", "six"]))
    zero, one, two, three, four, five, six = there.state()
    rows = [
        update(0, zero, name="ours"),
        update(1, one, name="ours"),
        update(2, two, name="ours"),
        delete(3, three),
        delete(4, four),
        update(5, five, name="ours"),
        create(6, customer(10)),
        update(7, six, name="ours"),
    ]
    changed(there, operations, six, {**six, "ingest_aliases": ["six", "cus_00006"]})
    changed(there, operations, zero, {**zero, "ingest_aliases": ["cus_00000", "theirs"]})
    changed(there, operations, one, {**one, "custom_fields": {"n": "theirs"}})
    for record in (two, four):
        asked(there, Request("POST", "/v1/customers/archive", "", {"id": record["id"]}))
    changed(there, operations, three, {**three, "name": "theirs"})
    made(there, operations, customer(10, name="theirs"))
    before = there.state()
    assert carry(there, tmp_path, *rows) == {
        0: ("stale", "changed: ingest_aliases"),
        1: ("stale", "changed: custom_fields"),
        2: ("stale", "gone"),
        3: ("stale", "changed: name"),
        4: ("stale", "gone"),
        5: ("done", None),
        6: ("stale", "created"),
        7: ("stale", "changed: ingest_aliases"),
    }
    after = there.state()
    assert [record for record in after if record["id"] != five["id"]] == [
        record for record in before if record["id"] != five["id"]
    ]


@pytest.mark.parametrize("steps", range(6))
def test_a_change_that_broke_off_goes_on(there: Sandbox, operations: Operations, tmp_path: Path, steps: int) -> None:
    made(there, operations, FULL)
    [found] = there.state()
    row = update(0, found, **{**OTHER, "ingest_aliases": ["new", "cus_1", "further"]})
    wanted = json.loads(row["wanted"])
    for one in operations.change(found, wanted)[:steps]:
        assert asked(there, one).ok
    if steps:
        # These steps are not in the journal: another client may have carried them out.
        [(outcome, _)] = carry(there, tmp_path / "unknown", row).values()
        assert outcome == "stale"
    asyncio.run(_intended(tmp_path, row))
    there.record()
    assert carry(there, tmp_path, row) == {0: ("done", None)}
    written = [call["path"].rpartition("/")[2] for call in there.calls() if call["idempotency_key"]]
    assert written == ["setIngestAliases", "setName", "setValues", "deleteValues", "updateConfig"][steps:]
    [stands] = there.state()
    aliases = ["new", "cus_1", "further", "old-1", "ap@nordlys.example"]
    assert {name: stands[name] for name in SETTABLE} == {**wanted, "ingest_aliases": aliases}


@pytest.mark.parametrize("action", ["archive", "create"])
def test_what_was_done_before_the_end_came_is_not_done_again(
    there: Sandbox, operations: Operations, tmp_path: Path, action: str
) -> None:
    made(there, operations, FULL)
    [found] = there.state()
    row = delete(0, found) if action == "archive" else create(0, FULL)
    if action == "archive":
        asked(there, Request("POST", "/v1/customers/archive", "", {"id": found["id"]}))
    asyncio.run(_intended(tmp_path, row))
    there.record()
    assert carry(there, tmp_path, row)[0][0] == "done"
    assert not [call for call in there.calls() if call["idempotency_key"]]


async def _intended(folder: Path, row: dict[str, Any]) -> None:
    """Make the journal of a run that was killed when it may have sent a part of the row."""
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / "journal.sqlite", "run")
    await journal.intend([Intent(row["row"], 1, row["action"], digest(row["action"], row["wanted"]))])
    journal.close()


def test_a_stored_error_is_not_played_back(there: Sandbox, tmp_path: Path) -> None:
    """The same key would return the same 500 for a day: https://docs.metronome.com/api-reference/idempotency"""
    there.weather(statuses={"500": 0.5}, methods=["POST"], seed=5)
    there.record()
    results = carry(there, tmp_path, *(create(row, customer(row)) for row in range(40)))
    assert set(results.values()) == {("done", None)}
    assert len(there.state()) == 40
    keys = [call["idempotency_key"] for call in there.calls() if call["path"] == "/v1/customers"]
    creates = [key for key in keys if key]
    assert len(creates) > 60
    assert len(set(creates)) == len(creates)


def test_a_token_that_may_only_read_ends_it_at_once(there: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"Metronome .* 403 .*METRONOME_BEARER_TOKEN"):
        sent(there, tmp_path, create(0, customer(0)), key={"METRONOME_BEARER_TOKEN": "ro_token"})
    assert not there.state()
