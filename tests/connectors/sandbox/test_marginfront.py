"""MarginFront's sandbox: the examples of its documentation to the letter, and every rule."""

from __future__ import annotations

from typing import Any

import pytest

from support.sandboxes import Reply, Sandbox, Start
from tranship.connectors.sandbox.contract import UUID

KEY = {"x-api-key": "mf_sk_test_1", "Content-Type": "application/json"}
NOBODY = "3f0c2f7e-9d1b-4a36-8d0e-0c7b1a52e9aa"
NORDLYS = {
    "name": "Nordlys AB",
    "externalId": "cus_000000042",
    "email": "ap@nordlys.example",
    "country": "SE",
    "timezone": "Europe/Stockholm",
    "netTerms": 45,
    "invoiceEmailRecipients": ["cfo@nordlys.example"],
    "metadata": {"tier": "pro"},
}


@pytest.fixture
def front(sandbox: Start) -> Sandbox:
    return sandbox("marginfront")


def call(front: Sandbox, method: str, path: str, body: Any = None) -> Reply:
    return front.call(method, f"/v1{path}", body, KEY)


def created(front: Sandbox, **body: Any) -> dict[str, Any]:
    reply = call(front, "POST", "/customers", {"name": "N", **body})
    assert reply.status == 201
    return reply.json


def error(status: int, message: str | list[str], name: str) -> tuple[int, dict[str, Any]]:
    return status, {"statusCode": status, "message": message, "error": name}


def seen(reply: Reply) -> tuple[int, dict[str, Any]]:
    return reply.status, reply.json


def test_the_example_of_a_creation(front: Sandbox) -> None:
    reply = call(front, "POST", "/customers", NORDLYS)
    assert reply.status == 201
    assert reply.headers["Content-Type"].startswith("application/json")
    made = reply.json
    assert list(made) == [
        *("id", "externalId", "name", "email", "phone", "addressLine1", "addressLine2", "city", "state", "zipCode"),
        *("country", "timezone", "status", "billingContactName", "billingContactEmail", "netTerms"),
        *("invoiceEmailRecipients", "metadata", "createdAt", "updatedAt"),
    ]
    assert UUID.fullmatch(made["id"])
    assert made["createdAt"] == made["updatedAt"]
    assert len(made["createdAt"]) == len("2026-11-21T09:00:00.000Z")
    assert made["createdAt"].endswith("Z")
    absent = dict.fromkeys(
        (
            "phone",
            "addressLine1",
            "addressLine2",
            "city",
            "state",
            "zipCode",
            "billingContactName",
            "billingContactEmail",
        )
    )
    given = {name: made[name] for name in made if name not in ("id", "createdAt", "updatedAt")}
    assert given == {**NORDLYS, **absent, "status": "active"}


def test_a_bare_name_gets_the_defaults(front: Sandbox) -> None:
    made = created(front)
    assert (made["timezone"], made["netTerms"], made["status"]) == ("UTC", 30, "active")
    assert all(made[name] is None for name in ("externalId", "email", "metadata", "invoiceEmailRecipients"))
    assert created(front, timezone=None, netTerms=None, status=None, externalId=None)["timezone"] == "UTC"


def test_id_and_times_are_made_by_the_server(front: Sandbox) -> None:
    made = created(front, id=NOBODY, createdAt="2001-01-01T00:00:00.000Z", updatedAt="x", subscriptions=[1], other=1)
    assert made["id"] != NOBODY
    assert made["createdAt"] > "2020"
    assert "other" not in made
    assert "subscriptions" not in made


