"""Columns of JSON: taken apart by DuckDB's JSON functions, set-based, and put together by polars.

JSON is compact, as DuckDB writes it. Nothing here looks at a single value in Python. Callable from any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Final

import polars as pl

from tranship.schemas.provider import Kind, quoted

if TYPE_CHECKING:
    import duckdb

_LOCK: Final = Lock()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    import duckdb

    # What does not fit in memory is an error, not a file in the working directory.
    return duckdb.connect(":memory:", config={"threads": 2, "temp_directory": ""})


def query_columns(query: str, **columns: pl.Series) -> pl.DataFrame:
    """The answer to a query over columns of text, each a table `<name>` with a column `t`; in order."""
    with _LOCK:
        cursor = _engine().cursor()
    with closing(cursor):
        for name, column in columns.items():
            cursor.register(name, column.alias("t").to_frame().to_arrow())
        return pl.DataFrame(cursor.sql(query).to_arrow_table())


def entries(objects: pl.Series) -> pl.DataFrame:
    """JSON objects → their entries in order: at (u32, place of the object), key, value (JSON)."""
    query = (
        "select json_keys(o) as key, json_extract(o, '$.*')::varchar[] as value from (select t::json as o from objects)"
    )
    lists = query_columns(query, objects=objects).with_row_index("at")
    return lists.filter(pl.col("key").list.len() > 0).explode("key", "value", empty_as_null=False)


# How compact JSON of a kind looks, or begins.
_FORMS: Final[dict[Kind, str]] = {
    "integer": r"^-?[0-9]+$",
    "number": r"^-?[0-9]",
    "boolean": r"^[tf]",
    "json": r"^[\[{]",
    "texts": r'^\[(?:"(?:[^"\\]|\\.)*"(?:,"(?:[^"\\]|\\.)*")*)?\]$',
}
_BEGINS: Final[dict[Kind, str]] = {"text": '"', "array": "[", "object": "{"}
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
FOUND: Final = {
    '"': "text",
    "{": "an object",
    "[": "an array",
    "t": "true",
    "f": "false",
    "n": "null",
    **dict.fromkeys("-0123456789", "a number"),
}
"""What a value is by the first letter of its JSON."""


def fits(kind: Kind, value: pl.Expr) -> pl.Expr:
    """Whether JSON is of a kind; null where there is none."""
    if kind in _BEGINS:
        return value.str.starts_with(_BEGINS[kind])
    return value.str.contains(_FORMS[kind])


def plain(columns: pl.DataFrame) -> pl.DataFrame:
    """JSON strings → the text they hold."""
    # A quote within text is escaped: without escapes there are no others than those around it.
    bare = columns.select(pl.all().str.strip_chars('"'))
    escapes = columns.select(pl.all().str.contains("\\", literal=True))
    places = {name: at for name in columns.columns if len(at := escapes[name].arg_true())}
    if not places:
        return bare
    # One question for all columns.
    escaped = pl.concat([columns[name].gather(at).alias("t") for name, at in places.items()])
    read = query_columns("select json_extract_string(t, '$') as text from texts", texts=escaped)["text"]
    first = 0
    for name, at in places.items():
        bare = bare.with_columns(bare[name].scatter(at, read.slice(first, len(at))))
        first += len(at)
    return bare


def text_of(values: pl.Series) -> pl.Series:
    """JSON strings → the text they hold."""
    return plain(values.to_frame("text"))["text"].alias(values.name)


def as_json(kind: Kind, value: pl.Expr) -> pl.Expr:
    """A provider column → JSON."""
    return quoted(value) if kind == "text" else value


def pair(key: str, value: pl.Expr) -> pl.Expr:
    """`"key":value`, null where the value is."""
    return pl.lit(f"{json.dumps(key, ensure_ascii=False)}:") + value


def of_pairs(parts: Sequence[pl.Series]) -> pl.Series:
    """Pairs → JSON objects; null where there are none."""
    inner = pl.concat_str([part.alias("pairs") for part in parts], separator=",", ignore_nulls=True)
    return evaluated(pl.when(inner != "").then(pl.concat_str(pl.lit("{"), inner, pl.lit("}"))))


def inner_of(objects: pl.Series) -> pl.Series:
    """What stands between the braces of JSON objects; null where nothing does."""
    inner = objects.str.slice(1).str.head(-1).str.strip_chars(" \t\r\n")
    return inner.set(inner == "", None)


def joined(entries: pl.DataFrame, count: int) -> pl.Series:
    """The entries of each object as pairs of JSON, null where it has none."""
    pairs = entries.select("at", pair=pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value"))
    # Far quicker than to join within the groups.
    found = pairs.group_by("at", maintain_order=True).agg("pair").with_columns(pl.col("pair").list.join(","))
    return placed(found["at"], found["pair"], count)


def placed(places: pl.Series, values: pl.Series, count: int) -> pl.Series:
    """A column of text with values at some places and null elsewhere."""
    return pl.repeat(None, count, dtype=pl.String, eager=True).scatter(places, values)


def evaluated(expression: pl.Expr) -> pl.Series:
    """An expression over series that it holds itself."""
    return pl.select(expression).to_series()
