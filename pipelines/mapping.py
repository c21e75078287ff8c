"""The mapping of source columns to fields of the customer."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.schemas import headers as names
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.headers import Fit, Flag

OURS = ("_source", "_line", "_codes", "_reasons", "_text")
"""Columns that a rejects file adds to those of the input; they are not data of the customer."""


ColumnSettings = Mapping[str, str | Sequence[str]]
"""Column → its field, or its fields; an empty one leaves the column out."""


@dataclass(frozen=True)
class ColumnMap:
    """Canonical field → column of the source, the unmapped columns, and default values.

    One column may feed several fields. `rivals` are field → columns that have the same name as the mapped one in
    another spelling, `others` are field → synonyms of another meaning; only their names
    decided between those and the mapped column. `flags` are unmapped columns that say that a record is deleted or
    disabled. `notes` are for people.
    """

    fields: Mapping[str, str]
    extra: tuple[str, ...]
    defaults: Mapping[str, str]
    flags: tuple[Flag, ...] = ()
    rivals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The canonical fields that this source has, in order."""
        said = {*self.fields, *self.defaults, *(["metadata"] if self.extra else [])}
        return tuple(name for name in COLUMNS if name in said)

    @property
    def by_column(self) -> dict[str, str | list[str]]:
        """Column → its field, or its fields, as in the settings."""
        return fields_by_column(self.fields)

    @property
    def of_keys(self) -> ColumnMap:
        """The map of the keys only: external id and e-mail."""
        keys = {name: column for name, column in self.fields.items() if name in ("external_id", "email")}
        return ColumnMap(keys, (), {})

    def within(self, columns: Collection[str]) -> ColumnMap:
        """Return the map for records that have only these columns."""
        fields = {field: column for field, column in self.fields.items() if column in columns}
        return dataclasses.replace(self, fields=fields)


@dataclass(frozen=True)
class Match:
    """The mapping that follows from the names of the columns.

    `fields` is field → column; `dropped` are the columns that the settings leave out; `conflicts` is field → the
    columns that would all fit it, between which a person must choose; `fits` has, by field, all that fit by name.
    """

    fields: Mapping[str, str]
    dropped: frozenset[str]
    conflicts: Mapping[str, Sequence[str]]
    fits: Mapping[str, Fit]

    def undecided(self, of: Sequence[str]) -> tuple[str, ...]:
        """Return those of the columns that are neither mapped nor dropped."""
        return tuple(c for c in of if c not in self.dropped and c not in self.fields.values())


