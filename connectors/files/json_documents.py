"""Find the list of records in a JSON document, and cut it into blocks of whole records, piece by piece.

A document is an array of records, or an object that contains one list of them beside other values, like the response of
an API. It is scanned for strings, escapes and brackets only; its records are checked when they are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct, field

from tranship.connectors.errors import ConfigError
from tranship.connectors.files.csv_grammar import MAX_RECORD_BYTES
from tranship.connectors.files.json_frames import Block
from tranship.connectors.files.json_tokens import Bytes, Positions
from tranship.connectors.files.part_size import PIECE_RECORDS
from tranship.connectors.json_text.scanner import escaped_places
from tranship.schemas.counted import counted

BLOCK_BYTES: Final = 2 << 20
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _COMMA, _QUOTE = b'[]{,"'
_MOST_LISTS: Final = 10_000


class FoundList(Struct):
    """An array outside all other arrays. `filled` is whether it begins with an object."""

    line: int
    filled: bool = False


class Document(Struct):
    """A document after a scan. `rest` is its text with all arrays emptied."""

    name: str
    lists: list[FoundList] = field(default_factory=list)
    rest: bytes = b""

    def list_of_records(self) -> tuple[list[int], str, list[str]] | None:
        """Return the numbers of the lists of records, their path, and the other keys of the document; null if the
        document is a single record. Raises ConfigError if there are several lists of records, unless the file contains
        several documents of one shape, one after the other.
        """
        outers = self._values()
        if len(outers) > 1:
            return self._lists_of_several(outers)
        [outer] = outers
        if isinstance(outer, list):
            return [0], "", []
        paths = list(_lists_in(outer, ()))
        if len(paths) != len(self.lists):
            raise ConfigError(f"{self.name}: has the same key twice beside its records. Keep one of them.")
        filled = [at for at, found in enumerate(self.lists) if found.filled]
        if len(filled) > 1:
            names = ", ".join(f'"{".".join(paths[at])}" (line {self.lists[at].line:,})' for at in filled[:5])
            raise ConfigError(
                f"{self.name}: contains {counted(len(filled), 'list')} of records: {names}. Save the list of customers "
                "as a file of its own."
            )
        empty = [at for at, path in enumerate(paths) if len(path) == 1]
        if not filled and not (len(empty) == 1 and len(self.lists) == 1 and _is_envelope(outer)):
            if _is_keyed(outer):
                raise ConfigError(
                    f"{self.name}: contains {counted(len(outer), 'record')} by key, not a list. Write them as a list: "
                    "jq '[to_entries[] | {id: .key} + .value]'"
                )
            return None
        chosen = filled[0] if filled else empty[0]
        return [chosen], ".".join(paths[chosen]), [key for key in outer if key != paths[chosen][0]]

    def _values(self) -> list[Any]:
        """Return the values of the document, its arrays emptied: usually one."""
        try:
            return [msgspec.json.decode(self.rest)]
        except RecursionError:
            raise ConfigError(f"{self.name}: is nested too deeply. Export the customers as a flat list.") from None
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            if several := _several_values(self.rest):
                return several
            reason = str(error).partition(" (byte")[0].removeprefix("JSON is malformed: ")
            raise ConfigError(
                f"{self.name}: is not valid JSON outside its records ({reason}). Is it one array, or one object with a "
                "list? Put several values on a line each and name the file .jsonl."
            ) from None

    def _lists_of_several(self, outers: list[Any]) -> tuple[list[int], str, list[str]]:
        every = list(range(len(self.lists)))
        if all(isinstance(outer, list) for outer in outers):
            return every, "", []
        paths = [list(_lists_in(outer, ())) for outer in outers if isinstance(outer, dict)]
        found = {path for of_one in paths for path in of_one}
        if len(paths) == len(outers) == len(self.lists) and len(found) == 1 and all(map(len, paths)):
            [path] = found
            beside = dict.fromkeys(key for outer in outers for key in outer if key != path[0])
            return every, ".".join(path), list(beside)
        filter_ = 'if type == "array" then .[] else . end'
        if len(paths) == len(outers):
            every_path = (path for of_one in paths for path in of_one)
            filled = dict.fromkeys(path for path, at in zip(every_path, self.lists, strict=False) if at.filled)
            pages = bool(filled) and not _is_customer(outers[0])
            filter_ = ", ".join(f"{_jq_path(path)}[]?" for path in filled) if pages else "."
        raise ConfigError(
            f"{self.name}: contains {len(outers):,} values, one after the other. Put each record on a line: "
            f"jq -c '{filter_}' FILE > customers.jsonl"
        )


def _several_values(text: bytes) -> list[Any]:
    """Return the JSON values of a text that are written one after the other; none if it is anything else."""
    decoder, found, left = json.JSONDecoder(), [], ""
    try:
        left = text.decode().strip()
        while left:
            value, end = decoder.raw_decode(left)
            found.append(value)
            left = left[end:].lstrip()
    except (ValueError, RecursionError):
        return []
    return found if all(isinstance(value, list | dict) for value in found) else []


def _jq_path(keys: Iterable[str]) -> str:
    """Return a path as jq reads it."""
    return "".join(f".{key}" if re.fullmatch("[A-Za-z_][A-Za-z_0-9]*", key) else f".{json.dumps(key)}" for key in keys)


def is_page(line: bytes) -> bool:
    """Return whether a line is an object around one list of records, as a page of an API, and no record."""
    try:
        outer = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if not isinstance(outer, dict) or _is_customer(outer):
        return False
    lists = [value for value in _lists_of(outer) if value]
    return len(lists) == 1 and all(isinstance(record, dict) and _is_customer(record) for record in lists[0])


def _lists_of(value: Any) -> Iterator[list[Any]]:
    """Yield each array that is outside all other arrays."""
    if isinstance(value, list):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _lists_of(inner)


def _is_envelope(outer: dict[str, Any]) -> bool:
    """Return whether the keys beside an empty list are not those of a customer."""
    return not _is_customer(outer)


def _is_keyed(outer: dict[str, Any]) -> bool:
    """Return whether an object maps ids to customers, as databases of documents export them."""
    return len(outer) > 1 and all(isinstance(value, dict) and _is_customer(value) for value in outer.values())


def _is_customer(keys: Iterable[str]) -> bool:
    from tranship.schemas.headers import match

    return bool({"external_id", "email", "name"} & set(match(list(keys), {})))


def _lists_in(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each array, in the order of the document."""
    if isinstance(value, list):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _lists_in(inner, (*path, key))


