"""Columns of a destination table that the user names (`--column FIELD=COLUMN`): the checks before a write."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tranship.connectors import suggestions
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
            near = suggestions.advice(column, others, "Its columns are", repr)
            raise ConfigError(f"{option}: {where} has no column {column!r}. {near}")
        if column in users:
            raise ConfigError(
                f"{option}: {column} is also named for {users[column]}. A column can store only one field."
            )
        users[column] = field


def check_nothing_chosen(missing: str, chosen: Mapping[str, str]) -> None:
    """Raise ConfigError if columns are chosen, but the table, or its schema or file (`missing`), does not exist yet."""
    if chosen:
        pairs = " ".join(f"--column {field}={column}" for field, column in chosen.items())
        raise ConfigError(
            f"{pairs}: {missing} does not exist, and the columns of a table that Tranship creates have the names of "
            "the fields. Create the table first, or leave the option out."
        )
