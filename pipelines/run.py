"""The whole flow: read → map → normalise → validate → stage → identify → plan → gate → apply → report.

The only file that joins steps and connectors.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from tranship.connectors import durable, registry
from tranship.connectors.contract import (
    Destination,
    Layout,
    Outcomes,
    Part,
    Plan,
    Source,
    Survivors,
    Waiting,
    WriteRequest,
    all_created,
    outcomes_so_far,
)
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    Damaged,
    GateClosed,
    Interfered,
    Interrupted,
    TranshipError,
    shown,
)
from tranship.connectors.files.csv import CsvOptions
from tranship.pipelines import (
    crosswalks,
    identify,
    inspection,
    locks,
    mapping,
    present,
    report,
    rivals,
    run_directory,
    selection,
    stage,
    validate,
)
from tranship.pipelines import verify as verification
from tranship.pipelines.findings import Findings
from tranship.pipelines.inspection import Inspection
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.report import Counts, Report
from tranship.pipelines.run_directory import APPLY_STEP, IDENTIFY_STEP, PAGES, PLAN_STEP, STAGE_STEP, RunDirectory
from tranship.pipelines.selection import Condition
from tranship.pipelines.settings import Reading, Settings, a_second, limit, load, named, seconds
from tranship.pipelines.stage import EarlierStage, Stage
from tranship.pipelines.verify import Verification
from tranship.schemas import cells, faults
from tranship.schemas.customer import COLUMNS

log = logging.getLogger("tranship")

_AMBIGUOUS = "identity.ambiguous_email"
_CONFLICT = "external_id.conflict"
_STILL_FRESH = timedelta(hours=1)
"""So long may what came from a provider lie before the same command reads anew; `resume` goes on at any time."""
_LOOKING = {"dry_run": True, "mode": "upsert", "older": "write"}
"""Settings of a comparison: what is older than what the destination holds differs from it."""
_ROWS = "plan.parquet"
_IDENTIFIED = (
    *("identity/dropped.parquet", "identity/patched.parquet", "identity/retracted-run.parquet", "merges.parquet"),
    *("rejected/identity-run.parquet", "present/identity-run.parquet"),
    *("warned/shared.parquet", "warned/alike.parquet", "warned/conflicts.parquet"),
)
_PLANNED = (
    *(_ROWS, "agreed.parquet", "plan.json"),
    *("identity/retracted-destination.parquet", "rejected/identity-destination.parquet"),
)
"""Files that these steps leave."""
_PAUSES = (0.2, 1, 3, 8)
"""Seconds before the destination is tried again."""


class Observer(Protocol):
    """Who is told how far a run is; a terminal, a log, nobody."""

    def step(self, name: str, total: int | None) -> None:
        """A step begins; `total` is what `advanced` counts up to, null if unknown."""
        ...

    def advanced(self, position: int, records: int) -> None:
        """How far the step is, and how many records that is."""
        ...

    def note(self, text: str) -> None:
        """Something a person may want to know."""
        ...


class Quiet:
    """Tells nobody."""

    def step(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advanced(self, position: int, records: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass
class _Tally:
    """What is known so far, across steps."""

    read: int = 0
    skipped: int = 0
    staged: int = 0
    rejected: int = 0
    by_code: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, counts: BatchCounts) -> None:
        """One batch more."""
        self.read += counts.read
        self.skipped += counts.skipped
        self.staged += counts.staged
        self.rejected += counts.rejected
        self.by_code.update(counts.by_code)
        self.warnings.update(counts.warnings)
        for code, place in counts.first.items():
            self.first.setdefault(code, place)


OpenDestination = Callable[[Settings, Observer], Destination]


def run(
    settings: Settings, observer: Observer | None = None, *, now: datetime | None = None, out: Path | None = None
) -> Report:
    """Do everything the settings say, continuing an earlier run of the same work that died. With `out` the run lies in
    that folder, and nothing is continued.

    Raises the errors of `connectors.errors`; those that come when the run directory exists carry the report.
    """
    observer = observer or Quiet()
    _must_know_forms(settings)
    registry.must_be_apart(settings.sources, settings.destination)
    registry.must_take(settings.destination, settings.mode, for_good=settings.remove_for_good)
    _must_lie_outside(settings, out)
    with _turn(settings, observer):
        return _at_turn(settings, observer, now, out)


def _at_turn(
    settings: Settings,
    observer: Observer,
    now: datetime | None = None,
    out: Path | None = None,
    open_destination: OpenDestination | None = None,
) -> Report:
    """`run`, with the lock of the destination. Nothing of either end was read before this process had it."""
    begin = partial(_run, settings, observer, now, out, open_destination or _open_destination)
    if out is not None:
        return begin(continuing=False)
    try:
        return begin(continuing=True)
    except Damaged as error:
        observer.note(_anew(error))
    return begin(continuing=False)


def _anew(error: Damaged) -> str:
    return f"{error} That run is left as it is, and everything is read anew."


def _run(
    settings: Settings,
    observer: Observer,
    now: datetime | None,
    out: Path | None,
    open_destination: OpenDestination,
    *,
    continuing: bool,
) -> Report:
    table = open_destination(settings, observer)
    try:
        source = _open_source(settings, observer)
        try:
            layouts = source.layouts()
            columns = mapping.propose(layouts, settings.columns, settings.defaults, settings.extra)
            where = _where(settings, layouts)
            work = _work(settings, source)
            continued = _continued(settings, work) if continuing else None
            directory = continued or RunDirectory.create(
                settings.state_dir,
                {
                    "settings": _public(settings),
                    "work": work,
                    "reading": _reading(settings, columns, where),
                    "source": source.fingerprint(),
                    "columns": columns.by_column,
                },
                now or datetime.now(UTC),
                out,
            )
            notes = [f"{layout.name}: {note}" for layout in layouts for note in layout.notes]
            notes += columns.notes
            return _Run(settings, directory, observer, notes, where).go(source, columns, _wire(layouts), table)
        finally:
            source.close()
    finally:
        table.close()


def plan(settings: Settings, out: Path, observer: Observer | None = None) -> Report:
    """Do everything up to the plan, in a folder that `apply` carries out. Nothing is written to the destination.

    Raises what `run` raises, and ConfigError if the folder is there already.
    """
    return run(settings.model_copy(update={"dry_run": True}), observer, out=out)


def apply(folder: Path, observer: Observer | None = None, *, limit: int | None = None, **options: Any) -> Report:
    """Carry out the plan in this folder, or go on with it; of a provider's, the first `limit` records that are left.
    `options` are the settings `overlap`, `lock_timeout` and `locks`, else they are those of the plan.

    Raises ConfigError if there is no plan, GateClosed if a table has moved since it was made, and what `run` raises.
    """
    directory = RunDirectory.at(folder)
    settings = _settings_of(directory, **{"dry_run": False, "limit": limit, **options})
    observer = observer or Quiet()
    _must_be_left_to_apply(directory)
    with _turn(settings, observer, directory, _must_be_left_to_apply):
        try:
            columns = _columns_of(directory)
            assert columns is not None  # noqa: S101  (the plan is complete)
            directory.check()
            table = _open_destination(settings, observer)
            try:
                directory.take_over()
                return _Run(settings, directory, observer, []).go(None, columns, _wire_of(directory), table)
            finally:
                table.close()
        except Damaged as error:
            told = _unusable_plan(folder, error)
            told.report = error.report
            raise told from error


def _must_be_left_to_apply(directory: RunDirectory) -> None:
    folder = directory.path
    if directory.done(STAGE_STEP) is None or directory.done(PLAN_STEP) is None:
        raise ConfigError(f"{folder}: the plan is not complete. Make it again: tranship plan")
    if directory.done(APPLY_STEP) is not None:
        raise ConfigError(f"{folder}: the plan is carried out; nothing is left to do. See {folder / 'report.html'}")


def _unusable_plan(folder: Path, error: Damaged) -> Damaged:
    return Damaged(
        f"{error} The plan in {folder} cannot be carried out. Make a new one: tranship plan. It reads anew what the "
        "destination holds, also what was written already."
    )


def verify(settings: Settings, observer: Observer | None = None) -> Verification:
    """Read source and destination and compare them, customer by customer, field by field. Writes to neither.

    Raises what `run` raises.
    """
    looking = settings.model_copy(update={**_LOOKING, "allow_empty": True, "max_conflicts": "100%"})
    observer = observer or Quiet()
    _must_know_forms(looking)
    with _turn(looking, observer):
        report = _at_turn(looking, observer, open_destination=_open_compared)
    return verify_run(settings.state_dir, report.run_id, observer)


def verify_run(state_dir: Path, run_id: str, observer: Observer | None = None) -> Verification:
    """The same for what an earlier run has read: its destination is read again. `run_id` may be a plan's folder."""
    directory = _found(state_dir, run_id)
    columns = _columns_of(directory)
    if columns is None or directory.done(IDENTIFY_STEP) is None:
        raise ConfigError(f"{directory.run_id}: had not read its source to the end; there is nothing to compare with.")
    settings = _settings_of(directory).model_copy(update=_LOOKING)
    observer = observer or Quiet()
    with _turn(settings, observer, directory):
        directory.check()
        table = _open_compared(settings, observer)
        try:
            return _Run(settings, directory, observer, []).look_again(columns, table)
        finally:
            table.close()


