"""Columns that mark records as deleted or disabled, by their names, and the words for yes and no."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from tranship.schemas.column_names import fold
from tranship.schemas.header_words import word_set

YES: Final = word_set(
    "true t yes y 1 x j ja s o oui si sí sim on wahr vrai verdadero vero waar verdadeiro sant kyllä kylla tak t ano"
)
NO: Final = word_set("false f no n 0 nein non nee não nao nej nei ei off nie ne falsch faux falso onwaar falskt")

_GONE: Final = """
    deleted archived disabled inactive deactivated removed closed blocked banned suspended markedasdeleted softdeleted
    trashed intrash inativo inativa inactivo inactiva inactif inattivo inattiva inactief nonactief uitgeschakeld
    barred voided terminated geloescht geloscht archiviert gesperrt deaktiviert inaktiv supprime archive desactive
    bloque eliminado archivado desactivado bloqueado sperre
    eliminato archiviato disattivato bloccato verwijderd gearchiveerd
    geblokkeerd excluido arquivado desativado raderad arkiverad sparrad slettet sperret spaerret poistettu
    usuniety zablokowany smazano nieaktywny nieaktywna nieaktywne neaktivni odstraneno zakazano nepovolen vypnuto
    wylaczone wylaczony wylaczono zawieszony deshabilitado deshabilitada desabilitado desabilitada disabilitato
    disabilitata suspendido suspendida suspendiert suspendu suspendue suspenso suspensa sospeso sospesa deaktiveret
    deaktivert inaktiverad avstangd blockerad blokeret blokkert slukket uitgezet nietactief nietaktief
    ikkeaktiv loevm loesch losch del delete deletion block
    cancelled canceled onhold credithold onstop deceased storniert gekuendigt gekundigt ausgetreten verstorben resilie
    resiliee decede fallecido cancelado cancelada annullato disdetto deceduto opgezegd overleden falecido avliden
    uppsagd opsagt sperr
"""
# Too short to be conclusive on their own; `del_flag` is.
_ONLY_MARKED: Final = word_set("del delete deletion block loesch losch archive sperr")
_ARCHIVED: Final = word_set("archivé archivée")
"""Without the accent it is the noun, which may be anything."""
_THERE: Final = (
    "active enabled valid aktiv actif activo activa attivo attiva actief ativo ativa aktiivinen "
    "aktywny aktywna aktywne aktivni aktief habilitado"
)
_DATED: Final = """
    deleted archived disabled deactivated removed deletion archive blocked geloescht geloscht archiviert gesperrt
    supprime archivage eliminado eliminacion eliminato verwijderd slettet
    suspended inactive inaktiv inactif inactivo inattivo inactief inativo inaktiivinen
"""
_OWNERS: Final = (
    r"(?:is|account|acct|contact|kontakt|customer|cust|client|cli|kd|usr|user|record|rec|ist|esta|est|es|e|er|ar|je|jest|kunde|kunden|"
    r"cliente|row)*"
)
_MARKS: Final = r"(?:flag|flg|ind|indicator|yn|mark|marker|kz|kennz|kennzeichen|merkmal)"
_SAYS_SO: Final = [word for word in _GONE.split() if word not in _ONLY_MARKED]
_SET_WHEN_GONE: Final = re.compile(rf"{_OWNERS}(?:(?:{'|'.join(_GONE.split())}){_MARKS}|(?:{'|'.join(_SAYS_SO)}))")
_PARTLY: Final = re.compile(
    "block|bloqu|blocc|blokk|bloker|gesperrt|sperret|spaerret|sparrad|zablokowan|barred|suspended"
)
"""Some systems say here what is blocked."""
NOT_GONE: Final = word_set(
    "never unblocked unlocked open active enabled frei keine aucun ninguno nessuno geen nenhum ingen"
)
"""Words there for nothing."""
_SET_WHEN_THERE: Final = re.compile(rf"{_OWNERS}(?:{'|'.join(_THERE.split())}){_MARKS}?")
_DATED_WHEN_GONE: Final = re.compile(
    rf"(?:{'|'.join(_DATED.split())})(?:at|on|date|dt|am|datum|le|el|il|op|timestamp|ts|time|"
    r"since|seit|depuis|desde|dal|sinds|sedan|siden)|"
    rf"(?:date|dt|fecha|data|datum)(?:de)?(?:{'|'.join(_DATED.split())})"
)


class Flag(Struct, frozen=True):
    """A column that marks a record as deleted or disabled. `gone` are the words with this meaning, in lower case; null
    if every value has it, such as a time of deletion.
    """

    column: str
    gone: frozenset[str] | None
    dates: bool = False
    """Whether a date has this meaning as well, such as that of the deletion."""
    other_words: bool = False
    """Whether another word than a yes or a no has this meaning as well, such as what is blocked: `Invoice`."""


def flag(column: str) -> Flag | None:
    """Return the flag that a column is by its name; null if it is not one."""
    folded = "archived" if column.strip().lower() in _ARCHIVED else fold(column)
    if _SET_WHEN_GONE.fullmatch(folded):
        return Flag(column, YES, dates=True, other_words=_PARTLY.search(folded) is not None)
    if _SET_WHEN_THERE.fullmatch(folded):
        return Flag(column, NO)
    return Flag(column, None) if _DATED_WHEN_GONE.fullmatch(folded) else None
