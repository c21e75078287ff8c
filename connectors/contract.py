"""The types that the pipeline and all connectors share: sources, destinations, and the values they exchange.

Records are exchanged as frames. A failure of a single record is returned, a failure of the whole source or destination
is raised (`connectors/errors.py`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import polars as pl
import pyarrow as pa
from msgspec import Struct, field

from tranship.schemas.faults import BROKEN

Mode = Literal["upsert", "insert", "update", "mirror"]
Older = Literal["skip", "write", "refuse"]
_LARGEST: Final = (1 << 63) - 1


# Reading ---------------------------------------------------------------------------------------------------------


class Layout(Struct, frozen=True):
    """The columns of one file, table or endpoint, in order and in their own spelling."""

    name: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was detected, for people: `Windows-1252, delimiter ;`."""
    repeated: Mapping[str, str] = field(default_factory=dict)
    """Columns whose name occurs earlier in the header: unique name → name in the header, `email_2` → `email`."""
    types: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Column → its type, of those whose types are known before anything is read."""
    lists: frozenset[str] = frozenset()
    """Columns of text that is a JSON list in some records."""
    text: Mapping[str, str] = field(default_factory=dict)
    """How a record of a text file is read by itself: the `suffix` of such files, and options of their connector; empty
    if records are not text.
    """
    head: Callable[[], pl.DataFrame | None] | None = None
    """Reads the first records, where that costs little; null, or a function that returns null, where it does not."""


HEAD_RECORDS: Final = 1_000
"""The most records of a `Layout.head`."""
HEAD_FILES: Final = 8
"""The most files of a run whose `head` is read."""


def text_types(columns: Iterable[str]) -> dict[str, pl.DataType]:
    """Return the types of columns that are all text."""
    return dict.fromkeys(columns, pl.String())


def unique_names(names: Sequence[str]) -> dict[str, str]:
    """Return unique name → name, in order. A repeated name gets the suffix `_2`, `_3`, …"""
    taken = set(names)
    found: dict[str, str] = {}
    copies: dict[str, int] = {}
    for name in names:
        unique = name
        while unique in found or (unique != name and unique in taken):
            copies[name] = copies.get(name, 1) + 1
            unique = f"{name}_{copies[name]}"
        found[unique] = name
    return found


def repeated(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that `unique_names` has renamed."""
    return {unique: name for unique, name in columns.items() if unique != name}


def notes_on(repeated: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note about each renamed column."""
    return tuple(f"another column is named {name!r}; it is called {unique!r} here" for unique, name in repeated.items())


class Batch(Struct, frozen=True):
    """Records as they are in the source.

    `records` has the source's own columns: text unchanged (blank is null), typed columns with their types. `lines`
    (u64) has the position of each record, in the same order: the line as an editor counts it, or the row of a table or
    Parquet file, from 1. `broken` has the lines that are not records, with the columns of `schemas.faults.BROKEN`.
    """

    source: str
    records: pl.DataFrame
    lines: pl.Series
    broken: pl.DataFrame


def joined(batches: Sequence[Batch]) -> Batch:
    """Return consecutive batches of one source, of the same columns, as one."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        batches[0].source,
        pl.concat([batch.records for batch in batches], rechunk=True),
        pl.concat([batch.lines for batch in batches], rechunk=True),
        pl.concat([batch.broken for batch in batches]),
    )


class Part(Protocol):
    """A piece of a source. Parts are produced in order and cheaply; `read` does the work, once, in any thread."""

    @property
    def position(self) -> int:
        """How much of the source has been read at the end of this part, in the unit of `Source.size`."""
        ...

    def read(self) -> Batch:
        """Return its records."""
        ...

    def digest(self) -> str:
        """Return a SHA-256 of its records and their positions. If digests are equal, so are the batches of `read`."""
        ...


