"""From one provider to another and back: each customer once, nothing lost but what is declared, and a second look that
finds all equal.

`TRANSHIP_MIGRATION` is the number of customers of each account, usually small.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from accounts import PROVIDERS, Account, opened
from sandboxes import Start

from connectors import registry
from pipelines import run as flow
from pipelines import settings
from pipelines.report import Report

CUSTOMERS = int(os.environ.get("TRANSHIP_MIGRATION", "60"))

Open = Callable[..., Account]


@pytest.fixture
def account(sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Open:
    """`account("metronome", seed=10)`: a sandbox, its key in the environment."""

    def start(provider: str, **options: Any) -> Account:
        made = opened(sandbox, provider, **options)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return start


def moved(folder: Path, source: str, destination: str, **options: Any) -> Report:
    given = {"source": source, "destination": destination, "state_dir": folder / "state", "include_archived": False}
    return flow.run(settings.load({**given, **options}, {}))


def customers(folder: Path, account: Account) -> pl.DataFrame:
    """What an account holds, in canonical columns, sorted by what identifies a customer."""
    file = folder / f"{account.provider}-{account.sandbox.port}.parquet"
    moved(folder, account.address, str(file))
    return pl.read_parquet(file).sort("external_id", "email")


def writes(account: Account) -> int:
    """Calls that would have changed something."""
    reading = ("/v1/customFields/listKeys",)
    return sum(call["method"] != "GET" and not call["path"].startswith(reading) for call in account.sandbox.calls())


def without(frame: pl.DataFrame, here: str, there: str) -> pl.DataFrame:
    """Without what is declared to be lost on the way between two providers and back."""
    lost = {loss.field for loss in registry.passage(here, there).lost}
    keys = [field.removeprefix("metadata.") for field in lost if field.startswith("metadata.")]
    frame = frame.drop("provider", "provider_id", *(field for field in lost if field in frame.columns), strict=False)
    return frame.with_columns(pl.col("metadata").map_elements(lambda text: _less(text, keys), return_dtype=pl.String))


def _less(text: str, keys: list[str]) -> str | None:
    import json

    left = {key: value for key, value in json.loads(text).items() if key not in keys}
    return json.dumps(left, sort_keys=True) if left else None


@pytest.mark.parametrize(("here", "there"), [*itertools.permutations(PROVIDERS, 2)])
def test_customers_move_and_come_back(here: str, there: str, account: Open, tmp_path: Path) -> None:
    start, end, home = account(here, seed=CUSTOMERS), account(there), account(here)

    report = moved(tmp_path, start.address, end.address)
    assert (report.counts.created, report.counts.refused) == (CUSTOMERS, 0), report.refused_by_reason
    assert len(end.sandbox.state()) == CUSTOMERS
    found = flow.verify_run(tmp_path / "state", report.run_id)
    assert found.equal, found

    end.sandbox.record()
    again = moved(tmp_path, start.address, end.address)
    assert (again.counts.unchanged, writes(end)) == (CUSTOMERS, 0), again.changed_fields

    assert moved(tmp_path, end.address, home.address).counts.created == CUSTOMERS
    before, after = (without(customers(tmp_path, one), here, there) for one in (start, home))
    assert after.to_dicts() == before.to_dicts()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_file_becomes_an_account(provider: str, account: Open, tmp_path: Path) -> None:
    source = account("metrifox" if provider != "metrifox" else "marginfront", seed=CUSTOMERS)
    moved(tmp_path, source.address, str(tmp_path / "customers.csv"))
    end = account(provider)

    report = moved(tmp_path, str(tmp_path / "customers.csv"), end.address)
    assert report.counts.created == CUSTOMERS, report.refused_by_reason
    assert flow.verify_run(tmp_path / "state", report.run_id).equal
    end.sandbox.record()
    assert moved(tmp_path, str(tmp_path / "customers.csv"), end.address).counts.unchanged == CUSTOMERS
    assert writes(end) == 0
