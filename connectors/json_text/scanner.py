"""Scan a JSON response with a list of records: the records as bytes, their ids, and the values beside the list.

Records are separated, not decoded. A response that is too large to parse at once, or that no JSON parser accepts
because of one bad record, is cut at the borders of its records: the bytes are scanned in chunks, as arrays, for
strings, escapes and depth.
"""

from __future__ import annotations

import functools
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from tranship.connectors.errors import Malformed

_CHUNK: Final = 1 << 18
_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_OPEN_LIST: Final = ord("[")

_STEP: Final = np.zeros(256, np.int8)
"""The change in depth by a byte outside strings."""
for _byte in b"{[":
    _STEP[_byte] = 1
for _byte in b"}]":
    _STEP[_byte] = -1

Keys = Sequence[str]
"""The path of a value in a response: keys from the outside in."""
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class Slice(Struct, frozen=True):
    """A run of complete records: its place in the bytes and their number. Separated by commas, without brackets."""

    offset: int
    size: int
    count: int


class CutAnswer(Struct, frozen=True):
    """A response in slices."""

    slices: tuple[Slice, ...]
    rest: bytes
    """The response with its list of records emptied."""

    @property
    def count(self) -> int:
        """The number of records."""
        return sum(piece.count for piece in self.slices)


def cut(body: bytes | Path, within: Keys, records: int) -> CutAnswer:
    """Cut the list under the keys `within` of `body` (or a file), or a bare list, into slices of `records` records.

    Raises Malformed if a bracket is not closed or the list is missing. The records themselves are not checked:
    they need not be valid JSON.
    """
    with _Body.of(body) as text:
        scanner = _Scanner(text, within)
        slices = tuple(_slices(scanner, text, records))
        return CutAnswer(slices, text.read(0, scanner.began) + text.read(scanner.ended, text.size - scanner.ended))


