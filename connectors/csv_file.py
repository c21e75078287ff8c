"""CSV files as source and destination.

Reading goes in three steps, so that every line of the input has one fate and keeps its number:

1. bytes → UTF-8 with `\\n` line ends, in pieces (`_decoded`). Bytes outside the encoding are no UTF-8 then, and stay
   so until step 3: no quote, delimiter or line end is ever part of one;
2. pieces → blocks of whole records (`_cut`), with numpy on the positions of quotes only. Where the quotes of a block do
   not alternate as RFC 4180 wants, one record is read by a regular expression; a line that no rule reads is set aside
   as `line.quote`, and reading resumes on the next line;
3. blocks → frames by Arrow's CSV reader, side by side in threads. It reports records with too few or too many columns;
   records that hold bytes outside the encoding are set aside as `line.encoding`.

A quote opens a value only at its start; elsewhere in an unquoted value it is text. Lines with nothing on them are no
records. A lone carriage return ends a line, as editors count.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from connectors import files
from connectors.contract import Batch, Layout
from connectors.errors import ConfigError
from schemas.faults import BROKEN

SUFFIXES = (
    *(".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"),
    *(".csv.zst", ".tsv.zst", ".txt.zst"),
)
PIECE_BYTES = 2 << 20
"""Read and cut at a time: small enough to stay in the processor's cache."""
PART_BYTES = 24 << 20
"""Handed on at a time: large enough for what each batch costs by itself."""
MAX_RECORD_BYTES = 16 << 20
"""A quoted value that has not ended by then is taken for a broken quote."""
_RESCUE_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 16
_DELIMITERS = (b",", b";", b"\t", b"|")

# Half a surrogate stands before each byte that the encoding of a file does not know: what is written of it is no UTF-8.
_MARK = "\udcff"
_MARK_BYTES = _MARK.encode(errors="surrogatepass")


def _mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101  (only decoders use it)
    shown = "".join(f"\\x{byte:02x}" for byte in error.object[error.start : error.end])
    return _MARK + shown, error.end


Positions = npt.NDArray[np.int64]

codecs.register_error("tranship-mark", _mark_bad_bytes)


