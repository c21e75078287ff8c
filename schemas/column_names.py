"""The form in which names of columns are compared: folded, and without the objects wrapped around a record."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final

EVERYWHERE: Final = "*"
"""In place of the role of an address, all addresses: a country that belongs to none of them is the customer's."""

# Objects that APIs and databases wrap around the fields of a record, and around a value: JSON:API, HubSpot, Airtable,
# GraphQL, Elasticsearch, HAL; MongoDB's Extended JSON.
_WRAPPED: Final = re.compile(
    r"(?:_embedded|attributes|properties|profile|raw_user_meta_data|fields|node|_source|record|item|object)\.(?=.)"
)
_TYPED: Final = re.compile(r"(?<=.)\.\$(?:oid|date|uuid|numberInt|numberLong|numberDouble|numberDecimal)$")


# Remarks after a name in import templates: `First Name [Required]`.
_REQUIRED: Final = re.compile(r"(?i)(?<=\S)\s*[(\[](?:required|optional|mandatory|read[ -]?only)[)\]]\s*$")


def shared_front(columns: Sequence[str]) -> str:
    """Return the prefix of nearly all names of a table, such as `CT_`, `shopper.`, `cus` or `Company`; empty if there
    is none."""
    fronts = Counter(found[0] for column in columns if (found := _FRONT.match(column)))
    front, count = fronts.most_common(1)[0] if fronts else ("", 0)
    if count >= _FEWEST_SHARING and count >= 2 / 3 * len(columns):
        return front
    return _capital_front(columns) if len(columns) >= 2 * _FEWEST_SHARING else ""


def _capital_front(columns: Sequence[str]) -> str:
    """Return the capital letters at the beginning of all names of a table, such as the `OX` of `OXID` and `OXCITY`."""
    # What the first and the last one in alphabetical order share, all between them share.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(min(columns), max(columns), strict=False))
    front = "".join(letter for letter, _ in alike)
    is_short = _SHORTEST_CAPITALS <= len(front) <= _LONGEST_CAPITALS and front.isalpha() and front.isupper()
    return front if is_short and all(len(column) > len(front) for column in columns) else ""


_FRONT: Final = re.compile(
    r"[^\W\d_]{1,12}[_.:](?=\w)|[a-z]{2,5}(?=[A-Z])|"
    r"(?:Customer|Client|Company|Account|Contact|Organi[sz]ation|Kunden?|Klant|Cliente?|Debtor|Donor)(?= ?[A-Z])"
)
_FEWEST_SHARING: Final = 4
_SHORTEST_CAPITALS: Final = 2
_LONGEST_CAPITALS: Final = 4


def unwrapped(column: str) -> str:
    """Return the name of a column of a nested record without the objects wrapped around it: `attributes.name` and
    `name` are one field.
    """
    if len(column) > LONGEST:
        return column
    column = _REQUIRED.sub("", column)
    return _TYPED.sub("", _WRAPPED.sub("", column, count=1) if _WRAPPED.match(column) else column)


def with_number_sign_in_words(column: str) -> str:
    """Return a name with `number` for a `#` at its end: `Customer #` is not the `Customer`."""
    return f"{bare[:-1]} number" if (bare := column.rstrip()).endswith("#") else column


LONGEST: Final = 300
"""Longer names, such as a paragraph where a header should be, mean no field and are not looked into."""

REMEMBERED: Final = 1 << 16
"""The number of names whose meaning is cached: those of a wide table are looked up repeatedly."""


@lru_cache(maxsize=REMEMBERED)
def fold(column: str) -> str:
    """Return the form in which names are compared: lower-case letters and digits only."""
    column = with_number_sign_in_words(column)
    if column.isascii():
        return "".join(filter(str.isalnum, column.lower()))
    plain = unicodedata.normalize("NFKD", column).casefold().translate(_PLAIN)
    return "".join(c for c in plain if c.isalnum())


# Letters that NFKD does not split into another letter and an accent.
_PLAIN: Final = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ı": "i"})