def retry(state_dir: Path, run_id: str, observer: Observer | None = None, **options: Any) -> Report:
    """Do once more what failed at a provider or was not begun, as a run of its own. Raises ConfigError if there is
    nothing, and what `run` raises. `run_id` may be a plan's folder, `options` are as for `apply`.
    """
    directory = _found(state_dir, run_id)
    directory.check_results()
    again = directory.path / "again"
    given = directory.manifest["settings"] | {"source": str(again), "state_dir": state_dir, "limit": None} | options
    if given["mode"] == "mirror":
        # Whoever is not among the records that failed is not gone.
        given["mode"] = "upsert"
    for name in ("columns", "defaults", "where", "encoding", "delimiter", "quote", "header", "include_archived"):
        given.pop(name, None)
    # What became of a record is for people; it is nothing of the customer's.
    given["columns"] = {"_outcome": "", "_reason": ""}
    settings, observer = load(given, {}), observer or Quiet()
    _must_have_failures(directory)
    with _turn(settings, observer, directory, _must_have_failures):
        return _at_turn(settings, observer)


def _must_have_failures(directory: RunDirectory) -> None:
    again = directory.path / "again"
    if not again.is_dir() or not any(again.iterdir()):
        raise ConfigError(f"{directory.run_id}: nothing failed and nothing was left out; there is nothing to do again.")


def _found(state_dir: Path, run_id: str) -> RunDirectory:
    """A run by its id, `last`, or the folder of a plan."""
    folder = Path(run_id)
    return RunDirectory.at(folder) if (folder / "manifest.json").exists() else RunDirectory.open(state_dir, run_id)


def _settings_of(directory: RunDirectory, **changes: Any) -> Settings:
    """The settings of an earlier run. Raises ConfigError."""
    return load(directory.manifest["settings"] | changes, {})


def _wire_of(directory: RunDirectory) -> list[str]:
    return list(directory.manifest.get("wire", []))


def resume(state_dir: Path, run_id: str, observer: Observer | None = None, **options: Any) -> Report:
    """Continue a run that died or was interrupted, from its last finished step. Raises ConfigError if there is none.
    `options` are as for `apply`.
    """
    directory = RunDirectory.open(state_dir, run_id)
    settings = _settings_of(directory, **{"state_dir": state_dir, "limit": None, **options})
    observer = observer or Quiet()
    _must_be_left_to_resume(directory)
    with _turn(settings, observer, directory, _must_be_left_to_resume):
        staged = directory.done(STAGE_STEP) is not None
        if not staged and len(settings.sources) > 1 and "-" in settings.sources:
            raise ConfigError(
                f"{directory.run_id}: had not read its sources to the end, and standard input, one of them, is gone. "
                "Give the command again, with its input."
            )
        if not staged and not directory.keeps_pages():
            # It died before its stage was complete: there is nothing to continue from, the same work starts anew.
            return _at_turn(settings, observer)
        try:
            return _go_on(settings, directory, observer)
        except Damaged as error:
            observer.note(_anew(error))
        return _run(settings, observer, None, None, _open_destination, continuing=False)


