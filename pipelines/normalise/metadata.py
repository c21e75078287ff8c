"""Check and build the JSON object of a record's metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from tranship.pipelines.normalise.lists import JSON_NUMBER
from tranship.pipelines.normalise.series import VALUE, evaluate, fill_where, replace_where
from tranship.pipelines.normalise.text import trimmed
from tranship.schemas.constant import constant

_CELLS_AT_A_TIME: Final = 1 << 14

_PLAIN_TEXT: Final = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'

_PAIR: Final = rf"{_PLAIN_TEXT}\s*:\s*(?:{_PLAIN_TEXT}|{JSON_NUMBER}|true|false|null)"

# Most metadata: one level, no \u escapes. Anything else goes to a parser.
_FLAT_OBJECT: Final = rf"^\{{\s*{_PAIR}\s*(?:,\s*{_PAIR}\s*)*\}}$"


def json_object(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return JSON objects unchanged (an empty one is null), and a mask of the values that are not JSON objects. A list
    of objects with `key` and `value`, each key once, is an object; an empty list is an empty one.
    """
    plain = trimmed(values)
    other = ~plain.str.contains(_FLAT_OBJECT)
    bad = constant(False, len(plain))
    rows = other.arg_true()
    if rows.is_empty():
        return plain, bad
    unusual = plain.gather(rows)
    unusual = replace_where(unusual, unusual.str.contains(r'^\[\s*\{[^{}]*"key"'), _objects_of_pairs)
    valid = unusual.str.contains(_FLAT_OBJECT)
    valid |= unusual.str.starts_with("{") & unusual.str.json_path_match("$").is_not_null()
    # APIs write a list without pairs where there are none.
    empty = unusual.str.contains(r"^(?:\{\s*\}|\[\s*\])$")
    valid |= empty
    kept = pl.select(pl.when(valid & ~empty).then(unusual)).to_series()
    return plain.clone().scatter(rows, kept), bad.scatter(rows, ~valid)


def _objects_of_pairs(values: pl.Series) -> pl.Series:
    """Return the JSON object that each list of keys and values means; anything else is unchanged."""
    return pl.Series([_object_of_pairs(value) for value in values], dtype=pl.String)


def _object_of_pairs(text: str) -> str:
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not all(isinstance(pair, dict) and set(pair) == {"key", "value"} and type(pair["key"]) is str for pair in pairs):
        return text
    found = {pair["key"]: pair["value"] for pair in pairs}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) if len(found) == len(pairs) else text


def merge_unmapped(own: pl.Series | None, extra: pl.DataFrame) -> pl.Series:
    """Merge the record's own metadata and the unmapped columns into one JSON object, without null and blank values.

    A column whose name may already occur in the record's own metadata is added as `column.<name>`.
    """
    pairs = _encoded(extra)
    if own is not None:
        pairs = [pl.Series("own", evaluate(own, _between_braces(VALUE))), *_renamed_where_taken(pairs, own, extra)]
    merged = pl.DataFrame(pairs).select(pl.concat_str(pl.all(), separator=",", ignore_nulls=True).alias("v"))
    return merged.select(pl.when(VALUE != "").then(pl.concat_str(pl.lit("{"), VALUE, pl.lit("}")))).to_series()


