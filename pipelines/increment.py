"""What a run reads of a source that an earlier run has read already: `--since`, `--lookback`, `--full`.

The watermark is the largest cursor that was really read. It belongs to a source, a destination, and a way of reading:
with another mapping, everything is read again. It moves only with a complete write, and never back by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
from msgspec import Struct

from tranship.connectors import suggestions
from tranship.connectors.addresses import STANDARD_OUTPUT, is_in_python
from tranship.connectors.contract import Layout, Watermark
from tranship.connectors.errors import ConfigError
from tranship.pipelines.cursor import FIELD, Cursor, Cut, Extent, Kind, Position, decided, kind_of, shown
from tranship.pipelines.expressions import Expression
from tranship.pipelines.increment_notes import begin_notes
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.setting_values import seconds
from tranship.pipelines.settings_model import Settings
from tranship.schemas.column_names import fold

LAST: Final = "last"
"""The value of `--since` that means the watermark."""
NONE: Final[dict[str, Any]] = {
    **{"since": None, "until": None, "cursor": None, "lookback": "0", "full": False},
    **{"new_files": False, "settle": "0"},
}
"""The settings of a run that reads everything and keeps no watermark."""


class Increment(Struct, frozen=True):
    """The part of a source that a run reads, and the watermark that it may move. `known` is the watermark so far."""

    cut: Cut
    source: str
    reading: str
    known: Watermark | None = None
    moves: bool = True
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what later processes of the run need, as the manifest keeps it."""
        return {
            **{"source": self.source, "reading": self.reading, "cursor": self.cut.cursor.name, "moves": self.moves},
            "known": self.known.value if self.known else None,
        }


def check(settings: Settings) -> None:
    """Raise ConfigError if the settings ask for a part of a source that cannot be determined, or for a time that cannot
    be read.
    """
    asked = "--new-files" if settings.new_files else "--full" if settings.full else f"--since {settings.since}"
    if not (settings.since or settings.full or settings.new_files):
        return
    must_be_on_one_machine(settings, asked)
    if len(settings.sources) > 1:
        raise ConfigError(
            f"{asked}: {len(settings.sources)} sources are given, and each has new records of its own. Run each alone."
        )
    source = settings.sources[0]
    if source == STANDARD_OUTPUT or is_in_python(source):
        what = "standard input" if source == STANDARD_OUTPUT else "a frame"
        raise ConfigError(f"{asked}: {what} has no address under which a watermark could be kept. Leave it out.")
    if settings.new_files:
        return
    if not settings.full and settings.since != LAST:
        since = _position(settings)
        until = None if settings.until is None else _position(settings, "until")
        if until is not None and (type(since) is not type(until) or since >= until):  # type: ignore[operator]
            raise ConfigError(f"--since {settings.since} --until {settings.until}: the end is not after the beginning.")
        if settings.lookback != "0":
            raise ConfigError(
                f"--lookback {settings.lookback}: applies to --since last. With a time, give an earlier time."
            )
    if settings.cursor is None and _is_bare(settings):
        raise ConfigError(f"--lookback {settings.lookback}: give a duration, such as 1h.")


def must_be_on_one_machine(settings: Settings, asked: str) -> None:
    """Raise ConfigError for a run on an engine that is `asked` to read a part of its source."""
    if settings.engine:
        raise ConfigError(
            f"{asked}: a run on an engine reads everything. Leave --engine {settings.engine} out, or read everything."
        )


def begin(
    settings: Settings,
    columns: ColumnMap,
    layouts: Sequence[Layout],
    where: Expression | None,
    known: Sequence[Watermark],
    source: tuple[str, str],
    now: datetime,
) -> Increment | None:
    """Return the part of the source that this run reads; null for a run that does not ask for one.

    `known` are the watermarks of the destination, `source` is the source for people and its identity. Raises
    ConfigError if the source has no cursor.
    """
    if settings.new_files or not (settings.since or settings.full):
        return None
    cursor = _cursor(settings, columns, layouts)
    reading = _reading(settings, columns, where, cursor, source[1])
    mark = next((mark for mark in known if mark.reading == reading), None)
    if mark is not None:
        cursor = cursor.of_kind(kind_of(mark.position))
    if settings.full or settings.since == LAST:
        since = None if mark is None else _back(settings, mark.position)
        cut = Cut(cursor, now, since, skips=not settings.full)
        return Increment(cut, source[0], reading, mark, notes=tuple(begin_notes(settings, cut, mark, source[0], known)))
    since = _position(settings)
    if settings.until is not None:
        until = _position(settings, "until")
        cut = Cut(cursor.of_kind(kind_of(since)), now, since, until)
        note = f"reads records with {cursor.name} from {shown(since)} on and before {shown(until)}"
        return Increment(cut, source[0], reading, mark, moves=False, notes=(note,))
    moves = mark is None or (kind_of(since) == kind_of(mark.position) and since <= mark.position)  # type: ignore[operator]
    cut = Cut(cursor.of_kind(kind_of(since)), now, since)
    notes = [f"reads records with {cursor.name} from {shown(since)} on"]
    if mark is not None and not moves:
        notes.append(f"the watermark stays at {shown(mark.position)}: the records between were not read")
    return Increment(cut, source[0], reading, mark, moves, tuple(notes))


