"""A source that leaves out old records by itself gives the same result as one that is filtered after reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.postgres_server import Database
from support.warehouse import Warehouse, fates
from tranship.connectors.contract import Narrowing
from tranship.connectors.opening import open_source
from tranship.pipelines import reading

SINCE = "2026-03-29T00:30:00Z"
"""In Berlin, clocks go forward half an hour later."""

INSTANTS = [
    *(None, "1850-01-01 00:00:00", "1900-01-01 12:00:00", "2026-03-27 23:00:00", "2026-03-28 20:00:00"),
    *(
        "2026-03-29 00:29:59",
        "2026-03-29 00:30:00",
        "2026-03-29 01:30:00",
        "2026-03-29 01:29:59",
        "2026-03-30 00:00:00",
    ),
    "2200-01-01 00:00:00",
]
DATES = [None, "1850-01-01", "1900-01-01", "2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30", "2200-01-01"]
NUMBERS = [None, "-7", "0", "41", "42", "43"]

CASES: list[tuple[str, Sequence[str | None], bool]] = [
    ("timestamptz", INSTANTS, True),
    ("timestamp", INSTANTS, True),
    ("date", DATES, True),
    ("bigint", NUMBERS, True),
    ("smallint", NUMBERS, True),
    ("text", INSTANTS, False),
    ("numeric", NUMBERS, False),
]


def result(warehouse: Warehouse, source: str, table: str, kind: str) -> tuple[dict[str, int], list[Any]]:
    whole = kind in ("bigint", "smallint", "numeric")
    report = warehouse.load(
        source,
        table=table,
        since="42" if whole else SINCE,
        cursor="seen",
        timezone="Europe/Berlin",
        ignore="seen",
    )
    return fates(report), warehouse.column("external_id", table=table)


def compared(
    monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, source: str, kind: str, *, leaves_out: bool
) -> None:
    """Assert that the result is the same without the help of the source, and that the source has helped."""
    helped = result(warehouse, source, "helped", kind)
    with closing(open_source(source)) as opened:
        assert isinstance(opened, Narrowing)
        opened.narrow("seen", bound(kind))
        rows = sum(part.read().records.height for part in opened.parts(warehouse.folder / "keep"))
        assert bool(opened.left_out) == leaves_out
        assert rows + opened.left_out == rows_of(source)
    with monkeypatch.context() as alone:
        alone.setattr(reading, "_narrow", lambda *_: None)
        assert result(warehouse, source, "alone", kind) == helped


def bound(kind: str) -> datetime | int:
    return 42 if kind in ("bigint", "smallint", "numeric") else datetime.fromisoformat(SINCE)


def rows_of(source: str) -> int:
    with closing(open_source(source)) as opened:
        return int(opened.size or 0)


def statements(kind: str, values: Sequence[str | None]) -> Iterator[str]:
    yield "DROP TABLE IF EXISTS given"
    yield f"CREATE TABLE given (external_id text, name text, seen {kind})"
    for number, value in enumerate(values):
        text = "NULL" if value is None else f"'{value}{'+00' if kind == 'timestamptz' else ''}'"
        yield f"INSERT INTO given VALUES ('{number}', 'A', {text})"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values", "leaves_out"), CASES, ids=[case[0] for case in CASES])
def test_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, values: Sequence[str | None], leaves_out: bool
) -> None:
    there = Warehouse(tmp_path / "source")
    there.folder.mkdir()
    there.do(*statements(kind, values))
    compared(monkeypatch, Warehouse(tmp_path), there.address("given"), kind, leaves_out=leaves_out)


def test_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_database: Database) -> None:
    for kind, values, leaves_out in CASES:
        postgres_database.do(*statements(kind, values))
        folder = tmp_path / kind
        folder.mkdir()
        source = f"{postgres_database.url}?table=given"
        compared(monkeypatch, Warehouse(folder), source, kind, leaves_out=leaves_out)
    postgres_database.do(*statements("timestamptz", ["-infinity", "infinity", *INSTANTS]))
    folder = tmp_path / "infinity"
    folder.mkdir()
    compared(monkeypatch, Warehouse(folder), source, "timestamptz", leaves_out=False)
    query = f"{postgres_database.url}?query=SELECT * FROM given WHERE external_id <> '0' AND external_id <> '1'"
    compared(monkeypatch, Warehouse(tmp_path), query, "timestamptz", leaves_out=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["instant", "local", "date", "bigint", "text"])
def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Row groups of two records each, in order of time."""
    instants = ["2026-03-01 00:00:00", "2026-03-02 00:00:00", *filter(None, INSTANTS[2:])]
    local = [datetime.fromisoformat(value) for value in instants]
    values: list[Any] = {
        "instant": [value.replace(tzinfo=UTC) for value in local],
        "local": local,
        "date": [value.date() for value in local],
        "bigint": [1, 2, 3, 41, None, 2, 42, 43],
        "text": instants,
    }[kind]
    frame = pl.DataFrame({"external_id": [str(n) for n in range(len(values))], "name": "A", "seen": values})
    frame.write_parquet(tmp_path / "in.parquet", row_group_size=2, use_pyarrow=True)
    compared(monkeypatch, Warehouse(tmp_path), str(tmp_path / "in.parquet"), kind, leaves_out=kind != "text")


def test_rows_of_parquet_keep_their_numbers(tmp_path: Path) -> None:
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 11)]
    names = [*"ABCDEFGH", " ", "J"]
    frame = pl.DataFrame({"external_id": list("abcdefghij"), "name": names, "updated_at": at})
    frame.write_parquet(tmp_path / "in.parquet", row_group_size=2, use_pyarrow=True)
    report = Warehouse(tmp_path).load(tmp_path / "in.parquet", since="2026-01-08")
    assert fates(report) == {"skipped": 7, "rejected": 1, "created": 2}
    assert report.examples["name.missing"].endswith("line 9")
