"""GrowPanel as a source, read from its sandbox, and from small servers with answers that the sandbox never sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from polars.testing import assert_frame_equal

from support.sandboxes import Sandbox, Start
from support.served import served
from support.warehouse import Warehouse
from tranship.connectors.api.health import check
from tranship.connectors.api.json_codec import decode, encode
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused
from tranship.connectors.providers.growpanel import SPEC
from tranship.connectors.sandbox import seed
from tranship.schemas.providers.growpanel import SCHEMA

KEY = "account.key.0123456789"
QUICK = RetryPolicy(tries=2, first_pause=0.01, connect=2, silence=2)
ROW = {"id": "a", "name": "A", "created_date": "2021-01-01", "country": "SE", "data_source": "ds_main"}


def read(spec: str, keep: Path, environment: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return all customers of an address, in canonical columns as text."""
    source = ApiSource(SPEC, spec, retry_policy=QUICK, environment=environment or {"GROWPANEL_API_KEY": KEY})
    try:
        batches = [part.read() for part in source.parts(keep)]
        assert all(batch.broken.is_empty() for batch in batches)
        return pl.concat([batch.records for batch in batches]) if batches else pl.DataFrame({"external_id": []})
    finally:
        source.close()


def address(sandbox: Sandbox, source: str = "ds_main") -> str:
    return f"growpanel://127.0.0.1:{sandbox.port}?source={source}"


def save(sandbox: Sandbox, *rows: dict[str, Any], key: str = KEY) -> Any:
    body = json.dumps(rows).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return json.loads(sandbox.ask("POST", "/data/customers", body, headers))


def new_source(sandbox: Sandbox) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {KEY}"}
    return dict(json.loads(sandbox.ask("POST", "/data/data-sources", {"name": "Second", "type": "api"}, headers)))


