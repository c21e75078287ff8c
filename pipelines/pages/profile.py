"""A profile of each column of the source and of each field of the customers, from a sample of a run's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from tranship.pipelines.masks import HIDDEN, Masks
from tranship.schemas.customer import COLUMNS

_RECORDS: Final = 10_000
"""Customers of a sample."""
_LARGE: Final = 4
_SMALL: Final = 100
"""Large and small files of the stage from which a sample is taken: of each, whole pages are decoded."""
_BYTES: Final = 1 << 20
"""The size of a large file."""
_TOP: Final = 8
_BINS: Final = 24
_LEFT_OUT: Final = ("metadata", "provider", "provider_id")
"""Fields without a profile: metadata is different in every record, the others are the same."""


class Profile(Struct, frozen=True):
    """A column, or a field: the number of records with a value, of different values, and the lengths of the shortest
    and the longest. `top` are the most frequent values that occur more than once; `times` is period → records, of a
    field of instants, in order and without gaps.
    """

    name: str
    filled: int
    distinct: int
    shortest: int | None = None
    longest: int | None = None
    top: tuple[tuple[str, int], ...] = ()
    times: Mapping[str, int] = {}


class Profiles(Struct, frozen=True):
    """The profiles of `records` of all records, of which there are `total`."""

    records: int
    total: int
    fields: tuple[Profile, ...]


def of_source(folder: Path, masks: Masks, total: int, columns: Mapping[str, str | list[str]]) -> Profiles | None:
    """Return the profiles of the source's columns, from the sample that was kept while its records, of which there are
    `total`, were read; `columns` is column → the fields made of it.
    """
    files = sorted((folder / "sample").glob("*.parquet"))
    if not files:
        return None
    records = pl.concat([pl.scan_parquet(file, glob=False) for file in files], how="diagonal").collect()
    found = _profiles(records, records.columns)
    telling = masks.telling(records, columns)
    shown = (_masked(one, partial(masks.column, columns.get(one.name)), telling) for one in found)
    return Profiles(records.height, total, tuple(shown))


def of_customers(folder: Path, masks: Masks, total: int) -> Profiles | None:
    """Return the profiles of the customers of a run, of which there are `total`."""
    files = sorted((folder / "stage").glob("*.parquet"))
    dropped = folder / "identity" / "dropped.parquet"
    if not files or not dropped.exists():
        return None
    most = _LARGE if files[0].stat().st_size > _BYTES else _SMALL
    chosen = files[:: max(1, len(files) // most)][:most]
    patched = folder / "identity" / "patched.parquet"
    names = [name for name in COLUMNS if name not in _LEFT_OUT]
    share = _RECORDS // len(chosen)
    parts = [_first(file, share, names) for file in (*chosen, *([patched] if patched.exists() else []))]
    sample = pl.concat(parts)
    gone = pl.read_parquet(dropped, glob=False)["row"]
    customers = sample.filter(~pl.col("_row").is_in(gone.implode())) if gone.len() else sample
    filled = [name for name in names if customers[name].null_count() < customers.height]
    telling = masks.telling(customers, {name: name for name in filled})
    shown = (_masked(one, partial(masks.field, one.name), telling) for one in _profiles(customers, filled))
    return Profiles(customers.height, total, tuple(shown))


def _masked(profile: Profile, shown: Callable[[str], str | None], telling: Mapping[str, frozenset[str]]) -> Profile:
    """Return a profile with its most frequent values as they may be shown; `telling` is column → those to hide."""
    hidden = telling.get(profile.name, frozenset())
    top: Counter[str] = Counter()
    for value, count in profile.top:
        top[HIDDEN if value in hidden else shown(value) or ""] += count
    return replace(profile, top=tuple(top.items()))


def _first(file: Path, rows: int, names: Sequence[str]) -> pl.DataFrame:
    """Return the first rows of a file; the others are not decoded."""
    with pq.ParquetFile(file) as opened:
        batch = next(opened.iter_batches(rows, columns=["_row", *names], use_threads=False), None)
        if batch is None:
            return pl.DataFrame(schema={"_row": pl.UInt64, **{name: COLUMNS[name] for name in names}})
        return pl.DataFrame(batch).with_columns(pl.col(name).cast(COLUMNS[name]) for name in names)


def _profiles(records: pl.DataFrame, names: Sequence[str]) -> tuple[Profile, ...]:
    return tuple(_profile(name, records[name].to_list()) for name in names)


def _profile(name: str, cells: Sequence[Any]) -> Profile:
    # In Python: for a run of a few records, the expressions of a frame would take longer than the run.
    values = [cell for cell in cells if cell is not None and cell != []]
    if values and isinstance(values[0], datetime):
        return Profile(name, len(values), len(set(values)), times=_times(values))
    counts = Counter("; ".join(value) if isinstance(value, list) else value for value in values)
    lengths = [len(str(value)) for value in counts]
    repeated = sorted(((-count, str(value)) for value, count in counts.items() if count > 1))[:_TOP]
    top = tuple((value, -count) for count, value in repeated)
    return Profile(name, len(values), len(counts), min(lengths, default=None), max(lengths, default=None), top)


def _times(values: Sequence[datetime]) -> dict[str, int]:
    """Return the number of instants in each month; in each year or in several, if they are in more than a few."""
    found = Counter(value.year * 12 + value.month - 1 for value in values)
    first, last = min(found), max(found)
    if last - first < _BINS:
        return {f"{month // 12}-{month % 12 + 1:02}": found[month] for month in range(first, last + 1)}
    first, last = first // 12, last // 12
    width = -(-(last - first + 1) // _BINS)
    bins = dict.fromkeys(range(first, last + 1, width), 0)
    for month, count in found.items():
        bins[first + (month // 12 - first) // width * width] += count
    return {f"{start}" if width == 1 else f"{start}–{start + width - 1}": count for start, count in bins.items()}
