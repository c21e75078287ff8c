"""MarginFront as a destination, against its sandbox: each operation, and plans."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest

from support.sandboxes import Sandbox, Start
from support.writing import create, customer, delete, outcomes, send, update, write
from tranship.connectors.api.json_codec import encode
from tranship.connectors.api.operations import (
    AmbiguousMatch,
    LookupKey,
    NotSearchable,
    Operations,
    Record,
    Reply,
    Request,
)
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.spec import parse_address, service
from tranship.connectors.providers.marginfront import SPEC, build_operations
from tranship.schemas.customer import COLUMNS
from tranship.schemas.providers.marginfront import SCHEMA

pytestmark = pytest.mark.slow

KEY = {"MF_API_SECRET_KEY": "mf_sk_test_1"}
HEADERS = {"x-api-key": "mf_sk_test_1", "Content-Type": "application/json"}
SETTABLE = [*(one.name for one in SCHEMA.fields if one.settable), "metadata"]

FULL: Record = {
    **{"externalId": "cus_1", "name": "Nordlys AB", "email": "ap@nordlys.example", "phone": "+4612345"},
    **{"addressLine1": "Storgatan 1", "addressLine2": "2 tr", "city": "Umeå", "state": "AC", "zipCode": "903 26"},
    **{"country": "SE", "timezone": "Europe/Stockholm", "status": "suspended", "billingContactName": "Åsa"},
    **{"billingContactEmail": "asa@nordlys.example", "netTerms": 45, "invoiceEmailRecipients": ["cfo@nordlys.example"]},
    "metadata": {"tier": "pro", "nested": {"a": [1, None]}},
}
OTHER: Record = {
    **{"externalId": "cus_2", "name": "Südwind", "email": "ap@sued.example", "phone": "+4912345"},
    **{"addressLine1": "Ring 5", "addressLine2": "Hof", "city": "Köln", "state": "NW", "zipCode": "50667"},
    **{"country": "DE", "timezone": "Europe/Berlin", "status": "inactive", "billingContactName": "Jörg"},
    **{
        "billingContactEmail": "joerg@sued.example",
        "netTerms": 0,
        "invoiceEmailRecipients": ["a@b.example", "c@d.example"],
    },
    "metadata": {"nested": {"a": [1]}},
}
FILLED_IN = {"timezone": "UTC", "status": "active", "netTerms": 30}


def asked(sandbox: Sandbox, send: Request) -> Reply:
    path = f"/v1{send.path}" + (f"?{urlencode(send.params)}" if send.params else "")
    reply = sandbox.call(send.method, path, send.body, HEADERS)
    return Reply(reply.status, reply.json if reply.body else None)


def look(sandbox: Sandbox, operations: Operations, **lookup_key: Any) -> Record | None:
    async def ask(send: Request) -> Reply:
        return asked(sandbox, send)

    return asyncio.run(operations.look_up(ask, LookupKey(**lookup_key)))


def made(sandbox: Sandbox, operations: Operations, wanted: Record) -> str:
    """Create a customer; return its id."""
    reply = asked(sandbox, operations.create(wanted))
    assert reply.ok, reply.body
    return operations.created_id(reply.body, wanted)


def carry(sandbox: Sandbox, folder: Path, *rows: dict[str, Any], **options: Any) -> dict[int, tuple[str, str | None]]:
    """Carry out a plan; return row → outcome and reason."""
    address = parse_address(SPEC, f"marginfront://127.0.0.1:{sandbox.port}", KEY)
    write(folder, rows)
    send(sandbox.url, folder, operations=build_operations(address), service=service(SPEC, address, KEY), **options)
    return {row: (outcome, reason) for row, (_, outcome, reason) in outcomes(folder).items()}


@pytest.fixture
def operations() -> Operations:
    return build_operations(parse_address(SPEC, "marginfront://", KEY))


# Looking up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["envelope", "bare"])
def test_found_by_its_external_id_alone_among_hundreds_that_look_like_it(
    sandbox: Start, operations: Operations, form: str
) -> None:
    there = sandbox("marginfront", switches={"list": form})
    for number in range(230):
        made(there, operations, {"name": f"Of c-1 {number}", "externalId": f"c-1{number:03}"})
    made(there, operations, {"name": "another case", "externalId": "C-1"})
    wanted = made(there, operations, {"name": "the one", "externalId": "c-1"})
    found = look(there, operations, external_id="c-1")
    assert found is not None
    assert found["id"] == wanted
    assert look(there, operations, external_id="c-") is None


def test_found_by_its_own_id(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    one = made(there, operations, FULL)
    found = look(there, operations, id=one)
    assert found is not None
    assert {name: found[name] for name in SETTABLE} == FULL
    there.ask("DELETE", f"/v1/customers/{one}", headers=HEADERS)
    assert look(there, operations, id=one) is None
    with pytest.raises(NotSearchable):
        look(there, operations, id="no uuid/../x")


def test_found_by_its_e_mail_where_it_has_no_external_id(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    wanted = {"name": "Nordlys AB", "email": "ap@nordlys.example"}
    made(there, operations, {**wanted, "externalId": "of somebody else"})
    made(there, operations, {"name": "Nordlys AB", "email": "other@nordlys.example"})
    assert look(there, operations, email="ap@nordlys.example", record=wanted) is None
    one = made(there, operations, {**wanted, "email": "AP@nordlys.example"})
    found = look(there, operations, email="ap@nordlys.example", record=wanted)
    assert found is not None
    assert found["id"] == one
    made(there, operations, wanted)
    with pytest.raises(AmbiguousMatch):
        look(there, operations, email="ap@nordlys.example", record=wanted)


def test_found_though_it_moves_to_a_page_that_was_read(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    for number in range(100):
        made(there, operations, {"name": f"Nordlys {number}", "email": f"ap{number}@nordlys.example"})
    wanted = {"name": "Nordlys", "email": "ap@nordlys.example"}
    one = made(there, operations, wanted)
    first = there.state()[0]["id"]
    pages = []

    async def ask(send: Request) -> Reply:
        reply = asked(there, send)
        if not pages:
            asked(there, Request("DELETE", f"/customers/{first}", ""))
            made(there, operations, {"name": "Nordlys too"})
        pages.append(send.params[-1])
        return reply

    found = asyncio.run(operations.look_up(ask, LookupKey(email=wanted["email"], record=wanted)))
    assert len(pages) > 2
    assert found is not None
    assert found["id"] == one


def test_what_never_rests_is_not_known(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    for number in range(101):
        made(there, operations, {"name": f"Nordlys {number}"})

    async def ask(send: Request) -> Reply:
        made(there, operations, {"name": "Nordlys too"})
        return asked(there, send)

    wanted = {"name": "Nordlys", "email": "ap@nordlys.example"}
    with pytest.raises(NotSearchable):
        asyncio.run(operations.look_up(ask, LookupKey(email=wanted["email"], record=wanted)))


# Creating and changing -------------------------------------------------------------------------------------------


def test_the_customer_of_an_answer_may_be_in_an_envelope(operations: Operations) -> None:
    assert operations.created_id({"data": {"id": "1"}}, FULL) == "1"


@pytest.mark.parametrize("name", SETTABLE)
def test_a_change_names_the_field_that_differs_and_no_other(sandbox: Start, operations: Operations, name: str) -> None:
    there = sandbox("marginfront")
    made(there, operations, FULL)
    wanted = {**FULL, name: OTHER[name]}
    [now] = there.state()
    [step] = operations.change(now, wanted)
    assert step.body == {name: OTHER[name]}
    assert asked(there, step).ok
    [stands] = there.state()
    assert {field: stands[field] for field in SETTABLE} == wanted
    assert not operations.change(stands, wanted)


@pytest.mark.parametrize("name", [name for name in SETTABLE if name != "name"])
def test_what_is_not_wanted_any_more_is_taken_away(sandbox: Start, operations: Operations, name: str) -> None:
    there = sandbox("marginfront")
    made(there, operations, FULL)
    wanted = {field: value for field, value in FULL.items() if field != name}
    [step] = operations.change(there.state()[0], wanted)
    assert list(step.body) == [name]
    assert asked(there, step).ok
    [stands] = there.state()
    assert same(stands[name], FILLED_IN.get(name))
    assert not operations.change(stands, wanted)


def test_a_null_in_metadata_is_something(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    made(there, operations, {"name": "x", "metadata": {"a": 1}})
    for metadata in ({"a": True}, {"a": True, "canon_timezone": None}, {"a": None}, {"a": []}, {}):
        [step] = operations.change(there.state()[0], {"name": "x", "metadata": metadata})
        assert asked(there, step).ok
        assert there.state()[0]["metadata"] == metadata
        assert not operations.change(there.state()[0], {"name": "x", "metadata": dict(reversed(metadata.items()))})


def test_where_there_is_no_patch_a_put_has_all_fields(sandbox: Start, operations: Operations) -> None:
    there = sandbox("marginfront")
    made(there, operations, FULL)
    for reply in (Reply(405, None), Reply(404, {"statusCode": 404, "message": "Cannot PATCH /v1/customers/x"})):
        fresh = build_operations(parse_address(SPEC, "marginfront://", KEY))
        assert fresh.failure(reply).kind == "again"
        [step] = fresh.change(there.state()[0], {**FULL, "city": "Luleå"})
        assert step.method == "PUT"
        assert step.body == {**FULL, "city": "Luleå"}
    assert asked(there, step).ok
    assert {name: there.state()[0][name] for name in SETTABLE} == {**FULL, "city": "Luleå"}


def test_an_id_is_encoded_in_a_path(operations: Operations) -> None:
    assert [step.path for step in operations.remove({"id": "a/b?c"})] == ["/customers/a%2Fb%3Fc"]


def test_it_is_never_subscribed_to_an_agent() -> None:
    row = dict.fromkeys(COLUMNS) | {"name": "x", "metadata": '{"marginfront.agentCode":"agent"}'}
    [body] = encode(SCHEMA, pl.DataFrame([row], schema=COLUMNS)).bodies
    assert '"agentCode":' not in body.partition('"metadata"')[0]


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (Reply(409, {"statusCode": 409, "message": "Customer already exists"}), "taken", "taken: external_id"),
        (Reply(409, None), "taken", "taken: external_id"),
        (Reply(409, {"message": "Has active subscriptions"}), "refused", "has_dependents"),
        (Reply(400, {"message": ["a is bad", "b is bad"]}), "refused", "refused: a is bad; b is bad"),
        (Reply(400, {"error": "x"}), "refused", "refused: answered 400"),
        (Reply(413, None), "refused", "refused: answered 413"),
        (Reply(404, {"message": "Customer not found"}), "gone", "gone: Customer not found"),
    ],
)
def test_what_an_error_means(operations: Operations, reply: Reply, kind: str, reason: str) -> None:
    fault = operations.failure(reply)
    assert (fault.kind, fault.reason) == (kind, reason)


# Plans -----------------------------------------------------------------------------------------------------------


def test_what_the_provider_will_not_have_spares_the_rest(
    sandbox: Start, operations: Operations, tmp_path: Path
) -> None:
    there = sandbox("marginfront", switches={"long": "refused"})
    made(there, operations, customer(1))
    made(there, operations, customer(2))
    one, two = there.state()
    made(there, operations, {"name": "subscribed", "externalId": "sub", "agentCode": "agent"})
    subscribed = there.state()[2]
    rows = [
        create(0, customer(10)),
        create(1, {**customer(11), "email": "nonsense"}),
        create(2, {**customer(12), "name": "x" * 300}),
        update(3, one, externalId=two["externalId"]),
        update(4, two, email="nonsense"),
        delete(5, subscribed),
        update(6, {**two, "externalId": "cus_00002"}, city="Umeå"),
    ]
    assert carry(there, tmp_path, *rows) == {
        0: ("done", None),
        1: ("refused", "refused (400, email): email must be an email"),
        2: ("refused", "refused (400, name): name must be shorter than or equal to 255 characters"),
        3: ("refused", "taken: external_id"),
        4: ("refused", "refused (400, email): email must be an email"),
        5: ("refused", "has_dependents"),
        6: ("done", None),
    }
    assert sorted(record["externalId"] for record in there.state()) == ["cus_00001", "cus_00002", "cus_00010", "sub"]


def test_customers_changed_since_the_plan_are_not_written(
    sandbox: Start, operations: Operations, tmp_path: Path
) -> None:
    there = sandbox("marginfront")
    for number in range(4):
        made(there, operations, customer(number))
    zero, one, two, three = there.state()
    rows = [
        update(0, zero, name="ours"),
        update(1, one, name="ours"),
        delete(2, two),
        delete(3, three),
        create(4, customer(10)),
        create(5, {"name": "no id", "email": "none@x.example"}),
    ]
    # A usage event with an unknown external id creates a bare customer.
    made(there, operations, {"name": "cus_00010", "externalId": "cus_00010"})
    asked(there, Request("PATCH", f"/customers/{zero['id']}", "", {"phone": "5"}))
    asked(there, Request("DELETE", f"/customers/{one['id']}", ""))
    asked(there, Request("PATCH", f"/customers/{two['id']}", "", {"metadata": {"n": 5}}))
    asked(there, Request("DELETE", f"/customers/{three['id']}", ""))
    assert carry(there, tmp_path, *rows) == {
        0: ("stale", "changed: phone"),
        1: ("stale", "gone"),
        2: ("stale", "changed: metadata"),
        3: ("stale", "gone"),
        4: ("stale", "created"),
        5: ("done", None),
    }
    names = {record["externalId"]: record["name"] for record in there.state()}
    assert names == {"cus_00000": "Customer 0", "cus_00002": "Customer 2", "cus_00010": "cus_00010", None: "no id"}
