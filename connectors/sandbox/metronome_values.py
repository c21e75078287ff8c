"""Values in the bodies of Metronome's calls: what is taken, else a Problem 400 naming the field; how time is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tranship.connectors.sandbox.contract import Problem
from tranship.connectors.sandbox.store import Record


def text_of(body: Mapping[str, Any], name: str, longest: int | None = None) -> str:
    """Text, not empty, of at most so many characters."""
    value = body.get(name)
    if not isinstance(value, str) or not value or (longest and len(value) > longest):
        size = f" of 1 to {longest} characters" if longest else ", not empty"
        raise Problem(400, f"{name} must be a string{size}")
    return value


def one_of(body: Mapping[str, Any], name: str, choices: frozenset[str]) -> str:
    """One of these words."""
    value = body.get(name)
    if not isinstance(value, str) or value not in choices:
        raise Problem(400, f"{name} must be one of: {', '.join(sorted(choices))}")
    return value


def object_of(body: Record, name: str) -> Record:
    """An object, empty where there is none."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise Problem(400, f"{name} must be an object")
    return value


def objects_of(body: Record, name: str, *, required: bool = True) -> list[Record]:
    """A list of objects; empty where there is none, unless it must be there."""
    value = body.get(name, None if required else [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Problem(400, f"{name} must be a list of objects")
    return value


def stamp(moment: datetime) -> str:
    """RFC 3339."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
