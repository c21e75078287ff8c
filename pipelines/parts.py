"""parts.json of a run: the counts, digest and seals of each part of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import polars as pl
from msgspec import Struct, field

from tranship.connectors import durable
from tranship.connectors.contract import Batch
from tranship.connectors.errors import Damaged
from tranship.pipelines import findings
from tranship.pipelines.cursor import Extent, Kind
from tranship.pipelines.sort_out import Sorted
from tranship.pipelines.stage_files import PART_FOLDERS


class BatchCounts(Struct, frozen=True):
    """The counts of one batch. `first` is code → (source, line) of its first record, also of warnings. `digest` is
    that of its part, `files` is folder → seal of its file there; `filled` are `rivals.filled` of its `source`.
    `matched` are the words of `--value` that occurred, each with its field. `extents` are those of its cursor, if the
    source is read by one. `corrected` is the number of corrected values, by rule.
    """

    digest: str
    source: str
    filled: list[str]
    files: dict[str, str]
    read: int
    skipped: int
    staged: int
    rejected: int
    by_code: dict[str, int]
    first: dict[str, tuple[str, int]]
    warnings: dict[str, int]
    matched: list[tuple[str, str]] = field(default_factory=list)
    extents: dict[Kind, Extent] = field(default_factory=dict)
    corrected: dict[str, int] = field(default_factory=dict)


def counts_of(
    batch: Batch,
    reasons: pl.DataFrame,
    fates: Sorted,
    *,
    skipped: int,
    filled: Sequence[str] = (),
    matched: Sequence[tuple[str, str]] = (),
    digest: str = "",
    files: Mapping[str, str] = MappingProxyType({}),
    extents: Mapping[Kind, Extent] = MappingProxyType({}),
    corrected: Mapping[str, int] = MappingProxyType({}),
) -> BatchCounts:
    """Return the counts of a batch without the `skipped` records that were left out, and of its fates."""
    return BatchCounts(
        digest=digest,
        source=batch.source,
        filled=list(filled),
        files=dict(files),
        read=batch.records.height + batch.broken.height + skipped,
        skipped=skipped,
        staged=fates.good.height,
        rejected=fates.rejects.height,
        by_code=findings.counted(pl.concat([reasons["code"], batch.broken["code"]])),
        first=findings.first_of_each(batch, reasons, fates.warnings),
        warnings=findings.counted(fates.warnings["code"]),
        matched=list(matched),
        extents=dict(extents),
        corrected=dict(corrected),
    )


class Parts(msgspec.Struct, frozen=True):
    """parts.json."""

    run_id: str
    parts: list[BatchCounts]
    empty: dict[str, str]

    def seals(self) -> dict[str, str]:
        """Return file → seal, of all files of the parts."""
        made = (
            (f"{folder}/{number:06}.parquet", sealed)
            for number, part in enumerate(self.parts)
            for folder, sealed in part.files.items()
            if folder in PART_FOLDERS
        )
        return {**dict(made), **self.empty}


def read(path: Path, run_id: str) -> Parts:
    """Return the parts that this run has read. Raises Damaged."""
    file = path / "parts.json"
    try:
        parts = msgspec.convert(durable.read_json(file), Parts)
    except (FileNotFoundError, msgspec.ValidationError) as error:
        raise durable.damaged(file) from error
    if parts.run_id != run_id:
        raise Damaged(f"{file}: belongs to another run ({parts.run_id}).")
    return parts


def write(path: Path, run_id: str, parts: Sequence[BatchCounts], empty: dict[str, str]) -> None:
    """Write parts.json, synced. `empty` is the seal of a stage without records."""
    whole = {"run_id": run_id, "parts": msgspec.to_builtins(parts), "empty": empty}
    durable.write_json(path / "parts.json", whole)
