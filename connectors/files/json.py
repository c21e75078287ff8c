"""JSON files as source and destination: JSON Lines, an array of records, an object with one list of them.

A file is read twice. The first pass finds its keys, since a key may occur for the first time in the last record
(`json_paths.py`); the second one reads the values of each part (`json_frames.py`). Documents are cut into their records
(`json_documents.py`); neither pass keeps more than a few blocks in memory. A pipe, which can be read only once, is
copied to disk first. Blocks of lines that all have the same keys, in the same order, and no nested values are processed
faster in both passes (`json_ordinary.py`), with the same result.

Values are read as text: numbers keep their digits, null and empty text are null. Objects become columns
(`address.city`); arrays, and objects that are metadata as a whole, stay JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Struct, field

from tranship.connectors.addresses import STANDARD_OUTPUT, redacted
from tranship.connectors.contract import HEAD_FILES, HEAD_RECORDS, Layout, notes_on, repeated, text_types
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import json_documents, storage
from tranship.connectors.files.csv_grammar import MAX_RECORD_BYTES
from tranship.connectors.files.csv_records import decode_pieces
from tranship.connectors.files.json_documents import Document
from tranship.connectors.files.json_frames import Block, JsonPart, Layouts, Objects, sift
from tranship.connectors.files.json_ordinary import Ordinary, Recognised
from tranship.connectors.files.json_paths import Paths
from tranship.connectors.files.json_tokens import Values, take_apart
from tranship.connectors.files.local_file import Written
from tranship.connectors.files.packing import packing
from tranship.connectors.files.part_size import PART_BYTES, PART_RECORDS, PIECE_BYTES, short_pieces
from tranship.connectors.files.text_encoding import sniff_encoding
from tranship.connectors.files.whole_file import WholeFile

_SAMPLE_BYTES: Final = 1 << 17
_LINES_ENDS: Final = (".jsonl", ".ndjson")
_THREADS: Final = 2


class _Look(Struct):
    """The result of the first pass over a file. `chosen` are the lists with the records, null for JSON Lines."""

    encoding: str
    notes: list[str]
    paths: Paths
    is_lines: bool
    chosen: list[int] | None = None
    has_records: bool = False
    fault: str = ""
    """What is wrong with the first broken record."""
    ordinary: Ordinary = field(default_factory=Ordinary)

    def columns(self) -> dict[str, str]:
        """Return column → its own name. Records without any key have one column without values."""
        return self.paths.columns() or ({"column_1": "column_1"} if self.has_records else {})


class JsonSource:
    """One JSON file, or several of one run."""

    def __init__(self, files: Sequence[storage.File]) -> None:
        self._files = files
        sizes = [file.size for file in self._files]
        self.size: int | None = None if None in sizes else sum(size for size in sizes if size is not None)
        self._copies = [storage.Copy(file) if file.once else None for file in self._files]
        try:
            self._looks = [self._look(number) for number in range(len(self._files))]
        except ConfigError:
            self.close()
            raise
        self._layouts = [
            Layouts(tuple(look.columns()), look.paths, look.paths.places(), look.paths.wholes(), look.ordinary)
            for look in self._looks
        ]

    def layouts(self) -> list[Layout]:
        """Return the unfolded keys of each file, in the order of their first occurrence."""
        layouts: list[Layout] = []
        for file, look in zip(self._files, self._looks, strict=True):
            columns = look.columns()
            twice = repeated(columns)
            notes = (*look.notes, *notes_on(twice), *file.notes)
            lists = look.paths.lists()
            types, text = text_types(columns), {"suffix": ".jsonl"}
            head = partial(self._head, len(layouts)) if len(layouts) < HEAD_FILES else None
            layouts.append(Layout(file.name, tuple(columns), notes, twice, types, lists, text, head))
        return layouts

    def _head(self, number: int) -> pl.DataFrame | None:
        """Return the first records of a file."""
        content = self._content(number)
        try:
            name = self._files[number].name
            blocks = list(islice(self._blocks(self._looks[number], content, name), 1))
            records = JsonPart(name, blocks, self._layouts[number], 0).read().records if blocks else None
        except ConfigError:  # which reading will report
            return None
        finally:
            content.close()
        return None if records is None else records.head(HEAD_RECORDS)

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name, size and modification time of each file."""
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep: Path, /) -> Iterator[JsonPart]:
        """Yield the blocks in file order. Raises ConfigError if a file has changed since it was opened."""
        done = 0
        for number, file in enumerate(self._files):
            content = self._content(number)
            try:
                held: list[Block] = []
                ready: JsonPart | None = None
                size = records = 0
                for block in self._blocks(self._looks[number], content, file.name):
                    held.append(block)
                    size, records = size + len(block.data), records + block.records
                    if size >= PART_BYTES or records >= PART_RECORDS:
                        if ready:
                            yield ready
                        ready = JsonPart(file.name, held, self._layouts[number], done + content.position)
                        held, size, records = [], 0, 0
                file.must_be_as_it_was(content)
                for part in (ready, JsonPart(file.name, held, self._layouts[number], 0) if held else None):
                    if part:
                        # The rest of the file, behind the last record, has been read as well.
                        part.position = part.position if held and part is ready else done + content.position
                        yield part
            finally:
                content.close()
            done += content.position

    def close(self) -> None:
        """Remove the copies of pipes."""
        for copy in self._copies:
            if copy:
                copy.close()

    def _content(self, number: int) -> storage.Bytes:
        copy = self._copies[number]
        return storage.Bytes(copy.file if copy else self._files[number], PIECE_BYTES)

    def _blocks(self, look: _Look, content: storage.Bytes, name: str) -> Iterator[Block]:
        decoded = decode_pieces(content, look.encoding, name)
        pieces = (piece for piece, _ in short_pieces(decoded, b"\n" if look.is_lines else b"{"))
        if look.is_lines:
            return _cut_lines(pieces, name)
        if look.chosen is None:
            return iter([_one_record(pieces)])
        return json_documents.cut(pieces, Document(name), look.chosen)

    def _look(self, number: int) -> _Look:
        file = self._files[number]
        wants_lines = any(end in file.kind_name.lower() for end in _LINES_ENDS)
        encoding, is_lines = self._shape(number, wants_lines=wants_lines)
        look = _Look(encoding, [], Paths(file.name), is_lines)
        if is_lines and not wants_lines:
            look.notes.append("contains JSON Lines: one record on each line")
        if not is_lines:
            self._choose(number, look, wants_lines=wants_lines)
        self._notice_keys(number, look)
        if look.fault and not look.paths.columns():
            raise ConfigError(f"{file.name}: none of its records can be read; the first one: {look.fault}.")
        if look.ordinary.used and look.paths.flat_keys() is None:
            # Whether a key with keys of its own has other values, too, is not known of blocks of text and numbers.
            look.ordinary = Ordinary(given_up=True)
            self._notice_keys(number, look)
        return look

    def _notice_keys(self, number: int, look: _Look) -> None:
        file = self._files[number]
        content = self._content(number)
        try:
            for found in _taken_apart(self._blocks(look, content, file.name), look.ordinary):
                if isinstance(found, Recognised):
                    look.ordinary.add(found)
                    continue
                objects, values = found
                look.paths.notice(objects.raw, values)
                look.has_records |= bool(len(objects.starts) or objects.broken)
                look.fault = look.fault or next((detail for _, _, detail, _ in objects.broken), "")
                if look.is_lines:
                    look.ordinary.expect(look.paths.flat_keys())
        finally:
            content.close()

    def _shape(self, number: int, *, wants_lines: bool) -> tuple[str, bool]:
        """Return the encoding, and whether the file is JSON Lines. Raises ConfigError if it is not JSON."""
        name = self._files[number].name
        content = self._content(number)
        try:
            first = next(iter(content), b"")
        finally:
            content.close()
        encoding = sniff_encoding(first[:_SAMPLE_BYTES]) or "utf-8"
        encoding = "utf-8" if encoding == "cp1252" else encoding
        content = self._content(number)
        try:
            sample, whole = b"", True
            for piece, _ in decode_pieces(content, encoding, name):
                sample += piece
                if len(sample) >= _SAMPLE_BYTES and (b"\n" in sample.lstrip() or len(sample) >= MAX_RECORD_BYTES):
                    whole = False
                    break
        finally:
            content.close()
        return encoding, _is_lines(name, sample, whole=whole, wants_lines=wants_lines)

    def _choose(self, number: int, look: _Look, *, wants_lines: bool) -> None:
        file = self._files[number]
        document = Document(file.name)
        content = self._content(number)
        try:
            pieces = (piece for piece, _ in decode_pieces(content, look.encoding, file.name))
            for _ in json_documents.cut(pieces, document):
                pass
        finally:
            content.close()
        found = document.list_of_records()
        if found is None:
            look.notes.append("contains one record")
            return
        look.chosen, keys, beside = found
        look.notes.append("its records are numbered by their place in the list")
        if len(look.chosen) > 1:
            look.notes.append(f"contains {len(look.chosen):,} lists of records, one after the other, read as one")
        if keys:
            left = f"; other keys, not read: {', '.join(map(repr, beside))}" if beside else ""
            look.notes.append(f"the records are the list {keys!r}{left}")
        elif wants_lines and len(look.chosen) == 1:
            look.notes.append("contains one array, not JSON Lines")


