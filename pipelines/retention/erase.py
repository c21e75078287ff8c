"""Erase one customer from every file of a state directory.

The files of all runs are written again beside the old ones, without the customer; the manifests, which are the last,
have the new seals, and say that the runs are no longer complete. Then `erasing.json` lists all new files, and they
replace the old ones. If that is interrupted, the next erasure completes it; before, only new files are left, which it
removes. So no run loses the customer before the records of the others were found by what that run has of it.
`erasing.json` has no value of a record.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Struct, field

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError, Damaged
from tranship.pipelines import endpoints, local_state
from tranship.pipelines.encryption import session
from tranship.pipelines.encryption.marks import LOCK, SUFFIX
from tranship.pipelines.observer import Observer, Quiet
from tranship.pipelines.pages.written import write_pages
from tranship.pipelines.report import Report
from tranship.pipelines.retention import downloaded_pages, homes, prune, receipts, removed, tables
from tranship.pipelines.retention.homes import Home
from tranship.pipelines.retention.person import PLACES, ROW_COLUMNS, Person, places_in, rows_in
from tranship.pipelines.stage_files import PATCHED

_STEPS: Final = "erasing.json"
_NEW: Final = ".erased.partial"
_MADE_AGAIN: Final = (".html", ".xlsx")
"""Files that are made of the others, and are made again."""
_SKIPPED: Final = ("lock", LOCK, ".gitignore", downloaded_pages.INDEX, "journal.reached", receipts.FILE)


class Erased(Struct, frozen=True):
    """The result of an erasure: file → entries that were erased, or would be; files that were deleted as a whole, since
    they can be made again; files that could not be read; and the number of the customer's addresses that other
    customers have, too.
    """

    entries: dict[str, int]
    deleted: tuple[str, ...]
    unreadable: dict[str, str]
    shared_addresses: int
    earlier: str | None
    """When the same customer was erased before, if that is known."""

    @property
    def total(self) -> int:
        """The number of entries in all files."""
        return sum(self.entries.values())


class _Steps(Struct):
    """The contents of `erasing.json`: folder, from the state directory on → name of a file in it → replace or remove,
    in this order.
    """

    folders: dict[str, dict[str, str]] = field(default_factory=dict)


def erase(
    state_dir: Path,
    person: Person,
    *,
    folders: Sequence[Path] = (),
    destination: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    observer: Observer | None = None,
    identity: Path | None = None,
) -> Erased:
    """Erase a customer from all runs and plans in a state directory, and from plans in `folders`. With `dry_run`, count
    only. With `destination`, write what a person has to do there to `out`; nothing is done there. `identity`
    has the key of runs whose files are encrypted: without it, these files are named as not searched.

    Raises Busy if one of them is in use, ConfigError and ConnectorError; then nothing is changed.
    """
    local_state.must_be_here(state_dir, "an erasure")

    def work() -> Erased:
        plan = (destination, out) if destination is not None and out is not None else None
        return _erase(state_dir, person, folders, plan, now or datetime.now(UTC), observer or Quiet(), dry_run=dry_run)

    return session.with_records(work, state_dir, None, identity, folders)


def _erase(
    state_dir: Path,
    person: Person,
    folders: Sequence[Path],
    plan: tuple[str, Path] | None,
    now: datetime,
    observer: Observer,
    *,
    dry_run: bool,
) -> Erased:
    earlier = receipts.earlier(state_dir, person)
    found = homes.all_homes(state_dir, folders)
    with homes.owned(found, state_dir):
        if not dry_run:
            prune.complete(state_dir)
            _complete(state_dir, observer)
            _remove_new(found)
        whole, shared = homes.expanded(person, found)
        if plan is not None:
            _write_plan(plan[0], whole, found, plan[1])
        entries: dict[str, int] = {}
        unreadable: dict[str, str] = {}
        steps = _Steps()
        for home in found:
            work = _Work(home, whole)
            counted = work.count()
            entries |= {str(home.folder / name): number for name, number in counted.items()}
            unreadable |= work.unreadable
            unreadable |= _outside(home)
            if counted and not dry_run:
                # The state directory may be moved, or named in another way, before this is completed.
                inside = home.folder.is_relative_to(state_dir)
                place = home.folder.relative_to(state_dir) if inside else home.folder.resolve()
                steps.folders[str(place)] = work.write(now)
        if steps.folders:
            durable.write_json(state_dir / _STEPS, msgspec.to_builtins(steps))
            receipts.keep(state_dir, person, entries, now)
            _complete(state_dir, observer)
        deleted = _delete_caches(state_dir, dry_run=dry_run)
        unreadable |= _begun_since(state_dir, found)
    return Erased(entries, deleted, unreadable, shared, earlier)


def _outside(home: Home) -> dict[str, str]:
    """Return the folder with the tables of an unfinished run on an engine, if it is not in that of the run."""
    run = home.run
    folder = str(run.manifest.get("work_folder", "")) if run is not None and not run.has_ended_well else ""
    if not folder or Path(folder).is_relative_to(home.folder.resolve()):
        return {}
    return {folder: "is outside the state directory, so it was not searched. Remove it if the run is not continued"}


def _begun_since(state_dir: Path, found: Sequence[Home]) -> dict[str, str]:
    """Return runs that have begun in the meantime, which may have read the customer, or reused what others had."""
    known = {home.folder for home in found}
    new = [path for path in (state_dir / "runs").glob("*") if path.is_dir() and path not in known]
    return dict.fromkeys(map(str, new), "began in the meantime, so it was not searched. Erase the customer once more")


def _write_plan(destination: str, person: Person, found: Sequence[Home], out: Path) -> None:
    provider = endpoints.provider_of(destination)
    own_ids = homes.ids_at(provider, person, found) if provider else frozenset()
    text = endpoints.erasure_plan(destination, person.emails, person.ids, own_ids)
    try:
        durable.write(out, text)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({(error.strerror or str(error)).lower()}).") from error


def _delete_caches(state_dir: Path, *, dry_run: bool) -> tuple[str, ...]:
    """Delete downloads, which may be of any format, and can be downloaded again."""
    folder = state_dir / "downloads"
    found = [path for path in folder.rglob("data*") if path.is_file()] if folder.is_dir() else []
    if found and not dry_run:
        shutil.rmtree(folder)
    return tuple(map(str, found))


class _Work:
    """The erasure of a customer from one home."""

    def __init__(self, home: Home, person: Person) -> None:
        self._home, self._person = home, person
        self._rows: frozenset[int] = frozenset()
        self._places: frozenset[tuple[str, int]] = frozenset()
        self._counts: dict[Path, int] = {}
        self.unreadable: dict[str, str] = {}

    def count(self) -> dict[str, int]:
        """Return name of a file → entries that go, without files that have none."""
        self._find_records()
        for file in self._home.files():
            if file.name in _SKIPPED or file.suffix in _MADE_AGAIN or file.name.endswith(("-wal", "-shm")):
                continue
            if file.suffix == SUFFIX:
                self.unreadable[str(file)] = "is encrypted, so it was not searched. Give the key: --identity FILE"
                continue
            try:
                number = self._count_in(file)
            except (Damaged, pl.exceptions.PolarsError, sqlite3.Error):
                self.unreadable[str(file)] = "cannot be read, so it was not searched. Remove it if you do not need it"
                continue
            if number:
                self._counts[file] = number
        return {str(file.relative_to(self._home.folder)): number for file, number in self._counts.items()}

    def write(self, now: datetime) -> dict[str, str]:
        """Write the files that `count` has named again, each beside the old one; return name → replace or remove, with
        the manifest at the end.
        """
        files: dict[str, str] = {}
        seals: dict[str, str] = {}
        manifest = self._home.folder / "manifest.json"
        for file in (file for file in self._counts if file != manifest):
            target = _new(file)
            is_empty = self._write(file, target)
            seals[durable.seal(file, sync=False)] = "" if is_empty else durable.seal(target)
            files[self._name(file)] = "remove" if is_empty else "replace"
            if is_empty:
                target.unlink()
            if downloaded_pages.is_store(file):
                files[self._name(file.with_name(downloaded_pages.INDEX))] = "replace"
        for file in self._home.files():
            if file.suffix == ".json" and file != manifest:
                old, target = durable.seal(file, sync=False), _new(file)
                values = _read(target if target.exists() else file)
                new = None if values is None else _resealed(values, seals)
                if new is not None and new != values:
                    durable.write_json(target, new)
                    seals[old] = durable.seal(target)
                    files[self._name(file)] = "replace"
        if (run := self._home.run) is not None:
            changed = _resealed(_mapped(run.manifest, self._person.without_addresses), seals)
            # Its stage is no longer that of its source: it must be neither continued nor reused.
            changed["work"] = ""
            entry = {"at": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "records": sum(self._counts.values())}
            changed[removed.ERASED] = [*run.manifest.get(removed.ERASED, []), entry]
            durable.write_json(_new(manifest), changed)
            files[manifest.name] = "replace"
        return files

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self._home.folder))

    def _find_records(self) -> None:
        """Find the row numbers and places of the customer's records, by which other files refer to them."""
        rows: set[int] = set()
        places: set[tuple[str, int]] = set()
        for file in self._home.tables():
            try:
                for frame in tables.frames(file):
                    schema = frame.collect_schema()
                    mask = self._person.records(schema, self._home.own_ids)
                    if (row := next((name for name in ROW_COLUMNS if name in schema), None)) is not None:
                        rows |= {number & (PATCHED - 1) for (number,) in tables.values(frame, [row], mask)}
                    if (place := next((pair for pair in PLACES if set(pair) <= set(schema)), None)) is not None:
                        places |= {(source, int(line)) for source, line in tables.values(frame, place, mask) if line}
            except (Damaged, pl.exceptions.PolarsError):
                continue  # it is named when it is to be written again
        self._rows, self._places = frozenset(rows), frozenset(places)

    def _mask(self, schema: pl.Schema) -> pl.Expr:
        found = self._person.records(schema, self._home.own_ids)
        for more in (rows_in(self._rows, schema), places_in(self._places, schema)):
            found = found if more is None else found | more
        return found

    def _count_in(self, file: Path) -> int:
        if tables.is_table(file):
            return tables.count(file, self._mask)
        if downloaded_pages.is_store(file):
            return downloaded_pages.count(file, self._mentions)
        if file.suffix == ".sqlite":
            copy = _new(file)
            try:
                return self._write_journal(file, copy) if self._rows else 0
            finally:
                copy.unlink(missing_ok=True)
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Damaged(str(file)) from None
        return int(self._person.mentions(text))

    def _mentions(self, record: bytes) -> bool:
        text = record.decode("utf-8", "replace")
        if self._person.mentions(text):
            return True
        if not any(each in text for each in self._person.ids):
            return False
        values: Any = msgspec.json.decode(record)
        members = values.items() if isinstance(values, dict) else ()
        ids = [value for name, value in members if name.lower().endswith(("id", "aliases"))]
        flat = [each for value in ids for each in (value if isinstance(value, list) else [value])]
        return any(str(each) in self._person.ids for each in flat)

    def _write_journal(self, file: Path, target: Path) -> int:
        run_id = self._home.run.run_id if self._home.run else ""
        return endpoints.write_journal_without(file, target, run_id, self._rows)

    def _write(self, file: Path, target: Path) -> bool:
        """Write a file again; return whether nothing is left of it that a later command would read."""
        target.unlink(missing_ok=True)
        if tables.is_table(file):
            tables.write_without(file, target, self._mask)
            if file.parent.name == "again":
                return not tables.count(target, lambda _: pl.lit(value=True))
        elif downloaded_pages.is_store(file):
            index = _new(file.with_name(downloaded_pages.INDEX))
            downloaded_pages.write_without(file, target, index, self._mentions)
        elif file.suffix == ".sqlite":
            self._write_journal(file, target)
        elif file.suffix == ".json":
            values = _mapped(durable.read_json(file), self._person.without_addresses)
            durable.write_json(target, values)
        else:
            target.write_text(self._person.without_addresses(file.read_text(encoding="utf-8")), encoding="utf-8")
        target.chmod(0o600)
        return False


