"""Check whether a file to be written is one of the files that are read."""

from __future__ import annotations

import glob
import os
from fnmatch import fnmatchcase
from pathlib import Path

from tranship.connectors.addresses import is_same_file, local_path, scheme_of
from tranship.connectors.files.folders import is_hidden, is_read
from tranship.connectors.files.locating import fixed_part, located
from tranship.connectors.files.storage import IsTable


def is_among(spec: str, is_table: IsTable, path: Path) -> bool:
    """Return whether the source `spec` currently includes this file."""
    if scheme_of(spec):
        return False
    try:
        stat = path.stat()
    except OSError:
        return False
    return any(file.place == (stat.st_dev, stat.st_ino) for file in located(spec, is_table))


def takes_in(spec: str, is_table: IsTable, path: Path) -> str | None:
    """Return the reason why the source `spec` would include this file, now or once it is written; null if it would not.

    A folder includes everything in it, at any depth.
    """
    if scheme_of(spec):
        return None
    if is_among(spec, is_table, path):
        return "is read by this run"
    given = local_path(spec)
    if given.is_dir():
        return "is in the folder that is read" if _lies_in(path, given) else None
    if glob.has_magic(spec) and not given.exists() and _fits_pattern(path, str(given)):
        return "matches the pattern that is read; the next run would read it"
    return None


def reads(spec: str, is_table: IsTable, path: Path) -> bool:
    """Return whether the source `spec` reads this file, or would once it is written."""
    if takes_in(spec, is_table, path) is None:
        return False
    return not local_path(spec).is_dir() or is_read(path.name, is_table)


def holds(spec: str, folder: Path) -> bool:
    """Return whether the source `spec` would include the files below a folder: it is a folder above it, or a pattern of
    folders at any depth. Neither includes hidden folders.
    """
    if scheme_of(spec):
        return False
    given = local_path(spec)
    if not given.is_dir():
        if "**" not in given.parts:
            return False
        given = fixed_part(given)
    place, root = folder.resolve(), given.resolve()
    return place.is_relative_to(root) and not any(map(is_hidden, place.relative_to(root).parts))


def _lies_in(path: Path, folder: Path) -> bool:
    return any(is_same_file(parent, folder) for place in _places(path) for parent in place.parents)


def _fits_pattern(path: Path, pattern: str) -> bool:
    head, tail = os.path.split(pattern)
    folders = [Path(name) for name in glob.glob(head, recursive=True)] if head else [Path()]  # noqa: PTH207
    if tail == "**":
        return any(_lies_in(path, folder) for folder in folders)
    return any(
        fnmatchcase(place.name, tail)
        and (tail.startswith(".") or not place.name.startswith("."))
        and any(is_same_file(place.parent, folder) for folder in folders)
        for place in _places(path)
    )


def _places(path: Path) -> tuple[Path, Path]:
    """Return the absolute path of a name, and that of the file to which it leads."""
    return path.parent.resolve() / path.name, path.resolve()
