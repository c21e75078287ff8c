"""Read a sheet into a frame of text: the library's values, corrected by what `excel_cells.py` found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import fastexcel
import polars as pl
from msgspec import Struct

from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import excel_cells
from tranship.connectors.files.excel_archive import Archive, Sheet
from tranship.connectors.files.excel_cells import Scan
from tranship.connectors.files.excel_formats import Formats
from tranship.schemas.constant import constant
from tranship.schemas.counted import counted
from tranship.schemas.faults import BROKEN

_Result = TypeVar("_Result")

_MIDNIGHT: Final = " 00:00:00"
_LONG_DECIMAL: Final = r"^-?\d{1,15}\.\d+$"
_LARGE: Final = r"^-?(?:\d{16}|inf$)"
_SURE_DIGITS: Final = 15


class ExcelPart(Struct, frozen=True):
    """Consecutive records of a sheet."""

    source: str
    records: pl.DataFrame
    lines: pl.Series
    broken: pl.DataFrame
    position: int

    def read(self) -> Batch:
        """Return the records; `lines` are their rows in the sheet."""
        return Batch(self.source, self.records, self.lines, self.broken)

    def digest(self) -> str:
        """Return a digest of the records, the names of their columns, and their rows."""
        found = hashlib.sha256(repr((self.source, self.records.columns, self.broken.rows())).encode())
        for batch in self.records.with_columns(self.lines.alias("")).to_arrow().to_batches():
            found.update(batch.serialize())
        return found.hexdigest()


class Book:
    """A workbook that has been opened, and its cells.

    The library does not hold the interpreter's lock: while it opens a workbook, the XML is searched.
    """

    def __init__(self, name: str, data: bytes) -> None:
        """Raises ConfigError if the bytes are not a workbook."""
        self.name = name
        self.archive = Archive(name, data)
        self._formats = Formats.of(self.archive.number_formats())
        self._beside = ThreadPoolExecutor(1)
        self._opening = self._beside.submit(self._open, data)

    def _open(self, data: bytes) -> tuple[fastexcel.ExcelReader, bool]:
        # The size of the text is confirmed before the library reserves memory for it.
        has_midnights = excel_cells.has_shared_midnights(self.archive)
        return fastexcel.read_excel(data), has_midnights

    def close(self) -> None:
        """Wait for work in progress, and release the workbook."""
        self._beside.shutdown()

    def beginning(self, sheet: Sheet, rows: int) -> pl.DataFrame:
        """Return the first rows of a sheet as text, as `whole` does, without corrections. Raises ConfigError."""
        excel_cells.measure(self.name, self.archive, sheet)
        return self._load(sheet, rows)

    def whole(self, sheet: Sheet) -> tuple[pl.DataFrame, Scan]:
        """Return all cells of a sheet as text: a row of the frame is a row of the sheet, a column is named by its
        number in the sheet, from 0. Blank cells are null. Raises ConfigError.
        """
        scan = excel_cells.scan(self.name, self.archive, sheet, self._formats)
        frame = self._load_at_once(sheet) if scan.begins_in_first_column else self._load(sheet)
        # Numbers and dates are corrected; most columns have none.
        columns = [column for column in frame.iter_columns() if int(column.name) not in (scan.of_text or ())]
        if any(_may_be_large(column) for column in columns):
            excel_cells.find_large(scan, self.archive, sheet)
        if not scan.has_midnights and not self._opening.result()[1]:
            columns = [_without_midnights(column) for column in columns]
        long = [_long_decimals(column) for column in columns]
        if any(len(at) for at in long) and not excel_cells.has_long_decimals(self.archive, sheet):
            columns = [_rounded(column, at) for column, at in zip(columns, long, strict=True)]
        return _corrected(frame.with_columns(columns), scan), scan

    def _load_at_once(self, sheet: Sheet) -> pl.DataFrame:
        """Return what `_load` returns, in less time. The library does not report in which column the cells begin: it
        must be the first one.
        """

        def load() -> pl.DataFrame:
            loaded = self._opening.result()[0].load_sheet_eager(
                sheet.name, header_row=None, skip_rows=0, dtypes="string", schema_sample_rows=1
            )
            frame = pl.DataFrame(loaded)
            frame.columns = [str(number) for number in range(frame.width)]
            return _without_blanks(frame)

        return _called(self.archive, load)

    def _load(self, sheet: Sheet, rows: int | None = None) -> pl.DataFrame:
        def load() -> pl.DataFrame:
            loaded = self._opening.result()[0].load_sheet(
                sheet.name, header_row=None, skip_rows=0, n_rows=rows, dtypes="string", schema_sample_rows=1
            )
            names = [str(column.absolute_index) for column in loaded.selected_columns]
            frame = pl.DataFrame(loaded)
            frame.columns = names
            return _without_blanks(frame)

        return _called(self.archive, load)


def _without_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame as text, with null for blank text."""
    columns = (column.cast(pl.String) for column in frame.iter_columns())
    return pl.DataFrame([column.replace("", None) if (column == "").any() else column for column in columns])


