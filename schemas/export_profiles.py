"""Export profiles: the meaning of the columns and words of a known system, and the headers by which its exports are
recognised.

A profile is a file in exports/: a part of a settings file (`[fields]`, `[values.status]`, …) and a table `[recognise]`
with its name, its source and the headers by which it is recognised. `exports/index.json`, which `exports/build.py`
writes, has the headers of all profiles, so that recognising a file reads no more than that.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

_FOLDER: Final = files("tranship.schemas") / "exports"


class Known(NamedTuple):
    """A profile in the index: its title, and sets of headers. A file with all of one set is recognised."""

    title: str
    headers: tuple[frozenset[str], ...]


@cache
def index() -> Mapping[str, Known]:
    """Return name → profile, in the order of names."""
    listed = json.loads((_FOLDER / "index.json").read_text(encoding="utf-8"))
    return {
        name: Known(entry["title"], tuple(frozenset(headers) for headers in entry["headers"]))
        for name, entry in listed.items()
    }


def recognise(columns: Collection[str]) -> tuple[str, ...]:
    """Return the names of the profiles whose headers are all among these columns. A profile that needs more headers
    precedes one that needs some of them; several names remain only if neither does. Case matters: `Record ID` is a
    header of HubSpot, `Record Id` of Zoho.
    """
    present = {column.strip() for column in columns}
    fitting = [(name, headers) for name, known in index().items() for headers in known.headers if headers <= present]
    best = [name for name, headers in fitting if not any(headers < other for _, other in fitting)]
    return tuple(dict.fromkeys(best))


def find(name: str) -> str | None:
    """Return the name of the profile with this name or title; null if there is none."""
    wanted = name.strip().casefold()
    return next((known for known, profile in index().items() if wanted in (known, profile.title.casefold())), None)


def load(name: str) -> dict[str, Any]:
    """Return the content of a profile, with its table `recognise`."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
