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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import polars as pl
import pyarrow.parquet as pq

from tranship.connectors import durable
from tranship.connectors.contract import Batch, Survivors
from tranship.connectors.errors import Busy, ConfigError, Damaged, TranshipError
from tranship.pipelines.locks import GLANCE, Lock
from tranship.pipelines.mapping import OURS
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas import cells
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import sentence

STAGE_STEP, IDENTIFY_STEP, PLAN_STEP, APPLY_STEP = "stage", "identify", "plan", "apply"
PAGES = "pages"
APPLIED = "applied"
"""The folder of a state directory with the crosswalks of plans that were carried out."""
LOCK = "lock"
_PART_BITS = 24
_PATCHED = 1 << 62
"""A survivor that took something over has its row number with this bit, the original is dropped."""
_VALUE_SHOWN = 80


class RunDirectory:
    """One run's directory; the manifest is written whole at each change and renamed into place."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.has_lock = bool(manifest["settings"].get("locks", True))
        """Whether a lock says which process works on it."""
        self._lock = Lock(path / LOCK)
        self._sealed = durable.Sealed()

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
            for folder in (*(() if out else (state_dir, state_dir / "runs")), path, *(path / at for at in _FOLDERS)):
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
            msgspec.convert(manifest, _Manifest)
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
            staged = self._parts()
            durable.check(self.path, staged.seals())
            if {f"stage/{file.name}" for file in self.staged_files()} - staged.seals().keys():
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
        durable.check(self.path, {name: one for name, one in (results or {}).items() if name.startswith("again/")})

    def _parts(self) -> _Parts:
        """What was read, part by part. Raises Damaged."""
        file = self.path / "parts.json"
        try:
            parts = msgspec.convert(durable.read_json(file), _Parts)
        except (FileNotFoundError, msgspec.ValidationError) as error:
            raise durable.damaged(file) from error
        if parts.run_id != self.run_id:
            raise Damaged(f"{file}: belongs to another run ({parts.run_id}).")
        return parts

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

    def share_crosswalk(self, state_dir: Path) -> None:
        """Copy the crosswalk of a plan that stands alone to the state directory, where later runs look for it."""
        file = self.path / "crosswalk.parquet"
        if not self.stands_alone or not file.exists():
            return
        folder = state_dir / APPLIED / self.run_id
        for at in (state_dir, folder.parent, folder):
            at.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = folder / file.name
        temporary = copy.with_suffix(".partial")
        shutil.copyfile(file, temporary)
        temporary.chmod(0o600)
        temporary.replace(copy)
        destination = str(self.manifest["settings"]["destination"])
        kept = _AppliedPlan(self.run_id, str(self.manifest["started_at"]), destination, durable.seal(copy))
        durable.write_json(folder / "plan.json", msgspec.structs.asdict(kept))

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
        for folder in _OF_A_PART:
            shutil.rmtree(self.path / folder, ignore_errors=True)
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        self.take_over()

    # Batches -----------------------------------------------------------------------------------------------------

    def add(
        self,
        number: int,
        batch: Batch,
        good: Normalised | None,
        reasons: pl.DataFrame,
        digest: str,
        filled: Sequence[str] = (),
        skipped: pl.DataFrame | None = None,
    ) -> BatchCounts:
        """Put one batch away: good records to the stage, bad ones and broken lines to the rejects, warnings beside.

        `reasons` are `schemas.faults.REASONS`; `good` is the whole normalised batch; `digest` is that of its part,
        `filled` are `rivals.filled`, `skipped` are the keys (`PRESENT`) of those that `--where` left out.
        """
        name = f"{number:06}.parquet"
        wire = batch.records
        bad = reasons["at"].unique()
        kept = pl.repeat(True, wire.height, dtype=pl.Boolean, eager=True)
        if not bad.is_empty():
            kept = kept.scatter(bad, False)
        warnings = pl.DataFrame(schema=_WARNINGS)
        staged = 0
        if good is not None:
            stood = pl.DataFrame(
                {
                    "_row": pl.int_range(wire.height, dtype=pl.UInt64, eager=True) + (number << _PART_BITS),
                    "_source": pl.repeat(batch.source, wire.height, dtype=pl.String, eager=True),
                    "_line": batch.lines,
                    "_email_blocked": good.email_blocked,
                }
            )
            records = pl.concat([stood, good.records], how="horizontal")
            records = records if bad.is_empty() else records.filter(kept)
            staged = records.height
            _write_stage(records, self.path / "stage" / name)
            alone = kept & good.records["external_id"].is_null()
            if alone.any():
                places = stood.select("_row", "_source", "_line").filter(alone)
                _write(
                    pl.concat([places, _as_texts(wire.filter(alone))], how="horizontal"),
                    self.path / "raw" / name,
                )
            warned = good.warnings.filter(~pl.col("at").is_in(bad.implode()))
            warnings = warned.select(
                source=pl.lit(batch.source), line=batch.lines.gather(warned["at"]), code="code", value="value"
            )
            if warnings.height:
                _write(warnings, self.path / "warned" / name)
        rejects = _rejects(batch, reasons)
        if rejects.height:
            _write(rejects, self.path / "rejected" / name)
        left_out = 0 if skipped is None else skipped.height
        keys = _keys_of_rejects(batch, good, reasons)
        self.keep_present(name, keys if skipped is None else pl.concat([keys, skipped]))
        made = {folder: self.path / folder / name for folder in _OF_A_PART}
        return BatchCounts(
            digest=digest,
            source=batch.source,
            filled=list(filled),
            files={folder: self._sealed.seal(file) for folder, file in made.items() if file.exists()},
            read=wire.height + batch.broken.height + left_out,
            skipped=left_out,
            staged=staged,
            rejected=rejects.height,
            by_code=_counted(pl.concat([reasons["code"], batch.broken["code"]])),
            first=_first_of_each(batch, reasons, warnings),
            warnings=_counted(warnings["code"]),
        )

    def adopt(self, number: int, digest: str, earlier: EarlierStage) -> BatchCounts | None:
        """What an earlier run made of the same part, taken over: without a copy where the file system can do that.
        Null if it was another part, or is no longer whole.
        """
        counts = earlier.parts.get(number)
        if counts is None or counts.digest != digest:
            return None
        name = f"{number:06}.parquet"
        try:
            for folder in counts.files:
                _link(earlier.path / folder / name, self.path / folder / name)
        except OSError:
            whole = False
        else:
            whole = all(durable.is_whole(self.path / folder / name, sealed) for folder, sealed in counts.files.items())
        if whole:
            return counts
        # What is linked is the earlier run's own file: it must not be written to.
        for folder in counts.files:
            (self.path / folder / name).unlink(missing_ok=True)
        return None

    def keep_present(self, name: str, keys: pl.DataFrame) -> None:
        """Write down the keys (`PRESENT`) of records that were read and are not among the survivors. The same name's
        earlier keys are replaced.
        """
        target = self.path / "present" / name
        target.unlink(missing_ok=True)
        if keys.height:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _write(keys.select(pl.col(column).cast(dtype) for column, dtype in PRESENT.items()), target)

    def present_files(self) -> tuple[Path, ...]:
        """What `keep_present` has written."""
        return tuple(sorted((self.path / "present").glob("*.parquet")))

    def complete(self, parts: Sequence[BatchCounts]) -> None:
        """Nothing more will be staged, and all of it is on disk; a stage without records is an empty table, not no
        table.
        """
        self._sealed.wait()
        empty: dict[str, str] = {}
        if not self.staged_files():
            schema = {
                "_row": pl.UInt64,
                "_source": pl.String,
                "_line": pl.UInt64,
                "_email_blocked": pl.Boolean,
            }
            _write_stage(pl.DataFrame(schema={**schema, **COLUMNS}), self.path / "stage" / "000000.parquet")
            empty = durable.seals(self.path, ["stage/000000.parquet"])
        for folder in _OF_A_PART:
            durable.sync_folder(self.path / folder)
        whole = {"run_id": self.run_id, "parts": [asdict(part) for part in parts], "empty": empty}
        durable.write_json(self.path / "parts.json", whole)

    def staged_files(self) -> list[Path]:
        """The stage, in the order of reading."""
        return sorted((self.path / "stage").glob("*.parquet"))

    def keys(self) -> Iterator[pl.DataFrame]:
        """What identity is decided on, file by file: _row, external_id, email (null if blocked)."""
        for file in self.staged_files():
            yield pl.read_parquet(file, columns=["_row", "external_id", "email", "_email_blocked"]).select(
                "_row", "external_id", _matching_email()
            )

    def candidates(self, rows: pl.Series) -> pl.DataFrame:
        """The keys, times, names and places of these rows: row, source, line, external_id, email, name, updated_at."""
        return (
            self._rows(rows)
            .select("_row", "_source", "_line", "external_id", _matching_email(), "name", "updated_at")
            .rename({"_row": "row", "_source": "source", "_line": "line"})
            .collect(engine="streaming")
        )

    def records(self, rows: pl.Series) -> pl.DataFrame:
        """Whole staged records."""
        return self._rows(rows).collect(engine="streaming")

    def _rows(self, rows: pl.Series) -> pl.LazyFrame:
        """These rows of the stage. As a filter, not a join: Parquet then reads the other columns of these rows only."""
        return pl.scan_parquet(self.staged_files()).filter(pl.col("_row").is_in(rows.implode()))

    def keep_identity(self, dropped: pl.Series, patched: pl.DataFrame, merges: pl.DataFrame) -> None:
        """Write down who is no survivor, which survivors took something over, and every merge."""
        both = pl.concat([dropped, patched["_row"]]).cast(pl.UInt64) if patched.height else dropped.cast(pl.UInt64)
        _write(both.alias("row").to_frame(), self.path / "identity" / "dropped.parquet")
        target = self.path / "identity" / "patched.parquet"
        target.unlink(missing_ok=True)
        if patched.height:
            _write(patched.with_columns(pl.col("_row") | _PATCHED), target)
        _write(merges, self.path / "merges.parquet")

    def survivors(self, columns: tuple[str, ...], count: int) -> Survivors:
        """What a destination is given."""
        patched = self.path / "identity" / "patched.parquet"
        files = (*self.staged_files(), *([patched] if patched.exists() else []))
        return Survivors(files, self.path / "identity" / "dropped.parquet", columns, count)

    # Rejects and warnings ----------------------------------------------------------------------------------------

    def keep_results(self, outcomes: Path) -> dict[str, Path]:
        """What became of each record at a provider, as CSV for people: successful, failed and unprocessed, each with
        the customer's fields, `_source`, `_line`, `_outcome` and `_reason`. Those that are empty are not written.

        `outcomes` is Parquet: row, action, outcome, reason, provider_id. Failed and unprocessed lie in `again/`, which
        can be read as a source.
        """
        # Who is older than what is there is listed in stale.csv, and nothing of it is left to do.
        told = (
            pl.scan_parquet(outcomes)
            .filter(pl.col("outcome") != "older")
            .select(
                pl.col("row").alias("_row"),
                pl.col("outcome").replace_strict(_RESULTS, default="failed", return_dtype=pl.String).alias("_result"),
                pl.col("outcome").alias("_outcome"),
                pl.col("reason").alias("_reason"),
            )
        )
        files = {
            result: self.path / (f"{result}.csv" if result == "successful" else f"again/{result}.csv")
            for result in dict.fromkeys(_RESULTS.values())
        }
        for file in files.values():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.unlink(missing_ok=True)
        for records in self._by_and_by():
            rows = records["_row"]
            came = told.filter(pl.col("_row").is_between(rows.min(), rows.max())).collect()
            joined = records.join(came, on="_row", maintain_order="left")
            for (result,), some in joined.partition_by("_result", as_dict=True).items():
                with files[str(result)].open("ab") as out:
                    told_of = some.select(*COLUMNS, "_source", "_line", "_outcome", "_reason")
                    told_of.with_columns(cells.written(told_of.schema)).write_csv(out, include_header=out.tell() == 0)
        return {result: file for result, file in files.items() if file.exists()}

    def _by_and_by(self) -> Iterator[pl.DataFrame]:
        """All staged records, patched ones too, some at a time: all of them together would not fit."""
        for file in (*self.staged_files(), *(self.path / "identity").glob("patched.parquet")):
            with pq.ParquetFile(file) as staged:
                for batch in staged.iter_batches(_AT_A_TIME, use_threads=False):
                    yield pl.DataFrame(batch)

    def reject_identity(self, name: str, rows: pl.Series, code: str) -> tuple[str, int] | None:
        """Records whose identity failed go from the stage to the rejects, as the source spelled them. The place of the
        first of them, if there are any.

        `name` says who found it; the same finder's earlier finding is replaced.
        """
        target = self.path / "rejected" / f"identity-{name}.parquet"
        target.unlink(missing_ok=True)
        if rows.is_empty():
            return None
        raw = [pl.scan_parquet(file) for file in sorted((self.path / "raw").glob("*.parquet"))]
        found = (
            pl.concat(raw, how="diagonal")
            .filter(pl.col("_row").is_in((rows & (_PATCHED - 1)).implode()))
            .sort("_row")
            .collect()
        )
        _write(
            found.drop("_row", "_source", "_line").with_columns(
                found["_source"],
                found["_line"],
                _codes=pl.lit(code),
                _reasons=pl.lit(sentence(code)),
                _text=pl.lit(None, pl.String),
            ),
            target,
        )
        source, line = found.select("_source", "_line").row(0)
        return source, line

    def retract_warnings(self, name: str, rows: pl.Series) -> dict[str, int]:
        """Take back the warnings of records that were rejected after all; code → how many. `name` says who found it;
        what the same finder took back earlier counts again.
        """
        target = self.path / "identity" / f"retracted-{name}.parquet"
        target.unlink(missing_ok=True)
        if rows.is_empty():
            return {}
        places = [
            pl.read_parquet(file, columns=["_row", "_source", "_line"]).filter(pl.col("_row").is_in(rows.implode()))
            for file in sorted((self.path / "raw").glob("*.parquet"))
        ]
        if not places:
            return {}
        gone = pl.concat(places).select(source="_source", line="_line")
        _write(gone, target)
        files = sorted((self.path / "warned").glob("*.parquet"))
        if not files:
            return {}
        warned = pl.scan_parquet(files).select("source", "line", "code")
        return _counted(warned.join(gone.lazy(), on=["source", "line"], how="semi").collect()["code"])

    def warn(self, name: str, warnings: pl.DataFrame) -> None:
        """Warnings found after the batches: source, line, code, value."""
        target = self.path / "warned" / f"{name}.parquet"
        target.unlink(missing_ok=True)
        if warnings.height:
            _write(warnings.select(_WARNINGS.keys()), target)

    def collect_findings(self, columns: list[str]) -> dict[str, Path]:
        """Put rejects and warnings together. `columns` is the source's own order."""
        files = {}
        rejects = [pl.scan_parquet(file) for file in sorted((self.path / "rejected").glob("*.parquet"))]
        if rejects:
            whole = pl.concat(rejects, how="diagonal")
            present = whole.collect_schema().names()
            own = (name for name in columns if name in present and name not in OURS)
            whole = whole.select(*own, *OURS)
            whole.sink_parquet(self.path / "rejects.parquet")
            files["rejects_parquet"] = self.path / "rejects.parquet"
            files["rejects"] = self.path / "rejects.csv"
            found = pl.scan_parquet(files["rejects_parquet"])
            found.with_columns(cells.written(found.collect_schema())).sink_csv(files["rejects"])
        warned = sorted((self.path / "warned").glob("*.parquet"))
        frame = pl.concat([pl.scan_parquet(file) for file in warned]) if warned else pl.LazyFrame(schema=_WARNINGS)
        for file in sorted((self.path / "identity").glob("retracted-*.parquet")):
            frame = frame.join(pl.scan_parquet(file), on=["source", "line"], how="anti", maintain_order="left")
        frame.sink_parquet(self.path / "warnings.parquet")
        return files | {"warnings": self.path / "warnings.parquet", "merges": self.path / "merges.parquet"}


