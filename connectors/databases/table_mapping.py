"""What a table of customers is, in whichever database: its own columns, its ledger, and how a table that somebody else
made is understood.

Where a table sets `updated_at` by itself (a trigger, a default), that time says when a row was touched, by us too. What
this tool last wrote is then kept beside the ledger, in `_tranship_written`.

A table made here has `customer_key`, the columns of `schemas.customer.COLUMNS`, `_run_id` (the run that last
wrote the row) and `_deleted_at` (when mirror found that the source no longer has the customer).

A table of the user's own is matched by its external id, its `customer_key`, or, if it has neither, its
e-mail. Columns are recognised by name as those of files are; what it has no column for is not stored.

SQL in this room is for the DuckDB that compares (`connectors/databases/diff.py`), whichever database holds the table.
In it `s` is a survivor and `t` a row of the table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.errors import ConfigError
from tranship.schemas import headers as names
from tranship.schemas.customer import COLUMNS, INSTANT, KEY, Customer

LEDGER: Final = "_tranship_ledger"
WRITTEN: Final = "_tranship_written"
RUN, DELETED = "_run_id", "_deleted_at"

_TYPES: Final = {
    pl.String(): "VARCHAR",
    pl.Int32(): "INTEGER",
    INSTANT: "TIMESTAMP WITH TIME ZONE",
    pl.List(pl.String): "VARCHAR[]",
}
TYPE_OF: Final[dict[str, str]] = {
    name: "JSON" if name == "metadata" else _TYPES[dtype] for name, dtype in COLUMNS.items()
}
"""Field → DuckDB's type for it."""

LEDGER_COUNTS: Final = (
    *("read", "rejected", "merged", "created"),
    *("updated", "unchanged", "refused", "deleted"),
)
LATER_COUNTS: Final = ("stale", "skipped")
"""Counts that a ledger of an earlier version lacks."""
COMMENTS: Final[dict[str, str]] = {
    KEY: "Given at first insert, never changed: the external id, or email: and the e-mail.",
    RUN: "The run that last wrote the row.",
    DELETED: "When mirror found that the source no longer has the customer.",
    **{name: column.description for name, column in Customer.to_schema().columns.items() if column.description},
}
"""Column → what is said about it in a table made here."""


# Words -----------------------------------------------------------------------------------------------------------


def quoted(identifier: str) -> str:
    """An SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str | Path) -> str:
    """An SQL text, of standard SQL: a backslash is a backslash."""
    return "'" + str(value).replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """The first line of a message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# Columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column of an existing table that can be given values."""

    name: str
    dtype: str
    """The DuckDB type in which its values are compared."""
    required: bool = False
    """It must be given a value: it has no default and takes no null."""
    shown: str = ""
    """Its type as its owner knows it, where that is not `dtype`."""
    longest: int | None = None
    """How many characters it takes, null if there is no limit."""
    in_bytes: bool = False
    """`longest` counts bytes."""
    by_server: bool = False
    """Only the server knows what a value becomes in it: `_survivors` has that, as text, in `_as_<field>`, and in
    `_unfit_<field>` whether it does not fit.
    """
    number: bool = False
    """A number that may come with a fraction of zeros: 42.00 is the id 42."""
    no_nul: bool = False
    """A text with the character 0 in it does not fit."""
    filled: bool = False
    """It takes no null and has a default, which a new row gets where the survivor has no value."""

    @property
    def is_integer(self) -> bool:
        """A whole number."""
        return self.dtype.endswith(("INT", "INTEGER"))

    @property
    def is_number(self) -> bool:
        """A number of any kind: zeros in front of it are not kept."""
        return self.number or self.is_integer or self.dtype.startswith(("FLOAT", "DOUBLE", "DECIMAL"))


