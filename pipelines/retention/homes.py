"""The folders of a state directory in which files belong together: runs, plans, kept crosswalks, and the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors.errors import Busy, ConfigError, TranshipError
from tranship.pipelines import crosswalks, endpoints, locks
from tranship.pipelines import resume as resuming
from tranship.pipelines.normalise import text
from tranship.pipelines.retention import tables
from tranship.pipelines.retention.person import EMAIL_COLUMNS, ID_COLUMNS, Person
from tranship.pipelines.run_directory import RunDirectory

_OF_IDS: Final = ("external_id", "aliases")


class Home:
    """One such folder. `run` is null if it is no run or plan, or a damaged one."""

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._others = frozenset(others)
        self.run: RunDirectory | None = None
        if (folder / "manifest.json").exists():
            try:
                self.run = RunDirectory.at(folder)
            except ConfigError:
                self.run = None

    @property
    def is_run(self) -> bool:
        """Whether it is the folder of a run, intact or not."""
        return self.run is not None or self.folder.parent.name == "runs"

    def files(self) -> list[Path]:
        """Return its files, without those of other homes below it."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and not path.is_symlink())
        return [path for path in found if not (self._others and self._others.intersection(path.parents))]

    def tables(self) -> list[Path]:
        """Return its files that are tables."""
        return [file for file in self.files() if tables.is_table(file)]

    def columns_of(self, *fields: str) -> frozenset[str]:
        """Return the columns of the source from which the run has filled these fields."""
        by_column: dict[str, Any] = (self.run.manifest.get("columns") if self.run else None) or {}
        return frozenset(
            column
            for column, filled in by_column.items()
            if set([filled] if isinstance(filled, str) else filled) & {*fields}
        )

    @cached_property
    def own_ids(self) -> frozenset[str]:
        """The columns of ids, in the source's spelling."""
        return self.columns_of(*_OF_IDS)


def all_homes(state_dir: Path, folders: Sequence[Path] = ()) -> list[Home]:
    """Return the homes of a state directory, and of plans in `folders`. Every file is in exactly one."""
    roots = {path.parent for path in state_dir.rglob("manifest.json")}
    for parent in (state_dir / "runs", state_dir / crosswalks.APPLIED):
        roots |= {path for path in parent.glob("*") if path.is_dir()}
    distinct = {path.resolve(): path for path in reversed(folders)}
    elsewhere = [path for place, path in distinct.items() if not place.is_relative_to(state_dir.resolve())]
    return [*(Home(path) for path in sorted(roots)), Home(state_dir, sorted(roots)), *map(Home, elsewhere)]


@contextmanager
def owned(homes: Sequence[Home], state_dir: Path) -> Iterator[None]:
    """Hold the locks of all runs and of their destinations. Raises Busy if another process has one of them."""
    with ExitStack() as stack:
        held: set[str] = set()
        for run in (home.run for home in homes if home.run is not None and home.run.has_lock):
            try:
                identity = endpoints.destination_identity(resuming.settings_of(run))
            except ConfigError:  # its settings no longer name its destination
                identity = None
            if identity is not None and identity not in held:
                lock = locks.of_destination(state_dir, identity)
                if not lock.take(locks.GLANCE):
                    raise Busy(f"{run.run_id}: its destination is being written to. Wait for that run to end.")
                held.add(identity)
                stack.callback(lock.release)
            run.own()
            stack.callback(run.let_go)
        yield


def expanded(person: Person, homes: Sequence[Home]) -> tuple[Person, int]:
    """Return the customer with all ids and addresses under which the records of these homes have it, and how many of
    its addresses are also those of other customers, which are not looked for.
    """
    ids = person.ids | _related(homes, person.emails, ids=True)
    candidates = _related(homes, ids, ids=False) - person.emails
    shared = frozenset(email for email, other in _pairs_of(homes, candidates) if other is not None and other not in ids)
    return Person(person.emails | (candidates - shared), ids), len(shared)


def ids_at(provider: str, person: Person, homes: Sequence[Home]) -> frozenset[str]:
    """Return the provider's own ids of the customer, as far as runs have written it there."""
    found: set[str] = set()
    for file in (file for home in homes for file in home.tables() if file.name == "crosswalk.parquet"):
        table = pl.scan_parquet(file, glob=False)
        rows = table.filter(person.records(table.collect_schema()) & (pl.col("destination_provider") == provider))
        found |= {own_id for own_id in rows.select("destination_id").collect()["destination_id"] if own_id}
    return frozenset(found)


def _related(homes: Sequence[Home], known: frozenset[str], *, ids: bool) -> frozenset[str]:
    """Return the ids of records with these addresses or, with `ids` false, the addresses of records with these ids."""
    if not known:
        return frozenset()
    found: set[str] = set()
    for frame in _keyed(homes):
        by, wanted = ("email", "external_id") if ids else ("external_id", "email")
        found |= {value for (value,) in _different(frame, by, known, (wanted,)) if value}
    return frozenset(found)


def _pairs_of(homes: Sequence[Home], emails: frozenset[str]) -> set[tuple[str, str | None]]:
    pairs: set[tuple[str, str | None]] = set()
    for frame in _keyed(homes) if emails else ():
        pairs |= _different(frame, "email", emails, ("email", "external_id"))
    return pairs


def _different(frame: pl.LazyFrame, by: str, known: frozenset[str], columns: Sequence[str]) -> set[Any]:
    """Return the different values of these columns in rows that have a known value; none if they cannot be read."""
    try:
        return set(frame.filter(pl.col(by).is_in(sorted(known))).select(columns).unique().collect().iter_rows())
    except pl.exceptions.PolarsError:
        return set()  # the file is named when it is to be written again


def _keyed(homes: Sequence[Home]) -> Iterator[pl.LazyFrame]:
    """Yield the id and the normalised address of every record."""
    for home in homes:
        id_columns = (ID_COLUMNS | home.columns_of("external_id")) - {"aliases", "_as_aliases", "=aliases"}
        email_columns = EMAIL_COLUMNS | home.columns_of("email")
        for file in home.tables():
            try:
                for frame in tables.frames(file):
                    schema = frame.collect_schema()
                    of_id = next((name for name in schema if name in id_columns), None)
                    of_email = next((name for name in schema if name in email_columns), None)
                    if of_id is not None and of_email is not None:
                        yield frame.select(
                            external_id=pl.col(of_id).cast(pl.String).str.strip_chars(" \t'"),
                            email=pl.col(of_email).cast(pl.String).map_batches(text.email, return_dtype=pl.String),
                        )
            except (TranshipError, pl.exceptions.PolarsError):
                continue  # likewise
