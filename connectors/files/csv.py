"""CSV files as source and destination.

Reading goes in three steps, so that every line of the input has one fate and keeps its number:

1. `csv_records.py`: bytes → UTF-8 with `\\n` line ends, in pieces. Bytes outside the encoding stay invalid UTF-8 until
   step 3: no quote, delimiter or line end is ever part of one;
2. `csv_records.py`: pieces → blocks of whole records, with numpy on the positions of quotes only. Where the quotes of a
   block do not alternate as RFC 4180 requires, one record is read by a regular expression; a line that no rule can read
   is set aside as `line.quote`, and reading resumes on the next line;
3. `csv_frames.py`: blocks → frames by Arrow's CSV reader, in parallel threads. It reports records with too few or
   too many columns; records with bytes outside the encoding are set aside as `line.encoding`.

A quote opens a value only at its start, not counting blanks before it; elsewhere in an unquoted value it is text. Blank
lines are not records. Lines above the header are left out (`header_row.py`). A lone carriage return ends a line, as
editors count. Files that were joined leave byte-order marks and header lines in the middle: a mark in front of a record
is removed, a header line is set aside as `line.header`.

A pipe or standard input is opened once: the part that was inspected is read again from memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from tranship.connectors.addresses import STANDARD_OUTPUT, redacted, scheme_of
from tranship.connectors.contract import HEAD_FILES, HEAD_RECORDS, Layout, notes_on, text_types
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.connectors.files.csv_dialect import Beginning, CsvOptions, Dialect, sniff
from tranship.connectors.files.csv_frames import CsvPart
from tranship.connectors.files.csv_records import Block, byte_order_marks, cut_blocks, locate_records
from tranship.connectors.files.local_file import Written, refuse_folder
from tranship.connectors.files.packing import packing
from tranship.connectors.files.part_size import PART_BYTES, PART_RECORDS, PIECE_BYTES
from tranship.connectors.files.whole_file import WholeFile
from tranship.schemas import cells
from tranship.schemas.counted import counted

_HEAD_BYTES: Final = 1 << 18


class CsvSource:
    """One or several CSV files; the dialect of each is detected separately."""

    def __init__(self, files: Sequence[storage.File], options: CsvOptions) -> None:
        options.check()
        self._files = files
        self._options = options
        sizes = [file.size for file in self._files]
        self.size: int | None = None if None in sizes else sum(size for size in sizes if size is not None)
        self._opened: dict[int, tuple[storage.Bytes, list[bytes], Iterator[bytes]]] = {}
        self._beginnings: list[tuple[bytes, bool]] = []
        self._dialects = [self._dialect_of(number, file) for number, file in enumerate(self._files)]
        self._marked: dict[str, int] = {}

    def layouts(self) -> list[Layout]:
        """Return the names of the header, or column_1, column_2, … without a header."""
        return [
            Layout(
                file.name,
                dialect.columns,
                (*dialect.notes, *notes_on(dialect.repeated), *self._joined(file.name), *file.notes),
                dialect.repeated,
                text_types(dialect.columns),
                text={
                    "suffix": ".csv",
                    "delimiter": dialect.grammar.delimiter.decode(),
                    "quote": dialect.grammar.quote.decode(),
                },
                head=partial(self._head, number) if number < len(self._beginnings) else None,
            )
            for number, (file, dialect) in enumerate(zip(self._files, self._dialects, strict=True))
        ]

    def _head(self, number: int) -> pl.DataFrame | None:
        """Return the first records of a file, from what was read to detect its dialect."""
        (first, whole), dialect, name = self._beginnings[number], self._dialects[number], self._files[number].name
        try:
            blocks = [block for block, _ in cut_blocks(_Beginning(first), dialect, name)]
            read_as = (dialect.columns, dialect.grammar, 0, dialect.heading)
            records = CsvPart(name, blocks, *read_as).read().records if blocks else None
        except (ConfigError, UnicodeDecodeError):  # characters cut in the middle, or what reading will report
            return None
        if records is not None and not whole:  # the last one may be cut
            records = records.head(max(records.height - 1, 0))
        return None if records is None else records.head(HEAD_RECORDS)

    def _joined(self, name: str) -> list[str]:
        line = self._marked.get(name)
        return [f"files were joined: removed the byte-order mark on line {line:,}"] if line else []

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[CsvPart]:
        """Yield blocks in file order. Raises ConfigError for a file that cannot be read as CSV or changes while it is
        read.
        """
        done = 0
        for number, (file, dialect) in enumerate(zip(self._files, self._dialects, strict=True)):
            content = self._content(number, file)

            def made(blocks: list[Block], position: int, name: str = file.name, read_as: Dialect = dialect) -> CsvPart:
                return CsvPart(name, blocks, read_as.columns, read_as.grammar, position, read_as.heading)

            try:
                blocks: list[Block] = []
                position = size = records = 0
                for block, position in cut_blocks(content, dialect, file.name):
                    if block.marked:
                        self._notice_marks(file.name, block)
                    blocks.append(block)
                    size, records = size + len(block.data), records + len(block.newlines)
                    if size >= PART_BYTES or records >= PART_RECORDS:
                        yield made(blocks, done + position)
                        blocks, size, records = [], 0, 0
                file.must_be_as_it_was(content)
                if blocks:
                    yield made(blocks, done + position)
            finally:
                content.close()
            done += content.position

    def close(self) -> None:
        """Close the files that can be opened only once; no other file is open between parts."""
        for content, _, _ in self._opened.values():
            content.close()

    def _dialect_of(self, number: int, file: storage.File) -> Dialect:
        content = storage.Bytes(file, PIECE_BYTES)
        pieces = iter(content)
        beginning = Beginning(pieces)
        try:
            dialect = sniff(file.name, beginning, self._options)
            if number < HEAD_FILES:
                first = beginning.first(_HEAD_BYTES + 1)
                self._beginnings.append((first[:_HEAD_BYTES], len(first) <= _HEAD_BYTES))
            if file.once:
                self._opened[number] = content, beginning.taken, pieces
            return dialect
        finally:
            if number not in self._opened:
                content.close()

    def _content(self, number: int, file: storage.File) -> storage.Bytes:
        return _Replayed(*self._opened[number]) if file.once else storage.Bytes(file, PIECE_BYTES)

    def _notice_marks(self, name: str, block: Block) -> None:
        where = locate_records(block)
        marks = byte_order_marks(block.data, where.starts)
        if len(marks):
            self._marked.setdefault(name, int(where.lines[np.searchsorted(where.starts, marks[0])]))


class _Beginning(storage.Bytes):
    """The first bytes of a file."""

    def __init__(self, first: bytes) -> None:
        self._first = first

    @property
    def position(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[bytes]:
        yield self._first

    def close(self) -> None:
        """Nothing is open."""


class _Replayed(storage.Bytes):
    """A file that can be opened only once and whose first pieces have been read for detection."""

    def __init__(self, content: storage.Bytes, taken: list[bytes], rest: Iterator[bytes]) -> None:
        self._content, self._taken, self._rest = content, taken, rest

    @property
    def position(self) -> int:
        return self._content.position

    def __iter__(self) -> Iterator[bytes]:
        while self._taken:
            yield self._taken.pop(0)
        yield from self._rest

    def close(self) -> None:
        """Close the file, except standard input."""
        self._content.close()


def destination(spec: str, written: Written, *, overwrite: bool, raw: bool, format: str | None = None) -> WholeFile:
    """Return a CSV file as destination: UTF-8, commas (tabs in `.tsv`, or with the format tsv on standard output),
    instants in ISO 8601 with Z, lists as JSON.
    """
    packed, name = packing(spec)
    if not scheme_of(spec):
        refuse_folder(spec)
    if not (spec == STANDARD_OUTPUT or name.endswith((".csv", ".tsv")) or spec.lower().endswith(".txt")):
        raise ConfigError(
            f"{redacted(spec)}: unknown destination. Use duckdb:///file.duckdb, file.csv, file.tsv, file.jsonl "
            "(each also .gz and .zst), file.parquet, or - for standard output."
        )
    separator = "\t" if name.endswith(".tsv") or (spec == STANDARD_OUTPUT and format == "tsv") else ","

    def write(frame: pl.LazyFrame, path: Path) -> None:
        cells.as_csv(frame, raw=raw).sink_csv(path, separator=separator, compression=packed, check_extension=False)

    def look(frame: pl.LazyFrame) -> tuple[str, ...]:
        count = frame.select(cells.misread(frame.collect_schema())).collect().item()
        records = counted(count, "record")
        note = f"--raw: {records} with a value that looks like a guarded cell; it may be read back as another value"
        return (note,) if count else ()

    return WholeFile(spec, write, written, overwrite=overwrite, examine=look if raw else None)
