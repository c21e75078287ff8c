"""Area codes in separate columns: `DDD` and `Telefone`, `Area Code` and `Phone`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tranship.schemas.column_names import fold
from tranship.schemas.header_words import word_set

_AREA_CODES: Final = word_set("""
    ddd dddtelefone dddfone areacode phoneareacode telephoneareacode vorwahl ortsvorwahl telefonvorwahl indicatif
    codigodearea codigoarea codarea prefijo prefijotelefonico prefisso prefissotelefonico netnummer riktnummer
    suuntanumero
""")


def number(columns: Sequence[str], phone: str, taken: Collection[str]) -> tuple[str, ...]:
    """Return the columns that make up a phone number: an area code directly before it, unless `taken` for another
    field, and the number."""
    before = columns[: columns.index(phone)][-1:]
    return (*(column for column in before if fold(column) in _AREA_CODES and column not in taken), phone)
