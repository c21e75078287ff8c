"""Times in the headers of a response."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def http_date(text: str | None) -> datetime | None:
    """Return the time that a header states (RFC 9110), in UTC; null if there is none, or none that can be read. A time
    without a zone is in UTC.
    """
    # A zone or a year with many digits overflows.
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    return None
