"""Downloaded pages of a list on disk, with checksums, so that an interrupted read can continue."""

from __future__ import annotations

import os
import zlib
from io import FileIO
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from tranship.connectors import durable
from tranship.connectors.json_text.scanner import RecordIds
from tranship.connectors.local_failures import unwritable

_MOST_HELD: Final = 1 << 17
"""The most records whose ids are held in memory, about 10 MB; those of others are decoded again."""


class Page(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", tag="page"):
    """A page on disk: `number` counts from 1 in the order of the list, `asked` is its cursor or number."""

    number: int
    asked: str
    offset: int
    size: int
    count: int
    check: int
    total: int | None = None
    next: str | None = None
    more: bool | None = None
    date: str | None = None
    """Of the first page: its time by the provider's clock (the `Date` header, RFC 9110)."""


class _End(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    """The last line of an index: the download is complete, with this number of pages."""

    pages: int


_Entry: TypeAlias = Page | _End


class PageStore:
    """The pages of one download: `data` has their records as received (separated by commas, without brackets), `index`
    a line for each page. A page is valid if its line is complete and its bytes match the checksum.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            durable.move_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        for file in (self.data, folder / "index"):
            if file.is_dir():
                durable.move_aside(file)
        # Unbuffered: an error shows when writing, not when closing.
        self._data = self.data.open("a+b", buffering=0)
        self._index = (folder / "index").open("a+b", buffering=0)
        self.pages: list[Page] = []
        """In order of arrival."""
        self.ended: int | None = None
        """The number of pages, once the download is complete."""
        self._ids: dict[int, RecordIds] = {}
        # Two counts, as one thread adds pages and another takes their ids.
        self._held = self._taken = 0
        self._recall()

    def add(self, page: Page, records: bytes, ids: RecordIds | None = None) -> Page:
        """Store a page; fill in its place and checksum. Its ids are held, if there are not too many. Raises
        ConfigError.
        """
        if ids and self._held - self._taken + page.count <= _MOST_HELD:
            self._held += page.count
            self._ids[page.number] = ids
        offset = self._data.seek(0, os.SEEK_END)
        self._append(self._data, records)
        return self._keep(replace(page, offset=offset, size=len(records)), records)

    def adopt(self, page: Page) -> Page:
        """Register a page whose bytes are in `data` already. Raises ConfigError."""
        return self._keep(page, self.read(page))

    def end(self, pages: int) -> None:
        """Mark the download as complete. Raises ConfigError."""
        self.ended = pages
        self._append(self._index, _line(_End(pages)))

    def read(self, page: Page) -> bytes:
        """Return the records of a page. Callable from any thread."""
        return os.pread(self._data.fileno(), page.size, page.offset)

    def take_ids(self, page: Page) -> RecordIds | None:
        """Return the ids of a page, once; null if they are not held. Callable from one other thread."""
        ids = self._ids.pop(page.number, None)
        self._taken += page.count if ids else 0
        return ids

    def clear(self) -> None:
        """Delete all pages."""
        self._index.truncate(0)
        self._data.truncate(0)
        self.pages, self.ended = [], None

    def close(self) -> None:
        """Close the files."""
        self._data.close()
        self._index.close()

    def _keep(self, page: Page, records: bytes) -> Page:
        kept = replace(page, check=zlib.crc32(records))
        self._append(self._index, _line(kept))
        self.pages.append(kept)
        return kept

    def _append(self, file: FileIO, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise unwritable(error, self.folder) from error

    def _recall(self) -> None:
        good = 0
        self._index.seek(0)
        for line in self._index.read().splitlines(keepends=True):
            found = _parse_line(line)
            if isinstance(found, Page) and zlib.crc32(self.read(found)) == found.check:
                self.pages.append(found)
            elif isinstance(found, _End):
                self.ended = found.pages
            else:
                break
            good += len(line)
        self._index.truncate(good)


def _line(entry: _Entry) -> bytes:
    """Return an entry as JSON after its checksum, so that partial or damaged lines are recognised."""
    content = msgspec.json.encode(entry)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def _parse_line(line: bytes) -> _Entry | None:
    check, _, content = line[:-1].partition(b" ")
    if line[-1:] != b"\n" or check != b"%08x" % zlib.crc32(content):
        return None
    entry: _Entry = msgspec.json.decode(content, type=_Entry)
    return entry
