"""Text search in many records: one long string is searched instead of a million short ones."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

_BETWEEN: Final = b"\xff"
"""Separator between two texts; UTF-8 never contains this byte."""


class Haystack:
    """Key → text, searchable by substring. Changes are kept separately until there are many."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self._settle((key, text.encode()) for key, text in texts)

    def put(self, key: str, text: str) -> None:
        """Add a text or replace it."""
        self._changed[key] = text.encode()
        self._tidy()

    def drop(self, key: str) -> None:
        """Remove a text."""
        self._changed[key] = None
        self._tidy()

    def find(self, needle: str) -> list[str]:
        """Return the keys of the texts that contain the needle (not empty), in no particular order."""
        sought = needle.encode(errors="replace")
        found = [key for key, text in self._changed.items() if text is not None and sought in text]
        offset = self._long.find(sought)
        while offset >= 0:
            place = bisect_right(self._starts, offset) - 1
            if self._keys[place] not in self._changed:
                found.append(self._keys[place])
            offset = self._long.find(sought, self._starts[place + 1])
        return found

    def _tidy(self) -> None:
        if len(self._changed) > 1000 + len(self._keys) // 10:
            self._settle(self._texts())

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        for place, key in enumerate(self._keys):
            if key not in self._changed:
                yield key, self._long[self._starts[place] : self._starts[place + 1] - 1]
        for key, text in self._changed.items():
            if text is not None:
                yield key, text

    def _settle(self, texts: Iterable[tuple[str, bytes]]) -> None:
        keys, contents = [], []
        for key, text in texts:
            keys.append(key)
            contents.append(text)
        starts = array("q", [0])
        for text in contents:
            starts.append(starts[-1] + len(text) + 1)
        self._keys, self._starts, self._long = keys, starts, _BETWEEN.join(contents)
        self._changed: dict[str, bytes | None] = {}
