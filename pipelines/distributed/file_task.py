"""What a task of the stage does with whole files: it reads them with the connectors of one machine, so that every line
has its number and one fate.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa
from msgspec import Struct

from tranship.connectors.errors import ConfigError, TranshipError
from tranship.connectors.task_files import TaskFile
from tranship.pipelines import parts, present, rivals
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.stage_rows import GOOD, PRESENT, REJECT, WARNING, facts
from tranship.pipelines.judging import Rules, Selected
from tranship.pipelines.matching import OURS
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.sort_out import SET_ASIDE, row_numbers, sort_out

_TOGETHER_RECORDS: Final = 61_440
_TOGETHER_PARTS: Final = 50
"""As many records, or parts of small files, are normalised together: each batch has a price of its own."""


class _Read(Struct, frozen=True):
    """A part of a file that was read: the number of the file, its own, and its records."""

    file: int
    number: int
    selected: Selected

    @property
    def records(self) -> int:
        """The number of its records."""
        return self.selected.batch.records.height


class FileTask(Struct, frozen=True):
    """The function that the engine calls with the numbers of files among `files`.

    `columns` are those of all files, in the order of the source; `with_present` is whether the keys of records that are
    not staged are wanted.
    """

    files: tuple[TaskFile, ...]
    columns: tuple[str, ...]
    options: Mapping[str, Any]
    rules: Rules
    with_present: bool
    version: str
    """The version of Tranship that asks; another one may answer differently."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the stage (`stage_rows.columns`). An error for the user is the last of them."""
        columns = stage_rows.columns(len(self.columns))
        numbers = (at for batch in batches for at in batch.column(0).to_pylist())
        for frame in self._staged(numbers):
            yield from stage_rows.to_arrow(frame, columns)

    def _must_be_same_version(self) -> None:
        here = metadata.version("tranship")
        if here != self.version:
            raise ConfigError(
                f"A machine of the cluster has Tranship {here}, and this one {self.version}. Install one version."
            )

    def _staged(self, numbers: Iterator[int]) -> Iterator[pl.DataFrame]:
        at = 0
        held: list[_Read] = []
        try:
            self._must_be_same_version()
            for at in numbers:
                for read in self._read(at, self.files[at]):
                    if isinstance(read, _Read):
                        held.append(read)
                    else:
                        yield read
                    if sum(of_part.records for of_part in held) >= _TOGETHER_RECORDS or len(held) == _TOGETHER_PARTS:
                        yield from self._judged(held)
                        held = []
            yield from self._judged(held)
        except TranshipError as error:
            message = json.dumps([type(error).__name__, str(error)])
            yield facts(stage_rows.FAILED, [message], row=first_row(at, 0))

    def _read(self, at: int, file: TaskFile) -> Iterator[_Read | pl.DataFrame]:
        """Yield the parts of a file, then the fact that it was read: the number of its parts, the notes on it, its
        name and columns.
        """
        number = -1
        with closing(file.open(self.options)) as source, tempfile.TemporaryDirectory(prefix="tranship-") as keep:
            for number, part in enumerate(source.parts(Path(keep))):
                yield _Read(at, number, self.rules.select(part.read()))
            [layout] = source.layouts()
        notes = [f"{layout.name}: {note}" for note in layout.notes]
        found = json.dumps([number + 1, notes, layout.name, layout.columns])
        yield facts(stage_rows.FILE, [found], row=first_row(at, 0))

    def _judged(self, read: list[_Read]) -> Iterator[pl.DataFrame]:
        judged = self.rules.judged([of_part.selected for of_part in read])
        for of_part, of_its in zip(read, judged, strict=True):
            yield self._sorted(of_part, *of_its)

    def _sorted(self, read: _Read, normalised: Normalised | None, reasons: pl.DataFrame) -> pl.DataFrame:
        selected, first = read.selected, first_row(read.file, read.number)
        batch, skipped, prepared = selected.batch, selected.skipped, selected.prepared
        fates = sort_out(batch, normalised, reasons, row_numbers(batch.records.height, read.number, read.file))
        filled = [] if normalised is None else rivals.filled(batch, self.rules.columns, normalised.records)
        counts = parts.counts_of(
            batch,
            reasons,
            fates,
            skipped=0 if skipped is None else skipped.height,
            filled=filled,
            matched=sorted(prepared.matched) if prepared else (),
            corrected=selected.corrected,
        )
        part = json.dumps([msgspec.to_builtins(counts), fates.raw.height > 0])
        frames = [facts(stage_rows.PART, [part], row=first)]
        if fates.good.height:
            good = fates.good.with_columns(pl.col("_row", "_line").cast(pl.Int64))
            good = good.with_columns(stage_rows.looks(good["external_id"]))
            if fates.raw.height:
                originals = fates.raw.drop("_source", "_line").rename(self._staged_names(SET_ASIDE), strict=False)
                originals = originals.with_columns(pl.col("_row").cast(pl.Int64))
                good = good.join(originals, on="_row", how="left", maintain_order="left")
            frames.append(stage_rows.of_kind(good, GOOD))
        rejects = fates.rejects.rename(self._staged_names(), strict=False)
        frames.append(_numbered(rejects, REJECT, first))
        frames.append(_numbered(fates.warnings.rename({"source": "_source", "line": "_line"}), WARNING, first))
        if self.with_present:
            keys = present.keys_of_rejects(batch, normalised, reasons)
            keys = keys if skipped is None else pl.concat([keys, skipped])
            frames.append(_numbered(keys.rename({"source": "_source", "line": "_line"}), PRESENT, first))
        return pl.concat(frames, how="diagonal_relaxed")

    def _staged_names(self, aside: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return column of the source → its name in the stage; `aside` are those that have another name by now."""
        names = zip(self.columns, stage_rows.raw_names(len(self.columns)), strict=True)
        return {(aside or {}).get(column, column): name for column, name in names if column not in OURS}


def first_row(file: int, part: int) -> int:
    """Return the number of the first row of a part."""
    return int(row_numbers(1, part, file)[0])


def _numbered(frame: pl.DataFrame, kind: str, first: int) -> pl.DataFrame:
    """Return rows of a part, numbered in their order. Only records are numbered by the order of the file."""
    rows = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True).alias("_row")
    return stage_rows.of_kind(frame, kind).with_columns(rows)
