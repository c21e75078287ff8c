"""The tables that cleaning keeps between its steps, in a folder that all machines reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class WorkTables:
    """A folder of Parquet tables, each written once and read by later steps: without it, every result would compute all
    that it stands on again.
    """

    session: SparkSession
    folder: str

    def keep(self, name: str, table: DataFrame) -> DataFrame:
        """Compute a table and return it as it is kept."""
        path = f"{self.folder}/{name}"
        table.write.parquet(path)
        # An engine may leave no file of an empty table.
        return self.session.read.schema(table.schema).parquet(path)
