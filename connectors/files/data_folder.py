"""A folder of data, on this machine or in a bucket, whose files an engine writes: its small files, and its removal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from tranship.connectors import durable
from tranship.connectors.addresses import local_path, redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import buckets

ALIASES: Final = {"s3a": "s3"}
"""Schemes of engines → ours."""


class DataFolder(Protocol):
    """A folder by its address."""

    def names(self) -> list[str]:
        """Return the names in it, files and folders; none if it does not exist."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file, null if there is none."""
        ...

    def write(self, name: str, contents: bytes) -> None:
        """Write a file, replacing it as a whole. Folders that it needs are created."""
        ...

    def remove(self, name: str = "") -> None:
        """Remove a folder in it, or all of it, if it exists."""
        ...


def data_folder(address: str) -> DataFolder:
    """Return the folder of an address. Raises ConfigError if it cannot be reached from here."""
    scheme = scheme_of(address)
    if not scheme:
        return _Local(local_path(address))
    if ALIASES.get(scheme, scheme) in buckets.SCHEMES:
        return _Bucket(address)
    raise ConfigError(
        f"{redacted(address)}: is no folder that Tranship reaches. Name a path, or a folder in s3://, gs:// or az://."
    )


class _Local:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        for place in (self._path, *self._path.parents):
            if place.exists() and not place.is_dir():
                raise ConfigError(f"{place}: is a file. Name a folder.")
        return sorted(found.name for found in self._path.iterdir()) if self._path.is_dir() else []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, contents: bytes) -> None:
        file = self._path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        durable.write(file, contents)
        file.chmod(0o644)

    def remove(self, name: str = "") -> None:
        shutil.rmtree(self._path / name, ignore_errors=True)


class _Bucket:
    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._root = f"{ALIASES.get(parts.scheme, parts.scheme)}://{parts.netloc}"
        self._key = parts.path.strip("/")
        self._store = buckets.store_of(self._root)
        self._shown = redacted(address)

    def names(self) -> list[str]:
        prefix = f"{self._key}/" if self._key else ""
        return sorted({key.removeprefix(prefix).partition("/")[0] for key in self._keys("")})

    def read(self, name: str) -> bytes | None:
        import obstore

        try:
            return bytes(obstore.get(self._store, self._path(name)).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:  # errors of obstore have no common base class
            raise buckets.unreachable(self._shown, "read", error) from error

    def write(self, name: str, contents: bytes) -> None:
        import obstore

        try:
            obstore.put(self._store, self._path(name), contents)
        except Exception as error:  # as above
            raise buckets.unreachable(self._shown, "written", error) from error

    def remove(self, name: str = "") -> None:
        import obstore

        keys = self._keys(name)
        try:
            if keys:
                obstore.delete(self._store, keys)
        except Exception as error:  # as above
            raise buckets.unreachable(self._shown, "removed", error) from error

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self._key, name) if part)

    def _keys(self, name: str) -> list[str]:
        path = self._path(name)
        try:
            pages: Any = self._store.list(f"{path}/" if path else "")
            return [str(meta["path"]) for page in pages for meta in page]
        except Exception as error:  # as above
            raise buckets.unreachable(self._shown, "listed", error) from error
