"""Files as bytes: where they are, how they are opened, and how a new one takes the place of an old one.

Local paths, globs, folders, standard input (`-`), and, with the extra `cloud`, `s3://`, `gs://` and `az://` objects.
gzip and zstd are recognised by their first bytes, whatever the name says.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG, S_ISSOCK
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa

from connectors.contract import Load, Plan
from connectors.errors import ConfigError, MissingDriver, Unreachable, shown

CLOUD = ("s3", "gs", "az")
_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
STDIN_NAME = "standard input"

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class File:
    """One input file: its name for people, its size in bytes (null if unknown), and how to open it."""

    name: str
    size: int | None
    changed: str | None
    opener: Callable[[], BinaryIO]

    @property
    def once(self) -> bool:
        """Whether it can be opened and read once only: a pipe, a device, standard input."""
        return self.size is None

    def open(self) -> BinaryIO:
        """The file's own bytes, compressed or not. Raises ConfigError if it cannot be opened."""
        try:
            return self.opener()
        except OSError as error:
            raise ConfigError(
                f"{self.name}: cannot be opened ({error.strerror or error}). Check path and rights."
            ) from error

    def must_be_as_it_was(self, content: Bytes) -> None:
        """Raises ConfigError if a file that was read to its end has another size than when the run began."""
        if self.once:
            return
        size = content.size_now
        if size is not None and size != self.size:
            raise ConfigError(
                f"{self.name}: changed while it was read ({self.size:,} bytes when the run began, {size:,} now), so "
                "its last line may be cut off. Nothing was written; repeat the command when the file is complete."
            )

    def fingerprint(self) -> dict[str, Any]:
        """Name, size and time of change: enough to know the file again."""
        return {"name": self.name, "size": self.size, "changed": self.changed}


def scheme_of(spec: str) -> str:
    """`s3` of `s3://bucket/key`, empty for a path."""
    return urlsplit(spec).scheme if "://" in spec else ""


def expand(spec: str, suffixes: tuple[str, ...]) -> list[File]:
    """The files a path, glob, folder, cloud address or `-` stands for, sorted by name.

    In a folder only names ending in one of `suffixes` count. Raises ConfigError if there is none.
    """
    if spec in _STDIN:
        return [File(STDIN_NAME, None, None, _standard_input)]
    if scheme_of(spec) in CLOUD:
        return _expand_cloud(spec, suffixes)
    path = Path(spec).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and p.name.lower().endswith(suffixes))
        if not found:
            raise ConfigError(f"{shown(spec)}: no file ending in {', '.join(suffixes)} in this folder.")
    elif path.is_file() or not glob.has_magic(spec):
        found = [path]
    else:
        names = glob.iglob(str(path), recursive=True)  # noqa: PTH207  (a pattern may be absolute)
        found = sorted(p for name in names if (p := Path(name)).is_file())
        if not found:
            raise ConfigError(f"{shown(spec)}: no file fits this pattern. Quote the pattern and check the folder.")
    return [_local(p) for p in found]


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise ConfigError(f"{STDIN_NAME}: is closed. Give it a file or a pipe.")
    return sys.stdin.buffer


def _local(path: Path) -> File:
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}. Check the path.") from error
    if S_ISSOCK(stat.st_mode):
        raise ConfigError(f"{path}: is a socket, which cannot be read as a file. Name a file or a pipe.")
    regular = S_ISREG(stat.st_mode)
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat() if regular else None
    return File(shown(str(path)), stat.st_size if regular else None, changed, lambda: path.open("rb"))


def _expand_cloud(spec: str, suffixes: tuple[str, ...]) -> list[File]:
    try:
        import obstore
        from obstore.store import from_url
    except ImportError as error:
        raise MissingDriver(
            f"{shown(spec)}: reading cloud storage needs an extra: pip install 'tranship[cloud]'"
        ) from error
    parts = urlsplit(spec)
    root, pattern = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    fixed = pattern if not glob.has_magic(pattern) else pattern[: min(pattern.find(c) for c in "*?[" if c in pattern)]
    try:
        store = from_url(root)
        whole = not glob.has_magic(pattern) and not pattern.endswith("/")
        listed = [obstore.head(store, pattern)] if whole else [m for page in store.list(fixed) for m in page]
    except Exception as error:  # obstore's errors share no base that says where they come from
        raise Unreachable(
            f"{shown(root)}: cannot be read ({type(error).__name__}). Check the name, the credentials in the "
            "environment, and the network."
        ) from error
    kept = [m for m in listed if whole or (_fits(m["path"], pattern) and m["path"].lower().endswith(suffixes))]
    if not kept:
        raise ConfigError(f"{shown(spec)}: no object fits. Check bucket and pattern.")

    def opener(meta: Any) -> Callable[[], BinaryIO]:
        return lambda: io.BufferedReader(_ObjectReader(obstore.open_reader(store, meta["path"])), 8 << 20)

    return [
        File(f"{shown(root)}/{m['path']}", m["size"], m["last_modified"].isoformat(), opener(m))
        for m in sorted(kept, key=lambda m: str(m["path"]))
    ]


