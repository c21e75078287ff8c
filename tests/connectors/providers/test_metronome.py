"""Metronome as a source, read from its sandbox over a socket: its particulars, in addition to the shared suite."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from support.sandboxes import Sandbox, Start
from support.warehouse import Warehouse
from tranship.connectors.api.health import check
from tranship.connectors.api.json_codec import encode
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.errors import ConfigError, Refused
from tranship.connectors.providers.metronome import SPEC
from tranship.connectors.sandbox.seed import customers
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.providers.metronome import SCHEMA

TOKEN = "token-0123456789"
QUICK = RetryPolicy(tries=6, first_pause=0.01, silence=5)

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def metronome(sandbox: Start) -> Sandbox:
    return sandbox("metronome")


@pytest.fixture
def opened(metronome: Sandbox) -> Iterator[Callable[..., ApiSource]]:
    """`opened("?page_size=2", include_archived=True)`: the source, not read yet."""
    sources = []

    def source(options: str = "", **settings: Any) -> ApiSource:
        environment = {"METRONOME_BEARER_TOKEN": TOKEN, **settings.pop("environment", {})}
        spec = settings.pop("spec", f"metronome://127.0.0.1:{metronome.port}{options}")
        made = ApiSource(SPEC, spec, environment=environment, retry_policy=QUICK, **settings)
        sources.append(made)
        return made

    yield source
    for made in sources:
        made.close()


@pytest.fixture
def read(opened: Callable[..., ApiSource], tmp_path: Path) -> Read:
    """Return all customers, as rows of canonical columns."""

    def rows(options: str = "", **settings: Any) -> list[dict[str, Any]]:
        source = opened(options, **settings)
        batches = [part.read() for part in source.parts(tmp_path / "pages")]
        assert all(batch.broken.is_empty() for batch in batches)
        return [row for batch in batches for row in batch.records.to_dicts()]

    return rows


def call(metronome: Sandbox, path: str, body: Any) -> Any:
    raw = metronome.ask("POST", path, body, {"Authorization": f"Bearer {TOKEN}"})
    return json.loads(raw) if raw else None


def create(metronome: Sandbox, name: str, **fields: Any) -> str:
    return str(call(metronome, "/v1/customers", {"name": name, **fields})["data"]["id"])


def archive(metronome: Sandbox, customer: str) -> None:
    call(metronome, "/v1/customers/archive", {"id": customer})


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def lists(metronome: Sandbox) -> list[dict[str, str]]:
    """Return the queries of the calls that listed customers."""
    queries = [urlsplit(noted["path"]).query for noted in metronome.calls()]
    return [{name: value for name, (value,) in parse_qs(query).items()} for query in queries]


# Requests ----------------------------------------------------------------------------------------------------------


def test_pages_follow_their_cursors(metronome: Sandbox, read: Read) -> None:
    for n in range(5):
        create(metronome, str(n))
    metronome.record()
    assert names(read("?page_size=2")) == ["0", "1", "2", "3", "4"]
    calls = lists(metronome)
    assert {(asked["limit"], asked["only_archived"]) for asked in calls} == {("2", "false")}
    # Only a second read shows a customer that moved: without a total, no page shows it.
    assert ["next_page" in asked for asked in calls] == [False, True, True] * 2


def test_a_page_is_the_largest_that_is_allowed(metronome: Sandbox, read: Read) -> None:
    create(metronome, "A")
    metronome.record()
    read()
    assert {asked["limit"] for asked in lists(metronome)} == {"100"}


def test_a_page_size_that_metronome_does_not_take(metronome: Sandbox, read: Read) -> None:
    with pytest.raises(Refused, match="limit must be a number from 1 to 100"):
        read("?page_size=101")


def test_the_vendors_base_url_counts_where_no_host_is_named(metronome: Sandbox, read: Read) -> None:
    create(metronome, "A")
    assert names(read(spec="metronome://", environment={"METRONOME_BASE_URL": metronome.url})) == ["A"]


@pytest.mark.parametrize("option", ["?source=x", "?token=secret", "?only_archived=true"])
def test_an_option_it_does_not_have(opened: Callable[..., ApiSource], option: str) -> None:
    with pytest.raises(ConfigError, match="unknown option") as error:
        opened(option)
    assert "secret" not in str(error.value)


# Archived customers ----------------------------------------------------------------------------------------------


def test_archived_customers_come_only_where_they_are_wanted(metronome: Sandbox, read: Read, tmp_path: Path) -> None:
    for name in ("here", "gone"):
        create(metronome, name, ingest_aliases=[name])
    archive(metronome, metronome.state()[1]["id"])
    assert names(read()) == ["here"]


def test_archived_customers_come_as_cancelled(metronome: Sandbox, read: Read) -> None:
    call(
        metronome, "/v1/customFields/addKey", {"entity": "customer", "key": "canon_status", "enforce_uniqueness": False}
    )
    create(metronome, "here", ingest_aliases=["here"])
    gone = create(metronome, "gone", ingest_aliases=["gone"], custom_fields={"canon_status": "trial"})
    archive(metronome, gone)
    here, archived = read(include_archived=True)
    assert (here["name"], here["status"], here["external_id"]) == ("here", "active", "here")
    assert (archived["name"], archived["status"], archived["provider_id"]) == ("gone", "cancelled", gone)
    assert json.loads(archived["metadata"]) == {"metronome.archived_at": metronome.state()[1]["archived_at"]}


@pytest.mark.slow
def test_customers_that_are_archived_during_the_read_come_once(metronome: Sandbox, read: Read) -> None:
    ids = [create(metronome, str(n)) for n in range(6)]
    metronome.record()
    metronome.weather(latency=0.03)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, "?page_size=1", include_archived=True)
        while len(metronome.calls()) < 4:
            time.sleep(0.005)
        # By now the archived list has been read, and was empty; the first of these was read as active, the last was
        # not.
        archive(metronome, ids[0])
        archive(metronome, ids[5])
        rows = reading.result()
    assert sorted(row["provider_id"] for row in rows) == sorted(ids)


# Contents ------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_back(metronome: Sandbox, read: Read) -> None:
    then = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    customers = pl.DataFrame(
        [
            {**dict.fromkeys(COLUMNS), "name": "A"},
            {
                **{name: f"{name} é" for name in COLUMNS},
                **dict.fromkeys(INSTANTS, then),
                **{"name": "n" * 255, "net_terms": 45, "status": "suspended", "country": "SE", "currency": "SEK"},
                **{"aliases": ["legacy-1", "ö"], "invoice_cc_emails": ["cfo@nordlys.example"]},
                **{"metadata": '{"tier":"pro","seats":12,"canon":"x","deep":{"a":[null,1.5]}}'},
            },
        ],
        schema=COLUMNS,
    )
    encoded = encode(SCHEMA, customers)
    assert encoded.refused.is_empty()
    bodies = [json.loads(body) for body in encoded.bodies]
    for key in {key for body in bodies for key in body.get("custom_fields", {})}:
        call(metronome, "/v1/customFields/addKey", {"entity": "customer", "key": key, "enforce_uniqueness": False})
    for body in bodies:
        call(metronome, "/v1/customers", body)
    plain, full = read()
    own = {**{"provider": "metronome"}, **{name: metronome.state()[0][name] for name in ("updated_at",)}}
    assert {name: value for name, value in plain.items() if value is not None} == {
        "name": "A",
        "provider_id": metronome.state()[0]["id"],
        **own,
    }
    origin = {"provider é.id": "provider_id é"}
    assert json.loads(full.pop("metadata")) == {**json.loads(customers["metadata"][1]), **origin}
    assert (full.pop("provider"), full.pop("provider_id")) == ("metronome", metronome.state()[1]["id"])
    assert full.pop("updated_at") == metronome.state()[1]["updated_at"]
    instants = dict.fromkeys(INSTANTS, "2020-01-02T03:04:05Z")
    lists = {"aliases": '["legacy-1","ö"]', "invoice_cc_emails": '["cfo@nordlys.example"]'}
    expected = {**customers.row(1, named=True), **instants, **lists, "net_terms": "45"}
    assert full == {name: expected[name] for name in full}


def test_a_run_into_a_table(metronome: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRONOME_BEARER_TOKEN", TOKEN)
    create(metronome, "Nordlys AB", ingest_aliases=["x", "legacy-1"])
    create(metronome, "gone", ingest_aliases=["y"], customer_config={"salesforce_account_id": "sf-1"})
    archive(metronome, metronome.state()[1]["id"])
    warehouse = Warehouse(tmp_path)
    report = warehouse.load(f"metronome://127.0.0.1:{metronome.port}", include_archived=True)
    assert (report.counts.read, report.counts.created, report.exit_code) == (2, 2, 0)
    first, second = warehouse.rows("SELECT external_id, aliases, status, metadata FROM customers ORDER BY external_id")
    assert (first["external_id"], first["aliases"], first["status"]) == ("x", ["legacy-1"], "active")
    assert second["status"] == "cancelled"
    assert json.loads(second["metadata"])["metronome.customer_config"] == {"salesforce_account_id": "sf-1"}


def test_what_breaks_the_schema_is_a_reject_with_its_id(
    metronome: Sandbox, opened: Callable[..., ApiSource], tmp_path: Path
) -> None:
    customer = create(metronome, "A")
    create(metronome, "B")
    metronome.add({**metronome.state()[0], "ingest_aliases": "x", "custom_fields": []})
    (batch,) = [part.read() for part in opened().parts(tmp_path / "pages")]
    assert names(batch.records.to_dicts()) == ["B"]
    (broken,) = batch.broken.to_dicts()
    assert (broken["line"], broken["code"]) == (1, "record.shape")
    assert (
        broken["detail"]
        == "ingest_aliases is text, an array of text is expected; custom_fields is an array, an object is expected"
    )
    assert customer in broken["text"]


# Weather ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_lists_come_whole_while_they_shift(sandbox: Start, tmp_path: Path) -> None:
    metronome = sandbox("metronome", seed=600)
    for record in metronome.state()[::7]:
        archive(metronome, record["id"])
    metronome.weather(
        shift=0.5, seed=5, statuses={"500": 0.05, "429": 0.05}, retry_after="milliseconds", retry_seconds=0.02
    )
    source = ApiSource(
        SPEC,
        f"metronome://127.0.0.1:{metronome.port}?page_size=20",
        include_archived=True,
        environment={"METRONOME_BEARER_TOKEN": TOKEN},
        retry_policy=QUICK,
    )
    ids = [id for part in source.parts(tmp_path / "pages") for id in part.read().records["provider_id"]]
    source.close()
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(record["id"] for record in metronome.state())


def test_a_read_that_stopped_goes_on_behind_its_last_page(metronome: Sandbox, read: Read) -> None:
    for n in range(9):
        create(metronome, str(n))
    metronome.keys(stops_after={TOKEN: 3})
    with pytest.raises(Refused, match="401"):
        read("?page_size=2")
    metronome.keys()
    metronome.record()
    assert names(read("?page_size=2")) == [str(n) for n in range(9)]
    # Two pages of the first read were missing, then the five of the second.
    assert ["next_page" in asked for asked in lists(metronome)] == [True, True, False, True, True, True, True]


# Messages -------------------------------------------------------------------------------------------------


def test_a_token_that_is_not_good(metronome: Sandbox, read: Read) -> None:
    metronome.keys(valid=["another"])
    with pytest.raises(Refused, match="METRONOME_BEARER_TOKEN") as error:
        read()
    assert "401" in str(error.value)
    assert TOKEN not in str(error.value)


def test_doctor(metronome: Sandbox) -> None:
    create(metronome, "A")
    metronome.record()
    findings = check(SPEC, f"metronome://127.0.0.1:{metronome.port}", environment={"METRONOME_BEARER_TOKEN": TOKEN})
    assert {finding.state for finding in findings} == {"ok"}
    assert [noted["method"] for noted in metronome.calls()] == ["GET"]
    assert lists(metronome) == [{"only_archived": "false", "limit": "1"}]


def test_a_seeded_account_is_read_as_it_was_meant(sandbox: Start, tmp_path: Path) -> None:
    metronome = sandbox("metronome", seed=1000)
    source = ApiSource(
        SPEC,
        f"metronome://127.0.0.1:{metronome.port}",
        environment={"METRONOME_BEARER_TOKEN": TOKEN},
        retry_policy=QUICK,
    )
    rows = [row for part in source.parts(tmp_path / "pages") for row in part.read().records.to_dicts()]
    source.close()
    meant = customers(1000)
    assert meant["name"].str.len_chars().max() > 160
    for read, row in zip(rows, meant.to_dicts(), strict=True):
        for name in INSTANTS:
            row[name] = row[name] and row[name].isoformat().replace("+00:00", "Z")
        for name in ("metadata", *LISTS):
            read[name] = read[name] and json.loads(read[name])
        row["metadata"] = row["metadata"] and json.loads(row["metadata"])
        row["net_terms"] = None if row["net_terms"] is None else str(row["net_terms"])
        own = {name: read[name] for name in ("provider", "provider_id", "updated_at")}
        assert read == {**row, **own}
