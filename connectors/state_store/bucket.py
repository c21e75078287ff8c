"""The objects of a state directory in a bucket, each written only if it is still as this process knows it.

A request that is repeated because its answer was lost would find its own object, and fail: what was written is then
compared with what should have been.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tranship.connectors.errors import ConfigError, ConnectorError, MissingDriver, Refused, Unreachable

_WHOLE_BYTES: Final = 8 << 20
"""Larger files are uploaded in parts, which is done without a condition."""
_RETRIES: Final[dict[str, Any]] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


class Version(Struct, frozen=True):
    """The mark that distinguishes an object from its earlier contents. `number` is that of Google Cloud Storage, else
    empty.
    """

    tag: str
    number: str = ""


class Listed(Struct, frozen=True):
    """An object in a list."""

    version: Version
    size: int


class Found(Struct, frozen=True):
    """The contents of an object, and when they were written by the clock of the storage."""

    content: bytes
    version: Version
    written_at: datetime


class ChangedError(Exception):
    """The object is not as expected: another machine has written it."""


class Bucket:
    """The objects below an address, by their names relative to it."""

    def __init__(self, address: str) -> None:
        """Raises MissingDriver, and Unreachable for wrong settings in the environment."""
        self.address = address
        try:
            from obstore import store
        except ImportError as error:
            raise MissingDriver(f"{address}: cloud storage needs an extra: pip install 'tranship[cloud]'") from error
        try:
            self._store = store.from_url(address, retry_config=_RETRIES)  # type: ignore[call-overload]
        except Exception as error:  # errors of obstore have no common base class in all versions
            raise self._failure("opened", error) from error
        self._offset: timedelta | None = None
        self._excludes = False
        """Whether conditions were found to be respected."""

    def list(self, prefix: str = "") -> dict[str, Listed]:
        """Return all objects whose names begin with this. Raises ConnectorError."""
        try:
            return {
                str(meta["path"]): Listed(_version(meta), meta["size"])
                for page in self._store.list(prefix or None)
                for meta in page
            }
        except Exception as error:
            raise self._failure("listed", error) from error

    def read(self, name: str) -> Found | None:
        """Return a small object, null if there is none. Raises ConnectorError."""
        import obstore

        try:
            found = obstore.get(self._store, name)
            return Found(bytes(found.bytes()), _version(found.meta), found.meta["last_modified"])
        except Exception as error:
            if _is_missing(error):
                return None
            raise self._failure("read", error) from error

    def download(self, name: str, file: Path) -> Version | None:
        """Copy an object to a file, with its time; return its version, null if there is none. Raises ConnectorError
        and OSError.
        """
        import obstore

        try:
            found = obstore.get(self._store, name)
            with file.open("wb") as out:
                for piece in found.stream(8 << 20):
                    out.write(piece)
            written_at = found.meta["last_modified"].timestamp()
            os.utime(file, (written_at, written_at))
            return _version(found.meta)
        except Exception as error:
            if _is_missing(error):
                return None
            if isinstance(error, OSError):  # of this machine
                raise
            raise self._failure("read", error) from error

    def put(self, name: str, content: bytes | Path, expected: Version | None) -> Version:
        """Write an object in place of the expected one; of none, where there is none.

        Raises ChangedError if there is another one, and ConnectorError.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        large = isinstance(content, Path) and content.stat().st_size > _WHOLE_BYTES
        options: dict[str, Any] = {} if large else {"mode": self._condition(name, expected)}
        try:
            return _version(obstore.put(self._store, name, content, use_multipart=large, **options))
        except (AlreadyExistsError, PreconditionError) as error:
            if (ours := self._written_by_lost_request(name, content)) is not None:
                return ours
            raise ChangedError(name) from error
        except Exception as error:
            if _is_missing(error) and expected is not None:
                raise ChangedError(name) from error
            raise self._failure("written", error) from error

    def _condition(self, name: str, expected: Version | None) -> Any:
        if expected is None:
            return "create"
        if self.address.startswith("gs://") and not expected.number:
            expected = self._numbered(name, expected)
        return {"e_tag": f'"{expected.tag}"', **({"version": expected.number} if expected.number else {})}

    def _numbered(self, name: str, expected: Version) -> Version:
        """Return a version that was listed with its number, which lists do not have."""
        import obstore

        try:
            found = _version(obstore.head(self._store, name))
        except Exception as error:
            if _is_missing(error):
                raise ChangedError(name) from None
            raise self._failure("looked up", error) from error
        if found.tag != expected.tag:
            raise ChangedError(name)
        return found

    def _written_by_lost_request(self, name: str, content: bytes | Path) -> Version | None:
        found = None
        with suppress(ConnectorError):
            found = self.read(name)
        if found is None:
            return None
        ours = content if isinstance(content, bytes) else content.read_bytes()
        return found.version if hashlib.sha256(found.content).digest() == hashlib.sha256(ours).digest() else None

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects, if they exist. Raises ConnectorError."""
        import obstore

        gone = list(names)
        try:
            if gone:
                obstore.delete(self._store, gone)
        except Exception as error:
            if not _is_missing(error):
                raise self._failure("removed", error) from error

    def now(self, probe: str) -> datetime:
        """Return the time by the clock of the storage, which is that of an object `probe` that is written for it; by
        the clock of this machine where nothing may be written.
        """
        if self._offset is None:
            self._offset = datetime.now(UTC) - datetime.fromtimestamp(time.monotonic(), UTC)
            with suppress(ConnectorError, ChangedError):
                self.put(probe, b"", None)
                clock = time.monotonic()
                found = self.read(probe)
                self.delete([probe])
                if found is not None:
                    self._offset = found.written_at - datetime.fromtimestamp(clock, UTC)
        return datetime.fromtimestamp(time.monotonic(), UTC) + self._offset

    def must_exclude(self, name: str, version: Version) -> None:
        """Raise ConfigError if the storage ignores the conditions of a write: `name` exists and has this version."""
        if self._excludes:
            return
        for expected in (None, Version("0", f"{version.number}1" if version.number else "")):
            try:
                self.put(name, b"{}", expected)
            except ChangedError:
                continue
            raise ConfigError(
                f"{self.address}: this storage has no conditional writes (If-None-Match, If-Match), which keep a "
                "second machine from doing the same work. Use another bucket or, if you are sure that only one process "
                "runs at a time, --no-locks."
            )
        self._excludes = True

    def _failure(self, action: str, error: Exception) -> ConnectorError:
        """Return the error without the words of the server, which may repeat anything."""
        name = type(error).__name__
        found = re.search(r"status: (\d{3})|non-2xx status code: (\d{3})", str(error))
        status = found[1] or found[2] if found else ""
        if status == "501" or name == "NotSupportedError" or isinstance(error, NotImplementedError):
            return Refused(
                f"{self.address}: this storage refuses conditional writes (If-None-Match, If-Match), which keep a "
                "second machine from doing the same work. Use another bucket."
            )
        if status in ("401", "403") or name in ("PermissionDeniedError", "UnauthenticatedError"):
            return Refused(
                f"{self.address}: the state directory cannot be {action}: access is denied. Check the credentials in "
                "the environment, and their right to list, read, write and delete objects there."
            )
        if status == "404" or _is_missing(error):
            return Refused(f"{self.address}: there is no such bucket. Check --state-dir.")
        return Unreachable(
            f"{self.address}: the state directory cannot be {action} ({name}). Check the name of the bucket, the "
            "credentials in the environment, and the network."
        )


def _is_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"


def _version(meta: Any) -> Version:
    # Lists of Azure have tags without quotes.
    return Version(str(meta.get("e_tag") or "").strip('"'), str(meta.get("version") or ""))
