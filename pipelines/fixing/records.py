"""Corrected rejects as a source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors.contract import Batch, Layout, text_types
from tranship.schemas.faults import BROKEN

_PART_ROWS: Final = 50_000


class CorrectedRecords:
    """The corrected rows as a source (`connectors.contract.Source`): a record is in the row of the file."""

    def __init__(self, name: str, rows: pl.DataFrame, own: Sequence[str]) -> None:
        self._name, self._rows, self._own = name, rows, tuple(own)

    @property
    def size(self) -> int:
        """The number of records."""
        return self._rows.height

    def layouts(self) -> list[Layout]:
        """Return the columns of the source of the run."""
        return [Layout(self._name, self._own, types=text_types(self._own))]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return the name and the number of rows."""
        return [{"name": self._name, "size": self._rows.height}]

    def parts(self, _keep: Path, /) -> Iterator[_Rows]:
        """Yield the records."""
        for at in range(0, self._rows.height, _PART_ROWS):
            part = self._rows.slice(at, _PART_ROWS)
            batch = Batch(self._name, part.select(self._own), part["_line"], pl.DataFrame(schema=BROKEN))
            yield _Rows(batch, min(at + _PART_ROWS, self._rows.height))

    def close(self) -> None:
        """Do nothing: nothing is open."""


class _Rows:
    """A part of the records."""

    def __init__(self, batch: Batch, position: int) -> None:
        self._batch, self.position = batch, position

    def read(self) -> Batch:
        """Return the records."""
        return self._batch

    def digest(self) -> str:
        """Return a digest of them."""
        return hashlib.sha256(self._batch.records.write_json().encode()).hexdigest()
