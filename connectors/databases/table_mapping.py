"""How a table of customers is mapped to fields, in any database: the columns of a table that Tranship creates, and the
meaning of the columns of any other table.

A created table has `customer_key`, the columns of `schemas.customer.COLUMNS`, `_run_id` (the run that last wrote the
row) and `_deleted_at` (when mirror found that the source no longer has the customer).

In a table of the user's own, customers are matched by external id, by `customer_key`, or, if it has neither, by e-mail.
Columns are recognised by name like those of files, unless the user names the column of a field; fields without a column
are not stored.

Where a table sets `updated_at` itself (a trigger, a default), that time shows when a row was touched, including by
Tranship. The values that Tranship last wrote are then kept beside the ledger, in `_tranship_written`.

SQL in this module runs in the DuckDB that compares (`connectors/databases/diff.py`), whichever database has the table.
In it `s` is a survivor and `t` a row of the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

import polars as pl
from msgspec import Struct, field

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.chosen_columns import check_chosen
from tranship.connectors.databases.quoting import contains_any, quoted
from tranship.connectors.errors import ConfigError
from tranship.schemas import headers
from tranship.schemas.column_names import fold
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS, INSTANT, KEY, MODEL, OWN_COLUMNS

WRITTEN: Final = "_tranship_written"
CHANGES: Final = "_tranship_changes"
_, RUN, DELETED = BOOKKEEPING = OWN_COLUMNS

_TYPES: Final = {
    pl.String(): "VARCHAR",
    pl.Int32(): "INTEGER",
    INSTANT: "TIMESTAMP WITH TIME ZONE",
    pl.List(pl.String): "VARCHAR[]",
}
TYPE_OF: Final[dict[str, str]] = {
    name: "JSON" if name == "metadata" else _TYPES[dtype] for name, dtype in COLUMNS.items()
}
"""Field → its type in DuckDB."""

COMMENTS: Final[dict[str, str]] = {
    KEY: "Given at first insert, never changed: the external id, or email: and the e-mail.",
    RUN: "The run that last wrote the row.",
    DELETED: "When mirror found that the source no longer has the customer.",
    **{name: column.description for name, column in MODEL.items() if column.description},
}
"""Column → its comment in a created table."""


class Column(Struct, frozen=True):
    """A column of an existing table that can be written."""

    name: str
    dtype: str
    """The DuckDB type in which its values are compared."""
    required: bool = False
    """It must be given a value: it has no default and is NOT NULL."""
    shown: str = ""
    """Its declared type, if that is not `dtype`."""
    max_length: int | None = None
    """Maximum number of characters, null if there is no limit."""
    length_in_bytes: bool = False
    """`max_length` counts bytes."""
    cast_by_server: bool = False
    """Only the server can convert a value to its type: `_survivors` has the result, as text, in `_as_<field>`, and in
    `_unfit_<field>` whether the value does not fit.
    """
    number: bool = False
    """A number that may be returned with a fraction of zeros: 42.00 is the id 42."""
    rejects_nul: bool = False
    """A text that contains the character 0 does not fit."""
    null_becomes_default: bool = False
    """It is NOT NULL and has a default, which a new row gets where the survivor has no value."""

    @property
    def is_integer(self) -> bool:
        """Whether its values are whole numbers."""
        return self.dtype.endswith(("INT", "INTEGER"))

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers of any kind, which lose leading zeros."""
        return self.number or self.is_integer or self.dtype.startswith(("FLOAT", "DOUBLE", "DECIMAL"))


