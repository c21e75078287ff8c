"""Column names of several words that say whose a value is, or which of several: `Nome do contato`, `Langue par défaut`.

The words around the one that names a field are translated into the English roles of `header_words.py`.

Sources: the labels of customers, contacts and addresses in the translations of Odoo, ERPNext, Tryton, Dolibarr, vtiger,
EspoCRM, Invoice Ninja, Akaunting, Crater, FacturaScripts, Magento, Sylius and Bagisto, as of 2026-11.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from tranship.schemas.column_names import LONGEST, REMEMBERED, fold
from tranship.schemas.header_words import word_set

_LINKS: Final = word_set("""
    of the for der die das des dem den von vom zum fur de du d l la le les el del della dell dello dei delle di do da
    dos das em o het van voor af av til for pro dla pa
""")
"""Words between two others that add nothing."""

_ROLES: Final[dict[str, str]] = {
    "customer": """
        customer client kunde kunden kundens kundes kund klant klants klanten cliente
        klienta klient zákazníka zákazník zákaznický odběratele nabywcy kontrahenta third_party thirdparty tiers tercero
        soggetto_terzo terceiro tredjepart tredjeparts tredje_part tredje_parts geschäftspartner
        geschäftspartners relatie relaties subjektu firmy_zewnętrznej innej_firmy
    """,
    "contact": """
        contact contacts kontakt kontakts kontaktes kontakten kontaktens kontaktu kontaktowy kontaktowa kontaktowe
        kontaktní contacto contactos contatto contatti contato contatos contactpersoon ansprechpartner ansprechpartners
        kontaktperson kontaktpersonens interlocuteur osoby_kontaktowej kontaktní_osoby
    """,
    "company": """
        company organization organisation firmen firmas firmaets firmy unternehmen unternehmens entreprise société
        empresa compañía azienda aziendale società ditta impresa bedrijf bedrijfs virksomhed virksomheds virksomhedens
        företag företags företagets bolag bolagets selskap selskapets bedriftens společnosti firemní firmowy
        organisatie organisasjonens organisationens organizace organizacji organizzazione organización organização
        companhia compagnie
    """,
    "default": """
        default standard standaard standardmäßig predeterminado predeterminada predefinido predefinida predefinito
        predefinita padrão padrao par_défaut défaut por_defecto por_omisión domyślny domyślna domyślne výchozí základní
        förvald
    """,
    "primary": """
        primary main primär primäre primärer primært principal principale principali primario primaria primário primária
        primaire hoofd huvud hoved główny główna główne podstawowy podstawowa primární hlavní
        primárního hlavního głównego
    """,
    "secondary": """
        secondary second other another alternate alternative additional sekundär sekundäre sekundärer sekundært weitere
        andere anderes zweite autre secondaire deuxième second secundario secundaria secundário secundária alternativo
        alternativa otro otra altro altra secondario secondaria outro outra tweede secundaire extra anden andet andra
        annan annen annet inny inna drugi dodatkowy dodatkowa další druhý sekundární jiný
    """,
    "your": "your ihre ihr votre tu su il_tuo la_tua tuo tua uw seu sua dit din ditt twój twoja váš vaše",
    "work": """
        bus business pro prof professional professionnel professionale profissional profesional zakel zakelijk geschäftl
        geschäftlich professionele professionella
    """,
    "home": "pers perso personal personnel personale pessoal persoonlijk osobiste osobní personlige personliga",
}
"""Role → words that say so. Customers in the plural are counted: `Nombre de clients`, `Número de clientes`."""
_BEFORE_A_WORD: Final = {
    "customer": "kunden kund klant",
    "contact": "kontakt",
    "company": "firmen unternehmens företags virksomheds bedrijfs",
    "default": "standard standaard",
    "primary": "haupt huvud hoved primär primær",
}
"""The same as the first part of a word: `Standardwährung`."""

_ROLE_OF: Final = {fold(word): role for role, words in _ROLES.items() for word in words.split()}
_ROLE_OF_PART: Final = {fold(word): role for role, words in _BEFORE_A_WORD.items() for word in words.split()}
_PART: Final = re.compile("|".join(sorted(_ROLE_OF_PART, key=len, reverse=True)))
_PAIRS: Final = frozenset(
    tuple(map(fold, word.split("_"))) for words in _ROLES.values() for word in words.split() if "_" in word
)
_PATH: Final = re.compile(r"(?<=\w)\.(?=\w)|\[")
_MOST_WORDS: Final = 7


class Phrase(NamedTuple):
    """What is left of a name without the words of roles, folded, and these roles, in English."""

    rest: str
    roles: tuple[str, ...]


def role_of(folded: str) -> str | None:
    """Return the role of one word, in English; null if it is none."""
    return _ROLE_OF.get(folded)


@lru_cache(maxsize=REMEMBERED)
def read(name: str) -> Phrase | None:
    """Return a name without the words of roles around it; null if there is none of them."""
    if len(name) > LONGEST or _PATH.search(name):  # in a path, whose it is comes first
        return None
    spaced = re.sub(r"(?<=[a-zß-ÿ])(?=[A-Z])", " ", name)
    words = [word for word in map(fold, re.split(r"[^\w]|_", spaced)) if word]
    if not 1 <= len(words) <= _MOST_WORDS:
        return None
    words = _joined(words)
    roles: list[str] = []
    start, end = 0, len(words)
    while end - start > 1 and (role := _ROLE_OF.get(words[end - 1])) is not None:
        roles.append(role)
        end -= 1
        while end - start > 1 and words[end - 1] in _LINKS:
            end -= 1
    while end - start > 1 and (role := _ROLE_OF.get(words[start])) is not None:
        roles.append(role)
        start += 1
        while end - start > 1 and words[start] in _LINKS:
            start += 1
    inner = [word for at, word in enumerate(words[start:end]) if at == 0 or word not in _LINKS or start + at == end - 1]
    if not roles and len(inner) == 1 and (compound := _PART.match(inner[0])) and len(inner[0]) > compound.end():
        roles.append(_ROLE_OF_PART[compound[0]])
        inner = [inner[0][compound.end() :]]
    rest = "".join(inner)
    if not roles and rest == "".join(words):
        return None
    return Phrase(rest, tuple(dict.fromkeys(roles)))


def _joined(words: list[str]) -> list[str]:
    """Return the words with those that are one together, such as `par défaut`, joined."""
    found: list[str] = []
    for word in words:
        if found and (found[-1], word) in _PAIRS:
            found[-1] += word
        else:
            found.append(word)
    return found
