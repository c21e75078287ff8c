"""BlackWalnut's sandbox: the examples of its documentation to the letter, and every rule."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.sandboxes import Reply, Sandbox, Start
from tranship.connectors.sandbox.blackwalnut import APPS

KEY = {"Authorization": "Bearer sk_live_1", "Content-Type": "application/json"}
NORDLYS = {
    "email": "ap@nordlys.example",
    "name": "Nordlys AB",
    "external_id": "cus_000000042",
    "metadata": {"tier": "pro", "canon": {"country": "SE", "net_terms": 45}},
}


@pytest.fixture
def walnut(sandbox: Start) -> Sandbox:
    return sandbox("blackwalnut")


def call(walnut: Sandbox, method: str, path: str, body: Any = None, app: str = "my-app") -> Reply:
    return walnut.call(method, f"/api/v1/apps/{app}{path}", body, KEY)


def created(walnut: Sandbox, email: str = "a@b.example", **body: Any) -> dict[str, Any]:
    reply = call(walnut, "POST", "/customers", {"email": email, **body})
    assert reply.status == 201
    return reply.json["data"]


def error(status: int, code: str, message: str, **details: list[str]) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": message, "details": details}}


def seen(reply: Reply) -> tuple[int, Any]:
    return reply.status, reply.json


NOT_FOUND = error(404, "not_found", "Customer not found")
TAKEN = error(422, "validation_error", "Email has already been taken", email=["has already been taken"])


def test_the_example_of_a_creation(walnut: Sandbox) -> None:
    reply = call(walnut, "POST", "/customers", NORDLYS)
    made = reply.json["data"]
    assert (reply.status, list(reply.json)) == (201, ["data"])
    assert list(made) == ["id", "email", "name", "external_id", "metadata", "created_at"]
    assert {name: made[name] for name in NORDLYS} == NORDLYS
    assert re.fullmatch(r"cus_[0-9a-z]+", made["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["created_at"])


def test_the_example_of_an_error(walnut: Sandbox) -> None:
    wrong = error(422, "validation_error", "Email is invalid", email=["is invalid"])
    assert seen(call(walnut, "POST", "/customers", {"email": "nobody"})) == wrong


def test_an_email_is_enough(walnut: Sandbox) -> None:
    made = created(walnut)
    assert (made["name"], made["external_id"], made["metadata"]) == (None, None, {})


def test_id_and_creation_are_made_by_the_server(walnut: Sandbox) -> None:
    made = created(walnut, id="cus_mine", created_at="2001-01-01T00:00:00Z", other=1)
    assert made["id"] != "cus_mine"
    assert made["created_at"] > "2020"
    assert "other" not in made


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, {"email": ["can't be blank"]}),
        ({"email": None}, {"email": ["can't be blank"]}),
        ({"email": ""}, {"email": ["can't be blank"]}),
        ({"email": 5}, {"email": ["is invalid"]}),
        ({"email": "a b@c.example", "name": 1}, {"email": ["is invalid"], "name": ["is invalid"]}),
        ({"email": "a@b.example", "external_id": 1}, {"external_id": ["is invalid"]}),
        ({"email": "a@b.example", "metadata": [1]}, {"metadata": ["is invalid"]}),
        ({"email": "a@b.example", "metadata": {"x": "y" * (64 << 10)}}, {"metadata": ["is too large"]}),
    ],
)
def test_a_wrong_body_is_a_422_that_names_every_fault(walnut: Sandbox, body: Any, details: Any) -> None:
    for path in ("/customers", "/customers/get-or-create"):
        reply = call(walnut, "POST", path, body)
        assert (reply.status, reply.json["error"]["code"]) == (422, "validation_error")
        assert reply.json["error"]["details"] == details
    assert walnut.counts()["customers"] == 0
    if body:
        made = created(walnut, "other@b.example")
        assert call(walnut, "PUT", f"/customers/{made['id']}", body).json["error"]["details"] == details
        assert walnut.state() == [made]


def test_metadata_of_64_kb_is_kept(walnut: Sandbox) -> None:
    metadata = {"x": "y" * ((64 << 10) - len('{"x":""}'))}
    assert created(walnut, metadata=metadata)["metadata"] == metadata


@pytest.mark.parametrize("body", [b"", b"{", b"[1]"])
def test_what_is_no_json_object_is_a_400(walnut: Sandbox, body: bytes) -> None:
    reply = call(walnut, "POST", "/customers", body)
    assert (reply.status, reply.json["error"]["code"]) == (400, "bad_request")


def test_an_email_is_unique_in_its_app_in_any_case_and_kept_as_sent(walnut: Sandbox) -> None:
    assert created(walnut, "Ap@Nordlys.example")["email"] == "Ap@Nordlys.example"
    assert seen(call(walnut, "POST", "/customers", {"email": "ap@nordlys.EXAMPLE"})) == TAKEN
    other = created(walnut, "other@nordlys.example")
    assert seen(call(walnut, "PUT", f"/customers/{other['id']}", {"email": "ap@nordlys.example"})) == TAKEN
    reply = call(walnut, "POST", "/customers", {"email": "ap@nordlys.example"}, app="second-app")
    assert reply.status == 201
    assert walnut.counts()["customers"] == 2


def test_an_external_id_is_unique(walnut: Sandbox) -> None:
    taken = error(422, "validation_error", "External id has already been taken", external_id=["has already been taken"])
    made = created(walnut, external_id="x")
    assert seen(call(walnut, "POST", "/customers", {"email": "c@b.example", "external_id": "x"})) == taken
    assert call(walnut, "PUT", f"/customers/{made['id']}", {"external_id": "x"}).status == 200
    call(walnut, "DELETE", f"/customers/{made['id']}")
    created(walnut, external_id="x")


def test_lenient_lets_several_have_one_external_id(sandbox: Start) -> None:
    walnut = sandbox("blackwalnut", switches={"lenient": "on"})
    made = [created(walnut, f"{name}@b.example", external_id="x") for name in "abc"]
    assert call(walnut, "GET", "/customers?external_id=x").json["data"] == made
    assert call(walnut, "GET", "/customers/by-external-id?external_id=x").json["data"] == made[0]
    assert seen(call(walnut, "POST", "/customers", {"email": "a@b.example"})) == TAKEN


def test_get_or_create(walnut: Sandbox) -> None:
    reply = call(walnut, "POST", "/customers/get-or-create", NORDLYS)
    made = reply.json["data"]
    assert (reply.status, made["name"]) == (201, "Nordlys AB")
    again = {"email": "AP@nordlys.example", "name": "changed", "external_id": "new", "metadata": {}}
    assert seen(call(walnut, "POST", "/customers/get-or-create", again)) == (200, {"data": made})
    assert walnut.state() == [made]


def test_get_or_create_does_not_look_at_the_external_id(walnut: Sandbox) -> None:
    created(walnut, external_id="x")
    reply = call(walnut, "POST", "/customers/get-or-create", {"email": "new@b.example", "external_id": "x"})
    assert (reply.status, reply.json["error"]["details"]) == (422, {"external_id": ["has already been taken"]})


def test_looking_up(walnut: Sandbox) -> None:
    made = created(walnut, "ap+1@nordlys.example", external_id="a/b c")
    created(walnut, "ap@nordlys.example")
    for path in (
        f"/customers/{made['id']}",
        "/customers/by-email?email=ap%2B1@nordlys.example",
        "/customers/by-email?email=AP%2B1@nordlys.example",
        "/customers/by-external-id?external_id=a%2Fb%20c",
    ):
        assert seen(call(walnut, "GET", path)) == (200, {"data": made})
    for path in (
        "/customers/cus_nobody",
        "/customers/by-email?email=nordlys.example",
        "/customers/by-email?email=ap+1@nordlys.example",  # a plus that is not encoded is a space
        "/customers/by-external-id?external_id=a",
        "/customers/by-external-id?external_id=A%2FB%20C",
    ):
        assert seen(call(walnut, "GET", path)) == NOT_FOUND


@pytest.mark.parametrize(("path", "name"), [("by-email", "email"), ("by-external-id", "external_id")])
def test_looking_up_nothing(walnut: Sandbox, path: str, name: str) -> None:
    reply = call(walnut, "GET", f"/customers/{path}")
    assert (reply.status, reply.json["error"]["details"]) == (422, {name: ["can't be blank"]})


def test_an_update_changes_what_is_sent_and_replaces_metadata(walnut: Sandbox) -> None:
    made = created(walnut, **{**NORDLYS, "email": "a@b.example"})
    reply = call(walnut, "PUT", f"/customers/{made['id']}", {"metadata": {"new": 1}, "id": "x", "other": 1})
    assert seen(reply) == (200, {"data": {**made, "metadata": {"new": 1}}})
    reply = call(walnut, "PUT", f"/customers/{made['id']}", {"name": None, "external_id": None, "email": "c@d.example"})
    changed = {**made, "metadata": {"new": 1}, "name": None, "external_id": None, "email": "c@d.example"}
    assert reply.json["data"] == changed
    assert walnut.state() == [changed]
    assert seen(call(walnut, "GET", "/customers/by-email?email=a@b.example")) == NOT_FOUND
    assert seen(call(walnut, "PUT", "/customers/cus_nobody", {})) == NOT_FOUND


def test_a_delete_takes_the_licences_with_it(walnut: Sandbox) -> None:
    made, other = created(walnut), created(walnut, "other@b.example")
    licence = {"installation_id": "i", "tier_id": "t"}
    for customer, terms in [
        (made, {"forever": True}),
        (made, {"duration_days": 30}),
        (other, {"expires_at": "2030-01-01"}),
    ]:
        reply = call(walnut, "POST", "/licenses", {**licence, **terms, "customer_id": customer["id"]})
        assert (reply.status, reply.json["data"]["customer_id"]) == (201, customer["id"])
    assert walnut.counts()["licenses"] == 3
    reply = call(walnut, "DELETE", f"/customers/{made['id']}")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (204, b"", None)
    assert [one["customer_id"] for one in walnut.state("licenses")] == [other["id"]]
    assert seen(call(walnut, "GET", f"/customers/{made['id']}")) == NOT_FOUND
    assert seen(call(walnut, "DELETE", f"/customers/{made['id']}")) == NOT_FOUND


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"installation_id", "customer_id", "tier_id", "expires_at"}),
        ({"customer_id": "cus_nobody", "installation_id": "i", "tier_id": "t", "forever": True}, {"customer_id"}),
        ({"installation_id": "i", "tier_id": "t", "forever": True, "duration_days": 3}, {"customer_id", "expires_at"}),
    ],
)
def test_a_licence_needs_its_fields_and_one_term(walnut: Sandbox, body: Any, wrong: set[str]) -> None:
    reply = call(walnut, "POST", "/licenses", body)
    assert (reply.status, set(reply.json["error"]["details"])) == (422, wrong)


# Lists


def test_a_list_in_the_order_of_creation(walnut: Sandbox) -> None:
    made = [created(walnut, f"{number}@b.example") for number in range(45)]
    meta = {"total": 45, "page": 1, "per_page": 20}
    assert seen(call(walnut, "GET", "/customers")) == (200, {"data": made[:20], "meta": meta})
    last = call(walnut, "GET", "/customers?page=3").json
    assert (last["data"], last["meta"]) == (made[40:], {**meta, "page": 3})
    assert call(walnut, "GET", "/customers?page=4").json["data"] == []
    assert call(walnut, "GET", "/customers?per_page=10&page=2").json["data"] == made[10:20]


def test_an_empty_list(walnut: Sandbox) -> None:
    assert call(walnut, "GET", "/customers").json == {"data": [], "meta": {"total": 0, "page": 1, "per_page": 20}}


@pytest.mark.parametrize(
    ("query", "page", "size"),
    [
        ("per_page=101", 1, 100),
        ("per_page=0", 1, 20),
        ("per_page=ten", 1, 20),
        ("per_page=-5&page=0", 1, 20),
        ("page=x", 1, 20),
    ],
)
def test_a_page_size_out_of_range_is_bent(walnut: Sandbox, query: str, page: int, size: int) -> None:
    meta = call(walnut, "GET", f"/customers?{query}").json["meta"]
    assert (meta["page"], meta["per_page"]) == (page, size)


def test_filters(walnut: Sandbox) -> None:
    created(walnut, "Ap@Nordlys.example", external_id="x")
    created(walnut, "cfo@nordlys.example", external_id="xx")
    created(walnut, "ap@other.example")

    def found(query: str) -> list[str]:
        reply = call(walnut, "GET", f"/customers?{query}").json
        assert reply["meta"]["total"] == len(reply["data"])
        return [one["email"] for one in reply["data"]]

    assert found("email=NORDLYS") == ["Ap@Nordlys.example", "cfo@nordlys.example"]
    assert found("email=ap%40") == ["Ap@Nordlys.example", "ap@other.example"]
    assert found("external_id=x") == ["Ap@Nordlys.example"]
    assert found("external_id=x&email=cfo") == []
    assert found("external_id=X") == []


# Keys, apps


def test_health_needs_no_key(walnut: Sandbox) -> None:
    assert walnut.call("GET", "/api/health").status == 200


@pytest.mark.parametrize(
    "header", ["", "sk_live_1", "Bearer ", "Bearer xx_1", "Bearer SK_1", "Basic sk_live_1", "Bearer sk_"]
)
def test_no_key_or_not_one_of_theirs(walnut: Sandbox, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    reply = walnut.call("GET", "/api/v1/apps/my-app/customers", headers=headers)
    assert seen(reply) == error(401, "unauthorized", "Invalid or missing API key")
    headers["x-api-key"] = "sk_live_1"
    assert walnut.call("POST", "/api/v1/apps/my-app/customers", NORDLYS, headers).status == 401


def test_a_public_key_reads_and_does_not_write(walnut: Sandbox) -> None:
    made = created(walnut)
    public = {"Authorization": "Bearer pk_live_1"}
    base = "/api/v1/apps/my-app/customers"
    for path in (base, f"{base}/{made['id']}", f"{base}/by-email?email=a@b.example"):
        assert walnut.call("GET", path, headers=public).status == 200
    for method, path in [
        ("POST", base),
        ("POST", f"{base}/get-or-create"),
        ("PUT", f"{base}/{made['id']}"),
        ("DELETE", f"{base}/{made['id']}"),
        ("POST", "/api/v1/apps/my-app/licenses"),
    ]:
        reply = walnut.call(method, path, {"email": "a@b.example", "name": "changed"}, public)
        assert (reply.status, reply.json["error"]["code"]) == (403, "forbidden")
        assert "sk_" in reply.json["error"]["message"]
    assert walnut.state() == [made]


def test_apps_are_apart_and_an_unknown_one_is_a_404(walnut: Sandbox) -> None:
    made = created(walnut)
    assert APPS == ("my-app", "second-app")
    assert call(walnut, "GET", "/customers", app="second-app").json["data"] == []
    assert call(walnut, "GET", f"/customers/{made['id']}", app="second-app").status == 404
    unknown = error(404, "not_found", "App not found")
    assert seen(call(walnut, "GET", "/customers", app="nothing")) == unknown
    assert seen(call(walnut, "POST", "/customers", NORDLYS, app="nothing")) == unknown


def test_paths_and_verbs_that_do_not_exist(walnut: Sandbox) -> None:
    assert call(walnut, "GET", "/nothing").json["error"]["code"] == "not_found"
    reply = call(walnut, "PATCH", "/customers/cus_1", {})
    assert (reply.status, reply.json["error"]["code"]) == (405, "method_not_allowed")


def test_a_429_is_in_the_shape_of_errors_and_says_when(walnut: Sandbox) -> None:
    walnut.weather(rate={"GET": 1}, window=30)
    call(walnut, "GET", "/customers")
    reply = call(walnut, "GET", "/customers")
    assert seen(reply) == error(429, "rate_limited", "Too many requests")
    assert 28 <= int(reply.headers["Retry-After"]) <= 30
