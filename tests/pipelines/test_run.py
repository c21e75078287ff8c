"""The whole flow: the results and reports of runs, and the continuation of runs that died."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.warehouse import Record, Warehouse, fates, rejects, write_csv
from tranship.connectors import durable
from tranship.connectors.errors import Busy, ConfigError, Damaged, GateClosed, Interrupted, TranshipError
from tranship.pipelines import run as flow
from tranship.pipelines.observer import Quiet
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "3"))
"""Examples of each property over whole runs, which take about 0.1 s each; `make chaos` tries more."""

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann", "updated_at": "2024-01-01"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob", "updated_at": "2024-01-02"}
CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy", "updated_at": "2024-01-03"}
BAD = {"external_id": "9", "email": "oops", "name": None, "updated_at": "03/04/2024"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


# Everything that collides, run again and again -------------------------------------------------------------------

dirty_record = st.fixed_dictionaries(
    {
        "external_id": st.sampled_from([None, None, "1", "2", " 3 ", "4", "N/A", "email:a@x.co", "id:1"]),
        "email": st.sampled_from([None, "a@x.co", "A@X.co ", "b@x.co", "c@x.co", "noreply@x.co", "bad", "n/a"]),
        "name": st.sampled_from(["Ann", "Bob", " Ann ", None]),
        "updated_at": st.sampled_from([None, "2024-01-01", "2024-01-02T00:00Z", "2024-01-03", "03/04/2024"]),
        "city": st.sampled_from([None, None, "Rome", "Bonn"]),
        "status": st.sampled_from(["active", "Active", None, "vip"]),
        "Seats": st.sampled_from([None, "1", "2"]),
    }
)
dirty_records = st.lists(dirty_record, min_size=1, max_size=14)
options = st.fixed_dictionaries(
    {
        "nulls": st.sampled_from(["keep", "overwrite"]),
        "fill": st.booleans(),
        "survivor": st.sampled_from(["newest", "first", "last"]),
        "mode": st.sampled_from(["upsert", "upsert", "mirror", "insert", "update"]),
        "deletes": st.sampled_from(["mark", "remove"]),
        "max_deletes": st.just("100%"),
    }
)
own_tables = st.sampled_from(
    [
        "external_id VARCHAR, email VARCHAR UNIQUE, name VARCHAR, city VARCHAR",
        "external_id VARCHAR PRIMARY KEY, email VARCHAR, name VARCHAR UNIQUE, city VARCHAR UNIQUE",
        "customer_id BIGINT, email VARCHAR, name VARCHAR NOT NULL, city VARCHAR NOT NULL",
        "email VARCHAR, name VARCHAR, status VARCHAR",
        "email VARCHAR UNIQUE, name VARCHAR UNIQUE",
        "customer_key VARCHAR PRIMARY KEY, name VARCHAR",
        "id VARCHAR, name VARCHAR, metadata JSON",
    ]
)


def check_sums(report: Report, records: int) -> None:
    """Compute the ledger again from the files on disk."""
    counts = report.counts
    planned = pl.read_parquet(report.files["plan"])["action"].value_counts()
    actions = dict(planned.iter_rows())
    assert counts.read == records
    assert counts.merged == pl.read_parquet(report.files["merges"]).height
    assert counts.rejected == (len(rejects(report)) if "rejects" in report.files else 0)
    assert counts.created == actions.get("create", 0)
    assert counts.updated == actions.get("update", 0)
    assert counts.unchanged == actions.get("unchanged", 0)
    assert counts.refused == actions.get("refused", 0)
    fates = (counts.rejected, counts.merged, counts.created, counts.updated, counts.unchanged, counts.refused)
    assert counts.read == sum(fates)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(st.lists(dirty_records, min_size=1, max_size=3), options)
def test_a_second_run_over_the_same_input_writes_nothing(
    batches: list[list[Record]], given_options: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        warehouse.load([CY])
        for batch in batches:
            check_sums(warehouse.load(batch, **given_options), len(batch))
            before = warehouse.rows()
            second = warehouse.load(batch, **given_options)
            assert not {"created", "updated", "deleted"} & set(fates(second))
            assert warehouse.rows() == before


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(st.lists(dirty_records, min_size=1, max_size=4), st.sampled_from(["keep", "overwrite"]))
def test_keys_and_ids_stay_unique(batches: list[list[Record]], nulls: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        created = 0
        for batch in batches:
            created += warehouse.load(batch, nulls=nulls, older="skip").counts.created
        keys = warehouse.column("customer_key")
        ids = [value for value in warehouse.column("external_id") if value is not None]
        assert len(set(keys)) == len(keys) == created
        assert len(set(ids)) == len(ids)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(own_tables, st.lists(dirty_records, min_size=1, max_size=3), st.sampled_from(["keep", "overwrite"]))
def test_a_second_run_into_a_table_of_the_user_s_own_writes_nothing(
    columns: str, batches: list[list[Record]], nulls: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        warehouse.do(f"CREATE TABLE customers ({columns})")
        for batch in batches:
            check_sums(warehouse.load(batch, nulls=nulls, older="skip"), len(batch))
            before = warehouse.rows()
            second = warehouse.load(batch, nulls=nulls, older="skip")
            assert not {"created", "updated", "deleted"} & set(fates(second))
            assert warehouse.rows() == before


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(dirty_records, dirty_records, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_input_does_not_matter_where_times_differ(
    base: list[Record], batch: list[Record], dice: Any, fill: bool
) -> None:
    timed = [{**record, "updated_at": f"2024-02-{day:02}"} for day, record in enumerate(batch, 1)]
    tables = []
    for order in (timed, dice.sample(timed, len(timed))):
        with tempfile.TemporaryDirectory() as folder:
            warehouse = Warehouse(Path(folder))
            warehouse.load(base)
            report = warehouse.load(order, fill=fill)
            tables.append((fates(report), warehouse.rows("SELECT * EXCLUDE (_run_id) FROM customers ORDER BY ALL")))
    assert tables[0] == tables[1]


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(dirty_records, st.integers(1, 9), options)
def test_it_does_not_matter_how_records_lie_in_files(
    records: list[Record], cut: int, given_options: dict[str, Any]
) -> None:
    tables = []
    for pieces in ([records], [records[:cut], records[cut:]], [[record] for record in records]):
        with tempfile.TemporaryDirectory() as folder:
            warehouse = Warehouse(Path(folder))
            warehouse.load([CY])
            (warehouse.folder / "in").mkdir()
            for number, piece in enumerate(pieces):
                write_csv(warehouse.folder / "in" / f"{number:02}.csv", piece, list(records[0]))
            report = warehouse.load(warehouse.folder / "in", **given_options)
            tables.append(
                (fates(report), warehouse.rows("SELECT * EXCLUDE (_run_id, _deleted_at) FROM customers ORDER BY ALL"))
            )
    assert tables[0] == tables[1] == tables[2]


# Reports -------------------------------------------------------------------------------------------------


def test_a_clean_run_ends_with_0(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BOB])

    assert (report.status, report.exit_code) == ("done", 0)


def test_rejects_end_with_4_though_the_rest_is_loaded(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BAD])

    assert (report.status, report.exit_code) == ("done_with_rejects", 4)
    assert fates(report) == {"created": 1, "rejected": 1}


@pytest.mark.parametrize("limit", ["1", "50%", "2", "99.5%"])
def test_rejects_within_the_limit_end_with_0(warehouse: Warehouse, limit: str) -> None:
    report = warehouse.load([ANN, BAD], max_rejects=limit)

    assert (report.status, report.exit_code) == ("done", 0)


def test_refusals_end_with_4_whatever_the_limit_of_rejects(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN], mode="update", max_rejects="100%")

    assert report.exit_code == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("records", "given_options", "gate"),
    [
        ([ANN, BAD], {"max_rejects": "0"}, "--max-rejects 0"),
        ([ANN, BAD], {"max_rejects": "49%"}, "--max-rejects 49%"),
        ([{**ANN, "external_id": None, "email": "two@acme.com"}], {"max_rejects": "0"}, "--max-rejects 0"),
        ([{**ANN, "name": "Anna"}], {"max_changes": "0"}, "--max-changes 0"),
        ([{**ANN, "name": "Anna"}, {**BOB, "name": "Rob"}], {"max_changes": "25%"}, "--max-changes 25%"),
        ([ANN], {"mode": "mirror", "max_deletes": "2"}, "--max-deletes 2"),
        ([ANN], {"mode": "mirror", "max_deletes": "50%"}, "--max-deletes 50%"),
        ([], {}, "--allow-empty"),
        ([], {"mode": "mirror", "max_deletes": "100%"}, "--allow-empty"),
    ],
)
def test_a_gate_stops_the_run_before_anything_is_written(
    warehouse: Warehouse, records: list[Record], given_options: dict[str, Any], gate: str
) -> None:
    shared = [{**ANN, "external_id": number, "email": "two@acme.com"} for number in "56"]
    warehouse.load([ANN, BOB, *shared])
    before, bytes_before = warehouse.rows(), warehouse.file.read_bytes()

    with pytest.raises(GateClosed, match=gate) as raised:
        warehouse.load(records, **given_options)

    assert raised.value.exit_code == 5
    assert warehouse.rows() == before
    assert warehouse.file.read_bytes() == bytes_before


def test_a_stopped_run_leaves_its_report_and_rejects(warehouse: Warehouse) -> None:
    with pytest.raises(GateClosed):
        warehouse.load([ANN, BAD], max_rejects="0")

    [directory] = (warehouse.folder / "state" / "runs").iterdir()
    report = Report.from_json((directory / "report.json").read_text())
    assert (report.status, report.exit_code) == ("stopped", 5)
    assert [row["external_id"] for row in rejects(report)] == ["9"]


def test_rejects_that_are_run_again_may_be_rejected_again(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BAD])
    again = warehouse.load(Path(report.files["rejects"]))

    assert again.rejects_by_code == report.rejects_by_code
    assert rejects(again)[0]["email"] == BAD["email"]


@pytest.mark.slow
def test_rejects_that_were_mended_are_loaded(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, {**BOB, "email": "bob at acme", "Seats": "7"}])
    mended = Path(report.files["rejects"]).read_text().replace("bob at acme", "bob@acme.com")
    (warehouse.folder / "mended.csv").write_text(mended)

    assert fates(warehouse.load(warehouse.folder / "mended.csv")) == {"created": 1}
    assert warehouse.column("metadata") == ['{"Seats":"7"}', None]


def test_the_report_on_disk_is_the_one_returned(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, ANN, BAD])

    assert Report.from_json((Path(report.run_dir) / "report.json").read_text()) == report


def test_the_report_has_what_the_design_promises(warehouse: Warehouse) -> None:
    said = json.loads(warehouse.load([ANN]).to_json())

    assert {
        *("run_id", "status", "exit_code", "dry_run", "source", "destination", "run_dir", "counts", "rejects_by_code"),
        *("warnings_by_code", "merges_by_rule", "changed_fields", "seconds", "peak_memory_bytes", "files"),
    } <= set(said)
    assert set(said["counts"]) == {
        *("read", "skipped", "rejected", "merged", "created", "updated", "unchanged", "refused", "deleted"),
        *("withheld", "stale", "unknown", "left", "warnings"),
    }
    assert set(said["merges_by_rule"]) == {"external_id", "email"}
    assert {"total", "read", "identify", "plan", "write"} <= set(said["seconds"])
    assert all(Path(path).exists() for path in said["files"].values())


def test_a_reject_names_the_first_line_of_each_reason(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, {**BOB, "name": "two\nlines"}, BAD, BAD])

    assert {place.rsplit(", ", 1)[1] for place in report.examples.values()} == {"line 5"}
    assert set(report.examples) == set(report.rejects_by_code)


@pytest.mark.slow
def test_an_ambiguous_e_mail_found_at_the_destination_has_its_line_too(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load([CY, {**ANN, "external_id": None}])

    assert report.examples["identity.ambiguous_email"].endswith("in.csv, line 3")


@pytest.mark.slow
def test_warnings_of_a_record_rejected_at_the_destination_are_taken_back(warehouse: Warehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": "ann@acme.com"}])
    report = warehouse.load([{**ANN, "external_id": "N/A", "phone": "call me"}, {**CY, "phone": "call me"}])

    assert report.rejects_by_code == {"identity.ambiguous_email": 1}
    assert report.warnings_by_code == {"phone.unreadable": 1}


@pytest.mark.slow
def test_an_ambiguous_survivor_that_was_filled_keeps_no_warning(warehouse: Warehouse) -> None:
    """The values of another record give it another row number, which its warnings do not have."""
    warehouse.load([ANN, {**BOB, "email": "a@b.co"}, {**ANN, "external_id": "9", "email": "a@b.co"}])
    records = [{"name": "A", "email": "a@b.co", "city": "Rome"}, {"name": "A", "email": "a@b.co", "phone": "call me"}]
    report = warehouse.load(records, fill=True)

    assert report.rejects_by_code == {"identity.ambiguous_email": 1}
    assert report.warnings_by_code == {}


def test_only_the_owner_reads_the_run_directory(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BAD, CY, CY])

    directory = Path(report.run_dir)
    for path in (directory, *directory.rglob("*")):
        assert oct(path.stat().st_mode & 0o777) == ("0o700" if path.is_dir() else "0o600"), path


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(warehouse: Warehouse) -> None:
    (warehouse.folder / "in").mkdir()
    for number in range(6):
        records = [
            {**ANN, "external_id": str(n), "email": f"c{n}@x.co", "name": f"{number}"} for n in range(1, 30, number + 1)
        ]
        write_csv(warehouse.folder / "in" / f"{number}.csv", [*records, BAD])
    outcomes = []
    for workers in (1, 2, 7):
        report = warehouse.load(warehouse.folder / "in", table=f"t{workers}", workers=workers)
        lines = [(row["_source"], row["_line"]) for row in rejects(report)]
        outcomes.append(
            (fates(report), lines, warehouse.rows(f"SELECT * EXCLUDE (_run_id) FROM t{workers} ORDER BY ALL"))
        )
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.slow
def test_a_dry_run_says_what_a_run_then_does(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    records = [{**ANN, "name": "Anna"}, BOB, BAD, CY, CY]
    dry = warehouse.load(records, dry_run=True)
    wet = warehouse.load(records)

    assert dry.dry_run
    assert fates(dry) == fates(wet)
    assert dry.changed_fields == wet.changed_fields


# Runs that die ---------------------------------------------------------------------------------------------------

HISTORY = [ANN, *({"external_id": number, "email": "two@acme.com", "name": "Two"} for number in "56"), BOB]
RECORDS = [
    *({**ANN, "name": "Anna"}, {**ANN, "updated_at": "2023-01-01"}, CY, BAD, BOB),
    {"external_id": None, "email": "Two@acme.com", "name": "Which?"},
]
FATES = {"created": 1, "updated": 1, "unchanged": 1, "merged": 1, "rejected": 2}
STEPS = ("stage", "identify", "plan", "apply")


def dead_process() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def as_if_died(report: Report, *, after: str | None) -> None:
    """Put a run's directory into the state after its process died following this step."""
    directory = Path(report.run_dir)
    manifest = durable.read_json(directory / "manifest.json")
    done = STEPS[: STEPS.index(after) + 1] if after else ()
    manifest |= {
        "status": "running",
        "pid": dead_process(),
        "steps": {step: facts for step, facts in manifest["steps"].items() if step in done},
    }
    durable.write_json(directory / "manifest.json", manifest)
    for name in ("report.json", "report.html", "rejects.csv", "rejects.parquet", "warnings.parquet"):
        (directory / name).unlink(missing_ok=True)


