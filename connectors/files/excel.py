"""Excel workbooks (.xlsx, .xlsm) as a source. They cannot be written.

All cells become text, as the user sees them: text unchanged, dates in ISO 8601, whole numbers without decimals, numbers
of currencies and percentages as numbers, results of formulas, errors by their names (`#N/A`). The library rounds to
nine decimals, about as many as a cell shows. A number format of zeros
(`00000`) keeps its zeros. Numbers of 16 or more digits are given with an exponent, since Excel has lost their last
digits.

The cells are read by a library (`excel_frames.py`), information that it does not return is found in the XML
(`excel_cells.py`), and a workbook that would exhaust memory is refused first (`excel_archive.py`). A sheet is read
whole: it takes memory for each of its cells. Of several workbooks, one at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.contract import HEAD_FILES, HEAD_RECORDS, Layout, notes_on, repeated, unique_names
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import header_row, storage
from tranship.connectors.files.csv_dialect import CsvOptions
from tranship.connectors.files.excel_archive import Sheet
from tranship.connectors.files.excel_cells import Scan
from tranship.connectors.files.excel_frames import Book, ExcelPart, must_have_cells, without_repeated_headers
from tranship.schemas.constant import constant
from tranship.schemas.counted import counted
from tranship.schemas.faults import BROKEN

PART_ROWS: Final = 50_000
MOST_FILE_BYTES: Final = 2 << 30
_SAMPLE_ROWS: Final = 200
_KEPT_BYTES: Final = 256 << 20
"""Tables up to this size stay in memory between the inspection of their columns and their reading."""
_SHOWN: Final = 5


@dataclass(frozen=True)
class ExcelOptions:
    """Options of the user for a workbook; null means detect."""

    sheet: str | None = None
    """Its name, or its number, from 1."""
    header: bool | None = None
    skip_lines: int = 0
    """Number of rows at the start that are ignored."""
    header_line: int | None = None
    """The row of the header, from 1."""


class _Table(Struct, frozen=True):
    """The table of a workbook: its records as text, the row of each in the sheet, and the rows that are not records."""

    records: pl.DataFrame
    lines: pl.Series
    broken: pl.DataFrame
    repeated: Mapping[str, str]
    notes: tuple[str, ...]


class ExcelSource:
    """One workbook, or several of one run."""

    def __init__(self, files: Sequence[storage.File], options: ExcelOptions) -> None:
        CsvOptions(header=options.header, skip_lines=options.skip_lines, header_line=options.header_line).check()
        self._options = options
        self._files = files
        sizes = [file.size for file in self._files]
        self.size: int | None = None if None in sizes else sum(size for size in sizes if size is not None)
        self._tables: list[_Table | None] = []
        self._layouts = []
        for file in self._files:
            table = self._read(file)
            notes = (*table.notes, *notes_on(table.repeated), *file.notes)
            columns = tuple(table.records.columns)
            self._layouts.append(Layout(file.name, columns, notes, table.repeated, table.records.schema))
            kept = sum(held.records.estimated_size() for held in self._tables if held)
            is_small = kept + table.records.estimated_size() <= _KEPT_BYTES
            self._tables.append(table if file.once or is_small or len(self._files) == 1 else None)

    def layouts(self) -> list[Layout]:
        """Return the names in the header of each table, or column_1, column_2, … without a header."""
        return [
            replace(layout, head=partial(self._head, number)) if number < HEAD_FILES else layout
            for number, layout in enumerate(self._layouts)
        ]

    def _head(self, number: int) -> pl.DataFrame | None:
        """Return the first records of a table, as long as it is in memory."""
        table = self._tables[number]
        return None if table is None else table.records.head(HEAD_RECORDS)

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[ExcelPart]:
        """Yield the records in file order. Raises ConfigError for a file that has changed since it was opened."""
        done = 0
        for number, file in enumerate(self._files):
            table, self._tables[number] = self._tables[number], None
            if table is None:
                table = self._read(file)
                if tuple(table.records.columns) != self._layouts[number].columns:
                    raise ConfigError(f"{file.name}: changed while it was read. Nothing was written; run it again.")
            size = file.size or 0
            height = table.records.height
            for start in range(0, max(height, 1), PART_ROWS):
                end = min(start + PART_ROWS, height)
                is_last = end == height
                lines = table.lines.slice(start, end - start)
                last = None if is_last else lines[-1]
                first = 0 if start == 0 else int(table.lines[start - 1])
                broken = table.broken.filter(pl.col("line") > first)
                broken = broken if last is None else broken.filter(pl.col("line") <= last)
                position = done + (size if is_last else size * end // height)
                yield ExcelPart(file.name, table.records.slice(start, end - start), lines, broken, position)
            done += size

    def close(self) -> None:
        """Release the tables; no file is open."""
        self._tables = [None] * len(self._files)

    def _read(self, file: storage.File) -> _Table:
        with closing(Book(file.name, _content(file))) as book:
            sheet, note = _choose(book, self._options)
            frame, scan = book.whole(sheet)
        table = _table(file.name, sheet, frame, scan, self._options)
        return replace(table, notes=(*note, *table.notes))


def _content(file: storage.File) -> bytes:
    """Return all bytes of a file. Raises ConfigError if it is too large or changes while it is read."""
    content = storage.Bytes(file)
    pieces, size = [], 0
    try:
        for piece in content:
            pieces.append(piece)
            size += len(piece)
            if size > MOST_FILE_BYTES:
                raise ConfigError(f"{file.name}: is larger than {MOST_FILE_BYTES >> 30} GB. Save its sheets as CSV.")
        file.must_be_as_it_was(content)
    finally:
        content.close()
    return b"".join(pieces)


def _choose(book: Book, options: ExcelOptions) -> tuple[Sheet, tuple[str, ...]]:
    """Return the sheet to be read, and notes on the others. Raises ConfigError if that is not clear."""
    sheets = book.archive.sheets
    if not sheets:
        raise ConfigError(f"{book.name}: has no sheet with cells.")
    if options.sheet is not None:
        return _named(book, options.sheet), ()
    hidden = [sheet for sheet in sheets if sheet.hidden]
    visible = [sheet for sheet in sheets if not sheet.hidden]
    unread = (f"not read: the hidden {'sheet' if len(hidden) == 1 else 'sheets'} {_names(hidden)}",) if hidden else ()
    if len(visible) == 1:
        return visible[0], unread
    heads = {sheet.name: _rows(book.beginning(sheet, _SAMPLE_ROWS)) for sheet in visible}
    tables = [sheet for sheet in visible if _has_table(heads[sheet.name])]
    if len(tables) > 1:
        known = [sheet for sheet in tables if _known_names(heads[sheet.name], options) > 1]
        tables = known if len(known) == 1 else tables
    if len(tables) == 1:
        others = [sheet for sheet in visible if sheet is not tables[0]]
        noun = "the sheet" if len(others) == 1 else "the sheets"
        return tables[0], (f"read sheet {tables[0].name!r}; no customers in {noun} {_names(others)}", *unread)
    if visible and not any(heads.values()):
        return visible[0], unread
    what = f"{len(tables)} sheets have a table" if tables else "no sheet has an obvious table"
    raise ConfigError(f"{book.name}: {what}. Name one: {_choices(tables or sheets, sheets)}")


def _named(book: Book, given: str) -> Sheet:
    sheets = book.archive.sheets
    folded = given.strip().casefold()
    for sheet in (
        *(sheet for sheet in sheets if sheet.name == given),
        *(sheet for sheet in sheets if sheet.name.strip().casefold() == folded),
    ):
        return sheet
    number = given.strip()
    if number.isdecimal() and len(number) < 9 and 0 < int(number) <= len(sheets):
        return sheets[int(number) - 1]
    raise ConfigError(f"{book.name}: has no sheet {given!r}. Name one: {_choices(sheets, sheets)}")


def _choices(offered: Sequence[Sheet], sheets: Sequence[Sheet]) -> str:
    """The options that choose these sheets."""
    shown = [
        f"--sheet {_quoted(sheet.name)} or --sheet {sheets.index(sheet) + 1}{' (hidden)' if sheet.hidden else ''}"
        for sheet in offered[:20]
    ]
    more = f"; and {len(offered) - 20} more" if len(offered) > 20 else ""
    return "; ".join(shown) + more


def _quoted(name: str) -> str:
    return name if name.isalnum() and name.isascii() else "'" + name.replace("'", "'\\''") + "'"


def _names(sheets: Sequence[Sheet]) -> str:
    more = f" and {len(sheets) - _SHOWN} more" if len(sheets) > _SHOWN else ""
    return ", ".join(repr(sheet.name) for sheet in sheets[:_SHOWN]) + more


# The table in a sheet ---------------------------------------------------------------------------------------------


def _rows(frame: pl.DataFrame) -> list[list[str]]:
    """Return the first rows, without the columns that are blank in all of them; a blank row is empty."""
    head = frame.head(_SAMPLE_ROWS)
    filled = [column for column in head.iter_columns() if column.null_count() < head.height]
    if not filled:
        return []
    rows = [[value or "" for value in row] for row in zip(*filled, strict=True)]
    return [row if any(value.strip() for value in row) else [] for row in rows]


def _has_table(rows: Sequence[Sequence[str]]) -> bool:
    """Whether at least two rows have at least two cells."""
    return sum(sum(bool(value.strip()) for value in row) > 1 for row in rows) > 1


def _known_names(rows: Sequence[Sequence[str]], options: ExcelOptions) -> int:
    start = header_row.start_of(rows, options.header)
    return header_row.known_names(rows[start.row]) if start.header and start.row < len(rows) else 0


def _table(name: str, sheet: Sheet, frame: pl.DataFrame, scan: Scan, options: ExcelOptions) -> _Table:
    """Find the table in a sheet, below titles and blank rows."""
    above = options.skip_lines
    must_have_cells(name, sheet, frame, above, "--skip-lines")
    header: bool | None = options.header
    if options.header_line:
        must_have_cells(name, sheet, frame, options.header_line, "--header-line")
        above, header = options.header_line - 1, True
    rows = _rows(frame.slice(above))
    if options.header_line and not (rows and rows[0]):
        raise ConfigError(f"{name}: --header-line {options.header_line}: this row is blank.")
    # The row that the user names is the first of these.
    start = header_row.start_of(rows[: 1 if options.header_line else None], header)
    is_headed = start.header and start.row < len(rows)
    first = above + start.row
    titles = frame.row(first) if is_headed else (None,) * frame.width
    body = frame.slice(first + is_headed)
    lines = pl.int_range(first + is_headed + 1, frame.height + 1, dtype=pl.UInt64, eager=True)
    used = [
        (column, " ".join((title or "").split()), title or "")
        for column, title in zip(body.iter_columns(), titles, strict=True)
        if (title or "").strip() or column.null_count() < len(column)
    ]
    columns = unique_names([title or f"column_{int(column.name) + 1}" for column, title, _ in used])
    records = pl.DataFrame([column.alias(unique) for (column, _, _), unique in zip(used, columns, strict=True)])
    if used:
        blank = _blank_rows(records)
        if len(blank):
            kept = constant(True, records.height).scatter(blank, False)
            records, lines = records.filter(kept), lines.filter(kept)
    else:
        lines = lines.clear()
    broken = pl.DataFrame(schema=BROKEN)
    if is_headed and used:
        records, lines, broken = without_repeated_headers(records, lines, [raw.strip() for _, _, raw in used])
    notes = (
        *_notes_on_header(first + 1 if is_headed else None, rows[: start.row], start.row, options, bool(rows)),
        *_notes_on_cells(scan, dict(zip((int(column.name) for column, _, _ in used), columns, strict=True)), lines),
    )
    return _Table(records, lines, broken, repeated(columns), notes)


def _blank_rows(records: pl.DataFrame) -> pl.Series:
    """Return the places of the rows without any value. Usually the first column has one in each row."""
    rows = pl.int_range(records.height, dtype=pl.UInt32, eager=True)
    for column in records.iter_columns():
        values = column if len(rows) == len(column) else column.gather(rows)
        rows = rows.filter((values.str.strip_chars() == "").fill_null(value=True))
        if rows.is_empty():
            break
    return rows


def _notes_on_header(
    row: int | None, above: Sequence[Sequence[str]], skipped: int, options: ExcelOptions, is_filled: bool
) -> Iterator[str]:
    skipped = skipped if any(above) else 0
    if row:
        if skipped:
            yield f"header in row {row}; skipped {counted(skipped, 'row')} above it"
    elif is_filled:
        parts = ["no header row"] if options.header is None else []
        parts += [f"skipped {counted(skipped, 'row')} above the first record"] if skipped else []
        if parts:
            yield "; ".join(parts)


def _notes_on_cells(scan: Scan, columns: Mapping[int, str], lines: pl.Series) -> Iterator[str]:
    """Yield notes on content that Excel shows differently or not at all."""
    if scan.errors:
        yield f"{counted(scan.errors, 'cell')} with an error, read as its text: {_some(scan.first_errors, scan.errors)}"
    if scan.unstored:
        yield (
            f"{counted(scan.unstored, 'formula')} without a stored result, read as blank: "
            f"{_some(scan.first_unstored, scan.unstored)}. Open the workbook in Excel and save it, to store the results"
        )
    if scan.unformatted:
        yield (
            f"{counted(scan.unformatted, 'number')} with a format that the workbook does not define, read as plain "
            f"numbers: {_some(scan.first_unformatted, scan.unformatted)}"
        )
    hidden = pl.Series(scan.hidden_rows, dtype=pl.UInt64) + 1
    rows = hidden.filter(hidden.is_in(lines.implode())).unique().sort().to_list()
    if rows:
        shown = _some([f"{row}" for row in rows[:_SHOWN]], len(rows))
        yield f"{counted(len(rows), 'hidden row')} read as well: {shown}. Delete the rows that are not to be loaded"
    names = [f"{name!r}" for number, name in columns.items() if number in scan.hidden_columns]
    if names:
        yield f"{counted(len(names), 'hidden column')} read as well: {_some(names[:_SHOWN], len(names))}"
    first = int(lines[0]) - 1 if len(lines) else 0
    merged = sum(bottom > top and bottom >= first for top, bottom in scan.merged) if len(lines) else 0
    if merged:
        yield f"{counted(merged, 'range')} of merged cells over several rows: only the first row of each has the value"


def _some(shown: Sequence[str], count: int) -> str:
    return ", ".join(shown) + (", …" if count > len(shown) else "")
