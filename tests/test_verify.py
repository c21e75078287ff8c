"""Reading back finds what a provider has silently changed: exactly that, and where all is equal it says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import moving
import polars as pl
import pytest
from accounts import PROVIDERS, Account, opened
from moving import customer, moved, wire_of, written
from sandboxes import Start

from pipelines import cli

COUNT = 24


@pytest.fixture
def account(sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Account]:
    """`account("metronome")`: an empty account, its key in the environment."""
    moving.hurry(monkeypatch.setattr)

    def start(provider: str) -> Account:
        made = opened(sandbox, provider)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return start


def by_id(there: Account) -> dict[str, dict[str, Any]]:
    """The records as the provider lists them, by external id."""
    names = {str(row["provider_id"]): row["external_id"] for row in moving.held(there).values()}
    return {names[str(one[there.usual.id])]: one for one in there.sandbox.state()}


def forget(there: Account, *external_ids: str) -> None:
    """Remove customers behind everybody's back."""
    left = [one for external_id, one in by_id(there).items() if external_id not in external_ids]
    there.sandbox.clear()
    there.sandbox.add(*left)


def changed(there: Account, external_id: str, **fields: Any) -> None:
    """Change a customer behind everybody's back."""
    record = by_id(there)[external_id]
    there.sandbox.add({**record, **fields})


def verified(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and what `tranship verify … --json` says."""
    capsys.readouterr()
    code = cli.main(["verify", *words, "--state-dir", str(folder / "state"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def differences(found: dict[str, Any]) -> set[tuple[Any, ...]]:
    """What the report file says: what, external id, field, expected, found."""
    if "differences" not in found["files"]:
        return set()
    frame = pl.read_csv(found["files"]["differences"], infer_schema=False)
    return set(frame.select("what", "external_id", "field", "expected", "found").iter_rows())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_exactly_what_was_changed_silently_is_found(
    provider: str, account: Callable[[str], Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account(provider)
    name, bag = there.usual.name, wire_of(there).bag.name
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(COUNT)])
    moved(tmp_path, source, there)
    code, found = verified(tmp_path, capsys, "last")
    assert (code, found["all_equal"], differences(found)) == (0, True, set())

    changed(there, "cus_00001", **{name: "Custom"})  # cut
    changed(there, "cus_00002", **{name: "customer 2"})  # in lower case
    spilled = dict(by_id(there)["cus_00003"][bag])
    kept = spilled.get("canon", spilled)  # one of them is an object within the bag
    dropped = next(key for key in ("phone", "canon_phone", "city", "canon_city") if key in kept) if kept else None
    expected = {
        ("different", "cus_00001", "name", "Customer 1", "Custom"),
        ("different", "cus_00002", "name", "Customer 2", "customer 2"),
        ("only_in_source", "cus_00005", None, None, None),
        ("only_at_destination", "theirs", None, None, None),
    }
    if dropped:
        less = {key: value for key, value in kept.items() if key != dropped}
        changed(there, "cus_00003", **{bag: {**spilled, "canon": less} if "canon" in spilled else less})
        field = dropped.removeprefix("canon_")
        expected.add(("different", "cus_00003", field, customer(3)[field], None))
    forget(there, "cus_00005")
    moved(tmp_path / "others", written(tmp_path / "theirs.csv", [customer(77, external_id="theirs")]), there)

    code, found = verified(tmp_path, capsys, "last")
    assert (code, found["all_equal"]) == (4, False)
    assert differences(found) == expected
    equal = COUNT - sum(what != "only_at_destination" for what, *_ in expected)
    assert found["counts"] == {
        "equal": equal,
        "different": sum(what == "different" for what, *_ in expected),
        **{"only_in_source": 1, "only_at_destination": 1, "refused": 0},
    }


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_default_that_was_filled_in_is_found(
    provider: str, account: Callable[[str], Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account(provider)
    field = {one.home: one for one in wire_of(there).fields if one.settable and one.home}.get("city")
    source = written(tmp_path / "ours.csv", [customer(at, city="Bonn") for at in range(6)])
    moved(tmp_path, source, there)
    if field:
        changed(there, "cus_00004", **{field.name: "Unknown"})
    else:
        bag = wire_of(there).bag.name
        text = json.dumps(by_id(there)["cus_00004"][bag]).replace("Bonn", "Unknown")
        changed(there, "cus_00004", **{bag: json.loads(text)})
    code, found = verified(tmp_path, capsys, str(source), there.address)
    assert code == 4
    assert differences(found) == {("different", "cus_00004", "city", "Bonn", "Unknown")}


def test_metadata_of_others_is_no_difference(
    account: Callable[[str], Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("marginfront")
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(3)])
    moved(tmp_path, source, there)
    changed(there, "cus_00001", metadata={**by_id(there)["cus_00001"]["metadata"], "theirs": [1]})
    assert verified(tmp_path, capsys, "last")[0] == 0


def test_verifying_writes_to_neither_side(
    account: Callable[[str], Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("metrifox")
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(3)])
    there.sandbox.record()
    code, found = verified(tmp_path, capsys, str(source), there.address)
    assert (code, found["counts"]["only_in_source"]) == (4, 3)
    assert moving.writes(there) == []