def _go_on(settings: Settings, directory: RunDirectory, observer: Observer) -> Report:
    """Continue a run that this process owns, also one that had not read its source to the end."""
    columns = _columns_of(directory)
    table = _open_destination(settings, observer)
    try:
        if columns is None:
            return _read_on(settings, directory, observer, table)
        directory.check()
        directory.take_over()
        return _Run(settings, directory, observer, []).go(None, columns, _wire_of(directory), table)
    finally:
        table.close()


def _must_be_left_to_resume(directory: RunDirectory) -> None:
    if (directory.path / "report.json").exists() and directory.manifest["status"] in ("done", "done_with_rejects"):
        raise ConfigError(
            f"{directory.run_id}: is finished; nothing is left to do. See: tranship report {directory.run_id}"
        )


@contextmanager
def _turn(
    settings: Settings,
    observer: Observer,
    directory: RunDirectory | None = None,
    must_be_left: Callable[[RunDirectory], None] = lambda _: None,
) -> Iterator[None]:
    """Hold the lock of the destination, unless nothing is written there, then that of the run to go on with.

    Raises Busy or Skipped: another process has one of them, or has done meanwhile what was left of the run.
    """

    def look() -> None:
        if directory is not None:
            directory.must_be_free()

    with ExitStack() as held:
        if directory is not None:
            directory.has_lock = settings.locks
        if settings.locks and not settings.dry_run:
            lock = locks.of_destination(settings.state_dir, registry.identity(settings.destination))
            held.callback(lock.release)
            waiting = _waiting(settings, observer)
            locks.wait_for(lock, shown(settings.destination), settings.overlap, waiting, look)
        if directory is not None:
            held.callback(directory.let_go)
            last = directory.last_holder
            directory.own()
            try:
                must_be_left(directory)
            except ConfigError as error:
                raise Busy(f"{error} It was done by {last}, while this command was starting.") from error
        yield


def _read_on(settings: Settings, directory: RunDirectory, observer: Observer, table: Destination) -> Report:
    """Go on with a read from a provider; what has come is not asked for again."""
    source = _open_source(settings, observer)
    try:
        layouts = source.layouts()
        columns = mapping.propose(layouts, settings.columns, settings.defaults, settings.extra)
        if directory.manifest["source"] != source.fingerprint():
            raise ConfigError(
                f"{directory.run_id}: read from another place than {settings.source_name} is now. "
                "Set the environment as it was, or begin a new run."
            )
        where = _where(settings, layouts)
        directory.manifest["reading"] = _reading(settings, columns, where)
        directory.begin_stage_again()
        return _Run(settings, directory, observer, list(columns.notes), where).go(
            source, columns, _wire(layouts), table
        )
    finally:
        source.close()


def inspect(reading: Reading, rows: int) -> Inspection:
    """Look at the first rows of a source without running anything. Raises ConfigError or ConnectorError."""
    _must_know_forms(reading)
    source = _open_source(reading)
    try:
        with tempfile.TemporaryDirectory(prefix="tranship-") as keep:
            return inspection.inspect(source.layouts(), source.parts(Path(keep)), reading, rows)
    finally:
        source.close()


def _wire(layouts: Sequence[Layout]) -> list[str]:
    return list(dict.fromkeys(column for layout in layouts for column in layout.columns))


def _where(settings: Reading, layouts: Sequence[Layout]) -> Condition | None:
    return selection.condition(settings.where, layouts) if settings.where else None


def _columns_of(directory: RunDirectory) -> ColumnMap | None:
    facts = directory.done(STAGE_STEP)
    if facts is None:
        return None
    if "mapped" not in facts:
        raise Damaged(
            f"{directory.path}: was made by an earlier version of Tranship, which this one does not continue."
        )
    return ColumnMap(facts["mapped"], tuple(facts["extra"]), facts["defaults"])


def _open_source(settings: Reading, observer: Observer | None = None) -> Source:
    csv = CsvOptions(settings.encoding, settings.delimiter, settings.quote, settings.header)
    waiting = _waiting(settings, observer) if isinstance(settings, Settings) and observer else None
    return registry.open_sources(settings.sources, csv, include_archived=settings.include_archived, waiting=waiting)


def _must_know_forms(reading: Reading) -> None:
    """Raises ConfigError if no date can be read by a form that was named."""
    for form in reading.date_format:
        if not normalise.is_form(form):
            raise ConfigError(
                f"--date-format {form!r}: no date can be read by it. Write a form of strftime with day, month and "
                "year, such as %d/%m/%Y or '%m/%d/%Y %H:%M'."
            )


def _waiting(settings: Settings, observer: Observer) -> Waiting:
    def say(text: str) -> None:
        log.info(text)
        observer.note(text)

    return Waiting(seconds(settings.lock_timeout), say)


def _open_destination(settings: Settings, observer: Observer) -> Destination:
    options = {
        **{"raw": settings.raw, "create": settings.create == "auto", "overwrite": settings.overwrite},
        "written": settings.state_dir / "written",
        **{"memory": settings.memory, "pace": a_second(settings.pace) if settings.pace else None},
        **{name: seconds(getattr(settings, name)) for name in ("lock_timeout", "statement_timeout")},
        "waiting": _waiting(settings, observer),
    }
    return registry.open_destination(settings.destination, options)


def _open_compared(settings: Settings, observer: Observer) -> Destination:
    """The destination, to be compared with and not to be written."""
    if registry.CONNECTORS[registry.kind_of(settings.destination)].abilities.keeps_state:
        return _open_destination(settings, observer)
    return _FileAsTable(settings)