def _is_lines(name: str, sample: bytes, *, whole: bool, wants_lines: bool) -> bool:
    """Return whether a file with this beginning is JSON Lines. Raises ConfigError if it is not JSON."""
    text = sample.lstrip()
    if not text:
        return True
    lines = [line for line in text.split(b"\n") if line.strip()]
    complete = [_is_object(line) for line in lines[: None if whole or len(lines) == 1 else -1]]
    if text.startswith(b"[") and not (wants_lines and sum(complete)):
        return False
    objects = [line for line, is_object in zip(lines, complete, strict=False) if is_object]
    if len(objects) == len(complete) > 0 and all(map(json_documents.is_page, (objects[0], objects[-1]))):
        return False
    if text.startswith(b"{") and not wants_lines:
        return sum(complete) >= 2
    if text.startswith(b"{"):
        return sum(complete) >= 1 or (len(lines) > 1 and text.partition(b"\n")[0].strip() != b"{")
    if not any(complete):
        raise ConfigError(
            f"{name}: is not JSON: it begins neither with {{ nor with [. If it is CSV, name it .csv; otherwise export "
            "it again."
        )
    return True


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _cut_lines(pieces: Iterable[bytes], name: str) -> Iterator[Block]:
    """Yield blocks of whole lines. Raises ConfigError if a line is too long."""
    carry, line = b"", 1
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            # Copied only once: this costs as much as everything else here.
            data = b"".join((carry, memoryview(piece)[:end]))
            block = Block(data, line)
            yield block
            line += block.records
            carry = b""
        carry += piece[end:]
        if len(carry) > MAX_RECORD_BYTES:
            raise ConfigError(
                f"{name}: no line end within {MAX_RECORD_BYTES >> 20} MB at line {line:,}: is it JSON Lines?"
            )
    if carry:
        yield Block(carry, line)


