"""Read a sheet into a frame of text: the library's values, corrected by what `excel_cells.py` found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import fastexcel
import polars as pl

from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import excel_cells
from tranship.connectors.files.excel_archive import Archive, Sheet
from tranship.connectors.files.excel_cells import Scan
from tranship.connectors.files.excel_formats import differing
from tranship.schemas.constant import constant
from tranship.schemas.counted import counted
from tranship.schemas.faults import BROKEN

_Result = TypeVar("_Result")

_MIDNIGHT: Final = " 00:00:00"
_DATE_AT_MIDNIGHT: Final = r"^(\d{4}-\d\d-\d\d) 00:00:00$"
_LONG_DECIMAL: Final = r"^-?\d{1,15}\.\d+$"
_LARGE: Final = r"^-?(?:\d{16}|inf$)"
_SURE_DIGITS: Final = 15


@dataclass(frozen=True)
class ExcelPart:
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
        for part in ("xl/sharedStrings.xml", "xl/styles.xml"):
            if self.archive.has(part):
                # To its end, which confirms the size given in the directory of the archive.
                for _ in self.archive.pieces(part):
                    pass
        self._shown = differing(self.archive.number_formats())
        self._beside = ThreadPoolExecutor(1)
        self._opening = self._beside.submit(fastexcel.read_excel, data)

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
        scan = excel_cells.scan(self.name, self.archive, sheet, self._shown)
        frame = self._load(sheet)
        if any(_may_be_large(column) for column in frame.iter_columns()):
            excel_cells.find_large(scan, self.archive, sheet)
        if self.archive.has("xl/sharedStrings.xml") and any(_may_be_alike(column) for column in frame.iter_columns()):
            excel_cells.find_lookalikes(scan, self.archive)
        return _corrected(frame, scan), scan

    def _load(self, sheet: Sheet, rows: int | None = None) -> pl.DataFrame:
        def load() -> pl.DataFrame:
            loaded = self._opening.result().load_sheet(
                sheet.name, header_row=None, skip_rows=0, n_rows=rows, dtypes="string", schema_sample_rows=1
            )
            names = [str(column.absolute_index) for column in loaded.selected_columns]
            frame = pl.DataFrame(loaded)
            frame.columns = names
            return frame.with_columns(pl.all().cast(pl.String).replace("", None)) if names else frame

        return _called(self.archive, load)


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
    columns = [_as_shown(column, scan) for column in frame.iter_columns()]
    if scan.texts:
        places = pl.DataFrame(
            {"row": pl.Series(scan.rows, dtype=pl.UInt32), "column": pl.Series(scan.columns, dtype=pl.UInt32)}
        ).with_columns(text=pl.Series(scan.texts, dtype=pl.String))
        places = places.filter(pl.col("row") < frame.height).unique(["row", "column"], keep="last")
        for (number,), cells in places.partition_by("column", as_dict=True).items():
            if str(number) in frame.columns:
                at = frame.columns.index(str(number))
                columns[at] = columns[at].scatter(cells["row"], cells["text"])
    return pl.DataFrame(columns)


def _may_be_large(column: pl.Series) -> bool:
    """Whether some value looks like a number whose last digits are lost, as the library writes it."""
    long = (column.str.len_bytes() > _SURE_DIGITS) | column.is_in(["inf", "-inf"])
    return bool(column.filter(long).str.contains(_LARGE).any())


def _may_be_alike(column: pl.Series) -> bool:
    """Whether some value is a date or a number that `_as_shown` would change."""
    long = column.str.len_bytes() > _SURE_DIGITS + 1
    return bool((column.str.ends_with(_MIDNIGHT) | (long & column.str.contains(_LONG_DECIMAL))).any())


def _as_shown(column: pl.Series, scan: Scan) -> pl.Series:
    """The library gives all dates a time, and all decimals of a number: a date of midnight becomes a date, and numbers
    get the digits that Excel keeps. Where text looks like that, too, they cannot be distinguished, and are unchanged.
    """
    if not scan.has_midnights and column.str.ends_with(_MIDNIGHT).any():
        column = column.str.replace(_DATE_AT_MIDNIGHT, "${1}")
    if not scan.has_long_decimals:
        long = (column.str.len_bytes() > _SURE_DIGITS + 1).fill_null(value=False)
        if long.any():
            at = long.arg_true()
            at = at.filter(column.gather(at).str.contains(_LONG_DECIMAL))
            numbers = column.gather(at).cast(pl.Float64).round_sig_figs(_SURE_DIGITS).cast(pl.String)
            column = column.scatter(at, numbers.str.replace(r"\.0$", ""))
    return column


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
