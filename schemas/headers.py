"""Column names → canonical fields: words and structure of the exports of billing, accounting, shop and CRM systems.

Names are compared folded: lower case, without accents on Latin letters, and only letters and digits kept, so that
`Customer ID`, `customer_id`, `customerId`, `CUSTOMER-ID` and `customer[id]` are equal. A name is a word of a field
(`City`, `Ort`), or a word with a role before or behind it (`Billing Address City`, `POAddressLine1`, `City (Billing)`),
or with a number (`Addr 1 - City`, `E-mail 1 - Value`). A suffix in brackets is left out only if it is a remark
(`Created (UTC)`): `Customer (VIP)` is not a name, and `customer_id (metadata)` is not an id.

The words are in `header_words.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from tranship.schemas import header_families, header_labels, header_phrases
from tranship.schemas.column_names import (
    EVERYWHERE,
    LONGEST,
    REMEMBERED,
    Affixes,
    fold,
    of_first,
    shared_affixes,
    unwrapped,
    without_custom,
)
from tranship.schemas.customer import ADDRESS, COLUMNS
from tranship.schemas.header_scripts import ROLES_OF_SCRIPTS, WORDS_OF_SCRIPTS
from tranship.schemas.header_words import (
    ABBREVIATED_ROLES,
    ADDRESS_NOUNS,
    ADDRESS_ROLES,
    BARE_CODES,
    BARE_KEYS,
    BARE_NUMBERS,
    BARE_REFERENCES,
    BARE_STATES,
    BARE_TYPES,
    BEFORE_NOUNS,
    CODED_FIELDS,
    COMPANIONS,
    CUSTOMERS,
    DEPARTMENTS,
    DOCUMENTS,
    ENTITY_FIELDS,
    ENTITY_ROLES,
    FAXES,
    FLATS,
    FUNCTIONS,
    GUESTS,
    HOLDERS,
    IDENTIFICATIONS,
    IDENTIFIERS,
    LEVELS_OF_PLACES,
    LIKE_ID,
    LIKE_OTHERS,
    MEMBERS,
    NO_FIELDS,
    NOT_OF_A_SYSTEM,
    OF_BOOKS,
    OTHER_IDS,
    OWN_NAMES,
    PREFERENCES,
    RECORD_FIELDS,
    RECORD_ROLES,
    REGISTERED,
    REMARK,
    ROLES_BEHIND,
    SHORT_NOUNS,
    TYPES_OF_IDENTIFICATION,
    WORDS,
    word_set,
)
from tranship.schemas.secret_columns import is_secret, secrets


class _Word(NamedTuple):
    field: str
    group: str
    """Words of one group have the same meaning."""
    level: int


@cache
def _words() -> dict[str, _Word]:
    """Return all words, folded, and what they mean."""
    found: dict[str, _Word] = {}
    for field, levels in WORDS.items():
        for level, words in enumerate(levels.split("|"), 1):
            found |= {word: _Word(field, word, level) for word in map(fold, words.split())}
    for field, levels in header_labels.LABELS.items():
        for level, words in enumerate(levels.split("|"), 1):
            for word in map(fold, words.split()):
                found.setdefault(word, _Word(field, word, level))
    for word in [word for word in found if word.endswith(("number", "nummer"))]:
        field, group, level = found[word]
        for short in (word[:-6] + ending for ending in ("no", "nr", "num")):  # `VAT Registration No.`, `Kundennr.`
            found.setdefault(short, _Word(field, short if level else group, level))
    # `Rue 2` and `2. Adresse` are the second line of an address.
    for street in [word for word, meant in found.items() if meant.field == "address_line1" and word.isalpha()]:
        for number, field in (("1", "address_line1"), ("2", "address_line2")):
            found |= {word: _Word(field, street, 1) for word in (street + number, number + street) if word not in found}
    for name, field, level in header_families.names():
        found.setdefault(name, _Word(field, name, level))
    for field, levels in WORDS_OF_SCRIPTS.items():
        for level, words in enumerate(levels.split("|"), 1):
            for word in map(fold, words.split()):
                found.setdefault(word, _Word(field, word, level))
    for field in COLUMNS:
        own = (field, *OWN_NAMES.get(field, "").split())
        found |= {fold(word): _Word(field, fold(field), 0) for word in own}
    return found


_ROLE_RANK: Final[dict[str, int]] = {
    fold(role): rank for rank, roles in enumerate(ADDRESS_ROLES.split("|"), 1) for role in roles.split()
}
_ROLE_RANK.update(
    {
        fold(word): _ROLE_RANK[role]
        for words, role in header_labels.ROLES_OF_LABELS.items()
        for word in words.split()
        if fold(word) not in _ROLE_RANK
    }
)
_ROLE_IN_SCRIPT: Final = {fold(word): role for words, role in ROLES_OF_SCRIPTS.items() for word in words.split()}
_ROLE_OF_WORD_BEHIND: Final = {
    fold(word): role
    for listed in (header_labels.BEHIND_OF_LABELS, ROLES_BEHIND)
    for words, role in listed.items()
    for word in words.split()
}
_ROLE_IN_BRACKETS: Final = {
    fold(word): role for words, role in header_labels.IN_BRACKETS.items() for word in words.split()
}
_COMPANIONS: Final = {**header_labels.COMPANIONS_OF_LABELS, **COMPANIONS}
_WITHOUT_DEPARTMENTS: Final = FUNCTIONS | header_labels.WITHOUT_DEPARTMENTS
_ROLES_BEHIND: Final = tuple(_ROLE_OF_WORD_BEHIND)
_ENTITIES: Final = frozenset(map(fold, ENTITY_ROLES.split()))
_RECORDS: Final = frozenset(map(fold, RECORD_ROLES.split()))
_COMPANY: Final = frozenset({"company", "companyname", "organization", "organisation"})
_NOUNS: Final = sorted(map(fold, ADDRESS_NOUNS), key=len, reverse=True)
_ADDRESS_ENDS: Final = tuple(_NOUNS)


class _Hit(NamedTuple):
    """The meaning of the name of a column; `rank` compares the columns that match one field, smaller is better."""

    field: str
    group: str
    rank: tuple[int, ...]
    role: str
    """The address it belongs to: its role and number, empty for the only one."""


_WIDE: Final = str.maketrans("（）［］／", "()[]/")


@lru_cache(maxsize=REMEMBERED)
def _read(name: str) -> _Hit | None:
    """Return the meaning of a name; null if it has none."""
    name = name.strip().translate(_WIDE)
    if len(name) > LONGEST:
        return None
    if (inner := unwrapped(name)) != name:
        hit = _read(inner)
        # A field of the record itself precedes a wrapped one.
        return hit._replace(rank=(hit.rank[0] + 1, *hit.rank[1:])) if hit else None
    if (label := without_custom(name)) != name and fold(name) not in _words():
        hit = _read(label)
        return hit._replace(rank=(hit.rank[0] + 1, *hit.rank[1:])) if hit and hit.field in _CUSTOM_FIELDS else None
    name = _SQUARE.sub(r" (\1)", name)
    role = ""
    if (dash := _DASH.fullmatch(name)) and fold(dash["role"]) in _ROLE_RANK and _names_an_address(dash["word"]):
        return _read(f"{dash['word']} ({dash['role']})")
    if (block := _BLOCK.fullmatch(name)) and (hit := _read_in_block(block["block"], block["label"])):
        return hit
    if brackets := re.search(r"\s*[(]([^()]*)[)]\s*$", name):
        bare = name[: brackets.start()]
        if fold(name) in _words() or REMARK.fullmatch(brackets[1]) or _says_the_same(bare, brackets[1]):
            pass
        elif fold(brackets[1]) in _ROLE_RANK:
            role = fold(brackets[1])
        elif behind := _ROLE_OF_WORD_BEHIND.get(fold(brackets[1])):
            role = behind
        elif fold(bare).endswith(_ADDRESS_ENDS) and (hit := _read_folded(fold(bare) + fold(brackets[1]))):
            return hit if hit.field in ADDRESS else None  # `Billing Address (City)`
        elif in_brackets := _ROLE_IN_BRACKETS.get(fold(brackets[1])):
            role = in_brackets
        else:
            return _read_phrase(name)  # `Teléfono (particular)`
        if fold(name) not in _words() and fold(bare):
            name = bare
    if hit := _read_folded(role + fold(name)):
        return hit
    return (
        _read_of_address(name, role)
        or _read_numbered(name, role)
        or _read_either(name, role)
        or _read_reference(name)
        or (_read_repeated(name) if "." in name else None)
        or _read_plural(role + fold(name))
        or (None if role else _read_nested(name))
        or ((_read_value(name) or _read_preference(name)) if "." in name else None)
        or (None if role else _read_phrase(name))
    )


def _read_nested(name: str) -> _Hit | None:
    """Read a name within a list or an object that has a name of its own: `contacts[0].email`, `meta.lastModified`,
    `tax_info.tax_id`, `billing_details.address.city`.
    """
    if (one := _PLURAL.sub(r"\g<of>", of_first(name))) != name:
        return None if _SEVERAL.fullmatch(one) else _read(one)  # `emails[0].primary` is a mark
    if (inside := _OF_RECORD.match(name)) and (hit := _read(name[inside.end() :])):
        fields = _TIMES if inside["of"] else {"tax_id"}
        return hit._replace(rank=(hit.rank[0] + 1, *hit.rank[1:])) if hit.field in fields else None
    details = _DETAILS.match(name)
    is_role = details is not None and fold(details["role"]) in _ROLE_RANK
    return _read(details["role"] + name[details.end() - 1 :]) if details and is_role else None


# `contacts[0].email` is that of a contact, `customers_city` the city of a customer.
_PLURAL: Final = re.compile(r"(?i)^(?P<of>customer|client|user|member|person|contact)(?:_?person)?s(?=[_.\s-])")
# What an object that is not one of the customer tells about the record: when it was made, its number for taxes.
_OF_RECORD: Final = re.compile(
    r"(?i)(?:(?P<of>meta_?(?:data)?|audit(?:_?info)?|time_?stamps|(?:record|system)?_?info)|"
    r"(?:tax|vat|fiscal)(?:_?(?:info|data|details|ids?|information))?)\."
)
_DETAILS: Final = re.compile(r"(?i)(?P<role>[a-z]+)_?(?:info|details|data|information)\.(?=.)")


def _read_in_block(block: str, label: str) -> _Hit | None:
    """Read a label of an address behind the heading of its block: `Adres główny::Ulica`. What stands behind the word
    for an address is its role; with an unknown one, the address is that of somebody or something unknown.
    """
    words = [word for word in map(fold, re.split(r"\W+", block)) if word]
    if (noun := next((word for word in words if word in _NOUNS), None)) is None:
        return None
    words.remove(noun)
    hit = _read(label)
    if hit is None or hit.field not in ADDRESS or hit.role:
        return None
    rest = "".join(word for word in words if len(word) > _LONGEST_LINK)
    role = _ROLE_OF_WORD_BEHIND.get(rest) or header_phrases.role_of(rest) or rest
    if not role:
        return hit
    return hit._replace(rank=(_ROLE_RANK[role], *hit.rank[1:]), role=role) if role in _ROLE_RANK else None


_BLOCK: Final = re.compile(r"(?P<block>[^:>»]+?)\s*(?:::|[>»])\s*(?P<label>[^:>»]+)")
_LONGEST_LINK: Final = 2


def _read_reference(name: str) -> _Hit | None:
    """Read the name in an object to which a record refers by its id: `pais.nombre`, `country_id.name`, `Provincia -
    Descrizione`.
    """
    matched = _NAME_OF.search(name) if name.lower().endswith(_NAMES) else None
    if matched is None:
        return None
    before = name[: matched.start()].rstrip()
    for of in dict.fromkeys((before, re.sub(r"(?i)[_ ]?id$", "", before))):
        hit = _read(of) if fold(of) else None
        if hit and hit.field in (_NAMED if matched["inner"] else _PLACES):
            # The name of a place precedes its code, and the code of a currency its name.
            if hit.field not in _PLACES:
                return hit._replace(rank=(hit.rank[0], hit.rank[1] + 1, hit.rank[2]))
            level = 0 if name.lower().endswith("sigla") else -1
            return hit._replace(rank=(*hit.rank[:2], hit.rank[2] + level))
    return None


_NAMED: Final = word_set("city state country currency language status customer_type net_terms timezone zip_code")
_PLACES: Final = frozenset({"city", "state", "country"})
_NAMES: Final = (
    *("displayname", "display_name", "name", "nombre", "nome", "nom", "naam", "navn", "namn", "bezeichnung"),
    *("beschreibung", "denominazione", "denominacion", "denominación", "descrizione", "descripcion", "descripción"),
    *("descricao", "descrição", "description", "descr", "desc", "sigla", "libelle", "libellé", "label", "omschrijving"),
)
_NAME_OF: Final = re.compile(rf"(?i)(?:(?P<inner>[./])|[_ -]\s*|(?-i:(?<=[a-z])(?=[A-Z])))(?:{'|'.join(_NAMES)})$")


def _is_id_of_reference(column: str) -> bool:
    return len(column) <= LONGEST and column.lower().endswith((".id", "/id", "[id]"))


def _read_preference(name: str) -> _Hit | None:
    """Read `settings.locale`. An e-mail in settings is a consent."""
    matched = _PREFERENCES.match(name)
    hit = _read(name[matched.end() :]) if matched and not name.lower().endswith("id") else None
    return hit._replace(rank=(hit.rank[0] + 1, *hit.rank[1:])) if hit and hit.field in PREFERENCES else None


_PREFERENCES: Final = re.compile(
    r"(?i)(?:[a-z]+_)?(?:preferences?|settings?|locale|locali[sz]ation|regional|defaults?|general|financials?|accounting|"
    r"invoicing|sales|terms)[.](?=.)"
)


def _read_value(name: str) -> _Hit | None:
    """Read `terms.value` and `created._seconds`, the value in an object, and `emails.work`, one of several."""
    if several := _SEVERAL.fullmatch(name):
        of = fold(several["of"])
        hit = _read_folded(of + fold(several["which"])) or _read_folded(fold(several["which"]) + of)
        return hit if hit and hit.field in REACHED_BY else None
    matched = _VALUE.fullmatch(name)
    hit = _read(matched["of"]) if matched else None
    if matched is None or hit is None:
        return None
    if matched["time"]:
        return hit if hit.field in _TIMES else None
    is_code = hit.field in CODED_FIELDS and (hit.field != "state" or not hit.role)
    behind = _FAR_BEHIND if matched["text"] else 1  # the code, where the object has one
    return hit._replace(rank=(*hit.rank[:2], hit.rank[2] + behind)) if is_code else None


_SEVERAL: Final = re.compile(
    r"(?i)(?P<of>e-?mail|(?:tele)?phone)(?:_?addresse|_?number)?s[.](?P<which>"
    r"work|home|business|office|personal|private|mobile|cell|main|primary|default|secondary|other|company|landline)"
)
_VALUE: Final = re.compile(
    r"(?i)(?P<of>.+)[.](?:(?P<code>value|code)|(?P<text>text|title)|"
    r"(?P<time>_?seconds|epoch|unix|iso(?:8601)?|utc|date_?time))"
)


def _read_repeated(name: str) -> _Hit | None:
    """Read `Country.CountryName`: an object whose keys repeat its name."""
    matched = _REPEATED.fullmatch(name)
    hit = _read(matched["front"] + matched["name"]) if matched and fold(matched["name"]) else None
    return hit if hit and (hit.field in ADDRESS or hit.field in ENTITY_FIELDS) else None


_REPEATED: Final = re.compile(r"(?i)(?P<front>(?:.+[.])?)(?P<of>[^\W\d]{3,})[.](?P<name>(?P=of)[\w ]+)")


def _read_plural(folded: str) -> _Hit | None:
    """Read `Mobile phones`."""
    hit = _read_folded(folded.removesuffix("s")) if folded.endswith("s") else None
    return hit if hit and hit.field in REACHED_BY else None


def _names_an_address(name: str) -> bool:
    hit = _read(name)
    return hit is not None and hit.field in (*ADDRESS, "phone", "email")


_DASH: Final = re.compile(r"(?P<word>.*\w)\s+[-–]\s+(?P<role>[^\W\d]+)")  # `City - Home`


def _says_the_same(name: str, remark: str) -> bool:
    """Return whether a remark is another word for the field: `City (Locality)`."""
    hit, word = _read(name) if fold(name) else None, _words().get(fold(remark))
    if hit is not None and word is None and _TECHNICAL.fullmatch(remark):
        named = _read(remark)  # `City (address_city)`
        return named is not None and named.field == hit.field
    return hit is not None and word is not None and word.field == hit.field


_SQUARE: Final = re.compile(r"(?<=\w)\s+\[([^\[\]]+)\]\s*$")
_TECHNICAL: Final = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+|[a-z]+(?:[A-Z][a-z0-9]+)+")


_OF_ADDRESS: Final = re.compile(
    r"(?i)(?P<word>.+?)\s+(?:of|der|de la|de l.|dell.|do|van het|av)\s*(?P<role>(?:\w+\s+)?)"
    rf"(?:{'|'.join(ADDRESS_NOUNS)})"
)
_BEHIND: Final = re.compile(r"(?P<word>.*[^\W\d].*?)[\s._#-]+(?P<number>[1-9])")
_EITHER_FIELDS: Final = frozenset({*ADDRESS, "phone", "email", "tax_id", "name"})
_CUSTOM_FIELDS: Final = frozenset({*ADDRESS, "phone", "email", "tax_id"})
"""What a customer's answer in a custom field may be."""


