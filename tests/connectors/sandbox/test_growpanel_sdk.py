"""GrowPanel's own Python client against the sandbox: every customer and data source call it has, in all its forms.

It is the package growpanel 0.1.29. It raises nothing on errors and reads an undocumented status as None; both are
asserted here, since its users rely on them.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import pytest
from growpanel import GrowPanel
from growpanel._generated.models.post_data_customers_body_type_0 import PostDataCustomersBodyType0 as One
from growpanel._generated.models.post_data_customers_body_type_0_custom_variables import (
    PostDataCustomersBodyType0CustomVariables as OneVariables,
)
from growpanel._generated.models.post_data_customers_body_type_1_item import PostDataCustomersBodyType1Item as Item
from growpanel._generated.models.post_data_data_sources_body import PostDataDataSourcesBody as NewSource
from growpanel._generated.models.post_data_data_sources_body_type import PostDataDataSourcesBodyType as SourceType
from growpanel._generated.models.put_data_customers_id_body import PutDataCustomersIdBody as Changes
from growpanel._generated.models.put_data_customers_id_body_custom_variables import (
    PutDataCustomersIdBodyCustomVariables as ChangedVariables,
)
from growpanel._generated.models.put_data_data_sources_id_body import PutDataDataSourcesIdBody as SourceChanges

from tranship.connectors.sandbox.server import running

pytestmark = [pytest.mark.slow, pytest.mark.alternating("form")]

ADMIN = "3f0c9e7a-8f1d-4a4b-9b0c-0d5f6a7b8c9d.7b0f2a51-1111-4222-8333-944455556666"
VIEWER = "gp_viewer_1"

NORDLYS = {
    "id": "cus_000000042",
    "name": "Nordlys AB",
    "email": "ap@nordlys.example",
    "created_date": "2021-04-02T08:00:00Z",
    "country": "SE",
    "data_source": "ds_main",
    "trial_started": "2021-04-02T08:00:00Z",
    "currency": "sek",
    "status": "active",
    "custom_variables": {"canon_city": "Umeå"},
}
NAMELESS = {"id": "cus_000000043", "created_date": "2022-01-01", "country": "SE", "data_source": "ds_main"}
ABSENT = {"state": None, "paid_started": None, "cancel_date": None}


class Answer(NamedTuple):
    status: int | None
    """None if the form of the call does not return it."""
    said: Any


class Vendor:
    """The client, called in one of its four forms: through its namespaces, and through its generated functions."""

    FORMS = ("namespace", "sync_detailed", "asyncio", "asyncio_detailed")

    def __init__(self, url: str, form: str, key: str = ADMIN) -> None:
        self.client = GrowPanel(api_key=key, base_url=url)
        self.form = form
        self.runner = asyncio.Runner()

    def call(self, namespace: str, operation: str, **said: Any) -> Answer:
        if self.form == "namespace":
            spaces = {
                "customers": self.client.customers,
                "data_customers": self.client.data.customers,
                "data_data_sources": self.client.data.sources,
            }
            return Answer(None, getattr(spaces[namespace], operation)(**said))
        module = importlib.import_module(f"growpanel._generated.api.{namespace}.{operation}")
        found = getattr(module, self.form)(client=self.client._inner, **said)
        if self.form.startswith("asyncio"):
            found = self.runner.run(found)
        if self.form.endswith("detailed"):
            return Answer(int(found.status_code), found.parsed)
        return Answer(None, found)

    def ok(self, namespace: str, operation: str, expected: int = 200, /, **said: Any) -> Any:
        """Return the parsed answer of a call that must have this status."""
        answer = self.call(namespace, operation, **said)
        assert answer.status in (None, expected)
        assert answer.said is not None
        return answer.said

    def error(self, expected: int, namespace: str, operation: str, /, **said: Any) -> str:
        """Return the answer to a call that must fail: the client returns it and does not raise."""
        answer = self.call(namespace, operation, **said)
        assert answer.status in (None, expected)
        assert answer.said["message"] == answer.said.error
        assert f"Response{expected}" in type(answer.said).__name__
        return str(answer.said.error)

    def close(self) -> None:
        self.client.close()
        self.runner.run(self.client._inner.get_async_httpx_client().aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def control() -> Iterator[httpx.Client]:
    """Behind the sandbox: its state, its keys, its weather."""
    with running("growpanel") as (url, _), httpx.Client(base_url=url, headers={"X-Tranship-Sandbox": "1"}) as client:
        yield client


@pytest.fixture
def url(control: httpx.Client) -> str:
    for path in ("keys", "weather"):
        control.put(f"/_sandbox/{path}", json={}).raise_for_status()
    control.delete("/_sandbox/state").raise_for_status()
    return str(control.base_url)


@pytest.fixture(params=Vendor.FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def clients() -> Iterator[Callable[..., Vendor]]:
    """Clients, each created once: creating one searches the whole package."""
    with ExitStack() as open_clients:
        made: dict[tuple[str, ...], Vendor] = {}

        def client(*said: str) -> Vendor:
            if said not in made:
                made[said] = open_clients.enter_context(closing(Vendor(*said)))
            return made[said]

        yield client


@pytest.fixture
def as_key(url: str, form: str, clients: Callable[..., Vendor]) -> Callable[..., Vendor]:
    return lambda key, prefix="": clients(url + prefix, form, key)


@pytest.fixture
def vendor(as_key: Callable[..., Vendor]) -> Vendor:
    return as_key(ADMIN)


@pytest.fixture
def one_form(url: str, clients: Callable[..., Vendor]) -> Vendor:
    """For tables of cases: the client in the form that returns most."""
    return clients(url, "sync_detailed", ADMIN)


def save(vendor: Vendor, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Upsert rows; return the result of each."""
    body = [Item.from_dict(row) for row in rows]
    said = vendor.ok("data_customers", "post_data_customers", body=body)
    return [row.to_dict() for row in said.result]


