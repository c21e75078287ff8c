"""Read blocks of CSV records into frames with Arrow's reader, and set aside the records that do not fit."""

from __future__ import annotations

import codecs
import hashlib
import re
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from msgspec import Struct

from tranship.connectors.contract import Batch, from_arrow, joined
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.csv_grammar import Grammar
from tranship.connectors.files.csv_quotes import BLANK, MOST_BLANKS, Positions
from tranship.connectors.files.csv_records import (
    Block,
    RecordPositions,
    byte_order_marks,
    cut_parts,
    locate_records,
    padding_positions,
    readable,
    without_bytes,
)
from tranship.schemas import cells
from tranship.schemas.constant import constant
from tranship.schemas.counted import counted
from tranship.schemas.faults import BROKEN

_RESCUE_BYTES = 1 << 16
_RESCUE_ROUNDS = 8
"""Each round looks one line deeper into a record; nearly all records that can be rescued are found in the first."""
_GUARD = 0x27
_BEHIND_GUARD = frozenset((*b"=+-@'\x7f", *range(0x20), *b"\xc2\xcd\xd8\xdb\xdc\xe0\xe1\xe2\xe3\xef\xf0\xf3"))
"""Bytes that can follow a guard; of letters other than ASCII's, the first byte."""
_FOLLOWS_GUARD = np.isin(np.arange(256), list(_BEHIND_GUARD))
_QUOTE = frozenset(b'"')
_ANYTHING = re.compile(rb"[^\r\n]")
_RARE = 20_000
_HEADER_BYTES = 4

_Broken = tuple[int, str, str, str]
"""A broken line, by the columns of `BROKEN`."""


