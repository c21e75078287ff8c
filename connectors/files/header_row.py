"""The row in which a table begins: its header, below titles, comments, labels and blank rows; or its first record.

A row that could be a customer is never taken for a title: above a header, a row has to be blank, a comment, narrower
than the header, or a label that ends with a colon.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

from tranship.schemas import headers, person_names

Row = Sequence[str]
"""The cells of a row, blank ones included; empty for a blank line."""

_MOST_ABOVE: Final = 50
"""A header further down is not looked for."""
_NAMES_READ: Final = 100
"""Of a wide header, the first names say whether it is one."""
_LONGEST_NAME: Final = 200
_SURE: Final = 2
"""A row with this number of known names is a header."""

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.\w+")
_NUMBER: Final = re.compile(r"[+-]?[\d.,:/ +-]*\d[\d.,:/ TZ+-]*")
_YEAR: Final = re.compile(r"(?:19|20|21)\d\d")


class Start(NamedTuple):
    """The row (from 0) in which a table begins, and whether it is a header."""

    row: int
    header: bool


def start_of(rows: Sequence[Row | None], header: bool | None = None) -> Start:
    """Return where a table begins, from its first rows; a null is a row that could not be read.

    `header` is whether there is a header, null if that is to be decided. Without one, only blank rows and comments
    are above the first record; if it is said that there is none, blank lines only.
    """
    if header is False:
        return Start(next((place for place, row in enumerate(rows) if row is None or row), 0), False)
    for place, row in enumerate(rows[:_MOST_ABOVE]):
        if row is None:
            break
        if not _filled(row):
            continue
        above = rows[:place]
        if not all(before is not None and _may_be_above(before, row) for before in above):
            # What is not above this row is above none that is not wider.
            continue
        if _is_header(rows, place):
            return Start(place, True)
    first = next((place for place, row in enumerate(rows) if row is None or not _is_nothing(rows, place)), 0)
    return Start(first, header or (first < len(rows) and looks_like_header(rows, first)))


def looks_like_header(rows: Sequence[Row | None], place: int) -> bool:
    """Return whether a row may be a header: it has a name, no e-mail address, and no number or date except years above
    columns of other values.
    """
    row = rows[place]
    if row is None or not _filled(row) or any(map(_EMAIL.fullmatch, _filled(row))):
        return False
    numbers = [column for column, cell in enumerate(row) if _NUMBER.fullmatch(cell.strip())]
    return not numbers or _are_years(rows, place, numbers)


def known_names(row: Row) -> int:
    """Return how many of a row's cells are names of columns that mean a field."""
    cells = [cell.strip() for cell in row[:_NAMES_READ] if len(cell) <= _LONGEST_NAME]
    names = list(dict.fromkeys(filter(None, cells)))
    fits = headers.match(names, {}).values()
    return len({column for fit in fits for column in fit.columns} | {*person_names.find(names).columns})


def is_data(cell: str) -> bool:
    """Return whether a cell is an e-mail address, a number or a date."""
    return bool(_EMAIL.fullmatch(cell.strip()) or _NUMBER.fullmatch(cell.strip()))


def _filled(row: Row) -> list[str]:
    return [cell.strip() for cell in row if cell.strip()]


def _width(row: Row) -> int:
    """Return the number of cells up to the last filled one."""
    return max((number for number, cell in enumerate(row, 1) if cell.strip()), default=0)


def _is_header(rows: Sequence[Row | None], place: int) -> bool:
    """Return whether a row is a header, and not only may be one: by its names, or because the rows above it are titles
    and the ones below are as wide as it and hold values.
    """
    row = rows[place]
    assert row is not None  # noqa: S101  (a row that could not be read is no candidate)
    if not looks_like_header(rows, place):
        return False
    known = known_names(row)
    if not known and _width(row) == 1:
        return False
    above = [before for before in rows[:place] if before]
    separated = any(before is not None and not _filled(before) for before in rows[:place])
    if _width(row) == 1:
        # Anything is as wide as one column: only a blank row tells a title from a customer.
        wider = sum(after is not None and _width(after) > 1 for after in rows[place + 1 :])
        if 2 * wider > sum(after is None or bool(_filled(after)) for after in rows[place + 1 :]):
            return False
        titles = [before for before in above if _filled(before) and not _is_comment(before)]
        return (separated or not titles) and not any(map(is_data, chain(*titles)))
    if known >= _SURE:
        return True
    names = _filled(row)
    below = [after for after in rows[place + 1 :] if after and _filled(after)]
    if len(set(names)) < len(row) or not below:
        return False
    fitting = [after for after in below if len(after) == len(row)]
    plain = all(len(_filled(before)) < 2 or _is_label(before) or _is_comment(before) for before in above)
    values = known > 0 or any(any(map(is_data, after)) for after in fitting)
    return bool(above) and plain and values and 2 * len(fitting) > len(below)


def _may_be_above(row: Row, header: Row) -> bool:
    """Return whether a row above a header with these names is no customer."""
    cells, width = _filled(row), _width(header)
    if not cells or _is_label(row):
        return True
    if _is_comment(row):
        return len(row) != len(header) or known_names(row) < known_names(header)
    if width == 1:
        return True
    if any(map(_EMAIL.fullmatch, cells)) and len(row) == len(header):
        return False
    if len(row) < len(header):
        return _width(row) < width
    padded = 2 * len(cells) <= len(_filled(header)) and not is_data(cells[0])
    return len(cells) == 1 or padded or (len(row) > len(header) and _width(row) < width)


def _is_label(row: Row) -> bool:
    """Whether a row begins with a label, such as `Report:`."""
    cells = _filled(row)
    return bool(cells) and cells[0].endswith(":")


def _is_comment(row: Row) -> bool:
    cells = _filled(row)
    return bool(cells) and cells[0].startswith("#")


def _is_nothing(rows: Sequence[Row | None], place: int) -> bool:
    """Return whether a row is blank, or a comment that is not as wide as the next row that is none."""
    row = rows[place]
    if row is None or not _filled(row):
        return row is not None
    after = next((row for row in rows[place + 1 :] if row and _filled(row) and not _is_comment(row)), None)
    return _is_comment(row) and after is not None and _width(row) != _width(after)


def _are_years(rows: Sequence[Row | None], place: int, columns: Sequence[int]) -> bool:
    """Return whether these cells are years in a row, each once, and the cells below are none."""
    row = rows[place]
    assert row is not None  # noqa: S101  (it has cells)
    cells = [row[column].strip() for column in columns]
    if len(cells) < 2 or not all(map(_YEAR.fullmatch, cells)):
        return False
    steps = {int(after) - int(before) for before, after in pairwise(cells)}
    below = Counter(
        bool(_YEAR.fullmatch(after[column].strip()))
        for after in rows[place + 1 :]
        for column in columns
        if after and column < len(after) and after[column].strip()
    )
    return steps in ({1}, {-1}) and below[False] > below[True]