def _fits(key: str, pattern: str) -> bool:
    if not glob.has_magic(pattern):
        return key.startswith(pattern)
    from fnmatch import fnmatchcase

    return key.count("/") == pattern.count("/") and fnmatchcase(key, pattern)


class _ObjectReader(io.RawIOBase):
    """obstore's reader as a seekable raw stream, which pyarrow and BufferedReader know how to use."""

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
    """A file's contents in big pieces, decompressed, and how far the file itself has been read."""

    def __init__(self, file: File, piece: int = 8 << 20) -> None:
        self._file = file
        self._piece = piece
        self._raw = file.open()
        self._position = 0

    @property
    def position(self) -> int:
        """Bytes of the file itself consumed so far."""
        return self._position

    @property
    def size_now(self) -> int | None:
        """How many bytes the file has now, null where only its end could say."""
        try:
            return os.fstat(self._raw.fileno()).st_size
        except OSError:
            return None

    def __iter__(self) -> Iterator[bytes]:
        head = self._read(self._piece)
        codec = next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)
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
                f"{self._file.name}: the {codec} data ends or breaks in the middle; it is half written or damaged. "
                "Nothing of it was loaded; fetch it again."
            ) from error

    def _read(self, count: int) -> bytes:
        try:
            data = self._raw.read(count)
        except OSError as error:
            raise ConfigError(f"{self._file.name}: reading failed ({error.strerror or error}).") from error
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file (standard input stays open)."""
        if self._file.name != STDIN_NAME:
            self._raw.close()


class _Prefixed(io.RawIOBase):
    """The bytes already taken, then the rest."""

    def __init__(self, head: bytes, rest: Callable[[int], bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._rest(size)


# Writing ---------------------------------------------------------------------------------------------------------


def whole_path(path: Path) -> Path:
    """The same for all spellings of a path: absolute, without links, whether or not there is a file."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        # A circle of links, or no such home directory: whoever opens it says so.
        return path.absolute()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; at the end it is synced and takes its place in one step, or is removed."""
    # By chance: the process id of another container, or host, may be the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_nothing(path: Path) -> Iterator[Path]:
    """The same, but a file that has come to be there meanwhile stays, and the new one is removed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        with contextlib.suppress(OSError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class WholeFile:
    """A file as a destination: written whole, so that each load replaces what was there."""

    def __init__(
        self,
        spec: str,
        sink: Callable[[pl.LazyFrame, Path], None],
        look: Callable[[pl.LazyFrame], tuple[str, ...]] | None = None,
    ) -> None:
        """`look` gives the notes on what the file cannot hold."""
        self._path = Path(spec).expanduser()
        self._sink = sink
        self._look = look
        if self._path.is_dir():
            raise ConfigError(f"{shown(spec)}: is a folder; name the file to write.")
        if not self._path.parent.is_dir():
            raise ConfigError(f"{shown(spec)}: the folder {self._path.parent} does not exist.")

    def plan(self, load: Load) -> Plan:
        """Every survivor is created: a file holds what the run gave it, nothing else."""
        if load.mode != "upsert":
            raise ConfigError(f"{self._path}: a file is written whole; --mode {load.mode} needs a table.")
        rows = load.workspace / "plan.parquet"
        load.survivors.scan().select(
            pl.col("_row").alias("row"),
            pl.lit("create").alias("action"),
            pl.lit(None, pl.String).alias("reason"),
            pl.lit(None, pl.List(pl.String)).alias("changed"),
        ).sink_parquet(rows)
        counts = dict.fromkeys(("update", "unchanged", "refused", "ambiguous", "delete"), 0)
        notes: tuple[str, ...] = ("the file that was there is replaced",) if self._path.exists() else ()
        if self._look:
            notes += self._look(_records_of(load))
        return Plan(rows, {"create": load.survivors.count, **counts}, notes=notes)

    def apply(self, load: Load, plan: Plan) -> None:  # noqa: ARG002  (all survivors are written, whatever the plan's rows)
        """Write beside the file, sync, rename."""
        try:
            with replacing(self._path) as temporary:
                self._sink(_records_of(load), temporary)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise Unreachable(
                f"{self._path}: cannot be written ({error}). Check rights and room on the disk."
            ) from error

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Never known: writing the same file again gives the same file."""
        return False

    def close(self) -> None:
        """Nothing is held open."""


def _records_of(load: Load) -> pl.LazyFrame:
    return load.survivors.scan().select(pl.exclude("^_.*$"))