def from_arrow(table: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """Return the same columns in polars. Arrow hands names over as C strings, which end at a zero byte: they are set
    afterwards.
    """
    frame = pl.DataFrame(table.rename_columns([f"{number}" for number in range(table.num_columns)]))
    frame.columns = table.schema.names
    return frame


class ArrowPart(Struct, frozen=True):
    """Typed rows of a Parquet file or a database."""

    source: str
    table: pa.RecordBatch
    first_row: int
    position: int

    def read(self) -> Batch:
        """Return the rows as polars; they are counted from `first_row`."""
        records = from_arrow(self.table)
        lines = pl.int_range(self.first_row, self.first_row + records.height, dtype=pl.UInt64, eager=True)
        return Batch(self.source, records, lines, pl.DataFrame(schema=BROKEN))

    def digest(self) -> str:
        """Return a digest of the rows in Arrow's own format, with their source and position."""
        found = hashlib.sha256(repr((self.source, self.first_row)).encode())
        # The stream goes through the hash buffer by buffer: a copy of the whole would cost more than the hash.
        with pa.PythonFile(_Hashing(found), mode="w") as file, pa.ipc.new_stream(file, self.table.schema) as stream:
            stream.write_batch(self.table)
        return found.hexdigest()


class _Hashing(io.RawIOBase):
    """A file that only updates a hash with what is written."""

    def __init__(self, hash: Any) -> None:
        self._hash = hash

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, given: Any, /) -> int:
        """Add bytes to the hash."""
        self._hash.update(given)
        return len(given)


class Waiting(Struct, frozen=True):
    """How long to wait for another process that has locked what is opened, and where the wait is reported."""

    seconds: float
    """0: no limit."""
    say: Callable[[str], None]


class Source(Protocol):
    """The records of a file, table or account, each read once."""

    @property
    def size(self) -> int | None:
        """The amount to read, in bytes or records (`Connector.size_unit`); null while it is unknown."""
        ...

    def layouts(self) -> list[Layout]:
        """Return the columns of each file, before any record is read. Raises ConfigError for an unusable file.

        After `parts` has ended, the notes also report what was found while reading.
        """
        ...

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return what identifies the input, so that a later run recognises it: one JSON object per file or table.

        Each has `size` (bytes or records; null if it is unknown before reading), and what else identifies the input: a
        file or table its `name`, an account its `provider`. No contents and no secrets.
        """
        ...

    def parts(self, keep: Path, /) -> Iterator[Part]:
        """Yield all records, in order. Raises ConfigError for a file and ConnectorError for a remote source.

        `keep` is a folder of the run, created if needed. A provider's pages are kept there, and are not requested again
        when the run is continued (`Abilities.continues`).
        """
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


@runtime_checkable
class Releasing(Protocol):
    """A source that keeps files so that reading can be continued."""

    def release(self) -> None:
        """Remove them: all records are staged."""
        ...


@runtime_checkable
class Narrowing(Protocol):
    """A source that can leave out old records without reading them."""

    @property
    def left_out(self) -> int:
        """How many were left out, once `parts` has ended."""
        ...

    def narrow(self, column: str, since: datetime | int) -> None:
        """Leave out records whose value of this column is certainly less, before `parts` is called.

        It saves work and decides nothing: what is read is filtered again. Records without a value, or with one that may
        be unreadable, must be kept; where this is not known, all are.
        """
        ...


# Writing ---------------------------------------------------------------------------------------------------------


class Watermark(Struct, frozen=True):
    """How far a source has been read into a destination: the largest value of its cursor that was read."""

    source: str
    """The source, without secrets."""
    reading: str
    """A digest of all that decides the outcome of its records, such as their mapping: it has a watermark of its own."""
    cursor: str
    """The column of the source, or the field, that has the value."""
    value: str
    """An instant (ISO 8601, UTC, µs) or a whole number."""
    run_id: str

    def __post_init__(self) -> None:
        """Raise ValueError for a value that is neither."""
        position_of(self.value)

    @property
    def position(self) -> datetime | int:
        """The value as it is compared."""
        return position_of(self.value)


def position_of(value: str) -> datetime | int:
    """Return the value of a `Watermark` as it is compared. Raises ValueError."""
    if "T" not in value:
        number = int(value)
        if abs(number) > _LARGEST:
            raise ValueError("has more than 64 bits")
        return number
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError("has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is not in the years 1 to 9999") from error


class FileMark(Struct, frozen=True):
    """A file that was read. Its content identifies it, and never its time alone."""

    path: str
    size: int
    tag: str
    """The entity tag of an object, empty for a local file."""
    sha256: str
    lines: int | None
    """The number of its lines, if what is appended to it can be read by itself."""


class FilesRead(Struct, frozen=True):
    """The files that a run has read of a source, which is identified as a `Watermark` is."""

    source: str
    reading: str
    marks: tuple[FileMark, ...]


class FileChoice(Protocol):
    """The files of a source that are new or have changed; see `connectors/files/new_files.py`."""

    marks: list[FileMark]
    """The files as they are now."""
    notes: list[str]
    """What was chosen and left out, for people."""
    nothing: bool
    """Whether there is nothing to read."""


@runtime_checkable
class KeepsWatermarks(Protocol):
    """A destination that keeps how far sources were read beside its data: watermarks, and the files that were read. It
    writes those of a request with the data, all or nothing; those of other destinations are in the state directory.
    """

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read, each as it was the last time."""
        ...

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all, outside of a run; return how many there were."""
        ...

    def watermarks(self) -> list[Watermark]:
        """Return all of this destination."""
        ...

    def replace_watermark(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one, outside of a run: null for `old` adds, null for `new` removes."""
        ...