# Customers are read completely -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["spec", "docs"])
def test_what_was_written_is_read(
    sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    there = sandbox("growpanel", seed=2500, switches={"dialect": dialect})
    monkeypatch.setenv("GROWPANEL_API_KEY", KEY)
    warehouse = Warehouse(tmp_path)
    warehouse.load(address(there))

    found = {row["external_id"]: row for row in warehouse.rows()}
    for customer in seed.customers(2500).iter_rows(named=True):
        row = found.pop(customer["external_id"])
        # A phone number is normalised by the pipeline; the rest is the provider's own.
        for field in customer.keys() - {"phone", "metadata", "updated_at", "provider", "provider_id"}:
            assert row[field] == customer[field], field
        assert json.loads(row["metadata"] or "null") == json.loads(customer["metadata"] or "null")
        assert (row["provider"], row["provider_id"]) == ("growpanel", customer["external_id"])
    assert not found


IDS = ("a/b", "a?b=c&d", "ö 1", "%2F", 'quo"te', "back\\slash", "é" * 255, "../x", "🚢", "a,b]}")
METADATA = (
    {"canon": "x", "canon_city": "not ours", "canon_nulls": "city", "": "no key", "growpanel.status": "paused"},
    {"k" * 255: "v" * 1000, "k" * 256: "v", "v": "v" * 1001, "long": "ö" * 9000},
    {"nested": {"a": [1, None, {"b": True}]}, "number": 12345678901234567890, "float": 0.1, "null": None, "text": "7"},
    {'quote"': "\\", "lines": "a\nb\r\n\t", "growpanel.data_source": "ds_other", "growpanel.current_mrr": {"a": 1}},
    {},
)


@pytest.mark.parametrize("dialect", ["spec", "docs"])
def test_the_sandbox_keeps_whatever_is_written(sandbox: Start, tmp_path: Path, dialect: str) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    customers = seed.customers(len(IDS)).with_columns(
        pl.Series("external_id", IDS),
        pl.Series("metadata", [json.dumps(METADATA[number % len(METADATA)]) for number in range(len(IDS))]),
        pl.Series("name", [f"{number}\u2028 {'n' * 240}" for number in range(len(IDS))]),
    )
    encoded = encode(SCHEMA, customers, {"data_source": "ds_main"})
    assert encoded.refused.is_empty()
    save(there, *map(json.loads, encoded.bodies))

    found = read(address(there), tmp_path).sort("external_id")
    sent = decode(SCHEMA, [f"[{','.join(encoded.bodies)}]"]).records.sort("external_id")
    assert_frame_equal(found.drop("metadata"), sent.drop("metadata"))
    # The order of two entries does not matter.
    assert list(map(json.loads, found["metadata"].drop_nulls())) == list(map(json.loads, sent["metadata"].drop_nulls()))
    for number, row in enumerate(customers.sort("external_id").iter_rows(named=True)):
        kept = {name: value for name, value in json.loads(row["metadata"]).items() if name != "growpanel.current_mrr"}
        assert json.loads(found["metadata"][number] or "{}") == kept


@pytest.mark.slow
def test_all_come_in_one_call(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel", seed=5000)
    there.record()
    assert read(address(there), tmp_path).height == 5000
    assert [(call["method"], call["path"], call["status"]) for call in there.calls()] == [
        ("GET", "/data/customers?source=ds_main&data_source=ds_main", 200)
    ]


def test_customers_of_other_data_sources_stay_where_they_are(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel")
    second = new_source(there)["id"]
    save(there, ROW, {**ROW, "id": "b"}, {**ROW, "name": "of the second", "data_source": second})
    assert read(address(there), tmp_path / "1")["external_id"].to_list() == ["a", "b"]
    assert read(address(there, second), tmp_path / "2")["name"].to_list() == ["of the second"]


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/"])
def test_the_base_url_of_the_environment(sandbox: Start, tmp_path: Path, prefix: str) -> None:
    there = sandbox("growpanel", seed=3)
    environment = {"GROWPANEL_API_KEY": KEY, "GROWPANEL_API_URL": there.url + prefix}
    assert read("growpanel://?source=ds_main", tmp_path, environment).height == 3


def test_the_old_name_of_the_key_counts(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel", seed=3)
    assert read(address(there), tmp_path, {"GROWPANEL_API_TOKEN": KEY}).height == 3


def test_a_viewer_and_a_key_of_the_source_read(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel")
    second = new_source(there)
    save(there, ROW, {**ROW, "data_source": second["id"]})
    assert read(address(there), tmp_path / "1", {"GROWPANEL_API_KEY": "gp_viewer_1"}).height == 1
    bound = {"GROWPANEL_API_KEY": second["access_token"]}
    assert read(address(there, second["id"]), tmp_path / "2", bound).height == 1


# Errors ------------------------------------------------------------------------------------------------


def refused(kind: type[ConnectorError], spec: str, keep: Path, key: str = KEY) -> str:
    with pytest.raises(kind) as caught:
        read(spec, keep, {"GROWPANEL_API_KEY": key})
    said = str(caught.value)
    assert key not in said
    return said


def test_a_data_source_must_be_named(sandbox: Start) -> None:
    with pytest.raises(ConfigError, match="needs source, the id of the data source: growpanel://"):
        ApiSource(SPEC, "growpanel://", environment={"GROWPANEL_API_KEY": KEY})


def test_there_are_no_archived_customers() -> None:
    with pytest.raises(ConfigError, match="GrowPanel has no archived customers to include"):
        ApiSource(SPEC, "growpanel://?source=ds_main", include_archived=True, environment={"GROWPANEL_API_KEY": KEY})


def test_a_blocked_account(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel", seed=3, switches={"account": "blocked"})
    said = refused(Refused, address(there), tmp_path)
    assert "403" in said
    assert "Account is blocked or trial expired" in said


def test_a_key_of_another_data_source(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel", seed=3)
    token = new_source(there)["access_token"]
    assert "another data source" in refused(Refused, address(there), tmp_path, token)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Run a server with one answer to all calls; yield its address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type="application/json")

    with served(answer) as server:
        yield f"growpanel://{server.host}?source=ds_main"


@pytest.mark.parametrize("key", ["error", "message"])
def test_both_forms_of_an_error_are_quoted(tmp_path: Path, key: str) -> None:
    with answering(403, json.dumps({key: "Trial is over"}).encode()) as spec:
        assert "Trial is over" in refused(Refused, spec, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":{"count":3,"list":[{"id":"a"},{"id":"b"}]}}',
        b'{"result":{"count":1,"list":[{"id":"a"},{"id":"b"}]}}',
        b'{"result":{"count":2,"list":[{"id":"a"},{"id":"b"}',
        b'{"result":{"count":0}}',
        b'{"customers":[]}',
        b"",
    ],
)
def test_an_answer_that_does_not_fit_is_not_taken(tmp_path: Path, body: bytes) -> None:
    with answering(200, body) as spec:
        assert "GrowPanel" in refused(Malformed, spec, tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":{"list":[{"id":"a"},{"id":"b"}],"count":2}}',
        b' { "result" : { "list" : [ {"id":"a"} ,\n {"id":"b"} ] , "count" : 2 } } ',
        b'{"result":{"list":[{"id":"a"},{"id":"b"}]}}',
        b'[{"id":"a"},{"id":"b"}]',
        b'{"result":{"count":2,"list":[{"id":"a"},{"id":"b"}],"next":null},"currency":"usd"}',
    ],
)
def test_an_answer_in_another_dress_is_taken(tmp_path: Path, body: bytes) -> None:
    with answering(200, body) as spec:
        assert read(spec, tmp_path)["external_id"].to_list() == ["a", "b"]


def test_an_id_that_comes_twice_is_one_customer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWPANEL_API_KEY", KEY)
    body = json.dumps({"result": {"count": 3, "list": [ROW, {**ROW, "name": "again"}, {**ROW, "id": "b"}]}})
    warehouse = Warehouse(tmp_path)
    with answering(200, body.encode()) as spec:
        counts = warehouse.load(spec).counts
    assert (counts.read, counts.merged, counts.created) == (3, 1, 2)
    assert warehouse.column("external_id") == ["a", "b"]


# Doctor ----------------------------------------------------------------------------------------------------------


def states(spec: str, key: str = KEY) -> dict[str, tuple[str, str]]:
    found = check(SPEC, spec, retry_policy=QUICK, environment={"GROWPANEL_API_KEY": key})
    return {finding.what: (finding.state, finding.sentence) for finding in found}


def test_doctor_looks_for_the_data_source(sandbox: Start) -> None:
    there = sandbox("growpanel", seed=3)
    assert states(address(there))["data source"] == ("ok", "ds_main exists")
    state, sentence = states(address(there, "ds_other"))["data source"]
    assert (state, sentence) == (
        "fail",
        "data source ds_other does not exist; known data sources: ds_main. Choose one with ?source=",
    )


def test_doctor_is_content_where_data_sources_cannot_be_seen() -> None:
    with answering(200, b'{"data":[]}') as spec:
        assert states(spec)["data source"][0] == "warn"
