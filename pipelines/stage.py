"""The stage of a run: its canonical records on disk, batch by batch, and the survivors among them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import polars as pl
import pyarrow.parquet as pq
from msgspec import Struct

from tranship.connectors import durable, mirrored
from tranship.connectors.contract import Batch, Survivors
from tranship.connectors.errors import Damaged
from tranship.pipelines import parts as parts_file
from tranship.pipelines import present
from tranship.pipelines.cursor import CutBatch
from tranship.pipelines.identify import MERGES
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.run_directory import STAGE_STEP, all_runs
from tranship.pipelines.sort_out import PLACE_BITS, row_numbers, sample_of, sort_out
from tranship.pipelines.stage_files import PART_FOLDERS, PATCHED, Pieces, write, write_stage
from tranship.schemas.customer import COLUMNS

_AT_A_TIME = 16_384
_BYTES_AT_A_TIME = 4 << 20
_SAMPLED_PARTS = 20


class Stage:
    """The stage in the directory of a run. With `keeps_sample`, some records are kept as they were in the source, for
    the report.
    """

    def __init__(self, path: Path, *, keeps_sample: bool = False) -> None:
        self.path = path
        self._keeps_sample = keeps_sample
        self._sealed = durable.Sealed()

    def add(
        self,
        number: int,
        batch: Batch,
        normalised: Normalised | None,
        reasons: pl.DataFrame,
        digest: str,
        filled: Sequence[str] = (),
        skipped: pl.DataFrame | None = None,
        matched: Sequence[tuple[str, str]] = (),
        cut: CutBatch | None = None,
        corrected: Mapping[str, int] = MappingProxyType({}),
    ) -> BatchCounts:
        """Write one batch: good records to the stage, bad ones and broken lines to the rejects, and the warnings.

        `reasons` are `schemas.faults.REASONS`; `normalised` is the whole batch; `digest` is that of its part, `filled`
        are `rivals.filled`, `skipped` are the keys (`PRESENT`) of records that `--where` left out, `matched` the words
        of `--value` that occurred, `cut` the records left out by their cursor, `corrected` the number of corrected
        values, by rule.
        """
        name = f"{number:06}.parquet"
        rows = row_numbers(batch.records.height, number)
        fates = sort_out(batch, normalised, reasons, rows)
        if normalised is not None:
            write_stage(fates.good, self.path / "stage" / name)
        for folder, frame in (("raw", fates.raw), ("warned", fates.warnings), ("rejected", fates.rejects)):
            if frame.height:
                write(frame, self.path / folder / name)
        if cut is not None and cut.late is not None and cut.late.height:
            late = pl.DataFrame({"row": rows.gather(cut.late["at"]), "value": cut.late["value"]})
            write(late, self.path / "late" / name)
        if self._keeps_sample and number < _SAMPLED_PARTS and batch.records.height:
            write(sample_of(batch), self.path / "sample" / name)
        left_out = (0 if skipped is None else skipped.height) + (cut.left_out if cut else 0)
        keys = present.keys_of_rejects(batch, normalised, reasons)
        with self.present(name) as kept:
            kept.add(keys if skipped is None else pl.concat([keys, skipped]))
        written = {folder: self.path / folder / name for folder in PART_FOLDERS}
        return parts_file.counts_of(
            batch,
            reasons,
            fates,
            skipped=left_out,
            filled=filled,
            matched=matched,
            digest=digest,
            files={folder: self._sealed.seal(file) for folder, file in written.items() if file.exists()},
            extents=cut.extents if cut else {},
            corrected=corrected,
        )

    def late(self) -> pl.LazyFrame | None:
        """Return the records that a delta would leave out (`row`, `value` of the cursor); null if there are none."""
        files = sorted((self.path / "late").glob("*.parquet"))
        return pl.scan_parquet(files, glob=False) if files else None

    def adopt(self, number: int, digest: str, earlier: EarlierStage) -> BatchCounts | None:
        """Reuse the files of the same part of an earlier run, as hard links where possible, and return its counts; null
        if the part differs or its files are damaged.
        """
        counts = earlier.parts.get(number)
        if counts is None or counts.digest != digest:
            return None
        name = f"{number:06}.parquet"
        try:
            for folder in counts.files:
                mirrored.bring(earlier.path / folder / name)
                _link(earlier.path / folder / name, self.path / folder / name)
        except OSError:
            whole = False
        else:
            whole = all(durable.is_whole(self.path / folder / name, sealed) for folder, sealed in counts.files.items())
        if whole:
            return counts
        # A linked file belongs to the earlier run, too: it must not be written to.
        for folder in counts.files:
            (self.path / folder / name).unlink(missing_ok=True)
        return None

    def present(self, name: str) -> Pieces:
        """Return a file of keys (`PRESENT`) of records that were read and are not among the survivors, in place of an
        earlier one of this name.
        """
        return Pieces(self.path / "present" / name)

    def present_files(self) -> tuple[Path, ...]:
        """Return the files of `present`."""
        return tuple(sorted((self.path / "present").glob("*.parquet")))

    def complete(self, run_id: str, parts: Sequence[BatchCounts]) -> None:
        """End the stage, with all files on disk. A stage without records has one empty file."""
        self._sealed.wait()
        empty: dict[str, str] = {}
        if not self.staged_files():
            schema = {
                "_row": pl.UInt64,
                "_source": pl.String,
                "_line": pl.UInt64,
                "_email_blocked": pl.Boolean,
            }
            write_stage(pl.DataFrame(schema={**schema, **COLUMNS}), self.path / "stage" / "000000.parquet")
            empty = durable.seals(self.path, ["stage/000000.parquet"])
        for folder in PART_FOLDERS:
            durable.sync_folder(self.path / folder)
        parts_file.write(self.path, run_id, parts, empty)

    def staged_files(self) -> list[Path]:
        """Return the files of the stage, in the order of reading."""
        return sorted((self.path / "stage").glob("*.parquet"))

    def keys(self) -> Iterator[pl.DataFrame]:
        """Yield the keys that identity is decided on, in the order of reading: _row, external_id, email (null if
        blocked). Each frame is of one file, or of several small ones: thousands of frames of a few rows would cost far
        more than their rows.
        """
        for files in small_together(self.staged_files()):
            yield pl.read_parquet(files, columns=["_row", "external_id", "email", "_email_blocked"], glob=False).select(
                "_row", "external_id", _matching_email()
            )

    def candidates(self, rows: pl.Series) -> pl.DataFrame:
        """Return the keys and places of these rows: row, source, line, external_id, email, name, updated_at. `name` is
        that of the person: contacts of one company share its name, but have different names of their own.
        """
        person = pl.coalesce("billing_contact_name", "name").alias("name")
        return (
            self._rows(rows)
            .select("_row", "_source", "_line", "external_id", _matching_email(), person, "updated_at")
            .rename({"_row": "row", "_source": "source", "_line": "line"})
            .collect(engine="streaming")
        )

    def records(self, rows: pl.Series) -> pl.DataFrame:
        """Return these rows with all columns."""
        return self._rows(rows).collect(engine="streaming")

    def _rows(self, rows: pl.Series) -> pl.LazyFrame:
        """Return these rows of the stage. A filter rather than a join: Parquet then reads the other columns of only
        these rows."""
        numbers = (rows // (1 << PLACE_BITS)).unique().sort()
        files = [self.path / "stage" / f"{number:06}.parquet" for number in numbers]
        return pl.scan_parquet(files or self.staged_files()[:1], glob=False).filter(
            pl.col("_row").is_in(rows.implode())
        )

    @contextmanager
    def merging(self) -> Iterator[MergeFiles]:
        """Yield the files of merges, in place of earlier ones, to be written slice by slice."""
        with (
            Pieces(self.path / "identity" / "dropped.parquet", {"row": pl.UInt64}) as dropped,
            Pieces(self.path / "identity" / "patched.parquet") as patched,
            Pieces(self.path / "merges.parquet", MERGES) as merges,
        ):
            yield MergeFiles(dropped, patched, merges)

    def survivors(self, columns: tuple[str, ...], count: int, sparse: tuple[str, ...] = ()) -> Survivors:
        """Return the survivors in the form that a destination receives; `sparse` are columns that only some of them
        have."""
        patched = self.path / "identity" / "patched.parquet"
        files = (*self.staged_files(), *([patched] if patched.exists() else []))
        return Survivors(files, self.path / "identity" / "dropped.parquet", columns, count, sparse)

    def batched(self) -> Iterator[pl.DataFrame]:
        """Yield all staged records, patched ones included, in batches that fit in memory."""
        for file in (*self.staged_files(), *(self.path / "identity").glob("patched.parquet")):
            with pq.ParquetFile(file) as staged:
                for batch in staged.iter_batches(_AT_A_TIME, use_threads=False):
                    yield pl.DataFrame(batch)


class MergeFiles(Struct, frozen=True):
    """The rows that are not survivors, the survivors that took over values, and every merge (`MERGES`)."""

    dropped: Pieces
    patched: Pieces
    merges: Pieces

    def add(self, dropped: pl.Series, patched: pl.DataFrame, merges: pl.DataFrame) -> None:
        """Write the results about some rows: those that are not survivors, survivors that took over values, merges."""
        self.dropped.add(dropped.cast(pl.UInt64).alias("row").to_frame())
        if patched.height:
            self.dropped.add(patched.select(row=pl.col("_row").cast(pl.UInt64)))
            self.patched.add(patched.with_columns(pl.col("_row") | PATCHED))
        self.merges.add(merges)


class EarlierStage(Struct, frozen=True):
    """The stage of an earlier run: its directory, and its parts by number."""

    run_id: str
    path: Path
    parts: Mapping[int, BatchCounts]


NOTHING_EARLIER = EarlierStage("", Path(), {})


def earlier_stage(state_dir: Path, reading: str) -> EarlierStage:
    """Return the stage of the newest run with the same `reading` in its manifest, or NOTHING_EARLIER."""
    for run in all_runs(state_dir):
        if run.manifest.get("reading") != reading or run.done(STAGE_STEP) is None:
            continue
        try:
            return EarlierStage(run.run_id, run.path, dict(enumerate(parts_file.read(run.path, run.run_id).parts)))
        except Damaged:
            continue
    return NOTHING_EARLIER


def small_together(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield consecutive files in groups of at most 4 MB, or of one file."""
    group: list[Path] = []
    size = 0
    for file in files:
        more = file.stat().st_size
        if group and size + more > _BYTES_AT_A_TIME:
            yield group
            group, size = [], 0
        group.append(file)
        size += more
    if group:
        yield group


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _matching_email() -> pl.Expr:
    return pl.when(~pl.col("_email_blocked")).then("email").alias("email")