_RESULTS = {
    **{"done": "successful", "unchanged": "successful", "deleted": "successful"},
    **{"refused": "failed", "stale": "failed", "unknown": "failed", "left": "unprocessed"},
}
_AT_A_TIME = 16_384
_CODED = ["_source", "customer_type", "country", "currency", "timezone", "language", "status", "state"]
_OF_A_PART = ("stage", "raw", "rejected", "warned", "present")
_FOLDERS = (*_OF_A_PART, "identity")
_LATER_FOLDERS = (PAGES, "requests", "destination", "again", "verify", "spill")
_ENDINGS = (".parquet", ".csv", ".json", ".html", ".duckdb", ".sqlite", ".sqlite-shm", ".sqlite-wal")
_WARNINGS = {"source": pl.String, "line": pl.UInt64, "code": pl.String, "value": pl.String}
PRESENT = {
    **{"source": pl.String, "line": pl.UInt64, "external_id": pl.String, "email": pl.String},
    **{"id_unusable": pl.Boolean, "email_unusable": pl.Boolean},
}
"""The keys of a record as normalised, null where there is none that identifies a customer; and whether there was one
that cannot be used. Without any key the record could be any customer."""


@dataclass(frozen=True)
class BatchCounts:
    """What became of one batch; `first` is code → (source, line) of its first record, warnings too. `digest` is that of
    its part, `files` are folder → seal of what was made of it; `filled` are `rivals.filled` of its `source`.
    """

    digest: str
    source: str
    filled: list[str]
    files: dict[str, str]
    read: int
    skipped: int
    staged: int
    rejected: int
    by_code: dict[str, int]
    first: dict[str, tuple[str, int]]
    warnings: dict[str, int]


