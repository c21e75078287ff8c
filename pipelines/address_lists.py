"""Lists of addresses: `"addresses": [{"line1": …}, {"primary": true, …}]`, as APIs return them. One of them becomes the
customer's address: the one for invoices, or else the primary one, or else the first that has a place. The list stays in
metadata as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from tranship.connectors.contract import Layout
from tranship.pipelines.normalise.lists import text_list
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate, null_text
from tranship.schemas.column_names import fold, unwrapped
from tranship.schemas.customer import ADDRESS
from tranship.schemas.headers import match

_LISTS: Final = re.compile(
    "(?:customer|client|postal|physical|mailing)?(?:addresses|addresslist|adressen|adresses|direcciones|indirizzi|enderecos)"
)
_SINGLE: Final = re.compile(
    "(?:customer|client|postal|physical|mailing)?(?:address|adresse|direccion|indirizzo|endereco)"
)
_KEY: Final = r'"([A-Za-z_][A-Za-z0-9_]*)"\s*:'
_LINE: Final = "line"
"""FHIR's key of the lines; elsewhere it means nothing."""
_KINDS: Final = frozenset({"type", "kind", "label", "addresstype", "use"})
_PRIMARY: Final = frozenset({"primary", "default", "isprimary", "isdefault", "preferred"})
_BILLING: Final = ("billing", "Billing", "BILLING", "invoice", "Invoice", "bill_to")
_PLACE: Final = ("city", "zip_code", "address_line1", "country")


def find(columns: Sequence[str], layouts: Sequence[Layout]) -> list[str]:
    """Return the columns named like a list of addresses, or like an address and containing lists (FHIR's `address`)."""
    lists = {column for layout in layouts for column in layout.lists}
    lists |= {column for layout in layouts for column, dtype in layout.types.items() if isinstance(dtype, pl.List)}
    return [
        column for column in columns if _is_called(_LISTS, column) or (column in lists and _is_called(_SINGLE, column))
    ]


def fields_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return field → column, of the fields of an address that are mapped to a list of addresses. One that is called as
    a single address feeds all of them.
    """
    of_address = {field: column for field, column in fields.items() if field in ADDRESS}
    is_whole = len(of_address) == len(ADDRESS) and len({*of_address.values()}) == 1
    return {
        field: column
        for field, column in of_address.items()
        if _is_called(_LISTS, column) or (is_whole and _is_called(_SINGLE, column))
    }


def _is_called(pattern: re.Pattern[str], column: str) -> bool:
    return pattern.fullmatch(fold(unwrapped(column))) is not None


def parts(values: pl.Series, fields: Sequence[str]) -> dict[str, pl.Series]:
    """Return field → its text in the customer's address. A value that is not a list is the first line."""
    texts = evaluate(as_text(values), blank_to_null(VALUE.str.strip_chars()))
    is_json = texts.str.contains(r"^\[\s*\{").fill_null(value=False)
    listed = pl.select(pl.when(is_json).then(texts)).to_series()
    keys = sorted(listed.str.extract_all(_KEY).explode().str.extract(_KEY).drop_nulls().unique())
    found = {field: fit.columns for field, fit in match(keys, {}).items()}
    if _LINE in keys:
        found.setdefault("address_line1", (_LINE,))
    places = [key for field in _PLACE for key in found.get(field, ())]
    chosen = evaluate(listed, pl.coalesce(VALUE.str.json_path_match(path) for path in _paths(keys, places)))
    plain = _joined(texts)
    made = {}
    for field in fields:
        inner = [blank_to_null(VALUE.str.json_path_match(f"$.{key}")) for key in found.get(field, ())]
        text = evaluate(chosen, pl.coalesce(inner)) if inner else null_text(len(values))
        text = _joined(text) if field == "address_line1" else text
        made[field] = plain.zip_with(text.is_null() & plain.is_not_null(), text) if field == "address_line1" else text
    return made


def _joined(texts: pl.Series) -> pl.Series:
    """Return lists of texts, such as FHIR's `["1 Main St", "Unit 2"]`, as one text; other lists are null."""
    is_list = texts.str.starts_with("[").fill_null(value=False)
    if not is_list.any():
        return texts
    of_texts = text_list(texts.filter(is_list), lower=False, numbers=False)
    return pl.select(pl.when(~is_list).then(texts)).to_series().scatter(is_list.arg_true(), of_texts.list.join(", "))


def _paths(keys: Sequence[str], places: Sequence[str]) -> Iterator[str]:
    """Yield the JSON paths of the address to use, the best first."""
    yield from (f"$[?(@.{key}=='{kind}')]" for key in keys if fold(key) in _KINDS for kind in _BILLING)
    yield from (f"$[?(@.{key}=={true})]" for key in keys if fold(key) in _PRIMARY for true in ("true", "'true'"))
    yield from (f"$[?(@.{key}>'')]" for key in places)
    yield "$[0]"
