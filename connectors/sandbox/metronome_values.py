"""Values in the bodies of Metronome's calls, checked: an invalid one is a Problem 400 with the name of its field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tranship.connectors.sandbox.contract import Problem
from tranship.connectors.sandbox.store import Record


def text_of(body: Mapping[str, Any], name: str, longest: int | None = None) -> str:
    """Return text, not empty, of at most `longest` characters."""
    value = body.get(name)
    if not isinstance(value, str) or not value or (longest and len(value) > longest):
        size = f" of 1 to {longest} characters" if longest else ", not empty"
        raise Problem(400, f"{name} must be a string{size}")
    return value


def one_of(body: Mapping[str, Any], name: str, choices: frozenset[str]) -> str:
    """Return one of the choices."""
    value = body.get(name)
    if not isinstance(value, str) or value not in choices:
        raise Problem(400, f"{name} must be one of: {', '.join(sorted(choices))}")
    return value


def object_of(body: Record, name: str) -> Record:
    """Return an object, empty if the field is missing."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise Problem(400, f"{name} must be an object")
    return value


def objects_of(body: Record, name: str, *, required: bool = True) -> list[Record]:
    """Return a list of objects, empty if the field is missing and not `required`."""
    value = body.get(name, None if required else [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Problem(400, f"{name} must be a list of objects")
    return value


def stamp(moment: datetime) -> str:
    """Return a timestamp in the format of RFC 3339."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
