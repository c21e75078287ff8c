"""Text that fits a number of columns: lines are wrapped between words, and tables become blocks. Nothing is cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from tranship.schemas.visible import visible

_CELL: Final = 44
_STYLE: Final = re.compile("\x1b\\[[0-9;]*m")
_LEAST: Final = 24
"""Columns that the last cell of a table needs to be readable in several lines; with fewer, the rows become blocks."""


def table(
    rows: Iterable[Sequence[str]],
    right: tuple[int, ...] = (),
    width: int | None = None,
    header: Sequence[str] = (),
    *,
    shows_header: bool = True,
) -> list[str]:
    """Return lines with aligned columns; those in `right` are aligned to the right.

    Where they do not fit `width`, the last column is wrapped, or each row becomes a block of lines, in which the names
    in `header` precede the values. With `shows_header`, a table begins with them.
    """
    cells = [[cell(value, None) for value in row] for row in rows]
    shown = [list(header), *cells] if header and shows_header else cells
    if not shown:
        return []
    widths = [max(map(text_width, column)) for column in zip(*shown, strict=True)]
    before = 2 + sum(widths[:-1]) + 2 * (len(widths) - 1)
    if width is None or before + widths[-1] <= width:
        return [_line(row, widths, right) for row in shown]
    if len(widths) > 1 and width - before >= _LEAST:
        return [line for row in shown for line in _wrapped_row(row, widths, right, width)]
    return [line for row in cells for line in _block(row, header, width)]


def _line(row: Sequence[str], widths: Sequence[int], right: tuple[int, ...]) -> str:
    padded = [_padded(value, widths[i], i in right) for i, value in enumerate(row)]
    return "  " + "  ".join(padded).rstrip()


def _wrapped_row(row: Sequence[str], widths: Sequence[int], right: tuple[int, ...], width: int) -> list[str]:
    """Return the lines of a row whose last cell is wrapped below itself."""
    first = _line([*row[:-1], ""], [*widths[:-1], 0], right)
    indent = 2 + sum(widths[:-1]) + 2 * (len(widths) - 1)
    last = wrapped(row[-1], width, " " * indent)
    return [first + " " * (indent - text_width(first)) + last[0].lstrip(), *last[1:]] if row[-1] else [first]


def _block(row: Sequence[str], header: Sequence[str], width: int) -> list[str]:
    """Return a row as lines: what it is about, then its other values."""
    if header:
        named = [f"{name}: {value}" if name else value for name, value in zip(header, row, strict=True) if value][1:]
        return [*wrapped(row[0], width, "    ", "  "), *_packed(named, width)]
    # Short values, such as a code and its count, share the first line.
    lines, rest = wrapped(row[0], width, "    ", "  "), list(row[1:])
    while len(rest) > 1 and text_width(f"{lines[-1]}  {rest[0]}") <= width:
        lines[-1] = f"{lines[-1]}  {rest.pop(0)}".rstrip()
    return [*lines, *(line for value in rest if value for line in wrapped(value, width, "    "))]


def _packed(values: Iterable[str], width: int) -> list[str]:
    """Return values in lines, several in a line where they fit."""
    lines: list[str] = []
    for value in values:
        if lines and text_width(f"{lines[-1]}  {value}") <= width:
            lines[-1] += f"  {value}"
        else:
            lines += wrapped(value, width, "      ", "    ")
    return lines


def wrapped(text: str, width: int | None, indent: str = "", first: str | None = None) -> list[str]:
    """Return text in lines of at most `width` columns that begin with `indent`, the first one with `first` if it is
    given. Words that are longer stay whole.
    """
    start = indent if first is None else first
    if width is None or text_width(start + text) <= width:
        return [start + text]
    lines: list[str] = []
    line, is_empty = start, True
    for word in text.split(" "):
        # What fits no line, such as a long path, begins on this one: the terminal breaks it, and it is copied whole.
        if not is_empty and text_width(f"{line} {word}") > width >= text_width(indent + word):
            lines.append(line.rstrip())
            line, is_empty = indent, True
        line += word if is_empty else f" {word}"
        is_empty = False
    return [*lines, line]


def wrapped_text(text: str, width: int | None) -> str:
    """Return text, each line of which is wrapped below itself."""
    return "\n".join(part for line in text.split("\n") for part in wrapped(line, width, "  ", ""))


def labelled(label: str, value: str, width: int | None, shown: str | None = None) -> list[str]:
    """Return a path or a command after its label, on a line of its own where both do not fit: it is copied whole.

    `shown` is the value with what a terminal does not print, such as colours.
    """
    fits = width is None or text_width(f"{label}: {value}") <= width
    shown = value if shown is None else shown
    return [f"{label}: {shown}"] if fits else [*wrapped(f"{label}:", width), f"  {shown}"]


def cell(value: str, longest: int | None = _CELL) -> str:
    """Return a value on one line, with characters spelled out that could control the terminal or would be invisible."""
    plain = visible(re.sub(r"\s+", " ", value) if re.search(r"[\t-\r\x85\u2028\u2029]", value) else value)
    return plain if longest is None or len(plain) <= longest else plain[: longest - 1] + "…"


def _padded(value: str, width: int, right: bool) -> str:
    blank = " " * (width - text_width(value))
    return blank + value if right else value + blank


def text_width(text: str) -> int:
    """Return the number of terminal columns: East Asian wide characters take two, combining characters and
    colours none.
    """
    text = _STYLE.sub("", text)
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
