"""`--since`, `--lookback`, `--full`: what is read again, and where the watermark is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tranship
from support.accounts import Open
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates, write_csv
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.pipelines import run, settings
from tranship.pipelines.report import Report
from tranship.pipelines.undo import undo

pytestmark = pytest.mark.slow

DAY = "2026-01-31T"


def row(key: str, at: str | None, name: str = "") -> dict[str, str | None]:
    return {"external_id": key, "name": name or key, "updated_at": at if at is None or "-" in at else f"{DAY}{at}Z"}


OLD = [row("a", "09:00:00"), row("b", "10:00:00")]


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse | PostgresWarehouse:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    database: Database = request.getfixturevalue("postgres_database")
    return PostgresWarehouse(tmp_path, database)


Any_ = Warehouse | PostgresWarehouse


def said(report: Report, text: str) -> bool:
    return any(text in note for note in report.notes)


def watermark(warehouse: Any_) -> list[str]:
    return [found["value"] for found in warehouse.rows("SELECT value FROM _tranship_state")]


@pytest.mark.alternating("warehouse")
@pytest.mark.parametrize(
    ("later", "options", "expected", "mark"),
    [
        # nothing new: records with the value of the watermark itself are read again
        ([], {}, {"skipped": 1, "unchanged": 1}, "10:00:00"),
        ([row("c", "11:00:00")], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "11:00:00"),
        ([row("a", "11:00:00", "new")], {}, {"skipped": 1, "unchanged": 1, "updated": 1}, "11:00:00"),
        # a record without a cursor, or with one that cannot be read, is always read
        ([row("c", None)], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:00:00"),
        ([row("c", "not-a-time")], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:00:00"),
        ([row("c", "1850-01-01")], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:00:00"),
        # late records
        ([row("c", "09:30:00")], {}, {"skipped": 2, "unchanged": 1}, "10:00:00"),
        ([row("c", "09:30:00")], {"lookback": "30min"}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:00:00"),
        ([row("c", "09:30:00")], {"full": True}, {"unchanged": 2, "created": 1}, "10:00:00"),
        # other zones
        ([row("c", "2026-01-31T11:30:00+01:00")], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:30:00"),
        ([row("c", "2026-01-31T10:30:00+01:00")], {}, {"skipped": 2, "unchanged": 1}, "10:00:00"),
        # a value in the future is loaded, and does not hide what is written until then
        ([row("c", "2199-01-01")], {}, {"skipped": 1, "unchanged": 1, "created": 1}, "10:00:00"),
        # a rejected record is the user's to correct
        ([{**row("c", "11:00:00"), "name": " "}], {}, {"skipped": 1, "unchanged": 1, "rejected": 1}, "11:00:00"),
        # an explicit time
        (
            [row("c", "09:30:00")],
            {"since": f"{DAY}09:15:00Z"},
            {"skipped": 1, "unchanged": 1, "created": 1},
            "10:00:00",
        ),
        ([row("c", "12:00:00")], {"since": f"{DAY}11:00:00Z"}, {"skipped": 2, "created": 1}, "10:00:00"),
    ],
)
def test_what_is_read_the_second_time(
    warehouse: Any_, later: list[Any], options: dict[str, Any], expected: dict[str, int], mark: str
) -> None:
    first = warehouse.load(OLD, since="last")
    assert fates(first) == {"created": 2}
    assert said(first, "everything is read")

    report = warehouse.load([*OLD, *later], **{"since": "last", **options})
    assert fates(report) == expected
    assert watermark(warehouse) == [f"{DAY}{mark}.000000Z"]


def test_what_is_left_out_and_kept_back_is_said(warehouse: Any_) -> None:
    warehouse.load(OLD, since="last")
    odd = [row("c", "not-a-time"), row("d", "2199-01-01"), {**row("e", "10:30:00"), "name": " "}]
    report = warehouse.load([*OLD, *odd], since="last", lookback="30min")
    for text in (
        "reads records with updated_at from 2026-01-31T09:30:00Z on",
        "read up to 2026-01-31T10:00:00Z, with --lookback 30min",
        "1 record has a value in updated_at that is not a time, and every run reads it; the first: ",
        "after the start of this run: the watermark stays before it, and the next run reads it again",
        "past 1 rejected record: correct it in the rejects file and run that; --since last does not read it again",
    ):
        assert said(report, text), (text, report.notes)


def test_a_full_read_reports_what_a_delta_would_have_missed(warehouse: Any_) -> None:
    warehouse.load(OLD, since="last")
    late = [row("a", "09:00:00", "changed"), OLD[1], row("c", "06:48:30"), row("d", "12:00:00")]
    report = warehouse.load(late, since="last", full=True, older="write")
    assert said(report, "2 late records a delta would have missed, the oldest 3 h 12 min; use --lookback 4h")
    assert said(warehouse.load(late, full=True, older="write"), "no late records")


def test_a_stopped_dry_or_planned_run_leaves_the_watermark(warehouse: Any_) -> None:
    warehouse.load(OLD, since="last")
    later = [*OLD, row("c", "11:00:00"), {**row("d", "12:00:00"), "name": " "}]
    with pytest.raises(GateClosed):
        warehouse.load(later, since="last", max_rejects="0")
    warehouse.load(later, since="last", dry_run=True)
    given = {"source": str(warehouse.folder / "in.csv"), "destination": warehouse.address(), "since": "last"}
    given["state_dir"] = warehouse.folder / "state"
    run.plan(settings.load(given, {}), warehouse.folder / "plan")
    assert watermark(warehouse) == [f"{DAY}10:00:00.000000Z"]

    write_csv(warehouse.folder / "in.csv", [*later, row("e", "23:00:00")])
    report = run.apply(warehouse.folder / "plan")
    assert report.counts.created == 1
    assert watermark(warehouse) == [f"{DAY}12:00:00.000000Z"]


def test_another_mapping_reads_everything(warehouse: Any_) -> None:
    warehouse.load(OLD, since="last")
    report = warehouse.load(OLD, since="last", defaults={"currency": "EUR"})
    assert fates(report) == {"updated": 2}
    assert said(report, "has changed since run")
    assert fates(warehouse.load(OLD, since="last", defaults={"currency": "EUR"})) == {"skipped": 1, "unchanged": 1}


def test_a_column_of_whole_numbers_is_a_cursor(warehouse: Any_) -> None:
    rows = [{"external_id": str(n), "name": "A", "version": str(n)} for n in range(1, 13)]
    warehouse.load(rows[:11], since="last", cursor="Version")
    assert watermark(warehouse) == ["11"]
    assert fates(warehouse.load(rows, since="last", cursor="version")) == {"skipped": 10, "unchanged": 1, "created": 1}
    report = warehouse.load(rows, since="last", cursor="version", lookback="2")
    assert fates(report) == {"skipped": 9, "unchanged": 3}
    with pytest.raises(ConfigError, match="--lookback 1h: the values of the cursor are whole numbers"):
        warehouse.load(rows, since="last", cursor="version", lookback="1h")
    report = warehouse.load([*rows, {**rows[0], "external_id": "x", "version": "v7"}], since="last", cursor="version")
    assert fates(report) == {"skipped": 11, "unchanged": 1, "created": 1}
    assert said(report, "1 record has a value in version that is not a whole number")
    rows += [{"external_id": "y", "name": "A", "version": "5"}]
    assert said(
        warehouse.load(rows, full=True, cursor="version"), "1 late record a delta would have missed, the oldest 7"
    )


def test_a_run_that_dies_before_its_report_is_neither_doubled_nor_skipped(
    warehouse: Any_, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data and watermark are committed together."""
    warehouse.load(OLD, since="last")
    later = [*OLD, row("c", "11:00:00")]
    with monkeypatch.context() as broken:
        broken.setattr("tranship.pipelines.write_step.finish", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            warehouse.load(later, since="last")
    assert watermark(warehouse) == [f"{DAY}11:00:00.000000Z"]
    report = warehouse.load([*later, row("d", "12:00:00")], since="last")
    assert fates(report) == {"skipped": 2, "unchanged": 1, "created": 1}


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_the_watermark_of_a_file_is_in_the_state_directory(tmp_path: Path, end: str) -> None:
    warehouse = Warehouse(tmp_path)
    there = {"destination": str(tmp_path / f"out.{end}")}
    warehouse.load(OLD, since="last", **there)
    report = warehouse.load([*OLD, row("c", "11:00:00")], since="last", **there)
    assert fates(report) == {"skipped": 1, "created": 2}
    assert len(list((tmp_path / "state" / "watermarks").iterdir())) == 1
    assert fates(warehouse.load(OLD, since="last", destination=str(tmp_path / f"b.{end}"))) == {"created": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "mirror", "max_deletes": "1"}, "mode mirror cannot be combined with since"),
        ({"since": "yesterday"}, "--since yesterday: is not a time"),
        ({"lookback": "5"}, "--lookback 5: give a duration, such as 1h"),
        ({"lookback": "9999999999h"}, "lookback"),
        ({"settle": "9999999999h", "new_files": True, "since": None}, "settle"),
        ({"since": "2026-01-31", "lookback": "1h"}, "applies to --since last"),
        ({"cursor": "modified"}, "--cursor modified: .*in.csv has no such column"),
        ({"since": None, "lookback": "1h"}, "lookback has no effect without since or full"),
        ({"ignore": ("updated_at",)}, "no column is mapped to updated_at.* --cursor COLUMN"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Warehouse(tmp_path).load(OLD, **{"since": "last", **options})


def test_a_time_before_all_times_is_refused(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load(OLD, since="last")
    with pytest.raises(ConfigError, match="no time so long before 2026-01-31T10:00:00Z"):
        warehouse.load(OLD, since="last", lookback="999999999h")


@pytest.mark.parametrize(
    ("source", "message"), [(["a.csv", "b.csv"], "2 sources are given"), ("-", "standard input has no address")]
)
@pytest.mark.parametrize("asked", [{"since": "last"}, {"new_files": True}])
def test_sources_without_an_address_of_their_own_are_refused(
    tmp_path: Path, source: str | list[str], message: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=message):
        tranship.run(source, Warehouse(tmp_path).address(), state_dir=tmp_path / "state", **asked)


def test_mirror_is_refused_in_every_place(tmp_path: Path) -> None:
    file, table = write_csv(tmp_path / "in.csv", OLD), Warehouse(tmp_path).address()
    given: Any = {"mode": "mirror", "max_deletes": 1, "state_dir": tmp_path / "state"}
    for asked in ({"since": "last"}, {"new_files": True}):
        for start in (tranship.run, lambda *ends, **options: tranship.plan(*ends, out=tmp_path / "plan", **options)):
            with pytest.raises(ConfigError, match="a partial read cannot say what is gone"):
                start(file, table, **given, **asked)
    tranship.run(file, table, **given, since="last", full=True)
    assert Warehouse(tmp_path).column("external_id") == ["a", "b"]


def test_python_takes_times(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "in.csv", OLD)
    since = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    report = tranship.run(file, Warehouse(tmp_path).address(), since=since, state_dir=tmp_path / "state")
    assert fates(report) == {"skipped": 1, "created": 1}
    report = tranship.run(
        file,
        Warehouse(tmp_path).address(),
        since="last",
        lookback=timedelta(hours=1),
        state_dir=tmp_path / "state",
    )
    assert fates(report) == {"created": 1, "unchanged": 1}


def test_retry_and_verify_read_everything(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load(OLD, since="last")
    given = {"source": str(tmp_path / "in.csv"), "destination": warehouse.address(), "since": "last"}
    assert run.verify(settings.load({**given, "state_dir": tmp_path / "state"}, {})).equal


def test_typed_times_of_parquet(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    times = [datetime(2026, 1, 31, hour) for hour in (9, 10, 11)]
    frame = pl.DataFrame({"external_id": ["a", "b", "c"], "name": ["A", "B", "C"], "changed": times})
    frame.head(2).write_parquet(tmp_path / "in.parquet")
    given: Any = {"since": "last", "cursor": "changed", "timezone": "Europe/Berlin"}
    warehouse.load(tmp_path / "in.parquet", **given)
    assert watermark(warehouse) == [f"{DAY}09:00:00.000000Z"]
    frame.write_parquet(tmp_path / "in.parquet")
    assert fates(warehouse.load(tmp_path / "in.parquet", **given)) == {"skipped": 1, "unchanged": 1, "created": 1}


def test_records_that_a_provider_refuses_are_named_with_the_command_that_retries_them(
    tmp_path: Path, account: Open
) -> None:
    there = account("growpanel")
    rows = [{**row("a", "09:00:00"), "country": "DE"}, row("b", "10:00:00")]  # GrowPanel needs a country
    rows = [{**given, "created_at": "2026-01-01"} for given in rows]
    report = Warehouse(tmp_path).load(rows, destination=there.address, since="last")
    assert (report.counts.created, report.counts.refused) == (1, 1)
    assert said(report, f"1 record refused or failed and will not be read again as new: tranship retry {report.run_id}")
    report = Warehouse(tmp_path).load(rows, destination=there.address, since="last")
    assert (report.counts.skipped, report.counts.created) == (1, 0)


@pytest.mark.parametrize(("option", "files"), [({"since": "last"}, False), ({"new_files": True}, True)])
def test_an_undo_says_that_what_the_run_has_read_is_left_out_later(
    tmp_path: Path, option: dict[str, Any], files: bool
) -> None:
    warehouse = Warehouse(tmp_path)
    file = write_csv(tmp_path / "in.csv", OLD)
    source = str(tmp_path / "in*.csv") if files else file
    loaded = warehouse.load(source, **option)
    back = undo(tmp_path / "state", loaded.run_id)
    assert warehouse.rows("SELECT external_id FROM customers") == []
    assert said(back, f"leave out what {loaded.run_id} has read; to load it again, add --full")
    assert warehouse.load(source, **option).counts.created == (0 if files else 1)  # the other one is the watermark
    assert warehouse.load(source, **option, full=True).counts.created == (2 if files else 1)
    assert not said(undo(tmp_path / "state", back.run_id), "leave out")
