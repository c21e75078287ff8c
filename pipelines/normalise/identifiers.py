"""Clean external ids, and find ids and e-mail addresses that do not identify a customer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl

from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate, null_text, replace_where
from tranship.pipelines.normalise.text import INVISIBLE, not_text
from tranship.schemas import codes
from tranship.schemas.constant import constant

ROUNDED: Final = r"^[+-]?[0-9]+(?:[.,][0-9]*[eE][+-]?|[eE][+])[0-9]{1,3}$"
"""A long number in the notation of spreadsheets, without its last digits. `12E5` and `7E-4` may be ids."""

_TOO_NARROW: Final = "^##+$"
"""Text that a spreadsheet saves for a value wider than its column."""

_PLACEHOLDERS: Final = "|".join(re.escape(word) for word in sorted(codes.BLOCKED_IDS) if word.isascii())
ODD_ID: Final = rf"^(?:$|['=\s\[{{]|(?i-u:true|false|{_PLACEHOLDERS})$)|\s$|[^ -~]|{_TOO_NARROW}|{ROUNDED}"
"""Ids that may need cleaning."""


class Ids(NamedTuple):
    """Ids, and masks: `blocked` marks place-holders, which became null; `rounded` numbers that have lost digits
    (`1.23E+12`); `not_text` truth values, lists and objects.
    """

    ids: pl.Series
    blocked: pl.Series
    rounded: pl.Series
    not_text: pl.Series


def external_id(values: pl.Series, blocked: frozenset[str]) -> Ids:
    """Return ids trimmed and without invisible characters or a spreadsheet's guard (`'00123`, `="00123"`)."""
    given = {word.strip().lower() for word in blocked}
    words = codes.BLOCKED_IDS | given
    none = constant(False, len(values))
    # One scan finds the few ids that need work. Given words may be too many for a pattern.
    odd = VALUE.str.contains(ODD_ID)
    rows = evaluate(values, odd | VALUE.str.to_lowercase().is_in(list(given)) if given else odd).arg_true()
    if rows.is_empty():
        return Ids(values, none, none, none)
    cleaned = _clean_ids(values.gather(rows))
    placeholder = cleaned.str.to_lowercase().is_in(list(words)) | cleaned.str.contains(_TOO_NARROW)
    placeholder = placeholder.fill_null(value=False)
    ids = values.clone().scatter(rows, replace_where(cleaned, placeholder, lambda part: null_text(len(part))))
    return Ids(
        ids,
        none.clone().scatter(rows, placeholder),
        none.clone().scatter(rows, cleaned.str.contains(ROUNDED).fill_null(value=False)),
        none.clone().scatter(rows, not_text(cleaned)),
    )


def links_to_records(values: pl.Series) -> pl.Series:
    """Return a mask of the addresses of records in an API: `https://api.example.com/v2/contacts/2101`. That of a
    website is no id.
    """
    return values.str.contains(_RECORD).fill_null(value=False)


_RECORD: Final = (
    r"(?i)^\s*(?:https?://[^/\s]+)?(?:/[^\s/?#]*)*/(?:customers?|contacts?|clients?|accounts?|people|persons?|users?|members?|"
    r"compan(?:y|ies)|organi[sz]ations?|subscribers?|leads?|donors?|patients?|profiles?|constituents?|supporters?|parties|"
    r"debtors?|businesspartners?|records?)(?:/[^\s/?#]*[0-9][^\s/?#]*/?|\([^\s()]+\))\s*$"
)


def codes_of_records(values: pl.Series) -> pl.Series:
    """Return a mask of the codes of customers in a column that may contain their names: `0042`, `C-1001`."""
    return values.str.contains(_CODE).fill_null(value=False)


_CODE: Final = r"^\s*[A-Z]{0,5}[-_./]?[0-9][0-9A-Z._/-]{0,19}\s*$"


def _clean_ids(values: pl.Series) -> pl.Series:
    """Return cleaned ids or aliases. Cleaning is idempotent: a guard within a guard is not touched."""
    visible = VALUE.str.replace_all(INVISIBLE, "").str.strip_chars()
    unguarded = visible.str.replace(r"(?s)^'\s*([^'\s].*)$", "${1}").str.replace(
        r"""(?s)^="\s*([^"'=\s][^"]*)?"$""", "${1}"
    )
    return evaluate(values, blank_to_null(unguarded.str.strip_chars()))


def blocked_emails(addresses: pl.Series, blocked: frozenset[str]) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Return addresses in which words for "none" are null, a mask of those words, and a mask of blocked addresses.

    A blocked address (a shared mailbox) is kept, but matches no other record.
    """
    emptied = addresses.str.contains(_only_words(codes.EMPTY_WORDS_EMAIL)).fill_null(value=False)
    kept = replace_where(addresses, emptied, lambda part: null_text(len(part)))
    local_parts = "|".join(map(re.escape, codes.BLOCKED_EMAIL_LOCALS))
    usual = VALUE.str.contains(rf"^(?:{local_parts})@|{_only_words(codes.BLOCKED_EMAILS)}")
    given = [word.strip().lower() for word in blocked]
    found = evaluate(kept, usual | VALUE.is_in(given) if given else usual)
    return kept, emptied, found.fill_null(value=False)


def _only_words(words: Iterable[str]) -> str:
    """Return a pattern that matches exactly one of these words."""
    return rf"^(?:{'|'.join(map(re.escape, sorted(words)))})$"