@dataclass(frozen=True)
class Stored:
    """A field, and the column it is stored in."""

    field: str
    at: Column

    @property
    def column(self) -> str:
        """The column's name."""
        return self.at.name

    @property
    def value(self) -> str:
        """The survivor's value in the column's type, null if it does not fit."""
        if self.at.by_server:
            return f"s.{quoted(as_stored(self.field))}"
        source = f"s.{quoted(self.field)}"
        if TYPE_OF[self.field].endswith("[]") and not self.at.dtype.endswith("[]"):
            source = f"CASE WHEN {source} IS NOT NULL THEN to_json({source}) END"
        if not self.at.dtype == TYPE_OF[self.field] != "JSON":
            source = f"TRY_CAST({source} AS {self.at.dtype})"
        if self.at.longest is not None:
            length = "strlen" if self.at.in_bytes else "length"
            source = f"CASE WHEN {length}({source}) <= {self.at.longest} THEN {source} END"
        return f"CASE WHEN NOT contains({source}::VARCHAR, chr(0)) THEN {source} END" if self.at.no_nul else source

    @property
    def fits_always(self) -> bool:
        """Whether every value fits by its type."""
        unlimited = self.at.longest is None and not self.at.by_server and not self.at.no_nul
        return unlimited and self.at.dtype in (TYPE_OF[self.field], "VARCHAR")

    @property
    def misfit(self) -> str:
        """Whether the survivor's value does not fit, as SQL. An id must stay what it is, and so must a postal code: 007
        is not 7, and 01067 not 1067.
        """
        given = f"s.{quoted(self.field)}"
        if self.field == "external_id":
            return f"{_as_id(self.value, self.at)} IS DISTINCT FROM {_as_id('s.external_id', self.at)}"
        misfit = (
            f"s.{quoted(unfit(self.field))}" if self.at.by_server else f"{given} IS NOT NULL AND {self.value} IS NULL"
        )
        if TYPE_OF[self.field] != "VARCHAR" or not self.at.is_number:
            return misfit
        # A fraction of zeros is no digit of a number, nor is a plus sign.
        digits = f"regexp_replace(ltrim({given}, '+'), '[.]0+$', '')"
        changed = f"{self.value}::VARCHAR IS DISTINCT FROM {digits}" if self.at.is_integer else "false"
        return (
            f"{misfit} OR coalesce(regexp_matches({digits}, '^-?0[0-9]') OR {given} IS NOT NULL AND {changed}, false)"
        )

    @property
    def misfit_reason(self) -> str:
        """Why such a record is refused."""
        dtype = self.at.shown or self.at.dtype
        return f"does_not_fit: {self.column} {dtype if len(dtype) < _LONGEST_TYPE else dtype.partition('(')[0]}"

    def erasable(self, load: WriteRequest) -> bool:
        """Whether a null erases what the column holds. It never erases an id: who would it be then?"""
        return load.overwrite_nulls and self.field != "external_id"


_LONGEST_TYPE: Final = 40


def as_stored(field: str) -> str:
    """The column of `_survivors` with a field as the server would store it."""
    return f"_as_{field}"


def unfit(field: str) -> str:
    """The column of `_survivors` that says whether the server cannot store a field's value."""
    return f"_unfit_{field}"


def _as_id(value: str, at: Column) -> str:
    """An id in such a column as text, the way that sources spell it."""
    if at.dtype == "UUID":
        return f"lower({value}::VARCHAR)"
    if at.is_number and not at.is_integer:
        return f"regexp_replace({value}::VARCHAR, '[.]0+$', '')"
    return f"{value}::VARCHAR"


