"""CSV files as source and destination.

Reading goes in three steps, so that every line of the input has one fate and keeps its number:

1. bytes → UTF-8 with `\\n` line ends, in pieces (`_decoded`). Bytes outside the encoding are no UTF-8 then, and stay
   so until step 3: no quote, delimiter or line end is ever part of one;
2. pieces → blocks of whole records (`_cut`), with numpy on the positions of quotes only. Where the quotes of a block do
   not alternate as RFC 4180 wants, one record is read by a regular expression; a line that no rule reads is set aside
   as `line.quote`, and reading resumes on the next line;
3. blocks → frames by Arrow's CSV reader, side by side in threads. It reports records with too few or too many columns;
   records that hold bytes outside the encoding are set aside as `line.encoding`.

A quote opens a value only at its start, blanks before it not counted; elsewhere in an unquoted value it is text. Lines
with nothing on them are no records. A lone carriage return ends a line, as editors count. Files that were joined leave
byte-order marks and header lines in the middle: a mark in front of a record is removed, a header line is set aside as
`line.header`.

Whatever is no regular file (a pipe, standard input) is opened once: what was looked at is read again from memory.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from tranship.connectors.contract import Batch, Layout, notes_on, repeated, told_apart
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import storage
from tranship.schemas import cells
from tranship.schemas.faults import BROKEN

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
_SAMPLE_BYTES = 1 << 17
_SAMPLE_RECORDS = 200
_DELIMITERS = (b",", b";", b"\t", b"|")

# Half a surrogate stands before each byte that the encoding of a file does not know: what is written of it is no UTF-8.
_MARK = "\udcff"
_MARK_BYTES = _MARK.encode(errors="surrogatepass")
_SWAPPED_MARK = "\ufffe".encode()
"""What a byte-order mark of the other order is read as; it is no character."""


def _mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101  (only decoders use it)
    shown = "".join(f"\\x{byte:02x}" for byte in error.object[error.start : error.end])
    return _MARK + shown, error.end


_BLANK, _GUARD = 0x20, 0x27
_BEHIND_GUARD = frozenset(b"=+-@\t\r'\xc2\xe2\xef")
"""Bytes that can follow a guard; of letters other than ASCII's, the first byte."""
_FOLLOWS_GUARD = np.isin(np.arange(256), list(_BEHIND_GUARD))
_QUOTE = frozenset(b'"')
_RARE = 20_000
_HEADER_BYTES = 4
_MOST_BLANKS = 64
"""More blanks beside a quote are left to the regular expression, which is slower."""
_BLANK_LINES = re.compile(rb"(?:\r?\n)*")

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

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
    padding: re.Pattern[bytes] = field(init=False, repr=False)
    """Each quoted value of a record, with the blanks around it."""

    def __post_init__(self) -> None:
        d, q, blanks, mark = re.escape(self.delimiter), re.escape(self.quote), self._blanks, codecs.BOM_UTF8
        inner = rb"(?:[^%s]++|%s%s)*+" % (q, q, q)
        quoted = rb"%s%s%s%s%s" % (blanks, q, inner, q, blanks)
        value = rb"(?:%s|(?!%s%s)[^%s%s\n][^%s\n]*+|)" % (quoted, blanks, q, d, q, d)
        head = rb"%s(?:%s%s)*+" % (value, d, value)
        object.__setattr__(self, "record", re.compile(rb"(?:%s)*+(%s)\r?(?:\n|\Z)" % (mark, head)))
        partial = rb"(?:%s)*+(?:%s%s)*+%s%s%s\Z" % (mark, value, d, blanks, q, inner)
        object.__setattr__(self, "partial", re.compile(partial))
        padding = rb"(?:\A(?:%s)*+|(?<=%s))(%s)%s%s%s(%s)(?=[%s\r\n]|\Z)" % (mark, d, blanks, q, inner, q, blanks, d)
        object.__setattr__(self, "padding", re.compile(padding))

    @property
    def pads(self) -> bool:
        """Whether blanks around a quoted value do not belong to it."""
        return b" " not in (self.delimiter, self.quote)

    @property
    def _blanks(self) -> bytes:
        return rb" *+" if self.pads else b""

    def values(self, record: bytes) -> list[str]:
        """The values of one record, unquoted."""
        text = record.rstrip(b"\r\n").decode(errors="replace")
        d, q = self.delimiter.decode(), self.quote.decode()
        found, position = [], 0
        blanks = self._blanks.decode()
        pattern = re.compile(rf"{blanks}{q}((?:[^{q}]|{q}{q})*){q}{blanks}(?={re.escape(d)}|$)|([^{re.escape(d)}]*)")
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
    heading: tuple[str, ...] = ()
    """The header as it stands in the file, trimmed; empty without one."""
    repeated: Mapping[str, str] = field(default_factory=dict)
    """As in `Layout`."""


