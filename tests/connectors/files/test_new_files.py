"""`--new-files`: which files of a folder are read again, and which lines of them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import os
import random
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates, rejects
from tranship.connectors.contract import FileMark
from tranship.connectors.files.new_files import NewFiles
from tranship.connectors.files.storage import File
from tranship.pipelines import run, settings
from tranship.pipelines.report import Report

HEAD = "external_id,name\n"


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse | PostgresWarehouse:
    (tmp_path / "in").mkdir()
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    database: Database = request.getfixturevalue("postgres_database")
    return PostgresWarehouse(tmp_path, database)


@pytest.fixture
def duckdb(tmp_path: Path) -> Warehouse:
    (tmp_path / "in").mkdir()
    return Warehouse(tmp_path)


def load(warehouse: Warehouse | PostgresWarehouse, **options: Any) -> Report:
    return warehouse.load(warehouse.folder / "in", new_files=True, **options)


def said(report: Report, text: str) -> bool:
    return any(text in note for note in report.notes)


def write(warehouse: Warehouse | PostgresWarehouse, name: str, text: str | bytes) -> Path:
    path = warehouse.folder / "in" / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.slow
def test_a_file_is_read_when_it_is_new_or_has_changed(warehouse: Warehouse | PostgresWarehouse) -> None:
    write(warehouse, "a.csv", HEAD + "1,A\n2,B\n")
    write(warehouse, "b.csv", HEAD + "3,C\n")
    assert fates(load(warehouse)) == {"created": 3}

    report = load(warehouse)
    assert fates(report) == {}
    assert report.exit_code == 0
    assert said(report, "0 of 2 files are new or changed, 2 unchanged")

    write(warehouse, "a.csv", HEAD + "1,A\n2,B\n4,D\n,x\n")
    (warehouse.folder / "in" / "b.csv").rename(warehouse.folder / "in" / "moved.csv")
    write(warehouse, "c.csv", HEAD + "5,E\n")
    report = load(warehouse, max_rejects="1")
    assert fates(report) == {"created": 2, "rejected": 1}
    assert rejects(report)[0]["_line"] == "5"
    assert said(report, "a.csv: has grown; only what follows line 3 is read")
    assert said(report, "moved.csv: was renamed from ")
    assert fates(load(warehouse)) == {}

    write(warehouse, "c.csv", HEAD + "5,F\n")
    report = load(warehouse)
    assert fates(report) == {"updated": 1}
    assert said(report, "c.csv: was replaced, and is read whole")


@pytest.mark.slow
def test_a_file_that_says_again_what_an_earlier_one_said_is_read(duckdb: Warehouse) -> None:
    for number, name in enumerate("ABA"):
        write(duckdb, f"day {number}.csv", f"{HEAD}1,{name}\n")
        report = load(duckdb)
    assert fates(report) == {"updated": 1}
    assert said(report, "day 2.csv: has the same content as ")
    assert duckdb.column("name") == ["A"]


@pytest.mark.slow
def test_a_file_that_makes_room_for_a_new_one_was_renamed(duckdb: Warehouse) -> None:
    log = write(duckdb, "log.csv", HEAD + "1,A\n")
    load(duckdb)
    log.rename(log.with_name("log.old.csv"))
    write(duckdb, "log.csv", HEAD + "1,B\n")
    report = load(duckdb)
    assert said(report, "log.old.csv: was renamed from ")
    assert (fates(report), duckdb.column("name")) == ({"updated": 1}, ["B"])


@pytest.mark.slow
def test_a_run_that_dies_or_stops_reads_its_files_again(
    warehouse: Warehouse | PostgresWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(warehouse, "a.csv", HEAD + "1,A\n")
    load(warehouse, dry_run=True)
    where = "tranship.connectors.databases.{}.watermarks.Watermarks.keep_files"
    with monkeypatch.context() as broken:
        for database in ("duckdb", "postgres"):
            broken.setattr(where.format(database), lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            load(warehouse)
    with monkeypatch.context() as broken:
        broken.setattr("tranship.pipelines.write_step.finish", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            load(warehouse)
    assert warehouse.column("external_id") == ["1"]
    assert fates(load(warehouse)) == {}


@pytest.mark.slow
def test_a_plan_keeps_the_files_that_it_has_read(duckdb: Warehouse) -> None:
    write(duckdb, "a.csv", HEAD + "1,A\n")
    given = {"source": str(duckdb.folder / "in"), "destination": duckdb.address(), "new_files": True}
    run.plan(settings.load({**given, "state_dir": duckdb.folder / "state"}, {}), duckdb.folder / "plan")
    write(duckdb, "b.csv", HEAD + "2,B\n")
    run.apply(duckdb.folder / "plan")
    assert fates(load(duckdb)) == {"created": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after", "expected", "note"),
    [
        # a last line without its end may be half of one
        ("a.csv", HEAD + "1,A\n2,B", HEAD + "1,A\n2,Bob\n3,C\n", {"created": 1, "updated": 1, "unchanged": 1}, "has grown, and"),
        # an open quote: the end of the value was not there yet
        ("a.csv", HEAD + '1,A\n2,"B\n', HEAD + '1,A\n2,"B\nC"\n', {"created": 1, "unchanged": 1}, "has grown, and"),
        ("a.csv", HEAD.replace("\n", "\r\n") + "1,A\r\n", HEAD.replace("\n", "\r\n") + "1,A\r\n2,B\r\n", {"created": 1}, "follows line 2"),
        ("a.csv", HEAD.replace("\n", "\r") + "1,A\r", HEAD.replace("\n", "\r") + "1,A\r2,B\r", {"created": 1}, "follows line 2"),
        ("a.csv", HEAD + '1,"A\nB"\n', HEAD + '1,"A\nB"\n2,C\n', {"created": 1}, "follows line 3"),
        ("a.jsonl", '{"external_id": "1", "name": "A"}\n', '{"external_id": "1", "name": "A"}\n{"external_id": "2", "name": "B"}\n', {"created": 1}, "follows line 1"),
        ("a.json", '[{"external_id": "1", "name": "A"}]', '[{"external_id": "1", "name": "A"}, {"external_id": "2", "name": "B"}]', {"created": 1, "unchanged": 1}, "was replaced"),
        ("a.csv", (HEAD + "1,A\n").encode("utf-16"), (HEAD + "1,A\n2,B\n").encode("utf-16"), {"created": 1, "unchanged": 1}, "has grown, and"),
        ("a.csv.gz", gzip.compress(HEAD.encode() + b"1,A\n", mtime=0), gzip.compress(HEAD.encode() + b"1,A\n2,B\n", mtime=0), {"created": 1, "unchanged": 1}, "was replaced"),
        # as long as before
        ("a.csv", HEAD + "1,A\n", HEAD + "1,B\n", {"updated": 1}, "was replaced"),
        ("a.csv", HEAD + "1,A\n2,B\n", HEAD + "1,A\n", {"unchanged": 1}, "was replaced"),
    ],
)  # fmt: skip
def test_a_file_that_has_changed(
    duckdb: Warehouse, name: str, before: str | bytes, after: str | bytes, expected: dict[str, int], note: str
) -> None:
    path = write(duckdb, name, before)
    stat = path.stat()
    load(duckdb, max_rejects="100%")
    write(duckdb, name, after)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its time does not tell
    report = load(duckdb)
    assert fates(report) == expected
    assert said(report, note), report.notes
    assert fates(load(duckdb)) == {}


@pytest.mark.slow
def test_only_its_time_has_changed(duckdb: Warehouse) -> None:
    path = write(duckdb, "a.csv", HEAD + "1,A\n")
    load(duckdb)
    os.utime(path, (0, 0))
    assert fates(load(duckdb)) == {}
    assert fates(load(duckdb, defaults={"country": "DE"})) == {"updated": 1}  # read in another way
    assert fates(load(duckdb, full=True)) == {"unchanged": 1}


def test_an_object_is_known_by_its_entity_tag() -> None:
    """It is not downloaded again; another tag with the same contents is not news either."""
    opened: list[str] = []

    def of(name: str, tag: str, content: bytes) -> File:
        def read() -> io.BytesIO:
            opened.append(name)
            return io.BytesIO(content)

        return File(name, len(content), None, read, tag=tag)

    def chosen(known: list[FileMark], *files: File) -> tuple[list[str], list[FileMark]]:
        opened.clear()
        new = NewFiles(known, timedelta(), datetime.now(UTC))
        found = [file.name for file in new.choose(files)]
        return ([] if new.nothing else found), new.marks

    names, marks = chosen([], of("s3://b/a.csv", '"1"', b"x\n"), of("s3://b/b.csv", '"2"', b"y\n"))
    assert names == ["s3://b/a.csv", "s3://b/b.csv"]
    assert chosen(marks, of("s3://b/a.csv", '"1"', b"x\n")) == ([], [])
    assert not opened
    assert chosen(marks, of("s3://b/a.csv", '"3"', b"x\n")) == ([], [])
    assert opened == ["s3://b/a.csv"]
    assert chosen(marks, of("s3://b/a.csv", '"3"', b"z\n"))[0] == ["s3://b/a.csv"]


def test_files_that_still_grow_are_left_for_later(duckdb: Warehouse) -> None:
    old, new = write(duckdb, "a.csv", HEAD + "1,A\n"), write(duckdb, "b.csv", HEAD + "2,B\n")
    os.utime(old, (0, 0))
    report = load(duckdb, settle="10min")
    assert fates(report) == {"created": 1}
    assert said(report, f"1 file changed within the last 600 s and left out (--settle): {new}")
    os.utime(new, (0, 0))
    assert fates(load(duckdb, settle="10min")) == {"created": 1}


@pytest.mark.slow
def test_archives_settle_and_a_wrong_clock_stops_nothing(duckdb: Warehouse) -> None:
    with zipfile.ZipFile(duckdb.folder / "in" / "a.zip", "w") as archive:
        archive.writestr("a.csv", HEAD + "1,A\n")
    with contextlib.suppress(OSError):  # not every file system has such times
        os.utime(write(duckdb, "b.csv", HEAD + "2,B\n"), (1e13, 1e13))
    assert fates(load(duckdb, settle="10min")) == {"created": 1}
    os.utime(duckdb.folder / "in" / "a.zip", (0, 0))
    assert fates(load(duckdb, settle="10min")) == {"created": 1}
    assert fates(duckdb.load(duckdb.folder / "in" / "b.csv")) == {"unchanged": 1}


def test_files_as_destination_keep_them_in_the_state_directory(duckdb: Warehouse) -> None:
    write(duckdb, "a.csv", HEAD + "1,A\n")
    destination = str(duckdb.folder / "out.csv")
    assert fates(load(duckdb, destination=destination)) == {"created": 1}
    write(duckdb, "b.csv", HEAD + "2,B\n")
    assert fates(load(duckdb, destination=destination)) == {"created": 1}


def test_other_formats(duckdb: Warehouse) -> None:
    pl.DataFrame({"external_id": ["1"], "name": ["A"]}).write_parquet(duckdb.folder / "in" / "a.parquet")
    assert fates(load(duckdb)) == {"created": 1}
    pl.DataFrame({"external_id": ["2"], "name": ["B"]}).write_parquet(duckdb.folder / "in" / "b.parquet")
    assert fates(load(duckdb)) == {"created": 1}


@pytest.mark.slow
def test_a_week_of_files_gives_one_result_in_every_order(tmp_path: Path) -> None:
    """Each day changes some customers; files arrive in any order, some of them twice."""
    chosen = random.Random(7)
    week = {}
    for day in range(1, 8):
        rows = [f"{key},name {day},2026-01-{day:02}T0{key}:00:00Z" for key in range(9) if chosen.random() < 0.5]
        week[f"{day}.csv"] = "external_id,name,updated_at\n" + "\n".join(rows) + "\n"
    orders = list(itertools.permutations(week))
    chosen.shuffle(orders)
    digests = set()
    for number, order in enumerate(orders[: 60 if "TRANSHIP_LONG_TESTS" in os.environ else 4]):
        warehouse = Warehouse(tmp_path / str(number))
        (warehouse.folder / "in").mkdir(parents=True)
        for at, name in enumerate(order):
            write(warehouse, name, week[name])
            if at % 3 == 2:  # under another name, and again
                write(warehouse, f"again {order[at - 1]}", week[order[at - 1]])
            if chosen.random() < 0.6:
                load(warehouse, older="skip")
        load(warehouse, older="skip")
        rows = warehouse.rows("SELECT external_id, name, updated_at FROM customers ORDER BY ALL")
        digests.add(hashlib.sha256(repr(rows).encode()).hexdigest())
    assert len(digests) == 1
