"""The log of a Delta table, as any engine can read it: the files of `_delta_log`, one for each version.

`DESCRIBE HISTORY` would show the same, but not every engine has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException
from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class DeltaLog:
    """The log of the table at a path."""

    session: SparkSession
    path: str

    def version(self) -> int | None:
        """Return the version of the table, null if there is none."""
        files = self.session.read.format("binaryFile").load(f"{self.path}/_delta_log/*.json").select("path")
        names = (re.search(r"(\d{20})\.json$", path) for (path,) in _rows(files))
        return max((int(name[1]) for name in names if name), default=None)

    def has_run(self, run_id: str) -> bool:
        """Return whether a version was written by this run."""
        commits = self._commits("*").where(fn.col("value").contains(run_id))
        return bool(_rows(commits.limit(1)))

    def metrics(self, version: int, run_id: str) -> Mapping[str, Any] | None:
        """Return the counts of a version that this run wrote; null if another program wrote it."""
        for (line,) in _rows(self._commits(f"{version:020}").where(fn.col("value").contains(run_id))):
            found: Mapping[str, Any] = json.loads(line)["commitInfo"].get("operationMetrics", {})
            return found
        return None

    def _commits(self, version: str) -> DataFrame:
        lines = self.session.read.text(f"{self.path}/_delta_log/{version}.json")
        return lines.where(fn.col("value").startswith('{"commitInfo"'))


def _rows(files: DataFrame) -> list[Any]:
    """Return the rows of files; none if there are no files, which some engines take for an error."""
    try:
        return files.collect()
    except PySparkException as error:
        if "PATH_NOT_FOUND" in str(error):
            return []
        raise
