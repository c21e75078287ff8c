"""Workbooks for tests, written with xlsxwriter; features that it cannot write are added to the XML afterwards."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter

Rows = Sequence[Sequence[Any]]


class Formula(str):
    """A formula with its stored result after a vertical bar: `1+1|2`; without one, no result is stored."""


def add_rows(book: Any, sheet: Any, rows: Iterable[Sequence[Any]], formats: Mapping[int, str] | None = None) -> None:
    """Write rows from A1 on: text, numbers, booleans, dates and formulas, each with the format of its column, if any."""
    looks = {column: book.add_format({"num_format": code}) for column, code in (formats or {}).items()}
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "dd.mm.yyyy hh:mm"})
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            look = looks.get(column)
            if isinstance(value, Formula):
                text, _, result = value.partition("|")
                number = float(result) if result.replace(".", "", 1).isdecimal() else result
                sheet.write_formula(row, column, f"={text}", look, number)
            elif isinstance(value, str):
                sheet.write_string(row, column, value, look)
            elif isinstance(value, bool):
                sheet.write_boolean(row, column, value, look)
            elif isinstance(value, date):
                is_moment = hasattr(value, "hour")
                sheet.write_datetime(row, column, value, look or (moment if is_moment else day))
            elif value is not None:
                sheet.write_number(row, column, value, look)


def workbook(
    path: Path,
    sheets: Mapping[str, Rows],
    *,
    formats: Mapping[int, str] | None = None,
    hidden: Sequence[str] = (),
    change: Callable[[Any, Any], None] | None = None,
    **options: Any,
) -> Path:
    """Write a workbook with these sheets. `change` is called with the book and its first sheet, `options` are those of
    the library.
    """
    with xlsxwriter.Workbook(path, {"in_memory": True, **options}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            add_rows(book, sheet, rows, formats)
            if name in hidden:
                sheet.hide()
        if change:
            change(book, book.worksheets()[0])
    return path


def from_frame(path: Path, frame: pl.DataFrame) -> Path:
    """Write a frame of text as a workbook: a header, and a row for each record."""
    with xlsxwriter.Workbook(path, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for number, column in enumerate(frame.iter_columns()):
            sheet.write_string(0, number, column.name)
            for row, value in enumerate(column, 1):
                if value is not None:
                    sheet.write_string(row, number, value)
    return path


def edited(path: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """Change the parts of a workbook (name → bytes) in place."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    edit(parts)
    path.write_bytes(zipped(parts))
    return path


def zipped(parts: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()
