"""Columns of Arrow as columns of a source, from a Parquet file or from a frame in Python. Typed columns are used
unchanged. Structs are unfolded into columns (`address.city`), except where they are metadata as a whole. Values of
other types become text: UUIDs, JSON, bytes, decimals (whole ones without their zeros: `7.00` is the id 7), intervals
and unions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import polars as pl
import pyarrow as pa

from tranship.connectors.files.unfolding import is_metadata

_DASHED: Final = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
"""Start and length of each group of a UUID in its hexadecimal digits."""

_CALENDAR: Final = (-96_465_290, 95_026_234)
"""The days since 1970 that polars can hold in any time zone: about 262,000 years."""
_PER_DAY: Final = {"day": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}
_MOST_DIGITS: Final = 38
"""Number of digits of a decimal in polars."""


def unfolded_names(fields: Iterable[pa.Field], above: str = "") -> list[str]:
    """Return the names of all columns, those of structs unfolded."""
    names = []
    for field in fields:
        if _is_unfolded(field, above):
            names += unfolded_names(field.type, f"{above}{field.name}.")
        else:
            names.append(above + field.name)
    return names


def unfolded(fields: Iterable[pa.Field], arrays: Iterable[pa.Array], above: str = "") -> list[pa.Array]:
    """Return the columns with these names; where a struct is null, so are its parts."""
    found = []
    for field, values in zip(fields, arrays, strict=True):
        if _is_unfolded(field, above):
            found += unfolded(field.type, values.flatten(), f"{above}{field.name}.")
        else:
            found.append(_plain(values))
    return found


def _is_unfolded(field: pa.Field, above: str) -> bool:
    return pa.types.is_struct(field.type) and bool(len(field.type)) and not (not above and is_metadata(field.name))


def _plain(values: pa.Array) -> pa.Array:
    """Return a column in a type that polars has: a UUID in its usual spelling, JSON as text, bytes as text if they are
    UTF-8, else (and if all have one length) in hexadecimal digits. Other columns are unchanged.
    """
    dtype = values.type
    values = _within_calendar(values)
    dtype = values.type
    plain = _plain_type(dtype)
    if plain == dtype:
        return values
    if isinstance(dtype, pa.UuidType):
        digits = pl.Series(values.storage.cast(pa.binary())).bin.encode("hex")
        return pl.select(pl.concat_str([digits.str.slice(*at) for at in _DASHED], separator="-")).to_series().to_arrow()
    if isinstance(dtype, pa.BaseExtensionType):
        return values.cast(plain) if isinstance(dtype, pa.Bool8Type) else _plain(values.storage)
    if pa.types.is_dictionary(dtype):
        return _plain(values.dictionary_decode())
    if pa.types.is_run_end_encoded(dtype):
        import pyarrow.compute as pc

        return _plain(pc.run_end_decode(values))
    if pa.types.is_decimal(dtype) and dtype.scale >= 0:
        # Arrow writes very small ones with an exponent, polars has 38 digits.
        text = pl.Series(values.cast(plain) if dtype.precision > _MOST_DIGITS else values).cast(pl.String)
        return text.str.replace(r"\.0+$", "").to_arrow()
    if pa.types.is_null(dtype) or pa.types.is_float16(dtype) or pa.types.is_timestamp(dtype):
        return values.cast(plain)
    return pa.array([_plain_value(value, dtype) for value in values.to_pylist()], plain)


def _within_calendar(values: pa.Array) -> pa.Array:
    """Return dates and times, at any depth, with those that polars cannot hold, such as `infinity` of a database,
    replaced by the last or first ones that it can: no field accepts either of them. Other columns are unchanged.
    """
    dtype = values.type
    if pa.types.is_date(dtype) or pa.types.is_timestamp(dtype):
        return _clipped(values)
    if not _has_times(dtype):
        return values
    if pa.types.is_struct(dtype):
        parts = [_within_calendar(part) for part in values.flatten()]
        fields = [field.with_type(part.type) for field, part in zip(dtype, parts, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=values.is_null())
    if pa.types.is_map(dtype):
        offsets = pa.array(values.offsets.to_numpy(), pa.int32())
        parts = [_within_calendar(part) for part in (values.keys, values.items)]
        return pa.MapArray.from_arrays(offsets, *parts, mask=values.is_null())
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(values), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int64()))
    items, offsets = _within_calendar(values.flatten()), pa.concat_arrays([pa.array([0], pa.int64()), ends])
    return pa.LargeListArray.from_arrays(offsets, items, mask=values.is_null())


def _has_times(dtype: pa.DataType) -> bool:
    """Return whether a nested type has dates or times at any depth."""
    inner = [dtype.field(at).type for at in range(dtype.num_fields)] if pa.types.is_nested(dtype) else []
    is_known = pa.types.is_struct(dtype) or pa.types.is_map(dtype) or any(is_kind(dtype) for is_kind in _LIST_TYPES)
    return is_known and any(pa.types.is_date(t) or pa.types.is_timestamp(t) or _has_times(t) for t in inner)


def _clipped(values: pa.Array) -> pa.Array:
    dtype = values.type
    unit = "day" if pa.types.is_date32(dtype) else "ms" if pa.types.is_date64(dtype) else dtype.unit
    if unit == "ns":
        return values
    integer = pa.int32() if unit == "day" else pa.int64()
    counts = pl.Series(values.view(integer))
    first, last = (days * _PER_DAY[unit] for days in _CALENDAR)
    least, most = counts.min(), counts.max()
    if not isinstance(least, int) or not isinstance(most, int) or (least >= first and most <= last):
        return values
    return counts.clip(first, last).to_arrow().view(dtype)


_LIST_TYPES: Final = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
_PLAIN_TYPES: Final = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_date),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_time, pa.types.is_duration),
)


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    if isinstance(dtype, pa.Bool8Type):
        return pa.bool_()
    if isinstance(dtype, pa.BaseExtensionType) and not isinstance(dtype, pa.UuidType | pa.JsonType):
        return _plain_type(dtype.storage_type)
    if any(is_kind(dtype) for is_kind in _PLAIN_TYPES):
        return dtype
    if pa.types.is_timestamp(dtype):
        return dtype if dtype.tz is None else pa.timestamp(dtype.unit, "UTC")
    if pa.types.is_float16(dtype):
        return pa.float32()
    if pa.types.is_dictionary(dtype) or pa.types.is_run_end_encoded(dtype):
        return _plain_type(dtype.value_type)
    if pa.types.is_map(dtype):
        return pa.map_(_plain_type(dtype.key_type), _plain_type(dtype.item_type))
    if pa.types.is_struct(dtype) and len(dtype):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in dtype])
    if any(is_kind(dtype) for is_kind in _LIST_TYPES):
        plain = _plain_type(dtype.value_type)
        is_same = plain == dtype.value_type and (pa.types.is_list(dtype) or pa.types.is_large_list(dtype))
        return dtype if is_same else pa.large_list(plain)
    return pa.large_string()


def _is_bytes(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(is_kind(dtype) for is_kind in kinds)


def text_of_bytes(value: bytes) -> str:
    """Return bytes as text if they are UTF-8, else in hexadecimal digits."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def text_of_decimal(value: Decimal) -> str:
    """Return a decimal with its digits; a whole one without zeros after the point."""
    return re.sub(r"\.0+$", "", f"{value:f}")


def _plain_value(value: Any, dtype: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pa.UuidType | pa.JsonType):
        return str(value)
    if isinstance(dtype, pa.BaseExtensionType):
        return value if isinstance(dtype, pa.Bool8Type) else _plain_value(value, dtype.storage_type)
    if _is_bytes(dtype):
        if pa.types.is_fixed_size_binary(dtype):
            return value.hex()
        return text_of_bytes(value)
    if pa.types.is_dictionary(dtype) or pa.types.is_run_end_encoded(dtype):
        return _plain_value(value, dtype.value_type)
    if pa.types.is_map(dtype):
        return [(_plain_value(key, dtype.key_type), _plain_value(item, dtype.item_type)) for key, item in value]
    if pa.types.is_struct(dtype) and len(dtype):
        return {field.name: _plain_value(value[field.name], field.type) for field in dtype}
    if any(is_kind(dtype) for is_kind in _LIST_TYPES):
        return [_plain_value(item, dtype.value_type) for item in value]
    if pa.types.is_decimal(dtype):
        return text_of_decimal(value)
    return str(value) if pa.types.is_large_string(_plain_type(dtype)) and not isinstance(value, str) else value
