"""Names of settings as options of commands and as variables of the environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tranship.connectors import suggestions

ENVIRONMENT_PREFIX: Final = "TRANSHIP_"

_OPTIONS: Final = {"fields": "map", "values": "value", "defaults": "default", "options": "option", "columns": "column"}


def option(name: str) -> str:
    """Return the option of a setting, without the dashes: max-rejects."""
    return _OPTIONS.get(name, name.replace("_", "-"))


def variable(name: str) -> str:
    """Return the environment variable of a setting: TRANSHIP_MAX_REJECTS."""
    return ENVIRONMENT_PREFIX + name.upper()


def unknown(given: str, known: Iterable[str]) -> str:
    """Return the message about an option that a command does not have, with the one that is spelled almost the same."""
    near = suggestions.did_you_mean(f"'{name}'" for name in suggestions.similar(given, known))
    return f"No such option '{given}'. {near}".rstrip()
