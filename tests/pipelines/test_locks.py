"""Locks of runs and destinations: their holders, messages about them, and systems without file locks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support import without_locks
from support.warehouse import Warehouse, fates, write_csv
from tranship.connectors import durable, lookup
from tranship.connectors.errors import Busy, ConfigError, Skipped
from tranship.pipelines import locks
from tranship.pipelines import run as flow
from tranship.pipelines.cli import main as cli
from tranship.pipelines.locks import Lock
from tranship.pipelines.observer import Quiet
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}


@contextmanager
def held_by_another(lock: Path) -> Iterator[int]:
    """Start a process that holds this lock; yield its id, and kill it at the end."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    script = (
        "import sys; from pathlib import Path; from tranship.pipelines.locks import Lock\n"
        "assert Lock(Path(sys.argv[1])).take(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def lock_of(warehouse: Warehouse) -> Path:
    return locks.of_destination(warehouse.folder / "state", lookup.identity(warehouse.address())).file


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


# One lock ---------------------------------------------------------------------------------------------------------


def test_a_lock_is_had_by_one_and_says_by_whom(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")

    assert first.holder() is None
    assert first.take()
    assert not second.take()
    assert str(second.holder()).startswith(f"process {os.getpid()} on host {socket.gethostname()}, since 20")
    first.release()
    assert second.holder() is None
    assert second.take()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "lock") as pid:
        holder = Lock(tmp_path / "lock").holder()
        assert holder
        assert holder.pid == pid
        assert not Lock(tmp_path / "lock").take()
    assert Lock(tmp_path / "lock").take()


def test_a_lock_is_not_handed_on_to_a_program_that_is_started(tmp_path: Path) -> None:
    """Not even for the moment in which it starts, hence the many attempts."""
    for _ in range(20):
        lock = Lock(tmp_path / "lock")
        assert lock.take()
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, close_fds=False) as child:
            lock.release()
            next_one = Lock(tmp_path / "lock")
            assert next_one.take()
            next_one.release()
            child.communicate(b"")


def test_a_lock_whose_file_was_removed_is_not_held_by_two(tmp_path: Path) -> None:
    """A holder of the removed file does not block the new one, and a new lock applies to the new file."""
    first, second, third = (Lock(tmp_path / "lock") for _ in range(3))
    assert first.take()
    (tmp_path / "lock").unlink()
    assert second.take()
    assert not third.take()


