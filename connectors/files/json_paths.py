"""The keys that occur in JSON records, at any depth, and the columns that follow from them.

`{"address": {"city": "Bonn"}}` gives the column `address.city`. An object that is metadata as a whole stays one column.
A key that has objects in some records and other values in others gives both: `address` and `address.city`.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from msgspec import Struct, field

from tranship.connectors.contract import unique_names
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.json_tokens import ARRAY, NULL, OBJECT, PLAIN, Bytes, Mask, Positions, Values, Words
from tranship.connectors.files.unfolding import is_metadata

MOST_COLUMNS: Final = 2_000
"""A larger number of different keys are ids or similar values, not names of columns."""
_KINDS: Final = OBJECT + 1


class _Path(Struct):
    """A path of keys. `parent` is that above, -1 at the top."""

    name: str
    parent: int
    whole: bool
    """An object here is not unfolded."""
    kinds: set[int] = field(default_factory=set)
    has_parts: bool = False


class Paths:
    """The paths of one file, in the order in which they occur; each has a number. Grows as blocks are noticed."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._paths: list[_Path] = []
        self._numbers: dict[tuple[int, str], int] = {}
        self._hashes = np.empty(0, np.uint64)
        self._of_hashes = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._paths)

    def notice(self, raw: Bytes, values: Values) -> None:
        """Add the paths of a block. Raises ConfigError if there are too many."""
        unknown = self._unknown(values.paths)
        if len(unknown):
            self._learn(raw, values, unknown)
        numbers = self.numbers(values.paths)
        seen = np.bincount(numbers * _KINDS + values.kinds, minlength=len(self._paths) * _KINDS)
        for place in np.flatnonzero(seen).tolist():
            self._paths[place // _KINDS].kinds.add(place % _KINDS)

    def numbers(self, paths: Words) -> Positions:
        """The number of each path, -1 for those that were never noticed."""
        if not len(self._hashes):
            return np.full(len(paths), -1, np.int64)
        at = np.minimum(np.searchsorted(self._hashes, paths), len(self._hashes) - 1)
        return np.where(self._hashes[at] == paths, self._of_hashes[at], -1)

    def _unknown(self, paths: Words) -> Words:
        if not len(self._hashes):
            return paths
        at = np.minimum(np.searchsorted(self._hashes, paths), len(self._hashes) - 1)
        known: Mask = self._hashes[at] == paths
        unknown: Words = paths[~known]
        return unknown

    def _learn(self, raw: Bytes, values: Values, unknown: Words) -> None:
        new = np.unique(unknown)
        if len(self._hashes) + len(new) > 2 * MOST_COLUMNS:
            raise self._too_many()
        _, first = np.unique(values.paths, return_index=True)
        places = np.sort(first[np.isin(values.paths[first], new)])
        found = dict(zip(self._hashes.tolist(), self._of_hashes.tolist(), strict=True))
        for place in places.tolist():
            name = msgspec.json.decode(
                b'"%b"' % raw[values.key_starts[place] : values.key_ends[place]].tobytes(), type=str
            )
            above = int(values.parents[place])
            parent = -1 if above < 0 else found[int(values.paths[above])]
            found[int(values.paths[place])] = self._number(parent, name)
        self._hashes = np.array(sorted(found), np.uint64)
        self._of_hashes = np.array([found[path] for path in self._hashes.tolist()], np.int64)
        if sum(not self._is_hidden(path) for path in self._paths) > MOST_COLUMNS:
            raise self._too_many()

    def _too_many(self) -> ConfigError:
        return ConfigError(
            f"{self._file}: its records have more than {MOST_COLUMNS:,} different keys. Are ids or dates used as keys? "
            'Write them as values, or put them under "metadata".'
        )

    def _number(self, parent: int, name: str) -> int:
        """A key that is written with escapes is the same key."""
        number = self._numbers.setdefault((parent, name), len(self._paths))
        if number == len(self._paths):
            whole = (self._paths[parent].whole if parent >= 0 else False) or (parent < 0 and is_metadata(name))
            self._paths.append(_Path(name, parent, whole))
            if parent >= 0:
                self._paths[parent].has_parts = True
        return number

    def _is_hidden(self, path: _Path) -> bool:
        return path.parent >= 0 and self._paths[path.parent].whole

    def _is_column(self, path: _Path) -> bool:
        if self._is_hidden(path):
            return False
        return path.whole or not path.has_parts or not path.kinds <= {NULL, OBJECT}

    def flat_keys(self) -> dict[str, bool] | None:
        """Return each key, in order, with whether it has a number, true or false somewhere; null if a key has keys of
        its own.
        """
        if any(path.parent >= 0 or path.has_parts for path in self._paths):
            return None
        return {path.name: PLAIN in path.kinds for path in self._paths}

    def columns(self) -> dict[str, str]:
        """Column → its own name, each unique, in order."""
        return unique_names([self._column_name(number) for number in self._column_numbers()])

    def lists(self) -> frozenset[str]:
        """Return the columns that have arrays."""
        names = zip(self.columns(), self._column_numbers(), strict=True)
        return frozenset(name for name, number in names if ARRAY in self._paths[number].kinds)

    def _column_numbers(self) -> list[int]:
        return [number for number, path in enumerate(self._paths) if self._is_column(path)]

    def _column_name(self, number: int) -> str:
        names: list[str] = []
        at = number
        while at >= 0:
            names.append(self._paths[at].name or f"column_{at + 1}")
            at = self._paths[at].parent
        return ".".join(reversed(names))

    def places(self) -> Positions:
        """For each path the place of its column, -1 where it is none."""
        places = np.full(len(self._paths) + 1, -1, np.int64)
        numbers = self._column_numbers()
        places[numbers] = np.arange(len(numbers))
        return places

    def wholes(self) -> Mask:
        """For each path whether an object there is a value of its own."""
        return np.array([*(path.whole and not self._is_hidden(path) for path in self._paths), False])
