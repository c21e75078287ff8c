"""A provider's JSON ↔ frames of canonical customers, by what `schemas/providers/<provider>.py` declares.

JSON is taken apart by DuckDB's JSON functions, set-based, and put together by polars; no record is looked at by
Python. Metadata keeps its nulls, integers of any size and the order of its keys; other numbers keep their value as
JSON readers see it, a double. Both directions may be called from any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from tranship.connectors.api import overflow
from tranship.connectors.errors import Malformed
from tranship.connectors.json_text import columns as jsons
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS
from tranship.schemas.provider import Field, Kind, ProviderSchema, Rule, quoted

if TYPE_CHECKING:
    from pandera.api.polars.types import PolarsData
    from pandera.polars import DataFrameSchema

BROKEN: Final = {
    "position": pl.UInt64,
    "id": pl.String,
    "code": pl.String,
    "detail": pl.String,
    "text": pl.String,
}
"""Records that break the provider's own schema: place in the read, their id if it can be told, `record.shape`, what
was found and what is expected, their JSON."""

REFUSED: Final = {"position": pl.UInt64, "field": pl.String, "code": pl.String, "demand": pl.String}
"""Why the provider would refuse records: place in the frame, canonical field, `<field>.<fault>`, what is demanded."""


@dataclass(frozen=True)
class Decoded:
    """Customers as a provider gave them.

    `records` has every column of `schemas.customer.COLUMNS` as text, null where there is nothing; `provider` and
    `provider_id` are this provider and its own id of each. Parallel run `positions` (u64) and `nameless` (boolean),
    true where the provider gave no name and the e-mail stands in for it. `surprises` counts the records that have
    something in a field nobody documented; its values are in metadata as `<provider>.<field>`.
    """

    records: pl.DataFrame
    positions: pl.Series
    nameless: pl.Series
    broken: pl.DataFrame
    surprises: Mapping[str, int]
    raw: pl.Series | None = None
    """The JSON of each record, where it was asked for."""


@dataclass(frozen=True)
class Encoded:
    """What is sent to create each customer: `bodies` (JSON, null where refused) in the order of the frame; and why
    records are refused (`REFUSED`).
    """

    bodies: pl.Series
    refused: pl.DataFrame


_EACH_RECORD: Final = "(select unnest(json_extract(t::json, '$[*]')) as r from pages)"


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# Reading ---------------------------------------------------------------------------------------------------------


def decode(
    schema: ProviderSchema, pages: Sequence[bytes | str], skip: Sequence[int] = (), *, raw: bool = False
) -> Decoded:
    """Pages, each a JSON array of records → canonical customers, in order.

    Positions count the records of all pages from 0; those in `skip` are passed over. Raises Malformed where a page
    is no JSON array. With `raw` each record's JSON is given, too.
    """
    records, unknown, broken = _records(schema, pages, raw=raw)
    if len(skip):
        passed = pl.DataFrame({"position": pl.Series(list(skip), dtype=pl.UInt64)})
        records, unknown, broken = (
            frame.join(passed, on="position", how="anti", maintain_order="left") for frame in (records, unknown, broken)
        )
    customers = _customers(schema, records, _entries_of(records["position"], unknown))
    return Decoded(
        customers,
        records["position"],
        _nameless(schema, records, customers["name"]),
        broken,
        dict(unknown.group_by("key").len().sort("key").iter_rows()),
        records[_RAW].alias("raw") if raw else None,
    )


_RAW: Final = "\0raw"
"""A column beside the fields: the record itself."""


def _records(
    schema: ProviderSchema, pages: Sequence[bytes | str], *, raw: bool
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return good records (position, text fields as text, the others and the overflow as JSON; null is null), their
    undeclared fields (position, key, value), and bad records (`BROKEN`).
    """
    given = [page.encode("utf-8", "surrogatepass") if isinstance(page, str) else page for page in pages]
    found = _quickly(schema, given, raw=raw)
    return _carefully(schema, given, raw=raw) if found is None else (*found, pl.DataFrame(schema=BROKEN))


