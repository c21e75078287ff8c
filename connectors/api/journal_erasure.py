"""A journal without some of its rows, for the erasure of a customer."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

import msgspec

from tranship.connectors.api.journal import entry_digest


def write_without(journal: Path, copy: Path, run_id: str, rows: Collection[int]) -> int:
    """Write a copy of a run's journal without the entries of these rows, and return their number. Raises sqlite3.Error.

    The copy has no free pages and no write-ahead log, in which erased entries could be left.
    """
    erased = 0
    with (
        contextlib.closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        target.execute("PRAGMA secure_delete=ON")
        entries = target.execute("SELECT number, place, kind, list FROM entries").fetchall()
        for number, place, kind, text in entries:
            listed: list[list[object]] = msgspec.json.decode(text)
            kept = [entry for entry in listed if entry[0] not in rows]
            if len(kept) < len(listed):
                erased += len(listed) - len(kept)
                left = msgspec.json.encode(kept).decode()
                digest = entry_digest(run_id, number, place, kind, left)
                target.execute("UPDATE entries SET list = ?, digest = ? WHERE number = ?", (left, digest, number))
        target.execute("VACUUM")
    return erased
