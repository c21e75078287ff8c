"""Lists of objects, as APIs return the e-mails, numbers and addresses of a customer: `[{"type": "work", "value": …}]`.

The list may be inside an envelope (`{"elements": […]}`, `{"edges": [{"node": …}]}`), and an object in parts of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from tranship.schemas import address_kinds, headers
from tranship.schemas.address_kinds import Kind
from tranship.schemas.column_names import ENVELOPES, REMEMBERED, fold, unwrapped

Element = Mapping[str, str]
"""The filled values of an object in a list, by their keys, those of inner objects joined with a full stop. The key of a
value that is no object is empty."""

_DEEPEST: Final = 4


def elements(text: str) -> list[Element]:
    """Return the elements of a list that is written as JSON; none if it is invalid. An object alone is one element."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return []
    if isinstance(value, dict):
        value = next((v for k, v in value.items() if isinstance(v, list) and fold(k) in ENVELOPES), [value])
    if not isinstance(value, list):
        return []
    return [found for item in value if (found := _element(item))]


def _element(value: Any) -> Element:
    found: dict[str, str] = {}
    for key, text in _flat(value, "", 0):
        found.setdefault(key, text)
    return found


def _flat(value: Any, key: str, depth: int) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        if depth > _DEEPEST:
            return []
        inner = ((f"{key}.{name}" if key else name, item) for name, item in value.items())
        return [pair for name, item in inner for pair in _flat(item, name, depth + 1)]
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):  # the e-mails of a contact
            return [pair for item in value for pair in _flat(item, key, depth + 1)]
        texts = [item for item in value if isinstance(item, str) and item.strip()]
        return [(key, ", ".join(texts))] if texts and len(texts) == len(value) else []
    if isinstance(value, bool):
        return [(key, "true" if value else "false")]
    text = "" if value is None else str(value).strip()
    return [(key, text)] if text else []


def kind(element: Element) -> Kind:
    """Return what an element says about its use."""
    said = (address_kinds.of_key(_bare(key), value) for key, value in element.items())
    found = [meant for meant in said if meant is not None]
    return Kind.GONE if Kind.GONE in found else min(found, default=Kind.OTHER)


def is_primary(element: Element) -> bool:
    """Return whether an element is marked as the one in use."""
    return any(address_kinds.of_key(_bare(key), value) is Kind.PRIMARY for key, value in element.items())


@lru_cache(maxsize=REMEMBERED)
def _bare(key: str) -> str:
    return fold(unwrapped(key).removeprefix("metadata."))


def is_empty(text: str) -> bool:
    """Return whether a list has nothing but marks and kinds."""
    found = [element for element in elements(text) if not _is_fax(element)]
    return not any(
        value not in ("true", "false") and not address_kinds.is_kind(_bare(key))
        for element in found
        for key, value in element.items()
    ) and (bool(elements(text)) or _NOTHING.fullmatch(text) is not None)


_NOTHING: Final = re.compile(r"[\[\]{}\s,]*")


def emails(text: str) -> list[str]:
    """Return the e-mail addresses in a list, the primary one first."""
    found = [(_order(element), address) for element in elements(text) for address in _emails_of(element)]
    return list(dict.fromkeys(address for _, address in sorted(found, key=lambda pair: pair[0])))


def _emails_of(element: Element) -> list[str]:
    values = (part.strip() for value in element.values() for part in value.split(", "))
    return [value for value in values if _EMAIL.fullmatch(value)]


_EMAIL: Final = re.compile(r"[^\"\\\s]+@[^\"\\\s]+")


def _order(element: Element) -> int:
    meant = kind(element)
    if meant in (Kind.PRIMARY, Kind.MAIN, Kind.GONE):
        return meant
    return Kind.PRIMARY if is_primary(element) else Kind.OTHER


def phones(text: str) -> list[str]:
    """Return the telephone numbers in a list, the primary one first."""
    found = [(_order(element), number) for element in elements(text) if (number := _phone_of(element))]
    return list(dict.fromkeys(number for _, number in sorted(found, key=lambda pair: pair[0])))


