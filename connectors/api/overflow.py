"""The overflow of a provider's customer: the object for values without a native field.

It contains the customer's metadata, and beside it our own entries: canonical values that the provider's fields would
not return unchanged. See `schemas.provider.Overflow` for the three styles.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import polars as pl
from msgspec import Struct

from tranship.connectors.json_text import columns as jsons
from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.provider import OVERFLOW_FIELDS, Kind, ProviderSchema, quoted

_PREFIX: Final = "canon"
_METADATA: Final = "metadata"
"""The name of the entry with the metadata that cannot be kept in the overflow under its own keys."""
_NULLS: Final = "nulls"
"""The name of the entry in which an overflow of text lists the fields that are null."""


class ReadOverflow(Struct, frozen=True):
    """Parsed overflows: `spilled` is canonical field → rows and their values (text, null for an explicit null), `inner`
    the metadata as pairs of JSON (null without any), `own` (row, key) the metadata keys that begin with the provider's
    name.
    """

    spilled: Mapping[str, tuple[pl.Series, pl.Series]]
    inner: pl.Series
    own: pl.DataFrame


def _kind_of(name: str) -> Kind:
    """Return the JSON type of a canonical field in an overflow of any JSON."""
    if name == _METADATA:
        return "object"
    if name in LISTS:
        return "texts"
    return "text" if COLUMNS[name] == pl.String or name in INSTANTS else "integer"


@cache
def _reserved(schema: ProviderSchema) -> Mapping[str, str]:
    """Return key of ours in an overflow → canonical field, `metadata`, or `nulls` of an overflow of text."""
    prefix = "" if schema.overflow.style == "nested" else f"{_PREFIX}_"
    names = (*OVERFLOW_FIELDS, _METADATA, *([_NULLS] if schema.overflow.style == "texts" else []))
    return {f"{prefix}{name}": name for name in names}


def read_overflow(schema: ProviderSchema, overflows: pl.Series) -> ReadOverflow:
    """Parse overflows (compact JSON, null without one)."""
    inner = jsons.inner_of(overflows)
    no_keys = pl.DataFrame(schema={"row": pl.UInt32, "key": pl.String})
    # Keys are unescaped in compact JSON: an overflow without these prefixes has no entries of ours.
    touched = overflows.str.contains_any([f'"{_PREFIX}', f'"{schema.provider}.']).fill_null(value=False)
    rows = touched.arg_true()
    if rows.is_empty():
        return ReadOverflow({}, inner, no_keys)
    ours, free = _separated(schema, jsons.entries(overflows.gather(rows)))
    restored = _entries_within(ours.filter(name=_METADATA))
    if not restored.is_empty():
        free = pl.concat([free, restored]).unique(["row", "key"], keep="last", maintain_order=True)
    spilled = {
        name: (rows.gather(group["row"]), group["value"])
        for (name,), group in ours.filter(pl.col("name") != _METADATA).partition_by("name", as_dict=True).items()
    }
    own = free.filter(pl.col("key").str.starts_with(f"{schema.provider}.")).select("row", "key")
    return ReadOverflow(
        spilled,
        inner.scatter(rows, jsons.joined(free, len(rows))),
        own.with_columns(rows.gather(own["row"]).cast(pl.UInt32).alias("row")),
    )


def _entries_within(objects: pl.DataFrame) -> pl.DataFrame:
    """Return the entries of the objects in `value`, with the row of each object."""
    entries = jsons.entries(objects["value"])
    return entries.with_columns(objects["row"].gather(entries["row"]))


def _separated(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the entries of overflows: ours (row, name, value as canonical text; metadata as JSON) and the customer's
    own (row, key, value).

    An entry with a key of ours whose value we would not have written is the customer's own.
    """
    if schema.overflow.style == "texts":
        return _separated_texts(schema, entries)
    if schema.overflow.style == "nested":
        nests = (pl.col("key") == _PREFIX) & pl.col("value").str.starts_with("{")
        ours, left = _separated_json(schema, _entries_within(entries.filter(nests)))
        # Entries that others put into our object are kept under a key that we never write to.
        objects = left.group_by("row", maintain_order=True).agg(
            key=pl.lit(schema.key(_PREFIX)),
            value=pl.concat_str(
                pl.lit("{"), pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value").str.join(","), pl.lit("}")
            ),
        )
        return ours, pl.concat([entries.filter(~nests), objects])
    return _separated_json(schema, entries)