class _Parts(msgspec.Struct, frozen=True):
    """parts.json."""

    run_id: str
    parts: list[BatchCounts]
    empty: dict[str, str]

    def seals(self) -> dict[str, str]:
        """File → seal, of all that was made of the parts."""
        made = (
            (f"{folder}/{number:06}.parquet", sealed)
            for number, part in enumerate(self.parts)
            for folder, sealed in part.files.items()
            if folder in _OF_A_PART
        )
        return {**dict(made), **self.empty}


_RunId = Annotated[str, msgspec.Meta(pattern=r"^\d{8}T\d{6}-[0-9a-f]{6}$")]
_Places = dict[str, tuple[str, int]]


class _Staged(TypedDict):
    read: int
    skipped: NotRequired[int]
    staged: int
    rejected: int
    by_code: dict[str, int]
    warnings: dict[str, int]
    first: _Places
    mapped: NotRequired[dict[str, str]]
    """Field → column; earlier versions wrote `fields`, and their runs are not continued."""
    extra: list[str]
    defaults: dict[str, Any]


class _Identified(TypedDict):
    merges: dict[str, int]
    ambiguous: int
    shared: int
    retracted: dict[str, int]
    first_ambiguous: tuple[str, int] | None
    first_shared: NotRequired[tuple[str, int] | None]
    alike: NotRequired[int]
    first_alike: NotRequired[tuple[str, int] | None]
    conflicts: NotRequired[int]
    first_conflict: NotRequired[tuple[str, int] | None]
    seals: NotRequired[dict[str, str]]


