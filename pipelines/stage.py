"""The run directory and what lies in it.

`<state dir>/runs/<run id>/`, mode 0700, files 0600:

parts.json         what became of each part of the source, and its digest: a later run need not read it again
manifest.json      settings without secrets, source fingerprints, state of each step
lock               held by the process that works on the run (`pipelines/locks.py`)
pages/             what a provider has answered, as it came: a read that died goes on from there
stage/*.parquet    the canonical records, a file a batch: `_row` u64, `_source`, `_line` u64, `_email_blocked` bool, and
                   the columns of `schemas.customer.COLUMNS`
raw/*.parquet      records known by e-mail alone, as the source spelled them: they may yet fail
rejected/*.parquet, warned/*.parquet   rejects and warnings, a file a batch, until they are put together
present/*.parquet  the keys of records that were read and are not staged (`PRESENT`): mirror must not delete them
identity/          dropped.parquet (rows that are no survivors), patched.parquet (survivors that took something over)
rejects.csv, rejects.parquet, warnings.parquet, merges.parquet, plan.parquet, report.json, report.html
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from connectors.contract import Batch, Survivors
from connectors.errors import Busy, ConfigError, TranshipError
from pipelines.locks import GLANCE, Lock
from pipelines.mapping import OURS
from pipelines.normalise import Normalised, as_text
from schemas import cells
from schemas.customer import COLUMNS
from schemas.faults import sentence

STAGE_STEP, IDENTIFY_STEP, PLAN_STEP, APPLY_STEP = "stage", "identify", "plan", "apply"
PAGES = "pages"
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
            newest = next(iter(all_runs(state_dir)), None)
            if newest is None:
                raise ConfigError(f"{state_dir}: there is no run here yet. Is this the right --state-dir?")
            return newest
        try:
            return cls.at(state_dir / "runs" / run_id)
        except ConfigError as error:
            raise ConfigError(
                f"{run_id}: there is no such run in {state_dir}. List them with: tranship runs"
            ) from error

    @classmethod
    def at(cls, path: Path) -> RunDirectory:
        """The run, or plan, in this folder. Raises ConfigError if there is none."""
        try:
            return cls(path, json.loads((path / "manifest.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: there is no plan in this folder. Make one with: tranship plan") from error

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.manifest["run_id"])

    @property
    def stands_alone(self) -> bool:
        """Whether it is a plan in a folder of its own."""
        return self.path.parent.name != "runs"

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

    def finish(self, step: str, facts: Mapping[str, Any]) -> None:
        """A step is finished; it will not be done again."""
        self.manifest["steps"][step] = dict(facts)
        self.save()

    def save(self) -> None:
        """Write the manifest, synced."""
        self.write("manifest.json", json.dumps(self.manifest, indent=1))

    def write(self, name: str, text: str) -> None:
        """A small file, whole or not at all."""
        temporary = self.path / f".{name}.partial"
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            "w",
            encoding="utf-8",
            errors="backslashreplace",
        ) as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self.path / name)

    def secure(self) -> None:
        """Only the owner reads what libraries have written."""
        for file in self.path.rglob("*"):
            if file.is_file():
                file.chmod(0o600)

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
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
            for file in (self.path / folder).iterdir():
                file.unlink()
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
            files={folder: file.stat().st_size for folder, file in made.items() if file.exists()},
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
            whole = all((earlier.path / folder / name).stat().st_size == size for folder, size in counts.files.items())
            if not whole:
                return None
            for folder in counts.files:
                _link(earlier.path / folder / name, self.path / folder / name)
        except OSError:
            # What is linked already is the earlier run's own file: it must not be written to.
            for folder in counts.files:
                (self.path / folder / name).unlink(missing_ok=True)
            return None
        return counts

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
        """Nothing more will be staged; a stage without records is an empty table, not no table."""
        self.write("parts.json", json.dumps([asdict(part) for part in parts]))
        if not self.staged_files():
            schema = {
                "_row": pl.UInt64,
                "_source": pl.String,
                "_line": pl.UInt64,
                "_email_blocked": pl.Boolean,
            }
            _write_stage(pl.DataFrame(schema={**schema, **COLUMNS}), self.path / "stage" / "000000.parquet")

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

    def retract_warnings(self, rows: pl.Series) -> dict[str, int]:
        """Take back the warnings of records that were rejected after all; code → how many."""
        places = [
            pl.read_parquet(file, columns=["_row", "_source", "_line"]).filter(pl.col("_row").is_in(rows.implode()))
            for file in sorted((self.path / "raw").glob("*.parquet"))
        ]
        if not places:
            return {}
        gone = pl.concat(places).select(source="_source", line="_line")
        taken: list[pl.Series] = []
        for file in (self.path / "warned").glob("*.parquet"):
            warnings = pl.read_parquet(file)
            left = warnings.join(gone, on=["source", "line"], how="anti", maintain_order="left")
            if left.height < warnings.height:
                taken.append(warnings.join(gone, on=["source", "line"], how="semi")["code"])
                # Never in place: another run may hold the same file.
                file.unlink()
                _write(left, file)
        return _counted(pl.concat(taken)) if taken else {}

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
    its part, `files` are folder → size of what was made of it; `filled` are `rivals.filled` of its `source`.
    """

    digest: str
    source: str
    filled: list[str]
    files: dict[str, int]
    read: int
    skipped: int
    staged: int
    rejected: int
    by_code: dict[str, int]
    first: dict[str, tuple[str, int]]
    warnings: dict[str, int]


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
            parts = json.loads((run.path / "parts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found = {
            number: BatchCounts(**part | {"first": {code: tuple(place) for code, place in part["first"].items()}})
            for number, part in enumerate(parts)
        }
        return EarlierStage(run.run_id, run.path, found)
    return NOTHING_EARLIER


def crosswalks(state_dir: Path, destination: str, but: str) -> list[Path]:
    """The crosswalks of earlier runs into a destination, newest first, without that of the run `but`."""
    found = [
        run.path / "crosswalk.parquet"
        for run in all_runs(state_dir)
        if run.run_id != but and run.manifest["settings"]["destination"] == destination
    ]
    return [file for file in found if file.exists()]


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def all_runs(state_dir: Path) -> list[RunDirectory]:
    """Every run in a state directory, newest first."""
    found = [RunDirectory.open(state_dir, path.parent.name) for path in (state_dir / "runs").glob("*/manifest.json")]
    return sorted(found, key=lambda run: (run.manifest["started_at"], run.run_id), reverse=True)


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


def keys_of(batch: Batch, normalised: Normalised, reasons: pl.DataFrame) -> pl.DataFrame:
    """The keys (`PRESENT`) of all records of a batch; `reasons` are those against them."""
    id_unusable, email_unusable = (
        pl.repeat(value=False, n=batch.records.height, dtype=pl.Boolean, eager=True).scatter(
            reasons.filter(pl.col("code").str.starts_with(f"{field}."))["at"].unique(), True
        )
        for field in ("external_id", "email")
    )
    ids, emails = normalised.records["external_id"], normalised.records["email"]
    return pl.DataFrame(
        {
            "source": pl.repeat(batch.source, batch.records.height, dtype=pl.String, eager=True),
            "line": batch.lines,
            "external_id": ids.set(id_unusable, None),
            "email": emails.set(email_unusable | normalised.email_blocked, None),
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
    keys = keys_of(batch, good, reasons)[reasons["at"].unique(maintain_order=True)]
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
