"""What does not exist and would be created: the note about it, and names of what exists that may have been meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from tranship.connectors.errors import ConfigError

_CLOSE: Final = 0.8
_LISTED: Final = 5


def similar(name: str, others: Iterable[str]) -> list[str]:
    """Those of the others that `name` may be a slip for: another case or plural, a letter more, less or wrong."""
    folded: dict[str, list[str]] = {}
    for other in others:
        folded.setdefault(_fold(other), []).append(other)
    close = get_close_matches(_fold(name), folded, n=_LISTED, cutoff=_CLOSE)
    return [other for match in close for other in sorted(folded[match]) if other != name][:_LISTED]


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()).removesuffix("s") or name


def similar_tables(schema: str, table: str, tables: Iterable[tuple[str, str]]) -> list[str]:
    """Tables of similar names in the same schema, of the same name (but for case and plural) in other schemas."""
    found = list(tables)
    here = similar(table, (other for at, other in found if at == schema))
    elsewhere = sorted(f"{at}.{other}" for at, other in found if at != schema and _fold(other) == _fold(table))
    return (here + elsewhere)[:_LISTED]


def similar_files(file: Path) -> list[str]:
    """Files of similar names and the same suffix in the same folder."""
    others = [other.stem for other in file.parent.glob(f"*{file.suffix}") if other.is_file()]
    return [f"{stem}{file.suffix}" for stem in similar(file.stem, others)]


def hint(kind: str, alike: list[str]) -> str:
    """What a person is told about names that may have been meant, empty if there are none."""
    verb = "a similar {} exists" if len(alike) == 1 else "similar {}s exist"
    return f"{verb.format(kind)}: {', '.join(alike)}" if alike else ""


def will_be_created(what: str, meant: str) -> str:
    """The note about something that does not exist, with a hint."""
    return f"{what} does not exist and will be created{f'; {meant}' if meant else ''}"


def not_created(what: str, meant: str) -> ConfigError:
    """What is raised instead under --create never."""
    also = f"; {meant}" if meant else ""
    return ConfigError(f"{what} does not exist{also}. Name one that exists, or allow it to be created: --create auto")


def must_exist(file: Path) -> None:
    """Raises ConfigError if a file that is to be replaced is not there."""
    if not file.exists():
        raise not_created(f"file {file}", hint("file", similar_files(file)))