def further(known: Watermark | None, new: Watermark) -> Watermark:
    """Return the one of two watermarks of a source that is further: a watermark never goes back by itself."""
    if known is None or type(known.position) is not type(new.position):
        return new
    return known if known.position > new.position else new  # type: ignore[operator]


class Survivors(Struct, frozen=True):
    """The customers of a run, on disk: the records that the destination should have.

    `files` are Parquet with `_row` (u64, the record's place in the run), `_source`, `_line`, `_email_blocked` and the
    columns of `schemas.customer.COLUMNS`. Rows listed in `dropped` (Parquet, `row` u64) are not among the survivors.
    `columns` are the fields that the source has; other fields are left as they are in the destination.
    """

    files: tuple[Path, ...]
    dropped: Path
    columns: tuple[str, ...]
    count: int
    sparse: tuple[str, ...] = ()
    """Those of `columns` in which a null has no meaning either, because only some records of the run have them."""

    def scan(self) -> pl.LazyFrame:
        """Return the survivors, lazily, in any order."""
        return pl.scan_parquet(list(self.files), glob=False).join(
            pl.scan_parquet(self.dropped, glob=False), left_on="_row", right_on="row", how="anti"
        )


class Outcomes(Struct, frozen=True):
    """The result of a write that may differ from its plan: a provider is written record by record."""

    counts: Mapping[str, int]
    """As `Plan.counts`, and moved (changed at the provider since the plan; stale has these, too), unknown (sent,
    outcome unknown), left (not yet processed), kept (customers that an undo should have removed).
    """
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The reasons why records were refused, by the plan and by the provider."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name → file for people."""
    notes: tuple[str, ...] = ()


def outcomes_so_far(error: BaseException) -> Outcomes | None:
    """Return the outcomes of a write that this exception stopped; null if records are not written one by one."""
    found = getattr(error, "outcomes", None)
    return found if isinstance(found, Outcomes) else None


class WriteObserver(Protocol):
    """The receiver of a write's progress. It is passed to a destination when that is opened."""

    def note(self, text: str) -> None:
        """Report something that people may need to know: `waiting for another run`."""
        ...

    def written(self, records: int, total: int, errors: int = 0) -> None:
        """Report that `records` of `total` are done, of which `errors` failed, if records are written one by one."""
        ...


class ProviderOptions(Struct, frozen=True):
    """The part of a request that only a provider's destination uses."""

    limit: int | None = None
    """Stop after this number of records of the plan; null: no limit."""
    crosswalk: Path | None = None
    """The crosswalk of an earlier run, which maps each record to a customer at the provider."""
    history: tuple[Path, ...] = ()
    """Crosswalks of earlier runs of the same state directory, newest first: the customers that Tranship has written."""
    remove_for_good: bool = False
    """Mirror may delete or archive irreversibly."""
    write_began: bool = False
    """An earlier process may have written a part of this request."""


