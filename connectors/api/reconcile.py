"""Equality and differences of a provider's records: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; null, absent, [] and {} are, and the order of keys does not matter."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(same(one.get(key), other.get(key)) for key in {**one, **other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    # In Python True is 1.
    return bool(one == other and isinstance(one, bool) == isinstance(other, bool)) or (blank(one) and blank(other))


def exactly(one: Any, other: Any) -> bool:
    """Whether two overflow objects are equal: a null entry differs from none; an absent object equals an empty one."""
    return bool(msgspec.json.encode(one or {}, order="sorted") == msgspec.json.encode(other or {}, order="sorted"))


def blank(value: Any) -> bool:
    """Whether a JSON value is null, [] or {}."""
    return value is None or (isinstance(value, list | dict) and not value)


def may_derive_from(there: Any, wanted: Any) -> bool:
    """Whether a value may be what a provider made of the one sent: filled in, truncated, in another case."""
    if blank(wanted) or blank(there) or same(there, wanted):
        return True
    if isinstance(there, str) and isinstance(wanted, str):
        return wanted.strip().casefold().startswith(there.strip().casefold())
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        return all(may_derive_from(there.get(key), value) for key, value in wanted.items())
    return False


def lies_between(current: Any, found: Any, wanted: Any) -> bool:
    """Whether a value is on its way from `found` to `wanted`; an object may get there key by key."""
    if same(current, wanted) or same(current, found):
        return True
    if not all(isinstance(one, Mapping | None) for one in (current, found, wanted)):
        return False
    current, found, wanted = current or {}, found or {}, wanted or {}
    return all(
        same(current.get(key), found.get(key)) or same(current.get(key), wanted.get(key))
        for key in {**current, **found, **wanted}
    )


def merge_metadata(here: str | None, there: str) -> str:
    """Merge metadata of the source over that of the destination, both JSON objects. The destination's text is returned
    unchanged where nothing differs, whatever the order of keys.
    """
    if here is None:
        return there
    ours = msgspec.json.decode(here, type=dict[str, msgspec.Raw])
    theirs = msgspec.json.decode(there, type=dict[str, msgspec.Raw])
    changed = {key: value for key, value in ours.items() if key not in theirs or not _same_json(value, theirs[key])}
    return msgspec.json.encode({**theirs, **changed}).decode() if changed else there


def _same_json(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Whether values are equal as JSON: the order of keys does not matter, and true is not 1."""
    if bytes(one) == bytes(other):
        return True
    sorted_ = [msgspec.json.encode(msgspec.json.decode(value), order="sorted") for value in (one, other)]
    return sorted_[0] == sorted_[1]
