"""Text as a terminal or a log may show it: control characters and invisible ones are spelled out."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

UNSEEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that control a terminal, break a line, change the direction of text, or are invisible."""

_PASSWORD: Final = re.compile(
    # Its length is limited, so that the time is linear: a match may begin anywhere in a word, as in `--https://…`.
    r"([A-Za-z][A-Za-z0-9+.-]{0,40}:/{1,2}[^\s:/@\['\"]*):(?!password@|\d{1,5}[/?#])[^\s'\"]{1,1000}@"
)
"""In an address, but not a port, and not the example in messages. An address shown as a path has one slash."""
SECRET_OPTION: Final = re.compile(
    r"([?&#;](?!sslkey)[\w.-]{0,60}?(?:pass|pwd|secret|token|key|sig|credential)[\w.-]{0,60}=)(?!\*\*\*)[^\s&'\"]+",
    re.IGNORECASE,
)
"""An option of an address whose name marks it as a secret. `sslkey` is the path of a file."""


def shown(text: str) -> str:
    """Return a message on one line, as `visible` shows it, with `***` for passwords and keys of addresses in it.

    Addresses are redacted where they belong; this is for those that were given as something else.
    """
    text = _PASSWORD.sub(r"\1:***@", text) if "@" in text else text
    return visible(SECRET_OPTION.sub(r"\1***", text) if "://" in text and "=" in text else text)


def visible(text: str) -> str:
    """Return a text on one line, with such characters as `\\n`, `\\x1b` or `\\u202e`. Idempotent."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def visible_lines(text: str) -> str:
    """Return a text of several lines, each as `visible` shows it; the line breaks stay."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    """Return JSON of the same meaning, without such characters; the line breaks between its values stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(character if character == "\n" else _escaped(character) for character in text)


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN:
        return character
    return ascii(character)[1:-1]


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN:
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
