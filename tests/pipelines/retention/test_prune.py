"""Retention: which runs and records go, which stay, and what the others say then."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

import tranship
from support.artefacts import texts
from support.long_tests import LONG
from tranship.connectors import durable
from tranship.connectors.errors import ConfigError, LocalFailure, TranshipError
from tranship.pipelines import run
from tranship.pipelines.cli import main as cli
from tranship.pipelines.retention import needed, prune
from tranship.pipelines.retention.rules import Rules, rules_of
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings import load

STATE = Path(".tranship")
TABLE = "duckdb:///w.duckdb?table=customers"
OTHER = "duckdb:///w.duckdb?table=others"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("a@x.example")


def write(*emails: str) -> None:
    rows = "".join(f"{number},{email},Customer {number}\n" for number, email in enumerate(emails))
    Path("in.csv").write_text(f"external_id,email,name\n{rows}")


def ran(days_ago: float, destination: str = TABLE, **options: Any) -> Path:
    settings = load({"source": "in.csv", "destination": destination, **options}, {})
    return Path(run.run(settings, now=datetime.now(UTC) - timedelta(days=days_ago)).run_dir)


def left() -> set[str]:
    return {path.name for path in (STATE / "runs").iterdir()}


def set_status(folder: Path, status: str, **changes: Any) -> None:
    manifest = durable.read_json(folder / "manifest.json")
    durable.write_json(folder / "manifest.json", manifest | {"status": status} | changes)


@pytest.mark.slow
def test_a_run_is_kept_by_age_or_by_place_or_because_it_failed() -> None:
    failed = ran(50, max_rejects=5)
    set_status(failed, "stopped")
    others = [ran(days, OTHER) for days in (45, 44)]
    old = [ran(days) for days in (40, 35, 20)]
    new = ran(1)

    def gone(**rules: Any) -> set[str]:
        return {removal.run_id for removal in prune.prune(STATE, Rules(**rules), dry_run=True).removals}

    month = timedelta(days=30)
    assert gone(keep=month) == {folder.name for folder in (failed, *old[:2], *others)}
    assert gone(keep=month, keep_failed=True) == {folder.name for folder in (*old[:2], *others)}
    assert gone(keep=month, keep_last=3) == {failed.name, old[0].name}
    assert gone(keep_last=1) == {failed.name, *(folder.name for folder in (*old, others[0]))}
    assert len(left()) == 7

    pruned = prune.prune(STATE, Rules(keep=month, keep_last=3))
    assert [removal.run_id for removal in pruned.removals] == [failed.name, old[0].name]
    assert pruned.bytes_freed > 10_000
    assert left() == {folder.name for folder in (*old[1:], *others, new)}
    assert prune.prune(STATE, Rules(keep=month, keep_last=3)).removals == ()


def test_the_bytes_of_a_file_that_two_runs_have_are_counted_once() -> None:
    ran(3)
    ran(2, OTHER)  # its stage is a link
    before = sum(
        file.stat().st_size for file in {f.stat().st_ino: f for f in STATE.rglob("runs/*/**/*") if f.is_file()}.values()
    )
    foreseen = prune.prune(STATE, Rules(keep_last=0), dry_run=True)
    pruned = prune.prune(STATE, Rules(keep_last=0))
    assert foreseen.bytes_freed == pruned.bytes_freed == before


@pytest.mark.slow
def test_records_go_earlier_than_counts_and_commands_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ran(9), ran(8, OTHER)
    pruned = prune.prune(STATE, Rules(values=timedelta(days=7)))
    assert [(removal.run_id, removal.what) for removal in pruned.removals] == [
        (first.name, "records"),
        (second.name, "records"),
    ]
    assert {path.name for path in first.iterdir()} == {"lock", "manifest.json", "report.json", "report.html"}
    assert [name for name, text in texts(STATE) if "a@x.example" in text or "Customer 0" in text] == []
    assert prune.prune(STATE, Rules(values=timedelta(days=7))).removals == ()

    assert [each.counts.created for each in tranship.runs() if each.counts] == [1, 1]
    for command in ("undo", "retry", "resume", "verify"):
        code = cli.main([command, first.name])
        said = capsys.readouterr().err
        assert code == 2
        reason = "nothing is left to do" if command == "resume" else "its records were removed on 20"
        assert f"Error: {first.name}: " in said
        assert reason in said
    assert cli.main(["report", first.name]) == 0
    said = capsys.readouterr().out
    assert "created 1" in said
    assert "undo" not in said  # which would not work
    assert "rejects.parquet" not in (first / "report.html").read_text()
    assert cli.main(["changes", first.name]) == 0  # these are in the table
    # The next run reads its source again, and finds the same.
    assert tranship.run("in.csv", TABLE).counts.unchanged == 1


def test_records_of_an_interrupted_run_are_named_when_it_cannot_be_continued(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = ran(9)
    (folder / "report.json").unlink()
    set_status(folder, "failed", values_removed="2026-11-01T00:00:00Z")
    assert cli.main(["resume", folder.name]) == 2
    assert "its records were removed on 2026-11-01, as its retention says, so it cannot be continued" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_what_is_running_or_can_be_continued_stays_until_a_later_run_succeeds() -> None:
    running, broken = ran(40), ran(39)
    set_status(running, "running")
    set_status(broken, "failed")
    owned = RunDirectory.at(running)
    owned.own()
    try:
        kept = prune.prune(STATE, Rules(keep_last=0)).kept
        assert kept[running.name] == "is running"
        assert kept[broken.name] == f"can be continued: tranship resume {broken.name}"
        newer = ran(1)
        pruned = prune.prune(STATE, Rules(keep_last=0))
        assert {removal.run_id for removal in pruned.removals} == {broken.name, newer.name}
    finally:
        owned.let_go()
    assert left() == {running.name}


@pytest.mark.slow
@pytest.mark.parametrize("rules", [Rules(keep_last=0), Rules(values=timedelta())])
def test_a_run_that_an_open_plan_takes_back_stays_until_the_plan_is_applied_or_gone(rules: Rules) -> None:
    first, second = ran(40), ran(39, OTHER)
    tranship.undo(first.name, out="elsewhere/back")
    tranship.undo(second.name, out=STATE / "plans" / "back")
    kept = prune.prune(STATE, rules).kept
    assert kept[first.name] == f"is needed by the plan in {Path('elsewhere/back').resolve()}"
    assert kept[second.name] == f"is needed by the plan in {(STATE / 'plans/back').resolve()}"
    tranship.apply("elsewhere/back")
    shutil.rmtree(STATE / "plans")
    assert not {first.name, second.name} & prune.prune(STATE, rules).kept.keys()


def test_a_retry_that_broke_off_keeps_the_run_whose_records_it_reads() -> None:
    first, second = ran(40), ran(39)
    set_status(first, "done")
    facts = durable.read_json(second / "manifest.json")["settings"]
    set_status(second, "failed", settings=facts | {"source": str(first / "again")})
    kept = prune.prune(STATE, Rules(keep_last=0)).kept
    assert kept[first.name] == f"is needed by the unfinished run {second.name}"


@pytest.mark.slow
def test_another_process_that_writes_to_the_destination_keeps_its_runs() -> None:
    folder = ran(9)
    settings = load({"source": "in.csv", "destination": TABLE}, {})
    from tranship.pipelines import endpoints, locks

    lock = locks.of_destination(STATE, endpoints.destination_identity(settings))
    assert lock.take()
    try:
        kept = prune.prune(STATE, Rules(keep_last=0)).kept
    finally:
        lock.release()
    assert kept == {folder.name: "is in use by another process, which writes to its destination"}


def test_a_removal_that_was_interrupted_is_completed() -> None:
    whole, records = ran(9), ran(8, OTHER)
    (STATE / "removed").mkdir()
    whole.rename(STATE / "removed" / whole.name)
    (STATE / "removed" / whole.name / "manifest.json").unlink()
    set_status(records, "done", values_removed="2026-11-01T00:00:00Z")
    pruned = prune.prune(STATE, Rules(keep=timedelta(days=99)))
    assert (pruned.completed, [removal.what for removal in pruned.removals]) == (1, ["records"])
    assert [name for name, text in texts(STATE) if "a@x.example" in text] == []
    assert list((STATE / "removed").iterdir()) == []


@pytest.mark.slow
def test_two_at_once_are_harmless() -> None:
    for days in range(12, 2, -1):
        ran(days)
    failures: list[BaseException] = []
    found: list[prune.Pruned] = []

    def work() -> None:
        try:
            found.append(prune.prune(STATE, Rules(keep_last=3)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    gone = [removal.run_id for pruned in found for removal in pruned.removals]
    assert len(gone) == len(set(gone))
    prune.prune(STATE, Rules(keep_last=3))  # one may have found the lock of the destination held by the other
    assert len(left()) == 3


def test_damaged_runs_are_listed_and_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    damaged, good = ran(9), ran(8)
    (damaged / "manifest.json").write_text("{")
    assert cli.main(["prune", "--keep-last", "0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [removal["run_id"] for removal in said["removals"]] == [good.name]
    assert said["damaged"][damaged.name].endswith("was changed or damaged since Tranship wrote it.")
    assert left() == {damaged.name}


@pytest.mark.slow
def test_the_retention_of_a_pipeline_is_kept_after_each_run() -> None:
    other = ran(90, OTHER)
    old = ran(40)
    Path("p.toml").write_text(
        f'source = "in.csv"\ndestination = "{TABLE}"\n[retention]\nkeep = "30d"\nkeep_last = 2\nvalues = "7d"\n'
    )
    assert cli.main(["run", "p.toml", "--quiet"]) == 0
    assert "stage" not in {path.name for path in old.iterdir()}  # its records are gone, its counts are kept
    assert cli.main(["run", "p.toml", "--quiet"]) == 0
    assert not old.exists()
    assert (other / "stage").exists()


def test_a_failure_of_retention_is_a_warning_and_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    ran(40)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(13, "Permission denied")))
    report = tranship.run("in.csv", TABLE, retention={"keep_last": 1})
    assert report.exit_code == 0


@pytest.mark.slow
def test_a_crosswalk_survives_the_run_that_made_it(account: Any) -> None:
    there = account("metronome")
    write("a@x.example", "b@x.example")
    first = Path(tranship.run("in.csv", there.address).run_dir)
    pruned = prune.prune(STATE, Rules(keep_last=0))
    assert pruned.removals[0].crosswalk_kept
    assert not first.exists()
    again = tranship.run("in.csv", there.address)
    assert (again.counts.unchanged, again.counts.created) == (2, 0)
    write("a@x.example")
    # Only what earlier runs wrote may be removed, which is known from the crosswalk.
    assert tranship.run("in.csv", there.address, mode="mirror", max_deletes=5, remove_for_good=True).counts.deleted == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "[retention]: nothing says what may go. Give keep (30d), keep_last (10) or values (7d)."),
        ({"keep_failed": "true"}, "[retention]: nothing says what may go"),
        ({"keep": "30"}, "[retention]: keep is an age such as 30d, 12h or 8w."),
        ({"keep_last": "-1"}, "[retention]: keep_last is a number of runs."),
        ({"keeps": "1d"}, "[retention]: 'keeps' is not a rule of retention. Rules are keep, keep_last, keep_failed"),
    ],
)
def test_rules_that_are_not_clear_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        rules_of(given)
    assert str(raised.value).startswith(message)
    with pytest.raises(TranshipError):
        load({"source": "in.csv", "destination": "out.csv", "retention": given or {"keep_failed": True}}, {})


def test_the_command_says_what_went(capsys: pytest.CaptureFixture[str]) -> None:
    folder = ran(40)
    assert cli.main(["prune"]) == 2
    assert "tranship prune: nothing says what may go" in capsys.readouterr().err
    assert cli.main(["prune", "--keep", "30d", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(f"would remove {folder.name}: ")
    assert cli.main(["prune", "--keep", "30d"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"removed {folder.name}: ")
    assert " KB freed" in said
    assert cli.main(["prune", "--keep", "30d"]) == 0
    assert capsys.readouterr().err == "Nothing to remove.\n"
    with duckdb.connect("w.duckdb") as table:
        assert table.sql("SELECT count(*) FROM customers").fetchall() == [(1,)]


def test_a_folder_without_runs_has_nothing_to_remove() -> None:
    assert prune.prune(Path("nowhere"), Rules(keep_last=0)).removals == ()
    assert not Path("nowhere").exists()


def test_earlier_runs_are_removed_after_a_run_that_fails_too() -> None:
    old = ran(40)
    Path("in.csv").write_text("external_id,email,name\n1,broken,A\n")
    with pytest.raises(TranshipError):
        tranship.run("in.csv", TABLE, max_rejects=0, retention={"keep": "30d"})
    assert not old.exists()


@pytest.mark.parametrize("rules", [Rules(keep_last=0), Rules(values=timedelta())])
def test_whatever_is_interrupted_is_completed(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(9)
    shutil.copytree(STATE, "copy")
    moments = 0
    for moment in range(1, 60, 1 if LONG else 4):
        shutil.rmtree(STATE)
        shutil.copytree("copy", STATE)
        calls = 0

        def dies(original: Callable[..., Any], at: int = moment) -> Callable[..., Any]:
            def called(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls >= at:
                    raise KeyboardInterrupt
                return original(*arguments, **named)

            return called

        with monkeypatch.context() as patched:
            for place, name in ((Path, "unlink"), (Path, "rename"), (Path, "replace"), (shutil, "rmtree")):
                patched.setattr(place, name, dies(getattr(place, name)))
            try:
                prune.prune(STATE, rules)
            except KeyboardInterrupt:
                moments += 1
            else:
                break
        prune.prune(STATE, rules)
        assert [name for name, text in texts(STATE) if "a@x.example" in text] == []
        assert not (STATE / "removed").exists() or list((STATE / "removed").iterdir()) == []
        assert [run for run in tranship.runs() if run.problem] == []
        assert tranship.runs().damaged == {}
    assert moments > 0


@pytest.mark.slow
def test_a_run_that_loaded_rejects_of_a_removed_run_is_still_reported(capsys: pytest.CaptureFixture[str]) -> None:
    write("a@x.example", "no address", "c at x")
    first = Path(tranship.run("in.csv", TABLE, strict=True).run_dir)
    tranship.fix(first.name, out="rejects.csv")
    Path("rejects.csv").write_text(Path("rejects.csv").read_text().replace(",no address,", ",b@x.example,"))
    Path("rejects.csv").write_text(Path("rejects.csv").read_text().replace(",c at x,", ",c at y,"))
    fixed = tranship.fix(first.name, "rejects.csv").report
    assert fixed is not None
    prune.prune(STATE, Rules(keep_last=1))
    assert left() == {fixed.run_id}
    assert cli.main(["report", "last"]) == 0
    said = capsys.readouterr().out
    assert "correct the rejected records at the source" in said
    assert "tranship fix" not in said
    for words in (["--out", "again.csv"], ["--from", "rejects.csv"]):
        assert cli.main(["fix", "last", *words]) == 2
        assert f"run {first.name}, whose rejects it has loaded, was removed" in capsys.readouterr().err
    assert tranship.undo(fixed.run_id).counts.deleted == 1


def test_a_fix_that_broke_off_keeps_the_run_whose_rejects_it_loads() -> None:
    first, second = ran(40), ran(39)
    set_status(first, "done")
    set_status(second, "failed", fixes={"run_id": first.name, "folder": str(first)})
    kept = prune.prune(STATE, Rules(keep_last=0)).kept
    assert kept[first.name] == f"is needed by the unfinished run {second.name}"


def test_a_run_that_cannot_be_deleted_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ran(40).name
    ran(1)
    with monkeypatch.context() as failing:
        failing.setattr("os.unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(LocalFailure, match=rf"removed/{old}: cannot be deleted \(input/output error\)"):
            prune.prune(STATE, Rules(keep_last=1))
        with pytest.raises(LocalFailure):
            prune.prune(STATE, Rules(keep_last=1))
    assert prune.prune(STATE, Rules(keep_last=1)).completed == 1
    assert not list((STATE / needed.REMOVED).iterdir())


def test_a_lock_that_cannot_be_written_is_no_reason_to_keep_a_run() -> None:
    ran(40)
    ran(1)
    shutil.rmtree(STATE / "locks")
    (STATE / "locks").write_text("in the way")
    with pytest.raises(LocalFailure, match="locks: cannot be created or used"):
        prune.prune(STATE, Rules(keep_last=1))
