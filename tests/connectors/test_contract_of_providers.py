"""The contract of every provider of the registry as a source, each read from its sandbox over a socket.

`TRANSHIP_MANY` is the number of customers of the big accounts, usually small; it works with a million.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import moving
from support.accounts import PROVIDERS, Account, opened
from support.long_tests import combined
from support.sandboxes import Start, sandboxes
from support.served import nobody
from support.warehouse import Warehouse
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused, Unreachable
from tranship.connectors.registry import CONNECTORS
from tranship.connectors.testing import OpenAccount, ProviderDestinationContract, ProviderSourceContract
from tranship.pipelines import run as flow
from tranship.pipelines import settings

pytestmark = pytest.mark.slow

CROWD = 700
"""Customers of an account, over several pages."""
MANY = int(os.environ.get("TRANSHIP_MANY", "1200"))

Open = Callable[..., Account]


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def account(provider: str, sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Open:
    """`account(seed=10)`: a sandbox of the provider, its key in the environment."""

    def start(**options: Any) -> Account:
        made = opened(sandbox, provider, **options)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return start


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def landed(warehouse: Warehouse) -> list[str]:
    return sorted(str(value) for value in warehouse.column("provider_id"))


def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for an unreachable provider: the message is tested, not the waiting."""
    from tranship.connectors.api import limits
    from tranship.connectors.api.retry import RetryPolicy

    monkeypatch.setattr(limits, "RetryPolicy", partial(RetryPolicy, tries=2, first_pause=0.01, connect=2, silence=2))


# Each customer once ----------------------------------------------------------------------------------------------


def test_many_customers_come_once_each(account: Open, warehouse: Warehouse) -> None:
    there = account(seed=MANY, process=MANY > 3000)
    report = warehouse.load(there.address)

    assert report.counts.read == report.counts.created == MANY
    assert landed(warehouse) == there.ids()


def test_reading_twice_changes_nothing(account: Open, warehouse: Warehouse) -> None:
    there = account(seed=250)
    warehouse.load(there.address)
    report = warehouse.load(there.address)

    assert (report.counts.unchanged, report.counts.created, report.counts.updated) == (250, 0, 0)


def test_every_record_says_where_it_is_from(account: Open, provider: str, warehouse: Warehouse) -> None:
    warehouse.load(account(seed=10).address)

    assert warehouse.rows("SELECT DISTINCT provider FROM customers") == [{"provider": provider}]


def test_every_record_says_where_it_is_after_a_migration_too(
    account: Open, provider: str, sandbox: Start, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, tmp_path: Path
) -> None:
    origin = opened(sandbox, "metrifox" if provider == "marginfront" else "marginfront", seed=10)
    for name, value in origin.environment.items():
        monkeypatch.setenv(name, value)
    there = account()
    moved = {"source": origin.address, "destination": there.address, "state_dir": tmp_path / "state [1]*"}
    flow.run(settings.load(moved, {}))
    warehouse.load(there.address)

    assert warehouse.rows("SELECT DISTINCT provider FROM customers") == [{"provider": provider}]
    assert landed(warehouse) == there.ids()
    entry = f"SELECT json_extract_string(metadata, '$.\"{origin.provider}.id\"') AS id FROM customers ORDER BY 1"
    assert [row["id"] for row in warehouse.rows(entry)] == origin.ids()


def test_an_account_is_not_written_to_itself(account: Open, warehouse: Warehouse) -> None:
    there = account(seed=10)
    there.sandbox.record()
    with pytest.raises(ConfigError, match="cannot be the destination"):
        warehouse.load(there.address, destination=there.address)
    with pytest.raises(ConfigError, match="is given twice"):
        opening.open_sources([there.address, there.address])
    assert not there.sandbox.calls()


def test_an_account_and_a_file_are_read_as_one(account: Open, warehouse: Warehouse, tmp_path: Path) -> None:
    there = account(seed=10)
    warehouse.load(there.address, table="whole")
    warehouse.load(warehouse.address("whole"), destination=str(tmp_path / "whole.parquet"))
    given = {"source": [there.address, str(tmp_path / "whole.parquet")], "state_dir": tmp_path / "state"}
    report = flow.run(settings.load({**given, "destination": warehouse.address()}, {}))

    assert (report.counts.read, report.counts.created, report.counts.merged) == (20, 10, 10)


def test_a_broken_record_is_rejected_with_its_id(account: Open, warehouse: Warehouse) -> None:
    there = account(seed=30)
    name = there.usual.name
    victim = there.sandbox.state()[7]
    there.sandbox.add({**victim, name: {"not": "text"}})
    report = warehouse.load(there.address)

    assert report.rejects_by_code == {"record.shape": 1}
    assert (report.counts.read, report.counts.created, report.exit_code) == (30, 29, 4)
    [reject] = pl.read_parquet(report.files["rejects_parquet"]).to_dicts()
    assert name in reject["_reasons"]
    assert str(victim[there.usual.id]) in reject["_text"]