class _Planned(TypedDict):
    counts: dict[str, int]
    changed_fields: dict[str, int]
    existing: int
    notes: list[str]
    withheld: NotRequired[int]
    unidentified: NotRequired[list[str]]
    retracted: dict[str, int]
    first_ambiguous: tuple[str, int] | None
    seals: NotRequired[dict[str, str]]


class _Applied(TypedDict):
    counts: NotRequired[dict[str, int]]
    reasons: NotRequired[dict[str, int]]
    notes: NotRequired[list[str]]
    files: NotRequired[dict[str, str]]


class _Steps(TypedDict):
    stage: NotRequired[_Staged]
    identify: NotRequired[_Identified]
    plan: NotRequired[_Planned]
    apply: NotRequired[_Applied]


class _Settings(TypedDict):
    source: str | list[str]
    destination: str


class _Manifest(TypedDict):
    """What is relied on of a manifest; there may be more in it."""

    run_id: _RunId
    started_at: Annotated[datetime, msgspec.Meta(tz=True)]
    status: str
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    host: str
    steps: _Steps
    settings: _Settings
    is_plan: NotRequired[bool]
    wire: NotRequired[list[str]]
    results: NotRequired[dict[str, str] | None]


@dataclass(frozen=True)
class EarlierStage:
    """What an earlier run made of each of its parts, by their numbers, and where that lies."""

    run_id: str
    path: Path
    parts: Mapping[int, BatchCounts]


