"""GrowPanel's sandbox by plain HTTP: requests that its own client cannot send, responses that it hides, and the older
dialect."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tranship.connectors.sandbox.server import running

ADMIN = {"Authorization": "Bearer gp_admin_1"}
SEED_ROW = {
    "id": "cus_456",
    "name": "Beta LLC",
    "email": "ap@beta.example",
    "country": "US",
    "currency": "USD",
    "status": "active",
    "trial_started": "2025-10-01T00:00:00Z",
    "paid_started": "2025-10-15T00:00:00Z",
    "cancel_date": None,
}
ROW = {**SEED_ROW, "created_date": "2025-10-01", "data_source": "ds_main"}


class Api:
    """The sandbox, called as an admin unless other headers are given; answers are status and JSON (null: no body)."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = ADMIN) -> tuple[int, Any]:
        said = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        answer = self.client.request(method, path, headers=dict(headers), **said)
        return answer.status_code, answer.json() if answer.content else None

    def get(self, path: str, headers: Mapping[str, str] = ADMIN) -> tuple[int, Any]:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self.call("POST", path, body)

    def clear(self) -> None:
        self.call("DELETE", "/_sandbox/state")


@pytest.fixture(scope="module")
def started() -> Iterator[Api]:
    with running("growpanel") as (url, _), httpx.Client(base_url=url, headers={"X-Tranship-Sandbox": "1"}) as client:
        yield Api(client)


@pytest.fixture
def api(started: Api) -> Api:
    started.clear()
    return started


@pytest.fixture(scope="module")
def started_older() -> Iterator[Api]:
    with (
        running("growpanel", switches={"dialect": "docs"}) as (url, _),
        httpx.Client(base_url=url, headers={"X-Tranship-Sandbox": "1"}) as client,
    ):
        yield Api(client)


@pytest.fixture
def older(started_older: Api) -> Api:
    started_older.clear()
    return started_older


# Requests that are wrong -----------------------------------------------------------------------------------------


def test_errors_carry_both_dialects_keys(api: Api) -> None:
    for path in ("/data/customers", "/customers", "/data/data-sources", "/v1/data/data_sources"):
        assert api.get(path, headers={}) == (401, {"error": "Unauthorized", "message": "Unauthorized"})


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "gp_admin_1"])
def test_a_key_is_a_bearer_token(api: Api, header: str) -> None:
    assert api.get("/data/customers?source=ds_main", headers={"Authorization": header})[0] == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/data/customers/a"),
        ("POST", "/data/customers/a"),
        ("DELETE", "/data/customers"),
        ("POST", "/customers"),
        ("DELETE", "/v1/customers/a"),
        ("PATCH", "/data/data-sources"),
        ("GET", "/data/data-sources/ds_main/reset"),
    ],
)
def test_a_wrong_method_is_405(api: Api, method: str, path: str) -> None:
    status, said = api.call(method, path, {})
    assert (status, said["error"]) == (405, "Method not allowed")


@pytest.mark.slow
def test_the_limits_of_the_page() -> None:
    with (
        running("growpanel", switches={"limits": "on"}) as (url, _),
        httpx.Client(base_url=url, headers=ADMIN) as client,
    ):
        limits = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
        paths = dict.fromkeys(limits, "/data/customers/nobody?source=ds_main") | {"POST": "/data/customers"}
        for method, limit in limits.items():
            answers = [client.request(method, paths[method], json={}) for _ in range(limit + 1)]
            assert [answer.status_code == 429 for answer in answers] == [False] * limit + [True]
            answer = answers[-1]
            assert "Retry-After" not in answer.headers
            assert answer.json() == {"error": "Rate limit exceeded", "message": "Rate limit exceeded"}


