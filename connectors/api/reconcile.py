"""Equality and differences of a provider's records: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal: null, absent, [] and {} are, and the order of keys does not matter."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return all(same(left.get(key), right.get(key)) for key in {**left, **right})
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    # In Python True is 1.
    return bool(left == right and isinstance(left, bool) == isinstance(right, bool)) or (blank(left) and blank(right))


def exactly(left: Any, right: Any) -> bool:
    """Return whether two overflow objects are equal: a null entry differs from none, an absent object equals {}."""
    return bool(msgspec.json.encode(left or {}, order="sorted") == msgspec.json.encode(right or {}, order="sorted"))


def blank(value: Any) -> bool:
    """Return whether a JSON value is null, [] or {}."""
    return value is None or (isinstance(value, list | dict) and not value)


def may_derive_from(current: Any, wanted: Any) -> bool:
    """Return whether a provider may have derived a value from the one sent: filled in, truncated, in another case."""
    if blank(wanted) or blank(current) or same(current, wanted):
        return True
    if isinstance(current, str) and isinstance(wanted, str):
        return wanted.strip().casefold().startswith(current.strip().casefold())
    if isinstance(current, Mapping) and isinstance(wanted, Mapping):
        return all(may_derive_from(current.get(key), value) for key, value in wanted.items())
    return False


def lies_between(current: Any, found: Any, wanted: Any) -> bool:
    """Return whether a value is `found`, `wanted`, or between the two: an object may be changed key by key."""
    if same(current, wanted) or same(current, found):
        return True
    if not all(isinstance(value, Mapping | None) for value in (current, found, wanted)):
        return False
    current, found, wanted = current or {}, found or {}, wanted or {}
    return all(
        same(current.get(key), found.get(key)) or same(current.get(key), wanted.get(key))
        for key in {**current, **found, **wanted}
    )


def merge_metadata(source: str | None, destination: str) -> str:
    """Merge metadata of the source into that of the destination, both JSON objects. The destination's text is returned
    unchanged if nothing differs, whatever the order of keys.
    """
    if source is None:
        return destination
    ours = msgspec.json.decode(source, type=dict[str, msgspec.Raw])
    theirs = msgspec.json.decode(destination, type=dict[str, msgspec.Raw])
    changed = {key: value for key, value in ours.items() if key not in theirs or not _same_json(value, theirs[key])}
    return msgspec.json.encode({**theirs, **changed}).decode() if changed else destination


def _same_json(left: msgspec.Raw, right: msgspec.Raw) -> bool:
    """Return whether values are equal as JSON: the order of keys does not matter, and true is not 1."""
    if bytes(left) == bytes(right):
        return True
    sorted_ = [msgspec.json.encode(msgspec.json.decode(value), order="sorted") for value in (left, right)]
    return sorted_[0] == sorted_[1]
