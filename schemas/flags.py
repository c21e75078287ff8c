"""Columns that say whether a record is deleted or disabled, by their names, and the words for yes and no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tranship.schemas.column_names import fold
from tranship.schemas.header_words import word_set

YES: Final = word_set("true t yes y 1 x ja oui si sí sim on wahr vrai verdadero vero waar verdadeiro sant kyllä kylla")
NO: Final = word_set("false f no n 0 nein non nee não nao nej nei ei off falsch faux falso onwaar falskt")

_SET_WHEN_GONE: Final = word_set("""
    deleted isdeleted archived isarchived disabled isdisabled inactive isinactive deactivated isdeactivated
    removed isremoved closed isclosed blocked isblocked banned isbanned suspended issuspended markedasdeleted
    softdeleted deletedflag deletionmark accountdisabled customerdisabled geloescht geloscht archiviert gesperrt
    supprime archive eliminado archivado desactivado eliminato archiviato disattivato verwijderd gearchiveerd
    excluido arquivado raderad slettet
""")
_SET_WHEN_THERE: Final = word_set(
    "active isactive enabled isenabled aktiv istaktiv actif estactif activo attivo actief ativo aktiivinen"
)
_DATED_WHEN_GONE: Final = word_set(
    "deletedat archivedat disabledat deactivatedat deletedon archivedon deletiondate deleteddate archiveddate"
)


@dataclass(frozen=True)
class Flag:
    """A column that says of a record that it is deleted or disabled. `gone` are the words that say so, lower case; null
    if every value does, as a time of deletion.
    """

    column: str
    gone: frozenset[str] | None


def flag(column: str) -> Flag | None:
    """Return the flag that a column is by its name, null if it is none."""
    folded = fold(column)
    if folded in _SET_WHEN_GONE:
        return Flag(column, YES)
    if folded in _SET_WHEN_THERE:
        return Flag(column, NO)
    return Flag(column, None) if folded in _DATED_WHEN_GONE else None
