"""Read blocks of JSON records into frames of text, and set aside the records that are broken."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct, field

from tranship.connectors.contract import Batch, joined
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.csv_frames import is_utf8
from tranship.connectors.files.csv_records import readable
from tranship.connectors.files.json_ordinary import Ordinary, line_ends, signed
from tranship.connectors.files.json_paths import Paths
from tranship.connectors.files.json_tokens import (
    ARRAY,
    OBJECT,
    PADDING,
    PLAIN,
    TEXT,
    Bytes,
    Mask,
    Positions,
    Values,
    take_apart,
    text_column,
    text_views,
)
from tranship.connectors.json_text import columns as jsons
from tranship.schemas.constant import constant
from tranship.schemas.faults import BROKEN

Broken = list[tuple[int, str, str, str]]

_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OPEN: Final = ord("{")
_KINDS_OF_JSON: Final = {"[": "an array", '"': "text", "t": "true", "f": "false", "n": "null"}
_LINE_BREAK: Final = r"[ \t\r\n]*\n[ \t\r\n]*"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES: Final = {r"\"": '"', r"\/": "/", r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\b": "\b", r"\f": "\f"}


@dataclass(frozen=True)
class Block:
    """Text with whole records, from `line` on: one on each line; or, where `starts` are given, those that begin and end
    at these places of the text and have these numbers in their list.
    """

    data: bytes
    line: int
    starts: Positions | None = None
    ends: Positions | None = None
    numbers: Positions | None = None

    @cached_property
    def records(self) -> int:
        """How many records it has, blank lines included, but for a last line without its end."""
        return line_ends(self.data) if self.starts is None else len(self.starts)

    @cached_property
    def digest(self) -> bytes:
        """Of the text alone."""
        return hashlib.sha256(self.data).digest()

    def where(self, start: int) -> str:
        """Return the line of a record in a list, for messages; empty for JSON Lines, whose numbers are lines."""
        line = self.line + self.data.count(b"\n", 0, start)
        return "" if self.starts is None else f"line {line:,}"


class Objects(Struct, frozen=True):
    """The valid records of a block, ready to be parsed, and the broken ones."""

    raw: Bytes
    starts: Positions
    lines: Positions
    broken: Broken


def sift(block: Block) -> Objects:
    """Separate valid JSON objects from broken records."""
    data, starts, ends, lines = located(block)
    broken: Broken = []
    kept = np.ones(len(starts), np.bool_)
    if not is_utf8(data):
        for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            if not is_utf8(data[start:end]):
                kept[at] = False
                broken.append((int(lines[at]), "line.encoding", block.where(start), readable(data[start:end])))
    if not _all_valid(data, starts, block, kept):
        for at in np.flatnonzero(kept).tolist():
            text = data[starts[at] : ends[at]]
            if fault := _fault(text):
                kept[at] = False
                where = block.where(starts[at])
                broken.append(
                    (int(lines[at]), "line.json", f"{where}: {fault}" if where else fault, readable(text.rstrip()))
                )
    if kept.all():
        return Objects(np.frombuffer(data + PADDING, np.uint8), starts, lines, broken)
    texts = [data[start:end] for start, end in zip(starts[kept].tolist(), ends[kept].tolist(), strict=True)]
    sizes = np.array([len(text) + 1 for text in texts], np.int64)
    return Objects(
        np.frombuffer(b"\n".join([*texts, PADDING]), np.uint8), np.cumsum(sizes) - sizes, lines[kept], broken
    )


def located(block: Block) -> tuple[bytes, Positions, Positions, Positions]:
    """Return the text of a block, and the start, end and line of each record."""
    data = block.data
    if block.starts is not None and block.ends is not None and block.numbers is not None:
        return data, block.starts, block.ends, block.numbers
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw == 0x0A)
    if len(raw) and raw[-1] != 0x0A:
        ends = np.append(ends, len(raw))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lines = np.arange(len(starts)) + block.line
    odd = np.flatnonzero((starts == ends) | (raw[np.minimum(starts, len(raw) - 1)] != _OPEN))
    if len(odd):
        # Blank lines, and blanks or byte-order marks in front of a record.
        kept = np.ones(len(starts), np.bool_)
        for at in odd.tolist():
            text = data[starts[at] : ends[at]]
            bare = text.lstrip(b" \t\r").removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r")
            starts[at] += len(text) - len(bare)
            kept[at] = bool(bare)
        starts, ends, lines = starts[kept], ends[kept], lines[kept]
    return data, starts, ends, lines


def _all_valid(data: bytes, starts: Positions, block: Block, kept: Mask) -> bool:
    """Return whether all records are valid objects; if not, each must be checked on its own."""
    if not len(starts):
        return True
    first = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)]
    if not kept.all() or not (first == _OPEN).all():
        return False
    if _SURROGATE.search(data):
        return False
    try:
        if block.starts is None:
            # A byte-order mark elsewhere would not be JSON.
            return codecs.BOM_UTF8 not in data and len(_RAW.decode_lines(data)) == len(starts)
        return len(_RAWS.decode(b"[%b]" % data)) == len(starts)
    except (ValueError, RecursionError):
        return False


def _fault(text: bytes) -> str:
    """Return what is wrong with a record, empty if it is valid."""
    try:
        _RAW.decode(text)
        if _SURROGATE.search(text):
            text.decode()
            msgspec.json.decode(text)
    except RecursionError:
        return "nested too deeply"
    except msgspec.ValidationError:
        pass  # a number beyond all bounds stays text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("JSON is malformed: ") if text else "there is nothing between two commas"
        return "half a surrogate pair" if "surrogate" in reason else reason
    if text[:1] != b"{":
        first = text[:1].decode(errors="replace")
        return f"an object is expected, not {_KINDS_OF_JSON.get(first, 'a number')}"
    return ""


class Layouts(Struct, frozen=True):
    """How the paths of a file become columns, for all its parts."""

    columns: tuple[str, ...]
    paths: Paths
    places: Positions
    wholes: Mask
    ordinary: Ordinary = field(default_factory=Ordinary)


class JsonPart(Struct):
    """Consecutive blocks of one file."""

    source: str
    blocks: list[Block]
    layout: Layouts
    position: int

    def read(self) -> Batch:
        """Return the records as columns of text; broken records are in `broken`. Raises ConfigError if the file has
        changed.
        """
        return self._read_ordinary(self.blocks) or joined([self._read(block) for block in self.blocks])

    def digest(self) -> str:
        """Return a digest of the bytes, their lines, and the columns."""
        found = hashlib.sha256(repr((self.source, self.layout.columns)).encode(errors="backslashreplace"))
        for block in self.blocks:
            found.update(repr((block.line, len(block.data))).encode())
            if block.numbers is not None:
                found.update(block.numbers.tobytes())
            found.update(block.digest)
        return found.hexdigest()

    def _read(self, block: Block) -> Batch:
        return self._read_ordinary([block]) or self._read_any(block)

    def _read_ordinary(self, blocks: Sequence[Block]) -> Batch | None:
        """Return the records of blocks that were recognised; null for others. Together they are read faster."""
        layout = self.layout
        found = layout.ordinary.read([(block.line, block.data) for block in blocks]) if layout.ordinary.used else None
        if found is None:
            return None
        names = {layout.columns[place]: key for place, key in zip(layout.places.tolist(), found.columns, strict=False)}
        records = found.select(
            pl.col(names[name]).alias(name) if name in names else pl.lit(None, pl.String).alias(name)
            for name in layout.columns
        ).rechunk()
        first = blocks[0].line
        lines = pl.int_range(first, first + records.height, dtype=pl.UInt64, eager=True)
        return Batch(self.source, records, lines, pl.DataFrame(schema=BROKEN))

    def _read_any(self, block: Block) -> Batch:
        objects = sift(block)
        values = take_apart(objects.raw, objects.starts)
        numbers = self.layout.paths.numbers(values.paths)
        if len(numbers) and numbers.min() < 0:
            raise ConfigError(
                f"{self.source}: changed while it was read. Nothing was written; repeat the command when the file is "
                "complete."
            )
        broken = list(objects.broken)
        records = self._records(objects, values, numbers)
        lines = pl.Series(objects.lines, dtype=pl.UInt64)
        twice = self._with_key_twice(values, numbers, len(objects.starts))
        if len(twice):
            good = np.ones(len(objects.starts), np.bool_)
            good[twice] = False
            bounds = np.append(objects.starts, len(objects.raw) - len(PADDING))
            for at in twice.tolist():
                text = objects.raw[bounds[at] : bounds[at + 1]].tobytes().strip(b" \t\r\n,")
                broken.append((int(objects.lines[at]), "line.key", "", readable(text)))
            records, lines = records.filter(pl.Series(good)), lines.filter(pl.Series(good))
        return Batch(self.source, records, lines, pl.DataFrame(broken, schema=BROKEN, orient="row").sort("line"))

    def _with_key_twice(self, values: Values, numbers: Positions, count: int) -> Positions:
        if _is_regular(values, numbers, count):
            width = len(numbers) // count
            if len(np.unique(numbers[:width])) == width:
                return values.twice
        pairs = np.sort(values.records * (len(self.layout.paths) + 1) + numbers)
        same = pairs[1:][np.diff(pairs) == 0] // (len(self.layout.paths) + 1)
        return np.unique(np.concatenate([same, values.twice]))

    def _records(self, objects: Objects, values: Values, numbers: Positions) -> pl.DataFrame:
        layout, count = self.layout, len(objects.starts)
        raw, columns = objects.raw, layout.places[numbers]
        # An object that is unfolded has no value of its own.
        held = (values.kinds != OBJECT) | layout.wholes[numbers]
        views = text_views(raw, values.starts, np.where(held & (values.kinds > 0), values.ends, values.starts))
        where = _by_column(columns, values, numbers, count, len(layout.columns))
        odd = self._odd_texts(raw, values, np.where(held, columns, -1))
        made = []
        for place, name in enumerate(layout.columns):
            at = where(place)
            if not len(at):
                made.append(constant(None, count, pl.String).alias(name))
                continue
            of_records = values.records[at]
            if len(at) == count:
                column = views[at]
            else:
                column = np.zeros((count, 2), np.uint64)
                column[of_records] = views[at]
            series = pl.Series(name, text_column(raw, column))
            if place in odd:
                rows, texts = odd[place]
                series = series.scatter(rows, texts)
            made.append(series)
        return pl.DataFrame(made) if made else pl.DataFrame()

    @staticmethod
    def _odd_texts(raw: Bytes, values: Values, columns: Positions) -> dict[int, tuple[Positions, pl.Series]]:
        """Column → the records whose text differs from the bytes in the file, and that text: strings with escapes,
        numbers with an exponent, arrays and objects on several lines.
        """
        slashes = np.flatnonzero(raw == 0x5C)
        at = np.searchsorted(values.starts, slashes, side="right") - 1
        has_slash = np.zeros(len(columns), np.bool_)
        has_slash[at[(at >= 0) & (slashes < values.ends[np.maximum(at, 0)])]] = True
        escaped = np.flatnonzero(has_slash & (values.kinds == TEXT) & (columns >= 0))
        nested = np.flatnonzero((values.kinds >= ARRAY) & (columns >= 0))
        plain = np.flatnonzero((values.kinds == PLAIN) & (columns >= 0))
        found = []
        if len(plain):
            texts = pl.Series(text_column(raw, text_views(raw, values.starts[plain], values.ends[plain])))
            unsigned = texts.str.contains(r"[0-9.][eE][0-9]").arg_true()
            if len(unsigned):
                found.append((plain[unsigned.to_numpy()], signed(texts.gather(unsigned))))
        if len(escaped):
            texts = pl.Series(text_column(raw, text_views(raw, values.starts[escaped], values.ends[escaped])))
            found.append((escaped, _unescaped(texts, np.bincount(raw[slashes + 1], minlength=256))))
        if len(nested):
            texts = pl.Series(text_column(raw, text_views(raw, values.starts[nested], values.ends[nested])))
            long = texts.str.contains("\n", literal=True).arg_true()
            if len(long):
                found.append((nested[long.to_numpy()], texts.gather(long).str.replace_all(_LINE_BREAK, "")))
        odd: dict[int, tuple[Positions, pl.Series]] = {}
        for places, texts in found:
            for column in np.unique(columns[places]).tolist():
                mine = np.flatnonzero(columns[places] == column)
                rows, more = values.records[places[mine]], texts.gather(mine)
                if column in odd:
                    rows, more = np.concatenate([odd[column][0], rows]), pl.concat([odd[column][1], more])
                odd[column] = rows, more
        return odd


def _unescaped(texts: pl.Series, behind: npt.NDArray[np.int64]) -> pl.Series:
    """JSON strings without their quotes → the text they contain. `behind` counts the bytes behind backslashes in the
    whole block.
    """
    plain = texts
    if behind[ord("\\")]:
        # A text cannot contain a zero byte: it stands for a backslash until the other escapes are replaced.
        plain = plain.str.replace_all(r"\\", "\0", literal=True)
    codes = plain.str.contains(r"\u", literal=True).arg_true() if behind[ord("u")] else pl.Series(dtype=pl.UInt32)
    for escape, character in _ESCAPES.items():
        if behind[ord(escape[1])]:
            plain = plain.str.replace_all(escape, character, literal=True)
    if behind[ord("\\")]:
        plain = plain.str.replace_all("\0", "\\", literal=True)
    if len(codes):
        query = "select json_extract_string('\"' || t || '\"', '$') as text from texts"
        plain = plain.scatter(codes, jsons.query_columns(query, texts=texts.gather(codes))["text"])
    return plain


def _is_regular(values: Values, numbers: Positions, count: int) -> bool:
    """Return whether all records have the same keys in the same order."""
    if not count or len(numbers) % count:
        return False
    width = len(numbers) // count
    return bool(
        (values.records.reshape(count, width) == np.arange(count)[:, None]).all()
        and (numbers.reshape(count, width) == numbers[:width]).all()
    )


def _by_column(
    columns: Positions, values: Values, numbers: Positions, count: int, width: int
) -> Callable[[int], Positions]:
    """Return a function from the place of a column to the places of its values."""
    if _is_regular(values, numbers, count):
        size = len(numbers) // count
        first = columns[:size]
        slots = {int(column): slot for slot, column in enumerate(first.tolist()) if column >= 0}
        if len(slots) == int((first >= 0).sum()):
            none = np.empty(0, np.int64)
            return lambda column: np.arange(slots[column], len(numbers), size) if column in slots else none
    small = columns.astype(np.int16)
    order = np.argsort(small, kind="stable")
    bounds = np.searchsorted(small[order], np.arange(width + 1))
    return lambda column: order[bounds[column] : bounds[column + 1]]
