"""Records as a source gives them → canonical records, and the reasons to reject some of them.

The rules of a run are one value, which is applied to any batch by itself: in a thread here, or on another machine.
Small batches, such as files of a few records, are normalised and validated together: what a batch costs by itself is
paid once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import polars as pl
from msgspec import Struct, field

from tranship.connectors.contract import Batch
from tranship.pipelines import build, present, rivals, selection, validate
from tranship.pipelines.build import Prepared
from tranship.pipelines.cursor import Cut, CutBatch
from tranship.pipelines.expressions import Expression
from tranship.pipelines.invalid import InvalidValues
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.spelling import Spelling
from tranship.schemas import faults


class Selected(Struct, frozen=True):
    """A batch without the records that `--where` left out, the keys (`PRESENT`) of those, and the prepared records;
    null if there are none. `cut` is what was left out of the batch, and is known of it, by its cursor; `corrected` is
    the number of corrected values, by rule.
    """

    batch: Batch
    skipped: pl.DataFrame | None
    prepared: Prepared | None
    cut: CutBatch | None = None
    corrected: Mapping[str, int] = field(default_factory=dict)


class Rules(Struct, frozen=True):
    """The meaning of the columns of a source, and what is valid in them."""

    columns: ColumnMap
    where: Expression | None
    spelling: Spelling
    invalid: InvalidValues
    cut: Cut | None = None

    def select(self, batch: Batch) -> Selected:
        """Correct values, leave out records, and build the fields of the others.

        Raises Undecided where the values leave open which column a field is, or an expression cannot be applied.
        """
        skipped = None
        batch, corrected = self.columns.corrections.apply(batch)
        if self.where is not None:
            batch, left_out = selection.split(batch, self.where)
            of_keys = build.prepare(left_out, self.columns.of_keys)
            keys = normalise.customers(of_keys.records, of_keys.columns, self.spelling)
            every = pl.int_range(left_out.records.height, dtype=pl.UInt32, eager=True)
            skipped = present.keys_of(left_out, keys, validate.faults(keys), every)
        cut = None
        if self.cut is not None and not batch.records.is_empty():
            cut = self.cut.split(batch, self.spelling)
            batch = cut.batch
        if batch.records.is_empty():
            return Selected(batch, skipped, None, cut, corrected)
        rivals.must_agree(batch, self.columns)
        return Selected(batch, skipped, build.prepare(batch, self.columns), cut, corrected)

    def judged(self, selected: Sequence[Selected]) -> Iterator[tuple[Normalised | None, pl.DataFrame]]:
        """Yield the normalised records of each batch, and the reasons to reject some of them."""
        for alike, group in groupby(selected, key=_shape):
            batches = list(group)
            if alike is None:
                yield from ((None, faults.no_reasons()) for _ in batches)
                continue
            prepared = [of_batch.prepared.records for of_batch in batches if of_batch.prepared]
            raw = [of_batch.batch.records for of_batch in batches]
            records, given = (frames[0] if len(frames) == 1 else pl.concat(frames) for frames in (prepared, raw))
            normalised = normalise.customers(records, alike[0], self.spelling)
            normalised, reasons = self.invalid.settle(normalised, validate.faults(normalised), given, self.columns)
            if len(batches) == 1:
                yield normalised, reasons
                continue
            start = 0
            for frame in raw:
                yield normalised.slice(start, frame.height), faults.within(reasons, start, frame.height)
                start += frame.height


def _shape(selected: Selected) -> tuple[ColumnMap, pl.Schema, pl.Schema] | None:
    """Return what batches have in common that are normalised together; null for one without records."""
    prepared = selected.prepared
    return None if prepared is None else (prepared.columns, prepared.records.schema, selected.batch.records.schema)