def said(report: Report) -> dict[str, Any]:
    """Return the parts of the report that must be equal for a run that died on the way."""
    whole = json.loads(report.to_json())
    for name in ("seconds", "peak_memory_bytes", "memory_bytes", "notes", "files"):
        del whole[name]
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("way", ["resume", "run"])
@pytest.mark.parametrize("records", [RECORDS[:-1], RECORDS], ids=["clear", "ambiguous"])
def test_a_run_that_died_after_its_commit_reports_what_it_did_and_writes_nothing(
    warehouse: Warehouse, records: list[Record], way: str
) -> None:
    warehouse.load(HISTORY)
    report = warehouse.load(records)
    rows, rejected = warehouse.rows(), rejects(report)
    as_if_died(report, after="plan")

    state = warehouse.folder / "state"
    again = flow.resume(state, report.run_id) if way == "resume" else warehouse.load(warehouse.folder / "in.csv")

    assert said(again) == said(report)
    assert rejects(again) == rejected
    assert warehouse.rows() == rows
    assert warehouse.column("count(*)", table=f"_tranship_ledger WHERE run_id = '{report.run_id}'") == [1]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["resume", "run"])
@pytest.mark.parametrize("step", ["stage", "identify", "plan"])
def test_a_run_that_died_before_its_commit_goes_on_behind_its_last_step(
    warehouse: Warehouse, step: str, way: str
) -> None:
    warehouse.load(HISTORY)
    before = warehouse.folder / "before.duckdb"
    shutil.copy(warehouse.file, before)
    report = warehouse.load(RECORDS)
    rows, rejected = warehouse.rows(), rejects(report)
    as_if_died(report, after=step)
    shutil.copy(before, warehouse.file)

    state = warehouse.folder / "state"
    again = flow.resume(state, report.run_id) if way == "resume" else warehouse.load(warehouse.folder / "in.csv")

    assert said(again) == said(report)
    assert rejects(again) == rejected
    assert warehouse.rows() == rows