@dataclass(frozen=True)
class CsvOptions:
    """What the user said about the files; null where it is to be found out."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class Grammar:
    """Delimiter and quote of a file (one byte each), and what follows from them."""

    delimiter: bytes
    quote: bytes

    record: re.Pattern[bytes] = field(init=False, repr=False)
    partial: re.Pattern[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        d, q = re.escape(self.delimiter), re.escape(self.quote)
        quoted = rb"%s(?:[^%s]++|%s%s)*+%s" % (q, q, q, q, q)
        value = rb"(?:%s|[^%s%s\n][^%s\n]*+|)" % (quoted, d, q, d)
        head = rb"%s(?:%s%s)*+" % (value, d, value)
        object.__setattr__(self, "record", re.compile(rb"(%s)\r?(?:\n|\Z)" % head))
        object.__setattr__(self, "partial", re.compile(rb"(?:%s%s)*+%s(?:[^%s]++|%s%s)*+\Z" % (value, d, q, q, q, q)))

    def values(self, record: bytes) -> list[str]:
        """The values of one record, unquoted."""
        text = record.rstrip(b"\r\n").decode(errors="replace")
        d, q = self.delimiter.decode(), self.quote.decode()
        found, position = [], 0
        pattern = re.compile(rf"{q}((?:[^{q}]|{q}{q})*){q}(?={re.escape(d)}|$)|([^{re.escape(d)}]*)")
        while True:
            match = pattern.match(text, position)
            assert match  # noqa: S101  (the second branch takes anything)
            found.append(match[2] if match[1] is None else match[1].replace(q + q, q))
            position = match.end() + 1
            if position > len(text):
                return found


@dataclass(frozen=True)
class Dialect:
    """How one file is written."""

    encoding: str
    grammar: Grammar
    columns: tuple[str, ...]
    header: bool
    notes: tuple[str, ...]
    repeats: Mapping[str, str] = field(default_factory=dict)


# Finding out -----------------------------------------------------------------------------------------------------


def sniff_encoding(head: bytes) -> str:
    """Encoding of a file by its first bytes: a BOM; the zeros of UTF-16; UTF-8; else Windows-1252.

    Windows-1252 is only believed where no byte sequence is valid non-ASCII UTF-8 and every high byte is a letter or
    typographic sign there; otherwise the file is UTF-8 with damaged lines.
    """
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[: len(head) & ~1]
    if sample:
        even, odd = sample[::2].count(0) / (len(sample) / 2), sample[1::2].count(0) / (len(sample) / 2)
        if odd > 0.3 and even < 0.05:
            return "utf-16-le"
        if even > 0.3 and odd < 0.05:
            return "utf-16-be"
    if head.isascii():
        return "utf-8"
    text = head.decode("utf-8", "surrogateescape")
    damaged = [ord(c) - 0xDC00 for c in text if "\udc80" <= c <= "\udcff"]
    # A sequence cut off by the end of the sample is no damage.
    if len(damaged) <= 3 and all("\udc80" <= c <= "\udcff" for c in text[-len(damaged) :]):
        return "utf-8"
    good = any(c > "\x7f" and not "\udc80" <= c <= "\udcff" for c in text)
    unlikely = {0x81, 0x8D, 0x8F, 0x90, 0x9D, 0xFE, 0xFF}
    return "utf-8" if good or unlikely.intersection(damaged) else "cp1252"


def _sniff_delimiter(sample: bytes, quote: bytes) -> bytes:
    """The delimiter under which most records have as many values as the first one, and more than one."""

    def fit(delimiter: bytes) -> tuple[float, int]:
        grammar = Grammar(delimiter, quote)
        counts = [len(grammar.values(m[1])) for m in grammar.record.finditer(sample) if m[1]][:200]
        if not counts or counts[0] < 2:
            return (0.0, 0)
        return (Counter(counts)[counts[0]] / len(counts), counts[0])

    best = max(_DELIMITERS, key=fit)
    return best if fit(best)[1] else b","


def _sniff_quote(sample: bytes) -> bytes:
    """A double quote, unless values stand between single ones and no double one is to be seen."""
    single = re.findall(rb"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n])", sample, re.MULTILINE)
    return b"'" if b'"' not in sample and len(single) >= max(1, sample.count(b"\n")) else b'"'


_DATA = re.compile(r"[^@\s]+@[^@\s]+\.\w+|[+-]?[\d.,:/ +-]*\d[\d.,:/ TZ+-]*")


def _looks_like_header(values: list[str]) -> bool:
    """No value of a header is blank twice, an address, a number or a date."""
    stripped = [value.strip() for value in values]
    return any(stripped) and not any(_DATA.fullmatch(value) for value in stripped)


def _column_names(values: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Header names, each once: a blank one is `column_<n>`, a repeated one gets `_2`. Beside them the names made for
    repeated ones → what was repeated.
    """
    names: list[str] = []
    repeats = {}
    for number, value in enumerate(values, 1):
        name = value.strip() or f"column_{number}"
        copies = 2
        unique = name
        while unique in names:
            unique, copies = f"{name}_{copies}", copies + 1
        if unique != name:
            repeats[unique] = name
        names.append(unique)
    return tuple(names), repeats


_OTHER_FILES = {
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV",
    b"PAR1": "is a Parquet file; name it .parquet",
    b"%PDF": "is a PDF; there is no table in it to read",
    b"SQLite format 3": "is an SQLite database; export the table as CSV",
}