class _FileAsTable:
    """A file as a destination that is only looked at."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = shown(settings.destination)
        if not Path(settings.destination).expanduser().exists():
            raise ConfigError(f"{self._name}: does not exist; there is nothing to compare with. Check the path.")

    def plan(self, load: WriteRequest) -> Plan:
        """Read the file and compare it, if that is wanted."""
        if not load.compare:
            return all_created(load)
        place = load.workspace / "destination"
        place.mkdir(mode=0o700)
        try:
            return self._compare(load, place)
        finally:
            shutil.rmtree(place)

    def _compare(self, load: WriteRequest, place: Path) -> Plan:
        settings = self._settings
        spelling = normalise.Spelling(settings.timezone, settings.date_format, frozenset(settings.blocked))
        source = registry.open_sources([settings.destination], CsvOptions())
        try:
            columns = verification.columns_of(self._name, source.layouts())
            staged, unread = verification.staged(source.parts(place), columns, spelling, place)
        finally:
            source.close()
        fields = columns.targets or tuple(COLUMNS)  # a file without a byte in it has no columns
        table = registry.held(staged, fields, place / "held.duckdb", settings.memory)
        try:
            plan = table.plan(load)
        finally:
            table.close()
        if unread.height:
            extra = pl.read_parquet(load.workspace / "extra.parquet")
            pl.concat([extra, unread], how="diagonal").write_parquet(load.workspace / "extra.parquet")
        missing = [name for name in load.survivors.columns if name not in fields]
        lost = (f"{self._name} has no column for {', '.join(missing)}: not compared",) if missing else ()
        return dataclasses.replace(plan, notes=lost)

    def apply(self, load: WriteRequest, plan: Plan) -> None:
        """Never asked for."""
        raise NotImplementedError

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Never known."""
        return False

    def close(self) -> None:
        """Nothing is held open."""


def _must_lie_outside(settings: Settings, out: Path | None) -> None:
    """Raises ConfigError for a file to be written among the files of runs."""
    if registry.CONNECTORS[registry.kind_of(settings.destination)].abilities.keeps_state:
        return
    place = Path(settings.destination).expanduser().resolve()
    for folder in (settings.state_dir / "runs", settings.state_dir / "written", *([out] if out else [])):
        if folder.resolve() in place.parents:
            raise ConfigError(
                f"{settings.destination}: lies in {folder}, where runs keep their files. Write it elsewhere."
            )


def _public(settings: Settings) -> dict[str, Any]:
    public = settings.model_dump(mode="json")
    sources = [shown(source) for source in settings.sources]
    return public | {"source": sources if len(sources) > 1 else sources[0], "destination": shown(settings.destination)}


def _work(settings: Settings, source: Source) -> str:
    """What makes two runs the same work: settings and input. Empty for an input that cannot be known again."""
    prints = source.fingerprint()
    if any(print_["size"] is None for print_ in prints) and not _continues(settings):
        return ""
    said = settings.model_dump(
        mode="json",
        exclude={
            *("state_dir", "workers", "memory", "lock_timeout", "statement_timeout", "overlap", "locks", "overwrite"),
        },
    )
    return hashlib.sha256(json.dumps([said, prints], sort_keys=True).encode()).hexdigest()


def _reading(settings: Settings, columns: ColumnMap, where: Condition | None) -> str:
    """All that decides what records become, but for the records: two runs in which it is equal read alike."""
    here = Path(__file__).parent.parent
    program = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for package in ("connectors", "pipelines", "schemas")
        for file in sorted((here / package).rglob("*"))
        if file.suffix in (".py", ".csv")
    ]
    said = settings.model_dump(mode="json", include={"timezone", "date_format", "blocked"})
    mapped = [
        *(list(part.items()) for part in (columns.fields, columns.defaults, columns.rivals, columns.others)),
        columns.extra,
    ]
    libraries = [metadata.version(name) for name in ("polars", "pyarrow", "duckdb", "pandera", "idna", "tzdata")]
    asked = where.meaning if where else None
    return hashlib.sha256(json.dumps([program, libraries, said, mapped, asked]).encode()).hexdigest()


def _continues(settings: Reading) -> bool:
    return all(registry.CONNECTORS[registry.kind_of(source)].abilities.continues for source in settings.sources)


def _continued(settings: Settings, work: str) -> RunDirectory | None:
    """An earlier run of the same work whose process died when the stage was complete. Of a provider, whose customers
    change all the time, also one that had only begun to read, and both only if that is not long ago.
    """
    for directory in run_directory.all_runs(settings.state_dir) if work and settings.locks else ():
        if directory.manifest.get("work") == work:
            try:
                directory.own()
            except TranshipError:
                return None
            if not directory.has_lock or not _can_be_continued(settings, directory):
                directory.let_go()
                return None
            try:
                directory.check()
            except Damaged:
                directory.let_go()
                raise
            directory.take_over()
            return directory
    return None


def _can_be_continued(settings: Settings, directory: RunDirectory) -> bool:
    """Whether a run of the same work, which this process owns, has died where it can go on."""
    staged = directory.done(STAGE_STEP) is not None
    died = directory.manifest["status"] == "running"
    if _continues(settings):
        ended = died or directory.manifest["status"] in ("failed", "interrupted")
        if not ended or not directory.was_alive_within(_STILL_FRESH) or not (staged or directory.keeps_pages()):
            return False
    elif not died or not staged:
        return False
    if not staged:
        directory.begin_stage_again()
    return True


