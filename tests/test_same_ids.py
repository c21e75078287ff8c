"""A run whose ids would come from another column than those of the last run into its destination stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.warehouse import Warehouse, fates
from tranship.connectors.errors import ConfigError

GAPS = [
    {"id": f"R{n}", "accountNumber": "A1" if n == 31 else None, "email": f"c{n}@x.co", "name": f"N{n}"}
    for n in range(31, 40)
]
FULL = [{**record, "accountNumber": f"A{record['id']}"} for record in GAPS]


@pytest.fixture
def table(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_an_id_does_not_change_its_column_unasked(table: Warehouse) -> None:
    first = table.load(GAPS)
    with pytest.raises(ConfigError) as stopped:
        table.load(FULL)
    said = str(stopped.value)
    assert len(said.splitlines()) == 3  # what has changed, and two options
    assert f'external_id was "id" in run {first.run_id}' in said
    assert 'would be "accountNumber" now' in said
    assert '--map external_id="id"' in said
    assert '--map external_id="accountNumber"' in said
    assert len(table.rows()) == len(GAPS)


def test_either_option_goes_on(table: Warehouse) -> None:
    table.load(GAPS)
    assert fates(table.load(FULL, fields={"external_id": "id"})) == {"updated": 9}  # the other column is in metadata
    assert fates(table.load(FULL, fields={"external_id": "accountNumber"})).get("created") == 9
    assert fates(table.load(FULL)) == {"unchanged": 9}


def test_a_source_of_other_columns_a_dry_run_and_another_destination_decide_nothing(table: Warehouse) -> None:
    table.load(GAPS, dry_run=True)
    table.load(GAPS, table="others")
    other = [{"Kundennummer": f"K{n}", "Firma": f"F{n}"} for n in range(3)]
    table.load(other)
    assert fates(table.load(FULL)) == {"created": 9}


def test_where_there_was_no_id_one_may_come(table: Warehouse) -> None:
    table.load([{"email": "a@x.co", "name": "Ann"}])
    assert fates(table.load([{"id": "1", "email": "b@x.co", "name": "Bob"}])) == {"created": 1}


def test_files_are_written_as_a_whole(table: Warehouse, tmp_path: Path) -> None:
    for records in (GAPS, FULL):
        report = table.load(records, destination=str(tmp_path / "out.csv"))
        assert fates(report) == {"created": len(records)}
