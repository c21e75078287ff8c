"""The state directory in a bucket: machines that come and go do what one machine with a disk does.

`other_machine` empties the disk of this process; commands in processes of their own have nothing in common but the
bucket. `test_every_command_works_or_says_why_not` fails for a command that nobody has thought of.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import duckdb
import polars as pl
import pytest

import tranship
from support import object_stores
from support.long_tests import some
from support.object_stores import Store
from support.shown_commands import ROOT, Reader, blocks, readers_folder
from support.state_buckets import PLACE, command, google_bucket, killed, other_machine, start, wait_for_leases
from tranship.connectors import mirrored
from tranship.connectors.errors import Busy, ConfigError, Interrupted, Refused, Skipped, TranshipError, Unreachable
from tranship.pipelines import backfill, one_machine
from tranship.pipelines.cli.main import cli
from tranship.pipelines.settings_model import Settings

pytest.importorskip("obstore")

TABLE = "duckdb:///w.duckdb?table=customers"
CUSTOMERS = (
    "id,email,name,updated_at\n1,ann@acme.com,Ann,2026-01-01\n2,bea@acme.com,Bea,2026-01-02\n3,bad,,2026-01-03\n"
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(CUSTOMERS)
    with google_bucket(monkeypatch) as found:
        yield found


def run(source: str = "in.csv", destination: str = TABLE, **options: Any) -> tranship.Report:
    other_machine()
    return tranship.run(source, destination, state_dir=PLACE, **options)


def rows() -> list[str]:
    with duckdb.connect("w.duckdb") as database:
        return [row[0] for row in database.execute("SELECT external_id FROM customers ORDER BY 1").fetchall()]


def texts(store: Store) -> Iterator[tuple[str, str]]:
    """Yield every object of the bucket as text; Parquet as its values."""
    for (_, key), (content, _) in store.objects.items():
        if key.endswith(".parquet"):
            frame = pl.read_parquet(io.BytesIO(content))
            yield key, str(frame.rows())
        else:
            yield key, content.decode("utf-8", "replace")


# Machines that come and go ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_one_machine_did_is_known_to_the_next(store: Store) -> None:
    first = run()
    assert (first.counts.created, first.counts.rejected) == (2, 1)
    again = run()
    assert again.counts.unchanged == 2
    assert any(f"Input unchanged since run {first.run_id}: reused" in note for note in again.notes)
    other_machine()
    listed = tranship.runs(state_dir=PLACE)
    assert [found.run_id for found in listed.runs] == [again.run_id, first.run_id]
    assert not listed.damaged
    other_machine()
    assert tranship.verify(run=first.run_id, state_dir=PLACE).equal
    other_machine()
    assert tranship.undo(first.run_id, state_dir=PLACE).counts.deleted == 2
    assert rows() == []


def test_nothing_in_the_bucket_names_this_machine_and_the_files_of_a_report_can_be_read(store: Store) -> None:
    report = run(pipeline="crm", new_files=True)
    assert "ann@acme.com" not in Path(report.files["rejects"]).read_text()
    assert "bad" in Path(report.files["rejects"]).read_text()
    folder = str(Path(report.run_dir).parent.parent)
    found = dict(texts(store))
    assert [key for key, text in found.items() if folder in text] == []
    assert f"{PLACE}/runs/{report.run_id}/rejects.csv" in found[f"state/runs/{report.run_id}/report.json"]
    page = re.sub("<[^>]*>", "", found[f"state/runs/{report.run_id}/report.html"])
    assert f"--state-dir {PLACE}" in page
    assert not any(key.endswith((".partial", "-wal", ".gitignore")) for key in found)
    mirrored.close()
    assert not Path(folder).exists()


@pytest.mark.slow
def test_new_files_and_watermarks_are_kept_there(store: Store) -> None:
    assert run(destination="out.csv", since="last").counts.created == 2
    Path("in.csv").write_text(CUSTOMERS + "4,dan@acme.com,Dan,2026-02-01\n")
    assert run(destination="out.csv", since="last").counts.skipped == 2
    other_machine()
    (mark,) = tranship.watermarks("out.csv", state_dir=PLACE)
    assert mark.value.startswith("2026-02-01")
    other_machine()
    tranship.set_watermark("out.csv", "2026-03-01", state_dir=PLACE)
    other_machine()
    assert tranship.clear_watermarks("out.csv", state_dir=PLACE).watermarks[0].value.startswith("2026-03-01")
    other_machine()
    assert tranship.watermarks("out.csv", state_dir=PLACE) == ()
    Path("files").mkdir()
    Path("files/a.csv").write_text("id,name\n1,A\n")
    assert run("files/*.csv", TABLE, new_files=True).counts.read == 1
    Path("files/b.csv").write_text("id,name\n2,B\n")
    assert run("files/*.csv", TABLE, new_files=True).counts.read == 1


def test_a_file_that_another_machine_wrote_is_replaced(store: Store) -> None:
    run(destination="out.csv")
    run(destination="out.csv")
    with pytest.raises(ConfigError, match="Tranship did not write it"):
        tranship.run("in.csv", "out.csv", state_dir="elsewhere")


@pytest.mark.slow
def test_records_that_failed_at_a_provider_are_retried_by_another_machine(store: Store) -> None:
    Path("in.csv").write_text("id,name,country,created_at\n1,Ann,US,2026-01-01\n2,Bea,,2026-01-01\n")
    with tranship.sandbox("growpanel") as there:
        failed = run(destination=there.address)
        assert (failed.counts.created, failed.counts.refused) == (1, 1)
        other_machine()
        assert tranship.changes(state_dir=PLACE)["action"].to_list() == ["create"]
        other_machine()
        again = tranship.retry(state_dir=PLACE)
        assert (again.counts.read, again.counts.refused) == (1, 1)
        other_machine()
        assert tranship.retry(state_dir=PLACE).counts.read == 1
        other_machine()
        assert tranship.undo(failed.run_id, state_dir=PLACE, remove_for_good=True).counts.deleted == 1


@pytest.mark.slow
def test_a_plan_is_applied_by_another_machine(store: Store) -> None:
    with tranship.sandbox("metronome") as there:
        other_machine()
        plan = tranship.plan("in.csv", there.address, out="plan", state_dir=PLACE)
        assert mirrored.of(Path(plan.run_dir)) is None
        assert PLACE in Path("plan/manifest.json").read_text()
        other_machine()
        assert tranship.apply("plan").counts.created == 2
        assert [key for key in store.names() if "/applied/" in key and key.endswith("crosswalk.parquet")]
        assert run(destination=there.address).counts.unchanged == 2


@pytest.mark.slow
def test_a_backfill_goes_on_where_another_machine_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(backfill.run, "run", lambda settings, observer: _stopped_at(settings, "2026-01-02"))
        with pytest.raises(KeyboardInterrupt):
            tranship.backfill("in.csv", TABLE, since="2026-01-01", until="2026-01-04", state_dir=PLACE)
    other_machine()
    windows = tranship.backfill("in.csv", TABLE, since="2026-01-01", until="2026-01-04", state_dir=PLACE)
    assert [window.report is None for window in windows] == [True, False, False]
    assert not any("/backfills/" in key for key in store.names())


_run = backfill.run.run


def _stopped_at(settings: Any, day: str) -> Any:
    if settings.since.startswith(day):
        raise KeyboardInterrupt
    return _run(settings)


def test_runs_are_removed_in_the_bucket(store: Store) -> None:
    from datetime import timedelta

    run()
    other_machine()
    removed = tranship.runs(state_dir=PLACE, remove_older_than=timedelta(0)).removed
    assert len(removed) == 1
    assert not any("/runs/" in key for key in store.names())
    other_machine()
    assert tranship.runs(state_dir=PLACE).runs == ()


def test_records_go_earlier_than_counts_in_the_bucket(store: Store) -> None:
    run_id = run().run_id
    other_machine()
    assert cli.main(("prune", "--values", "0d", "--state-dir", PLACE), standalone_mode=False, obj=_context()) is None
    kept = [key for key in store.names() if f"/runs/{run_id}/" in key]
    assert any(key.endswith("manifest.json") for key in kept)
    assert not any(key.endswith(".parquet") for key in kept)
    other_machine()
    assert tranship.runs(state_dir=PLACE).runs[0].counts.read == 3


@pytest.mark.slow
def test_the_state_of_a_pipeline_is_kept_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pipeline="crm", expect={"rejects": "0"})
    assert any("unexpected: 1 reject" in note for note in run(pipeline="crm", expect={"rejects": "0"}).notes)
    assert any("unexpected" in text for key, text in texts(store) if key.endswith("report.json"))
    other_machine()
    words = ("runs", "--check", "max_age=26h", "--state-dir", PLACE)
    assert cli.main(words, standalone_mode=False, obj=_context()) == 0
    assert cli.main(("runs", "--forget", "crm", "--state-dir", PLACE), standalone_mode=False, obj=_context()) in (
        0,
        None,
    )
    other_machine()
    with pytest.raises(ConfigError, match=f"{PLACE}: has no pipeline"):
        cli.main(words, standalone_mode=False, obj=_context())


def _context() -> Any:
    from tranship.pipelines.cli.crash import CrashContext

    return CrashContext(Path(".tranship"))


# Kills -----------------------------------------------------------------------------------------------------------


@pytest.mark.kill
@pytest.mark.parametrize("moment", some([19, *range(1, 54), 38], 2))
@pytest.mark.parametrize("verb", some(["resume", "run"], 1))
def test_another_machine_finishes_a_run_that_was_killed_between_two_uploads(
    store: Store, tmp_path: Path, verb: str, moment: int
) -> None:
    was_killed = killed(moment, "run", "in.csv", TABLE, "--state-dir", PLACE, folder=tmp_path)
    wait_for_leases(store)
    try:
        if verb == "run":
            raise ConfigError("is not resumed")
        report = tranship.resume(state_dir=PLACE)
    except ConfigError:  # nothing is left to do, or nothing has begun
        report = run()
    assert was_killed or report.counts.unchanged == 2
    assert (report.counts.created + report.counts.unchanged, report.counts.rejected) == (2, 1)
    assert rows() == ["1", "2"]
    other_machine()
    assert not tranship.runs(state_dir=PLACE).damaged
    assert run().counts.unchanged == 2


@pytest.mark.kill
@pytest.mark.parametrize("moments", some([(68, 20), (64, 18), (70, 14), (72, 22), (66, 19)], 1))
def test_machines_that_die_while_they_write_to_a_provider_double_and_lose_no_customer(
    store: Store, tmp_path: Path, moments: tuple[int, int]
) -> None:
    number = 300
    records = "".join(f"c{i},c{i}@acme.com,Name {i}\n" for i in range(number))
    Path("many.csv").write_text(f"id,email,name\n{records}")
    with tranship.sandbox("marginfront") as there:
        assert killed(moments[0], "run", "many.csv", there.address, "--state-dir", PLACE, folder=tmp_path)
        wait_for_leases(store)
        killed(moments[1], "resume", "last", "--state-dir", PLACE, folder=tmp_path)
        wait_for_leases(store)
        assert tranship.resume(state_dir=PLACE).counts.created == number
        tranship.run(there.address, "out.csv", state_dir="elsewhere")
    assert sorted(pl.read_csv("out.csv")["external_id"]) == sorted(f"c{i}" for i in range(number))


@pytest.mark.kill
def test_a_container_that_is_stopped_is_continued_by_the_next(store: Store, tmp_path: Path) -> None:
    Path("many.csv").write_text("id,name\n" + "".join(f"c{i},N{i}\n" for i in range(800)))
    with tranship.sandbox("metronome", weather={"latency": 0.02}) as there:
        words = ("run", "many.csv", there.address, "--state-dir", PLACE)
        process = start(*words, folder=tmp_path)
        deadline = time.monotonic() + 60
        while not any(key.endswith("journal.reached") for key in store.names()):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"Continue with: tranship resume {_run_of(store)} --state-dir {PLACE}" in said
        report = tranship.resume(state_dir=PLACE)
        assert report.counts.created == 800
        assert not any("looked up first" in note for note in report.notes)


def _run_of(store: Store) -> str:
    (run_id,) = {key.split("/")[2] for key in store.names() if key.startswith("state/runs/")}
    return run_id


# Two machines at once --------------------------------------------------------------------------------------------


@pytest.mark.kill
def test_while_one_machine_works_another_waits_skips_or_fails(store: Store, tmp_path: Path) -> None:
    os.mkfifo("pipe.csv")
    process = start("run", "pipe.csv", TABLE, "--state-dir", PLACE, folder=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not any("/locks/" in key for key in store.names()):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        with pytest.raises(Skipped, match=f"another run is writing to it .process {process.pid} on host"):
            run(overlap="skip")
        with pytest.raises(Busy, match="another run is writing to it"):
            run(overlap="fail")
        skipped = command("run", "in.csv", TABLE, "--state-dir", PLACE, "--overlap", "skip", folder=tmp_path)
        assert skipped.returncode == 6, skipped.stderr
        waiting = start("run", "in.csv", TABLE, "--state-dir", PLACE, folder=tmp_path)
        assert waiting.stderr is not None
        line = ""
        while "waiting for it to end" not in line:
            line = waiting.stderr.readline()
            assert line, "it did not wait"
        Path("pipe.csv").write_text("id,name\n7,G\n")
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        said = waiting.communicate(timeout=60)[1]
        assert waiting.returncode == 4, said
    finally:
        process.kill()
    assert rows() == ["1", "2", "7"]


def test_a_machine_that_has_lost_its_lock_writes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_over = False

    def lose() -> None:
        nonlocal taken_over
        for lease in mirrored._mirrors[0]._leases:  # type: ignore[attr-defined]
            lease._confirmed -= 100
            store.put(("exports", f"state/{lease.name}"), b"{}", {})
        taken_over = True

    from tranship.pipelines import flow

    gates = flow.check_gates

    def check(*given: Any) -> None:
        gates(*given)
        lose()

    monkeypatch.setattr(flow, "check_gates", check)
    before = dict(store.objects)
    with pytest.raises(Busy, match=r"could not keep its lock .* The destination is unchanged\."):
        run()
    assert taken_over
    assert not Path("w.duckdb").exists() or rows() == []
    assert not any('"write_began": true' in text for _, text in texts(store))
    assert before == {}


@pytest.mark.slow
def test_a_machine_that_loses_its_lock_while_it_sends_stops_and_another_finishes(store: Store) -> None:
    Path("many.csv").write_text("id,name\n" + "".join(f"c{i},N{i}\n" for i in range(600)))

    def lose() -> None:
        while not any(key.endswith("journal.reached") for key in store.names()):
            time.sleep(0.01)
        for lease in mirrored._mirrors[0]._leases.copy():  # type: ignore[attr-defined]
            lease._is_lost = True

    with tranship.sandbox("marginfront", weather={"latency": 0.02}) as there:
        thief = threading.Thread(target=lose)
        thief.start()
        with pytest.raises(Busy, match="could not keep its lock"):
            run("many.csv", there.address)
        thief.join()
        other_machine()
        wait_for_leases(store)
        assert tranship.resume(state_dir=PLACE).counts.created == 600
        tranship.run(there.address, "out.csv", state_dir="elsewhere")
    assert pl.read_csv("out.csv")["external_id"].n_unique() == pl.read_csv("out.csv").height == 600


# A bucket that cannot be used ------------------------------------------------------------------------------------


def test_a_bucket_that_cannot_be_used_has_a_sentence_and_nothing_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.denies = lambda method, key: method == "PUT"
    with pytest.raises(Refused, match=f"{PLACE}: the state directory cannot be written: access is denied"):
        run()
    store.denies = lambda method, key: False
    store.is_conditional = False
    with pytest.raises(ConfigError, match=f"{PLACE}: this storage has no conditional writes"):
        run()
    assert not Path("w.duckdb").exists()
    assert run(locks=False).counts.created == 2
    other_machine()
    with pytest.raises(Refused, match="gs://nowhere/a: there is no such bucket"):
        tranship.run("in.csv", TABLE, state_dir="gs://nowhere/a")
    store.url = ""
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "{")
    with pytest.raises(Unreachable, match="cannot be opened"):
        tranship.run("in.csv", TABLE, state_dir="gs://exports/b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "holds"),
    [
        ("/identity/dropped.parquet", "The destination is unchanged."),
        ("/report.json", "The write to the destination is complete"),
    ],
)
def test_an_upload_that_fails_is_reported_with_what_holds(store: Store, at: str, holds: str) -> None:
    store.denies = lambda method, key: method == "PUT" and key.endswith(at)
    with pytest.raises(Refused, match=f"cannot be written: access is denied.*{holds}") as raised:
        run()
    assert raised.value.exit_code == 3
    store.denies = lambda method, key: False
    other_machine()
    report = tranship.resume(state_dir=PLACE)
    assert report.counts.created + report.counts.unchanged == 2
    assert rows() == ["1", "2"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://user:secret-word@exports/a", "is not the address of a bucket"),
        ("s3://exports/a?access_key=secret-word", "the only option is lease"),
        ("s3://exports/a?lease=secret-word", "the only option is lease"),
        ("s3://exports/../a", "use letters, digits"),
        ("s3:///a", "is not the address of a bucket"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_its_secrets(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        tranship.runs(state_dir=address)
    assert "secret-word" not in str(raised.value)


def test_a_state_directory_is_apart_from_what_is_read_and_written(store: Store) -> None:
    store.put(("exports", "state/in.csv"), CUSTOMERS.encode(), {})
    for source, destination, message in (
        ("gs://exports/state/", TABLE, "is within what is read"),
        ("in.csv", f"{PLACE}/runs/out.csv", "where runs keep their files"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(source, destination)
    with pytest.raises(ConfigError, match="--state-dir gs://exports/state: a run on an engine"):
        run(engine="sail")


# All commands ----------------------------------------------------------------------------------------------------

ABOUT_NO_STATE = {"help", "inspect", "connectors", "doctor", "explain", "sandbox", "fields", "schema", "apply"}
"""Commands without a state directory; `apply` takes it from the plan."""


@pytest.mark.slow
def test_every_command_works_or_says_why_not(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(since="last", destination="out.csv").run_id
    written = run().run_id
    told: dict[str, str] = {}
    arguments = {
        "run": ("in.csv", TABLE),
        "plan": ("in.csv", TABLE, "--out", "plan"),
        "verify": ("in.csv", TABLE),
        "retry": ("last",),
        "resume": ("last",),
        "runs": (),
        "report": (first,),
        "changes": (written,),
        "undo": ("last",),
        "backfill": ("in.csv", TABLE, "--from", "2026-01-01", "--to", "2026-01-03"),
        "fix": ("last", "--out", "rejects.csv"),
        "prune": ("--keep", "1d", "--values", "1h"),
        "erase": ("--email", "jane@acme.com"),
        "state list": ("out.csv",),
        "state set": ("out.csv", "2026-01-01"),
        "state clear": ("out.csv",),
    }
    for name, words in _commands(cli):
        if name in ABOUT_NO_STATE or name.split(" ")[0] in ABOUT_NO_STATE:
            continue
        assert name in arguments, f"say here how {name} works with a state directory in a bucket"
        other_machine()
        try:
            code = cli.main((*words, *arguments[name], "--state-dir", PLACE), standalone_mode=False, obj=_context())
        except TranshipError as error:
            told[name] = str(error)
        else:
            assert code in (0, 4, None), name
        shown = capsys.readouterr()
        assert "tranship-state-" not in str(told.get(name)), name
        assert "Traceback" not in shown.err
    assert set(told) <= {"retry", "resume", "fix", "erase"}, told
    assert all("works with a state directory on this machine only" in told[name] for name in ("fix", "erase"))
    assert "nothing failed" in told["retry"]
    assert "is finished" in told["resume"]


def _commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from _commands(found, (*before, name))
        else:
            yield " ".join((*before, name)), (*before, name)


@pytest.mark.slow
def test_several_pipelines_of_a_file_share_it(store: Store, tmp_path: Path) -> None:
    Path("two.toml").write_text(
        f'state_dir = "{PLACE}"\nsource = "in.csv"\n[pipelines.a]\ndestination = "a.csv"\n'
        '[pipelines.b]\ndestination = "b.csv"\n'
    )
    done = command("run", "two.toml", "--jobs", "2", folder=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "tranship-state-" not in done.stderr + done.stdout
    other_machine()
    assert len(tranship.runs(state_dir=PLACE).runs) == 2


@pytest.mark.slow
def test_records_given_in_python_are_asked_for_again_if_they_were_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_machine()
    frame = pl.DataFrame({"id": ["1", "2"], "name": ["A", "B"]})
    assert tranship.run(frame, TABLE, state_dir=PLACE).counts.created == 2
    with monkeypatch.context() as patch:
        patch.setattr(one_machine.OneMachine, "read", _stop)
        with pytest.raises(Interrupted, match=f"--state-dir {PLACE}"):
            tranship.run(frame, "out.csv", state_dir=PLACE)
    other_machine()
    with pytest.raises(ConfigError, match=r"the records are no longer kept .* Give them again, in Python"):
        tranship.resume(state_dir=PLACE)
    assert tranship.run(frame, "out.csv", state_dir=PLACE).counts.created == 2
    assert not any("/frames/" in key for key in store.names())


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client for the bucket `exports` of an S3 server, for which there are credentials in the environment."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    account = {"ENDPOINT_URL": f"http://{host}:{port}", "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    for name, value in {**account, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test-secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(CUSTOMERS)
    client = pytest.importorskip("boto3").client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="exports")
    yield client
    mirrored.close()
    server.stop()


@pytest.mark.slow
def test_at_s3_with_credentials_from_the_environment(s3: Any, tmp_path: Path) -> None:
    place = "s3://exports/team/state"
    done = command("run", "in.csv", TABLE, folder=tmp_path, TRANSHIP_STATE_DIR=place)
    assert done.returncode == 4, done.stderr
    assert f"report: {place}/runs/" in done.stderr
    assert "tranship-state-" not in done.stderr
    done = command("run", "in.csv", TABLE, "--json", folder=tmp_path, TRANSHIP_STATE_DIR=place)
    assert f'"run_dir": "{place}/runs/' in done.stdout
    assert "tranship-state-" not in done.stdout + done.stderr
    assert len(tranship.runs(state_dir=place).runs) == 2
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="exports", Prefix="team/")["Contents"]]
    assert sum(key.endswith("/manifest.json") for key in keys) == 2
    assert all(key.startswith("team/state/") for key in keys)


PAGE = ROOT / "docs" / "how-to" / "state-in-a-bucket.md"


@pytest.mark.slow
def test_the_page_about_it_does_what_it_shows(s3: Any, tmp_path: Path) -> None:
    Reader(readers_folder(tmp_path), {}).follow([PAGE])
    (block,) = blocks(PAGE.read_text(encoding="utf-8"), "toml")
    assert mirrored.of(Settings(**tomllib.loads(block.text)).state_dir)
    assert s3.list_objects_v2(Bucket="exports", Prefix="tranship/runs/")["KeyCount"]


def test_the_command_in_kubernetes_is_valid() -> None:
    (words,) = re.findall(r"args: (\[.*\])", PAGE.read_text(encoding="utf-8"))
    name, *others = json.loads(words)
    cli.commands[name].make_context(name, others)


@pytest.mark.slow
def test_at_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.state_buckets import azure_bucket

    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(CUSTOMERS)
    with azure_bucket(monkeypatch) as store:
        for _ in range(2):
            other_machine()
            report = tranship.run("in.csv", TABLE, state_dir="az://exports/state")
        assert report.counts.unchanged == 2
        assert isinstance(store, object_stores.Store)
        other_machine()
        assert len(tranship.runs(state_dir="az://exports/state").runs) == 2
