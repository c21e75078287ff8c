"""Which column of the source is which field of the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from connectors.contract import Layout
from connectors.errors import ConfigError
from schemas import columns as names
from schemas.customer import COLUMNS

OURS = ("_source", "_line", "_codes", "_reasons", "_text")
"""Columns that a rejects file has beside the input's own; they say nothing about the customer."""


@dataclass(frozen=True)
class ColumnMap:
    """Column of the source → canonical field, the columns nobody mapped, and values for what is missing."""

    fields: Mapping[str, str]
    extra: tuple[str, ...]
    defaults: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The canonical fields this source says something about, in order."""
        said = {*self.fields.values(), *self.defaults, *(["metadata"] if self.extra else [])}
        return tuple(name for name in COLUMNS if name in said)


@dataclass(frozen=True)
class Match:
    """What the names of the columns say.

    `fields` is column → field (empty: left out, because somebody said so); `conflicts` is field → the columns
    that would all fit it, between which a person must choose.
    """

    fields: Mapping[str, str]
    conflicts: Mapping[str, Sequence[str]]


def match(layouts: Sequence[Layout], told: Mapping[str, str], defaults: Mapping[str, str]) -> Match:
    """Match the columns of all files of a run to fields: what was told first, then by name.

    `told` is column → field (an empty field means: leave the column out). Raises ConfigError where a told name
    does not exist.
    """
    columns = columns_of(layouts)
    for left, right in told.items():
        if left in COLUMNS and right not in COLUMNS and right in columns:
            raise ConfigError(f'--map: the column comes first: --map "{right}={left}"')
    for option, fields in (("--map", told.values()), ("--default", defaults)):
        for field in fields:
            if field and field not in COLUMNS:
                raise ConfigError(f"{option}: there is no field {field!r}{_nearest(field, COLUMNS)}")
    found = {_column(column, columns, layouts): field for column, field in told.items()}
    twice = [field for field in found.values() if field and list(found.values()).count(field) > 1]
    if twice:
        raise ConfigError(f"--map: {twice[0]} is given two columns; one field holds one column.")
    fitting = names.match([c for c in columns if c not in found])
    for unique, name in (pair for layout in layouts for pair in layout.repeated.items()):
        for fit in fitting.values():
            if name in fit and unique not in (*fit, *found):
                fit.append(unique)
    free = {field: fit for field, fit in fitting.items() if field not in found.values()}
    found |= {fit[0]: field for field, fit in free.items() if len(fit) == 1}
    return Match(found, {field: fit for field, fit in free.items() if len(fit) > 1})


def columns_of(layouts: Sequence[Layout]) -> list[str]:
    """The columns of all files, each once; without those that a rejects file adds."""
    return list(dict.fromkeys(c for layout in layouts for c in layout.columns if c not in OURS))


def propose(
    layouts: Sequence[Layout],
    told: Mapping[str, str],
    defaults: Mapping[str, str],
    extra: str = "keep",
) -> ColumnMap:
    """The map of a run, by `match`.

    Raises ConfigError where a told name does not exist, where two columns would fit one field, where a file lacks
    a mapped column, or where nothing fits at all.
    """
    columns = columns_of(layouts)
    matched = match(layouts, told, defaults)
    if matched.conflicts:
        raise ConfigError("\n".join(_choice(layouts[0], *conflict) for conflict in matched.conflicts.items()))
    fields = matched.fields
    mapped = {column: field for column, field in fields.items() if field}
    if not mapped and any(layout.columns for layout in layouts):
        first = columns[0] if columns else "column"
        raise ConfigError(
            f"{layouts[0].name}: no column name is known ({', '.join(map(repr, columns[:12]))}). "
            f'Say what they are: --map "{first}=external_id"'
        )
    for layout in layouts:
        for column, field in mapped.items():
            if layout.columns and column not in layout.columns:
                raise ConfigError(
                    f"{layout.name}: has no column {column!r} ({field}), which other files of this run have. "
                    "Nothing was written; fix the file or run it by itself."
                )
    left = tuple(c for c in columns if c not in fields)
    if left and extra == "error":
        raise ConfigError(f"{layouts[0].name}: columns nobody mapped: {', '.join(map(repr, left))} (--extra error).")
    return ColumnMap(mapped, left if extra == "keep" else (), dict(defaults))


def _choice(layout: Layout, field: str, fitting: Sequence[str]) -> str:
    lines = "\n".join(f'  --map "{column}={field}"' for column in fitting)
    return (
        f"{layout.name}: {len(fitting)} columns fit {field}: {', '.join(map(repr, fitting))}. "
        f"Say which one it is:\n{lines}"
    )


def _column(told: str, columns: Sequence[str], layouts: Sequence[Layout]) -> str:
    """The source's own spelling of a column that was named, exactly or but for case and blanks."""
    if told in columns:
        return told
    alike = [column for column in columns if names.fold(column) == names.fold(told)]
    if len(alike) == 1:
        return alike[0]
    raise ConfigError(f"--map: {layouts[0].name} has no column {told!r}{_nearest(told, columns)}")


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}."