def listed(vendor: Vendor, **said: str) -> list[dict[str, Any]]:
    found = vendor.ok("data_customers", "get_data_customers", **{"source": "ds_main", **said})
    assert found.result.count == len(found.result.list_)
    return [row.to_dict() for row in found.result.list_]


def one(vendor: Vendor, key: str, source: str = "ds_main") -> dict[str, Any]:
    return dict(vendor.ok("data_customers", "get_data_customers_id", id=key, source=source).to_dict())


def row(key: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "name": key, "created_date": "2022-01-01", "country": "SE", "data_source": "ds_main", **more}


# Create and update by POST ---------------------------------------------------------------------------------------


def test_rows_are_echoed_with_their_result(vendor: Vendor) -> None:
    assert save(vendor, NORDLYS, NAMELESS) == [
        {**NORDLYS, "export_status": "success"},
        {**NAMELESS, "export_status": "error", "export_error": "name or email is required"},
    ]
    assert listed(vendor) == [{**NORDLYS, **ABSENT}]


def test_one_object_is_answered_by_a_list_of_one(vendor: Vendor) -> None:
    body = One(
        id="cus_7",
        name="Beta LLC",
        created_date="2025-10-01T12:00:00.000Z",
        country="us",
        state="ca",
        data_source="ds_main",
        custom_variables=OneVariables.from_dict({"plan": "gold", "seats": "12"}),
    )
    said = vendor.ok("data_customers", "post_data_customers", body=body)
    assert [row.to_dict() for row in said.result] == [{**body.to_dict(), "export_status": "success"}]
    assert one(vendor, "cus_7") == {
        "id": "cus_7",
        "name": "Beta LLC",
        "email": None,
        "created_date": "2025-10-01T12:00:00.000Z",
        "country": "us",
        "state": "ca",
        "trial_started": None,
        "paid_started": None,
        "cancel_date": None,
        "status": "lead",
        "currency": None,
        "custom_variables": {"plan": "gold", "seats": "12"},
        "data_source": "ds_main",
    }


