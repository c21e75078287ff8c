"""What the first records say of a column whose name leaves its meaning open: whether it is filled in all of them, and
differs; whether its values are numbers, or links.

Only the first records of the first files are looked at (`Layout.head`), so that a choice does not depend on the rest of
a large file. Where they cannot be had, as from a provider, the names decide alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

import polars as pl

from tranship.connectors.contract import HEAD_FILES, Layout
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate

FEW: Final = 0.8
"""The share of records below which a column has gaps: some systems fill it only for some customers."""
_MOST_CELLS: Final = 1 << 20


class FirstRecords:
    """The first records of the files of a run, read when first asked for."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self._layouts = layouts
        self._texts: dict[str, list[pl.Series]] = {}

    @cached_property
    def _heads(self) -> list[pl.DataFrame]:
        found = []
        for layout in self._layouts[:HEAD_FILES]:
            records = layout.head() if layout.head is not None and layout.columns else None
            if records is not None and records.height:
                found.append(records.head(max(2, _MOST_CELLS // records.width)))
        return found

    @cached_property
    def count(self) -> int:
        """The number of these records."""
        return sum(records.height for records in self._heads)

    def filled(self, columns: Iterable[str]) -> float:
        """Return the share of the records in which any of the columns has a value; 1 if there are no records."""
        return 1 - self.blank(columns) / self.count if self.count else 1.0

    def blank(self, columns: Iterable[str]) -> int:
        """Return in how many of the records all of the columns are blank."""
        names = list(columns)
        missing = 0
        for number, records in enumerate(self._heads):
            is_blank = pl.Series([True], dtype=pl.Boolean).new_from_index(0, records.height)
            for name in names:
                is_blank &= self._of(name)[number].is_null()
            missing += int(is_blank.sum())
        return missing

    def are_keys(self, column: str) -> bool:
        """Return whether a column has a value in all of the records, which differs in each of a file and looks like an
        id."""
        return self.count > 0 and all(
            values.null_count() == 0
            and values.n_unique() == len(values)
            and bool(values.str.contains(_ID).all())
            and not values.str.contains(_NO_ID).any()
            for values in self._of(column)
        )

    def are_counted(self, column: str) -> bool:
        """Return whether the values of a column only count the records: 1, 2, 3, …"""
        return all(values.to_list() == [str(at) for at in range(1, len(values) + 1)] for values in self._of(column))

    def are_numbers(self, column: str, fewest: int = 1) -> bool:
        """Return whether a column has whole numbers only, such as the keys of another table, and at least so many."""
        found = [values.drop_nulls() for values in self._of(column)]
        return sum(map(len, found)) >= fewest and all(
            bool(values.str.contains(r"^\d+(?:\.0)?$").all()) for values in found
        )

    def are_apart(self, column: str, others: Sequence[str]) -> bool:
        """Return whether some records have a value in this column and another one, and in none of them the value
        contains the other or is contained in it, ignoring case."""
        pairs = [
            (value.lower(), other.lower())
            for name in others
            for values, beside in zip(self._of(column), self._of(name), strict=True)
            for value, other in zip(values, beside, strict=True)
            if value and other
        ]
        return bool(pairs) and not any(other in value or value in other for value, other in pairs)

    def are_surnames(self, column: str) -> bool:
        """Return whether all values of a column are at most three words without digits, and none is that of a firm."""
        found = [values.drop_nulls() for values in self._of(column)]
        return all(
            bool(values.str.contains(_SURNAME).all()) and not values.str.contains(_FIRM).any() for values in found
        )

    def are_links(self, column: str) -> bool:
        """Return whether a column has a link in all records, which differs in each: of one host and form, with an id
        at its end."""
        found = [values for values in self._of(column) if len(values)]
        if not found or any(values.null_count() or values.n_unique() != len(values) for values in found):
            return False
        parts = [_LINK.fullmatch(value) for values in found for value in values]
        return len({(part["host"], part["path"]) if part else None for part in parts}) == 1 and None not in parts

    def values(self, column: str) -> list[str]:
        """Return the values of a column that are not blank, of all files."""
        return [value for values in self._of(column) for value in values.drop_nulls()]

    def _of(self, column: str) -> list[pl.Series]:
        """Return the values of a column in each file, blank ones as null."""
        if column not in self._texts:
            strip = blank_to_null(VALUE.str.strip_chars())
            self._texts[column] = [
                evaluate(as_text(records[column]), strip)
                if column in records
                else pl.Series([None], dtype=pl.String).new_from_index(0, records.height)
                for records in self._heads
            ]
        return self._texts[column]


_ID: Final = r"^[\pL\pN][\pL\pN._:/|#+-]{0,63}$"
_NO_ID: Final = r"^\d+[.,]\d{1,2}$|^\d{4}-\d\d-\d\d|^\d{1,2}[./]\d{1,2}[./]\d{2,4}$|^(?:https?:|www\.)"
"""Amounts, dates and links."""
_SURNAME: Final = r"^[\pL\pM'’.-]+(?: [\pL\pM'’.-]+){0,2}$"
_FIRM: Final = (
    r"(?i)(?:^| )(?:gmbh|ag|kg|ohg|ug|e\.?v|inc|llc|ltd|limited|corp|co|plc|s\.?a|sas|sarl|srl|spa|bv|nv|oy|ab|as|aps|"
    r"ltda)\.?$"
)
_LINK: Final = re.compile(r"(?i)(?P<host>https?://[^/?#]+)?(?P<path>[^?#]*/)(?P<id>[^/?#]*\d[^/?#]*)/?")
