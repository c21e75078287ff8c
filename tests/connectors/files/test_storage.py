"""Files as bytes: a file named twice is read once, a file that is read is not written, and files of others are not
replaced.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.warehouse import Record, Warehouse, fates, write_csv
from tranship.connectors import apart
from tranship.connectors.contract import Abilities
from tranship.connectors.errors import ConfigError, Interrupted
from tranship.connectors.files.local_file import Written
from tranship.connectors.files.overlap import takes_in
from tranship.connectors.registry import CONNECTORS
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.observer import Quiet
from tranship.pipelines.report import Report

ANN: Record = {"external_id": "1", "email": "ann@acme.com", "name": "Ann", "country": "SE"}
BEA: Record = {"external_id": "2", "email": "bea@acme.com", "name": "Bea", "country": "DE"}
CY: Record = {"external_id": "3", "email": "cy@acme.com", "name": "Cy", "country": "US"}

FORMATS = {"csv": ".csv", "json": ".jsonl", "parquet": ".parquet"}
"""Each connector of files → the names of its files."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=FORMATS)
def ending(request: pytest.FixtureRequest) -> str:
    return FORMATS[request.param]


def run(source: str | list[str], destination: str, **options: Any) -> Report:
    return flow.run(settings.load({"source": source, "destination": destination, **options}, {}))


def made(path: str, *records: Record) -> Path:
    """Make a file with these records that Tranship has not written."""
    file = Path(path)
    if file.suffix == ".csv":
        return write_csv(file, records)
    frame = pl.DataFrame(records)
    frame.write_ndjson(file) if file.suffix == ".jsonl" else frame.write_parquet(file)
    return file


def ids(file: Path) -> list[str]:
    if file.suffix == ".csv":
        frame = pl.read_csv(file, infer_schema=False)
    else:
        frame = pl.read_ndjson(file) if file.suffix == ".jsonl" else pl.read_parquet(file)
    return sorted(frame["external_id"])


def test_every_format_is_tried_here() -> None:
    assert set(FORMATS) == {
        name
        for name, one in CONNECTORS.items()
        if one.destination and one.abilities.keeps_state != Abilities().keeps_state
    }


# Several sources, each read once ---------------------------------------------------------------------------------


def test_several_files_are_read_in_their_order(ending: str) -> None:
    made(f"b{ending}", ANN, BEA)
    made(f"a{ending}", {**ANN, "name": "Anna"}, CY)
    report = run([f"b{ending}", f"a{ending}"], "out.csv")

    assert fates(report) == {"created": 3, "merged": 1}
    assert report.source == f"b{ending}, a{ending}"
    frame = pl.read_csv("out.csv", infer_schema=False)
    assert frame.filter(external_id="1")["name"].to_list() == ["Anna"], "without a time the one read last stays"


def test_files_tables_and_formats_are_read_as_one(tmp_path: Path) -> None:
    made("a.csv", ANN)
    made("b.parquet", BEA)
    Warehouse(tmp_path).load([CY], table="c")
    query = "query=SELECT external_id, email, name, country FROM c"
    report = run(["a.csv", "b.parquet", Warehouse(tmp_path).address("c").replace("table=c", query)], "out.parquet")

    assert fates(report) == {"created": 3}
    assert ids(Path("out.parquet")) == ["1", "2", "3"]


def test_each_record_says_which_source_it_is_from() -> None:
    made("a.csv", ANN, {**BEA, "email": "nobody"})
    made("b.parquet", {**CY, "email": "nobody"})
    report = run(["a.csv", "b.parquet"], "out.csv")

    rejects = pl.read_csv(report.files["rejects"], infer_schema=False)
    assert rejects.select("_source", "_line").rows() == [("a.csv", "3"), ("b.parquet", "1")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "again",
    ["a{}", "./a{}", "{folder}/a{}", "*{}", "link{}", "hard{}", "folder/a{}", "."],
    ids=["the same", "dotted", "absolute", "glob", "link", "hard link", "through a link", "folder"],
)
def test_a_file_that_is_given_twice_is_read_once(again: str, ending: str, tmp_path: Path) -> None:
    file = made(f"a{ending}", {"external_id": None, "email": None, "name": "Ann"}, ANN)
    Path(f"link{ending}").symlink_to(file)
    Path(f"hard{ending}").hardlink_to(file)
    Path("folder").symlink_to(tmp_path)
    report = run([f"a{ending}", again.format(ending, folder=tmp_path)], "duckdb:///out.duckdb")

    assert report.counts.read == 2
    assert any("is read once" in note for note in report.notes)