def _read_of_address(name: str, role: str) -> _Hit | None:
    """Read `ZIP/Postal code of Postal address`."""
    matched = _OF_ADDRESS.fullmatch(name)
    if matched is None:
        return None
    # The owner stays in front: `Organization - Country of Address`.
    hit = _read(matched["word"])
    of_role = fold(matched["role"])
    if hit is None or hit.field not in ADDRESS or (of_role and of_role not in _ROLE_RANK):
        return None
    rank = max(hit.rank[0], _ROLE_RANK.get(of_role, 0), _ROLE_RANK.get(role, 0))
    return hit._replace(rank=(rank, *hit.rank[1:]), role=role or of_role or hit.role)


def _read_numbered(name: str, role: str) -> _Hit | None:
    """Read `Address City - 2` and `Telefon 1`. The first is the same as one without a number."""
    matched = _BEHIND.fullmatch(name)
    hit = matched and _read_folded(role + fold(matched["word"]))
    if not matched or not hit or hit.field not in (*ADDRESS, "phone", "email"):
        return None
    number = int(matched["number"])
    if number == 1:
        return hit
    of_address = f"{hit.role}{number}" if hit.field in ADDRESS else ""
    return hit._replace(rank=(hit.rank[0], hit.rank[1] + number, *hit.rank[2:]), role=of_address)


