"""Dicts in Python as JSON Lines, so that they are read like any JSON: one record per line, and keys of later records
are columns, too."""

from __future__ import annotations

import datetime
import enum
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from typing import Any, Final

import polars as pl

from tranship.connectors.errors import ConfigError
from tranship.connectors.files.arrow_columns import text_of_bytes, text_of_decimal

_LINES: Final = 1_000


def lines(records: Iterable[Any], name: str) -> Iterator[str]:
    """Yield the records as lines, many at a time, in ASCII. Raises ConfigError for one that is not a dict, or has a
    value that cannot be written as text. Exceptions of the iterable itself are not caught.
    """
    numbered = enumerate(records, 1)
    while some := [_line(record, f"<{name}>: record {number}") for number, record in islice(numbered, _LINES)]:
        yield "\n".join(some) + "\n"


def _line(record: Any, where: str) -> str:
    if not isinstance(record, Mapping):
        raise ConfigError(f"{where} is not a dict ({type(record).__name__}). Give an iterable of dicts.")
    try:
        # The usual case, at the speed of C. ASCII, so that any text can be written.
        return json.dumps(record if isinstance(record, dict) else dict(record), default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        try:
            return json.dumps(_cleaned(record))
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, TypeError) else "it is nested too deeply, or contains itself"
            raise ConfigError(f"{where} cannot be read: {reason}.") from error


def value_text(value: Any) -> str | None:
    """Return a single value as the text that is read from JSON: text as it is, numbers with all digits, others as JSON.

    Raises ConfigError for a value that has no text.
    """
    try:
        plain = _cleaned(value)
    except (TypeError, RecursionError) as error:
        raise ConfigError(f"{error}.") from error
    return plain if plain is None or isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _cleaned(value: Any) -> Any:
    """Return a value of JSON: NaN becomes null; infinite numbers and keys that are not text become text."""
    if isinstance(value, Mapping):
        found = {str(key): _cleaned(item) for key, item in value.items()}
        if len(found) < len(value):
            raise TypeError("two of its keys are the same text. Rename one")
        return found
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    return _cleaned(_plain(value))


def _plain(value: Any) -> Any:
    """Convert a value whose type JSON lacks to one that it has. Raises TypeError."""
    if type(value).__name__ in ("NaTType", "NAType"):
        return None  # of pandas, which need not be installed
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return pl.Series([value]).dt.to_string("iso").item()
    if isinstance(value, Decimal):
        return text_of_decimal(value) if value.is_finite() else None if value.is_nan() else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return text_of_bytes(bytes(value))
    if isinstance(value, uuid.UUID | PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=str)
    if callable(getattr(value, "tolist", None)):
        return value.tolist()  # of numpy
    raise TypeError(f"a value is of the type {type(value).__name__}, which has no text. Convert it first")