class MappedField(Struct, frozen=True):
    """A field and the column in which it is stored."""

    field: str
    column: Column

    @property
    def column_name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def value(self) -> str:
        """The survivor's value in the column's type, as SQL; null if it does not fit."""
        if self.column.cast_by_server:
            return f"s.{quoted(stored_as_column(self.field))}"
        source = f"s.{quoted(self.field)}"
        if TYPE_OF[self.field].endswith("[]") and not self.column.dtype.endswith("[]"):
            source = f"CASE WHEN {source} IS NOT NULL THEN to_json({source}) END"
        if not self.column.dtype == TYPE_OF[self.field] != "JSON":
            source = f"TRY_CAST({source} AS {self.column.dtype})"
        if self.column.max_length is not None:
            length = "strlen" if self.column.length_in_bytes else "length"
            source = f"CASE WHEN {length}({source}) <= {self.column.max_length} THEN {source} END"
        return (
            f"CASE WHEN NOT contains({source}::VARCHAR, chr(0)) THEN {source} END"
            if self.column.rejects_nul
            else source
        )

    @property
    def fits_always(self) -> bool:
        """Whether the column's type can hold every value."""
        unlimited = self.column.max_length is None and not self.column.cast_by_server and not self.column.rejects_nul
        return unlimited and self.column.dtype in (TYPE_OF[self.field], "VARCHAR")

    @property
    def misfit(self) -> str:
        """Whether the survivor's value does not fit, as SQL. An id must not change, and neither must a postal code: 007
        is not 7, and 01067 is not 1067.
        """
        given = f"s.{quoted(self.field)}"
        if self.field == "external_id":
            return f"{_as_id(self.value, self.column)} IS DISTINCT FROM {_as_id('s.external_id', self.column)}"
        misfit = (
            f"s.{quoted(misfit_column(self.field))}"
            if self.column.cast_by_server
            else f"{given} IS NOT NULL AND {self.value} IS NULL"
        )
        if TYPE_OF[self.field] != "VARCHAR" or not self.column.is_number:
            return misfit
        # A fraction of zeros and a plus sign are ignored.
        digits = f"regexp_replace(ltrim({given}, '+'), '[.]0+$', '')"
        changed = f"{self.value}::VARCHAR IS DISTINCT FROM {digits}" if self.column.is_integer else "false"
        return (
            f"{misfit} OR coalesce(regexp_matches({digits}, '^-?0[0-9]') OR {given} IS NOT NULL AND {changed}, false)"
        )

    @property
    def misfit_reason(self) -> str:
        """The reason with which such a record is refused."""
        dtype = self.column.shown or self.column.dtype
        return f"does_not_fit: {self.column_name} {dtype if len(dtype) < _LONGEST_TYPE else dtype.partition('(')[0]}"

    def erasable(self, request: WriteRequest) -> bool:
        """Return whether a null erases the column's value. It never erases an id, which identifies the customer."""
        return request.overwrite_nulls and self.field not in ("external_id", *request.survivors.sparse)


_LONGEST_TYPE: Final = 40


def stored_as_column(field: str) -> str:
    """Return the column of `_survivors` with a field's value as the server would store it."""
    return f"_as_{field}"


def misfit_column(field: str) -> str:
    """Return the column of `_survivors` with whether the server cannot store a field's value."""
    return f"_unfit_{field}"


def _as_id(value: str, column: Column) -> str:
    """Return an id in such a column as text, spelled as sources spell it."""
    if column.dtype == "UUID":
        return f"lower({value}::VARCHAR)"
    if column.is_number and not column.is_integer:
        return f"regexp_replace({value}::VARCHAR, '[.]0+$', '')"
    return f"{value}::VARCHAR"


