"""The encryption of the files of one run, interrupted at every step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage
import pytest

import tranship
from tranship.connectors import durable
from tranship.connectors.errors import Busy, ConfigError
from tranship.pipelines.cli import main as cli
from tranship.pipelines.encryption import run_files, session
from tranship.pipelines.encryption.marks import LOCK, State, state_of
from tranship.pipelines.locks import lock_at
from tranship.pipelines.retention import artefacts
from tranship.pipelines.run_directory import RunDirectory

KEY = pyrage.x25519.Identity.generate()
TABLE = "duckdb:///warehouse.duckdb?table=customers"


class KilledError(BaseException):
    """In place of a kill."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run that is not encrypted yet."""
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("external_id,email,name\n1,ada@acme.example,Ada\n2,broken@,Bo\n")
    made = RunDirectory.at(Path(tranship.run("in.csv", TABLE).run_dir))
    made.manifest["settings"] |= {"encrypt_to": [str(KEY.to_public())], "report_samples": "off"}
    made.save()
    return made


def records(run: RunDirectory) -> dict[str, bytes]:
    """Return the files with records that are plain."""
    files = {path.relative_to(run.path).as_posix(): path for path in run.path.rglob("*") if path.is_file()}
    kinds = {name: artefacts.of_run(name) for name in files}
    plain = [name for name, kind in kinds.items() if kind and kind.keeps == "records" and not name.endswith(".age")]
    return {name: files[name].read_bytes() for name in plain if not name.endswith(".partial")}


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let everything fail that changes a name in a folder, from this step on: a dead process does nothing."""
    done = 0

    def guarded(change: str) -> None:
        real = getattr(os, change)

        def do(*arguments: object, **options: object) -> object:
            nonlocal done
            if done >= step:
                raise KilledError
            done += 1
            return real(*arguments, **options)

        patch.setattr(os, change, do)

    with monkeypatch.context() as patch:
        for change in ("replace", "unlink"):
            guarded(change)
        yield done


@pytest.mark.parametrize("opens", [False, True], ids=["closing", "opening"])
def test_a_kill_at_any_step_loses_nothing_and_is_completed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    whole = records(run)
    assert len(whole) > 5
    if opens:
        run_files.close(run)
    shutil.copytree(run.path, "before")
    steps = 0
    while True:
        shutil.rmtree(run.path)
        shutil.copytree("before", run.path)
        (here,) = [RunDirectory.at(run.path)]
        guard = killed_at(steps, monkeypatch)
        next(guard)
        try:
            if opens:
                run_files.open_again(here, [KEY], Path("key.txt"))
            else:
                run_files.close(here)
            finished = True
        except KilledError:
            finished = False
        finally:
            for _ in guard:
                pass
        left = RunDirectory.at(run.path)
        for name in whole:
            assert (run.path / name).exists() or (run.path / f"{name}.age").exists(), (steps, name)
        # A command for people, without the key, completes the encryption; one with it then has every record.
        run_files.close(left)
        assert state_of(left) is State.CLOSED
        assert records(left) == {}, steps
        run_files.open_again(left, [KEY], Path("key.txt"))
        assert records(left) == whole, steps
        if finished:
            break
        steps += 1
    assert steps > 2 * len(whole)


def test_another_name_of_a_file_keeps_its_contents(run: RunDirectory) -> None:
    (file,) = (run.path / "stage").glob("*.parquet")
    os.link(file, "shared.parquet")
    before = Path("shared.parquet").read_bytes()
    run_files.close(run)
    run_files.open_again(run, [KEY], Path("key.txt"))
    assert Path("shared.parquet").read_bytes() == file.read_bytes() == before
    assert not file.samefile("shared.parquet")


def test_a_file_that_a_command_removed_does_not_come_back(run: RunDirectory) -> None:
    run_files.close(run)
    old = (run.path / "rejects.parquet.age").read_bytes()
    run_files.open_again(run, [KEY], Path("key.txt"))
    (run.path / "rejects.parquet").unlink()
    (run.path / "rejects.parquet.age").write_bytes(old)  # as if killed before it was removed
    run_files.close(run)
    run_files.open_again(run, [KEY], Path("key.txt"))
    assert not (run.path / "rejects.parquet").exists()


def test_a_file_that_someone_else_put_there_is_not_removed(run: RunDirectory) -> None:
    run_files.close(run)
    (run.path / "notes.txt").write_text("called Bo")
    Path("key.txt").write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(ConfigError, match="has no key to which"):
        tranship.undo(identity="key.txt")
    assert (run.path / "notes.txt").read_text() == "called Bo"
    assert records(run) == {}


def test_a_run_that_another_command_has_open_is_left_alone(run: RunDirectory) -> None:
    run_files.close(run)
    Path("key.txt").write_text(str(KEY))
    lock = lock_at(run.path / LOCK)
    assert lock.take()
    with pytest.raises(Busy, match="another command reads its encrypted files"):
        tranship.undo(identity="key.txt")
    lock.release()
    assert tranship.undo(identity="key.txt").counts.deleted == 1


def test_the_list_of_runs_says_whose_encryption_was_stopped(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"{run.run_id}: its files with records are readable, because it was stopped before they were encrypted."
    run.own()  # as one that is at work
    assert tranship.runs().readable == ()
    run.let_go()
    assert tranship.runs().readable == (run.run_id,)
    assert cli.main(["runs"]) == 0
    assert f"encrypts them, or: tranship report {run.run_id}\n" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "sync_folder", lambda folder: (folder / "gone").stat())
        assert cli.main(["report"]) == 2
    assert "done, with rejects" in capsys.readouterr().out
    assert records(run)
    assert cli.main(["report"]) == 0
    assert "rejects.csv.age" in capsys.readouterr().out
    assert records(run) == {}
    assert cli.main(["runs"]) == 0
    assert said not in capsys.readouterr().err


class Full:
    """A file on a disk that is full from a number of bytes on."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def write(self, some: bytes) -> int:
        self._left -= len(some)
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(some))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def full_after(most: int) -> Iterator[None]:
    opened = Path.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Path, "open", lambda path, mode="r": Full(opened(path, mode), most) if mode == "wb" else opened(path, mode)
        )
        yield


