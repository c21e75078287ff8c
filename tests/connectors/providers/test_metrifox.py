"""Metrifox as a source, read from its sandbox over a socket: its particulars, in addition to the shared suite."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from support.sandboxes import Sandbox, Start
from support.served import as_json, served
from support.warehouse import Warehouse, rejects
from tranship.connectors.api.health import check
from tranship.connectors.api.json_codec import encode
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.api.spec import HealthFinding
from tranship.connectors.errors import ConfigError, Malformed, Refused
from tranship.connectors.providers.metrifox import SPEC
from tranship.connectors.sandbox import seed
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.providers.metrifox import SCHEMA

KEY = "sk_test_0123456789"
QUICK = RetryPolicy(tries=6, first_pause=0.01, silence=5)
CUSTOMERS = "/api/v1/customers"

Open = Callable[..., ApiSource]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def metrifox(sandbox: Start) -> Sandbox:
    return sandbox("metrifox")


@pytest.fixture
def opened() -> Iterator[Open]:
    """`opened(sandbox, "?page_size=2", include_archived=True)`: the source, not read yet."""
    sources = []

    def source(there: Sandbox | str, options: str = "", **settings: Any) -> ApiSource:
        host = there if isinstance(there, str) else f"127.0.0.1:{there.port}"
        made = ApiSource(
            SPEC, f"metrifox://{host}{options}", environment={"METRIFOX_API_KEY": KEY}, retry_policy=QUICK, **settings
        )
        sources.append(made)
        return made

    yield source
    for made in sources:
        made.close()


@pytest.fixture
def read(opened: Open, tmp_path: Path) -> Read:
    """Return all customers, as rows of canonical columns."""

    def rows(there: Sandbox | str, options: str = "", **settings: Any) -> list[dict[str, Any]]:
        source = opened(there, options, **settings)
        batches = [part.read() for part in source.parts(tmp_path / f"pages{time.monotonic_ns()}")]
        source.close()
        assert all(batch.broken.is_empty() for batch in batches)
        return [row for batch in batches for row in batch.records.to_dicts()]

    return rows


def call(metrifox: Sandbox, method: str, path: str, body: Any = None) -> Any:
    return json.loads(metrifox.ask(method, CUSTOMERS + path, body, {"x-api-key": KEY}))["data"]


def create(metrifox: Sandbox, key: str, **fields: Any) -> dict[str, Any]:
    body = {"customer_key": key, "customer_type": "BUSINESS", "primary_email": f"{key}@x.example", "display_name": key}
    return call(metrifox, "POST", "/new", {**body, **fields})


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return [row["external_id"] for row in rows]


# Pages -----------------------------------------------------------------------------------------------------------


def test_pages_are_numbered_and_the_newest_come_first(sandbox: Start, read: Read) -> None:
    metrifox = sandbox("metrifox", seed=5)
    metrifox.record()
    assert keys(read(metrifox, "?page_size=2")) == [f"cus_{n:09}" for n in (4, 3, 2, 1, 0)]
    asked = [noted["path"] for noted in metrifox.calls()]
    assert asked[0] == f"{CUSTOMERS}?page=1&per_page=2"
    assert sorted(asked) == [f"{CUSTOMERS}?page={page}&per_page=2" for page in (1, 2, 3)]


def test_a_page_is_the_largest_that_is_known_to_be_allowed(metrifox: Sandbox, read: Read) -> None:
    metrifox.record()
    assert read(metrifox) == []
    assert [noted["path"] for noted in metrifox.calls()] == [f"{CUSTOMERS}?page=1&per_page=100"]


@pytest.mark.parametrize("asked", [101, 5000])
def test_pages_that_come_shorter_than_asked_for_are_no_end(sandbox: Start, read: Read, asked: int) -> None:
    metrifox = sandbox("metrifox", seed=250)
    assert len(read(metrifox, f"?page_size={asked}")) == 250


def _paged(customers: list[dict[str, Any]], most: int, answer: Callable[[list[Any], int], Any]) -> Any:
    """Simulate other possible behaviour of Metrifox: other page sizes, other envelopes."""

    async def handler(request: web.Request) -> web.Response:
        size = min(int(request.query["per_page"]), most)
        page = int(request.query["page"])
        rows = customers[(page - 1) * size : page * size]
        return as_json(answer(rows, page + 1 if page * size < len(customers) else 0))

    return handler


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 120])
@pytest.mark.parametrize(
    "answer",
    [
        lambda rows, follows: {"data": rows},
        lambda rows, follows: {"data": rows, "meta": {}},
        lambda rows, follows: {"data": rows, "meta": {"next_page": follows or None}, "tomorrow": 1},
        lambda rows, follows: rows,
    ],
    ids=["no meta", "empty meta", "only next_page", "bare"],
)
def test_a_list_whose_envelope_says_less(read: Read, count: int, answer: Callable[[list[Any], int], Any]) -> None:
    customers = [
        {"id": str(n), "customer_key": str(n), "customer_type": "BUSINESS", "primary_email": "a@x.example"}
        for n in range(count)
    ]
    with served(_paged(customers, 50, answer)) as there:
        assert keys(read(there.host, "?page_size=50")) == [str(n) for n in range(count)]


# A list that changes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_new_customers_shift_the_pages_and_each_comes_once(sandbox: Start, read: Read) -> None:
    metrifox = sandbox("metrifox", seed=300)
    before = {record["id"] for record in metrifox.state()}
    metrifox.record()
    metrifox.weather(latency=0.03, methods=["GET"])
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, metrifox, "?page_size=5")
        while len(metrifox.calls()) < 3:
            time.sleep(0.005)
        for n in range(20):
            create(metrifox, f"new{n}")
        rows = reading.result()
    ids = [row["provider_id"] for row in rows]
    assert len(ids) == len(set(ids))
    assert before <= set(ids) <= {record["id"] for record in metrifox.state()}


def test_a_list_that_is_shifted_by_whole_pages(read: Read) -> None:
    """Another client creates as many customers as fit on a page, for instance a hundred by bulk-create."""
    old = [
        {"id": str(n), "customer_key": str(n), "customer_type": "BUSINESS", "primary_email": "a@x.example"}
        for n in range(30)
    ]
    new = [{**one, "id": f"new{one['id']}"} for one in old[:10]]

    async def handler(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        now = [*new, *old] if page > 3 else old
        meta = {"total_count": len(now), "next_page": page + 1 if page * 5 < len(now) else None}
        return as_json({"data": now[page * 5 - 5 : page * 5], "meta": meta})

    with served(handler) as there:
        ids = [row["provider_id"] for row in read(there.host, "?page_size=5")]
    assert sorted(set(ids) - {one["id"] for one in new}, key=int) == [one["id"] for one in old]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
@pytest.mark.parametrize("archived", ["listed", "hidden"])
def test_a_list_with_simulated_failures_comes_whole(sandbox: Start, read: Read, archived: str) -> None:
    metrifox = sandbox("metrifox", seed=600, switches={"archived": archived})
    for record in metrifox.state()[::7]:
        call(metrifox, "POST", f"/{record['customer_key']}/archive")
    active = sorted(record["id"] for record in metrifox.state() if not record["archived_at"])
    metrifox.weather(shift=0.5, seed=5, statuses={"500": 0.05, "429": 0.05}, retry_after="none", cut_before=0.02)
    assert sorted(row["provider_id"] for row in read(metrifox, "?page_size=20")) == active


# Archived customers ----------------------------------------------------------------------------------------------


def test_archived_customers_come_only_where_they_are_wanted(sandbox: Start, opened: Open, tmp_path: Path) -> None:
    metrifox = sandbox("metrifox", seed=3)
    here, gone, also = (record["customer_key"] for record in metrifox.state())
    misleading = {"note": '"metrifox.archived_at":"x"', "deep": {"metrifox.archived_at": 1}}
    call(metrifox, "PATCH", f"/{here}", {"metadata": misleading})
    call(metrifox, "POST", f"/{gone}/archive")
    source = opened(metrifox)
    (part,) = source.parts(tmp_path / "pages")
    batch = part.read()
    assert batch.records["external_id"].to_list() == [also, here]
    assert batch.lines.to_list() == [1, 3]
    assert source.layouts()[0].notes == ("skipped 1 archived customer; --include-archived reads it",)
    # The result read without them is not reused with them.
    (both,) = opened(metrifox, include_archived=True).parts(tmp_path / "all")
    assert both.digest() != part.digest()


def test_archived_customers_are_inactive_unless_their_status_was_kept(metrifox: Sandbox, read: Read) -> None:
    create(metrifox, "here")
    create(metrifox, "kept", metadata={"canon_status": "suspended"})
    when = {}
    for key in ("gone", "kept"):
        if key == "gone":
            create(metrifox, key)
        when[key] = call(metrifox, "POST", f"/{key}/archive")["archived_at"]
    rows = {row["external_id"]: row for row in read(metrifox, include_archived=True)}
    assert {key: row["status"] for key, row in rows.items()} == {"here": None, "kept": "suspended", "gone": "inactive"}
    assert json.loads(rows["gone"]["metadata"])["metrifox.archived_at"] == when["gone"]


def test_deleted_customers_are_gone(metrifox: Sandbox, read: Read) -> None:
    for key in ("here", "gone"):
        create(metrifox, key)
    call(metrifox, "DELETE", "/gone")
    assert keys(read(metrifox, include_archived=True)) == ["here"]


# Contents ------------------------------------------------------------------------------------------------------


def test_every_seeded_customer_comes_back_as_it_was(sandbox: Start, read: Read) -> None:
    rows = pl.DataFrame(read(sandbox("metrifox", seed=1200)), schema=dict.fromkeys(COLUMNS, pl.String))
    there = rows.select(
        pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC")
        if name in INSTANTS
        else pl.col(name).str.json_decode(pl.List(pl.String))
        if name in LISTS
        else pl.col(name).cast(dtype)
        for name, dtype in COLUMNS.items()
    ).sort("external_id")
    here = seed.customers(1200).select(list(COLUMNS)).sort("external_id")
    own = ["updated_at", "provider", "provider_id", "metadata"]
    assert there.drop(own).equals(here.drop(own))
    assert [json.loads(text or "{}") for text in there["metadata"]] == [
        json.loads(text or "{}") for text in here["metadata"]
    ]


def test_a_customer_moves_to_another_account(sandbox: Start, read: Read) -> None:
    """Read from one account, written to another, read again: equal except for values that an account sets itself."""
    here, there = sandbox("metrifox"), sandbox("metrifox")
    create(here, "plain")
    create(
        here,
        "full",
        customer_type="INDIVIDUAL",
        display_name=None,
        first_name="Ada",
        middle_name="Ngozi",
        last_name="Okoro",
        date_of_birth="1985-03-15",
        tax_status="TAX_EXEMPT",
        shipping_city="Lagos",
        contact_people=[{"first_name": "Chika", "last_name": "Okoro", "department": "Finance", "is_primary": True}],
        payment_terms=[{"type": "NET_7", "value": 7}, {"type": "Custom", "value": "9"}],
        email_addresses=[{"email": "info@x.example", "is_primary": False}],
        phone_numbers=[{"phone_number": "8012345678", "country_code": "+234", "is_primary": True}],
        billing_configuration={"preferred_payment_gateway": "stripe", "payment_reminder_days": None},
        tax_identifications=[{"type": "VAT", "number": "VAT123456789", "country": "Nigeria"}],
        metadata={"tier": "pro", "flags": {"vip": True, "note": None}},
        documents={"contract": "https://x.example/c.pdf"},
    )
    first = read(here)
    frame = pl.DataFrame(first, schema=dict.fromkeys(COLUMNS, pl.String)).select(
        pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC")
        if name in INSTANTS
        else pl.col(name).cast(dtype)
        if name not in LISTS
        else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in COLUMNS.items()
    )
    encoded = encode(SCHEMA, frame)
    assert encoded.refused.is_empty()
    for body in reversed(encoded.bodies.to_list()):
        call(there, "POST", "/new", json.loads(body))
    own = ("id", "created_at", "updated_at", "metadata")
    kept = [{name: value for name, value in one.items() if name not in own} for one in here.state()]
    assert [{name: value for name, value in one.items() if name not in own} for one in there.state()] == kept
    second = read(there)
    for row in (*first, *second):
        del row["provider_id"], row["updated_at"]
        row["metadata"] = json.loads(row["metadata"] or "{}")
    at = [datetime.fromisoformat(row.pop("created_at")) for row in (*first, *second)]
    assert first == second
    # The time of creation is kept, in Metrifox's precision of milliseconds.
    assert at[:2] == at[2:]


@pytest.mark.slow
def test_a_run_into_a_table(metrifox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRIFOX_API_KEY", KEY)
    made = create(
        metrifox,
        "okoro",
        primary_email="Support@Okoro.example",
        primary_phone="08012345678",
        display_name="Okoro  Manufacturing",
        legal_name="Okoro Manufacturing Limited",
        country="Nigeria",
        currency="ngn",
        timezone="Africa/Lagos",
        zip_code="0900001",
        tax_identification_number="tin567890123",
        billing_email="billing@okoro.example",
        payment_terms=[{"type": "Custom", "value": "7"}],
        metadata={"canon_trial_started": "2026-01-02T03:04:05Z", "seats": 12},
    )
    create(metrifox, "long", display_name="x" * 256)
    create(metrifox, "gone")
    call(metrifox, "POST", "/gone/archive")
    warehouse = Warehouse(tmp_path)
    report = warehouse.load(f"metrifox://127.0.0.1:{metrifox.port}")
    assert (report.counts.read, report.counts.created, report.counts.rejected, report.exit_code) == (2, 1, 1, 4)
    (row,) = warehouse.rows()
    assert {name: value for name, value in row.items() if value is not None and name in COLUMNS} == {
        "external_id": "okoro",
        "email": "support@okoro.example",
        "name": "Okoro Manufacturing",
        "legal_name": "Okoro Manufacturing Limited",
        "customer_type": "BUSINESS",
        "phone": "+2348012345678",
        "zip_code": "0900001",
        "country": "NG",
        "currency": "NGN",
        "timezone": "Africa/Lagos",
        "net_terms": 7,
        "created_at": datetime.fromisoformat(made["created_at"]),
        "updated_at": datetime.fromisoformat(made["updated_at"]),
        "trial_started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "tax_id": "TIN567890123",
        "billing_contact_email": "billing@okoro.example",
        "metadata": row["metadata"],
        "provider": "metrifox",
        "provider_id": made["id"],
    }
    assert json.loads(row["metadata"]) == {"seats": 12}
    (rejected,) = rejects(report)
    assert (rejected["external_id"], rejected["_codes"]) == ("long", "name.too_long")
    assert warehouse.load(f"metrifox://127.0.0.1:{metrifox.port}", include_archived=True).counts.created == 1


def test_what_breaks_the_schema_is_a_reject_with_its_id(metrifox: Sandbox, opened: Open, tmp_path: Path) -> None:
    create(metrifox, "good")
    wrong = create(metrifox, "wrong")
    # As webhooks show the type.
    metrifox.add({**wrong, "customer_type": 1, "metadata": []})
    (batch,) = [part.read() for part in opened(metrifox).parts(tmp_path / "pages")]
    assert batch.records["external_id"].to_list() == ["good"]
    (broken,) = batch.broken.to_dicts()
    assert (broken["line"], broken["code"]) == (1, "record.shape")
    assert broken["detail"] == (
        "customer_type is a number, text is expected; metadata is an array, an object is expected"
    )
    assert wrong["id"] in broken["text"]


# Messages --------------------------------------------------------------------------------------------------------


def test_the_words_of_a_refusal_are_metrifoxs(metrifox: Sandbox, opened: Open, tmp_path: Path) -> None:
    metrifox.keys(valid=["another"])
    with pytest.raises(Refused, match="Unauthorized") as error:
        list(opened(metrifox).parts(tmp_path / "pages"))
    assert KEY not in str(error.value)
    assert "METRIFOX_API_KEY" in str(error.value)


@pytest.mark.parametrize("body", [{"error": "x"}, [], "x", {"message": None}])
def test_an_error_in_an_unknown_form(opened: Open, tmp_path: Path, body: Any) -> None:
    async def handler(_: web.Request) -> web.Response:
        return as_json(body, status=401)

    with served(handler) as there, pytest.raises(Refused):
        list(opened(there.host).parts(tmp_path / "pages"))


@pytest.mark.parametrize("body", [{"message": "Customers Fetched"}, {"data": {"a": 1}}, "x"])
def test_an_answer_without_customers(opened: Open, tmp_path: Path, body: Any) -> None:
    async def handler(_: web.Request) -> web.Response:
        return as_json(body)

    with served(handler) as there, pytest.raises(Malformed):
        list(opened(there.host).parts(tmp_path / "pages"))


@pytest.mark.parametrize("option", ["?source=x", "?key=secret", "?search_term=x"])
def test_an_option_it_does_not_have(option: str) -> None:
    with pytest.raises(ConfigError, match="unknown option") as error:
        ApiSource(SPEC, f"metrifox://{option}", environment={"METRIFOX_API_KEY": KEY})
    assert "secret" not in str(error.value)


def test_without_a_host_it_is_metrifox_itself() -> None:
    source = ApiSource(SPEC, "metrifox://", environment={"METRIFOX_API_KEY": KEY})
    assert source.fingerprint()[0]["base_url"] == "https://api.metrifox.com/api/v1"


def test_the_doctor_looks_without_changing_anything(sandbox: Start) -> None:
    metrifox = sandbox("metrifox", seed=7)
    metrifox.record()
    findings = check(SPEC, f"metrifox://127.0.0.1:{metrifox.port}", environment={"METRIFOX_API_KEY": KEY})
    assert [finding.state for finding in findings] == ["ok"] * len(findings)
    assert HealthFinding("customers", "ok", "7") in findings
    assert [noted["method"] for noted in metrifox.calls()] == ["GET"]
