"""Columns that the folders of files give, beside those in the files: `ds=2024-01-01/` is the column `ds`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.contract import Batch, Layout, Narrowing, Part, Source, text_types

Values = Mapping[str, str | None]


class _Part(Struct, frozen=True):
    """A part of a file, with the columns of its folders."""

    part: Part
    values: Mapping[str, Values]

    @property
    def position(self) -> int:
        """The position of the part."""
        return self.part.position

    def read(self) -> Batch:
        """Return its records with the columns of its folders after their own, as text."""
        batch = self.part.read()
        columns = [pl.lit(value, pl.String).alias(name) for name, value in self.values[batch.source].items()]
        return replace(batch, records=batch.records.with_columns(columns))

    def digest(self) -> str:
        """Return a digest of the part and the names of the columns; their values are in the name of its file."""
        names = sorted({name for values in self.values.values() for name in values})
        return hashlib.sha256(f"{self.part.digest()} {names}".encode()).hexdigest()


class Partitioned:
    """A source whose files are in such folders. If a file has a column of the same name, it is used, with a note."""

    def __init__(self, source: Source, columns: Mapping[str, Values]) -> None:
        """`columns`: name of a file → the columns that its folders give."""
        self._source = source
        self._folders = columns
        self._own = {layout.name: set(layout.columns) for layout in source.layouts()}
        self._values = {
            name: {column: value for column, value in columns.get(name, {}).items() if column not in own}
            for name, own in self._own.items()
        }

    @property
    def size(self) -> int | None:
        """Size of the source."""
        return self._source.size

    def layouts(self) -> list[Layout]:
        """Return the columns of each file, followed by those of its folders."""
        return [
            replace(
                layout,
                columns=(*layout.columns, *self._values[layout.name]),
                types={**layout.types, **text_types(self._values[layout.name])},
                notes=(*layout.notes, *self._notes(layout.name)),
            )
            for layout in self._source.layouts()
        ]

    def _notes(self, name: str) -> Iterator[str]:
        for column, value in self._folders.get(name, {}).items():
            shown = f"{column}={'null' if value is None else value}"
            if column in self._own[name]:
                yield f"the file has a column {column!r} of its own, which is used; that of its folder ({shown}) is not"
            else:
                yield f"column {column!r} from its folder ({shown})"

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the fingerprint of the source."""
        return self._source.fingerprint()

    def parts(self, keep: Path, /) -> Iterator[_Part]:
        """Yield the parts of the source, each with the columns of its folders."""
        for part in self._source.parts(keep):
            yield _Part(part, self._values)

    @property
    def left_out(self) -> int:
        """How many records the source has left out (`contract.Narrowing`)."""
        return self._source.left_out if isinstance(self._source, Narrowing) else 0

    def narrow(self, column: str, since: datetime | int) -> None:
        """Let the source leave out old records, by a column of the files."""
        if isinstance(self._source, Narrowing) and all(column not in values for values in self._values.values()):
            self._source.narrow(column, since)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