def test_a_429_says_when_to_come_back_if_it_is_told_to(api: Api) -> None:
    api.call("PUT", "/_sandbox/weather", {"rate": {"GET": 1}, "retry_after": "seconds"})
    try:
        answers = [api.client.get("/data/data-sources", headers=ADMIN) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert 1 <= int(answers[1].headers["Retry-After"]) <= 60
    finally:
        api.call("PUT", "/_sandbox/weather", {})


def test_a_blocked_account_is_403() -> None:
    with (
        running("growpanel", switches={"account": "blocked"}) as (url, _),
        httpx.Client(base_url=url, headers=ADMIN) as client,
    ):
        for path in ("/data/customers?source=ds_main", "/customers", "/data/data-sources"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (403, "Account is blocked or trial expired")


def test_an_unknown_path_is_404(api: Api) -> None:
    assert api.get("/data/clients") == (404, {"error": "Not found", "message": "Not found"})


@pytest.mark.parametrize("body", [b"{", b"", b'"text"', b"7", b"null", b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_customer_is_400(api: Api, body: bytes) -> None:
    status, said = api.call("POST", "/data/customers", body)
    assert status == 400
    assert said["error"] == said["message"]


def test_a_body_over_10_mb_is_413(api: Api) -> None:
    rows = [{**ROW, "name": "x" * 11_000_000}]
    status, said = api.call("POST", "/data/customers", rows)
    assert (status, said["error"]) == (413, "Payload too large")


@pytest.mark.parametrize("parameter", ["source", "data_source"])
def test_both_names_of_the_source_parameter_are_read(api: Api, parameter: str) -> None:
    api.post("/data/customers", ROW)
    assert api.get(f"/data/customers?{parameter}=ds_main")[1]["result"]["count"] == 1
    assert api.get(f"/data/customers/cus_456?{parameter}=ds_main")[1]["id"] == "cus_456"
    assert api.get(f"/data/customers?{parameter}=ds_other") == (200, {"result": {"count": 0, "list": []}})


def test_one_customer_needs_a_source(api: Api) -> None:
    api.post("/data/customers", ROW)
    assert api.get("/data/customers/cus_456")[0] == 400


@pytest.mark.parametrize("field", ["id", "name", "email", "country", "state", "created_date", "status", "currency"])
def test_fields_are_text(api: Api, field: str) -> None:
    [found] = api.post("/data/customers", {**ROW, field: 7})[1]["result"]
    assert (found["export_status"], found["export_error"]) == ("error", f"{field} must be a string")


def test_what_only_the_provider_computes_is_not_taken(api: Api) -> None:
    [found] = api.post("/data/customers", {**ROW, "current_mrr": {"usd": 100}, "mrr": 3, "shoe_size": 44})[1]["result"]
    assert (found["export_status"], found["current_mrr"], found["shoe_size"]) == ("success", {"usd": 100}, 44)
    assert api.get("/data/customers/cus_456?source=ds_main")[1] == {**ROW, "state": None, "custom_variables": {}}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"status": "paused", "cancel_date": "2025-01-01"}, "paused"),
        ({"cancel_date": "2025-01-01", "paid_started": "2024-01-01"}, "canceled"),
        ({"paid_started": "2024-01-01", "trial_started": "2023-01-01"}, "active"),
        ({"trial_started": "2023-01-01"}, "trialing"),
        ({}, "lead"),
    ],
)
def test_a_status_that_was_not_sent_follows_from_the_dates(api: Api, sent: dict[str, str], status: str) -> None:
    base = {"id": "a", "name": "A", "created_date": "2022-01-01", "country": "SE", "data_source": "ds_main"}
    api.post("/data/customers", {**base, **sent})
    assert api.get("/data/customers/a?source=ds_main")[1]["status"] == status