def test_a_resumed_run_does_not_need_its_source(warehouse: Warehouse) -> None:
    report = warehouse.load(RECORDS)
    rows = warehouse.rows()
    as_if_died(report, after="identify")
    warehouse.file.unlink()
    (warehouse.folder / "in.csv").unlink()

    assert said(flow.resume(warehouse.folder / "state", report.run_id)) == said(report)
    assert warehouse.rows() == rows


@pytest.mark.slow
def test_a_run_that_died_while_reading_begins_anew(warehouse: Warehouse) -> None:
    report = warehouse.load(RECORDS)
    as_if_died(report, after=None)
    warehouse.file.unlink()

    again = flow.resume(warehouse.folder / "state", report.run_id)

    assert again.run_id != report.run_id
    assert fates(again) == fates(report)


def test_a_run_over_other_input_does_not_continue_the_one_that_died(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN])
    as_if_died(report, after="identify")

    other = warehouse.load([ANN, BOB])

    assert other.run_id != report.run_id
    assert fates(other) == {"unchanged": 1, "created": 1}


def test_a_run_with_other_options_does_not_continue_the_one_that_died(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, BOB], dry_run=True)
    as_if_died(report, after="plan")

    other = warehouse.load(warehouse.folder / "in.csv")

    assert other.run_id != report.run_id
    assert fates(other) == {"created": 2}


