"""Objects in buckets, with the extra `cloud`: `s3://`, `gs://` and `az://`."""

from __future__ import annotations

import glob
import io
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable
from tranship.connectors.files import folders
from tranship.connectors.files.storage import File, IsTable

SCHEMES = ("s3", "gs", "az")


def located(spec: str, is_table: IsTable) -> list[File]:
    """Return the objects of an address, or of a pattern or prefix, sorted by name. Raises ConfigError if there is none,
    and Unreachable.
    """
    parts = urlsplit(spec)
    root, pattern = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    store = store_of(root)
    import obstore

    fixed = pattern if not glob.has_magic(pattern) else pattern[: min(pattern.find(c) for c in "*?[" if c in pattern)]
    try:
        whole = not glob.has_magic(pattern) and not pattern.endswith("/")
        listed = [obstore.head(store, pattern)] if whole else [m for page in store.list(fixed) for m in page]
    except Exception as error:  # errors of obstore have no common base class
        raise unreachable(root, "listed", error) from error
    found = {str(meta["path"]): meta for meta in listed if whole or _fits(meta["path"], pattern)}
    base = "" if whole else fixed[: fixed.rfind("/") + 1]
    below = sorted(key.removeprefix(base) for key in found)
    kept, passed_over = (below, []) if whole else folders.sift(below, is_table)
    if not kept:
        raise ConfigError(f"{redacted(spec)}: no object matches. Check bucket and pattern.")

    def file(key: str) -> File:
        meta, name = found[base + key], f"{redacted(root)}/{base}{key}"
        return File(
            name,
            meta["size"],
            meta["last_modified"].isoformat(),
            lambda: io.BufferedReader(_ObjectReader(name, lambda: obstore.open_reader(store, base + key)), 8 << 20),
            (root, base + key),
            remarks=folders.remarks(redacted(spec), passed_over if key == kept[0] else ()),
            partitions=folders.partitions(key.split("/")[:-1], name),
            address=f"{root}/{base}{key}",
            tag=meta.get("e_tag") or "",
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
        raise unreachable(root, "opened", error) from error


def unreachable(address: str, action: str, error: Exception) -> Unreachable:
    """Return the error for an object or bucket that cannot be read or written (`action`)."""
    return Unreachable(
        f"{redacted(address)}: cannot be {action} ({type(error).__name__}). Check the name of the bucket, the "
        "credentials in the environment and their permissions, and the network."
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

    def __init__(self, name: str, opener: Callable[[], Any]) -> None:
        self._name = name
        self._reader = self._tried(opener)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._tried(lambda: self._reader.read(len(buffer)))
        buffer[: len(data)] = memoryview(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._tried(lambda: self._reader.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._reader.tell())

    def _tried(self, step: Callable[[], Any]) -> Any:
        """Return what a step returns. Raises Unreachable without the words of the server, which may repeat anything."""
        try:
            return step()
        except Exception as error:  # as above
            raise unreachable(self._name, "read", error) from error
