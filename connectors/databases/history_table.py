"""The table of a history: its name, its own columns, and what makes another table unfit to be one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from tranship.connectors.contract import Plan
from tranship.connectors.databases.table_mapping import BOOKKEEPING, RUN
from tranship.connectors.errors import ConfigError
from tranship.schemas.customer import KEY

HISTORIES: Final = "_tranship_histories"
"""The table, in the same schema, with a mark for each table with a history that shows whether it has changed since."""
SUFFIX: Final = "_history"
VALID_FROM, VALID_TO, GONE, RECORDED_AT = "valid_from", "valid_to", "deleted", "recorded_at"
_OWN: Final = (VALID_FROM, VALID_TO, GONE, RECORDED_AT)
_TEMPORARY: Final = "_tranship_"
"""The beginning of the names of columns that statements on a history add."""

COMMENT: Final = "Each version of each customer of table {}, written by tranship."
COMMENTS: Final = {
    KEY: "The customer, as in the table; where that has no such column: the external id, or email: and the e-mail.",
    VALID_FROM: "From when on the customer was so: updated_at of the record, or the time of the run.",
    VALID_TO: "Until when, exclusively; null: until now.",
    GONE: "The customer was not there in this time; the other columns are those it had when this was recorded.",
    RECORDED_AT: "When the version was recorded.",
    RUN: "The run that recorded it.",
}
"""Column → its comment in a history."""


def history_of(table: str) -> str:
    """Return the name of a table's history."""
    return f"{table}{SUFFIX}"


def customer_columns(title: str, columns: Collection[str]) -> tuple[str, ...]:
    """Return those of a table's columns that its history has. Raises ConfigError if one of them has a name that the
    history needs for itself.
    """
    taken = next((name for name in columns if _is_taken(name)), None)
    if taken:
        raise ConfigError(
            f"{title}: column {taken} has a name that its history needs for itself. Rename it, or leave --history out."
        )
    return tuple(name for name in columns if name not in BOOKKEEPING)


def _is_taken(name: str) -> bool:
    folded = name.casefold()
    return folded in _OWN or folded.startswith(_TEMPORARY) or (folded in BOOKKEEPING and name not in BOOKKEEPING)


def not_kept(history: str, plan: Plan, columns: Collection[str]) -> tuple[str, ...]:
    """Return the note on a history, if a table of this name with these columns is one, that a run does not keep."""
    if not is_history(columns) or not any(plan.counts.get(fate) for fate in ("create", "update", "delete", "stale")):
        return ()
    return (f"{history} is not kept by this run; the next one with --history records what has become of the table",)


def is_history(columns: Collection[str]) -> bool:
    """Return whether a table with these columns is a history."""
    return not _lacking(columns)


def _lacking(columns: Collection[str]) -> list[str]:
    return [name for name in (KEY, *_OWN, RUN) if name not in columns]


def check_is_history(title: str, history: str, columns: Collection[str]) -> None:
    """Raise ConfigError if a table with the name of a history is something else."""
    lacking = _lacking(columns)
    if lacking:
        raise ConfigError(
            f"{title}: its history would be {history}, but there is a table of this name without the "
            f"columns of one ({', '.join(lacking)}). Rename that table, or leave --history out."
        )


def check_types(history: str, types: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Raise ConfigError if a column has another type in the table (`types`) than in its history (`known`)."""
    for name, dtype in types.items():
        if name in known and known[name] != dtype:
            raise ConfigError(
                f"{history}: column {name} is {known[name]}, but {dtype} in the table. Change it: ALTER TABLE "
                f"{history} ALTER COLUMN {name} TYPE {dtype}"
            )


def no_table(title: str, history: str) -> ConfigError:
    """Return the error for a history whose table does not exist."""
    return ConfigError(
        f"{title}: does not exist, but its history {history} does. Rename or drop the history to begin a new one, or "
        "leave --history out."
    )
