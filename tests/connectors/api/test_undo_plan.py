"""Taking back a run at each provider of the registry, over a socket: the account is as it was before, except for what
others have changed since, which is left alone and listed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.accounts import PROVIDERS, Account, opened
from support.sandboxes import Start
from support.warehouse import Warehouse, fates
from tranship.connectors.errors import ConfigError, Damaged
from tranship.connectors.registry import CONNECTORS
from tranship.pipelines import run as flow
from tranship.pipelines.report import Report
from tranship.pipelines.undo import undo

pytestmark = pytest.mark.slow

ANN = {
    **{"external_id": "a-1", "email": "ann@acme.com", "name": "Ann Ltd", "country": "IT", "city": "Rome"},
    **{"customer_type": "BUSINESS", "created_at": "2024-01-02T03:04:05Z", "metadata": '{"tier": "gold"}'},
}
BOB = {**ANN, "external_id": "b-2", "email": "bob@acme.com", "name": "Bob Ltd"}
DAN = {**ANN, "external_id": "d-4", "email": "dan@acme.com", "name": "Dan Ltd"}
CHANGED = {**ANN, "name": "Anna Ltd", "city": "Nice", "metadata": '{"tier": "silver", "new": "x"}'}

_BY_PROVIDER = {
    "updated_at",
    "updatedAt",
    "created_at",
    "createdAt",
    "id",
    "archived_at",
    "external_id",
    "primary_email",
}
"""Fields of the provider's own, which a customer that returns has anew; ids are compared by name."""