def _new(file: Path) -> Path:
    """Return the name of a file that is written again, until it replaces the old one."""
    return file.with_name(file.name + _NEW)


def _remove_new(found: Sequence[Home]) -> None:
    """Remove what an erasure has left that was interrupted before it had written all files."""
    for home in found:
        for left in home.files():
            # In the folder of a run that this process owns, nothing is being written.
            if left.name.endswith(_NEW) or (home.run is not None and left.suffix == ".partial"):
                left.unlink()


def _complete(state_dir: Path, observer: Observer) -> None:
    """Replace the files that were written again, if all of them were."""
    file = state_dir / _STEPS
    try:
        steps = msgspec.convert(durable.read_json(file), _Steps)
    except FileNotFoundError:
        return
    for place, files in steps.folders.items():
        folder = state_dir / place
        for name, what in files.items():
            target = folder / name
            if what == "remove":
                target.unlink(missing_ok=True)
            elif _new(target).exists():
                _new(target).replace(target)
                durable.sync_folder(target.parent)
            for log in ("-wal", "-shm", ".wal"):
                target.with_name(target.name + log).unlink(missing_ok=True)
        _make_again(Home(folder), files, observer)
    file.unlink()


def _read(file: Path) -> dict[str, Any] | None:
    """Return the contents of a JSON file that Tranship wrote, null if it cannot be trusted."""
    try:
        return durable.read_json(file)
    except Damaged:
        return None


