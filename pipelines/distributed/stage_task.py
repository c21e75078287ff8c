"""What a task of the stage does with its rows: the work of `pipelines/staging.py`, with rows for files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Final

import polars as pl
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.contract import Batch
from tranship.connectors.errors import Undecided
from tranship.connectors.files.arrow_columns import unfolded
from tranship.pipelines import rivals
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.stage_rows import GOOD, REJECT, WARNING, facts
from tranship.pipelines.judging import Rules
from tranship.pipelines.matching import OURS
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.sort_out import SET_ASIDE, sort_out
from tranship.schemas.faults import BROKEN

BATCH_ROWS: Final = 61_440
"""The rows that are normalised together; engines give fewer at a time, and each batch has a price of its own."""
NAME: Final = "the DataFrame"


class StageTask(Struct, frozen=True):
    """The function that the engine calls with the rows of a partition: the columns of the source, then `_row`,
    `_source`, `_line`.

    `given` are the names of the columns as the DataFrame has them, `columns` those of the source: structs are unfolded
    and equal names distinguished. `place` are the columns of the place, null if rows have none.
    """

    given: tuple[str, ...]
    columns: tuple[str, ...]
    place: tuple[str, str] | None
    rules: Rules
    version: str
    """The version of Tranship that asks; another one may answer differently."""
    name: str = NAME
    """The name of the source in messages."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the stage (`stage_rows.columns`). A message for the user is the last of them."""
        columns = stage_rows.columns(len(self.columns))
        here = metadata.version("tranship")
        if here != self.version:
            message = f"A machine of the cluster has Tranship {here}, and this one {self.version}. Install one version."
            yield from stage_rows.to_arrow(facts(stage_rows.UNDECIDED, [message]), columns)
            return
        for table in _larger(batches):
            try:
                staged = self._staged(table)
            except Undecided as error:
                yield from stage_rows.to_arrow(facts(stage_rows.UNDECIDED, [str(error)]), columns)
                return
            yield from stage_rows.to_arrow(staged, columns)

    def _staged(self, table: pa.RecordBatch) -> pl.DataFrame:
        arrays = table.columns[: len(self.given)]
        fields = [field.with_name(name) for field, name in zip(table.schema, self.given, strict=False)]
        records = pl.DataFrame(pa.RecordBatch.from_arrays(unfolded(fields, arrays), list(self.columns)))
        places = pl.DataFrame(table.select(list(stage_rows.PLACES)))
        if self.place and places.select("_source", "_line").null_count().row(0) != (0, 0):
            raise Undecided(
                f"place: a record has no value in {self.place[0]!r} or {self.place[1]!r}. Fill both columns, or leave "
                "place out."
            )
        # Positions stand for lines, so that rows of many files are one batch.
        positions = pl.int_range(records.height, dtype=pl.UInt64, eager=True)
        try:
            return self._judged(Batch(self.name, records, positions, pl.DataFrame(schema=BROKEN)), places)
        except Undecided:
            self._blame(records, places)
            raise

    def _judged(self, batch: Batch, places: pl.DataFrame) -> pl.DataFrame:
        selected = self.rules.select(batch)
        [(normalised, reasons)] = self.rules.judged([selected])
        skipped = 0 if selected.skipped is None else selected.skipped.height
        found = [facts(stage_rows.READ, [None], count=places.height), facts(stage_rows.SKIPPED, [None], count=skipped)]
        found += [facts(stage_rows.CORRECTED, [rule], count=count) for rule, count in selected.corrected.items()]
        if normalised is None or selected.prepared is None:
            return pl.concat(found, how="diagonal")
        kept = selected.batch
        rows = places["_row"].gather(kept.lines)
        fates = sort_out(kept, normalised, reasons, rows)
        good = _placed(fates.good, places, GOOD).with_columns(stage_rows.looks(fates.good["external_id"]))
        if fates.raw.height:
            originals = fates.raw.drop("_source", "_line").rename(self._staged_names(SET_ASIDE), strict=False)
            good = good.join(originals, on="_row", how="left", maintain_order="left")
        rejects = _placed(fates.rejects.rename(self._staged_names(), strict=False), places, REJECT)
        warnings = _placed(fates.warnings.select("code", "value", _line="line"), places, WARNING)
        matched = [json.dumps(pair) for pair in sorted(selected.prepared.matched)]
        found += [facts(stage_rows.MATCHED, matched), *self._filled(kept, normalised, places)]
        return pl.concat([good, rejects, warnings, *found], how="diagonal")

    def _staged_names(self, aside: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """Return column of the source → its name in the stage; `aside` are those that have another name by now."""
        names = zip(self.columns, stage_rows.raw_names(len(self.columns)), strict=True)
        return {aside.get(column, column): name for column, name in names if column not in OURS}

    def _filled(self, batch: Batch, normalised: Normalised, places: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the facts that show whether a column that was left out has values where the one that was taken has
        none, file by file.
        """
        if not self.rules.columns.others:
            return
        sources = pl.DataFrame({"source": places["_source"].gather(batch.lines)}).with_row_index("at")
        for source, at in sources.group_by("source").agg("at").iter_rows():
            rows = pl.Series(at, dtype=pl.UInt32)
            of_source = replace(batch, records=batch.records[rows])
            filled = rivals.filled(of_source, self.rules.columns, normalised.records[rows])
            yield facts(stage_rows.FILLED, filled, source=source if self.place else self.name)

    def _blame(self, records: pl.DataFrame, places: pl.DataFrame) -> None:
        """Raises the Undecided of these records with the name and line that a person knows."""
        if self.place is None:
            return
        sources = places["_source"]
        for source in sources.unique(maintain_order=True):
            rows = (sources == source).arg_true()
            lines = places["_line"].gather(rows).cast(pl.UInt64)
            batch = Batch(source, records[rows], lines, pl.DataFrame(schema=BROKEN))
            list(self.rules.judged([self.rules.select(batch)]))


def _placed(frame: pl.DataFrame, places: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return a frame whose `_line` is a position in its batch with the place of each row instead."""
    of_rows = places[frame["_line"]] if frame.height else places.clear()
    return stage_rows.of_kind(frame, kind).with_columns(*of_rows)


def _larger(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join batches up to `BATCH_ROWS` rows."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        # Text that is no UTF-8 would be undefined behaviour later.
        batch.validate(full=True)
        if held and rows + batch.num_rows > BATCH_ROWS:
            yield pa.concat_batches(held)
            held, rows = [], 0
        held.append(batch)
        rows += batch.num_rows
    if held:
        yield pa.concat_batches(held)