@pytest.mark.parametrize("most", [0, 60_000, 70_000, 90_000])
def test_a_full_disk_at_any_write_of_an_encryption_leaves_the_file(most: int, tmp_path: Path) -> None:
    """The library wraps the failure in an error of its own, and swallows that of the last write."""
    file = tmp_path / "rejects.csv"
    file.write_bytes(b"x" * 90_000)
    with full_after(most), pytest.raises(tranship.LocalFailure, match=r"rejects\.csv\.age: .+ \(No space left on dev"):
        run_files._encrypt(file, [KEY.to_public()])
    assert [path.name for path in tmp_path.iterdir()] == ["rejects.csv"]
    run_files._encrypt(file, [KEY.to_public()])
    assert [path.name for path in tmp_path.iterdir()] == ["rejects.csv.age"]
    assert pyrage.decrypt((tmp_path / "rejects.csv.age").read_bytes(), [KEY]) == b"x" * 90_000


def test_a_full_disk_is_named_by_a_decryption(run: RunDirectory, tmp_path: Path) -> None:
    plain = records(run)
    run_files.close(run)
    for name in plain:
        with full_after(0), pytest.raises(OSError, match="No space left on device"):
            run_files._decrypt(run.path / name, [KEY], Path("key.txt"))
    assert records(run) == {}
    run_files.open_again(run, [KEY], Path("key.txt"))
    assert records(run) == plain


def test_a_failure_to_encrypt_is_said_and_the_next_run_completes_it(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(KEY.to_public())
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_folder", lambda folder: (folder / "gone").stat())
        with pytest.raises(tranship.LocalFailure, match="could not be encrypted, and are readable: "):
            session.encrypted_after(lambda: None, session.Settings(source="in.csv", destination=TABLE, encrypt_to=key))
    assert records(run)
    tranship.run("in.csv", TABLE, encrypt_to=key)
    assert records(run) == {}