def _read_either(name: str, role: str) -> _Hit | None:
    """Read `CNPJ / CPF`, `CPF ou CNPJ` and `City/town/village`: words that all mean the same field. Of words for a part
    of a country, one may be of another part: `Stat/provins`.
    """
    words = _OR.split(name) if len(name) <= _LONGEST_EITHER else []
    if len(words) < 2 or not all(map(fold, words)):
        return None
    if fold(words[0]) in FAXES:  # `Fax/Tel.`
        words.reverse()
    parts = [fold(word) for word in words]
    # `Estado/Província de cobrança`: the role is behind the last word.
    last = _read_folded(parts[-1])
    if (
        last is not None
        and last.role
        and (bare := next((p for p in header_labels.PARTS_OF_COUNTRIES if parts[-1].startswith(p)), ""))
    ):
        role, parts[-1] = last.role, bare
    if header_labels.PARTS_OF_COUNTRIES.issuperset(parts):
        return _read_folded(f"{role}province")
    first = _read_folded(role + parts[0])
    if first is None or first.field not in _EITHER_FIELDS:
        return None
    documents = {"tax_id": DOCUMENTS, "phone": FAXES}.get(first.field, frozenset[str]())
    others = [_words().get(part) for part in parts[1:] if part not in documents]
    return first if all(word is not None and word.field == first.field for word in others) else None


_OR: Final = re.compile(
    r"(?i)\s*[/+&]\s*|\s+[-–|]\s+|\s+(?:or|oder|ou|o|u|of|eller|lub|nebo|and|und|et|e|y|en|og|och|i)\s+"
)
_LONGEST_EITHER: Final = 60


def _read_phrase(name: str) -> _Hit | None:
    """Read `Nome do cliente` and `Langue par défaut`: a word of a field, and those of roles before or behind it."""
    phrase = header_phrases.read(name)
    if phrase is None:
        return None
    if not phrase.roles:
        return _read_folded(phrase.rest)  # `Code du pays`
    word = _words().get(phrase.rest)
    if phrase.rest in _IDENTIFICATION:
        word = _Word("external_id", phrase.rest, 1)
    elif phrase.rest in BARE_TYPES and phrase.roles == ("customer",):
        return _read_folded("customertype")
    if word is None:
        return None
    roles = tuple(role for role in phrase.roles if role != "your" or word.field == "name")
    if word.field == "external_id":
        is_id = phrase.rest in _IDS
        level = {"customer": 1, "contact": 4 if is_id else 0}.get("".join(roles), 0)
        return _Hit("external_id", phrase.rest, (0, 0, level), "") if level else None
    if word.field == "name":
        owner = f"{roles[0]}name" if roles in (("customer",), ("company",)) else ""
        # In French, `Nombre de tiers` is how many there are.
        is_name = phrase.rest in _PLAIN_NAMES and not (phrase.rest == "nombre" and "tiers" in fold(name))
        found = _words().get(owner) if is_name else None
        return _Hit(found.field, found.group, (0, 0, found.level), "") if found else None
    if "secondary" in roles and _FURTHER.search(fold(name)):
        return None  # a `Phone extra` is an extension, an `Additional address line 1` a part of the address
    if word.field == "email" and "secondary" in roles:
        return _Hit("email", "secondaryemail", (0, 0, 4), "")
    if word.field == "email" and roles == ("primary",):
        return _Hit("email", "primaryemail", (0, 0, 2), "")
    return _read_folded("".join(roles) + phrase.rest)


_FURTHER: Final = re.compile("phoneextra|additionaladdressline|extraaddressline")
_IDS: Final = frozenset({"id", "identifiant", "identifikator", "identyfikator", "identificador", "identificativo"})
_IDENTIFICATION: Final = frozenset(
    {"identification", "identificacion", "identificacao", "identificazione", "identificatie", "identifikation"}
)
_PLAIN_NAMES: Final = frozenset({"name", "nom", "nombre", "nome", "naam", "navn", "namn", "nazwa", "nazev", "nimi"})


def _read_folded(folded: str) -> _Hit | None:
    if folded in NO_FIELDS:
        return None
    # `date_created_gmt` beside `date_created`, which is in the time zone of a shop.
    if (of_utc := _OF_UTC.fullmatch(folded)) and (word := _words().get(of_utc["word"])) and word.field in _TIMES:
        return _Hit(word.field, folded, (0, -1, word.level), "")
    if word := _words().get(folded):
        return _Hit(word.field, word.group, (0, 0, word.level), "")
    if in_days := _IN_DAYS.fullmatch(folded):
        word = _words().get(in_days["terms"])
        if word and word.field == "net_terms":  # takes precedence over those that may be a key or a text
            return _Hit(word.field, word.group, (0, 0, min(word.level, 1)), "")
    if coded := re.fullmatch("(billing|shipping|mailing|other)code", folded):  # Zoho's postal code
        return _Hit("zip_code", "code", (_ROLE_RANK[coded[1]], 0, 9), coded[1])
    if numbered := _NUMBERED.fullmatch(folded):
        kind, number = numbered["kind"], int(numbered["number"])
        return _Hit(kind, kind, (0, number + 1, 0), "")
    if (counted := _COUNTED.fullmatch(folded)) and (word := _words().get(counted["word"])) and word.field == "phone":
        return _Hit(word.field, word.group, (0, int(counted["number"]) - 1, word.level), "")  # `telefone1_numero`
    if folded[-1:] in _DIGITS and (word := _words().get(folded[:-1])) and word.field in ("phone", "email"):
        return _Hit(word.field, word.group, (0, int(folded[-1]) - 1, word.level), "")  # `telefono2`
    if suffixed := _SUFFIXED.fullmatch(folded):
        return _Hit(suffixed["kind"], suffixed["kind"], (_ROLE_RANK.get(suffixed["role"], 9), 0, 0), "")
    owned = _OF_CUSTOMER.fullmatch(folded) if folded.endswith(_CUSTOMERS) else None
    if owned is not None:  # `Teléfono del cliente`
        word = _words().get(owned["word"])
        if word and _keeps_meaning(word, ["customer"]):
            return _Hit(word.field, word.group, (1, 0, word.level), "customer" if word.field in ADDRESS else "")
    # `請求先住所`, `Straße geschäftlich 2`.
    for matched, roles_of in (
        (_WORD_IN_SCRIPT.fullmatch(folded), _ROLE_IN_SCRIPT),
        (
            _WORD_BEHIND.fullmatch(folded) if folded.rstrip("123").endswith(_ROLES_BEHIND) else None,
            _ROLE_OF_WORD_BEHIND,
        ),
    ):
        if matched is None:
            continue
        # `Estado fiscal` ends with a link only by accident.
        for bare in (matched["word"] + matched["link"], matched["word"]):
            word = _words().get(bare + matched["number"])
            if word and word.field in (*ADDRESS, "phone"):
                return _read_folded(roles_of[matched["role"]] + bare + matched["number"])
    if _TAX.fullmatch(folded):
        # A bare word for the tax may be its rate.
        return _Hit("tax_id", folded, (0, 0, 3 if folded in _RATES else 2), "")
    rest, roles = folded, []
    while role := _role_of(rest):
        roles.append(role)
        rest = rest.removeprefix(role)
        if (suffixed := _SUFFIXED.fullmatch(rest)) and _ROLE_RANK[role] == 1:  # `Person - Email - Work`
            return _Hit(suffixed["kind"], suffixed["kind"], (_ROLE_RANK.get(suffixed["role"], 9), 0, 0), "")
        word = _words().get(rest)
        if word and word.group == "st" and len(roles) > 1:
            break  # `Kund e-post`
        if word and (role not in BEFORE_NOUNS or _is_of_mail(word, rest)) and _keeps_meaning(word, roles):
            rank = max(_ROLE_RANK.get(role, 1) for role in roles)
            return _Hit(word.field, word.group, (rank, 0, word.level), roles[-1] if word.field in ADDRESS else "")
    # `adresstad` is the `stad` of an `adres`, or the `tad` of an `adress`.
    if not rest.startswith(_ADDRESS_STARTS):
        return None
    found = (pattern.match(rest) for pattern in _EACH_ADDRESS)
    return next(filter(None, (_read_inside(rest, roles.copy(), address) for address in found if address)), None)


