"""Receipts of erasures, in `erased.json`: when, how many entries, in which files; never the value.

A plain digest of an address can be found by trying addresses, and a salt beside it does not help. A receipt therefore
has no digest at all, unless a key is in the environment: then it has an HMAC, by which a later erasure of the same
value is recognised, and which says nothing to those who do not have the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tranship.connectors import durable
from tranship.pipelines.retention.person import Person

FILE: Final = "erased.json"
KEY: Final = "TRANSHIP_RECEIPT_KEY"


def keep(state_dir: Path, person: Person, entries: Mapping[str, int], now: datetime) -> None:
    """Add a receipt."""
    receipt: dict[str, Any] = {
        "at": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "by": "email" if person.emails else "external_id",
        "entries": dict(entries),
    }
    if (mark := _mark(person)) is not None:
        receipt["mark"] = mark
    durable.write_json(state_dir / FILE, {"receipts": [*_read(state_dir), receipt]})


def earlier(state_dir: Path, person: Person) -> str | None:
    """Return when the same value was last erased, null if it was not or that is unknown."""
    mark = _mark(person)
    times = [str(receipt["at"]) for receipt in _read(state_dir) if mark and receipt.get("mark") == mark]
    return max(times, default=None)


def _read(state_dir: Path) -> list[dict[str, Any]]:
    try:
        return list(durable.read_json(state_dir / FILE).get("receipts", []))
    except FileNotFoundError:
        return []


def _mark(person: Person) -> str | None:
    key = os.environ.get(KEY)
    value = "\n".join([*sorted(person.emails), *sorted(person.ids)])
    return hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest() if key else None