def test_the_update_of_an_id_in_two_sources_goes_where_it_is_sent(api: Api) -> None:
    made = api.post("/data/data-sources", {"name": "Second", "type": "api"})[1]["id"]
    api.post("/data/customers", [ROW, {**ROW, "data_source": made}])
    api.call("PUT", f"/data/customers/cus_456?source={made}", {"name": "there"})
    assert api.get("/data/customers/cus_456?source=ds_main")[1]["name"] == "Beta LLC"
    assert api.get(f"/data/customers/cus_456?source={made}")[1]["name"] == "there"
    api.call("DELETE", f"/data/customers/cus_456?source={made}")
    assert api.get(f"/data/customers?source={made}")[1]["result"]["count"] == 0
    assert api.get("/data/customers?source=ds_main")[1]["result"]["count"] == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"name": "x", "type": "paypal"}, "Invalid type"),
        ({"type": "api"}, "name is required"),
        ({"name": "", "type": "api"}, "name is required"),
        ({"name": "x"}, "Invalid type"),
        ([], "Invalid body"),
    ],
)
def test_a_bad_data_source_is_400(api: Api, body: Any, error: str) -> None:
    assert api.post("/data/data-sources", body) == (400, {"error": error, "message": error})


def test_both_spellings_of_data_sources(api: Api) -> None:
    assert api.post("/data/data_sources", {"name": "Import", "type": "csv"})[0] == 201
    plain = api.get("/data/data-sources")
    assert [source["name"] for source in plain[1]["result"]] == ["Main", "Import"]
    assert (
        plain == api.get("/data/data_sources") == api.get("/v1/data/data_sources") == api.get("/v1/data/data-sources")
    )


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    def started() -> AbstractContextManager[tuple[str, Any]]:
        return running("growpanel", state=tmp_path / "state")

    with started() as (url, _), httpx.Client(base_url=url, headers=ADMIN) as client:
        made = client.post("/data/data-sources", json={"name": "Second", "type": "api"}).json()
        client.post("/data/customers", json=[ROW, {**ROW, "id": "a", "data_source": made["id"]}, {**ROW, "id": "b"}])
        client.delete("/data/customers/b")
        paths = ["/data/data-sources", "/data/customers?source=ds_main", "/customers"]
        before = [client.get(path).json() for path in paths]
    with started() as (url, _), httpx.Client(base_url=url, headers=ADMIN) as client:
        assert [client.get(path).json() for path in paths] == before
        bound = {"Authorization": f"Bearer {made['access_token']}"}
        listed = client.get(f"/data/customers?source={made['id']}", headers=bound).json()["result"]["list"]
        assert [row["id"] for row in listed] == ["a"]
        client.delete(f"/data/data-sources/{made['id']}")
        assert client.get("/customers", headers=bound).status_code == 401
        assert [row["id"] for row in client.get("/customers").json()["result"]["list"]] == ["cus_456"]


@pytest.mark.slow
def test_the_list_is_by_id_whatever_happened_before(api: Api) -> None:
    chance = random.Random(7)
    there: set[str] = set()
    for step in range(120):
        key = f"{chance.randrange(25):02}"
        if chance.random() < 0.5:
            api.post("/data/customers", {**ROW, "id": key, "name": str(step)})
            there.add(key)
        else:
            api.call("DELETE", f"/data/customers/{key}")
            there.discard(key)
        for path in ("/data/customers?source=ds_main", "/customers"):
            assert [row["id"] for row in api.get(path)[1]["result"]["list"]] == sorted(there)


def test_a_list_of_many_is_sent_as_it_stands(api: Api) -> None:
    rows = [{**ROW, "id": f"{number:05}"} for number in range(4500)]
    for at in range(0, len(rows), 1000):
        api.post("/data/customers", rows[at : at + 1000])
    answer = api.client.get("/data/customers?source=ds_main", headers=ADMIN)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert [row["id"] for row in answer.json()["result"]["list"]] == [row["id"] for row in rows]
    assert answer.json()["result"]["count"] == 4500


# The older dialect, by its page ----------------------------------------------------------------------------------


