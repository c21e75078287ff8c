"""Area codes in separate columns: `DDD` and `Telefone`, `Area Code` and `Phone`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from tranship.schemas.column_names import fold, shared_affixes
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
    within = shared_affixes(columns).within
    return (*(column for column in before if _is_area_code(within(column)) and column not in taken), phone)


def _is_area_code(column: str) -> bool:
    # `telefone1_ddd`
    folded = fold(column)
    return folded in _AREA_CODES or _OF_PHONE.sub("", folded) in _AREA_CODES


_OF_PHONE: Final = re.compile("^(?:telefone|telefono|telephone|phone|fone|tel|celular)[1-9]?|[1-9]$")
