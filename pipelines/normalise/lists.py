"""Parse lists of text: JSON arrays, or values separated by `;`; e-mail addresses also by `,` and blanks."""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.pipelines.normalise.identifiers import ODD_ID, external_id
from tranship.pipelines.normalise.series import VALUE, evaluate, replace_where
from tranship.pipelines.normalise.text import addresses, email, trimmed
from tranship.schemas import codes
from tranship.schemas.customer import is_mailbox
from tranship.schemas.faults import reasons

_JSON_TEXT: Final = r'"(?:[^"\\]|\\.)*"'

JSON_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


def text_list(values: pl.Series, *, lower: bool, numbers: bool) -> pl.Series:
    """Parse JSON arrays of text, or values separated by `;`: trimmed, without blanks and repeats; empty lists are null.
    E-mail addresses (`lower`) may have other separators, and names beside them.

    Invalid JSON becomes null, too.
    """
    plain = trimmed(values)
    if lower:
        listed = plain.str.contains(r"[,<>|\s]|mailto:") & ~plain.str.starts_with("[")
        plain = replace_where(plain, listed, _separate_addresses)
    item_pattern = rf"(?:{_JSON_TEXT}|{JSON_NUMBER})" if numbers else _JSON_TEXT
    is_json = plain.str.starts_with("[").fill_null(value=False)
    read = plain.str.split(";")
    if is_json.any():
        whole = plain.str.contains(rf"^\[\s*(?:{item_pattern}\s*(?:,\s*{item_pattern}\s*)*)?\]$")
        valid = is_json & whole & plain.str.json_path_match("$").is_not_null()
        decoded = pl.select(pl.when(valid).then(plain)).to_series().str.json_decode(pl.List(pl.String))
        read = pl.select(pl.when(is_json).then(decoded).otherwise(read)).to_series()
    return tidy_items(read, lower=lower)


def _separate_addresses(values: pl.Series) -> pl.Series:
    """Return lists of e-mail addresses separated by `;`."""
    distinct = values.unique()
    separated = pl.Series([value and ";".join(addresses(value)) for value in distinct], dtype=pl.String)
    return values.replace_strict(distinct, separated, return_dtype=pl.String)


def tidy_items(lists: pl.Series, *, lower: bool) -> pl.Series:
    """Normalise the items and drop blanks and repeats; an empty list becomes null."""
    item = pl.element().str.strip_chars()
    if lower:
        item = item.str.to_lowercase()
    spelt = evaluate(lists.explode(), VALUE.str.strip_chars().str.to_lowercase() if lower else VALUE.str.strip_chars())
    odd = spelt.filter(spelt.str.contains(r"[^\x00-\x7f]" if lower else ODD_ID)).unique()
    if not odd.is_empty():
        # A function passed to `list.eval` would be called for each list.
        item = item.replace(odd, email(odd) if lower else external_id(odd, frozenset())[0])
    filled = pl.element() != ""
    if lower:
        filled &= ~pl.element().is_in(list(codes.NO_VALUE_WORDS))
    tidy = lists.list.eval(item).list.eval(pl.element().filter(filled)).list.unique(maintain_order=True)
    return pl.select(pl.when(tidy.list.len() > 0).then(tidy)).to_series()


def append_items(lists: pl.Series, more: pl.Series) -> pl.Series:
    """Return the lists with further e-mail addresses at the end, if valid, without repeats; an empty list is null."""
    empty = pl.lit([], dtype=pl.List(pl.String))
    more = more.list.eval(pl.element().filter(is_mailbox(pl.element()) & (pl.element().str.len_chars() <= 254)))
    joined = pl.DataFrame({"lists": lists, "more": more}).select(
        pl.concat_list(pl.col("lists").fill_null(empty), pl.col("more").fill_null(empty))
    )
    return tidy_items(joined.to_series(), lower=True)


def unreadable_lists(given: pl.Series, read: pl.Series, code: str) -> pl.DataFrame:
    """Return a reason for each value that is invalid JSON; a list of blanks is merely empty."""
    plain = given.str.strip_chars()
    lost = (
        read.is_null() & plain.str.starts_with("[") & ~plain.str.contains(r"^\[\s*(?:\"\s*\"[\s,]*)*\]$")
    ).fill_null(value=False)
    return reasons(lost.arg_true(), code, given.filter(lost))
