"""Rows that an undo has compared, in `_now`: their values are not read again to be kept and recorded.

`_now` has the values as texts of the server, and, where changes are recorded, the JSON of columns of unusual types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tranship.connectors.databases.before_images import image
from tranship.connectors.databases.postgres.catalog import ColumnType
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.written_times import REMOVED_ROW

REMOVED: Final = (
    f"(SELECT g.target, h.id, h.mail, ({REMOVED_ROW})::UBIGINT AS row "
    "FROM _gone g JOIN _table h ON h.target = g.target) h JOIN _now t ON t.target = h.target"
)
"""The rows that an undo removes, as SQL of the comparison: numbers first, since sorting whole rows is slow."""

_PLAIN: Final = ("int2", "int4", "int8", "bool", "json", "jsonb")
"""Types whose texts are JSON."""
_INSTANTS: Final = ("timestamp", "timestamptz")


def json_image(column: str) -> str:
    """Return the column of `_now` with the JSON of a column, quoted."""
    return quoted(f"json {column}")


def sent_as_json(types: Mapping[str, ColumnType]) -> list[str]:
    """Return the columns whose JSON only the server can write."""
    return [name for name, kind in types.items() if kind.computed or _of_text(kind) is None]


def _of_text(kind: ColumnType) -> str | None:
    """Return how the text of a value becomes JSON as `to_json` of the server writes it, null if that is not known."""
    if kind.base in ("text", "varchar", "bpchar", "date"):
        return "to_json({0})::VARCHAR"
    if kind.base in _PLAIN:
        return "{0}"
    if kind.base in _INSTANTS:
        return "'\"' || replace({0}, ' ', 'T') || CASE WHEN ends_with({0}, '+00') THEN ':00\"' ELSE '\"' END"
    return None


class KnownTexts:
    """The dialect of DuckDB, for values that are texts of the server."""

    barrier = ""

    def __init__(self, types: Mapping[str, ColumnType]) -> None:
        self._types, self._sent = types, set(sent_as_json(types))

    def json(self, column: str, _value: str) -> str:
        """Return a value of `_now` as the text of JSON."""
        form = None if column in self._sent else _of_text(self._types[column])
        return form.format(f"t.{image(column)}") if form else f"t.{json_image(column)}"

    def present(self, texts: Sequence[str]) -> str:
        """Return a list without nulls."""
        return f"list_filter([{', '.join(texts)}], lambda f: f IS NOT NULL)"

    def joined(self, texts: Sequence[str]) -> str:
        """Return one text."""
        return f"concat_ws(', ', {', '.join(texts)})"
