"""Columns whose names mean a field that their first values cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from tranship.connectors.contract import Layout
from tranship.pipelines.first_records import FirstRecords
from tranship.schemas import value_forms


class Values:
    """The first values of columns, of all files that have them."""

    def __init__(self, layouts: Sequence[Layout], first: FirstRecords) -> None:
        self._layouts, self._first = layouts, first

    def of(self, column: str) -> list[str]:
        """Return the values of a column that are not blank. Those of a column of another type are of its kind."""
        dtypes = {layout.types.get(column) for layout in self._layouts}
        if dtypes == {pl.Boolean()}:
            return ["true", "false"]
        if dtypes == {pl.Date()}:
            return ["2000-01-01"] * 2
        return value_forms.filled(self._first.values(column))

    def unlike(self, columns: Iterable[str], fields: Mapping[str, str]) -> dict[str, str]:
        """Return the columns, with their fields, whose values are evidently something else, or that lack the form of
        the field where another column of it has it. A column that is called as the field is is never denied.
        """
        asked = {
            column: fields[column]
            for column in columns
            if fields.get(column) in value_forms.FIELDS and column != fields[column]
        }
        values = {column: self.of(column) for column in asked}
        confirmed = {field for column, field in asked.items() if value_forms.is_like(field, values[column])}
        found = {}
        for column, field in asked.items():
            loses = field in confirmed and values[column] and not value_forms.is_like(field, values[column])
            if loses or value_forms.is_other(field, values[column]):
                found[column] = field
        return found

    def flags(self, columns: Iterable[str]) -> list[str]:
        """Return the columns of names that only contain flags."""
        return [column for column in columns if column != "name" and value_forms.is_other("name", self.of(column))]
