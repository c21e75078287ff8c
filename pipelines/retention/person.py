"""The customer to be erased: how an e-mail address may be spelled, and which cells mention the customer.

An address is looked for in every text: in any case, with escapes of JSON, percent signs or HTML, with invisible
characters, with its domain in Unicode or ASCII. It is a whole address: `ana@x.example` is not in `joana@x.example`.
Ids are compared as whole values, and only in columns of ids: an id such as 42 is a part of many other values.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import idna
import polars as pl

from tranship.connectors.errors import ConfigError
from tranship.pipelines.matching import OURS
from tranship.pipelines.normalise import identifiers, text
from tranship.pipelines.stage_files import PATCHED

ID_COLUMNS: Final = frozenset(
    {
        *("external_id", "aliases", "customer_key", "customer", "key", "id", "_known_id"),
        *("_as_external_id", "_as_aliases", "_as_customer_key", "=customer_key", "=external_id", "=aliases"),
    }
)
"""Columns of ids that the source gives, in the files of runs."""
EMAIL_COLUMNS: Final = frozenset({"email", "mail", "_as_email", "=email", "_known_email"})
"""Columns of the address by which a customer is known."""
ROW_COLUMNS: Final = ("_row", "row")
PLACES: Final = (("_source", "_line"), ("source", "line"))

_INVISIBLE: Final = "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*"
_ENTITIES: Final = {"&": "amp", '"': "quot", "'": "apos", "<": "lt", ">": "gt"}
# An address does not begin in the middle of a word; a JSON escape, a percent escape or a quote may be before it.
_BEFORE: Final = (
    r"(?:^|[^\w.+'\-]|(?:^|[^\w.+'\-])'|\\[nrtbf]|\\u00(?:0[0-9a-d]|2[026cf]|3[a-e]|5[bd]|7[bd])"
    r"|%(?:0[0-9a-d]|2[0268cf]|3[a-e]|5[bd]|7[bd]))"
)
_AFTER: Final = r"(?:$|[^\w.\-]|\.(?:$|[^\w]))"
_LONG_ID: Final = 4
"""Characters of an id that is also looked for in the text of a broken line, which has no columns."""


class Person:
    """The addresses and ids of one customer. Addresses are normalised, ids cleaned."""

    def __init__(self, emails: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        self.emails = frozenset(emails)
        self.ids = frozenset(ids)

    @cached_property
    def pattern(self) -> str | None:
        """The regular expression that finds the addresses in a text, for Rust and Python; null without addresses."""
        if not self.emails:
            return None
        spellings = sorted({spelling for email in self.emails for spelling in _spellings(email)})
        return f"(?i){_BEFORE}(?:{'|'.join(map(_spelled, spellings))}){_AFTER}"

    def mentions(self, value: str) -> bool:
        """Return whether an address is in this text."""
        return self.pattern is not None and re.search(self.pattern, value) is not None

    def without_addresses(self, value: str) -> str:
        """Return a text with [erased] in place of the addresses."""
        if not self.emails:
            return value
        spellings = sorted({spelling for email in self.emails for spelling in _spellings(email)})
        whole = f"(?i)({_BEFORE})(?:{'|'.join(map(_spelled, spellings))})(?={_AFTER})"
        return re.sub(whole, r"\1[erased]", value)

    def records(self, schema: Mapping[str, Any], own_ids: frozenset[str] = frozenset()) -> pl.Expr:
        """Return which rows of a table mention the customer; `own_ids` are columns of ids in the source's spelling."""
        found = [pl.lit(value=False)]
        for name, dtype in schema.items():
            if self.pattern is not None and name not in ("_source", "source"):
                found += _contain(name, dtype, self.pattern)
            if self.ids and name in ID_COLUMNS | own_ids:
                found.append(_is_id(name, dtype, self.ids))
            if name == "_text" and (long := [re.escape(each) for each in self.ids if len(each) >= _LONG_ID]):
                found.append(pl.col(name).str.contains(rf"(?:^|[^\w\-])(?:{'|'.join(sorted(long))})(?:$|[^\w\-])"))
        return pl.any_horizontal([expression.fill_null(value=False) for expression in found])


