"""The requests of a plan and their outcomes, as Parquet files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.api.journal import Journal

REQUESTS: Final = pa.schema(
    {
        "row": pa.uint64(),
        "action": pa.string(),
        "target": pa.string(),
        "external_id": pa.string(),
        "email": pa.string(),
        "wanted": pa.string(),
        "found": pa.string(),
    }
)
"""The requests of a plan. `row` identifies a customer; `action` is create, update or delete; `target` the provider's
own id, null for a create; `wanted` the complete record to write, JSON, null for a delete; `found` the record as it was
read, JSON, null for a create."""


OUTCOMES: Final = pa.schema(
    {
        "row": pa.uint64(),
        "action": pa.string(),
        "outcome": pa.string(),
        "reason": pa.string(),
        "provider_id": pa.string(),
    }
)
"""The outcome of each row, in the order of the requests: see `connectors.api.journal.Outcome`."""


def write_requests(requests: pl.DataFrame, workspace: Path, number: int) -> None:
    """Write a file of requests (columns of `REQUESTS`); none if there are none."""
    if requests.height:
        pq.write_table(
            requests.select(REQUESTS.names).to_arrow().cast(REQUESTS),
            workspace / "requests" / f"{number:06}.parquet",
            compression="lz4",
        )


def write_outcomes(requests: Sequence[Path], journal: Journal, file: Path) -> Mapping[tuple[str, str], int]:
    """Write the outcomes in the journal to Parquet (columns of `OUTCOMES`); return (action, outcome) → rows."""
    counts: Counter[tuple[str, str]] = Counter()
    with pq.ParquetWriter(file, OUTCOMES, compression="zstd") as writer:
        for batch in read_batches(requests, 65_536, ["row", "action"]):
            rows, actions = batch.column("row").to_pylist(), batch.column("action").to_pylist()
            known, reasons, ids = zip(*journal.results(rows), strict=True)
            counts.update(zip(actions, known, strict=True))
            columns = (rows, actions, known, reasons, ids)
            arrays = [pa.array(values, kind.type) for values, kind in zip(columns, OUTCOMES, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=OUTCOMES))
    return counts


def read_batches(files: Sequence[Path], rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield these columns of Parquet files, in batches of at most `rows`."""
    for file in files:
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(rows, columns=columns)