@pytest.mark.parametrize("metadata", [{}, {"a": {"b": [1, 2.5, None, {"c": "ü"}]}, "n": 12345678901234567890}])
def test_metadata_is_returned_untouched(front: Sandbox, metadata: dict[str, Any]) -> None:
    made = created(front, metadata=metadata)
    assert made["metadata"] == metadata
    assert call(front, "GET", f"/customers/{made['id']}").json["metadata"] == metadata


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ({}, ["name should not be empty"]),
        ({"name": ""}, ["name should not be empty"]),
        ({"name": None}, ["name should not be empty"]),
        ({"name": "", "email": "nobody"}, ["name should not be empty", "email must be an email"]),
        ({"name": 5}, ["name must be a string"]),
        ({"name": "N", "email": ""}, ["email must be an email"]),
        ({"name": "N", "billingContactEmail": "a b@c.d"}, ["billingContactEmail must be an email"]),
        ({"name": "N", "status": "trial"}, ["status must be one of the following values: active, inactive, suspended"]),
        ({"name": "N", "status": 1}, ["status must be one of the following values: active, inactive, suspended"]),
        ({"name": "N", "netTerms": "30"}, ["netTerms must be a number"]),
        ({"name": "N", "netTerms": True}, ["netTerms must be a number"]),
        ({"name": "N", "invoiceEmailRecipients": "a@b.example"}, ["invoiceEmailRecipients must be an array"]),
        ({"name": "N", "invoiceEmailRecipients": [1]}, ["each value in invoiceEmailRecipients must be a string"]),
        ({"name": "N", "metadata": []}, ["metadata must be an object"]),
        ({"name": "N", "externalId": 7}, ["externalId must be a string"]),
    ],
)
def test_a_wrong_body_is_a_400_that_names_every_fault(front: Sandbox, body: Any, messages: list[str]) -> None:
    assert seen(call(front, "POST", "/customers", body)) == error(400, messages, "Bad Request")
    assert front.counts()["customers"] == 0
    if body:
        made = created(front)
        assert seen(call(front, "PATCH", f"/customers/{made['id']}", body)) == error(400, messages, "Bad Request")
        assert front.state() == [made]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff", b'{"name":"\\ud800"}'])
def test_what_is_no_json_object_is_a_400(front: Sandbox, body: bytes) -> None:
    reply = call(front, "POST", "/customers", body)
    assert (reply.status, reply.json["error"]) == (400, "Bad Request")


@pytest.mark.parametrize("status", ["active", "inactive", "suspended"])
def test_each_status_is_taken(front: Sandbox, status: str) -> None:
    assert created(front, status=status)["status"] == status


def test_an_external_id_is_unique(front: Sandbox) -> None:
    one, other = created(front, externalId="x"), created(front, externalId="y")
    conflict = error(409, "Customer with this externalId already exists", "Conflict")
    assert seen(call(front, "POST", "/customers", {"name": "N", "externalId": "x"})) == conflict
    assert seen(call(front, "PATCH", f"/customers/{other['id']}", {"externalId": "x"})) == conflict
    assert call(front, "PATCH", f"/customers/{one['id']}", {"externalId": "x"}).status == 200
    assert call(front, "PATCH", f"/customers/{one['id']}", {"externalId": "z"}).json["externalId"] == "z"
    assert call(front, "PATCH", f"/customers/{other['id']}", {"externalId": "x"}).status == 200
    call(front, "DELETE", f"/customers/{one['id']}")
    created(front, externalId="z")


def test_an_external_id_is_compared_as_it_stands(front: Sandbox) -> None:
    created(front, externalId="x")
    created(front, externalId="X")


def test_emails_are_not_unique(front: Sandbox) -> None:
    created(front, email="a@b.example")
    created(front, email="a@b.example")


