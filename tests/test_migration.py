"""From one provider to another and back: each customer once, only declared fields lost, and a verification that finds
all equal.

`TRANSHIP_MIGRATION` is the number of customers of each account, usually small; if it is set, each pair is started from
both ends. In the short form, each provider moves to the next one.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import polars as pl
import pytest

from support.accounts import PROVIDERS, Account, Open
from support.long_tests import LONG, some
from support.moving import moved, writes
from tranship.connectors import provider_services
from tranship.pipelines import run as flow

pytestmark = pytest.mark.slow

CUSTOMERS = int(os.environ.get("TRANSHIP_MIGRATION", "40"))

EVERY_PAIR = itertools.permutations if "TRANSHIP_MIGRATION" in os.environ else itertools.combinations
PAIRS = [*EVERY_PAIR(PROVIDERS, 2)] if LONG else [*itertools.pairwise([*PROVIDERS, PROVIDERS[0]])]
"""A pair in one order covers both directions, there and back."""


def customers(folder: Path, account: Account) -> pl.DataFrame:
    """Return the customers of an account, in canonical columns, sorted by their identity."""
    file = folder / f"{account.provider}-{account.sandbox.port}.parquet"
    moved(folder, account.address, str(file))
    return pl.read_parquet(file).sort("external_id", "email")


def without(frame: pl.DataFrame, here: str, there: str) -> pl.DataFrame:
    """Return customers without the fields declared to be lost between two providers and back, and without their
    origin."""
    lost = {loss.field for loss in provider_services.passage(here, there).lost}
    keys = [field.removeprefix("metadata.") for field in lost if field.startswith("metadata.")]
    keys += [f"{provider}.id" for provider in (here, there)]
    frame = frame.drop("provider", "provider_id", *(field for field in lost if field in frame.columns), strict=False)
    return frame.with_columns(pl.col("metadata").map_elements(lambda text: _less(text, keys), return_dtype=pl.String))


def _less(text: str, keys: list[str]) -> str | None:
    left = {key: value for key, value in json.loads(text).items() if key not in keys}
    return json.dumps(left, sort_keys=True) if left else None


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_customers_move_and_come_back(here: str, there: str, account: Open, tmp_path: Path) -> None:
    start, end, home = account(here, seed=CUSTOMERS), account(there), account(here)

    report = moved(tmp_path, start.address, end.address)
    assert (report.counts.created, report.counts.refused) == (CUSTOMERS, 0), report.refused_by_reason
    assert len(end.sandbox.state()) == CUSTOMERS
    found = flow.verify_run(tmp_path / "state", report.run_id)
    assert found.equal, found

    end.sandbox.record()
    again = moved(tmp_path, start.address, end.address)
    assert (again.counts.unchanged, len(writes(end))) == (CUSTOMERS, 0), again.changed_fields

    assert moved(tmp_path, end.address, home.address).counts.created == CUSTOMERS
    before, after = (customers(tmp_path, one) for one in (start, home))
    assert without(after, here, there).to_dicts() == without(before, here, there).to_dicts()
    entries = [json.loads(text) for text in after["metadata"]]
    assert [one[f"{here}.id"] for one in entries] == before["provider_id"].to_list()
    assert sorted(one[f"{there}.id"] for one in entries) == end.ids()
    assert sorted(after["provider_id"]) == home.ids()


def test_where_a_customer_was_is_told_by_an_update_as_by_a_create(account: Open, tmp_path: Path) -> None:
    start, end = account("marginfront", seed=20), account("blackwalnut")
    moved(tmp_path, start.address, end.address)
    # As if they had been written before this entry existed.
    there = end.sandbox.state()
    its_ids = {one["external_id"]: one["metadata"].pop("marginfront.id") for one in there}
    end.sandbox.clear()
    end.sandbox.add(*there)
    end.sandbox.record()
    assert moved(tmp_path, start.address, end.address).counts.unchanged == 20
    assert len(writes(end)) == 0

    source = start.sandbox.state()
    changed = source[3]["externalId"]
    source[3]["phone"] = "+46700000099"
    start.sandbox.clear()
    start.sandbox.add(*source)
    report = moved(tmp_path, start.address, end.address)
    assert (report.counts.updated, report.counts.unchanged) == (1, 19)
    now = {one["external_id"]: one["metadata"] for one in end.sandbox.state()}
    assert {key: one["marginfront.id"] for key, one in now.items() if "marginfront.id" in one} == {
        changed: its_ids[changed]
    }
    assert now[changed]["canon"]["phone"] == "+46700000099"


def test_the_crosswalk_of_a_second_move_has_the_ids_of_the_account_that_was_read(account: Open, tmp_path: Path) -> None:
    first, second, third = account("marginfront", seed=20), account("blackwalnut"), account("metronome")
    moved(tmp_path, first.address, second.address)
    report = moved(tmp_path, second.address, third.address)
    [file] = (tmp_path / "state").rglob(f"{report.run_id}/**/crosswalk.parquet")
    crosswalk = pl.read_parquet(file)
    assert crosswalk["source_provider"].unique().to_list() == ["blackwalnut"]
    assert sorted(crosswalk["source_id"]) == second.ids()
    assert sorted(crosswalk["destination_id"]) == third.ids()


@pytest.mark.parametrize("provider", some(PROVIDERS, 2))
def test_a_file_becomes_an_account(provider: str, account: Open, tmp_path: Path) -> None:
    source = account("metrifox" if provider != "metrifox" else "marginfront", seed=CUSTOMERS)
    moved(tmp_path, source.address, str(tmp_path / "customers.csv"))
    end = account(provider)

    report = moved(tmp_path, str(tmp_path / "customers.csv"), end.address)
    assert report.counts.created == CUSTOMERS, report.refused_by_reason
    assert flow.verify_run(tmp_path / "state", report.run_id).equal
    end.sandbox.record()
    assert moved(tmp_path, str(tmp_path / "customers.csv"), end.address).counts.unchanged == CUSTOMERS
    assert len(writes(end)) == 0
