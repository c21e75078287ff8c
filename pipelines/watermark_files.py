"""How far sources were read into destinations that do not keep it themselves: files and providers. It is kept in the
state directory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tranship.connectors import durable
from tranship.connectors.contract import Destination, FileMark, FilesRead, KeepsWatermarks, Watermark, further
from tranship.connectors.errors import Damaged
from tranship.pipelines.endpoints import destination_identity
from tranship.pipelines.settings_model import Settings

FOLDER = "watermarks"


class _Kept(msgspec.Struct, frozen=True):
    """The contents of the file."""

    watermarks: list[Watermark]
    files: list[FilesRead]


def keeper_of(settings: Settings, destination: Destination) -> KeepsWatermarks:
    """Return what keeps how far sources were read into a destination: itself, or a file."""
    if isinstance(destination, KeepsWatermarks):
        return destination
    return WatermarkFile(settings.state_dir, destination_identity(settings))


class WatermarkFile:
    """`<state dir>/watermarks/<digest of the destination>.json`."""

    def __init__(self, state_dir: Path, destination: str) -> None:
        """`destination` is the same for all spellings of the destination."""
        self._state_dir = state_dir
        self._file = state_dir / FOLDER / f"{hashlib.sha256(destination.encode()).hexdigest()[:32]}.json"

    def watermarks(self) -> list[Watermark]:
        """Return all watermarks. Raises Damaged."""
        return self._read().watermarks

    def replace_watermark(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace a watermark; null for `old` adds, null for `new` removes."""
        replaced = {mark.reading for mark in (old, new) if mark}
        kept = self._read()
        marks = [mark for mark in kept.watermarks if mark.reading not in replaced]
        self._write(_Kept([*marks, *([new] if new else [])], kept.files))

    def advance(self, new: Watermark) -> None:
        """Keep a watermark, unless there is one that is further."""
        known = next((mark for mark in self.watermarks() if mark.reading == new.reading), None)
        self.replace_watermark(known, further(known, new))

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read. Raises Damaged."""
        return [mark for kept in self._read().files if kept.reading == reading for mark in kept.marks]

    def keep_files(self, files: FilesRead) -> None:
        """Keep the files that a run has read."""
        kept = self._read()
        before = {mark.path: mark for mark in self.files_read(files.reading)}
        marks = tuple({**before, **{mark.path: mark for mark in files.marks}}.values())
        others = [other for other in kept.files if other.reading != files.reading]
        self._write(_Kept(kept.watermarks, [*others, FilesRead(files.source, files.reading, marks)]))

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all; return how many there were."""
        kept = self._read()
        forgotten = [of_source for of_source in kept.files if source in (None, of_source.source)]
        if forgotten:
            self._write(_Kept(kept.watermarks, [other for other in kept.files if other not in forgotten]))
        return sum(len(of_source.marks) for of_source in forgotten)

    def _read(self) -> _Kept:
        try:
            return msgspec.convert(durable.read_json(self._file), _Kept)
        except FileNotFoundError:
            return _Kept([], [])
        except (msgspec.ValidationError, Damaged) as error:
            raise Damaged(f"{durable.damaged(self._file)} To read everything again, remove it.") from error

    def _write(self, kept: _Kept) -> None:
        for folder in (self._state_dir, self._file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write_json(self._file, msgspec.to_builtins(kept))
