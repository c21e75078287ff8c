"""The dialect of a CSV file: encoding, delimiter, quote and header, as given by the user or detected."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl
from msgspec import Struct, field

from tranship.connectors.contract import repeated, unique_names
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import header_encoding, header_row, letter_pairs
from tranship.connectors.files.csv_grammar import MAX_RECORD_BYTES, Grammar, Records
from tranship.connectors.files.header_row import Start
from tranship.connectors.files.text_encoding import BAD_BYTE, sniff_encoding, unix_line_ends
from tranship.schemas import cells
from tranship.schemas.counted import counted

_SAMPLE_BYTES = 1 << 17
_SAMPLE_RECORDS = 200
_SEARCHED_RECORDS = 2000
"""Number of lines that are searched for a header if the first ones have no known names."""
_TITLE_BYTES = 1000
"""A record longer than this is not above the header."""
_TITLES = 20
_DELIMITERS = (b",", b";", b"\t", b"|")


@dataclass(frozen=True)
class CsvOptions:
    """The dialect as the user gave it; null is detected."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    skip_lines: int = 0
    """Number of lines at the start that are ignored."""
    header_line: int | None = None
    """The line of the header, from 1."""

    def check(self) -> None:
        """Raise ConfigError for options that contradict each other or are out of range."""
        for name, value in (("--delimiter", self.delimiter), ("--quote", self.quote)):
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise ConfigError(f"{name} {value!r}: must be one ASCII character.")
        if self.skip_lines < 0:
            raise ConfigError(f"--skip-lines {self.skip_lines}: give 0 or more.")
        if self.header_line is None:
            return
        given = f"--header-line {self.header_line}"
        if self.header_line < 1:
            raise ConfigError(f"{given}: lines are counted from 1.")
        if self.header is False:
            raise ConfigError(f"{given}: contradicts --no-header. Give one of them.")
        if self.header_line <= self.skip_lines:
            raise ConfigError(
                f"{given}: is one of the lines that --skip-lines {self.skip_lines} skips. Lines are counted from the "
                "start of the file."
            )


class Dialect(Struct, frozen=True):
    """The dialect of one file."""

    encoding: str
    grammar: Grammar
    columns: tuple[str, ...]
    lines_above: int = 0
    """The lines before the first record: the header and the lines above it."""
    notes: tuple[str, ...] = ()
    heading: tuple[str, ...] = ()
    """The header as in the file, trimmed; empty if there is none."""
    repeated: Mapping[str, str] = field(default_factory=dict)
    """As in `Layout`."""


class _Record(NamedTuple):
    """A record of the sample: its place, and its values; null where the rules of quotes are broken."""

    start: int
    end: int
    values: list[str] | None


def _records(sample: bytes, grammar: Grammar, *, whole: bool, most: int = _SAMPLE_RECORDS) -> list[_Record]:
    """Return the first records, blank lines included, without values. Unless the sample is `whole`, its last record may
    be incomplete and is left out.
    """
    found: list[_Record] = []
    at = filled = 0
    records = Records(sample, grammar)
    while at < len(sample) and filled < most:
        end, match = records.next(at, whole=whole)
        if end == at:
            break
        values = None
        if match:
            values = grammar.values(match[1]) if match[1] else []
        found.append(_Record(at, end, values))
        at = end
        filled += values != []
    return found


def _begins(sample: bytes, grammar: Grammar, *, whole: bool) -> bool:
    """Return whether the sample contains the whole first record, and the whole records after possible title lines."""
    at = 0
    records = Records(sample, grammar)
    for _ in range(_TITLES):
        if at == len(sample):
            return whole
        end, match = records.next(at, whole=whole)
        if match is None:
            return whole or end > at
        if len(match[1]) > _TITLE_BYTES:
            return True
        at = end
    return True


def _cannot_be_header(name: str, line: int) -> ConfigError:
    return ConfigError(
        f"{name}, line {line}: a quote that opens a value is not closed before the next delimiter, so the header "
        "cannot be read. Correct the line, name another one with --header-line, or use --no-header if there is none."
    )


_SEPARATOR_LINE = re.compile(rb"""(?i)(?:\xef\xbb\xbf)*"?sep=([^\w\s"']|[\t ])\1*"?[ \r]*(?:\n|\Z)""")
"""The line by which a file names its delimiter to Excel, which repeats it in further columns."""


