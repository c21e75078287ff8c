"""Number formats of Excel whose result differs from the number: leading zeros, times of day and durations.

Dates are recognised by the library that reads the cells. Currencies, percentages and thousands are left out on purpose:
the number is the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl
from msgspec import Struct

Shown = Callable[[pl.Series], pl.Series]
"""From numbers to the texts that Excel shows, null where that is not known."""

_BUILT_IN: Final = {18: "h:mm", 19: "h:mm:ss", 20: "h:mm", 21: "h:mm:ss", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0"}
_LITERAL: Final = re.compile(r'"([^"]*)"|\\(.)|([-() ])')
_DECORATION: Final = re.compile(
    r"\[\$[^\]]*\]|\[(?:black|blue|cyan|green|magenta|red|white|yellow)\]|_.|\*.", re.IGNORECASE
)
_TIME: Final = re.compile(r"(?i)[hms:.0\s]+(?:am/pm|a/p)?")
_FIRST_OWN: Final = 164
"""Number formats from this number on are those of the workbook itself."""
_MOST_DIGITS: Final = 15
"""Number of digits that Excel keeps of a number."""


class Formats(Struct, frozen=True):
    """The number formats of a workbook.

    `count` is its number of cell styles, at least the one that cells without a style have. `shown` is style → how it
    shows a number, of those styles whose result differs from the number; `undefined` are the styles whose number format
    the workbook does not define.
    """

    count: int
    shown: Mapping[int, Shown]
    undefined: frozenset[int]

    @classmethod
    def of(cls, formats: Sequence[str | int]) -> Formats:
        """Return the formats of these cell styles: their codes, or the numbers of built-in ones."""
        codes = [_BUILT_IN.get(given, "") if isinstance(given, int) else given for given in formats]
        every = {style: _shown(code) for style, code in enumerate(codes)}
        undefined = (style for style, given in enumerate(formats) if isinstance(given, int) and given >= _FIRST_OWN)
        return cls(
            max(len(formats), 1), {style: shown for style, shown in every.items() if shown}, frozenset(undefined)
        )

    def matters(self, style: int) -> bool:
        """Return whether numbers of this style may look different, or the style is not defined."""
        return style in self.shown or style in self.undefined or style >= self.count


def _shown(code: str) -> Shown | None:
    if len(code) > 255:
        return None
    first = _DECORATION.sub("", code.split(";")[0])
    if re.match(r"(?i)\[h+\]", first):
        return _duration
    if ":" in first and _TIME.fullmatch(first.strip()):
        return _time_of_day
    return _digits(first)


def _digits(code: str) -> Shown | None:
    """Return how a format of zeros and literals, such as `00000` or `000-00-0000`, shows whole numbers, filled from the
    right; null for any other format, and for one zero, which adds nothing to a number.
    """
    runs: list[int] = []
    """How many zeros each run has."""
    text, at = "", 0
    while at < len(code):
        if code[at] == "0":
            end = at + len(code[at:]) - len(code[at:].lstrip("0"))
            runs.append(end - at)
            text += f"${{{len(runs)}}}"
            at = end
        elif match := _LITERAL.match(code, at):
            text += (match[1] or match[2] or match[3] or "").replace("$", "$$")
            at = match.end()
        else:
            return None
    width = sum(runs)
    if width < 2:
        return None
    # Digits in excess are shown in place of the first zero.
    pattern = r"^(\d+)" + "".join(rf"(\d{{{run}}})" for run in runs[1:]) + "$"

    def shown(numbers: pl.Series) -> pl.Series:
        digits = _whole(numbers).cast(pl.String).str.zfill(width)
        return digits if text == "${1}" else digits.str.replace(pattern, text).str.strip_chars()

    return shown


def _whole(numbers: pl.Series) -> pl.Series:
    is_whole = (numbers >= 0) & (numbers < 10**_MOST_DIGITS) & (numbers == numbers.floor())
    return numbers.set(~is_whole, None).cast(pl.Int64)


def _seconds(days: pl.Series, below: int) -> pl.Series:
    return (days.set(~((days >= 0) & (days < below)), None) * 86_400).round().cast(pl.Int64)


def _duration(days: pl.Series) -> pl.Series:
    seconds = _seconds(days, 10**7)
    return _clock((seconds // 3600).cast(pl.String), seconds)


def _time_of_day(days: pl.Series) -> pl.Series:
    """A time of day; null for a date that is shown without its day."""
    seconds = _seconds(days, 1)
    return _clock(_two_digits(seconds // 3600 % 24), seconds)


def _clock(hours: pl.Series, seconds: pl.Series) -> pl.Series:
    return hours + ":" + _two_digits(seconds // 60 % 60) + ":" + _two_digits(seconds % 60)


def _two_digits(numbers: pl.Series) -> pl.Series:
    return numbers.cast(pl.String).str.zfill(2)