def test_a_customer_is_read_with_its_subscriptions(front: Sandbox) -> None:
    made = created(front)
    assert seen(call(front, "GET", f"/customers/{made['id']}")) == (200, {**made, "subscriptions": []})
    assert call(front, "GET", f"/customers/{made['id'].upper()}").status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_nobody_and_no_uuid(front: Sandbox, method: str) -> None:
    created(front, externalId="ext")
    body = None if method in ("GET", "DELETE") else {}
    assert seen(call(front, method, f"/customers/{NOBODY}", body)) == error(404, "Customer not found", "Not Found")
    for path in ("ext", "42", f"{NOBODY}0", "a%2Fb"):
        wrong = seen(call(front, method, f"/customers/{path}", body))
        assert wrong == error(400, "Validation failed (uuid is expected)", "Bad Request")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_update_changes_what_is_sent(front: Sandbox, method: str) -> None:
    made = created(front, **NORDLYS)
    reply = call(
        front, method, f"/customers/{made['id']}", {"city": "Umeå", "id": NOBODY, "createdAt": "x", "other": 1}
    )
    changed = reply.json
    assert reply.status == 200
    assert changed == {**made, "city": "Umeå", "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] >= made["updatedAt"]
    assert front.state() == [changed]


def test_null_brings_a_field_back_to_its_beginning(front: Sandbox) -> None:
    made = created(front, **NORDLYS)
    nothing = {"email": None, "externalId": None, "metadata": None, "netTerms": None, "timezone": None, "status": None}
    changed = call(front, "PATCH", f"/customers/{made['id']}", nothing).json
    assert {name: changed[name] for name in nothing} == {
        **nothing,
        "netTerms": 30,
        "timezone": "UTC",
        "status": "active",
    }


def test_metadata_is_replaced_as_a_whole(front: Sandbox) -> None:
    made = created(front, metadata={"a": 1, "b": 2})
    changed = call(front, "PATCH", f"/customers/{made['id']}", {"metadata": {"c": 3}}).json
    assert changed["metadata"] == {"c": 3}


def test_a_deleted_customer_is_answered_and_gone(front: Sandbox) -> None:
    made = created(front)
    assert seen(call(front, "DELETE", f"/customers/{made['id']}")) == (200, made)
    assert call(front, "GET", f"/customers/{made['id']}").status == 404
    assert call(front, "DELETE", f"/customers/{made['id']}").status == 404
    assert front.counts()["customers"] == 0


def test_an_agent_code_subscribes_and_a_subscribed_customer_stays(front: Sandbox) -> None:
    made = created(front, agentCode="agent-7")
    assert "agentCode" not in made
    subscriptions = call(front, "GET", f"/customers/{made['id']}").json["subscriptions"]
    assert [(one["customerId"], one["agentCode"], one["status"]) for one in subscriptions] == [
        (made["id"], "agent-7", "active")
    ]
    refused = error(409, "Customer has active subscriptions", "Conflict")
    assert seen(call(front, "DELETE", f"/customers/{made['id']}")) == refused
    assert front.counts()["subscriptions"] == 1


# Lists


def test_a_list_in_the_order_of_creation(front: Sandbox) -> None:
    made = [created(front, externalId=str(number)) for number in range(45)]
    reply = call(front, "GET", "/customers")
    assert seen(reply) == (200, {"data": made[:20], "totalResults": 45, "hasMore": True, "page": 1, "limit": 20})
    last = call(front, "GET", "/customers?page=3").json
    assert (last["data"], last["hasMore"], last["page"]) == (made[40:], False, 3)
    assert call(front, "GET", "/customers?page=4").json["data"] == []
    full = call(front, "GET", "/customers?page=3&limit=15").json
    assert (full["data"], full["hasMore"]) == (made[30:], False)
    assert len(call(front, "GET", "/customers?limit=100").json["data"]) == 45


def test_an_empty_list(front: Sandbox) -> None:
    empty = {"data": [], "totalResults": 0, "hasMore": False, "page": 1, "limit": 20}
    assert seen(call(front, "GET", "/customers")) == (200, empty)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=101", "limit must not be greater than 100"),
        ("limit=0", "limit must not be less than 1"),
        ("limit=-1", "limit must not be less than 1"),
        ("limit=ten", "limit must not be less than 1"),
        ("page=0", "page must not be less than 1"),
        ("page=1.5", "page must not be less than 1"),
    ],
)
def test_pages_out_of_range(front: Sandbox, query: str, message: str) -> None:
    assert seen(call(front, "GET", f"/customers?{query}")) == error(400, message, "Bad Request")


