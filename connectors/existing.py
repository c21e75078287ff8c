"""Tables and files that do not exist and would be created: the note, and similar names that may have been meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tranship.connectors import suggestions
from tranship.connectors.errors import ConfigError

_CLOSE: Final = 0.8
_LISTED: Final = 5


def similar(name: str, others: Iterable[str]) -> list[str]:
    """Return the names that `name` may be a misspelling of: other case, plural, or a letter more, less or wrong."""
    different = sorted(other for other in others if other != name)
    return suggestions.similar(name, different, at_most=_LISTED, cutoff=_CLOSE, key=_fold)


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()).removesuffix("s") or name


def similar_tables(schema: str, table: str, tables: Iterable[tuple[str, str]]) -> list[str]:
    """Return tables with similar names in the same schema, and with the same name (case and plural aside) in others."""
    found = list(tables)
    here = similar(table, (other for owner, other in found if owner == schema))
    elsewhere = sorted(f"{owner}.{other}" for owner, other in found if owner != schema and _fold(other) == _fold(table))
    return (here + elsewhere)[:_LISTED]


def similar_files(file: Path) -> list[str]:
    """Return files with similar names and the same suffix in the same folder."""
    others = [other.stem for other in file.parent.glob(f"*{file.suffix}") if other.is_file()]
    return [f"{stem}{file.suffix}" for stem in similar(file.stem, others)]


def hint(kind: str, alike: list[str]) -> str:
    """Return the part of a message that lists similar names; empty if there are none."""
    verb = "a similar {} exists" if len(alike) == 1 else "similar {}s exist"
    return f"{verb.format(kind)}: {', '.join(alike)}" if alike else ""


def will_be_created(what: str, meant: str) -> str:
    """Return the note about something that does not exist, with a hint."""
    return f"{what} does not exist and will be created{f'; {meant}' if meant else ''}"


def not_created(what: str, meant: str) -> ConfigError:
    """Return the error that is raised instead under --create never."""
    also = f"; {meant}" if meant else ""
    return ConfigError(f"{what} does not exist{also}. Name one that exists, or allow it to be created: --create auto")


def must_exist(file: Path) -> None:
    """Raise ConfigError if a file that is to be replaced does not exist."""
    if not file.exists():
        raise not_created(f"file {file}", hint("file", similar_files(file)))
