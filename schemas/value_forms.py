"""Whether the values of a column can be those of the field that its name means.

A column `MAIL` with the values S and N says who gets mail; a column `Phone` with yes and no, who may be called. The
form of an e-mail address, a phone number, a date or a postal code is evident, and so are flags where a name should be.
What may be a damaged value stays what its name says, so that it is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from tranship.schemas.codes import NET_TERMS_WORDS, NO_CODE_WORDS
from tranship.schemas.column_names import fold
from tranship.schemas.customer import INSTANTS
from tranship.schemas.flags import NO, YES

_NAMES: Final = ("name", "legal_name", "billing_contact_name", "address_line1", "address_line2", "company")
_EMAILS: Final = ("email", "billing_contact_email", "invoice_cc_emails")
_WORDS: Final = frozenset(word for word in YES | NO if len(word) > 2) | {"no", "ja", "si", "sí"}
_PAIRS: Final = tuple(map(frozenset, ("01", "yn", "sn", "jn", "on", "tf", "vf", "wf", "tn", "ke", "x")))
"""The letters of a flag."""
_NUMBER: Final = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_DATE: Final = re.compile(r"(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{4})(?:[T ].*)?")
_TERMS: Final = frozenset(map(fold, NET_TERMS_WORDS))
_LIKE: Final[dict[str, Callable[[str], bool]]] = {
    **dict.fromkeys(_EMAILS, lambda value: "@" in value or "＠" in value),
    **dict.fromkeys(INSTANTS, lambda value: _digits(value) > 3),
    "phone": lambda value: _digits(value) > 2 and _DATE.fullmatch(value) is None,
    "tax_id": lambda value: _digits(value) > 3,
    "zip_code": lambda value: _digits(value) > 0,
    "net_terms": lambda value: _digits(value) > 0 or fold(value) in _TERMS,
}
"""Field → whether a value may have its form."""
FIELDS: Final = frozenset((*_LIKE, *_NAMES, "country", "currency", "language", "timezone", "city"))
"""Fields of which values are looked at."""


def filled(values: Sequence[str | None]) -> list[str]:
    """Return the values of a column that are not blank or a word for no value, trimmed."""
    trimmed = (value.strip() for value in values if value is not None)
    return [value for value in trimmed if value and value.lower() not in NO_CODE_WORDS]


def is_like(field: str, values: Sequence[str]) -> bool:
    """Return whether any of the values may be of the field, by its form; false where its form is unknown."""
    return field in _LIKE and any(map(_LIKE[field], values))


def is_other(field: str, values: Sequence[str]) -> bool:
    """Return whether the values are evidently something else than the field: none has its form, and all are flags,
    numbers or dates, or the same few words again and again.
    """
    if len(values) < 2 or field not in FIELDS:
        return False
    if field in _LIKE:
        if any(map(_LIKE[field], values)):
            return is_flag(values) and field in ("zip_code", "net_terms") and len(values) > 1 and _are_pair(values)
        words_alone = len(values) > 1 and field in ("zip_code", "net_terms")
        return words_alone or is_flag(values) or all(map(_is_number_or_date, values)) or _are_categories(values)
    if field in _NAMES:
        return len(values) > 1 and is_flag(values) and (len(values) > _FEW or not any(map(_is_letter, values)))
    if field == "timezone":
        return {value.lower() for value in values} <= _WORDS
    if field == "city":
        return len(values) > 1 and (is_flag(values) or all(map(_is_number_or_date, values)))
    if is_flag(values):  # `NO` is a country and a language, and S and N are codes of countries on cars
        return all(len(value) > 2 or value.isdigit() or value.lower() in "yjxt" for value in values) or (
            len(values) > 1 and {value.lower() for value in values} in (set("yn"), set("jn"))
        )
    if not all(map(_is_number_or_date, values)):
        return False
    # Countries and currencies have numbers of three digits.
    return any(not value.isdigit() or len(value) != _CODE for value in values)


def is_flag(values: Sequence[str]) -> bool:
    """Return whether all values are words for yes and no, of one pair of letters or numbers."""
    words = {value.lower() for value in values}
    letters = words - _WORDS
    return not letters or any(letters <= pair for pair in _PAIRS)


def _are_pair(values: Sequence[str]) -> bool:
    return {*values} == {"0", "1"}


def _are_categories(values: Sequence[str]) -> bool:
    return len(values) > _FEW and len({value.lower() for value in values}) <= len(values) // 2


def _is_number_or_date(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None or _DATE.fullmatch(value) is not None


def _is_letter(value: str) -> bool:
    return len(value) == 1 and value.isalpha()


def _digits(value: str) -> int:
    return sum(map(str.isdigit, value))


_FEW: Final = 3
_CODE: Final = 3
"""The digits of a country's or currency's number."""
