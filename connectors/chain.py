"""Several sources of one run, read one behind the other as if they were one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tranship.connectors.contract import Batch, Layout, Part, Source


@dataclass(frozen=True)
class _Behind:
    """A part of a source that stands behind others."""

    part: Part
    before: int

    @property
    def position(self) -> int:
        """How far all sources have been read when it ends."""
        return self.before + self.part.position

    def read(self) -> Batch:
        """Its records; the batch names its own source."""
        return self.part.read()

    def digest(self) -> str:
        """That of the part, whatever stands before it."""
        return self.part.digest()


class Chain:
    """Sources in the order in which they were given. It closes them."""

    def __init__(self, sources: Sequence[Source], *, alike: bool) -> None:
        """`alike`: their sizes are in one unit, so that they can be added."""
        self._sources = sources
        self._alike = alike

    @property
    def size(self) -> int | None:
        """What there is to read in all, null if that cannot be known or added."""
        sizes = [source.size for source in self._sources]
        return sum(size or 0 for size in sizes) if self._alike and None not in sizes else None

    def layouts(self) -> list[Layout]:
        """Those of all sources."""
        return [layout for source in self._sources for layout in source.layouts()]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Those of all sources."""
        return [found for source in self._sources for found in source.fingerprint()]

    def parts(self, keep: Path, /) -> Iterator[_Behind]:
        """The parts of each source; each has a folder of its own in `keep`."""
        before = 0
        for number, source in enumerate(self._sources):
            position = 0
            for part in source.parts(keep / str(number)):
                yield _Behind(part, before)
                position = part.position
            before += position if source.size is None else source.size

    def close(self) -> None:
        """Close them all."""
        for source in self._sources:
            source.close()