@pytest.fixture(params=PROVIDERS)
def account(request: pytest.FixtureRequest, sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Account:
    made = opened(sandbox, str(request.param))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def house(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def customers(account: Account) -> dict[str, dict[str, Any]]:
    """Return the customers that are not archived by name, without the fields that the provider sets."""
    found = [record for record in account.records() if not record.get("archived_at")]
    name = account.name_field
    return {
        str(record[name]): {key: value for key, value in record.items() if key not in _BY_PROVIDER and value}
        for record in found
    }


def load(house: Warehouse, account: Account, records: list[dict[str, Any]], **options: Any) -> Report:
    return house.load(records, destination=account.address, **options)


def take_back(house: Warehouse, run: Report, **options: Any) -> Report:
    return undo(house.folder / "state", run.run_id, **{"remove_for_good": True, **options})


def left(report: Report) -> dict[str, str]:
    if "left" not in report.files:
        return {}
    with Path(report.files["left"]).open(newline="", encoding="utf-8") as file:
        return {row["customer"]: row["reason"] for row in csv.DictReader(file)}


def edited(account: Account, record: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a customer whose name another one has changed."""
    return {**record, account.name_field: name}


def test_every_destination_that_keeps_customers_can_be_undone() -> None:
    keeping = {name for name, found in CONNECTORS.items() if found.abilities.keeps_state and found.abilities.writes}
    assert keeping == {name for name, found in CONNECTORS.items() if found.abilities.undoes}
    assert keeping == {*PROVIDERS, "duckdb", "postgresql"}


def test_later_runs_find_what_was_known_before_the_run(account: Account, house: Warehouse) -> None:
    """The times that were last written, and which customers are ours, are as before; so the same run does the same."""
    first = [{**ANN, "updated_at": "2025-03-01T00:00:00Z"}, {**BOB, "updated_at": "2025-03-01T00:00:00Z"}]
    second = [{**CHANGED, "updated_at": "2025-03-05T00:00:00Z"}, {**DAN, "updated_at": "2025-03-05T00:00:00Z"}]
    load(house, account, first)
    run = load(house, account, second)
    after = customers(account)
    assert (fates(run), left(take_back(house, run))) == ({"created": 1, "updated": 1}, {})

    between = [{**CHANGED, "name": "Third Ltd", "updated_at": "2025-03-03T00:00:00Z"}]
    assert fates(load(house, account, between, dry_run=True)) == {"updated": 1}
    assert fates(load(house, account, first, dry_run=True)) == {"unchanged": 2}
    again = load(house, account, second)
    if account.provider == "metrifox":
        # The customer that the undo has archived is found again by its id, and an ordinary run leaves it archived.
        del after["Dan Ltd"]
        assert (fates(again), customers(account)) == ({"updated": 1, "unchanged": 1}, after)
        assert "archived at Metrifox, and left so: 1 customer" in again.notes
    else:
        assert (fates(again), customers(account)) == ({"created": 1, "updated": 1}, after)


def test_a_customer_of_others_is_theirs_again(account: Account, house: Warehouse) -> None:
    """A mirror deletes only what runs have written, so not what a run has changed and an undo has restored."""
    load(house, account, [ANN])
    theirs = Warehouse(house.folder / "theirs")
    theirs.folder.mkdir()
    run = load(theirs, account, [CHANGED, DAN])
    assert left(take_back(theirs, run)) == {}
    mirror = {"mode": "mirror", "max_deletes": "100%", "remove_for_good": True}
    assert fates(load(theirs, account, [BOB], **mirror)) == {"created": 1}
    back = take_back(theirs, load(theirs, account, [BOB, CHANGED]))
    assert (fates(back), fates(take_back(theirs, back))) == ({"updated": 1}, {"updated": 1})
    assert fates(load(theirs, account, [BOB], **mirror)) == {"unchanged": 1, "deleted": 1}


def test_the_account_is_as_before_and_after_an_undo_of_the_undo_as_after_the_run(
    account: Account, house: Warehouse
) -> None:
    load(house, account, [ANN, BOB])
    before = customers(account)
    run = load(house, account, [CHANGED, DAN])
    after = customers(account)
    assert (fates(run), after.keys()) == ({"created": 1, "updated": 1}, {"Anna Ltd", "Bob Ltd", "Dan Ltd"})

    dry = take_back(house, run, dry_run=True)
    assert (fates(dry), customers(account)) == ({"updated": 1, "deleted": 1}, after)
    back = take_back(house, run)
    assert customers(account) == before
    assert (fates(back), left(back), back.exit_code) == ({"updated": 1, "deleted": 1}, {}, 0)
    if account.provider == "growpanel":
        assert any("analytics" in note for note in back.notes)
    assert fates(take_back(house, run)) == {"unchanged": 2}
    assert customers(account) == before

    again = take_back(house, back)
    if account.provider == "metronome":
        assert left(again) == {"d-4": "archived: an archived customer never returns"}
        del after["Dan Ltd"]
    else:
        assert (left(again), again.exit_code) == ({}, 0)
    assert customers(account) == after


def test_a_removed_customer_returns(account: Account, house: Warehouse) -> None:
    load(house, account, [ANN, BOB])
    before = customers(account)
    run = load(house, account, [ANN], mode="mirror", max_deletes="100%", remove_for_good=True)
    assert fates(run) == {"unchanged": 1, "deleted": 1}
    back = take_back(house, run)
    if account.provider == "metronome":
        assert (left(back), back.exit_code) == ({"b-2": "archived: an archived customer never returns"}, 4)
        return
    assert (fates(back), left(back)) == ({"created": 1}, {})
    assert customers(account) == before


def test_what_others_have_changed_is_left_alone_and_listed(account: Account, house: Warehouse) -> None:
    load(house, account, [ANN])
    run = load(house, account, [CHANGED, DAN])
    for record in account.records():
        name = record[account.name_field]
        account.replace(edited(account, record, {"Anna Ltd": "Third Ltd", "Dan Ltd": "Fourth Ltd"}[name]))
    found = {record[account.id_field]: record for record in account.records()}

    back = take_back(house, run)
    name = account.name_field
    assert left(back) == {"a-1": f"changed_since: {name}", "d-4": f"changed_since: {name}"}
    assert (fates(back), back.exit_code) == ({"updated": 1, "refused": 1}, 4)
    now = {record[account.id_field]: record for record in account.records()}
    assert {record[name] for record in now.values()} == {"Third Ltd", "Fourth Ltd"}
    changed = [key for key in found if customers_differ(found[key], now[key])]
    assert [now[key][name] for key in changed] == ["Third Ltd"]


def customers_differ(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return {key: value for key, value in left.items() if key not in _BY_PROVIDER} != {
        key: value for key, value in right.items() if key not in _BY_PROVIDER
    }


def test_a_plan_is_reviewed_and_applied(account: Account, house: Warehouse) -> None:
    load(house, account, [ANN])
    before = customers(account)
    run = load(house, account, [CHANGED, DAN])
    report = take_back(house, run, out=house.folder / "plan")
    with Path(report.files["changes"]).open(newline="", encoding="utf-8") as file:
        lines = {(row["what"], row["customer"]) for row in csv.DictReader(file)}
    assert lines == {("restore", "a-1"), ("remove", "d-4")}
    assert fates(flow.apply(house.folder / "plan")) == {"updated": 1, "deleted": 1}
    assert customers(account) == before


def test_only_a_part_is_taken_back(account: Account, house: Warehouse) -> None:
    load(house, account, [ANN])
    run = load(house, account, [CHANGED, DAN])
    assert fates(take_back(house, run, only=["updated"])) == {"updated": 1}
    keys = house.folder / "keys.txt"
    keys.write_text(f"{DAN['email'].upper()}\n")
    assert fates(take_back(house, run, keys=keys)) == {"deleted": 1}


# What a provider does not allow ----------------------------------------------------------------------------------


@pytest.fixture
def at(sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Account]:
    """`at("metronome")`: an account at this provider."""

    def start(provider: str) -> Account:
        made = opened(sandbox, provider)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return start


@pytest.mark.parametrize("provider", ["blackwalnut", "marginfront"])
def test_a_customer_with_licences_or_subscriptions_stays(
    provider: str, at: Callable[[str], Account], house: Warehouse
) -> None:
    account = at(provider)
    run = load(house, account, [ANN, DAN])
    ids = {record[account.name_field]: record["id"] for record in account.records()}
    if provider == "blackwalnut":
        account.sandbox.add({"id": "lic_1", "customer_id": ids["Dan Ltd"]}, collection="licenses")
    else:
        account.sandbox.add({"id": "sub_1", "customerId": ids["Dan Ltd"]}, collection="subscriptions")

    back = take_back(house, run, remove_for_good=False)
    assert (left(back), fates(back), back.exit_code) == ({"d-4": "has_dependents"}, {"deleted": 1}, 4)
    assert customers(account).keys() == {"Dan Ltd"}


def test_metronome_archives_only_with_permission_and_releases_aliases(
    at: Callable[[str], Account], house: Warehouse
) -> None:
    account = at("metronome")
    run = load(house, account, [DAN])
    with pytest.raises(ConfigError, match="--remove-for-good"):
        take_back(house, run, remove_for_good=False)
    assert customers(account).keys() == {"Dan Ltd"}
    assert fates(take_back(house, run)) == {"deleted": 1}
    assert [record["ingest_aliases"] for record in account.records()] == [[]]
    assert fates(load(house, account, [DAN])) == {"created": 1}


def test_what_a_run_has_kept_must_be_whole(at: Callable[[str], Account], house: Warehouse) -> None:
    account = at("blackwalnut")
    run = load(house, account, [ANN])
    before = customers(account)
    for name in ("plan.json", "requests/000000.parquet", "outcomes.parquet"):
        file = Path(run.run_dir) / name
        content = file.read_bytes()
        for harmed in (None, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]):
            if harmed is None:
                file.unlink()
            else:
                file.write_bytes(harmed)
            with pytest.raises(Damaged, match=name):
                take_back(house, run)
        file.write_bytes(content)
    assert customers(account) == before