def _quickly(schema: ProviderSchema, given: Sequence[bytes], *, raw: bool) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Good records and what they have in undeclared fields; null where any record may be bad."""
    import duckdb

    try:
        texts = pl.Series(given, dtype=pl.Binary).cast(pl.String)
        if not texts.str.contains(_ARRAY).all() or texts.str.contains(_may_be_no_text(schema)).any():
            return None
        records, patterns = _shredded(_shredding(schema, as_text=True), texts, raw=raw)
    except (duckdb.Error, pl.exceptions.PolarsError):
        return None
    others = {name: kind for name, kind in _kinds(schema).items() if kind != "text"}
    if _has_twice(patterns) or _faults(schema, records, others):
        return None
    return records, _undeclared(schema, records["position"], patterns, texts)


def _carefully(
    schema: ProviderSchema, given: Sequence[bytes], *, raw: bool
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """As `_records`, whatever the pages hold."""
    import duckdb

    positions, spoilt = None, pl.DataFrame(schema=BROKEN)
    query = _shredding(schema, as_text=False)
    try:
        texts = pl.Series(given, dtype=pl.Binary).cast(pl.String)
        arrays = texts.str.contains(_ARRAY)
        if not arrays.all():
            raise _no_array(int(arrays.arg_min() or 0))
        records, patterns = _shredded(query, texts, raw=raw)
    except (duckdb.Error, pl.exceptions.PolarsError):
        # Some record is spoilt: it is told from the others, and they are read again.
        texts, positions, spoilt = _sifted(schema, given)
        records, patterns = _shredded(query, texts, raw=raw)
        records = records.with_columns(positions.alias("position"))
    faults = _faults(schema, records, _kinds(schema))
    if _has_twice(patterns):
        query = f"select len(list_distinct(json_keys(r))) < len(json_keys(r)) as twice from {_EACH_RECORD}"
        twice = jsons.query_columns(query, pages=texts)["twice"]
        faults.append(jsons.evaluated(pl.when(twice).then(pl.lit("a field stands in it twice"))))
    unknown = _undeclared(schema, records["position"], patterns, texts)
    if faults:
        fault = jsons.evaluated(pl.concat_str(faults, separator="; ", ignore_nulls=True))
        bad = fault != ""
        whole = jsons.query_columns(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"].filter(bad)
        broken = _broken(schema, records.filter(bad), fault.filter(bad), whole)
        spoilt = pl.concat([broken, spoilt]).sort("position")
        records = records.filter(~bad)
        unknown = unknown.join(records, on="position", how="semi", maintain_order="left")
    text = [name for name, kind in _kinds(schema).items() if kind == "text"]
    return records.with_columns(jsons.plain(records.select(text))), unknown, spoilt


_ARRAY: Final = r"^[ \t\r\n]*\["


@cache
def _kinds(schema: ProviderSchema) -> Mapping[str, Kind]:
    return {**{one.name: one.kind for one in schema.fields}, schema.overflow.name: "object"}


@cache
def _may_be_no_text(schema: ProviderSchema) -> str:
    """What a page holds, at least, in which a field of text is neither text nor null: anything else behind its name,
    or a name that is written with escapes.
    """
    names = "|".join(re.escape(name) for name, kind in _kinds(schema).items() if kind == "text")
    blank = r"[ \t\r\n]*"
    return rf'"(?:{names})"{blank}:{blank}(?:n[^u]|[^"n \t\r\n])|\\u[^"]*"{blank}:'


@cache
def _shredding(schema: ProviderSchema, *, as_text: bool) -> str:
    """Pages → lists of records, and of the sets of fields that occur. With `as_text` fields of text are given as it is,
    and what is no text as if it were.
    """
    kinds = {name: "VARCHAR" if as_text and kind == "text" else "JSON" for name, kind in _kinds(schema).items()}
    return f"""
        select from_json(t, {_sql(json.dumps([kinds]))}) as records, list_distinct(json_keys(t, '$[*]')) as keys
        from pages"""


_AT_ONCE: Final = 2_000_000
"""Bytes of JSON taken apart together."""


def _shredded(query: str, texts: pl.Series, *, raw: bool) -> tuple[pl.DataFrame, pl.Series]:
    """The records of pages, and the sets of fields that occur."""
    # Some pages at a time: what DuckDB holds meanwhile is several times as much.
    turn = texts.str.len_bytes().cum_sum() // _AT_ONCE
    slices = texts.to_frame("t").with_columns(turn=turn).partition_by("turn", maintain_order=True)
    found = pl.concat([jsons.query_columns(query, pages=some["t"]) for some in slices or [texts.to_frame("t")]])
    records = found.select(pl.col("records").explode(empty_as_null=False)).unnest("records")
    records = records.with_columns(position=pl.int_range(pl.len(), dtype=pl.UInt64))
    if raw:
        whole = jsons.query_columns(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"]
        records = records.with_columns(whole.alias(_RAW))
    return records, found["keys"].explode(empty_as_null=False).unique()


def _has_twice(patterns: pl.Series) -> bool:
    """Whether some set of fields has one of them twice."""
    return bool((patterns.list.n_unique() < patterns.list.len()).any())


def _faults(schema: ProviderSchema, records: pl.DataFrame, kinds: Mapping[str, Kind]) -> list[pl.Series]:
    """What is wrong with fields, a column for each fault that occurs, null in records that do not have it. Only fields
    in `kinds` are held against them.
    """
    always = [one.name for one in schema.fields if one.always_present]
    misfits = records.select((~jsons.fits(kind, pl.col(name))).any().alias(name) for name, kind in kinds.items())
    missing = records.select(pl.col(always).is_null().any())
    found = []
    for name in (name for name in kinds if misfits[name].item()):
        what = pl.col(name).str.head(1).replace_strict(jsons.FOUND, default="no JSON")
        sentence = pl.concat_str(pl.lit(f"{name} is "), what, pl.lit(f", {jsons.EXPECTED[kinds[name]]} is expected"))
        found.append(records.select(pl.when(~jsons.fits(kinds[name], pl.col(name))).then(sentence)).to_series())
    for name in (name for name in always if missing[name].item()):
        sentence = pl.lit(f"{name} is missing")
        found.append(records.select(pl.when(pl.col(name).is_null()).then(sentence)).to_series())
    return found


def _broken(schema: ProviderSchema, records: pl.DataFrame, fault: pl.Series, whole: pl.Series) -> pl.DataFrame:
    found = whole.str.head(1).replace_strict(jsons.FOUND, default="no JSON")
    no_record = pl.concat_str(pl.lit("the record is "), found, pl.lit(", an object is expected"))
    return records.select(
        "position",
        id=jsons.text_of(records[schema.id]),
        code=pl.lit("record.shape"),
        detail=pl.when(found == "an object").then(fault).otherwise(no_record),
        text=whole,
    ).cast(BROKEN)  # type: ignore[arg-type]


_UNKNOWN: Final = pl.DataFrame(schema={"position": pl.UInt64, "key": pl.String, "value": pl.String})


def _undeclared(schema: ProviderSchema, positions: pl.Series, patterns: pl.Series, pages: pl.Series) -> pl.DataFrame:
    """Position, key and value (JSON) of what records have in fields that nobody declared."""
    if set(patterns.explode(empty_as_null=False)) <= {*_kinds(schema)}:
        return _UNKNOWN.clone()
    declared = f"[{', '.join(map(_sql, _kinds(schema)))}]"
    pointer = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"
    query = f"""
        select keys as key, list_transform(keys, lambda k: json_extract(r, {pointer})::varchar) as value
        from (select r, list_filter(json_keys(r), lambda k: not list_contains({declared}, k)) as keys
            from {_EACH_RECORD})"""
    lists = jsons.query_columns(query, pages=pages).with_columns(positions.alias("position"))
    found = lists.filter(pl.col("key").list.len() > 0).explode("key", "value", empty_as_null=False)
    return found.filter(pl.col("value") != "null").select("position", "key", "value")


def _entries_of(positions: pl.Series, found: pl.DataFrame) -> pl.DataFrame:
    """Entries by position → by place among the positions."""
    places = positions.to_frame("position").with_row_index("at")
    return found.join(places, on="position").select("at", "key", "value")


def _sifted(schema: ProviderSchema, pages: Sequence[bytes]) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """The records whose JSON can be read as one page, their positions, and those that cannot (`BROKEN`)."""
    pieces = [piece for at, page in enumerate(pages) for piece in _split(page, at)]
    texts = pl.Series([_decoded(piece) for piece in pieces], dtype=pl.String)
    valid = jsons.query_columns("select json_valid(t) as valid from texts", texts=texts)["valid"].fill_null(value=False)
    positions = pl.int_range(len(pieces), dtype=pl.UInt64, eager=True)
    shown = [pieces[at].decode("utf-8", "backslashreplace") for at in (~valid).arg_true()]
    broken = pl.DataFrame({"position": positions.filter(~valid), "text": pl.Series(shown, dtype=pl.String)}).select(
        "position",
        id=pl.col("text").str.extract(rf'"{schema.id}"\s*:\s*"?([^"\\,}}]*)'),
        code=pl.lit("record.shape"),
        detail=pl.lit("its JSON cannot be read: bytes or escapes that are no text"),
        text="text",
    )
    page = pl.select(pl.concat_str(pl.lit("["), pl.lit(texts.filter(valid)).str.join(","), pl.lit("]"))).to_series()
    return page, positions.filter(valid), broken.cast(BROKEN)  # type: ignore[arg-type]


def _decoded(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _split(page: bytes, at: int) -> Iterator[bytes]:
    """The elements of a JSON array, as they stand, whatever is wrong within their strings."""
    depth, start, end = 0, 0, -1
    for token in _TOKEN.finditer(page):
        mark = token[0]
        if mark in b"[{":
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in b"]}" or (mark == b"," and depth == 1):
            if depth == 1 and (piece := page[start : token.start()].strip()):
                yield piece
            start = token.end() if depth == 1 else start
            depth -= mark != b","
            if not depth:
                end = token.end() if mark == b"]" else -1
                break
    if end < 0 or not page.strip().startswith(b"[") or page[end:].strip():
        raise _no_array(at)


def _no_array(page: int) -> Malformed:
    return Malformed(f"page {page + 1} of the response is not a JSON array of records")


def _customers(schema: ProviderSchema, columns: pl.DataFrame, unknown: pl.DataFrame) -> pl.DataFrame:
    """Provider columns, the overflow and undeclared fields (at, key, value) → the canonical columns as text."""
    given = overflow.read_overflow(schema, columns[schema.overflow.name])
    fields = {name: pl.col(name) for name in COLUMNS if name != "metadata"}
    for name, (places, values) in given.spilled.items():
        there = pl.repeat(False, columns.height, dtype=pl.Boolean, eager=True).scatter(places, True)
        whole = jsons.placed(places, values, columns.height)
        fields[name] = pl.when(pl.lit(there)).then(pl.lit(whole)).otherwise(name).alias(name)
    for name, word in columns.select(**schema.overrides).to_dict().items():
        fields[name] = pl.coalesce(pl.lit(word), fields[name]).alias(name)
    parts = [given.inner]
    for key, value in _kept(schema, columns).items():
        if value.null_count() < len(value):
            held = given.own.filter(pl.col("key") == key)["at"]
            parts.append(jsons.evaluated(jsons.pair(key, pl.lit(value.scatter(held, None)))))
    if not unknown.is_empty():
        named = unknown.with_columns(key=pl.lit(f"{schema.provider}.") + pl.col("key"))
        parts.append(
            jsons.joined(named.join(given.own, on=["at", "key"], how="anti", maintain_order="left"), columns.height)
        )
    return (
        _canonical(schema, columns).select(**fields).with_columns(metadata=jsons.of_pairs(parts)).select(list(COLUMNS))
    )


def _canonical(schema: ProviderSchema, columns: pl.DataFrame) -> pl.DataFrame:
    """What the fields say of each canonical column but metadata; null where they say nothing."""
    nothing = pl.lit(None, dtype=pl.String)
    said = {"provider": pl.lit(schema.provider), **schema.sources}
    return columns.with_columns(
        said.get(name, nothing).alias(f"{name}\0") for name in COLUMNS if name != "metadata"
    ).select(pl.col(f"{name}\0").alias(name) for name in COLUMNS if name != "metadata")


def _nameless(schema: ProviderSchema, columns: pl.DataFrame, names: pl.Series) -> pl.Series:
    """Where a name is the e-mail for want of one: without the e-mail there would be none."""
    source = schema.sources["name"]
    emails = [one.name for one in schema.fields if one.canonical == "email" and one.name in source.meta.root_names()]
    stands_in = pl.repeat(False, columns.height, dtype=pl.Boolean, eager=True)
    for email in emails:
        at = (names == columns[email]).fill_null(value=False).arg_true()
        alone = columns[at].with_columns(pl.lit(None, dtype=pl.String).alias(email)).select(source).to_series()
        stands_in = stands_in.scatter(at.filter(alone.is_null()), True)
    return stands_in.alias("nameless")


def _kept(schema: ProviderSchema, columns: pl.DataFrame) -> dict[str, pl.Series]:
    """Metadata key → JSON, of the fields without a canonical home. What the provider fills in by itself, and empty
    arrays and objects, are null.
    """
    found = {}
    for one in schema.kept:
        value = columns[one.name]
        if one.read is not None:
            value = columns.select(one.read).to_series()
        elif value.null_count() < len(value):
            own = pl.col(one.name)
            if one.default is not None:
                own = pl.when(own != one.default).then(own)
            value = columns.select(jsons.as_json(one.kind, own)).to_series()
        found[schema.key(one.name)] = value.set(value.is_in(["[]", "{}", "null"]), None)
    return found


# Writing ---------------------------------------------------------------------------------------------------------


def encode(schema: ProviderSchema, customers: pl.DataFrame, from_address: Mapping[str, str] | None = None) -> Encoded:
    """Canonical customers (`schemas.customer.COLUMNS`, typed as they stand in the stage) → what creates each at the
    provider.

    `from_address` is provider field → value, of the fields that are part of the address (`Field.from_address`). The id
    of a customer read at another provider is kept as the metadata entry `<provider>.id`. A record that lacks what the
    provider demands is refused; nothing is filled in. A null is not sent.
    """
    canonical = _as_text(customers)
    split = overflow.split_metadata(schema, overflow.with_origin(schema, canonical))
    seen = canonical.drop("metadata").with_columns(**split.native)
    nothing = pl.lit(None, dtype=pl.String)
    columns = seen.with_columns(
        (_written(schema, one, from_address or {}) if one.settable else nothing).alias(f"{one.name}\0")
        for one in schema.fields
    ).select(pl.col(f"{one.name}\0").alias(one.name) for one in schema.fields)
    refused = pl.concat([_refusals(schema, columns), _unreadable_metadata(split.bad)]).sort("position", "field", "code")
    body = [
        columns.select(jsons.pair(one.name, jsons.as_json(one.kind, pl.col(one.name)))).to_series()
        for one in schema.fields
        if columns[one.name].null_count() < columns.height
    ]
    answered = columns.with_columns(
        pl.lit(_UNFORESEEN).alias(one.name) if one.server_generated else pl.col(one.name).fill_null(one.default)
        for one in schema.fields
        if one.server_generated or one.default is not None
    )
    overflow_json = overflow.write_overflow(
        schema, split, canonical, _canonical(schema, answered), _kept(schema, answered)
    )
    body.append(jsons.evaluated(jsons.pair(schema.overflow.name, pl.lit(overflow_json))))
    bodies = jsons.of_pairs(body).scatter(refused["position"].unique(), None)
    return Encoded(bodies.alias("body"), refused)


def _as_text(customers: pl.DataFrame) -> pl.DataFrame:
    """Typed canonical columns → text; empty lists and objects are null."""

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


def _written(schema: ProviderSchema, one: Field, from_address: Mapping[str, str]) -> pl.Expr:
    if one.from_address:
        return pl.lit(from_address.get(one.name), dtype=pl.String)
    if one.write is not None:
        return one.write
    return pl.col(one.canonical or schema.key(one.name))


_UNFORESEEN: Final = "\0"
"""Stands for what a provider makes by itself: equal to nothing."""


# What a provider demands -----------------------------------------------------------------------------------------


@cache
def _demands(schema: ProviderSchema) -> tuple[DataFrameSchema, pl.DataFrame]:
    """Return the checks of the provider columns, and the meaning of each (column, check): field, fault, demand."""
    import pandera.polars as pa

    columns: dict[str, Any] = {}
    meanings: list[tuple[str, str, str, str, str]] = []
    for one in (one for one in schema.fields if one.settable):
        people_say = one.canonical or f"metadata.{schema.key(one.name)}"
        checks = []
        if one.max_length:
            checks.append(pa.Check.str_length(max_value=one.max_length))
            rule = f"{schema.title} takes at most {one.max_length} characters"
            meanings.append((one.name, "str_length", people_say, "too_long", rule))
        if one.choices:
            checks.append(pa.Check.isin(one.choices))
            meanings.append((one.name, "isin", people_say, "unknown", f"{schema.title} takes {', '.join(one.choices)}"))
        for at, demand in enumerate(schema.rules):
            if demand.holds.meta.root_names()[0] == one.name:
                checks.append(pa.Check(partial(_holds, demand), name=f"demand_{at}"))
                meanings.append((one.name, f"demand_{at}", demand.field, demand.fault, demand.says))
        meanings.append((one.name, "not_nullable", people_say, "missing", f"{schema.title} demands it"))
        if checks or one.required:
            columns[one.name] = pa.Column(pl.String, checks, nullable=not one.required)
    names = ("column", "check", "field", "fault", "demand")
    return pa.DataFrameSchema(columns), pl.DataFrame(meanings, schema=dict.fromkeys(names, pl.String), orient="row")


def _holds(demand: Rule, data: PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(demand.holds.fill_null(value=True))


def _refusals(schema: ProviderSchema, columns: pl.DataFrame) -> pl.DataFrame:
    from pandera.errors import SchemaErrors

    checks, meanings = _demands(schema)
    try:
        checks.validate(columns, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].has_nulls():
            # Not about a record: the columns are not what they should be. That is our bug.
            failed = cases["check"].unique().to_list()
            raise RuntimeError(f"{schema.provider}: provider columns break their schema: {failed}") from error
        found = cases.with_columns(pl.col("check").str.extract(r"^(\w+)")).join(meanings, on=["column", "check"])
        refused: pl.DataFrame = found.select(
            position=pl.col("index").cast(pl.UInt64),
            field="field",
            code=pl.concat_str("field", pl.lit("."), "fault"),
            demand="demand",
        ).unique()
        return refused
    return pl.DataFrame(schema=REFUSED)


def _unreadable_metadata(bad: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"position": bad.arg_true().cast(pl.UInt64)}).with_columns(
        field=pl.lit("metadata"),
        code=pl.lit("metadata.syntax"),
        demand=pl.lit("metadata is a JSON object of valid text"),
    )