def _sniff(name: str, head: bytes, options: CsvOptions) -> Dialect:
    encoding = options.encoding or sniff_encoding(head[: 1 << 20])
    try:
        decoder = codecs.getincrementaldecoder(encoding)("tranship-mark")
    except LookupError as error:
        raise ConfigError(f"--encoding {encoding}: is not known. Try utf-8, cp1252 or utf-16.") from error
    if codecs.lookup(encoding).name == "utf-8" and head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
        decoder = codecs.getincrementaldecoder(encoding)("tranship-mark")
    sample = _unix_lines(decoder.decode(head[: 2 * _SAMPLE_BYTES]).replace(_MARK, "").encode())
    if len(head) > 2 * _SAMPLE_BYTES and b"\n" in sample:
        sample = sample[: sample.rfind(b"\n") + 1]
    other = next((what for magic, what in _OTHER_FILES.items() if head.startswith(magic)), None)
    if other is None and len(re.findall(rb"[\x00-\x08\x0e-\x1f]", sample[:4096])) > len(sample[:4096]) / 10:
        other = "is no text. If it is, name its encoding with --encoding"
    if other:
        raise ConfigError(f"{name}: {other}.")
    quote = options.quote.encode() if options.quote else _sniff_quote(sample)
    delimiter = options.delimiter.encode() if options.delimiter else _sniff_delimiter(sample, quote)
    grammar = Grammar(delimiter, quote)
    first = next((m[1] for m in grammar.record.finditer(sample) if m[1].strip(b"\r")), b"")
    values = grammar.values(first) if first else []
    header = _looks_like_header(values) if options.header is None else options.header
    columns, repeats = _column_names(values if header else [""] * len(values))
    notes = []
    if not options.encoding and encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"encoding {'Windows-1252' if encoding == 'cp1252' else encoding.upper()}")
    if not options.delimiter and delimiter != b",":
        notes.append("delimiter " + ("tab" if delimiter == b"\t" else delimiter.decode()))
    if options.header is None and not header and values:
        notes.append("no header line")
    return Dialect(encoding, grammar, columns, header, tuple(notes), repeats)


# Bytes → lines → records -----------------------------------------------------------------------------------------


def _unix_lines(data: bytes) -> bytes:
    """Lone carriage returns become line ends; `\\r\\n` stays, Arrow reads it."""
    return re.sub(rb"\r(?!\n)", b"\n", data) if b"\r" in data else data


def _decoded(content: files.Bytes, encoding: str) -> Iterator[tuple[bytes, int]]:
    """UTF-8 pieces, and how far the file has been read."""
    utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    recode = None if utf8 else codecs.getincrementaldecoder(encoding)("tranship-mark")
    pending, bom = b"", codecs.BOM_UTF8 if encoding == "utf-8-sig" else b""
    for piece in content:
        data = piece if recode is None else recode.decode(piece).encode(errors="surrogatepass")
        if pending:
            data = pending + data
        if bom and len(data) >= len(bom):
            data, bom = data.removeprefix(bom), b""
        # A carriage return may be followed by its line feed in the next piece, half a byte-order mark by the rest.
        pending = data if bom else b"\r" if data.endswith(b"\r") else b""
        yield _unix_lines(data.removesuffix(pending)), content.position
    rest = b"" if recode is None else recode.decode(b"", final=True).encode(errors="surrogatepass")
    yield _unix_lines(pending + rest), content.position


@dataclass
class _Block:
    """Whole records, and lines set aside.

    `segments` are (offset in `data`, line in the file) where the text is not contiguous in the file; `lenient` are
    ranges of `data` that hold one record each whose quotes do not alternate; `newlines` and `quotes` are where those
    stand in `data`.
    """

    data: bytes
    segments: list[tuple[int, int]]
    lenient: list[tuple[int, int]]
    broken: list[tuple[int, str, str, str]]
    newlines: Positions
    quotes: Positions