def fields_by_column(fields: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Return column → its field, or its fields, from field → column."""
    found: dict[str, list[str]] = {}
    for name, column in fields.items():
        found.setdefault(column, []).append(name)
    return {column: names[0] if len(names) == 1 else names for column, names in found.items()}


def match(layouts: Sequence[Layout], column_settings: ColumnSettings, defaults: Mapping[str, str]) -> Match:
    """Match the columns of all files of a run to fields, first by the settings, then by name.

    Raises ConfigError if a name in the settings does not exist, or the settings contradict themselves.
    """
    columns = columns_of(layouts)
    for left, right in _pairs(column_settings):
        if left in COLUMNS and right not in COLUMNS and right in columns:
            raise ConfigError(f'--map: the column comes first: --map "{right}={left}"')
    for option, fields in (("--map", [name for _, name in _pairs(column_settings)]), ("--default", list(defaults))):
        for name in fields:
            if name and name not in COLUMNS:
                raise ConfigError(f"{option}: unknown field {name!r}{_nearest(name, COLUMNS)}")
    found: dict[str, str] = {}
    dropped = set()
    for given, name in _pairs(column_settings):
        column = _column(given, columns, layouts)
        if name and found.setdefault(name, column) != column:
            raise ConfigError(f"--map: {name} has two columns. Map one column to each field.")
        if not name:
            dropped.add(column)
    for name, column in found.items():
        if column in dropped:
            raise ConfigError(
                f'--map: "{column}=" leaves the column out and "{column}={name}" maps it. Give one of the two.'
            )
    repeats = {made: given for layout in layouts for made, given in layout.repeated.items()}
    fits = names.match(columns, repeats)
    decided_columns = {*found.values(), *dropped}
    conflicts = {}
    # Columns that the settings map elsewhere are no longer in question.
    for name, fit in names.match(columns, repeats, without=decided_columns).items():
        if name in found:
            continue
        if fit.column is None:
            conflicts[name] = fit.others
        else:
            found[name] = fit.column
    return Match(found, frozenset(dropped), conflicts, fits)


def _pairs(column_settings: ColumnSettings) -> list[tuple[str, str]]:
    return [
        (column, name)
        for column, given in column_settings.items()
        for name in ([given] if isinstance(given, str) else given or [""])
    ]


def columns_of(layouts: Sequence[Layout]) -> list[str]:
    """Return the columns of all files, each once, without those that a rejects file adds."""
    return list(dict.fromkeys(c for layout in layouts for c in layout.columns if c not in OURS))


def propose(
    layouts: Sequence[Layout], column_settings: ColumnSettings, defaults: Mapping[str, str], extra: str = "keep"
) -> ColumnMap:
    """Return the map of a run, by `match`.

    Raises ConfigError if a name in the settings does not exist, two columns fit one field, a file lacks a mapped
    column, or no column fits any field.
    """
    columns = columns_of(layouts)
    matched = match(layouts, column_settings, defaults)
    if matched.conflicts:
        raise ConfigError("\n".join(_choice(layouts[0], *conflict) for conflict in matched.conflicts.items()))
    mapped = matched.fields
    if not mapped and any(layout.columns for layout in layouts):
        first = columns[0] if columns else "column"
        raise ConfigError(
            f"{layouts[0].name}: no known column name ({', '.join(map(repr, columns[:12]))}). "
            f'Map them: --map "{first}=external_id"'
        )
    for layout in layouts:
        for name, column in mapped.items():
            if layout.columns and column not in layout.columns:
                raise ConfigError(
                    f"{layout.name}: has no column {column!r} ({name}), which other files of this run have. "
                    "Nothing was written; fix the file or run it by itself."
                )
    left = tuple(c for c in columns if c not in mapped.values() and c not in matched.dropped)
    secret = tuple(c for c in left if names.is_secret(c))
    left = tuple(c for c in left if c not in secret)
    if left and extra == "error":
        raise ConfigError(f"{layouts[0].name}: unmapped columns: {', '.join(map(repr, left))} (--extra error).")
    given = {name for _, name in _pairs(column_settings)}
    open_ = {name: fit for name, fit in matched.fits.items() if name in mapped and name not in given}
    return ColumnMap(
        mapped,
        left if extra == "keep" else (),
        dict(defaults),
        flags=tuple(flag for flag in map(names.flag, left) if flag),
        rivals=_filled({name: matched.undecided(fit.rivals) for name, fit in open_.items()}),
        others=_filled({name: matched.undecided(fit.others) for name, fit in open_.items()}),
        notes=(*_notes(matched, given, extra), *_note_of_secrets(secret)),
    )


def _filled(columns: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: of_field for name, of_field in columns.items() if of_field}


def _notes(matched: Match, mapped_by_hand: Collection[str], extra: str) -> Iterator[str]:
    """Yield a note on each column that fits a field by name and was not mapped to it."""
    for name, fit in matched.fits.items():
        left = matched.undecided(fit.columns)
        if name not in matched.fields:
            for taken in [column for column in fit.columns if column not in matched.dropped][:1]:
                fields = " and ".join(field for field, column in matched.fields.items() if column == taken)
                yield f'"{taken}" is {fields}, and {name} has no column. For both, add: --map "{taken}={name}"'
            continue
        if not left:
            continue
        column, quoted = matched.fields[name], " and ".join(f'"{other}"' for other in left)
        fate = ("stays" if len(left) == 1 else "stay") + " in metadata"
        if extra == "drop":
            fate = "is dropped" if len(left) == 1 else "are dropped"
        if name in mapped_by_hand:
            replaces = fit.column in left
            yield (
                f'--map "{column}={name}" replaces {quoted}, which now {fate}'
                if replaces
                else f'{name} is "{column}"; {quoted} would fit, too, and {fate}'
            )
        else:
            yield f'{name} is "{column}"; {quoted} would fit, too, and {fate}. To choose: --map "{left[0]}={name}"'


def _note_of_secrets(columns: Sequence[str]) -> Iterator[str]:
    if columns:
        quoted = ", ".join(f'"{column}"' for column in columns)
        what = "holds a secret and is" if len(columns) == 1 else "hold secrets and are"
        yield f'{quoted} {what} left out. To use it, map it: --map "{columns[0]}=FIELD"'


def _choice(layout: Layout, field: str, fitting: Sequence[str]) -> str:
    lines = "\n".join(f'  --map "{column}={field}"' for column in fitting)
    columns = counted(len(fitting), "column")
    return f"{layout.name}: {columns} fit {field}: {', '.join(map(repr, fitting))}. Choose one:\n{lines}"


def _column(name: str, columns: Sequence[str], layouts: Sequence[Layout]) -> str:
    """Return the source's spelling of a column named in the settings, exactly or up to case and blanks."""
    if name in columns:
        return name
    alike = [column for column in columns if names.fold(column) == names.fold(name)]
    if len(alike) == 1:
        return alike[0]
    raise ConfigError(f"--map: {layouts[0].name} has no column {name!r}{_nearest(name, columns)}")


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}."
