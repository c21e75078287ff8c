"""Columns of a destination table that the user names (`--column FIELD=COLUMN`): the checks before a write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from tranship.connectors.errors import ConfigError


def check_chosen(
    where: str,
    columns: Collection[str],
    computed: Collection[str],
    chosen: Mapping[str, str],
    reserved: Collection[str],
) -> None:
    """Raise ConfigError for a chosen column that the table lacks, or in which no field can be stored: one that the
    table computes, one that Tranship has `reserved` for itself, or one that is chosen twice.
    """
    users: dict[str, str] = {}
    for field, column in chosen.items():
        option = f"--column {field}={column}"
        if column in reserved:
            raise ConfigError(f"{option}: Tranship keeps its own data in {column}. Name another column.")
        if column in computed:
            raise ConfigError(f"{option}: {where} computes the column {column} itself. Name another column.")
        if column not in columns:
            others = [name for name in columns if name not in reserved]
            raise ConfigError(f"{option}: {where} has no column {column!r}. {_nearest(column, others)}")
        if column in users:
            raise ConfigError(f"{option}: {column} is also named for {users[column]}. Store one field in a column.")
        users[column] = field


def _nearest(column: str, others: Collection[str]) -> str:
    folded = {name.casefold(): name for name in others}
    near = get_close_matches(column.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]!r}?" if near else f"Its columns are: {', '.join(others)}."


def check_nothing_chosen(missing: str, chosen: Mapping[str, str]) -> None:
    """Raise ConfigError if columns are chosen, and what has the table (`missing`, in words) does not exist yet."""
    if chosen:
        pairs = " ".join(f"--column {field}={column}" for field, column in chosen.items())
        raise ConfigError(
            f"{pairs}: {missing} does not exist, and the columns of a table that Tranship creates have the names of "
            "the fields. Create the table first, or leave the option out."
        )