class TableMapping(Struct, frozen=True):
    """An existing table: where fields are stored, how customers are found, which columns are required or unique."""

    fields: tuple[MappedField, ...]
    key: str | None
    bookkeeping: bool
    """The table has `_run_id` and `_deleted_at`."""
    required: tuple[str, ...]
    unique: tuple[str, ...]
    lookup_columns: tuple[str, str] | None = None
    """Columns with the external id and the e-mail by which a row is found, if these are not the mapped columns."""
    written_key: str | None = None
    """The customer of a row in `_written`, as SQL, where the destination sets `updated_at` itself."""
    unassigned: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Field → its matching columns where none of them is written: there are several, or the table computes it."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Field → column, as the user named them."""
    encoding: str = ""
    """The encoding of the database, if it lacks characters that the survivors contain."""
    unwritable: str = ""
    """The characters that the encoding lacks."""

    def mapped(self, field: str) -> MappedField | None:
        """Return the mapping of a field, null if it is not stored."""
        return next((stored for stored in self.fields if stored.field == field), None)

    @property
    def row_external_id(self) -> str:
        """The external id of a row, as SQL."""
        if self.lookup_columns:
            return f"t.{quoted(self.lookup_columns[0])}"
        if stored := self.mapped("external_id"):
            return _as_id(f"t.{quoted(stored.column_name)}", stored.column)
        if self.key:
            key = f"t.{quoted(self.key)}::VARCHAR"
            return (
                f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) "
                f"WHEN NOT starts_with({key}, 'email:') THEN {key} END"
            )
        return "NULL::VARCHAR"

    @property
    def survivor_external_id(self) -> str:
        """The external id of a survivor, comparable with `row_external_id`."""
        stored = self.mapped("external_id")
        return _as_id("s.external_id", stored.column) if stored else "s.external_id"

    @property
    def row_email(self) -> str:
        """The e-mail of a row, as SQL."""
        if self.lookup_columns:
            return f"t.{quoted(self.lookup_columns[1])}"
        if stored := self.mapped("email"):
            return f"lower(t.{quoted(stored.column_name)}::VARCHAR)"
        key = f"t.{quoted(self.key or '')}::VARCHAR"
        return f"CASE WHEN starts_with({key}, 'email:') THEN substr({key}, 7) END" if self.key else "NULL::VARCHAR"

    @property
    def row_key(self) -> str:
        """The customer of a row as it is named in `WRITTEN`, as SQL."""
        return customer_key(self.row_external_id, self.row_email)

    @property
    def has_id(self) -> bool:
        """Whether customers are identified by their external id."""
        return bool(self.key or self.mapped("external_id"))

    @property
    def has_email(self) -> bool:
        """Whether customers can be found by their e-mail."""
        return bool(self.key or self.mapped("email"))

    def encoding_faults(self, request: WriteRequest) -> list[tuple[str, str]]:
        """Return conditions for survivors with characters that the encoding lacks, as SQL, each with its reason."""
        if not self.unwritable:
            return []
        brought = {
            mapped.column_name: f"s.{quoted(mapped.field)}"
            for mapped in self.fields
            if mapped.field in request.survivors.columns
        }
        brought |= {self.key: new_key("s")} if self.key else {}
        return [
            (contains_any(f"{value}::VARCHAR", self.unwritable), f"does_not_fit: {column} {self.encoding}")
            for column, value in brought.items()
        ]

    def losses(self, request: WriteRequest) -> dict[str, str]:
        """Return field → why it is not stored, of the fields of the source."""
        reasons = {
            0: "not stored: the table has no such column (--evolve adds one)",
            1: "not stored: the table computes it",
        }
        fitting = {
            field: self.unassigned.get(field, ()) for field in request.survivors.columns if not self.mapped(field)
        }
        return {
            field: reasons.get(len(columns), f"not stored: two columns match ({', '.join(columns)})")
            for field, columns in fitting.items()
        }

    def notes(self, request: WriteRequest) -> tuple[str, ...]:
        """Return notes about columns that the user named, and about fields of the source that are not stored."""
        lost = [field for field in request.survivors.columns if not self.mapped(field)]
        addable = [field for field in lost if field not in self.unassigned]
        rivals = {field: fitting for field in lost if len(fitting := self.unassigned.get(field, ())) > 1}
        computed = [field for field in lost if len(self.unassigned.get(field, ())) == 1]
        named = ", ".join(f"{field} in {column}" for field, column in self.chosen.items())
        return (
            *((f"stored with --column: {named}",) * bool(named)),
            *((f"not stored, no matching column: {', '.join(addable)} (--evolve adds columns)",) * bool(addable)),
            *((f"not stored, computed by the table: {', '.join(computed)}",) * bool(computed)),
            *(f"not stored, two columns match: {field} ({', '.join(fitting)})" for field, fitting in rivals.items()),
        )


def bookkeeping_columns(columns: Collection[str], *, of_query: bool) -> tuple[str, ...]:
    """Return the columns of a created table, or of a query over one, that hold no data of the customer."""
    telling = {KEY, RUN, "external_id"} if of_query else {KEY, RUN, DELETED}
    return tuple(name for name in (KEY, RUN, DELETED) if name in columns) if telling <= set(columns) else ()


def deleted_rows_note(count: int) -> tuple[str, ...]:
    """Return the note about rows of a query that were skipped because mirror has marked them as deleted."""
    skipped = f"skipped {counted(count, 'row')} marked as deleted; leave {DELETED} out of the query to read all rows"
    return (skipped,) if count else ()


