"""Keys and passwords that are recognised by their form alone, wherever they were put by mistake.

A key belongs in an environment variable. As an argument it is seen in the list of processes, and in a settings file it
is committed with it; such a key is refused without being repeated. So is an address with a password where no address
belongs: the parts into which another setting is split could not be recognised later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final

from tranship.connectors.errors import ConfigError
from tranship.schemas.visible import SECRET_OPTION

_SHAPE: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[a-z_]{0,4}[a-z]k_(?:live|test|prod)_[A-Za-z0-9_.-]{8,}"  # sk_live_…, mf_sk_test_…
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"  # a JSON web token
    r"|AKIA[A-Z0-9]{16}"
    r"|gh[a-z]_[A-Za-z0-9]{30,}"
    r"|(?i:AGE-SECRET-KEY-)[A-Za-z0-9-]{8,}"
    r"|Bearer\s+[A-Za-z0-9_.~+/=-]{16,}"
    r")"
)
_WHOLE: Final = re.compile(r"(?:[\w.-]+=)?(?=[a-fA-F]*\d)(?=\d*[a-fA-F])(?:[0-9a-f]{40,}|[0-9A-F]{40,})")
"""A text of nothing but hexadecimal digits and letters, or such a value of a name, is a key, too."""
_VARIABLE: Final = re.compile(r"_(?:KEY|TOKEN)$")
_LONG: Final = 16
"""Shorter values may be ordinary words."""
_PASSWORD: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{0,40}:/{1,2}[^\s:/@\[?#'\"]*:(?!\d{1,5}(?:[/?#\s'\"]|$))(?!password@|\s)[^@]{1,1000}@",
    re.DOTALL,
)
"""In an address anywhere in a text. The password may contain anything; a port is none, and neither is the example in
messages."""
_ADVICE: Final = (
    "Keys belong in environment variables, such as METRONOME_BEARER_TOKEN or MF_API_SECRET_KEY; `tranship connectors` "
    "lists them. Others may have seen this one: replace it."
)


def is_key(text: str) -> bool:
    """Return whether a text that is not a URL contains a key. The places of keys in URLs have rules of their own."""
    return "://" not in text and bool(_SHAPE.search(text) or _WHOLE.fullmatch(text))


def refuse(text: str, where: str, *, is_address: bool = False) -> None:
    """Raise ConfigError if a text contains a key or, unless it `is_address`, an address with a password or a key;
    `where` says what was given.
    """
    if "age-secret-key-" in text.lower():
        raise ConfigError(
            f"{where}: this seems to be the secret key of age. Give its public key, which begins with age1; commands "
            "that need the secret one take its file: --identity FILE. Others may have seen this one: replace it."
        )
    if is_key(text):
        raise ConfigError(f"{where}: this seems to be a key. {_ADVICE}")
    if not is_address and (has_password(text) or _has_key(text)):
        raise ConfigError(
            f"{where}: contains an address with a password or a key, and takes none. Others may have seen it: replace "
            "it. Addresses are given as source or destination; passwords belong in PGPASSWORD or ~/.pgpass, keys in "
            "variables such as METRONOME_BEARER_TOKEN."
        )


def has_password(text: str) -> bool:
    """Return whether a text contains an address with a password."""
    return "@" in text and bool(_PASSWORD.search(text))


def _has_key(text: str) -> bool:
    """Return whether a text contains an address with a key, by its form or as the value of an option such as
    `token`."""
    return "://" in text and bool(_SHAPE.search(text) or SECRET_OPTION.search(text))


def refuse_known(text: str, environment: Mapping[str, str], where: str) -> None:
    """Raise ConfigError if a text that is not a URL contains the key of a provider, as the environment has it."""
    if "://" in text:
        return
    for variable, key in environment.items():
        if len(key) >= _LONG and "/" not in key and key in text and _VARIABLE.search(variable):
            raise ConfigError(f"{where}: contains the value of {variable}. {_ADVICE}")


def refuse_in(value: object, where: str, *, is_address: bool = False) -> None:
    """Do the same for a value and everything in it."""
    for text in texts_in(value):
        refuse(text, where, is_address=is_address)


def texts_in(value: object) -> Iterator[str]:
    """Yield a value that is text, or every text in a table, list or set, including the names of a table."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts_in(name)
            yield from texts_in(inner)
    elif isinstance(value, Sequence | Set):
        for inner in value:
            yield from texts_in(inner)