def _encoded(columns: pl.DataFrame) -> list[pl.Series]:
    """Return each column as pairs of JSON, null where the value is null or blank. Columns of few rows are encoded many
    at a time: a wide table has thousands of them.
    """
    by_type: dict[pl.DataType, list[tuple[int, pl.Series]]] = {}
    for place, values in enumerate(columns.iter_columns()):
        by_type.setdefault(values.dtype, []).append((place, values))
    at_a_time = max(1, _CELLS_AT_A_TIME // max(1, columns.height))
    encoded = {
        place: pairs.alias(str(place))
        for of_type in by_type.values()
        for start in range(0, len(of_type), at_a_time)
        for place, pairs in _encoded_together(dict(of_type[start : start + at_a_time]))
    }
    return [encoded[place] for place in range(columns.width)]


def _encoded_together(columns: Mapping[int, pl.Series]) -> Iterator[tuple[int, pl.Series]]:
    """Yield the pairs of columns of one type, which are encoded as one."""
    [(place, first), *others] = columns.items()
    if not others:
        yield place, _pairs_of(first, first.name)
        return
    keys = evaluate(pl.Series([values.name for values in columns.values()]), _as_key(VALUE))
    count = len(first)
    values = _pairs_of(pl.concat([values.alias("v") for values in columns.values()]), "v").str.strip_prefix('"v":')
    of_rows = keys.gather(np.repeat(np.arange(len(keys), dtype=np.uint32), count))
    pairs = pl.select(pl.concat_str(of_rows, values)).to_series()
    for number, place in enumerate(columns):
        yield place, pairs.slice(number * count, count)


def _pairs_of(values: pl.Series, key: str) -> pl.Series:
    if values.dtype != pl.String:
        return encode_pairs(values, key)
    return evaluate(values, pl.when(VALUE.str.strip_chars() != "").then(_between_braces(_as_object(VALUE, key))))


def _renamed_where_taken(pairs: Sequence[pl.Series], own: pl.Series, columns: pl.DataFrame) -> Iterator[pl.Series]:
    """Yield the pairs, with the key `column.<name>` where the record's own metadata may have the name."""
    quoted = [f'"{name}"' for name in columns.columns]
    occurring = set(own.str.extract_many(quoted, overlapping=True).list.explode().unique())
    for series, name in zip(pairs, quoted, strict=True):
        if name in occurring:
            taken = own.str.contains(name, literal=True).fill_null(value=False)
            series = replace_where(series, taken, lambda part: part.str.replace('"', '"column.', literal=True))
        yield series


def encode_pairs(values: pl.Series, key: str) -> pl.Series:
    """Return `"key":value` as JSON, null where the value is null or NaN. Infinite numbers, unknown to JSON, are
    strings.
    """
    if values.dtype.is_float():
        values = evaluate(values, pl.when(VALUE.is_not_nan()).then(VALUE))
    pairs = evaluate(values, pl.when(VALUE.is_not_null()).then(_between_braces(_as_object(VALUE, key))))
    if not (values.dtype.is_float() or values.dtype.is_nested()):
        return pairs
    infinite = evaluate(values, _has_infinity(VALUE, values.dtype)).fill_null(value=False)
    return fill_where(pairs, values, infinite, lambda part: pl.Series([_json_pair(key, value) for value in part]))


def _json_pair(key: str, value: Any) -> str:
    return json.dumps({key: _json_value(value)}, default=str, separators=(",", ":"), ensure_ascii=False)[1:-1]


def _has_infinity(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return whether a value contains an infinite number at any depth."""
    if dtype.is_float():
        return value.is_infinite()
    if isinstance(dtype, pl.List):
        return value.list.eval(_has_infinity(pl.element(), dtype.inner)).list.any()  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pl.any_horizontal(
            pl.lit(False),
            *(_has_infinity(value.struct.field(field.name), field.dtype) for field in dtype.fields),  # type: ignore[arg-type]
        )
    return pl.repeat(False, pl.len(), dtype=pl.Boolean)


def _json_value(value: Any) -> Any:
    """Return a Python value that JSON can represent: NaN as null, infinite numbers as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    return [_json_value(item) for item in value] if isinstance(value, list | pl.Series) else value


def _as_object(value: pl.Expr, key: str) -> pl.Expr:
    """Return a JSON object with one key."""
    return pl.struct(value.alias(key)).struct.json_encode()


def _as_key(name: pl.Expr) -> pl.Expr:
    """Return a name as the key of a pair, with its colon."""
    return pl.struct(name.alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}") + ":"


def _between_braces(objects: pl.Expr) -> pl.Expr:
    """Return the text between the braces of JSON objects."""
    return objects.str.slice(1).str.head(-1)
