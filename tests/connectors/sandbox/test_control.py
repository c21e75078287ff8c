"""The endpoints under `/_sandbox`: state, keys and calls."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.error import HTTPError

import pytest

from support.sandboxes import Reply, Sandbox, Start
from tranship.connectors.sandbox.control import Keys

KEY = {"x-api-key": "mf_sk_test_1"}


def create(front: Sandbox, name: str = "N", **body: Any) -> Reply:
    return front.call("POST", "/v1/customers", {"name": name, **body}, KEY)


def test_all_is_forgotten_on_request(sandbox: Start) -> None:
    front = sandbox("marginfront", seed=5)
    front.clear()
    assert front.state() == []
    assert front.counts()["customers"] == 0
    create(front)


def test_records_are_taken_as_they_are(sandbox: Start) -> None:
    front = sandbox("marginfront")
    broken = {"id": "no-uuid", "name": None, "email": 5, "tomorrow": {"a": [1]}}
    front.add(broken, {"id": "2"})
    listed = front.call("GET", "/v1/customers", headers=KEY).json["data"]
    assert listed == [broken, {"id": "2"}]
    assert front.state() == listed
    assert front.call("GET", "/v1/customers?search=none", headers=KEY).status == 200
    for wrong in (b"{", b"[]", b'{"name":"no id"}'):
        with pytest.raises(HTTPError) as error:
            front.ask("POST", "/_sandbox/state", wrong)
        assert error.value.code == 400
        error.value.close()


def test_a_collection_that_does_not_exist(sandbox: Start) -> None:
    front = sandbox("marginfront")
    with pytest.raises(HTTPError) as error:
        front.state("orders")
    assert (error.value.code, error.value.read()) == (404, b"known collections: customers, subscriptions")
    error.value.close()


def test_declared_keys_are_the_only_good_ones(sandbox: Start) -> None:
    front = sandbox("marginfront")
    front.keys(valid=["mf_sk_good", "mf_pk_good"])
    assert front.call("GET", "/v1/customers", headers={"x-api-key": "mf_sk_good"}).status == 200
    assert front.call("GET", "/v1/customers", headers=KEY).status == 401
    assert front.call("GET", "/v1/customers", headers={"x-api-key": "mf_pk_good"}).status == 403
    front.keys()
    assert front.call("GET", "/v1/customers", headers=KEY).status == 200


def test_a_key_stops_in_the_middle(sandbox: Start) -> None:
    front = sandbox("marginfront")
    front.keys(stops_after={"mf_sk_test_1": 3})
    assert [front.call("GET", "/v1/customers", headers=KEY).status for _ in range(5)] == [200] * 3 + [401] * 2
    assert front.call("GET", "/v1/customers", headers={"x-api-key": "mf_sk_other"}).status == 200


def test_only_a_key_that_stops_is_counted() -> None:
    keys = Keys(stops_after={"first": 1})
    assert [keys.good(key) for key in ("first", "second", "first", "second")] == [True, True, False, True]
    assert not Keys(valid=["first"]).good("second")


def test_calls_are_noted_on_request_and_without_keys(sandbox: Start) -> None:
    front = sandbox("marginfront")
    create(front)
    assert front.calls() == []
    front.record()
    create(front)
    front.call("GET", "/v1/customers?limit=1", headers={**KEY, "Idempotency-Key": "k-1"})
    front.weather(cut_before=1)
    with pytest.raises(ConnectionError):
        front.call("GET", "/v1/customers", headers=KEY)
    front.call("GET", "/v2/customers", headers=KEY)
    calls = front.calls()
    assert [(one["method"], one["path"], one["status"], one["idempotency_key"]) for one in calls] == [
        ("POST", "/v1/customers", 201, None),
        ("GET", "/v1/customers?limit=1", 200, "k-1"),
        ("GET", "/v1/customers", None, None),
        ("GET", "/v2/customers", 404, None),
    ]
    assert all(one["at"] and one["seconds"] >= 0 for one in calls)
    assert "mf_sk" not in json.dumps(calls)
    assert front.counts()["calls"] == {"201": 1, "200": 1, "none": 1, "404": 1}


def test_a_call_tells_what_it_did_whatever_became_of_the_answer(sandbox: Start) -> None:
    front = sandbox("marginfront")
    front.record()
    for weather in (
        {"cut_after": 1},
        {"cut_before": 1},
        {"statuses": {"500": 1}, "late": 1},
        {"statuses": {"500": 1}},
        {},
    ):
        front.weather(**weather)
        try:
            create(front, name="same")
        except ConnectionError:
            continue
    create(front, name="")
    calls = front.calls()
    assert [(one["status"], one["worked"]) for one in calls] == [
        (None, 201),
        (None, None),
        (500, 201),
        (500, None),
        (201, 201),
        (400, 400),
    ]
    assert len({one["content"] for one in calls[:5]}) == 1
    assert calls[5]["content"] != calls[0]["content"]


# Access -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "["]
)
@pytest.mark.parametrize("path", ["/v1/customers", "/_sandbox/state"])
def test_only_names_of_this_machine_are_answered(sandbox: Start, host: str, path: str) -> None:
    headers = {"Host": host, "x-api-key": "mf_sk_1", "X-Tranship-Sandbox": "1"}
    assert sandbox("marginfront").call("GET", path, headers=headers).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.9.9.9", "[::1]"])
def test_each_name_of_this_machine_is_answered(sandbox: Start, host: str) -> None:
    assert (
        sandbox("marginfront").call("GET", "/v1/customers", headers={"Host": host, "x-api-key": "mf_sk_1"}).status
        == 200
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "state"), ("POST", "state"), ("DELETE", "state"), ("PUT", "weather"), ("DELETE", "calls")],
)
def test_what_a_browser_can_send_by_itself_changes_nothing(sandbox: Start, method: str, path: str) -> None:
    front = sandbox("marginfront")
    create(front)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = front.call(method, f"/_sandbox/{path}", b"{}", {"Content-Type": kind, "Origin": "https://evil.example"})
        assert reply.status == 403
    assert len(front.state()) == 1


@pytest.mark.slow
def test_a_body_has_a_limit(sandbox: Start) -> None:
    front = sandbox("marginfront")
    head = {"x-api-key": "mf_sk_1", "Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * (80 << 20), 1)
    assert front.call("POST", "/v1/customers", bomb, head).status == 413
    assert front.call("POST", "/_sandbox/state", bomb, {**head, "X-Tranship-Sandbox": "1"}).status == 413


def test_a_body_that_is_nested_without_end_is_refused(sandbox: Start) -> None:
    front = sandbox("marginfront")
    body = b'{"name": "x", "metadata": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001
    assert front.call("POST", "/v1/customers", body, {"x-api-key": "mf_sk_1"}).status == 400
    assert front.call("POST", "/_sandbox/state", body, {"X-Tranship-Sandbox": "1"}).status == 400