Action = Literal["create", "update", "delete"]
ACTIONS: Final[tuple[Action, ...]] = ("create", "update", "delete")
BEFORE_IMAGES: Final = "before.parquet"
IMAGE_FACTS: Final = "undo.json"
"""In the workspace, the values that a run into a table replaces, and what is known of them
(`connectors/databases/before_images.py`)."""
FOUND: Final = "found.parquet"
EXTRA: Final = "extra.parquet"
GONE: Final = "gone.parquet"
"""In the workspace, the existing values of the records that differ, the customers that the source lacks, and those of
them that mirror deletes (`WriteRequest.compare`)."""
TRAFFIC: Final = "traffic.json"
"""In the workspace of a write to a provider: `processes`, one entry for each process that has worked on it, with
`began` (ISO 8601) and `points`, each with seconds since then, rows with an outcome, requests, those of them that were
repeated, answers with 429, and seconds of waiting for these."""
LEFT_ALONE: Final = "left.parquet"
"""In the workspace of an undo: the customers that it does not take back, or not completely, with the columns customer
(its key), action (of the undone run) and reason."""
REVIEW: Final = "review.parquet"
"""In the workspace of an undo that is to be reviewed, all that it does: what (restore, return, remove, leave),
customer, field (of leave: the reason), now, back (the value that is restored)."""


class Undone(Struct, frozen=True):
    """A run to be taken back at the destination that it has written."""

    run_id: str
    folder: Path
    """Its run directory, which has its plan, its records and the values that it replaced."""
    survivors: Survivors
    """Its records; those of an undo are the values that it has restored."""
    is_undo: bool
    """It has taken back a run itself."""
    actions: tuple[Action, ...] = ACTIONS
    """Which of its actions are taken back."""
    keys: tuple[str, ...] | None = None
    """The customers whose changes are taken back, by external id, e-mail or key; null: all."""


class WriteRequest(Struct, frozen=True):
    """The survivors of a run, and how they are written to a destination."""

    run_id: str
    survivors: Survivors
    source: str
    mode: Mode
    overwrite_nulls: bool
    """Whether a null in a column of the source erases the destination's value."""
    evolve: bool
    """Whether columns that an existing table lacks are added."""
    hard_delete: bool
    """Whether mirror deletes what the source no longer has, instead of marking it."""
    workspace: Path
    """A private folder for intermediate files."""
    started_at: str
    """ISO 8601, UTC."""
    ledger: Mapping[str, int]
    """The counts that are known before the plan: read, skipped, rejected, merged."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field → the column of a table in which it is stored, whatever its name (`Abilities.maps_columns`)."""
    older: Older = "skip"
    """What is done with a record whose `updated_at` is earlier than that of the row it would change."""
    present: tuple[Path, ...] = ()
    """Parquet files with the keys of records that were read and are not among the survivors: source, line, external_id,
    email (null if it does not identify a customer), id_unusable, email_unusable (true for a value that cannot be used).
    Mirror deletes none of these customers, and no customer at all if one of the records cannot be identified."""
    left_out: tuple[Path, ...] = ()
    """Parquet files with the warnings: source, line, code, value. Those with the code of an invalid value
    (`schemas.faults.RULES`) are about a value that the record had and that is null among the survivors."""
    record_changes: bool = True
    """Whether a table's changes are recorded beside it, in the transaction of the write."""
    keep_images: bool = True
    """Whether a table keeps the values that it replaces in `workspace`, so that the run can be undone."""
    undo: Undone | None = None
    """The run to take back; `survivors` are then empty, and `mode` does not count."""
    keep_history: bool = False
    """Whether a table's history is kept beside it, in the transaction of the write."""
    compare: bool = False
    """Whether the existing values are written beside the plan: `found.parquet` (row, and the fields of the records that
    differ, as text), `extra.parquet` (external_id and email of customers that the source lacks) and `gone.parquet` (of
    those that mirror deletes)."""
    provider: ProviderOptions = ProviderOptions()
    watermark: Watermark | None = None
    """How far the source has been read, to be kept by a destination that `KeepsWatermarks`; null: that is not kept."""
    files: FilesRead | None = None
    """The files that were read, to be kept likewise."""


