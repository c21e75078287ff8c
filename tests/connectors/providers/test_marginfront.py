"""MarginFront as a source, against its sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.sandboxes import Sandbox, Start
from tranship.connectors.api.health import check
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.errors import Refused
from tranship.connectors.providers.marginfront import SPEC

KEY = {"MF_API_SECRET_KEY": "mf_sk_test_1"}
QUICK = RetryPolicy(first_pause=0.005, longest_pause=0.05, silence=0.5)


def read(server: Sandbox, keep: Path, environment: Mapping[str, str] = KEY) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    """Return customers, records that break the schema, and notes."""
    source = ApiSource(SPEC, f"marginfront://127.0.0.1:{server.port}", retry_policy=QUICK, environment=environment)
    try:
        batches = [part.read() for part in source.parts(keep)]
        customers = pl.concat([batch.records.with_columns(line=batch.lines) for batch in batches])
        return customers, pl.concat([batch.broken for batch in batches]), source.layouts()[0].notes
    finally:
        source.close()


@pytest.mark.parametrize("seed", [1, 100, 101, 200, 250])
def test_every_customer_once(sandbox: Start, seed: int, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=seed)
    customers, broken, notes = read(server, tmp_path)
    assert customers["provider_id"].to_list() == [record["id"] for record in server.state()]
    assert customers["line"].to_list() == list(range(1, seed + 1))
    assert broken.is_empty()
    assert notes == ()


def test_what_stands_where(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("marginfront")
    server.ask(
        *("POST", "/v1/customers"),
        {"name": "Nordlys AB", "externalId": "cus_1", "metadata": {"canon_currency": "SEK", "tier": 1}, "city": "Umeå"},
        {"x-api-key": "mf_sk_test_1", "Content-Type": "application/json"},
    )
    [given] = server.state()
    customers, _, _ = read(server, tmp_path)
    [row] = customers.drop("line").rows(named=True)
    assert {field: value for field, value in row.items() if value is not None} == {
        **{"external_id": "cus_1", "name": "Nordlys AB", "city": "Umeå", "currency": "SEK", "metadata": '{"tier":1}'},
        **{"timezone": "UTC", "net_terms": "30", "status": "active"},
        **{"created_at": given["createdAt"], "updated_at": given["updatedAt"]},
        **{"provider": "marginfront", "provider_id": given["id"]},
    }


def test_records_that_break_the_schema_and_unknown_fields(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=3)
    good = server.state()[0]
    server.add(
        {**good, "id": "b1", "externalId": "b1", "name": None}, {**good, "id": "b2", "externalId": "b2", "colour": 7}
    )
    customers, broken, notes = read(server, tmp_path)
    assert len(customers) == 4
    assert json.loads(customers["metadata"][3])["marginfront.colour"] == 7
    assert "colour (1 customer)" in notes[0]
    assert broken["line"].to_list() == [4]
    assert json.loads(broken["text"][0])["id"] == "b1"


@pytest.mark.slow
@pytest.mark.parametrize("retry_after", ["none", "milliseconds"])
def test_simulated_failures(sandbox: Start, retry_after: str, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=2000)
    server.weather(
        **{"statuses": {"500": 0.05, "429": 0.05, "503": 0.02}, "retry_after": retry_after, "retry_seconds": 0.05},
        **{"cut_before": 0.02, "cut_after": 0.02, "half": 0.02, "html": 0.02, "timeout": 0.01, "shift": 0.2},
        **{"latency": 0.005, "jitter": 0.005, "seed": 5},
    )
    customers, _, _ = read(server, tmp_path)
    assert sorted(customers["provider_id"]) == sorted(record["id"] for record in server.state())


@pytest.mark.slow
def test_customers_that_come_and_go_meanwhile(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=1500)
    before = {record["id"] for record in server.state()}
    server.weather(churn=0.3, seed=2)
    customers, _, _ = read(server, tmp_path)
    server.weather()
    stayed = before & {record["id"] for record in server.state()}
    assert stayed < before
    assert stayed <= set(customers["provider_id"])
    assert customers["provider_id"].n_unique() == len(customers)


@pytest.mark.slow
def test_a_key_that_stops_in_the_middle_and_another_one_that_goes_on(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=1000)
    server.keys(valid=["mf_sk_test_1", "mf_sk_test_2"], stops_after={"mf_sk_test_1": 4})
    with pytest.raises(Refused, match="401 Unauthorized"):
        read(server, tmp_path)
    server.record()
    customers, _, _ = read(server, tmp_path, {"MF_API_SECRET_KEY": "mf_sk_test_2"})
    assert customers["provider_id"].to_list() == [record["id"] for record in server.state()]
    assert len(server.calls()) == 6


def test_keys(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("marginfront", seed=5)

    def rights(key: str) -> str:
        environment = {"MF_API_SECRET_KEY": key}
        found = check(SPEC, f"marginfront://127.0.0.1:{server.port}", retry_policy=QUICK, environment=environment)
        return " ".join(one.sentence for one in found if one.what in ("rights", "key accepted", "customers"))

    assert rights("mf_sk_test_1") == "GET /customers returned 200 a secret key (mf_sk_…): may read and write 5"
    assert "403 Forbidden (A publishable key" in rights("mf_pk_test_1")
    assert "set MF_API_SECRET_KEY to a secret one (mf_sk_…)" in rights("mf_pk_test_1")
    assert "A key of the test environment is not valid in the live environment" in rights("nonsense")
    with pytest.raises(Refused, match="publishable key"):
        read(server, tmp_path, {"MF_API_SECRET_KEY": "mf_pk_test_1"})
