"""A provider's JSON ↔ frames of canonical customers, by what `schemas/<provider>.py` declares.

JSON is taken apart by DuckDB's JSON functions, set-based, and put together by polars; no record is looked at by
Python. Metadata keeps its nulls, integers of any size and the order of its keys; other numbers keep their value as
JSON readers see it, a double. Both directions may be called from any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from connectors.errors import Malformed
from schemas.customer import COLUMNS, INSTANTS, LISTS
from schemas.wire import ORIGIN, SPILLED, Demand, Field, Kind, Wire, quoted

if TYPE_CHECKING:
    import duckdb
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

    `records` has every column of `schemas.customer.COLUMNS` as text, null where there is nothing. `positions` (u64)
    and `ids` (the provider's own id of each, also where the record came from another provider) run parallel.
    `surprises` counts the records that have something in a field nobody documented; its values are in metadata as
    `<provider>.<field>`.
    """

    records: pl.DataFrame
    positions: pl.Series
    ids: pl.Series
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


# DuckDB ----------------------------------------------------------------------------------------------------------

_LOCK: Final = Lock()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    import duckdb

    # What does not fit in memory is an error, not a file in the working directory.
    return duckdb.connect(":memory:", config={"threads": 2, "temp_directory": ""})


def _asked(query: str, **columns: pl.Series) -> pl.DataFrame:
    """The answer to a query over columns of text, each a table `<name>` with a column `t`; in order."""
    with _LOCK:
        cursor = _engine().cursor()
    with closing(cursor):
        for name, column in columns.items():
            cursor.register(name, column.alias("t").to_frame().to_arrow())
        return pl.DataFrame(cursor.sql(query).to_arrow_table())


_EACH_RECORD: Final = "(select unnest(json_extract(t::json, '$[*]')) as r from pages)"


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _entries(objects: pl.Series) -> pl.DataFrame:
    """JSON objects → their entries in order: at (u32, place of the object), key, value (JSON)."""
    query = (
        "select json_keys(o) as key, json_extract(o, '$.*')::varchar[] as value from (select t::json as o from objects)"
    )
    lists = _asked(query, objects=objects).with_row_index("at")
    return lists.filter(pl.col("key").list.len() > 0).explode("key", "value", empty_as_null=False)


# Columns of JSON -------------------------------------------------------------------------------------------------

# How compact JSON of a kind looks, or begins.
_FORMS: Final[dict[Kind, str]] = {
    "integer": r"^-?[0-9]+$",
    "number": r"^-?[0-9]",
    "boolean": r"^[tf]",
    "json": r"^[\[{]",
    "texts": r'^\[(?:"(?:[^"\\]|\\.)*"(?:,"(?:[^"\\]|\\.)*")*)?\]$',
}
_BEGINS: Final[dict[Kind, str]] = {"text": '"', "array": "[", "object": "{"}
_EXPECTED: Final[dict[Kind, str]] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "texts": "an array of text",
    "array": "an array",
    "object": "an object",
    "json": "an array or an object",
}
_FOUND: Final = {
    '"': "text",
    "{": "an object",
    "[": "an array",
    "t": "true",
    "f": "false",
    "n": "null",
    **dict.fromkeys("-0123456789", "a number"),
}
"""What a value is by the first letter of its JSON."""


def _fits(kind: Kind, value: pl.Expr) -> pl.Expr:
    """Whether JSON is of a kind; null where there is none."""
    if kind in _BEGINS:
        return value.str.starts_with(_BEGINS[kind])
    return value.str.contains(_FORMS[kind])


def _plain(columns: pl.DataFrame) -> pl.DataFrame:
    """JSON strings → the text they hold."""
    plain = columns.select(pl.all().str.strip_prefix('"').str.strip_suffix('"'))
    escapes = columns.select(pl.all().str.contains("\\", literal=True).any())
    for name in (name for name in columns.columns if escapes[name].item()):
        at = columns[name].str.contains("\\", literal=True).fill_null(value=False).arg_true()
        read = _asked("select json_extract_string(t, '$') as text from texts", texts=columns[name].gather(at))
        plain = plain.with_columns(plain[name].scatter(at, read["text"]))
    return plain


def _text(values: pl.Series) -> pl.Series:
    """JSON strings → the text they hold."""
    return _plain(values.to_frame("text"))["text"].alias(values.name)


