"""The encoding of a text with one byte for each character, by its letters and their neighbours.

Most of these encodings can read most texts: `Plzeň` in Windows-1250 is `Plzeò` in Windows-1252. Which letters a
language has, and between which others they are, tells them apart: no language has both an `ò` behind `ze` and an `ì`
before `t`. Where the words fit two encodings, the countries that the file names decide; if they do not, the user is
asked.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import log
from typing import Final

from msgspec import Struct

from tranship.schemas import codes

_PRIORS: Final = {
    "cp1252": 3.0,
    "cp1250": 0.0,
    "cp1251": 0.0,
    "cp1253": 0.0,
    "cp1254": 0.0,
    "cp1257": 0.0,
    "iso8859_2": -1.0,
    "iso8859_7": -1.0,
    "iso8859_15": -2.0,
    "mac_roman": -2.0,
    "cp850": -2.0,
    "koi8_r": -2.0,
    "cp866": -2.0,
    "cp852": -3.0,
    "mac_latin2": -6.0,
    "mac_cyrillic": -4.0,
    "iso8859_5": -4.0,
}
"""Encoding → how frequent it is, as a logarithm."""

_OF_LANGUAGE: Final[dict[str, str]] = {
    "cs": "CZ",
    "sk": "SK",
    "pl": "PL",
    "hu": "HU",
    "hr": "HR BA",
    "sl": "SI",
    "ro": "RO MD",
    "tr": "TR CY",
    "lt": "LT",
    "lv": "LV",
    "et": "EE",
    "sq": "AL XK",
    "de": "DE AT CH LI",
    "fr": "FR BE CH LU CA",
    "es": "ES MX AR CL CO PE",
    "ca": "ES AD",
    "it": "IT CH SM",
    "pt": "PT BR",
    "nl": "NL BE",
    "sv": "SE FI",
    "da": "DK",
    "nb": "NO",
    "fi": "FI",
    "is": "IS",
    "ga": "IE",
    "ru": "RU BY KZ",
    "uk": "UA",
    "bg": "BG",
    "sr": "RS ME",
    "el": "GR CY",
}
"""Language → countries in which it is spoken."""

_MOST_WORDS: Final = 250
_HEAD: Final = 1 << 18
_STRANGE: Final = log(0.02)
"""A word of another language than that of the file; the square of it where all hints are at that language."""
_EVIDENCE: Final = 8.0
_SURE: Final = log(200)
_VERY_SURE: Final = 10.0
_LIKELY: Final = 3.0
_OF_HEADER: Final = 6.0
_FEWEST_WORDS: Final = 4
_FEW_WORDS: Final = 40
_FAR: Final = 80.0
_PLAUSIBLE: Final = -8.5
"""The mean logarithm of the probability of a letter in a text of any of the languages, at least."""
_UNKNOWN: Final = log(1e-4)
_CONTEXTS: Final = 30
_RARE: Final = log(0.008)
_SIGN: Final = -9.0
_STRAY: Final = -22.0
_DAMAGE: Final = -25.0
_OPENING: Final = frozenset("‘‚“„«¿¡©§£€№\xa0")
_CLOSING: Final = frozenset("’”“»…™®°²³€\xa0")
_ORDINALS: Final = "ªº"
_BETWEEN: Final = frozenset("–—•·\xa0")
_WORD: Final = re.compile(rb"[\w'\x80-\xff]*[\x80-\xff][\w'\x80-\xff]*")


class Reading(Struct, frozen=True):
    """The encoding of a text, null if it is not certain enough. `rivals` are the encodings that fit nearly as well, it
    among them, each with a word as it is read in it.
    """

    encoding: str | None
    rivals: tuple[tuple[str, str], ...] = ()


def read(head: bytes, known: Mapping[str, int], *, is_western: bool) -> Reading:
    """Return the encoding of a text that is not UTF-8. `known` is encoding → the number of known names in its header
    that are not ASCII. Unless the text `is_western`, which means that it looks like words in Windows-1252, more is
    demanded: its alphabet may be none of those known here.
    """
    head = head[:_HEAD]
    listed = _words(head)
    near = _near(head)
    priors = {encoding: prior + _OF_HEADER * known.get(encoding, 0) for encoding, prior in _PRIORS.items()}
    few = _in_order(listed[:_FEW_WORDS], priors, near)
    nearest = {encoding: priors[encoding] for score, *_, alike in few if score > few[0][0] - _FAR for encoding in alike}
    best, *others = _in_order(listed, nearest, near) if len(listed) > _FEW_WORDS else few
    margin = best[0] - others[0][0] if others else _FAR
    if not is_western:
        is_sure = len(listed) >= _FEWEST_WORDS and margin >= _VERY_SURE and best[2] >= _PLAUSIBLE
        return Reading(best[1] if is_sure else None)
    if margin >= _SURE:
        return Reading(best[1])
    rivals = [best[1], *(encoding for score, encoding, *_ in others if best[0] - score < _SURE)][:3]
    read_as = {encoding: [word.decode(encoding, "replace") for word in listed] for encoding in rivals}
    at = next(i for i in range(len(listed)) if len({_letters(read_as[encoding][i]) for encoding in rivals[:2]}) > 1)
    is_likely = best[1] == "cp1252" and margin >= _LIKELY
    return Reading(best[1] if is_likely else None, tuple((encoding, read_as[encoding][at]) for encoding in rivals))


def _words(head: bytes) -> list[bytes]:
    """Return the most frequent words that are not ASCII, and one word for each further byte beyond it."""
    words = [word for word, _ in Counter(_WORD.findall(head)).most_common()]
    listed = words[:_MOST_WORDS]
    seen = {*b"".join(listed)}
    for word in words[_MOST_WORDS:]:
        if not seen.issuperset(word):
            seen.update(word)
            listed.append(word)
    return listed


def _in_order(
    listed: Sequence[bytes], priors: Mapping[str, float], near: Mapping[str, float]
) -> list[tuple[float, str, float, list[str]]]:
    """Return the different readings, the most likely first: its likelihood, the encoding, the mean of a letter, and all
    encodings with this reading.
    """
    found: dict[tuple[str, ...], tuple[float, str, float, list[str]]] = {}
    for encoding, prior in sorted(priors.items(), key=lambda item: -item[1]):
        words = [word.decode(encoding, "replace") for word in listed]
        key = tuple(map(_letters, words))
        if key in found:  # the same text, in the more frequent encoding
            found[key][3].append(encoding)
        else:
            likely, mean = _likelihood(words, near)
            found[key] = (likely + prior, encoding, mean, [encoding])
    return sorted(found.values(), reverse=True)


def _letters(word: str) -> str:
    """Return a word without signs around it."""
    return "".join(char for char in word if char.isalpha())


def _near(head: bytes) -> dict[str, float]:
    """Return language → its share of the hints in the text: codes of countries, ends of addresses, telephone numbers,
    and words without accents that occur in lists of customers.
    """
    text = head.decode("ascii", "replace")
    known = codes.country_codes()
    of_country = Counter(code.upper() for code in _HOST.findall(text))
    of_country.update(calling for number in _CALLING.findall(text) if (calling := _country_of(number)))
    of_country.update(code for code in _CODE.findall(text) if code in known)
    found = {
        language: sum(min(of_country[code], _MOST_HINTS) for code in countries.split())
        for language, countries in _OF_LANGUAGE.items()
    }
    for word, count in Counter(_PLAIN_WORD.findall(text.lower())).items():
        for language in _languages_of().get(word, ()):
            found[language] += min(count, _MOST_HINTS)
    total = sum(min(count, _MOST_HINTS) for code, count in of_country.items() if code in known)
    total = max(total, *found.values())
    return {language: hints / total for language, hints in found.items()} if total else {}


_MOST_HINTS: Final = 100
_PLAIN_WORD: Final = re.compile(r"[a-z]{2,}")
_WORDS: Final[dict[str, str]] = {
    "cs": "nazev jmeno prijmeni ulice mesto psc dic ico sro zeme",
    "sk": "nazov priezvisko ulica mesto psc dic ico sro ulice namestie",
    "pl": "nazwa imie nazwisko ulica miasto pocztowy nip regon kraj wojewodztwo spzoo sp ul",
    "hu": "nev varos utca cim kft bt zrt ut tere iranyitoszam",
    "hr": "naziv ime prezime ulica grad mjesto doo oib",
    "sl": "naziv ime priimek ulica mesto kraj cesta doo",
    "ro": "nume prenume oras judet strada adresa srl",
    "tr": "ad soyad sehir ulke adres ltd sti cad sok mah unvan",
    "lt": "vardas pavarde miestas gatve uab imones",
    "lv": "vards uzvards iela pilseta sia",
    "et": "nimi perekonnanimi linn maakond tanav tee",
    "de": "strasse ort plz land gmbh vorname nachname firma kunde weg platz",
    "fr": "nom prenom rue ville adresse pays sarl sas avenue societe",
    "es": "nombre apellidos calle ciudad direccion provincia poblacion pais avenida",
    "ca": "nom cognoms carrer ciutat adressa",
    "it": "nome cognome via indirizzo citta cap provincia comune srl spa piazza ragione sociale",
    "pt": "nome rua cidade endereco bairro estado cep cliente ltda lda concelho avenida morada",
    "nl": "naam voornaam achternaam straat plaats adres woonplaats land bv nv klant straat",
    "sv": "namn fornamn efternamn adress ort postnr gatan vagen ab kund",
    "da": "navn adresse postnr by aps kunde vej gade",
    "nb": "navn adresse postnr poststed kunde vei gate as",
    "fi": "nimi osoite kaupunki postinumero oy asiakas katu",
    "is": "nafn heimili ehf kennitala",
}
"""Language → words without accents."""


@cache
def _languages_of() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for language, words in _WORDS.items():
        for word in set(words.split()):
            found.setdefault(word, []).append(language)
    return found


_HOST: Final = re.compile(r"(?<=\w\.)[a-z]{2}(?=[\"'/;,\t|>\s]|\Z)")
_CALLING: Final = re.compile(r"(?:\+|\b00)(?=[1-9])([\d ]{1,4})")
_CODE: Final = re.compile(r"(?<=[;,\t|\":])[A-Z]{2}(?=[\";,\t|\r\n]|[\dU]\d{7})")


@cache
def _callings() -> dict[str, str]:
    regions = codes.phone_regions()
    found: dict[str, str] = {}
    for country, calling in zip(regions["country"], regions["calling_code"], strict=True):
        found[str(calling)] = country if str(calling) not in found else ""
    return found


def _country_of(digits: str) -> str:
    digits = digits.replace(" ", "")
    return next((found for size in (3, 2, 1) if (found := _callings().get(digits[:size]))), "")


def _likelihood(words: Sequence[str], near: Mapping[str, float]) -> tuple[float, float]:
    """Return the logarithm of the probability of these words in the language that fits best, with a few words of
    others, and its mean for one letter.
    """
    shared = [_signs(word) for word in words]
    of_each = {language: [_in_language(word, language) for word in words] for language in _OF_LANGUAGE}
    best_of_word = [max(column) for column in zip(*of_each.values(), strict=True)]
    likely = max(
        sum(max(own, best + _STRANGE * (1 + hint)) for own, best in zip(of_language, best_of_word, strict=True))
        + _EVIDENCE * hint
        for language, of_language in of_each.items()
        for hint in (near.get(language, 0),)
    )
    letters = sum(not char.isascii() for word in words for char in word)
    whole = likely + sum(shared)
    return whole, whole / max(1, letters)


def _in_language(word: str, language: str) -> float:
    """Return the logarithm of the probability of the letters of a word beyond ASCII, each with its neighbours."""
    table, lower = _table(language), f"_{word.lower()}_"
    found = 0.0
    for at, char in enumerate(lower):
        if char.isascii() or not char.isalpha() or char in _ORDINALS:
            continue
        if letter := table.get(char):
            before, after = lower[at - 1], lower[at + 1 : at + 2] or "_"
            found += letter.share
            found += letter.before.get(before if before.isalpha() else "_", letter.rare)
            found += letter.after.get(after if after.isalpha() else "_", letter.rare)
        else:
            found += _UNKNOWN - 2 * log(_CONTEXTS)
    return found


def _signs(word: str) -> float:
    """Return the logarithm of the probability of the signs and capitals of a word."""
    found = 0.0
    for at, char in enumerate(word):
        if char.isascii():
            continue
        before, after = word[at - 1 : at] if at else "", word[at + 1 : at + 2]
        if not char.isalpha() or char in _ORDINALS:
            found += _sign(char, before, after)
            continue
        if before.isdigit() or after.isdigit():
            found += log(1e-3)
        if char.isupper() and before.islower():
            found += log(1e-4)
        elif char.islower() and before.isupper() and after.isupper():
            found += log(1e-2)
        if any(near.isalpha() and _script(near) != _script(char) for near in (before, after)):
            found += log(1e-6)
    return found


def _sign(char: str, before: str, after: str) -> float:
    if char == "\ufffd" or unicodedata.category(char)[0] == "C":
        return _DAMAGE
    in_front, behind = after.isalnum(), before.isalnum()
    if char in _ORDINALS:  # `Mª José`, `nº`, `1º`
        return _SIGN / 2 if (before.isdigit() or before in ("M", "N", "D", "n")) and not in_front else _STRAY
    if char in "£€§" and after.isdigit():
        return _SIGN / 2
    if char in "’'" and in_front:  # `O’Brien`, `’t Hof`
        return _SIGN
    if char == "·":
        return _SIGN if before in ("l", "L") and after in ("l", "L") else _STRAY
    if (not in_front and char in _CLOSING) or (not behind and char in _OPENING):
        return _SIGN
    return _SIGN if char in _BETWEEN and in_front == behind and not after.islower() else _STRAY


def _script(char: str) -> int:
    return 0 if char < "Ͱ" else 1 if char < "Ѐ" else 2


class _Letter(Struct, frozen=True):
    share: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    rare: float


@cache
def _table(language: str) -> dict[str, _Letter]:
    rows = codes.letters().rows_by_key("language").get(language, [])
    total = sum(count for _, count, *_ in rows)
    found = {}
    for letter, count, before, after in rows:
        whole = count + _CONTEXTS / 2
        parts = [
            {char: log((int(number) + 0.5) / whole) for char, number in _COUNTED.findall(spelled)}
            for spelled in (before, after)
        ]
        found[letter] = _Letter(log(count / (total + 10)), parts[0], parts[1], max(log(0.5 / whole), _RARE))
    return found


_COUNTED: Final = re.compile(r"(\D)(\d+)")
