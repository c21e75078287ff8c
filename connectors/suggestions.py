"""Suggestions in messages about an unknown name: the known names that are spelled almost the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

from tranship.schemas.column_names import fold

_CLOSE: Final = 0.6


def similar(
    name: str,
    known: Iterable[str],
    *,
    at_most: int = 1,
    cutoff: float = _CLOSE,
    key: Callable[[str], str] = fold,
) -> list[str]:
    """Return the known names closest to `name`, the closest first. Names are compared by their `key`, which by default
    ignores case and punctuation.
    """
    by_key: dict[str, list[str]] = {}
    for other in known:
        by_key.setdefault(key(other) or other, []).append(other)
    found = get_close_matches(key(name) or name, by_key, n=at_most, cutoff=cutoff)
    return [other for match in found for other in by_key[match]][:at_most]


def advice(name: str, known: Iterable[str], listing: str, shown: Callable[[str], str] = str) -> str:
    """Return a sentence for a message about an unknown name: the closest known name or, if none is close, all of them
    after the words of `listing`.
    """
    names = list(known)
    return did_you_mean(map(shown, similar(name, names))) or f"{listing}: {', '.join(names)}."


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question that suggests these names, empty if there are none."""
    return f"Did you mean {' or '.join(listed)}?" if (listed := [*names]) else ""
