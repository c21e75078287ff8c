"""Columns of JSON: parsed by DuckDB's JSON functions, in sets, and assembled by polars. JSON is compact, as DuckDB
writes it. No value is processed in Python. Callable from any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Final

import polars as pl

from tranship.schemas.constant import constant
from tranship.schemas.provider import Kind, quoted

if TYPE_CHECKING:
    import duckdb

_LOCK: Final = Lock()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    import duckdb

    # Running out of memory is an error; DuckDB would otherwise write files into the working directory.
    return duckdb.connect(":memory:", config={"threads": 2, "temp_directory": ""})


def query_columns(query: str, **columns: pl.Series) -> pl.DataFrame:
    """Return the result of a query over columns of text, each a table `<name>` with one column `t`, in their order."""
    with _LOCK:
        cursor = _engine().cursor()
    with closing(cursor):
        for name, column in columns.items():
            cursor.register(name, column.alias("t").to_frame().to_arrow())
        return pl.DataFrame(cursor.sql(query).to_arrow_table())


def entries(objects: pl.Series) -> pl.DataFrame:
    """Return the entries of JSON objects, in order: row (u32, place of the object), key, value (JSON)."""
    query = (
        "select json_keys(o) as key, json_extract(o, '$.*')::varchar[] as value from (select t::json as o from objects)"
    )
    lists = query_columns(query, objects=objects).with_row_index("row")
    return lists.filter(pl.col("key").list.len() > 0).explode("key", "value", empty_as_null=False)


_FORMS: Final[dict[Kind, str]] = {
    "integer": r"^-?[0-9]+$",
    "number": r"^-?[0-9]",
    "boolean": r"^[tf]",
    "json": r"^[\[{]",
    "texts": r'^\[(?:"(?:[^"\\]|\\.)*"(?:,"(?:[^"\\]|\\.)*")*)?\]$',
}
"""Kind → regular expression that its compact JSON matches."""
_BEGINS: Final[dict[Kind, str]] = {"text": '"', "array": "[", "object": "{"}
"""Kind → first character of its JSON, for the other kinds."""
EXPECTED: Final[dict[Kind, str]] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "texts": "an array of text",
    "array": "an array",
    "object": "an object",
    "json": "an array or an object",
}
"""Kind → its name in messages."""
FOUND: Final = {
    '"': "text",
    "{": "an object",
    "[": "an array",
    "t": "true",
    "f": "false",
    "n": "null",
    **dict.fromkeys("-0123456789", "a number"),
}
"""First character of JSON → the kind of value, for messages."""


def fits(kind: Kind, value: pl.Expr) -> pl.Expr:
    """Return whether JSON is of a kind; null stays null."""
    if kind in _BEGINS:
        return value.str.starts_with(_BEGINS[kind])
    return value.str.contains(_FORMS[kind])


def plain(columns: pl.DataFrame) -> pl.DataFrame:
    """Decode columns of JSON strings to text."""
    # A quote within text is escaped: without a backslash, the only quotes are those around the text.
    bare = columns.select(pl.all().str.strip_chars('"'))
    escapes = columns.select(pl.all().str.contains("\\", literal=True))
    places = {name: rows for name in columns.columns if len(rows := escapes[name].arg_true())}
    if not places:
        return bare
    # One query for all columns.
    escaped = pl.concat([columns[name].gather(rows).alias("t") for name, rows in places.items()])
    read = query_columns("select json_extract_string(t, '$') as text from texts", texts=escaped)["text"]
    first = 0
    for name, rows in places.items():
        bare = bare.with_columns(bare[name].scatter(rows, read.slice(first, len(rows))))
        first += len(rows)
    return bare


def text_of(values: pl.Series) -> pl.Series:
    """Decode JSON strings to text."""
    return plain(values.to_frame("text"))["text"].alias(values.name)


def as_json(kind: Kind, value: pl.Expr) -> pl.Expr:
    """Return a provider column as JSON."""
    return quoted(value) if kind == "text" else value


def pair(key: str, value: pl.Expr) -> pl.Expr:
    """Return `"key":value`, null where the value is null."""
    return pl.lit(f"{json.dumps(key, ensure_ascii=False)}:") + value


def of_pairs(parts: Sequence[pl.Series]) -> pl.Series:
    """Join pairs to JSON objects; null where all pairs are null."""
    inner = pl.concat_str([part.alias("pairs") for part in parts], separator=",", ignore_nulls=True)
    return evaluated(pl.when(inner != "").then(pl.concat_str(pl.lit("{"), inner, pl.lit("}"))))


def inner_of(objects: pl.Series) -> pl.Series:
    """Return the text between the braces of JSON objects; null where they are empty."""
    inner = objects.str.slice(1).str.head(-1).str.strip_chars(" \t\r\n")
    return inner.set(inner == "", None)


def joined(entries: pl.DataFrame, count: int) -> pl.Series:
    """Join entries (row, key, value) to the pairs of `count` objects, null for an object without entries."""
    pairs = entries.select("row", pair=pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value"))
    # Much faster than joining within the groups.
    found = pairs.group_by("row", maintain_order=True).agg("pair").with_columns(pl.col("pair").list.join(","))
    return placed(found["row"], found["pair"], count)


def placed(rows: pl.Series, values: pl.Series, count: int) -> pl.Series:
    """Return a column of text of length `count`, with values in these rows and null elsewhere."""
    return constant(None, count, pl.String).scatter(rows, values)


def evaluated(expression: pl.Expr) -> pl.Series:
    """Evaluate an expression that contains its own series (`pl.lit`)."""
    return pl.select(expression).to_series()
