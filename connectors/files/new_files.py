"""The files of a folder, pattern or prefix that are new, or have changed, since they were last read.

A file is known by its path, size, entity tag and SHA-256, and never by its time alone: a copy or a restored backup has
a new time, and another content may have an old one. What was appended to a CSV or JSON Lines file is read by itself;
another file that has changed is read whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors.contract import Batch, FileMark, Layout, Part, Source
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.storage import File
from tranship.schemas.counted import counted

_PIECE: Final = 8 << 20
_OF_LINES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
"""Ends of the names of files whose end can be read by itself."""
_SHOWN: Final = 5


class NewFiles(Struct):
    """Chooses the files that a run reads; `marks`, `notes` and `starts` are what it found."""

    known: Sequence[FileMark]
    settle: timedelta
    now: datetime
    marks: list[FileMark] = field(default_factory=list)
    """The files as they are now, of those that are read or have another name."""
    notes: list[str] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    """Name of a file that has grown → the number of its lines that were read before."""
    nothing: bool = False
    """Whether none is new. One file is then chosen for its columns, and its records are not read."""

    def choose(self, files: Sequence[File]) -> list[File]:
        """Return the files that are read. Raises ConfigError for one that can be read only once."""
        known = {mark.path: mark for mark in self.known}
        settling, found = [], []
        kept: set[str] = set()
        """Files that still have what was read of them."""
        for file in files:
            if file.size is None:
                raise ConfigError(
                    f"--new-files: {file.name} can be read only once. Name a folder, a pattern or a file."
                )
            before = known.get(file.name)
            if self._is_settling(file):
                settling.append(file.name)
            elif not (before and file.tag and (before.size, before.tag) == (file.size, file.tag)):
                mark, prefix = _content_of(file, before.size if before else None)
                if not (before and mark.sha256 == before.sha256):
                    found.append((file, before, mark, prefix))
                    if not (before and prefix == before.sha256):
                        continue
            kept.add(file.name)
        by_content = {mark.sha256: mark for mark in sorted(self.known, key=lambda mark: mark.path in kept)}
        chosen = []
        for file, before, mark, prefix in found:
            self.marks.append(mark)
            same = by_content.get(mark.sha256)
            if before is None and same is not None and same.path not in kept:
                self.notes.append(f"{file.name}: was renamed from {same.path}, which was read before; left out")
                continue
            if before is None and same is not None:
                # It may say that a customer is again as it was before another file.
                self.notes.append(f"{file.name}: has the same content as {same.path}, which was read before")
            if before:
                self._describe(file, before, has_grown=prefix == before.sha256)
            chosen.append(file)
        unchanged = len(files) - len(found) - len(settling)
        self._count(chosen, files, unchanged, settling)
        if not chosen:
            self.nothing = True
            return sorted(files, key=lambda file: file.name in settling)[:1]
        return chosen

    def _is_settling(self, file: File) -> bool:
        if not self.settle or not file.changed:
            return False
        try:
            # That of a member of an archive is the archive's, followed by a checksum.
            changed = datetime.fromisoformat(file.changed.partition(" ")[0])
        except ValueError:  # a wrong clock: not a time of our calendar
            return False
        return self.now - changed < self.settle

    def _describe(self, file: File, before: FileMark, *, has_grown: bool) -> None:
        if has_grown and before.lines is not None and file.kind_name.lower().endswith(_OF_LINES):
            self.starts[file.name] = before.lines
            self.notes.append(f"{file.name}: has grown; only what follows line {before.lines:,} is read")
        else:
            what = "has grown" if has_grown else "was replaced"
            self.notes.append(f"{file.name}: {what}, and is read whole")

    def _count(self, chosen: Sequence[File], files: Sequence[File], unchanged: int, settling: Sequence[str]) -> None:
        are = "is" if 1 in (len(chosen), len(files)) else "are"
        self.notes.append(
            f"{len(chosen):,} of {counted(len(files), 'file')} {are} new or changed, {unchanged:,} unchanged"
        )
        if settling:
            named = ", ".join(settling[:_SHOWN]) + (" and others" if len(settling) > _SHOWN else "")
            self.notes.append(
                f"{counted(len(settling), 'file')} changed within the last {self.settle.total_seconds():g} s and left "
                f"out (--settle): {named}"
            )


def _content_of(file: File, prefix_size: int | None) -> tuple[FileMark, str | None]:
    """Return a file as it is now, and the digest of its first bytes; null if it has fewer."""
    whole, prefix, left = hashlib.sha256(), hashlib.sha256(), prefix_size
    size = lines = 0
    last, is_binary = b"", False
    with file.open() as opened:
        while piece := opened.read(_PIECE):
            whole.update(piece)
            size += len(piece)
            is_binary = is_binary or b"\0" in piece
            # A carriage return ends a line by itself, or together with the line feed that follows it.
            lines += piece.count(b"\n") + piece.count(b"\r") - piece.count(b"\r\n")
            lines -= last == b"\r" and piece.startswith(b"\n")
            last = piece[-1:]
            if left is not None:
                prefix.update(piece[:left])
                left -= min(left, len(piece))
    ends = last in (b"\n", b"\r") and not is_binary
    mark = FileMark(file.name, size, file.tag, whole.hexdigest(), lines if ends else None)
    return mark, prefix.hexdigest() if left == 0 and prefix_size is not None else None


class _NothingRead:
    """A source of which only the columns are used."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size: int | None = 0

    def layouts(self) -> list[Layout]:
        """Return the columns of the source, without notes on its contents."""
        return [replace(layout, notes=()) for layout in self._source.layouts()]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return nothing: no file is read."""
        return []

    def parts(self, _keep: Path, /) -> Iterator[Part]:
        """Yield nothing."""
        yield from ()

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _Tail(Struct, frozen=True):
    """A part of a file, without the lines that were read before."""

    part: Part
    starts: Mapping[str, int]

    @property
    def position(self) -> int:
        """The position of the part."""
        return self.part.position

    def read(self) -> Batch:
        """Return the records and broken lines that follow."""
        batch = self.part.read()
        start = self.starts.get(batch.source, 0)
        new = batch.lines > start
        return Batch(
            batch.source,
            batch.records.filter(new),
            batch.lines.filter(new),
            batch.broken.filter(batch.broken["line"] > start),
        )

    def digest(self) -> str:
        """Return a digest of the part and of where it begins."""
        return hashlib.sha256(f"{self.part.digest()} {sorted(self.starts.items())}".encode()).hexdigest()


class _Tails:
    """A source of files some of which have grown: only what was appended is read. Lines keep their numbers."""

    def __init__(self, source: Source, starts: Mapping[str, int]) -> None:
        self._source, self._starts = source, starts

    @property
    def size(self) -> int | None:
        """Size of the source."""
        return self._source.size

    def layouts(self) -> list[Layout]:
        """Return the layouts of the source."""
        return self._source.layouts()

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the fingerprint of the source, with the beginnings."""
        return [{**found, "from": self._starts.get(found["name"], 0)} for found in self._source.fingerprint()]

    def parts(self, keep: Path, /) -> Iterator[Part]:
        """Yield the parts of the source."""
        for part in self._source.parts(keep):
            yield _Tail(part, self._starts)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def limited(source: Source, new: NewFiles, files: Iterable[File]) -> Source:
    """Return a source of these files of which only what is new is read."""
    if new.nothing:
        return _NothingRead(source)
    starts = {file.name: new.starts[file.name] for file in files if file.name in new.starts}
    return _Tails(source, starts) if starts else source
