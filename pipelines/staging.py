"""Move the parts of a source into the stage."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from msgspec import Struct

from tranship.connectors.contract import Part
from tranship.pipelines import rivals
from tranship.pipelines.judging import Rules, Selected
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.stage import EarlierStage, Stage


class _Read(Struct, frozen=True):
    """A part that was read."""

    number: int
    digest: str
    selected: Selected


class Staging(Struct, frozen=True):
    """The way in which the parts of a run are read, and the stage to which they are written. Callable from any
    thread."""

    stage: Stage
    earlier: EarlierStage
    rules: Rules

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
                read.append(_Read(number, digest, self.rules.select(part.read())))
        judged = self.rules.judged([of_part.selected for of_part in read])
        added = {of_part.number: self._write(of_part, *of_its) for of_part, of_its in zip(read, judged, strict=True)}
        return [reused[number] if number in reused else added[number] for number, _ in parts]

    def _write(self, read: _Read, normalised: Normalised | None, reasons: pl.DataFrame) -> BatchCounts:
        selected = read.selected
        batch, skipped, prepared, cut = selected.batch, selected.skipped, selected.prepared, selected.cut
        corrected = selected.corrected
        if normalised is None or prepared is None:
            return self.stage.add(
                read.number, batch, None, reasons, read.digest, skipped=skipped, cut=cut, corrected=corrected
            )
        filled = rivals.filled(batch, self.rules.columns, normalised.records)
        matched = sorted(prepared.matched)
        return self.stage.add(
            read.number, batch, normalised, reasons, read.digest, filled, skipped, matched, cut, corrected
        )