def _read_inside(rest: str, roles: list[str], address: re.Match[str]) -> _Hit | None:
    """Read what is behind the word for an address, with the roles before it."""
    number = int(address["number"] or 0)
    inner = rest[address.end() :]
    is_post = inner in _POSTAL and not address[0].startswith("addr")  # of an `Address`, it is the postal code
    if (behind := _ROLE_BEHIND.match(inner)) and (is_post or inner not in _words()):  # `Adresse de facturation - Ville`
        roles.append(behind["role"])
        inner = inner[behind.end() :] or address[0]
    if again := _ADDRESS.match(inner):  # `shipping_address.address.city`
        inner = inner if inner in _words() else inner[again.end() :]
    if line := _LINE.fullmatch(inner):
        inner = f"line{line['number']}"
    if nested := _NUMBERED.fullmatch(inner):
        return _Hit(nested["kind"], nested["kind"], (1, number, int(nested["number"])), "")
    word = _words().get("departamento" if inner == "department" else inner)
    if address[0] in SHORT_NOUNS and inner in _ENGLISH:  # an `end state` is no address
        return None
    is_known = word is not None and (word.field in (*ADDRESS, *REACHED_BY, "timezone") or word.group in _COMPANY)
    if word is None or not is_known:
        return None
    rank = max([_ROLE_RANK.get(role, 1) for role in roles], default=int(word.field in REACHED_BY))
    of_address = f"{roles[-1] if roles else ''}{number or ''}" if word.field in ADDRESS else ""
    return _Hit(word.field, word.group, (rank, number, word.level), of_address)


_POSTAL: Final = frozenset({"postal", "postale"})
"""Roles that are words of a postal code as well."""
_ENGLISH: Final = word_set("state st city town country region county province location street zip line1 line2")
_TAXES: Final = "vat|gst|hst|qst|pst|abn|ein|fein|tin|tax|iva|tva|mwst|ust|btw|nif|cif|cnpj|cpf|rfc|nzbn|gstin"
_TAX: Final = re.compile(
    r"(?:company|business|customer|client|billing|eu|account|cust)?(?!(?:pst|qst)(?:no|num|number|id))"
    rf"(?:(?:{_TAXES})(?:id|no|nr|num|number)?(?:or|and)?){{1,4}}(?:registration|reg|identification)?"
    r"(?:id|no|nr|num|number)s?"
)
"""`GST/VAT number`, `Tax ID or VAT number`. A tax code is a rate."""
_RATES: Final = word_set("iva tva mwst ust btw gst hst qst pst tax")
_OF_UTC: Final = re.compile(r"(?P<word>.+?)(?:in)?(?:utc|gmt)")
_COUNTED: Final = re.compile("(?P<word>.+)(?P<number>[1-9])(?:numero|number|num|nummer|nr|no)")
_DIGITS: Final = frozenset("123456789")
_TIMES: Final = frozenset({"created_at", "updated_at", "trial_started", "paid_started", "cancel_date"})
_NUMBERED: Final = re.compile(
    r"(?P<kind>email|phone)(?:s|number|numbers|address|addresses)?(?P<number>[0-9])(?:value|address|number|email|)"
)
_SUFFIXED: Final = re.compile(r"(?P<kind>email|phone)(?P<role>work|business|office|home|personal|private|other|mobile)")
_ADDRESS: Final = re.compile(rf"(?:{'|'.join(_NOUNS)})(?P<number>[0-9]?)")
_ADDRESS_STARTS: Final = (*_NOUNS, *SHORT_NOUNS)
_EACH_ADDRESS: Final = tuple(re.compile(rf"{noun}(?P<number>[0-9]?)") for noun in (*_NOUNS, *SHORT_NOUNS))
_CUSTOMERS: Final = tuple(
    sorted(
        word_set(
            "client cliente kunde kunden customer klienta kontrahenta payeur acheteur comprador pagador acquirente "
            "pagatore mittente remitente remetente expediteur intestatario titular titulaire titolare adherent membre "
            "socio abonne assinante aderente"
        )
    )
)
"""Words behind that of a field, for the customer."""
_OF_CUSTOMER: Final = re.compile(rf"(?P<word>.{{2,}}?)(?:de|del|dela|do|du|des|di|der)?(?:{'|'.join(_CUSTOMERS)})")
_ROLE_BEHIND: Final = re.compile(
    r"(?:de|di|da|do|of|del|della|dela|du|para|pour|for|til|dla)?"
    rf"(?P<role>{'|'.join(sorted(_ROLE_RANK, key=len, reverse=True))})"
)
_WORD_BEHIND: Final = re.compile(
    r"(?P<word>.{2,}?)(?P<link>(?:de|del|dela|da|do|du|di|van|vanhet)?)"
    rf"(?P<role>{'|'.join(sorted(_ROLE_OF_WORD_BEHIND, key=len, reverse=True))})(?P<number>[1-3]?)"
)
_WORD_IN_SCRIPT: Final = re.compile(rf"(?P<role>{'|'.join(_ROLE_IN_SCRIPT)})の?(?P<word>.+?)(?P<link>)(?P<number>)")
_ROLE_BEFORE: Final = re.compile(  # `Fac_Tel` has another role than `Fact_Tel`
    rf"(?:{'|'.join(sorted(_ROLE_RANK, key=len, reverse=True))})(?=.)".replace("|fact|", "|fact(?!el)|"),
    re.DOTALL,
)
_LINE: Final = re.compile(
    rf"(?:{'|'.join(_NOUNS)})?(?:line|linje|ligne|zeile|linea|riga|regel|linha|rad|rivi|radek|wiersz)(?P<number>[12])"
)
_IN_DAYS: Final = re.compile(
    r"(?P<terms>.+?)(?:in|en|em|i|w)?(?:days|tagen?|jours|dias|giorni|dagen|dagar|dager|dage|paivaa|dniach|dni|dny|dnech|nap|napok|napban)"
)


def _role_of(folded: str) -> str | None:
    """Return the longest role at the beginning."""
    found = _ROLE_BEFORE.match(folded)
    return found[0] if found else None


def _is_of_mail(word: _Word, folded: str) -> bool:
    """Return whether a word is one of an address whatever is before it, and no noun: `PostStreet`, `VisitPostcode`. A
    `Mail Address` is that of an e-mail.
    """
    return (word.field in _LINES or folded in _CITIES) and not _ADDRESS.match(folded)


_LINES: Final = frozenset({"address_line1", "address_line2", "zip_code"})
_CITIES: Final = frozenset({"poststed", "postarea", "postort"})


def _keeps_meaning(word: _Word, roles: Sequence[str]) -> bool:
    """Return whether a word means the same field with these roles before it: the city of a delivery is a city, the id
    of a company is not the id of the customer.
    """
    if word.group in _ROOMS:  # a `Business Unit` is no part of an address
        return all(role in _ROLES_OF_ROOMS for role in roles)
    if word.field == "phone":
        return "preferred" not in roles  # it says which: `Mobile`
    if word.field in ADDRESS:
        return True
    if word.field == "timezone" and roles[-1] == "location":
        return True
    if word.field in ENTITY_FIELDS:
        return all(role in _ENTITIES for role in roles)
    is_company = word.group in _COMPANY and _ROLE_RANK[roles[-1]] <= _ROLE_RANK["default"]
    return is_company or (word.field in RECORD_FIELDS and roles[0] in _RECORDS and len(roles) == 1)