class _Body:
    """Bytes in memory or in a file, read piece by piece."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self.size = size

    @classmethod
    def of(cls, body: bytes | Path) -> _Body:
        return (
            cls(io.BytesIO(body), len(body)) if isinstance(body, bytes) else cls(body.open("rb"), body.stat().st_size)
        )

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def read(self, start: int, size: int) -> bytes:
        self._source.seek(start)
        return self._source.read(size)


def _slices(scanner: _Scanner, body: _Body, records: int) -> Iterator[Slice]:
    waiting: list[Places] = []
    held = 0
    began = -1
    for commas in scanner.commas():
        if began < 0:
            began = scanner.began
        waiting.append(commas)
        held += len(commas)
        if held < records:
            continue
        borders = np.concatenate(waiting)
        for end in borders[records - 1 :: records].tolist():
            yield Slice(began, end - began, records)
            began = end + 1
        left = borders[len(borders) // records * records :]
        waiting, held = [left], len(left)
    if scanner.ended < 0 or body.read(scanner.ended, 1) != b"]":
        raise Malformed("the response is cut off, or has no list of records")
    began = began if began >= 0 else scanner.began
    if held or body.read(began, scanner.ended - began).strip():
        yield Slice(began, scanner.ended - began, held + 1)


class _Scanner:
    """Scans the bytes once. `began` and `ended` are -1 until the scan has passed them."""

    def __init__(self, body: _Body, within: Keys) -> None:
        self._body = body
        self._within = () if body.read(0, 64).lstrip()[:1] == b"[" else tuple(within)
        self.began = -1
        """Place of the first byte after the opening bracket of the list."""
        self.ended = -1
        """Place of the closing bracket of the list."""

    def commas(self) -> Iterator[Places]:
        """Yield the places of the commas between records, chunk by chunk."""
        level = len(self._within) + 1
        depth = 0
        for start, chunk, marks, steps in self._marks():
            after = depth + np.cumsum(steps, dtype=np.int64)
            depth = int(after[-1]) if len(after) else depth
            if self.began < 0:
                lists = marks[(steps == 1) & (after == level) & (chunk[marks] == _OPEN_LIST)]
                self.began = next((start + int(mark) + 1 for mark in lists if self._is_wanted(start + int(mark))), -1)
                if self.began < 0:
                    continue
            if self.ended < 0:
                closing = marks[(after == level - 1) & (steps == -1) & (start + marks >= self.began)]
                if len(closing):
                    self.ended = start + int(closing[0])
                inside = (steps == 0) & (after == level) & (start + marks >= self.began)
                if self.ended >= 0:
                    inside &= start + marks < self.ended
                yield start + marks[inside]
        if depth != 0:
            self.ended = -1

    def _is_wanted(self, place: int) -> bool:
        """Return whether the bracket at this place opens the list under the last of the keys."""
        if not self._within:
            return True
        before = self._body.read(max(0, place - 300), min(300, place))
        return re.search(rb'"%s"\s*:\s*$' % re.escape(self._within[-1].encode()), before) is not None

    def _marks(self) -> Iterator[tuple[int, Bytes, Places, npt.NDArray[np.int8]]]:
        """Yield for each chunk: start, bytes, places of brackets and commas outside strings, their steps in depth."""
        in_string = False
        escaped = False
        for start in range(0, self._body.size, _CHUNK):
            chunk = np.frombuffer(self._body.read(start, _CHUNK), np.uint8)
            quotes = np.flatnonzero(chunk == _QUOTE)
            marked, escaped = escaped_places(chunk, carried=escaped)
            if len(marked):
                quotes = quotes[~np.isin(quotes, marked, assume_unique=True)]
            toggles = np.zeros(len(chunk), np.bool_)
            toggles[quotes] = True
            within = np.logical_xor.accumulate(toggles)
            if in_string:
                np.logical_not(within, out=within)
            in_string ^= bool(len(quotes) % 2)
            steps = _STEP[chunk]
            marks = np.flatnonzero(((steps != 0) | (chunk == _COMMA)) & ~within)
            yield start, chunk, marks, steps[marks]


def escaped_places(chunk: Bytes, *, carried: bool) -> tuple[Places, bool]:
    """Return the places of bytes after an odd run of backslashes, and whether the run continues in the next chunk."""
    slashes = np.flatnonzero(chunk == _BACKSLASH)
    if not len(slashes):
        return (np.zeros(1, np.int64) if carried else slashes), False
    first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    starts = slashes[first]
    lengths = np.diff(first, append=len(slashes))
    ends = starts + lengths
    if carried and starts[0] == 0:
        lengths[0] += 1
    odd = ends[lengths % 2 == 1]
    goes_on = bool(len(odd)) and int(odd[-1]) == len(chunk)
    odd = odd[odd < len(chunk)]
    if carried and starts[0] != 0:
        odd = np.concatenate((np.zeros(1, np.int64), odd))
    return odd, goes_on


# A list and the values beside it -------------------------------------------------------------------------------------


class RecordIds(NamedTuple):
    """The ids of the records of a page, in order: text, never null."""

    ids: pl.Series
    created: pl.Series | None
    """Their creation times as received (text, null where there is none); null if none were requested."""


class RecordList(Struct, frozen=True):
    """A list of records, and the values beside it."""

    records: bytes
    """As received, separated by commas, without the brackets of their list."""
    count: int
    beside: tuple[Any, ...]
    """The values under the other requested keys; null where there is none."""
    is_bare: bool
    """The response is only the list."""
    ids: RecordIds | None
    """Null if any record has no text as its id."""


_Fields = dict[str, msgspec.Raw]


def split_list(
    body: bytes, within: Keys, beside: Sequence[Keys] = (), id: str = "id", created: str | None = None
) -> RecordList:
    """Return the list under the keys `within`, or a bare list, and the values under `beside`. `id` and `created` are
    the fields for the ids and creation times of the records. Raises Malformed.
    """
    try:
        return _split_quickly(body, within, beside, id, created)
    except (ValueError, RecursionError):
        # One invalid record (half a surrogate pair, NaN) does not make the whole response invalid.
        return _split_slowly(body, within, beside)


def _split_quickly(body: bytes, within: Keys, beside: Sequence[Keys], id: str, created: str | None) -> RecordList:
    is_bare = _is_bare(body)
    outer: _Fields = {} if is_bare else _outer(body)
    records = body.strip() if is_bare else _find(outer, within)
    if records is None:
        raise Malformed("the response has no list of records")
    # The ids are needed later, and to decode them costs no more than to count the records.
    try:
        ids = _decoded_ids(records, id, created)
        count = len(ids.ids)
    except msgspec.ValidationError:
        ids, count = None, len(msgspec.json.decode(records, type=list[msgspec.Raw]))
    inside = bytes(memoryview(records)[1:-1])
    return RecordList(inside, count, tuple(_value(outer, keys) for keys in beside), is_bare, ids)


def _split_slowly(body: bytes, within: Keys, beside: Sequence[Keys]) -> RecordList:
    pieces = cut(body, within, len(body) + 1)
    records = b"".join(body[piece.offset : piece.offset + piece.size] for piece in pieces.slices)
    return RecordList(records, pieces.count, values(pieces.rest, beside), _is_bare(body), None)


def values(rest: bytes, beside: Sequence[Keys]) -> tuple[Any, ...]:
    """Return the values under these keys; the list of records may be emptied. Raises Malformed."""
    try:
        outer: _Fields = {} if _is_bare(rest) else _outer(rest)
        return tuple(_value(outer, keys) for keys in beside)
    except (ValueError, RecursionError) as error:
        raise Malformed("the response is not JSON") from error


def _is_bare(body: bytes) -> bool:
    return re.match(rb"\s*\[", body) is not None


def _outer(body: bytes | msgspec.Raw) -> _Fields:
    """Return the fields of an object; none of any other value."""
    try:
        return msgspec.json.decode(body, type=_Fields)
    except msgspec.ValidationError:
        return {}


def _value(outer: _Fields, keys: Keys) -> Any:
    found = _find(outer, keys)
    return None if found is None else msgspec.json.decode(found)


def _find(outer: _Fields, keys: Keys) -> msgspec.Raw | None:
    """Return the value under the keys; null where it is missing."""
    found = None
    for key in keys:
        found = (outer if found is None else _outer(found)).get(key)
        if found is None:
            return None
    return found


# Ids -----------------------------------------------------------------------------------------------------------------


@functools.cache
def _decoder(id: str, created: str | None) -> Any:
    """Return a decoder of only the id and the creation time of each record."""
    fields: list[Any] = [("id", str, msgspec.field(name=id))]
    if created:
        fields.append(("created", Any, msgspec.field(name=created, default=None)))
    return msgspec.json.Decoder(list[msgspec.defstruct("Name", fields, gc=False)])  # type: ignore[misc]


def record_ids(records: bytes, count: int, id: str, created: str | None, without_id: Counter[bytes]) -> RecordIds:
    """Return the id of each record of a page, and its creation time if `created` is given.

    A record without a text id is identified by its content and its count of equal records in this pass.
    """
    try:
        return _decoded_ids(b"[%b]" % records, id, created)
    except (ValueError, RecursionError):
        return _record_ids_slowly(records, count, id, created, without_id)


def _decoded_ids(records: bytes | msgspec.Raw, id: str, created: str | None) -> RecordIds:
    """Return the ids of a JSON list of records. Raises DecodeError, ValidationError if any has none, and
    RecursionError.
    """
    found = _decoder(id, created).decode(records)
    return _identified([name.id for name in found], [name.created for name in found] if created else None)


def _identified(ids: list[str], created: list[Any] | None) -> RecordIds:
    times = None if created is None else [time if isinstance(time, str) else None for time in created]
    return RecordIds(pl.Series(ids, dtype=pl.String), None if times is None else pl.Series(times, dtype=pl.String))


def _record_ids_slowly(
    records: bytes, count: int, id: str, created: str | None, without_id: Counter[bytes]
) -> RecordIds:
    ids: list[str] = []
    times: list[Any] = []
    body = b"[%b]" % records
    for piece in cut(body, (), 1).slices:
        record = body[piece.offset : piece.offset + piece.size].strip()
        try:
            [name] = _decoder(id, created).decode(b"[%b]" % record)
            ids.append(name.id)
            times.append(name.created if created else None)
        except (ValueError, RecursionError):
            without_id[record] += 1
            ids.append(f"\0{without_id[record]} {record.decode('utf-8', 'replace')}")
            times.append(None)
    if len(ids) != count:
        raise Malformed("a page on disk does not match its index")
    return _identified(ids, times if created else None)