class CsvPart(Struct):
    """Consecutive blocks of one file."""

    source: str
    blocks: list[Block]
    columns: tuple[str, ...]
    grammar: Grammar
    position: int
    heading: tuple[str, ...] = ()

    def read(self) -> Batch:
        """Return the records of all blocks, read by Arrow; records that do not fit the header are in `broken`."""
        return joined([self._read(block) for block in self.blocks])

    def digest(self) -> str:
        """Return a digest of the bytes, their lines, and the way in which they are read."""
        layout = [(block.segments, block.lenient, block.broken) for block in self.blocks]
        grammar = (self.grammar.delimiter, self.grammar.quote)
        read_as = (self.source, self.columns, self.heading, grammar, layout)
        found = hashlib.sha256(repr(read_as).encode(errors="surrogatepass"))
        for block in self.blocks:
            found.update(block.data)
        return found.hexdigest()

    def _read(self, block: Block, rounds: int = _RESCUE_ROUNDS) -> Batch:
        """Return the records of a block; search misread records for others this many times."""
        where = locate_records(block)
        data, broken = block.data, list(block.broken)
        gone = padding_positions(block, self.grammar) if block.padded else []
        if block.marked:
            marks = byte_order_marks(data, where.starts)
            gone += [marks + i for i in range(len(codecs.BOM_UTF8))]
        if any(map(len, gone)):
            data, where = without_bytes(np.sort(np.concatenate(gone)), data, where)
        if not is_utf8(data):
            data, where, bad = _without_damaged(data, where)
            broken += bad
        records, faulty = self._parse(data)
        lines = pl.Series(where.lines, dtype=pl.UInt64)
        if faulty:
            misfits = self._misfits(data, where, faulty)
            fitting = np.ones(len(lines), bool)
            fitting[[row.number - 1 for row in faulty]] = False
            lines = lines.filter(pl.Series(fitting))
            rescued, unread = self._rescue(data, misfits, rounds)
            broken += unread
            if rescued is not None:
                records, lines = pl.concat([records, rescued.records]), pl.concat([lines, rescued.lines])
                order = lines.arg_sort()
                records, lines = records[order], lines.gather(order)
        if records.height != len(lines):
            raise RuntimeError(f"{self.source}: {counted(len(lines), 'record')} found, {records.height:,} read")
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

        if not _ANYTHING.search(data):
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
        return from_arrow(table), faulty

    def _may_repeat_header(self, data: bytes, starts: Positions) -> bool:
        """Return whether a record begins like one of the header's names, ignoring case: a few bytes of each record are
        nearly always enough to rule that out.
        """
        if not len(starts):
            return False
        delimiter, quote = self.grammar.delimiter, self.grammar.quote
        # An unnamed header cell is empty or two quotes.
        names = [name.lower().encode() for name in self.heading if name]
        names += [delimiter, quote] if "" in self.heading else []
        size = min(_HEADER_BYTES, *map(len, names))
        if not all(name[:size].isascii() for name in names):
            return True
        raw, last = np.frombuffer(data, np.uint8), len(data) - 1
        places = starts + (raw[starts] == quote[0])
        for _ in range(MOST_BLANKS):
            blank = raw[np.minimum(places, last)] == BLANK
            if not blank.any():
                break
            places = places + blank
        # Bit 5 distinguishes upper and lower case; other characters that differ only in it cost a second look.
        first = np.isin(np.arange(256) | 0x20, [name[0] | 0x20 for name in names])
        places = places[first[raw[np.minimum(places, last)]]]
        begins = np.zeros(len(places), np.int64)
        for offset in range(size):
            begins = begins << 8 | raw[np.minimum(places + offset, last)] | 0x20
        wanted = [int.from_bytes(bytes(letter | 0x20 for letter in name[:size])) for name in names]
        return bool(np.isin(begins, wanted).any())

    def _without_headers(
        self, records: pl.DataFrame, lines: pl.Series
    ) -> tuple[pl.DataFrame, pl.Series, list[tuple[int, str, str, str]]]:
        """Remove the records that repeat the header; return the rest, their lines, and the removed ones as broken."""
        rows = pl.int_range(records.height, dtype=pl.UInt32, eager=True)
        for column, name in zip(records.iter_columns(), self.heading, strict=True):
            cells = column.gather(rows).fill_null("").str.strip_chars().str.to_lowercase()
            rows = rows.filter(cells == name.lower())
            if rows.is_empty():
                return records, lines, []
        text = self.grammar.delimiter.decode().join
        found = [
            (line, "line.header", "", text(value or "" for value in row))
            for line, row in zip(lines.gather(rows), records[rows].rows(), strict=True)
        ]
        kept = constant(True, len(lines)).scatter(rows, False)
        return records.filter(kept), lines.filter(kept), found

    def _must_keep_the_order(self, records: pl.DataFrame, lines: pl.Series) -> None:
        """Raise ConfigError if a record is the header in another order: the records after it would be misread."""
        own, *others = self.heading
        # Of names in another order, the first two columns are nearly always enough to rule out all.
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
                    f"{self.source}: line {line} is a header with the columns in another order: the joined files do "
                    "not match. Split the file there and give both: tranship run A.csv B.csv DESTINATION"
                )

    def _may_hold_guards(self, data: bytes) -> bool:
        """Return whether a cell may begin with a guard."""
        if not _may_hold(data, b"'", _BEHIND_GUARD):
            return False
        raw = np.frombuffer(data, np.uint8)
        at = np.flatnonzero(raw == _GUARD)
        before = np.where(at > 0, raw[at - 1], 0x0A)
        delimiter, quote = self.grammar.delimiter[0], self.grammar.quote[0]
        first = (before == delimiter) | (before == quote) | (before == 0x0A)
        after = raw[np.minimum(at + 1, len(raw) - 1)]
        return bool((first & _FOLLOWS_GUARD[after]).any())

    def _misfits(self, data: bytes, where: RecordPositions, faulty: list[Any]) -> list[_Misfit]:
        """Return the records that have too few or too many columns, in order."""
        expected = len(self.columns)
        of_expected = f"of {counted(expected, 'column')}"
        counts = [row.actual_columns for row in faulty]
        at = np.array([row.number for row in faulty], np.int64) - 1
        places = zip(*(of.tolist() for of in (where.lines[at], where.starts[at], where.ends[at] + 1)), strict=True)
        return [
            _Misfit(
                line, start, end, data.find(b"\n", start, end) + 1 or end, count < expected, f"{count} {of_expected}"
            )
            for (line, start, end), count in zip(places, counts, strict=True)
        ]

    def _rescue(self, data: bytes, misfits: list[_Misfit], rounds: int) -> tuple[Batch | None, list[_Broken]]:
        """Return the good records inside misfits that span lines, null if there are none, and what is left of all
        misfits as broken lines: where there is a good record, a quote was left open in the first line, and a later one
        closed it by chance.
        """
        delimiter, enough = self.grammar.delimiter, len(self.columns) - 1
        spanning = [
            misfit
            for misfit in misfits
            if misfit.second < misfit.end <= misfit.start + _RESCUE_BYTES
            and data.count(delimiter, misfit.second, misfit.end) >= enough
        ]
        if not spanning or not rounds:
            return None, [m.whole(data) for m in misfits]
        rests = [(m.line + 1, m.second, min(m.end, len(data))) for m in spanning]
        batch = self._read(cut_parts(data, rests, self.grammar), rounds - 1)
        firsts = np.array([m.line for m in spanning], np.int64)

        def misfit_of(lines: pl.Series) -> Positions:
            return np.searchsorted(firsts, lines.to_numpy().astype(np.int64), side="right") - 1

        is_torn = np.zeros(len(spanning), bool)
        is_torn[misfit_of(batch.lines)] = True
        torn = set(firsts[is_torn].tolist())
        broken = [m.first_line(data) if m.line in torn else m.whole(data) for m in misfits]
        within = pl.Series(is_torn[misfit_of(batch.broken["line"])], dtype=pl.Boolean)
        return batch, [*broken, *batch.broken.filter(within).rows()]


