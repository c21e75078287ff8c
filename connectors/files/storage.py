"""Files as bytes: how they are located, opened and decompressed.

Local paths, globs, folders, standard input (`-`), and, with the extra `cloud`, `s3://`, `gs://` and `az://` objects.
gzip and zstd are recognised by their first bytes, whatever the name says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG, S_ISSOCK
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import pyarrow as pa

from tranship.connectors import known_secrets
from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable
from tranship.connectors.files import folders

CLOUD = ("s3", "gs", "az")
WEB = ("http", "https")
_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
STDIN_NAME = "standard input"

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class File:
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
            raise ConfigError(f"{self.name}: cannot be opened ({_why(error)}). Check path and rights.") from error

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


def expand(spec: str, suffixes: tuple[str, ...], seen: Seen | None = None) -> list[File]:
    """Return the files of a path, glob, folder, cloud address or `-`, sorted by name.

    In a folder, only names that end in one of `suffixes` count. Each file is returned once, even if links lead to it:
    its records would be doubled. `seen` are the files of other sources of the run; new ones are added to it. Raises
    ConfigError if there is none.
    """
    return new_ones(located(spec, lambda name: name.endswith(suffixes)), {} if seen is None else seen)


def new_ones(files: Iterable[File], seen: Seen) -> list[File]:
    """Return the files that are not `seen` yet, and add them to it; others are noted where they were seen first."""
    new = []
    for file in files:
        first = seen.setdefault(file.place, file)
        if first is file:
            new.append(file)
        else:
            first.also.append(file.name)
    return new


def located(spec: str, is_table: IsTable) -> list[File]:
    """Return the files of an address, also those of other sources. Of those in a folder, only the ones whose name in
    lower case `is_table` accepts; the others are named in a remark.
    """
    if spec in _STDIN:
        return [File(STDIN_NAME, None, None, _standard_input, _place_of_stdin(), seekable=False)]
    if scheme_of(spec) in CLOUD:
        return _located_in_cloud(spec, is_table)
    path = Path(spec).expanduser()
    if path.is_dir():
        paths, passed_over = folders.walk(path, is_table)
        if not paths:
            there = f" ({folders.listed(passed_over)})" if passed_over else ""
            raise ConfigError(f"{redacted(spec)}: there is no file of a known kind in this folder{there}.")
        return [
            _local(found, folders.remarks(redacted(spec), passed_over if found is paths[0] else ()), path)
            for found in paths
        ]
    if path.is_file() or not glob.has_magic(spec):
        return [_local(path)]
    names = glob.iglob(str(path), recursive=True)  # noqa: PTH207  (a pattern may be absolute)
    paths = sorted(found for name in names if _is_meant(found := Path(name)))
    if not paths:
        raise ConfigError(
            f"{redacted(spec)}: no file matches this pattern. Put the pattern in quotes and check the folder."
        )
    parts = Path(spec).expanduser().parts
    fixed = Path(*parts[: next(at for at, part in enumerate(parts) if glob.has_magic(part))])
    return [_local(found, (), fixed) for found in paths]


def _is_meant(path: Path) -> bool:
    """Return whether a match of a pattern is read: not folders, and not hidden links and sockets of other programs. A
    pipe is read, and a broken link stops the run: customers would be missing.
    """
    hidden = path.name.startswith(".")
    return os.path.isfile(path) if hidden else not os.path.isdir(path)  # noqa: PTH112, PTH113  (these never raise)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise ConfigError(f"{STDIN_NAME}: is closed. Redirect it from a file or a pipe.")
    return sys.stdin.buffer


def _local(path: Path, remarks: tuple[str, ...] = (), root: Path | None = None) -> File:
    """Return a local file; folders between `root` and it may be partitions."""
    try:
        stat = path.stat()
    except OSError as error:
        if path.is_symlink():
            led = redacted(str(path.readlink()))
            raise ConfigError(f"{path}: is a link that leads nowhere ({led}). Correct it, or remove it.") from error
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}. Check the path.") from error
    if S_ISSOCK(stat.st_mode):
        raise ConfigError(f"{path}: is a socket, which cannot be read as a file. Name a file or a pipe.")
    regular = S_ISREG(stat.st_mode)
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat() if regular else None
    size, place = stat.st_size if regular else None, (stat.st_dev, stat.st_ino)
    values = folders.partitions(path.relative_to(root).parts[:-1], redacted(str(path))) if root else {}
    return File(
        redacted(str(path)),
        size,
        changed,
        lambda: path.open("rb"),
        place,
        remarks=remarks,
        partitions=values,
        address=str(path),
        seekable=regular,
    )


def _place_of_stdin() -> tuple[Any, ...]:
    if sys.stdin is None:
        return (STDIN_NAME,)
    try:
        stat = os.fstat(sys.stdin.buffer.fileno())
    except (OSError, ValueError):
        return (STDIN_NAME,)  # closed since, or not a file of the operating system
    return (stat.st_dev, stat.st_ino)


def _located_in_cloud(spec: str, is_table: IsTable) -> list[File]:
    parts = urlsplit(spec)
    root, pattern = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    store = store_of(root)
    import obstore

    fixed = pattern if not glob.has_magic(pattern) else pattern[: min(pattern.find(c) for c in "*?[" if c in pattern)]
    try:
        whole = not glob.has_magic(pattern) and not pattern.endswith("/")
        listed = [obstore.head(store, pattern)] if whole else [m for page in store.list(fixed) for m in page]
    except Exception as error:  # errors of obstore have no common base class
        raise _unreachable(root, error) from error
    found = {str(meta["path"]): meta for meta in listed if whole or _fits(meta["path"], pattern)}
    base = "" if whole else fixed[: fixed.rfind("/") + 1]
    below = sorted(key.removeprefix(base) for key in found)
    kept, passed_over = (below, []) if whole else folders.sift(below, is_table)
    if not kept:
        raise ConfigError(f"{redacted(spec)}: no object fits. Check bucket and pattern.")

    def file(key: str) -> File:
        meta, name = found[base + key], f"{redacted(root)}/{base}{key}"
        return File(
            name,
            meta["size"],
            meta["last_modified"].isoformat(),
            lambda: io.BufferedReader(_ObjectReader(obstore.open_reader(store, base + key)), 8 << 20),
            (root, base + key),
            remarks=folders.remarks(redacted(spec), passed_over if key == kept[0] else ()),
            partitions=folders.partitions(key.split("/")[:-1], name),
            address=f"{root}/{base}{key}",
        )

    return [file(key) for key in kept]


def store_of(root: str) -> Any:
    """Return obstore's store for a bucket (`s3://bucket`). Raises MissingDriver, and Unreachable for wrong settings."""
    try:
        from obstore import store
    except ImportError as error:
        raise MissingDriver(f"{redacted(root)}: cloud storage needs an extra: pip install 'tranship[cloud]'") from error
    try:
        return store.from_url(root)
    except Exception as error:  # as above
        raise _unreachable(root, error) from error


