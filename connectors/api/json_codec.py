"""A provider's JSON ↔ frames of canonical customers, as declared in `schemas/providers/<provider>.py`.

JSON is parsed by DuckDB's JSON functions and assembled by polars, in sets; no record is processed in Python. Metadata
keeps its nulls, integers of any size and the order of its keys; other numbers keep their value as a double, as JSON
readers interpret them. Both directions are callable from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from msgspec import Struct

from tranship.connectors.api import overflow
from tranship.connectors.api.demands import refusals, unreadable_metadata
from tranship.connectors.api.json_records import RAW, read_records
from tranship.connectors.json_text import columns as jsons
from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.provider import Field, ProviderSchema, quoted


class Decoded(Struct, frozen=True):
    """Customers read from a provider's JSON.

    `records` has every column of `schemas.customer.COLUMNS` as text, null without a value; `provider` is this provider,
    `provider_id` its own id of each customer. `positions` (u64) and `nameless` (boolean: the provider has no name, and
    the e-mail is used instead) are parallel to it. `broken` (`json_records.BROKEN`) has the records that break the
    provider's schema. `surprises`: undocumented field → records that have it; its values are kept in metadata as
    `<provider>.<field>`.
    """

    records: pl.DataFrame
    positions: pl.Series
    nameless: pl.Series
    broken: pl.DataFrame
    surprises: Mapping[str, int]
    raw: pl.Series | None = None
    """The JSON of each record, if requested."""


class Encoded(Struct, frozen=True):
    """The requests that create customers: `bodies` (JSON, null where refused), in the order of the frame, and the
    reasons for refusals (`demands.REFUSED`).
    """

    bodies: pl.Series
    refused: pl.DataFrame


# Reading ---------------------------------------------------------------------------------------------------------


def decode(
    schema: ProviderSchema, pages: Sequence[bytes | str], skip: Sequence[int] = (), *, raw: bool = False
) -> Decoded:
    """Convert pages, each a JSON array of records, to canonical customers, in order.

    Positions count the records of all pages from 0; those in `skip` are left out. With `raw` the JSON of each record is
    returned as well. Raises Malformed where a page is not a JSON array.
    """
    records, unknown, broken = read_records(schema, pages, raw=raw)
    if len(skip):
        skipped = pl.DataFrame({"position": pl.Series(list(skip), dtype=pl.UInt64)})
        records, unknown, broken = (
            frame.join(skipped, on="position", how="anti", maintain_order="left")
            for frame in (records, unknown, broken)
        )
    customers = _customers(schema, records, _by_row(records["position"], unknown))
    return Decoded(
        customers,
        records["position"],
        _nameless(schema, records, customers["name"]),
        broken,
        dict(unknown.group_by("key").len().sort("key").iter_rows()),
        records[RAW].alias("raw") if raw else None,
    )


def _customers(schema: ProviderSchema, columns: pl.DataFrame, unknown: pl.DataFrame) -> pl.DataFrame:
    """Convert provider columns, the overflow and undeclared fields (row, key, value) to canonical columns as text."""
    kept_there = overflow.read_overflow(schema, columns[schema.overflow.name])
    fields = {name: pl.col(name) for name in COLUMNS if name != "metadata"}
    for name, (rows, values) in kept_there.spilled.items():
        is_spilled = constant(False, columns.height).scatter(rows, True)
        whole = jsons.placed(rows, values, columns.height)
        fields[name] = pl.when(pl.lit(is_spilled)).then(pl.lit(whole)).otherwise(name).alias(name)
    for name, value in columns.select(**schema.overrides).to_dict().items():
        fields[name] = pl.coalesce(pl.lit(value), fields[name]).alias(name)
    parts = [kept_there.inner]
    for key, value in _kept(schema, columns).items():
        if value.null_count() < len(value):
            in_overflow = kept_there.own.filter(pl.col("key") == key)["row"]
            parts.append(jsons.evaluated(jsons.pair(key, pl.lit(value.scatter(in_overflow, None)))))
    if not unknown.is_empty():
        named = unknown.with_columns(key=pl.lit(f"{schema.provider}.") + pl.col("key"))
        parts.append(
            jsons.joined(
                named.join(kept_there.own, on=["row", "key"], how="anti", maintain_order="left"), columns.height
            )
        )
    return (
        _canonical(schema, columns).select(**fields).with_columns(metadata=jsons.of_pairs(parts)).select(list(COLUMNS))
    )


def _canonical(schema: ProviderSchema, columns: pl.DataFrame) -> pl.DataFrame:
    """Compute the canonical columns except metadata from the fields; null without a field or value."""
    nothing = pl.lit(None, dtype=pl.String)
    sources = {"provider": pl.lit(schema.provider), **schema.sources}
    return columns.with_columns(
        sources.get(name, nothing).alias(f"{name}\0") for name in COLUMNS if name != "metadata"
    ).select(pl.col(f"{name}\0").alias(name) for name in COLUMNS if name != "metadata")


def _nameless(schema: ProviderSchema, columns: pl.DataFrame, names: pl.Series) -> pl.Series:
    """Return where a name is only the e-mail: without the e-mail it would be null."""
    source = schema.sources["name"]
    emails = [
        field.name for field in schema.fields if field.canonical == "email" and field.name in source.meta.root_names()
    ]
    nameless = constant(False, columns.height)
    for email in emails:
        rows = (names == columns[email]).fill_null(value=False).arg_true()
        without = columns[rows].with_columns(pl.lit(None, dtype=pl.String).alias(email)).select(source).to_series()
        nameless = nameless.scatter(rows.filter(without.is_null()), True)
    return nameless.alias("nameless")


def _kept(schema: ProviderSchema, columns: pl.DataFrame) -> dict[str, pl.Series]:
    """Return metadata key → JSON of the fields without a canonical field. Defaults that the provider fills in, empty
    arrays and empty objects are null.
    """
    found = {}
    for field in schema.kept:
        value = columns[field.name]
        if field.read is not None:
            value = columns.select(field.read).to_series()
        elif value.null_count() < len(value):
            own = pl.col(field.name)
            if field.default is not None:
                own = pl.when(own != field.default).then(own)
            value = columns.select(jsons.as_json(field.kind, own)).to_series()
        found[schema.key(field.name)] = value.set(value.is_in(["[]", "{}", "null"]), None)
    return found


def _by_row(positions: pl.Series, entries: pl.DataFrame) -> pl.DataFrame:
    """Convert entries by position to entries by row: the place of the position in `positions`."""
    rows = positions.to_frame("position").with_row_index("row")
    return entries.join(rows, on="position").select("row", "key", "value")


# Writing ---------------------------------------------------------------------------------------------------------


def encode(schema: ProviderSchema, customers: pl.DataFrame, from_address: Mapping[str, str] | None = None) -> Encoded:
    """Convert canonical customers (`schemas.customer.COLUMNS`, typed) to the requests that create them.

    `from_address` is provider field → value, of the fields that are part of the address (`Field.from_address`). The id
    of a customer read at another provider is kept as the metadata entry `<provider>.id`. A record without a value that
    the provider demands is refused; no value is invented. A null is not sent.
    """
    canonical = _as_text(customers)
    split = overflow.split_metadata(schema, overflow.with_origin(schema, canonical))
    available = canonical.drop("metadata").with_columns(**split.native)
    nothing = pl.lit(None, dtype=pl.String)
    columns = available.with_columns(
        (_written(schema, field, from_address or {}) if field.settable else nothing).alias(f"{field.name}\0")
        for field in schema.fields
    ).select(pl.col(f"{field.name}\0").alias(field.name) for field in schema.fields)
    refused = pl.concat([refusals(schema, columns), unreadable_metadata(split.bad)]).sort("position", "field", "code")
    body = [
        columns.select(jsons.pair(field.name, jsons.as_json(field.kind, pl.col(field.name)))).to_series()
        for field in schema.fields
        if columns[field.name].null_count() < columns.height
    ]
    returned = columns.with_columns(
        pl.lit(_UNPREDICTABLE).alias(field.name)
        if field.server_generated
        else pl.col(field.name).fill_null(field.default)
        for field in schema.fields
        if field.server_generated or field.default is not None
    )
    overflow_json = overflow.write_overflow(
        schema, split, canonical, _canonical(schema, returned), _kept(schema, returned)
    )
    body.append(jsons.evaluated(jsons.pair(schema.overflow.name, pl.lit(overflow_json))))
    bodies = jsons.of_pairs(body).scatter(refused["position"].unique(), None)
    return Encoded(bodies.alias("body"), refused)


def _as_text(customers: pl.DataFrame) -> pl.DataFrame:
    """Convert typed canonical columns to text; empty lists and objects are null."""

    def text(name: str) -> pl.Expr:
        column = pl.col(name)
        if name in LISTS:
            return quoted(pl.when(column.list.len() > 0).then(column))
        if name in INSTANTS:
            whole = column.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            return (
                pl.when(column.dt.microsecond() == 0)
                .then(whole)
                .otherwise(column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
            )
        if name == "metadata":
            return pl.when(~column.str.contains(r"^\s*\{\s*\}\s*$")).then(column.str.strip_chars())
        return column.cast(pl.String)

    return customers.select(text(name).alias(name) for name in COLUMNS)


def _written(schema: ProviderSchema, field: Field, from_address: Mapping[str, str]) -> pl.Expr:
    if field.from_address:
        return pl.lit(from_address.get(field.name), dtype=pl.String)
    if field.write is not None:
        return field.write
    return pl.col(field.canonical or schema.key(field.name))


_UNPREDICTABLE: Final = "\0"
"""Placeholder for a value that the provider generates; differs from every value."""
