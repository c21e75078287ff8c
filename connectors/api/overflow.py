"""The overflow of a provider's customer: the object that holds what has no field.

It holds the customer's metadata, and beside it what we put there: canonical values that the provider's fields would
not give back. See `schemas.provider.Overflow` for the three kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import polars as pl

from tranship.connectors.json_text import columns as jsons
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.provider import OVERFLOW_FIELDS, Kind, ProviderSchema, quoted

_PREFIX: Final = "canon"
_METADATA: Final = "metadata"
"""Under this name stand the metadata entries that may not stand in the overflow by themselves."""
_NULLS: Final = "nulls"
"""Under this name an overflow of text lists the fields that are null."""


@dataclass(frozen=True)
class ReadOverflow:
    """Overflows, read: `spilled` is canonical field → places and values there, `inner` the pairs that are metadata,
    `own` (at, key) the keys of metadata that begin with the provider's name.
    """

    spilled: Mapping[str, tuple[pl.Series, pl.Series]]
    inner: pl.Series
    own: pl.DataFrame


def _kind_of(name: str) -> Kind:
    """What the JSON of a canonical field is, where an overflow takes any JSON."""
    if name == _METADATA:
        return "object"
    if name in LISTS:
        return "texts"
    return "text" if COLUMNS[name] == pl.String or name in INSTANTS else "integer"


@cache
def _reserved(schema: ProviderSchema) -> Mapping[str, str]:
    """Key of ours in an overflow → canonical field, `metadata`, or `nulls` of an overflow of text."""
    prefix = "" if schema.overflow.style == "nested" else f"{_PREFIX}_"
    names = (*OVERFLOW_FIELDS, _METADATA, *([_NULLS] if schema.overflow.style == "texts" else []))
    return {f"{prefix}{name}": name for name in names}


def read_overflow(schema: ProviderSchema, overflows: pl.Series) -> ReadOverflow:
    """Take overflows (compact JSON, null where there is none) apart."""
    inner = jsons.inner_of(overflows)
    nobody = pl.DataFrame(schema={"at": pl.UInt32, "key": pl.String})
    # Compact JSON shows a key as it is: an overflow without these holds nothing of ours.
    touched = overflows.str.contains_any([f'"{_PREFIX}', f'"{schema.provider}.']).fill_null(value=False)
    at = touched.arg_true()
    if at.is_empty():
        return ReadOverflow({}, inner, nobody)
    ours, free = _sorted_out(schema, jsons.entries(overflows.gather(at)))
    restored = _entries_within(ours.filter(name=_METADATA))
    if not restored.is_empty():
        free = pl.concat([free, restored]).unique(["at", "key"], keep="last", maintain_order=True)
    spilled = {
        name: (at.gather(some["at"]), some["value"])
        for (name,), some in ours.filter(pl.col("name") != _METADATA).partition_by("name", as_dict=True).items()
    }
    own = free.filter(pl.col("key").str.starts_with(f"{schema.provider}.")).select("at", "key")
    return ReadOverflow(
        spilled,
        inner.scatter(at, jsons.joined(free, len(at))),
        own.with_columns(at.gather(own["at"]).cast(pl.UInt32).alias("at")),
    )


def _entries_within(some: pl.DataFrame) -> pl.DataFrame:
    """The entries of the objects in `value`, under the places of those."""
    entries = jsons.entries(some["value"])
    return entries.with_columns(some["at"].gather(entries["at"]))


def _sorted_out(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The entries of overflows → ours (at, name, value as canonical text; metadata as JSON) and the customer's own (at,
    key, value).

    What has a key of ours and is not what we would have written there is the customer's own.
    """
    if schema.overflow.style == "texts":
        return _sorted_texts(schema, entries)
    if schema.overflow.style == "nested":
        nests = (pl.col("key") == _PREFIX) & pl.col("value").str.starts_with("{")
        ours, left = _sorted_json(schema, _entries_within(entries.filter(nests)))
        # What somebody else put into our object stays, in a place that we never write to.
        objects = left.group_by("at", maintain_order=True).agg(
            key=pl.lit(schema.key(_PREFIX)),
            value=pl.concat_str(
                pl.lit("{"), pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value").str.join(","), pl.lit("}")
            ),
        )
        return ours, pl.concat([entries.filter(~nests), objects])
    return _sorted_json(schema, entries)


_NO_SPILL: Final = pl.DataFrame(schema={"at": pl.UInt32, "name": pl.String, "value": pl.String})


