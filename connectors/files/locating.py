"""The files that an address means: a path, a glob, a folder, standard input (`-`), or objects in a bucket."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG, S_ISSOCK
from typing import Any, BinaryIO

from tranship.connectors.addresses import local_path, redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import buckets, folders
from tranship.connectors.files.storage import STDIN_NAME, File, IsTable, Seen

_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def expand(spec: str, suffixes: tuple[str, ...], seen: Seen | None = None) -> list[File]:
    """Return the files of a path, glob, folder, cloud address or `-`, sorted by name.

    In a folder, only names that end in one of `suffixes` are read. Each file is returned once, even if links lead to
    it: its records would be doubled. `seen` are the files of other sources of the run; new ones are added to it. Raises
    ConfigError if there is none.
    """
    return new_ones(located(spec, lambda name: name.endswith(suffixes)), {} if seen is None else seen)


def new_ones(files: Iterable[File], seen: Seen) -> list[File]:
    """Return the files that are not `seen` yet, and add them to it; another name of a file that was seen is noted with
    it."""
    new = []
    for file in files:
        first = seen.setdefault(file.place, file)
        if first is file:
            new.append(file)
        else:
            first.also.append(file.name)
    return new


def located(spec: str, is_table: IsTable) -> list[File]:
    """Return the files of an address, also those of other sources. In a folder, only files whose name in lower case
    `is_table` accepts are read; the others are named in a note.
    """
    if spec in _STDIN:
        return [File(STDIN_NAME, None, None, _standard_input, _place_of_stdin(), seekable=False)]
    if scheme_of(spec) in buckets.SCHEMES:
        return buckets.located(spec, is_table)
    path = local_path(spec)
    if path.is_dir():
        paths, passed_over = folders.walk(path, is_table)
        if not paths:
            there = f" ({folders.listed(passed_over)})" if passed_over else ""
            raise ConfigError(f"{redacted(spec)}: there is no file of a known kind in this folder{there}. Name a file.")
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
    fixed = fixed_part(path)
    return [_local(found, (), fixed) for found in paths]


def fixed_part(pattern: Path) -> Path:
    """Return the folder below which a pattern is looked for."""
    parts = pattern.parts
    return Path(*parts[: next(at for at, part in enumerate(parts) if glob.has_magic(part))])


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
    changed = _changed(stat.st_mtime) if regular else None
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


def _changed(seconds: float) -> str:
    """Return when a file was changed, in ISO 8601; a wrong clock can leave a year that has no such form."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError):
        return str(seconds)
