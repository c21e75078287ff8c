"""House numbers in separate columns: `Straat` and `Nummer`, `Billing Street` and `Billing House Number`.

Names are compared folded, as in `column_names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from tranship.schemas.column_names import fold, shared_affixes

_STREETS: Final = re.compile(
    r"(?P<owner>.*?)(?:street|streetname|streetroadname|strasse|strassenname|rue|nomdelarue|calle|via|straat|straatnaam|"
    r"rua|endereco|logradouro|gata|gade|vej|gatenavn|gatunamn|vejnavn|katu|ulica|ulice|utca|kozterulet)(?P<of>of\w*address)?"
)
_ADDRESSES: Final = re.compile(
    r"(?P<owner>.*?)(?:address|adresse|adres|adress|direccion|indirizzo|endereco|morada|domicilio)"
)
_NUMBERS: Final = re.compile(
    r"(?P<owner>.*?)(?:housenumber|houseno|housenr|buildingnumber|streetnumber|streetno|streetnr|hausnummer|hausnr|"
    r"huisnummer|huisnr|numeroderue|numerodevoie|numerocivico|numcivico|ncivico|civico|numeroexterior|noexterior|numext|exterior|"
    r"numerodacasa|husnummer|husnr|talonumero|numerdomu|nrdomu|numerbudynku|nrbudynku|cislopopisne|cislodomu|supisnecislo|orientacnecislo|hazszam|numerodepuerta|numerodaporta|numeroporta|nporta|porta|(?:endereco|direccion|indirizzo|domicilio|morada|logradouro|dir|end)(?:numero|num|nro|no|n))(?P<of>of\w*address)?"
)
_NUMBERS_BEHIND: Final = re.compile(r"(?P<owner>.*?)(?:nummer|numero|number|nr|no|n|num)")
"""A word for any number; directly after a street, it is a house number."""
_NUMBERS_BEHIND_ADDRESSES: Final = re.compile(r"(?P<owner>.*?)numero")
"""The same after an address in Italian, Spanish and Portuguese: `Indirizzo`, `Numero`, `CAP`."""


def line(columns: Sequence[str], street: str, taken: Collection[str]) -> tuple[str, ...]:
    """Return the columns that make up the line of an address whose street is this column: the street, and the house
    number before or after it, as in the source. Columns that are `taken` for other fields are not used.
    """
    within = shared_affixes(columns).within
    in_street = _owner(_STREETS, within(street))
    owner = in_street if in_street is not None else _owner(_ADDRESSES, within(street))
    if owner is None:
        return (street,)
    found = [column for column in columns if _owner(_NUMBERS, within(column)) == owner]
    if not found:
        behind = columns[columns.index(street) + 1 :][:1]
        words = _NUMBERS_BEHIND if in_street is not None else _NUMBERS_BEHIND_ADDRESSES
        found = [column for column in behind if _owner(words, within(column)) == owner]
    if len(found) != 1 or found[0] in taken:
        return (street,)
    return tuple(sorted((street, *found), key=columns.index))


def _owner(words: re.Pattern[str], column: str) -> str | None:
    """Return the text before one of the words in the name of a column; null if there is none."""
    matched = words.fullmatch(fold(column))
    return matched["owner"] if matched else None