class _Run:
    """One run, from its directory to its report."""

    def __init__(
        self,
        settings: Settings,
        directory: RunDirectory,
        observer: Observer,
        notes: list[str],
        where: Condition | None = None,
    ) -> None:
        self._settings = settings
        self._where = where
        self._directory = directory
        self._staged = Stage(directory.path)
        self._findings = Findings(directory.path)
        self._observer = observer
        self._notes = notes
        self._seconds: dict[str, float] = {}
        self._tally = _Tally()
        self._merges: dict[str, int] = {"external_id": 0, "email": 0}
        self._plan: Plan | None = None
        self._outcomes: Outcomes | None = None
        self._files: dict[str, Path] = {}
        self._columns: ColumnMap | None = None
        self._wire: list[str] = []

    def go(self, source: Source | None, columns: ColumnMap, wire: list[str], table: Destination) -> Report:
        started = time.perf_counter()
        self._columns, self._wire = columns, wire
        for text in self._notes:
            self._observer.note(text)
        try:
            self._stage(source, columns, wire)
            load = self._identify(columns)
            self._carry_out(load, table)
            return self._end(started, None, None)
        except GateClosed as error:
            error.report = self._end(started, "stopped", error)
            raise
        except (KeyboardInterrupt, RuntimeError) as error:
            # DuckDB answers a signal with this RuntimeError.
            if not isinstance(error, KeyboardInterrupt) and str(error) != "Query interrupted":
                raise
            raise self._interrupted() from None
        except TranshipError as error:
            if self._directory.done(STAGE_STEP) is None and self._directory.keeps_pages():
                error.args = (f"{error} What has come is kept.",)
            elif self._outcomes is not None:
                error.args = (f"{error} What was sent is written down.",)
            error.report = self._end(started, "failed", error)
            raise
        finally:
            self._directory.let_go()

    def _interrupted(self) -> Interrupted:
        directory, settings = self._directory, self._settings
        directory.manifest["status"] = "interrupted"
        directory.save()
        if directory.done(APPLY_STEP) is not None:
            state = "the write is done, only its report is missing"
        elif self._outcomes is not None:
            state = "what was sent is written down"
        elif directory.done(PLAN_STEP) is not None and not settings.dry_run:
            state = "the destination has all of the write or nothing of it"
        else:
            state = "the destination is as it was"
        return Interrupted(f"Stopped; {state}. Continue with: {self._directory.go_on}")

    def look_again(self, columns: ColumnMap, table: Destination) -> Verification:
        """Compare what the run has read with what the destination holds now."""
        self._columns = columns
        self._tally = self._read_already()
        workspace = self._directory.path / "verify"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(mode=0o700)
        # Beside the run: what was written for it has nothing to do with this plan.
        load = dataclasses.replace(self._identify(columns), workspace=workspace, compare=True, write_began=False)
        with self._timed("compare", None):
            self._plan = table.plan(load)
        self._directory.secure()
        return _verified(self._directory, workspace, self._plan, load.survivors)

    def _tell(self, notes: list[str]) -> None:
        for note in notes:
            if note not in self._notes:
                self._notes.append(note)
                self._observer.note(note)

    # Steps -------------------------------------------------------------------------------------------------------

    def _read_already(self) -> _Tally:
        """What an earlier process of this run has read."""
        done = self._directory.done(STAGE_STEP)
        assert done is not None  # noqa: S101  (asked for a finished stage only)
        return _Tally(
            done["read"],
            done.get("skipped", 0),
            done["staged"],
            done["rejected"],
            Counter(done["by_code"]),
            Counter(done["warnings"]),
            {code: tuple(place) for code, place in done["first"].items()},
        )

    def _stage(self, source: Source | None, columns: ColumnMap, wire: list[str]) -> None:
        if self._directory.done(STAGE_STEP) is not None:
            self._tally = self._read_already()
            self._observer.note(
                f"continuing run {self._directory.run_id}: {self._tally.read:,} records are read already"
            )
            return
        assert source is not None  # noqa: S101  (only a finished stage is continued without one)
        state_dir = self._settings.state_dir
        earlier = stage.earlier_stage(state_dir, self._directory.manifest["reading"])
        parts: list[BatchCounts] = []
        with self._timed("read", source.size):
            total = source.size
            for position, counts in self._batches(source, columns, earlier):
                parts.append(counts)
                self._tally.add(counts)
                if source.size != total:
                    total = source.size
                    self._observer.step("read", total)
                self._observer.advanced(position, self._tally.read)
        self._tell([f"{layout.name}: {note}" for layout in source.layouts() for note in layout.notes])
        known = sum(part.read for number, part in enumerate(parts) if part is earlier.parts.get(number))
        if known:
            self._tell([f"{known:,} records are as run {earlier.run_id} has read them"])
        rivals.must_not_hide(((part.source, part.filled) for part in parts), columns)
        # Arrow keeps what it has read with; identity needs the room.
        pa.default_memory_pool().release_unused()
        tally = self._tally
        self._staged.complete(self._directory.run_id, parts)
        self._directory.manifest["wire"] = wire
        self._directory.finish(
            STAGE_STEP,
            {
                **{"read": tally.read, "skipped": tally.skipped, "staged": tally.staged, "rejected": tally.rejected},
                # Copies: later steps add to the tally, and to these again when the run is continued.
                **{"by_code": dict(tally.by_code), "warnings": dict(tally.warnings), "first": dict(tally.first)},
                **{
                    "mapped": dict(columns.fields),
                    "extra": columns.extra,
                    "defaults": dict(columns.defaults),
                },
            },
        )

    def _batches(self, source: Source, columns: ColumnMap, earlier: EarlierStage) -> Iterator[tuple[int, BatchCounts]]:
        """Parts are turned into staged batches side by side; what comes back is in the order of the source."""
        spelling = normalise.Spelling(
            self._settings.timezone, self._settings.date_format, frozenset(self._settings.blocked)
        )
        with ThreadPoolExecutor(self._settings.workers) as pool:
            ahead: deque[tuple[int, Future[BatchCounts]]] = deque()
            try:
                for number, part in enumerate(source.parts(self._directory.path / PAGES)):
                    work = pool.submit(self._put_away, number, part, columns, spelling, earlier)
                    ahead.append((part.position, work))
                    if len(ahead) > self._settings.workers + 1:
                        position, future = ahead.popleft()
                        yield position, future.result()
                while ahead:
                    position, future = ahead.popleft()
                    yield position, future.result()
            finally:
                for _, future in ahead:
                    future.cancel()

    def _put_away(
        self, number: int, part: Part, columns: ColumnMap, spelling: normalise.Spelling, earlier: EarlierStage
    ) -> BatchCounts:
        digest = part.digest()
        known = self._staged.adopt(number, digest, earlier)
        if known is not None:
            return known
        batch, skipped = part.read(), None
        if self._where is not None:
            batch, left = selection.split(batch, self._where)
            keys = normalise.customers(left.records, columns.of_keys.within(left.records.columns), spelling)
            every = pl.int_range(left.records.height, dtype=pl.UInt32, eager=True)
            skipped = present.keys_of(left, keys, validate.faults(keys), every)
        if batch.records.is_empty():
            return self._staged.add(number, batch, None, faults.no_reasons(), digest, skipped=skipped)
        rivals.must_agree(batch, columns)
        normalised = normalise.customers(batch.records, columns.within(batch.records.columns), spelling)
        filled = rivals.filled(batch, columns, normalised.records)
        return self._staged.add(number, batch, normalised, validate.faults(normalised), digest, filled, skipped)

    def _identify(self, columns: ColumnMap) -> WriteRequest:
        with self._timed("identify", None):
            done = self._directory.done(IDENTIFY_STEP)
            if done is None:
                done = self._decide()
                self._directory.finish(IDENTIFY_STEP, done, _IDENTIFIED)
            self._merges = done["merges"]
            self._tally.rejected += done["ambiguous"]
            if done["ambiguous"]:
                self._tally.by_code[_AMBIGUOUS] += done["ambiguous"]
                self._tally.first.setdefault(_AMBIGUOUS, tuple(done["first_ambiguous"]))
            for code, name, first in (
                ("email.shared", "shared", "first_shared"),
                ("external_id.lookalike", "alike", "first_alike"),
                (_CONFLICT, "conflicts", "first_conflict"),
            ):
                # A run of an earlier version has only the first of them.
                if done.get(name):
                    self._tally.warnings[code] += done[name]
                    self._tally.first.setdefault(code, tuple(done[first]))
            self._tally.warnings -= Counter(done["retracted"])
        merged = sum(self._merges.values())
        survivors = self._staged.survivors(columns.targets, self._tally.staged - merged - done["ambiguous"])
        settings = self._settings
        history, lost = crosswalks.found(settings.state_dir, shown(settings.destination), self._directory.run_id)
        if lost:
            what = f"{len(lost)} crosswalks of earlier runs are damaged or incomplete and are left out: customers that"
            self._tell([f"{what} those runs wrote count as written by others. The first is {lost[0]}"])
        return WriteRequest(
            run_id=self._directory.run_id,
            survivors=survivors,
            source=settings.source_name,
            mode=settings.mode,
            overwrite_nulls=settings.nulls == "overwrite",
            evolve=settings.evolve,
            hard_delete=settings.deletes == "remove",
            workspace=self._directory.path,
            started_at=self._directory.manifest["started_at"],
            ledger={
                "read": self._tally.read,
                "rejected": self._tally.rejected,
                "merged": merged,
                "skipped": self._tally.skipped,
            },
            say=self._observer.note,
            advanced=self._advanced,
            limit=settings.limit,
            crosswalk=settings.crosswalk,
            history=tuple(history),
            older=settings.older or "skip",
            present=self._staged.present_files(),
            remove_for_good=settings.remove_for_good,
            compare=self._directory.stands_alone,
            write_began=self._directory.has_begun_to_write,
        )

    def _advanced(self, done: int, total: int) -> None:
        if done == 0:
            self._observer.step("write", total)
        self._observer.advanced(done, done)

    def _decide(self) -> dict[str, Any]:
        staged, findings, settings = self._staged, self._findings, self._settings
        candidates = staged.candidates(identify.rows_to_look_at(staged.keys())) if self._tally.staged else None
        if candidates is None or candidates.is_empty():
            staged.keep_identity(pl.Series([], dtype=pl.UInt64), pl.DataFrame(), pl.DataFrame(schema=identify.MERGES))
            return {
                "merges": {"external_id": 0, "email": 0},
                **{"ambiguous": 0, "shared": 0, "conflicts": 0},
                "retracted": {},
                "first_ambiguous": None,
            }
        decided = identify.decide(candidates, settings.survivor)
        rows = identify.rows_to_patch(decided, candidates, fill=settings.fill)
        patched = identify.patched(staged.records(rows), decided, fill=settings.fill) if len(rows) else pl.DataFrame()
        staged.keep_identity(pl.concat([decided.losers, decided.ambiguous]), patched, decided.merges)
        first = findings.reject_identity("run", decided.ambiguous, _AMBIGUOUS)
        ambiguous = candidates.filter(pl.col("row").is_in(decided.ambiguous.implode()))
        staged.keep_present("identity-run.parquet", ambiguous.with_columns(id_unusable=False, email_unusable=False))
        retracted = findings.retract_warnings("run", decided.ambiguous)
        findings.warn("shared", decided.shared)
        findings.warn("alike", decided.alike)
        findings.warn("conflicts", decided.conflicts)
        return {
            "merges": {"external_id": 0, "email": 0} | dict(decided.merges["rule"].value_counts().iter_rows()),
            "ambiguous": len(decided.ambiguous),
            "shared": decided.shared.height,
            "first_shared": _first_place(decided.shared),
            "alike": decided.alike.height,
            "first_alike": _first_place(decided.alike),
            "conflicts": decided.conflicts.height,
            "first_conflict": _first_place(decided.conflicts),
            "retracted": retracted,
            "first_ambiguous": first,
        }

    def _carry_out(self, load: WriteRequest, table: Destination) -> None:
        """Plan, gate and apply; anew where the destination undid it all and another time may go better."""
        before = copy.deepcopy(self._tally), list(self._notes)
        for pause in (*_PAUSES, None):
            try:
                self._make_plan(load, table)
                self._gate()
                if not self._settings.dry_run:
                    self._apply(load, table)
                return
            except Interfered as error:
                if pause is None:
                    raise Interfered(
                        f"{error} Tried {len(_PAUSES) + 1} times. If it was cut off while committing, this finds out: "
                        f"{self._directory.go_on}"
                    ) from error
                self._observer.note(f"{error} Once more in {pause:g} s.")
                time.sleep(pause)
                self._tally, self._notes = copy.deepcopy(before[0]), list(before[1])

    def _make_plan(self, load: WriteRequest, table: Destination) -> None:
        with self._timed("plan", None):
            done = self._directory.done(PLAN_STEP)
            if done is not None and table.applied(load.run_id):
                # It died between the commit and the report: the plan as it was then is what was done.
                self._directory.check_plan()
                self._directory.finish(APPLY_STEP, {})
            else:
                agreed = self._agreed(load) if done is not None and self._directory.stands_alone else None
                deletes = (done or {"counts": {}})["counts"].get("delete")
                plan = table.plan(load)
                if agreed is not None:
                    self._must_be_as_agreed(agreed, plan, deletes)
                done = self._planned(plan)
                if self._directory.stands_alone and agreed is None:
                    self._files["changes"] = self._directory.path / "changes.csv"
                    _write_differences(load.workspace, plan, load.survivors, self._files["changes"])
                    shutil.copyfile(plan.rows, load.workspace / "agreed.parquet")
                self._directory.finish(PLAN_STEP, done, _PLANNED)
        self._plan = Plan(
            *(self._directory.path / _ROWS, done["counts"], done["changed_fields"], done["existing"]),
            *(tuple(done["notes"]), done.get("withheld", 0), tuple(done.get("unidentified", ()))),
        )
        self._list_stale(load)
        for text in self._plan.notes:
            self._observer.note(text)
        self._notes += self._plan.notes
        if self._plan.counts["ambiguous"]:
            self._tally.by_code[_AMBIGUOUS] += self._plan.counts["ambiguous"]
            self._tally.first.setdefault(_AMBIGUOUS, tuple(done["first_ambiguous"]))
        self._tally.warnings -= Counter(done["retracted"])

    def _agreed(self, load: WriteRequest) -> pl.DataFrame:
        """The plan that `apply` is to carry out, as it was made."""
        return _decisions(pl.read_parquet(load.workspace / "agreed.parquet"))

    def _list_stale(self, load: WriteRequest) -> None:
        """As CSV for people, beside the Parquet file of the comparison."""
        found, listed = load.workspace / "stale.parquet", load.workspace / "stale.csv"
        listed.unlink(missing_ok=True)
        if found.exists():
            pl.scan_parquet(found).sink_csv(listed, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
            self._files["stale"] = listed

    def _must_be_as_agreed(self, agreed: pl.DataFrame, plan: Plan, deletes: int | None) -> None:
        now = _decisions(pl.read_parquet(plan.rows))
        moved = agreed.join(now, on=agreed.columns, how="anti", nulls_equal=True).height
        if moved or now.height != agreed.height:
            raise GateClosed(
                f"{shown(self._settings.destination)}: has moved since the plan was made: {moved:,} records would be "
                "treated in another way now. Nothing was written. Make a new plan."
            )
        if plan.counts["delete"] != deletes:
            raise GateClosed(
                f"{shown(self._settings.destination)}: has changed since the plan was made: {plan.counts['delete']:,} "
                f"customers would be deleted, not {deletes:,}. Nothing was written. Make a new plan."
            )

    def _planned(self, plan: Plan) -> dict[str, Any]:
        """The plan as the manifest keeps it. Records whose identity failed at the destination go to the rejects."""
        ambiguous = pl.scan_parquet(plan.rows).filter(pl.col("action") == "ambiguous").select("row").collect()["row"]
        first = self._findings.reject_identity("destination", ambiguous, _AMBIGUOUS)
        return {
            **{"counts": dict(plan.counts), "changed_fields": dict(plan.changed_fields)},
            **{"existing": plan.existing, "notes": list(plan.notes)},
            **{"withheld": plan.withheld, "unidentified": list(plan.unidentified)},
            "retracted": self._findings.retract_warnings("destination", ambiguous),
            "first_ambiguous": first,
        }

    def _gate(self) -> None:
        """Limits that stop a run before its first write."""
        settings, tally, plan = self._settings, self._tally, self._plan
        assert plan is not None  # noqa: S101  (the plan is made)
        if not tally.read and not settings.allow_empty:
            raise GateClosed(
                f"{settings.source_name}: holds no record. Nothing was written. If that is right: --allow-empty"
            )
        conflicts = tally.warnings[_CONFLICT]
        if conflicts > limit(settings.max_conflicts, tally.read):
            source, line = tally.first[_CONFLICT]
            raise GateClosed(
                f"{conflicts:,} of {tally.read:,} records share their external_id with a record of another e-mail and "
                f"another name, more than --max-conflicts {settings.max_conflicts}; the first: {source}, line {line}. "
                "They would be merged. Nothing was written. If another column is the customer's id: "
                f'--map "COLUMN=external_id"; if they are the same customers: --max-conflicts {conflicts}'
            )
        updates, stale = plan.counts["update"], plan.counts.get("stale", 0)
        if settings.older is None and stale > updates:
            first = pl.scan_parquet(self._directory.path / "stale.parquet").select("source", "line").head(1).collect()
            source, line = first.row(0)
            raise GateClosed(
                f"{stale:,} of the {stale + updates:,} records that would change a customer are older (updated_at) "
                f"than what {shown(settings.destination)} holds; the first is {source}, line {line}. Nothing was "
                "written. If this is the right input, leave these customers as they are with --older skip, or let the "
                f"older records win with --older write. All of them: {self._files['stale']}"
            )
        rejected = tally.rejected + plan.counts["ambiguous"]
        changes, deletes = plan.counts["update"], plan.counts["delete"]
        for name, value, count, of, what in (
            ("max-rejects", settings.max_rejects, rejected, tally.read, "records were rejected"),
            ("max-deletes", settings.max_deletes, deletes, plan.existing, "customers would be deleted"),
            ("max-changes", settings.max_changes, changes, plan.existing, "customers would change"),
        ):
            if value is not None and count > limit(value, of):
                raise GateClosed(
                    f"{count:,} of {of:,} {what}, more than --{name} {value}. Nothing was written. Look at "
                    f"tranship report {self._directory.run_id}, then correct the source or raise the limit."
                )

    def _apply(self, load: WriteRequest, table: Destination) -> None:
        assert self._plan is not None  # noqa: S101  (the plan is made)
        with self._timed("write", None):
            done = self._directory.done(APPLY_STEP)
            if done is None:
                self._directory.begin_to_write()
                try:
                    outcomes = table.apply(load, self._plan)
                except BaseException as error:
                    self._keep_outcomes(outcomes_so_far(error))
                    raise
                self._keep_outcomes(outcomes)
                # What is left to send is in the journal, for the next run of this directory.
                if outcomes is None or not outcomes.counts["left"] + outcomes.counts["deletes_left"]:
                    self._directory.finish(APPLY_STEP, _facts_of(self._outcomes) if self._outcomes else {})
            elif "counts" in done:
                self._outcomes = _outcomes_of(done)

    def _keep_outcomes(self, outcomes: Outcomes | None) -> None:
        """Write the outcomes of a write, complete or broken off, to the run directory."""
        if outcomes is None:
            return
        results = self._findings.keep_results(outcomes.files["outcomes"], self._staged.batched())
        self._outcomes = dataclasses.replace(outcomes, files={**outcomes.files, **results})
        self._directory.keep_seals_of([*self._outcomes.files.values(), self._directory.path / "crosswalk.parquet"])
        crosswalks.share(self._directory, self._settings.state_dir)
        self._tell(list(outcomes.notes))

    @contextmanager
    def _timed(self, name: str, total: int | None) -> Iterator[None]:
        self._observer.step(name, total)
        started = time.perf_counter()
        log.info("step begins", extra={"run_id": self._directory.run_id, "step": name})
        yield
        self._seconds[name] = round(time.perf_counter() - started, 3)
        log.info(
            "step ends",
            extra={"run_id": self._directory.run_id, "step": name, "seconds": self._seconds[name]},
        )

    # Report ------------------------------------------------------------------------------------------------------

    def _end(self, started: float, status: report.Status | None, error: TranshipError | None) -> Report:
        settings, tally, directory = self._settings, self._tally, self._directory
        files = self._files | (self._findings.collect(self._wire) if status != "failed" else {})
        counts = self._counts()
        if status is None:
            if counts.balance():
                raise RuntimeError(f"the ledger does not balance by {counts.balance()}: {counts}")
            failed = counts.refused + self._moved() + counts.unknown + counts.withheld
            covered = settings.max_rejects is not None and not failed
            status = "done_with_rejects" if (counts.rejected or failed) and not covered else "done"
            status = "partly_done" if counts.left else status
        exit_code = error.exit_code if error else 4 if status == "done_with_rejects" else 0
        if self._plan is not None:
            files["plan"] = self._plan.rows
        if self._outcomes is not None:
            files |= self._outcomes.files
        files |= {"report": directory.path / "report.json", "page": directory.path / "report.html"}
        made = Report(
            run_id=directory.run_id,
            status=status,
            exit_code=exit_code,
            dry_run=settings.dry_run,
            source=settings.source_name,
            destination=shown(settings.destination),
            run_dir=str(directory.path),
            counts=counts,
            rejects_by_code=dict(tally.by_code.most_common()),
            warnings_by_code=dict(tally.warnings.most_common()),
            refused_by_reason=self._outcomes.reasons if self._outcomes else _refused(self._plan),
            stale_by_reason={
                name: count
                for name, count in ((report.OLDER, counts.stale - self._moved()), (report.MOVED, self._moved()))
                if count
            },
            unidentified=self._plan.unidentified if self._plan else (),
            merges_by_rule=self._merges,
            changed_fields=dict(self._plan.changed_fields) if self._plan else {},
            columns=self._columns.by_column if self._columns else {},
            examples={code: f"{place[0]}, line {place[1]}" for code, place in tally.first.items()},
            notes=tuple(self._notes),
            seconds={"total": round(time.perf_counter() - started, 3), **self._seconds},
            peak_memory_bytes=_peak_memory(),
            files={name: str(path) for name, path in files.items()},
            error=str(error) if error else None,
        )
        durable.write_json(directory.path / "report.json", dataclasses.asdict(made), indent=1)
        durable.write(directory.path / "report.html", report.page(made))
        directory.manifest["status"] = status
        directory.save()
        directory.secure()
        log.info("run ends", extra={"run_id": made.run_id, "status": status, "counts": dataclasses.asdict(counts)})
        return made

    def _moved(self) -> int:
        """Records that were left alone since their customer was changed at the provider after the plan."""
        counts = self._outcomes.counts if self._outcomes else {}
        return counts.get("moved", counts.get("stale", 0))

    def _counts(self) -> Counts:
        planned = Counter(self._outcomes.counts if self._outcomes else self._plan.counts if self._plan else {})
        return Counts(
            read=self._tally.read,
            skipped=self._tally.skipped,
            rejected=self._tally.rejected + planned["ambiguous"],
            merged=sum(self._merges.values()),
            created=planned["create"],
            updated=planned["update"],
            unchanged=planned["unchanged"],
            refused=planned["refused"],
            deleted=planned["delete"],
            withheld=self._plan.withheld if self._plan else 0,
            stale=planned["stale"],
            unknown=planned["unknown"],
            left=planned["left"],
            warnings=self._tally.warnings.total(),
        )


def _first_place(found: pl.DataFrame) -> tuple[str, int] | None:
    return next(found.select("source", "line").iter_rows(), None)


def _decisions(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("row", "action", "reason", changed=pl.col("changed").list.sort().list.join(","))


def _write_differences(workspace: Path, plan: Plan, survivors: Survivors, file: Path) -> None:
    """Where source and destination differ, from what the plan has left in its workspace, as CSV."""
    found, extra = (
        pl.scan_parquet(file) if file.exists() else None
        for file in (workspace / f"{name}.parquet" for name in ("found", "extra"))
    )
    differing = verification.differences(pl.scan_parquet(plan.rows), survivors.scan(), found, extra)
    differing.with_columns(cells.written(differing.collect_schema())).sink_csv(file)
    file.chmod(0o600)


def _verified(directory: RunDirectory, workspace: Path, plan: Plan, survivors: Survivors) -> Verification:
    file = directory.path / "differences.csv"
    _write_differences(workspace, plan, survivors, file)
    told = pl.scan_csv(file, infer_schema=False).group_by("what").len().collect()
    differing = dict(told.iter_rows())
    if not differing:
        file.unlink()
    return Verification(
        run_id=directory.run_id,
        source=named(directory.manifest["settings"]["source"]),
        destination=directory.manifest["settings"]["destination"],
        counts={
            "equal": plan.counts["unchanged"],
            "different": plan.counts["update"],
            "only_in_source": plan.counts["create"],
            "only_at_destination": differing.get("only_at_destination", 0),
            "refused": plan.counts["refused"] + plan.counts["ambiguous"],
        },
        different_fields=dict(plan.changed_fields),
        refused_by_reason=_refused(plan),
        files={"differences": str(file)} if differing else {},
        notes=plan.notes,
    )


def _facts_of(outcomes: Outcomes) -> dict[str, Any]:
    """As the manifest keeps it."""
    files = {name: str(path) for name, path in outcomes.files.items()}
    return {
        "counts": dict(outcomes.counts),
        "reasons": dict(outcomes.reasons),
        "files": files,
        "notes": list(outcomes.notes),
    }


def _outcomes_of(facts: Mapping[str, Any]) -> Outcomes:
    files = {name: Path(path) for name, path in facts["files"].items()}
    return Outcomes(facts["counts"], facts["reasons"], files, tuple(facts["notes"]))


def _refused(plan: Plan | None) -> dict[str, int]:
    if plan is None or not plan.counts["refused"]:
        return {}
    refused = pl.scan_parquet(plan.rows).filter(pl.col("action") == "refused")
    return dict(refused.group_by("reason").len().sort("len", descending=True).collect().iter_rows())


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
