"""The rejects of a run as an Excel workbook, to be corrected there and read again: invalid cells are coloured and have
the reason as a comment, and columns of codes have a list to choose from.

All values are text cells: nothing in them is run as a formula. Drawing comments and formats takes time and memory, so
the workbook has the first rejects only; a CSV file has all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
import xlsxwriter

from tranship.connectors.errors import ConfigError
from tranship.pipelines.fixing.columns import ACTION, ACTIONS, CODES_SHEET
from tranship.pipelines.fixing.spreadsheet import MOST_CHARACTERS
from tranship.pipelines.mapping import KEYS, ColumnMap
from tranship.pipelines.matching import OURS
from tranship.schemas import codes
from tranship.schemas.counted import counted
from tranship.schemas.faults import sentence

MOST_ROWS: Final = 20_000
MOST_CELLS: Final = 1_000_000
MOST_COMMENTS: Final = 5_000
MOST_COLUMNS: Final = 16_384
_COMMENT_CHARACTERS: Final = 1_000
_INVALID: Final = {"bg_color": "#FFC7CE", "font_color": "#9C0006"}
_HEADER: Final = {"bold": True, "bottom": 1}
_AS_TEXT: Final = {"num_format": "@"}
"""Values typed over these cells stay text: 01067 keeps its zero."""
_OPTIONS: Final = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
"""In memory: temporary files would hold records outside the run directory."""


def write(found: pl.DataFrame, columns: ColumnMap, path: Path) -> int:
    """Write the first rejects, source columns first, and return how many. Raises ConfigError if they have more columns
    than a sheet. Of a value that is too long for a cell, its beginning is written.
    """
    names = found.columns
    if len(names) > MOST_COLUMNS:
        columns_here = counted(len(names), "column")
        raise ConfigError(f"{path.name}: the rejects have {columns_here}, more than a sheet takes. Name a .csv file.")
    rejects = found.head(min(MOST_ROWS, max(MOST_CELLS // len(names), 1)))
    with xlsxwriter.Workbook(path, _OPTIONS) as book:
        sheet = book.add_worksheet("Rejects")
        _write_cells(book, sheet, rejects, columns)
        _add_lists(book, sheet, names, columns, rejects.height)
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(names) - 1, 18)
        sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{rejects.height + 1}"})
        at = names.index(ACTION)
        sheet.data_validation(1, at, max(rejects.height, 1), at, {"validate": "list", "source": [*ACTIONS]})
    return rejects.height


def _write_cells(book: Any, sheet: Any, rejects: pl.DataFrame, columns: ColumnMap) -> None:
    text, invalid, header = (book.add_format(look) for look in (_AS_TEXT, {**_AS_TEXT, **_INVALID}, _HEADER))
    names = rejects.columns
    place = {name: number for number, name in enumerate(names)}
    for name, number in place.items():
        sheet.write_string(0, number, name[:MOST_CHARACTERS], header)
    comments = 0
    for row, values in enumerate(rejects.iter_rows(), 1):
        faults = _invalid_columns(str(values[place["_codes"]]), str(values[place["_reasons"]]), columns, place)
        for number, (name, value) in enumerate(zip(names, values, strict=True)):
            look = invalid if name in faults else text
            if name == "_line":
                sheet.write_number(row, number, value)
            elif value is not None:
                sheet.write_string(row, number, str(value)[:MOST_CHARACTERS], look)
            elif look is invalid:
                sheet.write_blank(row, number, None, look)
            if name in faults and comments < MOST_COMMENTS:
                sheet.write_comment(row, number, faults[name], {"x_scale": 2})
                comments += 1


def _invalid_columns(found: str, reasons: str, columns: ColumnMap, place: Mapping[str, int]) -> dict[str, str]:
    """Return the columns at fault, with their reasons: those from which the field is built, or which the reason of a
    table names; the reasons themselves where no column of the source is at fault.
    """
    faults: dict[str, str] = {}
    for code in found.split():
        field, _, fault = code.partition(".")
        fields = KEYS if field == "identity" else (field,) if fault else re.findall(r"\w+", reasons.partition("(")[0])
        at_fault = dict.fromkeys(name for field in fields for name in columns.columns_of(field) if name in place)
        said = sentence(code) if fault else reasons
        for name in at_fault or ["_reasons"]:
            text = f"{faults[name]}\n{said}" if name in faults else said
            faults[name] = text[:_COMMENT_CHARACTERS]
    return faults


def _add_lists(book: Any, sheet: Any, names: list[str], columns: ColumnMap, height: int) -> None:
    """Add a list to choose from to each column of codes. Other known spellings may be typed as well."""
    choices = {
        "country": sorted(codes.country_codes()),
        "currency": sorted(codes.currencies()),
        "status": list(codes.STATUSES),
        "customer_type": list(codes.CUSTOMER_TYPES),
        "timezone": sorted(codes.timezone_names()),
    }
    lists = None
    for field, values in choices.items():
        # A list in the cell itself may have 255 characters; that in a range of another sheet any number.
        for name in columns.columns_of(field):
            if name not in names or name in OURS or not height:
                continue
            if lists is None:
                lists = book.add_worksheet(CODES_SHEET)
                lists.hide()
            column = list(choices).index(field)
            lists.write_column(0, column, values)
            letter = chr(65 + column)
            sheet.data_validation(
                1,
                names.index(name),
                height,
                names.index(name),
                {
                    "validate": "list",
                    "source": f"={CODES_SHEET}!${letter}$1:${letter}${len(values)}",
                    "error_type": "information",
                    "error_title": field,
                    "error_message": f"This is not one of the codes. It may still be a known spelling of a {field}.",
                },
            )