class _Table(Struct, frozen=True):
    """A sample read with one grammar, and where its table begins."""

    grammar: Grammar
    records: list[_Record]
    start: Start

    @property
    def first(self) -> _Record | None:
        """The record in which the table begins."""
        return self.records[self.start.row] if self.records else None

    @property
    def title(self) -> str:
        """The first value above the table, empty if there is none."""
        above = (value for record in self.records[: self.start.row] for value in record.values or ())
        return next(filter(str.strip, above), "")

    @property
    def fit(self) -> tuple[float, int]:
        """The share of records that have as many values as the first of the table, and their number, at least two."""
        counts = [len(record.values) for record in self.records[self.start.row :] if record.values]
        if not counts or counts[0] < 2:
            return (0.0, 0)
        return (Counter(counts)[counts[0]] / len(counts), counts[0])


def _table(sample: bytes, quote: bytes, options: CsvOptions, delimiter: bytes | None, *, whole: bool) -> _Table:
    """Return the sample, read with the given delimiter or the one that fits best."""
    given = options.header if options.header_line is None else True

    def read(delimiter: bytes) -> _Table:
        grammar = Grammar(delimiter, quote)
        records = _records(sample, grammar, whole=whole)
        # The line that the user names is the first of this sample.
        rows = [record.values for record in records[: 1 if options.header_line else None]]
        return _Table(grammar, records, header_row.start_of(rows, given))

    if delimiter:
        return read(delimiter)
    tables = [read(mark) for mark in _DELIMITERS if mark in sample] or [read(_DELIMITERS[0])]

    def order(table: _Table) -> tuple[int, float, int, int]:
        share, count = table.fit
        known = header_row.known_names(table.first.values) if table.first and table.first.values and count else 0
        return (min(known, 2), share, -table.start.row, count)

    best = max(tables, key=order)
    return best if best.fit[1] else tables[0]


def _sniff_quote(sample: bytes) -> bytes:
    """Return a double quote, or a single one if values are enclosed in single quotes and there is no double quote. A
    cell with a spreadsheet guard (`'007`) is not an enclosed value.
    """
    if b'"' in sample or b"'" not in sample:
        return b'"'
    single = re.findall(rb"(?:^|[,;\t|])'(?![=+@'\t-])[^'\n]*'(?=[,;\t|\r\n])", sample, re.MULTILINE)
    return b"'" if len(single) >= max(1, sample.count(b"\n")) else b'"'


def _column_names(values: list[str]) -> list[str]:
    """Return the names of a header; a blank one becomes `column_<n>`."""
    return [value.strip() or f"column_{number}" for number, value in enumerate(values, 1)]


class Beginning:
    """The beginning of a file, read as far as needed; its pieces are kept."""

    def __init__(self, rest: Iterator[bytes]) -> None:
        self.taken: list[bytes] = []
        self._rest = rest

    def first(self, count: int) -> bytes:
        """Return this number of bytes, or all if there are fewer."""
        while sum(map(len, self.taken)) < count and (piece := next(self._rest, b"")):
            self.taken.append(piece)
        return b"".join(self.taken)[:count]