@dataclass(frozen=True)
class Target:
    """An existing table: what is stored where, how customers are found, what must not be null or repeat."""

    stored: tuple[Stored, ...]
    key: str | None
    bookkeeping: bool
    """It has `_run_id` and `_deleted_at`."""
    required: tuple[str, ...]
    unique: tuple[str, ...]
    found_by: tuple[str, str] | None = None
    """Columns with the external id and the e-mail by which a row is found, where these are not the stored ones."""
    written: str | None = None
    """The customer of a row in `_written`, as SQL, where the destination sets `updated_at` by itself."""
    taken: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Field → the columns that fit it, of which none is given its values: several, or one that the table computes."""
    encoding: str = ""
    """That of the database, where it lacks characters of the survivors."""
    unwritable: str = ""
    """These characters."""

    def column(self, field: str) -> Stored | None:
        """Where a field is stored."""
        return next((stored for stored in self.stored if stored.field == field), None)

    @property
    def known_id(self) -> str:
        """The external id of a row, as SQL."""
        if self.found_by:
            return f"t.{quoted(self.found_by[0])}"
        if stored := self.column("external_id"):
            return _as_id(f"t.{quoted(stored.column)}", stored.at)
        if self.key:
            key = f"t.{quoted(self.key)}::VARCHAR"
            return (
                f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) "
                f"WHEN NOT starts_with({key}, 'email:') THEN {key} END"
            )
        return "NULL::VARCHAR"

    @property
    def wanted_id(self) -> str:
        """The external id of a survivor, comparable with `known_id`."""
        stored = self.column("external_id")
        return _as_id("s.external_id", stored.at) if stored else "s.external_id"

    @property
    def known_email(self) -> str:
        """The e-mail of a row, as SQL."""
        if self.found_by:
            return f"t.{quoted(self.found_by[1])}"
        if stored := self.column("email"):
            return f"lower(t.{quoted(stored.column)}::VARCHAR)"
        key = f"t.{quoted(self.key or '')}::VARCHAR"
        return f"CASE WHEN starts_with({key}, 'email:') THEN substr({key}, 7) END" if self.key else "NULL::VARCHAR"

    @property
    def row_key(self) -> str:
        """A row's customer, as `WRITTEN` names it, as SQL."""
        return key_of(self.known_id, self.known_email)

    @property
    def by_id(self) -> bool:
        """Customers are told apart by their external id."""
        return bool(self.key or self.column("external_id"))

    @property
    def by_email(self) -> bool:
        """Customers can be found by their e-mail."""
        return bool(self.key or self.column("email"))

    def encoding_faults(self, load: WriteRequest) -> list[tuple[str, str]]:
        """When a survivor has a character that the database's encoding lacks, as SQL, and the reason it is refused."""
        if not self.unwritable:
            return []
        brought = {at.column: f"s.{quoted(at.field)}" for at in self.stored if at.field in load.survivors.columns}
        brought |= {self.key: new_key("s")} if self.key else {}
        return [
            (holds_one_of(f"{value}::VARCHAR", self.unwritable), f"does_not_fit: {column} {self.encoding}")
            for column, value in brought.items()
        ]

    def not_stored(self, load: WriteRequest) -> tuple[str, ...]:
        """What a person is told about fields that the source has and the table has no column for."""
        lost = [field for field in load.survivors.columns if not self.column(field)]
        addable = [field for field in lost if field not in self.taken]
        rivals = {field: at for field in lost if len(at := self.taken.get(field, ())) > 1}
        computed = [field for field in lost if len(self.taken.get(field, ())) == 1]
        return (
            *((f"not stored, no column of the table fits: {', '.join(addable)} (--evolve adds them)",) * bool(addable)),
            *((f"not stored, computed by the table: {', '.join(computed)}",) * bool(computed)),
            *(f"not stored, two columns fit: {field} ({', '.join(at)})" for field, at in rivals.items()),
        )


def kept_for_ourselves(columns: Collection[str], *, of_query: bool) -> tuple[str, ...]:
    """Those columns of a table made here that say nothing about the customer: of a query over one, too."""
    telling = {KEY, RUN, "external_id"} if of_query else {KEY, RUN, DELETED}
    return tuple(name for name in (KEY, RUN, DELETED) if name in columns) if telling <= set(columns) else ()


def on_deleted(count: int) -> tuple[str, ...]:
    """The note on rows of a query that are left out, as mirror has marked them as deleted."""
    said = "1 row is marked as deleted and is" if count == 1 else f"{count:,} rows are marked as deleted and are"
    return (f"{said} not read; a query without {DELETED} gives all rows",) if count else ()


def recognised(columns: Sequence[str]) -> dict[str, str]:
    """Field → column, by name; where two would fit, neither is taken. `customer_key` is the key."""
    found = {field: among[0] for field, among in _fitting(columns).items() if len(among) == 1}
    return found | ({KEY: KEY} if KEY in columns else {})