class _Misfit(NamedTuple):
    """A record with too few columns (`is_short`) or too many: its line, and where it, its second line and what follows
    it begin in the data.
    """

    line: int
    start: int
    end: int
    second: int
    is_short: bool
    detail: str

    def whole(self, data: bytes) -> _Broken:
        """Return the record as a broken line."""
        code = "line.too_few_columns" if self.is_short else "line.too_many_columns"
        return self.line, code, self.detail, readable(data[self.start : self.end])

    def first_line(self, data: bytes) -> _Broken:
        """Return the first line as one in which a quote was left open."""
        return self.line, "line.quote", "", readable(data[self.start : self.second])


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


def is_utf8(data: bytes) -> bool:
    """Return whether the data is valid UTF-8. Arrow builds no text: five times as fast, and without holding the GIL."""
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _without_damaged(
    data: bytes, where: RecordPositions
) -> tuple[bytes, RecordPositions, list[tuple[int, str, str, str]]]:
    """Remove the records with bytes that are invalid in the encoding."""
    foreign = (m for m in re.finditer(rb"[\x80-\xff]+", data))
    marks = np.array([m.start() for m in foreign if not _is_text(m[0])], np.int64)
    bad = np.unique(np.searchsorted(where.ends, marks))
    broken = [
        (int(where.lines[i]), "line.encoding", "", readable(data[where.starts[i] : where.ends[i]]))
        for i in bad.tolist()
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
    kept = RecordPositions(where.starts[keep], where.ends[keep], where.lines[keep])
    # Blank lines inside a run are still there: starts move by what was cut before each run.
    shift, position = np.zeros(len(lengths), np.int64), 0
    done = 0
    for run, (first, last) in zip(runs, zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True), strict=True):
        shift[done : done + last - first] = position - where.starts[first]
        position += len(run) if run.endswith(b"\n") else len(run) + 1
        done += last - first
    return joined, RecordPositions(kept.starts + shift, kept.ends + shift, kept.lines), broken


def _is_text(some: bytes) -> bool:
    """Return the same as `is_utf8`, faster for a few bytes."""
    try:
        some.decode()
    except UnicodeDecodeError:
        return False
    return True