def _cut(buffer: bytes, line: int, grammar: Grammar, *, final: bool) -> tuple[_Block, int, int]:
    """The whole records at the start of `buffer`, which starts with a record on `line`; how many bytes they took; and
    the line behind them.

    Raises ConfigError if there is no line end in sight.
    """
    raw = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(raw == grammar.quote[0])
    newlines = np.flatnonzero(raw == 0x0A)
    faults = _alternation_faults(raw, quotes, grammar)

    def record_end(start: int, first_quote: int, limit: int) -> int:
        """End of the last record that ends at or before `limit`, quotes alternating since `start`."""
        while (newline := buffer.rfind(b"\n", start, limit)) >= 0:
            opened = int(np.searchsorted(quotes, newline)) - first_quote
            if opened % 2 == 0:
                return newline + 1
            limit = int(quotes[first_quote + opened - 1])
        return start

    kept: list[tuple[int, int, int]] = []  # line, start, end
    lenient: list[tuple[int, int]] = []
    broken: list[tuple[int, str, str, str]] = []
    start = 0

    def line_at(position: int) -> int:
        return line + int(np.searchsorted(newlines, position))

    while start < len(buffer):
        first_quote = int(np.searchsorted(quotes, start))
        ahead = faults[first_quote % 2]
        fault = int(np.searchsorted(ahead, first_quote))
        limit = int(quotes[ahead[fault]]) if fault < len(ahead) else len(buffer)
        end = record_end(start, first_quote, limit)
        if limit == len(buffer) and final and (len(quotes) - first_quote) % 2 == 0:
            end = len(buffer)
        if end > start:
            kept.append((line_at(start), start, end))
            start = end
        if limit == len(buffer) and (len(quotes) - first_quote) % 2 == 0:
            break  # nothing is left but the start of a line
        # What follows starts a record that the plain rule cannot read, or that goes on behind the buffer.
        if start == len(buffer):
            break
        match = grammar.record.match(buffer, start)
        waits = not final and len(buffer) - start <= MAX_RECORD_BYTES
        if match and match.end() > start and (final or buffer[match.end() - 1] == 0x0A):
            lenient.append((start, match.end()))
            kept.append((line_at(start), start, match.end()))
            start = match.end()
        elif waits and (match or buffer.find(b"\n", start) < 0 or grammar.partial.match(buffer, start)):
            break
        else:
            newline = buffer.find(b"\n", start)
            end = newline + 1 if newline >= 0 else len(buffer)
            broken.append((line_at(start), "line.quote", "", _shown(buffer[start:end])))
            start = end
    if not final and start == 0 and len(buffer) > MAX_RECORD_BYTES:
        raise ConfigError(f"no line end within {MAX_RECORD_BYTES >> 20} MB at line {line}: is it CSV?")
    return _assemble(buffer, kept, lenient, broken, newlines, quotes), start, line_at(start)


def _alternation_faults(raw: npt.NDArray[np.uint8], quotes: Positions, grammar: Grammar) -> tuple[Positions, Positions]:
    """Quotes that cannot open (or close) where they would have to: for an even, and for an odd first quote."""
    if not len(quotes):
        return quotes, quotes
    delimiter, quote = grammar.delimiter[0], grammar.quote[0]
    before = np.where(quotes > 0, raw[quotes - 1], 0x0A)
    after = np.where(quotes < len(raw) - 1, raw[np.minimum(quotes + 1, len(raw) - 1)], 0x0A)
    opens = (before == delimiter) | (before == 0x0A) | (before == quote)
    closes = (after == delimiter) | (after == 0x0A) | (after == 0x0D) | (after == quote)
    even = np.arange(len(quotes)) % 2 == 0
    return np.flatnonzero(~np.where(even, opens, closes)), np.flatnonzero(~np.where(even, closes, opens))


def _assemble(
    buffer: bytes,
    kept: list[tuple[int, int, int]],
    lenient: list[tuple[int, int]],
    broken: list[tuple[int, str, str, str]],
    newlines: Positions,
    quotes: Positions,
) -> _Block:
    pieces: list[bytes] = []
    segments: list[tuple[int, int]] = []
    moved: dict[int, int] = {}
    length, last_end = 0, -1
    for line, start, end in kept:
        if start != last_end:
            segments.append((length, line))
        moved[start] = length
        pieces.append(buffer[start:end])
        length, last_end = length + end - start, end
    ranges = [(moved[start], moved[start] + end - start) for start, end in lenient]
    starts, ends = (np.array([piece[i] for piece in kept], np.int64) for i in (1, 2))
    shifts = starts - np.array(list(moved.values()), np.int64)

    def follow(positions: Positions) -> Positions:
        """Positions in the buffer as positions in the data; those set aside are left out."""
        piece = np.searchsorted(starts, positions, side="right") - 1
        inside = (piece >= 0) & (positions < ends[np.maximum(piece, 0)])
        return positions[inside] - shifts[piece[inside]]

    if len(kept) == 1:
        low, high = starts[0], ends[0]
        found = [p[np.searchsorted(p, low) : np.searchsorted(p, high)] - low for p in (newlines, quotes)]
    else:
        found = [follow(p) if kept else p[:0] for p in (newlines, quotes)]
    return _Block(b"".join(pieces), segments, ranges, broken, *found)