def from_email(value: str) -> Person:
    """Return the customer with this address. Raises ConfigError, without the value, if it is not one."""
    (email,) = text.email(pl.Series([value]))
    if not email or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise ConfigError("--email: is not an e-mail address.")
    return Person(emails=[email])


def from_id(value: str) -> Person:
    """Return the customer with this external id. Raises ConfigError, without the value, if it is none."""
    (cleaned,) = identifiers.external_id(pl.Series([value], dtype=pl.String), frozenset()).ids
    if not cleaned:
        raise ConfigError("--external-id: is empty, or a placeholder that means no id.")
    return Person(ids=[cleaned])


def rows_in(rows: frozenset[int], schema: Mapping[str, Any]) -> pl.Expr | None:
    """Return which rows of a table have one of these row numbers, null if it has none."""
    column = next((name for name in ROW_COLUMNS if name in schema), None)
    if column is None or not rows:
        return None
    return (pl.col(column).cast(pl.UInt64) & (PATCHED - 1)).is_in(sorted(rows))


def places_in(places: frozenset[tuple[str, int]], schema: Mapping[str, Any]) -> pl.Expr | None:
    """Return which rows of a table are about one of these lines of a source, null if it has none."""
    columns = next((pair for pair in PLACES if set(pair) <= set(schema)), None)
    if columns is None or not places:
        return None
    place = pl.concat_str(pl.col(columns[0]), pl.lit("\n"), pl.col(columns[1]).cast(pl.String))
    return place.is_in([f"{source}\n{line}" for source, line in sorted(places)]).fill_null(value=False)


def is_of_source(name: str) -> bool:
    """Return whether a column of rejects is one of the source."""
    return name not in OURS


def _contain(name: str, dtype: Any, pattern: str) -> list[pl.Expr]:
    column = pl.col(name)
    if dtype == pl.String:
        return [column.str.contains(pattern)]
    if dtype == pl.List(pl.String):
        return [column.list.eval(pl.element().str.contains(pattern)).list.any()]
    if dtype.is_nested():
        return [pl.struct(column).struct.json_encode().str.contains(pattern)]
    if dtype == pl.Categorical or dtype == pl.Enum:
        return [column.cast(pl.String).str.contains(pattern)]
    return []


def _is_id(name: str, dtype: Any, ids: frozenset[str]) -> pl.Expr:
    # A key of a customer (`customer_key`) may have a prefix.
    keys = sorted({*ids, *(f"id:{each}" for each in ids)})

    def cleaned(values: pl.Series) -> pl.Series:
        return identifiers.external_id(values, frozenset()).ids.is_in(keys)

    column = pl.col(name)
    if dtype == pl.List(pl.String):
        return column.list.eval(pl.element().is_in(sorted(ids))).list.any()
    text_column = column.cast(pl.String)
    # A list of aliases may be JSON or separated.
    listed = (
        text_column.str.strip_chars("[] ")
        .str.split(by=",")
        .list.eval(pl.element().str.strip_chars(" \"'").is_in(sorted(ids)))
    )
    whole = text_column.map_batches(cleaned, return_dtype=pl.Boolean)
    return whole | listed.list.any() if name.endswith("aliases") else whole


def _spellings(email: str) -> set[str]:
    """Return an address with its domain in ASCII and in Unicode, composed and decomposed."""
    local, _, domain = email.rpartition("@")
    domains = {domain}
    with contextlib.suppress(idna.IDNAError, UnicodeError):
        domains.add(idna.decode(domain))
    return {unicodedata.normalize(form, f"{local}@{each}") for each in domains for form in ("NFC", "NFD")}


def _spelled(word: str) -> str:
    return _INVISIBLE.join(map(_character, word))


def _character(character: str) -> str:
    """Return the forms of one character, as a regular expression that ignores case."""
    forms = set()
    for form in {character, character.upper(), character.lower()}:
        code = ord(form) if len(form) == 1 else None
        forms.add(re.escape(form))
        forms.add("".join(f"%{byte:02x}" for byte in form.encode()))
        units = form.encode("utf-16-be")
        forms.add("".join(rf"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)))
        if code is not None:
            forms |= {f"&#0*{code};", f"&#x0*{code:x};"}
            if form in _ENTITIES:
                forms.add(f"&{_ENTITIES[form]};")
    return f"(?:{'|'.join(sorted(forms))})"
