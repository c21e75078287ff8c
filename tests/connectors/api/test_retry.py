"""Pauses between the tries of a request, and Retry-After in all its forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tranship.connectors.api.retry import RetryPolicy, random_pause, retry_after

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 13:00:10 +9999999999999999"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 9999999999999999999999:00:10 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -0100"}, None),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        ({"Retry-After": "Sat, 21 Nov 2026 13:00:10 +0100"}, 610 - 600),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"retry-after-ms": "x", "Retry-After": "9"}, 9),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_pauses_are_of_random_length_and_grow() -> None:
    retry_policy = RetryPolicy(tries=7, first_pause=0.02, longest_pause=0.3)
    for nth, longest in enumerate((0.02, 0.04, 0.08, 0.16, 0.3, 0.3)):
        pauses = [random_pause(retry_policy, nth) for _ in range(200)]
        assert longest / 2 < max(pauses) <= longest
        assert min(pauses) < longest / 2
