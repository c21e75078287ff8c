"""Read the rejects of a run back from its directory as a frame."""

from __future__ import annotations

import polars as pl


def read(file: str | None) -> pl.DataFrame:
    """Return the records of a rejects.parquet; a frame without rows and columns if the run has none.

    Raises FileNotFoundError if the run was removed.
    """
    return pl.read_parquet(file, glob=False) if file else pl.DataFrame()