_ROOMS: Final = frozenset({"unit", "flat", "floor"})
_ROLES_OF_ROOMS: Final = frozenset(
    role for role, rank in _ROLE_RANK.items() if rank in (_ROLE_RANK["billing"], _ROLE_RANK["shipping"])
) | {"mailing", "mail", "postal", "home", "residential"} - {"location"}


class Fit(Struct, frozen=True):
    """The columns that match one field, in the order of the source.

    `column` is the one used, null if the user must choose. `rivals` have the same name in another spelling, or another
    one of the same rank: if their values differ, the choice is ambiguous. `others` are synonyms with another meaning,
    such as `id` next to `external_id`. Columns of a further address, number or role (`Shipping City` beside `Billing
    City`, `Phone 2`) are in none of them.
    """

    column: str | None
    rivals: tuple[str, ...]
    others: tuple[str, ...]
    further: tuple[str, ...] = ()
    """The columns of further numbers of a field in REACHED_BY, or of further addresses, the preferred one first."""

    @property
    def fills(self) -> bool:
        """Whether the further columns are used where the first one is blank. Rivals are no further columns, but for
        those that may be filled in other records."""
        return not self.rivals or self.rivals == self.further

    @property
    def columns(self) -> tuple[str, ...]:
        """All these columns."""
        return (*([self.column] if self.column else []), *self.rivals, *self.others)


def is_own_name(column: str, field: str) -> bool:
    """Return whether a column has the name of the field itself, or is a word with exactly this meaning."""
    word = _words().get(fold(column))
    return word is not None and word.field == field and word.group == fold(field)


def field_of(column: str) -> str | None:
    """Return the field that the name of a column means by itself; null if it has no meaning."""
    hit = _read(column)
    return hit.field if hit else None


def may_be_key(column: str) -> bool:
    """Return whether a column of payment terms may hold keys of terms instead of days, by its name."""
    hit = _read(column)
    return hit is not None and hit.field == "net_terms" and hit.rank[2] > 1


def is_condition(column: str) -> bool:
    """Return whether a column of payment terms is, by its name, one of conditions (`Zahlungsbedingung`), which programs
    number from zero, and not one of a time to pay.
    """
    return _CONDITION.search(fold(column)) is not None


_CONDITION: Final = re.compile("bedingung|kondition|conditi|condic|condiz|betingelse|villkor|warunk|podmink|zterm")


def is_customer(column: str) -> bool:
    """Return whether the name of a column is a word for a customer: it contains names, or flags customers."""
    return fold(unwrapped(column)) in CUSTOMERS


def holder(columns: Sequence[str]) -> str | None:
    """Return the column of whoever holds something, such as `Intestatario`, unless it may be a bank account; null if
    there is none, or more than one."""
    found = [column for column in columns if fold(column) in HOLDERS]
    is_of_bank = any(_OF_BANK.search(fold(column)) for column in columns)
    return found[0] if len(found) == 1 and not is_of_bank else None


_OF_BANK: Final = re.compile("iban|^bi[ck]$|swift|banc|banque|bank")


def is_title(column: str) -> bool:
    """Return whether a column is the title of an account, by its name."""
    return fold(unwrapped(column)) in ("intitule", "libelle")


def is_state_or_status(column: str) -> bool:
    """Return whether the name of a column is a word for a country or state, and for a status: `Stato`, `Estado`."""
    return _bare_state(column) in BARE_STATES


def is_state_of_world(column: str) -> bool:
    """Return whether a word for a state and a status may be one for a country: `Stato`."""
    return _bare_state(column) == "stato"


def _bare_state(column: str) -> str:
    matched = _NAME_OF.search(column) if len(column) <= LONGEST else None
    return fold(column[: matched.start()] if matched and matched["inner"] else unwrapped(column))


def is_id_of_record(column: str) -> bool:
    """Return whether a column of ids, such as `Copper ID` or `Código`, is, by its name, not the id of something
    else."""
    if fold(column) in BARE_CODES | BARE_REFERENCES | BARE_KEYS:
        return True
    named = re.fullmatch(r"(?i)(?P<of>[a-z]{2,})[\s_-]?id|(?P<letter>[a-z])[\s_-]id", column.strip())
    words = "" if named is None else fold(named["of"] or named["letter"])
    return bool(words) and words not in OTHER_IDS and not is_secret(column)


def id_of_system(columns: Sequence[str]) -> str | None:
    """Return the column with the id that the program of an export gives its customers, such as `Apollo Contact Id`;
    null if there is none, or several programs have one.
    """
    found: dict[str, tuple[int, str]] = {}
    for column in columns:
        named = _OF_SYSTEM.fullmatch(column.strip()) if len(column) <= LONGEST else None
        if named and fold(named["system"]) not in NOT_OF_A_SYSTEM:
            rank = _OF_PERSONS.index(named["of"].lower())
            system = fold(named["system"])
            found[system] = min(found.get(system, (rank, column)), (rank, column))
    return next(iter(found.values()))[1] if len(found) == 1 else None


_OF_PERSONS: Final = ("customer", "client", "contact", "person", "member", "subscriber", "user", "lead", "record")
_OF_SYSTEM: Final = re.compile(
    rf"(?P<system>[A-Za-z][A-Za-z0-9]+?)(?:[ _-]|(?=[A-Z]))(?P<of>(?i:{'|'.join(_OF_PERSONS)}))"
    r"[ _-]?(?i:id|uid|uuid|guid)"
)


def links_to_records(columns: Sequence[str]) -> list[str]:
    """Return the columns that may have the address of a record in an API, which is its id where there is no other, by
    their names; the likeliest first.
    """
    folded = {fold(unwrapped(column)): column for column in reversed(columns) if len(column) <= LONGEST}
    return [folded[name] for name in _LINKS if name in folded]


def bare_ids(columns: Sequence[str]) -> list[str]:
    """Return the columns with a bare word for a number, code or key that is not beside an address or a telephone
    number, where it may belong to that: the id of the record, if its values are such."""
    within = shared_affixes(columns).within
    found = [at for at, column in enumerate(columns) if fold(within(column)) in _BARE_IDS]
    if not found:
        return []
    hits = _hits(tuple(columns), ())
    fields = [hits[column].field if column in hits else "" for column in columns]
    return [
        columns[at]
        for at in found
        if {*ADDRESS}.isdisjoint(fields[max(at - _FAR, 0) : at + _FAR + 1])
        and "phone" not in fields[max(at - 1, 0) : at + 2]
        and not is_secret(columns[at])
    ]


def is_bare_id(column: str) -> bool:
    """Return whether the name of a column is a bare word for a number, code or key."""
    return fold(column) in _BARE_IDS


def may_be_id(column: str) -> bool:
    """Return whether the name of a column is like that of an id, and has no other meaning."""
    if len(column) > LONGEST or LIKE_ID.search(column.replace("_", " ")) is None or is_secret(column):
        return False
    hit = _read(column)
    return (hit is None or hit.field == "external_id") and LIKE_OTHERS.search(fold(column)) is None


_BARE_IDS: Final = BARE_CODES | BARE_NUMBERS | BARE_REFERENCES | {"key", "ref", "recordno", "recordnumber", "recordkey"}


_LINKS: Final = (
    *("linksselfhref", "linksself", "metaself", "metahref", "selflink", "self", "href", "resourceuri", "resourceurl"),
    *("odataid", "uri", "url", "apiurl"),
)


def match(columns: Sequence[str], repeats: Mapping[str, str], without: Collection[str] = ()) -> dict[str, Fit]:
    """Return field → matching columns, except the columns in `without`.

    `repeats` are columns whose name occurs more than once in the header: generated name → repeated name. The field's
    own name takes precedence over synonyms with another meaning, an earlier level of synonyms over a later one, and a
    billing address over others; two meanings of one level require a choice by the user.
    """
    hits = _hits(tuple(columns), tuple(repeats.items()))
    address = _best_address(hits.values())
    if not address:
        hits = _joined_to_plain(hits)
    is_place = any(hit.role == address and hit.field in _PLACE for hit in hits.values())
    by_field: dict[str, dict[str, _Hit]] = {}
    for column, hit in hits.items():
        if column not in without and (hit.field not in ADDRESS or hit.role in (address, "") or not is_place):
            by_field.setdefault(hit.field, {})[column] = hit
    for field in ADDRESS:
        found = by_field.get(field, {})
        if not is_place or any(hit.role == address for hit in found.values()):
            continue
        # The street of one address and the city of another do not form an address; a country alone is that of the
        # customer.
        if field != "country":
            by_field.pop(field, None)
    fits = {field: _fit(field, by_field[field], address) for field in COLUMNS if field in by_field}
    for field, columns_of_field in _further_addresses(hits, address).items():
        if field in fits and (used := fits[field].column) and hits[used].role == address:
            free = tuple(column for column in columns_of_field if column not in without)
            fits[field] = replace(fits[field], further=free)
    plain = _plain_country(hits)
    if plain and plain not in without and (fit := fits.get("country")) and fit.column and hits[fit.column].role:
        others = tuple(column for column in fit.others if column != plain)
        fits["country"] = replace(fit, others=others, further=(*fit.further, plain))
    return fits


