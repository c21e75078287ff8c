"""Bytes that an earlier run has read in the same way are not read again, and nothing else is reused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Record, Warehouse, fates, rejects, write_csv
from tranship.connectors.files import csv as csv_file
from tranship.pipelines import stage
from tranship.pipelines.normalise import batch
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

pytestmark = pytest.mark.slow

RECORDS: list[Record] = [
    {
        "external_id": f"c{number}" if number % 7 else None,
        "email": f"C{number}@Acme.com" if number % 11 else "nobody",
        "name": f"Customer {number}",
        "created_at": "2024-02-01 10:00:00",
        "phone": "12",
        "account owner": f"owner {number % 3}",
    }
    for number in range(200)
]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse in which files are read in many small parts."""
    monkeypatch.setattr(csv_file, "PIECE_BYTES", 1 << 10)
    monkeypatch.setattr(csv_file, "PART_BYTES", 1 << 12)
    return Warehouse(tmp_path)


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records of each batch that was normalised."""
    seen: list[int] = []
    real = batch.customers

    def counting(wire: pl.DataFrame, *rest: object) -> batch.Normalised:
        seen.append(wire.height)
        return real(wire, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "customers", counting)
    return seen


def read_anew(seen: list[int]) -> int:
    count = sum(seen)
    seen.clear()
    return count


def findings(report: Report) -> tuple[object, ...]:
    """Return everything that is reported about reading."""
    tables = [pl.read_parquet(report.files[name]).rows() for name in ("rejects_parquet", "warnings", "merges")]
    return (
        report.counts.read,
        report.rejects_by_code,
        report.warnings_by_code,
        report.examples,
        rejects(report),
        tables,
    )


def contents(report: Report) -> dict[str, str]:
    """Return digests of every Parquet file of a run."""
    folder = Path(report.run_dir)
    files = sorted(folder.rglob("*.parquet"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_same_file_is_read_once(warehouse: Warehouse, normalised: list[int]) -> None:
    first = warehouse.load(RECORDS)
    assert read_anew(normalised) == len(RECORDS)
    before = warehouse.rows()
    second = warehouse.load(RECORDS)
    assert read_anew(normalised) == 0
    assert findings(second) == findings(first)
    assert warehouse.rows() == before
    assert not {"created", "updated"} & set(fates(second))
    assert any(first.run_id in note for note in second.notes)


def test_the_table_is_compared_all_the_same(warehouse: Warehouse, normalised: list[int]) -> None:
    warehouse.load(RECORDS)
    warehouse.do("UPDATE customers SET name = 'Changed by hand' WHERE external_id = 'c1'")
    read_anew(normalised)
    report = warehouse.load(RECORDS)
    assert read_anew(normalised) == 0
    assert report.counts.updated == 1
    assert warehouse.rows("SELECT name FROM customers WHERE external_id = 'c1'") == [{"name": "Customer 1"}]


def test_a_third_run_takes_over_from_the_second(warehouse: Warehouse, normalised: list[int]) -> None:
    warehouse.load(RECORDS)
    second = warehouse.load(RECORDS)
    read_anew(normalised)
    third = warehouse.load(RECORDS)
    assert read_anew(normalised) == 0
    assert any(second.run_id in note for note in third.notes)


def test_of_a_file_that_has_grown_the_end_is_read(warehouse: Warehouse, normalised: list[int]) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    grown = [*RECORDS, {**RECORDS[1], "external_id": "new", "email": "new@acme.com"}]
    report = warehouse.load(grown)
    assert 1 <= read_anew(normalised) < len(RECORDS) / 2
    assert (report.counts.read, report.counts.created) == (len(RECORDS) + 1, 1)
    assert warehouse.rows("SELECT count(*) AS n FROM customers WHERE external_id = 'new'") == [{"n": 1}]


def test_a_part_that_has_changed_is_read(warehouse: Warehouse, normalised: list[int]) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    changed = [{**record, "name": "CUSTOMER 100"} if number == 100 else record for number, record in enumerate(RECORDS)]
    report = warehouse.load(changed)
    assert 1 <= read_anew(normalised) < len(RECORDS) / 2
    assert report.counts.updated == 1


@pytest.mark.parametrize(
    "options",
    [
        {"timezone": "Europe/Berlin"},
        {"date_format": ("%Y/%m/%d",)},
        {"blocked": ("c5@acme.com",)},
        {"fields": {"city": "account owner"}},
        {"defaults": {"currency": "EUR"}},
        {"extra": "drop"},
        {"quote": "'"},
        {"encoding": "cp1252"},
    ],
    ids=str,
)
def test_what_would_be_read_otherwise_is_read_again(
    warehouse: Warehouse, normalised: list[int], options: dict[str, Any]
) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    other = warehouse.load(RECORDS, **options)
    if "encoding" not in options:  # these bytes mean the same in both
        # A default is itself normalised first.
        assert read_anew(normalised) == len(RECORDS) + len(options.get("defaults", ()))
    alone = Warehouse(warehouse.folder / "alone")
    alone.folder.mkdir()
    (alone.folder / "in.csv").write_bytes((warehouse.folder / "in.csv").read_bytes())
    fresh = alone.load(RECORDS, **options)
    assert fresh.rejects_by_code == other.rejects_by_code
    assert fresh.warnings_by_code == other.warnings_by_code


@pytest.mark.parametrize("options", [{"survivor": "last"}, {"fill": True}, {"mode": "insert"}, {"workers": 1}], ids=str)
def test_what_comes_after_the_stage_does_not_matter(
    warehouse: Warehouse, normalised: list[int], options: dict[str, Any]
) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    warehouse.load(RECORDS, **options)
    assert read_anew(normalised) == 0


def test_another_file_with_the_same_contents_is_read_separately(warehouse: Warehouse, normalised: list[int]) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    report = warehouse.load(write_csv(warehouse.folder / "other.csv", RECORDS))
    assert read_anew(normalised) == len(RECORDS)
    assert all("other.csv" in place for place in report.examples.values())


@pytest.mark.parametrize("library", ["polars", "idna", "pandera"])
def test_another_program_reads_separately(
    warehouse: Warehouse, normalised: list[int], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    warehouse.load(RECORDS)
    read_anew(normalised)
    (warehouse.folder / "installed" / f"{library}-9.9.9.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(warehouse.folder / "installed")
    warehouse.load(RECORDS)
    assert read_anew(normalised) == len(RECORDS)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def unreadable(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("harm", [cut_off, unreadable])
@pytest.mark.parametrize("what", ["stage/000001.parquet", "rejected/000001.parquet", "raw/000001.parquet"])
def test_a_part_that_is_no_longer_whole_is_read_again(
    warehouse: Warehouse, normalised: list[int], harm, what: str
) -> None:
    first = warehouse.load(RECORDS)
    harm(Path(first.run_dir) / what)
    read_anew(normalised)
    left = contents(first)
    second = warehouse.load(RECORDS)
    assert 1 <= read_anew(normalised) < len(RECORDS) / 2
    assert contents(first) == left
    assert second.rejects_by_code == first.rejects_by_code
    assert not {"created", "updated"} & set(fates(second))


@pytest.mark.parametrize("list_of_parts", ["", "{", "[]"])
def test_a_run_whose_list_of_parts_is_damaged_is_left_alone(warehouse: Warehouse, list_of_parts: str) -> None:
    first = warehouse.load(RECORDS)
    (Path(first.run_dir) / "parts.json").write_text(list_of_parts, encoding="utf-8")
    assert warehouse.load(RECORDS).rejects_by_code == first.rejects_by_code


def test_what_an_earlier_run_has_is_not_touched(warehouse: Warehouse) -> None:
    """Even if a later run retracts warnings, or rejects other identities."""
    mails: list[Record] = [{"email": "Two@acme.com", "name": "A", "phone": "12"}]
    earlier = warehouse.load(mails)
    before = contents(earlier)
    assert earlier.warnings_by_code == {"phone.unreadable": 1}
    warehouse.do(
        "INSERT INTO customers BY NAME SELECT 'x' || n AS customer_key, 'x' || n AS external_id, 'two@acme.com' AS email, "
        "'A' AS name FROM range(2) t(n)",
        "DELETE FROM customers WHERE customer_key = 'email:two@acme.com'",
    )
    later = warehouse.load(mails)
    assert later.rejects_by_code == {"identity.ambiguous_email": 1}
    assert later.warnings_by_code == {}
    assert any(earlier.run_id in note for note in later.notes)
    assert contents(earlier) == before


def test_without_links_the_files_are_copied(
    warehouse: Warehouse, normalised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    first = warehouse.load(RECORDS)
    read_anew(normalised)
    monkeypatch.setattr(os, "link", refused)
    second = warehouse.load(RECORDS)
    assert read_anew(normalised) == 0
    assert findings(second) == findings(first)
    assert (Path(second.run_dir) / "stage" / "000000.parquet").stat().st_nlink == 1


def test_a_part_of_which_only_some_can_be_linked_is_read_again(
    warehouse: Warehouse, normalised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = warehouse.load(RECORDS)
    read_anew(normalised)
    inodes = {file: file.stat() for file in (Path(first.run_dir) / "stage").iterdir()}
    real = stage._link

    def link(file: Path, name: Path) -> None:
        if file.parent.name == "rejected":
            raise OSError
        real(file, name)

    monkeypatch.setattr(stage, "_link", link)
    second = warehouse.load(RECORDS)
    assert read_anew(normalised) > 0
    assert findings(second) == findings(first)
    for file, before in inodes.items():
        assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_rows_of_a_table_are_known_again_too(warehouse: Warehouse, normalised: list[int]) -> None:
    parquet = warehouse.folder / "in.parquet"
    pl.DataFrame(RECORDS).write_parquet(parquet)
    warehouse.load(parquet)
    assert read_anew(normalised) == len(RECORDS)
    warehouse.load(parquet)
    assert read_anew(normalised) == 0
    pl.DataFrame(RECORDS).with_columns(name=pl.col("name") + "!").write_parquet(parquet)
    report = warehouse.load(parquet)
    assert read_anew(normalised) == len(RECORDS)
    assert report.counts.updated == report.counts.read - report.counts.rejected - report.counts.merged


def test_a_run_that_was_stopped_by_a_gate_has_read_too(warehouse: Warehouse, normalised: list[int]) -> None:
    from tranship.connectors.errors import GateClosed

    with pytest.raises(GateClosed):
        warehouse.load(RECORDS, max_rejects="0")
    read_anew(normalised)
    warehouse.load(RECORDS)
    assert read_anew(normalised) == 0


def test_only_the_owner_reads_what_was_taken_over(warehouse: Warehouse) -> None:
    warehouse.load(RECORDS)
    report = warehouse.load(RECORDS)
    modes = {file.stat().st_mode & 0o777 for file in Path(report.run_dir).rglob("*") if file.is_file()}
    assert modes == {0o600}
    assert RunDirectory.open(warehouse.folder / "state", report.run_id).path == Path(report.run_dir)
