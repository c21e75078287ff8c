"""The sandbox of Metronome, called by a plain HTTP client: requests that the vendor's packages cannot send, and
responses that they hide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from metronome import ConflictError, Metronome

from support.sandboxes import Sandbox, Start, sandboxes
from tranship.connectors.sandbox.metronome import SWITCHES
from tranship.schemas.providers.metronome import NAME_LENGTH

NOBODY = "00000000-0000-4000-8000-000000000000"


class Api:
    """Calls with a token; `.status`, `.headers` and `.body` of the last answer."""

    def __init__(self, url: str, token: str | None = "t") -> None:
        self.address = urlsplit(url).netloc
        self.token = token

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = HTTPConnection(self.address, timeout=60)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            raw = answer.read()
            self.headers = answer.headers
        finally:
            connection.close()
        return answer.status, json.loads(raw) if raw else None

    def create(self, name: str = "A", **fields: Any) -> str:
        status, body = self("POST", "/v1/customers", {"name": name, **fields})
        assert status == 200, body
        return str(body["data"]["id"])

    def names(self, query: str) -> list[str]:
        status, body = self("GET", f"/v1/customers?{query}")
        assert status == 200, body
        return [customer["name"] for customer in body["data"]]


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with sandboxes() as start:
        yield start("metronome")


@pytest.fixture
def metronome(started: Sandbox) -> Sandbox:
    """An empty account in calm weather."""
    started.clear()
    started.weather()
    return started


@pytest.fixture
def api(metronome: Sandbox) -> Api:
    return Api(metronome.url)


def _is_message(body: Any) -> bool:
    return isinstance(body, dict) and list(body) == ["message"] and isinstance(body["message"], str)


# Keys and rights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Basic dDp0"}, {"Authorization": "Bearer "}, {"x-api-key": "t"}]
)
def test_no_call_without_a_bearer_token(metronome: Sandbox, header: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/customers"), ("POST", "/v1/customers"), ("GET", f"/v1/customers/{NOBODY}")):
        status, body = Api(metronome.url, None)(method, path, headers=header)
        assert (status, _is_message(body)) == (401, True)


def test_a_read_only_token_reads_and_does_not_write(api: Api) -> None:
    customer = api.create(ingest_aliases=["x"])
    reader = Api(f"http://{api.address}", "ro_1")
    reads = (
        ("GET", "/v1/customers", None),
        ("GET", f"/v1/customers/{customer}", None),
        ("POST", "/v1/customFields/listKeys", {"entities": ["customer"]}),
        ("POST", "/v1/getCustomerBillingProviderConfigurations", {"customer_id": customer}),
    )
    assert [reader(*call)[0] for call in reads] == [200, 200, 200, 200]
    before = api("GET", f"/v1/customers/{customer}")
    for path, body in (
        ("/v1/customers", {"name": "B"}),
        ("/v1/customers/archive", {"id": customer}),
        (f"/v1/customers/{customer}/setName", {"name": "B"}),
        (f"/v1/customers/{customer}/setIngestAliases", {"ingest_aliases": []}),
        (f"/v1/customers/{customer}/updateConfig", {"salesforce_account_id": "x"}),
        ("/v1/customFields/addKey", {"entity": "customer", "key": "k", "enforce_uniqueness": False}),
        ("/v1/customFields/removeKey", {"entity": "customer", "key": "k"}),
        ("/v1/customFields/setValues", {"entity": "customer", "entity_id": customer, "custom_fields": {}}),
        ("/v1/customFields/deleteValues", {"entity": "customer", "entity_id": customer, "keys": []}),
        ("/v1/setCustomerBillingProviderConfigurations", {"data": []}),
        ("/v1/archiveCustomerBillingProviderConfigurations", {"customer_id": customer}),
        (f"/v1/customers/{customer}/billing-config/stripe", {"billing_provider_customer_id": "x"}),
    ):
        status, answer = reader("POST", path, body)
        assert (path, status, _is_message(answer)) == (path, 403, True)
    assert reader("DELETE", f"/v1/customers/{customer}/billing-config/stripe")[0] == 403
    assert api("GET", f"/v1/customers/{customer}") == before


# Form ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"name": "\xff"}'])
def test_a_body_that_is_no_json_object(api: Api, body: bytes) -> None:
    customer = api.create()
    for path in ("/v1/customers", f"/v1/customers/{customer}/setName", "/v1/customFields/addKey"):
        status, answer = api("POST", path, body)
        assert (path, status, _is_message(answer)) == (path, 400, True)


BODIES: dict[str, dict[str, Any]] = {
    "/v1/customers": {
        **{"name": "A", "external_id": "x", "ingest_aliases": ["a"], "custom_fields": {"tier": "x"}},
        "customer_config": {"salesforce_account_id": "sf"},
        "billing_config": {"billing_provider_type": "stripe", "billing_provider_customer_id": "c"},
        "customer_billing_provider_configurations": [],
        "customer_revenue_system_configurations": [],
    },
    "/v1/customers/archive": {"id": NOBODY},
    "/v1/customers/{id}/setName": {"name": "A"},
    "/v1/customers/{id}/setIngestAliases": {"ingest_aliases": []},
    "/v1/customers/{id}/updateConfig": {"salesforce_account_id": "x", "leave_stripe_invoices_in_draft": True},
    "/v1/customFields/addKey": {"entity": "customer", "key": "k", "enforce_uniqueness": True},
    "/v1/customFields/listKeys": {"entities": []},
    "/v1/customFields/removeKey": {"entity": "customer", "key": "k"},
    "/v1/customFields/setValues": {"entity": "customer", "entity_id": "{id}", "custom_fields": {}},
    "/v1/customFields/deleteValues": {"entity": "customer", "entity_id": "{id}", "keys": []},
    "/v1/setCustomerBillingProviderConfigurations": {"data": []},
    "/v1/getCustomerBillingProviderConfigurations": {"customer_id": "{id}", "include_archived": True},
    "/v1/archiveCustomerBillingProviderConfigurations": {
        **{"customer_id": "{id}", "customer_billing_provider_configuration_ids": [NOBODY]},
    },
    "/v1/customers/{id}/billing-config/aws_marketplace": {
        **{"billing_provider_customer_id": "x", "aws_customer_id": "x", "aws_region": "eu-west-1"},
        **{"aws_is_subscription_product": True, "stripe_collection_method": "send_invoice"},
    },
}
ODD = [None, True, 7, 1.5, "", "\0", "x" * 5000, [], [None], [[]], [{}], ["x"], {}, {"x": None}, {"x": {}}, {"\0": "x"}]


@pytest.mark.parametrize("path", BODIES)
def test_no_body_breaks_the_server(api: Api, path: str) -> None:
    customer = api.create()

    def filled(value: Any) -> Any:
        return customer if value == "{id}" else value

    for field in BODIES[path]:
        for odd in ODD:
            body = {**{name: filled(value) for name, value in BODIES[path].items()}, field: odd}
            status, answer = api("POST", path.replace("{id}", customer), body)
            assert status in (200, 400, 404, 409), (field, odd)
            assert status == 200 or _is_message(answer)


def test_unknown_paths_and_methods(api: Api) -> None:
    customer = api.create()
    for method, path in (
        ("GET", "/v1/nothing"),
        ("GET", "/customers"),
        ("GET", f"/v1/customers/{customer}/costs"),
        ("GET", f"/v1/customers/{customer}/billable-metrics"),
        ("POST", f"/v1/customers/{customer}/previewEvents"),
        ("DELETE", f"/v1/customers/{customer}"),
    ):
        status, answer = api(method, path, {} if method == "POST" else None)
        assert (path, status in (404, 405), _is_message(answer)) == (path, True, True)
    assert api("GET", f"/v1/customers/{customer}")[0] == 200


def test_an_empty_answer_has_no_body(api: Api) -> None:
    customer = api.create()
    assert api("POST", f"/v1/customers/{customer}/setIngestAliases", {"ingest_aliases": ["x"]}) == (200, None)
    assert api.headers["Content-Length"] == "0"
    assert api("POST", f"/v1/customers/{customer}/updateConfig", {}) == (200, None)


def test_a_customer_as_it_is_written(api: Api) -> None:
    customer = api.create("Nördlys 🚢", ingest_aliases=["x"])
    status, body = api("GET", f"/v1/customers/{customer}")
    assert api.headers["Content-Type"].startswith("application/json")
    assert (status, list(body)) == (200, ["data"])
    assert body["data"]["name"] == "Nördlys 🚢"
    assert body["data"]["created_at"].endswith(("Z", "+00:00"))
    assert body["data"]["archived_at"] is None


def test_characters_are_counted_not_bytes(api: Api) -> None:
    customer = api.create("🚢" * (NAME_LENGTH + 1))
    assert api("GET", f"/v1/customers/{customer}")[1]["data"]["name"] == "🚢" * NAME_LENGTH


# Lists -----------------------------------------------------------------------------------------------------------


def test_several_ids_joined_by_commas_or_repeated(api: Api) -> None:
    ids = {name: api.create(name, customer_config={"salesforce_account_id": f"sf-{name}"}) for name in "abc"}
    a, c = ids["a"], ids["c"]
    assert api.names(f"customer_ids={a},{c}") == ["a", "c"]
    assert api.names(f"customer_ids={a}%2C{c}") == ["a", "c"]
    assert api.names(f"customer_ids={a}&customer_ids={c}") == ["a", "c"]
    assert api.names("salesforce_account_ids=sf-a,sf-b&salesforce_account_ids=sf-c") == ["a", "b", "c"]


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=", "limit=1.5", "only_archived=maybe", "next_page=", "next_page=%00"]
)
def test_a_query_that_means_nothing(api: Api, query: str) -> None:
    status, body = api("GET", f"/v1/customers?{query}")
    assert (status, _is_message(body)) == (400, True)


def test_a_list_goes_on_while_customers_come_and_go(api: Api) -> None:
    ids = [api.create(str(n)) for n in range(6)]
    first = api("GET", "/v1/customers?limit=2")[1]
    api("POST", "/v1/customers/archive", {"id": ids[0]})
    api("POST", "/v1/customers/archive", {"id": ids[3]})
    api.create("6")
    rest = api("GET", f"/v1/customers?limit=100&next_page={first['next_page']}")[1]
    assert [customer["name"] for customer in rest["data"]] == ["2", "4", "5", "6"]
    assert rest["next_page"] is None


# Idempotency -----------------------------------------------------------------------------------------------------


def _keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_key_and_body_is_one_effect(api: Api) -> None:
    body = {"name": "A", "ingest_aliases": ["x"]}
    first = api("POST", "/v1/customers", body, _keyed("k"))
    assert api("POST", "/v1/customers", body, _keyed("k")) == first
    assert first[0] == 200
    assert api.names("") == ["A"]
    assert api("POST", "/v1/customers", body, _keyed("other"))[0] == 409


def test_the_same_key_with_another_body_is_a_conflict(api: Api) -> None:
    customer = api.create()
    assert api("POST", "/v1/customers", {"name": "B"}, _keyed("k"))[0] == 200
    status, body = api("POST", "/v1/customers", {"name": "C"}, _keyed("k"))
    assert (status, _is_message(body)) == (409, True)
    assert api("POST", f"/v1/customers/{customer}/setName", {"name": "B"}, _keyed("k"))[0] == 409
    assert api.names("") == ["A", "B"]


def test_a_key_works_on_every_post(api: Api) -> None:
    customer = api.create("A", ingest_aliases=["x"])
    rename = (f"/v1/customers/{customer}/setName", {"name": "B"}, _keyed("k"))
    first = api("POST", *rename)
    api("POST", f"/v1/customers/{customer}/setName", {"name": "C"})
    assert api("POST", *rename) == first
    assert api.names("") == ["C"]
    key = ("/v1/customFields/addKey", {"entity": "customer", "key": "k", "enforce_uniqueness": False}, _keyed("add"))
    assert [api("POST", *key)[0] for _ in range(2)] == [200, 200]


def test_an_error_is_kept_too(api: Api) -> None:
    body = {"name": "A", "custom_fields": {"tier": "pro"}}
    refused = api("POST", "/v1/customers", body, _keyed("k"))
    assert refused[0] == 400
    api("POST", "/v1/customFields/addKey", {"entity": "customer", "key": "tier", "enforce_uniqueness": False})
    assert api("POST", "/v1/customers", body, _keyed("k")) == refused
    assert api("POST", "/v1/customers", body, _keyed("new"))[0] == 200


def test_a_500_is_kept_too(api: Api, metronome: Sandbox) -> None:
    metronome.weather(statuses={"500": 1})
    failed = api("POST", "/v1/customers", {"name": "A"}, _keyed("k"))
    assert failed[0] == 500
    metronome.weather()
    assert api("POST", "/v1/customers", {"name": "A"}, _keyed("k")) == failed
    assert api("POST", "/v1/customers", {"name": "A"}, _keyed("new"))[0] == 200


def test_a_call_that_still_runs_with_the_same_key_is_a_conflict(api: Api, metronome: Sandbox) -> None:
    metronome.weather(latency=0.3)
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(Api(f"http://{api.address}"), "POST", "/v1/customers", {"name": "A"}, _keyed("k"))
            for _ in range(2)
        ]
        assert sorted(call.result()[0] for call in calls) == [200, 409]
    metronome.weather()
    assert api("POST", "/v1/customers", {"name": "A"}, _keyed("k"))[0] == 200
    assert api.names("") == ["A"]


def test_a_key_says_nothing_on_a_read(api: Api) -> None:
    api.create("A")
    assert api("GET", "/v1/customers", headers=_keyed("k"))[1]["data"][0]["name"] == "A"
    api.create("B")
    assert len(api("GET", "/v1/customers", headers=_keyed("k"))[1]["data"]) == 2


# Retries of the vendor's client -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_vendors_client_sends_a_duplicate_three_times(metronome: Sandbox) -> None:
    metronome.record()
    with Metronome(bearer_token="t", base_url=metronome.url) as client:
        client.v1.customers.create(name="A", ingest_aliases=["x"])
        with pytest.raises(ConflictError):
            client.v1.customers.create(name="A", ingest_aliases=["x"])
    assert [call["status"] for call in metronome.calls()] == [200, 409, 409, 409]


def test_the_server_can_keep_it_from_that(sandbox: Start) -> None:
    metronome = sandbox("metronome", switches={"retry_hint": "no"})
    metronome.record()
    with Metronome(bearer_token="t", base_url=metronome.url) as client:
        client.v1.customers.create(name="A", ingest_aliases=["x"])
        with pytest.raises(ConflictError):
            client.v1.customers.create(name="A", ingest_aliases=["x"])
    assert [call["status"] for call in metronome.calls()] == [200, 409]


def test_too_many_requests(api: Api, metronome: Sandbox) -> None:
    metronome.weather(rate={"*": 1}, window=60)
    assert api("GET", "/v1/customers")[0] == 200
    assert api("GET", "/v1/customers") == (429, {"message": "Too many requests"})
    assert 1 <= int(api.headers["Retry-After"]) <= 60


def test_a_429_does_not_use_up_an_idempotency_key(api: Api, metronome: Sandbox) -> None:
    metronome.weather(statuses={"429": 1})
    assert api("POST", "/v1/customers", {"name": "A"}, _keyed("k"))[0] == 429
    metronome.weather()
    assert api("POST", "/v1/customers", {"name": "A"}, _keyed("k"))[0] == 200


# Values that no call returns ------------------------------------------------------------------------------------------


def test_what_can_be_sent_and_not_read_is_kept(api: Api, metronome: Sandbox) -> None:
    entry = {
        "provider": "netsuite",
        "delivery_method": "direct_to_billing_provider",
        "configuration": {"netsuite_customer_id": "7"},
    }
    customer = api.create(customer_revenue_system_configurations=[entry])
    (kept,) = metronome.state("revenue_system_configurations")
    assert (kept["customer_id"], kept["provider"], kept["configuration"]) == (
        customer,
        "netsuite",
        entry["configuration"],
    )
    for draft in (True, None):
        api("POST", f"/v1/customers/{customer}/updateConfig", {"leave_stripe_invoices_in_draft": draft})
        kept_drafts = metronome.state("leave_stripe_invoices_in_draft")
        assert kept_drafts == [{"id": customer, "leave_stripe_invoices_in_draft": draft}]


# Switches, state -------------------------------------------------------------------------------------------------


def test_every_switch_is_played_here() -> None:
    assert set(SWITCHES) == {"billable_status", "retry_hint"}


def test_the_billable_status_of_some_accounts(sandbox: Start) -> None:
    api = Api(sandbox("metronome", switches={"billable_status": "shown"}).url)
    body = api("GET", f"/v1/customers/{api.create()}")[1]["data"]
    assert body["current_billable_status"] == {"value": "billable", "effective_at": None}


@pytest.mark.slow
def test_everything_outlives_a_kill(sandbox: Start, tmp_path: Path) -> None:
    first = sandbox("metronome", state=tmp_path / "state", process=True)
    api = Api(first.url)
    for key, unique in (("tier", False), ("account", True)):
        api("POST", "/v1/customFields/addKey", {"entity": "customer", "key": key, "enforce_uniqueness": unique})
    gone = api.create("gone", ingest_aliases=["x"], custom_fields={"account": "1"})
    once = api("POST", "/v1/customers", {"name": "once"}, _keyed("k"))
    billing = {"customer_id": gone, "billing_provider": "netsuite", "delivery_method": "aws_sqs"}
    api("POST", "/v1/setCustomerBillingProviderConfigurations", {"data": [billing]})
    api("POST", "/v1/customers/archive", {"id": gone})
    before = first.state(), first.state("custom_field_keys"), first.state("billing_provider_configurations")
    first.kill()
    second = sandbox("metronome", state=tmp_path / "state")
    again = Api(second.url)
    assert (
        second.state(),
        second.state("custom_field_keys"),
        second.state("billing_provider_configurations"),
    ) == before
    assert again("POST", "/v1/customers", {"name": "once"}, _keyed("k")) == once
    assert again("POST", "/v1/customers", {"name": "B", "ingest_aliases": ["x"]})[0] == 409
    assert again("POST", "/v1/customers", {"name": "B", "custom_fields": {"account": "1"}})[0] == 409
    assert again.names("only_archived=true") == ["gone"]
    assert again.create("new") not in {gone, once[1]["data"]["id"]}


def test_lists_that_churn_under_the_reader(api: Api, metronome: Sandbox) -> None:
    gone = api.create("gone")
    api("POST", "/v1/customers/archive", {"id": gone})
    before = api("GET", f"/v1/customers/{gone}")
    for n in range(5):
        api.create(str(n))
    metronome.weather(churn=1)
    assert [api("GET", "/v1/customers")[0] for _ in range(40)] == [200] * 40
    metronome.weather()
    assert len(api("GET", "/v1/customers?only_archived=true")[1]["data"]) > 1
    assert api("GET", f"/v1/customers/{gone}") == before


def test_a_list_survives_records_that_break_the_schema(api: Api, metronome: Sandbox) -> None:
    broken = {"id": NOBODY, "name": 7, "ingest_aliases": "x", "customer_config": None}
    metronome.add(broken)
    assert api("GET", "/v1/customers")[1]["data"] == [broken]
