"""The row in which a table begins: its header, below titles, comments, labels and blank rows; or its first record.

A row that could be a customer is never treated as a title. Above a header, a row has to be blank, a comment, a label,
narrower than the header, or unlike the rows below the header in a column of addresses, numbers or dates. Otherwise the
table begins with the first row, and `suspect` returns a row further down that has the names of a header.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from tranship.schemas import headers, person_names

Cells = Sequence[str]
"""The cells of a row, blank ones included; empty for a blank line."""

_NAMES_READ: Final = 100
"""The number of names that are checked: the first ones show whether a wide row is a header."""
_LONGEST_NAME: Final = 200
_SURE: Final = 2
"""A row with this number of known names is a header."""
_INTRODUCES: Final = re.compile(
    r"(?i)\b(?:by|from|for|to|von|par|por|da|door|av|af|przez|contact|kontakt|contatto|contacto|support|e-?mail|mail)$"
)
"""Words before the e-mail address of a report's author: `Exported by`."""
_DELIMITERS: Final = ";,|\t"
_BODY: Final = 20
"""The number of rows below a header by which the contents of its columns are judged."""

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.\w+")
_DATE: Final = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[T ,].*)?")
_NUMBER: Final = re.compile(r"[+-]?(?=[.,:/ +-]*\d)[\d.,:/ TZ+-]++")
_YEAR: Final = re.compile(r"(?:19|20|21)\d\d")


class Start(NamedTuple):
    """The row (from 0) in which a table begins, and whether it is a header."""

    row: int
    header: bool


def start_of(rows: Sequence[Cells | None], header: bool | None = None) -> Start:
    """Return where a table begins, from its first rows; a null is a row that could not be read.

    `header` is whether there is a header, null if it is to be detected. Without one, only blank rows and comments are
    above the first record; if the user states that there is none, blank lines only.
    """
    if header is False:
        return Start(next((place for place, row in enumerate(rows) if row is None or row), 0), False)
    read = [None if row is None else _Row(row) for row in rows]
    for place, row in enumerate(read):
        if row is None:
            break
        if row.filled and _is_header(read, place):
            return Start(place, True)
    first = next((place for place, row in enumerate(read) if row is None or not _is_nothing(read, place)), 0)
    return Start(first, header or (first < len(read) and _may_be_header(read, first)))


def suspect(rows: Sequence[Cells | None], start: Start) -> int | None:
    """Return a row below the start of a table that seems to be its header, null if there is none: it has known names,
    and the first row has none or is not a header.
    """
    if start.row >= len(rows):
        return None
    first = rows[start.row]
    if first is None or (start.header and known_names(first)):
        return None
    read = [None if row is None else _Row(row) for row in rows]
    for place in range(start.row + 1, len(read)):
        row = read[place]
        # Below a header of as many columns that has unknown names, it is a record.
        if row is None or (start.header and len(row.cells) == len(first)):
            continue
        if not _may_be_header(read, place) or row.known < _SURE:
            continue
        below = [after for after in read[place + 1 :] if after and after.filled]
        fitting = sum(len(after.cells) == len(row.cells) for after in below)
        if fitting and 2 * fitting > len(below):
            return place
    return None


def known_names(cells: Cells) -> int:
    """Return how many of the cells of a row are names of columns that mean a field."""
    names = [cell.strip() for cell in cells[:_NAMES_READ] if len(cell) <= _LONGEST_NAME]
    return _known(tuple(dict.fromkeys(filter(None, names))))


@lru_cache(maxsize=256)
def _known(names: tuple[str, ...]) -> int:
    fits = headers.match(names, {}).values()
    return len({column for fit in fits for column in fit.columns} | {*person_names.find(names).columns})


class _Row:
    """A row, its filled cells, and the number of cells up to the last filled one."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.stripped = [cell.strip() for cell in cells]
        self.filled = [cell for cell in self.stripped if cell]
        self.width = len(cells)
        while self.width and not self.stripped[self.width - 1]:
            self.width -= 1

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each cell: `email`, `date`, `number`, `text`, or empty."""
        return list(map(_kind, self.stripped))

    @cached_property
    def known(self) -> int:
        """How many cells are names of columns that mean a field."""
        return known_names(self.cells)

    @property
    def is_label(self) -> bool:
        """Whether it begins with a label, such as `Report:`."""
        return bool(self.filled) and self.filled[0].endswith(":")

    @property
    def is_comment(self) -> bool:
        """Whether it begins with the mark of a comment."""
        return bool(self.filled) and self.filled[0].startswith("#")


def _kind(cell: str) -> str:
    if not cell:
        return ""
    if len(cell) > _LONGEST_NAME:
        return "text"
    if _EMAIL.fullmatch(cell):
        return "email"
    return "date" if _DATE.fullmatch(cell) else "number" if _NUMBER.fullmatch(cell) else "text"


def _may_be_header(rows: Sequence[_Row | None], place: int) -> bool:
    """Return whether a row may be a header: it has a name, no e-mail address, and no number or date except years above
    columns of other values.
    """
    row = rows[place]
    if row is None or "email" in row.kinds or "text" not in row.kinds:
        return False
    numbers = [column for column, kind in enumerate(row.kinds) if kind in ("date", "number")]
    return not numbers or _are_years(rows, place, numbers)