_NO_SPILL: Final = pl.DataFrame(schema={"row": pl.UInt32, "name": pl.String, "value": pl.String})


def _separated_json(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reserved = _reserved(schema)
    named = entries["key"].is_in(list(reserved))
    texts, others, free = [_NO_SPILL], [_NO_SPILL], [entries.filter(~named)]
    for (key,), group in entries.filter(named).partition_by("key", as_dict=True).items():
        name, kind = reserved[key], _kind_of(reserved[key])
        is_ours = jsons.fits(kind, pl.col("value"))
        if name != _METADATA:
            is_ours |= pl.col("value") == "null"
        (texts if kind == "text" else others).append(
            group.filter(is_ours).select("row", name=pl.lit(name), value="value")
        )
        free.append(group.filter(~is_ours))
    text, other = (
        pl.concat(frames).with_columns(pl.when(pl.col("value") != "null").then("value")) for frames in (texts, others)
    )
    return pl.concat([text.with_columns(jsons.text_of(text["value"])), other]), pl.concat(free)


def _separated_texts(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reserved = _reserved(schema)
    name = pl.col("key").replace_strict(reserved, default=None, return_dtype=pl.String)
    named = entries.with_columns(name=name, is_text=pl.col("value").str.starts_with('"'))
    is_part = pl.col("name").is_null() & pl.col("is_text") & pl.col("key").str.contains(rf"^{_PREFIX}_.*_[0-9]+$")
    groups = pl.col("key").str.extract_groups(r"^(.*)_([0-9]+)$")
    parts = (
        named.with_row_index("index")
        .filter(is_part)
        .with_columns(
            name=groups.struct[0].replace_strict(reserved, default=None, return_dtype=pl.String),
            number=groups.struct[1].cast(pl.UInt64, strict=False),
        )
        .drop_nulls("name")
    )
    is_ours = (named["name"].is_not_null() & named["is_text"]).alias("is_ours")
    ours = named.filter(is_ours).select("row", "name", jsons.text_of(named["value"].filter(is_ours)))
    if not parts.is_empty():
        joined = (
            parts.with_columns(jsons.text_of(parts["value"]))
            .sort("row", "name", "number")
            .group_by("row", "name", maintain_order=True)
            .agg("value")
            .with_columns(pl.col("value").list.join(""))
        )
        # An unsplit value takes precedence over leftover parts of an earlier one.
        unsplit = ours.filter(pl.col("row").is_in(joined["row"].implode()))
        ours = pl.concat([ours, joined.join(unsplit, on=["row", "name"], how="anti")])
        is_ours = is_ours.scatter(parts["index"], True)
        named = named.with_columns(named["name"].scatter(parts["index"], parts["name"]))
    over = ours.filter(name=_METADATA)
    good = over.filter(_are_objects(over["value"]))
    fields = ours.filter(~pl.col("name").is_in([_METADATA, _NULLS]))
    absent = ours.filter(name=_NULLS).select("row", name=pl.col("value").str.split(",")).explode("name")
    absent = (
        absent.filter(pl.col("name").is_in(OVERFLOW_FIELDS)).with_columns(value=pl.lit(None, dtype=pl.String)).unique()
    )
    present = fields.filter(pl.col("row").is_in(absent["row"].implode()))
    absent = absent.join(present, on=["row", "name"], how="anti")
    broken = named.filter(is_ours & (named["name"] == _METADATA)).join(good, on="row", how="anti")
    free = pl.concat([named.filter(~is_ours), broken]).select("row", "key", "value")
    return pl.concat([fields, good, absent]), free


# Writing ------------------------------------------------------------------------------------------------------------


class SplitMetadata(Struct, frozen=True):
    """Split metadata: `native` is metadata key → provider column of the values that fit a native field (else null),
    `own` the same as JSON whether they fit or not, `inner` the pairs that can be kept in the overflow unchanged, `over`
    those that cannot; `bad` is true where metadata is not a JSON object.
    """

    native: Mapping[str, pl.Series]
    own: Mapping[str, pl.Series]
    inner: pl.Series
    over: pl.Series
    bad: pl.Series


def with_origin(schema: ProviderSchema, canonical: pl.DataFrame) -> pl.Series:
    """Return the metadata (JSON objects) of canonical customers, with an entry `<provider>.id` for those that were read
    at another provider. An existing entry of that name is kept.
    """
    metadata = canonical["metadata"]
    elsewhere = (pl.col("provider") != schema.provider) & pl.col("provider_id").is_not_null()
    rows = canonical.select(elsewhere.fill_null(value=False)).to_series().arg_true()
    if rows.is_empty():
        return metadata
    customers = canonical.select("provider", "provider_id", "metadata")[rows].with_columns(
        key=pl.col("provider") + ".id"
    )
    # Metadata is parsed only if its text contains the key, or an escape that may hide it.
    may_contain = pl.col("metadata").str.contains(quoted(pl.col("key")), literal=True) | pl.col(
        "metadata"
    ).str.contains("\\", literal=True)
    doubtful = customers.select(may_contain.fill_null(value=False)).to_series().arg_true()
    given = customers["metadata"].gather(doubtful)
    entries = jsons.entries(given.set(~_are_objects(given), None))
    entries = entries.with_columns(row=doubtful.gather(entries["row"]))
    has_entry = entries.filter(entries["key"] == customers["key"].gather(entries["row"]))["row"].unique()
    entry = pl.concat_str(quoted(pl.col("key")), pl.lit(":"), quoted(pl.col("provider_id")))
    pairs = customers.select(entry.alias("entry")).to_series().scatter(has_entry, None)
    return metadata.scatter(rows, jsons.of_pairs([jsons.inner_of(customers["metadata"]), pairs]))


def _are_objects(texts: pl.Series) -> pl.Series:
    """Return where text is a JSON object."""
    types = jsons.query_columns("select json_type(try_cast(t as json)) as type from texts", texts=texts)["type"]
    return (types == "OBJECT").fill_null(value=False)


def split_metadata(schema: ProviderSchema, metadata: pl.Series) -> SplitMetadata:
    """Split canonical metadata: values of native fields, entries for the overflow unchanged, and other entries."""
    count = len(metadata)
    if schema.overflow.style == "texts":
        touched = metadata.is_not_null()
    else:
        # An escape may hide a letter of a key.
        hints = [f'"{_PREFIX}', f'"{schema.provider}.', "\\u"]
        touched = metadata.str.contains_any(hints).fill_null(value=False)
    rows = touched.arg_true()
    given = metadata.gather(rows)
    valid = _are_objects(given)
    entries = jsons.entries(given.filter(valid))
    entries = entries.with_columns(rows.filter(valid).gather(entries["row"]).alias("row"))
    kept = {schema.key(field.name): field for field in schema.kept}
    foreign = entries.filter(~pl.col("key").is_in(list(kept)))
    free = foreign.select(_free(schema)).to_series()
    native, own = {}, {}
    for key, field in kept.items():
        if field.settable:
            group = entries.filter(pl.col("key") == key)
            own[key] = jsons.placed(group["row"], group["value"], count)
            group = group.filter(jsons.fits(field.kind, pl.col("value")))
            values = jsons.text_of(group["value"]) if field.kind == "text" else group["value"]
            # An entry that the provider would refuse is no reason to refuse the customer.
            refused = pl.lit(value=False)
            if field.choices:
                refused |= ~pl.lit(values).is_in(list(field.choices))
            if field.max_length:
                refused |= pl.lit(values).str.len_chars() > field.max_length
            native[key] = jsons.placed(group["row"], jsons.evaluated(pl.when(~refused).then(values)), count)
    inner = jsons.inner_of(metadata).scatter(rows, None)
    return SplitMetadata(
        native,
        own,
        jsons.evaluated(pl.coalesce(pl.lit(jsons.joined(foreign.filter(free), count)), pl.lit(inner))),
        jsons.joined(foreign.filter(~free), count),
        constant(False, count).scatter(rows.filter(~valid), True),
    )


def _free(schema: ProviderSchema) -> pl.Expr:
    """Return whether an entry (key, value) may be kept in the overflow under its own key."""
    key, value, overflow = pl.col("key"), pl.col("value"), schema.overflow
    if overflow.style == "nested":
        return key != _PREFIX
    if overflow.style == "json":
        return ~key.is_in(list(_reserved(schema)))
    text = pl.struct("value").map_batches(
        lambda entries: jsons.text_of(entries.struct.field("value")), return_dtype=pl.String
    )
    fits = value.str.starts_with('"') & (value != '""') & (key != "") & ~key.str.starts_with(_PREFIX)
    if overflow.max_key_length:
        fits &= key.str.len_chars() <= overflow.max_key_length
    if overflow.max_value_length:
        fits &= text.str.len_chars() <= overflow.max_value_length
    return fits


def write_overflow(
    schema: ProviderSchema,
    split: SplitMetadata,
    canonical: pl.DataFrame,
    native: pl.DataFrame,
    kept: Mapping[str, pl.Series],
) -> pl.Series:
    """Return the overflow (JSON) of each customer: its metadata, and every value that the provider's fields would not
    return unchanged; null if empty. `native` has the canonical columns as the fields would return them, `kept` the
    metadata (key → JSON).
    """
    inner, over = [split.inner], [split.over]
    for key, value in split.own.items():
        differs = value.ne_missing(kept[key]) & value.is_not_null()
        pair = jsons.evaluated(pl.when(differs).then(jsons.pair(key, pl.lit(value))))
        (over if schema.overflow.style == "texts" else inner).append(pair)
    values = {}
    for key, name in _reserved(schema).items():
        if name in OVERFLOW_FIELDS and (differs := _differs(name, canonical, native)).any():
            values[key, name] = (differs, canonical[name])
    if schema.overflow.style == "texts":
        ours = [_text_pairs(key, value.set(~differs, None), schema) for (key, _), (differs, value) in values.items()]
        absent = [
            jsons.evaluated(pl.when(differs & value.is_null()).then(pl.lit(name)))
            for (_, name), (differs, value) in values.items()
        ]
        if absent:
            names = jsons.evaluated(pl.concat_str(absent, separator=",", ignore_nulls=True))
            ours.append(_text_pairs(f"{_PREFIX}_{_NULLS}", names.set(names == "", None), schema))
        return jsons.of_pairs([*inner, *ours, _text_pairs(f"{_PREFIX}_{_METADATA}", jsons.of_pairs(over), schema)])
    ours = [
        jsons.evaluated(
            pl.when(differs).then(jsons.pair(key, jsons.as_json(_kind_of(name), pl.lit(value)).fill_null("null")))
        )
        for (key, name), (differs, value) in values.items()
    ]
    if schema.overflow.style == "nested":
        nest = jsons.of_pairs([*ours, jsons.evaluated(jsons.pair(_METADATA, pl.lit(jsons.of_pairs(over))))])
        return jsons.of_pairs([*inner, jsons.evaluated(jsons.pair(_PREFIX, pl.lit(nest)))])
    return jsons.of_pairs(
        [*inner, *ours, jsons.evaluated(jsons.pair(f"{_PREFIX}_{_METADATA}", pl.lit(jsons.of_pairs(over))))]
    )


def _differs(name: str, canonical: pl.DataFrame, native: pl.DataFrame) -> pl.Series:
    """Return where the provider would return another value of a canonical field."""
    returned = native[name]
    blank = "[]" if name in LISTS else ""
    return canonical[name].ne_missing(returned.set(returned == blank, None))


def _text_pairs(key: str, values: pl.Series, schema: ProviderSchema) -> pl.Series:
    """Return `"key":"value"`, or `"key_1":"…","key_2":"…"` for a value that is too long for the overflow."""
    pairs = jsons.evaluated(jsons.pair(key, quoted(pl.lit(values))))
    longest = schema.overflow.max_value_length
    if longest is None:
        return pairs
    rows = (values.str.len_chars() > longest).fill_null(value=False).arg_true()
    if rows.is_empty():
        return pairs
    long = pl.DataFrame({"row": rows, "value": values.gather(rows)})
    count = (pl.col("value").str.len_chars() + longest - 1) // longest
    pieces = long.with_columns(number=pl.int_ranges(0, count)).explode("number")
    entries = pieces.select(
        "row",
        key=pl.format(f"{key}_{{}}", pl.col("number") + 1),
        value=quoted(pl.col("value").str.slice(pl.col("number") * longest, longest)),
    )
    return pairs.scatter(rows, jsons.joined(entries, len(values)).gather(rows))