def sniff(name: str, beginning: Beginning, options: CsvOptions) -> Dialect:
    """Detect the parts of the dialect that are not given. Raises ConfigError if the file cannot be read as CSV."""
    head = beginning.first(1 << 20)
    encoding, doubts = (options.encoding, ()) if options.encoding else _encoding(name, head)
    if encoding is None:
        raise ConfigError(
            f"{name}: is not UTF-8, and does not look like text in Windows-1252. Name its encoding, e.g. "
            "--encoding cp1251 or koi8-r (Cyrillic), iso-8859-7 (Greek), cp1255 (Hebrew), cp1256 (Arabic), cp1254 "
            "(Turkish), cp1250 (Polish, Czech, Hungarian), cp1257 (Baltic), shift_jis, gb18030, big5, euc-kr, "
            "mac-roman, cp850 (DOS). If it is Windows-1252: --encoding cp1252"
        )
    _must_decode(name, head, encoding)
    if codecs.lookup(encoding).name == "utf-8" and head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    above, sample, delimiter, whole = _sample(name, beginning, encoding, options)
    _must_be_text(name, sample)
    quote = options.quote.encode() if options.quote else _sniff_quote(sample)
    table = _table(sample, quote, options, delimiter, whole=whole)
    if options.header is None and not options.header_line:
        _must_be_no_other_header(name, table, above + 1, sample, whole=whole)
    first, header = table.first, table.start.header
    if first is None and sample:
        raise ConfigError(
            f"{name}: the first record does not end within {MAX_RECORD_BYTES >> 20} MB, which is the longest that is "
            "read: is it CSV, and are its quotes closed?"
        )
    start, end = (first.start, first.end) if first else (0, 0)
    lines_above = above + sample.count(b"\n", 0, start)
    values = first.values if first else []
    if values is None:
        if options.header is not False:
            raise _cannot_be_header(name, lines_above + 1)
        values = next((record.values for record in table.records if record.values), [])
    if options.header_line and not values:
        raise ConfigError(
            f"{name}: --header-line {options.header_line}: this line is blank. Give the number of the header line."
        )
    names = values if header else [""] * len(values)
    if any(name.startswith(("'", "=")) for name in names):
        names = cells.unguarded(pl.Series(names, dtype=pl.String)).to_list()
    columns = unique_names(_column_names(names))
    notes = []
    if not options.encoding and encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"encoding {header_encoding.title(encoding)}{_other_readings(doubts)}")
    if not options.delimiter and table.grammar.delimiter != b",":
        notes.append("delimiter " + ("tab" if table.grammar.delimiter == b"\t" else table.grammar.delimiter.decode()))
    is_filled = above > options.skip_lines or bool(sample[:start].strip())
    skipped = lines_above - options.skip_lines if is_filled and not options.header_line else 0
    if not sample.strip():
        notes.append("is empty")
    blank = sample[:start].strip().partition(b"\n")[0].rstrip().decode(errors="replace")
    notes += _notes_on_header(
        lines_above + 1 if header else None,
        skipped,
        detected=options.header is None and values != [],
        title=table.title or blank or "sep=" + table.grammar.delimiter.decode(),
    )
    if header:
        # The last line of a file may end without a line feed.
        lines_above += len(sample[start:end].splitlines())
    heading = tuple(value.strip() for value in values) if header else ()
    return Dialect(encoding, table.grammar, tuple(columns), lines_above, tuple(notes), heading, repeated(columns))