def _shown(record: bytes) -> str:
    return record.rstrip(b"\r\n").replace(_MARK_BYTES, b"").decode(errors="backslashreplace")


@dataclass(frozen=True)
class _Records:
    """Where the records of a block lie: start and end (without the line feed) in the data, line in the file."""

    starts: Positions
    ends: Positions
    lines: Positions


def _records(block: _Block) -> _Records:
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
    return _Records(starts, ends, lines[segment] + within)


def _within(positions: Positions, first: Positions, last: Positions) -> npt.NDArray[np.bool_]:
    index = np.searchsorted(first, positions, side="right") - 1
    return np.asarray((index >= 0) & (positions < last[np.maximum(index, 0)]))


@dataclass
class CsvPart:
    """Blocks of one file that lie one behind the other."""

    source: str
    blocks: list[_Block]
    columns: tuple[str, ...]
    grammar: Grammar
    position: int

    def read(self) -> Batch:
        """Arrow's reader over each block; records that do not fit are set aside."""
        batches = [self._read(block) for block in self.blocks]
        if len(batches) == 1:
            return batches[0]
        return Batch(
            self.source,
            pl.concat([batch.records for batch in batches], rechunk=True),
            pl.concat([batch.lines for batch in batches], rechunk=True),
            pl.concat([batch.broken for batch in batches]),
        )

    def digest(self) -> str:
        """Of the bytes, the lines they stand on, and how they are read."""
        layout = [(block.segments, block.lenient, block.broken) for block in self.blocks]
        grammar = (self.grammar.delimiter, self.grammar.quote)
        found = hashlib.sha256(repr((self.source, self.columns, grammar, layout)).encode(errors="surrogatepass"))
        for block in self.blocks:
            found.update(block.data)
        return found.hexdigest()

    def _read(self, block: _Block) -> Batch:
        where = _records(block)
        data, broken = block.data, list(block.broken)
        if not _is_utf8(data):
            data, where, bad = _without_damaged(data, where)
            broken += bad
        records, faulty = self._parse(data)
        if faulty:
            keep = np.ones(len(where.lines), bool)
            rescued: list[Batch] = []
            for row in faulty:
                index = row.number - 1
                keep[index] = False
                line, text = int(where.lines[index]), data[where.starts[index] : where.ends[index] + 1]
                again = self._rescue(text, line)
                if again is None:
                    code = "too_few" if row.actual_columns < row.expected_columns else "too_many"
                    detail = f"{row.actual_columns} of {row.expected_columns} columns"
                    broken.append((line, f"line.{code}_columns", detail, _shown(text)))
                else:
                    rescued.append(again)
            lines = pl.Series(where.lines[keep], dtype=pl.UInt64)
            if rescued:
                records = pl.concat([records, *(batch.records for batch in rescued)])
                lines = pl.concat([lines, *(batch.lines for batch in rescued)])
                broken += [row for batch in rescued for row in batch.broken.rows()]
                order = lines.arg_sort()
                records, lines = records[order], lines.gather(order)
        else:
            lines = pl.Series(where.lines, dtype=pl.UInt64)
        if records.height != len(lines):
            raise RuntimeError(f"{self.source}: {len(lines)} records were found and {records.height} read")
        return Batch(self.source, records, lines, pl.DataFrame(broken, schema=BROKEN, orient="row"))

    def _parse(self, data: bytes) -> tuple[pl.DataFrame, list[Any]]:
        faulty: list[Any] = []

        def skip(row: Any) -> str:
            faulty.append(row)
            return "skip"

        if not data.strip(b"\r\n"):
            return pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String)), faulty
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=list(self.columns)
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.grammar.delimiter.decode(),
                quote_char=self.grammar.quote.decode(),
                newlines_in_values=True,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.string()),
                check_utf8=False,  # decoded here
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  (a table gives a frame)
        return frame, faulty

    def _rescue(self, text: bytes, line: int) -> Batch | None:
        """Good records inside one that spans lines and has a wrong number of columns: a quote was left open, and a
        later one closed it by chance. Null if there are none.
        """
        first = text.find(b"\n") + 1
        if not 0 < first < len(text) or len(text) > _RESCUE_BYTES:
            return None
        block, _, _ = _cut(text[first:], line + 1, self.grammar, final=True)
        batch = self._read(block)
        if batch.records.is_empty():
            return None
        head = pl.DataFrame([(line, "line.quote", "", _shown(text[:first]))], schema=BROKEN, orient="row")
        return Batch(batch.source, batch.records, batch.lines, pl.concat([head, batch.broken]))


