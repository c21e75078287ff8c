"""TOML files that users write, or may change: settings, corrections, and export profiles of their own."""

from __future__ import annotations

import json
import stat
import tomllib
import unicodedata
from pathlib import Path
from typing import Any, Final

from tranship.connectors import known_secrets
from tranship.connectors.errors import ConfigError
from tranship.schemas.visible import UNSEEN

_MOST_BYTES: Final = 10 << 20
"""Far more than a settings file has."""


def read(file: Path, name: str) -> dict[str, Any]:
    """Return the contents of a file, which messages call `name`. Raises ConfigError."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            # A pipe would be waited for, and a device may have no end.
            raise ConfigError(f"{name}: is a pipe or a device. Copy its contents to a file, and name that file.")
        if found.st_size > _MOST_BYTES:
            raise ConfigError(f"{name}: has {found.st_size >> 20:,} MB, which is too much for a file of settings.")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror}).") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: is not valid TOML: its values are nested too deeply.") from error
    except ValueError as error:  # invalid TOML or UTF-8, or a number with thousands of digits
        raise ConfigError(f"{name}: is not valid TOML: {known_secrets.safe_message(str(error))}") from error


def value(given: Any) -> str:
    """Return a text, a list or a boolean as TOML. Characters that an editor would not show, or that would change the
    order in which it shows others, are spelled out; the value that is read stays the same.
    """
    # JSON's strings, lists and booleans are valid TOML, except for DEL, which TOML requires escaped.
    text = json.dumps(given, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) not in UNSEEN or 0xD800 <= code < 0xE000:  # TOML knows no surrogates
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