def recognised(columns: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return field → column: those `chosen`, others matched by name; if two columns match, neither is used.
    `customer_key` is the key.
    """
    chosen = chosen or {}
    fitting = _fitting(columns, chosen)
    found = {field: among[0] for field, among in fitting.items() if len(among) == 1}
    return found | dict(chosen) | ({KEY: KEY} if KEY in columns else {})


def _fitting(columns: Sequence[str], chosen: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return field → matching columns; a column that is chosen for a field matches no other one."""
    taken = set(chosen.values())
    free = tuple(column for column in columns if column not in taken)
    return {field: among for field, among in _matching_columns(free).items() if field not in chosen}


@lru_cache(maxsize=8)  # several steps ask about the same table
def _matching_columns(columns: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return field → matching columns: the one with exactly its name, else all that match."""
    fits = headers.match([column for column in columns if column != KEY], {})
    own = {name: [column for column in fit.columns if fold(column) == fold(name)] for name, fit in fits.items()}
    return {name: tuple(own[name]) or fit.columns for name, fit in fits.items()}


def missing_columns(columns: Sequence[str], computed: Sequence[str], request: WriteRequest) -> list[str]:
    """Return the columns that `--evolve` adds to a table: those of fields without a matching column. A field whose own
    name is that of a column chosen for another field has none.
    """
    known = {*request.columns, *_fitting((*columns, *computed), request.columns)}
    taken = {column.casefold() for column in request.columns.values()}
    known |= {field for field in request.survivors.columns if field in taken}
    missing = [field for field in request.survivors.columns if field not in known]
    return missing + ([RUN, DELETED] if KEY in columns and RUN not in columns else [])


def map_table(
    where: str,
    columns: Mapping[str, Column],
    unique: tuple[str, ...],
    computed: Sequence[str] = (),
    chosen: Mapping[str, str] | None = None,
) -> TableMapping:
    """Return the mapping of an existing table, given the columns that can be written, the names of those that it
    computes, and field → column for those that the user has chosen. Raises ConfigError if it cannot hold customers, or
    if a chosen column cannot be written.
    """
    chosen = chosen or {}
    check_chosen(where, columns, computed, chosen, BOOKKEEPING)
    fitting = _fitting(tuple(columns), chosen)
    unclear = [field for field in ("external_id", "email") if len(fitting.get(field, ())) > 1]
    if unclear and KEY not in columns:
        raise ConfigError(
            f"{where}: columns {' and '.join(fitting[unclear[0]])} could both hold {unclear[0]}, "
            f"which identifies customers. Name the right one: --column {unclear[0]}=COLUMN"
        )
    known = recognised(list(columns), chosen)
    bookkeeping = RUN in columns and DELETED in columns
    mapping = TableMapping(
        fields=tuple(MappedField(field, columns[name]) for field, name in known.items() if field != KEY),
        key=known.get(KEY),
        bookkeeping=bookkeeping,
        required=tuple(name for name, column in columns.items() if column.required),
        unique=unique,
        unassigned={
            field: fitting for field, fitting in _fitting((*columns, *computed), chosen).items() if field not in known
        },
        chosen=dict(chosen),
    )
    if not (mapping.has_id or mapping.has_email):
        raise ConfigError(
            f"{where}: has no column for the external id or the e-mail ({', '.join(columns)}), "
            "so customers cannot be found again. Name it: --column external_id=COLUMN, or choose another table with "
            "?table=."
        )
    filled = {*known.values(), *((RUN, DELETED) if bookkeeping else ())}
    unfilled = [name for name in mapping.required if name not in filled]
    if unfilled:
        raise ConfigError(
            f"{where}: column {unfilled[0]} must have a value, but no field is stored "
            f"in it. Name the field to store in it (--column FIELD={unfilled[0]}), give it a default, or allow NULL."
        )
    return mapping


def check_mirror_bookkeeping(where: str, mapping: TableMapping, request: WriteRequest) -> None:
    """Raise ConfigError if mirror cannot tell which rows it may delete."""
    if request.mode == "mirror" and not mapping.bookkeeping:
        raise ConfigError(
            f"{where}: has no {RUN} and {DELETED}, so rows written by Tranship cannot be distinguished "
            "from others, which --mode mirror needs. Use --mode upsert, or a table created by Tranship."
        )


def new_key(alias: str) -> str:
    """Return the key of a new customer, as SQL: the external id, or `email:` and the e-mail.

    An id that looks like such a key is prefixed with `id:`, so that two customers never share a key.
    """
    return customer_key(f"{alias}.external_id", f"{alias}.email")


def customer_key(external_id: str, email: str) -> str:
    """Return the key of a customer with this id and e-mail, as SQL."""
    return (
        f"CASE WHEN starts_with({external_id}, 'email:') OR starts_with({external_id}, 'id:') "
        f"THEN 'id:' || {external_id} ELSE coalesce({external_id}, 'email:' || {email}) END"
    )


def lookup_key(external_id: str, email: str) -> str:
    """Return the lookup key of a customer, as SQL. No external id contains the control character before the e-mail."""
    return f"coalesce({external_id}, chr(1) || {email})"