# Finding out -----------------------------------------------------------------------------------------------------


def sniff_encoding(head: bytes) -> str | None:
    """Encoding of a file by its first bytes: a BOM; the zeros of UTF-16; UTF-8; else Windows-1252. Null if it is none.

    Windows-1252 is only believed where what it makes of the bytes looks like words of western languages. Otherwise the
    file is UTF-8 if its damaged lines are few.
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
    good = sum(c > "\x7f" for c in text) - len(damaged)
    if good >= len(damaged):
        return "utf-8"
    if _is_western(head.decode("cp1252", "replace")):
        return "cp1252"
    lines = text.splitlines()
    broken = sum(not line.isascii() for line in lines)
    return "utf-8" if broken <= len(lines) * _MOST_DAMAGED else None


_MOST_DAMAGED = 0.02
_MOST_ODD = 0.25
_CROWDS = re.compile(r"[^\W\d_a-zA-Z]{3,}")
_CAPITAL_WITHIN = re.compile(r"(?<=[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ]")
_SIGN_WITHIN = re.compile(
    r"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘·–—­](?=[^\W\d_])|[¹³¿£¥¯¼¾](?=[a-z])|(?<=[^\W\d_]{2})[¹³]|[\ufffdÿ]"
)
_NORDIC = frozenset("åäöÅÄÖ")
_NORDIC_OR_TURKISH = re.compile(r"[þÞðÐýÝ]")
_ACUTE = re.compile(r"[áéíóúæÁÉÍÓÚÆ]")


def _is_western(text: str) -> bool:
    """Whether text that was read as Windows-1252 looks like western languages.

    In another alphabet nearly all letters are accented ones side by side (`Èâàí`); in one that shares letters with
    Windows-1252 (Polish, Turkish, DOS, Macintosh), signs and capitals stand within words (`£ukasz`, `MŸller`).
    """
    accented = sum(c.isalpha() and c > "\x7f" for c in text)
    crowded = sum(len(run) for run in _CROWDS.findall(text) if not _NORDIC.issuperset(run))
    signs = len(_SIGN_WITHIN.findall(text))
    nordic = max(0, len(_NORDIC_OR_TURKISH.findall(text)) - len(_ACUTE.findall(text)))
    odd = crowded + signs + len(_CAPITAL_WITHIN.findall(text)) + nordic
    return odd <= _MOST_ODD * (accented + signs)


def _sample_records(sample: bytes, grammar: Grammar, *, whole: bool) -> list[bytes]:
    """The first records of a sample that are not blank; the last one of a sample that is not `whole` may be cut off."""
    found: list[bytes] = []
    at = 0
    while at < len(sample) and len(found) < _SAMPLE_RECORDS:
        match = grammar.record.match(sample, at)
        if match and match.end() > at and (whole or sample[match.end() - 1] == 0x0A):
            found += [match[1]] if match[1] else []
            at = match.end()
        elif not whole and (match or grammar.partial.match(sample, at)):
            break
        else:
            newline = sample.find(b"\n", at)
            at = newline + 1 if newline >= 0 else len(sample)
    return found


def _first_record(sample: bytes, grammar: Grammar, *, whole: bool) -> tuple[bytes | None, int]:
    """The first record that is not blank, or null where the rules of quotes are broken; and how many bytes lie in front
    of what follows it, -1 if it goes on behind the sample.
    """
    blank = _BLANK_LINES.match(sample)
    at = blank.end() if blank else 0
    match = grammar.record.match(sample, at)
    if match and (whole or (match.end() > at and sample[match.end() - 1] == 0x0A)):
        return match[1], match.end()
    goes_on = not whole and (match or b"\n" not in sample[at:] or grammar.partial.match(sample, at))
    return None, -1 if goes_on else at


def _cannot_be_header(name: str, sample: bytes, at: int) -> ConfigError:
    line = sample.count(b"\n", 0, at) + 1
    return ConfigError(
        f"{name}, line {line}: a quote that opens a value is not closed before the next delimiter, so the header "
        "cannot be read. Correct the line, or say --no-header if it is none."
    )


def _sniff_delimiter(sample: bytes, quote: bytes, *, whole: bool) -> bytes:
    """The delimiter under which most records have as many values as the first one, and more than one."""

    def fit(delimiter: bytes) -> tuple[float, int]:
        grammar = Grammar(delimiter, quote)
        counts = [len(grammar.values(record)) for record in _sample_records(sample, grammar, whole=whole)]
        if not counts or counts[0] < 2:
            return (0.0, 0)
        return (Counter(counts)[counts[0]] / len(counts), counts[0])

    best = max(_DELIMITERS, key=fit)
    return best if fit(best)[1] else b","


def _sniff_quote(sample: bytes) -> bytes:
    """A double quote, unless values stand between single ones and no double one is to be seen. What begins as a
    guarded cell does is no value between quotes.
    """
    single = re.findall(rb"(?:^|[,;\t|])'(?![=+@'\t-])[^'\n]*'(?=[,;\t|\r\n])", sample, re.MULTILINE)
    return b"'" if b'"' not in sample and len(single) >= max(1, sample.count(b"\n")) else b'"'


_DATA = re.compile(r"[^@\s]+@[^@\s]+\.\w+|[+-]?[\d.,:/ +-]*\d[\d.,:/ TZ+-]*")


def _looks_like_header(values: list[str]) -> bool:
    """No value of a header is blank twice, an address, a number or a date."""
    stripped = [value.strip() for value in values]
    return any(stripped) and not any(_DATA.fullmatch(value) for value in stripped)


def _column_names(values: list[str]) -> list[str]:
    """Header names; a blank one is `column_<n>`."""
    return [value.strip() or f"column_{number}" for number, value in enumerate(values, 1)]


_OTHER_FILES = {
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV",
    b"PAR1": "is a Parquet file; give it a name that ends in .parquet (out of a pipe, save it to such a file first)",
    b"%PDF": "is a PDF; there is no table in it to read",
    b"SQLite format 3": "is an SQLite database; export the table as CSV",
}


class _Beginning:
    """The beginning of a file, as much of it as is asked for. What was taken is kept."""

    def __init__(self, rest: Iterator[bytes]) -> None:
        self.taken: list[bytes] = []
        self._rest = rest

    def first(self, count: int) -> bytes:
        """So many bytes, or all there are."""
        while sum(map(len, self.taken)) < count and (piece := next(self._rest, b"")):
            self.taken.append(piece)
        return b"".join(self.taken)[:count]


def _sniff(name: str, beginning: _Beginning, options: CsvOptions) -> Dialect:
    head = beginning.first(1 << 20)
    _must_be_no_other(name, head)
    encoding = options.encoding or sniff_encoding(head)
    if encoding is None:
        _must_be_text(name, head)
        raise ConfigError(
            f"{name}: is not UTF-8, and read as Windows-1252 it does not look like words. Name its encoding, e.g. "
            "--encoding cp1251 or koi8-r (Cyrillic), iso-8859-7 (Greek), cp1255 (Hebrew), cp1256 (Arabic), cp1254 "
            "(Turkish), cp1250 (Polish, Czech, Hungarian), cp1257 (Baltic), shift_jis, gb18030, big5, euc-kr, "
            "mac-roman, cp850 (DOS). If it is Windows-1252 all the same: --encoding cp1252"
        )
    try:
        codecs.getincrementaldecoder(encoding)
    except LookupError as error:
        raise ConfigError(f"--encoding {encoding}: is not known. Try utf-8, cp1252 or utf-16.") from error
    if codecs.lookup(encoding).name == "utf-8" and head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    sample, whole = _sample(beginning, encoding, options)
    _must_be_text(name, sample)
    quote = options.quote.encode() if options.quote else _sniff_quote(sample)
    delimiter = options.delimiter.encode() if options.delimiter else _sniff_delimiter(sample, quote, whole=whole)
    grammar = Grammar(delimiter, quote)
    first, at = _first_record(sample, grammar, whole=whole)
    if first is None and at < 0:
        raise ConfigError(
            f"{name}: the first record does not end within {MAX_RECORD_BYTES >> 20} MB, which is the longest that is "
            "read: is it CSV, and are its quotes closed?"
        )
    if first is None and options.header is not False:
        raise _cannot_be_header(name, sample, at)
    first = first if first is not None else [*_sample_records(sample, grammar, whole=whole), b""][0]
    values = grammar.values(first) if first else []
    header = _looks_like_header(values) if options.header is None else options.header
    columns = told_apart(_column_names(values if header else [""] * len(values)))
    notes = []
    if not options.encoding and encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"encoding {'Windows-1252' if encoding == 'cp1252' else encoding.upper()}")
    if not options.delimiter and delimiter != b",":
        notes.append("delimiter " + ("tab" if delimiter == b"\t" else delimiter.decode()))
    if options.header is None and not header and values:
        notes.append("no header line")
    heading = tuple(value.strip() for value in values) if header else ()
    return Dialect(encoding, grammar, tuple(columns), header, tuple(notes), heading, repeated(columns))


def _sample(beginning: _Beginning, encoding: str, options: CsvOptions) -> tuple[bytes, bool]:
    """The beginning of a file as UTF-8, with the whole of the first record in it, whichever its delimiter is, unless it
    is too long to be read; and whether that is the whole file.
    """
    size = _SAMPLE_BYTES
    while True:
        data = beginning.first(size + 1)
        whole = len(data) <= size
        decoder = codecs.getincrementaldecoder(encoding)("tranship-mark")
        sample = _unix_lines(decoder.decode(data[:size], final=whole).replace(_MARK, "").encode())
        quote = options.quote.encode() if options.quote else _sniff_quote(sample)
        delimiters = (options.delimiter.encode(),) if options.delimiter else _DELIMITERS
        ends = all(_first_record(sample, Grammar(one, quote), whole=whole)[1] >= 0 for one in delimiters)
        if ends or size >= MAX_RECORD_BYTES:
            return sample, whole
        size = min(4 * size, MAX_RECORD_BYTES)


def _must_be_no_other(name: str, head: bytes) -> None:
    """Raises ConfigError, saying what the file is instead."""
    if other := next((what for magic, what in _OTHER_FILES.items() if head.startswith(magic)), None):
        raise ConfigError(f"{name}: {other}.")


def _must_be_text(name: str, sample: bytes) -> None:
    if len(re.findall(rb"[\x00-\x08\x0e-\x1f]", sample[:4096])) > len(sample[:4096]) / 10:
        raise ConfigError(f"{name}: is no text. If it is, name its encoding with --encoding.")


# Bytes → lines → records -----------------------------------------------------------------------------------------


def _unix_lines(data: bytes) -> bytes:
    """Lone carriage returns become line ends; `\\r\\n` stays, Arrow reads it."""
    return re.sub(rb"\r(?!\n)", b"\n", data) if b"\r" in data else data


def _decoded(content: storage.Bytes, encoding: str, name: str) -> Iterator[tuple[bytes, int]]:
    """UTF-8 pieces, and how far the file has been read. Raises ConfigError where the order of bytes changes."""
    utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    recode = None if utf8 else codecs.getincrementaldecoder(encoding)("tranship-mark")
    pending, bom = b"", codecs.BOM_UTF8 if encoding == "utf-8-sig" else b""
    for piece in content:
        data = piece if recode is None else recode.decode(piece).encode(errors="surrogatepass")
        if recode is not None and _SWAPPED_MARK in data:
            raise ConfigError(
                f"{name}: files of UTF-16 with different byte orders were joined into this one; give them one by one."
            )
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
    stand in `data`. What is rare is looked for only where it may be: blanks beside quotes (`padded`), a byte-order mark
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


def _cut(buffer: bytes, line: int, grammar: Grammar, *, final: bool) -> tuple[_Block, int, int]:
    """The whole records at the start of `buffer`, which starts with a record on `line`; how many bytes they took; and
    the line behind them.

    Raises ConfigError if there is no line end in sight.
    """
    raw = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(raw == grammar.quote[0])
    newlines = np.flatnonzero(raw == 0x0A)
    alternation = _Alternation(raw, quotes, grammar)
    marked = _starts_with_mark(raw, newlines)

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
        ahead = alternation.faults(first_quote)
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
    block = _assemble(buffer, kept, lenient, broken, newlines, quotes)
    padded = alternation.padded or bool(lenient)
    return replace(block, padded=padded, marked=marked), start, line_at(start)


def _starts_with_mark(raw: Bytes, newlines: Positions) -> bool:
    """Whether a line may start with a byte-order mark."""
    first = codecs.BOM_UTF8[0]
    return bool(len(raw)) and bool(raw[0] == first or (raw[np.minimum(newlines + 1, len(raw) - 1)] == first).any())


class _Alternation:
    """Which quotes cannot open (or close) a value where they would have to."""

    def __init__(self, raw: Bytes, quotes: Positions, grammar: Grammar) -> None:
        self._raw, self._quotes, self._grammar = raw, quotes, grammar
        self._faults: dict[int, Positions] = {}
        self.padded = False
        """Whether blanks beside a quote were seen not to belong to the value."""

    def faults(self, first_quote: int) -> Positions:
        """The faulty quotes if this one opens a value."""
        parity = first_quote % 2
        if parity not in self._faults:
            self._faults[parity] = self._found(parity) if len(self._quotes) else self._quotes
        return self._faults[parity]

    def _found(self, parity: int) -> Positions:
        delimiter, quote = self._grammar.delimiter[0], self._grammar.quote[0]
        opening, closing = self._quotes[parity::2], self._quotes[1 - parity :: 2]
        before, after = self._raw[opening - 1], self._raw[np.minimum(closing + 1, len(self._raw) - 1)]
        # The ends of a file are ends of lines.
        before[:1][opening[:1] == 0] = 0x0A
        after[-1:][closing[-1:] == len(self._raw) - 1] = 0x0A
        fits = np.empty(len(self._quotes), bool)
        fits[parity::2] = (before == delimiter) | (before == 0x0A) | (before == quote)
        fits[1 - parity :: 2] = (after == delimiter) | (after == 0x0A) | (after == 0x0D) | (after == quote)
        faults = np.flatnonzero(~fits)
        if not len(faults) or not self._grammar.pads:
            return faults
        excused = np.zeros(len(faults), bool)
        for of_these, step in ((faults % 2 == parity, -1), (faults % 2 != parity, 1)):
            at = self._quotes[faults[of_these]] + step
            blank = (at >= 0) & (at < len(self._raw)) & (self._raw[np.clip(at, 0, len(self._raw) - 1)] == _BLANK)
            if blank.any():
                beyond = _beyond_blanks(self._raw, at[blank], step)
                ends = (beyond == self._grammar.delimiter[0]) | (beyond == 0x0A) | ((beyond == 0x0D) & (step > 0))
                excused[np.flatnonzero(of_these)[blank]] = ends
        self.padded = self.padded or bool(excused.any())
        return faults[~excused]


def _beyond_blanks(raw: Bytes, at: Positions, step: int) -> Bytes:
    """What stands behind the blanks at these positions, in one direction; the ends of a file are ends of lines."""
    for _ in range(_MOST_BLANKS):
        inside = (at >= 0) & (at < len(raw))
        blank = inside & (raw[np.clip(at, 0, len(raw) - 1)] == _BLANK)
        if not blank.any():
            return np.where(inside, raw[np.clip(at, 0, len(raw) - 1)], np.uint8(0x0A))
        at = at + step * blank
    return np.full(len(at), _BLANK, np.uint8)


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
    return _Block(b"".join(pieces), segments, ranges, broken, found[0], found[1], False, False)


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


def _marks(data: bytes, starts: Positions) -> Positions:
    """Where byte-order marks stand at these starts of records."""
    first = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)] == codecs.BOM_UTF8[0]
    found, size = [], len(codecs.BOM_UTF8)
    for start in starts[first].tolist():
        at = start
        while data.startswith(codecs.BOM_UTF8, at):
            found.append(at)
            at += size
    return np.array(found, np.int64)


def _padding(block: _Block, grammar: Grammar) -> list[Positions]:
    """Where the blanks around quoted values stand."""
    raw = np.frombuffer(block.data, np.uint8)
    quotes, found = block.quotes, []
    if block.lenient:
        quotes = quotes[~_within(quotes, *(np.array([r[i] for r in block.lenient], np.int64) for i in (0, 1)))]
        for first, last in block.lenient:
            for match in grammar.padding.finditer(block.data[first:last]):
                found += [np.arange(first + match.start(i), first + match.end(i)) for i in (1, 2)]
    # Quotes alternate here: what is no start of a value has text or a quote in front of it.
    for at, step in ((quotes[::2] - 1, -1), (quotes[1::2] + 1, 1)):
        while True:
            at = at[(at >= 0) & (at < len(raw))]
            at = at[raw[at] == _BLANK]
            if not len(at):
                break
            found.append(at)
            at = at + step
    return found


def _without(gone: Positions, data: bytes, where: _Records) -> tuple[bytes, _Records]:
    """The data without these bytes. A record of which nothing is left is none."""
    raw = np.frombuffer(data, np.uint8)
    kept = np.ones(len(raw), bool)
    kept[gone] = False
    starts, ends = (at - np.searchsorted(gone, at) for at in (where.starts, where.ends))
    left = raw[kept].tobytes()
    filled = np.array([bool(left[start:end].strip(b"\r")) for start, end in zip(starts, ends, strict=True)])
    return left, _Records(starts[filled], ends[filled], where.lines[filled])


@dataclass
class CsvPart:
    """Blocks of one file that lie one behind the other."""

    source: str
    blocks: list[_Block]
    columns: tuple[str, ...]
    grammar: Grammar
    position: int
    heading: tuple[str, ...] = ()

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
        read_as = (self.source, self.columns, self.heading, grammar, layout)
        found = hashlib.sha256(repr(read_as).encode(errors="surrogatepass"))
        for block in self.blocks:
            found.update(block.data)
        return found.hexdigest()

    def _read(self, block: _Block) -> Batch:
        where = _records(block)
        data, broken = block.data, list(block.broken)
        gone = _padding(block, self.grammar) if block.padded else []
        if block.marked:
            marks = _marks(data, where.starts)
            gone += [marks + i for i in range(len(codecs.BOM_UTF8))]
        if any(map(len, gone)):
            data, where = _without(np.sort(np.concatenate(gone)), data, where)
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
        if self.heading and self._may_repeat_header(data, where.starts):
            records, lines, headers = self._without_headers(records, lines)
            broken += headers
            self._must_keep_the_order(records, lines)
        if _may_hold(data, b"=", _QUOTE) or self._may_hold_guards(data):
            records = records.with_columns(map(cells.unguarded, records.get_columns()))
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

    def _may_repeat_header(self, data: bytes, starts: Positions) -> bool:
        """Whether a record begins like one of the header's names, in any case: a few bytes of each record nearly always
        say that none does.
        """
        if not len(starts):
            return False
        delimiter, quote = self.grammar.delimiter, self.grammar.quote
        # A header cell without a name is nothing in front of a delimiter, or two quotes.
        names = [name.lower().encode() for name in self.heading if name]
        names += [delimiter, quote] if "" in self.heading else []
        size = min(_HEADER_BYTES, *map(len, names))
        if not all(name[:size].isascii() for name in names):
            return True
        raw, last = np.frombuffer(data, np.uint8), len(data) - 1
        at = starts + (raw[starts] == quote[0])
        for _ in range(_MOST_BLANKS):
            blank = raw[np.minimum(at, last)] == _BLANK
            if not blank.any():
                break
            at = at + blank
        # Bit 5 is that of the case; other characters that differ in it only cost a second look.
        first = np.isin(np.arange(256) | 0x20, [name[0] | 0x20 for name in names])
        at = at[first[raw[np.minimum(at, last)]]]
        begins = np.zeros(len(at), np.int64)
        for place in range(size):
            begins = begins << 8 | raw[np.minimum(at + place, last)] | 0x20
        wanted = [int.from_bytes(bytes(letter | 0x20 for letter in name[:size])) for name in names]
        return bool(np.isin(begins, wanted).any())

    def _without_headers(
        self, records: pl.DataFrame, lines: pl.Series
    ) -> tuple[pl.DataFrame, pl.Series, list[tuple[int, str, str, str]]]:
        """Take out the records that repeat the header."""
        at = pl.int_range(records.height, dtype=pl.UInt32, eager=True)
        for column, name in zip(records.iter_columns(), self.heading, strict=True):
            some = column.gather(at).fill_null("").str.strip_chars().str.to_lowercase()
            at = at.filter(some == name.lower())
            if at.is_empty():
                return records, lines, []
        text = self.grammar.delimiter.decode().join
        found = [
            (line, "line.header", "", text(value or "" for value in row))
            for line, row in zip(lines.gather(at), records[at].rows(), strict=True)
        ]
        kept = pl.repeat(True, len(lines), dtype=pl.Boolean, eager=True).scatter(at, False)
        return records.filter(kept), lines.filter(kept), found

    def _must_keep_the_order(self, records: pl.DataFrame, lines: pl.Series) -> None:
        """Raises ConfigError if a record is the header in another order: those behind it would be misread."""
        own, *others = self.heading
        # Of names in another order, the first two columns alone nearly always say that there is none.
        moved = records.to_series(0).is_in(others).fill_null(value=False)
        if len(others) > 1:
            behind = (records.to_series(0) == own) & records.to_series(1).is_in(others[1:])
            moved |= behind.fill_null(value=False)
        if not moved.any():
            return
        for line, row in zip(lines.filter(moved), records.filter(moved).iter_rows(), strict=True):
            values = tuple((value or "").strip() for value in row)
            if values != self.heading and sorted(values) == sorted(self.heading):
                raise ConfigError(
                    f"{self.source}: line {line} is a header with the columns in another order: files were joined that "
                    "do not fit each other. Split the file there and give both: tranship run A.csv B.csv DESTINATION"
                )

    def _may_hold_guards(self, data: bytes) -> bool:
        """Whether a cell may begin with a guard."""
        if not _may_hold(data, b"'", _BEHIND_GUARD):
            return False
        raw = np.frombuffer(data, np.uint8)
        at = np.flatnonzero(raw == _GUARD)
        before = np.where(at > 0, raw[at - 1], 0x0A)
        delimiter, quote = self.grammar.delimiter[0], self.grammar.quote[0]
        first = (before == delimiter) | (before == quote) | (before == 0x0A)
        after = raw[np.minimum(at + 1, len(raw) - 1)]
        return bool((first & _FOLLOWS_GUARD[after]).any())

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


def _may_hold(data: bytes, first: bytes, behind: frozenset[int]) -> bool:
    """Return whether one of the bytes `behind` follows the byte `first` somewhere. Where `first` is frequent, return
    true: only a rare byte is found at the speed of memory.
    """
    at = -1
    for _ in range(_RARE):
        at = data.find(first, at + 1)
        if at < 0 or at + 1 == len(data):
            return False
        if data[at + 1] in behind:
            return True
    return True


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

    def __init__(self, spec: str, options: CsvOptions, seen: storage.Seen | None = None) -> None:
        for name, value in (("--delimiter", options.delimiter), ("--quote", options.quote)):
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise ConfigError(f"{name} {value!r}: must be one ASCII character.")
        self._files = storage.expand(spec, SUFFIXES, seen)
        self._options = options
        sizes = [file.size for file in self._files]
        self.size: int | None = None if None in sizes else sum(size for size in sizes if size is not None)
        self._opened: dict[int, tuple[storage.Bytes, list[bytes], Iterator[bytes]]] = {}
        self._dialects = [self._look(number, file) for number, file in enumerate(self._files)]
        self._marked: dict[str, int] = {}

    def layouts(self) -> list[Layout]:
        """Header names, or column_1, column_2, … where there is no header."""
        return [
            Layout(
                file.name,
                dialect.columns,
                (*dialect.notes, *notes_on(dialect.repeated), *self._joined(file.name), *file.notes),
                dialect.repeated,
            )
            for file, dialect in zip(self._files, self._dialects, strict=True)
        ]

    def _joined(self, name: str) -> list[str]:
        line = self._marked.get(name)
        return [f"files were joined: removed the byte-order mark on line {line:,}"] if line else []

    def fingerprint(self) -> list[dict[str, Any]]:
        """Names, sizes and times of the files."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[CsvPart]:
        """Blocks in file order."""
        done = 0
        for number, (file, dialect) in enumerate(zip(self._files, self._dialects, strict=True)):
            content = self._content(number, file)

            def made(blocks: list[_Block], position: int, name: str = file.name, read_as: Dialect = dialect) -> CsvPart:
                return CsvPart(name, blocks, read_as.columns, read_as.grammar, position, read_as.heading)

            try:
                blocks: list[_Block] = []
                position = 0
                for block, position in _blocks(content, dialect, file.name):
                    if block.marked:
                        self._notice_marks(file.name, block)
                    blocks.append(block)
                    if sum(len(block.data) for block in blocks) >= PART_BYTES:
                        yield made(blocks, done + position)
                        blocks = []
                file.must_be_as_it_was(content)
                if blocks:
                    yield made(blocks, done + position)
            finally:
                content.close()
            done += content.position

    def close(self) -> None:
        """Nothing is held open between parts but what can be opened only once."""
        for content, _, _ in self._opened.values():
            content.close()

    def _look(self, number: int, file: storage.File) -> Dialect:
        content = storage.Bytes(file, PIECE_BYTES)
        pieces = iter(content)
        beginning = _Beginning(pieces)
        try:
            dialect = _sniff(file.name, beginning, self._options)
            if file.once:
                self._opened[number] = content, beginning.taken, pieces
            return dialect
        finally:
            if number not in self._opened:
                content.close()

    def _content(self, number: int, file: storage.File) -> storage.Bytes:
        return _Replayed(*self._opened[number]) if file.once else storage.Bytes(file, PIECE_BYTES)

    def _notice_marks(self, name: str, block: _Block) -> None:
        where = _records(block)
        marks = _marks(block.data, where.starts)
        if len(marks):
            self._marked.setdefault(name, int(where.lines[np.searchsorted(where.starts, marks[0])]))