def fields_of(columns: Sequence[str], repeats: Mapping[str, str]) -> dict[str, str]:
    """Return column → the field that its name means beside the others."""
    return {column: hit.field for column, hit in _hits(tuple(columns), tuple(repeats.items())).items()}


def _plain_country(hits: Mapping[str, _Hit]) -> str | None:
    """Return the country that belongs to none of the addresses, beside those that have a role; null if there is none.

    It is the customer's: `Country`, `Invoice Street`, `Delivery Street`.
    """
    if any(hit.role == "" and hit.field in _PLACE for hit in hits.values()):
        return None
    found = [(hit.rank, column) for column, hit in hits.items() if hit.field == "country" and hit.role == ""]
    return min(found)[1] if found else None


def addresses(columns: Sequence[str], repeats: Mapping[str, str]) -> dict[str, str]:
    """Return column → the address it belongs to, for the columns of addresses; that of one without a role is empty."""
    hits = _hits(tuple(columns), tuple(repeats.items()))
    plain = _plain_country(hits)
    return {column: EVERYWHERE if column == plain else hit.role for column, hit in hits.items() if hit.field in ADDRESS}


def _read_within(affixes: Affixes, name: str) -> _Hit | None:
    """Read a name or, if it has no meaning, the part of it without the prefix and suffix that all columns share. That
    part alone shows whose address it is: `CompanyCountry` beside `CompanyInvoiceCountry` is that of no address.
    """
    hit = _read(name)
    if (hit is None or hit.field in ADDRESS) and (inner := affixes.within(name)) != name:
        return _read(inner) or hit
    return hit


@lru_cache(maxsize=4)
def _hits(columns: tuple[str, ...], repeats: tuple[tuple[str, str], ...]) -> Mapping[str, _Hit]:
    """Return column → the meaning of its name, for the columns that have one."""
    own_names = dict(repeats)
    affixes = shared_affixes(columns)
    named = ((column, _read_within(affixes, own_names.get(column, column))) for column in columns)
    inner = {column: fold(affixes.within(column)) for column in columns}
    folded = {*map(fold, columns), *inner.values()}
    secret = secrets(columns)
    known = ((column, _elsewhere(hit, folded)) for column, hit in named if hit and column not in secret)
    hits = {column: hit for column, hit in known if _is_meant(column, hit, folded)}
    hits = {column: hit for column, hit in hits.items() if _is_placed(column, hit, inner, hits)}
    hits = _with_whole_roles(_with_role_of_noun(_with_registered(inner, hits)))  # type: ignore[assignment]
    hits = _with_levels(columns, inner, _without_ids(_with_one_role(hits)))  # type: ignore[assignment]
    hits = _with_words_beside(columns, _with_dates_first(_with_objects_first(hits)))  # type: ignore[assignment]
    return _with_bare_status(columns, _with_state_of_account(hits))