def test_a_folder_with_a_link_to_its_own_file_gives_each_record_once() -> None:
    Path("in").mkdir()
    made("in/a.csv", ANN)
    Path("in/latest.csv").symlink_to("a.csv")

    assert run("in", "out.csv").counts.read == 1


def test_a_table_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    Warehouse(tmp_path).load([ANN])
    address = Warehouse(tmp_path).address()
    with pytest.raises(ConfigError, match="is given twice"):
        run([address, address.replace("customers", "CUSTOMERS")], "out.csv")


def test_several_sources_are_known_again(tmp_path: Path) -> None:
    made("a.csv", ANN)
    made("b.csv", BEA)
    warehouse = Warehouse(tmp_path)
    assert fates(run(["a.csv", "b.csv"], warehouse.address())) == {"created": 2}
    report = run(["a.csv", "b.csv"], warehouse.address())

    assert fates(report) == {"unchanged": 2}
    assert any("reused its 2 parsed records" in note for note in report.notes)


def test_a_run_of_several_sources_is_resumed_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made("a.csv", ANN)
    made("b.csv", BEA)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying("before", "out.csv"))
        with pytest.raises(Interrupted):
            run(["a.csv", "b.csv"], "out.csv")
    Path("a.csv").unlink()
    Path("b.csv").unlink()

    assert flow.resume(Path(".tranship"), "last").source == "a.csv, b.csv"
    assert ids(Path("out.csv")) == ["1", "2"]


def dying(when: str, name: str) -> Callable[[Path, Path], Path]:
    """`Path.replace`, which is stopped before or after it puts a file of this name in its place."""
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if Path(target).name != name:
            return rename(path, target)
        if when == "after":
            rename(path, target)
        raise KeyboardInterrupt

    return replace


# Source and destination ------------------------------------------------------------------------------------------

Arrange = Callable[[str], tuple[str, str]]


def _same(end: str) -> tuple[str, str]:
    return f"a{end}", f"a{end}"


def _absolute(end: str) -> tuple[str, str]:
    return f"a{end}", str(Path(f"a{end}").absolute())


def _link(end: str) -> tuple[str, str]:
    Path(f"link{end}").symlink_to(f"a{end}")
    return f"a{end}", f"link{end}"


def _link_to_read(end: str) -> tuple[str, str]:
    Path(f"link{end}").symlink_to(f"a{end}")
    return f"link{end}", f"a{end}"


def _hard_link(end: str) -> tuple[str, str]:
    Path(f"hard{end}").hardlink_to(f"a{end}")
    return f"a{end}", f"hard{end}"


def _linked_folder(end: str) -> tuple[str, str]:
    Path("folder").symlink_to(".")
    return f"a{end}", f"folder/a{end}"


def _folder(end: str) -> tuple[str, str]:
    return ".", f"a{end}"


def _new_in_the_folder(end: str) -> tuple[str, str]:
    return ".", f"new{end}"


def _new_far_in_the_folder(end: str) -> tuple[str, str]:
    Path("deep/er").mkdir(parents=True)
    return ".", f"deep/er/new{end}"


def _new_in_the_folder_by_a_link(end: str) -> tuple[str, str]:
    Path("folder").symlink_to(".")
    return ".", f"folder/new{end}"


def _pattern(end: str) -> tuple[str, str]:
    return f"*{end}", f"a{end}"


