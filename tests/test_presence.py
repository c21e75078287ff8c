"""Mirror deletes only what is really gone: customers that were read and not written are present, and a record that
could be any customer withholds all deletes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import moving
from support.accounts import PROVIDERS, Account
from support.long_tests import some
from support.moving import customer, held
from support.warehouse import PostgresWarehouse, Warehouse, fates, rejects, write_csv
from tranship.connectors import durable
from tranship.connectors.errors import Damaged, GateClosed
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import render
from tranship.pipelines.report import Report

pytestmark = [pytest.mark.slow, pytest.mark.alternating("table")]

DESTINATIONS = ["duckdb", "postgresql", *some(PROVIDERS, 2)]
MIRROR = {"mode": "mirror", "max_deletes": "100%", "remove_for_good": True}
SHORT = "cus_00001,c1@x.example\n"
"""A line with too few columns, which could be any customer."""


@dataclass(frozen=True)
class Place:
    """A destination; the files of its runs are in `folder`."""

    folder: Path
    address: str
    names: Callable[[], list[str]]
    """Return the names of the customers that exist and are not deleted, sorted."""

    def given(self, source: Sequence[Mapping[str, Any]], more: str = "", **options: Any) -> settings.Settings:
        file = write_csv(self.folder / "in.csv", source)
        with file.open("a", encoding="utf-8") as out:
            out.write(more)
        return settings.load(
            {"source": str(file), "destination": self.address, "state_dir": self.folder / "state", **options}, {}
        )

    def load(self, source: Sequence[Mapping[str, Any]], more: str = "", **options: Any) -> Report:
        return flow.run(self.given(source, more, **options))


def in_account(there: Account) -> list[str]:
    archived = {str(one.get(there.usual.id)) for one in there.sandbox.state() if one.get("archived_at")}
    return sorted(row["name"] for id_, row in held(there).items() if id_ not in archived)


def opened(kind: str, folder: Path, request: pytest.FixtureRequest) -> Place:
    if kind in PROVIDERS:
        there = request.getfixturevalue("account")(kind)
        return Place(folder, there.address, lambda: in_account(there))
    database = () if kind == "duckdb" else (request.getfixturevalue("postgres_database"),)
    warehouse = PostgresWarehouse(folder, *database) if database else Warehouse(folder)
    query = "SELECT name FROM customers WHERE _deleted_at IS NULL ORDER BY 1"
    return Place(folder, warehouse.address(), lambda: [row["name"] for row in warehouse.rows(query)])


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    moving.hurry(monkeypatch.setattr)


@pytest.fixture(params=DESTINATIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return opened(request.param, tmp_path, request)


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return opened(request.param, tmp_path, request)


@pytest.fixture
def growpanel(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Requires a country, so that customers without one are refused."""
    return opened("growpanel", tmp_path, request)


def names(*numbers: int) -> list[str]:
    return [f"Customer {number}" for number in numbers]


# Rejected ----------------------------------------------------------------------------------------------------------


def test_rejected_records_are_present_by_id_and_by_email(place: Place) -> None:
    place.load([customer(number) for number in range(5)])
    # 1 by its id; 2 by its e-mail; 3 by its e-mail, as its id is unusable; 4 is gone.
    given = [customer(0), customer(1, name="", email=""), customer(2, name="", external_id="")]
    given.append(customer(3, external_id="x" * 300))
    report = place.load(given, **MIRROR)
    assert (report.counts.rejected, report.counts.deleted, report.counts.withheld) == (3, 1, 0)
    assert (place.names(), report.exit_code) == (names(0, 1, 2, 3), 4)
    # The same bytes, reused from the previous run.
    again = place.load(given, **MIRROR)
    assert (again.counts.rejected, again.counts.deleted, place.names()) == (3, 0, names(0, 1, 2, 3))


def test_a_line_that_could_be_anybody_withholds_all_deletes(place: Place) -> None:
    place.load([customer(number) for number in range(3)])
    report = place.load([customer(0), customer(7)], SHORT, **MIRROR, max_rejects="100%")
    assert (report.counts.created, report.counts.deleted, report.counts.withheld) == (1, 0, 2)
    assert (report.exit_code, report.unidentified) == (4, (f"{place.folder / 'in.csv'}, line 4",))
    assert place.names() == names(0, 1, 2, 7)
    said = render.of_report(report)
    assert "withheld: 2 deletes" in said
    assert "in.csv, line 4" in said
    assert "2 deletes" in Path(report.files["page"]).read_text()
    corrected = place.load([customer(0), customer(7)], **MIRROR)
    assert (corrected.counts.deleted, corrected.exit_code, place.names()) == (2, 0, names(0, 7))


def test_an_id_that_is_useless_and_an_email_that_nobody_has_withhold_all_deletes(place: Place) -> None:
    place.load([customer(number) for number in range(2)])
    report = place.load([customer(0), customer(1, external_id="x" * 300, email="new@x.example")], **MIRROR)
    assert (report.counts.withheld, report.counts.deleted, place.names()) == (1, 0, names(0, 1))


def test_where_nobody_is_gone_nothing_is_withheld(table: Place) -> None:
    table.load([customer(0)])
    report = table.load([customer(0)], SHORT, **MIRROR, max_rejects="1")
    assert (report.counts.withheld, report.exit_code) == (0, 0)


