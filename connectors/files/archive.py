"""Zip archives: their members as files, each read from the archive without unpacking it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import formats
from tranship.connectors.files.formats import Format
from tranship.connectors.files.storage import Copy, File, grows_too_much
from tranship.schemas.counted import counted

_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
"""Errors that the library raises for damaged, unsupported and encrypted archives."""
_END: Final = struct.Struct("<4s4H2LH")
"""The end of the directory: mark, two numbers of disks, number of entries here and in all, size and place of the
directory, length of the comment.
"""
_END_MARK: Final = b"PK\x05\x06"
_MANY: Final = 1 << 16
"""With as many entries or more, the number in the end is that of its 16 bits, or the largest one."""
_KINDS: Final = (
    ("xl/workbook.xml", formats.EXCEL),
    ("xl/workbook.bin", formats.BINARY_EXCEL),
    ("word/document.xml", formats.WORD),
    ("ppt/presentation.xml", formats.SLIDES),
    ("Index/Document.iwa", formats.NUMBERS),
)
"""A member that occurs only in documents of this format."""
_OPEN_DOCUMENTS: Final = {"spreadsheet": formats.OPEN_DOCUMENT, "text": formats.WORD, "presentation": formats.SLIDES}


class Archive:
    """An open zip archive. Raises ConfigError if it cannot be read."""

    def __init__(self, file: File) -> None:
        self._copy = Copy(file) if file.once or not file.seekable else None
        self._file = replace(self._copy.file, seekable=True) if self._copy else file
        self._raw = self._file.open()
        try:
            self._zip = zipfile.ZipFile(self._raw)
        except _DAMAGE as error:
            self.close()
            raise ConfigError(
                f"{file.name}: the zip archive is damaged, incomplete or one part of several ({_why(error)}). "
                "Download or copy it again."
            ) from error

    @property
    def file(self) -> File:
        """The archive, which can be opened again as long as it is not closed."""
        return self._file

    @property
    def document(self) -> Format | None:
        """The format of a document that is a zip archive inside, such as an Excel workbook; null for plain archives."""
        names = set(self._zip.namelist())
        for member, found in _KINDS:
            if member in names:
                return found
        if "mimetype" in names:
            with _Member(self._zip, self._zip.getinfo("mimetype"), self._file.name) as opened:
                kind = opened.read(100).decode("latin-1")
            return next((found for word, found in _OPEN_DOCUMENTS.items() if f"opendocument.{word}" in kind), None)
        return None

    def members(self) -> list[File]:
        """Return the members, folders excepted, sorted by name. Raises ConfigError if one of them cannot be trusted."""
        # `is_dir` fails on a member without a name.
        infos = [info for info in self._zip.infolist() if info.file_size or not info.filename.endswith("/")]
        self._must_have_all(len(self._zip.infolist()))
        for info in infos:
            self._check_name(info)
        names = [info.filename for info in infos]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(
                f"{self._file.name}: contains two members named {twice!r}, so it is unclear which one is meant. "
                "Unpack the one to load."
            )
        size = sum(info.file_size for info in infos)
        # Members that share their bytes unpack to more than the sizes in their headers.
        packed = max(1, min(sum(info.compress_size for info in infos), self._raw.seek(0, io.SEEK_END)))
        if grows_too_much(packed, size):
            raise ConfigError(
                f"{self._file.name}: would grow {size // packed:,} times, to {size >> 20:,} MB: this looks like a zip "
                "bomb. If you trust it, unpack it and name the files in it."
            )
        return [self._member(info) for info in sorted(infos, key=lambda info: info.filename)]

    def close(self) -> None:
        """Close the archive and remove its copy."""
        if hasattr(self, "_zip"):
            self._zip.close()
        self._raw.close()
        if self._copy:
            self._copy.close()

    def _must_have_all(self, count: int) -> None:
        """Raise ConfigError if the directory has another number of entries than its end says: the library reads on."""
        end = self._raw.seek(0, io.SEEK_END) - _END.size - len(self._zip.comment)
        self._raw.seek(max(end, 0))
        mark, *_, entries, _, _, _ = _END.unpack(self._raw.read(_END.size).ljust(_END.size, b"\0"))
        if mark == _END_MARK and entries not in (count % _MANY, _MANY - 1):
            raise ConfigError(
                f"{self._file.name}: the zip archive is damaged: it should have {counted(entries, 'member')}, and has "
                f"{count:,}. Download or copy it again."
            )

    def _check_name(self, info: zipfile.ZipInfo) -> None:
        if not info.filename or info.filename.endswith("/"):
            raise ConfigError(
                f"{self._file.name}: the zip archive is damaged: a member has no name. Download or copy it again."
            )
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise ConfigError(
                f"{self._file.name}: a member is named {info.filename!r}, which leads out of the archive. It may be an "
                "attack; nothing was read from it."
            )

    def _member(self, info: zipfile.ZipInfo) -> File:
        name = f"{self._file.name}/{redacted(info.filename)}"

        def opener() -> BinaryIO:
            return io.BufferedReader(_Member(self._zip, info, name), 1 << 20)

        changed = None if self._file.changed is None else f"{self._file.changed} {info.CRC:08x}"
        size = None if self._file.once else info.file_size
        return File(name, size, changed, opener, (*self._file.place, info.header_offset), seekable=False)


class _Member(io.RawIOBase):
    """The contents of a member. Raises ConfigError for what the library cannot unpack."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> None:
        self._name = name
        if info.flag_bits & 1:
            raise ConfigError(
                f"{name}: is encrypted in the zip archive. Unpack it with its password first, and name the files in it."
            )
        self._raw: Any = self._tried(lambda: archive.open(info))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._tried(lambda: self._raw.read(len(buffer)))
        buffer[: len(data)] = memoryview(data)
        return len(data)

    def close(self) -> None:
        if hasattr(self, "_raw"):
            self._raw.close()
        super().close()

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except NotImplementedError as error:
            raise ConfigError(
                f"{self._name}: cannot be unpacked here ({_why(error)}). Unpack the archive and name the files in it."
            ) from error
        except _DAMAGE as error:
            raise ConfigError(
                f"{self._name}: is damaged in the zip archive ({_why(error)}). Nothing was loaded from it; "
                f"download or copy "
                "the archive again."
            ) from error


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
