"""Number formats of Excel whose result differs from the number: leading zeros, times of day and durations.

Dates are recognised by the library that reads the cells. Currencies, percentages and thousands are left out on purpose:
the number is the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

Shown = Callable[[str], str | None]
"""From the number in the file to the text that Excel shows; null if that is not known."""

_BUILT_IN: Final = {18: "h:mm", 19: "h:mm:ss", 20: "h:mm", 21: "h:mm:ss", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0"}
_LITERAL: Final = re.compile(r'"([^"]*)"|\\(.)|([-() ])')
_DECORATION: Final = re.compile(
    r"\[\$[^\]]*\]|\[(?:black|blue|cyan|green|magenta|red|white|yellow)\]|_.|\*.", re.IGNORECASE
)
_TIME: Final = re.compile(r"(?i)[hms:.0\s]+(?:am/pm|a/p)?")
_MOST_DIGITS: Final = 15
"""Number of digits that Excel keeps of a number."""


def differing(formats: Sequence[str | int]) -> dict[int, Shown]:
    """Return style → how it shows a number, of those styles whose result differs from the number."""
    found = {}
    for style, given in enumerate(formats):
        code = _BUILT_IN.get(given, "") if isinstance(given, int) else given
        shown = _shown(code)
        if shown:
            found[style] = shown
    return found


def _shown(code: str) -> Shown | None:
    if len(code) > 255:
        return None
    first = _DECORATION.sub("", code.split(";")[0])
    if re.match(r"(?i)\[h+\]", first):
        return _duration
    if ":" in first and _TIME.fullmatch(first.strip()):
        return _time_of_day
    pattern = _digits(first)
    if pattern is None:
        return None
    width = len(pattern)
    if pattern.count("\0") == width:
        return lambda number: None if (value := _whole(number)) is None else str(value).zfill(width)
    return lambda number: _filled(pattern, number)


def _digits(code: str) -> list[str] | None:
    """Return a format of zeros and literals, such as `00000` or `000-00-0000`, as a list with a null character for each
    digit; null for any other format, and for one zero, which adds nothing to a number.
    """
    found: list[str] = []
    at = 0
    while at < len(code):
        if code[at] == "0":
            found.append("\0")
            at += 1
        elif match := _LITERAL.match(code, at):
            found += (match[1] or match[2] or match[3] or "").replace("\0", "")
            at = match.end()
        else:
            return None
    return found if found.count("\0") > 1 else None


def _filled(pattern: list[str], number: str) -> str | None:
    """Return a whole number as such a format shows it, filled from the right."""
    value = _whole(number)
    if value is None:
        return None
    digits = str(value).zfill(pattern.count("\0"))
    extra, rest = len(digits) - pattern.count("\0"), iter(digits)
    text = []
    for place in pattern:
        if place == "\0":
            text.append("".join(next(rest) for _ in range(extra + 1)))
            extra = 0
        else:
            text.append(place)
    return "".join(text).strip()


def _whole(number: str) -> int | None:
    try:
        value = float(number)
    except ValueError:
        return None
    return int(value) if 0 <= value < 10**_MOST_DIGITS and value == int(value) else None


def _seconds(number: str) -> int | None:
    try:
        value = float(number)
    except ValueError:
        return None
    return round(value * 86_400) if 0 <= value < 10**7 else None


def _duration(number: str) -> str | None:
    seconds = _seconds(number)
    return None if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _time_of_day(number: str) -> str | None:
    """A time of day; null for a date that is shown without its day."""
    seconds = _seconds(number)
    if seconds is None or float(number) >= 1:
        return None
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
