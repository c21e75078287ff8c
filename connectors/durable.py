"""Files of a run directory: written to disk before anything refers to them, and checked before they are used.

A file of records has a *seal*, its size and SHA-256, which is kept in the JSON that refers to it. A JSON file carries
its own digest, and is written under another name, synced and renamed. A file that does not match is `Damaged`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tranship.connectors import mirrored
from tranship.connectors.errors import Damaged
from tranship.schemas.schema_version import SCHEMA_VERSION

_DIGEST: Final = "digest"
_VERSION: Final = "schema_version"


def seal(file: Path, *, sync: bool = True) -> str:
    """Return size and digest of a complete file; with `sync`, only once its bytes are on disk."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if sync:
            os.fsync(opened.fileno())
        return f"{os.fstat(opened.fileno()).st_size} {digest}"


class Sealed:
    """Seals of many files, synced in the background while further files are made."""

    def __init__(self) -> None:
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._pending: list[Future[None]] = []

    def seal(self, file: Path) -> str:
        """Return size and digest of a complete file, which may not be on disk yet."""
        sealed = seal(file, sync=False)
        self._pending.append(self._disk.submit(_sync, file))
        return sealed

    def wait(self) -> None:
        """Return when all of them are on disk."""
        while self._pending:
            self._pending.pop().result()


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def seals(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return name → seal of the files that exist; their folders are synced, too."""
    found = {name: seal(folder / name) for name in names if (folder / name).exists()}
    for parent in {(folder / name).parent for name in found}:
        sync_folder(parent)
    return found


def is_whole(file: Path, sealed: Any) -> bool:
    """Whether a file is the one that was sealed."""
    mirrored.bring(file)
    try:
        # The size reveals most damage and costs nothing.
        return file.stat().st_size == int(str(sealed).split()[0]) and seal(file, sync=False) == sealed
    except (OSError, ValueError, IndexError):
        return False


def check(folder: Path, sealed: Mapping[str, Any]) -> None:
    """Raise Damaged for the first of these files that does not match its seal."""
    files = [folder / name for name in sealed]
    with ThreadPoolExecutor() as pool:
        for file, whole in zip(files, pool.map(is_whole, files, sealed.values()), strict=True):
            if not whole:
                raise damaged(file)


def damaged(file: Path) -> Damaged:
    """Return the error for a file that cannot be trusted."""
    try:
        is_there = file.exists()
    except PermissionError:  # its folder may not be searched
        is_there = True
    if is_there and not os.access(file, os.R_OK):
        return Damaged(f"{file}: cannot be read. Check the access rights.")
    return Damaged(f"{file}: {'was changed or damaged since Tranship wrote it' if is_there else 'is gone'}.")


def move_aside(path: Path) -> Path:
    """Rename a damaged file or folder and return its new name; one renamed earlier is removed."""
    aside = path.with_name(f"{path.name}-damaged")
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    return path.rename(aside)


def sync_folder(folder: Path) -> None:
    """Return when the names in the folder are on disk, where the file system supports that."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; at the end that file is synced and replaces `path`, or is removed."""
    temporary = _new_name(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_nothing(path: Path) -> Iterator[Path]:
    """Do the same, except that a file created at `path` by another process in the meantime is kept, and ours is
    removed."""
    # DuckDB, which creates the file, refuses an empty one; the name cannot be foreseen.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        yield temporary
        with contextlib.suppress(OSError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(file: Path, contents: str | bytes) -> None:
    """Write a small file atomically, readable for its owner only; it is on disk when this returns, and kept where its
    folder is a working copy."""
    if isinstance(contents, str):
        contents = mirrored.outward(contents)
    temporary = _new_name(file, mode=0o600)
    try:
        with temporary.open("wb") as out:
            out.write(contents.encode(errors="backslashreplace") if isinstance(contents, str) else contents)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(file.parent)
    mirrored.save(file)


def _new_name(path: Path, *, mode: int = 0o666) -> Path:
    """Create an empty file beside `path` under an unpredictable name, and return it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return temporary


def write_json(file: Path, values: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Write one JSON object with its version and digest, as `write` does. `indent`, for people, is slow."""
    versioned = {_VERSION: SCHEMA_VERSION, **mirrored.outward_values(values)}
    write(file, json.dumps({**versioned, _DIGEST: _digest(versioned)}, indent=indent))


def read_json(file: Path) -> dict[str, Any]:
    """Read an object that `write_json` wrote, without its version and its digest. Raises FileNotFoundError, and Damaged
    if it is anything else, or if a newer version of Tranship wrote it in another form.

    An object without a version or a digest is accepted: earlier versions of Tranship wrote none.
    """
    mirrored.bring(file)
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would wait for its writer
            raise damaged(file)
        values = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.pop(_DIGEST, None) in (None, _digest(values)):
            version = values.pop(_VERSION, SCHEMA_VERSION)
            if isinstance(version, int) and version > SCHEMA_VERSION:
                raise Damaged(f"{file}: was written by a newer version of Tranship. Use that version to read it.")
            return mirrored.inward_values(values)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file) from error
    raise damaged(file)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