@pytest.mark.parametrize("content", [b"", b"\0" * 600, b"[1, 2]", b'{"pid": "x"}', b"\xff\xfe", b"{" * 9000])
def test_a_damaged_lock_file_is_used_and_its_holder_is_another_process(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "lock"
    file.write_bytes(content)
    assert Lock(file).last_holder() == locks.Holder()
    lock = Lock(file)
    assert lock.take()
    file.write_bytes(content)
    assert str(Lock(file).holder()) == "another process"


def a_folder(file: Path) -> None:
    file.mkdir(parents=True)


def a_pipe(file: Path) -> None:
    file.parent.mkdir(parents=True)
    os.mkfifo(file)


def a_link(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.symlink_to("/etc/hostname")


@pytest.mark.parametrize("put", [a_folder, a_pipe, a_link])
def test_what_is_no_lock_file_is_explained(
    warehouse: Warehouse, put: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    lock = lock_of(warehouse)
    lock.parent.rmdir()
    put(lock)

    code = cli.main(["run", str(source), warehouse.address(), "--state-dir", str(warehouse.folder / "state")])

    assert code == 2
    said = capsys.readouterr().err
    assert f"Error: {lock}: cannot be used as a lock file" in said
    assert said.count("\n") == 1


def test_a_file_in_place_of_the_locks_folder_is_explained(warehouse: Warehouse) -> None:
    (warehouse.folder / "state").mkdir()
    (warehouse.folder / "state" / "locks").write_text("mine")

    with pytest.raises(ConfigError, match=r"locks: cannot be created or used"):
        warehouse.load([ANN])


def test_a_run_with_a_damaged_lock_stops_no_other_run(warehouse: Warehouse) -> None:
    report = warehouse.load([ANN])
    lock = Path(report.run_dir) / "lock"
    lock.unlink()
    lock.mkdir()
    manifest = Path(report.run_dir) / "manifest.json"
    durable.write_json(manifest, durable.read_json(manifest) | {"status": "running"})

    assert fates(warehouse.load([ANN])) == {"unchanged": 1}
    assert not RunDirectory.at(Path(report.run_dir)).is_abandoned()
    with pytest.raises(ConfigError, match="cannot be used as a lock file"):
        flow.resume(warehouse.folder / "state", report.run_id)


# Waiting ----------------------------------------------------------------------------------------------------------


class Heard(Quiet):
    """An observer that keeps the notes, and calls a function at the first."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.notes: list[str] = []
        self._then = then

    def note(self, text: str) -> None:
        self.notes.append(text)
        if len(self.notes) == 1:
            self._then()


def test_a_run_waits_for_the_one_before_it_and_reads_only_then(warehouse: Warehouse) -> None:
    """It reads the state at its turn: here another input, and a table that did not exist before."""
    source = write_csv(warehouse.folder / "late.csv", [ANN])
    lock = Lock(lock_of(warehouse))
    assert lock.take()
    since = lock.last_holder().since

    def meanwhile() -> None:
        other = warehouse.folder / "other"
        Warehouse(warehouse.folder).load([ANN], state_dir=other)
        write_csv(source, [ANN, BOB])
        lock.release()

    heard = Heard(meanwhile)
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    report = flow.run(load(given, {}), heard)

    assert fates(report) == {"created": 1, "unchanged": 1}
    assert heard.notes[0] == (
        f"{warehouse.address()}: another run is writing to it (process {os.getpid()} on host {socket.gethostname()}, "
        f"since {since}); waiting for it to end"
    )


def test_a_run_that_waits_too_long_or_may_not_wait_names_the_holder(warehouse: Warehouse) -> None:
    with held_by_another(lock_of(warehouse)) as pid:
        for options in ({"lock_timeout": "100ms"}, {"overlap": "fail"}):
            with pytest.raises(Busy, match=f"process {pid} on host .*Nothing was done") as busy:
                warehouse.load([ANN], **options)
            assert busy.value.exit_code == 3
        with pytest.raises(Skipped, match=f"process {pid} on host") as skipped:
            warehouse.load([ANN], overlap="skip")
        assert skipped.value.exit_code == 6
        assert fates(warehouse.load([ANN], dry_run=True)) == {"created": 1}
    assert not warehouse.file.exists()
    assert fates(warehouse.load([ANN], overlap="skip")) == {"created": 1}


def test_a_skipped_run_says_one_line_and_one_object(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    words = ["run", str(source), warehouse.address(), "--state-dir", str(warehouse.folder / "state")]
    with held_by_another(lock_of(warehouse)) as pid:
        assert cli.main([*words, "--overlap", "skip", "--quiet", "--json"]) == 6

    said = capsys.readouterr()
    object_ = json.loads(said.out)
    assert (object_["status"], object_["exit_code"]) == ("skipped", 6)
    assert said.err == f"Skipped: {object_['error']}\n"
    assert f"process {pid}" in said.err


def test_a_lock_file_with_text_of_a_stranger_is_not_shown(warehouse: Warehouse) -> None:
    lock = Lock(lock_of(warehouse))
    assert lock.take()
    lock.file.write_text(json.dumps({"pid": 1, "host": "\x1b[2Jx\nError", "since": "now"}))

    with pytest.raises(Busy, match=r"writing to it \(another process\)"):
        warehouse.load([ANN], overlap="fail")
    lock.release()


def test_two_threads_of_one_program_take_turns(warehouse: Warehouse) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN, BOB])
    reports = []

    def work() -> None:
        given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
        reports.append(fates(flow.run(load(given, {}))))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, reports)) == ["{'created': 2}", "{'unchanged': 2}", "{'unchanged': 2}"]


# DuckDB -----------------------------------------------------------------------------------------------------------


class AtStep(Quiet):
    """An observer that calls a function once, when a step begins."""

    def __init__(self, step: str, then: Callable[[], None]) -> None:
        self._step, self._then = step, then
        self.done = False

    def step(self, name: str, total: int | None) -> None:
        if name == self._step and not self.done:
            self.done = True
            self._then()


@pytest.mark.parametrize("step", ["read", "plan", "write"])
def test_a_database_that_another_process_makes_meanwhile_is_compared_with(warehouse: Warehouse, step: str) -> None:
    """Also between the comparison, when it did not exist, and the write."""
    source = write_csv(warehouse.folder / "both.csv", [ANN, BOB])

    def meanwhile() -> None:
        warehouse.load([ANN], state_dir=warehouse.folder / "other")

    observer = AtStep(step, meanwhile)
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    report = flow.run(load(given, {}), observer)

    assert observer.done
    assert fates(report) == {"created": 1, "unchanged": 1}
    assert warehouse.column("name") == ["Ann", "Bob"]


def test_a_database_that_is_read_is_waited_for(warehouse: Warehouse) -> None:
    warehouse.load([ANN])
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(warehouse.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"open\n"
        given = {
            "source": warehouse.address(),
            "destination": str(warehouse.folder / "out.csv"),
            "state_dir": warehouse.folder / "state",
        }
        with pytest.raises(Busy, match=rf"locked by process {holder.pid} .* within 0.2 s.*--lock-timeout"):
            flow.run(load({**given, "lock_timeout": "200ms"}, {}))
        heard = Heard(holder.kill)
        assert fates(flow.run(load(given, {}), heard)) == {"created": 1}
    assert heard.notes[0].startswith(f"{warehouse.file}: is locked by process {holder.pid} (python")
    assert heard.notes[0].endswith("; waiting for it to end")


def test_a_new_database_beside_the_log_of_one_that_is_gone_is_empty(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE old (a INTEGER)")
    (warehouse.folder / "w.duckdb.wal").write_bytes(b"left over")
    warehouse.file.unlink()

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert warehouse.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'old'") == []


# Spellings --------------------------------------------------------------------------------------------------------

SAME = (
    (
        "duckdb:///w.duckdb",
        "duckdb:///{here}/w.duckdb?table=customers",
        "DUCKDB:///./link/w.duckdb?table=Main.CUSTOMERS",
    ),
    ("out.csv", "{here}/out.csv", "link/out.csv", "./link/link/out.csv"),
    ("out.parquet", "./out.parquet"),
    (
        "postgresql://me@db/sales",
        "postgres://me:secret@DB:5432/sales?table=customers",
        "postgresql://you@db/sales?table=public.customers&sslmode=require",
        "postgresql:///?host=db&dbname=sales",
        "postgresql://db./sales",
    ),
    ("postgresql://me@/me", "postgresql://localhost/me", "postgresql://me@127.0.0.1", "postgresql://[::1]:5432/me"),
    ("metronome://", "METRONOME://api.metronome.com", "metronome://api.metronome.com.", "metronome://?page_size=50"),
    ("marginfront://127.0.0.1:8701", "marginfront://localhost:8701?page_size=10"),
    ("growpanel://127.0.0.1:8704?source=a",),
    ("growpanel://127.0.0.1:8704?source=b",),
    ("growpanel://127.0.0.1:8705?source=b",),
    ("blackwalnut://host.example/a",),
    ("blackwalnut://host.example/b", "blackwalnut://HOST.example:443/b"),
    ("postgresql://me@db/sales?table=billing.customers",),
    ("postgresql://me@db:5433/sales",),
    ("duckdb:///w.duckdb?table=other",),
    ("duckdb:///v.duckdb",),
)


def test_all_spellings_of_a_destination_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "link").symlink_to(tmp_path)
    found = [{lookup.identity(spec.format(here=tmp_path)) for spec in specs} for specs in SAME]

    assert [len(one) for one in found] == [1] * len(SAME), found
    assert len(set.union(*found)) == len(SAME)


# Without locks ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not without_locks.KNOWN, reason="calls are refused by a filter of Linux")
@pytest.mark.parametrize("error", [0, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_files_cannot_be_locked_a_run_is_refused_and_can_be_insisted_on(tmp_path: Path, error: int) -> None:
    source = write_csv(tmp_path / "in.csv", [ANN])
    command = [sys.executable, without_locks.__file__, str(error), "run", str(source), "out.csv"]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    for options in ((), ("--dry-run",)):
        said = run(*options)
        assert said.returncode == 2, said.stderr
        assert "files cannot be locked here (" in said.stderr
        assert "--no-locks" in said.stderr
        assert said.stderr.count("\n") == 1
        assert not (tmp_path / "out.csv").exists()
    assert run("--no-locks").returncode == 0
    assert (tmp_path / "out.csv").exists()


def test_a_system_without_such_locks_is_answered_in_the_same_words(tmp_path: Path) -> None:
    def missing(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    with pytest.raises(ConfigError, match=r"cannot be locked here \(not supported\).*--no-locks"):
        Lock(tmp_path / "lock", missing).take()


# The continued run -------------------------------------------------------------------------------------


def test_a_plan_that_is_being_carried_out_is_not_carried_out_again(warehouse: Warehouse) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    plan = warehouse.folder / "plan"
    flow.plan(load(given, {}), plan)
    copied = warehouse.folder / "copied"
    shutil.copytree(plan, copied)

    with held_by_another(plan / "lock") as pid:
        for again in (flow.apply, lambda folder: flow.verify_run(warehouse.folder / "state", str(folder))):
            with pytest.raises(Busy, match=f"is in use by process {pid} on host"):
                again(plan)
    assert fates(flow.apply(plan)) == {"created": 1}
    with pytest.raises(ConfigError, match="has been applied"):
        flow.apply(plan)


def test_a_plan_that_another_process_has_carried_out_while_this_one_waited_is_busy(warehouse: Warehouse) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    plan = warehouse.folder / "plan"
    flow.plan(load(given, {}), plan)
    lock = Lock(lock_of(warehouse))
    assert lock.take()

    def meanwhile() -> None:
        flow.apply(plan, locks=False)
        lock.release()

    with pytest.raises(Busy, match=r"the plan has been applied.* completed it while this command was starting"):
        flow.apply(plan, Heard(meanwhile))
    assert warehouse.column("name") == ["Ann"]


def test_taking_its_lock_does_not_make_a_run_young(warehouse: Warehouse) -> None:
    """A read from a provider is continued automatically only within an hour."""
    directory = RunDirectory.at(Path(warehouse.load([ANN]).run_dir))
    long_ago = datetime.now(UTC).timestamp() - 7200
    for file in (directory.path, *directory.path.iterdir()):
        os.utime(file, (long_ago, long_ago))
    directory.own()

    assert not directory.was_alive_within(timedelta(hours=1))
    directory.let_go()


def test_two_plans_do_not_get_into_one_folder(warehouse: Warehouse) -> None:
    source = write_csv(warehouse.folder / "in.csv", [ANN])
    given = {"source": str(source), "destination": warehouse.address(), "state_dir": warehouse.folder / "state"}
    plan = warehouse.folder / "plan"
    plan.mkdir()
    with held_by_another(plan / "lock"), pytest.raises(ConfigError, match="exists already"):
        flow.plan(load(given, {}), plan)
