"""Values of settings in text form (limits, durations, rates, texts), and as numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from tranship.connectors import addresses


def _limit(value: Any) -> Any:
    """Return a limit as text: a count unchanged, a share (0.4) as a percentage (40%)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'{_kind(value)} is not a limit. Give a count (20) or a share (0.02 or "2%")')
    if not isinstance(value, float):
        return str(value)
    if not 0 <= value <= 1:
        raise ValueError(f"{value} is not a share. Give a count (20) or a share from 0 to 1 (0.02)")
    return f"{(Decimal(repr(float(value))) * 100).normalize():f}%"


def _duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str | timedelta):
        raise ValueError(f'{_kind(value)} is not a duration. Give a number with its unit ("30s") or a timedelta')
    if not isinstance(value, timedelta):
        return str(value)
    if value < timedelta():
        raise ValueError("a negative timedelta is not a duration")
    # Rounded up: 0 has a meaning of its own.
    return f"{-(-value // timedelta(milliseconds=1))}ms" if value else "0"


Limit = Annotated[str, BeforeValidator(_limit), Field(pattern=r"^\d+(\.\d+)?%$|^\d+$")]
"""A count (`20`) or a share (`2%`)."""

# With more digits, Python's own durations and times overflow.
_BUCKETS: Final = ("s3://", "gs://", "az://")
"""Beginnings of the addresses of state directories in buckets."""
_WITH_UNIT: Final = r"\d{1,15}ms|\d{1,12}s|\d{1,10}min|\d{1,9}h"

Duration = Annotated[str, BeforeValidator(_duration), Field(pattern=rf"^({_WITH_UNIT}|0)$")]
"""A number with its unit (`30s`, `10min`), or 0."""


Lookback = Annotated[str, BeforeValidator(_duration), Field(pattern=rf"^({_WITH_UNIT}|\d{{1,18}})$")]
"""A duration; or a plain number, for a cursor of whole numbers."""


def source_text(value: Any) -> Any:
    """Return a date, a time or a whole number as a source writes it; anything else unchanged."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def path_text(value: Any) -> Any:
    """Return a path object as text. Raises ValueError for a text that cannot be a path or a URL."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if text == "":  # as a path it would be the current folder, with every file in it
        raise ValueError("is empty: give a value (is a variable not set?)")
    if isinstance(text, str) and not is_path(text):
        raise ValueError("contains a character that no path can have")
    return text


def own_path(value: Any) -> Any:
    """Return the path of files of Tranship's own as text. Raises ValueError for a text that cannot be one."""
    text = path_text(value)
    return addresses.own_path(text) if isinstance(text, str) else text


def state_path(value: Any) -> Any:
    """Return the path of a state directory as text; of one in a bucket, that of its working copy. Raises ValueError,
    ConfigError and ConnectorError.
    """
    text = path_text(value)
    if isinstance(text, str) and text.startswith(_BUCKETS):
        from tranship.connectors.state_store import opening

        return str(opening.working_copy(text))
    return addresses.own_path(text) if isinstance(text, str) else text


def is_path(text: str) -> bool:
    """Return whether the operating system accepts the characters of a text in a path."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _several(value: Any) -> Any:
    """Return one text, or any collection of texts, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Set) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


def field_values(value: Any) -> Any:
    """Return values of fields as text: numbers and dates in the form of a source."""
    if not isinstance(value, Mapping):
        return value
    return {name: source_text(given) for name, given in value.items()}


def field_words(value: Any) -> Any:
    """Return the words of fields with their values as text."""
    if not isinstance(value, Mapping):
        return value
    return {name: field_values(words) for name, words in value.items()}


def sheet_text(value: Any) -> Any:
    """Return the number of a sheet as text."""
    return str(value) if type(value) is int else value


def option_values(value: Any) -> Any:
    """Return options of connectors as text, whether they are from a command, from TOML or from Python."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: str(given).lower() if isinstance(given, bool) else str(given) if isinstance(given, int | float) else given
        for name, given in value.items()
    }


def zone_name(value: Any) -> Any:
    """Return a time zone as its IANA name."""
    if isinstance(value, ZoneInfo) and value.key:
        return value.key
    return "UTC" if value is UTC else value


def _kind(value: Any) -> str:
    return {type(None): "None"}.get(type(value), type(value).__name__)


def source_or_sources(value: Any) -> Any:
    """Return a source as text, or several as a tuple of texts."""
    if isinstance(value, str | os.PathLike):
        return path_text(value)
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{_kind(value)} is not a source. Give a path, a URL or a list of them, or in Python a DataFrame, an "
            "Arrow table or an iterable of dicts"
        )
    if not value:
        raise ValueError("the list is empty: name at least one source")
    sources = tuple(map(path_text, value))
    if not all(isinstance(source, str) for source in sources):
        raise ValueError("is not text")
    return sources[0] if len(sources) == 1 else sources


def limit(value: str, of: int) -> float:
    """Return a limit (`2%` or `20`) as a number of records."""
    return float(value[:-1]) / 100 * of if value.endswith("%") else float(value)


def seconds(value: str) -> float:
    """Return a duration in seconds: `10min` is 600."""
    number = value.rstrip("himsn")
    return float(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "": 1}[value[len(number) :]]


def per_second(value: str) -> float:
    """Return a pace in calls per second: `100/min` is 1.67."""
    number, _, unit = value.partition("/")
    return float(number) / {"s": 1, "min": 60}[unit]