def _is_utf8(data: bytes) -> bool:
    """Whether it is valid UTF-8. Arrow looks without building a text: five times as fast, and beside other threads."""
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _without_damaged(data: bytes, where: _Records) -> tuple[bytes, _Records, list[tuple[int, str, str, str]]]:
    """Take out the records that hold bytes outside the encoding."""
    foreign = (m for m in re.finditer(rb"[\x80-\xff]+", data))
    marks = np.array([m.start() for m in foreign if not _is_text(m[0])], np.int64)
    bad = np.unique(np.searchsorted(where.ends, marks))
    broken = [
        (int(where.lines[i]), "line.encoding", "", _shown(data[where.starts[i] : where.ends[i]])) for i in bad.tolist()
    ]
    keep = np.ones(len(where.lines), bool)
    keep[bad] = False
    # Whole runs between bad records are copied, not record by record.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.view(np.int8), [0]])))
    runs = [
        data[where.starts[first] : where.ends[last - 1] + 1]
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
    joined = b"".join(run if run.endswith(b"\n") else run + b"\n" for run in runs)
    lengths = where.ends[keep] - where.starts[keep]
    kept = _Records(where.starts[keep], where.ends[keep], where.lines[keep])
    # Blank lines inside a run are still there: starts move by what was cut before each run.
    shift, position = np.zeros(len(lengths), np.int64), 0
    done = 0
    for run, (first, last) in zip(runs, zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True), strict=True):
        shift[done : done + last - first] = position - where.starts[first]
        position += len(run) if run.endswith(b"\n") else len(run) + 1
        done += last - first
    return joined, _Records(kept.starts + shift, kept.ends + shift, kept.lines), broken


def _is_text(some: bytes) -> bool:
    """`_is_utf8` of a few bytes, for which Arrow's preparations would take longer than the look."""
    try:
        some.decode()
    except UnicodeDecodeError:
        return False
    return True


# The source ------------------------------------------------------------------------------------------------------


