"""The machinery of the sandboxes: seeds, keys, the control endpoint, and a state that survives `kill -9`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from support.sandboxes import ROOT, Reply, Sandbox, Start
from tranship.connectors.api.json_codec import decode
from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox import seed
from tranship.connectors.sandbox.server import Server, running, serve
from tranship.schemas.customer import COLUMNS, Customer
from tranship.schemas.providers.marginfront import SCHEMA

KEY = {"x-api-key": "mf_sk_test_1"}


def create(front: Sandbox, name: str = "N", **body: Any) -> Reply:
    return front.call("POST", "/v1/customers", {"name": name, **body}, KEY)


# Seeds


def test_generated_customers_are_canonical_and_the_same_each_time() -> None:
    made = seed.customers(2000)
    Customer.validate(made)
    assert made.equals(seed.customers(2000))
    assert made.slice(1000).equals(seed.customers(1000, 1000))
    for name in ("external_id", "email"):
        assert made[name].str.to_lowercase().n_unique() == 2000
    for name in ("country", "customer_type", "created_at", "name"):
        assert made[name].null_count() == 0
    # Varied: nulls and values in every other column, more than one alphabet, long names, nested metadata.
    for name in COLUMNS:
        if name not in ("external_id", "email", "name", "country", "customer_type", "created_at", "currency", "city"):
            assert made[name].null_count() > 0 or name in ("timezone", "language"), name
    assert made["country"].n_unique() > 5
    assert made["name"].str.contains(r"\p{Han}").any()
    assert (made["name"].str.len_chars() > 160).any()


def test_a_seed_comes_back_as_it_was(sandbox: Start) -> None:
    front = sandbox("marginfront", seed=600)
    back = decode(SCHEMA, [json.dumps(front.state())])
    assert back.broken.is_empty()
    wanted = seed.customers(600)
    for name in ("external_id", "email", "name", "country", "city", "status", "tax_id", "legal_name", "currency"):
        assert back.records[name].to_list() == wanted[name].to_list(), name


def test_seeded_customers_are_of_one_age_each(sandbox: Start) -> None:
    front = sandbox("marginfront", seed=100)
    created = [one["createdAt"] for one in front.state()]
    assert created[:2] == ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"]
    assert created == sorted(set(created))
    before = datetime.now(UTC).isoformat(timespec="milliseconds")[:23]
    assert create(front).json["createdAt"] >= before


def test_a_seed_out_of_a_file(sandbox: Start, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(
        "external_id,name,email,net_terms,invoice_cc_emails,created_at,metadata\n"
        'a,Ärzte & Co,a@b.example,15,"[""c@d.example""]",2020-01-02T03:04:05Z,"{""seats"":3}"\n'
        "b,Second,,,,,\n"
    )
    first, second = sandbox("marginfront", seed=file).state()
    assert (first["externalId"], first["name"], first["netTerms"]) == ("a", "Ärzte & Co", 15)
    assert first["invoiceEmailRecipients"] == ["c@d.example"]
    assert (first["metadata"]["seats"], first["metadata"]["canon_created_at"]) == (3, "2020-01-02T03:04:05Z")
    assert (second["externalId"], second["email"]) == ("b", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("external_id,Company\n1,a\n", "may only have canonical columns, not Company"),
        ("external_id,name,created_at\n1,a,2020-01-01T00:00:00Z\n2,b,yesterday\n", "created_at of record 2"),
        ("external_id,name,net_terms\n1,a,soon\n", "net_terms of record 1"),
        ("external_id,name,aliases\n1,a,b;c\n", "aliases of record 1"),
        ("", "is not a CSV file"),
    ],
)
def test_a_file_that_is_no_seed_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Server("marginfront", seeding=file)
    with pytest.raises(ConfigError, match="cannot be read"):
        Server("marginfront", seeding=tmp_path / "missing.csv")


def test_what_the_provider_refuses_of_a_seed_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("external_id,name,email\na,A,a@b.example\na,Twice,c@b.example\nb,B,\n,C,d@b.example\n")
    server = Server("marginfront", seeding=file)
    assert server.notes == ["refused 1 customer: marginfront answers 409 to it"]
    server = Server("blackwalnut", seeding=file)
    assert [note.partition(": ")[0] for note in server.notes] == ["refused 1 customer"] * 2
    assert any("email.missing" in note for note in server.notes)
    assert len(server.api.customers) == 2


# State


def test_a_killed_sandbox_has_lost_nothing_that_it_answered(sandbox: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    front = sandbox("marginfront", seed=10, state=state, process=True)
    answered: list[dict[str, Any]] = []

    def busy(worker: int) -> None:
        try:
            for number in range(100_000):
                answered.append(create(front, externalId=f"{worker}-{number}").json)
        except (OSError, ValueError):
            return

    threads = [threading.Thread(target=busy, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 200:
        time.sleep(0.01)
    front.kill()
    for thread in threads:
        thread.join()
    again = sandbox("marginfront", seed=10, state=state)
    kept = {one["id"]: one for one in again.state()}
    assert all(kept[one["id"]] == one for one in answered)
    assert len(answered) <= len(kept) - 10 <= len(answered) + 4
    assert create(again, externalId="0-0").status == 409


def test_a_state_is_not_seeded_again(sandbox: Start, tmp_path: Path) -> None:
    with running("marginfront", seeding=5, state=tmp_path / "state"):
        pass
    with running("marginfront", seeding=7, state=tmp_path / "state") as (_, server):
        assert len(server.api.customers) == 5
        assert "was ignored" in server.notes[0]


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
    assert (error.value.code, error.value.read()) == (404, b"there are: customers, subscriptions")
    error.value.close()


# Keys, calls


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


# Starting


def said(process: subprocess.Popen[str], enough: Callable[[str], bool]) -> str:
    assert process.stderr
    text = ""
    while not enough(text):
        line = process.stderr.readline()
        assert line, text
        text += line
    return text


def test_serve_says_where_it_is_logs_calls_and_stops_on_interrupt() -> None:
    code = "from tranship.connectors.sandbox.server import serve; serve('marginfront', 0, 3, log=True)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        begin = said(process, lambda text: "Try:" in text)
        port = int(re.findall(r"marginfront sandbox on http://127\.0\.0\.1:(\d+), 3 customers", begin)[0])
        assert f"MF_API_SECRET_KEY=mf_sk_test_1 tranship run marginfront://127.0.0.1:{port} duckdb:///" in begin
        front = Sandbox(f"http://127.0.0.1:{port}")
        front.call("GET", "/v1/customers?limit=2&search=nordlys", headers=KEY)
        log = said(process, lambda text: "\n" in text)
        assert log.startswith("GET /v1/customers limit=2 search=… 200 ")
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert rest == "stopped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"provider": "nobody"}, "Use one of: blackwalnut, growpanel, marginfront, metrifox, metronome"),
        (
            {"provider": "marginfront", "switches": {"dialect": "docs"}},
            "dialect=docs: .* Use one of: long: kept or refused",
        ),
        ({"provider": "marginfront", "switches": {"long": "cut"}}, "long=cut"),
    ],
)
def test_what_does_not_exist_is_said_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        serve(**arguments)


def test_a_port_in_use_is_said_in_words() -> None:
    with running("marginfront") as (url, _), pytest.raises(ConfigError, match="is in use"):
        serve("marginfront", int(url.rpartition(":")[2]), say=lambda _: None)


def test_many_calls_at_once_make_one_customer_of_one_external_id(sandbox: Start) -> None:
    front = sandbox("marginfront")
    with ThreadPoolExecutor(16) as pool:
        statuses = [reply.status for reply in pool.map(lambda _: create(front, externalId="x"), range(50))]
    assert sorted(statuses) == [201] + [409] * 49
    assert front.counts()["customers"] == 1


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
