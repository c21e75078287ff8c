"""The run directory: its files, manifest and lock.

`<state dir>/runs/<run id>/`, mode 0700, files 0600:

parts.json         the counts, digest and seals of each part of the source: a later run need not read it again
manifest.json      settings without secrets, source fingerprints, and the result of each step with seals of its files
lock               held by the process that works on the run (`pipelines/locks.py`)
pages/             the responses of a provider as received: an interrupted read is continued from there
stage/*.parquet    the canonical records, one file per batch: `_row` u64, `_source`, `_line` u64, `_email_blocked` bool,
                   and the columns of `schemas.customer.COLUMNS`
raw/*.parquet      records that have an e-mail only, in the source's spelling: they may still be rejected
rejected/*.parquet, warned/*.parquet   rejects and warnings, one file per batch, before they are collected
present/*.parquet  the keys of records that were read and are not staged (`PRESENT`): mirror must not delete them
late/*.parquet     the records that a delta would have left out, with their cursor, of a run that reads everything
sample/*.parquet   the first records of the first parts, in the source's spelling, for the report
identity/          dropped.parquet (rows that are not survivors), patched.parquet (survivors that took over values),
                   retracted-*.parquet (places of records whose warnings were retracted)
spill/             temporary files of identity and of DuckDB, removed at the end of the step
agreed.parquet, agreed_deletes.parquet   in the folder of a plan: plan.parquet and gone.parquet as first made
to_fix.parquet     the rejects and refusals with a number each, once `tranship fix` has been used (`fixing/rejects.py`)
fixed.parquet      the corrected rejects of another run that this one has loaded (`fixing/fates.py`)
rejects.csv, rejects.parquet, warnings.parquet, merges.parquet, plan.parquet, report.json, report.html
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec

from tranship.connectors import durable, key_shapes, mirrored
from tranship.connectors.errors import Busy, ConfigError, ConnectorError, Damaged, Interrupted, LocalFailure
from tranship.pipelines import parts
from tranship.pipelines.command_lines import about_runs
from tranship.pipelines.locks import GLANCE, lock_at
from tranship.pipelines.manifest import Manifest
from tranship.pipelines.stage_files import PART_FOLDERS

_PERHAPS: Final = "The destination may have been written to; that is found out when the run is continued."
_UNCHANGED: Final = "The destination is unchanged."
STAGE_STEP, IDENTIFY_STEP, PLAN_STEP, APPLY_STEP = "stage", "identify", "plan", "apply"
PAGES = "pages"
LOCK = "lock"
_FOLDERS = (*PART_FOLDERS, "identity")
_LATER_FOLDERS = (PAGES, "requests", "destination", "again", "verify", "spill")
_TIME = "%Y%m%dT%H%M%S"
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
FORMAT = 1
"""Of run directories. It is raised when an earlier version of Tranship must not continue a run of this one."""
_ENDINGS = (".parquet", ".csv", ".json", ".html", ".duckdb", ".sqlite", ".sqlite-shm", ".sqlite-wal")


class RunDirectory:
    """The directory of one run. The manifest is replaced atomically at each change."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.has_lock = bool(manifest["settings"].get("locks", True))
        """Whether a lock marks the process that works on it."""
        self._lock = lock_at(path / LOCK)

    @classmethod
    def new(cls, state_dir: Path, facts: Mapping[str, Any], now: datetime, out: Path | None = None) -> RunDirectory:
        """Return a run with an id that sorts by time, in the state directory or in the folder `out`. It is on disk
        after `create`. `now` is not before the second of another run (`start_after`).
        """
        run_id = f"{now.astimezone(UTC):{_TIME}}-{secrets.token_hex(3)}"
        return cls(
            out or state_dir / "runs" / run_id,
            {
                "format": FORMAT,
                "run_id": run_id,
                "is_plan": out is not None,
                "started_at": now.isoformat(),
                "status": "running",
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "steps": {},
                **facts,
            },
        )

    def create(self) -> None:
        """Create the directory of a new run; that of a plan must be empty. This process owns it until `let_go`.

        Raises ConfigError if the directory cannot be created.
        """
        path, is_plan = self.path, self.stands_alone
        if is_plan and _is_broken_off_plan(path):
            shutil.rmtree(path)
        if is_plan and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"--out {path}: exists already. Name a new folder, or remove it.")
        state_dir = path.parent.parent
        try:
            parents = () if is_plan else (state_dir, state_dir / "runs")
            for folder in (*parents, path, *(path / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An existing folder of a plan, or a state directory that another program made, may be open to others.
            path.chmod(0o700)
            if not is_plan:
                _keep_out_of_git(state_dir)
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            instead = "another --out" if is_plan else "--state-dir"
            raise LocalFailure(
                f"{path if is_plan else state_dir}: cannot create a run directory here ({error.strerror}). "
                f"Free some space there, check the access rights, or use {instead}."
            ) from error
        try:
            self.own()
            self._must_be_new()
            self.save()
        except (OSError, LocalFailure, ConnectorError):
            # Without a manifest it would count as damaged.
            shutil.rmtree(path, ignore_errors=True)
            raise

    def _must_be_new(self) -> None:
        if self.stands_alone and {file.name for file in self.path.iterdir()} - {*_FOLDERS, LOCK}:
            self.let_go()
            raise ConfigError(f"--out {self.path}: another process has created a plan there. Name a new folder.")

    @classmethod
    def open(cls, state_dir: Path, run_id: str) -> RunDirectory:
        """Return an earlier run by its id or `last`. Raises ConfigError if there is none."""
        key_shapes.refuse(run_id, "id of a run")
        if not run_id:
            raise ConfigError(f"the id of the run is empty. Give one of {state_dir}, or last. List them: tranship runs")
        if run_id == "last":
            good, bad = _all(state_dir)
            newest = max((run.path.name for run in good), default="")
            # Run ids sort by time. Stop, rather than take the run before it for the last one.
            if unusable := [error for name, error in bad.items() if name > newest]:
                raise Damaged(f"{unusable[-1]} {_choose(state_dir)}")
            if not good:
                raise ConfigError(f"{state_dir}: contains no run. Check --state-dir.")
            return good[0]
        try:
            return cls.at(state_dir / "runs" / run_id)
        except Damaged as error:
            raise Damaged(f"{error} {_choose(state_dir)}") from error
        except ConfigError as error:
            if (state_dir / "runs" / run_id).is_dir():
                gone = durable.damaged(state_dir / "runs" / run_id / "manifest.json")
                raise Damaged(f"{gone} {_choose(state_dir)}") from error
            raise ConfigError(
                f"{run_id}: there is no such run in {state_dir}. List the runs: {about_runs(state_dir, 'runs')}"
            ) from error

    @classmethod
    def at(cls, path: Path) -> RunDirectory:
        """Return the run, or plan, in this folder. Raises ConfigError if there is none, or Damaged."""
        key_shapes.refuse(str(path), "folder")
        file = path / "manifest.json"
        if path.is_file():
            raise ConfigError(f"{path}: is a file. Name the folder of a plan; tranship plan creates one.")
        try:
            manifest = durable.read_json(file)
            _must_not_be_newer(file, manifest)
            msgspec.convert(manifest, Manifest)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: there is no plan in this folder. Create one: tranship plan") from error
        except msgspec.ValidationError as error:
            raise durable.damaged(file) from error
        run = cls(path, manifest)
        if not run.stands_alone and run.run_id != path.name:
            raise Damaged(f"{file}: belongs to another run ({run.run_id}).")
        return run

    @property
    def _has_manifest(self) -> bool:
        return (self.path / "manifest.json").exists()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.manifest["run_id"])

    @property
    def stands_alone(self) -> bool:
        """Whether this is a plan in its own folder."""
        return bool(self.manifest.get("is_plan", self.path.parent.name != "runs"))

    @property
    def go_on(self) -> str:
        """The command that continues the run or applies the plan; if the run is finished, that for its report."""
        if self._is_unfinished_plan or self._is_unbegun_correction:
            return "the same command"
        if self.has_ended_well and not self.stands_alone:
            return self.command("report")
        if again := self.manifest.get("fixes", {}).get("again"):
            # It has more to do than the run.
            key = ["--identity", "FILE"] if self.manifest["settings"].get("encrypt_to") else []
            return about_runs(self.path.parent.parent, *again, *key)
        return self.command("apply" if self.stands_alone else "resume")

    @property
    def has_ended_well(self) -> bool:
        """Whether the last command that worked on it ended normally."""
        return self.manifest["status"] in ("done", "done_with_rejects")

    @property
    def _is_unfinished_plan(self) -> bool:
        """Whether this is a plan that broke off before anything was written: it may be made again."""
        broke_off = self.manifest["status"] in ("running", "failed", "interrupted")
        return self.stands_alone and broke_off and not self.has_begun_to_write

    @property
    def _is_unbegun_correction(self) -> bool:
        """Whether this is an undo or a fix that broke off before its records were kept, which resume needs."""
        return not self.has_ended_well and bool({"undoes", "fixes"} & self.manifest.keys()) and not self.done("stage")

    def command(self, verb: str) -> str:
        """Return a command about this run, as typed in a shell."""
        key = ["--identity", "FILE"] if self.manifest["settings"].get("encrypt_to") and verb != "report" else []
        if self.stands_alone:
            return shlex.join(["tranship", verb, str(self.path), *key])
        return about_runs(self.path.parent.parent, verb, self.run_id, *key)

    def done(self, step: str) -> dict[str, Any] | None:
        """Return the result of a finished step, null if it is not finished."""
        facts = self.manifest["steps"].get(step)
        return dict(facts) if facts is not None else None

    def finish(self, step: str, facts: Mapping[str, Any], files: Iterable[str] = ()) -> None:
        """Mark a step as finished, so that it is not repeated. `files` are those that it writes, if they exist."""
        self.manifest["steps"][step] = {**facts, "seals": durable.seals(self.path, files)}
        self.save()

    def save(self) -> None:
        """Write the manifest, synced. Raises ConnectorError if the run is kept elsewhere, and cannot be there."""
        try:
            durable.write_json(self.path / "manifest.json", self.manifest)
        except ConnectorError as error:
            if self.done(APPLY_STEP) is not None:
                holds = "The write to the destination is complete; that is found out when the run is continued."
            elif self.has_begun_to_write:
                holds = _PERHAPS
            else:
                holds = _UNCHANGED
            error.args = (f"{error} {holds}",)
            raise

    def keep(self) -> None:
        """Keep the files that were written since the manifest, where the run is kept elsewhere."""
        mirrored.save(self.path / "manifest.json")

    def check(self) -> None:
        """Raises Damaged if a file needed to continue the run was changed since it was written."""
        if self.done(STAGE_STEP) is not None:
            staged = parts.read(self.path, self.run_id)
            durable.check(self.path, staged.seals())
            if {f"stage/{file.name}" for file in (self.path / "stage").glob("*.parquet")} - staged.seals().keys():
                raise Damaged(f"{self.path / 'stage'}: contains a file that this run did not write.")
        if (identified := self.done(IDENTIFY_STEP)) is not None:
            durable.check(self.path, identified.get("seals", {}))
        # The other files of a plan are written again, or checked by the destination.
        planned = (self.done(PLAN_STEP) or {}).get("seals", {})
        durable.check(
            self.path,
            {
                name: planned[name]
                for name in ("agreed.parquet", "agreed_deletes.parquet", "plan.json")
                if name in planned
            },
        )

    def check_plan(self) -> None:
        """Raises Damaged if a file of the last plan was changed since it was written."""
        durable.check(self.path, (self.done(PLAN_STEP) or {}).get("seals", {}))

    def check_results(self) -> None:
        """Raises Damaged if the results of a write were changed, ConfigError if they are not complete."""
        results = self.manifest.get("results")
        if results is None and self.has_begun_to_write and self.done(APPLY_STEP) is None:
            raise ConfigError(f"{self.run_id}: stopped before its results were written. Continue it: {self.go_on}")
        durable.check(self.path, {name: seal for name, seal in (results or {}).items() if name.startswith("again/")})

    @property
    def has_begun_to_write(self) -> bool:
        """Whether something may have been written to the destination."""
        return bool(self.manifest.get("write_began", False))

    def begin_to_write(self) -> None:
        """Record, synced to disk, that the destination may be written to from now on."""
        began = self.has_begun_to_write
        self.manifest["write_began"] = True
        try:
            self.save()
        except ConnectorError as error:
            self.manifest["write_began"] = began
            if not began:
                error.args = (str(error).replace(_PERHAPS, _UNCHANGED),)
            raise

    def keep_seals_of(self, files: Iterable[Path]) -> None:
        """Seal the results of a write, which a later run may read."""
        names = [str(file.relative_to(self.path)) for file in files if file.is_relative_to(self.path)]
        self.manifest["results"] = durable.seals(self.path, names)
        self.save()

    def tidy(self) -> None:
        """Move aside folders that have the names of files, and files that have the names of folders."""
        for path in sorted(self.path.glob("*")) + sorted(self.path.glob("*/*")):
            is_folder = path.is_dir()
            known = path.parent == self.path and path.name in (*_FOLDERS, *_LATER_FOLDERS)
            if (is_folder and path.suffix in _ENDINGS) or (known and not is_folder):
                durable.move_aside(path)
        for folder in _FOLDERS:
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)

    def secure(self) -> None:
        """Make all files readable by the owner only, also those that libraries have written."""
        for file in self.path.rglob("*"):
            if file.is_file():
                file.chmod(0o600)

    def report(self) -> dict[str, Any] | None:
        """Return the contents of `report.json`, null if there is none yet. Raises Damaged."""
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
        """Lock the run for this process, until `let_go`, and read its manifest again.

        Raises Busy that names the holder, ConfigError where files cannot be locked.
        """
        self.must_be_free()
        if self.has_lock and not self._lock.take(GLANCE):
            raise self._busy()
        mirrored.bring(self.path)
        if self._has_manifest:
            self.manifest = RunDirectory.at(self.path).manifest

    def let_go(self) -> None:
        """Release the lock of the run."""
        self._lock.release()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """On Ctrl-C or SIGTERM in the block, report the command that continues the run, if the run is on disk, and
        release its lock at the end.

        Raises Interrupted.
        """
        try:
            yield
        except KeyboardInterrupt:
            if not self._has_manifest:
                raise
            raise self.interrupted() from None
        finally:
            self.let_go()

    def interrupted(self, *, has_journal: bool = False) -> Interrupted:
        """Mark the run as interrupted, and return the error that reports its progress and how to continue it. With
        `has_journal`, the destination keeps a journal of what was written.
        """
        unsaved = ""
        if self._lock.is_held or not self.has_lock:
            self.manifest["status"] = "interrupted"
            try:
                self.save()
            except OSError:  # an unfinished run can be continued, whatever its status
                pass
            except ConnectorError as error:
                unsaved = f" The end of this run was not kept: {error} The next one finds out what was done."
        if self.done(APPLY_STEP) is not None:
            state = "the write is complete, only its report is missing"
        elif has_journal:
            state = "completed writes are in the journal"
        elif self.has_begun_to_write:
            state = "the destination has either all of the write or none of it"
        else:
            state = "the destination is unchanged"
        return Interrupted(f"Stopped; {state}.{unsaved} Continue with: {self.go_on}")

    def must_be_free(self) -> None:
        """Raises Busy that names the holder if another process works on this run."""
        if self.has_lock and self._lock.holder() is not None:
            raise self._busy()

    def _busy(self) -> Busy:
        return Busy(
            f"{self.run_id}: is in use by {self._lock.last_holder()}. Wait for it to end or stop it. Nothing was done."
        )

    @property
    def last_holder(self) -> str:
        """The process that works on this run or was the last to do so, as text."""
        return str(self._lock.last_holder())

    def take_over(self) -> None:
        """Continue the run in this process, which owns it."""
        self.tidy()
        self.manifest |= {"pid": os.getpid(), "host": socket.gethostname(), "status": "running"}
        self.save()

    def is_abandoned(self) -> bool:
        """Return whether it is unfinished and no process works on it; false where that cannot be found out."""
        if self.manifest["status"] != "running" or not self.has_lock:
            return False
        try:
            return self._lock.holder() is None
        except ConfigError:
            return False

    def keeps_pages(self) -> bool:
        """Return whether it has pages of a provider."""
        return any(file.lstat().st_size for file in (self.path / PAGES).rglob("data"))

    def was_alive_within(self, span: timedelta) -> bool:
        """Return whether a file was written within this time; the lock file does not count."""
        newest = max(path.lstat().st_mtime for path in self.path.iterdir() if path.name != LOCK)
        return datetime.now(UTC).timestamp() - newest < span.total_seconds()

    def begin_stage_again(self) -> None:
        """Continue a run whose stage was not complete. All parts are staged again, since their boundaries may
        differ.
        """
        for folder in PART_FOLDERS:
            shutil.rmtree(self.path / folder, ignore_errors=True)
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        self.take_over()