def test_search_is_a_part_of_name_or_external_id_in_any_case(front: Sandbox) -> None:
    created(front, name="Nordlys AB", externalId="cus_1", email="bergen@x.example")
    created(front, name="Bergen Fisk", externalId="NORD-2")
    created(front, name="Other", externalId="cus_11")
    for needle, found in {
        "nord": ["cus_1", "NORD-2"],
        "cus_1": ["cus_1", "cus_11"],
        "BERGEN": ["NORD-2"],
        "%C3%B6": [],
        "": ["cus_1", "NORD-2", "cus_11"],
    }.items():
        reply = call(front, "GET", f"/customers?search={needle}&limit=100").json
        assert [one["externalId"] for one in reply["data"]] == found
        assert reply["totalResults"] == len(found)


def test_a_search_has_pages(front: Sandbox) -> None:
    for number in range(30):
        created(front, name=f"{'odd' if number % 2 else 'even'} {number}")
    reply = call(front, "GET", "/customers?search=odd&limit=10&page=2").json
    assert [one["name"] for one in reply["data"]] == [f"odd {number}" for number in range(21, 30, 2)]
    assert (reply["totalResults"], reply["hasMore"]) == (15, False)


def test_a_bare_list_by_switch(sandbox: Start) -> None:
    front = sandbox("marginfront", switches={"list": "bare"})
    made = created(front)
    assert call(front, "GET", "/customers").json == [made]


def test_long_text_is_kept_or_refused_by_switch(sandbox: Start, front: Sandbox) -> None:
    assert created(front, city="x" * 300)["city"] == "x" * 300
    strict = sandbox("marginfront", switches={"long": "refused"})
    reply = call(strict, "POST", "/customers", {"name": "x" * 255, "city": "x" * 256})
    assert reply.json["message"] == ["city must be shorter than or equal to 255 characters"]
    created(strict, name="x" * 255)


# Keys


def test_a_key_is_verified(front: Sandbox) -> None:
    for key in ("mf_sk_test_1", "mf_pk_live_1"):
        reply = front.call("GET", "/v1/verify", headers={"x-api-key": key})
        assert (reply.status, reply.json["verified"]) == (200, True)
        assert reply.json["organization"].keys() == {"id", "name"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "sk_test_1"},
        {"x-api-key": "mf_sk_"},
        {"x-api-key": "mf_xk_1"},
        {"Authorization": "Bearer mf_sk_test_1"},
    ],
)
def test_no_key_or_not_one_of_ours(front: Sandbox, headers: dict[str, str]) -> None:
    assert seen(front.call("GET", "/v1/customers", headers=headers)) == error(401, "Invalid API key", "Unauthorized")
    assert front.call("GET", "/v1/verify", headers=headers).status == 401
    assert front.call("POST", "/v1/customers", {"name": "N"}, headers).status == 401
    assert front.counts()["customers"] == 0


def test_a_publishable_key_neither_reads_nor_writes_customers(front: Sandbox) -> None:
    made = created(front)
    one = f"/v1/customers/{made['id']}"
    for method, path in [
        ("GET", "/v1/customers"),
        ("GET", one),
        ("POST", "/v1/customers"),
        ("PATCH", one),
        ("PUT", one),
        ("DELETE", one),
    ]:
        body = {"name": "changed"} if method in ("POST", "PATCH", "PUT") else None
        reply = front.call(method, path, body, {"x-api-key": "mf_pk_test_1"})
        assert (reply.status, reply.json["error"], reply.json["statusCode"]) == (403, "Forbidden", 403)
    assert front.state() == [made]


def test_paths_and_verbs_that_do_not_exist(front: Sandbox) -> None:
    assert seen(call(front, "GET", "/nothing"))[0] == 404
    assert call(front, "GET", "/nothing").json["error"] == "Not Found"
    reply = call(front, "POST", f"/customers/{NOBODY}", {})
    assert (reply.status, reply.json["error"]) == (405, "Method Not Allowed")
    assert front.call("GET", "/customers", headers=KEY).status == 404


def test_a_429_is_in_the_shape_of_errors_and_says_when(front: Sandbox) -> None:
    front.weather(rate={"GET": 1}, window=30)
    call(front, "GET", "/customers")
    reply = call(front, "GET", "/customers")
    assert seen(reply) == error(429, "Too many requests", "Too Many Requests")
    assert 28 <= int(reply.headers["Retry-After"]) <= 30
