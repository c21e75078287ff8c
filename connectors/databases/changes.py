"""The changes of runs: `_tranship_changes`, a table in the same schema as the tables that the runs wrote.

It has one row for each customer that a run has created, updated or deleted, written in the transaction of the run, so
that its rows and the counts of the ledger always agree. Values are JSON: of an update those of the columns that it
changes, before and after; of a row that is removed all of them, and of one that is created all that were written. The
rows of a first load have none, because the table has their values, and the next change of a row has those that it
replaces.

What is recorded is the difference between the row as it was and the values assigned to it, as the database writes them
as JSON. An update that assigns only equal values is recorded without fields. What a trigger or a default fills in is
not seen.

SQL in this module runs in DuckDB and in Postgres. In it `t` is a row of the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import polars as pl
from msgspec import Struct

from tranship.connectors.contract import CHANGES, FIRST_LOAD, Plan, WriteRequest, key_spellings
from tranship.connectors.databases.diff import OLDER
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import BOOKKEEPING, DELETED, TableMapping, customer_key, new_key

COMMENT: Final = "The customers that each run of tranship has created, updated or deleted, with the values it changed."
NOT_IN_SOURCE: Final = "not_in_source"
"""The reason for a customer that mirror deletes."""
IN_SOURCE_AGAIN: Final = "in_source_again"
"""The reason for an update of a customer that was marked as deleted."""
UNDO: Final = "undo"
"""The reason for all that an undo does."""


class Dialect(Protocol):
    """What differs between the databases."""

    barrier: str
    """The end of a subquery whose expressions must be evaluated once."""

    def json(self, column: str, value: str) -> str:
        """Return a value of this column as the text of JSON, as SQL; null for a null."""
        ...

    def present(self, texts: Sequence[str]) -> str:
        """Return a list of those texts (SQL) that are not null, as SQL."""
        ...

    def joined(self, texts: Sequence[str]) -> str:
        """Return those of any number of texts (SQL) that are not null as one text, separated by commas, as SQL."""
        ...


class Assignment(Struct, frozen=True):
    """A column and what an update does with it."""

    column: str
    new: str
    """The value that it gets, as SQL."""


def is_recorded(request: WriteRequest, plan: Plan) -> bool:
    """Return whether changes are recorded, and there are any."""
    return request.record_changes and any(plan.counts[action] for action in ("create", "update", "delete"))


def updates(dialect: Dialect, assignments: Sequence[Assignment], key: str, reason: str, rows: str) -> str:
    """Return a query for the changes of updates: customer_key, changed_fields, before, after, reason. `rows` are the
    rows `t` with all that key, reason and new values refer to, as SQL.
    """
    values = "".join(
        f", coalesce({dialect.json(found.column, f't.{quoted(found.column)}')}, 'null') AS old{number}, "
        f"coalesce({dialect.json(found.column, found.new)}, 'null') AS new{number}"
        for number, found in enumerate(assignments)
    )
    differs = [f"WHEN old{number} <> new{number}" for number in range(len(assignments))]
    names = [
        f"CASE {condition} THEN {literal(found.column)} END"
        for condition, found in zip(differs, assignments, strict=True)
    ]

    def image(side: str) -> str:
        members = [
            f"CASE {condition} THEN {literal(_member(found.column))} || {side}{number} END"
            for number, (condition, found) in enumerate(zip(differs, assignments, strict=True))
        ]
        return _object(dialect, members)

    return (
        f"SELECT customer_key, {dialect.present(names)} AS changed_fields, {image('old')} AS before, "
        f"{image('new')} AS after, reason FROM "
        f"(SELECT {key} AS customer_key, {reason} AS reason{values} FROM {rows}{dialect.barrier}) v"
    )


def removals(dialect: Dialect, columns: Sequence[str], key: str, reason: str, rows: str) -> str:
    """Return a query for the changes of rows that are removed, with the columns of `updates`. Nulls are left out."""
    members = [f"{literal(_member(name))} || {dialect.json(name, f't.{quoted(name)}')}" for name in columns]
    return (
        f"SELECT {key} AS customer_key, NULL AS changed_fields, {_object(dialect, members)} AS before, NULL AS after, "
        f"{reason} AS reason FROM {rows}"
    )


def _object(dialect: Dialect, members: Sequence[str]) -> str:
    return f"'{{' || {dialect.joined(members)} || '}}'"


def _member(column: str) -> str:
    return f"{json.dumps(column, ensure_ascii=False)}: "


def first_creates(key: str, rows: str) -> str:
    """Return a query for the customers of a first load, with the columns of `updates`."""
    return (
        f"SELECT {key} AS customer_key, NULL AS changed_fields, NULL AS before, NULL AS after, "
        f"{literal(FIRST_LOAD)} AS reason FROM {rows}"
    )


def creates(dialect: Dialect, written: Mapping[str, str], key: str, reason: str, rows: str) -> str:
    """Return a query for the changes of other customers that are created, with the columns of `updates`, given column →
    the value that it gets. Nulls are left out.
    """
    members = [
        f"{literal(_member(name))} || {dialect.json(name, value)}"
        for name, value in written.items()
        if name not in BOOKKEEPING
    ]
    return (
        f"SELECT {key} AS customer_key, NULL AS changed_fields, NULL AS before, {_object(dialect, members)} AS after, "
        f"{reason} AS reason FROM {rows}"
    )


def is_first_load(request: WriteRequest, plan: Plan) -> bool:
    """Return whether a run is the first load of a table: it finds no customers there, and is not an undo."""
    return not plan.existing and not request.undo


def key_of_create(mapping: TableMapping) -> str:
    """Return the key of a customer that is created, as SQL of the comparison."""
    if mapping.key:
        return new_key("s")
    return customer_key(mapping.survivor_external_id if mapping.has_id else "NULL::VARCHAR", "s.email")


def key_of_update(mapping: TableMapping) -> str:
    """Return the key of a customer that is updated, after the update, as SQL of the comparison (`_table` as `h`)."""
    known = f"coalesce({mapping.survivor_external_id}, h.id)" if mapping.has_id else "NULL::VARCHAR"
    return customer_key(known, "coalesce(s.email, h.mail)")


KEY_OF_DELETE: Final = customer_key("h.id", "h.mail")
"""The key of a customer that is deleted, as SQL of the comparison."""

REASON_OF_UPDATE: Final = (
    f"CASE WHEN d.older THEN {literal(OLDER)} "
    f"WHEN list_contains(p.changed, {literal(DELETED)}) THEN {literal(IN_SOURCE_AGAIN)} END"
)
"""The reason of an update, as SQL of the comparison."""

READ_COLUMNS: Final = ", ".join(
    f"{name}::VARCHAR AS {name}" if dtype == pl.String else name for name, dtype in CHANGES.items()
)
"""The columns that are read, in the order of `contract.CHANGES`, as SQL."""


def of_customer(customer: str) -> str:
    """Return a condition for the changes of a customer, given by key, as SQL."""
    return f"customer_key IN ({', '.join(map(literal, key_spellings(customer)))})"