NOTHING_EARLIER = EarlierStage("", Path(), {})


def earlier_stage(state_dir: Path, reading: str) -> EarlierStage:
    """The stage of the newest run that read in the same way (`reading` in its manifest), or nothing."""
    for run in all_runs(state_dir):
        if run.manifest.get("reading") != reading or run.done(STAGE_STEP) is None:
            continue
        try:
            return EarlierStage(run.run_id, run.path, dict(enumerate(run._parts().parts)))
        except Damaged:
            continue
    return NOTHING_EARLIER


def crosswalks(state_dir: Path, destination: str, but: str) -> tuple[list[Path], list[Path]]:
    """The crosswalks of earlier runs and plans into a destination, newest first, without that of the run `but`; beside
    them those that are damaged.
    """
    found = []
    for run in all_runs(state_dir):
        file = run.path / "crosswalk.parquet"
        sealed = (run.manifest.get("results") or {}).get(file.name)
        if run.manifest["settings"].get("destination") == destination and (file.exists() or sealed):
            # Versions of Tranship that sealed nothing have left crosswalks, too.
            whole = durable.is_whole(file, sealed) if sealed else not run.has_begun_to_write
            found.append((run.manifest["started_at"], run.run_id, file, whole))
    for folder in sorted((state_dir / APPLIED).glob("*")):
        file = folder / "crosswalk.parquet"
        try:
            kept = msgspec.convert(durable.read_json(folder / "plan.json"), _AppliedPlan)
        except (OSError, Damaged, msgspec.ValidationError):
            found.append(("", folder.name, file, False))
            continue
        if kept.destination == destination:
            found.append((kept.started_at, kept.run_id, file, durable.is_whole(file, kept.crosswalk)))
    found = sorted((one for one in found if one[1] != but), key=lambda one: one[:2], reverse=True)
    return [file for *_, file, whole in found if whole], [file for *_, file, whole in found if not whole]


