"""The secrets known to this process, and their removal from the messages of other systems. They are the values of
environment variables whose names mark them as secrets, the passwords in addresses of the environment, and the keys and
passwords of the run, which are passed to `learn` and `learn_address`. A secret is also recognised in other spellings
(percent-encoded, escaped, hexadecimal, base64), and so is each part of ten characters or more.
"""

from __future__ import annotations

import base64
import html
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

from tranship.connectors.addresses import secrets_in
from tranship.schemas.visible import UNSEEN

HIDDEN: Final = "***"
_PART: Final = 10
"""The shortest part of a secret that is recognised."""
_SHORTEST: Final = 4
"""Shorter secrets are not searched for: they occur in ordinary words."""
_SHORTEST_OF_ENVIRONMENT: Final = 8
"""The same for variables recognised only by their names, such as `TOKEN_LIMIT=5000`."""
_LONGEST_MESSAGE: Final = 200
_LONGEST_READ: Final = 20_000
_LONG_BODY: Final = 1 << 15
"""Bytes of a body that is searched by a regular expression."""

_VARIABLE: Final = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|CREDENTIALS?|BEARER)S?(?:_|$)", re.IGNORECASE
)
_PASSWORD_VARIABLES: Final = ("PGPASSWORD",)
_APART: Final = r"\s\"'<>(),;:\[\]{}\\"
_EMAIL: Final = re.compile(rf"(?<![^{_APART}])[^{_APART}]+(?:@|%(?:25)*40|&#64;|&commat;|\\u0040)[\w.%-]+")
"""It is looked for from the beginning of a word only: from each character, a long word would take a minute."""
_UNIT: Final = re.compile(
    r"%(?:25)*([0-9A-Fa-f]{2})|(&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);)|\\u00([0-9a-fA-F]{2})|\\?(.)", re.DOTALL
)
"""One character, however it is escaped in a URL, in HTML or in JSON."""

_learned: set[str] = set()


def learn(*secrets: str) -> None:
    """Add secrets: keys and passwords that the process uses from now on."""
    _learned.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def learn_address(address: str) -> None:
    """Add the password and the keys in an address."""
    learn(*secrets_in(address))


def without_secrets(text: str) -> str:
    """Return a text in which every known secret, and each part of one, is replaced by `***`."""
    wanted = _spelled(frozenset(_learned | set(_of_environment(os.environ))))
    marks = _marks(text, wanted) if wanted else bytearray()
    return _replaced(text, marks) if any(marks) else text


def safe_message(text: str) -> str:
    """Return a message of another system in a form that may be kept: without secrets, e-mail addresses and control
    characters, on one line, in at most 200 characters.
    """
    plain = "".join(" " if unicodedata.category(c) in UNSEEN else c for c in without_secrets(text[:_LONGEST_READ]))
    line = " ".join(re.sub(_EMAIL, HIDDEN, plain).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"


class KeyFilter:
    """Removes one key from the bodies of responses, fast where they do not contain it.

    A key in one piece is found, in every spelling; a key in several pieces is left to `safe_message`, through which all
    messages pass.
    """

    def __init__(self, key: str) -> None:
        forms = [form.encode() for form in _forms(key)] if len(key) >= _SHORTEST else []
        self._needles = tuple({_needle(form) for form in forms})
        self._any_needle = "|".join(re.escape(needle.decode(errors="ignore")) for needle in self._needles)
        self._wanted = _spelled(frozenset([key])) if forms else {}
        self._longest = 6 * max(map(len, forms), default=0)  # each character may be escaped, as in \u0041

    def clean(self, body: bytes) -> bytes:
        """Return a complete body without the key."""
        return self._cleaned(body) if self._occurs_in(body) else body

    def split(self, body: bytes) -> tuple[bytes, bytes]:
        """Return the beginning of a body without the key, and the rest, which the next chunk may complete to a key."""
        cut = max(0, len(body) - self._longest)
        if not self._occurs_in(body):
            return body[:cut], body[cut:]
        marks = _marks(body.decode("latin-1"), self._wanted)
        while 0 < cut < len(body) and marks[cut - 1] and marks[cut]:
            cut -= 1
        return self._cleaned(body[:cut]), body[cut:]

    def _occurs_in(self, body: bytes) -> bool:
        if len(body) >= _LONG_BODY and self._needles:
            import polars as pl

            # One search for all needles takes a third of the time, without the interpreter's lock.
            with suppress(pl.exceptions.PolarsError):  # the body is not text
                text = pl.Series([body], dtype=pl.Binary).cast(pl.String)
                return bool(text.str.contains(self._any_needle).item())
        return any(needle in body for needle in self._needles)

    def _cleaned(self, body: bytes) -> bytes:
        text = body.decode("latin-1")
        return _replaced(text, _marks(text, self._wanted)).encode("latin-1")

    def chunks(self) -> FilteredChunks:
        """Return a filter that removes the key from a body that arrives in chunks."""
        return FilteredChunks(self)


class FilteredChunks:
    """A body that arrives in chunks, without the key. The last bytes of a chunk are withheld until the next one."""

    def __init__(self, key_filter: KeyFilter) -> None:
        self._filter, self._tail = key_filter, b""

    def next(self, chunk: bytes) -> bytes:
        """Return the next piece of the body."""
        piece, self._tail = self._filter.split(self._tail + chunk)
        return piece

    def rest(self) -> bytes:
        """Return the withheld bytes."""
        return self._filter.clean(self._tail)


# Where secrets come from ----------------------------------------------------------------------------------------------


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "://" in value and "@" in value:
            yield from (secret for secret in secrets_in(value) if len(secret) >= _SHORTEST)
        shortest = _SHORTEST if name in _PASSWORD_VARIABLES else _SHORTEST_OF_ENVIRONMENT
        # The path of a file of keys is not a secret, and messages name it.
        if len(value) >= shortest and _VARIABLE.search(name) and not _is_path(value):
            yield value


@lru_cache(maxsize=64)
def _is_path(value: str) -> bool:
    return ("/" in value or "~" in value) and "\0" not in value and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111  (any text)


# How secrets are spelled ----------------------------------------------------------------------------------------------


def _forms(secret: str) -> list[str]:
    """Return the spellings of a secret, except those that `_UNIT` covers."""
    data = secret.encode()
    found = [secret, secret.lower(), quote(secret, safe=""), quote_plus(secret), data.hex(), data.hex().upper()]
    for before in range(3):
        # Its base64 depends on how many bytes precede it; characters that also depend on its neighbours are cut off.
        encoded = base64.b64encode(b"\0" * before + data)
        inner = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6].decode()
        found += [inner, inner.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))