def test_an_empty_list_saves_nothing(vendor: Vendor) -> None:
    assert save(vendor) == []
    assert listed(vendor) == []


def test_the_same_id_again_is_an_update_that_keeps_what_was_not_sent(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    save(vendor, row(NORDLYS["id"], name="Nordlys Energi AB", custom_variables={"canon_phone": "+4690123456"}))
    assert listed(vendor) == [
        {
            **NORDLYS,
            **ABSENT,
            "name": "Nordlys Energi AB",
            "created_date": "2022-01-01",
            "custom_variables": {"canon_city": "Umeå", "canon_phone": "+4690123456"},
        }
    ]


def test_the_last_of_two_rows_with_one_id_wins(vendor: Vendor) -> None:
    results = save(vendor, row("a", name="first", currency="eur"), row("a", name="last"))
    assert [result["export_status"] for result in results] == ["success", "success"]
    assert [(found["name"], found["currency"]) for found in listed(vendor)] == [("last", "eur")]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"country": None}, "country is required"),
        ({"country": "Sverige"}, "country must be an ISO 3166 alpha-2 code"),
        ({"created_date": "02/04/2021"}, "created_date must be an ISO 8601 date"),
        ({"created_date": ""}, "created_date is required"),
        ({"trial_started": "soon"}, "trial_started must be an ISO 8601 date"),
        ({"data_source": "ds_other"}, "unknown data source"),
        ({"name": None, "email": None}, "name or email is required"),
        ({"id": ""}, "id is required"),
        ({"custom_variables": {"k" * 256: "v"}}, "custom_variables: a key has at most 255 characters"),
        ({"custom_variables": {"k": "v" * 1001}}, "custom_variables: a value has at most 1000 characters"),
        ({"custom_variables": {"k": 7}}, "custom_variables: values must be strings"),
    ],
)
def test_a_bad_row_is_an_error_of_its_own(one_form: Vendor, change: dict[str, Any], error: str) -> None:
    results = save(one_form, row("a"), row("b", **change), row("c"))
    assert [result["export_status"] for result in results] == ["success", "error", "success"]
    assert results[1]["export_error"] == error
    assert [found["id"] for found in listed(one_form)] == ["a", "c"]


def test_a_thousand_rows_are_taken_at_once_and_no_more(vendor: Vendor) -> None:
    rows = [row(f"{number:04}") for number in range(1001)]
    assert len(save(vendor, *rows[:1000])) == 1000
    answer = vendor.call("data_customers", "post_data_customers", body=[Item.from_dict(each) for each in rows])
    assert answer == (None if answer.status is None else HTTPStatus.BAD_REQUEST, None)
    assert len(listed(vendor)) == 1000


# Read ------------------------------------------------------------------------------------------------------------


def test_the_list_gives_all_rows_by_id_unless_there_is_a_limit(vendor: Vendor) -> None:
    save(vendor, *[row(f"{number:03}") for number in reversed(range(600))])
    assert [found["id"] for found in listed(vendor)] == [f"{number:03}" for number in range(600)]
    assert [found["id"] for found in listed(vendor, limit="2")] == ["000", "001"]


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5"])
def test_a_limit_is_a_number_from_one(vendor: Vendor, limit: str) -> None:
    error = vendor.error(400, "data_customers", "get_data_customers", source="ds_main", limit=limit)
    assert error == "limit must be a number from 1"


def test_the_list_needs_a_source(vendor: Vendor) -> None:
    assert vendor.error(400, "data_customers", "get_data_customers", source="") == "source is required"
    assert vendor.error(400, "data_customers", "get_data_customers", source=None) == "source is required"