def _cursor(settings: Settings, columns: ColumnMap, layouts: Sequence[Layout]) -> Cursor:
    if settings.cursor is None:
        if FIELD in columns.fields:
            column = columns.fields[FIELD]
            return Cursor(FIELD, ColumnMap({FIELD: column}, (), {}), column, ("time",))
        if FIELD in columns.built:
            built = {FIELD: columns.built[FIELD]}
            return Cursor(FIELD, ColumnMap({}, (), {}, built, keeps_unused=False), None, ("time",))
        raise ConfigError(
            f"{settings.source_name}: no column is mapped to {FIELD}, which distinguishes new records from old ones. "
            "Name the column that grows with each change: --cursor COLUMN"
        )
    names = {column for layout in layouts for column in layout.columns}
    alike = sorted(name for name in names if name == settings.cursor) or sorted(
        name for name in names if fold(name) == fold(settings.cursor)
    )
    column = alike[0] if alike else settings.cursor
    for layout in layouts:
        if layout.columns and column not in layout.columns:
            advice = suggestions.advice(settings.cursor, layout.columns, "The columns are", repr)
            raise ConfigError(f"--cursor {settings.cursor}: {layout.name} has no such column. {advice}")
    kinds: tuple[Kind, ...] = ("time", "number")
    if all(layout.types.get(column, pl.String()).is_temporal() for layout in layouts):
        kinds = ("time",)
    return Cursor(column, ColumnMap({FIELD: column}, (), {}), column, kinds)


def _reading(settings: Settings, columns: ColumnMap, where: Expression | None, cursor: Cursor, identity: str) -> str:
    """Return a digest of all that decides the outcome of a record of this source."""
    given = settings.model_dump(
        mode="json",
        include={
            *("timezone", "date_format", "blocked", "on_invalid", "strict", "include_archived", "mode", "nulls"),
            *("columns", "survivor", "fill"),
        },
    )
    mapped = [
        [sorted(columns.fields.items()), sorted(columns.defaults.items()), sorted(columns.extra)],
        sorted((field, str(rule)) for field, rule in columns.built.items()),
        sorted((field, sorted(words.items())) for field, words in columns.words.items()),
        where.meaning if where else None,
        [cursor.name, cursor.column],
    ]
    return hashlib.sha256(json.dumps([identity, given, mapped]).encode()).hexdigest()[:32]


def watermark(facts: Mapping[str, Any] | None, extents: Mapping[Kind, Extent], run_id: str) -> Watermark | None:
    """Return the watermark that a run leaves, from `Increment.facts` and the extents of all that it has read; null if
    it leaves the watermark as it is.
    """
    if facts is None or not facts["moves"] or not extents:
        return None
    largest = extents[decided(extents)].largest
    if largest is None:
        return None
    return Watermark(facts["source"], facts["reading"], facts["cursor"], largest, run_id)


def _position(settings: Settings, name: str = "since") -> Position:
    """Return the time, or the whole number, of `--since` or `--until`. Raises ConfigError."""
    numbers = settings.cursor is not None
    return parse(str(getattr(settings, name)), f"--{name}", settings.timezone, settings.date_format, numbers=numbers)


def parse(text: str, option: str, zone: str, forms: tuple[str, ...], *, numbers: bool) -> Position:
    """Return a time or, if `numbers` may be meant, a whole number. Raises ConfigError."""
    if numbers and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    spelling = Spelling(zone, forms, frozenset())
    columns = ColumnMap({FIELD: "v"}, (), {})
    found = normalise.customers(pl.DataFrame({"v": [text]}), columns, spelling).records[FIELD][0]
    if found is None:
        raise ConfigError(
            f"{option} {text}: is not a time. Write it as 2026-01-31 or 2026-01-31T10:00:00Z"
            f"{', or last' if option == '--since' else ''}."
        )
    position: datetime = found
    return position


def _is_bare(settings: Settings) -> bool:
    return settings.lookback != "0" and settings.lookback.isdigit()


def _lookback(settings: Settings, kind: Kind) -> timedelta | int | None:
    """Return how far to go back for a cursor of this kind; null if the setting is for the other kind."""
    if settings.lookback == "0":
        return 0 if kind == "number" else timedelta()
    if _is_bare(settings):
        return int(settings.lookback) if kind == "number" else None
    return timedelta(seconds=seconds(settings.lookback)) if kind == "time" else None


def _back(settings: Settings, position: Position) -> Position:
    """Return the position from which a delta is read. Raises ConfigError."""
    back = _lookback(settings, kind_of(position))
    if back is None:
        example = "a number, such as 1000" if isinstance(position, int) else "a duration, such as 1h"
        kind = "whole numbers" if isinstance(position, int) else "times"
        raise ConfigError(f"--lookback {settings.lookback}: the values of the cursor are {kind}. Give {example}.")
    try:
        return position - back  # type: ignore[operator]
    except OverflowError:
        raise ConfigError(
            f"--lookback {settings.lookback}: there is no time so long before {shown(position)}. To read "
            "everything, use --full."
        ) from None