@lru_cache(maxsize=16)
def _spelled(secrets: frozenset[str]) -> dict[int, frozenset[str]]:
    """Return length → texts of that length to search for: whole short secrets, and all parts of long ones."""
    found: dict[int, set[str]] = {}
    for form in (form for secret in secrets for form in _forms(secret)):
        size = min(len(form), _PART)
        found.setdefault(size, set()).update(form[at : at + size] for at in range(len(form) - size + 1))
    return {size: frozenset(texts) for size, texts in found.items() if size >= _SHORTEST}


def _marks(text: str, wanted: Mapping[int, frozenset[str]]) -> bytearray:
    """Return one byte for each character, 1 where it belongs to a secret, plain or escaped."""
    marks = bytearray(len(text))
    for start, end in _found(text, wanted):
        marks[start:end] = b"\1" * (end - start)
    if "%" in text or "&" in text or "\\" in text:
        units = list(_UNIT.finditer(text))
        for start, end in _found("".join(map(_unescaped, units)), wanted):
            first, last = units[start].start(), units[end - 1].end()
            marks[first:last] = b"\1" * (last - first)
    return marks


def _found(text: str, wanted: Mapping[int, frozenset[str]]) -> Iterator[tuple[int, int]]:
    for size, texts in wanted.items():
        for at in range(len(text) - size + 1):
            if text[at : at + size] in texts:
                yield at, at + size


def _unescaped(unit: re.Match[str]) -> str:
    hexadecimal = unit[1] or unit[3]
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    return html.unescape(unit[2])[:1] or "?" if unit[2] else unit[4]


def _replaced(text: str, marks: bytearray) -> str:
    return "".join(_pieces(text, marks))


def _pieces(text: str, marks: bytearray) -> Iterable[str]:
    at = 0
    for hidden in re.finditer(b"\1+", bytes(marks)):
        yield text[at : hidden.start()] + HIDDEN
        at = hidden.end()
    yield text[at:]


_SHORTEST_NEEDLE: Final = 6
_COMMON: Final = b" \"',:;.{}[]-/\\etaoinsrhldcum0123456789"


def _needle(form: bytes) -> bytes:
    """Return the piece of a spelling that is searched for first: one that no escaping changes, as long as possible,
    and that ends with a byte that is rare in JSON. The speed of the search depends on both.
    """
    plain = max(re.findall(rb"[A-Za-z0-9_.~-]+", form), key=len, default=form)
    piece = plain if len(plain) >= _SHORTEST_NEEDLE else form
    rare = [end for end in range(min(_SHORTEST_NEEDLE, len(piece)), len(piece) + 1) if piece[end - 1] not in _COMMON]
    return piece[: max(rare, default=len(piece))]
