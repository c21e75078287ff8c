"""Names of settings as options of commands and as variables of the environment."""

from __future__ import annotations

from typing import Final

ENVIRONMENT_PREFIX: Final = "TRANSHIP_"

_OPTIONS: Final = {"fields": "map", "values": "value", "defaults": "default", "options": "option", "columns": "column"}


def option(name: str) -> str:
    """Return the option of a setting, without the dashes: max-rejects."""
    return _OPTIONS.get(name, name.replace("_", "-"))


def variable(name: str) -> str:
    """Return the environment variable of a setting: TRANSHIP_MAX_REJECTS."""
    return ENVIRONMENT_PREFIX + name.upper()
