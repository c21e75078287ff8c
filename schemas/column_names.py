"""The form in which names of columns are compared: folded, and without the objects wrapped around a record."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

EVERYWHERE: Final = "*"
"""In place of the role of an address, all addresses: a country that belongs to none of them is the customer's."""

# Objects that APIs and databases wrap around the fields of a record, and around a value: JSON:API, HubSpot, Airtable,
# GraphQL, Elasticsearch, HAL, Mailchimp, Segment; MongoDB's Extended JSON.
_WRAPPED: Final = re.compile(
    r"(?:data\.)?(?:_embedded|attributes|properties|profile|raw_user_meta_data|user_metadata|fields|merge_fields|traits|"
    r"node|_source|record|item|object|resource|data|"
    r"dati_?anagrafici|datiAnagrafici|anagrafica|contatti|contatos|contactos|coordonnees|"
    r"(?:datos|dados)(?:_?(?:generales|fiscales|gerais|fiscais|cadastrais|personales|pessoais))?)\.(?=.)"
)
# Objects around a list: `emailAddresses.elements`, `addresses.data`, `addresses.edges`, `phones.phone`.
_ENVELOPED: Final = re.compile(
    r"(?i)(?P<list>.*(?:e-?mails|tax_?ids|vat_?ids|tax_?numbers|contacts|persons|addresses|addressesv2|addressbook|phones|telephones|numbers|mobiles|indirizzi|"
    r"adressen|adresses|direcciones|enderecos))[._](?:elements|data|items?|results|records|nodes|edges|entries|entry|"
    r"list|values?|address|e-?mail|phone|phone_?number|number|e-?mail_?address)"
)
ENVELOPES: Final = frozenset({"elements", "data", "items", "results", "records", "nodes", "edges", "entries", "list"})
"""Folded keys of the list inside such an object."""
_TYPED: Final = re.compile(r"(?<=.)\.\$(?:oid|date|uuid|numberInt|numberLong|numberDouble|numberDecimal)$")


# Remarks after a name in import templates: `First Name [Required]`.
_REQUIRED: Final = re.compile(r"(?i)(?<=\S)\s*[(\[](?:required|optional|mandatory|read[ -]?only)[)\]]\s*$")


_CUSTOM: Final = re.compile(
    r"(?i)(?P<label>.*\S)(?:"
    r"\s*[(\[{](?:custom|cf|udf|field|attr|question)[ _-]?(?:field)?[ _-]?\d*[)\]}]|\s+[-–|:]\s*custom(?: field)?|"
    r":\s*custom(?: field)?)\s*"
)


def without_custom(column: str) -> str:
    """Return a name without the number by which a system lists a custom field: `City (custom_3)`, `City - custom`."""
    matched = _CUSTOM.fullmatch(column) if len(column) <= LONGEST else None
    return matched["label"].strip() if matched else column


class Affixes(NamedTuple):
    """The prefix and the suffix of nearly all names of a table, each empty if there is none."""

    front: str
    back: str

    def within(self, column: str) -> str:
        """Return a name without them. It never becomes empty."""
        inner = column.removeprefix(self.front) or column
        return inner.removesuffix(self.back) or inner


def shared_affixes(columns: Sequence[str]) -> Affixes:
    """Return what nearly all names of a table begin and end with."""
    return _shared_affixes(tuple(columns))


@lru_cache(maxsize=16)
def _shared_affixes(columns: tuple[str, ...]) -> Affixes:
    return Affixes(shared_front(columns), shared_back(columns))


