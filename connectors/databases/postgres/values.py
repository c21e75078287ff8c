"""Values of survivors as they are sent to the server, as SQL of the comparison."""

from __future__ import annotations

from tranship.connectors.databases.table_mapping import (
    TYPE_OF,
    Stored,
    quoted,
)


def is_jsonb(at: Stored) -> bool:
    """Whether the column is jsonb, which only the server compares."""
    return at.at.by_server and at.at.shown == "jsonb"


def is_array(at: Stored) -> bool:
    """A list, stored in an array of which only the server knows what it takes: `citext[]`, `varchar(20)[]`."""
    return at.at.by_server and at.at.shown.endswith("[]") and TYPE_OF[at.field].endswith("[]")


def as_text(at: Stored) -> str:
    """A survivor's value as text for the server to read; lists as an array's text or as JSON."""
    value = f"s.{quoted(at.field)}"
    if is_array(at):
        escaped = "replace(replace(x, '\\', '\\\\'), '\"', '\\\"')"
        return f"'{{' || array_to_string(list_transform({value}, lambda x: '\"' || {escaped} || '\"'), ',') || '}}'"
    if TYPE_OF[at.field].endswith("[]"):
        return f"CASE WHEN {value} IS NOT NULL THEN to_json({value})::VARCHAR END"
    return f"{value}::VARCHAR"


def is_plain(json: str) -> str:
    """Whether DuckDB and jsonb write this JSON alike but for blanks and the order of names: no code points by number,
    no fractions, exponents or numbers of many digits (nor texts that look so).
    """
    return rf"json_valid({json}) AND NOT regexp_matches({json}, '\\u|[0-9][.eE]|[0-9]{{16}}')"


def without_blanks(jsonb: str) -> str:
    """What jsonb shows, comparable with a survivor's JSON."""
    return f"CASE WHEN {is_plain(jsonb)} THEN json({jsonb})::VARCHAR ELSE {jsonb} END"


def needs_cast(at: Stored) -> bool:
    """Whether a value must go through a cast of the server's, and cannot be copied straight into the column."""
    return at.at.dtype in ("UUID", "JSON") or (at.at.by_server and not is_jsonb(at))


def sent_value(at: Stored) -> str:
    """The survivor's value as it is sent to be stored."""
    if is_jsonb(at):
        return as_text(at)
    return f"{at.value}::VARCHAR" if at.at.dtype in ("UUID", "JSON") else at.value
