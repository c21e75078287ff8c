"""Exports of systems in Spanish, French, Italian and Portuguese: the values of a record, read at the first try."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.test_profiles import customers
from tranship.connectors.contract import Layout
from tranship.pipelines.mapping import propose
from tranship.pipelines.settings_model import Reading

EXPORTS = [
    block.strip().split("\n")
    for block in Path(__file__)
    .with_name("exports_of_romance_languages.txt")
    .read_text(encoding="utf-8")
    .split("\n== ")[1:]
]


@pytest.mark.parametrize(
    ("header", "record", "expected"), [export[1:] for export in EXPORTS], ids=[export[0] for export in EXPORTS]
)
def test_a_record_is_read_at_the_first_try(header: str, record: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"{header}\n{record}\n", encoding="utf-8")
    (read,) = customers(file, tmp_path)["records"]
    wanted = dict(pair.split("=", 1) for pair in expected.split(";"))
    assert {field: str(read.get(field) or "") for field in wanted} == wanted


@pytest.mark.parametrize(
    ("header", "note"),
    [
        ("ID;Nome;Provincia;Stato", '"Stato" is the country or the status, by its values'),
        ("Cliente;Nome;Morada", 'external_id is "Cliente", the first column'),
    ],
)
def test_what_the_values_or_the_place_of_a_column_decide_is_said(header: str, note: str) -> None:
    columns = propose([Layout("in.csv", tuple(header.split(";")))], Reading(source="in.csv"))
    assert any(said.startswith(note) for said in columns.notes)