def test_a_run_that_is_alive_is_left_alone(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN])
    as_if_died(report, after="plan")
    owned = RunDirectory.at(Path(report.run_dir))
    owned.own()

    assert warehouse.load(warehouse.folder / "in.csv").run_id != report.run_id
    with pytest.raises(Busy, match=f"{report.run_id}: is in use by process {os.getpid()} on host"):
        flow.resume(warehouse.folder / "state", report.run_id)
    owned.let_go()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["resume", "run"])
def test_a_run_that_died_as_process_1_of_a_container_goes_on_in_the_next_one(warehouse: Warehouse, way: str) -> None:
    """Another host name, and a process id that is alive here."""
    report = warehouse.load(RECORDS)
    rows = warehouse.rows()
    as_if_died(report, after="identify")
    manifest = Path(report.run_dir) / "manifest.json"
    there = {"pid": os.getpid(), "host": "3f2a91c0d7be"}
    durable.write_json(manifest, durable.read_json(manifest) | there)
    (Path(report.run_dir) / "lock").write_text(json.dumps({**there, "since": "2024-05-06 07:08:09 UTC"}))
    warehouse.file.unlink()

    state = warehouse.folder / "state"
    again = flow.resume(state, report.run_id) if way == "resume" else warehouse.load(warehouse.folder / "in.csv")

    assert said(again) == said(report)
    assert warehouse.rows() == rows