def _one_record(pieces: Iterable[bytes]) -> Block:
    """Return a document that is a single record; its size was checked when it was scanned."""
    [block] = json_documents.cut([b"[", *pieces, b"]"], Document(""), [0])
    return block


_Found = tuple[Objects, Values] | Recognised


def _taken_apart(blocks: Iterator[Block], ordinary: Ordinary) -> Iterator[_Found]:
    """Yield the values of blocks, in order, parsed in threads; for a block that is recognised, only that."""

    def work(block: Block) -> _Found:
        if recognised := ordinary.recognise(block.data, block.line):
            return recognised
        objects = sift(block)
        return objects, take_apart(objects.raw, objects.starts)

    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[_Found]] = deque()
        for block in blocks:
            ahead.append(pool.submit(work, block))
            if len(ahead) > _THREADS + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def destination(spec: str, written: Written, *, overwrite: bool) -> WholeFile:
    """Return a file of JSON Lines as destination: all fields on each line, instants as ISO 8601 with Z, null as null,
    metadata as an object.
    """
    packed, name = packing(spec)
    if spec != STANDARD_OUTPUT and not name.endswith(_LINES_ENDS):
        raise ConfigError(f"{redacted(spec)}: JSON is written as JSON Lines. Name the file .jsonl.")

    def write(frame: pl.LazyFrame, path: Path) -> None:
        frame.select(_line_of(frame.collect_schema())).sink_csv(
            path, include_header=False, quote_style="never", compression=packed, check_extension=False
        )

    return WholeFile(spec, write, written, overwrite=overwrite)


def _line_of(schema: pl.Schema) -> pl.Expr:
    """A record as JSON."""
    columns = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") if isinstance(dtype, pl.Datetime) else pl.col(name)
        for name, dtype in schema.items()
    ]
    at = schema.names().index("metadata") if "metadata" in schema else len(columns)
    pieces = []
    if columns[:at]:
        pieces.append(pl.struct(columns[:at]).struct.json_encode().str.slice(1).str.head(-1))
    if at < len(columns):
        # JSON has line breaks between values, never within them.
        own = pl.col("metadata").str.replace_all(r"[\r\n]+", " ").fill_null("null")
        pieces.append(pl.lit('"metadata":') + own)
    if columns[at + 1 :]:
        pieces.append(pl.struct(columns[at + 1 :]).struct.json_encode().str.slice(1).str.head(-1))
    return pl.concat_str(pl.lit("{"), pl.concat_str(pieces, separator=","), pl.lit("}")).alias("line")