def _sorted_json(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reserved = _reserved(schema)
    named = entries["key"].is_in(list(reserved))
    texts, others, free = [_NO_SPILL], [_NO_SPILL], [entries.filter(~named)]
    for (key,), some in entries.filter(named).partition_by("key", as_dict=True).items():
        name, kind = reserved[key], _kind_of(reserved[key])
        is_ours = jsons.fits(kind, pl.col("value"))
        if name != _METADATA:
            is_ours |= pl.col("value") == "null"
        (texts if kind == "text" else others).append(
            some.filter(is_ours).select("at", name=pl.lit(name), value="value")
        )
        free.append(some.filter(~is_ours))
    text, other = (
        pl.concat(frames).with_columns(pl.when(pl.col("value") != "null").then("value")) for frames in (texts, others)
    )
    return pl.concat([text.with_columns(jsons.text_of(text["value"])), other]), pl.concat(free)


def _sorted_texts(schema: ProviderSchema, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reserved = _reserved(schema)
    name = pl.col("key").replace_strict(reserved, default=None, return_dtype=pl.String)
    named = entries.with_columns(name=name, is_text=pl.col("value").str.starts_with('"'))
    is_part = pl.col("name").is_null() & pl.col("is_text") & pl.col("key").str.contains(rf"^{_PREFIX}_.*_[0-9]+$")
    groups = pl.col("key").str.extract_groups(r"^(.*)_([0-9]+)$")
    parts = (
        named.with_row_index("row")
        .filter(is_part)
        .with_columns(
            name=groups.struct[0].replace_strict(reserved, default=None, return_dtype=pl.String),
            number=groups.struct[1].cast(pl.UInt64, strict=False),
        )
        .drop_nulls("name")
    )
    is_ours = (named["name"].is_not_null() & named["is_text"]).alias("is_ours")
    ours = named.filter(is_ours).select("at", "name", jsons.text_of(named["value"].filter(is_ours)))
    if not parts.is_empty():
        joined = (
            parts.with_columns(jsons.text_of(parts["value"]))
            .sort("at", "name", "number")
            .group_by("at", "name", maintain_order=True)
            .agg("value")
            .with_columns(pl.col("value").list.join(""))
        )
        # One value in a whole piece stands before what was left of one in parts.
        rivals = ours.filter(pl.col("at").is_in(joined["at"].implode()))
        ours = pl.concat([ours, joined.join(rivals, on=["at", "name"], how="anti")])
        is_ours = is_ours.scatter(parts["row"], True)
        named = named.with_columns(named["name"].scatter(parts["row"], parts["name"]))
    over = ours.filter(name=_METADATA)
    good = over.filter(_are_objects(over["value"]))
    fields = ours.filter(~pl.col("name").is_in([_METADATA, _NULLS]))
    absent = ours.filter(name=_NULLS).select("at", name=pl.col("value").str.split(",")).explode("name")
    absent = (
        absent.filter(pl.col("name").is_in(OVERFLOW_FIELDS)).with_columns(value=pl.lit(None, dtype=pl.String)).unique()
    )
    said = fields.filter(pl.col("at").is_in(absent["at"].implode()))
    absent = absent.join(said, on=["at", "name"], how="anti")
    broken = named.filter(is_ours & (named["name"] == _METADATA)).join(good, on="at", how="anti")
    free = pl.concat([named.filter(~is_ours), broken]).select("at", "key", "value")
    return pl.concat([fields, good, absent]), free


# Filled -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitMetadata:
    """Metadata, split: `native` is metadata key → provider column of what fits a field of the provider, `own` the same
    as JSON whether it fits or not, `inner` the pairs that can be kept in the overflow unchanged, `over` those that
    cannot; `bad` is true where it is not a JSON object.
    """

    native: Mapping[str, pl.Series]
    own: Mapping[str, pl.Series]
    inner: pl.Series
    over: pl.Series
    bad: pl.Series


def with_origin(schema: ProviderSchema, canonical: pl.DataFrame) -> pl.Series:
    """The metadata (JSON objects) of canonical customers, and in it `<provider>.id` of those that were read at another
    provider. An entry of that name that is there already stays.
    """
    metadata = canonical["metadata"]
    elsewhere = (pl.col("provider") != schema.provider) & pl.col("provider_id").is_not_null()
    at = canonical.select(elsewhere.fill_null(value=False)).to_series().arg_true()
    if at.is_empty():
        return metadata
    customers = canonical.select("provider", "provider_id", "metadata")[at].with_columns(key=pl.col("provider") + ".id")
    # Only where its text holds the key, or an escape that may hide it, is metadata looked into.
    may_hold = pl.col("metadata").str.contains(quoted(pl.col("key")), literal=True) | pl.col("metadata").str.contains(
        "\\", literal=True
    )
    doubtful = customers.select(may_hold.fill_null(value=False)).to_series().arg_true()
    given = customers["metadata"].gather(doubtful)
    held = jsons.entries(given.set(~_are_objects(given), None))
    held = held.with_columns(at=doubtful.gather(held["at"]))
    has_it = held.filter(held["key"] == customers["key"].gather(held["at"]))["at"].unique()
    entry = pl.concat_str(quoted(pl.col("key")), pl.lit(":"), quoted(pl.col("provider_id")))
    pairs = customers.select(entry.alias("entry")).to_series().scatter(has_it, None)
    return metadata.scatter(at, jsons.of_pairs([jsons.inner_of(customers["metadata"]), pairs]))


def _are_objects(texts: pl.Series) -> pl.Series:
    """Where text is a JSON object."""
    types = jsons.query_columns("select json_type(try_cast(t as json)) as type from texts", texts=texts)["type"]
    return (types == "OBJECT").fill_null(value=False)


def split_metadata(schema: ProviderSchema, metadata: pl.Series) -> SplitMetadata:
    """Take canonical metadata apart: what goes to fields, what may stand in the overflow as it is, and the rest."""
    count = len(metadata)
    if schema.overflow.style == "texts":
        touched = metadata.is_not_null()
    else:
        # An escape may hide a letter of a key.
        hints = [f'"{_PREFIX}', f'"{schema.provider}.', "\\u"]
        touched = metadata.str.contains_any(hints).fill_null(value=False)
    at = touched.arg_true()
    given = metadata.gather(at)
    valid = _are_objects(given)
    entries = jsons.entries(given.filter(valid))
    entries = entries.with_columns(at.filter(valid).gather(entries["at"]).alias("at"))
    kept = {schema.key(one.name): one for one in schema.kept}
    foreign = entries.filter(~pl.col("key").is_in(list(kept)))
    free = foreign.select(_free(schema)).to_series()
    native, own = {}, {}
    for key, one in kept.items():
        if one.settable:
            some = entries.filter(pl.col("key") == key)
            own[key] = jsons.placed(some["at"], some["value"], count)
            some = some.filter(jsons.fits(one.kind, pl.col("value")))
            values = jsons.text_of(some["value"]) if one.kind == "text" else some["value"]
            # An entry that the provider would refuse is no reason to refuse the customer.
            refused = pl.lit(value=False)
            if one.choices:
                refused |= ~pl.lit(values).is_in(list(one.choices))
            if one.max_length:
                refused |= pl.lit(values).str.len_chars() > one.max_length
            native[key] = jsons.placed(some["at"], jsons.evaluated(pl.when(~refused).then(values)), count)
    inner = jsons.inner_of(metadata).scatter(at, None)
    return SplitMetadata(
        native,
        own,
        jsons.evaluated(pl.coalesce(pl.lit(jsons.joined(foreign.filter(free), count)), pl.lit(inner))),
        jsons.joined(foreign.filter(~free), count),
        pl.repeat(False, count, dtype=pl.Boolean, eager=True).scatter(at.filter(~valid), True),
    )


def _free(schema: ProviderSchema) -> pl.Expr:
    """Whether an entry (key, value) may stand in the overflow under its own key."""
    key, value, overflow = pl.col("key"), pl.col("value"), schema.overflow
    if overflow.style == "nested":
        return key != _PREFIX
    if overflow.style == "json":
        return ~key.is_in(list(_reserved(schema)))
    text = pl.struct("value").map_batches(
        lambda some: jsons.text_of(some.struct.field("value")), return_dtype=pl.String
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
    """The overflow (JSON) of each customer: its metadata, and all of it that the provider's fields would not give back;
    null if empty. `native` is what they would give back of the canonical columns, `kept` of metadata (key → JSON).
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
    """Where a canonical field would come back as something else."""
    given_back = native[name]
    blank = "[]" if name in LISTS else ""
    return canonical[name].ne_missing(given_back.set(given_back == blank, None))


def _text_pairs(key: str, values: pl.Series, schema: ProviderSchema) -> pl.Series:
    """`"key":"value"`; a value too long for the overflow as `"key_1":"…","key_2":"…"`."""
    pairs = jsons.evaluated(jsons.pair(key, quoted(pl.lit(values))))
    longest = schema.overflow.max_value_length
    if longest is None:
        return pairs
    at = (values.str.len_chars() > longest).fill_null(value=False).arg_true()
    if at.is_empty():
        return pairs
    long = pl.DataFrame({"at": at, "value": values.gather(at)})
    count = (pl.col("value").str.len_chars() + longest - 1) // longest
    pieces = long.with_columns(number=pl.int_ranges(0, count)).explode("number")
    entries = pieces.select(
        "at",
        key=pl.format(f"{key}_{{}}", pl.col("number") + 1),
        value=quoted(pl.col("value").str.slice(pl.col("number") * longest, longest)),
    )
    return pairs.scatter(at, jsons.joined(entries, len(values)).gather(at))
