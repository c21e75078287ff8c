"""The tables that cleaning keeps between its steps, in a folder that all machines reach."""

from __future__ import annotations

import uuid
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


class WorkTables(Struct, frozen=True):
    """A folder of Parquet tables, each written once and read by later steps: without it, every result would compute all
    that it stands on again.

    `complete` is name → folder of the tables that were written to their end; `save` makes it last, so that a later
    process takes these tables as they are.
    """

    session: SparkSession
    folder: str
    complete: MutableMapping[str, str] = field(default_factory=dict)
    save: Callable[[], None] = lambda: None

    def keep(self, name: str, table: DataFrame) -> DataFrame:
        """Compute a table, unless it is complete, and return it as it is kept."""
        if name not in self.complete:
            # A task of an attempt that died may still be writing to its folder.
            folder = f"{name}-{uuid.uuid4().hex[:8]}"
            table.write.parquet(f"{self.folder}/{folder}")
            self.complete[name] = folder
            self.save()
        return self.kept(name, table.schema)

    def kept(self, name: str, schema: StructType) -> DataFrame:
        """Return a table that is complete."""
        # An engine may leave no file of an empty table.
        return self.session.read.schema(schema).parquet(f"{self.folder}/{self.complete[name]}")

    def drop(self, name: str) -> None:
        """Let a table be computed again."""
        if self.complete.pop(name, None) is not None:
            self.save()