def test_an_unknown_customer_is_not_found(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    assert vendor.error(404, "data_customers", "get_data_customers_id", id="no", source="ds_main") == "Not found"
    error = vendor.error(404, "data_customers", "get_data_customers_id", id=NORDLYS["id"], source="ds_other")
    assert error == "Not found"


@pytest.mark.parametrize("key", ["a/b", "50% off", "ö?#", "a b", "%2F"])
def test_ids_are_percent_encoded_in_paths(vendor: Vendor, key: str) -> None:
    save(vendor, row(key))
    assert one(vendor, key)["id"] == key
    said = vendor.ok("data_customers", "put_data_customers_id", id=key, body=Changes(name="changed"))
    assert said.to_dict() == {"success": True, "id": key}
    assert one(vendor, key)["name"] == "changed"
    said = vendor.ok("data_customers", "delete_data_customers_id", id=key)
    assert said.to_dict() == {"success": True, "id": key}
    assert listed(vendor) == []


# Update and delete -----------------------------------------------------------------------------------------------


def test_an_update_changes_what_is_sent(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    variables = ChangedVariables.from_dict({"canon_city": "Luleå", "tier": "2"})
    said = vendor.ok(
        "data_customers",
        "put_data_customers_id",
        id=NORDLYS["id"],
        body=Changes(email="billing@nordlys.example", custom_variables=variables),
    )
    assert said.to_dict() == {"success": True, "id": NORDLYS["id"]}
    assert one(vendor, NORDLYS["id"]) == {
        **NORDLYS,
        **ABSENT,
        "email": "billing@nordlys.example",
        "custom_variables": {"canon_city": "Luleå", "tier": "2"},
    }


def test_null_clears_a_field_and_removes_a_variable(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    body = Changes.from_dict({"email": None, "custom_variables": {"canon_city": None, "tier": "2"}})
    vendor.ok("data_customers", "put_data_customers_id", id=NORDLYS["id"], body=body)
    found = one(vendor, NORDLYS["id"])
    assert (found["email"], found["custom_variables"]) == (None, {"tier": "2"})


def test_an_update_leaves_what_only_post_may_set(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    body = Changes.from_dict({"country": "NO", "created_date": "1999-01-01", "state": "ca", "status": "canceled"})
    vendor.ok("data_customers", "put_data_customers_id", id=NORDLYS["id"], body=body)
    assert one(vendor, NORDLYS["id"]) == {**NORDLYS, **ABSENT, "status": "canceled"}


def test_an_update_of_nobody_is_not_found(vendor: Vendor) -> None:
    error = vendor.error(404, "data_customers", "put_data_customers_id", id="no", body=Changes(name="x"))
    assert error == "Customer not found"


def test_deleting_twice_is_no_error(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    for _ in range(2):
        said = vendor.ok("data_customers", "delete_data_customers_id", id=NORDLYS["id"])
        assert said.to_dict() == {"success": True, "id": NORDLYS["id"]}
    assert vendor.error(404, "data_customers", "get_data_customers_id", id=NORDLYS["id"], source="ds_main")


# Keys and prefixes -----------------------------------------------------------------------------------------------


def test_without_a_good_key_nothing_is_reported(control: httpx.Client, as_key: Callable[..., Vendor]) -> None:
    control.put("/_sandbox/keys", json={"valid": [ADMIN]})
    nobody = as_key("3f0c9e7a.wrong")
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("customers", "get_customers", {}),
        ("customers", "get_customers_id", {"id": "a"}),
        ("data_customers", "get_data_customers", {"source": "ds_main"}),
        ("data_customers", "get_data_customers_id", {"id": "a", "source": "ds_main"}),
        ("data_customers", "post_data_customers", {"body": [Item.from_dict(row("a"))]}),
        ("data_customers", "put_data_customers_id", {"id": "a", "body": Changes(name="a")}),
        ("data_customers", "delete_data_customers_id", {"id": "a"}),
        ("data_data_sources", "get_data_data_sources", {}),
        ("data_data_sources", "post_data_data_sources", {"body": NewSource("n", SourceType.API)}),
    ]
    for namespace, operation, said in calls:
        assert nobody.error(401, namespace, operation, **said) == "Unauthorized"
    assert listed(as_key(ADMIN)) == []


def test_a_viewer_reads_and_changes_nothing(vendor: Vendor, as_key: Callable[..., Vendor]) -> None:
    save(vendor, NORDLYS)
    viewer = as_key(VIEWER)
    assert listed(viewer) == listed(vendor)
    assert one(viewer, NORDLYS["id"]) == one(vendor, NORDLYS["id"])
    before = one(vendor, NORDLYS["id"])
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("data_customers", "post_data_customers", {"body": [Item.from_dict(row("a"))]}),
        ("data_customers", "put_data_customers_id", {"id": NORDLYS["id"], "body": Changes(name="a")}),
        ("data_customers", "delete_data_customers_id", {"id": NORDLYS["id"]}),
        ("data_data_sources", "post_data_data_sources", {"body": NewSource("n", SourceType.API)}),
        ("data_data_sources", "delete_data_data_sources_id", {"id": "ds_main"}),
    ]
    for namespace, operation, said in calls:
        assert "read" in viewer.error(403, namespace, operation, **said)
    assert listed(vendor) == [before]


def test_too_many_calls_are_reported(control: httpx.Client, vendor: Vendor) -> None:
    control.put("/_sandbox/weather", json={"rate": {"GET": 2, "POST": 1}, "window": 3600})
    save(vendor, NORDLYS)
    assert listed(vendor) == listed(vendor)
    assert vendor.error(429, "data_customers", "get_data_customers", source="ds_main") == "Rate limit exceeded"
    assert vendor.error(429, "data_customers", "post_data_customers", body=[Item.from_dict(NORDLYS)])
    vendor.ok("data_customers", "put_data_customers_id", id=NORDLYS["id"], body=Changes(name="a"))


def test_an_error_of_theirs_is_reported(control: httpx.Client, vendor: Vendor) -> None:
    control.put("/_sandbox/weather", json={"statuses": {"500": 1}})
    assert vendor.error(500, "data_customers", "get_data_customers", source="ds_main") == "Internal server error"


def test_both_prefixes_lead_to_the_same_customers(vendor: Vendor, as_key: Callable[..., Vendor]) -> None:
    save(vendor, NORDLYS)
    assert listed(as_key(ADMIN, "/v1")) == listed(as_key(ADMIN, "/v1/")) == listed(vendor)


# Data sources ----------------------------------------------------------------------------------------------------


def sources(vendor: Vendor, **said: str) -> list[dict[str, Any]]:
    return [each.to_dict() for each in vendor.ok("data_data_sources", "get_data_data_sources", **said).result]


def new_source(vendor: Vendor, name: str, kind: SourceType = SourceType.API) -> dict[str, Any]:
    said = vendor.ok("data_data_sources", "post_data_data_sources", 201, body=NewSource(name, kind))
    return dict(said.to_dict())


def test_an_account_begins_with_one_data_source(vendor: Vendor) -> None:
    [main] = sources(vendor)
    assert {**main, "created_at": None, "updated_at": None} == {
        "id": "ds_main",
        "name": "Main",
        "type": "api",
        "status": "connected",
        "created_at": None,
        "updated_at": None,
        "import_status": None,
        "import_started": None,
    }
    assert main["created_at"].endswith("Z")


@pytest.mark.parametrize("kind", list(SourceType))
def test_every_type_of_source_can_be_made(one_form: Vendor, kind: SourceType) -> None:
    made = new_source(one_form, "Second", kind)
    assert ("access_token" in made) == (kind in ("api", "google-sheets"))
    assert (made["name"], made["type"], made["status"]) == ("Second", str(kind), "connected")
    made.pop("access_token", None)
    assert sources(one_form, type_=str(kind))[-1] == made
    assert [each["id"] for each in sources(one_form)] == ["ds_main", made["id"]]


def test_the_same_id_may_be_in_two_sources(vendor: Vendor) -> None:
    second = new_source(vendor, "Second")["id"]
    save(vendor, row("a", name="in main"), row("a", name="in second", data_source=second))
    assert [found["name"] for found in listed(vendor)] == ["in main"]
    assert [found["name"] for found in listed(vendor, source=second)] == ["in second"]
    assert one(vendor, "a", second)["name"] == "in second"
    vendor.ok("data_customers", "put_data_customers_id", id="a", body=Changes(name="changed"))
    assert (one(vendor, "a")["name"], one(vendor, "a", second)["name"]) == ("changed", "in second")
    vendor.ok("data_customers", "delete_data_customers_id", id="a")
    assert (listed(vendor), len(listed(vendor, source=second))) == ([], 1)
    vendor.ok("data_customers", "put_data_customers_id", id="a", body=Changes(name="now this one"))
    assert one(vendor, "a", second)["name"] == "now this one"


def test_a_key_of_a_source_opens_that_source_only(vendor: Vendor, as_key: Callable[..., Vendor]) -> None:
    made = new_source(vendor, "Second")
    save(vendor, row("a"))
    bound = as_key(made["access_token"])
    assert save(bound, row("b", data_source=made["id"]), row("c"))[1]["export_error"] == "unknown data source"
    assert [found["id"] for found in listed(bound, source=made["id"])] == ["b"]
    bound.error(403, "data_customers", "get_data_customers", source="ds_main")
    bound.error(404, "data_customers", "put_data_customers_id", id="a", body=Changes(name="x"))
    assert [each["id"] for each in sources(bound)] == [made["id"]]
    assert [found["id"] for found in listed(vendor)] == ["a"]


def test_a_source_is_renamed_reset_and_deleted(vendor: Vendor) -> None:
    made = new_source(vendor, "Second")["id"]
    save(vendor, row("a"), row("b", data_source=made))
    said = vendor.ok("data_data_sources", "put_data_data_sources_id", id=made, body=SourceChanges(name="Renamed"))
    assert (said.id, said.name, said.type_) == (made, "Renamed", "api")
    said = vendor.ok("data_data_sources", "post_data_data_sources_id_reset", id=made)
    assert said.to_dict() == {"success": True, "id": made}
    assert (len(listed(vendor)), listed(vendor, source=made)) == (1, [])
    said = vendor.ok("data_data_sources", "delete_data_data_sources_id", id=made)
    assert said.to_dict() == {"success": True, "id": made}
    assert [each["id"] for each in sources(vendor)] == ["ds_main"]
    error = vendor.error(404, "data_data_sources", "put_data_data_sources_id", id=made, body=SourceChanges(name="gone"))
    assert error == "Data source not found"


def test_imports_are_idle_and_can_be_asked_for(vendor: Vendor) -> None:
    said = vendor.ok("data_data_sources", "get_data_data_sources_id_progress", id="ds_main")
    assert said.to_dict()["phase"] == "idle"
    for operation in ("full_import", "abort"):
        said = vendor.ok("data_data_sources", f"post_data_data_sources_id_{operation}", id="ds_main")
        assert said.to_dict() == {"success": True, "id": "ds_main"}


# The analytics view ----------------------------------------------------------------------------------------------


def pages(vendor: Vendor, **said: str) -> list[dict[str, Any]]:
    """Return one page of the analytics list."""
    found = vendor.ok("customers", "get_customers", **said)
    assert found.currency == "usd"
    assert found.result.count == len(found.result.list_)
    return [each.to_dict() for each in found.result.list_]


def test_the_analytics_list_is_paged_by_offset(vendor: Vendor) -> None:
    save(vendor, *[row(f"{number:03}") for number in range(620)])
    every = [f"{number:03}" for number in range(620)]
    assert [found["id"] for found in pages(vendor)] == every[:50]
    assert [found["id"] for found in pages(vendor, limit="500")] == every[:500]
    assert [found["id"] for found in pages(vendor, limit="5000")] == every[:500]
    assert [found["id"] for found in pages(vendor, limit="500", offset="500")] == every[500:]
    assert pages(vendor, offset="620") == []


def test_the_analytics_view_of_a_customer(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    shared = {
        **{field: NORDLYS[field] for field in ("id", "name", "email", "created_date", "country", "trial_started")},
        **{"state": None, "trial_end_date": None, "paid_started": None, "cancel_date": None, "renewal_date": None},
        **{"overdue_date": None, "status": "active", "currency": "sek", "custom_variables": {"canon_city": "Umeå"}},
        **{"total_paid_base_currency": 0, "total_paid_customer_currency": 0},
    }
    assert pages(vendor) == [{**shared, "mrr": 0, "payments": 0}]
    assert vendor.ok("customers", "get_customers_id", id=NORDLYS["id"]).to_dict() == {
        **shared,
        "current_subscriptions": [],
        "current_mrr_base_currency": 0,
        "current_mrr_customer_currency": 0,
        "churn_risk_score": None,
    }
    assert vendor.error(404, "customers", "get_customers_id", id="no") == "Customer not found"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"search": "NORDLYS"}, ["a"]),
        ({"search": "beta.example"}, ["b"]),
        ({"customer": "c"}, ["c"]),
        ({"customer": "nobody"}, []),
        ({"status": "active"}, ["a"]),
        ({"status": "~active"}, ["b", "c"]),
        ({"status": "active trialing"}, ["a", "b"]),
        ({"currency": "sek eur"}, ["a", "b"]),
        ({"currency": "~"}, ["c"]),
        ({"currency": "*"}, ["a", "b"]),
        ({"region": "se"}, ["a"]),
        ({"state": "ca"}, ["c"]),
        ({"data_source": "ds_main"}, ["a", "b", "c"]),
        ({"data_source": "~api"}, []),
        ({"created_date": "20210101..20211231"}, ["a"]),
        ({"created_date": "2022-01-01"}, ["b"]),
        ({"created_date": "2022-01-01.."}, ["b", "c"]),
        ({"created_date": "..20211231"}, ["a"]),
        ({"trial_started": "*"}, ["b"]),
        ({"trial_started": "~"}, ["a", "c"]),
        ({"mrr": "0"}, ["a", "b", "c"]),
        ({"mrr": "1000.."}, []),
        ({"plan": "gold"}, []),
    ],
)
def test_the_analytics_list_is_filtered(one_form: Vendor, asked: dict[str, str], found: list[str]) -> None:
    save(
        one_form,
        row("a", name="Nordlys AB", created_date="2021-04-02T08:00:00Z", status="active", currency="sek"),
        row("b", email="hi@beta.example", country="DE", currency="EUR", trial_started="2022-01-01"),
        row("c", created_date="2023-06-01", country="us", state="ca"),
    )
    assert [each["id"] for each in pages(one_form, **asked)] == found


