"""Metrifox's sandbox by plain HTTP: the documentation's spelling, and requests that the vendor's clients cannot
send."""

from __future__ import annotations

import json
import urllib.request
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest

from support.sandboxes import Sandbox, Start
from tranship.connectors.sandbox.metrifox import LARGEST_CSV

CUSTOMERS = "/api/v1/customers"
KEY = {"x-api-key": "sk_test_1"}
NORDLYS = {
    "customer_key": "cus_000000042",
    "customer_type": "BUSINESS",
    "primary_email": "ap@nordlys.example",
    "legal_name": "Nordlys AB",
    "display_name": "Nordlys",
    "currency": "SEK",
    "country": "SE",
    "payment_terms": [{"type": "Custom", "value": "45"}],
    "metadata": {"tier": "pro"},
}
UNAUTHORIZED = {"statusCode": 401, "message": "Unauthorized", "meta": {}, "data": None, "errors": {}}
INVALID = "Bad Request - Invalid customer data"


class Api:
    """Plain requests."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.sandbox.url + path, data, KEY if headers is None else headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def send_csv(self, field: str, content: bytes) -> tuple[int, Any]:
        head = f'--xyz\r\nContent-Disposition: form-data; name="{field}"; filename="c.csv"\r\nContent-Type: text/csv\r\n\r\n'
        body = head.encode() + content + b"\r\n--xyz--\r\n"
        return self.ask(
            "POST", f"{CUSTOMERS}/csv-upload", body, {**KEY, "Content-Type": "multipart/form-data; boundary=xyz"}
        )

    def keys(self, query: str = "") -> list[str]:
        status, answer = self.ask("GET", CUSTOMERS + query)
        assert status == 200
        return [customer["customer_key"] for customer in answer["data"]]


@pytest.fixture
def api(sandbox: Start) -> Api:
    return Api(sandbox("metrifox"))


def business(number: int, **more: Any) -> dict[str, Any]:
    return {
        "customer_key": f"k{number:04}",
        "customer_type": "BUSINESS",
        "primary_email": f"k{number:04}@example.com",
        **more,
    }


# Two spellings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CUSTOMERS, f"{CUSTOMERS}/new"])
def test_both_paths_create(api: Api, path: str) -> None:
    status, answer = api.ask("POST", path, NORDLYS)
    made = answer.pop("data")
    assert (status, answer) == (
        201,
        {"statusCode": 201, "status": "created", "message": "Customer Created", "meta": {}, "errors": {}},
    )
    assert {name: made[name] for name in NORDLYS} == NORDLYS
    assert made["email_addresses"] == [{"email": "ap@nordlys.example", "is_primary": True}]
    assert api.ask("GET", f"{CUSTOMERS}/cus_000000042")[1]["data"] == made


@pytest.mark.parametrize("verb", ["PATCH", "PUT"])
def test_both_verbs_update_partially(api: Api, verb: str) -> None:
    made = api.ask("POST", CUSTOMERS, NORDLYS)[1]["data"]
    status, answer = api.ask(verb, f"{CUSTOMERS}/cus_000000042", {"city": "Umeå"})
    assert (status, answer["message"]) == (200, "Customer updated")
    assert answer["data"] == {**made, "city": "Umeå", "updated_at": answer["data"]["updated_at"]}


@pytest.mark.parametrize("field", ["csv", "file"])
def test_both_form_fields_and_both_forms_of_the_answer(api: Api, field: str) -> None:
    content = b"customer_key,customer_type,primary_email\nA,BUSINESS,a@x.example\nB,PERSON,b@x.example\n"
    status, answer = api.send_csv(field, content)
    counts = {"total_customers": 2, "successful_upload_count": 1, "failed_upload_count": 1}
    assert status == 200
    assert {name: answer[name] for name in counts} == counts
    assert {name: answer["data"][name] for name in counts} == counts
    assert answer["customers_added"] == answer["data"]["customers_added"]
    assert answer["customers_failed"] == [
        {"row": 2, "customer_key": "B", "error": "Customer type is not included in the list"}
    ]


def test_one_spelling_alone(sandbox: Start) -> None:
    sdk = Api(sandbox("metrifox", switches={"spelling": "sdk"}))
    docs = Api(sandbox("metrifox", switches={"spelling": "docs"}))
    one = f"{CUSTOMERS}/cus_000000042"
    content = b"customer_key,customer_type,primary_email\nA,BUSINESS,a@x.example\n"
    assert sdk.ask("POST", CUSTOMERS, NORDLYS)[0] == 405
    assert sdk.ask("POST", f"{CUSTOMERS}/new", NORDLYS)[0] == 201
    assert sdk.ask("PUT", one, {})[0] == 405
    assert sdk.ask("PATCH", one, {})[0] == 200
    assert sdk.send_csv("file", content)[1]["errors"] == {"csv": ["is required"]}
    assert sdk.send_csv("csv", content)[0] == 200
    assert docs.ask("POST", f"{CUSTOMERS}/new", NORDLYS)[0] == 405
    assert docs.ask("POST", CUSTOMERS, NORDLYS)[0] == 201
    assert docs.ask("PATCH", one, {})[0] == 405
    assert docs.ask("PUT", one, {})[0] == 200
    assert docs.send_csv("csv", content)[1]["errors"] == {"file": ["is required"]}
    assert docs.send_csv("file", content)[0] == 200


# Keys and paths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"Authorization": "Bearer sk_test_1"}])
def test_without_a_key(api: Api, headers: dict[str, str]) -> None:
    for method, path in (("GET", CUSTOMERS), ("POST", f"{CUSTOMERS}/new"), ("GET", f"{CUSTOMERS}/x/details")):
        assert api.ask(method, path, headers=headers) == (401, UNAUTHORIZED)


def test_a_wrong_key(api: Api) -> None:
    api.sandbox.keys(valid=["sk_test_2"])
    assert api.ask("GET", CUSTOMERS) == (401, UNAUTHORIZED)
    assert api.ask("GET", CUSTOMERS, headers={"X-API-KEY": "sk_test_2"})[0] == 200


def test_paths_and_verbs_there_are_not(api: Api) -> None:
    nothing = {"statusCode": 404, "message": "Not Found", "meta": {}, "data": None, "errors": {}}
    for path in ("/customers", "/api/v1/customer", f"{CUSTOMERS}/a/b", f"{CUSTOMERS}/"):
        assert api.ask("GET", path) == (404, nothing)
    for method, path in (("DELETE", CUSTOMERS), ("POST", f"{CUSTOMERS}/x"), ("GET", f"{CUSTOMERS}/x/archive")):
        status, answer = api.ask(method, path)
        assert (status, answer["message"], answer["data"]) == (405, "Method Not Allowed", None)


@pytest.mark.parametrize(
    "key", ["new", "bulk-create", "csv-upload", "a/b", "a/details", "?x=1#y", "{a}", "%2F", "+ ü\n", "😀", "a;b=c"]
)
def test_any_key_may_stand_in_a_path_percent_encoded(api: Api, key: str) -> None:
    one = f"{CUSTOMERS}/{quote(key, safe='')}"
    made = api.ask("POST", CUSTOMERS, {**NORDLYS, "customer_key": key})[1]["data"]
    assert api.ask("GET", one)[1]["data"] == made
    assert api.ask("GET", f"{one}/details")[1]["data"]["customer_key"] == key
    assert api.ask("GET", f"{one}/check-active-subscription")[1]["data"] == {"has_active_subscription": False}
    assert api.ask("PATCH", one, {"city": "Oslo"})[1]["data"]["city"] == "Oslo"
    assert api.ask("POST", f"{one}/archive")[1]["data"]["archived_at"] is not None
    assert api.ask("POST", f"{one}/unarchive")[1]["data"]["archived_at"] is None
    assert api.ask("DELETE", one)[1]["data"] == {"deleted": True, "customer_key": key}
    assert api.ask("GET", one)[0] == 404


# Bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"customer_key":"\xff"}'])
def test_a_body_that_is_no_json_object(api: Api, body: bytes) -> None:
    for path in (f"{CUSTOMERS}/new", f"{CUSTOMERS}/bulk-create"):
        status, answer = api.ask("POST", path, body)
        assert (status, answer["statusCode"], answer["data"]) == (400, 400, None)


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_duplicate_may_be_answered_in_three_ways(sandbox: Start, status: int) -> None:
    api = Api(sandbox("metrifox", switches={"duplicate": str(status)}))
    api.ask("POST", CUSTOMERS, NORDLYS)
    wrong = {"statusCode": status, "message": INVALID, "meta": {}, "data": None}
    assert api.ask("POST", CUSTOMERS, NORDLYS) == (
        status,
        {**wrong, "errors": {"customer_key": ["must be unique"], "primary_email": ["must be unique"]}},
    )
    assert api.ask("POST", CUSTOMERS, {**NORDLYS, "customer_type": "X"})[0] == 400


@pytest.mark.parametrize("body", [{}, {"customers": None}, {"customers": []}, {"customers": {"a": 1}}])
def test_bulk_create_without_rows(api: Api, body: Any) -> None:
    status, answer = api.ask("POST", f"{CUSTOMERS}/bulk-create", body)
    assert (status, answer["errors"]) == (400, {"customers": ["is required"]})


def test_bulk_create_of_rows_that_are_no_customers(api: Api) -> None:
    answer = api.ask("POST", f"{CUSTOMERS}/bulk-create", {"customers": [1, None, "x", [], {"customer_key": 7}]})[1]
    assert answer["data"]["failed_count"] == 5
    assert [row["index"] for row in answer["data"]["customers_failed"]] == [0, 1, 2, 3, 4]
    assert answer["data"]["customers_failed"][4]["error"].startswith("Customer key must be a string, ")


@pytest.mark.parametrize("most", [100, 1000])
def test_bulk_create_has_a_limit(sandbox: Start, most: int) -> None:
    api = Api(sandbox("metrifox", switches={"bulk": str(most)}))
    status, answer = api.ask(
        "POST", f"{CUSTOMERS}/bulk-create", {"customers": [business(number) for number in range(most + 1)]}
    )
    assert (status, answer["errors"]) == (400, {"customers": [f"is too long (maximum is {most} customers)"]})
    assert api.sandbox.counts()["customers"] == 0
    status, answer = api.ask(
        "POST", f"{CUSTOMERS}/bulk-create", {"customers": [business(number) for number in range(most)]}
    )
    assert (status, answer["data"]["successful_count"], api.sandbox.counts()["customers"]) == (200, most, most)


def test_a_csv_that_is_none(api: Api) -> None:
    assert api.ask("POST", f"{CUSTOMERS}/csv-upload", b"")[1]["errors"] == {"csv": ["is required"]}
    assert api.send_csv("data", b"x")[1]["errors"] == {"csv": ["is required"]}
    assert api.send_csv("csv", b"customer_key\n\xff\n")[1]["errors"] == {"csv": ["is not a valid CSV file"]}
    assert api.send_csv("csv", b'customer_key\n"a\n')[1]["errors"] == {"csv": ["is not a valid CSV file"]}
    status, answer = api.send_csv("csv", b"customer_key,customer_type,primary_email\n")
    assert (status, answer["data"]["total_customers"]) == (200, 0)


@pytest.mark.slow
def test_a_csv_of_10_mb_is_not_too_large(api: Api) -> None:
    content = b"customer_key\n" + (b"k" * 99_999 + b"\n") * (LARGEST_CSV // 100_000)
    content += b"k" * (LARGEST_CSV - len(content))
    assert api.send_csv("csv", content)[0] == 200
    assert api.send_csv("csv", content + b"k")[0] == 413


# Lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "page", "size"),
    [
        ("", 1, 25),
        ("?page=0&per_page=0", 1, 25),
        ("?page=-1&per_page=-5", 1, 25),
        ("?page=x&per_page=y", 1, 25),
        ("?page=&per_page=", 1, 25),
        ("?page=2&per_page=7", 2, 7),
        ("?per_page=999999999", 1, 100),
        ("?page=999999999", 999999999, 25),
    ],
)
def test_pages_that_were_asked_for_and_that_came(api: Api, query: str, page: int, size: int) -> None:
    api.ask("POST", CUSTOMERS, NORDLYS)
    status, answer = api.ask("GET", CUSTOMERS + query)
    assert (status, answer["meta"]["current_page"], answer["meta"]["per_page"]) == (200, page, size)
    assert len(answer["data"]) == (page == 1)


def test_a_day_is_a_day_in_utc(api: Api) -> None:
    made = api.ask("POST", CUSTOMERS, NORDLYS)[1]["data"]
    for number, moment in enumerate(
        ("2025-08-31T23:59:59.999Z", "2025-09-01T00:00:00.000Z", "2025-09-01T23:59:59.999Z")
    ):
        changes = {"id": str(number), "customer_key": moment, "primary_email": f"{number}@x.example"}
        api.sandbox.add({**made, **changes, "created_at": moment})
    assert api.keys("?date_created=2025-08-31") == ["2025-08-31T23:59:59.999Z"]
    assert api.keys("?date_created=2025-09-01") == ["2025-09-01T23:59:59.999Z", "2025-09-01T00:00:00.000Z"]
    assert api.keys("?date_created=2025-09-01&customer_type=INDIVIDUAL") == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("?date_created=01.09.2025", {"date_created": ["is not a valid date"]}),
        ("?date_created=2025-02-30", {"date_created": ["is not a valid date"]}),
        ("?customer_type=business", {"customer_type": ["is not included in the list"]}),
    ],
)
def test_filters_that_cannot_be_understood(api: Api, query: str, errors: Any) -> None:
    wrong = {"statusCode": 400, "message": "Bad Request - Invalid filter", "meta": {}, "data": None}
    assert api.ask("GET", CUSTOMERS + query) == (400, {**wrong, "errors": errors})


def test_archived_customers_may_be_hidden(sandbox: Start) -> None:
    listed, hidden = Api(sandbox("metrifox")), Api(sandbox("metrifox", switches={"archived": "hidden"}))
    for api in (listed, hidden):
        for number in range(3):
            api.ask("POST", CUSTOMERS, business(number))
        api.ask("POST", f"{CUSTOMERS}/k0001/archive")
    assert listed.keys() == listed.keys("?customer_type=BUSINESS") == ["k0002", "k0001", "k0000"]
    for query in ("", "?customer_type=BUSINESS", "?search_term=example"):
        assert hidden.keys(query) == ["k0002", "k0000"]
    assert hidden.ask("GET", f"{CUSTOMERS}/k0001")[1]["data"]["archived_at"] is not None
    hidden.ask("POST", f"{CUSTOMERS}/k0001/unarchive")
    assert hidden.keys() == ["k0002", "k0001", "k0000"]


def test_records_that_break_every_rule_are_listed_too(api: Api) -> None:
    api.ask("POST", CUSTOMERS, NORDLYS)
    broken: dict[str, Any] = {"id": "b1", "customer_key": 7, "primary_email": None, "created_at": {}, "tomorrow": [1]}
    api.sandbox.add(broken, {"id": "b2"})
    assert api.ask("GET", CUSTOMERS)[1]["data"][:2] == [{"id": "b2"}, broken]
    assert [row["id"] for row in api.ask("GET", f"{CUSTOMERS}?search_term=nordlys")[1]["data"]] != []


# Under the weather, and over time -------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "header"), [("page", "1"), ("none", None)])
def test_too_many_calls(api: Api, kind: str, header: str | None) -> None:
    api.sandbox.weather(statuses={"429": 1}, retry_after=kind)
    with pytest.raises(HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(api.sandbox.url + CUSTOMERS, headers=KEY))
    with refusal.value as error:
        assert (error.code, error.headers["Retry-After"]) == (429, header)
        wrong = {"statusCode": 429, "message": "Too Many Requests", "meta": {}, "data": None, "errors": {}}
        assert json.load(error) == wrong


def test_a_lost_answer_is_found_by_its_key(api: Api) -> None:
    api.sandbox.weather(cut_after=1)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        api.ask("POST", f"{CUSTOMERS}/new", NORDLYS)
    api.sandbox.weather()
    assert api.ask("POST", f"{CUSTOMERS}/new", NORDLYS)[1]["errors"]["customer_key"] == ["must be unique"]
    assert api.keys() == ["cus_000000042"]


@pytest.mark.slow
def test_the_state_outlives_the_sandbox(sandbox: Start, tmp_path: Path) -> None:
    first = sandbox("metrifox", state=tmp_path / "state", process=True)
    api = Api(first)
    for number in range(3):
        api.ask("POST", CUSTOMERS, business(number))
    api.ask("DELETE", f"{CUSTOMERS}/k0001")
    api.ask("POST", f"{CUSTOMERS}/k0000/archive")
    before = api.ask("GET", CUSTOMERS)[1]
    first.kill()

    again = Api(sandbox("metrifox", state=tmp_path / "state"))
    assert again.ask("GET", CUSTOMERS)[1] == before
    assert again.ask("POST", CUSTOMERS, business(0))[0] == 400
    assert again.ask("POST", CUSTOMERS, business(1))[0] == 201
    assert again.keys() == ["k0001", "k0002", "k0000"]
