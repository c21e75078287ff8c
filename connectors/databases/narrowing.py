"""Leave out old records in the query of a source, as SQL for DuckDB and Postgres.

The condition is certain, not exact: it leaves out only records that the run would leave out as well, whatever the time
zone of the session and of the run. Values that may turn out to be unreadable are kept.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from tranship.connectors.databases.quoting import literal, quoted
from tranship.schemas.customer import YEARS

_ZONED: Final = re.compile(r"timestamp(?: with time zone|tz)", re.IGNORECASE)
_NAIVE: Final = re.compile(r"date|datetime|timestamp(?: without time zone|_s|_ms|_ns)?", re.IGNORECASE)
_WHOLE: Final = re.compile(r"u?(?:tiny|small|big)?int(?:eger)?|int[248]", re.IGNORECASE)
_MARGIN: Final = timedelta(days=1)
"""More than the offset of any time zone, for values without one."""


def condition(column: str, dtype: str, since: datetime | int) -> str | None:
    """Return the condition for records that may be read; null if it does not follow from the type of the column."""
    name = quoted(column)
    if isinstance(since, int):
        return f"({name} >= {since} OR {name} IS NULL)" if _WHOLE.fullmatch(dtype) else None
    if _ZONED.fullmatch(dtype):
        kind, margin = "timestamptz", timedelta()
    elif _NAIVE.fullmatch(dtype):
        kind, margin = "date" if dtype.lower() == "date" else "timestamp", _MARGIN
    else:
        return None
    earliest: datetime = YEARS["min_value"]
    bound, first = _text(max(since, earliest) - margin, kind), _text(earliest + _MARGIN, kind)
    return f"({name} >= {bound} OR {name} < {first} OR {name} IS NULL)"


def _text(at: datetime, kind: str) -> str:
    at = at.astimezone(UTC)
    text = at.date().isoformat() if kind == "date" else at.replace(tzinfo=None).isoformat(" ", "microseconds")
    return f"{literal(text + ('+00' if kind == 'timestamptz' else ''))}::{kind}"