def _choose(state_dir: Path) -> str:
    return f"Choose another run: {about_runs(state_dir, 'runs')}"


def start_after(state_dir: Path, now: datetime) -> datetime:
    """Return the start time of a new run: now, or right after the last run if the clock was set back since then,
    because runs are ordered by these times.
    """
    runs = state_dir / "runs"
    names = [path.name for path in runs.iterdir()] if runs.is_dir() else []
    newest = max((name[:15] for name in names if _RUN_ID.fullmatch(name)), default="")
    if newest <= f"{now.astimezone(UTC):{_TIME}}":
        return now
    with suppress(ValueError, OverflowError):  # no date
        return datetime.strptime(newest, _TIME).replace(tzinfo=UTC) + timedelta(seconds=1)
    return now


def _must_not_be_newer(file: Path, manifest: Mapping[str, Any]) -> None:
    number = manifest.get("format", FORMAT)
    if isinstance(number, int) and number > FORMAT:
        raise Damaged(f"{file}: was written by a newer version of Tranship. Use that version for this run.")


def _keep_out_of_git(state_dir: Path) -> None:
    """Write the file that keeps customers' records out of a repository."""
    with contextlib.suppress(FileExistsError):
        opened = os.open(state_dir / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as out:
            out.write("*\n")


def _is_broken_off_plan(path: Path) -> bool:
    """Return whether the folder has a plan that broke off, and no process works on it."""
    try:
        plan = RunDirectory.at(path)
        return plan._is_unfinished_plan and plan.has_lock and plan._lock.holder() is None
    except ConfigError:
        return False


def all_runs(state_dir: Path) -> list[RunDirectory]:
    """Return every intact run in a state directory, newest first."""
    return _all(state_dir)[0]


def newest_first(state_dir: Path) -> Iterator[RunDirectory]:
    """Yield every intact run in a state directory, newest first. Runs are read when they are asked for, those of one
    second together: their names begin with the second in which they were started.
    """
    runs = state_dir / "runs"
    names = sorted((path.name for path in runs.iterdir()), reverse=True) if runs.is_dir() else []
    for _, together in groupby(names, key=lambda name: name[:15]):
        found = []
        for name in together:
            with suppress(ConfigError):  # it is damaged, or no run
                found.append(RunDirectory.at(runs / name))
        yield from sorted(found, key=_by_start, reverse=True)


def damaged_runs(state_dir: Path) -> dict[str, str]:
    """Return the damaged ones: name of the directory → what is wrong with it."""
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
            except ConfigError:  # it has none
                if path.is_dir():  # another process has not removed it in the meantime
                    bad[path.name] = durable.damaged(path / "manifest.json")
    return sorted(good, key=_by_start, reverse=True), bad


def _by_start(run: RunDirectory) -> tuple[str, str]:
    return run.manifest["started_at"], run.run_id
