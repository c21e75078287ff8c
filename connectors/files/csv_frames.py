"""Read blocks of CSV records into frames with Arrow's reader, and set aside the records that do not fit."""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.csv_dialect import Grammar
from tranship.connectors.files.csv_records import (
    BLANK,
    MOST_BLANKS,
    Block,
    Positions,
    RecordPositions,
    byte_order_marks,
    cut,
    locate_records,
    padding_positions,
    readable,
    without_bytes,
)
from tranship.schemas import cells
from tranship.schemas.counted import counted
from tranship.schemas.faults import BROKEN

_RESCUE_BYTES = 1 << 16
_GUARD = 0x27
_BEHIND_GUARD = frozenset(b"=+-@\t\r'\xc2\xe2\xef")
"""Bytes that can follow a guard; of letters other than ASCII's, the first byte."""
_FOLLOWS_GUARD = np.isin(np.arange(256), list(_BEHIND_GUARD))
_QUOTE = frozenset(b'"')
_ANYTHING = re.compile(rb"[^\r\n]")
_RARE = 20_000
_HEADER_BYTES = 4


@dataclass
class CsvPart:
    """Consecutive blocks of one file."""

    source: str
    blocks: list[Block]
    columns: tuple[str, ...]
    grammar: Grammar
    position: int
    heading: tuple[str, ...] = ()

    def read(self) -> Batch:
        """Return the records of all blocks, read by Arrow; records that do not fit the header are in `broken`."""
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
        """Return a digest of the bytes, their lines, and the way in which they are read."""
        layout = [(block.segments, block.lenient, block.broken) for block in self.blocks]
        grammar = (self.grammar.delimiter, self.grammar.quote)
        read_as = (self.source, self.columns, self.heading, grammar, layout)
        found = hashlib.sha256(repr(read_as).encode(errors="surrogatepass"))
        for block in self.blocks:
            found.update(block.data)
        return found.hexdigest()

    def _read(self, block: Block) -> Batch:
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
                    detail = f"{row.actual_columns} of {counted(row.expected_columns, 'column')}"
                    broken.append((line, f"line.{code}_columns", detail, readable(text)))
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
        places = starts + (raw[starts] == quote[0])
        for _ in range(MOST_BLANKS):
            blank = raw[np.minimum(places, last)] == BLANK
            if not blank.any():
                break
            places = places + blank
        # Bit 5 is that of the case; other characters that differ in it only cost a second look.
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
        kept = pl.repeat(True, len(lines), dtype=pl.Boolean, eager=True).scatter(rows, False)
        return records.filter(kept), lines.filter(kept), found

    def _must_keep_the_order(self, records: pl.DataFrame, lines: pl.Series) -> None:
        """Raise ConfigError if a record is the header in another order: the records after it would be misread."""
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

    def _rescue(self, text: bytes, line: int) -> Batch | None:
        """Good records inside one that spans lines and has a wrong number of columns: a quote was left open, and a
        later one closed it by chance. Null if there are none.
        """
        first = text.find(b"\n") + 1
        if not 0 < first < len(text) or len(text) > _RESCUE_BYTES:
            return None
        block, _, _ = cut(text[first:], line + 1, self.grammar, final=True)
        batch = self._read(block)
        if batch.records.is_empty():
            return None
        head = pl.DataFrame([(line, "line.quote", "", readable(text[:first]))], schema=BROKEN, orient="row")
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
    """Return what `is_utf8` returns, faster for a few bytes."""
    try:
        some.decode()
    except UnicodeDecodeError:
        return False
    return True