def _are_years(rows: Sequence[_Row | None], place: int, columns: Sequence[int]) -> bool:
    """Return whether these cells are years in a row, each once, and the cells below are not."""
    row = rows[place]
    assert row is not None  # noqa: S101  (it has cells)
    cells = [row.stripped[column] for column in columns]
    if len(cells) < 2 or not all(map(_YEAR.fullmatch, cells)):
        return False
    steps = {int(after) - int(before) for before, after in pairwise(cells)}
    below = Counter(
        bool(_YEAR.fullmatch(after.stripped[column]))
        for after in rows[place + 1 :]
        for column in columns
        if after and column < len(after.stripped) and after.stripped[column]
    )
    return steps in ({1}, {-1}) and below[False] > below[True]


def _is_header(rows: Sequence[_Row | None], place: int) -> bool:
    """Return whether a row is a header, not merely a possible one: it has known names, or the rows above it are titles
    and the ones below are as wide as it and contain other values. No row above it may be a record.
    """
    row = rows[place]
    assert row is not None  # noqa: S101  (a row that could not be read is no candidate)
    if not _may_be_header(rows, place):
        return False
    titles = [before for before in rows[:place] if before and before.filled]
    separated = any(before is not None and not before.filled for before in rows[:place])
    below = [after for after in rows[place + 1 :] if after is None or after.filled]
    if row.width == 1:
        return _heads_one_column(row, titles, below, separated=separated)
    if not titles:
        return row.known >= _SURE
    if _are_a_table(titles) or not all(_is_title(before, row, below) for before in titles):
        return False
    if row.known >= _SURE:
        return True
    # Without known names, titles must be unlike any header.
    plain = all(
        (len(before.cells) != len(row.cells) or (separated and not before.is_label and not before.is_comment))
        and (len(before.filled) < 2 or before.is_label or before.is_comment)
        for before in titles
    )
    if not plain or len(set(row.filled)) < len(row.cells):
        return False
    fitting = [after for after in below if after and len(after.cells) == len(row.cells)]
    differs = any(kinds in ({"email"}, {"date"}, {"number"}) for kinds in _kinds_below(row, below))
    return (row.known > 0 or differs) and 2 * len(fitting) > len(below)


def _heads_one_column(row: _Row, titles: Sequence[_Row], below: Sequence[_Row | None], *, separated: bool) -> bool:
    """Return whether a row of one cell is a header. Every row is as wide as one column, so below a title there must be
    a blank row, and then only addresses or numbers.
    """
    wider = sum(after is not None and after.width > 1 for after in below)
    if not row.known or 2 * wider > len(below):
        return False
    titles = [before for before in titles if not before.is_comment]
    if not titles:
        return True
    found = {after.kinds[0] for after in below if after and after.kinds}
    return (
        separated
        and found in ({"email"}, {"number"})
        and not any(kind not in ("", "text") for before in titles for kind in before.kinds)
    )


def _kinds_below(row: _Row, below: Sequence[_Row | None]) -> list[set[str]]:
    """Return the kinds of values of each column, in the first rows that are as wide as the header."""
    fitting = [after for after in below if after and len(after.cells) == len(row.cells)][:_BODY]
    return [{kind for kind in of_column if kind} for of_column in zip(*(after.kinds for after in fitting), strict=True)]


def _is_title(row: _Row, header: _Row, below: Sequence[_Row | None]) -> bool:
    """Return whether a row above a header is neither a customer nor a header."""
    same = len(row.cells) == len(header.cells)
    if not same and (row.is_label or row.is_comment):
        return True
    if len(row.filled) == 1:
        return not _may_be_record(row.filled[0]) and (not same or row.known < header.known)
    if "email" in row.kinds and not row.is_label and not _INTRODUCES.search(row.filled[0]):
        return False  # a name and an address may be a customer
    first = next((kind for kind in row.kinds if kind), "text")
    if first in ("number", "email") or (same and "email" in row.kinds):
        return False
    padded = 2 * len(row.filled) <= len(header.filled) or (row.is_label and len(row.filled) == row.width == 2)
    if row.width < header.width and (padded or not same):
        return True
    if not same:
        return padded
    every_name_known = header.known == len(header.cells)
    return padded or (every_name_known and row.known < header.known and _differs(row, _kinds_below(header, below)))


def _may_be_record(cell: str) -> bool:
    """Return whether a cell contains the values of a record, with a delimiter other than that of the table: `7;Ann`."""
    for delimiter in _DELIMITERS:
        kinds = [_kind(value.strip()) for value in cell.split(delimiter)]
        if len(kinds) > 1 and (kinds[0] in ("number", "email") or "email" in kinds):
            return True
    return False


def _differs(row: _Row, body: Sequence[set[str]]) -> bool:
    """Return whether a row has another kind of value in a column of one kind, and the same kind only in columns of
    text."""
    differing = 0
    for kind, kinds in zip(row.kinds, body, strict=False):
        if kind and len(kinds) == 1:
            if kind in kinds and kind != "text":
                return False
            differing += kind not in kinds
    return differing > 0


def _are_a_table(titles: Sequence[_Row]) -> bool:
    """Return whether rows above a header are records of another table: of as many values, at least three."""
    widths = Counter(len(row.cells) for row in titles if len(row.filled) > 2 and not (row.is_label or row.is_comment))
    return any(number > 1 for number in widths.values())


def _is_nothing(rows: Sequence[_Row | None], place: int) -> bool:
    """Return whether a row is blank, or a comment: with a number of cells other than that of the next row that is
    neither, or words in one cell above a row of several cells.
    """
    row = rows[place]
    if row is None or not row.filled:
        return row is not None
    if not row.is_comment:
        return False
    after = next((after for after in rows[place + 1 :] if after and after.filled and not after.is_comment), None)
    if after is None or len(row.cells) != len(after.cells):
        return after is not None
    return len(row.filled) == 1 and after.width > 1 and " " in row.filled[0]