def test_other_modes_delete_nobody_and_withhold_nothing(table: Place) -> None:
    table.load([customer(0), customer(1)])
    report = table.load([customer(0)], SHORT, max_rejects="1")
    assert (report.counts.withheld, report.exit_code) == (0, 0)


def test_a_useless_email_withholds_only_where_somebody_known_by_email_alone_would_go(table: Place) -> None:
    table.load([customer(0), customer(1), customer(2, external_id="")])
    new = customer(9, email="c2(at)x.example")
    report = table.load([customer(0), new], **MIRROR)
    assert (report.counts.withheld, report.counts.deleted) == (2, 0)
    report = table.load([customer(0), customer(2, external_id=""), new], **MIRROR)
    assert (report.counts.withheld, report.counts.deleted, table.names()) == (0, 1, names(0, 2))


def test_the_case_of_an_id_does_not_delete(table: Place) -> None:
    table.load([customer(0), customer(1)])
    report = table.load([customer(0), customer(1, external_id="CUS_00001", name="", email="")], **MIRROR)
    assert (report.counts.deleted, table.names()) == (0, names(0, 1))


def test_a_blocked_email_is_nobodys(table: Place) -> None:
    table.load([customer(0), customer(1)])
    nobody = customer(2, external_id="", email="noreply@x.example")
    assert table.load([customer(0), nobody], **MIRROR).counts.withheld == 1


# Refused and ambiguous ---------------------------------------------------------------------------------------------


def test_a_refused_record_is_present_by_its_email(growpanel: Place) -> None:
    growpanel.load([customer(0), customer(1), customer(2)])
    # It has another id today.
    report = growpanel.load([customer(0), customer(9, email="c1@x.example", country="")], **MIRROR)
    assert (report.counts.refused, report.counts.deleted, growpanel.names()) == (1, 1, names(0, 1))


def test_a_record_that_a_table_refuses_is_present(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    columns = (
        "external_id VARCHAR, email VARCHAR, name VARCHAR, net_terms TINYINT, _run_id VARCHAR, _deleted_at TIMESTAMPTZ"
    )
    warehouse.do(f"CREATE TABLE customers ({columns})")
    warehouse.load([{"external_id": "1", "email": "a@x.example", "name": "A"}, {"external_id": "2", "name": "B"}])
    moved = {"external_id": "3", "email": "a@x.example", "name": "A", "net_terms": "300"}
    report = warehouse.load([moved], mode="mirror", max_deletes="100%")
    assert fates(report) == {"refused": 1, "deleted": 1}
    assert warehouse.rows("SELECT external_id FROM customers WHERE _deleted_at IS NULL") == [{"external_id": "1"}]


def test_a_record_that_is_ambiguous_in_the_run_is_present(table: Place) -> None:
    alone = customer(5, external_id="", email="shared@x.example")
    table.load([alone, customer(6)])
    report = table.load([customer(1, email="shared@x.example"), customer(2, email="shared@x.example"), alone], **MIRROR)
    assert (report.counts.rejected, report.counts.deleted) == (1, 1)
    assert table.names() == names(1, 2, 5)


# In two steps, and again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["duckdb", "postgresql", "marginfront"])
def test_a_plan_withholds_and_apply_does_so_too(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = opened(kind, tmp_path, request)
    place.load([customer(number) for number in range(3)])
    made = flow.plan(place.given([customer(0), customer(7)], SHORT, **MIRROR), tmp_path / "plan")
    assert (made.counts.withheld, made.exit_code) == (2, 4)
    report = flow.apply(tmp_path / "plan")
    assert (report.counts.withheld, report.counts.created, report.exit_code) == (2, 1, 4)
    assert place.names() == names(0, 1, 2, 7)


def test_a_table_in_which_others_would_be_deleted_is_not_what_was_agreed(table: Place) -> None:
    table.load([customer(0), customer(1)])
    flow.plan(table.given([customer(0)], **MIRROR), table.folder / "plan")
    table.load([customer(0), customer(1), customer(2)])
    with pytest.raises(GateClosed, match="2 customers would be deleted, not 1"):
        flow.apply(table.folder / "plan")
    assert table.names() == names(0, 1, 2)


def test_a_plan_that_an_earlier_version_has_read_deletes_nobody(table: Place) -> None:
    table.load([customer(0), customer(1)])
    flow.plan(table.given([customer(0)], **MIRROR), table.folder / "plan")
    manifest = table.folder / "plan" / "manifest.json"
    facts = durable.read_json(manifest)
    facts["steps"]["stage"]["fields"] = facts["steps"]["stage"].pop("mapped")
    durable.write_json(manifest, facts)
    with pytest.raises(Damaged, match="earlier version"):
        flow.apply(table.folder / "plan")
    assert table.names() == names(0, 1)


def test_retry_removes_nobody(growpanel: Place) -> None:
    growpanel.load([customer(0), customer(1)])
    report = growpanel.load([customer(0), customer(1), customer(2, country="")], **MIRROR)
    assert report.counts.refused == 1
    again = flow.retry(growpanel.folder / "state", report.run_id)
    assert (again.counts.read, again.counts.deleted, growpanel.names()) == (1, 0, names(0, 1))


def test_rejects_are_listed_as_before(table: Place) -> None:
    report = table.load([customer(0), customer(1, name="")], SHORT)
    assert [row["_codes"] for row in rejects(report)] == ["name.missing", "line.too_few_columns"]
