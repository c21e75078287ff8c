"""Exports of systems in Spanish, French, Italian and Portuguese: the values of a record, read at the first try."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.test_profiles import customers

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
