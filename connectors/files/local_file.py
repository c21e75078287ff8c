"""A file on this machine as a destination: written under a temporary name, synced, and renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from tranship.connectors import durable
from tranship.connectors.addresses import local_path, redacted
from tranship.connectors.errors import ConfigError
from tranship.schemas.schema_version import SCHEMA_VERSION


class Written:
    """The files that Tranship has written, as recorded in a state directory. A file changed since then is not known.

    There is one record per file: its path, and the size and modification time of what the last run wrote and, while a
    run replaces it, also of the file that it is about to rename. A run that is killed in between is therefore
    recognised.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def knows(self, path: Path) -> bool:
        """Return whether Tranship wrote the file at this path and it has not been changed since."""
        return _mark(path) in self._marks(path)

    def expect(self, path: Path, coming: Path) -> None:
        """Record that the file `coming` is about to replace `path`."""
        self._keep(path, [*self._marks(path), _mark(coming)])

    def confirm(self, path: Path) -> None:
        """Record that the file at this path was written by Tranship, in place of earlier records."""
        self._keep(path, [_mark(path)])

    def _marks(self, path: Path) -> list[list[int]]:
        try:
            found = json.loads(self._record(path).read_text(encoding="utf-8"))
            return [list(mark) for mark in found["marks"]] if found["path"] == _as_text(path) else []
        except (OSError, ValueError, KeyError, TypeError):
            return []  # a damaged record counts as none: --overwrite is then needed

    def _keep(self, path: Path, marks: list[list[int]]) -> None:
        record = self._record(path)
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(record, json.dumps({"schema_version": SCHEMA_VERSION, "path": _as_text(path), "marks": marks}))

    def _record(self, path: Path) -> Path:
        return self._folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _mark(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _as_text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def refuse_folder(spec: str) -> None:
    """Raise ConfigError if a destination is a folder of this machine."""
    if local_path(spec).is_dir():
        raise ConfigError(f"{redacted(spec)}: is a folder; name the file to write.")


class LocalFile:
    """The place of a file on this machine. A file that Tranship did not write is replaced only with `overwrite`."""

    def __init__(self, spec: str, written: Written, *, overwrite: bool) -> None:
        self._spec = redacted(spec)
        self._path = local_path(spec)
        self._written = written
        self._overwrite = overwrite
        refuse_folder(spec)
        if not self._path.parent.is_dir():
            raise ConfigError(
                f"{self._spec}: the folder {self._path.parent} does not exist. Create it, or name another one."
            )
        self._path = self._path.resolve()  # a link is kept, and its target is replaced
        if not self._path.parent.is_dir():
            raise ConfigError(f"{self._spec}: is a link into {self._path.parent}, which does not exist.")

    def __str__(self) -> str:
        return str(self._path)

    def exists(self) -> bool:
        """Return whether there is a file that would be replaced."""
        return self._path.exists()

    def must_be_free(self) -> None:
        """Raise ConfigError if there is a file that Tranship did not write. An empty file may be replaced."""
        if not self._path.exists():
            return
        if not self._path.is_file():
            raise ConfigError(f"{self._spec}: is not a regular file and cannot be replaced by one. Name another file.")
        if self._overwrite or self._path.stat().st_size == 0 or self._written.knows(self._path):
            return
        raise ConfigError(
            f"{self._spec}: exists, and Tranship did not write it (or it was changed since, or is recorded in another "
            "--state-dir); it was left unchanged. Does a pattern of sources need quotes, so that the shell does not "
            "make the last file the destination? Are source and destination swapped? To replace it: --overwrite"
        )

    def put(self, make: Callable[[Path], None], workspace: Path) -> None:  # noqa: ARG002  (the file is made beside its place)
        """Replace the file by the one that `make` writes. Raises OSError, and ConfigError if another file has appeared
        there.
        """
        with durable.replacing(self._path) as temporary:
            make(temporary)
            self.must_be_free()
            self._written.expect(self._path, temporary)
        self._written.confirm(self._path)
