"""Folders as sources: the files in them at any depth, those that are not read, and the columns that folders give."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.schemas.counted import counted

_ABOUT: Final = re.compile(
    r"(?:read[ _-]?me|liesmich|lisez[ _-]?moi|leeme|leggimi|license|licence|copying|changelog|notice)(?:[ ._-].*)?\Z"
)
"""A file about the others, in lower case."""
_NOT_DATA: Final = ("__macosx", "_temporary", "_spark_metadata", "@eadir", "__pycache__", "$recycle.bin")
"""Folders of programs, in lower case."""
_TABLES: Final = {"_delta_log": "a Delta Lake table", ".hoodie": "an Apache Hudi table"}
"""Folders by which a table of many files is recognised: some of its files may contain deleted rows."""
_PARTITION: Final = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_SHOWN: Final = 5


def walk(root: Path, is_table: Callable[[str], bool]) -> tuple[list[Path], list[str]]:
    """Return the files below a folder that are read, sorted by path, and the names of those that are not.

    Links are followed; a folder to which several lead is read once. Raises ConfigError for a folder that cannot be
    read: customers would be missing.
    """
    kept: list[Path] = []
    passed_over: list[str] = []
    visited: set[tuple[int, int]] = set()

    def enter(folder: Path) -> None:
        try:
            stat = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(
                f"{redacted(str(folder))}: this folder cannot be read ({(error.strerror or str(error)).lower()}). "
                "Check its permissions; nothing was loaded."
            ) from error
        if (stat.st_dev, stat.st_ino) in visited:
            return
        visited.add((stat.st_dev, stat.st_ino))
        _must_be_no_table(redacted(str(folder)), [entry.name for entry in entries])
        for entry in entries:
            path, name = folder / entry.name, entry.name
            if os.path.isdir(path):  # noqa: PTH112  (never raises)
                if is_hidden(name):
                    passed_over.append(f"{_shown(path, root)}/")
                else:
                    enter(path)
            elif is_read(name, is_table):
                kept.append(path)
            else:
                passed_over.append(_shown(path, root))

    enter(root)
    return sorted(kept), passed_over


def sift(keys: Iterable[str], is_table: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return those of these paths, separated by /, that are read, in their order, and those that are not."""
    kept: list[str] = []
    passed_over: list[str] = []
    for key in keys:
        *above, name = key.split("/")
        is_kept = not any(map(is_hidden, above)) and is_read(name, is_table)
        (kept if is_kept else passed_over).append(key)
    return kept, passed_over


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden from users."""
    return name.startswith((".", "~$")) or name.lower() in _NOT_DATA


def is_read(name: str, is_table: Callable[[str], bool]) -> bool:
    """Return whether a file of a folder is read, by its name."""
    return not is_hidden(name) and not _ABOUT.match(name.lower()) and is_table(name.lower())


def remarks(where: str, passed_over: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the files of a folder or archive that are not read."""
    if not passed_over:
        return ()
    return (f"skipped {counted(len(passed_over), 'other file')} in {where}: {listed(passed_over)}",)


def listed(names: Sequence[str]) -> str:
    """Return the first of these names, and the number of the others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def partitions(folders: Sequence[str], name: str) -> dict[str, str | None]:
    """Return the columns that folders give by their names, as Hive writes them: `country=DE` is the column `country`.

    Values are percent-decoded. Raises ConfigError if two folders give different values to one column.
    """
    found: dict[str, str | None] = {}
    for folder in folders:
        match = _PARTITION.fullmatch(folder)
        if not match:
            continue
        value = None if match[2] == _NULL else unquote(match[2]) or None
        if found.setdefault(match[1], value) != value:
            raise ConfigError(f"{name}: its folders give two values to the column {match[1]!r}. Rename one of them.")
    return found


def _must_be_no_table(folder: str, names: Sequence[str]) -> None:
    what = next((_TABLES[name] for name in names if name in _TABLES), None)
    if what is None and {"metadata", "data"} <= set(names) and not any(name.endswith(".csv") for name in names):
        metadata = Path(folder, "metadata")
        what = "an Apache Iceberg table" if any(metadata.glob("*.metadata.json")) else None
    if what:
        raise ConfigError(
            f"{folder}: is {what}. Its files also hold rows that were changed or deleted since. Export the table to "
            "CSV or Parquet with the program that writes it."
        )


def _shown(path: Path, root: Path) -> str:
    return redacted(path.relative_to(root).as_posix())