def _json(kind: Kind, value: pl.Expr) -> pl.Expr:
    """A wire column → JSON."""
    return quoted(value) if kind == "text" else value


def _pair(key: str, value: pl.Expr) -> pl.Expr:
    """`"key":value`, null where the value is."""
    return pl.lit(f"{json.dumps(key, ensure_ascii=False)}:") + value


def _object(parts: Sequence[pl.Series]) -> pl.Series:
    """Pairs → JSON objects; null where there are none."""
    inner = pl.concat_str([part.alias("pairs") for part in parts], separator=",", ignore_nulls=True)
    return _evaluated(pl.when(inner != "").then(pl.concat_str(pl.lit("{"), inner, pl.lit("}"))))


def _inner(objects: pl.Series) -> pl.Series:
    """What stands between the braces of JSON objects; null where nothing does."""
    inner = objects.str.slice(1).str.head(-1).str.strip_chars(" \t\r\n")
    return inner.set(inner == "", None)


def _joined(entries: pl.DataFrame, count: int) -> pl.Series:
    """The entries of each object as pairs of JSON, null where it has none."""
    pairs = entries.select("at", pair=pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value"))
    joined = pairs.group_by("at", maintain_order=True).agg(pl.col("pair").str.join(","))
    return _placed(joined["at"], joined["pair"], count)


def _placed(places: pl.Series, values: pl.Series, count: int) -> pl.Series:
    """A column of text with values at some places and null elsewhere."""
    return pl.repeat(None, count, dtype=pl.String, eager=True).scatter(places, values)


def _evaluated(expression: pl.Expr) -> pl.Series:
    """An expression over series that it holds itself."""
    return pl.select(expression).to_series()


# Reading ---------------------------------------------------------------------------------------------------------


def decode(wire: Wire, pages: Sequence[bytes | str], skip: Sequence[int] = (), *, raw: bool = False) -> Decoded:
    """Pages, each a JSON array of records → canonical customers, in order.

    Positions count the records of all pages from 0; those in `skip` are passed over. Raises Malformed where a page
    is no JSON array. With `raw` each record's JSON is given, too.
    """
    records, unknown, broken = _records(wire, pages, raw=raw)
    if len(skip):
        passed = pl.DataFrame({"position": pl.Series(list(skip), dtype=pl.UInt64)})
        records, unknown, broken = (
            frame.join(passed, on="position", how="anti", maintain_order="left") for frame in (records, unknown, broken)
        )
    columns = records.with_columns(_plain(records.select(one.name for one in wire.fields if one.kind == "text")))
    return Decoded(
        _customers(wire, columns, _entries_of(records["position"], unknown)),
        records["position"],
        columns[wire.id].alias("id"),
        broken,
        dict(unknown.group_by("key").len().sort("key").iter_rows()),
        columns[_RAW].alias("raw") if raw else None,
    )


_RAW: Final = "\0raw"
"""A column beside the fields: the record itself."""


def _records(wire: Wire, pages: Sequence[bytes | str], *, raw: bool) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Good records (position, JSON of each field and the bag; null is null), what they have in fields that nobody
    declared (position, key, value), and bad records (`BROKEN`).
    """
    import duckdb

    given = [page.encode("utf-8", "surrogatepass") if isinstance(page, str) else page for page in pages]
    positions, spoilt = None, pl.DataFrame(schema=BROKEN)
    try:
        texts = pl.Series(given, dtype=pl.Binary).cast(pl.String)
        arrays = texts.str.contains(r"^[ \t\r\n]*\[")
        if not arrays.all():
            raise _no_array(int(arrays.arg_min() or 0))
        shredded = _asked(_shredding(wire), pages=texts)
    except (duckdb.Error, pl.exceptions.PolarsError):
        # Some record is spoilt: it is told from the others, and they are read again.
        texts, positions, spoilt = _sifted(wire, given)
        shredded = _asked(_shredding(wire), pages=texts)
    records = shredded.select(pl.col("records").explode(empty_as_null=False)).unnest("records")
    if positions is None:
        positions = pl.int_range(records.height, dtype=pl.UInt64, eager=True)
    records = records.with_columns(positions.alias("position"))
    if raw:
        whole = _asked(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"]
        records = records.with_columns(whole.alias(_RAW))
    patterns = shredded["keys"].explode(empty_as_null=False).unique()
    faults = _faults(wire, records)
    if (patterns.list.n_unique() < patterns.list.len()).any():
        query = f"select len(list_distinct(json_keys(r))) < len(json_keys(r)) as twice from {_EACH_RECORD}"
        twice = _asked(query, pages=texts)["twice"]
        faults.append(_evaluated(pl.when(twice).then(pl.lit("a field stands in it twice"))))
    names = set(patterns.explode(empty_as_null=False)) - {*_names(wire)}
    unknown = _undeclared(wire, positions, texts) if names else _UNKNOWN.clone()
    if faults:
        fault = _evaluated(pl.concat_str(faults, separator="; ", ignore_nulls=True))
        bad = fault != ""
        whole = _asked(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"].filter(bad)
        broken = _broken(wire, records.filter(bad), fault.filter(bad), whole)
        spoilt = pl.concat([broken, spoilt]).sort("position")
        records = records.filter(~bad)
        unknown = unknown.join(records, on="position", how="semi", maintain_order="left")
    return records, unknown, spoilt


@cache
def _names(wire: Wire) -> tuple[str, ...]:
    return (*(one.name for one in wire.fields), wire.bag.name)


@cache
def _shredding(wire: Wire) -> str:
    shape = json.dumps([dict.fromkeys(_names(wire), "JSON")])
    return f"""
        select from_json(t, {_sql(shape)}) as records, list_distinct(json_keys(t, '$[*]')) as keys from pages"""


def _faults(wire: Wire, records: pl.DataFrame) -> list[pl.Series]:
    """What is wrong with fields, a column for each fault that occurs, null in records that do not have it."""
    kinds = {**{one.name: one.kind for one in wire.fields}, wire.bag.name: "object"}
    always = [one.name for one in wire.fields if one.always]
    misfits = records.select((~_fits(kind, pl.col(name))).any().alias(name) for name, kind in kinds.items())
    missing = records.select(pl.col(always).is_null().any())
    found = []
    for name in (name for name in kinds if misfits[name].item()):
        what = pl.col(name).str.head(1).replace_strict(_FOUND, default="no JSON")
        sentence = pl.concat_str(pl.lit(f"{name} is "), what, pl.lit(f", {_EXPECTED[kinds[name]]} is expected"))
        found.append(records.select(pl.when(~_fits(kinds[name], pl.col(name))).then(sentence)).to_series())
    for name in (name for name in always if missing[name].item()):
        sentence = pl.lit(f"{name} is missing")
        found.append(records.select(pl.when(pl.col(name).is_null()).then(sentence)).to_series())
    return found


def _broken(wire: Wire, records: pl.DataFrame, fault: pl.Series, whole: pl.Series) -> pl.DataFrame:
    found = whole.str.head(1).replace_strict(_FOUND, default="no JSON")
    no_record = pl.concat_str(pl.lit("the record is "), found, pl.lit(", an object is expected"))
    return records.select(
        "position",
        id=_text(records[wire.id]),
        code=pl.lit("record.shape"),
        detail=pl.when(found == "an object").then(fault).otherwise(no_record),
        text=whole,
    ).cast(BROKEN)  # type: ignore[arg-type]


_UNKNOWN: Final = pl.DataFrame(schema={"position": pl.UInt64, "key": pl.String, "value": pl.String})


def _undeclared(wire: Wire, positions: pl.Series, pages: pl.Series) -> pl.DataFrame:
    """Position, key and value (JSON) of what records have in fields that nobody declared."""
    declared = f"[{', '.join(map(_sql, _names(wire)))}]"
    pointer = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"
    query = f"""
        select keys as key, list_transform(keys, lambda k: json_extract(r, {pointer})::varchar) as value
        from (select r, list_filter(json_keys(r), lambda k: not list_contains({declared}, k)) as keys
            from {_EACH_RECORD})"""
    lists = _asked(query, pages=pages).with_columns(positions.alias("position"))
    found = lists.filter(pl.col("key").list.len() > 0).explode("key", "value", empty_as_null=False)
    return found.filter(pl.col("value") != "null").select("position", "key", "value")


def _entries_of(positions: pl.Series, found: pl.DataFrame) -> pl.DataFrame:
    """Entries by position → by place among the positions."""
    places = positions.to_frame("position").with_row_index("at")
    return found.join(places, on="position").select("at", "key", "value")


def _sifted(wire: Wire, pages: Sequence[bytes]) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """The records whose JSON can be read as one page, their positions, and those that cannot (`BROKEN`)."""
    pieces = [piece for at, page in enumerate(pages) for piece in _split(page, at)]
    texts = pl.Series([_decoded(piece) for piece in pieces], dtype=pl.String)
    valid = _asked("select json_valid(t) as valid from texts", texts=texts)["valid"].fill_null(value=False)
    positions = pl.int_range(len(pieces), dtype=pl.UInt64, eager=True)
    shown = [pieces[at].decode("utf-8", "backslashreplace") for at in (~valid).arg_true()]
    broken = pl.DataFrame({"position": positions.filter(~valid), "text": pl.Series(shown, dtype=pl.String)}).select(
        "position",
        id=pl.col("text").str.extract(rf'"{wire.id}"\s*:\s*"?([^"\\,}}]*)'),
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
    return Malformed(f"page {page + 1} of the answer is no JSON array of records")


def _customers(wire: Wire, columns: pl.DataFrame, unknown: pl.DataFrame) -> pl.DataFrame:
    """Wire columns, the bag and undeclared fields (at, key, value) → the canonical columns as text."""
    bag = _opened(wire, columns[wire.bag.name])
    fields = {name: pl.col(name) for name in COLUMNS if name != "metadata"}
    for name, (places, values) in bag.spilled.items():
        there = pl.repeat(False, columns.height, dtype=pl.Boolean, eager=True).scatter(places, True)
        whole = _placed(places, values, columns.height)
        fields[name] = pl.when(pl.lit(there)).then(pl.lit(whole)).otherwise(name).alias(name)
    for name, word in columns.select(**wire.overrules).to_dict().items():
        fields[name] = pl.coalesce(pl.lit(word), fields[name]).alias(name)
    parts = [bag.inner]
    for key, value in _kept(wire, columns).items():
        if value.null_count() < len(value):
            held = bag.own.filter(pl.col("key") == key)["at"]
            parts.append(_evaluated(_pair(key, pl.lit(value.scatter(held, None)))))
    if not unknown.is_empty():
        named = unknown.with_columns(key=pl.lit(f"{wire.provider}.") + pl.col("key"))
        parts.append(_joined(named.join(bag.own, on=["at", "key"], how="anti", maintain_order="left"), columns.height))
    return _canonical(wire, columns).select(**fields).with_columns(metadata=_object(parts)).select(list(COLUMNS))


def _canonical(wire: Wire, columns: pl.DataFrame) -> pl.DataFrame:
    """What the fields say of each canonical column but metadata; null where they say nothing."""
    nothing = pl.lit(None, dtype=pl.String)
    said = {"provider": pl.lit(wire.provider), **wire.sources}
    return columns.with_columns(
        said.get(name, nothing).alias(f"{name}\0") for name in COLUMNS if name != "metadata"
    ).select(pl.col(f"{name}\0").alias(name) for name in COLUMNS if name != "metadata")


def _kept(wire: Wire, columns: pl.DataFrame) -> dict[str, pl.Series]:
    """Metadata key → JSON, of the fields without a canonical home. What the provider fills in by itself, and empty
    arrays and objects, are null.
    """
    found = {}
    for one in wire.kept:
        value = columns[one.name]
        if one.read is not None:
            value = columns.select(one.read).to_series()
        elif value.null_count() < len(value):
            own = pl.col(one.name)
            if one.default is not None:
                own = pl.when(own != one.default).then(own)
            value = columns.select(_json(one.kind, own)).to_series()
        found[wire.key(one.name)] = value.set(value.is_in(["[]", "{}", "null"]), None)
    return found


# The bag, opened -------------------------------------------------------------------------------------------------

_OURS: Final = "canon"
_OVERFLOW: Final = "metadata"
"""Under this name stand the metadata entries that may not stand in the bag by themselves."""
_NULLS: Final = "nulls"
"""Under this name a bag of text lists the fields that are null."""


@dataclass(frozen=True)
class _Opened:
    """Bags taken apart: `spilled` is canonical field → places and values there, `inner` the pairs that are metadata,
    `own` (at, key) the keys of metadata that begin with the provider's name.
    """

    spilled: Mapping[str, tuple[pl.Series, pl.Series]]
    inner: pl.Series
    own: pl.DataFrame


def _kind_of(name: str) -> Kind:
    """What the JSON of a canonical field is, where a bag takes any JSON."""
    if name == _OVERFLOW:
        return "object"
    if name in LISTS:
        return "texts"
    return "text" if COLUMNS[name] == pl.String or name in INSTANTS else "integer"


@cache
def _reserved(wire: Wire) -> Mapping[str, str]:
    """Key of ours in a bag → canonical field, `metadata`, or `nulls` of a bag of text."""
    prefix = "" if wire.bag.style == "nested" else f"{_OURS}_"
    names = (*SPILLED, _OVERFLOW, *([_NULLS] if wire.bag.style == "texts" else []))
    return {f"{prefix}{name}": name for name in names}


def _opened(wire: Wire, bags: pl.Series) -> _Opened:
    inner = _inner(bags)
    nobody = pl.DataFrame(schema={"at": pl.UInt32, "key": pl.String})
    # Compact JSON shows a key as it is: a bag without these holds nothing of ours.
    touched = bags.str.contains_any([f'"{_OURS}', f'"{wire.provider}.']).fill_null(value=False)
    at = touched.arg_true()
    if at.is_empty():
        return _Opened({}, inner, nobody)
    ours, free = _sorted_out(wire, _entries(bags.gather(at)))
    restored = _entries_within(ours.filter(name=_OVERFLOW))
    if not restored.is_empty():
        free = pl.concat([free, restored]).unique(["at", "key"], keep="last", maintain_order=True)
    spilled = {
        name: (at.gather(some["at"]), some["value"])
        for (name,), some in ours.filter(pl.col("name") != _OVERFLOW).partition_by("name", as_dict=True).items()
    }
    own = free.filter(pl.col("key").str.starts_with(f"{wire.provider}.")).select("at", "key")
    return _Opened(
        spilled,
        inner.scatter(at, _joined(free, len(at))),
        own.with_columns(at.gather(own["at"]).cast(pl.UInt32).alias("at")),
    )


def _entries_within(some: pl.DataFrame) -> pl.DataFrame:
    """The entries of the objects in `value`, under the places of those."""
    entries = _entries(some["value"])
    return entries.with_columns(some["at"].gather(entries["at"]))


def _sorted_out(wire: Wire, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The entries of bags → ours (at, name, value as canonical text; metadata as JSON) and the customer's own (at,
    key, value).

    What has a key of ours and is not what we would have written there is the customer's own.
    """
    if wire.bag.style == "texts":
        return _sorted_texts(wire, entries)
    if wire.bag.style == "nested":
        nests = (pl.col("key") == _OURS) & pl.col("value").str.starts_with("{")
        ours, left = _sorted_json(wire, _entries_within(entries.filter(nests)))
        # What somebody else put into our object stays, in a place that we never write to.
        objects = left.group_by("at", maintain_order=True).agg(
            key=pl.lit(wire.key(_OURS)),
            value=pl.concat_str(
                pl.lit("{"), pl.concat_str(quoted(pl.col("key")), pl.lit(":"), "value").str.join(","), pl.lit("}")
            ),
        )
        return ours, pl.concat([entries.filter(~nests), objects])
    return _sorted_json(wire, entries)


def _sorted_json(wire: Wire, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    named = entries.with_columns(
        name=pl.col("key").replace_strict(_reserved(wire), default=None, return_dtype=pl.String)
    )
    by_kind: dict[Kind, list[str]] = {}
    for field in _reserved(wire).values():
        by_kind.setdefault(_kind_of(field), []).append(field)
    name, value = pl.col("name"), pl.col("value")
    is_ours = (value == "null") & (name != _OVERFLOW)
    for kind, names in by_kind.items():
        is_ours |= name.is_in(names) & _fits(kind, value)
    is_ours = is_ours & name.is_not_null()
    named = named.with_columns(is_ours=is_ours.fill_null(value=False))
    ours = named.filter("is_ours")
    text = ours["name"].is_in(by_kind["text"])
    values = ours["value"].set(ours["value"] == "null", None)
    at = text.arg_true()
    values = values.scatter(at, _text(values.gather(at)))
    return ours.select("at", "name", values), named.filter(~pl.col("is_ours")).select("at", "key", "value")


def _sorted_texts(wire: Wire, entries: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    reserved = _reserved(wire)
    name = pl.col("key").replace_strict(reserved, default=None, return_dtype=pl.String)
    named = entries.with_columns(name=name, is_text=pl.col("value").str.starts_with('"'))
    is_part = pl.col("name").is_null() & pl.col("is_text") & pl.col("key").str.contains(rf"^{_OURS}_.*_[0-9]+$")
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
    ours = named.filter(is_ours).select("at", "name", _text(named["value"].filter(is_ours)))
    if not parts.is_empty():
        joined = (
            parts.with_columns(_text(parts["value"]))
            .sort("at", "name", "number")
            .group_by("at", "name", maintain_order=True)
            .agg(pl.col("value").str.join(""))
        )
        # One value in a whole piece stands before what was left of one in parts.
        rivals = ours.filter(pl.col("at").is_in(joined["at"].implode()))
        ours = pl.concat([ours, joined.join(rivals, on=["at", "name"], how="anti")])
        is_ours = is_ours.scatter(parts["row"], True)
        named = named.with_columns(named["name"].scatter(parts["row"], parts["name"]))
    over = ours.filter(name=_OVERFLOW)
    is_object = (
        _asked("select json_type(try_cast(t as json)) as type from objects", objects=over["value"])["type"] == "OBJECT"
    )
    good = over.filter(is_object.fill_null(value=False))
    fields = ours.filter(~pl.col("name").is_in([_OVERFLOW, _NULLS]))
    absent = ours.filter(name=_NULLS).select("at", name=pl.col("value").str.split(",")).explode("name")
    absent = absent.filter(pl.col("name").is_in(SPILLED)).with_columns(value=pl.lit(None, dtype=pl.String)).unique()
    said = fields.filter(pl.col("at").is_in(absent["at"].implode()))
    absent = absent.join(said, on=["at", "name"], how="anti")
    broken = named.filter(is_ours & (named["name"] == _OVERFLOW)).join(good, on="at", how="anti")
    free = pl.concat([named.filter(~is_ours), broken]).select("at", "key", "value")
    return pl.concat([fields, good, absent]), free


# Writing ---------------------------------------------------------------------------------------------------------


def encode(wire: Wire, customers: pl.DataFrame, told: Mapping[str, str] | None = None) -> Encoded:
    """Canonical customers (`schemas.customer.COLUMNS`, typed as they stand in the stage) → what creates each at the
    provider.

    `told` is wire field → value, of the fields that the address says (`Field.told`). What the provider demands and a
    record lacks is a refusal; nothing is filled in. A null is not sent.
    """
    canonical = _as_text(customers)
    split = _metadata_split(wire, canonical["metadata"])
    seen = canonical.drop("metadata").with_columns(**split.native)
    nothing = pl.lit(None, dtype=pl.String)
    columns = seen.with_columns(
        (_written(wire, one, told or {}) if one.settable else nothing).alias(f"{one.name}\0") for one in wire.fields
    ).select(pl.col(f"{one.name}\0").alias(one.name) for one in wire.fields)
    refused = pl.concat([_refusals(wire, columns), _unreadable_metadata(split.bad)]).sort("position", "field", "code")
    body = [
        columns.select(_pair(one.name, _json(one.kind, pl.col(one.name)))).to_series()
        for one in wire.fields
        if columns[one.name].null_count() < columns.height
    ]
    bag = _filled_bag(wire, canonical, columns, split)
    body.append(_evaluated(_pair(wire.bag.name, pl.lit(bag))))
    bodies = _object(body).scatter(refused["position"].unique(), None)
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


def _written(wire: Wire, one: Field, told: Mapping[str, str]) -> pl.Expr:
    if one.told:
        return pl.lit(told.get(one.name), dtype=pl.String)
    if one.write is not None:
        return one.write
    return pl.col(one.home or wire.key(one.name))


@dataclass(frozen=True)
class _Split:
    """Metadata taken apart: `native` is metadata key → wire column of what fits a field of the provider, `own` the
    same as JSON whether it fits or not, `inner` the pairs that may stand in the bag as they are, `over` those that may
    not; `bad` is true where it is no JSON object.
    """

    native: Mapping[str, pl.Series]
    own: Mapping[str, pl.Series]
    inner: pl.Series
    over: pl.Series
    bad: pl.Series


def _metadata_split(wire: Wire, metadata: pl.Series) -> _Split:
    count = len(metadata)
    nothing = pl.repeat(None, count, dtype=pl.String, eager=True)
    if wire.bag.style == "texts":
        touched = metadata.is_not_null()
    else:
        # An escape may hide a letter of a key.
        hints = [f'"{_OURS}', f'"{wire.provider}.', "\\u"]
        touched = metadata.str.contains_any(hints).fill_null(value=False)
    at = touched.arg_true()
    given = metadata.gather(at)
    valid = _asked("select json_type(try_cast(t as json)) as type from objects", objects=given)["type"] == "OBJECT"
    valid = valid.fill_null(value=False)
    entries = _entries(given.filter(valid))
    entries = entries.with_columns(at.filter(valid).gather(entries["at"]).alias("at"))
    kept = {wire.key(one.name): one for one in wire.kept}
    foreign = entries.filter(~pl.col("key").is_in(list(kept)))
    free = foreign.select(_free(wire)).to_series()
    native, own = {}, {}
    for key, one in kept.items():
        if one.settable:
            some = entries.filter(pl.col("key") == key)
            own[key] = _placed(some["at"], some["value"], count)
            some = some.filter(_fits(one.kind, pl.col("value")))
            values = _text(some["value"]) if one.kind == "text" else some["value"]
            # An entry that the provider would refuse is no reason to refuse the customer.
            refused = pl.lit(value=False)
            if one.words:
                refused |= ~pl.lit(values).is_in(list(one.words))
            if one.longest:
                refused |= pl.lit(values).str.len_chars() > one.longest
            native[key] = _placed(some["at"], _evaluated(pl.when(~refused).then(values)), count)
    inner = _inner(metadata).scatter(at, None)
    return _Split(
        native,
        own,
        _evaluated(pl.coalesce(pl.lit(_joined(foreign.filter(free), count)), pl.lit(inner))),
        _joined(foreign.filter(~free), count),
        nothing.is_not_null().scatter(at.filter(~valid), True),
    )


def _free(wire: Wire) -> pl.Expr:
    """Whether an entry (key, value) may stand in the bag under its own key."""
    key, value, bag = pl.col("key"), pl.col("value"), wire.bag
    if bag.style == "nested":
        return key != _OURS
    if bag.style == "json":
        return ~key.is_in(list(_reserved(wire)))
    text = pl.struct("value").map_batches(lambda some: _text(some.struct.field("value")), return_dtype=pl.String)
    fits = value.str.starts_with('"') & (value != '""') & (key != "") & ~key.str.starts_with(_OURS)
    if bag.longest_key:
        fits &= key.str.len_chars() <= bag.longest_key
    if bag.longest_value:
        fits &= text.str.len_chars() <= bag.longest_value
    return fits


_UNFORESEEN: Final = "\0"
"""Stands for what a provider makes by itself: equal to nothing."""


def _filled_bag(wire: Wire, canonical: pl.DataFrame, columns: pl.DataFrame, split: _Split) -> pl.Series:
    """The bag (JSON) of each customer: its metadata, and all that the fields would not give back; null if empty."""
    answered = columns.with_columns(
        pl.lit(_UNFORESEEN).alias(one.name) if one.made else pl.col(one.name).fill_null(one.default)
        for one in wire.fields
        if one.made or one.default is not None
    )
    native, kept = _canonical(wire, answered), _kept(wire, answered)
    inner, over = [split.inner], [split.over]
    for key, value in split.own.items():
        apart = value.ne_missing(kept[key]) & value.is_not_null()
        pair = _evaluated(pl.when(apart).then(_pair(key, pl.lit(value))))
        (over if wire.bag.style == "texts" else inner).append(pair)
    values = {}
    for key, name in _reserved(wire).items():
        if name in SPILLED and (apart := _apart(wire, name, canonical, native)).any():
            values[key, name] = (apart, canonical[name])
    if wire.bag.style == "texts":
        ours = [_text_pairs(key, value.set(~apart, None), wire) for (key, _), (apart, value) in values.items()]
        absent = [
            _evaluated(pl.when(apart & value.is_null()).then(pl.lit(name)))
            for (_, name), (apart, value) in values.items()
        ]
        if absent:
            names = _evaluated(pl.concat_str(absent, separator=",", ignore_nulls=True))
            ours.append(_text_pairs(f"{_OURS}_{_NULLS}", names.set(names == "", None), wire))
        return _object([*inner, *ours, _text_pairs(f"{_OURS}_{_OVERFLOW}", _object(over), wire)])
    ours = [
        _evaluated(pl.when(apart).then(_pair(key, _json(_kind_of(name), pl.lit(value)).fill_null("null"))))
        for (key, name), (apart, value) in values.items()
    ]
    if wire.bag.style == "nested":
        nest = _object([*ours, _evaluated(_pair(_OVERFLOW, pl.lit(_object(over))))])
        return _object([*inner, _evaluated(_pair(_OURS, pl.lit(nest)))])
    return _object([*inner, *ours, _evaluated(_pair(f"{_OURS}_{_OVERFLOW}", pl.lit(_object(over))))])


def _apart(wire: Wire, name: str, canonical: pl.DataFrame, native: pl.DataFrame) -> pl.Series:
    """Where a canonical field would come back as something else."""
    if name in ORIGIN:
        provider, its_id = canonical["provider"], canonical["provider_id"]
        return _evaluated((pl.lit(provider) != wire.provider).fill_null(pl.lit(its_id).is_not_null()))
    given_back = native[name]
    blank = "[]" if name in LISTS else ""
    return canonical[name].ne_missing(given_back.set(given_back == blank, None))


def _text_pairs(key: str, values: pl.Series, wire: Wire) -> pl.Series:
    """`"key":"value"`; a value too long for the bag as `"key_1":"…","key_2":"…"`."""
    pairs = _evaluated(_pair(key, quoted(pl.lit(values))))
    longest = wire.bag.longest_value
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
    return pairs.scatter(at, _joined(entries, len(values)).gather(at))


# What a provider demands -----------------------------------------------------------------------------------------


@cache
def _demands(wire: Wire) -> tuple[DataFrameSchema, pl.DataFrame]:
    """The wire columns as the provider takes them; and what its checks (column, check) mean: field, fault, demand."""
    import pandera.polars as pa

    columns: dict[str, Any] = {}
    said: list[tuple[str, str, str, str, str]] = []
    for one in (one for one in wire.fields if one.settable):
        people_say = one.home or f"metadata.{wire.key(one.name)}"
        checks = []
        if one.longest:
            checks.append(pa.Check.str_length(max_value=one.longest))
            rule = f"{wire.title} takes at most {one.longest} characters"
            said.append((one.name, "str_length", people_say, "too_long", rule))
        if one.words:
            checks.append(pa.Check.isin(one.words))
            said.append((one.name, "isin", people_say, "unknown", f"{wire.title} takes {', '.join(one.words)}"))
        for at, demand in enumerate(wire.demands):
            if demand.holds.meta.root_names()[0] == one.name:
                checks.append(pa.Check(partial(_holds, demand), name=f"demand_{at}"))
                said.append((one.name, f"demand_{at}", demand.field, demand.fault, demand.says))
        said.append((one.name, "not_nullable", people_say, "missing", f"{wire.title} demands it"))
        if checks or one.required:
            columns[one.name] = pa.Column(pl.String, checks, nullable=not one.required)
    names = ("column", "check", "field", "fault", "demand")
    return pa.DataFrameSchema(columns), pl.DataFrame(said, schema=dict.fromkeys(names, pl.String), orient="row")


def _holds(demand: Demand, data: PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(demand.holds.fill_null(value=True))


def _refusals(wire: Wire, columns: pl.DataFrame) -> pl.DataFrame:
    from pandera.errors import SchemaErrors

    schema, said = _demands(wire)
    try:
        schema.validate(columns, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].has_nulls():
            # Not about a record: the columns are not what they should be. That is our bug.
            checks = cases["check"].unique().to_list()
            raise RuntimeError(f"{wire.provider}: wire columns break their schema: {checks}") from error
        told = cases.with_columns(pl.col("check").str.extract(r"^(\w+)")).join(said, on=["column", "check"])
        refused: pl.DataFrame = told.select(
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
