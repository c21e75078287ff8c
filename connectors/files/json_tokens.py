"""Parse a block of JSON objects with numpy: their keys at any depth, and where the value of each lies.

The objects are valid JSON. Quotes that are not escaped therefore come in pairs, and a text in front of a colon is a
key. Objects within arrays are not parsed. Values are slices of the block: numbers keep their digits.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from tranship.connectors.json_text.scanner import escaped_places

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Depths = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

NULL, PLAIN, TEXT, ARRAY, OBJECT = range(5)
"""The kind of a value: null; a number, true or false; a string; an array; an object."""

PADDING: Final = bytes(16)
"""Behind each block: words of eight bytes are read at its last value, too."""

_QUOTE, _COLON = b'":'
_SALT: Final = np.uint64(secrets.randbits(64) | 1)  # keys made to collide would have to be based on it
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_ROOT: Final = np.uint64(0x517CC1B727220A95)
_FIRST: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
"""Masks of the first bytes of a word, by their number."""
_NULL: Final = np.uint64(int.from_bytes(b"null", "little"))
_ENDS: Final = np.isin(np.arange(256), list(b",]} \t\r\n"))
_FEW_BYTES: Final = 40
_INLINE: Final = 12
"""An Arrow view itself contains up to this many bytes of text."""


class Values(Struct, frozen=True):
    """The values under all keys that are not within arrays, in the order of the block.

    `records` is the object that each belongs to, `paths` (u64) a hash of the keys that lead to it; equal paths mean
    equal keys. `parents` is the place of the value that contains it, -1 at the top. `starts` and `ends` bound the
    value, without the quotes of a string; `key_starts` and `key_ends` bound its key.
    """

    records: Positions
    paths: Words
    parents: Positions
    kinds: npt.NDArray[np.int8]
    starts: Positions
    ends: Positions
    key_starts: Positions
    key_ends: Positions
    twice: Positions
    """Objects with the same key twice in an object within an array."""


def words_of(raw: Bytes) -> Words:
    """The eight bytes from each place on, without a copy."""
    return np.ndarray((len(raw) - 7,), np.dtype("<u8"), raw.data, 0, (1,))


def take_apart(raw: Bytes, starts: Positions) -> Values:
    """The values of valid objects that begin at these places of a padded block."""
    quotes = np.flatnonzero(raw == _QUOTE)
    escaped, _ = escaped_places(raw, carried=False)
    if len(escaped):
        marked = np.zeros(len(raw), np.bool_)
        marked[escaped] = True
        quotes = quotes[~marked[quotes]]
    opening, closing = quotes[::2], quotes[1::2]
    colons = _beyond_blanks(raw, closing + 1)
    strings = np.flatnonzero(raw[colons] == _COLON)
    brackets = np.flatnonzero((raw == 0x7B) | (raw == 0x7D) | (raw == 0x5B) | (raw == 0x5D))
    brackets = brackets[np.searchsorted(quotes, brackets) % 2 == 0]
    shapes = raw[brackets]
    steps = (shapes & 2).astype(np.int8) - 1
    depths = np.cumsum(steps, dtype=np.int32)
    within = np.cumsum(np.where(shapes < 0x60, steps, 0), dtype=np.int32)
    keys = opening[strings]
    before = np.searchsorted(keys, brackets)
    depth, arrays = (_carried(before, values, len(keys)) for values in (depths, within))
    records = _carried(np.searchsorted(keys, starts), np.arange(len(starts)), len(keys), first=-1)
    hashes = _hashes(raw, keys + 1, closing[strings])
    twice = _repeated_within_arrays(hashes, keys, depth, arrays, records, brackets, depths, steps)
    if arrays.any():
        outside = arrays == 0
        strings, keys, depth, records, hashes = (values[outside] for values in (strings, keys, depth, records, hashes))
    paths, parents = _paths(hashes, depth)
    begins = _beyond_blanks(raw, colons[strings] + 1)
    first = raw[begins]
    kinds = np.full(len(begins), PLAIN, np.int8)
    kinds[first == _QUOTE] = TEXT
    kinds[first == 0x5B] = ARRAY
    kinds[first == 0x7B] = OBJECT
    kinds[(kinds == PLAIN) & ((words_of(raw)[begins] & _FIRST[4]) == _NULL)] = NULL
    ends = begins.copy()
    text = kinds == TEXT
    ends[text] = closing[strings[text] + 1]
    plain = np.flatnonzero(kinds == PLAIN)
    ends[plain] = _plain_ends(raw, begins[plain])
    held = np.flatnonzero(kinds >= ARRAY)
    ends[held] = _closing(brackets, depths, steps)[np.searchsorted(brackets, begins[held])] + 1
    return Values(
        *(records, paths, parents, kinds, begins + text, ends, keys + 1, closing[strings], twice),
    )


def _beyond_blanks(raw: Bytes, at: Positions) -> Positions:
    """The first places from these on that are not blank."""
    blank = raw[at] <= 0x20
    if not blank.any():
        return at
    at = at + blank
    if not (raw[at] <= 0x20).any():
        return at
    filled = np.flatnonzero(raw > 0x20)
    # Behind the last of them is the padding.
    return np.append(filled, len(raw) - 1)[np.searchsorted(filled, at)]


def _carried(before: Positions, values: npt.NDArray[np.integer], size: int, first: int = 0) -> Positions:
    """Return, for each of `size` places, the last value in front of it; `before` counts the places in front of
    each value.
    """
    counts = np.diff(before, prepend=0, append=size)
    return np.repeat(np.concatenate([[first], values]), counts)


def _hashes(raw: Bytes, starts: Positions, ends: Positions) -> Words:
    """Of the bytes of keys."""
    words, sizes = words_of(raw), ends - starts
    found = (words[starts] & _FIRST[np.minimum(sizes, 8)]) ^ (sizes.astype(np.uint64) * _SALT)
    found = _mixed(found)
    longer, done = np.flatnonzero(sizes > 8), 8
    while len(longer):
        word = words[starts[longer] + done] & _FIRST[np.minimum(sizes[longer] - done, 8)]
        found[longer] = _mixed(found[longer] ^ word)
        done += 8
        longer = longer[sizes[longer] > done]
    return found


def _mixed(words: Words) -> Words:
    words = words * _MIX
    words ^= words >> np.uint64(29)
    words *= _SALT
    words ^= words >> np.uint64(32)
    return words


def _paths(hashes: Words, depth: Positions) -> tuple[Words, Positions]:
    """The path of each key, and the place of the key above it."""
    paths, parents = _mixed(hashes ^ _ROOT), np.full(len(hashes), -1, np.int64)
    above = np.flatnonzero(depth == 1)
    deepest = int(depth.max(initial=0))
    for level in range(2, deepest + 1):
        here = np.flatnonzero(depth == level)
        parents[here] = above[np.searchsorted(above, here) - 1]
        paths[here] = _mixed(hashes[here] ^ paths[parents[here]])
        above = here
    return paths, parents


def _repeated_within_arrays(
    hashes: Words,
    keys: Positions,
    depth: Positions,
    arrays: Positions,
    records: Positions,
    brackets: Positions,
    depths: Depths,
    steps: npt.NDArray[np.int8],
) -> Positions:
    """The records in which an object within an array has a key twice."""
    inner = np.flatnonzero(arrays > 0)
    if not len(inner):
        return inner
    found = []
    for level in np.unique(depth[inner]).tolist():
        here = inner[depth[inner] == level]
        opened = brackets[(depths == level) & (steps > 0)]
        objects = np.searchsorted(opened, keys[here])
        order = np.lexsort((hashes[here], objects))
        same = (np.diff(objects[order]) == 0) & (hashes[here][order][1:] == hashes[here][order][:-1])
        found.append(records[here[order[1:][same]]])
    return np.unique(np.concatenate(found))


def _closing(brackets: Positions, depths: Depths, steps: npt.NDArray[np.int8]) -> Positions:
    """For each opening bracket, the place of the one that closes it; for others their own place."""
    order = np.argsort(np.where(steps > 0, depths, depths + 1), kind="stable")
    closing = brackets.copy()
    closing[order[::2]] = brackets[order[1::2]]
    return closing


def _plain_ends(raw: Bytes, starts: Positions) -> Positions:
    """The ends of numbers and words."""
    ends = starts + 1
    going = np.flatnonzero(~_ENDS[raw[ends]])
    for _ in range(_FEW_BYTES):
        if not len(going):
            return ends
        ends[going] += 1
        going = going[~_ENDS[raw[ends[going]]]]
    marks = np.flatnonzero(_ENDS[raw])
    ends[going] = marks[np.searchsorted(marks, ends[going])]
    return ends


def text_views(raw: Bytes, starts: Positions, ends: Positions) -> Words:
    """Slices of a padded block as Arrow string views (two words each)."""
    words, sizes = words_of(raw), ends - starts
    head, behind = words[starts], words[starts + 4]
    views = np.empty((len(starts), 2), np.uint64)
    views[:, 0] = sizes.astype(np.uint64) | (head & _FIRST[np.minimum(sizes, 4)]) << np.uint64(32)
    within = behind & _FIRST[np.clip(sizes - 4, 0, 8)]
    views[:, 1] = np.where(sizes <= _INLINE, within, starts.astype(np.uint64) << np.uint64(32))
    return views


def text_column(raw: Bytes, views: Words) -> pa.Array:
    """String views → a column that shares the bytes of the block; text without a character is null."""
    filled = (views[:, 0] & _FIRST[4]) != 0
    bits = np.packbits(filled, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(np.ascontiguousarray(views)), pa.py_buffer(raw)]
    return pa.Array.from_buffers(pa.string_view(), len(views), buffers)
