"""`tranship backfill`: a span of time, window by window."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tranship
from support.warehouse import Warehouse, fates, write_csv
from tranship.connectors.errors import ConfigError
from tranship.pipelines import backfill, settings
from tranship.pipelines.backfill import Window
from tranship.pipelines.cli import main as cli

ROWS = [
    {"external_id": str(day), "name": f"day {day}", "version": str(day), "updated_at": f"2026-01-{day:02}T12:00:00Z"}
    for day in range(1, 8)
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    write_csv(tmp_path / "in.csv", ROWS)
    return Warehouse(tmp_path)


def windows(warehouse: Warehouse, start: str, end: str, window: str, **options: Any) -> list[Window]:
    given = {"source": str(warehouse.folder / "in.csv"), "destination": warehouse.address()}
    span = {"since": start, "until": end}
    configured = settings.load({**given, **span, "state_dir": warehouse.folder / "state", **options}, {})
    return list(backfill.backfill(configured, window))


@pytest.mark.slow
def test_the_same_from_python(warehouse: Warehouse) -> None:
    ends = (warehouse.folder / "in.csv", warehouse.address())
    given = {"state_dir": warehouse.folder / "state"}
    found = tranship.backfill(*ends, since=date(2026, 1, 2), until="2026-01-05", window=timedelta(days=2), **given)
    assert [fates(window.report) for window in found if window.report] == [
        {"skipped": 5, "created": 2},
        {"skipped": 6, "created": 1},
    ]
    assert found[0].start == datetime(2026, 1, 2, tzinfo=UTC)
    assert tranship.watermarks(warehouse.address(), state_dir=given["state_dir"]) == ()

    numbered = tranship.backfill(*ends, since=6, until=8, cursor="version", window=1, **given)
    assert [fates(window.report) for window in numbered if window.report] == 2 * [{"skipped": 6, "created": 1}]
    with pytest.raises(ConfigError, match="until: is missing"):
        tranship.backfill(*ends, since="2026-01-02", **given)
    with pytest.raises(ConfigError, match=r"window: .* is not accepted\. Give whole seconds"):
        tranship.backfill(*ends, since="2026-01-02", until="2026-01-03", window=timedelta(seconds=0.5), **given)


@pytest.mark.slow
def test_each_window_is_a_run(warehouse: Warehouse) -> None:
    found = windows(warehouse, "2026-01-02", "2026-01-05", "2d")
    assert [fates(window.report) for window in found if window.report] == [
        {"skipped": 5, "created": 2},
        {"skipped": 6, "created": 1},
    ]
    assert warehouse.column("external_id") == ["2", "3", "4"]


def test_a_window_may_be_longer_than_all_time(warehouse: Warehouse) -> None:
    found = windows(warehouse, "2026-01-02", "2026-01-05", "999999999d")
    assert [fates(window.report) for window in found if window.report] == [{"skipped": 4, "created": 3}]


def test_the_watermark_stays(warehouse: Warehouse) -> None:
    write_csv(warehouse.folder / "in.csv", ROWS[4:5])
    warehouse.load(warehouse.folder / "in.csv", since="last")
    write_csv(warehouse.folder / "in.csv", ROWS)
    windows(warehouse, "2026-01-01", "2026-01-08", "7d")
    assert warehouse.column("value", table="_tranship_state") == ["2026-01-05T12:00:00.000000Z"]


@pytest.mark.slow
def test_it_continues_with_the_window_that_was_not_finished(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    original = backfill.run.run

    def dying(given: Any, observer: Any) -> Any:
        ran.append(given.since[:10])
        if len(ran) == 3:
            raise SystemExit
        return original(given, observer)

    monkeypatch.setattr("tranship.pipelines.backfill.run.run", dying)
    with pytest.raises(SystemExit):
        windows(warehouse, "2026-01-01", "2026-01-05", "1d")
    found = windows(warehouse, "2026-01-01", "2026-01-05", "1d")
    assert [window.report is None for window in found] == [True, True, False, False]
    assert ran[2:] == ["2026-01-03", "2026-01-03", "2026-01-04"]
    assert warehouse.column("external_id") == ["1", "2", "3", "4"]
    assert not any((warehouse.folder / "state" / "backfills").iterdir())


@pytest.mark.slow
def test_whole_numbers(warehouse: Warehouse) -> None:
    found = windows(warehouse, "2", "6", "3", cursor="version")
    assert [(window.start, window.end) for window in found] == [(2, 5), (5, 6)]
    assert warehouse.column("external_id") == ["2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("span", "options", "message"),
    [
        (("2026-01-02", "2026-01-01", "1d"), {}, "the end is not after the beginning"),
        (("2026-01-02", "2026-01-03", "a day"), {}, "--window a day: is not a length. Write it as 1d"),
        (("2026-01-02", "2026-01-03", "5"), {}, "do not fit together. Example: --from 2026"),
        (("1", "10", "1d"), {"cursor": "version"}, "do not fit together. Example: --from 1 "),
        (("2026-01-01", "2026-01-02", "1s"), {}, "more than 10,000 windows"),
        (("2026-01-01", "2026-01-02", "9999999999d"), {}, "is not a length"),
        (("soon", "2026-01-02", "1d"), {}, "--from soon: is not a time"),
        (("last", "2026-01-02", "1d"), {}, "until needs since with a time"),
        (("2026-01-01", "2026-01-02", "1d"), {"full": True}, "until needs since with a time"),
        (("2026-01-01", "2026-01-02", "1d"), {"engine": "sail"}, "backfill: a run on an engine reads everything"),
        (("2026-01-01", "2026-01-02", "1d"), {"mode": "mirror", "max_deletes": "1"}, "a partial read cannot say"),
    ],
)
def test_what_cannot_be_is_refused(
    warehouse: Warehouse, span: tuple[str, str, str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        windows(warehouse, *span, **options)


def test_the_command(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(warehouse.folder)
    words = ["backfill", "in.csv", warehouse.address(), "--from", "2026-01-01", "--to", "2026-01-03", "--json"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert [window["counts"]["created"] for window in json.loads(out)["windows"]] == [1, 1]
    assert "2026-01-02T00:00:00Z to 2026-01-03T00:00:00Z: read 7, skipped 6, created 1; run " in err