def _new_in_the_pattern(end: str) -> tuple[str, str]:
    return f"*{end}", f"new{end}"


def _new_in_a_deep_pattern(end: str) -> tuple[str, str]:
    Path("deep/er").mkdir(parents=True)
    return f"**/*{end}", f"deep/er/new{end}"


def _one_of_several(end: str) -> tuple[str, str]:
    return f"a{end}\nb{end}", f"a{end}"


@pytest.mark.parametrize(
    "arrange",
    [
        *(_same, _absolute, _link, _link_to_read, _hard_link, _linked_folder, _folder, _new_in_the_folder),
        *(_new_far_in_the_folder, _new_in_the_folder_by_a_link, _pattern, _new_in_the_pattern),
        *(_new_in_a_deep_pattern, _one_of_several),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_does_not_write_what_it_reads(arrange: Arrange, overwrite: bool, ending: str) -> None:
    made(f"a{ending}", ANN, {**BEA, "country": "Narnia"})
    made(f"b{ending}", CY)
    sources, destination = arrange(ending)
    before = _seen()
    with pytest.raises(ConfigError, match="cannot be the destination"):
        run(sources.splitlines(), destination, overwrite=overwrite)

    assert _seen() == before


def _seen() -> dict[Path, tuple[int, int, int]]:
    """Return all files and their contents, ignoring when they were last read."""
    found = {path: path.stat() for path in Path().rglob("*")}
    return {path: (at.st_ino, at.st_size, at.st_mtime_ns) for path, at in found.items()}


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("in", "new.csv"),
        ("in/*.csv", "new.csv"),
        ("in/*.csv", "in/new.txt"),
        ("*.csv", ".hidden.csv"),
        ("in", "inn.csv"),
    ],
)
def test_a_neighbour_of_what_is_read_may_be_written(source: str, destination: str) -> None:
    Path("in").mkdir()
    made("in/a.csv", ANN)
    made("a.csv", ANN)

    assert fates(run(source, destination)) == {"created": 1}


@pytest.mark.slow
def test_standard_input_from_the_destination_is_seen() -> None:
    file = made("a.csv", ANN)
    before = file.read_bytes()
    with file.open("rb") as stdin:
        ran = subprocess.run(
            [sys.executable, "-m", "tranship", "run", "-", "a.csv", "--overwrite"],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ran.returncode, file.read_bytes()) == (2, before)
    assert "cannot be the destination" in ran.stderr


def test_other_letters_count_where_the_file_system_says_so() -> None:
    made("a.csv", ANN)
    alike = Path("A.CSV").exists()

    assert (takes_in("a.csv", lambda _: True, Path("A.CSV")) is not None) == alike


