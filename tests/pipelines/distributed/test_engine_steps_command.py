"""A run on an engine beside the same run on one machine: the files for people are the same, byte for byte or row by
row, and so is the report.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import tranship
from support import engines
from support.commands import told
from support.engine_runs import ALL, OPTIONS, assert_same, assert_same_customers, current, messy, moved
from support.engines import IS_SPARK
from tranship.connectors.errors import ConfigError, GateClosed, Unreachable
from tranship.pipelines.report import Report
from tranship.schemas.customer import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

LONG = "TRANSHIP_LONG_TESTS" in os.environ


@pytest.fixture
def engine(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of a run on the engine of these tests, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    if IS_SPARK:
        return {"engine": "spark"}
    return {"engine": "sail", "remote": f"sc://{spark.client._builder.endpoint}"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"survivor": "first", "fill": True, "where": "note is distinct from 'a'"},
        {"survivor": "last", "strict": True, "extra": "drop"},
    ],
)
def test_csv_files(engine: dict[str, Any], options: dict[str, Any]) -> None:
    # The order in which sources are given decides ties, not that of their names.
    for seed, name in enumerate(("c.csv", "a.csv", "b.csv")):
        Path(name).write_text(messy(seed), encoding="utf-8")
    sources = ["c.csv", "a.csv", "b.csv"]
    many = moved(sources, "many", **OPTIONS, **options, **engine)
    one = moved(sources, "one.parquet", **OPTIONS, **options)
    assert_same(many, one)
    assert_same_customers(Path("many"), Path("one.parquet"))
    assert not [*Path(many.run_dir).glob("work")], "the tables between the steps are removed"


def test_values_are_corrected_and_counted_in_the_same_place(engine: dict[str, Any]) -> None:
    Path("in.csv").write_text(messy(3), encoding="utf-8")
    rules = Path("corrections.toml")
    rules.write_text(
        "[[correction]]\nfield = 'phone'\nwhen = 'call me'\nthen = '+49 30 901820'\n"
        "[[correction]]\nfield = 'Name'\nwhen = 'Nobody'\nthen = 'Bob'\n"
    )
    given = {**OPTIONS, "corrections": rules, "where": "phone is not null"}
    many, one = moved("in.csv", "many", **given, **engine), moved("in.csv", "one.parquet", **given)
    assert_same(many, one)
    assert many.corrected == one.corrected
    assert many.corrected["rule 1: phone"] > 100
    for report in (many, one):
        assert [note for note in report.notes if "rule 2 (Name): no value matched" in note]


def test_files_of_several_formats_and_folders_that_are_columns(engine: dict[str, Any], tmp_path: Path) -> None:
    for at, name in enumerate(("ds=2024-01-01/a.csv.gz", "ds=2024-01-02/b.jsonl", "ds=2024-01-03/c.parquet")):
        file = Path("in", name)
        file.parent.mkdir(parents=True)
        rows = [{"id": f"{at}{row % 5}", "email": f"{row}@x.co", "name": "A", "size": row} for row in range(9)]
        if name.endswith(".gz"):
            text = "id;email;name;size\n" + "".join(";".join(map(str, row.values())) + "\n" for row in rows) + "1;2\n"
            file.write_bytes(gzip.compress(text.encode()))
        elif name.endswith(".jsonl"):
            file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
        else:
            pl.DataFrame(rows).write_parquet(file)
    many, one = moved("in", "many", **ALL, **engine), moved("in", "one.parquet", **ALL)
    assert_same(many, one)
    assert_same_customers(Path("many"), Path("one.parquet"))
    assert many.notes[: len(one.notes)] == one.notes


def test_findings_are_fetched_in_pieces(engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tranship.pipelines.distributed.fetching.AT_ONCE", 20)
    for seed, name in enumerate(("b.csv", "a.csv")):
        Path(name).write_text(messy(seed), encoding="utf-8")
    many = moved(["b.csv", "a.csv"], "many", **OPTIONS, **engine)
    assert_same(many, moved(["b.csv", "a.csv"], "one.parquet", **OPTIONS))


def test_the_same_customers_are_not_written_again(engine: dict[str, Any]) -> None:
    Path("a.csv").write_text("id,name\n1,A\n2,B\n")
    first = moved("a.csv", "many", **engine)
    again = moved("a.csv", "many", **engine)
    assert (first.counts.created, again.counts.created, again.counts.unchanged) == (2, 0, 2)
    [folder] = Path("many").glob("run=*")
    # A value that moves from one column to the next is a change.
    Path("a.csv").write_text("id,name\n1,A\n2,C\n")
    changed = moved("a.csv", "many", **engine)
    assert changed.counts.created == 2
    assert current(Path("many"))["name"].sort().to_list() == ["A", "C"]
    assert folder.exists(), "the folder of an earlier run is kept for its readers"


def test_a_dataset_without_customers_can_be_read(engine: dict[str, Any]) -> None:
    Path("a.csv").write_text("id,name\n1,\n")
    first, again = (moved("a.csv", "many", **engine) for _ in range(2))
    assert (first.counts.rejected, first.counts.created, again.counts.created) == (1, 0, 0)
    found = current(Path("many"))
    assert (found.schema, found.height) == (pl.Schema(COLUMNS), 0)
    assert len([*Path("many").glob("run=*")]) == 1


def test_gates_stop_it_before_anything_is_written(engine: dict[str, Any]) -> None:
    Path("a.csv").write_text("id,name\n1,A\n2,\n")
    with pytest.raises(GateClosed, match=r"1 of 2 records rejected, more than --max-rejects 0") as stopped:
        moved("a.csv", "many", max_rejects=0, **engine)
    assert stopped.value.report is not None
    assert Path(stopped.value.report.files["rejects"]).read_text().count("\n") == 2
    assert not Path("many").exists()
    dry = moved("a.csv", "many", dry_run=True, **engine)
    assert (dry.counts.created, dry.counts.rejected, Path("many").exists()) == (1, 1, False)


@pytest.mark.skipif(IS_SPARK and not engines.DELTA, reason="needs Delta Lake: TRANSHIP_DELTA")
@pytest.mark.parametrize("broken", ["", "too,many,columns\n"])
def test_mirror_deletes_what_one_machine_deletes(engine: dict[str, Any], broken: str) -> None:
    mirror = {"mode": "mirror", "max_deletes": "100%", "where": "name is distinct from 'left out'"}
    reports = []
    for destination, options in (("delta://table", engine), ("duckdb:///one.duckdb?table=customers", {})):
        Path("a.csv").write_text("id,name\n1,A\n2,B\n3,C\n4,D\n")
        moved("a.csv", destination, **mirror, **options)
        Path("a.csv").write_text(f"id,name\n1,A2\n2,\n3,left out\n{broken}")
        reports.append(moved("a.csv", destination, **mirror, **options))
    ours, theirs = (report.counts for report in reports)
    assert ours == theirs
    assert (ours.updated, ours.deleted, ours.withheld) == ((1, 0, 1) if broken else (1, 1, 0))
    with pytest.raises(ConfigError, match="the changes of delta://table are in the versions of that table"):
        tranship.changes(reports[0].run_id)


@pytest.mark.skipif(IS_SPARK and not engines.DELTA, reason="needs Delta Lake: TRANSHIP_DELTA")
def test_a_delta_table_is_read(engine: dict[str, Any], spark: SparkSession, tmp_path: Path) -> None:
    # Without a place, records of the same time are distinguished by their digest.
    records = [
        f"{at % 40},{at % 30}@x.co,{'A' if at % 7 else ''},{2000 + at}-01-01,{'call me' * (at % 3)}"
        for at in range(150)
    ]
    Path("a.csv").write_text("id,email,name,updated_at,phone\n" + "\n".join(records) + "\n")
    frame = pl.read_csv("a.csv", infer_schema=False)
    spark.createDataFrame(frame.to_arrow()).repartition(3).write.format("delta").save(str(tmp_path / "table"))
    many, one = moved("delta://table", "many", **ALL, **engine), moved("a.csv", "one.parquet", **ALL)
    for name in ("counts", "rejects_by_code", "merges_by_rule", "columns", "warnings_by_code"):
        assert getattr(many, name) == getattr(one, name), name
    rejected = [pl.read_csv(report.files["rejects"], infer_schema=False) for report in (many, one)]
    originals = [rejects.select(frame.columns).sort(pl.all()).rows() for rejects in rejected]
    assert originals[0] == originals[1]
    assert rejected[0]["_source"].str.len_chars().unique().to_list() == [32], "digests"
    with pytest.raises(ConfigError, match="delta://none: is no table that the engine can read"):
        moved("delta://none", "many", **engine)
    with pytest.raises(ConfigError, match="a table is read alone"):
        moved(["delta://table", "a.csv"], "many", **engine)


@pytest.mark.parametrize(
    ("source", "destination", "options", "message"),
    [
        ("duckdb:///a.duckdb?table=t", "many", {}, "an engine reads CSV, JSON and Parquet files."),
        ("https://x.co/a.csv", "many", {}, "an engine reads CSV, JSON and Parquet files."),
        ("metronome://", "many", {}, "an engine reads CSV, JSON and Parquet files."),
        ("a.csv", "many.csv", {}, "many.csv: an engine writes folders of Parquet files, and tables."),
        ("a.csv", "-", {}, "-: an engine writes folders of Parquet files, and tables."),
        ("a.zip", "many", {}, "cannot be opened by several machines. Unpack or save it as a file"),
        ("a.csv", "many", {"since": "last"}, "--since last: a run on an engine reads everything"),
        ("a.csv", "many", {"new_files": True}, "--new-files: a run on an engine reads everything"),
        ("a.csv", "many", {"mode": "insert"}, "many: a dataset is written whole; --mode insert needs a table."),
        ("a.csv", ".", {}, ".: contains files that Tranship did not write, such as a.csv."),
        ("a.csv", "many", {"fields": {"name": "nmae"}}, "nmae"),
        (".", "many", {}, "cannot be the destination, because it is in the folder that is read"),
        (".", "delta://many", {}, "cannot be the destination, because it is in the folder that is read"),
        ("*/*.csv", "in", {"overwrite": True}, "in/b.csv: is within the destination, and would be read as a source."),
        ("delta://t", "delta://t/", {}, "delta://t: is also the destination. Name another one."),
        (
            "a.csv",
            "many",
            {"work": "/proc/none/x"},
            "--work /proc/none/x: cannot be created (no such file or directory).",
        ),
    ],
)
def test_what_an_engine_does_not_do_is_said(
    engine: dict[str, Any], source: str, destination: str, options: dict[str, Any], message: str
) -> None:
    Path("in").mkdir()
    for file in ("a.csv", "in/b.csv"):
        Path(file).write_text("id,name\n1,A\n")
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "a.zip", "a.csv"], check=True)
    with pytest.raises(ConfigError) as refused:
        moved(source, destination, **options, **engine)
    assert message in str(refused.value)


def test_an_engine_elsewhere_needs_a_folder_that_it_reaches() -> None:
    with pytest.raises(ConfigError, match="Anything else may be a secret"):
        moved("a.csv", "many", engine="sail", remote="sc://h:1/;token=abc")
    with pytest.raises(ConfigError, match="work contains a secret"):
        moved("a.csv", "many", engine="sail", work="s3://key:secret@bucket/tmp")
    with pytest.raises(ConfigError, match="work applies only to a run on an engine"):
        moved("a.csv", "many", work="there")


def test_an_error_in_a_task_is_the_one_of_one_machine(engine: dict[str, Any]) -> None:
    Path("a.csv").write_text("id,name,Email,E-Mail\n1,A,a@x.co,a@x.co\n2,B,b@x.co,c@x.co\n")
    errors = []
    for options in (engine | {"work": "between"}, {}):
        with pytest.raises(ConfigError) as refused:
            moved("a.csv", "many" if options else "one.parquet", **options)
        errors.append((type(refused.value), str(refused.value)))
    assert errors[0] == errors[1]
    assert not [*Path("between").iterdir()], "a run that does not continue it would never remove its tables"


def test_a_run_that_failed_resumes_with_the_tables_that_are_complete(
    engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.csv").write_text(messy(3, 60), encoding="utf-8")
    one = moved("a.csv", "one.parquet", **OPTIONS)
    from tranship.pipelines.distributed.destinations.dataset import ParquetDataset

    def out_of_reach(*_: object) -> None:
        raise Unreachable("the bucket does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(ParquetDataset, "apply", out_of_reach)
        with pytest.raises(Unreachable) as failed:
            moved("a.csv", "many", **OPTIONS, **engine)
    assert failed.value.report is not None
    work = Path(failed.value.report.run_dir, "work")
    assert work.exists()
    # Nothing is read again.
    Path("a.csv").unlink()
    [kept] = work.glob("customers-*")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = tranship.resume("last")
    assert many.run_id == failed.value.report.run_id
    assert_same(many, one)
    assert_same_customers(Path("many"), Path("one.parquet"))
    assert not kept.exists()


def test_a_run_that_died_while_it_read_resumes_in_its_own_folders(
    engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class DiedError(BaseException):
        pass

    def die(*_: object) -> None:
        raise DiedError

    Path("a.csv").write_text("id,name\n1,A\n2,B\n")
    with monkeypatch.context() as patched:
        patched.setattr("tranship.pipelines.distributed.stage_facts.of_stage", die)
        with pytest.raises(DiedError):
            moved("a.csv", "many", work="between", **engine)
    [left] = Path("between").iterdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = tranship.resume("last")
    assert left.name == f"tranship-{many.run_id}"
    assert many.counts.created == 2
    assert not [*Path("between").iterdir()]


@pytest.mark.skipif(IS_SPARK, reason="needs the packages of Hadoop")
def test_source_tables_between_and_dataset_may_be_in_a_bucket(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    monkeypatch.chdir(tmp_path)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, url)
    for name, value in (("ALLOW_HTTP", "true"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="lake")
    client.put_object(Bucket="lake", Key="in/a.csv", Body=b"id,name\n1,A\n2\n")
    client.put_object(Bucket="lake", Key="in/b.csv", Body=b"id,name\n1,B\n")
    try:
        report = moved("s3://lake/in/*.csv", "s3://lake/out", engine="sail", work="s3://lake/tmp")
        assert (report.counts.rejected, report.counts.merged, report.counts.created) == (1, 1, 1)
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="lake")["Contents"]]
        pointer = json.loads(client.get_object(Bucket="lake", Key="out/_current.json")["Body"].read())
        assert sorted(key.rpartition("/")[0] for key in keys) == ["in", "in", "out", f"out/{pointer['folder']}"]
        assert moved("s3://lake/in/*.csv", "s3://lake/out", engine="sail", work="s3://lake/tmp").counts.unchanged == 1
    finally:
        client.close()
        server.stop()


def test_the_commands_of_the_documentation_run(engine: dict[str, Any]) -> None:
    [block] = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    Path("in").mkdir()
    Path("in", "a.csv").write_text("id,name\n1,A\n2,B\n")
    on_engine = [] if IS_SPARK else ["--remote", engine["remote"]]
    for line in block.splitlines():
        if IS_SPARK and not engines.DELTA and "delta://" in line:
            continue
        words = [word.replace("sail", engine["engine"]) for word in shlex.split(line)]
        assert words[0] == "tranship"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code, _, text = told(*words[1:], *on_engine)
        assert code == 0, text
    assert current(Path("lake", "customers"))["name"].sort().to_list() == ["A", "B"]


DOCS = Path(__file__).resolve().parents[3] / "docs" / "beyond-one-machine.md"
KILLABLE = Path(engines.__file__).with_name("killable_engine_run.py")


@pytest.mark.kill
@pytest.mark.skipif(IS_SPARK, reason="the embedded server gets the signal, too")
def test_ctrl_c_stops_a_run_that_can_be_resumed(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(messy(5, 60), encoding="utf-8")
    words = ["run", "a.csv", "many", "--engine", "sail", "--max-conflicts", "100%", "--map", "name=Name"]
    path = os.pathsep.join([str(engines.PACKAGES), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "tranship", *words]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    ) as running:
        while running.poll() is None and not [*Path(".tranship", "runs").rglob("ranked-*")]:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, text = running.communicate(timeout=200)
    assert running.returncode == 130, text
    assert "Continue with: tranship resume" in text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = tranship.resume("last")
    assert_same(many, moved("a.csv", "one.parquet", **OPTIONS))


@pytest.mark.kill
@pytest.mark.skipif(IS_SPARK, reason="the embedded server dies with the process")
@pytest.mark.parametrize("moment", range(2, 70, 3) if LONG else [20])
def test_a_run_that_is_killed_continues_with_the_same_result(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("b.csv", "a.csv")):
        Path(name).write_text(messy(seed, 60), encoding="utf-8")
    was_killed = started(moment) == -signal.SIGKILL
    assert not was_killed or started(0) == 0
    assert was_killed or moment > 40
    [folder] = Path(".tranship", "runs").iterdir()
    one = moved(["b.csv", "a.csv"], "one.parquet", **OPTIONS, fill=True, state_dir="one")
    assert_same(Report.from_json((folder / "report.json").read_text()), one)
    assert_same_customers(Path("many"), Path("one.parquet"))
    assert len([*Path("many").glob("run=*")]) == 1
    assert not (folder / "work").exists()


def started(moment: int) -> int:
    """Start a run that is killed at this moment, or not at all with 0; return its exit code."""
    given = {"source": ["b.csv", "a.csv"], "destination": "many", "engine": "sail", "fill": True, **OPTIONS}
    code = [sys.executable, str(KILLABLE), str(engines.PACKAGES), str(moment), json.dumps(given)]
    ran = subprocess.run(code, capture_output=True, text=True)
    assert ran.returncode in (-signal.SIGKILL, 0), ran.stderr
    return ran.returncode
