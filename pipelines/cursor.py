"""The cursor of a source: the value of each record that distinguishes new records from old ones.

It is an instant or a whole number. A record without a value that can be read as such is always read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors.contract import Batch, position_of
from tranship.pipelines import build
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.spelling import Spelling
from tranship.schemas.constant import constant
from tranship.schemas.customer import YEARS

FIELD: Final = "updated_at"
"""The field that is the cursor, unless a column is named."""
Kind = Literal["time", "number"]
Position = datetime | int
_WHOLE: Final = r"^\s*([+-]?[0-9]{1,18})\s*$"


class Extent(Struct, frozen=True):
    """The cursor of some records. `largest` and `ahead` are about values of records that were read."""

    filled: int = 0
    """Records with a value of this kind."""
    largest: str | None = None
    """As in `Watermark.value`; of instants, the largest that is not after the start of the run."""
    ahead: int = 0
    """Instants after the start of the run: they are read again, until that time has come."""
    unreadable: int = 0
    """Records with a value that is none of this kind."""
    first: tuple[str, int] | None = None
    """The place of the first of those."""

    def __add__(self, later: Extent) -> Extent:
        known = [value for value in (self.largest, later.largest) if value is not None]
        return Extent(
            self.filled + later.filled,
            max(known, key=position_of, default=None),
            self.ahead + later.ahead,
            self.unreadable + later.unreadable,
            self.first or later.first,
        )


def text_of(position: Position) -> str:
    """Return the opposite of `connectors.contract.position_of`."""
    if isinstance(position, int):
        return str(position)
    return position.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def shown(position: Position) -> str:
    """Return a position for people."""
    text = text_of(position)
    return re.sub(r"(\.\d*?)0+Z$", r"\1Z", text).replace(".Z", "Z")


def kind_of(position: Position) -> Kind:
    """Return the kind of a value."""
    return "number" if isinstance(position, int) else "time"


def decided(extents: Mapping[Kind, Extent]) -> Kind:
    """Return the kind of a cursor whose values may be either: instants, unless more of them are whole numbers."""
    return max(extents, key=lambda kind: (extents[kind].filled, kind == "time"))


class Cursor(Struct, frozen=True):
    """How the cursor of a record is found."""

    name: str
    """The column or field, for people and watermarks."""
    columns: ColumnMap
    """The map of `FIELD` alone: a cursor is read as that field is."""
    column: str | None
    """The column of the source that it is, unchanged; null if it is built from columns."""
    kinds: tuple[Kind, ...] = ("time", "number")
    """The kinds that it may be of."""

    def of_kind(self, kind: Kind) -> Cursor:
        """Return the cursor once its kind is known."""
        return replace(self, kinds=(kind,))

    def values(self, batch: Batch, kind: Kind, spelling: Spelling) -> tuple[pl.Series, pl.Series]:
        """Return the cursor of each record, null where there is none of this kind; and a mask of records whose value is
        none of this kind.
        """
        prepared = build.prepare(batch, self.columns)
        if FIELD not in prepared.columns.fields:
            nothing = constant(None, batch.records.height, pl.Datetime("us", "UTC") if kind == "time" else pl.Int64())
            return nothing, constant(value=False, count=batch.records.height)
        given = prepared.records[prepared.columns.fields[FIELD]]
        if kind == "number":
            text = as_text(given)
            values = text.str.extract(_WHOLE).cast(pl.Int64)
            return values, values.is_null() & (text.str.strip_chars() != "").fill_null(value=False)
        found = normalise.customers(prepared.records, prepared.columns, spelling)
        values = found.records[FIELD]
        outside = ~values.is_between(YEARS["min_value"], YEARS["max_value"], closed="left").fill_null(value=True)
        unread = found.unreadable.filter(pl.col("code").str.starts_with(f"{FIELD}."))["at"]
        return values.set(outside, None), outside.scatter(unread, values=True)


class Cut(Struct, frozen=True):
    """The records of a source that are read: those with a cursor from `since` on, and those without one."""

    cursor: Cursor
    now: datetime
    """The start of the run."""
    since: Position | None = None
    """Null: all of them."""
    until: Position | None = None
    """Records from here on are left out; null: none."""
    skips: bool = True
    """Whether earlier records are left out; otherwise they are read, and marked as late."""

    def meaning(self) -> list[object]:
        """Return what decides which records are read, and what is known of them."""
        bounds = [None if bound is None else text_of(bound) for bound in (self.since, self.until)]
        mapped = [list(self.cursor.columns.fields.items()), [str(rule) for rule in self.cursor.columns.built.values()]]
        return [mapped, self.cursor.kinds, *bounds, self.skips]

    def split(self, batch: Batch, spelling: Spelling) -> CutBatch:
        """Leave out the records that are not read, and describe the others."""
        extents: dict[Kind, Extent] = {}
        late = None
        height = batch.records.height
        for kind in self.cursor.kinds:
            values, odd = self.cursor.values(batch, kind, spelling)
            kept = self._kept(values)
            if not kept.all():
                batch = replace(batch, records=batch.records.filter(kept), lines=batch.lines.filter(kept))
                values, odd = values.filter(kept), odd.filter(kept)
            if self.since is not None and not self.skips:
                rows = (values < self.since).fill_null(value=False).arg_true()
                late = pl.DataFrame({"at": rows, "value": values.gather(rows)})
            extents[kind] = self._extent(batch, kind, values, odd)
        return CutBatch(batch, height - batch.records.height, extents, late)

    def _kept(self, values: pl.Series) -> pl.Series:
        kept = constant(value=True, count=len(values))
        if self.since is not None and self.skips:
            kept &= values >= self.since
        if self.until is not None:
            kept &= values < self.until
        return kept.fill_null(value=True)

    def _extent(self, batch: Batch, kind: Kind, values: pl.Series, odd: pl.Series) -> Extent:
        past = values.filter(values <= self.now) if kind == "time" else values
        largest = past.max()
        first = odd.arg_max() if odd.any() else None
        return Extent(
            filled=values.count(),
            largest=text_of(largest) if isinstance(largest, int | datetime) else None,
            ahead=int((values > self.now).sum()) if kind == "time" else 0,
            unreadable=int(odd.sum()),
            first=None if first is None else (batch.source, int(batch.lines[first])),
        )


class CutBatch(Struct, frozen=True):
    """A batch of which records were left out."""

    batch: Batch
    left_out: int
    extents: Mapping[Kind, Extent] = field(default_factory=dict)
    late: pl.DataFrame | None = None
    """The records of the batch before `Cut.since`, with their position (`at`) and cursor (`value`)."""