class Effort(Struct, frozen=True):
    """The calls to a provider that a plan needs, if each is answered at once."""

    writes: int
    reads: int
    """Look-ups before updates and deletes."""
    per_second: float | None
    """The limit of the slowest kind of call that is needed, by the provider or by `--pace`; null for no limit."""


class Plan(Struct, frozen=True):
    """What a write would do with each record.

    `rows` is Parquet with `row` (u64), `action` (create, update, unchanged, stale, refused, ambiguous), `reason` (null,
    or why refused) and `changed` (list of fields, for updates). `existing` is the number of customers in the
    destination. `stale.parquet` in the same folder lists the records that are older than the rows they would change.
    """

    rows: Path
    counts: Mapping[str, int]
    """create, update, unchanged, stale, refused, ambiguous, delete."""
    changed_fields: Mapping[str, int] = field(default_factory=dict)
    existing: int = 0
    notes: tuple[str, ...] = ()
    """Notes for people, such as fields that the destination does not store."""
    withheld: int = 0
    """The number of deletes that mirror withholds, because records that cannot be identified may be these customers, or
    because other rows refer to them."""
    unidentified: tuple[str, ...] = ()
    """The places of the first records that cannot be identified: `b.csv, line 3`."""
    partly: int = 0
    """The number of customers of which an undo restores only some fields, because others have changed since."""
    losses: Mapping[str, str] = field(default_factory=dict)
    """Field → its fate, of the source's fields that the destination does not keep, or keeps elsewhere."""
    effort: Effort | None = None


CHANGES: Final = pl.Schema(
    {
        "run_id": pl.String(),
        "customer_key": pl.String(),
        "action": pl.String(),
        "changed_fields": pl.List(pl.String()),
        "before": pl.String(),
        "after": pl.String(),
        "reason": pl.String(),
        "changed_at": pl.Datetime("us", "UTC"),
    }
)
"""What a run has changed, one row for each customer. `action` is create, update or delete; `changed_fields` are the
columns of the table, or the provider's fields, that an update has changed; `before` and `after` are JSON objects with
their values. A create has in `after` all that was written, without nulls, except for the first load of a table, which
has the values; `before` of a customer that was removed has all its values. `changed_at` is null where it is unknown."""
FIRST_LOAD: Final = "first_load"
"""The reason for the customers of a run that has created the table, or found it empty."""


def key_spellings(customer: str) -> tuple[str, ...]:
    """Return the possible keys (`customer_key`) of a customer, given by external id, e-mail or the key itself."""
    return customer, f"id:{customer}", f"email:{customer.lower()}"


def all_created(request: WriteRequest) -> Plan:
    """Return the plan for a file that is written whole: each survivor is created."""
    rows = request.workspace / "plan.parquet"
    request.survivors.scan().select(
        pl.col("_row").alias("row"),
        pl.lit("create").alias("action"),
        pl.lit(None, pl.String).alias("reason"),
        pl.lit(None, pl.List(pl.String)).alias("changed"),
    ).sink_parquet(rows)
    counts = dict.fromkeys(("update", "unchanged", "refused", "ambiguous", "delete"), 0)
    return Plan(rows, {"create": request.survivors.count, **counts})


class Destination(Protocol):
    """A table or a file, which is written in one transaction, or a provider's account, which is written record by
    record, with a journal.
    """

    def plan(self, request: WriteRequest) -> Plan:
        """Compare the survivors with the destination. Nothing is written that outlives the connection.

        It may be called again after `errors.Interfered`.
        """
        ...

    def apply(self, request: WriteRequest, plan: Plan) -> Outcomes | None:
        """Carry out the plan; return the outcomes if they can differ from it. `request.ledger` is complete by now.

        A table is written as a whole or not at all, and its ledger row with it. A provider continues from its journal
        where an earlier attempt stopped; an exception that stops such a write carries the outcomes so far
        (`outcomes_so_far`).
        """
        ...

    def applied(self, run_id: str) -> bool:
        """Return whether this run's write is already committed (its process died between the commit and the report)."""
        ...

    def close(self) -> None:
        """Close files and connections; uncommitted changes are rolled back."""
        ...