def _fitting(columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Field → the columns that could hold it: that of its very name, else all that fit."""
    fits = names.match([column for column in columns if column != KEY], {})
    own = {name: [one for one in fit.columns if names.fold(one) == names.fold(name)] for name, fit in fits.items()}
    return {name: tuple(own[name]) or fit.columns for name, fit in fits.items()}


def lacking(columns: Sequence[str], computed: Sequence[str], load: WriteRequest) -> list[str]:
    """The columns that `--evolve` adds to a table: of the fields that no column fits."""
    fitting = _fitting([*columns, *computed])
    missing = [field for field in load.survivors.columns if field not in fitting]
    return missing + ([RUN, DELETED] if KEY in columns and RUN not in columns else [])


def understood(
    where: str, columns: Mapping[str, Column], unique: tuple[str, ...], computed: Sequence[str] = ()
) -> Target:
    """What an existing table is to us, with the columns that can be given values and the names of those that it
    computes. Raises ConfigError, in words, where it cannot hold customers.
    """
    fitting = _fitting(columns)
    unclear = [field for field in ("external_id", "email") if len(fitting.get(field, ())) > 1]
    if unclear and KEY not in columns:
        raise ConfigError(
            f"{where}: columns {' and '.join(fitting[unclear[0]])} both could hold {unclear[0]}, "
            f"which tells customers apart. Rename the right one to {unclear[0]}."
        )
    known = recognised(list(columns))
    bookkeeping = RUN in columns and DELETED in columns
    target = Target(
        stored=tuple(Stored(field, columns[at]) for field, at in known.items() if field != KEY),
        key=known.get(KEY),
        bookkeeping=bookkeeping,
        required=tuple(name for name, column in columns.items() if column.required),
        unique=unique,
        taken={field: at for field, at in _fitting([*columns, *computed]).items() if field not in known},
    )
    if not (target.by_id or target.by_email):
        raise ConfigError(
            f"{where}: has no column for the external id or the e-mail ({', '.join(columns)}); "
            "without one no customer is recognised again. Name another table with ?table=."
        )
    filled = {*known.values(), *((RUN, DELETED) if bookkeeping else ())}
    unfilled = [name for name in target.required if name not in filled]
    if unfilled:
        raise ConfigError(
            f"{where}: column {unfilled[0]} must have a value and nothing of a customer goes "
            "there. Give it a default, allow NULL, or rename it after the field it holds."
        )
    return target


def mirror_needs_bookkeeping(where: str, target: Target, load: WriteRequest) -> None:
    """Raises ConfigError where mirror would have to guess whose rows it deletes."""
    if load.mode == "mirror" and not target.bookkeeping:
        raise ConfigError(
            f"{where}: has no {RUN} and {DELETED}, so nobody knows which rows this tool wrote; "
            "--mode mirror would have to guess. Use upsert, or a table made by tranship."
        )


def holds_one_of(text: str, characters: str) -> str:
    """Whether a text has one of these characters, as SQL; false if it is null."""
    codes = "".join(f"\\x{{{ord(character):x}}}" for character in characters)
    return f"coalesce(regexp_matches({text}, '[{codes}]'), false)" if codes else "false"


def new_key(alias: str) -> str:
    """The key of a new customer: the external id, or `email:` and the e-mail.

    An id that looks like such a key gets `id:` in front, so that no two customers ever share one.
    """
    return key_of(f"{alias}.external_id", f"{alias}.email")


def key_of(external_id: str, email: str) -> str:
    """The same, of any id and e-mail, as SQL."""
    return (
        f"CASE WHEN starts_with({external_id}, 'email:') OR starts_with({external_id}, 'id:') "
        f"THEN 'id:' || {external_id} ELSE coalesce({external_id}, 'email:' || {email}) END"
    )


def id_or_email(external_id: str, email: str) -> str:
    """What a customer is looked up by, as SQL. No external id has the control character in front of the e-mail."""
    return f"coalesce({external_id}, chr(1) || {email})"


# Ledger ----------------------------------------------------------------------------------------------------------


def ledger_row(load: WriteRequest, plan: Plan, table: str) -> dict[str, Any]:
    """The ledger as it stands when the plan has been carried out, without the time of its end."""
    counts = plan.counts
    return {
        **{"run_id": load.run_id, "table_name": table, "source": load.source, "mode": load.mode},
        "started_at": load.started_at,
        "read": load.ledger["read"],
        "rejected": load.ledger["rejected"] + counts["ambiguous"],
        "merged": load.ledger["merged"],
        "created": counts["create"],
        "updated": counts["update"],
        "unchanged": counts["unchanged"],
        "refused": counts["refused"],
        "deleted": counts["delete"],
        "stale": counts.get("stale", 0),
        "skipped": load.ledger.get("skipped", 0),
    }