def _unreachable(root: str, error: Exception) -> Unreachable:
    return Unreachable(
        f"{redacted(root)}: cannot be read ({type(error).__name__}). Check the name, the credentials in the "
        "environment, and the network."
    )


def takes_in_object(spec: str, is_table: IsTable, address: str) -> bool:
    """Return whether a source in a bucket would include the object with this address, now or once it is written."""
    source, target = urlsplit(spec), urlsplit(address)
    if (source.scheme.lower(), source.netloc) != (target.scheme.lower(), target.netloc):
        return False
    pattern, key = source.path.lstrip("/"), target.path.lstrip("/")
    if not glob.has_magic(pattern) and not pattern.endswith("/") and pattern:
        return key == pattern
    return _fits(key, pattern) and is_table(key.lower())


def _fits(key: str, pattern: str) -> bool:
    if not glob.has_magic(pattern):
        return key.startswith(pattern)
    return key.count("/") == pattern.count("/") and fnmatchcase(key, pattern)


class _ObjectReader(io.RawIOBase):
    """obstore's reader as a seekable raw stream, as pyarrow and BufferedReader need it."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read(len(buffer))
        buffer[: len(data)] = memoryview(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())


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
        """The current size of the file in bytes, null if only reading to its end could tell."""
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
        try:
            while piece := stream.read(self._piece):
                yield piece
        except OSError as error:
            raise ConfigError(
                f"{self._file.name}: the {codec} data ends or breaks off in the middle; it is incomplete or damaged. "
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
    return head, dataclasses.replace(file, opener=lambda: cast(BinaryIO, _Prefixed(head, raw.read)))


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
        self.file = dataclasses.replace(file, opener=lambda: path.open("rb"))
        """The file, which can be opened again and again."""

    def close(self) -> None:
        """Remove the copy."""
        self._copy.close()


def _why(error: OSError) -> str:
    """Return why a file cannot be read, in the words of the system or of the storage's server."""
    return error.strerror or known_secrets.words(str(error))
