"""The rules of retention: how long runs, and the records in their files, are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from tranship.connectors.errors import ConfigError

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_AGE: Final = r"(\d{1,5})([hdw])"
FORMS: Final = {
    "keep": (_AGE, "an age such as 30d, 12h or 8w"),
    "keep_last": (r"\d{1,6}", "a number of runs"),
    "keep_failed": ("true|false", "true or false"),
    "values": (_AGE, "an age such as 7d, 12h or 8w"),
}
"""Rule → the form of its value, and the description in messages."""


class Rules(Struct, frozen=True):
    """A run is kept as long as `keep`, `keep_last` or `keep_failed` says so: it is younger, it is one of the last runs
    of its pipeline, or it failed. The files with records of all runs are removed after `values`.
    """

    keep: timedelta | None = None
    keep_last: int | None = None
    keep_failed: bool = False
    values: timedelta | None = None

    @property
    def remove_runs(self) -> bool:
        """Whether whole runs are removed, and not only their records."""
        return self.keep is not None or self.keep_last is not None


def rules_of(given: Mapping[str, str], command: str | None = None) -> Rules:
    """Return the rules as given in settings, or in options of a command; empty values are not given. Raises
    ConfigError.
    """
    texts = {name: text for name, text in given.items() if text}
    for name, text in texts.items():
        if (reason := fault(name, text)) is not None:
            if command:
                raise ConfigError(f"{command} --{name.replace('_', '-')} {text}: must be {FORMS[name][1]}.")
            raise ConfigError(f"[retention]: {reason}.")
    rules = Rules(
        keep=_age(texts["keep"]) if "keep" in texts else None,
        keep_last=int(texts["keep_last"]) if "keep_last" in texts else None,
        keep_failed=texts.get("keep_failed") == "true",
        values=_age(texts["values"]) if "values" in texts else None,
    )
    if not rules.remove_runs and rules.values is None:
        if command:
            raise ConfigError(f"{command}: nothing says what may go. Give --keep 30d, --keep-last 10 or --values 7d.")
        raise ConfigError("[retention]: nothing says what may go. Give keep (30d), keep_last (10) or values (7d).")
    return rules


def fault(name: str, text: Any) -> str | None:
    """Return what is wrong with a rule, null if nothing is."""
    if name not in FORMS:
        return f"{name!r} is not a rule of retention. Rules are {', '.join(FORMS)}"
    form, described = FORMS[name]
    return None if isinstance(text, str) and re.fullmatch(form, text) else f"{name} is {described}"


def _age(text: str) -> timedelta:
    return int(text[:-1]) * _UNITS[text[-1]]