def test_a_finished_run_is_not_resumed(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN])

    with pytest.raises(ConfigError, match="is finished"):
        flow.resume(warehouse.folder / "state", report.run_id)


def test_an_unknown_run_is_explained(warehouse: Warehouse) -> None:
    warehouse.load([ANN])

    with pytest.raises(ConfigError, match="no such run"):
        flow.resume(warehouse.folder / "state", "20200101T000000-000000")


class _StopAt(Quiet):
    """An observer that presses Ctrl-C when a step begins, or advances."""

    def __init__(self, step: str, *, begins: bool) -> None:
        self._wanted, self._begins, self._step = step, begins, ""

    def step(self, name: str, total: int | None) -> None:
        self._step = name
        if self._begins and name == self._wanted:
            raise KeyboardInterrupt

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        if not self._begins and self._step == self._wanted:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "begins"), [("read", True), ("read", False), ("identify", True), ("plan", True), ("write", True)]
)
def test_a_run_that_is_interrupted_is_continued(warehouse: Warehouse, step: str, begins: bool) -> None:
    warehouse.load(HISTORY)
    before = warehouse.rows()
    file = write_csv(warehouse.folder / "in.csv", RECORDS)
    state = warehouse.folder / "state"
    given = flow.Settings(source=str(file), destination=warehouse.address(), state_dir=state)

    with pytest.raises(Interrupted, match="tranship resume") as raised:
        flow.run(given, _StopAt(step, begins=begins))
    assert raised.value.exit_code == 130
    assert warehouse.rows() == before

    run_id = str(raised.value).split("tranship resume ")[1].split()[0]
    report = flow.resume(state, run_id)
    assert fates(report) == FATES
    assert warehouse.rows() != before


