"""A column that repeats one value."""

from __future__ import annotations

from typing import Any

import polars as pl


def constant(value: Any, count: int, dtype: pl.DataType | type[pl.DataType] | None = None) -> pl.Series:
    """Return a column of `count` times this value, of its own type if none is given. `pl.repeat` returns the same and
    takes a hundred times as long for a short column.
    """
    return pl.Series([value], dtype=dtype).new_from_index(0, count)