def shared_back(columns: Sequence[str]) -> str:
    """Return the suffix of nearly all names of a table, such as the `_adh` of `nom_adh` and `ville_adh`; empty if there
    is none. A word that has a meaning at the end of a name, as in `first_name`, is none."""
    backs = Counter(found[0] for column in columns if (found := _BACK.search(column[-_LONGEST_BACK:])))
    back, count = backs.most_common(1)[0] if backs else ("", 0)
    is_suffix = count >= _FEWEST_SHARING and count >= 2 / 3 * len(columns) and fold(back) not in _MEANT_BEHIND
    if is_suffix:
        return back
    # `CODCLI`, `NOMCLI`, `TELCLI`: what is read backwards as a prefix.
    return _capital_front([column[::-1] for column in columns])[::-1] if len(columns) >= 2 * _FEWEST_SHARING else ""


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
    r"[^\W\d_][^\W_]{0,11}[_.:](?=\w)|[a-z]{2,5}(?=[A-Z])|"
    r"(?:Customer|Client|Company|Account|Contact|Organi[sz]ation|Kunden?|Klant|Cliente?|Debtor|Donor)(?= ?[A-Z])"
)
_BACK: Final = re.compile(r"(?<=[^\W_])(?:[_.][^\W\d_]{2,12}|(?<=[a-z])[A-Z][a-z]{1,11})$")
_LONGEST_BACK: Final = 20
_WORDS_BEHIND: Final = (
    "id no nr num number code key ref name names nom nombre nome naam date at on time utc type status state country "
    "city street address addr zip email mail phone mobile fax url count total amount value text list line flag"
)
_MEANT_BEHIND: Final = frozenset(_WORDS_BEHIND.split())
_FEWEST_SHARING: Final = 4
_SHORTEST_CAPITALS: Final = 1
_LONGEST_CAPITALS: Final = 4


def unwrapped(column: str) -> str:
    """Return the name of a column of a nested record without the objects wrapped around it: `attributes.name` and
    `name` are one field.
    """
    if len(column) > LONGEST:
        return column
    column = _REQUIRED.sub("", column)
    if ("::" in column or ">" in column) and (block := _BLOCK.match(column)) and _is_plain_block(block["block"]):
        column = column[block.end() :]
    if enveloped := _ENVELOPED.fullmatch(column):
        column = enveloped["list"]
    return _TYPED.sub("", _WRAPPED.sub("", column, count=1) if _WRAPPED.match(column) else column)


# The heading of a block of a form before a label: `Informacje o kontakcie::Telefon`, `Basic Information > Name`.
_BLOCK: Final = re.compile(r"(?P<block>[^:>]+?)\s*(?:::|>)\s*(?=[^\W_])")
_INFORMATION: Final = re.compile(
    "info|data|dane|daten|dati|datos|dados|donnees|angaben|gegevens|detail|dettagli|udaje|opis"
)
_PLAIN_WORDS: Final = re.compile(
    "inform.*|info|data|dane|daten|dati|datos|dados|donnees|angaben|gegevens|details?|dettagl.*|udaje|"
    "basic|general[aei]?s?|generali|generale[sn]?|gerais|allgemeine|grund|stamm|algemene|podstawow.*|ogoln.*|zakladni|"
    "basi[cs].*|principal.*|main|additional|advanced|zaawansowan.*|dodatkow.*|rejestrow.*|opisow.*|fiscal[ei]?s?|"
    "firm.*|compan.*|customer|client.*|account|organi[sz]a.*|kontak.*|conta[ct]t?.*|kunden?|azienda|empresa|entreprise|"
    "o|of|the|on|about|de|del|della|di|da|do|des|du|la|le|l|sur|sobre|su|sulla|zu|zum|zur|der|die|das|van|over|om|oder|"
    "and|und|et|e|y|i|en|record|profile|system|systemow.*|legal"
)


def _is_plain_block(block: str) -> bool:
    """Return whether the heading of a block is about the customer as a whole, and not about somebody else or an
    address."""
    words = [word for word in (fold(word) for word in re.split(r"\W+", block)) if word]
    return any(_INFORMATION.match(word) for word in words) and all(map(_PLAIN_WORDS.fullmatch, words))


def of_first(column: str) -> str:
    """Return the name of a column without the place of the first item of a list: `contacts[0].email` and
    `contacts.0.email` are the `contacts.email`."""
    return _FIRST.sub("", column)


_FIRST: Final = re.compile(r"(?<=[^\W\d])(?:\[0\]|[./]0(?=[./]|$))")


def with_number_sign_in_words(column: str) -> str:
    """Return a name with `number` for a `#` at its end: `Customer #` is not the `Customer`, `Phone #s` are numbers."""
    bare = column.rstrip()
    signs = next((end for end in ("#s", "#") if bare.endswith(end)), "")
    return f"{bare.removesuffix(signs)} number" if signs else column


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