@pytest.mark.slow
def test_a_table_is_not_written_to_itself(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load([ANN])
    Path("link.duckdb").symlink_to(warehouse.file)
    for other in (warehouse.address(), f"duckdb:///{tmp_path}/link.duckdb?table=Main.Customers"):
        with pytest.raises(ConfigError, match="cannot be the destination"):
            run(warehouse.address(), other)
    assert fates(run(warehouse.address(), warehouse.address("copy"))) == {"created": 1}
    query = warehouse.address().replace("table=customers", "query=SELECT external_id, name FROM customers")
    assert fates(run(query, warehouse.address())) == {"unchanged": 1}


# Files of others -----------------------------------------------------------------------------------------


def test_a_file_that_tranship_did_not_write_is_left_as_it_is(ending: str) -> None:
    made("in.csv", ANN)
    theirs = made(f"theirs{ending}", BEA)
    before = theirs.read_bytes()
    for options in ({}, {"dry_run": True}):
        with pytest.raises(ConfigError, match=r"Tranship did not write it.*quotes.*swapped.*--overwrite"):
            run("in.csv", f"theirs{ending}", **options)
    assert theirs.read_bytes() == before
    assert not Path(".tranship/runs").exists(), "nothing was read"

    assert fates(run("in.csv", f"theirs{ending}", overwrite=True)) == {"created": 1}
    assert ids(theirs) == ["1"]


def test_a_file_that_tranship_wrote_is_replaced_night_after_night(ending: str) -> None:
    for night in range(3):
        made("in.csv", {**ANN, "external_id": f"night {night}"})
        report = run("in.csv", f"out{ending}")
        assert ids(Path(f"out{ending}")) == [f"night {night}"]
        assert report.notes.count(f"out{ending} exists; this run replaces it") == (night > 0)


@pytest.mark.parametrize("change", ["written", "appended", "replaced", "touched"])
def test_a_file_that_was_changed_since_is_not_replaced(change: str, ending: str) -> None:
    made("in.csv", ANN)
    file = Path(f"out{ending}")
    run("in.csv", str(file))
    if change == "written":
        file.write_bytes(file.read_bytes()[::-1])
    elif change == "appended":
        with file.open("ab") as out:
            out.write(b"\n")
    elif change == "replaced":
        shutil.copyfile("in.csv", "other")
        Path("other").replace(file)
    else:
        os.utime(file, ns=(1, 1))
    with pytest.raises(ConfigError, match="Tranship did not write it"):
        run("in.csv", str(file))


def test_another_state_directory_knows_nothing() -> None:
    made("in.csv", ANN)
    run("in.csv", "out.csv", state_dir="a")
    with pytest.raises(ConfigError, match="another --state-dir"):
        run("in.csv", "out.csv", state_dir="b")
    run("in.csv", "out.csv", state_dir="b", overwrite=True)

    assert fates(run("in.csv", "out.csv", state_dir="b")) == {"created": 1}


def test_an_empty_file_may_be_replaced(ending: str) -> None:
    made("in.csv", ANN)
    Path(f"out{ending}").touch()

    assert fates(run("in.csv", f"out{ending}")) == {"created": 1}


def test_a_file_that_comes_while_a_run_reads_is_left_as_it_is(ending: str) -> None:
    made("in.csv", ANN)
    theirs = Path(f"out{ending}")

    class Meanwhile(Quiet):
        def step(self, name: str, total: int | None) -> None:
            if name == "write":
                made(str(theirs), BEA)

    with pytest.raises(ConfigError, match="Tranship did not write it"):
        flow.run(settings.load({"source": "in.csv", "destination": str(theirs)}, {}), Meanwhile())
    assert ids(theirs) == ["2"]
    assert [path.name for path in Path().glob(".*.partial")] == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_dies_while_it_replaces_a_file_is_resumed(
    when: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("in.csv", ANN)
    run("in.csv", f"out{ending}")
    made("in.csv", BEA)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying(when, f"out{ending}"))
        with pytest.raises(Interrupted):
            run("in.csv", f"out{ending}")
    assert flow.resume(Path(".tranship"), "last").status == "done"
    assert ids(Path(f"out{ending}")) == ["2"]
    assert fates(run("in.csv", f"out{ending}")) == {"created": 1}


def test_a_link_stays_and_what_it_leads_to_is_replaced() -> None:
    made("in.csv", ANN)
    Path("real").mkdir()
    Path("out.csv").symlink_to("real/out.csv")
    run("in.csv", "out.csv")
    run("in.csv", "real/out.csv")

    assert Path("out.csv").is_symlink()
    assert ids(Path("real/out.csv")) == ["1"]


def test_what_is_no_regular_file_is_not_replaced() -> None:
    made("in.csv", ANN)
    os.mkfifo("pipe.csv")
    with pytest.raises(ConfigError, match="not a regular file"):
        run("in.csv", "pipe.csv", overwrite=True)
    assert Path("pipe.csv").is_fifo()


def test_the_files_of_runs_are_no_place_for_a_destination() -> None:
    made("in.csv", ANN)
    report = run("in.csv", "out.csv")
    with pytest.raises(ConfigError, match="where runs keep their files"):
        run("in.csv", f"{report.run_dir}/rejects.csv")
    Path("plan").mkdir()
    with pytest.raises(ConfigError, match="where runs keep their files"):
        flow.plan(settings.load({"source": "in.csv", "destination": "plan/changes.csv"}, {}), Path("plan"))


def test_a_damaged_record_of_what_was_written_knows_nothing() -> None:
    made("in.csv", ANN)
    run("in.csv", "out.csv")
    (record,) = Path(".tranship/written").glob("*.json")
    for damage in ("", "{", "[]", '{"path": 1, "marks": 2}'):
        record.write_text(damage)
        assert not Written(Path(".tranship/written")).knows(Path("out.csv").resolve())


def test_a_plan_into_a_file_is_carried_out() -> None:
    made("in.csv", ANN)
    made("theirs.csv", BEA)
    given = settings.load({"source": "in.csv", "destination": "theirs.csv"}, {})
    with pytest.raises(ConfigError, match="Tranship did not write it"):
        flow.plan(given, Path("plan"))
    report = flow.plan(given.model_copy(update={"overwrite": True}), Path("plan"))
    assert "theirs.csv exists; this run replaces it" in report.notes
    assert ids(Path("theirs.csv")) == ["2"]
    flow.apply(Path("plan"))

    assert ids(Path("theirs.csv")) == ["1"]


def test_an_address_that_is_no_file_is_not_asked_for() -> None:
    made("a.csv", ANN)
    apart.must_be_apart(["a.csv"], "duckdb:///w.duckdb")
    with pytest.raises(ConfigError, match="cannot be the destination"):
        apart.must_be_apart(["*.csv"], "duckdb:///a.csv")


@pytest.mark.parametrize("mode", ["insert", "update", "mirror"])
def test_a_mode_that_needs_a_table_is_refused_before_anything_is_read(ending: str, mode: str) -> None:
    made("a.csv", ANN)
    with pytest.raises(ConfigError, match=f"--mode {mode} needs a table"):
        run("a.csv", f"out{ending}", mode=mode, max_deletes="1")
    assert not Path(".tranship/runs").exists()


@pytest.mark.parametrize("source", ["in", "in/*.csv", "in/**/*.csv"])
def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path, source: str) -> None:
    (tmp_path / "in").mkdir()
    write_csv(tmp_path / "in" / "a.csv", [ANN])
    bea = write_csv(tmp_path / "bea", [BEA])
    (tmp_path / "in" / "b.csv").symlink_to(bea)
    there = Warehouse(tmp_path)
    assert fates(there.load(source)) == {"created": 2}

    bea.rename(tmp_path / "elsewhere")
    with pytest.raises(
        ConfigError, match=r"in/b.csv: is a link that leads nowhere \(.*bea\). Correct it, or remove it."
    ):
        there.load(source, mode="mirror", max_deletes="5")
    # Files that an editor creates temporarily are not files of customers.
    (tmp_path / "in" / "b.csv").rename(tmp_path / "in" / ".#b.csv")
    assert fates(there.load(source)) == {"unchanged": 1}


@pytest.mark.parametrize("source", ["in", "in/*.csv"])
def test_a_pipe_in_a_folder_is_read(tmp_path: Path, source: str) -> None:
    (tmp_path / "in").mkdir()
    write_csv(tmp_path / "in" / "a.csv", [ANN])
    os.mkfifo(tmp_path / "in" / "b.csv")
    write_csv(tmp_path / "bea", [BEA])
    with subprocess.Popen(["/bin/sh", "-c", "cat bea > in/b.csv"]) as writer:
        try:
            report = Warehouse(tmp_path).load(source)
        finally:
            writer.kill()
    assert (fates(report), report.counts.read) == ({"created": 2}, 2)


def test_folders_within_a_folder_are_read_whatever_they_are_called(ending: str) -> None:
    Path("in", f"old{ending}").mkdir(parents=True)
    made(f"in/a{ending}", ANN)
    made(f"in/old{ending}/b{ending}", BEA)

    assert run("in", "duckdb:///to.duckdb?table=t").counts.created == 2
