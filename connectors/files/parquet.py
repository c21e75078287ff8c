"""Parquet files as source and destination. `connectors/files/arrow_columns.py` reads their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.contract import (
    HEAD_FILES,
    HEAD_RECORDS,
    ArrowPart,
    Layout,
    from_arrow,
    notes_on,
    repeated,
    unique_names,
)
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.connectors.files.arrow_columns import unfolded, unfolded_names
from tranship.connectors.files.local_file import Written
from tranship.connectors.files.whole_file import WholeFile
from tranship.schemas.counted import counted
from tranship.schemas.customer import YEARS

BATCH_ROWS = 61_440
_MARGIN: Final = timedelta(days=1)
"""More than the offset of any time zone, for values without one."""


class ParquetSource:
    """One or several Parquet files."""

    def __init__(self, files: Sequence[storage.File]) -> None:
        self._files = files
        self._opened: list[tuple[str, pq.ParquetFile]] = []
        self._copies: list[storage.Copy] = []
        try:
            for file in self._files:
                self._opened.append((file.name, self._open(file)))
        except ConfigError:
            self.close()
            raise
        self._old: tuple[str, datetime | int] | None = None
        self.size: int | None = sum(parquet.metadata.num_rows for _, parquet in self._opened)

    def layouts(self) -> list[Layout]:
        """Return the column names of each file."""
        layouts: list[Layout] = []
        for file, (name, parquet) in zip(self._files, self._opened, strict=True):
            columns = unique_names(unfolded_names(parquet.schema_arrow))
            twice = repeated(columns)
            fields = parquet.schema_arrow
            none = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in fields], schema=fields)
            types = from_arrow(_plain(none, list(columns))).schema
            head = partial(self._head, len(layouts)) if len(layouts) < HEAD_FILES else None
            notes = (*notes_on(twice), *file.notes)
            layouts.append(Layout(name, tuple(columns), notes, twice, types, head=head))
        return layouts

    def _head(self, number: int) -> pl.DataFrame | None:
        """Return the first records of a file."""
        _, parquet = self._opened[number]
        columns = list(unique_names(unfolded_names(parquet.schema_arrow)))
        try:
            for table in parquet.iter_batches(HEAD_RECORDS, use_threads=False):
                table.validate(full=True)
                return from_arrow(_plain(table, columns))
        except (pa.ArrowInvalid, OSError):  # which reading will report
            return None
        return None

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def narrow(self, column: str, since: datetime | int) -> None:
        """Leave out the row groups whose statistics show that all their records are old."""
        self._old = (column, since)

    @property
    def left_out(self) -> int:
        """How many records these row groups have."""
        if self._old is None:
            return 0
        return sum(
            parquet.metadata.num_rows - sum(span.rows for span in _spans(parquet, self._old))
            for _, parquet in self._opened
        )

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Yield batches in file order. Raises ConfigError for a damaged file."""
        before = 0
        for name, parquet in self._opened:
            row, columns = 1, list(unique_names(unfolded_names(parquet.schema_arrow)))
            try:
                for span in _spans(parquet, self._old):
                    row = span.first
                    for table in parquet.iter_batches(BATCH_ROWS, row_groups=span.groups, use_threads=False):
                        # Arrow reads text as it is: bytes that are not UTF-8 would cause undefined behaviour later.
                        table.validate(full=True)
                        yield ArrowPart(name, _plain(table, columns), row, before + row - 1 + table.num_rows)
                        row += table.num_rows
                    if row - span.first != span.rows:
                        raise ConfigError(
                            f"{name}: damaged Parquet: it should have {counted(span.rows, 'row')}, and has "
                            f"{row - span.first:,}; nothing of it was loaded. Export or copy it again."
                        )
            except (pa.ArrowInvalid, OSError) as error:
                raise ConfigError(f"{name}: damaged Parquet near row {row}; nothing was loaded from it.") from error
            before += parquet.metadata.num_rows

    def close(self) -> None:
        """Close the files."""
        for _, parquet in self._opened:
            parquet.close(force=True)
        for copy in self._copies:
            copy.close()

    def _open(self, file: storage.File) -> pq.ParquetFile:
        if file.once or not file.seekable:
            # Parquet is read from its end.
            self._copies.append(storage.Copy(file))
            file = self._copies[-1].file
        opened = file.open()
        try:
            return pq.ParquetFile(opened, pre_buffer=False)
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            opened.close()
            raise ConfigError(
                f"{file.name}: is not a readable Parquet file; it may be incomplete. Export or copy it again."
            ) from error


class _Span(NamedTuple):
    """Consecutive row groups that are read, with the number of their first row."""

    first: int
    rows: int
    groups: list[int] | None
    """Null: all."""


def _spans(parquet: pq.ParquetFile, old: tuple[str, datetime | int] | None) -> list[_Span]:
    """Return the row groups of a file that may have records which are not old, by a column and the first new value."""
    metadata = parquet.metadata
    if old is None or old[0] not in parquet.schema_arrow.names or parquet.schema_arrow.names.count(old[0]) > 1:
        return [_Span(1, metadata.num_rows, None)]
    spans: list[_Span] = []
    row = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not _is_old(group, *old):
            last = spans.pop() if spans and spans[-1].first + spans[-1].rows == row else _Span(row, 0, [])
            spans.append(_Span(last.first, last.rows + group.num_rows, [*(last.groups or []), number]))
        row += group.num_rows
    return spans


def _is_old(group: pq.RowGroupMetaData, column: str, since: datetime | int) -> bool:
    """Return whether all records of a row group certainly have a value before `since` that can be read."""
    chunks = (group.column(at) for at in range(group.num_columns))
    statistics = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count or statistics.null_count:
        return False
    try:
        least, most = statistics.min, statistics.max
    except (ValueError, OverflowError):  # instants beyond those of Python
        return False
    if isinstance(since, int):
        return type(most) is int and most < since
    if not isinstance(most, date) or not isinstance(least, date):
        return False
    margin = timedelta() if isinstance(most, datetime) and most.tzinfo else _MARGIN
    return _instant(least) > YEARS["min_value"] + _MARGIN and _instant(most) < since - margin


def _instant(value: date) -> datetime:
    """Return a date or time as an instant, which may be wrong by the offset of a time zone."""
    at = value if isinstance(value, datetime) else datetime.combine(value, time())
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _plain(table: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    """Return the columns of the source, under these names."""
    return pa.RecordBatch.from_arrays(unfolded(table.schema, table.columns), columns)


def write(frame: pl.LazyFrame, path: Path) -> None:
    """Write zstd Parquet, typed."""
    frame.sink_parquet(path, compression="zstd")


def destination(spec: str, written: Written, *, overwrite: bool) -> WholeFile:
    """Return a Parquet file as destination."""
    return WholeFile(spec, write, written, overwrite=overwrite)
