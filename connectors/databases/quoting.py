"""Identifiers, literals and patterns quoted for SQL, in DuckDB and Postgres."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def quoted(identifier: str) -> str:
    """Quote an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str | Path) -> str:
    """Quote a text as a standard SQL literal, in which a backslash has no special meaning."""
    return "'" + str(value).replace("'", "''") + "'"


def files_literal(files: Iterable[Path]) -> str:
    """Return files to read as a list in SQL. Characters of patterns (`*`, `?`, `[`) in their paths are escaped."""
    plain = (re.sub(r"[*?[]", r"[\g<0>]", str(file)) for file in files)
    return f"[{', '.join(map(literal, plain))}]"


def contains_any(text: str, characters: str) -> str:
    """Return whether a text contains one of these characters, as SQL for DuckDB; false if it is null."""
    codes = "".join(f"\\x{{{ord(character):x}}}" for character in characters)
    return f"coalesce(regexp_matches({text}, '[{codes}]'), false)" if codes else "false"
