"""Cut the bytes of a CSV file into blocks of whole records, with numpy on the positions of quotes only."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.connectors.files.csv_dialect import Dialect
from tranship.connectors.files.csv_grammar import MAX_RECORD_BYTES, Grammar, Records
from tranship.connectors.files.csv_quotes import BLANK, Alternation, Bytes, Positions
from tranship.connectors.files.part_size import short_pieces
from tranship.connectors.files.text_encoding import BAD_BYTE_UTF8, SWAPPED_BOM, unix_line_ends

_MOST_EXACT = 1024
"""The records that are read one by one before the plain rule is tried again."""


def decode_pieces(content: storage.Bytes, encoding: str, name: str) -> Iterator[tuple[bytes, int]]:
    """Yield pieces in UTF-8 and the position in the file. Raises ConfigError where the byte order changes."""
    utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    recode = None if utf8 else codecs.getincrementaldecoder(encoding)("tranship-mark")
    pending, bom = b"", codecs.BOM_UTF8 if encoding == "utf-8-sig" else b""
    for piece in content:
        data = piece if recode is None else recode.decode(piece).encode(errors="surrogatepass")
        if recode is not None and SWAPPED_BOM in data:
            raise ConfigError(
                f"{name}: files of UTF-16 with different byte orders were joined into this one; give them one by one."
            )
        if pending:
            data = pending + data
        if bom and len(data) >= len(bom):
            data, bom = data.removeprefix(bom), b""
        # A carriage return may be followed by its line feed in the next piece, half a byte-order mark by the rest.
        pending = data if bom else b"\r" if data.endswith(b"\r") else b""
        yield unix_line_ends(data.removesuffix(pending)), content.position
    rest = b"" if recode is None else recode.decode(b"", final=True).encode(errors="surrogatepass")
    yield unix_line_ends(pending + rest), content.position


class Block(Struct):
    """Whole records, and the lines that are not records.

    `segments` are (offset in `data`, line in the file) where the text is not contiguous in the file; `lenient` are
    ranges of `data`, each a record whose quotes do not alternate; `newlines` and `quotes` are the positions of those
    characters in `data`. Rare cases are handled only if they occur: blanks beside quotes (`padded`), a byte-order mark
    at the start of a line (`marked`).
    """

    data: bytes
    segments: list[tuple[int, int]]
    lenient: list[tuple[int, int]]
    broken: list[tuple[int, str, str, str]]
    newlines: Positions
    quotes: Positions
    padded: bool
    marked: bool


def cut(buffer: bytes, line: int, grammar: Grammar, *, final: bool) -> tuple[Block, int, int]:
    """Return the whole records at the start of `buffer`, which starts with a record on `line`; their size in bytes; and
    the number of the next line.

    Raises ConfigError if there is no line end.
    """
    raw = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(raw == grammar.quote[0])
    newlines = np.flatnonzero(raw == 0x0A)
    alternation = Alternation(buffer, quotes, newlines, grammar)
    marked = _starts_with_mark(raw, newlines)

    records = Records(buffer, grammar)
    kept: list[tuple[int, int, int]] = []  # line, start, end
    lenient: list[tuple[int, int]] = []
    broken: list[tuple[int, str, str, str]] = []
    start, exact = 0, 1

    def keep(end: int) -> None:
        if kept and kept[-1][2] == start:
            kept[-1] = (*kept[-1][:2], end)
        else:
            kept.append((line, start, end))

    while start < len(buffer):
        end, is_rest = alternation.plain(start, final=final)
        if end > start:
            keep(end)
            line += buffer.count(b"\n", start, end)
            start, exact = end, 1
        if is_rest or start == len(buffer):
            break
        # The rest starts with a record that the plain rule cannot read, or that continues after the buffer. Such
        # records often follow one another: each time, more of them are read one by one.
        for _ in range(exact):
            end, match = records.next(start, whole=final or len(buffer) - start > MAX_RECORD_BYTES)
            if match:
                lenient.append((start, end))
                keep(end)
            elif end > start:
                broken.append((line, "line.quote", "", readable(buffer[start:end])))
            else:
                break
            line += buffer.count(b"\n", start, end)
            start = end
            if start == len(buffer):
                break
        else:
            exact = min(2 * exact, _MOST_EXACT)
            continue
        break
    if not final and start == 0 and len(buffer) > MAX_RECORD_BYTES:
        raise ConfigError(f"no line end within {MAX_RECORD_BYTES >> 20} MB at line {line}: is it CSV?")
    block = _assemble(buffer, kept, lenient, broken, newlines, quotes)
    padded = alternation.padded or bool(lenient)
    return replace(block, padded=padded, marked=marked), start, line


def cut_parts(buffer: bytes, parts: list[tuple[int, int, int]], grammar: Grammar) -> Block:
    """Return the records in parts of a buffer that are read one by one: line, start and end of each, in order."""
    raw = np.frombuffer(buffer, np.uint8)
    quotes, newlines = np.flatnonzero(raw == grammar.quote[0]), np.flatnonzero(raw == 0x0A)
    records = Records(buffer, grammar)
    kept: list[tuple[int, int, int]] = []
    lenient: list[tuple[int, int]] = []
    broken: list[tuple[int, str, str, str]] = []
    for first_line, first, behind in parts:
        line, start = first_line, first
        while start < behind:
            end, match = records.next(start, whole=True, end=behind)
            if match:
                lenient.append((start, end))
                kept.append((line, start, end))
            else:
                broken.append((line, "line.quote", "", readable(buffer[start:end])))
            line += buffer.count(b"\n", start, end)
            start = end
    block = _assemble(buffer, kept, lenient, broken, newlines, quotes)
    return replace(block, padded=bool(lenient), marked=_starts_with_mark(raw, newlines))


def _starts_with_mark(raw: Bytes, newlines: Positions) -> bool:
    """Return whether a line may start with a byte-order mark."""
    first = codecs.BOM_UTF8[0]
    return bool(len(raw)) and bool(raw[0] == first or (raw[np.minimum(newlines + 1, len(raw) - 1)] == first).any())


def _assemble(
    buffer: bytes,
    kept: list[tuple[int, int, int]],
    lenient: list[tuple[int, int]],
    broken: list[tuple[int, str, str, str]],
    newlines: Positions,
    quotes: Positions,
) -> Block:
    pieces = [buffer[start:end] for _, start, end in kept]
    starts, ends = (np.array([piece[i] for piece in kept], np.int64) for i in (1, 2))
    offsets = np.cumsum(ends - starts) - (ends - starts)
    shifts = starts - offsets
    segments = list(zip(offsets.tolist(), [line for line, _, _ in kept], strict=True))
    ranges: list[tuple[int, int]] = []
    if lenient:
        at = np.array(lenient, np.int64)
        at -= shifts[np.searchsorted(starts, at[:, :1], side="right") - 1]
        ranges = [(first, last) for first, last in at.tolist()]

    def follow(positions: Positions) -> Positions:
        """Return positions in the buffer as positions in the data, without those of removed lines."""
        piece = np.searchsorted(starts, positions, side="right") - 1
        inside = (piece >= 0) & (positions < ends[np.maximum(piece, 0)])
        return np.asarray(positions[inside] - shifts[piece[inside]])

    if len(kept) == 1:
        low, high = starts[0], ends[0]
        found = [p[np.searchsorted(p, low) : np.searchsorted(p, high)] - low for p in (newlines, quotes)]
    else:
        found = [follow(p) if kept else p[:0] for p in (newlines, quotes)]
    return Block(b"".join(pieces), segments, ranges, broken, found[0], found[1], False, False)


def readable(record: bytes) -> str:
    """Return a record as text for people; bytes that are not valid text are escaped."""
    return record.rstrip(b"\r\n").replace(BAD_BYTE_UTF8, b"").decode(errors="backslashreplace")


class RecordPositions(Struct, frozen=True):
    """Positions of the records of a block: start and end (without the line feed) in the data, line in the file."""

    starts: Positions
    ends: Positions
    lines: Positions


def locate_records(block: Block) -> RecordPositions:
    """Return the positions of the records of a block, blank lines left out."""
    raw = np.frombuffer(block.data, np.uint8)
    ends, quotes = block.newlines, block.quotes
    if len(quotes):
        if block.lenient:
            first, last = (np.array([r[i] for r in block.lenient], np.int64) for i in (0, 1))
            quotes = quotes[~_within(quotes, first, last)]
            ends = ends[~_within(ends, first, last - 1)]
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(raw) and raw[-1] != 0x0A:
        ends = np.append(ends, len(raw))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    blank = ends == starts
    if len(starts):
        blank |= (ends == starts + 1) & (raw[np.minimum(starts, len(raw) - 1)] == 0x0D)
    starts, ends = starts[~blank], ends[~blank]
    offsets = np.array([offset for offset, _ in block.segments], np.int64)
    lines = np.array([line for _, line in block.segments], np.int64)
    segment = np.searchsorted(offsets, starts, side="right") - 1
    within = np.searchsorted(block.newlines, starts) - np.searchsorted(block.newlines, offsets)[segment]
    return RecordPositions(starts, ends, lines[segment] + within)


def _within(positions: Positions, first: Positions, last: Positions) -> npt.NDArray[np.bool_]:
    index = np.searchsorted(first, positions, side="right") - 1
    return np.asarray((index >= 0) & (positions < last[np.maximum(index, 0)]))


def byte_order_marks(data: bytes, starts: Positions) -> Positions:
    """Return the starts of records at which there is a byte-order mark."""
    first = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)] == codecs.BOM_UTF8[0]
    found, size = [], len(codecs.BOM_UTF8)
    for start in starts[first].tolist():
        at = start
        while data.startswith(codecs.BOM_UTF8, at):
            found.append(at)
            at += size
    return np.array(found, np.int64)


def padding_positions(block: Block, grammar: Grammar) -> list[Positions]:
    """Return the positions of the blanks around quoted values."""
    raw = np.frombuffer(block.data, np.uint8)
    quotes, found = block.quotes, []
    if block.lenient:
        quotes = quotes[~_within(quotes, *(np.array([r[i] for r in block.lenient], np.int64) for i in (0, 1)))]
        for first, last in block.lenient:
            for match in grammar.padding.finditer(block.data[first:last]):
                blanks = (match.span(1), match.span(2))
                found += [np.arange(first + at, first + behind) for at, behind in blanks if at < behind]
    # Quotes alternate here: one that does not start a value follows text or another quote.
    for at, step in ((quotes[::2] - 1, -1), (quotes[1::2] + 1, 1)):
        while True:
            at = at[(at >= 0) & (at < len(raw))]
            at = at[raw[at] == BLANK]
            if not len(at):
                break
            found.append(at)
            at = at + step
    return found


def without_bytes(gone: Positions, data: bytes, where: RecordPositions) -> tuple[bytes, RecordPositions]:
    """Return the data without these bytes; a record that becomes empty is dropped."""
    raw = np.frombuffer(data, np.uint8)
    kept = np.ones(len(raw), bool)
    kept[gone] = False
    starts, ends = (at - np.searchsorted(gone, at) for at in (where.starts, where.ends))
    left = raw[kept].tobytes()
    filled = ends > starts
    filled &= (ends > starts + 1) | (np.frombuffer(left + b"\r", np.uint8)[starts] != 0x0D)
    return left, RecordPositions(starts[filled], ends[filled], where.lines[filled])


def cut_blocks(content: storage.Bytes, dialect: Dialect, name: str) -> Iterator[tuple[Block, int]]:
    """Yield the blocks of a file without its header and the lines above it, and the position in the file."""
    carry, line, above = b"", 1, dialect.lines_above
    pieces = short_pieces(decode_pieces(content, dialect.encoding, name))
    piece, position = next(pieces)
    while True:
        ahead = next(pieces, None)
        final = ahead is None
        buffer = carry + piece
        start = 0
        while above and (newline := buffer.find(b"\n", start)) >= 0:
            start, above, line = newline + 1, above - 1, line + 1
        buffer = b"" if above else buffer[start:] if start else buffer
        try:
            block, used, line = cut(buffer, line, dialect.grammar, final=final)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        if block.data or block.broken:
            yield block, position
        carry = buffer[used:]
        if ahead is None:
            return
        piece, position = ahead
