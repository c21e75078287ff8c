"""Check whether the values of columns whose names match the same field confirm the choice among them.

`Email` beside `E-mail Address` is unambiguous if both have the same values; an `external_id` without any value must not
hide an `id` that has some. Both are known only while reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from tranship.connectors.contract import Batch
from tranship.connectors.errors import Undecided
from tranship.pipelines import field_rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas.visible import visible


def disagreements(batch: Batch, columns: ColumnMap) -> dict[str, str]:
    """Return field → message, where a column of the same name has a value that the mapped column lacks."""
    found = {}
    for field, rivals in columns.rivals.items():
        column = columns.columns_of(field)[0]
        for rival in rivals:
            if field not in found and {column, rival} <= set(batch.records.columns):
                kept, left = _values(batch, column), _values(batch, rival)
                differ = left.is_not_null() & left.ne_missing(kept)
                if rival in columns.columns_of(field):  # it is used where the other one is blank
                    differ &= kept.is_not_null()
                at = differ.arg_true()
                if len(at):
                    where = visible(f'{batch.source}, line {batch.lines[at[0]]}: "{column}" and "{rival}"')
                    options = _options(field, [column, *rivals])
                    found[field] = f"{where} both mean {field} and have different values. Choose one:\n{options}"
    for column, field in columns.unlike.items():
        if field == "email" and field not in found and column in batch.records.columns:
            at = _values(batch, column).str.contains("@", literal=True).fill_null(value=False).arg_true()
            if len(at):  # only the first values were something else
                where = visible(f'{batch.source}, line {batch.lines[at[0]]}: "{column}"')
                options = _options(field, [column, *columns.columns_of(field)])
                found[field] = f"{where} has an e-mail address, unlike the first records. Choose one:\n{options}"
    return found


def must_agree(batch: Batch, columns: ColumnMap) -> None:
    """Raise Undecided where there are `disagreements`."""
    if found := disagreements(batch, columns):
        raise Undecided.combined(found.values())


def filled(batch: Batch, columns: ColumnMap, records: pl.DataFrame) -> list[str]:
    """Return the columns in question that have a value. `records` are the batch in canonical columns."""
    asked = {column: field for field, others in columns.others.items() for column in others}
    asked |= {columns.fields[field]: field for field in columns.others}
    found = []
    for column, field in asked.items():
        if column in batch.records.columns and _values(batch, column).null_count() < batch.records.height:
            # A column of place-holders identifies as little as an empty one, and so does one of tax numbers.
            is_key = field in ("external_id", "email") and column == columns.fields[field]
            if not is_key or not records[field].str.contains(_TAX_NUMBER).fill_null(value=True).all():
                found.append(column)
    return sorted(found)


_TAX_NUMBER: Final = (
    r"(?i)^(?:(?:ATU|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|GB|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK)[0-9A-Z]?[0-9]{7,11}"
    r"[0-9A-Z]{0,3}|CHE[-0-9.]{9,13}(?: (?:MWST|TVA|IVA))?|[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}|"
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}|[0-9]{2}-[0-9]{8}-[0-9]|[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z])$"
)
"""Tax numbers of the European Union, Switzerland, Brazil and Argentina, and of persons in Italy. Customers may have ids
of this form, but hardly beside others."""


def must_not_hide(found: Iterable[tuple[str, Iterable[str]]], columns: ColumnMap) -> None:
    """Raise Undecided if a mapped column is empty in a whole file, and an unmapped one for the same field is not.

    `found` are the `filled` of all batches, each with its source.
    """
    by_source: dict[str, set[str]] = {}
    for source, columns_filled in found:
        by_source.setdefault(source, set()).update(columns_filled)
    for source, columns_filled in by_source.items():
        for field, others in columns.others.items():
            column = columns.fields[field]
            hidden = [other for other in others if other in columns_filled]
            if column not in columns_filled and hidden:
                or_else = ", or only tax numbers" if field == "external_id" else ""
                filled = "is filled" if len(hidden) == 1 else "are filled"
                message = (
                    f'{source}: "{column}" has no value in any record{or_else}, but {_quoted(hidden)} would '
                    f"also match {field} and {filled}. Nothing was written. Choose one:"
                )
                raise Undecided.combined([message, _options(field, [*hidden, column])])


def _values(batch: Batch, column: str) -> pl.Series:
    text = as_text(batch.records[column]).str.strip_chars()
    return text.set(text == "", None)


def _quoted(columns: Iterable[str]) -> str:
    return " and ".join(f'"{column}"' for column in columns)


def _options(field: str, columns: Iterable[str]) -> str:
    return "\n".join(f"  {visible(field_rules.option(field, field_rules.quoted(column)))}" for column in columns)
