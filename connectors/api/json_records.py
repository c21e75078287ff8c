"""Pages of a provider's list, parsed: valid records as columns of their fields, and the records that are broken.

JSON is parsed by DuckDB's JSON functions, in sets; no record is processed in Python, except on pages that DuckDB cannot
read. Callable from any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

import polars as pl

from tranship.connectors.errors import Malformed
from tranship.connectors.json_text import columns as jsons
from tranship.schemas.provider import Kind, ProviderSchema

BROKEN: Final = {
    "position": pl.UInt64,
    "id": pl.String,
    "code": pl.String,
    "detail": pl.String,
    "text": pl.String,
}
"""Records that break the provider's own schema: `position` in the pages, from 0; `id` (null if it cannot be extracted);
`code`, always `record.shape`; `detail`, what was found and what is expected; `text`, their JSON."""

_EACH_RECORD: Final = "(select unnest(json_extract(t::json, '$[*]')) as r from pages)"


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


RAW: Final = "\0raw"
"""A column beside the fields: the JSON of the whole record."""


def read_records(
    schema: ProviderSchema, pages: Sequence[bytes | str], *, raw: bool
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Separate the records of pages, each a JSON array, in order.

    Returns the good records (position (u64, from 0), a column of text for each field, the others and the overflow as
    JSON; with `raw` also `RAW`; JSON null is null), their undeclared fields (position, key, value as JSON), and the
    broken records (`BROKEN`). Raises Malformed where a page is not a JSON array.
    """
    given = [page.encode("utf-8", "surrogatepass") if isinstance(page, str) else page for page in pages]
    found = read_quickly(schema, given, raw=raw)
    return _read_carefully(schema, given, raw=raw) if found is None else (*found, pl.DataFrame(schema=BROKEN))


