"""What a run has changed at a provider, from the files of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import moving
from support.accounts import PROVIDERS, Open
from support.moving import customer, moved, written
from tranship.connectors import known_secrets
from tranship.connectors.errors import ConfigError, Damaged
from tranship.pipelines import changes as recorded
from tranship.pipelines.report import Report


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    moving.hurry(monkeypatch.setattr)


def changes(folder: Path, report: Report, key: str | None = None) -> dict[str, dict[str, Any]]:
    """Return key → the change of this customer, with its images as objects."""
    frames = recorded.changes(folder / "state", [report.run_id], key)
    rows = [row for frame in frames for row in frame.to_dicts()]
    for row in rows:
        row |= {side: json.loads(row[side]) for side in ("before", "after") if row[side]}
    return {row["customer_key"]: row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_creates_and_updates_are_those_that_the_provider_has_confirmed(
    provider: str, account: Open, tmp_path: Path
) -> None:
    there = account(provider)
    customers = [customer(number) for number in range(3)]
    first = moved(tmp_path, written(tmp_path / "in.csv", customers), there)
    customers[1] |= {"name": "Renamed"}
    customers[2] |= {"metadata": json.dumps({"n": 99})}
    second = moved(tmp_path, written(tmp_path / "in.csv", customers), there)
    third = moved(tmp_path, tmp_path / "in.csv", there)

    made = changes(tmp_path, first)
    assert {key: row["action"] for key, row in made.items()} == {f"cus_0000{n}": "create" for n in range(3)}
    assert all(row["before"] is None and "Customer" in json.dumps(row["after"]) for row in made.values())
    found = changes(tmp_path, second)
    assert {key: row["action"] for key, row in found.items()} == {"cus_00001": "update", "cus_00002": "update"}
    name = there.name_field
    assert (found["cus_00001"]["before"][name], found["cus_00001"]["after"][name]) == ("Customer 1", "Renamed")
    for row in found.values():
        assert row["before"].keys() == row["after"].keys() == set(row["changed_fields"])
    assert set(found["cus_00001"]["before"].values()) == {"Customer 1"}
    assert "99" in str(found["cus_00002"]["after"])
    assert "99" not in str(found["cus_00002"]["before"])
    assert changes(tmp_path, second, "cus_00002").keys() == {"cus_00002"}
    assert changes(tmp_path, third) == {}


@pytest.mark.slow
def test_a_customer_that_mirror_removes_has_all_that_it_had(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, written(tmp_path / "in.csv", [customer(1), customer(2)]), there)
    report = moved(tmp_path, written(tmp_path / "in.csv", [customer(1)]), there, mode="mirror", max_deletes="100%")
    [(key, row)] = changes(tmp_path, report).items()
    assert (key, row["action"], row["after"]) == ("cus_00002", "delete", None)
    assert row["before"]["name"] == "Customer 2"


@pytest.mark.slow
def test_a_refused_record_is_no_change_and_secrets_are_hidden(
    account: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = account("blackwalnut")
    monkeypatch.setattr(known_secrets, "_learned", {"hunter2hunter2"})
    source = written(tmp_path / "in.csv", [customer(1, name="hunter2hunter2"), customer(2, email="")])
    report = moved(tmp_path, source, there)
    assert report.counts.refused == 1
    [(key, row)] = changes(tmp_path, report).items()
    assert (key, row["after"][there.name_field]) == ("cus_00001", "***")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["outcomes.parquet", "plan.json", "requests/000000.parquet"])
@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_a_file_that_was_damaged_is_named(file: str, harm: str, account: Open, tmp_path: Path) -> None:
    report = moved(tmp_path, written(tmp_path / "in.csv", [customer(1)]), account("marginfront"))
    place = Path(report.run_dir) / file
    if harm == "removed":
        place.unlink()
    elif file.endswith(".json"):
        place.write_text("{}")
    else:
        pl.DataFrame({"row": [1]}).write_parquet(place)
    with pytest.raises(Damaged, match=file):
        changes(tmp_path, report)


def test_a_plan_that_was_not_applied_has_changed_nothing(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    report = moved(tmp_path, written(tmp_path / "in.csv", [customer(1)]), there, dry_run=True)
    with pytest.raises(ConfigError, match="has written nothing"):
        changes(tmp_path, report)
