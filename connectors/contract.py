"""What crosses the border between the pipeline and the outside: sources, tables, and their values.

Frames in, frames out. Failures of single records are returned, failures of the whole are raised
(`connectors/errors.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl
import pyarrow as pa

from tranship.schemas.faults import BROKEN

Mode = Literal["upsert", "insert", "update", "mirror"]
Older = Literal["skip", "write", "refuse"]


# Reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The columns of one file, table or endpoint, in order and in their own spelling."""

    name: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was found out and not told, for people: `Windows-1252, delimiter ;`."""
    repeated: Mapping[str, str] = field(default_factory=dict)
    """Of columns whose name another one has before them: the name here → their own: `email_2` → `email`."""


def told_apart(names: Sequence[str]) -> dict[str, str]:
    """Each column under a name that no other has, in order → its own name. A repeated one gets `_2`."""
    taken = set(names)
    found: dict[str, str] = {}
    for name in names:
        unique, copies = name, 2
        while unique in found or (unique != name and unique in taken):
            unique, copies = f"{name}_{copies}", copies + 1
        found[unique] = name
    return found


def repeated(columns: Mapping[str, str]) -> dict[str, str]:
    """Of columns told apart, those that have another name now."""
    return {unique: name for unique, name in columns.items() if unique != name}


def notes_on(repeated: Mapping[str, str]) -> tuple[str, ...]:
    """What a person is told about columns with the name of another one."""
    return tuple(f"another column {name!r} is there; it is called {unique!r} here" for unique, name in repeated.items())


@dataclass(frozen=True)
class Batch:
    """Records as the source gave them.

    `records` has the source's own columns; text as it stood (blank is null), typed columns as they are.
    `lines` (u64) runs parallel: where each record stands, as an editor counts lines; in a table or Parquet file the
    row, from 1. `broken` has the columns of `schemas.faults.BROKEN`.
    """

    source: str
    records: pl.DataFrame
    lines: pl.Series
    broken: pl.DataFrame


class Part(Protocol):
    """A piece of a source. Parts come in order and cheaply; `read` does the work, in any thread, and only once."""

    @property
    def position(self) -> int:
        """How far the source has been read when this part ends, in the unit of `Source.size`."""
        ...

    def read(self) -> Batch:
        """Turn the piece into records."""
        ...

    def digest(self) -> str:
        """What it holds and where that stands, as SHA-256: of equal digests, `read` gives equal batches."""
        ...


@dataclass(frozen=True)
class ArrowPart:
    """Rows that are typed already, as Parquet files and databases give them."""

    source: str
    table: pa.RecordBatch
    first_row: int
    position: int

    def read(self) -> Batch:
        """Arrow → polars; rows are counted from 1."""
        records = pl.DataFrame(self.table)
        lines = pl.int_range(self.first_row, self.first_row + records.height, dtype=pl.UInt64, eager=True)
        return Batch(self.source, records, lines, pl.DataFrame(schema=BROKEN))

    def digest(self) -> str:
        """Of the Arrow message that these rows make."""
        found = hashlib.sha256(repr((self.source, self.first_row)).encode())
        found.update(self.table.schema.serialize())
        found.update(self.table.serialize())
        return found.hexdigest()


@dataclass(frozen=True)
class Waiting:
    """How long to wait for another process that holds what is to be opened, and who is told of it."""

    seconds: float
    """0: no limit."""
    say: Callable[[str], None]


class Source(Protocol):
    """Something that gives every record once."""

    @property
    def size(self) -> int | None:
        """Bytes (files) or records (tables, providers) there are to read, null as long as nobody knows."""
        ...

    def layouts(self) -> list[Layout]:
        """The columns of each file, before anything is read. Raises ConfigError where a file cannot be used.

        Asked again when `parts` has ended, the notes say what was noticed meanwhile, too.
        """
        ...

    def fingerprint(self) -> list[dict[str, Any]]:
        """What identifies the input, to know it again on resume: names, sizes, times; no contents.

        Each has at least `name` and `size` (null if it cannot be known before reading).
        """
        ...

    def parts(self, keep: Path, /) -> Iterator[Part]:
        """All records, in order. Raises ConfigError (a file) or ConnectorError (the other side).

        `keep` is a folder of the run, made if it is needed: what comes page by page from a provider lies there, and
        is not asked for again when the run is continued (`Abilities.continues`).
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


# Writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survivors:
    """The customers of a run, on disk: what a destination is asked to hold.

    `files` are Parquet with `_row` (u64, the record's place in the run), `_source`, `_line`, `_email_blocked` and the
    columns of `schemas.customer.COLUMNS`. Rows listed in `dropped` (Parquet, `row` u64) are not among the survivors.
    `columns` are the fields that the source has; a field outside them says nothing about the destination.
    """

    files: tuple[Path, ...]
    dropped: Path
    columns: tuple[str, ...]
    count: int
    sparse: tuple[str, ...] = ()
    """Those of `columns` in which a null says nothing either: only some records of the run have them."""

    def scan(self) -> pl.LazyFrame:
        """The survivors, lazily, in no promised order."""
        return pl.scan_parquet(list(self.files)).join(
            pl.scan_parquet(self.dropped), left_on="_row", right_on="row", how="anti"
        )


@dataclass(frozen=True)
class Outcomes:
    """What a write came to, where that may be other than the plan: at a provider, which is written record by record."""

    counts: Mapping[str, int]
    """As `Plan.counts`, and moved (changed at the provider since the plan; stale has these, too), unknown (sent,
    outcome unknown), left (not yet processed).
    """
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why records were refused, by the plan and by the provider."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name → file, of what is left for people."""
    notes: tuple[str, ...] = ()


def outcomes_so_far(error: BaseException) -> Outcomes | None:
    """Return the outcomes of a write that this exception broke off; null where nothing was written one by one."""
    found = getattr(error, "outcomes", None)
    return found if isinstance(found, Outcomes) else None


class WriteObserver(Protocol):
    """The receiver of a write's progress. A destination that reports any is given one when it is opened."""

    def note(self, text: str) -> None:
        """Report something a person may need to know: `waiting for another run`."""
        ...

    def written(self, records: int, total: int) -> None:
        """Report how many records of how many are done, where they are written one by one."""
        ...


@dataclass(frozen=True)
class ProviderOptions:
    """The part of a request that only a provider's destination uses."""

    limit: int | None = None
    """Do so many records of the plan and stop."""
    crosswalk: Path | None = None
    """Which customer at the provider each record is known to be (a crosswalk of an earlier run)."""
    history: tuple[Path, ...] = ()
    """Crosswalks of earlier runs of the same state directory, newest first: what this tool once wrote."""
    remove_for_good: bool = False
    """Mirror may do what cannot be undone."""
    write_began: bool = False
    """An earlier process may have written something of this request already."""


@dataclass(frozen=True)
class WriteRequest:
    """One load of survivors into a destination, and how it is wanted."""

    run_id: str
    survivors: Survivors
    source: str
    mode: Mode
    overwrite_nulls: bool
    """A null in a column that the source has erases the destination's value."""
    evolve: bool
    """Columns that an existing table lacks may be added."""
    hard_delete: bool
    """Mirror deletes what the source no longer has, instead of marking it."""
    workspace: Path
    """A private folder for what must not stay in memory."""
    started_at: str
    ledger: Mapping[str, int]
    """What is known of the ledger before the plan: read, rejected, merged."""
    older: Older = "skip"
    """What becomes of a record whose `updated_at` is earlier than that of what it would change."""
    present: tuple[Path, ...] = ()
    """Keys of records that were read and are not among the survivors, Parquet: source, line, external_id, email (null
    where there is none that identifies a customer), id_unusable, email_unusable (one was given that cannot be used).
    Mirror deletes none of these, and nobody if it cannot tell who one of them is."""
    left_out: tuple[Path, ...] = ()
    """Warnings, Parquet: source, line, code, value. Those with the code of an invalid value (`schemas.faults.RULES`)
    are about a value that the record had and that is null among the survivors."""
    compare: bool = False
    """What is there is written down beside the plan, for a person to compare: `found.parquet` (row, and the fields of
    the records that differ, as text) and `extra.parquet` (external_id, email of customers that the source lacks)."""
    provider: ProviderOptions = ProviderOptions()


@dataclass(frozen=True)
class Plan:
    """What would be done to each record.

    `rows` is Parquet with `row` (u64), `action` (create, update, unchanged, stale, refused, ambiguous), `reason` (null,
    or why refused) and `changed` (list of fields, for updates). `existing` is the number of customers the destination
    held. Beside it lies `stale.parquet` if records are older than what they would change.
    """

    rows: Path
    counts: Mapping[str, int]
    """create, update, unchanged, stale, refused, ambiguous, delete."""
    changed_fields: Mapping[str, int] = field(default_factory=dict)
    existing: int = 0
    notes: tuple[str, ...] = ()
    """What the destination cannot hold, for people."""
    withheld: int = 0
    """Deletes that mirror leaves undone, since records that could not be identified may be these customers, or since
    other rows refer to them."""
    unidentified: tuple[str, ...] = ()
    """Where the first of those records are: `b.csv, line 3`."""