class CsvSource:
    """One CSV file, or several of one run; the dialect of each is found out by itself."""

    def __init__(self, spec: str, options: CsvOptions) -> None:
        for name, value in (("--delimiter", options.delimiter), ("--quote", options.quote)):
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise ConfigError(f"{name} {value!r}: must be one ASCII character.")
        self._files = files.expand(spec, SUFFIXES)
        self._options = options
        sizes = [file.size for file in self._files]
        self.size: int | None = None if None in sizes else sum(size for size in sizes if size is not None)
        self._stdin: tuple[files.Bytes, Iterator[bytes], bytes] | None = None
        self._dialects = [self._look(file) for file in self._files]

    def layouts(self) -> list[Layout]:
        """Header names, or column_1, column_2, … where there is no header."""
        return [
            Layout(file.name, dialect.columns, dialect.notes, dialect.repeats)
            for file, dialect in zip(self._files, self._dialects, strict=True)
        ]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Names, sizes and times of the files."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[CsvPart]:
        """Blocks in file order."""
        done = 0
        for file, dialect in zip(self._files, self._dialects, strict=True):
            content = self._content(file)
            try:
                blocks: list[_Block] = []
                position = 0
                for block, position in _blocks(content, dialect, file.name):
                    blocks.append(block)
                    if sum(len(block.data) for block in blocks) >= PART_BYTES:
                        yield CsvPart(file.name, blocks, dialect.columns, dialect.grammar, done + position)
                        blocks = []
                if blocks:
                    yield CsvPart(file.name, blocks, dialect.columns, dialect.grammar, done + position)
            finally:
                content.close()
            done += content.position

    def close(self) -> None:
        """Nothing is held open between parts."""

    def _look(self, file: files.File) -> Dialect:
        content = files.Bytes(file, PIECE_BYTES)
        keep = file.name == files.STDIN_NAME
        try:
            pieces = iter(content)
            head = next(pieces, b"")
        finally:
            if not keep:
                content.close()
        if keep:
            self._stdin = (content, pieces, head)
        return _sniff(file.name, head, self._options)

    def _content(self, file: files.File) -> files.Bytes:
        return _Replayed(*self._stdin) if self._stdin else files.Bytes(file, PIECE_BYTES)


class _Replayed(files.Bytes):
    """Standard input, whose first piece has been looked at already."""

    def __init__(self, content: files.Bytes, rest: Iterator[bytes], head: bytes) -> None:
        self._content, self._rest, self._head = content, rest, head

    @property
    def position(self) -> int:
        return self._content.position

    def __iter__(self) -> Iterator[bytes]:
        if self._head:
            yield self._head
        yield from self._rest

    def close(self) -> None:
        """Standard input stays open."""


def _blocks(content: files.Bytes, dialect: Dialect, name: str) -> Iterator[tuple[_Block, int]]:
    carry, line, header = b"", 1, dialect.header
    pieces = _decoded(content, dialect.encoding)
    piece, position = next(pieces)
    while True:
        ahead = next(pieces, None)
        final = ahead is None
        buffer = carry + piece
        if header:
            # The header was read by the same rule when the file was looked at.
            match = re.match(rb"(?:\r?\n)*", buffer)
            blank = match.end() if match else 0
            found = dialect.grammar.record.match(buffer, blank)
            skipped = found.end() if found else len(buffer)
            line += buffer.count(b"\n", 0, skipped)
            buffer, header = buffer[skipped:], False
        try:
            block, used, line = _cut(buffer, line, dialect.grammar, final=final)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        if block.data or block.broken:
            yield block, position
        carry = buffer[used:]
        if ahead is None:
            return
        piece, position = ahead


# The destination -------------------------------------------------------------------------------------------------

_RUNS = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?[0-9][0-9 .,]*$"


def _harmless(column: pl.Expr) -> pl.Expr:
    """A cell that a spreadsheet would run gets an apostrophe in front; numbers and phone numbers do not run.

    After OWASP, CSV Injection.
    """
    runs = column.str.contains(_RUNS) & ~column.str.contains(_NUMBER)
    return pl.when(runs).then(pl.lit("'") + column).otherwise(column).name.keep()


def destination(spec: str, *, raw: bool) -> files.WholeFile:
    """A CSV file to be written whole: UTF-8, commas, ISO 8601 instants with Z, lists as JSON."""

    def write(frame: pl.LazyFrame, path: Path) -> None:
        schema = frame.collect_schema()
        texts = [name for name, dtype in schema.items() if dtype == pl.String]
        lists = [name for name, dtype in schema.items() if isinstance(dtype, pl.List)]
        instants = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
        frame = frame.with_columns(
            *(pl.col(texts).pipe(_harmless) for _ in [0] if texts and not raw),
            *(
                pl.when(pl.col(name).is_not_null())
                .then(pl.struct(pl.col(name)).struct.json_encode().str.slice(len(name) + 4).str.head(-1))
                .alias(name)
                for name in lists
            ),
            *(pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for name in instants),
        )
        frame.sink_csv(path)

    return files.WholeFile(spec, write)
