"""The values of survivors that are sent to the server, as SQL of the comparison."""

from __future__ import annotations

from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import TYPE_OF, MappedField


def is_jsonb(mapped: MappedField) -> bool:
    """Return whether the column is jsonb, which only the server can compare."""
    return mapped.column.cast_by_server and mapped.column.shown == "jsonb"


def is_array(mapped: MappedField) -> bool:
    """Return whether it is a list in an array that only the server can convert: `citext[]`, `varchar(20)[]`."""
    return mapped.column.cast_by_server and mapped.column.shown.endswith("[]") and TYPE_OF[mapped.field].endswith("[]")


def as_text(mapped: MappedField) -> str:
    """Return a survivor's value as text that the server can read; lists as the text of an array or as JSON."""
    value = f"s.{quoted(mapped.field)}"
    if is_array(mapped):
        escaped = "replace(replace(x, '\\', '\\\\'), '\"', '\\\"')"
        return f"'{{' || array_to_string(list_transform({value}, lambda x: '\"' || {escaped} || '\"'), ',') || '}}'"
    if TYPE_OF[mapped.field].endswith("[]"):
        return f"CASE WHEN {value} IS NOT NULL THEN to_json({value})::VARCHAR END"
    return f"{value}::VARCHAR"


def is_plain(json: str) -> str:
    """Return whether DuckDB and jsonb write this JSON alike except for blanks and the order of names: no escaped code
    points, no fractions, exponents or numbers of many digits (nor texts that look so).
    """
    return rf"json_valid({json}) AND NOT regexp_matches({json}, '\\u|[0-9][.eE]|[0-9]{{16}}')"


def without_blanks(jsonb: str) -> str:
    """Return the text of jsonb in a form comparable with a survivor's JSON."""
    return f"CASE WHEN {is_plain(jsonb)} THEN json({jsonb})::VARCHAR ELSE {jsonb} END"


def needs_cast(mapped: MappedField) -> bool:
    """Return whether the server must cast a value, which then cannot be copied directly into the column."""
    return mapped.column.dtype in ("UUID", "JSON") or (mapped.column.cast_by_server and not is_jsonb(mapped))


def value_sent(mapped: MappedField) -> str:
    """Return the survivor's value as it is sent for storing."""
    if is_jsonb(mapped):
        return as_text(mapped)
    return f"{mapped.value}::VARCHAR" if mapped.column.dtype in ("UUID", "JSON") else mapped.value