def _called(archive: Archive, function: Callable[[], _Result]) -> _Result:
    """Call the library. Raises ConfigError if it cannot read the workbook."""
    try:
        return function()
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
        raise archive.damaged(error) from error
    except BaseException as error:
        # Each library has its own class for panics.
        if type(error).__name__ != "PanicException":
            raise
        raise archive.damaged("the library that reads it failed") from error


def _corrected(frame: pl.DataFrame, scan: Scan) -> pl.DataFrame:
    """Put the texts that were found in the XML in place of the library's values."""
    if not scan.texts:
        return frame
    texts = pl.concat(scan.texts).filter(pl.col("row").is_between(0, frame.height - 1))
    return frame.with_columns(
        frame[str(number)].scatter(cells["row"], cells["text"])
        for (number,), cells in texts.partition_by("column", as_dict=True).items()
        if str(number) in frame.columns
    )


def _may_be_large(column: pl.Series) -> bool:
    """Whether some value looks like a number whose last digits are lost, as the library writes it."""
    long = (column.str.len_bytes() > _SURE_DIGITS) | column.is_in(["inf", "-inf"])
    return bool(column.filter(long).str.contains(_LARGE).any())


def _without_midnights(column: pl.Series) -> pl.Series:
    """The library gives all dates a time: a date of midnight becomes a date. Where text looks like that, too, the two
    cannot be distinguished, and are unchanged.
    """
    return column.str.strip_suffix(_MIDNIGHT) if column.str.ends_with(_MIDNIGHT).any() else column


def _long_decimals(column: pl.Series) -> pl.Series:
    """The rows of numbers with more digits than Excel keeps, of which the library writes all, or of text like that."""
    at = (column.str.len_bytes() > _SURE_DIGITS + 1).fill_null(value=False).arg_true()
    return at.filter(column.gather(at).str.contains(_LONG_DECIMAL))


def _rounded(column: pl.Series, at: pl.Series) -> pl.Series:
    """Give the numbers in these rows the digits that Excel keeps."""
    numbers = column.gather(at).cast(pl.Float64).round_sig_figs(_SURE_DIGITS).cast(pl.String)
    return column.scatter(at, numbers.str.replace(r"\.0$", "")) if len(at) else column


def without_repeated_headers(
    records: pl.DataFrame, lines: pl.Series, heading: Sequence[str]
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """Set aside the records that repeat the header, in any case; return the rest, their lines, and those as broken."""
    rows = pl.int_range(records.height, dtype=pl.UInt32, eager=True)
    for column, name in zip(records.iter_columns(), heading, strict=True):
        values = column.gather(rows).fill_null("").str.strip_chars().str.to_lowercase()
        rows = rows.filter(values == name.lower())
        if rows.is_empty():
            return records, lines, pl.DataFrame(schema=BROKEN)
    found: list[tuple[Any, ...]] = [
        (line, "line.header", "", "\t".join(value or "" for value in row))
        for line, row in zip(lines.gather(rows), records[rows].rows(), strict=True)
    ]
    kept = constant(True, len(lines)).scatter(rows, False)
    return records.filter(kept), lines.filter(kept), pl.DataFrame(found, schema=BROKEN, orient="row")


def must_have_cells(name: str, sheet: Sheet, frame: pl.DataFrame, count: int, option: str) -> None:
    """Raise ConfigError if an option names a row that the sheet does not have."""
    if count > frame.height:
        raise ConfigError(f"{name}: {option} {count}: sheet {sheet.name!r} has only {counted(frame.height, 'row')}.")