def test_a_date_that_cannot_be_read_is_an_error(vendor: Vendor) -> None:
    answer = vendor.call("customers", "get_customers", created_date="yesterday")
    assert answer == (None if answer.status is None else 400, None)


def test_only_the_wanted_fields_come(vendor: Vendor) -> None:
    save(vendor, NORDLYS)
    [found] = pages(vendor, fields="status country")
    assert found == {"id": NORDLYS["id"], "name": "Nordlys AB", "status": "active", "country": "SE"}


# The older dialect -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def older() -> Iterator[Vendor]:
    with (
        running("growpanel", switches={"dialect": "docs"}) as (url, _),
        closing(Vendor(url, "sync_detailed")) as vendor,
    ):
        yield vendor


def test_the_client_cannot_read_the_older_dialect(older: Vendor) -> None:
    assert older.call("data_customers", "post_data_customers", body=[Item.from_dict(NORDLYS)]) == (201, None)
    with pytest.raises(KeyError, match="success"):
        older.call("data_customers", "put_data_customers_id", id=NORDLYS["id"], body=Changes(name="x"))
    assert listed(older) == [{**NORDLYS, **ABSENT, "name": "x"}]
    with pytest.raises(KeyError, match="success"):
        older.call("data_customers", "delete_data_customers_id", id=NORDLYS["id"])
    assert listed(older) == []
