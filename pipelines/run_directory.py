"""The run directory and what lies in it.

`<state dir>/runs/<run id>/`, mode 0700, files 0600:

parts.json         what became of each part of the source, its digest, and the seals of the files that were made of it:
                   a later run need not read it again
manifest.json      settings without secrets, source fingerprints, state of each step, and the seals of what it left
lock               held by the process that works on the run (`pipelines/locks.py`)
pages/             what a provider has answered, as it came: a read that died goes on from there
stage/*.parquet    the canonical records, a file a batch: `_row` u64, `_source`, `_line` u64, `_email_blocked` bool, and
                   the columns of `schemas.customer.COLUMNS`
raw/*.parquet      records known by e-mail alone, as the source spelled them: they may yet fail
rejected/*.parquet, warned/*.parquet   rejects and warnings, a file a batch, until they are put together
present/*.parquet  the keys of records that were read and are not staged (`PRESENT`): mirror must not delete them
identity/          dropped.parquet (rows that are no survivors), patched.parquet (survivors that took something over),
                   retracted-*.parquet (places of records whose warnings were taken back)
agreed.parquet     in the folder of a plan: plan.parquet as it was made
rejects.csv, rejects.parquet, warnings.parquet, merges.parquet, plan.parquet, report.json, report.html
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tranship.connectors import durable
from tranship.connectors.errors import Busy, ConfigError, Damaged, TranshipError
from tranship.pipelines import parts
from tranship.pipelines.locks import GLANCE, Lock
from tranship.pipelines.manifest import Manifest
from tranship.pipelines.stage_files import PART_FOLDERS

STAGE_STEP, IDENTIFY_STEP, PLAN_STEP, APPLY_STEP = "stage", "identify", "plan", "apply"
PAGES = "pages"
LOCK = "lock"
_FOLDERS = (*PART_FOLDERS, "identity")
_LATER_FOLDERS = (PAGES, "requests", "destination", "again", "verify", "spill")
_ENDINGS = (".parquet", ".csv", ".json", ".html", ".duckdb", ".sqlite", ".sqlite-shm", ".sqlite-wal")


class RunDirectory:
    """One run's directory; the manifest is written whole at each change and renamed into place."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.has_lock = bool(manifest["settings"].get("locks", True))
        """Whether a lock says which process works on it."""
        self._lock = Lock(path / LOCK)

    @classmethod
    def create(cls, state_dir: Path, facts: Mapping[str, Any], now: datetime, out: Path | None = None) -> RunDirectory:
        """A new run with an id that sorts by time, in the state directory or in the folder `out`, which must be empty.
        This process holds it, until `let_go`.

        Raises ConfigError where the directory cannot be made.
        """
        run_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        path = out or state_dir / "runs" / run_id
        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"--out {out}: is there already. Name a new folder, or remove it.")
        try:
            parents = () if out else (state_dir, state_dir / "runs")
            for folder in (*parents, path, *(path / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{out or state_dir}: no run directory can be made here ({error.strerror}). "
                f"Use {'another --out' if out else '--state-dir'}."
            ) from error
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        run = cls(
            path,
            {
                "run_id": run_id,
                "is_plan": out is not None,
                "started_at": now.isoformat(),
                "status": "running",
                **owner,
                "steps": {},
                **facts,
            },
        )
        run.own()
        if out is not None and {file.name for file in out.iterdir()} - {*_FOLDERS, LOCK}:
            run.let_go()
            raise ConfigError(f"--out {out}: another process has made a plan there meanwhile. Name a new folder.")
        run.save()
        return run

    @classmethod
    def open(cls, state_dir: Path, run_id: str) -> RunDirectory:
        """An earlier run, by its id or `last`. Raises ConfigError if there is none."""
        if run_id == "last":
            good, bad = _all(state_dir)
            newest = max((run.path.name for run in good), default="")
            # Run ids sort by time. To take the run before it for the last one would be worse than to stop.
            if unusable := [error for name, error in bad.items() if name > newest]:
                raise Damaged(f"{unusable[-1]} It belongs to the last run. Name another one: tranship runs")
            if not good:
                raise ConfigError(f"{state_dir}: there is no run here yet. Is this the right --state-dir?")
            return good[0]
        try:
            return cls.at(state_dir / "runs" / run_id)
        except Damaged:
            raise
        except ConfigError as error:
            raise ConfigError(
                f"{run_id}: there is no such run in {state_dir}. List them with: tranship runs"
            ) from error

    @classmethod
    def at(cls, path: Path) -> RunDirectory:
        """The run, or plan, in this folder. Raises ConfigError if there is none, and Damaged."""
        file = path / "manifest.json"
        try:
            manifest = durable.read_json(file)
            msgspec.convert(manifest, Manifest)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: there is no plan in this folder. Make one with: tranship plan") from error
        except msgspec.ValidationError as error:
            raise durable.damaged(file) from error
        run = cls(path, manifest)
        if not run.stands_alone and run.run_id != path.name:
            raise Damaged(f"{file}: belongs to another run ({run.run_id}).")
        return run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.manifest["run_id"])

    @property
    def stands_alone(self) -> bool:
        """Whether it is a plan in a folder of its own."""
        return bool(self.manifest.get("is_plan", self.path.parent.name != "runs"))

    @property
    def go_on(self) -> str:
        """The command that continues the run, or carries out the plan."""
        return self.command("apply" if self.stands_alone else "resume")

    def command(self, verb: str) -> str:
        """A command about this run, as one types it."""
        if self.stands_alone:
            return shlex.join(["tranship", verb, str(self.path)])
        state_dir = self.path.parent.parent
        elsewhere = [] if state_dir == Path(".tranship") else ["--state-dir", str(state_dir)]
        return shlex.join(["tranship", verb, self.run_id, *elsewhere])

    def done(self, step: str) -> dict[str, Any] | None:
        """What a finished step left behind, null if it is not finished."""
        facts = self.manifest["steps"].get(step)
        return dict(facts) if facts is not None else None

    def finish(self, step: str, facts: Mapping[str, Any], files: Iterable[str] = ()) -> None:
        """A step is finished; it will not be done again. `files` are those that it has left, as far as they exist."""
        self.manifest["steps"][step] = {**facts, "seals": durable.seals(self.path, files)}
        self.save()

    def save(self) -> None:
        """Write the manifest, synced."""
        durable.write_json(self.path / "manifest.json", self.manifest, indent=1)

    def check(self) -> None:
        """Raises Damaged if something that the run would be continued with is not what it has written."""
        if self.done(STAGE_STEP) is not None:
            staged = parts.read(self.path, self.run_id)
            durable.check(self.path, staged.seals())
            if {f"stage/{file.name}" for file in (self.path / "stage").glob("*.parquet")} - staged.seals().keys():
                raise Damaged(f"{self.path / 'stage'}: holds a file that this run has not made.")
        if (identified := self.done(IDENTIFY_STEP)) is not None:
            durable.check(self.path, identified.get("seals", {}))
        # The other files of a plan are made again, or looked at by the destination.
        planned = (self.done(PLAN_STEP) or {}).get("seals", {})
        durable.check(self.path, {name: planned[name] for name in ("agreed.parquet", "plan.json") if name in planned})

    def check_plan(self) -> None:
        """Raises Damaged if what the last plan left is not what was written."""
        durable.check(self.path, (self.done(PLAN_STEP) or {}).get("seals", {}))

    def check_results(self) -> None:
        """Raises ConfigError if the results of a write are not what was written, or were not written to the end."""
        results = self.manifest.get("results")
        if results is None and self.has_begun_to_write and self.done(APPLY_STEP) is None:
            raise ConfigError(f"{self.run_id}: was stopped before its results were written. Continue it: {self.go_on}")
        durable.check(self.path, {name: seal for name, seal in (results or {}).items() if name.startswith("again/")})

    @property
    def has_begun_to_write(self) -> bool:
        """Whether something may have been written to the destination."""
        return bool(self.manifest.get("write_began", False))

    def begin_to_write(self) -> None:
        """From now on something may be written to the destination; on disk when this returns."""
        self.manifest["write_began"] = True
        self.save()

    def keep_seals_of(self, files: Iterable[Path]) -> None:
        """Results of a write, which a later run may read."""
        names = [str(file.relative_to(self.path)) for file in files if file.is_relative_to(self.path)]
        self.manifest["results"] = durable.seals(self.path, names)
        self.save()

    def tidy(self) -> None:
        """Put aside folders that have the names of files, and files that have the names of folders."""
        for path in sorted(self.path.glob("*")) + sorted(self.path.glob("*/*")):
            is_folder = path.is_dir()
            known = path.parent == self.path and path.name in (*_FOLDERS, *_LATER_FOLDERS)
            if (is_folder and path.suffix in _ENDINGS) or (known and not is_folder):
                durable.put_aside(path)
        for folder in _FOLDERS:
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)

    def secure(self) -> None:
        """Only the owner reads what libraries have written."""
        for file in self.path.rglob("*"):
            if file.is_file():
                file.chmod(0o600)

    def report(self) -> dict[str, Any] | None:
        """What `report.json` says, null if there is none yet. Raises Damaged."""
        file = self.path / "report.json"
        try:
            values = durable.read_json(file)
        except FileNotFoundError as error:
            if self.manifest["status"] in ("done", "done_with_rejects"):
                raise durable.damaged(file) from error
            return None
        if values.get("run_id") != self.run_id:
            raise Damaged(f"{file}: belongs to another run.")
        return values

    def own(self) -> None:
        """From now on no other process works on this run, until `let_go`; what is known of it is read again.

        Raises Busy that names the holder, ConfigError where files cannot be locked.
        """
        self.must_be_free()
        if self.has_lock and not self._lock.take(GLANCE):
            raise self._busy()
        if (self.path / "manifest.json").exists():
            self.manifest = RunDirectory.at(self.path).manifest

    def let_go(self) -> None:
        """Others may work on it."""
        self._lock.release()

    def must_be_free(self) -> None:
        """Raises Busy that names the holder if another process works on this run."""
        if self.has_lock and self._lock.holder() is not None:
            raise self._busy()

    def _busy(self) -> Busy:
        return Busy(
            f"{self.run_id}: is worked on by {self._lock.last_holder()}. Wait for it to end or stop it; nothing was "
            "done here."
        )

    @property
    def last_holder(self) -> str:
        """The process that works on it or was the last to do so, for people."""
        return str(self._lock.last_holder())

    def take_over(self) -> None:
        """This process, which owns it, continues the run."""
        self.tidy()
        self.manifest |= {"pid": os.getpid(), "host": socket.gethostname(), "status": "running"}
        self.save()

    def is_abandoned(self) -> bool:
        """Whether it is not finished and no process works on it. Where nobody can know that, it is not."""
        if self.manifest["status"] != "running" or not self.has_lock:
            return False
        try:
            return self._lock.holder() is None
        except ConfigError:
            return False

    def remove(self) -> bool:
        """Delete it, unless a process works on it; whether that was done."""
        try:
            self.own()
        except TranshipError:
            return False
        try:
            shutil.rmtree(self.path)
        finally:
            self.let_go()
        return True

    def keeps_pages(self) -> bool:
        """Whether something of a provider's answers lies here."""
        return any(file.stat().st_size for file in (self.path / PAGES).rglob("data"))

    def was_alive_within(self, span: timedelta) -> bool:
        """Whether something was written here lately; that its lock was taken is nothing."""
        newest = max(path.stat().st_mtime for path in self.path.iterdir() if path.name != LOCK)
        return datetime.now(UTC) - datetime.fromtimestamp(newest, UTC) < span

    def begin_stage_again(self) -> None:
        """This process continues the run before its stage was complete: what was staged is staged anew, since parts may
        be cut elsewhere than before.
        """
        for folder in PART_FOLDERS:
            shutil.rmtree(self.path / folder, ignore_errors=True)
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        self.take_over()


def all_runs(state_dir: Path) -> list[RunDirectory]:
    """Every run in a state directory that is whole, newest first."""
    return _all(state_dir)[0]


def damaged_runs(state_dir: Path) -> dict[str, str]:
    """The other ones: name of the directory → what is wrong with it."""
    return {name: str(error) for name, error in _all(state_dir)[1].items()}


def _all(state_dir: Path) -> tuple[list[RunDirectory], dict[str, ConfigError]]:
    good: list[RunDirectory] = []
    bad: dict[str, ConfigError] = {}
    runs = state_dir / "runs"
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        if path.is_dir():
            try:
                good.append(RunDirectory.at(path))
            except Damaged as error:
                bad[path.name] = error
            except ConfigError:
                bad[path.name] = durable.damaged(path / "manifest.json")
    return sorted(good, key=lambda run: (run.manifest["started_at"], run.run_id), reverse=True), bad