def _encoding(name: str, head: bytes) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Return the encoding by the first bytes, and the encodings that would fit nearly as well; null if none is likely.
    Raises ConfigError if it is one of several for people to choose from.
    """
    encoding = sniff_encoding(head)
    if encoding not in (None, "cp1252"):
        return encoding, ()
    if encoding is None:
        _must_be_text(name, head)
        if by_header := header_encoding.by_header(head):
            return by_header, ()
    found = letter_pairs.read(head, header_encoding.known_words(head), is_western=encoding is not None)
    if found.encoding is None and found.rivals:
        raise ConfigError(
            f"{name}: is not UTF-8, and its words are possible in several encodings. Choose the one in which this word "
            "is right:",
            *(f'  --encoding {rival:<12} "{_shown(word)}"' for rival, word in found.rivals),
        )
    return found.encoding, found.rivals[1:]


def _other_readings(rivals: Iterable[tuple[str, str]]) -> str:
    """Return the words for a note that another encoding is possible; empty if none is."""
    listed = " or ".join(f'"{_shown(word)}" (--encoding {rival})' for rival, word in rivals)
    return f"; look whether a word is rather {listed}" if listed else ""


def _notes_on_header(line: int | None, skipped: int, *, detected: bool, title: str) -> Iterator[str]:
    """Yield a note if lines were skipped, which begin with a title, or, where that was `detected`, if there is no
    header. `line` is the line of the header, null without one.
    """
    what = f'skipped {counted(skipped, "line")} above {{}} ("{_shown(title)}")'
    if line:
        if skipped:
            yield f"header in line {line}; {what.format('it')}"
    elif detected or skipped:
        parts = ["no header line"] if detected else []
        parts += [what.format("the first record")] if skipped else []
        yield "; ".join(parts)


def _shown(text: str) -> str:
    """Return the beginning of a text in one line, without addresses of people."""
    text = _ADDRESS.sub("…@…", "".join(c if c.isprintable() else " " for c in text))
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1].rstrip()}…"


_ADDRESS = re.compile(r"(?<![^\s@<>])[^\s@<>]++@[^\s@<>]++")
_SHOWN = 40


def _must_be_no_other_header(name: str, table: _Table, line: int, sample: bytes, *, whole: bool) -> None:
    """Raise ConfigError if a row below the first one, with which the table would begin, seems to be its header. `line`
    is that of the start of the sample.
    """
    first = table.first
    if first is None or first.values is None or (table.start.header and header_row.known_names(first.values)):
        return
    # Each delimiter may be that of a table further down.
    others = [Grammar(d, table.grammar.quote) for d in _DELIMITERS if d in sample and d != table.grammar.delimiter]
    grammars = [table.grammar, *others]
    for grammar in grammars:
        records = _records(sample, grammar, whole=whole, most=_SEARCHED_RECORDS)
        place = header_row.suspect([record.values for record in records], table.start)
        if place is not None:
            raise _header_further_down(name, records[place], line + sample.count(b"\n", 0, records[place].start))


def _header_further_down(name: str, record: _Record, line: int) -> ConfigError:
    names = ", ".join(f'"{_shown(value)}"' for value in (record.values or [])[:3])
    return ConfigError(
        f"{name}: line {line} looks like a header ({names}), but the lines above it may be records. To skip them: "
        f"--header-line {line}. To read every line as a record: --no-header. If the header is another line, give its "
        "number: --header-line N."
    )


def _sample(
    name: str, beginning: Beginning, encoding: str, options: CsvOptions
) -> tuple[int, bytes, bytes | None, bool]:
    """Return the number of lines to skip, given by the user or a `sep=` line; the text after them as UTF-8, which
    contains the whole header and first record for every possible delimiter, unless they are too long; the delimiter if
    it is known; and whether that is the whole file.
    """
    size = _SAMPLE_BYTES
    while True:
        data = beginning.first(size + 1)
        whole = len(data) <= size
        decoder = codecs.getincrementaldecoder(encoding)("tranship-mark")
        sample = unix_line_ends(decoder.decode(data[:size], final=whole).replace(BAD_BYTE, "").encode())
        is_last = whole or size >= MAX_RECORD_BYTES
        size = min(4 * size, MAX_RECORD_BYTES)
        if _has_lines(name, sample, options, is_last=is_last, whole=whole):
            above, rest, delimiter = _without_lines_above(sample, options)
            quote = options.quote.encode() if options.quote else _sniff_quote(rest)
            delimiters = (delimiter,) if delimiter else _DELIMITERS
            if is_last or all(_begins(rest, Grammar(mark, quote), whole=whole) for mark in delimiters):
                return above, rest, delimiter, whole


def _has_lines(name: str, sample: bytes, options: CsvOptions, *, is_last: bool, whole: bool) -> bool:
    """Return whether the sample has the lines that the user names. Raises ConfigError if it has not and is the last."""
    lines = sample.count(b"\n") + (whole and not sample.endswith(b"\n") and sample != b"")
    for option, count in (("--skip-lines", options.skip_lines), ("--header-line", options.header_line or 0)):
        if lines < count:
            if is_last:
                place = "the file has only" if whole else f"the first {MAX_RECORD_BYTES >> 20} MB have only"
                raise ConfigError(f"{name}: {option} {count}: {place} {counted(lines, 'line')}.")
            return False
    return True


def _without_lines_above(sample: bytes, options: CsvOptions) -> tuple[int, bytes, bytes | None]:
    """Return the number of lines to skip, given by the user or a `sep=` line, the text after them, and the delimiter if
    it is known.
    """
    above = options.skip_lines
    rest = _after_lines(sample, above)
    separator = _SEPARATOR_LINE.match(rest)
    delimiter = options.delimiter.encode() if options.delimiter else separator[1] if separator else None
    if options.header_line:
        above = options.header_line - 1
        return above, _after_lines(sample, above), delimiter
    return (above + 1, rest[separator.end() :], delimiter) if separator else (above, rest, delimiter)


def _after_lines(data: bytes, count: int) -> bytes:
    """Return the text after this number of lines."""
    at = 0
    for _ in range(count):
        at = data.find(b"\n", at) + 1 or len(data)
    return data[at:]


def _must_decode(name: str, head: bytes, encoding: str) -> None:
    """Raise ConfigError unless this is an encoding of text in which a file that begins so can be read."""
    try:
        b" ".decode(encoding, "ignore")  # Python has codecs under names of encodings that are none: hex, zlib
        codecs.getincrementaldecoder(encoding)("tranship-mark").decode(head)
    except UnicodeError as error:
        raise ConfigError(
            f"{name}: cannot be read with --encoding {encoding}. Try utf-8 or cp1252; without a byte order mark, "
            "utf-16-le or utf-16-be."
        ) from error
    except (LookupError, ValueError) as error:
        raise ConfigError(f"--encoding {encoding}: is an unknown encoding. Try utf-8, cp1252 or utf-16.") from error


def _must_be_text(name: str, sample: bytes) -> None:
    if len(re.findall(rb"[\x00-\x08\x0e-\x1f]", sample[:4096])) > len(sample[:4096]) / 10:
        raise ConfigError(f"{name}: does not seem to be text. If it is, give its encoding: --encoding NAME")