def tax_number(text: str) -> str | None:
    """Return the number in a list of tax numbers, if there is only one."""
    found = {number for element in elements(text) if (number := next((element[k] for k in _tax_keys(element)), None))}
    return found.pop() if len(found) == 1 else None


def _tax_keys(element: Element) -> list[str]:
    return [key for key in element if _bare(key) in _NUMBERS or headers.field_of(key) == "tax_id"]


def person(text: str) -> str | None:
    """Return the name of the person to use in a list of contacts, the primary one or else the first."""
    found = [(_order(element), name) for element in elements(text) if (name := _person_of(element))]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _person_of(element: Element) -> str | None:
    folded = {_bare(key): value for key, value in reversed([*element.items()])}
    whole = next((folded[key] for key in _NAMES if key in folded), None)
    parts = [next((folded[key] for key in keys if key in folded), "") for keys in (_FIRST_NAMES, _LAST_NAMES)]
    return " ".join(filter(None, parts)) or whole


_NAMES: Final = ("name", "fullname", "displayname", "contactname", "namefull")
_FIRST_NAMES: Final = ("firstname", "givenname", "forename", "namefirst", "first", "contactfirstname")
_LAST_NAMES: Final = ("lastname", "familyname", "surname", "namelast", "last", "contactlastname")


_NUMBERS: Final = (
    *("value", "number", "phone", "phonenumber", "e164", "tel", "mobile", "fullnumber", "formattednumber", "formatted"),
    *("rawnumber", "freeformnumber", "nationalnumber", "digits", "numberformatted", "sanitizednumber", ""),
)
_COUNTRY_CODES: Final = ("phonecountrycode", "countrycode", "callingcode", "countrycallingcode", "dialcode")
_AREA_CODES: Final = ("phoneareacode", "areacode")
_FAX: Final = re.compile("(?:.*[^a-z])?(?:tele)?fax.*", re.IGNORECASE)


def _is_fax(element: Element) -> bool:
    return any(_FAX.fullmatch(value) for key, value in element.items() if address_kinds.is_kind(_bare(key)))


def _phone_of(element: Element) -> str | None:
    folded = {_bare(key): value for key, value in reversed([*element.items()])}
    if _is_fax(element):
        return None
    number = next((folded[key] for key in _NUMBERS if key in folded), None)
    if number is None:
        number = next((element[key] for key in element if headers.field_of(key) == "phone"), None)
    if number is None or not any(map(str.isdigit, number)):
        return None
    country = next((folded[key] for key in _COUNTRY_CODES if key in folded), "").lstrip("+0")
    area = next((folded[key] for key in _AREA_CODES if key in folded), "")
    if number.startswith(("+", "00")) or not country.isdigit() or not (area or number[0] != "0"):
        return area + number if area and not number.startswith(("+", "00")) else number
    if not area and re.sub(r"\D", "", number).startswith(country):
        return number
    return f"+{country}{area}{number}"


_PLACES: Final = (
    frozenset({"city", "zip_code"}),
    frozenset({"city", "zip_code", "address_line1"}),
    frozenset({"country", "state"}),
)
_LINE: Final = "line"
"""FHIR's key of the lines; elsewhere it means nothing."""


def address(text: str) -> dict[str, str]:
    """Return field → value, of the address to use in a list: the one for invoices, or else the primary one, or else the
    first. One without a place, and one for deliveries, is used only if there is no other.
    """
    found = [(_values(element), kind(element)) for element in elements(text)]
    ranked = [
        (([not fields.intersection(values) for fields in _PLACES], meant, at), values)
        for at, (values, meant) in enumerate(found)
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else {}


def _values(element: Element) -> dict[str, str]:
    found = {}
    for field, keys in _keys_of(tuple(element)):
        if value := next((element[key] for key in keys if key in element), None):
            found[field] = value
    return found


@lru_cache(maxsize=4096)
def _keys_of(keys: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    fits = headers.match(keys, {})
    found = {field: (*fit.columns, *fit.further) for field, fit in fits.items()}
    if _LINE in keys:
        found.setdefault("address_line1", (_LINE,))
    return tuple(found.items())
