"""Parts of a source in the stage: small ones that are staged together have the same fate as each alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from tranship.connectors import opening
from tranship.connectors.contract import Part
from tranship.pipelines import selection
from tranship.pipelines.mapping import propose
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.reading import rules_of
from tranship.pipelines.settings import reading_from_command
from tranship.pipelines.stage import NOTHING_EARLIER, Stage
from tranship.pipelines.stage_files import PART_FOLDERS
from tranship.pipelines.staging import Staging

HEADER = "id,email,Company,First Name,Last Name,status,created_at,Plan\n"
ROWS = (
    "{n}a,a{n}@x.co,Acme {n},,,active,2024-01-02,pro\n",
    "{n}b,,,Ann,Bee {n},Aktiv,not a date,\n",
    "{n}c,not an address,Firm,Max,,on hold,,free\n",
    ",,Total,,,,,\n",
    "{n}d,d@x.co;e@x.co,N/A,,,unknown word,31.12.2023,x\n",
    "{n}e,e{n}@x.co,too,many,columns,active,,,,\n",
    ",f{n}@x.co,No Id {n},,,deleted,,\n",
)
OPTIONS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "with a filter and words": {
        "where": "Plan is null or Plan <> 'free'",
        "values": {"status": {"on hold": "suspended"}},
    },
    "strict": {"strict": True, "defaults": {"currency": "EUR"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(14):
        # Files of each size, in each order; one file without records, and others with fewer columns.
        rows = "".join((ROWS * 2)[number % 7 :][: number % 5]).format(n=number)
        text = (
            HEADER + rows
            if number % 6
            else HEADER.replace(",Plan", "") + rows.replace(",pro", "").replace(",x\n", "\n")
        )
        (files / f"{number:02}.csv").write_text(text)
    return files


def staged(path: Path, folder: Path, options: dict[str, Any], at_a_time: int) -> tuple[list[BatchCounts], Stage]:
    reading = reading_from_command(str(folder), {**options, "allow_missing": True}, {})
    for name in ("identity", *PART_FOLDERS):
        (path / name).mkdir(parents=True)
    with closing(opening.open_source(str(folder))) as source:
        layouts = source.layouts()
        where = selection.condition(reading.where, layouts, allow_missing=True) if reading.where else None
        stage = Stage(path)
        staging = Staging(stage, NOTHING_EARLIER, rules_of(reading, propose(layouts, reading), where))
        parts: Sequence[tuple[int, Part]] = list(enumerate(source.parts(path)))
        counts = [
            found
            for start in range(0, len(parts), at_a_time)
            for found in staging.add(parts[start : start + at_a_time])
        ]
    return counts, stage


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_parts_that_are_staged_together_have_the_fate_of_each_alone(
    options: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    alone, one_by_one = staged(tmp_path / "alone", folder, options, 1)
    together, at_once = staged(tmp_path / "together", folder, options, 100)
    assert [replace(counts, files={}) for counts in together] == [replace(counts, files={}) for counts in alone]
    assert sum(counts.read for counts in alone) == 26
    files = sorted(file.relative_to(one_by_one.path) for file in one_by_one.path.glob("*/*.parquet"))
    assert sorted(file.relative_to(at_once.path) for file in at_once.path.glob("*/*.parquet")) == files
    # With `strict`, an invalid value rejects the record, and there is nothing to warn of.
    expected = {"stage", "rejected"} if "strict" in options else {"stage", "raw", "rejected", "warned"}
    assert {file.parts[0] for file in files} >= expected
    for file in files:
        assert pl.read_parquet(at_once.path / file).equals(pl.read_parquet(one_by_one.path / file)), file


def test_keys_of_small_files_are_read_together_up_to_a_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stage = staged(tmp_path / "stage", folder, {}, 100)
    files = stage.staged_files()
    [whole] = stage.keys()
    rows = pl.concat([pl.read_parquet(file, columns=["_row", "external_id", "email"]) for file in files])
    assert whole.equals(rows)
    assert rows["external_id"].drop_nulls().len() > 5
    monkeypatch.setattr("tranship.pipelines.stage._BYTES_AT_A_TIME", sum(file.stat().st_size for file in files[:2]))
    groups = list(stage.keys())
    assert 2 <= len(groups) < len(files)
    assert pl.concat(groups).equals(whole)
    monkeypatch.setattr("tranship.pipelines.stage._BYTES_AT_A_TIME", 1)
    one_by_one = list(stage.keys())
    assert len(one_by_one) == len(files)
    assert pl.concat(one_by_one).equals(whole)
