"""A hand-worked case for the rules of one field: a record, and the result that both the oracle and the product must
return. The expectations were worked out from the rules by hand, never copied from a run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

BASE = {"external_id": "c1", "name": "Acme"}
"""A valid record; a field case replaces some of its fields with its own values."""


class FieldCase(NamedTuple):
    field: str
    wire: str | None
    extra: dict[str, str | None]
    value: Any  # normalised; null where the record is rejected, too
    rejects: tuple[str, ...] = ()  # sorted
    warnings: tuple[str, ...] = ()

    def row(self) -> dict[str, str | None]:
        return {**BASE, **self.extra, self.field: self.wire}


def good(field: str, wire: str | None, value: Any, *warnings: str, **extra: str | None) -> FieldCase:
    return FieldCase(field, wire, extra, value, (), warnings)


def bad(field: str, wire: str | None, *codes: str, **extra: str | None) -> FieldCase:
    """Return a case with a value that breaks a rule: the record is rejected if every customer needs the field, else
    only the value is left out."""
    costs_record = codes[0].split(".")[0] in ("external_id", "email", "name", "identity")
    if costs_record:
        return FieldCase(field, wire, extra, None, codes)
    return FieldCase(field, wire, extra, {field: wire} if field == "metadata" else None, (), codes)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, us: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, us, tzinfo=UTC)