def read_quickly(
    schema: ProviderSchema, given: Sequence[bytes], *, raw: bool
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Return the good records and their undeclared fields; null if any record may be broken."""
    import duckdb

    try:
        texts = pl.Series(given, dtype=pl.Binary).cast(pl.String)
        if not texts.str.contains(_ARRAY).all() or texts.str.contains(_text_misfit(schema)).any():
            return None
        records, patterns = _shredded(_shredding(schema, as_text=True), texts, raw=raw)
    except (duckdb.Error, pl.exceptions.PolarsError):
        return None
    others = {name: kind for name, kind in _kinds(schema).items() if kind != "text"}
    if _has_repeats(patterns) or _faults(schema, records, others):
        return None
    return records, _undeclared(schema, records["position"], patterns, texts)


def _read_carefully(
    schema: ProviderSchema, given: Sequence[bytes], *, raw: bool
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """As `read_records`, for pages with any content."""
    import duckdb

    positions, unreadable = None, pl.DataFrame(schema=BROKEN)
    query = _shredding(schema, as_text=False)
    try:
        texts = pl.Series(given, dtype=pl.Binary).cast(pl.String)
        arrays = texts.str.contains(_ARRAY)
        if not arrays.all():
            raise _not_an_array(int(arrays.arg_min() or 0))
        records, patterns = _shredded(query, texts, raw=raw)
    except (duckdb.Error, pl.exceptions.PolarsError):
        # DuckDB cannot read a record: it is separated from the others, and they are read again.
        texts, positions, unreadable = _sifted(schema, given)
        records, patterns = _shredded(query, texts, raw=raw)
        records = records.with_columns(positions.alias("position"))
    faults = _faults(schema, records, _kinds(schema))
    if _has_repeats(patterns):
        query = f"select len(list_distinct(json_keys(r))) < len(json_keys(r)) as twice from {_EACH_RECORD}"
        twice = jsons.query_columns(query, pages=texts)["twice"]
        faults.append(jsons.evaluated(pl.when(twice).then(pl.lit("a field occurs twice"))))
    unknown = _undeclared(schema, records["position"], patterns, texts)
    if faults:
        fault = jsons.evaluated(pl.concat_str(faults, separator="; ", ignore_nulls=True))
        bad = fault != ""
        whole = jsons.query_columns(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"].filter(bad)
        broken = _broken(schema, records.filter(bad), fault.filter(bad), whole)
        unreadable = pl.concat([broken, unreadable]).sort("position")
        records = records.filter(~bad)
        unknown = unknown.join(records, on="position", how="semi", maintain_order="left")
    text = [name for name, kind in _kinds(schema).items() if kind == "text"]
    return records.with_columns(jsons.plain(records.select(text))), unknown, unreadable


_ARRAY: Final = r"^[ \t\r\n]*\["


@cache
def _kinds(schema: ProviderSchema) -> Mapping[str, Kind]:
    return {**{field.name: field.kind for field in schema.fields}, schema.overflow.name: "object"}


@cache
def _text_misfit(schema: ProviderSchema) -> str:
    """Return a regular expression that matches every page in which a field of text is neither text nor null: another
    value after its name, or a name written with escapes.
    """
    names = "|".join(re.escape(name) for name, kind in _kinds(schema).items() if kind == "text")
    blank = r"[ \t\r\n]*"
    return rf'"(?:{names})"{blank}:{blank}(?:n[^u]|[^"n \t\r\n])|\\u[^"]*"{blank}:'


@cache
def _shredding(schema: ProviderSchema, *, as_text: bool) -> str:
    """Return the query: pages → lists of records, and lists of the sets of fields that occur. With `as_text` fields of
    text are decoded, including values that are not text.
    """
    kinds = {name: "VARCHAR" if as_text and kind == "text" else "JSON" for name, kind in _kinds(schema).items()}
    return f"""
        select from_json(t, {_sql(json.dumps([kinds]))}) as records, list_distinct(json_keys(t, '$[*]')) as keys
        from pages"""


_BATCH_BYTES: Final = 2_000_000
"""Bytes of JSON that are parsed together."""


def _shredded(query: str, texts: pl.Series, *, raw: bool) -> tuple[pl.DataFrame, pl.Series]:
    """Return the records of pages, and the sets of fields that occur."""
    # A few pages at a time: DuckDB needs several times their size in memory.
    batch = texts.str.len_bytes().cum_sum() // _BATCH_BYTES
    batches = texts.to_frame("t").with_columns(batch=batch).partition_by("batch", maintain_order=True)
    found = pl.concat([jsons.query_columns(query, pages=part["t"]) for part in batches or [texts.to_frame("t")]])
    records = found.select(pl.col("records").explode(empty_as_null=False)).unnest("records")
    records = records.with_columns(position=pl.int_range(pl.len(), dtype=pl.UInt64))
    if raw:
        whole = jsons.query_columns(f"select r::varchar as r from {_EACH_RECORD}", pages=texts)["r"]
        records = records.with_columns(whole.alias(RAW))
    return records, found["keys"].explode(empty_as_null=False).unique()


def _has_repeats(patterns: pl.Series) -> bool:
    """Return whether any set of fields has a field twice."""
    return bool((patterns.list.n_unique() < patterns.list.len()).any())


def _faults(schema: ProviderSchema, records: pl.DataFrame, kinds: Mapping[str, Kind]) -> list[pl.Series]:
    """Return a column for each fault that occurs: its description, null in records without it. Only the kinds of the
    fields in `kinds` are checked.
    """
    always = [field.name for field in schema.fields if field.always_present]
    has_misfits = records.select((~jsons.fits(kind, pl.col(name))).any().alias(name) for name, kind in kinds.items())
    missing = records.select(pl.col(always).is_null().any())
    found = []
    for name in (name for name in kinds if has_misfits[name].item()):
        actual = pl.col(name).str.head(1).replace_strict(jsons.FOUND, default="not JSON")
        sentence = pl.concat_str(pl.lit(f"{name} is "), actual, pl.lit(f", {jsons.EXPECTED[kinds[name]]} is expected"))
        found.append(records.select(pl.when(~jsons.fits(kinds[name], pl.col(name))).then(sentence)).to_series())
    for name in (name for name in always if missing[name].item()):
        sentence = pl.lit(f"{name} is missing")
        found.append(records.select(pl.when(pl.col(name).is_null()).then(sentence)).to_series())
    return found


def _broken(schema: ProviderSchema, records: pl.DataFrame, fault: pl.Series, whole: pl.Series) -> pl.DataFrame:
    found = whole.str.head(1).replace_strict(jsons.FOUND, default="not JSON")
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
    """Return position, key and value (JSON) of the fields of records that their schema does not declare."""
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


def _sifted(schema: ProviderSchema, pages: Sequence[bytes]) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """Return the records with readable JSON as one page, their positions, and the other records (`BROKEN`)."""
    pieces = [piece for number, page in enumerate(pages) for piece in _split(page, number)]
    texts = pl.Series([_decoded(piece) for piece in pieces], dtype=pl.String)
    valid = jsons.query_columns("select json_valid(t) as valid from texts", texts=texts)["valid"].fill_null(value=False)
    positions = pl.int_range(len(pieces), dtype=pl.UInt64, eager=True)
    shown = [pieces[place].decode("utf-8", "backslashreplace") for place in (~valid).arg_true()]
    broken = pl.DataFrame({"position": positions.filter(~valid), "text": pl.Series(shown, dtype=pl.String)}).select(
        "position",
        id=pl.col("text").str.extract(rf'"{schema.id}"\s*:\s*"?([^"\\,}}]*)'),
        code=pl.lit("record.shape"),
        detail=pl.lit("its JSON is invalid: it has bytes or escapes that are not text"),
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


def _split(page: bytes, number: int) -> Iterator[bytes]:
    """Yield the elements of a JSON array unchanged, even if their strings are invalid. `number` is that of the page.

    Raises Malformed if it is not an array.
    """
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
        raise _not_an_array(number)


def _not_an_array(page: int) -> Malformed:
    return Malformed(f"page {page + 1} of the response is not a JSON array of records")
