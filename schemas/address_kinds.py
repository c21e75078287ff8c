"""What an address is for, by a word in a column or key beside it: `Address Type: Delivery`, `"field": "SHIPPING"`."""

from __future__ import annotations

import itertools
import re
from enum import IntEnum
from functools import lru_cache
from typing import Final

from tranship.schemas.column_names import REMEMBERED, fold
from tranship.schemas.flags import YES
from tranship.schemas.header_words import ADDRESS_NOUNS, ADDRESS_ROLES, ROLES_BEHIND, word_set


class Kind(IntEnum):
    """What an address is for, in the order in which they are the customer's."""

    BILLING = 0
    PRIMARY = 1
    MAIN = 2
    OTHER = 3
    DELIVERY = 4
    GONE = 5


# The words of column names, and what only values say: Sage's `Accounts`, FHIR's `old`, sites of field service systems.
_CUSTOMER, _BILLING, _MAIN, _BUSINESS, _HOME, _DELIVERY, _FURTHER = ADDRESS_ROLES.split("|")
_MEANT: Final[dict[str, Kind]] = {
    **dict.fromkeys(map(fold, _MAIN.split()), Kind.MAIN),
    **dict.fromkeys(("pobox", "postbox"), Kind.MAIN),
    **dict.fromkeys(map(fold, _BILLING.split()), Kind.BILLING),
    **dict.fromkeys(
        word_set(
            "accounts accounting payable payables ap finance invoices factures facturas rechnungen fatturazione "
            "facturación facturacion faturamento facturatie buchhaltung statement statements remittance fiscal"
        ),
        Kind.BILLING,
    ),
    **dict.fromkeys(map(fold, (*_DELIVERY.split(), *_FURTHER.split())), Kind.DELIVERY),
    **dict.fromkeys(
        word_set(
            "deliveries service site jobsite property warehouse dispatch depot pickup dropoff installation install "
            "lieferung lieferanschrift lieferadresse lager entrega envio spedizione consegna livraison levering bezorg "
            "goods receiving shipments consignee"
        ),
        Kind.DELIVERY,
    ),
    **dict.fromkeys(word_set("old previous former temp temporary past obsolete expired incorrect"), Kind.GONE),
}
_WORD: Final = re.compile(r"[^\W\d_]+")
_NOUN: Final = re.compile(f"(?<=.)(?:{'|'.join(map(fold, ADDRESS_NOUNS))})$")
"""`Rechnungsadresse` is that of a `Rechnung`."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LONGEST: Final = 60


@lru_cache(maxsize=REMEMBERED)
def of_word(value: str) -> Kind:
    """Return the kind that a value such as `Billing`, `BILL_TO` or `Delivery address` names."""
    if len(value) > _LONGEST:
        return Kind.OTHER
    words = [_NOUN.sub("", fold(word)) for word in _WORD.findall(_CAMEL.sub(" ", value))]
    joined = "".join(words)
    found = [_MEANT[word] for word in (joined, *words, *_pairs(words)) if word in _MEANT]
    found += [_ROLES[role] for role in _behind(words)]
    return Kind.GONE if Kind.GONE in found else min(found, default=Kind.OTHER)


def _pairs(words: list[str]) -> list[str]:
    return [before + after for before, after in itertools.pairwise(words)]


def _behind(words: list[str]) -> list[str]:
    return [role for word in words if (role := _ROLE_BEHIND.get(word)) in _ROLES]


_ROLE_BEHIND: Final = {fold(word): role for words, role in ROLES_BEHIND.items() for word in words.split()}
_ROLES: Final = {"billing": Kind.BILLING, "fiscal": Kind.BILLING, "shipping": Kind.DELIVERY, "mailing": Kind.MAIN}

_KIND: Final = re.compile(
    "(?:address|addr|adress|adresse|phones?|emails?)?"
    "(?:types?|kind|label|use|usage|purpose|roles?|field|category|typ|art|tipo|tags?)(?:name|code|value|text|label)?"
)
_MARK: Final = r"(?:address|addr|email|emailaddress|phone|number|phonenumber|flag)?"
_PRIMARY: Final = re.compile(rf"(?:is)?(?:primary|default|preferred|main){_MARK}")
_FOR_INVOICES: Final = re.compile(rf"(?:is|for)?(?:default|primary)?(?:billing|invoice|invoicing|billto){_MARK}")
_FOR_DELIVERIES: Final = re.compile(rf"(?:is|for)?(?:default|primary)?(?:shipping|delivery|shipto){_MARK}")
_OVER: Final = re.compile("(?:is)?(?:deleted|archived|inactive|disabled|obsolete|removed)")
_IN_USE: Final = re.compile("(?:is)?(?:active|enabled|current|valid)")
_TRUE: Final = YES - {"s", "o", "x", "t"}


def is_kind(key: str) -> bool:
    """Return whether a folded key is that of the kind of an address or number."""
    return _KIND.fullmatch(key) is not None


def of_key(key: str, value: str) -> Kind | None:
    """Return what a folded key and its value say about the use of the object; null if nothing."""
    if is_kind(key):
        return of_word(value)
    word = value.lower()
    if _IN_USE.fullmatch(key):
        return Kind.GONE if word in ("false", "no") else None
    if word not in _TRUE:
        return None
    for pattern, kind in (
        (_PRIMARY, Kind.PRIMARY),
        (_FOR_INVOICES, Kind.BILLING),
        (_FOR_DELIVERIES, Kind.DELIVERY),
        (_OVER, Kind.GONE),
    ):
        if pattern.fullmatch(key):
            return kind
    return None
