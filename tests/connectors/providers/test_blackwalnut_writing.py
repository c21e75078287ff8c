"""BlackWalnut as a destination, against its sandbox: each operation, and plans."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from support.sandboxes import Sandbox, Start
from support.writing import outcomes, send, write
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
from tranship.connectors.errors import Refused
from tranship.connectors.providers.blackwalnut import SPEC, build_operations

pytestmark = pytest.mark.slow

KEY = {"BLACKWALNUT_API_KEY": "sk_live_1"}
HEADERS = {"Authorization": "Bearer sk_live_1", "Content-Type": "application/json"}
APP = "/apps/my-app"
SETTABLE = ("email", "name", "external_id", "metadata")

FULL: Record = {
    **{"email": "ap@nordlys.example", "name": "Nordlys AB", "external_id": "cus_1"},
    "metadata": {"tier": "pro", "canon": {"country": "SE", "net_terms": 45}},
}
OTHER: Record = {
    **{"email": "ap@sued.example", "name": "Südwind", "external_id": "cus_2"},
    "metadata": {"canon": {"country": "DE"}, "seats": [1, None]},
}


def customer(number: int, **fields: Any) -> dict[str, Any]:
    return {
        **{"email": f"c{number}@x.example", "name": f"Customer {number}", "external_id": f"cus_{number:05}"},
        **{"metadata": {"n": number, "canon": {"status": "active"}}, **fields},
    }


def create(row: int, wanted: Record) -> dict[str, Any]:
    given = {"external_id": wanted.get("external_id"), "email": wanted.get("email")}
    return {"row": row, "action": "create", "target": None, **given, "wanted": json.dumps(wanted), "found": None}


def update(row: int, found: Record, **changes: Any) -> dict[str, Any]:
    return _known(row, "update", found) | {"wanted": json.dumps({**found, **changes})}


def delete(row: int, found: Record) -> dict[str, Any]:
    return _known(row, "delete", found) | {"wanted": None}


def _known(row: int, action: str, found: Record) -> dict[str, Any]:
    known = {"external_id": found["external_id"], "email": found["email"], "found": json.dumps(found)}
    return {"row": row, "action": action, "target": found["id"], **known}


def asked(sandbox: Sandbox, send: Request) -> Reply:
    path = f"/api/v1{send.path}" + (f"?{urlencode(send.params)}" if send.params else "")
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


def carry(
    sandbox: Sandbox, folder: Path, *rows: dict[str, Any], key: Mapping[str, str] = KEY
) -> dict[int, tuple[str, str | None]]:
    """Carry out a plan; return row → outcome and reason."""
    address = parse_address(SPEC, f"blackwalnut://127.0.0.1:{sandbox.port}/my-app", key)
    write(folder, rows)
    operations = replace(build_operations(address), dependents=None)  # they count for an undo alone
    send(sandbox.url, folder, operations=operations, service=service(SPEC, address, key))
    return {row: (outcome, reason) for row, (_, outcome, reason) in outcomes(folder).items()}


@pytest.fixture
def operations() -> Operations:
    return build_operations(parse_address(SPEC, "blackwalnut://walnut.example/my-app", KEY))


# Looking up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("external_id", ["cus_1", "a+b&c=d/é ü?#%25", "名前"])
@pytest.mark.parametrize("email", ["ap@nordlys.example", "a+p&b=c/d#e@nordlys.example"])
def test_found_by_each_of_its_keys(sandbox: Start, operations: Operations, external_id: str, email: str) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, {"email": "x" + email, "external_id": external_id + "0"})
    one = made(there, operations, {**FULL, "email": email, "external_id": external_id})
    for lookup_key in ({"id": one}, {"external_id": external_id}, {"email": email}, {"email": email.upper()}):
        found = look(there, operations, **lookup_key)
        assert found is not None
        assert found["id"] == one
    for lookup_key in ({"id": "cus_none/../x"}, {"external_id": external_id[:-1] or "x"}, {"email": email[1:]}):
        assert look(there, operations, **lookup_key) is None


def test_an_external_id_that_two_have(sandbox: Start, operations: Operations) -> None:
    there = sandbox("blackwalnut", switches={"lenient": "on"})
    made(there, operations, FULL)
    made(there, operations, {**OTHER, "external_id": FULL["external_id"]})
    with pytest.raises(AmbiguousMatch):
        look(there, operations, external_id=FULL["external_id"])


def test_a_filter_that_is_not_obeyed_finds_nobody_else(sandbox: Start, operations: Operations) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, FULL)

    async def ask(send: Request) -> Reply:
        return asked(there, replace(send, params=[]))

    assert asyncio.run(operations.look_up(ask, LookupKey(external_id="another"))) is None


def test_an_app_is_an_account_of_its_own(sandbox: Start, operations: Operations) -> None:
    there = sandbox("blackwalnut")
    second = build_operations(parse_address(SPEC, "blackwalnut://walnut.example/second-app", KEY))
    one = made(there, second, FULL)
    assert look(there, operations, id=one) is None
    assert look(there, operations, external_id=FULL["external_id"]) is None
    assert look(there, operations, email=FULL["email"]) is None
    assert look(there, second, id=one) is not None


def test_an_app_that_is_not_there(sandbox: Start) -> None:
    none = build_operations(parse_address(SPEC, "blackwalnut://walnut.example/no-app", KEY))
    there = sandbox("blackwalnut")
    with pytest.raises(NotSearchable):
        look(there, none, external_id="x")
    assert none.failure(asked(there, none.create(FULL))).reason == "gone: not_found: App not found"


def test_somebody_else_who_has_the_e_mail_of_what_was_sent(sandbox: Start, operations: Operations) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, FULL)
    without = {"email": FULL["email"]}
    with pytest.raises(KeyUnavailable, match="taken: email"):
        look(there, operations, email=FULL["email"], record=without, possibly_applied=True)
    # It is not the customer that was sent, but it exists.
    assert look(there, operations, email=FULL["email"], record=without) is not None
    assert look(there, operations, email=FULL["email"], record=FULL, possibly_applied=True) is not None


# Creating and changing -------------------------------------------------------------------------------------------


def test_an_id_outside_the_envelope_is_an_error(operations: Operations) -> None:
    with pytest.raises((KeyError, TypeError)):
        operations.created_id({"id": "1"}, FULL)


@pytest.mark.parametrize("name", SETTABLE)
@pytest.mark.parametrize("replaces", [False, True])
def test_a_change_leads_to_what_is_wanted_whatever_a_put_does_to_the_rest(
    sandbox: Start, operations: Operations, name: str, replaces: bool
) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, FULL)
    wanted = {**FULL, name: OTHER[name]}
    [now] = there.state()
    [step] = operations.change(now, wanted)
    assert step.method == "PUT"
    if replaces:
        there.clear()
        there.add({"id": now["id"], "email": None, "name": None, "external_id": None, "metadata": {}})
    assert asked(there, step).ok
    [stands] = there.state()
    assert {field: stands[field] for field in SETTABLE} == wanted
    assert not operations.change(stands, wanted)


@pytest.mark.parametrize("name", [name for name in SETTABLE if name != "email"])
def test_what_is_not_wanted_any_more_is_taken_away(sandbox: Start, operations: Operations, name: str) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, FULL)
    wanted = {field: value for field, value in FULL.items() if field != name}
    [step] = operations.change(there.state()[0], wanted)
    assert step.body == {**wanted, name: {} if name == "metadata" else None}
    assert asked(there, step).ok
    [stands] = there.state()
    assert {field: stands[field] for field in SETTABLE if stands[field]} == wanted
    assert not operations.change(stands, wanted)


def test_a_null_in_metadata_is_something(sandbox: Start, operations: Operations) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, {"email": "a@x.example", "metadata": {"a": 1}})
    for metadata in ({"a": True}, {"a": True, "canon": {"city": None}}, {"a": None}, {"a": []}, {}):
        [step] = operations.change(there.state()[0], {"email": "a@x.example", "metadata": metadata})
        assert asked(there, step).ok
        assert there.state()[0]["metadata"] == metadata
        assert not operations.change(
            there.state()[0], {"email": "a@x.example", "metadata": dict(reversed(metadata.items()))}
        )


def test_an_id_is_encoded_in_a_path(operations: Operations) -> None:
    assert [step.path for step in operations.remove({"id": "a/b?c"})] == [f"{APP}/customers/a%2Fb%3Fc"]


def test_nothing_is_sent_of_a_field_that_is_on_neither_side(operations: Operations) -> None:
    now = {"id": "cus_1", "email": "a@x.example", "name": None, "external_id": None, "metadata": {}}
    [step] = operations.change(now, {"email": "b@x.example"})
    assert step.body == {"email": "b@x.example"}


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (Reply(422, {"email": ["has already been taken"]}), "taken", "taken: email"),
        (Reply(409, {"email": ["has already been taken"]}), "taken", "taken: email"),
        (Reply(422, {"external_id": "is not unique"}), "taken", "taken: external_id"),
        (Reply(409, None), "taken", "taken: email"),
        (Reply(422, {"email": ["is invalid"]}), "refused", "refused: validation_error: Email is invalid"),
        (
            Reply(422, {"email": ["is invalid"], "external_id": ["has already been taken"]}),
            *("refused", "refused: validation_error: Email is invalid"),
        ),
        (Reply(413, None), "refused", "refused: validation_error: Email is invalid"),
        (Reply(404, None), "gone", "gone: validation_error: Email is invalid"),
    ],
)
def test_what_an_error_means(operations: Operations, reply: Reply, kind: str, reason: str) -> None:
    error = {"code": "validation_error", "message": "Email is invalid", "details": reply.body}
    fault = operations.failure(Reply(reply.status, {"error": error}))
    assert (fault.kind, fault.reason) == (kind, reason)


@pytest.mark.parametrize("body", [None, [], {"error": "no"}, {"error": None}, {"message": "taken"}])
def test_an_error_of_another_form(operations: Operations, body: Any) -> None:
    assert operations.failure(Reply(422, body)).reason == "refused: answered 422"
    assert operations.failure(Reply(409, body)).reason == "taken"


# Plans -----------------------------------------------------------------------------------------------------------


def test_what_the_provider_will_not_have_spares_the_rest(
    sandbox: Start, operations: Operations, tmp_path: Path
) -> None:
    there = sandbox("blackwalnut")
    made(there, operations, customer(1))
    made(there, operations, customer(2))
    one, two = there.state()
    rows = [
        create(0, customer(10)),
        create(1, {**customer(11), "email": "nonsense"}),
        create(2, {**customer(12), "email": "C2@x.example"}),
        create(3, {**customer(13), "metadata": {"long": "x" * 70_000}}),
        update(4, one, email=two["email"]),
        update(5, one, external_id=two["external_id"]),
        update(6, two, name="ours"),
    ]
    assert carry(there, tmp_path, *rows) == {
        0: ("done", None),
        1: ("refused", "refused (422): validation_error: Email is invalid"),
        2: ("refused", "taken: email"),
        3: ("refused", "refused (422): validation_error: Metadata is too large"),
        4: ("refused", "taken: email"),
        5: ("refused", "taken: external_id"),
        6: ("done", None),
    }
    assert [(record["external_id"], record["name"]) for record in there.state()] == [
        *(("cus_00001", "Customer 1"), ("cus_00002", "ours"), ("cus_00010", "Customer 10"))
    ]


def test_customers_changed_since_the_plan_are_not_written(
    sandbox: Start, operations: Operations, tmp_path: Path
) -> None:
    there = sandbox("blackwalnut")
    for number in range(4):
        made(there, operations, customer(number))
    zero, one, two, three = there.state()
    rows = [
        update(0, zero, name="ours"),
        update(1, one, name="ours"),
        delete(2, two),
        delete(3, three),
        create(4, customer(10)),
        create(5, {"email": "c11@x.example"}),
        create(6, customer(12)),
    ]
    made(there, operations, customer(10, email="else@x.example"))
    made(there, operations, customer(11))
    made(there, operations, customer(12, external_id=None))
    asked(there, Request("PUT", f"{APP}/customers/{zero['id']}", "", {"metadata": {"n": 0}}))
    asked(there, Request("DELETE", f"{APP}/customers/{one['id']}", ""))
    asked(there, Request("PUT", f"{APP}/customers/{two['id']}", "", {"name": "theirs"}))
    asked(there, Request("DELETE", f"{APP}/customers/{three['id']}", ""))
    before = there.state()
    assert carry(there, tmp_path, *rows) == {
        0: ("stale", "changed: metadata"),
        1: ("stale", "gone"),
        2: ("stale", "changed: name"),
        3: ("stale", "gone"),
        4: ("stale", "created"),
        5: ("stale", "created"),
        6: ("refused", "taken: email"),
    }
    assert there.state() == before


def test_a_key_that_only_reads_ends_it(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("blackwalnut")
    with pytest.raises(Refused, match="set BLACKWALNUT_API_KEY to a secret one"):
        carry(there, tmp_path, create(0, FULL), key={"BLACKWALNUT_API_KEY": "pk_live_1"})
    assert outcomes(tmp_path)[0][1] == "left"
    assert carry(there, tmp_path, create(0, FULL)) == {0: ("done", None)}


def test_made_once_though_the_answer_is_lost_and_its_external_id_is_odd(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("blackwalnut", weather={"cut_after": 0.6, "methods": ["POST"]})
    rows = [
        create(number, {"email": f"a+{number}%41&b=c@x.example", "external_id": f"a+b&c=d/é ü?#%25 {number}"})
        for number in range(20)
    ]
    assert set(carry(there, tmp_path, *rows).values()) == {("done", None)}
    assert sorted(record["email"] for record in there.state()) == sorted(row["email"] for row in rows)


def test_a_delete_takes_the_licences_with_it(sandbox: Start, operations: Operations, tmp_path: Path) -> None:
    there = sandbox("blackwalnut")
    one = made(there, operations, FULL)
    given = {"installation_id": "i", "customer_id": one, "tier_id": "t", "forever": True}
    asked(there, Request("POST", f"{APP}/licenses", "", given))
    assert len(there.state("licenses")) == 1
    assert carry(there, tmp_path, delete(0, there.state()[0])) == {0: ("done", None)}
    assert there.state("licenses") == []
    assert "licences" in SPEC.removal_is_final