def _with_role_of_noun(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with a word such as `Postadres`, which by itself may be any address, as that of the role that
    it names where other columns have this role: `PostPostcode`.
    """
    roles = {hit.role for hit in hits.values() if hit.role in _ROLE_RANK and hit.field in ADDRESS}
    found = {}
    for column, hit in hits.items():
        if hit.field == "address_line1" and not hit.role:
            role = next((role for role in roles if hit.group.removeprefix(role) in _NOUNS), "")
            if role and hit.group.startswith(role):
                found[column] = hit._replace(role=role, rank=(_ROLE_RANK[role], *hit.rank[1:]))
    return {**hits} | found


def _with_one_role(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with one role where a table writes it in two orders or languages, `Fatturazione Città` beside
    `Indirizzo di fatturazione`, unless both have the same field."""
    of_roles: dict[str, set[str]] = {}
    for hit in hits.values():
        if hit.role and hit.field in ADDRESS:
            of_roles.setdefault(hit.role, set()).add(hit.field)
    one = {
        role: meant
        for role, fields in of_roles.items()
        if (meant := _ROLE_OF_WORD_BEHIND.get(role, role)) != role and fields.isdisjoint(of_roles.get(meant, fields))
    }
    return {column: hit._replace(role=one.get(hit.role, hit.role)) for column, hit in hits.items()} if one else hits


def _with_words_beside(columns: Sequence[str], hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with a word that only among the parts of one address is one of its parts: `Codice di
    fatturazione` and `Stato di fatturazione` beside the city and the country of the same address."""
    of_roles: dict[str, set[str]] = {}
    for hit in hits.values():
        if hit.role and hit.field in ADDRESS:
            of_roles.setdefault(hit.role, set()).add(hit.field)
    if not of_roles:
        return hits
    meant: dict[str, tuple[str, str]] = {}
    for column in columns:
        matched = _WORD_OF_ROLE.fullmatch(fold(column)) if column not in hits and len(column) <= LONGEST else None
        if matched is None:
            continue
        role = _ROLE_OF_WORD_BEHIND.get(matched["behind"] or matched["before"], "")
        field = "zip_code" if (matched["word"] or matched["second"]) != "stato" else "state"
        known = of_roles.get(role, set())
        needed = {"city", "country"} if field == "state" else {"city", "address_line1"}
        if needed <= known and field not in known:
            meant[column] = (field, role)
    beside = {column for column, hit in hits.items() if hit.field in ADDRESS} | meant.keys()
    found = {**hits}
    for at, column in enumerate(columns):
        if column in meant and beside.issuperset(columns[max(at - 1, 0) : at + 2]):
            field, role = meant[column]
            found[column] = _Hit(field, "code" if field == "zip_code" else "stato", (_ROLE_RANK[role], 0, 9), role)
    return {column: found[column] for column in columns if column in found}


_WORD_OF_ROLE: Final = re.compile(
    rf"(?P<word>stato|codice|codigo|code|kod)(?:de|del|di|da|do|du)?(?P<behind>{'|'.join(_ROLE_OF_WORD_BEHIND)})|"
    rf"(?P<before>{'|'.join(_ROLE_OF_WORD_BEHIND)})(?P<second>stato|codice|codigo|code|kod)"
)


def _with_dates_first(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with the time of day behind the date where a table has both: `CreateTime` beside
    `CreateDate`."""
    dates = {
        fold(column).removesuffix("date"): hit
        for column, hit in hits.items()
        if hit.field in _TIMES and fold(column).endswith("date")
    }
    of_day = {
        column: hit
        for column, hit in hits.items()
        if hit.field in _TIMES
        and fold(column).endswith("time")
        and (date := dates.get(fold(column).removesuffix("time"))) is not None
        and (date.field, date.rank) == (hit.field, hit.rank)
    }
    return {**hits} | {column: hit._replace(rank=(*hit.rank[:-1], hit.rank[-1] + 1)) for column, hit in of_day.items()}


def _with_objects_first(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with what stands in place of an object, such as the `false` of a `country` without one, behind
    the codes and names in the object: `country.code`."""
    parents = {
        parent
        for column, hit in hits.items()
        if hit.field in _OBJECTS
        and (parent := column.rpartition(".")[0]) in hits
        and (hits[parent].field, hits[parent].role) == (hit.field, hit.role)
    }
    behind = {
        column: hits[column]._replace(rank=(*hits[column].rank[:-1], hits[column].rank[-1] + 2 * _FAR_BEHIND))
        for column in parents
    }
    return {**hits} | behind if behind else hits


_OBJECTS: Final = frozenset({"country", "state", "currency", "language"})
_FAR_BEHIND: Final = 5


def _without_ids(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns without the ids in objects to which a record refers, where another column has the name:
    `pais.id` beside `pais.nombre`. The id of a place is never its name.
    """
    ids = {column for column, hit in hits.items() if hit.field in _NAMED and _is_id_of_reference(column)}
    named = {(hit.field, hit.role) for column, hit in hits.items() if column not in ids}
    return {
        column: hit
        for column, hit in hits.items()
        if column not in ids or ((hit.field, hit.role) not in named and hit.field not in ("state", "city"))
    }


def _with_levels(columns: Sequence[str], inner: Mapping[str, str], hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with the levels of places of a country as the state and the city: `Departamento`, `Provincia`
    and `Distrito` in Peru.
    """
    found: dict[str, dict[str, str]] = {}
    ranks: dict[str, int] = {}
    for column in columns:
        level = next((level for level in _LEVELS if level in inner[column]), None)
        if level is None or (column in hits and hits[column].group != level):
            continue
        # A level without a meaning of its own has the role that one with a meaning would have.
        hit = hits.get(column) or _read_folded(inner[column].replace(level, "provincia", 1))
        if hit and hit.field in ("state", "city"):
            found.setdefault(hit.role, {}).setdefault(level, column)
            ranks[hit.role] = hit.rank[0]
    changed = {**hits}
    for role, by_level in found.items():
        has_city = any(h.field == "city" and h.role == role and c not in by_level.values() for c, h in hits.items())
        for levels in LEVELS_OF_PLACES:
            if not by_level.keys() >= {*levels.all}:
                continue
            changed = {column: hit for column, hit in changed.items() if column not in by_level.values()}
            changed[by_level[levels.state]] = _Hit("state", levels.state, (ranks[role], 0, 1), role)
            if not has_city or levels.city in ("comuna", "municipio"):
                changed[by_level[levels.city]] = _Hit("city", levels.city, (ranks[role], 0, 1), role)
            break
    return {column: changed[column] for column in columns if column in changed}


_LEVELS: Final = tuple(sorted({level for levels in LEVELS_OF_PLACES for level in levels.all}, key=len, reverse=True))


def _with_whole_roles(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with the role in full where it is abbreviated, if there is only one of its kind."""
    short = {column: hit for column, hit in hits.items() if hit.role in ABBREVIATED_ROLES}
    whole = {
        rank: {hit.role for hit in hits.values() if hit.role and hit.rank[0] == rank} - ABBREVIATED_ROLES
        for rank in {hit.rank[0] for hit in short.values()}
    }
    return {**hits} | {
        column: hit._replace(role=next(iter(roles)))
        for column, hit in short.items()
        if len(roles := whole[hit.rank[0]]) == 1
    }


def _with_bare_status(columns: Sequence[str], hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with a word for a state or a status, such as `Stato`, as the status where another column is
    the state or country that it may mean."""
    if any(hit.field == "status" for hit in hits.values()):
        return hits
    groups = {hit.group for hit in hits.values() if hit.role == ""}
    bare = {column: BARE_STATES.get(fold(column), frozenset()) for column in columns if column not in hits}
    found = [column for column, beside in bare.items() if not beside.isdisjoint(groups)]
    return {**hits, found[0]: _Hit("status", "state", (0, 0, 9), "")} if len(found) == 1 else hits


def _with_state_of_account(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with `state` as the status where the address has another one inside: `state` beside
    `address.region`.
    """
    inside = {hit.field for column, hit in hits.items() if any(noun in fold(column) for noun in _NOUNS)}
    outside = {hit.field for column, hit in hits.items() if not any(noun in fold(column) for noun in _NOUNS)}
    bare = next((column for column in hits if fold(unwrapped(column)) == "state"), None)
    is_account = bare and {"state", "city"} <= inside and outside.isdisjoint({"city", "zip_code", "status"})
    return {**hits, bare: _Hit("status", "state", (0, 0, 9), "")} if bare and is_account else hits


def _elsewhere(hit: _Hit, folded: Collection[str]) -> _Hit:
    """Return the meaning of a word in the language of the other columns: `Kraj` is a country in Polish, and a part of
    one in Czech.
    """
    field, beside = header_labels.ELSEWHERE.get(hit.group, ("", frozenset()))
    return hit._replace(field=field, group=f"{hit.group} {field}") if not beside.isdisjoint(folded) else hit


def _is_meant(column: str, hit: _Hit, folded: Collection[str]) -> bool:
    """Return whether the other columns allow this meaning."""
    if hit.group == "cardid":  # the card of a contact (MYOB), unless there is a payment card
        return not any(_PAYMENT_CARD.fullmatch(name) for name in folded)
    if hit.group == "code" and hit.field == "zip_code":
        return any(f"{hit.role}{word}" in folded for word in ("city", "street", "state"))
    if hit.group in DEPARTMENTS and not (FUNCTIONS if "distrito" in folded else _WITHOUT_DEPARTMENTS).isdisjoint(
        folded
    ):
        return False
    if hit.group in _IDS_OF_COMPANIES:  # `accountId` beside the `id` of a person and the `accountName`
        is_reference = {"id", f"{_IDS_OF_COMPANIES[hit.group]}name"} <= {*folded}
        return not is_reference or _OF_PERSON.isdisjoint(folded)
    if hit.group == "alias":  # a nickname, or the label of an address
        return _OF_PERSON.isdisjoint(folded)
    if hit.field in (*ADDRESS, *REACHED_BY) and fold(column).startswith("contact"):
        # `contact_person`, `contact_mobile` beside the names of a person: somebody else
        return not ("contactperson" in folded and {"firstname", "lastname"} <= {*folded})
    if (
        (spellings := header_labels.SPELLINGS.get(hit.group))
        and column.strip().lower() not in spellings
        and column.isalpha()
    ):
        return False
    companions = _COMPANIONS.get(hit.group)
    if companions is None or any(noun in fold(column) for noun in _NOUNS):  # `Postadresse - sted`
        return True
    # `cli_cp` beside `cli_ville`, `CP facturation` beside `Ville facturation`
    return any(
        (other.endswith(name) or (hit.role and other.startswith(name)))
        if len(name) > 2
        else other in (name, hit.role + name)
        for name in companions.split()
        for other in folded
    )


def _is_placed(column: str, hit: _Hit, inner: Mapping[str, str], hits: Mapping[str, _Hit]) -> bool:
    """Return whether a word that has several meanings has this one among these columns and beside its neighbours.
    `inner` is column → its folded name without what all names share."""
    columns = list(inner)
    if hit.group == "st" and not _OF_DIRECTORY.isdisjoint(map(fold, columns)):
        return True
    if hit.group == "st":  # `St` may be a street, unless there are a street and a city
        return {"address_line1", "city"} <= {found.field for found in hits.values()}
    is_estado = hit.group == "estado" and not hit.role
    codes, numbers = hit.group in BARE_CODES, hit.group in BARE_NUMBERS
    if not (is_estado or ((codes or numbers) and hit.field == "external_id")):
        return True
    at = columns.index(column)
    fields = [hits[name].field if name in hits else "" for name in columns]
    behind = [field for field in fields[at + 1 : at + 3] if field not in _BESIDE_KEYS]  # `Code`, `Identifiant`, `Nom`
    beside = {*fields[max(at - 1, 0) : at], *behind[:1]}
    if is_estado:  # `Estado` is the status in Spanish tables that have a `Provincia`
        # The `Estado (envío)` of another address is the same word.
        states = [
            name
            for name in columns
            if name in hits and hits[name].field == "state" and not (hits[name].role and hits[name].group == "estado")
        ]
        is_one = len(states) == 1 or all(_NAME_OF.search(name) and "." in name for name in states)
        return not beside.isdisjoint(ADDRESS) and is_one
    if inner[column] in ("clave", "cve") and at > 0:  # it may be a password
        return False
    is_beside = "name" in beside and beside.isdisjoint(ADDRESS)
    if not {*fields[:at]}.intersection(ADDRESS):
        is_of_table = at == 0 and fold(column) != inner[column]  # `CT_Num`, the number of what the `CT_` stands for
        return is_beside and (codes or is_of_table or not OF_BOOKS.isdisjoint(fields))
    # Behind an address, a number may be that of the house: not far from it, and beside a tax number.
    around = {*fields[max(at - _FAR, 0) : at + _FAR + 1]}
    return numbers and is_beside and around.isdisjoint(ADDRESS) and "tax_id" in fields


def _with_registered(inner: Mapping[str, str], hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with an identifier among the numbers by which a company is registered as the tax number: the
    `Identifiant` between `APE` and `SIRET`."""
    columns = list(inner)
    found = [
        column
        for before, column, behind in zip(columns, columns[1:], columns[2:], strict=False)
        if inner[column] in IDENTIFIERS and column in hits and {inner[before], inner[behind]} <= REGISTERED
    ]
    if not found and not any(hit.field == "tax_id" for hit in hits.values()):
        names = ["", *inner.values(), ""]
        found = [
            column
            for column, before, name, behind in zip(columns, names, names[1:], names[2:], strict=False)
            if name in IDENTIFICATIONS and not TYPES_OF_IDENTIFICATION.isdisjoint((before, behind))
        ][:1]
    return {**hits} | {column: _Hit("tax_id", "identifier", (0, 0, 9), "") for column in found}


_FAR: Final = 2
_BESIDE_KEYS: Final = ("external_id", "status")
_IDS_OF_COMPANIES: Final = {
    f"{owner}{key}": owner for owner in ("account", "customer", "client") for key in ("id", "code")
}
_OF_PERSON: Final = frozenset({"firstname", "givenname"})
_OF_DIRECTORY: Final = frozenset({"cn", "dn", "samaccountname"})
_PAYMENT_CARD: Final = re.compile(r"card(?:last4|brand|exp.*|funding|type|number|fingerprint)")


REACHED_BY: Final = ("email", "phone")
"""Fields by which a customer is reached: if the first column is blank, a further one is used."""
_PLACE: Final = ("address_line1", "city", "zip_code")


def _best_address(hits: Iterable[_Hit]) -> str:
    """Return the role of the address to use: those with a street, city or postal code first, then by rank."""
    return next(iter(_addresses_in_order(hits)), "")


def _addresses_in_order(hits: Iterable[_Hit]) -> dict[str, bool]:
    """Return the roles of addresses, the preferred one first, with whether it has a street, city or postal code."""
    places: dict[str, list[_Hit]] = {}
    for hit in hits:
        if hit.field in ADDRESS:
            places.setdefault(hit.role, []).append(hit)
    are_places = {role: any(hit.field in _PLACE for hit in found) for role, found in places.items()}
    # `property_city` is that of a record's properties, `Property City` beside `Mailing City` that of a piece of land.
    # A `Preferred Address` alone beside a home and an office says which.
    of_several = sum(any(hit.field == "city" for hit in places[role]) for role in places if role) > 1
    choices = {
        role for role in places if of_several and role in _CHOICES and {hit.field for hit in places[role]} == _LINE_1
    }
    in_order = sorted(
        (role for role in places if role not in choices),
        key=lambda role: (not are_places[role], role == "property", _address_rank(role, places[role])),
    )
    return {role: are_places[role] for role in in_order}


_CHOICES: Final = word_set("preferred default primary main current communication")
_LINE_1: Final = frozenset({"address_line1"})


def _address_rank(role: str, hits: Iterable[_Hit]) -> tuple[int, ...]:
    """Return the rank of an address. A second one without a role is behind the main one: `Address 2 City` beside `Main
    Address City`.
    """
    rank = min(hit.rank for hit in hits)[:2]
    return (_ROLE_RANK["main"], rank[1]) if role.isdigit() and rank[1] > 1 else rank


def kinds_of_addresses(columns: Sequence[str]) -> dict[str, str]:
    """Return role of an address → the column that says what it is for: `Main Address Type`, `Address 2 - Label`."""
    within = shared_affixes(columns).within
    found: dict[str, str] = {}
    for column in columns:
        for name in dict.fromkeys((column, within(column))):
            folded = fold(unwrapped(name)) if len(name) <= LONGEST else ""
            matched = _KIND_OF_ADDRESS.fullmatch(folded) if any(noun in folded for noun in _NOUNS) else None
            hit = _read_folded(matched["of"] + "city") if matched else None
            if hit is not None and hit.field == "city":
                found.setdefault(hit.role, column)
    return found


_KIND_OF_ADDRESS: Final = re.compile(
    rf"(?P<of>.+?)(?:{'|'.join(_NOUNS)})?(?:type|kind|label|usage|use|purpose|role|typ|art|tipo)(?:code|name|value)?"
)


def _further_addresses(hits: Mapping[str, _Hit], address: str) -> dict[str, tuple[str, ...]]:
    """Return field → its columns in the addresses after the preferred one, that have a street, city or postal code."""
    found: dict[str, list[str]] = {}
    for role, is_place in _addresses_in_order(hits.values()).items():
        if role == address or not is_place:
            continue
        if address in MEMBERS and _ROLE_RANK.get(role) == _ROLE_RANK["business"]:
            continue  # `Organisatie plaats` beside `Lid plaats`
        for field in ADDRESS:
            ranked = sorted(
                (hit.rank, column) for column, hit in hits.items() if hit.field == field and hit.role == role
            )
            if ranked:
                found.setdefault(field, []).append(ranked[0][1])
    return {field: tuple(columns) for field, columns in found.items()}


def _joined_to_plain(hits: Mapping[str, _Hit]) -> Mapping[str, _Hit]:
    """Return the columns with a street that has a role (`Adresse de facturation`) as that of the city and postal code
    that have none, where there is no other street, city or postal code.
    """
    places = {(hit.role, hit.field) for hit in hits.values() if hit.field in _PLACE}
    lines = [role for role, field in places if field == "address_line1"]
    others = {role for role, field in places if field != "address_line1"}
    if len(lines) != 1 or others != {""}:
        return hits
    return {column: hit._replace(role="") if hit.role == lines[0] else hit for column, hit in hits.items()}


def _technical_id(groups: Collection[str]) -> str | None:
    """Return the id among the names of one customer's id and number: systems fill `Customer ID` in every record,
    whereas people may change the `Customer Number`.
    """
    parts = [_ID_OR_NUMBER.fullmatch(group) for group in groups]
    owners = {(part["of"] or part["owner"]).removesuffix("n") if part else "" for part in parts}
    ids = [part[0] for part in parts if part and "id" in (part["kind"], part["turned"])]
    return ids[0] if len(owners) == 1 and len(ids) == 1 else None


_ID_OR_NUMBER: Final = re.compile(
    "(?P<of>customer|client|account|kunden?|debitor(?:en)?|klant|asiakas)(?P<kind>id|n[or]|num(?:ber|mer)?|code|kode)|"
    "(?P<turned>id)(?P<owner>customer|client|kunden?|klant)"
)


_NUMBER_OF_CONTACT: Final = re.compile("(?:primary|main)?(?:contact|kontakt)(?:no|nr|num|number|nummer)")
_OF_GUEST: Final = re.compile("|".join(sorted(GUESTS)))


def _fit(field: str, hits: Mapping[str, _Hit], address: str) -> Fit:
    # Beside a telephone number, the number of a contact is a key.
    numbers = {column: hit for column, hit in hits.items() if not _NUMBER_OF_CONTACT.fullmatch(fold(column))}
    hits = numbers if field == "phone" and numbers else hits
    of_address = {column: hit for column, hit in hits.items() if hit.role == address} if field in ADDRESS else hits
    best = min(hit.rank for hit in (of_address or hits).values())
    groups: dict[str, list[str]] = {}
    for column, hit in hits.items():
        if hit.rank == best:
            groups.setdefault(hit.group, []).append(column)
    own = next(iter(groups)) if len(groups) == 1 else _technical_id(groups) if field == "external_id" else None
    if own is None and field == "phone":  # two numbers at work: the second one is used where the first is blank
        own = next(iter(groups))
    # A further number or role is neither a rival nor another meaning.
    others = tuple(
        column
        for column, hit in hits.items()
        if (field in ADDRESS or hit.rank[:2] in (best[:2], (0, 0))) and (hit.rank != best or hit.group != own)
    )
    # Names and addresses are built from several columns, which are chosen before anything is read.
    if own is None and not (field in ADDRESS or field.endswith("name")):
        # Systems write one value under several names (`User ID`, `Member ID`): reading shows whether they are equal.
        used, *rivals = (column for column, hit in hits.items() if hit.rank == best)
        if field == "tax_id":  # `MWST-Nummer` of customers in Switzerland, `USt-IdNr` of the others
            others = tuple(column for column in others if column not in (used, *rivals))
            return Fit(used, tuple(rivals), others, tuple(rivals))
        return Fit(used, tuple(rivals), tuple(column for column in others if column not in (used, *rivals)))
    if own is None:
        return Fit(None, (), others)
    # The field's own name first, regardless of the order.
    used, *rivals = sorted(groups[own], key=lambda column: fold(column) != fold(field))
    by_rank = sorted(
        (hit.rank, at, column)
        for at, (column, hit) in enumerate(hits.items())
        if hit.rank != best or (field == "phone" and hit.group != own)
    )
    further = tuple(column for *_, column in by_rank) if field in REACHED_BY else ()
    if field == "address_line2":  # the number of a flat beside a line of any content
        further = tuple(
            column for *_, column in by_rank if hits[column].role == address and hits[column].group in FLATS
        )
        others = tuple(column for column in others if column not in further)
    if not _OF_GUEST.match(fold(used)):  # `Attendee Email` beside `Buyer Email` is that of another person
        further = tuple(column for column in further if not _OF_GUEST.match(fold(column)))
    return Fit(used, tuple(rivals), others, further)