@pytest.mark.slow
@pytest.mark.parametrize("saves", range(1, 6))
def test_a_run_is_continued_whatever_it_was_saving_when_it_was_interrupted(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    # The first time, the run has only just been created.
    file = write_csv(warehouse.folder / "in.csv", RECORDS)
    state = warehouse.folder / "state"
    given = flow.Settings(source=str(file), destination=warehouse.address(), state_dir=state, max_conflicts="100%")
    save, saved = RunDirectory.save, []

    def interrupt(directory: RunDirectory) -> None:
        save(directory)
        saved.append(directory)
        if len(saved) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "save", interrupt)
    with pytest.raises(Interrupted, match="tranship resume") as raised:
        flow.run(given)
    monkeypatch.undo()

    run_id = str(raised.value).split("tranship resume ")[1].split()[0]
    assert RunDirectory.open(state, run_id).manifest["status"] == "interrupted"
    flow.resume(state, run_id)
    rows = warehouse.rows("SELECT * EXCLUDE (_run_id) FROM customers ORDER BY ALL")
    warehouse.load(RECORDS, table="once")
    assert rows == warehouse.rows("SELECT * EXCLUDE (_run_id) FROM once ORDER BY ALL")


# Invalid settings and input
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ("nowhere.csv", "duckdb:///w.duckdb", 2),
        ("in.csv", "duckdb://w.duckdb", 2),
        ("in.csv", "oracle://host/db", 2),
        ("in.csv", "nowhere/w.duckdb", 2),
        ("in.csv", "out.xlsx", 2),
        ("duckdb:///nowhere.duckdb", "out.csv", 2),
    ],
)
def test_what_cannot_be_used_leaves_no_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, source: str, destination: str, code: int
) -> None:
    monkeypatch.chdir(warehouse.folder)
    write_csv(warehouse.folder / "in.csv", [ANN])

    with pytest.raises(TranshipError) as raised:
        warehouse.load(source, destination=destination)
    assert raised.value.exit_code == code
    assert {path.name for path in warehouse.folder.iterdir()} <= {"in.csv", "state"}
    assert not (warehouse.folder / "state" / "runs").exists()


def test_a_file_that_lacks_a_mapped_column_stops_the_run(warehouse: Warehouse) -> None:
    (warehouse.folder / "in").mkdir()
    write_csv(warehouse.folder / "in" / "a.csv", [ANN])
    write_csv(warehouse.folder / "in" / "b.csv", [{"external_id": "2", "name": "Bob"}])

    with pytest.raises(ConfigError, match=r"b\.csv: has no column 'email'"):
        warehouse.load(warehouse.folder / "in")
    assert not warehouse.file.exists()


def test_files_may_differ_in_the_order_of_their_columns(warehouse: Warehouse) -> None:
    (warehouse.folder / "in").mkdir()
    write_csv(warehouse.folder / "in" / "a.csv", [ANN], ["external_id", "email", "name", "updated_at"])
    write_csv(warehouse.folder / "in" / "b.csv", [BOB], ["updated_at", "name", "email", "external_id"])

    assert fates(warehouse.load(warehouse.folder / "in")) == {"created": 2}
    assert warehouse.column("external_id || email || name") == ["1ann@acme.comAnn", "2bob@acme.comBob"]


# Spellings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["DD/MM/YYYY", "%d/%m", "%Q"])
def test_a_form_that_reads_no_date_is_refused_before_anything_is_opened(warehouse: Warehouse, form: str) -> None:
    with pytest.raises(ConfigError, match=r"--date-format .*: it cannot match any date"):
        warehouse.load([ANN], date_format=(form,))
    assert not warehouse.file.exists()
    assert not (warehouse.folder / "state").exists()


def test_a_line_of_totals_is_no_customer_and_says_so(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN, {"external_id": "Total", "name": "2"}])

    assert fates(report) == {"created": 1, "rejected": 1}
    assert rejects(report)[0]["_reasons"].endswith('a line of totals is not a customer (found "Total")')


