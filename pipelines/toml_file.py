"""TOML files that users write: settings, and export profiles of their own."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from tranship.connectors import known_secrets
from tranship.connectors.errors import ConfigError

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