def test_an_unknown_field_is_kept_and_reported(account: Open, provider: str, warehouse: Warehouse) -> None:
    there = account(seed=5)
    record = there.sandbox.state()[2]
    there.sandbox.add({**record, "loyaltyTier": {"level": 3}})
    report = warehouse.load(there.address)

    assert any("loyaltyTier" in note for note in report.notes)
    query = f"SELECT metadata FROM customers WHERE provider_id = '{record[there.usual.id]}'"
    [row] = warehouse.rows(query)
    assert json.loads(row["metadata"])[f"{provider}.loyaltyTier"] == {"level": 3}


# Simulated failures -----------------------------------------------------------------------------------------------------


ROUGH: dict[str, dict[str, Any]] = {
    "errors": {"statuses": {"500": 0.2, "503": 0.2}},
    "too many, with a word": {"statuses": {"429": 0.4}, "retry_after": "seconds", "retry_seconds": 0.05},
    "too many, without": {"statuses": {"429": 0.4}, "retry_after": "none"},
    "cut": {"cut_before": 0.15, "cut_after": 0.15, "half": 0.1},
    "slow": {"latency": 0.05, "jitter": 0.05},
    "pages of a proxy": {"html": 0.2},
    "shifting": {"shift": 0.3},
    "everything": {
        **{"statuses": {"500": 0.15, "429": 0.15}, "retry_after": "none", "cut_after": 0.1},
        **{"latency": 0.02, "jitter": 0.02, "shift": 0.2},
    },
}


@pytest.fixture(scope="module")
def crowds() -> Iterator[Callable[[str], Account]]:
    """`crowds(provider)`: an account with many customers, which is only read; it is made once."""
    with sandboxes() as start:
        yield cache(lambda provider: opened(start, provider, seed=CROWD))


@pytest.mark.parametrize(("provider", "weather"), combined(PROVIDERS, [*ROUGH]))
def test_simulated_failures_lose_no_customer(
    crowds: Callable[[str], Account],
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    warehouse: Warehouse,
    weather: str,
) -> None:
    there = crowds(provider)
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    moving.hurry(monkeypatch.setattr)
    there.sandbox.record()
    there.sandbox.weather(**ROUGH[weather], seed=11)
    report = warehouse.load(there.address)
    there.sandbox.weather()

    calls = there.sandbox.calls()
    if there.page and weather not in ("slow", "shifting"):
        # A page that fails is asked for again.
        assert len({call["path"] for call in calls}) < len(calls)

    assert (report.counts.read, report.counts.created, report.counts.rejected) == (CROWD, CROWD, 0)
    assert landed(warehouse) == there.ids()


# Errors ------------------------------------------------------------------------------------------------


def refused(warehouse: Warehouse, there: Account, kind: type[ConnectorError]) -> str:
    """Return the message of a run that must fail, and check that it left nothing behind."""
    with pytest.raises(kind) as caught:
        warehouse.load(there.address)
    assert caught.value.exit_code == 3
    assert not warehouse.file.exists() or not warehouse.rows("FROM duckdb_tables()")
    said = str(caught.value)
    assert there.usual.key not in said
    assert "Traceback" not in said
    return said


def test_a_key_that_is_wrong(account: Open, provider: str, warehouse: Warehouse) -> None:
    there = account(seed=5)
    there.sandbox.keys(valid=["another"])

    assert str(CONNECTORS[provider].key_variable) in refused(warehouse, there, Refused)


def test_a_key_that_has_no_right(account: Open, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    there = account(seed=5)
    if there.usual.powerless is None:
        assert warehouse.load(there.address).counts.read == 5
        return
    [variable] = there.environment
    monkeypatch.setenv(variable, there.usual.powerless)

    assert "publishable" in refused(warehouse, there, Refused)


def test_a_key_that_stops_to_be_good(account: Open, warehouse: Warehouse) -> None:
    there = account(seed=1200)
    if there.usual.page is None:  # a single response has no middle
        return
    there.sandbox.keys(stops_after={there.usual.key: 4})

    said = refused(warehouse, there, Refused)
    assert "401" in said
    assert "Downloaded pages are kept" in said


def test_nobody_there(account: Open, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    there = account()
    with nobody() as url:
        gone = Account(there.provider, type(there.sandbox)(url))
        assert "127.0.0.1" in refused(warehouse, gone, Unreachable)


def test_a_web_page_in_place_of_an_api(account: Open, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    there = account(seed=5)
    there.sandbox.weather(html=1)

    assert "text/html" in refused(warehouse, there, Malformed)


# The suites that other packages run, too ---------------------------------------------------------------------------


class Suite:
    @pytest.fixture
    def accounts(self, provider: str, sandbox: Start) -> OpenAccount:
        def start(count: int) -> Account:
            made = opened(sandbox, provider, seed=count or None)
            made.sandbox.record()
            return made

        return start


class TestSource(Suite, ProviderSourceContract):
    pass


class TestDestination(Suite, ProviderDestinationContract):
    pass
