"""Verification finds exactly what a provider has changed silently, and reports if everything is equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import moving
from support.accounts import PROVIDERS, Account, Open
from support.long_tests import some
from support.moving import customer, moved, schema_of, written
from tranship.pipelines.cli import main as cli

pytestmark = pytest.mark.slow

COUNT = 24


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    moving.hurry(monkeypatch.setattr)


def by_id(there: Account) -> dict[str, dict[str, Any]]:
    """The records as the provider lists them, by external id."""
    names = {str(row["provider_id"]): row["external_id"] for row in moving.held(there).values()}
    return {names[str(one[there.usual.id])]: one for one in there.sandbox.state()}


def forget(there: Account, *external_ids: str) -> None:
    """Remove customers directly at the provider."""
    left = [one for external_id, one in by_id(there).items() if external_id not in external_ids]
    there.sandbox.clear()
    there.sandbox.add(*left)


def silently(there: Account, external_id: str, field: str, value: str | None) -> None:
    """Change a canonical field directly at the provider, wherever it is kept."""
    record = by_id(there)[external_id]
    native = next((one.name for one in schema_of(there).fields if one.settable and one.canonical == field), None)
    if field == "name":
        native = there.usual.name
    if native:
        there.sandbox.add({**record, native: value})
        return
    name = schema_of(there).overflow.name
    overflow = record[name]
    spill, key = (overflow["canon"], field) if "canon" in overflow else (overflow, f"canon_{field}")
    assert key in spill
    spill[key] = value
    if value is None:
        del spill[key]
    there.sandbox.add(record)


def verified(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON of `tranship verify … --json`."""
    capsys.readouterr()
    code = cli.main(["verify", *words, "--state-dir", str(folder / "state"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def differences(found: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Return the lines of the report file: what, external id, field, expected, found."""
    if "differences" not in found["files"]:
        return set()
    frame = pl.read_csv(found["files"]["differences"], infer_schema=False)
    return set(frame.select("what", "external_id", "field", "expected", "found").iter_rows())


@pytest.mark.parametrize("provider", some(PROVIDERS, 2))
def test_exactly_what_was_changed_silently_is_found(
    provider: str, account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account(provider)
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(COUNT)])
    moved(tmp_path, source, there)
    code, found = verified(tmp_path, capsys, "last")
    assert (code, found["all_equal"], differences(found)) == (0, True, set())

    silently(there, "cus_00001", "name", "Custom")  # cut
    silently(there, "cus_00002", "name", "customer 2")  # in lower case
    silently(there, "cus_00003", "phone", None)  # dropped
    silently(there, "cus_00004", "city", "Unknown")  # filled in
    expected = {
        ("different", "cus_00001", "name", "Customer 1", "Custom"),
        ("different", "cus_00002", "name", "Customer 2", "customer 2"),
        ("different", "cus_00003", "phone", "+49301000003", None),
        ("different", "cus_00004", "city", "Köln", "Unknown"),
        ("only_in_source", "cus_00005", None, None, None),
        ("only_at_destination", "theirs", None, None, None),
    }
    forget(there, "cus_00005")
    moved(tmp_path / "others", written(tmp_path / "theirs.csv", [customer(77, external_id="theirs")]), there)

    code, found = verified(tmp_path, capsys, "last")
    assert (code, found["all_equal"]) == (4, False)
    assert differences(found) == expected
    counts = {"equal": COUNT - 5, "different": 4, "only_in_source": 1, "only_at_destination": 1, "refused": 0}
    assert found["counts"] == counts


def test_two_addresses_are_compared_as_a_run_is(
    account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("metrifox")
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(6)])
    moved(tmp_path, source, there)
    assert verified(tmp_path, capsys, str(source), there.address)[0] == 0
    silently(there, "cus_00004", "city", "Unknown")
    code, found = verified(tmp_path, capsys, str(source), there.address)
    assert code == 4
    assert differences(found) == {("different", "cus_00004", "city", "Köln", "Unknown")}


def test_metadata_of_others_is_no_difference(account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = account("marginfront")
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(3)])
    moved(tmp_path, source, there)
    record = by_id(there)["cus_00001"]
    there.sandbox.add({**record, "metadata": {**record["metadata"], "theirs": [1]}})
    assert verified(tmp_path, capsys, "last")[0] == 0


def test_verifying_writes_to_neither_side(account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = account("metrifox")
    source = written(tmp_path / "ours.csv", [customer(at) for at in range(3)])
    there.sandbox.record()
    code, found = verified(tmp_path, capsys, str(source), there.address)
    assert (code, found["counts"]["only_in_source"]) == (4, 3)
    assert moving.writes(there) == []
