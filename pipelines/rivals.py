"""Columns that fit one field by their names alone: whether what they hold bears the choice out.

`Email` beside `E-mail Address` is no question where both hold the same; an `external_id` without a single value must
not hide an `id` that has them. Both are known only while reading.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tranship.connectors.contract import Batch
from tranship.connectors.errors import Undecided
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.batch import as_text


def disagreements(batch: Batch, columns: ColumnMap) -> dict[str, str]:
    """Field → what a person is told, where a namesake of its column holds a value that the column has not."""
    found = {}
    for field, rivals in columns.rivals.items():
        column = columns.fields[field]
        for rival in rivals:
            if field not in found and {column, rival} <= set(batch.records.columns):
                kept, left = _values(batch, column), _values(batch, rival)
                at = (left.is_not_null() & left.ne_missing(kept)).arg_true()
                if len(at):
                    found[field] = (
                        f'{batch.source}, line {batch.lines[at[0]]}: "{column}" and "{rival}" both mean {field} and '
                        f"hold different values. Say which one it is:\n{_options(field, [column, *rivals])}"
                    )
    return found


def must_agree(batch: Batch, columns: ColumnMap) -> None:
    """Raises Undecided where there are `disagreements`."""
    if found := disagreements(batch, columns):
        raise Undecided("\n".join(found.values()))


def filled(batch: Batch, columns: ColumnMap, records: pl.DataFrame) -> list[str]:
    """Which of the columns in question hold a value. `records` are the batch in canonical columns."""
    asked = {column: field for field, others in columns.others.items() for column in others}
    asked |= {columns.fields[field]: field for field in columns.others}
    found = []
    for column, field in asked.items():
        if column in batch.records.columns and _values(batch, column).null_count() < batch.records.height:
            # A column of place-holders identifies as little as an empty one.
            is_key = field in ("external_id", "email") and column == columns.fields[field]
            if not is_key or records[field].null_count() < records.height:
                found.append(column)
    return sorted(found)


def must_not_hide(found: Iterable[tuple[str, Iterable[str]]], columns: ColumnMap) -> None:
    """Raises Undecided where a mapped column is empty in a whole file, and one that was left aside is not.

    `found` are the `filled` of all batches, each behind its source.
    """
    by_source: dict[str, set[str]] = {}
    for source, columns_filled in found:
        by_source.setdefault(source, set()).update(columns_filled)
    for source, columns_filled in by_source.items():
        for field, others in columns.others.items():
            column = columns.fields[field]
            hidden = [other for other in others if other in columns_filled]
            if column not in columns_filled and hidden:
                raise Undecided(
                    f'{source}: "{column}" has no value in any record, but {_quoted(hidden)} would fit {field}, too, '
                    f"and has. Nothing was written. Say which one it is:\n{_options(field, [*hidden, column])}"
                )


def _values(batch: Batch, column: str) -> pl.Series:
    text = as_text(batch.records[column]).str.strip_chars()
    return text.set(text == "", None)


def _quoted(columns: Iterable[str]) -> str:
    return " and ".join(f'"{column}"' for column in columns)


def _options(field: str, columns: Iterable[str]) -> str:
    return "\n".join(f'  --map "{column}={field}"' for column in columns)
