"""Move the parts of a source into the stage. Small parts, such as files of a few records, are normalised and validated
together: the fixed cost of a batch is incurred once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from tranship.connectors.contract import Batch, Part
from tranship.pipelines import build, present, rivals, selection, validate
from tranship.pipelines.build import Prepared
from tranship.pipelines.expressions import Expression
from tranship.pipelines.invalid import InvalidValues
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.stage import EarlierStage, Stage
from tranship.schemas import faults


@dataclass(frozen=True)
class _Read:
    """A part that was read: its batch, the keys of the records that `--where` left out, and the prepared records; null
    if there are none.
    """

    number: int
    digest: str
    batch: Batch
    skipped: pl.DataFrame | None
    prepared: Prepared | None


@dataclass(frozen=True)
class Staging:
    """The way in which the parts of a run are read, and the stage to which they are written. Callable from any
    thread."""

    stage: Stage
    earlier: EarlierStage
    columns: ColumnMap
    where: Expression | None
    spelling: Spelling
    invalid: InvalidValues

    def add(self, parts: Sequence[tuple[int, Part]]) -> list[BatchCounts]:
        """Read parts, given with their numbers, and write each to the stage; return the counts of each."""
        reused: dict[int, BatchCounts] = {}
        read: list[_Read] = []
        for number, part in parts:
            digest = part.digest()
            counts = self.stage.adopt(number, digest, self.earlier)
            if counts is not None:
                reused[number] = counts
            else:
                read.append(self._read(number, digest, part))
        added = {
            of_part.number: self._write(of_part, *judged)
            for of_part, judged in zip(read, self._judged(read), strict=True)
        }
        return [reused[number] if number in reused else added[number] for number, _ in parts]

    def _read(self, number: int, digest: str, part: Part) -> _Read:
        batch, skipped = part.read(), None
        if self.where is not None:
            batch, left_out = selection.split(batch, self.where)
            of_keys = build.prepare(left_out, self.columns.of_keys)
            keys = normalise.customers(of_keys.records, of_keys.columns, self.spelling)
            every = pl.int_range(left_out.records.height, dtype=pl.UInt32, eager=True)
            skipped = present.keys_of(left_out, keys, validate.faults(keys), every)
        if batch.records.is_empty():
            return _Read(number, digest, batch, skipped, None)
        rivals.must_agree(batch, self.columns)
        return _Read(number, digest, batch, skipped, build.prepare(batch, self.columns))

    def _judged(self, read: Sequence[_Read]) -> Iterator[tuple[Normalised | None, pl.DataFrame]]:
        """Yield the normalised records of each part, and the reasons to reject some of them."""
        for alike, group in groupby(read, key=_shape):
            parts = list(group)
            if alike is None:
                yield from ((None, faults.no_reasons()) for _ in parts)
                continue
            prepared = [of_part.prepared.records for of_part in parts if of_part.prepared]
            raw = [of_part.batch.records for of_part in parts]
            records, given = (frames[0] if len(frames) == 1 else pl.concat(frames) for frames in (prepared, raw))
            normalised = normalise.customers(records, alike[0], self.spelling)
            normalised, reasons = self.invalid.settle(normalised, validate.faults(normalised), given, self.columns)
            if len(parts) == 1:
                yield normalised, reasons
                continue
            start = 0
            for frame in raw:
                yield normalised.slice(start, frame.height), faults.within(reasons, start, frame.height)
                start += frame.height

    def _write(self, read: _Read, normalised: Normalised | None, reasons: pl.DataFrame) -> BatchCounts:
        if normalised is None or read.prepared is None:
            return self.stage.add(read.number, read.batch, None, reasons, read.digest, skipped=read.skipped)
        filled = rivals.filled(read.batch, self.columns, normalised.records)
        matched = sorted(read.prepared.matched)
        return self.stage.add(read.number, read.batch, normalised, reasons, read.digest, filled, read.skipped, matched)


def _shape(read: _Read) -> tuple[ColumnMap, pl.Schema, pl.Schema] | None:
    """Return the properties that are equal in all parts normalised together; null for a part without records."""
    prepared = read.prepared
    return None if prepared is None else (prepared.columns, prepared.records.schema, read.batch.records.schema)