def all_created(load: WriteRequest) -> Plan:
    """The plan of a file: each survivor is created, whatever there was before."""
    rows = load.workspace / "plan.parquet"
    load.survivors.scan().select(
        pl.col("_row").alias("row"),
        pl.lit("create").alias("action"),
        pl.lit(None, pl.String).alias("reason"),
        pl.lit(None, pl.List(pl.String)).alias("changed"),
    ).sink_parquet(rows)
    counts = dict.fromkeys(("update", "unchanged", "refused", "ambiguous", "delete"), 0)
    return Plan(rows, {"create": load.survivors.count, **counts})


class Destination(Protocol):
    """A database table or a file, where the set-based work happens inside it, in one transaction; or a provider's
    account, which is written record by record, with a journal.
    """

    def plan(self, load: WriteRequest) -> Plan:
        """Compare the survivors with what is there. Writes nothing that outlives the connection.

        May be called again after `errors.Interfered`, whatever was going on then.
        """
        ...

    def apply(self, load: WriteRequest, plan: Plan) -> Outcomes | None:
        """Carry out the plan; return the outcomes where they can differ from it. `load.ledger` is complete by now.

        A table is written as a whole or not at all, and its ledger row with it. A provider continues from its journal
        where an earlier attempt stopped; an exception that breaks off such a write carries the outcomes so far
        (`outcomes_so_far`).
        """
        ...

    def applied(self, run_id: str) -> bool:
        """Whether this run's write is already there (its process died between the commit and the report)."""
        ...

    def close(self) -> None:
        """Let go of files and connections; what was not committed is undone."""
        ...


# What a connector can do -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Abilities:
    """Declared, not discovered: what a connector can do, shown in plans and used by the contract tests."""

    reads: bool = True
    writes: bool = True
    modes: tuple[Mode, ...] = ("upsert", "insert", "update", "mirror")
    keeps_state: bool = True
    """A second load finds what the first one wrote (a file is written whole instead)."""
    continues: bool = False
    """A read that died goes on where it stood, from what it has kept: a provider's."""
    archives: bool = False
    """Archived customers can be read, too."""


@dataclass(frozen=True)
class Connector:
    """The declaration of a kind of source or destination: how its addresses look, what it can do, where its code is.

    `source` and `destination` name a class or function, `module:name`, imported on first use. It is called with the
    address, and with those of these keyword arguments that it names: `options`; for a source also `suffixes`,
    `seen` and `waiting`; for a destination all that `connectors.opening.open_destination` describes.
    """

    name: str
    summary: str
    example: str
    abilities: Abilities
    schemes: tuple[str, ...] = ()
    """Schemes of its addresses: `postgresql` of `postgresql://`."""
    suffixes: tuple[str, ...] = ()
    """Ends of the names of its files, in lower case: a connector with suffixes is a file format."""
    source: str | None = None
    destination: str | None = None
    options: str | None = None
    """A dataclass, `module:name`, of the options that it takes: those named like a setting, and those that users set
    with `--option NAME=VALUE`. Values are given as text and converted to the types of the dataclass. Options are kept
    in the files of runs: secrets belong in the environment."""
    size_unit: Literal["bytes", "records"] | None = None
    """The unit of `Source.size`: sizes of several sources are added if they have the same unit. Null: its own."""
    folder_is_data_set: bool = False
    """A folder whose name has one of its suffixes is read in this format, whatever lies in it."""
    identity: str | None = None
    """A function, `module:name`, of an address: one text for all spellings of a destination, by which runs lock it.
    Raises ConfigError. Null: the address itself, or the path of a file."""
    same_place: str | None = None
    """A function, `module:name`, of two addresses: whether they mean one table, which it may ask the server. Raises
    ConfigError or ConnectorError. Null: whether `identity` is the same."""
    file: str | None = None
    """A function, `module:name`, of an address: the path of the local file in which its tables are. Raises ConfigError.
    Null: it has none, or is a file format."""
    table_files: tuple[str, ...] = ()
    """Ends of the names of such files, in lower case: where one is given instead of an address, the message shows it as
    `scheme:///path`."""
    provider: str | None = None
    """The module of a provider, with `SPEC` and `build_operations`; `source` and `destination` are then null."""
    key_variable: str | None = None
    """The environment variable that a provider's key is read from."""
