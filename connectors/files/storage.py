"""Files as bytes: how they are opened and decompressed.

`connectors/files/locating.py` finds them. gzip and zstd are recognised by their first bytes, whatever the name is.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors import known_secrets
from tranship.connectors.errors import ConfigError

STDIN_NAME = "standard input"

_MOST_EXPANSION: Final = 300
"""Data compressed by more than this factor are not a list of customers."""
_HARMLESS_BYTES: Final = 1 << 30
"""This many bytes may be unpacked, whatever the factor."""
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_HEAD_BYTES = 1 << 16


class File(Struct, frozen=True):
    """One input file: its name for people, its size in bytes (null if unknown), and how to open it."""

    name: str
    size: int | None
    changed: str | None
    opener: Callable[[], BinaryIO]
    place: tuple[Any, ...] = ()
    """Identifies the file, whatever its name: device and inode, or bucket and key."""
    also: list[str] = field(default_factory=list)
    """Further names under which it was given."""
    remarks: tuple[str, ...] = ()
    """Notes for people on how it was found."""
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    """Columns that its folders give: `ds=2024-01-01/` is `ds`. Null is the absence of a value."""
    address: str = ""
    """The address that opens this file alone, if there is one."""
    called: str = ""
    """The name from which its format is recognised, if that is not `name`."""
    seekable: bool = True
    """Whether the file is seekable, which some formats require."""
    tag: str = ""
    """The entity tag of an object in a bucket."""
    container: File | None = None
    """The archive whose first table it is."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for people on how the file was given."""
        given = f"is given more than once (also as {', '.join(self.also)}); it is read once"
        around = self.container.notes if self.container else ()
        return (*around, *((given,) if self.also else ()), *self.remarks)

    @property
    def kind_name(self) -> str:
        """The name from which its format is recognised."""
        return self.called or self.name

    @property
    def once(self) -> bool:
        """Whether it can be read only once: a pipe, a device, standard input."""
        return self.size is None

    def open(self) -> BinaryIO:
        """Return the file's bytes, compressed or not. Raises ConfigError if it cannot be opened."""
        try:
            return self.opener()
        except OSError as error:
            raise ConfigError(
                f"{self.name}: cannot be opened ({_why(error)}). Check its path and permissions."
            ) from error

    def must_be_as_it_was(self, content: Bytes) -> None:
        """Raise ConfigError if the size of a file that was read to its end has changed since the run began."""
        if self.once:
            return
        size = content.size_now
        if size is not None and size != self.size:
            raise ConfigError(
                f"{self.name}: changed while it was read ({self.size:,} bytes when the run began, {size:,} now), so "
                "its last line may be cut off. Nothing was written; repeat the command when the file is complete."
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return `name`, `size` (bytes, null if unknown) and `changed` (ISO 8601, UTC, null if unknown)."""
        return {"name": self.name, "size": self.size, "changed": self.changed}


Seen = dict[tuple[Any, ...], File]
"""Place → file, of the files that a run reads."""
IsTable = Callable[[str], bool]
"""Whether a file of a folder is read, by its name in lower case."""


class Bytes:
    """The contents of a file in large pieces, decompressed, and the position in the file itself."""

    def __init__(self, file: File, piece: int = 8 << 20) -> None:
        self._file = file
        self._piece = piece
        self._raw = file.open()
        self._position = 0

    @property
    def position(self) -> int:
        """The number of bytes read from the file itself, before decompression."""
        return self._position

    @property
    def size_now(self) -> int | None:
        """The current size of the file in bytes, null if it is known only after reading to its end."""
        try:
            return os.fstat(self._raw.fileno()).st_size
        except OSError:
            return None

    def __iter__(self) -> Iterator[bytes]:
        head = self._read(self._piece)
        codec = _codec(head)
        if codec is None:
            while head:
                yield head
                head = self._read(self._piece)
            return
        stream = pa.CompressedInputStream(pa.PythonFile(_Prefixed(head, self._read), mode="r"), codec)
        unpacked = 0
        try:
            while piece := stream.read(self._piece):
                unpacked += len(piece)
                if grows_too_much(self._position, unpacked):
                    raise ConfigError(
                        f"{self._file.name}: grows {unpacked // self._position:,} times or more when it is "
                        "decompressed: this looks like a decompression bomb. If you trust it, decompress it and name "
                        "that file."
                    )
                yield piece
        except OSError as error:
            raise ConfigError(
                f"{self._file.name}: the {codec} data ends in the middle; it is incomplete or damaged. "
                "Nothing was loaded from it; download or copy it again."
            ) from error

    def _read(self, count: int) -> bytes:
        try:
            data = self._raw.read(count)
        except OSError as error:
            raise ConfigError(f"{self._file.name}: reading failed ({_why(error)}).") from error
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file, except standard input."""
        if self._file.name != STDIN_NAME:
            self._raw.close()


def grows_too_much(packed: int, unpacked: int) -> bool:
    """Return whether data are compressed by more than a list of customers can be."""
    return unpacked > _HARMLESS_BYTES and unpacked > packed * _MOST_EXPANSION


def decompressed(head: bytes, count: int) -> bytes | None:
    """Return the first bytes of the contents of a file that begins with `head`; null if it is not compressed."""
    codec = _codec(head)
    if codec is None:
        return None
    try:
        return bytes(pa.CompressedInputStream(pa.BufferReader(head), codec).read(count))
    except OSError:
        return b""  # damaged, which is reported when it is read


def _codec(head: bytes) -> str | None:
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)


def peeked(file: File, closers: contextlib.ExitStack) -> tuple[bytes, File]:
    """Return the first bytes of a file, and the file to be read from now on: one that can be read only once stays open
    until `closers` ends.
    """
    raw = file.open()
    if file.once and file.name != STDIN_NAME:
        closers.enter_context(raw)
    try:
        head = b""
        while len(head) < _HEAD_BYTES and (piece := raw.read(_HEAD_BYTES - len(head))):
            head += piece
    except OSError as error:
        raise ConfigError(f"{file.name}: reading failed ({_why(error)}).") from error
    finally:
        if not file.once:
            raw.close()
    if not file.once:
        return head, file
    return head, replace(file, opener=lambda: cast(BinaryIO, _Prefixed(head, raw.read)))


class _Prefixed(io.RawIOBase):
    """A stream of the bytes that were read already, then the rest."""

    def __init__(self, head: bytes, rest: Callable[[int], bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            taken, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return taken
        return self._rest(size)


class Copy:
    """A copy on disk of what can be read only once, as long as it is not closed. Raises ConfigError."""

    def __init__(self, file: File) -> None:
        self._copy = tempfile.NamedTemporaryFile()  # noqa: SIM115  (open until `close`)
        try:
            with file.open() as pipe:
                shutil.copyfileobj(pipe, self._copy, 1 << 20)
            self._copy.flush()
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{file.name}: cannot be copied to {tempfile.gettempdir()} ({error.strerror})."
            ) from error
        path = Path(self._copy.name)
        self.file = replace(file, opener=lambda: path.open("rb"))
        """The file, which can be opened again and again."""

    def close(self) -> None:
        """Remove the copy."""
        self._copy.close()


def _why(error: OSError) -> str:
    """Return the reason why a file cannot be read, as stated by the system or the storage's server."""
    return error.strerror or known_secrets.safe_message(str(error))
