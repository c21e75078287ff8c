"""The downloaded pages of one list on disk, with check sums, so that an interrupted read can go on."""

from __future__ import annotations

import os
import zlib
from io import FileIO
from pathlib import Path
from typing import TypeAlias

import msgspec

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError


class Page(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", tag="page"):
    """One page on disk: `number` counts from 1 in the order of the list, `asked` is its cursor or number."""

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
    """Of the first page: when the provider gave it, by its own clock (RFC 9110)."""


class _End(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    """The last line of an index: the pass is complete, with so many pages."""

    pages: int


_Entry: TypeAlias = Page | _End


class PageStore:
    """The pages of one pass: `data` holds their records as they came (commas between them, no brackets), `index` a
    line for each. A page counts when its line is whole and its bytes are those it was written with.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            durable.put_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        for file in (self.data, folder / "index"):
            if file.is_dir():
                durable.put_aside(file)
        # Unbuffered: what cannot be written shows where it is written, and not when the file is closed.
        self._data = self.data.open("a+b", buffering=0)
        self._index = (folder / "index").open("a+b", buffering=0)
        self.pages: list[Page] = []
        """In the order in which they came."""
        self.ended: int | None = None
        """Number of pages, when the pass is complete."""
        self._recall()

    def add(self, page: Page, records: bytes) -> Page:
        """Put a page away; its place and check sum are filled in. Raises ConfigError."""
        offset = self._data.seek(0, os.SEEK_END)
        self._append(self._data, records)
        return self._keep(msgspec.structs.replace(page, offset=offset, size=len(records)), records)

    def adopt(self, page: Page) -> Page:
        """Note a page whose bytes are in `data` already. Raises ConfigError."""
        return self._keep(page, self.read(page))

    def end(self, pages: int) -> None:
        """The pass is complete. Raises ConfigError."""
        self.ended = pages
        self._append(self._index, _line(_End(pages)))

    def read(self, page: Page) -> bytes:
        """The records of a page, in any thread."""
        return os.pread(self._data.fileno(), page.size, page.offset)

    def clear(self) -> None:
        """Forget everything."""
        self._index.truncate(0)
        self._data.truncate(0)
        self.pages, self.ended = [], None

    def close(self) -> None:
        """Close the files."""
        self._data.close()
        self._index.close()

    def _keep(self, page: Page, records: bytes) -> Page:
        kept = msgspec.structs.replace(page, check=zlib.crc32(records))
        self._append(self._index, _line(kept))
        self.pages.append(kept)
        return kept

    def _append(self, file: FileIO, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written ({error.strerror}). Make room there.") from error

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
    """An entry as JSON, with a check sum in front: half a line, or one that was spoilt, is none."""
    content = msgspec.json.encode(entry)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def _parse_line(line: bytes) -> _Entry | None:
    check, _, content = line[:-1].partition(b" ")
    if line[-1:] != b"\n" or check != b"%08x" % zlib.crc32(content):
        return None
    entry: _Entry = msgspec.json.decode(content, type=_Entry)
    return entry
