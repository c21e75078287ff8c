"""Constraints of a table that a write could violate, and the reasons with which records are refused.

Each database lists its own constraints and checks them on the rows as they would become: first those that concern one
row alone (defaults, partitions, checks, references, referenced rows), then those between rows (uniqueness), because a
refused record no longer takes a value from another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from tranship.connectors.databases.quoting import quoted

ROW: Final = quoted("tranship row")
"""Column of the rows as they would become: the record's row in the run."""
PLACE: Final = quoted("tranship place")
"""Column of the rows as they would become: the id of the existing row, null for a new one."""


class Constraint(Struct, frozen=True):
    """A constraint of the table."""

    reason: str
    """The reason with which a record is refused."""
    violations: str
    """Query for the rows that violate it."""
    check: str = ""
    """Expression that must not be false for a row; a row for which it cannot be evaluated violates the constraint."""
    changes: tuple[str, ...] | None = None
    """Fields one of which must change for an update to matter; null if every update does."""
    creates: bool = True
    """Whether new rows matter."""


def violates(name: str) -> str:
    """Return the reason for a violated check or type."""
    return f"violates: {name}"


def refers_to_nothing(columns: Iterable[str]) -> str:
    """Return the reason for a foreign key without a referenced row."""
    return f"refers_to_nothing: {', '.join(columns)}"


def referred_to(table: str) -> str:
    """Return the reason for a change to values that another table references."""
    return f"referred_to: {table}"


def taken(name: str) -> str:
    """Return the reason for a value that another customer has already; `name` is the column, columns or index."""
    return f"taken: {name}"