class _Marks(Struct, frozen=True):
    """The brackets and commas of a piece that are outside strings: their places, the characters, and the depth behind
    each, counted in brackets and in arrays.
    """

    raw: Bytes
    at: Positions
    shapes: Bytes
    depths: Positions
    arrays: Positions


def _scan(pieces: Iterable[bytes]) -> Iterator[_Marks]:
    """Raises EOFError where the text ends within a string or a bracket."""
    in_string = escaped = False
    depth = arrays = 0
    for piece in pieces:
        raw = np.frombuffer(piece, np.uint8)
        quotes = np.flatnonzero(raw == _QUOTE)
        marked, escaped = escaped_places(raw, carried=escaped)
        if len(marked):
            quotes = quotes[~np.isin(quotes, marked, assume_unique=True)]
        brackets = (raw == 0x7B) | (raw == 0x7D) | (raw == _OPEN_LIST) | (raw == _CLOSE_LIST)
        at = np.flatnonzero(brackets | (raw == _COMMA))
        at = at[np.searchsorted(quotes, at) % 2 == in_string]
        in_string ^= bool(len(quotes) % 2)
        shapes = raw[at]
        steps = np.where(shapes == _COMMA, 0, (shapes & 2).astype(np.int64) - 1)
        depths = depth + np.cumsum(steps)
        within = arrays + np.cumsum(np.where(shapes < 0x60, steps, 0))
        if len(at):
            depth, arrays = int(depths[-1]), int(within[-1])
        yield _Marks(raw, at, shapes, depths, within)
    if in_string or depth or arrays:
        raise EOFError