class _AppliedPlan(msgspec.Struct, frozen=True):
    """What the state directory keeps of a plan that was carried out from a folder elsewhere."""

    run_id: str
    started_at: str
    destination: str
    crosswalk: str
    """The seal of its copy of the crosswalk."""


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


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


def _matching_email() -> pl.Expr:
    return pl.when(~pl.col("_email_blocked")).then("email").alias("email")


def _write(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="lz4", statistics=False)


def _write_stage(records: pl.DataFrame, path: Path) -> None:
    """Arrow's writer with dictionaries where few values repeat: a fifth less work, here and in whoever reads it, than
    dictionaries tried on every column.
    """
    table = records.to_arrow(compat_level=pl.CompatLevel.newest())
    pq.write_table(table, path, compression="lz4", use_dictionary=_CODED, write_statistics=False)


def _as_texts(wire: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([as_text(column).alias(column.name) for column in wire.drop(OURS, strict=False)])


def _counted(codes: pl.Series) -> dict[str, int]:
    return dict(codes.value_counts().iter_rows())


def _first_of_each(batch: Batch, reasons: pl.DataFrame, warnings: pl.DataFrame) -> dict[str, tuple[str, int]]:
    records = reasons.select("code", line=batch.lines.gather(reasons["at"]))
    lines = pl.concat([records, batch.broken.select("code", "line"), warnings.select("code", "line")])
    return {code: (batch.source, line) for code, line in lines.group_by("code").agg(pl.col("line").min()).iter_rows()}


def keys_of(batch: Batch, normalised: Normalised, reasons: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """The keys (`PRESENT`) of the records at these positions of a batch; `reasons` are those against them."""
    id_unusable, email_unusable = (
        at.is_in(reasons.filter(pl.col("code").str.starts_with(f"{field}."))["at"].implode())
        for field in ("external_id", "email")
    )
    ids, emails = normalised.records["external_id"].gather(at), normalised.records["email"].gather(at)
    return pl.DataFrame(
        {
            "source": pl.repeat(batch.source, len(at), dtype=pl.String, eager=True),
            "line": batch.lines.gather(at),
            "external_id": ids.set(id_unusable, None),
            "email": emails.set(email_unusable | normalised.email_blocked.gather(at), None),
            "id_unusable": id_unusable,
            "email_unusable": email_unusable,
        }
    )


def _keys_of_rejects(batch: Batch, good: Normalised | None, reasons: pl.DataFrame) -> pl.DataFrame:
    """The keys (`PRESENT`) of rejected records and of broken lines, which have none. A repeated header is nobody."""
    lines = batch.broken.filter(pl.col("code") != "line.header")
    broken = lines.select(
        pl.lit(batch.source).alias("source"),
        "line",
        *(pl.lit(None, pl.String).alias(name) for name in ("external_id", "email")),
        *(pl.lit(value=False).alias(name) for name in ("id_unusable", "email_unusable")),
    )
    if good is None or reasons.is_empty():
        return broken
    keys = keys_of(batch, good, reasons, reasons["at"].unique(maintain_order=True))
    return pl.concat([keys, broken.select(PRESENT.keys())])


def _rejects(batch: Batch, reasons: pl.DataFrame) -> pl.DataFrame:
    """Rejected records and broken lines in the source's own columns and spelling, with place and reasons."""
    kinds = pl.concat([reasons["code"], batch.broken["code"]]).unique()
    said = pl.Series([sentence(code) for code in kinds], dtype=pl.String)
    shown = pl.col("value").str.head(_VALUE_SHOWN)
    each = reasons.with_columns(
        said=pl.concat_str(
            pl.col("code").replace_strict(kinds, said, return_dtype=pl.String),
            pl.when(shown.is_not_null()).then(pl.format(' (found "{}")', shown)).otherwise(pl.lit("")),
        )
    )
    by_record = each.group_by("at", maintain_order=True).agg(
        _codes=pl.col("code").str.join(" "), _reasons=pl.col("said").str.join("; ")
    )
    at = by_record["at"]
    records = pl.concat(
        [_as_texts(batch.records[at]), by_record.select("_codes", "_reasons")], how="horizontal"
    ).with_columns(_source=pl.lit(batch.source), _line=batch.lines.gather(at), _text=pl.lit(None, pl.String))
    broken = batch.broken.select(
        _source=pl.lit(batch.source),
        _line="line",
        _codes="code",
        _reasons=pl.concat_str(
            pl.col("code").replace_strict(kinds, said, return_dtype=pl.String),
            pl.when(pl.col("detail") != "").then(pl.format(" ({})", "detail")).otherwise(pl.lit("")),
        ),
        _text="text",
    )
    return pl.concat([records, broken], how="diagonal").sort("_line")
