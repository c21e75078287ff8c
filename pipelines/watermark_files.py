"""The watermarks of destinations that keep none themselves: files and providers. They are in the state directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import msgspec

from tranship.connectors import durable
from tranship.connectors.contract import Watermark, further
from tranship.connectors.errors import Damaged

FOLDER = "watermarks"


class WatermarkFile:
    """`<state dir>/watermarks/<digest of the destination>.json`."""

    def __init__(self, state_dir: Path, destination: str) -> None:
        """`destination` is the same for all spellings of the destination."""
        self._state_dir = state_dir
        self._file = state_dir / FOLDER / f"{hashlib.sha256(destination.encode()).hexdigest()[:32]}.json"

    def watermarks(self) -> list[Watermark]:
        """Return all. Raises Damaged."""
        try:
            return msgspec.convert(durable.read_json(self._file)["watermarks"], list[Watermark])
        except FileNotFoundError:
            return []
        except (KeyError, msgspec.ValidationError) as error:
            raise durable.damaged(self._file) from error
        except Damaged as error:
            raise Damaged(f"{error} To read everything again, remove it.") from error

    def replace_watermark(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one; null for `old` adds, null for `new` removes."""
        replaced = {mark.reading for mark in (old, new) if mark}
        kept = [mark for mark in self.watermarks() if mark.reading not in replaced]
        self._write([*kept, *([new] if new else [])])

    def advance(self, new: Watermark) -> None:
        """Keep a watermark, unless there is one that is further."""
        known = next((mark for mark in self.watermarks() if mark.reading == new.reading), None)
        self.replace_watermark(known, further(known, new))

    def _write(self, marks: Iterable[Watermark]) -> None:
        for folder in (self._state_dir, self._file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write_json(self._file, {"watermarks": [asdict(mark) for mark in marks]})