def cut(pieces: Iterable[bytes], document: Document, chosen: Collection[int] = ()) -> Iterator[Block]:
    """Yield the records of the `chosen` lists of a document; the document is described by the end.

    Raises ConfigError if the text ends in the middle, or a record is too long.
    """
    line, rest, inside = 1, [], False
    held, held_line, borders, depth_within, count = b"", 1, [], 0, 0
    awaiting = False
    try:
        for marks in _scan(pieces):
            raw = marks.raw
            opening = (marks.shapes == _OPEN_LIST) & (marks.arrays == 1)
            closing = (marks.shapes == _CLOSE_LIST) & (marks.arrays == 0)
            if awaiting and len(marks.at):
                document.lists[-1].filled = bool(marks.shapes[0] == _OPEN_OBJECT)
                awaiting = False
            newlines: Positions | None = None
            begin = 0
            for edge in [*np.flatnonzero(opening | closing).tolist(), None]:
                end = len(raw) if edge is None else int(marks.at[edge])
                is_chosen = inside and len(document.lists) - 1 in chosen
                if not inside:
                    rest.append(raw[begin:end].tobytes())
                elif is_chosen:
                    between = (marks.shapes == _COMMA) & (marks.arrays == 1) & (marks.depths == depth_within)
                    at = marks.at[between]
                    at = at[(at >= begin) & (at < end)]
                    borders += (at - begin + len(held)).tolist()
                    held += raw[begin:end].tobytes()
                    final = edge is not None
                    if final or (borders and (len(held) >= BLOCK_BYTES or len(borders) >= PIECE_RECORDS)):
                        stop = len(held) if final else borders[-1]
                        inner = borders if final else borders[:-1]
                        block = _block(held[:stop], inner, held_line, count + 1)
                        if block is not None:
                            count += len(inner) + 1
                            yield block
                        held_line += held[: stop + 1].count(b"\n")
                        held, borders = held[stop + 1 :], []
                    if len(held) > MAX_RECORD_BYTES and not borders:
                        raise ConfigError(
                            f"{document.name}: the record on line {held_line:,} does not end within "
                            f"{MAX_RECORD_BYTES >> 20} MB. Is it a list of customers?"
                        )
                if edge is None:
                    break
                rest.append(raw[end : end + 1].tobytes())
                begin = end + 1
                inside = bool(opening[edge])
                if inside:
                    if newlines is None:
                        newlines = np.flatnonzero(raw == 0x0A)
                    at_line = line + int(np.searchsorted(newlines, end))
                    document.lists.append(FoundList(at_line))
                    if len(document.lists) > _MOST_LISTS:
                        raise ConfigError(f"{document.name}: is not a list of records, but one record full of lists.")
                    if edge + 1 < len(marks.at):
                        document.lists[-1].filled = bool(marks.shapes[edge + 1] == _OPEN_OBJECT)
                    else:
                        awaiting = True
                    held, held_line, borders, depth_within = b"", at_line, [], int(marks.depths[edge])
            line += int(np.count_nonzero(raw == 0x0A))
            if sum(map(len, rest)) > MAX_RECORD_BYTES:
                raise ConfigError(
                    f"{document.name}: is one object of more than {MAX_RECORD_BYTES >> 20} MB that is not a list of "
                    "records. Save the customers as an array, or as JSON Lines."
                )
            rest = [b"".join(rest)]
    except EOFError:
        raise ConfigError(
            f"{document.name}: ends in the middle of line {line:,}: a bracket or quote is not closed. It is "
            "incomplete or damaged. Nothing was loaded from it; download or copy it again."
        ) from None
    document.rest = b"".join(rest)


def _block(text: bytes, borders: list[int], line: int, first: int) -> Block | None:
    """Return the records between these commas, numbered from `first`; null if there are none."""
    if not borders and not text.strip():
        return None
    starts = np.array([0, *(border + 1 for border in borders)], np.int64)
    ends = np.array([*borders, len(text)], np.int64)
    raw = np.frombuffer(text, np.uint8)
    filled = np.flatnonzero(raw > 0x20)
    starts = np.minimum(np.append(filled, len(raw))[np.searchsorted(filled, starts)], ends)
    return Block(text, line, starts, ends, first + np.arange(len(starts)))
