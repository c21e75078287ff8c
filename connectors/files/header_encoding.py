"""The encoding of a text file that is neither UTF-8 nor Windows-1252, by the words of its header.

Bytes alone do not decide it: most of these encodings can read most texts, and make other words of them. In one of them
only, the header has names of columns that are known. Where several do, the records decide: the letters must be those of
one alphabet. If that does not decide either, the user is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from tranship.connectors.files.header_row import known_names

_ENCODINGS: Final = {
    "cp932": "Shift_JIS",
    "euc_jp": "EUC-JP",
    "gb18030": "GB18030",
    "big5": "Big5",
    "cp949": "EUC-KR",
    "cp1251": "Windows-1251",
    "koi8_r": "KOI8-R",
    "cp866": "IBM 866",
    "cp1250": "Windows-1250",
    "iso8859_2": "ISO 8859-2",
    "cp1254": "Windows-1254",
    "cp1257": "Windows-1257",
    "mac_roman": "Mac OS Roman",
    "cp850": "IBM 850",
}
_FURTHER_TITLES: Final = {
    "cp1252": "Windows-1252",
    "cp1253": "Windows-1253",
    "cp852": "IBM 852",
    "iso8859_5": "ISO 8859-5",
    "iso8859_7": "ISO 8859-7",
    "iso8859_15": "ISO 8859-15",
    "mac_latin2": "Mac OS Central European",
    "mac_cyrillic": "Mac OS Cyrillic",
}
"""Encoding → its name for people."""

_SIGNS: Final = "–—‘’‚“”„…•€§°·«»™®© №№・、。「」ー　"
_ALPHABETS: Final = (
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýžľĺŕôä",  # Czech and Slovak
    "áéíóöőúüű",  # Hungarian
    "čćđšž",  # Croatian, Slovene
    "ăâîșțşţ",  # Romanian
    "çğıiöşüâî",  # Turkish
    "äöüßéèà",  # German
    "àâæçéèêëîïôœùûüÿ",  # French
    "áéíñóúüªº¿¡",  # Spanish
    "àèéìíòóù",  # Italian
    "äöüàâæçéèêëîïôœùûìò",  # the languages of Switzerland
    "ãáâàçéêíõóôúü",  # Portuguese
    "åäöæøéü",  # Nordic
    "éëïóöüèáä",  # Dutch
    "āčēģīķļņšūžąęėįųõäöü",  # Baltic
)
_ROWS: Final = 10
_HEAD: Final = 1 << 16
_FIELDS: Final = re.compile(r"[;,\t|]")


def title(encoding: str) -> str:
    """Return the name of an encoding for people."""
    return {**_FURTHER_TITLES, **_ENCODINGS}.get(encoding, encoding.upper())


def known_words(head: bytes) -> dict[str, int]:
    """Return encoding → the number of known names in the header that are not ASCII, Windows-1252 included."""
    lines = head[:_HEAD].splitlines()[:_ROWS]
    return {
        encoding: max((_known_beyond_ascii(line.decode(encoding, "replace")) for line in lines), default=0)
        for encoding in ("cp1252", *_ENCODINGS)
    }


def by_header(head: bytes) -> str | None:
    """Return the only encoding in which the header has known words that are not ASCII; null if there is none, or
    several in which the text differs."""
    whole = head[: head.rfind(b"\n") + 1] or head
    sample = whole[: whole.rfind(b"\n", 0, _HEAD) + 1] or whole
    found: dict[str, tuple[int, str]] = {}
    for encoding in _ENCODINGS:
        try:
            whole.decode(encoding)
            text = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        if known := max(map(_known_beyond_ascii, text.splitlines()[:_ROWS]), default=0):
            found[encoding] = (known, text)
    of_one = {encoding: (known, text) for encoding, (known, text) in found.items() if _is_of_one_alphabet(text)}
    # Among customers of one country there are a few of others.
    nearly = {
        encoding: (known, text)
        for encoding, (known, text) in found.items()
        if known >= _FEWEST_WORDS and _is_of_one_alphabet(text, strangers=_STRANGERS)
    }
    chosen = of_one or nearly
    most = max((known for known, _ in chosen.values()), default=0)
    best = {encoding: text for encoding, (known, text) in chosen.items() if known == most}
    return next(iter(best)) if len({*best.values()}) == 1 else None


_FEWEST_WORDS: Final = 2
_STRANGERS: Final = 0.1


def _known_beyond_ascii(line: str) -> int:
    cells = [cell.strip().strip("\"'") for cell in _FIELDS.split(line)]
    return sum(known_names([cell]) for cell in cells if not cell.isascii())


def _is_of_one_alphabet(text: str, strangers: float = 0) -> bool:
    """Return whether all letters beyond ASCII belong to one alphabet and no word has a capital inside. In Latin script,
    a share of up to `strangers` of them may belong to other alphabets.
    """
    beyond = [char.lower() for char in text if not char.isascii() and char not in _SIGNS]
    if all(char < "Ͱ" for char in beyond):
        counts = Counter(beyond)
        allowed = strangers * len(beyond)
        is_text = not strangers or all(map(str.isalpha, counts))
        return is_text and any(
            sum(count for char, count in counts.items() if char not in alphabet) <= allowed for alphabet in _ALPHABETS
        )
    if all("Ѐ" <= char <= "ӿ" for char in beyond):
        return re.search("[а-яё][А-ЯЁ]", text) is None
    return all(char >= "⺀" for char in beyond)
