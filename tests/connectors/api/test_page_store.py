"""Pages on disk, and the ids that are held beside them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tranship.connectors.api import page_store
from tranship.connectors.api.page_store import Page, PageStore
from tranship.connectors.json_text.scanner import RecordIds


def ids_of(number: int) -> RecordIds:
    return RecordIds(pl.Series([f"{number}-1", f"{number}-2"]), None)


def page(number: int) -> Page:
    return Page(number, str(number), 0, 0, 2, 0)


def test_ids_are_held_until_they_are_taken_and_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_store, "_MOST_HELD", 5)
    store = PageStore(tmp_path)
    added = [store.add(page(number), b'{"id":"x"}', ids_of(number)) for number in (1, 2, 3)]
    assert store.take_ids(added[2]) is None  # there was no room
    assert [found.ids.to_list() for stored in added[:2] if (found := store.take_ids(stored))] == [
        ["1-1", "1-2"],
        ["2-1", "2-2"],
    ]
    assert store.take_ids(added[0]) is None
    later = store.add(page(4), b'{"id":"x"}', ids_of(4))
    assert store.take_ids(later) is not None
    store.close()
    again = PageStore(tmp_path)
    assert [found.number for found in again.pages] == [1, 2, 3, 4]
    assert again.take_ids(later) is None
    again.close()