def test_the_page_of_the_older_dialect_step_by_step(older: Api) -> None:
    second = {**SEED_ROW, "id": "cus_789", "name": "Gamma Inc", "country": "GB", "currency": "GBP", "status": "trial"}
    assert older.post("/data/customers", [SEED_ROW, second]) == (
        201,
        {"result": {"count": 2, "list": [{"id": "cus_456"}, {"id": "cus_789"}]}},
    )
    status, found = older.get("/data/customers/cus_456")
    assert (status, {**found, **SEED_ROW}) == (200, found)
    changes = {"name": "Beta LLC Updated", "status": "active", "cancel_date": "2025-11-01T00:00:00Z"}
    assert older.call("PUT", "/data/customers/cus_456", changes) == (
        200,
        {"result": {"id": "cus_456", "updated_fields": ["name", "status", "cancel_date"]}},
    )
    assert older.get("/data/customers/cus_456") == (200, {**found, **changes})
    status, listed = older.get("/data/customers")
    assert (status, listed["result"]["count"]) == (200, 2)
    assert [row["status"] for row in listed["result"]["list"]] == ["active", "trial"]
    assert older.get("/data/customers?limit=1")[1]["result"]["count"] == 1
    assert older.call("DELETE", "/data/customers/cus_456") == (200, {"result": {"id": "cus_456", "deleted": True}})
    assert older.get("/data/customers/cus_456")[0] == 404


def test_one_object_in_the_older_dialect(older: Api) -> None:
    assert older.post("/data/customers", {"id": "a"}) == (201, {"result": {"count": 1, "list": [{"id": "a"}]}})
    found = older.get("/data/customers/a")[1]
    assert (found["name"], found["status"], found["data_source"]) == (None, "lead", "ds_main")
    assert found["created_date"].endswith("Z")


def test_the_older_dialect_inserts_and_does_not_overwrite(older: Api) -> None:
    older.post("/data/customers", {"id": "a", "name": "first"})
    both = [{"id": "a", "name": "again"}, {"id": "b"}]
    assert older.post("/data/customers", both) == (201, {"result": {"count": 1, "list": [{"id": "b"}]}})
    assert older.post("/data/customers", {"id": "a", "name": "again"})[0] == 409
    assert older.get("/data/customers/a")[1]["name"] == "first"


def test_the_older_dialect_leaves_out_bad_rows(older: Api) -> None:
    rows = [{"id": "a", "country": "Sweden"}, {"id": "b", "country": "SE"}, {"name": "no id"}]
    assert older.post("/data/customers", rows) == (201, {"result": {"count": 1, "list": [{"id": "b"}]}})
    assert older.post("/data/customers", rows[0])[0] == 400


def test_the_older_dialect_lists_all_sources_unless_told(older: Api) -> None:
    made = older.post("/data/data_sources", {"name": "Second", "type": "api"})[1]["id"]
    older.post("/data/customers", [{"id": "a"}, {"id": "b", "data_source": made}])
    assert older.get("/data/customers")[1]["result"]["count"] == 2
    assert older.get(f"/data/customers?source={made}")[1]["result"]["count"] == 1


def test_any_field_can_be_updated_in_the_older_dialect(older: Api) -> None:
    older.post("/data/customers", SEED_ROW)
    changes = {"country": "NO", "created_date": "1999-01-01", "trial_started": None}
    said = older.call("PUT", "/data/customers/cus_456", changes)[1]
    assert said["result"]["updated_fields"] == ["country", "created_date", "trial_started"]
    found = older.get("/data/customers/cus_456")[1]
    assert {field: found[field] for field in changes} == changes


def test_a_bad_update_is_400(older: Api, api: Api) -> None:
    older.post("/data/customers", SEED_ROW)
    assert older.call("PUT", "/data/customers/cus_456", {"country": "Norway"})[0] == 400
    api.post("/data/customers", ROW)
    assert api.call("PUT", "/data/customers/cus_456", {"custom_variables": {"a": 1}})[0] == 400
    assert api.call("PUT", "/data/customers/cus_456", [])[0] == 400
    assert api.call("PUT", "/data/customers/cus_456", b"{")[0] == 400


def test_a_deleted_source_is_204_in_the_older_dialect(older: Api) -> None:
    made = older.post("/data/data_sources", {"name": "Second", "type": "api"})[1]["id"]
    assert older.call("DELETE", f"/data/data_sources/{made}") == (204, None)