def test_ids_that_look_alike_are_listed(warehouse: Warehouse) -> None:
    report = warehouse.load([{**ANN, "external_id": "abc"}, {**BOB, "external_id": "ABC"}, CY])

    assert fates(report) == {"created": 3}
    warned = pl.read_parquet(report.files["warnings"]).sort("line")
    assert warned.select("line", "code", "value").rows() == [
        (2, "external_id.lookalike", "abc"),
        (3, "external_id.lookalike", "ABC"),
    ]
    assert report.warnings_by_code == {"external_id.lookalike": 2}


def test_numbers_of_parquet_that_are_none_make_no_texts(warehouse: Warehouse) -> None:
    nan, inf = float("nan"), float("inf")
    frame = pl.DataFrame({"id": [nan, inf, 7.0], "email": ["a@b.co", "c@b.co", "d@b.co"], "name": ["x"] * 3})
    frame.with_columns(city=pl.col("id"), score=pl.col("id")).write_parquet(warehouse.folder / "in.parquet")
    report = warehouse.load(warehouse.folder / "in.parquet")

    assert report.warnings_by_code == {"external_id.blocked": 2}
    found = warehouse.rows("SELECT external_id, city, metadata->>'score' AS score FROM customers ORDER BY email")
    assert [tuple(row.values()) for row in found] == [(None, None, None), (None, None, "Infinity"), ("7", "7", "7.0")]


@pytest.mark.slow
def test_uuids_json_and_bytes_of_parquet_are_kept(warehouse: Warehouse) -> None:
    ids, file = [str(uuid.UUID(int=0x61 << 120 | number)) for number in (7, 8)], warehouse.folder / "in.parquet"
    with duckdb.connect() as connection:
        rows = ", ".join(f"('{one}'::uuid, 'Ann')" for one in ids)
        connection.execute(
            "COPY (SELECT external_id, name, '{\"seats\": 3}'::json AS metadata, 'Rome'::blob AS city, "
            "'\\xC3\\x28'::blob AS raw, [NULL, external_id] AS ids, {'at': 'x'::blob} AS deep, "
            f"MAP {{'k': external_id}} AS known FROM (VALUES {rows}, (NULL, 'Ann')) t(external_id, name)) "
            f"TO '{file}' (FORMAT parquet)"
        ).fetchall()
    report = warehouse.load(file)

    assert fates(report) == {"created": 2, "rejected": 1}
    assert warehouse.column("external_id") == ids
    first = warehouse.rows("SELECT city, metadata FROM customers ORDER BY external_id")[0]
    assert first["city"] == "Rome"
    assert json.loads(first["metadata"]) == {
        "seats": 3, "raw": "c328", "ids": [None, ids[0]], "deep.at": "x", "known": {"k": ids[0]},
    }  # fmt: skip
    assert fates(warehouse.load(file)) == {"unchanged": 2, "rejected": 1}


def test_a_duration_of_parquet_is_a_text(warehouse: Warehouse) -> None:
    file = warehouse.folder / "in.parquet"
    hour = timedelta(hours=1)
    rows = [{**ANN, "city": hour, "waited": hour}, {**BOB, "name": None, "city": None, "waited": None}]
    pl.DataFrame(rows).write_parquet(file)
    report = warehouse.load(file)

    assert fates(report) == {"created": 1, "rejected": 1}
    assert warehouse.rows("SELECT city, metadata->>'waited' AS waited FROM customers") == [
        {"city": "PT1H", "waited": "PT3600S"}
    ]


@pytest.mark.parametrize("damage", ["", None, "{}"])
def test_a_damaged_run_is_named_alike_by_its_id_and_as_the_last(tmp_path: Path, damage: str | None) -> None:
    warehouse = Warehouse(tmp_path)
    run_id = warehouse.load([{"external_id": "1", "name": "A"}]).run_id
    manifest = tmp_path / "state" / "runs" / run_id / "manifest.json"
    if damage is None:
        manifest.unlink()
    else:
        manifest.write_text(damage)

    said = set()
    for name in (run_id, "last"):
        with pytest.raises(Damaged) as raised:
            flow.resume(tmp_path / "state", name)
        said.add(str(raised.value))

    [sentence] = said
    assert str(manifest) in sentence
    assert sentence.endswith(f"Choose another run: tranship runs --state-dir {tmp_path / 'state'}")