class _Replayed(storage.Bytes):
    """What can be opened only once, and whose first pieces have been looked at already."""

    def __init__(self, content: storage.Bytes, taken: list[bytes], rest: Iterator[bytes]) -> None:
        self._content, self._taken, self._rest = content, taken, rest

    @property
    def position(self) -> int:
        return self._content.position

    def __iter__(self) -> Iterator[bytes]:
        while self._taken:
            yield self._taken.pop(0)
        yield from self._rest

    def close(self) -> None:
        """Close it, but for standard input."""
        self._content.close()


def _blocks(content: storage.Bytes, dialect: Dialect, name: str) -> Iterator[tuple[_Block, int]]:
    carry, line, header = b"", 1, dialect.header
    pieces = _decoded(content, dialect.encoding, name)
    piece, position = next(pieces)
    while True:
        ahead = next(pieces, None)
        final = ahead is None
        buffer = carry + piece
        if header:
            # The header was read by the same rule when the file was looked at.
            match = _BLANK_LINES.match(buffer)
            found = dialect.grammar.record.match(buffer, match.end() if match else 0)
            skipped = found.end() if found else len(buffer)
            if ahead is not None and not (found and buffer[skipped - 1 : skipped] == b"\n"):
                carry, (piece, position) = buffer, ahead
                continue
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


def destination(spec: str, written: storage.Written, *, overwrite: bool, raw: bool) -> storage.WholeFile:
    """A CSV file to be written whole: UTF-8, commas, ISO 8601 instants with Z, lists as JSON."""

    def write(frame: pl.LazyFrame, path: Path) -> None:
        frame.with_columns(cells.written(frame.collect_schema(), raw=raw)).sink_csv(path)

    def look(frame: pl.LazyFrame) -> tuple[str, ...]:
        count = frame.select(cells.misread(frame.collect_schema())).collect().item()
        said = f"--raw: in {count:,} records a value begins as a guarded cell does; it may be read back as another one"
        return (said,) if count else ()

    return storage.WholeFile(spec, write, written, overwrite=overwrite, look=look if raw else None)