@runtime_checkable
class HasColumns(Protocol):
    """A destination with columns that the user may name."""

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Raise ConfigError if one of the columns (field → column) cannot be written. Nothing is locked."""
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """A table beside which the history of its customers can be kept."""

    def check_history(self) -> None:
        """Raise ConfigError if the table cannot have a history. Nothing is locked."""
        ...

    def state_of_history(self) -> Mapping[str, int]:
        """Return the number of versions, of customers whose versions have a gap or overlap (broken), and of those that
        differ from the table (different). It can be called once a plan is made, and is empty without a history.
        """
        ...


# What a connector can do -----------------------------------------------------------------------------------------


class Abilities(Struct, frozen=True):
    """What a connector can do, as it declares; shown by `tranship connectors` and checked by the contract suites."""

    reads: bool = True
    writes: bool = True
    modes: tuple[Mode, ...] = ("upsert", "insert", "update", "mirror")
    keeps_state: bool = True
    """A second run finds what the first one wrote; false for a file, which is written whole."""
    continues: bool = False
    """An interrupted read can continue with the pages that it has kept: true for providers."""
    archives: bool = False
    """Archived customers can be read as well."""
    maps_columns: bool = False
    """Fields can be stored in columns that the user names: true for tables."""
    undoes: bool = False
    """A run can be taken back: the destination keeps, or the run directory has, what was there before."""
    keeps_history: bool = False
    """Former versions of customers can be kept (`KeepsHistory`): true for tables."""


class Connector(Struct, frozen=True):
    """The declaration of a kind of source or destination: its addresses, its abilities, and where its code is.

    `source` and `destination` name a class or function, `module:name`, imported on first use. It is called with the
    address, and with those of these keyword arguments that it names: `options`; for a source also `waiting`; for a
    destination all that `connectors.opening.open_destination` describes. A source of files that names `files` is called
    with those (`connectors.files.storage.File`) instead of an address; one that does not, with the address of each, and
    with `suffixes` if it names that.
    """

    name: str
    """Its name in settings and in JSON."""
    summary: str
    example: str
    abilities: Abilities
    title: str = ""
    """Its name in messages, such as Excel, if that is not `name`."""
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
    """A folder whose name has one of its suffixes is read in this format, whatever it contains."""
    identity: str | None = None
    """A function, `module:name`, of an address: one text for all spellings of a destination, under which runs lock it.
    Raises ConfigError. Null: the address itself, or the path of a file."""
    same_place: str | None = None
    """A function, `module:name`, of two addresses: whether they mean one table, which it may ask the server. Raises
    ConfigError or ConnectorError. Null: whether `identity` is the same."""
    file: str | None = None
    """A function, `module:name`, of an address: the path of the local file in which its tables are. Raises ConfigError.
    Null: it has none, or is a file format."""
    changes: str | None = None
    """A function, `module:name`, of the address of a table, the id of a run, and the key of a customer or null: yields
    frames (`CHANGES`) of what the run has changed. Raises ConfigError and ConnectorError. Null: it records none."""
    erasure: str | None = None
    """A function, `module:name`, of the address of a table and of addresses and ids of a customer: the SQL that deletes
    it there. Raises ConfigError and ConnectorError. Null: it has no tables."""
    table_files: tuple[str, ...] = ()
    """Ends of the names of such files, in lower case: where one is given instead of an address, the message shows it as
    `scheme:///path`."""
    provider: str | None = None
    """The module of a provider, with `SPEC` and `build_operations`; `source` and `destination` are then null."""
    key_variable: str | None = None
    """The environment variable that a provider's key is read from."""

    @property
    def shown(self) -> str:
        """The name for messages."""
        return self.title or self.name
