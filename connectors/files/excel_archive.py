"""The ZIP archive of an Excel workbook: the kind of file, its sheets and number formats.

Nothing is handed to the library that reads the cells before the archive has been checked: its directory may not promise
more than `MOST_BYTES`, nor so much more than the file's own size that only a ZIP bomb could.
"""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Final
from xml.etree import ElementTree

import pyarrow as pa
from msgspec import Struct

from tranship.connectors.errors import ConfigError

MOST_BYTES: Final = 16 << 30
"""Limit for all parts of a workbook, unpacked: a full sheet of 60 columns has less."""
_ALWAYS_FINE: Final = 64 << 20
_MOST_TIMES: Final = 100
"""Unpacked, a larger part is at most this many times its packed size; the XML of sheets has 5 to 30 times."""
_MOST_XML: Final = 64 << 20
"""Limit for a part that is read as a tree: the list of sheets, the styles."""
_PIECE: Final = 2 << 20
"""Pieces that fit into the cache of a processor are searched fastest."""
_MOST_ROW: Final = 64 << 20
"""The longest row in bytes of XML."""

_OF_ZIP: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, OSError, ValueError),
)
"""Exceptions of the standard library for a damaged archive."""
_LOCAL_HEADER: Final = 30
"""Bytes of the header in front of a part, without its name and extra fields, whose sizes are at its end."""
_GZIP: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""The header of gzip. Its trailer has the checksum and the size, as the directory of the archive does."""
_WORKSHEET: Final = "/worksheet"
_NEEDED: Final = ("/styles", "/sharedStrings")
_DAMAGED: Final = (
    "is a damaged or incomplete workbook ({}). Nothing was loaded from it. Open it in Excel, which may repair it, or "
    "download it again"
)


class Sheet(Struct, frozen=True):
    """A sheet with cells: its name, whether it is hidden, and its part of the archive."""

    name: str
    hidden: bool
    part: str


class Archive:
    """The parts of a workbook. Raises ConfigError if the bytes are not a workbook, or one of unreasonable size."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data
        _must_be_zip(name, data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _OF_ZIP as error:
            raise self.damaged(error) from error
        # An entry may have no name at all.
        self._entries = [part for part in self._zip.infolist() if not part.filename.endswith(("/", "\\"))]
        self._parts = {self._key(part.filename): part for part in self._entries}
        self._must_be_workbook()
        self._must_be_reasonable()
        self.sheets = self._listed()

    def damaged(self, error: BaseException | str) -> ConfigError:
        """Return the error for a workbook that cannot be read."""
        return ConfigError(f"{self._name}: {_DAMAGED.format(' '.join(str(error).split())[:200])}.")

    def pieces(self, part: str) -> Iterator[bytes]:
        """Yield the bytes of a part. Raises ConfigError if it is damaged or longer than its size in the directory."""
        found = self._parts.get(self._key(part))
        if found is None:
            raise self.damaged(f"{part} is missing")
        if found.flag_bits & 1:
            raise ConfigError(f"{self._name}: is a ZIP archive with a password. Unpack it and name the workbook.")
        try:
            # The next piece is unpacked while this one is searched.
            with self._opened(found) as content, ThreadPoolExecutor(1) as beside:
                ahead = beside.submit(content.read, _PIECE)
                left = found.file_size
                while piece := ahead.result():
                    left -= len(piece)
                    if left < 0:
                        raise self.damaged(f"{part} is longer than the directory says")
                    ahead = beside.submit(content.read, _PIECE)
                    yield piece
                if left:
                    raise self.damaged(f"{part} is shorter than the directory says")
        except _OF_ZIP as error:
            raise self.damaged(error) from error

    def _opened(self, part: zipfile.ZipInfo) -> IO[bytes] | pa.CompressedInputStream:
        """Open a part for reading. A large one is unpacked by Arrow, as gzip, in two thirds of the time."""
        content = self._zip.open(part)
        if part.compress_type != zipfile.ZIP_DEFLATED or part.compress_size < _PIECE:
            return content
        # The local header, which has just been checked, has a name and extra fields of its own.
        sizes = struct.unpack_from("<HH", self._data, part.header_offset + _LOCAL_HEADER - 4)
        start = part.header_offset + _LOCAL_HEADER + sum(sizes)
        end = struct.pack("<II", part.CRC, part.file_size & 0xFFFFFFFF)
        packed = b"".join((_GZIP, memoryview(self._data)[start : start + part.compress_size], end))
        return pa.CompressedInputStream(pa.BufferReader(packed), "gzip")

    def rows(self, part: str, end: bytes) -> Iterator[bytes]:
        """Yield the XML of a sheet, cut behind rows: each piece but the last ends with `end`. Raises ConfigError."""
        held = b""
        for piece in self.pieces(part):
            # An end that two pieces share is passed over: the next one is as good.
            cut = piece.rfind(end) + len(end)
            if cut >= len(end):
                yield b"".join((held, memoryview(piece)[:cut]))
                held = piece[cut:]
            else:
                held += piece
                if len(held) > _MOST_ROW:
                    raise self.damaged(f"a row of more than {_MOST_ROW >> 20} MB")
        yield held

    def has(self, part: str) -> bool:
        """Return whether there is such a part."""
        return self._key(part) in self._parts

    def tree(self, part: str) -> ElementTree.Element:
        """Return a small part as XML. Raises ConfigError."""
        found = self._parts.get(self._key(part))
        if found is not None and found.file_size > _MOST_XML:
            raise self.damaged(f"{part} is larger than {_MOST_XML >> 20} MB")
        try:
            # Entities are not expanded without a limit: expat stops where they would grow.
            return ElementTree.fromstring(b"".join(self.pieces(part)))  # noqa: S314
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise self.damaged(f"{part}: {error}") from error

    @staticmethod
    def _key(part: str) -> str:
        return part.replace("\\", "/").lstrip("/").lower()

    def _must_be_workbook(self) -> None:
        if "xl/workbook.xml" in self._parts:
            if len(self._parts) < len(self._entries):
                raise self.damaged("a part occurs twice")
            return
        raise ConfigError(f"{self._name}: is a ZIP archive without a workbook. Unpack it and name the file in it.")

    def _must_be_reasonable(self) -> None:
        parts = self._parts.values()
        total = sum(part.file_size for part in parts)
        huge = [
            part
            for part in parts
            if part.file_size > _ALWAYS_FINE and part.file_size > _MOST_TIMES * max(part.compress_size, 1)
        ]
        if huge or total > MOST_BYTES:
            size = max(huge, key=lambda part: part.file_size).file_size if huge else total
            raise ConfigError(
                f"{self._name}: would unpack to {size / (1 << 30):.1f} GB, which no real workbook of this size does. "
                "Save the sheet as CSV."
            )

    def _listed(self) -> list[Sheet]:
        targets = {}
        for relation in self.tree("xl/_rels/workbook.xml.rels"):
            target = relation.get("Target", "").replace("\\", "/")
            path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"xl/{target}")
            if ".." in target:
                raise self.damaged(f"a sheet is in {target}")
            if relation.get("Type", "").endswith(_NEEDED) and not self.has(path):
                raise self.damaged(f"{path} is missing")
            if relation.get("Type", "").endswith(_WORKSHEET):
                targets[relation.get("Id", "")] = path
        sheets = []
        for element in self.tree("xl/workbook.xml").iter():
            if _local(element.tag) != "sheet":
                continue
            relation_id = next((value for key, value in element.attrib.items() if _local(key) == "id"), "")
            if relation_id in targets:
                hidden = element.get("state", "visible") != "visible"
                sheets.append(Sheet(element.get("name", ""), hidden, targets[relation_id]))
        if len({sheet.name for sheet in sheets}) < len(sheets):
            raise self.damaged("two sheets have the same name")
        return sheets

    def number_formats(self) -> list[str | int]:
        """Return the number format of each cell style: its code, or the number of a built-in one."""
        if not self.has("xl/styles.xml"):
            return []
        root = self.tree("xl/styles.xml")
        codes = {
            element.get("numFmtId", ""): element.get("formatCode", "")
            for element in root.iter()
            if _local(element.tag) == "numFmt"
        }
        for element in root.iter():
            if _local(element.tag) == "cellXfs":
                numbers = [style.get("numFmtId", "0") for style in element if _local(style.tag) == "xf"]
                return [codes.get(number) or (int(number) if number.isdecimal() else 0) for number in numbers]
        return []


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _must_be_zip(name: str, data: bytes) -> None:
    """Raise ConfigError if a file is not a ZIP archive. Other known formats were refused before (`formats.py`)."""
    if data.startswith(b"PK\x03\x04"):
        return
    if not data.strip(b"\0 \t\r\n"):
        raise ConfigError(f"{name}: is empty. Export it again.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or not re.search(rb"[\0-\x08\x0e-\x1f]", data[:4096]):
        raise ConfigError(
            f"{name}: is text with the name of a workbook. If it is CSV, give it a name that ends in .csv."
        )
    raise ConfigError(f"{name}: is not an Excel workbook. Export the data as .xlsx or CSV.")
