"""Messages of databases without the customers' values that they quote."""

from __future__ import annotations

import re
from typing import Final

_QUOTED: Final = r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|»[^«]*«|«[^»]*»|„[^“”]*[“”]|“[^”]*”"
"""Text in the quotes of the languages that the server may speak."""
_NAMES: Final = (
    *("at or near", "collation", "column", "constraint", "cursor", "database", "domain", "encoding", "extension"),
    *("function", "index", "language", "operator", "parameter", "partition", "policy", "publication", "relation"),
    *("role", "schema", "sequence", "server", "table", "tablespace", "trigger", "type", "user", "view"),
)
"""Words after which quotes contain a name of the database or of the user's own SQL, and no value."""
_NAMED: Final = re.compile(rf"\b(?:{'|'.join(_NAMES)}) $", re.IGNORECASE)


def without_values(line: str) -> str:
    """Return a line of a message in which quoted text is `"…"`, unless it is the name of something in the database."""
    # After a colon it adds nothing: `invalid input syntax for type integer: "x"`.
    line = re.sub(rf":\s+(?:{_QUOTED})", "", line)
    line = re.sub(r"\bvalue -?\d[\d.eE+-]*", "value …", line)
    return re.sub(_QUOTED, lambda found: found[0] if _NAMED.search(line, 0, found.start()) else '"…"', line)
