"""Several sources of one run, read one after the other as one source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from tranship.connectors.contract import Batch, Layout, Narrowing, Part, Releasing, Source


class _LaterPart(Struct, frozen=True):
    """A part of a source that is read after others."""

    part: Part
    before: int

    @property
    def position(self) -> int:
        """How much of all sources has been read when the part ends."""
        return self.before + self.part.position

    def read(self) -> Batch:
        """Return its records; the batch names its own source."""
        return self.part.read()

    def digest(self) -> str:
        """Return the digest of the part, whatever is read before it."""
        return self.part.digest()


class Chain:
    """Sources in the order in which they were given, closed together."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        alike: bool,
        release: Callable[[], None] | None = None,
        close: Callable[[], None] | None = None,
        files: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """`alike` is whether their sizes have the same unit and can be added. `release` and `close` are called when the
        sources are released and closed. `files` are those that are read, each with the name of its connector.
        """
        self._sources = sources
        self._alike = alike
        self._release = release
        self._close = close
        self._files = files

    @property
    def files(self) -> list[tuple[str, Any]]:
        """The files that are read, each with the name of its connector, in order."""
        chained = (source for source in self._sources if isinstance(source, Chain))
        return [*self._files, *(found for source in chained for found in source.files if not self._files)]

    @property
    def size(self) -> int | None:
        """Size of all sources, null if it is unknown or cannot be added."""
        sizes = [source.size for source in self._sources]
        return sum(size or 0 for size in sizes) if self._alike and None not in sizes else None

    def layouts(self) -> list[Layout]:
        """Return the layouts of all sources."""
        return [layout for source in self._sources for layout in source.layouts()]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the fingerprints of all sources."""
        return [found for source in self._sources for found in source.fingerprint()]

    def parts(self, keep: Path, /) -> Iterator[_LaterPart]:
        """Yield the parts of each source; each source has its own folder in `keep`."""
        before = 0
        for number, source in enumerate(self._sources):
            position = 0
            for part in source.parts(keep / str(number)):
                yield _LaterPart(part, before)
                position = part.position
            before += position if source.size is None else source.size

    @property
    def left_out(self) -> int:
        """How many records the sources have left out (`contract.Narrowing`)."""
        return sum(source.left_out for source in self._sources if isinstance(source, Narrowing))

    def narrow(self, column: str, since: datetime | int) -> None:
        """Let those sources leave out old records that can."""
        for source in self._sources:
            if isinstance(source, Narrowing):
                source.narrow(column, since)

    def release(self) -> None:
        """Release all sources."""
        for source in self._sources:
            if isinstance(source, Releasing):
                source.release()
        if self._release:
            self._release()

    def close(self) -> None:
        """Close all sources."""
        for source in self._sources:
            source.close()
        if self._close:
            self._close()
