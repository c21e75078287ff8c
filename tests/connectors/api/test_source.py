"""A provider's API as a source: addresses, keys, parts, and the checks of `tranship doctor`."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from support.accounts import opened
from support.sandboxes import Start
from support.served import Served, as_json, nobody, served
from tranship.connectors import lookup, registry
from tranship.connectors.api.health import check
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.api.spec import ProviderSpec, parse_address
from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused, TranshipError, Unreachable
from tranship.connectors.providers import marginfront
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import BROKEN

KEY = "mf_sk_test_very-secret"
ENVIRONMENT = {"MF_API_SECRET_KEY": KEY}
QUICK = RetryPolicy(tries=3, first_pause=0.002, longest_pause=0.02, connect=2, silence=1)
APIS: dict[str, ProviderSpec] = {name: lookup.provider_spec(registry.CONNECTORS[name]) for name in registry.PROVIDERS}


def customer(n: int, **changes: Any) -> dict[str, Any]:
    return {
        **{"id": f"id-{n}", "externalId": f"cus_{n}", "name": f"Nordlys {n}", "email": f"ap{n}@nordlys.example"},
        **{"netTerms": 45, "invoiceEmailRecipients": ["a@b.example"], "metadata": {"tier": "pro", "none": None}},
        **{"status": "active", "createdAt": "2026-11-21T09:00:00.000Z", "updatedAt": "2026-11-21T09:00:00.000Z"},
        **changes,
    }


HttpResponse = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listing(customers: list[dict[str, Any]], before: HttpResponse | None = None) -> HttpResponse:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("x-api-key") != KEY:
            return as_json({"statusCode": 401, "message": "Unauthorized", "error": "Unauthorized"}, 401)
        if before and (given := await before(request)):
            return given
        page, limit = int(request.query["page"]), int(request.query["limit"])
        there = customers[(page - 1) * limit : page * limit]
        return as_json({"data": there, "totalResults": len(customers), "hasMore": page * limit < len(customers)})

    return answer


@contextmanager
def source(url: str, environment: Mapping[str, str] = ENVIRONMENT, **given: Any) -> Iterator[ApiSource]:
    spec = f"marginfront://{url.removeprefix('http://')}?page_size=10"
    opened = ApiSource(marginfront.SPEC, spec, retry_policy=QUICK, environment=environment, **given)
    try:
        yield opened
    finally:
        opened.close()


def read(url: str, keep: Path, **given: Any) -> tuple[list[Batch], tuple[str, ...]]:
    with source(url, **given) as opened:
        return [part.read() for part in opened.parts(keep)], opened.layouts()[0].notes


# Addresses -------------------------------------------------------------------------------------------------------

ADDRESSES = [
    ("marginfront", "marginfront://", {}, "https://api.marginfront.com/v1", {}),
    ("marginfront", "marginfront://eu.acme.com", {}, "https://eu.acme.com/v1", {}),
    ("marginfront", "marginfront://127.0.0.1:8703", {}, "http://127.0.0.1:8703/v1", {}),
    ("marginfront", "marginfront://localhost:8703/", {}, "http://localhost:8703/v1", {}),
    ("marginfront", "marginfront://[::1]:8703", {}, "http://[::1]:8703/v1", {}),
    ("marginfront", "marginfront://10.0.0.1:80", {}, "https://10.0.0.1:80/v1", {}),
    ("marginfront", "marginfront://?page_size=50", {}, "https://api.marginfront.com/v1", {"page_size": "50"}),
    ("marginfront", "marginfront://", {"MF_API_BASE_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1/v1", {}),
    ("marginfront", "marginfront://", {"MF_API_BASE_URL": "https://p.acme.com/mf/v1/"}, "https://p.acme.com/mf/v1", {}),
    ("marginfront", "marginfront://a.com", {"MF_API_BASE_URL": "https://p.acme.com"}, "https://a.com/v1", {}),
    ("metronome", "metronome://", {}, "https://api.metronome.com", {}),
    ("metronome", "metronome://127.0.0.1:8701", {}, "http://127.0.0.1:8701", {}),
    ("metronome", "metronome://", {"METRONOME_BASE_URL": "http://localhost:1"}, "http://localhost:1", {}),
    ("metrifox", "metrifox://127.0.0.1:8702", {}, "http://127.0.0.1:8702/api/v1", {}),
    ("growpanel", "growpanel://?source=ds_main", {}, "https://api.growpanel.io", {"source": "ds_main"}),
    ("growpanel", "growpanel://h.com?source=a%20b", {}, "https://h.com", {"source": "a b"}),
    (
        "growpanel",
        "growpanel://?source=x",
        {"GROWPANEL_API_URL": "https://h.com/v1"},
        "https://h.com/v1",
        {"source": "x"},
    ),
    ("blackwalnut", "blackwalnut://host.com/my-app", {}, "https://host.com/api/v1", {"app": "my-app"}),
    ("blackwalnut", "blackwalnut://127.0.0.1:4000/a", {}, "http://127.0.0.1:4000/api/v1", {"app": "a"}),
    (
        *("blackwalnut", "blackwalnut://"),
        {"BLACKWALNUT_BASE_URL": "https://bw.acme.com/api/v1", "BLACKWALNUT_APP": "shop"},
        *("https://bw.acme.com/api/v1", {"app": "shop"}),
    ),
    (
        "blackwalnut",
        "blackwalnut:///shop",
        {"BLACKWALNUT_BASE_URL": "https://b.com"},
        "https://b.com/api/v1",
        {"app": "shop"},
    ),
]


@pytest.mark.parametrize(("name", "spec", "environment", "base_url", "options"), ADDRESSES)
def test_addresses(name: str, spec: str, environment: dict[str, str], base_url: str, options: dict[str, str]) -> None:
    address = parse_address(APIS[name], spec, environment)
    assert (address.base_url, dict(address.options)) == (base_url, options)


@pytest.mark.parametrize(
    ("name", "spec", "environment", "words"),
    [
        ("marginfront", f"marginfront://{KEY}@h.com", {}, "contains a key, which would end up in logs"),
        ("marginfront", f"marginfront://user:{KEY}@h.com", {}, "contains a key, which would end up in logs"),
        ("marginfront", f"marginfront://?api_key={KEY}", {}, "unknown option 'api_key'"),
        ("marginfront", "marginfront://?page_size=", {}, "page_size is given without a value"),
        ("marginfront", "marginfront://?page_size=1&page_size=2", {}, "page_size is given twice"),
        ("marginfront", "marginfront://h.com/v1", {}, "remove the path after the host: marginfront://h.com"),
        ("marginfront", "marginfront://h.com:port", {}, "is not a valid address of a host and port"),
        ("marginfront", "marginfront://[::1", {}, "is not a valid address of a host and port"),
        ("marginfront", "marginfront://", {"MF_API_BASE_URL": "http://h.com"}, "over plain http"),
        ("marginfront", "marginfront://", {"MF_API_BASE_URL": "h.com"}, "is not a base URL such as"),
        ("marginfront", "marginfront://", {"MF_API_BASE_URL": f"https://{KEY}@h.com"}, "is not a base URL such as"),
        ("growpanel", "growpanel://", {}, r"needs source, .*: growpanel://\?source=…"),
        ("blackwalnut", "blackwalnut://h.com", {}, "add the app's slug after the host: blackwalnut://host/my-app"),
        ("blackwalnut", "blackwalnut://h.com/My_App", {}, "add the app's slug after the host"),
        ("blackwalnut", "blackwalnut://h.com/a/b", {}, "add the app's slug after the host"),
        ("blackwalnut", "blackwalnut:///shop", {}, "name the host"),
    ],
)
def test_addresses_that_cannot_be_used(name: str, spec: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        parse_address(APIS[name], spec, environment)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("name", APIS)
def test_a_missing_key_is_named(name: str) -> None:
    spec = {"growpanel": "growpanel://?source=a", "blackwalnut": "blackwalnut://h.com/a"}.get(name, f"{name}://")
    for environment in ({}, {APIS[name].key_variables[0]: " "}):
        with pytest.raises(ConfigError, match=rf"no key\. Set {APIS[name].key_variables[0]}"):
            ApiSource(APIS[name], spec, environment=environment)
    with pytest.raises(ConfigError, match="contains characters that no") as refused:
        ApiSource(APIS[name], spec, environment={APIS[name].key_variables[0]: "a\nsecret"})
    assert "secret" not in str(refused.value)


def test_archived_customers_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match="MarginFront has no archived customers to include"):
        ApiSource(marginfront.SPEC, "marginfront://", include_archived=True, environment=ENVIRONMENT)


def test_a_page_size_that_is_no_number(tmp_path: Path) -> None:
    for given in ("0", "-1", "many", "1.5", "9999999"):
        opened = ApiSource(marginfront.SPEC, f"marginfront://127.0.0.1:1?page_size={given}", environment=ENVIRONMENT)
        with pytest.raises(ConfigError, match="is not a number of customers per page"):
            list(opened.parts(tmp_path))
        opened.close()


def test_what_identifies_a_source_holds_no_key() -> None:
    with source("http://127.0.0.1:1") as one, source("http://127.0.0.1:2") as two:
        assert one.fingerprint() != two.fingerprint()
        assert one.fingerprint() == [
            {
                **{"provider": "marginfront", "base_url": "http://127.0.0.1:1/v1", "options": {"page_size": "10"}},
                **{"include_archived": False, "size": None},
            }
        ]


# Parts -----------------------------------------------------------------------------------------------------------


def test_customers_come_as_canonical_text(tmp_path: Path) -> None:
    with served(listing([customer(n) for n in range(25)])) as server:
        [batch], notes = read(server.url, tmp_path)
        assert [call.partition("?")[2] for call in server.calls] == [f"page={n}&limit=10" for n in (1, 2, 3)]
    assert batch.source == f"marginfront://{server.host}?page_size=10"
    assert batch.records.columns == list(COLUMNS)
    assert set(batch.records.dtypes) == {pl.String}
    assert batch.lines.to_list() == list(range(1, 26))
    assert batch.broken.schema == BROKEN
    assert batch.broken.is_empty()
    assert notes == ()
    row = batch.records.row(24, named=True)
    assert {field: value for field, value in row.items() if value is not None} == {
        **{"external_id": "cus_24", "name": "Nordlys 24", "email": "ap24@nordlys.example", "net_terms": "45"},
        **{"invoice_cc_emails": '["a@b.example"]', "metadata": '{"tier":"pro","none":null}', "status": "active"},
        **{"created_at": "2026-11-21T09:00:00.000Z", "updated_at": "2026-11-21T09:00:00.000Z"},
        **{"provider": "marginfront", "provider_id": "id-24"},
    }


def test_an_empty_account(tmp_path: Path) -> None:
    with served(listing([])) as server, source(server.url) as opened:
        assert list(opened.parts(tmp_path)) == []
        assert opened.size == 0


def test_the_size_is_known_after_the_first_page(tmp_path: Path) -> None:
    with served(listing([customer(n) for n in range(25)])) as server, source(server.url) as opened:
        assert opened.size is None
        positions = [part.position for part in opened.parts(tmp_path)]
        assert (opened.size, positions) == (25, [25])


def test_records_that_break_the_schema_are_distinguished(tmp_path: Path) -> None:
    customers: list[Any] = [customer(n) for n in range(12)]
    customers[3]["name"] = 7
    customers[5] = "nonsense"
    del customers[11]["id"]
    with served(listing(customers)) as server:
        [batch], _ = read(server.url, tmp_path)
    assert batch.lines.to_list() == [1, 2, 3, 5, 7, 8, 9, 10, 11]
    assert batch.broken["line"].to_list() == [4, 6, 12]
    assert set(batch.broken["code"]) == {"record.shape"}
    assert "name" in batch.broken["detail"][0]
    assert json.loads(batch.broken["text"][0])["id"] == "id-3"


def test_an_unknown_field_is_kept_and_reported(tmp_path: Path) -> None:
    customers = [customer(1, tier=7), customer(2), customer(3, tier=None, colour="red")]
    with served(listing(customers)) as server:
        [batch], notes = read(server.url, tmp_path)
    assert json.loads(batch.records["metadata"][0])["marginfront.tier"] == 7
    assert json.loads(batch.records["metadata"][2])["marginfront.colour"] == "red"
    [note] = notes
    assert note.startswith("undocumented fields of MarginFront are kept in metadata: colour (1 customer), tier")


def test_a_record_that_comes_twice_comes_once(tmp_path: Path) -> None:
    customers = [customer(n) for n in range(30)]

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.query["page"] == "3" and customers[0]["id"] == "id-0":
            customers.insert(25, customers.pop(0))
        return None

    with served(listing(customers, before)) as server:
        batches, notes = read(server.url, tmp_path)
    ids = [one for batch in batches for one in batch.records["external_id"]]
    assert sorted(ids) == sorted(f"cus_{n}" for n in range(30))
    lines = [line for batch in batches for line in batch.lines]
    assert len(set(lines)) == 30
    assert len(notes) == 1


def test_equal_digests_are_equal_parts(tmp_path: Path) -> None:
    customers = [customer(n) for n in range(25)]

    def digests(name: str) -> list[str]:
        with source(server.url) as opened:
            return [part.digest() for part in opened.parts(tmp_path / name)]

    with served(listing(customers)) as server:
        assert digests("a") == digests("a") == digests("b")
        customers[7]["phone"] = "1"
        assert digests("c") != digests("a")


@pytest.mark.parametrize("provider", ["blackwalnut", "growpanel"])
def test_customers_without_a_name_are_counted(provider: str, sandbox: Start, tmp_path: Path) -> None:
    there = opened(sandbox, provider, seed=250)
    records = there.sandbox.state()
    there.sandbox.clear()
    for at, record in enumerate(records[:12]):
        record["name"] = (None, " ")[at % 2]
        record["email"] = f"nameless{at}@example.com"
    # A name equal to the e-mail is a name.
    records[12] |= {"name": "a@b.co", "email": "a@b.co"}
    there.sandbox.add(*records)

    api = ApiSource(APIS[provider], there.address, environment=there.environment)
    try:
        names = pl.concat([part.read().records for part in api.parts(tmp_path)])["name"].to_list()
        notes = api.layouts()[0].notes
    finally:
        api.close()
    assert {f"nameless{at}@example.com" for at in range(12)} <= set(names)
    assert notes == ("12 customers without a name: the e-mail is used instead",)


def test_nothing_is_said_of_names_where_all_have_one(tmp_path: Path) -> None:
    with served(listing([customer(1, name="a@b.co", email="a@b.co")])) as server:
        assert read(server.url, tmp_path)[1] == ()


# Errors -------------------------------------------------------------------------------------------------


async def html(_: web.Request) -> web.Response:
    return web.Response(text="<html>Sign in</html>", content_type="text/html")


def test_each_trouble_is_one_sentence(tmp_path: Path) -> None:
    def words(url: str, kind: type[ConnectorError], **given: Any) -> str:
        with pytest.raises(kind) as stopped:
            read(url, tmp_path / "pages", **given)
        assert stopped.value.exit_code == 3
        assert KEY not in str(stopped.value)
        return str(stopped.value)

    with served(listing([customer(1)])) as server:
        said = words(server.url, Refused, environment={"MF_API_SECRET_KEY": "mf_sk_wrong"})
        assert said.startswith(
            f"MarginFront ({server.host}): GET /customers (page 1) returned 401 Unauthorized. The key"
        )
        assert "mf_sk_wrong" not in said
        publishable = words(server.url, Refused, environment={"MF_API_SECRET_KEY": "mf_pk_1"})
        assert "This is a publishable key (mf_pk_…), which cannot read customers" in publishable
    with served(html) as server:
        assert "returned text/html instead of JSON" in words(server.url, Malformed)
    with nobody() as url:
        assert "cannot be reached (connect" in words(url, Unreachable)


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_key_that_stops_in_the_middle(page: int, tmp_path: Path) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.query["page"] == str(page) and stops:
            return as_json({"statusCode": 401, "message": f"{KEY} is no more", "error": "Unauthorized"}, 401)
        return None

    stops = [True]
    with served(listing([customer(n) for n in range(25)], before)) as server:
        with pytest.raises(Refused, match="401 Unauthorized") as refused:
            read(server.url, tmp_path)
        assert KEY not in str(refused.value)
        stops.clear()
        [batch], _ = read(server.url, tmp_path)
        assert batch.records["external_id"].to_list() == [f"cus_{n}" for n in range(25)]


def test_no_secret_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def echo(request: web.Request) -> web.Response:
        return as_json({"statusCode": 403, "message": dict(request.headers).__repr__(), "error": "Forbidden"}, 403)

    with served(listing([customer(n) for n in range(25)])) as server:
        batches, notes = read(server.url, tmp_path / "good")
        said += [*notes, *(str(batch) for batch in batches)]
        with source(server.url) as opened:
            said += [repr(opened), str(opened.fingerprint()), repr(opened._service), repr(vars(opened))]
    with served(echo) as server, pytest.raises(TranshipError) as refused:
        read(server.url, tmp_path / "bad")
    said += [str(refused.value), repr(refused.value), repr(refused.value.__cause__), caplog.text]
    said += [str(finding) for finding in findings(server.url)]
    assert "***" in str(refused.value)
    assert not [text for text in said if KEY in text]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 6
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


def test_closing_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    with served(listing([customer(n) for n in range(500)])) as server:
        for _ in range(3):
            with source(server.url) as opened:
                next(opened.parts(tmp_path / "never"), None)
                opened.close()
        with source(server.url) as opened:
            opened.parts(tmp_path / "not begun")


# Doctor ----------------------------------------------------------------------------------------------------------


def findings(url: str, environment: Mapping[str, str] = ENVIRONMENT) -> list[Any]:
    spec = f"marginfront://{url.removeprefix('http://')}"
    return check(marginfront.SPEC, spec, retry_policy=QUICK, environment=environment)


def told(url: str, environment: Mapping[str, str] = ENVIRONMENT) -> dict[str, tuple[str, str]]:
    return {finding.what: (finding.state, finding.sentence) for finding in findings(url, environment)}


def test_a_check_of_what_is_well() -> None:
    with served(listing([customer(n) for n in range(25)])) as server:
        seen = told(server.url)
        assert server.calls == ["GET /v1/customers?page=1&limit=1"]
    assert {state for state, _ in seen.values()} == {"ok"}
    assert list(seen) == ["address", "key", "reachable", "key accepted", "rights", "clock", "rate limits", "customers"]
    assert seen["customers"] == ("ok", "25")
    assert seen["rights"][1].startswith("a secret key")
    assert seen["key"] == ("ok", "is set in MF_API_SECRET_KEY")


def test_a_check_of_a_clock_and_of_limits() -> None:
    async def before(_: web.Request) -> web.StreamResponse:
        late = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        return as_json({"data": []}, Date=late, X_RateLimit_Remaining="9", Retry_After="7")

    with served(listing([], before)) as server:
        seen = told(server.url)
    assert seen["clock"][0] == "warn"
    assert "differs from the provider's" in seen["clock"][1]
    assert seen["rate limits"] == ("ok", "Retry-After: 7; X-RateLimit-Remaining: 9")
    assert seen["customers"] == ("ok", "the provider does not state the number")


@pytest.mark.parametrize(
    ("environment", "what", "words"),
    [
        ({}, "key", "no key. Set MF_API_SECRET_KEY"),
        ({"MF_API_SECRET_KEY": "mf_sk_wrong"}, "key accepted", "401 Unauthorized"),
        ({"MF_API_SECRET_KEY": "mf_pk_x"}, "key accepted", "publishable key"),
    ],
)
def test_a_check_of_a_key(environment: dict[str, str], what: str, words: str) -> None:
    with served(listing([])) as server:
        last = findings(server.url, environment)[-1]
    assert (last.what, last.state) == (what, "fail")
    assert words in last.sentence


def test_a_check_of_what_is_no_provider() -> None:
    async def other(_: web.Request) -> web.Response:
        return as_json({"hello": "world"})

    async def missing(_: web.Request) -> web.Response:
        return as_json({"message": "no route"}, 404)

    for answer, what, words in (
        (html, "answer", "text/html"),
        (other, "answer", "has no list"),
        (missing, "answer", "404 Not Found (no route). Check the host and the address"),
    ):
        with served(answer) as server:
            last = findings(server.url)[-1]
            assert (last.what, last.state) == (what, "fail")
            assert words in last.sentence
    with nobody() as url:
        last = findings(url)[-1]
    assert (last.what, last.state) == ("reachable", "fail")
    assert findings("http://h.com/path")[-1].what == "address"


def test_several_servers_are_no_matter(tmp_path: Path) -> None:
    seen: list[Served] = []
    for number in range(2):
        with served(listing([customer(number)])) as server:
            [batch], _ = read(server.url, tmp_path)
            seen.append(server)
            assert batch.records["external_id"].to_list() == [f"cus_{number}"]