def _resealed(values: dict[str, Any], seals: dict[str, str]) -> dict[str, Any]:
    """Return JSON with new seals. Parts of a source lose their digest: they must not be reused for the same input."""
    new: dict[str, Any] = _mapped(values, lambda text: seals.get(text, text), drop_empty=True)
    if isinstance(new.get("parts"), list):
        for part, before in zip(new["parts"], values["parts"], strict=True):
            if part != before:
                part["digest"] = ""
    return new


def _make_again(home: Home, files: Mapping[str, str], observer: Observer) -> None:
    """Write the pages of a run again from the files that it has now. A workbook of rejects is removed if these have
    changed.
    """
    run = home.run
    if run is None:
        for page in home.folder.glob("*.html") if home.is_run else ():
            page.unlink()
        return
    if "rejects.parquet" in files:
        # Earlier versions wrote the rejects as a workbook, too; `tranship fix` writes one on demand.
        (run.path / "rejects.xlsx").unlink(missing_ok=True)
    values = run.report()
    if values is None:
        for page in run.path.glob("*.html"):
            page.unlink()
    else:
        write_pages(Report.of(values), run, observer)
    run.secure()


def _mapped(values: Any, change: Callable[[str], str], *, drop_empty: bool = False) -> Any:
    """Return JSON with each text changed; with `drop_empty`, without members whose text becomes empty."""
    again = partial(_mapped, change=change, drop_empty=drop_empty)
    if isinstance(values, dict):
        kept = {name: (value, again(value)) for name, value in values.items()}
        return {name: new for name, (old, new) in kept.items() if not (drop_empty and new == "" and old)}
    if isinstance(values, list):
        return [again(value) for value in values]
    return change(values) if isinstance(values, str) else values
